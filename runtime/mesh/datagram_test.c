/* SPDX-License-Identifier: Apache-2.0
 * Links of datagrams: of any size, slow, lossy, or as good as a stream. */
#include "mesh/mesh_testing.h"
#include "unit.h"

#include <stdlib.h>

static struct net net;

static void two(const struct net_air *air, struct net_node **ret_a, struct net_node **ret_b)
{
    net_init(&net);
    net.air = *air;
    if (air->bits_per_second)
        net.window = 2 * air->mtu;
    *ret_a = net_add(&net, "laptop");
    *ret_b = net_add(&net, "home");
    net_trust(*ret_a, *ret_b, 8);
    net_trust(*ret_b, *ret_a, 8);
}

static bool up(struct net_node *a, struct net_node *b)
{
    return net_session(a, b) && net_session(b, a);
}

static void join(struct net_node *a, struct net_node *b, uint64_t ms)
{
    net_connect_kept(a, b);
    for (uint64_t at = 0; at < ms && !up(a, b); at += 100)
        net_run(&net, 100);
    ck_assert(up(a, b));
}

/* All of them arrive, once, each in the order of its class. */
static void exchange(struct net_node *a, struct net_node *b, size_t bytes, uint32_t count, uint64_t ms)
{
    uint8_t ids[64][KOS_ID_BYTES];
    uint32_t before = b->seen_count;
    for (uint32_t i = 0; i < count; i++)
        ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", bytes, i % 3 ? KLP_CLASS_INTERACTIVE : KLP_CLASS_BULK, ids[i]),
                         KOS_OK);
    for (uint64_t at = 0; at < ms && (b->seen_count < before + count || a->mesh->outbox_bytes); at += 100)
        net_run(&net, 100);
    ck_assert_uint_eq(b->seen_count, before + count);
    ck_assert_uint_eq(a->mesh->outbox_bytes, 0);
    for (uint32_t i = 0; i < count; i++)
        ck_assert_uint_eq(net_effects(b, ids[i]), 1);
}

START_TEST(every_kind_of_link)
{
    static const struct net_air kinds[] = {
        { .mtu = 128 }, { .mtu = 480 }, { .mtu = 1200 }, { .mtu = 65535 }, { .mtu = 100000 },
        { .mtu = 200, .flags = KOS_LINK_RELIABLE | KOS_LINK_ORDERED },
        { .mtu = 1200, .flags = KOS_LINK_RELIABLE, .late = 300, .late_ms = 150 },
        { .mtu = 1400, .loss = 200, .twice = 100, .altered = 100, .late = 200, .late_ms = 300, .delay_ms = 50 },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct net_node *a, *b;
        two(&kinds[i], &a, &b);
        join(a, b, 60000);
        ck_assert_int_eq(net_session(a, b)->pattern, KLP_NOISE_XX);
        exchange(a, b, 10, 3, 60000);
        exchange(b, a, 100000, 3, 120000);
        exchange(a, b, 3000, 30, 120000);
        net_fini(&net);
    }
}
END_TEST

START_TEST(a_radio)
{
    struct net_node *a, *b;
    two(&net_radio, &a, &b);
    join(a, b, 120000);
    exchange(a, b, 200, 3, 120000);
    exchange(b, a, 3000, 3, 120000);
    net_fini(&net);
}
END_TEST

TESTS("mesh/datagram", every_kind_of_link, a_radio)
