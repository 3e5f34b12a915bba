/* SPDX-License-Identifier: Apache-2.0
 * Worker threads: one queue in, one list out, one mutex over both. */
#include "core/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "core/buf.h"

struct queue {
    struct kos_work *first, *last;
};

struct kos_pool {
    pthread_mutex_t mutex;
    pthread_cond_t more, idle, one; /* more to do; nothing left to do; one more done */
    struct queue waiting, done;
    uint32_t running;
    bool ending;
    void (*finished)(void *arg);
    void *arg;
    uint32_t count;
    pthread_t threads[];
};

static void push(struct queue *queue, struct kos_work *work)
{
    work->next = NULL;
    if (queue->last)
        queue->last->next = work;
    else
        queue->first = work;
    queue->last = work;
}

static struct kos_work *pop(struct queue *queue)
{
    struct kos_work *work = queue->first;
    queue->first = work->next;
    if (!queue->first)
        queue->last = NULL;
    return work;
}

static void *worker(void *arg)
{
    struct kos_pool *pool = arg;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (!pool->waiting.first && !pool->ending)
            pthread_cond_wait(&pool->more, &pool->mutex);
        if (!pool->waiting.first)
            break;
        struct kos_work *work = pop(&pool->waiting);
        pool->running++;
        pthread_mutex_unlock(&pool->mutex);
        work->run(work);
        pthread_mutex_lock(&pool->mutex);
        push(&pool->done, work);
        pool->running--;
        pthread_cond_broadcast(&pool->one);
        if (!pool->running && !pool->waiting.first)
            pthread_cond_broadcast(&pool->idle);
        pthread_mutex_unlock(&pool->mutex);
        pool->finished(pool->arg);
        pthread_mutex_lock(&pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

static void end(struct kos_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    pool->ending = true;
    pthread_cond_broadcast(&pool->more);
    pthread_mutex_unlock(&pool->mutex);
    for (uint32_t i = 0; i < pool->count; i++)
        pthread_join(pool->threads[i], NULL);
}

int32_t kos_pool_new(uint32_t threads, void (*finished)(void *arg), void *arg, struct kos_pool **ret_pool)
{
    struct kos_pool *pool = kos_new(sizeof *pool + threads * sizeof pool->threads[0]);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->more, NULL);
    pthread_cond_init(&pool->idle, NULL);
    pthread_cond_init(&pool->one, NULL);
    pool->finished = finished;
    pool->arg = arg;
    /* Signals belong to the loop's thread. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->count < threads && pthread_create(&pool->threads[pool->count], NULL, worker, pool) == 0)
        pool->count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pool->count < threads) {
        kos_pool_free(pool);
        return KOS_E_NOMEM;
    }
    *ret_pool = pool;
    return KOS_OK;
}

void kos_pool_free(struct kos_pool *pool)
{
    if (!pool)
        return;
    end(pool);
    pthread_cond_destroy(&pool->one);
    pthread_cond_destroy(&pool->idle);
    pthread_cond_destroy(&pool->more);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

void kos_pool_submit(struct kos_pool *pool, struct kos_work *work)
{
    pthread_mutex_lock(&pool->mutex);
    push(&pool->waiting, work);
    pthread_cond_signal(&pool->more);
    pthread_mutex_unlock(&pool->mutex);
}

struct kos_work *kos_pool_take(struct kos_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    struct kos_work *list = pool->done.first;
    pool->done = (struct queue){ NULL, NULL };
    pthread_mutex_unlock(&pool->mutex);
    return list;
}

static bool take_out(struct queue *queue, struct kos_work *work)
{
    struct kos_work *before = NULL;
    for (struct kos_work *at = queue->first; at; before = at, at = at->next) {
        if (at != work)
            continue;
        if (before)
            before->next = at->next;
        else
            queue->first = at->next;
        if (queue->last == at)
            queue->last = before;
        return true;
    }
    return false;
}

void kos_pool_finish(struct kos_pool *pool, struct kos_work *work)
{
    pthread_mutex_lock(&pool->mutex);
    while (!take_out(&pool->done, work))
        pthread_cond_wait(&pool->one, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

void kos_pool_wait(struct kos_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    while (pool->running || pool->waiting.first)
        pthread_cond_wait(&pool->idle, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}
