/* SPDX-License-Identifier: Apache-2.0
 * sim: runs worlds by seed, each in a process of its own.
 *
 *   sim [--seed N] [--seeds A-B] [--plant NAME] [--nodes N] [--steps N] [--calm MESSAGES] [--trace] [--files]
 *     [--no-shrink] [--progress]
 *
 * Ends with 0 when all held, 1 when not, 2 when asked wrongly. */
#include "sim.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shrink.h"

enum { RUN_SECONDS = 300 };

/* In a child: what aborts there or hangs is a failure of that seed, and leaves nothing behind. */
static void run_apart(const struct sim_options *options, struct sim_result *ret_result)
{
    int ends[2];
    memset(ret_result, 0, sizeof *ret_result);
    fflush(NULL);
    if (pipe(ends) < 0)
        abort();
    pid_t child = fork();
    if (child < 0)
        abort();
    if (child == 0) {
        struct sim_result result;
        alarm(RUN_SECONDS);
        close(ends[0]);
        sim_run(options, &result);
        fflush(NULL);
        _exit(write(ends[1], &result, sizeof result) == sizeof result ? 0 : 1);
    }
    close(ends[1]);
    bool whole = read(ends[0], ret_result, sizeof *ret_result) == (ssize_t)sizeof *ret_result;
    close(ends[0]);
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (whole)
        return;
    ret_result->failed = 1;
    ret_result->steps = options->steps;
    snprintf(ret_result->kind, sizeof ret_result->kind, "%s",
             WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "hangs" : "crash");
    snprintf(ret_result->what, sizeof ret_result->what, "the process ended by %s %d",
             WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static enum sim_plant plant_by(const char *name)
{
    for (int i = 1; i < SIM_PLANTS; i++)
        if (strcmp(name, sim_plant_names[i]) == 0)
            return (enum sim_plant)i;
    fprintf(stderr, "sim: there is no plant %s; there are:", name);
    for (int i = 1; i < SIM_PLANTS; i++)
        fprintf(stderr, " %s", sim_plant_names[i]);
    fprintf(stderr, "\n");
    exit(2);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void say_failed(const struct sim_options *options, const struct sim_result *result)
{
    printf("seed %" PRIu64 " FAILED after %.3f s, %u nodes, %u steps: %s: %s\n", options->seed,
           (double)result->at_ns / 1e9, result->nodes, result->steps, result->kind, result->what);
}

static void say_run(const struct sim_options *options, const struct sim_result *result)
{
    char hex[65];
    printf("seed %" PRIu64 " %s %u nodes, %.0f s, %" PRIu64 " events, %" PRIu64 " messages, %" PRIu64
           " effects, %" PRIu64 " tasks, %" PRIu64 " crashes, digest %s\n",
           options->seed, result->failed ? "FAILED" : "ok", result->nodes, (double)result->at_ns / 1e9, result->events,
           result->messages, result->effects, result->tasks, result->crashes,
           sodium_bin2hex(hex, sizeof hex, result->digest, sizeof result->digest));
}

static void say_speed(const struct sim_result *result, double took)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("%.2f s, of the processor %.2f s, in which: %.0f events/s, %.0f turns/s, %.0f messages/s, %.0f KiB a node, "
           "%.1f virtual seconds\n", took, cpu,
           (double)result->events / cpu, (double)result->turns / cpu, (double)result->effects / cpu,
           (double)usage.ru_maxrss / result->nodes, (double)result->at_ns / 1e9);
}

static bool range(const char *text, uint64_t *ret_first, uint64_t *ret_last)
{
    return sscanf(text, "%" SCNu64 "-%" SCNu64, ret_first, ret_last) == 2;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = { { "seed", 1, NULL, 's' },     { "seeds", 1, NULL, 'S' },
                                           { "plant", 1, NULL, 'p' },    { "nodes", 1, NULL, 'n' },
                                           { "steps", 1, NULL, 'k' },    { "calm", 1, NULL, 'c' },
                                           { "trace", 0, NULL, 't' },    { "no-shrink", 0, NULL, 'N' },
                                           { "progress", 0, NULL, 'P' },  { "files", 0, NULL, 'f' },
                                           { NULL, 0, NULL, 0 } };
    struct sim_options options = { 0 };
    struct sim_result result;
    uint64_t first = 1, last = 1, failed = 0;
    bool shrinks = true, progress = false;
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;)
        switch (c) {
        case 's': first = last = strtoull(optarg, NULL, 10); break;
        case 'S':
            if (!range(optarg, &first, &last))
                return 2;
            break;
        case 'p': sim_planted = plant_by(optarg); break;
        case 'n': options.nodes = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'k': options.steps = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'c':
            options.calm = true;
            options.messages = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 't': options.trace = stdout; break;
        case 'N': shrinks = false; break;
        case 'f': options.files = true; break;
        case 'P': progress = true; break;
        default: return 2;
        }
    if (sodium_init() < 0)
        return 2;
    options.hosted_too = sim_hosted_prepare();
    double began = seconds();
    if (options.calm) {
        options.seed = first;
        sim_run(&options, &result);
        say_run(&options, &result);
        say_speed(&result, seconds() - began);
        if (result.failed)
            say_failed(&options, &result);
        return result.failed;
    }
    for (options.seed = first; options.seed <= last; options.seed++) {
        run_apart(&options, &result);
        if (first == last && !result.failed)
            say_run(&options, &result);
        if (progress && isatty(2))
            fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " seeds, %" PRIu64 " failed, %.0f s ", options.seed - first + 1,
                    last - first + 1, failed, seconds() - began);
        if (!result.failed)
            continue;
        failed++;
        say_failed(&options, &result);
        if (shrinks)
            sim_shrink(&options, &result, run_apart);
    }
    if (first != last)
        printf("seeds %" PRIu64 "-%" PRIu64 ": %" PRIu64 " held, %" PRIu64 " failed, %.1f s\n", first, last,
               last - first + 1 - failed, failed, seconds() - began);
    return failed ? 1 : 0;
}
