/* SPDX-License-Identifier: Apache-2.0
 * A node's life: made, started, stopped, without power, back. */
#include "sim.h"

#include <stdlib.h>

#define KEYS "/node/keys"
#define POLICY "/node/policy.d/sim.klp-policy"

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

/* ---- life ---- */

void sim_node_agents(struct sim_node *node)
{
    static const char *const skills[] = { "speak", NULL };
    struct kos_mesh_agent both[] = { { node->worker, "worker", skills, 0 }, { node->speaker, "speaker", skills, 0 } };
    if (node->has_agents)
        kos_mesh_agents_set(node->mesh, both, node->retired ? 1 : 2);
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

static void free_parts(struct sim_node *node)
{
    kos_hosting_free(node->hosting);
    kos_mesh_free(node->mesh);
    kos_agents_free(node->agents);
    node->hosting = NULL;
    node->mesh = NULL;
    node->agents = NULL;
}

/* Nobody but the node itself is ever trusted with 9. */
static int32_t policy_write(struct sim_node *node, uint8_t need)
{
    char *text = kos_format("trust = { TASK_REQUEST = %u; NOTE = %u; FORBIDDEN = 9; };\n"
                            "plugins = { task_request = { module = \"task_request.so\"; isolate = false;\n"
                            "  rights = [ \"agents\", \"send\" ]; }; };\n", need, need);
    int32_t rc = kos_file_write_all(node->env, POLICY, 0600, kos_bytes_str(text));
    free(text);
    return rc;
}

/* Which one is there after power was lost or a write failed, the file says. */
static int32_t policy_read(struct sim_node *node)
{
    uint8_t *text;
    size_t len;
    unsigned need = 0;
    int32_t rc = kos_file_read_all(node->env, POLICY, 4096, &text, &len);
    if (rc < 0)
        return rc;
    bool whole = sscanf((char *)text, "trust = { TASK_REQUEST = %u", &need) == 1;
    free(text);
    if (!whole && !node->lied)
        sim_fail(node->sim, "policy", "%s has no policy any more", node->name);
    if (!whole)
        return KOS_E_CORRUPT;
    node->need = (uint8_t)need;
    return KOS_OK;
}

bool sim_node_policy(struct sim_node *node, uint8_t need)
{
    struct kos_policy *policy;
    struct kos_error error;
    uint8_t was = node->need;
    if (policy_write(node, need) < 0 || kos_policy_load(node->env, "/node/policy.d", &policy, &error) < 0)
        return false;
    if (policy_read(node) < 0) {
        node->need = was;
        kos_policy_unref(policy);
        return false;
    }
    kos_trust_set_policy(node->trust, policy);
    kos_policy_unref(node->policy);
    node->policy = policy;
    kos_mesh_trust_changed(node->mesh);
    sim_note(node->sim, node, "asks a score of %u now", node->need);
    sim_wake(node);
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
    bool fault = node->start_fault != 0;
    if (fault)
        kos_manual_fail_file_once(node->manual, node->start_fault, KOS_E_IO);
    node->start_fault = 0;
    /* The policy first: one that a lying disk spoilt may be none, which is no error. */
    int32_t rc = policy_read(node);
    if (rc < 0)
        kos_fail(&error, rc, "its policy cannot be read");
    if (rc < 0 || !open_parts(node, &error) || (node->has_agents && !start_agents(node, &error)) ||
        kos_mesh_new(node->env, node->store, node->trust, &options, &node->mesh, &error) < 0 ||
        (sim->hosted && sim_hosted_start(node, &error) < 0)) {
        sim_note(sim, node, "does not start: %s", error.text);
        free_parts(node);
        close_parts(node);
        node->broken = error.code == KOS_E_CORRUPT && node->lied; /* it says so itself, and its disk is to blame */
        if (error.code == KOS_E_CORRUPT && !node->lied)
            sim_fail(sim, "corrupt", "%s: %s", node->name, error.text);
        return false;
    }
    if (fault)
        kos_manual_fail_files(node->manual, 0, KOS_OK);
    node->up = true;
    node->life++;
    sim_note(sim, node, "is up");
    sim_check_started(node);
    sim_node_agents(node);
    kos_mesh_start(node->mesh, &node->carrier, &node->sink);
    if (node->hosting)
        kos_hosting_start(node->hosting);
    for (int i = 0; i < 2; i++)
        if (kos_mesh_listen(node->mesh, node->address[i], &error) >= 0)
            kos_mesh_endpoint_up(node->mesh, node->endpoint[i], node->address[i]);
    sim_wake(node);
    return true;
}

void sim_node_close(struct sim_node *node)
{
    node->up = node->stopping = node->stopped = false;
    node->endpoint[0] = node->endpoint[1] = 0;
    node->crash_ops = 0;
    node->turn_at = UINT64_MAX;
    free_parts(node);
    close_parts(node);
    sim_tasks_free(node);
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

static void agents_stopped(void *arg)
{
    struct sim_node *node = arg;
    kos_hosting_stop(node->hosting, stopped, node);
}

static void mesh_stopped(void *arg)
{
    struct sim_node *node = arg;
    kos_agents_stop(node->agents, agents_stopped, node);
}

void sim_node_stop(struct sim_node *node, uint64_t back_ns)
{
    sim_enter(node);
    sim_note(node->sim, node, "stops");
    node->stopping = true;
    node->back_ns = back_ns;
    kos_mesh_stop(node->mesh, node->hosting ? mesh_stopped : stopped, node);
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
    static const char *const dirs[] = { "/node", "/node/policy.d", "/node/agents" };
    struct sim_node *node = &sim->nodes[index];
    struct kos_error error = { 0 };
    node->sim = sim;
    node->index = index;
    node->turn_at = UINT64_MAX;
    node->carrier.ops = &sim_carrier_ops;
    node->sink.ops = &sim_sink_ops;
    node->launcher.ops = &sim_launcher_ops;
    node->owner.ops = &sim_owner_ops;
    snprintf(node->name, sizeof node->name, "n%u", index);
    snprintf(node->address[0], sizeof node->address[0], "mem://%s", node->name);
    snprintf(node->address[1], sizeof node->address[1], "gram://%s", node->name);
    node->manual = kos_manual_new(sim->options->seed * 4096 + index);
    node->env = kos_manual_env(node->manual);
    node->env->log_level = sim->options->trace ? KOS_LOG_NOTICE : KOS_LOG_ERROR;
    sim_plant_env(node->env);
    if (sim->options->files && sim->options->trace)
        sim_show_files(node->env);
    sim_enter(node);
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        must(node, node->env->ops->dir_make(node->env, dirs[i], 0700), NULL);
    node->env->ops->dir_sync(node->env, "/node");
    node->env->ops->dir_sync(node->env, "/");
    must(node, kos_keys_create(node->env, KEYS, KLP_ALG_ED25519, kos_bytes(NULL, 0), &error), &error);
    must(node, policy_write(node, 5), NULL);
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
    sim_processes_free(node);
    kos_manual_free(node->manual);
    free(node->stolen_key);
    free(node->stolen_log);
}
