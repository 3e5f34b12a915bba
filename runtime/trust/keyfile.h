/* SPDX-License-Identifier: Apache-2.0
 *
 * One identity's secrets in a file. Private to trust. The file is one line of canonical JSON:
 *
 *   {"encrypted":false,"secrets":SECRETS,"sum":"0x..","version":1}
 *   {"box":"0x..","encrypted":true,
 *    "kdf":{"memory":bytes,"name":"argon2id","passes":n,"salt":"0x.."},"nonce":"0x..","sum":"0x..","version":1}
 *
 * SECRETS is {"alg":"ed25519"|"p256","current":"0x..","next":"0x..","noise":"0x.."}; box is its XChaCha20-Poly1305
 * under the key that Argon2id (RFC 9106) makes of the passphrase, with the text of kdf as associated data. `sum` is
 * SHA-256 over the file without that member: so a damaged file is told from a wrong passphrase.
 */
#ifndef KOS_TRUST_KEYFILE_H
#define KOS_TRUST_KEYFILE_H

#include "core/env.h"

/* libsodium's MODERATE when made; bounded when read, so that a hostile file cannot ask for all memory or time. */
enum { KOS_KDF_PASSES = 3, KOS_KDF_MEMORY = 256 << 20, KOS_KDF_PASSES_MAX = 16, KOS_KDF_MEMORY_MAX = 1 << 30 };

/* In secret memory. */
struct kos_key_secrets {
    struct klp_secret current, next;
    uint8_t noise[KLP_X25519_LEN];
};

/* What files are encrypted under, in secret memory: deriving takes most of a second, so it is done once for all. */
struct kos_key_lock {
    int64_t passes, memory;
    uint8_t salt[16];
    uint8_t key[32];
};

/* A directory 0700 or file 0600 that belongs to us and is no link; KOS_E_PERMISSION names the chmod that mends it,
 * KOS_E_NOTFOUND. `directory` says what it must be. */
int32_t kos_key_guard(struct kos_env *env, const char *path, bool directory, struct kos_error *ret_error);

int32_t kos_key_lock_new(struct kos_env *env, struct kos_bytes passphrase, int64_t passes, int64_t memory,
                         struct kos_key_lock **ret_lock, struct kos_error *ret_error);
/* lock NULL: not encrypted. All or nothing. */
int32_t kos_key_file_write(struct kos_env *env, const char *path, const struct kos_key_secrets *secrets,
                           const struct kos_key_lock *lock, struct kos_error *ret_error);
/* *lock: what another file was opened with, or NULL; made from the passphrase when needed, the caller frees it with
 * kos_secret_free. All files of a directory share it. KOS_E_PASSPHRASE, KOS_E_CORRUPT. */
int32_t kos_key_file_read(struct kos_env *env, const char *path, struct kos_bytes passphrase,
                          struct kos_key_lock **lock, struct kos_key_secrets *ret_secrets, struct kos_error *ret_error);
int32_t kos_key_file_encrypted(struct kos_env *env, const char *path, bool *ret_encrypted, struct kos_error *ret_error);

#endif
