/* SPDX-License-Identifier: Apache-2.0
 * The registry: which agents there are, how they come and go. */
#include "agents/private.h"

#include <klp/address.h>
#include <klp/json.h>
#include <stdlib.h>
#include <utlist.h>

/* ---- the listed, sorted by name ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct agent *const *)a)->name, (*(struct agent *const *)b)->name);
}

static void relist(struct kos_registry *registry)
{
    struct agent *agent, *next;
    free(registry->listed);
    registry->listed = kos_new((HASH_COUNT(registry->agents) + 1) * sizeof *registry->listed);
    registry->listed_count = 0;
    HASH_ITER(hh, registry->agents, agent, next)
        if (!agent->leaving)
            registry->listed[registry->listed_count++] = agent;
    qsort(registry->listed, registry->listed_count, sizeof *registry->listed, by_name);
}

static void set_changed(struct kos_registry *registry)
{
    relist(registry);
    if (registry->changed)
        registry->changed(registry->changed_arg);
}

void kos_agents_on_change(struct kos_registry *registry, void (*changed)(void *arg), void *arg)
{
    registry->changed = changed;
    registry->changed_arg = arg;
}

static struct agent *find_id(struct kos_registry *registry, const uint8_t id[KOS_ID_BYTES])
{
    struct agent *agent;
    HASH_FIND(hh, registry->agents, id, sizeof agent->id, agent);
    return agent && !agent->leaving ? agent : NULL;
}

static struct agent *find_name(struct kos_registry *registry, const char *name)
{
    for (size_t i = 0; i < registry->listed_count; i++)
        if (strcmp(registry->listed[i]->name, name) == 0)
            return registry->listed[i];
    return NULL;
}

const struct kos_agent_info *kos_agents_by_id(struct kos_registry *registry, const uint8_t id[KOS_ID_BYTES])
{
    struct agent *agent = find_id(registry, id);
    return agent ? &agent->info : NULL;
}

const struct kos_agent_info *kos_agents_by_name(struct kos_registry *registry, const char *name)
{
    struct agent *agent = find_name(registry, name);
    return agent ? &agent->info : NULL;
}

size_t kos_agents_count(struct kos_registry *registry)
{
    return registry->listed_count;
}

const struct kos_agent_info *kos_agents_at(struct kos_registry *registry, size_t index)
{
    return index < registry->listed_count ? &registry->listed[index]->info : NULL;
}

static json_t *audit_json(const struct agent *agent)
{
    uint64_t entries = 0;
    struct klp_digest head = { { 0 } };
    char hex[2 * KLP_DIGEST_LEN + 3] = "0x";
    if (kos_audit_head(agent->registry->store, &agent->id, &entries, &head) < 0)
        return json_null();
    klp_hex(kos_bytes(head.b, KLP_DIGEST_LEN), hex + 2);
    return json_pack("{s:I, s:s}", "seq", (json_int_t)entries, "head", hex);
}

json_t *kos_agents_list(struct kos_registry *registry)
{
    json_t *list = json_array();
    for (size_t i = 0; i < registry->listed_count; i++) {
        const struct agent *agent = registry->listed[i];
        char id[KLP_ID_TEXT], did[KLP_DID_TEXT];
        json_t *skills = json_array();
        klp_id_text(&agent->id, id);
        klp_did(&agent->id, did);
        for (char **skill = agent->skills; *skill; skill++)
            json_array_append_new(skills, json_string(*skill));
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "id", id,
                            "did", did, "name", agent->name, "address", agent->address, "skills", skills, "executor",
                            agent->executor->name, "command", agent->command, "trust_required",
                            agent->info.trust_required, "concurrency", (json_int_t)agent->info.concurrency,
                            "output_max_bytes", (json_int_t)agent->info.output_max_bytes, "created",
                            (json_int_t)agent->created, "running", (json_int_t)agent->info.running, "done",
                            (json_int_t)agent->done, "failed", (json_int_t)agent->failed, "audit", audit_json(agent)));
    }
    return list;
}

/* ---- adding ---- */

struct adding {
    void (*done)(void *arg, int32_t status);
    void *arg;
};

static void added(void *arg, int32_t status)
{
    struct adding adding = *(struct adding *)arg;
    free(arg);
    if (adding.done)
        adding.done(adding.arg, status);
}

static int32_t audit_added(struct agent *agent, struct kos_tx *tx)
{
    uint8_t room[1024];
    struct klp_json_out out;
    struct kos_bytes fields;
    struct klp_digest digest;
    klp_sha256(kos_bytes_str(agent->command), &digest);
    klp_json_begin(&out, room, sizeof room);
    klp_json_object(&out);
    klp_json_name(&out, "command");
    klp_json_put_hex(&out, kos_bytes(digest.b, KLP_DIGEST_LEN));
    klp_json_name(&out, "event");
    klp_json_put_cstr(&out, "added");
    klp_json_name(&out, "executor");
    klp_json_put_cstr(&out, agent->executor->name);
    klp_json_name(&out, "name");
    klp_json_put_cstr(&out, agent->name);
    klp_json_close(&out, '}');
    int32_t rc = klp_json_end(&out, &fields);
    return rc < 0 ? rc : agent_audit(agent, tx, fields, &digest);
}

/* Directory, record, first entry of the trail. */
static int32_t install(struct agent *agent, void (*done)(void *arg, int32_t status), void *arg,
                       struct kos_error *ret_error)
{
    struct kos_env *env = agent->registry->env;
    int32_t rc = env->ops->dir_make(env, agent->directory, 0700);
    if (rc < 0)
        return kos_fail(ret_error, rc, "the directory %s for agent %s cannot be made: %s", agent->directory,
                        agent->name, kos_error_text(rc));
    env->ops->dir_sync(env, agent->registry->directory);
    struct adding *adding = kos_new(sizeof *adding);
    *adding = (struct adding){ done, arg };
    struct kos_tx *tx = kos_tx_begin(agent->registry->store);
    rc = agent_record_put(tx, agent);
    if (rc == KOS_OK)
        rc = audit_added(agent, tx);
    if (rc < 0)
        kos_tx_abort(tx);
    else
        rc = kos_tx_commit(tx, added, adding);
    if (rc < 0) {
        free(adding);
        return kos_fail(ret_error, rc, "agent %s cannot be written to the store: %s", agent->name, kos_error_text(rc));
    }
    return KOS_OK;
}

int32_t kos_agents_add(struct kos_registry *registry, const struct kos_agent_spec *spec,
                       void (*done)(void *arg, int32_t status), void *arg, struct klp_id *ret_id,
                       struct kos_error *ret_error)
{
    struct kos_keys *keys = kos_trust_keys(registry->trust);
    struct kos_identity *identity;
    int32_t rc = spec_check(spec, ret_error);
    if (rc < 0)
        return rc;
    if (registry->stopping)
        return kos_fail(ret_error, KOS_E_STATE, "kosd is stopping");
    if (find_name(registry, spec->name))
        return kos_fail(ret_error, KOS_E_EXISTS, "there is an agent %s already: kosctl agent remove %s", spec->name,
                        spec->name);
    if (HASH_COUNT(registry->agents) >= AGENTS_MAX)
        return kos_fail(ret_error, KOS_E_LIMIT, "there are %d agents already, which is the limit", AGENTS_MAX);
    if (strlen("klp://agent..") + strlen(spec->name) + strlen(registry->node_name) >= KLP_NAME_MAX)
        return kos_fail(ret_error, KOS_E_INVALID, "the address of agent %s would be too long", spec->name);
    if ((rc = kos_keys_agent_new(keys, &identity, ret_error)) < 0)
        return rc;
    struct klp_id id = *kos_identity_id(identity);
    struct agent *agent = agent_new(registry, &id, spec);
    agent->created = kos_now_ms(registry->env);
    if ((rc = install(agent, done, arg, ret_error)) < 0) {
        agent_free(agent);
        kos_keys_agent_retire(keys, &id, NULL);
        return rc;
    }
    HASH_ADD(hh, registry->agents, id, sizeof agent->id, agent);
    *ret_id = id;
    set_changed(registry);
    return KOS_OK;
}

/* ---- removing: marked on disk, then its runs end, then its log is revoked, then the record goes ---- */

static void gone(void *arg, int32_t status)
{
    struct agent *agent = arg;
    void (*removed)(void *, int32_t) = agent->removed;
    void *removed_arg = agent->removed_arg;
    struct kos_registry *registry = agent->registry;
    HASH_DEL(registry->agents, agent);
    agent_free(agent);
    kos_defer(registry->env, &registry->stop_check);
    if (removed)
        removed(removed_arg, status);
}

static void leave(struct agent *agent)
{
    struct kos_registry *registry = agent->registry;
    struct kos_error error = { .text = "" };
    int32_t rc = kos_keys_agent_retire(kos_trust_keys(registry->trust), &agent->id, &error);
    /* Retired before a crash, or without a key: nothing can sign for it any more, which is what is wanted. */
    if (rc < 0 && rc != KOS_E_NOTFOUND && rc != KOS_E_REVOKED && rc != KOS_E_KEY) {
        kos_log(registry->env, KOS_LOG_ERROR, "agents", "agent %s cannot be retired; the next start tries again: %s",
                agent->name, error.text);
        agent->leaving_durable = false;
        if (agent->removed)
            agent->removed(agent->removed_arg, rc);
        agent->removed = NULL;
        return;
    }
    struct kos_tx *tx = kos_tx_begin(registry->store);
    kos_tx_delete(tx, "agent", kos_bytes(agent->id.b, KLP_ID_LEN));
    kos_tx_delete(tx, "agent.count", kos_bytes(agent->id.b, KLP_ID_LEN));
    agent->leaving_durable = false;
    agent->committing = true;
    if ((rc = kos_tx_commit(tx, gone, agent)) < 0)
        gone(agent, rc);
}

static void check_stopped(struct kos_deferred *deferred)
{
    struct kos_registry *registry =
        (struct kos_registry *)((char *)deferred - offsetof(struct kos_registry, stop_check));
    struct agent *agent, *next;
    if (!registry->stopping || registry->runs || !registry->stopped)
        return;
    HASH_ITER(hh, registry->agents, agent, next)
        if (agent->committing || agent->executor->agent_busy(agent))
            return;
    void (*stopped)(void *) = registry->stopped;
    registry->stopped = NULL;
    stopped(registry->stopped_arg);
}

static void idle_run(struct kos_deferred *deferred)
{
    struct agent *agent = (struct agent *)((char *)deferred - offsetof(struct agent, idle));
    struct kos_registry *registry = agent->registry;
    if (agent->leaving_durable && !agent->runs && !agent->executor->agent_busy(agent))
        leave(agent);
    if (registry->stopping)
        kos_defer(registry->env, &registry->stop_check);
}

void agent_idle(struct agent *agent)
{
    agent->idle.run = idle_run;
    kos_defer(agent->registry->env, &agent->idle);
}

static void mark_durable(void *arg, int32_t status)
{
    struct agent *agent = arg;
    agent->committing = false;
    agent_idle(agent);
    if (status < 0) {
        void (*removed)(void *, int32_t) = agent->removed;
        agent->removed = NULL;
        if (removed)
            removed(agent->removed_arg, status);
        return;
    }
    agent->leaving_durable = true;
}

static void end_all(struct agent *agent, int32_t reason, const char *text)
{
    struct run *run, *next;
    DL_FOREACH_SAFE(agent->runs, run, next)
        run_stop(run, reason, text);
    agent->executor->agent_stop(agent);
}

int32_t kos_agents_remove(struct kos_registry *registry, const char *name, void (*done)(void *arg, int32_t status),
                          void *arg, struct kos_error *ret_error)
{
    struct agent *agent = find_name(registry, name);
    struct klp_digest digest;
    if (!agent)
        return kos_fail(ret_error, KOS_E_NOTFOUND, "there is no agent \"%s\" here: kosctl agent list", name);
    agent->leaving = true;
    agent->removed = done;
    agent->removed_arg = arg;
    struct kos_tx *tx = kos_tx_begin(registry->store);
    int32_t rc = agent_record_put(tx, agent);
    if (rc == KOS_OK)
        rc = agent_audit(agent, tx, kos_bytes_str("{\"event\":\"removed\"}"), &digest);
    if (rc < 0)
        kos_tx_abort(tx);
    else
        rc = kos_tx_commit(tx, mark_durable, agent);
    if (rc < 0) {
        agent->leaving = false;
        agent->removed = NULL;
        return kos_fail(ret_error, rc, "agent %s cannot be removed: %s", name, kos_error_text(rc));
    }
    agent->committing = true;
    end_all(agent, KOS_E_CANCELLED, "the agent was removed");
    set_changed(registry);
    return KOS_OK;
}

/* ---- the whole ---- */

int32_t kos_agents_new(struct kos_env *env, struct kos_store *store, struct kos_trust *trust,
                       struct kos_launcher *launcher, const struct kos_agents_options *options,
                       struct kos_registry **ret_agents, struct kos_error *ret_error)
{
    struct kos_registry *registry = kos_new(sizeof *registry);
    struct agent *agent, *next;
    *registry = (struct kos_registry){ .env = env, .store = store, .trust = trust, .launcher = launcher };
    registry->directory = kos_strdup(options->directory);
    registry->node_name = kos_strdup(options->node_name);
    registry->stop_check.run = check_stopped;
    registry->limit = kos_log_limit_new(env, 60000);
    int32_t rc = agents_load(registry, ret_error);
    relist(registry);
    if (rc < 0) {
        kos_agents_free(registry);
        return rc;
    }
    HASH_ITER(hh, registry->agents, agent, next) {
        if (agent->leaving)
            mark_durable(agent, KOS_OK);
        else if (!kos_keys_find(kos_trust_keys(trust), &agent->id))
            kos_log(env, KOS_LOG_ERROR, "agents", "the key of agent %s is missing below keys/agents: it runs nothing",
                    agent->name);
    }
    *ret_agents = registry;
    return KOS_OK;
}

void kos_agents_free(struct kos_registry *registry)
{
    struct agent *agent, *next_agent;
    struct run *run, *next_run;
    if (!registry)
        return;
    HASH_ITER(hh, registry->agents, agent, next_agent)
        agent->executor->agent_free(agent);
    HASH_ITER(hh, registry->runs, run, next_run)
        run_free(run);
    HASH_ITER(hh, registry->agents, agent, next_agent) {
        HASH_DEL(registry->agents, agent);
        agent_free(agent);
    }
    kos_undefer(registry->env, &registry->stop_check);
    kos_log_limit_free(registry->limit);
    free(registry->listed);
    free(registry->directory);
    free(registry->node_name);
    free(registry);
}

void kos_agents_stop(struct kos_registry *registry, void (*done)(void *arg), void *arg)
{
    struct agent *agent, *next;
    registry->stopping = true;
    registry->stopped = done;
    registry->stopped_arg = arg;
    HASH_ITER(hh, registry->agents, agent, next)
        end_all(agent, KOS_E_INTERRUPTED, "kosd was stopped while it ran");
    kos_defer(registry->env, &registry->stop_check);
}
