/* SPDX-License-Identifier: Apache-2.0
 *
 * Identities for unit tests: secrets from a number, events from a few words. Private to libklp's tests.
 */
#ifndef KLP_LOG_TESTING_H
#define KLP_LOG_TESTING_H

#include <klp/log.h>

#include "unit.h"

#define T0 INT64_C(1781900000000)

static inline struct klp_secret t_secret(int32_t alg, uint8_t n)
{
    struct klp_secret secret = { .alg = alg };
    memset(secret.b, n, sizeof secret.b); /* below the order of P-256 for every n < 0xff */
    return secret;
}

static inline struct klp_public t_public(const struct klp_secret *secret)
{
    struct klp_public key;
    ck_assert_int_eq(klp_secret_public(secret, &key), 0);
    return key;
}

static inline struct klp_digest t_commit(const struct klp_secret *secret)
{
    struct klp_digest digest;
    struct klp_public key = t_public(secret);
    klp_public_digest(&key, &digest);
    return digest;
}

struct t_entry { uint8_t data[KLP_EVENT_MAX]; size_t len; };

static inline struct kos_bytes t_bytes(const struct t_entry *entry)
{
    return kos_bytes(entry->data, entry->len);
}

static inline void t_make(const struct klp_event *event, const struct klp_secret *secret, struct t_entry *ret_entry)
{
    struct kos_error error = { 0 };
    int32_t result = klp_event_make(event, secret, ret_entry->data, sizeof ret_entry->data, &ret_entry->len, &error);
    ck_assert_msg(result == 0, "%s: %s", kos_error_name(result), error.text);
}

/* An identity with all its secrets: `current` signs now, `next` is committed to. */
struct t_identity {
    int32_t alg;
    uint8_t counter;
    struct klp_secret current, next, recovery;
    struct klp_log *log;
};

static inline struct klp_secret t_fresh(struct t_identity *identity)
{
    return t_secret(identity->alg, identity->counter++);
}

/* An event that follows event `seq` - 1 of the log, with members that fit every type. */
static inline struct klp_event t_event(const struct klp_log *log, int32_t type, uint64_t seq)
{
    struct klp_event event = { .type = type,
                               .seq = seq,
                               .id = *klp_log_id(log),
                               .prior = klp_log_event(log, seq - 1)->digest,
                               .created = T0 + (int64_t)seq * 1000,
                               .grace_ms = KLP_GRACE_DEFAULT_MS };
    return event;
}

static inline void t_append(struct klp_log *log, const struct t_entry *entry, int32_t expected)
{
    struct kos_error error = { 0 };
    int32_t result = klp_log_append(log, t_bytes(entry), &error);
    ck_assert_msg(result == expected, "%s (%d) instead of %s (%d): %s", kos_error_name(result), result,
                  kos_error_name(expected), expected, error.text);
}

static inline void t_incept(struct t_identity *identity, int32_t kind, int32_t alg, uint8_t seed, bool recovery,
                            const struct klp_log *delegator)
{
    struct t_entry entry;
    memset(identity, 0, sizeof *identity);
    identity->alg = alg;
    identity->counter = seed;
    identity->current = t_fresh(identity);
    identity->next = t_fresh(identity);
    identity->recovery = t_fresh(identity);
    identity->log = klp_log_new();
    struct klp_event event = { .type = KLP_EVENT_INCEPTION,
                               .kind = kind,
                               .created = T0,
                               .key = t_public(&identity->current),
                               .next = t_commit(&identity->next),
                               .has_recovery = recovery };
    if (recovery)
        event.recovery = t_public(&identity->recovery);
    if (delegator) {
        event.subject = *klp_log_id(delegator);
        event.subject_digest = *klp_log_identity(delegator);
    }
    t_make(&event, &identity->current, &entry);
    t_append(identity->log, &entry, KLP_LOG_APPENDED);
}

/* A rotation at `seq` to fresh keys, not appended. The identity's secrets stay as they are. */
static inline void t_rotation(struct t_identity *identity, uint64_t seq, const struct klp_secret *signer,
                              bool by_recovery, const struct klp_secret *key, const struct klp_secret *next,
                              struct t_entry *ret_entry)
{
    struct klp_event event = t_event(identity->log, KLP_EVENT_ROTATION, seq);
    event.key = t_public(key);
    event.next = t_commit(next);
    event.by_recovery = by_recovery;
    t_make(&event, signer, ret_entry);
}

static inline void t_rotate(struct t_identity *identity)
{
    struct t_entry entry;
    struct klp_secret key = t_fresh(identity), next = t_fresh(identity);
    t_rotation(identity, klp_log_count(identity->log), &identity->next, false, &key, &next, &entry);
    t_append(identity->log, &entry, KLP_LOG_APPENDED);
    identity->current = key;
    identity->next = next;
}

static inline void t_delegation(const struct klp_log *log, uint64_t seq, const struct klp_secret *signer, uint8_t agent,
                                struct t_entry *ret_entry)
{
    struct klp_event event = t_event(log, KLP_EVENT_DELEGATION, seq);
    memset(&event.subject_digest, agent, sizeof event.subject_digest);
    memset(&event.subject, agent, sizeof event.subject);
    t_make(&event, signer, ret_entry);
}

static inline void t_delegate(struct t_identity *node, const struct klp_log *agent)
{
    struct t_entry entry;
    struct klp_event event = t_event(node->log, KLP_EVENT_DELEGATION, klp_log_count(node->log));
    event.subject = *klp_log_id(agent);
    event.subject_digest = *klp_log_identity(agent);
    t_make(&event, &node->current, &entry);
    t_append(node->log, &entry, KLP_LOG_APPENDED);
}

#endif
