/* SPDX-License-Identifier: Apache-2.0
 * Deterministic CBOR: one head at a time, nothing believed before it is checked against what is left. */
#include <klp/cbor.h>

#include <math.h>

#include "codec.h"

enum { INFO_8 = 24, INFO_16 = 25, INFO_32 = 26, INFO_64 = 27, HALF_NAN = 0x7e00 };

/* ---- floats ---- */

static double from_half(uint16_t half)
{
    int exponent = half >> 10 & 31;
    double mantissa = half & 1023, number;
    if (exponent == 31)
        number = mantissa != 0 ? NAN : INFINITY;
    else
        number = exponent ? ldexp(mantissa + 1024, exponent - 25) : ldexp(mantissa, -24);
    return half & 0x8000 ? -number : number;
}

static double from_single(uint32_t bits)
{
    float number;
    memcpy(&number, &bits, sizeof number);
    return (double)number;
}

static double from_double(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static uint64_t bits_of(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

/* The half that is exactly this number (not a NaN), if there is one. */
static bool to_half(double number, uint16_t *ret_half)
{
    uint16_t sign = signbit(number) ? 0x8000 : 0;
    double size = fabs(number);
    int exponent;
    if (isinf(size)) {
        *ret_half = sign | 0x7c00;
        return true;
    }
    if (size > 65504)
        return false;
    double mantissa = frexp(size, &exponent), scaled;
    if (size < ldexp(1, -14)) {
        scaled = ldexp(size, 24);
        if (scaled != floor(scaled))
            return false;
        *ret_half = sign | (uint16_t)scaled;
        return true;
    }
    scaled = ldexp(mantissa, 11);
    if (scaled != floor(scaled))
        return false;
    *ret_half = (uint16_t)(sign | (exponent + 14) << 10 | ((uint16_t)scaled & 1023));
    return true;
}

static bool to_single(double number, uint32_t *ret_bits)
{
    if (fabs(number) > 3.4028234663852886e38 && !isinf(number))
        return false;
    float single = (float)number;
    if (bits_of((double)single) != bits_of(number))
        return false;
    memcpy(ret_bits, &single, sizeof *ret_bits);
    return true;
}

static int32_t float_of(uint8_t info, uint64_t bits, double *ret_number)
{
    uint16_t half;
    uint32_t single;
    double number = info == INFO_16   ? from_half((uint16_t)bits)
                    : info == INFO_32 ? from_single((uint32_t)bits)
                                      : from_double(bits);
    bool shortest = isnan(number)     ? info == INFO_16 && bits == HALF_NAN
                    : info == INFO_16 ? true
                    : info == INFO_32 ? !to_half(number, &half)
                                      : !to_half(number, &half) && !to_single(number, &single);
    *ret_number = number;
    return shortest ? KOS_OK : KOS_E_CANONICAL;
}

/* ---- reading ---- */

static int32_t argument(struct kos_bytes *rest, uint8_t info, uint64_t *ret_number)
{
    static const uint8_t sizes[] = { 1, 2, 4, 8 };
    if (info < INFO_8) {
        *ret_number = info;
        return KOS_OK;
    }
    if (info > INFO_64 || rest->len < sizes[info - INFO_8])
        return KOS_E_CANONICAL;
    uint8_t size = sizes[info - INFO_8];
    uint64_t number = 0;
    for (uint8_t i = 0; i < size; i++)
        number = number << 8 | rest->data[i];
    *rest = kos_bytes(rest->data + size, rest->len - size);
    *ret_number = number;
    return KOS_OK;
}

static bool shortest(uint8_t info, uint64_t number)
{
    return info == INFO_8    ? number >= 24
           : info == INFO_16 ? number > UINT8_MAX
           : info == INFO_32 ? number > UINT16_MAX
           : info == INFO_64 ? number > UINT32_MAX
                             : true;
}

static bool utf8(struct kos_bytes text)
{
    const uint8_t *at = text.data, *end = text.data + text.len;
    while (at < end) {
        size_t len = *at < 0x80 ? 1 : json_utf8(at, end);
        if (!len)
            return false;
        at += len;
    }
    return true;
}

static int32_t take_string(struct kos_bytes *rest, struct klp_cbor *item)
{
    if (item->number > rest->len)
        return KOS_E_CANONICAL;
    item->bytes = kos_bytes(rest->data, (size_t)item->number);
    *rest = kos_bytes(rest->data + item->bytes.len, rest->len - item->bytes.len);
    return item->type == KLP_CBOR_TEXT && !utf8(item->bytes) ? KOS_E_CANONICAL : KOS_OK;
}

static int32_t take_seven(struct klp_cbor *item, uint8_t info)
{
    if (info >= INFO_16) {
        item->type = KLP_CBOR_FLOAT;
        return float_of(info, item->number, &item->real);
    }
    /* Section 3.3: two bytes only for what does not fit one, and 24 to 31 for nothing. */
    return info == INFO_8 && item->number < 32 ? KOS_E_CANONICAL : KOS_OK;
}

int32_t klp_cbor_next(struct kos_bytes *rest, struct klp_cbor *ret_item)
{
    struct kos_bytes left = *rest;
    if (!left.len)
        return KOS_E_CANONICAL;
    struct klp_cbor item = { .type = left.data[0] >> 5 };
    uint8_t info = left.data[0] & 31;
    left = kos_bytes(left.data + 1, left.len - 1);
    int32_t code = argument(&left, info, &item.number);
    if (code == KOS_OK && item.type == KLP_CBOR_SIMPLE)
        code = take_seven(&item, info);
    else if (code == KOS_OK && !shortest(info, item.number))
        code = KOS_E_CANONICAL;
    if (code == KOS_OK && (item.type == KLP_CBOR_BYTES || item.type == KLP_CBOR_TEXT))
        code = take_string(&left, &item);
    if (code == KOS_OK && ((item.type == KLP_CBOR_ARRAY && item.number > left.len) ||
                           (item.type == KLP_CBOR_MAP && item.number > left.len / 2)))
        code = KOS_E_CANONICAL;
    if (code != KOS_OK)
        return code;
    *rest = left;
    *ret_item = item;
    return KOS_OK;
}

int klp_cbor_key_cmp(struct kos_bytes a, struct kos_bytes b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int32_t walk(struct kos_bytes *rest, uint32_t depth);

static int32_t walk_map(struct kos_bytes *rest, uint64_t pairs, uint32_t depth)
{
    struct kos_bytes before = { NULL, 0 };
    for (uint64_t i = 0; i < pairs; i++) {
        struct kos_bytes key = *rest;
        int32_t code = walk(rest, depth);
        if (code != KOS_OK)
            return code;
        key.len = (size_t)(rest->data - key.data);
        if (i && klp_cbor_key_cmp(before, key) >= 0)
            return KOS_E_CANONICAL;
        before = key;
        if ((code = walk(rest, depth)) != KOS_OK)
            return code;
    }
    return KOS_OK;
}

/* Depth is bounded, and so is this recursion. */
static int32_t walk(struct kos_bytes *rest, uint32_t depth)
{
    struct klp_cbor item;
    int32_t code = klp_cbor_next(rest, &item);
    if (code != KOS_OK || item.type < KLP_CBOR_ARRAY || item.type > KLP_CBOR_TAG)
        return code;
    if (depth >= KLP_CBOR_DEPTH_MAX)
        return KOS_E_LIMIT;
    if (item.type == KLP_CBOR_MAP)
        return walk_map(rest, item.number, depth + 1);
    uint64_t count = item.type == KLP_CBOR_TAG ? 1 : item.number;
    for (uint64_t i = 0; i < count && code == KOS_OK; i++)
        code = walk(rest, depth + 1);
    return code;
}

int32_t klp_cbor_item(struct kos_bytes *rest, struct kos_bytes *ret_item)
{
    struct kos_bytes left = *rest;
    int32_t code = walk(&left, 0);
    if (code != KOS_OK)
        return code;
    *ret_item = kos_bytes(rest->data, (size_t)(left.data - rest->data));
    *rest = left;
    return KOS_OK;
}

int32_t klp_cbor_check(struct kos_bytes data, size_t max_bytes)
{
    struct kos_bytes item;
    if (data.len > max_bytes)
        return KOS_E_LIMIT;
    int32_t code = klp_cbor_item(&data, &item);
    return code == KOS_OK && data.len ? KOS_E_CANONICAL : code;
}

/* ---- writing ---- */

void klp_cbor_begin(struct klp_cbor_out *out, void *data, size_t cap)
{
    *out = (struct klp_cbor_out){ data, cap, 0 };
}

static void put(struct klp_cbor_out *out, const void *data, size_t len)
{
    if (len && out->len <= out->cap && len <= out->cap - out->len)
        memcpy(out->data + out->len, data, len);
    out->len += len;
}

static void head(struct klp_cbor_out *out, uint8_t major, uint64_t number)
{
    uint8_t bytes[9];
    uint8_t info = number < 24             ? (uint8_t)number
                   : number <= UINT8_MAX  ? INFO_8
                   : number <= UINT16_MAX ? INFO_16
                   : number <= UINT32_MAX ? INFO_32
                                          : INFO_64;
    size_t len = info < INFO_8 ? 0 : (size_t)1 << (info - INFO_8);
    bytes[0] = (uint8_t)(major << 5 | info);
    for (size_t i = 0; i < len; i++)
        bytes[1 + i] = (uint8_t)(number >> (8 * (len - 1 - i)));
    put(out, bytes, 1 + len);
}

void klp_cbor_put_uint(struct klp_cbor_out *out, uint64_t number)
{
    head(out, KLP_CBOR_UINT, number);
}

void klp_cbor_put_int(struct klp_cbor_out *out, int64_t number)
{
    if (number < 0)
        head(out, KLP_CBOR_NINT, (uint64_t)(-1 - number));
    else
        head(out, KLP_CBOR_UINT, (uint64_t)number);
}

void klp_cbor_put_bytes(struct klp_cbor_out *out, struct kos_bytes bytes)
{
    head(out, KLP_CBOR_BYTES, bytes.len);
    put(out, bytes.data, bytes.len);
}

void klp_cbor_put_text(struct klp_cbor_out *out, struct kos_bytes text)
{
    head(out, KLP_CBOR_TEXT, text.len);
    put(out, text.data, text.len);
}

void klp_cbor_put_array(struct klp_cbor_out *out, uint64_t items)
{
    head(out, KLP_CBOR_ARRAY, items);
}

void klp_cbor_put_map(struct klp_cbor_out *out, uint64_t pairs)
{
    head(out, KLP_CBOR_MAP, pairs);
}

void klp_cbor_put_tag(struct klp_cbor_out *out, uint64_t tag)
{
    head(out, KLP_CBOR_TAG, tag);
}

void klp_cbor_put_simple(struct klp_cbor_out *out, uint8_t which)
{
    head(out, KLP_CBOR_SIMPLE, which);
}

static void put_float(struct klp_cbor_out *out, uint8_t info, uint64_t bits, size_t len)
{
    uint8_t bytes[9] = { (uint8_t)(KLP_CBOR_SIMPLE << 5 | info) };
    for (size_t i = 0; i < len; i++)
        bytes[1 + i] = (uint8_t)(bits >> (8 * (len - 1 - i)));
    put(out, bytes, 1 + len);
}

void klp_cbor_put_double(struct klp_cbor_out *out, double number)
{
    uint16_t half;
    uint32_t single;
    if (isnan(number))
        put_float(out, INFO_16, HALF_NAN, 2);
    else if (to_half(number, &half))
        put_float(out, INFO_16, half, 2);
    else if (to_single(number, &single))
        put_float(out, INFO_32, single, 4);
    else
        put_float(out, INFO_64, bits_of(number), 8);
}

void klp_cbor_put_raw(struct klp_cbor_out *out, struct kos_bytes encoded)
{
    put(out, encoded.data, encoded.len);
}

int32_t klp_cbor_end(struct klp_cbor_out *out, struct kos_bytes *ret_data)
{
    if (out->len > out->cap)
        return KOS_E_LIMIT;
    *ret_data = kos_bytes(out->data, out->len);
    return KOS_OK;
}
