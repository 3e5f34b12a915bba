/* SPDX-License-Identifier: Apache-2.0
 * What every environment's turn is made of: the deferred queue and the turn-end hooks. Private to core. */
#ifndef KOS_CORE_TURN_H
#define KOS_CORE_TURN_H

#include "core/env.h"

enum { KOS_TURN_DEFERRED_MAX = 100000 }; /* run in one turn; what is left waits for the next, so that descriptors are served */

struct kos_turn {
    struct kos_deferred *first, *last;
    struct kos_turn_end *hooks;
    struct kos_turn_end *upcoming; /* the hook to run next, while they run */
};

void kos_turn_defer(struct kos_turn *turn, struct kos_deferred *deferred);
void kos_turn_undefer(struct kos_turn *turn, struct kos_deferred *deferred);
/* Runs what is deferred until nothing is left, or *budget is used up. Returns how many ran. */
uint32_t kos_turn_run_deferred(struct kos_turn *turn, uint32_t *budget);
void kos_turn_end_add(struct kos_turn *turn, struct kos_turn_end *hook);
void kos_turn_end_remove(struct kos_turn *turn, struct kos_turn_end *hook);
void kos_turn_run_ends(struct kos_turn *turn);

#endif
