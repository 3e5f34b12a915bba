/* SPDX-License-Identifier: Apache-2.0
 * How long a frame is on the air, what a region allows, and how much of that is left. Pure functions: time is given. */
#ifndef KOS_LORA_AIRTIME_H
#define KOS_LORA_AIRTIME_H

#include <kos/err.h>
#include <stdbool.h>
#include <stddef.h>

struct lora_radio {
    uint32_t frequency_hz, bandwidth_hz;
    uint32_t spreading;         /* 7 to 12 */
    uint32_t coding;            /* 5 to 8: 4/5 to 4/8 */
    uint32_t preamble_symbols;
    int32_t power_dbm;
};

/* One LoRa packet of at most 255 bytes, explicit header and CRC (Semtech AN1200.13, LoRa Modem Designer's Guide,
 * section 4), rounded up to a microsecond. */
uint64_t lora_packet_airtime_us(const struct lora_radio *radio, uint32_t bytes);
/* A frame as an RNode sends it: a byte of its own before each packet, and from 255 bytes on two packets. */
uint64_t lora_frame_airtime_us(const struct lora_radio *radio, uint32_t bytes);
/* The preamble that RNode firmware chooses: 24 ms, 6 ms at more than 30 kbit/s, at least 18 symbols. */
uint32_t lora_firmware_preamble(const struct lora_radio *radio);
uint64_t lora_bits_per_second(const struct lora_radio *radio);
bool lora_bandwidth_known(uint32_t hz);

/* What a region's law says for a frequency. */
struct lora_rule {
    char band[32];              /* "eu868 g1" */
    uint32_t duty_ppm;          /* share of an hour; 1000000: no limit */
    uint32_t dwell_ms;          /* at most so much ... */
    uint32_t dwell_window_ms;   /* ... within this; 0: no limit */
    int32_t power_dbm;
};
int32_t lora_region_rule(const char *region, const struct lora_radio *radio, struct lora_rule *ret_rule,
                         struct kos_error *ret_error);

/* A sliding window. What was on the air counts for the window and up to one bucket longer, never shorter. */
enum { BUDGET_BUCKETS = 600, BUDGET_RING = 1024 };
struct lora_budget {
    uint64_t window_ms, bucket_ms, limit_us;   /* limit 0: none */
    uint64_t index[BUDGET_RING];               /* which bucket lies there, + 1; 0: none */
    uint64_t used_us[BUDGET_RING];
};
void lora_budget_init(struct lora_budget *budget, uint64_t window_ms, uint64_t limit_us);
/* `end_ms`: when it leaves the air, at most a window ahead. */
void lora_budget_add(struct lora_budget *budget, uint64_t end_ms, uint64_t us);
uint64_t lora_budget_used_us(const struct lora_budget *budget, uint64_t now_ms);
/* How long until `us` more are allowed: 0 now, UINT64_MAX never. */
uint64_t lora_budget_wait_ms(const struct lora_budget *budget, uint64_t now_ms, uint64_t us);

#endif
