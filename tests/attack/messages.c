/* SPDX-License-Identifier: Apache-2.0
 * Attacks on what is signed: messages that were said before, by others, to others, or were never said; and
 * acknowledgements of what nobody has. */
#include "evil.h"

#include <time.h>

static int64_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct klp_id id_option(const struct evil *evil, const char *name, struct klp_id otherwise)
{
    const char *text = option(evil, name, NULL);
    struct klp_id id = otherwise;
    if (text && klp_id_parse(kos_bytes_str(text), &id) < 0)
        fail("%s=%s is no id", name, text);
    return id;
}

static struct klp_id numbered(const struct evil *evil, long n)
{
    struct klp_digest digest;
    struct klp_id id;
    char text[64];
    int len = snprintf(text, sizeof text, "%s %ld", option(evil, "n", "a message"), n);
    klp_sha256(kos_bytes(text, (size_t)len), &digest);
    memcpy(id.b, digest.b, sizeof id.b);
    return id;
}

/* text=A goes as the input of a task. The same options make the same bytes, when created= is among them. */
struct kos_bytes message_make(const struct evil *evil, const struct identity *identity, long n)
{
    int64_t created = number(evil, "created", (long)clock_ms());
    struct klp_message message = { .source_id = identity->id, .event = identity->event, .created = created, .expires = created + number(evil, "life", 600000) };
    char source[64], id[KLP_ID_TEXT], payload[2048];
    size_t len, cap = 1 << 16;
    uint8_t *body = malloc(cap);
    struct kos_error error = { 0 };
    snprintf(message.type, sizeof message.type, "%s", option(evil, "type", "TASK_REQUEST"));
    message.id = id_option(evil, "id", numbered(evil, n));
    klp_id_text(&identity->id, id);
    snprintf(source, sizeof source, "klp://node.%s", option(evil, "source_id", id));
    message.source = kos_bytes_str(option(evil, "source", source));
    message.source_id = id_option(evil, "source_id", identity->id);
    message.target = kos_bytes_str(option(evil, "target", "klp://agent.log.home.kai"));
    message.target_id = id_option(evil, "target_id", identity->id);
    if (option(evil, "reply_to", NULL)) {
        message.has_reply_to = true;
        message.reply_to = id_option(evil, "reply_to", identity->id);
    }
    snprintf(payload, sizeof payload, "{\"deadline\":%lld,\"inputs\":[\"%s\\n\"]}", (long long)message.expires, option(evil, "text", "evil"));
    const char *given = option(evil, "payload", payload);
    if (klp_json_read(kos_bytes_str(given), 1 << 20, &message.payload, NULL) < 0 || klp_message_make(&message, body, cap, &len, &error) < 0)
        fail("no message: %s", error.text);
    return kos_bytes(body, len);
}

struct kos_bytes item_make(struct kos_bytes signature, struct kos_bytes body)
{
    uint8_t *item = malloc(2 + signature.len + body.len);
    item[0] = (uint8_t)(signature.len >> 8);
    item[1] = (uint8_t)signature.len;
    memcpy(item + 2, signature.data, signature.len);
    memcpy(item + 2 + signature.len, body.data, body.len);
    return kos_bytes(item, 2 + signature.len + body.len);
}

static void add_order(uint8_t s[32])
{
    /* Of edwards25519's base point, little-endian (RFC 8032, 5.1). */
    static const uint8_t order[32] = { 0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10 };
    for (unsigned i = 0, carry = 0; i < 32; i++) {
        carry += (unsigned)s[i] + order[i];
        s[i] = (uint8_t)carry;
        carry >>= 8;
    }
}

static void negate(uint8_t s[32])
{
    /* Of P-256's base point, big-endian (SEC 2, 2.4.2). */
    static const uint8_t order[32] = { 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51 };
    for (int i = 31, borrow = 0; i >= 0; i--) {
        int digit = order[i] - s[i] - borrow;
        borrow = digit < 0;
        s[i] = (uint8_t)(digit + 256 * borrow);
    }
}

/* how= what is wrong with the signature. */
static struct kos_bytes signature_make(const char *how, const struct identity *identity, struct kos_bytes body)
{
    static uint8_t signature[KLP_BATCH_SIGNATURE_MAX];
    struct klp_digest digests[2];
    klp_sha256(body, &digests[0]);
    digests[1] = digests[0];
    klp_sign(identity_key(identity), strcmp(how, "tag") == 0 ? KLP_TAG_RECEIPT : KLP_TAG_MESSAGE, body, signature);
    if (strcmp(how, "flipped") == 0)
        signature[5] ^= 1;
    else if (strcmp(how, "order") == 0)
        add_order(signature + 32);
    else if (strcmp(how, "high") == 0)
        negate(signature + 32);
    else if (strcmp(how, "zero") == 0)
        memset(signature, 0, 64);
    else if (strcmp(how, "small-r") == 0)
        memset(signature, 0, 64), signature[0] = 1;
    if (strcmp(how, "batch") != 0 && strcmp(how, "path") != 0 && strcmp(how, "index") != 0)
        return kos_bytes(signature, 64);
    /* A root of two, and then a path that leads elsewhere, or an index that is none of it. */
    uint8_t root[64];
    klp_batch_sign(identity_key(identity), digests, 2, root);
    int32_t len = klp_batch_extract(digests, 2, 1, root, signature);
    if (strcmp(how, "path") == 0)
        signature[len - 1] ^= 1;
    else if (strcmp(how, "index") == 0)
        signature[71] = 2;
    return kos_bytes(signature, (size_t)len);
}

/* signer=SEED: who signed it, if not whose session it is; count=N messages, with how many receipts to wait for. */
static int message(const struct evil *evil)
{
    struct identity self, signer;
    const char *seed = option(evil, "seed", "1"), *how = option(evil, "how", "good");
    struct quirk quirk = { .ik = number(evil, "ik", 0) };
    identity_make(evil, seed, &self);
    identity_make(evil, option(evil, "signer", seed), &signer);
    struct session *session = session_open(evil, &self, &quirk);
    if (number(evil, "stay", 0))
        wait_for_line();
    for (long i = 0; i < number(evil, "count", 1) && !session->closed; i++) {
        struct kos_bytes body = message_make(evil, &signer, i);
        struct kos_bytes item = item_make(signature_make(how, &signer, body), body);
        uint64_t wanted = session->receipts + 1;
        if (!item_send(session, KLP_FRAME_MESSAGE, KLP_CLASS_INTERACTIVE, item))
            break;
        session_read(session, &session->receipts, wanted, (int)number(evil, "receipt", 10000));
        free((void *)body.data);
        free((void *)item.data);
        if (number(evil, "pace", 0) && !session->closed)
            wait_for_line();
    }
    return session_end(session);
}

/* A batch under one root: how=good; root: a root over other messages; swapped: another message in one's place. */
static int batch(const struct evil *evil)
{
    enum { COUNT = 4 };
    struct identity self;
    struct klp_digest digests[COUNT];
    struct kos_bytes bodies[COUNT];
    uint8_t *item = calloc(1, 1 << 18);
    size_t at = 66;
    const char *how = option(evil, "how", "good");
    identity_make(evil, option(evil, "seed", "1"), &self);
    struct session *session = session_open(evil, &self, NULL);
    for (int i = 0; i < COUNT; i++) {
        bodies[i] = message_make(evil, &self, i);
        klp_sha256(bodies[i], &digests[i]);
    }
    klp_batch_sign(identity_key(&self), digests, strcmp(how, "root") == 0 ? COUNT - 1 : COUNT, item);
    if (strcmp(how, "swapped") == 0)
        bodies[2] = message_make(evil, &self, 77);
    item[65] = COUNT;
    for (int i = 0; i < COUNT; i++) {
        item[at + 2] = (uint8_t)(bodies[i].len >> 8);
        item[at + 3] = (uint8_t)bodies[i].len;
        memcpy(item + at + 4, bodies[i].data, bodies[i].len);
        at += 4 + bodies[i].len;
    }
    if (item_send(session, KLP_FRAME_BATCH, KLP_CLASS_INTERACTIVE, kos_bytes(item, at)))
        session_read(session, &session->receipts, 1, 10000);
    return session_end(session);
}

/* Waits for a message of theirs and says it back to them, as it came. */
static int reflect_message(const struct evil *evil)
{
    struct identity self;
    identity_make(evil, option(evil, "seed", "1"), &self);
    struct session *session = session_open(evil, &self, NULL);
    if (!session_read(session, &session->messages, 1, EVIL_WAIT_MS))
        fail("no message came");
    if (item_send(session, session->item_type, KLP_CLASS_INTERACTIVE, kos_bytes(session->item, session->item_len)))
        session_read(session, &session->receipts, 1, 10000);
    return session_end(session);
}

/* Receipts: id= digest= error= node=SEED in whose name, signer=SEED by whose key, claim=EVENT. await=1: of the message that
 * comes first (then id and digest are its own unless given); how=flipped, tag. */
static int receipt(const struct evil *evil)
{
    struct identity self, node, signer;
    const char *seed = option(evil, "seed", "1"), *how = option(evil, "how", "good");
    uint8_t item[4096];
    struct klp_receipt one = { .error = option(evil, "error", NULL) ? klp_error_parse(kos_bytes_str(option(evil, "error", ""))) : 0 };
    size_t len;
    identity_make(evil, seed, &self);
    identity_make(evil, option(evil, "node", seed), &node);
    identity_make(evil, option(evil, "signer", seed), &signer);
    struct session *session = session_open(evil, &self, NULL);
    if (number(evil, "await", 0)) {
        struct kos_bytes body, signature;
        struct klp_message message;
        if (!session_read(session, &session->messages, 1, EVIL_WAIT_MS) || klp_item_message(kos_bytes(session->item, session->item_len), &body, &signature) < 0 || klp_message_parse(body, &message, NULL) < 0)
            fail("no message came");
        one.id = message.id;
        one.digest = message.digest;
    }
    one.id = id_option(evil, "id", one.id);
    if (option(evil, "digest", NULL) && klp_unhex(kos_bytes_str(option(evil, "digest", "")), one.digest.b, 32, &len) < 0)
        fail("no digest");
    if (strcmp(how, "none") == 0)
        return session_end(session);
    if (klp_receipts_make(&node.id, (uint64_t)number(evil, "claim", (long)signer.event), clock_ms(), &one, 1, item + 64, sizeof item - 64, &len) < 0)
        fail("no receipts");
    klp_sign(identity_key(&signer), strcmp(how, "tag") == 0 ? KLP_TAG_MESSAGE : KLP_TAG_RECEIPT, kos_bytes(item + 64, len), item);
    if (strcmp(how, "flipped") == 0)
        item[7] ^= 1;
    item_send(session, KLP_FRAME_RECEIPTS, KLP_CLASS_CONTROL, kos_bytes(item, 64 + len));
    if (strcmp(how, "twice") == 0)
        item_send(session, KLP_FRAME_RECEIPTS, KLP_CLASS_CONTROL, kos_bytes(item, 64 + len));
    return session_end(session);
}

const struct attack message_attacks[] = {
    { "message", message }, { "batch", batch }, { "reflect-message", reflect_message }, { "receipt", receipt }, { NULL, NULL },
};
