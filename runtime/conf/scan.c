/* SPDX-License-Identifier: Apache-2.0
 *
 * One pass over a configuration text before libconfig parses it, with the same idea of strings and comments
 * (libconfig 1.5, scanner.l). It refuses what libconfig would do wrongly or without bound:
 *  - @include, which would open other files;
 *  - NUL (its text ends there unseen) and bytes that are not UTF-8;
 *  - brackets too deep (its parser recurses), too many settings (its search for duplicates is linear);
 *  - numbers that it would wrap, saturate or read as octal;
 *  - strings and comments that do not end, which it takes up to the end of the file.
 * It also checks the grammar, because libconfig says no more than "syntax error" and leaks the string it stumbled on.
 */
#include "conf/scan.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

enum { NUMBER_MAX = 64 };

/* What may come next inside a bracket (the file itself is a group). */
enum state { WANT_NAME, WANT_EQUALS, WANT_VALUE, WANT_VALUE_OR_END, AFTER_VALUE, AFTER_STRING };
enum token { NAME, EQUALS, SCALAR, STRING, OPEN, SEMICOLON, COMMA };

struct level {
    char close;         /* what ends it; 0 the file */
    int line;
    enum state state;
};

struct scan {
    const char *name;
    struct kos_bytes text;
    size_t at;
    int line;
    size_t items, depth;
    struct level level[KOS_CONF_DEPTH_MAX + 1];
    struct kos_error *error;
};

size_t kos_conf_utf8(struct kos_bytes text)
{
    size_t i = 0;
    while (i < text.len) {
        const uint8_t *p = text.data + i;
        if (*p && *p < 0x80) {
            i++;
            continue;
        }
        size_t len = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
        if (*p < 0xc2 || *p > 0xf4 || len > text.len - i)
            return i;
        uint32_t c = *p & (0xffU >> (len + 1));
        for (size_t k = 1; k < len; k++) {
            if ((p[k] & 0xc0) != 0x80)
                return i;
            c = c << 6 | (p[k] & 0x3f);
        }
        if ((len == 3 && c < 0x800) || (len == 4 && (c < 0x10000 || c > 0x10ffff)) || (c >= 0xd800 && c <= 0xdfff))
            return i;
        i += len;
    }
    return i;
}

static int peek(const struct scan *s, size_t ahead)
{
    return s->text.len - s->at > ahead ? s->text.data[s->at + ahead] : -1;
}

static void step(struct scan *s)
{
    s->line += s->text.data[s->at++] == '\n';
}

static int32_t fail(const struct scan *s, int line, const char *reason)
{
    return kos_fail(s->error, KOS_E_CONFIG, "%s:%d: %s", s->name, line, reason);
}

static bool is_group(const struct level *level)
{
    return level->close == 0 || level->close == '}';
}

/* What is wrong with this token here; NULL when it fits, and the state has moved on. */
static const char *accept(struct level *level, enum token token)
{
    bool after = level->state == AFTER_VALUE || level->state == AFTER_STRING;
    bool value = level->state == WANT_VALUE || level->state == WANT_VALUE_OR_END;
    switch (token) {
    case NAME:
        if (!is_group(level) || !(level->state == WANT_NAME || after))
            return level->state == WANT_EQUALS ? "'=' is needed after the name before"
                                               : "a value is needed here; words are written in quotes";
        level->state = WANT_EQUALS;
        return NULL;
    case EQUALS:
        if (level->state != WANT_EQUALS)
            return "'=' stands only after a name";
        level->state = WANT_VALUE;
        return NULL;
    case OPEN:
        if (level->close == ']')
            return "[ ] holds plain values only; write ( ) for a list of others";
        return value ? NULL : "a bracket stands only where a value may: name = { ... };";
    case STRING:
        if (level->state == AFTER_STRING)
            return NULL;
        /* fall through */
    case SCALAR:
        if (!value)
            return level->state == WANT_EQUALS ? "'=' is needed after the name before"
                   : is_group(level)           ? "a name is needed here: name = value;"
                                               : "',' is needed between values";
        level->state = token == STRING ? AFTER_STRING : AFTER_VALUE;
        return NULL;
    case SEMICOLON:
        if (!is_group(level) || !after)
            return "';' stands only after a setting: name = value;";
        level->state = WANT_NAME;
        return NULL;
    default:
        if (!after)
            return "',' stands only between values";
        level->state = is_group(level) ? WANT_NAME : WANT_VALUE;
        return NULL;
    }
}

static int32_t take(struct scan *s, enum token token, int line)
{
    const char *wrong = accept(&s->level[s->depth], token);
    return wrong ? fail(s, line, wrong) : KOS_OK;
}

static int32_t scan_string(struct scan *s)
{
    int line = s->line;
    for (step(s); s->at < s->text.len; step(s)) {
        int c = peek(s, 0);
        if (c == '"') {
            step(s);
            return take(s, STRING, line);
        }
        if (c != '\\')
            continue;
        if ((peek(s, 1) == 'x' || peek(s, 1) == 'X') && peek(s, 2) == '0' && peek(s, 3) == '0')
            return fail(s, s->line, "the string holds a NUL (\\x00)");
        if (peek(s, 1) >= 0)
            step(s);
    }
    return fail(s, line, "the string that begins here does not end: a \" is missing");
}

static int32_t scan_comment(struct scan *s)
{
    int line = s->line;
    if (peek(s, 0) != '#' && peek(s, 1) == '*') {
        for (step(s), step(s); s->at < s->text.len; step(s)) {
            if (peek(s, 0) == '*' && peek(s, 1) == '/') {
                step(s);
                step(s);
                return KOS_OK;
            }
        }
        return fail(s, line, "the comment that begins here does not end: a */ is missing");
    }
    while (s->at < s->text.len && peek(s, 0) != '\n')
        step(s);
    return KOS_OK;
}

static bool digit(int c) { return c >= '0' && c <= '9'; }
static bool letter(int c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* A fraction or exponent behind `whole` digits: libconfig's pattern, but with a digit in it. Whether it is finite is
 * checked where it is read. */
static bool is_real(const char *rest, size_t whole)
{
    size_t fraction = 0;
    if (*rest == '.') {
        fraction = strspn(rest + 1, "0123456789");
        rest += 1 + fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (*rest == 'e' || *rest == 'E') {
        rest += 1 + (rest[1] == '-' || rest[1] == '+');
        size_t power = strspn(rest, "0123456789");
        return power > 0 && rest[power] == 0;
    }
    return *rest == 0;
}

static int32_t check_number(const struct scan *s, const char *word)
{
    const char *digits = word + (*word == '-' || *word == '+');
    bool hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    size_t span = hex ? 2 + strspn(digits + 2, "0123456789abcdefABCDEF") : strspn(digits, "0123456789");
    const char *rest = digits + span;
    if (*rest && !hex && is_real(rest, span))
        return KOS_OK;
    bool wide = *rest == 'L';
    if (span == 0 || (hex && (span == 2 || digits != word)) ||
        (*rest && strcmp(rest, "L") != 0 && strcmp(rest, "LL") != 0))
        return kos_fail(s->error, KOS_E_CONFIG,
                        "%s:%d: \"%s\" is not a number; words, durations and sizes are written in quotes", s->name,
                        s->line, word);
    if (!hex && span > 1 && *digits == '0')
        return kos_fail(s->error, KOS_E_CONFIG,
                        "%s:%d: %s has a leading zero, which libconfig reads as octal; leave it out", s->name, s->line,
                        word);
    errno = 0;
    long long value = strtoll(word, NULL, hex ? 16 : 10);
    if (errno == ERANGE)
        return kos_fail(s->error, KOS_E_CONFIG, "%s:%d: %s is outside of 64 bits", s->name, s->line, word);
    /* libconfig 1.5 cuts these to 32 bits. */
    if (!wide && (value > INT32_MAX || value < INT32_MIN))
        return kos_fail(s->error, KOS_E_CONFIG, "%s:%d: %s is wider than 31 bits; write %sL", s->name, s->line, word,
                        word);
    return KOS_OK;
}

/* A word: a name, true, false or a number. */
static int32_t scan_word(struct scan *s)
{
    char word[NUMBER_MAX + 1];
    size_t len = 0;
    bool number = !letter(peek(s, 0)) && peek(s, 0) != '*';
    for (int c = peek(s, 0), before = 0; c >= 0; before = c, step(s), c = peek(s, 0)) {
        bool sign = (c == '+' || c == '-') && (!number || len == 0 || before == 'e' || before == 'E');
        if (!(letter(c) || digit(c) || sign || c == '_' || c == '*' || (number && c == '.')))
            break;
        if (len == NUMBER_MAX)
            return fail(s, s->line, "a name or number is longer than 64 characters");
        word[len++] = (char)c;
    }
    word[len] = 0;
    int32_t rc = number ? check_number(s, word) : KOS_OK;
    if (rc < 0)
        return rc;
    return take(s, number || strcasecmp(word, "true") == 0 || strcasecmp(word, "false") == 0 ? SCALAR : NAME, s->line);
}

static int32_t scan_open(struct scan *s)
{
    int c = peek(s, 0);
    int32_t rc = take(s, OPEN, s->line);
    if (rc < 0)
        return rc;
    if (s->depth == KOS_CONF_DEPTH_MAX)
        return kos_fail(s->error, KOS_E_CONFIG, "%s:%d: brackets are nested deeper than %d", s->name, s->line,
                        KOS_CONF_DEPTH_MAX);
    s->level[++s->depth] = (struct level){ c == '{'   ? '}'
                                           : c == '(' ? ')'
                                                      : ']',
                                           s->line, c == '{' ? WANT_NAME : WANT_VALUE_OR_END };
    step(s);
    return KOS_OK;
}

static int32_t scan_close(struct scan *s)
{
    int c = peek(s, 0);
    const struct level *level = &s->level[s->depth];
    if (s->depth == 0)
        return kos_fail(s->error, KOS_E_CONFIG, "%s:%d: there is no open bracket that this '%c' could close", s->name,
                        s->line, c);
    if (level->close != c)
        return kos_fail(s->error, KOS_E_CONFIG, "%s:%d: '%c' cannot close what line %d opened: a '%c' is missing",
                        s->name, s->line, c, level->line, level->close);
    if (level->state == WANT_EQUALS || level->state == WANT_VALUE)
        return kos_fail(s->error, KOS_E_CONFIG, "%s:%d: a value is needed before '%c'", s->name, s->line, c);
    s->level[--s->depth].state = AFTER_VALUE;
    step(s);
    return KOS_OK;
}

static int32_t scan_one(struct scan *s)
{
    int c = peek(s, 0);
    int32_t rc;
    switch (c) {
    case '"': return scan_string(s);
    case '#': return scan_comment(s);
    case '/':
        if (peek(s, 1) == '/' || peek(s, 1) == '*')
            return scan_comment(s);
        break;
    case '{': case '(': case '[': return scan_open(s);
    case '}': case ')': case ']': return scan_close(s);
    case '=': case ':': case ',':
        if (++s->items > KOS_CONF_ITEMS_MAX)
            return kos_fail(s->error, KOS_E_CONFIG, "%s:%d: more than %d settings and list elements", s->name, s->line,
                            KOS_CONF_ITEMS_MAX);
        rc = take(s, c == ',' ? COMMA : EQUALS, s->line);
        step(s);
        return rc;
    case ';':
        rc = take(s, SEMICOLON, s->line);
        step(s);
        return rc;
    case ' ': case '\t': case '\r': case '\n': case '\f':
        step(s);
        return KOS_OK;
    case '@': return fail(s, s->line, "@include is not allowed: each file stands for itself");
    default:
        if (letter(c) || digit(c) || c == '*' || c == '+' || c == '-' || c == '.')
            return scan_word(s);
    }
    if (c > 0x20 && c < 0x7f)
        return kos_fail(s->error, KOS_E_CONFIG, "%s:%d: unexpected character '%c'", s->name, s->line, c);
    return kos_fail(s->error, KOS_E_CONFIG, "%s:%d: unexpected byte 0x%02x outside of quotes", s->name, s->line,
                    (unsigned)c);
}

int32_t kos_conf_scan(const char *name, struct kos_bytes text, struct kos_error *ret_error)
{
    struct scan s = { .name = name, .text = text, .line = 1, .error = ret_error };
    if (text.len > KOS_CONF_FILE_MAX)
        return kos_fail(ret_error, KOS_E_CONFIG, "%s: the file is larger than %d bytes", name, KOS_CONF_FILE_MAX);
    size_t bad = kos_conf_utf8(text);
    if (bad < text.len) {
        for (size_t i = 0; i < bad; i++)
            s.line += text.data[i] == '\n';
        return fail(&s, s.line, text.data[bad] ? "the text is not UTF-8" : "the text holds a NUL byte");
    }
    while (s.at < text.len) {
        int32_t rc = scan_one(&s);
        if (rc < 0)
            return rc;
    }
    const struct level *level = &s.level[s.depth];
    if (s.depth)
        return kos_fail(ret_error, KOS_E_CONFIG, "%s:%d: the bracket opened here is not closed: a '%c' is missing",
                        name, level->line, level->close);
    if (level->state == WANT_EQUALS || level->state == WANT_VALUE)
        return fail(&s, s.line, "the file ends within a setting: name = value;");
    return KOS_OK;
}
