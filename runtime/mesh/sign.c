/* SPDX-License-Identifier: Apache-2.0
 *
 * From the outbox to a session: what waits for one peer under one key is signed as one run on a worker, a single
 * message plainly, several as a batch; nothing waits for a run to fill. One run at a time for each peer and class,
 * so messages of a class keep their order, and while one is being signed the next gathers.
 *
 * That an entry was handed over is on disk before it is: entries made while a session is open say so from the start,
 * the others are marked here first.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

/* Agents' runs are signed on the loop: short trees. */
enum { AGENT_BATCH_MAX = 64 };

struct run {
    struct mesh_job job;
    uint64_t link; /* 0: to ourselves */
    struct klp_id node, signer;
    const struct klp_secret *secret; /* the node's; NULL: an agent's, which may go at any time: signed on the loop */
    struct klp_digest *digests;
    uint8_t klass;
    uint32_t count;
    uint64_t seqs[KLP_BATCH_MAX];
    struct {
        uint8_t *data;
        size_t len;
    } bodies[KLP_BATCH_MAX];
    uint8_t type;
    uint8_t *item;
    size_t item_len;
    int32_t status;
};

static void run_free(struct run *run)
{
    for (uint32_t i = 0; i < run->count; i++)
        free(run->bodies[i].data);
    free(run->digests);
    free(run->item);
    free(run);
}

/* ---- on the worker ---- */

int32_t mesh_item_sign(const struct klp_secret *secret, uint8_t type, const struct klp_digest *digests, uint32_t count,
                       uint8_t *item)
{
    uint8_t signed_data[sizeof KLP_TAG_MESSAGE + KLP_DIGEST_LEN];
    if (type == KLP_FRAME_BATCH)
        return klp_batch_sign(secret, digests, count, item);
    /* The rule of klp(7): tag, 0x00, SHA-256 of the body. */
    memcpy(signed_data, KLP_TAG_MESSAGE, sizeof KLP_TAG_MESSAGE);
    memcpy(signed_data + sizeof KLP_TAG_MESSAGE, digests[0].b, KLP_DIGEST_LEN);
    return klp_sign_raw(secret, kos_bytes(signed_data, sizeof signed_data), item + 2);
}

static int32_t put_signature(struct run *run, const struct klp_secret *secret)
{
    return mesh_item_sign(secret, run->type, run->digests, run->count, run->item);
}

static void make_item(struct run *run)
{
    static const uint8_t room[KLP_SIGNATURE_LEN];
    struct kos_buf item;
    kos_buf_init(&item, KLP_ITEM_MAX);
    if (run->count == 1) {
        run->type = KLP_FRAME_MESSAGE;
        pack_uint(&item, sizeof room, 2);
        pack_raw(&item, room, sizeof room);
        pack_raw(&item, run->bodies[0].data, run->bodies[0].len);
    } else {
        run->type = KLP_FRAME_BATCH;
        pack_raw(&item, room, sizeof room);
        pack_uint(&item, run->count, 2);
        for (uint32_t i = 0; i < run->count; i++)
            pack_bytes(&item, kos_bytes(run->bodies[i].data, run->bodies[i].len));
    }
    run->item = item.data;
    run->item_len = item.len;
}

static void sign(struct kos_work *work)
{
    struct run *run = (struct run *)work;
    run->digests = kos_new(run->count * sizeof *run->digests);
    for (uint32_t i = 0; i < run->count; i++)
        klp_sha256(kos_bytes(run->bodies[i].data, run->bodies[i].len), &run->digests[i]);
    make_item(run);
    if (run->secret)
        run->status = put_signature(run, run->secret);
}

/* ---- back on the loop ---- */

static void back_to_waiting(struct run *run)
{
    for (uint32_t i = 0; i < run->count; i++) {
        struct mesh_entry *entry = mesh_outbox_find(run->job.mesh, run->seqs[i]);
        if (!entry || entry->state != MESH_SIGNING)
            continue;
        if (!entry->body) {
            entry->body = run->bodies[i].data;
            run->bodies[i].data = NULL;
        }
        mesh_outbox_ready(run->job.mesh, entry);
    }
}

static void hand_over(struct run *run)
{
    struct kos_mesh *mesh = run->job.mesh;
    struct mesh_link *link = run->link ? mesh_link_find(mesh, run->link) : NULL;
    struct mesh_session *session = link && !link->closing ? link->session : NULL;
    if (run->link && !session) {
        back_to_waiting(run);
        return;
    }
    if (run->type == KLP_FRAME_BATCH)
        mesh->counters.batches_out++;
    for (uint32_t i = 0; i < run->count; i++) {
        struct mesh_entry *entry = mesh_outbox_find(mesh, run->seqs[i]);
        if (!entry || entry->state != MESH_SIGNING)
            continue;
        entry->state = MESH_SENT;
        entry->status = KOS_OK;
        entry->handovers++;
        entry->link = run->link;
        if (session)
            mesh_outbox_sent(session, entry);
    }
    uint8_t *item = run->item;
    run->item = NULL;
    if (session) {
        if (session->arq) /* it was gathered: nothing else is to be waited for */
            session->arq->linger_ms = 1;
        mesh_session_queue(session, run->type, run->klass, item, run->item_len);
    }
    else
        mesh_inbox_local(mesh, run->type, run->klass, item, run->item_len);
}

static void signed_run(struct kos_work *work)
{
    struct run *run = (struct run *)work;
    struct kos_mesh *mesh = run->job.mesh;
    if (!mesh_work_done(&run->job)) {
        run_free(run);
        return;
    }
    if (!run->secret) {
        struct kos_identity *agent = kos_keys_find(kos_trust_keys(mesh->trust), &run->signer);
        const struct klp_secret *secret = agent ? kos_identity_secret(agent) : NULL;
        run->status = secret ? put_signature(run, secret) : KOS_E_KEY;
    }
    struct mesh_peer *peer = mesh_peer_find(mesh, &run->node);
    peer->signing[run->klass] = false;
    if (run->status < 0) {
        kos_log(mesh->env, KOS_LOG_ERROR, "mesh", "%u messages could not be signed: %s", run->count,
                kos_error_text(run->status));
        for (uint32_t i = 0; i < run->count; i++) {
            struct mesh_entry *entry = mesh_outbox_find(mesh, run->seqs[i]);
            if (entry && entry->state == MESH_SIGNING)
                mesh_outbox_fail_beyond(mesh, entry, 0, run->status, "it could not be signed");
        }
    } else {
        hand_over(run);
    }
    run_free(run);
    mesh_peer_touch(peer);
}

/* ---- marking what was stored while no link was there ---- */

struct marking {
    struct kos_mesh *mesh;
    struct klp_id node;
    uint8_t klass;
    uint32_t count;
    uint64_t seqs[KLP_BATCH_MAX];
};

static void marked(void *arg, int32_t status)
{
    struct marking *marking = arg;
    struct kos_mesh *mesh = marking->mesh;
    if (!mesh_drop(mesh)) {
        free(marking);
        return;
    }
    struct mesh_peer *peer = mesh_peer_find(mesh, &marking->node);
    peer->signing[marking->klass] = false;
    for (uint32_t i = 0; i < marking->count; i++) {
        struct mesh_entry *entry = mesh_outbox_find(mesh, marking->seqs[i]);
        if (entry && status >= 0)
            entry->handed = entry->resent = true;
    }
    free(marking);
    mesh_peer_touch(peer);
}

static void mark(struct mesh_peer *peer, uint8_t klass)
{
    struct marking *marking = kos_new(sizeof *marking);
    struct kos_tx *tx = kos_tx_begin(peer->mesh->store);
    struct mesh_entry *entry;
    marking->mesh = peer->mesh;
    marking->node = peer->id;
    marking->klass = klass;
    DL_FOREACH(peer->waiting[klass], entry) {
        uint8_t key[8];
        if (marking->count == KLP_BATCH_MAX)
            break;
        if (entry->handed)
            continue;
        mesh_entry_key(entry->seq, key);
        kos_tx_put(tx, "handed", kos_bytes(key, sizeof key), kos_bytes(NULL, 0));
        marking->seqs[marking->count++] = entry->seq;
    }
    if (kos_tx_commit(tx, marked, marking) < 0) {
        free(marking); /* the disk takes nothing now */
        mesh_outbox_wake(peer->mesh, peer->waiting[klass], 1000);
        return;
    }
    mesh_hold(peer->mesh);
    peer->signing[klass] = true;
}

/* ---- starting runs ---- */

static bool take_entry(struct kos_mesh *mesh, struct mesh_peer *peer, struct run *run, struct mesh_entry *entry)
{
    uint8_t *body;
    size_t len;
    int32_t rc = mesh_entry_body(mesh, entry, &body, &len);
    if (rc < 0) {
        mesh_outbox_fail_beyond(mesh, entry, 0, rc, "its text could not be read back from the store");
        return false;
    }
    DL_DELETE(peer->waiting[entry->klass], entry);
    entry->state = MESH_SIGNING;
    run->seqs[run->count] = entry->seq;
    run->bodies[run->count].data = body;
    run->bodies[run->count].len = len;
    run->count++;
    return true;
}

/* What a slow link cannot carry in time is refused with the reason, before it takes the place of something else. */
static bool carried(struct mesh_peer *peer, struct mesh_session *session, struct mesh_entry *entry)
{
    char text[KLP_RECEIPT_TEXT_MAX];
    int64_t left = entry->ends_ms - mesh_steady(peer->mesh);
    int32_t rc = session && session->link->slow
                     ? mesh_airtime_carries(session->link, entry->klass, entry->bytes, left > 0 ? (uint64_t)left : 0,
                                            text, sizeof text)
                     : KOS_OK;
    if (rc < 0)
        mesh_outbox_fail(peer->mesh, entry, rc, text);
    return rc >= 0;
}

/* On a slow link messages wait for others for a moment, and for airtime in the outbox, where they can still expire. */
static bool waits(struct mesh_peer *peer, struct mesh_session *session, uint8_t klass)
{
    uint64_t now = kos_mono_ms(peer->mesh->env);
    if (!session || !session->link->slow)
        return false;
    uint64_t air = mesh_airtime_wait_ms(session->link, klass);
    if (air) {
        session->link->airtime.held += !session->link->airtime.waiting;
        session->link->airtime.waiting = true;
        mesh_outbox_wake(peer->mesh, peer->waiting[klass], air);
        return true;
    }
    if (!peer->gather_ms) {
        peer->gather_ms = now + mesh_arq_gather_ms(session->arq);
        mesh_outbox_wake(peer->mesh, peer->waiting[klass], mesh_arq_gather_ms(session->arq));
    }
    return now < peer->gather_ms;
}

static void start(struct mesh_peer *peer, struct mesh_session *session, uint8_t klass)
{
    struct kos_mesh *mesh = peer->mesh;
    struct mesh_entry *entry, *next;
    size_t bytes = 0;
    struct klp_id signer = peer->waiting[klass]->signer;
    struct kos_identity *identity = kos_keys_find(kos_trust_keys(mesh->trust), &signer);
    if (!identity || !kos_identity_secret(identity)) {
        mesh_outbox_fail_beyond(mesh, peer->waiting[klass], 0, KOS_E_KEY,
                                "the agent that was to sign it is gone from this node");
        mesh_peer_touch(peer);
        return;
    }
    struct run *run = kos_new(sizeof *run);
    run->job.mesh = mesh;
    run->signer = signer;
    run->node = peer->id;
    run->link = session ? session->link->id : 0;
    run->klass = klass;
    run->secret = klp_id_eq(&signer, &mesh->self) ? kos_identity_secret(identity) : NULL;
    /* A run arrives as a whole: on a slow link a long one would keep the first of its messages from arriving. */
    size_t most_bytes = session && session->link->slow ? 4 * (size_t)session->link->mtu : MESH_RUN_BYTES;
    uint32_t most = run->secret ? KLP_BATCH_MAX : AGENT_BATCH_MAX;
    DL_FOREACH_SAFE(peer->waiting[klass], entry, next) {
        if (!carried(peer, session, entry))
            continue;
        if (!entry->handed || !klp_id_eq(&entry->signer, &signer) || run->count == most ||
            (run->count && bytes + entry->bytes > most_bytes))
            break;
        bytes += (size_t)entry->bytes;
        if (!take_entry(mesh, peer, run, entry))
            break;
    }
    if (!run->count) {
        run_free(run);
        mesh_peer_touch(peer);
        return;
    }
    peer->signing[klass] = true;
    if (session)
        mesh_session_send_logs_for(session, &signer);
    if (run->count == 1)
        mesh_work_one(mesh, &run->job, sign, signed_run);
    else
        mesh_work(mesh, &run->job, sign, signed_run);
}

static size_t queue_room(const struct mesh_session *session)
{
    return session->link->slow ? 2 * (size_t)session->link->mtu : MESH_QUEUE_ROOM;
}

void mesh_sign_peer(struct mesh_peer *peer)
{
    struct kos_mesh *mesh = peer->mesh;
    bool ourselves = klp_id_eq(&peer->id, &mesh->self);
    struct mesh_session *session = ourselves ? NULL : mesh_peer_session(peer);
    if (!mesh->started || mesh->stopping)
        return;
    if (!session && !ourselves) {
        mesh_keep_want(peer);
        return;
    }
    bool gathered = false;
    for (uint8_t klass = 0; klass < KLP_CLASSES; klass++) {
        bool full = session && session->queue[klass].bytes >= queue_room(session);
        if (peer->loose[klass] && !peer->signing_loose[klass] && !full && !mesh_loose_waits(peer, session, klass))
            mesh_loose_sign(peer, session, klass);
        if (!peer->waiting[klass] || peer->signing[klass] || full || waits(peer, session, klass))
            continue;
        gathered = true;
        if (peer->waiting[klass]->handed)
            start(peer, session, klass);
        else
            mark(peer, klass);
    }
    if (gathered)
        peer->gather_ms = 0;
}
