/* SPDX-License-Identifier: Apache-2.0
 *
 * Transient messages on their way out. A transaction gathers them in chunks, written once, as they stand in a batch: each
 * body behind its length. Its commit gives the chunks to the peers; at the turn's end a run of them is signed on a worker
 * and goes to the session. No disk, no entry for each, no receipt: what becomes of them is counted.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

enum {
    /* Before the bodies: the signature and the count of a batch; or, of a single message, the last bytes of the room and
     * of its u32 length give way to length and signature. */
    HEAD = KLP_SIGNATURE_LEN + 2,
    LENGTH = 4,
    AGENT_RUN_MAX = 64,
    CHUNK_ROOM = 16384, /* a chunk of small messages begins with */
};
_Static_assert(2 + KLP_SIGNATURE_LEN <= HEAD + LENGTH, "the head of one message fits where that of a batch was");

/* ---- ids whose answers are known as such ---- */

struct mesh_asked {
    struct klp_id id, node;
};

static struct mesh_asked *asked_slot(const struct kos_mesh *mesh, const struct klp_id *id)
{
    uint32_t at;
    memcpy(&at, id->b, sizeof at);
    return &mesh->asked_lately[at % MESH_ASKED_LATELY];
}

void mesh_asked_lately_put(struct kos_mesh *mesh, const struct klp_id *id, const struct klp_id *node)
{
    if (!mesh->asked_lately)
        mesh->asked_lately = kos_new(MESH_ASKED_LATELY * sizeof *mesh->asked_lately);
    *asked_slot(mesh, id) = (struct mesh_asked){ *id, *node };
}

bool mesh_asked_lately(const struct kos_mesh *mesh, const struct klp_id *id, const struct klp_id *node)
{
    if (!mesh->asked_lately)
        return false;
    const struct mesh_asked *asked = asked_slot(mesh, id);
    return klp_id_eq(&asked->id, id) && klp_id_eq(&asked->node, node);
}

/* ---- chunks ---- */

static void chunk_free(struct mesh_loose *chunk)
{
    kos_buf_fini(&chunk->digests);
    kos_buf_fini(&chunk->bodies);
    free(chunk);
}

/* A transaction with a message or two is the rule: its chunk serves the next one. */
static void chunk_keep(struct kos_mesh *mesh, struct mesh_loose *chunk)
{
    if (mesh->spare_chunk || chunk->bodies.cap > 4 * CHUNK_ROOM) {
        chunk_free(chunk);
        return;
    }
    kos_buf_reset(&chunk->bodies);
    kos_buf_reset(&chunk->digests);
    chunk->prev = chunk;
    chunk->next = NULL;
    mesh->spare_chunk = chunk;
}

void mesh_loose_free(struct mesh_loose *list)
{
    struct mesh_loose *chunk, *next;
    DL_FOREACH_SAFE(list, chunk, next)
        chunk_free(chunk);
}

static bool same_run(const struct mesh_loose *a, const struct klp_id *node, const struct klp_id *signer, uint64_t event,
                     uint8_t klass)
{
    return klp_id_eq(&a->node, node) && klp_id_eq(&a->signer, signer) && a->event == event && a->klass == klass;
}

static struct mesh_loose *chunk_new(struct kos_mesh *mesh, size_t room)
{
    static const uint8_t head[HEAD];
    struct mesh_loose *chunk = mesh->spare_chunk;
    mesh->spare_chunk = NULL;
    if (!chunk) {
        chunk = kos_new(sizeof *chunk);
        kos_buf_init(&chunk->digests, KLP_BATCH_MAX * sizeof(struct klp_digest));
        kos_buf_init(&chunk->bodies, KLP_ITEM_MAX);
    }
    chunk->count = 0;
    chunk->bytes = 0;
    chunk->ends_ms = INT64_MAX;
    if (kos_buf_reserve(&chunk->bodies, HEAD + (room < CHUNK_ROOM / 16 ? CHUNK_ROOM : room)) < 0 ||
        kos_buf_append(&chunk->bodies, kos_bytes(head, sizeof head)) < 0)
        abort();
    return chunk;
}

/* The last chunk, if this message can join it; else a new one. */
static struct mesh_loose *chunk_for(struct kos_mesh *mesh, struct mesh_loose **list, const struct mesh_sending *sending,
                                    uint8_t klass, size_t room)
{
    struct mesh_loose *chunk = *list ? (*list)->prev : NULL;
    const struct klp_id *node = &sending->target.node;
    if (chunk && same_run(chunk, node, &sending->signer, sending->maker.event, klass) && chunk->count < KLP_BATCH_MAX &&
        (!chunk->count || chunk->bodies.len + room <= MESH_RUN_BYTES))
        return chunk;
    chunk = chunk_new(mesh, room);
    chunk->node = *node;
    chunk->signer = sending->signer;
    chunk->event = sending->maker.event;
    chunk->klass = klass;
    DL_APPEND(*list, chunk);
    return chunk;
}

static void put_length(uint8_t *at, size_t len)
{
    for (int i = 0; i < LENGTH; i++)
        at[i] = (uint8_t)(len >> (8 * (LENGTH - 1 - i)));
}

static size_t get_length(const uint8_t *at)
{
    return (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

int32_t mesh_loose_draft(struct kos_mesh *mesh, struct mesh_loose **list, const struct mesh_sending *sending,
                         const struct kos_draft *draft, struct kos_error *ret_error)
{
    static const uint8_t none[KOS_ID_BYTES];
    size_t room = draft->payload.len + sending->maker.tail_len + MESH_HEAD_ROOM, len = 0;
    struct mesh_loose *chunk = chunk_for(mesh, list, sending, (uint8_t)draft->klass, LENGTH + room);
    int64_t now = mesh_turn_clock(mesh), ends = (int64_t)mesh_turn_mono(mesh) + draft->expires_in_ms;
    struct kos_buf *bodies = &chunk->bodies;
    struct klp_digest digest;
    struct klp_id id, reply_to;
    memcpy(id.b, draft->id, sizeof id.b);
    memcpy(reply_to.b, draft->reply_to, sizeof reply_to.b);
    bool answers = memcmp(draft->reply_to, none, sizeof none) != 0;
    int32_t rc = kos_buf_reserve(bodies, LENGTH + room);
    if (rc < 0)
        return kos_fail(ret_error, rc, "the message is larger than one may be (%d bytes)", KLP_MESSAGE_MAX);
    rc = klp_message_maker_put(&sending->maker, &id, now, now + draft->expires_in_ms, answers ? &reply_to : NULL,
                               draft->payload, bodies->data + bodies->len + LENGTH, room, &len, &digest, ret_error);
    if (rc >= 0)
        rc = kos_buf_append(&chunk->digests, kos_bytes(digest.b, sizeof digest.b));
    if (rc < 0)
        return rc;
    put_length(bodies->data + bodies->len, len);
    bodies->len += LENGTH + len;
    chunk->bytes += len;
    chunk->count++;
    chunk->ends_ms = ends < chunk->ends_ms ? ends : chunk->ends_ms;
    return (int32_t)len; /* at most KLP_MESSAGE_MAX */
}

/* ---- from a commit to a run ---- */

static void account(struct mesh_peer *peer, uint32_t count, uint64_t bytes, bool more)
{
    if (more) {
        peer->entries += count;
        peer->bytes += bytes;
        peer->loose_bytes += bytes;
        peer->mesh->outbox_bytes += bytes;
    } else {
        peer->entries -= count;
        peer->bytes -= bytes;
        peer->loose_bytes -= bytes;
        peer->mesh->outbox_bytes -= bytes;
        if (peer->crowd && peer->loose_bytes <= MESH_QUEUE_ROOM / 2)
            mesh_tx_crowd(peer, KOS_OK);
    }
}

/* A run arrives as a whole: on a slow link a long one would keep the first of its messages from arriving. */
static size_t run_bytes(const struct mesh_session *session)
{
    return session && session->link->slow ? 4 * (size_t)session->link->mtu : MESH_RUN_BYTES;
}

/* What `more` has goes to the end of the last of `list`, if both together make one run. */
static bool join(struct mesh_loose *list, const struct mesh_loose *more, uint32_t most, size_t most_bytes)
{
    struct mesh_loose *last = list ? list->prev : NULL;
    if (!last || !same_run(last, &more->node, &more->signer, more->event, more->klass) ||
        last->count + more->count > most || last->bodies.len + more->bodies.len > most_bytes)
        return false;
    if (kos_buf_append(&last->bodies, kos_bytes(more->bodies.data + HEAD, more->bodies.len - HEAD)) < 0 ||
        kos_buf_append(&last->digests, kos_buf_bytes(&more->digests)) < 0)
        abort(); /* both are bounded above */
    last->count += more->count;
    last->bytes += more->bytes;
    last->ends_ms = more->ends_ms < last->ends_ms ? more->ends_ms : last->ends_ms;
    return true;
}

void mesh_loose_send(struct kos_mesh *mesh, struct mesh_loose **list)
{
    struct mesh_loose *chunk, *next;
    DL_FOREACH_SAFE(*list, chunk, next) {
        struct mesh_peer *peer = mesh_peer_get(mesh, &chunk->node);
        DL_DELETE(*list, chunk);
        if (!chunk->count) {
            chunk_free(chunk);
            continue;
        }
        account(peer, chunk->count, chunk->bytes, true);
        if (join(peer->loose[chunk->klass], chunk, KLP_BATCH_MAX, run_bytes(mesh_peer_session(peer))))
            chunk_keep(mesh, chunk);
        else
            DL_APPEND(peer->loose[chunk->klass], chunk);
        mesh_peer_touch(peer);
    }
}

static void lost(struct kos_mesh *mesh, const struct klp_id *node, uint32_t count, const char *why)
{
    char label[KLP_ID_TEXT], id[KLP_ID_TEXT], key[KLP_ID_TEXT + 16];
    mesh->counters.transient_lost += count;
    klp_id_text(node, id);
    snprintf(key, sizeof key, "lost %s", id);
    if (count && kos_log_limit_pass(mesh->log_limit, key, NULL))
        kos_log(mesh->env, KOS_LOG_NOTICE, "mesh", "%u transient messages for %s were lost: %s", count,
                mesh_peer_label(mesh, node, label), why);
}

void mesh_loose_gone(struct kos_mesh *mesh, const struct klp_id *node, uint32_t count)
{
    if (count)
        lost(mesh, node, count, "the session ended before they were sent");
}

void mesh_loose_lost(struct mesh_peer *peer, const char *why)
{
    uint32_t count = 0;
    for (int32_t klass = 0; klass < KLP_CLASSES; klass++)
        while (peer->loose[klass]) {
            struct mesh_loose *chunk = peer->loose[klass];
            DL_DELETE(peer->loose[klass], chunk);
            account(peer, chunk->count, chunk->bytes, false);
            count += chunk->count;
            chunk_free(chunk);
        }
    if (count)
        lost(peer->mesh, &peer->id, count, why);
}

void mesh_loose_refused(struct kos_mesh *mesh, const struct klp_id *node, const struct klp_receipt *receipt)
{
    char label[KLP_ID_TEXT], id[KLP_ID_TEXT], key[KLP_ID_TEXT + 32];
    if (receipt->error >= 0 || !mesh_asked_lately(mesh, &receipt->id, node))
        return;
    mesh->counters.transient_refused++;
    klp_id_text(node, id);
    snprintf(key, sizeof key, "refused by %s %d", id, receipt->error);
    if (kos_log_limit_pass(mesh->log_limit, key, NULL))
        kos_log(mesh->env, KOS_LOG_NOTICE, "mesh", "%s refused a transient message (%s): %s",
                mesh_peer_label(mesh, node, label), kos_error_name(receipt->error),
                receipt->text[0] ? receipt->text : kos_error_text(receipt->error));
}

/* What has expired goes; mostly nothing has. */
static void drop_expired(struct mesh_peer *peer, struct mesh_loose *chunk)
{
    struct kos_mesh *mesh = peer->mesh;
    int64_t now = kos_now_ms(mesh->env);
    uint8_t *to = chunk->bodies.data + HEAD;
    uint32_t kept = 0, was = chunk->count;
    uint64_t bytes = 0;
    if (mesh_steady(mesh) < chunk->ends_ms)
        return;
    const uint8_t *from = to;
    for (uint32_t i = 0; i < was; i++) {
        size_t len = get_length(from);
        struct klp_message message;
        if (klp_message_parse(kos_bytes(from + LENGTH, len), &message, NULL) >= 0 && message.expires > now) {
            struct klp_digest *digests = (struct klp_digest *)(void *)chunk->digests.data;
            digests[kept++] = digests[i];
            memmove(to, from, LENGTH + len);
            to += LENGTH + len;
            bytes += len;
        }
        from += LENGTH + len;
    }
    account(peer, was - kept, chunk->bytes - bytes, false);
    chunk->count = kept;
    chunk->bytes = bytes;
    chunk->bodies.len = (size_t)(to - chunk->bodies.data);
    chunk->digests.len = kept * sizeof(struct klp_digest);
    chunk->ends_ms = mesh_steady(mesh) + 1000; /* looked at again then */
    if (was > kept)
        lost(mesh, &peer->id, was - kept, "they expired before they could be sent");
}

/* ---- runs ---- */

struct loose_run {
    struct mesh_job job;
    uint64_t link; /* 0: to ourselves */
    const struct klp_secret *secret; /* the node's; NULL: an agent's, signed on the loop */
    struct mesh_loose *chunk;
    uint8_t type;
    int32_t status;
};

static void sign(struct kos_work *work)
{
    struct loose_run *run = (struct loose_run *)work;
    if (run->secret)
        run->status = mesh_item_sign(run->secret, run->type, (const struct klp_digest *)(void *)run->chunk->digests.data,
                                     run->chunk->count, run->chunk->bodies.data);
}

/* The item of a single message begins with its signature's length, and its body lies behind it. */
static void single(struct mesh_loose *chunk)
{
    uint8_t *data = chunk->bodies.data;
    size_t len = chunk->bodies.len - HEAD - LENGTH;
    data[0] = KLP_SIGNATURE_LEN >> 8;
    data[1] = KLP_SIGNATURE_LEN & 0xff;
    memmove(data + 2 + KLP_SIGNATURE_LEN, data + HEAD + LENGTH, len);
    chunk->bodies.len = 2 + KLP_SIGNATURE_LEN + len;
}

static void hand_over(struct loose_run *run, struct mesh_peer *peer)
{
    struct kos_mesh *mesh = run->job.mesh;
    struct mesh_loose *chunk = run->chunk;
    struct mesh_link *link = run->link ? mesh_link_find(mesh, run->link) : NULL;
    struct mesh_session *session = link && !link->closing ? link->session : NULL;
    if (run->link && !session) {
        lost(mesh, &peer->id, chunk->count, "the session ended before they were sent");
        return;
    }
    mesh->counters.transient_out += chunk->count;
    mesh->counters.batches_out += run->type == KLP_FRAME_BATCH;
    if (session) {
        mesh_session_queue(session, run->type, chunk->klass, chunk->bodies.data, chunk->bodies.len);
        if (session->queue[chunk->klass].last)
            session->queue[chunk->klass].last->transient = chunk->count;
    } else {
        mesh_inbox_local(mesh, run->type, chunk->klass, chunk->bodies.data, chunk->bodies.len);
    }
    kos_buf_init(&chunk->bodies, 0); /* it went */
}

static void signed_run(struct kos_work *work)
{
    struct loose_run *run = (struct loose_run *)work;
    struct kos_mesh *mesh = run->job.mesh;
    struct mesh_loose *chunk = run->chunk;
    if (mesh_work_done(&run->job)) {
        struct mesh_peer *peer = mesh_peer_find(mesh, &chunk->node);
        if (!run->secret) {
            struct kos_identity *agent = kos_keys_find(kos_trust_keys(mesh->trust), &chunk->signer);
            const struct klp_secret *secret = agent ? kos_identity_secret(agent) : NULL;
            run->secret = secret;
            run->status = KOS_E_KEY;
            sign(&run->job.work);
        }
        peer->signing_loose[chunk->klass] = false;
        account(peer, chunk->count, chunk->bytes, false);
        if (run->status < 0)
            lost(mesh, &peer->id, chunk->count, "they could not be signed");
        else
            hand_over(run, peer);
        mesh_peer_touch(peer);
    }
    chunk_free(chunk);
    free(run);
}

/* The chunks that make the next run, as one. */
static struct mesh_loose *gather(struct mesh_peer *peer, uint8_t klass, uint32_t most, size_t most_bytes)
{
    struct mesh_loose *first = peer->loose[klass], *next;
    size_t all = first->bodies.len;
    DL_DELETE(peer->loose[klass], first);
    for (next = peer->loose[klass]; next && all + next->bodies.len <= most_bytes; next = next->next)
        all += next->bodies.len;
    if (all > first->bodies.len && kos_buf_reserve(&first->bodies, all - first->bodies.len) < 0)
        abort(); /* within KLP_ITEM_MAX */
    drop_expired(peer, first);
    first->prev = first; /* a list of one */
    first->next = NULL;
    while ((next = peer->loose[klass]) != NULL) {
        drop_expired(peer, next);
        if (!join(first, next, most, most_bytes))
            break;
        DL_DELETE(peer->loose[klass], next);
        chunk_keep(peer->mesh, next);
    }
    return first;
}

/* On a slow link for airtime; to ourselves for a handler that has enough of them. */
bool mesh_loose_waits(struct mesh_peer *peer, struct mesh_session *session, uint8_t klass)
{
    struct kos_mesh *mesh = peer->mesh;
    if (!session)
        return mesh->local_bytes >= MESH_LOCAL_BYTES;
    uint64_t air = session->link->slow ? mesh_airtime_wait_ms(session->link, klass) : 0;
    if (!air)
        return false;
    session->link->airtime.held += !session->link->airtime.waiting;
    session->link->airtime.waiting = true;
    if (!peer->air_waits)
        LL_PREPEND2(mesh->air, peer, air_next);
    peer->air_waits = true;
    mesh_due_at(mesh, mesh_steady(mesh) + (int64_t)air);
    return true;
}

void mesh_loose_due(struct kos_mesh *mesh)
{
    while (mesh->air) {
        struct mesh_peer *peer = mesh->air;
        LL_DELETE2(mesh->air, peer, air_next);
        peer->air_waits = false;
        mesh_peer_touch(peer);
    }
}

void mesh_loose_sign(struct mesh_peer *peer, struct mesh_session *session, uint8_t klass)
{
    struct kos_mesh *mesh = peer->mesh;
    const struct mesh_loose *head = peer->loose[klass];
    struct kos_identity *identity = kos_keys_find(kos_trust_keys(mesh->trust), &head->signer);
    bool own = klp_id_eq(&head->signer, &mesh->self);
    struct mesh_loose *chunk = gather(peer, klass, own ? KLP_BATCH_MAX : AGENT_RUN_MAX, run_bytes(session));
    bool current = identity && kos_identity_secret(identity) && kos_identity_event(identity) == chunk->event;
    if (!chunk->count || !current) {
        account(peer, chunk->count, chunk->bytes, false);
        if (chunk->count)
            lost(mesh, &peer->id, chunk->count, "the key that was to sign them is gone");
        chunk_free(chunk);
        mesh_peer_touch(peer);
        return;
    }
    struct loose_run *run = kos_new(sizeof *run);
    run->job.mesh = mesh;
    run->link = session ? session->link->id : 0;
    run->secret = own ? kos_identity_secret(identity) : NULL;
    run->chunk = chunk;
    run->type = chunk->count == 1 ? KLP_FRAME_MESSAGE : KLP_FRAME_BATCH;
    if (chunk->count == 1) {
        single(chunk);
    } else {
        chunk->bodies.data[KLP_SIGNATURE_LEN] = (uint8_t)(chunk->count >> 8);
        chunk->bodies.data[KLP_SIGNATURE_LEN + 1] = (uint8_t)chunk->count;
    }
    peer->signing_loose[klass] = true;
    if (session)
        mesh_session_send_logs_for(session, &chunk->signer);
    if (chunk->count == 1)
        mesh_work_one(mesh, &run->job, sign, signed_run);
    else
        mesh_work(mesh, &run->job, sign, signed_run);
}
