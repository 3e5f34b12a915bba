/* SPDX-License-Identifier: Apache-2.0
 *
 * Distances, in three widths, chosen by what the processor says when the plugin starts: one build runs on every machine
 * of its architecture and is fast on each. The code is the same for all; what differs is how wide a vector is and what
 * the compiler may use. Plain C in one file, because C++ templates built with wider instructions would be shared by the
 * linker with code that must not use them.
 */
#include <string.h>
#include "graph.h"


#define VECTOR(name_, bytes_) typedef float name_ __attribute__((vector_size(bytes_), aligned(4), may_alias))
VECTOR(v4, 16);
VECTOR(v8, 32);
VECTOR(v16, 64);

/* sum of TERM(a, b) over n floats: four sums, then the lanes of those, then what is left. */
#define SUM(V_, TERM_, a_, b_, n_, ret_)                                                      \
    do {                                                                                      \
        enum { L_ = sizeof(V_) / sizeof(float) };                                             \
        V_ s0 = { 0 }, s1 = { 0 }, s2 = { 0 }, s3 = { 0 };                                    \
        size_t i_ = 0;                                                                        \
        for (; i_ + 4 * L_ <= (n_); i_ += 4 * L_) {                                           \
            const V_ *x_ = (const V_ *)(const void *)((a_) + i_);                             \
            const V_ *y_ = (const V_ *)(const void *)((b_) + i_);                             \
            s0 += TERM_(x_[0], y_[0]);                                                        \
            s1 += TERM_(x_[1], y_[1]);                                                        \
            s2 += TERM_(x_[2], y_[2]);                                                        \
            s3 += TERM_(x_[3], y_[3]);                                                        \
        }                                                                                     \
        for (; i_ + L_ <= (n_); i_ += L_) {                                                   \
            const V_ *x_ = (const V_ *)(const void *)((a_) + i_);                             \
            const V_ *y_ = (const V_ *)(const void *)((b_) + i_);                             \
            s0 += TERM_(x_[0], y_[0]);                                                        \
        }                                                                                     \
        s0 = (s0 + s1) + (s2 + s3);                                                           \
        float t_[L_];                                                                         \
        memcpy(t_, &s0, sizeof t_);                                                           \
        for (size_t h_ = L_ / 2; h_ > 2; h_ /= 2)                                             \
            for (size_t l_ = 0; l_ < h_; l_++)                                                \
                t_[l_] += t_[l_ + h_];                                                        \
        (ret_) = (t_[0] + t_[1]) + (t_[2] + t_[3]);                                           \
        for (; i_ < (n_); i_++)                                                               \
            (ret_) += TERM_((a_)[i_], (b_)[i_]);                                              \
    } while (0)
#define TERM_L2(x_, y_) (((x_) - (y_)) * ((x_) - (y_)))
#define TERM_DOT(x_, y_) ((x_) * (y_))

/* A cosine point carries the inverse of its length behind its vector, 0 for a vector of zeros. */
#define SET(name_, text_, V_, target_)                                                        \
    target_ static float name_##_l2(const void *va, const void *vb, const void *dimension)    \
    {                                                                                         \
        const float *a = va, *b = vb;                                                         \
        size_t n = *(const size_t *)dimension;                                                \
        float sum;                                                                            \
        SUM(V_, TERM_L2, a, b, n, sum);                                                       \
        return sum;                                                                           \
    }                                                                                         \
    target_ static float name_##_ip(const void *va, const void *vb, const void *dimension)    \
    {                                                                                         \
        const float *a = va, *b = vb;                                                         \
        size_t n = *(const size_t *)dimension;                                                \
        float sum;                                                                            \
        SUM(V_, TERM_DOT, a, b, n, sum);                                                      \
        return -sum;                                                                          \
    }                                                                                         \
    target_ static float name_##_cosine(const void *va, const void *vb, const void *dimension) \
    {                                                                                         \
        const float *a = va, *b = vb;                                                         \
        size_t n = *(const size_t *)dimension;                                                \
        float sum;                                                                            \
        SUM(V_, TERM_DOT, a, b, n, sum);                                                      \
        return 1.0f - sum * a[n] * b[n];                                                      \
    }                                                                                         \
    target_ static float name_##_length2(const float *a, size_t n)                            \
    {                                                                                         \
        float sum;                                                                            \
        SUM(V_, TERM_DOT, a, a, n, sum);                                                      \
        return sum;                                                                           \
    }                                                                                         \
    static const struct distance_set name_ = { name_##_l2, name_##_ip, name_##_cosine, name_##_length2, text_ };

SET(base, "base", v4, )
#if defined(__x86_64__)
SET(avx2, "avx2", v8, __attribute__((target("avx2,fma"))))
SET(avx512, "avx512", v16, __attribute__((target("avx512f,avx2,fma"))))
#endif

const struct distance_set *distance_named(const char *name)
{
    if (strcmp(name, "base") == 0)
        return &base;
#if defined(__x86_64__)
    if (strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &avx2;
    if (strcmp(name, "avx512") == 0 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma"))
        return &avx512;
#endif
    return NULL;
}

const struct distance_set *distance_best(void)
{
    static const char *const names[] = { "avx512", "avx2" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (distance_named(names[i]))
            return distance_named(names[i]);
    return &base;
}
