/* SPDX-License-Identifier: Apache-2.0
 *
 * Text codings: hex, base64 and base32 (RFC 4648), base58btc. Each value has one text: a decoder
 * refuses other alphabets, missing or extra padding, and spare bits that are not zero, so that a
 * text can be compared and signed in place of what it stands for.
 *
 * None of these is constant time: they carry public keys, digests and signatures, not secrets.
 */
#include "codec.h"

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base32_digits[] = "abcdefghijklmnopqrstuvwxyz234567";
static const char base58_digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

void klp_hex(struct kos_bytes data, char *ret_text)
{
    for (size_t i = 0; i < data.len; i++) {
        ret_text[2 * i] = hex_digits[data.data[i] >> 4];
        ret_text[2 * i + 1] = hex_digits[data.data[i] & 15];
    }
    ret_text[2 * data.len] = '\0';
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int32_t klp_unhex(struct kos_bytes text, uint8_t *ret_data, size_t cap, size_t *ret_len)
{
    if (text.len % 2)
        return KOS_E_SYNTAX;
    if (text.len / 2 > cap)
        return KOS_E_LIMIT;
    for (size_t i = 0; i < text.len; i++)
        if (hex_value(text.data[i]) < 0)
            return KOS_E_SYNTAX;
    for (size_t i = 0; i < text.len / 2; i++)
        ret_data[i] = (uint8_t)(hex_value(text.data[2 * i]) << 4 | hex_value(text.data[2 * i + 1]));
    if (ret_len)
        *ret_len = text.len / 2;
    return 0;
}

size_t klp_base64(struct kos_bytes data, char *ret_text)
{
    char *out = ret_text;
    size_t i = 0;
    for (; i + 3 <= data.len; i += 3) {
        uint32_t v = (uint32_t)data.data[i] << 16 | (uint32_t)data.data[i + 1] << 8 | data.data[i + 2];
        *out++ = base64_digits[v >> 18];
        *out++ = base64_digits[v >> 12 & 63];
        *out++ = base64_digits[v >> 6 & 63];
        *out++ = base64_digits[v & 63];
    }
    if (data.len - i == 1) {
        *out++ = base64_digits[data.data[i] >> 2];
        *out++ = base64_digits[(data.data[i] & 3) << 4];
        *out++ = '=';
        *out++ = '=';
    } else if (data.len - i == 2) {
        *out++ = base64_digits[data.data[i] >> 2];
        *out++ = base64_digits[(data.data[i] & 3) << 4 | data.data[i + 1] >> 4];
        *out++ = base64_digits[(data.data[i + 1] & 15) << 2];
        *out++ = '=';
    }
    *out = '\0';
    return (size_t)(out - ret_text);
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int32_t klp_unbase64(struct kos_bytes text, uint8_t *ret_data, size_t cap, size_t *ret_len)
{
    if (text.len % 4)
        return KOS_E_SYNTAX;
    size_t pad = 0;
    if (text.len && text.data[text.len - 1] == '=')
        pad = text.data[text.len - 2] == '=' ? 2 : 1;
    size_t digits = text.len - pad, len = text.len / 4 * 3 - pad;
    for (size_t i = 0; i < digits; i++)
        if (base64_value(text.data[i]) < 0)
            return KOS_E_SYNTAX;
    if (pad && base64_value(text.data[digits - 1]) & (pad == 1 ? 3 : 15))
        return KOS_E_SYNTAX;
    if (len > cap)
        return KOS_E_LIMIT;
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;
    for (size_t i = 0; i < digits; i++) {
        bits = bits << 6 | (uint32_t)base64_value(text.data[i]);
        have += 6;
        if (have >= 8) {
            have -= 8;
            ret_data[n++] = (uint8_t)(bits >> have);
        }
    }
    if (ret_len)
        *ret_len = n;
    return 0;
}

size_t klp_base32(struct kos_bytes data, char *ret_text)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;
    for (size_t i = 0; i < data.len; i++) {
        bits = bits << 8 | data.data[i];
        have += 8;
        while (have >= 5) {
            have -= 5;
            ret_text[n++] = base32_digits[bits >> have & 31];
        }
    }
    if (have)
        ret_text[n++] = base32_digits[bits << (5 - have) & 31];
    ret_text[n] = '\0';
    return n;
}

enum { BASE32_BAD = 0x80 };

#define V BASE32_BAD
static const uint8_t base32_values[256] = {
    V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, 26, 27, 28, 29, 30, 31, V, V, V, V, V, V, V, V,
    V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    V, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, V, V, V, V, V,
    V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
};
#undef V

int32_t klp_unbase32(struct kos_bytes text, uint8_t *ret_data, size_t cap, size_t *ret_len)
{
    /* 1, 3 and 6 digits over a multiple of 8 encode no whole number of bytes (RFC 4648 section 6). */
    size_t rest = text.len % 8, len = text.len / 8 * 5 + rest * 5 / 8, n = 0;
    if (rest == 1 || rest == 3 || rest == 6)
        return KOS_E_SYNTAX;
    uint8_t bad = 0;
    for (size_t i = 0; i < text.len; i++)
        bad |= base32_values[text.data[i]];
    unsigned spare = (unsigned)(rest * 5 % 8);
    if (bad & BASE32_BAD || (spare && base32_values[text.data[text.len - 1]] & ((1 << spare) - 1)))
        return KOS_E_SYNTAX;
    if (len > cap)
        return KOS_E_LIMIT;
    for (size_t i = 0; i < text.len; i += 8) {
        size_t digits = text.len - i < 8 ? text.len - i : 8;
        uint64_t bits = 0;
        for (size_t k = 0; k < digits; k++)
            bits |= (uint64_t)base32_values[text.data[i + k]] << (35 - 5 * k);
        for (size_t k = 0; k < digits * 5 / 8; k++)
            ret_data[n++] = (uint8_t)(bits >> (32 - 8 * k));
    }
    if (ret_len)
        *ret_len = n;
    return 0;
}

/* Base58 is a change of radix, quadratic in the length: hence the bound on both directions. */
int32_t klp_base58(struct kos_bytes data, char *ret_text, size_t cap)
{
    if (data.len > KLP_BASE58_MAX)
        return KOS_E_LIMIT;
    uint8_t digits[KLP_BASE58_MAX * 138 / 100 + 1]; /* log 256 / log 58 < 1.38; least significant first */
    size_t zeros = 0, n = 0;
    while (zeros < data.len && data.data[zeros] == 0)
        zeros++;
    for (size_t i = zeros; i < data.len; i++) {
        uint32_t carry = data.data[i];
        for (size_t j = 0; j < n; j++) {
            carry += (uint32_t)digits[j] << 8;
            digits[j] = (uint8_t)(carry % 58);
            carry /= 58;
        }
        for (; carry; carry /= 58)
            digits[n++] = (uint8_t)(carry % 58);
    }
    if (zeros + n + 1 > cap)
        return KOS_E_LIMIT;
    memset(ret_text, '1', zeros);
    for (size_t j = 0; j < n; j++)
        ret_text[zeros + j] = base58_digits[digits[n - 1 - j]];
    ret_text[zeros + n] = '\0';
    return (int32_t)(zeros + n);
}

static int base58_value(uint8_t c)
{
    const char *at = c ? strchr(base58_digits, c) : NULL;
    return at ? (int)(at - base58_digits) : -1;
}

int32_t klp_unbase58(struct kos_bytes text, uint8_t *ret_data, size_t cap, size_t *ret_len)
{
    if (text.len > KLP_BASE58_MAX * 138 / 100)
        return KOS_E_LIMIT;
    uint8_t bytes[KLP_BASE58_MAX * 138 / 100 + 1]; /* least significant first */
    size_t zeros = 0, n = 0;
    while (zeros < text.len && text.data[zeros] == '1')
        zeros++;
    for (size_t i = zeros; i < text.len; i++) {
        int value = base58_value(text.data[i]);
        if (value < 0)
            return KOS_E_SYNTAX;
        uint32_t carry = (uint32_t)value;
        for (size_t j = 0; j < n; j++) {
            carry += (uint32_t)bytes[j] * 58;
            bytes[j] = (uint8_t)carry;
            carry >>= 8;
        }
        for (; carry; carry >>= 8)
            bytes[n++] = (uint8_t)carry;
    }
    if (zeros + n > cap || zeros + n > KLP_BASE58_MAX)
        return KOS_E_LIMIT;
    memset(ret_data, 0, zeros);
    for (size_t j = 0; j < n; j++)
        ret_data[zeros + j] = bytes[n - 1 - j];
    if (ret_len)
        *ret_len = zeros + n;
    return 0;
}
