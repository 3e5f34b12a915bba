/* SPDX-License-Identifier: Apache-2.0
 *
 * What the fuzz targets share. A target is a C file with the two functions below; it is linked with replay.c (any
 * compiler: runs its corpus in `make check`) or with libFuzzer (`make fuzz`). Each run begins anew: nothing is kept
 * from one input to the next, and no clock, socket or randomness but what the input and a fixed seed give.
 */
#ifndef KOS_TESTS_FUZZ_H
#define KOS_TESTS_FUZZ_H

#include <kos/bytes.h>
#include <klp/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Valid inputs, made by the code that writes what the target reads: so that fuzzing begins deep, also after a format
 * has changed. `put` takes a copy. */
typedef void fuzz_put(void *arg, struct kos_bytes input);
void fuzz_seeds(fuzz_put *put, void *arg);

/* A rule that was broken: told, and the process ends as a crash. */
#define FUZZ_CHECK(condition_)                                                                        \
    do {                                                                                              \
        if (!(condition_)) {                                                                          \
            fprintf(stderr, "%s:%d: broken rule: %s\n", __FILE__, __LINE__, #condition_);             \
            abort();                                                                                  \
        }                                                                                             \
    } while (0)

/* ---- the input as steps ---- */

struct fuzz_input { const uint8_t *at; size_t left; };

static inline struct fuzz_input fuzz_input(const uint8_t *data, size_t size)
{
    return (struct fuzz_input){ data, size };
}

/* What is not there reads as zero. */
static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
    if (!in->left)
        return 0;
    in->left--;
    return *in->at++;
}

static inline uint16_t fuzz_u16(struct fuzz_input *in)
{
    uint16_t high = fuzz_u8(in);
    return (uint16_t)(high << 8 | fuzz_u8(in));
}

static inline struct kos_bytes fuzz_take(struct fuzz_input *in, size_t len)
{
    struct kos_bytes bytes = kos_bytes(in->at, len < in->left ? len : in->left);
    in->at += bytes.len;
    in->left -= bytes.len;
    return bytes;
}

/* u16 length and so many bytes. */
static inline struct kos_bytes fuzz_run(struct fuzz_input *in)
{
    size_t len = fuzz_u16(in);
    return fuzz_take(in, len);
}

/* A copy at the end of its own allocation, so that a read beyond it is seen. free() it. */
static inline uint8_t *fuzz_copy(struct kos_bytes bytes)
{
    uint8_t *copy = malloc(bytes.len ? bytes.len : 1);
    FUZZ_CHECK(copy);
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    return copy;
}

/* Reads every byte, so that a slice of what is not there is seen. */
static inline uint32_t fuzz_touch(const void *data, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum = sum * 31 + ((const uint8_t *)data)[i];
    return sum;
}

static inline bool fuzz_same(struct kos_bytes a, struct kos_bytes b)
{
    return a.len == b.len && (!a.len || memcmp(a.data, b.data, a.len) == 0);
}

/* ---- writing seeds ---- */

struct fuzz_out { size_t len; uint8_t data[1 << 17]; };

static inline void fuzz_add(struct fuzz_out *out, const void *data, size_t len)
{
    FUZZ_CHECK(len <= sizeof out->data - out->len);
    if (len)
        memcpy(out->data + out->len, data, len);
    out->len += len;
}

static inline void fuzz_add_u8(struct fuzz_out *out, uint8_t value)
{
    fuzz_add(out, &value, 1);
}

static inline void fuzz_add_u16(struct fuzz_out *out, size_t value)
{
    const uint8_t bytes[2] = { (uint8_t)(value >> 8), (uint8_t)value };
    FUZZ_CHECK(value <= 0xffff);
    fuzz_add(out, bytes, 2);
}

static inline void fuzz_add_run(struct fuzz_out *out, struct kos_bytes bytes)
{
    fuzz_add_u16(out, bytes.len);
    fuzz_add(out, bytes.data, bytes.len);
}

/* ---- keys and randomness that are the same each time ---- */

static inline void fuzz_fill(void *self, void *out, size_t len)
{
    uint64_t *state = self;
    for (size_t i = 0; i < len; i++) {
        *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        ((uint8_t *)out)[i] = (uint8_t)(*state >> 56);
    }
}

static inline struct klp_random fuzz_random(uint64_t *state)
{
    return (struct klp_random){ fuzz_fill, state };
}

#endif
