/* SPDX-License-Identifier: Apache-2.0
 * The workers: what reads first, and in between a share of what writers must add. */
#include "hnsw.h"

#include <signal.h>

enum { STACK = 1 << 20, AT_ONCE = 8 };

int32_t thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    /* Signals are the business of the program's own threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(ret_thread, &attributes, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error ? KOS_E_LIMIT : KOS_OK;
}

/* Pieces until there are none, or, for a worker, until somebody wants to read. */
static void do_pieces(struct pool *pool, struct work *work, bool helping)
{
    for (;;) {
        if (helping && atomic_load_explicit(&pool->urgent, memory_order_relaxed) > 0)
            return;
        size_t i = atomic_fetch_add(&work->at, 1);
        if (i >= work->count || atomic_load(&work->failed) < 0)
            return;
        int32_t rc = work->piece(work->arg, i);
        if (rc < 0)
            atomic_store(&work->failed, rc);
    }
}

/* With the lock held, given up meanwhile. */
static void help(struct pool *pool)
{
    struct work *work = pool->works;
    while (work && atomic_load(&work->at) >= work->count)
        work = work->next;
    if (!work)
        return;
    work->helpers++;
    pthread_mutex_unlock(&pool->lock);
    do_pieces(pool, work, true);
    pthread_mutex_lock(&pool->lock);
    if (--work->helpers == 0)
        pthread_cond_broadcast(&pool->helped);
}

static bool work_left(const struct pool *pool)
{
    for (const struct work *work = pool->works; work; work = work->next)
        if (atomic_load(&work->at) < work->count)
            return true;
    return false;
}

/* Several at once when many wait, so that the loop is woken once for all of them; never so many that another worker
 * is left without. */
static struct job *take(struct pool *pool)
{
    size_t count = pool->waiting / pool->count;
    struct job *first = pool->first, *last = first;
    count = count < 1 ? 1 : count > AT_ONCE ? AT_ONCE : count;
    for (size_t i = 1; i < count && last->next; i++)
        last = last->next;
    for (struct job *j = first; j != last; j = j->next)
        pool->waiting--;
    pool->waiting--;
    pool->first = last->next;
    last->next = NULL;
    if (!pool->first)
        pool->last = NULL;
    atomic_store_explicit(&pool->urgent, pool->waiting, memory_order_relaxed);
    return first;
}

static void read_all(struct hnsw *hnsw, struct job *first)
{
    struct collection *collections[AT_ONCE];
    struct job *last = first;
    size_t count = 0;
    for (struct job *j = first; j; last = j, j = j->next) {
        collections[count++] = j->collection;
        read_run(j);
    }
    hnsw_done(hnsw, first, last);
    while (count > 0)
        collection_read_ended(collections[--count]);
}

static void *worker(void *arg)
{
    struct hnsw *hnsw = arg;
    struct pool *pool = &hnsw->pool;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        if (pool->quit)
            break;
        if (pool->first) {
            struct job *first = take(pool);
            pthread_mutex_unlock(&pool->lock);
            read_all(hnsw, first);
            pthread_mutex_lock(&pool->lock);
        } else if (work_left(pool)) {
            help(pool);
        } else {
            pthread_cond_wait(&pool->wake, &pool->lock);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    hnsw_thread_ended(hnsw);
    return NULL;
}

int32_t pool_start(struct hnsw *hnsw, unsigned threads)
{
    struct pool *pool = &hnsw->pool;
    for (; pool->count < threads; pool->count++) {
        pthread_mutex_lock(&hnsw->lock);
        hnsw->threads++;
        pthread_mutex_unlock(&hnsw->lock);
        if (thread_start(&pool->threads[pool->count], worker, hnsw) < 0) {
            pthread_mutex_lock(&hnsw->lock);
            hnsw->threads--;
            pthread_mutex_unlock(&hnsw->lock);
            break;
        }
    }
    return pool->count > 0 ? KOS_OK : KOS_E_LIMIT;
}

void pool_quit(struct hnsw *hnsw)
{
    struct pool *pool = &hnsw->pool;
    pthread_mutex_lock(&pool->lock);
    struct job *first = pool->first, *last = pool->last;
    pool->first = pool->last = NULL;
    pool->waiting = 0;
    pool->quit = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (struct job *j = first; j; j = j->next)
        j->status = KOS_E_CANCELLED;
    if (first)
        hnsw_done(hnsw, first, last);
}

void pool_join(struct hnsw *hnsw)
{
    for (unsigned i = 0; i < hnsw->pool.count; i++)
        pthread_join(hnsw->pool.threads[i], NULL);
    hnsw->pool.count = 0;
}

void pool_read(struct hnsw *hnsw, struct job *job)
{
    struct pool *pool = &hnsw->pool;
    pthread_mutex_lock(&pool->lock);
    job->next = NULL;
    if (pool->last)
        pool->last->next = job;
    else
        pool->first = job;
    pool->last = job;
    pool->waiting++;
    atomic_store_explicit(&pool->urgent, pool->waiting, memory_order_relaxed);
    pthread_cond_signal(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

int32_t pool_share(struct hnsw *hnsw, int32_t (*piece)(void *arg, size_t i), void *arg, size_t count)
{
    struct pool *pool = &hnsw->pool;
    struct work work = { .piece = piece, .arg = arg, .count = count };
    pthread_mutex_lock(&pool->lock);
    work.next = pool->works;
    pool->works = &work;
    if (count > 1)
        pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    do_pieces(pool, &work, false);
    pthread_mutex_lock(&pool->lock);
    struct work **at = &pool->works;
    while (*at != &work)
        at = &(*at)->next;
    *at = work.next;
    while (work.helpers > 0)
        pthread_cond_wait(&pool->helped, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    return atomic_load(&work.failed);
}
