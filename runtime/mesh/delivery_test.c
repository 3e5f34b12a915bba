/* SPDX-License-Identifier: Apache-2.0
 * Nothing is lost and nothing is doubled: over cut links, over restarts and power failures of either side at each
 * point. */
#include "mesh/mesh_testing.h"
#include "unit.h"

#include <stdlib.h>

static struct net net;

static void two(struct net_node **ret_a, struct net_node **ret_b)
{
    net_init(&net);
    *ret_a = net_add(&net, "laptop");
    *ret_b = net_add(&net, "home");
    net_trust(*ret_b, *ret_a, 8);
}

static void linked(struct net_node **ret_a, struct net_node **ret_b)
{
    two(ret_a, ret_b);
    ck_assert_int_eq(net_connect(*ret_a, *ret_b), KOS_OK);
}

START_TEST(waits_for_a_way)
{
    struct net_node *a, *b;
    uint8_t id[KOS_ID_BYTES];
    linked(&a, &b);
    net_stop(b);
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, id), KOS_OK);
    net_run(&net, 3000);
    ck_assert_uint_eq(a->ended_count, 0);
    net_stop(a);
    net_start(a);
    net_start(b);
    net_run(&net, 5000);
    ck_assert_uint_eq(net_effects(b, id), 1);
    ck_assert_uint_eq(net_notes(a, id), 1);
    ck_assert_int_eq(a->ended[0].status, KOS_OK);
    ck_assert_uint_eq(kos_store_count(a->store, "handed"), 0);
    net_fini(&net);
}
END_TEST

START_TEST(links_cut_after_each_byte)
{
    struct net_node *a, *b;
    uint64_t from, whole = 1;
    for (uint64_t at = 0; at <= whole; at += at < 200 ? 3 : 29) {
        uint8_t ids[4][KOS_ID_BYTES];
        linked(&a, &b);
        from = net.carried;
        net.cut_after = at;
        for (int i = 0; i < 4; i++)
            ck_assert_int_eq(
                net_send(a, b, "TASK_REQUEST", 200, i % 2 ? KLP_CLASS_INTERACTIVE : KLP_CLASS_BULK, ids[i]), KOS_OK);
        net_run(&net, 5000);
        if (!at)
            whole = net.carried - from;
        for (int i = 0; i < 4; i++) {
            ck_assert_msg(net_effects(b, ids[i]) == 1, "cut after %llu bytes: message %d had %llu effects",
                          (unsigned long long)at, i, (unsigned long long)net_effects(b, ids[i]));
            ck_assert_uint_eq(net_notes(a, ids[i]), 1);
        }
        ck_assert_uint_eq(b->seen_count, 4);
        net_fini(&net);
    }
}
END_TEST

struct durable {
    bool is;
};

static void is_durable(void *arg, int32_t status)
{
    if (status >= 0)
        ((struct durable *)arg)->is = true;
}

/* Power fails at the t-th turn of one of two nodes; with `torn`, some of what was not synced is on the disk. */
static bool crash_at(uint64_t t, bool sender, bool torn)
{
    struct net_node *a, *b;
    struct kos_draft drafts[5];
    struct durable durables[5] = { { false } };
    linked(&a, &b);
    net.crash_node = sender ? a : b;
    net.crash_turn = t;
    net.crash_torn = torn;
    net.crash_back_ms = 1000;
    for (int i = 0; i < 5; i++) {
        struct kos_mesh_tx *tx = kos_mesh_tx_begin(a->mesh);
        drafts[i] = (struct kos_draft){ .size = sizeof drafts[i],
                                        .klass = KLP_CLASS_INTERACTIVE,
                                        .type = "TASK_REQUEST",
                                        .target = "",
                                        .payload = kos_bytes_str("{\"n\":1}"),
                                        .expires_in_ms = 600000 };
        memcpy(drafts[i].target_id, b->id.b, sizeof drafts[i].target_id);
        kos_random(a->env, drafts[i].id, sizeof drafts[i].id);
        kos_mesh_tx_send(tx, "tester", &drafts[i]);
        ck_assert_int_eq(kos_mesh_tx_commit(tx, is_durable, &durables[i], NULL), KOS_OK);
        if (i == 2)
            net_settle(&net);
        if (!a->up)
            break;
    }
    net_run(&net, 10000);
    bool crashed = net.turns >= t;
    if (!net.crash_node->up)
        net_start(net.crash_node);
    net.crash_node = NULL;
    net_run(&net, 5000);
    for (int i = 0; i < 5; i++) {
        uint64_t effects = net_effects(b, drafts[i].id), notes = net_notes(a, drafts[i].id);
        bool must = durables[i].is, may = torn && sender;
        ck_assert_msg(must  ? effects == 1
                      : may ? effects <= 1
                            : effects == 0,
                      "turn %llu: message %d (durable: %d) had %llu effects", (unsigned long long)t, i, must,
                      (unsigned long long)effects);
        ck_assert_msg(notes == effects, "turn %llu: message %d had %llu effects and %llu outcomes",
                      (unsigned long long)t, i, (unsigned long long)effects, (unsigned long long)notes);
    }
    net_fini(&net);
    return crashed;
}

START_TEST(power_fails_at_the_receiver)
{
    uint64_t t = 1;
    while (crash_at(t, false, false))
        t++;
    ck_assert_uint_gt(t, 10);
    for (t = 1; crash_at(t, false, true); t++)
        ;
}
END_TEST

START_TEST(power_fails_at_the_sender)
{
    uint64_t t = 1;
    while (crash_at(t, true, false))
        t++;
    ck_assert_uint_gt(t, 10);
    for (t = 1; crash_at(t, true, true); t++)
        ;
}
END_TEST

START_TEST(many_messages_go_in_batches_and_in_order)
{
    struct net_node *a, *b;
    uint8_t ids[300][KOS_ID_BYTES];
    linked(&a, &b);
    for (int i = 0; i < 300; i++)
        ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", (size_t)(i * 37 % 400), KLP_CLASS_INTERACTIVE, ids[i]), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 300);
    for (int i = 0; i < 300; i++)
        ck_assert_mem_eq(b->seen[i].id, ids[i], KOS_ID_BYTES);
    ck_assert_uint_eq(a->ended_count, 300);
    ck_assert_uint_ge(a->mesh->counters.batches_out, 1);
    ck_assert_uint_le(a->mesh->counters.batches_out, 3);
    ck_assert_uint_eq(b->mesh->counters.batches_in, a->mesh->counters.batches_out);
    ck_assert_uint_eq(b->mesh->counters.verified, 300);
    ck_assert_uint_eq(b->mesh->counters.allowed, 300);
    ck_assert_uint_eq(b->mesh->counters.handled, 300);
    ck_assert_uint_eq(a->mesh->outbox_bytes, 0);
    net_fini(&net);
}
END_TEST

START_TEST(handles_come_again)
{
    struct net_node *a, *b;
    uint8_t id[KOS_ID_BYTES];
    linked(&a, &b);
    b->keep_open = true;
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, id), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 1);
    ck_assert_int_eq(b->seen[0].again, 0);
    ck_assert_uint_eq(a->ended_count, 1); /* stored is what the sender asked for */
    kos_mesh_owner_back(b->mesh, "tester");
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 2);
    ck_assert_uint_eq(b->seen[1].handle, b->seen[0].handle);
    ck_assert_int_eq(b->seen[1].again, 1);
    net_crash(b);
    net_start(b);
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 3);
    ck_assert_uint_eq(b->seen[2].handle, b->seen[0].handle);
    ck_assert_int_eq(b->seen[2].again, 1);
    ck_assert_int_eq(net_settle_handle(b, b->seen[0].handle, KOS_ACCEPT, 0, 0), KOS_OK);
    ck_assert_int_eq(net_settle_handle(b, b->seen[0].handle, KOS_ACCEPT, 0, 0), KOS_E_STATE);
    net_settle(&net);
    net_crash(b);
    net_start(b);
    net_run(&net, 2000);
    ck_assert_uint_eq(b->seen_count, 3);
    net_fini(&net);
}
END_TEST

START_TEST(deferred_comes_again_in_time)
{
    struct net_node *a, *b;
    uint8_t id[KOS_ID_BYTES];
    linked(&a, &b);
    b->defers = 3;
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, id), KOS_OK);
    net_run(&net, 100);
    ck_assert_uint_eq(b->seen_count, 1);
    net_run(&net, 2000);
    ck_assert_uint_eq(b->seen_count, 4);
    ck_assert_int_eq(b->seen[3].again, 1);
    ck_assert_uint_eq(net_effects(b, id), 1);
    net_fini(&net);
}
END_TEST

START_TEST(outcomes_wait_for_their_owner)
{
    struct net_node *a, *b;
    uint8_t id[KOS_ID_BYTES];
    linked(&a, &b);
    a->keep_open = true;
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, id), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(a->ended_count, 1);
    net_crash(a);
    net_start(a);
    net_run(&net, 1000);
    ck_assert_uint_eq(a->ended_count, 2);
    ck_assert_int_eq(a->ended[1].status, KOS_OK);
    kos_mesh_owner_back(a->mesh, "other");
    net_settle(&net);
    ck_assert_uint_eq(a->ended_count, 2);
    kos_mesh_owner_back(a->mesh, "tester");
    net_settle(&net);
    net_run(&net, 1);
    ck_assert_uint_eq(a->ended_count, 3);
    ck_assert_int_eq(net_settle_handle(a, a->ended[2].handle, KOS_ACCEPT, 0, 0), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(kos_store_count(a->store, "ended"), 0);
    net_fini(&net);
}
END_TEST

START_TEST(expires_unsent_and_unknown)
{
    struct net_node *a, *b;
    linked(&a, &b);
    struct kos_draft draft = { .type = "TASK_REQUEST", .target = "", .expires_in_ms = 2000 };
    memcpy(draft.target_id, b->id.b, sizeof draft.target_id);
    net.hold = true; /* it is handed over, and nothing is heard of it */
    ck_assert_int_eq(net_send_draft(a, &draft), KOS_OK);
    net_run(&net, 3000);
    ck_assert_uint_eq(a->ended_count, 1);
    ck_assert_int_eq(a->ended[0].status, KOS_E_INTERRUPTED);
    net.hold = false;
    net_stop(b);
    memset(draft.id, 0, sizeof draft.id);
    ck_assert_int_eq(net_send_draft(a, &draft), KOS_OK);
    net_run(&net, 3000);
    ck_assert_uint_eq(a->ended_count, 2);
    ck_assert_int_eq(a->ended[1].status, KOS_E_EXPIRED);
    ck_assert_uint_eq(kos_store_count(a->store, "outbox"), 0);
    net_run(&net, 5000);
    ck_assert_uint_eq(kos_store_count(a->store, "asked"), 0); /* forgotten once it cannot be answered */
    ck_assert_uint_eq(kos_store_count(a->store, "expiry"), 0);
    net_fini(&net);
}
END_TEST

/* What was refused until it expired is known not to be there: it ends with the refusal. */
START_TEST(expires_refused)
{
    struct net_node *a, *b;
    uint8_t id[KOS_ID_BYTES];
    linked(&a, &b);
    kos_manual_fail_files(b->manual, 1, KOS_E_NOSPACE);
    for (int i = 0; i < 40; i++)
        net_send(b, a, "TASK_REQUEST", 400000, KLP_CLASS_BULK, id); /* until its store says that it takes nothing */
    net_run(&net, 3000);
    struct kos_draft draft = { .type = "TASK_REQUEST", .target = "", .expires_in_ms = 5000 };
    memcpy(draft.target_id, b->id.b, sizeof draft.target_id);
    ck_assert_int_eq(net_send_draft(a, &draft), KOS_OK);
    net_run(&net, 20000);
    ck_assert_uint_eq(a->ended_count, 1);
    ck_assert_int_eq(a->ended[0].status, KOS_E_NOSPACE);
    net_fini(&net);
}
END_TEST

START_TEST(full_disk_refuses_and_recovers)
{
    struct net_node *a, *b;
    uint8_t id[KOS_ID_BYTES];
    linked(&a, &b);
    kos_manual_fail_files(b->manual, 1, KOS_E_NOSPACE);
    for (int i = 0; i < 40; i++)
        net_send(a, b, "TASK_REQUEST", 400000, KLP_CLASS_BULK, id);
    net_run(&net, 3000);
    uint32_t before = b->seen_count;
    kos_manual_fail_files(b->manual, 0, 0);
    net_run(&net, 300000);
    ck_assert_uint_eq(a->ended_count, 40);
    ck_assert_uint_ge(b->seen_count, before);
    for (int i = 0; i < 40; i++)
        ck_assert_int_eq(a->ended[i].status, KOS_OK);
    ck_assert_uint_eq(net_effects(b, id), 1);
    ck_assert_uint_eq(b->seen_count, 40);
    net_fini(&net);
}
END_TEST

START_TEST(to_oneself)
{
    struct net_node *a, *b;
    uint8_t id[KOS_ID_BYTES];
    two(&a, &b);
    ck_assert_int_eq(net_send(a, a, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, id), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(a->seen_count, 1);
    ck_assert_uint_eq(a->ended_count, 1);
    ck_assert_int_eq(a->ended[0].status, KOS_OK);
    ck_assert_uint_eq(net_effects(a, id), 1);
    (void)b;
    net_fini(&net);
}
END_TEST

/* A disk that fails once while a node starts: it starts with all that it had, or does not and says so. */
START_TEST(a_disk_that_fails_at_the_start)
{
    struct net_node *a, *b;
    uint8_t id[KOS_ID_BYTES];
    linked(&a, &b);
    net_stop(b);
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 10, KLP_CLASS_INTERACTIVE, id), KOS_OK);
    net_run(&net, 3000);
    net_stop(a);
    bool started_once = false, refused_once = false;
    for (uint64_t nth = 1;; nth++) {
        struct kos_store *store;
        struct kos_trust *trust;
        struct kos_mesh *mesh = NULL;
        struct kos_keys *keys;
        struct kos_policy *policy;
        struct kos_error error = { 0 };
        struct kos_mesh_options options = { .name = "a" };
        ck_assert_int_eq(kos_store_open(a->env, "/node/store", NULL, &store, &error), KOS_OK);
        ck_assert_int_eq(kos_keys_open(a->env, "/node/keys", kos_bytes(NULL, 0), &keys, &error), KOS_OK);
        ck_assert_int_eq(kos_policy_load(a->env, "/node/policy.d", &policy, &error), KOS_OK);
        ck_assert_int_eq(kos_trust_new(a->env, store, keys, policy, &trust, &error), KOS_OK);
        uint64_t before = kos_manual_file_ops(a->manual);
        kos_manual_fail_file_once(a->manual, nth, KOS_E_IO);
        int32_t rc = kos_mesh_new(a->env, store, trust, &options, &mesh, &error);
        bool all_read = kos_manual_file_ops(a->manual) - before < nth;
        kos_manual_fail_files(a->manual, 0, KOS_OK);
        if (rc >= 0) {
            started_once = true;
            ck_assert_uint_gt(mesh->outbox_bytes, 0);
            ck_assert_int_gt(mesh->time_stored, 0);
            ck_assert_ptr_nonnull(mesh->keeps);
        } else {
            refused_once = true;
            ck_assert_ptr_nonnull(strstr(error.text, "cannot be read"));
        }
        kos_mesh_free(mesh);
        kos_trust_free(trust);
        kos_policy_unref(policy);
        kos_store_close(store);
        kos_keys_close(keys);
        kos_manual_settle(a->manual);
        if (all_read)
            break;
    }
    ck_assert(started_once && refused_once);
    net_start(a);
    net_fini(&net);
}
END_TEST

TESTS("mesh/delivery", waits_for_a_way, links_cut_after_each_byte, power_fails_at_the_receiver,
      power_fails_at_the_sender, many_messages_go_in_batches_and_in_order, handles_come_again,
      deferred_comes_again_in_time, outcomes_wait_for_their_owner, expires_unsent_and_unknown, expires_refused,
      full_disk_refuses_and_recovers, to_oneself, a_disk_that_fails_at_the_start)
