/* SPDX-License-Identifier: Apache-2.0
 *
 * SQLite's files through kos_env: one VFS for each store, under a name of its own. The store's directory is locked for
 * this process, so SQLite's locks and the index of its write-ahead log are kept in memory: several connections of one
 * store work together (the loop reads while a worker writes), and nothing else may open the database meanwhile.
 */
#ifndef KOS_STORE_VFS_H
#define KOS_STORE_VFS_H

#include <sqlite3.h>

#include "core/env.h"

struct vfs;

/* Called on the loop: takes time and randomness. */
int32_t vfs_new(struct kos_env *env, const char *dir, struct vfs **ret_vfs);
/* After the last connection is closed. */
void vfs_free(struct vfs *vfs);
const char *vfs_name(const struct vfs *vfs);
/* What SQLite's result means here. */
int32_t vfs_error(int result);

#endif
