/* SPDX-License-Identifier: Apache-2.0
 *
 * A run of bytes that somebody else owns. It is valid for the call that passes it, unless the
 * member that carries it says longer. `data` may be NULL only when `len` is 0. This struct is a
 * value and frozen for major 1: it has no size member and never grows. Since 1.0.
 */
#ifndef KOS_BYTES_H
#define KOS_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct kos_bytes {
    const uint8_t *data;
    size_t len;
};

/* The function has the name of the struct, which C++ calls hiding its constructor: there the struct is always written
 * with `struct`. */
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
static inline struct kos_bytes kos_bytes(const void *data, size_t len)
{
    struct kos_bytes b = { (const uint8_t *)data, len };
    return b;
}
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

static inline struct kos_bytes kos_bytes_str(const char *text)
{
    return kos_bytes(text, text ? strlen(text) : 0);
}

/* Equal length and content. Not constant time: never for secrets. */
static inline bool kos_bytes_eq(struct kos_bytes a, struct kos_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

#endif
