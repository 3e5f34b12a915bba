/* SPDX-License-Identifier: Apache-2.0
 * The bytes of a request, one at a time: RFC 9112 without its leniences. evhttp takes bare line feeds, NUL, blanks
 * before a colon, folded lines, "0x" in chunk sizes, and both a length and a transfer coding; here none of it
 * passes. */
#include "http.h"

enum {
    METHOD, TARGET, VERSION, LINE_LF, HEADER, NAME, BLANK, VALUE, HEADER_LF, HEAD_LF,
    BODY, SIZE, SIZE_LF, DATA, DATA_CR, DATA_LF, LAST_CR, LAST_LF, DONE
};

static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", NULL };

void http_guard_begin(struct http_guard *guard, size_t head_max, uint64_t body_max)
{
    *guard = (struct http_guard){ .head_max = head_max, .body_max = body_max, .state = METHOD };
}

bool http_guard_idle(const struct http_guard *guard)
{
    return guard->head == 0;
}

const char *http_status_text(int status)
{
    switch (status) {
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return status < 400 ? "OK" : "Error";
    }
}

/* RFC 9110, 5.6.2: tchar */
static bool tchar(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
        (c && strchr("!#$%&'*+-.^_`|~", c));
}

bool http_token(const char *text)
{
    if (!text || !*text)
        return false;
    while (*text && tchar((uint8_t)*text))
        text++;
    return *text == '\0';
}

static void word_add(struct http_guard *guard, uint8_t c)
{
    if (guard->word_len < sizeof guard->word - 1)
        guard->word[guard->word_len++] = (char)c;
    else
        guard->word_len = 255;
}

static bool word_is(const struct http_guard *guard, const char *text)
{
    size_t len = strlen(text);
    if (guard->word_len != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = guard->word[i];
        if ((c >= 'A' && c <= 'Z' ? c | 32 : c) != text[i])
            return false;
    }
    return true;
}

static void next_word(struct http_guard *guard, int state)
{
    guard->word_len = 0;
    guard->field = 0;
    guard->state = state;
}

static int method_end(struct http_guard *guard)
{
    for (const char *const *m = methods; *m; m++)
        if (guard->word_len == strlen(*m) && memcmp(guard->word, *m, guard->word_len) == 0) {
            guard->head_method = strcmp(*m, "HEAD") == 0;
            next_word(guard, TARGET);
            return 0;
        }
    return guard->word_len ? 501 : 400;
}

static int version_end(struct http_guard *guard)
{
    bool http = guard->word_len == 8 && memcmp(guard->word, "HTTP/", 5) == 0;
    guard->http10 = http && memcmp(guard->word, "HTTP/1.0", 8) == 0;
    if (!guard->http10 && (!http || memcmp(guard->word, "HTTP/1.1", 8) != 0))
        return http ? 505 : 400;
    next_word(guard, LINE_LF);
    return 0;
}

static int name_end(struct http_guard *guard)
{
    guard->name_te = word_is(guard, "transfer-encoding");
    guard->name_cl = word_is(guard, "content-length");
    guard->name_host = word_is(guard, "host");
    if (++guard->headers > HTTP_HEADERS_MAX)
        return 431;
    if (guard->field == 0 || (guard->name_host && ++guard->hosts > 1))
        return 400;
    next_word(guard, BLANK);
    return 0;
}

/* The framing must be said once and in one way. */
static int value_end(struct http_guard *guard)
{
    while (guard->word_len && guard->word_len < sizeof guard->word &&
           strchr(" \t", guard->word[guard->word_len - 1]))
        guard->word_len--;
    if (guard->name_te) {
        if (guard->chunked || guard->http10 || guard->head_method || !word_is(guard, "chunked"))
            return 400;
        guard->chunked = true;
    } else if (guard->name_cl) {
        if (guard->sized || guard->word_len == 0)
            return 400;
        for (size_t i = 0; i < guard->word_len && guard->word_len != 255; i++)
            if (guard->word[i] < '0' || guard->word[i] > '9')
                return 400;
        if (guard->word_len > 18)
            return 413;
        for (size_t i = 0; i < guard->word_len; i++)
            guard->left = guard->left * 10 + (uint64_t)(guard->word[i] - '0');
        guard->sized = true;
    }
    next_word(guard, HEADER_LF);
    return 0;
}

static int head_end(struct http_guard *guard)
{
    if ((guard->chunked && guard->sized) || (!guard->http10 && guard->hosts == 0) ||
        (guard->head_method && guard->left))
        return 400;
    if (guard->left > guard->body_max)
        return 413;
    guard->body = guard->left;
    next_word(guard, guard->chunked ? SIZE : guard->left ? BODY : DONE);
    return 0;
}

static int head_byte(struct http_guard *guard, uint8_t c)
{
    if (++guard->head > guard->head_max)
        return guard->state <= TARGET ? 414 : 431;
    guard->field++;
    switch (guard->state) {
    case METHOD:
        if (c == ' ')
            return method_end(guard);
        word_add(guard, c);
        return tchar(c) ? 0 : 400;
    case TARGET:
        if (c == ' ' && guard->field > 1) {
            next_word(guard, VERSION);
            return 0;
        }
        return c <= ' ' || c >= 0x7f ? 400 : guard->field > HTTP_TARGET_MAX ? 414 : 0;
    case VERSION:
        if (c == '\r')
            return version_end(guard);
        word_add(guard, c);
        return c <= ' ' || c >= 0x7f ? 400 : 0;
    case LINE_LF: case HEADER_LF:
        next_word(guard, HEADER);
        return c == '\n' ? 0 : 400;
    case HEADER:
        guard->state = c == '\r' ? HEAD_LF : NAME;
        if (c == '\r')
            return 0;
        /* fall through */
    case NAME:
        if (c == ':') {
            guard->field--;
            return name_end(guard);
        }
        word_add(guard, c);
        return tchar(c) ? 0 : 400;
    case BLANK:
        if (c == ' ' || c == '\t')
            return 0;
        guard->state = VALUE;
        /* fall through */
    case VALUE:
        if (c == '\r')
            return value_end(guard);
        word_add(guard, c);
        return (c < ' ' && c != '\t') || c == 0x7f ? 400 : 0;
    default:
        return c == '\n' ? head_end(guard) : 400;
    }
}

/* Extensions and trailers are allowed by the RFC, needed by nobody, and read differently everywhere: refused. */
static int chunk_byte(struct http_guard *guard, uint8_t c)
{
    switch (guard->state) {
    case SIZE:
        if (c == '\r' && guard->field > 0) {
            guard->state = SIZE_LF;
            return 0;
        }
        if (http_hex(c) < 0 || ++guard->field > 15)
            return 400;
        guard->left = guard->left << 4 | (uint64_t)http_hex(c);
        return guard->left > guard->body_max - guard->body ? 413 : 0;
    case SIZE_LF:
        guard->body += guard->left;
        guard->state = guard->left ? DATA : LAST_CR;
        return c == '\n' ? 0 : 400;
    case DATA_CR:
        guard->state = DATA_LF;
        return c == '\r' ? 0 : 400;
    case DATA_LF:
        next_word(guard, SIZE);
        return c == '\n' ? 0 : 400;
    case LAST_CR:
        guard->state = LAST_LF;
        return c == '\r' ? 0 : 400;
    default:
        guard->state = DONE;
        return c == '\n' ? 0 : 400;
    }
}

int http_guard_feed(struct http_guard *guard, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len;) {
        if (guard->state == DONE) {
            guard->extra = true;
            return 0;
        }
        if (guard->state == BODY || guard->state == DATA) {
            size_t n = guard->left < len - i ? (size_t)guard->left : len - i;
            guard->left -= n;
            i += n;
            if (guard->left == 0)
                guard->state = guard->state == BODY ? DONE : DATA_CR;
            continue;
        }
        int status = guard->state < BODY ? head_byte(guard, data[i]) : chunk_byte(guard, data[i]);
        if (status)
            return status;
        i++;
    }
    return 0;
}
