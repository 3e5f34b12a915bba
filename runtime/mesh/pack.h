/* SPDX-License-Identifier: Apache-2.0
 * The mesh's own values in the store: integers in network order, runs of bytes behind a u32 length. Private. */
#ifndef KOS_MESH_PACK_H
#define KOS_MESH_PACK_H

#include "core/buf.h"
#include <klp/id.h>

static inline void pack_uint(struct kos_buf *out, uint64_t value, size_t bytes)
{
    uint8_t be[8];
    for (size_t i = 0; i < bytes; i++)
        be[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    (void)kos_buf_append(out, kos_bytes(be, bytes));
}

static inline void pack_raw(struct kos_buf *out, const void *data, size_t len)
{
    (void)kos_buf_append(out, kos_bytes(data, len));
}

static inline void pack_bytes(struct kos_buf *out, struct kos_bytes bytes)
{
    pack_uint(out, bytes.len, 4);
    (void)kos_buf_append(out, bytes);
}

/* Reads fail together: after the first that found too little, all give zero and `bad` is set. */
struct unpack {
    struct kos_bytes rest;
    bool bad;
};

static inline const uint8_t *unpack_raw(struct unpack *in, size_t len)
{
    if (in->bad || in->rest.len < len) {
        in->bad = true;
        return NULL;
    }
    const uint8_t *at = in->rest.data;
    in->rest = kos_bytes(at + len, in->rest.len - len);
    return at;
}

static inline uint64_t unpack_uint(struct unpack *in, size_t bytes)
{
    const uint8_t *at = unpack_raw(in, bytes);
    uint64_t value = 0;
    for (size_t i = 0; at && i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

static inline struct kos_bytes unpack_bytes(struct unpack *in)
{
    size_t len = (size_t)unpack_uint(in, 4);
    const uint8_t *at = unpack_raw(in, len);
    return at ? kos_bytes(at, len) : kos_bytes(NULL, 0);
}

static inline void unpack_into(struct unpack *in, void *out, size_t len)
{
    const uint8_t *at = unpack_raw(in, len);
    if (at)
        memcpy(out, at, len);
    else
        memset(out, 0, len);
}

/* A string: cut at cap - 1, always with its NUL. */
static inline void unpack_str(struct unpack *in, char *out, size_t cap)
{
    struct kos_bytes bytes = unpack_bytes(in);
    size_t len = bytes.len < cap - 1 ? bytes.len : cap - 1;
    if (len)
        memcpy(out, bytes.data, len);
    out[len] = 0;
}

#endif
