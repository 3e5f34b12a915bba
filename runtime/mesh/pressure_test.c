/* SPDX-License-Identifier: Apache-2.0
 * Back-pressure in the mesh: one peer or one type of message takes no more than its share, whatever it sends, and the
 * others' messages go on. What waits is bounded, who must wait is told. */
#include "mesh/mesh_testing.h"
#include "unit.h"

#include <stdlib.h>

static struct net net;
static struct net_node *home, *flooder, *other;

static void three(void)
{
    home = net_add(&net, "home");
    flooder = net_add(&net, "flooder");
    other = net_add(&net, "other");
    net_trust(home, flooder, 8);
    net_trust(home, other, 8);
    ck_assert_int_eq(net_connect(flooder, home), KOS_OK);
    ck_assert_int_eq(net_connect(other, home), KOS_OK);
}

static void plain(void)
{
    net_init(&net);
    three();
}

static void send_many(struct net_node *from, const char *type, int count, size_t bytes)
{
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(net_send(from, home, type, bytes, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
}

static uint32_t seen_of(const struct net_node *from, uint32_t first)
{
    uint32_t count = 0;
    for (uint32_t i = first; i < home->seen_count; i++)
        count += memcmp(home->seen[i].source_id, from->id.b, KOS_ID_BYTES) == 0;
    return count;
}

/* ---- workers ---- */

/* Messages that come one by one, each with a signature of its own: what a flood looks like to the workers. */
static void send_singly(struct net_node *from, int count)
{
    static uint8_t item[4096];
    struct mesh_session *session = net_session(from, home);
    for (int i = 0; i < count; i++) {
        struct klp_message message = { .type = "TASK_REQUEST",
                                       .source = kos_bytes_str("klp://node.flooder"),
                                       .target = kos_bytes_str("klp://node.home"),
                                       .source_id = from->id,
                                       .target_id = home->id,
                                       .payload = { KLP_JSON_OBJECT, kos_bytes_str("{}") } };
        size_t len;
        message.created = kos_now_ms(from->env);
        message.expires = message.created + 60000;
        kos_random(from->env, message.id.b, sizeof message.id.b);
        ck_assert_int_eq(klp_message_make(&message, item + 66, sizeof item - 66, &len, NULL), KOS_OK);
        item[1] = KLP_SIGNATURE_LEN;
        ck_assert_int_eq(klp_sign(kos_identity_secret(kos_keys_node(from->keys)), KLP_TAG_MESSAGE,
                                  kos_bytes(item + 66, len), item + 2),
                         KOS_OK);
        mesh_session_queue_copy(session, KLP_FRAME_MESSAGE, KLP_CLASS_INTERACTIVE, kos_bytes(item, 66 + len));
    }
}

static uint32_t most_jobs, most_todo;

static void look_at_jobs(const struct mesh_session *session)
{
    const struct mesh_job *job;
    uint32_t todo = 0;
    DL_FOREACH(session->todo, job)
        todo++;
    most_jobs = session->job_count > most_jobs ? session->job_count : most_jobs;
    most_todo = todo > most_todo ? todo : most_todo;
}

START_TEST(workers_are_shared)
{
    plain();
    most_jobs = most_todo = 0;
    send_singly(flooder, 600);
    while (home->seen_count < 600) {
        net_turn(&net);
        look_at_jobs(net_session(home, flooder));
    }
    ck_assert_uint_eq(most_jobs, MESH_JOBS);
    ck_assert_uint_gt(most_todo, 100);
    ck_assert_uint_eq(net_session(home, flooder)->job_count, 0);
    ck_assert_uint_eq(net_session(home, flooder)->job_bytes, 0);
    net_fini(&net);
}
END_TEST

START_TEST(what_waits_for_workers_goes_with_its_session)
{
    plain();
    send_singly(flooder, 600);
    while (!net_session(home, flooder)->todo)
        net_turn(&net);
    net_cut(&net);
    net_settle(&net);
    ck_assert_int_eq(net_connect(other, home), KOS_OK);
    send_many(other, "TASK_REQUEST", 1, 10);
    net_settle(&net);
    ck_assert_uint_eq(seen_of(other, 0), 1);
    net_fini(&net);
}
END_TEST

/* Receipts that nobody gave: their bytes are the sender's to spend again only when each was looked at. */
START_TEST(receipts_are_paid_for_when_verified)
{
    static uint8_t item[2048];
    plain();
    struct mesh_session *session = net_session(flooder, home);
    struct klp_receipt receipt = { .error = KOS_OK };
    size_t len;
    ck_assert_int_eq(klp_receipts_make(&flooder->id, 0, kos_now_ms(flooder->env), &receipt, 1, item + 64,
                                       sizeof item - 64, &len),
                     KOS_OK);
    most_jobs = most_todo = 0;
    for (int i = 0; i < 400; i++)
        mesh_session_queue_copy(session, KLP_FRAME_RECEIPTS, KLP_CLASS_CONTROL, kos_bytes(item, 64 + len));
    uint64_t most = 0;
    while (home->mesh->counters.receipts_bad < 400) {
        net_turn(&net);
        const struct mesh_session *to = net_session(home, flooder);
        ck_assert_ptr_nonnull(to);
        look_at_jobs(to);
        uint64_t held = to->in_total[KLP_CLASS_CONTROL] - to->in_consumed[KLP_CLASS_CONTROL];
        most = held > most ? held : most;
    }
    ck_assert_uint_eq(most_jobs, MESH_JOBS);
    ck_assert_uint_gt(most, 20 * len);
    net_settle(&net);
    ck_assert_uint_eq(net_session(home, flooder)->in_total[KLP_CLASS_CONTROL],
                      net_session(home, flooder)->in_consumed[KLP_CLASS_CONTROL]);
    net_fini(&net);
}
END_TEST

/* ---- handlers ---- */

START_TEST(a_type_that_hangs_holds_back_no_other)
{
    plain();
    home->keep_open = true; /* nothing is settled from now on */
    send_many(flooder, "SLOW", 500, 10);
    net_run(&net, 2000);
    ck_assert_uint_eq(home->seen_count, 16);
    send_many(other, "QUICK", 1, 10);
    net_run(&net, 2000);
    ck_assert_uint_eq(home->seen_count, 17);
    ck_assert_str_eq(home->seen[16].type, "QUICK");
    ck_assert_uint_eq(other->ended_count, 1);
    json_t *status = kos_mesh_status(home->mesh);
    const json_t *slow = json_object_get(json_object_get(json_object_get(status, "inbox"), "types"), "SLOW");
    ck_assert_int_eq(json_integer_value(json_object_get(slow, "waiting")), 500 - 16);
    ck_assert_int_eq(json_integer_value(json_object_get(slow, "offered")), 16);
    json_decref(status);
    net_fini(&net);
}
END_TEST

static void settle_next(uint32_t *at, uint64_t after_ms)
{
    net_run(&net, after_ms);
    ck_assert_uint_gt(home->seen_count, *at);
    ck_assert_int_eq(net_settle_handle(home, home->seen[(*at)++].handle, KOS_ACCEPT, 0, 0), KOS_OK);
    net_settle(&net);
}

/* A handler that takes 200 ms for each: the window closes, and peers take turns in it. */
START_TEST(peers_take_turns_at_a_slow_handler)
{
    uint32_t at = 0;
    plain();
    home->keep_open = true;
    send_many(flooder, "SLOW", 400, 10);
    net_settle(&net);
    while (at < 120)
        settle_next(&at, 200);
    struct mesh_lane *lane = mesh_lane_get(home->mesh, "SLOW");
    ck_assert_uint_le(lane->window, 8);
    ck_assert_uint_le(lane->offered, 8);
    send_many(other, "SLOW", 3, 10);
    net_settle(&net);
    uint32_t first = at;
    while (seen_of(other, first) < 3)
        settle_next(&at, 200);
    /* Behind what the handler has, then each second one. */
    ck_assert_uint_le(at - first, 8 + 2 * 3);
    /* Quick again: it opens. */
    while (home->seen_count < 403)
        settle_next(&at, 0);
    ck_assert_uint_gt(lane->window, 32);
    net_fini(&net);
}
END_TEST

START_TEST(large_ones_are_given_few_at_a_time)
{
    plain();
    home->keep_open = true;
    for (int i = 0; i < 30; i++) {
        ck_assert_int_eq(net_send(flooder, home, "SLOW", 1000000, KLP_CLASS_BULK, NULL), KOS_OK);
        net_settle(&net);
    }
    ck_assert_uint_eq(home->seen_count, MESH_OFFER_BYTES / 1000000);
    ck_assert_uint_le(home->mesh->kept_bytes, MESH_OPEN_KEPT);
    for (uint32_t at = 0; at < 30;)
        settle_next(&at, 0);
    ck_assert_uint_eq(home->mesh->stored_bytes, 0);
    ck_assert_uint_eq(home->mesh->kept_bytes, 0);
    net_fini(&net);
}
END_TEST

/* ---- what waits for handlers ---- */

START_TEST(the_inbox_has_room_for_who_comes_next)
{
    net_init(&net);
    net.nodes[0].limits.inbox_bytes = 4 << 20;
    three();
    home->keep_open = true;
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(net_send(flooder, home, "SLOW", 200000, KLP_CLASS_BULK, NULL), KOS_OK);
    net_run(&net, 3000);
    ck_assert_uint_gt(net_refused(home, KOS_E_BUSY), 0);
    struct mesh_peer *peer = mesh_peer_find(home->mesh, &flooder->id);
    ck_assert_uint_le(peer->stored_bytes, 2 << 20);
    ck_assert_uint_gt(peer->stored_bytes, 1 << 20);
    uint64_t refused = net_refused(home, KOS_E_BUSY);
    ck_assert_int_eq(net_send(other, home, "SLOW", 500000, KLP_CLASS_BULK, NULL), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(net_refused(home, KOS_E_BUSY), refused);
    ck_assert_uint_eq(other->ended_count, 1);
    /* And after a restart the same is known. */
    uint64_t bytes = home->mesh->stored_bytes;
    net_stop(home);
    home->seen_count = 0;
    net_start(home);
    net_settle(&net);
    ck_assert_uint_eq(home->mesh->stored_bytes, bytes);
    net_fini(&net);
}
END_TEST

/* ---- what waits to be sent, and what must be remembered ---- */

START_TEST(targets_that_take_nothing_leave_room_for_others)
{
    net_init(&net);
    net.nodes[0].limits.outbox_bytes = 1 << 20;
    net.nodes[0].limits.outbox_per_target_bytes = 1 << 20;
    three();
    net_trust(flooder, home, 8);
    net_trust(other, home, 8);
    net_stop(flooder);
    net_run(&net, 1000);
    int sent = 0;
    while (net_send(home, flooder, "TASK_REQUEST", 10000, KLP_CLASS_INTERACTIVE, NULL) == KOS_OK)
        sent++;
    ck_assert_int_ge(sent, 48);
    ck_assert_int_le(sent, 53); /* half of it */
    ck_assert_int_eq(net_send(home, other, "TASK_REQUEST", 100000, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(other->seen_count, 1);
    net_fini(&net);
}
END_TEST

/* 2500 within a second, each good for five: with a thousand forgotten a second, what is remembered would only grow. */
START_TEST(as_much_is_forgotten_as_came)
{
    plain();
    for (int i = 0; i < 2500; i++) {
        struct kos_draft draft = { .type = "TASK_REQUEST", .target = "home", .expires_in_ms = 5000 };
        memcpy(draft.target_id, home->id.b, sizeof draft.target_id);
        draft.payload = kos_bytes_str("{}");
        ck_assert_int_eq(net_send_draft(flooder, &draft), KOS_OK);
        if (i % 500 == 499) {
            net_settle(&net);
            home->seen_count = flooder->ended_count = 0;
        }
    }
    struct mesh_peer *peer = mesh_peer_find(home->mesh, &flooder->id), *asked = mesh_peer_find(flooder->mesh, &home->id);
    ck_assert_uint_eq(peer->dedupe, 2500);
    ck_assert_uint_eq(asked->asked, 2500);
    while (peer->dedupe == 2500)
        net_run(&net, 100);
    net_run(&net, 1100);
    ck_assert_uint_eq(peer->dedupe, 0);
    ck_assert_uint_eq(asked->asked, 0);
    ck_assert_uint_eq(kos_store_count(home->store, "expiry"), 0);
    ck_assert_uint_eq(kos_store_count(flooder->store, "asked"), 0);
    net_fini(&net);
}
END_TEST

START_TEST(sessions_of_a_peer_are_few)
{
    plain();
    struct mesh_peer *peer = mesh_peer_find(home->mesh, &flooder->id);
    for (int i = 0; i < 20; i++) {
        char address[] = "mem://home";
        struct mesh_keep *keep = mesh_keep_new(flooder->mesh, address);
        mesh_keep_dial(keep);
        net_settle(&net);
    }
    struct mesh_session *session;
    uint32_t count = 0;
    DL_FOREACH(peer->sessions, session)
        count++;
    ck_assert_uint_ge(count, 1);
    ck_assert_uint_le(count, MESH_SESSIONS_MAX);
    send_many(flooder, "TASK_REQUEST", 1, 10);
    net_settle(&net);
    ck_assert_uint_eq(home->seen_count, 1);
    net_fini(&net);
}
END_TEST

TESTS("mesh/pressure", workers_are_shared, what_waits_for_workers_goes_with_its_session,
      receipts_are_paid_for_when_verified, a_type_that_hangs_holds_back_no_other, peers_take_turns_at_a_slow_handler,
      large_ones_are_given_few_at_a_time, the_inbox_has_room_for_who_comes_next,
      targets_that_take_nothing_leave_room_for_others, as_much_is_forgotten_as_came, sessions_of_a_peer_are_few)
