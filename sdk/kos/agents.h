/* SPDX-License-Identifier: Apache-2.0
 *
 * kos.agents/1: the node's agents, for handlers that give them work. Right "agents". Since 1.0.
 *
 * The handler keeps the state of its tasks; the host keeps agents and runs them. A run begins with `run` and ends with
 * exactly one `ended`. Starting is not idempotent: to run at most once, commit the fact that you are about to start
 * first.
 */
#ifndef KOS_AGENTS_H
#define KOS_AGENTS_H

#include <kos/host.h>

#define KOS_AGENTS "kos.agents/1"            /* asked of the host */
#define KOS_AGENTS_USER "kos.agents.user/1"  /* offered by the plugin */

struct kos_agent_info {
    uint32_t size;
    uint8_t id[KOS_ID_BYTES];
    const char *name;                 /* label, "echo" */
    const char *address;              /* klp://agent.echo.home.kai */
    const char *const *skills;        /* NULL-terminated */
    double trust_required;            /* of senders, on top of the policy */
    uint32_t concurrency;             /* runs at a time */
    uint32_t running;
    uint64_t output_max_bytes;        /* of one run */
};

struct kos_run {
    uint32_t size;
    uint8_t agent[KOS_ID_BYTES];
    const char *task;                 /* the task's id, for the agent and the audit trail */
    const char *source;               /* who asks, klp:// text, for the audit trail and --stdio agents */
    struct kos_bytes inputs;          /* canonical JSON array of strings and {"base64": ...} */
    int64_t deadline_ms;              /* Unix ms: then it is ended with KOS_E_TIMEOUT */
    uint64_t output_credit_bytes;     /* how much output may be handed over before `credit` gives more */
    uint8_t source_id[KOS_ID_BYTES];  /* who asks: counts against its quota of concurrent tasks */
};

struct kos_agents {
    uint32_t size;
    /* By id, or by label; NULL when there is no such agent (any more). Valid until the next call of this table. In a
     * cell it reads the registry's copy that the host keeps up to date. */
    const struct kos_agent_info *(*by_id)(const struct kos_host *host, const uint8_t id[KOS_ID_BYTES]);
    const struct kos_agent_info *(*by_name)(const struct kos_host *host, const char *name);
    /* Starts a run: `ended` follows in any case: KOS_E_BUSY when `concurrency` are running, KOS_E_QUOTA when
     * the policy lets this source have no more tasks at a time, KOS_E_NOTFOUND. */
    void (*run)(const struct kos_host *host, uint64_t run, const struct kos_run *r);
    void (*credit)(const struct kos_host *host, uint64_t run, uint64_t bytes);
    /* Ends the whole process group (--exec) or asks the process (--stdio), then insists. -> ended(KOS_E_CANCELLED). */
    void (*cancel)(const struct kos_host *host, uint64_t run);
};

enum kos_output { KOS_OUTPUT_PART = 1 /* a piece of the answer */, KOS_OUTPUT_PROGRESS = 2 };

struct kos_agents_user {
    uint32_t size;
    /* PART: raw bytes of the answer (--exec: stdout as it comes; --stdio: the text or decoded base64 of one part).
     * PROGRESS: canonical JSON object {"fraction"?: 0..1, "text"?}. */
    void (*output)(void *self, uint64_t run, int32_t kind, struct kos_bytes bytes);
    /* status KOS_OK: it ended well; `result` is a canonical JSON object with what the executor knows ({"exit":0} for
     * --exec, the agent's own for --stdio). Else the error and a sentence (stderr's last line, at most 512 bytes);
     * retry 1 when trying again can help. `audit` is the digest (32 bytes) of the entry in the agent's audit trail. */
    void (*ended)(void *self, uint64_t run, int32_t status, struct kos_bytes result, const char *text, int32_t retry,
                  const uint8_t audit[32]);
};

#endif
