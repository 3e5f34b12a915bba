/* SPDX-License-Identifier: Apache-2.0
 *
 * Joins the rooms in the order of the house, and takes them apart in the reverse.
 */
#include <stdlib.h>
#include <grp.h>

#include "core/buf.h"
#include "kosd/node.h"

static int32_t node_dirs(struct kos_node *node, struct kos_error *ret_error)
{
    const char *const dirs[] = { node->instance->state_dir, node->instance->agents_dir };
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        int32_t r = node->env->ops->dir_make(node->env, dirs[i], 0700);
        if (r < 0 && r != KOS_E_EXISTS)
            return kos_fail(ret_error, r, "the directory %s cannot be made: %s", dirs[i], kos_error_text(r));
    }
    return KOS_OK;
}

static int32_t node_trust(struct kos_node *node, struct kos_bytes passphrase, struct kos_error *ret_error)
{
    int32_t r;
    struct kos_store_options options = { .segment_bytes = (uint64_t)node->settings->journal_bytes,
                                         .checkpoint_bytes = (uint64_t)node->settings->checkpoint_bytes };
    if ((r = kos_policy_load(node->env, node->instance->policy_dir, &node->policy, ret_error)) < 0)
        return r;
    if ((r = kos_store_open(node->env, node->instance->store_dir, &options, &node->store, ret_error)) < 0)
        return r;
    if ((r = kos_keys_open(node->env, node->instance->keys_dir, passphrase, &node->keys, ret_error)) < 0)
        return r;
    return kos_trust_new(node->env, node->store, node->keys, node->policy, &node->trust, ret_error);
}

static int32_t node_mesh(struct kos_node *node, struct kos_error *ret_error)
{
    const struct kos_settings *s = node->settings;
    struct kos_mesh_options options = {
        .limits = { .links = (uint32_t)s->links, .half_open = (uint32_t)s->half_open, .half_open_per_source = (uint32_t)s->half_open_per_source,
                    .handshake_ms = (uint32_t)s->handshake_ms, .idle_ping_ms = (uint32_t)s->idle_ping_ms, .dead_ms = (uint32_t)s->dead_ms,
                    .session_ms = (uint32_t)s->session_ms, .credit_bytes = (uint64_t)s->credit_bytes,
                    .streams_per_session = (uint32_t)s->streams_per_session, .outbox_bytes = (uint64_t)s->outbox_bytes,
                    .outbox_per_target_bytes = (uint64_t)s->outbox_per_target_bytes, .inbox_bytes = (uint64_t)s->inbox_bytes, .inbox_open = (uint32_t)s->inbox_open,
                    .dedupe_per_peer = (uint32_t)s->dedupe_per_peer },
        .name = s->name,
        .roles = (const char *const *)s->roles,
        .version = KOS_VERSION,
    };
    return kos_mesh_new(node->env, node->store, node->trust, &options, &node->mesh, ret_error);
}

/* The agents of the registry into the node record. */
static void agents_changed(void *arg)
{
    struct kos_node *node = arg;
    size_t count = kos_agents_count(node->agents);
    struct kos_mesh_agent *list = kos_new((count + 1) * sizeof *list);
    char **names = kos_new((count + 1) * sizeof *names);
    for (size_t i = 0; i < count; i++) {
        const struct kos_agent_info *info = kos_agents_at(node->agents, i);
        memcpy(list[i].id.b, info->id, sizeof list[i].id.b);
        list[i].name = names[i] = kos_strdup(info->name);
        list[i].skills = info->skills;
        list[i].trust_required = info->trust_required;
    }
    kos_mesh_agents_set(node->mesh, list, count);
    kos_hosting_agents_changed(node->hosting);
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
    free(list);
}

static int32_t node_plugins(struct kos_node *node, struct kos_launcher *launcher, struct kos_cell_launcher *cells, struct kos_error *ret_error)
{
    struct kos_agents_options agents = { .directory = node->instance->agents_dir, .node_name = node->settings->name };
    char *secrets = kos_format("%s/secrets", node->instance->keys_dir);
    char *plugins = kos_format("%s/plugins", node->instance->state_dir);
    struct kos_hosting_options hosting = { .cell_program = kos_cell_program(node->settings), .cells = cells, .no_programs = node->settings->seccomp, .plugin_dir = node->settings->plugin_dir, .secrets_dir = secrets, .state_dir = plugins };
    int32_t r = kos_agents_new(node->env, node->store, node->trust, launcher, &agents, &node->agents, ret_error);
    if (r == KOS_OK)
        r = node_mesh(node, ret_error);
    if (r == KOS_OK)
        r = kos_hosting_new(node->env, node->store, node->trust, node->mesh, node->agents, &hosting, &node->hosting, ret_error);
    if (r == KOS_OK)
        r = kos_hosting_load(node->hosting, node->policy, ret_error);
    free(secrets);
    free(plugins);
    return r;
}

static int32_t control_group(const struct kos_instance *instance, const struct kos_settings *settings, gid_t *ret_gid, struct kos_error *ret_error)
{
    const char *group = settings->control_group;
    struct group *found = group && *group ? getgrnam(group) : NULL;
    if (group && *group && !found)
        return kos_fail(ret_error, KOS_E_CONFIG, "%s: control_group: there is no group \"%s\"", instance->conf, group);
    *ret_gid = found ? found->gr_gid : (gid_t)-1;
    return KOS_OK;
}

static int32_t node_open(struct kos_node *node, struct kos_error *ret_error)
{
    gid_t gid;
    int32_t r = control_group(node->instance, node->settings, &gid, ret_error);
    if (r == KOS_OK)
        r = kos_varlink_new(node->env, node->instance->socket, gid, &node->control, ret_error);
    if (r < 0)
        return r;
    kos_node_interface_init(node);
    kos_varlink_add(node->control, &node->interface);
    kos_node_plugins_add(node);
    kos_agents_on_change(node->agents, agents_changed, node);
    agents_changed(node);
    kos_mesh_start(node->mesh, kos_hosting_carrier(node->hosting), kos_hosting_sink(node->hosting));
    kos_hosting_start(node->hosting);
    for (size_t i = 0; node->settings->listen[i]; i++)
        if ((r = kos_mesh_listen(node->mesh, node->settings->listen[i], ret_error)) < 0)
            return r;
    return KOS_OK;
}

int32_t kos_node_start(struct kos_env *env, const struct kos_instance *instance, const struct kos_settings *settings, struct kos_bytes passphrase,
                       struct kos_launcher *launcher, struct kos_cell_launcher *cells, struct kos_node **ret_node, struct kos_error *ret_error)
{
    struct kos_node *node = kos_new(sizeof *node);
    node->env = env;
    node->instance = instance;
    node->settings = settings;
    node->started_ms = kos_now_ms(env);
    int32_t r = node_dirs(node, ret_error);
    if (r == KOS_OK)
        r = node_trust(node, passphrase, ret_error);
    if (r == KOS_OK)
        r = node_plugins(node, launcher, cells, ret_error);
    if (r == KOS_OK)
        r = node_open(node, ret_error);
    if (r < 0) {
        kos_node_free(node);
        return r;
    }
    *ret_node = node;
    return KOS_OK;
}

int32_t kos_node_check(struct kos_env *env, const struct kos_instance *instance, const struct kos_settings *settings, struct kos_bytes passphrase, struct kos_error *ret_error)
{
    struct kos_policy *policy = NULL;
    struct kos_keys *keys = NULL;
    gid_t gid;
    int32_t r = kos_policy_load(env, instance->policy_dir, &policy, ret_error);
    if (r == KOS_OK)
        r = kos_keys_open(env, instance->keys_dir, passphrase, &keys, ret_error);
    if (r == KOS_OK)
        r = control_group(instance, settings, &gid, ret_error);
    if (r == KOS_OK)
        r = kos_hosting_check(env, &(struct kos_hosting_options){ .cell_program = kos_cell_program(settings), .no_programs = settings->seccomp, .plugin_dir = settings->plugin_dir }, policy, ret_error);
    if (keys)
        kos_keys_close(keys);
    if (policy)
        kos_policy_unref(policy);
    return r;
}

static void ready_look(struct kos_node *node)
{
    void (*ready)(void *arg) = node->ready;
    if (!ready || !kos_mesh_listening(node->mesh))
        return;
    node->ready = NULL;
    kos_mesh_unwatch(node->mesh, &node->listening);
    ready(node->ready_arg);
}

static void listening_event(struct kos_watcher *watcher, const char *event, json_t *detail)
{
    (void)event;
    (void)detail;
    ready_look((struct kos_node *)((char *)watcher - offsetof(struct kos_node, listening)));
}

void kos_node_when_ready(struct kos_node *node, void (*ready)(void *arg), void *arg)
{
    node->ready = ready;
    node->ready_arg = arg;
    node->listening.event = listening_event;
    kos_mesh_watch(node->mesh, &node->listening);
    ready_look(node);
}

static void hosting_stopped(void *arg)
{
    struct kos_node *node = arg;
    node->stopped(node->stopped_arg);
}

static void agents_stopped(void *arg)
{
    struct kos_node *node = arg;
    kos_hosting_stop(node->hosting, hosting_stopped, node);
}

static void mesh_stopped(void *arg)
{
    struct kos_node *node = arg;
    kos_agents_stop(node->agents, agents_stopped, node);
}

void kos_node_stop(struct kos_node *node, void (*stopped)(void *arg), void *arg)
{
    node->stopped = stopped;
    node->stopped_arg = arg;
    kos_mesh_stop(node->mesh, mesh_stopped, node);
}

void kos_node_free(struct kos_node *node)
{
    if (!node)
        return;
    kos_varlink_free(node->control);
    kos_node_plugins_free(node);
    if (node->hosting)
        kos_hosting_free(node->hosting);
    if (node->mesh)
        kos_mesh_free(node->mesh);
    if (node->agents)
        kos_agents_free(node->agents);
    if (node->trust)
        kos_trust_free(node->trust);
    if (node->keys)
        kos_keys_close(node->keys);
    if (node->store)
        kos_store_close(node->store);
    if (node->policy)
        kos_policy_unref(node->policy);
    free(node);
}

/* Wiring is read at start only: what changed there is named. */
static bool wiring_differs(const struct kos_policy *a, const struct kos_policy *b)
{
    const struct kos_policy_plugin *one, *other;
    size_t n = kos_policy_plugins(a, &one), m = kos_policy_plugins(b, &other);
    if (n != m)
        return true;
    for (size_t i = 0; i < n; i++)
        if (strcmp(one[i].name, other[i].name) != 0 || strcmp(one[i].module, other[i].module) != 0)
            return true;
    return false;
}

int32_t kos_node_reload(struct kos_node *node, struct kos_error *ret_error)
{
    struct kos_policy *policy;
    struct kos_error why;
    int32_t r = kos_policy_load(node->env, node->instance->policy_dir, &policy, &why);
    if (r < 0) {
        kos_log(node->env, KOS_LOG_ERROR, "kosd", "the policy in force stays: %s", why.text);
        return kos_fail(ret_error, r, "the policy in force stays: %s", why.text);
    }
    if (wiring_differs(node->policy, policy))
        kos_log(node->env, KOS_LOG_WARNING, "kosd", "the manifests wire other plugins than those running: restart kosd for that part");
    kos_trust_set_policy(node->trust, policy);
    kos_policy_unref(node->policy);
    node->policy = policy;
    kos_mesh_trust_changed(node->mesh);
    kos_log(node->env, KOS_LOG_NOTICE, "kosd", "policy loaded from %s", node->instance->policy_dir);
    return KOS_OK;
}
