/* SPDX-License-Identifier: Apache-2.0
 *
 * Links of datagrams: what each datagram is, by its first byte. Datagrams wait in link->in behind their length only
 * while a worker has the handshake they belong to. What nobody can open is dropped and counted: anybody may have sent
 * it.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

enum { KEEP_BYTES = 4096 }; /* of a buffer that is empty */

void mesh_datagram_alive(struct mesh_link *link)
{
    link->session->arq->held = false;
    mesh_shake_confirmed(link);
}

/* Under the keys of a handshake beside the session: its initiator is there, and so is the new session. In a copy, for
 * a failure spoils the bytes. */
static bool take_awaited(struct mesh_link *link, struct kos_bytes datagram)
{
    size_t len;
    if (!link->handshake || !link->handshake->awaits)
        return false;
    uint8_t *plain = kos_new(datagram.len);
    bool good = klp_record_open_datagram(link->handshake->receive, datagram, plain, &len) >= 0;
    if (good) {
        mesh_handshake_install(link);
        if (!link->closing) {
            mesh_datagram_alive(link);
            mesh_packet_take(link->session, kos_bytes(plain, len));
        }
    }
    free(plain);
    return good;
}

static void take_record(struct mesh_link *link, struct kos_bytes datagram)
{
    size_t len;
    if (take_awaited(link, datagram))
        return;
    if (!link->session) {
        /* On links that do not keep order it may overtake the handshake's last message. */
        uint8_t head[2] = { (uint8_t)(datagram.len >> 8), (uint8_t)datagram.len };
        if (link->handshake && link->early.len + sizeof head + datagram.len <= link->early.limit) {
            (void)kos_buf_append(&link->early, kos_bytes(head, sizeof head));
            (void)kos_buf_append(&link->early, datagram);
        }
        return;
    }
    uint8_t *plain = link->in.data + (datagram.data - link->in.data) + KLP_DATAGRAM_HEAD;
    int32_t rc = klp_record_open_datagram(link->session->receive, datagram, plain, &len);
    if (rc < 0) {
        if (rc == KOS_E_REPLAYED)
            link->session->arq->repeated_in++;
        else
            link->mesh->counters.records_bad++;
        return;
    }
    mesh_datagram_alive(link);
    mesh_packet_take(link->session, kos_bytes(plain, len));
}

static bool take(struct mesh_link *link, struct kos_bytes datagram)
{
    switch (datagram.data[0]) {
    case MESH_DATAGRAM_SHAKE:
    case MESH_DATAGRAM_COOKIE:
    case MESH_DATAGRAM_AGAIN: return mesh_shake_take(link, datagram);
    case KLP_DATAGRAM_RECORD:
        if (!link->session && link->handshake && link->handshake->running && (link->flags & KOS_LINK_ORDERED))
            return false;
        take_record(link, datagram);
        return true;
    default: link->mesh->counters.records_bad++; return true;
    }
}

/* What came early goes before what came since. */
static void bring_early(struct mesh_link *link)
{
    struct kos_buf rest;
    if (!link->early.len || !link->session)
        return;
    kos_buf_init(&rest, link->in.limit + link->early.limit);
    (void)kos_buf_append(&rest, kos_buf_bytes(&link->early));
    (void)kos_buf_append(&rest, kos_buf_bytes(&link->in));
    kos_buf_reset(&link->in);
    kos_buf_fini(&link->early);
    link->in.limit = rest.limit;
    (void)kos_buf_append(&link->in, kos_buf_bytes(&rest));
    kos_buf_fini(&rest);
}

void mesh_datagram_process(struct mesh_link *link)
{
    size_t used = 0, bytes = 0;
    bring_early(link);
    while (!link->closing && link->in.len - used >= 2) {
        uint8_t *at = link->in.data + used;
        size_t len = (size_t)at[0] << 8 | at[1];
        if (!take(link, kos_bytes(at + 2, len)))
            break;
        used += 2 + len;
        bytes += len;
    }
    if (!used)
        return;
    kos_buf_consume(&link->in, used);
    if (!link->in.len && link->in.cap > KEEP_BYTES)
        kos_buf_fini(&link->in);
    if (!link->closing)
        link->mesh->carrier->ops->credit(link->mesh->carrier, link->id, bytes);
}

void mesh_datagram_received(struct mesh_link *link, struct kos_bytes datagram)
{
    uint8_t head[2] = { (uint8_t)(datagram.len >> 8), (uint8_t)datagram.len };
    if (!datagram.len || datagram.len > MESH_DATAGRAM_MAX)
        return;
    if (kos_buf_append(&link->in, kos_bytes(head, sizeof head)) < 0 || kos_buf_append(&link->in, datagram) < 0) {
        mesh_link_close(link, false, KOS_E_LIMIT,
                        "transport \"%s\" handed over more than the bytes it had credit for", link->transport);
        return;
    }
    mesh_datagram_process(link);
}
