/* SPDX-License-Identifier: Apache-2.0
 *
 * Latencies as counts in buckets, 64 for each power of two of nanoseconds: a quantile is right within 1.6 %, whatever
 * the number of measurements. For what benchmarks measure with, kos and peers alike.
 */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>
#include <string.h>

enum { LATENCY_SUB = 64, LATENCY_BUCKETS = 40 * LATENCY_SUB };

struct latency {
    uint64_t count, max_ns;
    uint32_t bucket[LATENCY_BUCKETS];
};

static inline uint32_t latency_bucket(uint64_t ns)
{
    uint32_t shift = 0;
    while (ns >> shift >= 2 * LATENCY_SUB)
        shift++;
    uint32_t at = shift * LATENCY_SUB + (uint32_t)(ns >> shift);
    return at < LATENCY_BUCKETS ? at : LATENCY_BUCKETS - 1;
}

static inline void latency_add(struct latency *latency, uint64_t ns)
{
    latency->count++;
    latency->bucket[latency_bucket(ns)]++;
    if (ns > latency->max_ns)
        latency->max_ns = ns;
}

/* The middle of the bucket in which the given part (0 to 1) of all is reached; 0 when nothing was measured. */
static inline uint64_t latency_at(const struct latency *latency, double part)
{
    uint64_t wanted = (uint64_t)(part * (double)latency->count + 0.5), seen = 0;
    for (uint32_t i = 0; latency->count && i < LATENCY_BUCKETS; i++) {
        seen += latency->bucket[i];
        if (seen >= wanted && latency->bucket[i]) {
            uint32_t shift = i < 2 * LATENCY_SUB ? 0 : i / LATENCY_SUB - 1;
            uint64_t low = i < 2 * LATENCY_SUB ? i : (uint64_t)(i - shift * LATENCY_SUB) << shift;
            uint64_t middle = low + ((UINT64_C(1) << shift) >> 1);
            return middle < latency->max_ns ? middle : latency->max_ns;
        }
    }
    return 0;
}

#endif
