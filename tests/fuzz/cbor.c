/* SPDX-License-Identifier: Apache-2.0
 *
 * Deterministic CBOR and the compact form: what is taken has one encoding, and from the compact form of a record its
 * signed bytes come back.
 */
#include "fuzz.h"

#include <klp/cbor.h>
#include <klp/compact.h>

static void write_again(struct klp_cbor_out *out, const struct klp_cbor *item)
{
    switch (item->type) {
    case KLP_CBOR_UINT:
        klp_cbor_put_uint(out, item->number);
        break;
    case KLP_CBOR_NINT:
        if (item->number <= INT64_MAX) {
            klp_cbor_put_int(out, -1 - (int64_t)item->number);
        } else { /* beyond int64_t: only the reader knows those */
            uint8_t head[9] = { 0x3b };
            for (int i = 0; i < 8; i++)
                head[1 + i] = (uint8_t)(item->number >> (56 - 8 * i));
            klp_cbor_put_raw(out, kos_bytes(head, sizeof head));
        }
        break;
    case KLP_CBOR_BYTES:
        klp_cbor_put_bytes(out, item->bytes);
        break;
    case KLP_CBOR_TEXT:
        klp_cbor_put_text(out, item->bytes);
        break;
    case KLP_CBOR_ARRAY:
        klp_cbor_put_array(out, item->number);
        break;
    case KLP_CBOR_MAP:
        klp_cbor_put_map(out, item->number);
        break;
    case KLP_CBOR_TAG:
        klp_cbor_put_tag(out, item->number);
        break;
    case KLP_CBOR_SIMPLE:
        klp_cbor_put_simple(out, (uint8_t)item->number);
        break;
    default:
        FUZZ_CHECK(item->type == KLP_CBOR_FLOAT);
        klp_cbor_put_double(out, item->real);
    }
}

static void items(struct kos_bytes data)
{
    struct kos_bytes rest = data, whole = data, item_bytes, written;
    struct klp_cbor item;
    int32_t result = klp_cbor_check(data, data.len);
    FUZZ_CHECK(result == 0 || result == KOS_E_CANONICAL || result == KOS_E_LIMIT);
    if (result < 0) {
        while (rest.len && klp_cbor_next(&rest, &item) == 0)
            fuzz_touch(item.bytes.data, item.bytes.len);
        return;
    }
    FUZZ_CHECK(klp_cbor_item(&whole, &item_bytes) == 0 && whole.len == 0 && fuzz_same(item_bytes, data));
    uint8_t *again = malloc(data.len);
    struct klp_cbor_out out;
    FUZZ_CHECK(again);
    klp_cbor_begin(&out, again, data.len);
    while (rest.len) {
        FUZZ_CHECK(klp_cbor_next(&rest, &item) == 0);
        write_again(&out, &item);
    }
    FUZZ_CHECK(klp_cbor_end(&out, &written) == 0 && fuzz_same(written, data));
    free(again);
}

static void compact(struct kos_bytes data)
{
    struct klp_json value;
    uint8_t *there, *back;
    size_t there_len, back_len;
    int32_t result = klp_compact_open(data, &there, &there_len);
    FUZZ_CHECK(result == 0 || result == KOS_E_CANONICAL || result == KOS_E_LIMIT);
    if (result == 0) {
        FUZZ_CHECK(klp_json_read(kos_bytes(there, there_len), KLP_COMPACT_MAX, &value, NULL) == 0);
        FUZZ_CHECK(value.type == KLP_JSON_OBJECT && data.len < there_len);
        FUZZ_CHECK(klp_compact_make(kos_bytes(there, there_len), &back, &back_len) == 0);
        FUZZ_CHECK(fuzz_same(kos_bytes(back, back_len), data));
        free(back);
        free(there);
    }
    result = klp_compact_make(data, &there, &there_len);
    FUZZ_CHECK(result == 0 || result == KOS_E_CANONICAL || result == KOS_E_UNSUPPORTED);
    if (result == 0) {
        FUZZ_CHECK(there_len < data.len && klp_cbor_check(kos_bytes(there, there_len), there_len) == 0);
        FUZZ_CHECK(klp_compact_open(kos_bytes(there, there_len), &back, &back_len) == 0);
        FUZZ_CHECK(fuzz_same(kos_bytes(back, back_len), data));
        free(back);
        free(there);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    items(kos_bytes(data, size));
    compact(kos_bytes(data, size));
    return 0;
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    static const char *const texts[] = {
        "{\"created\":1781900000000,\"event\":0,\"expires\":1781900600000,\"id\":\"abcdefghijklmnopqrstuvwxya\","
        "\"payload\":{\"task\":\"x\"},"
        "\"source\":\"klp://node.usa.kai\",\"source_id\":\"abcdefghijklmnopqrstuvwxya\",\"target\":\"klp://"
        "agent.genie.fr.kai\","
        "\"target_id\":\"abcdefghijklmnopqrstuvwxya\",\"type\":\"TASK_REQUEST\"}",
        "{\"payload\":\"AAECAwQFBgcICQ==\",\"seal\":{\"enc\":"
        "\"0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\",\"key\":\"z6LSx\"}}",
        "{\"a\":[1,-1,1.5,true,false,null,\"\\n\\u0001\xc3\xa4\"],\"b\":{},\"id\":\"none\",\"zz\":9007199254740991}",
        "{\"created\":1,\"event\":2,\"node\":\"abcdefghijklmnopqrstuvwxya\",\"receipts\":[{\"digest\":"
        "\"0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\",\"id\":\"abcdefghijklmnopqrstuvwxya\"}]"
        "}",
    };
    uint8_t buffer[512];
    struct klp_cbor_out out;
    struct kos_bytes written;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        uint8_t *data;
        size_t len;
        put(arg, kos_bytes_str(texts[i]));
        if (klp_compact_make(kos_bytes_str(texts[i]), &data, &len) == 0) {
            put(arg, kos_bytes(data, len));
            free(data);
        }
    }
    klp_cbor_begin(&out, buffer, sizeof buffer);
    klp_cbor_put_map(&out, 3);
    klp_cbor_put_uint(&out, 1);
    klp_cbor_put_array(&out, 6);
    klp_cbor_put_int(&out, -500);
    klp_cbor_put_double(&out, 1.5);
    klp_cbor_put_double(&out, 0.1);
    klp_cbor_put_double(&out, 100000.5);
    klp_cbor_put_simple(&out, KLP_CBOR_TRUE);
    klp_cbor_put_tag(&out, 1000);
    klp_cbor_put_uint(&out, UINT64_MAX);
    klp_cbor_put_bytes(&out, kos_bytes_str("key"));
    klp_cbor_put_text(&out, kos_bytes_str("\xc3\xa4"));
    klp_cbor_put_text(&out, kos_bytes_str("z"));
    klp_cbor_put_map(&out, 0);
    if (klp_cbor_end(&out, &written) == 0)
        put(arg, written);
}
