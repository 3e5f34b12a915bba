/* SPDX-License-Identifier: Apache-2.0
 * Credit and classes, limits of the outbox and inbox, policy both ways, agents, names and node records, three nodes. */
#include "mesh/mesh_testing.h"
#include "unit.h"

#include <stdlib.h>

static struct net net;
static struct net_node *a, *b;

static void linked(void)
{
    a = net_add(&net, "laptop");
    b = net_add(&net, "home");
    net_trust(b, a, 8);
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
}

static void plain(void)
{
    net_init(&net);
    linked();
}

/* ---- classes and credit ---- */

START_TEST(big_beside_small)
{
    net_init(&net);
    net.window = 20000;
    linked();
    net.split = 4000;
    uint8_t small[KOS_ID_BYTES], big[KOS_ID_BYTES];
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 1000000, KLP_CLASS_BULK, big), KOS_OK);
    struct mesh_session *session = net_session(a, b);
    uint64_t before = session->out_sent[KLP_CLASS_BULK];
    while (session->out_sent[KLP_CLASS_BULK] < before + 200000)
        net_turn(&net);
    uint64_t carried = net.carried;
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 50, KLP_CLASS_INTERACTIVE, small), KOS_OK);
    while (!b->seen_count)
        net_turn(&net);
    ck_assert_mem_eq(b->seen[0].id, small, sizeof small);
    /* Behind what the carrier had taken, and no more than a record made meanwhile. */
    ck_assert_uint_lt(net.carried - carried, net.window + 4 * MESH_RECORD_BULK);
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 2);
    ck_assert_mem_eq(b->seen[1].id, big, sizeof big);
    ck_assert_uint_gt(b->seen[1].bytes, 1000000);
    net_fini(&net);
}
END_TEST

START_TEST(much_in_both_directions)
{
    net_init(&net);
    net.window = 5000;
    linked();
    net_trust(a, b, 8);
    for (int i = 0; i < 40; i++) {
        ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 150000, i % 3 ? KLP_CLASS_BULK : KLP_CLASS_INTERACTIVE, NULL),
                         KOS_OK);
        ck_assert_int_eq(net_send(b, a, "TASK_REQUEST", 100000, i % 3 ? KLP_CLASS_INTERACTIVE : KLP_CLASS_BULK, NULL),
                         KOS_OK);
    }
    uint64_t link = net_session(a, b)->link->id;
    net_settle(&net);
    ck_assert_uint_eq(a->seen_count, 40);
    ck_assert_uint_eq(b->seen_count, 40);
    ck_assert_uint_eq(a->ended_count, 40);
    ck_assert_uint_eq(b->ended_count, 40);
    ck_assert_uint_eq(net_session(a, b)->link->id, link); /* nobody broke the rules of credit */
    net_fini(&net);
}
END_TEST

START_TEST(too_large_a_message)
{
    struct kos_draft draft = { .type = "TASK_REQUEST", .target = "home" };
    plain();
    char *payload = kos_new(KLP_MESSAGE_MAX + 100);
    memset(payload, 'x', KLP_MESSAGE_MAX + 99);
    memcpy(payload, "{\"a\":\"", 6);
    payload[KLP_MESSAGE_MAX - 10] = '"';
    payload[KLP_MESSAGE_MAX - 9] = '}';
    draft.payload = kos_bytes(payload, KLP_MESSAGE_MAX - 8);
    ck_assert_int_eq(net_send_draft(a, &draft), KOS_E_LIMIT); /* with its envelope */
    draft.payload = kos_bytes(payload, KLP_MESSAGE_MAX - 4096);
    payload[KLP_MESSAGE_MAX - 4096 - 2] = '"';
    payload[KLP_MESSAGE_MAX - 4096 - 1] = '}';
    ck_assert_int_eq(net_send_draft(a, &draft), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 1);
    free(payload);
    net_fini(&net);
}
END_TEST

START_TEST(slow_receiver_slows_its_senders)
{
    net_init(&net);
    net.nodes[1].limits.inbox_open = 4;
    linked();
    b->keep_open = true;
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
    net_run(&net, 5000);
    ck_assert_uint_eq(b->seen_count, 4);
    ck_assert_uint_eq(a->ended_count, 4);
    ck_assert_uint_gt(net_refused(b, KOS_E_BUSY), 0);
    for (uint32_t i = 0; i < 20; i++) {
        ck_assert_uint_gt(b->seen_count, i);
        ck_assert_int_eq(net_settle_handle(b, b->seen[i].handle, KOS_ACCEPT, 0, 0), KOS_OK);
        net_run(&net, 70000);
    }
    ck_assert_uint_eq(b->seen_count, 20);
    ck_assert_uint_eq(a->ended_count, 20);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(a->ended[i].status, KOS_OK);
    net_fini(&net);
}
END_TEST

START_TEST(outbox_is_bounded)
{
    struct kos_draft draft = { .type = "TASK_REQUEST", .target = "home" };
    struct kos_error error = { 0 };
    net_init(&net);
    net.nodes[0].limits.outbox_per_target_bytes = 10000;
    linked();
    net_stop(b);
    int sent = 0;
    while (net_send(a, b, "TASK_REQUEST", 1000, KLP_CLASS_INTERACTIVE, NULL) == KOS_OK)
        sent++;
    ck_assert_int_ge(sent, 6);
    ck_assert_int_le(sent, 9);
    struct kos_mesh_tx *tx = kos_mesh_tx_begin(a->mesh);
    draft.size = sizeof draft;
    draft.klass = 1;
    draft.expires_in_ms = 1000;
    draft.id[0] = 1;
    char payload[1200] = "{\"x\":\"";
    memset(payload + 6, 'y', 1100);
    memcpy(payload + 1106, "\"}", 3);
    draft.payload = kos_bytes_str(payload);
    kos_mesh_tx_send(tx, "tester", &draft);
    ck_assert_int_eq(kos_mesh_tx_commit(tx, NULL, NULL, &error), KOS_E_BUSY);
    ck_assert_ptr_nonnull(strstr(error.text, "outbox_per_target_bytes"));
    net_start(b);
    net_run(&net, 10000);
    ck_assert_int_eq((int)b->seen_count, sent);
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 1000, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
    net_fini(&net);
}
END_TEST

/* ---- policy ---- */

START_TEST(stranger_is_told_what_would_allow_it)
{
    net_init(&net);
    a = net_add(&net, "laptop");
    b = net_add(&net, "home");
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 0);
    ck_assert_uint_eq(net_refused(b, KOS_E_TRUST), 1);
    ck_assert_uint_eq(a->ended_count, 1);
    ck_assert_int_eq(a->ended[0].status, KOS_E_TRUST);
    ck_assert_ptr_nonnull(strstr(a->ended[0].text, "kosctl trust klp://node."));
    ck_assert_ptr_null(strstr(a->ended[0].text, "policy.d"));
    net_fini(&net);
}
END_TEST

START_TEST(answers_to_ours_are_let_in)
{
    plain();
    uint8_t id[KOS_ID_BYTES];
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, id), KOS_OK);
    net_settle(&net);
    struct kos_draft answer = { .type = "TASK_RESULT", .target = "" };
    memcpy(answer.target_id, a->id.b, sizeof answer.target_id);
    ck_assert_int_eq(net_send_draft(b, &answer), KOS_OK); /* answers nothing: a does not know b's word */
    net_settle(&net);
    ck_assert_uint_eq(a->seen_count, 0);
    ck_assert_int_eq(b->ended[0].status, KOS_E_TRUST);
    memcpy(answer.reply_to, id, sizeof answer.reply_to);
    memset(answer.id, 0, sizeof answer.id);
    ck_assert_int_eq(net_send_draft(b, &answer), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(a->seen_count, 1);
    ck_assert_mem_eq(a->seen[0].reply_to, id, sizeof id);
    net_crash(a); /* and it is remembered */
    net_start(a);
    net_run(&net, 3000);
    memset(answer.id, 0, sizeof answer.id);
    ck_assert_int_eq(net_send_draft(b, &answer), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(a->seen_count, 2);
    net_fini(&net);
}
END_TEST

START_TEST(another_cannot_answer_for_it)
{
    plain();
    uint8_t id[KOS_ID_BYTES];
    struct net_node *c = net_add(&net, "third");
    ck_assert_int_eq(net_connect(c, a), KOS_OK);
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, id), KOS_OK);
    net_settle(&net);
    struct kos_draft answer = { .type = "TASK_RESULT", .target = "laptop" };
    memcpy(answer.reply_to, id, sizeof answer.reply_to);
    ck_assert_int_eq(net_send_draft(c, &answer), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(a->seen_count, 0);
    ck_assert_int_eq(c->ended[0].status, KOS_E_TRUST);
    net_fini(&net);
}
END_TEST

START_TEST(trust_required_by_the_sender)
{
    plain();
    struct kos_draft draft = { .type = "TASK_REQUEST", .target = "klp://node.home", .trust_required = 6 };
    ck_assert_int_eq(net_send_draft(a, &draft), KOS_E_TRUST);
    net_trust(a, b, 6);
    ck_assert_int_eq(net_send_draft(a, &draft), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 1);
    net_fini(&net);
}
END_TEST

START_TEST(outbound_policy_decides_at_commit)
{
    plain();
    net_policy(a, "messages = { outbound = { block = [ \"TASK_REQUEST\" ]; }; };");
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, NULL), KOS_E_DENIED);
    ck_assert_uint_eq(kos_store_count(a->store, "outbox"), 0);
    ck_assert_uint_eq(kos_store_count(a->store, "asked"), 0);
    net_fini(&net);
}
END_TEST

START_TEST(unhandled_and_rejected)
{
    plain();
    net_trust(a, b, 8);
    ck_assert_int_eq(net_send(a, b, "UNKNOWN", 10, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
    net_settle(&net);
    ck_assert_int_eq(a->ended[0].status, KOS_E_UNHANDLED);
    uint8_t id[KOS_ID_BYTES];
    b->verdict = KOS_REJECT;
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, id), KOS_OK);
    net_settle(&net);
    ck_assert_int_eq(a->ended[1].status, KOS_OK); /* it was stored; that it was refused comes as a message */
    ck_assert_uint_eq(a->seen_count, 1);
    ck_assert_str_eq(a->seen[0].type, "ERROR");
    ck_assert_mem_eq(a->seen[0].reply_to, id, sizeof id);
    ck_assert_uint_eq(kos_store_count(b->store, "inbox"), 0);
    /* No error answers an error. */
    a->verdict = KOS_REJECT;
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, id), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(a->seen_count, 2);
    ck_assert_uint_eq(b->seen_count, 2);
    net_fini(&net);
}
END_TEST

START_TEST(quota_is_waited_for)
{
    plain();
    net_policy(b, "limits = ( { peer = \"*\"; messages_per_minute = 3; } );");
    for (int i = 0; i < 9; i++)
        ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
    net_run(&net, 1000);
    ck_assert_uint_eq(b->seen_count, 3);
    ck_assert_uint_gt(net_refused(b, KOS_E_QUOTA), 0);
    net_run(&net, 500000);
    ck_assert_uint_eq(b->seen_count, 9);
    ck_assert_uint_eq(a->ended_count, 9);
    net_fini(&net);
}
END_TEST

/* ---- agents and names ---- */

START_TEST(agents_by_name_and_id)
{
    net_init(&net);
    a = net_add(&net, "laptop");
    b = net_add(&net, "home.kai");
    struct klp_id agent = net_agent(b, "echo", 0), node, found, none = { { 0 } };
    net_trust(b, a, 8);
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
    ck_assert_int_eq(kos_mesh_resolve(a->mesh, "klp://agent.echo.home.kai", &node, &found, NULL), KOS_OK);
    ck_assert(klp_id_eq(&node, &b->id));
    ck_assert(klp_id_eq(&found, &agent)); /* a's score at b lets it see the node record */
    ck_assert_int_eq(kos_mesh_resolve(a->mesh, "klp://agent.other.home.kai", &node, &found, NULL), KOS_OK);
    ck_assert(klp_id_eq(&found, &none));
    char text[128], id[KLP_ID_HEX];
    klp_id_hex(&agent, id);
    id[8] = 0;
    snprintf(text, sizeof text, "agent://echo.%s", id);
    ck_assert_int_eq(kos_mesh_resolve(a->mesh, text, &node, &found, NULL), KOS_OK);
    ck_assert(klp_id_eq(&found, &agent));
    struct kos_error error;
    ck_assert_int_eq(kos_mesh_resolve(a->mesh, "klp://agent.echo.away.kai", &node, &found, &error), KOS_E_NOTFOUND);
    ck_assert_ptr_nonnull(strstr(error.text, "away.kai"));
    struct kos_draft draft = { .type = "TASK_REQUEST", .target = "klp://agent.echo.home.kai" };
    ck_assert_int_eq(net_send_draft(a, &draft), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 1);
    ck_assert_mem_eq(b->seen[0].agent, agent.b, sizeof agent.b);
    /* What the agent asks for itself holds too. */
    b->agent_trust = 9;
    net_crash(b);
    net_start(b);
    net_run(&net, 3000);
    memset(draft.id, 0, sizeof draft.id);
    ck_assert_int_eq(net_send_draft(a, &draft), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 1);
    ck_assert_int_eq(a->ended[a->ended_count - 1].status, KOS_E_TRUST);
    net_fini(&net);
}
END_TEST

START_TEST(stranger_reaches_an_agent_by_name_only)
{
    net_init(&net);
    a = net_add(&net, "laptop");
    b = net_add(&net, "home.kai");
    struct klp_id agent = net_agent(b, "echo", 0), node, found, none = { { 0 } };
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
    ck_assert_int_eq(kos_mesh_resolve(a->mesh, "klp://agent.echo.home.kai", &node, &found, NULL), KOS_OK);
    ck_assert(klp_id_eq(&found, &none)); /* strangers get HELLO only */
    net_policy(b, "trust = { TASK_REQUEST = 0; };");
    struct kos_draft draft = { .type = "TASK_REQUEST", .target = "klp://agent.echo.home.kai" };
    ck_assert_int_eq(net_send_draft(a, &draft), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 1);
    ck_assert_mem_eq(b->seen[0].agent, agent.b, sizeof agent.b);
    net_trust(b, a, 5); /* now it is shown */
    ck_assert_int_eq(kos_mesh_resolve(a->mesh, "klp://agent.echo.home.kai", &node, &found, NULL), KOS_OK);
    ck_assert(klp_id_eq(&found, &agent));
    net_fini(&net);
}
END_TEST

START_TEST(an_agent_signs_and_its_log_goes_before)
{
    plain();
    struct klp_id agent = net_agent(a, "writer", 0);
    struct kos_draft draft = { .type = "TASK_REQUEST", .target = "klp://node.home" };
    memcpy(draft.from_agent, agent.b, sizeof draft.from_agent);
    for (int i = 0; i < 5; i++) {
        memset(draft.id, 0, sizeof draft.id);
        ck_assert_int_eq(net_send_draft(a, &draft), KOS_OK);
    }
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 5);
    ck_assert_mem_eq(b->seen[0].source_id, agent.b, sizeof agent.b);
    ck_assert_uint_eq(b->mesh->counters.refused[-KOS_E_UNKNOWN_ID], 0);
    /* An answer to the agent finds its way by id. */
    struct kos_draft answer = { .type = "TASK_RESULT", .target = "" };
    memcpy(answer.target_id, agent.b, sizeof answer.target_id);
    memcpy(answer.reply_to, b->seen[0].id, sizeof answer.reply_to);
    ck_assert_int_eq(net_send_draft(b, &answer), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(a->seen_count, 1);
    ck_assert_mem_eq(a->seen[0].agent, agent.b, sizeof agent.b);
    net_fini(&net);
}
END_TEST

START_TEST(log_that_did_not_come_is_sent_again)
{
    net_init(&net);
    net.nodes[1].limits.logs_per_peer_minute = 2;
    linked();
    struct klp_id agent = net_agent(a, "writer", 0);
    mesh_peer_find(b->mesh, &a->id)->logs = 2; /* this minute's are used up */
    mesh_peer_find(b->mesh, &a->id)->logs_window_ms = kos_mono_ms(b->env);
    struct kos_draft draft = { .type = "TASK_REQUEST", .target = "klp://node.home" };
    memcpy(draft.from_agent, agent.b, sizeof draft.from_agent);
    ck_assert_int_eq(net_send_draft(a, &draft), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 0);
    ck_assert_uint_eq(net_refused(b, KOS_E_UNKNOWN_ID), 1);
    net_run(&net, 130000);
    ck_assert_uint_eq(b->seen_count, 1);
    ck_assert_int_eq(a->ended[0].status, KOS_OK);
    net_fini(&net);
}
END_TEST

START_TEST(odd_texts_travel_safely)
{
    char out[16];
    mesh_text("gr\xc3\xbc\xc3\x9f", out, sizeof out);
    ck_assert_str_eq(out, "gr\xc3\xbc\xc3\x9f");
    mesh_text("a\xff\xc0\x80\xed\xa0\x80\x1b[1m\n", out, sizeof out);
    ck_assert_str_eq(out, "a??????"
                          "?[1m ");
    mesh_text("0123456789\xe2\x82\xac\xe2\x82\xac", out, sizeof out);
    ck_assert_str_eq(out, "0123456789\xe2\x82\xac");
    mesh_text("\xe2\x82", out, sizeof out);
    ck_assert_str_eq(out, "??");
}
END_TEST

START_TEST(a_way_by_the_node_record)
{
    struct kos_error error;
    plain();
    net_trust(a, b, 8);
    ck_assert_ptr_nonnull(mesh_record_find(a->mesh, &b->id));
    ck_assert_int_eq(kos_mesh_disconnect(a->mesh, &b->id, &error), KOS_OK);
    net_run(&net, 1000);
    ck_assert_ptr_null(net_session(a, b));
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
    net_run(&net, 1000);
    ck_assert_uint_eq(b->seen_count, 1);
    ck_assert_uint_eq(a->ended_count, 1);
    ck_assert_uint_eq(kos_store_count(a->store, "peer"), 0); /* not kept for that */
    /* And known after a restart. */
    net_crash(a);
    net_start(a);
    net_run(&net, 2000);
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
    net_run(&net, 2000);
    ck_assert_uint_eq(b->seen_count, 2);
    net_fini(&net);
}
END_TEST

START_TEST(three_nodes_and_all_of_them)
{
    plain();
    struct net_node *c = net_add(&net, "third");
    net_trust(c, a, 8);
    net_trust(c, b, 8);
    ck_assert_int_eq(net_connect(a, c), KOS_OK);
    ck_assert_int_eq(net_connect(b, c), KOS_OK);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(net_send(a, c, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
        ck_assert_int_eq(net_send(b, c, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
        ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_BULK, NULL), KOS_OK);
    }
    net_settle(&net);
    ck_assert_uint_eq(c->seen_count, 40);
    ck_assert_uint_eq(b->seen_count, 20);
    struct kos_mesh_tx *tx = kos_mesh_tx_begin(a->mesh);
    struct kos_draft all = { .size = sizeof all,
                             .klass = KLP_CLASS_BULK,
                             .type = "BROADCAST_ANNOUNCE",
                             .target = "*",
                             .payload = kos_bytes_str("{}"),
                             .expires_in_ms = 1000,
                             .id = { 1 } };
    kos_mesh_tx_send(tx, "tester", &all);
    ck_assert_uint_eq(kos_mesh_tx_fanned(tx), 2);
    ck_assert_int_eq(kos_mesh_tx_commit(tx, NULL, NULL, NULL), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(c->seen_count, 41);
    ck_assert_uint_eq(b->seen_count, 21);
    ck_assert_uint_eq(a->ended_count, 40); /* of those to all, nobody is told */
    net_fini(&net);
}
END_TEST

static uint32_t events;

static void watched(struct kos_watcher *watcher, const char *event, json_t *detail)
{
    (void)watcher;
    ck_assert(json_is_object(detail));
    events |= strcmp(event, "peer_up") == 0           ? 1
              : strcmp(event, "peer_down") == 0       ? 2
              : strcmp(event, "message_in") == 0      ? 4
              : strcmp(event, "message_out") == 0     ? 8
              : strcmp(event, "message_refused") == 0 ? 16
                                                      : 32;
}

START_TEST(what_a_person_may_know)
{
    struct kos_watcher one = { watched, NULL }, two = { watched, NULL };
    net_init(&net);
    a = net_add(&net, "laptop");
    b = net_add(&net, "home");
    kos_mesh_watch(a->mesh, &one);
    kos_mesh_watch(b->mesh, &two);
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
    net_trust(b, a, 8);
    net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, NULL);
    net_send(b, a, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, NULL);
    net_settle(&net);
    json_t *peers = kos_mesh_peers(b->mesh), *status = kos_mesh_status(b->mesh);
    ck_assert_uint_eq(json_array_size(peers), 1);
    json_t *peer = json_array_get(peers, 0);
    ck_assert_str_eq(json_string_value(json_object_get(peer, "state")), "connected");
    ck_assert_str_eq(json_string_value(json_object_get(peer, "name")), "laptop");
    ck_assert_uint_eq(json_array_size(json_object_get(peer, "sessions")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(status, "counters"), "messages_in")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(status, "sessions")), 1);
    json_decref(peers);
    json_decref(status);
    net_cut(&net);
    net_settle(&net);
    ck_assert_uint_eq(events, 31);
    kos_mesh_unwatch(a->mesh, &one);
    kos_mesh_unwatch(b->mesh, &two);
    net_fini(&net);
}
END_TEST

TESTS("mesh/flow", big_beside_small, much_in_both_directions, too_large_a_message, slow_receiver_slows_its_senders,
      outbox_is_bounded, stranger_is_told_what_would_allow_it, answers_to_ours_are_let_in, another_cannot_answer_for_it,
      trust_required_by_the_sender, outbound_policy_decides_at_commit, unhandled_and_rejected, quota_is_waited_for,
      agents_by_name_and_id, stranger_reaches_an_agent_by_name_only, an_agent_signs_and_its_log_goes_before,
      log_that_did_not_come_is_sent_again, odd_texts_travel_safely, a_way_by_the_node_record,
      three_nodes_and_all_of_them, what_a_person_may_know)
