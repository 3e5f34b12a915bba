/* SPDX-License-Identifier: Apache-2.0
 * Receipts: what this node says of messages it was handed, one signed item for each session and turn; and the same from
 * others, verified against the log of the node that gives them.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

/* Of one in JSON at most: its text with each byte escaped, id, digest, error. */
enum { RECEIPT_BYTES = 6 * KLP_RECEIPT_TEXT_MAX + 256, FEW = 8 };

struct signing {
    struct mesh_job job;
    uint64_t link;
    struct klp_id node;
    uint64_t event;
    int64_t created;
    const struct klp_secret *secret;
    struct klp_receipt *receipts;
    size_t count;
    uint8_t *item;
    size_t len;
    int32_t status;
};

static void sign(struct kos_work *work)
{
    struct signing *signing = (struct signing *)work;
    size_t cap = 512;
    for (size_t i = 0; i < signing->count; i++)
        cap += signing->receipts[i].text[0] ? RECEIPT_BYTES : 256;
    signing->item = kos_new(KLP_SIGNATURE_LEN + cap);
    uint8_t *body = signing->item + KLP_SIGNATURE_LEN;
    signing->status = klp_receipts_make(&signing->node, signing->event, signing->created, signing->receipts,
                                        signing->count, body, cap, &signing->len);
    if (signing->status >= 0)
        signing->status = klp_sign(signing->secret, KLP_TAG_RECEIPT, kos_bytes(body, signing->len), signing->item);
}

static void signed_receipts(struct kos_work *work)
{
    struct signing *signing = (struct signing *)work;
    struct kos_mesh *mesh = signing->job.mesh;
    bool alive = mesh_work_done(&signing->job);
    struct mesh_link *link = alive ? mesh_link_find(mesh, signing->link) : NULL;
    if (alive && signing->status < 0) {
        kos_log(mesh->env, KOS_LOG_ERROR, "mesh", "%zu receipts could not be signed: %s", signing->count,
                kos_error_text(signing->status));
    } else if (link && link->session) {
        mesh_session_queue(link->session, KLP_FRAME_RECEIPTS, KLP_CLASS_CONTROL, signing->item,
                           KLP_SIGNATURE_LEN + signing->len);
        signing->item = NULL;
    }
    free(signing->item);
    free(signing->receipts);
    free(signing);
}

static void start(struct mesh_session *session)
{
    struct kos_mesh *mesh = session->mesh;
    struct kos_identity *node = kos_keys_node(kos_trust_keys(mesh->trust));
    struct signing *signing = kos_new(sizeof *signing);
    signing->link = session->link->id;
    signing->node = mesh->self;
    signing->event = kos_identity_event(node);
    signing->secret = kos_identity_secret(node);
    signing->created = kos_now_ms(mesh->env);
    signing->receipts = session->receipts;
    signing->count = session->receipt_count;
    session->receipts = NULL;
    session->receipt_count = session->receipt_cap = 0;
    if (signing->count <= FEW)
        mesh_work_one(mesh, &signing->job, sign, signed_receipts);
    else
        mesh_work(mesh, &signing->job, sign, signed_receipts);
}

void mesh_receipts_sign(struct kos_mesh *mesh)
{
    while (mesh->receipts) {
        struct mesh_session *session = mesh->receipts;
        mesh->receipts = session->receipts_next;
        session->receipts_listed = false;
        if (session->receipt_count)
            start(session);
    }
}

void mesh_receipt_add(struct kos_mesh *mesh, uint64_t id, const struct klp_receipt *receipt)
{
    if (!id) {
        mesh_outbox_receipt(mesh, &mesh->self, receipt);
        return;
    }
    struct mesh_link *link = mesh_link_find(mesh, id);
    struct mesh_session *session = link && !link->closing ? link->session : NULL;
    if (!session)
        return; /* sent again on another session, the message gets its answer there */
    if (session->receipt_count == KLP_RECEIPTS_MAX)
        start(session);
    if (session->receipt_count == session->receipt_cap) {
        session->receipt_cap = session->receipt_cap ? session->receipt_cap * 2 : 16;
        session->receipts = realloc(session->receipts, session->receipt_cap * sizeof *session->receipts);
        if (!session->receipts)
            abort();
    }
    session->receipts[session->receipt_count++] = *receipt;
    if (session->receipts_listed)
        return;
    session->receipts_listed = true;
    session->receipts_next = NULL;
    LL_PREPEND2(mesh->receipts, session, receipts_next);
    kos_defer(mesh->env, &mesh->turn);
}

/* ---- from the peer ---- */

struct checking {
    struct mesh_job job;
    uint64_t link, session;
    uint8_t klass;
    size_t wire_len; /* by credit */
    struct klp_id node;
    struct klp_public key;
    struct klp_receipts receipts;
    uint8_t *item;
    int32_t status;
};

static void check(struct kos_work *work)
{
    struct checking *checking = (struct checking *)work;
    checking->status = klp_verify(&checking->key, KLP_TAG_RECEIPT, checking->receipts.body,
                                  kos_bytes(checking->item, KLP_SIGNATURE_LEN));
}

static void forged(struct kos_mesh *mesh, const struct klp_id *node, int32_t status)
{
    char label[KLP_ID_TEXT], key[KLP_ID_TEXT + 16], id[KLP_ID_TEXT];
    mesh->counters.receipts_bad++;
    klp_id_text(node, id);
    snprintf(key, sizeof key, "receipts %s", id);
    if (kos_log_limit_pass(mesh->log_limit, key, NULL))
        kos_log(mesh->env, KOS_LOG_WARNING, "mesh", "receipts from %s are not believed: %s",
                mesh_peer_label(mesh, node, label), kos_error_text(status));
}

static void checking_free(struct mesh_job *job)
{
    struct checking *checking = (struct checking *)job;
    free(checking->item);
    free(checking);
}

static void believe(struct checking *checking)
{
    struct kos_mesh *mesh = checking->job.mesh;
    struct klp_json_iter iter;
    struct klp_receipt receipt;
    klp_json_iter_init(checking->receipts.list, &iter);
    while (klp_receipts_next(&iter, &receipt)) {
        mesh->counters.receipts_in++;
        mesh_outbox_receipt(mesh, &checking->node, &receipt);
    }
}

/* NULL: it is gone. */
static struct mesh_session *session_of(const struct checking *checking)
{
    struct mesh_link *link = mesh_link_find(checking->job.mesh, checking->link);
    return link && link->session && link->session->serial == checking->session ? link->session : NULL;
}

static void checked(struct kos_work *work)
{
    struct checking *checking = (struct checking *)work;
    struct kos_mesh *mesh = checking->job.mesh;
    if (mesh_work_done(&checking->job)) {
        struct mesh_session *session = session_of(checking);
        if (session)
            mesh_session_worked(session, &checking->job);
        if (checking->status < 0)
            forged(mesh, &checking->node, checking->status);
        else
            believe(checking);
        if ((session = session_of(checking)) != NULL)
            mesh_session_consumed(session, checking->klass, checking->wire_len);
    }
    checking_free(&checking->job);
}

void mesh_receipts_take(struct mesh_session *session, uint8_t klass, struct kos_bytes item)
{
    struct kos_mesh *mesh = session->mesh;
    const struct klp_id *node = &session->proof.id;
    struct checking *checking = kos_new(sizeof *checking);
    checking->job.bytes = item.len;
    checking->job.drop = checking_free;
    checking->link = session->link->id;
    checking->session = session->serial;
    checking->klass = klass;
    checking->wire_len = session->wire_len ? session->wire_len : item.len;
    checking->node = *node;
    checking->item = kos_memdup(item.data, item.len);
    int32_t rc = KOS_E_PROTOCOL;
    if (item.len > KLP_SIGNATURE_LEN)
        rc = klp_receipts_parse(kos_bytes(checking->item + KLP_SIGNATURE_LEN, item.len - KLP_SIGNATURE_LEN),
                                &checking->receipts);
    const struct klp_log *log = kos_trust_log(mesh->trust, node);
    if (rc >= 0 && (!log || !klp_id_eq(&checking->receipts.node, node)))
        rc = KOS_E_SIGNATURE;
    if (rc >= 0)
        rc = klp_log_may_sign(log, checking->receipts.event, checking->receipts.created, kos_now_ms(mesh->env));
    if (rc >= 0)
        rc = klp_log_key(log, checking->receipts.event, &checking->key);
    if (rc >= 0) {
        mesh_session_work(session, &checking->job, check, checked);
        return;
    }
    forged(mesh, node, rc);
    mesh_session_consumed(session, klass, checking->wire_len);
    checking_free(&checking->job);
}
