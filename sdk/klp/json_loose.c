/* SPDX-License-Identifier: Apache-2.0
 *
 * The slow way in: any JSON text (RFC 8259), as people, files and other protocols have it, to
 * canonical bytes. Jansson parses, refusing duplicate names, lone surrogates and U+0000.
 */
#include <klp/json.h>

#include "codec.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

static int32_t write_value(struct klp_json_out *out, const json_t *value, int depth, struct kos_error *ret_error);

static int by_utf16(const void *a, const void *b)
{
    const char *const *p = a, *const *q = b;
    return json_name_cmp(kos_bytes_str(*p), kos_bytes_str(*q), false);
}

static int32_t write_object(struct klp_json_out *out, const json_t *value, int depth, struct kos_error *ret_error)
{
    size_t count = json_object_size(value), i = 0;
    const char **names = malloc((count ? count : 1) * sizeof *names), *name;
    json_t *member, *object = (json_t *)value; /* jansson's iterator wants it so; nothing is changed */
    int32_t err = 0;
    if (!names)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is not enough memory to sort an object of %zu members", count);
    json_object_foreach(object, name, member)
        names[i++] = name;
    qsort(names, count, sizeof *names, by_utf16);
    klp_json_object(out);
    for (i = 0; i < count && err == 0; i++) {
        klp_json_name(out, names[i]);
        err = write_value(out, json_object_get(value, names[i]), depth + 1, ret_error);
    }
    klp_json_close(out, '}');
    free(names);
    return err;
}

static int32_t write_array(struct klp_json_out *out, const json_t *value, int depth, struct kos_error *ret_error)
{
    int32_t err = 0;
    klp_json_array(out);
    for (size_t i = 0; i < json_array_size(value) && err == 0; i++)
        err = write_value(out, json_array_get(value, i), depth + 1, ret_error);
    klp_json_close(out, ']');
    return err;
}

static int32_t number_too_large(const char *number, struct kos_error *ret_error)
{
    return kos_fail(ret_error, KOS_E_LIMIT, "the number %s is beyond 9007199254740991 (2^53 - 1), where programs "
                    "no longer agree on integers; write it as a string", number);
}

static int32_t write_value(struct klp_json_out *out, const json_t *value, int depth, struct kos_error *ret_error)
{
    char text[KLP_JSON_NUMBER_TEXT];
    if (depth == KLP_JSON_DEPTH_MAX && (json_is_object(value) || json_is_array(value)))
        return kos_fail(ret_error, KOS_E_LIMIT, "the JSON text is nested deeper than %d levels", KLP_JSON_DEPTH_MAX);
    switch (json_typeof(value)) {
    case JSON_OBJECT: return write_object(out, value, depth, ret_error);
    case JSON_ARRAY: return write_array(out, value, depth, ret_error);
    case JSON_STRING:
        klp_json_put_string(out, kos_bytes(json_string_value(value), json_string_length(value)));
        return 0;
    case JSON_INTEGER: {
        json_int_t number = json_integer_value(value);
        if (number > KLP_JSON_INT_MAX || number < -KLP_JSON_INT_MAX) {
            snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, number);
            return number_too_large(text, ret_error);
        }
        klp_json_put_int(out, number);
        return 0;
    }
    case JSON_REAL: {
        double number = json_real_value(value);
        if (fabs(number) > (double)KLP_JSON_INT_MAX && fabs(number) < 1e21) {
            klp_json_number(number, text);
            return number_too_large(text, ret_error);
        }
        klp_json_put_double(out, number);
        return 0;
    }
    case JSON_TRUE: klp_json_put_bool(out, true); return 0;
    case JSON_FALSE: klp_json_put_bool(out, false); return 0;
    case JSON_NULL: klp_json_put_null(out); return 0;
    }
    return KOS_E_INTERNAL;
}

static int32_t write_all(const json_t *root, size_t max_bytes, uint8_t **ret_data, size_t *ret_len,
                         struct kos_error *ret_error)
{
    struct klp_json_out out;
    struct kos_bytes text;
    klp_json_begin(&out, NULL, 0);
    int32_t err = write_value(&out, root, 0, ret_error);
    if (err < 0)
        return err;
    size_t len = out.len;
    if (len > max_bytes)
        return kos_fail(ret_error, KOS_E_LIMIT,
                        "the JSON text has %zu bytes in canonical form, more than the %zu allowed", len, max_bytes);
    uint8_t *data = malloc(len);
    if (!data)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is not enough memory for %zu bytes of JSON", len);
    klp_json_begin(&out, data, len);
    err = write_value(&out, root, 0, ret_error);
    if (err == 0 && (err = klp_json_end(&out, &text)) < 0)
        err = kos_fail(ret_error, err, "the JSON text cannot be written in canonical form: %s", kos_error_text(err));
    if (err < 0) {
        klp_wipe(data, len);
        free(data);
        return err;
    }
    *ret_data = data;
    *ret_len = len;
    return 0;
}

int32_t klp_json_canonicalise(struct kos_bytes loose, size_t max_bytes, uint8_t **ret_data, size_t *ret_len,
                              struct kos_error *ret_error)
{
    json_error_t fault;
    const uint8_t *nul = loose.len ? memchr(loose.data, 0, loose.len) : NULL;
    if (loose.len > max_bytes)
        return kos_fail(ret_error, KOS_E_LIMIT, "the JSON text has %zu bytes, more than the %zu allowed", loose.len,
                        max_bytes);
    if (nul) /* after a complete value jansson takes it for the end, and what follows would go unseen */
        return kos_fail(ret_error, KOS_E_SYNTAX, "byte %zu is 0, which JSON text never has",
                        (size_t)(nul - loose.data) + 1);
    /* jansson takes a NULL buffer for a wrong argument, not for an empty text */
    json_t *root = json_loadb(loose.data ? (const char *)loose.data : "", loose.len,
                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &fault);
    if (!root) {
        for (char *p = fault.text; *p; p++) /* it quotes the text, which a stranger may have written */
            *p = *p >= ' ' && *p <= '~' ? *p : '?';
        return kos_fail(ret_error, json_error_code(&fault) == json_error_out_of_memory ? KOS_E_NOMEM : KOS_E_SYNTAX,
                        "line %d, column %d: %s", fault.line, fault.column, fault.text);
    }
    int32_t err = write_all(root, max_bytes, ret_data, ret_len, ret_error);
    json_decref(root);
    return err;
}
