/* SPDX-License-Identifier: Apache-2.0
 *
 * Both directions of a cell: frames as a plugin that took its cell over may send them up, and as a kosd that went wrong
 * may send them down. A frame is done whole or not at all, and what is handed on can be read to its end. The first byte
 * says which way; then a frame's head without its size, and its body.
 */
#include "fuzz.h"

#include "asked.h"
#include "driver/down.h"

static void message_ok(const struct kos_message *m)
{
    FUZZ_CHECK(m->type && m->source && m->target);
    text_ok(m->type);
    text_ok(m->source);
    text_ok(m->target);
    text_ok(m->trace);
    text_ok(m->source_name);
    bytes_ok(m->payload);
}

/* ---- down: what a plugin is called with ---- */

#define SELF void *s
static void d_none(SELF) { DONE(); }
static void d_completed(SELF, uint64_t op, int32_t status, struct kos_bytes result)
{
    (void)op;
    (void)status;
    bytes_ok(result);
    DONE();
}
static void d_opened(SELF, uint64_t op, int32_t status, int32_t fd, const char *text)
{
    (void)op;
    (void)status;
    (void)fd;
    FUZZ_CHECK(text);
    text_ok(text);
    DONE();
}
static void d_id_text(SELF, uint64_t id, const char *text)
{
    (void)id;
    FUZZ_CHECK(text);
    text_ok(text);
    DONE();
}
static void d_id(SELF, uint64_t id)
{
    (void)id;
    DONE();
}
static void d_two(SELF, uint64_t id, uint64_t value)
{
    (void)id;
    (void)value;
    DONE();
}
static void d_send(SELF, uint64_t link, const struct kos_bytes *pieces, uint32_t count)
{
    (void)link;
    for (uint32_t i = 0; i < count; i++)
        bytes_ok(pieces[i]);
    DONE();
}
static void d_link_close(SELF, uint64_t link, int32_t flush)
{
    (void)link;
    (void)flush;
    DONE();
}
static void d_handle(SELF, uint64_t message, const struct kos_message *m)
{
    (void)message;
    message_ok(m);
    DONE();
}
static void d_outcome(SELF, uint64_t message, const struct kos_outcome *o)
{
    (void)message;
    text_ok(o->type);
    text_ok(o->text);
    DONE();
}
static void d_call(SELF, uint64_t call, const char *method, struct kos_bytes parameters, uint32_t flags)
{
    (void)call;
    (void)flags;
    FUZZ_CHECK(method);
    text_ok(method);
    bytes_ok(parameters);
    DONE();
}
static void d_output(SELF, uint64_t run, int32_t kind, struct kos_bytes bytes)
{
    (void)run;
    (void)kind;
    bytes_ok(bytes);
    DONE();
}
static void d_ended(SELF, uint64_t run, int32_t status, struct kos_bytes result, const char *text, int32_t retry,
                    const uint8_t *audit)
{
    (void)run;
    (void)status;
    (void)retry;
    bytes_ok(result);
    text_ok(text);
    fuzz_touch(audit, 32);
    DONE();
}
static void d_announce(SELF, uint64_t op, struct kos_bytes record, const char *const *addresses)
{
    (void)op;
    bytes_ok(record);
    texts_ok(addresses);
    DONE();
}
static void d_find(SELF, uint64_t op, const struct kos_find *what)
{
    (void)op;
    text_ok(what->text);
    DONE();
}
static void d_deliver(SELF, uint64_t op, const struct kos_message *m, const char *destination)
{
    (void)op;
    message_ok(m);
    text_ok(destination);
    DONE();
}
static void d_resume(SELF, const char *origin, struct kos_bytes cursor)
{
    text_ok(origin);
    bytes_ok(cursor);
    DONE();
}
static void d_vector_open(SELF, uint64_t op, uint64_t collection, const char *name, const struct kos_space *space)
{
    (void)op;
    (void)collection;
    FUZZ_CHECK(space->size >= sizeof *space);
    text_ok(name);
    DONE();
}
static void d_upsert(SELF, uint64_t op, uint64_t collection, const struct kos_item *const *items, uint32_t count)
{
    (void)op;
    (void)collection;
    for (uint32_t i = 0; i < count; i++) {
        bytes_ok(items[i]->id);
        bytes_ok(items[i]->metadata);
        if (items[i]->vector)
            fuzz_touch(items[i]->vector, sizeof(float));
    }
    DONE();
}
static void d_get(SELF, uint64_t op, uint64_t collection, struct kos_bytes id)
{
    (void)op;
    (void)collection;
    bytes_ok(id);
    DONE();
}
static void d_remove(SELF, uint64_t op, uint64_t collection, struct kos_bytes id, uint64_t version)
{
    (void)version;
    d_get(s, op, collection, id);
}
static void d_query(SELF, uint64_t op, uint64_t collection, const struct kos_query *query)
{
    (void)op;
    (void)collection;
    bytes_ok(query->filter);
    if (query->vector)
        fuzz_touch(query->vector, sizeof(float));
    DONE();
}
static void d_range(SELF, uint64_t op, uint64_t collection, const uint8_t from[32], const uint8_t to[32])
{
    (void)op;
    (void)collection;
    fuzz_touch(from, 32);
    fuzz_touch(to, 32);
    DONE();
}
static void d_scan(SELF, uint64_t op, uint64_t collection, const uint8_t from[32], const uint8_t to[32], uint32_t limit)
{
    (void)limit;
    d_range(s, op, collection, from, to);
}
static void d_snapshot(SELF, uint64_t op, uint64_t collection, const char *directory)
{
    (void)collection;
    d_id_text(s, op, directory);
}
static void d_http_request(SELF, uint64_t request, const struct kos_http_message *m)
{
    (void)request;
    http_ok(m);
    DONE();
}
static void d_http_response(SELF, uint64_t op, int32_t status, const struct kos_http_message *m, const char *text)
{
    u_http_response(s, op, status, m, text);
}
static void d_serve(SELF, uint64_t op, const char *prefix, uint64_t max)
{
    (void)max;
    d_id_text(s, op, prefix);
}
static void d_unserve(SELF, const char *prefix) { d_id_text(s, 0, prefix); }
static void d_fetch(SELF, uint64_t op, const struct kos_http_message *m, uint64_t max, uint64_t timeout)
{
    u_http_fetch(s, m, max, timeout, op);
}

static void d_stream_up(SELF, uint64_t stream, const uint8_t peer[KOS_ID_BYTES], const char *name)
{
    fuzz_touch(peer, KOS_ID_BYTES);
    d_id_text(s, stream, name);
}
static void d_stream_received(SELF, uint64_t stream, struct kos_bytes bytes)
{
    (void)stream;
    bytes_ok(bytes);
    DONE();
}
static void d_stream_down(SELF, uint64_t stream, int32_t status, const char *text)
{
    (void)status;
    d_id_text(s, stream, text);
}

static void tables_of(struct kos_tables *t)
{
    memset(t, 0, sizeof *t);
    t->plugin = (struct kos_plugin){
        .size = sizeof t->plugin, .start = d_none, .stop = d_none, .completed = d_completed, .opened = d_opened
    };
    t->transport = (struct kos_transport){ .listen = d_id_text,
                                           .endpoint_close = d_id,
                                           .dial = d_id_text,
                                           .send = d_send,
                                           .link_credit = d_two,
                                           .link_close = d_link_close };
    t->discovery =
        (struct kos_discovery){ .announce = d_announce, .withdraw = d_id, .find = d_find, .find_cancel = d_id };
    t->bridge = (struct kos_bridge){ .deliver = d_deliver, .resume = d_resume };
    t->handler = (struct kos_handler){ .handle = d_handle, .outcome = d_outcome };
    t->vector = (struct kos_vector){ .open = d_vector_open,
                                     .close = d_two,
                                     .upsert = d_upsert,
                                     .get = d_get,
                                     .remove = d_remove,
                                     .query = d_query,
                                     .scan = d_scan,
                                     .fingerprint = d_range,
                                     .snapshot = d_snapshot,
                                     .stats = d_two,
                                     .drop = d_two };
    t->control = (struct kos_control){ .call = d_call, .hangup = d_id };
    t->agents = (struct kos_agents_user){ .output = d_output, .ended = d_ended };
    t->http = (struct kos_http_user){ .request = d_http_request, .response = d_http_response };
    t->http_service = (struct kos_http_service){
        .serve = d_serve, .unserve = d_unserve, .respond = d_http_request, .fetch = d_fetch, .cancel = d_id
    };
    t->stream = (struct kos_stream_user){ .up = d_stream_up,
                                          .received = d_stream_received,
                                          .credit = d_two,
                                          .ended = d_id,
                                          .down = d_stream_down };
}

/* ---- frames ---- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input(data, size);
    uint8_t way = fuzz_u8(&in);
    uint16_t kind = fuzz_u16(&in);
    size_t body = in.left & ~(size_t)7;
    struct kos_frame *frame = kos_frame_blank(sizeof frame->head + body);
    FUZZ_CHECK(frame);
    frame->head = (struct kos_frame_head){ .size = (uint32_t)(sizeof frame->head + body), .kind = kind, .id = 7 };
    if (body)
        memcpy(frame->body, in.at, body);
    calls = 0;
    up_ops_whole();
    int32_t result;
    if (way & 1) {
        struct kos_services services = { &up_ops };
        result = kos_up_run(frame, &services);
        FUZZ_CHECK(result == KOS_OK || result == KOS_E_INVALID);
    } else {
        struct kos_tables tables;
        const char *missing = NULL;
        tables_of(&tables);
        tables.newer = way & 2;
        result = kos_down_run(&tables, NULL, frame, &missing);
        FUZZ_CHECK(result == KOS_OK || result == KOS_E_INVALID);
        FUZZ_CHECK(kos_down_name(kind));
    }
    FUZZ_CHECK(calls == (result == KOS_OK));
    kos_frame_free(frame);
    return 0;
}

/* ---- seeds: one of each kind, by the encoders ---- */

static struct seeding {
    fuzz_put *put;
    void *arg;
    bool kinds[KOS_UP_KINDS]; /* that there is a seed of */
} seeding;

static void push(struct kos_frame *frame, uint8_t way)
{
    static struct fuzz_out out;
    FUZZ_CHECK(frame->head.kind < KOS_UP_KINDS);
    seeding.kinds[frame->head.kind] = true;
    out.len = 0;
    fuzz_add_u8(&out, way);
    fuzz_add_u16(&out, frame->head.kind);
    fuzz_add(&out, frame->body, frame->head.size - sizeof frame->head);
    seeding.put(seeding.arg, kos_bytes(out.data, out.len));
    kos_frame_free(frame);
}

static void push_up(struct kos_up *up, struct kos_frame *frame)
{
    (void)up;
    push(frame, 1);
}

static void push_down(struct kos_down *down, struct kos_frame *frame)
{
    (void)down;
    push(frame, 2);
}

static const struct kos_http_header headers[] = { { "host", "a" }, { "x", "" } };
static const struct kos_http_message page = { .size = sizeof page,
                                              .status = 200,
                                              .method = "GET",
                                              .url = "/a?b",
                                              .headers = headers,
                                              .header_count = 2,
                                              .body = { (const uint8_t *)"body", 4 },
                                              .peer = "127.0.0.1:1" };
static const char *const two_texts[] = { "tcp://a:1", "tcp://b:2", NULL };

static void seed_up(struct kos_services *s, const struct kos_services_ops *o)
{
    const struct kos_bytes some = kos_bytes_str("some bytes");
    const uint8_t id[KOS_ID_BYTES] = { 1, 2 };
    struct kos_draft draft = {
        .size = sizeof draft, .type = "TASK_REQUEST", .target = "klp://node.a", .payload = kos_bytes_str("{}")
    };
    struct kos_foreign foreign = {
        .size = sizeof foreign, .origin = "nats:A", .key = "1", .cursor = some, .draft = draft
    };
    struct kos_link_info info = { .size = sizeof info, .local = "tcp://a:1", .remote = "tcp://b:2" };
    struct kos_run run = { .size = sizeof run, .task = "t", .source = "klp://node.a", .inputs = kos_bytes_str("[]") };
    o->broke(s, "did not");
    o->quiet(s);
    o->finished(s);
    o->log(s, 4, "text");
    o->complete(s, 1, 0, some);
    o->open(s, "tcp://a:1", 2);
    o->open_cancel(s, 2);
    o->state_get(s, some, 3);
    o->state_scan(s, some, some, 5, 4);
    o->secret_get(s, "name", 5);
    o->secret_put(s, "name", some, 5);
    o->sign(s, "node", some, 6);
    o->tx_begin(s, 1);
    o->tx_put(s, 1, some, some);
    o->tx_delete(s, 1, some);
    o->tx_send(s, 1, &draft);
    o->tx_verdict(s, 1, 2, KOS_REJECT, KOS_E_BUSY, "later", 100);
    o->tx_commit(s, 1, 9);
    o->tx_abort(s, 1);
    o->endpoint_up(s, 2, "tcp://a:1");
    o->endpoint_down(s, 2, KOS_E_CLOSED, "gone");
    o->link_up(s, 3, 2, &info);
    o->link_received(s, 3, some);
    o->link_credit(s, 3, 100);
    o->link_down(s, 3, KOS_E_CLOSED, "gone");
    o->found(s, 0, id, some, two_texts, 1000);
    o->lost(s, id);
    o->inject(s, &foreign, 4);
    o->reply(s, 5, 0, kos_bytes_str("{}"), "", 0);
    o->event(s, "word", kos_bytes_str("{}"));
    o->run(s, 6, &run);
    o->run_credit(s, 6, 100);
    o->run_cancel(s, 6);
    o->http_serve(s, "/a", 100, 7);
    o->http_respond(s, 8, &page);
    o->http_fetch(s, &page, 100, 1000, 9);
    o->http_cancel(s, 9);
    o->http_request(s, 9, "/a", &page);
    o->http_response(s, 9, 0, &page, "");
    o->stream_open(s, 10, id, "NAME");
    o->stream_send(s, 10, some);
    o->stream_credit(s, 10, 100);
    o->stream_close(s, 10);
    o->stream_abort(s, 10, KOS_E_CLOSED, "gone");
}

static void seed_down(struct kos_backend *b, const struct kos_backend_ops *o)
{
    const struct kos_bytes some = kos_bytes_str("some bytes");
    const uint8_t digest[32] = { 1, 2 };
    const float vector[3] = { 1, 2, 3 };
    struct kos_message m = { .size = sizeof m,
                             .type = "TASK_REQUEST",
                             .source = "klp://node.a",
                             .target = "klp://node.b",
                             .trace = "",
                             .source_name = "a",
                             .payload = kos_bytes_str("{}") };
    struct kos_outcome outcome = { .size = sizeof outcome, .type = "TASK_REQUEST", .text = "" };
    struct kos_find find = { .size = sizeof find, .kind = KOS_FIND_NAME, .text = "a", .limit = 3 };
    struct kos_space space = { .size = sizeof space, .dimension = 3, .metric = KOS_METRIC_L2 };
    struct kos_item item = { .size = sizeof item, .id = some, .vector = vector, .metadata = kos_bytes_str("{}") };
    const struct kos_item *items[] = { &item, &item };
    struct kos_query query = { .size = sizeof query, .k = 3, .vector = vector };
    o->completed(b, 1, 0, some, false);
    o->opened(b, 1, KOS_E_DENIED, -1, "not allowed");
    o->listen(b, 2, "tcp://a:1");
    o->endpoint_close(b, 2);
    o->dial(b, 4, "tcp://a:1");
    o->send(b, 4, &some, 1);
    o->link_credit(b, 4, 100);
    o->link_close(b, 4, true);
    o->handle(b, 5, &m);
    o->outcome(b, 6, &outcome);
    o->call(b, 7, "Method", kos_bytes_str("{}"), 1);
    o->hangup(b, 7);
    o->output(b, 8, 1, some);
    o->ended(b, 8, 0, kos_bytes_str("{}"), "", 0, digest);
    o->announce(b, 9, some, two_texts);
    o->withdraw(b, 9);
    o->find(b, 10, &find);
    o->find_cancel(b, 10);
    o->deliver(b, 11, &m, "there");
    o->resume(b, "nats:A", some);
    o->vector_open(b, 12, 1, "c", &space);
    o->vector_close(b, 12, 1);
    o->vector_upsert(b, 13, 1, items, 2, 3);
    o->vector_get(b, 14, 1, some);
    o->vector_remove(b, 15, 1, some, 3);
    o->vector_query(b, 16, 1, &query, 3);
    o->vector_scan(b, 17, 1, digest, digest, 4);
    o->vector_fingerprint(b, 18, 1, digest, digest);
    o->vector_snapshot(b, 19, 1, "/dir");
    o->vector_stats(b, 20, 1);
    o->vector_drop(b, 20, 1);
    o->http_request(b, 21, &page);
    o->http_response(b, 22, 0, &page, "");
    o->http_serve(b, 23, "/a", 100);
    o->http_unserve(b, "/a");
    o->http_respond(b, 21, &page);
    o->http_fetch(b, 24, &page, 100, 1000);
    o->http_cancel(b, 24);
    o->stream_up(b, 26, digest, "NAME");
    o->stream_received(b, 26, some);
    o->stream_credit(b, 26, 100);
    o->stream_ended(b, 26);
    o->stream_down(b, 26, KOS_E_CLOSED, "gone");
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    struct kos_services_ops services_ops = { 0 };
    struct kos_backend_ops backend_ops = { 0 };
    struct kos_up up = { .services = { &services_ops }, .push = push_up };
    struct kos_down down = { .backend = { &backend_ops }, .push = push_down };
    seeding = (struct seeding){ .put = put, .arg = arg };
    kos_up_ops(&services_ops);
    kos_down_ops(&backend_ops);
    seed_up(&up.services, &services_ops);
    push_down(&down, kos_frame_new(KOS_DOWN_START, 0, 0));
    push_down(&down, kos_frame_new(KOS_DOWN_STOP, 0, 0));
    seed_down(&down.backend, &backend_ops);
    /* So a kind that is added is called here too: what it calls must be in the tables above, and in asked.h. */
    for (unsigned kind = KOS_DOWN_START; kind < KOS_DOWN_KINDS; kind++)
        FUZZ_CHECK(seeding.kinds[kind]);
    for (unsigned kind = KOS_UP_BROKE; kind < KOS_UP_KINDS; kind++)
        FUZZ_CHECK(seeding.kinds[kind]);
}
