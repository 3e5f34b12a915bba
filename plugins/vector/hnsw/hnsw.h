/* SPDX-License-Identifier: Apache-2.0
 * Private to vector/hnsw: the plugin (plugin.c), its loop thread (hnsw.c), its other threads (pool.c), its collections
 * (collection.c, write.c, save.c, rebuild.c, read.c), and what those stand on (table.c, order.c, wal.c, folder.c,
 * graph.cc, distance.c).
 *
 * Threads: the loop thread copies and posts. One writer per collection does what changes it, in the order submitted; the
 * pool's workers read. A collection's guard is held shared by who reads it, and alone by its writer for the moments in
 * which it changes what readers see. What only the writer changes, it reads without the guard. */
#ifndef HNSW_HNSW_H
#define HNSW_HNSW_H

#include <kos/plugin.h>
#include <kos/vector.h>
#include <pthread.h>
#include <stdatomic.h>
#include "graph.h"

#define uthash_fatal(text_) abort()
#include <stdlib.h>
#include <uthash.h>

enum {
    ID_MAX = 128, METADATA_MAX = 16 << 10, NAME_MAX_BYTES = 200, K_MAX = 10000, DIMENSION_MAX = 65536,
    SCAN_BYTES = 4 << 20, THREADS_MAX = 256,
};

/* A run of bytes that grows; aborts where not even a little memory is left. */
struct out {
    uint8_t *data;
    size_t len, cap;
};
void out_put(struct out *out, const void *data, size_t len);
void *out_take(struct out *out, size_t len);          /* room for len bytes at the end */

/* ---- an operation on its way ---- */

enum job_kind { JOB_OPEN, JOB_CLOSE, JOB_DROP, JOB_UPSERT, JOB_REMOVE, JOB_SNAPSHOT, JOB_GET, JOB_QUERY, JOB_SCAN,
                JOB_FINGERPRINT, JOB_STATS };

struct given {                      /* an item of an upsert, pointing into the job's bytes */
    struct kos_bytes id, metadata;
    const float *vector;
    uint64_t version;
    uint32_t flags;
    uint8_t digest[32];
};
struct job {
    struct job *next;
    struct collection *collection;  /* NULL: there is none of that id */
    uint64_t op;
    enum job_kind kind;
    int32_t status;
    struct out result;
    size_t bytes;                   /* counted against the setting queue */
    uint32_t count, k, effort, limit;
    uint64_t version;
    uint8_t from[32], to[32];
    struct given *items;            /* UPSERT */
    struct kos_bytes text;          /* id, filter, directory (NUL-terminated) */
    float *vector;                  /* QUERY: with room for the tail */
    uint64_t store[];               /* what the above point to */
};

/* ---- an item ---- */

struct entry {
    UT_hash_handle hh;
    uint64_t version;
    uint32_t flags, node;           /* GRAPH_NODE_NONE: a tombstone */
    uint8_t digest[32];
    uint16_t metadata_len;
    uint8_t id_len;
    uint8_t bytes[];                /* id, metadata */
};
struct table {
    struct entry *by_id;
    uint8_t key[16];                /* of the hash: ids come from others */
};
struct entry *entry_new(const struct given *item);
struct kos_bytes entry_id(const struct entry *entry);
struct kos_bytes entry_metadata(const struct entry *entry);
size_t entry_bytes(const struct entry *entry);
unsigned table_hash(const struct table *table, struct kos_bytes id);
struct entry *table_find(const struct table *table, struct kos_bytes id);
void table_add(struct table *table, struct entry *entry);
void table_remove(struct table *table, struct entry *entry);

/* All entries by digest, then id, in sorted blocks. */
struct order {
    struct order_block **blocks;
    size_t count, cap;
};
struct order_at { size_t block, index; };
void order_add(struct order *order, struct entry *entry);
void order_remove(struct order *order, struct entry *entry);
struct order_at order_from(const struct order *order, const uint8_t from[32]);
struct entry *order_next(const struct order *order, struct order_at *at);  /* NULL at the end */
void order_fini(struct order *order);                                      /* entries are not freed */

/* ---- files: wal.c ---- */

enum record { RECORD_PUT = 1, RECORD_REMOVE = 2, RECORD_DEAD = 3 /* a node that is nobody's any more */ };

struct wal {
    int fd;
    uint64_t length, synced, frames;
};
struct wal_entry {
    enum record kind;
    struct given item;
    const uint8_t *vector;          /* not aligned; NULL: none */
};
struct wal_reader {                 /* what a file holds, given out frame by frame */
    int32_t (*frame)(void *arg, struct kos_bytes payload, struct kos_error *ret_error);
    void *arg;
};
/* A frame is begun, filled and ended in memory, then appended with others by one write. */
size_t wal_begin(struct out *out);
void wal_put(struct out *out, enum record kind, const struct given *item, const float *vector, uint32_t dimension);
void wal_end(struct out *out, size_t begin, struct wal *wal);
/* Entries of a payload: 1, 0 at the end, KOS_E_CORRUPT. */
int32_t wal_next(struct kos_bytes *rest, uint32_t dimension, struct wal_entry *ret_entry);
int32_t wal_create(int dir, const char *name, uint32_t dimension, struct wal *ret_wal, struct kos_error *ret_error);
/* Reads all frames; a torn end is cut off (with *ret_cut bytes) when `tail`, else, like all other damage, is
 * KOS_E_CORRUPT. */
int32_t wal_open(int dir, const char *name, uint32_t dimension, bool tail, const struct wal_reader *reader,
                 struct wal *ret_wal, uint64_t *ret_cut, struct kos_error *ret_error);
/* Durable, or as if it had not been: KOS_E_NOSPACE, KOS_E_IO. KOS_E_STATE: it may be either, the file must be reopened. */
int32_t wal_append(struct wal *wal, const struct out *frames, struct kos_error *ret_error);
int32_t wal_write(struct wal *wal, const struct out *frames, struct kos_error *ret_error);   /* not yet durable */
int32_t wal_sync(struct wal *wal, struct kos_error *ret_error);
void wal_close(struct wal *wal);
int32_t file_error(int error);

/* ---- the threads: pool.c ---- */

struct work {                       /* n pieces that all cores may do: the owner calls pool_share and takes part */
    struct work *next;
    int32_t (*piece)(void *arg, size_t i);
    void *arg;
    size_t count;
    atomic_size_t at;
    atomic_int failed;
    unsigned helpers;
};
struct pool {
    pthread_mutex_t lock;
    pthread_cond_t wake, helped;
    pthread_t threads[THREADS_MAX];
    unsigned count;
    struct job *first, *last;
    size_t waiting;
    atomic_size_t urgent;           /* as waiting, read without the lock */
    struct work *works;
    bool quit;
};
struct hnsw;
int32_t pool_start(struct hnsw *hnsw, unsigned threads);
void pool_quit(struct hnsw *hnsw);                  /* jobs that wait are given back cancelled */
void pool_join(struct hnsw *hnsw);
void pool_read(struct hnsw *hnsw, struct job *job);
int32_t pool_share(struct hnsw *hnsw, int32_t (*piece)(void *arg, size_t i), void *arg, size_t count);
/* From any thread: jobs with status and result, to be completed on the loop. */
void hnsw_done(struct hnsw *hnsw, struct job *first, struct job *last);
void hnsw_thread_ended(struct hnsw *hnsw);
void hnsw_wake(struct hnsw *hnsw);                  /* on the loop thread: hnsw_posted comes */
void hnsw_posted(void *self, uint64_t cookie);      /* also as a timer, where a post failed */
extern const struct kos_vector hnsw_vector;
void hnsw_log(struct hnsw *hnsw, int32_t level, const char *format, ...) __attribute__((format(printf, 3, 4)));
int32_t thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg);

/* ---- the plugin ---- */

struct limits {
    uint32_t collections, dimension, items, threads, m, construction, effort;
    uint64_t memory_bytes, queue_bytes, log_bytes;
};
struct line {                       /* of the log, said by the loop thread */
    struct line *next;
    int32_t level;
    char text[];
};
struct hnsw {
    const struct kos_host *host;
    struct limits limits;
    const struct distance_set *distance;
    struct collection *collections; /* loop thread only */
    uint32_t opened;
    bool started, stopping, stopped;
    atomic_bool halt;               /* long work ends early */
    atomic_uint_least64_t memory;   /* of all graphs and entries */
    size_t queued;                  /* loop thread only */
    struct pool pool;
    pthread_mutex_t lock;           /* of all below */
    struct job *first, *last;       /* done, to be completed */
    struct line *lines, *lines_last;
    size_t lines_waiting;
    bool posted;
    unsigned threads;               /* alive */
};

/* ---- a collection ---- */

struct space { /* as meta keeps it */
    uint8_t model[32];
    uint32_t dimension, m, construction;
    int32_t metric, normalised;
};
struct rebuild {
    pthread_t thread;
    bool running;
    atomic_bool cancel, ready;
    struct graph *graph;
    uint32_t *map, map_cap, done;   /* old node -> new one, for the first `done` nodes */
    int32_t status;
};
enum collection_state { COLLECTION_OPENING, COLLECTION_OPEN, COLLECTION_CLOSING };
struct collection {
    struct collection *next;        /* loop thread only, with all down to writer */
    uint64_t id;
    enum collection_state state;
    struct job *early, *early_last; /* reads that came before it was open */
    pthread_t writer;

    struct hnsw *hnsw;
    char name[NAME_MAX_BYTES + 1], folder[NAME_MAX_BYTES + 1];
    struct space space;
    struct graph_shape shape;

    pthread_mutex_t lock;           /* of all down to quit */
    pthread_cond_t wake;
    struct job *first, *last;
    size_t reads;                   /* given to the pool and not done */
    bool quit;

    pthread_rwlock_t guard;         /* of table, order, graph and nodes as readers see them */
    struct table table;
    struct order order;
    struct graph *graph;
    struct entry **nodes;           /* by node; NULL: nobody's, or not yet */
    uint32_t nodes_cap, live, tombstones, rebuilds;
    atomic_uint_least64_t memory;   /* what it has of hnsw->memory */

    int dir;                        /* the writer's, with all below */
    int lock_fd;
    uint64_t generation;            /* of the log that is written */
    uint64_t older_bytes, save_at; /* in logs before this one; bytes of logs at which a base is saved */
    uint64_t saves;
    struct wal wal;
    atomic_uint_least64_t log_bytes;
    int32_t broken;                 /* why nothing is taken any more; 0: it is */
    struct rebuild rebuild;
    uint32_t rebuild_refused;       /* how many nodes there were when it could not be done; 0: it could */
};

/* collection.c */
int32_t collection_new(struct hnsw *hnsw, uint64_t id, const char *name, const struct kos_space *space,
                       struct collection **ret_collection);
void collection_free(struct collection *collection);
void collection_submit(struct collection *collection, struct job *job);
void collection_read_begun(struct collection *collection);
void collection_read_ended(struct collection *collection);
void collection_quit(struct collection *collection);
void collection_point(const struct collection *collection, const void *vector, float *ret_point);
bool collection_vector_ok(const struct collection *collection, const void *vector);
int32_t collection_memory(struct collection *collection, uint64_t more, uint64_t less);
/* Room for `more` nodes behind those there are; the writer's. */
int32_t collection_reserve(struct collection *collection, uint32_t more);
void collection_release(struct collection *collection); /* what open made: table, graph, files */

/* write.c */
struct stage;
struct stage *stage_new(struct collection *collection);
void stage_free(struct stage *stage);
/* Takes what is newer into the stage and the frame of records. All or nothing; returns how many were taken. */
int32_t stage_upsert(struct stage *stage, const struct given *items, uint32_t count, struct kos_error *ret_error);
int32_t stage_remove(struct stage *stage, struct kos_bytes id, uint64_t version);
int32_t stage_replay(struct stage *stage, const struct wal_entry *entry);
size_t stage_points(const struct stage *stage);
struct out *stage_frames(struct stage *stage);
int32_t stage_apply(struct stage *stage);               /* into graph and table */
void write_group(struct collection *collection, struct job *jobs);

/* folder.c: names, meta, generations */
int32_t folder_open(struct collection *collection, bool *ret_made, struct kos_error *ret_error);
int32_t folder_load(struct collection *collection, struct kos_error *ret_error);
int32_t folder_meta(const struct collection *collection, int dir, struct kos_error *ret_error);
int32_t folder_drop(struct collection *collection, struct kos_error *ret_error);
int32_t folder_snapshot(struct collection *collection, const char *directory, struct kos_error *ret_error);

/* save.c */
int32_t save_base(struct collection *collection, int dir, uint64_t generation, uint64_t *ret_bytes,
                  struct kos_error *ret_error);
int32_t load_base(struct collection *collection, uint64_t generation, struct kos_error *ret_error);
void save_if_due(struct collection *collection, bool closing);

/* rebuild.c */
int32_t rebuild_now(struct collection *collection);     /* a new graph of what lives; nobody reads yet */
void rebuild_if_due(struct collection *collection);
void rebuild_finish(struct collection *collection);     /* when it is ready: takes it over */
void rebuild_cancel(struct collection *collection);

/* read.c */
void read_run(struct job *job);

#endif
