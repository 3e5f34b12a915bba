/* SPDX-License-Identifier: Apache-2.0
 *
 * Digests, HMAC, HKDF, AES-256-GCM and X25519. What is used from which library, and why: SHA-256 and
 * AES from OpenSSL for the processor's instructions, X25519 from libsodium because it needs no
 * allocation and refuses points of small order. Nothing here needs sodium_init().
 */

/* SHA256_Init() and its kin are marked as old since OpenSSL 3.0. Their successors fetch an algorithm
 * and allocate a context for each digest, which costs more than hashing a small record and can fail;
 * to keep a fetched one would need a global, and libklp has none. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "codec.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sodium.h>
#include <stdlib.h>

enum { AEAD_NONCE = 12, AEAD_TAG = 16, SHA256_BLOCK = 64 };

void klp_wipe(void *p, size_t len)
{
    OPENSSL_cleanse(p, len);
}

bool klp_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

void klp_sha256v(const struct kos_bytes *pieces, size_t count, struct klp_digest *ret_digest)
{
    SHA256_CTX ctx;
    SHA256_Init(&ctx);
    for (size_t i = 0; i < count; i++)
        if (pieces[i].len)
            SHA256_Update(&ctx, pieces[i].data, pieces[i].len);
    SHA256_Final(ret_digest->b, &ctx);
    klp_wipe(&ctx, sizeof ctx);
}

void klp_sha256(struct kos_bytes data, struct klp_digest *ret_digest)
{
    klp_sha256v(&data, 1, ret_digest);
}

void klp_hmac_sha256(struct kos_bytes key, const struct kos_bytes *pieces, size_t count, uint8_t ret_mac[32])
{
    uint8_t block[SHA256_BLOCK] = { 0 }, pad[SHA256_BLOCK];
    struct klp_digest digest;
    if (key.len > sizeof block) {
        klp_sha256(key, &digest);
        memcpy(block, digest.b, sizeof digest.b);
    } else if (key.len) {
        memcpy(block, key.data, key.len);
    }
    SHA256_CTX ctx;
    for (size_t i = 0; i < sizeof pad; i++)
        pad[i] = block[i] ^ 0x36;
    SHA256_Init(&ctx);
    SHA256_Update(&ctx, pad, sizeof pad);
    for (size_t i = 0; i < count; i++)
        if (pieces[i].len)
            SHA256_Update(&ctx, pieces[i].data, pieces[i].len);
    SHA256_Final(digest.b, &ctx);
    for (size_t i = 0; i < sizeof pad; i++)
        pad[i] = block[i] ^ 0x5c;
    SHA256_Init(&ctx);
    SHA256_Update(&ctx, pad, sizeof pad);
    SHA256_Update(&ctx, digest.b, sizeof digest.b);
    SHA256_Final(ret_mac, &ctx);
    klp_wipe(&ctx, sizeof ctx);
    klp_wipe(block, sizeof block);
    klp_wipe(pad, sizeof pad);
    klp_wipe(&digest, sizeof digest);
}

int32_t klp_hkdf_sha256(struct kos_bytes salt, struct kos_bytes ikm, struct kos_bytes info, uint8_t *ret_okm,
                        size_t len)
{
    if (len > 255 * KLP_DIGEST_LEN)
        return KOS_E_LIMIT;
    uint8_t prk[KLP_DIGEST_LEN], t[KLP_DIGEST_LEN];
    klp_hmac_sha256(salt, &ikm, 1, prk); /* an absent salt is 32 zero bytes: the same as an empty key */
    for (size_t done = 0, i = 1; done < len; i++) {
        uint8_t counter = (uint8_t)i;
        struct kos_bytes pieces[3] = { kos_bytes(t, i > 1 ? sizeof t : 0), info, kos_bytes(&counter, 1) };
        klp_hmac_sha256(kos_bytes(prk, sizeof prk), pieces, 3, t);
        size_t n = len - done < sizeof t ? len - done : sizeof t;
        memcpy(ret_okm + done, t, n);
        done += n;
    }
    klp_wipe(prk, sizeof prk);
    klp_wipe(t, sizeof t);
    return 0;
}

struct klp_aead {
    EVP_CIPHER_CTX *ctx;
};

struct klp_aead *klp_aead_new(const uint8_t key[32])
{
    struct klp_aead *aead = malloc(sizeof *aead);
    if (!aead)
        return NULL;
    aead->ctx = EVP_CIPHER_CTX_new();
    if (!aead->ctx || EVP_CipherInit_ex(aead->ctx, EVP_aes_256_gcm(), NULL, key, NULL, 1) != 1) {
        klp_aead_free(aead);
        return NULL;
    }
    return aead;
}

void klp_aead_free(struct klp_aead *aead)
{
    if (!aead)
        return;
    EVP_CIPHER_CTX_free(aead->ctx); /* wipes the key schedule */
    free(aead);
}

/* Nonce, associated data, text: everything but the tag. */
static bool aead_run(struct klp_aead *aead, int encrypt, const uint8_t *nonce, struct kos_bytes ad,
                     const struct kos_bytes *pieces, size_t count, uint8_t *out)
{
    int n;
    if (EVP_CipherInit_ex(aead->ctx, NULL, NULL, NULL, nonce, encrypt) != 1)
        return false;
    if (ad.len && EVP_CipherUpdate(aead->ctx, NULL, &n, ad.data, (int)ad.len) != 1)
        return false;
    for (size_t i = 0; i < count; out += pieces[i++].len)
        if (pieces[i].len && (EVP_CipherUpdate(aead->ctx, out, &n, pieces[i].data, (int)pieces[i].len) != 1 ||
                              n != (int)pieces[i].len))
            return false;
    return true;
}

int32_t klp_aead_sealv(struct klp_aead *aead, const uint8_t nonce[12], struct kos_bytes ad,
                       const struct kos_bytes *pieces, size_t count, uint8_t *out)
{
    uint8_t none[AEAD_TAG];
    size_t len = 0;
    int n;
    for (size_t i = 0; i < count; len += pieces[i++].len)
        if (pieces[i].len > INT_MAX - AEAD_TAG - len)
            return KOS_E_LIMIT;
    if (ad.len > INT_MAX)
        return KOS_E_LIMIT;
    if (!aead_run(aead, 1, nonce, ad, pieces, count, out) || EVP_CipherFinal_ex(aead->ctx, none, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(aead->ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG, out + len) != 1)
        return KOS_E_INTERNAL;
    return 0;
}

int32_t klp_aead_seal(struct klp_aead *aead, const uint8_t nonce[12], struct kos_bytes ad, struct kos_bytes plain,
                      uint8_t *out)
{
    return klp_aead_sealv(aead, nonce, ad, &plain, 1, out);
}

int32_t klp_aead_open(struct klp_aead *aead, const uint8_t nonce[12], struct kos_bytes ad, struct kos_bytes sealed,
                      uint8_t *out)
{
    uint8_t none[AEAD_TAG], tag[AEAD_TAG];
    int n;
    if (sealed.len < AEAD_TAG)
        return KOS_E_DECRYPT;
    if (sealed.len > INT_MAX || ad.len > INT_MAX)
        return KOS_E_LIMIT;
    struct kos_bytes cipher = kos_bytes(sealed.data, sealed.len - AEAD_TAG);
    memcpy(tag, sealed.data + cipher.len, sizeof tag);
    if (!aead_run(aead, 0, nonce, ad, &cipher, 1, out) ||
        EVP_CIPHER_CTX_ctrl(aead->ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG, tag) != 1 ||
        EVP_CipherFinal_ex(aead->ctx, none, &n) != 1) {
        if (cipher.len)
            klp_wipe(out, cipher.len);
        return KOS_E_DECRYPT;
    }
    return 0;
}

/* The library leaves its clamped copy of the secret on the stack. */
enum { STACK_USED = 4096 };

void klp_x25519_public(const uint8_t secret[32], uint8_t ret_public[32])
{
    crypto_scalarmult_curve25519_base(ret_public, secret);
    sodium_stackzero(STACK_USED);
}

int32_t klp_x25519(const uint8_t secret[32], const uint8_t public_key[32], uint8_t ret_shared[32])
{
    uint8_t shared[KLP_X25519_LEN];
    int failed = crypto_scalarmult_curve25519(shared, secret, public_key);
    failed |= sodium_is_zero(shared, sizeof shared);
    if (!failed)
        memcpy(ret_shared, shared, sizeof shared);
    klp_wipe(shared, sizeof shared);
    sodium_stackzero(STACK_USED);
    return failed ? KOS_E_KEY : 0;
}
