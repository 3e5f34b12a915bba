/* SPDX-License-Identifier: Apache-2.0
 * The parts of bench-cell: one plugin, hosted twice. */
#ifndef KOS_BENCH_CELL_H
#define KOS_BENCH_CELL_H

#include <stdbool.h>
#include "agents/agents.h"
#include "core/loop.h"
#include "driver/remote.h"
#include "host/cell.h"

enum { PROCESS, CELL, SIDES };

struct bench;
struct module {
    const char *path;
    char *absolute;
    char *name;
    json_t *description;
    struct kos_conf *conf;
};

/* One instance of the plugin, and the run that it is in. */
struct side {
    struct kos_services services;       /* first */
    struct bench *bench;
    int hosting;                        /* PROCESS or CELL */
    struct kos_backend *backend;
    struct kos_cell_process *process;
    bool begun, finished, exited;
    const struct job *job;
    bool over;                          /* the run */
    uint64_t count, sent, done;         /* of the run's operations */
    uint64_t ids;
    uint64_t second, asked;             /* what was asked within a second of the loop's clock */
    uint64_t near, far, credit;         /* links; bytes that `near` may send */
    uint64_t taken, left;               /* bytes for which `far` owes credit; that have left, of a message not whole */
    int links;
};
struct bench {
    struct kos_loop *loop;
    struct kos_env *env;
    struct kos_launcher *launcher;
    struct kos_cell_launcher *cells;
    char *program;                      /* kos-cell */
    char directory[32];
    struct side side[SIDES];
};

/* What is measured: `window` operations are under way at a time. */
struct job {
    const char *name, *what;
    const char *module;
    uint32_t window, bytes;             /* bytes: of a send; 0: not of links */
    uint32_t asks;                      /* of the host, per operation, as remote.h counts them */
    void (*prepare)(struct side *side); /* NULL: nothing */
    void (*submit)(struct side *side);  /* one more operation */
    void (*run)(struct side *side);     /* instead of submit: all of them */
};
extern const struct job cell_jobs[];    /* ends with one without a name */

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* cell_host.c */
void bench_begin(struct bench *bench);
void bench_end(struct bench *bench);
void module_open(struct module *module, const char *path);
void module_close(struct module *module);
/* The plugin runs there when it returns, seconds after it was begun with. */
double side_begin(struct bench *bench, int hosting, const struct module *module);
void side_end(struct side *side);
int64_t side_pid(struct side *side);    /* of a cell */
void side_wait(struct side *side, const bool *flag);

/* cell_jobs.c */
extern const struct kos_services_ops cell_services;
/* The most that a run of it may have. */
uint64_t job_most(const struct job *job);
/* Waits until so many operations can be run without asking the host more than a cell may. */
void job_await(struct side *side, const struct job *job, uint64_t count);
/* Runs `count` operations of the job, and returns when the last has come back. */
void job_run(struct side *side, const struct job *job, uint64_t count);

#endif
