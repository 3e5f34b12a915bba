/* SPDX-License-Identifier: Apache-2.0
 * The KISS codec: round trips, damage, noise. */
#include "unit.h"
#include "kiss.h"

#include <string.h>

static uint32_t seed;

static uint32_t next_random(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

/* Pushes all; how many frames came out. The last one is in *d. */
static int push(struct kiss_decoder *d, const void *bytes, size_t len)
{
    int frames = 0;
    for (size_t i = 0; i < len; i++) {
        bool whole = kiss_push(d, ((const uint8_t *)bytes)[i]);
        ck_assert_uint_le(d->len, KISS_DATA_MAX);
        frames += whole;
    }
    return frames;
}

START_TEST(test_known_bytes)
{
    struct kiss_decoder d = { 0 };
    uint8_t out[KISS_ENCODED_MAX];
    size_t n = kiss_encode(KISS_DETECT, kos_bytes("\x73", 1), out);
    ck_assert_uint_eq(n, 4);
    ck_assert_mem_eq(out, "\xc0\x08\x73\xc0", 4);
    n = kiss_encode(KISS_DATA,
                    kos_bytes("a\xc0\xdb"
                              "b",
                              4),
                    out);
    ck_assert_uint_eq(n, 9);
    ck_assert_mem_eq(out,
                     "\xc0\x00"
                     "a\xdb\xdc\xdb\xdd"
                     "b\xc0",
                     9);
    ck_assert_int_eq(push(&d, out, n), 1);
    ck_assert_uint_eq(d.command, KISS_DATA);
    ck_assert_uint_eq(d.len, 4);
    ck_assert_mem_eq(d.data,
                     "a\xc0\xdb"
                     "b",
                     4);
}
END_TEST

START_TEST(test_round_trips)
{
    uint8_t data[KISS_DATA_MAX], out[KISS_ENCODED_MAX];
    struct kiss_decoder d = { 0 };
    seed = 1;
    for (size_t len = 0; len <= KISS_DATA_MAX; len++) {
        for (size_t i = 0; i < len; i++) {
            uint32_t r = next_random();
            data[i] = (uint8_t)(r & 0x300 ? r : r & 1 ? 0xc0 : 0xdb);
        }
        size_t n = kiss_encode(KISS_DATA, kos_bytes(data, len), out);
        ck_assert_uint_le(n, sizeof out);
        ck_assert_int_eq(push(&d, out, n), 1);
        ck_assert_uint_eq(d.len, len);
        ck_assert_mem_eq(d.data, data, len);
    }
    memset(data, 0xc0, sizeof data);
    ck_assert_uint_eq(kiss_encode(KISS_DATA, kos_bytes(data, sizeof data), out), sizeof out);
    ck_assert_uint_eq(kiss_encode(KISS_DATA, kos_bytes(data, sizeof data + 1), out), 0);
    ck_assert_uint_eq(d.dropped, 0);
}
END_TEST

/* A single C0 may stand between frames, and any number of them. */
START_TEST(test_borders)
{
    struct kiss_decoder d = { 0 };
    ck_assert_int_eq(push(&d, "\xc0\xc0\xc0\x0f\x01\xc0\x23\x50\xc0\xc0", 10), 2);
    ck_assert_uint_eq(d.dropped, 0);
    ck_assert_int_eq(push(&d, "\x0f\xc0", 2), 1); /* no data at all */
    ck_assert_uint_eq(d.len, 0);
    struct kiss_decoder fresh = { 0 };
    ck_assert_int_eq(push(&fresh, "boot message\r\n\xc0\x0f\x01\xc0", 18), 1);
}
END_TEST

START_TEST(test_damage)
{
    struct kiss_decoder d = { 0 };
    uint8_t one = 'x';
    ck_assert_int_eq(push(&d,
                          "\xc0\x00"
                          "a\xdb"
                          "b\xc0",
                          6),
                     0);                              /* an escape that is none */
    ck_assert_int_eq(push(&d, "\x0f\x01\xc0", 3), 1); /* and in step again */
    ck_assert_int_eq(push(&d,
                          "\x00"
                          "a\xdb\xc0",
                          4),
                     0);                                  /* cut off within an escape */
    ck_assert_int_eq(push(&d, "\xdb\xdc\x01\xc0", 4), 0); /* no command is escaped */
    ck_assert_uint_eq(d.dropped, 3);
    ck_assert_int_eq(push(&d, "\x00", 1), 0);
    for (int i = 0; i < 100000; i++)
        ck_assert_int_eq(push(&d, &one, 1), 0);
    ck_assert_int_eq(push(&d, "\xc0", 1), 0); /* too long */
    ck_assert_uint_eq(d.dropped, 4);
    ck_assert_int_eq(push(&d, "\x0f\x01\xc0", 3), 1);
}
END_TEST

/* Whatever noise lies between, what follows a C0 arrives whole. */
START_TEST(test_noise)
{
    struct kiss_decoder d = { 0 };
    uint8_t data[64], out[KISS_ENCODED_MAX], noise[700];
    for (seed = 1; seed < 4000; seed += 7) {
        uint32_t keep = seed;
        size_t len = next_random() % sizeof data, junk = next_random() % sizeof noise;
        for (size_t i = 0; i < junk; i++) {
            uint32_t r = next_random();
            noise[i] = (uint8_t)(r & 0x700 ? r : r & 1 ? 0xc0 : 0xdb);
        }
        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)next_random();
        push(&d, noise, junk);
        size_t n = kiss_encode(0x7e, kos_bytes(data, len), out);
        ck_assert_int_ge(push(&d, out, n), 1);
        ck_assert_uint_eq(d.command, 0x7e);
        ck_assert_uint_eq(d.len, len);
        ck_assert_mem_eq(d.data, data, len);
        seed = keep;
    }
}
END_TEST

TESTS("transport/lora/kiss", test_known_bytes, test_round_trips, test_borders, test_damage, test_noise)
