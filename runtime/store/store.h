/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything durable: ordered key-value spaces, changed by transactions.
 *
 * A transaction is applied at once to what this process reads, written with all others of the same turn as one group
 * to the journal (append-only segments, one fdatasync on a worker), and only then `done` runs: what leaves the node
 * waits for that. The journal is the redo log: SQLite holds the same spaces up to a checkpoint; at start the journal
 * behind the checkpoint is played again, and a torn tail is cut (it was never acknowledged). Both go through kos_env's
 * files, SQLite by a VFS.
 *
 * When the disk is full or broken the store refuses new transactions (KOS_E_NOSPACE, KOS_E_IO) and says so once; what
 * was acknowledged stays. It takes work again when a probe write succeeds.
 */
#ifndef KOS_STORE_STORE_H
#define KOS_STORE_STORE_H

#include "core/env.h"

enum { KOS_STORE_KEY_MAX = 512, KOS_STORE_VALUE_MAX = 2 << 20, KOS_STORE_SPACE_MAX = 64, KOS_STORE_TX_MAX = 8 << 20 };

struct kos_store;
struct kos_tx;

struct kos_store_options {
    uint64_t segment_bytes;      /* journal segment, preallocated; 0 = 16 MiB */
    uint64_t checkpoint_bytes;   /* journal behind the checkpoint that starts one; 0 = 32 MiB */
    uint64_t group_bytes_max;    /* bytes waiting for the disk before begin refuses with KOS_E_BUSY; 0 = 64 MiB */
};

struct kos_store_stats {
    uint64_t commits, groups, syncs, bytes_journal, bytes_waiting, replayed, checkpoints;
    int32_t state;               /* KOS_OK, or the error it refuses with */
};

/* Opens or creates the store in directory `dir` (0700), takes its lock (KOS_E_LOCKED names the file and the holder's pid). Plays the journal. */
int32_t kos_store_open(struct kos_env *env, const char *dir, const struct kos_store_options *options, struct kos_store **ret_store, struct kos_error *ret_error);
/* Checkpoints and closes; transactions not durable yet are written first. */
void kos_store_close(struct kos_store *store);

/* NULL is never returned; a refusal shows at commit. */
struct kos_tx *kos_tx_begin(struct kos_store *store);
void kos_tx_put(struct kos_tx *tx, const char *space, struct kos_bytes key, struct kos_bytes value);   /* copied */
void kos_tx_delete(struct kos_tx *tx, const char *space, struct kos_bytes key);
/* Takes the transaction. On success reads see it from now on, and `done` (may be NULL) runs once in a later turn with
 * KOS_OK when it is durable, or with the error that the store fell into (then memory and disk disagree about it, and
 * the store refuses everything until reopened). A failure returned here means nothing was applied and done never runs. */
int32_t kos_tx_commit(struct kos_tx *tx, void (*done)(void *arg, int32_t status), void *arg);
void kos_tx_abort(struct kos_tx *tx);

/* Reads see all committed transactions, durable or not. get: malloc'ed copy; KOS_E_NOTFOUND. */
int32_t kos_store_get(struct kos_store *store, const char *space, struct kos_bytes key, uint8_t **ret_value, size_t *ret_len);
/* Keys in byte order from `from` (inclusive) while they begin with `prefix`; `each` returns false to stop. It must not
 * change the store. */
int32_t kos_store_scan(struct kos_store *store, const char *space, struct kos_bytes prefix, struct kos_bytes from,
                       bool (*each)(void *arg, struct kos_bytes key, struct kos_bytes value), void *arg);
uint64_t kos_store_count(struct kos_store *store, const char *space);
void kos_store_stats(struct kos_store *store, struct kos_store_stats *ret_stats);
/* Asks for a checkpoint; done when it is on disk. */
int32_t kos_store_checkpoint(struct kos_store *store);

/* Reads a closed store through and reports: every segment's records and digests, SQLite's integrity_check, the
 * checkpoint against the journal. `say` gets a line each. */
int32_t kos_store_check(struct kos_env *env, const char *dir, void (*say)(void *arg, const char *line), void *arg, struct kos_error *ret_error);

#endif
