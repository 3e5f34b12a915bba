/* SPDX-License-Identifier: Apache-2.0
 *
 * For unit tests of plugins: a check that names what failed, and the plugin as kosd loads it. The host is poll_host.h.
 */
#ifndef KOS_TEST_H
#define KOS_TEST_H

#include <dlfcn.h>
#include <stdlib.h>
#include <poll_host.h>

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);                                         \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static inline const struct kos_plugin *load(const char *path)
{
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct kos_plugin *plugin = module ? (const struct kos_plugin *)dlsym(module, "kos_plugin_v1") : NULL;
    if (!plugin) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return plugin;
}

/* The table of a kind or feature that the plugin offers. */
static inline const void *table(const struct kos_plugin *plugin, const char *feature)
{
    for (const struct kos_feature *const *f = plugin->features; *f; f++)
        if (strcmp((*f)->name, feature) == 0)
            return (*f)->table;
    fprintf(stderr, "%s does not offer %s\n", plugin->name, feature);
    exit(1);
}

static inline struct poll_host *begin(const struct kos_plugin *plugin, const char *const *settings,
                                      const struct poll_host_hooks *hooks)
{
    struct kos_error error = { 0, "" };
    struct poll_host *host = poll_host_new(plugin, settings, hooks, NULL, &error);
    if (!host) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
    poll_host_start(host);
    return host;
}

/* Stops the plugin and sees that it left nothing behind. */
static inline void finish(struct poll_host *host)
{
    uint32_t left = 0;
    CHECK(poll_host_stop(host));
    poll_host_free(host, &left);
    CHECK(left == 0);
}

#endif
