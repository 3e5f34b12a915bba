/* SPDX-License-Identifier: Apache-2.0
 *
 * A unit test program: TESTS("store/journal", test_a, test_b) after START_TEST ... END_TEST makes its main().
 * Output is TAP, for the harness of `make check`.
 */
#ifndef KOS_TESTS_UNIT_H
#define KOS_TESTS_UNIT_H

#include <check.h>
#include <stdlib.h>

#define TESTS(title_, ...)                                                                   \
    int main(void)                                                                           \
    {                                                                                        \
        const TTest *const all_[] = { __VA_ARGS__ };                                         \
        Suite *suite_ = suite_create(title_);                                                \
        for (size_t i_ = 0; i_ < sizeof all_ / sizeof *all_; i_++) {                         \
            TCase *tcase_ = tcase_create(all_[i_]->name);                                    \
            tcase_set_timeout(tcase_, 120); /* a hang ends; slow machines and sanitizers do not fail */ \
            tcase_add_test(tcase_, all_[i_]);                                                \
            suite_add_tcase(suite_, tcase_);                                                 \
        }                                                                                    \
        SRunner *runner_ = srunner_create(suite_);                                           \
        srunner_run_all(runner_, CK_ENV);                                                    \
        int failed_ = srunner_ntests_failed(runner_);                                        \
        srunner_free(runner_);                                                               \
        return failed_ ? EXIT_FAILURE : EXIT_SUCCESS;                                        \
    }

#endif
