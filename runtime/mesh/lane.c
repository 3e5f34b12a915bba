/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes: what is ready to be offered, one for each type of message, so that a handler which is slow, hangs or is away
 * holds back its own type alone. Within a lane each peer has a queue and they take turns, so that who sent thousands is
 * not who all others wait for.
 *
 * What a handler was given it has, in the order in which it got it: from there nobody can be let past. So it is given no
 * more at a time than it deals with soon. How long a message takes that has the handler to itself is measured; while
 * one of many takes several times as long, because of those before it, the window shrinks, else it grows.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

enum {
    WINDOW_FIRST = 16,
    WINDOW_MIN = 4,
    SLOWER = 4, /* times as long as alone, and SLOW_MS more: others wait too long */
    SLOW_MS = 10,
    LEARN_MS = 30000, /* a window that shrank: how long one takes alone is measured again */
};

static uint32_t window_max(const struct mesh_lane *lane)
{
    return lane->mesh->limits.inbox_open;
}

static void set_window(struct mesh_lane *lane, uint32_t window)
{
    lane->window = window < WINDOW_MIN ? WINDOW_MIN : window;
    if (lane->window > window_max(lane))
        lane->window = window_max(lane);
}

struct mesh_lane *mesh_lane_get(struct kos_mesh *mesh, const char *type)
{
    struct mesh_lane *lane;
    HASH_FIND_STR(mesh->lanes, type, lane);
    if (lane)
        return lane;
    lane = kos_new(sizeof *lane);
    lane->mesh = mesh;
    snprintf(lane->type, sizeof lane->type, "%s", type);
    lane->alone_ms = UINT64_MAX;
    lane->learnt_ms = mesh_turn_mono(mesh);
    set_window(lane, WINDOW_FIRST);
    HASH_ADD_STR(mesh->lanes, type, lane);
    return lane;
}

static void lane_free(struct mesh_lane *lane)
{
    HASH_DEL(lane->mesh->lanes, lane);
    free(lane);
}

/* ---- ready: the peers take turns ---- */

void mesh_lane_add(struct mesh_open *open)
{
    struct mesh_lane *lane = open->lane;
    struct mesh_share *share;
    HASH_FIND(hh, lane->shares, &open->peer, sizeof open->peer, share);
    if (!share) {
        share = kos_new(sizeof *share);
        share->peer = open->peer;
        HASH_ADD(hh, lane->shares, peer, sizeof share->peer, share);
        DL_APPEND(lane->turns, share);
    }
    DL_APPEND(share->ready, open);
    lane->ready++;
}

void mesh_lane_remove(struct mesh_open *open)
{
    struct mesh_lane *lane = open->lane;
    struct mesh_share *share;
    HASH_FIND(hh, lane->shares, &open->peer, sizeof open->peer, share);
    DL_DELETE(share->ready, open);
    lane->ready--;
    if (share->ready)
        return;
    DL_DELETE(lane->turns, share);
    HASH_DEL(lane->shares, share);
    free(share);
}

/* One of the peer whose turn it is, which goes to the end. */
static struct mesh_open *next(struct mesh_lane *lane)
{
    struct mesh_share *share = lane->turns;
    struct mesh_open *open = share->ready;
    DL_DELETE(lane->turns, share);
    DL_APPEND(lane->turns, share);
    return open;
}

static void learn(struct mesh_lane *lane)
{
    uint64_t now = mesh_turn_mono(lane->mesh);
    if (lane->window >= WINDOW_FIRST || lane->window >= window_max(lane) || now - lane->learnt_ms < LEARN_MS)
        return;
    lane->learning = true;
    lane->learnt_ms = now;
    lane->window = 1;
}

struct mesh_open *mesh_lane_next(struct mesh_lane *lane)
{
    if (!lane->turns)
        return NULL;
    learn(lane);
    if (lane->offered >= lane->window ||
        (lane->offered && lane->offered_bytes + lane->turns->ready->bytes > MESH_OFFER_BYTES))
        return NULL;
    return next(lane);
}

/* ---- offered: how much at a time ---- */

void mesh_lane_offered(struct mesh_open *open)
{
    struct mesh_lane *lane = open->lane;
    lane->offered++;
    lane->offered_bytes += open->bytes;
    open->alone = lane->offered == 1;
    open->offered_ms = mesh_turn_mono(lane->mesh);
}

void mesh_lane_taken(struct mesh_open *open, bool settled)
{
    struct mesh_lane *lane = open->lane;
    uint64_t took = mesh_turn_mono(lane->mesh) - open->offered_ms;
    lane->offered--;
    lane->offered_bytes -= open->bytes;
    lane->since++;
    if (!settled)
        return; /* its handler went away with it: that says nothing of others */
    if (open->alone || took < lane->alone_ms)
        lane->alone_ms = took;
    if (lane->learning) {
        if (!open->alone)
            return;
        lane->learning = false;
        set_window(lane, WINDOW_MIN);
    } else if (took > SLOWER * lane->alone_ms + SLOW_MS) {
        if (lane->since > lane->window / 2) {
            lane->since = 0;
            set_window(lane, lane->window / 2);
        }
    } else if (lane->ready) {
        set_window(lane, lane->window + 1);
    }
}

void mesh_lane_free(struct mesh_lane *lane)
{
    struct mesh_share *share, *next_share;
    HASH_ITER(hh, lane->shares, share, next_share) {
        HASH_DEL(lane->shares, share);
        free(share);
    }
    lane_free(lane);
}
