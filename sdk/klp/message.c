/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages in their wire form: parsed in one pass without allocation, checked against clock and key, made; and made in
 * numbers that differ in little.
 */
#include <klp/message.h>

#include <klp/address.h>

#include "codec.h"
#include "member.h"

/* Sorted, as klp_json_get_many() wants them. */
enum { M_CREATED, M_DURABLE, M_EVENT, M_EXPIRES, M_ID, M_PAYLOAD, M_REPLY_TO, M_SEAL, M_SIGNATURE, M_SOURCE, M_SOURCE_ID, M_TARGET,
       M_TARGET_ID, M_TRACE, M_TYPE, M_COUNT };
static const char *const names[M_COUNT] = {
    "created", "durable", "event", "expires", "id", "payload", "reply_to", "seal",
    "signature", "source", "source_id", "target", "target_id", "trace", "type",
};
#define BIT(member) (1u << (member))
static const uint32_t optional = BIT(M_DURABLE) | BIT(M_REPLY_TO) | BIT(M_SEAL) | BIT(M_SIGNATURE) | BIT(M_TRACE);

enum { TRACE_LEN = 55 };

int32_t klp_type_check(struct kos_bytes text)
{
    if (text.len == 0 || text.len >= KLP_TYPE_MAX || text.data[0] < 'A' || text.data[0] > 'Z')
        return KOS_E_SYNTAX;
    for (size_t i = 1; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'))
            return KOS_E_SYNTAX;
    }
    return KOS_OK;
}

static int32_t read_type(struct klp_json value, char ret_type[KLP_TYPE_MAX])
{
    struct kos_bytes text;
    int32_t error = klp_json_plain(value, &text);
    if (error < 0)
        return error;
    if (klp_type_check(text) < 0)
        return KOS_E_SYNTAX;
    memcpy(ret_type, text.data, text.len);
    ret_type[text.len] = '\0';
    return 0;
}

/* A klp:// address by id or name; one by id must be the id that stands beside it. */
static int32_t check_address(struct kos_bytes text, const struct klp_id *id, struct kos_error *ret_error)
{
    struct klp_address address;
    if (text.len < 6 || memcmp(text.data, "klp://", 6) != 0)
        return kos_fail(ret_error, KOS_E_SYNTAX, "it does not begin with klp://");
    int32_t error = klp_address_parse(text, &address, ret_error);
    if (error < 0)
        return error;
    if (address.form == KLP_ADDRESS_ID && (address.kind == KLP_KIND_NODE || address.kind == KLP_KIND_AGENT)
        && !klp_id_eq(&address.id, id))
        return kos_fail(ret_error, KOS_E_INVALID, "it names another id than the member beside it");
    return 0;
}

/* W3C Trace Context, version 00: 00-<32 hex>-<16 hex>-<2 hex>, lower case, neither id zero. */
static bool trace_ok(struct kos_bytes text)
{
    if (text.len != TRACE_LEN || memcmp(text.data, "00-", 3) != 0)
        return false;
    bool set[2] = { false, false };
    for (size_t i = 3; i < TRACE_LEN; i++) {
        uint8_t c = text.data[i];
        if (i == 35 || i == 52) {
            if (c != '-')
                return false;
            continue;
        }
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        if (i < 52 && c != '0')
            set[i > 35] = true;
    }
    return set[0] && set[1];
}

static int32_t read_trace(struct klp_json value, struct kos_bytes *ret_trace)
{
    struct kos_bytes text;
    int32_t error = klp_json_plain(value, &text);
    if (error < 0)
        return error;
    if (!trace_ok(text))
        return KOS_E_SYNTAX;
    *ret_trace = text;
    return 0;
}

static int32_t check_seal(struct klp_json value)
{
    static const char *const seal_names[] = { "enc", "key" };
    struct klp_json values[2];
    uint8_t bytes[KLP_X25519_LEN];
    if (value.type != KLP_JSON_OBJECT || klp_json_get_many(value, seal_names, 2, values) != 2)
        return KOS_E_SYNTAX;
    int32_t error = member_hex(values[0], bytes, sizeof bytes);
    return error < 0 ? error : member_x25519(values[1], bytes);
}

/* An object, or base64 of at least a tag when sealed; the digits are checked by who opens it. */
static int32_t check_payload(struct klp_json payload, bool sealed)
{
    struct kos_bytes text;
    if (!sealed)
        return payload.type == KLP_JSON_OBJECT ? 0 : KOS_E_SYNTAX;
    int32_t error = klp_json_plain(payload, &text);
    return error < 0 ? error : text.len >= 24 && text.len % 4 == 0 ? 0 : KOS_E_SYNTAX;
}

/* Only what is not durable says so: one way to write each message. */
static int32_t read_durable(struct klp_json value, bool *ret_transient)
{
    bool durable;
    int32_t error = klp_json_bool(value, &durable);
    if (error < 0 || durable)
        return error < 0 ? error : KOS_E_SYNTAX;
    *ret_transient = true;
    return 0;
}

static int32_t read_member(int member, struct klp_json value, struct klp_message *message)
{
    switch (member) {
    case M_CREATED: return member_time(value, &message->created);
    case M_DURABLE: return read_durable(value, &message->transient);
    case M_EVENT: return klp_json_uint(value, &message->event);
    case M_EXPIRES: return member_time(value, &message->expires);
    case M_ID: return member_id(value, &message->id);
    case M_PAYLOAD: message->payload = value; return 0;
    case M_REPLY_TO: message->has_reply_to = true; return member_id(value, &message->reply_to);
    case M_SEAL: message->seal = value; return check_seal(value);
    case M_SOURCE: return klp_json_plain(value, &message->source);
    case M_SOURCE_ID: return member_id(value, &message->source_id);
    case M_TARGET: return klp_json_plain(value, &message->target);
    case M_TARGET_ID: return member_id(value, &message->target_id);
    case M_TRACE: return read_trace(value, &message->trace);
    default: return read_type(value, message->type);
    }
}

static bool same(struct kos_bytes text, const struct klp_id *id, struct kos_bytes other, const struct klp_id *other_id)
{
    return kos_bytes_eq(text, other) && klp_id_eq(id, other_id);
}

/* What the members say together. */
static int32_t check_relations(const struct klp_message *message, const struct klp_message *before,
                               struct kos_error *ret_error)
{
    struct kos_error why = { 0 };
    int32_t error = check_payload(message->payload, message->seal.type != KLP_JSON_NONE);
    if (error < 0)
        return kos_fail(ret_error, error, "the message's payload is not %s",
                        message->seal.type != KLP_JSON_NONE ? "base64, as that of a sealed message is" : "an object");
    if (message->expires <= message->created)
        return kos_fail(ret_error, KOS_E_SYNTAX, "the message expires before it is created");
    if (message->expires - message->created > KLP_MESSAGE_LIFE_MAX_MS)
        return kos_fail(ret_error, KOS_E_LIMIT, "the message lives %lld ms, more than %lld (30 days)",
                        (long long)(message->expires - message->created), (long long)KLP_MESSAGE_LIFE_MAX_MS);
    error = before && same(message->source, &message->source_id, before->source, &before->source_id)
                ? 0
                : check_address(message->source, &message->source_id, &why);
    if (error < 0)
        return kos_fail(ret_error, error, "the message's source is no address of its sender: %.300s", why.text);
    error = before && same(message->target, &message->target_id, before->target, &before->target_id)
                ? 0
                : check_address(message->target, &message->target_id, &why);
    if (error < 0)
        return kos_fail(ret_error, error, "the message's target is no address of its receiver: %.300s", why.text);
    return 0;
}

int32_t klp_message_parse(struct kos_bytes body, struct klp_message *ret_message, struct kos_error *ret_error)
{
    return klp_message_parse_after(body, NULL, ret_message, ret_error);
}

int32_t klp_message_parse_after(struct kos_bytes body, const struct klp_message *before,
                                struct klp_message *ret_message, struct kos_error *ret_error)
{
    struct klp_message message = { 0 };
    struct klp_json object, values[M_COUNT];
    size_t offset = 0;
    int32_t error = klp_json_read_many(body, KLP_MESSAGE_MAX, names, M_COUNT, values, NULL, &object, &offset);
    if (error == KOS_E_LIMIT && body.len > KLP_MESSAGE_MAX)
        return kos_fail(ret_error, error, "the message has %zu bytes, more than %d", body.len, KLP_MESSAGE_MAX);
    if (error < 0)
        return kos_fail(ret_error, error, "the message is not canonical JSON (RFC 8785) at byte %zu", offset);
    if (object.type != KLP_JSON_OBJECT)
        return kos_fail(ret_error, KOS_E_SYNTAX, "the message is not a JSON object");
    if (values[M_SIGNATURE].type != KLP_JSON_NONE)
        return kos_fail(ret_error, KOS_E_SYNTAX,
                        "the message's body holds a signature: on the wire it stands beside the body");
    for (int i = 0; i < M_COUNT; i++) {
        if (values[i].type == KLP_JSON_NONE) {
            if (optional & BIT(i))
                continue;
            return kos_fail(ret_error, KOS_E_SYNTAX, "the message lacks its member \"%s\"", names[i]);
        }
        error = read_member(i, values[i], &message);
        if (error < 0)
            return kos_fail(ret_error, error, "the message's member \"%s\" is not acceptable: %s", names[i],
                            kos_error_text(error));
    }
    error = check_relations(&message, before, ret_error);
    if (error < 0)
        return error;
    message.body = body;
    klp_sha256(body, &message.digest);
    *ret_message = message;
    return 0;
}

int32_t klp_message_fresh(const struct klp_message *message, int64_t now)
{
    if (message->expires <= now)
        return KOS_E_EXPIRED;
    return message->created > now + KLP_CLOCK_SKEW_MAX_MS ? KOS_E_FUTURE : 0;
}

/* The digest is known: hashing a body of 1 MiB twice would cost more than the signature. */
static int32_t verify_plain(const struct klp_public *key, const struct klp_digest *digest, struct kos_bytes signature)
{
    uint8_t data[sizeof KLP_TAG_MESSAGE + KLP_DIGEST_LEN];
    memcpy(data, KLP_TAG_MESSAGE, sizeof KLP_TAG_MESSAGE);
    memcpy(data + sizeof KLP_TAG_MESSAGE, digest->b, KLP_DIGEST_LEN);
    return klp_verify_raw(key, kos_bytes(data, sizeof data), signature);
}

int32_t klp_message_verify(const struct klp_message *message, struct kos_bytes signature, const struct klp_log *source,
                           int64_t now)
{
    struct klp_public key;
    const struct klp_id *id = klp_log_id(source);
    if (!id || !klp_id_eq(id, &message->source_id))
        return KOS_E_SIGNATURE;
    int32_t error = klp_log_may_sign(source, message->event, message->created, now);
    if (!error)
        error = klp_log_key(source, message->event, &key);
    if (error < 0)
        return error;
    if (signature.len == KLP_SIGNATURE_LEN)
        return verify_plain(&key, &message->digest, signature);
    return klp_batch_verify_one(&key, &message->digest, signature);
}

static void put_id(struct klp_json_out *out, int member, const struct klp_id *id)
{
    member_put_id(out, names[member], id);
}

static void put_text(struct klp_json_out *out, int member, struct kos_bytes text)
{
    klp_json_name(out, names[member]);
    klp_json_put_string(out, text);
}

static void put_raw(struct klp_json_out *out, int member, struct klp_json value)
{
    klp_json_name(out, names[member]);
    klp_json_put_raw(out, value.text);
}

int32_t klp_message_make(const struct klp_message *message, uint8_t *out, size_t cap, size_t *ret_len,
                         struct kos_error *ret_error)
{
    struct klp_message made;
    int32_t error = klp_message_make_parsed(message, out, cap, &made, ret_len, ret_error);
    if (error >= 0)
        *ret_len = made.body.len;
    return error;
}

int32_t klp_message_make_parsed(const struct klp_message *message, uint8_t *out, size_t cap,
                                struct klp_message *ret_made, size_t *ret_needed, struct kos_error *ret_error)
{
    struct klp_json_out json;
    struct kos_bytes body;
    klp_json_begin(&json, out, cap);
    klp_json_object(&json);
    member_put_int(&json, names[M_CREATED], message->created);
    if (message->transient) {
        klp_json_name(&json, names[M_DURABLE]);
        klp_json_put_bool(&json, false);
    }
    member_put_int(&json, names[M_EVENT], (int64_t)message->event);
    member_put_int(&json, names[M_EXPIRES], message->expires);
    put_id(&json, M_ID, &message->id);
    put_raw(&json, M_PAYLOAD, message->payload);
    if (message->has_reply_to)
        put_id(&json, M_REPLY_TO, &message->reply_to);
    if (message->seal.type != KLP_JSON_NONE)
        put_raw(&json, M_SEAL, message->seal);
    put_text(&json, M_SOURCE, message->source);
    put_id(&json, M_SOURCE_ID, &message->source_id);
    put_text(&json, M_TARGET, message->target);
    put_id(&json, M_TARGET_ID, &message->target_id);
    if (message->trace.len)
        put_text(&json, M_TRACE, message->trace);
    klp_json_name(&json, names[M_TYPE]);
    klp_json_put_string(&json, kos_bytes(message->type, strnlen(message->type, sizeof message->type)));
    klp_json_close(&json, '}');
    int32_t error = klp_json_end(&json, &body);
    if (error == KOS_E_LIMIT && json.len > cap) {
        *ret_needed = json.len;
        return kos_fail(ret_error, error, "the message needs %zu bytes, more than the %zu given", json.len, cap);
    }
    if (error < 0)
        return kos_fail(ret_error, error, "the message has a member that cannot be written: %s", kos_error_text(error));
    return klp_message_parse(body, ret_made, ret_error);
}

/* ---- many alike ---- */

int32_t klp_message_maker_init(struct klp_message_maker *ret_maker, const struct klp_message *common,
                               struct kos_error *ret_error)
{
    struct klp_message message = *common, made;
    uint8_t text[sizeof ret_maker->tail + 512];
    size_t needed;
    message.id = (struct klp_id){ { 0 } };
    message.created = 0;
    message.expires = 1;
    message.payload = (struct klp_json){ KLP_JSON_OBJECT, kos_bytes_str("{}") };
    message.seal = (struct klp_json){ 0 };
    message.has_reply_to = false;
    int32_t error = klp_message_make_parsed(&message, text, sizeof text, &made, &needed, ret_error);
    if (error < 0)
        return error;
    /* From the quote of "source" on, whose value is the first that is a text of the maker's own. */
    const uint8_t *tail = made.source.data - sizeof "\"source\":\"" + 1;
    ret_maker->event = common->event;
    ret_maker->transient = common->transient;
    ret_maker->tail_len = (size_t)(text + made.body.len - tail);
    if (ret_maker->tail_len > sizeof ret_maker->tail)
        return kos_fail(ret_error, KOS_E_LIMIT, "the message's texts are too long");
    memcpy(ret_maker->tail, tail, ret_maker->tail_len);
    return 0;
}

enum { MAKER_HEAD = 256 }; /* names, numbers and ids before and behind the payload */

static uint8_t *put_bytes(uint8_t *at, struct kos_bytes bytes)
{
    memcpy(at, bytes.data, bytes.len);
    return at + bytes.len;
}

static uint8_t *put_number(uint8_t *at, const char *name, int64_t number)
{
    char digits[20];
    size_t n = sizeof digits;
    do
        digits[--n] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    return put_bytes(put_bytes(at, kos_bytes_str(name)), kos_bytes(digits + n, sizeof digits - n));
}

static uint8_t *put_id_text(uint8_t *at, const char *name, const struct klp_id *id)
{
    char text[KLP_ID_TEXT];
    klp_id_text(id, text);
    return put_bytes(put_bytes(at, kos_bytes_str(name)), kos_bytes(text, KLP_ID_TEXT - 1));
}

int32_t klp_message_maker_put(const struct klp_message_maker *maker, const struct klp_id *id, int64_t created,
                              int64_t expires, const struct klp_id *reply_to, struct kos_bytes payload, uint8_t *out,
                              size_t cap, size_t *ret_len, struct klp_digest *ret_digest, struct kos_error *ret_error)
{
    struct klp_json value;
    size_t offset = 0;
    if (created < 0 || expires <= created || expires - created > KLP_MESSAGE_LIFE_MAX_MS || expires > KLP_JSON_INT_MAX)
        return kos_fail(ret_error, KOS_E_INVALID, "the message is to live from %lld to %lld", (long long)created,
                        (long long)expires);
    int32_t error = json_read_inner(payload, KLP_MESSAGE_MAX, &value, &offset);
    if (error < 0 || value.type != KLP_JSON_OBJECT)
        return kos_fail(ret_error, error < 0 ? error : KOS_E_SYNTAX, "the payload is not canonical JSON, or no object: byte %zu",
                        offset);
    if (cap < payload.len + maker->tail_len + MAKER_HEAD)
        return kos_fail(ret_error, KOS_E_LIMIT, "the message needs up to %zu bytes, more than the %zu given",
                        payload.len + maker->tail_len + MAKER_HEAD, cap);
    uint8_t *at = put_number(out, "{\"created\":", created);
    at = put_number(at, maker->transient ? ",\"durable\":false,\"event\":" : ",\"event\":", (int64_t)maker->event);
    at = put_number(at, ",\"expires\":", expires);
    at = put_id_text(at, ",\"id\":\"", id);
    at = put_bytes(at, kos_bytes_str("\",\"payload\":"));
    at = put_bytes(at, payload);
    if (reply_to) {
        at = put_id_text(at, ",\"reply_to\":\"", reply_to);
        *at++ = '"';
    }
    *at++ = ',';
    at = put_bytes(at, kos_bytes(maker->tail, maker->tail_len));
    size_t len = (size_t)(at - out);
    if (len > KLP_MESSAGE_MAX)
        return kos_fail(ret_error, KOS_E_LIMIT, "the message has %zu bytes, more than %d", len, KLP_MESSAGE_MAX);
    klp_sha256(kos_bytes(out, len), ret_digest);
    *ret_len = len;
    return 0;
}
