/* SPDX-License-Identifier: Apache-2.0
 * What the store's files share. Private to the store. */
#ifndef KOS_STORE_INTERNAL_H
#define KOS_STORE_INTERNAL_H

#include <sqlite3.h>
#include <uthash.h>

#include "core/buf.h"
#include "store/journal.h"
#include "store/sqlite.h"
#include "store/store.h"
#include "store/table.h"

enum {
    STORE_SPACES_MAX = 1024,
    STORE_RECORD_BYTES = 4 << 20,  /* a group is cut into records of about this size */
    STORE_BEHIND_MAX = 4,          /* times checkpoint_bytes that may lie behind the checkpoint before work is refused */
    STORE_RETRY_MS = 1000,
};

/* Operations as they stand in a transaction: u8 what, u8 length of space, u16 of key, u32 of value, then the three. */
enum { STORE_PUT = 1, STORE_DELETE = 2, STORE_OP_HEAD = 8 };

struct space {
    UT_hash_handle hh;
    char name[KOS_STORE_SPACE_MAX + 1];
    struct table *active;  /* changed since the last freeze; never NULL */
    struct table *frozen;  /* on its way into SQLite, NULL otherwise */
    struct space *frozen_next;
    bool in_database;      /* its table exists */
    bool counted;          /* count is kept right from now on */
    uint64_t count;
    struct space_statements statements;
};

struct kos_tx {
    struct kos_store *store;
    struct kos_tx *next;
    struct kos_buf ops; /* begins with the u32 length that the journal wants in front */
    uint32_t records;   /* operations in it */
    int32_t error;      /* what put or delete found wrong */
    void (*done)(void *arg, int32_t status);
    void *arg;
};

struct tx_queue {
    struct kos_tx *first, *last;
    uint64_t bytes, count;
};

/* The write under way. `written` of its transactions are durable; after a failure the rest is tried again. */
struct flight {
    struct kos_work work;
    struct kos_store *store;
    struct tx_queue queue;
    uint64_t number; /* of the last record written */
    uint64_t bytes;  /* written */
    uint64_t written, records;
    int32_t rc;
    bool active, running;
    bool frozen; /* what is frozen is complete with this flight */
};

/* A checkpoint on its way into SQLite. */
struct checkpoint {
    struct kos_work work;
    struct kos_store *store;
    uint64_t number, bytes; /* applied by it; journal bytes before it */
    int32_t rc;
    bool ready, running; /* ready: all that is frozen is durable in the journal */
    char text[200];
};

/* Removing segments and tables, making the spare segment. */
struct tidy {
    struct kos_work work;
    struct kos_store *store;
    uint64_t *remove;
    struct table **trash;
    size_t remove_count, trash_count;
    uint64_t spare_bytes;
    bool running, want_spare;
    int32_t rc;
};

struct kos_store {
    struct kos_env *env;
    struct kos_env *look; /* of a store that is only looked at: its environment, which cannot write */
    struct kos_store_options options;
    char *dir, *journal_dir;
    struct kos_file *lock;
    struct database *database;
    struct space *spaces;
    struct space *frozen; /* those on their way: a list of its own, as spaces may be added while a worker walks it */
    struct journal journal;
    uint64_t *segments; /* first numbers of the segments on disk, in order */
    size_t segment_count, segment_cap;
    uint64_t last;      /* number of the last durable record */
    uint64_t applied;   /* number of the last record in SQLite */
    uint64_t active_bytes;
    struct table **trash; /* in SQLite now; a worker frees them, which takes its time */
    size_t trash_count;
    struct tx_queue waiting;
    struct flight flight;
    struct checkpoint checkpoint;
    struct tidy tidy;
    struct kos_deferred nudge; /* makes sure that a turn ends soon */
    struct kos_turn_end end;
    struct kos_timer *retry;
    int32_t write_rc, tidy_rc, checkpoint_rc;
    bool want_checkpoint, closing;
    struct kos_store_stats stats;
};

/* space.c */
struct space *space_find(struct kos_store *store, const char *name, size_t len);
struct space *space_get(struct kos_store *store, const char *name, size_t len); /* made when it is not there; NULL: too many */
bool space_name_valid(const char *name, size_t len);
void spaces_free(struct kos_store *store);
/* The operations of one transaction: KOS_E_CORRUPT when they are malformed; apply changes what is read, all or nothing. */
int32_t space_check(struct kos_bytes ops);
int32_t space_apply(struct kos_store *store, struct kos_bytes ops);

/* group.c */
void group_init(struct kos_store *store);
int32_t group_state(const struct kos_store *store);
void group_turn_end(struct kos_turn_end *end);
void group_nudge(struct kos_store *store);
/* Notes in *state that something failed (and tries again soon), or works again; says so when that is news. */
void group_outcome(struct kos_store *store, int32_t *state, int32_t rc, const char *what);
/* Finishes what is under way and writes what waits, once; what cannot be written is told the error. */
void group_close(struct kos_store *store);
void group_enqueue(struct kos_store *store, struct kos_tx *tx);
void tx_free(struct kos_tx *tx);

/* Lets go of everything without writing, as a crash would; for a failed open, and for tests of what is found later. */
void store_abandon(struct kos_store *store);

/* checkpoint.c */
bool checkpoint_wanted(const struct kos_store *store);
/* Sets apart what is in memory; what is committed from now on goes over it. */
void checkpoint_freeze(struct kos_store *store);
/* All that is frozen is durable in the journal. */
void checkpoint_ready(struct kos_store *store);
void checkpoint_start(struct kos_store *store);
/* Applies everything in memory to SQLite now, on this thread. */
int32_t checkpoint_now(struct kos_store *store);
/* Removes what the checkpoint made superfluous and makes the spare segment, if there is something to do. */
void tidy_start(struct kos_store *store);
void tidy_add(struct kos_store *store, uint64_t first); /* a segment there is */

/* store.c */
/* Takes the lock; its file tells the next one who holds it. */
int32_t store_lock(struct kos_env *env, const char *dir, bool make, struct kos_file **ret_lock, struct kos_error *ret_error);
void store_fini(struct kos_store *store, bool checkpoint);
/* KOS_E_CORRUPT: state.db has records, and no segment is there, not even one that was only begun (as a disk that failed
 * and then lost power may leave it). The newest one never goes, so somebody took it away. */
int32_t store_no_journal(const char *dir, const struct database_info *info, struct kos_error *ret_error);

/* look.c */
struct kos_env *look_new(struct kos_env *under, const struct kos_store_checker *checker);
void look_expect(struct kos_env *env, uint64_t bytes); /* so many more will be read */
void look_free(struct kos_env *env);

#endif
