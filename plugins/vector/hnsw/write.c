/* SPDX-License-Identifier: Apache-2.0
 * Changes: staged beside what is there, logged, synced, and only then made. One sync serves all operations of a group;
 * readers see each group whole. A changed vector is a new node, and the old one nobody's: hnswlib's updatePoint leaves
 * nodes that no way leads to, and is never called. */
#include "hnsw.h"

#include <klp/json.h>

#define NO_POINT SIZE_MAX

struct change {
    UT_hash_handle hh;
    struct entry *entry;            /* NULL: forgotten */
    size_t point;                   /* number of its point; NO_POINT: a tombstone, or forgotten */
    uint32_t node;
    bool kept;                      /* has the node that it had */
    uint8_t id_len;
    uint8_t id[];
};
struct stage {
    struct collection *collection;
    struct change *changes;         /* by id, one each: the newest */
    struct out points, frames;
    size_t point_count, frame, fresh;   /* fresh: ids that the table lacks */
    struct change **adds;
    size_t add_count, add_from;
};

static size_t point_floats(const struct collection *c)
{
    return c->shape.dimension + c->shape.tail;
}

static const float *point_at(const struct stage *stage, size_t number)
{
    return (const float *)(const void *)stage->points.data + number * point_floats(stage->collection);
}

struct stage *stage_new(struct collection *collection)
{
    struct stage *stage = calloc(1, sizeof *stage);
    if (!stage)
        abort();
    stage->collection = collection;
    return stage;
}

void stage_free(struct stage *stage)
{
    struct change *change, *next;
    HASH_ITER(hh, stage->changes, change, next)
    {
        HASH_DEL(stage->changes, change);
        free(change->entry);
        free(change);
    }
    free(stage->points.data);
    free(stage->frames.data);
    free(stage->adds);
    free(stage);
}

size_t stage_points(const struct stage *stage)
{
    return stage->point_count;
}

struct out *stage_frames(struct stage *stage)
{
    return &stage->frames;
}

static struct change *change_of(const struct stage *stage, struct kos_bytes id)
{
    struct change *found = NULL;
    HASH_FIND_BYHASHVALUE(hh, stage->changes, id.data, id.len, table_hash(&stage->collection->table, id), found);
    return found;
}

/* What is there now, as far as this stage goes. */
static const struct entry *current(const struct stage *stage, struct kos_bytes id)
{
    const struct change *change = change_of(stage, id);
    return change ? change->entry : table_find(&stage->collection->table, id);
}

static void change(struct stage *stage, struct kos_bytes id, struct entry *entry, size_t point)
{
    struct change *c = change_of(stage, id);
    if (!c) {
        c = calloc(1, sizeof *c + id.len);
        if (!c)
            abort();
        c->id_len = (uint8_t)id.len;
        memcpy(c->id, id.data, id.len);
        HASH_ADD_KEYPTR_BYHASHVALUE(hh, stage->changes, c->id, c->id_len, table_hash(&stage->collection->table, id), c);
        if (entry && !table_find(&stage->collection->table, id))
            stage->fresh++;
    }
    free(c->entry);
    c->entry = entry;
    c->point = point;
}

static void change_to(struct stage *stage, const struct given *item, const void *vector)
{
    size_t point = NO_POINT;
    if (vector) {
        point = stage->point_count++;
        float *to = out_take(&stage->points, point_floats(stage->collection) * sizeof *to);
        collection_point(stage->collection, vector, to);
    }
    change(stage, item->id, entry_new(item), point);
}

static int32_t check(const struct stage *stage, const struct given *items, uint32_t count, struct kos_error *ret_error)
{
    const struct collection *c = stage->collection;
    uint64_t fresh = 0, bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct given *g = &items[i];
        struct klp_json metadata;
        if (g->id.len == 0 || g->id.len > ID_MAX || g->metadata.len > METADATA_MAX)
            return kos_fail(ret_error, KOS_E_INVALID, "item %u: an id has 1 to %d bytes, metadata at most %d", i,
                            ID_MAX, METADATA_MAX);
        if (!(g->flags & 1) && !collection_vector_ok(c, g->vector))
            return kos_fail(ret_error, KOS_E_INVALID, "item %u: its vector is missing, not finite or too long", i);
        if (g->metadata.len > 0 && (klp_json_read(g->metadata, METADATA_MAX, &metadata, NULL) < 0 ||
                                    metadata.type != KLP_JSON_OBJECT))
            return kos_fail(ret_error, KOS_E_CANONICAL, "item %u: its metadata is not a canonical JSON object", i);
        fresh += current(stage, g->id) == NULL;
        bytes += sizeof(struct entry) + g->id.len + g->metadata.len + 64;
    }
    if (c->live + c->tombstones + stage->fresh + fresh > c->hnsw->limits.items)
        return kos_fail(ret_error, KOS_E_LIMIT, "it would hold more than %u items (setting items)",
                        c->hnsw->limits.items);
    if (atomic_load(&c->hnsw->memory) + bytes > c->hnsw->limits.memory_bytes)
        return kos_fail(ret_error, KOS_E_LIMIT, "it would take more than %llu bytes (setting memory)",
                        (unsigned long long)c->hnsw->limits.memory_bytes);
    return KOS_OK;
}

int32_t stage_upsert(struct stage *stage, const struct given *items, uint32_t count, struct kos_error *ret_error)
{
    struct collection *c = stage->collection;
    int32_t taken = 0, rc = check(stage, items, count, ret_error);
    if (rc == KOS_OK && stage->point_count + count > UINT32_MAX / 4)
        rc = KOS_E_LIMIT;
    if (rc == KOS_OK) {
        rc = collection_reserve(c, (uint32_t)(stage->point_count + count));
        if (rc < 0)
            kos_fail(ret_error, rc, "there is no room for %u more (setting memory, %llu bytes)", count,
                     (unsigned long long)c->hnsw->limits.memory_bytes);
    }
    if (rc < 0)
        return rc;
    size_t frame = wal_begin(&stage->frames);
    for (uint32_t i = 0; i < count; i++) {
        const struct given *g = &items[i];
        const struct entry *old = current(stage, g->id);
        if (old && old->version >= g->version)
            continue;
        const float *vector = g->flags & 1 ? NULL : g->vector;
        wal_put(&stage->frames, RECORD_PUT, g, vector, c->space.dimension);
        change_to(stage, g, vector);
        taken++;
    }
    if (taken > 0)
        wal_end(&stage->frames, frame, &c->wal);
    else
        stage->frames.len = frame;
    return taken;
}

int32_t stage_remove(struct stage *stage, struct kos_bytes id, uint64_t version)
{
    const struct entry *old = id.len > 0 && id.len <= ID_MAX ? current(stage, id) : NULL;
    if (!old)
        return KOS_E_NOTFOUND;
    if (version <= old->version)
        return KOS_E_STALE;
    size_t frame = wal_begin(&stage->frames);
    wal_put(&stage->frames, RECORD_REMOVE, &(const struct given){ .id = id, .version = version }, NULL, 0);
    wal_end(&stage->frames, frame, &stage->collection->wal);
    change(stage, id, NULL, NO_POINT);
    return KOS_OK;
}

/* What a log holds was accepted once, in this order. */
int32_t stage_replay(struct stage *stage, const struct wal_entry *entry)
{
    if (entry->kind == RECORD_DEAD || (entry->vector && stage->point_count >= UINT32_MAX / 4))
        return KOS_E_CORRUPT;
    if (entry->kind == RECORD_PUT)
        change_to(stage, &entry->item, entry->vector);
    else
        change(stage, entry->item.id, NULL, NO_POINT);
    return KOS_OK;
}

/* ---- into graph and table ---- */

static int32_t add_one(void *arg, size_t i)
{
    struct stage *stage = arg;
    struct change *c = stage->adds[stage->add_from + i];
    return graph_add(stage->collection->graph, point_at(stage, c->point), &c->node);
}

/* In slices, each of which keeps readers out for some milliseconds. */
static int32_t add_points(struct stage *stage)
{
    struct collection *c = stage->collection;
    size_t slice = 8 * (size_t)c->hnsw->limits.threads;
    int32_t rc = KOS_OK;
    for (size_t n; rc == KOS_OK && stage->add_from < stage->add_count; stage->add_from += n) {
        n = stage->add_count - stage->add_from;
        n = graph_count(c->graph) == 0 ? 1 : n < slice ? n : slice;
        if (atomic_load(&c->hnsw->halt))
            return KOS_E_CANCELLED;
        pthread_rwlock_wrlock(&c->guard);
        rc = pool_share(c->hnsw, add_one, stage, n);
        pthread_rwlock_unlock(&c->guard);
    }
    return rc;
}

static void plan(struct stage *stage)
{
    struct collection *c = stage->collection;
    struct change *change, *next;
    stage->adds = malloc((stage->point_count + 1) * sizeof(struct change *));
    if (!stage->adds)
        abort();
    HASH_ITER(hh, stage->changes, change, next)
    {
        const struct entry *old = table_find(&c->table, kos_bytes(change->id, change->id_len));
        change->node = GRAPH_NODE_NONE;
        if (change->point == NO_POINT)
            continue;
        if (old && old->node != GRAPH_NODE_NONE &&
            memcmp(graph_point(c->graph, old->node), point_at(stage, change->point),
                   point_floats(c) * sizeof(float)) == 0) {
            change->node = old->node;
            change->kept = true;
        } else {
            stage->adds[stage->add_count++] = change;
        }
    }
}

static void replace(struct collection *c, struct change *change)
{
    struct entry *old = table_find(&c->table, kos_bytes(change->id, change->id_len));
    if (old) {
        order_remove(&c->order, old);
        table_remove(&c->table, old);
        if (old->node != GRAPH_NODE_NONE && !change->kept)
            c->nodes[old->node] = NULL;
        *(old->flags & 1 ? &c->tombstones : &c->live) -= 1;
        collection_memory(c, 0, entry_bytes(old));
        free(old);
    }
    if (change->entry) {
        struct entry *entry = change->entry;
        change->entry = NULL;
        entry->node = change->node;
        if (entry->node != GRAPH_NODE_NONE)
            c->nodes[entry->node] = entry;
        table_add(&c->table, entry);
        order_add(&c->order, entry);
        *(entry->flags & 1 ? &c->tombstones : &c->live) += 1;
        atomic_fetch_add(&c->memory, entry_bytes(entry));
        atomic_fetch_add(&c->hnsw->memory, entry_bytes(entry));
    }
}

int32_t stage_apply(struct stage *stage)
{
    struct collection *c = stage->collection;
    struct change *change, *next;
    plan(stage);
    int32_t rc = collection_reserve(c, (uint32_t)stage->add_count);
    rc = rc == KOS_OK ? add_points(stage) : rc;
    if (rc < 0)
        return rc;
    pthread_rwlock_wrlock(&c->guard);
    HASH_ITER(hh, stage->changes, change, next)
    {
        replace(c, change);
    }
    pthread_rwlock_unlock(&c->guard);
    return KOS_OK;
}

/* ---- a group of operations ---- */

static void stage_job(struct stage *stage, struct job *job)
{
    struct collection *c = stage->collection;
    struct kos_error why = { 0 };
    int32_t rc;
    if (c->broken) {
        job->status = c->broken;
        return;
    }
    rc = job->kind == JOB_UPSERT ? stage_upsert(stage, job->items, job->count, &why)
                                 : stage_remove(stage, job->text, job->version);
    if (why.text[0])
        hnsw_log(c->hnsw, KOS_WARNING, "hnsw: collection %s: an upsert is refused: %s", c->name, why.text);
    job->status = rc < 0 ? rc : KOS_OK;
    if (rc >= 0 && job->kind == JOB_UPSERT) {
        uint32_t taken = (uint32_t)rc;
        out_put(&job->result, &taken, sizeof taken);
    }
}

/* Nothing of it is known to be there: the log is as it was, or its end is found out when it is opened again. */
static void fail_all(struct collection *c, struct job *jobs, int32_t rc, const struct kos_error *why)
{
    if (rc == KOS_E_STATE)
        c->broken = rc = KOS_E_IO;
    hnsw_log(c->hnsw, KOS_ERROR, "hnsw: collection %s: its log cannot be written: %s%s", c->name, why->text,
             c->broken ? ": close it and open it again" : "");
    for (struct job *j = jobs; j; j = j->next)
        if (j->status >= 0)
            j->status = rc;
}

void write_group(struct collection *collection, struct job *jobs)
{
    struct collection *c = collection;
    struct stage *stage = stage_new(c);
    struct job *last = jobs;
    struct kos_error why = { 0 };
    uint64_t frames = c->wal.frames;
    for (struct job *j = jobs; j; last = j, j = j->next)
        stage_job(stage, j);
    int32_t rc = stage->frames.len > 0 ? wal_append(&c->wal, &stage->frames, &why) : KOS_OK;
    if (rc < 0) {
        c->wal.frames = frames;
        fail_all(c, jobs, rc, &why);
    } else if (stage->frames.len > 0) {
        atomic_store(&c->log_bytes, c->wal.length + c->older_bytes);
        rc = stage_apply(stage);
        /* It is durable either way; what cannot be shown any more is shown when it is opened again. */
        if (rc < 0 && rc != KOS_E_CANCELLED) {
            c->broken = rc;
            hnsw_log(c->hnsw, KOS_ERROR, "hnsw: collection %s: what was logged cannot be added to the graph: %s: close "
                     "it and open it again", c->name, kos_error_text(rc));
        }
    }
    stage_free(stage);
    hnsw_done(c->hnsw, jobs, last);
}
