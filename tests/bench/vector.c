/* SPDX-License-Identifier: Apache-2.0
 * make bench-vector: queries per second of vector/hnsw through the SDK's tables beside those of bare hnswlib, with the
 * same vectors (fashion-mnist: 60000 of 784 numbers), parameters and threads. Short rounds in turn, so that what else
 * the machine does meets both; the ratio is the median of the rounds' ratios. On a machine that others use, processor
 * time per query, with all threads of the host's side, says more than queries per second: its ratio stands beside.
 *
 *   vector DIRECTORY [ROUNDS]     what was built is kept in the directory, and taken from there the next time */
#include <dlfcn.h>
#include <errno.h>
#include <kos/vector.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "../../sdk/examples/poll_host.h"
#include "vector_bare.h"

enum { DIMENSION = 784, COUNT = 60000, QUERIES = 1000, TOTAL = 3000, K = 10, M = 16, CONSTRUCTION = 200, WINDOW = 64,
       BATCH = 500, ROUNDS_MAX = 101 };
#define DATA "/usr/share/datasets/fashion-mnist/"

static struct {
    const struct kos_vector *v;
    struct poll_host *host;
    void *self;
    int32_t status;
    size_t done;                    /* completions since the round began */
    bool reading;                   /* they are queries of which the first are kept */
    uint32_t found[QUERIES * K];
    uint8_t result[4096];
    size_t result_len;
} b;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench-vector: %s: %s\n", what, why);
    exit(1);
}

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- data ---- */

static float *load(const char *name, size_t count)
{
    char command[256];
    uint8_t head[16], *pixels = malloc(count * DIMENSION);
    float *vectors = malloc(count * DIMENSION * sizeof *vectors);
    snprintf(command, sizeof command, "gzip -dc " DATA "%s", name);
    FILE *f = pixels && vectors ? popen(command, "r") : NULL;
    if (!f || fread(head, 1, sizeof head, f) != sizeof head || fread(pixels, DIMENSION, count, f) != count)
        die(DATA, "cannot be read: tools/packages bench installs it");
    pclose(f);
    for (size_t i = 0; i < count * DIMENSION; i++)
        vectors[i] = pixels[i];
    free(pixels);
    return vectors;
}

/* ---- the plugin ---- */

static void on_complete(void *arg, uint64_t op, int32_t status, struct kos_bytes result)
{
    (void)arg;
    b.done++;
    b.status = status;
    b.result_len = result.len < sizeof b.result ? result.len : 0;
    if (b.result_len)
        memcpy(b.result, result.data, b.result_len);
    struct kos_bytes key, value;
    for (size_t n = 0; b.reading && op <= QUERIES && n < K && kos_pair_next(&result, &key, &value) == 1; n++)
        memcpy(&b.found[(op - 1) * K + n], key.data, sizeof(uint32_t));
}

static void on_log(void *arg, int32_t level, const char *text)
{
    (void)arg;
    (void)level;
    fprintf(stderr, "bench-vector: %s\n", text);
}

static void wait_for(size_t done)
{
    while (b.done < done)
        poll_host_run(b.host, 100);
    if (b.status < 0)
        die("an operation failed", kos_error_name(b.status));
}

static void plugin_begin(const char *directory, unsigned threads)
{
    static struct poll_host_hooks hooks = { .complete = on_complete, .log = on_log };
    struct kos_error error = { 0 };
    char setting[32];
    void *handle = dlopen("plugins/vector/hnsw/.libs/hnsw.so", RTLD_NOW | RTLD_LOCAL);
    const struct kos_plugin *plugin = handle ? dlsym(handle, "kos_plugin_v1") : NULL;
    if (!plugin)
        die("plugins/vector/hnsw/.libs/hnsw.so", dlerror());
    hooks.directory = directory;
    snprintf(setting, sizeof setting, "threads=%u", threads);
    b.host = poll_host_new(plugin, (const char *const[]){ setting, NULL }, &hooks, NULL, &error);
    if (!b.host)
        die("the plugin does not start", error.text);
    b.v = plugin->features[0]->table;
    b.self = poll_host_self(b.host);
    poll_host_start(b.host);
}

static void plugin_fill(const float *vectors)
{
    static struct kos_item items[BATCH];
    static const struct kos_item *list[BATCH];
    static uint32_t ids[BATCH];
    uint64_t count = 0;
    struct kos_space space = { .size = sizeof space, .dimension = DIMENSION, .metric = KOS_METRIC_L2 };
    b.done = 0;
    b.v->open(b.self, 1, 1, "fashion-mnist", &space);
    wait_for(1);
    memcpy(&count, b.result, sizeof count);
    for (size_t from = count == COUNT ? COUNT : 0; from < COUNT; from += BATCH) {
        for (uint32_t i = 0; i < BATCH; i++) {
            ids[i] = (uint32_t)from + i;
            items[i] = (struct kos_item){ .size = sizeof *items,
                                          .id = kos_bytes(&ids[i], sizeof ids[i]),
                                          .version = 1,
                                          .vector = vectors + (from + i) * DIMENSION };
            memcpy(items[i].digest, &ids[i], sizeof ids[i]);
            list[i] = &items[i];
        }
        b.done = 0;
        b.v->upsert(b.self, 2, 1, list, BATCH);
        wait_for(1);
    }
}

static double plugin_run(const float *queries, uint32_t effort)
{
    double begin = now(CLOCK_MONOTONIC);
    size_t sent = 0;
    b.done = 0;
    b.reading = true;
    while (b.done < TOTAL) {
        for (; sent < TOTAL && sent - b.done < WINDOW; sent++) {
            struct kos_query q = { .size = sizeof q,
                                   .k = K,
                                   .vector = queries + sent % QUERIES * DIMENSION,
                                   .effort = effort };
            b.v->query(b.self, sent + 1, 1, &q);
        }
        poll_host_run(b.host, 100);
    }
    b.reading = false;
    if (b.status < 0)
        die("a query failed", kos_error_name(b.status));
    return now(CLOCK_MONOTONIC) - begin;
}

/* ---- measuring ---- */

static double recall(const uint32_t *found, const uint32_t *truth)
{
    size_t right = 0;
    for (size_t q = 0; q < QUERIES; q++)
        for (size_t i = 0; i < K; i++)
            for (size_t n = 0; n < K; n++)
                right += found[q * K + i] == truth[q * K + n];
    return (double)right / (QUERIES * K);
}

static int ascending(const void *a, const void *c)
{
    double x = *(const double *)a, y = *(const double *)c;
    return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, ascending);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

struct row {
    uint32_t effort;
    double bare, plugin, ratio, low, high, bare_recall, plugin_recall;
    double bare_cpu_us, plugin_cpu_us, cpu_ratio;   /* of one query */
};

static void measure(struct bare *bare, const float *queries, const uint32_t *truth, unsigned threads, size_t rounds,
                    struct row *row)
{
    static uint32_t found[QUERIES * K];
    double ours[ROUNDS_MAX], theirs[ROUNDS_MAX], ratios[ROUNDS_MAX], cpu[2][ROUNDS_MAX], cpu_ratios[ROUNDS_MAX];
    for (size_t i = 0; i < rounds; i++) {
        double a = 0, c = 0;
        for (size_t half = 0; half < 2; half++) { /* who goes first changes */
            size_t which = (i + half) % 2;
            double began = now(CLOCK_PROCESS_CPUTIME_ID);
            if (which)
                a = bare_run(bare, queries, QUERIES, TOTAL, K, row->effort, threads, found);
            else
                c = plugin_run(queries, row->effort);
            cpu[which][i] = (now(CLOCK_PROCESS_CPUTIME_ID) - began) / TOTAL * 1e6;
        }
        cpu_ratios[i] = cpu[1][i] / cpu[0][i];
        theirs[i] = TOTAL / a;
        ours[i] = TOTAL / c;
        ratios[i] = ours[i] / theirs[i];
    }
    row->bare_recall = recall(found, truth);
    row->plugin_recall = recall(b.found, truth);
    row->bare = median(theirs, rounds);
    row->plugin = median(ours, rounds);
    row->bare_cpu_us = median(cpu[1], rounds);
    row->plugin_cpu_us = median(cpu[0], rounds);
    row->cpu_ratio = median(cpu_ratios, rounds);
    row->ratio = median(ratios, rounds);
    row->low = ratios[rounds / 10];
    row->high = ratios[rounds - 1 - rounds / 10];
}

/* The least effort with which both find nine and a half of ten. */
static uint32_t least_effort(struct bare *bare, const float *queries, const uint32_t *truth, unsigned threads)
{
    static uint32_t found[QUERIES * K];
    for (uint32_t effort = K; effort < 1000; effort += 2) {
        bare_run(bare, queries, QUERIES, QUERIES, K, effort, threads, found);
        plugin_run(queries, effort);
        if (recall(found, truth) >= 0.95 && recall(b.found, truth) >= 0.95)
            return effort;
    }
    die("no effort below 1000", "finds 0.95 of what is near");
    return 0;
}

static void report(FILE *f, const struct row *rows, size_t count, unsigned threads, size_t rounds)
{
    fprintf(f, "{\"construction\":%d,\"count\":%d,\"data\":\"fashion-mnist\",\"dimension\":%d,\"k\":%d,\"m\":%d,"
            "\"rounds\":%zu,\"rows\":[", CONSTRUCTION, COUNT, DIMENSION, K, M, rounds);
    for (size_t i = 0; i < count; i++)
        fprintf(f, "%s{\"bare_cpu_us\":%.1f,\"bare_qps\":%.0f,\"bare_recall\":%.4f,\"cpu_ratio\":%.3f,\"effort\":%u,"
                "\"plugin_cpu_us\":%.1f,\"plugin_qps\":%.0f,\"plugin_recall\":%.4f,\"ratio\":%.3f,\"ratio_high\":%.3f,"
                "\"ratio_low\":%.3f}", i ? "," : "", rows[i].bare_cpu_us, rows[i].bare, rows[i].bare_recall,
                rows[i].cpu_ratio, rows[i].effort, rows[i].plugin_cpu_us, rows[i].plugin, rows[i].plugin_recall,
                rows[i].ratio, rows[i].high, rows[i].low);
    fprintf(f, "],\"threads\":%u}\n", threads);
}

int main(int argc, char **argv)
{
    static uint32_t truth[QUERIES * K];
    size_t rounds = argc > 2 ? (size_t)atoi(argv[2]) : 15;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned threads = cores > 0 ? (unsigned)cores : 1;
    char directory[4096], file[4200];
    if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX)
        die("usage", "vector DIRECTORY [ROUNDS, at most 101]");
    if ((mkdir(argv[1], 0700) != 0 && errno != EEXIST) || !realpath(argv[1], directory))
        die(argv[1], strerror(errno));
    float *vectors = load("train-images-idx3-ubyte.gz", COUNT), *queries = load("t10k-images-idx3-ubyte.gz", QUERIES);
    fprintf(stderr, "bench-vector: building, or taking what was built, in %s\n", directory);
    snprintf(file, sizeof file, "%s/bare", directory);
    struct bare *bare = bare_new(vectors, COUNT, DIMENSION, M, CONSTRUCTION, threads, file);
    plugin_begin(directory, threads);
    plugin_fill(vectors);
    bare_truth(vectors, COUNT, DIMENSION, queries, QUERIES, K, threads, truth);
    struct row rows[2] = { { .effort = least_effort(bare, queries, truth, threads) }, { .effort = 64 } };
    printf("%d vectors of %d, k %d, M %d, %u threads, %zu rounds of %d queries\n\n", COUNT, DIMENSION, K, M, threads,
           rounds, TOTAL);
    printf("effort  bare q/s  recall  plugin q/s  recall   ratio  (10 %% to 90 %%)      cpu us  cpu us   ratio\n");
    for (size_t i = 0; i < 2; i++) {
        measure(bare, queries, truth, threads, rounds, &rows[i]);
        printf("%6u  %8.0f  %6.4f  %10.0f  %6.4f  %6.3f  (%.3f to %.3f)    %6.1f  %6.1f  %6.3f\n", rows[i].effort,
               rows[i].bare, rows[i].bare_recall, rows[i].plugin, rows[i].plugin_recall, rows[i].ratio, rows[i].low,
               rows[i].high, rows[i].bare_cpu_us, rows[i].plugin_cpu_us, rows[i].cpu_ratio);
    }
    snprintf(file, sizeof file, "%s/vector.json", directory);
    FILE *f = fopen(file, "w");
    if (!f)
        die(file, strerror(errno));
    report(f, rows, 2, threads, rounds);
    fclose(f);
    printf("\nwritten to %s; 0.95 is the aim: %s\n", file,
           rows[0].ratio >= 0.95 && rows[1].ratio >= 0.95 ? "reached" : "missed");
    if (!poll_host_stop(b.host))
        die("the plugin", "does not stop");
    poll_host_free(b.host, NULL);
    bare_free(bare);
    free(vectors);
    free(queries);
    return rows[0].ratio >= 0.95 && rows[1].ratio >= 0.95 ? 0 : 1;
}
