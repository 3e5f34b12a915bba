/* SPDX-License-Identifier: Apache-2.0
 *
 * A host that a cell asks for this and that: it reads all that it is handed, to the end, and counts. For the targets
 * that play a cell.
 */
#ifndef KOS_TESTS_FUZZ_ASKED_H
#define KOS_TESTS_FUZZ_ASKED_H

#include "driver/http_frame.h"
#include "driver/up.h"
#include "fuzz.h"

static unsigned calls; /* of one run */

static void text_ok(const char *text)
{
    if (text)
        fuzz_touch(text, strlen(text) + 1);
}

static void bytes_ok(struct kos_bytes bytes)
{
    FUZZ_CHECK(bytes.data || !bytes.len);
    fuzz_touch(bytes.data, bytes.len);
}

static void texts_ok(const char *const *texts)
{
    FUZZ_CHECK(texts);
    for (; *texts; texts++)
        text_ok(*texts);
}

static void http_ok(const struct kos_http_message *m)
{
    FUZZ_CHECK(m && m->size == sizeof *m && m->header_count <= KOS_HTTP_HEADERS_MAX);
    text_ok(m->method);
    text_ok(m->url);
    text_ok(m->peer);
    for (uint32_t i = 0; i < m->header_count; i++) {
        FUZZ_CHECK(m->headers[i].name && m->headers[i].value);
        text_ok(m->headers[i].name);
        text_ok(m->headers[i].value);
    }
    bytes_ok(m->body);
}

static void draft_ok(const struct kos_draft *draft)
{
    text_ok(draft->type);
    text_ok(draft->target);
    text_ok(draft->trace);
    bytes_ok(draft->payload);
}

/* ---- up: what the host is asked ---- */

#define UP struct kos_services *s
#define DONE() ((void)s, (void)calls++)
static void u_none(UP) { DONE(); }
static bool u_gives(UP, const char *feature)
{
    (void)s;
    return feature[0] != 0;
}
static void u_id(UP, uint64_t id)
{
    (void)id;
    DONE();
}
static void u_two(UP, uint64_t id, uint64_t value)
{
    (void)id;
    (void)value;
    DONE();
}
static void u_text(UP, const char *text)
{
    FUZZ_CHECK(text);
    text_ok(text);
    DONE();
}
static void u_text_op(UP, const char *text, uint64_t op)
{
    (void)op;
    u_text(s, text);
}
static void u_log(UP, int32_t level, const char *text)
{
    (void)level;
    u_text(s, text);
}
static void u_complete(UP, uint64_t op, int32_t status, struct kos_bytes result)
{
    (void)op;
    (void)status;
    bytes_ok(result);
    DONE();
}
static void u_state_get(UP, struct kos_bytes key, uint64_t op)
{
    (void)op;
    bytes_ok(key);
    DONE();
}
static void u_state_scan(UP, struct kos_bytes prefix, struct kos_bytes from, uint32_t limit, uint64_t op)
{
    (void)limit;
    (void)op;
    bytes_ok(prefix);
    bytes_ok(from);
    DONE();
}
static void u_text_bytes(UP, const char *text, struct kos_bytes bytes, uint64_t op)
{
    (void)op;
    bytes_ok(bytes);
    u_text(s, text);
}
static void u_tx_put(UP, uint64_t tx, struct kos_bytes key, struct kos_bytes value)
{
    (void)tx;
    bytes_ok(key);
    bytes_ok(value);
    DONE();
}
static void u_id_bytes(UP, uint64_t id, struct kos_bytes bytes)
{
    (void)id;
    bytes_ok(bytes);
    DONE();
}
static void u_tx_send(UP, uint64_t tx, const struct kos_draft *draft)
{
    (void)tx;
    draft_ok(draft);
    DONE();
}
static void u_tx_verdict(UP, uint64_t tx, uint64_t message, int32_t verdict, int32_t error, const char *text,
                         uint64_t retry_ms)
{
    (void)tx;
    (void)message;
    (void)verdict;
    (void)error;
    (void)retry_ms;
    text_ok(text);
    DONE();
}
static void u_id_text(UP, uint64_t id, const char *text)
{
    (void)id;
    u_text(s, text);
}
static void u_down(UP, uint64_t id, int32_t status, const char *text)
{
    (void)id;
    (void)status;
    text_ok(text);
    DONE();
}
static void u_link_up(UP, uint64_t link, uint64_t endpoint, const struct kos_link_info *info)
{
    (void)link;
    (void)endpoint;
    text_ok(info->local);
    text_ok(info->remote);
    DONE();
}
static void u_found(UP, uint64_t op, const uint8_t *id, struct kos_bytes record, const char *const *addresses,
                    uint64_t ttl_ms)
{
    (void)op;
    (void)ttl_ms;
    if (id)
        fuzz_touch(id, KOS_ID_BYTES);
    bytes_ok(record);
    texts_ok(addresses);
    DONE();
}
static void u_lost(UP, const uint8_t *id)
{
    fuzz_touch(id, KOS_ID_BYTES);
    DONE();
}
static void u_inject(UP, const struct kos_foreign *foreign, uint64_t op)
{
    (void)op;
    text_ok(foreign->origin);
    text_ok(foreign->key);
    text_ok(foreign->foreign_author);
    bytes_ok(foreign->cursor);
    draft_ok(&foreign->draft);
    DONE();
}
static void u_reply(UP, uint64_t call, int32_t status, struct kos_bytes parameters, const char *text, int32_t continues)
{
    (void)call;
    (void)status;
    (void)continues;
    bytes_ok(parameters);
    text_ok(text);
    DONE();
}
static void u_event(UP, const char *event, struct kos_bytes detail)
{
    bytes_ok(detail);
    u_text(s, event);
}
static void u_run(UP, uint64_t run, const struct kos_run *r)
{
    (void)run;
    text_ok(r->task);
    text_ok(r->source);
    bytes_ok(r->inputs);
    DONE();
}
static void u_http_serve(UP, const char *prefix, uint64_t max, uint64_t op)
{
    (void)max;
    (void)op;
    u_text(s, prefix);
}
static void u_http_respond(UP, uint64_t request, const struct kos_http_message *m)
{
    (void)request;
    http_ok(m);
    DONE();
}
static void u_http_fetch(UP, const struct kos_http_message *m, uint64_t max, uint64_t timeout, uint64_t op)
{
    (void)max;
    (void)timeout;
    (void)op;
    http_ok(m);
    DONE();
}
static void u_http_request(UP, uint64_t request, const char *prefix, const struct kos_http_message *m)
{
    (void)request;
    http_ok(m);
    u_text(s, prefix);
}
static void u_http_response(UP, uint64_t op, int32_t status, const struct kos_http_message *m, const char *text)
{
    (void)op;
    (void)status;
    if (m)
        http_ok(m);
    text_ok(text);
    DONE();
}

static void u_stream_open(UP, uint64_t stream, const uint8_t peer[KOS_ID_BYTES], const char *name)
{
    (void)stream;
    fuzz_touch(peer, KOS_ID_BYTES);
    u_text(s, name);
}
static void u_stream_abort(UP, uint64_t stream, int32_t status, const char *text)
{
    (void)stream;
    (void)status;
    u_text(s, text);
}
/* These two answer at once, so no frame asks for them. */
static const struct kos_agent_info *u_agent_by_id(UP, const uint8_t id[KOS_ID_BYTES])
{
    (void)s;
    (void)id;
    return NULL;
}
static const struct kos_agent_info *u_agent_by_name(UP, const char *name)
{
    (void)s;
    (void)name;
    return NULL;
}

static const struct kos_services_ops up_ops = {
    .gives = u_gives,
    .broke = u_text,
    .quiet = u_none,
    .finished = u_none,
    .log = u_log,
    .complete = u_complete,
    .open = u_text_op,
    .open_cancel = u_id,
    .state_get = u_state_get,
    .state_scan = u_state_scan,
    .secret_get = u_text_op,
    .secret_put = u_text_bytes,
    .sign = u_text_bytes,
    .tx_begin = u_id,
    .tx_put = u_tx_put,
    .tx_delete = u_id_bytes,
    .tx_send = u_tx_send,
    .tx_verdict = u_tx_verdict,
    .tx_commit = u_two,
    .tx_abort = u_id,
    .endpoint_up = u_id_text,
    .endpoint_down = u_down,
    .link_up = u_link_up,
    .link_received = u_id_bytes,
    .link_credit = u_two,
    .link_down = u_down,
    .found = u_found,
    .lost = u_lost,
    .inject = u_inject,
    .reply = u_reply,
    .event = u_event,
    .agent_by_id = u_agent_by_id,
    .agent_by_name = u_agent_by_name,
    .run = u_run,
    .run_credit = u_two,
    .run_cancel = u_id,
    .http_serve = u_http_serve,
    .http_respond = u_http_respond,
    .http_fetch = u_http_fetch,
    .http_cancel = u_id,
    .http_request = u_http_request,
    .http_response = u_http_response,
    .stream_open = u_stream_open,
    .stream_send = u_id_bytes,
    .stream_credit = u_two,
    .stream_close = u_id,
    .stream_abort = u_stream_abort,
};

/* A member that was added to the services and not here. */
static void up_ops_whole(void)
{
    const void *members[sizeof up_ops / sizeof(void *)];
    memcpy(members, &up_ops, sizeof members);
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        FUZZ_CHECK(members[i]);
}

#endif
