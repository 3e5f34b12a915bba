/* SPDX-License-Identifier: Apache-2.0
 * Reading a closed store through: what lies in its directory, every segment and its hashes, SQLite's own check, and one
 * against the other. What it finds, it finds without writing (look.c). */
#include <inttypes.h>
#include <stdlib.h>

#include "store/internal.h"
#include "store/journal_format.h"

struct check {
    const struct kos_store_checker *checker;
    struct kos_env *env; /* a look */
    struct kos_store *store;
    const char *dir;
    uint64_t records, transactions;
    uint64_t segments;
    bool journal_named, database_named, rollback, wrong_kind;
};

void kos_store_found(const struct kos_store_checker *checker, int32_t mend, const char *place, const char *format, ...)
{
    char text[600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const struct kos_store_finding finding = { .mend = mend, .place = place, .text = text };
    if (checker->found)
        checker->found(checker->arg, &finding);
}

void kos_store_note(const struct kos_store_checker *checker, const char *format, ...)
{
    char text[600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (checker->say)
        checker->say(checker->arg, text);
}

void kos_store_progress(const struct kos_store_checker *checker, const char *what, uint64_t done, uint64_t total)
{
    if (checker->progress)
        checker->progress(checker->arg, what, done, total);
}

static void said(void *arg, const char *line)
{
    struct check *check = arg;
    kos_store_note(check->checker, "%s", line);
}

static void fault(void *arg, const char *line)
{
    struct check *check = arg;
    kos_store_found(check->checker, KOS_MEND_NONE, "state.db", "%s", line);
}

/* ---- what lies there ---- */

static void expect(struct check *check, const char *path)
{
    struct kos_file_stat st;
    if (check->env->ops->file_stat(check->env, path, &st) == KOS_OK && st.type == KOS_FILE_REGULAR)
        look_expect(check->env, st.size);
}

static void in_dir(void *arg, const char *name)
{
    static const char *const ours[] = { "lock", "state.db", "state.db-wal", "journal" };
    struct check *check = arg;
    char *path = kos_format("%s/%s", check->dir, name);
    struct kos_file_stat st;
    bool known = false;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        known |= strcmp(name, ours[i]) == 0;
    expect(check, path);
    check->journal_named |= strcmp(name, "journal") == 0;
    check->database_named |= strcmp(name, "state.db") == 0;
    if (strcmp(name, "state.db-journal") == 0)
        check->rollback = true; /* there only while the database is made */
    else if (!known)
        kos_store_found(check->checker, KOS_MEND_HAND, path, "is none of the store's files%s; it does no harm: move it away",
                        strcmp(name, "state.db-shm") == 0 ? " but of another program that opened the database" : "");
    else if (check->env->ops->file_stat(check->env, path, &st) == KOS_OK &&
             st.type != (strcmp(name, "journal") == 0 ? KOS_FILE_DIRECTORY : KOS_FILE_REGULAR)) {
        check->wrong_kind = true;
        kos_store_found(check->checker, KOS_MEND_NONE, path, "is %s, where %s is expected",
                        st.type == KOS_FILE_LINK ? "a symbolic link" : st.type == KOS_FILE_DIRECTORY ? "a directory" : "no such thing",
                        strcmp(name, "journal") == 0 ? "a directory" : "a file");
    }
    free(path);
}

static void in_journal(void *arg, const char *name)
{
    struct check *check = arg;
    char *path = kos_format("%s/journal/%s", check->dir, name);
    bool segment = strlen(name) == 20 && strspn(name, "0123456789abcdef") == 16 && strcmp(name + 16, ".seg") == 0;
    check->segments += segment;
    if (segment)
        expect(check, path);
    else if (strcmp(name, JOURNAL_SPARE) != 0)
        kos_store_found(check->checker, KOS_MEND_HAND, path, "is none of the journal's files; it does no harm: move it away");
    free(path);
}

static int32_t check_names(struct check *check, struct kos_error *ret_error)
{
    int32_t rc = check->env->ops->dir_list(check->env, check->dir, in_dir, check);
    if (rc < 0)
        return kos_fail(ret_error, rc, "%s cannot be listed: %s", check->dir, kos_error_text(rc));
    if (check->journal_named && !check->wrong_kind && (rc = check->env->ops->dir_list(check->env, check->store->journal_dir, in_journal, check)) < 0)
        return kos_fail(ret_error, rc, "%s cannot be listed: %s", check->store->journal_dir, kos_error_text(rc));
    return KOS_OK;
}

/* Of a store whose making was cut off before the first commit nothing was ever acknowledged. */
static void unused(struct check *check)
{
    kos_store_found(check->checker, KOS_MEND_START, check->dir, "was begun and never used; a start makes it anew");
}

/* No journal was ever begun, and state.db is empty, missing or in the midst of being made. */
static bool never_made(struct check *check)
{
    char *path = kos_format("%s/state.db", check->dir);
    struct kos_file_stat st;
    bool made = check->env->ops->file_stat(check->env, path, &st) == KOS_OK && st.size > 0 && !check->rollback;
    free(path);
    return !check->segments && !made;
}

/* ---- contents ---- */

static int32_t record(void *arg, uint64_t number, struct kos_bytes payload, struct kos_error *ret_error)
{
    struct check *check = arg;
    check->records++;
    while (payload.len) {
        uint64_t len = payload.len >= 4 ? get32(payload.data) : UINT64_MAX;
        int32_t rc = len <= payload.len - 4 ? space_apply(check->store, kos_bytes(payload.data + 4, (size_t)len)) : KOS_E_CORRUPT;
        if (rc < 0)
            return kos_fail(ret_error, rc, "record %" PRIu64 " of the journal holds no valid transactions", number);
        payload = kos_bytes(payload.data + 4 + len, payload.len - 4 - (size_t)len);
        check->transactions++;
    }
    return KOS_OK;
}

static void space_found(void *arg, const char *name)
{
    struct check *check = arg;
    struct space *space = space_name_valid(name, strlen(name)) ? space_get(check->store, name, strlen(name)) : NULL;
    if (space)
        space->in_database = true;
    else
        kos_store_found(check->checker, KOS_MEND_NONE, "state.db", "has a table that is no space's: s:%.64s", name);
}

static int32_t check_database(struct check *check, struct database_info *ret_info, struct kos_error *ret_error)
{
    struct kos_store *store = check->store;
    int32_t rc = database_open(check->env, check->dir, false, space_found, check, &store->database, ret_info, ret_error);
    if (rc < 0)
        return rc;
    rc = database_check(store->database, fault, check);
    if (rc < 0)
        return kos_fail(ret_error, rc, "%s/state.db: %s; restore the store from a copy", check->dir, kos_error_text(rc));
    kos_store_note(check->checker, "%s/state.db: sound, %u spaces, holds everything up to record %" PRIu64, check->dir,
                   HASH_COUNT(store->spaces), ret_info->applied);
    return KOS_OK;
}

static int32_t check_journal(struct check *check, const struct database_info *info, struct kos_error *ret_error)
{
    const char *dir = check->store->journal_dir;
    struct journal_reader reader = { .env = check->env, .dir = dir, .store = info->store, .applied = info->applied, .verify = true,
                                     .each = record, .say = said, .arg = check };
    struct journal_state state;
    int32_t rc = journal_read(&reader, &state, ret_error);
    if (rc < 0)
        return rc;
    kos_store_note(check->checker, "%s: %zu segments, %" PRIu64 " records with %" PRIu64 " transactions to play behind record %" PRIu64,
                   dir, state.segment_count, check->records, check->transactions, info->applied);
    if (state.torn)
        kos_store_found(check->checker, KOS_MEND_START, dir, "ends in %" PRIu64 " bytes of a record that a crash cut off and nobody was told of; they are left out", state.torn);
    else if (state.played)
        kos_store_note(check->checker, "%s: not closed by kosd, or not yet in state.db; the next start plays it", dir);
    journal_state_fini(&state);
    return KOS_OK;
}

static int32_t check_parts(struct check *check, struct kos_error *ret_error)
{
    struct kos_store *store = check->store;
    struct database_info info;
    int32_t rc = check_names(check, ret_error);
    if (rc < 0)
        return rc;
    if (check->wrong_kind)
        return kos_fail(ret_error, KOS_E_CORRUPT, "%s: what lies there is not what kos made", check->dir);
    if (never_made(check)) {
        unused(check);
        return KOS_OK;
    }
    if (!check->database_named)
        return kos_fail(ret_error, KOS_E_CORRUPT, "%s/state.db is missing, and the journal alone does not make a store: restore the store from a copy", check->dir);
    if (check->rollback)
        return kos_fail(ret_error, KOS_E_CORRUPT, "%s/state.db-journal is a rollback journal, which a store in use never has; SQLite would undo state.db with it: "
                        "move it away", check->dir);
    rc = store_lock(check->env, check->dir, false, &store->lock, ret_error);
    if (rc == KOS_E_NOTFOUND) {
        kos_store_found(check->checker, KOS_MEND_START, check->dir, "has no lock file; a start makes it");
        rc = KOS_OK;
    }
    if (rc == KOS_OK)
        rc = check_database(check, &info, ret_error);
    if (rc == KOS_E_NOTFOUND && !check->segments) {
        unused(check);
        return KOS_OK;
    }
    if (rc == KOS_OK && (!check->journal_named || (!check->segments && info.applied)))
        rc = store_no_journal(check->dir, &info, ret_error);
    return rc == KOS_OK ? check_journal(check, &info, ret_error) : rc;
}

int32_t kos_store_check(struct kos_env *env, const char *dir, const struct kos_store_checker *checker, struct kos_store **ret_store,
                        struct kos_error *ret_error)
{
    struct kos_store *store = kos_new(sizeof *store);
    struct check check = { .checker = checker, .env = look_new(env, checker), .store = store, .dir = dir };
    store->env = store->look = check.env;
    store->dir = kos_strdup(dir);
    store->journal_dir = kos_format("%s/journal", dir);
    int32_t rc = check_parts(&check, ret_error);
    if (rc < 0 || !ret_store)
        store_fini(store, false);
    else
        *ret_store = store;
    return rc;
}
