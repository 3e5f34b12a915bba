/* SPDX-License-Identifier: Apache-2.0
 *
 * A plugin in a cell, as seen by who hosts it: a backend that carries each call over a socket to a kos-cell, which has a
 * driver of its own. Whatever comes back is foreign: a malformed frame, a flood, silence, or a call that no plugin could
 * have made there ends it, with the cause as the rest of a sentence about the plugin.
 */
#ifndef KOS_DRIVER_REMOTE_H
#define KOS_DRIVER_REMOTE_H

#include "driver/driver.h"
#include "driver/frame.h"

/* What travels besides down.h and up.h. */
enum kos_cell_kind {
    KOS_CELL_BEGIN = 512,       /* to the cell: struct kos_remote_spec; load and call init */
    KOS_CELL_BEGUN,             /* from it: status, sentence */
    KOS_CELL_PING, KOS_CELL_PONG,
    KOS_CELL_AGENTS,            /* to the cell: the registry's copy */
};
/* What the cell's process may do; `kos-cell --allow`. */
enum kos_cell_allow { KOS_CELL_NET = 1, KOS_CELL_FILES = 2, KOS_CELL_EXEC = 4 };

/* Per second, unless credit or an open operation bounds them: what a plugin tells, and what it asks. The second is far
 * above what a busy transport or handler needs; what is read in a turn is bounded anyway. */
enum { KOS_CELL_TELLS = 5000, KOS_CELL_ASKS = 2000000 };
enum { KOS_CELL_UP_MAX = 20 << 20, KOS_CELL_QUEUE_MAX = 96 << 20, KOS_CELL_BEGIN_MS = 10000, KOS_CELL_PING_MS = 1000 };

struct kos_remote_events {
    void *arg;
    /* init has returned, once: KOS_OK, or its error and the sentence. */
    void (*begun)(void *arg, int32_t status, const char *text);
    /* The cell is of no use any more, once, and nothing comes after: end its process. "": it closed its side, and why
     * its process knows. Not inside a call of the backend. */
    void (*ended)(void *arg, const char *cause);
};

/* Owns fd from the call on. The spec is read before the call returns, and the module's init runs in the cell after it:
 * `begun` tells. `heartbeat_ms`: how long its loop may be silent. */
int32_t kos_remote_new(struct kos_env *env, int fd, const struct kos_driver_spec *spec, uint64_t heartbeat_ms,
                       struct kos_services *services, const struct kos_remote_events *events,
                       struct kos_backend **ret_backend, struct kos_error *ret_error);
/* For who has no turning loop yet: until begun or ended, or the time is over. */
void kos_remote_wait(struct kos_backend *backend, uint32_t timeout_ms);
/* Ends it with this cause, which comes back by `ended`. From anywhere; the first cause stands. */
void kos_remote_cut(struct kos_backend *backend, const char *cause);
/* A frame of enum kos_cell_kind. Takes it. */
void kos_remote_send(struct kos_backend *backend, struct kos_frame *frame);

/* KOS_CELL_AGENTS, the agents that kos.agents/1 shows: a count, and each of them. */
void kos_cell_put_agent(struct kos_frame **frame, const struct kos_agent_info *agent);
/* The features that a driver's table can give. NULL-terminated. */
extern const char *const kos_driver_features[];

#endif
