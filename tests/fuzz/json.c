/* SPDX-License-Identifier: Apache-2.0
 *
 * The canonical reader beside jansson: whatever it accepts, jansson reads alike, and writing it again gives the same
 * bytes. What the loose way in accepts, the canonical reader accepts, and it means the same.
 */
#include "fuzz.h"

#include <jansson.h>
#include <klp/json.h>
#include <math.h>

static void same(struct klp_json value, const json_t *other, bool exact);

static void same_string(struct klp_json value, const json_t *other)
{
    size_t len, cap = value.text.len + 1;
    char *text = malloc(cap);
    FUZZ_CHECK(json_is_string(other) && text);
    FUZZ_CHECK(klp_json_string(value, text, cap, &len) == 0);
    FUZZ_CHECK(len == json_string_length(other) && memcmp(text, json_string_value(other), len) == 0);
    if (len) /* the room that is just too small */
        FUZZ_CHECK(klp_json_string(value, text, len, NULL) == KOS_E_LIMIT);
    free(text);
    struct kos_bytes plain;
    if (klp_json_plain(value, &plain) == 0)
        FUZZ_CHECK(plain.len == len && memcmp(plain.data, json_string_value(other), len) == 0);
}

static void same_number(struct klp_json value, const json_t *other, bool exact)
{
    int64_t number;
    double real;
    FUZZ_CHECK(klp_json_double(value, &real) == 0);
    if (value.type == KLP_JSON_INT) {
        FUZZ_CHECK(klp_json_int(value, &number) == 0);
        FUZZ_CHECK(number >= -KLP_JSON_INT_MAX && number <= KLP_JSON_INT_MAX && (double)number == real);
        FUZZ_CHECK(exact ? json_is_integer(other) : json_is_number(other));
        FUZZ_CHECK(json_is_integer(other) ? json_integer_value(other) == number : json_real_value(other) == real);
    } else {
        FUZZ_CHECK(json_is_real(other) && json_real_value(other) == real && isfinite(real));
        FUZZ_CHECK(klp_json_int(value, &number) == KOS_E_SYNTAX);
    }
}

static bool ascii(struct kos_bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] >= 0x80)
            return false;
    return true;
}

static void same_object(struct klp_json value, const json_t *other, bool exact)
{
    struct klp_json_iter iter;
    struct klp_json member, quoted = { KLP_JSON_STRING, { 0 } };
    struct kos_bytes name;
    size_t count = 0;
    FUZZ_CHECK(json_is_object(other));
    klp_json_iter_init(value, &iter);
    while (klp_json_next(&iter, &name, &member)) {
        char *text = malloc(name.len + 1);
        FUZZ_CHECK(text);
        /* A name is a string without its quotes, which stand around it. */
        quoted.text = kos_bytes(name.data - 1, name.len + 2);
        FUZZ_CHECK(klp_json_string(quoted, text, name.len + 1, NULL) == 0);
        json_t *found = json_object_get(other, text);
        FUZZ_CHECK(found);
        same(member, found, exact);
        struct kos_bytes plain;
        if (klp_json_plain(quoted, &plain) == 0 && ascii(plain))
            FUZZ_CHECK(klp_json_get(value, text).text.data == member.text.data);
        free(text);
        count++;
    }
    FUZZ_CHECK(count == json_object_size(other) && count == klp_json_count(value));
}

static void same(struct klp_json value, const json_t *other, bool exact)
{
    struct klp_json_iter iter;
    struct klp_json item;
    size_t count = 0;
    bool truth;
    switch (value.type) {
    case KLP_JSON_NULL:
        FUZZ_CHECK(json_is_null(other));
        break;
    case KLP_JSON_BOOL:
        FUZZ_CHECK(klp_json_bool(value, &truth) == 0 && json_is_boolean(other) && truth == json_is_true(other));
        break;
    case KLP_JSON_INT:
    case KLP_JSON_DOUBLE:
        same_number(value, other, exact);
        break;
    case KLP_JSON_STRING:
        same_string(value, other);
        break;
    case KLP_JSON_ARRAY:
        FUZZ_CHECK(json_is_array(other));
        for (klp_json_iter_init(value, &iter); klp_json_next(&iter, NULL, &item); count++)
            same(item, json_array_get(other, count), exact);
        FUZZ_CHECK(count == json_array_size(other) && count == klp_json_count(value));
        break;
    case KLP_JSON_OBJECT:
        same_object(value, other, exact);
        break;
    default:
        FUZZ_CHECK(!"a type that is none");
    }
}

/* From what jansson read, by our writer. */
static void write_again(struct klp_json_out *out, struct klp_json value)
{
    struct klp_json_iter iter;
    struct klp_json item;
    struct kos_bytes name;
    if (value.type == KLP_JSON_ARRAY || value.type == KLP_JSON_OBJECT) {
        bool object = value.type == KLP_JSON_OBJECT;
        (object ? klp_json_object : klp_json_array)(out);
        klp_json_iter_init(value, &iter);
        while (klp_json_next(&iter, &name, &item)) {
            if (object) {
                char *text = malloc(name.len + 1);
                struct klp_json quoted = { KLP_JSON_STRING, kos_bytes(name.data - 1, name.len + 2) };
                FUZZ_CHECK(text && klp_json_string(quoted, text, name.len + 1, NULL) == 0);
                klp_json_name(out, text);
                free(text);
            }
            write_again(out, item);
        }
        klp_json_close(out, object ? '}' : ']');
    } else if (value.type == KLP_JSON_STRING) {
        size_t len;
        char *text = malloc(value.text.len + 1);
        FUZZ_CHECK(text && klp_json_string(value, text, value.text.len + 1, &len) == 0);
        klp_json_put_string(out, kos_bytes(text, len));
        free(text);
    } else if (value.type == KLP_JSON_INT) {
        int64_t number;
        FUZZ_CHECK(klp_json_int(value, &number) == 0);
        klp_json_put_int(out, number);
    } else if (value.type == KLP_JSON_DOUBLE) {
        double number;
        FUZZ_CHECK(klp_json_double(value, &number) == 0);
        klp_json_put_double(out, number);
    } else if (value.type == KLP_JSON_BOOL) {
        bool truth;
        FUZZ_CHECK(klp_json_bool(value, &truth) == 0);
        klp_json_put_bool(out, truth);
    } else {
        klp_json_put_null(out);
    }
}

static void canonical(struct kos_bytes text)
{
    struct klp_json value;
    json_error_t error;
    size_t offset = SIZE_MAX;
    int32_t result = klp_json_read(text, KLP_MESSAGE_MAX, &value, &offset);
    if (result < 0) {
        FUZZ_CHECK(result == KOS_E_CANONICAL || result == KOS_E_LIMIT);
        FUZZ_CHECK(offset <= text.len);
        return;
    }
    FUZZ_CHECK(fuzz_same(value.text, text));
    json_t *other = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    FUZZ_CHECK(other);
    same(value, other, true);
    json_decref(other);
    uint8_t *again = malloc(text.len);
    struct klp_json_out out;
    struct kos_bytes written;
    klp_json_begin(&out, again, text.len);
    write_again(&out, value);
    FUZZ_CHECK(again && klp_json_end(&out, &written) == 0 && fuzz_same(written, text));
    free(again);
    size_t len;
    FUZZ_CHECK(klp_json_canonicalise(text, KLP_MESSAGE_MAX, &again, &len, NULL) == 0);
    FUZZ_CHECK(fuzz_same(kos_bytes(again, len), text));
    free(again);
}

static void loose(struct kos_bytes text)
{
    struct kos_error error = { 0 };
    struct klp_json value;
    uint8_t *data;
    size_t len;
    if (klp_json_canonicalise(text, KLP_MESSAGE_MAX, &data, &len, &error) < 0) {
        FUZZ_CHECK(error.text[0]);
        return;
    }
    FUZZ_CHECK(klp_json_read(kos_bytes(data, len), KLP_MESSAGE_MAX, &value, NULL) == 0);
    json_t *other = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    FUZZ_CHECK(other);
    same(value, other, false);
    json_decref(other);
    free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    canonical(kos_bytes(data, size));
    loose(kos_bytes(data, size));
    return 0;
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    static const char *const texts[] = {
        "null",
        "true",
        "[false,-1,0,9007199254740991,-9007199254740991]",
        "\"\\b\\t\\n\\f\\r\\\"\\\\/\\u0001\\u001f\"",
        "[1.5,-0.001,1e-7,1e+21,5e-324,1.7976931348623157e+308,0.1,123456789.25]",
        "{}",
        "[[],[[]],{\"\":{}}]",
        "{\"\\r\":1,\"1\":2,\"\xc2\x80\":3,\"\xc3\xb6\":4,\"\xe2\x82\xac\":5,\"\xf0\x9f\x98\x80\":6}",
        "{\"type\":\"TASK_REQUEST\"}",
        " { \"b\" : 1.0 , \"a\" : [ 1e2 , -0 , \"\\u20ac\\ud83d\\ude00\" ] } ",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
        "{\"a\":1,\"a\":2}",
        "\"\\u0000\"",
        "\"\xed\xa0\x80\"",
        "9007199254740992",
        "1.0",
        "1E400",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        put(arg, kos_bytes_str(texts[i]));
}
