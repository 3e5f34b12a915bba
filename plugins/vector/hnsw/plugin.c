/* SPDX-License-Identifier: Apache-2.0
 * The plugin: what it is, its settings, its life. */
#include "hnsw.h"

#include <unistd.h>

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    const char *simd = kos_conf_text(conf, "simd");
    const struct distance_set *distance = strcmp(simd, "auto") == 0 ? distance_best() : distance_named(simd);
    if (!KOS_HAS(host, directory))
        return kos_fail(ret_error, KOS_E_CONFIG,
                        "hnsw keeps its collections in files: give it rights = [ \"files\" ] in the policy");
    if (!distance)
        return kos_fail(ret_error, KOS_E_CONFIG,
                        "the setting simd is \"%s\", which this processor cannot do: take \"auto\" or \"base\"", simd);
    struct hnsw *hnsw = calloc(1, sizeof *hnsw);
    if (!hnsw)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the vector backend");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    hnsw->host = host;
    hnsw->distance = distance;
    hnsw->limits = (struct limits){ .collections = (uint32_t)kos_conf_number(conf, "collections"),
                                    .dimension = (uint32_t)kos_conf_number(conf, "dimension"),
                                    .items = (uint32_t)kos_conf_number(conf, "items"),
                                    .threads = (uint32_t)kos_conf_number(conf, "threads"),
                                    .m = (uint32_t)kos_conf_number(conf, "m"),
                                    .construction = (uint32_t)kos_conf_number(conf, "construction"),
                                    .effort = (uint32_t)kos_conf_number(conf, "effort"),
                                    .memory_bytes = (uint64_t)kos_conf_number(conf, "memory"),
                                    .queue_bytes = (uint64_t)kos_conf_number(conf, "queue"),
                                    .log_bytes = (uint64_t)kos_conf_number(conf, "log") };
    if (hnsw->limits.threads == 0)
        hnsw->limits.threads = cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : (uint32_t)cores;
    pthread_mutex_init(&hnsw->lock, NULL);
    pthread_mutex_init(&hnsw->pool.lock, NULL);
    pthread_cond_init(&hnsw->pool.wake, NULL);
    pthread_cond_init(&hnsw->pool.helped, NULL);
    *ret_self = hnsw;
    return KOS_OK;
}

static void start(void *self)
{
    struct hnsw *hnsw = self;
    hnsw->started = pool_start(hnsw, hnsw->limits.threads) == KOS_OK;
    if (!hnsw->started)
        hnsw->host->log(hnsw->host, KOS_ERROR, "hnsw: no thread can be started: nothing can be asked of it");
}

static void stop(void *self)
{
    struct hnsw *hnsw = self;
    hnsw->stopping = true;
    atomic_store(&hnsw->halt, true);
    pool_quit(hnsw);
    for (struct collection *c = hnsw->collections; c; c = c->next)
        collection_quit(c);
    hnsw_wake(hnsw);
}

static void fini(void *self)
{
    struct hnsw *hnsw = self;
    for (struct line *next; hnsw->lines; hnsw->lines = next) {
        next = hnsw->lines->next;
        free(hnsw->lines);
    }
    pthread_cond_destroy(&hnsw->pool.helped);
    pthread_cond_destroy(&hnsw->pool.wake);
    pthread_mutex_destroy(&hnsw->pool.lock);
    pthread_mutex_destroy(&hnsw->lock);
    free(hnsw);
}

#define SETTING(name_, type_, fallback_, min_, max_, summary_)                                                         \
    &(const struct kos_setting)                                                                                        \
    {                                                                                                                  \
        .size = sizeof(struct kos_setting), .type = (type_), .name = (name_), .fallback = (fallback_), .min = (min_),  \
        .max = (max_), .summary = (summary_)                                                                           \
    }
static const char *const simd_choices[] = { "auto", "base", "avx2", "avx512", NULL };
static const struct kos_setting *const settings[] = {
    SETTING("collections", KOS_SETTING_INT, "64", 1, 4096, "collections open at a time; each has a thread"),
    SETTING("dimension", KOS_SETTING_INT, "4096", 1, DIMENSION_MAX, "floats a vector may have"),
    SETTING("items", KOS_SETTING_INT, "1000000", 1, 100000000, "items a collection may hold, tombstones with them"),
    SETTING("memory", KOS_SETTING_SIZE, "4G", 1 << 20, INT64_C(1) << 44, "bytes that all open collections may take"),
    SETTING("queue", KOS_SETTING_SIZE, "256M", 1 << 20, 1 << 30, "bytes of operations that may wait"),
    SETTING("log", KOS_SETTING_SIZE, "64M", 4096, INT64_C(1) << 40, "bytes of log above which a new base is saved"),
    SETTING("threads", KOS_SETTING_INT, "0", 0, THREADS_MAX, "threads that search and add; 0: one per core"),
    SETTING("m", KOS_SETTING_INT, "16", 4, 128, "links per node, of collections made from now on"),
    SETTING("construction", KOS_SETTING_INT, "200", 8, 4096,
            "candidates looked at when adding, of collections made from now on"),
    SETTING("effort", KOS_SETTING_INT, "64", 1, GRAPH_EFFORT_MAX, "candidates of a query that does not say how many"),
    &(const struct kos_setting){ .size = sizeof(struct kos_setting),
                                 .type = KOS_SETTING_STRING,
                                 .name = "simd",
                                 .fallback = "auto",
                                 .choices = simd_choices,
                                 .summary = "instructions for distances" },
    NULL,
};
static const struct kos_right *const rights[] = {
    &(const struct kos_right){ sizeof(struct kos_right), "files", "keeps its collections" },
    NULL,
};
static const struct kos_feature *const features[] = {
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_VECTOR, &hnsw_vector },
    NULL,
};

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.vector.hnsw",
    .name = "hnsw",
    .version = "1.0.0",
    .summary = "vectors in graphs of neighbours, durable (hnswlib)",
    .settings = settings,
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = fini,
    .timer = hnsw_posted,
    .posted = hnsw_posted,
};
