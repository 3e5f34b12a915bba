/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything durable: ordered key-value spaces, changed by transactions.
 *
 * A transaction is applied at once to what this process reads, written with all others of the same turn as one group
 * to the journal (append-only segments, one fdatasync on a worker), and only then `done` runs: what leaves the node
 * waits for that. The journal is the redo log: SQLite holds the same spaces up to a checkpoint, what changed since is
 * in memory; at start the journal behind the checkpoint is played again, and a torn record at its end is left out (it
 * was never acknowledged). Both go through kos_env's files, SQLite by a VFS; all writing is done by workers.
 *
 * When the disk is full or broken the store refuses new transactions (KOS_E_NOSPACE, KOS_E_IO) and says so once; what
 * was acknowledged stays. What it took before waits: it is tried again each second until it is on the disk, so memory
 * and disk never disagree for longer than that, and then the store takes work again. The next journal segment is
 * always allocated beforehand, so on a full disk what was taken normally still fits.
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
    uint64_t group_bytes_max;    /* bytes waiting for the disk before commit refuses with KOS_E_BUSY; 0 = 64 MiB */
};

struct kos_store_stats {
    uint64_t commits, groups, syncs, bytes_journal, bytes_waiting, replayed, checkpoints;
    int32_t state;               /* KOS_OK, or the error it refuses with */
};

/* Opens or creates the store in directory `dir` (0700), takes its lock (KOS_E_LOCKED names the file and the holder's pid). Plays the journal. */
int32_t kos_store_open(struct kos_env *env, const char *dir, const struct kos_store_options *options, struct kos_store **ret_store, struct kos_error *ret_error);
/* Checkpoints and closes; transactions not durable yet are written first, and their `done` runs inside. Not to be called
 * from a `done`. NULL is fine. */
void kos_store_close(struct kos_store *store);

/* NULL is never returned; a refusal shows at commit. All of a store's transactions end before it is closed. */
struct kos_tx *kos_tx_begin(struct kos_store *store);
void kos_tx_put(struct kos_tx *tx, const char *space, struct kos_bytes key, struct kos_bytes value);   /* copied */
void kos_tx_delete(struct kos_tx *tx, const char *space, struct kos_bytes key);
/* Takes the transaction, which is gone afterwards in any case. On success reads see it from now on, and `done` (may be
 * NULL) runs once in a later turn with KOS_OK when it is durable, in the order of the commits. While the disk refuses it,
 * done waits; only a store that is closed before the disk takes it again calls done with the error. A failure returned
 * here means nothing was applied and done never runs: the store's state, KOS_E_BUSY when too much waits for the disk,
 * KOS_E_LIMIT or KOS_E_INVALID for what was put (a space's name is 1 to 64 printable ASCII characters without space and
 * quote; 1,024 spaces). */
int32_t kos_tx_commit(struct kos_tx *tx, void (*done)(void *arg, int32_t status), void *arg);
void kos_tx_abort(struct kos_tx *tx);

/* Reads see all committed transactions, durable or not. get: malloc'ed copy; KOS_E_NOTFOUND. */
int32_t kos_store_get(struct kos_store *store, const char *space, struct kos_bytes key, uint8_t **ret_value, size_t *ret_len);
/* Keys in byte order from `from` (inclusive) while they begin with `prefix`; `each` returns false to stop. It must not
 * change the store. */
int32_t kos_store_scan(struct kos_store *store, const char *space, struct kos_bytes prefix, struct kos_bytes from,
                       bool (*each)(void *arg, struct kos_bytes key, struct kos_bytes value), void *arg);
/* Keys in the space. The first call reads the space through; from then on the number is kept. */
uint64_t kos_store_count(struct kos_store *store, const char *space);
void kos_store_stats(struct kos_store *store, struct kos_store_stats *ret_stats);
/* Asks for a checkpoint soon; stats.checkpoints counts those on disk. Returns the store's state. */
int32_t kos_store_checkpoint(struct kos_store *store);

/* How something found is set right. */
enum kos_store_mend {
    KOS_MEND_NONE = 0,   /* it cannot be: damage */
    KOS_MEND_START = 1,  /* a start does it, as after any crash; nothing acknowledged is touched */
    KOS_MEND_REPAIR = 2, /* a repair does it: what is missing is made again from what is there */
    KOS_MEND_HAND = 3,   /* by hand; it does no harm */
};
struct kos_store_finding {
    int32_t mend;
    const char *place, *text; /* which file or space; what is with it */
};
/* Who asked for a check. Members may be NULL. */
struct kos_store_checker {
    void (*found)(void *arg, const struct kos_store_finding *finding);
    void (*say)(void *arg, const char *line);
    void (*progress)(void *arg, const char *what, uint64_t done, uint64_t total);
    struct kos_tx *tx; /* a repair's: what mends goes into it. NULL: only look */
    void *arg;
};
void kos_store_found(const struct kos_store_checker *checker, int32_t mend, const char *place, const char *format, ...) __attribute__((format(printf, 4, 5)));
void kos_store_note(const struct kos_store_checker *checker, const char *format, ...) __attribute__((format(printf, 2, 3)));
void kos_store_progress(const struct kos_store_checker *checker, const char *what, uint64_t done, uint64_t total);

/* Reads a closed store through without writing anything: what lies in its directory, every segment's records and hashes,
 * SQLite's integrity_check, the checkpoint against the journal. The error is damage that ends the check; the rest goes to
 * the checker. *ret_store (NULL: not wanted) is the store as a start would have it, for reading alone: get, scan, count,
 * and kos_store_close. The checker must live until then. */
int32_t kos_store_check(struct kos_env *env, const char *dir, const struct kos_store_checker *checker, struct kos_store **ret_store,
                        struct kos_error *ret_error);

#endif
