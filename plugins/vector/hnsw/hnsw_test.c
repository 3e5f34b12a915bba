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

static const struct kos_space plain = { .size = sizeof plain, .dimension = DIMENSION, .metric = KOS_METRIC_L2 };

static void begin(const char *const *settings)
{
    temporary(folder);
    side_begin(&hnsw, HNSW, folder, settings);
    ck_assert_msg(SIDE(&hnsw, open, 1, "things", &plain) == KOS_OK, "%s", hnsw.log);
}

static void finish(void)
{
    side_end(&hnsw);
    remove_tree(folder);
}

static int32_t upsert_one(const struct kos_item *item)
{
    return SIDE(&hnsw, upsert, 1, (const struct kos_item *const[]){ item }, 1);
}

static long stat_of(const char *name)
{
    char wanted[32];
    ck_assert_int_eq(SIDE(&hnsw, stats, 1), KOS_OK);
    char *text = strndup((const char *)side_result(&hnsw).data, side_result(&hnsw).len);
    snprintf(wanted, sizeof wanted, "\"%s\":", name);
    ck_assert_msg(strstr(text, wanted) != NULL, "%s", text);
    long value = strtol(strstr(text, wanted) + strlen(wanted), NULL, 10);
    free(text);
    return value;
}

START_TEST(test_hostile_items)
{
    struct made m;
    uint64_t seed = 1;
    char long_id[129], long_metadata[(16 << 10) + 16];
    static const char *const broken[] = { "{", "[]", "7", "{\"a\":1 }", "{\"b\":1,\"a\":2}", "{\"a\":1}x", "\xff" };
    const float bad[] = { NAN, INFINITY, -INFINITY, 3e38f, 1e19f };
    begin(NULL);
    memset(long_id, 'x', sizeof long_id);
    memset(long_metadata, 'x', sizeof long_metadata);
    make_item(&seed, &m, 1, 1);
    m.item.flags = 0;
    struct kos_item good = m.item;
    m.item.id = kos_bytes(long_id, sizeof long_id);
    ck_assert_int_eq(upsert_one(&m.item), KOS_E_INVALID);
    m.item.id = kos_bytes(NULL, 0);
    ck_assert_int_eq(upsert_one(&m.item), KOS_E_INVALID);
    m.item = good;
    m.item.vector = NULL;
    ck_assert_int_eq(upsert_one(&m.item), KOS_E_INVALID);
    m.item = good;
    m.item.metadata = kos_bytes(long_metadata, sizeof long_metadata);
    ck_assert_int_eq(upsert_one(&m.item), KOS_E_INVALID);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        m.item.metadata = kos_bytes_str(broken[i]);
        ck_assert_int_eq(upsert_one(&m.item), KOS_E_CANONICAL);
    }
    m.item = good;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        m.vector[DIMENSION - 1] = bad[i];
        ck_assert_int_eq(upsert_one(&m.item), KOS_E_INVALID);
        struct kos_query q = { .size = sizeof q, .k = 1, .vector = m.vector };
        ck_assert_int_eq(SIDE(&hnsw, query, 1, &q), KOS_E_INVALID);
        m.vector[DIMENSION - 1] = 1;
    }
    /* All or nothing. */
    struct kos_item two[2] = { good, good };
    two[1].id = kos_bytes(NULL, 0);
    ck_assert_int_eq(SIDE(&hnsw, upsert, 1, (const struct kos_item *const[]){ &two[0], &two[1] }, 2), KOS_E_INVALID);
    ck_assert_int_eq(SIDE(&hnsw, get, 1, good.id), KOS_E_NOTFOUND);
    ck_assert_int_eq(SIDE(&hnsw, upsert, 1, NULL, 0), KOS_OK);
    ck_assert_int_eq(upsert_one(&good), KOS_OK);
    ck_assert_int_eq(SIDE(&hnsw, get, 1, kos_bytes(long_id, sizeof long_id)), KOS_E_NOTFOUND);
    ck_assert_int_eq(SIDE(&hnsw, remove, 1, kos_bytes(NULL, 0), 9), KOS_E_NOTFOUND);
    ck_assert_int_eq(SIDE(&hnsw, remove, 1, good.id, 1), KOS_E_STALE);
    finish();
}
END_TEST

START_TEST(test_hostile_calls)
{
    struct made m;
    uint64_t seed = 1;
    begin((const char *const[]){ "collections=2", "items=1", "dimension=24", NULL });
    struct kos_space space = plain;
    make_item(&seed, &m, 1, 1);
    m.item.flags = 0;
    ck_assert_int_eq(upsert_one(&m.item), KOS_OK);
    struct kos_query q = { .size = sizeof q, .k = 10000, .vector = m.vector };
    ck_assert_int_eq(SIDE(&hnsw, query, 1, &q), KOS_OK);
    q.k = 10001;
    ck_assert_int_eq(SIDE(&hnsw, query, 1, &q), KOS_E_LIMIT);
    q.k = 1;
    q.effort = UINT32_MAX;
    ck_assert_int_eq(SIDE(&hnsw, query, 1, &q), KOS_E_LIMIT);
    q.effort = 0;
    q.filter = kos_bytes_str("{\"lang\":");
    ck_assert_int_eq(SIDE(&hnsw, query, 1, &q), KOS_E_CANONICAL);
    q.filter = kos_bytes_str("[\"lang\"]");
    ck_assert_int_eq(SIDE(&hnsw, query, 1, &q), KOS_E_CANONICAL);
    q.vector = NULL;
    ck_assert_int_eq(SIDE(&hnsw, query, 1, &q), KOS_E_INVALID);
    snprintf(m.id, sizeof m.id, "another");
    m.item.id = kos_bytes_str(m.id);
    ck_assert_int_eq(upsert_one(&m.item), KOS_E_LIMIT);
    ck_assert(strstr(hnsw.log, "setting items") != NULL);

    ck_assert_int_eq(SIDE(&hnsw, open, 1, "other", &plain), KOS_E_EXISTS);
    ck_assert_int_eq(SIDE(&hnsw, open, 2, "things", &plain), KOS_E_EXISTS);
    ck_assert_int_eq(SIDE(&hnsw, open, 2, "", &plain), KOS_E_INVALID);
    space.dimension = 25;
    ck_assert_int_eq(SIDE(&hnsw, open, 2, "x", &space), KOS_E_LIMIT);
    space.dimension = 0;
    ck_assert_int_eq(SIDE(&hnsw, open, 2, "x", &space), KOS_E_INVALID);
    space = plain;
    space.metric = 9;
    ck_assert_int_eq(SIDE(&hnsw, open, 2, "x", &space), KOS_E_UNSUPPORTED);
    ck_assert_int_eq(SIDE(&hnsw, open, 2, "../../x", &plain), KOS_OK); /* a name, not a path */
    ck_assert_int_eq(SIDE(&hnsw, open, 3, "y", &plain), KOS_E_LIMIT);
    ck_assert_int_eq(SIDE(&hnsw, close, 2), KOS_OK);
    space = plain;
    space.model[0] = 1;
    ck_assert_int_eq(SIDE(&hnsw, open, 2, "../../x", &space), KOS_E_STATE);
    ck_assert(strstr(hnsw.log, "another space") != NULL);
    ck_assert_int_eq(SIDE(&hnsw, get, 2, m.item.id), KOS_E_NOTFOUND);
    ck_assert_int_eq(SIDE(&hnsw, close, 7), KOS_E_NOTFOUND);
    ck_assert_int_eq(SIDE(&hnsw, drop, 7), KOS_E_NOTFOUND);
    ck_assert_int_eq(SIDE(&hnsw, stats, 7), KOS_E_NOTFOUND);
    ck_assert_int_eq(SIDE(&hnsw, snapshot, 1, "collections"), KOS_E_INVALID);
    ck_assert_int_eq(SIDE(&hnsw, snapshot, 1, "/tmp"), KOS_E_INVALID);
    ck_assert_int_eq(SIDE(&hnsw, snapshot, 1, "../.."), KOS_E_INVALID);
    ck_assert_int_eq(SIDE(&hnsw, snapshot, 1, "nowhere"), KOS_E_NOTFOUND);
    finish();
}
END_TEST

START_TEST(test_two_processes)
{
    static struct side second;
    begin(NULL);
    side_begin(&second, HNSW, folder, NULL);
    ck_assert_int_eq(SIDE(&second, open, 1, "things", &plain), KOS_E_LOCKED);
    side_end(&second);
    finish();
}
END_TEST

START_TEST(test_memory_limit)
{
    static struct made made[64];
    const struct kos_item *list[64];
    uint64_t seed = 1;
    int32_t rc = KOS_OK;
    begin((const char *const[]){ "memory=6M", "log=4096", NULL });
    uint32_t taken = 0;
    for (uint32_t n = 0; rc == KOS_OK && n < 100000; n += 64) {
        for (uint32_t i = 0; i < 64; i++) {
            make_item(&seed, &made[i], n + i, 1);
            list[i] = &made[i].item;
        }
        rc = SIDE(&hnsw, upsert, 1, list, 64);
        taken += rc == KOS_OK ? 64 : 0;
    }
    ck_assert_int_eq(rc, KOS_E_LIMIT);
    ck_assert(strstr(hnsw.log, "setting memory") != NULL);
    ck_assert_int_eq(stat_of("items"), (long)taken);
    ck_assert_int_le(stat_of("memory_bytes"), 6 << 20);
    finish();
}
END_TEST

static void fill(uint32_t from, uint32_t count, uint64_t version, uint32_t flags)
{
    static struct made made[256];
    const struct kos_item *list[256];
    uint64_t seed = from + version;
    for (uint32_t n = 0; n < count;) {
        uint32_t i = 0;
        for (; i < 256 && n < count; i++, n++) {
            make_item(&seed, &made[i], from + n, version);
            made[i].item.flags = flags;
            list[i] = &made[i].item;
        }
        ck_assert_int_eq(SIDE(&hnsw, upsert, 1, list, i), KOS_OK);
    }
}

/* Queries, gets and scans go on all the while. */
static void until_rebuilt(long rebuilds)
{
    uint64_t seed = 3;
    float at[DIMENSION];
    for (int i = 0; stat_of("rebuilds") < rebuilds; i++) {
        ck_assert_int_lt(i, 100000);
        make_vector(&seed, at, DIMENSION);
        struct kos_query q = { .size = sizeof q, .k = 5, .vector = at };
        ck_assert_int_eq(SIDE(&hnsw, query, 1, &q), KOS_OK);
        struct kos_bytes rest = side_result(&hnsw), key, value;
        int found = 0;
        while (kos_pair_next(&rest, &key, &value) == 1)
            found++;
        ck_assert_int_eq(found, 5);
    }
}

START_TEST(test_rebuild)
{
    uint8_t before[40];
    begin((const char *const[]){ "threads=2", NULL });
    fill(0, 3000, 1, 0);
    ck_assert_int_eq(stat_of("rebuilds"), 0);
    fill(0, 800, 2, 1);     /* deleted */
    fill(800, 800, 2, 0);   /* changed */
    until_rebuilt(1);
    ck_assert_int_eq(stat_of("items"), 3000);
    ck_assert_int_eq(stat_of("tombstones"), 800);
    ck_assert_int_lt(stat_of("deleted"), 1000);
    SIDE(&hnsw, fingerprint, 1, lowest, highest);
    memcpy(before, side_result(&hnsw).data, sizeof before);
    reopen(&plain, NULL);
    SIDE(&hnsw, fingerprint, 1, lowest, highest);
    ck_assert(memcmp(before, side_result(&hnsw).data, sizeof before) == 0);
    until_rebuilt(0);
    /* All that there was is deleted, and something new is found. */
    fill(0, 3000, 3, 1);
    fill(5000, 5, 1, 0);
    until_rebuilt(1);
    finish();
}
END_TEST

/* Everything at once, with hundreds under way. Good under a thread sanitizer. */
static void storm(int rounds)
{
    static struct made made[16];
    const struct kos_item *list[16];
    uint64_t seed = 11;
    float at[DIMENSION];
    char kept[96];
    for (int i = 0; i < rounds; i++) {
        make_vector(&seed, at, DIMENSION);
        struct kos_query q = { .size = sizeof q, .k = 5, .vector = at, .effort = 40,
                               .filter = kos_bytes_str(i % 3 ? "" : "{\"lang\":\"de\"}") };
        if (hnsw.last + 8 >= SIDE_OPS)
            break;
        hnsw.v->query(hnsw.self, side_op(&hnsw), 1, &q);
        if (i % 4 == 0) {
            for (uint32_t n = 0; n < 16; n++) {
                make_item(&seed, &made[n], draw(&seed) % 2000, (uint64_t)i + 2);
                list[n] = &made[n].item;
            }
            hnsw.v->upsert(hnsw.self, side_op(&hnsw), 1, list, 16);
            hnsw.v->get(hnsw.self, side_op(&hnsw), 1, list[0]->id);
            hnsw.v->remove(hnsw.self, side_op(&hnsw), 1, list[1]->id, (uint64_t)i);
        }
        if (i % 16 == 0)
            hnsw.v->scan(hnsw.self, side_op(&hnsw), 1, lowest, highest, 100);
        if (i % 64 == 0) {
            snprintf(kept, sizeof kept, "%s/kept-%d", folder, i);
            mkdir(kept, 0700);
            hnsw.v->snapshot(hnsw.self, side_op(&hnsw), 1, kept);
            hnsw.v->fingerprint(hnsw.self, side_op(&hnsw), 1, lowest, highest);
            hnsw.v->stats(hnsw.self, side_op(&hnsw), 1);
        }
        poll_host_run(hnsw.host, i % 100 ? 0 : 20);
    }
}

START_TEST(test_storm)
{
    begin((const char *const[]){ "threads=3", "log=100000", NULL });
    fill(0, 2000, 1, 0);
    storm(1500);
    for (uint64_t op = 1; op <= hnsw.last; op++) {
        int32_t rc = side_wait(&hnsw, op);
        ck_assert_msg(rc == KOS_OK || rc == KOS_E_NOTFOUND || rc == KOS_E_STALE, "operation %d: %d", (int)op, rc);
    }
    ck_assert_int_ge(stat_of("rebuilds"), 0);
    finish();
}
END_TEST

/* A stop at any point completes each operation once, in time, and what completed well is there. */
START_TEST(test_stopped)
{
    for (int i = 1; i < 120; i += 7) {
        begin((const char *const[]){ "threads=2", "log=50000", NULL });
        storm(i);
        if (i % 3 == 0)
            hnsw.v->close(hnsw.self, side_op(&hnsw), 1);
        if (i % 5 == 0)
            hnsw.v->open(hnsw.self, side_op(&hnsw), 2, "more", &plain);
        finish();
    }
}
END_TEST

/* Operations that do not wait for the opening or the closing before them. */
START_TEST(test_in_a_row)
{
    struct made m;
    uint64_t seed = 5;
    temporary(folder);
    side_begin(&hnsw, HNSW, folder, NULL);
    make_item(&seed, &m, 1, 1);
    m.item.flags = 0;
    struct kos_query q = { .size = sizeof q, .k = 1, .vector = m.vector };
    hnsw.v->open(hnsw.self, side_op(&hnsw), 1, "things", &plain);
    hnsw.v->query(hnsw.self, side_op(&hnsw), 1, &q);
    hnsw.v->upsert(hnsw.self, side_op(&hnsw), 1, (const struct kos_item *const[]){ &m.item }, 1);
    hnsw.v->close(hnsw.self, side_op(&hnsw), 1);
    hnsw.v->get(hnsw.self, side_op(&hnsw), 1, m.item.id);
    ck_assert_int_eq(hnsw.ops[1].times + hnsw.ops[5].times, 0); /* never within the call */
    ck_assert_int_eq(side_wait(&hnsw, 1), KOS_OK);
    ck_assert_int_eq(side_wait(&hnsw, 3), KOS_OK);
    ck_assert_int_eq(side_wait(&hnsw, 4), KOS_OK);
    ck_assert_int_eq(side_wait(&hnsw, 5), KOS_E_NOTFOUND);
    side_wait(&hnsw, 2);
    ck_assert_int_eq(SIDE(&hnsw, open, 1, "things", &plain), KOS_OK);
    ck_assert_int_eq(SIDE(&hnsw, get, 1, m.item.id), KOS_OK);
    ck_assert_int_eq(SIDE(&hnsw, drop, 1), KOS_OK);
    ck_assert_int_eq(SIDE(&hnsw, open, 1, "things", &plain), KOS_OK);
    ck_assert_int_eq(SIDE(&hnsw, get, 1, m.item.id), KOS_E_NOTFOUND);
    finish();
}
END_TEST

TESTS("vector/hnsw", test_as_brute, test_hostile_items, test_hostile_calls, test_two_processes, test_memory_limit,
      test_rebuild, test_storm, test_stopped, test_in_a_row)
