/* SPDX-License-Identifier: Apache-2.0
 *
 * struct kos_env: the only way the runtime reaches time, randomness, files, descriptors and other threads.
 *
 * kos_loop (loop.h) implements it on libevent and the kernel; kos_manual (manual.h) implements it for tests and
 * simulation, on virtual time, with inline workers and files in memory. Rooms never call time(), read(), open(),
 * getrandom() or pthread_*() themselves.
 *
 * All members are called on the loop's thread, and all callbacks run there, but for kos_work.run. No callback runs
 * inside the call that asked for it. A *turn* is: wait, run what is ready, run what was deferred until nothing is
 * left, run the turn-end hooks once (group commit, batch signing, flushing of records).
 */
#ifndef KOS_CORE_ENV_H
#define KOS_CORE_ENV_H

#include <sys/types.h>
#include <kos/bytes.h>
#include <kos/err.h>
#include <klp/crypto.h>

struct kos_env;
struct kos_timer;
struct kos_watch;
struct kos_file;

enum kos_log_level { KOS_LOG_ERROR = 3, KOS_LOG_WARNING = 4, KOS_LOG_NOTICE = 5, KOS_LOG_INFO = 6, KOS_LOG_DEBUG = 7 }; /* syslog's numbers */
enum kos_watch_events { KOS_READABLE = 1, KOS_WRITABLE = 2 };

/* A piece of work for a worker thread. The caller embeds it and keeps it until `done` ran. `run` may touch only what
 * the piece owns. `done` comes back on the loop, exactly once, in any order between pieces. */
struct kos_work {
    void (*run)(struct kos_work *work);
    void (*done)(struct kos_work *work);
    struct kos_work *next; /* the pool's */
};

/* Something to be done soon on the loop; embedded by the caller. Deferring it twice before it ran is once. */
struct kos_deferred {
    void (*run)(struct kos_deferred *deferred);
    struct kos_deferred *next;
    bool queued;
};

/* Runs at the end of each turn, in the order of `order` (small first): 10 mesh closes batches, 20 store commits,
 * 30 sessions flush. */
struct kos_turn_end {
    void (*run)(struct kos_turn_end *hook);
    int32_t order;
    struct kos_turn_end *next;
};

enum kos_file_flags { KOS_FILE_READ = 1, KOS_FILE_WRITE = 2, KOS_FILE_CREATE = 4, KOS_FILE_EXCLUSIVE = 8, KOS_FILE_TRUNCATE = 16 };

/* What lstat(2) says, as far as anyone here asks. */
struct kos_file_stat {
    int32_t type;      /* enum kos_file_type */
    uint32_t mode;     /* permission bits, & 07777 */
    bool ours;         /* owned by this process's user or root */
    bool foreign;      /* what is there, a link followed, others can change: it is not ours, or they may write it */
    uint64_t size;
};
enum kos_file_type { KOS_FILE_REGULAR = 1, KOS_FILE_DIRECTORY = 2, KOS_FILE_LINK = 3, KOS_FILE_OTHER = 4 };

struct kos_env_ops {
    int64_t (*now_ms)(struct kos_env *env);        /* wall clock, Unix ms; may jump */
    uint64_t (*mono_ns)(struct kos_env *env);      /* monotonic */
    void (*random)(struct kos_env *env, void *out, size_t len);
    void (*log)(struct kos_env *env, int32_t level, const char *room, const char *text);

    struct kos_timer *(*timer_new)(struct kos_env *env, void (*fire)(void *arg), void *arg);
    void (*timer_set)(struct kos_timer *timer, uint64_t delay_ms);   /* one shot; setting again moves it */
    void (*timer_stop)(struct kos_timer *timer);
    void (*timer_free)(struct kos_timer *timer);                     /* NULL is fine; also from its own callback */

    struct kos_watch *(*watch_new)(struct kos_env *env, int fd, void (*ready)(void *arg, int32_t events), void *arg);
    int32_t (*watch_set)(struct kos_watch *watch, int32_t events);   /* level-triggered; 0 pauses */
    void (*watch_free)(struct kos_watch *watch);                     /* does not close fd */

    void (*defer)(struct kos_env *env, struct kos_deferred *deferred);
    void (*undefer)(struct kos_env *env, struct kos_deferred *deferred);
    void (*turn_end_add)(struct kos_env *env, struct kos_turn_end *hook);
    void (*turn_end_remove)(struct kos_env *env, struct kos_turn_end *hook);
    void (*work)(struct kos_env *env, struct kos_work *work);
    /* Blocks until this piece, given to work() before, has run, and runs its `done` now: for closing what owns it. */
    void (*work_finish)(struct kos_env *env, struct kos_work *work);

    /* Files. Paths are absolute. All may be called from workers too. They block: the store calls them from its worker.
     * Errors: KOS_E_NOTFOUND, KOS_E_EXISTS, KOS_E_NOSPACE, KOS_E_PERMISSION, KOS_E_LOCKED, KOS_E_IO. */
    int32_t (*file_open)(struct kos_env *env, const char *path, int32_t flags, mode_t mode, struct kos_file **ret_file); /* O_NOFOLLOW | O_CLOEXEC */
    void (*file_close)(struct kos_file *file);
    int64_t (*file_read)(struct kos_file *file, void *buf, size_t len, uint64_t offset);          /* whole, short only at the end */
    int32_t (*file_write)(struct kos_file *file, const void *buf, size_t len, uint64_t offset);   /* whole or an error */
    int32_t (*file_sync)(struct kos_file *file);                                                  /* fdatasync */
    int32_t (*file_truncate)(struct kos_file *file, uint64_t size);
    int32_t (*file_allocate)(struct kos_file *file, uint64_t size);                               /* posix_fallocate from 0 */
    int64_t (*file_size)(struct kos_file *file);
    int32_t (*file_lock)(struct kos_file *file);                                                  /* exclusive, waits for a second at most; gone with close */
    int32_t (*file_rename)(struct kos_env *env, const char *from, const char *to);
    int32_t (*file_remove)(struct kos_env *env, const char *path);
    int32_t (*dir_make)(struct kos_env *env, const char *path, mode_t mode);                      /* KOS_E_EXISTS */
    int32_t (*dir_sync)(struct kos_env *env, const char *path);
    /* Calls `each` with every name in the directory but . and .. , sorted by bytes. */
    int32_t (*dir_list)(struct kos_env *env, const char *path, void (*each)(void *arg, const char *name), void *arg);
    /* Of the name itself: a symbolic link is not followed. */
    int32_t (*file_stat)(struct kos_env *env, const char *path, struct kos_file_stat *ret_stat);
};

struct kos_env {
    const struct kos_env_ops *ops;
    int32_t log_level;       /* what is above it is not even formatted */
};

static inline int64_t kos_now_ms(struct kos_env *env) { return env->ops->now_ms(env); }
static inline uint64_t kos_mono_ns(struct kos_env *env) { return env->ops->mono_ns(env); }
static inline uint64_t kos_mono_ms(struct kos_env *env) { return env->ops->mono_ns(env) / 1000000; }
static inline void kos_random(struct kos_env *env, void *out, size_t len) { env->ops->random(env, out, len); }
/* The environment's randomness in libklp's form. */
struct klp_random kos_env_random(struct kos_env *env);

static inline struct kos_timer *kos_timer_new(struct kos_env *env, void (*fire)(void *), void *arg) { return env->ops->timer_new(env, fire, arg); }
void kos_timer_set(struct kos_env *env, struct kos_timer *timer, uint64_t delay_ms);
void kos_timer_stop(struct kos_env *env, struct kos_timer *timer);
void kos_timer_free(struct kos_env *env, struct kos_timer *timer);
static inline void kos_defer(struct kos_env *env, struct kos_deferred *deferred) { env->ops->defer(env, deferred); }
static inline void kos_undefer(struct kos_env *env, struct kos_deferred *deferred) { env->ops->undefer(env, deferred); }
static inline void kos_work(struct kos_env *env, struct kos_work *work) { env->ops->work(env, work); }
static inline void kos_work_finish(struct kos_env *env, struct kos_work *work) { env->ops->work_finish(env, work); }

/* One line to the log: `room` is the folder that speaks ("mesh"), the text one sentence naming the thing. Never a
 * secret, never a payload. */
void kos_log(struct kos_env *env, int32_t level, const char *room, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* "Once per peer and minute": returns true when (key) was not seen within window_ms and counts what was held back;
 * *ret_suppressed (may be NULL) says how many were since the last time. Bounded at 1,024 keys: the oldest leaves. */
struct kos_log_limit;
struct kos_log_limit *kos_log_limit_new(struct kos_env *env, uint64_t window_ms);
void kos_log_limit_free(struct kos_log_limit *limit);
bool kos_log_limit_pass(struct kos_log_limit *limit, const char *key, uint32_t *ret_suppressed);

/* Whole small files. Read: malloc'ed with a NUL behind (not counted), KOS_E_LIMIT above max. Write: temporary file,
 * sync, rename, directory sync: all or nothing. */
int32_t kos_file_read_all(struct kos_env *env, const char *path, size_t max, uint8_t **ret_data, size_t *ret_len);
int32_t kos_file_write_all(struct kos_env *env, const char *path, mode_t mode, struct kos_bytes data);

#endif
