/* SPDX-License-Identifier: Apache-2.0
 *
 * Records: both forms, epochs, replay, and what a forger can and cannot move.
 */
#include <klp/noise.h>

#include "unit.h"

enum { EPOCH = 1 << KLP_EPOCH_SHIFT, BUFFER = 256 };

static void counting(void *self, void *out, size_t len)
{
    memset(out, ++*(uint8_t *)self, len);
}

/* One direction: what the initiator sends and the responder receives. */
static void direction(struct klp_record **ret_send, struct klp_record **ret_receive)
{
    uint8_t seed = 0, message[BUFFER], back[BUFFER];
    size_t len, back_len;
    struct klp_record *unused[2];
    struct klp_noise *sides[2];
    for (int i = 0; i < 2; i++)
        sides[i] = klp_noise_new_raw(KLP_NOISE_NN, i == 0, kos_bytes(NULL, 0), NULL, NULL,
                                     (struct klp_random){ counting, &seed });
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(klp_noise_write(sides[i], kos_bytes(NULL, 0), message, sizeof message, &len), 0);
        ck_assert_int_eq(klp_noise_read(sides[1 - i], kos_bytes(message, len), back, sizeof back, &back_len), 0);
    }
    ck_assert_int_eq(klp_noise_split(sides[0], ret_send, &unused[0]), 0);
    ck_assert_int_eq(klp_noise_split(sides[1], &unused[1], ret_receive), 0);
    for (int i = 0; i < 2; i++) {
        klp_noise_free(sides[i]);
        klp_record_free(unused[i]);
    }
}

struct datagram {
    uint8_t b[BUFFER];
    size_t len;
};

static struct datagram seal(struct klp_record *send, const char *text)
{
    struct datagram d = { .len = strlen(text) + KLP_RECORD_DATAGRAM_OVERHEAD };
    ck_assert_int_eq(klp_record_seal_datagram(send, kos_bytes_str(text), d.b), 0);
    return d;
}

static int32_t take(struct klp_record *receive, const struct datagram *d)
{
    uint8_t out[BUFFER];
    size_t len;
    return klp_record_open_datagram(receive, kos_bytes(d->b, d->len), out, &len);
}

/* Sends without being heard until the next counter is `counter`. */
static void lose_until(struct klp_record *send, uint64_t counter)
{
    uint8_t out[KLP_RECORD_DATAGRAM_OVERHEAD];
    while (klp_record_counter(send) < counter)
        if (klp_record_seal_datagram(send, kos_bytes(NULL, 0), out) < 0) /* an assertion costs more than the record */
            ck_abort_msg("datagram %llu", (unsigned long long)klp_record_counter(send));
}

START_TEST(stream)
{
    static uint8_t big[KLP_RECORD_PLAIN_MAX + KLP_RECORD_OVERHEAD], back[KLP_RECORD_PLAIN_MAX];
    struct klp_record *send, *receive;
    uint8_t out[BUFFER];
    size_t len;
    direction(&send, &receive);
    for (size_t n = 0; n < 100; n++) {
        memset(out + 2, (int)n, n);
        ck_assert_int_eq(klp_record_seal(send, kos_bytes(out + 2, n), out), 0);
        ck_assert_uint_eq((size_t)out[0] << 8 | out[1], n + 16);
        ck_assert_int_eq(klp_record_open(receive, kos_bytes(out + 2, n + 16), out + 2, &len), 0);
        ck_assert_uint_eq(len, n);
        for (size_t i = 0; i < n; i++)
            ck_assert_uint_eq(out[2 + i], n);
        ck_assert_uint_eq(klp_record_counter(send), n + 1);
        ck_assert_uint_eq(klp_record_counter(receive), n + 1);
    }
    memset(big, 7, sizeof big);
    ck_assert_int_eq(klp_record_seal(send, kos_bytes(big, KLP_RECORD_PLAIN_MAX + 1), big), KOS_E_LIMIT);
    ck_assert_uint_eq(klp_record_counter(send), 100);
    ck_assert_int_eq(klp_record_seal(send, kos_bytes(big + 2, KLP_RECORD_PLAIN_MAX), big), 0);
    ck_assert_uint_eq(big[0], 0xff);
    ck_assert_uint_eq(big[1], 0xff);
    ck_assert_int_eq(klp_record_open(receive, kos_bytes(big + 2, KLP_NOISE_MAX), back, &len), 0);
    ck_assert_uint_eq(len, KLP_RECORD_PLAIN_MAX);
    klp_record_free(send);
    klp_record_free(receive);
    klp_record_free(NULL);
}
END_TEST

START_TEST(stream_spoiled)
{
    uint8_t sealed[3][BUFFER], out[BUFFER];
    size_t len = 5;
    for (size_t bit = 0; bit < 8 * (8 + 16); bit++) {
        struct klp_record *send, *receive;
        direction(&send, &receive);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(klp_record_seal(send, kos_bytes_str("12345678"), sealed[i]), 0);
        sealed[0][2 + bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_eq(klp_record_open(receive, kos_bytes(sealed[0] + 2, 24), out, &len), KOS_E_DECRYPT);
        sealed[0][2 + bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_eq(klp_record_open(receive, kos_bytes(sealed[0] + 2, 24), out, &len), KOS_E_STATE);
        klp_record_free(send);
        klp_record_free(receive);
    }
    ck_assert_uint_eq(len, 5);
    /* Left out, played twice, cut short, without a tag. */
    for (int kind = 0; kind < 4; kind++) {
        struct klp_record *send, *receive;
        direction(&send, &receive);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(klp_record_seal(send, kos_bytes_str("12345678"), sealed[i]), 0);
        ck_assert_int_eq(klp_record_open(receive, kos_bytes(sealed[0] + 2, 24), out, &len), 0);
        struct kos_bytes bad[] = { kos_bytes(sealed[2] + 2, 24), kos_bytes(sealed[0] + 2, 24),
                                   kos_bytes(sealed[1] + 2, 23), kos_bytes(sealed[1] + 2, 15) };
        ck_assert_int_eq(klp_record_open(receive, bad[kind], out, &len), kind == 3 ? KOS_E_PROTOCOL : KOS_E_DECRYPT);
        ck_assert_int_eq(klp_record_open(receive, kos_bytes(sealed[1] + 2, 24), out, &len), KOS_E_STATE);
        klp_record_free(send);
        klp_record_free(receive);
    }
}
END_TEST

START_TEST(stream_epochs)
{
    struct klp_record *send, *receive;
    uint8_t out[BUFFER];
    size_t len;
    direction(&send, &receive);
    for (int i = 0; i < 2 * EPOCH + 3; i++) {
        if (klp_record_seal(send, kos_bytes_str("x"), out) < 0
            || klp_record_open(receive, kos_bytes(out + 2, 17), out, &len) < 0)
            ck_abort_msg("record %d", i);
    }
    ck_assert_uint_eq(klp_record_counter(receive), 2 * EPOCH + 3);
    klp_record_free(send);
    klp_record_free(receive);
}
END_TEST

/* The key of epoch 1 by hand: the first 32 bytes of 32 zeros sealed at nonce 2^64-1; the nonce is the whole counter. */
START_TEST(epoch_key)
{
    static const uint8_t zeros[32];
    uint8_t nonce[12] = { 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    uint8_t key[32], next[48], sealed[17];
    struct klp_record *send, *receive;
    struct datagram d;
    /* Both sides' ephemeral secrets are known, so the first key can be computed as the split does. */
    uint8_t e1[32], e2[32], p1[32], p2[32], dh[32], h[32] = "Noise_NN_25519_AESGCM_SHA256", ck[64], one[64];
    memset(e1, 1, 32);
    memset(e2, 2, 32);
    klp_x25519_public(e1, p1);
    klp_x25519_public(e2, p2);
    ck_assert_int_eq(klp_x25519(e1, p2, dh), 0);
    ck_assert_int_eq(klp_hkdf_sha256(kos_bytes(h, 32), kos_bytes(dh, 32), kos_bytes(NULL, 0), ck, 64), 0);
    ck_assert_int_eq(klp_hkdf_sha256(kos_bytes(ck, 32), kos_bytes(NULL, 0), kos_bytes(NULL, 0), one, 64), 0);
    struct klp_aead *first = klp_aead_new(one);
    ck_assert_int_eq(klp_aead_seal(first, nonce, kos_bytes(NULL, 0), kos_bytes(zeros, 32), next), 0);
    memcpy(key, next, 32);
    struct klp_aead *second = klp_aead_new(key);
    memset(nonce, 0, sizeof nonce);
    nonce[9] = EPOCH >> 16;
    ck_assert_int_eq(klp_aead_seal(second, nonce, kos_bytes(NULL, 0), kos_bytes_str("x"), sealed), 0);
    direction(&send, &receive);
    lose_until(send, EPOCH);
    d = seal(send, "x");
    ck_assert_uint_eq(d.b[0], KLP_DATAGRAM_RECORD);
    ck_assert_mem_eq(d.b + 1, nonce + 9, 3);
    ck_assert_mem_eq(d.b + KLP_DATAGRAM_HEAD, sealed, 17);
    klp_aead_free(first);
    klp_aead_free(second);
    klp_record_free(send);
    klp_record_free(receive);
}
END_TEST

START_TEST(datagrams)
{
    struct klp_record *send, *receive;
    uint8_t out[BUFFER];
    size_t len;
    struct datagram d[64];
    direction(&send, &receive);
    for (int i = 0; i < 64; i++)
        d[i] = seal(send, "datagram");
    for (int i = 63; i >= 0; i--) {
        ck_assert_int_eq(klp_record_open_datagram(receive, kos_bytes(d[i].b, d[i].len), out, &len), 0);
        ck_assert_uint_eq(len, 8);
        ck_assert_mem_eq(out, "datagram", 8);
        ck_assert_int_eq(take(receive, &d[i]), KOS_E_REPLAYED);
    }
    ck_assert_uint_eq(klp_record_counter(receive), 64);
    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(take(receive, &d[i]), KOS_E_REPLAYED);
    /* In place. */
    d[0] = seal(send, "place");
    ck_assert_int_eq(klp_record_open_datagram(receive, kos_bytes(d[0].b, d[0].len), d[0].b + KLP_DATAGRAM_HEAD, &len), 0);
    ck_assert_mem_eq(d[0].b + KLP_DATAGRAM_HEAD, "place", 5);
    for (size_t short_len = 0; short_len < KLP_RECORD_DATAGRAM_OVERHEAD; short_len++)
        ck_assert_int_eq(klp_record_open_datagram(receive, kos_bytes(d[1].b, short_len), out, &len), KOS_E_PROTOCOL);
    klp_record_free(send);
    klp_record_free(receive);
}
END_TEST

START_TEST(window)
{
    struct klp_record *send, *receive;
    direction(&send, &receive);
    struct datagram zero = seal(send, "0"), one = seal(send, "1"), two = seal(send, "2");
    lose_until(send, KLP_REPLAY_WINDOW);
    struct datagram last_of_window = seal(send, "a");
    ck_assert_int_eq(take(receive, &last_of_window), 0);
    /* Counter 1024 is the highest: 1..1024 are inside, 0 is too old to know. */
    ck_assert_int_eq(take(receive, &zero), KOS_E_REPLAYED);
    ck_assert_int_eq(take(receive, &one), 0);
    ck_assert_int_eq(take(receive, &one), KOS_E_REPLAYED);
    lose_until(send, 10 * KLP_REPLAY_WINDOW + 2);
    struct datagram far = seal(send, "b"); /* falls on the bit of `two` */
    ck_assert_int_eq(take(receive, &far), 0);
    ck_assert_int_eq(take(receive, &far), KOS_E_REPLAYED);
    ck_assert_int_eq(take(receive, &two), KOS_E_REPLAYED);
    ck_assert_int_eq(take(receive, &last_of_window), KOS_E_REPLAYED);
    klp_record_free(send);
    klp_record_free(receive);
}
END_TEST

START_TEST(window_across_epochs)
{
    struct klp_record *send, *receive;
    direction(&send, &receive);
    struct datagram before[8], after[8], beyond;
    lose_until(send, EPOCH - 8);
    for (int i = 0; i < 8; i++)
        before[i] = seal(send, "before");
    for (int i = 0; i < 8; i++)
        after[i] = seal(send, "after");
    ck_assert_int_eq(take(receive, &before[0]), 0);
    ck_assert_int_eq(take(receive, &after[4]), 0);
    ck_assert_int_eq(take(receive, &before[0]), KOS_E_REPLAYED);
    for (int i = 1; i < 8; i++) {
        ck_assert_int_eq(take(receive, &before[i]), 0);
        ck_assert_int_eq(take(receive, &before[i]), KOS_E_REPLAYED);
    }
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(take(receive, &after[i]), i == 4 ? KOS_E_REPLAYED : 0);
    /* Once the window has left the border, so has the old key. */
    struct datagram late = seal(send, "late");
    lose_until(send, EPOCH + KLP_REPLAY_WINDOW);
    beyond = seal(send, "beyond");
    ck_assert_int_eq(take(receive, &beyond), 0);
    ck_assert_int_eq(take(receive, &before[7]), KOS_E_REPLAYED);
    ck_assert_int_eq(take(receive, &late), 0);
    klp_record_free(send);
    klp_record_free(receive);
}
END_TEST

START_TEST(lost_epochs)
{
    struct klp_record *send, *receive;
    direction(&send, &receive);
    struct datagram first = seal(send, "first"), next_epoch, too_far;
    lose_until(send, EPOCH + 5);
    next_epoch = seal(send, "next");
    lose_until(send, 2 * EPOCH);
    too_far = seal(send, "too far");
    ck_assert_int_eq(take(receive, &first), 0);
    ck_assert_int_eq(take(receive, &too_far), KOS_E_GAP);
    ck_assert_int_eq(take(receive, &next_epoch), 0);
    ck_assert_int_eq(take(receive, &too_far), 0);
    ck_assert_int_eq(take(receive, &next_epoch), KOS_E_REPLAYED);
    ck_assert_uint_eq(klp_record_counter(receive), 2 * EPOCH + 1);
    klp_record_free(send);
    klp_record_free(receive);
}
END_TEST

/* Whatever a forger sends, the next honest datagram opens as if nothing had been. */
START_TEST(forgeries)
{
    struct klp_record *send, *receive;
    direction(&send, &receive);
    static const uint64_t claims[] = { 0, 1, 5, 500, 1024, EPOCH - 1, EPOCH, EPOCH + 1, 2 * EPOCH - 1, 2 * EPOCH,
                                       UINT64_MAX - 1, UINT64_MAX };
    for (int round = 0; round < 3; round++) {
        struct datagram honest = seal(send, "honest");
        for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
            struct datagram forged = honest;
            for (int b = 0; b < 3; b++)
                forged.b[1 + b] = (uint8_t)(claims[i] >> (16 - 8 * b));
            if (memcmp(forged.b, honest.b, KLP_DATAGRAM_HEAD) != 0)
                ck_assert_int_lt(take(receive, &forged), 0);
            ck_assert_uint_eq(klp_record_counter(receive), (uint64_t)round);
        }
        for (size_t bit = 0; bit < 8; bit++) {
            struct datagram forged = honest;
            forged.b[0] ^= (uint8_t)(1u << bit);
            ck_assert_int_eq(take(receive, &forged), KOS_E_PROTOCOL);
        }
        for (size_t bit = 8 * KLP_DATAGRAM_HEAD; bit < 8 * honest.len; bit++) {
            struct datagram forged = honest;
            forged.b[bit / 8] ^= (uint8_t)(1u << bit % 8);
            ck_assert_int_eq(take(receive, &forged), KOS_E_DECRYPT);
        }
        for (size_t len = KLP_RECORD_DATAGRAM_OVERHEAD; len < honest.len; len++) {
            struct datagram cut = honest;
            cut.len = len;
            ck_assert_int_eq(take(receive, &cut), KOS_E_DECRYPT);
        }
        ck_assert_int_eq(take(receive, &honest), 0);
    }
    klp_record_free(send);
    klp_record_free(receive);
}
END_TEST

/* 24 bits are shown: the receiver finds the rest, in order, late and after gaps, beyond where they begin again. */
START_TEST(shown_counter_wraps)
{
    struct klp_record *send, *receive;
    struct datagram late;
    direction(&send, &receive);
    const uint64_t wrap = UINT64_C(1) << 24;
    for (uint64_t at = EPOCH; at < wrap; at += EPOCH) {
        lose_until(send, at);
        struct datagram one = seal(send, "one");
        ck_assert_int_eq(take(receive, &one), 0);
    }
    lose_until(send, wrap - 2);
    late = seal(send, "late");
    lose_until(send, wrap + 3);
    struct datagram after = seal(send, "after");
    ck_assert_int_eq(take(receive, &after), 0);
    ck_assert_uint_eq(klp_record_counter(receive), wrap + 4);
    ck_assert_int_eq(take(receive, &late), 0);
    ck_assert_int_eq(take(receive, &late), KOS_E_REPLAYED);
    ck_assert_int_eq(take(receive, &after), KOS_E_REPLAYED);
    klp_record_free(send);
    klp_record_free(receive);
}
END_TEST

START_TEST(one_way_one_form)
{
    struct klp_record *send, *receive;
    uint8_t out[BUFFER];
    size_t len;
    direction(&send, &receive);
    ck_assert_int_eq(klp_record_seal(receive, kos_bytes_str("x"), out), KOS_E_STATE);
    ck_assert_int_eq(klp_record_seal_datagram(receive, kos_bytes_str("x"), out), KOS_E_STATE);
    ck_assert_int_eq(klp_record_open(send, kos_bytes(out, 17), out, &len), KOS_E_STATE);
    ck_assert_int_eq(klp_record_open_datagram(send, kos_bytes(out, 25), out, &len), KOS_E_STATE);
    struct datagram d = seal(send, "x");
    ck_assert_int_eq(klp_record_seal(send, kos_bytes_str("x"), out), KOS_E_STATE);
    ck_assert_int_eq(take(receive, &d), 0);
    ck_assert_int_eq(klp_record_open(receive, kos_bytes(d.b + KLP_DATAGRAM_HEAD, 17), out, &len), KOS_E_STATE);
    klp_record_free(send);
    klp_record_free(receive);
}
END_TEST

/* In pieces of all sorts it is the same record. */
START_TEST(stream_in_pieces)
{
    static uint8_t plain[60000], sealed[sizeof plain + KLP_RECORD_OVERHEAD], other[sizeof sealed], back[sizeof sealed];
    static const size_t cuts[] = { 0, 1, 3, 4, 15, 16, 17, 31, 64, 511, 512, 513, 4096, 5000, 16384, 32000 };
    struct klp_record *send[2], *receive[2];
    struct kos_bytes pieces[sizeof cuts / sizeof *cuts + 1];
    size_t len, at = 0, count = 0;
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i * 31 >> 3);
    for (; count < sizeof cuts / sizeof *cuts; at += cuts[count++])
        pieces[count] = kos_bytes(plain + at, cuts[count]);
    ck_assert_uint_lt(at, sizeof plain);
    pieces[count++] = kos_bytes(plain + at, sizeof plain - at);
    for (int i = 0; i < 2; i++)
        direction(&send[i], &receive[i]);
    ck_assert_int_eq(klp_record_seal(send[0], kos_bytes(plain, sizeof plain), sealed), 0);
    ck_assert_int_eq(klp_record_sealv(send[1], pieces, count, other), 0);
    ck_assert(memcmp(sealed, other, sizeof sealed) == 0);
    ck_assert_int_eq(klp_record_open(receive[1], kos_bytes(other + 2, sizeof other - 2), back, &len), 0);
    ck_assert(len == sizeof plain && memcmp(back, plain, len) == 0);
    pieces[0] = kos_bytes(plain, KLP_RECORD_PLAIN_MAX - sizeof plain + 1);
    ck_assert_int_eq(klp_record_sealv(send[1], pieces, count, other), KOS_E_LIMIT);
    ck_assert_uint_eq(klp_record_counter(send[1]), 1);
    for (int i = 0; i < 2; i++) {
        klp_record_free(send[i]);
        klp_record_free(receive[i]);
    }
}
END_TEST

TESTS("klp/record", stream, stream_in_pieces, stream_spoiled, stream_epochs, epoch_key, datagrams, window,
      window_across_epochs, lost_epochs, forgeries, shown_counter_wraps, one_way_one_form)
