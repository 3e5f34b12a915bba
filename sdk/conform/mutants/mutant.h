/* SPDX-License-Identifier: Apache-2.0
 *
 * A mutant: one of the SDK's examples, sound as it is, with a thin layer around it that breaks one sentence of the
 * headers. Which one is said by the environment (KOS_MUTANT), so that one module serves for many; without it the layer
 * does nothing. An includer defines ORIGINAL (or LAYER_LOADS: the
 * module that KOS_MUTANT_OF names), mutate() and mutate_host().
 */
#include <unistd.h>

#ifdef LAYER_LOADS
static struct kos_plugin original;
#else
#define kos_plugin_v1 original
#include ORIGINAL
#undef kos_plugin_v1
#endif
KOS_EXPORT extern struct kos_plugin mutant __asm__("kos_plugin_v1");
/* Exported as kos_plugin_v1: the original's, with members of the layer in between. */
KOS_EXPORT struct kos_plugin mutant;

static bool is(const char *name)
{
    const char *wanted = getenv("KOS_MUTANT");
    return wanted && strcmp(wanted, name) == 0;
}

/* What the original gets for its host: the real one's members with those of the layer in between. The ctx is the real
 * one's, so members that are not replaced work as they are. */
struct layer {
    struct kos_host host;       /* first */
    const struct kos_host *real;
    void *self;                 /* the original's */
    uint64_t last, count;       /* for mutations that wait or remember */
    struct kos_bytes kept;
};
static struct layer layers[256];

static struct layer *of_self(void *self)
{
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        if (layers[i].self == self)
            return &layers[i];
    abort();
}

__attribute__((unused)) static struct layer *of_host(const struct kos_host *host)
{
    return (struct layer *)(uintptr_t)host;
}

/* Replaces members of plugin, tables and features; before anybody reads them. */
static void mutate(void);
/* Replaces members of the host's table. */
static void mutate_host(struct layer *layer);

static int32_t layer_init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                          struct kos_error *ret_error)
{
    struct layer *layer = of_self(NULL);
    memset(layer, 0, sizeof *layer);
    layer->host = *host;
    layer->host.size = sizeof layer->host;
    layer->real = host;
    mutate_host(layer);
    if (is("newer") && host->size != sizeof *host)
        return kos_fail(ret_error, KOS_E_VERSION, "this host is not of my size");
    int32_t rc = original.init(&layer->host, conf, &layer->self, ret_error);
    if (rc >= 0)
        *ret_self = layer->self;
    else
        layer->self = NULL;
    return rc;
}

static void layer_fini(void *self)
{
    struct layer *layer = of_self(self);
    original.fini(self); /* what it points at is gone, but its number still finds the layer */
    layer->self = NULL;
}

__attribute__((constructor)) static void begin(void)
{
#ifdef LAYER_LOADS
    void *module = dlopen(getenv("KOS_MUTANT_OF"), RTLD_NOW | RTLD_LOCAL);
    const struct kos_plugin *loaded = module ? dlsym(module, "kos_plugin_v1") : NULL;
    if (!loaded)
        abort();
    original = *loaded;
#endif
    mutant = original;
    mutant.init = layer_init;
    mutant.fini = layer_fini;
    mutate();
}
