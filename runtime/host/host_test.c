/* SPDX-License-Identifier: Apache-2.0
 * The host through the eyes of a plugin of this process: every service, every rule, what happens to those that break
 * them. */
#include "unit.h"
#include "host/testing/fakes.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static struct kos_carrier *carrier(void)
{
    return kos_hosting_carrier(f.hosting);
}

static void begin(void)
{
    fixture_begin("plugins = { " PROBE_SECTION " };");
    fixture_start();
}

/* The probe was never called inside a call of its own. */
static void finish(void)
{
    fixture_call("Violations", "");
    ck_assert_int_eq(f.number, 0);
    fixture_stop();
    fixture_end();
}

static json_int_t broken_rules(void)
{
    json_t *list = kos_hosting_list(f.hosting);
    json_int_t n = json_integer_value(json_object_get(json_array_get(list, 0), "broken_rules"));
    json_decref(list);
    return n;
}

START_TEST(test_life)
{
    begin();
    fixture_call("Started", "");
    ck_assert_int_eq(f.number, 11); /* started once, and the state that init asked for was answered once */
    json_t *list = kos_hosting_list(f.hosting);
    const json_t *one = json_array_get(list, 0);
    ck_assert_str_eq(json_string_value(json_object_get(one, "name")), "probe");
    ck_assert_str_eq(json_string_value(json_object_get(one, "hosting")), "process");
    ck_assert_str_eq(json_string_value(json_object_get(one, "state")), "running");
    ck_assert_uint_eq(json_array_size(json_object_get(one, "rights")), 6);
    ck_assert_int_eq(json_integer_value(json_object_get(one, "broken_rules")), 0);
    json_decref(list);
    finish();
}
END_TEST

START_TEST(test_settings)
{
    fixture_begin("plugins = { probe = { module = \"%s/probe.so\"; isolate = false; " PROBE_RIGHTS
                  "settings = { number = 7; word = \"good\"; }; }; };");
    fixture_start();
    fixture_call("Setting", "");
    ck_assert_int_eq(f.number, 7);
    ck_assert_str_eq(f.text, "good");
    fixture_call("Directory", "");
    ck_assert_int_eq(f.number, 1);
    ck_assert_int_eq(access(f.text, R_OK | W_OK), 0);
    finish();
}
END_TEST

START_TEST(test_control)
{
    uint64_t call;
    begin();
    fixture_call("Echo", "x");
    ck_assert_int_eq(f.status, KOS_OK);
    fixture_call("Fail", "");
    ck_assert_int_eq(f.status, KOS_E_BUSY);
    ck_assert_str_eq(f.text, "come back later");
    ck_assert_int_eq(
        kos_hosting_call(f.hosting, "org.kos.test.nobody", "Echo", kos_bytes_str("{}"), 0, &f.reply, &call),
        KOS_E_NOTFOUND);
    /* Several answers where the caller takes them. */
    f.replies = f.last_replies = 0;
    ck_assert_int_eq(
        kos_hosting_call(f.hosting, "org.kos.test.probe", "More", kos_bytes_str("{}"), KOS_CALL_MORE, &f.reply, &call),
        KOS_OK);
    fixture_until(&f.last_replies, 1);
    ck_assert_int_eq(f.replies, 3);
    ck_assert_int_eq(broken_rules(), 0);
    /* Where not, the first is the last, and the rest are rules broken. */
    f.replies = f.last_replies = 0;
    ck_assert_int_eq(kos_hosting_call(f.hosting, "org.kos.test.probe", "More", kos_bytes_str("{}"), 0, &f.reply, &call),
                     KOS_OK);
    fixture_until(&f.last_replies, 1);
    fixture_turns(3);
    ck_assert_int_eq(f.replies, 1);
    ck_assert_int_eq(broken_rules(), 2);
    /* A caller who went away hears nothing; one who waits when the plugin stops is told. */
    f.replies = 0;
    ck_assert_int_eq(
        kos_hosting_call(f.hosting, "org.kos.test.probe", "Timer", kos_bytes_str("{}"), 0, &f.reply, &call), KOS_OK);
    kos_hosting_hangup(f.hosting, call);
    fixture_turns(20);
    ck_assert_int_eq(f.replies, 0);
    /* Callers who leave by the thousand use nothing up. */
    for (int i = 0; i < 3000; i++) {
        ck_assert_int_eq(
            kos_hosting_call(f.hosting, "org.kos.test.probe", "Never", kos_bytes_str("{}"), 0, &f.reply, &call),
            KOS_OK);
        kos_hosting_hangup(f.hosting, call);
    }
    fixture_turns(3);
    ck_assert_int_eq(
        kos_hosting_call(f.hosting, "org.kos.test.probe", "Never", kos_bytes_str("{}"), 0, &f.reply, &call), KOS_OK);
    fixture_stop();
    ck_assert_int_eq(f.replies, 1);
    ck_assert_int_eq(f.status, KOS_E_INTERRUPTED); /* it may have been done, and durable, all the same */
    fixture_end();
}
END_TEST

START_TEST(test_state)
{
    begin();
    fixture_call("Put", "");
    ck_assert_int_eq(f.number, KOS_OK);
    ck_assert_str_eq(f.text, "value");
    fixture_call("Scan", "");
    ck_assert_int_eq(f.number, 2);
    /* A step that cannot be makes the whole fail, with a sentence. */
    fixture_call("Put", "large");
    ck_assert_int_eq(f.number, KOS_E_LIMIT);
    ck_assert_msg(strstr(f.text, "at most 1 MiB") != NULL, "%s", f.text);
    f.commit_error = KOS_E_NOSPACE;
    fixture_call("Put", "");
    ck_assert_int_eq(f.number, KOS_E_NOSPACE);
    ck_assert_str_eq(f.text, "the commit was refused on purpose");
    f.commit_error = 0;
    uint8_t *value;
    size_t len;
    ck_assert_int_eq(kos_store_get(f.store, "plugin:probe", kos_bytes_str("key2"), &value, &len), KOS_OK);
    ck_assert(len == 6 && memcmp(value, "value2", 6) == 0);
    free(value);
    finish();
}
END_TEST

START_TEST(test_secrets_and_signatures)
{
    char path[128];
    begin();
    fixture_call("Secret", "hush");
    ck_assert_int_eq(f.number, KOS_OK);
    ck_assert_str_eq(f.text, "hush");
    snprintf(path, sizeof path, "%s/keys/secrets/probe.token", f.dir);
    ck_assert_int_eq(access(path, R_OK), 0);
    fixture_call("Secret", ""); /* removes it: the get finds nothing */
    ck_assert_int_eq(f.number, KOS_E_NOTFOUND);
    ck_assert_int_ne(access(path, F_OK), 0);
    fixture_call("Sign", "node");
    ck_assert_int_eq(f.number, 64);
    fixture_call("Sign", "nobody");
    ck_assert_int_eq(f.number, KOS_E_NOTFOUND);
    finish();
}
END_TEST

START_TEST(test_reactor)
{
    begin();
    fixture_call("Timer", "");
    ck_assert_int_eq(f.number, 17);
    fixture_call("Watch", "");
    ck_assert_int_eq(f.number, KOS_IO_READ);
    fixture_call("Post", "");
    ck_assert_int_eq(f.number, 1); /* a thousand, in order */
    finish();
}
END_TEST

static int listener(char *ret_place, size_t cap)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(fd, 5), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    snprintf(ret_place, cap, "127.0.0.1:%d", ntohs(a.sin_port));
    return fd;
}

START_TEST(test_open)
{
    char place[64], what[96], words[128];
    begin();
    int fd = listener(place, sizeof place);
    snprintf(what, sizeof what, "tcp-listen://%s", place);
    fixture_call("Open", what);
    ck_assert_int_eq(f.number, KOS_E_ADDRESS_USED);
    snprintf(words, sizeof words, "%s is in use by another process", place);
    ck_assert_str_eq(f.text, words);
    snprintf(what, sizeof what, "tcp://%s", place);
    fixture_call("Open", what);
    ck_assert_int_eq(f.number, KOS_OK);
    snprintf(what, sizeof what, "tcp://localhost:%s", strchr(place, ':') + 1);
    fixture_call("Open", what); /* resolved by a worker; ::1 may refuse first */
    struct addrinfo *known = NULL; /* a bare installation has no /etc/hosts: then the name is not known, and said so */
    bool resolves = getaddrinfo("localhost", NULL, NULL, &known) == 0;
    ck_assert_msg(f.number == (resolves ? KOS_OK : KOS_E_NOTFOUND), "%s", f.text);
    if (resolves)
        freeaddrinfo(known);
    fixture_call("OpenCancel", what);
    ck_assert_int_eq(f.number, KOS_E_CANCELLED);
    close(fd);
    snprintf(what, sizeof what, "tcp://%s", place);
    fixture_call("Open", what);
    ck_assert_int_eq(f.number, KOS_E_UNREACHABLE);
    snprintf(words, sizeof words, "nothing listens at %s (connection refused)", place);
    ck_assert_str_eq(f.text, words);
    fixture_call("Open", "tcp-listen://127.0.0.1:0");
    ck_assert_int_eq(f.number, KOS_OK);
    fixture_call("Open", "udp://127.0.0.1:0");
    ck_assert_int_eq(f.number, KOS_OK);
    fixture_call("Open", "udp-connect://127.0.0.1:9");
    ck_assert_int_eq(f.number, KOS_OK);
    fixture_call("Open", "tcp-listen://192.0.2.1:0");
    ck_assert_int_eq(f.number, KOS_E_INVALID);
    ck_assert_str_eq(f.text, "192.0.2.1:0 is not an address of this machine");
    fixture_call("Open", "device:/dev/null"); /* the right was not asked for */
    ck_assert_int_eq(f.number, KOS_E_DENIED);
    static const char *const bad[] = { "",
                                       "tcp://",
                                       "tcp://:1",
                                       "tcp://a",
                                       "tcp://a:",
                                       "tcp://a:x",
                                       "tcp://a:65536",
                                       "tcp://::1:80",
                                       "tcp://[::1]80",
                                       "tcp://[::1]:",
                                       "file:///etc/passwd" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fixture_call("Open", bad[i]);
        ck_assert_msg(f.number == KOS_E_INVALID, "%s: %d", bad[i], f.number);
    }
    ck_assert_int_eq(broken_rules(), 1); /* the device */
    finish();
}
END_TEST

START_TEST(test_links)
{
    begin();
    ck_assert_int_eq(carrier()->ops->dial(carrier(), 10, "nobody://x"), KOS_E_UNSUPPORTED);
    ck_assert_int_eq(carrier()->ops->dial(carrier(), 10, "probe://refuse"), KOS_OK);
    ck_assert_int_eq(f.link_downs, 0); /* never inside */
    fixture_until(&f.link_downs, 1);
    ck_assert_str_eq(f.down_text, "refused");
    ck_assert_uint_eq(f.last_link, 10);
    ck_assert_int_eq(carrier()->ops->dial(carrier(), 12, "probe://x"), KOS_OK);
    fixture_until(&f.link_ups, 1);
    ck_assert_uint_eq(f.last_link, 12);
    carrier()->ops->credit(carrier(), 12, 100);
    struct kos_bytes pieces[2] = { kos_bytes_str("hello "), kos_bytes_str("there") };
    carrier()->ops->send(carrier(), 12, pieces, 2);
    fixture_turns(3);
    ck_assert_uint_eq(f.received, 11);
    ck_assert_uint_eq(f.credited, 11);
    ck_assert_int_eq(broken_rules(), 0);
    carrier()->ops->close(carrier(), 12, true);
    carrier()->ops->close(carrier(), 12, false);
    fixture_until(&f.link_downs, 2);
    ck_assert_str_eq(f.down_text, "flushed");
    fixture_turns(3);
    ck_assert_int_eq(f.link_downs, 2); /* the probe says it twice, the mesh hears it once */
    /* More than the credit: the bytes are not taken and the link is closed. */
    carrier()->ops->dial(carrier(), 14, "probe://x");
    fixture_until(&f.link_ups, 2);
    carrier()->ops->credit(carrier(), 14, 3);
    carrier()->ops->send(carrier(), 14, pieces, 1);
    fixture_until(&f.link_downs, 3);
    ck_assert_uint_eq(f.received, 11);
    finish();
}
END_TEST

START_TEST(test_accepted_links)
{
    begin();
    ck_assert_int_eq(carrier()->ops->listen(carrier(), 3, "probe://here"), KOS_OK);
    fixture_until(&f.endpoint_ups, 1);
    fixture_call("Accept", "");
    ck_assert_int_eq(f.accepted, 1);
    carrier()->ops->credit(carrier(), 1001, 10);
    struct kos_bytes piece = kos_bytes_str("abc");
    carrier()->ops->send(carrier(), 1001, &piece, 1);
    fixture_turns(3);
    ck_assert_uint_eq(f.received, 3);
    /* One the mesh does not want is closed, and the mesh hears no more of it. */
    f.refuse_links = 1;
    fixture_call("Accept", "");
    fixture_turns(3);
    ck_assert_int_eq(f.accepted, 2);
    ck_assert_int_eq(f.link_downs, 0);
    carrier()->ops->endpoint_close(carrier(), 3);
    fixture_until(&f.endpoint_downs, 1);
    /* Links left when the plugin stops go down. */
    fixture_call("Violations", "");
    ck_assert_int_eq(f.number, 0);
    fixture_stop();
    ck_assert_int_eq(f.link_downs, 1);
    ck_assert_int_eq(f.down_status, KOS_E_CLOSED);
    fixture_end();
}
END_TEST

/* Given before start, it waits for it. */
START_TEST(test_before_start)
{
    fixture_begin("plugins = { " PROBE_SECTION " };");
    ck_assert_msg(fixture_load() == KOS_OK, "%s", f.error.text);
    carrier()->ops->listen(carrier(), 3, "probe://here");
    fixture_turns(3);
    ck_assert_int_eq(f.endpoint_ups, 0);
    kos_hosting_start(f.hosting);
    fixture_until(&f.endpoint_ups, 1);
    finish();
}
END_TEST

static void give(uint64_t handle)
{
    struct kos_sink *sink = kos_hosting_sink(f.hosting);
    struct kos_message m = { .size = sizeof m,
                             .klass = 1,
                             .type = "PROBE",
                             .source = "klp://node.a",
                             .target = "klp://node.b",
                             .trace = "",
                             .source_name = "a",
                             .payload = kos_bytes_str("{}") };
    sink->ops->message(sink, handle, &m);
}

static json_int_t operations(void)
{
    json_t *list = kos_hosting_list(f.hosting);
    json_int_t count = json_integer_value(json_object_get(json_array_get(list, 0), "operations"));
    json_decref(list);
    return count;
}

START_TEST(test_messages)
{
    struct kos_sink *sink;
    begin();
    sink = kos_hosting_sink(f.hosting);
    give(41);
    ck_assert_int_eq(f.settled, 0); /* never inside */
    fixture_until(&f.commits, 1);
    ck_assert_uint_eq(f.settled_handle, 41);
    ck_assert_int_eq(f.verdict, KOS_ACCEPT);
    ck_assert_str_eq(f.sent_type, "PROBED");
    ck_assert_str_eq(f.sent_owner, "probe");
    struct kos_outcome o = { .size = sizeof o, .status = KOS_OK, .type = "PROBED", .text = "" };
    ck_assert(!sink->ops->outcome(sink, 43, "nobody", &o));
    ck_assert(sink->ops->outcome(sink, 45, "probe", &o));
    fixture_until(&f.commits, 2);
    ck_assert_uint_eq(f.settled_handle, 45);
    /* A refused commit leaves the message with the plugin. */
    f.commit_error = KOS_E_BUSY;
    give(47);
    fixture_until(&f.commits, 3);
    fixture_turns(3);
    f.commit_error = 0;
    for (int i = 0; i < 5000 && operations() != 1; i++)
        fixture_turns(1); /* the commits before come back when they are durable */
    ck_assert_int_eq(operations(), 1);
    ck_assert_int_eq(broken_rules(), 0);
    finish();
}
END_TEST

START_TEST(test_runs)
{
    begin();
    fixture_call("Run", ""); /* its source may have no task at all */
    ck_assert_int_eq(f.runs, 0);
    ck_assert_int_eq(f.number, KOS_E_QUOTA);
    f.tasks_max = 1;
    fixture_call("Run", "");
    ck_assert_int_eq(f.tasks, 0); /* its place is given back */
    ck_assert_int_eq(f.runs, 1);
    ck_assert_int_eq(f.number, KOS_OK);
    ck_assert_str_eq(f.text, "ran");
    finish();
}
END_TEST

START_TEST(test_broken_rules)
{
    begin();
    fixture_call("Break", "");
    ck_assert_int_eq(f.number, KOS_E_NOTFOUND);
    ck_assert_msg(strstr(f.text, "does not hold that message") != NULL, "%s", f.text);
    ck_assert_int_eq(broken_rules(), 10);
    ck_assert_int_eq(f.link_downs + f.accepted + f.endpoint_ups, 0);
    ck_assert_int_eq(f.aborts, 1);
    finish();
}
END_TEST

/* Stopped with a name being resolved, a timer, a secret and a commit under way: what it asked for is dropped, and every
 * descriptor and piece of work comes to its end after the plugin is gone. */
START_TEST(test_stopped_under_way)
{
    static const struct { const char *method, *what;
    } asked[] = {
        { "Open", "tcp://localhost:9" },
        { "Open", "tcp-listen://127.0.0.1:0" },
        { "Timer", "" },
        { "Secret", "x" },
        { "Put", "" },
        { "Post", "" },
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        char json[128];
        begin();
        snprintf(json, sizeof json, "{\"what\":\"%s\"}", asked[i].what);
        ck_assert_int_eq(kos_hosting_call(f.hosting, "org.kos.test.probe", asked[i].method, kos_bytes_str(json), 0,
                                          &f.reply, &f.call),
                         KOS_OK);
        give(41);
        fixture_stop();
        ck_assert_int_eq(f.replies, 1); /* cancelled, or just answered */
        fixture_end();
    }
}
END_TEST

/* Freed while it runs, as after a start that failed elsewhere: stop and fini, at once. */
START_TEST(test_freed_running)
{
    begin();
    fixture_call("Started", "");
    carrier()->ops->dial(carrier(), 12, "probe://x");
    fixture_until(&f.link_ups, 1);
    kos_hosting_free(f.hosting);
    f.hosting = NULL;
    ck_assert_int_eq(f.link_downs, 1);
    fixture_end();
    begin(); /* and before start has reached it */
    fixture_end();
}
END_TEST

/* One that does not stop: named after 5 s, and never called again. */
START_TEST(test_hangs)
{
    begin();
    fixture_call("Hang", "");
    carrier()->ops->dial(carrier(), 12, "probe://x");
    fixture_until(&f.link_ups, 1);
    fixture_stop();
    ck_assert_int_eq(f.link_downs, 1);
    fixture_end();
}
END_TEST

/* The SDK's examples and the TCP transport, side by side, from load to end. */
START_TEST(test_examples)
{
    fixture_begin(
        "plugins = {\n"
        "  loop = { module = \"%b/sdk/examples/.libs/transport_loop.so\"; isolate = false; };\n"
        "  ping = { module = \"%b/sdk/examples/.libs/handler_ping.so\"; isolate = false; rights = [ \"send\" ]; };\n"
        "  found = { module = \"%b/sdk/examples/.libs/discovery_file.so\"; isolate = false; rights = [ \"files\" ]; settings = { directory = "
        "\"%d\"; interval = \"10ms\"; }; };\n"
        "  files = { module = \"%b/sdk/examples/.libs/bridge_files.so\"; isolate = false; rights = [ \"send\", \"files\" ];\n"
        "            settings = { directory = \"%d\"; target = \"klp://node.x\"; interval = \"10ms\"; }; };\n"
        "  brute = { module = \"%b/sdk/examples/.libs/vector_brute.so\"; isolate = false; };\n"
        "  tcp = { module = \"%b/plugins/transport/tcp/.libs/tcp.so\"; isolate = false; rights = [ \"listen\", "
        "\"connect\" ]; };\n};\n");
    fixture_start();
    carrier()->ops->listen(carrier(), 1, "loop://here");
    carrier()->ops->listen(carrier(), 3, "tcp://127.0.0.1:0");
    fixture_until(&f.endpoint_ups, 2);
    carrier()->ops->dial(carrier(), 5, "loop://here");
    fixture_until(&f.link_ups, 1);
    fixture_until(&f.accepted, 1);
    struct kos_bytes piece = kos_bytes_str("through the loop");
    carrier()->ops->send(carrier(), 5, &piece, 1);
    carrier()->ops->credit(carrier(), 1001, 1000);
    fixture_turns(5);
    ck_assert_uint_eq(f.received, piece.len);
    struct kos_sink *sink = kos_hosting_sink(f.hosting);
    struct kos_message m = { .size = sizeof m,
                             .klass = 1,
                             .type = "PING",
                             .source = "klp://node.a",
                             .target = "klp://node.b",
                             .trace = "",
                             .source_name = "a",
                             .payload = kos_bytes_str("{}") };
    sink->ops->message(sink, 7, &m);
    fixture_until(&f.commits, 1);
    ck_assert_str_eq(f.sent_type, "PONG");
    ck_assert_str_eq(f.sent_owner, "ping");
    json_t *list = kos_hosting_list(f.hosting);
    ck_assert_uint_eq(json_array_size(list), 6);
    for (size_t i = 0; i < 6; i++)
        ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(list, i), "broken_rules")), 0);
    json_decref(list);
    fixture_stop();
    ck_assert_int_eq(f.endpoint_downs, 2);
    ck_assert_int_eq(f.link_downs, 2);
    fixture_end();
}
END_TEST

TESTS("host/host", test_life, test_settings, test_control, test_state, test_secrets_and_signatures, test_reactor,
      test_open, test_links, test_accepted_links, test_before_start, test_messages, test_runs, test_broken_rules,
      test_stopped_under_way, test_freed_running, test_hangs, test_examples)
