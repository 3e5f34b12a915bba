/* SPDX-License-Identifier: Apache-2.0
 *
 * Stands in for check's header where fuzz targets use the fixtures of unit tests: an assertion that fails ends the
 * process as a crash, which is what a fuzzer looks for, and the library is not needed.
 */
#ifndef KOS_TESTS_FUZZ_CHECK_H
#define KOS_TESTS_FUZZ_CHECK_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ck_assert_msg(condition_, ...)                                    \
    do {                                                                  \
        if (!(condition_)) {                                              \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition_); \
            fprintf(stderr, __VA_ARGS__);                                 \
            fprintf(stderr, "\n");                                        \
            abort();                                                      \
        }                                                                 \
    } while (0)
#define ck_assert(condition_) ck_assert_msg((condition_), "false")
#define CK_COMPARE(type_, format_, a_, op_, b_)                                      \
    do {                                                                             \
        type_ left_ = (a_), right_ = (b_);                                           \
        ck_assert_msg(left_ op_ right_, "%" format_ " and %" format_, left_, right_); \
    } while (0)
#define ck_assert_int_eq(a_, b_) CK_COMPARE(intmax_t, PRIdMAX, a_, ==, b_)
#define ck_assert_uint_eq(a_, b_) CK_COMPARE(uintmax_t, PRIuMAX, a_, ==, b_)
#define ck_assert_uint_ne(a_, b_) CK_COMPARE(uintmax_t, PRIuMAX, a_, !=, b_)
#define ck_assert_uint_lt(a_, b_) CK_COMPARE(uintmax_t, PRIuMAX, a_, <, b_)
#define ck_assert_uint_le(a_, b_) CK_COMPARE(uintmax_t, PRIuMAX, a_, <=, b_)
#define ck_assert_uint_gt(a_, b_) CK_COMPARE(uintmax_t, PRIuMAX, a_, >, b_)
#define ck_assert_uint_ge(a_, b_) CK_COMPARE(uintmax_t, PRIuMAX, a_, >=, b_)
#define ck_assert_str_eq(a_, b_) ck_assert_msg(strcmp((a_), (b_)) == 0, "%s and %s", (a_), (b_))
#define ck_assert_ptr_null(a_) ck_assert((a_) == NULL)
#define ck_assert_ptr_nonnull(a_) ck_assert((a_) != NULL)

#endif
