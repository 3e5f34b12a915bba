/* SPDX-License-Identifier: Apache-2.0
 * make bench-cell: what a cell costs. The same module is driven through the two backends of runtime/driver, in this
 * process and in a kos-cell that the spawner started and confined, by the same loop. Short rounds in turn, so that what
 * else the machine does meets both; a ratio is the median of the rounds' ratios, cell to process. On a machine that
 * others use, processor time (of both processes) says more than time.
 *
 *   cell FILE.json [ROUNDS [JOB]]     in a build directory; JOB: only the one of this name (cell_jobs.c)
 *
 * FILE.json: a list of {"name", "unit", "better", "process", "cell", "ratio", "runs", "min", "max"}: medians, and the
 * least and greatest ratio of a round. "ratio", "min" and "max" are null where in this process there is nothing. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cell.h"

enum { ROUND_MS = 60, ROUNDS_MAX = 101, STARTS = 15, RESULTS_MAX = 64 };

struct result {
    const char *name, *unit, *better;
    double value[SIDES], ratio, min, max;
    size_t runs;
};
static struct {
    struct bench bench;
    size_t rounds, count;
    struct result results[RESULTS_MAX];
    char names[RESULTS_MAX][40];
} b;

static double now(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) < 0)
        die("a clock cannot be read");
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- medians ---- */

static int ascending(const void *a, const void *c)
{
    double x = *(const double *)a, y = *(const double *)c;
    return (x > y) - (x < y);
}

static double median(const double *values, size_t count, double *ret_least, double *ret_greatest)
{
    double sorted[ROUNDS_MAX];
    memcpy(sorted, values, count * sizeof *values);
    qsort(sorted, count, sizeof *sorted, ascending);
    *ret_least = sorted[0];
    *ret_greatest = sorted[count - 1];
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

static const struct result *add(const char *name, const char *more, const char *unit, const char *better,
                                double values[SIDES][ROUNDS_MAX], size_t runs)
{
    struct result *r = &b.results[b.count];
    double ratios[ROUNDS_MAX];
    snprintf(b.names[b.count], sizeof b.names[0], "%s%s", name, more);
    r->name = b.names[b.count++];
    r->unit = unit;
    r->better = better;
    r->runs = runs;
    for (size_t i = 0; i < runs; i++)
        ratios[i] = values[PROCESS][i] > 0 ? values[CELL][i] / values[PROCESS][i] : 0;
    for (int side = 0; side < SIDES; side++)
        r->value[side] = median(values[side], runs, &r->min, &r->max);
    r->ratio = median(ratios, runs, &r->min, &r->max);
    if (r->value[PROCESS] <= 0)
        r->ratio = r->min = r->max = 0;
    return r;
}

/* ---- operations ---- */

struct spent {
    double seconds, cpu;
};

static struct spent spend(struct side *side, const struct job *job, uint64_t count, clockid_t cell)
{
    job_await(side, job, count);
    double cpu = now(CLOCK_PROCESS_CPUTIME_ID) + now(cell), from = now(CLOCK_MONOTONIC);
    job_run(side, job, count);
    return (struct spent){ now(CLOCK_MONOTONIC) - from, now(CLOCK_PROCESS_CPUTIME_ID) + now(cell) - cpu };
}

static void say(const char *what, const struct result *r, const struct result *cpu)
{
    char spread[40] = "";
    bool whole = r->value[CELL] >= 1000;
    if (r->ratio > 0)
        snprintf(spread, sizeof spread, "%8.3g (%.3g to %.3g)", r->ratio, r->min, r->max);
    printf("%-36s %10.*f %10.*f %-4s %-30s", what, whole ? 0 : 2, r->value[PROCESS], whole ? 0 : 2, r->value[CELL],
           r->unit, spread);
    if (cpu)
        printf(" %8.2f %8.2f %8.3g", cpu->value[PROCESS], cpu->value[CELL], cpu->ratio);
    putchar('\n');
}

static void measure(const struct job *job, clockid_t cell)
{
    static double took[SIDES][ROUNDS_MAX], cpu[SIDES][ROUNDS_MAX];
    uint64_t count[SIDES];
    for (int side = 0; side < SIDES; side++) {
        struct spent s = { 0 };
        /* As many as fill a round; the first of them warm up. */
        uint64_t most = side == CELL ? job_most(job) : UINT64_MAX / 4, n = 256;
        for (s = spend(&b.bench.side[side], job, n, cell); s.seconds < ROUND_MS / 4e3 && n * 2 <= most;) {
            n *= 2;
            s = spend(&b.bench.side[side], job, n, cell);
        }
        n = (uint64_t)((double)n * (ROUND_MS / 1e3) / s.seconds) + 1;
        count[side] = n < most ? n : most;
    }
    for (size_t i = 0; i < b.rounds; i++)
        for (size_t half = 0; half < SIDES; half++) { /* who goes first changes */
            size_t side = (i + half) % 2;
            struct spent s = spend(&b.bench.side[side], job, count[side], cell);
            took[side][i] = s.seconds / (double)count[side] * 1e6;
            cpu[side][i] = s.cpu / (double)count[side] * 1e6;
        }
    const struct result *busy = add(job->name, "_cpu", "us", "lower", cpu, b.rounds);
    if (job->window == 1) {
        say(job->what, add(job->name, "_latency", "us", "lower", took, b.rounds), busy);
        return;
    }
    for (int side = 0; side < SIDES; side++)
        for (size_t i = 0; i < b.rounds; i++)
            took[side][i] = 1e6 / took[side][i];
    const struct result *rate = add(job->name, "_rate", "1/s", "higher", took, b.rounds);
    say(job->what, rate, busy);
    for (int side = 0; side < SIDES && job->bytes; side++)
        for (size_t i = 0; i < b.rounds; i++)
            took[side][i] *= job->bytes;
    if (job->bytes)
        add(job->name, "_bytes", "B/s", "higher", took, b.rounds);
}

static void measure_all(const char *only)
{
    struct module module = { 0 };
    for (const struct job *job = cell_jobs; job->name; job++) {
        clockid_t cell;
        if (only && strcmp(only, job->name) != 0)
            continue;
        if (!module.path || module.path != job->module) {
            if (module.path) {
                side_end(&b.bench.side[PROCESS]);
                side_end(&b.bench.side[CELL]);
                module_close(&module);
            }
            module_open(&module, job->module);
            side_begin(&b.bench, PROCESS, &module);
            side_begin(&b.bench, CELL, &module);
        }
        if (clock_getcpuclockid((pid_t)side_pid(&b.bench.side[CELL]), &cell) != 0)
            die("the processor time of the cell cannot be read");
        measure(job, cell);
    }
    if (!module.path)
        die("there is no job %s", only);
    side_end(&b.bench.side[PROCESS]);
    side_end(&b.bench.side[CELL]);
    module_close(&module);
}

/* ---- beginning and memory ---- */

/* KiB, of a line of /proc/PID/status. */
static double status_kib(int64_t pid, const char *member)
{
    char path[64], line[256];
    double kib = -1;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/status", pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, member, strlen(member)) == 0 && line[strlen(member)] == ':')
            kib = atof(line + strlen(member) + 1);
    if (f)
        fclose(f);
    if (kib < 0)
        die("%s has no %s", path, member);
    return kib;
}

static void measure_starts(void)
{
    static double ms[SIDES][ROUNDS_MAX], all[SIDES][ROUNDS_MAX], own[SIDES][ROUNDS_MAX];
    struct module module;
    module_open(&module, cell_jobs[0].module);
    for (size_t i = 0; i < STARTS; i++)
        for (int hosting = 0; hosting < SIDES; hosting++) {
            struct side *side = &b.bench.side[hosting];
            double before[2] = { status_kib(getpid(), "VmRSS"), status_kib(getpid(), "RssAnon") };
            ms[hosting][i] = side_begin(&b.bench, hosting, &module) * 1e3;
            all[hosting][i] = hosting == CELL ? status_kib(side_pid(side), "VmRSS")
                                              : status_kib(getpid(), "VmRSS") - before[0];
            own[hosting][i] = hosting == CELL ? status_kib(side_pid(side), "RssAnon")
                                              : status_kib(getpid(), "RssAnon") - before[1];
            side_end(side);
        }
    module_close(&module);
    printf("\n%-36s %10s %10s\n", "one plugin more", "process", "cell");
    say("from its start to the end of init", add("start", "", "ms", "lower", ms, STARTS), NULL);
    say("resident memory", add("memory", "", "KiB", "lower", all, STARTS), NULL);
    say("of it not shared with files", add("memory_own", "", "KiB", "lower", own, STARTS), NULL);
}

/* ---- the report ---- */

static void number(FILE *f, const char *name, double value, bool there)
{
    if (there)
        fprintf(f, ",\"%s\":%.6g", name, value);
    else
        fprintf(f, ",\"%s\":null", name);
}

static void report(const char *path)
{
    FILE *f = fopen(path, "we");
    if (!f)
        die("%s cannot be written", path);
    for (size_t i = 0; i < b.count; i++) {
        const struct result *r = &b.results[i];
        fprintf(f, "%s{\"name\":\"%s\",\"unit\":\"%s\",\"better\":\"%s\",\"process\":%.6g,\"cell\":%.6g,\"runs\":%zu",
                i ? ",\n " : "[", r->name, r->unit, r->better, r->value[PROCESS], r->value[CELL], r->runs);
        number(f, "ratio", r->ratio, r->ratio > 0);
        number(f, "min", r->min, r->ratio > 0);
        number(f, "max", r->max, r->ratio > 0);
        fputc('}', f);
    }
    fputs("]\n", f);
    if (fclose(f) != 0)
        die("%s cannot be written", path);
}

int main(int argc, char **argv)
{
    b.rounds = argc > 2 ? (size_t)atoi(argv[2]) : 15;
    if (argc < 2 || b.rounds < 1 || b.rounds > ROUNDS_MAX)
        die("usage: cell FILE.json [ROUNDS, at most %d [JOB]]", ROUNDS_MAX);
    setvbuf(stdout, NULL, _IOLBF, 0);
    bench_begin(&b.bench);
    printf("built with %s; %zu rounds of %d ms, each way in turn\n\n", BENCH_CFLAGS, b.rounds, ROUND_MS);
    printf("%-36s %10s %10s %-4s %8s %-21s %8s %8s %8s\n", "", "process", "cell", "", "ratio", "(of rounds)", "cpu us",
           "cpu us", "ratio");
    measure_all(argc > 3 ? argv[3] : NULL);
    if (argc <= 3)
        measure_starts();
    bench_end(&b.bench);
    report(argv[1]);
    printf("\nwritten to %s\n", argv[1]);
    return 0;
}
