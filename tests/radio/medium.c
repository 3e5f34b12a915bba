/* SPDX-License-Identifier: Apache-2.0
 * The medium: who hears whom, what collides, what is lost, and the law of airtime, judged after every frame. */
#include "radio.h"

#include <math.h>
#include <string.h>

static const uint64_t hour_us = 3600000000u;

static double symbol_s(const struct node *node)
{
    return ldexp(1.0, (int)node->spreading) / node->bandwidth;
}

uint32_t medium_preamble(const struct sim *sim, const struct node *node)
{
    if (sim->preamble)
        return sim->preamble;
    double bps = node->spreading * (4.0 / node->coding) / symbol_s(node);
    double symbols = ceil((bps > 30000 ? 0.006 : 0.024) / symbol_s(node) - 1e-9);
    return symbols > 18 ? (uint32_t)symbols : 18;
}

/* SX1276 datasheet, section 4.1.1.7: explicit header, CRC on. */
static double packet_s(const struct sim *sim, const struct node *node, double payload)
{
    double ts = symbol_s(node), sf = node->spreading, de = ts > 0.016 ? 1 : 0;
    double blocks = ceil((8 * payload - 4 * sf + 28 + 16) / (4 * (sf - 2 * de)));
    double symbols = 8 + (blocks > 0 ? blocks : 0) * node->coding;
    return (medium_preamble(sim, node) + 4.25 + symbols) * ts;
}

/* The firmware puts one byte before each packet and sends more than 254 bytes as two packets. */
uint64_t medium_airtime_us(const struct sim *sim, const struct node *node, size_t bytes)
{
    double s = bytes <= 254 ? packet_s(sim, node, (double)bytes + 1)
                            : packet_s(sim, node, 255) + packet_s(sim, node, (double)(bytes - 254) + 1);
    return (uint64_t)ceil(s * 1e6);
}

static bool same_channel(const struct node *a, const struct node *b)
{
    return a->frequency == b->frequency && a->bandwidth == b->bandwidth && a->spreading == b->spreading;
}

static uint64_t overlap(const struct interval *i, uint64_t from, uint64_t to)
{
    uint64_t a = i->start_us > from ? i->start_us : from, b = i->end_us < to ? i->end_us : to;
    return b > a ? b - a : 0;
}

static uint64_t within(const struct node *node, uint64_t from, uint64_t to)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < node->history_len; i++)
        sum += overlap(&node->history[(node->history_from + i) % HISTORY_MAX], from, to);
    return sum;
}

/* The window that ends with the frame holds the most of all that contain it. */
static void judge(struct sim *sim, struct node *node, const struct air *air)
{
    if (node->history_len == HISTORY_MAX) {
        node->history_from = (node->history_from + 1) % HISTORY_MAX;
        node->history_len--;
    }
    node->history[(node->history_from + node->history_len++) % HISTORY_MAX] =
        (struct interval){ air->start_us, air->end_us };
    uint64_t used = within(node, air->end_us > hour_us ? air->end_us - hour_us : 0, air->end_us);
    if (used > node->worst_hour_us)
        node->worst_hour_us = used;
    bool broke = sim->duty_percent > 0 && (double)used > sim->duty_percent / 100 * (double)hour_us;
    if (sim->dwell_window_us) {
        uint64_t from = air->end_us > sim->dwell_window_us ? air->end_us - sim->dwell_window_us : 0;
        broke |= within(node, from, air->end_us) > sim->dwell_limit_us;
    }
    node->violations += broke;
}

/* ---- beginning ---- */

/* Another carrier that this node's modem has noticed: it takes some symbols. */
static uint64_t busy_until(const struct sim *sim, const struct node *node, uint64_t now)
{
    uint64_t until = 0, sense = (uint64_t)(6 * symbol_s(node) * 1e6);
    for (int i = 0; i < AIR_MAX; i++) {
        const struct air *a = &sim->air[i];
        if (a->used && same_channel(&sim->nodes[a->from], node) && a->start_us + sense <= now && a->end_us > until)
            until = a->end_us;
    }
    return until;
}

static void collide(struct sim *sim, struct air *a, struct air *b)
{
    if (!same_channel(&sim->nodes[a->from], &sim->nodes[b->from]))
        return;
    sim->collisions++;
    for (int r = 0; r < sim->count; r++) {
        double margin = sim->nodes[r].rssi[a->from] - sim->nodes[r].rssi[b->from];
        bool captured = sim->capture_db > 0 && fabs(margin) >= sim->capture_db;
        a->spoilt[r] |= !captured || margin < 0;
        b->spoilt[r] |= !captured || margin > 0;
    }
}

static void begin(struct sim *sim, struct node *node, uint64_t now)
{
    struct air *air = NULL;
    for (int i = 0; i < AIR_MAX && !air; i++)
        if (!sim->air[i].used)
            air = &sim->air[i];
    if (!air)
        return;
    memset(air, 0, sizeof *air);
    air->used = true;
    air->from = node->number;
    air->frame = node->queue[0];
    air->start_us = now;
    air->end_us = now + medium_airtime_us(sim, node, air->frame.len);
    node->sending = true;
    memmove(&node->queue[0], &node->queue[1], --node->queued * sizeof node->queue[0]);
    for (int i = 0; i < AIR_MAX; i++) {
        struct air *other = &sim->air[i];
        if (!other->used || other == air)
            continue;
        other->deaf[node->number] = true;
        air->deaf[other->from] = true;
        collide(sim, air, other);
    }
}

/* ---- ending ---- */

static void fly(struct sim *sim, const struct air *air, int to)
{
    for (int i = 0; i < FLIGHTS_MAX; i++)
        if (!sim->flights[i].used) {
            sim->flights[i] = (struct flight){ true, air->from, to, air->end_us + sim->delay_us, air->frame };
            return;
        }
    sim->nodes[to].overruns++;
}

static void trace(const struct sim *sim, const struct air *air, int arrived)
{
    if (!sim->trace)
        return;
    fprintf(sim->trace, "{\"start_ms\":%.3f,\"airtime_ms\":%.3f,\"from\":%d,\"bytes\":%zu,\"arrived\":%d,\"head\":\"",
            (double)air->start_us / 1e3, (double)(air->end_us - air->start_us) / 1e3, air->from, air->frame.len,
            arrived);
    for (size_t i = 0; i < air->frame.len && i < 8; i++)
        fprintf(sim->trace, "%02x", air->frame.data[i]);
    fprintf(sim->trace, "\"}\n");
    fflush(sim->trace);
}

static void end(struct sim *sim, struct air *air)
{
    struct node *from = &sim->nodes[air->from];
    int arrived = 0;
    air->used = false;
    from->sending = false;
    from->sent++;
    from->bytes += air->frame.len;
    from->airtime_us += air->end_us - air->start_us;
    sim->frames++;
    judge(sim, from, air);
    for (int r = 0; r < sim->count; r++) {
        struct node *node = &sim->nodes[r];
        if (r == air->from || !node->on || node->master < 0 || !same_channel(node, from))
            continue;
        if (air->deaf[r]) {
            node->deaf++;
        } else if (air->spoilt[r]) {
            node->collided++;
        } else if (sim_random(sim) < sim->loss) {
            node->lost++;
        } else {
            fly(sim, air, r);
            arrived++;
        }
    }
    trace(sim, air, arrived);
    node_sent(sim, from);
}

void medium_run(struct sim *sim)
{
    uint64_t now = sim_now_us(sim);
    for (int i = 0; i < AIR_MAX; i++)
        if (sim->air[i].used && sim->air[i].end_us <= now)
            end(sim, &sim->air[i]);
    for (int i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *f = &sim->flights[i];
        if (!f->used || f->due_us > now)
            continue;
        f->used = false;
        node_heard(&sim->nodes[f->to], &f->frame, sim->nodes[f->to].rssi[f->from]);
    }
    for (int i = 0; i < sim->count; i++) {
        struct node *node = &sim->nodes[i];
        if (!node->on || node->sending || node->queued == 0 || node->not_before_us > now)
            continue;
        uint64_t busy = sim->csma ? busy_until(sim, node, now) : 0;
        if (busy > now) {
            double slot = 12 * symbol_s(node) > 0.024 ? 12 * symbol_s(node) : 0.024;
            node->not_before_us = busy + (uint64_t)((1 + floor(sim_random(sim) * 8)) * slot * 1e6);
        } else {
            begin(sim, node, now);
        }
    }
}

uint64_t medium_next_us(const struct sim *sim)
{
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < AIR_MAX; i++)
        if (sim->air[i].used && sim->air[i].end_us < next)
            next = sim->air[i].end_us;
    for (int i = 0; i < FLIGHTS_MAX; i++)
        if (sim->flights[i].used && sim->flights[i].due_us < next)
            next = sim->flights[i].due_us;
    for (int i = 0; i < sim->count; i++) {
        const struct node *node = &sim->nodes[i];
        if (node->on && !node->sending && node->queued && node->not_before_us < next)
            next = node->not_before_us;
    }
    return next;
}
