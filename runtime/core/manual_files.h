/* SPDX-License-Identifier: Apache-2.0
 * Files in memory, with what is on the disk kept apart from what is seen. Private to core/manual.c. */
#ifndef KOS_CORE_MANUAL_FILES_H
#define KOS_CORE_MANUAL_FILES_H

#include "core/env.h"

struct kos_memory;

struct kos_memory *kos_memory_new(void);
void kos_memory_free(struct kos_memory *memory);
/* random: NULL loses all that is not synced; else it decides piece by piece. */
void kos_memory_power_loss(struct kos_memory *memory, struct klp_random *random);
void kos_memory_fail(struct kos_memory *memory, uint64_t nth, int32_t error, bool once);
void kos_memory_lie(struct kos_memory *memory, bool lies); /* syncs do nothing and succeed */
uint64_t kos_memory_ops_count(const struct kos_memory *memory);
/* Fills in the file_* and dir_* members. */
void kos_memory_ops(struct kos_env_ops *ops);

/* Given by manual.c: the memory behind an environment. */
struct kos_memory *kos_memory_of(struct kos_env *env);

#endif
