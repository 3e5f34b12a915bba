/* SPDX-License-Identifier: Apache-2.0
 * Vector backends against the model: the same operations on both, results compared to the byte where they are exact. */
#include <klp/json.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conform.h"
#include "model.h"

static const uint8_t low[32], high[32] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                           0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                           0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

/* ---- operations ---- */

static const struct op *open_as(struct host *h, uint64_t collection, const char *name, const struct kos_space *space)
{
    uint64_t op = op_new(h, "open");
    h->backend->ops->vector_open(h->backend, op, collection, name, space);
    return op_wait(h, op);
}

static void open_ok(struct host *h, uint64_t collection, const char *name, const struct kos_space *space,
                    uint64_t expected)
{
    const struct op *op = open_as(h, collection, name, space);
    uint64_t count = 0;
    if (!op)
        return;
    if (op->status == KOS_E_UNSUPPORTED)
        skip(h->c, "it has no collections of metric %d", (int)space->metric);
    if (op->status < 0 || op->len != sizeof count)
        broke(h->c, RULE_VECTOR_OPEN, "open completed with %s and %zu bytes", kos_error_name(op->status), op->len);
    memcpy(&count, op->result, sizeof count);
    if (count != expected)
        broke(h->c, RULE_VECTOR_OPEN, "open says that %llu items are there; there are %llu", (unsigned long long)count,
              (unsigned long long)expected);
}

static const struct op *close_as(struct host *h, uint64_t collection)
{
    uint64_t op = op_new(h, "close");
    h->backend->ops->vector_close(h->backend, op, collection);
    return op_wait(h, op);
}

static uint64_t upsert_begin(struct host *h, uint64_t collection, const struct model *model,
                             const struct model_item *items, uint32_t count)
{
    struct kos_item given[64];
    const struct kos_item *list[64];
    uint64_t op = op_new(h, "upsert");
    for (uint32_t i = 0; i < count; i++) {
        given[i] = (struct kos_item){ .size = sizeof given[i],
                                      .flags = items[i].flags,
                                      .id = kos_bytes(items[i].id, items[i].id_len),
                                      .version = items[i].version,
                                      .vector = items[i].flags & 1 ? NULL : items[i].vector,
                                      .metadata = kos_bytes(items[i].metadata, items[i].metadata_len) };
        memcpy(given[i].digest, items[i].digest, 32);
        list[i] = &given[i];
    }
    h->backend->ops->vector_upsert(h->backend, op, collection, list, count, model->space.dimension);
    return op;
}

static void upsert_ok(struct host *h, uint64_t collection, struct model *model, const struct model_item *items,
                      uint32_t count)
{
    const struct op *op = op_wait(h, upsert_begin(h, collection, model, items, count));
    uint32_t taken = 0, expected = 0;
    if (!op)
        return;
    for (uint32_t i = 0; i < count; i++)
        expected += model_upsert(model, &items[i]);
    if (op->status < 0 || op->len != sizeof taken)
        broke(h->c, RULE_VECTOR_UPSERT, "upsert of %u items completed with %s and %zu bytes", count,
              kos_error_name(op->status), op->len);
    memcpy(&taken, op->result, sizeof taken);
    if (taken != expected)
        broke(h->c, taken > expected ? RULE_VECTOR_VERSION : RULE_VECTOR_UPSERT,
              "upsert says that %u items were taken; of the %u given, %u are newer than what was there", taken, count,
              expected);
}

static const struct op *get_as(struct host *h, uint64_t collection, struct kos_bytes id)
{
    uint64_t op = op_new(h, "get");
    h->backend->ops->vector_get(h->backend, op, collection, id);
    return op_wait(h, op);
}

static void get_ok(struct host *h, uint64_t collection, const struct model *model, const struct model_item *item)
{
    const struct op *op = get_as(h, collection, kos_bytes(item->id, item->id_len));
    struct kos_buf out;
    if (!op)
        return;
    if (op->status < 0)
        broke(h->c, item->flags & 1 ? RULE_VECTOR_TOMBSTONE : RULE_VECTOR_GET,
              "get of %s that is there completed with %s",
              item->flags & 1 ? "a tombstone" : "an item", kos_error_name(op->status));
    kos_buf_init(&out, 1 << 20);
    model_put_item(model, item, &out);
    if (!kos_bytes_eq(kos_buf_bytes(&out), kos_bytes(op->result, op->len))) {
        struct kos_bytes rest = kos_bytes(op->result, op->len), key, value;
        uint64_t version = 0;
        if (kos_pair_next(&rest, &key, &value) == 1 && value.len >= 8)
            memcpy(&version, value.data, 8);
        broke(h->c, version != item->version ? RULE_VECTOR_VERSION : RULE_VECTOR_GET,
              "get gave %zu bytes and version %llu, not the %zu bytes of version %llu that were stored", op->len,
              (unsigned long long)version, out.len, (unsigned long long)item->version);
    }
    kos_buf_fini(&out);
}

static int32_t remove_as(struct host *h, uint64_t collection, struct kos_bytes id, uint64_t version)
{
    uint64_t op = op_new(h, "remove");
    h->backend->ops->vector_remove(h->backend, op, collection, id, version);
    const struct op *done = op_wait(h, op);
    return done ? done->status : KOS_E_CANCELLED;
}

static void scan_ok(struct host *h, uint64_t collection, const struct model *model, const uint8_t from[32],
                    const uint8_t to[32], uint32_t limit)
{
    uint64_t op = op_new(h, "scan");
    struct kos_buf out;
    h->backend->ops->vector_scan(h->backend, op, collection, from, to, limit);
    const struct op *done = op_wait(h, op);
    if (!done)
        return;
    kos_buf_init(&out, 8 << 20);
    model_scan(model, from, to, limit, &out);
    if (done->status < 0 || !kos_bytes_eq(kos_buf_bytes(&out), kos_bytes(done->result, done->len)))
        broke(h->c, RULE_VECTOR_SCAN,
              "scan with limit %u completed with %s and %zu bytes that are not the %zu expected",
              limit, kos_error_name(done->status), done->len, out.len);
    kos_buf_fini(&out);
}

static void fingerprint_ok(struct host *h, uint64_t collection, const struct model *model, const uint8_t from[32],
                           const uint8_t to[32])
{
    uint64_t op = op_new(h, "fingerprint");
    uint8_t expected[40];
    h->backend->ops->vector_fingerprint(h->backend, op, collection, from, to);
    const struct op *done = op_wait(h, op);
    if (!done)
        return;
    model_fingerprint(model, from, to, expected);
    if (done->status < 0 || done->len != sizeof expected || memcmp(done->result, expected, sizeof expected) != 0)
        broke(h->c, RULE_VECTOR_FINGERPRINT,
              "fingerprint completed with %s and %zu bytes that are not those of the %zu "
              "items there", kos_error_name(done->status), done->len, model->count);
}

/* ---- queries ---- */

static bool near_enough(float a, float b)
{
    return fabsf(a - b) <= 1e-3f * (1 + fabsf(a) + fabsf(b));
}

/* Judges one result; returns how many of the truly nearest are in it. */
static void judge_query(struct host *h, struct model *model, const float *vector, uint32_t k, const char *filter,
                        const struct op *op)
{
    struct kos_bytes rest = kos_bytes(op->result, op->len), key, value;
    float last = -INFINITY, distance, worst;
    uint32_t count = 0, live = 0, hits = 0;
    int32_t step;
    float all[MODEL_ITEMS];
    for (size_t i = 0; i < model->count; i++)
        if (!(model->items[i].flags & 1) && model_passes(&model->items[i], filter)) {
            float d = model_distance(model, vector, model->items[i].vector);
            uint32_t at = live++;
            for (; at > 0 && all[at - 1] > d; at--)
                all[at] = all[at - 1];
            all[at] = d;
        }
    uint32_t expected = k < live ? k : live;
    worst = expected ? all[expected - 1] : 0;
    while ((step = kos_pair_next(&rest, &key, &value)) == 1) {
        const struct model_item *item = model_find(model, key);
        if (item && item->flags & 1)
            broke(h->c, RULE_VECTOR_HIDDEN, "query found a tombstone");
        if (!item || value.len != sizeof distance + item->metadata_len ||
            memcmp(value.data + sizeof distance, item->metadata, item->metadata_len) != 0)
            broke(h->c, RULE_VECTOR_QUERY, "query gave an item that is not there, or not its metadata");
        if (!model_passes(item, filter))
            broke(h->c, RULE_VECTOR_FILTER, "query with the filter %s found an item with the metadata %.*s", filter,
                  (int)item->metadata_len, (const char *)item->metadata);
        memcpy(&distance, value.data, sizeof distance);
        if (!near_enough(distance, model_distance(model, vector, item->vector)))
            broke(h->c, RULE_VECTOR_DISTANCE, "query says a distance of %g; it is %g", (double)distance,
                  (double)model_distance(model, vector, item->vector));
        if (distance < last && !near_enough(distance, last))
            broke(h->c, RULE_VECTOR_QUERY, "query gave a distance of %g behind one of %g", (double)distance,
                  (double)last);
        last = distance;
        count++;
        hits += distance <= worst || near_enough(distance, worst);
    }
    if (step < 0 || count > k)
        broke(h->c, RULE_VECTOR_QUERY, "query gave %u pairs for a k of %u%s", count, k,
              step < 0 ? ", and bytes behind" : "");
    /* Backends may be approximate; one that misses a tenth of so few is broken. */
    if (hits * 10 < expected * 9)
        broke(h->c, *filter ? RULE_VECTOR_FILTER : RULE_VECTOR_QUERY, "query gave %u of the %u nearest items", hits,
              expected);
}

static void query_ok(struct host *h, uint64_t collection, struct model *model, uint32_t k, const char *filter)
{
    float vector[MODEL_DIMENSION];
    struct kos_query q = { .size = sizeof q, .k = k, .vector = vector, .filter = kos_bytes_str(filter) };
    uint64_t op = op_new(h, "query");
    for (uint32_t i = 0; i < model->space.dimension; i++)
        vector[i] = (float)((double)draw(h->c, 2000) / 1000 - 1);
    h->backend->ops->vector_query(h->backend, op, collection, &q, model->space.dimension);
    const struct op *done = op_wait(h, op);
    if (!done)
        return;
    if (done->status < 0)
        broke(h->c, RULE_VECTOR_QUERY, "query for %u items with the filter \"%s\" completed with %s", k, filter,
              kos_error_name(done->status));
    judge_query(h, model, vector, k, filter, done);
}

/* ---- random work ---- */

static void make_item(struct conform *c, const struct model *model, uint32_t number, struct model_item *ret_item)
{
    double length = 0;
    memset(ret_item, 0, sizeof *ret_item);
    ret_item->flags = draw(c, 6) == 0;
    ret_item->version = 1 + draw(c, 5);
    /* Ids are bytes: of every length, with zeros in them. */
    ret_item->id_len = 4 + number % 60;
    memcpy(ret_item->id, &number, sizeof number);
    for (size_t i = 0; i < 32; i++)
        ret_item->digest[i] = (uint8_t)draw(c, 256);
    ret_item->metadata_len = (size_t)snprintf((char *)ret_item->metadata, MODEL_METADATA,
                                              "{\"colour\":\"%s\",\"n\":%u}", number % 3 ? "red" : "blue", number % 5);
    for (uint32_t i = 0; i < model->space.dimension && !(ret_item->flags & 1); i++) {
        ret_item->vector[i] = (float)((double)draw(c, 2000) / 1000 - 1);
        length += (double)ret_item->vector[i] * ret_item->vector[i];
    }
    for (uint32_t i = 0; i < model->space.dimension && model->space.normalised && length > 0; i++)
        ret_item->vector[i] = (float)(ret_item->vector[i] / sqrt(length));
}

static struct model *model_new(int32_t metric, int32_t normalised)
{
    struct model *model = kos_new(sizeof *model);
    model->space = (struct kos_space){ .size = sizeof model->space, .dimension = 8, .metric = metric,
                                       .normalised = normalised };
    memset(model->space.model, 0x44, sizeof model->space.model);
    return model;
}

static void work(struct host *h, uint64_t collection, struct model *model, int steps, uint32_t ids)
{
    static const char *const filters[] = { "", "", "{\"colour\":\"blue\"}", "{\"n\":3}", "{\"n\":77}" };
    struct conform *c = h->c;
    struct model_item items[32];
    for (int i = 0; i < steps && living(h); i++) {
        uint32_t count = 1 + (uint32_t)draw(c, 32);
        struct model_item *item;
        uint8_t from[32] = { (uint8_t)draw(c, 256) }, to[32] = { (uint8_t)draw(c, 256) };
        switch (draw(c, 8)) {
        case 0: case 1: case 2:
            for (uint32_t k = 0; k < count; k++)
                make_item(c, model, (uint32_t)draw(c, ids), &items[k]);
            upsert_ok(h, collection, model, items, count);
            break;
        case 3:
            if (model->count) {
                item = &model->items[draw(c, model->count)];
                uint64_t version = item->version + draw(c, 2);
                int32_t rc = remove_as(h, collection, kos_bytes(item->id, item->id_len), version);
                if (living(h) && rc != (version > item->version ? KOS_OK : KOS_E_STALE))
                    broke(c, RULE_VECTOR_REMOVE,
                          "remove with version %llu of an item of version %llu completed with %s",
                          (unsigned long long)version, (unsigned long long)item->version, kos_error_name(rc));
                if (version > item->version)
                    model_remove(model, item);
            }
            break;
        case 4:
            query_ok(h, collection, model, 1 + (uint32_t)draw(c, 20), filters[draw(c, 5)]);
            break;
        case 5: scan_ok(h, collection, model, from, to, 1 + (uint32_t)draw(c, 40)); break;
        case 6: fingerprint_ok(h, collection, model, from, draw(c, 2) ? high : to); break;
        default:
            if (model->count)
                get_ok(h, collection, model, &model->items[draw(c, model->count)]);
        }
    }
}

static void check_all(struct host *h, uint64_t collection, struct model *model)
{
    for (size_t i = 0; i < model->count && living(h); i++)
        get_ok(h, collection, model, &model->items[i]);
    scan_ok(h, collection, model, low, high, 100000);
    fingerprint_ok(h, collection, model, low, high);
    query_ok(h, collection, model, 10, "");
    query_ok(h, collection, model, 10000, "{\"colour\":\"red\"}");
}

void exercise_vector(struct host *h)
{
    struct model *model = model_new(KOS_METRIC_L2, 0);
    uint64_t op = op_new(h, "open");
    h->backend->ops->vector_open(h->backend, op, 5, "exercise", &model->space);
    const struct op *opened = op_wait(h, op);
    if (living(h) && opened && opened->status >= 0) {
        struct model_item items[4];
        for (uint32_t i = 0; i < 4; i++)
            make_item(h->c, model, i, &items[i]);
        op_wait(h, upsert_begin(h, 5, model, items, 4));
    }
    for (int i = 0; i < 3 && living(h); i++) {
        op = op_new(h, i == 0 ? "stats" : i == 1 ? "fingerprint" : "close");
        if (i == 0)
            h->backend->ops->vector_stats(h->backend, op, 5);
        else if (i == 1)
            h->backend->ops->vector_fingerprint(h->backend, op, 5, low, high);
        else
            h->backend->ops->vector_close(h->backend, op, 5);
        op_wait(h, op);
    }
    free(model);
}

/* ---- tests ---- */

static void test_model(struct conform *c, int32_t metric, int32_t normalised)
{
    struct host *h = host_new(c);
    struct model *model = model_new(metric, normalised);
    host_begin(h);
    open_ok(h, 1, "model", &model->space, 0);
    work(h, 1, model, 160, 120);
    check_all(h, 1, model);
    host_end(h);
    free(model);
}

static void test_l2(struct conform *c)
{
    test_model(c, KOS_METRIC_L2, 0);
}

static void test_ip(struct conform *c)
{
    test_model(c, KOS_METRIC_IP, 1);
}

static void test_cosine(struct conform *c)
{
    test_model(c, KOS_METRIC_COSINE, 0);
}

static void expect(struct host *h, enum rule rule, const char *what, const struct op *op, int32_t status)
{
    if (op && op->status != status)
        broke(h->c, rule, "%s completed with %s instead of %s", what, kos_error_name(op->status),
              kos_error_name(status));
}

static void test_spaces(struct conform *c)
{
    struct host *h = host_new(c);
    struct model *model = model_new(KOS_METRIC_L2, 0);
    struct kos_space other = model->space;
    host_begin(h);
    for (int i = 0; i < 3; i++) {
        other.metric = i == 0 ? 99 : i == 1 ? 0 : -1;
        expect(h, RULE_VECTOR_SPACE, "open with an unknown metric", open_as(h, 9, "unknown", &other),
               KOS_E_UNSUPPORTED);
    }
    open_ok(h, 1, "space", &model->space, 0);
    struct model_item item;
    make_item(c, model, 1, &item);
    upsert_ok(h, 1, model, &item, 1);
    expect(h, RULE_VECTOR_OPEN, "close", close_as(h, 1), KOS_OK);
    other = model->space;
    other.dimension = 9;
    expect(h, RULE_VECTOR_SPACE, "open with another dimension", open_as(h, 2, "space", &other), KOS_E_STATE);
    other = model->space;
    other.model[0] ^= 1;
    expect(h, RULE_VECTOR_SPACE, "open with another model", open_as(h, 3, "space", &other), KOS_E_STATE);
    open_ok(h, 4, "space", &model->space, 1);
    get_ok(h, 4, model, &item);
    /* Two beside each other do not mix. */
    open_ok(h, 5, "space2", &model->space, 0);
    const struct op *op = get_as(h, 5, kos_bytes(item.id, item.id_len));
    expect(h, RULE_VECTOR_GET, "get of an item of another collection", op, KOS_E_NOTFOUND);
    host_end(h);
    free(model);
}

static void test_drop(struct conform *c)
{
    struct host *h = host_new(c);
    struct model *model = model_new(KOS_METRIC_L2, 0);
    host_begin(h);
    open_ok(h, 1, "drop", &model->space, 0);
    work(h, 1, model, 30, 50);
    uint64_t op = op_new(h, "drop");
    h->backend->ops->vector_drop(h->backend, op, 1);
    expect(h, RULE_VECTOR_DROP, "drop", op_wait(h, op), KOS_OK);
    const struct op *again = open_as(h, 2, "drop", &model->space);
    uint64_t count = 0;
    if (again && again->len == sizeof count)
        memcpy(&count, again->result, sizeof count);
    if (!again || again->status < 0 || count != 0)
        broke(c, RULE_VECTOR_DROP, "a collection that was dropped opens with %llu items (%s)",
              (unsigned long long)count,
              kos_error_name(again ? again->status : KOS_E_INTERNAL));
    host_end(h);
    free(model);
}

/* What cannot be: refused as a whole. */
static void test_refused(struct conform *c)
{
    struct host *h = host_new(c);
    struct model *model = model_new(KOS_METRIC_L2, 0);
    struct model_item items[3];
    struct kos_item given[3];
    const struct kos_item *list[3];
    static uint8_t longer[129], blob[17 << 10];
    host_begin(h);
    open_ok(h, 1, "refused", &model->space, 0);
    memset(blob, ' ', sizeof blob);
    blob[0] = '{';
    blob[sizeof blob - 1] = '}';
    for (uint32_t i = 0; i < 3; i++) {
        make_item(c, model, i, &items[i]);
        items[i].flags = 0;
    }
    for (int bad = 0; bad < 3; bad++) {
        for (uint32_t i = 0; i < 3; i++) {
            given[i] = (struct kos_item){ .size = sizeof given[i], .id = kos_bytes(items[i].id, items[i].id_len),
                                          .version = 9, .vector = items[i].vector,
                                          .metadata = kos_bytes_str("{}") };
            list[i] = &given[i];
        }
        if (bad == 0)
            given[2].id = kos_bytes(longer, sizeof longer);
        else if (bad == 1)
            given[2].metadata = kos_bytes(blob, sizeof blob);
        else
            given[2].vector = NULL; /* and no tombstone */
        uint64_t op = op_new(h, "upsert");
        h->backend->ops->vector_upsert(h->backend, op, 1, list, 3, model->space.dimension);
        const struct op *done = op_wait(h, op);
        if (done->status >= 0)
            broke(c, RULE_VECTOR_UPSERT, "upsert took an item with %s",
                  bad == 0 ? "an id of 129 bytes" : bad == 1 ? "17 KiB of metadata" : "neither vector nor tombstone");
        if (get_as(h, 1, kos_bytes(items[0].id, items[0].id_len))->status >= 0)
            broke(c, RULE_VECTOR_UPSERT, "upsert failed with %s, but items of it are there",
                  kos_error_name(done->status));
    }
    expect(h, RULE_VECTOR_GET, "get of what is not there", get_as(h, 1, kos_bytes("x", 1)), KOS_E_NOTFOUND);
    if (remove_as(h, 1, kos_bytes("x", 1), 9) != KOS_E_NOTFOUND)
        broke(c, RULE_VECTOR_REMOVE, "remove of what is not there did not complete with not_found");
    if (get_as(h, 77, kos_bytes("x", 1))->status >= 0)
        broke(c, RULE_VECTOR_GET, "get in a collection that is not open completed well");
    host_end(h);
    free(model);
}

static void test_stats(struct conform *c)
{
    struct host *h = host_new(c);
    struct model *model = model_new(KOS_METRIC_L2, 0);
    struct klp_json value;
    host_begin(h);
    open_ok(h, 1, "stats", &model->space, 0);
    work(h, 1, model, 20, 20);
    uint64_t op = op_new(h, "stats");
    h->backend->ops->vector_stats(h->backend, op, 1);
    const struct op *done = op_wait(h, op);
    if (done->status < 0 || klp_json_read(kos_bytes(done->result, done->len), 1 << 20, &value, NULL) < 0 ||
        value.type != KLP_JSON_OBJECT)
        broke(c, RULE_VECTOR_STATS, "stats completed with %s and %.*s", kos_error_name(done->status),
              (int)(done->len < 200 ? done->len : 200), done->len ? (const char *)done->result : "");
    host_end(h);
    free(model);
}

static void test_snapshot(struct conform *c)
{
    struct host *h = host_new(c);
    struct model *model = model_new(KOS_METRIC_L2, 0);
    char *directory = kos_format("%s/files/snapshot", c->directory);
    host_begin(h);
    mkdir(directory, 0700);
    open_ok(h, 1, "snapshot", &model->space, 0);
    work(h, 1, model, 30, 50);
    uint64_t op = op_new(h, "snapshot");
    h->backend->ops->vector_snapshot(h->backend, op, 1, directory);
    query_ok(h, 1, model, 5, ""); /* queries go on */
    const struct op *done = op_wait(h, op);
    if (done->status >= 0 && count_entries(directory) == 0)
        broke(c, RULE_VECTOR_SNAPSHOT, "snapshot completed well, and nothing is in the directory");
    if (done->status < 0 && done->status != KOS_E_UNSUPPORTED && module_asks(c->module, "files"))
        broke(c, RULE_VECTOR_SNAPSHOT, "snapshot into an empty directory completed with %s",
              kos_error_name(done->status));
    check_all(h, 1, model);
    host_end(h);
    free(directory);
    free(model);
}

/* What was completed is there in the next life: after stop, and after the process was killed in the middle. */
static void test_durable(struct conform *c)
{
    struct model *model = model_new(KOS_METRIC_L2, 0);
    struct host *h = host_new(c);
    if (!module_asks(c->module, "files"))
        skip(c, "it keeps nothing: it does not ask for the right \"files\"");
    host_begin(h);
    open_ok(h, 1, "durable", &model->space, 0);
    for (int i = 0; i < 3; i++) {
        work(h, (uint64_t)i + 1, model, 40, 100);
        host_end(h);
        h = host_new(c);
        host_begin(h);
        const struct op *op = open_as(h, (uint64_t)i + 2, "durable", &model->space);
        uint64_t count = 0;
        if (op && op->len == sizeof count)
            memcpy(&count, op->result, sizeof count);
        if (!op || op->status < 0 || count != model->count)
            broke(c, RULE_VECTOR_UPSERT, "after a restart %llu of %zu items are there (%s)", (unsigned long long)count,
                  model->count, kos_error_name(op ? op->status : KOS_E_INTERNAL));
        check_all(h, (uint64_t)i + 2, model);
    }
    host_end(h);
    free(model);
}

const struct test suite_vector[] = {
    { "vector", "l2", "against an exact model, squared L2", KOS_VECTOR, test_l2 },
    { "vector", "ip", "against an exact model, inner product", KOS_VECTOR, test_ip },
    { "vector", "cosine", "against an exact model, cosine", KOS_VECTOR, test_cosine },
    { "vector", "spaces", "spaces do not mix", KOS_VECTOR, test_spaces },
    { "vector", "drop", "what is dropped is gone", KOS_VECTOR, test_drop },
    { "vector", "refused", "items that cannot be", KOS_VECTOR, test_refused },
    { "vector", "stats", "stats are a canonical object", KOS_VECTOR, test_stats },
    { "vector", "snapshot", "a snapshot, with queries meanwhile", KOS_VECTOR, test_snapshot },
    { "vector", "durable", "what was completed survives a restart", KOS_VECTOR, test_durable },
    { 0 },
};
