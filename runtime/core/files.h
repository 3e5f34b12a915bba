/* SPDX-License-Identifier: Apache-2.0
 * The kernel's files in the form of kos_env_ops. Private to core. */
#ifndef KOS_CORE_FILES_H
#define KOS_CORE_FILES_H

#include "core/env.h"

/* The code that stands for an errno. */
int32_t kos_errno_code(int error);
/* Fills in the file_* and dir_* members. They touch nothing but their arguments, so any thread may call them. */
void kos_files_ops(struct kos_env_ops *ops);

#endif
