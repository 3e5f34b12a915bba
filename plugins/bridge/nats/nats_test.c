/* SPDX-License-Identifier: Apache-2.0
 * bridge/nats without a server: names, tables of the policy, lanes; and its life where no server answers. */
#include "unit.h"
#include "nats.h"
#include "../../../sdk/examples/poll_host.h"

START_TEST(test_subjects)
{
    const char *why;
    ck_assert(nats_subject_ok("a.b-c.D_1", false, &why));
    ck_assert(nats_subject_ok("orders.*.new", true, &why));
    ck_assert(nats_subject_ok("orders.>", true, &why));
    ck_assert(nats_subject_ok("\xc3\xa9t\xc3\xa9.x", false, &why));
    static const char *const bad[] = { "", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\nPUB x", "$JS.API.x", "_INBOX.x",
                                       "a.*", "a.>", "a\x7f", NULL };
    for (size_t i = 0; bad[i]; i++) {
        ck_assert_msg(!nats_subject_ok(bad[i], false, &why), "%s", bad[i]);
        ck_assert(why != NULL);
    }
    ck_assert(!nats_subject_ok("a.>.b", true, &why));
    ck_assert(!nats_subject_ok("a.b*", true, &why));
    ck_assert(!nats_subject_ok("a.*b", true, &why));
    char long_one[300];
    memset(long_one, 'a', sizeof long_one - 1);
    long_one[sizeof long_one - 1] = '\0';
    ck_assert(!nats_subject_ok(long_one, false, &why));
}
END_TEST

START_TEST(test_overlaps)
{
    static const struct { const char *a, *b; bool overlap; } pairs[] = {
        { "a.b", "a.b", true }, { "a.b", "a.c", false }, { "a.*", "a.b", true }, { "a.*", "a.b.c", false },
        { "a.>", "a.b.c", true }, { "a.>", "a", false }, { "*.b", "a.*", true }, { "*.b", "a.c", false },
        { ">", "a", true }, { "a.*.c", "a.b.>", true }, { "ab", "a", false }, { "a", "a.b", false },
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        ck_assert_msg(nats_subjects_overlap(pairs[i].a, pairs[i].b) == pairs[i].overlap, "%s %s", pairs[i].a, pairs[i].b);
        ck_assert(nats_subjects_overlap(pairs[i].b, pairs[i].a) == pairs[i].overlap);
    }
}
END_TEST

START_TEST(test_destinations)
{
    struct kos_message m = { .size = sizeof m, .klass = 2, .type = "ORDER.>", .source = "klp://node.x", .target = "klp://node.y" };
    struct kos_error error = { 0 };
    char subject[NATS_SUBJECT_MAX + 1];
    ck_assert_int_eq(nats_subject_expand("out.{type}.{class}", &m, subject, &error), KOS_OK);
    ck_assert_str_eq(subject, "out.ORDER__.bulk");
    ck_assert_int_eq(nats_subject_expand("{source}.{target}", &m, subject, &error), KOS_OK);
    ck_assert_uint_eq(strlen(subject), 26 + 1 + 26);
    ck_assert_int_eq(nats_subject_expand("out.{name}", &m, subject, &error), KOS_E_CONFIG);
    ck_assert_ptr_nonnull(strstr(error.text, "{type}"));
    ck_assert_int_eq(nats_subject_expand("out.{type", &m, subject, &error), KOS_E_CONFIG);
    ck_assert_int_eq(nats_subject_expand("out.*", &m, subject, &error), KOS_E_CONFIG);
    ck_assert_int_eq(nats_subject_expand("", &m, subject, &error), KOS_E_CONFIG);
    char long_one[2000];
    for (size_t i = 0; i + 9 < sizeof long_one; i += 8)
        memcpy(long_one + i, "{source}", 9);
    ck_assert_int_eq(nats_subject_expand(long_one, &m, subject, &error), KOS_E_CONFIG);
    m.type = "";
    ck_assert_int_eq(nats_subject_expand("out.{type}", &m, subject, &error), KOS_OK);
    ck_assert_str_eq(subject, "out._");
}
END_TEST

START_TEST(test_replies)
{
    uint64_t seq = 0, delivered = 0;
    ck_assert(nats_reply_parse("$JS.ACK.IN.kos-x.2.57.60.1763840000000000000.3", &seq, &delivered));
    ck_assert_uint_eq(seq, 57);
    ck_assert_uint_eq(delivered, 2);
    ck_assert(nats_reply_parse("$JS.ACK.hub.acc.IN.kos-x.1.58.61.1763840000000000000.0", &seq, &delivered));
    ck_assert_uint_eq(seq, 58);
    ck_assert(nats_reply_parse("$JS.ACK.hub.acc.IN.kos-x.1.59.61.1763840000000000000.0.rnd", &seq, &delivered));
    ck_assert_uint_eq(seq, 59);
    static const char *const bad[] = { "", "$JS.ACK.", "_INBOX.x", "$JS.ACK.IN.c.1.0.1.1.1", "$JS.ACK.IN.c.x.1.1.1.1",
                                       "$JS.ACK.IN.c.1.-1.1.1.1", "$JS.ACK.IN.c.1.99999999999999999999.1.1.1",
                                       "$JS.ACK.IN.c.1..1.1.1", "$JS.ACK.........", "$JS.ACK.a.b.c.d.e.f.g.h.i.j.k.l", NULL };
    for (size_t i = 0; bad[i]; i++)
        ck_assert_msg(!nats_reply_parse(bad[i], &seq, &delivered), "%s", bad[i]);
    ck_assert(!nats_reply_parse(NULL, &seq, &delivered));
}
END_TEST

START_TEST(test_traces)
{
    static const char given[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    uint8_t id[KOS_ID_BYTES] = { 0xab };
    char trace[56], next[56];
    ck_assert_int_eq(nats_trace_hops(given), 0);
    ck_assert_int_eq(nats_trace_hops(""), 0);
    ck_assert_int_eq(nats_trace_hops(NULL), 0);
    ck_assert_int_eq(nats_trace_hops("00-zz"), 0);
    nats_trace_mark(given, id, 1, trace);
    ck_assert_int_eq(strncmp(trace, given, 36), 0);
    ck_assert_str_eq(trace + 52, "-01");
    for (int hops = 1; hops < NATS_HOPS_MAX; hops++) {
        ck_assert_int_eq(nats_trace_hops(trace), hops);
        nats_trace_mark(trace, id, hops + 1, next);
        memcpy(trace, next, sizeof trace);
    }
    ck_assert_int_eq(nats_trace_hops(trace), NATS_HOPS_MAX);
    nats_trace_mark("", id, 1, trace);
    ck_assert_int_eq(strncmp(trace, "00-ab00", 7), 0);
    ck_assert_int_eq(nats_trace_hops(trace), 1);
}
END_TEST

START_TEST(test_maps)
{
    static const struct { const char *json, *says; } bad[] = {
        { "{}", "no list" }, { "[1]", "is no group" }, { "[{}]", "subject: is missing" },
        { "[{\"subject\":\"a\"}]", "type: is missing" }, { "[{\"subject\":1}]", "is no text" },
        { "[{\"colour\":1}]", "there is no colour" },
        { "[{\"subject\":\"a..b\",\"target\":\"klp://node.x\",\"type\":\"A\"}]", "is empty" },
        { "[{\"subject\":\"a\",\"target\":\"http://x\",\"type\":\"A\"}]", "klp://" },
        { "[{\"subject\":\"a\",\"target\":\"klp://node.x\",\"type\":\"a\"}]", "message type" },
        { "[{\"class\":\"fast\",\"subject\":\"a\",\"target\":\"klp://node.x\",\"type\":\"A\"}]", "interactive" },
        { "[{\"expires\":\"31d\",\"subject\":\"a\",\"target\":\"klp://node.x\",\"type\":\"A\"}]", "expires" },
        { "[{\"expires\":\"99999999999999999999d\",\"subject\":\"a\",\"target\":\"klp://node.x\",\"type\":\"A\"}]", "expires" },
        { "[{\"stream\":\"a b\",\"subject\":\"a\",\"target\":\"klp://node.x\",\"type\":\"A\"}]", "name of a stream" },
        { "[{\"subject\":\"a\",\"target\":\"klp://node.x\",\"trust\":11,\"type\":\"A\"}]", "trust" },
        { "[{\"subject\":\"a.>\",\"target\":\"klp://node.x\",\"type\":\"A\"},"
          "{\"subject\":\"a.b\",\"target\":\"klp://node.x\",\"type\":\"A\"}]", "groups 1 and 2" },
        { "not json", "no list" },
    };
    struct kos_error error = { 0 };
    struct nats_settings s;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memset(&s, 0, sizeof s);
        ck_assert_int_eq(nats_settings_maps(bad[i].json, &s, &error), KOS_E_CONFIG);
        ck_assert_msg(strstr(error.text, bad[i].says) != NULL, "%s: %s", bad[i].json, error.text);
        nats_settings_fini(&s);
    }
    memset(&s, 0, sizeof s);
    ck_assert_int_eq(nats_settings_maps("[{\"body\":\"payload\",\"class\":\"interactive\",\"expires\":\"2h\",\"start\":\"new\","
                                        "\"stream\":\"S\",\"subject\":\"a.>\",\"target\":\"klp://node.x\",\"trust\":2.5,"
                                        "\"type\":\"A\"}]", &s, &error), KOS_OK);
    ck_assert_uint_eq(s.map_count, 1);
    ck_assert(s.maps[0].unwrap && s.maps[0].only_new && s.maps[0].klass == 1 && s.maps[0].expires_ms == 7200000);
    ck_assert_double_eq(s.maps[0].trust, 2.5);
    nats_settings_fini(&s);
}
END_TEST

START_TEST(test_streams)
{
    static const char *const bad[] = { "[{}]", "[{\"name\":\"a.b\",\"subjects\":\"x\"}]", "[{\"name\":\"A\",\"subjects\":\" \"}]",
                                       "[{\"name\":\"A\",\"subjects\":\"a..b\"}]",
                                       "[{\"name\":\"A\",\"replicas\":0,\"subjects\":\"a\"}]",
                                       "[{\"name\":\"A\",\"storage\":\"tape\",\"subjects\":\"a\"}]", NULL };
    struct kos_error error = { 0 };
    struct nats_settings s;
    for (size_t i = 0; bad[i]; i++) {
        memset(&s, 0, sizeof s);
        ck_assert_msg(nats_settings_streams(bad[i], &s, &error) == KOS_E_CONFIG, "%s", bad[i]);
        nats_settings_fini(&s);
    }
    memset(&s, 0, sizeof s);
    ck_assert_int_eq(nats_settings_streams("[{\"max_age\":\"1m\",\"name\":\"A\",\"subjects\":\"a.> b\"}]", &s, &error), KOS_OK);
    ck_assert_int_eq(s.streams[0].duplicates_ms, 60000);
    nats_settings_fini(&s);
}
END_TEST

static uint8_t *bytes(const char *text)
{
    return (uint8_t *)strdup(text);
}

START_TEST(test_lanes)
{
    struct nats_lanes lanes = { .highest = 4 };
    ck_assert_uint_eq(nats_lanes_floor(&lanes, NULL), 4);
    struct nats_taken *five = nats_lanes_add(&lanes, "a", 5, "r5", bytes("{}"), 2);
    struct nats_taken *six = nats_lanes_add(&lanes, "b", 6, "r6", bytes("{}"), 2);
    struct nats_taken *eight = nats_lanes_add(&lanes, "a", 8, "r8", bytes("{}"), 2);
    struct nats_taken *seven = nats_lanes_add(&lanes, "a", 7, "r7", bytes("{}"), 2);
    ck_assert_uint_eq(lanes.held, 4);
    ck_assert(five->next == seven && seven->next == eight); /* the stream's order, however they came */
    ck_assert(nats_lanes_find(&lanes, 6) == six);
    ck_assert_uint_eq(nats_lanes_floor(&lanes, NULL), 4);
    ck_assert_uint_eq(nats_lanes_floor(&lanes, five), 5);
    nats_lanes_remove(&lanes, six);
    ck_assert_uint_eq(nats_lanes_floor(&lanes, five), 6);
    five->op = 9;
    lanes.under_way = 1;
    ck_assert(nats_lanes_find_op(&lanes, 9) == five);
    nats_lanes_remove(&lanes, five);
    ck_assert_uint_eq(lanes.under_way, 0);
    ck_assert_uint_eq(nats_lanes_floor(&lanes, NULL), 6);
    nats_lanes_clear(&lanes);
    ck_assert_ptr_null(lanes.lanes);
    ck_assert_uint_eq(lanes.held, 0);
}
END_TEST

START_TEST(test_nkeys)
{
    /* The pair of the nkeys documentation of NATS. */
    char public_key[60];
    ck_assert_int_eq(link_nkey_public("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY", public_key), KOS_OK);
    ck_assert_str_eq(public_key, "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4");
    static const char *const bad[] = { "", "SU", "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VA",
                                       "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4AA",
                                       "suACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY", NULL };
    for (size_t i = 0; bad[i]; i++)
        ck_assert_int_eq(link_nkey_public(bad[i], public_key), KOS_E_KEY);
}
END_TEST

/* ---- a life without a server ---- */

static struct {
    struct poll_host *host;
    int completions[16];
    int32_t status[16];
    char text[300];
    bool inside; /* a call of ours is under way */
} t;

static void complete(void *arg, uint64_t op, int32_t status, struct kos_bytes result)
{
    (void)arg;
    ck_assert(!t.inside);
    ck_assert_uint_lt(op, 16);
    t.completions[op]++;
    t.status[op] = status;
    snprintf(t.text, sizeof t.text, "%.*s", (int)result.len, (const char *)result.data);
}

static const struct poll_host_hooks hooks = { .complete = complete };

static void begin(const char *server, const char *more)
{
    struct kos_error error = { 0 };
    char servers[128];
    snprintf(servers, sizeof servers, "servers=%s", server);
    const char *const settings[] = { servers, "deliver_timeout=1s", more, NULL };
    memset(&t, 0, sizeof t);
    t.host = poll_host_new(&kos_plugin_v1, settings, &hooks, NULL, &error);
    ck_assert_msg(t.host != NULL, "%s", error.text);
    poll_host_start(t.host);
}

static void deliver(uint64_t op, const char *destination, const char *payload)
{
    const struct kos_bridge *bridge = kos_plugin_v1.features[0]->table;
    struct kos_message m = { .size = sizeof m, .klass = 1, .type = "ORDER", .source = "klp://node.x", .target = "klp://node.y",
                             .trace = "", .source_name = "x", .payload = kos_bytes_str(payload) };
    t.inside = true;
    bridge->deliver(poll_host_self(t.host), op, &m, destination);
    t.inside = false;
}

static void end(void)
{
    uint32_t left;
    ck_assert(poll_host_stop(t.host));
    poll_host_free(t.host, &left);
    ck_assert_uint_eq(left, 0);
}

START_TEST(test_no_server)
{
    begin("nats://127.0.0.1:1", "tls=false");
    deliver(1, "out.a", "{}");
    deliver(2, "no subject", "{}");
    deliver(3, "out.{x}", "{}");
    while (!t.completions[1])
        poll_host_run(t.host, 100);
    ck_assert_int_eq(t.status[1], KOS_E_UNREACHABLE);
    ck_assert_ptr_nonnull(strstr(t.text, "127.0.0.1:1"));
    ck_assert_int_eq(t.status[2], KOS_E_CONFIG);
    ck_assert_int_eq(t.status[3], KOS_E_CONFIG);
    deliver(4, "out.a", "{}");
    deliver(5, "no subject", "{}");
    end();
    ck_assert_int_eq(t.status[4], KOS_E_CANCELLED);
    for (size_t i = 1; i <= 5; i++)
        ck_assert_int_eq(t.completions[i], 1);
}
END_TEST

START_TEST(test_stopped_at_any_time)
{
    for (int turns = 0; turns < 6; turns++) {
        begin("nats://127.0.0.1:1", "tls=false");
        deliver(1, "out.a", "{}");
        for (int i = 0; i < turns; i++)
            poll_host_run(t.host, 20);
        end();
        ck_assert_int_eq(t.completions[1], 1);
    }
    begin("tls://127.0.0.1:1", "nkey=missing"); /* waits for its secret */
    deliver(1, "out.a", "{}");
    poll_host_run(t.host, 20);
    end();
    ck_assert_int_eq(t.completions[1], 1);
}
END_TEST

START_TEST(test_settings_refused)
{
    static const struct { const char *setting, *says; } bad[] = {
        { "servers=http://x", "nats://HOST:PORT" }, { "servers=nats://u:p@x", "holds no login" }, { "servers=", "is empty" },
        { "durable=a.b", "one word" }, { "tls_cert=/x", "belong together" }, { "password=p", "needs user" },
        { "inward=[{}]", "subject: is missing" }, { "streams=[{}]", "name: is missing" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kos_error error = { 0 };
        const char *const settings[] = { "servers=tls://localhost:4222", bad[i].setting, NULL };
        ck_assert_ptr_null(poll_host_new(&kos_plugin_v1, settings, &hooks, NULL, &error));
        ck_assert_int_eq(error.code, KOS_E_CONFIG);
        ck_assert_msg(strstr(error.text, bad[i].says) != NULL, "%s: %s", bad[i].setting, error.text);
    }
}
END_TEST

TESTS("bridge/nats", test_subjects, test_overlaps, test_destinations, test_replies, test_traces, test_maps, test_streams,
      test_lanes, test_nkeys, test_no_server, test_stopped_at_any_time, test_settings_refused)
