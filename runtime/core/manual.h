/* SPDX-License-Identifier: Apache-2.0
 * The environment of tests: virtual time, seeded randomness, workers that run inline in the next turn, files in
 * memory (or the kernel's), and faults on request. No descriptors: watch_new gives NULL. */
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
/* Moves both clocks on, firing timers in order, settling after each. The wall clock begins at 2026-01-01T00:00:00Z. */
void kos_manual_advance(struct kos_manual *manual, uint64_t ms);
void kos_manual_set_wall(struct kos_manual *manual, int64_t now_ms);
/* Files: bytes written but not synced vanish (whole files' unsynced tails, unsynced creations, renames and removals:
 * what is in a directory is durable only after dir_sync), as after power loss. Open handles go stale: all they do fails
 * with KOS_E_IO, but closing. Locks are gone. */
void kos_manual_power_loss(struct kos_manual *manual);
/* The crueller one: of what was not synced, each sector of 512 bytes, each size and the first so many changes of each
 * directory may have reached the disk or not, as the seed wills. */
void kos_manual_power_loss_torn(struct kos_manual *manual);
/* From the nth file operation on (1 = the next), fail with `error`; 0 ends it. A failed write has put down its first
 * half; what a failed sync should have made durable is not, and no later sync makes it so (as Linux does). With
 * KOS_E_NOSPACE only operations that may take space are counted and fail. */
void kos_manual_fail_files(struct kos_manual *manual, uint64_t nth, int32_t error);
/* The same, but only that one operation fails. */
void kos_manual_fail_file_once(struct kos_manual *manual, uint64_t nth, int32_t error);
/* File operations tried since the beginning: how far a test has to count. */
uint64_t kos_manual_file_ops(struct kos_manual *manual);
/* From now on the kernel's files instead of those in memory, without faults; for tests that read the tree. Before any
 * file is open. */
void kos_manual_kernel_files(struct kos_manual *manual);
/* Syncs of files and directories say that they succeeded and do nothing, until this is ended; a later honest one makes
 * up for them. */
void kos_manual_lie(struct kos_manual *manual, bool lies);
/* For a simulator that keeps the time of many: when a turn has something to do (now, when at once; UINT64_MAX never),
 * and the clock moved on to a time not before its own, without a turn. */
uint64_t kos_manual_due_ns(struct kos_manual *manual);
void kos_manual_clock(struct kos_manual *manual, uint64_t mono_ns);
/* Workers take up to so long for each piece, as the seed wills, and so come back in any order. 0, as at first: the next
 * turn. */
void kos_manual_slow_work(struct kos_manual *manual, uint64_t max_ns);
/* What was logged so far, one line each; owned by manual. */
const char *kos_manual_logged(struct kos_manual *manual);

#endif
