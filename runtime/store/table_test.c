/* SPDX-License-Identifier: Apache-2.0
 * The ordered table in memory, against a plain sorted array. */
#include "store/table.h"

#include <stdlib.h>

#include "core/buf.h"
#include "unit.h"

enum { KEYS = 400, STEPS = 20000 };

struct shadow {
    bool there, deleted;
    uint8_t key[4];
    size_t key_len;
    uint32_t value;
};

static int by_key(const void *a, const void *b)
{
    const struct shadow *x = a, *y = b;
    return table_compare(kos_bytes(x->key, x->key_len), kos_bytes(y->key, y->key_len));
}

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223; /* the Numerical Recipes generator: any would do */
    return *state >> 8;
}

START_TEST(order_of_keys)
{
    ck_assert_int_lt(table_compare(kos_bytes_str(""), kos_bytes_str("a")), 0);
    ck_assert_int_lt(table_compare(kos_bytes_str("a"), kos_bytes_str("aa")), 0);
    ck_assert_int_lt(table_compare(kos_bytes_str("aa"), kos_bytes_str("b")), 0);
    ck_assert_int_lt(table_compare(kos_bytes_str("b"), kos_bytes("\xff", 1)), 0);
    ck_assert_int_eq(table_compare(kos_bytes(NULL, 0), kos_bytes_str("")), 0);
}
END_TEST

START_TEST(like_a_sorted_array)
{
    struct shadow *all = kos_new(KEYS * sizeof *all);
    uint32_t random = 1;
    for (size_t i = 0; i < KEYS; i++) {
        all[i].key_len = 1 + next(&random) % 4;
        for (size_t at = 0; at < 4; at++)
            all[i].key[at] = (uint8_t)(next(&random) % 4 * 85);
    }
    qsort(all, KEYS, sizeof *all, by_key);
    size_t kinds = 0; /* equal keys count once */
    for (size_t i = 0; i < KEYS; i++)
        if (!i || by_key(&all[i], &all[kinds - 1]))
            all[kinds++] = all[i];
    struct table *table = table_new(7);
    for (uint32_t step = 0; step < STEPS; step++) {
        struct shadow *one = &all[next(&random) % kinds];
        uint8_t value[64] = { 0 };
        one->there = true;
        one->deleted = next(&random) % 3 == 0;
        one->value = step;
        memcpy(value, &step, sizeof step);
        table_put(table, kos_bytes(one->key, one->key_len), kos_bytes(value, one->deleted ? 0 : 4 + step % 60), one->deleted);
    }
    size_t count = 0;
    const struct table_entry *entry = table_from(table, kos_bytes(NULL, 0));
    for (size_t i = 0; i < kinds; i++) {
        const struct table_entry *found = table_get(table, kos_bytes(all[i].key, all[i].key_len));
        if (!all[i].there) {
            ck_assert_ptr_null(found);
            continue;
        }
        count++;
        ck_assert_ptr_eq(found, entry);
        ck_assert_ptr_eq(table_from(table, kos_bytes(all[i].key, all[i].key_len)), entry);
        ck_assert_int_eq(entry->deleted, all[i].deleted);
        if (!entry->deleted)
            ck_assert_int_eq(memcmp(table_value(entry).data, &all[i].value, 4), 0);
        entry = entry->next[0];
    }
    ck_assert_ptr_null(entry);
    ck_assert_uint_eq(table_count(table), count);
    table_free(table);
    free(all);
}
END_TEST

START_TEST(bytes_are_counted)
{
    struct table *table = table_new(1);
    static uint8_t value[10000];
    table_put(table, kos_bytes_str("k"), kos_bytes(value, sizeof value), false);
    uint64_t full = table_bytes(table);
    ck_assert_uint_ge(full, sizeof value);
    table_put(table, kos_bytes_str("k"), kos_bytes(NULL, 0), true);
    ck_assert_uint_eq(full - table_bytes(table), sizeof value);
    table_free(table);
    table_free(NULL);
}
END_TEST

TESTS("store/table", order_of_keys, like_a_sorted_array, bytes_are_counted)
