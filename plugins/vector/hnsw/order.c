/* SPDX-License-Identifier: Apache-2.0
 * Entries in the order of their digests (those of one digest: of their ids), as a sorted array of sorted blocks. Adding
 * moves at most a block and, when one is full, the array of blocks: for a million entries some kilobytes. */
#include "hnsw.h"

enum { BLOCK = 512 };

struct order_block {
    size_t count;
    struct entry *entries[BLOCK];
};

static int compare(const struct entry *a, const struct entry *b)
{
    int by = memcmp(a->digest, b->digest, sizeof a->digest);
    if (by)
        return by;
    size_t least = a->id_len < b->id_len ? a->id_len : b->id_len;
    by = memcmp(a->bytes, b->bytes, least);
    return by ? by : (a->id_len > b->id_len) - (a->id_len < b->id_len);
}

static int compare_digest(const struct entry *a, const uint8_t from[32])
{
    return memcmp(a->digest, from, 32);
}

/* The first place whose entry is not below: `entry`, or, without one, `from`. Blocks are never empty. */
static struct order_at lower_bound(const struct order *order, const struct entry *entry, const uint8_t *from)
{
    size_t low = 0, high = order->count;
    while (low < high) { /* the first block whose last entry is not below */
        size_t at = (low + high) / 2;
        const struct order_block *b = order->blocks[at];
        const struct entry *last = b->entries[b->count - 1];
        if ((entry ? compare(last, entry) : compare_digest(last, from)) < 0)
            low = at + 1;
        else
            high = at;
    }
    struct order_at found = { low, 0 };
    if (low == order->count)
        return found;
    const struct order_block *b = order->blocks[low];
    for (low = 0, high = b->count; low < high;) {
        size_t at = (low + high) / 2;
        if ((entry ? compare(b->entries[at], entry) : compare_digest(b->entries[at], from)) < 0)
            low = at + 1;
        else
            high = at;
    }
    found.index = low;
    return found;
}

/* An empty block at `at`. */
static struct order_block *insert_block(struct order *order, size_t at)
{
    if (order->count == order->cap) {
        order->cap = order->cap ? 2 * order->cap : 16;
        order->blocks = realloc(order->blocks, order->cap * sizeof(struct order_block *));
        if (!order->blocks)
            abort();
    }
    memmove(&order->blocks[at + 1], &order->blocks[at], (order->count - at) * sizeof(struct order_block *));
    order->blocks[at] = malloc(sizeof **order->blocks);
    if (!order->blocks[at])
        abort();
    order->blocks[at]->count = 0;
    order->count++;
    return order->blocks[at];
}

void order_add(struct order *order, struct entry *entry)
{
    struct order_at at = lower_bound(order, entry, NULL);
    if (at.block == order->count) {
        if (order->count == 0 || order->blocks[order->count - 1]->count == BLOCK)
            insert_block(order, order->count);
        at.block = order->count - 1;
        at.index = order->blocks[at.block]->count;
    }
    struct order_block *b = order->blocks[at.block];
    if (b->count == BLOCK) {
        struct order_block *upper = insert_block(order, at.block + 1);
        upper->count = BLOCK / 2;
        memcpy(upper->entries, b->entries + BLOCK / 2, BLOCK / 2 * sizeof *b->entries);
        b->count = BLOCK / 2;
        if (at.index > b->count) {
            at.index -= b->count;
            b = upper;
        }
    }
    memmove(&b->entries[at.index + 1], &b->entries[at.index], (b->count - at.index) * sizeof *b->entries);
    b->entries[at.index] = entry;
    b->count++;
}

void order_remove(struct order *order, struct entry *entry)
{
    struct order_at at = lower_bound(order, entry, NULL);
    struct order_block *b = order->blocks[at.block];
    b->count--;
    memmove(&b->entries[at.index], &b->entries[at.index + 1], (b->count - at.index) * sizeof *b->entries);
    if (b->count == 0) {
        free(b);
        order->count--;
        memmove(&order->blocks[at.block], &order->blocks[at.block + 1],
                (order->count - at.block) * sizeof(struct order_block *));
    }
}

struct order_at order_from(const struct order *order, const uint8_t from[32])
{
    return lower_bound(order, NULL, from);
}

struct entry *order_next(const struct order *order, struct order_at *at)
{
    while (at->block < order->count && at->index >= order->blocks[at->block]->count)
        *at = (struct order_at){ at->block + 1, 0 };
    return at->block < order->count ? order->blocks[at->block]->entries[at->index++] : NULL;
}

void order_fini(struct order *order)
{
    for (size_t i = 0; i < order->count; i++)
        free(order->blocks[i]);
    free(order->blocks);
    memset(order, 0, sizeof *order);
}
