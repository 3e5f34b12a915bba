/* SPDX-License-Identifier: Apache-2.0
 * From canonical JSON to its compact form: member by member, the exact short form of each value where it has one. */
#include <klp/cbor.h>
#include <klp/id.h>

#include <stdlib.h>

#include "compact_private.h"

enum { DIGITS_MIN = 16, BASE64_MIN = 12 };

const char *const compact_names[] = {
    "type",     "id",      "source", "source_id", "target", "target_id", "event",    "created", "expires", "",
    "payload",  "reply_to", "kind",  "task",      "text",   "base64",    "seq",      "offset",  "result",  "error",
    "deadline", "inputs",  "digest", "audit",     "bytes",  "parts",     "retry",    "progress", "seal",   "trace",
    "node",     "receipts", "enc",   "key",       "answer", "name",      "exit",     "status",  "fraction", "note",
};
const size_t compact_name_count = sizeof compact_names / sizeof *compact_names;

const char *const compact_words[] = {
    "TASK_REQUEST", "TASK_PROGRESS", "TASK_RESULT",     "TASK_CANCEL",      "BROADCAST_ANNOUNCE", "ERROR",
    "accepted",     "part",          "progress",        "policy_denied",    "trust_too_low",      "quota_exceeded",
    "busy",         "deadline_passed", "cancelled",     "expired",          "unhandled_type",     "agent_failed",
    "outcome_unknown", "unknown_identity", "misaddressed",
};
const size_t compact_word_count = sizeof compact_words / sizeof *compact_words;

int32_t compact_find(const char *const *table, size_t count, struct kos_bytes text)
{
    for (size_t i = 0; i < count && text.len; i++)
        if (kos_bytes_eq(text, kos_bytes_str(table[i])))
            return (int32_t)i;
    return -1;
}

struct encoder {
    struct klp_cbor_out out;
    uint8_t *scratch; /* as long as the JSON: one string at a time */
    char *text;
    size_t cap;
    int32_t error;
};

struct member {
    int32_t number; /* -1: by its name */
    struct kos_bytes key; /* encoded */
    struct klp_json value;
    int64_t life;
    bool is_life;
};

static bool begins(struct kos_bytes text, const char *with)
{
    size_t len = strlen(with);
    return text.len > len && memcmp(text.data, with, len) == 0;
}

static struct kos_bytes behind(struct kos_bytes text, size_t skip)
{
    return kos_bytes(text.data + skip, text.len - skip);
}

static bool put_hex(struct encoder *encoder, struct kos_bytes digits, uint8_t tag)
{
    size_t len;
    for (size_t i = 0; i < digits.len; i++)
        if (!((digits.data[i] >= '0' && digits.data[i] <= '9') || (digits.data[i] >= 'a' && digits.data[i] <= 'f')))
            return false;
    if (!digits.len || digits.len % 2 || klp_unhex(digits, encoder->scratch, encoder->cap, &len) < 0)
        return false;
    klp_cbor_put_tag(&encoder->out, tag);
    klp_cbor_put_bytes(&encoder->out, kos_bytes(encoder->scratch, len));
    return true;
}

static bool put_address(struct encoder *encoder, struct kos_bytes text)
{
    bool node = begins(text, "klp://node."), agent = begins(text, "klp://agent.");
    struct klp_id id;
    if (!node && !agent)
        return false;
    struct kos_bytes name = behind(text, strlen(node ? "klp://node." : "klp://agent."));
    if (klp_id_parse(name, &id) == KOS_OK) {
        klp_cbor_put_tag(&encoder->out, node ? COMPACT_NODE_ID : COMPACT_AGENT_ID);
        klp_cbor_put_bytes(&encoder->out, kos_bytes(id.b, sizeof id.b));
    } else {
        klp_cbor_put_tag(&encoder->out, node ? COMPACT_NODE : COMPACT_AGENT);
        klp_cbor_put_text(&encoder->out, name);
    }
    return true;
}

static bool put_base64(struct encoder *encoder, struct kos_bytes text)
{
    size_t len;
    if (text.len < BASE64_MIN || text.len % 4 || klp_unbase64(text, encoder->scratch, encoder->cap, &len) < 0)
        return false;
    klp_cbor_put_tag(&encoder->out, COMPACT_BASE64);
    klp_cbor_put_bytes(&encoder->out, kos_bytes(encoder->scratch, len));
    return true;
}

static void put_string(struct encoder *encoder, struct klp_json value)
{
    struct klp_id id;
    size_t len;
    int32_t code = klp_json_string(value, encoder->text, encoder->cap, &len);
    if (code < 0) {
        encoder->error = code;
        return;
    }
    struct kos_bytes text = kos_bytes(encoder->text, len);
    int32_t word = compact_find(compact_words, compact_word_count, text);
    if (word >= 0) {
        klp_cbor_put_tag(&encoder->out, COMPACT_WORD);
        klp_cbor_put_uint(&encoder->out, (uint64_t)word);
    } else if (klp_id_parse(text, &id) == KOS_OK) {
        klp_cbor_put_bytes(&encoder->out, kos_bytes(id.b, sizeof id.b));
    } else if (!(begins(text, "0x") && put_hex(encoder, behind(text, 2), COMPACT_HEX)) &&
               !(len >= DIGITS_MIN && put_hex(encoder, text, COMPACT_DIGITS)) && !put_address(encoder, text) &&
               !put_base64(encoder, text)) {
        klp_cbor_put_text(&encoder->out, text);
    }
}

static void put_value(struct encoder *encoder, struct klp_json value);

static int by_key(const void *a, const void *b)
{
    return klp_cbor_key_cmp(((const struct member *)a)->key, ((const struct member *)b)->key);
}

/* The key's encoding, after one another in `keys`. */
static void make_key(struct encoder *encoder, struct kos_bytes name, struct member *member, struct klp_cbor_out *keys)
{
    size_t from = keys->len, len;
    /* A name stands between its quotes in the text. */
    struct klp_json quoted = { KLP_JSON_STRING, kos_bytes(name.data - 1, name.len + 2) };
    if (klp_json_string(quoted, encoder->text, encoder->cap, &len) < 0) {
        encoder->error = KOS_E_CANONICAL;
        return;
    }
    member->number = compact_find(compact_names, compact_name_count, kos_bytes(encoder->text, len));
    if (member->number >= 0)
        klp_cbor_put_uint(keys, member->is_life ? COMPACT_LIFE : (uint64_t)member->number);
    else
        klp_cbor_put_text(keys, kos_bytes(encoder->text, len));
    member->key = kos_bytes(keys->data + from, keys->len - from);
}

/* expires - created, when both are there and in order. */
static bool life_of(struct klp_json object, int64_t *ret_life)
{
    int64_t created, expires;
    if (klp_json_int(klp_json_get(object, "created"), &created) < 0 ||
        klp_json_int(klp_json_get(object, "expires"), &expires) < 0 || created < 0 || expires < created)
        return false;
    *ret_life = expires - created;
    return true;
}

static void put_object(struct encoder *encoder, struct klp_json object)
{
    struct klp_json_iter iter;
    struct klp_json value;
    struct kos_bytes name;
    size_t count = klp_json_count(object), i = 0;
    int64_t life = 0;
    bool has_life = life_of(object, &life);
    struct klp_cbor_out keys;
    struct member *members = calloc(count + 1, sizeof *members);
    /* An encoded name is at most some bytes longer than its text. */
    uint8_t *room = malloc(object.text.len + 9 * count + 1);
    if (!members || !room) {
        encoder->error = KOS_E_NOMEM;
    } else {
        klp_cbor_begin(&keys, room, object.text.len + 9 * count + 1);
        klp_json_iter_init(object, &iter);
        while (klp_json_next(&iter, &name, &value) && !encoder->error) {
            members[i].value = value;
            members[i].life = life;
            members[i].is_life = has_life && kos_bytes_eq(name, kos_bytes_str("expires"));
            make_key(encoder, name, &members[i++], &keys);
        }
        qsort(members, i, sizeof *members, by_key);
        klp_cbor_put_map(&encoder->out, i);
        for (size_t k = 0; k < i && !encoder->error; k++) {
            klp_cbor_put_raw(&encoder->out, members[k].key);
            if (members[k].is_life)
                klp_cbor_put_int(&encoder->out, members[k].life);
            else
                put_value(encoder, members[k].value);
        }
    }
    free(room);
    free(members);
}

static void put_array(struct encoder *encoder, struct klp_json array)
{
    struct klp_json_iter iter;
    struct klp_json value;
    klp_cbor_put_array(&encoder->out, klp_json_count(array));
    klp_json_iter_init(array, &iter);
    while (klp_json_next(&iter, NULL, &value) && !encoder->error)
        put_value(encoder, value);
}

static void put_value(struct encoder *encoder, struct klp_json value)
{
    int64_t whole = 0;
    double real = 0;
    bool truth = false;
    switch (value.type) {
    case KLP_JSON_NULL: klp_cbor_put_simple(&encoder->out, KLP_CBOR_NULL); break;
    case KLP_JSON_BOOL:
        klp_json_bool(value, &truth);
        klp_cbor_put_simple(&encoder->out, truth ? KLP_CBOR_TRUE : KLP_CBOR_FALSE);
        break;
    case KLP_JSON_INT:
        klp_json_int(value, &whole);
        klp_cbor_put_int(&encoder->out, whole);
        break;
    case KLP_JSON_DOUBLE:
        klp_json_double(value, &real);
        klp_cbor_put_double(&encoder->out, real);
        break;
    case KLP_JSON_STRING: put_string(encoder, value); break;
    case KLP_JSON_ARRAY: put_array(encoder, value); break;
    default: put_object(encoder, value); break;
    }
}

int32_t compact_encode(struct kos_bytes json, uint8_t **ret_data, size_t *ret_len)
{
    struct klp_json value;
    int32_t code = klp_json_read(json, KLP_COMPACT_MAX, &value, NULL);
    if (code < 0)
        return code == KOS_E_LIMIT ? KOS_E_UNSUPPORTED : code;
    if (value.type != KLP_JSON_OBJECT)
        return KOS_E_UNSUPPORTED;
    struct encoder encoder = { .cap = json.len + 16, .error = KOS_OK };
    uint8_t *data = malloc(2 * json.len + 16);
    encoder.scratch = malloc(encoder.cap);
    encoder.text = malloc(encoder.cap);
    klp_cbor_begin(&encoder.out, data, 2 * json.len + 16);
    if (data && encoder.scratch && encoder.text)
        put_value(&encoder, value);
    else
        encoder.error = KOS_E_NOMEM;
    free(encoder.scratch);
    free(encoder.text);
    if (!encoder.error && encoder.out.len > encoder.out.cap)
        encoder.error = KOS_E_UNSUPPORTED;
    if (encoder.error) {
        free(data);
        return encoder.error;
    }
    *ret_data = data;
    *ret_len = encoder.out.len;
    return KOS_OK;
}

int32_t klp_compact_make(struct kos_bytes json, uint8_t **ret_data, size_t *ret_len)
{
    uint8_t *data, *back;
    size_t len, back_len;
    int32_t code = compact_encode(json, &data, &len);
    if (code < 0)
        return code;
    code = len < json.len ? compact_decode(kos_bytes(data, len), &back, &back_len) : KOS_E_UNSUPPORTED;
    if (code >= 0) {
        if (!kos_bytes_eq(json, kos_bytes(back, back_len)))
            code = KOS_E_UNSUPPORTED;
        free(back);
    } else if (code != KOS_E_NOMEM) {
        code = KOS_E_UNSUPPORTED;
    }
    if (code < 0) {
        free(data);
        return code;
    }
    *ret_data = data;
    *ret_len = len;
    return KOS_OK;
}
