/* SPDX-License-Identifier: Apache-2.0
 * Quantiles of latency.h against those of the values themselves. */
#include "unit.h"
#include "bench/latency.h"

#include <stdlib.h>

static struct latency latency;

START_TEST(nothing_was_measured)
{
    memset(&latency, 0, sizeof latency);
    ck_assert_uint_eq(latency_at(&latency, 0.5), 0);
    ck_assert_uint_eq(latency_at(&latency, 1), 0);
}
END_TEST

START_TEST(small_values_are_exact)
{
    memset(&latency, 0, sizeof latency);
    for (uint64_t ns = 1; ns <= 101; ns++)
        latency_add(&latency, ns);
    ck_assert_uint_eq(latency_at(&latency, 0.5), 51);
    ck_assert_uint_eq(latency_at(&latency, 0.99), 100);
    ck_assert_uint_eq(latency_at(&latency, 1), 101);
    ck_assert_uint_eq(latency_at(&latency, 0), 1);
}
END_TEST

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

START_TEST(large_values_are_right_within_a_bucket)
{
    static uint64_t values[20000];
    uint64_t state = 42;
    size_t count = sizeof values / sizeof *values;
    memset(&latency, 0, sizeof latency);
    for (size_t i = 0; i < count; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
        values[i] = (state >> 20) % (UINT64_C(1) << (10 + i % 24));
        latency_add(&latency, values[i]);
    }
    qsort(values, count, sizeof *values, by_size);
    for (int percent = 1; percent < 100; percent++) {
        double real = (double)values[(size_t)percent * count / 100 - 1], told = (double)latency_at(&latency, percent / 100.0);
        ck_assert_double_le(told, real * 1.017 + 1);
        ck_assert_double_ge(told, real * 0.983 - 1);
    }
    ck_assert_uint_eq(latency_at(&latency, 1) > values[count - 1] * 98 / 100, 1);
    ck_assert_uint_le(latency_at(&latency, 1), values[count - 1]);
}
END_TEST

START_TEST(what_is_beyond_the_buckets_is_in_the_last)
{
    memset(&latency, 0, sizeof latency);
    latency_add(&latency, UINT64_MAX);
    ck_assert_uint_eq(latency.bucket[LATENCY_BUCKETS - 1], 1);
    ck_assert_uint_gt(latency_at(&latency, 0.5), UINT64_C(1) << 44);
}
END_TEST

TESTS("bench/latency", nothing_was_measured, small_values_are_exact, large_values_are_right_within_a_bucket,
      what_is_beyond_the_buckets_is_in_the_last)
