/* SPDX-License-Identifier: Apache-2.0
 *
 * HPKE under good and hostile input; its bytes are checked by tests/vectors/check_hpke.
 */
#include <klp/hpke.h>

#include "unit.h"

static void counting(void *self, void *out, size_t len)
{
    memset(out, ++*(uint8_t *)self, len);
}

static const uint8_t secret[32] = { 1, 2, 3 };

static struct kos_bytes s(const char *text)
{
    return kos_bytes_str(text);
}

START_TEST(round_trip)
{
    uint8_t seed = 0, recipient[32], enc[32], other_enc[32], sealed[1000 + 16], back[1000 + 16], plain[1000];
    klp_x25519_public(secret, recipient);
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)i;
    for (size_t len = 0; len <= sizeof plain; len += 1 + len / 3) {
        struct klp_random random = { counting, &seed };
        ck_assert_int_eq(klp_hpke_seal(recipient, s("info"), s("ad"), kos_bytes(plain, len), random, enc, sealed), 0);
        ck_assert_int_eq(klp_hpke_open(secret, enc, s("info"), s("ad"), kos_bytes(sealed, len + 16), back), 0);
        ck_assert_mem_eq(back, plain, len);
        /* A fresh key each time; and in place. */
        memcpy(back, plain, len);
        struct kos_bytes in_place = kos_bytes(back, len);
        ck_assert_int_eq(klp_hpke_seal(recipient, s("info"), s("ad"), in_place, random, other_enc, back), 0);
        ck_assert_mem_ne(enc, other_enc, 32);
        ck_assert_mem_ne(sealed, back, len + 16);
        ck_assert_int_eq(klp_hpke_open(secret, other_enc, s("info"), s("ad"), kos_bytes(back, len + 16), back), 0);
        ck_assert_mem_eq(back, plain, len);
    }
}
END_TEST

START_TEST(refused)
{
    uint8_t seed = 0, recipient[32], enc[32], sealed[21], back[21], other[32] = { 9 };
    klp_x25519_public(secret, recipient);
    struct klp_random random = { counting, &seed };
    ck_assert_int_eq(klp_hpke_seal(recipient, s("info"), s("ad"), s("hello"), random, enc, sealed), 0);
    struct kos_bytes all = kos_bytes(sealed, sizeof sealed);
    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_eq(klp_hpke_open(secret, enc, s("info"), s("ad"), all, back), KOS_E_DECRYPT);
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    /* The top bit of enc too: X25519 ignores it, the KEM's context does not. */
    for (size_t bit = 0; bit < 256; bit++) {
        enc[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_lt(klp_hpke_open(secret, enc, s("info"), s("ad"), all, back), 0);
        enc[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < sizeof sealed; len++)
        ck_assert_int_eq(klp_hpke_open(secret, enc, s("info"), s("ad"), kos_bytes(sealed, len), back), KOS_E_DECRYPT);
    ck_assert_int_eq(klp_hpke_open(secret, enc, s("inf"), s("ad"), all, back), KOS_E_DECRYPT);
    ck_assert_int_eq(klp_hpke_open(secret, enc, s("info"), s("a"), all, back), KOS_E_DECRYPT);
    ck_assert_int_eq(klp_hpke_open(secret, enc, s("infoa"), s("d"), all, back), KOS_E_DECRYPT);
    ck_assert_int_eq(klp_hpke_open(other, enc, s("info"), s("ad"), all, back), KOS_E_DECRYPT);
    ck_assert_int_eq(klp_hpke_open(secret, enc, s("info"), s("ad"), all, back), 0);
}
END_TEST

START_TEST(zero_agreement)
{
    uint8_t seed = 0, zero[32] = { 0 }, one[32] = { 1 }, enc[32] = { 0xaa }, sealed[32], back[32];
    struct klp_random random = { counting, &seed };
    ck_assert_int_eq(klp_hpke_seal(zero, s(""), s(""), s("x"), random, enc, sealed), KOS_E_KEY);
    ck_assert_int_eq(klp_hpke_seal(one, s(""), s(""), s("x"), random, enc, sealed), KOS_E_KEY);
    ck_assert_uint_eq(enc[0], 0xaa);
    ck_assert_int_eq(klp_hpke_open(secret, zero, s(""), s(""), kos_bytes(sealed, 17), back), KOS_E_KEY);
}
END_TEST

START_TEST(exports)
{
    static uint8_t out[255 * 32 + 1];
    uint8_t seed = 0, recipient[32], enc[32], again[64];
    struct klp_hpke sender, receiver;
    klp_x25519_public(secret, recipient);
    ck_assert_int_eq(klp_hpke_sender(recipient, s("i"), (struct klp_random){ counting, &seed }, enc, &sender), 0);
    ck_assert_int_eq(klp_hpke_receiver(secret, enc, s("i"), &receiver), 0);
    ck_assert_int_eq(klp_hpke_export(&sender, s("c"), out, 255 * 32), 0);
    ck_assert_int_eq(klp_hpke_export(&sender, s("c"), out, sizeof out), KOS_E_LIMIT);
    ck_assert_int_eq(klp_hpke_export(&sender, s("c"), out, 64), 0);
    ck_assert_int_eq(klp_hpke_export(&receiver, s("c"), again, 64), 0);
    ck_assert_mem_eq(out, again, 64);
    ck_assert_int_eq(klp_hpke_export(&receiver, s("d"), again, 64), 0);
    ck_assert_mem_ne(out, again, 64);
    /* The length is part of what is expanded. */
    ck_assert_int_eq(klp_hpke_export(&receiver, s("c"), again, 63), 0);
    ck_assert_mem_ne(out, again, 63);
}
END_TEST

TESTS("klp/hpke", round_trip, refused, zero_agreement, exports)
