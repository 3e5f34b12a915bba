/* SPDX-License-Identifier: Apache-2.0
 *
 * The compact form of items (klp(7), "Compact form"), on slow links and with peers that understand it. The item keeps
 * its shape, its bodies become compact where that is exact; what a signature covers is the canonical text, made again
 * on the other side. Compact bodies begin with a CBOR map's head, others with '{'.
 *
 *   12  MESSAGE     u16 length of signature, signature, body
 *   13  BATCH       64 bytes, u16 count, count times (u16 length, body); a body may begin with u8 1, u16 mask: what of
 *                   `shared` is as in the body before it
 *   14  RECEIPTS    64 bytes signature, body
 */
#include "mesh/mesh_private.h"

#include <klp/compact.h>
#include <stdlib.h>

enum { HEAD_MAX = 2 + KLP_BATCH_SIGNATURE_MAX };

/* The body as it is shorter; false: it stays. */
static bool put_body(struct kos_buf *out, struct kos_bytes body)
{
    uint8_t *compact;
    size_t len;
    if (klp_compact_make(body, &compact, &len) < 0) {
        pack_raw(out, body.data, body.len);
        return false;
    }
    pack_raw(out, compact, len);
    free(compact);
    return true;
}

/* ---- what a message of a batch has in common with the one before it ---- */

/* In the order of canonical JSON; the index is the bit of the mask. */
static const char *const shared[] = { "created", "event",  "expires",   "reply_to", "source",
                                      "source_id", "target", "target_id", "type" };
enum { SHARED = sizeof shared / sizeof *shared, LIKE_BEFORE = 1 };

static int32_t shared_index(struct kos_bytes name)
{
    for (int32_t i = 0; i < SHARED; i++)
        if (kos_bytes_eq(name, kos_bytes_str(shared[i])))
            return i;
    return -1;
}

static void put_member(struct kos_buf *out, struct kos_bytes name, struct kos_bytes value)
{
    if (out->data[out->len - 1] != '{')
        pack_raw(out, ",", 1);
    pack_raw(out, "\"", 1);
    pack_raw(out, name.data, name.len);
    pack_raw(out, "\":", 2);
    pack_raw(out, value.data, value.len);
}

/* `body` without what it shares; returns the mask. */
static uint16_t take_out(struct kos_buf *out, struct klp_json before, struct klp_json body)
{
    struct klp_json_iter iter;
    struct klp_json value;
    struct kos_bytes name;
    uint16_t mask = 0;
    pack_raw(out, "{", 1);
    klp_json_iter_init(body, &iter);
    while (klp_json_next(&iter, &name, &value)) {
        int32_t i = shared_index(name);
        if (i >= 0 && kos_bytes_eq(klp_json_get(before, shared[i]).text, value.text))
            mask |= (uint16_t)(1u << i);
        else
            put_member(out, name, value.text);
    }
    pack_raw(out, "}", 1);
    return mask;
}

/* Both in order, so this is a merge. What does not come out canonical is refused by who parses it. */
static void put_back(struct kos_buf *out, struct klp_json before, struct klp_json rest, uint16_t mask)
{
    struct klp_json_iter iter;
    struct klp_json value;
    struct kos_bytes name;
    int32_t i = 0;
    klp_json_iter_init(rest, &iter);
    pack_raw(out, "{", 1);
    bool more = klp_json_next(&iter, &name, &value);
    while (more || i < SHARED) {
        struct kos_bytes next = i < SHARED ? kos_bytes_str(shared[i]) : kos_bytes(NULL, 0);
        size_t len = more && name.len < next.len ? name.len : next.len;
        int order = !more ? 1 : i == SHARED ? -1 : len ? memcmp(name.data, next.data, len) : 0;
        if (order < 0 || (!order && name.len <= next.len && more && i < SHARED)) {
            put_member(out, name, value.text);
            more = klp_json_next(&iter, &name, &value);
            continue;
        }
        if (mask >> i & 1)
            put_member(out, next, klp_json_get(before, shared[i]).text);
        i++;
    }
    pack_raw(out, "}", 1);
}

static bool read_both(struct kos_bytes before, struct kos_bytes text, struct klp_json *ret_before,
                      struct klp_json *ret_value)
{
    return klp_json_read(before, KLP_COMPACT_MAX, ret_before, NULL) >= 0 && ret_before->type == KLP_JSON_OBJECT &&
           klp_json_read(text, KLP_COMPACT_MAX, ret_value, NULL) >= 0 && ret_value->type == KLP_JSON_OBJECT;
}

/* false: nothing in common, or it would not come back exactly. */
static bool put_like(struct kos_buf *out, struct kos_bytes before, struct kos_bytes body)
{
    struct klp_json old, own, value;
    struct kos_buf rest, again;
    if (!before.len || !read_both(before, body, &old, &own))
        return false;
    kos_buf_init(&rest, KLP_ITEM_MAX);
    kos_buf_init(&again, KLP_ITEM_MAX);
    uint16_t mask = take_out(&rest, old, own);
    bool good = mask && klp_json_read(kos_buf_bytes(&rest), KLP_COMPACT_MAX, &value, NULL) >= 0;
    if (good) {
        put_back(&again, old, value, mask);
        good = kos_bytes_eq(kos_buf_bytes(&again), body);
    }
    if (good) {
        pack_uint(out, LIKE_BEFORE, 1);
        pack_uint(out, mask, 2);
        put_body(out, kos_buf_bytes(&rest));
    }
    kos_buf_fini(&rest);
    kos_buf_fini(&again);
    return good;
}

static bool make_batch(struct kos_buf *out, struct kos_bytes item)
{
    struct klp_item_batch batch;
    struct kos_bytes body, before = { NULL, 0 };
    bool any = false;
    if (klp_item_batch(item, &batch) < 0)
        return false;
    pack_raw(out, batch.signature.data, batch.signature.len);
    pack_uint(out, batch.count, 2);
    while (klp_item_batch_next(&batch, &body) > 0) {
        size_t at = out->len;
        if (body.len > UINT16_MAX)
            return false;
        pack_uint(out, 0, 2);
        if (put_like(out, before, body) || put_body(out, body))
            any = true;
        before = body;
        size_t len = out->len - at - 2;
        out->data[at] = (uint8_t)(len >> 8);
        out->data[at + 1] = (uint8_t)len;
    }
    return any;
}

static bool make(struct kos_buf *out, uint8_t type, struct kos_bytes item)
{
    struct kos_bytes body, signature;
    if (type == KLP_FRAME_BATCH)
        return make_batch(out, item);
    int32_t rc = type == KLP_FRAME_MESSAGE ? klp_item_message(item, &body, &signature)
                                           : klp_item_receipts(item, &body, &signature);
    if (rc < 0)
        return false;
    pack_raw(out, item.data, (size_t)(body.data - item.data));
    return put_body(out, body);
}

void mesh_compact(struct mesh_session *session, uint8_t *type, uint8_t **data, size_t *len)
{
    struct kos_buf out;
    if (!session->link->slow || !session->compact ||
        (*type != KLP_FRAME_MESSAGE && *type != KLP_FRAME_BATCH && *type != KLP_FRAME_RECEIPTS))
        return;
    kos_buf_init(&out, KLP_ITEM_MAX);
    if (!make(&out, *type, kos_bytes(*data, *len)) || out.len >= *len) {
        kos_buf_fini(&out);
        return;
    }
    free(*data);
    *type = (uint8_t)(*type + KLP_FRAME_COMPACT);
    *data = out.data;
    *len = out.len;
}

/* ---- from the peer ---- */

static int32_t take_body(struct kos_buf *out, struct kos_bytes body)
{
    uint8_t *json;
    size_t len;
    if (body.len && body.data[0] == '{')
        return kos_buf_append(out, body);
    int32_t rc = klp_compact_open(body, &json, &len);
    if (rc < 0)
        return rc;
    rc = kos_buf_append(out, kos_bytes(json, len));
    free(json);
    return rc;
}

static int32_t take_like(struct kos_buf *out, struct kos_bytes before, struct kos_bytes body)
{
    struct klp_json old, value;
    struct kos_buf rest;
    if (body.len < 4 || !before.len)
        return KOS_E_PROTOCOL;
    uint16_t mask = (uint16_t)(body.data[1] << 8 | body.data[2]);
    kos_buf_init(&rest, KLP_COMPACT_MAX);
    int32_t rc = mask >> SHARED ? KOS_E_PROTOCOL : take_body(&rest, kos_bytes(body.data + 3, body.len - 3));
    if (rc >= 0 && !read_both(before, kos_buf_bytes(&rest), &old, &value))
        rc = KOS_E_PROTOCOL;
    for (int32_t i = 0; i < SHARED && rc >= 0; i++)
        if (mask >> i & 1 && klp_json_get(old, shared[i]).type == KLP_JSON_NONE)
            rc = KOS_E_PROTOCOL;
    if (rc >= 0)
        rc = kos_buf_reserve(out, before.len + body.len + KLP_COMPACT_MAX);
    if (rc >= 0)
        put_back(out, old, value, mask);
    kos_buf_fini(&rest);
    return rc;
}

static int32_t open_batch(struct kos_buf *out, struct kos_bytes item)
{
    struct unpack in = { item, false };
    const uint8_t *signature = unpack_raw(&in, KLP_SIGNATURE_LEN);
    uint64_t count = unpack_uint(&in, 2);
    if (in.bad || !count || count > KLP_BATCH_MAX)
        return KOS_E_PROTOCOL;
    pack_raw(out, signature, KLP_SIGNATURE_LEN);
    pack_uint(out, count, 2);
    struct kos_buf before; /* a copy: `out` moves as it grows */
    int32_t rc = KOS_OK;
    kos_buf_init(&before, KLP_ITEM_MAX);
    for (uint64_t i = 0; i < count && rc >= 0; i++) {
        size_t len = (size_t)unpack_uint(&in, 2), at = out->len;
        const uint8_t *body = unpack_raw(&in, len);
        if (kos_buf_reserve(out, 4) < 0) {
            rc = KOS_E_LIMIT;
            break;
        }
        pack_uint(out, 0, 4);
        rc = !body                                ? KOS_E_PROTOCOL
             : len && body[0] == LIKE_BEFORE ? take_like(out, kos_buf_bytes(&before), kos_bytes(body, len))
                                             : take_body(out, kos_bytes(body, len));
        if (rc < 0)
            break;
        len = out->len - at - 4;
        for (int k = 0; k < 4; k++)
            out->data[at + (size_t)k] = (uint8_t)(len >> (24 - 8 * k));
        kos_buf_reset(&before);
        pack_raw(&before, out->data + at + 4, len);
    }
    kos_buf_fini(&before);
    return rc < 0 || in.rest.len ? KOS_E_PROTOCOL : KOS_OK;
}

static int32_t open_item(struct kos_buf *out, uint8_t type, struct kos_bytes item)
{
    size_t head = KLP_SIGNATURE_LEN;
    if (type == KLP_FRAME_BATCH)
        return open_batch(out, item);
    if (type == KLP_FRAME_MESSAGE) {
        if (item.len < 2)
            return KOS_E_PROTOCOL;
        head = 2 + ((size_t)item.data[0] << 8 | item.data[1]);
    }
    if (item.len <= head || head > HEAD_MAX)
        return KOS_E_PROTOCOL;
    pack_raw(out, item.data, head);
    return take_body(out, kos_bytes(item.data + head, item.len - head));
}

int32_t mesh_compact_open(const struct klp_frame *item, struct klp_frame *ret_plain, uint8_t **ret_data)
{
    struct kos_buf out;
    kos_buf_init(&out, KLP_ITEM_MAX);
    uint8_t type = (uint8_t)(item->type - KLP_FRAME_COMPACT);
    int32_t rc = open_item(&out, type, item->payload);
    if (rc < 0) {
        kos_buf_fini(&out);
        return rc;
    }
    *ret_plain = (struct klp_frame){ .type = type, .klass = item->klass, .payload = kos_buf_bytes(&out) };
    *ret_data = out.data;
    return KOS_OK;
}
