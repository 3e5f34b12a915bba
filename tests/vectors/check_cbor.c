/* SPDX-License-Identifier: Apache-2.0
 *
 * Deterministic CBOR against RFC 8949's Appendix A and others' tests of the deterministic rules: what is deterministic
 * is taken and written again as the same bytes, everything else is refused.
 */
#include <klp/cbor.h>

#include "vectors.h"

enum { ITEM_MAX = 4096 };

/* Item by item as it was read. */
static int32_t copy(struct kos_bytes *rest, struct klp_cbor_out *out, int depth)
{
    struct klp_cbor item;
    int32_t code = depth > KLP_CBOR_DEPTH_MAX ? KOS_E_LIMIT : klp_cbor_next(rest, &item);
    uint64_t inside = 0;
    if (code < 0)
        return code;
    switch (item.type) {
    case KLP_CBOR_UINT: klp_cbor_put_uint(out, item.number); break;
    case KLP_CBOR_NINT:
        if (item.number > INT64_MAX)
            return KOS_E_UNSUPPORTED; /* the writer's integers are those of int64_t */
        klp_cbor_put_int(out, -1 - (int64_t)item.number);
        break;
    case KLP_CBOR_BYTES: klp_cbor_put_bytes(out, item.bytes); break;
    case KLP_CBOR_TEXT: klp_cbor_put_text(out, item.bytes); break;
    case KLP_CBOR_ARRAY:
        klp_cbor_put_array(out, item.number);
        inside = item.number;
        break;
    case KLP_CBOR_MAP:
        klp_cbor_put_map(out, item.number);
        inside = 2 * item.number;
        break;
    case KLP_CBOR_TAG:
        klp_cbor_put_tag(out, item.number);
        inside = 1;
        break;
    case KLP_CBOR_FLOAT: klp_cbor_put_double(out, item.real); break;
    default: klp_cbor_put_simple(out, (uint8_t)item.number); break;
    }
    while (inside-- && code >= 0)
        code = copy(rest, out, depth + 1);
    return code;
}

static const char *accept(struct kos_bytes data)
{
    uint8_t again[ITEM_MAX];
    struct klp_cbor_out out;
    struct kos_bytes rest = data, written;
    if (klp_cbor_check(data, ITEM_MAX) < 0)
        return "refused";
    klp_cbor_begin(&out, again, sizeof again);
    int32_t code = copy(&rest, &out, 0);
    if (code == KOS_E_UNSUPPORTED)
        return NULL;
    if (code < 0 || klp_cbor_end(&out, &written) < 0 || !kos_bytes_eq(written, data))
        return "written otherwise";
    return NULL;
}

static const char *refuse(struct kos_bytes data)
{
    return klp_cbor_check(data, ITEM_MAX) == KOS_E_CANONICAL ? NULL : "taken";
}

/* Two bytes for a simple value below 32: Appendix A shows the encoding, section 3.3 says it is not well-formed. */
static bool ill_formed(struct kos_bytes data)
{
    return data.len == 2 && data.data[0] == 0xf8 && data.data[1] < 32;
}

static void run_file(struct vectors *v, json_t *file)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(file, "cases"), i, one) {
        char name[128];
        const char *kind = json_string_value(json_object_get(one, "kind")), *why;
        struct kos_bytes data = vectors_member(one, "hex");
        snprintf(name, sizeof name, "%s %s", kind ? kind : "appendix A",
                 json_string_value(json_object_get(one, "hex")));
        bool good = kind ? strcmp(kind, "reject") != 0 && strcmp(kind, "map-order-legacy") != 0
                         : json_is_true(json_object_get(one, "roundtrip")) && !ill_formed(data);
        why = good ? accept(data) : refuse(data);
        if (!why && kind && strcmp(kind, "float") == 0) {
            struct klp_cbor item;
            struct kos_bytes rest = data;
            if (klp_cbor_next(&rest, &item) < 0 || item.type != KLP_CBOR_FLOAT ||
                !(item.real == json_number_value(json_object_get(one, "f64"))))
                why = "another number";
        }
        vectors_say(v, name, why);
        vectors_free(&data, 1);
    }
}

int main(void)
{
    return vectors_run("cbor", run_file);
}
