/* SPDX-License-Identifier: Apache-2.0
 *
 * The inbox: parse and verify on the pool, then, in the order of arrival, judge.c decides, the store takes, and only
 * what is on disk gets its receipt and goes to a handler. What is transient goes to a handler from the item itself, which
 * lives until the last of its messages is settled. The bytes of an item give credit back when it is done with.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

static void in_free(struct mesh_in *in)
{
    free(in->data);
    free(in->messages);
    free(in->digests);
    free(in->nodes);
    free(in->seqs);
    free(in->repeats);
    free(in->digests_recorded);
    free(in->opens);
    free(in);
}

/* ---- on the worker ---- */

static void parse_one(struct mesh_in *in)
{
    struct kos_bytes body;
    in->count = 1;
    in->messages = kos_new(sizeof *in->messages);
    in->status = klp_item_message(kos_bytes(in->data, in->len), &body, &in->signature);
    if (in->status >= 0)
        in->status = klp_message_parse(body, &in->messages[0], NULL);
}

static void parse_batch(struct mesh_in *in)
{
    struct klp_item_batch batch;
    struct kos_bytes body;
    int32_t rc = klp_item_batch(kos_bytes(in->data, in->len), &batch);
    if (rc >= 0 && (batch.count == 0 || batch.count > KLP_BATCH_MAX))
        rc = KOS_E_PROTOCOL;
    if (rc < 0) {
        in->status = rc;
        return;
    }
    in->signature = batch.signature;
    in->messages = kos_new(batch.count * sizeof *in->messages);
    in->digests = kos_new(batch.count * sizeof *in->digests);
    while ((rc = klp_item_batch_next(&batch, &body)) > 0) {
        struct klp_message *message = &in->messages[in->count];
        if ((rc = klp_message_parse_after(body, in->count ? message - 1 : NULL, message, NULL)) < 0)
            break;
        in->digests[in->count++] = message->digest;
        /* One signature: one key. */
        if (!klp_id_eq(&message->source_id, &in->messages[0].source_id) || message->event != in->messages[0].event) {
            rc = KOS_E_PROTOCOL;
            break;
        }
    }
    in->status = rc;
}

static void run(struct kos_work *work)
{
    struct mesh_in *in = (struct mesh_in *)work;
    if (!in->verifying) {
        if (in->type == KLP_FRAME_BATCH)
            parse_batch(in);
        else
            parse_one(in);
    } else if (in->type == KLP_FRAME_BATCH) {
        in->status = klp_batch_verify(&in->key, in->digests, in->count, in->signature);
    } else if (in->signature.len == KLP_SIGNATURE_LEN) {
        in->status = klp_verify(&in->key, KLP_TAG_MESSAGE, in->messages[0].body, in->signature);
    } else {
        in->status = klp_batch_verify_one(&in->key, &in->messages[0].digest, in->signature);
    }
}

/* ---- back on the loop ---- */

/* The key that must have signed: of the session's peer, or of an agent that its log delegates. Nobody else speaks over
 * its session. */
static int32_t find_key(struct mesh_in *in)
{
    struct kos_mesh *mesh = in->job.mesh;
    const struct klp_message *message = &in->messages[0];
    const struct klp_log *log = kos_trust_log(mesh->trust, &message->source_id);
    if (!log)
        return KOS_E_UNKNOWN_ID;
    if (!klp_id_eq(&message->source_id, &in->peer)) {
        struct klp_id host;
        struct klp_digest identity;
        if (!klp_log_delegator(log, &host, &identity) || !klp_id_eq(&host, &in->peer))
            return KOS_E_DENIED;
        struct klp_digest own = *klp_log_identity(log);
        const struct klp_log *node = kos_trust_log(mesh->trust, &in->peer);
        if (!node || memcmp(klp_log_identity(node), &identity, sizeof identity) != 0)
            return KOS_E_UNKNOWN_ID;
        if (!klp_log_delegates(node, &message->source_id, &own))
            return KOS_E_UNKNOWN_ID; /* the event may be on its way */
        if (!(log = kos_trust_log(mesh->trust, &message->source_id)))
            return KOS_E_UNKNOWN_ID;
    }
    return klp_log_key(log, message->event, &in->key);
}

static void finish(struct mesh_in *in);
static void refuse_all(struct mesh_in *in);
static void done(struct kos_work *work);

/* By then mesh_inbox_orphan has taken it off the session's list. */
static void drop(struct mesh_job *job)
{
    in_free((struct mesh_in *)job);
}

static void work(struct mesh_in *in)
{
    in->job.bytes = in->len;
    in->job.drop = drop;
    if (in->session)
        mesh_session_work(in->session, &in->job, run, done);
    else
        mesh_work(in->job.mesh, &in->job, run, done);
}

static void parsed(struct mesh_in *in)
{
    if (!in->verifying && in->status >= 0 && (in->status = find_key(in)) >= 0) {
        in->verifying = true;
        if (in->type == KLP_FRAME_MESSAGE && in->len <= MESH_PARSE_INLINE && mesh_at_once(in->job.mesh)) {
            run(&in->job.work);
            finish(in);
        } else {
            work(in);
        }
        return;
    }
    finish(in);
}

static void done(struct kos_work *work)
{
    struct mesh_in *in = (struct mesh_in *)work;
    if (!mesh_work_done(&in->job) || in->orphan) {
        in_free(in);
        return;
    }
    if (in->session)
        mesh_session_worked(in->session, &in->job);
    parsed(in);
}

static void begin(struct mesh_in *in)
{
    if (in->len > MESH_PARSE_INLINE) {
        work(in);
        return;
    }
    run(&in->job.work);
    parsed(in);
}

static struct mesh_in *in_new(struct kos_mesh *mesh, uint8_t type, uint8_t klass, uint8_t *data, size_t len)
{
    struct mesh_in *in = kos_new(sizeof *in);
    in->job.mesh = mesh;
    in->type = type;
    in->klass = klass;
    in->data = data;
    in->len = in->wire_len = len;
    in->busy = true;
    return in;
}

static void append(struct mesh_in **first, struct mesh_in **last, struct mesh_in *in)
{
    if (*last)
        (*last)->next = in;
    else
        *first = in;
    *last = in;
}

void mesh_inbox_take(struct mesh_session *session, uint8_t type, uint8_t klass, struct kos_bytes payload)
{
    struct mesh_in *in = in_new(session->mesh, type, klass, mesh_session_keep(session, klass, payload), payload.len);
    in->session = session;
    if (session->wire_len)
        in->wire_len = session->wire_len;
    in->link = session->link->id;
    in->peer = session->proof.id;
    snprintf(in->transport, sizeof in->transport, "%s", session->link->transport);
    if (payload.len <= KLP_SIGNATURE_LEN) {
        /* Waiting for those before it, it would take memory that its sender needed next to no credit for. */
        in->status = KOS_E_PROTOCOL;
        refuse_all(in);
        return;
    }
    append(&session->in_first, &session->in_last, in);
    begin(in);
}

void mesh_inbox_local(struct kos_mesh *mesh, uint8_t type, uint8_t klass, uint8_t *data, size_t len)
{
    struct mesh_in *in = in_new(mesh, type, klass, data, len);
    in->peer = mesh->self;
    append(&mesh->local_first, &mesh->local_last, in);
    begin(in);
}

/* The sender will send again what it has no receipt for: what is not stored yet may go with the session. */
void mesh_inbox_orphan(struct mesh_session *session)
{
    while (session->in_first) {
        struct mesh_in *in = session->in_first;
        session->in_first = in->next;
        in->session = NULL;
        in->orphan = true;
        if (!in->busy)
            in_free(in);
    }
    session->in_last = NULL;
}

void mesh_inbox_free(struct kos_mesh *mesh)
{
    while (mesh->local_first) {
        struct mesh_in *in = mesh->local_first;
        mesh->local_first = in->next;
        in->orphan = true;
        if (!in->busy)
            in_free(in);
    }
}

/* ---- storing ---- */

static void give_credit(struct mesh_in *in)
{
    struct mesh_link *link = in->link ? mesh_link_find(in->job.mesh, in->link) : NULL;
    if (link && link->session)
        mesh_session_consumed(link->session, in->klass, in->wire_len);
}

static void done_with(struct mesh_in *in)
{
    struct kos_mesh *mesh = in->job.mesh;
    give_credit(in);
    if (!in->link && in->opens) {
        struct mesh_peer *ourselves = mesh_peer_find(mesh, &mesh->self);
        mesh->local_bytes -= in->len;
        if (ourselves)
            mesh_peer_touch(ourselves);
    }
    in_free(in);
}

void mesh_in_release(struct mesh_in *in)
{
    if (--in->open_count == 0)
        done_with(in);
}

static void tell_in(struct kos_mesh *mesh, const struct klp_message *message)
{
    if (!mesh_watched(mesh))
        return;
    char source[KLP_ADDRESS_MAX];
    snprintf(source, sizeof source, "%.*s", (int)message->source.len, (const char *)message->source.data);
    mesh_event(mesh, "message_in",
               json_pack("{s:o,s:o,s:s,s:s,s:I}", "id", mesh_id_json(&message->id), "source_id",
                         mesh_id_json(&message->source_id), "source", source, "type", message->type, "bytes",
                         (json_int_t)message->body.len));
}

static void stored(void *arg, int32_t status)
{
    struct mesh_in *in = arg;
    struct kos_mesh *mesh = in->job.mesh;
    if (!mesh_drop(mesh)) {
        in_free(in);
        return;
    }
    for (uint32_t i = 0; i < in->count && in->seqs; i++) {
        struct klp_receipt receipt = { .id = in->messages[i].id, .digest = in->messages[i].digest };
        struct mesh_open *open = in->seqs[i] ? mesh_offer_find(mesh, in->seqs[i]) : NULL;
        if (open && open->in) {
            mesh->counters.transient_in++;
            tell_in(mesh, &in->messages[i]);
            mesh_offer_ready(mesh, open);
            continue;
        }
        if (status < 0)
            continue;
        if (in->repeats[i])
            receipt.digest = in->digests_recorded[i];
        else if (!in->seqs[i])
            continue;
        mesh_receipt_add(mesh, in->link, &receipt);
        if (open) {
            mesh->counters.messages_in++;
            tell_in(mesh, &in->messages[i]);
            mesh_offer_ready(mesh, open);
        }
    }
    if (!in->open_count)
        done_with(in);
}

static void open_one(struct mesh_in *in, uint32_t i, const struct klp_id *agent)
{
    struct kos_mesh *mesh = in->job.mesh;
    if (!in->opens) {
        in->opens = kos_new(in->count * sizeof *in->opens);
        mesh->local_bytes += in->link ? 0 : in->len;
    }
    in->seqs[i] = mesh->next_seq++;
    mesh_offer_add_transient(in, i, in->seqs[i], agent);
}

static void store_one(struct mesh_in *in, struct kos_tx *tx, uint32_t i, const struct klp_id *agent)
{
    struct kos_mesh *mesh = in->job.mesh;
    const struct klp_message *message = &in->messages[i];
    struct kos_buf value;
    uint8_t key[8], signature[KLP_BATCH_SIGNATURE_MAX];
    struct kos_bytes kept = in->signature;
    if (in->type == KLP_FRAME_BATCH) {
        /* What proves this one message by itself; the tree is made once for the batch. */
        if (!in->nodes) {
            in->nodes = kos_new(KLP_BATCH_NODES_MAX * sizeof *in->nodes);
            klp_batch_tree(in->digests, in->count, in->nodes);
        }
        int32_t len = klp_batch_extract_from(in->nodes, in->count, i, in->signature.data, signature);
        kept = kos_bytes(signature, len > 0 ? (size_t)len : 0);
    }
    kos_buf_init(&value, KOS_STORE_VALUE_MAX);
    mesh_stored_pack(&value, in->klass, &in->peer, agent, kept, message->body);
    in->seqs[i] = mesh->next_seq++;
    mesh_entry_key(in->seqs[i], key);
    kos_tx_put(tx, "inbox", kos_bytes(key, sizeof key), kos_buf_bytes(&value));
    mesh_dedupe_put(tx, message, &in->peer);
    mesh_offer_add(mesh, in->seqs[i], message->type, &in->peer, kos_buf_bytes(&value), value.len);
    mesh_peer_get(mesh, &in->peer)->dedupe++;
    kos_buf_fini(&value);
}

static void unstore(struct mesh_in *in, int32_t code)
{
    struct mesh_refusal refusal = { .text = "" };
    struct mesh_peer *peer = mesh_peer_get(in->job.mesh, &in->peer);
    snprintf(refusal.text, sizeof refusal.text, "the store takes nothing now: %s", kos_error_text(code));
    snprintf(refusal.peer_text, sizeof refusal.peer_text, "it cannot be stored now");
    for (uint32_t i = 0; i < in->count; i++) {
        struct mesh_open *open = in->seqs[i] ? mesh_offer_find(in->job.mesh, in->seqs[i]) : NULL;
        if ((!open && !in->repeats[i]) || (open && open->in))
            continue; /* refused before; needs no store */
        if (open) {
            mesh_offer_remove(in->job.mesh, open);
            peer->dedupe--;
        }
        mesh_inbox_refused(in, &in->messages[i], kos_error_retry(code) ? code : KOS_E_BUSY, &refusal);
    }
}

/* A repeat's receipt waits for the disk too: what it repeats may have come a moment ago. */
static void judge_all(struct mesh_in *in)
{
    struct kos_tx *tx = NULL;
    struct mesh_judged judged = { .message = NULL };
    in->job.mesh->counters.verified += in->count;
    in->job.mesh->counters.batches_in += in->type == KLP_FRAME_BATCH;
    in->seqs = kos_new(in->count * sizeof *in->seqs);
    in->repeats = kos_new(in->count * sizeof *in->repeats);
    in->digests_recorded = kos_new(in->count * sizeof *in->digests_recorded);
    for (uint32_t i = 0; i < in->count; i++) {
        struct klp_id agent;
        struct klp_receipt recorded;
        struct mesh_refusal refusal = { .text = "" };
        int32_t rc = mesh_inbox_judge(in, i, &judged, &agent, &recorded, &in->repeats[i], &refusal);
        if (rc < 0) {
            mesh_inbox_refused(in, &in->messages[i], rc, &refusal);
            continue;
        }
        if (in->messages[i].transient) {
            in->job.mesh->counters.allowed++;
            open_one(in, i, &agent);
            continue;
        }
        tx = tx ? tx : kos_tx_begin(in->job.mesh->store);
        if (in->repeats[i]) {
            in->digests_recorded[i] = recorded.digest;
            in->job.mesh->counters.repeats++;
            kos_tx_put(tx, "mesh", kos_bytes_str("repeat"), kos_bytes(NULL, 0));
        } else {
            in->job.mesh->counters.allowed++;
            store_one(in, tx, i, &agent);
            mesh_judged_stored(&judged, in, i);
        }
    }
    free(judged.stored);
    free(in->nodes);
    in->nodes = NULL;
    mesh_hold(in->job.mesh);
    if (!tx) {
        stored(in, KOS_OK);
        return;
    }
    int32_t rc = kos_tx_commit(tx, stored, in);
    if (rc < 0) {
        unstore(in, rc);
        stored(in, rc);
    }
}

/* The whole item failed: no signature, no key, no shape. */
static void refuse_all(struct mesh_in *in)
{
    struct mesh_refusal refusal = { .text = "" };
    snprintf(refusal.peer_text, sizeof refusal.peer_text, "%s", kos_error_text(in->status));
    snprintf(refusal.text, sizeof refusal.text, "%s", kos_error_text(in->status));
    for (uint32_t i = 0; i < in->count || i == 0; i++)
        mesh_inbox_refused(in, i < in->count ? &in->messages[i] : NULL, in->status, &refusal);
    mesh_hold(in->job.mesh);
    stored(in, in->status);
}

static void judge(struct mesh_in *in)
{
    in->session = NULL; /* from here on it belongs to the disk */
    in->job.mesh->judged += in->count ? in->count : 1;
    if (in->status < 0)
        refuse_all(in);
    else
        judge_all(in);
}

static bool take_first(struct mesh_in **first, struct mesh_in **last, struct mesh_in **ret_in)
{
    struct mesh_in *in = *first;
    if (!in || !in->finished)
        return false;
    *first = in->next;
    if (!*first)
        *last = NULL;
    *ret_in = in;
    return true;
}

static void list(struct mesh_session *session)
{
    if (session->judging || !session->in_first || !session->in_first->finished)
        return;
    session->judging = true;
    DL_APPEND2(session->mesh->judges, session, judge_prev, judge_next);
    kos_defer(session->mesh->env, &session->mesh->turn);
}

/* At once, while there is little; else sessions take turns, an item each. */
static void finish(struct mesh_in *in)
{
    struct kos_mesh *mesh = in->job.mesh;
    struct mesh_session *session = in->session;
    in->finished = true;
    in->busy = false;
    if (!session) {
        kos_defer(mesh->env, &mesh->turn);
        while (mesh->judged < MESH_TURN_MESSAGES && take_first(&mesh->local_first, &mesh->local_last, &in))
            judge(in);
        return;
    }
    /* Nothing that is judged ends a session here: its receipts and credit leave at the turn's end. */
    while (!mesh->judges && mesh->judged < MESH_TURN_MESSAGES &&
           take_first(&session->in_first, &session->in_last, &in))
        judge(in);
    list(session);
}

void mesh_inbox_turn(struct kos_mesh *mesh)
{
    struct mesh_in *in;
    while (mesh->judged < MESH_TURN_MESSAGES && take_first(&mesh->local_first, &mesh->local_last, &in))
        judge(in);
    while (mesh->judges && mesh->judged < MESH_TURN_MESSAGES) {
        struct mesh_session *session = mesh->judges;
        DL_DELETE2(mesh->judges, session, judge_prev, judge_next);
        session->judging = false;
        if (take_first(&session->in_first, &session->in_last, &in))
            judge(in);
        list(session);
    }
    mesh->judged = 0;
    if (mesh->judges || (mesh->local_first && mesh->local_first->finished))
        kos_defer(mesh->env, &mesh->turn);
}
