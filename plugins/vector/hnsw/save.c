/* SPDX-License-Identifier: Apache-2.0
 * Bases: all items with their vectors in the order of the graph's nodes, and the graph's links in a file beside it, both
 * frames like those of the log and closed by an empty one. The items are what must not be lost; links that are damaged
 * are made again from them.
 *
 * Generations: base.N holds all that stood in the logs before log.N. log.N+1 is begun first, then base.N+1 is written
 * aside and renamed, then what is older is removed; at each moment the newest base and the logs from its number on
 * are all there is. */
#include "hnsw.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 20, LINKS_HEAD = 4, FILE_NAME = 48 };

struct file {                       /* one that is being written */
    struct wal wal;
    struct out out;
    size_t frame;
    char name[FILE_NAME], aside[FILE_NAME + 4];
};

static int32_t file_begin(struct file *f, int dir, const char *kind, uint64_t generation, uint32_t dimension,
                          struct kos_error *ret_error)
{
    memset(f, 0, sizeof *f);
    snprintf(f->name, sizeof f->name, "%s.%llu", kind, (unsigned long long)generation);
    snprintf(f->aside, sizeof f->aside, "%s.tmp", f->name);
    f->wal.fd = -1;
    int32_t rc = wal_create(dir, f->aside, dimension, &f->wal, ret_error);
    if (rc == KOS_OK)
        f->frame = wal_begin(&f->out);
    return rc;
}

static int32_t file_flush(struct file *f, size_t above, struct kos_error *ret_error)
{
    if (f->out.len <= above)
        return KOS_OK;
    wal_end(&f->out, f->frame, &f->wal);
    int32_t rc = wal_write(&f->wal, &f->out, ret_error);
    f->out.len = 0;
    f->frame = wal_begin(&f->out);
    return rc;
}

/* The empty frame, the sync, and its true name. */
static int32_t file_end(struct file *f, int dir, struct kos_error *ret_error)
{
    int32_t rc = file_flush(f, 40, ret_error);
    if (rc == KOS_OK) {
        wal_end(&f->out, f->frame, &f->wal);
        rc = wal_write(&f->wal, &f->out, ret_error);
    }
    if (rc == KOS_OK)
        rc = wal_sync(&f->wal, ret_error);
    if (rc == KOS_OK && renameat(dir, f->aside, dir, f->name) != 0)
        rc = kos_fail(ret_error, file_error(errno), "%s cannot be renamed: %s", f->aside, strerror(errno));
    return rc;
}

static void file_fini(struct file *f, int dir, bool keep)
{
    wal_close(&f->wal);
    free(f->out.data);
    if (!keep && f->aside[0])
        unlinkat(dir, f->aside, 0);
}

static int32_t write_items(struct collection *c, struct file *f, struct kos_error *ret_error)
{
    int32_t rc = KOS_OK;
    for (uint32_t node = 0; rc == KOS_OK && node < graph_count(c->graph); node++) {
        const struct entry *e = c->nodes[node];
        struct given item = { 0 };
        if (e) {
            item = (struct given){ .id = entry_id(e), .metadata = entry_metadata(e), .version = e->version };
            memcpy(item.digest, e->digest, sizeof item.digest);
        }
        wal_put(&f->out, e ? RECORD_PUT : RECORD_DEAD, &item, graph_point(c->graph, node), c->space.dimension);
        rc = atomic_load(&c->hnsw->halt) ? KOS_E_CANCELLED : file_flush(f, CHUNK, ret_error);
    }
    for (struct entry *e = c->table.by_id, *next; rc == KOS_OK && e; e = next) {
        next = e->hh.next;
        if (e->flags & 1) {
            struct given item = { .id = entry_id(e), .metadata = entry_metadata(e), .version = e->version, .flags = 1 };
            memcpy(item.digest, e->digest, sizeof item.digest);
            wal_put(&f->out, RECORD_PUT, &item, NULL, 0);
            rc = atomic_load(&c->hnsw->halt) ? KOS_E_CANCELLED : file_flush(f, CHUNK, ret_error);
        }
    }
    return rc;
}

static int32_t write_links(struct collection *c, struct file *f, struct kos_error *ret_error)
{
    uint32_t head[LINKS_HEAD] = { graph_count(c->graph), 0, 0, c->space.m };
    int32_t rc = KOS_OK;
    head[1] = (uint32_t)graph_top(c->graph, &head[2]);
    out_put(&f->out, head, sizeof head);
    for (uint32_t node = 0; rc == KOS_OK && node < head[0]; node++) {
        size_t words = graph_links(c->graph, node, NULL, 0);
        uint32_t *to = out_take(&f->out, words * sizeof *to);
        graph_links(c->graph, node, to, words);
        rc = file_flush(f, CHUNK, ret_error);
    }
    return rc;
}

int32_t save_base(struct collection *collection, int dir, uint64_t generation, uint64_t *ret_bytes,
                  struct kos_error *ret_error)
{
    struct collection *c = collection;
    struct file items, links;
    memset(&links, 0, sizeof links);
    links.wal.fd = -1;
    int32_t rc = file_begin(&items, dir, "base", generation, c->space.dimension, ret_error);
    if (rc == KOS_OK)
        rc = write_items(c, &items, ret_error);
    if (rc == KOS_OK)
        rc = file_begin(&links, dir, "graph", generation, c->space.dimension, ret_error);
    if (rc == KOS_OK)
        rc = write_links(c, &links, ret_error);
    if (rc == KOS_OK)
        rc = file_end(&links, dir, ret_error);
    if (rc == KOS_OK)
        rc = file_end(&items, dir, ret_error);
    if (rc == KOS_OK && fsync(dir) != 0)
        rc = kos_fail(ret_error, file_error(errno), "its directory cannot be synced: %s", strerror(errno));
    *ret_bytes = items.wal.length + links.wal.length;
    file_fini(&links, dir, rc == KOS_OK);
    file_fini(&items, dir, rc == KOS_OK);
    return rc;
}

/* ---- when ---- */

static void remove_older(struct collection *c)
{
    static const char *const kinds[] = { "base", "graph", "log" };
    char name[FILE_NAME];
    for (uint64_t g = c->generation; g-- > 0;) {
        int gone = 0;
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            snprintf(name, sizeof name, "%s.%llu", kinds[i], (unsigned long long)g);
            gone += unlinkat(c->dir, name, 0) == 0;
        }
        if (gone == 0)
            break;
    }
}

static int32_t save(struct collection *c, struct kos_error *ret_error)
{
    char name[FILE_NAME];
    struct wal next;
    uint64_t bytes;
    snprintf(name, sizeof name, "log.%llu", (unsigned long long)c->generation + 1);
    int32_t rc = wal_create(c->dir, name, c->space.dimension, &next, ret_error);
    if (rc < 0)
        return rc;
    c->older_bytes += c->wal.length;
    wal_close(&c->wal);
    c->wal = next;
    c->generation++;
    rc = save_base(c, c->dir, c->generation, &bytes, ret_error);
    if (rc < 0)
        return rc;
    remove_older(c);
    c->saves++;
    c->older_bytes = 0;
    c->save_at = bytes / 4 > c->hnsw->limits.log_bytes ? bytes / 4 : c->hnsw->limits.log_bytes;
    atomic_store(&c->log_bytes, c->wal.length);
    return KOS_OK;
}

void save_if_due(struct collection *collection, bool closing)
{
    struct collection *c = collection;
    struct kos_error why = { 0 };
    uint64_t total = c->older_bytes + c->wal.length;
    if (c->broken || total <= (closing ? c->hnsw->limits.log_bytes / 8 : c->save_at))
        return;
    int32_t rc = save(c, &why);
    if (rc < 0) {
        c->save_at = total + c->hnsw->limits.log_bytes;
        if (rc != KOS_E_CANCELLED)
            hnsw_log(c->hnsw, KOS_WARNING, "hnsw: collection %s: no base could be saved, the log goes on: %s", c->name,
                     why.text);
    }
}

/* ---- loading ---- */

struct loading {
    struct collection *c;
    float *point;
    uint32_t *words;
    size_t count, cap;
    bool closed;
};

static int32_t load_entry(struct loading *l, const struct wal_entry *e)
{
    struct collection *c = l->c;
    uint32_t node = GRAPH_NODE_NONE;
    if (e->kind == RECORD_REMOVE || (e->kind == RECORD_PUT && table_find(&c->table, e->item.id)))
        return KOS_E_CORRUPT;
    if (e->vector) {
        int32_t rc = collection_reserve(c, 1);
        node = graph_count(c->graph);
        collection_point(c, e->vector, l->point);
        rc = rc == KOS_OK ? graph_place(c->graph, l->point) : rc;
        if (rc < 0 || e->kind == RECORD_DEAD)
            return rc;
    }
    struct entry *entry = entry_new(&e->item);
    entry->node = node;
    if (e->vector)
        c->nodes[node] = entry;
    table_add(&c->table, entry);
    order_add(&c->order, entry);
    *(entry->flags & 1 ? &c->tombstones : &c->live) += 1;
    return collection_memory(c, entry_bytes(entry), 0);
}

static int32_t load_items(void *arg, struct kos_bytes payload, struct kos_error *ret_error)
{
    struct loading *l = arg;
    struct wal_entry e;
    int32_t rc = l->closed ? KOS_E_CORRUPT : 1;
    l->closed = payload.len == 0;
    while (rc == 1 && (rc = wal_next(&payload, l->c->space.dimension, &e)) == 1) {
        int32_t taken = load_entry(l, &e);
        rc = taken < 0 ? taken : 1;
    }
    if (rc >= 0 && atomic_load(&l->c->hnsw->halt))
        rc = KOS_E_CANCELLED;
    return rc < 0 ? kos_fail(ret_error, rc, "%s", rc == KOS_E_LIMIT ? "it needs more memory than the setting allows"
                                                                     : kos_error_text(rc))
                  : KOS_OK;
}

static int32_t load_words(void *arg, struct kos_bytes payload, struct kos_error *ret_error)
{
    struct loading *l = arg;
    size_t more = payload.len / sizeof *l->words;
    if (l->closed || payload.len % sizeof *l->words)
        return kos_fail(ret_error, KOS_E_CORRUPT, "%s", kos_error_text(KOS_E_CORRUPT));
    l->closed = payload.len == 0;
    if (l->count + more > l->cap) {
        l->cap = 2 * l->cap > l->count + more ? 2 * l->cap : l->count + more;
        uint32_t *words = realloc(l->words, l->cap * sizeof *words);
        if (!words)
            return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the links");
        l->words = words;
    }
    if (more)
        memcpy(l->words + l->count, payload.data, payload.len);
    l->count += more;
    return KOS_OK;
}

static int32_t load_links(struct loading *l, const char *name, struct kos_error *ret_error)
{
    struct collection *c = l->c;
    struct wal wal;
    uint64_t cut;
    l->closed = false;
    int32_t rc = wal_open(c->dir, name, c->space.dimension, false, &(const struct wal_reader){ load_words, l }, &wal,
                          &cut, ret_error);
    if (rc < 0)
        return rc;
    wal_close(&wal);
    bool fits = l->closed && l->count >= LINKS_HEAD && l->words[0] == graph_count(c->graph) && l->words[3] == c->space.m;
    rc = fits ? graph_restore(c->graph, (int32_t)l->words[1], l->words[2], l->words + LINKS_HEAD, l->count - LINKS_HEAD)
              : KOS_E_CORRUPT;
    return rc < 0 ? kos_fail(ret_error, rc, "%s: its links do not fit the items", name) : KOS_OK;
}

int32_t load_base(struct collection *collection, uint64_t generation, struct kos_error *ret_error)
{
    struct collection *c = collection;
    struct loading l = { .c = c, .point = malloc((c->space.dimension + 1) * sizeof(float)) };
    struct kos_error why = { 0 };
    struct wal wal;
    uint64_t cut;
    char name[FILE_NAME];
    snprintf(name, sizeof name, "base.%llu", (unsigned long long)generation);
    int32_t rc = l.point ? wal_open(c->dir, name, c->space.dimension, false,
                                    &(const struct wal_reader){ load_items, &l }, &wal, &cut, ret_error)
                         : KOS_E_NOMEM;
    if (rc == KOS_OK) {
        uint64_t bytes = wal.length;
        wal_close(&wal);
        c->save_at = bytes / 4 > c->hnsw->limits.log_bytes ? bytes / 4 : c->hnsw->limits.log_bytes;
        if (!l.closed)
            rc = kos_fail(ret_error, KOS_E_CORRUPT, "%s: it ends too early", name);
    }
    if (rc == KOS_OK) {
        snprintf(name, sizeof name, "graph.%llu", (unsigned long long)generation);
        if (load_links(&l, name, &why) < 0) {
            hnsw_log(c->hnsw, KOS_WARNING, "hnsw: collection %s: %s: the graph is made again from the items", c->name,
                     why.text);
            rc = rebuild_now(c);
            if (rc < 0 && rc != KOS_E_CANCELLED)
                kos_fail(ret_error, rc, "the graph cannot be made again: %s", kos_error_text(rc));
        }
    }
    free(l.words);
    free(l.point);
    return rc;
}
