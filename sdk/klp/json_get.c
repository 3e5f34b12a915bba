/* SPDX-License-Identifier: Apache-2.0
 *
 * Walking JSON that klp_json_read() has accepted. The bytes are trusted to be canonical: what is
 * checked here is only whether a value is of the type that the caller wants.
 */
#include <klp/json.h>

#include "codec.h"

int32_t json_type_of(struct kos_bytes text)
{
    switch (text.data[0]) {
    case '{': return KLP_JSON_OBJECT;
    case '[': return KLP_JSON_ARRAY;
    case '"': return KLP_JSON_STRING;
    case 't': case 'f': return KLP_JSON_BOOL;
    case 'n': return KLP_JSON_NULL;
    default: break;
    }
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] == '.' || text.data[i] == 'e')
            return KLP_JSON_DOUBLE;
    return KLP_JSON_INT;
}

/* From the opening quote to behind the closing one. */
static const uint8_t *skip_string(const uint8_t *p, const uint8_t *end)
{
    p++;
    for (;;) {
        p += json_plain_run(p, end);
        if (*p == '"')
            return p + 1;
        p += *p == '\\' ? 2 : 1;
    }
}

static const uint8_t *skip_value(const uint8_t *p, const uint8_t *end)
{
    size_t depth = 0;
    do {
        switch (*p) {
        case '"': p = skip_string(p, end); break;
        case '{': case '[': depth++; p++; break;
        case '}': case ']': depth--; p++; break;
        case ',': case ':': p++; break;
        default: /* a number or a word: up to what ends it */
            while (p < end && *p != ',' && *p != '}' && *p != ']')
                p++;
            break;
        }
    } while (depth);
    return p;
}

void klp_json_iter_init(struct klp_json container, struct klp_json_iter *ret_iter)
{
    memset(ret_iter, 0, sizeof *ret_iter);
    if (container.type != KLP_JSON_OBJECT && container.type != KLP_JSON_ARRAY)
        return;
    ret_iter->object = container.type == KLP_JSON_OBJECT;
    ret_iter->rest = kos_bytes(container.text.data + 1, container.text.len - 2);
}

bool klp_json_next(struct klp_json_iter *iter, struct kos_bytes *ret_name, struct klp_json *ret_value)
{
    if (iter->rest.len == 0)
        return false;
    const uint8_t *p = iter->rest.data, *end = p + iter->rest.len;
    if (*p == ',')
        p++;
    if (iter->object) {
        const uint8_t *name = p + 1;
        p = skip_string(p, end);
        if (ret_name)
            *ret_name = kos_bytes(name, (size_t)(p - name) - 1);
        p++;
    }
    const uint8_t *value = p;
    p = skip_value(p, end);
    ret_value->text = kos_bytes(value, (size_t)(p - value));
    ret_value->type = json_type_of(ret_value->text);
    iter->rest = kos_bytes(p, (size_t)(end - p));
    return true;
}

int json_compare(struct kos_bytes plain, struct kos_bytes name)
{
    size_t n = plain.len < name.len ? plain.len : name.len, i = 0;
    while (i < n && plain.data[i] == name.data[i])
        i++;
    if (i == n)
        return (plain.len > n) - (name.len > n);
    if (name.data[i] == '\\')
        return json_name_cmp(plain, name, true);
    return plain.data[i] < name.data[i] ? -1 : 1;
}

struct klp_json klp_json_get(struct klp_json object, const char *name)
{
    struct klp_json value = { 0 }, none = { 0 };
    struct kos_bytes found, wanted = kos_bytes_str(name);
    struct klp_json_iter iter;
    if (object.type != KLP_JSON_OBJECT)
        return none;
    klp_json_iter_init(object, &iter);
    while (klp_json_next(&iter, &found, &value)) {
        int order = json_compare(wanted, found);
        if (order == 0)
            return value;
        if (order < 0)
            break;
    }
    return none;
}

size_t klp_json_get_many(struct klp_json object, const char *const *names, size_t count, struct klp_json *ret_values)
{
    struct klp_json value;
    struct kos_bytes found;
    struct klp_json_iter iter;
    size_t members = 0, i = 0;
    if (count)
        memset(ret_values, 0, count * sizeof *ret_values);
    if (object.type != KLP_JSON_OBJECT)
        return 0;
    klp_json_iter_init(object, &iter);
    for (; klp_json_next(&iter, &found, &value); members++) {
        int order = 1;
        while (i < count && (order = json_compare(kos_bytes_str(names[i]), found)) < 0)
            i++;
        if (i < count && order == 0)
            ret_values[i++] = value;
    }
    return members;
}

size_t klp_json_count(struct klp_json container)
{
    struct klp_json value;
    struct klp_json_iter iter;
    size_t count = 0;
    klp_json_iter_init(container, &iter);
    while (klp_json_next(&iter, NULL, &value))
        count++;
    return count;
}

int32_t klp_json_int(struct klp_json value, int64_t *ret_number)
{
    if (value.type != KLP_JSON_INT)
        return KOS_E_SYNTAX;
    const uint8_t *p = value.text.data, *end = p + value.text.len;
    bool minus = *p == '-';
    int64_t number = 0;
    for (p += minus; p < end; p++)
        number = number * 10 + (*p - '0');
    *ret_number = minus ? -number : number;
    return 0;
}

int32_t klp_json_uint(struct klp_json value, uint64_t *ret_number)
{
    int64_t number;
    if (klp_json_int(value, &number) < 0 || number < 0)
        return KOS_E_SYNTAX;
    *ret_number = (uint64_t)number;
    return 0;
}

int32_t klp_json_double(struct klp_json value, double *ret_number)
{
    int64_t number;
    if (klp_json_int(value, &number) == 0) {
        *ret_number = (double)number; /* exact: within 2^53 - 1 */
        return 0;
    }
    return value.type == KLP_JSON_DOUBLE && json_parse_double(value.text, ret_number) ? 0 : KOS_E_SYNTAX;
}

int32_t klp_json_bool(struct klp_json value, bool *ret_bool)
{
    if (value.type != KLP_JSON_BOOL)
        return KOS_E_SYNTAX;
    *ret_bool = value.text.data[0] == 't';
    return 0;
}

static uint8_t unescape(const uint8_t **p)
{
    const uint8_t *s = *p;
    *p += 2;
    switch (s[1]) {
    case 'b': return '\b';
    case 't': return '\t';
    case 'n': return '\n';
    case 'f': return '\f';
    case 'r': return '\r';
    case 'u':
        *p += 4;
        return (uint8_t)((s[4] - '0') << 4 | (s[5] <= '9' ? s[5] - '0' : s[5] - 'a' + 10));
    default: return s[1];
    }
}

int32_t klp_json_string(struct klp_json value, char *buf, size_t cap, size_t *ret_len)
{
    if (value.type != KLP_JSON_STRING)
        return KOS_E_SYNTAX;
    const uint8_t *p = value.text.data + 1, *end = value.text.data + value.text.len - 1;
    size_t len = (size_t)(end - p);
    for (const uint8_t *q = p; q < end && (q = memchr(q, '\\', (size_t)(end - q))) != NULL;) {
        const uint8_t *escape = q;
        unescape(&q);
        len -= (size_t)(q - escape) - 1;
    }
    if (len >= cap)
        return KOS_E_LIMIT;
    if (len == (size_t)(end - p)) {
        memcpy(buf, p, len);
    } else {
        for (char *out = buf; p < end;)
            *out++ = (char)(*p == '\\' ? unescape(&p) : *p++);
    }
    buf[len] = '\0';
    if (ret_len)
        *ret_len = len;
    return 0;
}

bool klp_json_equals(struct klp_json value, const char *text)
{
    size_t len = strlen(text);
    return value.type == KLP_JSON_STRING && value.text.len == len + 2 && memcmp(value.text.data + 1, text, len) == 0;
}

int32_t klp_json_plain(struct klp_json value, struct kos_bytes *ret_text)
{
    if (value.type != KLP_JSON_STRING)
        return KOS_E_SYNTAX;
    struct kos_bytes inner = kos_bytes(value.text.data + 1, value.text.len - 2);
    if (memchr(inner.data, '\\', inner.len))
        return KOS_E_SYNTAX;
    *ret_text = inner;
    return 0;
}
