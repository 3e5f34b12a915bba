/* SPDX-License-Identifier: Apache-2.0
 * An environment that cannot write: what checks a store goes through it, so that looking changes nothing, whatever SQLite
 * thinks of what it finds. It also counts what was read, for who waits. */
#include <stdlib.h>

#include "store/internal.h"

struct look {
    struct kos_env env; /* first */
    struct kos_env_ops ops;
    struct kos_env *under;
    const struct kos_store_checker *checker;
    uint64_t read, total, told;
};

/* Files know whose they are, so that reading can be counted. What would be made (SQLite wants a log beside each database,
 * empty or not) is empty and nowhere: under is NULL. */
struct kos_file {
    struct look *look;
    struct kos_file *under;
};

static struct look *look_of(struct kos_env *env)
{
    return (struct look *)env;
}

static int64_t now_ms(struct kos_env *env)
{
    return kos_now_ms(look_of(env)->under);
}

static uint64_t mono_ns(struct kos_env *env)
{
    return kos_mono_ns(look_of(env)->under);
}

static void random_bytes(struct kos_env *env, void *out, size_t len)
{
    kos_random(look_of(env)->under, out, len);
}

static void log_line(struct kos_env *env, int32_t level, const char *room, const char *text)
{
    (void)env, (void)level, (void)room, (void)text; /* what is found is told to who asked */
}

static int32_t file_open(struct kos_env *env, const char *path, int32_t flags, mode_t mode, struct kos_file **ret_file)
{
    struct look *look = look_of(env);
    struct kos_file *under = NULL;
    (void)mode;
    if (flags & KOS_FILE_TRUNCATE)
        return KOS_E_PERMISSION;
    int32_t rc = look->under->ops->file_open(look->under, path, KOS_FILE_READ, 0, &under);
    if (rc < 0 && !(rc == KOS_E_NOTFOUND && (flags & KOS_FILE_CREATE)))
        return rc;
    struct kos_file *file = kos_new(sizeof *file);
    file->look = look;
    file->under = under;
    *ret_file = file;
    return KOS_OK;
}

static void file_close(struct kos_file *file)
{
    if (!file)
        return;
    file->look->under->ops->file_close(file->under);
    free(file);
}

static int64_t file_read(struct kos_file *file, void *buf, size_t len, uint64_t offset)
{
    struct look *look = file->look;
    int64_t got = !file->under ? 0 : look->under->ops->file_read(file->under, buf, len, offset);
    look->read += got > 0 ? (uint64_t)got : 0;
    if (look->read - look->told >= 1 << 20) {
        look->told = look->read;
        kos_store_progress(look->checker, "reading", look->read < look->total ? look->read : look->total, look->total);
    }
    return got;
}

static int32_t file_write(struct kos_file *file, const void *buf, size_t len, uint64_t offset)
{
    (void)file, (void)buf, (void)len, (void)offset;
    return KOS_E_PERMISSION;
}

static int32_t file_sync(struct kos_file *file)
{
    (void)file;
    return KOS_OK;
}

static int32_t file_resize(struct kos_file *file, uint64_t size)
{
    (void)file, (void)size;
    return KOS_E_PERMISSION;
}

static int64_t file_size(struct kos_file *file)
{
    return file->under ? file->look->under->ops->file_size(file->under) : 0;
}

static int32_t file_lock(struct kos_file *file)
{
    return file->look->under->ops->file_lock(file->under);
}

static int32_t file_rename(struct kos_env *env, const char *from, const char *to)
{
    (void)env, (void)from, (void)to;
    return KOS_E_PERMISSION;
}

static int32_t file_remove(struct kos_env *env, const char *path)
{
    (void)env, (void)path;
    return KOS_E_PERMISSION;
}

static int32_t dir_make(struct kos_env *env, const char *path, mode_t mode)
{
    (void)env, (void)path, (void)mode;
    return KOS_E_PERMISSION;
}

static int32_t dir_sync(struct kos_env *env, const char *path)
{
    (void)env, (void)path;
    return KOS_OK;
}

static int32_t dir_list(struct kos_env *env, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
    struct look *look = look_of(env);
    return look->under->ops->dir_list(look->under, path, each, arg);
}

static int32_t file_stat(struct kos_env *env, const char *path, struct kos_file_stat *ret_stat)
{
    struct look *look = look_of(env);
    return look->under->ops->file_stat(look->under, path, ret_stat);
}

struct kos_env *look_new(struct kos_env *under, const struct kos_store_checker *checker)
{
    struct look *look = kos_new(sizeof *look);
    look->ops = (struct kos_env_ops){
        .now_ms = now_ms, .mono_ns = mono_ns, .random = random_bytes, .log = log_line,
        .file_open = file_open, .file_close = file_close, .file_read = file_read, .file_write = file_write,
        .file_sync = file_sync, .file_truncate = file_resize, .file_allocate = file_resize, .file_size = file_size,
        .file_lock = file_lock, .file_rename = file_rename, .file_remove = file_remove, .dir_make = dir_make,
        .dir_sync = dir_sync, .dir_list = dir_list, .file_stat = file_stat,
    };
    look->env = (struct kos_env){ .ops = &look->ops, .log_level = under->log_level };
    look->under = under;
    look->checker = checker;
    return &look->env;
}

void look_expect(struct kos_env *env, uint64_t bytes)
{
    look_of(env)->total += bytes;
}

void look_free(struct kos_env *env)
{
    free(env ? look_of(env) : NULL);
}
