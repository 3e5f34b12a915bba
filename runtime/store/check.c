/* SPDX-License-Identifier: Apache-2.0
 * Reading a closed store through: every segment and its hashes, SQLite's own check, and one against the other. */
#include <inttypes.h>
#include <stdlib.h>

#include "store/internal.h"
#include "store/journal_format.h"

struct check {
    void (*say)(void *arg, const char *line);
    void *arg;
    uint64_t records, transactions;
    size_t spaces;
};

static void say(struct check *check, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct check *check, const char *format, ...)
{
    char line[600];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    check->say(check->arg, line);
}

static void said(void *arg, const char *line)
{
    struct check *check = arg;
    check->say(check->arg, line);
}

static void space_found(void *arg, const char *name)
{
    (void)name;
    ((struct check *)arg)->spaces++;
}

static int32_t record(void *arg, uint64_t number, struct kos_bytes payload, struct kos_error *ret_error)
{
    struct check *check = arg;
    check->records++;
    while (payload.len) {
        uint64_t len = payload.len >= 4 ? get32(payload.data) : UINT64_MAX;
        int32_t rc = len <= payload.len - 4 ? space_check(kos_bytes(payload.data + 4, (size_t)len)) : KOS_E_CORRUPT;
        if (rc < 0)
            return kos_fail(ret_error, rc, "record %" PRIu64 " of the journal holds no valid transactions", number);
        payload = kos_bytes(payload.data + 4 + len, payload.len - 4 - (size_t)len);
        check->transactions++;
    }
    return KOS_OK;
}

static int32_t check_parts(struct check *check, struct kos_env *env, const char *dir, struct kos_error *ret_error)
{
    struct database *database;
    struct database_info info;
    int32_t rc = database_open(env, dir, false, space_found, check, &database, &info, ret_error);
    if (rc < 0)
        return rc;
    rc = database_check(database, said, check);
    if (rc < 0)
        kos_fail(ret_error, rc, "%s/state.db: %s; restore the store from a copy", dir, kos_error_text(rc));
    database_close(database, false);
    if (rc < 0)
        return rc;
    say(check, "%s/state.db: sound, %zu spaces, holds everything up to record %" PRIu64, dir, check->spaces, info.applied);
    char *journal = kos_format("%s/journal", dir);
    struct journal_reader reader = { .env = env, .dir = journal, .store = info.store, .applied = info.applied, .verify = true,
                                     .each = record, .say = said, .arg = check };
    struct journal_state state;
    rc = journal_read(&reader, &state, ret_error);
    if (rc == KOS_OK) {
        say(check, "%s: %zu segments, %" PRIu64 " records with %" PRIu64 " transactions to play behind record %" PRIu64, journal,
            state.segment_count, check->records, check->transactions, info.applied);
        journal_state_fini(&state);
    }
    free(journal);
    return rc;
}

int32_t kos_store_check(struct kos_env *env, const char *dir, void (*say_line)(void *arg, const char *line), void *arg, struct kos_error *ret_error)
{
    struct check check = { .say = say_line, .arg = arg };
    struct kos_file *lock = NULL;
    int32_t rc = store_lock(env, dir, false, &lock, ret_error);
    if (rc == KOS_OK)
        rc = check_parts(&check, env, dir, ret_error);
    env->ops->file_close(lock);
    return rc;
}
