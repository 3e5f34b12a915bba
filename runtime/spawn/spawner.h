/* SPDX-License-Identifier: Apache-2.0
 * The parts of the spawner's side. They run in processes of their own, forked before kosd has threads, so they use the
 * kernel directly and end with _exit(). Private to spawn. */
#ifndef KOS_SPAWN_SPAWNER_H
#define KOS_SPAWN_SPAWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "spawn/wire.h"

/* ---- confine.c: what a command may do ---- */
struct confinement {
    char instance[PATH_MAX];           /* resolved; nothing of it is granted but the command's own directory */
    const char *const *readable;       /* NULL-terminated */
    int32_t landlock;                  /* ABI of the kernel, 0 none */
    pid_t kosd, spawner, keeper;       /* not to be signalled by the command */
};

/* Resolves the instance and checks it against what is readable. */
int32_t confine_prepare(const char *instance, const char *const *readable, struct confinement *ret_confinement,
                        struct kos_error *ret_error);
/* On the calling process, for good. */
int32_t confine_apply(const struct confinement *confinement, const struct spawn_start *start,
                      struct kos_error *ret_error);
/* Of a cell, which sets a filter of its own. */
int32_t confine_cell(const struct confinement *confinement, const struct spawn_start *start,
                     struct kos_error *ret_error);
int32_t confine_filter(const struct confinement *confinement, struct kos_error *ret_error);
/* Limits last: nothing but execve may follow, for our own memory may be above them. */
int32_t confine_limits(const struct spawn_limits *limits, struct kos_error *ret_error);

/* ---- tree.c: who descends from whom ---- */
enum { TREE_MAX = 65536 };
struct tree {
    pid_t *pids;                       /* parents before their children */
    size_t count, cap;
    bool kill;                         /* kill each process as it is found */
};
/* All descendants of `root`, at most `max` of them. KOS_E_UNSUPPORTED without a usable /proc. */
int32_t tree_read(struct tree *tree, pid_t root, size_t max);
void tree_fini(struct tree *tree);
/* Memory that the processes hold for themselves: anonymous and shared, what several share counted once. */
uint64_t tree_memory(const struct tree *tree, uint64_t enough);
/* Of one process: resident memory, CPU time; 0 when it is gone. */
void tree_usage(pid_t pid, uint64_t *ret_memory, uint64_t *ret_cpu_ms);

/* ---- spawner.c ---- */
/* Whether a request can be used: who sends it may have been taken over. -1: no descriptor. */
bool spawn_sound(const struct spawn_start *start, const int fds[SPAWN_FDS]);

/* ---- keeper.c ---- */
/* The process that keeps one command. */
_Noreturn void keeper_run(struct confinement *confinement, const struct spawn_start *start, int channel,
                          const int *fds);
/* The command itself: confines this process and executes it; on failure writes a struct kos_error to `report`. */
_Noreturn void child_run(const struct confinement *confinement, const struct spawn_start *start, const int *fds,
                         int report);
/* Kills what descends from this process, again and again until nothing is left. */
void keeper_kill_all(void);

#endif
