/* SPDX-License-Identifier: Apache-2.0
 *
 * The text form of a message, for files and people: one object with the member "signature" inside.
 */
#include <klp/message.h>

#include <stdlib.h>

#include "member.h"

static const char member[] = "signature";
enum { MEMBER_TEXT = sizeof "\"signature\":" - 1 };

/* JCS order of a name, as it stands between its quotes, against "signature". Bytes decide as UTF-16 would: one of the
 * two is ASCII, and what is escaped sorts below its letters with and without the escape. */
static bool comes_after(struct kos_bytes name)
{
    size_t len = sizeof member - 1, shared = name.len < len ? name.len : len;
    int order = memcmp(name.data, member, shared);
    return order > 0 || (order == 0 && name.len > len);
}

/* Plain or batch, by its length: 64, or 72 and a path of whole digests. */
static bool length_ok(size_t len)
{
    return len == KLP_SIGNATURE_LEN
           || (len >= KLP_SIGNATURE_LEN + 8 && len <= KLP_BATCH_SIGNATURE_MAX
               && (len - KLP_SIGNATURE_LEN - 8) % KLP_DIGEST_LEN == 0);
}

static int32_t read_signature(struct klp_json value, uint8_t *ret_signature, size_t *ret_len)
{
    struct kos_bytes text;
    int32_t error = klp_json_plain(value, &text);
    if (error < 0)
        return error;
    if (text.len < 2 || text.data[0] != '0' || text.data[1] != 'x' || !length_ok((text.len - 2) / 2))
        return KOS_E_SYNTAX;
    return klp_unhex(kos_bytes(text.data + 2, text.len - 2), ret_signature, KLP_BATCH_SIGNATURE_MAX, ret_len);
}

/* Takes the member and one comma beside it out of the canonical object `text`. Returns the new length. */
static size_t cut_member(uint8_t *text, size_t len, struct klp_json value)
{
    size_t from = (size_t)(value.text.data - text) - MEMBER_TEXT,
           to = (size_t)(value.text.data - text) + value.text.len;
    if (text[from - 1] == ',')
        from--;
    else if (text[to] == ',')
        to++;
    memmove(text + from, text + to, len - to);
    return len - (to - from);
}

int32_t klp_message_from_text(struct kos_bytes text, uint8_t **ret_body, size_t *ret_body_len, uint8_t *ret_signature,
                              size_t *ret_signature_len, struct kos_error *ret_error)
{
    /* The text may be larger than what becomes of it: white space, escapes, the signature. */
    enum { TEXT_MAX = 2 * KLP_MESSAGE_MAX };
    uint8_t signature[KLP_BATCH_SIGNATURE_MAX], *body;
    size_t signature_len = 0, body_len;
    struct klp_json object;
    struct klp_message message;
    int32_t error = klp_json_canonicalise(text, TEXT_MAX, &body, &body_len, ret_error);
    if (error < 0)
        return error;
    error = klp_json_read(kos_bytes(body, body_len), TEXT_MAX, &object, NULL);
    if (error < 0) {
        kos_fail(ret_error, error, "the message's text is not acceptable: %s", kos_error_text(error));
        goto fail;
    }
    struct klp_json value = klp_json_get(object, member);
    if (value.type != KLP_JSON_NONE) {
        error = read_signature(value, signature, &signature_len);
        if (error < 0) {
            kos_fail(ret_error, error,
                     "the message's signature is not 0x and the digits of 64 bytes, or of a batch signature");
            goto fail;
        }
        body_len = cut_member(body, body_len, value);
    }
    error = klp_message_parse(kos_bytes(body, body_len), &message, ret_error);
    if (error < 0)
        goto fail;
    memcpy(ret_signature, signature, signature_len);
    *ret_signature_len = signature_len;
    *ret_body = body;
    *ret_body_len = body_len;
    return 0;
fail:
    free(body);
    return error;
}

int32_t klp_message_to_text(struct kos_bytes body, struct kos_bytes signature, uint8_t **ret_text, size_t *ret_len,
                            struct kos_error *ret_error)
{
    struct klp_message message;
    struct klp_json_iter iter;
    struct klp_json value;
    struct kos_bytes name;
    if (!length_ok(signature.len))
        return kos_fail(ret_error, KOS_E_INVALID, "a signature of %zu bytes is neither plain nor one of a batch",
                        signature.len);
    int32_t error = klp_message_parse(body, &message, ret_error);
    if (error < 0)
        return error;
    /* There is always a later name, as "source" is required: the member goes in before it, and a comma after. */
    klp_json_iter_init((struct klp_json){ KLP_JSON_OBJECT, body }, &iter);
    while (klp_json_next(&iter, &name, &value) && !comes_after(name))
        continue;
    size_t at = (size_t)(name.data - body.data) - 1, len = body.len + MEMBER_TEXT + 4 + 2 * signature.len + 1;
    char *text = malloc(len + 1), *to = text;
    if (!text)
        return kos_fail(ret_error, KOS_E_NOMEM, "no memory for a message's text of %zu bytes", len);
    memcpy(to, body.data, at);
    to += at;
    memcpy(to, "\"signature\":\"0x", MEMBER_TEXT + 3);
    to += MEMBER_TEXT + 3;
    klp_hex(signature, to);
    to += 2 * signature.len;
    memcpy(to, "\",", 2);
    to += 2;
    memcpy(to, body.data + at, body.len - at);
    *ret_text = (uint8_t *)text;
    *ret_len = len;
    return 0;
}
