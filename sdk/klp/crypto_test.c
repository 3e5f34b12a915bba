/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of the primitives' own rules; the published vectors run in tests/vectors.
 */
#include <klp/crypto.h>

#include "unit.h"

static struct kos_bytes s(const char *text)
{
    return kos_bytes_str(text);
}

static void unhex(const char *text, uint8_t *out, size_t len)
{
    size_t n;
    ck_assert_int_eq(klp_unhex(s(text), out, len, &n), 0);
    ck_assert_uint_eq(n, len);
}

/* A generator for tests: reproducible, different at each call. */
static void xorshift(void *self, void *out, size_t len)
{
    uint64_t *x = self;
    for (size_t i = 0; i < len; i++) {
        *x ^= *x << 13;
        *x ^= *x >> 7;
        *x ^= *x << 17;
        ((uint8_t *)out)[i] = (uint8_t)(*x >> 32);
    }
}

static void all_ff(void *self, void *out, size_t len)
{
    (void)self;
    memset(out, 0xff, len);
}

START_TEST(sha256)
{
    struct klp_digest digest, pieces;
    uint8_t want[32];
    unhex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", want, 32);
    klp_sha256(s("abc"), &digest);
    ck_assert_mem_eq(digest.b, want, 32);
    struct kos_bytes parts[4] = { s("a"), kos_bytes(NULL, 0), s("b"), s("c") };
    klp_sha256v(parts, 4, &pieces);
    ck_assert_mem_eq(pieces.b, want, 32);
    unhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", want, 32);
    klp_sha256(kos_bytes(NULL, 0), &digest);
    ck_assert_mem_eq(digest.b, want, 32);
    ck_assert(klp_equal(digest.b, want, 32));
    want[31] ^= 1;
    ck_assert(!klp_equal(digest.b, want, 32));
}
END_TEST

START_TEST(hkdf_bounds)
{
    static uint8_t okm[255 * 32 + 1];
    ck_assert_int_eq(klp_hkdf_sha256(kos_bytes(NULL, 0), s("k"), kos_bytes(NULL, 0), okm, 255 * 32), 0);
    ck_assert_int_eq(klp_hkdf_sha256(kos_bytes(NULL, 0), s("k"), kos_bytes(NULL, 0), okm, 255 * 32 + 1), KOS_E_LIMIT);
}
END_TEST

START_TEST(aead)
{
    uint8_t key[32] = { 1 }, nonce[12] = { 2 }, sealed[5 + 16], plain[5], box[5 + 16];
    struct klp_aead *a = klp_aead_new(key);
    ck_assert_ptr_nonnull(a);
    ck_assert_int_eq(klp_aead_seal(a, nonce, s("ad"), s("hello"), sealed), 0);
    ck_assert_int_eq(klp_aead_open(a, nonce, s("ad"), kos_bytes(sealed, sizeof sealed), plain), 0);
    ck_assert_mem_eq(plain, "hello", 5);
    /* The same context seals again after it opened, and in place. */
    memcpy(box, "hello", 5);
    ck_assert_int_eq(klp_aead_seal(a, nonce, s("ad"), kos_bytes(box, 5), box), 0);
    ck_assert_mem_eq(box, sealed, sizeof sealed);
    ck_assert_int_eq(klp_aead_open(a, nonce, s("ad"), kos_bytes(box, sizeof box), box), 0);
    ck_assert_mem_eq(box, "hello", 5);
    for (size_t i = 0; i < sizeof sealed; i++) {
        memcpy(box, sealed, sizeof sealed);
        box[i] ^= 0x80;
        memset(plain, 0x77, sizeof plain);
        ck_assert_int_eq(klp_aead_open(a, nonce, s("ad"), kos_bytes(box, sizeof box), plain), KOS_E_DECRYPT);
        ck_assert(memcmp(plain, "hello", 5) != 0);
        ck_assert_int_eq(klp_aead_open(a, nonce, s("ad"), kos_bytes(box, i), plain), KOS_E_DECRYPT);
    }
    ck_assert_int_eq(klp_aead_open(a, nonce, s("aD"), kos_bytes(sealed, sizeof sealed), plain), KOS_E_DECRYPT);
    ck_assert_int_eq(klp_aead_seal(a, nonce, kos_bytes(NULL, 0), kos_bytes(NULL, 0), box), 0);
    ck_assert_int_eq(klp_aead_open(a, nonce, kos_bytes(NULL, 0), kos_bytes(box, 16), NULL), 0);
    klp_aead_free(a);
    klp_aead_free(NULL);
}
END_TEST

START_TEST(x25519)
{
    uint8_t a[32] = { 9 }, b[32] = { 5 }, pa[32], pb[32], ab[32], ba[32], zero[32] = { 0 };
    klp_x25519_public(a, pa);
    klp_x25519_public(b, pb);
    ck_assert_int_eq(klp_x25519(a, pb, ab), 0);
    ck_assert_int_eq(klp_x25519(b, pa, ba), 0);
    ck_assert_mem_eq(ab, ba, 32);
    ck_assert_int_eq(klp_x25519(a, zero, ab), KOS_E_KEY);
    ck_assert_mem_eq(ab, ba, 32);
    char text[KLP_KEY_TEXT_MAX];
    ck_assert_int_eq(klp_x25519_text(pa, text), 0);
    ck_assert_int_eq(klp_x25519_parse(s(text), pb), 0);
    ck_assert_mem_eq(pa, pb, 32);
    struct klp_public key;
    ck_assert_int_eq(klp_public_parse(s(text), &key), KOS_E_KEY);
}
END_TEST

START_TEST(sign)
{
    uint64_t seed = 88172645463325252u;
    struct klp_random random = { xorshift, &seed };
    for (int32_t alg = KLP_ALG_ED25519; alg <= KLP_ALG_P256; alg++) {
        for (int i = 0; i < 20; i++) {
            struct klp_secret secret;
            struct klp_public key, other;
            uint8_t sig[64], again[64];
            char text[KLP_KEY_TEXT_MAX];
            ck_assert_int_eq(klp_secret_generate(alg, random, &secret), 0);
            ck_assert_int_eq(klp_secret_public(&secret, &key), 0);
            ck_assert_int_eq(klp_public_check(&key), 0);
            ck_assert_int_eq(klp_public_text(&key, text), 0);
            ck_assert_int_eq(strncmp(text, alg == KLP_ALG_P256 ? "zDn" : "z6Mk", alg == KLP_ALG_P256 ? 3 : 4), 0);
            ck_assert_int_eq(klp_public_parse(s(text), &other), 0);
            ck_assert_mem_eq(&key, &other, sizeof key);
            ck_assert_int_eq(klp_sign(&secret, KLP_TAG_MESSAGE, s("{}"), sig), 0);
            ck_assert_int_eq(klp_sign(&secret, KLP_TAG_MESSAGE, s("{}"), again), 0);
            ck_assert_mem_eq(sig, again, 64);
            ck_assert_int_eq(klp_verify(&key, KLP_TAG_MESSAGE, s("{}"), kos_bytes(sig, 64)), 0);
            ck_assert_int_eq(klp_verify(&key, KLP_TAG_EVENT, s("{}"), kos_bytes(sig, 64)), KOS_E_SIGNATURE);
            ck_assert_int_eq(klp_verify(&key, KLP_TAG_MESSAGE, s("[]"), kos_bytes(sig, 64)), KOS_E_SIGNATURE);
            ck_assert_int_eq(klp_verify(&key, KLP_TAG_MESSAGE, s("{}"), kos_bytes(sig, 63)), KOS_E_SIGNATURE);
            sig[i] ^= 4;
            ck_assert_int_eq(klp_verify(&key, KLP_TAG_MESSAGE, s("{}"), kos_bytes(sig, 64)), KOS_E_SIGNATURE);
        }
    }
    struct klp_secret secret;
    ck_assert_int_eq(klp_secret_generate(3, random, &secret), KOS_E_UNSUPPORTED);
    ck_assert_int_eq(klp_secret_generate(KLP_ALG_P256, (struct klp_random){ all_ff, NULL }, &secret), KOS_E_KEY);
}
END_TEST

/* What a signature covers, spelled out. */
START_TEST(expanded)
{
    for (int32_t alg = KLP_ALG_ED25519; alg <= KLP_ALG_P256; alg++) {
        struct klp_secret secret = { .alg = alg, .b = { 1, 2, 3 } }, before = secret;
        uint8_t one[KLP_SIGNATURE_LEN], two[KLP_SIGNATURE_LEN];
        ck_assert_int_eq(klp_sign(&secret, "t/1", s("body"), one), 0);
        ck_assert_int_eq(klp_secret_expand(&secret), 0);
        ck_assert(secret.expanded == (alg == KLP_ALG_ED25519));
        ck_assert_mem_eq(secret.b, before.b, sizeof before.b);
        ck_assert_int_eq(klp_sign(&secret, "t/1", s("body"), two), 0);
        ck_assert_mem_eq(one, two, sizeof one);
    }
}
END_TEST

START_TEST(signed_bytes)
{
    struct klp_secret secret = { .alg = KLP_ALG_ED25519, .b = { 7 } };
    uint8_t by_rule[64], by_hand[64], bytes[9 + 1 + 32];
    struct klp_digest digest;
    klp_sha256(s("body"), &digest);
    memcpy(bytes, "klp-msg/1", 10);
    memcpy(bytes + 10, digest.b, 32);
    ck_assert_int_eq(klp_sign(&secret, "klp-msg/1", s("body"), by_rule), 0);
    ck_assert_int_eq(klp_sign_raw(&secret, kos_bytes(bytes, sizeof bytes), by_hand), 0);
    ck_assert_mem_eq(by_rule, by_hand, 64);
    char tag[80];
    memset(tag, 'a', sizeof tag);
    tag[79] = 0;
    ck_assert_int_eq(klp_sign(&secret, tag, s("body"), by_rule), KOS_E_INVALID);
    ck_assert_int_eq(klp_sign(&secret, "", s("body"), by_rule), KOS_E_INVALID);
}
END_TEST

/* RFC 6979 A.2.5, SHA-256; s made low where it is high there. */
START_TEST(p256_rfc6979)
{
    struct klp_secret secret = { .alg = KLP_ALG_P256 };
    struct klp_public key;
    uint8_t sig[64], want[64], point[33];
    unhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721", secret.b, 32);
    ck_assert_int_eq(klp_secret_public(&secret, &key), 0);
    unhex("0360fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6", point, 33);
    ck_assert_mem_eq(key.b, point, 33);
    ck_assert_int_eq(klp_sign_raw(&secret, s("test"), sig), 0);
    unhex("f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367"
          "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083", want, 64);
    ck_assert_mem_eq(sig, want, 64);
    ck_assert_int_eq(klp_sign_raw(&secret, s("sample"), sig), 0);
    unhex("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
          "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8", want, 64);
    ck_assert_mem_eq(sig, want, 32);
    ck_assert_mem_ne(sig + 32, want + 32, 32);
    ck_assert_int_eq(klp_verify_raw(&key, s("sample"), kos_bytes(sig, 64)), 0);
    /* The published one has the high s: right, and refused. */
    ck_assert_int_eq(klp_verify_raw(&key, s("sample"), kos_bytes(want, 64)), KOS_E_SIGNATURE);
    memset(sig, 0, 32);
    ck_assert_int_eq(klp_verify_raw(&key, s("sample"), kos_bytes(sig, 64)), KOS_E_SIGNATURE);
    memset(secret.b, 0, 32);
    ck_assert_int_eq(klp_sign_raw(&secret, s("x"), sig), KOS_E_KEY);
    ck_assert_int_eq(klp_secret_public(&secret, &key), KOS_E_KEY);
}
END_TEST

START_TEST(p256_bad_keys)
{
    struct klp_public key = { .alg = KLP_ALG_P256, .len = 33 };
    unhex("0360fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6", key.b, 33);
    ck_assert_int_eq(klp_public_check(&key), 0);
    key.b[0] = 4;
    ck_assert_int_eq(klp_public_check(&key), KOS_E_KEY);
    key.b[0] = 0;
    ck_assert_int_eq(klp_public_check(&key), KOS_E_KEY);
    /* x = 1 is on no point of the curve's: 1 - 3 + b is not a square. */
    unhex("020000000000000000000000000000000000000000000000000000000000000001", key.b, 33);
    ck_assert_int_eq(klp_public_check(&key), KOS_E_KEY);
    /* x = p + 5: not reduced. */
    unhex("02ffffffff00000001000000000000000000000001000000000000000000000004", key.b, 33);
    ck_assert_int_eq(klp_public_check(&key), KOS_E_KEY);
    key.len = 32;
    ck_assert_int_eq(klp_public_check(&key), KOS_E_KEY);
}
END_TEST

START_TEST(ed25519_bad_keys)
{
    static const char *const bad[] = {
        "0100000000000000000000000000000000000000000000000000000000000000", /* the neutral element */
        "0000000000000000000000000000000000000000000000000000000000000000", /* order 4 */
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* order 2 */
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", /* order 8 */
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* y = p: not reduced */
        "0100000000000000000000000000000000000000000000000000000000000080", /* x = 0 with its sign set */
        "0200000000000000000000000000000000000000000000000000000000000000", /* not on the curve */
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d", /* prime order times order 8 */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct klp_public key = { .alg = KLP_ALG_ED25519, .len = 32 }, parsed;
        char text[KLP_KEY_TEXT_MAX];
        unhex(bad[i], key.b, 32);
        ck_assert_msg(klp_public_check(&key) == KOS_E_KEY, "%s", bad[i]);
        ck_assert_int_eq(klp_public_text(&key, text), 0);
        ck_assert_int_eq(klp_public_parse(s(text), &parsed), KOS_E_KEY);
    }
}
END_TEST

START_TEST(multikey_refused)
{
    struct klp_public key;
    const char *bad[] = {
        "", "z", "z6Mk", "6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
        "f6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
        "z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooW0", "z16MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
        "z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp ",
        "z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWpppppppppppppppppp",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(klp_public_parse(s(bad[i]), &key) == KOS_E_KEY, "%s", bad[i]);
    ck_assert_int_eq(klp_public_parse(s("z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"), &key), 0);
    struct klp_digest digest, want;
    klp_public_digest(&key, &digest);
    klp_sha256(s("z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"), &want);
    ck_assert_mem_eq(digest.b, want.b, 32);
}
END_TEST

TESTS("klp/crypto", sha256, hkdf_bounds, aead, x25519, sign, expanded, signed_bytes, p256_rfc6979, p256_bad_keys,
      ed25519_bad_keys, multikey_refused)
