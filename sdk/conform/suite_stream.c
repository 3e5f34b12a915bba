/* SPDX-License-Identifier: Apache-2.0
 * Users of byte streams: what they open, accept, send and close, and how they take ends of all sorts. */
#include <kos/stream.h>
#include <stdlib.h>

#include "conform.h"

struct stream {
    uint64_t id;
    uint64_t may, sent, given, fed;     /* of the plugin; of this host */
    bool closed, ended;
    UT_hash_handle hh;
};

static struct host *host_of(struct kos_services *services)
{
    host_event((struct host *)services);
    return (struct host *)services;
}

static struct stream *find(struct host *h, uint64_t id)
{
    struct stream *s;
    HASH_FIND(hh, h->streams, &id, sizeof id, s);
    return s;
}

static struct stream *stream_new(struct host *h, uint64_t id)
{
    struct stream *s = kos_new(sizeof *s);
    s->id = id;
    HASH_ADD(hh, h->streams, id, sizeof s->id, s);
    return s;
}

static void down(struct host *h, struct stream *s, int32_t status, const char *text)
{
    uint64_t id = s->id;
    HASH_DEL(h->streams, s);
    free(s);
    h->backend->ops->stream_down(h->backend, id, status, text);
}

void streams_free(struct host *h)
{
    struct stream *s, *next;
    HASH_ITER(hh, h->streams, s, next) {
        HASH_DEL(h->streams, s);
        free(s);
    }
}

/* ---- from the plugin ---- */

static void s_open(struct kos_services *services, uint64_t id, const uint8_t peer[KOS_ID_BYTES], const char *name)
{
    struct host *h = host_of(services);
    (void)peer;
    if (id == 0 || id & 1 || find(h, id))
        broke(h->c, RULE_STREAM_IDS, "it opened stream %llu, which is %s", (unsigned long long)id,
              id == 0 || id & 1 ? "not even" : "open already");
    judge_text(h, "stream open", name);
    down(h, stream_new(h, id), KOS_E_UNREACHABLE, "no session with that peer is open");
}

static void s_send(struct kos_services *services, uint64_t id, struct kos_bytes bytes)
{
    struct host *h = host_of(services);
    struct stream *s = find(h, id);
    if (!s)
        return; /* events cross */
    if (s->closed)
        broke(h->c, RULE_STREAM_CLOSE, "it sent %zu bytes on stream %llu after it had closed it", bytes.len,
              (unsigned long long)id);
    if (bytes.len > s->may - s->sent)
        broke(h->c, RULE_STREAM_CREDIT, "it sent %zu bytes on stream %llu, which had a credit of %llu", bytes.len,
              (unsigned long long)id, (unsigned long long)(s->may - s->sent));
    judge_kept(h, "a stream's bytes", bytes);
    s->sent += bytes.len;
}

static void s_credit(struct kos_services *services, uint64_t id, uint64_t bytes)
{
    struct stream *s = find(host_of(services), id);
    if (!s)
        return;
    uint64_t room = KOS_STREAM_WINDOW_MAX - (s->given - s->fed);
    s->given += bytes < room ? bytes : room;
}

static void s_close(struct kos_services *services, uint64_t id)
{
    struct host *h = host_of(services);
    struct stream *s = find(h, id);
    if (s)
        s->closed = true; /* its down is the test's, so that what is said behind this is seen */
}

static void s_abort(struct kos_services *services, uint64_t id, int32_t status, const char *text)
{
    struct host *h = host_of(services);
    struct stream *s = find(h, id);
    (void)status;
    if (text)
        judge_text(h, "stream abort", text);
    if (s)
        down(h, s, KOS_E_CANCELLED, "it was aborted here");
}

void stream_services(struct kos_services_ops *ops)
{
    ops->stream_open = s_open;
    ops->stream_send = s_send;
    ops->stream_credit = s_credit;
    ops->stream_close = s_close;
    ops->stream_abort = s_abort;
}

/* ---- tests ---- */

static uint64_t up(struct host *h, const char *name)
{
    static const uint8_t peer[KOS_ID_BYTES] = { 1, 2, 3 };
    uint64_t id = host_id(h) + 1;
    stream_new(h, id);
    h->backend->ops->stream_up(h->backend, id, peer, name);
    return id;
}

static void give(struct host *h, uint64_t id, uint64_t bytes)
{
    struct stream *s = find(h, id);
    if (!s)
        return;
    s->may += bytes;
    h->backend->ops->stream_credit(h->backend, id, bytes);
}

/* So many bytes, as far as it takes them. */
static void feed(struct host *h, uint64_t id, size_t bytes)
{
    static const uint8_t data[1000];
    struct stream *s;
    while (bytes > 0 && (s = find(h, id)) && s->given > s->fed) {
        size_t n = bytes < sizeof data ? bytes : sizeof data;
        n = n < s->given - s->fed ? n : (size_t)(s->given - s->fed);
        s->fed += n;
        bytes -= n;
        h->backend->ops->stream_received(h->backend, id, kos_bytes(data, n));
    }
}

static void end(struct host *h, uint64_t id)
{
    struct stream *s = find(h, id);
    if (!s || s->ended)
        return;
    s->ended = true;
    h->backend->ops->stream_ended(h->backend, id);
}

static const char *name_of(const struct host *h, size_t i)
{
    return json_string_value(json_array_get(json_object_get(h->c->module->description, "streams"), i));
}

void exercise_stream(struct host *h)
{
    const char *name;
    for (size_t i = 0; living(h) && (name = name_of(h, i)); i++) {
        uint64_t id = up(h, name);
        give(h, id, 100);
        settle(h->c);
        for (int k = 0; k < 5 && living(h); k++) {
            feed(h, id, 70);
            settle(h->c);
            give(h, id, 10);
        }
        if (living(h))
            end(h, id);
        settle(h->c);
        struct stream *s = find(h, id);
        if (living(h) && s)
            down(h, s, KOS_E_CLOSED, "the session ended");
    }
}

/* All that it is given comes with little credit, then with much. */
static void test_credit(struct conform *c)
{
    struct host *h = host_new(c);
    const char *name;
    host_begin(h);
    settle(c);
    for (size_t i = 0; (name = name_of(h, i)); i++) {
        uint64_t id = up(h, name);
        settle(c);
        feed(h, id, 300000);
        for (uint64_t k = 1; k < 400000; k *= 3) {
            give(h, id, k);
            settle(c);
            feed(h, id, 1 + draw(c, 70000));
        }
        settle(c);
        end(h, id);
        give(h, id, 1 << 20);
        settle(c);
        struct stream *s = find(h, id);
        if (s)
            down(h, s, s->closed ? KOS_OK : KOS_E_CLOSED, s->closed ? "" : "the session ended");
    }
    host_end(h);
}

/* Ends at any moment, and what the plugin said meanwhile. */
static void test_ends(struct conform *c)
{
    static const int32_t codes[] = { KOS_OK, KOS_E_CLOSED, KOS_E_CANCELLED, KOS_E_INTERRUPTED, -1000 };
    struct host *h = host_new(c);
    const char *name;
    host_begin(h);
    settle(c);
    for (size_t i = 0; (name = name_of(h, i)); i++)
        for (size_t k = 0; k < 40; k++) {
            uint64_t id = up(h, name);
            if (k & 1)
                settle(c);
            if (k & 2)
                give(h, id, draw(c, 1000));
            feed(h, id, draw(c, 1000));
            if (k & 4)
                end(h, id);
            if (k & 8)
                settle(c);
            struct stream *s = find(h, id);
            if (s && k % 5 != 4) /* the others are left open */
                down(h, s, codes[k % 5], codes[k % 5] < 0 ? "it ended" : "");
        }
    settle(c);
    host_end(h);
}

const struct test suite_stream[] = {
    { "stream", "credit", "bytes within credit, and none behind the end", KOS_STREAM_USER, test_credit },
    { "stream", "ends", "streams that end at any moment", KOS_STREAM_USER, test_ends },
    { 0 },
};
