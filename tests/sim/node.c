/* SPDX-License-Identifier: Apache-2.0
 * A node's life: made, started, stopped, without power, back. And its handler: each message has its effect in the
 * transaction that settles it; a task runs a program at most once, marked on disk before it begins, as
 * plugins/handler/task_request does. */
#include "sim.h"

#include <stdlib.h>

#define KEYS "/node/keys"

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

void sim_enter(struct sim_node *node)
{
    node->sim->current = node;
    kos_manual_clock(node->manual, node->sim->now);
}

void sim_wake(struct sim_node *node)
{
    struct sim *sim = node->sim;
    if (node->turn_at <= sim->now + 1000)
        return;
    node->turn_at = sim->now + 1000; /* what comes within a microsecond shares the turn */
    sim_at(sim, node->turn_at, SIM_TURN, node, 0);
}

static void turn_later(struct sim_node *node, bool again)
{
    enum { TURN_NS = 20000 }; /* what a turn takes */
    uint64_t due = kos_manual_due_ns(node->manual);
    if (again || due < node->sim->now + TURN_NS)
        due = node->sim->now + TURN_NS;
    if (due >= node->turn_at)
        return;
    node->turn_at = due;
    sim_at(node->sim, due, SIM_TURN, node, 0);
}

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
    (void)sink;
    return strcmp(type, "UNKNOWN") != 0;
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
    if (node->defers && !m->again) {
        node->defers--;
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
    (void)owner;
    if (!message || message->from != node) {
        sim_fail(sim, "wrong_node", "%s hears of a message that it never sent", node->name);
        return true;
    }
    sim_note(sim, node, "message %u ended: %s %s", message->number, kos_error_name(outcome->status), outcome->text);
    message->told = true;
    message->outcome = outcome->status;
    task_new(node, handle, outcome->id);
    sim_at(sim, sim->now, SIM_SETTLE, node, handle);
    return true;
}

static bool sink_holds(struct kos_sink *sink, uint64_t handle)
{
    return task_find(of_sink(sink), handle) != NULL;
}

static const struct kos_sink_ops sink_ops = { sink_takes, sink_message, sink_outcome, sink_holds };

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

static const struct kos_launcher_ops launcher_ops = { process_start, process_write, process_close_stdin, process_credit,
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

static const struct kos_agents_owner_ops owner_ops = { run_output, run_ended };

/* ---- life ---- */

static void show_agents(struct sim_node *node)
{
    static const char *const skills[] = { "speak", NULL };
    struct kos_mesh_agent speaker = { node->speaker, "speaker", skills, 0 };
    if (node->has_agents && !node->retired)
        kos_mesh_agents_set(node->mesh, &speaker, 1);
}

static bool open_parts(struct sim_node *node, struct kos_error *error)
{
    struct kos_env *env = node->env;
    struct kos_store_options options = { .segment_bytes = 128 << 10, .checkpoint_bytes = 256 << 10 };
    if (node->sim->options->calm)
        options = (struct kos_store_options){ .segment_bytes = 1 << 20 };
    return kos_store_open(env, "/node/store", &options, &node->store, error) >= 0 &&
           kos_keys_open(env, KEYS, kos_bytes(NULL, 0), &node->keys, error) >= 0 &&
           kos_policy_load(env, "/node/policy.d", &node->policy, error) >= 0 &&
           kos_trust_new(env, node->store, node->keys, node->policy, &node->trust, error) >= 0;
}

static void close_parts(struct sim_node *node)
{
    kos_trust_free(node->trust);
    kos_policy_unref(node->policy);
    kos_store_close(node->store);
    kos_keys_close(node->keys);
    node->trust = NULL;
    node->policy = NULL;
    node->store = NULL;
    node->keys = NULL;
    kos_manual_settle(node->manual);
}

static bool start_agents(struct sim_node *node, struct kos_error *error)
{
    static const char *const skills[] = { "work", NULL };
    struct kos_agents_options options = { .directory = "/node/agents", .node_name = node->name };
    struct kos_agent_spec spec = {
        .name = "worker", .skills = skills, .executor = KOS_EXEC, .command = "true", .concurrency = 256
    };
    if (kos_agents_new(node->env, node->store, node->trust, &node->launcher, &options, &node->agents, error) < 0)
        return false;
    const struct kos_agent_info *worker = kos_agents_by_name(node->agents, "worker");
    if (worker)
        memcpy(node->worker.b, worker->id, sizeof node->worker.b);
    else if (kos_agents_add(node->agents, &spec, NULL, NULL, &node->worker, error) < 0)
        return false;
    return true;
}

bool sim_node_start(struct sim_node *node)
{
    struct sim *sim = node->sim;
    struct kos_error error = { 0 };
    static const char *const roles[] = { "peer", NULL };
    struct kos_mesh_options options = { .name = node->name, .roles = roles, .version = "sim" };
    options.limits = (struct kos_mesh_limits){ .outbox_bytes = SIM_OUTBOX,
                                               .outbox_per_target_bytes = SIM_OUTBOX_TARGET,
                                               .inbox_open = SIM_INBOX,
                                               .idle_ping_ms = 5000,
                                               .dead_ms = 15000,
                                               .session_ms = 60000 };
    if (sim->options->calm)
        options.limits = (struct kos_mesh_limits){ .idle_ping_ms = 30000 };
    sim_enter(node);
    if (!open_parts(node, &error) || (node->has_agents && !start_agents(node, &error)) ||
        kos_mesh_new(node->env, node->store, node->trust, &options, &node->mesh, &error) < 0) {
        sim_note(sim, node, "does not start: %s", error.text);
        kos_agents_free(node->agents);
        node->agents = NULL;
        close_parts(node);
        node->broken = error.code == KOS_E_CORRUPT && node->lied; /* it says so itself, and its disk is to blame */
        if (error.code == KOS_E_CORRUPT && !node->lied)
            sim_fail(sim, "corrupt", "%s: %s", node->name, error.text);
        return false;
    }
    node->up = true;
    node->life++;
    sim_note(sim, node, "is up");
    sim_check_started(node);
    show_agents(node);
    kos_mesh_start(node->mesh, &node->carrier, &node->sink);
    for (int i = 0; i < 2; i++)
        if (kos_mesh_listen(node->mesh, node->address[i], &error) >= 0)
            kos_mesh_endpoint_up(node->mesh, node->endpoint[i], node->address[i]);
    sim_wake(node);
    return true;
}

void sim_node_close(struct sim_node *node)
{
    struct sim_task *task, *next;
    node->up = node->stopping = node->stopped = false;
    node->endpoint[0] = node->endpoint[1] = 0;
    node->crash_ops = 0;
    node->turn_at = UINT64_MAX;
    kos_mesh_free(node->mesh);
    kos_agents_free(node->agents);
    node->mesh = NULL;
    node->agents = NULL;
    close_parts(node);
    HASH_ITER(hh, node->tasks, task, next)
    {
        HASH_DEL(node->tasks, task);
        free(task);
    }
}

void sim_node_crash(struct sim_node *node, bool torn, uint64_t back_ns)
{
    struct sim *sim = node->sim;
    struct sim_dice dice = sim_dice(sim->options->seed, UINT64_C(5000000) + sim->result->crashes++);
    sim_enter(node);
    sim_note(sim, node, "loses power%s", torn ? ", torn" : "");
    node->up = false;
    node->crash_ops = 0;
    if (torn)
        kos_manual_power_loss_torn(node->manual);
    else
        kos_manual_power_loss(node->manual);
    kos_manual_lie(node->manual, false);
    kos_manual_fail_files(node->manual, 1, KOS_E_IO); /* the dead write nothing more, while they are taken apart */
    if (node->lying)                                  /* what it had on disk, as far as it could know, may be gone */
        for (struct sim_message *message = sim->messages; message; message = message->hh.next)
            message->excused |= message->from == node || message->to == node;
    node->lying = false;
    sim_drop_ends(node, &dice);
    sim_node_close(node);
    kos_manual_fail_files(node->manual, 0, KOS_OK);
    sim_at(sim, sim->now + back_ns, SIM_UP, node, node->life);
}

static void stopped(void *arg)
{
    struct sim_node *node = arg;
    node->stopped = true;
}

void sim_node_stop(struct sim_node *node, uint64_t back_ns)
{
    sim_enter(node);
    sim_note(node->sim, node, "stops");
    node->stopping = true;
    node->back_ns = back_ns;
    kos_mesh_stop(node->mesh, stopped, node);
    sim_wake(node);
}

void sim_node_turn(struct sim_node *node)
{
    struct sim *sim = node->sim;
    if (!node->up)
        return;
    sim_enter(node);
    sim->result->turns++;
    bool again = kos_manual_turn(node->manual);
    if (sim->result->failed)
        return;
    sim_check_turn(node);
    if (node->crash_ops && kos_manual_file_ops(node->manual) >= node->crash_ops) {
        sim_node_crash(node, node->crash_torn, node->back_ns);
    } else if (node->stopped) {
        node->up = false;
        sim_drop_ends(node, NULL);
        sim_node_close(node);
        kos_manual_fail_files(node->manual, 0, KOS_OK);
        sim_note(sim, node, "has stopped");
        sim_at(sim, sim->now + node->back_ns, SIM_UP, node, node->life);
    } else {
        turn_later(node, again);
    }
}

/* ---- making ---- */

static void must(struct sim_node *node, int32_t rc, const struct kos_error *error)
{
    if (rc < 0)
        sim_fail(node->sim, "setup", "%s: %s", node->name, error && error->text[0] ? error->text : kos_error_text(rc));
}

static void steal_key(struct sim_node *node)
{
    char id[KLP_ID_TEXT];
    klp_id_text(&node->speaker, id);
    char *path = kos_format(KEYS "/agents/%s.key", id);
    must(node, kos_file_read_all(node->env, path, 1 << 16, &node->stolen_key, &node->stolen_len), NULL);
    free(path);
    path = kos_format(KEYS "/agents/%s.log", id);
    must(node, kos_file_read_all(node->env, path, 1 << 20, &node->stolen_log, &node->stolen_log_len), NULL);
    free(path);
}

void sim_node_give_back(struct sim_node *node)
{
    char id[KLP_ID_TEXT];
    klp_id_text(&node->speaker, id);
    char *path = kos_format(KEYS "/agents/%s.key", id);
    must(node, kos_file_write_all(node->env, path, 0600, kos_bytes(node->stolen_key, node->stolen_len)), NULL);
    free(path);
    path = kos_format(KEYS "/agents/%s.log", id);
    must(node, kos_file_write_all(node->env, path, 0600, kos_bytes(node->stolen_log, node->stolen_log_len)), NULL);
    free(path);
}

void sim_node_make(struct sim *sim, uint32_t index)
{
    /* Nobody but the node itself is ever trusted with 9. */
    static const char policy[] = "trust = { TASK_REQUEST = 5; FORBIDDEN = 9; };\n";
    static const char *const dirs[] = { "/node", "/node/policy.d", "/node/agents" };
    struct sim_node *node = &sim->nodes[index];
    struct kos_error error = { 0 };
    node->sim = sim;
    node->index = index;
    node->turn_at = UINT64_MAX;
    node->carrier.ops = &sim_carrier_ops;
    node->sink.ops = &sink_ops;
    node->launcher.ops = &launcher_ops;
    node->owner.ops = &owner_ops;
    snprintf(node->name, sizeof node->name, "n%u", index);
    snprintf(node->address[0], sizeof node->address[0], "mem://%s", node->name);
    snprintf(node->address[1], sizeof node->address[1], "gram://%s", node->name);
    node->manual = kos_manual_new(sim->options->seed * 4096 + index);
    node->env = kos_manual_env(node->manual);
    node->env->log_level = sim->options->trace ? KOS_LOG_NOTICE : KOS_LOG_ERROR;
    sim_plant_env(node->env);
    sim_enter(node);
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        must(node, node->env->ops->dir_make(node->env, dirs[i], 0700), NULL);
    node->env->ops->dir_sync(node->env, "/node");
    node->env->ops->dir_sync(node->env, "/");
    must(node, kos_keys_create(node->env, KEYS, KLP_ALG_ED25519, kos_bytes(NULL, 0), &error), &error);
    must(node, kos_file_write_all(node->env, "/node/policy.d/sim.klp-policy", 0600, kos_bytes_str(policy)), NULL);
    must(node, open_parts(node, &error) ? KOS_OK : KOS_E_INVALID, &error);
    if (sim->result->failed)
        return;
    node->id = *kos_identity_id(kos_keys_node(node->keys));
    node->has_agents = !sim->options->calm;
    node->rogue = sim->rogue && index == sim->count - 1;
    if (node->has_agents) {
        struct kos_identity *speaker;
        must(node, kos_keys_agent_new(node->keys, &speaker, &error), &error);
        node->speaker = *kos_identity_id(speaker);
        steal_key(node);
    }
}

/* As it lies in the store of a node that was connected once: `other` is known, trusted and, if so wished, dialled. */
void sim_node_meet(struct sim_node *node, struct sim_node *other, bool dials)
{
    static const uint8_t nobody[KLP_ID_LEN];
    struct sim *sim = node->sim;
    struct kos_error error = { 0 };
    struct kos_buf value;
    struct klp_id id;
    uint8_t *text;
    size_t len;
    if (node == other || sim->result->failed)
        return;
    sim_enter(node);
    struct kos_tx *tx = kos_tx_begin(node->store);
    kos_buf_init(&value, 256);
    pack_uint(&value, 1, 1);
    pack_uint(&value, 1, 1);
    pack_raw(&value, other->id.b, sizeof other->id.b);
    pack_uint(&value, 0, 1);
    pack_raw(&value, nobody, sizeof nobody);
    pack_uint(&value, 0, 1);
    if (dials)
        kos_tx_put(tx, "peer", kos_bytes_str(other->address[sim->datagrams_too && (node->index + other->index) % 2]),
                   kos_buf_bytes(&value));
    must(node, klp_log_text(kos_identity_log(kos_keys_node(other->keys)), 0, &text, &len), NULL);
    int32_t rc = kos_trust_learn(node->trust, tx, kos_bytes(text, len), &id, &error);
    must(node, rc < 0 ? rc : KOS_OK, &error);
    must(node, kos_trust_set(node->trust, tx, &other->id, 8, &error), &error);
    must(node, kos_tx_commit(tx, NULL, NULL), NULL);
    if (other->index < SIM_SCORES)
        node->score[other->index] = 8;
    free(text);
    kos_buf_fini(&value);
}

void sim_node_made(struct sim_node *node)
{
    sim_enter(node);
    close_parts(node);
}

void sim_node_free(struct sim_node *node)
{
    if (node->up) {
        sim_enter(node);
        node->up = false;
        sim_drop_ends(node, NULL);
        sim_node_close(node);
    } else if (node->store) {
        close_parts(node);
    }
    while (node->processes) {
        struct kos_process *process = node->processes;
        node->processes = process->next;
        free(process);
    }
    kos_manual_free(node->manual);
    free(node->stolen_key);
    free(node->stolen_log);
}

/* ---- what the operator and senders do ---- */

struct scored {
    struct sim_node *node;
    uint32_t other, life;
};

static void scored(void *arg, int32_t status)
{
    struct scored *scored = arg;
    if (status >= 0 && scored->node->life == scored->life)
        scored->node->score_open[scored->other] = false;
    free(scored);
}

void sim_node_score(struct sim_node *node, uint32_t other, uint8_t score)
{
    struct kos_tx *tx = kos_tx_begin(node->store);
    struct scored *arg = kos_new(sizeof *arg);
    *arg = (struct scored){ node, other, node->life };
    if (kos_trust_set(node->trust, tx, &node->sim->nodes[other].id, score, NULL) < 0) {
        kos_tx_abort(tx);
        free(arg);
        return;
    }
    if (kos_tx_commit(tx, scored, arg) < 0) {
        free(arg); /* the disk takes nothing: all is as it was */
        return;
    }
    if (!node->score_open[other])
        node->score_was[other] = node->score[other];
    node->score[other] = score;
    node->score_open[other] = true;
    sim_note(node->sim, node, "trusts %s with %u", node->sim->nodes[other].name, score);
    kos_mesh_trust_changed(node->mesh);
    sim_wake(node);
}

static void is_durable(void *arg, int32_t status)
{
    struct sim_message *message = arg;
    if (status < 0)
        return;
    message->durable = true;
    sim_note(message->sim, message->from, "message %u is on disk", message->number);
}

void sim_send(struct sim_node *from, struct sim_node *to, struct sim_dice *dice)
{
    struct sim *sim = from->sim;
    bool calm = sim->options->calm;
    struct sim_message *message = kos_new(sizeof *message);
    uint32_t kind = calm ? 10 : sim_roll(dice, 20);
    message->sim = sim;
    message->from = from;
    message->to = to;
    message->number = ++sim->message_count;
    message->forbidden = kind == 0 && from != to;
    message->task = kind >= 14 && to->has_agents;
    bool speaks = from->has_agents && (!from->retired || from->thief) && (from->thief || sim_roll(dice, 5) == 0);
    message->forged = from->rogue && from != to;
    struct kos_draft draft = { .size = sizeof draft,
                               .target = "",
                               .type = message->forbidden ? "FORBIDDEN" : "TASK_REQUEST",
                               .klass = sim_roll(dice, 3) ? KLP_CLASS_INTERACTIVE : KLP_CLASS_BULK };
    draft.expires_in_ms = kind < 5 ? 200 + sim_roll(dice, 20000) : 86400000;
    sim_enter(from);
    kos_random(from->env, message->id.b, sizeof message->id.b);
    memcpy(draft.id, message->id.b, sizeof draft.id);
    memcpy(draft.target_id, to->id.b, sizeof draft.target_id);
    if (speaks)
        memcpy(draft.from_agent, from->speaker.b, sizeof draft.from_agent);
    char *payload = kos_format(
        "{\"x\":\"%0*u\"}", (int)(calm ? 400 : 1 + sim_roll(dice, sim_roll(dice, 10) ? 500 : 40000)), message->number);
    draft.payload = kos_bytes_str(payload);
    struct kos_error error = { 0 };
    HASH_ADD(hh, sim->messages, id, sizeof message->id, message);
    struct kos_mesh_tx *tx = kos_mesh_tx_begin(from->mesh);
    kos_mesh_tx_send(tx, "sim", &draft);
    if (kos_mesh_tx_commit(tx, is_durable, message, &error) < 0) {
        sim_note(sim, from, "cannot send to %s: %s", to->name, error.text);
        message->outcome = error.code;
        message->told = true;
    } else {
        sim_note(sim, from, "sends message %u to %s%s%s%s%s", message->number, to->name,
                 message->task ? ", a task" : "", message->forbidden ? ", forbidden" : "",
                 message->forged ? ", forged" : "", speaks ? ", by its agent" : "");
    }
    free(payload);
    sim_wake(from);
}
