/* SPDX-License-Identifier: Apache-2.0
 *
 * KLP-IDs and their three texts: base32, hex, DID.
 */
#include <klp/id.h>

#include "codec.h"

enum { ID_CHARS = KLP_ID_TEXT - 1, ID_DIGITS = 2 * KLP_ID_LEN, DID_PREFIX = 8 };

static const char *const kind_names[] = { NULL, "node", "agent", "doc", "policy" };
static const char did_prefix[] = "did:klp:";

const char *klp_kind_name(int32_t kind)
{
    return kind >= KLP_KIND_NODE && kind <= KLP_KIND_POLICY ? kind_names[kind] : NULL;
}

int32_t klp_kind_parse(struct kos_bytes text, int32_t *ret_kind)
{
    for (int32_t kind = KLP_KIND_NODE; kind <= KLP_KIND_POLICY; kind++) {
        if (kos_bytes_eq(text, kos_bytes_str(kind_names[kind]))) {
            *ret_kind = kind;
            return 0;
        }
    }
    return KOS_E_SYNTAX;
}

void klp_id_derive(int32_t kind, struct kos_bytes body, struct klp_id *ret_id, struct klp_digest *ret_digest)
{
    const char *name = klp_kind_name(kind);
    struct klp_digest digest;
    if (!name)
        name = "";
    /* sizeof counts the NUL: it is the separator of the rule. */
    struct kos_bytes pieces[3] = { kos_bytes("klp-id/1", sizeof "klp-id/1"), kos_bytes(name, strlen(name) + 1), body };
    klp_sha256v(pieces, 3, &digest);
    memcpy(ret_id->b, digest.b, sizeof ret_id->b);
    if (ret_digest)
        *ret_digest = digest;
}

void klp_id_text(const struct klp_id *id, char ret_text[KLP_ID_TEXT])
{
    klp_base32(kos_bytes(id->b, sizeof id->b), ret_text);
}

int32_t klp_id_parse(struct kos_bytes text, struct klp_id *ret_id)
{
    if (text.len != ID_CHARS)
        return KOS_E_SYNTAX;
    return klp_unbase32(text, ret_id->b, sizeof ret_id->b, NULL);
}

void klp_id_hex(const struct klp_id *id, char ret_text[KLP_ID_HEX])
{
    memcpy(ret_text, "0x", 2);
    klp_hex(kos_bytes(id->b, sizeof id->b), ret_text + 2);
}

int32_t klp_id_parse_hex(struct kos_bytes text, struct klp_id *ret_id)
{
    if (text.len != 2 + ID_DIGITS || memcmp(text.data, "0x", 2) != 0)
        return KOS_E_SYNTAX;
    return klp_unhex(kos_bytes(text.data + 2, ID_DIGITS), ret_id->b, sizeof ret_id->b, NULL);
}

void klp_did(const struct klp_id *id, char ret_text[KLP_DID_TEXT])
{
    memcpy(ret_text, did_prefix, DID_PREFIX);
    klp_id_text(id, ret_text + DID_PREFIX);
}

int32_t klp_did_parse(struct kos_bytes text, struct klp_id *ret_id)
{
    if (text.len != DID_PREFIX + ID_CHARS || memcmp(text.data, did_prefix, DID_PREFIX) != 0)
        return KOS_E_SYNTAX;
    return klp_id_parse(kos_bytes(text.data + DID_PREFIX, ID_CHARS), ret_id);
}

int32_t klp_id_prefix_parse(struct kos_bytes text, struct klp_id_prefix *ret_prefix)
{
    struct klp_id_prefix prefix = { .digits = ID_DIGITS };
    char folded[KLP_ID_HEX];
    size_t len = text.len;
    if (len >= sizeof folded)
        return KOS_E_SYNTAX;
    /* A person may have copied it from where case was lost. */
    for (size_t i = 0; i < len; i++)
        folded[i] = ascii_lower((char)text.data[i]);
    struct kos_bytes word = kos_bytes(folded, len);
    if (len >= 2 && memcmp(folded, "0x", 2) == 0) {
        size_t digits = len - 2;
        if (digits < 2)
            return KOS_E_SYNTAX;
        folded[len] = '0'; /* completes the last byte of an odd count */
        int32_t err = klp_unhex(kos_bytes(folded + 2, digits + digits % 2), prefix.id.b, sizeof prefix.id.b, NULL);
        if (err < 0)
            return KOS_E_SYNTAX;
        prefix.digits = (uint8_t)digits;
    } else if (klp_id_parse(word, &prefix.id) < 0 && klp_did_parse(word, &prefix.id) < 0) {
        return KOS_E_SYNTAX;
    }
    *ret_prefix = prefix;
    return 0;
}

bool klp_id_prefix_match(const struct klp_id_prefix *prefix, const struct klp_id *id)
{
    size_t whole = prefix->digits / 2;
    if (prefix->digits > ID_DIGITS || memcmp(prefix->id.b, id->b, whole) != 0)
        return false;
    return prefix->digits % 2 == 0 || prefix->id.b[whole] >> 4 == id->b[whole] >> 4;
}

void klp_id_random(struct klp_random random, struct klp_id *ret_id)
{
    random.fill(random.self, ret_id->b, sizeof ret_id->b);
}
