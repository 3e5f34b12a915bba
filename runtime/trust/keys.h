/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets and logs of this instance's own identities, at rest and in memory.
 *
 *   keys/                 0700
 *   keys/node.key         0600  secrets: current, next, noise static; JSON, or that encrypted under a passphrase
 *   keys/node.log         0600  key event log, text
 *   keys/agents/ID.key, ID.log
 *   keys/secrets/...            plugins' secrets
 *
 * Encryption: Argon2id (libsodium crypto_pwhash, parameters in the file) and XChaCha20-Poly1305 secretbox form; a wrong
 * passphrase is KOS_E_PASSPHRASE, a damaged file KOS_E_CORRUPT with its name. Secrets live in secret memory.
 */
#ifndef KOS_TRUST_KEYS_H
#define KOS_TRUST_KEYS_H

#include <klp/log.h>
#include "core/env.h"

struct kos_keys;       /* all identities below one keys/ directory */
struct kos_identity;   /* one of them, owned by kos_keys */

/* Makes directory, node secrets and inception. passphrase empty: not encrypted. KOS_E_EXISTS when there is a node
 * already; on failure nothing is left behind. `delegator` etc. are filled for agents by kos_keys_agent_new. */
int32_t kos_keys_create(struct kos_env *env, const char *dir, int32_t alg, struct kos_bytes passphrase,
                        struct kos_error *ret_error);
/* Refuses a directory or file that others may read (mode & 077), is a symlink, or is not owned by this user or root:
 * KOS_E_PERMISSION names it and the chmod that mends it. */
int32_t kos_keys_open(struct kos_env *env, const char *dir, struct kos_bytes passphrase, struct kos_keys **ret_keys,
                      struct kos_error *ret_error);
void kos_keys_close(struct kos_keys *keys);
/* Whether the key file says it is encrypted (so that a passphrase must be asked for). */
int32_t kos_keys_encrypted(struct kos_env *env, const char *dir, bool *ret_encrypted, struct kos_error *ret_error);

struct kos_identity *kos_keys_node(struct kos_keys *keys);
struct kos_identity *kos_keys_find(struct kos_keys *keys, const struct klp_id *id);    /* node or agent; NULL */
/* The node, then its agents, retired ones too. */
void kos_keys_each(struct kos_keys *keys, void (*each)(void *arg, const struct kos_identity *identity), void *arg);
/* Makes an agent's identity: inception that names the node as delegator, and the node's delegation event; both written
 * before it returns. */
int32_t kos_keys_agent_new(struct kos_keys *keys, struct kos_identity **ret_identity, struct kos_error *ret_error);
/* Revokes the agent's log (with its next key) and destroys its secrets; the log stays. */
int32_t kos_keys_agent_retire(struct kos_keys *keys, const struct klp_id *id, struct kos_error *ret_error);

const struct klp_id *kos_identity_id(const struct kos_identity *identity);
const struct klp_log *kos_identity_log(const struct kos_identity *identity);
/* The event whose key signs now: what messages name. */
uint64_t kos_identity_event(const struct kos_identity *identity);
int32_t kos_identity_sign(const struct kos_identity *identity, const char *tag, struct kos_bytes body,
                          uint8_t ret_signature[KLP_SIGNATURE_LEN]);
/* The current secret: for klp_batch_sign and klp_proof_make on a worker. Valid while the identity is; never copied.
 * NULL for an agent that is retired. */
const struct klp_secret *kos_identity_secret(const struct kos_identity *identity);
/* The node's long-lived X25519 key of Noise sessions. */
const uint8_t *kos_keys_noise_secret(const struct kos_keys *keys);

#endif
