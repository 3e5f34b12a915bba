/* SPDX-License-Identifier: Apache-2.0
 * Limits: grouped by whom they apply to, so that each group is counted once, and the lowest of each kind looked up. */
#include "trust/policy_private.h"

#include <stdlib.h>

#include "core/buf.h"

static uint64_t key_of(const struct policy_limit *limit)
{
    static const struct kos_bytes nul = { (const uint8_t *)"", 1 };
    struct klp_digest digest;
    struct kos_bytes peer = limit->peer.by_id ? kos_bytes(limit->peer.id.b, KLP_ID_LEN)
                                              : kos_bytes_str(limit->peer.any ? "*" : limit->peer.name);
    struct kos_bytes pieces[5] = { peer, nul, kos_bytes_str(limit->type), nul, kos_bytes_str(limit->transport) };
    uint64_t key = 0;
    klp_sha256v(pieces, 5, &digest);
    for (int i = 0; i < 8; i++)
        key = key << 8 | digest.b[i];
    return key;
}

static int by_key_and_place(const void *a, const void *b)
{
    const struct policy_group *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    int c = strcmp(x->pattern->place.file, y->pattern->place.file);
    return c ? c : x->pattern->place.line - y->pattern->place.line;
}

static void lower(const struct policy_limit *rules[LIMIT_COUNT], const struct policy_limit *limit, int which)
{
    if (limit && limit->values[which] && (!rules[which] || limit->values[which] < rules[which]->values[which]))
        rules[which] = limit;
}

void policy_limits_group(struct kos_policy *policy)
{
    size_t total = 0, count = 0;
    for (size_t i = 0; i < policy->manifest_count; i++)
        total += policy->manifests[i]->limit_count;
    struct policy_group *groups = policy->groups = kos_new((total + 1) * sizeof *groups);
    for (size_t i = 0; i < policy->manifest_count; i++)
        for (size_t k = 0; k < policy->manifests[i]->limit_count; k++) {
            const struct policy_limit *limit = &policy->manifests[i]->limits[k];
            groups[count++] = (struct policy_group){ .key = key_of(limit), .pattern = limit };
        }
    qsort(groups, count, sizeof *groups, by_key_and_place);
    for (size_t i = 0; i < count; i++) {
        const struct policy_limit *limit = groups[i].pattern;
        size_t last = policy->group_count;
        if (last == 0 || groups[last - 1].key != groups[i].key) {
            groups[last] = groups[i];
            policy->group_count = ++last;
        }
        for (int w = 0; w < LIMIT_COUNT; w++)
            lower(groups[last - 1].from, limit, w);
    }
}

bool policy_group_applies(const struct policy_group *group, const struct kos_policy_request *r)
{
    const struct policy_limit *limit = group->pattern;
    return policy_peer_matches(&limit->peer, r) &&
           (strcmp(limit->type, "*") == 0 || (r->type && strcmp(limit->type, r->type) == 0)) &&
           (strcmp(limit->transport, "*") == 0 || (r->transport && strcmp(limit->transport, r->transport) == 0));
}

void policy_limits_of(const struct kos_policy *policy, const struct kos_policy_request *r,
                      const struct policy_limit *ret_rules[LIMIT_COUNT])
{
    memset(ret_rules, 0, LIMIT_COUNT * sizeof *ret_rules);
    for (size_t i = 0; i < policy->group_count; i++)
        if (policy_group_applies(&policy->groups[i], r))
            for (int w = 0; w < LIMIT_COUNT; w++)
                lower(ret_rules, policy->groups[i].from[w], w);
}

void policy_limit_text(const struct policy_limit *rule, int which, char ret_text[KOS_RULE_TEXT])
{
    snprintf(ret_text, KOS_RULE_TEXT, "%.90s:%d limits.%s = %llu", rule->place.file, rule->place.line,
             kos_policy_limit_names[which], (unsigned long long)rule->values[which]);
}

void kos_policy_limits(const struct kos_policy *policy, const struct kos_policy_request *request,
                       struct kos_policy_limits *ret_limits)
{
    const struct policy_limit *rules[LIMIT_COUNT];
    struct kos_policy_limits out = { 0 };
    uint64_t *const values[LIMIT_COUNT] = { &out.messages_per_minute, &out.bytes_per_minute, &out.bytes_per_day,
                                            &out.concurrent_tasks,    &out.outbox_bytes,     &out.dedupe_entries };
    policy_limits_of(policy, request, rules);
    for (int w = LIMIT_COUNT; w-- > 0;)
        if (rules[w]) {
            *values[w] = rules[w]->values[w];
            policy_limit_text(rules[w], w, out.rule);
        }
    *ret_limits = out;
}

