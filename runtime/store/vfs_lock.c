/* SPDX-License-Identifier: Apache-2.0
 * SQLite's lock levels (sqlite.org/lockingv3.html) and the slots of its shared memory (sqlite.org/walformat.html,
 * section 2.3), within one process. */
#include "store/vfs_lock.h"

#include <stdlib.h>

bool vfs_locks_init(struct vfs_locks *locks)
{
    locks->mutex = sqlite3_mutex_alloc(SQLITE_MUTEX_FAST);
    return locks->mutex != NULL;
}

void vfs_locks_fini(struct vfs_locks *locks)
{
    for (int i = 0; i < VFS_REGIONS_MAX && locks->regions[i]; i++)
        free(locks->regions[i]);
    sqlite3_mutex_free(locks->mutex);
}

static int raise_locked(struct vfs_locks *locks, struct vfs_lock *lock, int level)
{
    if (lock->level >= level)
        return SQLITE_OK;
    if (level == SQLITE_LOCK_SHARED) {
        if (locks->pending || locks->exclusive)
            return SQLITE_BUSY;
        locks->shared++;
        lock->level = level;
        return SQLITE_OK;
    }
    if (level == SQLITE_LOCK_RESERVED) {
        if (locks->reserved)
            return SQLITE_BUSY;
        locks->reserved = lock;
        lock->level = level;
        return SQLITE_OK;
    }
    if ((locks->pending && locks->pending != lock) || (locks->reserved && locks->reserved != lock))
        return SQLITE_BUSY;
    locks->pending = lock; /* no new readers from here on, even when old ones still read */
    lock->level = SQLITE_LOCK_PENDING;
    if (locks->shared > 1)
        return SQLITE_BUSY;
    locks->exclusive = lock;
    lock->level = SQLITE_LOCK_EXCLUSIVE;
    return SQLITE_OK;
}

static void lower_locked(struct vfs_locks *locks, struct vfs_lock *lock, int level)
{
    if (lock->level <= level)
        return;
    if (locks->reserved == lock)
        locks->reserved = NULL;
    if (locks->pending == lock)
        locks->pending = NULL;
    if (locks->exclusive == lock)
        locks->exclusive = NULL;
    if (level == SQLITE_LOCK_NONE)
        locks->shared--;
    lock->level = level;
}

int vfs_lock_raise(struct vfs_locks *locks, struct vfs_lock *lock, int level)
{
    sqlite3_mutex_enter(locks->mutex);
    int result = raise_locked(locks, lock, level);
    sqlite3_mutex_leave(locks->mutex);
    return result;
}

int vfs_lock_lower(struct vfs_locks *locks, struct vfs_lock *lock, int level)
{
    sqlite3_mutex_enter(locks->mutex);
    lower_locked(locks, lock, level);
    sqlite3_mutex_leave(locks->mutex);
    return SQLITE_OK;
}

int vfs_lock_reserved(struct vfs_locks *locks)
{
    sqlite3_mutex_enter(locks->mutex);
    int reserved = locks->reserved != NULL;
    sqlite3_mutex_leave(locks->mutex);
    return reserved;
}

static void slots_unlock(struct vfs_locks *locks, struct vfs_lock *lock, int offset, int count)
{
    for (int i = offset; i < offset + count; i++) {
        if (lock->shared & 1U << i)
            locks->slot_shared[i]--;
        if (locks->slot_exclusive[i] == lock)
            locks->slot_exclusive[i] = NULL;
        lock->shared &= (uint16_t)~(1U << i);
        lock->exclusive &= (uint16_t)~(1U << i);
    }
}

void vfs_shm_drop(struct vfs_locks *locks, struct vfs_lock *lock)
{
    sqlite3_mutex_enter(locks->mutex);
    slots_unlock(locks, lock, 0, SQLITE_SHM_NLOCK);
    sqlite3_mutex_leave(locks->mutex);
}

void vfs_lock_drop(struct vfs_locks *locks, struct vfs_lock *lock)
{
    vfs_shm_drop(locks, lock);
    vfs_lock_lower(locks, lock, SQLITE_LOCK_NONE);
}

static int slots_shared(struct vfs_locks *locks, struct vfs_lock *lock, int at)
{
    if (lock->shared & 1U << at)
        return SQLITE_OK;
    if (locks->slot_exclusive[at])
        return SQLITE_BUSY;
    locks->slot_shared[at]++;
    lock->shared |= (uint16_t)(1U << at);
    return SQLITE_OK;
}

static int slots_exclusive(struct vfs_locks *locks, struct vfs_lock *lock, int offset, int count)
{
    for (int i = offset; i < offset + count; i++)
        if (locks->slot_shared[i] || (locks->slot_exclusive[i] && locks->slot_exclusive[i] != lock))
            return SQLITE_BUSY;
    for (int i = offset; i < offset + count; i++) {
        locks->slot_exclusive[i] = lock;
        lock->exclusive |= (uint16_t)(1U << i);
    }
    return SQLITE_OK;
}

int vfs_shm_lock(struct vfs_locks *locks, struct vfs_lock *lock, int offset, int count, int flags)
{
    int result = SQLITE_OK;
    sqlite3_mutex_enter(locks->mutex);
    if (flags & SQLITE_SHM_UNLOCK)
        slots_unlock(locks, lock, offset, count);
    else if (flags & SQLITE_SHM_SHARED)
        result = slots_shared(locks, lock, offset);
    else
        result = slots_exclusive(locks, lock, offset, count);
    sqlite3_mutex_leave(locks->mutex);
    return result;
}

int vfs_shm_map(struct vfs_locks *locks, int at, int size, int extend, void volatile **ret_region)
{
    int result = SQLITE_OK;
    *ret_region = NULL;
    if (at >= VFS_REGIONS_MAX)
        return SQLITE_IOERR_SHMSIZE;
    sqlite3_mutex_enter(locks->mutex);
    for (int i = 0; extend && i <= at && result == SQLITE_OK; i++)
        if (!locks->regions[i] && !(locks->regions[i] = calloc(1, (size_t)size)))
            result = SQLITE_IOERR_NOMEM;
    *ret_region = locks->regions[at];
    sqlite3_mutex_leave(locks->mutex);
    return result;
}

void vfs_shm_barrier(struct vfs_locks *locks)
{
    sqlite3_mutex_enter(locks->mutex); /* entering and leaving is a full barrier */
    sqlite3_mutex_leave(locks->mutex);
}
