/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of KLP's JSON: what the reader lets in and what it must not, the walk over it, the writer,
 * numbers, and the way in for loose JSON.
 */
#include <klp/json.h>

#include <math.h>

#include "unit.h"

static struct kos_bytes s(const char *text)
{
    return kos_bytes_str(text);
}

/* The reader sees a copy of exactly the right size, so that a memory checker notices a byte too far. */
static int32_t read_bytes(const char *text, size_t len, size_t *ret_offset)
{
    uint8_t *copy = malloc(len ? len : 1);
    struct klp_json value;
    memcpy(copy, text, len);
    int32_t err = klp_json_read(kos_bytes(copy, len), KLP_MESSAGE_MAX, &value, ret_offset);
    free(copy);
    return err;
}

static struct klp_json parse(const char *text)
{
    struct klp_json value = { 0 };
    size_t offset = 0;
    int32_t err = klp_json_read(s(text), KLP_MESSAGE_MAX, &value, &offset);
    ck_assert_msg(err == 0, "%s: refused at %zu", text, offset);
    return value;
}

START_TEST(accepted)
{
    const char *good[] = {
        "{}", "[]", "\"\"", "0", "-1", "9007199254740991", "-9007199254740991", "0.5", "-0.5", "1e+21", "1e-7",
        "1.5e+300",
        "0.000001", "5e-324", "1.7976931348623157e+308", "5.684341886080802e-14", "true", "false", "null",
        "[null,true]",
        "{\"a\":1}", "{\"a\":1,\"b\":[1,2,{\"c\":\"d\"}]}",
        "{\"\":1,\"\\n\":2,\" \":3,\"A\":4,\"a\":5,\"aa\":6,\"b\":7}",
        "\"\\b\\t\\n\\f\\r\\\"\\\\/\x7f\"", "\"\\u0001\\u001f\\u000b\"", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
        "\"\xef\xbf\xbf\"",
        "{\"\xf0\x9f\x98\x80\":1,\"\xef\xac\xb3\":2}",
        "\"a string that is a good deal longer than eight bytes \\\" and goes on\"",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        size_t offset = 0;
        ck_assert_msg(read_bytes(good[i], strlen(good[i]), &offset) == 0, "%s: refused at %zu", good[i], offset);
    }
}
END_TEST

START_TEST(refused)
{
    static const struct { const char *text; size_t offset; } bad[] = {
        { "", 0 }, { " 1", 0 }, { "1 ", 1 }, { "[1, 2]", 3 }, { "{\"a\" :1}", 4 }, { "{ }", 1 }, { "[1,]", 3 },
        { "[,1]", 1 }, { "[1 2]", 2 },
        { "{\"a\":1,}", 7 }, { "{,}", 1 }, { "{\"a\"}", 4 }, { "{\"a\":}", 5 }, { "{1:2}", 1 }, { "[", 1 }, { "{", 1 },
        { "]", 0 }, { "[}", 1 },
        { "{\"a\":1]", 6 }, { "[]]", 2 }, { "[][]", 2 }, { "\"", 1 }, { "\"abc", 4 }, { "\"\\", 1 }, { "nul", 0 },
        { "True", 0 }, { "nulll", 4 },
        { "+1", 0 }, { "-", 0 }, { "-0", 0 }, { "01", 0 }, { "-01", 0 }, { "00", 0 }, { "1.", 0 }, { ".5", 0 },
        { "1.0", 0 }, { "1.50", 0 }, { "1e5", 0 },
        { "1E+21", 0 }, { "1e21", 0 }, { "1e+021", 0 }, { "1e+20", 0 }, { "0.0000001", 0 }, { "-0.0", 0 },
        { "1e400", 0 }, { "1e+400", 0 }, { "1e-400", 0 },
        { "9007199254740992", 0 }, { "-9007199254740992", 0 }, { "9007199254740993", 0 },
        { "100000000000000000000", 0 },
        { "123456789012345678901234567890", 0 }, { "0.1000000000000000055511151231257827", 0 }, { "1.2.3", 0 },
        { "1e+5e+5", 0 }, { "--1", 0 }, { "1-1", 1 },
        { "5.6843418860808015e-14", 0 }, { "NaN", 0 }, { "Infinity", 0 },
        { "\"\\/\"", 1 }, { "\"\\u0041\"", 1 }, { "\"\\u000A\"", 1 }, { "\"\\u000a\"", 1 }, { "\"\\u001F\"", 1 },
        { "\"\\u0000\"", 1 }, { "\"\\u0020\"", 1 },
        { "\"\\ud83d\\ude00\"", 1 }, { "\"\\ud800\"", 1 }, { "\"\\x\"", 1 }, { "\"\\u00\"", 1 }, { "\"\\u001\"", 1 },
        { "\"\n\"", 1 }, { "\"abcdefghij\x1f\"", 11 },
        { "\"\x80\"", 1 }, { "\"\xc0\x80\"", 1 }, { "\"\xc1\xbf\"", 1 }, { "\"\xe0\x80\x80\"", 1 },
        { "\"\xed\xa0\x80\"", 1 }, { "\"\xf0\x80\x80\x80\"", 1 },
        { "\"\xf4\x90\x80\x80\"", 1 }, { "\"\xf5\x80\x80\x80\"", 1 }, { "\"\xff\"", 1 }, { "\"\xc3\"", 1 },
        { "\"\xe2\x82\"", 1 }, { "\"\xc3", 1 }, { "\"\xf0\x9f\x98", 1 },
        { "\xef\xbb\xbf{}", 0 }, { "{\"a\":1,\"a\":1}", 7 }, { "{\"b\":1,\"a\":1}", 7 }, { "{\"aa\":1,\"a\":1}", 8 },
        { "{\"a\":1,\"\\n\":1}", 7 },
        { "{\"\xef\xac\xb3\":2,\"\xf0\x9f\x98\x80\":1}", 9 }, { "{\"\xc3\xa9\":1,\"\xc3\xa9\":1}", 8 }, { "/**/1", 0 },
        { "'a'", 0 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t offset = 9999;
        ck_assert_msg(read_bytes(bad[i].text, strlen(bad[i].text), &offset) == KOS_E_CANONICAL, "%s: accepted",
                      bad[i].text);
        ck_assert_msg(offset == bad[i].offset, "%s: offset %zu, not %zu", bad[i].text, offset, bad[i].offset);
    }
    ck_assert_int_eq(read_bytes("\"a\0b\"", 5, NULL), KOS_E_CANONICAL);
    ck_assert_int_eq(read_bytes("1\0", 2, NULL), KOS_E_CANONICAL);
}
END_TEST

static void nested(char *text, size_t depth, char open, char close)
{
    memset(text, open, depth);
    memset(text + depth, close, depth);
    text[2 * depth] = '\0';
}

START_TEST(limits)
{
    char text[2 * KLP_JSON_DEPTH_MAX + 8];
    size_t offset;
    struct klp_json value = { 0 };
    nested(text, KLP_JSON_DEPTH_MAX, '[', ']');
    ck_assert_int_eq(read_bytes(text, strlen(text), &offset), 0);
    nested(text, KLP_JSON_DEPTH_MAX + 1, '[', ']');
    ck_assert_int_eq(read_bytes(text, strlen(text), &offset), KOS_E_LIMIT);
    ck_assert_uint_eq(offset, KLP_JSON_DEPTH_MAX);
    ck_assert_int_eq(klp_json_read(s("[1,2]"), 5, &value, &offset), 0);
    ck_assert_int_eq(klp_json_read(s("[1,2]"), 4, &value, &offset), KOS_E_LIMIT);
    ck_assert_uint_eq(offset, 4);
    static char open[1 << 16];
    memset(open, '[', sizeof open);
    ck_assert_int_eq(read_bytes(open, sizeof open, NULL), KOS_E_LIMIT);
    for (size_t i = 0; i < sizeof open; i += 5)
        memcpy(open + i, "{\"\":1", sizeof open - i < 5 ? sizeof open - i : 5);
    ck_assert_int_eq(read_bytes(open, sizeof open, NULL), KOS_E_CANONICAL);
}
END_TEST

/* Every prefix of a text is refused, and no change of one byte makes the reader read outside or lets
 * in what the writer would not write: what passes is its own canonical form. */
START_TEST(mutations)
{
    static const char text[] = "{\"a\":[1,-2.5,\"x\\n\xc3\xa9\",{\"b\":null}],"
                               "\"c\":{\"d\":1e+21,\"\xe2\x82\xac\":true},\"\xf0\x9f\x98\x80\":\"\"}";
    size_t len = sizeof text - 1;
    ck_assert_int_eq(read_bytes(text, len, NULL), 0);
    for (size_t i = 0; i < len; i++)
        ck_assert_int_eq(read_bytes(text, i, NULL), KOS_E_CANONICAL);
    for (size_t i = 0; i < len; i++) {
        for (int c = 0; c < 256; c++) {
            char changed[sizeof text];
            memcpy(changed, text, len);
            changed[i] = (char)c;
            if (read_bytes(changed, len, NULL) < 0)
                continue;
            uint8_t *data;
            size_t n;
            ck_assert_int_eq(klp_json_canonicalise(kos_bytes(changed, len), KLP_MESSAGE_MAX, &data, &n, NULL), 0);
            ck_assert(n == len && memcmp(data, changed, n) == 0);
            free(data);
        }
    }
}
END_TEST

START_TEST(walk)
{
    struct klp_json doc = parse("{\"arr\":[1,[2],{\"x\":\"]\"},\"a,b\"],"
                                "\"b\":true,\"d\":1.5,\"i\":-7,\"n\":null,"
                                "\"o\":{\"in\\\"n\":{\"deep\":3}},\"s\":\"q\\\"\\u0001\\n/\"}");
    ck_assert_int_eq(doc.type, KLP_JSON_OBJECT);
    ck_assert_uint_eq(klp_json_count(doc), 7);
    struct klp_json arr = klp_json_get(doc, "arr"), value;
    ck_assert_int_eq(arr.type, KLP_JSON_ARRAY);
    ck_assert_uint_eq(klp_json_count(arr), 4);
    ck_assert(kos_bytes_eq(arr.text, s("[1,[2],{\"x\":\"]\"},\"a,b\"]")));
    struct klp_json_iter iter;
    static const char *const want[] = { "1", "[2]", "{\"x\":\"]\"}", "\"a,b\"" };
    klp_json_iter_init(arr, &iter);
    for (size_t i = 0; i < 4; i++) {
        struct kos_bytes name = s("untouched");
        ck_assert(klp_json_next(&iter, &name, &value));
        ck_assert(kos_bytes_eq(value.text, s(want[i])));
        ck_assert(kos_bytes_eq(name, s("untouched")));
    }
    ck_assert(!klp_json_next(&iter, NULL, &value));
    klp_json_iter_init(klp_json_get(doc, "o"), &iter);
    struct kos_bytes name;
    ck_assert(klp_json_next(&iter, &name, &value));
    ck_assert(kos_bytes_eq(name, s("in\\\"n")));
    ck_assert_int_eq(klp_json_get(value, "deep").type, KLP_JSON_INT);
    ck_assert_int_eq(klp_json_get(doc, "deep").type, KLP_JSON_NONE);
    ck_assert_int_eq(klp_json_get(doc, "").type, KLP_JSON_NONE);
    ck_assert_int_eq(klp_json_get(arr, "x").type, KLP_JSON_NONE);
    ck_assert_int_eq(klp_json_get(value, "zzz").type, KLP_JSON_NONE);
    struct klp_json empty = parse("{}"), none = { 0 };
    ck_assert_uint_eq(klp_json_count(empty), 0);
    ck_assert_uint_eq(klp_json_count(none), 0);
    ck_assert_uint_eq(klp_json_count(parse("7")), 0);
}
END_TEST

START_TEST(values)
{
    struct klp_json doc = parse("{\"b\":true,\"d\":1.5,\"i\":-7,"
                                "\"s\":\"q\\\"\\u0001\\n/\\u001f\xc3\xa9\",\"t\":\"plain\"}");
    int64_t i;
    uint64_t u = 5;
    double d;
    bool b;
    char buf[16];
    size_t len;
    ck_assert_int_eq(klp_json_int(klp_json_get(doc, "i"), &i), 0);
    ck_assert_int_eq(i, -7);
    ck_assert_int_eq(klp_json_uint(klp_json_get(doc, "i"), &u), KOS_E_SYNTAX);
    ck_assert_uint_eq(u, 5);
    ck_assert_int_eq(klp_json_int(klp_json_get(doc, "d"), &i), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_json_double(klp_json_get(doc, "d"), &d), 0);
    ck_assert(d == 1.5);
    ck_assert_int_eq(klp_json_double(klp_json_get(doc, "i"), &d), 0);
    ck_assert(d == -7);
    ck_assert_int_eq(klp_json_double(klp_json_get(doc, "s"), &d), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_json_bool(klp_json_get(doc, "b"), &b), 0);
    ck_assert(b);
    ck_assert_int_eq(klp_json_bool(klp_json_get(doc, "none"), &b), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_json_string(klp_json_get(doc, "s"), buf, sizeof buf, &len), 0);
    ck_assert_uint_eq(len, 8);
    ck_assert_str_eq(buf, "q\"\x01\n/\x1f\xc3\xa9");
    ck_assert_int_eq(klp_json_string(klp_json_get(doc, "s"), buf, 9, NULL), 0);
    ck_assert_int_eq(klp_json_string(klp_json_get(doc, "s"), buf, 8, NULL), KOS_E_LIMIT);
    ck_assert_int_eq(klp_json_string(klp_json_get(doc, "i"), buf, sizeof buf, NULL), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_json_string(parse("\"\""), buf, 1, &len), 0);
    ck_assert_uint_eq(len, 0);
    struct kos_bytes plain;
    ck_assert_int_eq(klp_json_plain(klp_json_get(doc, "t"), &plain), 0);
    ck_assert(kos_bytes_eq(plain, s("plain")));
    ck_assert_int_eq(klp_json_plain(klp_json_get(doc, "s"), &plain), KOS_E_SYNTAX);
    ck_assert(klp_json_equals(klp_json_get(doc, "t"), "plain"));
    ck_assert(!klp_json_equals(klp_json_get(doc, "t"), "plai"));
    ck_assert(!klp_json_equals(klp_json_get(doc, "b"), "true"));
    ck_assert(!klp_json_equals((struct klp_json){ 0 }, ""));
}
END_TEST

/* An escaped name must not carry the search past the names it is held against. */
START_TEST(get_many)
{
    static const char *const names[] = { "A", "b", "c", "q", "zz" };
    struct klp_json v[5];
    struct klp_json doc = parse("{\"\\u0001\":0,\"\\n\":0,\"A\":1,\"\\\\x\":0,"
                                "\"b\":2,\"bb\":0,\"q\":3,\"\xc3\xa9\":0}");
    ck_assert_uint_eq(klp_json_get_many(doc, names, 5, v), 8);
    ck_assert(kos_bytes_eq(v[0].text, s("1")));
    ck_assert(kos_bytes_eq(v[1].text, s("2")));
    ck_assert_int_eq(v[2].type, KLP_JSON_NONE);
    ck_assert(kos_bytes_eq(v[3].text, s("3")));
    ck_assert_int_eq(v[4].type, KLP_JSON_NONE);
    ck_assert(kos_bytes_eq(klp_json_get(doc, "b").text, s("2")));
    ck_assert_uint_eq(klp_json_get_many(parse("[1]"), names, 5, v), 0);
    ck_assert_int_eq(v[0].type, KLP_JSON_NONE);
    ck_assert_uint_eq(klp_json_get_many(doc, NULL, 0, NULL), 8);
}
END_TEST

static void example(struct klp_json_out *out)
{
    klp_json_object(out);
    klp_json_name(out, "a");
    klp_json_array(out);
    klp_json_put_int(out, -9007199254740991);
    klp_json_put_int(out, 0);
    klp_json_put_double(out, 0.1);
    klp_json_put_bool(out, true);
    klp_json_put_bool(out, false);
    klp_json_put_null(out);
    klp_json_array(out);
    klp_json_close(out, ']');
    klp_json_close(out, ']');
    klp_json_name(out, "b\n");
    klp_json_put_string(out, kos_bytes("\"\\/\b\f\n\r\t\x01\x7f\xc3\xa9", 12));
    klp_json_name(out, "c");
    klp_json_object(out);
    klp_json_close(out, '}');
    klp_json_name(out, "d");
    klp_json_put_raw(out, s("[1]"));
    klp_json_name(out, "e");
    klp_json_put_hex(out, kos_bytes("\x9f\x00", 2));
    klp_json_close(out, '}');
}

START_TEST(writer)
{
    static const char want[] = "{\"a\":[-9007199254740991,0,0.1,true,false,null,[]],"
                               "\"b\\n\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\x7f\xc3\xa9\","
                               "\"c\":{},\"d\":[1],\"e\":\"0x9f00\"}";
    struct klp_json_out out;
    struct kos_bytes text;
    uint8_t buf[256];
    klp_json_begin(&out, buf, sizeof buf);
    example(&out);
    ck_assert_int_eq(klp_json_end(&out, &text), 0);
    ck_assert(kos_bytes_eq(text, s(want)));
    ck_assert_int_eq(read_bytes(want, strlen(want), NULL), 0);
    /* A first run measures; any buffer too small is left whole behind its end. */
    for (size_t cap = 0; cap <= strlen(want); cap++) {
        memset(buf, 0x55, sizeof buf);
        klp_json_begin(&out, cap ? buf : NULL, cap);
        example(&out);
        ck_assert_int_eq(klp_json_end(&out, &text), cap < strlen(want) ? KOS_E_LIMIT : 0);
        ck_assert_uint_eq(out.len, strlen(want));
        ck_assert_uint_eq(buf[cap], 0x55);
    }
    uint8_t long_data[200], long_buf[500];
    memset(long_data, 0xab, sizeof long_data);
    klp_json_begin(&out, long_buf, sizeof long_buf);
    klp_json_put_hex(&out, kos_bytes(long_data, sizeof long_data));
    ck_assert_int_eq(klp_json_end(&out, &text), 0);
    ck_assert_uint_eq(text.len, 404);
}
END_TEST

static int32_t names_in_order(const char *first, const char *second)
{
    struct klp_json_out out;
    struct kos_bytes text;
    uint8_t buf[128];
    klp_json_begin(&out, buf, sizeof buf);
    klp_json_object(&out);
    klp_json_name(&out, first);
    klp_json_put_null(&out);
    klp_json_name(&out, second);
    klp_json_put_null(&out);
    klp_json_close(&out, '}');
    int32_t err = klp_json_end(&out, &text);
    ck_assert(err < 0 || read_bytes((const char *)text.data, text.len, NULL) == 0);
    return err;
}

START_TEST(writer_order)
{
    static const char *const sorted[] = { "", "\x01", "\n", " ", "A", "\\", "a", "aa", "b", "\xc3\xa9", "\xe2\x82\xac",
                                          "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x81", "\xee\x80\x80", "\xef\xac\xb3" };
    for (size_t i = 0; i < sizeof sorted / sizeof *sorted; i++)
        for (size_t j = 0; j < sizeof sorted / sizeof *sorted; j++)
            ck_assert_msg(names_in_order(sorted[i], sorted[j]) == (i < j ? 0 : KOS_E_INVALID), "%zu %zu", i, j);
}
END_TEST

enum step { OBJ = 1, ARR, OBJ_END, ARR_END, NAME, ONE, NUL_BYTE, BAD_UTF8, NOT_A_NUMBER, INFINITE, INT_2_53,
            DOUBLE_2_53, EMPTY_RAW };

static int32_t run_steps(const int *steps)
{
    struct klp_json_out out;
    struct kos_bytes text;
    uint8_t buf[256];
    klp_json_begin(&out, buf, sizeof buf);
    for (; *steps; steps++) {
        switch (*steps) {
        case OBJ: klp_json_object(&out); break;
        case ARR: klp_json_array(&out); break;
        case OBJ_END: klp_json_close(&out, '}'); break;
        case ARR_END: klp_json_close(&out, ']'); break;
        case NAME: klp_json_name(&out, "n"); break;
        case ONE: klp_json_put_int(&out, 1); break;
        case NUL_BYTE: klp_json_put_string(&out, kos_bytes("a\0b", 3)); break;
        case BAD_UTF8: klp_json_put_cstr(&out, "\xed\xa0\x80"); break;
        case NOT_A_NUMBER: klp_json_put_double(&out, NAN); break;
        case INFINITE: klp_json_put_double(&out, -INFINITY); break;
        case INT_2_53: klp_json_put_int(&out, INT64_MIN); break;
        case DOUBLE_2_53: klp_json_put_double(&out, 9007199254740992.0); break;
        case EMPTY_RAW: klp_json_put_raw(&out, kos_bytes(NULL, 0)); break;
        }
    }
    return klp_json_end(&out, &text);
}

START_TEST(writer_misuse)
{
    static const int good[][8] = { { ONE }, { ARR, ONE, ONE, ARR_END }, { OBJ, NAME, ARR, ARR_END, OBJ_END } };
    static const int bad[][8] = {
        { 0 }, { ONE, ONE }, { ARR }, { OBJ }, { ARR, OBJ_END }, { OBJ, ARR_END }, { OBJ, ONE, OBJ_END },
        { OBJ, NAME, OBJ_END },
        { OBJ, NAME, NAME, ONE, OBJ_END }, { NAME, ONE }, { ARR, NAME, ONE, ARR_END }, { ARR_END },
        { ARR, ARR_END, ARR_END },
        { NUL_BYTE }, { BAD_UTF8 }, { NOT_A_NUMBER }, { INFINITE }, { INT_2_53 }, { DOUBLE_2_53 }, { EMPTY_RAW },
        { OBJ, OBJ, OBJ_END, OBJ_END },
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(run_steps(good[i]) == 0, "%zu", i);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(run_steps(bad[i]) < 0, "%zu", i);
    int deep[2 * KLP_JSON_DEPTH_MAX + 3] = { 0 };
    for (size_t i = 0; i < KLP_JSON_DEPTH_MAX; i++) {
        deep[i] = ARR;
        deep[KLP_JSON_DEPTH_MAX + i] = ARR_END;
    }
    ck_assert_int_eq(run_steps(deep), 0);
    for (size_t i = 0; i < KLP_JSON_DEPTH_MAX + 1; i++) {
        deep[i] = ARR;
        deep[KLP_JSON_DEPTH_MAX + 1 + i] = ARR_END;
    }
    ck_assert_int_eq(run_steps(deep), KOS_E_LIMIT);
}
END_TEST

START_TEST(numbers)
{
    static const struct { double number; const char *text; } cases[] = {
        { 0.0, "0" }, { -0.0, "0" }, { 1.0, "1" }, { -1.5, "-1.5" }, { 0.1, "0.1" }, { 1e21, "1e+21" },
        { 1e20, "100000000000000000000" }, { 1e-6, "0.000001" },
        { 1e-7, "1e-7" }, { 9.999999999999997e-7, "9.999999999999997e-7" },
        { 333333333.33333329, "333333333.3333333" }, { 5e-324, "5e-324" },
        { 1.7976931348623157e308, "1.7976931348623157e+308" }, { 2.2250738585072014e-308, "2.2250738585072014e-308" },
        { 295147905179352830000.0, "295147905179352830000" },
        { 9007199254740993.0, "9007199254740992" }, { 0.000001234, "0.000001234" }, { 123456.789, "123456.789" },
        { 2e-3, "0.002" },
        /* Powers of two whose shortest text is not the rounded one. */
        { 0x1p-44, "5.684341886080802e-14" }, { 0x1p-24, "5.960464477539063e-8" },
        { 0x1p-1022, "2.2250738585072014e-308" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[KLP_JSON_NUMBER_TEXT];
        ck_assert_uint_eq(klp_json_number(cases[i].number, text), strlen(cases[i].text));
        ck_assert_str_eq(text, cases[i].text);
    }
    char text[KLP_JSON_NUMBER_TEXT];
    ck_assert_uint_eq(klp_json_number(INFINITY, text), 0);
    ck_assert_uint_eq(klp_json_number(NAN, text), 0);
}
END_TEST

START_TEST(loose)
{
    static const struct { const char *in, *out; } cases[] = {
        { " { \"b\" : 1.0 , \"a\" : [ 1E2 , -0 , -0.0, 1e-7 ] }\n", "{\"a\":[100,0,0,1e-7],\"b\":1}" },
        { "\"\\u00e9\\/\\ud83d\\ude00\\u000a\"", "\"\xc3\xa9/\xf0\x9f\x98\x80\\n\"" },
        { "{\"\\ufb33\":1,\"\\ud83d\\ude00\":2,\"\\u20ac\":3}",
          "{\"\xe2\x82\xac\":3,\"\xf0\x9f\x98\x80\":2,\"\xef\xac\xb3\":1}" },
        { "null", "null" }, { "[]", "[]" }, { "{}", "{}" }, { "9007199254740991", "9007199254740991" },
        { "1e21", "1e+21" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *data = NULL;
        size_t len = 0;
        struct kos_error error = { 0 };
        int32_t err = klp_json_canonicalise(s(cases[i].in), 1000, &data, &len, &error);
        ck_assert_msg(err == 0, "%s: %s", cases[i].in, error.text);
        ck_assert(kos_bytes_eq(kos_bytes(data, len), s(cases[i].out)));
        ck_assert_int_eq(read_bytes((const char *)data, len, NULL), 0);
        free(data);
    }
}
END_TEST

START_TEST(loose_refused)
{
    static const struct { const char *in; int32_t err; } cases[] = {
        { "", KOS_E_SYNTAX }, { "{", KOS_E_SYNTAX }, { "[1] x", KOS_E_SYNTAX }, { "{\"a\":1,\"a\":2}", KOS_E_SYNTAX },
        { "\"\\u0000\"", KOS_E_SYNTAX },
        { "{\"\\u0000\":1}", KOS_E_SYNTAX }, { "\"\\ud800\"", KOS_E_SYNTAX }, { "\"\xff\"", KOS_E_SYNTAX },
        { "1e999", KOS_E_SYNTAX }, { "NaN", KOS_E_SYNTAX },
        { "9007199254740992", KOS_E_LIMIT }, { "-9007199254740992", KOS_E_LIMIT }, { "1e20", KOS_E_LIMIT },
        { "9007199254740992.0", KOS_E_LIMIT },
        { "99999999999999999999", KOS_E_SYNTAX }, { "\"this text is longer than the forty bytes allowed\"",
                                                    KOS_E_LIMIT },
        { "[1e20,1e19,1e18]", KOS_E_LIMIT }, { "[1e9,1e9,1e9,1e9,1e9,1e9,1e9,1e9]", KOS_E_LIMIT },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *data = NULL;
        size_t len = 0;
        struct kos_error error = { 0 };
        ck_assert_msg(klp_json_canonicalise(s(cases[i].in), 40, &data, &len, &error) == cases[i].err, "%s: %s",
                      cases[i].in, error.text);
        ck_assert_int_eq(error.code, cases[i].err);
        ck_assert_msg(strlen(error.text) > 20, "%s", error.text);
        ck_assert_ptr_null(data);
    }
    char deep[2 * KLP_JSON_DEPTH_MAX + 8];
    uint8_t *data = NULL;
    size_t len;
    struct kos_error error = { 0 };
    ck_assert_int_eq(klp_json_canonicalise(kos_bytes("[1]\0[2]", 7), 40, &data, &len, &error), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_json_canonicalise(s("[\x1b[2J\xe9]"), 40, &data, &len, &error), KOS_E_SYNTAX);
    for (const char *p = error.text; *p; p++)
        ck_assert(*p >= ' ' && *p <= '~');
    nested(deep, KLP_JSON_DEPTH_MAX, '[', ']');
    ck_assert_int_eq(klp_json_canonicalise(s(deep), 1000, &data, &len, NULL), 0);
    free(data);
    nested(deep, KLP_JSON_DEPTH_MAX + 1, '[', ']');
    ck_assert_int_eq(klp_json_canonicalise(s(deep), 1000, &data, &len, NULL), KOS_E_LIMIT);
    static char open[1 << 20];
    memset(open, '[', sizeof open);
    ck_assert_int_eq(klp_json_canonicalise(kos_bytes(open, sizeof open), sizeof open, &data, &len, NULL), KOS_E_SYNTAX);
}
END_TEST

TESTS("klp/json", accepted, refused, limits, mutations, walk, values, get_many, writer, writer_order, writer_misuse,
      numbers, loose, loose_refused)
