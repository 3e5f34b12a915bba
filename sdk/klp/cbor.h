/* SPDX-License-Identifier: Apache-2.0
 *
 * Deterministic CBOR (RFC 8949 section 4.2.1): the reader takes nothing else, so that one value has one encoding. No
 * indefinite lengths, shortest heads, shortest floats (one NaN), UTF-8, map keys unique and in the bytewise order of
 * their encodings.
 */
#ifndef KLP_CBOR_H
#define KLP_CBOR_H

#include <klp/crypto.h>

enum { KLP_CBOR_DEPTH_MAX = 64 /* arrays, maps and tags */ };

enum klp_cbor_type {
    KLP_CBOR_UINT = 0, KLP_CBOR_NINT = 1, KLP_CBOR_BYTES = 2, KLP_CBOR_TEXT = 3, KLP_CBOR_ARRAY = 4, KLP_CBOR_MAP = 5,
    KLP_CBOR_TAG = 6, KLP_CBOR_SIMPLE = 7, KLP_CBOR_FLOAT = 8
};
enum klp_cbor_simple { KLP_CBOR_FALSE = 20, KLP_CBOR_TRUE = 21, KLP_CBOR_NULL = 22, KLP_CBOR_UNDEFINED = 23 };

struct klp_cbor {
    int32_t type;
    uint64_t number;        /* UINT: it; NINT: -1 - it; ARRAY: items; MAP: pairs; TAG, SIMPLE: which */
    double real;            /* FLOAT */
    struct kos_bytes bytes; /* BYTES, TEXT: a slice of what was read */
};

/* Takes one head (of a string: all of it; of an array, map or tag: what is in it follows). KOS_E_CANONICAL. A count is
 * never more than what is left can hold. */
int32_t klp_cbor_next(struct kos_bytes *rest, struct klp_cbor *ret_item);
/* Takes one whole item, checked to its depth, as a slice. KOS_E_CANONICAL, KOS_E_LIMIT (depth). */
int32_t klp_cbor_item(struct kos_bytes *rest, struct kos_bytes *ret_item);
/* Checks that `data` is exactly one item of at most `max_bytes`. */
int32_t klp_cbor_check(struct kos_bytes data, size_t max_bytes);
/* The order of map keys by their encodings. */
int klp_cbor_key_cmp(struct kos_bytes a, struct kos_bytes b);

/* Writes into the caller's buffer; when it is too small, `len` goes on counting. Keys of maps come in order from the
 * caller (klp_cbor_check() says whether they did). */
struct klp_cbor_out { uint8_t *data; size_t cap, len; };
void klp_cbor_begin(struct klp_cbor_out *out, void *data, size_t cap);
void klp_cbor_put_uint(struct klp_cbor_out *out, uint64_t number);
void klp_cbor_put_int(struct klp_cbor_out *out, int64_t number);
void klp_cbor_put_bytes(struct klp_cbor_out *out, struct kos_bytes bytes);
void klp_cbor_put_text(struct klp_cbor_out *out, struct kos_bytes utf8);
void klp_cbor_put_array(struct klp_cbor_out *out, uint64_t items);
void klp_cbor_put_map(struct klp_cbor_out *out, uint64_t pairs);
void klp_cbor_put_tag(struct klp_cbor_out *out, uint64_t tag);
void klp_cbor_put_simple(struct klp_cbor_out *out, uint8_t which);
void klp_cbor_put_double(struct klp_cbor_out *out, double number); /* as the shortest float that is the same number */
void klp_cbor_put_raw(struct klp_cbor_out *out, struct kos_bytes encoded);
int32_t klp_cbor_end(struct klp_cbor_out *out, struct kos_bytes *ret_data); /* KOS_E_LIMIT */

#endif
