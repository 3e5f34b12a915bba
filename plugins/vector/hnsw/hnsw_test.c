/* SPDX-License-Identifier: Apache-2.0
 * The backend beside vector_brute: the same operations to both, and the same answers. */
#include "testing.h"

#include <math.h>

enum { DIMENSION = 24, IDS = 600 };
#define HNSW "plugins/vector/hnsw/.libs/hnsw.so"
#define BRUTE "sdk/examples/.libs/vector_brute.so"

static const uint8_t lowest[32] = { 0 };
static const uint8_t highest[32] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

struct made {
    struct kos_item item;
    char id[16], metadata[64];
    float vector[DIMENSION];
};

static void make_item(uint64_t *seed, struct made *m, uint32_t number, uint64_t version)
{
    static const char *const langs[] = { "de", "en", "fr", "nl" };
    snprintf(m->id, sizeof m->id, "item-%u", number);
    snprintf(m->metadata, sizeof m->metadata, "{\"a\":[1,{\"lang\":\"de\"}],\"lang\":\"%s\",\"n\":%u}",
             langs[draw(seed) % 4], number % 50);
    make_vector(seed, m->vector, DIMENSION);
    m->item = (struct kos_item){ .size = sizeof m->item,
                                 .flags = draw(seed) % 10 == 0,
                                 .id = kos_bytes_str(m->id),
                                 .version = version,
                                 .vector = m->vector,
                                 .metadata = kos_bytes_str(m->metadata) };
    for (size_t i = 0; i < 32; i++)
        m->item.digest[i] = (uint8_t)draw(seed);
}

static void same(struct side *a, struct side *b, const char *what)
{
    ck_assert_msg(a->ops[a->last].status == b->ops[b->last].status, "%s: %d and %d", what, a->ops[a->last].status,
                  b->ops[b->last].status);
    if (a->ops[a->last].status >= 0)
        ck_assert_msg(kos_bytes_eq(side_result(a), side_result(b)), "%s: %zu and %zu bytes differ", what,
                      side_result(a).len, side_result(b).len);
}

/* Distances may differ in their last bits, and so may the order of those that are as good as equal. */
static void near_same(struct side *a, struct side *b)
{
    struct kos_bytes x = side_result(a), y = side_result(b), key, value, other;
    int32_t more;
    while ((more = kos_pair_next(&x, &key, &value)) == 1) {
        float d, e;
        ck_assert_int_eq(kos_pair_next(&y, &other, &other), 1);
        memcpy(&d, value.data, sizeof d);
        memcpy(&e, other.data, sizeof e);
        ck_assert_msg(fabsf(d - e) <= 1e-4f * (1 + fabsf(e)), "%.9g and %.9g", (double)d, (double)e);
    }
    ck_assert_int_eq(more, 0);
    ck_assert_uint_eq(y.len, 0);
}

static void compare_all(struct side *a, struct side *b, uint64_t *seed)
{
    uint8_t from[32], to[32];
    float at[DIMENSION];
    static const char *const filters[] = { "", "{}", "{\"lang\":\"de\"}", "{\"lang\":\"nl\",\"n\":7}", "{\"n\":\"7\"}",
                                           "{\"a\":[1,{\"lang\":\"de\"}],\"lang\":\"fr\"}", "{\"zzz\":1}" };
    for (int i = 0; i < 20; i++) {
        for (size_t n = 0; n < 32; n++) {
            from[n] = (uint8_t)draw(seed);
            to[n] = (uint8_t)draw(seed);
        }
        SIDE(a, fingerprint, 1, i ? from : lowest, i ? to : highest);
        SIDE(b, fingerprint, 1, i ? from : lowest, i ? to : highest);
        same(a, b, "fingerprint");
        SIDE(a, scan, 1, i ? from : lowest, i ? to : highest, i % 3 ? 7 : 100000);
        SIDE(b, scan, 1, i ? from : lowest, i ? to : highest, i % 3 ? 7 : 100000);
        same(a, b, "scan");
        make_vector(seed, at, DIMENSION);
        struct kos_query q = { .size = sizeof q,
                               .k = (uint32_t[]){ 0, 1, 10, 10000 }[i % 4],
                               .vector = at,
                               .filter = kos_bytes_str(filters[i % 7]),
                               .effort = 100000 };
        ck_assert_int_eq(SIDE(a, query, 1, &q), KOS_OK);
        ck_assert_int_eq(SIDE(b, query, 1, &q), KOS_OK);
        near_same(a, b);
    }
    for (uint32_t i = 0; i < IDS; i += 17) {
        char id[16];
        snprintf(id, sizeof id, "item-%u", i);
        SIDE(a, get, 1, kos_bytes_str(id));
        SIDE(b, get, 1, kos_bytes_str(id));
        same(a, b, "get");
    }
}

static void churn(struct side *a, struct side *b, uint64_t *seed, int rounds)
{
    static struct made made[64];
    const struct kos_item *list[64];
    for (int round = 0; round < rounds; round++) {
        uint32_t count = draw(seed) % 64;
        for (uint32_t i = 0; i < count; i++) {
            make_item(seed, &made[i], draw(seed) % IDS, draw(seed) % 1000);
            list[i] = &made[i].item;
        }
        SIDE(a, upsert, 1, list, count);
        SIDE(b, upsert, 1, list, count);
        same(a, b, "upsert");
        for (int i = 0; i < 5; i++) {
            char id[16];
            uint64_t version = draw(seed) % 1200;
            snprintf(id, sizeof id, "item-%u", draw(seed) % IDS);
            SIDE(a, remove, 1, kos_bytes_str(id), version);
            SIDE(b, remove, 1, kos_bytes_str(id), version);
            same(a, b, "remove");
        }
    }
}

static struct side hnsw, brute;
static char folder[64];

static void reopen(const struct kos_space *space, const char *const *settings)
{
    side_end(&hnsw);
    side_begin(&hnsw, HNSW, folder, settings);
    ck_assert_msg(SIDE(&hnsw, open, 1, "things", space) == KOS_OK, "%s", hnsw.log);
}

START_TEST(test_as_brute)
{
    static const char *const settings[] = { "log=65536", "threads=2", NULL };
    for (int32_t metric = KOS_METRIC_L2; metric <= KOS_METRIC_COSINE; metric++) {
        uint64_t seed = (uint64_t)metric;
        struct kos_space space = { .size = sizeof space, .dimension = DIMENSION, .metric = metric };
        temporary(folder);
        side_begin(&hnsw, HNSW, folder, settings);
        side_begin(&brute, BRUTE, NULL, NULL);
        ck_assert_int_eq(SIDE(&hnsw, open, 1, "things", &space), KOS_OK);
        ck_assert_int_eq(SIDE(&brute, open, 1, "things", &space), KOS_OK);
        same(&hnsw, &brute, "open");
        for (int i = 0; i < 6; i++) {
            churn(&hnsw, &brute, &seed, 20);
            compare_all(&hnsw, &brute, &seed);
            if (i % 2) {
                reopen(&space, settings);
                compare_all(&hnsw, &brute, &seed);
            }
        }
        ck_assert_str_eq(hnsw.log, "");
        side_end(&hnsw);
        side_end(&brute);
        remove_tree(folder);
    }
}
END_TEST

TESTS("vector/hnsw", test_as_brute)
