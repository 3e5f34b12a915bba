/* SPDX-License-Identifier: Apache-2.0
 * What keys.c and keys_agents.c share. Private to trust. */
#ifndef KOS_TRUST_KEYS_PRIVATE_H
#define KOS_TRUST_KEYS_PRIVATE_H

#include <uthash.h>

#include "trust/keyfile.h"
#include "trust/keys.h"

enum { KOS_KEYS_LOG_MAX = 16 << 20 };

struct kos_identity {
    UT_hash_handle hh;                /* agents, by id */
    struct klp_id id;
    struct klp_log *log;
    struct kos_key_secrets *secrets;  /* NULL: retired, or its key file is gone */
    uint64_t event;                   /* whose key is in force */
};

struct kos_keys {
    struct kos_env *env;
    char *dir;
    struct kos_key_lock *lock;        /* NULL: not encrypted */
    struct kos_identity *node, *agents;
};

/* "DIR/agents/ID.key", malloc'ed. */
char *kos_keys_agent_path(const struct kos_keys *keys, const struct klp_id *id, const char *suffix);

void kos_identity_free(struct kos_identity *identity);
/* Fresh keys in secret memory. */
int32_t kos_key_secrets_new(struct kos_env *env, int32_t alg, struct kos_key_secrets **ret_secrets,
                            struct kos_error *ret_error);
/* The digest that the last event with a key committed to, and that event's seq. */
uint64_t kos_keys_in_force(const struct klp_log *log, struct klp_digest *ret_next);
/* An inception by these secrets, in a log of its own; delegator NULL: none. */
int32_t kos_keys_incept(struct kos_env *env, int32_t kind, const struct kos_key_secrets *secrets,
                        const struct klp_log *delegator, struct klp_log **ret_log, struct kos_error *ret_error);
/* Makes an event behind the log's head, in a copy of the log. */
int32_t kos_keys_extend(const struct klp_log *log, struct klp_event *event, const struct klp_secret *secret,
                        struct klp_log **ret_log, struct kos_error *ret_error);
int32_t kos_keys_log_write(struct kos_env *env, const char *path, const struct klp_log *log,
                           struct kos_error *ret_error);
/* Verified, of this kind, alone in its file. */
int32_t kos_keys_log_read(struct kos_env *env, const char *path, int32_t kind, struct klp_log **ret_log,
                          struct kos_error *ret_error);
/* Whether the secrets are those the log speaks of now; the current one is ready for many signatures after this. */
bool kos_keys_match(const struct klp_log *log, struct kos_key_secrets *secrets);

/* keys_agents.c: all below agents/, finishing what a crash left half done. */
int32_t kos_keys_agents_load(struct kos_keys *keys, struct kos_bytes passphrase, struct kos_error *ret_error);

#endif
