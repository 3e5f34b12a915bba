/* SPDX-License-Identifier: Apache-2.0
 * A collection and its writer: the thread that does, one after the other, all that changes it. */
#include "hnsw.h"

#include <float.h>
#include <math.h>
#include <sys/random.h>
#include <unistd.h>

enum { GROUP_JOBS = 1024, GROUP_BYTES = 64 << 20 };

/* ---- points and memory ---- */

void collection_point(const struct collection *collection, const void *vector, float *ret_point)
{
    uint32_t n = collection->space.dimension;
    memcpy(ret_point, vector, n * sizeof(float));
    if (collection->shape.tail) {
        double length2 = 0;
        for (uint32_t i = 0; i < n; i++)
            length2 += (double)ret_point[i] * ret_point[i];
        float inverse = length2 > 0 ? (float)(1 / sqrt(length2)) : 0;
        ret_point[n] = isfinite(inverse) ? inverse : 0;
    }
}

/* No NaN, no infinity, and short enough that no distance becomes one. */
bool collection_vector_ok(const struct collection *collection, const void *vector)
{
    return vector && collection->hnsw->distance->length2(vector, collection->space.dimension) <= FLT_MAX / 8;
}

int32_t collection_memory(struct collection *collection, uint64_t more, uint64_t less)
{
    struct hnsw *hnsw = collection->hnsw;
    uint64_t now = atomic_load(&hnsw->memory), then;
    do {
        then = now + more - less;
        if (more > less && then > hnsw->limits.memory_bytes)
            return KOS_E_LIMIT;
    } while (!atomic_compare_exchange_weak(&hnsw->memory, &now, then));
    atomic_fetch_add(&collection->memory, more - less);
    return KOS_OK;
}

static uint64_t nodes_bytes(const struct collection *collection, uint32_t capacity)
{
    return graph_bytes(&collection->shape, capacity) + (uint64_t)capacity * sizeof(struct entry *);
}

int32_t collection_reserve(struct collection *collection, uint32_t more)
{
    struct collection *c = collection;
    uint64_t need = (uint64_t)graph_count(c->graph) + more, had = graph_capacity(c->graph), want = had + had / 2;
    if (need <= had)
        return KOS_OK;
    if (need >= GRAPH_NODE_NONE / 2)
        return KOS_E_LIMIT;
    want = want > need && want < GRAPH_NODE_NONE / 2 ? want : need;
    uint64_t before = nodes_bytes(c, (uint32_t)had);
    int32_t rc = collection_memory(c, nodes_bytes(c, (uint32_t)want), before);
    if (rc < 0 && want > need) {
        want = need;
        rc = collection_memory(c, nodes_bytes(c, (uint32_t)want), before);
    }
    if (rc < 0)
        return rc;
    pthread_rwlock_wrlock(&c->guard);
    struct entry **nodes = realloc(c->nodes, want * sizeof(struct entry *));
    if (nodes) {
        memset(nodes + c->nodes_cap, 0, (want - c->nodes_cap) * sizeof(struct entry *));
        c->nodes = nodes;
        c->nodes_cap = (uint32_t)want;
    }
    rc = nodes ? graph_reserve(c->graph, (uint32_t)want) : KOS_E_NOMEM;
    pthread_rwlock_unlock(&c->guard);
    if (rc < 0)
        collection_memory(c, before, nodes_bytes(c, (uint32_t)want));
    return rc;
}

/* ---- jobs of the writer ---- */

static int32_t begin(struct collection *c, struct kos_error *ret_error)
{
    bool made;
    int32_t rc = collection_memory(c, nodes_bytes(c, 1024), 0);
    if (rc < 0)
        return kos_fail(ret_error, rc, "no memory is left for it below the limit (setting memory, %llu bytes)",
                        (unsigned long long)c->hnsw->limits.memory_bytes);
    rc = folder_open(c, &made, ret_error);
    if (rc < 0)
        return rc;
    c->nodes = calloc(1024, sizeof(struct entry *));
    c->nodes_cap = 1024;
    rc = c->nodes ? graph_new(&c->shape, 1024, &c->graph) : KOS_E_NOMEM;
    if (rc < 0)
        return kos_fail(ret_error, rc, "there is no memory for it");
    return folder_load(c, ret_error);
}

void collection_release(struct collection *collection)
{
    struct collection *c = collection;
    struct entry *entry, *next;
    order_fini(&c->order);
    HASH_ITER(hh, c->table.by_id, entry, next)
    {
        HASH_DEL(c->table.by_id, entry);
        free(entry);
    }
    graph_free(c->graph);
    free(c->nodes);
    c->graph = NULL;
    c->nodes = NULL;
    wal_close(&c->wal);
    if (c->dir >= 0)
        close(c->dir);
    if (c->lock_fd >= 0)
        close(c->lock_fd);
    c->dir = c->lock_fd = -1;
    collection_memory(c, 0, atomic_load(&c->memory));
}

static struct job *take_all(struct collection *c)
{
    struct job *jobs;
    pthread_mutex_lock(&c->lock);
    while (!c->first && !c->quit && !atomic_load(&c->rebuild.ready))
        pthread_cond_wait(&c->wake, &c->lock);
    jobs = c->first;
    c->first = c->last = NULL;
    pthread_mutex_unlock(&c->lock);
    return jobs;
}

static bool is_write(const struct job *job)
{
    return job->kind == JOB_UPSERT || job->kind == JOB_REMOVE;
}

/* The first of `jobs`, with those behind it that can be written by one sync. */
static struct job *take_group(struct job **jobs)
{
    struct job *first = *jobs, *last = first;
    size_t count = 1, bytes = first->bytes;
    while (is_write(first) && last->next && is_write(last->next) && count < GROUP_JOBS &&
           bytes + last->next->bytes < GROUP_BYTES) {
        last = last->next;
        bytes += last->bytes;
        count++;
    }
    *jobs = last->next;
    last->next = NULL;
    return first;
}

static void give_back_all(struct collection *c, struct job *jobs, int32_t status)
{
    for (struct job *next; jobs; jobs = next) {
        next = jobs->next;
        jobs->status = status;
        jobs->collection = NULL;
        hnsw_done(c->hnsw, jobs, jobs);
    }
}

/* Queries under way; none are begun any more. */
static void wait_for_reads(struct collection *c)
{
    pthread_mutex_lock(&c->lock);
    while (c->reads > 0 && !c->quit)
        pthread_cond_wait(&c->wake, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

/* Does one group. False: the collection is at its end, and the job, a single one, is told when all else is. */
static bool perform(struct collection *c, struct job *job)
{
    struct kos_error why = { 0 };
    bool stay = true;
    if (is_write(job)) {
        write_group(c, job);
        return true;
    }
    if (job->kind == JOB_OPEN) {
        uint64_t count;
        job->status = begin(c, &why);
        stay = job->status >= 0;
        count = c->live + c->tombstones;
        out_put(&job->result, &count, sizeof count);
    } else if (job->kind == JOB_SNAPSHOT) {
        job->status = folder_snapshot(c, (const char *)job->text.data, &why);
    } else {
        wait_for_reads(c);
        rebuild_cancel(c);
        if (job->kind == JOB_CLOSE)
            save_if_due(c, true);
        else
            job->status = folder_drop(c, &why);
        stay = false;
    }
    if (why.text[0] && job->status != KOS_E_CANCELLED)
        hnsw_log(c->hnsw, KOS_ERROR, "hnsw: collection %s: %s", c->name, why.text);
    if (stay)
        hnsw_done(c->hnsw, job, job);
    return stay;
}

/* The last of it: releases all, then tells. */
static void finish(struct collection *c, struct job *ending, struct job *behind)
{
    if (ending)
        collection_release(c);
    pthread_mutex_lock(&c->lock);
    struct job *late = c->first;
    c->first = c->last = NULL;
    pthread_mutex_unlock(&c->lock);
    int32_t status = atomic_load(&c->hnsw->halt) ? KOS_E_CANCELLED : KOS_E_NOTFOUND;
    give_back_all(c, behind, status);
    give_back_all(c, late, status);
    if (ending)
        hnsw_done(c->hnsw, ending, ending);
    hnsw_thread_ended(c->hnsw);
}

static void *writer(void *arg)
{
    struct collection *c = arg;
    struct job *jobs = NULL, *ending = NULL;
    while (!ending && !atomic_load(&c->hnsw->halt)) {
        jobs = take_all(c);
        while (jobs && !ending && !atomic_load(&c->hnsw->halt)) {
            struct job *group = take_group(&jobs);
            if (!perform(c, group))
                ending = group;
        }
        if (!ending && !jobs) {
            rebuild_finish(c);
            rebuild_if_due(c);
            save_if_due(c, false);
        }
    }
    rebuild_cancel(c);
    finish(c, ending, jobs);
    return NULL;
}

/* ---- for the loop thread ---- */

static int32_t check_space(struct hnsw *hnsw, const char *name, const struct kos_space *space)
{
    size_t len = strlen(name);
    if (len == 0 || len > NAME_MAX_BYTES || space->dimension == 0)
        return KOS_E_INVALID;
    if (space->metric < KOS_METRIC_L2 || space->metric > KOS_METRIC_COSINE)
        return KOS_E_UNSUPPORTED;
    if (space->dimension > hnsw->limits.dimension || hnsw->opened >= hnsw->limits.collections)
        return KOS_E_LIMIT;
    for (const struct collection *c = hnsw->collections; c; c = c->next)
        if (strcmp(c->name, name) == 0)
            return KOS_E_EXISTS;
    return KOS_OK;
}

int32_t collection_new(struct hnsw *hnsw, uint64_t id, const char *name, const struct kos_space *space,
                       struct collection **ret_collection)
{
    int32_t rc = check_space(hnsw, name, space);
    if (rc < 0)
        return rc;
    struct collection *c = calloc(1, sizeof *c);
    if (!c)
        return KOS_E_NOMEM;
    pthread_rwlockattr_t attributes;
    c->hnsw = hnsw;
    c->id = id;
    c->dir = c->lock_fd = c->wal.fd = -1;
    snprintf(c->name, sizeof c->name, "%s", name);
    c->space = (struct space){ .dimension = space->dimension,
                               .m = hnsw->limits.m,
                               .construction = hnsw->limits.construction,
                               .metric = space->metric,
                               .normalised = space->normalised != 0 };
    memcpy(c->space.model, space->model, sizeof c->space.model);
    c->shape = (struct graph_shape){ .dimension = space->dimension,
                                     .tail = space->metric == KOS_METRIC_COSINE,
                                     .m = c->space.m,
                                     .construction = c->space.construction,
                                     .distance = space->metric == KOS_METRIC_L2 ? hnsw->distance->l2
                                         : space->metric == KOS_METRIC_IP       ? hnsw->distance->ip
                                                                                : hnsw->distance->cosine };
    hnsw->host->random(hnsw->host, c->table.key, sizeof c->table.key);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    /* A writer comes in when the readers of the moment are done, however many follow. */
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&c->guard, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    pthread_mutex_lock(&hnsw->lock);
    hnsw->threads++;
    pthread_mutex_unlock(&hnsw->lock);
    rc = thread_start(&c->writer, writer, c);
    if (rc < 0) {
        pthread_mutex_lock(&hnsw->lock);
        hnsw->threads--;
        pthread_mutex_unlock(&hnsw->lock);
        pthread_rwlock_destroy(&c->guard);
        free(c);
        return rc;
    }
    *ret_collection = c;
    return KOS_OK;
}

void collection_free(struct collection *collection)
{
    pthread_join(collection->writer, NULL);
    collection_release(collection);
    pthread_rwlock_destroy(&collection->guard);
    pthread_cond_destroy(&collection->wake);
    pthread_mutex_destroy(&collection->lock);
    free(collection);
}

void collection_submit(struct collection *collection, struct job *job)
{
    struct collection *c = collection;
    job->next = NULL;
    pthread_mutex_lock(&c->lock);
    if (c->last)
        c->last->next = job;
    else
        c->first = job;
    c->last = job;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

void collection_read_begun(struct collection *collection)
{
    pthread_mutex_lock(&collection->lock);
    collection->reads++;
    pthread_mutex_unlock(&collection->lock);
}

/* The collection may be gone when this returns. */
void collection_read_ended(struct collection *collection)
{
    pthread_mutex_lock(&collection->lock);
    if (--collection->reads == 0)
        pthread_cond_signal(&collection->wake);
    pthread_mutex_unlock(&collection->lock);
}

void collection_quit(struct collection *collection)
{
    pthread_mutex_lock(&collection->lock);
    collection->quit = true;
    pthread_cond_signal(&collection->wake);
    pthread_mutex_unlock(&collection->lock);
}
