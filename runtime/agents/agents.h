/* SPDX-License-Identifier: Apache-2.0
 *
 * Agents of this node: registry, executors, audit trail. How processes are started is a launcher's business (spawn/).
 */
#ifndef KOS_AGENTS_AGENTS_H
#define KOS_AGENTS_AGENTS_H

#include <jansson.h>
#include <kos/agents.h>
#include "trust/trust.h"

struct kos_registry;

enum kos_executor { KOS_EXEC = 1 /* sh -c, a process per task */, KOS_STDIO = 2 /* one process, JSON lines */ };

/* ---- processes ---- */
struct kos_process;
struct kos_launch {
    const char *name;                 /* the agent's label, for logs */
    const char *command;              /* run by sh -c; nothing of a message is ever in it */
    const char *directory;            /* its own, read-write; $HOME and working directory */
    uint64_t memory_bytes, file_bytes, open_files, processes, cpu_seconds;  /* limits; 0 default */
    void *arg;
    /* All on the loop, never inside a call below. out: at most what was credited. exited comes last, exactly once, when
     * the process has ended and both pipes are drained: status as waitpid's. */
    void (*out)(void *arg, struct kos_bytes bytes);
    void (*err)(void *arg, struct kos_bytes bytes);
    void (*writable)(void *arg);      /* all that was written to stdin went out */
    /* error: NULL when it ran; else why it could not be started, or KOS_E_LIMIT and the limit that all its processes
     * together broke (it was killed), or KOS_E_CLOSED when its spawner was killed. The process is gone after it. */
    void (*exited)(void *arg, int32_t wait_status, struct kos_error *error);
};
struct kos_launcher;
struct kos_launcher_ops {
    int32_t (*start)(struct kos_launcher *launcher, const struct kos_launch *launch, struct kos_process **ret_process,
                     struct kos_error *ret_error);
    /* Taken whole into a bounded buffer (1 MiB and one message), or KOS_E_BUSY. */
    int32_t (*write)(struct kos_process *process, struct kos_bytes bytes);
    void (*close_stdin)(struct kos_process *process);                        /* after what was written */
    void (*credit)(struct kos_process *process, uint64_t bytes);             /* stdout may deliver so many more */
    /* The whole run: SIGTERM, SIGKILL after 2 s; now: SIGKILL. What it still writes to stdout is dropped. */
    void (*kill)(struct kos_process *process, bool now);
};
struct kos_launcher { const struct kos_launcher_ops *ops; };

/* ---- the registry ---- */
struct kos_agent_spec {
    const char *name;                 /* a label */
    const char *const *skills;        /* NULL-terminated, 1 to 64 of [a-z0-9-] */
    int32_t executor;
    const char *command;
    double trust_required;            /* 0 to 10 */
    uint32_t concurrency;             /* 1 to 256 */
    uint64_t output_max_bytes;        /* 0: 64 MiB */
};
struct kos_agents_options {
    const char *directory;            /* state/agents: each agent's own directory below, by id */
    const char *node_name;            /* for addresses: klp://agent.NAME.node_name */
};

/* Loads the registry from the store ("agent" space). */
int32_t kos_agents_new(struct kos_env *env, struct kos_store *store, struct kos_trust *trust,
                       struct kos_launcher *launcher, const struct kos_agents_options *options,
                       struct kos_registry **ret_agents, struct kos_error *ret_error);
/* After stop is done, or after the launcher is freed: processes that still run must not come back to it. Runs that
 * are still open get no `ended`. */
void kos_agents_free(struct kos_registry *agents);
/* Ends all runs and processes (KOS_E_INTERRUPTED); done when the last is gone. */
void kos_agents_stop(struct kos_registry *agents, void (*done)(void *arg), void *arg);
/* Makes identity (keys_agent_new), directory and record. done(status) when durable. KOS_E_EXISTS, KOS_E_INVALID. */
int32_t kos_agents_add(struct kos_registry *agents, const struct kos_agent_spec *spec,
                       void (*done)(void *arg, int32_t status), void *arg, struct klp_id *ret_id,
                       struct kos_error *ret_error);
/* Cancels its runs, revokes its log, keeps log, audit trail and directory. Not listed from now on; done when the record
 * is gone for good. */
int32_t kos_agents_remove(struct kos_registry *agents, const char *name, void (*done)(void *arg, int32_t status),
                          void *arg, struct kos_error *ret_error);
/* [{id, did, name, address, skills, executor, trust_required, concurrency, running, done, failed, audit{seq, head}}] */
json_t *kos_agents_list(struct kos_registry *agents);
/* Called after each change of the set (for the node record). */
void kos_agents_on_change(struct kos_registry *agents, void (*changed)(void *arg), void *arg);

const struct kos_agent_info *kos_agents_by_id(struct kos_registry *agents, const uint8_t id[KOS_ID_BYTES]);
const struct kos_agent_info *kos_agents_by_name(struct kos_registry *agents, const char *name);
size_t kos_agents_count(struct kos_registry *agents);
const struct kos_agent_info *kos_agents_at(struct kos_registry *agents, size_t index);

/* ---- runs: kos.agents/1 behind the host. `owner` tells plugins apart, ids are the owner's. ---- */
struct kos_agents_owner;
struct kos_agents_owner_ops {
    void (*output)(struct kos_agents_owner *owner, uint64_t run, int32_t kind, struct kos_bytes bytes);
    void (*ended)(struct kos_agents_owner *owner, uint64_t run, int32_t status, struct kos_bytes result,
                  const char *text, int32_t retry, const uint8_t audit[32]);
};
struct kos_agents_owner { const struct kos_agents_owner_ops *ops; };
void kos_agents_run(struct kos_registry *agents, struct kos_agents_owner *owner, uint64_t run, const struct kos_run *r);
void kos_agents_credit(struct kos_registry *agents, struct kos_agents_owner *owner, uint64_t run, uint64_t bytes);
void kos_agents_cancel(struct kos_registry *agents, struct kos_agents_owner *owner, uint64_t run);

/* ---- what migration needs of --stdio agents; verbs of kos-agent(7). Agents that run by --exec: KOS_E_UNSUPPORTED.
 * done comes later, exactly once: KOS_OK and the answer as canonical JSON; else an error and a sentence:
 * KOS_E_NOTFOUND, KOS_E_AGENT (it says no, or died), KOS_E_TIMEOUT (30 s), KOS_E_BUSY, KOS_E_LIMIT. ---- */
typedef void kos_agents_answered(void *arg, int32_t status, struct kos_bytes answer, const char *text);
/* answer: the agent's state, any JSON value of at most 512 KiB. */
void kos_agents_snapshot(struct kos_registry *agents, const uint8_t id[KOS_ID_BYTES], kos_agents_answered *done,
                         void *arg);
/* state: what a snapshot gave. answer: "null". */
void kos_agents_restore(struct kos_registry *agents, const uint8_t id[KOS_ID_BYTES], struct kos_bytes state,
                        kos_agents_answered *done, void *arg);
/* inputs: as a run's. answer: what the agent gives for them, any JSON value; it must be free of effects. */
void kos_agents_probe(struct kos_registry *agents, const uint8_t id[KOS_ID_BYTES], struct kos_bytes inputs,
                      kos_agents_answered *done, void *arg);

/* ---- the audit trail: space "audit", key id || u64 seq big-endian, value
 * {"entry":{...,"prior":"0x.."},"signature":"0x.."} ---- entry: {agent, at, event, key_event, prior, seq} and, by
 *   event: added    command (digest), executor, name
 *   run      input (digest of the inputs' JSON), source, task
 *   ended    bytes, input, output (digest of all parts), source, status (an error's name, or "ok"), task
 *   removed  nothing more
 * key_event is the event of the agent's log whose key signed (under KLP_TAG_AUDIT); prior is SHA-256 of the entry
 * before, zeros for the first. A transaction takes one entry per agent. */
int32_t kos_audit_append(struct kos_store *store, struct kos_tx *tx, const struct kos_identity *agent,
                         struct kos_bytes fields /* canonical object without agent, at, key_event, prior, seq */,
                         int64_t at, struct klp_digest *ret_digest);
/* How many entries there are, and the digest of the last (zeros: none). */
int32_t kos_audit_head(struct kos_store *store, const struct klp_id *agent, uint64_t *ret_entries,
                       struct klp_digest *ret_digest);
/* Reads the chain through: digests, order, signatures. */
int32_t kos_audit_check(struct kos_store *store, const struct klp_log *agent, uint64_t *ret_entries,
                        struct kos_error *ret_error);
/* Of a store that no node has open (kos_store_check): records read, and every trail is whole; the agents' logs are
 * read from keys_dir, with env. */
int32_t kos_agents_check(struct kos_env *env, const char *keys_dir, struct kos_store *store,
                         const struct kos_store_checker *checker, struct kos_error *ret_error);

#endif
