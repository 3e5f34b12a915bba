/* SPDX-License-Identifier: Apache-2.0
 *
 * A vector backend: every collection an array in memory, every query a look at each item. Exact, slow and forgetful; a
 * yardstick for backends that are clever and durable. Links one library of its own (libcrypto, for fingerprints).
 */
#include <math.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <kos/plugin.h>
#include <kos/vector.h>

enum { COLLECTIONS_MAX = 16, ID_MAX = 128, METADATA_MAX = 16 << 10, DIMENSION_MAX = 65536 };

struct item {
    uint8_t *id, *metadata;
    size_t id_len, metadata_len;
    uint64_t version;
    uint32_t flags;
    uint8_t digest[32];
    float *vector;
};
struct collection {
    char name[128];             /* "": free */
    uint64_t id;                /* 0: closed */
    struct kos_space space;
    struct item *items;         /* in the order of digests, as scans want it */
    size_t count, cap;
};
struct brute {
    const struct kos_host *host;
    uint32_t items_max;
    struct collection collections[COLLECTIONS_MAX];
};
struct out {
    uint8_t *data;
    size_t len, cap;
};

static void put(struct out *o, const void *data, size_t len)
{
    if (o->len + len > o->cap) {
        o->cap = 2 * (o->len + len);
        o->data = (uint8_t *)realloc(o->data, o->cap);
        if (!o->data)
            abort();
    }
    if (len)
        memcpy(o->data + o->len, data, len);
    o->len += len;
}

static void put_run(struct out *o, const void *data, size_t len)
{
    uint32_t n = (uint32_t)len;
    put(o, &n, sizeof n);
    put(o, data, len);
}

static void complete(struct brute *b, uint64_t op, int32_t status, struct out *o)
{
    b->host->complete(b->host, op, status, o && status >= 0 ? kos_bytes(o->data, o->len) : kos_bytes(NULL, 0));
    if (o)
        free(o->data);
}

static struct collection *collection_of(struct brute *b, uint64_t id)
{
    for (size_t i = 0; i < COLLECTIONS_MAX; i++)
        if (id && b->collections[i].id == id)
            return &b->collections[i];
    return NULL;
}

static struct item *item_of(struct collection *c, struct kos_bytes id)
{
    for (size_t i = 0; i < c->count; i++)
        if (kos_bytes_eq(kos_bytes(c->items[i].id, c->items[i].id_len), id))
            return &c->items[i];
    return NULL;
}

static void item_fini(struct item *i)
{
    free(i->id);
    free(i->metadata);
    free(i->vector);
}

static void forget(struct collection *c)
{
    for (size_t i = 0; i < c->count; i++)
        item_fini(&c->items[i]);
    free(c->items);
    memset(c, 0, sizeof *c);
}

/* ---- collections ---- */

static bool same_space(const struct kos_space *a, const struct kos_space *b)
{
    return memcmp(a->model, b->model, sizeof a->model) == 0 && a->dimension == b->dimension &&
        a->metric == b->metric && a->normalised == b->normalised;
}

static struct collection *named(struct brute *b, const char *name)
{
    for (size_t i = 0; i < COLLECTIONS_MAX; i++)
        if (b->collections[i].name[0] && strcmp(b->collections[i].name, name) == 0)
            return &b->collections[i];
    for (size_t i = 0; i < COLLECTIONS_MAX; i++)
        if (!b->collections[i].name[0])
            return &b->collections[i];
    return NULL;
}

static void open_collection(void *self, uint64_t op, uint64_t id, const char *name, const struct kos_space *space)
{
    struct brute *b = self;
    struct out o = { 0 };
    struct collection *c = named(b, name);
    int32_t status = KOS_OK;
    if (space->metric < KOS_METRIC_L2 || space->metric > KOS_METRIC_COSINE)
        status = KOS_E_UNSUPPORTED;
    else if (!c)
        status = KOS_E_LIMIT;
    else if (space->dimension == 0 || space->dimension > DIMENSION_MAX || !*name || strlen(name) >= sizeof c->name)
        status = KOS_E_INVALID;
    else if (c->name[0] && (c->id || !same_space(&c->space, space)))
        status = KOS_E_STATE;
    if (status < 0) {
        complete(b, op, status, NULL);
        return;
    }
    if (!c->name[0]) {
        snprintf(c->name, sizeof c->name, "%s", name);
        c->space = *space;
    }
    c->id = id;
    uint64_t count = c->count;
    put(&o, &count, sizeof count);
    complete(b, op, KOS_OK, &o);
}

/* Its items stay for who opens it again, as long as this instance lives. */
static void close_collection(void *self, uint64_t op, uint64_t id)
{
    struct brute *b = self;
    struct collection *c = collection_of(b, id);
    if (c)
        c->id = 0;
    complete(b, op, c ? KOS_OK : KOS_E_NOTFOUND, NULL);
}

static void drop_collection(void *self, uint64_t op, uint64_t id)
{
    struct brute *b = self;
    struct collection *c = collection_of(b, id);
    if (c)
        forget(c);
    complete(b, op, c ? KOS_OK : KOS_E_NOTFOUND, NULL);
}

/* ---- items ---- */

static bool acceptable(const struct collection *c, const struct kos_item *i)
{
    return i->id.len > 0 && i->id.len <= ID_MAX && i->metadata.len <= METADATA_MAX && (i->flags & 1 || i->vector) &&
        c->space.dimension > 0;
}

static void *copy(const void *data, size_t len)
{
    void *to = malloc(len + 1);
    if (!to)
        abort();
    if (len)
        memcpy(to, data, len);
    return to;
}

static bool take(struct collection *c, const struct kos_item *from)
{
    struct item *old = item_of(c, from->id), made;
    if (old && old->version >= from->version)
        return false;
    if (old) {
        size_t at = (size_t)(old - c->items);
        item_fini(old);
        memmove(old, old + 1, (--c->count - at) * sizeof *old);
    }
    if (c->count == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 64;
        c->items = (struct item *)realloc(c->items, c->cap * sizeof *c->items);
        if (!c->items)
            abort();
    }
    memset(&made, 0, sizeof made);
    made.id = (uint8_t *)copy(from->id.data, from->id.len);
    made.id_len = from->id.len;
    made.version = from->version;
    made.flags = from->flags & 1;
    made.metadata = (uint8_t *)copy(from->metadata.data, from->metadata.len);
    made.metadata_len = from->metadata.len;
    memcpy(made.digest, from->digest, sizeof made.digest);
    if (!(from->flags & 1))
        made.vector = (float *)copy(from->vector, c->space.dimension * sizeof(float));
    size_t at = 0;
    while (at < c->count && memcmp(c->items[at].digest, made.digest, sizeof made.digest) < 0)
        at++;
    memmove(&c->items[at + 1], &c->items[at], (c->count++ - at) * sizeof *c->items);
    c->items[at] = made;
    return true;
}

static void upsert(void *self, uint64_t op, uint64_t id, const struct kos_item *const *items, uint32_t count)
{
    struct brute *b = self;
    struct collection *c = collection_of(b, id);
    struct out o = { 0 };
    uint32_t taken = 0;
    int32_t status = !c ? KOS_E_NOTFOUND : c->count + count > b->items_max ? KOS_E_LIMIT : KOS_OK;
    for (uint32_t i = 0; status >= 0 && i < count; i++)
        status = acceptable(c, items[i]) ? KOS_OK : KOS_E_INVALID;
    for (uint32_t i = 0; status >= 0 && i < count; i++)
        taken += take(c, items[i]);
    put(&o, &taken, sizeof taken);
    complete(b, op, status, &o);
}

static void put_item(struct out *o, const struct collection *c, const struct item *i)
{
    struct out value = { 0 };
    put(&value, &i->version, sizeof i->version);
    put(&value, &i->flags, sizeof i->flags);
    put(&value, i->digest, sizeof i->digest);
    if (i->vector)
        put(&value, i->vector, c->space.dimension * sizeof(float));
    put(&value, i->metadata, i->metadata_len);
    put_run(o, i->id, i->id_len);
    put_run(o, value.data, value.len);
    free(value.data);
}

static void get(void *self, uint64_t op, uint64_t id, struct kos_bytes item_id)
{
    struct brute *b = self;
    struct collection *c = collection_of(b, id);
    struct item *i = c ? item_of(c, item_id) : NULL;
    struct out o = { 0 };
    if (i)
        put_item(&o, c, i);
    complete(b, op, i ? KOS_OK : KOS_E_NOTFOUND, &o);
}

static void remove_item(void *self, uint64_t op, uint64_t id, struct kos_bytes item_id, uint64_t version)
{
    struct brute *b = self;
    struct collection *c = collection_of(b, id);
    struct item *i = c ? item_of(c, item_id) : NULL;
    bool gone = i && version > i->version;
    if (gone) {
        size_t at = (size_t)(i - c->items);
        item_fini(i);
        memmove(i, i + 1, (--c->count - at) * sizeof *i);
    }
    complete(b, op, gone ? KOS_OK : i ? KOS_E_STALE : KOS_E_NOTFOUND, NULL);
}

/* ---- queries ---- */

/* Steps through the members of a canonical object: no white space, so a member is what lies between two commas of the
 * outermost level. */
static bool next_member(struct kos_bytes *rest, struct kos_bytes *ret_member)
{
    size_t n = 1, depth = 0;
    bool text = false;
    if (rest->len < 3)
        return false;
    for (; n < rest->len; n++) {
        uint8_t at = rest->data[n];
        if (text && at == '\\')
            n++;
        else if (at == '"')
            text = !text;
        else if (!text && depth == 0 && (at == ',' || at == '}'))
            break;
        else if (!text)
            depth = depth + (at == '{' || at == '[') - (at == '}' || at == ']');
    }
    *ret_member = kos_bytes(rest->data + 1, (n < rest->len ? n : rest->len) - 1);
    *rest = n < rest->len ? kos_bytes(rest->data + n, rest->len - n) : kos_bytes(NULL, 0);
    return true;
}

static bool passes(const struct item *i, struct kos_bytes filter)
{
    struct kos_bytes wanted, had;
    while (next_member(&filter, &wanted)) {
        struct kos_bytes rest = kos_bytes(i->metadata, i->metadata_len);
        bool found = false;
        while (!found && next_member(&rest, &had))
            found = kos_bytes_eq(wanted, had);
        if (!found)
            return false;
    }
    return true;
}

static float distance(const struct kos_space *space, const float *a, const float *b)
{
    double l2 = 0, dot = 0, aa = 0, bb = 0;
    for (uint32_t i = 0; i < space->dimension; i++) {
        l2 += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        dot += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    if (space->metric == KOS_METRIC_L2)
        return (float)l2;
    if (space->metric == KOS_METRIC_IP)
        return (float)-dot;
    return aa > 0 && bb > 0 ? (float)(1 - dot / sqrt(aa * bb)) : 1;
}

struct near {
    const struct item *item;
    float distance;
};

static int nearer(const void *a, const void *b)
{
    float x = ((const struct near *)a)->distance, y = ((const struct near *)b)->distance;
    return (x > y) - (x < y);
}

static void query(void *self, uint64_t op, uint64_t id, const struct kos_query *q)
{
    struct brute *b = self;
    struct collection *c = collection_of(b, id);
    struct near *all = c ? (struct near *)malloc((c->count + 1) * sizeof *all) : NULL;
    struct out o = { 0 };
    size_t count = 0;
    for (size_t i = 0; all && i < c->count; i++)
        if (c->items[i].vector && passes(&c->items[i], q->filter)) {
            all[count].item = &c->items[i];
            all[count++].distance = distance(&c->space, q->vector, c->items[i].vector);
        }
    if (count)
        qsort(all, count, sizeof *all, nearer);
    for (size_t i = 0; i < count && i < q->k; i++) {
        struct out value = { 0 };
        put(&value, &all[i].distance, sizeof all[i].distance);
        put(&value, all[i].item->metadata, all[i].item->metadata_len);
        put_run(&o, all[i].item->id, all[i].item->id_len);
        put_run(&o, value.data, value.len);
        free(value.data);
    }
    complete(b, op, !c ? KOS_E_NOTFOUND : all ? KOS_OK : KOS_E_NOMEM, &o);
    free(all);
}

static bool within(const struct item *i, const uint8_t from[32], const uint8_t to[32])
{
    return memcmp(i->digest, from, 32) >= 0 && memcmp(i->digest, to, 32) < 0;
}

static void scan(void *self, uint64_t op, uint64_t id, const uint8_t from[32], const uint8_t to[32], uint32_t limit)
{
    struct brute *b = self;
    struct collection *c = collection_of(b, id);
    struct out o = { 0 };
    for (size_t i = 0; c && i < c->count && limit > 0; i++)
        if (within(&c->items[i], from, to)) {
            put_item(&o, c, &c->items[i]);
            limit--;
        }
    complete(b, op, c ? KOS_OK : KOS_E_NOTFOUND, &o);
}

static void fingerprint(void *self, uint64_t op, uint64_t id, const uint8_t from[32], const uint8_t to[32])
{
    struct brute *b = self;
    struct collection *c = collection_of(b, id);
    struct out digests = { 0 }, o = { 0 };
    uint8_t sum[32];
    uint64_t count = 0;
    for (size_t i = 0; c && i < c->count; i++)
        if (within(&c->items[i], from, to)) {
            put(&digests, c->items[i].digest, sizeof c->items[i].digest);
            count++;
        }
    SHA256(digests.data ? digests.data : (const uint8_t *)"", digests.len, sum);
    free(digests.data);
    put(&o, sum, sizeof sum);
    put(&o, &count, sizeof count);
    complete(b, op, c ? KOS_OK : KOS_E_NOTFOUND, &o);
}

static void snapshot(void *self, uint64_t op, uint64_t id, const char *directory)
{
    struct brute *b = self;
    (void)id;
    (void)directory;
    complete(b, op, KOS_E_UNSUPPORTED, NULL); /* what keeps nothing has nothing to copy */
}

static void stats(void *self, uint64_t op, uint64_t id)
{
    struct brute *b = self;
    struct collection *c = collection_of(b, id);
    struct out o = { 0 };
    char text[64] = "";
    snprintf(text, sizeof text, "{\"items\":%zu}", c ? c->count : 0);
    put(&o, text, strlen(text));
    complete(b, op, c ? KOS_OK : KOS_E_NOTFOUND, &o);
}

/* ---- life ---- */

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    struct brute *b = calloc(1, sizeof *b);
    if (!b)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the vector backend");
    b->host = host;
    b->items_max = (uint32_t)kos_conf_number(conf, "items");
    *ret_self = b;
    return KOS_OK;
}

static void start(void *self)
{
    (void)self;
}

static void stop(void *self)
{
    struct brute *b = self;
    for (size_t i = 0; i < COLLECTIONS_MAX; i++)
        forget(&b->collections[i]);
    b->host->stopped(b->host);
}

static const struct kos_vector
    vector = { sizeof vector, open_collection, close_collection, upsert, get, remove_item, query, scan, fingerprint,
               snapshot,      stats,           drop_collection };
static const struct kos_setting items_setting = {
    .size = sizeof items_setting,
    .type = KOS_SETTING_INT,
    .name = "items",
    .summary = "items a collection may hold",
    .fallback = "100000",
    .min = 1,
    .max = 10000000,
};
static const struct kos_setting *const settings[] = { &items_setting, NULL };
static const struct kos_feature feature = { sizeof feature, KOS_VECTOR, &vector };
static const struct kos_feature *const features[] = { &feature, NULL };

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.example.brute",
    .name = "brute",
    .version = "1.0.0",
    .summary = "vectors in memory, looked at one by one",
    .settings = settings,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = free,
};
