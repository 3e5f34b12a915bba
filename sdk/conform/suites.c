/* SPDX-License-Identifier: Apache-2.0
 * All suites, in the order in which they run. */
#include "conform.h"

extern const struct test suite_plugin[], suite_transport[], suite_handler[], suite_control[], suite_http_user[];

const struct test *const conform_suites[] = {
    suite_plugin, suite_transport, suite_handler, suite_control, suite_http_user, NULL,
};
void exercise_discovery(struct host *h) { (void)h; }
void exercise_bridge(struct host *h) { (void)h; }
void exercise_vector(struct host *h) { (void)h; }
void exercise_service(struct host *h) { (void)h; }
