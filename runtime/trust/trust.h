/* SPDX-License-Identifier: Apache-2.0
 *
 * What this node knows and thinks of identities: its own (keys.h), others' key event logs, the operator's scores and
 * petnames, statements, the policy in force (policy.h), quotas. Everything learned is in the store.
 */
#ifndef KOS_TRUST_TRUST_H
#define KOS_TRUST_TRUST_H

#include <klp/address.h>
#include <klp/statement.h>
#include "store/store.h"
#include "trust/keys.h"
#include "trust/policy.h"

enum { KOS_TRUST_LOGS_MAX = 100000, KOS_TRUST_CACHE_MAX = 4096 };

struct kos_trust;

/* keys stay the caller's; policy is referenced. */
int32_t kos_trust_new(struct kos_env *env, struct kos_store *store, struct kos_keys *keys, struct kos_policy *policy,
                      struct kos_trust **ret_trust, struct kos_error *ret_error);
void kos_trust_free(struct kos_trust *trust);
struct kos_keys *kos_trust_keys(struct kos_trust *trust);
struct kos_policy *kos_trust_policy(struct kos_trust *trust);
void kos_trust_set_policy(struct kos_trust *trust, struct kos_policy *policy);   /* buckets already filled stay */

/* Logs of others (and our own). NULL when unknown. Valid until the end of the turn. */
const struct klp_log *kos_trust_log(struct kos_trust *trust, const struct klp_id *id);
/* Takes a log's text (any part of it that fits), verifies, stores what is new in `tx`. Returns how many events were
 * new. Verification happens here, on the loop: logs are short; callers bound their number per peer and minute.
 * Duplicity freezes, is logged, and its proof is stored apart from `tx`: KOS_E_DUPLICITY. What came before an error in
 * the text is in `tx`. Events of our own identities that we did not sign are KOS_E_DUPLICITY too. */
int32_t kos_trust_learn(struct kos_trust *trust, struct kos_tx *tx, struct kos_bytes log_text, struct klp_id *ret_id,
                        struct kos_error *ret_error);
/* Highest statement of (issuer, kind) seen; older ones refused KOS_E_STALE. Verified against the issuer's log. */
int32_t kos_trust_statement_take(struct kos_trust *trust, struct kos_tx *tx, struct kos_bytes text,
                                 struct klp_statement *ret_statement, struct kos_error *ret_error);
int32_t kos_trust_statement_get(struct kos_trust *trust, const struct klp_id *issuer, const char *kind,
                                uint8_t **ret_text, size_t *ret_len);

/* The operator's word. identity: the full digest, pinned with the score when the log is known (all zero: not yet). */
struct kos_trust_entry {
    struct klp_id id;
    struct klp_digest identity;
    double score;                    /* 0 to 10 */
    char name[KLP_NAME_MAX + 1];     /* petname, "" none */
    int64_t since_ms;
};
enum { KOS_SCORE_DEFAULT = 8, KOS_SCORE_MAX = 10 };
int32_t kos_trust_set(struct kos_trust *trust, struct kos_tx *tx, const struct klp_id *id, double score,
                      struct kos_error *ret_error);
/* Takes back score and petname. KOS_E_NOTFOUND when there was neither. */
int32_t kos_trust_unset(struct kos_trust *trust, struct kos_tx *tx, const struct klp_id *id);
void kos_trust_list(struct kos_trust *trust, void (*each)(void *arg, const struct kos_trust_entry *entry), void *arg);
/* 0 for strangers, and for what is revoked or frozen. An agent without a word of its own has its delegating node's
 * score: the node's log must hold the delegation. Our own identities have 10. */
double kos_trust_score(struct kos_trust *trust, const struct klp_id *id);
/* Petnames: one id a name and one name an id; a changed mapping is refused with KOS_E_EXISTS naming both ids. */
int32_t kos_trust_name_set(struct kos_trust *trust, struct kos_tx *tx, const char *name, const struct klp_id *id,
                           struct kos_error *ret_error);
int32_t kos_trust_name_get(struct kos_trust *trust, const char *name, struct klp_id *ret_id);
const char *kos_trust_name_of(struct kos_trust *trust, const struct klp_id *id);                    /* "" when none */

/* Finds what a person typed, among all known ids (own, logs, words, petnames): id, did, hex prefix, name, klp:// or
 * agent:// address. KOS_E_NOTFOUND, or KOS_E_INVALID naming the candidates when a prefix is not unique. */
int32_t kos_trust_find(struct kos_trust *trust, const char *text, struct klp_id *ret_id, struct kos_error *ret_error);

/* Decide, with score and names filled in from what is known here; then count against quotas. `request->peer` and what
 * only the caller knows must be set. take: KOS_E_QUOTA with the limit's rule and when to try again in decision->text.
 */
void kos_trust_decide(struct kos_trust *trust, struct kos_policy_request *request,
                      struct kos_policy_decision *ret_decision);
/* Asks all quotas that apply, then charges them; nothing is charged when one refuses. An agent counts as its node:
 * `request` as kos_trust_decide left it. */
int32_t kos_trust_quota_take(struct kos_trust *trust, const struct kos_policy_request *request,
                             struct kos_policy_decision *ret_decision);
/* concurrent_tasks: takes a place when a task of this peer begins, KOS_E_QUOTA when there is none, and gives it back
 * when it ends, with the same peer, host, type and transport. */
int32_t kos_trust_tasks_take(struct kos_trust *trust, const struct kos_policy_request *request,
                             struct kos_policy_decision *ret_decision);
void kos_trust_tasks_give(struct kos_trust *trust, const struct kos_policy_request *request);

/* Of a store that no node has open (kos_store_check): logs verify, statements are signed, names lead both ways. */
int32_t kos_trust_check(struct kos_store *store, const struct kos_store_checker *checker, struct kos_error *ret_error);

#endif
