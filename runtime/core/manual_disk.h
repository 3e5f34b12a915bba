/* SPDX-License-Identifier: Apache-2.0
 * The tree of files in memory, each kept twice: as seen and as on the disk. Private to core/manual_files.c. */
#ifndef KOS_CORE_MANUAL_DISK_H
#define KOS_CORE_MANUAL_DISK_H

#include <uthash.h>

#include "core/manual_files.h"

enum { DISK_PAGE = 4096, DISK_SECTOR = 512, DISK_NAME_MAX = 255 };

struct disk_page {
    uint8_t *now, *synced; /* NULL: zeros */
    bool differs;          /* now and synced may differ; stands in the list of such pages */
    bool dirty;            /* a sync will write it; a failed sync ends this without making it durable */
};

struct disk_entry {
    UT_hash_handle hh;
    struct disk_node *node;
    char name[];
};

/* A change of a directory that is not synced: `name` stands for `node`, or for nothing. */
struct disk_change {
    struct disk_change *next;
    struct disk_node *node;
    bool joined; /* happens with the next one or not at all: a rename within the directory */
    char name[];
};

struct disk_node {
    uint32_t refs; /* entries, changes and open files that name it */
    bool dir;
    mode_t mode;
    struct disk_page *pages;
    size_t page_count;
    size_t *differing;
    size_t differing_count, differing_cap;
    uint64_t size, synced_size;
    uint64_t cut_to; /* the least size it was cut to since its last sync; UINT64_MAX: it was not */
    struct kos_file *lock;
    struct disk_entry *now, *synced;
    struct disk_change *changes, *changes_last;
    struct disk_node *prev, *next;
};

struct disk {
    struct disk_node *root, *nodes;
};

void disk_init(struct disk *disk);
void disk_fini(struct disk *disk);
struct disk_node *disk_node_new(struct disk *disk, bool dir);
void disk_node_drop(struct disk *disk, struct disk_node *node);
struct disk_node *disk_entry_get(struct disk_entry *table, const char *name);
/* Makes `name` stand for `node`, or for nothing, in what is seen of the directory. */
void disk_change_add(struct disk *disk, struct disk_node *dir, const char *name, struct disk_node *node, bool joined);
void disk_dir_sync(struct disk *disk, struct disk_node *dir);
void disk_put(struct disk_node *node, const uint8_t *data, size_t len, uint64_t offset);
void disk_cut(struct disk_node *node, uint64_t size);
void disk_file_sync(struct disk_node *node, bool fails);
/* random: NULL loses all that is not synced; else it decides piece by piece. */
void disk_power_loss(struct disk *disk, struct klp_random *random);

#endif
