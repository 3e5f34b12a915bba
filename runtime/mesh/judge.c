/* SPDX-License-Identifier: Apache-2.0
 * What is let in: one verified message against target, time, memory, policy and quota, in this order. And what becomes
 * of one that is not: a receipt with the error's name, a count, a line in the log once per peer and minute.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

/* To this node, to an agent of it by id, or to this node's id with the text agent.LABEL.NAME of an agent of it. */
static int32_t addressed(struct kos_mesh *mesh, const struct klp_message *message, struct klp_id *ret_agent,
                         struct mesh_refusal *refusal)
{
    struct klp_address address;
    struct mesh_local_agent *agent = mesh_local_agent(mesh, &message->target_id);
    memset(ret_agent, 0, sizeof *ret_agent);
    if (agent) {
        *ret_agent = agent->id;
        return KOS_OK;
    }
    if (!klp_id_eq(&message->target_id, &mesh->self)) {
        snprintf(refusal->peer_text, sizeof refusal->peer_text, "neither this node nor one of its agents has that id");
        return KOS_E_MISADDRESSED;
    }
    if (klp_address_parse(message->target, &address, NULL) < 0)
        return KOS_E_MISADDRESSED;
    if (address.kind != KLP_KIND_AGENT || address.form != KLP_ADDRESS_NAME)
        return KOS_OK;
    char label[KLP_LABEL_MAX + 1], id[KLP_ID_TEXT];
    const char *dot = strchr(address.name, '.');
    klp_id_text(&mesh->self, id);
    if (dot && (strcmp(dot + 1, mesh->name) == 0 || strcmp(dot + 1, id) == 0)) {
        snprintf(label, sizeof label, "%.*s", (int)(dot - address.name), address.name);
        if ((agent = mesh_local_agent_by_name(mesh, label)) != NULL) {
            *ret_agent = agent->id;
            return KOS_OK;
        }
        snprintf(refusal->peer_text, sizeof refusal->peer_text, "this node has no agent %s", label);
        return KOS_E_NOTFOUND;
    }
    snprintf(refusal->peer_text, sizeof refusal->peer_text, "this node is not the one that klp://agent.%.180s is at",
             address.name);
    return KOS_E_MISADDRESSED;
}

static int32_t fresh(struct kos_mesh *mesh, const struct klp_message *message)
{
    /* Expiry by the later of clock and known time; the future by the clock alone, which may be behind it. */
    int32_t rc = klp_message_fresh(message, mesh_now(mesh));
    if (rc == KOS_E_FUTURE || rc >= 0)
        rc = klp_message_fresh(message, mesh_turn_clock(mesh)) == KOS_E_FUTURE ? KOS_E_FUTURE
             : rc == KOS_E_FUTURE                                              ? KOS_OK
                                                                               : rc;
    return rc;
}

static int32_t room(struct mesh_in *in, struct kos_policy_request *request, struct mesh_refusal *refusal)
{
    struct kos_mesh *mesh = in->job.mesh;
    struct mesh_peer *peer = mesh_peer_get(mesh, &in->peer);
    struct kos_policy *policy = kos_trust_policy(mesh->trust);
    uint64_t dedupe = mesh->limits.dedupe_per_peer;
    if (policy) {
        struct kos_policy_limits limits;
        kos_policy_limits(policy, request, &limits);
        if (limits.dedupe_entries && limits.dedupe_entries < dedupe)
            dedupe = limits.dedupe_entries;
    }
    if (peer->dedupe >= dedupe) {
        snprintf(refusal->peer_text, sizeof refusal->peer_text,
                 "this node remembers %llu messages of yours that have not expired, and no more",
                 (unsigned long long)dedupe);
        return KOS_E_BUSY;
    }
    /* As much as is left and no more: however many take all they can, there is room for who comes next. */
    uint64_t more = request->size_bytes + MESH_OPEN_COST, all = mesh->limits.inbox_bytes;
    uint64_t left = mesh->stored_bytes < all ? all - mesh->stored_bytes : 0;
    if (peer->stored >= mesh->limits.inbox_open || peer->stored_bytes + more > left) {
        snprintf(refusal->peer_text, sizeof refusal->peer_text, "%llu messages of yours, %llu bytes, wait to be handled",
                 (unsigned long long)peer->stored, (unsigned long long)peer->stored_bytes);
        return KOS_E_BUSY;
    }
    return KOS_OK;
}

/* What was let in holds for the next one that differs in id, time, payload and which of our messages it answers only;
 * quotas are asked for each. */
static bool alike(const struct mesh_judged *judged, const struct klp_message *message, bool answers_ours)
{
    const struct klp_message *before = judged->message;
    return before && answers_ours == judged->request.answers_ours && message->seal.type == KLP_JSON_NONE &&
           message->transient == before->transient && message->body.len <= judged->size_bytes &&
           klp_id_eq(&message->source_id, &before->source_id) && klp_id_eq(&message->target_id, &before->target_id) &&
           kos_bytes_eq(message->target, before->target) && strcmp(message->type, before->type) == 0;
}

static void refuse_by(const struct kos_policy_decision *decision, struct mesh_refusal *refusal)
{
    snprintf(refusal->text, sizeof refusal->text, "%s", decision->text);
    snprintf(refusal->peer_text, sizeof refusal->peer_text, "%s", decision->peer_text);
    memcpy(refusal->rule, decision->rule, sizeof refusal->rule);
}

static int32_t charge(struct mesh_in *in, const struct klp_message *message, struct kos_policy_request *request,
                      struct kos_policy_decision *decision, struct mesh_refusal *refusal)
{
    /* What is transient is not remembered, and waits within its session's credit. */
    int32_t rc = message->transient ? KOS_OK : room(in, request, refusal);
    return rc < 0 ? rc : kos_trust_quota_take(in->job.mesh->trust, request, decision);
}

static int32_t allowed(struct mesh_in *in, const struct klp_message *message, const struct klp_id *agent_id,
                       bool answers_ours, struct mesh_judged *judged, struct mesh_refusal *refusal)
{
    struct kos_mesh *mesh = in->job.mesh;
    struct mesh_local_agent *agent = mesh_local_agent(mesh, agent_id);
    struct kos_policy_decision decision;
    struct kos_policy_request request = { .direction = KOS_INBOUND,
                                          .peer = message->source_id,
                                          .peer_name = "",
                                          .type = message->type,
                                          .transport = in->transport,
                                          .agent = agent ? agent->name : "",
                                          .agent_trust_required = agent ? agent->trust_required : 0,
                                          .size_bytes = message->body.len,
                                          .answers_ours = answers_ours };
    kos_trust_decide(mesh->trust, &request, &decision);
    int32_t rc = decision.code;
    if (rc >= 0) {
        /* Quotas are the node's: an agent more gives it none. */
        request.peer = in->peer;
        rc = charge(in, message, &request, &decision, refusal);
        if (rc >= 0)
            *judged = (struct mesh_judged){ message, *agent_id, request, message->body.len, judged->stored };
        if (rc < 0 && decision.code >= 0)
            return rc;
    }
    if (rc < 0)
        refuse_by(&decision, refusal);
    return rc;
}

static int32_t allowed_again(struct mesh_in *in, const struct klp_message *message, struct mesh_judged *judged,
                             struct mesh_refusal *refusal)
{
    struct kos_policy_decision decision;
    decision.code = KOS_OK;
    judged->request.size_bytes = message->body.len;
    int32_t rc = charge(in, message, &judged->request, &decision, refusal);
    if (rc < 0 && decision.code < 0)
        refuse_by(&decision, refusal);
    return rc;
}

static uint16_t *slot_of(const struct mesh_judged *judged, const struct mesh_in *in, const struct klp_id *id)
{
    uint32_t at;
    memcpy(&at, id->b, sizeof at);
    uint16_t *slot = &judged->stored[at % MESH_STORED_SLOTS];
    while (*slot && !klp_id_eq(&in->messages[*slot - 1].id, id))
        slot = slot + 1 < judged->stored + MESH_STORED_SLOTS ? slot + 1 : judged->stored;
    return slot;
}

/* Twice in one batch: the first is not in the store yet. */
static const struct klp_message *stored_twin(const struct mesh_judged *judged, const struct mesh_in *in,
                                             const struct klp_message *message)
{
    const uint16_t *slot = judged->stored ? slot_of(judged, in, &message->id) : NULL;
    return slot && *slot ? &in->messages[*slot - 1] : NULL;
}

void mesh_judged_stored(struct mesh_judged *judged, const struct mesh_in *in, uint32_t index)
{
    if (in->count == 1)
        return;
    if (!judged->stored)
        judged->stored = kos_new(MESH_STORED_SLOTS * sizeof *judged->stored);
    *slot_of(judged, in, &in->messages[index].id) = (uint16_t)(index + 1);
}

int32_t mesh_inbox_judge(struct mesh_in *in, uint32_t index, struct mesh_judged *judged, struct klp_id *ret_agent,
                         struct klp_receipt *ret_recorded, bool *ret_repeat, struct mesh_refusal *refusal)
{
    struct kos_mesh *mesh = in->job.mesh;
    const struct klp_message *message = &in->messages[index];
    bool answers_ours = message->has_reply_to && (mesh_asked_lately(mesh, &message->reply_to, &in->peer) ||
                                                  mesh_asked(mesh, &message->reply_to, &in->peer));
    bool again = alike(judged, message, answers_ours);
    int32_t rc = KOS_OK;
    if (again)
        *ret_agent = judged->agent;
    else
        rc = addressed(mesh, message, ret_agent, refusal);
    if (rc == KOS_E_NOTFOUND) {
        /* Who is not let in does not learn which agents there are. */
        struct mesh_refusal denied = { 0 };
        int32_t code = allowed(in, message, ret_agent, answers_ours, judged, &denied);
        judged->message = NULL;
        if (code < 0)
            *refusal = denied;
        return code < 0 ? code : rc;
    }
    if (rc < 0)
        return rc;
    /* First of all, as klp(7) has it: what was taken once is answered alike, also when time, keys or policy would not
     * let it in today. */
    rc = message->transient ? KOS_E_NOTFOUND
                            : mesh_dedupe_get(mesh, &message->source_id, &message->id, ret_recorded);
    if (rc < 0 && rc != KOS_E_NOTFOUND) { /* the disk does not say: it may be a repeat */
        snprintf(refusal->peer_text, sizeof refusal->peer_text, "it cannot be looked up now whether it came before");
        return KOS_E_BUSY;
    }
    *ret_repeat = rc >= 0;
    const struct klp_message *twin = *ret_repeat || message->transient ? NULL : stored_twin(judged, in, message);
    if (twin) {
        *ret_repeat = true;
        *ret_recorded = (struct klp_receipt){ .id = message->id, .digest = twin->digest };
    }
    if (*ret_repeat)
        return KOS_OK;
    if ((rc = fresh(mesh, message)) < 0)
        return rc;
    const struct klp_log *log = kos_trust_log(mesh->trust, &message->source_id);
    rc = log ? klp_log_may_sign(log, message->event, message->created, mesh_turn_clock(mesh)) : KOS_E_UNKNOWN_ID;
    if (rc < 0)
        return rc;
    if (message->seal.type != KLP_JSON_NONE) {
        snprintf(refusal->peer_text, sizeof refusal->peer_text, "this node has published no sealing key");
        return KOS_E_SEAL_RETIRED;
    }
    if (again)
        return allowed_again(in, message, judged, refusal);
    if ((rc = allowed(in, message, ret_agent, answers_ours, judged, refusal)) < 0)
        return rc;
    if (!mesh->sink->ops->takes(mesh->sink, message->type)) {
        snprintf(refusal->peer_text, sizeof refusal->peer_text, "this node has no handler for messages of type %s",
                 message->type);
        judged->message = NULL;
        return KOS_E_UNHANDLED;
    }
    return KOS_OK;
}

void mesh_inbox_refused(struct mesh_in *in, const struct klp_message *message, int32_t code,
                        const struct mesh_refusal *refusal)
{
    struct kos_mesh *mesh = in->job.mesh;
    char label[KLP_ID_TEXT], id[KLP_ID_TEXT], key[128];
    const char *peer_text = refusal->peer_text[0] ? refusal->peer_text : kos_error_text(code);
    const char *text = refusal->text[0] ? refusal->text : peer_text;
    uint32_t suppressed = 0;
    if (-code > 0 && (size_t)-code < sizeof mesh->counters.refused / sizeof *mesh->counters.refused)
        mesh->counters.refused[-code]++;
    klp_id_text(&in->peer, id);
    snprintf(key, sizeof key, "refused %s %d", id, code);
    if (kos_log_limit_pass(mesh->log_limit, key, &suppressed))
        kos_log(mesh->env, KOS_LOG_WARNING, "mesh", "%s from %s refused (%s): %s%s%s",
                message && message->type[0] ? message->type : "a message", mesh_peer_label(mesh, &in->peer, label),
                kos_error_name(code), text, refusal->rule[0] && !strstr(text, refusal->rule) ? "; by " : "",
                refusal->rule[0] && !strstr(text, refusal->rule) ? refusal->rule : "");
    if (mesh_watched(mesh))
        mesh_event(mesh, "message_refused",
                   json_pack("{s:o,s:s,s:s,s:s,s:s}", "peer", mesh_id_json(&in->peer), "type",
                             message ? message->type : "", "error", kos_error_name(code), "text", text, "rule",
                             refusal->rule));
    if (!message || mesh_id_zero(&message->id))
        return;
    struct klp_receipt receipt = { .id = message->id, .digest = message->digest, .error = code };
    mesh_text(peer_text, receipt.text, sizeof receipt.text);
    mesh_receipt_add(mesh, in->link, &receipt);
}
