/* SPDX-License-Identifier: Apache-2.0
 *
 * Base58btc, base32, base16 and base64 against the multibase vectors.
 */
#include <klp/crypto.h>

#include "vectors.h"

enum { DATA_MAX = KLP_BASE58_MAX, TEXT_MAX = 2 * DATA_MAX + 2 };

/* The bases that libklp has; each writes its text without the prefix, and reads it. */
static bool encode(char prefix, struct kos_bytes data, char ret_text[TEXT_MAX])
{
    switch (prefix) {
    case 'z': return klp_base58(data, ret_text, TEXT_MAX) >= 0;
    case 'b': klp_base32(data, ret_text); return true;
    case 'f': klp_hex(data, ret_text); return true;
    case 'M': klp_base64(data, ret_text); return true;
    default: return false;
    }
}

static int32_t decode(char prefix, struct kos_bytes text, uint8_t ret_data[DATA_MAX], size_t *ret_len)
{
    switch (prefix) {
    case 'z': return klp_unbase58(text, ret_data, DATA_MAX, ret_len);
    case 'b': return klp_unbase32(text, ret_data, DATA_MAX, ret_len);
    case 'f': return klp_unhex(text, ret_data, DATA_MAX, ret_len);
    default: return klp_unbase64(text, ret_data, DATA_MAX, ret_len);
    }
}

static const char *run_case(json_t *item, const char *encoded, struct kos_bytes input)
{
    char text[TEXT_MAX];
    uint8_t data[DATA_MAX];
    size_t len;
    if (!input.data || input.len > DATA_MAX)
        return "the case is malformed";
    int32_t err = decode(encoded[0], kos_bytes_str(encoded + 1), data, &len);
    /* Multibase would have these decoded; for KLP one value has one text. */
    if (json_is_true(json_object_get(item, "decode_only")))
        return err == KOS_E_SYNTAX ? NULL : "a second spelling was taken";
    if (err < 0 || len != input.len || memcmp(data, input.data, len) != 0)
        return "it decodes to something else";
    if (!encode(encoded[0], input, text) || strcmp(text, encoded + 1) != 0)
        return "it is encoded as something else";
    return NULL;
}

static void run_file(struct vectors *v, json_t *file)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(file, "cases"), i, item) {
        char name[96];
        const char *base = json_string_value(json_object_get(item, "base"));
        const char *encoded = json_string_value(json_object_get(item, "encoded"));
        snprintf(name, sizeof name, "%s %lld", base ? base : "not multibase",
                 (long long)json_integer_value(json_object_get(item, "id")));
        if (!base || !encoded || !*encoded || !strchr("zbfM", encoded[0])) {
            vectors_leave_out(v, name, "KLP has no such text");
            continue;
        }
        struct kos_bytes input = vectors_member(item, "input_hex");
        vectors_say(v, name, run_case(item, encoded, input));
        vectors_free(&input, 1);
    }
}

int main(void)
{
    return vectors_run("multiformats", run_file);
}
