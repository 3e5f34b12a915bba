/* SPDX-License-Identifier: Apache-2.0
 * What completed is there: after kill -9, with a log cut at each byte, with a bit turned at each byte. */
#include "testing.h"

#include <signal.h>
#include <sys/wait.h>

enum { DIMENSION = 4, EACH = 3 };
#define HNSW "plugins/vector/hnsw/.libs/hnsw.so"

static struct side side;
static const struct kos_space space = { .size = sizeof space, .dimension = DIMENSION, .metric = KOS_METRIC_L2 };
static const char *const small[] = { "log=16384", "threads=2", NULL };

/* Batch n: EACH items, one of which is of batch n - 1 too, all of version n. */
static int32_t put_batch(struct side *s, uint64_t n)
{
    float vectors[EACH][DIMENSION];
    char ids[EACH][32];
    struct kos_item items[EACH];
    const struct kos_item *list[EACH];
    uint64_t seed = n;
    for (size_t i = 0; i < EACH; i++) {
        make_vector(&seed, vectors[i], DIMENSION);
        snprintf(ids[i], sizeof ids[i], "%llu", (unsigned long long)((n * (EACH - 1) + i) % 997));
        items[i] = (struct kos_item){ .size = sizeof *items,
                                      .flags = draw(&seed) % 5 == 0,
                                      .id = kos_bytes_str(ids[i]),
                                      .version = n + 1,
                                      .vector = vectors[i],
                                      .metadata = kos_bytes_str("{\"n\":1}"),
                                      .digest = { (uint8_t)draw(&seed), (uint8_t)draw(&seed) } };
        list[i] = &items[i];
    }
    return SIDE(s, upsert, 1, list, EACH);
}

static uint64_t version_of(struct side *s, uint64_t number)
{
    char id[32];
    struct kos_bytes rest, key, value;
    uint64_t version;
    snprintf(id, sizeof id, "%llu", (unsigned long long)number % 997);
    if (SIDE(s, get, 1, kos_bytes_str(id)) < 0)
        return 0;
    rest = side_result(s);
    ck_assert_int_eq(kos_pair_next(&rest, &key, &value), 1);
    memcpy(&version, value.data, sizeof version);
    return version;
}

/* Whether batch n is there; all of it or nothing. Its last item may be of the next batch already. */
static bool has_batch(struct side *s, uint64_t n)
{
    size_t there = 0;
    for (uint64_t i = 0; i < EACH; i++) {
        uint64_t version = version_of(s, n * (EACH - 1) + i);
        there += version == n + 1 || (i == EACH - 1 && version == n + 2);
    }
    ck_assert_msg(there == 0 || there == EACH, "batch %d is there in part", (int)n);
    return there == EACH;
}

static void open_side(const char *folder)
{
    side_begin(&side, HNSW, folder, small);
    ck_assert_msg(SIDE(&side, open, 1, "a/b", &space) == KOS_OK, "%s", side.log);
}

static void write_until_killed(const char *folder, uint64_t from, int to)
{
    open_side(folder);
    for (uint64_t n = from;; n++) {
        if (put_batch(&side, n) != KOS_OK || write(to, &n, sizeof n) != sizeof n)
            _exit(1);
    }
}

START_TEST(test_killed)
{
    char folder[64];
    uint64_t next = 0, seed = 7;
    temporary(folder);
    for (int round = 0; round < 25; round++) {
        int ends[2];
        uint64_t told, done = next, stop = next + draw(&seed) % 150;
        ck_assert_int_eq(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
            close(ends[0]);
            write_until_killed(folder, next, ends[1]);
        }
        close(ends[1]);
        while (done < stop && read(ends[0], &told, sizeof told) == sizeof told)
            done = told + 1;
        usleep(draw(&seed) % 3000);
        kill(child, SIGKILL);
        while (read(ends[0], &told, sizeof told) == sizeof told)
            done = told + 1;
        close(ends[0]);
        waitpid(child, NULL, 0);
        open_side(folder);
        ck_assert_msg(done == 0 || has_batch(&side, done - 1), "batch %d is lost", (int)done - 1);
        for (uint64_t n = done > 400 ? done - 400 : 0; n < done; n++) /* the item that no later batch took */
            ck_assert_uint_ge(version_of(&side, n * (EACH - 1) + 1), n + 1);
        next = has_batch(&side, done) ? done + 1 : done;
        ck_assert(!has_batch(&side, next));
        side_end(&side);
    }
    remove_tree(folder);
}
END_TEST

/* ---- files ---- */

static uint8_t *slurp(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s", path);
    uint8_t *data = malloc(1 << 20);
    *ret_len = fread(data, 1, 1 << 20, f);
    fclose(f);
    return data;
}

static void spill(const char *path, const uint8_t *data, size_t len)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, len, f), len);
    fclose(f);
}

static int32_t try_open(const char *folder)
{
    side_begin(&side, HNSW, folder, (const char *const[]){ "threads=1", NULL });
    return SIDE(&side, open, 1, "a/b", &space);
}

enum { BATCHES = 6 };

/* A log of BATCHES groups, where each begins, and all its bytes. */
static uint8_t *make_log(char *folder, char *path, size_t *starts, size_t *ret_len)
{
    struct stat st;
    temporary(folder);
    ck_assert_int_eq(try_open(folder), KOS_OK);
    snprintf(path, 128, "%s/collections/a%%2Fb/log.0", folder);
    for (uint64_t n = 0; n < BATCHES; n++) {
        ck_assert_int_eq(stat(path, &st), 0);
        starts[n] = (size_t)st.st_size;
        ck_assert_int_eq(put_batch(&side, n), KOS_OK);
    }
    side_end(&side);
    uint8_t *log = slurp(path, ret_len);
    starts[BATCHES] = *ret_len;
    return log;
}

START_TEST(test_torn)
{
    char folder[64], path[128];
    size_t starts[BATCHES + 1], len;
    uint8_t *log = make_log(folder, path, starts, &len);
    for (size_t cut = starts[0]; cut <= len; cut++) {
        uint64_t whole = 0;
        while (whole < BATCHES && starts[whole + 1] <= cut)
            whole++;
        spill(path, log, cut);
        ck_assert_msg(try_open(folder) == KOS_OK, "cut at %zu: %s", cut, side.log);
        ck_assert_msg((strstr(side.log, "cut off") != NULL) == (cut > starts[whole]), "cut at %zu: %s", cut, side.log);
        ck_assert_msg(whole == 0 || has_batch(&side, whole - 1), "cut at %zu", cut);
        ck_assert_msg(whole == BATCHES || !has_batch(&side, whole), "cut at %zu", cut);
        if (cut % 37 == 0) { /* what is written behind the cut stays */
            ck_assert_int_eq(put_batch(&side, 500), KOS_OK);
            side_end(&side);
            ck_assert_int_eq(try_open(folder), KOS_OK);
            ck_assert(has_batch(&side, 500));
        }
        side_end(&side);
    }
    for (size_t cut = 0; cut < starts[0]; cut++) {
        spill(path, log, cut);
        ck_assert_int_eq(try_open(folder), KOS_E_CORRUPT);
        side_end(&side);
    }
    free(log);
    remove_tree(folder);
}
END_TEST

/* Damage is never taken for the end, but where the last write may have been cut short. */
START_TEST(test_turned)
{
    char folder[64], path[128];
    size_t starts[BATCHES + 1], len;
    uint8_t *log = make_log(folder, path, starts, &len);
    for (size_t at = 0; at < len; at++) {
        log[at] ^= 0x10;
        spill(path, log, len);
        log[at] ^= 0x10;
        int32_t rc = try_open(folder);
        if (at < starts[BATCHES - 1]) {
            ck_assert_msg(rc == KOS_E_CORRUPT, "byte %zu: %d", at, rc);
            ck_assert(strstr(side.log, "log.0") != NULL);
        } else {
            ck_assert_int_eq(rc, KOS_OK);
            ck_assert(strstr(side.log, "cut off") != NULL);
            ck_assert(has_batch(&side, BATCHES - 2) && !has_batch(&side, BATCHES - 1));
        }
        side_end(&side);
    }
    free(log);
    remove_tree(folder);
}
END_TEST

START_TEST(test_base_damaged)
{
    char folder[64], path[160], links[160];
    uint8_t before[40], *base;
    size_t len;
    static const uint8_t lowest[32] = { 0 }, highest[32] = { 0xff, 0xff };
    temporary(folder);
    open_side(folder);
    for (uint64_t n = 0; n < 200; n++)
        ck_assert_int_eq(put_batch(&side, n), KOS_OK);
    SIDE(&side, fingerprint, 1, lowest, highest);
    memcpy(before, side_result(&side).data, sizeof before);
    char text[96];
    snprintf(text, sizeof text, "%s/kept", folder);
    mkdir(text, 0700);
    ck_assert_msg(SIDE(&side, snapshot, 1, text) == KOS_OK, "%s", side.log);
    ck_assert_int_eq(SIDE(&side, drop, 1), KOS_OK);
    side_end(&side);
    /* The snapshot is a collection. */
    snprintf(path, sizeof path, "%s/collections/a%%2Fb", folder);
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert_int_eq(rename(text, path), 0);
    ck_assert_msg(try_open(folder) == KOS_OK, "%s", side.log);
    ck_assert_str_eq(side.log, "");
    SIDE(&side, fingerprint, 1, lowest, highest);
    ck_assert(memcmp(before, side_result(&side).data, sizeof before) == 0);
    side_end(&side);
    snprintf(path, sizeof path, "%s/collections/a%%2Fb/base.1", folder);
    snprintf(links, sizeof links, "%s/collections/a%%2Fb/graph.1", folder);
    for (int which = 0; which < 2; which++) {
        base = slurp(which ? links : path, &len);
        for (size_t at = 0; at <= len; at += 211) {
            if (at < len)
                base[at] ^= 1;
            spill(which ? links : path, base, at < len ? len : len - 9);
            if (at < len)
                base[at] ^= 1;
            ck_assert_int_eq(try_open(folder), which ? KOS_OK : KOS_E_CORRUPT);
            ck_assert_msg(strstr(side.log, which ? "made again" : "base.1") != NULL, "%s", side.log);
            if (which) {
                SIDE(&side, fingerprint, 1, lowest, highest);
                ck_assert(memcmp(before, side_result(&side).data, sizeof before) == 0);
            }
            side_end(&side);
        }
        spill(which ? links : path, base, len);
        free(base);
    }
    unlink(path);
    ck_assert_int_eq(try_open(folder), KOS_E_CORRUPT);
    side_end(&side);
    remove_tree(folder);
}
END_TEST

TESTS("vector/hnsw crash", test_killed, test_torn, test_turned, test_base_damaged)
