/* SPDX-License-Identifier: Apache-2.0
 * --stdio: one process that is kept, JSON lines both ways (kos-agent(7)). Here: its life. */
#include "agents/stdio.h"

#include <stdlib.h>
#include <sys/wait.h>

struct pump *pump_of(struct agent *agent)
{
    if (!agent->pump) {
        agent->pump = kos_new(sizeof *agent->pump);
        agent->pump->agent = agent;
        kos_buf_init(&agent->pump->line, LINE_MAX_BYTES);
    }
    return agent->pump;
}

static bool ending(const struct pump *pump)
{
    return pump->agent->leaving || pump->agent->registry->stopping;
}

static void out(void *arg, struct kos_bytes bytes)
{
    struct pump *pump = arg;
    pump_read(pump, bytes);
    if (!pump->process)
        return;
    pump->owed += bytes.len;
    if (pump->over)
        return;
    uint64_t owed = pump->owed;
    pump->owed = 0;
    pump->agent->registry->launcher->ops->credit(pump->process, owed);
}

static void err(void *arg, struct kos_bytes bytes)
{
    struct pump *pump = arg;
    tail_add(&pump->err, bytes);
}

static void writable(void *arg)
{
    (void)arg;
}

/* A process that did something useful starts anew at once; one that only dies, ever later. */
static void back_off(struct pump *pump)
{
    struct kos_env *env = pump->agent->registry->env;
    pump->not_before_ms = kos_mono_ms(env) + pump->backoff_ms;
    pump->backoff_ms = pump->backoff_ms ? pump->backoff_ms * 2 : BACKOFF_FIRST_MS;
    if (pump->backoff_ms > BACKOFF_MAX_MS)
        pump->backoff_ms = BACKOFF_MAX_MS;
}

static void exited(void *arg, int32_t status, struct kos_error *error)
{
    struct pump *pump = arg;
    struct agent *agent = pump->agent;
    struct kos_env *env = agent->registry->env;
    char line[TEXT_MAX], how[160], text[2 * TEXT_MAX];
    bool lost = error && error->code == KOS_E_CLOSED, ours = pump->why[0] != 0;
    tail_line(&pump->err, line, sizeof line - sizeof how);
    status_text(status, how, sizeof how);
    if (ours)
        snprintf(text, sizeof text, "%s", pump->why);
    else if (error)
        snprintf(text, sizeof text, "%s", error->text);
    else
        snprintf(text, sizeof text, "its process is gone: %s%s%s", how, *line ? "; the last it said: " : "", line);
    int32_t code = lost || ours ? KOS_E_INTERRUPTED : error ? error->code : KOS_E_AGENT;
    pump->process = NULL;
    pump->killed = pump->skipping = false;
    pump->owed = pump->nonsense = 0;
    kos_buf_reset(&pump->line);
    pump->err.len = 0;
    pump->why[0] = 0;
    if (!ending(pump))
        kos_log(env, KOS_LOG_WARNING, "agents", "agent %s: %s", agent->name,
                ours || error ? text : how);
    back_off(pump);
    tasks_lost(pump, code, text);
    requests_lost(pump, KOS_E_AGENT, text);
    if (ending(pump))
        agent_idle(agent);
    else if (pump->runs)
        pump_need(pump);
}

static void start(struct pump *pump)
{
    struct agent *agent = pump->agent;
    struct kos_launcher *launcher = agent->registry->launcher;
    struct kos_error error;
    struct kos_launch launch = { .name = agent->name, .command = agent->command, .directory = agent->directory,
                                 .arg = pump, .out = out, .err = err, .writable = writable, .exited = exited };
    int32_t rc = launcher->ops->start(launcher, &launch, &pump->process, &error);
    if (rc < 0) {
        pump->process = NULL;
        back_off(pump);
        /* Whoever waits hears it; a fresh attempt comes with the next task. */
        requests_lost(pump, rc, error.text);
        struct stdio_run *s, *next;
        HASH_ITER(hh, pump->runs, s, next)
            s->sent = true;
        tasks_lost(pump, rc, error.text);
        return;
    }
    launcher->ops->credit(pump->process, WINDOW);
    tasks_send(pump);
}

static void restart_due(void *arg)
{
    struct pump *pump = arg;
    if (!pump->process && pump->runs && !ending(pump))
        start(pump);
}

void pump_need(struct pump *pump)
{
    struct kos_env *env = pump->agent->registry->env;
    if (pump->process) {
        if (!pump->killed)
            tasks_send(pump);
        return;
    }
    uint64_t now = kos_mono_ms(env);
    if (!pump->restart)
        pump->restart = kos_timer_new(env, restart_due, pump);
    kos_timer_set(env, pump->restart, pump->not_before_ms > now ? pump->not_before_ms - now : 0);
}

int32_t pump_up(struct pump *pump)
{
    if (!pump->process && kos_mono_ms(pump->agent->registry->env) >= pump->not_before_ms)
        start(pump);
    return pump->process && !pump->killed ? KOS_OK : KOS_E_BUSY;
}

void pump_restart(struct pump *pump, const char *why)
{
    if (!pump->process || pump->killed)
        return;
    pump->killed = true;
    snprintf(pump->why, sizeof pump->why, "%s", why);
    pump->agent->registry->launcher->ops->kill(pump->process, true);
}

int32_t pump_write(struct pump *pump, struct kos_bytes line)
{
    if (!pump->process || pump->killed)
        return KOS_E_CLOSED;
    return pump->agent->registry->launcher->ops->write(pump->process, line);
}

static void agent_stop(struct agent *agent)
{
    struct pump *pump = agent->pump;
    if (!pump)
        return;
    if (pump->restart)
        kos_timer_stop(agent->registry->env, pump->restart);
    if (!pump->process) {
        tasks_lost(pump, KOS_E_INTERRUPTED, "the agent was stopped");
        return;
    }
    if (pump->killed)
        return;
    pump->killed = true;
    snprintf(pump->why, sizeof pump->why, "the agent was stopped");
    agent->registry->launcher->ops->kill(pump->process, false);
}

static bool agent_busy(const struct agent *agent)
{
    return agent->runs || (agent->pump && agent->pump->process);
}

static void stdio_agent_free(struct agent *agent)
{
    struct pump *pump = agent->pump;
    struct stdio_run *s, *next;
    if (!pump)
        return;
    HASH_ITER(hh, pump->runs, s, next)
        task_free(s);
    requests_free(pump);
    kos_timer_free(agent->registry->env, pump->restart);
    kos_buf_fini(&pump->line);
    free(pump);
    agent->pump = NULL;
}

const struct executor executor_stdio = {
    .name = "stdio", .start = task_start, .credit = task_credit, .stop = task_stop,
    .agent_stop = agent_stop, .agent_busy = agent_busy, .agent_free = stdio_agent_free,
};
