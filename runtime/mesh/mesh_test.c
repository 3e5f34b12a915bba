/* SPDX-License-Identifier: Apache-2.0
 * Two nodes meet, prove who they are, and messages arrive once. */
#include "mesh/mesh_testing.h"
#include "unit.h"

static struct net net;

static void two(struct net_node **ret_a, struct net_node **ret_b)
{
    net_init(&net);
    *ret_a = net_add(&net, "laptop");
    *ret_b = net_add(&net, "home");
}

START_TEST(strangers_meet)
{
    struct net_node *a, *b;
    two(&a, &b);
    ck_assert_msg(net_connect(a, b) == KOS_OK, "%s\n%s\n%s", a->connected_text, kos_manual_logged(a->manual),
                  kos_manual_logged(b->manual));
    ck_assert(klp_id_eq(&a->connected_to, &b->id));
    ck_assert_ptr_nonnull(net_session(a, b));
    ck_assert_ptr_nonnull(net_session(b, a));
    ck_assert_int_eq(net_session(a, b)->pattern, KLP_NOISE_XX);
    ck_assert_str_eq(net_session(b, a)->name, "laptop");
    ck_assert_str_eq(kos_trust_name_of(a->trust, &b->id), "home");
    ck_assert_str_eq(kos_trust_name_of(b->trust, &a->id), "");
    net_fini(&net);
}
END_TEST

START_TEST(message_and_receipt)
{
    struct net_node *a, *b;
    uint8_t id[KOS_ID_BYTES];
    two(&a, &b);
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
    net_trust(b, a, 8);
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 100, KLP_CLASS_INTERACTIVE, id), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 1);
    ck_assert_mem_eq(b->seen[0].id, id, sizeof id);
    ck_assert_str_eq(b->seen[0].type, "TASK_REQUEST");
    ck_assert_int_eq(b->seen[0].again, 0);
    ck_assert_uint_eq(a->ended_count, 1);
    ck_assert_int_eq(a->ended[0].status, KOS_OK);
    ck_assert_mem_eq(a->ended[0].id, id, sizeof id);
    ck_assert_uint_eq(kos_store_count(a->store, "outbox"), 0);
    ck_assert_uint_eq(kos_store_count(a->store, "ended"), 0);
    ck_assert_uint_eq(kos_store_count(b->store, "inbox"), 0);
    ck_assert_uint_eq(kos_store_count(b->store, "dedupe"), 1);
    net_fini(&net);
}
END_TEST

TESTS("mesh/mesh", strangers_meet, message_and_receipt)
