/* SPDX-License-Identifier: Apache-2.0
 * All suites, in the order in which they run. */
#include "conform.h"

extern const struct test suite_plugin[], suite_transport[], suite_handler[], suite_discovery[], suite_bridge[],
    suite_vector[], suite_control[], suite_http_user[], suite_service[],
    suite_stream[];

const struct test *const conform_suites[] = {
    suite_plugin, suite_transport, suite_handler, suite_discovery, suite_bridge, suite_vector, suite_control,
    suite_http_user, suite_service, suite_stream, NULL,
};
