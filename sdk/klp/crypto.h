/* SPDX-License-Identifier: Apache-2.0
 *
 * Primitives under the protocol: digests, signing and agreement keys, and the one rule for
 * everything signed (klp(7), "Signatures"): a signature covers  tag 0x00 SHA-256(body).
 *
 * libklp keeps no state: no socket, file, clock, thread or global. What is random comes from the
 * caller as a struct klp_random. All functions may be called from any thread.
 */
#ifndef KLP_CRYPTO_H
#define KLP_CRYPTO_H

#include <kos/bytes.h>
#include <kos/err.h>

enum {
    KLP_DIGEST_LEN = 32,
    KLP_SIGNATURE_LEN = 64, /* a plain signature: Ed25519 (RFC 8032) or raw r||s with low s (P-256) */
    KLP_PUBLIC_MAX = 33,
    KLP_KEY_TEXT_MAX = 64,  /* multikey text with its NUL */
    KLP_X25519_LEN = 32,
};

struct klp_digest { uint8_t b[KLP_DIGEST_LEN]; };

/* Key algorithms. The key says its algorithm; nothing negotiates it. */
enum klp_alg { KLP_ALG_ED25519 = 1, KLP_ALG_P256 = 2 };

struct klp_public {
    int32_t alg;
    uint8_t len;                 /* 32 Ed25519, 33 P-256 (SEC 1 compressed) */
    uint8_t b[KLP_PUBLIC_MAX];   /* bytes after len are zero, so two keys compare with memcmp */
};

/* 32 bytes: the Ed25519 seed (RFC 8032 5.1.5), or the P-256 scalar, big-endian. Keep it in secret
 * memory and wipe it with klp_wipe(). */
struct klp_secret {
    int32_t alg;
    uint8_t b[32];
    uint8_t public_key[32];     /* Ed25519, when `expanded`: what a signature takes beside the seed */
    bool expanded;
};

/* Fills `out` with `len` random bytes fit for keys. `self` is handed through. */
struct klp_random {
    void (*fill)(void *self, void *out, size_t len);
    void *self;
};

void klp_wipe(void *p, size_t len);
/* Constant time for equal lengths. */
bool klp_equal(const void *a, const void *b, size_t len);

void klp_sha256(struct kos_bytes data, struct klp_digest *ret_digest);
/* SHA-256 over the concatenation of `count` pieces. */
void klp_sha256v(const struct kos_bytes *pieces, size_t count, struct klp_digest *ret_digest);
/* HMAC-SHA256 (RFC 2104) and HKDF-SHA256 (RFC 5869). klp_hkdf: KOS_E_LIMIT when len > 255 * 32. */
void klp_hmac_sha256(struct kos_bytes key, const struct kos_bytes *pieces, size_t count, uint8_t ret_mac[32]);
int32_t klp_hkdf_sha256(struct kos_bytes salt, struct kos_bytes ikm, struct kos_bytes info, uint8_t *ret_okm,
                        size_t len);

/* AES-256-GCM (NIST SP 800-38D), 96-bit nonce, 16-byte tag at the end of the ciphertext. A context
 * is bound to one key and reused for many records: making one costs more than a small record.
 * In place is allowed (in == out). Open: KOS_E_DECRYPT, and `out` holds no plaintext. */
struct klp_aead;
struct klp_aead *klp_aead_new(const uint8_t key[32]);
void klp_aead_free(struct klp_aead *aead);
int32_t klp_aead_seal(struct klp_aead *aead, const uint8_t nonce[12], struct kos_bytes ad, struct kos_bytes plain,
                      uint8_t *out /* plain.len + 16 */);
/* The same of the concatenation of the pieces, none of which lies where the output goes, except whole and in place. */
int32_t klp_aead_sealv(struct klp_aead *aead, const uint8_t nonce[12], struct kos_bytes ad,
                       const struct kos_bytes *pieces, size_t count, uint8_t *out);
int32_t klp_aead_open(struct klp_aead *aead, const uint8_t nonce[12], struct kos_bytes ad, struct kos_bytes sealed,
                      uint8_t *out /* sealed.len - 16 */);

/* X25519 (RFC 7748). Agreement with an all-zero result is refused with KOS_E_KEY. */
void klp_x25519_public(const uint8_t secret[32], uint8_t ret_public[32]);
int32_t klp_x25519(const uint8_t secret[32], const uint8_t public_key[32], uint8_t ret_shared[32]);

int32_t klp_secret_generate(int32_t alg, struct klp_random random, struct klp_secret *ret_secret);
int32_t klp_secret_public(const struct klp_secret *secret, struct klp_public *ret_public);
/* Works out beforehand what each signature would else work out anew, which is half of one (Ed25519; else nothing). */
int32_t klp_secret_expand(struct klp_secret *secret);
/* Checks that a public key may be an identity: right length, on the curve, canonical encoding, of prime
 * order (so neither of small order nor mixed with it). KOS_E_KEY. Every parser of keys in libklp has
 * called it before you see the key. */
int32_t klp_public_check(const struct klp_public *key);
/* Multikey text: multibase z (base58btc) over multicodec ed25519-pub 0xed01 or p256-pub 0x8024. */
int32_t klp_public_text(const struct klp_public *key, char ret_text[KLP_KEY_TEXT_MAX]);
int32_t klp_public_parse(struct kos_bytes text, struct klp_public *ret_key);
/* SHA-256 over the multikey text: what pre-rotation commits to. */
void klp_public_digest(const struct klp_public *key, struct klp_digest *ret_digest);
/* Same coding for X25519 public keys, multicodec 0xec01: sealing keys. */
int32_t klp_x25519_text(const uint8_t key[32], char ret_text[KLP_KEY_TEXT_MAX]);
int32_t klp_x25519_parse(struct kos_bytes text, uint8_t ret_key[32]);

/* Signs / verifies  tag 0x00 SHA-256(body). `tag` is one of the KLP_TAG_*. Verification is strict:
 * canonical S, no small-order key or R, low s for P-256. KOS_E_SIGNATURE. */
#define KLP_TAG_MESSAGE   "klp-msg/1"
#define KLP_TAG_BATCH     "klp-batch/1"
#define KLP_TAG_EVENT     "klp-event/1"
#define KLP_TAG_STATEMENT "klp-statement/1"
#define KLP_TAG_NOISE     "klp-noise/1"
#define KLP_TAG_AUDIT     "klp-audit/1"
int32_t klp_sign(const struct klp_secret *secret, const char *tag, struct kos_bytes body,
                 uint8_t ret_signature[KLP_SIGNATURE_LEN]);
int32_t klp_verify(const struct klp_public *key, const char *tag, struct kos_bytes body, struct kos_bytes signature);
/* The primitives without the rule, for test vectors and other protocols' plugins. */
int32_t klp_sign_raw(const struct klp_secret *secret, struct kos_bytes data, uint8_t ret_signature[KLP_SIGNATURE_LEN]);
int32_t klp_verify_raw(const struct klp_public *key, struct kos_bytes data, struct kos_bytes signature);

/* Text codings. Encoders write a NUL; decoders accept exactly the canonical text and nothing else:
 * KOS_E_SYNTAX, or KOS_E_LIMIT when cap is too small. `ret_len` may be NULL. Hex is lower case. */
void klp_hex(struct kos_bytes data, char *ret_text /* 2 * len + 1 */);
int32_t klp_unhex(struct kos_bytes text, uint8_t *ret_data, size_t cap, size_t *ret_len);
/* Standard base64 (RFC 4648 section 4) with padding; spare bits zero. */
size_t klp_base64(struct kos_bytes data, char *ret_text /* 4 * ((len + 2) / 3) + 1 */);
int32_t klp_unbase64(struct kos_bytes text, uint8_t *ret_data, size_t cap, size_t *ret_len);
/* Lower-case base32 (RFC 4648 section 6) without padding; spare bits zero. */
size_t klp_base32(struct kos_bytes data, char *ret_text /* (8 * len + 4) / 5 + 1 */);
int32_t klp_unbase32(struct kos_bytes text, uint8_t *ret_data, size_t cap, size_t *ret_len);
/* Base58btc, of at most KLP_BASE58_MAX bytes. klp_base58 returns the length of the text, or KOS_E_LIMIT. */
enum { KLP_BASE58_MAX = 256 };
int32_t klp_base58(struct kos_bytes data, char *ret_text, size_t cap);
int32_t klp_unbase58(struct kos_bytes text, uint8_t *ret_data, size_t cap, size_t *ret_len);

#endif
