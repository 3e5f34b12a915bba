/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames: what a record carries is taken apart, put together to items, and the items are opened. Taken frames, written
 * again, are the bytes they came from; an assembly keeps to its bound.
 */
#include "fuzz.h"

#include <klp/compact.h>
#include <klp/frame.h>

enum { BOUND = 4096 };

static void item(const struct klp_frame *whole)
{
    struct kos_bytes body, signature;
    struct klp_item_batch batch;
    fuzz_touch(whole->payload.data, whole->payload.len);
    FUZZ_CHECK(whole->payload.len <= BOUND || whole->payload.len <= 65535);
    if (klp_item_message(whole->payload, &body, &signature) == 0)
        FUZZ_CHECK(2 + signature.len + body.len == whole->payload.len);
    if (klp_item_receipts(whole->payload, &body, &signature) == 0)
        FUZZ_CHECK(signature.len == KLP_SIGNATURE_LEN && signature.len + body.len == whole->payload.len);
    if (klp_item_batch(whole->payload, &batch) == 0) {
        uint32_t count = 0;
        size_t sum = KLP_SIGNATURE_LEN + 2;
        FUZZ_CHECK(batch.signature.len == KLP_SIGNATURE_LEN && batch.count <= KLP_BATCH_MAX);
        uint32_t all = batch.count;
        int32_t result;
        while ((result = klp_item_batch_next(&batch, &body)) == 1) {
            fuzz_touch(body.data, body.len);
            sum += 4 + body.len;
            count++;
        }
        FUZZ_CHECK(result == 0 && count == all && sum == whole->payload.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct klp_assembly *assembly = klp_assembly_new(BOUND);
    struct kos_bytes rest = kos_bytes(data, size);
    struct klp_frame frame, whole;
    uint8_t *again = malloc(size ? size : 1);
    bool sound = true;
    int32_t result;
    FUZZ_CHECK(again && assembly);
    for (;;) {
        size_t before = rest.len;
        const uint8_t *at = rest.data;
        result = klp_frame_next(&rest, &frame);
        if (result <= 0)
            break;
        size_t len = before - rest.len;
        FUZZ_CHECK(frame.klass < KLP_CLASSES && frame.type && frame.payload.len + KLP_FRAME_HEADER == len);
        FUZZ_CHECK(klp_frame_put(again, len, frame.type, frame.klass, frame.more, frame.payload) == (int32_t)len);
        FUZZ_CHECK(memcmp(again, at, len) == 0);
        FUZZ_CHECK(klp_frame_put(again, len - 1, frame.type, frame.klass, frame.more, frame.payload) == KOS_E_LIMIT);
        if (!sound)
            continue;
        result = klp_assembly_take(assembly, &frame, &whole);
        FUZZ_CHECK(result == 1 || result == 0 || result == KOS_E_PROTOCOL || result == KOS_E_LIMIT);
        if (result == 1)
            item(&whole);
        sound = result >= 0;
    }
    FUZZ_CHECK(result == 0 ? rest.len == 0 : result == KOS_E_PROTOCOL);
    klp_assembly_free(assembly);
    free(again);
    return 0;
}

static void add(struct fuzz_out *out, uint8_t type, uint8_t klass, bool more, struct kos_bytes payload)
{
    int32_t len = klp_frame_put(out->data + out->len, sizeof out->data - out->len, type, klass, more, payload);
    FUZZ_CHECK(len > 0);
    out->len += (size_t)len;
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    static struct fuzz_out out;
    uint8_t payload[300] = { 0 };
    out.len = 0;
    put(arg, kos_bytes(out.data, 0));
    add(&out, KLP_FRAME_PING, KLP_CLASS_CONTROL, false, kos_bytes(payload, 8));
    add(&out, KLP_FRAME_CREDIT, KLP_CLASS_CONTROL, false, kos_bytes(payload, 9));
    add(&out, KLP_FRAME_HELLO, KLP_CLASS_CONTROL, false,
        kos_bytes_str("{\"features\":[],\"name\":\"\",\"roles\":[],\"version\":\"1\"}"));
    payload[1] = KLP_SIGNATURE_LEN;
    add(&out, KLP_FRAME_MESSAGE, KLP_CLASS_INTERACTIVE, false, kos_bytes(payload, 100));
    put(arg, kos_bytes(out.data, out.len));
    out.len = 0;
    add(&out, KLP_FRAME_LOG, KLP_CLASS_CONTROL, true, kos_bytes(payload, 20));
    add(&out, KLP_FRAME_MESSAGE, KLP_CLASS_BULK, true, kos_bytes(payload, 60));
    add(&out, KLP_FRAME_PONG, KLP_CLASS_CONTROL, false, kos_bytes(payload, 8));
    add(&out, KLP_FRAME_LOG, KLP_CLASS_CONTROL, false, kos_bytes(payload, 20));
    add(&out, KLP_FRAME_MESSAGE, KLP_CLASS_BULK, false, kos_bytes(payload, 60));
    put(arg, kos_bytes(out.data, out.len));
    out.len = 0;
    memset(payload, 0, sizeof payload);
    payload[KLP_SIGNATURE_LEN + 1] = 2;
    payload[KLP_SIGNATURE_LEN + 5] = 3;
    payload[KLP_SIGNATURE_LEN + 12] = 2;
    add(&out, KLP_FRAME_BATCH, KLP_CLASS_INTERACTIVE, false, kos_bytes(payload, KLP_SIGNATURE_LEN + 2 + 4 + 3 + 4 + 2));
    add(&out, KLP_FRAME_RECEIPTS, KLP_CLASS_CONTROL, false, kos_bytes(payload, 90));
    add(&out, 200, KLP_CLASS_BULK, false, kos_bytes(payload, 0));
    put(arg, kos_bytes(out.data, out.len));
}
