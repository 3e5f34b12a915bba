/* SPDX-License-Identifier: Apache-2.0
 * The way up, encoded. */
#include "driver/up.h"

#include "driver/http_frame.h"

static void push(struct kos_services *services, struct kos_frame *frame)
{
    struct kos_up *up = (struct kos_up *)services;
    up->push(up, frame);
}

static void push_id(struct kos_services *services, enum kos_up_kind kind, uint64_t id)
{
    push(services, kos_frame_new(kind, id, 0));
}

static void push_u64(struct kos_services *services, enum kos_up_kind kind, uint64_t id, uint64_t value)
{
    struct kos_frame *f = kos_frame_new(kind, id, 0);
    kos_put_u64(&f, value);
    push(services, f);
}

static void push_text(struct kos_services *services, enum kos_up_kind kind, uint64_t id, const char *text)
{
    struct kos_frame *f = kos_frame_new(kind, id, 0);
    kos_put_text(&f, text);
    push(services, f);
}

static void push_bytes(struct kos_services *services, enum kos_up_kind kind, uint64_t id, struct kos_bytes bytes)
{
    struct kos_frame *f = kos_frame_new(kind, id, bytes.len);
    kos_put_bytes(&f, bytes);
    push(services, f);
}

static void push_down(struct kos_services *services, enum kos_up_kind kind, uint64_t id, int32_t status,
                      const char *text)
{
    struct kos_frame *f = kos_frame_new(kind, id, 0);
    kos_put_i64(&f, status);
    kos_put_text(&f, text);
    push(services, f);
}

static void u_broke(struct kos_services *s, const char *what)
{
    push_text(s, KOS_UP_BROKE, 0, what);
}

static void u_quiet(struct kos_services *s)
{
    push_id(s, KOS_UP_QUIET, 0);
}

static void u_finished(struct kos_services *s)
{
    push_id(s, KOS_UP_FINISHED, 0);
}

static void u_log(struct kos_services *s, int32_t level, const char *text)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_LOG, 0, 0);
    kos_put_i64(&f, level);
    kos_put_text(&f, text);
    push(s, f);
}

static void u_complete(struct kos_services *s, uint64_t op, int32_t status, struct kos_bytes result)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_COMPLETE, op, result.len);
    kos_put_i64(&f, status);
    kos_put_bytes(&f, result);
    push(s, f);
}

static void u_open(struct kos_services *s, const char *what, uint64_t op)
{
    push_text(s, KOS_UP_OPEN, op, what);
}

static void u_open_cancel(struct kos_services *s, uint64_t op)
{
    push_id(s, KOS_UP_OPEN_CANCEL, op);
}

static void u_state_get(struct kos_services *s, struct kos_bytes key, uint64_t op)
{
    push_bytes(s, KOS_UP_STATE_GET, op, key);
}

static void u_state_scan(struct kos_services *s, struct kos_bytes prefix, struct kos_bytes from, uint32_t limit,
                         uint64_t op)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_STATE_SCAN, op, prefix.len + from.len);
    kos_put_bytes(&f, prefix);
    kos_put_bytes(&f, from);
    kos_put_u64(&f, limit);
    push(s, f);
}

static void u_secret_get(struct kos_services *s, const char *name, uint64_t op)
{
    push_text(s, KOS_UP_SECRET_GET, op, name);
}

static void u_secret_put(struct kos_services *s, const char *name, struct kos_bytes value, uint64_t op)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_SECRET_PUT, op, value.len + (name ? strlen(name) : 0));
    f->head.flags = KOS_FRAME_SECRET;
    kos_put_text(&f, name);
    kos_put_bytes(&f, value);
    push(s, f);
}

static void u_sign(struct kos_services *s, const char *key, struct kos_bytes body, uint64_t op)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_SIGN, op, body.len);
    kos_put_text(&f, key);
    kos_put_bytes(&f, body);
    push(s, f);
}

static void u_tx_begin(struct kos_services *s, uint64_t tx)
{
    push_id(s, KOS_UP_TX_BEGIN, tx);
}

static void u_tx_put(struct kos_services *s, uint64_t tx, struct kos_bytes key, struct kos_bytes value)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_TX_PUT, tx, key.len + value.len);
    kos_put_bytes(&f, key);
    kos_put_bytes(&f, value);
    push(s, f);
}

static void u_tx_delete(struct kos_services *s, uint64_t tx, struct kos_bytes key)
{
    push_bytes(s, KOS_UP_TX_DELETE, tx, key);
}

static void put_draft(struct kos_frame **f, const struct kos_draft *draft)
{
    struct kos_draft plain = *draft; /* without its pointers, which mean nothing there */
    plain.type = plain.target = plain.trace = NULL;
    plain.payload = kos_bytes(NULL, 0);
    kos_put_struct(f, &plain, sizeof plain);
    kos_put_text(f, draft->type);
    kos_put_text(f, draft->target);
    kos_put_text(f, draft->trace);
    kos_put_bytes(f, draft->payload);
}

static void u_tx_send(struct kos_services *s, uint64_t tx, const struct kos_draft *draft)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_TX_SEND, tx, sizeof *draft + draft->payload.len + 256);
    put_draft(&f, draft);
    push(s, f);
}

static void u_tx_verdict(struct kos_services *s, uint64_t tx, uint64_t message, int32_t verdict, int32_t error,
                         const char *text, uint64_t retry_ms)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_TX_VERDICT, tx, 0);
    kos_put_u64(&f, message);
    kos_put_i64(&f, verdict);
    kos_put_i64(&f, error);
    kos_put_text(&f, text);
    kos_put_u64(&f, retry_ms);
    push(s, f);
}

static void u_tx_commit(struct kos_services *s, uint64_t tx, uint64_t op)
{
    push_u64(s, KOS_UP_TX_COMMIT, tx, op);
}

static void u_tx_abort(struct kos_services *s, uint64_t tx)
{
    push_id(s, KOS_UP_TX_ABORT, tx);
}

static void u_endpoint_up(struct kos_services *s, uint64_t endpoint, const char *address)
{
    push_text(s, KOS_UP_ENDPOINT_UP, endpoint, address);
}

static void u_endpoint_down(struct kos_services *s, uint64_t endpoint, int32_t status, const char *text)
{
    push_down(s, KOS_UP_ENDPOINT_DOWN, endpoint, status, text);
}

static void u_link_up(struct kos_services *s, uint64_t link, uint64_t endpoint, const struct kos_link_info *info)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_LINK_UP, link, sizeof *info + 128);
    kos_put_u64(&f, endpoint);
    struct kos_link_info plain = *info;
    plain.local = plain.remote = NULL;
    kos_put_struct(&f, &plain, sizeof plain);
    kos_put_text(&f, info->local);
    kos_put_text(&f, info->remote);
    push(s, f);
}

static void u_link_received(struct kos_services *s, uint64_t link, struct kos_bytes bytes)
{
    push_bytes(s, KOS_UP_LINK_RECEIVED, link, bytes);
}

static void u_link_credit(struct kos_services *s, uint64_t link, uint64_t bytes)
{
    push_u64(s, KOS_UP_LINK_CREDIT, link, bytes);
}

static void u_link_down(struct kos_services *s, uint64_t link, int32_t status, const char *text)
{
    push_down(s, KOS_UP_LINK_DOWN, link, status, text);
}

static void u_found(struct kos_services *s, uint64_t op, const uint8_t *id, struct kos_bytes record,
                    const char *const *addresses, uint64_t ttl_ms)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_FOUND, op, record.len);
    kos_put_bytes(&f, kos_bytes(id, id ? KOS_ID_BYTES : 0));
    kos_put_bytes(&f, record);
    kos_put_texts(&f, addresses);
    kos_put_u64(&f, ttl_ms);
    push(s, f);
}

static void u_lost(struct kos_services *s, const uint8_t id[KOS_ID_BYTES])
{
    push_bytes(s, KOS_UP_LOST, 0, kos_bytes(id, KOS_ID_BYTES));
}

static void u_inject(struct kos_services *s, const struct kos_foreign *foreign, uint64_t op)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_INJECT, op, sizeof *foreign + foreign->draft.payload.len + 512);
    struct kos_foreign plain = *foreign;
    plain.origin = plain.key = plain.foreign_author = NULL;
    plain.cursor = kos_bytes(NULL, 0);
    plain.draft = (struct kos_draft){ 0 };
    kos_put_struct(&f, &plain, sizeof plain);
    kos_put_text(&f, foreign->origin);
    kos_put_text(&f, foreign->key);
    kos_put_bytes(&f, foreign->cursor);
    kos_put_text(&f, foreign->foreign_author);
    put_draft(&f, &foreign->draft);
    push(s, f);
}

static void u_reply(struct kos_services *s, uint64_t call, int32_t status, struct kos_bytes parameters,
                    const char *text, int32_t continues)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_REPLY, call, parameters.len);
    kos_put_i64(&f, status);
    kos_put_bytes(&f, parameters);
    kos_put_text(&f, text);
    kos_put_i64(&f, continues);
    push(s, f);
}

static void u_event(struct kos_services *s, const char *event, struct kos_bytes detail)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_EVENT, 0, detail.len);
    kos_put_text(&f, event);
    kos_put_bytes(&f, detail);
    push(s, f);
}

static void u_run(struct kos_services *s, uint64_t run, const struct kos_run *r)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_RUN, run, sizeof *r + r->inputs.len + 256);
    struct kos_run plain = *r;
    plain.task = plain.source = NULL;
    plain.inputs = kos_bytes(NULL, 0);
    kos_put_struct(&f, &plain, sizeof plain);
    kos_put_text(&f, r->task);
    kos_put_text(&f, r->source);
    kos_put_bytes(&f, r->inputs);
    push(s, f);
}

static void u_run_credit(struct kos_services *s, uint64_t run, uint64_t bytes)
{
    push_u64(s, KOS_UP_RUN_CREDIT, run, bytes);
}

static void u_run_cancel(struct kos_services *s, uint64_t run)
{
    push_id(s, KOS_UP_RUN_CANCEL, run);
}

static void u_http_serve(struct kos_services *s, const char *prefix, uint64_t body_max_bytes, uint64_t op)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_HTTP_SERVE, op, 0);
    kos_put_text(&f, prefix);
    kos_put_u64(&f, body_max_bytes);
    push(s, f);
}

static void u_http_respond(struct kos_services *s, uint64_t request, const struct kos_http_message *response)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_HTTP_RESPOND, request, response->body.len + 512);
    kos_put_http(&f, response);
    push(s, f);
}

static void u_http_fetch(struct kos_services *s, const struct kos_http_message *request, uint64_t body_max_bytes,
                         uint64_t timeout_ms, uint64_t op)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_HTTP_FETCH, op, request->body.len + 512);
    kos_put_http(&f, request);
    kos_put_u64(&f, body_max_bytes);
    kos_put_u64(&f, timeout_ms);
    push(s, f);
}

static void u_http_cancel(struct kos_services *s, uint64_t op)
{
    push_id(s, KOS_UP_HTTP_CANCEL, op);
}

static void u_http_request(struct kos_services *s, uint64_t request, const char *prefix,
                           const struct kos_http_message *m)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_HTTP_REQUEST, request, m->body.len + 512);
    kos_put_text(&f, prefix);
    kos_put_http(&f, m);
    push(s, f);
}

static void u_http_response(struct kos_services *s, uint64_t op, int32_t status, const struct kos_http_message *m,
                            const char *text)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_HTTP_RESPONSE, op, (m ? m->body.len : 0) + 512);
    kos_put_i64(&f, status);
    kos_put_http(&f, m);
    kos_put_text(&f, text);
    push(s, f);
}

static void u_stream_open(struct kos_services *s, uint64_t stream, const uint8_t peer[KOS_ID_BYTES], const char *name)
{
    struct kos_frame *f = kos_frame_new(KOS_UP_STREAM_OPEN, stream, 0);
    kos_put_bytes(&f, kos_bytes(peer, KOS_ID_BYTES));
    kos_put_text(&f, name);
    push(s, f);
}

static void u_stream_send(struct kos_services *s, uint64_t stream, struct kos_bytes bytes)
{
    push_bytes(s, KOS_UP_STREAM_SEND, stream, bytes);
}

static void u_stream_credit(struct kos_services *s, uint64_t stream, uint64_t bytes)
{
    push_u64(s, KOS_UP_STREAM_CREDIT, stream, bytes);
}

static void u_stream_close(struct kos_services *s, uint64_t stream)
{
    push_id(s, KOS_UP_STREAM_CLOSE, stream);
}

static void u_stream_abort(struct kos_services *s, uint64_t stream, int32_t status, const char *text)
{
    push_down(s, KOS_UP_STREAM_ABORT, stream, status, text);
}

void kos_up_ops(struct kos_services_ops *ret_ops)
{
    *ret_ops = (struct kos_services_ops){
        .broke = u_broke,
        .quiet = u_quiet,
        .finished = u_finished,
        .log = u_log,
        .complete = u_complete,
        .open = u_open,
        .open_cancel = u_open_cancel,
        .state_get = u_state_get,
        .state_scan = u_state_scan,
        .secret_get = u_secret_get,
        .secret_put = u_secret_put,
        .sign = u_sign,
        .tx_begin = u_tx_begin,
        .tx_put = u_tx_put,
        .tx_delete = u_tx_delete,
        .tx_send = u_tx_send,
        .tx_verdict = u_tx_verdict,
        .tx_commit = u_tx_commit,
        .tx_abort = u_tx_abort,
        .endpoint_up = u_endpoint_up,
        .endpoint_down = u_endpoint_down,
        .link_up = u_link_up,
        .link_received = u_link_received,
        .link_credit = u_link_credit,
        .link_down = u_link_down,
        .found = u_found,
        .lost = u_lost,
        .inject = u_inject,
        .reply = u_reply,
        .event = u_event,
        .run = u_run,
        .run_credit = u_run_credit,
        .run_cancel = u_run_cancel,
        .http_serve = u_http_serve,
        .http_respond = u_http_respond,
        .http_fetch = u_http_fetch,
        .http_cancel = u_http_cancel,
        .http_request = u_http_request,
        .http_response = u_http_response,
        .stream_open = u_stream_open,
        .stream_send = u_stream_send,
        .stream_credit = u_stream_credit,
        .stream_close = u_stream_close,
        .stream_abort = u_stream_abort,
    };
}
