/* SPDX-License-Identifier: Apache-2.0
 * One more handler, which nobody gives a message: for what it costs a node to have many. Copies of the module under other
 * names take the place of 000. */
#include <kos/handler.h>
#include <kos/plugin.h>

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    (void)conf;
    (void)ret_error;
    *ret_self = (void *)host;
    return KOS_OK;
}

static void start(void *self)
{
    (void)self;
}

static void stop(void *self)
{
    const struct kos_host *host = self;
    host->stopped(host);
}

static void fini(void *self)
{
    (void)self;
}

static void handle(void *self, uint64_t message, const struct kos_message *m)
{
    (void)self;
    (void)message;
    (void)m;
}

static const char *const types[] = { "BENCH_FILLER_000", NULL };
static const struct kos_handler handler = { .size = sizeof handler, .types = types, .handle = handle };
static const struct kos_feature feature = { sizeof feature, KOS_HANDLER, &handler };
static const struct kos_feature *const features[] = { &feature, NULL };

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.bench.filler_000",
    .name = "filler_000",
    .version = "1.0.0",
    .summary = "one more handler",
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = fini,
};
