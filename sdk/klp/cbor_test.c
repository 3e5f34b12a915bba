/* SPDX-License-Identifier: Apache-2.0
 * Deterministic CBOR and the compact form made of it: what goes in comes out, and nothing else goes in. */
#include <klp/cbor.h>
#include <klp/compact.h>
#include <klp/id.h>

#include <math.h>
#include <stdlib.h>

#include "unit.h"

static uint64_t state = 88172645463325252;

static uint32_t dice(uint32_t sides)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * UINT64_C(2685821657736338717)) >> 33) % sides;
}

static int32_t check_hex(const char *hex)
{
    uint8_t data[256];
    size_t len;
    ck_assert_int_ge(klp_unhex(kos_bytes_str(hex), data, sizeof data, &len), 0);
    return klp_cbor_check(kos_bytes(data, len), 256);
}

START_TEST(refused)
{
    static const char *const bad[] = {
        "", "1800", "1817", "190018", "1900ff", "1a0000ffff", "1b00000000ffffffff", /* heads that are not the shortest */
        "1c", "1d", "1e", "1f", "3f", "5f", "7f", "9f", "bf", "ff", "5fff", "9fff", "bfff", "df00",
        "18", "19ff", "1aff", "1bff", "41", "61", "58ff", "5bffffffffffffffff", "7bffffffffffffffff", "9bffffffffffffffff",
        "bbffffffffffffffff", "9affffffff00", "bb800000000000000000", "81", "a1", "a100", "c1", "8200",
        "61ff", "62c080", "63eda080", "64f4908080", "61c3", /* no UTF-8 */
        "a201010100", "a2010101ff", "a2020101010", "a2616201616101", "a2026141016142", "a22001000a", /* keys */
        "f800", "f818", "f81f", "f8", "fa00000000", "fa3f800000", "fb3ff0000000000000", "fb0000000000000000",
        "f97e01", "fa7fc00000", "fb7ff8000000000000", "f97d00", "fa7f800001", /* floats */
        "0000", "f6f6", "8000",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (strlen(bad[i]) % 2 == 0)
            ck_assert_msg(check_hex(bad[i]) == KOS_E_CANONICAL, "%s: %d", bad[i], check_hex(bad[i]));
}
END_TEST

START_TEST(depth_is_bounded)
{
    uint8_t deep[100000];
    for (uint8_t head = 0; head < 3; head++) {
        memset(deep, head == 0 ? 0x81 : head == 1 ? 0xc6 : 0xa1, sizeof deep);
        ck_assert_int_lt(klp_cbor_check(kos_bytes(deep, sizeof deep), sizeof deep), 0);
    }
    memset(deep, 0x81, KLP_CBOR_DEPTH_MAX);
    deep[KLP_CBOR_DEPTH_MAX] = 0;
    ck_assert_int_eq(klp_cbor_check(kos_bytes(deep, KLP_CBOR_DEPTH_MAX + 1), sizeof deep), 0);
    deep[KLP_CBOR_DEPTH_MAX] = 0x81;
    deep[KLP_CBOR_DEPTH_MAX + 1] = 0;
    ck_assert_int_eq(klp_cbor_check(kos_bytes(deep, KLP_CBOR_DEPTH_MAX + 2), sizeof deep), KOS_E_LIMIT);
    ck_assert_int_eq(klp_cbor_check(kos_bytes(deep, 2), 1), KOS_E_LIMIT);
}
END_TEST

/* Each bit pattern of a half, and doubles near the borders between the widths, come back; none has a second form. */
START_TEST(floats)
{
    for (uint32_t half = 0; half < 65536; half++) {
        uint8_t in[3] = { 0xf9, (uint8_t)(half >> 8), (uint8_t)half }, out[9];
        struct kos_bytes rest = kos_bytes(in, 3), got;
        struct klp_cbor item;
        struct klp_cbor_out writer;
        bool other_nan = (half & 0x7c00) == 0x7c00 && (half & 1023) && half != 0x7e00;
        int32_t code = klp_cbor_next(&rest, &item);
        ck_assert_msg((code < 0) == other_nan, "%x", half);
        if (code < 0)
            continue;
        klp_cbor_begin(&writer, out, sizeof out);
        klp_cbor_put_double(&writer, item.real);
        ck_assert_int_eq(klp_cbor_end(&writer, &got), 0);
        ck_assert_msg(got.len == 3 && memcmp(got.data, in, 3) == 0, "%x", half);
    }
    for (uint32_t i = 0; i < 200000; i++) {
        uint64_t bits = (uint64_t)dice(1u << 31) << 33 ^ (uint64_t)dice(1u << 31) << 2;
        double number;
        if (i % 3)
            bits &= ~UINT64_C(0) << dice(60);
        memcpy(&number, &bits, sizeof number);
        uint8_t out[9];
        struct klp_cbor_out writer;
        struct klp_cbor item;
        struct kos_bytes got;
        klp_cbor_begin(&writer, out, sizeof out);
        klp_cbor_put_double(&writer, number);
        ck_assert_int_eq(klp_cbor_end(&writer, &got), 0);
        ck_assert_int_eq(klp_cbor_next(&got, &item), 0);
        ck_assert(isnan(number) ? isnan(item.real) : memcmp(&number, &item.real, sizeof number) == 0);
    }
}
END_TEST

/* ---- the compact form ---- */

static void round_trip(struct kos_bytes json)
{
    uint8_t *compact, *back;
    size_t len, back_len;
    int32_t code = klp_compact_make(json, &compact, &len);
    if (code == KOS_E_UNSUPPORTED)
        return;
    ck_assert_msg(code == KOS_OK, "%d: %.*s", code, (int)json.len, (const char *)json.data);
    ck_assert_uint_lt(len, json.len);
    ck_assert_int_eq(klp_cbor_check(kos_bytes(compact, len), len), 0);
    ck_assert_int_eq(klp_compact_open(kos_bytes(compact, len), &back, &back_len), 0);
    ck_assert(kos_bytes_eq(json, kos_bytes(back, back_len)));
    free(compact);
    free(back);
}

static size_t compact_len(const char *json)
{
    uint8_t *compact;
    size_t len;
    ck_assert_int_eq(klp_compact_make(kos_bytes_str(json), &compact, &len), 0);
    free(compact);
    round_trip(kos_bytes_str(json));
    return len;
}

START_TEST(a_message)
{
    ck_assert_uint_eq(compact_len("{\"id\":\"zdhqgbz3u6ezhzurera35nvq2q\"}"), 1 + 1 + 17);
    ck_assert_uint_eq(compact_len("{\"digest\":\"0x6c45e53cfc26dd07fae03e9bd71db3b0\"}"), 1 + 1 + 1 + 17);
    ck_assert_uint_eq(compact_len("{\"created\":1781900003000,\"expires\":1781900603000}"), 1 + 1 + 9 + 1 + 5);
    ck_assert_uint_eq(compact_len("{\"source\":\"klp://agent.zdhqgbz3u6ezhzurera35nvq2q\"}"), 1 + 1 + 1 + 17);
    ck_assert_uint_eq(compact_len("{\"source\":\"klp://node.usa.kai\"}"), 1 + 1 + 1 + 8);
    ck_assert_uint_eq(compact_len("{\"type\":\"TASK_REQUEST\"}"), 4);
    ck_assert_uint_eq(
        compact_len("{\"created\":1781900003000,\"event\":2,\"expires\":1781900603000,\"id\":"
                    "\"a4dqobyha4dqobyha4dqobyha4\",\"payload\":{},\"source\":\"klp://node.usa.kai\",\"source_id\":"
                    "\"zdhqgbz3u6ezhzurera35nvq2q\",\"target\":\"klp://agent.echo.usa.kai\",\"target_id\":"
                    "\"evv6a4k5w35rnbwo7gbkoayxou\",\"type\":\"TASK_CANCEL\"}"),
        103);
}
END_TEST

static void put_random(struct klp_json_out *out, uint32_t depth);

static void random_text(char *text, size_t cap)
{
    static const char *const pieces[] = { "a",    "0x",   "ff",      "klp://node.", "klp://agent.", "home", ".kai", "é",
                                          "\"",   "\\",   "\n",      "\x01",        "\xef\xbf\xbd", "\xf0\x9f\x98\x80",
                                          "0123", "abcd", "AAAA",    "QUJD",        "=",            " ",
                                          "zdhqgbz3u6ezhzurera35nvq2q", "TASK_RESULT", "accepted", "expires" };
    size_t len = 0;
    text[0] = 0;
    for (uint32_t n = dice(6); n; n--) {
        const char *piece = pieces[dice(sizeof pieces / sizeof *pieces)];
        if (len + strlen(piece) + 1 < cap)
            len += (size_t)snprintf(text + len, cap - len, "%s", piece);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_object(struct klp_json_out *out, uint32_t depth)
{
    static const char *const all[] = { "type",   "id",   "source", "created", "expires", "payload", "text", "task",
                                       "digest", "zz",   "a",      "",        "error",   "inputs",  "key",  "klp",
                                       "\xc3\xa9", "aa", "unknown", "base64", "part" };
    const char *names[24];
    size_t count = dice(sizeof all / sizeof *all), kept = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = all[dice(sizeof all / sizeof *all)];
        bool have = false;
        for (size_t k = 0; k < kept; k++)
            have |= strcmp(names[k], name) == 0;
        if (!have)
            names[kept++] = name;
    }
    qsort(names, kept, sizeof *names, by_name);
    klp_json_object(out);
    for (size_t i = 0; i < kept; i++) {
        klp_json_name(out, names[i]);
        put_random(out, depth + 1);
    }
    klp_json_close(out, '}');
}

static void put_random(struct klp_json_out *out, uint32_t depth)
{
    static const double reals[] = { 0.5, -0.25, 1e21, 1.7976931348623157e308, 5e-324, 0.1, 65504.5, 1e300, -1e-7, 0.333251953125 };
    char text[128];
    uint32_t kind = dice(depth > 6 ? 6 : 8);
    if (kind == 0) {
        klp_json_put_int(out, dice(2) ? (int64_t)dice(1000) - 500 : KLP_JSON_INT_MAX - (int64_t)dice(3));
    } else if (kind == 1) {
        klp_json_put_int(out, INT64_C(1781900003000) + (int64_t)dice(1000000));
    } else if (kind == 2) {
        klp_json_put_double(out, reals[dice(sizeof reals / sizeof *reals)]);
    } else if (kind == 3) {
        klp_json_put_bool(out, dice(2));
    } else if (kind == 4 || kind == 5) {
        random_text(text, sizeof text);
        klp_json_put_cstr(out, text);
    } else if (kind == 6) {
        klp_json_array(out);
        for (uint32_t n = dice(5); n; n--)
            put_random(out, depth + 1);
        klp_json_close(out, ']');
    } else {
        put_object(out, depth);
    }
}

START_TEST(random_texts_come_back)
{
    static uint8_t data[65536];
    uint32_t made = 0;
    for (int i = 0; i < 20000; i++) {
        struct klp_json_out out;
        struct kos_bytes json;
        klp_json_begin(&out, data, sizeof data);
        put_object(&out, 0);
        if (klp_json_end(&out, &json) < 0)
            continue;
        made++;
        round_trip(json);
    }
    ck_assert_uint_gt(made, 15000);
}
END_TEST

/* Whatever is done to a compact form: either it is refused, or it is the one compact form of another text. */
START_TEST(hostile_compact)
{
    static uint8_t data[65536];
    uint32_t taken = 0, refusals = 0;
    for (int i = 0; i < 20000; i++) {
        struct klp_json_out out;
        struct kos_bytes json;
        uint8_t *compact, *back, *again;
        size_t len, back_len, again_len;
        klp_json_begin(&out, data, sizeof data);
        put_object(&out, 0);
        if (klp_json_end(&out, &json) < 0 || klp_compact_make(json, &compact, &len) < 0)
            continue;
        for (uint32_t hits = 1 + dice(3); hits; hits--)
            compact[dice((uint32_t)len)] ^= (uint8_t)(1u << dice(8));
        if (dice(4) == 0)
            len = dice((uint32_t)len);
        if (klp_compact_open(kos_bytes(compact, len), &back, &back_len) < 0) {
            refusals++;
        } else {
            struct klp_json value;
            taken++;
            ck_assert_int_eq(klp_json_read(kos_bytes(back, back_len), KLP_COMPACT_MAX, &value, NULL), 0);
            if (klp_compact_make(kos_bytes(back, back_len), &again, &again_len) == KOS_OK) {
                ck_assert(kos_bytes_eq(kos_bytes(compact, len), kos_bytes(again, again_len)));
                free(again);
            }
            free(back);
        }
        free(compact);
    }
    ck_assert_uint_gt(taken, 100);
    ck_assert_uint_gt(refusals, 1000);
}
END_TEST

START_TEST(second_spellings)
{
    /* A known name as text; an id as text; a word as text; a time twice; a number nobody gave; an untagged run of other
     * length; expires without created; a whole number as a float; beyond 2^53-1; an infinity; undefined;
     * U+0000. */
    static const char *const bad[] = {
        "a1626964" "01",
        "a101" "781a7a646871" "67627a337536657a687a757265726133356e76713271",
        "a100" "6c5441534b5f52455155455354",
        "a3071a0000000108" "02" "0901",
        "a11903e701", "a10142ffff", "a10901", "a106f93c00", "a1061b0020000000000000", "a106f97c00", "a106f7", "a106c001",
        "80", "01", "a106c91863", "a107" "c6" "40", "a101" "c7" "42ffff", "a106" "6100",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t in[128], *json;
        size_t len, json_len;
        ck_assert_int_ge(klp_unhex(kos_bytes_str(bad[i]), in, sizeof in, &len), 0);
        ck_assert_msg(klp_compact_open(kos_bytes(in, len), &json, &json_len) == KOS_E_CANONICAL, "%s", bad[i]);
    }
}
END_TEST

START_TEST(what_has_no_compact_form)
{
    uint8_t *compact;
    size_t len;
    char *large = malloc(KLP_COMPACT_MAX + 100);
    ck_assert_int_eq(klp_compact_make(kos_bytes_str("[1]"), &compact, &len), KOS_E_UNSUPPORTED);
    ck_assert_int_eq(klp_compact_make(kos_bytes_str("{ }"), &compact, &len), KOS_E_CANONICAL);
    len = (size_t)snprintf(large, KLP_COMPACT_MAX + 100, "{\"id\":\"%0*d\"}", KLP_COMPACT_MAX, 7);
    ck_assert_int_eq(klp_compact_make(kos_bytes(large, len), &compact, &len), KOS_E_UNSUPPORTED);
    /* What would grow beyond the limit is not made: hex doubles. */
    uint8_t *bomb = malloc(KLP_COMPACT_MAX), *json;
    size_t json_len;
    memcpy(bomb, "\xa1\x16\xc6\x59\xfd\xe8", 6);
    memset(bomb + 6, 0x55, 65000);
    ck_assert_int_eq(klp_compact_open(kos_bytes(bomb, 65006), &json, &json_len), KOS_E_LIMIT);
    free(bomb);
    free(large);
}
END_TEST

TESTS("klp/cbor", refused, depth_is_bounded, floats, a_message, random_texts_come_back, hostile_compact, second_spellings,
      what_has_no_compact_form)
