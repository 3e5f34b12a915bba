/* SPDX-License-Identifier: Apache-2.0
 * The environment of programs without a loop (kosctl; kosd before it has one): files, clocks, randomness, log. */
#ifndef KOS_CORE_PLAIN_H
#define KOS_CORE_PLAIN_H

#include "core/env.h"

struct kos_plain {
    struct kos_env env;       /* first */
    struct kos_env_ops ops;   /* timers, watches and work are NULL */
};
void kos_plain_init(struct kos_plain *plain);

#endif
