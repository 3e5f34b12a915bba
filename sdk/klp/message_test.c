/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages: shape, clock, keys, plain and batch signatures, and the text form.
 */
#include <klp/message.h>

#include <stdio.h>

#include "log_testing.h"

#define ID_A "aeaqcaibaeaqcaibaeaqcaibae"
#define ID_B "aiaqeaqcaibaeaqcaibaeaqcae"
#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

/* One text per member, in order; a test changes one and looks at the whole. */
enum {
    CREATED, DURABLE, EVENT, EXPIRES, ID, PAYLOAD, REPLY_TO, SEAL, SOURCE, SOURCE_ID, TARGET, TARGET_ID, TRACE_M, TYPE, MEMBERS
};
static const char *const names[MEMBERS] = { "created",   "durable",   "event", "expires", "id",        "payload",
                                            "reply_to",  "seal",  "source",  "source_id", "target",
                                            "target_id", "trace", "type" };
static const char *const plain[MEMBERS] = { "1781900000000",
                                            NULL,
                                            "0",
                                            "1781900600000",
                                            "\"" ID_A "\"",
                                            "{\"a\":1}",
                                            NULL,
                                            NULL,
                                            "\"klp://node.usa.kai\"",
                                            "\"" ID_A "\"",
                                            "\"klp://agent.genie.fr.kai\"",
                                            "\"" ID_B "\"",
                                            NULL,
                                            "\"TASK_REQUEST\"" };

static struct kos_bytes text_of(const char *const members[MEMBERS], char *buf, size_t cap)
{
    size_t at = 0;
    for (int i = 0; i < MEMBERS; i++)
        if (members[i])
            at += (size_t)snprintf(buf + at, cap - at, "%s\"%s\":%s", at ? "," : "{", names[i], members[i]);
    at += (size_t)snprintf(buf + at, cap - at, "}");
    return kos_bytes(buf, at);
}

static int32_t parse_with(int member, const char *value)
{
    char buf[4096];
    const char *members[MEMBERS];
    struct klp_message message;
    struct kos_error error = { 0 };
    memcpy(members, plain, sizeof members);
    members[member] = value;
    int32_t result = klp_message_parse(text_of(members, buf, sizeof buf), &message, &error);
    ck_assert_int_eq(error.code, result);
    ck_assert(result == 0 || error.text[0]);
    return result;
}

START_TEST(parsed)
{
    char buf[4096];
    struct klp_message message;
    const char *members[MEMBERS];
    memcpy(members, plain, sizeof members);
    members[REPLY_TO] = "\"" ID_B "\"";
    members[TRACE_M] = "\"" TRACE "\"";
    struct kos_bytes body = text_of(members, buf, sizeof buf);
    ck_assert_int_eq(klp_message_parse(body, &message, NULL), 0);
    ck_assert_str_eq(message.type, "TASK_REQUEST");
    ck_assert(kos_bytes_eq(message.source, kos_bytes_str("klp://node.usa.kai")));
    ck_assert(kos_bytes_eq(message.target, kos_bytes_str("klp://agent.genie.fr.kai")));
    ck_assert(kos_bytes_eq(message.payload.text, kos_bytes_str("{\"a\":1}")));
    ck_assert(kos_bytes_eq(message.trace, kos_bytes_str(TRACE)));
    ck_assert(message.has_reply_to && klp_id_eq(&message.reply_to, &message.target_id));
    ck_assert(klp_id_eq(&message.id, &message.source_id));
    ck_assert_int_eq(message.created, T0);
    ck_assert_int_eq(message.expires, T0 + 600000);
    ck_assert_int_eq(message.seal.type, KLP_JSON_NONE);
    struct klp_digest digest;
    klp_sha256(body, &digest);
    ck_assert(memcmp(&digest, &message.digest, sizeof digest) == 0);
    ck_assert(message.body.data == body.data && message.body.len == body.len);
}
END_TEST

START_TEST(each_member)
{
    for (int i = 0; i < MEMBERS; i++) {
        static const char *const wrong[] = {
            "null", "-1", "1.5", "true", "[]", "\"\"", "\"x\\n\"", "9007199254740991"
        };
        if (plain[i])
            ck_assert_msg(parse_with(i, NULL) == KOS_E_SYNTAX, "without %s", names[i]);
        for (size_t j = 0; j < sizeof wrong / sizeof *wrong; j++) {
            bool fits = i == EVENT && j == 7;
            ck_assert_msg((parse_with(i, wrong[j]) == 0) == fits, "%s: %s", names[i], wrong[j]);
        }
    }
    /* Unknown members are kept and signed; the signature is none of them. */
    char buf[4096];
    struct klp_message message;
    const char *parts[MEMBERS];
    memcpy(parts, plain, sizeof parts);
    parts[TYPE] = "\"X\",\"zzz\":{\"any\":[1]}";
    ck_assert_int_eq(klp_message_parse(text_of(parts, buf, sizeof buf), &message, NULL), 0);
    parts[TYPE] = plain[TYPE];
    parts[PAYLOAD] = "{},\"signature\":\"0x00\"";
    ck_assert_int_eq(klp_message_parse(text_of(parts, buf, sizeof buf), &message, NULL), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_message_parse(kos_bytes_str("[]"), &message, NULL), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_message_parse(kos_bytes(NULL, 0), &message, NULL), KOS_E_CANONICAL);
}
END_TEST

START_TEST(types)
{
    char longest[80] = "\"";
    ck_assert_int_eq(parse_with(TYPE, "\"A\""), 0);
    ck_assert_int_eq(parse_with(TYPE, "\"A_1\""), 0);
    static const char *const wrong[] = { "\"a\"", "\"1A\"", "\"_A\"", "\"A-B\"", "\"TASK REQUEST\"", "\"A\xc3\x84\"" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_int_lt(parse_with(TYPE, wrong[i]), 0);
    memset(longest + 1, 'A', KLP_TYPE_MAX);
    strcpy(longest + KLP_TYPE_MAX, "\"");
    ck_assert_int_eq(parse_with(TYPE, longest), 0);
    strcpy(longest + KLP_TYPE_MAX, "A\"");
    ck_assert_int_eq(parse_with(TYPE, longest), KOS_E_SYNTAX);
}
END_TEST

START_TEST(times)
{
    ck_assert_int_eq(parse_with(EXPIRES, "1781900000000"), KOS_E_SYNTAX);
    ck_assert_int_eq(parse_with(EXPIRES, "1781900000001"), 0);
    ck_assert_int_eq(parse_with(EXPIRES, "1784492000000"), 0);
    ck_assert_int_eq(parse_with(EXPIRES, "1784492000001"), KOS_E_LIMIT);
    ck_assert_int_eq(parse_with(CREATED, "0"), KOS_E_LIMIT);
    struct klp_message message = { .created = T0, .expires = T0 + 1000 };
    ck_assert_int_eq(klp_message_fresh(&message, T0), 0);
    ck_assert_int_eq(klp_message_fresh(&message, T0 + 999), 0);
    ck_assert_int_eq(klp_message_fresh(&message, T0 + 1000), KOS_E_EXPIRED);
    ck_assert_int_eq(klp_message_fresh(&message, T0 - KLP_CLOCK_SKEW_MAX_MS), 0);
    ck_assert_int_eq(klp_message_fresh(&message, T0 - KLP_CLOCK_SKEW_MAX_MS - 1), KOS_E_FUTURE);
}
END_TEST

START_TEST(addresses)
{
    ck_assert_int_eq(parse_with(SOURCE, "\"klp://node." ID_A "\""), 0);
    ck_assert_int_eq(parse_with(SOURCE, "\"klp://node." ID_B "\""), KOS_E_INVALID);
    ck_assert_int_eq(parse_with(TARGET, "\"klp://agent." ID_B "\""), 0);
    ck_assert_int_eq(parse_with(TARGET, "\"klp://agent." ID_A "\""), KOS_E_INVALID);
    static const char *const wrong[] = { "\"klp://\"",
                                         "\"klp://node\"",
                                         "\"klp://node.\"",
                                         "\"klp://thing.a.b\"",
                                         "\"http://node.a.b\"",
                                         "\"peer://127.0.0.1:7450\"",
                                         "\"agent://echo.0x9f3a\"",
                                         "\"node.a.b\"",
                                         "\"klp://node.a..b\"",
                                         "\"klp://node.a b\"" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_msg(parse_with(SOURCE, wrong[i]) < 0, "%s", wrong[i]);
        ck_assert_msg(parse_with(TARGET, wrong[i]) < 0, "%s", wrong[i]);
    }
}
END_TEST

START_TEST(traces)
{
    static const char *const wrong[] = {
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        "00-4bf92f3577b34da6a3ce929d0e0e4736000f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
    };
    char value[80];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(value, sizeof value, "\"%s\"", wrong[i]);
        ck_assert_msg(parse_with(TRACE_M, value) < 0, "%s", value);
    }
    ck_assert_int_eq(parse_with(TRACE_M, "\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\""), 0);
}
END_TEST

START_TEST(sealed)
{
    char buf[4096], seal[256], key[KLP_KEY_TEXT_MAX];
    uint8_t secret[32] = { 5 }, public[32];
    struct klp_message message;
    const char *members[MEMBERS];
    memcpy(members, plain, sizeof members);
    klp_x25519_public(secret, public);
    ck_assert_int_ge(klp_x25519_text(public, key), 0);
    snprintf(seal, sizeof seal, "{\"enc\":\"0x%064d\",\"key\":\"%s\"}", 9, key);
    members[SEAL] = seal;
    ck_assert_int_eq(klp_message_parse(text_of(members, buf, sizeof buf), &message, NULL), KOS_E_SYNTAX);
    members[PAYLOAD] = "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"";
    ck_assert_int_eq(klp_message_parse(text_of(members, buf, sizeof buf), &message, NULL), 0);
    ck_assert_int_eq(message.seal.type, KLP_JSON_OBJECT);
    members[PAYLOAD] = "\"AAAA\"";
    ck_assert_int_eq(klp_message_parse(text_of(members, buf, sizeof buf), &message, NULL), KOS_E_SYNTAX);
    members[PAYLOAD] = "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"";
    static const char *const wrong[] = { "{\"enc\":\"0x%064d\",\"key\":\"z6Mk\"}", "{\"enc\":\"0x%063d\"}",
                                         "{\"enc\":\"0x%064d\"}", "{\"enc\":\"%064d\",\"key\":\"z6Mk\"}" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(seal, sizeof seal, wrong[i], 9);
        ck_assert_int_lt(klp_message_parse(text_of(members, buf, sizeof buf), &message, NULL), 0);
    }
    snprintf(seal, sizeof seal, "{\"enc\":\"0x%064d\",\"key\":\"%s\",\"more\":1}", 9, key);
    ck_assert_int_eq(klp_message_parse(text_of(members, buf, sizeof buf), &message, NULL), KOS_E_SYNTAX);
    /* base64 without a seal */
    ck_assert_int_eq(parse_with(PAYLOAD, "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""), KOS_E_SYNTAX);
}
END_TEST

START_TEST(torn_and_altered)
{
    char buf[4096];
    struct klp_message message, first;
    struct kos_bytes body = text_of(plain, buf, sizeof buf);
    ck_assert_int_eq(klp_message_parse(body, &first, NULL), 0);
    for (size_t cut = 0; cut < body.len; cut++) {
        uint8_t *copy = malloc(cut ? cut : 1);
        memcpy(copy, body.data, cut);
        ck_assert_int_eq(klp_message_parse(kos_bytes(copy, cut), &message, NULL), KOS_E_CANONICAL);
        free(copy);
    }
    for (size_t i = 0; i < body.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            buf[i] ^= (char)(1 << bit);
            if (klp_message_parse(body, &message, NULL) == 0)
                ck_assert(memcmp(&message.digest, &first.digest, sizeof first.digest) != 0);
            buf[i] ^= (char)(1 << bit);
        }
    /* The same in another order, or with a space, is another text. */
    static const char *const loose[] = { " {\"a\":1}", "{\"b\":1,\"a\":1}", "{\"a\":1,\"a\":1}", "{\"a\":1.0}" };
    for (size_t i = 0; i < sizeof loose / sizeof *loose; i++)
        ck_assert_int_eq(parse_with(PAYLOAD, loose[i]), KOS_E_CANONICAL);
}
END_TEST

START_TEST(oversized)
{
    struct klp_message message;
    uint8_t *big = malloc(KLP_MESSAGE_MAX + 1);
    memset(big, ' ', KLP_MESSAGE_MAX + 1);
    ck_assert_int_eq(klp_message_parse(kos_bytes(big, KLP_MESSAGE_MAX + 1), &message, NULL), KOS_E_LIMIT);
    free(big);
    char deep[256] = "{\"a\":";
    memset(deep + 5, '[', KLP_JSON_DEPTH_MAX);
    memset(deep + 5 + KLP_JSON_DEPTH_MAX, ']', KLP_JSON_DEPTH_MAX);
    strcat(deep, "}");
    ck_assert_int_lt(parse_with(PAYLOAD, deep), 0);
}
END_TEST

struct sent { uint8_t body[2048], signature[KLP_SIGNATURE_LEN]; struct klp_message message; };

static void send(const struct t_identity *source, uint64_t event, int64_t created, uint8_t n, struct sent *ret_sent)
{
    struct kos_error error = { 0 };
    struct klp_message message = { .type = "BROADCAST_ANNOUNCE",
                                   .source = kos_bytes_str("klp://node.usa.kai"),
                                   .source_id = *klp_log_id(source->log),
                                   .target = kos_bytes_str("klp://node.fr.kai"),
                                   .event = event,
                                   .created = created,
                                   .expires = created + 600000,
                                   .payload = { KLP_JSON_OBJECT, kos_bytes_str("{\"text\":\"salut\"}") } };
    size_t len;
    memset(&message.id, n, sizeof message.id);
    int32_t result = klp_message_make(&message, ret_sent->body, sizeof ret_sent->body, &len, &error);
    ck_assert_msg(result == 0, "%s", error.text);
    ck_assert_int_eq(klp_message_parse(kos_bytes(ret_sent->body, len), &ret_sent->message, NULL), 0);
    ck_assert_int_eq(klp_sign(&source->current, KLP_TAG_MESSAGE, ret_sent->message.body, ret_sent->signature), 0);
}

static int32_t verify(const struct sent *sent, const struct klp_log *log, int64_t now)
{
    return klp_message_verify(&sent->message, kos_bytes(sent->signature, sizeof sent->signature), log, now);
}

START_TEST(signed_plainly)
{
    struct t_identity one, other;
    struct sent sent;
    for (int32_t alg = KLP_ALG_ED25519; alg <= KLP_ALG_P256; alg++) {
        t_incept(&one, KLP_KIND_NODE, alg, 1, false, NULL);
        t_incept(&other, KLP_KIND_NODE, alg, 50, false, NULL);
        send(&one, 0, T0, 1, &sent);
        ck_assert_int_eq(verify(&sent, one.log, T0), 0);
        ck_assert_int_eq(verify(&sent, other.log, T0), KOS_E_SIGNATURE);
        struct klp_log *empty = klp_log_new();
        ck_assert_int_eq(verify(&sent, empty, T0), KOS_E_SIGNATURE);
        klp_log_free(empty);
        for (size_t i = 0; i < sizeof sent.signature; i += 9) {
            sent.signature[i] ^= 4;
            ck_assert_int_eq(verify(&sent, one.log, T0), KOS_E_SIGNATURE);
            sent.signature[i] ^= 4;
        }
        for (size_t len = 0; len < KLP_BATCH_SIGNATURE_MAX + 40; len++) {
            uint8_t signature[KLP_BATCH_SIGNATURE_MAX + 40] = { 0 };
            memcpy(signature, sent.signature, sizeof sent.signature);
            ck_assert_int_eq(klp_message_verify(&sent.message, kos_bytes(signature, len), one.log, T0),
                             len == 64 ? 0 : KOS_E_SIGNATURE);
        }
        /* Forged: signed by another's key; signed under another tag. */
        ck_assert_int_eq(klp_sign(&other.current, KLP_TAG_MESSAGE, sent.message.body, sent.signature), 0);
        ck_assert_int_eq(verify(&sent, one.log, T0), KOS_E_SIGNATURE);
        ck_assert_int_eq(klp_sign(&one.current, KLP_TAG_STATEMENT, sent.message.body, sent.signature), 0);
        ck_assert_int_eq(verify(&sent, one.log, T0), KOS_E_SIGNATURE);
        klp_log_free(other.log);
        klp_log_free(one.log);
    }
}
END_TEST

START_TEST(keys_and_grace)
{
    struct t_identity one;
    struct sent before, after, beyond;
    t_incept(&one, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    send(&one, 0, T0 + 999, 1, &before);
    send(&one, 0, T0 + 1000, 2, &after);
    send(&one, 1, T0 + 1000, 3, &beyond);
    ck_assert_int_eq(verify(&beyond, one.log, T0), KOS_E_NOTFOUND);
    t_rotate(&one);
    int64_t end = T0 + 1000 + KLP_GRACE_DEFAULT_MS;
    ck_assert_int_eq(verify(&before, one.log, end - 1), 0);
    ck_assert_int_eq(verify(&before, one.log, end), KOS_E_EXPIRED);
    ck_assert_int_eq(verify(&after, one.log, T0 + 1000), KOS_E_EXPIRED);
    ck_assert_int_eq(verify(&beyond, one.log, T0 + 1000), KOS_E_SIGNATURE); /* the old key under the new event */
    send(&one, 1, T0 + 1000, 3, &beyond);
    ck_assert_int_eq(verify(&beyond, one.log, T0 + 1000), 0);
    send(&one, 0, T0 + 999, 4, &beyond); /* the new key under the old event */
    ck_assert_int_eq(verify(&beyond, one.log, T0 + 1000), KOS_E_SIGNATURE);
    struct t_entry entry;
    struct klp_log *revoked = klp_log_clone(one.log);
    struct klp_event event = t_event(one.log, KLP_EVENT_REVOCATION, 2);
    event.compromised = true;
    t_make(&event, &one.next, &entry);
    t_append(revoked, &entry, KLP_LOG_APPENDED);
    send(&one, 1, T0 + 1000, 3, &beyond);
    ck_assert_int_eq(verify(&beyond, revoked, T0 + 1000), KOS_E_REVOKED);
    struct t_entry fork;
    t_delegation(one.log, 2, &one.current, 1, &entry);
    t_delegation(one.log, 2, &one.current, 2, &fork);
    t_append(one.log, &entry, KLP_LOG_APPENDED);
    t_append(one.log, &fork, KOS_E_DUPLICITY);
    ck_assert_int_eq(verify(&beyond, one.log, T0 + 1000), KOS_E_FROZEN);
    klp_log_free(revoked);
    klp_log_free(one.log);
}
END_TEST

START_TEST(signed_in_a_batch)
{
    enum { COUNT = 5 };
    struct t_identity one;
    static struct sent sent[COUNT];
    struct klp_digest digests[COUNT];
    uint8_t root[KLP_SIGNATURE_LEN], signature[KLP_BATCH_SIGNATURE_MAX];
    t_incept(&one, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    for (uint8_t i = 0; i < COUNT; i++) {
        send(&one, 0, T0, i, &sent[i]);
        digests[i] = sent[i].message.digest;
    }
    ck_assert_int_eq(klp_batch_sign(&one.current, digests, COUNT, root), 0);
    for (size_t i = 0; i < COUNT; i++) {
        int32_t len = klp_batch_extract(digests, COUNT, i, root, signature);
        ck_assert_int_gt(len, KLP_SIGNATURE_LEN);
        struct kos_bytes whole = kos_bytes(signature, (size_t)len);
        ck_assert_int_eq(klp_message_verify(&sent[i].message, whole, one.log, T0), 0);
        ck_assert_int_eq(klp_message_verify(&sent[(i + 1) % COUNT].message, whole, one.log, T0), KOS_E_SIGNATURE);
        for (size_t cut = 0; cut < (size_t)len; cut++)
            ck_assert_int_lt(klp_message_verify(&sent[i].message, kos_bytes(signature, cut), one.log, T0), 0);
        for (size_t at = 0; at < (size_t)len; at++) {
            signature[at] ^= 1;
            ck_assert_int_lt(klp_message_verify(&sent[i].message, whole, one.log, T0), 0);
            signature[at] ^= 1;
        }
    }
    klp_log_free(one.log);
}
END_TEST

START_TEST(making)
{
    struct t_identity one;
    struct sent sent;
    struct kos_error error;
    uint8_t out[2048];
    size_t len = 0, needed;
    t_incept(&one, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    send(&one, 0, T0, 1, &sent);
    struct klp_message message = sent.message;
    message.has_reply_to = true;
    message.reply_to = message.id;
    message.trace = kos_bytes_str(TRACE);
    ck_assert_int_eq(klp_message_make(&message, NULL, 0, &needed, &error), KOS_E_LIMIT);
    ck_assert_int_eq(klp_message_make(&message, out, needed - 1, &len, &error), KOS_E_LIMIT);
    ck_assert_uint_eq(len, needed);
    ck_assert_int_eq(klp_message_make(&message, out, needed, &len, &error), 0);
    ck_assert_uint_eq(len, needed);
    /* What is made parses, or is not made. */
    struct klp_message wrong = message;
    wrong.expires = wrong.created;
    ck_assert_int_eq(klp_message_make(&wrong, out, sizeof out, &len, &error), KOS_E_SYNTAX);
    wrong = message;
    wrong.type[0] = 'a';
    ck_assert_int_eq(klp_message_make(&wrong, out, sizeof out, &len, &error), KOS_E_SYNTAX);
    wrong = message;
    memset(wrong.type, 'A', sizeof wrong.type);
    ck_assert_int_eq(klp_message_make(&wrong, out, sizeof out, &len, &error), KOS_E_SYNTAX);
    wrong = message;
    wrong.payload = (struct klp_json){ KLP_JSON_OBJECT, kos_bytes_str("{ }") };
    ck_assert_int_eq(klp_message_make(&wrong, out, sizeof out, &len, &error), KOS_E_CANONICAL);
    wrong.payload = (struct klp_json){ KLP_JSON_OBJECT, kos_bytes_str("{},\"signature\":\"0x\"") };
    ck_assert_int_lt(klp_message_make(&wrong, out, sizeof out, &len, &error), 0);
    wrong.payload = (struct klp_json){ 0 };
    ck_assert_int_lt(klp_message_make(&wrong, out, sizeof out, &len, &error), 0);
    klp_log_free(one.log);
}
END_TEST

/* The maker writes what klp_message_make() writes, and refuses what that refuses. */
START_TEST(makers)
{
    struct t_identity one;
    struct sent sent;
    struct kos_error error;
    struct klp_message_maker maker;
    struct klp_digest digest;
    uint8_t want[4096], got[4096];
    size_t want_len, len;
    t_incept(&one, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    send(&one, 0, T0, 1, &sent);
    for (int i = 0; i < 16; i++) {
        struct klp_message message = sent.message;
        message.transient = i & 1;
        message.has_reply_to = i & 2;
        memset(&message.reply_to, 7, sizeof message.reply_to);
        message.trace = i & 4 ? kos_bytes_str(TRACE) : kos_bytes(NULL, 0);
        message.event = i & 8 ? 9007199254740991 : 0;
        ck_assert_int_eq(klp_message_make(&message, want, sizeof want, &want_len, &error), 0);
        ck_assert_int_eq(klp_message_maker_init(&maker, &message, &error), 0);
        ck_assert_int_eq(klp_message_maker_put(&maker, &message.id, message.created, message.expires,
                                               message.has_reply_to ? &message.reply_to : NULL, message.payload.text, got,
                                               sizeof got, &len, &digest, &error),
                         0);
        ck_assert_uint_eq(len, want_len);
        ck_assert_mem_eq(got, want, len);
        struct klp_message read, after;
        ck_assert_int_eq(klp_message_parse(kos_bytes(got, len), &read, NULL), 0);
        ck_assert(read.transient == message.transient);
        ck_assert_mem_eq(&read.digest, &digest, sizeof digest);
        ck_assert_int_eq(klp_message_parse_after(kos_bytes(got, len), &read, &after, NULL), 0);
        ck_assert_mem_eq(&after.target_id, &read.target_id, sizeof after.target_id);
    }
    const struct klp_id *id = &sent.message.id;
    struct kos_bytes payload = kos_bytes_str("{}");
    char deep[128] = "{\"a\":";
    memset(deep + 5, '[', KLP_JSON_DEPTH_MAX - 1);
    memset(deep + 5 + KLP_JSON_DEPTH_MAX - 1, ']', KLP_JSON_DEPTH_MAX - 1);
    strcat(deep, "}");
#define PUT(created, expires, payload, cap)                                                                                    \
    klp_message_maker_put(&maker, id, created, expires, NULL, payload, got, cap, &len, &digest, &error)
    ck_assert_int_eq(PUT(T0, T0, payload, sizeof got), KOS_E_INVALID);
    ck_assert_int_eq(PUT(-1, T0, payload, sizeof got), KOS_E_INVALID);
    ck_assert_int_eq(PUT(T0, T0 + KLP_MESSAGE_LIFE_MAX_MS + 1, payload, sizeof got), KOS_E_INVALID);
    ck_assert_int_eq(PUT(T0, T0 + 1, kos_bytes_str("{ }"), sizeof got), KOS_E_CANONICAL);
    ck_assert_int_eq(PUT(T0, T0 + 1, kos_bytes_str("[]"), sizeof got), KOS_E_SYNTAX);
    ck_assert_int_eq(PUT(T0, T0 + 1, kos_bytes_str("{},\"signature\":1"), sizeof got), KOS_E_CANONICAL);
    ck_assert_int_eq(PUT(T0, T0 + 1, kos_bytes_str(deep), sizeof got), KOS_E_LIMIT);
    ck_assert_int_eq(PUT(T0, T0 + 1, payload, 100), KOS_E_LIMIT);
    ck_assert_int_eq(PUT(T0, T0 + 1, payload, sizeof got), 0);
#undef PUT
    klp_log_free(one.log);
}
END_TEST

START_TEST(transient_is_said_in_one_way)
{
    ck_assert_int_eq(parse_with(DURABLE, "false"), 0);
    ck_assert_int_lt(parse_with(DURABLE, "true"), 0);
    ck_assert_int_lt(parse_with(DURABLE, "null"), 0);
    ck_assert_int_lt(parse_with(DURABLE, "0"), 0);
}
END_TEST

static void round_trip(struct kos_bytes body, struct kos_bytes signature)
{
    uint8_t *text, *again, again_signature[KLP_BATCH_SIGNATURE_MAX];
    size_t text_len, again_len, signature_len;
    struct kos_error error = { 0 };
    struct klp_json value;
    ck_assert_int_eq(klp_message_to_text(body, signature, &text, &text_len, &error), 0);
    ck_assert_int_eq(klp_json_read(kos_bytes(text, text_len), 2 * KLP_MESSAGE_MAX, &value, NULL), 0);
    ck_assert_int_eq(klp_json_get(value, "signature").type, KLP_JSON_STRING);
    int32_t result =
        klp_message_from_text(kos_bytes(text, text_len), &again, &again_len, again_signature, &signature_len, &error);
    ck_assert_msg(result == 0, "%s", error.text);
    ck_assert(kos_bytes_eq(body, kos_bytes(again, again_len)));
    ck_assert(kos_bytes_eq(signature, kos_bytes(again_signature, signature_len)));
    free(text);
    free(again);
}

START_TEST(text_form)
{
    struct t_identity one;
    struct sent sent;
    char buf[4096];
    t_incept(&one, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    send(&one, 0, T0, 1, &sent);
    uint8_t batch[KLP_BATCH_SIGNATURE_MAX] = { 1, 2, 3 };
    round_trip(sent.message.body, kos_bytes(sent.signature, sizeof sent.signature));
    for (size_t path = 0; path <= 10; path++)
        round_trip(sent.message.body, kos_bytes(batch, 72 + 32 * path));
    uint8_t *text;
    size_t text_len;
    for (size_t len = 0; len < 72; len++)
        if (len != 64)
            ck_assert_int_eq(klp_message_to_text(sent.message.body, kos_bytes(batch, len), &text, &text_len, NULL),
                             KOS_E_INVALID);
    ck_assert_int_eq(klp_message_to_text(kos_bytes_str("{}"), kos_bytes(batch, 64), &text, &text_len, NULL),
                     KOS_E_SYNTAX);
    /* Unknown members on both sides of "signature". */
    const char *members[MEMBERS];
    memcpy(members, plain, sizeof members);
    members[PAYLOAD] = "{},\"signaturd\":1,\"signatur\xc3\xa9\":1";
    struct klp_message message;
    ck_assert_int_eq(klp_message_parse(text_of(members, buf, sizeof buf), &message, NULL), 0);
    round_trip(message.body, kos_bytes(batch, 64));
    members[PAYLOAD] = "{},\"sign\\\"\":1,\"signature\\n\":1,\"signatures\":2";
    ck_assert_int_eq(klp_message_parse(text_of(members, buf, sizeof buf), &message, NULL), 0);
    round_trip(message.body, kos_bytes(batch, 64));
    klp_log_free(one.log);
}
END_TEST

START_TEST(loose_text)
{
    uint8_t *body, signature[KLP_BATCH_SIGNATURE_MAX];
    size_t len, signature_len;
    struct kos_error error = { 0 };
    char text[2048], canonical[2048];
    struct kos_bytes expected = text_of(plain, canonical, sizeof canonical);
    static const char *const before =
        "{ \"type\": \"TASK_REQUEST\", \"id\": \"" ID_A
        "\", \"source\": \"klp:\\/\\/node.usa.kai\", \"source_id\": \"" ID_A "\", \"event\": 0,\n"
        "  \"target\": \"klp://agent.genie.fr.kai\", \"target_id\": \"" ID_B
        "\", \"created\": 1781900000000, \"expires\": 1781900600000,\n"
        "  \"payload\": { \"a\": 1 }";
    snprintf(text, sizeof text, "%s}\n", before);
    ck_assert_int_eq(klp_message_from_text(kos_bytes_str(text), &body, &len, signature, &signature_len, &error), 0);
    ck_assert_uint_eq(signature_len, 0);
    ck_assert(kos_bytes_eq(expected, kos_bytes(body, len)));
    free(body);
    snprintf(text, sizeof text, "%s, \"signature\": \"0x%0128d\" }\n", before, 7);
    ck_assert_int_eq(klp_message_from_text(kos_bytes_str(text), &body, &len, signature, &signature_len, &error), 0);
    ck_assert_uint_eq(signature_len, 64);
    ck_assert_uint_eq(signature[63], 7);
    ck_assert(kos_bytes_eq(expected, kos_bytes(body, len)));
    free(body);
    static const char *const wrong[] = { "\"0x%0126d\"", "\"%0128d\"", "\"0X%0128d\"", "%d",
                                         "\"0x%0129d\"", "null%.0d",   "\"0x%0950d\"" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char value[1024];
        snprintf(value, sizeof value, wrong[i], 7);
        snprintf(text, sizeof text, "%s, \"signature\": %s }", before, value);
        ck_assert_msg(klp_message_from_text(kos_bytes_str(text), &body, &len, signature, &signature_len, &error) < 0,
                      "%s", value);
    }
    static const char *const nothing[] = { "", "[]", "{}", "{\"signature\":\"0x00\"}", "{\"type\":", "3" };
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        error.text[0] = '\0';
        ck_assert_int_lt(
            klp_message_from_text(kos_bytes_str(nothing[i]), &body, &len, signature, &signature_len, &error), 0);
        ck_assert(error.text[0]);
    }
    /* The signature alone, first or last member: nothing of its comma stays behind. */
    snprintf(text, sizeof text, "{\"signature\":\"0x%0128d\"}", 7);
    ck_assert_int_eq(klp_message_from_text(kos_bytes_str(text), &body, &len, signature, &signature_len, &error),
                     KOS_E_SYNTAX);
}
END_TEST

TESTS("klp/message", parsed, each_member, types, times, addresses, traces, sealed, torn_and_altered, oversized,
      signed_plainly, keys_and_grace, signed_in_a_batch, making, makers, transient_is_said_in_one_way, text_form, loose_text)
