/* SPDX-License-Identifier: Apache-2.0
 *
 * Links that lose: what was sent is kept until it is acknowledged, and only what was lost is sent again, in a datagram
 * of its own counter (so a measured time is always that of one datagram). An acknowledgement names counters, not
 * pieces. How long to wait follows from what was measured and from when the carrier says that a datagram has left; on
 * a slow link nothing goes alone that can wait for company.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

enum {
    CHUNK_ACK = 0x40,
    REORDER = 3,          /* so many later ones must have come before one is taken for lost (RFC 9002 6.1.1) */
    RTO_FIRST_MS = 1000,  /* nothing measured yet */
    GATHER_MIN_MS = 250,  /* slow links */
    GATHER_MAX_MS = 1500,
    AIRTIME_LOOK_MS = 50,
    ACK_PATIENCE = 4,
    ACK_SPARE = 16,       /* counters before the last acknowledgement's that the next one names again */
};

static uint64_t now_ms(const struct mesh_arq *arq)
{
    return kos_mono_ms(arq->session->mesh->env);
}

static struct mesh_link *link_of(const struct mesh_arq *arq)
{
    return arq->session->link;
}

static void fire(void *arg);

void mesh_arq_new(struct mesh_session *session)
{
    struct mesh_link *link = session->link;
    struct mesh_arq *arq = kos_new(sizeof *arq);
    arq->session = session;
    arq->repeats = !(link->flags & KOS_LINK_RELIABLE);
    arq->held = link->shake && !mesh_shake_proven(link);
    arq->cwnd = link->slow ? MESH_CWND_MIN : MESH_CWND_FIRST;
    arq->slow_start = 1;
    arq->timer = kos_timer_new(session->mesh->env, fire, session);
    uint64_t rtt = mesh_shake_rtt(link);
    if (rtt) {
        arq->srtt_us = rtt * 1000;
        arq->rttvar_us = rtt * 500;
    }
    session->arq = arq;
}

static void flights_free(struct mesh_arq *arq)
{
    struct mesh_flight *flight, *next;
    DL_FOREACH_SAFE(arq->flights, flight, next)
        free(flight);
}

void mesh_arq_free(struct mesh_arq *arq)
{
    if (!arq)
        return;
    flights_free(arq);
    for (int32_t klass = 0; klass < KLP_CLASSES; klass++)
        for (int32_t i = 0; i < MESH_WINDOW; i++) {
            free(arq->out[klass][i]);
            free(arq->in[klass][i]);
        }
    kos_timer_free(arq->session->mesh->env, arq->timer);
    free(arq);
}

/* ---- times ---- */

uint64_t mesh_arq_gather_ms(const struct mesh_arq *arq)
{
    uint64_t half = arq->srtt_us / 2000;
    if (!link_of(arq)->slow)
        return 0;
    return half < GATHER_MIN_MS ? GATHER_MIN_MS : half > GATHER_MAX_MS ? GATHER_MAX_MS : half;
}

/* Longer than what gathers takes to come: then the acknowledgement goes with it. */
static uint64_t ack_wait_ms(const struct mesh_arq *arq)
{
    return link_of(arq)->slow ? 2 * mesh_arq_gather_ms(arq) : MESH_ACK_MS;
}

uint64_t mesh_arq_rto_ms(const struct mesh_arq *arq)
{
    const struct mesh_link *link = link_of(arq);
    uint64_t most = link->slow ? MESH_RTO_SLOW_MS : MESH_RTO_MAX_MS, rto;
    /* The peer's acknowledgement may wait for company, and on a shared medium both datagrams take their time. */
    uint64_t least = MESH_RTO_MIN_MS + ack_wait_ms(arq);
    if (link->bits_per_second)
        least += 2 * mesh_airtime_us(link, link->mtu) / 1000;
    rto = arq->srtt_us ? (arq->srtt_us + 4 * arq->rttvar_us) / 1000 + ack_wait_ms(arq) : RTO_FIRST_MS;
    if (rto < least)
        rto = least;
    rto <<= arq->silent < 16 ? arq->silent : 16;
    return rto < most ? rto : most;
}

static void measured(struct mesh_arq *arq, uint64_t ms)
{
    uint64_t us = ms * 1000, off = us > arq->srtt_us ? us - arq->srtt_us : arq->srtt_us - us;
    if (!arq->srtt_us) {
        arq->srtt_us = us ? us : 1;
        arq->rttvar_us = us / 2;
    } else { /* RFC 6298 */
        arq->rttvar_us = (3 * arq->rttvar_us + off) / 4;
        arq->srtt_us = (7 * arq->srtt_us + us) / 8 + 1;
    }
    arq->session->rtt_ms = arq->srtt_us / 1000;
}

/* ---- out ---- */

bool mesh_arq_may_send(const struct mesh_arq *arq)
{
    return !arq->repeats || arq->probe || (arq->flight_count < arq->cwnd && arq->flight_bytes < MESH_FLIGHT_BYTES);
}

void mesh_arq_sent(struct mesh_arq *arq, struct mesh_flight *flight)
{
    flight->sent_ms = now_ms(arq);
    flight->left_at = link_of(arq)->sent_total;
    kos_random(arq->session->mesh->env, &flight->jitter, sizeof flight->jitter);
    DL_APPEND(arq->flights, flight);
    arq->probe = false;
    arq->flight_count++;
    arq->flight_bytes += flight->bytes;
}

void mesh_arq_credit(struct mesh_arq *arq)
{
    struct mesh_flight *flight;
    uint64_t now = now_ms(arq);
    DL_FOREACH(arq->flights, flight) {
        if (flight->left_at > link_of(arq)->left_total)
            break;
        if (!flight->left_ms)
            flight->left_ms = now ? now : 1;
    }
    mesh_arq_schedule(arq);
}

static void flight_end(struct mesh_arq *arq, struct mesh_flight *flight)
{
    DL_DELETE(arq->flights, flight);
    arq->flight_count--;
    arq->flight_bytes -= flight->bytes;
    free(flight);
}

static struct mesh_piece *piece_of(struct mesh_arq *arq, const struct mesh_flight *flight, uint32_t i)
{
    uint8_t klass = flight->pieces[i].klass;
    struct mesh_piece *piece = arq->out[klass][flight->pieces[i].seq % MESH_WINDOW];
    return piece && piece->seq == flight->pieces[i].seq ? piece : NULL;
}

static void arrived(struct mesh_arq *arq, struct mesh_flight *flight)
{
    for (uint32_t i = 0; i < flight->count; i++) {
        struct mesh_piece *piece = piece_of(arq, flight, i);
        uint8_t klass = flight->pieces[i].klass;
        if (!piece)
            continue;
        if (piece->lost)
            DL_DELETE(arq->again, piece);
        arq->out[klass][piece->seq % MESH_WINDOW] = NULL;
        free(piece);
        while (arq->base[klass] < arq->next[klass] && !arq->out[klass][arq->base[klass] % MESH_WINDOW])
            arq->base[klass]++;
    }
    if (arq->slow_start) {
        arq->cwnd++;
    } else if (++arq->grown >= arq->cwnd) {
        arq->grown = 0;
        arq->cwnd++;
    }
    if (arq->cwnd > MESH_WINDOW)
        arq->cwnd = MESH_WINDOW;
    flight_end(arq, flight);
}

static void lost(struct mesh_arq *arq, struct mesh_flight *flight)
{
    for (uint32_t i = 0; i < flight->count; i++) {
        struct mesh_piece *piece = piece_of(arq, flight, i);
        if (!piece || piece->lost || piece->counter != flight->counter)
            continue;
        piece->lost = true;
        DL_APPEND(arq->again, piece);
    }
    /* One event takes one share, however many it cost. */
    if (flight->counter >= arq->recovery) {
        arq->recovery = klp_record_counter(arq->session->send);
        arq->slow_start = 0;
        arq->cwnd = arq->cwnd * 7 / 10 > MESH_CWND_MIN ? arq->cwnd * 7 / 10 : MESH_CWND_MIN;
    }
    flight_end(arq, flight);
}

/* When this one is to be taken for lost though nothing after it says so; UINT64_MAX: it has not left. */
static uint64_t given_up_at(const struct mesh_arq *arq, const struct mesh_flight *flight)
{
    uint64_t rto = mesh_arq_rto_ms(arq);
    /* On a slow medium the answer to a run of datagrams comes after the last of them. */
    if (link_of(arq)->slow)
        flight = arq->flights->prev;
    return flight->left_ms ? flight->left_ms + rto + rto * flight->jitter / 2048 : UINT64_MAX;
}

static void find_lost(struct mesh_arq *arq, uint64_t high)
{
    /* A medium that all hear at once has no second way for a datagram to be late by. */
    uint64_t distance = link_of(arq)->flags & (KOS_LINK_ORDERED | KOS_LINK_SHARED) ? 1 : REORDER;
    struct mesh_flight *flight, *next;
    DL_FOREACH_SAFE(arq->flights, flight, next)
        if (flight->counter + distance <= high)
            lost(arq, flight);
}

bool mesh_arq_take_ack(struct mesh_arq *arq, struct kos_bytes *rest)
{
    if (rest->len < 4 || rest->data[3] > MESH_ACK_BITS / 8 || rest->len < 4u + rest->data[3])
        return false;
    uint16_t shown = (uint16_t)(rest->data[1] << 8 | rest->data[2]);
    uint64_t next_counter = klp_record_counter(arq->session->send), bits = rest->data[3] * 8u;
    const uint8_t *bitmap = rest->data + 4;
    uint16_t back = (uint16_t)((uint16_t)(next_counter - 1) - shown);
    *rest = kos_bytes(bitmap + rest->data[3], rest->len - 4 - rest->data[3]);
    if (!next_counter || back > next_counter - 1)
        return false; /* of what was never sent */
    uint64_t high = next_counter - 1 - back, now = now_ms(arq);
    struct mesh_flight *flight, *after;
    DL_FOREACH_SAFE(arq->flights, flight, after) {
        uint64_t below = high - flight->counter;
        if (flight->counter > high)
            break;
        if (below && (below > bits || !(bitmap[(below - 1) / 8] >> ((below - 1) % 8) & 1)))
            continue;
        if (!below)
            measured(arq, now - (flight->left_ms ? flight->left_ms : flight->sent_ms));
        arq->silent = 0;
        arrived(arq, flight);
    }
    find_lost(arq, high);
    if (!link_of(arq)->closing)
        mesh_session_touch(arq->session);
    return true;
}

/* ---- in ---- */

static void shift(struct mesh_arq *arq, uint64_t by)
{
    const int words = MESH_ACK_BITS / 64;
    int whole = by < MESH_ACK_BITS ? (int)(by / 64) : words, part = (int)(by % 64);
    for (int i = words - 1; i >= 0; i--) {
        uint64_t word = i - whole >= 0 ? arq->heard[i - whole] << part : 0;
        if (part && i - whole - 1 >= 0)
            word |= arq->heard[i - whole - 1] >> (64 - part);
        arq->heard[i] = word;
    }
}

static void note_counter(struct mesh_arq *arq, uint64_t counter)
{
    if (!arq->heard_any) {
        arq->heard_any = true;
        arq->heard_high = counter;
    } else if (counter > arq->heard_high) {
        uint64_t by = counter - arq->heard_high;
        shift(arq, by);
        if (by <= MESH_ACK_BITS)
            arq->heard[(by - 1) / 64] |= UINT64_C(1) << ((by - 1) % 64);
        arq->heard_high = counter;
    } else if (counter < arq->heard_high && arq->heard_high - counter <= MESH_ACK_BITS) {
        uint64_t below = arq->heard_high - counter - 1;
        arq->heard[below / 64] |= UINT64_C(1) << (below % 64);
    }
}

void mesh_arq_heard(struct mesh_arq *arq, uint64_t counter, bool wants, bool out_of_order)
{
    uint64_t now = now_ms(arq);
    note_counter(arq, counter);
    arq->datagrams_in++;
    arq->silent = 0; /* whatever is heard, the other side is there */
    if (!wants)
        return;
    /* On a fast link each second one is acknowledged at once, and each that shows a gap. */
    bool at_once = !link_of(arq)->slow && (arq->ack_wanted || out_of_order);
    if (!arq->ack_wanted)
        arq->ack_first_ms = now;
    /* On a slow link not into the middle of what is still coming. */
    if (!arq->ack_wanted || (link_of(arq)->slow && now < arq->ack_first_ms + ACK_PATIENCE * ack_wait_ms(arq)))
        arq->ack_due_ms = now + ack_wait_ms(arq);
    arq->ack_wanted = true;
    if (at_once) {
        arq->ack_due_ms = now;
        mesh_session_touch(arq->session);
    }
}

size_t mesh_arq_put_ack(struct mesh_arq *arq, uint8_t *out, size_t cap)
{
    uint64_t cover = arq->heard_high - arq->told_high + ACK_SPARE;
    size_t bytes = (size_t)((cover < MESH_ACK_BITS ? cover : MESH_ACK_BITS) + 7) / 8;
    if (!arq->ack_wanted || cap < 4 + bytes)
        return 0;
    out[0] = CHUNK_ACK;
    out[1] = (uint8_t)(arq->heard_high >> 8);
    out[2] = (uint8_t)arq->heard_high;
    for (size_t i = 0; i < bytes; i++)
        out[4 + i] = (uint8_t)(arq->heard[i / 8] >> (8 * (i % 8)));
    while (bytes && !out[4 + bytes - 1])
        bytes--;
    out[3] = (uint8_t)bytes;
    return 4 + bytes;
}

/* ---- time passes ---- */

static void sooner(uint64_t *at, uint64_t other)
{
    if (other < *at)
        *at = other;
}

void mesh_arq_schedule(struct mesh_arq *arq)
{
    struct mesh_session *session = arq->session;
    uint64_t at = UINT64_MAX, now = now_ms(arq);
    if (session->link->closing)
        return;
    /* What is past and still here waits for the carrier's credit, which flushes by itself. */
    if (arq->ack_wanted && arq->ack_due_ms > now)
        sooner(&at, arq->ack_due_ms);
    if (arq->linger_ms > now)
        sooner(&at, arq->linger_ms);
    if (arq->flights)
        sooner(&at, given_up_at(arq, arq->flights));
    if (session->link->airtime.waiting) {
        uint64_t wait = UINT64_MAX;
        if (arq->again || arq->ack_wanted || session->urgent.len || session->queue[KLP_CLASS_CONTROL].first)
            sooner(&wait, mesh_airtime_wait_ms(session->link, KLP_CLASS_CONTROL));
        for (uint8_t klass = 1; klass < KLP_CLASSES; klass++)
            if (session->queue[klass].first || (klass == KLP_CLASS_BULK && mesh_stream_queued(session)))
                sooner(&wait, mesh_airtime_wait_ms(session->link, klass));
        if (wait != UINT64_MAX)
            sooner(&at, now + (wait ? wait : AIRTIME_LOOK_MS));
    }
    if (at == UINT64_MAX)
        kos_timer_stop(session->mesh->env, arq->timer);
    else
        kos_timer_set(session->mesh->env, arq->timer, at > now ? at - now : 0);
}

static void fire(void *arg)
{
    struct mesh_session *session = arg;
    struct mesh_arq *arq = session->arq;
    struct mesh_link *link = session->link;
    if (arq->flights && given_up_at(arq, arq->flights) <= now_ms(arq)) {
        if (++arq->silent > MESH_SILENT_TRIES) {
            mesh_link_close(link, false, KOS_E_TIMEOUT, "%s acknowledges nothing: %u times sent again in vain",
                            link->remote, MESH_SILENT_TRIES);
            return;
        }
        /* The oldest alone: the answer to it says which of the others are missing. */
        lost(arq, arq->flights);
        arq->probe = true;
    }
    mesh_session_touch(session);
    mesh_arq_schedule(arq);
}
