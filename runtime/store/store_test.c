/* SPDX-License-Identifier: Apache-2.0
 * The store on the manual environment: order, reads, limits, checkpoints. What happens when power or disk fail is in
 * crash_test.c. */
#include "store/store.h"

#include <inttypes.h>

#include "core/buf.h"
#include "core/manual.h"
#include "store/internal.h"
#include "unit.h"

struct fixture {
    struct kos_manual *manual;
    struct kos_env *env;
    struct kos_store *store;
    struct kos_error error;
    char done[256];
};

static const struct kos_store_options small = { .segment_bytes = 64 << 10, .checkpoint_bytes = 32 << 10 };

static void open_store(struct fixture *f)
{
    int32_t rc = kos_store_open(f->env, "/state", &small, &f->store, &f->error);
    ck_assert_msg(rc == KOS_OK, "%s", f->error.text);
}

static void begin(struct fixture *f)
{
    *f = (struct fixture){ .manual = kos_manual_new(1) };
    f->env = kos_manual_env(f->manual);
    open_store(f);
}

static void end(struct fixture *f)
{
    kos_store_close(f->store);
    kos_manual_free(f->manual);
}

struct noted {
    struct fixture *f;
    char name;
};

static void note(void *arg, int32_t status)
{
    struct noted *noted = arg;
    size_t len = strlen(noted->f->done);
    ck_assert_uint_lt(len + 2, sizeof noted->f->done);
    noted->f->done[len] = status == KOS_OK ? noted->name : '!';
    free(noted);
}

static int32_t put_at(struct fixture *f, const char *space, const char *key, const char *value, char name)
{
    struct kos_tx *tx = kos_tx_begin(f->store);
    if (value)
        kos_tx_put(tx, space, kos_bytes_str(key), kos_bytes_str(value));
    else
        kos_tx_delete(tx, space, kos_bytes_str(key));
    struct noted *noted = kos_new(sizeof *noted);
    *noted = (struct noted){ f, name };
    int32_t rc = kos_tx_commit(tx, note, noted);
    if (rc < 0)
        free(noted);
    return rc;
}

static void put(struct fixture *f, const char *key, const char *value, char name)
{
    ck_assert_int_eq(put_at(f, "things", key, value, name), KOS_OK);
}

static const char *get_at(struct fixture *f, const char *space, const char *key)
{
    static char text[64];
    uint8_t *value = NULL;
    size_t len = 0;
    int32_t rc = kos_store_get(f->store, space, kos_bytes_str(key), &value, &len);
    snprintf(text, sizeof text, "%s", rc == KOS_OK ? (char *)value : kos_error_name(rc));
    free(value);
    return text;
}

static const char *get(struct fixture *f, const char *key)
{
    return get_at(f, "things", key);
}

static bool collect(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    kos_buf_printf(arg, "%.*s=%.*s ", (int)key.len, key.data, (int)value.len, value.data);
    return true;
}

static char *scan(struct fixture *f, const char *prefix, const char *from)
{
    struct kos_buf buf;
    kos_buf_init(&buf, 1 << 20);
    ck_assert_int_eq(kos_store_scan(f->store, "things", kos_bytes_str(prefix), kos_bytes_str(from), collect, &buf), KOS_OK);
    kos_buf_append(&buf, kos_bytes("", 1));
    return (char *)buf.data;
}

static void check_scan(struct fixture *f, const char *prefix, const char *from, const char *expected)
{
    char *got = scan(f, prefix, from);
    ck_assert_str_eq(got, expected);
    free(got);
}

START_TEST(reads_see_at_once_done_comes_later)
{
    struct fixture f;
    begin(&f);
    kos_manual_settle(f.manual);
    put(&f, "a", "1", 'a');
    put(&f, "b", "2", 'b');
    ck_assert_str_eq(get(&f, "a"), "1");
    ck_assert_str_eq(f.done, "");
    kos_manual_turn(f.manual); /* its end sends the group off */
    ck_assert_str_eq(f.done, "");
    put(&f, "c", "3", 'c');
    kos_manual_turn(f.manual);
    ck_assert_str_eq(f.done, "ab");
    kos_manual_settle(f.manual);
    ck_assert_str_eq(f.done, "abc");
    struct kos_store_stats stats;
    kos_store_stats(f.store, &stats);
    ck_assert_uint_eq(stats.commits, 3);
    ck_assert_uint_eq(stats.groups, 2);
    ck_assert_uint_eq(stats.syncs, 2);
    ck_assert_uint_eq(stats.bytes_waiting, 0);
    put(&f, "a", NULL, 'd');
    ck_assert_str_eq(get(&f, "a"), "not_found");
    end(&f);
}
END_TEST

START_TEST(close_writes_what_waits)
{
    struct fixture f;
    begin(&f);
    put(&f, "a", "1", 'a');
    kos_store_close(f.store);
    ck_assert_str_eq(f.done, "a");
    open_store(&f);
    ck_assert_str_eq(get(&f, "a"), "1");
    end(&f);
}
END_TEST

START_TEST(abort_leaves_nothing)
{
    struct fixture f;
    begin(&f);
    struct kos_tx *tx = kos_tx_begin(f.store);
    kos_tx_put(tx, "things", kos_bytes_str("a"), kos_bytes_str("1"));
    kos_tx_abort(tx);
    ck_assert_str_eq(get(&f, "a"), "not_found");
    end(&f);
}
END_TEST

START_TEST(replay_without_checkpoint)
{
    struct fixture f;
    begin(&f);
    put(&f, "a", "1", 'a');
    put(&f, "b", "2", 'b');
    kos_manual_settle(f.manual);
    put(&f, "a", NULL, 'c');
    put(&f, "", "empty key", 'd');
    put(&f, "e", "", 'e');
    kos_manual_settle(f.manual);
    store_abandon(f.store);
    kos_manual_power_loss(f.manual);
    open_store(&f);
    ck_assert_str_eq(get(&f, "a"), "not_found");
    check_scan(&f, "", "", "=empty key b=2 e= ");
    struct kos_store_stats stats;
    kos_store_stats(f.store, &stats);
    ck_assert_uint_eq(stats.replayed, 2);
    end(&f);
}
END_TEST

START_TEST(layers_merge)
{
    struct fixture f;
    begin(&f);
    put(&f, "a", "old", 'a');
    put(&f, "b", "old", 'b');
    put(&f, "c", "old", 'c');
    put(&f, "k1", "x", 'd');
    ck_assert_uint_eq(kos_store_count(f.store, "things"), 4);
    kos_store_checkpoint(f.store);
    kos_manual_settle(f.manual);
    struct kos_store_stats stats;
    kos_store_stats(f.store, &stats);
    ck_assert_uint_eq(stats.checkpoints, 1);
    ck_assert_uint_eq(stats.bytes_journal, 0);
    check_scan(&f, "", "", "a=old b=old c=old k1=x ");
    put(&f, "b", "new", 'e');
    put(&f, "c", NULL, 'f');
    put(&f, "k0", "y", 'g');
    check_scan(&f, "", "", "a=old b=new k0=y k1=x ");
    /* freeze those, then lay more over them before the checkpoint is on disk */
    kos_store_checkpoint(f.store);
    kos_manual_turn(f.manual);
    put(&f, "b", NULL, 'h');
    put(&f, "c", "again", 'i');
    put(&f, "k2", "z", 'j');
    check_scan(&f, "", "", "a=old c=again k0=y k1=x k2=z ");
    ck_assert_uint_eq(kos_store_count(f.store, "things"), 5);
    check_scan(&f, "k", "", "k0=y k1=x k2=z ");
    check_scan(&f, "k", "k1", "k1=x k2=z ");
    check_scan(&f, "k", "z", "");
    check_scan(&f, "b", "", "");
    kos_manual_settle(f.manual);
    check_scan(&f, "", "", "a=old c=again k0=y k1=x k2=z ");
    ck_assert_uint_eq(kos_store_count(f.store, "things"), 5);
    ck_assert_str_eq(get(&f, "b"), "not_found");
    ck_assert_uint_eq(kos_store_count(f.store, "others"), 0);
    kos_store_close(f.store);
    open_store(&f);
    ck_assert_uint_eq(kos_store_count(f.store, "things"), 5);
    put(&f, "k2", NULL, 'k');
    put(&f, "k9", NULL, 'l');
    put(&f, "k2", "back", 'm');
    put(&f, "k3", "more", 'm');
    ck_assert_uint_eq(kos_store_count(f.store, "things"), 6);
    end(&f);
}
END_TEST

static bool stop_at_second(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    (void)key, (void)value;
    return ++*(int *)arg < 2;
}

struct nested {
    struct fixture *f;
    int inner, outer;
};

static bool count_inner(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    (void)key, (void)value;
    ((struct nested *)arg)->inner++;
    return true;
}

static bool scan_again(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct nested *nested = arg;
    (void)value;
    nested->outer++;
    uint8_t *copy;
    size_t len;
    ck_assert_int_eq(kos_store_get(nested->f->store, "things", key, &copy, &len), KOS_OK);
    free(copy);
    return kos_store_scan(nested->f->store, "things", kos_bytes(NULL, 0), key, count_inner, arg) == KOS_OK;
}

START_TEST(scans_stop_and_nest)
{
    struct fixture f;
    begin(&f);
    for (char key[] = "a"; *key < 'f'; ++*key)
        put(&f, key, "v", 'a');
    kos_store_checkpoint(f.store);
    kos_manual_settle(f.manual);
    int seen = 0;
    ck_assert_int_eq(kos_store_scan(f.store, "things", kos_bytes(NULL, 0), kos_bytes(NULL, 0), stop_at_second, &seen), KOS_OK);
    ck_assert_int_eq(seen, 2);
    struct nested nested = { &f, 0, 0 };
    ck_assert_int_eq(kos_store_scan(f.store, "things", kos_bytes(NULL, 0), kos_bytes(NULL, 0), scan_again, &nested), KOS_OK);
    ck_assert_int_eq(nested.outer, 5);
    ck_assert_int_eq(nested.inner, 15);
    end(&f);
}
END_TEST

START_TEST(limits)
{
    struct fixture f;
    begin(&f);
    static uint8_t big[KOS_STORE_VALUE_MAX + 1];
    char space[KOS_STORE_SPACE_MAX + 2];
    memset(space, 's', sizeof space - 1);
    space[sizeof space - 1] = 0;
    ck_assert_int_eq(put_at(&f, space, "k", "v", 'x'), KOS_E_INVALID);
    ck_assert_int_eq(put_at(&f, "", "k", "v", 'x'), KOS_E_INVALID);
    ck_assert_int_eq(put_at(&f, "a\"b", "k", "v", 'x'), KOS_E_INVALID);
    ck_assert_int_eq(put_at(&f, "'; DROP--", "k", "v", 'x'), KOS_E_INVALID);
    ck_assert_int_eq(put_at(&f, space + 1, "k", "v", 'x'), KOS_OK);
    struct kos_tx *tx = kos_tx_begin(f.store);
    kos_tx_put(tx, "t", kos_bytes(big, KOS_STORE_KEY_MAX + 1), kos_bytes_str("v"));
    ck_assert_int_eq(kos_tx_commit(tx, NULL, NULL), KOS_E_LIMIT);
    tx = kos_tx_begin(f.store);
    kos_tx_put(tx, "t", kos_bytes_str("good"), kos_bytes_str("v"));
    kos_tx_put(tx, "t", kos_bytes_str("k"), kos_bytes(big, KOS_STORE_VALUE_MAX + 1));
    ck_assert_int_eq(kos_tx_commit(tx, NULL, NULL), KOS_E_LIMIT);
    ck_assert_str_eq(get_at(&f, "t", "good"), "not_found");
    tx = kos_tx_begin(f.store);
    for (int i = 0; i < 5; i++) {
        char key[] = { (char)('0' + i), 0 };
        kos_tx_put(tx, "t", kos_bytes_str(key), kos_bytes(big, KOS_STORE_VALUE_MAX));
    }
    ck_assert_int_eq(kos_tx_commit(tx, NULL, NULL), KOS_E_LIMIT);
    for (int i = 0; i < 2; i++) { /* larger than a segment of these options, and more than one record in the group */
        tx = kos_tx_begin(f.store);
        kos_tx_put(tx, "t", kos_bytes(big, KOS_STORE_KEY_MAX), kos_bytes(big, KOS_STORE_VALUE_MAX));
        kos_tx_put(tx, "t", kos_bytes_str("second"), kos_bytes(big, KOS_STORE_VALUE_MAX));
        ck_assert_int_eq(kos_tx_commit(tx, NULL, NULL), KOS_OK);
    }
    kos_manual_settle(f.manual);
    struct kos_store_stats stats;
    kos_store_stats(f.store, &stats);
    ck_assert_uint_gt(stats.groups, 1);
    store_abandon(f.store);
    kos_manual_power_loss(f.manual);
    open_store(&f);
    uint8_t *value;
    size_t len;
    ck_assert_int_eq(kos_store_get(f.store, "t", kos_bytes(big, KOS_STORE_KEY_MAX), &value, &len), KOS_OK);
    ck_assert_uint_eq(len, KOS_STORE_VALUE_MAX);
    free(value);
    end(&f);
}
END_TEST

START_TEST(busy_when_too_much_waits)
{
    struct fixture f;
    begin(&f);
    kos_store_close(f.store);
    struct kos_store_options options = { .group_bytes_max = 1000 };
    ck_assert_int_eq(kos_store_open(f.env, "/state", &options, &f.store, NULL), KOS_OK);
    int32_t rc = KOS_OK;
    for (int i = 0; i < 100 && rc == KOS_OK; i++)
        rc = put_at(&f, "things", "key", "value of some bytes", 'a');
    ck_assert_int_eq(rc, KOS_E_BUSY);
    kos_manual_settle(f.manual);
    put(&f, "key", "fits again", 'z');
    end(&f);
}
END_TEST

START_TEST(second_open_is_refused)
{
    struct fixture f;
    begin(&f);
    struct kos_store *other = NULL;
    ck_assert_int_eq(kos_store_open(f.env, "/state", NULL, &other, &f.error), KOS_E_LOCKED);
    ck_assert_ptr_null(other);
    ck_assert_ptr_nonnull(strstr(f.error.text, "/state/lock is held by process "));
    ck_assert_ptr_null(strstr(f.error.text, "unknown"));
    ck_assert_int_eq(kos_store_open(f.env, "state", NULL, &other, &f.error), KOS_E_INVALID);
    ck_assert_int_eq(kos_store_open(f.env, "/no/such/dir", NULL, &other, &f.error), KOS_E_NOTFOUND);
    end(&f);
}
END_TEST

static void count_name(void *arg, const char *name)
{
    (void)name;
    ++*(int *)arg;
}

START_TEST(checkpoints_free_the_journal)
{
    struct fixture f;
    begin(&f);
    char value[1000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    for (int i = 0; i < 2000; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i % 100);
        struct kos_tx *tx = kos_tx_begin(f.store);
        kos_tx_put(tx, "things", kos_bytes_str(key), kos_bytes_str(value));
        ck_assert_int_eq(kos_tx_commit(tx, NULL, NULL), KOS_OK);
        if (i % 7 == 0)
            kos_manual_turn(f.manual);
    }
    kos_manual_settle(f.manual);
    struct kos_store_stats stats;
    kos_store_stats(f.store, &stats);
    ck_assert_uint_gt(stats.checkpoints, 10);
    int files = 0;
    ck_assert_int_eq(f.env->ops->dir_list(f.env, "/state/journal", count_name, &files), KOS_OK);
    ck_assert_int_le(files, 4);
    ck_assert_uint_eq(kos_store_count(f.store, "things"), 100);
    end(&f);
}
END_TEST

/* --- a long random life beside a plain array --- */

enum { MODEL_KEYS = 60 };

struct model {
    uint32_t value[2][MODEL_KEYS]; /* 0: not there */
    uint32_t at, space, seen;
};

static void model_key(uint32_t n, char key[8])
{
    snprintf(key, 8, "%c%02u", 'a' + (int)(n % 3), (unsigned)n);
}

static bool model_see(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct model *model = arg;
    ck_assert_uint_eq(key.len, 3);
    uint32_t n = (uint32_t)(key.data[1] - '0') * 10 + (uint32_t)(key.data[2] - '0');
    ck_assert_uint_lt(n, MODEL_KEYS);
    ck_assert_uint_eq((uint32_t)atoi((const char *)value.data), model->value[model->space][n]);
    model->seen++;
    return true;
}

static void model_compare(struct fixture *f, struct model *model)
{
    static const char *const names[] = { "even", "odd" };
    for (model->space = 0; model->space < 2; model->space++) {
        uint32_t all = 0, with_b = 0;
        for (uint32_t n = 0; n < MODEL_KEYS; n++) {
            all += model->value[model->space][n] != 0;
            with_b += model->value[model->space][n] && n % 3 == 1;
        }
        model->seen = 0;
        ck_assert_int_eq(kos_store_scan(f->store, names[model->space], kos_bytes(NULL, 0), kos_bytes(NULL, 0), model_see, model), KOS_OK);
        ck_assert_uint_eq(model->seen, all);
        model->seen = 0;
        ck_assert_int_eq(kos_store_scan(f->store, names[model->space], kos_bytes_str("b"), kos_bytes(NULL, 0), model_see, model), KOS_OK);
        ck_assert_uint_eq(model->seen, with_b);
        ck_assert_uint_eq(kos_store_count(f->store, names[model->space]), all);
    }
}

static uint32_t pick(struct fixture *f, uint32_t below)
{
    uint32_t n;
    kos_random(f->env, &n, sizeof n);
    return n % below;
}

static void model_step(struct fixture *f, struct model *model, uint32_t step)
{
    struct kos_tx *tx = kos_tx_begin(f->store);
    for (uint32_t ops = pick(f, 4); ops; ops--) {
        uint32_t n = pick(f, MODEL_KEYS), space = pick(f, 2);
        char key[8], value[300] = { 0 };
        model_key(n, key);
        if (pick(f, 3)) {
            snprintf(value, sizeof value, "%u", step);
            kos_tx_put(tx, space ? "odd" : "even", kos_bytes_str(key), kos_bytes(value, 12 + pick(f, 280)));
            model->value[space][n] = step;
        } else {
            kos_tx_delete(tx, space ? "odd" : "even", kos_bytes_str(key));
            model->value[space][n] = 0;
        }
    }
    ck_assert_int_eq(kos_tx_commit(tx, NULL, NULL), KOS_OK);
}

START_TEST(long_random_life)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct fixture f = { .manual = kos_manual_new(seed) };
        struct model model = { 0 };
        f.env = kos_manual_env(f.manual);
        open_store(&f);
        for (uint32_t step = 1; step <= 1500; step++) {
            model_step(&f, &model, step);
            if (pick(&f, 3) == 0)
                kos_manual_turn(f.manual);
            if (pick(&f, 50) == 0)
                kos_store_checkpoint(f.store);
            if (pick(&f, 20) == 0)
                model_compare(&f, &model);
            if (pick(&f, 100) == 0) {
                kos_manual_settle(f.manual);
                store_abandon(f.store);
                kos_manual_power_loss_torn(f.manual);
                open_store(&f);
                model_compare(&f, &model);
            } else if (pick(&f, 200) == 0) {
                kos_store_close(f.store);
                open_store(&f);
            }
        }
        model_compare(&f, &model);
        end(&f);
    }
}
END_TEST

struct said {
    char text[4096];
};

static void hear(void *arg, const char *line)
{
    struct said *said = arg;
    size_t len = strlen(said->text);
    snprintf(said->text + len, sizeof said->text - len, "%s\n", line);
}

START_TEST(check_reads_it_through)
{
    struct fixture f;
    begin(&f);
    struct said said = { "" };
    ck_assert_int_eq(kos_store_check(f.env, "/state", &(struct kos_store_checker){ .say = hear, .arg = &said }, NULL, &f.error), KOS_E_LOCKED);
    put(&f, "a", "1", 'a');
    kos_store_checkpoint(f.store);
    kos_manual_settle(f.manual);
    put(&f, "a", "2", 'b');
    put(&f, "b", "2", 'c');
    kos_manual_settle(f.manual);
    store_abandon(f.store);
    int32_t rc = kos_store_check(f.env, "/state", &(struct kos_store_checker){ .say = hear, .arg = &said }, NULL, &f.error);
    ck_assert_msg(rc == KOS_OK, "%s", f.error.text);
    ck_assert_ptr_nonnull(strstr(said.text, "sound, 1 spaces, holds everything up to record 1"));
    ck_assert_ptr_nonnull(strstr(said.text, "1 records with 2 transactions to play"));
    open_store(&f);
    kos_store_close(f.store); /* folds SQLite's log into the database, which otherwise hides the damage */
    struct kos_file *file;
    ck_assert_int_eq(f.env->ops->file_open(f.env, "/state/state.db", KOS_FILE_WRITE, 0, &file), KOS_OK);
    ck_assert_int_eq(f.env->ops->file_write(file, "garbage garbage garbage", 23, 4096 + 8), KOS_OK);
    f.env->ops->file_close(file);
    ck_assert_int_lt(kos_store_check(f.env, "/state", &(struct kos_store_checker){ .say = hear, .arg = &said }, NULL, &f.error), 0);
    kos_manual_free(f.manual);
}
END_TEST

START_TEST(older_copy_of_the_database_is_noticed)
{
    struct fixture f;
    begin(&f);
    kos_store_close(f.store);
    uint8_t *old;
    size_t len;
    ck_assert_int_eq(kos_file_read_all(f.env, "/state/state.db", 1 << 20, &old, &len), KOS_OK);
    open_store(&f);
    for (int i = 0; i < 1500; i++) {
        put(&f, "k", "some value that takes its room in the journal, so that segments are used up and freed", 'a');
        kos_manual_settle(f.manual);
        f.done[0] = 0;
    }
    kos_store_checkpoint(f.store);
    kos_manual_settle(f.manual);
    put(&f, "k", "last", 'a');
    kos_store_close(f.store);
    ck_assert_int_eq(kos_file_write_all(f.env, "/state/state.db", 0600, kos_bytes(old, len)), KOS_OK);
    free(old);
    ck_assert_int_eq(kos_store_open(f.env, "/state", &small, &f.store, &f.error), KOS_E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(f.error.text, "are missing"));
    kos_manual_free(f.manual);
}
END_TEST

TESTS("store/store", reads_see_at_once_done_comes_later, close_writes_what_waits, abort_leaves_nothing, replay_without_checkpoint,
      layers_merge, scans_stop_and_nest, limits, busy_when_too_much_waits, second_open_is_refused, checkpoints_free_the_journal,
      check_reads_it_through, long_random_life, older_copy_of_the_database_is_noticed)
