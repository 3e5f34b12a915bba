/* SPDX-License-Identifier: Apache-2.0
 * Files in memory for tests: each file and directory is kept twice, as seen and as on the disk, so that power can be
 * lost at any moment. The model is as unkind as POSIX allows: an entry is durable only after dir_sync of its directory,
 * content only after file_sync, and what a failed sync did not write is never written. */
#include "core/manual_files.h"

#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

#include "core/buf.h"

enum { PAGE = 4096, SECTOR = 512, NAME_MAX_LEN = 255 };

struct page {
    uint8_t *now, *synced; /* NULL: zeros */
    bool differs;          /* now and synced may differ; stands in the list of such pages */
    bool dirty;            /* a sync will write it; a failed sync ends this without making it durable */
};

struct entry {
    UT_hash_handle hh;
    struct node *node;
    char name[];
};

/* A change of a directory that is not synced: `name` stands for `node`, or for nothing. */
struct change {
    struct change *next;
    struct node *node;
    bool joined; /* happens with the next one or not at all: a rename within the directory */
    char name[];
};

struct node {
    uint32_t refs;
    bool dir;
    mode_t mode; /* as it was made; changes with no one */
    struct page *pages;
    size_t page_count;
    size_t *differing;
    size_t differing_count, differing_cap;
    uint64_t size, synced_size;
    struct kos_file *lock;
    struct entry *now, *synced;
    struct change *changes, *changes_last;
    struct node *prev, *next;
};

struct kos_memory {
    struct node *root, *nodes;
    uint64_t epoch, ops, countdown;
    int32_t error;
    bool once;
};

struct kos_file {
    struct kos_memory *memory;
    struct node *node;
    uint64_t epoch; /* a handle from before the power loss is of no use */
    int32_t flags;
};

static struct node *node_new(struct kos_memory *memory, bool dir)
{
    struct node *node = kos_new(sizeof *node);
    node->dir = dir;
    DL_APPEND(memory->nodes, node);
    return node;
}

static void node_drop(struct kos_memory *memory, struct node *node);

static void entry_set(struct kos_memory *memory, struct entry **table, const char *name, struct node *node)
{
    struct entry *entry;
    HASH_FIND_STR(*table, name, entry);
    if (node)
        node->refs++;
    if (entry) {
        struct node *old = entry->node;
        if (node) {
            entry->node = node;
        } else {
            HASH_DEL(*table, entry);
            free(entry);
        }
        node_drop(memory, old);
    } else if (node) {
        size_t len = strlen(name);
        entry = kos_new(sizeof *entry + len + 1);
        memcpy(entry->name, name, len + 1);
        entry->node = node;
        HASH_ADD_STR(*table, name, entry);
    }
}

static struct node *entry_get(struct entry *table, const char *name)
{
    struct entry *entry;
    HASH_FIND_STR(table, name, entry);
    return entry ? entry->node : NULL;
}

static void change_drop_first(struct kos_memory *memory, struct node *dir)
{
    struct change *change = dir->changes;
    dir->changes = change->next;
    if (!dir->changes)
        dir->changes_last = NULL;
    if (change->node)
        node_drop(memory, change->node);
    free(change);
}

static void table_clear(struct kos_memory *memory, struct entry **table)
{
    while (*table) {
        struct entry *entry = *table;
        struct node *node = entry->node;
        HASH_DEL(*table, entry);
        free(entry);
        node_drop(memory, node);
    }
}

static void node_drop(struct kos_memory *memory, struct node *node)
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
        change_drop_first(memory, node);
    table_clear(memory, &node->now);
    table_clear(memory, &node->synced);
    DL_DELETE(memory->nodes, node);
    free(node);
}

static void change_add(struct kos_memory *memory, struct node *dir, const char *name, struct node *node, bool joined)
{
    size_t len = strlen(name);
    struct change *change = kos_new(sizeof *change + len + 1);
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
    entry_set(memory, &dir->now, name, node);
}

static void change_sync_first(struct kos_memory *memory, struct node *dir)
{
    entry_set(memory, &dir->synced, dir->changes->name, dir->changes->node);
    change_drop_first(memory, dir);
}

struct kos_memory *kos_memory_new(void)
{
    struct kos_memory *memory = kos_new(sizeof *memory);
    memory->root = node_new(memory, true);
    memory->root->refs = 1;
    return memory;
}

void kos_memory_free(struct kos_memory *memory)
{
    /* Handles still open leak with their nodes: the leak checker then points at who forgot them. */
    node_drop(memory, memory->root);
    free(memory);
}

void kos_memory_fail(struct kos_memory *memory, uint64_t nth, int32_t error, bool once)
{
    memory->countdown = error == KOS_OK ? 0 : nth;
    memory->error = error;
    memory->once = once;
}

uint64_t kos_memory_ops_count(const struct kos_memory *memory)
{
    return memory->ops;
}

/* Counts an operation and says whether it is to fail. */
static int32_t step(struct kos_memory *memory, bool takes_space)
{
    memory->ops++;
    if (!memory->countdown || (memory->error == KOS_E_NOSPACE && !takes_space))
        return KOS_OK;
    if (memory->countdown > 1) {
        memory->countdown--;
        return KOS_OK;
    }
    if (memory->once)
        memory->countdown = 0;
    return memory->error;
}

static int32_t file_step(struct kos_file *file, bool takes_space)
{
    int32_t rc = step(file->memory, takes_space);
    return rc < 0 ? rc : file->epoch == file->memory->epoch ? KOS_OK : KOS_E_IO;
}

/* Finds the directory of an absolute path and the last name in it; name is "" for the root. */
static int32_t walk(struct kos_memory *memory, const char *path, struct node **ret_dir, char name[NAME_MAX_LEN + 1])
{
    if (path[0] != '/')
        return KOS_E_INVALID;
    struct node *dir = memory->root;
    name[0] = 0;
    for (;;) {
        path += strspn(path, "/");
        size_t len = strcspn(path, "/");
        if (len == 0)
            break;
        if (name[0]) {
            dir = entry_get(dir->now, name);
            if (!dir || !dir->dir)
                return KOS_E_NOTFOUND;
        }
        if (len > NAME_MAX_LEN || (len == 1 && path[0] == '.') || (len == 2 && path[0] == '.' && path[1] == '.'))
            return KOS_E_INVALID;
        memcpy(name, path, len);
        name[len] = 0;
        path += len;
    }
    *ret_dir = dir;
    return KOS_OK;
}

static int32_t find(struct kos_memory *memory, const char *path, struct node **ret_node)
{
    char name[NAME_MAX_LEN + 1];
    struct node *dir;
    int32_t rc = walk(memory, path, &dir, name);
    if (rc < 0)
        return rc;
    struct node *node = name[0] ? entry_get(dir->now, name) : dir;
    if (!node)
        return KOS_E_NOTFOUND;
    *ret_node = node;
    return KOS_OK;
}

static void page_differs(struct node *node, size_t at)
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

static uint8_t *page_now(struct node *node, size_t at)
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
        node->pages[at].now = kos_new(PAGE);
    return node->pages[at].now;
}

static void put(struct node *node, const uint8_t *data, size_t len, uint64_t offset)
{
    uint64_t end = offset + len;
    while (len) {
        size_t at = (size_t)(offset / PAGE), from = (size_t)(offset % PAGE);
        size_t part = len < PAGE - from ? len : PAGE - from;
        memcpy(page_now(node, at) + from, data, part);
        page_differs(node, at);
        data += part;
        len -= part;
        offset += part;
    }
    if (end > node->size)
        node->size = end;
}

static void cut(struct node *node, uint64_t size)
{
    for (size_t at = (size_t)(size / PAGE); at < node->page_count; at++) {
        size_t from = at == size / PAGE ? (size_t)(size % PAGE) : 0;
        if (!node->pages[at].now)
            continue;
        memset(node->pages[at].now + from, 0, PAGE - from);
        page_differs(node, at);
    }
    node->size = size;
}

/* Ends what differs: `write` says whether the disk takes what is seen, or what is seen falls back to the disk. */
static void page_settle(struct page *page, bool write)
{
    uint8_t **to = write ? &page->synced : &page->now, *from = write ? page->now : page->synced;
    if (!from) {
        free(*to);
        *to = NULL;
    } else {
        if (!*to)
            *to = kos_new(PAGE);
        memcpy(*to, from, PAGE);
    }
    page->differs = page->dirty = false;
}

static void sync_content(struct node *node, bool fails)
{
    size_t kept = 0;
    for (size_t i = 0; i < node->differing_count; i++) {
        struct page *page = &node->pages[node->differing[i]];
        if (page->dirty && !fails) {
            page_settle(page, true);
        } else {
            page->dirty = false;
            node->differing[kept++] = node->differing[i];
        }
    }
    node->differing_count = kept;
    if (!fails)
        node->synced_size = node->size;
}

static uint8_t coin(struct klp_random *random)
{
    uint8_t byte = 0;
    if (random)
        random->fill(random->self, &byte, 1);
    return byte;
}

static void content_loss(struct node *node, struct klp_random *random)
{
    for (size_t i = 0; i < node->differing_count; i++) {
        struct page *page = &node->pages[node->differing[i]];
        if (page->dirty && random) {
            if (!page->synced)
                page->synced = kos_new(PAGE);
            for (size_t at = 0; at < PAGE; at += SECTOR)
                if (coin(random) & 1)
                    memcpy(page->synced + at, page->now + at, SECTOR);
        }
        page_settle(page, false);
    }
    node->differing_count = 0;
    if (!(coin(random) & 1))
        node->size = node->synced_size;
    cut(node, node->size);
    sync_content(node, false);
    node->lock = NULL;
}

void kos_memory_power_loss(struct kos_memory *memory, struct klp_random *random)
{
    memory->epoch++;
    memory->countdown = 0;
    struct node *node;
    DL_FOREACH(memory->nodes, node)
        node->refs++; /* none is to go while this list is walked */
    DL_FOREACH(memory->nodes, node) {
        if (!node->dir) {
            content_loss(node, random);
            continue;
        }
        while (node->changes && (coin(random) & 3)) {
            while (node->changes->joined)
                change_sync_first(memory, node);
            change_sync_first(memory, node);
        }
        while (node->changes)
            change_drop_first(memory, node);
        table_clear(memory, &node->now);
        for (struct entry *entry = node->synced; entry; entry = entry->hh.next)
            entry_set(memory, &node->now, entry->name, entry->node);
    }
    /* From the back, and with the place kept by its successor: what goes takes only nodes nobody else counts. */
    struct node **all = NULL;
    size_t count = 0;
    DL_COUNT(memory->nodes, node, count);
    all = kos_new(count * sizeof(struct node *));
    count = 0;
    DL_FOREACH(memory->nodes, node)
        all[count++] = node;
    for (size_t i = 0; i < count; i++)
        node_drop(memory, all[i]);
    free(all);
}

static int32_t file_open(struct kos_env *env, const char *path, int32_t flags, mode_t mode, struct kos_file **ret_file)
{
    struct kos_memory *memory = kos_memory_of(env);
    int32_t rc = step(memory, (flags & KOS_FILE_CREATE) != 0);
    char name[NAME_MAX_LEN + 1];
    struct node *dir;
    if (rc < 0 || (rc = walk(memory, path, &dir, name)) < 0)
        return rc;
    struct node *node = name[0] ? entry_get(dir->now, name) : dir;
    if (node && node->dir)
        return KOS_E_INVALID;
    if (node && (flags & KOS_FILE_CREATE) && (flags & KOS_FILE_EXCLUSIVE))
        return KOS_E_EXISTS;
    if (!node && !(flags & KOS_FILE_CREATE))
        return KOS_E_NOTFOUND;
    if (!node) {
        node = node_new(memory, false);
        node->mode = mode;
        change_add(memory, dir, name, node, false);
    } else if (flags & KOS_FILE_TRUNCATE) {
        cut(node, 0);
    }
    struct kos_file *file = kos_new(sizeof *file);
    *file = (struct kos_file){ memory, node, memory->epoch, flags };
    node->refs++;
    *ret_file = file;
    return KOS_OK;
}

static void file_close(struct kos_file *file)
{
    if (!file)
        return;
    if (file->node->lock == file)
        file->node->lock = NULL;
    node_drop(file->memory, file->node);
    free(file);
}

static int64_t file_read(struct kos_file *file, void *buf, size_t len, uint64_t offset)
{
    int32_t rc = file_step(file, false);
    if (rc < 0)
        return rc;
    struct node *node = file->node;
    if (offset >= node->size)
        return 0;
    if (len > node->size - offset)
        len = (size_t)(node->size - offset);
    uint8_t *out = buf;
    for (size_t left = len; left;) {
        size_t at = (size_t)(offset / PAGE), from = (size_t)(offset % PAGE);
        size_t part = left < PAGE - from ? left : PAGE - from;
        if (at < node->page_count && node->pages[at].now)
            memcpy(out, node->pages[at].now + from, part);
        else
            memset(out, 0, part);
        out += part;
        left -= part;
        offset += part;
    }
    return (int64_t)len;
}

static int32_t file_write(struct kos_file *file, const void *buf, size_t len, uint64_t offset)
{
    int32_t rc = file_step(file, true);
    if (!(file->flags & KOS_FILE_WRITE))
        return KOS_E_INVALID;
    if (file->epoch == file->memory->epoch)
        put(file->node, buf, rc < 0 ? len / 2 : len, offset);
    return rc;
}

static int32_t file_sync(struct kos_file *file)
{
    int32_t rc = file_step(file, true);
    if (file->epoch == file->memory->epoch)
        sync_content(file->node, rc < 0);
    return rc;
}

static int32_t file_truncate(struct kos_file *file, uint64_t size)
{
    int32_t rc = file_step(file, true);
    if (rc < 0)
        return rc;
    cut(file->node, size);
    return KOS_OK;
}

static int32_t file_allocate(struct kos_file *file, uint64_t size)
{
    int32_t rc = file_step(file, true);
    if (rc == KOS_OK && size > file->node->size)
        file->node->size = size;
    return rc;
}

static int64_t file_size(struct kos_file *file)
{
    int32_t rc = file_step(file, false);
    return rc < 0 ? rc : (int64_t)file->node->size;
}

static int32_t file_lock(struct kos_file *file)
{
    int32_t rc = file_step(file, false);
    if (rc < 0)
        return rc;
    if (file->node->lock && file->node->lock != file)
        return KOS_E_LOCKED;
    file->node->lock = file;
    return KOS_OK;
}

static int32_t file_rename(struct kos_env *env, const char *from, const char *to)
{
    struct kos_memory *memory = kos_memory_of(env);
    int32_t rc = step(memory, true);
    char from_name[NAME_MAX_LEN + 1], to_name[NAME_MAX_LEN + 1];
    struct node *from_dir, *to_dir;
    if (rc < 0 || (rc = walk(memory, from, &from_dir, from_name)) < 0 || (rc = walk(memory, to, &to_dir, to_name)) < 0)
        return rc;
    struct node *node = entry_get(from_dir->now, from_name), *old = entry_get(to_dir->now, to_name);
    if (!node || !to_name[0])
        return KOS_E_NOTFOUND;
    if (node == old)
        return KOS_OK;
    if (old && (old->dir || node->dir))
        return KOS_E_EXISTS;
    node->refs++;
    change_add(memory, from_dir, from_name, NULL, from_dir == to_dir);
    change_add(memory, to_dir, to_name, node, false);
    node_drop(memory, node);
    return KOS_OK;
}

static int32_t file_remove(struct kos_env *env, const char *path)
{
    struct kos_memory *memory = kos_memory_of(env);
    int32_t rc = step(memory, false);
    char name[NAME_MAX_LEN + 1];
    struct node *dir;
    if (rc < 0 || (rc = walk(memory, path, &dir, name)) < 0)
        return rc;
    struct node *node = name[0] ? entry_get(dir->now, name) : NULL;
    if (!node)
        return KOS_E_NOTFOUND;
    if (node->dir && node->now)
        return KOS_E_EXISTS;
    change_add(memory, dir, name, NULL, false);
    return KOS_OK;
}

static int32_t dir_make(struct kos_env *env, const char *path, mode_t mode)
{
    struct kos_memory *memory = kos_memory_of(env);
    int32_t rc = step(memory, true);
    char name[NAME_MAX_LEN + 1];
    struct node *dir;
    if (rc < 0 || (rc = walk(memory, path, &dir, name)) < 0)
        return rc;
    if (!name[0] || entry_get(dir->now, name))
        return KOS_E_EXISTS;
    struct node *made = node_new(memory, true);
    made->mode = mode;
    change_add(memory, dir, name, made, false);
    return KOS_OK;
}

static int32_t file_stat(struct kos_env *env, const char *path, struct kos_file_stat *ret_stat)
{
    struct kos_memory *memory = kos_memory_of(env);
    int32_t rc = step(memory, false);
    struct node *node;
    if (rc < 0 || (rc = find(memory, path, &node)) < 0)
        return rc;
    *ret_stat = (struct kos_file_stat){ .type = node->dir ? KOS_FILE_DIRECTORY : KOS_FILE_REGULAR, .mode = node->mode, .ours = true, .size = node->size };
    return KOS_OK;
}

static int32_t dir_sync(struct kos_env *env, const char *path)
{
    struct kos_memory *memory = kos_memory_of(env);
    int32_t rc = step(memory, true);
    struct node *dir;
    if (rc < 0 || (rc = find(memory, path, &dir)) < 0)
        return rc;
    if (!dir->dir)
        return KOS_E_NOTFOUND;
    while (dir->changes)
        change_sync_first(memory, dir);
    return KOS_OK;
}

static int by_bytes(struct entry *a, struct entry *b)
{
    return strcmp(a->name, b->name);
}

static int32_t dir_list(struct kos_env *env, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
    struct kos_memory *memory = kos_memory_of(env);
    int32_t rc = step(memory, false);
    struct node *dir;
    if (rc < 0 || (rc = find(memory, path, &dir)) < 0)
        return rc;
    if (!dir->dir)
        return KOS_E_NOTFOUND;
    HASH_SORT(dir->now, by_bytes);
    /* Copied, as `each` may change the directory. */
    size_t count = HASH_COUNT(dir->now), at = 0;
    char **names = kos_new(count * sizeof(char *));
    for (struct entry *entry = dir->now; entry; entry = entry->hh.next)
        names[at++] = kos_strdup(entry->name);
    for (at = 0; at < count; at++) {
        each(arg, names[at]);
        free(names[at]);
    }
    free(names);
    return KOS_OK;
}

void kos_memory_ops(struct kos_env_ops *ops)
{
    ops->file_open = file_open;
    ops->file_close = file_close;
    ops->file_read = file_read;
    ops->file_write = file_write;
    ops->file_sync = file_sync;
    ops->file_truncate = file_truncate;
    ops->file_allocate = file_allocate;
    ops->file_size = file_size;
    ops->file_lock = file_lock;
    ops->file_rename = file_rename;
    ops->file_remove = file_remove;
    ops->dir_make = dir_make;
    ops->dir_sync = dir_sync;
    ops->dir_list = dir_list;
    ops->file_stat = file_stat;
}
