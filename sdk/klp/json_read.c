/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader of canonical JSON: one pass over the bytes that accepts exactly what RFC 8785 writes,
 * within the bounds of klp(7). It builds nothing; json_get.c walks what it has accepted.
 */
#include <klp/json.h>

#include "codec.h"

#include <math.h>

enum { NUMBER_TEXT_MAX = 25, INT_DIGITS_MAX = 16 };

/* An open container: what it is, and the last name in it, to hold the next one against. */
struct level {
    struct kos_bytes name;
    bool object, first, plain;
};

/* The members that are wanted of the outermost object, in order; noted as they are passed. */
struct wanted {
    const char *const *names;
    size_t count, at, members;
    struct klp_json *values;
    const uint8_t *value; /* where the value of names[at] begins; NULL: this member is none of them */
};

struct reader {
    const uint8_t *p, *end;
    int depth, depth_max;
    struct wanted *wanted; /* NULL: none */
    struct level level[KLP_JSON_DEPTH_MAX];
};

size_t json_utf8(const uint8_t *p, const uint8_t *end)
{
    size_t left = (size_t)(end - p);
    uint8_t c = *p;
    if (c < 0xc2 || c > 0xf4)
        return 0;
    size_t len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (left < len)
        return 0;
    /* RFC 3629 section 4: the second byte's range depends on the first. */
    uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

/* The next character of valid UTF-8, unescaped where it stands between quotes. */
static uint32_t next_char(const uint8_t **p, bool escaped)
{
    const uint8_t *s = *p;
    uint32_t c = *s++;
    if (c == '\\' && escaped) {
        c = *s++;
        switch (c) {
        case 'b': c = '\b'; break;
        case 't': c = '\t'; break;
        case 'n': c = '\n'; break;
        case 'f': c = '\f'; break;
        case 'r': c = '\r'; break;
        case 'u': /* canonical: 001x or 000x */
            c = (uint32_t)(s[2] - '0') << 4 | (uint32_t)(s[3] <= '9' ? s[3] - '0' : s[3] - 'a' + 10);
            s += 4;
            break;
        default: break;
        }
    } else if (c >= 0xf0) {
        c = (c & 7) << 18 | (s[0] & 63u) << 12 | (s[1] & 63u) << 6 | (s[2] & 63u);
        s += 3;
    } else if (c >= 0xe0) {
        c = (c & 15) << 12 | (s[0] & 63u) << 6 | (s[1] & 63u);
        s += 2;
    } else if (c >= 0xc0) {
        c = (c & 31) << 6 | (s[0] & 63u);
        s++;
    }
    *p = s;
    return c;
}

int json_name_cmp(struct kos_bytes a, struct kos_bytes b, bool escaped)
{
    const uint8_t *p = a.data, *q = b.data, *p_end = p + a.len, *q_end = q + b.len;
    while (p < p_end && q < q_end) {
        uint32_t x = next_char(&p, escaped), y = next_char(&q, escaped);
        if (x == y)
            continue;
        /* As UTF-16 a character beyond U+FFFF begins with D800..DBFF, so it comes before U+E000..U+FFFF. */
        uint32_t x_unit = x > 0xffff ? 0xd800 + ((x - 0x10000) >> 10) : x;
        uint32_t y_unit = y > 0xffff ? 0xd800 + ((y - 0x10000) >> 10) : y;
        if (x_unit != y_unit)
            return x_unit < y_unit ? -1 : 1;
        return x < y ? -1 : 1;
    }
    return (p < p_end) - (q < q_end);
}

/* The only spellings that RFC 8785 3.2.2.2 leaves. Length of the escape at p, or 0. */
static size_t escape_len(const uint8_t *p, const uint8_t *end)
{
    if (end - p < 2)
        return 0;
    switch (p[1]) {
    case '"': case '\\': case 'b': case 't': case 'n': case 'f': case 'r':
        return 2;
    case 'u':
        break;
    default:
        return 0;
    }
    if (end - p < 6 || p[2] != '0' || p[3] != '0' || (p[4] != '0' && p[4] != '1'))
        return 0;
    uint8_t d = p[5];
    if (p[4] == '1')
        return (d >= '0' && d <= '9') || (d >= 'a' && d <= 'f') ? 6 : 0;
    /* 08 09 0a 0c 0d have short forms, 00 is not allowed in KLP */
    return (d >= '1' && d <= '7') || d == 'b' || d == 'e' || d == 'f' ? 6 : 0;
}

/* At the byte after the opening quote; leaves p after the closing one. `ret_plain`: all of it ASCII,
 * nothing escaped. */
static bool read_string(struct reader *r, bool *ret_plain)
{
    const uint8_t *p = r->p, *end = r->end;
    bool plain = true;
    for (;;) {
        p += json_plain_run(p, end);
        if (p < end && *p == '"')
            break;
        size_t n = 0;
        if (p < end && *p == '\\')
            n = escape_len(p, end);
        else if (p < end && *p >= 0x80)
            n = json_utf8(p, end);
        if (n == 0) {
            r->p = p;
            return false;
        }
        p += n;
        plain = false;
    }
    r->p = p + 1;
    *ret_plain = plain;
    return true;
}

static bool read_double(struct reader *r)
{
    const uint8_t *start = r->p, *p = start;
    bool real = false;
    while (p < r->end && ((*p >= '0' && *p <= '9') || *p == '-' || *p == '+' || *p == '.' || *p == 'e')) {
        real = real || *p == '.' || *p == 'e';
        p++;
    }
    double number;
    char text[KLP_JSON_NUMBER_TEXT];
    size_t len = (size_t)(p - start);
    /* An integer comes here when it is too large: refused, see klp_json_put_double(). */
    if (!real || len > NUMBER_TEXT_MAX || !json_parse_double(kos_bytes(start, len), &number) || !isfinite(number))
        return false;
    if (klp_json_number(number, text) != len || memcmp(text, start, len) != 0)
        return false;
    r->p = p;
    return true;
}

static bool read_number(struct reader *r)
{
    const uint8_t *p = r->p, *end = r->end;
    if (*p == '-')
        p++;
    const uint8_t *first = p;
    int64_t number = 0;
    while (p < end && p - first < INT_DIGITS_MAX && *p >= '0' && *p <= '9')
        number = number * 10 + (*p++ - '0');
    bool more = p < end && ((*p >= '0' && *p <= '9') || *p == '.' || *p == 'e' || *p == 'E');
    if (more)
        return read_double(r);
    if (p == first || number > KLP_JSON_INT_MAX || (*first == '0' && (p - first > 1 || first > r->p)))
        return false;
    r->p = p;
    return true;
}

static bool read_word(struct reader *r, const char *word, size_t len)
{
    if ((size_t)(r->end - r->p) < len || memcmp(r->p, word, len) != 0)
        return false;
    r->p += len;
    return true;
}

/* A name, its place in the order, and the colon. */
static bool read_name(struct reader *r, struct level *level)
{
    const uint8_t *quote = r->p;
    bool plain;
    if (quote == r->end || *quote != '"')
        return false;
    r->p++;
    if (!read_string(r, &plain))
        return false;
    struct kos_bytes name = kos_bytes(quote + 1, (size_t)(r->p - quote) - 2);
    if (!level->first) {
        int order;
        if (plain && level->plain) {
            size_t n = name.len < level->name.len ? name.len : level->name.len;
            order = memcmp(level->name.data, name.data, n);
            if (order == 0)
                order = level->name.len < name.len ? -1 : 1;
        } else {
            order = json_name_cmp(level->name, name, true);
        }
        if (order >= 0) {
            r->p = quote;
            return false;
        }
    }
    level->name = name;
    level->plain = plain;
    if (r->p == r->end || *r->p != ':')
        return false;
    r->p++;
    return true;
}

/* One value that holds no others; an opening bracket opens a level. */
static int32_t read_value(struct reader *r)
{
    bool plain;
    if (r->p == r->end)
        return KOS_E_CANONICAL;
    switch (*r->p) {
    case '"':
        r->p++;
        return read_string(r, &plain) ? 0 : KOS_E_CANONICAL;
    case '{': case '[':
        if (r->depth == r->depth_max)
            return KOS_E_LIMIT;
        r->level[r->depth++] = (struct level){ .object = *r->p == '{', .first = true };
        r->p++;
        return 0;
    case 't': return read_word(r, "true", 4) ? 0 : KOS_E_CANONICAL;
    case 'f': return read_word(r, "false", 5) ? 0 : KOS_E_CANONICAL;
    case 'n': return read_word(r, "null", 4) ? 0 : KOS_E_CANONICAL;
    case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
        return read_number(r) ? 0 : KOS_E_CANONICAL;
    default: return KOS_E_CANONICAL;
    }
}

/* Behind the colon of a member of the outermost object. Names come in ascending order on both sides. */
static void member_begins(struct wanted *w, struct kos_bytes name, const uint8_t *value)
{
    int order = 1;
    w->members++;
    w->value = NULL;
    while (w->at < w->count && (order = json_compare(kos_bytes_str(w->names[w->at]), name)) < 0)
        w->at++;
    if (w->at < w->count && order == 0)
        w->value = value;
}

static void member_ends(struct wanted *w, const uint8_t *end)
{
    if (!w->value)
        return;
    struct kos_bytes text = kos_bytes(w->value, (size_t)(end - w->value));
    w->values[w->at++] = (struct klp_json){ json_type_of(text), text };
    w->value = NULL;
}

static int32_t read_all(struct reader *r)
{
    int32_t err = read_value(r);
    while (err == 0 && r->depth > 0) {
        struct level *level = &r->level[r->depth - 1];
        if (r->p == r->end)
            return KOS_E_CANONICAL;
        if (r->wanted && r->depth == 1)
            member_ends(r->wanted, r->p);
        if (*r->p == (level->object ? '}' : ']')) {
            r->p++;
            r->depth--;
            continue;
        }
        if (!level->first) {
            if (*r->p != ',')
                return KOS_E_CANONICAL;
            r->p++;
        }
        if (level->object && !read_name(r, level))
            return KOS_E_CANONICAL;
        level->first = false;
        if (r->wanted && r->depth == 1 && level->object)
            member_begins(r->wanted, level->name, r->p);
        err = read_value(r);
    }
    return err < 0 ? err : r->p == r->end ? 0 : KOS_E_CANONICAL;
}

static int32_t read_text(struct kos_bytes text, size_t max_bytes, int depth_max, struct wanted *wanted,
                         struct klp_json *ret_value, size_t *ret_offset)
{
    struct reader r;
    r.p = text.data;
    r.end = text.data + text.len;
    r.depth = 0;
    r.depth_max = depth_max;
    r.wanted = wanted;
    int32_t err = text.len > max_bytes ? KOS_E_LIMIT : read_all(&r);
    if (err < 0) {
        if (ret_offset)
            *ret_offset = text.len > max_bytes ? max_bytes : (size_t)(r.p - text.data);
        return err;
    }
    ret_value->type = json_type_of(text);
    ret_value->text = text;
    return 0;
}

int32_t klp_json_read(struct kos_bytes text, size_t max_bytes, struct klp_json *ret_value, size_t *ret_offset)
{
    return read_text(text, max_bytes, KLP_JSON_DEPTH_MAX, NULL, ret_value, ret_offset);
}

int32_t json_read_inner(struct kos_bytes text, size_t max_bytes, struct klp_json *ret_value, size_t *ret_offset)
{
    return read_text(text, max_bytes, KLP_JSON_DEPTH_MAX - 1, NULL, ret_value, ret_offset);
}

int32_t klp_json_read_many(struct kos_bytes text, size_t max_bytes, const char *const *names, size_t count,
                           struct klp_json *ret_values, size_t *ret_members, struct klp_json *ret_value,
                           size_t *ret_offset)
{
    struct wanted wanted = { .names = names, .count = count, .values = ret_values };
    memset(ret_values, 0, count * sizeof *ret_values);
    int32_t err = read_text(text, max_bytes, KLP_JSON_DEPTH_MAX, &wanted, ret_value, ret_offset);
    if (err == 0 && ret_members)
        *ret_members = wanted.members;
    return err;
}
