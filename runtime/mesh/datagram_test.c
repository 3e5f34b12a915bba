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

static void answer(struct net_node *from, const struct net_node *to, const uint8_t *task, const char *type,
                   const char *format)
{
    char text[KLP_ID_TEXT];
    struct klp_id id;
    memcpy(id.b, task, sizeof id.b);
    klp_id_text(&id, text);
    char *payload = kos_format(format, text);
    struct kos_draft draft = { .type = type, .target = "", .payload = kos_bytes_str(payload) };
    memcpy(draft.target_id, to->id.b, sizeof draft.target_id);
    memcpy(draft.reply_to, task, sizeof draft.reply_to);
    memcpy(draft.from_agent, from->agent.b, sizeof draft.from_agent);
    ck_assert_int_eq(net_send_draft(from, &draft), KOS_OK);
    free(payload);
}

/* What plugins/handler/task_request says of a task whose agent is done soon. */
static void do_task(struct net_node *asker, struct net_node *doer, size_t bytes, uint64_t work_ms)
{
    uint32_t seen = doer->seen_count, answers = asker->seen_count;
    struct kos_draft draft = { .type = "TASK_REQUEST", .target = "klp://agent.echo.home" };
    char *payload = kos_format("{\"deadline\":1781900603000,\"inputs\":[\"%0*d\"]}", (int)bytes - 41, 7);
    draft.payload = kos_bytes_str(payload);
    memcpy(draft.target_id, doer->agent.b, sizeof draft.target_id);
    ck_assert_int_eq(net_send_draft(asker, &draft), KOS_OK);
    free(payload);
    for (int i = 0; i < 1000 && doer->seen_count == seen; i++)
        net_run(&net, 50);
    ck_assert_uint_eq(doer->seen_count, seen + 1);
    const uint8_t *task = doer->seen[seen].id;
    answer(doer, asker, task, "TASK_PROGRESS", "{\"kind\":\"accepted\",\"task\":\"%s\"}");
    net_run(&net, work_ms);
    answer(doer, asker, task, "TASK_PROGRESS",
           "{\"kind\":\"part\",\"offset\":0,\"seq\":0,\"task\":\"%s\",\"text\":\"it is so much warmer here than it was "
           "yesterday, and the snow on the northern slope has gone by noon\"}");
    answer(doer, asker, task, "TASK_RESULT",
           "{\"audit\":\"50f90ba1e751fd212881510a4655a2c6bdb707016694c396c6b0ab5cec87f56e\",\"bytes\":107,\"digest\":"
           "\"c8cf03073ba78993e6912441beb6b0d447ef3bfa197a9992531d1a5c7f525a8b\",\"parts\":1,\"result\":{},\"task\":"
           "\"%s\"}");
    for (int i = 0; i < 2000 && (asker->seen_count < answers + 3 || doer->mesh->outbox_bytes); i++)
        net_run(&net, 50);
    ck_assert_uint_eq(asker->seen_count, answers + 3);
    ck_assert_uint_eq(doer->mesh->outbox_bytes, 0);
    net_run(&net, 30000);
}

/* Bodies that share members, and every way to spoil them: refused, or something else of the same shape. */
START_TEST(compact_batches)
{
    static const char *const bodies[] = {
        "{\"created\":5,\"event\":0,\"expires\":9,\"id\":\"a4dqobyha4dqobyha4dqobyha4\",\"source\":\"klp://node.home.kai\"}",
        "{\"created\":5,\"event\":0,\"expires\":9,\"id\":\"zdhqgbz3u6ezhzurera35nvq2q\",\"source\":\"klp://node.home.kai\"}",
        "{\"\\n\":1,\"created\":5,\"event\":0,\"expires\":9,\"source\":\"klp://node.home.kai\",\"sourcf\":1}",
        "{\"a\":1,\"created\":6,\"event\":0,\"sourc\":1,\"source\":\"klp://node.home.kai\",\"zz\":[0.5]}",
        "{}",
        "{\"event\":1}",
    };
    struct net_node *a, *b;
    struct kos_buf item;
    struct klp_frame plain;
    uint8_t type = KLP_FRAME_BATCH, *back;
    static const uint8_t signature[KLP_SIGNATURE_LEN];
    two(&net_radio, &a, &b);
    join(a, b, 120000);
    kos_buf_init(&item, KLP_ITEM_MAX);
    pack_raw(&item, signature, sizeof signature);
    pack_uint(&item, sizeof bodies / sizeof *bodies, 2);
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        pack_bytes(&item, kos_bytes_str(bodies[i]));
    uint8_t *data = kos_memdup(item.data, item.len);
    size_t len = item.len;
    mesh_compact(net_session(a, b), &type, &data, &len);
    ck_assert_uint_eq(type, KLP_FRAME_BATCH + KLP_FRAME_COMPACT);
    ck_assert_uint_lt(len, item.len);
    struct klp_frame frame = { .type = type, .klass = 1, .payload = kos_bytes(data, len) };
    ck_assert_int_eq(mesh_compact_open(&frame, &plain, &back), KOS_OK);
    ck_assert(kos_bytes_eq(plain.payload, kos_buf_bytes(&item)));
    free(back);
    for (uint32_t i = 0; i < 40000; i++) {
        uint32_t at;
        uint8_t *copy = kos_memdup(data, len);
        kos_random(a->env, &at, sizeof at);
        copy[KLP_SIGNATURE_LEN + at % (len - KLP_SIGNATURE_LEN)] ^= (uint8_t)(1u << (at >> 16) % 8);
        frame.payload = kos_bytes(copy, at % 5 ? len : at / 8 % len);
        if (mesh_compact_open(&frame, &plain, &back) >= 0)
            free(back);
        free(copy);
    }
    free(data);
    kos_buf_fini(&item);
    net_fini(&net);
}
END_TEST

START_TEST(a_task_in_three_packets_each_way)
{
    static const uint64_t work_ms[] = { 0, 200, 5000 };
    struct net_node *a, *b;
    struct net_air air = net_radio;
    air.loss = 0;
    two(&air, &a, &b);
    join(a, b, 60000);
    net_agent(b, "echo", 0);
    net_run(&net, 60000);
    /* The agent's log is new to the asker, once. The agent is known to it by its id. */
    struct mesh_session *session = net_session(b, a);
    mesh_session_send_logs_for(session, &b->agent);
    net_run(&net, 60000);
    for (size_t i = 0; i < sizeof work_ms / sizeof *work_ms; i++) {
        uint64_t from_a = a->datagrams, from_b = b->datagrams;
        do_task(a, b, 300, work_ms[i]);
        ck_assert_uint_le(a->datagrams - from_a, 3);
        /* An agent that takes its time is heard of twice: that it was accepted does not wait for its result. */
        ck_assert_uint_le(b->datagrams - from_b, work_ms[i] < 1000 ? 3 : 4);
    }
    /* And then nothing is said for hours. */
    uint64_t all = net.datagrams;
    net_run(&net, 4 * 3600000);
    ck_assert_uint_eq(net.datagrams, all);
    ck_assert(up(a, b));
    net_fini(&net);
}
END_TEST

TESTS("mesh/datagram", every_kind_of_link, a_radio, compact_batches, a_task_in_three_packets_each_way)
