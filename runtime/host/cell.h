/* SPDX-License-Identifier: Apache-2.0
 *
 * Plugins in cells: how their processes are started (spawn/ does), and what host/ keeps of each. A cell that ends, or is
 * cut off, is started again after a while that doubles; what it had under way ends with an error that names it.
 */
#ifndef KOS_HOST_CELL_H
#define KOS_HOST_CELL_H

#include "core/env.h"

struct kos_cell_process;
struct kos_cell_usage {
    int64_t pid;                      /* 0: not known yet */
    uint64_t memory_bytes, cpu_ms;    /* resident; of all threads */
};
struct kos_cell_launch {
    const char *name;                 /* the plugin's */
    const char *program;              /* kos-cell */
    const char *module;               /* its only file besides the system's libraries */
    const char *const *read;          /* besides that, what it may read; NULL-terminated, at most 4000 bytes; NULL none */
    const char *directory;            /* its own, read and write; NULL: none */
    uint32_t allow;                   /* enum kos_cell_allow */
    int channel;                      /* the cell's end; the caller closes its copy */
    uint64_t memory_bytes, open_files;
    void *arg;
    void (*err)(void *arg, struct kos_bytes bytes);     /* its stderr, at most 1 MiB in 100 ms */
    /* Last, exactly once. error: why it could not be started, or the limit for which it was ended. peak_bytes: the most
     * memory it had resident; 0 unknown. */
    void (*exited)(void *arg, int32_t wait_status, uint64_t peak_bytes, const struct kos_error *error);
};
/* kos-cell at work on a description: any thread may have one. */
struct kos_cell_look {
    int out;                          /* its standard output, to read */
    int channel;                      /* whom look_end asks */
};
struct kos_cell_launcher;
struct kos_cell_launcher_ops {
    int32_t (*start)(struct kos_cell_launcher *launcher, const struct kos_cell_launch *launch,
                     struct kos_cell_process **ret_process, struct kos_error *ret_error);
    void (*kill)(struct kos_cell_process *process);     /* -> exited */
    /* For who has no turning loop yet: waits for `exited`, at most so long. */
    void (*wait)(struct kos_cell_process *process, uint32_t timeout_ms);
    void (*usage)(struct kos_cell_process *process, struct kos_cell_usage *ret_usage);
    /* Starts `program --describe module`. May be NULL: who asks starts it himself. */
    int32_t (*look)(struct kos_cell_launcher *launcher, const char *program, const char *module,
                    struct kos_cell_look *ret_look, struct kos_error *ret_error);
    /* Waits until it has ended, kills it after so long. Closes both descriptors. KOS_E_TIMEOUT: it was killed; or why it
     * could not be run. */
    int32_t (*look_end)(struct kos_cell_launcher *launcher, struct kos_cell_look *look, uint32_t timeout_ms,
                        int *ret_status, struct kos_error *ret_error);
};
struct kos_cell_launcher {
    const struct kos_cell_launcher_ops *ops;
};

#endif
