/* SPDX-License-Identifier: Apache-2.0
 * The VFS: opening, deleting, and the methods of an open file. Locks and shared memory are in vfs_lock.c. */
#include "store/vfs.h"

#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>

#include "core/buf.h"
#include "store/vfs_lock.h"

struct vfs {
    sqlite3_vfs base; /* first: SQLite hands it back */
    struct kos_env *env;
    char *dir;
    char name[48];
    struct vfs_locks locks;
    int64_t opened_ms;
    uint8_t random[64];
};

struct file {
    sqlite3_file base; /* first */
    struct vfs *vfs;
    struct kos_file *file;
    struct vfs_lock lock;
    bool new_name; /* made by this open: its directory is to be synced with it */
};

int32_t vfs_error(int result)
{
    switch (result & 0xff) {
    case SQLITE_OK: case SQLITE_ROW: case SQLITE_DONE: return KOS_OK;
    case SQLITE_FULL: return KOS_E_NOSPACE;
    case SQLITE_CORRUPT: case SQLITE_NOTADB: return KOS_E_CORRUPT;
    case SQLITE_NOMEM: return KOS_E_NOMEM;
    case SQLITE_PERM: case SQLITE_READONLY: return KOS_E_PERMISSION;
    case SQLITE_TOOBIG: return KOS_E_LIMIT;
    case SQLITE_BUSY: case SQLITE_LOCKED: return KOS_E_BUSY;
    default: return KOS_E_IO;
    }
}

static int result_of(int32_t rc, int otherwise)
{
    return rc >= 0 ? SQLITE_OK : rc == KOS_E_NOSPACE ? SQLITE_FULL : rc == KOS_E_NOMEM ? SQLITE_IOERR_NOMEM : otherwise;
}

static struct file *file_of(sqlite3_file *base)
{
    return (struct file *)base;
}

static const struct kos_env_ops *ops_of(const struct file *file)
{
    return file->vfs->env->ops;
}

static int file_close(sqlite3_file *base)
{
    struct file *file = file_of(base);
    vfs_lock_drop(&file->vfs->locks, &file->lock);
    ops_of(file)->file_close(file->file);
    return SQLITE_OK;
}

static int file_read(sqlite3_file *base, void *buf, int len, sqlite3_int64 offset)
{
    struct file *file = file_of(base);
    int64_t got = ops_of(file)->file_read(file->file, buf, (size_t)len, (uint64_t)offset);
    if (got < 0)
        return result_of((int32_t)got, SQLITE_IOERR_READ);
    if (got == len)
        return SQLITE_OK;
    memset((uint8_t *)buf + got, 0, (size_t)(len - got)); /* SQLite's contract of a short read */
    return SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *base, const void *buf, int len, sqlite3_int64 offset)
{
    struct file *file = file_of(base);
    return result_of(ops_of(file)->file_write(file->file, buf, (size_t)len, (uint64_t)offset), SQLITE_IOERR_WRITE);
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct file *file = file_of(base);
    return result_of(ops_of(file)->file_truncate(file->file, (uint64_t)size), SQLITE_IOERR_TRUNCATE);
}

static int file_sync(sqlite3_file *base, int flags)
{
    (void)flags;
    struct file *file = file_of(base);
    int32_t rc = ops_of(file)->file_sync(file->file);
    if (rc == KOS_OK && file->new_name) {
        rc = ops_of(file)->dir_sync(file->vfs->env, file->vfs->dir);
        file->new_name = rc < 0;
    }
    return result_of(rc, SQLITE_IOERR_FSYNC);
}

static int file_size(sqlite3_file *base, sqlite3_int64 *ret_size)
{
    struct file *file = file_of(base);
    int64_t size = ops_of(file)->file_size(file->file);
    if (size < 0)
        return SQLITE_IOERR_FSTAT;
    *ret_size = size;
    return SQLITE_OK;
}

static int file_lock(sqlite3_file *base, int level)
{
    return vfs_lock_raise(&file_of(base)->vfs->locks, &file_of(base)->lock, level);
}

static int file_unlock(sqlite3_file *base, int level)
{
    return vfs_lock_lower(&file_of(base)->vfs->locks, &file_of(base)->lock, level);
}

static int file_reserved(sqlite3_file *base, int *ret_reserved)
{
    *ret_reserved = vfs_lock_reserved(&file_of(base)->vfs->locks);
    return SQLITE_OK;
}

static int file_control(sqlite3_file *base, int op, void *arg)
{
    (void)base, (void)op, (void)arg;
    return SQLITE_NOTFOUND;
}

static int file_sector(sqlite3_file *base)
{
    (void)base;
    return 4096;
}

static int file_traits(sqlite3_file *base)
{
    (void)base;
    /* A write that is cut by power loss leaves what lies beside it as it was; nobody unlinks the file meanwhile. */
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE | SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN;
}

static int shm_map(sqlite3_file *base, int at, int size, int extend, void volatile **ret_region)
{
    return vfs_shm_map(&file_of(base)->vfs->locks, at, size, extend, ret_region);
}

static int shm_lock(sqlite3_file *base, int offset, int count, int flags)
{
    return vfs_shm_lock(&file_of(base)->vfs->locks, &file_of(base)->lock, offset, count, flags);
}

static void shm_barrier(sqlite3_file *base)
{
    vfs_shm_barrier(&file_of(base)->vfs->locks);
}

static int shm_unmap(sqlite3_file *base, int delete_too)
{
    (void)delete_too; /* the last connection frees it, with the VFS */
    vfs_shm_drop(&file_of(base)->vfs->locks, &file_of(base)->lock);
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = file_close, .xRead = file_read, .xWrite = file_write, .xTruncate = file_truncate, .xSync = file_sync,
    .xFileSize = file_size, .xLock = file_lock, .xUnlock = file_unlock, .xCheckReservedLock = file_reserved,
    .xFileControl = file_control, .xSectorSize = file_sector, .xDeviceCharacteristics = file_traits,
    .xShmMap = shm_map, .xShmLock = shm_lock, .xShmBarrier = shm_barrier, .xShmUnmap = shm_unmap,
};

static struct vfs *vfs_of(sqlite3_vfs *base)
{
    return (struct vfs *)base;
}

static int vfs_open(sqlite3_vfs *base, const char *path, sqlite3_file *ret_base, int flags, int *ret_flags)
{
    struct vfs *vfs = vfs_of(base);
    struct file *file = file_of(ret_base);
    memset(file, 0, sizeof *file); /* pMethods NULL: nothing to close after a failure */
    if (!path)
        return SQLITE_CANTOPEN; /* temporary files live in memory (temp_store) */
    int32_t how = KOS_FILE_READ | (flags & SQLITE_OPEN_READWRITE ? KOS_FILE_WRITE : 0);
    int32_t rc = vfs->env->ops->file_open(vfs->env, path, how, 0600, &file->file);
    if (rc == KOS_E_NOTFOUND && (flags & SQLITE_OPEN_CREATE)) {
        rc = vfs->env->ops->file_open(vfs->env, path, how | KOS_FILE_CREATE | KOS_FILE_EXCLUSIVE, 0600, &file->file);
        file->new_name = true;
    }
    if (rc < 0)
        return result_of(rc, SQLITE_CANTOPEN);
    file->vfs = vfs;
    file->base.pMethods = &methods;
    if (ret_flags)
        *ret_flags = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *base, const char *path, int sync_dir)
{
    struct vfs *vfs = vfs_of(base);
    int32_t rc = vfs->env->ops->file_remove(vfs->env, path);
    if (rc == KOS_E_NOTFOUND)
        return SQLITE_IOERR_DELETE_NOENT;
    if (rc < 0)
        return result_of(rc, SQLITE_IOERR_DELETE);
    return sync_dir ? result_of(vfs->env->ops->dir_sync(vfs->env, vfs->dir), SQLITE_IOERR_DIR_FSYNC) : SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *base, const char *path, int flags, int *ret_yes)
{
    struct vfs *vfs = vfs_of(base);
    struct kos_file *file;
    int32_t rc = vfs->env->ops->file_open(vfs->env, path, KOS_FILE_READ | (flags == SQLITE_ACCESS_READWRITE ? KOS_FILE_WRITE : 0), 0, &file);
    if (rc == KOS_E_NOTFOUND || rc == KOS_E_PERMISSION) {
        *ret_yes = 0;
        return SQLITE_OK;
    }
    if (rc < 0)
        return SQLITE_IOERR_ACCESS;
    /* An empty file has nothing to recover from: SQLite asks this of journals and logs. */
    *ret_yes = flags != SQLITE_ACCESS_EXISTS || vfs->env->ops->file_size(file) > 0;
    vfs->env->ops->file_close(file);
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *base, const char *path, int cap, char *ret_path)
{
    (void)base;
    size_t len = strlen(path);
    if (path[0] != '/' || len >= (size_t)cap)
        return SQLITE_CANTOPEN;
    memcpy(ret_path, path, len + 1);
    return SQLITE_OK;
}

static int vfs_randomness(sqlite3_vfs *base, int len, char *out)
{
    struct vfs *vfs = vfs_of(base);
    size_t part = (size_t)len < sizeof vfs->random ? (size_t)len : sizeof vfs->random;
    memcpy(out, vfs->random, part);
    return (int)part;
}

static int vfs_sleep(sqlite3_vfs *base, int microseconds)
{
    (void)base;
    sched_yield(); /* the other connection is in the middle of a few instructions, not of I/O */
    return microseconds;
}

/* Called by workers, which may not ask for the time: nothing the store does in SQL depends on it. */
static int vfs_time(sqlite3_vfs *base, sqlite3_int64 *ret_julian_ms)
{
    *ret_julian_ms = vfs_of(base)->opened_ms + 210866760000000; /* the Unix epoch as a Julian day in ms */
    return SQLITE_OK;
}

static int vfs_time_days(sqlite3_vfs *base, double *ret_days)
{
    sqlite3_int64 ms;
    vfs_time(base, &ms);
    *ret_days = (double)ms / 86400000.0;
    return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *base, int cap, char *out)
{
    (void)base, (void)cap, (void)out;
    return 0;
}

int32_t vfs_new(struct kos_env *env, const char *dir, struct vfs **ret_vfs)
{
    struct vfs *vfs = kos_new(sizeof *vfs);
    vfs->env = env;
    vfs->dir = kos_strdup(dir);
    vfs->opened_ms = kos_now_ms(env);
    kos_random(env, vfs->random, sizeof vfs->random);
    snprintf(vfs->name, sizeof vfs->name, "kos-%" PRIxPTR, (uintptr_t)vfs); /* unique in the process while it lives */
    vfs->base = (sqlite3_vfs){
        .iVersion = 2, .szOsFile = sizeof(struct file), .mxPathname = 4096, .zName = vfs->name,
        .xOpen = vfs_open, .xDelete = vfs_delete, .xAccess = vfs_access, .xFullPathname = vfs_full_path,
        .xRandomness = vfs_randomness, .xSleep = vfs_sleep, .xCurrentTime = vfs_time_days, .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_time,
    };
    int result = sqlite3_initialize();
    if (result == SQLITE_OK)
        result = vfs_locks_init(&vfs->locks) ? sqlite3_vfs_register(&vfs->base, 0) : SQLITE_NOMEM;
    if (result != SQLITE_OK) {
        vfs_locks_fini(&vfs->locks);
        free(vfs->dir);
        free(vfs);
        return vfs_error(result);
    }
    *ret_vfs = vfs;
    return KOS_OK;
}

void vfs_free(struct vfs *vfs)
{
    if (!vfs)
        return;
    sqlite3_vfs_unregister(&vfs->base);
    vfs_locks_fini(&vfs->locks);
    free(vfs->dir);
    free(vfs);
}

const char *vfs_name(const struct vfs *vfs)
{
    return vfs->name;
}
