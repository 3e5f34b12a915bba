/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer of canonical JSON (RFC 8785), into a buffer of the caller's.
 */
#include <klp/json.h>

#include "codec.h"

#include <math.h>

/* What comma[depth] holds. */
enum { AFTER = 1, OBJECT = 2, NAMED = 4 };

static void fail(struct klp_json_out *out, int32_t error)
{
    if (!out->error)
        out->error = error;
}

static void append(struct klp_json_out *out, const void *data, size_t len)
{
    if (out->len <= out->cap && len && len <= out->cap - out->len)
        memcpy(out->data + out->len, data, len);
    out->len += len;
}

/* Before each value: the comma, and is a value wanted here at all? */
static void before_value(struct klp_json_out *out)
{
    uint8_t *state = &out->comma[out->depth];
    if (*state & OBJECT) {
        if (!(*state & NAMED))
            fail(out, KOS_E_INVALID);
        *state &= (uint8_t)~NAMED;
    } else if (*state & AFTER) {
        if (out->depth == 0)
            fail(out, KOS_E_INVALID);
        append(out, ",", 1);
    }
    *state |= AFTER;
}

static void escape(struct klp_json_out *out, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };
    switch (c) {
    case '"': case '\\': text[1] = (char)c; break;
    case '\b': text[1] = 'b'; break;
    case '\t': text[1] = 't'; break;
    case '\n': text[1] = 'n'; break;
    case '\f': text[1] = 'f'; break;
    case '\r': text[1] = 'r'; break;
    case '\0': fail(out, KOS_E_SYNTAX); break;
    default: append(out, text, 6); return;
    }
    append(out, text, 2);
}

static void quoted(struct klp_json_out *out, struct kos_bytes utf8)
{
    const uint8_t *p = utf8.data, *end = p + utf8.len;
    append(out, "\"", 1);
    while (p < end) {
        size_t n = json_plain_run(p, end);
        if (n == 0 && *p >= 0x80) {
            n = json_utf8(p, end);
            if (n == 0) {
                fail(out, KOS_E_SYNTAX);
                return;
            }
        }
        append(out, p, n);
        p += n;
        if (p < end && n == 0)
            escape(out, *p++);
    }
    append(out, "\"", 1);
}

void klp_json_begin(struct klp_json_out *out, void *data, size_t cap)
{
    memset(out, 0, sizeof *out);
    out->data = data;
    out->cap = cap;
}

static void open_container(struct klp_json_out *out, const char *bracket, uint8_t state)
{
    before_value(out);
    append(out, bracket, 1);
    if (out->depth == KLP_JSON_DEPTH_MAX) {
        fail(out, KOS_E_LIMIT);
        return;
    }
    out->depth++;
    out->comma[out->depth] = state;
    out->last[out->depth].at = out->last[out->depth].len = 0;
}

void klp_json_object(struct klp_json_out *out)
{
    open_container(out, "{", OBJECT);
}

void klp_json_array(struct klp_json_out *out)
{
    open_container(out, "[", 0);
}

void klp_json_close(struct klp_json_out *out, char bracket)
{
    uint8_t state = out->comma[out->depth];
    if (out->depth == 0 || (state & NAMED) || bracket != (state & OBJECT ? '}' : ']')) {
        fail(out, KOS_E_INVALID);
        return;
    }
    append(out, &bracket, 1);
    out->depth--;
}

void klp_json_name(struct klp_json_out *out, const char *name)
{
    uint8_t *state = &out->comma[out->depth];
    if (!(*state & OBJECT) || (*state & NAMED)) {
        fail(out, KOS_E_INVALID);
        return;
    }
    if (*state & AFTER)
        append(out, ",", 1);
    size_t at = out->len + 1;
    quoted(out, kos_bytes_str(name));
    size_t len = out->len - at - 1;
    if (out->error == 0 && out->len <= out->cap) {
        size_t last = out->last[out->depth].at, last_len = out->last[out->depth].len;
        if (last && json_name_cmp(kos_bytes(out->data + last, last_len), kos_bytes(out->data + at, len), true) >= 0)
            fail(out, KOS_E_INVALID);
        out->last[out->depth].at = at; /* never 0: a brace and a quote come before */
        out->last[out->depth].len = len;
    }
    append(out, ":", 1);
    *state |= NAMED;
}

void klp_json_put_string(struct klp_json_out *out, struct kos_bytes utf8)
{
    before_value(out);
    quoted(out, utf8);
}

void klp_json_put_cstr(struct klp_json_out *out, const char *utf8)
{
    klp_json_put_string(out, kos_bytes_str(utf8));
}

void klp_json_put_int(struct klp_json_out *out, int64_t number)
{
    char text[20], *p = text + sizeof text;
    bool minus = number < 0;
    if (number > KLP_JSON_INT_MAX || number < -KLP_JSON_INT_MAX) {
        fail(out, KOS_E_INVALID);
        number = 0;
    }
    uint64_t rest = (uint64_t)(number < 0 ? -number : number);
    do {
        *--p = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (minus)
        *--p = '-';
    before_value(out);
    append(out, p, (size_t)(text + sizeof text - p));
}

void klp_json_put_double(struct klp_json_out *out, double number)
{
    char text[KLP_JSON_NUMBER_TEXT] = "0";
    size_t len = 1;
    /* From 2^53 to 1e21 the canonical text looks like an integer, of which readers of 64-bit integers
     * and readers of doubles make two different numbers: KLP has none of those. */
    if (!isfinite(number) || (fabs(number) > (double)KLP_JSON_INT_MAX && fabs(number) < 1e21))
        fail(out, KOS_E_INVALID);
    else
        len = klp_json_number(number, text);
    before_value(out);
    append(out, text, len);
}

void klp_json_put_bool(struct klp_json_out *out, bool value)
{
    before_value(out);
    append(out, value ? "true" : "false", value ? 4 : 5);
}

void klp_json_put_null(struct klp_json_out *out)
{
    before_value(out);
    append(out, "null", 4);
}

void klp_json_put_raw(struct klp_json_out *out, struct kos_bytes canonical)
{
    before_value(out);
    if (canonical.len == 0)
        fail(out, KOS_E_INVALID);
    append(out, canonical.data, canonical.len);
}

void klp_json_put_hex(struct klp_json_out *out, struct kos_bytes data)
{
    before_value(out);
    append(out, "\"0x", 3);
    while (data.len) {
        char text[129];
        size_t n = data.len < 64 ? data.len : 64;
        klp_hex(kos_bytes(data.data, n), text);
        append(out, text, 2 * n);
        data = kos_bytes(data.data + n, data.len - n);
    }
    append(out, "\"", 1);
}

int32_t klp_json_end(struct klp_json_out *out, struct kos_bytes *ret_text)
{
    if (!out->error && (out->depth != 0 || !(out->comma[0] & AFTER)))
        out->error = KOS_E_INVALID;
    if (out->error)
        return out->error;
    if (out->len > out->cap)
        return KOS_E_LIMIT;
    *ret_text = kos_bytes(out->data, out->len);
    return 0;
}
