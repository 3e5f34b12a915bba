/* SPDX-License-Identifier: Apache-2.0
 * What was taken from a stream and is not decided yet, in lanes of one subject each. */
#include "nats.h"

#include <stdlib.h>
#include <utlist.h>

struct nats_taken *nats_lanes_find(struct nats_lanes *lanes, uint64_t seq)
{
    struct nats_taken *taken;
    HASH_FIND(by_seq, lanes->by_seq, &seq, sizeof seq, taken);
    return taken;
}

struct nats_taken *nats_lanes_find_op(struct nats_lanes *lanes, uint64_t op)
{
    for (struct nats_taken *taken = lanes->by_seq; taken; taken = taken->by_seq.next)
        if (taken->op == op)
            return taken;
    return NULL;
}

static struct nats_lane *lane_of(struct nats_lanes *lanes, const char *subject)
{
    struct nats_lane *lane;
    size_t len = strlen(subject);
    HASH_FIND(hh, lanes->lanes, subject, len, lane);
    if (!lane && (lane = calloc(1, sizeof *lane + len + 1))) {
        memcpy(lane->subject, subject, len + 1);
        HASH_ADD(hh, lanes->lanes, subject, len, lane);
    }
    return lane;
}

struct nats_taken *nats_lanes_add(struct nats_lanes *lanes, const char *subject, uint64_t seq, const char *reply,
                                  uint8_t *payload, size_t len)
{
    struct nats_taken *taken = calloc(1, sizeof *taken);
    struct nats_lane *lane = lane_of(lanes, subject);
    if (taken)
        taken->reply = strdup(reply);
    if (!taken || !taken->reply || !lane) {
        if (lane && !lane->first) {
            HASH_DELETE(hh, lanes->lanes, lane);
            free(lane);
        }
        free(taken ? taken->reply : NULL);
        free(taken);
        free(payload);
        return NULL;
    }
    taken->seq = seq;
    taken->payload = payload;
    taken->len = len;
    taken->lane = lane;
    /* One that is handed out again goes before those behind it in the stream, but never before the one under way. */
    struct nats_taken *at = lane->first;
    while (at && (at->seq < seq || at->op))
        at = at->next;
    if (at)
        DL_PREPEND_ELEM(lane->first, at, taken);
    else
        DL_APPEND(lane->first, taken);
    HASH_ADD(by_seq, lanes->by_seq, seq, sizeof taken->seq, taken);
    lanes->held++;
    if (seq > lanes->highest)
        lanes->highest = seq;
    return taken;
}

void nats_lanes_remove(struct nats_lanes *lanes, struct nats_taken *taken)
{
    struct nats_lane *lane = taken->lane;
    HASH_DELETE(by_seq, lanes->by_seq, taken);
    DL_DELETE(lane->first, taken);
    lanes->held--;
    if (taken->op)
        lanes->under_way--;
    if (!lane->first) {
        HASH_DELETE(hh, lanes->lanes, lane);
        free(lane);
    }
    free(taken->reply);
    free(taken->payload);
    free(taken);
}

void nats_lanes_clear(struct nats_lanes *lanes)
{
    while (lanes->by_seq)
        nats_lanes_remove(lanes, lanes->by_seq);
    lanes->highest = 0;
}

uint64_t nats_lanes_floor(const struct nats_lanes *lanes, const struct nats_taken *except)
{
    uint64_t floor = lanes->highest;
    for (const struct nats_taken *taken = lanes->by_seq; taken; taken = taken->by_seq.next)
        if (taken != except && taken->seq <= floor)
            floor = taken->seq - 1;
    return floor;
}
