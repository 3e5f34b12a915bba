/* SPDX-License-Identifier: Apache-2.0
 *
 * A plugin: one shared object that exports `const struct kos_plugin kos_plugin_v1`. What can be known of it without
 * running it (id, settings, rights, features) is plain data. Since 1.0.
 *
 * Life: init (once; no operation is under way) -> start -> calls and events -> stop -> host->stopped -> fini.
 */
#ifndef KOS_PLUGIN_H
#define KOS_PLUGIN_H

#include <kos/conf.h>
#include <kos/host.h>

/* A right the plugin asks for; the policy grants it or the plugin is not started. Names of 1.0: "listen", "connect",
 * "device", "net" (its library opens sockets by itself), "send" (messages), "sign", "agents", "files"
 * (kos_host.directory), "exec" (starts programs). */
struct kos_right {
    uint32_t size;
    const char *name;
    const char *why;             /* one line for the operator */
};

/* A kind the plugin is, or a feature it offers: "kos.transport/1" with a struct kos_transport, and so on. */
struct kos_feature {
    uint32_t size;
    const char *name;
    const void *table;           /* const, begins with uint32_t size */
};

struct kos_plugin {
    uint32_t size;
    uint32_t abi;                /* KOS_ABI it was built with */
    const char *id;              /* reverse domain, "org.example.radio" */
    const char *name;            /* [a-z][a-z0-9_]*, at most 32: how policies and people call it */
    const char *version;
    const char *summary;         /* one line */
    const struct kos_setting *const *settings;  /* NULL-terminated; NULL: none */
    const struct kos_right *const *rights;      /* NULL-terminated; NULL: none */
    const struct kos_feature *const *features;  /* NULL-terminated; at least one kind */

    /* Makes an instance. Must not block. `conf` and `host` stay valid until fini. On failure *ret_self is untouched and
     * nothing else is called. */
    int32_t (*init)(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error);
    /* All plugins are initialised; operations may be submitted from here on. */
    void (*start)(void *self);
    /* End everything: close links and endpoints, complete open operations (KOS_E_CANCELLED), then host->stopped(), in
     * this call or later, within 5 s. New operations are not submitted to you any more. */
    void (*stop)(void *self);
    /* Frees the instance. After init, called exactly once: after `stopped`, or by itself when start never came. */
    void (*fini)(void *self);

    /* Events. A plugin that never causes one may leave it NULL. */
    void (*completed)(void *self, uint64_t op, int32_t status, struct kos_bytes result);
    /* fd -1 on failure, text says why */
    void (*opened)(void *self, uint64_t op, int32_t status, int32_t fd, const char *text);
    void (*timer)(void *self, uint64_t timer);
    void (*ready)(void *self, int32_t fd, int32_t events);
    void (*posted)(void *self, uint64_t cookie);
};

#ifdef __cplusplus
extern "C"
#else
extern
#endif
KOS_EXPORT const struct kos_plugin kos_plugin_v1;

#endif
