/* SPDX-License-Identifier: Apache-2.0
 * What a hostile cell can send: a fake launcher, and in place of kos-cell whatever the test writes to the socket. */
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"
#include "driver/down.h"
#include "driver/remote.h"
#include "driver/up.h"
#include "host/cell.h"
#include "host/services.h"
#include "host/testing/fakes.h"

/* ---- the launcher ---- */

static struct {
    struct kos_cell_launcher launcher;
    struct kos_cell_launch launch;
    struct kos_deferred exits;
    int peer, starts, kills, refuse;
    int32_t status;                     /* of waitpid, when it ends */
    bool silent, runs;                  /* silent: it does not say that init has returned */
} fake;

static void put(struct kos_frame *frame)
{
    ck_assert_int_eq(send(fake.peer, &frame->head, frame->head.size, MSG_NOSIGNAL), (ssize_t)frame->head.size);
    kos_frame_free(frame);
}

static void exits(struct kos_deferred *deferred)
{
    (void)deferred;
    if (!fake.runs)
        return;
    fake.runs = false;
    close(fake.peer);
    fake.launch.exited(fake.launch.arg, fake.status, 0, NULL);
}

static int32_t launcher_start(struct kos_cell_launcher *launcher, const struct kos_cell_launch *launch,
                              struct kos_cell_process **ret_process, struct kos_error *ret_error)
{
    (void)launcher;
    if (fake.refuse && fake.refuse-- > 0)
        return kos_fail(ret_error, KOS_E_BUSY, "not now");
    fake.launch = *launch;
    fake.peer = dup(launch->channel);
    fake.status = SIGKILL;
    fake.starts++;
    fake.runs = true;
    *ret_process = (struct kos_cell_process *)&fake;
    if (!fake.silent) {
        struct kos_frame *begun = kos_frame_new(KOS_CELL_BEGUN, 0, 0);
        kos_put_i64(&begun, KOS_OK);
        kos_put_text(&begun, NULL);
        put(begun);
    }
    return KOS_OK;
}

static void launcher_kill(struct kos_cell_process *process)
{
    (void)process;
    fake.kills++;
    kos_defer(f.env, &fake.exits);
}

static void launcher_wait(struct kos_cell_process *process, uint32_t timeout_ms)
{
    (void)process;
    (void)timeout_ms;
    kos_undefer(f.env, &fake.exits);
    exits(&fake.exits);
}

static void launcher_usage(struct kos_cell_process *process, struct kos_cell_usage *ret_usage)
{
    (void)process;
    *ret_usage = (struct kos_cell_usage){ 4711, 1 << 20, 5 };
}

static const struct kos_cell_launcher_ops launcher_ops = { launcher_start, launcher_kill, launcher_wait, launcher_usage };

#define ISOLATED(more) "plugins = {\n  probe = { module = \"%s/probe.so\"; " more PROBE_RIGHTS "};\n};"

static void begin(const char *policy)
{
    memset(&fake, 0, sizeof fake);
    fake.launcher.ops = &launcher_ops;
    fake.exits.run = exits;
    fixture_cells = &fake.launcher;
    fixture_begin(policy);
}

static void end(void)
{
    kos_hosting_free(f.hosting);
    f.hosting = NULL;
    kos_undefer(f.env, &fake.exits);
    fixture_end();
    fixture_cells = NULL;
}

static const char *member(const char *name)
{
    static char text[600];
    json_t *list = kos_hosting_list(f.hosting);
    json_t *value = json_object_get(json_array_get(list, 0), name);
    snprintf(text, sizeof text, "%s", json_is_string(value) ? json_string_value(value) : "");
    json_decref(list);
    return text;
}

/* ---- what it sends ---- */

static void raw(uint32_t size, uint16_t kind, uint16_t flags)
{
    const struct kos_frame_head head = { size, kind, flags, 1 };
    ck_assert_int_eq(send(fake.peer, &head, sizeof head, 0), (ssize_t)sizeof head);
}

static void bare(uint16_t kind, uint64_t id)
{
    put(kos_frame_new(kind, id, 0));
}

static void numbers(uint16_t kind, uint64_t id, unsigned count, uint64_t value)
{
    struct kos_frame *frame = kos_frame_new(kind, id, 0);
    for (unsigned i = 0; i < count; i++)
        kos_put_u64(&frame, value);
    put(frame);
}

static void short_frame(void) { raw(8, KOS_UP_LOG, 0); }
static void odd_frame(void) { raw(17, KOS_UP_LOG, 0); }
static void huge_frame(void) { raw(UINT32_MAX - 7, KOS_UP_LOG, 0); }
static void large_frame(void) { raw(KOS_CELL_UP_MAX + 8, KOS_UP_LINK_RECEIVED, 0); }
static void unknown_kind(void) { bare(9999, 1); }
static void way_down(void) { bare(KOS_DOWN_STOP, 0); }
static void to_cell(void) { bare(KOS_CELL_BEGIN, 0); }
static void no_descriptor(void) { raw(16, KOS_UP_LOG, KOS_FRAME_FD); }
static void begun_twice(void) { numbers(KOS_CELL_BEGUN, 0, 2, 0); }
static void pong(void) { bare(KOS_CELL_PONG, 77); }
static void quiet(void) { bare(KOS_UP_QUIET, 0); }
static void finished(void) { bare(KOS_UP_FINISHED, 0); }
static void complete(void) { numbers(KOS_UP_COMPLETE, 12345, 2, 0); }
static void endpoint(void) { numbers(KOS_UP_ENDPOINT_UP, 2, 1, 0); }
static void link_gone(void) { numbers(KOS_UP_LINK_DOWN, 6, 2, 0); }
static void received(void) { numbers(KOS_UP_LINK_RECEIVED, 2, 1, 0); }
static void tx_unknown(void) { numbers(KOS_UP_TX_COMMIT, 5, 1, 9); }
static void reply(void) { numbers(KOS_UP_REPLY, 1001, 4, 0); }
static void endless_text(void) { numbers(KOS_UP_LOG, 0, 2, UINT64_MAX); }
static void too_much(void) { numbers(KOS_UP_QUIET, 0, 1, 0); }
static void many_texts(void) { numbers(KOS_UP_FOUND, 1, 5, UINT64_MAX - 1); }
static void no_event(void)
{
    struct kos_frame *frame = kos_frame_new(KOS_UP_EVENT, 0, 0);
    kos_put_text(&frame, "event");
    kos_put_text(&frame, "no JSON");
    put(frame);
}
static void log_flood(void)
{
    for (int i = 0; i < 2 * KOS_CELL_TELLS + 2 && fake.runs; i++) {
        struct kos_frame *frame = kos_frame_new(KOS_UP_LOG, 0, 0);
        kos_put_i64(&frame, KOS_LOG_DEBUG);
        kos_put_text(&frame, "again");
        if (send(fake.peer, &frame->head, frame->head.size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            fixture_turns(2);
        kos_frame_free(frame);
    }
}
static void hoard(void)
{
    for (uint64_t i = 1; i <= 2 * KOS_TX_MAX + 1 && fake.runs; i++) {
        const struct kos_frame_head head = { sizeof head, KOS_UP_TX_BEGIN, 0, i };
        if (send(fake.peer, &head, sizeof head, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
            fixture_turns(2);
            i--;
        }
    }
}
static void own_words(void)
{
    struct kos_frame *frame = kos_frame_new(KOS_UP_BROKE, 0, 0);
    kos_put_text(&frame, "set more timers than there are");
    put(frame);
}

START_TEST(test_hostile_cells)
{
    static const struct { void (*send)(void); const char *words; } cases[] = {
        { short_frame, "was cut off: it sent a frame of an impossible length (8 bytes)" },
        { odd_frame, "impossible length (17 bytes)" },
        { huge_frame, "claims to have 4294967288 bytes" },
        { large_frame, "the limit is 20971520" },
        { unknown_kind, "sent a malformed frame (kind 9999)" },
        { way_down, "sent a malformed frame (kind 2)" },
        { to_cell, "sent a malformed frame (kind 512)" },
        { no_descriptor, "without the descriptor that it speaks of" },
        { begun_twice, "sent a malformed frame (kind 513)" },
        { pong, "answered a ping that was not sent" },
        { quiet, "sent a frame out of order" },
        { finished, "sent a frame out of order" },
        { complete, "broke a rule: it completed operation 12345, which is not open" },
        { endpoint, "said that endpoint 2 is up, which it was not asked for" },
        { link_gone, "said that link 6 is down, which it has not" },
        { received, "received on link 2, which is not up" },
        { tx_unknown, "used transaction 5, which is not open" },
        { reply, "replied to call 1001, which is not open" },
        { endless_text, "sent a malformed frame" },
        { too_much, "sent a frame out of order" },
        { many_texts, "sent a malformed frame" },
        { hoard, "began transaction after transaction and ended none: 2048 are open" },
        { no_event, "told an event without a word" },
        { log_flood, "floods the node: more than 5000 log lines, events and finds within a second" },
        { own_words, "broke a rule: it set more timers than there are" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(ISOLATED(""));
        fixture_start();
        ck_assert_str_eq(member("state"), "running");
        cases[i].send();
        fixture_until(&f.told, 1);
        ck_assert_msg(strstr(member("cause"), cases[i].words) != NULL, "case %zu: \"%s\" does not say \"%s\"", i,
                      member("cause"), cases[i].words);
        ck_assert_int_eq(fake.kills, 1);
        fixture_until(&f.told, 2); /* it is there again */
        ck_assert_str_eq(member("state"), "running");
        ck_assert_int_eq(fake.starts, 2);
        ck_assert_int_eq(f.owners_back, 1);
        end();
    }
}
END_TEST

START_TEST(test_silence)
{
    begin(ISOLATED("heartbeat = \"200ms\"; "));
    fixture_start();
    fixture_until(&f.told, 1); /* it never answers a ping */
    ck_assert_msg(strstr(member("cause"), "has not answered for 0.2") != NULL, "%s", member("cause"));
    end();
}
END_TEST

START_TEST(test_it_does_not_begin)
{
    begin(ISOLATED(""));
    fake.silent = true;
    struct kos_error error;
    fake.refuse = 1;
    ck_assert_int_eq(kos_hosting_load(f.hosting, f.policy, &error), KOS_E_BUSY);
    ck_assert_msg(strstr(error.text, "test.klp-policy:2: plugin probe cannot be started in a cell: not now") != NULL, "%s", error.text);
    end();
}
END_TEST

/* What waits for a transport in a cell: its endpoint listens again, a dial comes when it is back, or is given up. */
START_TEST(test_endpoints_and_dials_wait)
{
    begin(ISOLATED(""));
    fixture_start();
    struct kos_carrier *carrier = kos_hosting_carrier(f.hosting);
    ck_assert_int_eq(carrier->ops->listen(carrier, 11, "probe://here"), KOS_OK);
    struct kos_frame *up = kos_frame_new(KOS_UP_ENDPOINT_UP, 2, 0);
    kos_put_text(&up, "probe://here");
    put(up);
    fixture_until(&f.endpoint_ups, 1);
    fake.status = SIGSEGV;
    unknown_kind();
    fixture_until(&f.endpoint_downs, 1);
    ck_assert_int_eq(f.down_status, KOS_E_INTERRUPTED);
    ck_assert_msg(strstr(f.down_text, "plugin probe was cut off") != NULL, "%s", f.down_text);
    ck_assert_str_eq(member("state"), "restarting");
    ck_assert_int_eq(carrier->ops->dial(carrier, 12, "probe://there"), KOS_OK);
    ck_assert_int_eq(carrier->ops->dial(carrier, 13, "probe://nowhere"), KOS_OK);
    carrier->ops->close(carrier, 13, false);
    ck_assert_int_eq(f.link_downs, 0);
    fixture_until(&f.link_downs, 1);
    ck_assert_uint_eq(f.last_link, 13);
    fixture_until(&f.told, 2);
    up = kos_frame_new(KOS_UP_ENDPOINT_UP, 4, 0); /* the next even id: it was asked to listen again */
    kos_put_text(&up, "probe://here");
    put(up);
    fixture_until(&f.endpoint_ups, 2);
    end();
}
END_TEST

/* A cell's frame goes to its member unasked, whatever the plugin's rights: one that is not there would end kosd. */
START_TEST(test_services_are_whole)
{
    const void *members[sizeof kos_hosted_services / sizeof(void *)];
    memcpy(members, &kos_hosted_services, sizeof members);
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        ck_assert_msg(members[i] != NULL, "member %zu of kos_services_ops", i);
}
END_TEST

TESTS("host/cell", test_services_are_whole, test_hostile_cells, test_silence, test_it_does_not_begin,
      test_endpoints_and_dials_wait)
