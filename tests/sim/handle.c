/* SPDX-License-Identifier: Apache-2.0
 * The handler of a node: each message has its effect in the transaction that settles it; a task runs a program at most
 * once, marked on disk before it begins, as plugins/handler/task_request does. The programs are played. */
#include "sim.h"

#include <stdlib.h>

struct sim_task { /* an open handle: a message, or an outcome */
    UT_hash_handle hh;
    uint64_t handle;
    struct klp_id id;
    bool running, ran;
};

struct kos_process {
    struct kos_process *next;
    struct sim_node *node;
    uint32_t life;
    uint64_t number;
    struct kos_launch launch;
    bool named, ended;
};

/* What a transaction of the handler or a sender waits for; `life`: the store may be another one by then. */
struct waits {
    struct sim_node *node;
    struct sim_message *message;
    uint64_t handle;
};

/* ---- effects ---- */

static struct sim_task *task_find(struct sim_node *node, uint64_t handle)
{
    struct sim_task *task;
    HASH_FIND(hh, node->tasks, &handle, sizeof handle, task);
    return task;
}

static struct sim_task *task_new(struct sim_node *node, uint64_t handle, const uint8_t *id)
{
    struct sim_task *task = task_find(node, handle);
    if (task)
        return task;
    task = kos_new(sizeof *task);
    task->handle = handle;
    memcpy(task->id.b, id, sizeof task->id.b);
    HASH_ADD(hh, node->tasks, handle, sizeof task->handle, task);
    return task;
}

/* Or an error: a disk that fails does not say that there is nothing. */
static int32_t count_of(struct sim_node *node, const char *space, const struct klp_id *id)
{
    uint8_t *value;
    size_t len;
    int32_t rc = kos_store_get(node->store, space, kos_bytes(id->b, sizeof id->b), &value, &len);
    if (rc < 0)
        return rc == KOS_E_NOTFOUND ? 0 : rc;
    int32_t count = value[0];
    free(value);
    return count;
}

static void settled(void *arg, int32_t status)
{
    struct waits *waits = arg;
    struct sim *sim = waits->node->sim;
    if (status >= 0 && waits->message) {
        waits->message->effects++;
        sim->result->effects++;
        sim_note(sim, waits->node, "effect of message %u is on disk", waits->message->number);
        if (waits->message->effects > 1 && !waits->message->excused)
            sim_fail(sim, "twice", "message %u had its effect %u times at %s", waits->message->number,
                     waits->message->effects, waits->node->name);
    }
    free(waits);
}

/* Reads a number, adds one and puts it back, in the transaction that settles. */
static int32_t settle(struct sim_node *node, struct sim_task *task)
{
    struct sim_message *message = sim_message_find(node->sim, task->id.b);
    int32_t before = task->handle & 1 ? 0 : count_of(node, "effects", &task->id);
    if (before < 0)
        return before;
    struct kos_mesh_tx *tx = kos_mesh_tx_begin(node->mesh);
    struct kos_tx *store = kos_mesh_tx_store(tx);
    struct waits *waits = kos_new(sizeof *waits);
    waits->node = node;
    if (!(task->handle & 1)) {
        uint8_t count = (uint8_t)(before + 1);
        if (count > 1 && message && !message->excused)
            sim_fail(node->sim, "twice", "message %u has its effect for the second time at %s", message->number,
                     node->name);
        kos_tx_put(store, "effects", kos_bytes(task->id.b, sizeof task->id.b), kos_bytes(&count, 1));
        kos_tx_delete(store, "started", kos_bytes(task->id.b, sizeof task->id.b));
        waits->message = message;
    }
    kos_mesh_tx_settle(tx, task->handle, KOS_ACCEPT, KOS_OK, "", 0);
    int32_t rc = kos_mesh_tx_commit(tx, settled, waits, NULL);
    if (rc < 0)
        free(waits);
    return rc;
}

static void run_marked(void *arg, int32_t status);

static void begin_run(struct sim_node *node, struct sim_task *task, struct sim_message *message)
{
    static const uint8_t one = 1;
    int32_t started = count_of(node, "started", &task->id);
    if (started < 0)
        return;
    if (started) { /* it may have run: nobody knows, and it does not run again */
        task->ran = true;
        return;
    }
    struct kos_tx *tx = kos_tx_begin(node->store);
    struct waits *waits = kos_new(sizeof *waits);
    *waits = (struct waits){ node, message, task->handle };
    kos_tx_put(tx, "started", kos_bytes(task->id.b, sizeof task->id.b), kos_bytes(&one, 1));
    task->running = kos_tx_commit(tx, run_marked, waits) >= 0;
    if (!task->running)
        free(waits);
}

static void run_marked(void *arg, int32_t status)
{
    struct waits *waits = arg;
    struct sim_node *node = waits->node;
    struct sim_task *task = task_find(node, waits->handle);
    if (status >= 0 && node->up && task && task->running) {
        char number[32];
        char *inputs = kos_format("[\"task %u\"]", waits->message->number);
        snprintf(number, sizeof number, "task-%u", waits->message->number);
        struct kos_run run = { .size = sizeof run,
                               .task = number,
                               .source = "klp://node.somebody",
                               .inputs = kos_bytes_str(inputs),
                               .deadline_ms = kos_now_ms(node->env) + 3600000,
                               .output_credit_bytes = 1 << 20 };
        memcpy(run.agent, node->worker.b, sizeof run.agent);
        kos_agents_run(node->agents, &node->owner, waits->handle, &run);
        free(inputs);
        sim_wake(node);
    }
    free(waits);
}

void sim_node_settle(struct sim_node *node, uint64_t handle)
{
    struct sim *sim = node->sim;
    struct sim_task *task = node->up ? task_find(node, handle) : NULL;
    if (!task || task->running)
        return;
    sim_enter(node);
    struct sim_message *message = sim_message_find(sim, task->id.b);
    if (!(handle & 1) && message && message->task && !task->ran && node->agents && kos_agents_count(node->agents)) {
        begin_run(node, task, message);
        if (!task->running)
            sim_at(sim, sim->now + 500 * SIM_MS, SIM_SETTLE, node, handle);
        sim_wake(node);
        return;
    }
    if (settle(node, task) >= 0) {
        HASH_DEL(node->tasks, task);
        free(task);
    } else {
        sim_at(sim, sim->now + 500 * SIM_MS, SIM_SETTLE, node, handle);
    }
    sim_wake(node);
}

/* ---- the sink ---- */

static struct sim_node *of_sink(struct kos_sink *sink)
{
    return (struct sim_node *)(void *)((char *)sink - offsetof(struct sim_node, sink));
}

static bool sink_takes(struct kos_sink *sink, const char *type)
{
    return sim_hosted_takes(of_sink(sink), type) || (strcmp(type, "NOTE") == 0 || strcmp(type, "FORBIDDEN") == 0);
}

static void sink_message(struct kos_sink *sink, uint64_t handle, const struct kos_message *m)
{
    struct sim_node *node = of_sink(sink);
    struct sim *sim = node->sim;
    struct sim_message *message = sim_message_find(sim, m->id);
    if (!message || message->to != node) {
        sim_fail(sim, "wrong_node", "%s is handed message %u, which is for %s", node->name,
                 message ? message->number : 0, message ? message->to->name : "nobody");
        return;
    }
    sim_note(sim, node, "message %u is handed over%s", message->number, m->again ? " again" : "");
    if (sim_hosted_takes(node, m->type)) {
        sim_hosted_sink(node)->ops->message(sim_hosted_sink(node), handle, m);
        return;
    }
    if (message->transient && ++message->handed > 1 + message->deferred)
        sim_fail(sim, "twice", "message %u, a transient one, is handed over %u times at %s", message->number,
                 message->handed, node->name);
    if (node->defers && !m->again) {
        node->defers--;
        message->deferred++;
        struct kos_mesh_tx *tx = kos_mesh_tx_begin(node->mesh);
        kos_mesh_tx_settle(tx, handle, KOS_DEFER, KOS_OK, "", 200);
        if (kos_mesh_tx_commit(tx, NULL, NULL, NULL) >= 0)
            return;
    }
    task_new(node, handle, m->id);
    sim_at(sim, sim->now + node->slow_ns, SIM_SETTLE, node, handle);
}

static bool sink_outcome(struct kos_sink *sink, uint64_t handle, const char *owner, const struct kos_outcome *outcome)
{
    struct sim_node *node = of_sink(sink);
    struct sim *sim = node->sim;
    struct sim_message *message = sim_message_find(sim, outcome->id);
    if (!message || message->from != node) {
        sim_fail(sim, "wrong_node", "%s hears of a message that it never sent", node->name);
        return true;
    }
    sim_note(sim, node, "message %u ended: %s %s", message->number, kos_error_name(outcome->status), outcome->text);
    message->told = true;
    message->outcome = outcome->status;
    if (strcmp(owner, "sim") != 0)
        return sim_hosted_sink(node)->ops->outcome(sim_hosted_sink(node), handle, owner, outcome);
    task_new(node, handle, outcome->id);
    sim_at(sim, sim->now, SIM_SETTLE, node, handle);
    return true;
}

static bool sink_holds(struct kos_sink *sink, uint64_t handle)
{
    struct sim_node *node = of_sink(sink);
    return task_find(node, handle) ||
           (node->hosting && sim_hosted_sink(node)->ops->holds(sim_hosted_sink(node), handle));
}

const struct kos_sink_ops sim_sink_ops = { sink_takes, sink_message, sink_outcome, sink_holds };

/* ---- processes ---- */

static struct sim_node *of_launcher(struct kos_launcher *launcher)
{
    return (struct sim_node *)(void *)((char *)launcher - offsetof(struct sim_node, launcher));
}

static int32_t process_start(struct kos_launcher *launcher, const struct kos_launch *launch,
                             struct kos_process **ret_process, struct kos_error *ret_error)
{
    struct sim_node *node = of_launcher(launcher);
    struct kos_process *process = kos_new(sizeof *process);
    (void)ret_error;
    process->node = node;
    process->life = node->life;
    process->launch = *launch;
    process->number = node->process_number++;
    LL_PREPEND(node->processes, process);
    sim_at(node->sim, node->sim->now + 300 * SIM_MS, SIM_EXIT, node, process->number);
    *ret_process = process;
    return KOS_OK;
}

/* What a program is told on its standard input says which task this is. */
static int32_t process_write(struct kos_process *process, struct kos_bytes bytes)
{
    struct sim *sim = process->node->sim;
    unsigned number;
    char text[64];
    snprintf(text, sizeof text, "%.*s", (int)(bytes.len < 60 ? bytes.len : 60), (const char *)bytes.data);
    const char *at = strstr(text, "task ");
    if (process->named || !at || sscanf(at + 5, "%u", &number) != 1)
        return KOS_OK;
    process->named = true;
    sim->result->tasks++;
    for (struct sim_message *message = sim->messages; message; message = message->hh.next)
        if (message->number == number) {
            sim_note(sim, process->node, "task of message %u runs", number);
            if (++message->runs > 1 && !message->excused)
                sim_fail(sim, "ran_twice", "the task of message %u ran %u times at %s", number, message->runs,
                         process->node->name);
        }
    return KOS_OK;
}

static void process_close_stdin(struct kos_process *process)
{
    (void)process;
}

static void process_credit(struct kos_process *process, uint64_t bytes)
{
    (void)process, (void)bytes;
}

static void process_kill(struct kos_process *process, bool now)
{
    (void)now;
    sim_at(process->node->sim, 0, SIM_EXIT, process->node, process->number);
}

const struct kos_launcher_ops sim_launcher_ops = { process_start, process_write, process_close_stdin, process_credit,
                                                      process_kill };

void sim_node_task_exit(struct sim_node *node, uint64_t number)
{
    struct kos_process *process;
    LL_FOREACH(node->processes, process)
    if (process->number == number)
        break;
    if (!process)
        return;
    LL_DELETE(node->processes, process);
    if (node->up && process->life == node->life) {
        sim_enter(node);
        if (node->hosting)
            sim_hosted_print(&process->launch);
        process->launch.exited(process->launch.arg, 0, NULL);
        sim_wake(node);
    }
    free(process);
}

static void run_output(struct kos_agents_owner *owner, uint64_t run, int32_t kind, struct kos_bytes bytes)
{
    (void)owner, (void)run, (void)kind, (void)bytes;
}

static void run_ended(struct kos_agents_owner *owner, uint64_t run, int32_t status, struct kos_bytes result,
                      const char *text, int32_t retry, const uint8_t audit[32])
{
    struct sim_node *node = (struct sim_node *)(void *)((char *)owner - offsetof(struct sim_node, owner));
    struct sim_task *task = task_find(node, run);
    (void)result, (void)text, (void)retry, (void)audit;
    sim_note(node->sim, node, "run %llu ended: %s", (unsigned long long)run, kos_error_name(status));
    if (!task)
        return;
    task->running = false;
    task->ran = true;
    sim_at(node->sim, 0, SIM_SETTLE, node, run);
}

const struct kos_agents_owner_ops sim_owner_ops = { run_output, run_ended };

void sim_tasks_free(struct sim_node *node)
{
    struct sim_task *task, *next;
    HASH_ITER(hh, node->tasks, task, next) {
        HASH_DEL(node->tasks, task);
        free(task);
    }
}

void sim_processes_free(struct sim_node *node)
{
    while (node->processes) {
        struct kos_process *process = node->processes;
        node->processes = process->next;
        free(process);
    }
}
