/* SPDX-License-Identifier: Apache-2.0
 * What this node knows of identities, put together; and the question whether something may be, with all filled in that
 * is known here. */
#include "trust/trust_private.h"

#include <stdlib.h>

#include "core/buf.h"

void trust_put_u64(uint8_t *out, uint64_t number)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(number >> (56 - 8 * i));
}

uint64_t trust_get_u64(const uint8_t *data)
{
    uint64_t number = 0;
    for (int i = 0; i < 8; i++)
        number = number << 8 | data[i];
    return number;
}

/* Logs that the cache let go during a turn may still be in use until it ends. */
static void turn_ended(struct kos_turn_end *hook)
{
    struct kos_trust *trust = (struct kos_trust *)(void *)((char *)hook - offsetof(struct kos_trust, turn_end));
    while (trust->dropped) {
        struct trust_log *entry = trust->dropped;
        trust->dropped = entry->next;
        klp_log_free(entry->log);
        free(entry);
    }
}

int32_t kos_trust_new(struct kos_env *env, struct kos_store *store, struct kos_keys *keys, struct kos_policy *policy,
                      struct kos_trust **ret_trust, struct kos_error *ret_error)
{
    (void)ret_error;
    struct kos_trust *trust = kos_new(sizeof *trust);
    trust->env = env;
    trust->store = store;
    trust->keys = keys;
    trust->policy = kos_policy_ref(policy);
    trust->logs_max = KOS_TRUST_LOGS_MAX;
    trust->cache_max = KOS_TRUST_CACHE_MAX;
    trust->said = kos_log_limit_new(env, 60000);
    trust->turn_end = (struct kos_turn_end){ .run = turn_ended, .order = 90 };
    env->ops->turn_end_add(env, &trust->turn_end);
    *ret_trust = trust;
    return KOS_OK;
}

void kos_trust_free(struct kos_trust *trust)
{
    if (!trust)
        return;
    trust->env->ops->turn_end_remove(trust->env, &trust->turn_end);
    trust_quota_fini(trust);
    trust_logs_fini(trust);
    turn_ended(&trust->turn_end);
    struct trust_word *word, *next;
    HASH_ITER(hh, trust->words, word, next) {
        HASH_DEL(trust->words, word);
        free(word);
    }
    kos_log_limit_free(trust->said);
    kos_policy_unref(trust->policy);
    free(trust);
}

struct kos_keys *kos_trust_keys(struct kos_trust *trust)
{
    return trust->keys;
}

struct kos_policy *kos_trust_policy(struct kos_trust *trust)
{
    return trust->policy;
}

void kos_trust_set_policy(struct kos_trust *trust, struct kos_policy *policy)
{
    kos_policy_ref(policy);
    kos_policy_unref(trust->policy);
    trust->policy = policy;
}

int32_t trust_read(struct kos_trust *trust, const char *space, struct kos_bytes key, uint8_t **ret_value, size_t *ret_len)
{
    int32_t rc = kos_store_get(trust->store, space, key, ret_value, ret_len);
    if (rc < 0 && rc != KOS_E_NOTFOUND)
        trust->unread = rc;
    return rc;
}

void trust_refuse_unread(struct kos_trust *trust, struct kos_policy_decision *d)
{
    memset(d, 0, sizeof *d);
    d->code = KOS_E_BUSY;
    d->retry_ms = 1000;
    snprintf(d->text, sizeof d->text, "what this node knows of the peer cannot be read from its store now: %s",
             kos_error_text(trust->unread));
    snprintf(d->peer_text, sizeof d->peer_text, "this node cannot read its store now");
}

void kos_trust_decide(struct kos_trust *trust, struct kos_policy_request *request,
                      struct kos_policy_decision *ret_decision)
{
    struct klp_id host;
    trust->unread = KOS_OK;
    request->score = kos_trust_score(trust, &request->peer);
    request->peer_name = kos_trust_name_of(trust, &request->peer);
    request->host_name = "";
    memset(&request->host, 0, sizeof request->host);
    if (trust_host_of(trust, &request->peer, &host)) {
        request->host = host;
        request->host_name = kos_trust_name_of(trust, &host);
    }
    kos_policy_decide(trust->policy, request, ret_decision);
    if (trust->unread < 0)
        trust_refuse_unread(trust, ret_decision);
}
