/* SPDX-License-Identifier: Apache-2.0
 * hnswlib does not reuse the places of points that are nobody's any more, so past 30 % of them a new graph is made of
 * those that live: beside the old one, which goes on answering and growing. A thread copies nodes over until it has
 * nearly caught up; the writer adds the rest, and takes the new graph in the old one's place. */
#include "hnsw.h"

enum { DEAD_PERCENT = 30, DEAD_MIN = 256, CHUNK = 64, CAUGHT_UP = 256 };

struct batch {
    struct graph *graph;
    size_t floats;
    float *points;
    uint32_t nodes[CHUNK];          /* new ones */
};

static int32_t add_one(void *arg, size_t i)
{
    struct batch *b = arg;
    return graph_add(b->graph, b->points + i * b->floats, &b->nodes[i]);
}

/* Nodes [from, to), at most CHUNK, of the old graph into the new one, and what became of each into `map`. */
static int32_t copy_nodes(struct collection *c, struct batch *b, uint32_t from, uint32_t to, uint32_t *map)
{
    uint32_t picked[CHUNK], count = 0;
    pthread_rwlock_rdlock(&c->guard);
    for (uint32_t node = from; node < to; node++) {
        map[node] = GRAPH_NODE_NONE;
        if (!c->nodes[node])
            continue;
        memcpy(b->points + count * b->floats, graph_point(c->graph, node), b->floats * sizeof(float));
        picked[count++] = node;
    }
    pthread_rwlock_unlock(&c->guard);
    if (graph_count(b->graph) + count > graph_capacity(b->graph)) {
        uint32_t capacity = graph_capacity(b->graph);
        int32_t rc = graph_reserve(b->graph, capacity + capacity / 2 + CHUNK);
        if (rc < 0)
            return rc;
    }
    for (size_t done = 0; done < count;) {
        /* The first point of a graph must be added alone. */
        struct batch part = *b;
        size_t n = graph_count(b->graph) == 0 ? 1 : count - done;
        part.points += done * b->floats;
        int32_t rc = pool_share(c->hnsw, add_one, &part, n);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < n; i++)
            map[picked[done + i]] = part.nodes[i];
        done += n;
    }
    return KOS_OK;
}

static int32_t copy_until(struct collection *c, struct rebuild *r, uint32_t end)
{
    struct batch b = { .graph = r->graph, .floats = c->shape.dimension + c->shape.tail };
    b.points = malloc(CHUNK * b.floats * sizeof(float));
    int32_t rc = b.points ? KOS_OK : KOS_E_NOMEM;
    if (rc == KOS_OK && end > r->map_cap) {
        uint32_t *map = realloc(r->map, (size_t)end * sizeof *map);
        rc = map ? KOS_OK : KOS_E_NOMEM;
        r->map = map ? map : r->map;
        r->map_cap = map ? end : r->map_cap;
    }
    while (rc == KOS_OK && r->done < end) {
        uint32_t to = end - r->done < CHUNK ? end : r->done + CHUNK;
        rc = atomic_load(&r->cancel) || atomic_load(&c->hnsw->halt) ? KOS_E_CANCELLED
                                                                    : copy_nodes(c, &b, r->done, to, r->map);
        r->done = to;
    }
    free(b.points);
    return rc;
}

static uint32_t count_of(struct collection *c)
{
    pthread_rwlock_rdlock(&c->guard);
    uint32_t count = graph_count(c->graph);
    pthread_rwlock_unlock(&c->guard);
    return count;
}

static void *run(void *arg)
{
    struct collection *c = arg;
    struct rebuild *r = &c->rebuild;
    uint32_t count;
    while (r->status == KOS_OK && (count = count_of(c)) - r->done > CAUGHT_UP)
        r->status = copy_until(c, r, count);
    atomic_store(&r->ready, true);
    pthread_mutex_lock(&c->lock);
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static void reset(struct rebuild *r)
{
    graph_free(r->graph);
    free(r->map);
    r->graph = NULL;
    r->map = NULL;
    r->map_cap = r->done = 0;
    r->status = KOS_OK;
    r->running = false;
    atomic_store(&r->ready, false);
    atomic_store(&r->cancel, false);
}

static int32_t prepare(struct collection *c, struct rebuild *r)
{
    uint32_t capacity = c->live + c->live / 8 + 1024;
    int32_t rc = collection_memory(c, graph_bytes(&c->shape, capacity), 0);
    if (rc < 0)
        return rc;
    collection_memory(c, 0, graph_bytes(&c->shape, capacity));
    return graph_new(&c->shape, capacity, &r->graph);
}

/* The new graph, which has all nodes, in the place of the old one. */
static int32_t take_over(struct collection *c, struct rebuild *r)
{
    uint32_t capacity = graph_capacity(r->graph);
    struct entry **nodes = calloc(capacity, sizeof(struct entry *));
    if (!nodes)
        return KOS_E_NOMEM;
    for (uint32_t node = 0; node < r->done; node++)
        if (c->nodes[node] && r->map[node] != GRAPH_NODE_NONE)
            nodes[r->map[node]] = c->nodes[node];
    uint64_t before = graph_bytes(&c->shape, graph_capacity(c->graph)) + (uint64_t)c->nodes_cap * sizeof *nodes;
    uint64_t after = graph_bytes(&c->shape, capacity) + (uint64_t)capacity * sizeof *nodes;
    struct graph *old = c->graph;
    struct entry **old_nodes = c->nodes;
    pthread_rwlock_wrlock(&c->guard);
    for (uint32_t node = 0; node < capacity; node++)
        if (nodes[node])
            nodes[node]->node = node;
    c->graph = r->graph;
    c->nodes = nodes;
    c->nodes_cap = capacity;
    c->rebuilds++;
    pthread_rwlock_unlock(&c->guard);
    atomic_fetch_add(&c->memory, after - before);
    atomic_fetch_add(&c->hnsw->memory, after - before);
    r->graph = old;
    free(old_nodes);
    return KOS_OK;
}

int32_t rebuild_now(struct collection *collection)
{
    struct collection *c = collection;
    struct rebuild *r = &c->rebuild;
    int32_t rc = prepare(c, r);
    if (rc == KOS_OK)
        rc = copy_until(c, r, graph_count(c->graph));
    if (rc == KOS_OK)
        rc = take_over(c, r);
    reset(r);
    return rc;
}

void rebuild_if_due(struct collection *collection)
{
    struct collection *c = collection;
    uint32_t count = graph_count(c->graph), dead = count - c->live;
    if (c->rebuild.running || c->broken || dead < DEAD_MIN || (uint64_t)dead * 100 <= (uint64_t)count * DEAD_PERCENT ||
        count == c->rebuild_refused)
        return;
    int32_t rc = prepare(c, &c->rebuild);
    if (rc == KOS_OK)
        rc = thread_start(&c->rebuild.thread, run, c);
    if (rc < 0) {
        reset(&c->rebuild);
        c->rebuild_refused = count;
        hnsw_log(c->hnsw, KOS_WARNING, "hnsw: collection %s: %u of %u nodes are nobody's, and no new graph can be made "
                 "now: %s (setting memory)", c->name, dead, count, kos_error_text(rc));
        return;
    }
    c->rebuild.running = true;
}

void rebuild_finish(struct collection *collection)
{
    struct collection *c = collection;
    struct rebuild *r = &c->rebuild;
    if (!r->running || !atomic_load(&r->ready))
        return;
    pthread_join(r->thread, NULL);
    int32_t rc = r->status;
    if (rc == KOS_OK)
        rc = copy_until(c, r, graph_count(c->graph));
    if (rc == KOS_OK)
        rc = take_over(c, r);
    if (rc < 0 && rc != KOS_E_CANCELLED) {
        c->rebuild_refused = graph_count(c->graph);
        hnsw_log(c->hnsw, KOS_WARNING, "hnsw: collection %s: making a new graph failed, the old one stays: %s", c->name,
                 kos_error_text(rc));
    }
    reset(r);
}

void rebuild_cancel(struct collection *collection)
{
    struct rebuild *r = &collection->rebuild;
    if (!r->running)
        return;
    atomic_store(&r->cancel, true);
    pthread_join(r->thread, NULL);
    reset(r);
}
