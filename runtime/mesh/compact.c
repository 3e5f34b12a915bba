/* SPDX-License-Identifier: Apache-2.0
 *
 * The compact form of items (klp(7), "Compact form"), on slow links and with peers that understand it. The item keeps
 * its shape, its bodies become compact where that is exact; what a signature covers is the canonical text, made again
 * on the other side. Compact bodies begin with a CBOR map's head, others with '{'.
 *
 *   12  MESSAGE     u16 length of signature, signature, body
 *   13  BATCH       64 bytes, u16 count, count times (u16 length, body)
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

static bool make_batch(struct kos_buf *out, struct kos_bytes item)
{
    struct klp_item_batch batch;
    struct kos_bytes body;
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
        any |= put_body(out, body);
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

static int32_t open_batch(struct kos_buf *out, struct kos_bytes item)
{
    struct unpack in = { item, false };
    const uint8_t *signature = unpack_raw(&in, KLP_SIGNATURE_LEN);
    uint64_t count = unpack_uint(&in, 2);
    if (in.bad || !count || count > KLP_BATCH_MAX)
        return KOS_E_PROTOCOL;
    pack_raw(out, signature, KLP_SIGNATURE_LEN);
    pack_uint(out, count, 2);
    for (uint64_t i = 0; i < count; i++) {
        size_t len = (size_t)unpack_uint(&in, 2), at = out->len;
        const uint8_t *body = unpack_raw(&in, len);
        if (!body)
            return KOS_E_PROTOCOL;
        pack_uint(out, 0, 4);
        int32_t rc = take_body(out, kos_bytes(body, len));
        if (rc < 0)
            return rc;
        len = out->len - at - 4;
        for (int k = 0; k < 4; k++)
            out->data[at + (size_t)k] = (uint8_t)(len >> (24 - 8 * k));
    }
    return in.rest.len ? KOS_E_PROTOCOL : KOS_OK;
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
