/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections kept up: by the operator's word (on disk, until disconnected) or as long as messages wait for a peer. IK
 * is tried with whom has answered before, XX when that fails. Between attempts a time that doubles, with jitter, so
 * that a thousand nodes do not come back in step.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

static void redial(void *arg)
{
    struct mesh_keep *keep = arg;
    struct mesh_peer *peer = mesh_peer_find(keep->mesh, &keep->expect);
    if (!keep->durable && !keep->waiters && mesh_found_holds(keep)) {
        free(keep->address);
        keep->address = kos_strdup(mesh_found_next(keep));
    } else if (!keep->durable && !keep->waiters) {
        /* Only for messages that wait; the node's record may name several addresses. */
        struct mesh_record *record = peer && peer->entries ? mesh_record_find(keep->mesh, &keep->expect) : NULL;
        uint32_t count = 0;
        while (record && record->addresses[count])
            count++;
        if (!count) {
            mesh_keep_free(keep);
            return;
        }
        free(keep->address);
        keep->address = kos_strdup(record->addresses[++keep->attempts % count]);
    }
    mesh_keep_dial(keep);
}

struct mesh_keep *mesh_keep_new(struct kos_mesh *mesh, const char *address)
{
    struct mesh_keep *keep = kos_new(sizeof *keep);
    keep->mesh = mesh;
    keep->address = kos_strdup(address);
    keep->timer = kos_timer_new(mesh->env, redial, keep);
    DL_APPEND(mesh->keeps, keep);
    return keep;
}

static void keep_forget_link(struct mesh_keep *keep, uint64_t id)
{
    struct mesh_link *link = id ? mesh_link_find(keep->mesh, id) : NULL;
    if (link)
        link->keep = NULL;
}

void mesh_keep_free(struct mesh_keep *keep)
{
    struct kos_mesh *mesh = keep->mesh;
    keep_forget_link(keep, keep->link);
    keep_forget_link(keep, keep->renewing);
    for (struct mesh_peer *peer = mesh->peers; peer; peer = peer->hh.next)
        if (peer->keep == keep)
            peer->keep = NULL;
    while (keep->waiters) {
        struct mesh_waiter *waiter = keep->waiters;
        keep->waiters = waiter->next;
        kos_timer_free(mesh->env, waiter->timer);
        free(waiter);
    }
    DL_DELETE(mesh->keeps, keep);
    kos_timer_free(mesh->env, keep->timer);
    mesh_found_free(keep);
    free(keep->address);
    free(keep);
}

void mesh_keeps_free(struct kos_mesh *mesh)
{
    while (mesh->keeps)
        mesh_keep_free(mesh->keeps);
}

/* ---- on disk: space "peer", the address -> who must answer, who did, its static key ---- */

void mesh_keep_save(struct mesh_keep *keep)
{
    struct mesh_peer *peer = keep->proven ? mesh_peer_find(keep->mesh, &keep->peer) : NULL;
    struct kos_buf value;
    kos_buf_init(&value, 256);
    pack_uint(&value, 1, 1);
    pack_uint(&value, keep->has_expect, 1);
    pack_raw(&value, keep->expect.b, sizeof keep->expect.b);
    pack_uint(&value, keep->proven, 1);
    pack_raw(&value, keep->peer.b, sizeof keep->peer.b);
    pack_uint(&value, peer && peer->has_static, 1);
    if (peer && peer->has_static)
        pack_raw(&value, peer->noise_static, sizeof peer->noise_static);
    struct kos_tx *tx = kos_tx_begin(keep->mesh->store);
    kos_tx_put(tx, "peer", kos_bytes_str(keep->address), kos_buf_bytes(&value));
    if (kos_tx_commit(tx, NULL, NULL) >= 0)
        keep->durable = true;
    else
        kos_log(keep->mesh->env, KOS_LOG_ERROR, "mesh", "that the connection to %s is to be kept could not be stored",
                keep->address);
    kos_buf_fini(&value);
}

static bool load(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct kos_mesh *mesh = arg;
    struct unpack in = { value, false };
    uint8_t noise_static[KLP_X25519_LEN];
    if (unpack_uint(&in, 1) != 1)
        return true;
    char *address = kos_format("%.*s", (int)key.len, (const char *)key.data);
    struct mesh_keep *keep = mesh_keep_new(mesh, address);
    free(address);
    keep->durable = true;
    keep->has_expect = unpack_uint(&in, 1);
    unpack_into(&in, keep->expect.b, sizeof keep->expect.b);
    keep->proven = unpack_uint(&in, 1);
    unpack_into(&in, keep->peer.b, sizeof keep->peer.b);
    bool has_static = unpack_uint(&in, 1);
    if (has_static)
        unpack_into(&in, noise_static, sizeof noise_static);
    if (in.bad || !keep->proven)
        return true;
    struct mesh_peer *peer = mesh_peer_get(mesh, &keep->peer);
    peer->keep = keep;
    peer->has_static = has_static;
    if (has_static)
        memcpy(peer->noise_static, noise_static, sizeof noise_static);
    return true;
}

int32_t mesh_keeps_load(struct kos_mesh *mesh)
{
    int32_t rc = kos_store_scan(mesh->store, "peer", kos_bytes(NULL, 0), kos_bytes(NULL, 0), load, mesh);
    for (struct mesh_keep *keep = mesh->keeps; keep; keep = keep->next)
        if (keep->proven)
            mesh_record_find(mesh, &keep->peer);
    return rc;
}

void mesh_keeps_start(struct kos_mesh *mesh)
{
    for (struct mesh_keep *keep = mesh->keeps; keep; keep = keep->next)
        kos_timer_set(mesh->env, keep->timer, 0);
}

bool mesh_keeps_remove(struct kos_mesh *mesh, const struct klp_id *peer)
{
    bool any = false;
    struct mesh_keep *keep, *next;
    DL_FOREACH_SAFE(mesh->keeps, keep, next) {
        if (!(keep->proven && klp_id_eq(&keep->peer, peer)) && !(keep->has_expect && klp_id_eq(&keep->expect, peer)))
            continue;
        struct kos_tx *tx = kos_tx_begin(mesh->store);
        kos_tx_delete(tx, "peer", kos_bytes_str(keep->address));
        kos_tx_commit(tx, NULL, NULL);
        mesh_keep_free(keep);
        any = true;
    }
    return any;
}

/* ---- dialling ---- */

const uint8_t *mesh_keep_static(struct mesh_keep *keep)
{
    struct mesh_peer *peer = NULL;
    if (!keep->no_ik && keep->proven)
        peer = mesh_peer_find(keep->mesh, &keep->peer);
    else if (!keep->no_ik && keep->has_expect)
        peer = mesh_peer_find(keep->mesh, &keep->expect);
    keep->tried_ik = peer && peer->has_static;
    return keep->tried_ik ? peer->noise_static : NULL;
}

void mesh_keep_later(struct mesh_keep *keep)
{
    uint32_t jitter;
    keep->backoff_ms = keep->backoff_ms ? keep->backoff_ms * 2 : MESH_BACKOFF_MIN_MS;
    if (keep->backoff_ms > MESH_BACKOFF_MAX_MS)
        keep->backoff_ms = MESH_BACKOFF_MAX_MS;
    kos_random(keep->mesh->env, &jitter, sizeof jitter);
    kos_timer_set(keep->mesh->env, keep->timer, keep->backoff_ms - jitter % (keep->backoff_ms / 2));
}

void mesh_keep_dial(struct mesh_keep *keep)
{
    struct kos_error error;
    if (keep->link || keep->mesh->stopping)
        return;
    keep->came_up = keep->tried_ik = false;
    keep->link = mesh_link_dial(keep->mesh, keep, keep->address, &error);
    if (keep->link)
        return;
    if (kos_log_limit_pass(keep->mesh->log_limit, keep->address, NULL))
        kos_log(keep->mesh->env, KOS_LOG_WARNING, "mesh", "%s", error.text);
    mesh_keep_later(keep);
}

/* Comes last in each act: whoever gets the answer may connect or disconnect at once. */
static void finish_waiters(struct kos_mesh *mesh, struct mesh_waiter *waiters, int32_t status,
                           const struct klp_id *peer, const char *text)
{
    while (waiters) {
        struct mesh_waiter *waiter = waiters;
        struct kos_mesh_connected result = { status, *peer, text };
        waiters = waiter->next;
        kos_timer_free(mesh->env, waiter->timer);
        waiter->done(waiter->arg, &result);
        free(waiter);
    }
}

static struct mesh_waiter *take_waiters(struct mesh_keep *keep)
{
    struct mesh_waiter *waiters = keep->waiters;
    keep->waiters = NULL;
    for (struct mesh_waiter *waiter = waiters; waiter; waiter = waiter->next)
        kos_timer_stop(keep->mesh->env, waiter->timer);
    return waiters;
}

/* The operator's own connect: the name that the peer claims becomes its petname if nobody has it and it has none. */
void mesh_keep_petname(struct kos_mesh *mesh, const struct mesh_session *session)
{
    struct kos_error error;
    const struct klp_id *id = &session->proof.id;
    if (!session->name[0] || kos_trust_name_of(mesh->trust, id)[0] || strcmp(session->name, mesh->name) == 0)
        return;
    struct kos_tx *tx = kos_tx_begin(mesh->store);
    if (kos_trust_name_set(mesh->trust, tx, session->name, id, &error) >= 0) {
        kos_tx_commit(tx, NULL, NULL);
    } else {
        kos_tx_abort(tx);
        kos_log(mesh->env, KOS_LOG_WARNING, "mesh", "%s", error.text);
    }
}

void mesh_keep_up(struct mesh_keep *keep, struct mesh_session *session)
{
    struct kos_mesh *mesh = keep->mesh;
    struct mesh_link *link = session->link;
    struct klp_id id = session->proof.id;
    if (link->id == keep->renewing) {
        struct mesh_link *old = mesh_link_find(mesh, keep->link);
        keep_forget_link(keep, keep->link);
        keep->link = link->id;
        keep->renewing = 0;
        if (old && old->session)
            mesh_session_drain(old->session);
    }
    keep->came_up = true;
    keep->no_ik = false;
    keep->backoff_ms = 0;
    keep->peer = keep->expect = id; /* whoever else answers here from now on is reported, not followed */
    keep->proven = keep->has_expect = true;
    session->peer->keep = keep;
    if (keep->waiters)
        mesh_keep_petname(mesh, session);
    if (keep->waiters || keep->durable)
        mesh_keep_save(keep);
    finish_waiters(mesh, take_waiters(keep), KOS_OK, &id, "");
}

void mesh_keep_down(struct mesh_keep *keep, uint64_t link, int32_t status, const char *text)
{
    static const struct klp_id nobody;
    struct kos_mesh *mesh = keep->mesh;
    if (link == keep->renewing) {
        keep->renewing = 0;
        return;
    }
    if (link != keep->link)
        return;
    keep->link = 0;
    if (mesh->stopping) {
        finish_waiters(mesh, take_waiters(keep), KOS_E_CLOSED, &nobody, "this node is stopping");
        return;
    }
    if (keep->tried_ik && !keep->came_up && !keep->no_ik) {
        keep->no_ik = true;
        kos_timer_set(mesh->env, keep->timer, 0);
        return;
    }
    struct mesh_waiter *waiters = take_waiters(keep);
    struct mesh_peer *peer = keep->has_expect ? mesh_peer_find(mesh, &keep->expect) : NULL;
    if (keep->durable || mesh_found_holds(keep) || (peer && peer->entries && !mesh_peer_session(peer)))
        mesh_keep_later(keep);
    else
        mesh_keep_free(keep);
    finish_waiters(mesh, waiters, status, &nobody, text);
}

void mesh_keep_renew(struct mesh_keep *keep, struct mesh_session *old)
{
    struct kos_error error;
    if (keep->renewing || keep->link != old->link->id || keep->mesh->stopping)
        return;
    keep->tried_ik = false;
    keep->renewing = mesh_link_dial(keep->mesh, keep, keep->address, &error);
}

void mesh_keep_want(struct mesh_peer *peer)
{
    struct kos_mesh *mesh = peer->mesh;
    if (peer->keep || mesh->stopping)
        return; /* it dials by its own clock */
    struct mesh_record *record = mesh_record_find(mesh, &peer->id);
    if (!record || !record->addresses[0])
        return;
    struct mesh_keep *keep = mesh_keep_new(mesh, record->addresses[0]);
    keep->has_expect = true;
    keep->expect = peer->id;
    peer->keep = keep;
    mesh_keep_dial(keep);
}
