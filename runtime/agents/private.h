/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside agents: registry and runs on one side, executors on the other. Private to agents.
 *
 * A run's way: kos_agents_run -> executor.start -> run_output ... -> run_end, once. Whoever wants it to stop early
 * calls run_stop with the reason; the executor then brings it to its end, and that reason is what its owner hears.
 */
#ifndef KOS_AGENTS_PRIVATE_H
#define KOS_AGENTS_PRIVATE_H

#include <sodium.h>
#include <uthash.h>

#include "agents/agents.h"
#include "core/buf.h"

enum {
    AGENTS_MAX = 1024, SKILLS_MAX = 64, SKILL_LEN_MAX = 64, COMMAND_MAX = 8191, CONCURRENCY_MAX = 256,
    INPUTS_MAX = 1 << 20, RESULT_MAX = 512 << 10, TEXT_MAX = 512, TASK_ID_MAX = 128, SOURCE_MAX = 600, TAIL_MAX = 4096,
};
#define OUTPUT_DEFAULT UINT64_C(67108864)

struct agent;
struct run;
struct pump;

/* The last of what a process wrote to stderr. */
struct tail {
    size_t len;
    char data[TAIL_MAX];
};
void tail_add(struct tail *tail, struct kos_bytes bytes);
/* Its last line that is not blank: valid UTF-8, control characters escaped, at most cap - 1 bytes. "" when there is
 * none. */
void tail_line(const struct tail *tail, char *ret_text, size_t cap);
/* The same for any text of an agent. */
void clean_text(struct kos_bytes text, char *ret_text, size_t cap);
/* "it ended with exit status 3", "it was ended by signal 11 (Segmentation fault)". */
void status_text(int32_t wait_status, char *ret_text, size_t cap);
/* "64 MiB", "1000 bytes". */
void size_text(uint64_t bytes, char *ret_text, size_t cap);

/* Checks a run's inputs: canonical, an array of strings and {"base64": ...}. */
int32_t inputs_check(struct kos_bytes inputs, struct kos_error *ret_error);
/* Their bytes one after another, malloc'ed. */
int32_t inputs_join(struct kos_bytes inputs, uint8_t **ret_data, size_t *ret_len);
/* Base64 of an agent's JSON, malloc'ed. */
int32_t unbase64_new(struct kos_bytes text, uint8_t **ret_data, size_t *ret_len);

/* How an agent is run. All calls come from the loop; none calls run_end before it returns. */
struct executor {
    const char *name;
    void (*start)(struct run *run, struct kos_bytes inputs);
    void (*credit)(struct run *run);              /* run->credit grew from 0 or beyond */
    void (*stop)(struct run *run);                /* run->reason stands; bring it to run_end */
    void (*agent_stop)(struct agent *agent); /* end what the agent keeps between runs; agent_idle() when it is gone */
    bool (*agent_busy)(const struct agent *agent);/* such a thing exists */
    void (*agent_free)(struct agent *agent);      /* no callbacks any more */
};
extern const struct executor executor_exec, executor_stdio;

struct agent {
    UT_hash_handle hh;                /* by id */
    struct kos_registry *registry;
    struct klp_id id;
    struct kos_agent_info info;       /* its texts are the agent's */
    char *name, *address, *command, *directory;
    char **skills;
    int32_t executor_kind;
    const struct executor *executor;
    int64_t created;
    uint64_t done, failed;
    bool leaving;                     /* removed: not listed, no new runs */
    bool leaving_durable;
    bool committing;                  /* a transaction comes back to it */
    void (*removed)(void *arg, int32_t status);
    void *removed_arg;
    struct run *runs;                 /* utlist */
    struct pump *pump;                /* stdio's process */
    struct kos_deferred idle;
};

struct run_key {
    struct kos_agents_owner *owner;
    uint64_t id;
};

struct run {
    UT_hash_handle hh;                /* by key */
    struct run_key key;
    struct run *prev, *next;          /* of the agent */
    struct kos_registry *registry;
    struct agent *agent;              /* NULL: refused before it had one */
    char *task, *source;
    int64_t deadline_ms;
    uint64_t credit, output_bytes;
    crypto_hash_sha256_state output;
    struct klp_digest input;
    struct kos_timer *deadline;
    bool started;                     /* the executor has it */
    bool ending;                      /* run_end came; the owner hears it from `end` */
    int32_t reason;                   /* why it is stopped; KOS_OK: it is not */
    char reason_text[TEXT_MAX];
    /* the end */
    struct kos_deferred end;
    int32_t status, retry;
    uint8_t *result;
    size_t result_len;
    char text[TEXT_MAX];
    /* the executor's */
    union {
        struct exec_run *exec;
        struct stdio_run *stdio;
    };
};

/* From executors. Hands output over: takes it off the credit and counts it; beyond the limit the run is stopped. PART
 * must not be longer than run->credit. */
void run_output(struct run *run, int32_t kind, struct kos_bytes bytes);
/* The run is over. Text may be NULL. What run_stop said outranks it. */
void run_end(struct run *run, int32_t status, struct kos_bytes result, const char *text, int32_t retry);
void run_stop(struct run *run, int32_t reason, const char *text);
/* Something that kept an agent from leaving is gone. */
void agent_idle(struct agent *agent);
void run_free(struct run *run);

struct kos_registry {
    struct kos_env *env;
    struct kos_store *store;
    struct kos_trust *trust;
    struct kos_launcher *launcher;
    char *directory, *node_name;
    struct agent *agents;             /* uthash by id, in order of creation */
    struct agent **listed;            /* those not leaving, sorted by name */
    size_t listed_count;
    struct run *runs;                 /* uthash by key */
    struct kos_log_limit *limit;
    void (*changed)(void *arg);
    void *changed_arg;
    bool stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
    struct kos_deferred stop_check;
};

/* registry_store.c: records and trail. */
int32_t agent_record_put(struct kos_tx *tx, const struct agent *agent);
int32_t agents_load(struct kos_registry *registry, struct kos_error *ret_error);
struct agent *agent_new(struct kos_registry *registry, const struct klp_id *id, const struct kos_agent_spec *spec);
void agent_free(struct agent *agent);
void agent_counts_put(struct kos_tx *tx, const struct agent *agent);
int32_t spec_check(const struct kos_agent_spec *spec, struct kos_error *ret_error);
/* An entry of the agent's trail in a transaction of its own or the caller's (tx NULL: its own). */
int32_t agent_audit(struct agent *agent, struct kos_tx *tx, struct kos_bytes fields, struct klp_digest *ret_digest);
/* The trail's entries about a run. */
int32_t audit_run_started(struct run *run);
int32_t audit_run_ended(struct run *run, struct klp_digest *ret_digest);

#endif
