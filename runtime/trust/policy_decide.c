/* SPDX-License-Identifier: Apache-2.0
 *
 * The one place that decides. Messages, sessions and `kosctl policy explain` all come here, so what explain says is
 * what happens. The order, first answer wins: peers blocked, peers not allowed, type blocked; an answer to our own
 * request is let in; type not allowed, score too low, larger than any quota lets through.
 */
#include "trust/policy_private.h"

#include "core/buf.h"

const struct policy_threshold policy_builtin[] = {
    { "session", 0, { NULL, 0 } },         { "BROADCAST_ANNOUNCE", 3, { NULL, 0 } }, { "TASK_REQUEST", 5, { NULL, 0 } },
    { "AGENT_MIGRATION", 8, { NULL, 0 } }, { "*", 5, { NULL, 0 } },                  { NULL, 0, { NULL, 0 } },
};

static bool peer_is(const struct policy_peer *rule, const struct klp_id *id, const char *name)
{
    if (rule->by_id)
        return klp_id_eq(&rule->id, id);
    return name && name[0] && strcmp(rule->name, name) == 0;
}

/* What is said of a node holds for its agents. */
bool policy_peer_matches(const struct policy_peer *rule, const struct kos_policy_request *r)
{
    static const struct klp_id none;
    return rule->any || peer_is(rule, &r->peer, r->peer_name) ||
           (!klp_id_eq(&r->host, &none) && peer_is(rule, &r->host, r->host_name));
}

static const struct policy_peer *find_peer(const struct policy_peers *peers, const struct kos_policy_request *r)
{
    for (size_t i = 0; i < peers->count; i++)
        if (policy_peer_matches(&peers->items[i], r))
            return &peers->items[i];
    return NULL;
}

static const struct policy_type *find_type(const struct policy_types *types, const char *type)
{
    for (size_t i = 0; i < types->count; i++)
        if (strcmp(types->items[i].type, "*") == 0 || strcmp(types->items[i].type, type) == 0)
            return &types->items[i];
    return NULL;
}

static const struct policy_threshold *named(const struct policy_threshold *list, size_t count, const char *type)
{
    for (size_t i = 0; i < count && list[i].type; i++)
        if (strcmp(list[i].type, type) == 0)
            return &list[i];
    return NULL;
}

/* The highest word of all manifests. A manifest's "*" counts for what it does not name, and beneath that the built-in
 * word for this very type stays: only a manifest that names the type can lower it. */
struct policy_threshold policy_threshold_of(const struct kos_policy *policy, const char *type)
{
    const struct policy_threshold *builtin = named(policy_builtin, SIZE_MAX, type), *best = NULL;
    bool session = strcmp(type, "session") == 0, by_name = false;
    for (size_t i = 0; i < policy->manifest_count; i++) {
        const struct policy_manifest *m = policy->manifests[i];
        const struct policy_threshold *t = named(m->thresholds, m->threshold_count, type);
        by_name = by_name || t;
        if (!t && !session)
            t = named(m->thresholds, m->threshold_count, "*");
        if (t && (!best || t->score > best->score))
            best = t;
    }
    if (!by_name && builtin && (!best || builtin->score > best->score))
        best = builtin;
    return best ? *best : *named(policy_builtin, SIZE_MAX, "*");
}

void policy_peer_text(const struct kos_policy_request *r, char *text, size_t cap)
{
    char id[KLP_ID_TEXT];
    if (r->peer_name && r->peer_name[0]) {
        snprintf(text, cap, "%.100s", r->peer_name);
        return;
    }
    klp_id_text(&r->peer, id);
    snprintf(text, cap, "klp://%s.%s", klp_id_eq(&r->host, &(struct klp_id){ { 0 } }) ? "node" : "agent", id);
}

/* Whom the operator would trust: the node that answers for the peer. */
static void node_text(const struct kos_policy_request *r, char text[KLP_ID_TEXT])
{
    klp_id_text(klp_id_eq(&r->host, &(struct klp_id){ { 0 } }) ? &r->peer : &r->host, text);
}

static void place_text(struct kos_policy_decision *d, const struct policy_place *place, const char *rule,
                       const char *of)
{
    snprintf(d->rule, sizeof d->rule, "%.80s:%d %s%.36s", place->file, place->line, rule, of);
}

static const char *subject(const struct kos_policy_request *r)
{
    return r->type[0] ? r->type : "a session";
}

static void deny(struct kos_policy_decision *d, const struct kos_policy_request *r, const char *why)
{
    char peer[160];
    policy_peer_text(r, peer, sizeof peer);
    d->code = KOS_E_DENIED;
    snprintf(d->text, sizeof d->text, "%s %s %s is refused: %s (%s): change that line, then: kosctl policy reload",
             subject(r), r->direction == KOS_OUTBOUND ? "to" : "from", peer, why, d->rule);
}

static bool decide_peer(const struct kos_policy *policy, const struct kos_policy_request *r,
                        struct kos_policy_decision *d)
{
    for (size_t i = 0; i < policy->manifest_count; i++) {
        const struct policy_peer *hit = find_peer(&policy->manifests[i]->peers_block, r);
        if (!hit)
            continue;
        place_text(d, &hit->place, "peers.block ", hit->text);
        deny(d, r, "this peer is blocked");
        return true; /* peer_text stays short: who is blocked learns nothing */
    }
    for (size_t i = 0; i < policy->manifest_count; i++) {
        const struct policy_peers *allow = &policy->manifests[i]->peers_allow;
        if (!allow->present || find_peer(allow, r))
            continue;
        place_text(d, &allow->place, "peers.allow", "");
        deny(d, r, "this peer is not among those allowed");
        return true;
    }
    return false;
}

static bool decide_blocked_type(const struct kos_policy *policy, const struct kos_policy_request *r,
                                struct kos_policy_decision *d)
{
    for (size_t i = 0; r->type[0] && i < policy->manifest_count; i++) {
        const struct policy_type *hit = find_type(&policy->manifests[i]->block[r->direction - 1], r->type);
        if (!hit)
            continue;
        place_text(d, &hit->place, r->direction == KOS_OUTBOUND ? "messages.outbound.block " : "messages.block ",
                   hit->type);
        deny(d, r, "this type is blocked");
        return true;
    }
    return false;
}

static bool decide_allowed_type(const struct kos_policy *policy, const struct kos_policy_request *r,
                                struct kos_policy_decision *d)
{
    for (size_t i = 0; r->type[0] && i < policy->manifest_count; i++) {
        const struct policy_types *allow = &policy->manifests[i]->allow[r->direction - 1];
        if (!allow->present || find_type(allow, r->type))
            continue;
        place_text(d, &allow->place, r->direction == KOS_OUTBOUND ? "messages.outbound.allow" : "messages.allow", "");
        deny(d, r, "this type is not among those allowed");
        return true;
    }
    return false;
}

/* Writes the rule for the threshold, and refuses or allows. */
static void decide_score(const struct kos_policy *policy, const struct kos_policy_request *r,
                         struct kos_policy_decision *d)
{
    struct policy_threshold t = policy_threshold_of(policy, r->type[0] ? r->type : "session");
    char peer[160], id[KLP_ID_TEXT];
    double needed = t.score;
    if (t.place.file)
        snprintf(d->rule, sizeof d->rule, "%.90s:%d trust.%.32s = %g", t.place.file, t.place.line, t.type, t.score);
    else
        snprintf(d->rule, sizeof d->rule, "built-in: trust.%.40s = %g", t.type, t.score);
    if (r->agent && r->agent[0] && r->agent_trust_required > needed) {
        needed = r->agent_trust_required;
        snprintf(d->rule, sizeof d->rule, "agent %.63s: trust_required = %g", r->agent, needed);
    }
    d->score_needed = needed;
    policy_peer_text(r, peer, sizeof peer);
    if (r->score >= needed) {
        snprintf(d->text, sizeof d->text, "%s from %s is let in: it has a score of %g here and needs %g (%s)",
                 subject(r), peer, r->score, needed, d->rule);
        return;
    }
    node_text(r, id);
    double advised = needed > 8 ? needed : 8;
    d->code = KOS_E_TRUST;
    if (r->score > 0)
        snprintf(d->text, sizeof d->text,
                 "%s has a score of %g here, and %s needs %g (%s): kosctl trust klp://node.%s %g", peer, r->score,
                 subject(r), needed, d->rule, id, advised);
    else
        snprintf(d->text, sizeof d->text,
                 "%s is a stranger here (score 0, %s needs %g: %s): kosctl trust klp://node.%s %g", peer, subject(r),
                 needed, d->rule, id, advised);
    snprintf(d->peer_text, sizeof d->peer_text,
             "%s needs a trust score of %g here; ask the operator of that node to run: kosctl trust klp://node.%s %g",
             r->type[0] ? r->type : "a session", needed, id, advised);
}

/* What is larger than a whole minute's or day's worth would wait for ever. */
static void decide_size(const struct kos_policy *policy, const struct kos_policy_request *r,
                        struct kos_policy_decision *d)
{
    const struct policy_limit *rules[LIMIT_COUNT];
    policy_limits_of(policy, r, rules);
    for (int w = LIMIT_BYTES; w <= LIMIT_DAY; w++) {
        if (!rules[w] || r->size_bytes <= rules[w]->values[w])
            continue;
        unsigned long long size = r->size_bytes, most = rules[w]->values[w];
        char peer[160];
        policy_peer_text(r, peer, sizeof peer);
        policy_limit_text(rules[w], w, d->rule);
        d->code = KOS_E_LIMIT;
        snprintf(d->text, sizeof d->text,
                 "%s of %llu bytes from %s can never pass: %s (%s): raise that limit, then: kosctl policy reload",
                 subject(r), size, peer, "it is larger than the quota", d->rule);
        snprintf(d->peer_text, sizeof d->peer_text, "%s of %llu bytes is too large here; at most %llu bytes are taken",
                 subject(r), size, most);
        return;
    }
}

void kos_policy_decide(const struct kos_policy *policy, const struct kos_policy_request *request,
                       struct kos_policy_decision *ret_decision)
{
    struct kos_policy_request r = *request;
    struct kos_policy_decision *d = ret_decision;
    r.type = r.type ? r.type : "";
    r.transport = r.transport ? r.transport : "";
    *d = (struct kos_policy_decision){ .code = KOS_OK };
    snprintf(d->peer_text, sizeof d->peer_text, "the policy of this node does not allow it");
    if (decide_peer(policy, &r, d) || decide_blocked_type(policy, &r, d))
        return;
    char peer[160];
    policy_peer_text(&r, peer, sizeof peer);
    if (r.direction == KOS_INBOUND && r.type[0] && r.answers_ours) {
        snprintf(d->rule, sizeof d->rule, "built-in: answers to our own requests");
        snprintf(d->text, sizeof d->text, "%s from %s is let in: it answers a request of ours", subject(&r), peer);
    } else if (decide_allowed_type(policy, &r, d)) {
        return;
    } else if (r.direction == KOS_OUTBOUND) {
        snprintf(d->rule, sizeof d->rule, "built-in: outbound");
        snprintf(d->text, sizeof d->text, "%s to %s is let out: no manifest forbids it", subject(&r), peer);
    } else {
        decide_score(policy, &r, d);
    }
    if (d->code == KOS_OK && r.direction == KOS_INBOUND)
        decide_size(policy, &r, d);
    if (d->code == KOS_OK)
        d->peer_text[0] = 0;
}
