/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames (klp(7), "Frames"): taken off a record's plaintext, written into one, put together to items per class, and
 * the insides of items. Everything is slices; only an item that came in several frames is copied.
 */
#include <klp/frame.h>

#include <stdlib.h>

enum { GROW_BYTES = 4096 };

static uint32_t get16(const uint8_t *in)
{
    return (uint32_t)in[0] << 8 | in[1];
}

static uint32_t get32(const uint8_t *in)
{
    return get16(in) << 16 | get16(in + 2);
}

static void skip(struct kos_bytes *rest, size_t len)
{
    rest->data += len;
    rest->len -= len;
}

/* Whole by nature: they pass between the frames of an item of their own class. */
static bool never_cut(uint8_t type)
{
    return type == KLP_FRAME_PING || type == KLP_FRAME_PONG || type == KLP_FRAME_CREDIT || type == KLP_FRAME_CLOSE ||
           type == KLP_FRAME_STREAM;
}

int32_t klp_frame_next(struct kos_bytes *rest, struct klp_frame *ret_frame)
{
    if (rest->len == 0)
        return 0;
    if (rest->len < KLP_FRAME_HEADER)
        return KOS_E_PROTOCOL;
    struct klp_frame frame = {
        .type = rest->data[0],
        .klass = rest->data[1] & (uint8_t)~KLP_FRAME_MORE,
        .more = rest->data[1] & KLP_FRAME_MORE,
    };
    size_t len = get16(rest->data + 2);
    if (frame.type == 0 || frame.klass >= KLP_CLASSES || len > rest->len - KLP_FRAME_HEADER)
        return KOS_E_PROTOCOL;
    /* A frame that promises more and brings nothing would cost its receiver work and its sender no credit. */
    if (frame.more && (len == 0 || never_cut(frame.type)))
        return KOS_E_PROTOCOL;
    frame.payload = kos_bytes(rest->data + KLP_FRAME_HEADER, len);
    skip(rest, KLP_FRAME_HEADER + len);
    *ret_frame = frame;
    return 1;
}

int32_t klp_frame_head(uint8_t *out, size_t cap, uint8_t type, uint8_t klass, bool more, size_t len)
{
    if (type == 0 || klass >= KLP_CLASSES || (more && (len == 0 || never_cut(type))))
        return KOS_E_INVALID;
    if (len > UINT16_MAX || cap < KLP_FRAME_HEADER)
        return KOS_E_LIMIT;
    out[0] = type;
    out[1] = klass | (more ? KLP_FRAME_MORE : 0);
    out[2] = (uint8_t)(len >> 8);
    out[3] = (uint8_t)len;
    return KLP_FRAME_HEADER;
}

int32_t klp_frame_put(uint8_t *out, size_t cap, uint8_t type, uint8_t klass, bool more, struct kos_bytes payload)
{
    uint8_t head[KLP_FRAME_HEADER];
    int32_t rc = klp_frame_head(head, sizeof head, type, klass, more, payload.len);
    if (rc >= 0 && cap < KLP_FRAME_HEADER + payload.len)
        rc = KOS_E_LIMIT;
    if (rc < 0)
        return rc;
    if (payload.len)
        memmove(out + KLP_FRAME_HEADER, payload.data, payload.len);
    memcpy(out, head, sizeof head);
    return (int32_t)(KLP_FRAME_HEADER + payload.len);
}

struct part {
    uint8_t type;       /* 0: no item under way */
    uint8_t *data;
    size_t len, cap;
};

struct klp_assembly {
    size_t max_bytes;
    struct part parts[KLP_CLASSES];
};

struct klp_assembly *klp_assembly_new(size_t max_bytes)
{
    struct klp_assembly *assembly = calloc(1, sizeof *assembly);
    if (assembly)
        assembly->max_bytes = max_bytes;
    return assembly;
}

void klp_assembly_free(struct klp_assembly *assembly)
{
    if (!assembly)
        return;
    for (int i = 0; i < KLP_CLASSES; i++)
        free(assembly->parts[i].data);
    free(assembly);
}

/* Memory follows what has arrived, so a peer cannot have a megabyte reserved by a promise. */
static int32_t add(struct part *part, struct kos_bytes payload, size_t max_bytes)
{
    if (payload.len > max_bytes - part->len)
        return KOS_E_LIMIT;
    size_t len = part->len + payload.len;
    if (len > part->cap) {
        size_t cap = part->cap ? part->cap : GROW_BYTES;
        while (cap < len)
            cap *= 2;
        if (cap > max_bytes)
            cap = max_bytes;
        uint8_t *data = realloc(part->data, cap);
        if (!data)
            return KOS_E_NOMEM;
        part->data = data;
        part->cap = cap;
    }
    if (payload.len)
        memcpy(part->data + part->len, payload.data, payload.len);
    part->len = len;
    return KOS_OK;
}

static void start(struct part *part, uint8_t type)
{
    part->type = type;
    part->len = 0;
}

int32_t klp_assembly_take(struct klp_assembly *assembly, const struct klp_frame *frame, struct klp_frame *ret_item)
{
    if (frame->klass >= KLP_CLASSES)
        return KOS_E_PROTOCOL;
    struct part *part = &assembly->parts[frame->klass];
    if (never_cut(frame->type) || (part->type == 0 && !frame->more)) {
        if (frame->payload.len > assembly->max_bytes)
            return KOS_E_LIMIT;
        *ret_item = *frame;
        return 1;
    }
    if (part->type == 0)
        start(part, frame->type);
    else if (part->type != frame->type)
        return KOS_E_PROTOCOL;
    int32_t code = add(part, frame->payload, assembly->max_bytes);
    if (code < 0)
        return code;
    if (frame->more)
        return 0;
    *ret_item = (struct klp_frame){ part->type, frame->klass, false, kos_bytes(part->data, part->len) };
    part->type = 0;
    return 1;
}

static struct part *part_of(struct klp_assembly *assembly, const struct klp_frame *item)
{
    struct part *part = item->klass < KLP_CLASSES ? &assembly->parts[item->klass] : NULL;
    return part && part->type == 0 && part->data && part->data == item->payload.data ? part : NULL;
}

uint8_t *klp_assembly_keep(struct klp_assembly *assembly, const struct klp_frame *item)
{
    struct part *part = part_of(assembly, item);
    uint8_t *data;
    if (part) {
        data = part->data;
        *part = (struct part){ 0 };
        return data;
    }
    data = malloc(item->payload.len ? item->payload.len : 1);
    if (data && item->payload.len)
        memcpy(data, item->payload.data, item->payload.len);
    return data;
}

void klp_assembly_release(struct klp_assembly *assembly, const struct klp_frame *item)
{
    struct part *part = part_of(assembly, item);
    if (!part)
        return;
    free(part->data);
    *part = (struct part){ 0 };
}

int32_t klp_item_message(struct kos_bytes item, struct kos_bytes *ret_body, struct kos_bytes *ret_signature)
{
    if (item.len < 2)
        return KOS_E_PROTOCOL;
    size_t len = get16(item.data);
    skip(&item, 2);
    if (len < KLP_SIGNATURE_LEN || len > KLP_BATCH_SIGNATURE_MAX || len >= item.len || item.len - len > KLP_MESSAGE_MAX)
        return KOS_E_PROTOCOL;
    *ret_signature = kos_bytes(item.data, len);
    *ret_body = kos_bytes(item.data + len, item.len - len);
    return KOS_OK;
}

int32_t klp_item_batch_next(struct klp_item_batch *batch, struct kos_bytes *ret_body)
{
    if (batch->rest.len == 0)
        return 0;
    if (batch->rest.len < 4)
        return KOS_E_PROTOCOL;
    size_t len = get32(batch->rest.data);
    if (len == 0 || len > KLP_MESSAGE_MAX || len > batch->rest.len - 4)
        return KOS_E_PROTOCOL;
    *ret_body = kos_bytes(batch->rest.data + 4, len);
    skip(&batch->rest, 4 + len);
    return 1;
}

int32_t klp_item_batch(struct kos_bytes item, struct klp_item_batch *ret_batch)
{
    if (item.len < KLP_SIGNATURE_LEN + 2)
        return KOS_E_PROTOCOL;
    struct klp_item_batch batch = {
        .signature = kos_bytes(item.data, KLP_SIGNATURE_LEN),
        .count = get16(item.data + KLP_SIGNATURE_LEN),
        .rest = kos_bytes(item.data + KLP_SIGNATURE_LEN + 2, item.len - KLP_SIGNATURE_LEN - 2),
    };
    if (batch.count == 0 || batch.count > KLP_BATCH_MAX)
        return KOS_E_PROTOCOL;
    /* Walked here once, so that nobody acts on the first half of a run whose second half is broken. */
    struct klp_item_batch walk = batch;
    struct kos_bytes body;
    uint32_t bodies = 0;
    int32_t code;
    while ((code = klp_item_batch_next(&walk, &body)) > 0)
        bodies++;
    if (code < 0 || bodies != batch.count)
        return KOS_E_PROTOCOL;
    *ret_batch = batch;
    return KOS_OK;
}

int32_t klp_item_receipts(struct kos_bytes item, struct kos_bytes *ret_body, struct kos_bytes *ret_signature)
{
    if (item.len <= KLP_SIGNATURE_LEN || item.len - KLP_SIGNATURE_LEN > KLP_MESSAGE_MAX)
        return KOS_E_PROTOCOL;
    *ret_signature = kos_bytes(item.data, KLP_SIGNATURE_LEN);
    *ret_body = kos_bytes(item.data + KLP_SIGNATURE_LEN, item.len - KLP_SIGNATURE_LEN);
    return KOS_OK;
}
