/* SPDX-License-Identifier: Apache-2.0
 * What a run does to its disks, shown in its trace (--files): for finding out why a store is not as it should be. */
#include "sim.h"

#include <stdlib.h>

struct opened {
    UT_hash_handle hh;
    struct kos_file *file;
    const char *name;
    char path[64];
};

static const struct kos_env_ops *under;
static struct kos_env_ops shown;
static struct opened *opened;

static const char *path_of(struct kos_file *file)
{
    struct opened *one;
    HASH_FIND_PTR(opened, &file, one);
    return one ? one->path : "?";
}

static int32_t show(int32_t rc, const char *what, const char *path, uint64_t len, uint64_t at)
{
    printf("%12.6f %-6s   %-8s %-40s %llu at %llu: %s\n", (double)sim_world->now / 1e9, sim_world->current->name, what,
           path, (unsigned long long)len, (unsigned long long)at, rc < 0 ? kos_error_name(rc) : "ok");
    return rc;
}

static int32_t open_shown(struct kos_env *env, const char *path, int32_t flags, mode_t mode, struct kos_file **ret_file)
{
    int32_t rc = under->file_open(env, path, flags, mode, ret_file);
    if (rc >= 0) {
        struct opened *one = kos_new(sizeof *one);
        one->file = *ret_file;
        snprintf(one->path, sizeof one->path, "%s", path);
        HASH_ADD_PTR(opened, file, one);
    }
    return show(rc, flags & KOS_FILE_CREATE ? "create" : "open", path, 0, 0);
}

static void close_shown(struct kos_file *file)
{
    struct opened *one;
    HASH_FIND_PTR(opened, &file, one);
    if (one) {
        HASH_DEL(opened, one);
        free(one);
    }
    under->file_close(file);
}

static int64_t read_shown(struct kos_file *file, void *buf, size_t len, uint64_t offset)
{
    int64_t rc = under->file_read(file, buf, len, offset);
    show(rc < 0 ? (int32_t)rc : KOS_OK, "read", path_of(file), len, offset);
    return rc;
}

static int32_t write_shown(struct kos_file *file, const void *buf, size_t len, uint64_t offset)
{
    return show(under->file_write(file, buf, len, offset), "write", path_of(file), len, offset);
}

static int32_t sync_shown(struct kos_file *file)
{
    return show(under->file_sync(file), "sync", path_of(file), 0, 0);
}

static int32_t truncate_shown(struct kos_file *file, uint64_t size)
{
    return show(under->file_truncate(file, size), "truncate", path_of(file), size, 0);
}

static int32_t allocate_shown(struct kos_file *file, uint64_t size)
{
    return show(under->file_allocate(file, size), "allocate", path_of(file), size, 0);
}

static int32_t rename_shown(struct kos_env *env, const char *from, const char *to)
{
    show(KOS_OK, "rename", from, 0, 0);
    return show(under->file_rename(env, from, to), "  to", to, 0, 0);
}

static int32_t remove_shown(struct kos_env *env, const char *path)
{
    return show(under->file_remove(env, path), "remove", path, 0, 0);
}

static int32_t dir_sync_shown(struct kos_env *env, const char *path)
{
    return show(under->dir_sync(env, path), "dir_sync", path, 0, 0);
}

void sim_show_files(struct kos_env *env)
{
    under = env->ops;
    shown = *under;
    shown.file_open = open_shown;
    shown.file_close = close_shown;
    shown.file_read = read_shown;
    shown.file_write = write_shown;
    shown.file_sync = sync_shown;
    shown.file_truncate = truncate_shown;
    shown.file_allocate = allocate_shown;
    shown.file_rename = rename_shown;
    shown.file_remove = remove_shown;
    shown.dir_sync = dir_sync_shown;
    env->ops = &shown;
}
