/* SPDX-License-Identifier: Apache-2.0
 *
 * What a key event log holds. Private to libklp's log files.
 */
#ifndef KLP_LOG_PRIVATE_H
#define KLP_LOG_PRIVATE_H

#include <klp/log.h>

enum rank { RANK_NONE = -1, RANK_CURRENT = 0, RANK_NEXT = 1, RANK_RECOVERY = 2, RANK_FINAL = 3 };
#define NO_EVENT UINT64_MAX

/* One event and the state after it. The event's slices point into `text`, so an entry never moves. */
struct entry {
    struct klp_event event;
    uint64_t key_at;        /* the event whose key is in force; a revocation's own place, where there is none */
    uint64_t recovery_at;   /* the event that named the recovery key, or NO_EVENT */
    size_t len;
    uint8_t text[];
};

struct klp_log {
    struct entry **entries;
    uint64_t count, cap;
    bool frozen;
    uint64_t fork_at;       /* with `frozen`: where the branches part */
    int fork_rank;          /* and how both rank */
    struct entry *one, *other; /* proof of duplicity, kept when it is settled */
};

struct entry *log_entry_new(const struct klp_event *event, struct kos_bytes text);
struct entry *log_entry_clone(const struct entry *entry);
int32_t log_push(struct klp_log *log, struct entry *entry);
void log_cut(struct klp_log *log, uint64_t count);
/* The first `count` events, neither frozen nor with a proof. */
struct klp_log *log_clone_to(const struct klp_log *log, uint64_t count);
int32_t log_copy_proof(struct klp_log *to, const struct entry *one, const struct entry *other);

#endif
