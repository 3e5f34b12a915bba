/* SPDX-License-Identifier: Apache-2.0
 * Spaces: the layers active, frozen, SQLite, and reading through them. */
#include <stdlib.h>

#include "store/internal.h"
#include "store/journal_format.h"

bool space_name_valid(const char *name, size_t len)
{
    if (len < 1 || len > KOS_STORE_SPACE_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (name[i] < 0x21 || name[i] > 0x7e || name[i] == '"')
            return false;
    return true;
}

struct space *space_find(struct kos_store *store, const char *name, size_t len)
{
    struct space *space;
    HASH_FIND(hh, store->spaces, name, len, space);
    return space;
}

static struct table *new_table(struct kos_store *store)
{
    uint64_t seed;
    kos_random(store->env, &seed, sizeof seed);
    return table_new(seed);
}

struct space *space_get(struct kos_store *store, const char *name, size_t len)
{
    struct space *space = space_find(store, name, len);
    if (space || HASH_COUNT(store->spaces) >= STORE_SPACES_MAX)
        return space;
    space = kos_new(sizeof *space);
    memcpy(space->name, name, len);
    space->active = new_table(store);
    HASH_ADD_KEYPTR(hh, store->spaces, space->name, len, space);
    return space;
}

void spaces_free(struct kos_store *store)
{
    struct space *space, *next;
    HASH_ITER(hh, store->spaces, space, next) {
        HASH_DEL(store->spaces, space);
        space_statements_fini(&space->statements);
        table_free(space->active);
        table_free(space->frozen);
        free(space);
    }
}

struct op {
    bool deleted;
    struct space *space;
    struct kos_bytes name, key, value;
};

/* Takes one operation off the front. */
static bool take_op(struct kos_bytes *ops, struct op *ret_op)
{
    if (ops->len < STORE_OP_HEAD)
        return false;
    const uint8_t *p = ops->data;
    size_t name = p[1], key = (size_t)p[2] | (size_t)p[3] << 8, value = get32(p + 4);
    if ((p[0] != STORE_PUT && p[0] != STORE_DELETE) || key > KOS_STORE_KEY_MAX || value > KOS_STORE_VALUE_MAX ||
        ops->len - STORE_OP_HEAD < name + key + value || !space_name_valid((const char *)p + STORE_OP_HEAD, name))
        return false;
    p += STORE_OP_HEAD;
    *ret_op = (struct op){ ops->data[0] == STORE_DELETE, NULL, kos_bytes(p, name), kos_bytes(p + name, key), kos_bytes(p + name + key, value) };
    *ops = kos_bytes(p + name + key + value, ops->len - STORE_OP_HEAD - name - key - value);
    return true;
}

static int32_t has(struct kos_store *store, struct space *space, struct kos_bytes key)
{
    const struct table_entry *entry = table_get(space->active, key);
    if (!entry && space->frozen)
        entry = table_get(space->frozen, key);
    if (entry)
        return entry->deleted ? KOS_E_NOTFOUND : KOS_OK;
    return space->in_database ? database_has(store->database, space, key) : KOS_E_NOTFOUND;
}

int32_t space_check(struct kos_bytes ops)
{
    struct op op;
    while (ops.len)
        if (!take_op(&ops, &op))
            return KOS_E_CORRUPT;
    return KOS_OK;
}

int32_t space_apply(struct kos_store *store, struct kos_bytes ops)
{
    struct op op;
    int32_t rc = space_check(ops);
    if (rc < 0)
        return rc;
    for (struct kos_bytes rest = ops; rest.len && take_op(&rest, &op);) {
        if (!space_get(store, (const char *)op.name.data, op.name.len))
            return KOS_E_LIMIT;
    }
    while (ops.len && take_op(&ops, &op)) {
        struct space *space = space_find(store, (const char *)op.name.data, op.name.len);
        if (space->counted) {
            rc = has(store, space, op.key);
            if (rc == KOS_E_NOTFOUND)
                space->count += !op.deleted;
            else if (rc == KOS_OK)
                space->count -= op.deleted;
            else
                space->counted = false; /* counted anew when asked */
        }
        uint64_t before = table_bytes(space->active);
        table_put(space->active, op.key, op.value, op.deleted);
        store->active_bytes += table_bytes(space->active) - before;
    }
    return KOS_OK;
}

int32_t kos_store_get(struct kos_store *store, const char *name, struct kos_bytes key, uint8_t **ret_value, size_t *ret_len)
{
    struct space *space = space_find(store, name, strlen(name));
    if (!space)
        return KOS_E_NOTFOUND;
    const struct table_entry *entry = table_get(space->active, key);
    if (!entry && space->frozen)
        entry = table_get(space->frozen, key);
    if (!entry)
        return space->in_database ? database_get(store->database, space, key, ret_value, ret_len) : KOS_E_NOTFOUND;
    if (entry->deleted)
        return KOS_E_NOTFOUND;
    struct kos_bytes value = table_value(entry);
    uint8_t *copy = malloc(value.len + 1);
    if (!copy)
        return KOS_E_NOMEM;
    if (value.len)
        memcpy(copy, value.data, value.len);
    copy[value.len] = 0;
    *ret_value = copy;
    *ret_len = value.len;
    return KOS_OK;
}

/* One layer of a scan: where it stands. */
struct layer {
    const struct table_entry *entry;
    struct database_scan scan;
    bool database, valid;
    struct kos_bytes key, value;
    bool deleted;
};

static int32_t layer_next(struct layer *layer, bool first)
{
    if (layer->database) {
        int32_t rc = database_scan_next(&layer->scan, &layer->key, &layer->value);
        layer->valid = rc > 0;
        return rc < 0 ? rc : KOS_OK;
    }
    if (!first)
        layer->entry = layer->entry->next[0];
    layer->valid = layer->entry != NULL;
    if (layer->entry) {
        layer->key = table_key(layer->entry);
        layer->value = table_value(layer->entry);
        layer->deleted = layer->entry->deleted;
    }
    return KOS_OK;
}

/* The layer with the least key; of equal ones the newest, the others are moved on behind it. */
static int32_t least(struct layer *layers, size_t count, struct layer **ret_layer)
{
    struct layer *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!layers[i].valid)
            continue;
        int order = best ? table_compare(layers[i].key, best->key) : -1;
        if (order < 0) {
            best = &layers[i];
        } else if (order == 0) {
            int32_t rc = layer_next(&layers[i], false);
            if (rc < 0)
                return rc;
        }
    }
    *ret_layer = best;
    return KOS_OK;
}

static int32_t scan_layers(struct layer *layers, size_t count, struct kos_bytes prefix,
                           bool (*each)(void *arg, struct kos_bytes key, struct kos_bytes value), void *arg)
{
    for (size_t i = 0; i < count; i++) {
        int32_t rc = layer_next(&layers[i], true);
        if (rc < 0)
            return rc;
    }
    for (;;) {
        struct layer *layer;
        int32_t rc = least(layers, count, &layer);
        if (rc < 0 || !layer)
            return rc;
        if (layer->key.len < prefix.len || (prefix.len && memcmp(layer->key.data, prefix.data, prefix.len) != 0))
            return KOS_OK;
        if (!layer->deleted && !each(arg, layer->key, layer->value))
            return KOS_OK;
        if ((rc = layer_next(layer, false)) < 0)
            return rc;
    }
}

int32_t kos_store_scan(struct kos_store *store, const char *name, struct kos_bytes prefix, struct kos_bytes from,
                       bool (*each)(void *arg, struct kos_bytes key, struct kos_bytes value), void *arg)
{
    struct space *space = space_find(store, name, strlen(name));
    if (!space)
        return KOS_OK;
    if (table_compare(from, prefix) < 0)
        from = prefix;
    struct layer layers[3] = { { .entry = table_from(space->active, from) } };
    size_t count = 1;
    if (space->frozen)
        layers[count++].entry = table_from(space->frozen, from);
    struct layer *below = NULL;
    if (space->in_database) {
        below = &layers[count++];
        below->database = true;
        int32_t rc = database_scan_begin(store->database, space, from, &below->scan);
        if (rc < 0)
            return rc;
    }
    int32_t rc = scan_layers(layers, count, prefix, each, arg);
    if (below)
        database_scan_end(&below->scan);
    return rc;
}

/* Keys that a table adds to or takes from what lies below it. */
static int32_t count_table(struct kos_store *store, struct space *space, const struct table *table, const struct table *below,
                           uint64_t *count)
{
    for (const struct table_entry *entry = table ? table_from(table, kos_bytes(NULL, 0)) : NULL; entry; entry = entry->next[0]) {
        const struct table_entry *under = below ? table_get(below, table_key(entry)) : NULL;
        int32_t rc = under ? (under->deleted ? KOS_E_NOTFOUND : KOS_OK)
                     : space->in_database ? database_has(store->database, space, table_key(entry)) : KOS_E_NOTFOUND;
        if (rc < 0 && rc != KOS_E_NOTFOUND)
            return rc;
        if (rc == KOS_OK)
            *count -= entry->deleted;
        else
            *count += !entry->deleted;
    }
    return KOS_OK;
}

uint64_t kos_store_count(struct kos_store *store, const char *name)
{
    struct space *space = space_find(store, name, strlen(name));
    if (!space)
        return 0;
    if (space->counted)
        return space->count;
    uint64_t count = 0;
    database_snapshot(store->database, true);
    int32_t rc = space->in_database ? database_count(store->database, space, &count) : KOS_OK;
    if (rc == KOS_OK)
        rc = count_table(store, space, space->frozen, NULL, &count);
    if (rc == KOS_OK)
        rc = count_table(store, space, space->active, space->frozen, &count);
    database_snapshot(store->database, false);
    space->count = count;
    space->counted = rc == KOS_OK;
    return count;
}
