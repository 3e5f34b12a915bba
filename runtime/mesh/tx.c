/* SPDX-License-Identifier: Apache-2.0
 *
 * A handler's transaction: state, messages and verdicts, all or nothing. What may not be sent shows at commit, with the
 * sentence; nothing durable leaves before it is on disk.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

struct settling {
    uint64_t seq;
    bool outcome, defer, accept;
    uint64_t retry_ms;
};

struct kos_mesh_tx {
    struct kos_mesh *mesh;
    struct kos_tx *store;       /* NULL: nothing in it needs the disk so far */
    struct kos_error error;     /* code 0: none so far */
    struct mesh_entry *entries; /* linked by next, as an utlist DL */
    struct mesh_loose *loose;
    struct settling *settlings;
    uint32_t settling_count, settling_cap;
    bool applied;
    uint64_t bytes;
    void (*done)(void *arg, int32_t status);
    void *arg;
    uint32_t count;
    uint32_t fanned; /* to "*" */
    uint64_t *seqs;
    struct kos_mesh_tx *next; /* of those that wait for a crowded peer */
};

struct kos_mesh_tx *kos_mesh_tx_begin(struct kos_mesh *mesh)
{
    struct kos_mesh_tx *tx = kos_new(sizeof *tx);
    tx->mesh = mesh;
    return tx;
}

struct kos_tx *kos_mesh_tx_store(struct kos_mesh_tx *tx)
{
    if (!tx->store)
        tx->store = kos_tx_begin(tx->mesh->store);
    return tx->store;
}

static struct mesh_open *open_of(const struct kos_mesh_tx *tx, const struct settling *settling)
{
    return settling->outcome ? NULL : mesh_offer_find(tx->mesh, settling->seq);
}

static struct mesh_entry *ended_of(const struct kos_mesh_tx *tx, const struct settling *settling)
{
    return settling->outcome ? mesh_outbox_find(tx->mesh, settling->seq) : NULL;
}

static void tx_free(struct kos_mesh_tx *tx)
{
    struct mesh_entry *entry, *next;
    DL_FOREACH_SAFE(tx->entries, entry, next)
        mesh_entry_free(entry);
    mesh_loose_free(tx->loose);
    for (uint32_t i = 0; i < tx->settling_count && !tx->applied; i++) {
        struct mesh_open *open = open_of(tx, &tx->settlings[i]);
        struct mesh_entry *ended = ended_of(tx, &tx->settlings[i]);
        if (open)
            open->settling = false;
        if (ended)
            ended->settling = false;
    }
    free(tx->settlings);
    free(tx->seqs);
    free(tx);
}

void kos_mesh_tx_abort(struct kos_mesh_tx *tx)
{
    if (tx->store)
        kos_tx_abort(tx->store);
    tx_free(tx);
}

/* ---- sending ---- */

/* Zeros of an id in a draft mean: none. */
static bool given(const uint8_t id[KOS_ID_BYTES], struct klp_id *ret_id)
{
    memcpy(ret_id->b, id, sizeof ret_id->b);
    return !mesh_id_zero(ret_id);
}

static int32_t check_draft(const struct kos_draft *draft, struct kos_error *error)
{
    struct klp_id id;
    if (!given(draft->id, &id))
        return kos_fail(error, KOS_E_INVALID, "a draft needs an id of its sender's choosing");
    if (!draft->type || !draft->type[0] || strlen(draft->type) >= KLP_TYPE_MAX)
        return kos_fail(error, KOS_E_INVALID, "a message type has 1 to %d characters", KLP_TYPE_MAX - 1);
    if (draft->klass != KLP_CLASS_INTERACTIVE && draft->klass != KLP_CLASS_BULK)
        return kos_fail(error, KOS_E_INVALID, "a message's class is 1 (interactive) or 2 (bulk), not %d", draft->klass);
    if (draft->expires_in_ms < 1 || draft->expires_in_ms > KLP_MESSAGE_LIFE_MAX_MS)
        return kos_fail(error, KOS_E_INVALID, "a message expires after 1 ms to 30 days, not %lld ms",
                        (long long)draft->expires_in_ms);
    if (draft->delivery != KOS_DURABLE && draft->delivery != KOS_TRANSIENT)
        return kos_fail(error, KOS_E_INVALID, "a message's delivery is 0 (durable) or 1 (transient), not %d",
                        draft->delivery);
    return KOS_OK;
}

/* Of a draft that made no message: whether that is the payload's fault. */
static void check_payload(const struct kos_draft *draft, struct kos_error *error)
{
    struct klp_json payload;
    size_t offset = 0;
    int32_t rc = klp_json_read(draft->payload, KLP_MESSAGE_MAX, &payload, &offset);
    if (rc < 0)
        kos_fail(error, rc,
                 rc == KOS_E_LIMIT ? "the payload of %zu bytes is larger than a message may be (%d bytes)"
                                   : "the payload is not canonical JSON: byte %zu of at most %d",
                 rc == KOS_E_LIMIT ? draft->payload.len : offset, KLP_MESSAGE_MAX);
    else if (payload.type != KLP_JSON_OBJECT)
        kos_fail(error, KOS_E_INVALID, "a payload is a JSON object");
}

static int32_t may_send(struct kos_mesh *mesh, const struct kos_draft *draft, const struct mesh_target *target,
                        const struct klp_id *signer, struct kos_error *error)
{
    struct kos_policy_decision decision;
    struct mesh_local_agent *agent = mesh_local_agent(mesh, signer);
    struct kos_policy_request request = { .direction = KOS_OUTBOUND,
                                          .peer = target->node,
                                          .peer_name = "",
                                          .type = draft->type,
                                          .transport = "",
                                          .agent = agent ? agent->name : "",
                                          .size_bytes = draft->payload.len };
    kos_trust_decide(mesh->trust, &request, &decision);
    if (decision.code < 0)
        return kos_fail(error, decision.code, "%s", decision.text);
    double score = kos_trust_score(mesh->trust, target->has_agent ? &target->agent : &target->node);
    if (draft->trust_required > score) {
        char label[KLP_ID_TEXT], id[KLP_ID_TEXT];
        klp_id_text(&target->node, id);
        return kos_fail(
            error, KOS_E_TRUST,
            "%s has a trust score of %g here and %g is asked for: kosctl trust klp://node.%s %g would allow it",
            mesh_peer_label(mesh, &target->node, label), score, draft->trust_required, id, draft->trust_required);
    }
    return KOS_OK;
}

/* What the outbox may hold for one node. */
static uint64_t outbox_of(struct kos_mesh *mesh, const struct klp_id *node, const char *type)
{
    uint64_t per_target = mesh->limits.outbox_per_target_bytes;
    struct kos_policy_limits limits;
    struct kos_policy_request request = { .direction = KOS_OUTBOUND,
                                          .peer = *node,
                                          .peer_name = kos_trust_name_of(mesh->trust, node),
                                          .type = type,
                                          .transport = "",
                                          .agent = "",
                                          .score = kos_trust_score(mesh->trust, node) };
    struct kos_policy *policy = kos_trust_policy(mesh->trust);
    if (policy) {
        kos_policy_limits(policy, &request, &limits);
        if (limits.outbox_bytes && limits.outbox_bytes < per_target)
            per_target = limits.outbox_bytes;
    }
    return per_target;
}

/* A target may have as much as is left for others, so that a few that take nothing do not take it all. */
static int32_t make_room(struct kos_mesh_tx *tx, const struct klp_id *node, uint64_t bytes, uint64_t per_target)
{
    struct kos_mesh *mesh = tx->mesh;
    const struct mesh_peer *peer = mesh_peer_find(mesh, node);
    uint64_t waiting = mesh->outbox_bytes + tx->bytes, own = peer ? peer->bytes : 0, most = mesh->limits.outbox_bytes;
    char label[KLP_ID_TEXT];
    if (waiting + bytes > most || own + bytes > most - waiting)
        return kos_fail(&tx->error, KOS_E_BUSY,
                        "the outbox is full: %llu bytes wait, %llu of them for %s (limit outbox_bytes)",
                        (unsigned long long)mesh->outbox_bytes, (unsigned long long)own,
                        mesh_peer_label(mesh, node, label));
    if (own + bytes > per_target)
        return kos_fail(&tx->error, KOS_E_BUSY,
                        "the outbox holds all it may for %s: %llu of %llu bytes (limit outbox_per_target_bytes)",
                        mesh_peer_label(mesh, node, label), (unsigned long long)own, (unsigned long long)per_target);
    return KOS_OK;
}

static int32_t make_room_asked(struct kos_mesh_tx *tx, const struct klp_id *node)
{
    struct kos_mesh *mesh = tx->mesh;
    const struct mesh_peer *peer = mesh_peer_find(mesh, node);
    uint64_t asked = kos_store_count(mesh->store, "asked"), own = peer ? peer->asked : 0;
    char label[KLP_ID_TEXT];
    if (asked < MESH_ASKED_MAX && own < MESH_ASKED_MAX - asked)
        return KOS_OK;
    return kos_fail(&tx->error, KOS_E_BUSY,
                    "%llu messages of this node may still be answered, %llu of them by %s; no more can be sent to it before "
                    "some expire",
                    (unsigned long long)asked, (unsigned long long)own, mesh_peer_label(mesh, node, label));
}

/* What a draft says, for `entry`; the texts are the draft's, the target's and `source`. */
static void draft_message(struct kos_mesh *mesh, const struct kos_draft *draft, const struct mesh_target *target,
                          const struct mesh_entry *entry, char source[KLP_ADDRESS_MAX], struct klp_message *ret_message)
{
    *ret_message = (struct klp_message){ .id = entry->id,
                                         .source_id = entry->signer,
                                         .target_id = target->has_agent ? target->agent : target->node };
    mesh_own_address(mesh, &entry->signer, source);
    snprintf(ret_message->type, sizeof ret_message->type, "%s", draft->type);
    ret_message->source = kos_bytes_str(source);
    ret_message->target = kos_bytes_str(target->text);
    ret_message->created = kos_now_ms(mesh->env);
    ret_message->expires = ret_message->created + draft->expires_in_ms;
    ret_message->has_reply_to = given(draft->reply_to, &ret_message->reply_to);
    ret_message->trace = kos_bytes_str(draft->trace ? draft->trace : "");
    ret_message->payload = (struct klp_json){ KLP_JSON_OBJECT, draft->payload };
}

/* Where it goes and who signs it; what the policy says. */
static int32_t prepare(struct kos_mesh_tx *tx, const struct kos_draft *draft, struct mesh_entry *entry,
                       struct mesh_target *ret_target, struct kos_identity **ret_signer)
{
    struct kos_mesh *mesh = tx->mesh;
    struct klp_id id;
    int32_t rc = check_draft(draft, &tx->error);
    if (rc < 0)
        return rc;
    entry->signer = given(draft->from_agent, &id) ? id : mesh->self;
    memcpy(entry->id.b, draft->id, sizeof entry->id.b);
    *ret_signer = kos_keys_find(kos_trust_keys(mesh->trust), &entry->signer);
    if (!*ret_signer || !kos_identity_secret(*ret_signer))
        return kos_fail(&tx->error, KOS_E_NOTFOUND, "the agent that is to sign %s is none of this node's", draft->type);
    given(draft->target_id, &id);
    if ((rc = mesh_route_resolve(mesh, draft->target, &id, ret_target, &tx->error)) < 0)
        return rc;
    entry->node = ret_target->node;
    return may_send(mesh, draft, ret_target, &entry->signer, &tx->error);
}

static bool alike(const struct mesh_sending *sending, const struct kos_draft *draft)
{
    return sending->holds && sending->klass == draft->klass && sending->delivery == draft->delivery && !draft->trace &&
           draft->type && draft->target && sending->trust_required == draft->trust_required && draft->expires_in_ms >= 1 &&
           draft->expires_in_ms <= KLP_MESSAGE_LIFE_MAX_MS && strcmp(sending->type, draft->type) == 0 &&
           strcmp(sending->draft_target, draft->target) == 0 &&
           memcmp(sending->target_id, draft->target_id, sizeof sending->target_id) == 0 &&
           memcmp(sending->from_agent, draft->from_agent, sizeof sending->from_agent) == 0;
}

/* All that drafts like this one have in common. */
static int32_t learn(struct kos_mesh_tx *tx, const struct kos_draft *draft, struct mesh_sending *sending)
{
    struct kos_mesh *mesh = tx->mesh;
    struct mesh_entry entry = { .klass = (uint8_t)draft->klass };
    struct kos_identity *signer;
    struct klp_message message;
    char source[KLP_ADDRESS_MAX];
    int32_t rc = prepare(tx, draft, &entry, &sending->target, &signer);
    sending->holds = false;
    if (rc < 0)
        return rc;
    draft_message(mesh, draft, &sending->target, &entry, source, &message);
    message.transient = draft->delivery == KOS_TRANSIENT;
    message.event = kos_identity_event(signer);
    if ((rc = klp_message_maker_init(&sending->maker, &message, &tx->error)) < 0)
        return rc;
    sending->signer = entry.signer;
    sending->per_target = outbox_of(mesh, &entry.node, draft->type);
    sending->klass = draft->klass;
    sending->delivery = draft->delivery;
    sending->trust_required = draft->trust_required;
    snprintf(sending->type, sizeof sending->type, "%s", draft->type);
    memcpy(sending->target_id, draft->target_id, sizeof sending->target_id);
    memcpy(sending->from_agent, draft->from_agent, sizeof sending->from_agent);
    size_t len = draft->target ? strlen(draft->target) : sizeof sending->draft_target;
    if (len < sizeof sending->draft_target && !draft->trace) {
        memcpy(sending->draft_target, draft->target, len + 1);
        sending->holds = true;
    }
    return KOS_OK;
}

static int32_t prepared(struct kos_mesh_tx *tx, const struct kos_draft *draft, struct klp_id *ret_id,
                        const struct mesh_sending **ret_sending)
{
    struct kos_mesh *mesh = tx->mesh;
    if (!mesh->sending)
        mesh->sending = kos_new(sizeof *mesh->sending);
    *ret_sending = mesh->sending;
    return given(draft->id, ret_id) && alike(mesh->sending, draft) ? KOS_OK : learn(tx, draft, mesh->sending);
}

static int32_t make_durable(struct kos_mesh_tx *tx, const struct kos_draft *draft, struct mesh_entry *entry)
{
    struct kos_mesh *mesh = tx->mesh;
    const struct mesh_sending *sending;
    struct klp_id reply_to;
    struct mesh_entry *twin;
    size_t len = 0;
    int32_t rc = prepared(tx, draft, &entry->id, &sending);
    if (rc < 0)
        return rc;
    HASH_FIND(hh_id, mesh->entries_by_id, &entry->id, sizeof entry->id, twin);
    if (twin)
        return kos_fail(&tx->error, KOS_E_EXISTS, "a message with this id waits in the outbox already");
    entry->node = sending->target.node;
    entry->signer = sending->signer;
    int64_t created = mesh_turn_clock(mesh);
    entry->expires = created + draft->expires_in_ms;
    size_t cap = draft->payload.len + sending->maker.tail_len + MESH_HEAD_ROOM;
    entry->body = kos_new(cap);
    bool answers = given(draft->reply_to, &reply_to);
    rc = klp_message_maker_put(&sending->maker, &entry->id, created, entry->expires, answers ? &reply_to : NULL,
                               draft->payload, entry->body, cap, &len, &entry->digest, &tx->error);
    if (rc < 0) {
        check_payload(draft, &tx->error);
        return rc;
    }
    entry->bytes = len;
    rc = make_room(tx, &entry->node, entry->bytes, sending->per_target);
    return rc < 0 ? rc : make_room_asked(tx, &entry->node);
}

static void send_durable(struct kos_mesh_tx *tx, const char *owner, const struct kos_draft *draft)
{
    struct kos_mesh *mesh = tx->mesh;
    struct mesh_entry *entry = kos_new(sizeof *entry);
    entry->klass = (uint8_t)draft->klass;
    entry->owner = kos_strdup(owner ? owner : "");
    entry->type = kos_strdup(draft->type ? draft->type : "");
    entry->state = MESH_NEW;
    if (make_durable(tx, draft, entry) < 0) {
        mesh_entry_free(entry);
        return;
    }
    struct mesh_peer *peer = mesh_peer_find(mesh, &entry->node);
    struct kos_tx *store = kos_mesh_tx_store(tx);
    entry->seq = mesh->next_seq++;
    entry->handed = klp_id_eq(&entry->node, &mesh->self) || (peer && mesh_peer_session(peer));
    mesh_entry_put(store, entry, kos_bytes(entry->body, (size_t)entry->bytes));
    mesh_asked_put(store, &entry->id, &entry->node, entry->expires);
    tx->bytes += entry->bytes;
    tx->count++;
    DL_APPEND(tx->entries, entry);
}

static int32_t send_transient(struct kos_mesh_tx *tx, const struct kos_draft *draft)
{
    struct kos_mesh *mesh = tx->mesh;
    const struct mesh_sending *sending;
    struct klp_id id;
    char label[KLP_ID_TEXT];
    int32_t rc = prepared(tx, draft, &id, &sending);
    if (rc < 0)
        return rc;
    const struct klp_id *node = &sending->target.node;
    struct mesh_peer *peer = mesh_peer_get(mesh, node);
    if (!klp_id_eq(node, &mesh->self) && !mesh_peer_session(peer)) {
        mesh_keep_want(peer);
        return kos_fail(&tx->error, KOS_E_UNREACHABLE,
                        "no session with %s is open, and a transient message does not wait for one",
                        mesh_peer_label(mesh, node, label));
    }
    if ((rc = make_room(tx, node, draft->payload.len, sending->per_target)) < 0)
        return rc;
    rc = mesh_loose_draft(mesh, &tx->loose, sending, draft, &tx->error);
    if (rc < 0) {
        check_payload(draft, &tx->error);
        return rc;
    }
    tx->bytes += (uint64_t)rc;
    mesh_asked_lately_put(mesh, &id, node);
    return KOS_OK;
}

static void send(struct kos_mesh_tx *tx, const char *owner, const struct kos_draft *draft)
{
    if (tx->error.code)
        return;
    if (draft->delivery == KOS_TRANSIENT)
        (void)send_transient(tx, draft);
    else
        send_durable(tx, owner, draft);
}

/* To each peer with a session whom the policy allows it; what keeps one from having it is no error for the others. */
static void send_to_all(struct kos_mesh_tx *tx, const struct kos_draft *draft)
{
    struct kos_mesh *mesh = tx->mesh;
    for (struct mesh_peer *peer = mesh->peers; peer && !tx->error.code; peer = peer->hh.next) {
        struct kos_draft copy = *draft;
        if (!mesh_peer_session(peer))
            continue;
        copy.target = "";
        memcpy(copy.target_id, peer->id.b, sizeof copy.target_id);
        kos_random(mesh->env, copy.id, sizeof copy.id);
        send(tx, "", &copy);
        if (tx->error.code == KOS_E_DENIED || tx->error.code == KOS_E_TRUST || tx->error.code == KOS_E_BUSY)
            tx->error.code = KOS_OK;
        else
            tx->fanned++;
    }
}

void kos_mesh_tx_send(struct kos_mesh_tx *tx, const char *owner, const struct kos_draft *draft)
{
    struct kos_draft own = { .size = 0 };
    /* Who was built against an older header has a smaller struct: what it lacks is zero. */
    memcpy(&own, draft, draft->size < sizeof own ? draft->size : sizeof own);
    if (own.target && strcmp(own.target, "*") == 0)
        send_to_all(tx, &own);
    else
        send(tx, owner, &own);
}

uint32_t kos_mesh_tx_fanned(const struct kos_mesh_tx *tx)
{
    return tx->fanned;
}

/* ---- settling ---- */

/* The error message that answers one which a handler refused. */
static void answer_error(struct kos_mesh_tx *tx, const struct klp_message *message, const struct klp_id *agent,
                         int32_t error, const char *text)
{
    struct klp_json_out out;
    struct kos_bytes payload;
    uint8_t data[4096];
    char source[KLP_ADDRESS_MAX];
    struct kos_draft draft = {
        .size = sizeof draft, .klass = KLP_CLASS_INTERACTIVE, .type = "ERROR", .target = source
    };
    klp_json_begin(&out, data, sizeof data);
    klp_json_object(&out);
    klp_json_name(&out, "error");
    klp_json_put_cstr(&out, kos_error_name(error < 0 ? error : KOS_E_DENIED));
    klp_json_name(&out, "retry");
    klp_json_put_bool(&out, kos_error_retry(error));
    klp_json_name(&out, "text");
    klp_json_put_cstr(&out, text);
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &payload) < 0)
        return;
    snprintf(source, sizeof source, "%.*s", (int)message->source.len, (const char *)message->source.data);
    kos_random(tx->mesh->env, draft.id, sizeof draft.id);
    memcpy(draft.reply_to, message->id.b, sizeof draft.reply_to);
    memcpy(draft.from_agent, agent->b, sizeof draft.from_agent);
    memcpy(draft.target_id, message->source_id.b, sizeof draft.target_id);
    draft.payload = payload;
    draft.expires_in_ms = message->expires - kos_now_ms(tx->mesh->env);
    if (draft.expires_in_ms < 60000)
        draft.expires_in_ms = 60000;
    if (draft.expires_in_ms > KLP_MESSAGE_LIFE_MAX_MS)
        draft.expires_in_ms = KLP_MESSAGE_LIFE_MAX_MS;
    struct kos_error before = tx->error;
    send(tx, "", &draft);
    /* That the answer may not be sent is no reason to keep the message. */
    if (tx->error.code && !before.code) {
        kos_log(tx->mesh->env, KOS_LOG_NOTICE, "mesh", "a refusal could not be answered: %s", tx->error.text);
        tx->error = before;
    }
}

static void reject(struct kos_mesh_tx *tx, struct mesh_open *open, int32_t error, const char *text)
{
    struct klp_message message;
    struct klp_id agent;
    uint8_t *value;
    if (mesh_offer_message(tx->mesh, open, &agent, &message, &value) < 0)
        return;
    if (strcmp(message.type, "ERROR") != 0) {
        char cut[KLP_RECEIPT_TEXT_MAX];
        mesh_text(text && text[0] ? text : kos_error_text(error), cut, sizeof cut);
        answer_error(tx, &message, &agent, error, cut);
    }
    free(value);
}

static void add_settling(struct kos_mesh_tx *tx, const struct settling *settling)
{
    if (tx->settling_count == tx->settling_cap) {
        tx->settling_cap = tx->settling_cap ? 2 * tx->settling_cap : 4;
        tx->settlings = realloc(tx->settlings, tx->settling_cap * sizeof *tx->settlings);
        if (!tx->settlings)
            abort();
    }
    tx->settlings[tx->settling_count++] = *settling;
}

void kos_mesh_tx_settle(struct kos_mesh_tx *tx, uint64_t handle, int32_t verdict, int32_t error, const char *text,
                        uint64_t retry_ms)
{
    struct kos_mesh *mesh = tx->mesh;
    uint64_t seq = handle >> 1;
    uint8_t key[8];
    if (tx->error.code)
        return;
    struct mesh_entry *entry = handle & 1 ? mesh_outbox_find(mesh, seq) : NULL;
    struct mesh_open *open = handle & 1 ? NULL : mesh_offer_find(mesh, seq);
    bool known = handle & 1 ? entry && entry->state == MESH_ENDED && !entry->settling
                            : open && open->state == MESH_OPEN_OFFERED && !open->settling;
    if (!known) {
        kos_fail(&tx->error, KOS_E_STATE, "message handle %llu is not open: it was settled before, or never offered",
                 (unsigned long long)handle);
        return;
    }
    if (verdict != KOS_ACCEPT && verdict != KOS_REJECT && verdict != KOS_DEFER) {
        kos_fail(&tx->error, KOS_E_INVALID, "%d is no verdict", verdict);
        return;
    }
    const struct settling settling = {
        .seq = seq,
        .outcome = handle & 1,
        .defer = verdict == KOS_DEFER,
        .accept = verdict == KOS_ACCEPT,
        .retry_ms = retry_ms,
    };
    add_settling(tx, &settling);
    if (entry)
        entry->settling = true;
    else
        open->settling = true;
    if (verdict == KOS_DEFER)
        return;
    if (entry) {
        mesh_entry_delete(kos_mesh_tx_store(tx), entry);
        return;
    }
    if (verdict == KOS_REJECT)
        reject(tx, open, error, text);
    if (open->in)
        return;
    mesh_entry_key(seq, key);
    kos_tx_delete(kos_mesh_tx_store(tx), "inbox", kos_bytes(key, sizeof key));
}

/* ---- commit ---- */

/* Offered again only when its owner has been told that this transaction is through. */
static void apply_defers(struct kos_mesh_tx *tx)
{
    for (uint32_t i = 0; i < tx->settling_count; i++) {
        const struct settling *settling = &tx->settlings[i];
        struct mesh_entry *ended = ended_of(tx, settling);
        struct mesh_open *open = open_of(tx, settling);
        if (settling->defer && ended)
            ended->settling = false, mesh_outbox_again(tx->mesh, ended, settling->retry_ms);
        else if (settling->defer && open)
            open->settling = false, mesh_offer_defer(tx->mesh, open, settling->retry_ms);
    }
}

static void end(struct kos_mesh_tx *tx, int32_t status)
{
    if (tx->done)
        tx->done(tx->arg, status);
    tx_free(tx);
}

static void durable(void *arg, int32_t status)
{
    struct kos_mesh_tx *tx = arg;
    struct kos_mesh *mesh = tx->mesh;
    bool alive = mesh_drop(mesh), light = tx->loose && !tx->count;
    struct mesh_peer *peer = light && alive ? mesh_peer_get(mesh, &tx->loose->prev->node) : NULL;
    for (uint32_t i = 0; alive && status >= 0 && i < tx->count; i++) {
        struct mesh_entry *entry = mesh_outbox_find(mesh, tx->seqs[i]);
        if (entry && entry->state == MESH_NEW)
            mesh_outbox_ready(mesh, entry);
    }
    if (alive && status >= 0) {
        for (uint32_t i = 0; i < tx->settling_count; i++)
            mesh->counters.handled += tx->settlings[i].accept && !tx->settlings[i].outcome;
        mesh_loose_send(mesh, &tx->loose);
        apply_defers(tx);
    } else if (alive) {
        tx->applied = false; /* what was to be deferred is the owner's again */
    }
    if (peer && peer->loose_bytes > MESH_QUEUE_ROOM)
        LL_APPEND(peer->crowd, tx); /* who sends faster than the session takes it hears of it later */
    else
        end(tx, status);
}

void mesh_tx_crowd(struct mesh_peer *peer, int32_t status)
{
    while (peer->crowd) {
        struct kos_mesh_tx *tx = peer->crowd;
        LL_DELETE(peer->crowd, tx);
        end(tx, status);
    }
}

static void apply(struct kos_mesh_tx *tx)
{
    struct kos_mesh *mesh = tx->mesh;
    struct mesh_entry *entry, *next;
    uint32_t at = 0;
    tx->applied = true;
    tx->seqs = tx->count ? kos_new(tx->count * sizeof *tx->seqs) : NULL;
    DL_FOREACH_SAFE(tx->entries, entry, next) {
        DL_DELETE(tx->entries, entry);
        tx->seqs[at++] = entry->seq;
        mesh_outbox_add(mesh, entry);
        mesh_peer_get(mesh, &entry->node)->asked++;
    }
    for (uint32_t i = 0; i < tx->settling_count; i++) {
        const struct settling *settling = &tx->settlings[i];
        struct mesh_entry *ended = ended_of(tx, settling);
        struct mesh_open *open = open_of(tx, settling);
        if (ended && !settling->defer)
            mesh_outbox_noted(mesh, ended);
        else if (open && !settling->defer)
            mesh_offer_remove(mesh, open);
    }
}

int32_t kos_mesh_tx_commit(struct kos_mesh_tx *tx, void (*done)(void *arg, int32_t status), void *arg,
                           struct kos_error *ret_error)
{
    if (tx->error.code) {
        int32_t code = tx->error.code;
        if (ret_error)
            *ret_error = tx->error;
        kos_mesh_tx_abort(tx);
        return code;
    }
    tx->done = done;
    tx->arg = arg;
    struct kos_tx *store = tx->store;
    tx->store = NULL;
    if (!store) { /* nothing that a disk must keep */
        mesh_hold(tx->mesh);
        apply(tx);
        durable(tx, KOS_OK);
        return KOS_OK;
    }
    int32_t rc = kos_tx_commit(store, durable, tx);
    if (rc < 0) {
        kos_fail(ret_error, rc, "the store takes nothing now: %s", kos_error_text(rc));
        tx_free(tx);
        return rc;
    }
    mesh_hold(tx->mesh);
    apply(tx);
    return KOS_OK;
}
