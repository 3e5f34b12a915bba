/* SPDX-License-Identifier: Apache-2.0
 * Peers: a node as the set of its sessions. What is sent takes the cheapest, and of equals the newest. */
#include "mesh/mesh_private.h"

#include <stdlib.h>

struct mesh_peer *mesh_peer_find(struct kos_mesh *mesh, const struct klp_id *id)
{
    struct mesh_peer *peer;
    HASH_FIND(hh, mesh->peers, id, sizeof *id, peer);
    return peer;
}

struct mesh_peer *mesh_peer_get(struct kos_mesh *mesh, const struct klp_id *id)
{
    struct mesh_peer *peer = mesh_peer_find(mesh, id);
    if (peer)
        return peer;
    peer = kos_new(sizeof *peer);
    peer->mesh = mesh;
    peer->id = *id;
    HASH_ADD(hh, mesh->peers, id, sizeof peer->id, peer);
    return peer;
}

void mesh_peer_free(struct mesh_peer *peer)
{
    struct kos_mesh *mesh = peer->mesh;
    if (peer->touched)
        LL_DELETE2(mesh->touched, peer, touched_next);
    if (peer->air_waits)
        LL_DELETE2(mesh->air, peer, air_next);
    mesh_tx_crowd(peer, KOS_E_CLOSED);
    for (int32_t klass = 0; klass < KLP_CLASSES; klass++)
        mesh_loose_free(peer->loose[klass]);
    HASH_DEL(mesh->peers, peer);
    free(peer);
}

void mesh_peer_release(struct mesh_peer *peer)
{
    bool signing = false;
    for (int32_t klass = 0; klass < KLP_CLASSES; klass++)
        signing = signing || peer->signing[klass] || peer->signing_loose[klass];
    if (!peer->sessions && !peer->entries && !peer->dedupe && !peer->asked && !peer->stored && !peer->keep && !signing)
        mesh_peer_free(peer);
}

void mesh_peer_touch(struct mesh_peer *peer)
{
    if (peer->touched || !peer->entries)
        return;
    peer->touched = true;
    LL_PREPEND2(peer->mesh->touched, peer, touched_next);
    kos_defer(peer->mesh->env, &peer->mesh->turn);
}

static bool better(const struct mesh_session *a, const struct mesh_session *b)
{
    if (a->link->cost != b->link->cost)
        return a->link->cost < b->link->cost;
    return a->began_ms > b->began_ms;
}

struct mesh_session *mesh_peer_session(const struct mesh_peer *peer)
{
    struct mesh_session *best = NULL, *session;
    DL_FOREACH(peer->sessions, session)
        if (!session->draining && !session->link->closing && (!best || better(session, best)))
            best = session;
    return best;
}

/* Verifying a log takes signatures on the loop: bounded per peer and minute. */
bool mesh_peer_log_allowed(struct mesh_peer *peer)
{
    uint64_t now = kos_mono_ms(peer->mesh->env);
    if (now - peer->logs_window_ms >= 60000) {
        peer->logs_window_ms = now;
        peer->logs = 0;
    }
    return ++peer->logs <= peer->mesh->limits.logs_per_peer_minute;
}

static json_t *describe(struct mesh_session *session)
{
    return json_pack("{s:o,s:s,s:s,s:b}", "id", mesh_id_json(&session->proof.id), "address", session->link->remote,
                     "name", session->name, "initiator", (int)session->initiator);
}

/* Each has credit of its own: who opened one after the other would have as much as it likes. */
static void close_oldest(struct mesh_peer *peer)
{
    struct mesh_session *session, *oldest = peer->sessions;
    uint32_t count = 0;
    DL_FOREACH(peer->sessions, session) {
        count++;
        oldest = session->serial < oldest->serial ? session : oldest;
    }
    if (count > MESH_SESSIONS_MAX)
        mesh_session_close(oldest, KOS_E_LIMIT, "a node has at most %d sessions with this one; this was its oldest",
                           MESH_SESSIONS_MAX);
}

void mesh_peer_up(struct mesh_session *session)
{
    struct kos_mesh *mesh = session->mesh;
    struct mesh_link *link = session->link;
    struct mesh_peer *peer = mesh_peer_get(mesh, &session->proof.id);
    char text[KLP_ID_TEXT];
    session->peer = peer;
    DL_APPEND(peer->sessions, session);
    memcpy(peer->noise_static, session->remote_static, sizeof peer->noise_static);
    peer->has_static = true;
    memcpy(peer->name, session->name, sizeof peer->name);
    mesh_record_find(mesh, &peer->id);
    kos_log(mesh->env, KOS_LOG_INFO, "mesh", "session with %s at %s (%s, %s)", mesh_peer_label(mesh, &peer->id, text),
            link->remote, session->pattern == KLP_NOISE_IK ? "IK" : "XX", session->initiator ? "dialled" : "accepted");
    close_oldest(peer);
    if (link->keep)
        mesh_keep_up(link->keep, session);
    /* Who was told may have disconnected at once. */
    if (!link->closing && mesh_watched(mesh))
        mesh_event(mesh, "peer_up", describe(session));
    if (link->closing)
        return;
    mesh_record_send(session);
    /* On a slow link nobody sends what was not asked for. */
    if (link->slow && session->compact && !mesh_record_find(mesh, &peer->id))
        mesh_session_queue_copy(session, KLP_FRAME_RECORD_REQUEST, KLP_CLASS_CONTROL, kos_bytes(NULL, 0));
    mesh_peer_touch(peer);
}

void mesh_peer_down(struct mesh_session *session, int32_t status, const char *text)
{
    struct kos_mesh *mesh = session->mesh;
    struct mesh_peer *peer = session->peer;
    char label[KLP_ID_TEXT];
    if (!peer)
        return;
    DL_DELETE(peer->sessions, session);
    session->peer = NULL;
    if (!mesh_peer_session(peer))
        mesh_loose_lost(peer, "no session is left");
    kos_log(mesh->env, KOS_LOG_INFO, "mesh", "session with %s at %s ended: %s", mesh_peer_label(mesh, &peer->id, label),
            session->link->remote, text);
    if (!mesh_watched(mesh))
        return;
    json_t *detail = describe(session);
    json_object_set_new(detail, "error", json_string(kos_error_name(status)));
    json_object_set_new(detail, "text", json_string(text));
    mesh_event(mesh, "peer_down", detail);
}

int32_t kos_mesh_disconnect(struct kos_mesh *mesh, const struct klp_id *id, struct kos_error *ret_error)
{
    struct mesh_peer *peer = mesh_peer_find(mesh, id);
    bool any = mesh_keeps_remove(mesh, id);
    for (struct mesh_link *link = mesh->links, *next; link; link = next) {
        next = link->hh.next;
        if (link->session && link->session->peer && link->session->peer == peer) {
            any = true;
            mesh_session_close(link->session, KOS_E_CLOSED, "the operator of the other side disconnected");
        }
    }
    if (any)
        return KOS_OK;
    char text[KLP_ID_TEXT];
    klp_id_text(id, text);
    return kos_fail(ret_error, KOS_E_NOTFOUND, "there is no connection with klp://node.%s", text);
}

/* Whom the policy no longer admits goes without a word; who may see more now, sees it. */
void kos_mesh_trust_changed(struct kos_mesh *mesh)
{
    if (mesh->sending)
        mesh->sending->holds = false;
    mesh->known.holds = false;
    for (struct mesh_link *link = mesh->links, *next; link; link = next) {
        struct kos_policy_decision decision;
        next = link->hh.next;
        if (link->session && link->session->up &&
            !mesh_session_allowed(mesh, &link->session->proof.id, link->session->initiator, link->transport, &decision))
            mesh_link_close(link, false, decision.code, "%s", decision.text);
        else if (link->session)
            mesh_streams_judge(link->session);
    }
    mesh->records_due = true;
    kos_defer(mesh->env, &mesh->turn);
}
