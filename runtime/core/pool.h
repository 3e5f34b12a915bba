/* SPDX-License-Identifier: Apache-2.0
 * Worker threads. Private to core: rooms reach them through kos_work(). */
#ifndef KOS_CORE_POOL_H
#define KOS_CORE_POOL_H

#include "core/env.h"

struct kos_pool;

/* `finished` is called on a worker after a piece has run and stands in the finished list. */
int32_t kos_pool_new(uint32_t threads, void (*finished)(void *arg), void *arg, struct kos_pool **ret_pool);
/* Waits for the pieces under way and joins the threads; pieces not begun are run first. */
void kos_pool_free(struct kos_pool *pool);
void kos_pool_submit(struct kos_pool *pool, struct kos_work *work);
/* Takes the finished pieces, in the order they finished, as a list through `next`. */
struct kos_work *kos_pool_take(struct kos_pool *pool);
/* Blocks until `work`, submitted and not taken before, has run, and takes it. */
void kos_pool_finish(struct kos_pool *pool, struct kos_work *work);
/* Blocks until no piece is queued or running. */
void kos_pool_wait(struct kos_pool *pool);

#endif
