/* SPDX-License-Identifier: Apache-2.0
 *
 * Members of signed records: one text each for ids, digests, keys and signatures. Readers take values of a text that
 * klp_json_read() has passed and return 0 or a negative code. Private to libklp.
 */
#ifndef KLP_MEMBER_H
#define KLP_MEMBER_H

#include <klp/id.h>
#include <klp/json.h>

static inline int32_t member_id(struct klp_json value, struct klp_id *ret_id)
{
    struct kos_bytes text;
    int32_t error = klp_json_plain(value, &text);
    return error < 0 ? error : klp_id_parse(text, ret_id);
}

static inline int32_t member_hex(struct klp_json value, uint8_t *ret_data, size_t len)
{
    struct kos_bytes text;
    int32_t error = klp_json_plain(value, &text);
    if (error < 0)
        return error;
    if (text.len != 2 + 2 * len || text.data[0] != '0' || text.data[1] != 'x')
        return KOS_E_SYNTAX;
    return klp_unhex(kos_bytes(text.data + 2, text.len - 2), ret_data, len, NULL);
}

static inline int32_t member_digest(struct klp_json value, struct klp_digest *ret_digest)
{
    return member_hex(value, ret_digest->b, sizeof ret_digest->b);
}

static inline int32_t member_key(struct klp_json value, struct klp_public *ret_key)
{
    struct kos_bytes text;
    int32_t error = klp_json_plain(value, &text);
    return error < 0 ? error : klp_public_parse(text, ret_key);
}

static inline int32_t member_x25519(struct klp_json value, uint8_t ret_key[KLP_X25519_LEN])
{
    struct kos_bytes text;
    int32_t error = klp_json_plain(value, &text);
    return error < 0 ? error : klp_x25519_parse(text, ret_key);
}

/* A time in Unix ms or a count: what fits a JSON integer and is not negative. */
static inline int32_t member_time(struct klp_json value, int64_t *ret_ms)
{
    uint64_t number;
    int32_t error = klp_json_uint(value, &number);
    if (error < 0)
        return error;
    *ret_ms = (int64_t)number;
    return 0;
}

/* {"digest","id"}: an id with the full digest whose head it is. */
static inline int32_t member_party(struct klp_json value, struct klp_id *ret_id, struct klp_digest *ret_digest)
{
    static const char *const names[] = { "digest", "id" };
    struct klp_json values[2];
    if (value.type != KLP_JSON_OBJECT || klp_json_get_many(value, names, 2, values) != 2)
        return KOS_E_SYNTAX;
    int32_t error = member_digest(values[0], ret_digest);
    if (!error)
        error = member_id(values[1], ret_id);
    if (!error && memcmp(ret_id->b, ret_digest->b, KLP_ID_LEN) != 0)
        error = KOS_E_INVALID;
    return error;
}

/* {"body":{...},"signature":"0x..."} and nothing else: the envelope of events, statements and acceptances. */
static inline int32_t member_envelope(struct klp_json envelope, struct klp_json *ret_body,
                                      uint8_t ret_signature[KLP_SIGNATURE_LEN])
{
    static const char *const names[] = { "body", "signature" };
    struct klp_json values[2];
    if (envelope.type != KLP_JSON_OBJECT || klp_json_get_many(envelope, names, 2, values) != 2
        || values[0].type != KLP_JSON_OBJECT)
        return KOS_E_SYNTAX;
    int32_t error = member_hex(values[1], ret_signature, KLP_SIGNATURE_LEN);
    if (error < 0)
        return error;
    *ret_body = values[0];
    return 0;
}

static inline void member_put_id(struct klp_json_out *out, const char *name, const struct klp_id *id)
{
    char text[KLP_ID_TEXT];
    klp_id_text(id, text);
    klp_json_name(out, name);
    klp_json_put_cstr(out, text);
}

static inline void member_put_digest(struct klp_json_out *out, const char *name, const struct klp_digest *digest)
{
    klp_json_name(out, name);
    klp_json_put_hex(out, kos_bytes(digest->b, sizeof digest->b));
}

/* An unusable key sets the writer's error, as the writer's own faults do. */
static inline void member_put_key(struct klp_json_out *out, const char *name, const struct klp_public *key)
{
    char text[KLP_KEY_TEXT_MAX];
    int32_t error = klp_public_text(key, text);
    if (error < 0) {
        if (!out->error)
            out->error = error;
        return;
    }
    klp_json_name(out, name);
    klp_json_put_cstr(out, text);
}

static inline void member_put_party(struct klp_json_out *out, const char *name, const struct klp_id *id,
                                    const struct klp_digest *digest)
{
    klp_json_name(out, name);
    klp_json_object(out);
    member_put_digest(out, "digest", digest);
    member_put_id(out, "id", id);
    klp_json_close(out, '}');
}

static inline void member_put_int(struct klp_json_out *out, const char *name, int64_t number)
{
    klp_json_name(out, name);
    klp_json_put_int(out, number);
}

/* Wraps `body` (which may lie in `out` itself, at the place where the envelope puts it) and its signature. */
enum { MEMBER_ENVELOPE_HEAD = 8 /* {"body": */, MEMBER_ENVELOPE_TAIL = 146 /* ,"signature":"0x<128>"} */ };
static inline void member_envelope_put(struct kos_bytes body, const uint8_t signature[KLP_SIGNATURE_LEN], uint8_t *out)
{
    char hex[2 * KLP_SIGNATURE_LEN + 1];
    memcpy(out, "{\"body\":", MEMBER_ENVELOPE_HEAD);
    uint8_t *at = out + MEMBER_ENVELOPE_HEAD;
    if (at != body.data)
        memcpy(at, body.data, body.len);
    at += body.len;
    klp_hex(kos_bytes(signature, KLP_SIGNATURE_LEN), hex);
    memcpy(at, ",\"signature\":\"0x", 16);
    memcpy(at + 16, hex, 2 * KLP_SIGNATURE_LEN);
    memcpy(at + 16 + 2 * KLP_SIGNATURE_LEN, "\"}", 2);
}

#endif
