/* SPDX-License-Identifier: Apache-2.0
 * Who gets a session and who does not, over links of every manner. */
#include "mesh/mesh_testing.h"
#include "unit.h"

#include <stdlib.h>

static struct net net;

static void two(struct net_node **ret_a, struct net_node **ret_b)
{
    net_init(&net);
    *ret_a = net_add(&net, "laptop");
    *ret_b = net_add(&net, "home");
}

/* A link on whose other end the test speaks. */
static uint64_t raw_link(struct net_node *to, const char *remote)
{
    net.raw_links = true;
    struct kos_link_info info = { .size = sizeof info,
                                  .flags = KOS_LINK_STREAM | KOS_LINK_RELIABLE | KOS_LINK_ORDERED,
                                  .send_window_bytes = 1 << 20,
                                  .local = to->address,
                                  .remote = remote };
    return kos_mesh_link_accepted(to->mesh, to->endpoint, &info);
}

/* What the initiator sends before it hears that nobody answers: its log, in one record. */
static size_t log_bytes(struct net_node *node)
{
    uint8_t *text;
    size_t len;
    ck_assert_int_eq(klp_log_text(kos_identity_log(kos_keys_node(node->keys)), 0, &text, &len), KOS_OK);
    free(text);
    return len + KLP_FRAME_HEADER + KLP_RECORD_OVERHEAD;
}

static bool alive(struct net_node *node, uint64_t link)
{
    struct mesh_link *found = mesh_link_find(node->mesh, link);
    return found && !found->closing;
}

START_TEST(xx_then_ik)
{
    struct net_node *a, *b;
    two(&a, &b);
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
    ck_assert_int_eq(net_session(a, b)->pattern, KLP_NOISE_XX);
    net_cut(&net);
    net_settle(&net);
    ck_assert_ptr_null(net_session(a, b));
    ck_assert_ptr_null(net_session(b, a));
    net_run(&net, 2000);
    ck_assert_ptr_nonnull(net_session(a, b));
    ck_assert_int_eq(net_session(a, b)->pattern, KLP_NOISE_IK);
    ck_assert_int_eq(net_session(b, a)->pattern, KLP_NOISE_IK);
    net_fini(&net);
}
END_TEST

/* Discovery tells of a node: it is connected to as long as that is said, and by nobody else's word. */
START_TEST(found_nodes_are_connected_to)
{
    struct net_node *a, *b;
    char address[64];
    two(&a, &b);
    snprintf(address, sizeof address, "mem://%s", b->name);
    const char *const addresses[] = { "mem://nobody", address, NULL };
    kos_mesh_found(a->mesh, &b->mesh->self, kos_bytes(NULL, 0), addresses, 60000);
    net_run(&net, 5000);
    ck_assert_ptr_nonnull(net_session(a, b));
    /* It comes back after a cut while it is said, and not after. */
    net_cut(&net);
    net_run(&net, 5000);
    ck_assert_ptr_nonnull(net_session(a, b));
    kos_mesh_lost(a->mesh, &b->mesh->self);
    net_cut(&net);
    net_run(&net, 70000);
    ck_assert_ptr_null(net_session(a, b));
    ck_assert_ptr_null(a->mesh->keeps);
    /* Another identity than the one told of is not taken for it. */
    struct klp_id other = b->mesh->self;
    other.b[0] ^= 1;
    kos_mesh_found(a->mesh, &other, kos_bytes(NULL, 0), addresses + 1, 3000);
    net_run(&net, 10000);
    ck_assert_ptr_null(net_session(a, b));
    /* Nor nonsense, nor this node itself. */
    const char *const nonsense[] = { "no address", NULL }, *const none[] = { NULL };
    kos_mesh_found(a->mesh, NULL, kos_bytes(NULL, 0), nonsense, 60000);
    kos_mesh_found(a->mesh, NULL, kos_bytes_str("{}"), none, 60000);
    kos_mesh_found(a->mesh, &a->mesh->self, kos_bytes(NULL, 0), addresses, 60000);
    ck_assert_ptr_null(a->mesh->keeps);
    /* An address without an id: whoever answers. */
    kos_mesh_found(a->mesh, NULL, kos_bytes(NULL, 0), addresses + 1, 60000);
    net_run(&net, 1000);
    ck_assert_ptr_nonnull(net_session(a, b));
    net_fini(&net);
}
END_TEST

START_TEST(ik_after_restart_of_either_side)
{
    struct net_node *a, *b;
    two(&a, &b);
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
    net_stop(a);
    net_start(a);
    net_run(&net, 1000);
    ck_assert_ptr_nonnull(net_session(a, b));
    ck_assert_int_eq(net_session(a, b)->pattern, KLP_NOISE_IK);
    net_crash(b);
    net_run(&net, 1000);
    net_start(b);
    net_run(&net, 10000);
    ck_assert_ptr_nonnull(net_session(a, b));
    ck_assert_ptr_nonnull(net_session(b, a));
    net_fini(&net);
}
END_TEST

START_TEST(ik_refused_falls_back_to_xx)
{
    struct net_node *a, *b;
    two(&a, &b);
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
    mesh_peer_find(a->mesh, &b->id)->noise_static[3] ^= 1; /* as if the other's key had changed */
    net_cut(&net);
    net_run(&net, 3000);
    ck_assert_ptr_nonnull(net_session(a, b));
    ck_assert_int_eq(net_session(a, b)->pattern, KLP_NOISE_XX);
    net_fini(&net);
}
END_TEST

/* A log that grew while the nodes were apart is asked for; a long one comes in pieces. */
START_TEST(logs_that_grew)
{
    struct net_node *a, *b;
    struct kos_identity *identity;
    two(&a, &b);
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
    net_cut(&net);
    net_settle(&net);
    net_agent(a, "one", 0);
    net_agent(b, "two", 0);
    net_run(&net, 2000);
    ck_assert_ptr_nonnull(net_session(a, b));
    ck_assert_int_eq(net_session(a, b)->pattern, KLP_NOISE_IK);
    ck_assert_uint_eq(klp_log_count(kos_trust_log(b->trust, &a->id)), 2);
    ck_assert_uint_eq(klp_log_count(kos_trust_log(a->trust, &b->id)), 2);
    struct net_node *c = net_add(&net, "third");
    for (int i = 0; i < 400; i++)
        ck_assert_int_eq(kos_keys_agent_new(c->keys, &identity, NULL), KOS_OK);
    uint8_t *text;
    size_t len;
    ck_assert_int_eq(klp_log_text(kos_identity_log(kos_keys_node(c->keys)), 0, &text, &len), KOS_OK);
    ck_assert_uint_gt(len, 2 * MESH_CONTROL_CREDIT);
    free(text);
    ck_assert_int_eq(net_connect(a, c), KOS_OK);
    ck_assert_int_eq(net_connect(c, b), KOS_OK);
    ck_assert_uint_eq(klp_log_count(kos_trust_log(a->trust, &c->id)), 401);
    ck_assert_uint_eq(net_session(a, c)->log_requests, 0);
    net_fini(&net);
}
END_TEST

START_TEST(bytes_split_at_every_position)
{
    struct net_node *a, *b;
    for (size_t split = 1; split < 40; split += split < 8 ? 1 : 7) {
        two(&a, &b);
        net.split = split;
        ck_assert_int_eq(net_connect(a, b), KOS_OK);
        net_trust(b, a, 8);
        ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 500, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
        net_settle(&net);
        ck_assert_uint_eq(b->seen_count, 1);
        ck_assert_uint_eq(a->ended_count, 1);
        net_fini(&net);
    }
}
END_TEST

/* Whatever byte is altered on the way: no message is lost, doubled or changed by it, at most a link. */
START_TEST(altered_byte_costs_a_link_at_most)
{
    struct net_node *a, *b;
    uint64_t whole = 1;
    for (uint64_t at = 0; at < whole; at += 1 + at / 16) {
        two(&a, &b);
        net_trust(b, a, 8);
        net.corrupt_at = at;
        net_connect_kept(a, b);
        ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 100, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
        net_run(&net, 30000);
        if (!at)
            whole = net.carried;
        ck_assert_msg(b->seen_count == 1, "byte %llu: %u messages", (unsigned long long)at, b->seen_count);
        ck_assert_uint_eq(a->ended_count, 1);
        ck_assert_int_eq(a->ended[0].status, KOS_OK);
        net_fini(&net);
    }
}
END_TEST

START_TEST(blocked_peer_learns_nothing)
{
    struct net_node *a, *b;
    char id[KLP_ID_TEXT];
    two(&a, &b);
    klp_id_text(&a->id, id);
    net_policy(b, "peers = { block = [ \"%s\" ]; };", id);
    ck_assert_int_eq(net_connect(a, b), KOS_E_CLOSED);
    ck_assert_ptr_null(strstr(a->connected_text, "block"));
    /* Preface, e; e, ee, s, es and the proof; s, se and the proof: and then not a byte. */
    ck_assert_uint_eq(net.carried,
                      6 + (2 + 32) + (2 + 32 + 48 + KLP_PROOF_LEN + 16) + (2 + 48 + KLP_PROOF_LEN + 16) + log_bytes(a));
    ck_assert_ptr_null(b->mesh->links);
    net_fini(&net);
}
END_TEST

START_TEST(blocking_ends_an_open_session)
{
    struct net_node *a, *b;
    char id[KLP_ID_TEXT];
    two(&a, &b);
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
    klp_id_text(&a->id, id);
    net_policy(b, "peers = { block = [ \"%s\" ]; };", id);
    ck_assert_ptr_null(net_session(b, a));
    net_run(&net, 5000);
    ck_assert_ptr_null(net_session(a, b));
    net_fini(&net);
}
END_TEST

START_TEST(oneself_is_refused)
{
    struct net_node *a, *b;
    two(&a, &b);
    ck_assert_int_eq(net_connect(a, a), KOS_E_INVALID);
    ck_assert_ptr_nonnull(strstr(a->connected_text, "itself"));
    ck_assert_ptr_null(a->mesh->keeps);
    net_fini(&net);
}
END_TEST

START_TEST(another_identity_answers)
{
    struct net_node *a, *b, *c;
    two(&a, &b);
    c = net_add(&net, "third");
    ck_assert_int_eq(net_connect_expect(a, c, &b->id), KOS_E_MISADDRESSED);
    ck_assert_ptr_nonnull(strstr(a->connected_text, "answered at mem://third instead of"));
    ck_assert_ptr_null(a->mesh->keeps);
    ck_assert_int_eq(net_connect_expect(a, c, &c->id), KOS_OK);
    net_fini(&net);
}
END_TEST

/* What answered once at an address is what must answer there: another is reported and not followed. */
START_TEST(identity_behind_an_address_changes)
{
    struct net_node *a, *b, *c;
    struct kos_error error;
    two(&a, &b);
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
    net_stop(b);
    c = net_add(&net, "third");
    const char *own = c->address;
    c->address = b->address;
    net_run(&net, 20000);
    ck_assert_ptr_null(net_session(a, c));
    ck_assert_ptr_nonnull(strstr(kos_manual_logged(a->manual), "instead of"));
    ck_assert_int_eq(net_connect(a, c), KOS_E_MISADDRESSED);
    ck_assert_ptr_nonnull(strstr(a->connected_text, "kosctl disconnect"));
    ck_assert_int_eq(kos_mesh_disconnect(a->mesh, &b->id, &error), KOS_OK);
    ck_assert_int_eq(net_connect(a, c), KOS_OK);
    c->address = own;
    net_fini(&net);
}
END_TEST

START_TEST(nobody_there)
{
    struct net_node *a, *b;
    struct kos_error error;
    two(&a, &b);
    struct net_node nowhere = { .address = "mem://nowhere" };
    ck_assert_int_eq(net_connect(a, &nowhere), KOS_E_CLOSED);
    ck_assert_ptr_null(a->mesh->keeps);
    ck_assert_int_eq(kos_mesh_connect(a->mesh, "bogus://x", NULL, 0, NULL, NULL, &error), KOS_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.text, "bogus://x"));
    ck_assert_ptr_null(a->mesh->keeps);
    net_fini(&net);
}
END_TEST

START_TEST(silence_times_out)
{
    struct net_node *a, *b;
    two(&a, &b);
    net.hold = true;
    ck_assert_int_eq(net_connect(a, b), 1);
    net_run(&net, 5000);
    ck_assert_int_eq(a->connected, KOS_E_TIMEOUT);
    net_run(&net, 12000);
    ck_assert_ptr_null(b->mesh->links);
    ck_assert_ptr_null(b->mesh->sources);
    ck_assert_uint_eq(b->mesh->half_open, 0);
    net_fini(&net);
}
END_TEST

START_TEST(garbage_is_not_spoken_with)
{
    static const char *const garbage[] = { "GET / HTTP/1.1\r\n", "KLP/2\001", "KLP/1\007", "KLP/1\001\377\377",
                                           "\026\003\001\002" };
    struct net_node *a, *b;
    two(&a, &b);
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        uint64_t link = raw_link(b, "mem://nobody");
        ck_assert_uint_ne(link, 0);
        kos_mesh_link_received(b->mesh, link, kos_bytes_str(garbage[i]));
        net_settle(&net);
        ck_assert_msg(!alive(b, link), "%zu", i);
        kos_mesh_link_down(b->mesh, link, KOS_E_CLOSED, "");
    }
    /* More than the link had credit for, before anything was proven. */
    uint64_t link = raw_link(b, "mem://nobody");
    static uint8_t much[MESH_UNPROVEN_BYTES + 1];
    memcpy(much, "KLP/1\001\000\040", 8);
    kos_mesh_link_received(b->mesh, link, kos_bytes(much, sizeof much));
    ck_assert(!alive(b, link));
    kos_mesh_link_down(b->mesh, link, KOS_E_CLOSED, "");
    ck_assert_uint_eq(b->mesh->half_open, 0);
    ck_assert_uint_eq(b->mesh->counters.handshakes_failed, 6);
    net_fini(&net);
}
END_TEST

START_TEST(an_ipv6_source_is_its_site)
{
    static const struct { const char *one, *other; bool same; } pairs[] = {
        { "tcp://[2001:db8:0:1::1]:1000", "tcp://[2001:db8:0:1:ffff::2]:2000", true },
        { "tcp://[2001:db8:0:1::1]:1000", "tcp://[2001:db8:0:2::1]:1000", false },
        { "tcp://[fe80::1]:1000", "tcp://[fe80::2]:1000", false },
        { "tcp://[::ffff:192.0.2.1]:1000", "tcp://[::ffff:192.0.2.2]:1000", false },
        { "tcp://192.0.2.1:1000", "tcp://192.0.2.2:1000", false },
        { "tcp://[]:1000", "tcp://[x]:1000", false },
    };
    struct net_node *b;
    net_init(&net);
    net.nodes[0].limits = (struct kos_mesh_limits){ .half_open_per_source = 1 };
    b = net_add(&net, "home");
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        uint64_t one = raw_link(b, pairs[i].one), other = raw_link(b, pairs[i].other);
        ck_assert_uint_ne(one, 0);
        ck_assert_msg(!other == pairs[i].same, "%s and %s", pairs[i].one, pairs[i].other);
        kos_mesh_link_down(b->mesh, one, KOS_E_CLOSED, "gone");
        if (other)
            kos_mesh_link_down(b->mesh, other, KOS_E_CLOSED, "gone");
    }
    ck_assert_ptr_null(b->mesh->sources);
    net_fini(&net);
}
END_TEST

START_TEST(half_open_links_are_bounded)
{
    struct net_node *a, *b;
    net_init(&net);
    net.nodes[1].limits = (struct kos_mesh_limits){ .half_open_per_source = 3, .half_open = 5 };
    a = net_add(&net, "laptop");
    b = net_add(&net, "home");
    uint64_t links[5], late[2];
    for (int i = 0; i < 3; i++)
        ck_assert_uint_ne(links[i] = raw_link(b, "tcp://192.0.2.1:1000"), 0);
    ck_assert_uint_eq(raw_link(b, "tcp://192.0.2.1:2000"), 0);
    ck_assert_uint_ne(links[3] = raw_link(b, "tcp://192.0.2.2:1000"), 0);
    ck_assert_uint_ne(links[4] = raw_link(b, "tcp://[2001:db8::1]:1000"), 0);
    /* One more makes room: of those who have the most, the oldest gives way, until all have as many. */
    for (int i = 0; i < 3; i++) {
        char from[64];
        snprintf(from, sizeof from, "tcp://192.0.2.%d:1000", 10 + i);
        uint64_t more = raw_link(b, from);
        ck_assert_uint_ne(more, 0);
        ck_assert_uint_eq(b->mesh->half_open, 5);
        ck_assert(!alive(b, links[i]));
        ck_assert_uint_eq(b->mesh->counters.links_refused, 2 + i);
        if (i < 2)
            late[i] = more;
        else
            kos_mesh_link_down(b->mesh, more, KOS_E_CLOSED, "gone");
    }
    for (int i = 0; i < 5; i++)
        kos_mesh_link_down(b->mesh, links[i], KOS_E_CLOSED, "gone");
    for (int i = 0; i < 2; i++)
        kos_mesh_link_down(b->mesh, late[i], KOS_E_CLOSED, "gone");
    ck_assert_uint_eq(b->mesh->half_open, 0);
    ck_assert_ptr_null(b->mesh->sources);
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
    net_fini(&net);
}
END_TEST

START_TEST(simultaneous_connects)
{
    struct net_node *a, *b;
    two(&a, &b);
    net_trust(b, a, 8);
    net_trust(a, b, 8);
    net.hold = true;
    ck_assert_int_eq(net_connect(a, b), 1);
    ck_assert_int_eq(net_connect(b, a), 1);
    net.hold = false;
    net_settle(&net);
    ck_assert_int_eq(a->connected, KOS_OK);
    ck_assert_int_eq(b->connected, KOS_OK);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
        ck_assert_int_eq(net_send(b, a, "TASK_REQUEST", 10, KLP_CLASS_BULK, NULL), KOS_OK);
    }
    net_settle(&net);
    ck_assert_uint_eq(a->seen_count, 10);
    ck_assert_uint_eq(b->seen_count, 10);
    ck_assert_uint_eq(a->ended_count, 10);
    net_fini(&net);
}
END_TEST

START_TEST(too_small_datagrams_are_refused)
{
    struct net_node *a, *b;
    two(&a, &b);
    struct kos_link_info info = { .size = sizeof info,
                                  .flags = 0,
                                  .mtu_bytes = MESH_MTU_MIN - 1,
                                  .send_window_bytes = 1000,
                                  .local = "radio://1",
                                  .remote = "radio://2" };
    ck_assert_uint_eq(kos_mesh_link_accepted(b->mesh, b->endpoint, &info), 0);
    ck_assert_ptr_null(b->mesh->links);
    net_fini(&net);
}
END_TEST

START_TEST(silent_session_is_asked_and_given_up)
{
    struct net_node *a, *b;
    two(&a, &b);
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
    net_run(&net, 40000);
    ck_assert_ptr_nonnull(net_session(a, b));
    ck_assert_uint_eq(net_session(a, b)->pinged_ms, 0);
    net.hold = true;
    net_run(&net, 95000);
    ck_assert_ptr_null(net_session(a, b));
    ck_assert_ptr_null(net_session(b, a));
    net.hold = false;
    net_run(&net, 61000);
    ck_assert_ptr_nonnull(net_session(a, b));
    net_fini(&net);
}
END_TEST

START_TEST(old_session_is_renewed)
{
    struct net_node *a, *b;
    net_init(&net);
    for (int i = 0; i < 2; i++)
        net.nodes[i].limits.session_ms = 20000;
    a = net_add(&net, "laptop");
    b = net_add(&net, "home");
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
    uint64_t first = net_session(a, b)->link->id;
    net_trust(b, a, 8);
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
        net_run(&net, 500);
    }
    ck_assert_ptr_nonnull(net_session(a, b));
    ck_assert_uint_ne(net_session(a, b)->link->id, first);
    ck_assert_ptr_null(mesh_link_find(a->mesh, first));
    ck_assert_uint_eq(HASH_COUNT(b->mesh->links), 1);
    ck_assert_uint_eq(b->seen_count, 50);
    ck_assert_uint_eq(a->ended_count, 50);
    net_fini(&net);
}
END_TEST

START_TEST(disconnect_is_for_good)
{
    struct net_node *a, *b;
    struct kos_error error;
    two(&a, &b);
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
    ck_assert_uint_eq(kos_store_count(a->store, "peer"), 1);
    ck_assert_int_eq(kos_mesh_disconnect(a->mesh, &b->id, &error), KOS_OK);
    net_run(&net, 70000);
    ck_assert_ptr_null(net_session(a, b));
    ck_assert_uint_eq(kos_store_count(a->store, "peer"), 0);
    ck_assert_int_eq(kos_mesh_disconnect(a->mesh, &b->id, &error), KOS_E_NOTFOUND);
    net_fini(&net);
}
END_TEST

TESTS("mesh/handshake", xx_then_ik, found_nodes_are_connected_to, ik_after_restart_of_either_side, ik_refused_falls_back_to_xx, logs_that_grew,
      bytes_split_at_every_position, altered_byte_costs_a_link_at_most, blocked_peer_learns_nothing,
      blocking_ends_an_open_session, oneself_is_refused, another_identity_answers, identity_behind_an_address_changes,
      nobody_there, silence_times_out, garbage_is_not_spoken_with, an_ipv6_source_is_its_site, half_open_links_are_bounded, simultaneous_connects,
      too_small_datagrams_are_refused, silent_session_is_asked_and_given_up, old_session_is_renewed, disconnect_is_for_good)
