/* SPDX-License-Identifier: Apache-2.0
 *
 * A peer with an open session that sends what it likes: the input is what stands in the records of "laptop", as "home"
 * sees it after decryption, over a stream or over datagrams. Frames, items, messages, batches, receipts, logs and
 * statements are also made and signed here as the input says. Meanwhile both send messages, time passes, the link is
 * cut, the policy changes, the power fails. Nothing is ever handed to a handler that its source did not sign.
 */
#include "fuzz.h"

#include <klp/compact.h>

#include "mesh/mesh_testing.h"

enum { STEPS = 24, RUN_MS = 6000, ITEM = 1 << 15 };

struct world {
    struct net *net;
    struct net_node *a, *b;
    uint64_t ran_ms;
    uint8_t item[ITEM];
    uint8_t sent[KOS_ID_BYTES]; /* the last message of b */
};

static void pass(struct world *w, uint64_t ms)
{
    if (w->ran_ms + ms > RUN_MS)
        return;
    w->ran_ms += ms;
    net_run(w->net, ms);
}

/* ---- into b's session ---- */

static void record(struct world *w, struct kos_bytes plain)
{
    struct mesh_session *session = net_session(w->b, w->a);
    if (!session || session->link->closing)
        return;
    uint8_t *copy = fuzz_copy(plain);
    if (session->arq)
        mesh_packet_take(session, kos_bytes(copy, plain.len));
    else
        mesh_session_record(session, kos_bytes(copy, plain.len));
    free(copy);
    net_settle(w->net);
}

/* Frames in their place: over datagrams behind the number that comes next. */
static void frames(struct world *w, uint8_t klass, struct kos_bytes bytes)
{
    struct mesh_session *session = net_session(w->b, w->a);
    if (!session || !session->arq) {
        record(w, bytes);
        return;
    }
    uint8_t *piece = malloc(bytes.len + 3);
    uint64_t seq = session->arq->expected[klass % KLP_CLASSES];
    FUZZ_CHECK(piece);
    piece[0] = (uint8_t)(0x10 | klass % KLP_CLASSES);
    piece[1] = (uint8_t)(seq >> 8);
    piece[2] = (uint8_t)seq;
    if (bytes.len)
        memcpy(piece + 3, bytes.data, bytes.len);
    record(w, kos_bytes(piece, bytes.len + 3));
    free(piece);
}

static void frame(struct world *w, uint8_t type, uint8_t klass, bool more, struct kos_bytes payload)
{
    uint8_t *out = malloc(payload.len + KLP_FRAME_HEADER);
    FUZZ_CHECK(out);
    int32_t len = klp_frame_put(out, payload.len + KLP_FRAME_HEADER, type, klass, more, payload);
    if (len > 0)
        frames(w, klass, kos_bytes(out, (size_t)len));
    free(out);
}

/* As it is, or its compact form. */
static void item(struct world *w, uint8_t type, uint8_t klass, struct kos_bytes payload, size_t head, bool compact)
{
    uint8_t *data;
    size_t len;
    if (compact && klp_compact_make(kos_bytes(payload.data + head, payload.len - head), &data, &len) == 0) {
        uint8_t *whole = malloc(head + len);
        FUZZ_CHECK(whole);
        memcpy(whole, payload.data, head);
        memcpy(whole + head, data, len);
        frame(w, (uint8_t)(type + KLP_FRAME_COMPACT), klass, false, kos_bytes(whole, head + len));
        free(whole);
        free(data);
    } else {
        frame(w, type, klass, false, payload);
    }
}

/* ---- what is signed ---- */

static const struct klp_secret *secret_of(const struct net_node *node)
{
    return kos_identity_secret(kos_keys_node(node->keys));
}

static bool object(struct kos_bytes text)
{
    struct klp_json value;
    return klp_json_read(text, text.len, &value, NULL) == 0 && value.type == KLP_JSON_OBJECT;
}

/* A message as it should be, but for what the bits of `how` spoil. Returns its length behind `head` bytes. */
static size_t message_into(struct world *w, struct fuzz_input *in, uint8_t *out, size_t cap)
{
    static const char *const types[] = { "TASK_REQUEST", "BROADCAST_ANNOUNCE", "ERROR", "UNKNOWN" };
    static const char *const targets[] = { "klp://node.home", "klp://agent.echo.home", "klp://node.else",
                                           "peer://home" };
    uint8_t how = fuzz_u8(in), which = fuzz_u8(in);
    struct kos_bytes payload = fuzz_run(in);
    struct klp_message m = { .source = kos_bytes_str("klp://node.laptop"),
                             .target = kos_bytes_str(targets[which >> 2 & 3]),
                             .source_id = w->a->id,
                             .target_id = w->b->id,
                             .created = kos_now_ms(w->b->env) };
    strcpy(m.type, types[which & 3]);
    m.id.b[0] = which;
    m.expires = m.created + 60000;
    m.payload = (struct klp_json){ KLP_JSON_OBJECT, object(payload) ? payload : kos_bytes_str("{}") };
    if (how & 1)
        m.created += ((int64_t)which - 128) * 5000;
    if (how & 2)
        m.expires = m.created + 1 + which;
    if (how & 4)
        m.source_id.b[which % KLP_ID_LEN] ^= 1;
    if (how & 8)
        m.target_id.b[which % KLP_ID_LEN] ^= 1;
    if (how & 16)
        m.event = which;
    if (how & 32) {
        m.has_reply_to = true;
        memcpy(m.reply_to.b, w->sent, sizeof w->sent);
    }
    if (how & 64)
        m.target_id = w->b->agent;
    size_t len;
    struct kos_error error;
    return klp_message_make(&m, out, cap, &len, &error) == 0 ? len : 0;
}

static void one_message(struct world *w, struct fuzz_input *in, uint8_t op)
{
    size_t head = 2 + KLP_SIGNATURE_LEN, len;
    if (op & 0x80) { /* any body */
        struct kos_bytes body = fuzz_run(in);
        len = body.len < ITEM - head ? body.len : ITEM - head;
        if (len)
            memcpy(w->item + head, body.data, len);
    } else {
        len = message_into(w, in, w->item + head, ITEM - head);
    }
    w->item[0] = 0;
    w->item[1] = KLP_SIGNATURE_LEN;
    klp_sign(secret_of(op & 0x40 ? w->b : w->a), KLP_TAG_MESSAGE, kos_bytes(w->item + head, len), w->item + 2);
    item(w, KLP_FRAME_MESSAGE, op & 0x20 ? KLP_CLASS_BULK : KLP_CLASS_INTERACTIVE, kos_bytes(w->item, head + len), head,
         op & 0x10);
}

static void batch(struct world *w, struct fuzz_input *in, uint8_t op)
{
    struct klp_digest digests[4];
    size_t at = KLP_SIGNATURE_LEN + 2, count = 1 + (op >> 4 & 3);
    for (size_t i = 0; i < count; i++) {
        size_t len = message_into(w, in, w->item + at + 4, ITEM - at - 4);
        const uint8_t size[4] = { 0, (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len };
        memcpy(w->item + at, size, 4);
        klp_sha256(kos_bytes(w->item + at + 4, len), &digests[i]);
        at += 4 + len;
    }
    w->item[KLP_SIGNATURE_LEN] = 0;
    w->item[KLP_SIGNATURE_LEN + 1] = (uint8_t)count;
    if (klp_batch_sign(secret_of(w->a), digests, count, w->item) < 0)
        return;
    if (op & 0x80)
        w->item[fuzz_u16(in) % at] ^= fuzz_u8(in);
    item(w, KLP_FRAME_BATCH, KLP_CLASS_INTERACTIVE, kos_bytes(w->item, at), at, false);
}

static void receipts(struct world *w, struct fuzz_input *in, uint8_t op)
{
    size_t len = 0;
    if (op & 0x80) {
        struct kos_bytes body = fuzz_run(in);
        len = body.len < ITEM - KLP_SIGNATURE_LEN ? body.len : ITEM - KLP_SIGNATURE_LEN;
        if (len)
            memcpy(w->item + KLP_SIGNATURE_LEN, body.data, len);
    } else {
        struct klp_receipt receipt = { .error = op & 0x40 ? KOS_E_BUSY : 0 };
        struct kos_bytes digest = fuzz_take(in, 32);
        memcpy(receipt.id.b, w->sent, sizeof w->sent);
        if (digest.len)
            memcpy(receipt.digest.b, digest.data, digest.len);
        klp_receipts_make(&w->a->id, 0, kos_now_ms(w->b->env), &receipt, 1, w->item + KLP_SIGNATURE_LEN,
                          ITEM - KLP_SIGNATURE_LEN, &len);
    }
    klp_sign(secret_of(w->a), KLP_TAG_RECEIPT, kos_bytes(w->item + KLP_SIGNATURE_LEN, len), w->item);
    item(w, KLP_FRAME_RECEIPTS, KLP_CLASS_CONTROL, kos_bytes(w->item, KLP_SIGNATURE_LEN + len), KLP_SIGNATURE_LEN,
         op & 0x10);
}

static void log_of_a(struct world *w, struct fuzz_input *in, uint8_t op)
{
    uint8_t *text;
    size_t len;
    FUZZ_CHECK(klp_log_text(kos_identity_log(kos_keys_node(w->a->keys)), 0, &text, &len) == 0);
    if (op & 0x80)
        text[fuzz_u16(in) % len] ^= fuzz_u8(in);
    if (op & 0x40)
        len = fuzz_u16(in) % (len + 1);
    frame(w, KLP_FRAME_LOG, KLP_CLASS_CONTROL, false, kos_bytes(text, len));
    free(text);
}

static void statement(struct world *w, struct fuzz_input *in, uint8_t op)
{
    struct klp_statement s = {
        .kind = MESH_RECORD_KIND, .issuer = w->a->id, .seq = fuzz_u8(in), .created = kos_now_ms(w->b->env)
    };
    struct kos_bytes body = fuzz_run(in);
    size_t len;
    s.expires = s.created + 1000000;
    s.event = op & 0x80 ? fuzz_u8(in) : 0;
    if (!object(body))
        body =
            kos_bytes_str("{\"addresses\":[\"mem://laptop\"],\"agents\":[],\"name\":\"laptop\",\"roles\":[\"peer\"]}");
    if (klp_statement_make(&s, body, secret_of(w->a), w->item, ITEM, &len) == 0)
        frame(w, KLP_FRAME_STATEMENT, KLP_CLASS_CONTROL, false, kos_bytes(w->item, len));
}

/* ---- steps ---- */

static void happen(struct world *w, struct fuzz_input *in, uint8_t op)
{
    switch (op >> 4) {
    case 0:
        net_cut(w->net);
        pass(w, 1000);
        break;
    case 1:
        net_policy(w->b, "peers = { block = [ \"laptop\" ]; };");
        break;
    case 2:
        net_policy(w->b,
                   "limits = ( { peer = \"*\"; type = \"*\"; messages_per_minute = 3; bytes_per_minute = \"2K\"; } );");
        break;
    case 3:
        net_policy(w->b, "name = \"x\";");
        break;
    case 4:
        if (!w->b->agents)
            net_agent(w->b, "echo", fuzz_u8(in) % 11);
        break;
    case 5:
        net_crash(w->b);
        net_start(w->b);
        pass(w, 2000);
        break;
    case 6:
        w->b->verdict = fuzz_u8(in) % 3 + 1;
        if (w->b->verdict == KOS_DEFER) {
            w->b->verdict = KOS_ACCEPT;
            w->b->defers = 2;
        }
        break;
    default:
        pass(w, (uint64_t)fuzz_u8(in) * 20);
    }
}

static void step(struct world *w, struct fuzz_input *in)
{
    uint8_t op = fuzz_u8(in), type, klass;
    switch (op & 15) {
    case 0:
    case 1:
        record(w, fuzz_run(in));
        break;
    case 2:
    case 3:
        klass = fuzz_u8(in);
        frames(w, klass, fuzz_run(in));
        break;
    case 4:
    case 5:
        type = fuzz_u8(in);
        klass = fuzz_u8(in);
        frame(w, type % 20, klass % KLP_CLASSES, klass & 0x80, fuzz_run(in));
        break;
    case 6:
    case 7:
        one_message(w, in, op);
        break;
    case 8:
        batch(w, in, op);
        break;
    case 9:
        receipts(w, in, op);
        break;
    case 10:
        log_of_a(w, in, op);
        break;
    case 11:
        statement(w, in, op);
        break;
    case 12:
        net_send(w->b, w->a, "TASK_REQUEST", fuzz_u8(in), KLP_CLASS_INTERACTIVE, w->sent);
        if (op & 0x80)
            net_settle(w->net);
        break;
    case 13:
        net_send(w->a, w->b, "TASK_REQUEST", (size_t)fuzz_u8(in) * 16,
                 op & 0x80 ? KLP_CLASS_BULK : KLP_CLASS_INTERACTIVE, NULL);
        if (op & 0x40)
            net_settle(w->net);
        break;
    default:
        happen(w, in, op);
    }
}

static void open_world(struct world *w, uint8_t mode)
{
    static const struct net_air small = { .mtu = 200, .delay_ms = 5 };
    memset(w, 0, sizeof *w);
    /* As net_init() does, without touching what is large and zero already. */
    w->net = calloc(1, sizeof *w->net);
    FUZZ_CHECK(w->net);
    w->net->window = 256 << 10;
    w->net->seed = 88172645463325252;
    if (mode % 4)
        w->net->air = mode % 4 == 1 ? net_tunnel : mode % 4 == 2 ? small : net_lossy;
    w->a = net_add(w->net, "laptop");
    w->b = net_add(w->net, "home");
    net_trust(w->b, w->a, 8);
    net_trust(w->a, w->b, 8);
    net_connect_kept(w->a, w->b);
    for (int i = 0; i < 100 && !(net_session(w->a, w->b) && net_session(w->b, w->a)); i++)
        net_run(w->net, 50);
    FUZZ_CHECK(net_session(w->b, w->a));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input(data, size);
    struct world *w = malloc(sizeof *w);
    FUZZ_CHECK(w);
    open_world(w, fuzz_u8(&in));
    for (int i = 0; i < STEPS && in.left; i++)
        step(w, &in);
    pass(w, 500);
    for (uint32_t i = 0; i < w->b->seen_count; i++)
        FUZZ_CHECK(memcmp(w->b->seen[i].source_id, w->a->id.b, KLP_ID_LEN) == 0);
    FUZZ_CHECK(w->b->mesh->half_open <= 2);
    json_t *status = kos_mesh_status(w->b->mesh), *peers = kos_mesh_peers(w->b->mesh);
    FUZZ_CHECK(status && peers);
    json_decref(status);
    json_decref(peers);
    net_fini(w->net);
    free(w->net);
    free(w);
    return 0;
}

static void run(struct fuzz_out *out, const char *text) { fuzz_add_run(out, kos_bytes_str(text)); }

void fuzz_seeds(fuzz_put *put, void *arg)
{
    static struct fuzz_out o;
    for (uint8_t mode = 0; mode < 4; mode++) {
        static const uint8_t ping[] = { 4, KLP_FRAME_PING, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8 };
        static const uint8_t credit[] = { 4, KLP_FRAME_CREDIT, 0, 0, 9, 1, 0, 0, 0, 0, 0, 1, 0, 0 };
        o.len = 0;
        fuzz_add_u8(&o, mode);
        fuzz_add(&o, ping, sizeof ping);
        fuzz_add(&o, credit, sizeof credit);
        fuzz_add(&o, "\x06\x00\x01", 3); /* a message */
        run(&o, "{\"a\":1}");
        fuzz_add(&o, "\x16\x00\x02", 3); /* compact */
        run(&o, "{\"a\":1}");
        fuzz_add(&o, "\x28\x00\x03", 3); /* a batch of three */
        run(&o, "{}");
        fuzz_add(&o, "\x00\x10", 2);
        run(&o, "{}");
        fuzz_add(&o, "\x20\x11", 2);
        run(&o, "{}");
        fuzz_add(&o, "\x8c\x05\x09", 3);
        fuzz_add(&o, "0123456789abcdef0123456789abcdef", 32);
        put(arg, kos_bytes(o.data, o.len));
        o.len = 0;
        fuzz_add_u8(&o, mode);
        fuzz_add(&o, "\x0a\x0b\x05", 3); /* its log, its record */
        run(&o, "");
        fuzz_add(&o, "\x05\x07\x00", 3);
        run(&o, "{\"from\":0,\"id\":\"aaaaaaaaaaaaaaaaaaaaaaaaaa\"}");
        fuzz_add(&o, "\x4e\x05\x06\x40\x04", 5);
        run(&o, "{}");
        fuzz_add(&o, "\x4d\x20\x0e\x2e\x06\x00\x09", 7);
        run(&o, "{}");
        fuzz_add(&o, "\x5e\x06\x00\x0a", 4);
        run(&o, "{}");
        fuzz_add(&o, "\x04\x04\x00", 3);
        run(&o, "{\"error\":\"closed\",\"text\":\"bye\"}");
        put(arg, kos_bytes(o.data, o.len));
    }
}
