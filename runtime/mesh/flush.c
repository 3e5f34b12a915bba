/* SPDX-License-Identifier: Apache-2.0
 *
 * Records out: at the end of a turn, what a session has to say is cut into frames and sealed, control first, then
 * interactive, then bulk. Bulk fills a record to MESH_RECORD_BULK only: whatever comes next waits behind one such
 * record.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

/* A record is not worth its overhead below this, unless it holds all there is. */
enum { RECORD_WORTH = 512, FRAME_WORTH = 32 };

/* What is larger than this is sealed where it lies. The pieces of a record are then at most one of these and what
 * stands before it, each, and an end. */
enum { BY_REFERENCE = 4096, PIECES_MAX = 2 * (KLP_RECORD_PLAIN_MAX / BY_REFERENCE) + 3 };

struct filling {
    uint8_t *flat;             /* what is copied goes here */
    size_t at, len, cap;       /* bytes there; of the record, and at most */
    struct kos_bytes *pieces;  /* PIECES_MAX; NULL: everything is copied */
    size_t count;
    struct mesh_item *spent;   /* to be freed once it is sealed */
};

static void flat_added(struct filling *filling, size_t len)
{
    if (!len)
        return;
    struct kos_bytes *last = filling->count ? &filling->pieces[filling->count - 1] : NULL;
    if (filling->pieces && last && last->data + last->len == filling->flat + filling->at)
        last->len += len;
    else if (filling->pieces)
        filling->pieces[filling->count++] = kos_bytes(filling->flat + filling->at, len);
    filling->at += len;
    filling->len += len;
}

static bool add_frame(struct filling *filling, const struct mesh_item *item, uint8_t klass, size_t part)
{
    struct kos_bytes payload = kos_bytes(item->data + item->sent, part);
    uint8_t *out = filling->flat + filling->at;
    bool more = part < item->len - item->sent, refers = filling->pieces && part > BY_REFERENCE;
    int32_t len = refers ? klp_frame_head(out, filling->cap - filling->len, item->type, klass, more, part)
                         : klp_frame_put(out, filling->cap - filling->len, item->type, klass, more, payload);
    if (len < 0)
        return false;
    flat_added(filling, (size_t)len);
    if (refers) {
        filling->pieces[filling->count++] = payload;
        filling->len += part;
    }
    return true;
}

static void items_free(struct mesh_item *item)
{
    while (item) {
        struct mesh_item *next = item->next;
        free(item->data);
        free(item);
        item = next;
    }
}

static bool put_frame(struct mesh_session *session, uint8_t klass, struct filling *filling, size_t limit)
{
    struct mesh_queue *queue = &session->queue[klass];
    struct mesh_item *item = queue->first;
    size_t left = item->len - item->sent, part = left, rest = limit - filling->len;
    uint64_t credit = session->out_allowed[klass] - session->out_sent[klass];
    if (limit <= filling->len + KLP_FRAME_HEADER || (filling->len && left > rest && rest < FRAME_WORTH))
        return false;
    if (part > limit - filling->len - KLP_FRAME_HEADER)
        part = limit - filling->len - KLP_FRAME_HEADER;
    if (part > credit)
        part = (size_t)credit;
    if ((left && !part) || !add_frame(filling, item, klass, part))
        return false;
    item->sent += part;
    session->out_sent[klass] += part;
    queue->bytes -= part;
    if (item->sent == item->len) {
        queue->first = item->next;
        if (!queue->first)
            queue->last = NULL;
        item->next = filling->spent;
        filling->spent = item;
    }
    return true;
}

static void put_streams(struct mesh_session *session, struct filling *filling, size_t limit)
{
    size_t elsewhere = filling->len - filling->at;
    if (limit > filling->len)
        flat_added(filling, mesh_stream_fill(session, filling->flat, filling->at, limit - elsewhere) - filling->at);
}

/* Bulk items and streams take turns at being first. */
static void put_class(struct mesh_session *session, uint8_t klass, struct filling *filling, size_t limit)
{
    bool streams_first = klass == KLP_CLASS_BULK && mesh_stream_first(session);
    if (streams_first)
        put_streams(session, filling, limit);
    while (session->queue[klass].first && put_frame(session, klass, filling, limit))
        ;
    if (klass == KLP_CLASS_BULK && !streams_first)
        put_streams(session, filling, limit);
}

/* The plaintext of one record; nothing when there is nothing that may be sent now. */
static void fill(struct mesh_session *session, struct filling *filling)
{
    if (session->urgent.len && session->urgent.len <= filling->cap) {
        memcpy(filling->flat, session->urgent.data, session->urgent.len);
        flat_added(filling, session->urgent.len);
        kos_buf_reset(&session->urgent);
    }
    for (uint8_t klass = 0; klass < KLP_CLASSES; klass++) {
        size_t limit = klass == KLP_CLASS_BULK && filling->cap > MESH_RECORD_BULK ? MESH_RECORD_BULK : filling->cap;
        put_class(session, klass, filling, limit);
    }
}

/* Whole frames off the front. */
static size_t take_urgent(struct mesh_session *session, uint8_t *out, size_t cap)
{
    struct kos_bytes rest = kos_buf_bytes(&session->urgent);
    struct klp_frame frame;
    size_t len = 0;
    while (klp_frame_next(&rest, &frame) > 0 && session->urgent.len - rest.len <= cap)
        len = session->urgent.len - rest.len;
    if (len) {
        memcpy(out, session->urgent.data, len);
        kos_buf_consume(&session->urgent, len);
    }
    return len;
}

size_t mesh_session_fill(struct mesh_session *session, uint8_t klass, uint8_t *out, size_t cap)
{
    struct filling filling = { .flat = out, .cap = cap };
    if (klass == KLP_CLASS_CONTROL && session->urgent.len)
        filling.at = filling.len = take_urgent(session, out, cap);
    put_class(session, klass, &filling, cap);
    items_free(filling.spent);
    return filling.len;
}

size_t mesh_session_queued(const struct mesh_session *session)
{
    size_t all = session->urgent.len + mesh_stream_queued(session);
    for (int32_t klass = 0; klass < KLP_CLASSES; klass++)
        all += session->queue[klass].bytes;
    return all;
}

/* How long a record's plaintext may be by what the carrier takes now; 0: wait for more. */
static size_t room(const struct mesh_session *session)
{
    uint64_t credit = session->link->send_credit;
    if (credit <= KLP_RECORD_OVERHEAD + KLP_FRAME_HEADER)
        return 0;
    size_t cap = credit - KLP_RECORD_OVERHEAD < KLP_RECORD_PLAIN_MAX ? (size_t)credit - KLP_RECORD_OVERHEAD
                                                                     : KLP_RECORD_PLAIN_MAX;
    size_t all = mesh_session_queued(session);
    return cap < RECORD_WORTH && cap < all + 64 ? 0 : cap;
}

/* Whether there is anything that the peer's credit lets go, and how many bytes. */
static bool sendable(const struct mesh_session *session, size_t *ret_bytes)
{
    bool any = session->urgent.len > 0 || mesh_stream_queued(session) > 0;
    *ret_bytes = session->urgent.len + mesh_stream_queued(session);
    for (int32_t klass = 0; klass < KLP_CLASSES; klass++) {
        const struct mesh_queue *queue = &session->queue[klass];
        uint64_t credit = session->out_allowed[klass] - session->out_sent[klass];
        /* An item may be empty. */
        any = any || (queue->first && (credit > 0 || queue->first->len == queue->first->sent));
        *ret_bytes += queue->bytes < credit ? queue->bytes : (size_t)credit;
    }
    return any;
}

/* Records on their way to the carrier, in one piece. */
struct parcel {
    uint8_t *data; /* NULL: not begun */
    size_t used, cap;
    bool made;     /* where the carrier wanted it */
};

static void parcel_begin(struct parcel *parcel, struct mesh_session *session, size_t bytes)
{
    struct kos_mesh *mesh = session->mesh;
    /* Small items have a header each; what turns out too short is followed by another. */
    size_t cap = bytes + bytes / 4 + RECORD_WORTH + KLP_RECORD_OVERHEAD;
    cap = cap < MESH_SENT_AT_ONCE ? cap : MESH_SENT_AT_ONCE;
    *parcel = (struct parcel){ .data = mesh_link_make(session->link, cap), .cap = cap, .made = true };
    if (parcel->data)
        return;
    if (!mesh->sealed)
        mesh->sealed = kos_new(MESH_SENT_AT_ONCE);
    *parcel = (struct parcel){ .data = mesh->sealed, .cap = MESH_SENT_AT_ONCE };
}

static void parcel_send(struct parcel *parcel, struct mesh_link *link)
{
    if (!parcel->data)
        return;
    /* Credit was reckoned as records were made, so that `room` saw it. */
    link->send_credit += parcel->used;
    if (parcel->made)
        mesh_link_made(link, parcel->used);
    else if (parcel->used)
        mesh_link_send(link, kos_bytes(parcel->data, parcel->used));
    parcel->data = NULL;
}

/* One more record of at most `cap` bytes of plaintext. False: nothing more is to be sent now, or can be. */
static bool parcel_add(struct parcel *parcel, struct mesh_session *session, size_t cap)
{
    struct mesh_link *link = session->link;
    struct kos_bytes pieces[PIECES_MAX];
    size_t left = parcel->cap - parcel->used - KLP_RECORD_OVERHEAD;
    struct filling filling = { .flat = session->mesh->scratch, .cap = cap < left ? cap : left, .pieces = pieces };
    fill(session, &filling);
    if (!filling.len)
        return false;
    int32_t rc = klp_record_sealv(session->send, pieces, filling.count, parcel->data + parcel->used);
    items_free(filling.spent);
    if (rc < 0) {
        parcel_send(parcel, link);
        mesh_link_close(link, false, rc, "the session with %s can seal no more records", link->remote);
        return false;
    }
    parcel->used += filling.len + KLP_RECORD_OVERHEAD;
    link->send_credit -= filling.len + KLP_RECORD_OVERHEAD;
    return true;
}

void mesh_session_flush(struct mesh_session *session)
{
    struct mesh_link *link = session->link;
    struct parcel parcel = { 0 };
    size_t cap, bytes;
    if (session->queue[KLP_CLASS_CONTROL].bytes > MESH_QUEUE_LIMIT) {
        mesh_link_close(link, false, KOS_E_BUSY, "%s takes nothing: %zu bytes of answers wait for it", link->remote,
                        session->queue[KLP_CLASS_CONTROL].bytes);
        return;
    }
    if (session->streams_stuck) {
        mesh_link_close(link, false, KOS_E_BUSY, "%s takes nothing: more than %d bytes wait that answer its streams",
                        link->remote, MESH_STREAM_SAYS);
        return;
    }
    if (session->arq) {
        mesh_packet_flush(session, false);
        return;
    }
    while ((cap = room(session)) > 0 && sendable(session, &bytes)) {
        if (!parcel.data)
            parcel_begin(&parcel, session, bytes);
        if (!parcel_add(&parcel, session, cap))
            break;
        if (parcel.cap - parcel.used < KLP_RECORD_OVERHEAD + RECORD_WORTH)
            parcel_send(&parcel, link);
    }
    if (link->closing)
        return;
    parcel_send(&parcel, link);
    if (session->peer)
        mesh_peer_touch(session->peer);
}
