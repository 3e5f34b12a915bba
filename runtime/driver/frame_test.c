/* SPDX-License-Identifier: Apache-2.0
 * Calls as frames: each kind there and back, and what a hostile cell may put in their place. */
#include <string.h>

#include "unit.h"
#include "driver/down.h"
#include "driver/remote.h"
#include "driver/up.h"

/* ---- what was encoded last ---- */

static struct kos_frame *last;
static struct kos_up up;
static struct kos_services_ops up_ops;
static struct kos_down down;
static struct kos_backend_ops down_ops;
static unsigned done;

static void keep(struct kos_frame *frame)
{
    kos_frame_free(last);
    last = frame;
    done++;
}

static void keep_up(struct kos_up *to, struct kos_frame *frame)
{
    (void)to;
    keep(frame);
}

static void keep_down(struct kos_down *to, struct kos_frame *frame)
{
    (void)to;
    keep(frame);
}

static void begin(void)
{
    kos_up_ops(&up_ops);
    up = (struct kos_up){ { &up_ops }, keep_up };
    kos_down_ops(&down_ops);
    down = (struct kos_down){ { &down_ops }, keep_down };
    done = 0;
}

static void end(void)
{
    kos_frame_free(last);
    last = NULL;
}

/* What was encoded is read and encoded again: both must be the same bytes. */
static void same(uint16_t kind)
{
    struct kos_frame *first = last;
    last = NULL;
    ck_assert_uint_eq(first->head.kind, kind);
    ck_assert_uint_eq(first->head.size % 8, 0);
    ck_assert_msg(kos_up_run(first, &up.services) == KOS_OK, "kind %u", kind);
    ck_assert_ptr_nonnull(last);
    ck_assert_msg(last->head.size == first->head.size && memcmp(&last->head, &first->head, first->head.size) == 0,
                  "kind %u: %u bytes became %u others", kind, first->head.size, last->head.size);
    kos_frame_free(first);
}

static const struct kos_http_header headers[] = { { "host", "example.org" }, { "x", "" } };
static const struct kos_http_message http = { .size = sizeof http,
                                              .status = 200,
                                              .method = "GET",
                                              .url = "/a",
                                              .peer = "127.0.0.1",
                                              .headers = headers,
                                              .header_count = 2,
                                              .body = { (const uint8_t *)"body", 4 } };
static const struct kos_draft draft = { .size = sizeof draft,
                                        .klass = 1,
                                        .id = { 1 },
                                        .type = "PING",
                                        .target = "klp://node.x",
                                        .payload = { (const uint8_t *)"{}", 2 },
                                        .expires_in_ms = 5,
                                        .trust_required = 2.5,
                                        .trace = NULL };

START_TEST(test_up_there_and_back)
{
    struct kos_services *s = &up.services;
    struct kos_bytes b = kos_bytes_str("bytes"), none = kos_bytes(NULL, 0);
    const uint8_t id[KOS_ID_BYTES] = { 7 };
    begin();
    up_ops.broke(s, "did so"), same(KOS_UP_BROKE);
    up_ops.quiet(s), same(KOS_UP_QUIET);
    up_ops.finished(s), same(KOS_UP_FINISHED);
    up_ops.log(s, 6, "a line"), same(KOS_UP_LOG);
    up_ops.complete(s, 9, -3, b), same(KOS_UP_COMPLETE);
    up_ops.open(s, "tcp://x:1", 1), same(KOS_UP_OPEN);
    up_ops.open_cancel(s, 1), same(KOS_UP_OPEN_CANCEL);
    up_ops.state_get(s, b, 2), same(KOS_UP_STATE_GET);
    up_ops.state_scan(s, b, none, 5, 2), same(KOS_UP_STATE_SCAN);
    up_ops.secret_get(s, "name", 3), same(KOS_UP_SECRET_GET);
    up_ops.secret_put(s, "name", b, 3), same(KOS_UP_SECRET_PUT);
    up_ops.sign(s, "node", b, 4), same(KOS_UP_SIGN);
    up_ops.tx_begin(s, 5), same(KOS_UP_TX_BEGIN);
    up_ops.tx_put(s, 5, b, none), same(KOS_UP_TX_PUT);
    up_ops.tx_delete(s, 5, b), same(KOS_UP_TX_DELETE);
    up_ops.tx_send(s, 5, &draft), same(KOS_UP_TX_SEND);
    up_ops.tx_verdict(s, 5, 6, 2, -1, NULL, 8), same(KOS_UP_TX_VERDICT);
    up_ops.tx_commit(s, 5, 7), same(KOS_UP_TX_COMMIT);
    up_ops.tx_abort(s, 5), same(KOS_UP_TX_ABORT);
    up_ops.endpoint_up(s, 2, "tcp://x:1"), same(KOS_UP_ENDPOINT_UP);
    up_ops.endpoint_down(s, 2, -5, "text"), same(KOS_UP_ENDPOINT_DOWN);
    const struct kos_link_info info = { .size = sizeof info, .flags = 7, .send_window_bytes = 9, .local = "l", .remote = "r" };
    up_ops.link_up(s, 3, 2, &info), same(KOS_UP_LINK_UP);
    up_ops.link_received(s, 3, b), same(KOS_UP_LINK_RECEIVED);
    up_ops.link_credit(s, 3, UINT64_MAX), same(KOS_UP_LINK_CREDIT);
    up_ops.link_down(s, 3, 0, NULL), same(KOS_UP_LINK_DOWN);
    up_ops.found(s, 4, id, b, (const char *const[]){ "one", "two", NULL }, 5), same(KOS_UP_FOUND);
    up_ops.lost(s, id), same(KOS_UP_LOST);
    const struct kos_foreign foreign = { .size = sizeof foreign, .origin = "o", .key = "k", .cursor = b, .draft = draft };
    up_ops.inject(s, &foreign, 6), same(KOS_UP_INJECT);
    up_ops.reply(s, 7, 0, b, "", 1), same(KOS_UP_REPLY);
    up_ops.event(s, "event", b), same(KOS_UP_EVENT);
    const struct kos_run run = { .size = sizeof run, .task = "t", .source = "s", .inputs = b, .deadline_ms = 1 };
    up_ops.run(s, 8, &run), same(KOS_UP_RUN);
    up_ops.run_credit(s, 8, 5), same(KOS_UP_RUN_CREDIT);
    up_ops.run_cancel(s, 8), same(KOS_UP_RUN_CANCEL);
    up_ops.http_serve(s, "/p", 5, 9), same(KOS_UP_HTTP_SERVE);
    up_ops.http_respond(s, 9, &http), same(KOS_UP_HTTP_RESPOND);
    up_ops.http_fetch(s, &http, 5, 6, 9), same(KOS_UP_HTTP_FETCH);
    up_ops.http_cancel(s, 9), same(KOS_UP_HTTP_CANCEL);
    up_ops.http_request(s, 9, "/p", &http), same(KOS_UP_HTTP_REQUEST);
    up_ops.http_response(s, 9, -1, NULL, "text"), same(KOS_UP_HTTP_RESPONSE);
    up_ops.stream_open(s, 2, id, "NAME"), same(KOS_UP_STREAM_OPEN);
    up_ops.stream_send(s, 2, b), same(KOS_UP_STREAM_SEND);
    up_ops.stream_credit(s, 2, 5), same(KOS_UP_STREAM_CREDIT);
    up_ops.stream_close(s, 2), same(KOS_UP_STREAM_CLOSE);
    up_ops.stream_abort(s, 2, -1, "text"), same(KOS_UP_STREAM_ABORT);
    ck_assert_uint_eq(done, 2 * (KOS_UP_KINDS - KOS_UP_BROKE));
    end();
}
END_TEST

/* A plugin without any table: a frame that was read whole names the member that is missing. */
static void whole(uint16_t kind)
{
    static const struct kos_tables nothing;
    const char *missing = NULL;
    ck_assert_uint_eq(last->head.kind, kind);
    ck_assert_msg(kos_down_run(&nothing, NULL, last, &missing) == KOS_E_UNSUPPORTED && missing, "kind %u", kind);
}

START_TEST(test_down_is_read_whole)
{
    struct kos_backend *d = &down.backend;
    struct kos_bytes b = kos_bytes_str("bytes");
    const struct kos_message m = { .size = sizeof m, .type = "T", .source = "s", .target = "t", .trace = "", .source_name = "n", .payload = b };
    const float vector[3] = { 1, 2, 3 };
    const uint8_t edge[32] = { 0 };
    begin();
    down_ops.completed(d, 1, -2, b, true), whole(KOS_DOWN_COMPLETED);
    down_ops.opened(d, 1, -2, -1, "why"), whole(KOS_DOWN_OPENED);
    down_ops.listen(d, 2, "tcp://x"), whole(KOS_DOWN_LISTEN);
    down_ops.endpoint_close(d, 2), whole(KOS_DOWN_ENDPOINT_CLOSE);
    down_ops.dial(d, 4, "tcp://x"), whole(KOS_DOWN_DIAL);
    down_ops.send(d, 4, (const struct kos_bytes[]){ b, { NULL, 0 }, b }, 3), whole(KOS_DOWN_SEND);
    down_ops.link_credit(d, 4, 5), whole(KOS_DOWN_LINK_CREDIT);
    down_ops.link_close(d, 4, true), whole(KOS_DOWN_LINK_CLOSE);
    down_ops.handle(d, 6, &m), whole(KOS_DOWN_HANDLE);
    const struct kos_outcome o = { .size = sizeof o, .type = "T", .text = "x" };
    down_ops.outcome(d, 6, &o), whole(KOS_DOWN_OUTCOME);
    down_ops.call(d, 8, "Method", b, 1), whole(KOS_DOWN_CALL);
    down_ops.output(d, 1, 1, b), whole(KOS_DOWN_OUTPUT);
    down_ops.ended(d, 1, 0, b, "", 0, NULL), whole(KOS_DOWN_ENDED);
    down_ops.announce(d, 2, b, (const char *const[]){ "a", NULL }), whole(KOS_DOWN_ANNOUNCE);
    down_ops.withdraw(d, 2), whole(KOS_DOWN_WITHDRAW);
    const struct kos_find find = { .size = sizeof find, .kind = 1, .text = "t" };
    down_ops.find(d, 2, &find), whole(KOS_DOWN_FIND);
    down_ops.find_cancel(d, 2), whole(KOS_DOWN_FIND_CANCEL);
    down_ops.deliver(d, 2, &m, "there"), whole(KOS_DOWN_DELIVER);
    down_ops.resume(d, "origin", b), whole(KOS_DOWN_RESUME);
    const struct kos_item item = { .size = sizeof item, .id = b, .vector = vector, .metadata = b };
    down_ops.vector_upsert(d, 2, 3, (const struct kos_item *const[]){ &item, &item }, 2, 3), whole(KOS_DOWN_VECTOR_UPSERT);
    const struct kos_query query = { .size = sizeof query, .vector = vector };
    down_ops.vector_query(d, 2, 3, &query, 3), whole(KOS_DOWN_VECTOR_QUERY);
    const struct kos_space space = { .size = sizeof space };
    down_ops.vector_open(d, 2, 3, "name", &space), whole(KOS_DOWN_VECTOR_OPEN);
    down_ops.vector_close(d, 2, 3), whole(KOS_DOWN_VECTOR_CLOSE);
    down_ops.vector_get(d, 2, 3, b), whole(KOS_DOWN_VECTOR_GET);
    down_ops.vector_remove(d, 2, 3, b, 4), whole(KOS_DOWN_VECTOR_REMOVE);
    down_ops.vector_scan(d, 2, 3, edge, edge, 5), whole(KOS_DOWN_VECTOR_SCAN);
    down_ops.vector_fingerprint(d, 2, 3, edge, edge), whole(KOS_DOWN_VECTOR_FINGERPRINT);
    down_ops.vector_snapshot(d, 2, 3, "/d"), whole(KOS_DOWN_VECTOR_SNAPSHOT);
    down_ops.vector_stats(d, 2, 3), whole(KOS_DOWN_VECTOR_STATS);
    down_ops.vector_drop(d, 2, 3), whole(KOS_DOWN_VECTOR_DROP);
    down_ops.http_request(d, 1, &http), whole(KOS_DOWN_HTTP_REQUEST);
    down_ops.http_response(d, 1, -1, NULL, "x"), whole(KOS_DOWN_HTTP_RESPONSE);
    down_ops.http_serve(d, 2, "/p", 3), whole(KOS_DOWN_HTTP_SERVE);
    down_ops.http_unserve(d, "/p"), whole(KOS_DOWN_HTTP_UNSERVE);
    down_ops.http_respond(d, 2, &http), whole(KOS_DOWN_HTTP_RESPOND);
    down_ops.http_fetch(d, 2, &http, 3, 4), whole(KOS_DOWN_HTTP_FETCH);
    down_ops.http_cancel(d, 2), whole(KOS_DOWN_HTTP_CANCEL);
    down_ops.stream_up(d, 2, edge, "NAME"), whole(KOS_DOWN_STREAM_UP);
    down_ops.stream_received(d, 2, b), whole(KOS_DOWN_STREAM_RECEIVED);
    down_ops.stream_credit(d, 2, 5), whole(KOS_DOWN_STREAM_CREDIT);
    down_ops.stream_ended(d, 2), whole(KOS_DOWN_STREAM_ENDED);
    down_ops.stream_down(d, 2, -1, "text"), whole(KOS_DOWN_STREAM_DOWN);
    end();
}
END_TEST

/* No address of this process travels. */
START_TEST(test_pointers_stay)
{
    static const char type[] = "A_TYPE";
    const struct kos_message m = { .size = sizeof m, .type = type, .source = type, .target = type, .trace = type, .source_name = type, .payload = kos_bytes_str(type) };
    const char *address = type;
    begin();
    down_ops.handle(&down.backend, 6, &m);
    ck_assert_ptr_null(memmem(last->body, last->head.size - sizeof last->head, &address, sizeof address));
    end();
}
END_TEST

static uint64_t dice(uint64_t *seed)
{
    *seed ^= *seed << 13, *seed ^= *seed >> 7, *seed ^= *seed << 17;
    return *seed;
}

/* Sound frames with some of their bytes replaced, cut or made longer, and others of chance: all ends in an answer, and
 * what is handed over lies within the frame (the sanitizer looks). */
START_TEST(test_hostile_frames)
{
    static const struct kos_tables nothing;
    uint64_t seed = 0x9e3779b97f4a7c15, values[] = { 0, 1, UINT64_MAX, UINT64_MAX - 7, 1 << 20, INT64_MIN };
    unsigned good = 0, bad = 0;
    for (unsigned round = 0; round < 60000; round++) {
        begin();
        uint16_t kind = (uint16_t)(round % 2 ? KOS_UP_BROKE + dice(&seed) % (KOS_UP_KINDS - KOS_UP_BROKE + 2)
                                             : KOS_DOWN_COMPLETED + dice(&seed) % KOS_DOWN_KINDS);
        size_t words = dice(&seed) % 40;
        struct kos_frame *f = kos_frame_new(kind, dice(&seed), words * 8);
        for (size_t i = 0; i < words; i++) {
            uint64_t value = dice(&seed) % 3 ? dice(&seed) % 24 : values[dice(&seed) % 6];
            if (dice(&seed) % 8 == 0)
                kos_put_text(&f, "text");
            else
                kos_put_u64(&f, value);
        }
        struct kos_frame *exact = kos_frame_blank(f->head.size);
        memcpy(&exact->head, &f->head, f->head.size);
        kos_frame_free(f);
        const char *missing;
        int32_t rc = round % 2 ? kos_up_run(exact, &up.services) : kos_down_run(&nothing, NULL, exact, &missing);
        ck_assert_msg(rc == KOS_OK || rc == KOS_E_INVALID || (!(round % 2) && rc == KOS_E_UNSUPPORTED), "%d", rc);
        ck_assert_uint_le(done, rc == KOS_OK); /* all or nothing */
        good += rc == KOS_OK;
        bad += rc == KOS_E_INVALID;
        kos_frame_free(exact);
        end();
    }
    ck_assert_uint_gt(good, 100);
    ck_assert_uint_gt(bad, 1000);
}
END_TEST

START_TEST(test_written_in_place)
{
    for (size_t len = 0; len < 40; len++) {
        struct kos_frame *put = kos_frame_new(7, 9, 40), *made = kos_frame_new(7, 9, 40);
        uint8_t bytes[40];
        memset(bytes, 0xab, sizeof bytes);
        kos_put_bytes(&put, kos_bytes(bytes, len));
        memset(kos_run_begin(made), 0xab, 40);
        kos_run_end(made, len);
        ck_assert_uint_eq(put->head.size, made->head.size);
        ck_assert(memcmp(&put->head, &made->head, put->head.size) == 0);
        kos_frame_free(put);
        kos_frame_free(made);
    }
}
END_TEST

TESTS("driver/frame", test_up_there_and_back, test_down_is_read_whole, test_pointers_stay, test_hostile_frames,
      test_written_in_place)
