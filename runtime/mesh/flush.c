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

struct filling {
    uint8_t *plain;
    size_t len, cap;
};

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
    if (left && !part)
        return false;
    int32_t len = klp_frame_put(filling->plain + filling->len, filling->cap - filling->len, item->type, klass,
                                part < left, kos_bytes(item->data + item->sent, part));
    if (len < 0)
        return false;
    filling->len += (size_t)len;
    item->sent += part;
    session->out_sent[klass] += part;
    queue->bytes -= part;
    if (item->sent == item->len) {
        queue->first = item->next;
        if (!queue->first)
            queue->last = NULL;
        free(item->data);
        free(item);
    }
    return true;
}

/* Bulk items and streams take turns at being first. */
static void put_class(struct mesh_session *session, uint8_t klass, struct filling *filling, size_t limit)
{
    bool streams_first = klass == KLP_CLASS_BULK && mesh_stream_first(session);
    if (streams_first)
        filling->len = mesh_stream_fill(session, filling->plain, filling->len, limit);
    while (session->queue[klass].first && put_frame(session, klass, filling, limit))
        ;
    if (klass == KLP_CLASS_BULK && !streams_first)
        filling->len = mesh_stream_fill(session, filling->plain, filling->len, limit);
}

/* The plaintext of one record; 0 when there is nothing that may be sent now. */
static size_t fill(struct mesh_session *session, uint8_t *plain, size_t cap)
{
    struct filling filling = { plain, 0, cap };
    if (session->urgent.len && session->urgent.len <= cap) {
        memcpy(plain, session->urgent.data, session->urgent.len);
        filling.len = session->urgent.len;
        kos_buf_reset(&session->urgent);
    }
    for (uint8_t klass = 0; klass < KLP_CLASSES; klass++) {
        size_t limit = klass == KLP_CLASS_BULK && cap > MESH_RECORD_BULK ? MESH_RECORD_BULK : cap;
        put_class(session, klass, &filling, limit);
    }
    return filling.len;
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
    struct filling filling = { out, 0, cap };
    if (klass == KLP_CLASS_CONTROL && session->urgent.len)
        filling.len = take_urgent(session, out, cap);
    put_class(session, klass, &filling, cap);
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

void mesh_session_flush(struct mesh_session *session)
{
    struct mesh_link *link = session->link;
    uint8_t *scratch = session->mesh->scratch;
    size_t used = 0, cap;
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
    while (!link->closing && (cap = room(session)) > 0) {
        size_t len = fill(session, scratch + used + 2, cap);
        if (!len)
            break;
        int32_t rc = klp_record_seal(session->send, kos_bytes(scratch + used + 2, len), scratch + used);
        if (rc < 0) {
            mesh_link_close(link, false, rc, "the session with %s can seal no more records", link->remote);
            return;
        }
        used += len + KLP_RECORD_OVERHEAD;
        /* Credit is reckoned as records are made, so that `room` sees it; the carrier gets them in few pieces. */
        link->send_credit -= len + KLP_RECORD_OVERHEAD;
        if (used > MESH_SCRATCH - (KLP_RECORD_PLAIN_MAX + KLP_RECORD_OVERHEAD)) {
            link->send_credit += used;
            mesh_link_send(link, kos_bytes(scratch, used));
            used = 0;
        }
    }
    if (used) {
        link->send_credit += used;
        mesh_link_send(link, kos_bytes(scratch, used));
    }
    if (session->peer && !link->closing)
        mesh_peer_touch(session->peer);
}
