/* SPDX-License-Identifier: Apache-2.0
 * Frames of the way up, read: nothing is done before the whole frame was found sound. */
#include "driver/http_frame.h"
#include "driver/up.h"

enum { ADDRESSES_MAX = 64 };

struct run {
    struct kos_services *s;
    const struct kos_services_ops *ops;
    uint64_t id;
    uint16_t kind;
    struct kos_frame_reader in;
};

static bool sound(struct run *r)
{
    r->in.bad = !kos_frame_done(&r->in);
    return !r->in.bad;
}

static const char *need_text(struct run *r)
{
    const char *text = kos_get_text(&r->in);
    r->in.bad = r->in.bad || !text;
    return text;
}

static void run_plain(struct run *r)
{
    const char *text;
    int64_t number;
    struct kos_bytes bytes;
    switch (r->kind) {
    case KOS_UP_BROKE:
        text = need_text(r);
        if (sound(r))
            r->ops->broke(r->s, text);
        break;
    case KOS_UP_QUIET:
        if (sound(r))
            r->ops->quiet(r->s);
        break;
    case KOS_UP_FINISHED:
        if (sound(r))
            r->ops->finished(r->s);
        break;
    case KOS_UP_LOG:
        number = kos_get_i64(&r->in);
        text = need_text(r);
        if (sound(r))
            r->ops->log(r->s, (int32_t)number, text);
        break;
    case KOS_UP_COMPLETE:
        number = kos_get_i64(&r->in);
        bytes = kos_get_bytes(&r->in);
        if (sound(r))
            r->ops->complete(r->s, r->id, (int32_t)number, bytes);
        break;
    case KOS_UP_OPEN:
        text = need_text(r);
        if (sound(r))
            r->ops->open(r->s, text, r->id);
        break;
    default:
        if (sound(r))
            r->ops->open_cancel(r->s, r->id);
    }
}

static void run_state(struct run *r)
{
    struct kos_bytes one, two;
    const char *text;
    uint64_t limit;
    switch (r->kind) {
    case KOS_UP_STATE_GET:
        one = kos_get_bytes(&r->in);
        if (sound(r))
            r->ops->state_get(r->s, one, r->id);
        break;
    case KOS_UP_STATE_SCAN:
        one = kos_get_bytes(&r->in);
        two = kos_get_bytes(&r->in);
        limit = kos_get_u64(&r->in);
        if (sound(r))
            r->ops->state_scan(r->s, one, two, (uint32_t)limit, r->id);
        break;
    case KOS_UP_SECRET_GET:
        text = need_text(r);
        if (sound(r))
            r->ops->secret_get(r->s, text, r->id);
        break;
    case KOS_UP_SECRET_PUT:
        text = need_text(r);
        one = kos_get_bytes(&r->in);
        if (sound(r))
            r->ops->secret_put(r->s, text, one, r->id);
        break;
    default:
        text = need_text(r);
        one = kos_get_bytes(&r->in);
        if (sound(r))
            r->ops->sign(r->s, text, one, r->id);
    }
}

static void get_draft(struct run *r, struct kos_draft *ret_draft)
{
    kos_get_struct(&r->in, ret_draft, sizeof *ret_draft);
    ret_draft->type = kos_get_text(&r->in);
    ret_draft->target = kos_get_text(&r->in);
    ret_draft->trace = kos_get_text(&r->in);
    ret_draft->payload = kos_get_bytes(&r->in);
}

static void run_verdict(struct run *r)
{
    uint64_t message = kos_get_u64(&r->in);
    int64_t verdict = kos_get_i64(&r->in), error = kos_get_i64(&r->in);
    const char *text = kos_get_text(&r->in);
    uint64_t retry_ms = kos_get_u64(&r->in);
    if (sound(r))
        r->ops->tx_verdict(r->s, r->id, message, (int32_t)verdict, (int32_t)error, text, retry_ms);
}

static void run_tx(struct run *r)
{
    struct kos_bytes key, value;
    struct kos_draft draft;
    uint64_t op;
    switch (r->kind) {
    case KOS_UP_TX_BEGIN:
        if (sound(r))
            r->ops->tx_begin(r->s, r->id);
        break;
    case KOS_UP_TX_PUT:
        key = kos_get_bytes(&r->in);
        value = kos_get_bytes(&r->in);
        if (sound(r))
            r->ops->tx_put(r->s, r->id, key, value);
        break;
    case KOS_UP_TX_DELETE:
        key = kos_get_bytes(&r->in);
        if (sound(r))
            r->ops->tx_delete(r->s, r->id, key);
        break;
    case KOS_UP_TX_SEND:
        get_draft(r, &draft);
        if (sound(r))
            r->ops->tx_send(r->s, r->id, &draft);
        break;
    case KOS_UP_TX_VERDICT: run_verdict(r); break;
    case KOS_UP_TX_COMMIT:
        op = kos_get_u64(&r->in);
        if (sound(r))
            r->ops->tx_commit(r->s, r->id, op);
        break;
    default:
        if (sound(r))
            r->ops->tx_abort(r->s, r->id);
    }
}

static void run_link_up(struct run *r)
{
    struct kos_link_info info;
    uint64_t endpoint = kos_get_u64(&r->in);
    kos_get_struct(&r->in, &info, sizeof info);
    info.local = kos_get_text(&r->in);
    info.remote = kos_get_text(&r->in);
    if (sound(r))
        r->ops->link_up(r->s, r->id, endpoint, &info);
}

static void run_transport(struct run *r)
{
    const char *text;
    struct kos_bytes bytes;
    uint64_t credit;
    int64_t status;
    switch (r->kind) {
    case KOS_UP_ENDPOINT_UP:
        text = kos_get_text(&r->in);
        if (sound(r))
            r->ops->endpoint_up(r->s, r->id, text ? text : "");
        break;
    case KOS_UP_LINK_UP: run_link_up(r); break;
    case KOS_UP_LINK_RECEIVED:
        bytes = kos_get_bytes(&r->in);
        if (sound(r))
            r->ops->link_received(r->s, r->id, bytes);
        break;
    case KOS_UP_LINK_CREDIT:
        credit = kos_get_u64(&r->in);
        if (sound(r))
            r->ops->link_credit(r->s, r->id, credit);
        break;
    default:
        status = kos_get_i64(&r->in);
        text = kos_get_text(&r->in);
        if (sound(r))
            (r->kind == KOS_UP_LINK_DOWN ? r->ops->link_down : r->ops->endpoint_down)(r->s, r->id, (int32_t)status,
                                                                                       text);
    }
}

static void run_found(struct run *r)
{
    const char *texts[ADDRESSES_MAX + 1], *const none[] = { NULL };
    struct kos_bytes id = kos_get_bytes(&r->in), record = kos_get_bytes(&r->in);
    const char *const *addresses = kos_get_texts(&r->in, texts, ADDRESSES_MAX);
    uint64_t ttl_ms = kos_get_u64(&r->in);
    r->in.bad = r->in.bad || (id.len != 0 && id.len != KOS_ID_BYTES);
    if (sound(r))
        r->ops->found(r->s, r->id, id.len ? id.data : NULL, record, addresses ? addresses : none, ttl_ms);
}

static void run_inject(struct run *r)
{
    struct kos_foreign foreign;
    kos_get_struct(&r->in, &foreign, sizeof foreign);
    foreign.origin = kos_get_text(&r->in);
    foreign.key = kos_get_text(&r->in);
    foreign.cursor = kos_get_bytes(&r->in);
    foreign.foreign_author = kos_get_text(&r->in);
    get_draft(r, &foreign.draft);
    if (sound(r))
        r->ops->inject(r->s, &foreign, r->id);
}

static void run_kinds(struct run *r)
{
    struct kos_bytes bytes;
    const char *text;
    int64_t status, continues;
    switch (r->kind) {
    case KOS_UP_FOUND: run_found(r); break;
    case KOS_UP_LOST:
        bytes = kos_get_bytes(&r->in);
        r->in.bad = r->in.bad || bytes.len != KOS_ID_BYTES;
        if (sound(r))
            r->ops->lost(r->s, bytes.data);
        break;
    case KOS_UP_INJECT: run_inject(r); break;
    case KOS_UP_REPLY:
        status = kos_get_i64(&r->in);
        bytes = kos_get_bytes(&r->in);
        text = kos_get_text(&r->in);
        continues = kos_get_i64(&r->in);
        if (sound(r))
            r->ops->reply(r->s, r->id, (int32_t)status, bytes, text, (int32_t)continues);
        break;
    default:
        text = need_text(r);
        bytes = kos_get_bytes(&r->in);
        if (sound(r))
            r->ops->event(r->s, text, bytes);
    }
}

static void run_agents(struct run *r)
{
    struct kos_run run;
    uint64_t credit;
    switch (r->kind) {
    case KOS_UP_RUN:
        kos_get_struct(&r->in, &run, sizeof run);
        run.task = kos_get_text(&r->in);
        run.source = kos_get_text(&r->in);
        run.inputs = kos_get_bytes(&r->in);
        if (sound(r))
            r->ops->run(r->s, r->id, &run);
        break;
    case KOS_UP_RUN_CREDIT:
        credit = kos_get_u64(&r->in);
        if (sound(r))
            r->ops->run_credit(r->s, r->id, credit);
        break;
    default:
        if (sound(r))
            r->ops->run_cancel(r->s, r->id);
    }
}

static void run_http(struct run *r)
{
    struct kos_http_header headers[KOS_HTTP_HEADERS_MAX];
    struct kos_http_message storage;
    const struct kos_http_message *m;
    const char *text;
    uint64_t one, two;
    int64_t status;
    switch (r->kind) {
    case KOS_UP_HTTP_SERVE:
        text = need_text(r);
        one = kos_get_u64(&r->in);
        if (sound(r))
            r->ops->http_serve(r->s, text, one, r->id);
        break;
    case KOS_UP_HTTP_RESPOND:
        m = kos_get_http(&r->in, &storage, headers);
        r->in.bad = r->in.bad || !m;
        if (sound(r))
            r->ops->http_respond(r->s, r->id, m);
        break;
    case KOS_UP_HTTP_FETCH:
        m = kos_get_http(&r->in, &storage, headers);
        one = kos_get_u64(&r->in);
        two = kos_get_u64(&r->in);
        r->in.bad = r->in.bad || !m;
        if (sound(r))
            r->ops->http_fetch(r->s, m, one, two, r->id);
        break;
    case KOS_UP_HTTP_CANCEL:
        if (sound(r))
            r->ops->http_cancel(r->s, r->id);
        break;
    case KOS_UP_HTTP_REQUEST:
        text = need_text(r);
        m = kos_get_http(&r->in, &storage, headers);
        r->in.bad = r->in.bad || !m;
        if (sound(r))
            r->ops->http_request(r->s, r->id, text, m);
        break;
    default:
        status = kos_get_i64(&r->in);
        m = kos_get_http(&r->in, &storage, headers);
        text = kos_get_text(&r->in);
        if (sound(r))
            r->ops->http_response(r->s, r->id, (int32_t)status, m, text);
    }
}

static void run_stream(struct run *r)
{
    struct kos_bytes bytes;
    const char *text;
    uint64_t credit;
    int64_t status;
    switch (r->kind) {
    case KOS_UP_STREAM_OPEN:
        bytes = kos_get_bytes(&r->in);
        text = need_text(r);
        r->in.bad = r->in.bad || bytes.len != KOS_ID_BYTES;
        if (sound(r))
            r->ops->stream_open(r->s, r->id, bytes.data, text);
        break;
    case KOS_UP_STREAM_SEND:
        bytes = kos_get_bytes(&r->in);
        if (sound(r))
            r->ops->stream_send(r->s, r->id, bytes);
        break;
    case KOS_UP_STREAM_CREDIT:
        credit = kos_get_u64(&r->in);
        if (sound(r))
            r->ops->stream_credit(r->s, r->id, credit);
        break;
    case KOS_UP_STREAM_CLOSE:
        if (sound(r))
            r->ops->stream_close(r->s, r->id);
        break;
    default:
        status = kos_get_i64(&r->in);
        text = kos_get_text(&r->in);
        if (sound(r))
            r->ops->stream_abort(r->s, r->id, (int32_t)status, text ? text : "");
    }
}

int32_t kos_up_run(const struct kos_frame *frame, struct kos_services *services)
{
    struct run r = { services, services->ops, frame->head.id, frame->head.kind, kos_frame_read(frame) };
    if (r.kind >= KOS_UP_BROKE && r.kind <= KOS_UP_OPEN_CANCEL)
        run_plain(&r);
    else if (r.kind >= KOS_UP_STATE_GET && r.kind <= KOS_UP_SIGN)
        run_state(&r);
    else if (r.kind >= KOS_UP_TX_BEGIN && r.kind <= KOS_UP_TX_ABORT)
        run_tx(&r);
    else if (r.kind >= KOS_UP_ENDPOINT_UP && r.kind <= KOS_UP_LINK_DOWN)
        run_transport(&r);
    else if (r.kind >= KOS_UP_FOUND && r.kind <= KOS_UP_EVENT)
        run_kinds(&r);
    else if (r.kind >= KOS_UP_RUN && r.kind <= KOS_UP_RUN_CANCEL)
        run_agents(&r);
    else if (r.kind >= KOS_UP_HTTP_SERVE && r.kind <= KOS_UP_HTTP_RESPONSE)
        run_http(&r);
    else if (r.kind >= KOS_UP_STREAM_OPEN && r.kind < KOS_UP_KINDS)
        run_stream(&r);
    else
        r.in.bad = true;
    return r.in.bad ? KOS_E_INVALID : KOS_OK;
}
