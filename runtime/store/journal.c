/* SPDX-License-Identifier: Apache-2.0
 * Writing the journal: records, segments, the spare segment. */
#include "store/journal.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>

#include "core/buf.h"
#include "store/journal_format.h"

void journal_init(struct journal *journal, struct kos_env *env, const char *dir, uint64_t store, uint64_t segment_bytes)
{
    *journal = (struct journal){ .env = env, .dir = kos_strdup(dir), .store = store, .segment_bytes = segment_bytes };
    kos_random(env, journal->seed, sizeof journal->seed);
}

void journal_fini(struct journal *journal)
{
    journal->env->ops->file_close(journal->file);
    free(journal->dir);
    *journal = (struct journal){ .env = journal->env };
}

char *journal_path(const char *dir, uint64_t first)
{
    return kos_format("%s/%016" PRIx64 ".seg", dir, first);
}

uint64_t journal_record_bytes(uint64_t payload)
{
    return (JOURNAL_RECORD_HEAD + payload + 7) & ~(uint64_t)7;
}

bool journal_fits(const struct journal *journal, uint64_t bytes, uint64_t records)
{
    return journal->file && !journal->failed &&
           journal->offset + bytes + records * (JOURNAL_RECORD_HEAD + 8) <= journal->size;
}

void journal_head_encode(const struct journal_head *head, uint8_t out[JOURNAL_HEAD_BYTES])
{
    memset(out, 0, JOURNAL_HEAD_BYTES);
    memcpy(out, JOURNAL_MAGIC, 8);
    put32(out + 8, JOURNAL_VERSION);
    put64(out + 16, head->store);
    put64(out + 24, head->first);
    memcpy(out + 32, head->key, 16);
    crypto_shorthash(out + 48, out, 48, head->key);
}

int32_t journal_spare(struct kos_env *env, const char *dir, uint64_t bytes, uint64_t recycle)
{
    const struct kos_env_ops *ops = env->ops;
    char *spare = kos_format("%s/" JOURNAL_SPARE, dir);
    int32_t rc = KOS_E_NOTFOUND;
    if (recycle) {
        char *old = journal_path(dir, recycle);
        rc = ops->file_rename(env, old, spare);
        free(old);
    }
    struct kos_file *file = NULL;
    if (rc < 0) {
        ops->file_remove(env, spare);
        rc = ops->file_open(env, spare, KOS_FILE_WRITE | KOS_FILE_CREATE | KOS_FILE_EXCLUSIVE, 0600, &file);
    } else {
        rc = ops->file_open(env, spare, KOS_FILE_WRITE, 0, &file);
    }
    if (rc == KOS_OK) {
        rc = ops->file_allocate(file, bytes);
        if (rc == KOS_OK)
            rc = ops->file_sync(file);
        ops->file_close(file);
        if (rc == KOS_OK)
            rc = ops->dir_sync(env, dir);
        if (rc < 0)
            ops->file_remove(env, spare);
    }
    free(spare);
    return rc;
}

int32_t journal_remove(struct kos_env *env, const char *dir, uint64_t first)
{
    char *path = journal_path(dir, first);
    int32_t rc = env->ops->file_remove(env, path);
    free(path);
    return rc == KOS_E_NOTFOUND ? KOS_OK : rc;
}

/* Takes the spare segment as the one that begins with record `first`. A segment of that name can be there only from a
 * try that failed before anything in it was acknowledged; the rename replaces it. */
static int32_t next_segment(struct journal *journal, uint64_t first, uint64_t need)
{
    struct kos_env *env = journal->env;
    env->ops->file_close(journal->file);
    journal->file = NULL;
    uint64_t bytes = (JOURNAL_HEAD + need + JOURNAL_TAIL + 4095) & ~(uint64_t)4095;
    bytes = bytes > journal->segment_bytes ? bytes : journal->segment_bytes;
    if (journal->spare_bytes < bytes) {
        journal->spare_bytes = 0;
        int32_t rc = journal_spare(env, journal->dir, bytes, 0);
        if (rc < 0)
            return rc;
        journal->spare_bytes = bytes;
    }
    struct journal_head head = { .store = journal->store, .first = first };
    uint8_t counter[8];
    put64(counter, journal->keys++);
    crypto_generichash(head.key, sizeof head.key, counter, sizeof counter, journal->seed, sizeof journal->seed);
    uint8_t page[JOURNAL_HEAD] = { 0 };
    journal_head_encode(&head, page);
    memcpy(page + JOURNAL_HEAD_COPY, page, JOURNAL_HEAD_BYTES);

    char *spare = kos_format("%s/" JOURNAL_SPARE, journal->dir), *path = journal_path(journal->dir, first);
    bytes = journal->spare_bytes;
    int32_t rc = env->ops->file_rename(env, spare, path);
    journal->spare_bytes = 0;
    if (rc == KOS_OK)
        rc = env->ops->dir_sync(env, journal->dir);
    if (rc == KOS_OK)
        rc = env->ops->file_open(env, path, KOS_FILE_READ | KOS_FILE_WRITE, 0, &journal->file);
    if (rc == KOS_OK)
        rc = env->ops->file_write(journal->file, page, sizeof page, 0);
    if (rc == KOS_OK)
        rc = env->ops->file_write(journal->file, page, JOURNAL_TAIL, bytes - JOURNAL_TAIL);
    free(spare);
    free(path);
    if (rc < 0) {
        /* None is open: what is open counts as the last of the segments, by which the others are found needless. */
        env->ops->file_close(journal->file);
        journal->file = NULL;
        return rc;
    }
    memcpy(journal->key, head.key, sizeof head.key);
    journal->first = first;
    journal->offset = JOURNAL_HEAD;
    journal->size = bytes - JOURNAL_TAIL;
    journal->failed = false;
    return KOS_OK;
}

static int32_t write_again(struct journal *journal)
{
    struct kos_env *env = journal->env;
    size_t len = (size_t)(journal->again_end - journal->again_from);
    char *path = journal_path(journal->dir, journal->again_first);
    uint8_t *data = malloc(len);
    struct kos_file *file = NULL;
    int32_t rc = data ? env->ops->file_open(env, path, KOS_FILE_READ | KOS_FILE_WRITE, 0, &file) : KOS_E_NOMEM;
    if (rc == KOS_OK) {
        int64_t got = env->ops->file_read(file, data, len, journal->again_from);
        rc = got < 0 ? (int32_t)got : (size_t)got < len ? KOS_E_IO : KOS_OK;
        if (rc == KOS_OK)
            rc = env->ops->file_write(file, data, len, journal->again_from);
        if (rc == KOS_OK)
            rc = env->ops->file_sync(file);
        env->ops->file_close(file);
    }
    if (rc == KOS_OK)
        rc = env->ops->dir_sync(env, journal->dir);
    if (rc == KOS_OK)
        journal->again_end = 0;
    free(data);
    free(path);
    return rc;
}

int32_t journal_write(struct journal *journal, uint64_t number, const struct kos_bytes *pieces, size_t count)
{
    uint64_t payload = 0;
    for (size_t i = 0; i < count; i++)
        payload += pieces[i].len;
    if (payload > JOURNAL_PAYLOAD_MAX)
        return KOS_E_LIMIT;
    uint64_t need = journal_record_bytes(payload);
    int32_t rc = journal->again_end ? write_again(journal) : KOS_OK;
    if (rc < 0)
        return rc;
    if (!journal->file || journal->failed || journal->offset + need > journal->size) {
        journal->failed = true; /* until the new one stands */
        rc = next_segment(journal, number, need);
        if (rc < 0)
            return rc;
    }
    uint8_t *record = malloc(need);
    if (!record)
        return KOS_E_NOMEM;
    put32(record, (uint32_t)payload);
    put64(record + 8, number);
    put32(record + 4, journal_record_check(journal->key, record));
    uint8_t *at = record + JOURNAL_RECORD_HEAD;
    for (size_t i = 0; i < count; at += pieces[i].len, i++)
        if (pieces[i].len)
            memcpy(at, pieces[i].data, pieces[i].len);
    memset(at, 0, need - JOURNAL_RECORD_HEAD - payload);
    journal_record_hash(journal->key, record, record + 16);
    rc = journal->env->ops->file_write(journal->file, record, need, journal->offset);
    free(record);
    if (rc == KOS_OK)
        rc = journal->env->ops->file_sync(journal->file);
    journal->syncs++;
    if (rc < 0) {
        journal->failed = true;
        return rc;
    }
    journal->offset += need;
    return KOS_OK;
}

uint32_t journal_record_check(const uint8_t key[16], const uint8_t *record)
{
    uint8_t covered[12], hash[8];
    memcpy(covered, record, 4);
    memcpy(covered + 4, record + 8, 8);
    crypto_shorthash(hash, covered, sizeof covered, key);
    return get32(hash);
}

void journal_record_hash(const uint8_t key[16], const uint8_t *record, uint8_t ret_hash[8])
{
    /* The hash field itself stands between what it covers, so head and payload are hashed apart and the two together. */
    uint8_t both[24];
    memcpy(both, record, 16);
    crypto_shorthash(both + 16, record + JOURNAL_RECORD_HEAD, get32(record), key);
    crypto_shorthash(ret_hash, both, sizeof both, key);
}
