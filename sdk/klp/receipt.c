/* SPDX-License-Identifier: Apache-2.0
 *
 * Receipts (klp(7), "Receipts"): what a host says, under one signature, of the messages it was handed.
 */
#include <klp/message.h>

#include "member.h"

int32_t klp_error_parse(struct kos_bytes name)
{
#define PARSE(constant, number, stable, again, text) \
    if (kos_bytes_eq(name, kos_bytes_str(stable)))   \
        return KOS_E_##constant;
    KOS_ERROR_LIST(PARSE)
#undef PARSE
    return KOS_E_INTERNAL;
}

static void put_receipt(struct klp_json_out *out, const struct klp_receipt *receipt)
{
    klp_json_object(out);
    member_put_digest(out, "digest", &receipt->digest);
    if (receipt->error < 0) {
        klp_json_name(out, "error");
        klp_json_put_cstr(out, kos_error_name(receipt->error));
    }
    member_put_id(out, "id", &receipt->id);
    if (receipt->text[0]) {
        klp_json_name(out, "text");
        klp_json_put_cstr(out, receipt->text);
    }
    klp_json_close(out, '}');
}

int32_t klp_receipts_make(const struct klp_id *node, uint64_t event, int64_t created,
                          const struct klp_receipt *receipts, size_t count, uint8_t *out, size_t cap, size_t *ret_len)
{
    if (count == 0 || count > KLP_RECEIPTS_MAX)
        return KOS_E_LIMIT;
    if (created < 0 || created > KLP_JSON_INT_MAX || event > (uint64_t)KLP_JSON_INT_MAX)
        return KOS_E_INVALID;
    for (size_t i = 0; i < count; i++)
        if (receipts[i].error > 0 || !memchr(receipts[i].text, 0, sizeof receipts[i].text))
            return KOS_E_INVALID;
    struct klp_json_out json;
    klp_json_begin(&json, out, cap);
    klp_json_object(&json);
    member_put_int(&json, "created", created);
    member_put_int(&json, "event", (int64_t)event);
    member_put_id(&json, "node", node);
    klp_json_name(&json, "receipts");
    klp_json_array(&json);
    for (size_t i = 0; i < count; i++)
        put_receipt(&json, &receipts[i]);
    klp_json_close(&json, ']');
    klp_json_close(&json, '}');
    struct kos_bytes text;
    int32_t code = klp_json_end(&json, &text);
    if (code == KOS_OK || code == KOS_E_LIMIT)
        *ret_len = json.len;
    return code;
}

static int32_t receipt_of(struct klp_json value, struct klp_receipt *ret_receipt)
{
    static const char *const names[] = { "digest", "error", "id", "text" };
    struct klp_json members[4];
    struct klp_receipt receipt = { .error = KOS_OK };
    struct kos_bytes name;
    if (value.type != KLP_JSON_OBJECT)
        return KOS_E_PROTOCOL;
    klp_json_get_many(value, names, 4, members);
    if (member_digest(members[0], &receipt.digest) < 0 || member_id(members[2], &receipt.id) < 0)
        return KOS_E_PROTOCOL;
    if (members[1].type != KLP_JSON_NONE) {
        if (klp_json_plain(members[1], &name) < 0 || name.len == 0)
            return KOS_E_PROTOCOL;
        receipt.error = klp_error_parse(name);
    }
    if (members[3].type != KLP_JSON_NONE
        && (members[3].type != KLP_JSON_STRING
            || klp_json_string(members[3], receipt.text, sizeof receipt.text, NULL) < 0))
        return KOS_E_PROTOCOL;
    *ret_receipt = receipt;
    return KOS_OK;
}

int32_t klp_receipts_parse(struct kos_bytes body, struct klp_receipts *ret_receipts)
{
    static const char *const names[] = { "created", "event", "node", "receipts" };
    struct klp_json root, members[4], value;
    struct klp_receipts receipts = { .body = body };
    int32_t code = klp_json_read(body, KLP_MESSAGE_MAX, &root, NULL);
    if (code < 0)
        return code;
    if (root.type != KLP_JSON_OBJECT)
        return KOS_E_PROTOCOL;
    klp_json_get_many(root, names, 4, members);
    if (member_time(members[0], &receipts.created) < 0 || klp_json_uint(members[1], &receipts.event) < 0
        || member_id(members[2], &receipts.node) < 0 || members[3].type != KLP_JSON_ARRAY)
        return KOS_E_PROTOCOL;
    receipts.list = members[3];
    size_t count = klp_json_count(receipts.list);
    if (count == 0 || count > KLP_RECEIPTS_MAX)
        return KOS_E_PROTOCOL;
    /* Every receipt is looked at here, so that klp_receipts_next() has nothing left to refuse. */
    struct klp_json_iter iter;
    struct klp_receipt receipt;
    klp_json_iter_init(receipts.list, &iter);
    while (klp_json_next(&iter, NULL, &value))
        if ((code = receipt_of(value, &receipt)) < 0)
            return code;
    *ret_receipts = receipts;
    return KOS_OK;
}

bool klp_receipts_next(struct klp_json_iter *iter, struct klp_receipt *ret_receipt)
{
    struct klp_json value;
    return klp_json_next(iter, NULL, &value) && receipt_of(value, ret_receipt) == KOS_OK;
}
