/* SPDX-License-Identifier: Apache-2.0
 * Inside the executor of --stdio agents. Private to agents. */
#ifndef KOS_AGENTS_STDIO_H
#define KOS_AGENTS_STDIO_H

#include "agents/private.h"

enum {
    LINE_MAX_BYTES = 1 << 20, /* with its newline */
    NONSENSE_MAX = 16, /* in a row, then the process is started anew */
    CANCEL_MS = 2000,
    REQUEST_MS = 30000,
    STALL_MS = 30000,
    BACKOFF_FIRST_MS = 200,
    BACKOFF_MAX_MS = 60000,
    WINDOW = 256 << 10, /* of stdout read ahead of what was handled */
    PENDING_HIGH = 1 << 20,
    PENDING_LOW = 256 << 10,
    PENDING_MAX = 4 << 20, /* output of one run that waits for credit */
    REQUESTS_MAX = 16,
    WIRE_MAX = TASK_ID_MAX + 24,
};

struct stdio_run {
    UT_hash_handle hh;                /* by wire */
    struct pump *pump;
    struct run *run;
    char wire[WIRE_MAX];              /* the task's id on the lines */
    struct kos_buf line;              /* the task, until it is sent */
    bool sent, cancelled, over;       /* over: more than PENDING_HIGH waited and PENDING_LOW is not reached yet */
    struct kos_buf pending;
    struct kos_deferred flush;
    struct kos_timer *timer;          /* cancel's or stall's */
    /* the answer, while output still waits for credit */
    bool answered;
    int32_t status, retry;
    uint8_t *result;
    size_t result_len;
    char text[TEXT_MAX];
};

struct request {
    UT_hash_handle hh;                /* by id */
    struct pump *pump;
    char id[24];
    const char *answer;               /* member that holds it: "snapshot" */
    struct kos_timer *timer;
    kos_agents_answered *done;
    void *arg;
};

/* The process of an agent, and what goes on with it. */
struct pump {
    struct agent *agent;
    struct kos_process *process;      /* NULL: down */
    bool killed;                      /* told to end; what it still writes is not read */
    char why[256];                    /* why we ended it; "": it ended by itself */
    struct kos_buf line;
    bool skipping;                    /* within a line that is too long */
    uint32_t nonsense;                /* lines in a row */
    uint32_t over;                    /* runs that are */
    uint64_t owed;                    /* credit held back from the launcher meanwhile */
    uint64_t serial;
    uint64_t backoff_ms, not_before_ms;
    struct kos_timer *restart;
    struct tail err;
    struct stdio_run *runs;
    struct request *requests;
};

struct pump *pump_of(struct agent *agent);
/* Makes it run, now or when the back-off is over. */
void pump_need(struct pump *pump);
/* Starts it now if it is down. KOS_E_BUSY while the back-off lasts or it is being ended. */
int32_t pump_up(struct pump *pump);
/* Ends the process; the tasks it has end when it is gone. */
void pump_restart(struct pump *pump, const char *why);
int32_t pump_write(struct pump *pump, struct kos_bytes line);

/* stdio_task.c */
void task_part(struct stdio_run *s, struct kos_bytes bytes);
void task_answer(struct stdio_run *s, int32_t status, struct kos_bytes result, const char *text, int32_t retry);
/* Sends what waits; called when the process is up. */
void tasks_send(struct pump *pump);
/* The process is gone. */
void tasks_lost(struct pump *pump, int32_t code, const char *text);
void task_free(struct stdio_run *s);
void task_start(struct run *run, struct kos_bytes inputs);
void task_credit(struct run *run);
void task_stop(struct run *run);

/* stdio_line.c: what the agent says */
void pump_read(struct pump *pump, struct kos_bytes bytes);

/* stdio_request.c */
void requests_lost(struct pump *pump, int32_t code, const char *text);
void requests_free(struct pump *pump);
/* An answer by `id`; false when there is no such request or it makes no sense. */
bool request_answer(struct pump *pump, const char *id, json_t *message);
/* A loose JSON value to canonical bytes of at most RESULT_MAX, malloc'ed. KOS_E_LIMIT, KOS_E_AGENT. */
int32_t canonical_new(json_t *value, uint8_t **ret_data, size_t *ret_len, struct kos_error *ret_error);

#endif
