/* SPDX-License-Identifier: Apache-2.0
 * make bench-carrier: what the lower half of a message's way costs: session, records, link, host, driver, tcp and the
 * kernel's loopback, from a queued item to an item that came, between two processes that are nodes as kosd makes them.
 * On a machine that others use, processor time says more than time: it is what the figures are in.
 *
 *   carrier FILE.json [SECONDS [JOB]]     in a build directory; JOB: only the one of this name
 *
 * FILE.json: a list of {"name", "unit", "better", "sender", "receiver"}. The processor time of a cell is in the figure of
 * its node; its system calls and its memory are not. */
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "carrier.h"

enum { WARM_MS = 500, UP_MS = 20000, RESULTS_MAX = 96 };

static const struct job jobs[] = {
    { "small", "512 B, interactive", .bytes = 512, .klass = 1 },
    { "small_bulk", "512 B, bulk", .bytes = 512, .klass = 2 },
    { "run", "128 KiB, interactive", .bytes = 128 << 10, .klass = 1 },
    { "run_bulk", "128 KiB, bulk", .bytes = 128 << 10, .klass = 2 },
    { "lone", "512 B, one every 1 ms", .bytes = 512, .klass = 1, .pause_ms = 1 },
    { "small_cell", "512 B, interactive, cells", .bytes = 512, .klass = 1, .cell = true },
    { "run_cell", "128 KiB, interactive, cells", .bytes = 128 << 10, .klass = 1, .cell = true },
    { "idle", "7 sessions more, which is all that a node may have", .bytes = 1 << 20, .klass = 1, .sessions = 7 },
    { .name = NULL },
};

struct result {
    const char *job, *what, *unit;
    double value[ENDS];
};
static struct {
    struct result results[RESULTS_MAX];
    size_t count;
} b;

static void nap(long ms)
{
    const struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&t, NULL);
}

static int drop(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info, (void)kind, (void)at;
    return remove(path);
}

/* ---- what is seen at a moment ---- */

struct seen {
    double at, cpu[ENDS];
    uint64_t items[ENDS], bytes[ENDS], calls[ENDS], allocations[ENDS];
};

static double now(clockid_t clock)
{
    struct timespec t;
    return clock_gettime(clock, &t) < 0 ? 0 : (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_of(pid_t pid)
{
    clockid_t clock;
    return pid > 0 && clock_getcpuclockid(pid, &clock) == 0 ? now(clock) : 0;
}

static struct seen look(struct shared *shared, const pid_t pids[ENDS])
{
    struct seen seen = { .at = now(CLOCK_MONOTONIC) };
    for (int i = 0; i < ENDS; i++) {
        seen.cpu[i] = cpu_of(pids[i]) + cpu_of(atomic_load(&shared->cell[i]));
        seen.items[i] = atomic_load(&shared->spent[i].items);
        seen.bytes[i] = atomic_load(&shared->spent[i].bytes);
        seen.calls[i] = atomic_load(&shared->spent[i].calls);
        seen.allocations[i] = atomic_load(&shared->spent[i].allocations);
    }
    return seen;
}

/* ---- one job ---- */

static void add(const struct job *job, const char *what, const char *unit, double sender, double receiver)
{
    if (b.count == RESULTS_MAX)
        die("too many results");
    b.results[b.count++] = (struct result){ job->name, what, unit, { sender, receiver } };
}

static void alive(const pid_t pids[ENDS])
{
    for (int i = 0; i < ENDS; i++)
        if (pids[i] > 0 && waitpid(pids[i], NULL, WNOHANG) != 0)
            die("the %s ended", i == SENDER ? "sender" : "receiver");
}

static pid_t begin(struct shared *shared, int end, const struct job *job, const char *directory)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        die("fork: %s", strerror(errno));
    if (pid == 0) {
        char own[64];
        snprintf(own, sizeof own, "%s/%d", directory, end);
        node_init(end, job, own);
        node_run(shared, end, job, own);
    }
    return pid;
}

static void tell(const struct job *job, const struct seen *from, const struct seen *to)
{
    double value[4][ENDS], seconds = to->at - from->at;
    for (int i = 0; i < ENDS; i++) {
        double items = (double)(to->items[i] - from->items[i]), mib = (double)(to->bytes[i] - from->bytes[i]) / (1 << 20);
        double cpu = (to->cpu[i] - from->cpu[i]) * 1e6;
        value[0][i] = items / seconds;
        value[1][i] = mib > 0 ? cpu / (mib * 2048) : 0;
        value[2][i] = mib > 0 ? (double)(to->calls[i] - from->calls[i]) / mib : 0;
        value[3][i] = items > 0 ? (double)(to->allocations[i] - from->allocations[i]) / items : 0;
    }
    add(job, "items", "1/s", value[0][0], value[0][1]);
    add(job, "cpu_512", "us", value[1][0], value[1][1]);
    add(job, "calls_mib", "1", value[2][0], value[2][1]);
    add(job, "allocations_item", "1", value[3][0], value[3][1]);
    printf("%-28s %9.0f %9.1f %7.3f %7.3f %8.1f %8.1f %7.2f %7.2f\n", job->what, value[0][1],
           (double)(to->bytes[1] - from->bytes[1]) / seconds / 1e6, value[1][0], value[1][1], value[2][0], value[2][1],
           value[3][0], value[3][1]);
}

/* Of one session, by what more of them took. */
static void tell_memory(const struct job *job, const struct shared *shared)
{
    static const char *const what[] = { [MORE] = "fresh", [USED] = "used" };
    for (int stage = MORE; stage <= USED; stage++) {
        double value[ENDS];
        for (int i = 0; i < ENDS; i++)
            value[i] = (double)(atomic_load(&shared->live[i][stage]) - atomic_load(&shared->live[i][ONE])) / job->sessions;
        add(job, what[stage], "B", value[SENDER], value[RECEIVER]);
        printf("bytes of memory, an idle session, %-5s %9.0f %9.0f\n", what[stage], value[SENDER], value[RECEIVER]);
    }
}

static void measure(const struct job *job, long seconds, const char *directory)
{
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[ENDS] = { 0 };
    if (shared == MAP_FAILED)
        die("mmap: %s", strerror(errno));
    pids[RECEIVER] = begin(shared, RECEIVER, job, directory);
    for (int ms = 0; !atomic_load(&shared->up); ms++) {
        nap(1);
        alive(pids);
        if (ms > UP_MS)
            die("no session within %d s", UP_MS / 1000);
        if (!pids[SENDER] && atomic_load(&shared->port))
            pids[SENDER] = begin(shared, SENDER, job, directory);
    }
    nap(WARM_MS);
    struct seen from = look(shared, pids);
    nap(job->sessions ? 0 : seconds * 1000);
    struct seen to = look(shared, pids);
    alive(pids);
    if (job->sessions)
        tell_memory(job, shared);
    else
        tell(job, &from, &to);
    for (int i = 0; i < ENDS; i++) {
        int status;
        kill(pids[i], SIGTERM);
        if (waitpid(pids[i], &status, 0) < 0 || status != 0)
            die("the %s ended badly (wait status %d)", i == SENDER ? "sender" : "receiver", status);
    }
    munmap(shared, sizeof *shared);
}

static void report(const char *path)
{
    FILE *f = fopen(path, "we");
    for (size_t i = 0; f && i < b.count; i++) {
        const struct result *r = &b.results[i];
        fprintf(f, "%s{\"name\":\"%s_%s\",\"unit\":\"%s\",\"better\":\"%s\",\"sender\":%.6g,\"receiver\":%.6g}",
                i ? ",\n " : "[", r->job, r->what, r->unit, strcmp(r->what, "items") == 0 ? "higher" : "lower",
                r->value[SENDER], r->value[RECEIVER]);
    }
    if (!f || fputs("]\n", f) < 0 || fclose(f) != 0)
        die("%s cannot be written", path);
}

int main(int argc, char **argv)
{
    long seconds = argc > 2 ? atol(argv[2]) : 3;
    char directory[] = "/tmp/kos-bench-XXXXXX";
    if (argc < 2 || seconds < 1)
        die("usage: carrier FILE.json [SECONDS [JOB]]");
    if (!mkdtemp(directory))
        die("%s: %s", directory, strerror(errno));
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("built with %s; %ld s each; per end, sender and receiver\n\n", BENCH_CFLAGS, seconds);
    printf("%-28s %9s %9s %15s %17s %15s\n", "", "items/s", "MB/s", "cpu us of 512 B", "calls per MiB",
           "allocs per item");
    for (const struct job *job = jobs; job->name; job++) {
        char own[64];
        if (argc > 3 && strcmp(argv[3], job->name) != 0)
            continue;
        snprintf(own, sizeof own, "%s/%s", directory, job->name);
        if (mkdir(own, 0700) < 0)
            die("%s: %s", own, strerror(errno));
        measure(job, seconds, own);
    }
    nftw(directory, drop, 16, FTW_DEPTH | FTW_PHYS);
    report(argv[1]);
    printf("\nwritten to %s\n", argv[1]);
    return 0;
}
