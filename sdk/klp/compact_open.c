/* SPDX-License-Identifier: Apache-2.0
 * From the compact form back to canonical JSON. What was read is made compact again and must be the same bytes: so no
 * two texts pass for one, whatever this reader would let through. */
#include <klp/cbor.h>
#include <klp/id.h>

#include <math.h>
#include <stdlib.h>

#include "compact_private.h"

struct decoder {
    struct klp_json_out out;
    char *text; /* one string at a time */
    size_t cap;
};

struct member {
    struct kos_bytes name; /* UTF-8 */
    struct kos_bytes value;
    bool life;
};

static int32_t put_value(struct decoder *decoder, struct kos_bytes *rest);

static int32_t put_prefixed(struct decoder *decoder, const char *prefix, struct kos_bytes text)
{
    size_t len = strlen(prefix);
    if (len + text.len >= decoder->cap)
        return KOS_E_LIMIT;
    memcpy(decoder->text, prefix, len);
    if (text.len)
        memcpy(decoder->text + len, text.data, text.len);
    klp_json_put_string(&decoder->out, kos_bytes(decoder->text, len + text.len));
    return KOS_OK;
}

static int32_t put_id(struct decoder *decoder, const char *prefix, struct kos_bytes bytes)
{
    struct klp_id id;
    char text[KLP_ID_TEXT];
    if (bytes.len != sizeof id.b)
        return KOS_E_CANONICAL;
    memcpy(id.b, bytes.data, sizeof id.b);
    klp_id_text(&id, text);
    return put_prefixed(decoder, prefix, kos_bytes_str(text));
}

static int32_t put_hex(struct decoder *decoder, const char *prefix, struct kos_bytes bytes)
{
    size_t at = strlen(prefix);
    if (at + 2 * bytes.len + 1 > decoder->cap)
        return KOS_E_LIMIT;
    memcpy(decoder->text, prefix, at);
    klp_hex(bytes, decoder->text + at);
    klp_json_put_string(&decoder->out, kos_bytes(decoder->text, at + 2 * bytes.len));
    return KOS_OK;
}

static int32_t put_base64(struct decoder *decoder, struct kos_bytes bytes)
{
    if (4 * ((bytes.len + 2) / 3) + 1 > decoder->cap)
        return KOS_E_LIMIT;
    size_t len = klp_base64(bytes, decoder->text);
    klp_json_put_string(&decoder->out, kos_bytes(decoder->text, len));
    return KOS_OK;
}

static int32_t put_tagged(struct decoder *decoder, uint64_t tag, struct kos_bytes *rest)
{
    struct klp_cbor item;
    int32_t code = klp_cbor_next(rest, &item);
    if (code < 0)
        return code;
    bool bytes = item.type == KLP_CBOR_BYTES, text = item.type == KLP_CBOR_TEXT;
    if (tag == COMPACT_HEX && bytes)
        return put_hex(decoder, "0x", item.bytes);
    if (tag == COMPACT_DIGITS && bytes)
        return put_hex(decoder, "", item.bytes);
    if (tag == COMPACT_BASE64 && bytes)
        return put_base64(decoder, item.bytes);
    if ((tag == COMPACT_NODE_ID || tag == COMPACT_AGENT_ID) && bytes)
        return put_id(decoder, tag == COMPACT_NODE_ID ? "klp://node." : "klp://agent.", item.bytes);
    if ((tag == COMPACT_NODE || tag == COMPACT_AGENT) && text)
        return put_prefixed(decoder, tag == COMPACT_NODE ? "klp://node." : "klp://agent.", item.bytes);
    if (tag != COMPACT_WORD || item.type != KLP_CBOR_UINT || item.number >= compact_word_count)
        return KOS_E_CANONICAL;
    klp_json_put_cstr(&decoder->out, compact_words[item.number]);
    return KOS_OK;
}

static int by_name(const void *a, const void *b)
{
    return json_name_cmp(((const struct member *)a)->name, ((const struct member *)b)->name, false);
}

static int32_t read_member(struct kos_bytes *rest, struct member *member)
{
    struct klp_cbor key;
    int32_t code = klp_cbor_next(rest, &key);
    if (code < 0)
        return code;
    if (key.type == KLP_CBOR_TEXT) {
        member->name = key.bytes;
    } else if (key.type == KLP_CBOR_UINT && key.number < compact_name_count) {
        member->life = key.number == COMPACT_LIFE;
        member->name = kos_bytes_str(compact_names[member->life ? COMPACT_EXPIRES : key.number]);
    } else {
        return KOS_E_CANONICAL;
    }
    return klp_cbor_item(rest, &member->value);
}

/* Sorted by their encodings, created stands before what refers to it. */
static int32_t put_expires(struct decoder *decoder, const struct member *members, size_t count, struct kos_bytes value)
{
    struct klp_cbor life, created;
    for (size_t i = 0; i < count; i++) {
        struct kos_bytes rest = members[i].value;
        if (!kos_bytes_eq(members[i].name, kos_bytes_str("created")))
            continue;
        if (klp_cbor_next(&rest, &created) < 0 || klp_cbor_next(&value, &life) < 0 || created.type != KLP_CBOR_UINT ||
            life.type != KLP_CBOR_UINT || created.number > (uint64_t)KLP_JSON_INT_MAX ||
            life.number > (uint64_t)KLP_JSON_INT_MAX - created.number)
            return KOS_E_CANONICAL;
        klp_json_put_int(&decoder->out, (int64_t)(created.number + life.number));
        return KOS_OK;
    }
    return KOS_E_CANONICAL;
}

static int32_t put_member(struct decoder *decoder, const struct member *members, size_t count, size_t i)
{
    struct kos_bytes value = members[i].value, name = members[i].name;
    if (name.len >= decoder->cap || (name.len && memchr(name.data, 0, name.len)))
        return KOS_E_CANONICAL;
    if (name.len)
        memcpy(decoder->text, name.data, name.len);
    decoder->text[name.len] = 0;
    klp_json_name(&decoder->out, decoder->text);
    return members[i].life ? put_expires(decoder, members, count, value) : put_value(decoder, &value);
}

static int32_t put_map(struct decoder *decoder, uint64_t pairs, struct kos_bytes *rest)
{
    int32_t code = KOS_OK;
    struct member *members = calloc((size_t)pairs + 1, sizeof *members);
    if (!members)
        return KOS_E_NOMEM;
    for (uint64_t i = 0; i < pairs && code >= 0; i++)
        code = read_member(rest, &members[i]);
    if (code >= 0) {
        qsort(members, (size_t)pairs, sizeof *members, by_name);
        klp_json_object(&decoder->out);
        for (size_t i = 0; i < pairs && code >= 0; i++)
            code = put_member(decoder, members, (size_t)pairs, i);
        klp_json_close(&decoder->out, '}');
    }
    free(members);
    return code;
}

static int32_t put_array(struct decoder *decoder, uint64_t items, struct kos_bytes *rest)
{
    int32_t code = KOS_OK;
    klp_json_array(&decoder->out);
    for (uint64_t i = 0; i < items && code >= 0; i++)
        code = put_value(decoder, rest);
    klp_json_close(&decoder->out, ']');
    return code;
}

static int32_t put_number(struct decoder *decoder, const struct klp_cbor *item)
{
    if (item->type == KLP_CBOR_FLOAT) {
        if (!isfinite(item->real))
            return KOS_E_CANONICAL;
        klp_json_put_double(&decoder->out, item->real);
        return KOS_OK;
    }
    if (item->number > (uint64_t)KLP_JSON_INT_MAX)
        return KOS_E_CANONICAL;
    klp_json_put_int(&decoder->out, item->type == KLP_CBOR_UINT ? (int64_t)item->number : -1 - (int64_t)item->number);
    return KOS_OK;
}

static int32_t put_simple(struct decoder *decoder, uint64_t which)
{
    if (which != KLP_CBOR_TRUE && which != KLP_CBOR_FALSE && which != KLP_CBOR_NULL)
        return KOS_E_CANONICAL;
    if (which == KLP_CBOR_NULL)
        klp_json_put_null(&decoder->out);
    else
        klp_json_put_bool(&decoder->out, which == KLP_CBOR_TRUE);
    return KOS_OK;
}

static int32_t put_value(struct decoder *decoder, struct kos_bytes *rest)
{
    struct klp_cbor item;
    int32_t code = klp_cbor_next(rest, &item);
    if (code < 0)
        return code;
    if (decoder->out.error < 0)
        return decoder->out.error;
    switch (item.type) {
    case KLP_CBOR_UINT:
    case KLP_CBOR_NINT:
    case KLP_CBOR_FLOAT: return put_number(decoder, &item);
    case KLP_CBOR_BYTES: return put_id(decoder, "", item.bytes);
    case KLP_CBOR_TEXT: klp_json_put_string(&decoder->out, item.bytes); return KOS_OK;
    case KLP_CBOR_ARRAY: return put_array(decoder, item.number, rest);
    case KLP_CBOR_MAP: return put_map(decoder, item.number, rest);
    case KLP_CBOR_TAG: return put_tagged(decoder, item.number, rest);
    default: return put_simple(decoder, item.number);
    }
}

/* Measured by what it becomes: a compact form cannot grow beyond the JSON's limit. */
int32_t compact_decode(struct kos_bytes compact, uint8_t **ret_json, size_t *ret_len)
{
    struct decoder decoder = { .cap = KLP_COMPACT_MAX + 64 };
    struct kos_bytes rest = compact, text;
    int32_t code = klp_cbor_check(compact, KLP_COMPACT_MAX);
    if (code < 0)
        return code;
    if (compact.data[0] >> 5 != KLP_CBOR_MAP)
        return KOS_E_CANONICAL;
    uint8_t *json = malloc(KLP_COMPACT_MAX);
    decoder.text = malloc(decoder.cap);
    if (!json || !decoder.text) {
        code = KOS_E_NOMEM;
    } else {
        klp_json_begin(&decoder.out, json, KLP_COMPACT_MAX);
        code = put_value(&decoder, &rest);
        if (code >= 0)
            code = klp_json_end(&decoder.out, &text);
    }
    free(decoder.text);
    if (code < 0) {
        free(json);
        return code == KOS_E_LIMIT || code == KOS_E_NOMEM ? code : KOS_E_CANONICAL;
    }
    *ret_json = json;
    *ret_len = text.len;
    return KOS_OK;
}

int32_t klp_compact_open(struct kos_bytes compact, uint8_t **ret_json, size_t *ret_len)
{
    uint8_t *json, *again;
    size_t len, again_len;
    int32_t code = compact_decode(compact, &json, &len);
    if (code < 0)
        return code;
    code = compact_encode(kos_bytes(json, len), &again, &again_len);
    if (code >= 0) {
        if (!kos_bytes_eq(compact, kos_bytes(again, again_len)))
            code = KOS_E_CANONICAL;
        free(again);
    } else if (code != KOS_E_NOMEM) {
        code = KOS_E_CANONICAL;
    }
    if (code < 0) {
        free(json);
        return code;
    }
    *ret_json = json;
    *ret_len = len;
    return KOS_OK;
}
