/* SPDX-License-Identifier: Apache-2.0
 * Tests run, each in a child, and what is said of them. */
#ifndef KOS_CONFORM_REPORT_H
#define KOS_CONFORM_REPORT_H

#include "conform.h"

struct tally {
    int number, passed, skipped, broke;
    json_t *results;                    /* --json */
};
/* Runs one test and says how it went. */
void conform_test(const struct options *options, const struct module *module, const struct test *test,
                  enum hosting hosting, uint64_t seed, struct tally *tally);
/* What the module says of itself, asked in a child. False: it was said why. */
bool conform_describe(const struct options *options, struct module *ret_module, struct tally *tally);

#endif
