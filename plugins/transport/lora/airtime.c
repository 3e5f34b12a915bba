/* SPDX-License-Identifier: Apache-2.0
 * Airtime by Semtech's formula, and the sliding window that it is counted in. */
#include "airtime.h"

#include <string.h>

enum {
    PACKET_MAX = 255,
    PACKET_HEADER = 1,
    PREAMBLE_MIN = 18,
    PREAMBLE_US = 24000,
    PREAMBLE_FAST_US = 6000,
    FAST_BPS = 30000
};

static const uint32_t bandwidths[] = { 7800, 10400, 15600, 20800, 31250, 41700, 62500, 125000, 250000, 500000 };

bool lora_bandwidth_known(uint32_t hz)
{
    for (size_t i = 0; i < sizeof bandwidths / sizeof *bandwidths; i++)
        if (bandwidths[i] == hz)
            return true;
    return false;
}

uint64_t lora_packet_airtime_us(const struct lora_radio *radio, uint32_t bytes)
{
    /* A symbol longer than 16 ms: the modem's low data rate optimisation takes two bits from each. */
    bool slow = ((uint64_t)1000 << radio->spreading) > (uint64_t)16 * radio->bandwidth_hz;
    int64_t bits = 8 * (int64_t)bytes - 4 * (int64_t)radio->spreading + 28 + 16;
    int64_t per_block = 4 * ((int64_t)radio->spreading - (slow ? 2 : 0));
    uint64_t blocks = bits > 0 ? (uint64_t)((bits + per_block - 1) / per_block) : 0;
    uint64_t payload = 8 + blocks * radio->coding;
    /* In quarters of a symbol, for the 4.25 that end the preamble. */
    uint64_t quarters = 4 * (uint64_t)radio->preamble_symbols + 17 + 4 * payload;
    uint64_t scaled = (quarters << radio->spreading) * 1000000u, unit = 4 * (uint64_t)radio->bandwidth_hz;
    return (scaled + unit - 1) / unit;
}

uint64_t lora_frame_airtime_us(const struct lora_radio *radio, uint32_t bytes)
{
    uint32_t room = PACKET_MAX - PACKET_HEADER;
    if (bytes <= room)
        return lora_packet_airtime_us(radio, bytes + PACKET_HEADER);
    return lora_packet_airtime_us(radio, PACKET_MAX) + lora_packet_airtime_us(radio, bytes - room + PACKET_HEADER);
}

uint64_t lora_bits_per_second(const struct lora_radio *radio)
{
    return (uint64_t)radio->spreading * radio->bandwidth_hz * 4 / ((uint64_t)radio->coding << radio->spreading);
}

uint32_t lora_firmware_preamble(const struct lora_radio *radio)
{
    uint64_t target_us = lora_bits_per_second(radio) > FAST_BPS ? PREAMBLE_FAST_US : PREAMBLE_US;
    uint64_t unit = (uint64_t)1000000 << radio->spreading;
    uint64_t symbols = (target_us * radio->bandwidth_hz + unit - 1) / unit;
    return symbols > PREAMBLE_MIN ? (uint32_t)symbols : PREAMBLE_MIN;
}

/* ---- the window ---- */

void lora_budget_init(struct lora_budget *budget, uint64_t window_ms, uint64_t limit_us)
{
    memset(budget, 0, sizeof *budget);
    budget->window_ms = window_ms;
    budget->limit_us = limit_us;
    budget->bucket_ms = (window_ms + BUDGET_BUCKETS - 1) / BUDGET_BUCKETS;
    if (budget->bucket_ms == 0)
        budget->bucket_ms = 1;
}

void lora_budget_add(struct lora_budget *budget, uint64_t end_ms, uint64_t us)
{
    uint64_t bucket = end_ms / budget->bucket_ms;
    size_t at = bucket % BUDGET_RING;
    if (budget->index[at] != bucket + 1)
        budget->used_us[at] = 0;
    budget->index[at] = bucket + 1;
    budget->used_us[at] += us;
}

/* When what lies in the bucket is outside of every window that ends then or later. */
static uint64_t expiry(const struct lora_budget *budget, size_t at)
{
    return budget->index[at] * budget->bucket_ms + budget->window_ms;
}

uint64_t lora_budget_used_us(const struct lora_budget *budget, uint64_t now_ms)
{
    uint64_t used = 0;
    for (size_t i = 0; i < BUDGET_RING; i++)
        if (budget->index[i] && expiry(budget, i) > now_ms)
            used += budget->used_us[i];
    return used;
}

uint64_t lora_budget_wait_ms(const struct lora_budget *budget, uint64_t now_ms, uint64_t us)
{
    if (budget->limit_us == 0)
        return 0;
    if (us > budget->limit_us)
        return UINT64_MAX;
    uint64_t used = lora_budget_used_us(budget, now_ms), at = now_ms;
    while (used + us > budget->limit_us) {
        uint64_t next = UINT64_MAX, gives = 0;
        for (size_t i = 0; i < BUDGET_RING; i++) {
            uint64_t when = budget->index[i] && budget->used_us[i] ? expiry(budget, i) : 0;
            if (when > at && when < next) {
                next = when;
                gives = budget->used_us[i];
            }
        }
        at = next;
        used -= gives;
    }
    return at - now_ms;
}
