/* SPDX-License-Identifier: Apache-2.0
 * The store from outside: opening, transactions, closing. */
#include "store/store.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/internal.h"
#include "store/journal_format.h"

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value ? value : otherwise;
}

int32_t store_lock(struct kos_env *env, const char *dir, bool make, struct kos_file **ret_lock, struct kos_error *ret_error)
{
    const struct kos_env_ops *ops = env->ops;
    char *path = kos_format("%s/lock", dir);
    struct kos_file *lock = NULL;
    int32_t rc = ops->file_open(env, path, KOS_FILE_READ | KOS_FILE_WRITE | (make ? KOS_FILE_CREATE : 0), 0600, &lock);
    if (rc < 0) {
        kos_fail(ret_error, rc, "%s cannot be opened: %s", path, kos_error_text(rc));
    } else if ((rc = ops->file_lock(lock)) == KOS_E_LOCKED) {
        char pid[24] = { 0 };
        int64_t len = ops->file_read(lock, pid, sizeof pid - 1, 0);
        size_t digits = len > 0 ? strspn(pid, "0123456789") : 0;
        pid[digits] = 0;
        kos_fail(ret_error, rc, "%s is held by process %s, which uses this store; end it first", path, digits ? pid : "(unknown)");
    } else if (rc < 0) {
        kos_fail(ret_error, rc, "%s cannot be locked: %s", path, kos_error_text(rc));
    } else {
        char *pid = kos_format("%ld\n", (long)getpid());
        /* Only for the other one's error text: on a full disk the store opens all the same. */
        if (ops->file_truncate(lock, 0) == KOS_OK)
            (void)ops->file_write(lock, pid, strlen(pid), 0);
        free(pid);
    }
    free(path);
    if (rc < 0)
        ops->file_close(lock);
    else
        *ret_lock = lock;
    return rc;
}

static int32_t make_dir(struct kos_env *env, const char *path, struct kos_error *ret_error)
{
    int32_t rc = env->ops->dir_make(env, path, 0700);
    /* One that is there may be there in memory only: who made it may have ended before this. */
    if (rc == KOS_OK || rc == KOS_E_EXISTS) {
        char *parent = kos_strdup(path);
        char *slash = strrchr(parent, '/');
        slash[slash == parent ? 1 : 0] = 0;
        rc = env->ops->dir_sync(env, parent);
        free(parent);
    }
    return rc < 0 ? kos_fail(ret_error, rc, "%s cannot be made: %s", path, kos_error_text(rc)) : KOS_OK;
}

static void space_found(void *arg, const char *name)
{
    struct kos_store *store = arg;
    struct space *space = space_name_valid(name, strlen(name)) ? space_get(store, name, strlen(name)) : NULL;
    if (space)
        space->in_database = true;
}

static int32_t apply_record(struct kos_store *store, uint64_t number, struct kos_bytes payload, struct kos_error *ret_error)
{
    while (payload.len) {
        uint64_t len = payload.len >= 4 ? get32(payload.data) : UINT64_MAX;
        int32_t rc = len <= payload.len - 4 ? space_apply(store, kos_bytes(payload.data + 4, (size_t)len)) : KOS_E_CORRUPT;
        if (rc < 0)
            return kos_fail(ret_error, rc, "%s: record %" PRIu64 " holds no valid transactions; it was written by another version of kos, or is damaged",
                            store->journal_dir, number);
        payload = kos_bytes(payload.data + 4 + len, payload.len - 4 - (size_t)len);
    }
    store->last = number;
    store->stats.replayed++;
    return KOS_OK;
}

static int32_t replay(void *arg, uint64_t number, struct kos_bytes payload, struct kos_error *ret_error)
{
    struct kos_store *store = arg;
    int32_t rc = apply_record(store, number, payload, ret_error);
    /* Memory stays bounded however long the journal is. On a full disk the store opens all the same, while that holds. */
    if (rc < 0 || store->active_bytes <= store->options.checkpoint_bytes)
        return rc;
    bool first = store->checkpoint_rc == KOS_OK;
    rc = checkpoint_now(store);
    if (rc < 0 && first)
        return KOS_OK; /* what is frozen waits, and as much again may come; a second failure ends it */
    if (rc < 0)
        kos_fail(ret_error, rc, "%s/state.db cannot take the journal's changes: SQLite says: %s", store->dir, store->checkpoint.text);
    return rc;
}

int32_t store_no_journal(const char *dir, const struct database_info *info, struct kos_error *ret_error)
{
    return kos_fail(ret_error, KOS_E_CORRUPT,
                    "%s/journal holds no segment, but %s/state.db has records up to %" PRIu64 "; what came behind them was removed: restore the store from a copy",
                    dir, dir, info->applied);
}

static int32_t play(struct kos_store *store, const struct database_info *info, struct kos_error *ret_error)
{
    struct journal_reader reader = { .env = store->env, .dir = store->journal_dir, .store = info->store, .applied = info->applied,
                                     .each = replay, .arg = store };
    struct journal_state state;
    store->applied = store->last = info->applied;
    int32_t rc = journal_read(&reader, &state, ret_error);
    if (rc < 0)
        return rc;
    if (!state.found && info->applied) {
        journal_state_fini(&state);
        return store_no_journal(store->dir, info, ret_error);
    }
    store->last = state.last;
    store->journal.again_first = state.again_first;
    store->journal.again_from = state.again_from;
    store->journal.again_end = state.again_end;
    store->stats.bytes_journal = store->applied == info->applied ? state.bytes : store->active_bytes;
    for (size_t i = 0; i < state.segment_count; i++)
        tidy_add(store, state.segments[i]);
    if (state.torn)
        kos_log(store->env, KOS_LOG_NOTICE, "store", "%s: %" PRIu64 " bytes of a record that was never acknowledged are left out at the end", store->journal_dir, state.torn);
    journal_state_fini(&state);
    return KOS_OK;
}

static int32_t open_parts(struct kos_store *store, struct kos_error *ret_error)
{
    struct database_info info;
    int32_t rc = make_dir(store->env, store->dir, ret_error);
    if (rc == KOS_OK)
        rc = store_lock(store->env, store->dir, true, &store->lock, ret_error);
    if (rc == KOS_OK)
        rc = make_dir(store->env, store->journal_dir, ret_error);
    if (rc == KOS_OK)
        rc = database_open(store->env, store->dir, true, space_found, store, &store->database, &info, ret_error);
    if (rc == KOS_OK) {
        journal_init(&store->journal, store->env, store->journal_dir, info.store, store->options.segment_bytes);
        rc = play(store, &info, ret_error);
    }
    return rc;
}

int32_t kos_store_open(struct kos_env *env, const char *dir, const struct kos_store_options *options, struct kos_store **ret_store, struct kos_error *ret_error)
{
    if (dir[0] != '/' || !dir[1] || dir[strlen(dir) - 1] == '/')
        return kos_fail(ret_error, KOS_E_INVALID, "\"%s\" is not the absolute path of a directory without / at its end", dir);
    struct kos_store *store = kos_new(sizeof *store);
    store->env = env;
    if (options)
        store->options = *options;
    store->options.segment_bytes = (or_default(store->options.segment_bytes, 16 << 20) + 4095) & ~(uint64_t)4095;
    store->options.checkpoint_bytes = or_default(store->options.checkpoint_bytes, 32 << 20);
    store->options.group_bytes_max = or_default(store->options.group_bytes_max, 64 << 20);
    store->dir = kos_strdup(dir);
    store->journal_dir = kos_format("%s/journal", dir);
    group_init(store);
    int32_t rc = open_parts(store, ret_error);
    if (rc < 0) {
        store_abandon(store);
        return rc;
    }
    *ret_store = store;
    return KOS_OK;
}

void store_fini(struct kos_store *store, bool checkpoint)
{
    spaces_free(store);
    for (size_t i = 0; i < store->trash_count; i++)
        table_free(store->trash[i]);
    free(store->trash);
    database_close(store->database, checkpoint);
    if (store->journal.env)
        journal_fini(&store->journal);
    store->env->ops->file_close(store->lock);
    look_free(store->look);
    free(store->segments);
    free(store->journal_dir);
    free(store->dir);
    free(store);
}

void kos_store_close(struct kos_store *store)
{
    if (!store)
        return;
    if (!store->look)
        group_close(store);
    store_fini(store, !store->look);
}

struct kos_tx *kos_tx_begin(struct kos_store *store)
{
    struct kos_tx *tx = kos_new(sizeof *tx);
    tx->store = store;
    kos_buf_init(&tx->ops, KOS_STORE_TX_MAX + 4);
    tx->error = kos_buf_append(&tx->ops, kos_bytes("\0\0\0", 4));
    return tx;
}

static void add(struct kos_tx *tx, uint8_t what, const char *space, struct kos_bytes key, struct kos_bytes value)
{
    size_t name = strlen(space);
    if (tx->error < 0)
        return;
    if (!space_name_valid(space, name))
        tx->error = KOS_E_INVALID;
    else if (key.len > KOS_STORE_KEY_MAX || value.len > KOS_STORE_VALUE_MAX || !space_get(tx->store, space, name))
        tx->error = KOS_E_LIMIT;
    else
        tx->error = kos_buf_reserve(&tx->ops, STORE_OP_HEAD + name + key.len + value.len);
    if (tx->error < 0)
        return;
    uint8_t *p = tx->ops.data + tx->ops.len;
    p[0] = what;
    p[1] = (uint8_t)name;
    p[2] = (uint8_t)key.len;
    p[3] = (uint8_t)(key.len >> 8);
    put32(p + 4, (uint32_t)value.len);
    tx->ops.len += STORE_OP_HEAD;
    /* Reserved above, so these cannot fail. */
    (void)kos_buf_append(&tx->ops, kos_bytes(space, name));
    (void)kos_buf_append(&tx->ops, key);
    (void)kos_buf_append(&tx->ops, value);
    tx->records++;
}

void kos_tx_put(struct kos_tx *tx, const char *space, struct kos_bytes key, struct kos_bytes value)
{
    add(tx, STORE_PUT, space, key, value);
}

void kos_tx_delete(struct kos_tx *tx, const char *space, struct kos_bytes key)
{
    add(tx, STORE_DELETE, space, key, kos_bytes(NULL, 0));
}

static int32_t refuse(const struct kos_tx *tx)
{
    const struct kos_store *store = tx->store;
    if (tx->error < 0)
        return tx->error;
    if (store->closing)
        return KOS_E_CLOSED;
    int32_t rc = group_state(store);
    if (rc < 0)
        return rc;
    uint64_t waiting = store->waiting.bytes + store->flight.queue.bytes;
    if (waiting + tx->ops.len > store->options.group_bytes_max ||
        store->stats.bytes_journal + waiting > store->options.checkpoint_bytes * STORE_BEHIND_MAX + store->options.group_bytes_max)
        return KOS_E_BUSY;
    return KOS_OK;
}

int32_t kos_tx_commit(struct kos_tx *tx, void (*done)(void *arg, int32_t status), void *arg)
{
    struct kos_store *store = tx->store;
    int32_t rc = refuse(tx);
    if (rc == KOS_OK)
        rc = space_apply(store, kos_bytes(tx->ops.data + 4, tx->ops.len - 4));
    if (rc < 0) {
        tx_free(tx);
        return rc;
    }
    put32(tx->ops.data, (uint32_t)(tx->ops.len - 4));
    tx->done = done;
    tx->arg = arg;
    group_enqueue(store, tx);
    store->stats.commits++;
    return KOS_OK;
}

void kos_tx_abort(struct kos_tx *tx)
{
    if (tx)
        tx_free(tx);
}

void kos_store_stats(struct kos_store *store, struct kos_store_stats *ret_stats)
{
    store->stats.bytes_waiting = store->waiting.bytes + store->flight.queue.bytes;
    store->stats.state = group_state(store);
    *ret_stats = store->stats;
}

int32_t kos_store_checkpoint(struct kos_store *store)
{
    if (store->closing)
        return KOS_E_CLOSED;
    store->want_checkpoint = true;
    group_nudge(store);
    return group_state(store);
}
