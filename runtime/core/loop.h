/* SPDX-License-Identifier: Apache-2.0
 * The real environment: libevent, the kernel, a pool of worker threads. */
#ifndef KOS_CORE_LOOP_H
#define KOS_CORE_LOOP_H

#include "core/env.h"

struct kos_loop;

enum kos_log_sink { KOS_LOG_STDERR = 1, KOS_LOG_JOURNAL = 2 /* <N> prefixes on stderr, as systemd reads them */ };

/* workers: threads of the pool, 1 to 64. The loop belongs to the thread that makes it. */
int32_t kos_loop_new(uint32_t workers, int32_t log_sink, struct kos_loop **ret_loop, struct kos_error *ret_error);
void kos_loop_free(struct kos_loop *loop);
struct kos_env *kos_loop_env(struct kos_loop *loop);
/* Calls `caught` on the loop for these signals. */
int32_t kos_loop_signal(struct kos_loop *loop, int signal, void (*caught)(void *arg, int signal), void *arg);
/* Runs turns until kos_loop_stop(). */
int32_t kos_loop_run(struct kos_loop *loop);
void kos_loop_stop(struct kos_loop *loop);
/* Runs `run` on the loop; the one call allowed from any thread. */
int32_t kos_loop_post(struct kos_loop *loop, void (*run)(void *arg), void *arg);
void kos_loop_set_level(struct kos_loop *loop, int32_t level);

#endif
