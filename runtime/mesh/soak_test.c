/* SPDX-License-Identifier: Apache-2.0
 * Three nodes, a seed, and whatever may go wrong: links cut, held back, split and altered, datagrams lost, doubled and
 * out of order, nodes stopped and losing power. In the end each message that was on disk had its effect once, and its sender knows. A failure names its seed;
 * KOS_SOAK_SEEDS=FIRST-LAST runs others. */
#include "mesh/mesh_testing.h"
#include "unit.h"

#include <stdlib.h>

enum { NODES = 3, MESSAGES = 120, STEPS = 250 };

struct sent {
    uint8_t id[KOS_ID_BYTES];
    uint32_t from, to;
    bool durable;
};

static struct net net;
static struct sent sent[MESSAGES];
static uint32_t sent_count;
static uint64_t state;

static uint32_t dice(uint32_t sides)
{
    /* xorshift64* (Vigna 2016): the same numbers on all machines. */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * UINT64_C(2685821657736338717)) >> 33) % sides;
}

static void is_durable(void *arg, int32_t status)
{
    if (status >= 0)
        ((struct sent *)arg)->durable = true;
}

static void send_one(void)
{
    struct sent *one = &sent[sent_count];
    one->from = dice(NODES);
    one->to = dice(NODES);
    one->durable = false;
    struct net_node *from = &net.nodes[one->from], *to = &net.nodes[one->to];
    if (!from->up)
        return;
    struct kos_draft draft = { .size = sizeof draft, .type = "TASK_REQUEST", .target = "", .expires_in_ms = 86400000 };
    draft.klass = dice(2) ? KLP_CLASS_INTERACTIVE : KLP_CLASS_BULK;
    kos_random(from->env, draft.id, sizeof draft.id);
    memcpy(draft.target_id, to->id.b, sizeof draft.target_id);
    char *payload = kos_format("{\"x\":\"%0*d\"}", (int)dice(dice(10) ? 500 : 60000) + 1, 0);
    draft.payload = kos_bytes_str(payload);
    memcpy(one->id, draft.id, sizeof one->id);
    struct kos_mesh_tx *tx = kos_mesh_tx_begin(from->mesh);
    kos_mesh_tx_send(tx, "tester", &draft);
    if (kos_mesh_tx_commit(tx, is_durable, one, NULL) >= 0)
        sent_count++;
    free(payload);
}

static void mishap(void)
{
    struct net_node *node = &net.nodes[dice(NODES)];
    switch (dice(12)) {
    case 0: net_cut(&net); break;
    case 1: net.split = dice(2) ? 0 : 1 + dice(3000); break;
    case 2: net.corrupt_at = net.carried + 1 + dice(5000); break;
    case 3: net.cut_after = 1 + dice(20000); break;
    case 4: net.hold = !net.hold; break;
    case 5:
        if (node->up)
            net_crash(node);
        break;
    case 6:
        if (node->up && dice(3) == 0)
            net_stop(node);
        break;
    case 7: node->defers = dice(3); break;
    case 8: kos_manual_fail_file_once(node->manual, 1 + dice(20), KOS_E_NOSPACE); break;
    default:
        if (node->up)
            break;
        kos_manual_fail_files(node->manual, 0, 0);
        net_start(node);
        break;
    }
}

static void calm_down(void)
{
    net.hold = false;
    net.split = 0;
    net.cut_after = net.corrupt_at = 0;
    for (int i = 0; i < NODES; i++) {
        kos_manual_fail_files(net.nodes[i].manual, 0, 0);
        net.nodes[i].defers = 0;
        if (!net.nodes[i].up)
            net_start(&net.nodes[i]);
    }
    net_run(&net, net.air.cost ? 1200000 : 400000);
    /* A handler whose transaction a full disk refused has what it holds offered again. */
    for (int i = 0; i < NODES; i++)
        kos_mesh_owner_back(net.nodes[i].mesh, "tester");
    net_run(&net, 1000);
}

/* Two seeds of three go over datagrams: of any size, lost, doubled, altered and late, or none of that. */
static void choose_air(void)
{
    static const struct net_air slow = { .mtu = 490, .flags = KOS_LINK_ORDERED | KOS_LINK_SHARED, .cost = 10000,
                                         .loss = 100, .delay_ms = 100, .bits_per_second = 400000,
                                         .airtime_ms_per_hour = 3600000 };
    switch (dice(6)) {
    case 0: net.air = net_lossy; break;
    case 1: net.air = net_tunnel; break;
    case 2: net.air = slow; break;
    case 3:
        net.air = (struct net_air){ .mtu = MESH_MTU_MIN + dice(3000), .loss = dice(200), .twice = dice(200),
                                    .altered = dice(50), .late = dice(300), .late_ms = dice(500),
                                    .delay_ms = dice(100) };
        break;
    default: break;
    }
    if (net.window < net.air.mtu)
        net.window = net.air.mtu;
    net.seed += state;
}

static void meet(struct net_node *one, struct net_node *other)
{
    if (!net.air.mtu) {
        ck_assert_int_eq(net_connect(one, other), KOS_OK);
        return;
    }
    net_connect_kept(one, other);
    net_run(&net, 5000);
}

static void soak(uint64_t seed)
{
    static const char *const names[NODES] = { "one", "two", "three" };
    state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    sent_count = 0;
    net_init(&net);
    net.window = 2000 + dice(300000);
    choose_air();
    for (int i = 0; i < NODES; i++)
        net_add(&net, names[i]);
    for (int i = 0; i < NODES; i++)
        for (int k = 0; k < NODES; k++) {
            if (i == k)
                continue;
            net_trust(&net.nodes[i], &net.nodes[k], 8);
            if (i < k || dice(2))
                meet(&net.nodes[i], &net.nodes[k]);
        }
    for (int step = 0; step < STEPS; step++) {
        if (sent_count < MESSAGES && dice(2))
            send_one();
        if (dice(5) == 0)
            mishap();
        for (uint32_t turns = dice(12); turns; turns--)
            net_turn(&net);
        if (dice(4) == 0)
            net_run(&net, dice(3000));
    }
    calm_down();
    for (uint32_t i = 0; i < sent_count; i++) {
        uint64_t effects = net_effects(&net.nodes[sent[i].to], sent[i].id),
                 notes = net_notes(&net.nodes[sent[i].from], sent[i].id);
        ck_assert_msg(effects <= 1 && (!sent[i].durable || effects == 1),
                      "seed %llu: message %u (durable: %d) had %llu effects", (unsigned long long)seed, i,
                      sent[i].durable, (unsigned long long)effects);
        ck_assert_msg(notes == effects, "seed %llu: message %u (durable: %d) had %llu effects and %llu outcomes",
                      (unsigned long long)seed, i, sent[i].durable, (unsigned long long)effects,
                      (unsigned long long)notes);
    }
    for (int i = 0; i < NODES; i++) {
        ck_assert_uint_eq(kos_store_count(net.nodes[i].store, "outbox"), 0);
        ck_assert_uint_eq(kos_store_count(net.nodes[i].store, "handed"), 0);
        ck_assert_uint_eq(kos_store_count(net.nodes[i].store, "ended"), 0);
        ck_assert_uint_eq(kos_store_count(net.nodes[i].store, "inbox"), 0);
        ck_assert_uint_eq(net.nodes[i].mesh->outbox_bytes, 0);
    }
    net_fini(&net);
}

START_TEST(whatever_goes_wrong)
{
    unsigned long long first = 1, last = 25;
    const char *seeds = getenv("KOS_SOAK_SEEDS");
    if (seeds)
        ck_assert_int_eq(sscanf(seeds, "%llu-%llu", &first, &last), 2);
    for (unsigned long long seed = first; seed <= last; seed++)
        soak(seed);
}
END_TEST

TESTS("mesh/soak", whatever_goes_wrong)
