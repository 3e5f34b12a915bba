/* SPDX-License-Identifier: Apache-2.0
 *
 * The vector backend over hnswlib: collections in the plugin's own directory, each with a log that is synced before an
 * operation completes, a saved base behind it, and a graph in memory. This file is what the loop thread does: it copies
 * what comes, and completes what threads have done. hnsw.h says what the others do.
 */
#include "hnsw.h"

#include <stdarg.h>
#include <unistd.h>

enum { LINES_MAX = 64, POSTED = 1, AGAIN = 1, AGAIN_MS = 10 };

/* ---- from other threads to the loop ---- */

/* With the lock held. A post that the host does not take is tried again: by a timer where this is the loop thread. */
static void wake_loop(struct hnsw *hnsw, bool on_loop)
{
    while (!hnsw->posted) {
        hnsw->posted = hnsw->host->post(hnsw->host, POSTED) == KOS_OK;
        if (!hnsw->posted && on_loop) {
            hnsw->host->timer_set(hnsw->host, AGAIN, AGAIN_MS);
            return;
        }
        if (!hnsw->posted) {
            pthread_mutex_unlock(&hnsw->lock);
            usleep(AGAIN_MS * 1000);
            pthread_mutex_lock(&hnsw->lock);
        }
    }
}

static void done(struct hnsw *hnsw, struct job *first, struct job *last, bool on_loop)
{
    last->next = NULL;
    pthread_mutex_lock(&hnsw->lock);
    if (hnsw->last)
        hnsw->last->next = first;
    else
        hnsw->first = first;
    hnsw->last = last;
    wake_loop(hnsw, on_loop);
    pthread_mutex_unlock(&hnsw->lock);
}

void hnsw_done(struct hnsw *hnsw, struct job *first, struct job *last)
{
    done(hnsw, first, last, false);
}

void hnsw_thread_ended(struct hnsw *hnsw)
{
    pthread_mutex_lock(&hnsw->lock);
    hnsw->threads--;
    wake_loop(hnsw, false);
    pthread_mutex_unlock(&hnsw->lock);
}

void hnsw_wake(struct hnsw *hnsw)
{
    pthread_mutex_lock(&hnsw->lock);
    wake_loop(hnsw, true);
    pthread_mutex_unlock(&hnsw->lock);
}

void hnsw_log(struct hnsw *hnsw, int32_t level, const char *format, ...)
{
    struct line *line = malloc(sizeof *line + KOS_LOG_TEXT_MAX);
    va_list args;
    if (!line)
        return;
    line->next = NULL;
    line->level = level;
    va_start(args, format);
    vsnprintf(line->text, KOS_LOG_TEXT_MAX, format, args);
    va_end(args);
    pthread_mutex_lock(&hnsw->lock);
    if (hnsw->lines_waiting < LINES_MAX) {
        if (hnsw->lines_last)
            hnsw->lines_last->next = line;
        else
            hnsw->lines = line;
        hnsw->lines_last = line;
        hnsw->lines_waiting++;
        line = NULL;
        wake_loop(hnsw, false);
    }
    pthread_mutex_unlock(&hnsw->lock);
    free(line);
}

/* ---- completing ---- */

static struct collection *collection_of(struct hnsw *hnsw, uint64_t id)
{
    struct collection *c = hnsw->collections;
    while (c && c->id != id)
        c = c->next;
    return c;
}

static void forget(struct hnsw *hnsw, struct collection *collection)
{
    struct collection **at = &hnsw->collections;
    while (*at != collection)
        at = &(*at)->next;
    *at = collection->next;
    hnsw->opened--;
    collection_free(collection);
}

static void complete(struct hnsw *hnsw, struct job *job)
{
    struct kos_bytes result = job->status >= 0 ? kos_bytes(job->result.data, job->result.len) : kos_bytes(NULL, 0);
    hnsw->queued -= job->bytes;
    hnsw->host->complete(hnsw->host, job->op, job->status, result);
    free(job->result.data);
    free(job);
}

/* Reads that waited for it to be open. */
static void begin_early(struct hnsw *hnsw, struct collection *collection)
{
    struct job *job = collection->early;
    collection->early = collection->early_last = NULL;
    for (struct job *next; job; job = next) {
        next = job->next;
        if (collection->state == COLLECTION_OPEN) {
            collection_read_begun(collection);
            pool_read(hnsw, job);
        } else {
            job->status = hnsw->stopping ? KOS_E_CANCELLED : KOS_E_NOTFOUND;
            complete(hnsw, job);
        }
    }
}

/* Completes, and does to the collection what that means. Other jobs than these three may outlive their collection. */
static void settle(struct hnsw *hnsw, struct job *job)
{
    struct collection *c = job->collection;
    if (!c || hnsw->stopping) {
        complete(hnsw, job);
    } else if (job->kind == JOB_OPEN && job->status >= 0) {
        if (c->state == COLLECTION_OPENING)
            c->state = COLLECTION_OPEN;
        complete(hnsw, job);
        begin_early(hnsw, c);
    } else if (job->kind == JOB_OPEN || job->kind == JOB_CLOSE || job->kind == JOB_DROP) {
        c->state = COLLECTION_CLOSING;
        begin_early(hnsw, c);
        forget(hnsw, c);
        complete(hnsw, job);
    } else {
        complete(hnsw, job);
    }
}

static void end(struct hnsw *hnsw)
{
    hnsw->host->timer_stop(hnsw->host, AGAIN);
    pool_join(hnsw);
    while (hnsw->collections) {
        begin_early(hnsw, hnsw->collections);
        forget(hnsw, hnsw->collections);
    }
    hnsw->stopped = true;
    hnsw->host->stopped(hnsw->host);
}

void hnsw_posted(void *self, uint64_t cookie)
{
    struct hnsw *hnsw = self;
    (void)cookie;
    if (hnsw->stopped)
        return;
    pthread_mutex_lock(&hnsw->lock);
    struct job *job = hnsw->first;
    struct line *line = hnsw->lines;
    hnsw->first = hnsw->last = NULL;
    hnsw->lines = hnsw->lines_last = NULL;
    hnsw->lines_waiting = 0;
    hnsw->posted = false;
    bool ended = hnsw->threads == 0;
    pthread_mutex_unlock(&hnsw->lock);
    for (struct line *next; line; line = next) {
        next = line->next;
        hnsw->host->log(hnsw->host, line->level, line->text);
        free(line);
    }
    for (struct job *next; job; job = next) {
        next = job->next;
        settle(hnsw, job);
    }
    if (hnsw->stopping && ended)
        end(hnsw);
}

/* ---- operations ---- */

/* `more` bytes behind the job, at ret_job->store. */
static struct job *job_new(struct hnsw *hnsw, uint64_t op, enum job_kind kind, uint64_t collection, size_t more)
{
    struct job *job = malloc(sizeof *job + more);
    if (!job)
        abort();
    memset(job, 0, sizeof *job);
    job->op = op;
    job->kind = kind;
    job->collection = collection_of(hnsw, collection);
    job->bytes = sizeof *job + more;
    return job;
}

static void give_back(struct hnsw *hnsw, struct job *job, int32_t status)
{
    job->status = status;
    job->collection = NULL;
    done(hnsw, job, job, true);
}

static void submit(struct hnsw *hnsw, struct job *job)
{
    struct collection *c = job->collection;
    hnsw->queued += job->bytes;
    if (hnsw->stopping || !hnsw->started) {
        give_back(hnsw, job, KOS_E_CANCELLED);
    } else if (!c || c->state == COLLECTION_CLOSING) {
        give_back(hnsw, job, KOS_E_NOTFOUND);
    } else if (hnsw->queued > hnsw->limits.queue_bytes && hnsw->queued > job->bytes) {
        give_back(hnsw, job, KOS_E_BUSY);
    } else if (job->kind < JOB_GET) {
        if (job->kind == JOB_CLOSE || job->kind == JOB_DROP)
            c->state = COLLECTION_CLOSING;
        collection_submit(c, job);
    } else if (c->state == COLLECTION_OPENING) {
        job->next = NULL;
        if (c->early_last)
            c->early_last->next = job;
        else
            c->early = job;
        c->early_last = job;
    } else {
        collection_read_begun(c);
        pool_read(hnsw, job);
    }
}

static void open_collection(void *self, uint64_t op, uint64_t id, const char *name, const struct kos_space *space)
{
    struct hnsw *hnsw = self;
    struct job *job = job_new(hnsw, op, JOB_OPEN, id, 0);
    struct kos_space s = { 0 };
    struct collection *c = NULL;
    memcpy(&s, space, space->size < sizeof s ? space->size : sizeof s);
    int32_t rc = job->collection ? KOS_E_EXISTS
        : hnsw->stopping         ? KOS_E_CANCELLED
        : !hnsw->started         ? KOS_E_LIMIT
                                 : collection_new(hnsw, id, name, &s, &c);
    hnsw->queued += job->bytes;
    if (rc < 0) {
        give_back(hnsw, job, rc);
        return;
    }
    c->next = hnsw->collections;
    hnsw->collections = c;
    hnsw->opened++;
    job->collection = c;
    collection_submit(c, job);
}

static void plain(void *self, uint64_t op, enum job_kind kind, uint64_t id)
{
    submit(self, job_new(self, op, kind, id, 0));
}

static void close_collection(void *self, uint64_t op, uint64_t id)
{
    plain(self, op, JOB_CLOSE, id);
}

static void drop(void *self, uint64_t op, uint64_t id)
{
    plain(self, op, JOB_DROP, id);
}

static void stats(void *self, uint64_t op, uint64_t id)
{
    plain(self, op, JOB_STATS, id);
}

static void with_text(void *self, uint64_t op, enum job_kind kind, uint64_t id, struct kos_bytes text, uint64_t version)
{
    struct job *job = job_new(self, op, kind, id, text.len + 1);
    char *to = (char *)job->store;
    if (text.len)
        memcpy(to, text.data, text.len);
    to[text.len] = '\0';
    job->text = kos_bytes(to, text.len);
    job->version = version;
    submit(self, job);
}

static void get(void *self, uint64_t op, uint64_t id, struct kos_bytes item)
{
    with_text(self, op, JOB_GET, id, item, 0);
}

static void remove_item(void *self, uint64_t op, uint64_t id, struct kos_bytes item, uint64_t version)
{
    with_text(self, op, JOB_REMOVE, id, item, version);
}

static void snapshot(void *self, uint64_t op, uint64_t id, const char *directory)
{
    with_text(self, op, JOB_SNAPSHOT, id, kos_bytes_str(directory), 0);
}

/* Items with their vectors first, then ids and metadata: one allocation for all. */
static void upsert(void *self, uint64_t op, uint64_t id, const struct kos_item *const *items, uint32_t count)
{
    struct collection *c = collection_of(self, id);
    size_t floats = c ? c->space.dimension * sizeof(float) : 0, bytes = count * sizeof(struct given);
    for (uint32_t i = 0; c && i < count; i++)
        bytes += items[i]->id.len + items[i]->metadata.len + floats;
    struct job *job = job_new(self, op, JOB_UPSERT, id, c ? bytes : 0);
    job->items = (struct given *)(void *)job->store;
    job->count = c ? count : 0;
    uint8_t *vectors = (uint8_t *)(job->items + job->count), *texts = vectors + job->count * floats;
    for (uint32_t i = 0; i < job->count; i++) {
        struct kos_item it = { 0 };
        memcpy(&it, items[i], items[i]->size < sizeof it ? items[i]->size : sizeof it);
        struct given *g = &job->items[i];
        *g = (struct given){ .version = it.version, .flags = it.flags };
        memcpy(g->digest, it.digest, sizeof g->digest);
        if (!(it.flags & 1) && it.vector) {
            memcpy(vectors, it.vector, floats);
            g->vector = (const float *)(const void *)vectors;
            vectors += floats;
        }
        g->id = kos_bytes(texts, it.id.len);
        if (it.id.len)
            memcpy(texts, it.id.data, it.id.len);
        texts += it.id.len;
        g->metadata = kos_bytes(texts, it.metadata.len);
        if (it.metadata.len)
            memcpy(texts, it.metadata.data, it.metadata.len);
        texts += it.metadata.len;
    }
    submit(self, job);
}

static void query(void *self, uint64_t op, uint64_t id, const struct kos_query *given)
{
    struct collection *c = collection_of(self, id);
    struct kos_query q = { 0 };
    memcpy(&q, given, given->size < sizeof q ? given->size : sizeof q);
    size_t floats = c && q.vector ? c->space.dimension * sizeof(float) : 0;
    struct job *job = job_new(self, op, JOB_QUERY, id, floats + sizeof(uint64_t) + q.filter.len);
    if (floats) {
        job->vector = (float *)(void *)job->store;
        memcpy(job->vector, q.vector, floats);
    }
    uint8_t *filter = (uint8_t *)job->store + floats + sizeof(uint64_t);
    if (q.filter.len)
        memcpy(filter, q.filter.data, q.filter.len);
    job->text = kos_bytes(filter, q.filter.len);
    job->k = q.k;
    job->effort = q.effort;
    submit(self, job);
}

static void range(void *self, uint64_t op, enum job_kind kind, uint64_t id, const uint8_t from[32],
                  const uint8_t to[32], uint32_t limit)
{
    struct job *job = job_new(self, op, kind, id, 0);
    memcpy(job->from, from, sizeof job->from);
    memcpy(job->to, to, sizeof job->to);
    job->limit = limit;
    submit(self, job);
}

static void scan(void *self, uint64_t op, uint64_t id, const uint8_t from[32], const uint8_t to[32], uint32_t limit)
{
    range(self, op, JOB_SCAN, id, from, to, limit);
}

static void fingerprint(void *self, uint64_t op, uint64_t id, const uint8_t from[32], const uint8_t to[32])
{
    range(self, op, JOB_FINGERPRINT, id, from, to, 0);
}

const struct kos_vector hnsw_vector = { sizeof hnsw_vector, open_collection, close_collection, upsert,   get,   remove_item,
                                          query,         scan,            fingerprint,      snapshot, stats, drop };
