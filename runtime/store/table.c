/* SPDX-License-Identifier: Apache-2.0
 * The ordered table in memory. Readers on another thread are safe while nobody puts: the checkpoint reads a frozen one. */
#include "store/table.h"

#include <stdlib.h>

#include "core/buf.h"

enum { HEIGHT_MAX = 20 }; /* one level in four goes up: enough for 4^20 entries */

struct table {
    uint64_t random;
    size_t count;
    uint64_t bytes;
    struct table_entry *first[HEIGHT_MAX];
};

int table_compare(struct kos_bytes a, struct kos_bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.data, b.data, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

struct table *table_new(uint64_t seed)
{
    struct table *table = kos_new(sizeof *table);
    table->random = seed | 1;
    return table;
}

static void entry_free(struct table_entry *entry)
{
    free(entry->bytes);
    free(entry);
}

void table_free(struct table *table)
{
    if (!table)
        return;
    for (struct table_entry *entry = table->first[0], *next; entry; entry = next) {
        next = entry->next[0];
        entry_free(entry);
    }
    free(table);
}

/* xorshift64* (Vigna 2016); the high bits decide. */
static uint8_t random_height(struct table *table)
{
    table->random ^= table->random >> 12;
    table->random ^= table->random << 25;
    table->random ^= table->random >> 27;
    uint64_t bits = (table->random * 0x2545f4914f6cdd1dU) >> 24;
    uint8_t height = 1;
    while (height < HEIGHT_MAX && (bits & 3) == 0) {
        height++;
        bits >>= 2;
    }
    return height;
}

/* The place of `key`: for each level the link that points at the first entry not before it. */
static void place(struct table *table, struct kos_bytes key, struct table_entry **links[HEIGHT_MAX])
{
    struct table_entry *at = NULL;
    for (int level = HEIGHT_MAX - 1; level >= 0; level--) {
        struct table_entry **link = at ? &at->next[level] : &table->first[level];
        while (*link && table_compare(table_key(*link), key) < 0) {
            at = *link;
            link = &at->next[level];
        }
        links[level] = link;
    }
}

static uint64_t weight(const struct table_entry *entry)
{
    return sizeof *entry + entry->height * sizeof entry->next[0] + entry->key_len + entry->value_len + 32;
}

void table_put(struct table *table, struct kos_bytes key, struct kos_bytes value, bool deleted)
{
    struct table_entry **links[HEIGHT_MAX];
    place(table, key, links);
    struct table_entry *entry = *links[0];
    bool known = entry && table_compare(table_key(entry), key) == 0;
    if (known) {
        table->bytes -= weight(entry);
        if (entry->value_len != value.len) {
            free(entry->bytes);
            entry->bytes = kos_new(key.len + value.len);
        }
    } else {
        uint8_t height = random_height(table);
        entry = kos_new(sizeof *entry + height * sizeof entry->next[0]);
        entry->height = height;
        entry->bytes = kos_new(key.len + value.len);
        for (int level = 0; level < height; level++) {
            entry->next[level] = *links[level];
            *links[level] = entry;
        }
        table->count++;
    }
    entry->key_len = (uint32_t)key.len;
    entry->value_len = (uint32_t)value.len;
    entry->deleted = deleted;
    if (key.len)
        memcpy(entry->bytes, key.data, key.len);
    if (value.len)
        memcpy(entry->bytes + key.len, value.data, value.len);
    table->bytes += weight(entry);
}

const struct table_entry *table_from(const struct table *table, struct kos_bytes from)
{
    const struct table_entry *at = NULL, *found = NULL;
    for (int level = HEIGHT_MAX - 1; level >= 0; level--) {
        found = at ? at->next[level] : table->first[level];
        while (found && table_compare(table_key(found), from) < 0) {
            at = found;
            found = at->next[level];
        }
    }
    return found;
}

const struct table_entry *table_get(const struct table *table, struct kos_bytes key)
{
    const struct table_entry *entry = table_from(table, key);
    return entry && table_compare(table_key(entry), key) == 0 ? entry : NULL;
}

size_t table_count(const struct table *table)
{
    return table->count;
}

uint64_t table_bytes(const struct table *table)
{
    return table->bytes;
}
