/* SPDX-License-Identifier: Apache-2.0
 * Links: streams that delay, split, alter, hang and are cut; datagrams that are lost, doubled, late and altered as
 * well. */
#include "sim.h"

#include <stdlib.h>

enum { LEFT_NS = 20000, DIAL_NS = 100000 };

static struct sim_node *of(struct kos_carrier *carrier)
{
    return (struct sim_node *)carrier;
}

static struct kos_link_info info_of(const struct sim_end *end)
{
    const struct sim_air *air = &end->node->sim->air;
    bool slow = end->datagrams && air->bits_per_second;
    return (struct kos_link_info){ .size = sizeof(struct kos_link_info),
                                   .cost = slow ? 10000 : 0,
                                   .bits_per_second = slow ? air->bits_per_second : 0,
                                   .airtime_ms_per_hour = slow ? air->airtime_ms : 0,
                                   .flags = end->datagrams ? 0 : KOS_LINK_STREAM | KOS_LINK_RELIABLE | KOS_LINK_ORDERED,
                                   .mtu_bytes = end->datagrams ? air->mtu : 0,
                                   .send_window_bytes = air->window,
                                   .local = end->node->address[end->datagrams],
                                   .remote = end->other ? end->other->node->address[end->datagrams] : end->address };
}

static struct sim_end *find(struct sim_node *node, uint64_t link)
{
    struct sim_end *end;
    HASH_FIND(hh, node->ends, &link, sizeof link, end);
    return end;
}

static struct sim_end *end_new(struct sim_node *node, uint64_t link, bool datagrams)
{
    struct sim *sim = node->sim;
    struct sim_end *end = kos_new(sizeof *end);
    end->node = node;
    end->link = link;
    end->datagrams = datagrams;
    end->dice = sim_dice(sim->options->seed, UINT64_C(1000000) + sim->end_serial++);
    end->next = sim->ends;
    sim->ends = end;
    if (link)
        HASH_ADD(hh, node->ends, link, sizeof end->link, end);
    return end;
}

static bool passes(const struct sim_node *a, const struct sim_node *b)
{
    const struct sim *sim = a->sim;
    return !sim->apart[(size_t)a->index * sim->count + b->index] &&
           !sim->apart[(size_t)b->index * sim->count + a->index];
}

static int32_t carrier_listen(struct kos_carrier *carrier, uint64_t endpoint, const char *address)
{
    of(carrier)->endpoint[strncmp(address, "gram://", 7) == 0] = endpoint;
    return KOS_OK;
}

static void carrier_endpoint_close(struct kos_carrier *carrier, uint64_t endpoint)
{
    for (int i = 0; i < 2; i++)
        if (of(carrier)->endpoint[i] == endpoint)
            of(carrier)->endpoint[i] = 0;
}

static int32_t carrier_dial(struct kos_carrier *carrier, uint64_t link, const char *address)
{
    struct sim_node *node = of(carrier);
    bool datagrams = strncmp(address, "gram://", 7) == 0;
    if (!datagrams && strncmp(address, "mem://", 6) != 0)
        return KOS_E_UNSUPPORTED;
    struct sim_end *end = end_new(node, link, datagrams);
    end->dialling = true;
    snprintf(end->address, sizeof end->address, "%s", address);
    sim_at(node->sim, node->sim->now + DIAL_NS + node->sim->air.delay_ns, SIM_LINK, end, 0);
    return KOS_OK;
}

static void put(struct sim_end *end, const struct kos_bytes *pieces, uint32_t count, uint64_t at)
{
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++)
        len += pieces[i].len;
    struct sim_chunk *chunk = kos_new(sizeof *chunk + len);
    chunk->len = len;
    chunk->at = at;
    for (size_t i = 0, to = 0; i < count; to += pieces[i++].len)
        memcpy(chunk->data + to, pieces[i].data, pieces[i].len);
    sim_digest(end->node->sim, chunk->data, len);
    end->node->sim->result->bytes += len;
    struct sim_chunk **at_last = end->last && !(end->datagrams && end->last->at > at) ? &end->last->next : &end->first;
    while (*at_last && (*at_last)->at <= at)
        at_last = &(*at_last)->next;
    chunk->next = *at_last;
    *at_last = chunk;
    if (!chunk->next)
        end->last = chunk;
    sim_at(end->node->sim, at, SIM_LINK, end, 0);
}

static void send_datagram(struct sim_end *end, const struct kos_bytes *pieces, uint32_t count)
{
    struct sim *sim = end->node->sim;
    uint64_t at = sim->now + sim->air.delay_ns + sim_roll(&end->dice, (uint32_t)sim->air.jitter_ns), len = 0;
    uint64_t left = sim->now + LEFT_NS;
    bool lost = sim_roll(&end->dice, 1000) < sim->air.loss, twice = sim_roll(&end->dice, 1000) < sim->air.twice;
    for (uint32_t i = 0; i < count; i++)
        len += pieces[i].len;
    if (len > sim->air.mtu)
        sim_fail(sim, "mtu", "%s sends a datagram of %llu bytes, %u are allowed", end->node->name,
                 (unsigned long long)len, sim->air.mtu);
    if (sim->air.bits_per_second) {
        left = (end->free_at > sim->now ? end->free_at : sim->now) + len * 8 * SIM_SECOND / sim->air.bits_per_second;
        end->free_at = left;
        at += left - sim->now;
    }
    if (sim_roll(&end->dice, 1000) < sim->air.late)
        at += sim_roll(&end->dice, (uint32_t)sim->air.late_ns);
    sim_at(sim, left, SIM_LEFT, end, len);
    if (lost || end->mute || !end->other)
        return;
    put(end, pieces, count, at);
    if (twice)
        put(end, pieces, count, at + sim_roll(&end->dice, 50) * (uint64_t)SIM_MS);
}

static void carrier_send(struct kos_carrier *carrier, uint64_t link, const struct kos_bytes *pieces, uint32_t count)
{
    struct sim_end *end = find(of(carrier), link);
    struct sim *sim = of(carrier)->sim;
    if (!end || end->closed) {
        sim_fail(sim, "carrier", "%s sends on a link that is not", of(carrier)->name);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        end->out_bytes += pieces[i].len;
    if (end->out_bytes > sim->air.window)
        sim_fail(sim, "window", "%s sends beyond the window of its link: %llu of %llu bytes", end->node->name,
                 (unsigned long long)end->out_bytes, (unsigned long long)sim->air.window);
    if (end->datagrams) {
        send_datagram(end, pieces, count);
    } else if (!end->mute) {
        uint64_t at = sim->now + sim->air.delay_ns + sim_roll(&end->dice, (uint32_t)sim->air.jitter_ns);
        end->last_at = at > end->last_at ? at : end->last_at;
        put(end, pieces, count, end->last_at);
    }
}

static void carrier_credit(struct kos_carrier *carrier, uint64_t link, uint64_t bytes)
{
    struct sim_end *end = find(of(carrier), link);
    if (!end)
        return;
    end->credit += bytes;
    if (end->other && end->other->first)
        sim_at(end->node->sim, 0, SIM_LINK, end->other, 0);
}

static void chunks_free(struct sim_end *end)
{
    while (end->first) {
        struct sim_chunk *chunk = end->first;
        end->first = chunk->next;
        free(chunk);
    }
    end->last = NULL;
}

static void carrier_close(struct kos_carrier *carrier, uint64_t link, bool flush)
{
    struct sim_end *end = find(of(carrier), link);
    if (!end)
        return;
    if (!flush)
        chunks_free(end);
    end->closed = true;
    sim_at(end->node->sim, 0, SIM_LINK, end, 0);
}

const struct kos_carrier_ops sim_carrier_ops = { carrier_listen, carrier_endpoint_close, carrier_dial,
                                                 carrier_send,   carrier_credit,         carrier_close };

static void die(struct sim_end *end, const char *text)
{
    struct sim_node *node = end->node;
    if (end->dead)
        return;
    end->dead = true;
    chunks_free(end);
    if (end->other)
        end->other->other = NULL;
    end->other = NULL;
    if (!end->link)
        return;
    HASH_DEL(node->ends, end);
    if (!node->up)
        return;
    sim_enter(node);
    sim_note(node->sim, node, "link %llu down: %s", (unsigned long long)end->link, text);
    kos_mesh_link_down(node->mesh, end->link, KOS_E_CLOSED, text);
    sim_wake(node);
}

static void connect_end(struct sim *sim, struct sim_end *end)
{
    struct sim_node *target = NULL;
    const char *name = strchr(end->address, '/') + 2;
    for (uint32_t i = 0; i < sim->count && !target; i++)
        if (strcmp(sim->nodes[i].name, name) == 0)
            target = &sim->nodes[i];
    end->dialling = false;
    if (!target || !target->up || !target->endpoint[end->datagrams] || !passes(end->node, target)) {
        die(end, "connection refused");
        return;
    }
    struct sim_end *other = end_new(target, 0, end->datagrams);
    other->other = end;
    end->other = other;
    struct kos_link_info info = info_of(other);
    sim_enter(target);
    other->link = kos_mesh_link_accepted(target->mesh, target->endpoint[end->datagrams], &info);
    sim_wake(target);
    if (!other->link) {
        other->dead = true;
        other->other = NULL;
        end->other = NULL;
        die(end, "connection closed");
        return;
    }
    HASH_ADD(hh, target->ends, link, sizeof other->link, other);
    sim_note(sim, end->node, "link %llu up to %s, there %llu", (unsigned long long)end->link, target->name,
             (unsigned long long)other->link);
    info = info_of(end);
    sim_enter(end->node);
    kos_mesh_link_up(end->node->mesh, end->link, &info);
    sim_wake(end->node);
}

static void arrive(struct sim_end *end, uint8_t *data, size_t len)
{
    struct sim_end *to = end->other;
    struct sim *sim = to->node->sim;
    uint32_t altered = end->datagrams ? sim->air.altered : sim->calming || sim->options->calm ? 0 : 1;
    if (sim_roll(&end->dice, end->datagrams ? 1000 : 4000) < altered)
        data[sim_roll(&end->dice, (uint32_t)len)] ^= (uint8_t)(1u << sim_roll(&end->dice, 8));
    to->credit -= len;
    if (to->closed)
        return;
    sim_enter(to->node);
    kos_mesh_link_received(to->node->mesh, to->link, kos_bytes(data, len));
    sim_wake(to->node);
}

/* One chunk, or the part of it that the other end takes. Returns whether to go on. */
static bool deliver(struct sim *sim, struct sim_end *end)
{
    struct sim_chunk *chunk = end->first;
    if (!chunk || chunk->at > sim->now || !end->other || end->dead)
        return false;
    struct sim_end *to = end->other;
    if (!passes(end->node, to->node)) {
        if (end->datagrams)
            chunks_free(end);
        return false;
    }
    size_t len = chunk->len - chunk->from;
    if (!end->datagrams && sim->air.split && len > sim->air.split)
        len = 1 + sim_roll(&end->dice, sim->air.split);
    if (len > to->credit)
        len = end->datagrams ? 0 : (size_t)to->credit;
    if (!len && !end->datagrams)
        return false;
    chunk->from += len;
    bool whole = chunk->from == chunk->len || end->datagrams;
    if (whole) {
        end->first = chunk->next;
        if (!end->first)
            end->last = NULL;
    }
    if (!end->datagrams)
        sim_at(sim, 0, SIM_LEFT, end, len);
    if (len)
        arrive(end, chunk->data + chunk->from - len, len);
    if (whole)
        free(chunk);
    return !end->dead;
}

void sim_link_event(struct sim *sim, struct sim_end *end)
{
    if (end->dead || !end->node->up)
        return;
    if (end->dialling) {
        if (!end->closed)
            connect_end(sim, end);
        else
            die(end, "closed");
        return;
    }
    while (deliver(sim, end))
        ;
    struct sim_end *other = end->other;
    if (end->dead || !end->closed || (end->first && other && !other->closed && !end->mute))
        return;
    die(end, "closed");
    if (other)
        die(other, "closed by the other side");
}

void sim_link_left(struct sim *sim, struct sim_end *end, uint64_t bytes)
{
    (void)sim;
    end->out_bytes -= bytes;
    if (end->dead || end->closed || !end->node->up)
        return;
    sim_enter(end->node);
    kos_mesh_link_credit(end->node->mesh, end->link, bytes);
    sim_wake(end->node);
}

void sim_link_lost(struct sim *sim, struct sim_end *end)
{
    (void)sim;
    if (!end->dead && end->node->up)
        die(end, "the other side does not answer");
}

void sim_cut(struct sim_node *node, struct sim_node *other, bool silently)
{
    struct sim_end *end, *next;
    HASH_ITER(hh, node->ends, end, next)
    {
        struct sim_end *to = end->other;
        if (end->dialling || (other && (!to || to->node != other)))
            continue;
        if (silently) {
            end->mute = true;
            if (to)
                to->mute = true;
            continue;
        }
        die(end, "the link was cut");
        if (to)
            die(to, "the link was cut");
    }
}

/* The node is gone: the others hear of it now, later, or have to find out. */
void sim_drop_ends(struct sim_node *node, struct sim_dice *dice)
{
    struct sim_end *end, *next;
    HASH_ITER(hh, node->ends, end, next)
    {
        struct sim_end *other = end->other;
        die(end, "");
        if (other && dice && sim_roll(dice, 3))
            sim_at(node->sim, node->sim->now + sim_roll(dice, 3) * SIM_SECOND, SIM_LOST, other, 0);
        else if (other && !dice)
            die(other, "the other side is gone");
    }
}

void sim_ends_free(struct sim *sim)
{
    while (sim->ends) {
        struct sim_end *end = sim->ends;
        sim->ends = end->next;
        chunks_free(end);
        free(end);
    }
}
