/* SPDX-License-Identifier: Apache-2.0
 * Delta debugging over the steps (Zeller and Hildebrandt 2002, in its simplest form): runs of them are left out, half
 * as long each time nothing more can go, as long as the same kind of failure remains. */
#include "shrink.h"

#include <inttypes.h>
#include <stdlib.h>

enum { TRIES = 400 };

/* The same sentence but for its numbers: of another one with the same kind the cause may be another. */
static bool alike(const char *one, const char *other)
{
    while (*one && *other) {
        size_t one_digits = strspn(one, "0123456789"), other_digits = strspn(other, "0123456789");
        if (!one_digits != !other_digits || (!one_digits && *one != *other))
            return false;
        one += one_digits ? one_digits : 1;
        other += other_digits ? other_digits : 1;
    }
    return *one == *other;
}

static bool fails_alike(struct sim_options *options, const struct sim_result *failed, sim_runner *run,
                        struct sim_result *ret_result)
{
    struct sim_result result;
    run(options, &result);
    if (!result.failed || strcmp(result.kind, failed->kind) != 0 || !alike(result.what, failed->what))
        return false;
    *ret_result = result;
    return true;
}

static uint32_t kept(const uint8_t *off, uint32_t steps)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < steps; i++)
        count += !off[i];
    return count;
}

static uint32_t leave_out(struct sim_options *options, uint8_t *off, uint32_t steps, const struct sim_result *failed,
                          struct sim_result *result, sim_runner *run)
{
    uint32_t tries = 0;
    for (uint32_t chunk = steps; chunk && tries < TRIES; chunk /= 2)
        for (uint32_t from = 0; from < steps && tries < TRIES; from += chunk) {
            uint8_t *before = kos_memdup(off, steps);
            uint32_t to = from + chunk < steps ? from + chunk : steps;
            memset(off + from, 1, to - from);
            bool less = memcmp(before, off, steps) != 0;
            tries += less;
            if (less && !fails_alike(options, failed, run, result))
                memcpy(off, before, steps);
            free(before);
        }
    return tries;
}

void sim_shrink(const struct sim_options *failed_options, const struct sim_result *failed, sim_runner *run)
{
    struct sim_options options = *failed_options;
    struct sim_result result = *failed;
    uint32_t steps = failed->steps ? failed->steps : 240;
    uint8_t *off = kos_new(steps);
    options.off = off;
    options.trace = NULL;
    options.steps = steps;
    uint32_t nodes = failed->nodes ? failed->nodes : options.nodes;
    while (nodes > 2) {
        options.nodes = nodes - 1;
        if (!fails_alike(&options, failed, run, &result))
            break;
        nodes--;
    }
    options.nodes = nodes;
    uint32_t tries = leave_out(&options, off, steps, failed, &result, run);
    printf("shortest trace after %u tries: %u nodes, %u of %u steps:\n", tries, nodes, kept(off, steps), steps);
    options.trace = stdout;
    run(&options, &result);
    free(off);
}
