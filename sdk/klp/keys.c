/* SPDX-License-Identifier: Apache-2.0
 *
 * Signing keys: Ed25519 (RFC 8032) by libsodium, P-256 (FIPS 186-4, RFC 6979) by OpenSSL; their
 * multikey text; and the one rule of what a signature covers.
 *
 * A signature is a function of key and data: libklp has no randomness of its own, and what a
 * simulated network signs must come out the same again. Ed25519 is so by design; for P-256 the
 * nonce is RFC 6979's. OpenSSL takes a chosen nonce, and raw r and s, only through its EC_KEY
 * functions, which are marked as old since 3.0.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "codec.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/obj_mac.h>
#include <sodium.h>

enum { ED25519_LEN = 32, P256_LEN = 33, SCALAR_LEN = 32, TAG_MAX = 64, MULTIKEY_MAX = 2 + KLP_PUBLIC_MAX };

/* The order of P-256's group and its half (SEC 2, 2.4.2), big-endian. */
static const uint8_t p256_order[SCALAR_LEN] = {
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
};
static const uint8_t p256_half[SCALAR_LEN] = {
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
};

/* Big-endian a < b, without a branch on what they hold. */
static bool scalar_less(const uint8_t a[SCALAR_LEN], const uint8_t b[SCALAR_LEN])
{
    unsigned borrow = 0;
    for (size_t i = SCALAR_LEN; i-- > 0;)
        borrow = ((unsigned)a[i] - b[i] - borrow) >> 8 & 1;
    return borrow != 0;
}

static bool scalar_ok(const uint8_t scalar[SCALAR_LEN])
{
    return !sodium_is_zero(scalar, SCALAR_LEN) && scalar_less(scalar, p256_order);
}

/* OpenSSL's P-256 key with the private scalar, the public point, or both. NULL when one of them is
 * not acceptable or memory is short. */
static EC_KEY *p256_key(const uint8_t *scalar, const uint8_t *point)
{
    EC_KEY *key = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    bool ok = key != NULL;
    if (ok && scalar)
        ok = scalar_ok(scalar) && EC_KEY_oct2priv(key, scalar, SCALAR_LEN) == 1;
    if (ok && point)
        ok = (point[0] == 2 || point[0] == 3) && EC_KEY_oct2key(key, point, P256_LEN, NULL) == 1;
    if (!ok) {
        EC_KEY_free(key);
        return NULL;
    }
    return key;
}

static int32_t p256_public(const uint8_t scalar[SCALAR_LEN], uint8_t ret_point[P256_LEN])
{
    EC_KEY *key = p256_key(scalar, NULL);
    if (!key)
        return KOS_E_KEY;
    const EC_GROUP *group = EC_KEY_get0_group(key);
    EC_POINT *point = EC_POINT_new(group);
    bool ok = point && EC_POINT_mul(group, point, EC_KEY_get0_private_key(key), NULL, NULL, NULL) == 1 &&
              EC_POINT_point2oct(group, point, POINT_CONVERSION_COMPRESSED, ret_point, P256_LEN, NULL) == P256_LEN;
    EC_POINT_free(point);
    EC_KEY_free(key);
    return ok ? 0 : KOS_E_NOMEM;
}

/* The nonce of RFC 6979 section 3.2 for SHA-256 and P-256, both 256 bits wide. */
static void p256_nonce(const uint8_t scalar[SCALAR_LEN], const struct klp_digest *digest, uint8_t ret_nonce[SCALAR_LEN])
{
    uint8_t k[SCALAR_LEN] = { 0 }, v[SCALAR_LEN], z[SCALAR_LEN], step = 0;
    memset(v, 1, sizeof v);
    memcpy(z, digest->b, sizeof z);
    if (!scalar_less(z, p256_order)) {
        unsigned borrow = 0;
        for (size_t i = SCALAR_LEN; i-- > 0;) {
            unsigned d = (unsigned)z[i] - p256_order[i] - borrow;
            z[i] = (uint8_t)d;
            borrow = d >> 8 & 1;
        }
    }
    struct kos_bytes state = kos_bytes(v, sizeof v);
    struct kos_bytes pieces[4] = { state, kos_bytes(&step, 1), kos_bytes(scalar, SCALAR_LEN), kos_bytes(z, sizeof z) };
    for (step = 0; step < 2; step++) {
        klp_hmac_sha256(kos_bytes(k, sizeof k), pieces, 4, k);
        klp_hmac_sha256(kos_bytes(k, sizeof k), &state, 1, v);
    }
    step = 0;
    klp_hmac_sha256(kos_bytes(k, sizeof k), &state, 1, v);
    while (!scalar_ok(v)) {
        klp_hmac_sha256(kos_bytes(k, sizeof k), pieces, 2, k);
        klp_hmac_sha256(kos_bytes(k, sizeof k), &state, 1, v);
        klp_hmac_sha256(kos_bytes(k, sizeof k), &state, 1, v);
    }
    memcpy(ret_nonce, v, SCALAR_LEN);
    klp_wipe(k, sizeof k);
    klp_wipe(v, sizeof v);
}

/* 1/k and the x coordinate of k*G, as ECDSA_do_sign_ex() wants them. */
static bool p256_prepare(const EC_GROUP *group, const uint8_t nonce[SCALAR_LEN], BIGNUM **ret_kinv, BIGNUM **ret_rp)
{
    const BIGNUM *order = EC_GROUP_get0_order(group);
    BN_CTX *ctx = BN_CTX_secure_new();
    BIGNUM *k = BN_secure_new(), *e = BN_new(), *kinv = BN_secure_new(), *rp = BN_new();
    EC_POINT *point = EC_POINT_new(group);
    bool ok = ctx && k && e && kinv && rp && point && BN_bin2bn(nonce, SCALAR_LEN, k);
    if (ok) {
        BN_set_flags(k, BN_FLG_CONSTTIME);
        /* Fermat: k^(n-2) is 1/k, in a time that tells nothing of k. */
        ok = EC_POINT_mul(group, point, k, NULL, NULL, ctx) == 1 &&
             EC_POINT_get_affine_coordinates(group, point, rp, NULL, ctx) == 1 &&
             BN_nnmod(rp, rp, order, ctx) == 1 && BN_copy(e, order) && BN_sub_word(e, 2) == 1 &&
             BN_mod_exp_mont_consttime(kinv, k, e, order, ctx, NULL) == 1;
    }
    EC_POINT_free(point);
    BN_free(e);
    BN_clear_free(k);
    BN_CTX_free(ctx);
    if (!ok) {
        BN_clear_free(kinv);
        BN_free(rp);
        return false;
    }
    *ret_kinv = kinv;
    *ret_rp = rp;
    return true;
}

static int32_t p256_sign(const uint8_t scalar[SCALAR_LEN], struct kos_bytes data,
                         uint8_t ret_signature[KLP_SIGNATURE_LEN])
{
    struct klp_digest digest;
    uint8_t nonce[SCALAR_LEN], out[KLP_SIGNATURE_LEN];
    if (!scalar_ok(scalar))
        return KOS_E_KEY;
    EC_KEY *key = p256_key(scalar, NULL);
    if (!key)
        return KOS_E_NOMEM;
    klp_sha256(data, &digest);
    p256_nonce(scalar, &digest, nonce);
    BIGNUM *kinv = NULL, *rp = NULL;
    ECDSA_SIG *sig = NULL;
    if (p256_prepare(EC_KEY_get0_group(key), nonce, &kinv, &rp))
        sig = ECDSA_do_sign_ex(digest.b, sizeof digest.b, kinv, rp, key);
    bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, SCALAR_LEN) == SCALAR_LEN &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + SCALAR_LEN, SCALAR_LEN) == SCALAR_LEN;
    if (ok && scalar_less(p256_half, out + SCALAR_LEN)) {
        unsigned borrow = 0;
        for (size_t i = SCALAR_LEN; i-- > 0;) {
            unsigned d = (unsigned)p256_order[i] - out[SCALAR_LEN + i] - borrow;
            out[SCALAR_LEN + i] = (uint8_t)d;
            borrow = d >> 8 & 1;
        }
    }
    ECDSA_SIG_free(sig);
    BN_clear_free(kinv);
    BN_free(rp);
    EC_KEY_free(key);
    klp_wipe(nonce, sizeof nonce);
    if (!ok)
        return KOS_E_NOMEM;
    memcpy(ret_signature, out, sizeof out);
    return 0;
}

static int32_t p256_verify(const uint8_t point[P256_LEN], struct kos_bytes data,
                           const uint8_t signature[KLP_SIGNATURE_LEN])
{
    const uint8_t *r = signature, *s = signature + SCALAR_LEN;
    if (!scalar_ok(r) || !scalar_ok(s) || scalar_less(p256_half, s))
        return KOS_E_SIGNATURE;
    EC_KEY *key = p256_key(NULL, point);
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *bn_r = BN_bin2bn(r, SCALAR_LEN, NULL), *bn_s = BN_bin2bn(s, SCALAR_LEN, NULL);
    bool ok = key && sig && bn_r && bn_s && ECDSA_SIG_set0(sig, bn_r, bn_s) == 1;
    if (ok) {
        struct klp_digest digest;
        klp_sha256(data, &digest);
        ok = ECDSA_do_verify(digest.b, sizeof digest.b, sig, key) == 1;
    } else {
        BN_free(bn_r);
        BN_free(bn_s);
    }
    ECDSA_SIG_free(sig);
    EC_KEY_free(key);
    return ok ? 0 : KOS_E_SIGNATURE;
}

int32_t klp_secret_generate(int32_t alg, struct klp_random random, struct klp_secret *ret_secret)
{
    struct klp_secret secret = { .alg = alg };
    if (alg != KLP_ALG_ED25519 && alg != KLP_ALG_P256)
        return KOS_E_UNSUPPORTED;
    /* A P-256 candidate fails once in 2^32: two in a row are the fault of the source. */
    for (int tries = 0; tries < 8; tries++) {
        random.fill(random.self, secret.b, sizeof secret.b);
        if (alg == KLP_ALG_ED25519 || scalar_ok(secret.b)) {
            *ret_secret = secret;
            klp_wipe(&secret, sizeof secret);
            return 0;
        }
    }
    return KOS_E_KEY;
}

int32_t klp_secret_public(const struct klp_secret *secret, struct klp_public *ret_public)
{
    struct klp_public key = { .alg = secret->alg };
    if (secret->alg == KLP_ALG_ED25519) {
        uint8_t expanded[crypto_sign_SECRETKEYBYTES];
        crypto_sign_seed_keypair(key.b, expanded, secret->b);
        klp_wipe(expanded, sizeof expanded);
        key.len = ED25519_LEN;
    } else if (secret->alg == KLP_ALG_P256) {
        int32_t err = p256_public(secret->b, key.b);
        if (err < 0)
            return err;
        key.len = P256_LEN;
    } else {
        return KOS_E_KEY;
    }
    *ret_public = key;
    return 0;
}

int32_t klp_public_check(const struct klp_public *key)
{
    if (key->alg == KLP_ALG_ED25519) {
        if (key->len != ED25519_LEN || key->b[ED25519_LEN] != 0 || !crypto_core_ed25519_is_valid_point(key->b))
            return KOS_E_KEY;
        return 0;
    }
    if (key->alg != KLP_ALG_P256 || key->len != P256_LEN)
        return KOS_E_KEY;
    EC_KEY *point = p256_key(NULL, key->b);
    EC_KEY_free(point);
    return point ? 0 : KOS_E_KEY;
}

/* Unsigned varints of the multicodec table: ed25519-pub 0xed, p256-pub 0x1200, x25519-pub 0xec. */
static const uint8_t codec_ed25519[2] = { 0xed, 0x01 }, codec_p256[2] = { 0x80, 0x24 },
    codec_x25519[2] = { 0xec, 0x01 };

static int32_t multikey_text(const uint8_t codec[2], const uint8_t *key, size_t len, char ret_text[KLP_KEY_TEXT_MAX])
{
    uint8_t raw[MULTIKEY_MAX];
    memcpy(raw, codec, 2);
    memcpy(raw + 2, key, len);
    char text[KLP_KEY_TEXT_MAX] = "z";
    int32_t n = klp_base58(kos_bytes(raw, 2 + len), text + 1, sizeof text - 1);
    if (n < 0)
        return n;
    memcpy(ret_text, text, (size_t)n + 2);
    return 0;
}

static int32_t multikey_parse(struct kos_bytes text, uint8_t ret_raw[MULTIKEY_MAX], size_t *ret_len)
{
    if (text.len < 2 || text.len >= KLP_KEY_TEXT_MAX || text.data[0] != 'z')
        return KOS_E_KEY;
    int32_t err = klp_unbase58(kos_bytes(text.data + 1, text.len - 1), ret_raw, MULTIKEY_MAX, ret_len);
    return err < 0 ? KOS_E_KEY : 0;
}

int32_t klp_public_text(const struct klp_public *key, char ret_text[KLP_KEY_TEXT_MAX])
{
    if (key->alg == KLP_ALG_ED25519 && key->len == ED25519_LEN)
        return multikey_text(codec_ed25519, key->b, ED25519_LEN, ret_text);
    if (key->alg == KLP_ALG_P256 && key->len == P256_LEN)
        return multikey_text(codec_p256, key->b, P256_LEN, ret_text);
    return KOS_E_KEY;
}

int32_t klp_public_parse(struct kos_bytes text, struct klp_public *ret_key)
{
    uint8_t raw[MULTIKEY_MAX];
    size_t len;
    struct klp_public key = { 0 };
    if (multikey_parse(text, raw, &len) < 0 || len < 2)
        return KOS_E_KEY;
    if (memcmp(raw, codec_ed25519, 2) == 0)
        key.alg = KLP_ALG_ED25519;
    else if (memcmp(raw, codec_p256, 2) == 0)
        key.alg = KLP_ALG_P256;
    else
        return KOS_E_KEY;
    key.len = (uint8_t)(len - 2);
    memcpy(key.b, raw + 2, len - 2);
    int32_t err = klp_public_check(&key);
    if (err < 0)
        return err;
    *ret_key = key;
    return 0;
}

void klp_public_digest(const struct klp_public *key, struct klp_digest *ret_digest)
{
    char text[KLP_KEY_TEXT_MAX] = "";
    klp_public_text(key, text);
    klp_sha256(kos_bytes_str(text), ret_digest);
}

int32_t klp_x25519_text(const uint8_t key[32], char ret_text[KLP_KEY_TEXT_MAX])
{
    return multikey_text(codec_x25519, key, KLP_X25519_LEN, ret_text);
}

int32_t klp_x25519_parse(struct kos_bytes text, uint8_t ret_key[32])
{
    uint8_t raw[MULTIKEY_MAX];
    size_t len;
    if (multikey_parse(text, raw, &len) < 0 || len != 2 + KLP_X25519_LEN || memcmp(raw, codec_x25519, 2) != 0)
        return KOS_E_KEY;
    memcpy(ret_key, raw + 2, KLP_X25519_LEN);
    return 0;
}

int32_t klp_secret_expand(struct klp_secret *secret)
{
    struct klp_public key;
    if (secret->alg != KLP_ALG_ED25519)
        return 0;
    int32_t err = klp_secret_public(secret, &key);
    if (err < 0)
        return err;
    memcpy(secret->public_key, key.b, sizeof secret->public_key);
    secret->expanded = true;
    return 0;
}

int32_t klp_sign_raw(const struct klp_secret *secret, struct kos_bytes data, uint8_t ret_signature[KLP_SIGNATURE_LEN])
{
    if (secret->alg == KLP_ALG_P256)
        return p256_sign(secret->b, data, ret_signature);
    if (secret->alg != KLP_ALG_ED25519)
        return KOS_E_KEY;
    uint8_t expanded[crypto_sign_SECRETKEYBYTES], public_key[crypto_sign_PUBLICKEYBYTES];
    if (secret->expanded) {
        /* libsodium's secret key is the seed and the public key behind it. */
        memcpy(expanded, secret->b, sizeof secret->b);
        memcpy(expanded + sizeof secret->b, secret->public_key, sizeof secret->public_key);
    } else {
        crypto_sign_seed_keypair(public_key, expanded, secret->b);
    }
    crypto_sign_detached(ret_signature, NULL, data.data, data.len, expanded);
    klp_wipe(expanded, sizeof expanded);
    return 0;
}

int32_t klp_verify_raw(const struct klp_public *key, struct kos_bytes data, struct kos_bytes signature)
{
    if (signature.len != KLP_SIGNATURE_LEN)
        return KOS_E_SIGNATURE;
    if (key->alg == KLP_ALG_P256 && key->len == P256_LEN)
        return p256_verify(key->b, data, signature.data);
    if (key->alg != KLP_ALG_ED25519 || key->len != ED25519_LEN)
        return KOS_E_KEY;
    /* libsodium refuses S >= L, and keys and R of small order or not in their shortest form. */
    return crypto_sign_verify_detached(signature.data, data.data, data.len, key->b) == 0 ? 0 : KOS_E_SIGNATURE;
}

/* tag 0x00 SHA-256(body), at most TAG_MAX + 1 + 32 bytes. */
static int32_t signed_bytes(const char *tag, struct kos_bytes body, uint8_t ret_bytes[TAG_MAX + 1 + KLP_DIGEST_LEN])
{
    size_t len = strnlen(tag, TAG_MAX + 1);
    struct klp_digest digest;
    if (len == 0 || len > TAG_MAX)
        return KOS_E_INVALID;
    memcpy(ret_bytes, tag, len);
    ret_bytes[len] = 0;
    klp_sha256(body, &digest);
    memcpy(ret_bytes + len + 1, digest.b, sizeof digest.b);
    return (int32_t)(len + 1 + sizeof digest.b);
}

int32_t klp_sign(const struct klp_secret *secret, const char *tag, struct kos_bytes body,
                 uint8_t ret_signature[KLP_SIGNATURE_LEN])
{
    uint8_t bytes[TAG_MAX + 1 + KLP_DIGEST_LEN];
    int32_t len = signed_bytes(tag, body, bytes);
    return len < 0 ? len : klp_sign_raw(secret, kos_bytes(bytes, (size_t)len), ret_signature);
}

int32_t klp_verify(const struct klp_public *key, const char *tag, struct kos_bytes body, struct kos_bytes signature)
{
    uint8_t bytes[TAG_MAX + 1 + KLP_DIGEST_LEN];
    int32_t len = signed_bytes(tag, body, bytes);
    return len < 0 ? len : klp_verify_raw(key, kos_bytes(bytes, (size_t)len), signature);
}
