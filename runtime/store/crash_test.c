/* SPDX-License-Identifier: Apache-2.0
 * The store when power is lost, the disk is full or broken, at each file operation of a scripted life. What must hold:
 * a transaction whose `done` ran with KOS_OK is there after reopening; each is there whole or not at all; and if one is
 * there, all before it are. */
#include <inttypes.h>

#include "core/buf.h"
#include "core/manual.h"
#include "store/internal.h"
#include "store/journal_format.h"
#include "store/store.h"
#include "unit.h"

enum { COUNT = 60, PARTS = 3 };

static const struct kos_store_options tiny = { .segment_bytes = 16 << 10, .checkpoint_bytes = 6 << 10 };

/* Transaction n writes n to "last", and its number under a key of its own in three spaces; it takes what n - 7 wrote
 * away again. So what a reader finds tells exactly which transactions were applied. */
struct life;

struct one {
    struct life *life;
    int n;
};

struct life {
    struct one ones[COUNT + 4]; /* arguments of done, which a crash leaves uncalled */
    struct kos_manual *manual;
    struct kos_env *env;
    struct kos_store *store;
    int committed; /* highest taken */
    int durable;   /* highest whose done ran with KOS_OK */
    int failed;    /* done ran with an error */
};

static void done(void *arg, int32_t status)
{
    struct one *one = arg;
    if (status == KOS_OK) {
        ck_assert_int_eq(one->n, one->life->durable + 1); /* in order */
        one->life->durable = one->n;
    } else {
        one->life->failed++;
    }
}

static int32_t commit(struct life *life, int n)
{
    struct kos_tx *tx = kos_tx_begin(life->store);
    char key[16], value[200];
    snprintf(key, sizeof key, "%04d", n);
    memset(value, 'a' + n % 26, sizeof value);
    snprintf(value, sizeof value, "%d", n);
    kos_tx_put(tx, "last", kos_bytes_str("n"), kos_bytes_str(value));
    for (int part = 0; part < PARTS; part++) {
        char space[] = { 's', (char)('0' + part), 0 };
        kos_tx_put(tx, space, kos_bytes_str(key), kos_bytes(value, sizeof value));
        snprintf(key, sizeof key, "%04d", n - 7);
        kos_tx_delete(tx, space, kos_bytes_str(key));
        snprintf(key, sizeof key, "%04d", n);
    }
    life->ones[n] = (struct one){ life, n };
    int32_t rc = kos_tx_commit(tx, done, &life->ones[n]);
    if (rc == KOS_OK)
        life->committed = n;
    return rc;
}

static void scripted(struct life *life)
{
    int32_t rc = kos_store_open(life->env, "/state", &tiny, &life->store, NULL);
    for (int n = 1; rc == KOS_OK && n <= COUNT; n++) {
        rc = commit(life, n);
        if (n % 3 == 0)
            kos_manual_turn(life->manual);
        if (n == 40)
            kos_store_checkpoint(life->store);
    }
    for (int i = 0; i < 10 && life->store; i++)
        kos_manual_turn(life->manual);
}

static bool present(struct life *life, const char *space, int n)
{
    char key[16];
    snprintf(key, sizeof key, "%04d", n);
    uint8_t *value;
    size_t len;
    int32_t rc = kos_store_get(life->store, space, kos_bytes_str(key), &value, &len);
    if (rc == KOS_E_NOTFOUND)
        return false;
    ck_assert_int_eq(rc, KOS_OK);
    ck_assert_uint_eq(len, 200);
    ck_assert_int_eq(atoi((char *)value), n);
    ck_assert_int_eq(value[199], n ? 'a' + n % 26 : 0);
    free(value);
    return true;
}

/* Reads which transaction was the last, and that the state is exactly the one after it. */
static int state_is_whole(struct life *life)
{
    uint8_t *value;
    size_t len;
    int last = 0;
    if (kos_store_get(life->store, "last", kos_bytes_str("n"), &value, &len) == KOS_OK) {
        last = atoi((char *)value);
        free(value);
    }
    for (int part = 0; part < PARTS; part++) {
        char space[] = { 's', (char)('0' + part), 0 };
        for (int n = 1; n <= COUNT + 1; n++)
            ck_assert_msg(present(life, space, n) == (n <= last && n > last - 7), "transaction %d of %d", n, last);
        ck_assert_uint_eq(kos_store_count(life->store, space), (uint64_t)(last < 7 ? last : 7));
    }
    return last;
}

static void hear(void *arg, const char *line)
{
    (void)arg, (void)line;
}

/* A crash leaves nothing that the next start does not set right. */
static void found(void *arg, const struct kos_store_finding *finding)
{
    (void)arg;
    ck_assert_msg(finding->mend == KOS_MEND_START, "%s %s", finding->place, finding->text);
}

/* After the crash: checked, opened, compared, and used on. */
static void reopen(struct life *life, uint64_t nth)
{
    struct kos_error error = { 0 };
    struct kos_file_stat st;
    if (life->env->ops->file_stat(life->env, "/state", &st) == KOS_OK) {
        int32_t checked = kos_store_check(life->env, "/state", &(struct kos_store_checker){ .say = hear, .found = found }, NULL, &error);
        ck_assert_msg(checked == KOS_OK, "operation %" PRIu64 ": %s", nth, error.text);
    }
    int32_t rc = kos_store_open(life->env, "/state", &tiny, &life->store, &error);
    ck_assert_msg(rc == KOS_OK, "operation %" PRIu64 ": %s", nth, error.text);
    int last = state_is_whole(life);
    ck_assert_msg(last >= life->durable && last <= life->committed, "operation %" PRIu64 ": %d durable, %d found, %d committed", nth,
                  life->durable, last, life->committed);
    life->durable = last;
    ck_assert_int_eq(commit(life, last + 1), KOS_OK);
    kos_manual_settle(life->manual);
    ck_assert_int_eq(life->durable, last + 1);
    kos_store_close(life->store);
    ck_assert_int_eq(kos_store_open(life->env, "/state", &tiny, &life->store, NULL), KOS_OK);
    ck_assert_int_eq(state_is_whole(life), last + 1);
    kos_store_close(life->store);
}

static uint64_t operations(void)
{
    struct life life = { .manual = kos_manual_new(1) };
    life.env = kos_manual_env(life.manual);
    scripted(&life);
    ck_assert_int_eq(life.durable, COUNT);
    uint64_t count = kos_manual_file_ops(life.manual);
    kos_store_close(life.store);
    kos_manual_free(life.manual);
    return count;
}

static void abandon(struct life *life)
{
    if (life->store) {
        store_abandon(life->store);
        life->store = NULL;
    }
}

static void power_lost_at(uint64_t nth, uint64_t seed, bool torn)
{
    struct life life = { .manual = kos_manual_new(seed) };
    life.env = kos_manual_env(life.manual);
    kos_manual_fail_files(life.manual, nth, KOS_E_IO); /* from here on nothing reaches the disk */
    scripted(&life);
    abandon(&life);
    if (torn)
        kos_manual_power_loss_torn(life.manual);
    else
        kos_manual_power_loss(life.manual);
    reopen(&life, nth);
    kos_manual_free(life.manual);
}

START_TEST(power_loss_at_each_operation)
{
    uint64_t count = operations();
    ck_assert_uint_gt(count, 200);
    for (uint64_t nth = 1; nth <= count + 1; nth++)
        power_lost_at(nth, nth, false);
}
END_TEST

START_TEST(torn_power_loss_at_each_operation)
{
    uint64_t count = operations();
    for (uint64_t nth = 1; nth <= count + 1; nth++)
        for (uint64_t seed = 0; seed < 3; seed++)
            power_lost_at(nth, nth * 100 + seed, true);
}
END_TEST

/* The disk fails from the nth operation on while the store lives, and later heals: nothing that was taken is lost, and it
 * goes on without being reopened. */
static void heals_after(uint64_t nth, int32_t error, bool once)
{
    struct life life = { .manual = kos_manual_new(nth) };
    life.env = kos_manual_env(life.manual);
    if (once)
        kos_manual_fail_file_once(life.manual, nth, error);
    else
        kos_manual_fail_files(life.manual, nth, error);
    scripted(&life);
    kos_manual_fail_files(life.manual, 0, KOS_OK);
    if (life.store) {
        kos_manual_advance(life.manual, 5000);
        ck_assert_int_eq(life.durable, life.committed);
        ck_assert_int_eq(life.failed, 0);
        struct kos_store_stats stats;
        kos_store_stats(life.store, &stats);
        ck_assert_int_eq(stats.state, KOS_OK);
        ck_assert_int_eq(state_is_whole(&life), life.committed);
        ck_assert_int_eq(commit(&life, life.committed + 1), KOS_OK);
        kos_manual_settle(life.manual);
        ck_assert_int_eq(life.durable, life.committed);
        abandon(&life);
        kos_manual_power_loss(life.manual);
    }
    reopen(&life, nth);
    kos_manual_free(life.manual);
}

START_TEST(full_disk_at_each_operation)
{
    uint64_t count = operations();
    for (uint64_t nth = 1; nth <= count; nth++)
        heals_after(nth, KOS_E_NOSPACE, false);
}
END_TEST

START_TEST(broken_disk_at_each_operation)
{
    uint64_t count = operations();
    for (uint64_t nth = 1; nth <= count; nth++) {
        heals_after(nth, KOS_E_IO, false);
        heals_after(nth, KOS_E_IO, true);
    }
}
END_TEST

static uint64_t opening_operations(void)
{
    struct life life = { .manual = kos_manual_new(1) };
    life.env = kos_manual_env(life.manual);
    ck_assert_int_eq(kos_store_open(life.env, "/state", &tiny, &life.store, NULL), KOS_OK);
    uint64_t count = kos_manual_file_ops(life.manual);
    abandon(&life);
    kos_manual_free(life.manual);
    return count;
}

/* The process ends while its disk fails, the next one finds the disk well again and what the first wrote in the page
 * cache: not all of that is on the disk. Then power is lost. */
START_TEST(power_loss_after_a_failed_sync_of_the_process_before)
{
    uint64_t count = operations();
    /* From the first transaction on: SQLite has made its file by then. */
    for (uint64_t nth = opening_operations() + 1; nth <= count; nth++) {
        struct life life = { .manual = kos_manual_new(nth) };
        life.env = kos_manual_env(life.manual);
        kos_manual_fail_files(life.manual, nth, KOS_E_IO);
        scripted(&life);
        abandon(&life);
        kos_manual_fail_files(life.manual, 0, KOS_OK);
        if (kos_store_open(life.env, "/state", &tiny, &life.store, NULL) == KOS_OK) {
            life.durable = state_is_whole(&life);
            ck_assert_int_eq(commit(&life, life.durable + 1), KOS_OK);
            kos_manual_settle(life.manual);
            abandon(&life);
        }
        kos_manual_power_loss(life.manual);
        reopen(&life, nth);
        kos_manual_free(life.manual);
    }
}
END_TEST

/* A second process finds a journal that is still needed, and the disk fails it at each of its operations in turn, once;
 * it goes on, and then power is lost. What the first one was told is durable is there. */
static void second_life(uint64_t nth, int32_t error, bool power_lost, bool *ret_reached)
{
    struct life life = { .manual = kos_manual_new(nth) };
    life.env = kos_manual_env(life.manual);
    for (int n = 1; n <= 2; n++) {
        ck_assert_int_eq(kos_store_open(life.env, "/state", &tiny, &life.store, NULL), KOS_OK);
        ck_assert_int_eq(commit(&life, n), KOS_OK);
        kos_manual_settle(life.manual);
        if (n == 1)
            kos_store_close(life.store); /* all of it in the database, and no log of SQLite's */
    }
    ck_assert_int_eq(life.durable, 2);
    abandon(&life);
    if (power_lost)
        kos_manual_power_loss(life.manual);
    uint64_t before = kos_manual_file_ops(life.manual);
    kos_manual_fail_file_once(life.manual, nth, error);
    struct kos_error why = { 0 };
    int32_t rc = kos_store_open(life.env, "/state", &tiny, &life.store, &why);
    ck_assert_msg(rc != KOS_E_CORRUPT, "operation %" PRIu64 ": nothing is damaged, but: %s", nth, why.text);
    if (rc == KOS_OK) {
        ck_assert_int_eq(commit(&life, 3), KOS_OK);
        kos_manual_settle(life.manual);
        kos_manual_advance(life.manual, 5000);
        ck_assert_int_eq(life.durable, 3);
        abandon(&life);
    }
    *ret_reached = kos_manual_file_ops(life.manual) - before >= nth;
    kos_manual_power_loss(life.manual);
    reopen(&life, nth);
    kos_manual_free(life.manual);
}

START_TEST(a_disk_that_fails_once_in_a_second_life)
{
    bool reached = true;
    for (uint64_t nth = 1; reached; nth++) {
        bool ignored;
        second_life(nth, KOS_E_NOSPACE, true, &ignored);
        second_life(nth, KOS_E_IO, false, &ignored);
        second_life(nth, KOS_E_IO, true, &reached);
    }
}
END_TEST

START_TEST(full_disk_refuses_and_says_so_once)
{
    struct life life = { .manual = kos_manual_new(1) };
    life.env = kos_manual_env(life.manual);
    ck_assert_int_eq(kos_store_open(life.env, "/state", &tiny, &life.store, NULL), KOS_OK);
    ck_assert_int_eq(commit(&life, 1), KOS_OK);
    kos_manual_settle(life.manual);
    kos_manual_fail_files(life.manual, 1, KOS_E_NOSPACE);
    ck_assert_int_eq(commit(&life, 2), KOS_OK);
    kos_manual_settle(life.manual);
    ck_assert_int_eq(life.durable, 1);
    ck_assert_int_eq(commit(&life, 3), KOS_E_NOSPACE);
    kos_manual_advance(life.manual, 60000);
    ck_assert_int_eq(commit(&life, 3), KOS_E_NOSPACE);
    ck_assert(present(&life, "s0", 2));
    ck_assert(!present(&life, "s0", 3));
    const char *said = strstr(kos_manual_logged(life.manual), "<3>");
    ck_assert_ptr_nonnull(said);
    ck_assert_ptr_nonnull(strstr(said, "disk is full"));
    ck_assert_ptr_null(strstr(said + 1, "<3>"));
    kos_manual_fail_files(life.manual, 0, KOS_OK);
    kos_manual_advance(life.manual, 5000);
    ck_assert_int_eq(life.durable, 2);
    ck_assert_int_eq(commit(&life, 3), KOS_OK);
    kos_store_close(life.store);
    ck_assert_int_eq(life.durable, 3);
    kos_manual_free(life.manual);
}
END_TEST

START_TEST(closed_on_a_full_disk)
{
    struct life life = { .manual = kos_manual_new(1) };
    life.env = kos_manual_env(life.manual);
    ck_assert_int_eq(kos_store_open(life.env, "/state", &tiny, &life.store, NULL), KOS_OK);
    ck_assert_int_eq(commit(&life, 1), KOS_OK);
    kos_manual_settle(life.manual);
    kos_manual_fail_files(life.manual, 1, KOS_E_NOSPACE);
    ck_assert_int_eq(commit(&life, 2), KOS_OK);
    kos_store_close(life.store);
    ck_assert_int_eq(life.durable, 1);
    ck_assert_int_eq(life.failed, 1);
    kos_manual_fail_files(life.manual, 0, KOS_OK);
    ck_assert_int_eq(kos_store_open(life.env, "/state", &tiny, &life.store, NULL), KOS_OK);
    ck_assert_int_eq(state_is_whole(&life), 1);
    kos_store_close(life.store);
    kos_manual_free(life.manual);
}
END_TEST

/* --- the journal's end, byte by byte --- */

struct image {
    char path[300];
    uint8_t *data;
    size_t len, end; /* end: of the last record */
};

static void find_segment(void *arg, const char *name)
{
    struct image *image = arg;
    if (strcmp(name, "spare.seg") != 0)
        snprintf(image->path, sizeof image->path, "/state/journal/%s", name);
}

/* A life of 9 transactions in 3 records, ended without a checkpoint, and its one segment. */
static void short_life(struct life *life, struct image *image)
{
    *life = (struct life){ .manual = kos_manual_new(9) };
    life->env = kos_manual_env(life->manual);
    ck_assert_int_eq(kos_store_open(life->env, "/state", NULL, &life->store, NULL), KOS_OK);
    for (int n = 1; n <= 9; n++) {
        ck_assert_int_eq(commit(life, n), KOS_OK);
        if (n % 3 == 0)
            kos_manual_settle(life->manual);
    }
    abandon(life);
    ck_assert_int_eq(life->env->ops->dir_list(life->env, "/state/journal", find_segment, image), KOS_OK);
    ck_assert_int_eq(kos_file_read_all(life->env, image->path, 64 << 20, &image->data, &image->len), KOS_OK);
    image->end = JOURNAL_HEAD;
    while (get64(image->data + image->end + 8))
        image->end += journal_record_bytes(get32(image->data + image->end));
}

static size_t record_start(const struct image *image, int number)
{
    size_t at = JOURNAL_HEAD;
    while (--number)
        at += journal_record_bytes(get32(image->data + at));
    return at;
}

static void write_back(struct life *life, const struct image *image, const uint8_t *data, size_t len, uint64_t offset)
{
    struct kos_file *file;
    ck_assert_int_eq(life->env->ops->file_open(life->env, image->path, KOS_FILE_WRITE, 0, &file), KOS_OK);
    ck_assert_int_eq(life->env->ops->file_write(file, data, len, offset), KOS_OK);
    life->env->ops->file_close(file);
}

/* Opens without leaving a trace in the journal, and tells the last transaction or the error. */
static int try_open(struct life *life)
{
    struct kos_error error;
    int32_t rc = kos_store_open(life->env, "/state", NULL, &life->store, &error);
    if (rc < 0)
        return rc;
    int last = state_is_whole(life);
    abandon(life);
    return last;
}

START_TEST(torn_end_at_each_byte)
{
    struct life life;
    struct image image;
    short_life(&life, &image);
    ck_assert_int_eq(try_open(&life), 9);
    size_t start = record_start(&image, 3), length = image.end - start;
    /* The record ends, as far as it holds anything, somewhere between its first byte and its last that is not zero. */
    while (image.data[start + length - 1] == 0)
        length--;
    uint8_t *zeros = kos_new(length);
    for (size_t cut = 0; cut < length; cut++) {
        write_back(&life, &image, zeros, length - cut, start + cut);
        ck_assert_int_eq(try_open(&life), 6);
        write_back(&life, &image, image.data + start, length, start);
        /* the other way round: only the end of it reached the disk */
        write_back(&life, &image, zeros, cut + 1, start);
        ck_assert_int_eq(try_open(&life), 6);
        write_back(&life, &image, image.data + start, length, start);
        cut += cut > 64 && cut + 70 < length ? 30 : 0;
    }
    ck_assert_int_eq(try_open(&life), 9);
    free(zeros);
    free(image.data);
    kos_manual_free(life.manual);
}
END_TEST

START_TEST(damage_is_not_taken_for_a_torn_end)
{
    struct life life;
    struct image image;
    short_life(&life, &image);
    for (int number = 1; number <= 2; number++) {
        size_t start = record_start(&image, number), end = record_start(&image, number + 1);
        for (size_t at = start; at < end; at += at - start < 32 ? 1 : 97) {
            uint8_t wrong = (uint8_t)(image.data[at] ^ 1);
            write_back(&life, &image, &wrong, 1, at);
            ck_assert_int_eq(try_open(&life), KOS_E_CORRUPT);
            write_back(&life, &image, &image.data[at], 1, at);
        }
    }
    ck_assert_int_eq(try_open(&life), 9);
    free(image.data);
    kos_manual_free(life.manual);
}
END_TEST

START_TEST(head_survives_in_its_copy)
{
    struct life life;
    struct image image;
    short_life(&life, &image);
    uint8_t zeros[JOURNAL_HEAD_COPY] = { 0 };
    write_back(&life, &image, zeros, sizeof zeros, 0);
    ck_assert_int_eq(try_open(&life), 9);
    write_back(&life, &image, image.data, sizeof zeros, 0);
    write_back(&life, &image, zeros, sizeof zeros, JOURNAL_HEAD_COPY);
    ck_assert_int_eq(try_open(&life), 9);
    free(image.data);
    kos_manual_free(life.manual);
}
END_TEST

START_TEST(missing_segment_is_damage)
{
    struct life life = { .manual = kos_manual_new(2) };
    struct kos_store_options options = { .segment_bytes = 8 << 10 };
    life.env = kos_manual_env(life.manual);
    ck_assert_int_eq(kos_store_open(life.env, "/state", &options, &life.store, NULL), KOS_OK);
    for (int n = 1; n <= COUNT; n++) {
        ck_assert_int_eq(commit(&life, n), KOS_OK);
        kos_manual_settle(life.manual);
    }
    ck_assert_uint_gt(life.store->segment_count, 3);
    char *path = journal_path("/state/journal", life.store->segments[1]);
    abandon(&life);
    ck_assert_int_eq(life.env->ops->file_remove(life.env, path), KOS_OK);
    ck_assert_int_eq(try_open(&life), KOS_E_CORRUPT);
    free(path);
    kos_manual_free(life.manual);
}
END_TEST

TESTS("store/crash", power_loss_at_each_operation, torn_power_loss_at_each_operation, full_disk_at_each_operation,
      broken_disk_at_each_operation, power_loss_after_a_failed_sync_of_the_process_before,
      a_disk_that_fails_once_in_a_second_life, full_disk_refuses_and_says_so_once, closed_on_a_full_disk, torn_end_at_each_byte,
      damage_is_not_taken_for_a_torn_end, head_survives_in_its_copy, missing_segment_is_damage)
