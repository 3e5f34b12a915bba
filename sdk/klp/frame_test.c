/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames: round trips, interleaving of classes, limits, and hostile bytes.
 */
#include <klp/frame.h>

#include "unit.h"

static struct kos_bytes s(const char *text)
{
    return kos_bytes_str(text);
}

START_TEST(put_and_next)
{
    uint8_t record[256];
    size_t len = 0;
    struct klp_frame frame;
    len += (size_t)klp_frame_put(record + len, 100, KLP_FRAME_PING, KLP_CLASS_CONTROL, false, s("12345678"));
    len += (size_t)klp_frame_put(record + len, 100, KLP_FRAME_MESSAGE, KLP_CLASS_BULK, true, s("part"));
    len += (size_t)klp_frame_put(record + len, 100, 200, KLP_CLASS_INTERACTIVE, false, s(""));
    ck_assert_uint_eq(len, 3 * KLP_FRAME_HEADER + 12);
    static const uint8_t second[] = { 9, 0x82, 0, 4, 'p', 'a', 'r', 't' };
    ck_assert_mem_eq(record + 12, second, sizeof second);
    struct kos_bytes rest = kos_bytes(record, len);
    ck_assert_int_eq(klp_frame_next(&rest, &frame), 1);
    ck_assert(frame.type == KLP_FRAME_PING && frame.klass == KLP_CLASS_CONTROL && !frame.more);
    ck_assert(kos_bytes_eq(frame.payload, s("12345678")));
    ck_assert_int_eq(klp_frame_next(&rest, &frame), 1);
    ck_assert(frame.type == KLP_FRAME_MESSAGE && frame.klass == KLP_CLASS_BULK && frame.more);
    ck_assert_int_eq(klp_frame_next(&rest, &frame), 1);
    ck_assert(frame.type == 200 && frame.klass == KLP_CLASS_INTERACTIVE && !frame.more && frame.payload.len == 0);
    ck_assert_int_eq(klp_frame_next(&rest, &frame), 0);
    ck_assert_uint_eq(frame.type, 200);
}
END_TEST

START_TEST(put_refuses)
{
    static uint8_t out[KLP_FRAME_HEADER + 65536], payload[65536];
    ck_assert_int_eq(klp_frame_put(out, sizeof out, 0, 0, false, s("x")), KOS_E_INVALID);
    ck_assert_int_eq(klp_frame_put(out, sizeof out, 9, KLP_CLASSES, false, s("x")), KOS_E_INVALID);
    ck_assert_int_eq(klp_frame_put(out, sizeof out, 9, 0x80, false, s("x")), KOS_E_INVALID);
    ck_assert_int_eq(klp_frame_put(out, sizeof out, 9, 0, true, s("")), KOS_E_INVALID);
    ck_assert_int_eq(klp_frame_put(out, sizeof out, KLP_FRAME_PING, 0, true, s("x")), KOS_E_INVALID);
    ck_assert_int_eq(klp_frame_put(out, sizeof out, 9, 0, false, kos_bytes(payload, 65536)), KOS_E_LIMIT);
    ck_assert_int_eq(klp_frame_put(out, 4 + 65534, 9, 0, false, kos_bytes(payload, 65535)), KOS_E_LIMIT);
    ck_assert_int_eq(klp_frame_put(out, 4 + 65535, 9, 0, false, kos_bytes(payload, 65535)), 4 + 65535);
    ck_assert_int_eq(klp_frame_put(out, 3, 9, 0, false, s("")), KOS_E_LIMIT);
    memcpy(out + KLP_FRAME_HEADER, "in place", 8);
    ck_assert_int_eq(klp_frame_put(out, sizeof out, 9, 0, false, kos_bytes(out + KLP_FRAME_HEADER, 8)), 12);
    ck_assert_mem_eq(out + KLP_FRAME_HEADER, "in place", 8);
}
END_TEST

START_TEST(next_refuses)
{
    static const struct { uint8_t b[8]; size_t len; } bad[] = {
        { { 9 }, 1 }, { { 9, 0, 0 }, 3 },           /* half a header */
        /* beyond the record */
        { { 9, 0, 0, 1 }, 4 }, { { 9, 0, 0, 4, 1, 2, 3 }, 7 }, { { 9, 0, 0xff, 0xff, 1, 2, 3, 4 }, 8 },
        { { 0, 0, 0, 1, 1 }, 5 },                   /* no type */
        { { 9, 3, 0, 1, 1 }, 5 }, { { 9, 0x40, 0, 1, 1 }, 5 }, { { 9, 0x7f, 0, 1, 1 }, 5 },  /* no class */
        { { 9, 0x80, 0, 0 }, 4 },                   /* more of nothing */
        { { KLP_FRAME_PING, 0x80, 0, 1, 1 }, 5 }, { { KLP_FRAME_CREDIT, 0x80, 0, 1, 1 }, 5 },
        { { KLP_FRAME_CLOSE, 0x82, 0, 1, 1 }, 5 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct klp_frame frame = { .type = 77 };
        struct kos_bytes rest = kos_bytes(bad[i].b, bad[i].len);
        ck_assert_int_eq(klp_frame_next(&rest, &frame), KOS_E_PROTOCOL);
        ck_assert_uint_eq(frame.type, 77);
    }
}
END_TEST

/* Any bytes at all: ends, and never reads beyond them (seen under the address sanitizer). */
START_TEST(next_on_noise)
{
    uint64_t x = 88172645463325252u;
    for (int round = 0; round < 20000; round++) {
        size_t len = (size_t)(x % 64);
        uint8_t *bytes = malloc(len + 1);
        for (size_t i = 0; i < len; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            bytes[i] = (uint8_t)(x & ((x >> 60) ? 3 : 255));
        }
        x = x * 6364136223846793005u + 1442695040888963407u;
        struct kos_bytes rest = kos_bytes(bytes, len);
        struct klp_frame frame;
        struct klp_item_batch batch;
        struct kos_bytes body, signature;
        while (klp_frame_next(&rest, &frame) > 0)
            ck_assert(frame.payload.data + frame.payload.len <= bytes + len);
        klp_item_message(kos_bytes(bytes, len), &body, &signature);
        if (klp_item_batch(kos_bytes(bytes, len), &batch) == 0)
            while (klp_item_batch_next(&batch, &body) > 0)
                ck_assert(body.data + body.len <= bytes + len);
        free(bytes);
    }
}
END_TEST

static int32_t take(struct klp_assembly *assembly, uint8_t type, uint8_t klass, bool more, const char *payload,
                    struct klp_frame *ret_item)
{
    struct klp_frame frame = { type, klass, more, s(payload) };
    return klp_assembly_take(assembly, &frame, ret_item);
}

START_TEST(interleaving)
{
    struct klp_assembly *a = klp_assembly_new(1024);
    struct klp_frame item;
    ck_assert_int_eq(take(a, 9, KLP_CLASS_BULK, true, "bu", &item), 0);
    ck_assert_int_eq(take(a, 9, KLP_CLASS_INTERACTIVE, true, "inter", &item), 0);
    ck_assert_int_eq(take(a, 6, KLP_CLASS_CONTROL, true, "lo", &item), 0);
    /* Never cut, so it may come between the frames of an item of its own class. */
    ck_assert_int_eq(take(a, KLP_FRAME_PING, KLP_CLASS_CONTROL, false, "12345678", &item), 1);
    ck_assert(item.type == KLP_FRAME_PING && kos_bytes_eq(item.payload, s("12345678")));
    ck_assert_int_eq(take(a, 9, KLP_CLASS_BULK, true, "l", &item), 0);
    ck_assert_int_eq(take(a, 6, KLP_CLASS_CONTROL, false, "g", &item), 1);
    ck_assert(item.type == 6 && item.klass == KLP_CLASS_CONTROL && !item.more && kos_bytes_eq(item.payload, s("log")));
    struct klp_frame bulk;
    ck_assert_int_eq(take(a, 9, KLP_CLASS_BULK, false, "k", &bulk), 1);
    ck_assert(kos_bytes_eq(bulk.payload, s("bulk")));
    ck_assert_int_eq(take(a, 9, KLP_CLASS_INTERACTIVE, false, "active", &item), 1);
    ck_assert(kos_bytes_eq(item.payload, s("interactive")));
    ck_assert(kos_bytes_eq(bulk.payload, s("bulk"))); /* still: no later call was for its class */
    ck_assert_int_eq(take(a, 9, KLP_CLASS_BULK, false, "whole", &item), 1);
    ck_assert(kos_bytes_eq(item.payload, s("whole")));
    /* The last frame of an item may be empty. */
    ck_assert_int_eq(take(a, 9, KLP_CLASS_BULK, true, "end", &item), 0);
    ck_assert_int_eq(take(a, 9, KLP_CLASS_BULK, false, "", &item), 1);
    ck_assert(kos_bytes_eq(item.payload, s("end")));
    klp_assembly_free(a);
    klp_assembly_free(NULL);
}
END_TEST

START_TEST(keeping)
{
    struct klp_assembly *a = klp_assembly_new(1024);
    struct klp_frame item, slice;
    ck_assert_int_eq(take(a, 9, 1, true, "put to", &item), 0);
    ck_assert_int_eq(take(a, 9, 1, false, "gether", &item), 1);
    const uint8_t *had = item.payload.data;
    uint8_t *kept = klp_assembly_keep(a, &item);
    ck_assert_ptr_eq(kept, had);
    klp_assembly_release(a, &item); /* it is not the assembly's any more */
    ck_assert_int_eq(take(a, 9, 1, true, "another", &item), 0);
    ck_assert_int_eq(take(a, 9, 1, false, "", &item), 1);
    ck_assert(memcmp(kept, "put together", 12) == 0);
    ck_assert(kos_bytes_eq(item.payload, s("another")));
    klp_assembly_release(a, &item);
    free(kept);
    /* A slice is copied, and leaves what is under way in its class alone. */
    ck_assert_int_eq(take(a, 6, KLP_CLASS_CONTROL, true, "be", &item), 0);
    ck_assert_int_eq(take(a, KLP_FRAME_PING, KLP_CLASS_CONTROL, false, "12345678", &slice), 1);
    kept = klp_assembly_keep(a, &slice);
    ck_assert(kept != slice.payload.data && memcmp(kept, "12345678", 8) == 0);
    klp_assembly_release(a, &slice);
    free(kept);
    ck_assert_int_eq(take(a, 6, KLP_CLASS_CONTROL, false, "gun", &item), 1);
    ck_assert(kos_bytes_eq(item.payload, s("begun")));
    klp_assembly_free(a);
}
END_TEST

START_TEST(assembly_limits)
{
    static uint8_t piece[1000];
    struct klp_assembly *a = klp_assembly_new(100000);
    struct klp_frame item = { .type = 77 }, frame = { 9, 1, true, kos_bytes(piece, sizeof piece) };
    memset(piece, 0x5a, sizeof piece);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(klp_assembly_take(a, &frame, &item), 0);
    frame.payload.len = 1;
    ck_assert_int_eq(klp_assembly_take(a, &frame, &item), KOS_E_LIMIT);
    frame.payload.len = 0;
    frame.more = false;
    ck_assert_int_eq(klp_assembly_take(a, &frame, &item), 1);
    ck_assert_uint_eq(item.payload.len, 100000);
    for (size_t i = 0; i < item.payload.len; i++)
        ck_assert_uint_eq(item.payload.data[i], 0x5a);
    /* The next one starts anew. */
    ck_assert_int_eq(take(a, 9, 1, true, "a", &item), 0);
    ck_assert_int_eq(take(a, 9, 1, false, "b", &item), 1);
    ck_assert(kos_bytes_eq(item.payload, s("ab")));
    ck_assert_int_eq(take(a, 9, 1, true, "a", &item), 0);
    ck_assert_int_eq(take(a, 8, 1, false, "b", &item), KOS_E_PROTOCOL);
    ck_assert_int_eq(take(a, 9, KLP_CLASSES, false, "b", &item), KOS_E_PROTOCOL);
    klp_assembly_free(a);
    a = klp_assembly_new(4);
    item.type = 77;
    ck_assert_int_eq(take(a, 9, 1, false, "12345", &item), KOS_E_LIMIT);
    ck_assert_uint_eq(item.type, 77);
    ck_assert_int_eq(take(a, 9, 1, false, "1234", &item), 1);
    klp_assembly_free(a);
}
END_TEST

START_TEST(message_item)
{
    static uint8_t item[2 + KLP_BATCH_SIGNATURE_MAX + 1 + 8];
    struct kos_bytes body, signature;
    for (size_t len = 0; len < 1000; len++) {
        item[0] = (uint8_t)(len >> 8);
        item[1] = (uint8_t)len;
        bool good = len >= KLP_SIGNATURE_LEN && len <= KLP_BATCH_SIGNATURE_MAX;
        ck_assert_int_eq(klp_item_message(kos_bytes(item, sizeof item), &body, &signature), good ? 0 : KOS_E_PROTOCOL);
        if (good) {
            ck_assert_ptr_eq(signature.data, item + 2);
            ck_assert_uint_eq(signature.len, len);
            ck_assert_ptr_eq(body.data, item + 2 + len);
            ck_assert_uint_eq(body.len, sizeof item - 2 - len);
            ck_assert_int_eq(klp_item_message(kos_bytes(item, 2 + len), &body, &signature), KOS_E_PROTOCOL);
        }
    }
    ck_assert_int_eq(klp_item_message(kos_bytes(item, 1), &body, &signature), KOS_E_PROTOCOL);
    uint8_t *big = calloc(1, 2 + 64 + KLP_MESSAGE_MAX + 1);
    big[1] = 64;
    ck_assert_int_eq(klp_item_message(kos_bytes(big, 2 + 64 + KLP_MESSAGE_MAX), &body, &signature), 0);
    ck_assert_int_eq(klp_item_message(kos_bytes(big, 2 + 64 + KLP_MESSAGE_MAX + 1), &body, &signature), KOS_E_PROTOCOL);
    free(big);
    ck_assert_int_eq(klp_item_receipts(kos_bytes(item, 64), &body, &signature), KOS_E_PROTOCOL);
    ck_assert_int_eq(klp_item_receipts(kos_bytes(item, 65), &body, &signature), 0);
    ck_assert_uint_eq(signature.len, 64);
    ck_assert_uint_eq(body.len, 1);
}
END_TEST

START_TEST(batch_item)
{
    uint8_t item[64 + 2 + 3 * 4 + 6] = { 0 };
    struct klp_item_batch batch = { .count = 99 };
    struct kos_bytes body;
    size_t at = 66;
    item[65] = 3;
    for (uint8_t i = 0; i < 3; i++) {
        item[at + 3] = (uint8_t)(i + 1);
        memset(item + at + 4, 'a' + i, i + 1u);
        at += 4 + i + 1u;
    }
    ck_assert_uint_eq(at, sizeof item);
    for (size_t len = 0; len < sizeof item; len++)
        ck_assert_int_eq(klp_item_batch(kos_bytes(item, len), &batch), KOS_E_PROTOCOL);
    ck_assert_uint_eq(batch.count, 99);
    ck_assert_int_eq(klp_item_batch(kos_bytes(item, sizeof item), &batch), 0);
    ck_assert_uint_eq(batch.count, 3);
    ck_assert_ptr_eq(batch.signature.data, item);
    static const char *const want[] = { "a", "bb", "ccc" };
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(klp_item_batch_next(&batch, &body), 1);
        ck_assert(kos_bytes_eq(body, s(want[i])));
    }
    ck_assert_int_eq(klp_item_batch_next(&batch, &body), 0);
    /* The count and the bodies must agree; a body is not empty and not larger than what is there. */
    static const struct { size_t at; uint8_t value; } spoil[] = {
        { 65, 0 }, { 65, 2 }, { 65, 4 }, { 64, 5 }, { 69, 0 }, { 69, 2 }, { 66, 0xff }, { 80, 4 },
    };
    for (size_t i = 0; i < sizeof spoil / sizeof *spoil; i++) {
        uint8_t old = item[spoil[i].at];
        item[spoil[i].at] = spoil[i].value;
        ck_assert_int_eq(klp_item_batch(kos_bytes(item, sizeof item), &batch), KOS_E_PROTOCOL);
        item[spoil[i].at] = old;
    }
}
END_TEST

TESTS("klp/frame", put_and_next, put_refuses, next_refuses, next_on_noise, interleaving, keeping, assembly_limits,
      message_item, batch_item)
