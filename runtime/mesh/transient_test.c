/* SPDX-License-Identifier: Apache-2.0
 * Transient messages: at most once, nothing on disk, bounded by credit, and counted when they are lost. */
#include "unit.h"

#include "mesh/mesh_testing.h"

static struct net net;
static struct net_node *home, *laptop;

static void linked(void)
{
    net_init(&net);
    home = net_add(&net, "home");
    laptop = net_add(&net, "laptop");
    net_trust(home, laptop, 8);
    net_trust(laptop, home, 8);
    ck_assert_int_eq(net_connect(laptop, home), KOS_OK);
}

static int32_t send_to(struct net_node *from, const struct net_node *to, struct kos_draft draft)
{
    draft.target = "";
    draft.type = draft.type ? draft.type : "PING";
    draft.delivery = KOS_TRANSIENT;
    memcpy(draft.target_id, to->id.b, sizeof draft.target_id);
    return net_send_draft(from, &draft);
}

static int32_t ping(size_t bytes)
{
    static char payload[65536];
    snprintf(payload, sizeof payload, "{\"fill\":\"%0*d\"}", (int)bytes, 0);
    return send_to(laptop, home, (struct kos_draft){ .payload = kos_bytes_str(payload) });
}

static uint64_t on_disk(const struct net_node *node)
{
    static const char *const spaces[] = { "outbox", "handed", "ended", "asked", "inbox", "dedupe", "expiry" };
    uint64_t all = 0;
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        all += kos_store_count(node->store, spaces[i]);
    return all;
}

START_TEST(they_come_in_order_and_leave_nothing)
{
    struct kos_mesh_tx *tx;
    linked();
    ck_assert_int_eq(ping(10), KOS_OK); /* alone: signed plainly */
    net_settle(&net);
    ck_assert_uint_eq(home->seen_count, 1);
    tx = kos_mesh_tx_begin(laptop->mesh);
    for (uint8_t i = 0; i < 40; i++) {
        struct kos_draft draft = { .size = sizeof draft, .klass = KLP_CLASS_BULK, .type = "PING", .target = "", .id = { 9, i },
                                   .payload = kos_bytes_str("{}"), .expires_in_ms = 1000, .delivery = KOS_TRANSIENT };
        memcpy(draft.target_id, home->id.b, sizeof draft.target_id);
        kos_mesh_tx_send(tx, "tester", &draft);
    }
    ck_assert_int_eq(kos_mesh_tx_commit(tx, NULL, NULL, NULL), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(home->seen_count, 41);
    for (uint8_t i = 0; i < 40; i++)
        ck_assert_uint_eq(home->seen[1 + i].id[1], i);
    ck_assert_uint_eq(home->mesh->counters.transient_in, 41);
    ck_assert_uint_eq(home->mesh->counters.batches_in, 1);
    ck_assert_uint_eq(home->mesh->counters.handled, 41);
    ck_assert_uint_eq(laptop->mesh->counters.transient_out, 41);
    ck_assert_uint_eq(laptop->ended_count, 0); /* no outcomes */
    ck_assert_uint_eq(on_disk(home) + on_disk(laptop), 0);
    ck_assert_uint_eq(HASH_COUNT(home->mesh->open), 0);
    ck_assert_uint_eq(laptop->mesh->outbox_bytes, 0);
    net_fini(&net);
}
END_TEST

/* One that is not let out takes the whole transaction back. */
START_TEST(all_or_nothing)
{
    linked();
    struct kos_mesh_tx *tx = kos_mesh_tx_begin(laptop->mesh);
    struct kos_error error;
    struct kos_draft draft = { .size = sizeof draft, .klass = KLP_CLASS_INTERACTIVE, .type = "PING", .target = "", .id = { 1 },
                               .payload = kos_bytes_str("{}"), .expires_in_ms = 1000, .delivery = KOS_TRANSIENT };
    memcpy(draft.target_id, home->id.b, sizeof draft.target_id);
    kos_mesh_tx_send(tx, "tester", &draft);
    draft.payload = kos_bytes_str("{ }");
    kos_mesh_tx_send(tx, "tester", &draft);
    ck_assert_int_eq(kos_mesh_tx_commit(tx, NULL, NULL, &error), KOS_E_CANONICAL);
    ck_assert_ptr_nonnull(strstr(error.text, "the payload is not canonical JSON: byte 1"));
    net_settle(&net);
    ck_assert_uint_eq(home->seen_count, 0);
    ck_assert_int_eq(send_to(laptop, home, (struct kos_draft){ .delivery = 2 }), KOS_OK); /* send_to sets it */
    draft.delivery = 2;
    ck_assert_int_eq(net_send_draft(laptop, &draft), KOS_E_INVALID);
    net_fini(&net);
}
END_TEST

START_TEST(no_session_no_message)
{
    linked();
    net_cut(&net);
    net_settle(&net);
    ck_assert_int_eq(ping(10), KOS_E_UNREACHABLE);
    net_run(&net, 5000); /* the session comes back: they do not */
    ck_assert_ptr_nonnull(net_session(laptop, home));
    ck_assert_uint_eq(home->seen_count, 0);
    ck_assert_int_eq(ping(10), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(home->seen_count, 1);
    net_fini(&net);
}
END_TEST

START_TEST(what_goes_with_a_session_is_counted)
{
    linked();
    net.hold = true;
    for (int i = 0; i < 3000; i++)
        ck_assert_int_eq(ping(1000), KOS_OK);
    net_run(&net, 10);
    net_cut(&net);
    net.hold = false;
    net_settle(&net);
    uint64_t lost = laptop->mesh->counters.transient_lost;
    ck_assert_uint_gt(lost, 2000); /* some had left for the network */
    ck_assert_uint_eq(laptop->mesh->outbox_bytes, 0);
    net_run(&net, 5000);
    ck_assert_uint_eq(home->seen_count, 0);
    net_fini(&net);
}
END_TEST

/* A handler that holds what it has: the sender stops within the credit, and is told. */
START_TEST(a_slow_handler_slows_its_sender)
{
    uint64_t taken = 0;
    net_init(&net);
    net.nodes[1].limits.outbox_bytes = 4 << 20;
    home = net_add(&net, "home");
    laptop = net_add(&net, "laptop");
    net_trust(home, laptop, 8);
    ck_assert_int_eq(net_connect(laptop, home), KOS_OK);
    home->keep_open = true;
    int32_t rc;
    while ((rc = ping(5000)) == KOS_OK) {
        taken++;
        net_settle(&net);
    }
    ck_assert_int_eq(rc, KOS_E_BUSY);
    ck_assert_uint_lt(taken, (8 << 20) / 5000 + 10);
    ck_assert_uint_le(home->mesh->counters.transient_in, (2 << 20) / 5000);
    /* What is durable and of another class goes on. */
    ck_assert_int_eq(net_send(laptop, home, "OTHER", 10, KLP_CLASS_BULK, NULL), KOS_OK);
    net_settle(&net);
    ck_assert_str_eq(home->seen[home->seen_count - 1].type, "OTHER");
    for (uint32_t at = 0; at < home->seen_count; at++) {
        ck_assert_int_eq(net_settle_handle(home, home->seen[at].handle, KOS_ACCEPT, 0, 0), KOS_OK);
        net_settle(&net);
    }
    ck_assert_uint_eq(home->seen_count, taken + 1);
    ck_assert_uint_eq(laptop->mesh->outbox_bytes, 0);
    ck_assert_int_eq(ping(10), KOS_OK);
    net_fini(&net);
}
END_TEST

static void is_through(void *arg, int32_t status)
{
    *(int32_t *)arg = status;
}

/* What is durable may wait for days: a commit of transient ones does not wait with it. */
START_TEST(a_commit_waits_for_transient_ones_only)
{
    int32_t through = 1;
    linked();
    home->keep_open = true;
    ck_assert_int_eq(net_send(laptop, home, "OTHER", 900000, KLP_CLASS_BULK, NULL), KOS_OK);
    net.hold = true;
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(net_send(laptop, home, "OTHER", 900000, KLP_CLASS_BULK, NULL), KOS_OK);
    struct kos_mesh_tx *tx = kos_mesh_tx_begin(laptop->mesh);
    struct kos_draft draft = { .size = sizeof draft, .klass = KLP_CLASS_INTERACTIVE, .type = "PING", .target = "", .id = { 1 },
                               .payload = kos_bytes_str("{}"), .expires_in_ms = 60000, .delivery = KOS_TRANSIENT };
    memcpy(draft.target_id, home->id.b, sizeof draft.target_id);
    kos_mesh_tx_send(tx, "tester", &draft);
    ck_assert_int_eq(kos_mesh_tx_commit(tx, is_through, &through, NULL), KOS_OK);
    net_run(&net, 1000);
    ck_assert_uint_gt(laptop->mesh->outbox_bytes, MESH_QUEUE_ROOM);
    ck_assert_int_eq(through, KOS_OK);
    net_fini(&net);
}
END_TEST

START_TEST(what_expires_is_not_sent)
{
    linked();
    home->keep_open = true;
    for (int i = 0; i < 3000; i++) { /* fills the credit */
        ck_assert_int_eq(ping(1000), KOS_OK);
        net_settle(&net);
    }
    ck_assert_int_eq(send_to(laptop, home, (struct kos_draft){ .type = "LATE", .expires_in_ms = 500 }), KOS_OK);
    ck_assert_int_eq(send_to(laptop, home, (struct kos_draft){ .type = "AFTER", .expires_in_ms = 3600000 }), KOS_OK);
    net_run(&net, 1000);
    home->keep_open = false;
    for (uint32_t at = 0; at < home->seen_count; at++)
        net_settle_handle(home, home->seen[at].handle, KOS_ACCEPT, 0, 0), net_settle(&net);
    ck_assert_str_eq(home->seen[home->seen_count - 1].type, "AFTER");
    ck_assert_uint_eq(home->seen_count, 3001);
    ck_assert_uint_eq(laptop->mesh->counters.transient_lost, 1);
    net_fini(&net);
}
END_TEST

START_TEST(deferred_they_come_again_else_never)
{
    linked();
    home->keep_open = true;
    ck_assert_int_eq(ping(10), KOS_OK);
    net_settle(&net);
    uint64_t handle = home->seen[0].handle;
    ck_assert_int_eq(home->seen[0].again, 0);
    ck_assert_int_eq(net_settle_handle(home, handle, KOS_DEFER, 0, 1000), KOS_OK);
    net_run(&net, 2000);
    ck_assert_uint_eq(home->seen_count, 2);
    ck_assert_int_eq(home->seen[1].again, 1);
    /* Twice in one transaction, or in two that are open: no. */
    struct kos_mesh_tx *one = kos_mesh_tx_begin(home->mesh), *two = kos_mesh_tx_begin(home->mesh);
    kos_mesh_tx_settle(one, handle, KOS_ACCEPT, 0, "", 0);
    kos_mesh_tx_settle(two, handle, KOS_ACCEPT, 0, "", 0);
    ck_assert_int_eq(kos_mesh_tx_commit(two, NULL, NULL, NULL), KOS_E_STATE);
    kos_mesh_tx_abort(one);
    /* Its handler is away: what it was given does not come again. */
    kos_mesh_owner_back(home->mesh, "tester");
    net_settle(&net);
    ck_assert_uint_eq(home->seen_count, 2);
    ck_assert_uint_eq(home->mesh->counters.transient_lost, 1);
    ck_assert_uint_eq(HASH_COUNT(home->mesh->open), 0);
    ck_assert_int_eq(net_settle_handle(home, handle, KOS_ACCEPT, 0, 0), KOS_E_STATE);
    net_fini(&net);
}
END_TEST

START_TEST(refused_ones_are_told)
{
    linked();
    net_trust(home, laptop, 0);
    ck_assert_int_eq(ping(10), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(home->seen_count, 0);
    ck_assert_uint_eq(net_refused(home, KOS_E_TRUST), 1);
    ck_assert_uint_eq(laptop->mesh->counters.receipts_in, 1);
    ck_assert_uint_eq(laptop->mesh->counters.transient_refused, 1);
    net_fini(&net);
}
END_TEST

/* An answer to a transient message is let in as any answer is. */
START_TEST(answers_are_let_in)
{
    linked();
    home->keep_open = true;
    net_trust(laptop, home, 0);
    ck_assert_int_eq(ping(10), KOS_OK);
    net_settle(&net);
    struct kos_draft answer = { .type = "PONG" };
    ck_assert_int_eq(send_to(home, laptop, answer), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(laptop->seen_count, 0);
    memcpy(answer.reply_to, home->seen[0].id, sizeof answer.reply_to);
    ck_assert_int_eq(send_to(home, laptop, answer), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(laptop->seen_count, 1);
    net_fini(&net);
}
END_TEST

START_TEST(agents_and_ourselves)
{
    linked();
    struct klp_id agent = net_agent(laptop, "genie", 0);
    struct kos_draft draft = { .type = "PING" };
    memcpy(draft.from_agent, agent.b, sizeof draft.from_agent);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(send_to(laptop, home, draft), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(home->seen_count, 5);
    ck_assert_mem_eq(home->seen[4].source_id, agent.b, sizeof agent.b);
    laptop->keep_open = true;
    for (int i = 0; i < 3000; i++) {
        ck_assert_int_eq(send_to(laptop, laptop, (struct kos_draft){ .type = "SELF" }), KOS_OK);
        net_settle(&net);
    }
    ck_assert_uint_le(laptop->mesh->local_bytes, MESH_LOCAL_BYTES + 4096);
    for (uint32_t at = 0; at < laptop->seen_count; at++)
        net_settle_handle(laptop, laptop->seen[at].handle, KOS_ACCEPT, 0, 0), net_settle(&net);
    ck_assert_uint_eq(laptop->seen_count, 3000);
    ck_assert_uint_eq(laptop->mesh->local_bytes, 0);
    net_fini(&net);
}
END_TEST

START_TEST(over_datagrams)
{
    net_init(&net);
    net.air = net_lossy;
    home = net_add(&net, "home");
    laptop = net_add(&net, "laptop");
    net_trust(home, laptop, 8);
    net_connect_kept(laptop, home);
    net_run(&net, 30000);
    for (int i = 0; i < 200; i++)
        ck_assert_int_eq(ping(300), KOS_OK);
    net_run(&net, 60000);
    ck_assert_uint_eq(home->seen_count, 200);
    net_fini(&net);
}
END_TEST

TESTS("mesh/transient", they_come_in_order_and_leave_nothing, all_or_nothing, no_session_no_message,
      what_goes_with_a_session_is_counted, a_slow_handler_slows_its_sender,
      a_commit_waits_for_transient_ones_only, what_expires_is_not_sent,
      deferred_they_come_again_else_never, refused_ones_are_told, answers_are_let_in, agents_and_ourselves, over_datagrams)
