/* SPDX-License-Identifier: Apache-2.0
 * What reads: get, query, scan, fingerprint, stats. On any worker, with the guard held shared. */
#include "hnsw.h"

#include <klp/json.h>

/* hnswlib has no filter: candidates are fetched that many times over what is wanted, and again, before all items are
 * looked at. */
enum { OVERFETCH = 4, FETCHES = 3 };

/* ---- filters ---- */

/* Both are canonical: members in one order, equal values in equal bytes. */
static bool passes(const struct entry *entry, struct klp_json filter)
{
    struct klp_json metadata = { .type = KLP_JSON_OBJECT, .text = entry_metadata(entry) };
    struct klp_json_iter wanted, had;
    struct kos_bytes name, other;
    struct klp_json value, is;
    if (filter.type == KLP_JSON_NONE)
        return true;
    klp_json_iter_init(filter, &wanted);
    if (metadata.text.len == 0)
        return !klp_json_next(&wanted, &name, &value);
    klp_json_iter_init(metadata, &had);
    while (klp_json_next(&wanted, &name, &value)) {
        bool found = false;
        while (!found && klp_json_next(&had, &other, &is))
            found = kos_bytes_eq(name, other);
        if (!found || !kos_bytes_eq(value.text, is.text))
            return false;
    }
    return true;
}

/* ---- query ---- */

struct search {
    const struct collection *c;
    const float *point;
    struct klp_json filter;
    struct graph_near *near;        /* what passes, nearest first */
    size_t count, wanted;
};

/* Keeps those of `near` that are somebody's and pass, until there are enough. */
static size_t keep(struct search *s, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count && kept < s->wanted; i++) {
        const struct entry *e = s->c->nodes[s->near[i].node];
        if (e && passes(e, s->filter))
            s->near[kept++] = s->near[i];
    }
    return kept;
}

static bool farther(const struct graph_near *a, const struct graph_near *b)
{
    return a->distance > b->distance || (a->distance == b->distance && a->node > b->node);
}

static void sift_down(struct graph_near *heap, size_t count, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && farther(&heap[child + 1], &heap[child]))
            child++;
        if (!farther(&heap[child], &heap[at]))
            return;
        struct graph_near swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

/* All there is, the nearest `wanted` kept in a heap whose top is the farthest of them, then sorted. */
static void look_at_all(struct search *s)
{
    const struct collection *c = s->c;
    struct graph_near *heap = s->near;
    size_t count = 0;
    uint32_t nodes = graph_count(c->graph);
    for (uint32_t node = 0; node < nodes; node++) {
        const struct entry *e = c->nodes[node];
        if (!e || !passes(e, s->filter))
            continue;
        struct graph_near n = { node, graph_distance(c->graph, s->point, node) };
        if (count < s->wanted) {
            heap[count++] = n;
            if (count == s->wanted)
                for (size_t i = count / 2; i-- > 0;)
                    sift_down(heap, count, i);
        } else if (farther(&heap[0], &n)) {
            heap[0] = n;
            sift_down(heap, count, 0);
        }
        if ((node & 0xfff) == 0xfff && atomic_load(&c->hnsw->halt))
            break;
    }
    if (count < s->wanted)
        for (size_t i = count / 2; i-- > 0;)
            sift_down(heap, count, i);
    for (size_t left = count; left > 1; left--) {
        struct graph_near last = heap[left - 1];
        heap[left - 1] = heap[0];
        heap[0] = last;
        sift_down(heap, left - 1, 0);
    }
    s->count = count;
}

static int32_t room(struct search *s, size_t count)
{
    struct graph_near *near = realloc(s->near, count * sizeof *near);
    if (!near)
        return KOS_E_NOMEM;
    s->near = near;
    return KOS_OK;
}

/* By the graph, then by looking at all where the graph finds too few or would cost as much. */
static int32_t search(struct search *s, uint32_t effort)
{
    const struct collection *c = s->c;
    uint64_t nodes = graph_count(c->graph), fetch = effort;
    bool filtered = s->filter.type != KLP_JSON_NONE;
    s->wanted = s->wanted < c->live ? s->wanted : c->live;
    if (fetch < s->wanted)
        fetch = s->wanted;
    if (c->live > 0 && effort < c->live)
        fetch = fetch * nodes / c->live; /* for the nodes that are nobody's */
    if (filtered)
        fetch *= OVERFETCH;
    for (int i = 0; s->wanted > 0 && effort < c->live && fetch < nodes / 4 && i < FETCHES; i++, fetch *= OVERFETCH) {
        int32_t rc = room(s, fetch);
        if (rc == KOS_OK)
            rc = graph_search(c->graph, s->point, (uint32_t)fetch, s->near);
        if (rc < 0)
            return rc;
        s->count = keep(s, (size_t)rc);
        if (s->count >= s->wanted)
            return KOS_OK;
        /* So few pass that more of the same would not do either. */
        if (filtered && s->count * OVERFETCH * OVERFETCH < s->wanted)
            break;
    }
    int32_t rc = s->wanted > 0 ? room(s, s->wanted) : KOS_OK;
    if (rc == KOS_OK && s->wanted > 0)
        look_at_all(s);
    return rc;
}

static int32_t query(struct collection *c, struct job *job)
{
    struct search s = { .c = c, .wanted = job->k };
    float *point;
    if (job->k > K_MAX || job->effort > GRAPH_EFFORT_MAX)
        return KOS_E_LIMIT;
    if (!collection_vector_ok(c, job->vector))
        return KOS_E_INVALID;
    if (job->text.len > 0 && (klp_json_read(job->text, METADATA_MAX, &s.filter, NULL) < 0 ||
                              s.filter.type != KLP_JSON_OBJECT))
        return KOS_E_CANONICAL;
    point = malloc((c->space.dimension + 1) * sizeof *point);
    if (!point)
        return KOS_E_NOMEM;
    collection_point(c, job->vector, point);
    s.point = point;
    int32_t rc = search(&s, job->effort ? job->effort : c->hnsw->limits.effort);
    for (size_t i = 0; rc == KOS_OK && i < s.count; i++) {
        const struct entry *e = c->nodes[s.near[i].node];
        uint32_t id_len = e->id_len, value_len = (uint32_t)(sizeof(float) + e->metadata_len);
        uint8_t *to = out_take(&job->result, 2 * sizeof(uint32_t) + id_len + value_len);
        memcpy(to, &id_len, 4);
        memcpy(to + 4, e->bytes, id_len);
        memcpy(to + 4 + id_len, &value_len, 4);
        memcpy(to + 8 + id_len, &s.near[i].distance, sizeof(float));
        memcpy(to + 12 + id_len, e->bytes + id_len, e->metadata_len);
    }
    free(s.near);
    free(point);
    return rc;
}

/* ---- items ---- */

static size_t pair_bytes(const struct collection *c, const struct entry *e)
{
    size_t floats = e->node == GRAPH_NODE_NONE ? 0 : c->space.dimension * sizeof(float);
    return 4 + e->id_len + 4 + 8 + 4 + 32 + floats + e->metadata_len;
}

static void put_pair(const struct collection *c, const struct entry *e, struct out *out)
{
    size_t floats = e->node == GRAPH_NODE_NONE ? 0 : c->space.dimension * sizeof(float);
    uint32_t id_len = e->id_len, value_len = (uint32_t)(8 + 4 + 32 + floats + e->metadata_len);
    out_put(out, &id_len, 4);
    out_put(out, e->bytes, e->id_len);
    out_put(out, &value_len, 4);
    out_put(out, &e->version, 8);
    out_put(out, &e->flags, 4);
    out_put(out, e->digest, 32);
    if (floats)
        out_put(out, graph_point(c->graph, e->node), floats);
    out_put(out, e->bytes + e->id_len, e->metadata_len);
}

static int32_t get(const struct collection *c, struct job *job)
{
    const struct entry *e = job->text.len <= ID_MAX ? table_find(&c->table, job->text) : NULL;
    if (e)
        put_pair(c, e, &job->result);
    return e ? KOS_OK : KOS_E_NOTFOUND;
}

static int32_t scan(const struct collection *c, struct job *job)
{
    struct order_at at = order_from(&c->order, job->from);
    const struct entry *e;
    for (uint32_t n = 0; n < job->limit && (e = order_next(&c->order, &at)); n++) {
        if (memcmp(e->digest, job->to, 32) >= 0 || job->result.len + pair_bytes(c, e) > SCAN_BYTES)
            break;
        put_pair(c, e, &job->result);
    }
    return KOS_OK;
}

static int32_t fingerprint(const struct collection *c, struct job *job)
{
    struct order_at at = order_from(&c->order, job->from);
    struct out digests = { 0 };
    struct klp_digest sum;
    const struct entry *e;
    while ((e = order_next(&c->order, &at)) && memcmp(e->digest, job->to, 32) < 0)
        out_put(&digests, e->digest, 32);
    klp_sha256(kos_bytes(digests.data, digests.len), &sum);
    uint64_t count = digests.len / 32;
    free(digests.data);
    out_put(&job->result, sum.b, sizeof sum.b);
    out_put(&job->result, &count, sizeof count);
    return KOS_OK;
}

static int32_t stats(struct collection *c, struct job *job)
{
    char text[512];
    uint32_t nodes = graph_count(c->graph);
    int len = snprintf(text, sizeof text,
                       "{\"deleted\":%u,\"items\":%u,\"log_bytes\":%llu,\"memory_bytes\":%llu,\"nodes\":%u,"
                       "\"rebuilds\":%u,\"simd\":\"%s\",\"tombstones\":%u}",
                       nodes - c->live, c->live + c->tombstones, (unsigned long long)atomic_load(&c->log_bytes),
                       (unsigned long long)atomic_load(&c->memory), nodes, c->rebuilds, c->hnsw->distance->name, c->tombstones);
    out_put(&job->result, text, (size_t)len);
    return KOS_OK;
}

void read_run(struct job *job)
{
    struct collection *c = job->collection;
    pthread_rwlock_rdlock(&c->guard);
    switch (job->kind) {
    case JOB_GET: job->status = get(c, job); break;
    case JOB_QUERY: job->status = query(c, job); break;
    case JOB_SCAN: job->status = scan(c, job); break;
    case JOB_FINGERPRINT: job->status = fingerprint(c, job); break;
    default: job->status = stats(c, job); break;
    }
    pthread_rwlock_unlock(&c->guard);
    if (atomic_load(&c->hnsw->halt) && job->kind == JOB_QUERY)
        job->status = KOS_E_CANCELLED;
}
