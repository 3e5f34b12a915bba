/* SPDX-License-Identifier: Apache-2.0
 * Locks of the database file and shared memory of the write-ahead log's index, among the connections of one store.
 * Private to the VFS. */
#ifndef KOS_STORE_VFS_LOCK_H
#define KOS_STORE_VFS_LOCK_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

enum { VFS_REGIONS_MAX = 4096 }; /* of 32 KiB, each indexing 4,096 frames of the log: 64 GiB of it */

/* What one connection holds. */
struct vfs_lock {
    int level;
    uint16_t shared, exclusive; /* slots of shared memory */
};

/* Guarded by SQLite's own kind of mutex: connections run on different threads. */
struct vfs_locks {
    sqlite3_mutex *mutex;
    int shared;                                     /* connections at SHARED or above */
    struct vfs_lock *reserved, *pending, *exclusive; /* who holds these */
    int slot_shared[SQLITE_SHM_NLOCK];
    struct vfs_lock *slot_exclusive[SQLITE_SHM_NLOCK];
    void *regions[VFS_REGIONS_MAX];
};

bool vfs_locks_init(struct vfs_locks *locks);
void vfs_locks_fini(struct vfs_locks *locks);
int vfs_lock_raise(struct vfs_locks *locks, struct vfs_lock *lock, int level);
int vfs_lock_lower(struct vfs_locks *locks, struct vfs_lock *lock, int level);
int vfs_lock_reserved(struct vfs_locks *locks);
/* Gives up everything a connection holds. */
void vfs_lock_drop(struct vfs_locks *locks, struct vfs_lock *lock);
int vfs_shm_map(struct vfs_locks *locks, int at, int size, int extend, void volatile **ret_region);
int vfs_shm_lock(struct vfs_locks *locks, struct vfs_lock *lock, int offset, int count, int flags);
void vfs_shm_barrier(struct vfs_locks *locks);
void vfs_shm_drop(struct vfs_locks *locks, struct vfs_lock *lock);

#endif
