/* SPDX-License-Identifier: Apache-2.0
 * The way down, encoded. */
#include "driver/down.h"

#include "driver/http_frame.h"

static struct kos_down *down_of(struct kos_backend *backend)
{
    return (struct kos_down *)backend;
}

static void push(struct kos_backend *backend, struct kos_frame *frame)
{
    down_of(backend)->push(down_of(backend), frame);
}

static void push_id(struct kos_backend *backend, enum kos_down_kind kind, uint64_t id)
{
    push(backend, kos_frame_new(kind, id, 0));
}

static void push_u64(struct kos_backend *backend, enum kos_down_kind kind, uint64_t id, uint64_t value)
{
    struct kos_frame *f = kos_frame_new(kind, id, 0);
    kos_put_u64(&f, value);
    push(backend, f);
}

static void push_text(struct kos_backend *backend, enum kos_down_kind kind, uint64_t id, const char *text)
{
    struct kos_frame *f = kos_frame_new(kind, id, 0);
    kos_put_text(&f, text);
    push(backend, f);
}

static void d_completed(struct kos_backend *backend, uint64_t op, int32_t status, struct kos_bytes result, bool secret)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_COMPLETED, op, result.len);
    f->head.flags = secret ? KOS_FRAME_SECRET : 0;
    kos_put_i64(&f, status);
    kos_put_bytes(&f, result);
    push(backend, f);
}

static void d_opened(struct kos_backend *backend, uint64_t op, int32_t status, int fd, const char *text)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_OPENED, op, 0);
    f->fd = fd;
    kos_put_i64(&f, status);
    kos_put_text(&f, text);
    push(backend, f);
}

static void d_listen(struct kos_backend *backend, uint64_t endpoint, const char *address)
{
    push_text(backend, KOS_DOWN_LISTEN, endpoint, address);
}

static void d_endpoint_close(struct kos_backend *backend, uint64_t endpoint)
{
    push_id(backend, KOS_DOWN_ENDPOINT_CLOSE, endpoint);
}

static void d_dial(struct kos_backend *backend, uint64_t link, const char *address)
{
    push_text(backend, KOS_DOWN_DIAL, link, address);
}

static void d_send(struct kos_backend *backend, uint64_t link, const struct kos_bytes *pieces, uint32_t count)
{
    size_t total = 0;
    for (uint32_t i = 0; i < count; i++)
        total += pieces[i].len;
    struct kos_frame *f = kos_frame_new(KOS_DOWN_SEND, link, total);
    kos_put_pieces(&f, pieces, count);
    push(backend, f);
}

static uint8_t *d_make(struct kos_backend *backend, uint64_t link, size_t len)
{
    struct kos_down *down = (struct kos_down *)backend;
    down->making = kos_frame_new(KOS_DOWN_SEND, link, len);
    return kos_run_begin(down->making);
}

static void d_made(struct kos_backend *backend, size_t len)
{
    struct kos_down *down = (struct kos_down *)backend;
    struct kos_frame *f = down->making;
    down->making = NULL;
    kos_run_end(f, len);
    if (len > 0)
        push(backend, f);
    else
        kos_frame_free(f);
}

static void d_link_credit(struct kos_backend *backend, uint64_t link, uint64_t bytes)
{
    push_u64(backend, KOS_DOWN_LINK_CREDIT, link, bytes);
}

static void d_link_close(struct kos_backend *backend, uint64_t link, bool flush)
{
    push_u64(backend, KOS_DOWN_LINK_CLOSE, link, flush);
}

/* Structs travel without their pointers: a cell need not know where things lie in kosd. */
static void put_message(struct kos_frame **f, const struct kos_message *m)
{
    struct kos_message plain = *m;
    plain.type = plain.source = plain.target = plain.trace = plain.source_name = NULL;
    plain.payload = kos_bytes(NULL, 0);
    kos_put_struct(f, &plain, sizeof plain);
    kos_put_text(f, m->type);
    kos_put_text(f, m->source);
    kos_put_text(f, m->target);
    kos_put_text(f, m->trace);
    kos_put_text(f, m->source_name);
    kos_put_bytes(f, m->payload);
}

static void d_handle(struct kos_backend *backend, uint64_t message, const struct kos_message *m)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_HANDLE, message, sizeof *m + m->payload.len + 256);
    put_message(&f, m);
    push(backend, f);
}

static void d_outcome(struct kos_backend *backend, uint64_t message, const struct kos_outcome *o)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_OUTCOME, message, sizeof *o);
    struct kos_outcome plain = *o;
    plain.type = plain.text = NULL;
    kos_put_struct(&f, &plain, sizeof plain);
    kos_put_text(&f, o->type);
    kos_put_text(&f, o->text);
    push(backend, f);
}

static void d_call(struct kos_backend *backend, uint64_t id, const char *method, struct kos_bytes parameters,
                   uint32_t flags)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_CALL, id, parameters.len);
    kos_put_text(&f, method);
    kos_put_bytes(&f, parameters);
    kos_put_u64(&f, flags);
    push(backend, f);
}

static void d_hangup(struct kos_backend *backend, uint64_t id)
{
    push_id(backend, KOS_DOWN_HANGUP, id);
}

static void d_output(struct kos_backend *backend, uint64_t run, int32_t kind, struct kos_bytes bytes)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_OUTPUT, run, bytes.len);
    kos_put_i64(&f, kind);
    kos_put_bytes(&f, bytes);
    push(backend, f);
}

static void d_ended(struct kos_backend *backend, uint64_t run, int32_t status, struct kos_bytes result,
                    const char *text, int32_t retry, const uint8_t audit[32])
{
    static const uint8_t none[32];
    struct kos_frame *f = kos_frame_new(KOS_DOWN_ENDED, run, result.len);
    kos_put_i64(&f, status);
    kos_put_bytes(&f, result);
    kos_put_text(&f, text);
    kos_put_i64(&f, retry);
    kos_put_bytes(&f, kos_bytes(audit ? audit : none, 32));
    push(backend, f);
}

static void d_announce(struct kos_backend *backend, uint64_t op, struct kos_bytes record, const char *const *addresses)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_ANNOUNCE, op, record.len);
    kos_put_bytes(&f, record);
    kos_put_texts(&f, addresses);
    push(backend, f);
}

static void d_withdraw(struct kos_backend *backend, uint64_t op)
{
    push_id(backend, KOS_DOWN_WITHDRAW, op);
}

static void d_find(struct kos_backend *backend, uint64_t op, const struct kos_find *what)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_FIND, op, sizeof *what);
    struct kos_find plain = *what;
    plain.text = NULL;
    kos_put_struct(&f, &plain, sizeof plain);
    kos_put_text(&f, what->text);
    push(backend, f);
}

static void d_find_cancel(struct kos_backend *backend, uint64_t op)
{
    push_id(backend, KOS_DOWN_FIND_CANCEL, op);
}

static void d_deliver(struct kos_backend *backend, uint64_t op, const struct kos_message *m, const char *destination)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_DELIVER, op, sizeof *m + m->payload.len + 256);
    put_message(&f, m);
    kos_put_text(&f, destination);
    push(backend, f);
}

static void d_resume(struct kos_backend *backend, const char *origin, struct kos_bytes cursor)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_RESUME, 0, cursor.len);
    kos_put_text(&f, origin);
    kos_put_bytes(&f, cursor);
    push(backend, f);
}

static void d_vector_open(struct kos_backend *backend, uint64_t op, uint64_t collection, const char *name,
                          const struct kos_space *space)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_VECTOR_OPEN, op, sizeof *space);
    kos_put_u64(&f, collection);
    kos_put_text(&f, name);
    kos_put_struct(&f, space, sizeof *space);
    push(backend, f);
}

static void d_vector_close(struct kos_backend *backend, uint64_t op, uint64_t collection)
{
    push_u64(backend, KOS_DOWN_VECTOR_CLOSE, op, collection);
}

static void d_vector_upsert(struct kos_backend *backend, uint64_t op, uint64_t collection,
                            const struct kos_item *const *items, uint32_t count, uint32_t dimension)
{
    struct kos_frame *f =
        kos_frame_new(KOS_DOWN_VECTOR_UPSERT, op, count * (sizeof **items + dimension * sizeof(float) + 64));
    kos_put_u64(&f, collection);
    kos_put_u64(&f, dimension);
    kos_put_u64(&f, count);
    for (uint32_t i = 0; i < count; i++) {
        struct kos_item plain = *items[i];
        plain.id = plain.metadata = kos_bytes(NULL, 0);
        plain.vector = NULL;
        kos_put_struct(&f, &plain, sizeof plain);
        kos_put_bytes(&f, items[i]->id);
        kos_put_bytes(&f, kos_bytes(items[i]->vector, items[i]->vector ? dimension * sizeof(float) : 0));
        kos_put_bytes(&f, items[i]->metadata);
    }
    push(backend, f);
}

static void d_vector_get(struct kos_backend *backend, uint64_t op, uint64_t collection, struct kos_bytes id)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_VECTOR_GET, op, id.len);
    kos_put_u64(&f, collection);
    kos_put_bytes(&f, id);
    push(backend, f);
}

static void d_vector_remove(struct kos_backend *backend, uint64_t op, uint64_t collection, struct kos_bytes id,
                            uint64_t version)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_VECTOR_REMOVE, op, id.len);
    kos_put_u64(&f, collection);
    kos_put_bytes(&f, id);
    kos_put_u64(&f, version);
    push(backend, f);
}

static void d_vector_query(struct kos_backend *backend, uint64_t op, uint64_t collection, const struct kos_query *query,
                           uint32_t dimension)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_VECTOR_QUERY, op, sizeof *query + dimension * sizeof(float));
    kos_put_u64(&f, collection);
    kos_put_u64(&f, dimension);
    struct kos_query plain = *query;
    plain.vector = NULL;
    plain.filter = kos_bytes(NULL, 0);
    kos_put_struct(&f, &plain, sizeof plain);
    kos_put_bytes(&f, kos_bytes(query->vector, query->vector ? dimension * sizeof(float) : 0));
    kos_put_bytes(&f, query->filter);
    push(backend, f);
}

static void push_range(struct kos_backend *backend, enum kos_down_kind kind, uint64_t op, uint64_t collection,
                       const uint8_t from[32], const uint8_t to[32], uint32_t limit)
{
    struct kos_frame *f = kos_frame_new(kind, op, 64);
    kos_put_u64(&f, collection);
    kos_put_bytes(&f, kos_bytes(from, 32));
    kos_put_bytes(&f, kos_bytes(to, 32));
    kos_put_u64(&f, limit);
    push(backend, f);
}

static void d_vector_scan(struct kos_backend *backend, uint64_t op, uint64_t collection, const uint8_t from[32],
                          const uint8_t to[32], uint32_t limit)
{
    push_range(backend, KOS_DOWN_VECTOR_SCAN, op, collection, from, to, limit);
}

static void d_vector_fingerprint(struct kos_backend *backend, uint64_t op, uint64_t collection, const uint8_t from[32],
                                 const uint8_t to[32])
{
    push_range(backend, KOS_DOWN_VECTOR_FINGERPRINT, op, collection, from, to, 0);
}

static void d_vector_snapshot(struct kos_backend *backend, uint64_t op, uint64_t collection, const char *directory)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_VECTOR_SNAPSHOT, op, 0);
    kos_put_u64(&f, collection);
    kos_put_text(&f, directory);
    push(backend, f);
}

static void d_vector_stats(struct kos_backend *backend, uint64_t op, uint64_t collection)
{
    push_u64(backend, KOS_DOWN_VECTOR_STATS, op, collection);
}

static void d_vector_drop(struct kos_backend *backend, uint64_t op, uint64_t collection)
{
    push_u64(backend, KOS_DOWN_VECTOR_DROP, op, collection);
}

static void d_http_request(struct kos_backend *backend, uint64_t request, const struct kos_http_message *m)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_HTTP_REQUEST, request, m->body.len + 512);
    kos_put_http(&f, m);
    push(backend, f);
}

static void d_http_response(struct kos_backend *backend, uint64_t op, int32_t status, const struct kos_http_message *m,
                            const char *text)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_HTTP_RESPONSE, op, (m ? m->body.len : 0) + 512);
    kos_put_i64(&f, status);
    kos_put_http(&f, m);
    kos_put_text(&f, text);
    push(backend, f);
}

static void d_http_serve(struct kos_backend *backend, uint64_t op, const char *prefix, uint64_t body_max_bytes)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_HTTP_SERVE, op, 0);
    kos_put_text(&f, prefix);
    kos_put_u64(&f, body_max_bytes);
    push(backend, f);
}

static void d_http_unserve(struct kos_backend *backend, const char *prefix)
{
    push_text(backend, KOS_DOWN_HTTP_UNSERVE, 0, prefix);
}

static void d_http_respond(struct kos_backend *backend, uint64_t request, const struct kos_http_message *response)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_HTTP_RESPOND, request, response->body.len + 512);
    kos_put_http(&f, response);
    push(backend, f);
}

static void d_http_fetch(struct kos_backend *backend, uint64_t op, const struct kos_http_message *request,
                         uint64_t body_max_bytes, uint64_t timeout_ms)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_HTTP_FETCH, op, request->body.len + 512);
    kos_put_http(&f, request);
    kos_put_u64(&f, body_max_bytes);
    kos_put_u64(&f, timeout_ms);
    push(backend, f);
}

static void d_http_cancel(struct kos_backend *backend, uint64_t op)
{
    push_id(backend, KOS_DOWN_HTTP_CANCEL, op);
}

static void d_stream_up(struct kos_backend *backend, uint64_t stream, const uint8_t peer[KOS_ID_BYTES], const char *name)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_STREAM_UP, stream, 0);
    kos_put_bytes(&f, kos_bytes(peer, KOS_ID_BYTES));
    kos_put_text(&f, name);
    push(backend, f);
}

static void d_stream_received(struct kos_backend *backend, uint64_t stream, struct kos_bytes bytes)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_STREAM_RECEIVED, stream, bytes.len);
    kos_put_bytes(&f, bytes);
    push(backend, f);
}

static void d_stream_credit(struct kos_backend *backend, uint64_t stream, uint64_t bytes)
{
    push_u64(backend, KOS_DOWN_STREAM_CREDIT, stream, bytes);
}

static void d_stream_ended(struct kos_backend *backend, uint64_t stream)
{
    push_id(backend, KOS_DOWN_STREAM_ENDED, stream);
}

static void d_stream_down(struct kos_backend *backend, uint64_t stream, int32_t status, const char *text)
{
    struct kos_frame *f = kos_frame_new(KOS_DOWN_STREAM_DOWN, stream, 0);
    kos_put_i64(&f, status);
    kos_put_text(&f, text);
    push(backend, f);
}

void kos_down_ops(struct kos_backend_ops *ret_ops)
{
    *ret_ops = (struct kos_backend_ops){
        .completed = d_completed,
        .opened = d_opened,
        .listen = d_listen,
        .endpoint_close = d_endpoint_close,
        .dial = d_dial,
        .send = d_send,
        .make = d_make,
        .made = d_made,
        .link_credit = d_link_credit,
        .link_close = d_link_close,
        .handle = d_handle,
        .outcome = d_outcome,
        .call = d_call,
        .hangup = d_hangup,
        .output = d_output,
        .ended = d_ended,
        .announce = d_announce,
        .withdraw = d_withdraw,
        .find = d_find,
        .find_cancel = d_find_cancel,
        .deliver = d_deliver,
        .resume = d_resume,
        .vector_open = d_vector_open,
        .vector_close = d_vector_close,
        .vector_upsert = d_vector_upsert,
        .vector_get = d_vector_get,
        .vector_remove = d_vector_remove,
        .vector_query = d_vector_query,
        .vector_scan = d_vector_scan,
        .vector_fingerprint = d_vector_fingerprint,
        .vector_snapshot = d_vector_snapshot,
        .vector_stats = d_vector_stats,
        .vector_drop = d_vector_drop,
        .http_request = d_http_request,
        .http_response = d_http_response,
        .http_serve = d_http_serve,
        .http_unserve = d_http_unserve,
        .http_respond = d_http_respond,
        .http_fetch = d_http_fetch,
        .http_cancel = d_http_cancel,
        .stream_up = d_stream_up,
        .stream_received = d_stream_received,
        .stream_credit = d_stream_credit,
        .stream_ended = d_stream_ended,
        .stream_down = d_stream_down,
    };
}
