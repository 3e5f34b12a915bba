/* SPDX-License-Identifier: Apache-2.0
 *
 * The handshake's behaviour under good and hostile input; its bytes are checked by tests/vectors/check_noise.
 */
#include <klp/noise.h>

#include "unit.h"

enum { MESSAGE = 512, MESSAGES = 3 };

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

static const uint8_t alice[32] = { 1, 2, 3 }, bob[32] = { 4, 5, 6 }, eve[32] = { 7, 8, 9 };

struct pair {
    uint64_t seeds[2];
    struct klp_noise *sides[2]; /* initiator, responder */
};

static void begin(struct pair *p, int32_t pattern, uint64_t seed, const uint8_t *dialled)
{
    uint8_t remote[32];
    klp_x25519_public(dialled, remote);
    p->seeds[0] = 2 * seed + 1;
    p->seeds[1] = 2 * seed + 1000001;
    p->sides[0] = klp_noise_new(pattern, true, alice, pattern == KLP_NOISE_IK ? remote : NULL,
                                (struct klp_random){ xorshift, &p->seeds[0] });
    p->sides[1] = klp_noise_new(pattern, false, bob, NULL, (struct klp_random){ xorshift, &p->seeds[1] });
    ck_assert_ptr_nonnull(p->sides[0]);
    ck_assert_ptr_nonnull(p->sides[1]);
}

static void finish(struct pair *p)
{
    klp_noise_free(p->sides[0]);
    klp_noise_free(p->sides[1]);
}

static struct klp_noise *writer(struct pair *p)
{
    return p->sides[klp_noise_writes(p->sides[0]) ? 0 : 1];
}

static struct klp_noise *reader(struct pair *p)
{
    return p->sides[klp_noise_writes(p->sides[0]) ? 1 : 0];
}

/* Nothing may come out of a dead handshake, and nothing may be written to. */
static void assert_dead(struct klp_noise *noise)
{
    uint8_t out[MESSAGE] = { 0xaa }, key[32] = { 0xbb };
    struct klp_record *send = NULL, *receive = NULL;
    size_t len = 77;
    ck_assert(!klp_noise_writes(noise));
    ck_assert(!klp_noise_done(noise));
    ck_assert_int_eq(klp_noise_write(noise, kos_bytes(NULL, 0), out, sizeof out, &len), KOS_E_STATE);
    ck_assert_int_eq(klp_noise_read(noise, kos_bytes(out, 32), key, sizeof key, &len), KOS_E_STATE);
    ck_assert_int_eq(klp_noise_remote(noise, key), KOS_E_STATE);
    ck_assert_int_eq(klp_noise_hash(noise, key), KOS_E_STATE);
    ck_assert_int_eq(klp_noise_split(noise, &send, &receive), KOS_E_STATE);
    ck_assert_ptr_null(send);
    ck_assert_ptr_null(receive);
    ck_assert_uint_eq(len, 77);
    ck_assert_uint_eq(out[0], 0xaa);
    ck_assert_uint_eq(key[0], 0xbb);
}

static size_t step(struct pair *p, const char *payload, uint8_t message[MESSAGE])
{
    uint8_t back[MESSAGE];
    size_t len, back_len;
    struct klp_noise *from = writer(p), *to = reader(p);
    ck_assert_int_eq(klp_noise_write(from, kos_bytes_str(payload), message, MESSAGE, &len), 0);
    ck_assert_int_eq(klp_noise_read(to, kos_bytes(message, len), back, sizeof back, &back_len), 0);
    ck_assert_uint_eq(back_len, strlen(payload));
    ck_assert_mem_eq(back, payload, back_len);
    return len;
}

static void assert_finished(struct pair *p)
{
    uint8_t key[32], want[32], hashes[2][32], sealed[64], plain[64];
    struct klp_record *send[2], *receive[2];
    size_t len;
    for (int i = 0; i < 2; i++) {
        ck_assert(klp_noise_done(p->sides[i]));
        ck_assert(!klp_noise_writes(p->sides[i]));
        klp_x25519_public(i ? alice : bob, want);
        ck_assert_int_eq(klp_noise_remote(p->sides[i], key), 0);
        ck_assert_mem_eq(key, want, 32);
        ck_assert_int_eq(klp_noise_hash(p->sides[i], hashes[i]), 0);
        ck_assert_int_eq(klp_noise_split(p->sides[i], &send[i], &receive[i]), 0);
    }
    ck_assert_mem_eq(hashes[0], hashes[1], 32);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(klp_record_seal(send[i], kos_bytes_str("hello"), sealed), 0);
        ck_assert_int_eq(klp_record_open(receive[1 - i], kos_bytes(sealed + 2, 5 + 16), plain, &len), 0);
        ck_assert_uint_eq(len, 5);
        ck_assert_mem_eq(plain, "hello", 5);
    }
    for (int i = 0; i < 2; i++) {
        struct klp_record *none = NULL;
        ck_assert_int_eq(klp_noise_split(p->sides[i], &none, &none), KOS_E_STATE);
        ck_assert_int_eq(klp_noise_hash(p->sides[i], key), 0);
        ck_assert_mem_eq(key, hashes[0], 32);
        ck_assert_int_eq(klp_noise_remote(p->sides[i], key), 0);
        klp_record_free(send[i]);
        klp_record_free(receive[i]);
    }
}

START_TEST(xx)
{
    struct pair p;
    uint8_t message[MESSAGE], key[32];
    begin(&p, KLP_NOISE_XX, 1, bob);
    ck_assert_int_eq(klp_noise_remote(p.sides[0], key), KOS_E_STATE);
    ck_assert_uint_eq(step(&p, "", message), 32);
    ck_assert_int_eq(klp_noise_remote(p.sides[1], key), KOS_E_STATE);
    ck_assert_uint_eq(step(&p, "second", message), 96 + 6);
    ck_assert_int_eq(klp_noise_remote(p.sides[0], key), 0);
    ck_assert_int_eq(klp_noise_hash(p.sides[0], key), KOS_E_STATE);
    ck_assert_uint_eq(step(&p, "third", message), 64 + 5);
    assert_finished(&p);
    finish(&p);
}
END_TEST

START_TEST(ik)
{
    struct pair p;
    uint8_t message[MESSAGE];
    begin(&p, KLP_NOISE_IK, 1, bob);
    ck_assert_uint_eq(step(&p, "first", message), 32 + 48 + 16 + 5);
    ck_assert_uint_eq(step(&p, "second", message), 32 + 16 + 6);
    assert_finished(&p);
    finish(&p);
}
END_TEST

/* Runs a handshake in which message `at` is changed. A change of what is still unauthenticated may pass its own
 * read, but never the next one: at most the side that was not lied to ends by itself. */
static void spoiled(int32_t pattern, int at, size_t cut, size_t bit, bool grow)
{
    struct pair p;
    uint8_t message[MESSAGE], back[MESSAGE];
    size_t len, back_len;
    bool failed = false;
    begin(&p, pattern, 3, bob);
    for (int i = 0; i < MESSAGES && !failed && !klp_noise_done(reader(&p)); i++) {
        struct klp_noise *from = writer(&p), *to = reader(&p);
        if (!klp_noise_writes(from))
            break;
        ck_assert_int_eq(klp_noise_write(from, kos_bytes_str("payload"), message, sizeof message, &len), 0);
        if (i == at) {
            if (bit != SIZE_MAX)
                message[bit / 8] ^= (uint8_t)(1u << bit % 8);
            len = grow ? len + 1 : len - cut;
        }
        int32_t code = klp_noise_read(to, kos_bytes(message, len), back, sizeof back, &back_len);
        failed = code < 0;
        if (failed) {
            ck_assert_int_ge(i, at);
            ck_assert_int_le(i, at + 1);
            ck_assert(code == KOS_E_DECRYPT || code == KOS_E_PROTOCOL || code == KOS_E_KEY);
            assert_dead(to);
        }
    }
    ck_assert(failed);
    finish(&p);
}

static void spoil_all(int32_t pattern, const size_t *lengths, int count)
{
    for (int at = 0; at < count; at++) {
        for (size_t bit = 0; bit < 8 * lengths[at]; bit++)
            spoiled(pattern, at, 0, bit, false);
        for (size_t cut = 1; cut <= lengths[at]; cut++)
            spoiled(pattern, at, cut, SIZE_MAX, false);
        spoiled(pattern, at, 0, SIZE_MAX, true);
    }
}

START_TEST(xx_spoiled)
{
    static const size_t lengths[] = { 32 + 7, 96 + 7, 64 + 7 };
    spoil_all(KLP_NOISE_XX, lengths, 3);
}
END_TEST

START_TEST(ik_spoiled)
{
    static const size_t lengths[] = { 96 + 7, 48 + 7 };
    spoil_all(KLP_NOISE_IK, lengths, 2);
}
END_TEST

START_TEST(replayed_and_reordered)
{
    struct pair p, q;
    uint8_t one[MESSAGE], two[MESSAGE], three[MESSAGE], other[MESSAGE], back[MESSAGE];
    size_t len1, len2, len3, other_len, len;
    /* A recorded handshake, played to fresh sides. */
    begin(&p, KLP_NOISE_XX, 5, bob);
    len1 = step(&p, "", one);
    len2 = step(&p, "", two);
    len3 = step(&p, "", three);
    finish(&p);

    begin(&p, KLP_NOISE_XX, 6, bob);
    ck_assert_int_eq(klp_noise_read(p.sides[1], kos_bytes(one, len1), back, sizeof back, &len), 0);
    ck_assert_int_eq(klp_noise_read(p.sides[1], kos_bytes(one, len1), back, sizeof back, &len), KOS_E_STATE);
    assert_dead(p.sides[1]);
    finish(&p);

    begin(&p, KLP_NOISE_XX, 7, bob);
    ck_assert_int_eq(klp_noise_read(p.sides[1], kos_bytes(one, len1), back, sizeof back, &len), 0);
    ck_assert_int_eq(klp_noise_write(p.sides[1], kos_bytes(NULL, 0), other, sizeof other, &other_len), 0);
    ck_assert_int_eq(klp_noise_read(p.sides[1], kos_bytes(three, len3), back, sizeof back, &len), KOS_E_DECRYPT);
    assert_dead(p.sides[1]);
    /* The initiator gets the message 2 of another handshake, of a stranger's, its own back, and message 3 for 2. */
    ck_assert_int_eq(klp_noise_write(p.sides[0], kos_bytes(NULL, 0), other, sizeof other, &other_len), 0);
    ck_assert_int_eq(klp_noise_read(p.sides[0], kos_bytes(two, len2), back, sizeof back, &len), KOS_E_DECRYPT);
    assert_dead(p.sides[0]);
    finish(&p);

    begin(&q, KLP_NOISE_XX, 8, bob);
    ck_assert_int_eq(klp_noise_write(q.sides[0], kos_bytes(NULL, 0), other, sizeof other, &other_len), 0);
    ck_assert_int_lt(klp_noise_read(q.sides[0], kos_bytes(other, other_len), back, sizeof back, &len), 0);
    assert_dead(q.sides[0]);
    ck_assert_int_eq(klp_noise_read(q.sides[1], kos_bytes(two, len2), back, sizeof back, &len), 0);
    ck_assert_int_eq(klp_noise_write(q.sides[1], kos_bytes(NULL, 0), other, sizeof other, &other_len), 0);
    ck_assert_int_eq(klp_noise_read(q.sides[1], kos_bytes(one, 32), back, sizeof back, &len), KOS_E_PROTOCOL);
    finish(&q);

    begin(&q, KLP_NOISE_XX, 9, bob);
    ck_assert_int_eq(klp_noise_read(q.sides[0], kos_bytes(one, len1), back, sizeof back, &len), KOS_E_STATE);
    ck_assert_int_eq(klp_noise_write(q.sides[1], kos_bytes(NULL, 0), other, sizeof other, &other_len), KOS_E_STATE);
    assert_dead(q.sides[0]);
    assert_dead(q.sides[1]);
    finish(&q);
}
END_TEST

/* RFC 7748 6.1: points that give zero whatever the secret. */
START_TEST(zero_agreement)
{
    static const uint8_t points[][32] = {
        { 0 },
        { 1 },
        { 0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
          0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00 },
        { 0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
        { 0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
    };
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        struct pair p;
        uint8_t message[MESSAGE] = { 0 }, back[MESSAGE];
        size_t len;
        begin(&p, KLP_NOISE_XX, 11, bob);
        ck_assert_int_eq(klp_noise_read(p.sides[1], kos_bytes(points[i], 32), back, sizeof back, &len), 0);
        ck_assert_int_eq(klp_noise_write(p.sides[1], kos_bytes(NULL, 0), message, sizeof message, &len), KOS_E_KEY);
        assert_dead(p.sides[1]);
        ck_assert_int_eq(klp_noise_write(p.sides[0], kos_bytes(NULL, 0), message, sizeof message, &len), 0);
        memcpy(message, points[i], 32);
        ck_assert_int_eq(klp_noise_read(p.sides[0], kos_bytes(message, 96), back, sizeof back, &len), KOS_E_KEY);
        assert_dead(p.sides[0]);
        finish(&p);
        begin(&p, KLP_NOISE_IK, 12, bob);
        memcpy(message, points[i], 32);
        ck_assert_int_eq(klp_noise_read(p.sides[1], kos_bytes(message, 96), back, sizeof back, &len), KOS_E_KEY);
        assert_dead(p.sides[1]);
        finish(&p);
    }
}
END_TEST

START_TEST(wrong_static)
{
    struct pair p;
    uint8_t message[MESSAGE], back[MESSAGE];
    size_t len, back_len;
    begin(&p, KLP_NOISE_IK, 13, eve);
    ck_assert_int_eq(klp_noise_write(p.sides[0], kos_bytes(NULL, 0), message, sizeof message, &len), 0);
    ck_assert_int_eq(klp_noise_read(p.sides[1], kos_bytes(message, len), back, sizeof back, &back_len), KOS_E_DECRYPT);
    assert_dead(p.sides[1]);
    finish(&p);
}
END_TEST

START_TEST(another_prologue)
{
    uint64_t seeds[2] = { 21, 22 };
    uint8_t message[MESSAGE], back[MESSAGE];
    size_t len, back_len;
    struct klp_random random[2] = { { xorshift, &seeds[0] }, { xorshift, &seeds[1] } };
    struct klp_noise *one = klp_noise_new(KLP_NOISE_XX, true, alice, NULL, random[0]);
    struct klp_noise *two = klp_noise_new_raw(KLP_NOISE_XX, false, kos_bytes_str("KLP/2\1"), bob, NULL, random[1]);
    ck_assert_int_eq(klp_noise_write(one, kos_bytes(NULL, 0), message, sizeof message, &len), 0);
    ck_assert_int_eq(klp_noise_read(two, kos_bytes(message, len), back, sizeof back, &back_len), 0);
    ck_assert_int_eq(klp_noise_write(two, kos_bytes(NULL, 0), message, sizeof message, &len), 0);
    ck_assert_int_eq(klp_noise_read(one, kos_bytes(message, len), back, sizeof back, &back_len), KOS_E_DECRYPT);
    klp_noise_free(one);
    klp_noise_free(two);
}
END_TEST

/* The prologue is what the man page says: "KLP/1" and the number of the pattern. */
START_TEST(the_prologue)
{
    uint64_t seeds[2] = { 23, 24 };
    struct pair p;
    uint8_t message[MESSAGE];
    for (int32_t pattern = KLP_NOISE_XX; pattern <= KLP_NOISE_IK; pattern++) {
        uint8_t prologue[6] = { 'K', 'L', 'P', '/', '1', (uint8_t)pattern };
        begin(&p, pattern, 14, bob);
        klp_noise_free(p.sides[1]);
        p.sides[1] = klp_noise_new_raw(pattern, false, kos_bytes(prologue, 6), bob, NULL,
                                       (struct klp_random){ xorshift, &seeds[1] });
        while (!klp_noise_done(p.sides[0]) || !klp_noise_done(p.sides[1]))
            step(&p, "", message);
        assert_finished(&p);
        finish(&p);
    }
}
END_TEST

START_TEST(arguments)
{
    uint64_t seed = 31;
    struct klp_random random = { xorshift, &seed };
    struct kos_bytes none = kos_bytes(NULL, 0);
    ck_assert_ptr_null(klp_noise_new(0, true, alice, NULL, random));
    ck_assert_ptr_null(klp_noise_new(-1, true, alice, NULL, random));
    ck_assert_ptr_null(klp_noise_new(KLP_NOISE_NN, true, NULL, NULL, random));
    ck_assert_ptr_null(klp_noise_new(KLP_NOISE_XX, true, NULL, NULL, random));
    ck_assert_ptr_null(klp_noise_new(KLP_NOISE_XX, true, alice, bob, random));
    ck_assert_ptr_null(klp_noise_new(KLP_NOISE_IK, true, alice, NULL, random));
    ck_assert_ptr_null(klp_noise_new(KLP_NOISE_IK, false, alice, bob, random));
    ck_assert_ptr_null(klp_noise_new_raw(KLP_NOISE_X + 1, true, none, alice, NULL, random));
    ck_assert_ptr_null(klp_noise_new_raw(KLP_NOISE_NK, true, none, NULL, NULL, random));
    ck_assert_ptr_null(klp_noise_new_raw(KLP_NOISE_KN, false, none, NULL, NULL, random));
    klp_noise_free(NULL);
}
END_TEST

START_TEST(limits)
{
    static uint8_t payload[KLP_NOISE_MAX], message[KLP_NOISE_MAX + 1], back[KLP_NOISE_MAX];
    struct pair p;
    size_t len, back_len;
    begin(&p, KLP_NOISE_XX, 41, bob);
    struct kos_bytes largest = kos_bytes(payload, KLP_NOISE_MAX - 32);
    struct kos_bytes too_large = kos_bytes(payload, KLP_NOISE_MAX - 95);
    struct kos_bytes too_long = kos_bytes(message, sizeof message);
    ck_assert_int_eq(klp_noise_write(p.sides[0], largest, message, sizeof message, &len), 0);
    ck_assert_uint_eq(len, KLP_NOISE_MAX);
    ck_assert_int_eq(klp_noise_read(p.sides[1], kos_bytes(message, len), back, sizeof back, &back_len), 0);
    ck_assert_uint_eq(back_len, KLP_NOISE_MAX - 32);
    ck_assert_int_eq(klp_noise_write(p.sides[1], too_large, message, sizeof message, &len), KOS_E_LIMIT);
    assert_dead(p.sides[1]);
    ck_assert_int_eq(klp_noise_read(p.sides[0], too_long, back, sizeof back, &back_len), KOS_E_PROTOCOL);
    assert_dead(p.sides[0]);
    finish(&p);
    begin(&p, KLP_NOISE_XX, 42, bob);
    ck_assert_int_eq(klp_noise_write(p.sides[0], kos_bytes(payload, 8), message, 32 + 8, &len), 0);
    ck_assert_int_eq(klp_noise_read(p.sides[1], kos_bytes(message, len), back, 7, &back_len), KOS_E_LIMIT);
    assert_dead(p.sides[1]);
    finish(&p);
    begin(&p, KLP_NOISE_XX, 43, bob);
    ck_assert_int_eq(klp_noise_write(p.sides[0], kos_bytes(payload, 8), message, 32 + 7, &len), KOS_E_LIMIT);
    assert_dead(p.sides[0]);
    finish(&p);
}
END_TEST

TESTS("klp/noise", xx, ik, xx_spoiled, ik_spoiled, replayed_and_reordered, zero_agreement, wrong_static,
      another_prologue, the_prologue, arguments, limits)
