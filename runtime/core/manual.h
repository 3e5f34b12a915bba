/* SPDX-License-Identifier: Apache-2.0
 * The environment of tests: virtual time, seeded randomness, workers that run inline at the end of a turn, files in
 * memory (or the kernel's below a directory), and faults on request. */
#ifndef KOS_CORE_MANUAL_H
#define KOS_CORE_MANUAL_H

#include "core/env.h"

struct kos_manual;

struct kos_manual *kos_manual_new(uint64_t seed);
void kos_manual_free(struct kos_manual *manual);
struct kos_env *kos_manual_env(struct kos_manual *manual);
/* Runs one turn: due timers, deferred, done work, turn ends. Returns true while anything was done. */
bool kos_manual_turn(struct kos_manual *manual);
/* Turns until nothing is left to do now. */
void kos_manual_settle(struct kos_manual *manual);
/* Moves both clocks on, firing timers in order, settling after each. */
void kos_manual_advance(struct kos_manual *manual, uint64_t ms);
void kos_manual_set_wall(struct kos_manual *manual, int64_t now_ms);
/* Files: bytes written but not synced vanish (whole files' unsynced tails, unsynced renames), as after power loss. Open
 * handles go stale. */
void kos_manual_power_loss(struct kos_manual *manual);
/* From the nth file operation on (1 = the next), fail with `error`; 0 ends it. */
void kos_manual_fail_files(struct kos_manual *manual, uint64_t nth, int32_t error);
/* What was logged so far, one line each; owned by manual. */
const char *kos_manual_logged(struct kos_manual *manual);

#endif
