/* SPDX-License-Identifier: Apache-2.0
 * Messages: checked, and copied whole into one piece of memory. */
#include "http.h"

#include <stdlib.h>

/* ---- strings are UTF-8: what is not is taken for ISO-8859-1, as header values were (RFC 9110, 5.5) ---- */

static size_t utf8_run(const uint8_t *p)
{
    size_t n = *p < 0x80                 ? 1
               : *p >= 0xc2 && *p < 0xe0 ? 2
               : *p >= 0xe0 && *p < 0xf0 ? 3
               : *p >= 0xf0 && *p < 0xf5 ? 4
                                         : 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if (n >= 3 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) || (p[0] == 0xf0 && p[1] < 0x90) ||
                   (p[0] == 0xf4 && p[1] >= 0x90)))
        return 0;
    return n;
}

static bool utf8(const char *text)
{
    const uint8_t *p = (const uint8_t *)text;
    while (*p) {
        size_t n = utf8_run(p);
        if (n == 0)
            return false;
        p += n;
    }
    return true;
}

static const char *put_text(char **at, const char *text, bool lower)
{
    const char *begin = *at;
    bool latin = !utf8(text);
    for (const uint8_t *p = (const uint8_t *)text; *p; p++) {
        if (latin && *p >= 0x80) {
            *(*at)++ = (char)(0xc0 | *p >> 6);
            *(*at)++ = (char)(0x80 | (*p & 0x3f));
        } else {
            *(*at)++ = (char)(lower && *p >= 'A' && *p <= 'Z' ? *p | 32 : *p);
        }
    }
    *(*at)++ = '\0';
    return begin;
}

static size_t text_room(const char *text)
{
    return text ? 2 * strlen(text) + 1 : 1;
}

struct http_parcel *http_parcel_new(const struct kos_http_message *m)
{
    size_t room = text_room(m->method) + text_room(m->url) + text_room(m->peer) + m->body.len;
    for (uint32_t i = 0; i < m->header_count; i++)
        room += text_room(m->headers[i].name) + text_room(m->headers[i].value);
    size_t total = sizeof(struct http_parcel) + m->header_count * sizeof(struct kos_http_header) + room;
    struct http_parcel *parcel = malloc(total);
    if (!parcel)
        return NULL;
    struct kos_http_header *headers = (struct kos_http_header *)(parcel + 1);
    char *at = (char *)(headers + m->header_count);
    parcel->bytes = total;
    parcel->message = (struct kos_http_message){ .size = sizeof parcel->message,
                                                 .status = m->status,
                                                 .headers = headers,
                                                 .header_count = m->header_count };
    for (uint32_t i = 0; i < m->header_count; i++) {
        headers[i].name = put_text(&at, m->headers[i].name, true);
        headers[i].value = put_text(&at, m->headers[i].value, false);
    }
    parcel->message.method = put_text(&at, m->method ? m->method : "", false);
    parcel->message.url = put_text(&at, m->url ? m->url : "", false);
    parcel->message.peer = put_text(&at, m->peer ? m->peer : "", false);
    parcel->message.body = kos_bytes(at, m->body.len);
    if (m->body.len)
        memcpy(at, m->body.data, m->body.len);
    return parcel;
}

/* ---- what plugins hand over ---- */

/* Of the connection, not of the message: said by the service itself. */
static bool hop_by_hop(const char *name)
{
    static const char *const names[] = { "connection",       "content-length", "expect",  "keep-alive",
                                         "proxy-connection", "te",             "trailer", "transfer-encoding",
                                         "upgrade",          NULL };
    for (const char *const *n = names; *n; n++)
        if (strcasecmp(*n, name) == 0)
            return true;
    return false;
}

static bool value_clean(const char *value)
{
    for (const uint8_t *p = (const uint8_t *)value; *p; p++)
        if ((*p < ' ' && *p != '\t') || *p == 0x7f)
            return false;
    return true;
}

static bool headers_clean(const struct kos_http_message *m, char *ret_why, size_t cap)
{
    size_t bytes = 0;
    if (m->header_count > HTTP_HEADERS_MAX) {
        snprintf(ret_why, cap, "a message has at most %d headers, not %u", HTTP_HEADERS_MAX, m->header_count);
        return false;
    }
    for (uint32_t i = 0; i < m->header_count; i++) {
        const struct kos_http_header *h = &m->headers[i];
        if (!http_token(h->name))
            snprintf(ret_why, cap, "header %u has no valid name", i + 1);
        else if (!h->value || !value_clean(h->value))
            snprintf(ret_why, cap, "the header %.80s has a line break or control character", h->name);
        else if (hop_by_hop(h->name))
            snprintf(ret_why, cap, "the header %.80s is set by the HTTP service itself", h->name);
        else if ((bytes += strlen(h->name) + strlen(h->value) + 4) > HTTP_RESPONSE_HEAD_MAX)
            snprintf(ret_why, cap, "the headers have more than %d bytes", HTTP_RESPONSE_HEAD_MAX);
        else
            continue;
        return false;
    }
    return true;
}

bool http_message_check(const struct kos_http_message *given, bool request, struct kos_http_message *ret_message,
                        char *ret_why, size_t cap)
{
    struct kos_http_message m = { 0 };
    memcpy(&m, given, given->size < sizeof m ? given->size : sizeof m);
    if (request && !http_token(m.method))
        snprintf(ret_why, cap, "the method is not a word");
    else if (request && (strcasecmp(m.method, "CONNECT") == 0 || strcasecmp(m.method, "TRACE") == 0))
        snprintf(ret_why, cap, "the method %s is not for messages", m.method);
    else if (request && (!m.url || strlen(m.url) > HTTP_TARGET_MAX))
        snprintf(ret_why, cap, "the URL is missing, or longer than %d bytes", HTTP_TARGET_MAX);
    else if (!request && (m.status < 200 || m.status > 599))
        snprintf(ret_why, cap, "the status %d is not from 200 to 599", m.status);
    else if (m.header_count && !m.headers)
        snprintf(ret_why, cap, "there are %u headers and no list of them", m.header_count);
    else if (headers_clean(&m, ret_why, cap)) {
        *ret_message = m;
        return true;
    }
    return false;
}
