/* SPDX-License-Identifier: Apache-2.0
 *
 * Links from strangers: the input opens streams and datagram links to a node, or has it dial, and says what comes
 * over them. Bytes as they stand; or a handshake that is played honestly up to any point, in either role and
 * pattern, with any payload; then records, sealed with the keys of that handshake, before the stranger's identity
 * is proven and after. The node never sends beyond its credit, hands over nothing that is not signed, and keeps to
 * its bounds.
 */
#include "fuzz.h"

#include "../../sdk/klp/log_testing.h"
#include <klp/noise.h>

#include "mesh/mesh_testing.h"

enum { LINKS = 6, STEPS = 40, OUT = 1 << 20, RUN_MS = 200000 };

struct link {
    uint64_t id;
    bool used, up, closed, datagrams, initiator; /* initiator: the stranger's side */
    uint64_t window, credit;
    struct kos_buf out; /* what the node sent; datagrams behind u16 lengths */
    size_t read;
    struct klp_noise *noise;
    int32_t pattern;
    uint8_t number; /* handshake messages so far */
    uint32_t attempt;
    struct klp_record *send, *receive;
};

struct world {
    struct net *net;
    struct net_node *node;
    struct kos_carrier_ops ops;
    struct link links[LINKS];
    struct t_identity stranger;
    uint8_t secret[32], node_static[32];
    uint64_t seed, ran_ms;
};

static struct world *world; /* of this run */

static struct link *find(uint64_t id)
{
    for (size_t i = 0; i < LINKS; i++)
        if (world->links[i].used && world->links[i].id == id)
            return &world->links[i];
    return NULL;
}

static struct link *fresh(void)
{
    for (size_t i = 0; i < LINKS; i++)
        if (!world->links[i].used) {
            world->links[i] = (struct link){ .used = true };
            kos_buf_init(&world->links[i].out, OUT);
            return &world->links[i];
        }
    return NULL;
}

/* ---- the carrier ---- */

static int32_t on_dial(struct kos_carrier *carrier, uint64_t id, const char *address)
{
    struct link *link = fresh();
    (void)carrier;
    (void)address;
    if (!link)
        return KOS_E_UNSUPPORTED;
    link->id = id;
    return KOS_OK;
}

static void on_send(struct kos_carrier *carrier, uint64_t id, const struct kos_bytes *pieces, uint32_t count)
{
    struct link *link = find(id);
    size_t len = 0;
    (void)carrier;
    FUZZ_CHECK(link && link->up && !link->closed);
    for (uint32_t i = 0; i < count; i++)
        len += pieces[i].len;
    FUZZ_CHECK(len && len <= link->window);
    link->window -= len;
    if (link->datagrams) {
        const uint8_t head[2] = { (uint8_t)(len >> 8), (uint8_t)len };
        FUZZ_CHECK(len <= 0xffff);
        kos_buf_append(&link->out, kos_bytes(head, 2));
    }
    for (uint32_t i = 0; i < count; i++)
        kos_buf_append(&link->out, pieces[i]);
}

static void on_credit(struct kos_carrier *carrier, uint64_t id, uint64_t bytes)
{
    struct link *link = find(id);
    (void)carrier;
    if (link)
        link->credit += bytes;
}

static void on_close(struct kos_carrier *carrier, uint64_t id, bool flush)
{
    struct link *link = find(id);
    (void)carrier;
    (void)flush;
    if (link)
        link->closed = true;
}

static void settle(void) { kos_manual_settle(world->node->manual); }

static void down(struct link *link)
{
    if (!link->used)
        return;
    uint64_t id = link->id;
    klp_noise_free(link->noise);
    klp_record_free(link->send);
    klp_record_free(link->receive);
    kos_buf_fini(&link->out);
    memset(link, 0, sizeof *link);
    kos_mesh_link_down(world->node->mesh, id, KOS_E_CLOSED, NULL);
    settle();
}

static struct kos_link_info info_of(struct link *link, uint8_t how)
{
    static const char *const remotes[] = { "tcp://192.0.2.1:1", "tcp://192.0.2.2:2", "", "radio://7" };
    static const uint32_t mtus[] = { 1200, 200, 100000, 128 };
    struct kos_link_info info = {
        .size = sizeof info, .local = "mem://home", .remote = remotes[how >> 1 & 3], .send_window_bytes = 1 << 18
    };
    if (how & 1) {
        info.mtu_bytes = mtus[how >> 3 & 3];
        info.flags = how & 0x20 ? KOS_LINK_RELIABLE | KOS_LINK_ORDERED : 0;
        if (how & 0x40) {
            info.cost = 10000;
            info.bits_per_second = 5000;
        }
    } else {
        info.flags = KOS_LINK_STREAM | KOS_LINK_RELIABLE | KOS_LINK_ORDERED;
    }
    link->datagrams = how & 1;
    link->window = info.send_window_bytes;
    link->up = true;
    return info;
}

static void open_link(uint8_t how)
{
    struct link *link = fresh();
    if (!link)
        return;
    struct kos_link_info info = info_of(link, how);
    link->id = kos_mesh_link_accepted(world->node->mesh, world->node->endpoint, &info);
    link->used = link->id != 0;
    if (!link->used)
        kos_buf_fini(&link->out);
    settle();
}

/* ---- what the stranger sends ---- */

static void deliver(struct link *link, struct kos_bytes bytes)
{
    if (!link->used || !link->up || link->closed || !bytes.len)
        return;
    if (bytes.len > link->credit) { /* a carrier keeps to it */
        if (link->datagrams)
            return;
        bytes.len = (size_t)link->credit;
    }
    link->credit -= bytes.len;
    uint8_t *copy = fuzz_copy(bytes);
    kos_mesh_link_received(world->node->mesh, link->id, kos_bytes(copy, bytes.len));
    free(copy);
    settle();
}

/* One handshake message, framed as the link wants it. */
static void deliver_handshake(struct link *link, struct kos_bytes message)
{
    uint8_t out[2048];
    size_t at = 0;
    link->number++;
    if (link->datagrams) {
        const uint8_t head[9] = { 1,
                                  (uint8_t)(link->pattern << 4 | link->number),
                                  1,
                                  (uint8_t)(link->attempt >> 24),
                                  (uint8_t)(link->attempt >> 16),
                                  (uint8_t)(link->attempt >> 8),
                                  (uint8_t)link->attempt,
                                  (uint8_t)(message.len >> 8),
                                  (uint8_t)message.len };
        memcpy(out, head, sizeof head);
        at = sizeof head;
    } else {
        if (link->initiator && link->number == 1) {
            memcpy(out, "KLP/1", 5);
            out[5] = (uint8_t)link->pattern;
            at = 6;
        }
        out[at++] = (uint8_t)(message.len >> 8);
        out[at++] = (uint8_t)message.len;
    }
    memcpy(out + at, message.data, message.len);
    at += message.len;
    for (; link->datagrams && link->number == 1 && at < 400; at++)
        out[at] = 0; /* so that the answer is within what an unproven source gets */
    deliver(link, kos_bytes(out, at));
}

/* The node's next handshake message; empty: there is none. */
static struct kos_bytes next_handshake(struct link *link)
{
    if (link->out.len == link->read)
        return kos_bytes(NULL, 0);
    struct kos_bytes rest = kos_bytes(link->out.data + link->read, link->out.len - link->read);
    while (link->datagrams && rest.len >= 2) {
        size_t len = (size_t)rest.data[0] << 8 | rest.data[1];
        const uint8_t *datagram = rest.data + 2;
        link->read += 2 + len;
        rest = kos_bytes(rest.data + 2 + len, rest.len - 2 - len);
        if (len < 9 || datagram[0] != 1 || datagram[2] != 1 || datagram[1] & 0x80)
            continue;
        if (!link->number) {
            link->pattern = datagram[1] >> 4 & 7;
            link->attempt =
                (uint32_t)datagram[3] << 24 | (uint32_t)datagram[4] << 16 | (uint32_t)datagram[5] << 8 | datagram[6];
        }
        size_t body = (size_t)datagram[7] << 8 | datagram[8];
        return kos_bytes(datagram + 9, body < len - 9 ? body : len - 9);
    }
    if (link->datagrams)
        return kos_bytes(NULL, 0);
    if (!link->initiator && !link->number && rest.len >= 6) {
        link->pattern = rest.data[5];
        link->read += 6;
        rest = kos_bytes(rest.data + 6, rest.len - 6);
    }
    if (rest.len < 2)
        return kos_bytes(NULL, 0);
    size_t len = (size_t)rest.data[0] << 8 | rest.data[1];
    if (rest.len < 2 + len)
        return kos_bytes(NULL, 0);
    link->read += 2 + len;
    return kos_bytes(rest.data + 2, len);
}

static void begin_handshake(struct link *link, uint8_t how)
{
    if (link->noise || !link->up)
        return;
    link->initiator = !(how & 1);
    link->pattern = how & 2 ? KLP_NOISE_IK : KLP_NOISE_XX;
    link->attempt = 77;
    struct kos_bytes first = kos_bytes(NULL, 0);
    if (!link->initiator) {
        first = next_handshake(link);
        if (!first.len)
            return;
    }
    link->noise = klp_noise_new(link->pattern, link->initiator, world->secret,
                                link->initiator && link->pattern == KLP_NOISE_IK ? world->node_static : NULL,
                                fuzz_random(&world->seed));
    if (!link->noise)
        return;
    uint8_t payload[1024];
    size_t len;
    if (first.len) {
        if (klp_noise_read(link->noise, first, payload, sizeof payload, &len) == 0)
            link->number++;
    }
}

/* The proof as it should be, or what the input says. */
static size_t payload_of(struct fuzz_input *in, uint8_t how, uint8_t out[512])
{
    uint8_t public_key[32];
    if (how & 1) {
        struct kos_bytes said = fuzz_run(in);
        size_t len = said.len < 512 ? said.len : 512;
        if (len)
            memcpy(out, said.data, len);
        return len;
    }
    klp_x25519_public(world->secret, public_key);
    FUZZ_CHECK(klp_proof_make(world->stranger.log, &world->stranger.current, public_key, out) == 0);
    if (how & 2)
        out[fuzz_u8(in) % KLP_PROOF_LEN] ^= fuzz_u8(in);
    return KLP_PROOF_LEN;
}

static void go_on(struct link *link, struct fuzz_input *in, uint8_t how)
{
    uint8_t payload[1024], message[1024];
    size_t len;
    if (!link->noise || klp_noise_done(link->noise))
        return;
    if (!klp_noise_writes(link->noise)) {
        struct kos_bytes next = next_handshake(link);
        if (!next.len || klp_noise_read(link->noise, next, payload, sizeof payload, &len) < 0)
            return;
        link->number++;
    }
    if (klp_noise_writes(link->noise)) {
        bool proof = link->pattern == KLP_NOISE_IK || link->number > 0 || how & 4;
        len = proof ? payload_of(in, how, payload) : 0;
        if (klp_noise_write(link->noise, kos_bytes(payload, len), message, sizeof message, &len) < 0)
            return;
        if (how & 8 && len)
            message[fuzz_u16(in) % len] ^= fuzz_u8(in);
        deliver_handshake(link, kos_bytes(message, len));
    }
    if (link->used && link->noise && klp_noise_done(link->noise) && !link->send)
        FUZZ_CHECK(klp_noise_split(link->noise, &link->send, &link->receive) == 0);
}

static void record(struct link *link, struct kos_bytes plain)
{
    if (!link->send || plain.len > 40000)
        return;
    uint8_t *out = malloc(plain.len + 64);
    FUZZ_CHECK(out);
    if (link->datagrams) {
        if (klp_record_seal_datagram(link->send, plain, out) == 0)
            deliver(link, kos_bytes(out, plain.len + KLP_RECORD_DATAGRAM_OVERHEAD));
    } else if (klp_record_seal(link->send, plain, out) == 0) {
        deliver(link, kos_bytes(out, plain.len + KLP_RECORD_OVERHEAD));
    }
    free(out);
}

/* What an honest peer says first, and then a message; over datagrams as piece `seq` of its class. */
static void honest(struct link *link, uint8_t what, uint8_t seq)
{
    static uint8_t plain[8192];
    size_t at = link->datagrams ? 3 : 0, len = 0;
    uint8_t *body = plain + at + KLP_FRAME_HEADER, type, klass = KLP_CLASS_CONTROL;
    size_t cap = sizeof plain - at - KLP_FRAME_HEADER;
    if (what % 3 == 0) {
        uint8_t *text;
        type = KLP_FRAME_LOG;
        FUZZ_CHECK(klp_log_text(world->stranger.log, 0, &text, &len) == 0 && len <= cap);
        memcpy(body, text, len);
        free(text);
    } else if (what % 3 == 1) {
        static const char hello[] = "{\"features\":[],\"name\":\"laptop\",\"roles\":[\"peer\"],\"version\":\"1\"}";
        type = KLP_FRAME_HELLO;
        len = sizeof hello - 1;
        memcpy(body, hello, len);
    } else {
        struct klp_message m = { .type = "TASK_REQUEST",
                                 .id = { { what, seq } },
                                 .source = kos_bytes_str("klp://node.laptop"),
                                 .target = kos_bytes_str("klp://node.home"),
                                 .source_id = *klp_log_id(world->stranger.log),
                                 .target_id = world->node->id,
                                 .created = kos_now_ms(world->node->env),
                                 .expires = kos_now_ms(world->node->env) + 60000,
                                 .payload = { KLP_JSON_OBJECT, kos_bytes_str("{}") } };
        type = KLP_FRAME_MESSAGE;
        klass = KLP_CLASS_INTERACTIVE;
        FUZZ_CHECK(klp_message_make(&m, body + 2 + KLP_SIGNATURE_LEN, cap - 2 - KLP_SIGNATURE_LEN, &len, NULL) == 0);
        FUZZ_CHECK(klp_sign(&world->stranger.current, KLP_TAG_MESSAGE, kos_bytes(body + 2 + KLP_SIGNATURE_LEN, len),
                            body + 2) == 0);
        body[0] = 0;
        body[1] = KLP_SIGNATURE_LEN;
        len += 2 + KLP_SIGNATURE_LEN;
    }
    if (at) {
        plain[0] = (uint8_t)(0x10 | klass);
        plain[1] = 0;
        plain[2] = seq;
    }
    int32_t framed = klp_frame_put(plain + at, sizeof plain - at, type, klass, false, kos_bytes(body, len));
    FUZZ_CHECK(framed > 0);
    record(link, kos_bytes(plain, at + (size_t)framed));
}

static void connected(void *arg, const struct kos_mesh_connected *result)
{
    (void)arg;
    FUZZ_CHECK(result->status == KOS_OK || result->text[0]);
}

static void dial(uint8_t how)
{
    struct kos_error error;
    kos_mesh_connect(world->node->mesh, how & 1 ? "tcp://192.0.2.9:1" : "mem://x",
                     how & 2 ? klp_log_id(world->stranger.log) : NULL, 5000, connected, NULL, &error);
    settle();
}

static void step(struct fuzz_input *in)
{
    uint8_t op = fuzz_u8(in), how;
    struct link *link = &world->links[(op >> 4) % LINKS];
    uint64_t ms;
    switch (op & 15) {
    case 0:
        open_link(fuzz_u8(in));
        break;
    case 1:
    case 2:
        deliver(link, fuzz_run(in));
        break;
    case 3:
        begin_handshake(link, fuzz_u8(in));
        break;
    case 4:
    case 5:
        how = fuzz_u8(in);
        go_on(link, in, how);
        break;
    case 6:
    case 7:
        record(link, fuzz_run(in));
        break;
    case 8:
    case 9:
        how = fuzz_u8(in);
        honest(link, how, fuzz_u8(in));
        break;
    case 10:
        ms = op & 0x80 ? 65000 : fuzz_u16(in);
        if (world->ran_ms + ms <= RUN_MS)
            kos_manual_advance(world->node->manual, ms);
        world->ran_ms += ms;
        break;
    case 11:
        down(link);
        break;
    case 12:
        if (link->used && link->up) {
            uint64_t left = (1 << 18) - link->window;
            link->window += left;
            kos_mesh_link_credit(world->node->mesh, link->id, left);
            settle();
        }
        break;
    case 13:
        dial(fuzz_u8(in));
        break;
    case 14:
        how = fuzz_u8(in);
        if (link->used && !link->up && !link->closed) {
            struct kos_link_info info = info_of(link, how);
            kos_mesh_link_up(world->node->mesh, link->id, &info);
            settle();
        }
        break;
    default:
        if (link->used && link->closed)
            down(link);
    }
}

static void open_world(struct world *w)
{
    world = w;
    w->net = calloc(1, sizeof *w->net);
    FUZZ_CHECK(w->net);
    w->net->window = 256 << 10;
    w->net->raw_links = true;
    w->node = net_add(w->net, "home");
    w->ops = *w->node->carrier.ops;
    w->ops.dial = on_dial;
    w->ops.send = on_send;
    w->ops.credit = on_credit;
    w->ops.close = on_close;
    w->node->carrier.ops = &w->ops;
    t_incept(&w->stranger, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    memset(w->secret, 5, sizeof w->secret);
    klp_x25519_public(kos_keys_noise_secret(w->node->keys), w->node_static);
    w->seed = 23;
    struct kos_tx *tx = kos_tx_begin(w->node->store);
    FUZZ_CHECK(kos_trust_set(w->node->trust, tx, klp_log_id(w->stranger.log), 8, NULL) == KOS_OK &&
               kos_tx_commit(tx, NULL, NULL) >= 0);
    settle();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input(data, size);
    struct world *w = calloc(1, sizeof *w);
    FUZZ_CHECK(w);
    open_world(w);
    for (int i = 0; i < STEPS && in.left; i++)
        step(&in);
    for (uint32_t i = 0; i < w->node->seen_count; i++)
        FUZZ_CHECK(memcmp(w->node->seen[i].source_id, klp_log_id(w->stranger.log)->b, KLP_ID_LEN) == 0);
    /* What a person asks is answered, whatever strangers did. */
    json_t *status = kos_mesh_status(w->node->mesh), *peers = kos_mesh_peers(w->node->mesh);
    FUZZ_CHECK(status && peers);
    json_decref(status);
    json_decref(peers);
    for (size_t i = 0; i < LINKS; i++)
        down(&w->links[i]);
    FUZZ_CHECK(!w->node->mesh->links || HASH_COUNT(w->node->mesh->links) <= LINKS);
    if (!w->node->mesh->links)
        FUZZ_CHECK(w->node->mesh->half_open == 0 && !w->node->mesh->sources);
    net_fini(w->net);
    for (size_t i = 0; i < LINKS; i++) /* dialled again meanwhile */
        if (w->links[i].used)
            kos_buf_fini(&w->links[i].out);
    klp_log_free(w->stranger.log);
    free(w->net);
    free(w);
    return 0;
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    /* open, begin, message 1, message 3 (XX), then log, hello, two messages, a record of the input's own */
    static const uint8_t runs[][48] = {
        { 0, 0, 3, 0, 4, 0, 4, 0, 8, 0, 0, 8, 1, 0, 8, 2, 0, 8, 5, 0, 6, 0, 4, 1, 0, 0, 0, 12, 10, 0, 100 },
        { 0, 0, 3, 2, 4, 0, 4, 0, 8, 0, 0, 8, 1, 0, 8, 2, 0, 6, 0, 12, 1, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8 },
        { 0, 0x21, 3, 0, 4, 0, 4, 0, 8, 0, 0, 8, 1, 1, 8, 2, 0, 8, 5, 1, 10, 1, 0 },
        { 0, 0x01, 3, 2, 4, 0, 4, 0, 8, 0, 0, 8, 1, 1, 8, 2, 0, 10, 1, 0, 6, 0, 3, 0x11, 0, 1 },
        { 13, 0, 14, 0, 3, 1, 4, 0, 4, 0, 8, 0, 0, 8, 1, 0, 8, 2, 0, 10, 4, 0 },
        { 13, 2, 14, 1, 3, 1, 4, 0, 4, 0, 8, 0, 0, 8, 1, 1, 10, 4, 0, 11 },
        { 0, 0, 1, 0, 14, 'K', 'L', 'P', '/', '1', 1, 0, 5, 1, 2, 3, 4, 5, 6 },
        { 0, 1, 1, 0, 12, 1, 0x11, 1, 0, 0, 0, 9, 0, 3, 1, 2, 3, 0, 3, 0x13, 2, 0x14, 8, 0, 3, 4 },
        { 0, 0x41, 3, 0, 4, 0, 4, 0, 8, 0, 0, 8, 1, 1, 0x8a, 8, 2, 0, 0x8a },
    };
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        put(arg, kos_bytes(runs[i], sizeof runs[i]));
}
