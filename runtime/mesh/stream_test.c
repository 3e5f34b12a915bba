/* SPDX-License-Identifier: Apache-2.0
 * Byte streams: bytes in order over every kind of link, credit that holds, ends of all sorts, turns, bounds, and a peer
 * that sends what it may not. */
#include "mesh/mesh_testing.h"
#include "unit.h"

#include <kos/stream.h>
#include <stdlib.h>

enum { FLOWS = 300 };

struct flow {
    uint64_t id;
    bool up, ended, down;
    int32_t status;
    uint64_t credit, received, wrong;
    char name[64], text[256];
};
struct user {
    struct kos_streams streams; /* first */
    struct net_node *node;
    struct flow flows[FLOWS];
    uint32_t count;
    uint64_t window; /* given to what is accepted, and again as it comes */
    int32_t refuse;
};

static struct net net;
static struct net_node *a, *b;
static struct user on_a, on_b;
static uint64_t link_window; /* 0: as it is */

static struct flow *find(struct user *user, uint64_t id)
{
    for (uint32_t i = user->count; i > 0; i--)
        if (user->flows[i - 1].id == id)
            return &user->flows[i - 1];
    ck_abort_msg("stream %llu is not known", (unsigned long long)id);
}

static struct flow *flow_new(struct user *user, uint64_t id)
{
    ck_assert_uint_lt(user->count, FLOWS);
    struct flow *flow = &user->flows[user->count++];
    *flow = (struct flow){ .id = id };
    return flow;
}

static int32_t asked(struct kos_streams *streams, uint64_t id, const struct klp_id *peer, const char *name,
                     char ret_text[256])
{
    struct user *user = (struct user *)streams;
    (void)peer;
    (void)name;
    snprintf(ret_text, 256, "not now");
    if (user->refuse < 0)
        return user->refuse;
    flow_new(user, id);
    return KOS_OK;
}

static void up(struct kos_streams *streams, uint64_t id, const struct klp_id *peer, const char *name)
{
    struct user *user = (struct user *)streams;
    struct flow *flow = find(user, id);
    ck_assert(!flow->up && !flow->down);
    ck_assert(klp_id_eq(peer, user == &on_a ? &b->id : &a->id));
    flow->up = true;
    snprintf(flow->name, sizeof flow->name, "%s", name);
}

static uint8_t byte_at(uint64_t place)
{
    return (uint8_t)(place * 2654435761u >> 13);
}

static void received(struct kos_streams *streams, uint64_t id, struct kos_bytes bytes)
{
    struct user *user = (struct user *)streams;
    struct flow *flow = find(user, id);
    ck_assert(flow->up && !flow->ended && !flow->down);
    ck_assert_uint_gt(bytes.len, 0);
    for (size_t i = 0; i < bytes.len; i++)
        flow->wrong += bytes.data[i] != byte_at(flow->received + i);
    flow->received += bytes.len;
    if (user->window)
        kos_mesh_stream_credit(user->node->mesh, id, bytes.len);
}

static void credit(struct kos_streams *streams, uint64_t id, uint64_t bytes)
{
    struct flow *flow = find((struct user *)streams, id);
    ck_assert(flow->up && !flow->down);
    ck_assert_uint_gt(bytes, 0);
    flow->credit += bytes;
}

static void ended(struct kos_streams *streams, uint64_t id)
{
    struct flow *flow = find((struct user *)streams, id);
    ck_assert(flow->up && !flow->ended && !flow->down);
    flow->ended = true;
}

static void down(struct kos_streams *streams, uint64_t id, int32_t status, const char *text)
{
    struct flow *flow = find((struct user *)streams, id);
    ck_assert(!flow->down);
    flow->down = true;
    flow->status = status;
    snprintf(flow->text, sizeof flow->text, "%s", text);
}

static const struct kos_streams_ops ops = { asked, up, received, credit, ended, down };

static void use(struct user *user, struct net_node *node, uint64_t window)
{
    memset(user, 0, sizeof *user);
    user->streams.ops = &ops;
    user->node = node;
    user->window = window;
    kos_mesh_streams(node->mesh, &user->streams);
}

static void linked_by(const struct net_air *air, uint64_t window)
{
    net_init(&net);
    if (air)
        net.air = *air;
    if (link_window)
        net.window = link_window;
    a = net_add(&net, "laptop");
    b = net_add(&net, "home");
    net_trust(a, b, 8);
    net_trust(b, a, 8);
    use(&on_a, a, window);
    use(&on_b, b, window);
    net_connect_kept(a, b);
    for (int i = 0; i < 1200 && !(net_session(a, b) && net_session(b, a)); i++)
        net_run(&net, 100);
    ck_assert(net_session(a, b) && net_session(b, a));
}

static void linked(uint64_t window)
{
    linked_by(NULL, window);
}

static uint64_t open_named(const char *name)
{
    struct kos_error error = { 0 };
    uint64_t id = kos_mesh_stream_open(a->mesh, &b->id, name, &error);
    ck_assert_msg(id != 0, "%s", error.text);
    flow_new(&on_a, id);
    return id;
}

static uint64_t refused_here(const char *name, int32_t code)
{
    struct kos_error error = { 0 };
    uint64_t id = kos_mesh_stream_open(a->mesh, &b->id, name, &error);
    ck_assert_uint_eq(id, 0);
    ck_assert_int_eq(error.code, code);
    ck_assert_uint_gt(strlen(error.text), 10);
    return id;
}

/* As much as may be, in pieces. Returns the place behind it. */
static uint64_t push(struct user *user, uint64_t id, uint64_t at, uint64_t until, size_t piece)
{
    static uint8_t bytes[65536];
    struct flow *flow = find(user, id);
    while (!flow->down && flow->credit && at < until) {
        size_t n = piece < sizeof bytes ? piece : sizeof bytes;
        n = n < flow->credit ? n : (size_t)flow->credit;
        n = n < until - at ? n : (size_t)(until - at);
        for (size_t i = 0; i < n; i++)
            bytes[i] = byte_at(at + i);
        ck_assert(kos_mesh_stream_send(user->node->mesh, id, kos_bytes(bytes, n)));
        flow->credit -= n;
        at += n;
    }
    return at;
}

static void grant_all(struct user *user)
{
    for (uint32_t i = 0; i < user->count; i++)
        if (user->flows[i].up && !user->flows[i].down)
            kos_mesh_stream_credit(user->node->mesh, user->flows[i].id, user->window);
}

/* One stream from a to b, of so many bytes, to its good end. */
static void whole(uint64_t bytes, size_t piece, uint64_t step_ms)
{
    uint64_t id = open_named("PIPE"), at = 0;
    uint32_t place = on_b.count;
    for (int i = 0; i < 20000 && !on_b.flows[place].up; i++)
        step_ms ? net_run(&net, step_ms) : net_settle(&net);
    grant_all(&on_b);
    struct flow *out = find(&on_a, id), *in = &on_b.flows[place];
    ck_assert_str_eq(in->name, "PIPE");
    for (int i = 0; i < 20000 && at < bytes; i++) {
        at = push(&on_a, id, at, bytes, piece);
        step_ms ? net_run(&net, step_ms) : net_settle(&net);
    }
    ck_assert_uint_eq(at, bytes);
    kos_mesh_stream_close(a->mesh, id);
    for (int i = 0; i < 20000 && !in->ended; i++)
        step_ms ? net_run(&net, step_ms) : net_settle(&net);
    ck_assert(in->ended && !in->down && !out->down);
    ck_assert_uint_eq(in->received, bytes);
    ck_assert_uint_eq(in->wrong, 0);
    kos_mesh_stream_close(b->mesh, in->id);
    for (int i = 0; i < 20000 && !(in->down && out->down); i++)
        step_ms ? net_run(&net, step_ms) : net_settle(&net);
    ck_assert(in->down && out->down);
    ck_assert_int_eq(in->status, KOS_OK);
    ck_assert_int_eq(out->status, KOS_OK);
}

START_TEST(there_and_whole)
{
    static const size_t pieces[] = { 1 << 16, 1000, 16384, 16375, 16376, 7 };
    linked(100000);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        whole(i == 5 ? 5000 : 3000000, pieces[i], 0);
    whole(0, 1, 0);
    ck_assert_uint_eq(mesh_streams_open(net_session(a, b)), 0);
    ck_assert_uint_eq(a->mesh->counters.streams_out, 7);
    ck_assert_uint_eq(b->mesh->counters.streams_in, 7);
    ck_assert_uint_eq(a->mesh->counters.stream_bytes_out, b->mesh->counters.stream_bytes_in);
    net_fini(&net);
}
END_TEST

START_TEST(over_datagrams)
{
    static const struct net_air kinds[] = {
        { .mtu = 128 }, { .mtu = 1200 }, { .mtu = 65535 },
        { .mtu = 200, .flags = KOS_LINK_RELIABLE | KOS_LINK_ORDERED },
        { .mtu = 1400, .loss = 100, .twice = 100, .altered = 50, .late = 200, .late_ms = 100, .delay_ms = 20 },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        linked_by(&kinds[i], 50000);
        whole(i ? 200000 : 20000, 3000, 50);
        net_fini(&net);
    }
}
END_TEST

START_TEST(both_ways_and_half_closed)
{
    linked(0);
    uint64_t id = open_named("PIPE");
    kos_mesh_stream_credit(a->mesh, id, 10); /* before it is up: the other side may begin at once */
    net_settle(&net);
    struct flow *out = find(&on_a, id), *in = &on_b.flows[0];
    ck_assert_uint_eq(in->credit, 10);
    kos_mesh_stream_close(a->mesh, id); /* nothing to say, and it listens on */
    net_settle(&net);
    ck_assert(in->ended && !in->down && !out->down);
    ck_assert_uint_eq(push(&on_b, in->id, 0, 10, 3), 10);
    kos_mesh_stream_close(b->mesh, in->id);
    net_settle(&net);
    ck_assert_uint_eq(out->received, 10);
    ck_assert_uint_eq(out->wrong, 0);
    ck_assert(out->ended && out->down && in->down);
    ck_assert_int_eq(out->status, KOS_OK);
    kos_mesh_stream_close(a->mesh, id); /* what is down is ignored */
    kos_mesh_stream_credit(a->mesh, id, 1);
    kos_mesh_stream_abort(a->mesh, id, KOS_E_IO, NULL);
    ck_assert(kos_mesh_stream_send(a->mesh, id, kos_bytes("x", 1)));
    net_fini(&net);
}
END_TEST

/* Who reads nothing keeps his own stream and no other, nor messages; what waits is bounded. */
START_TEST(a_slow_reader)
{
    linked(0);
    uint64_t slow = open_named("SLOW"), quick = open_named("QUICK"), at = 0, slow_at = 0;
    net_settle(&net);
    kos_mesh_stream_credit(b->mesh, on_b.flows[0].id, KOS_STREAM_WINDOW_MAX + 1000); /* the last 1000 are not given */
    net.hold = true;
    for (int i = 0; i < 4; i++)
        net_settle(&net);
    net.hold = false;
    for (int i = 0; i < 50; i++) {
        slow_at = push(&on_a, slow, slow_at, 100 << 20, 10000);
        net_settle(&net);
    }
    ck_assert_uint_eq(slow_at, KOS_STREAM_WINDOW_MAX);
    ck_assert_uint_eq(on_b.flows[0].received, KOS_STREAM_WINDOW_MAX);
    ck_assert_uint_eq(find(&on_a, slow)->credit, 0);
    ck_assert(!kos_mesh_stream_send(a->mesh, slow, kos_bytes("x", 1))); /* refused, and nothing happened */
    for (int i = 0; i < 400 && on_b.flows[1].received < 3000000; i++) {
        kos_mesh_stream_credit(b->mesh, on_b.flows[1].id, 10000);
        at = push(&on_a, quick, at, 3000000, 4096);
        net_settle(&net);
    }
    ck_assert_uint_eq(on_b.flows[1].received, 3000000);
    ck_assert_uint_eq(on_b.flows[1].wrong, 0);
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 1000, KLP_CLASS_BULK, NULL), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 1);
    net_fini(&net);
}
END_TEST

/* A link that takes little: the sender's host buffers so much and no more. */
START_TEST(a_slow_link)
{
    linked(0);
    uint64_t id = open_named("PIPE");
    net_settle(&net);
    kos_mesh_stream_credit(b->mesh, on_b.flows[0].id, KOS_STREAM_WINDOW_MAX);
    net_settle(&net);
    net.hold = true;
    uint64_t at = 0;
    for (int i = 0; i < 20; i++) {
        at = push(&on_a, id, at, 100 << 20, 65536);
        net_settle(&net);
    }
    ck_assert_uint_le(mesh_stream_queued(net_session(a, b)), MESH_STREAM_BUFFER);
    ck_assert_uint_le(at, MESH_STREAM_BUFFER + net.window + 65536);
    ck_assert_uint_ge(at, MESH_STREAM_BUFFER);
    net.hold = false;
    for (int i = 0; i < 50; i++) {
        at = push(&on_a, id, at, 100 << 20, 65536);
        net_settle(&net);
    }
    ck_assert_uint_eq(on_b.flows[0].received, KOS_STREAM_WINDOW_MAX);
    net_fini(&net);
}
END_TEST

/* Streams take turns, and so do they and bulk messages. */
START_TEST(taking_turns)
{
    linked(0);
    uint64_t ids[4], at[4] = { 0 };
    for (int i = 0; i < 4; i++)
        ids[i] = open_named("PIPE");
    net_settle(&net);
    on_b.window = 1 << 20;
    grant_all(&on_b);
    net_settle(&net);
    for (int i = 0; i < 4; i++)
        at[i] = push(&on_a, ids[i], 0, 400000, 65536);
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 400000, KLP_CLASS_BULK, NULL), KOS_OK);
    for (int i = 0; i < 10000 && on_b.flows[0].received < 200000; i++)
        net_turn(&net);
    for (int i = 1; i < 4; i++) {
        ck_assert_uint_ge(on_b.flows[i].received, 100000);
        ck_assert_uint_le(on_b.flows[i].received, 300000);
        ck_assert_uint_eq(at[i], 400000);
    }
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 1);
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(on_b.flows[i].wrong + 400000 - on_b.flows[i].received, 0);
    net_fini(&net);
}
END_TEST

/* However much of a stream waits: in front of a message of another class goes what the link has already, and one record
 * more. */
START_TEST(messages_go_before)
{
    link_window = 20000;
    linked(0);
    uint64_t id = open_named("PIPE"), at = 0;
    net_settle(&net);
    kos_mesh_stream_credit(b->mesh, on_b.flows[0].id, KOS_STREAM_WINDOW_MAX);
    net_settle(&net);
    at = push(&on_a, id, at, 100 << 20, 65536);
    net_turn(&net);
    ck_assert_uint_gt(mesh_stream_queued(net_session(a, b)), 4 * MESH_RECORD_BULK);
    uint8_t frame[] = "a statement of nobody";
    struct mesh_session *from = net_session(a, b);
    uint64_t sent = a->mesh->counters.stream_bytes_out;
    mesh_session_queue_copy(from, 200, KLP_CLASS_INTERACTIVE, kos_bytes(frame, sizeof frame)); /* a type to be skipped */
    while (from->queue[KLP_CLASS_INTERACTIVE].first)
        net_turn(&net);
    ck_assert_uint_le(a->mesh->counters.stream_bytes_out - sent, net.window + MESH_RECORD_BULK);
    net_fini(&net);
    link_window = 0;
}
END_TEST

START_TEST(refusals)
{
    linked(0);
    refused_here("lower", KOS_E_INVALID);
    refused_here("", KOS_E_INVALID);
    struct kos_error error;
    ck_assert_uint_eq(kos_mesh_stream_open(a->mesh, &a->id, "PIPE", &error), 0);
    ck_assert_int_eq(error.code, KOS_E_UNREACHABLE);
    net_policy(a, "messages = { outbound = { block = [ \"PIPE\" ]; }; };");
    refused_here("PIPE", KOS_E_DENIED);
    struct flow *flow = find(&on_a, open_named("OTHER"));
    on_b.refuse = KOS_E_BUSY;
    net_settle(&net);
    ck_assert_int_eq(flow->status, KOS_E_BUSY);
    ck_assert_str_eq(flow->text, "not now");
    on_b.refuse = KOS_OK;
    net_policy(b, "trust = { OTHER = 9; };");
    flow = find(&on_a, open_named("OTHER"));
    kos_mesh_stream_credit(a->mesh, flow->id, 5); /* crosses the refusal */
    net_settle(&net);
    ck_assert_int_eq(flow->status, KOS_E_TRUST);
    ck_assert_ptr_nonnull(strstr(flow->text, "OTHER needs a trust score of 9 here"));
    net_policy(b, "limits = ( { type = \"OTHER\"; messages_per_minute = 1; } );");
    open_named("OTHER");
    flow = find(&on_a, open_named("OTHER"));
    net_settle(&net);
    ck_assert_int_eq(flow->status, KOS_E_QUOTA);
    kos_mesh_streams(b->mesh, NULL);
    flow = find(&on_a, open_named("ELSE"));
    net_settle(&net);
    ck_assert_int_eq(flow->status, KOS_E_UNHANDLED);
    ck_assert_uint_eq(b->mesh->counters.streams_refused, 4);
    kos_mesh_streams(b->mesh, &on_b.streams);
    net_session(a, b)->streams_known = false; /* as one of before */
    refused_here("OTHER", KOS_E_UNSUPPORTED);
    net_fini(&net);
}
END_TEST

START_TEST(policy_changes)
{
    linked(1000);
    uint64_t id = open_named("PIPE"), other = open_named("OTHER");
    net_settle(&net);
    net_policy(b, "messages = { block = [ \"PIPE\" ]; };");
    kos_mesh_trust_changed(b->mesh);
    net_settle(&net);
    ck_assert_int_eq(find(&on_a, id)->status, KOS_E_DENIED);
    ck_assert_int_eq(on_b.flows[0].status, KOS_E_DENIED);
    ck_assert(!find(&on_a, other)->down);
    ck_assert_ptr_nonnull(net_session(a, b));
    net_fini(&net);
}
END_TEST

/* Bytes count for quotas: who has used one up is slowed. */
START_TEST(quotas)
{
    linked(0);
    net_policy(b, "limits = ( { type = \"PIPE\"; bytes_per_minute = 60000; } );");
    uint64_t id = open_named("PIPE"), other = open_named("OTHER"), at = 0;
    net_settle(&net);
    kos_mesh_stream_credit(b->mesh, on_b.flows[0].id, 1 << 20);
    kos_mesh_stream_credit(b->mesh, on_b.flows[1].id, 1 << 20);
    net_settle(&net);
    at = push(&on_a, id, at, 1 << 20, 5000);
    ck_assert_uint_eq(at, 60000);
    ck_assert_uint_eq(push(&on_a, other, 0, 1 << 20, 5000), MESH_STREAM_BUFFER);
    for (int i = 1; i < 4; i++) {
        net_run(&net, 60000);
        at = push(&on_a, id, at, 1 << 20, 5000);
        ck_assert_uint_ge(at, 60000 * (uint64_t)i);
        ck_assert_uint_le(at, 60000 * (uint64_t)(i + 1));
    }
    net_policy(b, "name = \"free\";");
    kos_mesh_trust_changed(b->mesh);
    net_run(&net, 60000);
    net_settle(&net);
    ck_assert_uint_gt(push(&on_a, id, at, 1 << 20, 5000), 500000);
    net_fini(&net);
}
END_TEST

START_TEST(bounds)
{
    linked(0);
    a->mesh->limits.streams_per_session = 5;
    for (int i = 0; i < 5; i++)
        open_named("PIPE");
    refused_here("PIPE", KOS_E_LIMIT);
    a->mesh->limits.streams_per_session = 10;
    b->mesh->limits.streams_per_session = 5;
    struct flow *flow = find(&on_a, open_named("PIPE"));
    net_settle(&net);
    ck_assert_int_eq(flow->status, KOS_E_LIMIT);
    kos_mesh_stream_abort(a->mesh, on_a.flows[0].id, KOS_E_NOTFOUND, "gone \"for\" good");
    ck_assert_int_eq(on_a.flows[0].status, KOS_E_CANCELLED);
    net_settle(&net);
    ck_assert_int_eq(on_b.flows[0].status, KOS_E_NOTFOUND);
    ck_assert_str_eq(on_b.flows[0].text, "gone \"for\" good");
    open_named("PIPE");
    net_settle(&net);
    ck_assert_uint_eq(on_b.count, 6);
    net_fini(&net);
}
END_TEST

START_TEST(the_session_ends)
{
    linked(1000);
    uint64_t id = open_named("PIPE");
    net_settle(&net);
    push(&on_a, id, 0, 500, 500);
    net_cut(&net);
    net_settle(&net);
    ck_assert(find(&on_a, id)->down && on_b.flows[0].down);
    ck_assert_int_lt(find(&on_a, id)->status, 0);
    ck_assert_ptr_null(a->mesh->streams);
    ck_assert_ptr_null(b->mesh->streams);
    net_fini(&net);
}
END_TEST

/* What may not be sent ends the session, with a word; what belongs to a stream that was is passed over. */
static void sends(const void *bytes, size_t len, bool ends)
{
    linked(0);
    uint64_t id = open_named("PIPE");
    net_settle(&net);
    ck_assert_uint_eq(net_session(a, b)->streams->next, 4); /* the dialler's are even: 2 was the first */
    ck_assert_uint_eq(find(&on_a, id)->up, true);
    mesh_session_queue_copy(net_session(a, b), KLP_FRAME_STREAM, KLP_CLASS_BULK, kos_bytes(bytes, len));
    net_settle(&net);
    ck_assert_msg((net_session(b, a) == NULL || on_b.flows[0].down) == ends, "kind %u, %zu bytes, number ..%02x, %s", *(const uint8_t *)bytes, len, len > 4 ? ((const uint8_t *)bytes)[4] : 0, on_b.flows[0].text);
    net_fini(&net);
}
#define SENDS(ends, ...)                             \
    do {                                             \
        const uint8_t bytes_[] = { __VA_ARGS__ };    \
        sends(bytes_, sizeof bytes_, ends);          \
    } while (0)

START_TEST(hostile)
{
    SENDS(true, KLP_STREAM_DATA, 0, 0, 0);                                  /* short */
    SENDS(true, 0, 0, 0, 0, 2);                                             /* no such kind */
    SENDS(true, 99, 0, 0, 0, 2);
    SENDS(true, KLP_STREAM_OPEN, 0, 0, 0, 0, 'P');                          /* numbers */
    SENDS(true, KLP_STREAM_OPEN, 0, 0, 0, 2, 'P');
    SENDS(true, KLP_STREAM_OPEN, 0, 0, 0, 3, 'P');
    SENDS(true, KLP_STREAM_OPEN, 0, 0, 0, 4);                               /* names */
    SENDS(true, KLP_STREAM_OPEN, 0, 0, 0, 4, 'P', 0);
    SENDS(true, KLP_STREAM_OPEN, 0, 0, 0, 4, 'p');
    SENDS(true, KLP_STREAM_ACCEPT, 0, 0, 0, 2);                             /* it was the other side's to accept */
    SENDS(true, KLP_STREAM_ACCEPT, 0, 0, 0, 4);                             /* never opened */
    SENDS(true, KLP_STREAM_DATA, 0, 0, 0, 4, 1);
    SENDS(true, KLP_STREAM_DATA, 0, 0, 0, 1, 1);
    SENDS(true, KLP_STREAM_DATA, 0, 0, 0, 2);                               /* empty */
    SENDS(true, KLP_STREAM_DATA, 0, 0, 0, 2, 1);                            /* beyond its credit */
    SENDS(true, KLP_STREAM_CREDIT, 0, 0, 0, 2, 1);
    SENDS(false, KLP_STREAM_CREDIT, 0, 0, 0, 2, 255, 255, 255, 255, 255, 255, 255, 255);
    SENDS(true, KLP_STREAM_END, 0, 0, 0, 2, 1);
    SENDS(true, KLP_STREAM_DONE, 0, 0, 0, 2);                               /* of an end that was not sent */
    SENDS(true, KLP_STREAM_CLOSE, 0, 0, 0, 2);
    SENDS(true, KLP_STREAM_CLOSE, 0, 0, 0, 2, '{', '}');
    SENDS(true, KLP_STREAM_CLOSE, 0, 0, 0, 2, '[', ']');
}
END_TEST

START_TEST(what_was_is_passed_over)
{
    static const uint8_t data[] = { KLP_STREAM_DATA, 0, 0, 0, 2, 1 }, close[] = { KLP_STREAM_CLOSE, 0, 0, 0, 2, 'x' };
    static const uint8_t end[] = { KLP_STREAM_END, 0, 0, 0, 2 };
    linked(1000);
    uint64_t id = open_named("PIPE");
    net_settle(&net);
    kos_mesh_stream_abort(a->mesh, id, KOS_OK, NULL);
    net_settle(&net);
    ck_assert_int_eq(on_b.flows[0].status, KOS_E_CANCELLED);
    mesh_session_queue_copy(net_session(a, b), KLP_FRAME_STREAM, KLP_CLASS_BULK, kos_bytes(data, sizeof data));
    mesh_session_queue_copy(net_session(a, b), KLP_FRAME_STREAM, KLP_CLASS_BULK, kos_bytes(close, sizeof close));
    mesh_session_queue_copy(net_session(a, b), KLP_FRAME_STREAM, KLP_CLASS_BULK, kos_bytes(end, sizeof end));
    net_settle(&net);
    ck_assert_ptr_nonnull(net_session(b, a));
    whole(100, 10, 0);
    net_fini(&net);
}
END_TEST

/* After its end: bytes out of place, and a second end. */
START_TEST(nothing_behind_an_end)
{
    static const uint8_t late[][6] = { { KLP_STREAM_DATA, 0, 0, 0, 2, 1 }, { KLP_STREAM_END, 0, 0, 0, 2 } };
    for (size_t i = 0; i < 2; i++) {
        linked(1000);
        uint64_t id = open_named("PIPE");
        net_settle(&net);
        kos_mesh_stream_close(a->mesh, id);
        net_settle(&net);
        ck_assert(on_b.flows[0].ended);
        mesh_session_queue_copy(net_session(a, b), KLP_FRAME_STREAM, KLP_CLASS_BULK, kos_bytes(late[i], i ? 5 : 6));
        net_settle(&net);
        ck_assert(on_b.flows[0].down);
        ck_assert_int_eq(on_b.flows[0].status, KOS_E_PROTOCOL);
        net_fini(&net);
    }
}
END_TEST

/* Who opens and opens and reads no answer: what waits for it is bounded, and its session ends. */
START_TEST(answers_nobody_reads)
{
    linked(0);
    on_b.refuse = KOS_E_BUSY;
    struct mesh_session *from = net_session(a, b), *to = net_session(b, a);
    to->out_allowed[KLP_CLASS_BULK] = to->out_sent[KLP_CLASS_BULK]; /* as if a gave no credit */
    uint64_t link = to->link->id;
    for (uint32_t wire = 2; wire < 40000 && mesh_link_find(b->mesh, link) && net_session(b, a) && net_session(a, b); wire += 2) {
        uint8_t frame[] = { KLP_STREAM_OPEN, 0, (uint8_t)(wire >> 16), (uint8_t)(wire >> 8), (uint8_t)wire, 'P' };
        mesh_session_queue_copy(from, KLP_FRAME_STREAM, KLP_CLASS_BULK, kos_bytes(frame, sizeof frame));
        if (wire % 64 == 0)
            net_settle(&net);
    }
    net_settle(&net);
    ck_assert_ptr_null(mesh_link_find(b->mesh, link));
    net_fini(&net);
}
END_TEST

/* A session that grew old is not taken from under its streams. */
START_TEST(sessions_grow_old)
{
    linked(1000);
    uint64_t id = open_named("PIPE");
    net_settle(&net);
    net_run(&net, a->mesh->limits.session_ms + 60000);
    ck_assert(!find(&on_a, id)->down && !on_b.flows[0].down);
    kos_mesh_stream_credit(b->mesh, on_b.flows[0].id, 1000);
    net_settle(&net);
    ck_assert_uint_eq(push(&on_a, id, 0, 500, 500), 500);
    kos_mesh_stream_close(a->mesh, id);
    net_settle(&net);
    kos_mesh_stream_close(b->mesh, on_b.flows[0].id);
    net_settle(&net);
    ck_assert_int_eq(find(&on_a, id)->status, KOS_OK);
    ck_assert_uint_eq(on_b.flows[0].received, 500);
    net_fini(&net);
}
END_TEST

TESTS("mesh/stream", there_and_whole, over_datagrams, both_ways_and_half_closed, a_slow_reader, a_slow_link, taking_turns,
      messages_go_before,      refusals, policy_changes, quotas, bounds, the_session_ends, hostile, what_was_is_passed_over, nothing_behind_an_end,
      answers_nobody_reads, sessions_grow_old)
