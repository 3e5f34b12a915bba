/* SPDX-License-Identifier: Apache-2.0
 * What the files behind trust.h share. Private to trust.
 *
 * The store is the truth: words, names and statements are read from it each time, so what a transaction took back was
 * never seen. Only parsed logs and quotas are kept in memory.
 *
 * Spaces:
 *   log        id -> inception entry: one key a log, so that counting keys counts logs
 *   event      id, u64 seq -> entry; seq 2^64-1: the other side of a duplicity
 *   word       id -> identity (32), u64 score * 1000, u64 since_ms
 *   name       "n" name -> id;  "i" id -> name
 *   statement  issuer, kind -> text
 *   quota      id, u64 rule -> u64 day, u64 bytes
 * Numbers are big-endian.
 */
#ifndef KOS_TRUST_TRUST_PRIVATE_H
#define KOS_TRUST_TRUST_PRIVATE_H

#include <uthash.h>

#include "trust/policy_private.h"
#include "trust/trust.h"

enum { TRUST_STATEMENT_KINDS_MAX = 32, TRUST_BUCKETS_MAX = 65536, TRUST_CANDIDATES_MAX = 3 };

/* A log of somebody else, parsed. The list of the table is in order of use. */
struct trust_log {
    UT_hash_handle hh;
    struct klp_id id;
    struct klp_log *log;
    struct trust_log *next;    /* among those to be freed at the end of the turn */
    /* An agent's: what its node's log said when it ended with node_head. Looking for a delegation reads that log
     * through, and every message of an agent asks. */
    struct klp_digest node_head;
    uint64_t node_count;
    bool delegated;
};

struct trust_word {
    UT_hash_handle hh;
    char text[];
};

struct trust_bucket;

struct kos_trust {
    struct kos_env *env;
    struct kos_store *store;
    struct kos_keys *keys;
    struct kos_policy *policy;
    struct trust_log *logs, *dropped;
    size_t logs_max, cache_max;      /* KOS_TRUST_LOGS_MAX, KOS_TRUST_CACHE_MAX; tests lower them */
    struct kos_turn_end turn_end;
    struct trust_word *words;        /* petnames handed out, so that they stay where they are */
    struct trust_bucket *buckets;    /* in order of use */
    struct kos_timer *flush;
    bool flush_set;
    uint64_t cleaned_day;            /* when days gone by were last deleted */
    struct kos_log_limit *said;
    int32_t unread;                  /* what a read failed with, other than that nothing is there; who asks sets it to 0 */
};

static inline struct kos_bytes trust_id_bytes(const struct klp_id *id) { return kos_bytes(id->b, sizeof id->b); }
void trust_put_u64(uint8_t *out, uint64_t number);
uint64_t trust_get_u64(const uint8_t *data);

/* trust.c: what is in the store. What cannot be read is not what is not there: a revocation or a word would be gone. */
int32_t trust_read(struct kos_trust *trust, const char *space, struct kos_bytes key, uint8_t **ret_value, size_t *ret_len);

void trust_refuse_unread(struct kos_trust *trust, struct kos_policy_decision *d);

/* logs.c */
void trust_logs_fini(struct kos_trust *trust);
/* Whether somebody told apart from a stranger by the operator is concerned: such logs are not evicted. */
bool trust_is_kept(struct kos_trust *trust, const struct klp_id *id);
/* The node that delegates an agent, when its log is known, says so, and is neither revoked nor frozen. */
bool trust_host_of(struct kos_trust *trust, const struct klp_id *id, struct klp_id *ret_node);

/* scores.c */
/* Pins the identity of a word that was given before the log was known. */
void trust_pin(struct kos_trust *trust, struct kos_tx *tx, const struct klp_log *log);

/* statements.c: drops those of `log`'s identity that no longer verify. */
void trust_statements_recheck(struct kos_trust *trust, struct kos_tx *tx, const struct klp_log *log);

/* quota.c */
void trust_quota_fini(struct kos_trust *trust);

#endif
