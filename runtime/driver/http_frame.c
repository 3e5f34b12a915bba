/* SPDX-License-Identifier: Apache-2.0
 * HTTP messages in frames. */
#include "driver/http_frame.h"

void kos_put_http(struct kos_frame **frame, const struct kos_http_message *m)
{
    kos_put_u64(frame, m != NULL);
    if (!m)
        return;
    uint32_t count = m->header_count < KOS_HTTP_HEADERS_MAX ? m->header_count : KOS_HTTP_HEADERS_MAX;
    kos_put_i64(frame, m->status);
    kos_put_text(frame, m->method);
    kos_put_text(frame, m->url);
    kos_put_text(frame, m->peer);
    kos_put_u64(frame, count);
    for (uint32_t i = 0; i < count; i++) {
        kos_put_text(frame, m->headers[i].name ? m->headers[i].name : "");
        kos_put_text(frame, m->headers[i].value ? m->headers[i].value : "");
    }
    kos_put_bytes(frame, m->body);
}

const struct kos_http_message *kos_get_http(struct kos_frame_reader *reader, struct kos_http_message *m,
                                            struct kos_http_header headers[KOS_HTTP_HEADERS_MAX])
{
    if (!kos_get_u64(reader))
        return NULL;
    *m = (struct kos_http_message){ .size = sizeof *m, .headers = headers };
    m->status = (int32_t)kos_get_i64(reader);
    m->method = kos_get_text(reader);
    m->url = kos_get_text(reader);
    m->peer = kos_get_text(reader);
    uint64_t count = kos_get_u64(reader);
    reader->bad = reader->bad || count > KOS_HTTP_HEADERS_MAX;
    for (uint64_t i = 0; i < count && !reader->bad; i++) {
        headers[i].name = kos_get_text(reader);
        headers[i].value = kos_get_text(reader);
        reader->bad = reader->bad || !headers[i].name || !headers[i].value;
    }
    m->header_count = (uint32_t)count;
    m->body = kos_get_bytes(reader);
    return reader->bad ? NULL : m;
}
