/* SPDX-License-Identifier: Apache-2.0
 * Mutants of the vector backend that looks at each item. */
#define ORIGINAL "../../examples/vector_brute.c"
#include "mutant.h"

static uint64_t under_way;      /* the operation that is completed next, and of what sort it is */
static const char *sort;
static bool filtered;

static uint32_t flags_of(struct kos_bytes pair)
{
    struct kos_bytes key, value;
    uint32_t flags = 0;
    if (kos_pair_next(&pair, &key, &value) == 1 && value.len >= 12)
        memcpy(&flags, value.data + 8, sizeof flags);
    return flags;
}

static uint8_t tombstone[512];  /* as a query would give it */
static size_t tombstone_len;

/* Alters the result of an operation of this sort. */
static void m_complete(const struct kos_host *host, uint64_t op, int32_t status, struct kos_bytes result)
{
    const struct kos_host *real = of_host(host)->real;
    uint8_t *copy = malloc(result.len + sizeof tombstone);
    size_t len = result.len;
    const char *now = op == under_way ? sort : "";
    if (!copy)
        abort();
    if (len)
        memcpy(copy, result.data, len);
    if (is(now) && status >= 0) {
        if (strcmp(now, "open") == 0)
            copy[0] += 3;
        else if (strcmp(now, "upsert") == 0)
            copy[0] = 0;
        else if ((strcmp(now, "get") == 0 || strcmp(now, "fingerprint") == 0 || strcmp(now, "scan") == 0) && len > 20)
            copy[len - 1] ^= 1;
        else if (strcmp(now, "query") == 0 && !filtered)
            len = 0;
        else if (strcmp(now, "stats") == 0)
            len = (size_t)sprintf((char *)copy, "{ }");
    } else if (is("hidden") && strcmp(now, "query") == 0 && status >= 0) {
        memcpy(copy + len, tombstone, tombstone_len);
        len += tombstone_len;
    } else if (is("distance") && strcmp(now, "query") == 0 && len > 4) {
        uint32_t key;
        memcpy(&key, copy, sizeof key);
        copy[4 + key + 4 + 3] ^= 1;
    } else if (is("tombstone") && strcmp(now, "get") == 0 && flags_of(result) & 1) {
        status = KOS_E_NOTFOUND;
    } else if (is("remove") && status == KOS_E_STALE) {
        status = KOS_OK;
    } else if (is("space") && status == KOS_E_STATE) {
        status = KOS_E_EXISTS;
    }
    if (!(is("never") && strcmp(now, "upsert") == 0))
        real->complete(real, op, status, kos_bytes(copy, len));
    if (is("twice") && strcmp(now, "get") == 0)
        real->complete(real, op, status, kos_bytes(copy, len));
    free(copy);
}

static void begins(uint64_t op, const char *what)
{
    under_way = op;
    sort = what;
}

static void m_open(void *self, uint64_t op, uint64_t id, const char *name, const struct kos_space *space)
{
    begins(op, "open");
    open_collection(self, op, id, name, space);
}

static void m_upsert(void *self, uint64_t op, uint64_t id, const struct kos_item *const *items, uint32_t count)
{
    struct kos_item given[64];
    const struct kos_item *list[64];
    begins(op, "upsert");
    for (uint32_t i = 0; i < count; i++) {
        struct item *old = collection_of(self, id) ? item_of(collection_of(self, id), items[i]->id) : NULL;
        given[i] = *items[i];
        list[i] = &given[i];
        if (is("version") && old)
            given[i].version = old->version + 1;
        if (given[i].flags & 1 && given[i].id.len + given[i].metadata.len < 400) {
            uint32_t n = (uint32_t)given[i].id.len, m = (uint32_t)given[i].metadata.len + 4;
            memcpy(tombstone, &n, 4);
            memcpy(tombstone + 4, given[i].id.data, n);
            memcpy(tombstone + 4 + n, &m, 4);
            memset(tombstone + 8 + n, 0, 4);
            memcpy(tombstone + 12 + n, given[i].metadata.data, m - 4);
            tombstone_len = 8 + n + m;
        }
    }
    upsert(self, op, id, list, count);
}

static void m_get(void *self, uint64_t op, uint64_t id, struct kos_bytes item)
{
    begins(op, "get");
    get(self, op, id, item);
}

static void m_query(void *self, uint64_t op, uint64_t id, const struct kos_query *query_)
{
    struct kos_query q = *query_;
    begins(op, "query");
    filtered = query_->filter.len > 0;
    if (is("filter"))
        q.filter = kos_bytes(NULL, 0);
    query(self, op, id, &q);
}

static void m_scan(void *self, uint64_t op, uint64_t id, const uint8_t from[32], const uint8_t to[32], uint32_t limit)
{
    begins(op, "scan");
    scan(self, op, id, from, to, is("limit") ? limit + 1 : limit);
}

static void m_fingerprint(void *self, uint64_t op, uint64_t id, const uint8_t from[32], const uint8_t to[32])
{
    begins(op, "fingerprint");
    fingerprint(self, op, id, from, to);
}

static void m_snapshot(void *self, uint64_t op, uint64_t id, const char *directory)
{
    struct layer *l = of_self(self);
    begins(op, "snapshot");
    if (is("snapshot"))
        l->real->complete(l->real, op, KOS_OK, kos_bytes(NULL, 0));
    else
        snapshot(self, op, id, directory);
}

static void m_stats(void *self, uint64_t op, uint64_t id)
{
    begins(op, "stats");
    stats(self, op, id);
}

static void m_drop(void *self, uint64_t op, uint64_t id)
{
    begins(op, "drop");
    if (is("drop"))
        close_collection(self, op, id);
    else
        drop_collection(self, op, id);
}

static struct kos_vector m_vector;
static struct kos_feature m_feature = { sizeof m_feature, KOS_VECTOR, &m_vector };
static const struct kos_feature *const m_features[] = { &m_feature, NULL };

static void mutate(void)
{
    m_vector = vector;
    m_vector.open = m_open;
    m_vector.upsert = m_upsert;
    m_vector.get = m_get;
    m_vector.query = m_query;
    m_vector.scan = m_scan;
    m_vector.fingerprint = m_fingerprint;
    m_vector.snapshot = m_snapshot;
    m_vector.stats = m_stats;
    m_vector.drop = m_drop;
    mutant.features = m_features;
}

static void mutate_host(struct layer *layer)
{
    layer->host.complete = m_complete;
}
