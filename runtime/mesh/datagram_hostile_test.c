/* SPDX-License-Identifier: Apache-2.0
 * Who may do what over links of datagrams: forgers, repeaters, those who lend another's address, and peers that keep no
 * rule. And how little a slow link is used. */
#include "mesh/mesh_testing.h"
#include "unit.h"

#include <stdlib.h>

enum { KEPT = 4096, SHAKE_HEAD = 7 };

static struct net net;
static struct kept {
    struct net_node *from;
    uint8_t *data;
    size_t len;
} kept[KEPT];
static size_t kept_count;
static struct net_node *deaf; /* what is sent by it is lost */
static uint32_t forge;        /* so many altered copies come before each datagram of a handshake */
static uint64_t state = 88172645463325252;

static uint32_t dice(uint32_t sides)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * UINT64_C(2685821657736338717)) >> 33) % sides;
}

static struct mesh_link *only_link(struct net_node *node)
{
    ck_assert_ptr_nonnull(node->mesh->links);
    return node->mesh->links;
}

static void inject(struct net_node *to, const void *data, size_t len)
{
    /* In memory of its own size: a sanitizer sees each byte read beyond it. */
    uint8_t *copy = kos_memdup(data, len);
    if (to->mesh->links)
        kos_mesh_link_received(to->mesh, only_link(to)->id, kos_bytes(copy, len));
    free(copy);
}

static bool tap(struct net *net_, struct net_node *from, struct kos_bytes datagram)
{
    (void)net_;
    ck_assert_uint_lt(kept_count, KEPT);
    kept[kept_count++] = (struct kept){ from, kos_memdup(datagram.data, datagram.len), datagram.len };
    struct net_node *to = from == &net.nodes[0] ? &net.nodes[1] : &net.nodes[0];
    for (uint32_t i = 0; i < forge && datagram.data[0] != KLP_DATAGRAM_RECORD; i++) {
        uint8_t copy[1500];
        memcpy(copy, datagram.data, datagram.len);
        /* Behind the head, so that it is of this very attempt. */
        copy[SHAKE_HEAD + dice((uint32_t)(datagram.len - SHAKE_HEAD))] ^= (uint8_t)(1u << dice(8));
        inject(to, copy, datagram.len);
    }
    return from == deaf;
}

static void two(const struct net_air *air, struct net_node **ret_a, struct net_node **ret_b)
{
    net_init(&net);
    net.air = *air;
    net.tap = tap;
    kept_count = 0;
    deaf = NULL;
    forge = 0;
    if (air->bits_per_second)
        net.window = 2 * air->mtu;
    *ret_a = net_add(&net, "laptop");
    *ret_b = net_add(&net, "home");
    net_trust(*ret_a, *ret_b, 8);
    net_trust(*ret_b, *ret_a, 8);
}

static void end(void)
{
    net_fini(&net);
    while (kept_count)
        free(kept[--kept_count].data);
}

static bool up(struct net_node *a, struct net_node *b)
{
    return net_session(a, b) && net_session(b, a);
}

static void join(struct net_node *a, struct net_node *b)
{
    net_connect_kept(a, b);
    for (int i = 0; i < 600 && !up(a, b); i++)
        net_run(&net, 100);
    ck_assert(up(a, b));
}

static void works(struct net_node *a, struct net_node *b)
{
    uint32_t before = b->seen_count;
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 2000, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
    for (int i = 0; i < 600 && a->mesh->outbox_bytes; i++)
        net_run(&net, 100);
    ck_assert_uint_eq(b->seen_count, before + 1);
    ck_assert_uint_eq(a->mesh->outbox_bytes, 0);
}

static const struct net_air plain = { .mtu = 480 };

/* ---- the handshake ---- */

START_TEST(unproven_source_gets_little)
{
    struct net_node *a, *b;
    two(&plain, &a, &b);
    deaf = a;
    net_connect_kept(a, b);
    net_run(&net, 200);
    ck_assert_uint_ge(kept_count, 1);
    ck_assert_uint_eq(kept[0].len, 75);
    /* As another implementation might send it, without padding. */
    uint8_t first[128];
    size_t len = 41;
    uint64_t in = 0, out = 0;
    memcpy(first, kept[0].data, len);
    for (int i = 0; i < 50; i++) {
        inject(b, first, len);
        in += len;
        net_run(&net, 50);
    }
    const uint8_t *cookie = NULL;
    for (size_t i = 0; i < kept_count; i++) {
        if (kept[i].from != b)
            continue;
        out += kept[i].len;
        if (kept[i].data[0] == MESH_DATAGRAM_COOKIE)
            cookie = kept[i].data;
    }
    ck_assert_uint_gt(out, 0);
    ck_assert_uint_le(out, 3 * in);
    ck_assert_ptr_nonnull(cookie);
    ck_assert_mem_eq(cookie + 1, first + 3, 4);
    /* With a wrong one: nothing changes; with the right one: the second message, as often as asked. */
    uint8_t with[128];
    memcpy(with, first, SHAKE_HEAD);
    with[1] |= 0x80;
    memcpy(with + SHAKE_HEAD, cookie + 5, MESH_COOKIE_LEN);
    memcpy(with + SHAKE_HEAD + MESH_COOKIE_LEN, first + SHAKE_HEAD, len - SHAKE_HEAD);
    size_t before = kept_count, answers = 0;
    inject(b, with, len + MESH_COOKIE_LEN);
    inject(b, with, len + MESH_COOKIE_LEN);
    net_run(&net, 50);
    for (size_t i = before; i < kept_count; i++)
        answers += kept[i].from == b && kept[i].data[0] == MESH_DATAGRAM_SHAKE;
    ck_assert_uint_eq(answers, 2);
    end();
}
END_TEST

START_TEST(forged_messages_do_not_end_it)
{
    for (int round = 0; round < 20; round++) {
        struct net_node *a, *b;
        two(&plain, &a, &b);
        forge = 5;
        join(a, b);
        forge = 0;
        works(a, b);
        end();
    }
}
END_TEST

START_TEST(noise_on_the_link)
{
    struct net_node *a, *b;
    uint8_t junk[512];
    two(&plain, &a, &b);
    net_connect_kept(a, b);
    for (int i = 0; i < 3000; i++) {
        size_t len = 1 + dice(i % 2 ? 60 : sizeof junk - 1);
        for (size_t k = 0; k < len; k++)
            junk[k] = (uint8_t)dice(256);
        junk[0] = (uint8_t)dice(6);
        if (dice(2))
            junk[1] = (uint8_t)(0x11 + dice(2) * 0x10 + dice(3) + dice(2) * 0x80);
        if (dice(2))
            junk[2] = (uint8_t)(dice(4) << 4 | (1 + dice(15)));
        inject(dice(2) ? a : b, junk, len);
        if (i % 10 == 0)
            net_run(&net, 10);
    }
    for (int i = 0; i < 1000 && !up(a, b); i++)
        net_run(&net, 100);
    ck_assert(up(a, b));
    works(a, b);
    works(b, a);
    end();
}
END_TEST

START_TEST(everything_repeated)
{
    struct net_node *a, *b;
    two(&plain, &a, &b);
    join(a, b);
    works(a, b);
    works(b, a);
    net_run(&net, 1000);
    struct mesh_session *at_a = net_session(a, b), *at_b = net_session(b, a);
    uint32_t seen_a = a->seen_count, seen_b = b->seen_count;
    size_t count = kept_count;
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < count; i++) {
            inject(kept[i].from == a ? b : a, kept[i].data, kept[i].len);
            if (i % 16 == 0)
                net_run(&net, 50);
        }
    net_run(&net, 5000);
    ck_assert_ptr_eq(net_session(a, b), at_a);
    ck_assert_ptr_eq(net_session(b, a), at_b);
    ck_assert_uint_eq(a->seen_count, seen_a);
    ck_assert_uint_eq(b->seen_count, seen_b);
    works(a, b);
    end();
}
END_TEST

/* One side forgets everything and begins anew over what the other takes for the same link: a radio's short address
 * stays. The first message alone, which anybody can say again, must not end the session. */
static void begin_anew(struct net_node *a, const uint8_t *remote)
{
    struct mesh_link *link = only_link(a);
    struct mesh_session *old = link->session;
    link->session = NULL;
    mesh_peer_down(old, KOS_E_CLOSED, "forgotten");
    mesh_session_free(old);
    mesh_handshake_begin(link, true, remote);
}

START_TEST(peer_that_began_anew)
{
    for (int ik = 0; ik < 2; ik++) {
        struct net_node *a, *b;
        two(&plain, &a, &b);
        join(a, b);
        works(a, b);
        uint64_t old = net_session(b, a)->began_ms;
        size_t before = kept_count;
        begin_anew(a, ik ? mesh_peer_find(a->mesh, &b->id)->noise_static : NULL);
        net_run(&net, 5000);
        ck_assert(up(a, b));
        ck_assert_int_eq(net_session(a, b)->pattern, ik ? KLP_NOISE_IK : KLP_NOISE_XX);
        ck_assert_uint_gt(net_session(b, a)->began_ms, old);
        works(a, b);
        works(b, a);
        /* The same first message once more: a repeat of an attempt that is over. */
        struct mesh_session *now = net_session(b, a);
        for (size_t i = before; i < kept_count; i++)
            if (kept[i].from == a && kept[i].data[0] == MESH_DATAGRAM_SHAKE)
                inject(b, kept[i].data, kept[i].len);
        net_run(&net, 3000);
        ck_assert_ptr_eq(net_session(b, a), now);
        works(a, b);
        end();
    }
}
END_TEST

static void ordered(void *self, void *out, size_t len)
{
    (void)self;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)dice(256);
}

static size_t shake(uint8_t *out, uint8_t number, const uint8_t *cookie, const uint8_t *message, size_t len)
{
    size_t at = SHAKE_HEAD;
    out[0] = MESH_DATAGRAM_SHAKE;
    out[1] = (uint8_t)((cookie ? 0x80 : 0) | KLP_NOISE_XX << 4 | number);
    out[2] = 1;
    memcpy(out + 3, "\x11\x22\x33\x44", 4);
    if (cookie) {
        memcpy(out + at, cookie, MESH_COOKIE_LEN);
        at += MESH_COOKIE_LEN;
    }
    out[at] = (uint8_t)(len >> 8);
    out[at + 1] = (uint8_t)len;
    memcpy(out + at + 2, message, len);
    return at + 2 + len;
}

static const struct kept *last_of(const struct net_node *from, uint8_t kind)
{
    for (size_t i = kept_count; i; i--)
        if (kept[i - 1].from == from && kept[i - 1].data[0] == kind)
            return &kept[i - 1];
    return NULL;
}

/* Who can send and hear under another's address gets as far as a handshake, and not to the session. */
START_TEST(another_under_its_address)
{
    struct net_node *a, *b;
    struct klp_random random = { ordered, NULL };
    uint8_t secret[32], message[512], out[600], payload[512], proof[KLP_PROOF_LEN] = { 1 };
    size_t len;
    two(&plain, &a, &b);
    join(a, b);
    net_run(&net, 1000);
    struct mesh_session *session = net_session(b, a);
    ordered(NULL, secret, sizeof secret);
    struct klp_noise *noise = klp_noise_new(KLP_NOISE_XX, true, secret, NULL, random);
    ck_assert_int_eq(klp_noise_write(noise, kos_bytes(NULL, 0), message, sizeof message, &len), 0);
    inject(b, out, shake(out, 1, NULL, message, len));
    net_run(&net, 100);
    const struct kept *cookie = last_of(b, MESH_DATAGRAM_COOKIE);
    ck_assert_ptr_nonnull(cookie);
    inject(b, out, shake(out, 1, cookie->data + 5, message, len));
    net_run(&net, 100);
    const struct kept *second = last_of(b, MESH_DATAGRAM_SHAKE);
    ck_assert_mem_eq(second->data + 3, "\x11\x22\x33\x44", 4);
    ck_assert_int_eq(klp_noise_read(noise, kos_bytes(second->data + 9, second->len - 9), payload, sizeof payload, &len),
                     0);
    memcpy(proof, a->id.b, sizeof a->id.b);
    ck_assert_int_eq(klp_noise_write(noise, kos_bytes(proof, sizeof proof), message, sizeof message, &len), 0);
    inject(b, out, shake(out, 3, NULL, message, len));
    net_run(&net, 2000);
    ck_assert_ptr_eq(net_session(b, a), session);
    ck_assert(up(a, b));
    works(a, b);
    works(b, a);
    klp_noise_free(noise);
    end();
}
END_TEST

/* ---- a peer that has the keys ---- */

static void say(struct net_node *a, struct net_node *b, const void *plain_text, size_t len)
{
    uint8_t out[2048];
    struct mesh_link *link = only_link(a);
    ck_assert_int_eq(klp_record_seal_datagram(link->session->send, kos_bytes(plain_text, len), out), 0);
    inject(b, out, len + KLP_RECORD_DATAGRAM_OVERHEAD);
}

START_TEST(malformed_records_end_the_session)
{
    static const struct {
        const char *data;
        size_t len;
    } bad[] = {
        { "\x03\x00\x00\x00\x01x", 6 },              /* class 3 */
        { "\x80\x00\x00\x00\x01x", 6 },              /* unknown flag */
        { "\x10\x00\x00", 3 },                       /* nothing in it */
        { "\x00\x00\x00\x00\x09xx", 7 },             /* longer than it is */
        { "\x00\x00", 2 },                           /* cut */
        { "\x12\x01\x00xxxx", 7 },                   /* number 256: beyond the window */
        { "\x40\x00", 2 },                           /* cut acknowledgement */
        { "\x40\x00\x00\x21zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", 37 }, /* of too many */
        { "\x40\xff\x00\x00", 4 },                   /* of what was never sent */
        { "\x40\x00\x00\x00\x40\x00\x00\x00", 8 },   /* two of them */
        { "\x12\x00\x00zzzz", 7 },                   /* no frame */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct net_node *a, *b;
        two(&plain, &a, &b);
        join(a, b);
        net_run(&net, 1000);
        uint64_t link = only_link(b)->id;
        say(a, b, bad[i].data, bad[i].len);
        struct mesh_link *there = mesh_link_find(b->mesh, link);
        ck_assert_msg(!there || there->closing, "case %zu", i);
        net_run(&net, 20000);
        ck_assert(up(a, b));
        end();
    }
}
END_TEST

/* Everything but the first piece: held to the bound and no further, and on a lossy link only dropped. */
START_TEST(pieces_never_completed)
{
    struct net_node *a, *b;
    uint8_t piece[1400];
    static const struct net_air wide = { .mtu = 1500 };
    two(&wide, &a, &b);
    join(a, b);
    net_run(&net, 1000);
    struct mesh_arq *arq = net_session(b, a)->arq;
    memset(piece, 0, sizeof piece);
    for (uint32_t klass = 0; klass < KLP_CLASSES; klass++)
        for (uint32_t i = 1; i < MESH_WINDOW; i++) {
            uint64_t seq = arq->expected[klass] + i;
            piece[0] = (uint8_t)(klass | 0x10);
            piece[1] = (uint8_t)(seq >> 8);
            piece[2] = (uint8_t)seq;
            say(a, b, piece, sizeof piece);
            say(a, b, piece, sizeof piece); /* twice: held once */
            ck_assert_uint_le(arq->in_bytes, MESH_REORDER_BYTES);
        }
    ck_assert_uint_gt(arq->in_bytes, MESH_REORDER_BYTES / 2);
    ck_assert_ptr_eq(net_session(b, a)->arq, arq);
    end();
}
END_TEST

/* ---- airtime ---- */

static const struct net_air one_percent = { .mtu = 490, .flags = KOS_LINK_SHARED | KOS_LINK_ORDERED, .cost = 10000,
                                            .delay_ms = 200, .bits_per_second = 5000, .airtime_ms_per_hour = 36000,
                                            .shared = true };

START_TEST(what_the_budget_cannot_carry)
{
    struct net_node *a, *b;
    uint8_t large[KOS_ID_BYTES], late[KOS_ID_BYTES];
    two(&one_percent, &a, &b);
    join(a, b);
    net_run(&net, 60000);
    uint64_t before = a->datagrams;
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 20000, KLP_CLASS_BULK, large), KOS_OK);
    net_run(&net, 5000);
    ck_assert_uint_eq(a->ended_count, 1);
    ck_assert_int_eq(a->ended[0].status, KOS_E_LIMIT);
    ck_assert_ptr_nonnull(strstr(a->ended[0].text, "airtime"));
    ck_assert_uint_eq(a->datagrams, before);
    /* A third of what bulk may have, eight times: some wait for the budget, which is not exceeded. */
    uint64_t out = a->mesh->counters.bytes_out;
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 4500, KLP_CLASS_BULK, NULL), KOS_OK);
    struct kos_draft draft = { .type = "TASK_REQUEST", .target = "", .klass = KLP_CLASS_BULK, .expires_in_ms = 60000 };
    char *payload = kos_format("{\"x\":\"%08000d\"}", 7);
    draft.payload = kos_bytes_str(payload);
    memcpy(draft.target_id, b->id.b, sizeof draft.target_id);
    net_run(&net, 60000);
    ck_assert_int_eq(net_send_draft(a, &draft), KOS_OK);
    memcpy(late, draft.id, sizeof late);
    free(payload);
    net_run(&net, 30 * 60000);
    uint64_t seconds = (a->mesh->counters.bytes_out - out) * 8 / 5000;
    ck_assert_uint_le(seconds, 36 + 18);
    ck_assert_uint_ge(b->seen_count, 2);
    ck_assert_uint_lt(b->seen_count, 8);
    ck_assert_uint_eq(a->ended_count, 2 + b->seen_count);
    bool refused = false;
    for (uint32_t i = 1; i < a->ended_count; i++)
        refused |= memcmp(a->ended[i].id, late, sizeof late) == 0 && a->ended[i].status < 0;
    ck_assert(refused);
    /* What is small still gets through meanwhile. */
    uint32_t seen = b->seen_count;
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 50, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
    net_run(&net, 30000);
    ck_assert_uint_gt(b->seen_count, seen);
    /* A person can see why. */
    json_t *peers = kos_mesh_peers(a->mesh);
    json_t *link = json_object_get(json_array_get(json_object_get(json_array_get(peers, 0), "sessions"), 0), "link");
    ck_assert_int_eq(json_integer_value(json_object_get(link, "mtu")), 490);
    ck_assert_int_gt(json_integer_value(json_object_get(json_object_get(link, "airtime"), "held")), 0);
    json_decref(peers);
    end();
}
END_TEST

/* Nobody is there: the radio does not go on calling for ever, and less and less. */
START_TEST(calls_into_the_void)
{
    struct net_node *a, *b;
    two(&one_percent, &a, &b);
    join(a, b);
    net_run(&net, 60000);
    deaf = a;
    uint64_t before = a->datagrams;
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 100, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
    net_run(&net, 10 * 60000);
    ck_assert_uint_le(a->datagrams - before, 12);
    deaf = NULL;
    net_run(&net, 10 * 60000);
    ck_assert_uint_eq(b->seen_count, 1);
    ck_assert_uint_eq(a->mesh->outbox_bytes, 0);
    end();
}
END_TEST

TESTS("mesh/datagram_hostile", unproven_source_gets_little, forged_messages_do_not_end_it, noise_on_the_link,
      everything_repeated, peer_that_began_anew, another_under_its_address, malformed_records_end_the_session,
      pieces_never_completed, what_the_budget_cannot_carry, calls_into_the_void)
