/* SPDX-License-Identifier: Apache-2.0
 * Nobody but the operator decides what kosd runs: files that say so, and the directories that they lie in. */
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "core/buf.h"

static int32_t guard(struct kos_env *env, const char *path, struct kos_error *ret_error)
{
    struct kos_file_stat st;
    if (env->ops->file_stat(env, path, &st) < 0 || !st.foreign)
        return KOS_OK;
    return kos_fail(ret_error, KOS_E_PERMISSION, "%s can be changed by other users (mode %04o), who would then decide what this node does: let it belong to root or to the user who runs kosd, and chmod go-w %s", path, (unsigned)st.mode, path);
}

int32_t kos_conf_guard(struct kos_env *env, const char *path, struct kos_error *ret_error)
{
    char *directory = kos_strdup(path), *slash = strrchr(directory, '/');
    int32_t rc = KOS_OK;
    if (slash && slash > directory) {
        *slash = 0;
        rc = guard(env, directory, ret_error);
    }
    free(directory);
    return rc == KOS_OK ? guard(env, path, ret_error) : rc;
}
