/* SPDX-License-Identifier: Apache-2.0
 * Airtime against values worked out by hand and published ones, the law's bands, and the sliding window. */
#include "unit.h"
#include "airtime.h"

#include <string.h>

static struct lora_radio radio(uint32_t spreading, uint32_t bandwidth, uint32_t coding, uint32_t preamble)
{
    return (struct lora_radio){ .frequency_hz = 868100000,
                                .bandwidth_hz = bandwidth,
                                .spreading = spreading,
                                .coding = coding,
                                .preamble_symbols = preamble,
                                .power_dbm = 14 };
}

/* Payload symbols are 8 + ceil((8 PL - 4 SF + 44) / (4 (SF - 2 DE))) CR, the preamble n + 4.25. */
START_TEST(test_packet)
{
    /* SF7: (408 - 28 + 44) / 28 = 15.1 -> 16; 8 + 80 + 12.25 = 100.25 symbols of 1.024 ms */
    struct lora_radio r = radio(7, 125000, 5, 8);
    ck_assert_uint_eq(lora_packet_airtime_us(&r, 51), 102656);
    /* LoRaWAN's 51 bytes with 13 of overhead, as The Things Network's calculator and others print them: 118.0, 2793.5
     * ms */
    ck_assert_uint_eq(lora_packet_airtime_us(&r, 64), 118016);
    r = radio(12, 125000, 5, 8);
    ck_assert_uint_eq(lora_packet_airtime_us(&r, 64), 2793472);
    /* 11 bytes with 13 at SF10: 370.7 ms, which is why US915 allows no more there */
    r = radio(10, 125000, 5, 8);
    ck_assert_uint_eq(lora_packet_airtime_us(&r, 24), 370688);
    /* SF11 at 125 kHz has symbols of 16.4 ms, so it is optimised: (408 - 44 + 44) / 36 = 11.3 -> 12; 80.25 symbols */
    r = radio(11, 125000, 5, 8);
    ck_assert_uint_eq(lora_packet_airtime_us(&r, 51), 1314816);
    /* at 250 kHz not: 408 / 44 = 9.3 -> 10; 70.25 symbols of 8.192 ms */
    r = radio(11, 250000, 5, 8);
    ck_assert_uint_eq(lora_packet_airtime_us(&r, 51), 575488);
    /* coding rate 4/8 and a longer preamble: 8 + 16 * 8 + 28.25 = 164.25 */
    r = radio(7, 125000, 8, 24);
    ck_assert_uint_eq(lora_packet_airtime_us(&r, 51), 168192);
    /* nothing but header: (0 - 48 + 44) is below 0 and counts as 0; 20.25 symbols of 32.768 ms */
    r = radio(12, 125000, 5, 8);
    ck_assert_uint_eq(lora_packet_airtime_us(&r, 0), 663552);
    /* rounded up: 100.25 * 128 / 41700 s = 307.721... ms */
    r = radio(7, 41700, 5, 8);
    ck_assert_uint_eq(lora_packet_airtime_us(&r, 51), 307722);
}
END_TEST

START_TEST(test_frame)
{
    struct lora_radio r = radio(7, 125000, 5, 8);
    ck_assert_uint_eq(lora_frame_airtime_us(&r, 50), lora_packet_airtime_us(&r, 51));
    ck_assert_uint_eq(lora_frame_airtime_us(&r, 254), lora_packet_airtime_us(&r, 255));
    ck_assert_uint_eq(lora_frame_airtime_us(&r, 255), lora_packet_airtime_us(&r, 255) + lora_packet_airtime_us(&r, 2));
    /* 500 bytes: packets of 255 and 247; (2040 + 16) / 28 -> 74, (1976 + 16) / 28 -> 72; (390.25 + 380.25) symbols */
    ck_assert_uint_eq(lora_frame_airtime_us(&r, 500), 788992);
    ck_assert_uint_eq(lora_bits_per_second(&r), 5468);
    r = radio(12, 125000, 8, 8);
    ck_assert_uint_eq(lora_bits_per_second(&r), 183);
}
END_TEST

START_TEST(test_preamble)
{
    struct lora_radio r = radio(7, 125000, 5, 0);
    ck_assert_uint_eq(lora_firmware_preamble(&r), 24); /* 24 ms / 1.024 ms = 23.4 */
    r = radio(8, 125000, 5, 0);
    ck_assert_uint_eq(lora_firmware_preamble(&r), 18);
    r = radio(7, 500000, 5, 0); /* 21 kbit/s: 24 ms / 0.256 ms */
    ck_assert_uint_eq(lora_firmware_preamble(&r), 94);
}
END_TEST

START_TEST(test_regions)
{
    struct lora_radio r = radio(8, 125000, 5, 8);
    struct lora_rule rule;
    struct kos_error error;
    ck_assert_int_eq(lora_region_rule("eu868", &r, &rule, &error), KOS_OK);
    ck_assert_str_eq(rule.band, "eu868 g1");
    ck_assert_uint_eq(rule.duty_ppm, 10000);
    r.frequency_hz = 869525000;
    ck_assert_int_eq(lora_region_rule("eu868", &r, &rule, &error), KOS_OK);
    ck_assert_str_eq(rule.band, "eu868 g3");
    ck_assert_uint_eq(rule.duty_ppm, 100000);
    r.power_dbm = 20;
    ck_assert_int_eq(lora_region_rule("eu868", &r, &rule, &error), KOS_OK);
    r.frequency_hz = 868950000;
    ck_assert_int_eq(lora_region_rule("eu868", &r, &rule, &error), KOS_E_CONFIG);
    ck_assert_str_eq(error.text, "eu868 g2 allows 14 dBm: power = 20 is too much");
    r.power_dbm = 14;
    ck_assert_int_eq(lora_region_rule("eu868", &r, &rule, &error), KOS_OK);
    ck_assert_uint_eq(rule.duty_ppm, 1000);
    /* Its middle is within g1, its upper edge is not. */
    r.frequency_hz = 868560000;
    ck_assert_int_eq(lora_region_rule("eu868", &r, &rule, &error), KOS_E_CONFIG);
    r.frequency_hz = 915000000;
    ck_assert_int_eq(lora_region_rule("eu868", &r, &rule, &error), KOS_E_CONFIG);
    ck_assert_int_eq(lora_region_rule("us915", &r, &rule, &error), KOS_OK);
    ck_assert_uint_eq(rule.dwell_ms, 400);
    ck_assert_uint_eq(rule.dwell_window_ms, 20000);
    r.bandwidth_hz = 500000;
    ck_assert_int_eq(lora_region_rule("us915", &r, &rule, &error), KOS_OK);
    ck_assert_uint_eq(rule.dwell_ms, 0);
    r.frequency_hz = 866000000;
    ck_assert_int_eq(lora_region_rule("in865", &r, &rule, &error), KOS_OK);
    ck_assert_uint_eq(rule.duty_ppm, 1000000);
}
END_TEST

/* 36 s in an hour: used up, nothing for an hour, then as it went out. */
START_TEST(test_budget)
{
    static struct lora_budget b;
    uint64_t t = 86400000;
    lora_budget_init(&b, 3600000, 36000000);
    ck_assert_uint_eq(lora_budget_wait_ms(&b, t, 36000000), 0);
    ck_assert_uint_eq(lora_budget_wait_ms(&b, t, 36000001), UINT64_MAX);
    for (int i = 0; i < 36; i++)
        lora_budget_add(&b, t + 60000 * (uint64_t)i, 1000000);
    t += 60000 * 35;
    ck_assert_uint_eq(lora_budget_used_us(&b, t), 36000000);
    uint64_t wait = lora_budget_wait_ms(&b, t, 1000000);
    /* The first went out 35 minutes ago. A bucket is 6 s. */
    ck_assert_uint_ge(wait, 1500000);
    ck_assert_uint_le(wait, 1506000);
    ck_assert_uint_eq(lora_budget_wait_ms(&b, t + wait, 1000000), 0);
    ck_assert_uint_gt(lora_budget_wait_ms(&b, t + wait - 1, 1000000), 0);
    ck_assert_uint_ge(lora_budget_wait_ms(&b, t, 2000000), wait + 54000);
    ck_assert_uint_eq(lora_budget_used_us(&b, t + 3606000), 0);
    lora_budget_init(&b, 3600000, 0);
    ck_assert_uint_eq(lora_budget_wait_ms(&b, t, UINT64_MAX), 0);
}
END_TEST

/* Sent as soon as the budget allows, for many windows: no window of the exact sum is ever above the limit. */
START_TEST(test_never_above)
{
    enum { FRAMES = 4000 };
    static struct lora_budget b;
    static uint64_t start[FRAMES], end[FRAMES];
    uint64_t now = 86400000, seed = 1;
    lora_budget_init(&b, 10000, 1000000);
    for (int i = 0; i < FRAMES; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t us = 1000 + (seed >> 33) % 300000, wait = lora_budget_wait_ms(&b, now, us);
        ck_assert_uint_lt(wait, 20100);
        start[i] = (now + wait) * 1000;
        end[i] = start[i] + us;
        lora_budget_add(&b, (end[i] + 999) / 1000, us);
        uint64_t from = end[i] - 10000000, sum = 0;
        for (int j = i; j >= 0 && end[j] > from; j--)
            sum += end[j] - (start[j] > from ? start[j] : from);
        ck_assert_uint_le(sum, 1000000);
        now = (end[i] + 999) / 1000 + (seed >> 20) % 7;
    }
    /* And it was used, not merely kept to: 4000 frames of some 150 ms at 10 %. */
    ck_assert_uint_lt(now - 86400000, 7200000);
}
END_TEST

TESTS("transport/lora/airtime", test_packet, test_frame, test_preamble, test_regions, test_budget, test_never_above)
