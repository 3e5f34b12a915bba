/* SPDX-License-Identifier: Apache-2.0
 *
 * Records in datagrams. The frames of a class make one run; a datagram carries pieces of these runs, each a whole
 * number of frames behind its number, and maybe an acknowledgement:
 *
 *   piece   u8 class, flags | u16 number | u16 length, unless LAST | frames
 *   ack     see arq.c
 *
 * A receiver puts the pieces of each class in order by their numbers and holds what came too early: a lost piece of
 * bulk keeps nothing else waiting. A piece is never cut again, so it is there or not; nothing overlaps.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

enum {
    PIECE_CLASS = 0x03,
    PIECE_LAST = 0x10,  /* goes on to the end of the datagram: no length */
    PIECE_WANTS = 0x20, /* an acknowledgement is wanted */
    CHUNK_ACK = 0x40,
    PIECE_HEAD = 5,
    PIECE_HEAD_LAST = 3,
    LINGER_LOOK_MS = 50,
    PIECE_WORTH = 24, /* bytes of room below which none is begun */
};

/* ---- in ---- */

struct chunk {
    uint8_t klass;
    bool wants;
    uint64_t seq;
    struct kos_bytes frames;
};

struct parsed {
    struct chunk pieces[MESH_PIECES];
    uint32_t count;
    size_t held; /* bytes that would have to wait for others */
    bool wants, out_of_order;
    struct kos_bytes ack;
};

static bool parse_piece(const struct mesh_arq *arq, struct kos_bytes *rest, struct parsed *parsed)
{
    uint8_t head = rest->data[0], klass = head & PIECE_CLASS;
    bool last = head & PIECE_LAST;
    size_t skip = last ? PIECE_HEAD_LAST : PIECE_HEAD;
    if ((head & ~(PIECE_CLASS | PIECE_LAST | PIECE_WANTS)) || klass >= KLP_CLASSES || rest->len < skip ||
        parsed->count == MESH_PIECES)
        return false;
    size_t len = last ? rest->len - skip : (size_t)rest->data[3] << 8 | rest->data[4];
    if (!len || len > rest->len - skip)
        return false;
    struct chunk *chunk = &parsed->pieces[parsed->count++];
    uint16_t shown = (uint16_t)(rest->data[1] << 8 | rest->data[2]);
    chunk->klass = klass;
    chunk->wants = head & PIECE_WANTS;
    /* The number nearest to the one expected next that ends in these bits; below it: it was seen. */
    int16_t ahead = (int16_t)(uint16_t)(shown - (uint16_t)arq->expected[klass]);
    chunk->seq = arq->expected[klass] + (uint64_t)(int64_t)ahead;
    chunk->frames = kos_bytes(rest->data + skip, len);
    parsed->wants |= chunk->wants;
    parsed->out_of_order |= ahead != 0;
    if (ahead > 0)
        parsed->held += len;
    *rest = kos_bytes(rest->data + skip + len, rest->len - skip - len);
    return ahead < MESH_WINDOW;
}

static bool parse(const struct mesh_arq *arq, struct kos_bytes plain, struct parsed *parsed)
{
    struct kos_bytes rest = plain;
    *parsed = (struct parsed){ .count = 0 };
    while (rest.len) {
        if (rest.data[0] != CHUNK_ACK) {
            if (!parse_piece(arq, &rest, parsed))
                return false;
            continue;
        }
        size_t len = rest.len >= 4 ? 4u + rest.data[3] : rest.len + 1;
        if (parsed->ack.len || len > rest.len)
            return false;
        parsed->ack = kos_bytes(rest.data, len);
        rest = kos_bytes(rest.data + len, rest.len - len);
    }
    return true;
}

/* false: the session is gone. */
static bool deliver(struct mesh_session *session, struct kos_bytes frames)
{
    struct mesh_link *link = session->link;
    mesh_session_record(session, frames);
    return !link->closing;
}

static void hold(struct mesh_arq *arq, const struct chunk *chunk)
{
    struct mesh_piece **place = &arq->in[chunk->klass][chunk->seq % MESH_WINDOW];
    if (*place)
        return; /* it came twice */
    *place = kos_new(sizeof **place + chunk->frames.len);
    (*place)->seq = chunk->seq;
    (*place)->len = chunk->frames.len;
    memcpy((*place)->data, chunk->frames.data, chunk->frames.len);
    arq->in_bytes += chunk->frames.len;
}

static bool take_piece(struct mesh_session *session, const struct chunk *chunk)
{
    struct mesh_arq *arq = session->arq;
    uint8_t klass = chunk->klass;
    int64_t ahead = (int64_t)(chunk->seq - arq->expected[klass]);
    if (ahead < 0)
        return true;
    if (ahead > 0) {
        hold(arq, chunk);
        return true;
    }
    arq->expected[klass]++;
    if (!deliver(session, chunk->frames))
        return false;
    struct mesh_piece *piece;
    while ((piece = arq->in[klass][arq->expected[klass] % MESH_WINDOW])) {
        arq->in[klass][arq->expected[klass] % MESH_WINDOW] = NULL;
        arq->expected[klass]++;
        arq->in_bytes -= piece->len;
        bool there = deliver(session, kos_bytes(piece->data, piece->len));
        free(piece);
        if (!there)
            return false;
    }
    return true;
}

void mesh_packet_take(struct mesh_session *session, struct kos_bytes plain)
{
    struct mesh_arq *arq = session->arq;
    struct parsed parsed;
    if (!parse(arq, plain, &parsed)) {
        mesh_session_close(session, KOS_E_PROTOCOL, "a datagram's record is malformed or beyond the window");
        return;
    }
    session->heard_ms = kos_mono_ms(session->mesh->env);
    if (arq->in_bytes + parsed.held > MESH_REORDER_BYTES) {
        /* Not acknowledged, so it comes again; on a link that loses nothing it never will. */
        if (!arq->repeats)
            mesh_session_close(session, KOS_E_LIMIT, "more than %d bytes wait for a piece before them",
                               MESH_REORDER_BYTES);
        return;
    }
    if (parsed.ack.len && !mesh_arq_take_ack(arq, &parsed.ack)) {
        mesh_session_close(session, KOS_E_PROTOCOL, "an acknowledgement is malformed or of what was never sent");
        return;
    }
    mesh_arq_heard(arq, klp_record_opened(session->receive), parsed.wants, parsed.out_of_order);
    for (uint32_t i = 0; i < parsed.count; i++)
        if (!take_piece(session, &parsed.pieces[i]))
            return;
    mesh_arq_schedule(arq);
}

/* ---- out ---- */

struct making {
    struct mesh_session *session;
    struct mesh_flight *flight;
    uint8_t *plain;
    size_t len, cap, last; /* last: where the last chunk begins */
    bool any;
};

static void put_head(struct making *making, uint8_t klass, uint64_t seq, size_t len)
{
    uint8_t *out = making->plain + making->len;
    struct mesh_flight *flight = making->flight;
    out[0] = klass | (making->session->arq->repeats ? PIECE_WANTS : 0);
    out[1] = (uint8_t)(seq >> 8);
    out[2] = (uint8_t)seq;
    out[3] = (uint8_t)(len >> 8);
    out[4] = (uint8_t)len;
    making->last = making->len;
    making->any = true;
    making->len += PIECE_HEAD + len;
    flight->pieces[flight->count].klass = klass;
    flight->pieces[flight->count].seq = seq;
    flight->count++;
}

static bool room(const struct making *making, size_t len)
{
    /* The last piece does without its length. */
    return making->flight->count < MESH_PIECES && making->len + PIECE_HEAD_LAST + len <= making->cap;
}

static void put_again(struct making *making, uint8_t klass)
{
    struct mesh_arq *arq = making->session->arq;
    struct mesh_piece *piece, *next;
    DL_FOREACH_SAFE(arq->again, piece, next) {
        if (piece->klass != klass || !room(making, piece->len))
            continue;
        memcpy(making->plain + making->len + PIECE_HEAD, piece->data, piece->len);
        put_head(making, klass, piece->seq, piece->len);
        DL_DELETE(arq->again, piece);
        piece->lost = false;
        piece->counter = making->flight->counter;
        arq->sent_again++;
    }
}

static void put_new(struct making *making, uint8_t klass)
{
    struct mesh_session *session = making->session;
    struct mesh_arq *arq = session->arq;
    uint64_t seq = arq->next[klass];
    if (!room(making, PIECE_WORTH) || making->len + PIECE_HEAD + PIECE_WORTH > making->cap ||
        (arq->repeats && seq - arq->base[klass] >= MESH_WINDOW))
        return;
    size_t cap = making->cap - making->len - PIECE_HEAD;
    if (klass == KLP_CLASS_BULK && cap > MESH_RECORD_BULK)
        cap = MESH_RECORD_BULK;
    uint8_t *at = making->plain + making->len + PIECE_HEAD;
    size_t len = mesh_session_fill(session, klass, at, cap);
    if (!len)
        return;
    arq->next[klass]++;
    if (arq->repeats) {
        struct mesh_piece *piece = kos_new(sizeof *piece + len);
        piece->seq = seq;
        piece->klass = klass;
        piece->len = len;
        piece->counter = making->flight->counter;
        memcpy(piece->data, at, len);
        arq->out[klass][seq % MESH_WINDOW] = piece;
    }
    put_head(making, klass, seq, len);
}

static void close_last(struct making *making)
{
    uint8_t *out = making->plain + making->last;
    if (!making->any)
        return;
    memmove(out + PIECE_HEAD_LAST, out + PIECE_HEAD, making->len - making->last - PIECE_HEAD);
    out[0] |= PIECE_LAST;
    making->len -= PIECE_HEAD - PIECE_HEAD_LAST;
}

/* Small things wait for company on a slow link. */
static bool lingers(struct mesh_session *session, size_t cap)
{
    struct mesh_arq *arq = session->arq;
    uint64_t now = kos_mono_ms(session->mesh->env);
    size_t queued = mesh_session_queued(session);
    if (!session->link->slow || !queued || queued + 4 * KLP_FRAME_HEADER >= cap) {
        arq->linger_ms = 0;
        return false;
    }
    if (!arq->linger_ms)
        arq->linger_ms = now + mesh_arq_gather_ms(arq);
    if (now < arq->linger_ms)
        return true;
    /* Messages that are being gathered or signed go with it. */
    const struct mesh_peer *peer = session->peer;
    if (!peer || arq->linger_ms == 1 || (peer->gather_ms <= now && !peer->signing[KLP_CLASS_INTERACTIVE]))
        return false;
    arq->linger_ms = now + LINGER_LOOK_MS;
    return true;
}

/* Everything that goes into one datagram, in the order of the classes. */
static void fill(struct making *making, bool hurry)
{
    struct mesh_session *session = making->session;
    struct mesh_arq *arq = session->arq;
    struct mesh_link *link = session->link;
    uint8_t ack[4 + MESH_ACK_BITS / 8];
    size_t ack_len = mesh_arq_put_ack(arq, ack, sizeof ack);
    bool ack_due = ack_len && arq->ack_due_ms <= kos_mono_ms(session->mesh->env);
    size_t cap = making->cap;
    bool wait = !hurry && lingers(session, cap) && !arq->again && !ack_due;
    making->cap -= ack_len < making->cap ? ack_len : 0;
    for (uint8_t klass = 0; klass < KLP_CLASSES && !wait; klass++) {
        if (!hurry && mesh_airtime_wait_ms(link, klass)) {
            if (session->queue[klass].first || arq->again || session->urgent.len ||
                (klass == KLP_CLASS_BULK && mesh_stream_queued(session))) {
                link->airtime.held += !link->airtime.waiting;
                link->airtime.waiting = true;
            }
            break;
        }
        if (!hurry && !mesh_arq_may_send(arq) && klass == KLP_CLASS_BULK)
            break;
        put_again(making, klass);
        put_new(making, klass);
    }
    making->cap = cap;
    /* A piece that was cut for a whole datagram goes alone. */
    if (!making->any && arq->again && !wait)
        for (uint8_t klass = 0; klass < KLP_CLASSES && !making->any; klass++)
            if (!mesh_airtime_wait_ms(link, KLP_CLASS_CONTROL))
                put_again(making, klass);
    close_last(making);
    if (ack_len && (making->any || ack_due) && making->len + ack_len <= making->cap) {
        /* In front, where a piece without a length cannot swallow it. */
        memmove(making->plain + ack_len, making->plain, making->len);
        memcpy(making->plain, ack, ack_len);
        making->len += ack_len;
        arq->ack_wanted = false;
        arq->ack_due_ms = 0;
        arq->told_high = arq->heard_high;
    }
}

/* How much a datagram's plaintext may have by what the carrier takes now; 0: wait for more. */
static size_t space(const struct mesh_link *link)
{
    uint64_t most = link->mtu < link->send_window ? link->mtu : link->send_window;
    return link->send_credit < most || most <= KLP_RECORD_DATAGRAM_OVERHEAD + PIECE_HEAD + PIECE_WORTH
               ? 0
               : (size_t)most - KLP_RECORD_DATAGRAM_OVERHEAD;
}

static bool send_one(struct mesh_session *session, bool hurry)
{
    struct mesh_arq *arq = session->arq;
    struct mesh_link *link = session->link;
    uint8_t *out = session->mesh->scratch;
    size_t cap = space(link);
    /* What is not bulk may go a little beyond the window: bulk must not make it wait for a round trip. */
    bool may = hurry || mesh_arq_may_send(arq) || arq->flight_count < arq->cwnd + MESH_CWND_MIN;
    bool ack_due = arq->ack_wanted && arq->ack_due_ms <= kos_mono_ms(session->mesh->env);
    if (!cap || (!may && !ack_due))
        return false;
    struct mesh_flight *flight = kos_new(sizeof *flight);
    flight->counter = klp_record_counter(session->send);
    struct making making = { .session = session, .flight = flight, .plain = out + KLP_DATAGRAM_HEAD, .cap = cap };
    fill(&making, hurry);
    int32_t rc = making.len ? klp_record_seal_datagram(session->send, kos_bytes(making.plain, making.len), out)
                            : KOS_E_STATE;
    if (rc < 0) {
        free(flight);
        if (making.len)
            mesh_link_close(link, false, rc, "the session with %s can seal no more records", link->remote);
        return false;
    }
    flight->bytes = making.len + KLP_RECORD_DATAGRAM_OVERHEAD;
    arq->datagrams_out++;
    mesh_airtime_spend(link, flight->bytes);
    mesh_link_send(link, kos_bytes(out, flight->bytes));
    if (arq->repeats && flight->count)
        mesh_arq_sent(arq, flight);
    else
        free(flight);
    return true;
}

void mesh_packet_flush(struct mesh_session *session, bool hurry)
{
    struct mesh_link *link = session->link;
    link->airtime.waiting = false;
    while (!session->arq->held && !link->closing && send_one(session, hurry))
        ;
    if (link->closing)
        return;
    mesh_arq_schedule(session->arq);
    if (session->peer)
        mesh_peer_touch(session->peer);
}
