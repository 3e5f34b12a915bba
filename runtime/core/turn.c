/* SPDX-License-Identifier: Apache-2.0
 * The deferred queue and the turn-end hooks, as both environments run them. */
#include "core/turn.h"

void kos_turn_defer(struct kos_turn *turn, struct kos_deferred *deferred)
{
    if (deferred->queued)
        return;
    deferred->queued = true;
    deferred->next = NULL;
    if (turn->last)
        turn->last->next = deferred;
    else
        turn->first = deferred;
    turn->last = deferred;
}

void kos_turn_undefer(struct kos_turn *turn, struct kos_deferred *deferred)
{
    if (!deferred->queued)
        return;
    struct kos_deferred *before = NULL;
    for (struct kos_deferred *at = turn->first; at; before = at, at = at->next) {
        if (at != deferred)
            continue;
        if (before)
            before->next = at->next;
        else
            turn->first = at->next;
        if (turn->last == at)
            turn->last = before;
        break;
    }
    deferred->queued = false;
    deferred->next = NULL;
}

uint32_t kos_turn_run_deferred(struct kos_turn *turn, uint32_t *budget)
{
    uint32_t ran = 0;
    while (turn->first && *budget) {
        struct kos_deferred *deferred = turn->first;
        turn->first = deferred->next;
        if (!turn->first)
            turn->last = NULL;
        deferred->queued = false;
        deferred->next = NULL;
        (*budget)--;
        ran++;
        deferred->run(deferred);
    }
    return ran;
}

void kos_turn_end_add(struct kos_turn *turn, struct kos_turn_end *hook)
{
    struct kos_turn_end **at = &turn->hooks;
    while (*at && (*at)->order <= hook->order)
        at = &(*at)->next;
    hook->next = *at;
    *at = hook;
}

void kos_turn_end_remove(struct kos_turn *turn, struct kos_turn_end *hook)
{
    for (struct kos_turn_end **at = &turn->hooks; *at; at = &(*at)->next) {
        if (*at != hook)
            continue;
        *at = hook->next;
        if (turn->upcoming == hook)
            turn->upcoming = hook->next;
        hook->next = NULL;
        return;
    }
}

void kos_turn_run_ends(struct kos_turn *turn)
{
    turn->upcoming = turn->hooks;
    while (turn->upcoming) {
        struct kos_turn_end *hook = turn->upcoming;
        turn->upcoming = hook->next;
        hook->run(hook);
    }
}
