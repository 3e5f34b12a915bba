/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealing of messages (klp(7), "Sealing"): the body's members are taken as the slices they are and put together
 * again, so nothing that was canonical is parsed and written anew.
 *
 *   plaintext        the exact bytes of `payload`
 *   associated data  the body without `payload` and `seal`
 *   sealed body      payload = base64 of the ciphertext, seal = {"enc":"0x...","key":"z..."}
 */
#include <klp/hpke.h>

#include "member.h"

#include <stdlib.h>

#define INFO kos_bytes_str("klp-seal/1")

enum { SEAL_TEXT_MAX = 192 };

struct text {
    uint8_t *data;
    size_t len;
};

static void append(struct text *text, struct kos_bytes bytes)
{
    if (bytes.len)
        memcpy(text->data + text->len, bytes.data, bytes.len);
    text->len += bytes.len;
}

static void append_member(struct text *text, struct kos_bytes name, struct kos_bytes value)
{
    append(text, kos_bytes_str(text->len == 0 ? "{\"" : ",\""));
    append(text, name);
    append(text, kos_bytes_str("\":"));
    append(text, value);
}

static void append_end(struct text *text)
{
    append(text, kos_bytes_str(text->len == 0 ? "{}" : "}"));
}

/* By JCS order; `name` is still escaped, which decides nothing here: escaped characters and '\' itself all stand
 * before the small letters of `ascii`. */
static bool stands_before(struct kos_bytes name, const char *ascii)
{
    size_t len = strlen(ascii);
    int order = memcmp(name.data, ascii, name.len < len ? name.len : len);
    return order < 0 || (order == 0 && name.len < len);
}

/* The body with another payload and seal; an absent one ({NULL, 0}) is left out. `out` has room for all of it. */
static void compose(struct klp_json body, struct kos_bytes payload, struct kos_bytes seal, struct text *out)
{
    struct klp_json_iter iter;
    struct kos_bytes name;
    struct klp_json value;
    out->len = 0;
    klp_json_iter_init(body, &iter);
    while (klp_json_next(&iter, &name, &value)) {
        if (kos_bytes_eq(name, kos_bytes_str("seal")))
            continue;
        if (seal.len && !stands_before(name, "seal")) {
            append_member(out, kos_bytes_str("seal"), seal);
            seal.len = 0;
        }
        if (!kos_bytes_eq(name, kos_bytes_str("payload")))
            append_member(out, name, value.text);
        else if (payload.len)
            append_member(out, name, payload);
    }
    if (seal.len)
        append_member(out, kos_bytes_str("seal"), seal);
    append_end(out);
}

static int32_t read_body(struct kos_bytes body, struct klp_json *ret_root, struct klp_json *ret_payload,
                         struct klp_json *ret_seal, struct kos_error *ret_error)
{
    struct klp_json root;
    size_t offset = 0;
    int32_t code = klp_json_read(body, KLP_MESSAGE_MAX, &root, &offset);
    if (code < 0)
        return kos_fail(ret_error, code, "the message is not canonical JSON of at most %d bytes (byte %zu)",
                        KLP_MESSAGE_MAX, offset);
    if (root.type != KLP_JSON_OBJECT)
        return kos_fail(ret_error, KOS_E_INVALID, "the message is not a JSON object");
    *ret_root = root;
    *ret_payload = klp_json_get(root, "payload");
    *ret_seal = klp_json_get(root, "seal");
    return KOS_OK;
}

static int32_t seal_text(const uint8_t enc[KLP_HPKE_ENC_LEN], const uint8_t recipient[32],
                         uint8_t buffer[SEAL_TEXT_MAX], struct kos_bytes *ret_text)
{
    char key[KLP_KEY_TEXT_MAX];
    struct klp_json_out out;
    int32_t code = klp_x25519_text(recipient, key);
    if (code < 0)
        return code;
    klp_json_begin(&out, buffer, SEAL_TEXT_MAX);
    klp_json_object(&out);
    klp_json_name(&out, "enc");
    klp_json_put_hex(&out, kos_bytes(enc, KLP_HPKE_ENC_LEN));
    klp_json_name(&out, "key");
    klp_json_put_cstr(&out, key);
    klp_json_close(&out, '}');
    return klp_json_end(&out, ret_text);
}

/* `scratch` holds the associated data first and the ciphertext after it; `out` the sealed body. */
static int32_t seal_into(struct klp_json root, struct kos_bytes payload, const uint8_t recipient[32],
                         struct klp_random random, struct text *scratch, struct text *out)
{
    uint8_t enc[KLP_HPKE_ENC_LEN], buffer[SEAL_TEXT_MAX];
    struct kos_bytes seal;
    compose(root, kos_bytes(NULL, 0), kos_bytes(NULL, 0), scratch);
    uint8_t *sealed = scratch->data + scratch->len;
    int32_t code = klp_hpke_seal(recipient, INFO, kos_bytes(scratch->data, scratch->len), payload, random, enc, sealed);
    if (code == KOS_OK)
        code = seal_text(enc, recipient, buffer, &seal);
    if (code < 0)
        return code;
    size_t len = payload.len + KLP_HPKE_TAG_LEN;
    char *base64 = malloc(4 * ((len + 2) / 3) + 3);
    if (!base64)
        return KOS_E_NOMEM;
    base64[0] = '"';
    size_t chars = klp_base64(kos_bytes(sealed, len), base64 + 1);
    base64[1 + chars] = '"';
    compose(root, kos_bytes(base64, chars + 2), seal, out);
    free(base64);
    return KOS_OK;
}

int32_t klp_seal_message(struct kos_bytes body, const uint8_t recipient[32], struct klp_random random,
                         uint8_t **ret_body, size_t *ret_len, struct kos_error *ret_error)
{
    struct klp_json root, payload, seal;
    int32_t code = read_body(body, &root, &payload, &seal, ret_error);
    if (code < 0)
        return code;
    if (seal.type != KLP_JSON_NONE)
        return kos_fail(ret_error, KOS_E_STATE, "the message is sealed already");
    if (payload.type != KLP_JSON_OBJECT)
        return kos_fail(ret_error, KOS_E_INVALID, "the message cannot be sealed: its payload is not an object");
    size_t grown = 4 * ((payload.text.len + KLP_HPKE_TAG_LEN + 2) / 3);
    struct text scratch = { malloc(body.len + KLP_HPKE_TAG_LEN + 2), 0 };
    struct text out = { malloc(body.len + grown + SEAL_TEXT_MAX + sizeof ",\"seal\":" + 2), 0 };
    code = scratch.data && out.data ? seal_into(root, payload.text, recipient, random, &scratch, &out) : KOS_E_NOMEM;
    free(scratch.data);
    if (code == KOS_OK && out.len > KLP_MESSAGE_MAX) {
        free(out.data);
        return kos_fail(ret_error, KOS_E_LIMIT, "the message has %zu bytes when sealed, the limit is %d; "
                        "send the content as a document", out.len, KLP_MESSAGE_MAX);
    }
    if (code < 0) {
        free(out.data);
        return kos_fail(ret_error, code, "the message cannot be sealed: %s", kos_error_text(code));
    }
    *ret_body = out.data;
    *ret_len = out.len;
    return KOS_OK;
}

static int32_t read_seal(struct klp_json seal, const uint8_t recipient_public[32], uint8_t ret_enc[KLP_HPKE_ENC_LEN],
                         struct kos_error *ret_error)
{
    struct klp_json key = klp_json_get(seal, "key");
    uint8_t named[KLP_X25519_LEN];
    if (member_hex(klp_json_get(seal, "enc"), ret_enc, KLP_HPKE_ENC_LEN) < 0)
        return kos_fail(ret_error, KOS_E_PROTOCOL, "the seal's \"enc\" is not 0x and 64 hexadecimal digits");
    if (member_x25519(key, named) < 0)
        return kos_fail(ret_error, KOS_E_PROTOCOL, "the seal's \"key\" is not an X25519 multikey");
    if (memcmp(named, recipient_public, sizeof named) != 0)
        return kos_fail(ret_error, KOS_E_SEAL_RETIRED,
                        "the message is sealed to the key %.*s, which is not in use here; "
                        "seal it anew to the key of the current node record", (int)key.text.len, (const char *)key.text.data);
    return KOS_OK;
}

/* Opens into `plain`; its text must be what a payload may be, since nobody has looked at it before. */
static int32_t open_into(struct klp_json root, struct kos_bytes base64, const uint8_t enc[KLP_HPKE_ENC_LEN],
                         const uint8_t secret[32], struct text *scratch, struct text *plain,
                         struct kos_error *ret_error)
{
    struct klp_json payload;
    size_t len;
    compose(root, kos_bytes(NULL, 0), kos_bytes(NULL, 0), scratch);
    if (klp_unbase64(base64, plain->data, base64.len, &len) < 0)
        return kos_fail(ret_error, KOS_E_PROTOCOL, "the sealed payload is not base64");
    struct kos_bytes ad = kos_bytes(scratch->data, scratch->len);
    int32_t code = klp_hpke_open(secret, enc, INFO, ad, kos_bytes(plain->data, len), plain->data);
    if (code < 0)
        return kos_fail(ret_error, code, "the sealed payload does not open: %s", kos_error_text(code));
    plain->len = len - KLP_HPKE_TAG_LEN;
    code = klp_json_read(kos_bytes(plain->data, plain->len), KLP_MESSAGE_MAX, &payload, NULL);
    if (code == KOS_OK && payload.type != KLP_JSON_OBJECT)
        code = KOS_E_INVALID;
    if (code < 0)
        return kos_fail(ret_error, code, "what the sealed payload holds is not an object of canonical JSON");
    return KOS_OK;
}

int32_t klp_open_message(struct kos_bytes body, const uint8_t secret[32], const uint8_t recipient_public[32],
                         uint8_t **ret_body, size_t *ret_len, struct kos_error *ret_error)
{
    struct klp_json root, payload, seal;
    struct kos_bytes base64;
    uint8_t enc[KLP_HPKE_ENC_LEN];
    int32_t code = read_body(body, &root, &payload, &seal, ret_error);
    if (code < 0)
        return code;
    if (seal.type != KLP_JSON_OBJECT || klp_json_plain(payload, &base64) < 0 || base64.len == 0)
        return kos_fail(ret_error, KOS_E_PROTOCOL, "the message is not sealed: it lacks \"seal\" or a payload in base64");
    code = read_seal(seal, recipient_public, enc, ret_error);
    if (code < 0)
        return code;
    struct text out = { malloc(body.len + 2), 0 }, plain = { malloc(base64.len), 0 };
    if (!out.data || !plain.data)
        code = kos_fail(ret_error, KOS_E_NOMEM, "there is not enough memory to open a message of %zu bytes", body.len);
    else
        code = open_into(root, base64, enc, secret, &out, &plain, ret_error);
    if (code == KOS_OK) {
        /* Shorter than the sealed body: base64 outweighs the plaintext and the seal is gone. */
        compose(root, kos_bytes(plain.data, plain.len), kos_bytes(NULL, 0), &out);
        /* The payload stands one level deeper here than it was checked at. */
        code = klp_json_read(kos_bytes(out.data, out.len), KLP_MESSAGE_MAX, &payload, NULL);
        if (code < 0)
            kos_fail(ret_error, code, "what the sealed payload holds is nested too deep (limit %d)",
                     KLP_JSON_DEPTH_MAX);
    }
    if (code == KOS_OK) {
        *ret_body = out.data;
        *ret_len = out.len;
    } else {
        free(out.data);
    }
    if (plain.data)
        klp_wipe(plain.data, base64.len);
    free(plain.data);
    return code;
}
