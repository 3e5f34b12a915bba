/* SPDX-License-Identifier: Apache-2.0
 * Files in memory for tests: kos_env's operations on the disk of manual_disk.h, with faults at the nth of them. */
#include "core/manual_files.h"

#include <stdlib.h>

#include "core/buf.h"
#include "core/manual_disk.h"

struct kos_memory {
    struct disk disk;
    uint64_t epoch, ops, countdown;
    int32_t error;
    bool once, lies;
};

struct kos_file {
    struct kos_memory *memory;
    struct disk_node *node;
    uint64_t epoch; /* a handle from before the power loss is of no use */
    int32_t flags;
};

struct kos_memory *kos_memory_new(void)
{
    struct kos_memory *memory = kos_new(sizeof *memory);
    disk_init(&memory->disk);
    return memory;
}

void kos_memory_free(struct kos_memory *memory)
{
    disk_fini(&memory->disk);
    free(memory);
}

void kos_memory_power_loss(struct kos_memory *memory, struct klp_random *random)
{
    memory->epoch++;
    memory->countdown = 0;
    disk_power_loss(&memory->disk, random);
}

void kos_memory_fail(struct kos_memory *memory, uint64_t nth, int32_t error, bool once)
{
    memory->countdown = error == KOS_OK ? 0 : nth;
    memory->error = error;
    memory->once = once;
}

void kos_memory_lie(struct kos_memory *memory, bool lies)
{
    memory->lies = lies;
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
static int32_t walk(struct kos_memory *memory, const char *path, struct disk_node **ret_dir, char name[DISK_NAME_MAX + 1])
{
    if (path[0] != '/')
        return KOS_E_INVALID;
    struct disk_node *dir = memory->disk.root;
    name[0] = 0;
    for (;;) {
        path += strspn(path, "/");
        size_t len = strcspn(path, "/");
        if (len == 0)
            break;
        if (name[0]) {
            dir = disk_entry_get(dir->now, name);
            if (!dir || !dir->dir)
                return KOS_E_NOTFOUND;
        }
        if (len > DISK_NAME_MAX || (len == 1 && path[0] == '.') || (len == 2 && path[0] == '.' && path[1] == '.'))
            return KOS_E_INVALID;
        memcpy(name, path, len);
        name[len] = 0;
        path += len;
    }
    *ret_dir = dir;
    return KOS_OK;
}

static int32_t find(struct kos_memory *memory, const char *path, struct disk_node **ret_node)
{
    char name[DISK_NAME_MAX + 1];
    struct disk_node *dir;
    int32_t rc = walk(memory, path, &dir, name);
    if (rc < 0)
        return rc;
    struct disk_node *node = name[0] ? disk_entry_get(dir->now, name) : dir;
    if (!node)
        return KOS_E_NOTFOUND;
    *ret_node = node;
    return KOS_OK;
}

static int32_t file_open(struct kos_env *env, const char *path, int32_t flags, mode_t mode, struct kos_file **ret_file)
{
    struct kos_memory *memory = kos_memory_of(env);
    int32_t rc = step(memory, (flags & KOS_FILE_CREATE) != 0);
    char name[DISK_NAME_MAX + 1];
    struct disk_node *dir;
    if (rc < 0 || (rc = walk(memory, path, &dir, name)) < 0)
        return rc;
    struct disk_node *node = name[0] ? disk_entry_get(dir->now, name) : dir;
    if (node && node->dir)
        return KOS_E_INVALID;
    if (node && (flags & KOS_FILE_CREATE) && (flags & KOS_FILE_EXCLUSIVE))
        return KOS_E_EXISTS;
    if (!node && !(flags & KOS_FILE_CREATE))
        return KOS_E_NOTFOUND;
    if (!node) {
        node = disk_node_new(&memory->disk, false);
        node->mode = mode;
        disk_change_add(&memory->disk, dir, name, node, false);
    } else if (flags & KOS_FILE_TRUNCATE) {
        disk_cut(node, 0);
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
    disk_node_drop(&file->memory->disk, file->node);
    free(file);
}

static int64_t file_read(struct kos_file *file, void *buf, size_t len, uint64_t offset)
{
    int32_t rc = file_step(file, false);
    if (rc < 0)
        return rc;
    struct disk_node *node = file->node;
    if (offset >= node->size)
        return 0;
    if (len > node->size - offset)
        len = (size_t)(node->size - offset);
    uint8_t *out = buf;
    for (size_t left = len; left;) {
        size_t at = (size_t)(offset / DISK_PAGE), from = (size_t)(offset % DISK_PAGE);
        size_t part = left < DISK_PAGE - from ? left : DISK_PAGE - from;
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
        disk_put(file->node, buf, rc < 0 ? len / 2 : len, offset);
    return rc;
}

static int32_t file_sync(struct kos_file *file)
{
    int32_t rc = file_step(file, true);
    if (file->epoch == file->memory->epoch && !(file->memory->lies && rc == KOS_OK))
        disk_file_sync(file->node, rc < 0);
    return rc;
}

static int32_t file_truncate(struct kos_file *file, uint64_t size)
{
    int32_t rc = file_step(file, true);
    if (rc < 0)
        return rc;
    disk_cut(file->node, size);
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
    char from_name[DISK_NAME_MAX + 1], to_name[DISK_NAME_MAX + 1];
    struct disk_node *from_dir, *to_dir;
    if (rc < 0 || (rc = walk(memory, from, &from_dir, from_name)) < 0 || (rc = walk(memory, to, &to_dir, to_name)) < 0)
        return rc;
    struct disk_node *node = disk_entry_get(from_dir->now, from_name), *old = disk_entry_get(to_dir->now, to_name);
    if (!node || !to_name[0])
        return KOS_E_NOTFOUND;
    if (node == old)
        return KOS_OK;
    if (old && (old->dir || node->dir))
        return KOS_E_EXISTS;
    node->refs++;
    disk_change_add(&memory->disk, from_dir, from_name, NULL, from_dir == to_dir);
    disk_change_add(&memory->disk, to_dir, to_name, node, false);
    disk_node_drop(&memory->disk, node);
    return KOS_OK;
}

static int32_t file_remove(struct kos_env *env, const char *path)
{
    struct kos_memory *memory = kos_memory_of(env);
    int32_t rc = step(memory, false);
    char name[DISK_NAME_MAX + 1];
    struct disk_node *dir;
    if (rc < 0 || (rc = walk(memory, path, &dir, name)) < 0)
        return rc;
    struct disk_node *node = name[0] ? disk_entry_get(dir->now, name) : NULL;
    if (!node)
        return KOS_E_NOTFOUND;
    if (node->dir && node->now)
        return KOS_E_EXISTS;
    disk_change_add(&memory->disk, dir, name, NULL, false);
    return KOS_OK;
}

static int32_t dir_make(struct kos_env *env, const char *path, mode_t mode)
{
    struct kos_memory *memory = kos_memory_of(env);
    int32_t rc = step(memory, true);
    char name[DISK_NAME_MAX + 1];
    struct disk_node *dir;
    if (rc < 0 || (rc = walk(memory, path, &dir, name)) < 0)
        return rc;
    if (!name[0] || disk_entry_get(dir->now, name))
        return KOS_E_EXISTS;
    struct disk_node *made = disk_node_new(&memory->disk, true);
    made->mode = mode;
    disk_change_add(&memory->disk, dir, name, made, false);
    return KOS_OK;
}

static int32_t file_stat(struct kos_env *env, const char *path, struct kos_file_stat *ret_stat)
{
    struct kos_memory *memory = kos_memory_of(env);
    int32_t rc = step(memory, false);
    struct disk_node *node;
    if (rc < 0 || (rc = find(memory, path, &node)) < 0)
        return rc;
    *ret_stat = (struct kos_file_stat){ .type = node->dir ? KOS_FILE_DIRECTORY : KOS_FILE_REGULAR, .mode = node->mode, .ours = true, .size = node->size };
    return KOS_OK;
}

static int32_t dir_sync(struct kos_env *env, const char *path)
{
    struct kos_memory *memory = kos_memory_of(env);
    int32_t rc = step(memory, true);
    struct disk_node *dir;
    if (rc < 0 || (rc = find(memory, path, &dir)) < 0)
        return rc;
    if (!dir->dir)
        return KOS_E_NOTFOUND;
    if (!memory->lies)
        disk_dir_sync(&memory->disk, dir);
    return KOS_OK;
}

static int by_bytes(struct disk_entry *a, struct disk_entry *b)
{
    return strcmp(a->name, b->name);
}

static int32_t dir_list(struct kos_env *env, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
    struct kos_memory *memory = kos_memory_of(env);
    int32_t rc = step(memory, false);
    struct disk_node *dir;
    if (rc < 0 || (rc = find(memory, path, &dir)) < 0)
        return rc;
    if (!dir->dir)
        return KOS_E_NOTFOUND;
    HASH_SORT(dir->now, by_bytes);
    /* Copied, as `each` may change the directory. */
    size_t count = HASH_COUNT(dir->now), at = 0;
    char **names = kos_new(count * sizeof(char *));
    for (struct disk_entry *entry = dir->now; entry; entry = entry->hh.next)
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
