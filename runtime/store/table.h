/* SPDX-License-Identifier: Apache-2.0
 * An ordered table in memory: what was changed since the last checkpoint. A skip list by keys, compared as bytes and
 * then by length, which is also SQLite's order of blobs. Private to the store. */
#ifndef KOS_STORE_TABLE_H
#define KOS_STORE_TABLE_H

#include <kos/bytes.h>

struct table;

/* One key: its value, or that it is deleted (which hides what lies below). */
struct table_entry {
    uint32_t key_len, value_len;
    bool deleted;
    uint8_t height;
    uint8_t *bytes;             /* key, then value */
    struct table_entry *next[]; /* height of them */
};

/* seed: makes the shape unpredictable to who chooses the keys. */
struct table *table_new(uint64_t seed);
void table_free(struct table *table);
void table_put(struct table *table, struct kos_bytes key, struct kos_bytes value, bool deleted);
const struct table_entry *table_get(const struct table *table, struct kos_bytes key);
/* The first entry at or behind `from`; then entry->next[0]. */
const struct table_entry *table_from(const struct table *table, struct kos_bytes from);
size_t table_count(const struct table *table);
/* Memory held, about. */
uint64_t table_bytes(const struct table *table);

static inline struct kos_bytes table_key(const struct table_entry *entry) { return kos_bytes(entry->bytes, entry->key_len); }
static inline struct kos_bytes table_value(const struct table_entry *entry) { return kos_bytes(entry->bytes + entry->key_len, entry->value_len); }
int table_compare(struct kos_bytes a, struct kos_bytes b);

#endif
