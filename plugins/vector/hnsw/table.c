/* SPDX-License-Identifier: Apache-2.0
 * Entries by id, and bytes that grow. */
#include "hnsw.h"

#include <sodium/crypto_shorthash.h>

void *out_take(struct out *out, size_t len)
{
    if (out->len + len > out->cap) {
        size_t cap = out->cap < 256 ? 256 : 2 * out->cap;
        out->cap = cap > out->len + len ? cap : out->len + len;
        out->data = realloc(out->data, out->cap);
        if (!out->data)
            abort();
    }
    out->len += len;
    return out->data + out->len - len;
}

void out_put(struct out *out, const void *data, size_t len)
{
    if (len)
        memcpy(out_take(out, len), data, len);
}

struct entry *entry_new(const struct given *item)
{
    struct entry *e = calloc(1, sizeof *e + item->id.len + item->metadata.len);
    if (!e)
        abort();
    e->version = item->version;
    e->flags = item->flags & 1;
    e->node = GRAPH_NODE_NONE;
    e->id_len = (uint8_t)item->id.len;
    e->metadata_len = (uint16_t)item->metadata.len;
    memcpy(e->digest, item->digest, sizeof e->digest);
    memcpy(e->bytes, item->id.data, item->id.len);
    if (item->metadata.len)
        memcpy(e->bytes + item->id.len, item->metadata.data, item->metadata.len);
    return e;
}

struct kos_bytes entry_id(const struct entry *entry)
{
    return kos_bytes(entry->bytes, entry->id_len);
}

struct kos_bytes entry_metadata(const struct entry *entry)
{
    return kos_bytes(entry->bytes + entry->id_len, entry->metadata_len);
}

/* With its places in the table and in the order. */
size_t entry_bytes(const struct entry *entry)
{
    return sizeof *entry + entry->id_len + entry->metadata_len + 64;
}

/* SipHash: who chooses ids cannot choose where they fall. */
unsigned table_hash(const struct table *table, struct kos_bytes id)
{
    uint8_t hash[crypto_shorthash_BYTES];
    unsigned value;
    crypto_shorthash(hash, id.data, id.len, table->key);
    memcpy(&value, hash, sizeof value);
    return value;
}

struct entry *table_find(const struct table *table, struct kos_bytes id)
{
    struct entry *found = NULL;
    HASH_FIND_BYHASHVALUE(hh, table->by_id, id.data, id.len, table_hash(table, id), found);
    return found;
}

void table_add(struct table *table, struct entry *entry)
{
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, table->by_id, entry->bytes, entry->id_len, table_hash(table, entry_id(entry)),
                                entry);
}

void table_remove(struct table *table, struct entry *entry)
{
    HASH_DEL(table->by_id, entry);
}
