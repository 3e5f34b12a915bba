/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to libklp: integers in network order, and the small things that several files share.
 */
#ifndef KLP_CODEC_H
#define KLP_CODEC_H

#include <endian.h>
#include <klp/crypto.h>

#define KLP_PRIVATE __attribute__((visibility("hidden")))

static inline void put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void put_be32(uint8_t *p, uint32_t v)
{
    put_be16(p, (uint16_t)(v >> 16));
    put_be16(p + 2, (uint16_t)v);
}

static inline void put_be64(uint8_t *p, uint64_t v)
{
    put_be32(p, (uint32_t)(v >> 32));
    put_be32(p + 4, (uint32_t)v);
}

static inline uint16_t get_be16(const uint8_t *p)
{
    return (uint16_t)((unsigned)p[0] << 8 | p[1]);
}

static inline uint32_t get_be32(const uint8_t *p)
{
    return (uint32_t)get_be16(p) << 16 | get_be16(p + 2);
}

static inline uint64_t get_be64(const uint8_t *p)
{
    return (uint64_t)get_be32(p) << 32 | get_be32(p + 4);
}

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* JSON: what reader, writer and canonicaliser share. */

#define JSON_EACH_BYTE UINT64_C(0x0101010101010101)

/* How many of the next bytes stand for themselves in a string: ASCII, no control, quote or backslash. */
static inline size_t json_plain_run(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *start = p;
    for (; end - p >= 8; p += 8) {
        uint64_t v;
        memcpy(&v, p, sizeof v);
        v = le64toh(v);
        /* A byte's top bit is set when it is below 0x20, a quote, a backslash or not ASCII. A borrow
         * comes only out of a byte that is itself set, so the lowest set bit is exact. */
        uint64_t hit = (v | (v - 0x20 * JSON_EACH_BYTE) | ((v ^ '"' * JSON_EACH_BYTE) - JSON_EACH_BYTE) |
                        ((v ^ '\\' * JSON_EACH_BYTE) - JSON_EACH_BYTE)) & 0x80 * JSON_EACH_BYTE;
        if (hit)
            return (size_t)(p - start) + (size_t)__builtin_ctzll(hit) / 8;
    }
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
        p++;
    return (size_t)(p - start);
}

/* Like klp_json_read(), of a value that is to stand in an object: one level less. */
struct klp_json;
KLP_PRIVATE int32_t json_read_inner(struct kos_bytes text, size_t max_bytes, struct klp_json *ret_value, size_t *ret_offset);

/* Length of the well-formed UTF-8 sequence (RFC 3629: no surrogates, shortest form) of a character
 * beyond ASCII at p, or 0. */
KLP_PRIVATE size_t json_utf8(const uint8_t *p, const uint8_t *end);
/* JCS order: by UTF-16 code units. Valid UTF-8; with `escaped` as it stands between quotes. */
KLP_PRIVATE int json_name_cmp(struct kos_bytes a, struct kos_bytes b, bool escaped);
/* `text` is exactly what JSON calls a number; its nearest double, which may be infinite. */
KLP_PRIVATE bool json_parse_double(struct kos_bytes text, double *ret_number);
/* The type of a canonical value, from its bytes. */
KLP_PRIVATE int32_t json_type_of(struct kos_bytes text);
/* Like json_name_cmp(), quick where both names are ASCII as written. `plain` has no escapes. */
KLP_PRIVATE int json_compare(struct kos_bytes plain, struct kos_bytes name);

#endif
