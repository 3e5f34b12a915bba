/* SPDX-License-Identifier: Apache-2.0
 * What power loss leaves: the model behind the files in memory. It is as unkind as POSIX allows: an entry is durable only
 * after its directory is synced, content only after the file is, and what a failed sync did not write is never written. */
#include "core/manual_disk.h"

#include <stdlib.h>
#include <utlist.h>

#include "core/buf.h"

struct disk_node *disk_node_new(struct disk *disk, bool dir)
{
    struct disk_node *node = kos_new(sizeof *node);
    node->dir = dir;
    node->cut_to = UINT64_MAX;
    DL_APPEND(disk->nodes, node);
    return node;
}

static void entry_set(struct disk *disk, struct disk_entry **table, const char *name, struct disk_node *node)
{
    struct disk_entry *entry;
    HASH_FIND_STR(*table, name, entry);
    if (node)
        node->refs++;
    if (entry) {
        struct disk_node *old = entry->node;
        if (node) {
            entry->node = node;
        } else {
            HASH_DEL(*table, entry);
            free(entry);
        }
        disk_node_drop(disk, old);
    } else if (node) {
        size_t len = strlen(name);
        entry = kos_new(sizeof *entry + len + 1);
        memcpy(entry->name, name, len + 1);
        entry->node = node;
        HASH_ADD_STR(*table, name, entry);
    }
}

struct disk_node *disk_entry_get(struct disk_entry *table, const char *name)
{
    struct disk_entry *entry;
    HASH_FIND_STR(table, name, entry);
    return entry ? entry->node : NULL;
}

static void change_drop_first(struct disk *disk, struct disk_node *dir)
{
    struct disk_change *change = dir->changes;
    dir->changes = change->next;
    if (!dir->changes)
        dir->changes_last = NULL;
    if (change->node)
        disk_node_drop(disk, change->node);
    free(change);
}

static void table_clear(struct disk *disk, struct disk_entry **table)
{
    while (*table) {
        struct disk_entry *entry = *table;
        struct disk_node *node = entry->node;
        HASH_DEL(*table, entry);
        free(entry);
        disk_node_drop(disk, node);
    }
}

void disk_node_drop(struct disk *disk, struct disk_node *node)
{
    if (--node->refs)
        return;
    for (size_t i = 0; i < node->page_count; i++) {
        free(node->pages[i].now);
        free(node->pages[i].synced);
    }
    free(node->pages);
    free(node->differing);
    while (node->changes)
        change_drop_first(disk, node);
    table_clear(disk, &node->now);
    table_clear(disk, &node->synced);
    DL_DELETE(disk->nodes, node);
    free(node);
}

void disk_change_add(struct disk *disk, struct disk_node *dir, const char *name, struct disk_node *node, bool joined)
{
    size_t len = strlen(name);
    struct disk_change *change = kos_new(sizeof *change + len + 1);
    memcpy(change->name, name, len + 1);
    change->node = node;
    change->joined = joined;
    if (node)
        node->refs++;
    if (dir->changes_last)
        dir->changes_last->next = change;
    else
        dir->changes = change;
    dir->changes_last = change;
    entry_set(disk, &dir->now, name, node);
}

static void change_sync_first(struct disk *disk, struct disk_node *dir)
{
    entry_set(disk, &dir->synced, dir->changes->name, dir->changes->node);
    change_drop_first(disk, dir);
}

static void page_differs(struct disk_node *node, size_t at)
{
    node->pages[at].dirty = true;
    if (node->pages[at].differs)
        return;
    node->pages[at].differs = true;
    if (node->differing_count == node->differing_cap) {
        node->differing_cap = node->differing_cap ? node->differing_cap * 2 : 16;
        node->differing = realloc(node->differing, node->differing_cap * sizeof *node->differing);
        if (!node->differing)
            abort();
    }
    node->differing[node->differing_count++] = at;
}

static uint8_t *page_now(struct disk_node *node, size_t at)
{
    if (at >= node->page_count) {
        size_t count = at + 1 > node->page_count * 2 ? at + 1 : node->page_count * 2;
        node->pages = realloc(node->pages, count * sizeof *node->pages);
        if (!node->pages)
            abort();
        memset(node->pages + node->page_count, 0, (count - node->page_count) * sizeof *node->pages);
        node->page_count = count;
    }
    if (!node->pages[at].now)
        node->pages[at].now = kos_new(DISK_PAGE);
    return node->pages[at].now;
}

void disk_put(struct disk_node *node, const uint8_t *data, size_t len, uint64_t offset)
{
    uint64_t end = offset + len;
    while (len) {
        size_t at = (size_t)(offset / DISK_PAGE), from = (size_t)(offset % DISK_PAGE);
        size_t part = len < DISK_PAGE - from ? len : DISK_PAGE - from;
        memcpy(page_now(node, at) + from, data, part);
        page_differs(node, at);
        data += part;
        len -= part;
        offset += part;
    }
    if (end > node->size)
        node->size = end;
}

void disk_cut(struct disk_node *node, uint64_t size)
{
    for (size_t at = (size_t)(size / DISK_PAGE); at < node->page_count; at++) {
        size_t from = at == size / DISK_PAGE ? (size_t)(size % DISK_PAGE) : 0;
        if (!node->pages[at].now)
            continue;
        memset(node->pages[at].now + from, 0, DISK_PAGE - from);
        page_differs(node, at);
    }
    node->size = size;
    if (size < node->cut_to)
        node->cut_to = size;
}

/* Ends what differs: `write` says whether the disk takes what is seen, or what is seen falls back to the disk. */
static void page_settle(struct disk_page *page, bool write)
{
    uint8_t **to = write ? &page->synced : &page->now, *from = write ? page->now : page->synced;
    if (!from) {
        free(*to);
        *to = NULL;
    } else {
        if (!*to)
            *to = kos_new(DISK_PAGE);
        memcpy(*to, from, DISK_PAGE);
    }
    page->differs = page->dirty = false;
}

void disk_file_sync(struct disk_node *node, bool fails)
{
    size_t kept = 0;
    for (size_t i = 0; i < node->differing_count; i++) {
        struct disk_page *page = &node->pages[node->differing[i]];
        if (page->dirty && !fails) {
            page_settle(page, true);
        } else {
            page->dirty = false;
            node->differing[kept++] = node->differing[i];
        }
    }
    node->differing_count = kept;
    if (!fails) {
        node->synced_size = node->size;
        node->cut_to = UINT64_MAX;
    }
}

static uint8_t coin(struct klp_random *random)
{
    uint8_t byte = 0;
    if (random)
        random->fill(random->self, &byte, 1);
    return byte;
}

/* A file is cut, and what is written behind the cut goes to other places of the disk: as one change of a file system's
 * own journal, which either reached the disk or did not, with all that was written since. Returns whether it did. */
static bool cut_loss(struct disk_node *node, struct klp_random *random)
{
    uint64_t cut = node->cut_to;
    node->cut_to = UINT64_MAX;
    if (cut >= node->synced_size)
        return true;
    if (!random || coin(random) & 1)
        return false;
    for (size_t at = (size_t)(cut / DISK_PAGE); at < node->page_count; at++) {
        size_t from = at == cut / DISK_PAGE ? (size_t)(cut % DISK_PAGE) : 0;
        if (node->pages[at].synced)
            memset(node->pages[at].synced + from, 0, DISK_PAGE - from);
    }
    node->synced_size = cut;
    return true;
}

static void content_loss(struct disk_node *node, struct klp_random *random)
{
    bool torn = cut_loss(node, random) && random;
    for (size_t i = 0; i < node->differing_count; i++) {
        struct disk_page *page = &node->pages[node->differing[i]];
        if (page->dirty && torn) {
            if (!page->synced)
                page->synced = kos_new(DISK_PAGE);
            for (size_t at = 0; at < DISK_PAGE; at += DISK_SECTOR)
                if (page->now && coin(random) & 1)
                    memcpy(page->synced + at, page->now + at, DISK_SECTOR);
        }
        page_settle(page, false);
    }
    node->differing_count = 0;
    if (!torn || !(coin(random) & 1))
        node->size = node->synced_size;
    disk_cut(node, node->size);
    disk_file_sync(node, false);
    node->lock = NULL;
}

void disk_init(struct disk *disk)
{
    *disk = (struct disk){ 0 };
    disk->root = disk_node_new(disk, true);
    disk->root->refs = 1;
}

void disk_fini(struct disk *disk)
{
    /* Files still open leak with their nodes: the leak checker then points at who forgot them. */
    disk_node_drop(disk, disk->root);
}

void disk_dir_sync(struct disk *disk, struct disk_node *dir)
{
    while (dir->changes)
        change_sync_first(disk, dir);
}

void disk_power_loss(struct disk *disk, struct klp_random *random)
{
    struct disk_node *node;
    DL_FOREACH(disk->nodes, node)
        node->refs++; /* none is to go while this list is walked */
    DL_FOREACH(disk->nodes, node) {
        if (!node->dir) {
            content_loss(node, random);
            continue;
        }
        while (node->changes && (coin(random) & 3)) {
            while (node->changes->joined)
                change_sync_first(disk, node);
            change_sync_first(disk, node);
        }
        while (node->changes)
            change_drop_first(disk, node);
        table_clear(disk, &node->now);
        for (struct disk_entry *entry = node->synced; entry; entry = entry->hh.next)
            entry_set(disk, &node->now, entry->name, entry->node);
    }
    /* A node that goes may take others along, so they are walked in a copy; each is still counted once here. */
    struct disk_node **all = NULL;
    size_t count = 0;
    DL_COUNT(disk->nodes, node, count);
    all = kos_new(count * sizeof(struct disk_node *));
    count = 0;
    DL_FOREACH(disk->nodes, node)
        all[count++] = node;
    for (size_t i = 0; i < count; i++)
        disk_node_drop(disk, all[i]);
    free(all);
}
