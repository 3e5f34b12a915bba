/* SPDX-License-Identifier: Apache-2.0
 * The store on the real loop and the kernel's files: workers write and checkpoint while the loop reads. */
#include <inttypes.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/loop.h"
#include "store/store.h"
#include "unit.h"

enum { ROUNDS = 300, EACH = 20, KEYS = 500 };

struct real {
    struct kos_loop *loop;
    struct kos_env *env;
    struct kos_store *store;
    struct kos_deferred go;
    char dir[64];
    int rounds, committed, durable;
    uint32_t newest[KEYS]; /* number of the transaction that wrote the key last */
};

static struct real *real; /* of the one test that runs in this process */

static void durable(void *arg, int32_t status)
{
    (void)arg;
    ck_assert_int_eq(status, KOS_OK);
    if (++real->durable == ROUNDS * EACH)
        kos_loop_stop(real->loop);
    else if (real->durable == real->committed)
        kos_defer(real->env, &real->go);
}

static void put_one(int number)
{
    uint8_t key[8] = { 0 }, value[400];
    uint32_t at = (uint32_t)number * 2654435761U % KEYS;
    memcpy(key, &at, sizeof at);
    memset(value, (uint8_t)number, sizeof value);
    memcpy(value, &number, sizeof number);
    struct kos_tx *tx = kos_tx_begin(real->store);
    kos_tx_put(tx, "things", kos_bytes(key, sizeof key), kos_bytes(value, sizeof value));
    ck_assert_int_eq(kos_tx_commit(tx, durable, NULL), KOS_OK);
    real->newest[at] = (uint32_t)number;
    real->committed++;
}

static bool see(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    uint32_t at, number;
    ck_assert_uint_eq(key.len, 8);
    ck_assert_uint_eq(value.len, 400);
    memcpy(&at, key.data, sizeof at);
    memcpy(&number, value.data, sizeof number);
    ck_assert_uint_eq(number, real->newest[at]);
    ++*(uint64_t *)arg;
    return true;
}

static void compare(void)
{
    uint64_t seen = 0, expected = 0;
    ck_assert_int_eq(kos_store_scan(real->store, "things", kos_bytes(NULL, 0), kos_bytes(NULL, 0), see, &seen), KOS_OK);
    for (int i = 0; i < KEYS; i++)
        expected += real->newest[i] != 0;
    ck_assert_uint_eq(seen, expected);
    ck_assert_uint_eq(kos_store_count(real->store, "things"), expected);
}

static void go(struct kos_deferred *deferred)
{
    (void)deferred;
    for (int i = 0; i < EACH; i++)
        put_one(real->rounds * EACH + i + 1);
    if (++real->rounds % 10 == 0)
        compare();
}

static void open_store(void)
{
    struct kos_store_options options = { .segment_bytes = 256 << 10, .checkpoint_bytes = 200 << 10 };
    struct kos_error error;
    int32_t rc = kos_store_open(real->env, real->dir, &options, &real->store, &error);
    ck_assert_msg(rc == KOS_OK, "%s", error.text);
}

static void remove_file(void *arg, const char *name)
{
    char *path = kos_format("%s/%s", (const char *)arg, name);
    real->env->ops->file_remove(real->env, path);
    free(path);
}

START_TEST(loop_reads_while_workers_write)
{
    struct real r = { .dir = "/tmp/kos-store-test-XXXXXX", .go = { .run = go } };
    real = &r;
    ck_assert_ptr_nonnull(mkdtemp(r.dir));
    ck_assert_int_eq(kos_loop_new(3, KOS_LOG_STDERR, &r.loop, NULL), KOS_OK);
    r.env = kos_loop_env(r.loop);
    open_store();
    kos_defer(r.env, &r.go);
    ck_assert_int_eq(kos_loop_run(r.loop), KOS_OK);
    compare();
    struct kos_store_stats stats;
    kos_store_stats(r.store, &stats);
    ck_assert_uint_ge(stats.checkpoints, 3);
    ck_assert_uint_le(stats.groups, stats.commits);
    struct kos_store *other;
    ck_assert_int_eq(kos_store_open(r.env, r.dir, NULL, &other, NULL), KOS_E_LOCKED);
    kos_store_close(r.store);
    open_store();
    compare();
    kos_store_close(r.store);

    char *journal = kos_format("%s/journal", r.dir);
    r.env->ops->dir_list(r.env, journal, remove_file, journal);
    r.env->ops->dir_list(r.env, r.dir, remove_file, r.dir);
    ck_assert_int_eq(r.env->ops->file_remove(r.env, r.dir), KOS_OK);
    free(journal);
    kos_loop_free(r.loop);
}
END_TEST

TESTS("store/real", loop_reads_while_workers_write)
