/* SPDX-License-Identifier: Apache-2.0
 * From a run that failed to the fewest steps and nodes with which it fails alike. */
#ifndef KOS_TESTS_SIM_SHRINK_H
#define KOS_TESTS_SIM_SHRINK_H

#include "sim.h"

typedef void sim_runner(const struct sim_options *options, struct sim_result *ret_result);
/* Prints the trace that is left. */
void sim_shrink(const struct sim_options *options, const struct sim_result *failed, sim_runner *run);

#endif
