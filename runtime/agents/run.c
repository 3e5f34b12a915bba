/* SPDX-License-Identifier: Apache-2.0
 * Runs: admitted, bounded, ended once. */
#include "agents/private.h"

#include <klp/json.h>
#include <stdlib.h>
#include <utlist.h>

static struct run *find(struct kos_registry *registry, struct kos_agents_owner *owner, uint64_t id)
{
    struct run_key key;
    struct run *run;
    memset(&key, 0, sizeof key);
    key.owner = owner;
    key.id = id;
    HASH_FIND(hh, registry->runs, &key, sizeof key, run);
    return run;
}

void run_free(struct run *run)
{
    struct kos_env *env = run->registry->env;
    if (run->started)
        DL_DELETE(run->agent->runs, run);
    HASH_DEL(run->registry->runs, run);
    kos_undefer(env, &run->end);
    kos_timer_free(env, run->deadline);
    free(run->task);
    free(run->source);
    free(run->result);
    free(run);
}

static void end(struct kos_deferred *deferred)
{
    struct run *run = (struct run *)((char *)deferred - offsetof(struct run, end));
    struct agent *agent = run->agent;
    struct klp_digest audit = { { 0 } };
    if (run->started) {
        agent->info.running--;
        if (run->status < 0)
            agent->failed++;
        else
            agent->done++;
        int32_t rc = audit_run_ended(run, &audit);
        if (rc < 0)
            kos_log(run->registry->env, KOS_LOG_ERROR, "agents",
                    "the end of task %s is missing from the audit trail of agent %s: %s", run->task, agent->name,
                    kos_error_text(rc));
    }
    struct kos_agents_owner *owner = run->key.owner;
    uint64_t id = run->key.id;
    uint8_t *result = run->result;
    size_t len = run->result_len;
    int32_t status = run->status, retry = run->retry;
    char text[TEXT_MAX];
    memcpy(text, run->text, sizeof text);
    run->result = NULL;
    if (agent)
        agent_idle(agent);
    kos_defer(run->registry->env, &run->registry->stop_check);
    run_free(run); /* first, so that the owner may start the next run of this agent, or use the id again */
    owner->ops->ended(owner, id, status, kos_bytes(result, len), text, retry, audit.b);
    free(result);
}

void run_end(struct run *run, int32_t status, struct kos_bytes result, const char *text, int32_t retry)
{
    if (run->ending)
        return;
    run->ending = true;
    if (run->deadline)
        kos_timer_stop(run->registry->env, run->deadline);
    if (run->reason) {
        status = run->reason;
        text = run->reason_text;
        retry = kos_error_retry(status) || status == KOS_E_INTERRUPTED;
    }
    run->status = status;
    run->retry = retry != 0;
    if (status == KOS_OK && result.len) {
        run->result = kos_memdup(result.data, result.len);
        run->result_len = result.len;
    }
    snprintf(run->text, sizeof run->text, "%s", text ? text : status < 0 ? kos_error_text(status) : "");
    run->end.run = end;
    kos_defer(run->registry->env, &run->end);
}

void run_stop(struct run *run, int32_t reason, const char *text)
{
    if (run->ending || run->reason)
        return;
    run->reason = reason;
    snprintf(run->reason_text, sizeof run->reason_text, "%s", text);
    if (run->started)
        run->agent->executor->stop(run);
    else
        run_end(run, reason, kos_bytes(NULL, 0), NULL, 0);
}

void run_output(struct run *run, int32_t kind, struct kos_bytes bytes)
{
    struct kos_agents_owner *owner = run->key.owner;
    uint64_t max = run->agent->info.output_max_bytes;
    if (run->reason || run->ending)
        return;
    if (kind == KOS_OUTPUT_PROGRESS) {
        owner->ops->output(owner, run->key.id, kind, bytes);
        return;
    }
    bool over = bytes.len > max - run->output_bytes;
    if (over)
        bytes.len = (size_t)(max - run->output_bytes);
    run->output_bytes += bytes.len;
    run->credit -= bytes.len < run->credit ? bytes.len : run->credit;
    crypto_hash_sha256_update(&run->output, bytes.data, bytes.len);
    if (bytes.len)
        owner->ops->output(owner, run->key.id, kind, bytes);
    if (over) {
        char size[64], text[TEXT_MAX];
        size_text(max, size, sizeof size);
        snprintf(text, sizeof text, "its output is larger than %s, the limit of agent %s", size, run->agent->name);
        run_stop(run, KOS_E_LIMIT, text);
    }
}

static void deadline_passed(void *arg)
{
    run_stop(arg, KOS_E_TIMEOUT, "the deadline passed while the agent was at work");
}

/* Why a run is not taken; KOS_OK when it is. */
static int32_t admit(struct run *run, const struct kos_run *r, struct kos_error *ret_error)
{
    struct kos_registry *registry = run->registry;
    struct agent *agent;
    HASH_FIND(hh, registry->agents, r->agent, sizeof agent->id, agent);
    if (!agent || agent->leaving)
        return kos_fail(ret_error, KOS_E_NOTFOUND, "there is no such agent here");
    run->agent = agent;
    if (registry->stopping)
        return kos_fail(ret_error, KOS_E_INTERRUPTED, "kosd is stopping");
    if (r->deadline_ms <= kos_now_ms(registry->env))
        return kos_fail(ret_error, KOS_E_TIMEOUT, "the deadline passed before agent %s began", agent->name);
    if (agent->info.running >= agent->info.concurrency)
        return kos_fail(ret_error, KOS_E_BUSY, "agent %s is at its limit of %u tasks at a time", agent->name,
                        agent->info.concurrency);
    if (!r->task || !r->source || strlen(r->task) > TASK_ID_MAX || strlen(r->source) > SOURCE_MAX)
        return kos_fail(ret_error, KOS_E_INVALID, "the task's id or source is missing or too long");
    int32_t rc = inputs_check(r->inputs, ret_error);
    if (rc < 0)
        return rc;
    klp_sha256(r->inputs, &run->input);
    run->task = kos_strdup(r->task);
    run->source = kos_strdup(r->source);
    rc = audit_run_started(run);
    return rc < 0 ? kos_fail(ret_error, rc, "the audit trail of agent %s cannot be continued, so it does not run: %s",
                             agent->name, kos_error_text(rc))
                  : rc;
}

void kos_agents_run(struct kos_registry *registry, struct kos_agents_owner *owner, uint64_t id, const struct kos_run *r)
{
    struct kos_error error;
    if (find(registry, owner, id)) {
        kos_log(registry->env, KOS_LOG_ERROR, "agents", "a plugin began run %llu, which is running",
                (unsigned long long)id);
        return;
    }
    struct run *run = kos_new(sizeof *run);
    run->registry = registry;
    run->key.owner = owner;
    run->key.id = id;
    run->credit = r->output_credit_bytes;
    run->deadline_ms = r->deadline_ms;
    crypto_hash_sha256_init(&run->output);
    HASH_ADD(hh, registry->runs, key, sizeof run->key, run);
    int32_t rc = admit(run, r, &error);
    if (rc < 0) {
        run_end(run, rc, kos_bytes(NULL, 0), error.text, kos_error_retry(rc) || rc == KOS_E_INTERRUPTED);
        return;
    }
    run->started = true;
    run->agent->info.running++;
    DL_APPEND(run->agent->runs, run);
    run->deadline = kos_timer_new(registry->env, deadline_passed, run);
    kos_timer_set(registry->env, run->deadline, (uint64_t)(r->deadline_ms - kos_now_ms(registry->env)));
    run->agent->executor->start(run, r->inputs);
}

void kos_agents_credit(struct kos_registry *registry, struct kos_agents_owner *owner, uint64_t id, uint64_t bytes)
{
    struct run *run = find(registry, owner, id);
    if (!run)
        return;
    run->credit = bytes > UINT64_MAX - run->credit ? UINT64_MAX : run->credit + bytes;
    if (run->started && !run->ending)
        run->agent->executor->credit(run);
}

void kos_agents_cancel(struct kos_registry *registry, struct kos_agents_owner *owner, uint64_t id)
{
    struct run *run = find(registry, owner, id);
    if (run)
        run_stop(run, KOS_E_CANCELLED, "it was cancelled");
}
