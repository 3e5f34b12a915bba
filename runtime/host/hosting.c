/* SPDX-License-Identifier: Apache-2.0
 * The room's object: loads what the policy names, all or nothing, starts it, stops it, and says what it hosts. */
#include <inttypes.h>
#include <stdlib.h>
#include <utlist.h>

#include "host/services.h"

enum { STOP_MS = 5000, BROKEN_WINDOW_MS = 60000 };

/* ---- plugins ---- */

bool kos_hosted_offers(const struct kos_hosted *hosted, const char *feature)
{
    const json_t *features = json_object_get(hosted->description, "features");
    for (size_t i = 0; i < json_array_size(features); i++)
        if (strcmp(json_string_value(json_array_get(features, i)), feature) == 0)
            return true;
    return false;
}

bool kos_hosted_running(const struct kos_hosted *hosted)
{
    return hosted->state != KOS_HOSTED_FINISHED;
}

struct kos_hosted *kos_hosted_find(struct kos_hosting *hosting, const char *name)
{
    struct kos_hosted *h = hosting->plugins;
    while (h && strcmp(h->name, name) != 0)
        h = h->next;
    return h;
}

uint64_t kos_hosted_id(struct kos_hosted *hosted)
{
    return hosted->next_id += 2;
}

void kos_hosted_broke(struct kos_hosted *hosted, const char *format, ...)
{
    struct kos_hosting *hosting = hosted->hosting;
    uint32_t held_back = 0;
    va_list args;
    char text[400];
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    hosted->broken++;
    if (hosted->cell) {
        kos_cell_cut(hosted->cell, text);
        return;
    }
    if (!kos_log_limit_pass(hosting->limit, hosted->name, &held_back))
        return;
    kos_log(hosting->env, KOS_LOG_ERROR, "host",
            "plugin %s broke a rule: it %s (%" PRIu64 " times in all, %u not logged since the last line)", hosted->name,
            text, hosted->broken, held_back);
}

void kos_hosted_complete(struct kos_hosted *hosted, uint64_t op, int32_t status, struct kos_bytes result)
{
    if (hosted->backend)
        hosted->backend->ops->completed(hosted->backend, op, status, result, false);
}

void kos_hosted_complete_text(struct kos_hosted *hosted, uint64_t op, int32_t status, const char *text)
{
    kos_hosted_complete(hosted, op, status, kos_bytes_str(text));
}

void kos_hosted_quiet(struct kos_hosted *hosted)
{
    hosted->state = hosted->cell ? kos_cell_after_quiet(hosted->cell) : KOS_HOSTED_FINISHED;
    kos_links_drop(hosted);
    kos_openings_drop(hosted);
    kos_txs_drop(hosted);
    kos_calls_drop(hosted);
    kos_runs_drop(hosted);
    kos_secrets_drop(hosted);
    kos_http_drop(hosted);
    kos_streams_drop(hosted);
    kos_ops_drop(hosted);
    kos_deliveries_drop(hosted);
    kos_injections_drop(hosted);
}

void kos_hosted_started(struct kos_hosted *hosted)
{
    kos_bridge_resume(hosted);
    kos_discovery_announce(hosted);
    kos_http_back(hosted);
}

void kos_hosted_back(struct kos_hosted *hosted)
{
    kos_hosted_started(hosted);
    kos_links_back(hosted);
    kos_mesh_owner_back(hosted->hosting->mesh, hosted->name);
}

struct kos_hosted *kos_hosted_of(struct kos_services *services)
{
    return (struct kos_hosted *)((char *)services - offsetof(struct kos_hosted, services));
}

void kos_hosted_free(struct kos_hosted *hosted)
{
    if (!hosted)
        return;
    kos_reload_end(hosted, KOS_E_INTERRUPTED, "kosd stopped");
    if (hosted->backend) {
        hosted->backend->ops->free(hosted->backend);
        hosted->backend = NULL;
        if (hosted->state != KOS_HOSTED_FINISHED)
            kos_hosted_quiet(hosted);
    }
    kos_cell_free(hosted->cell);
    kos_txs_forget(hosted);
    kos_conf_values_free(hosted->conf);
    kos_schema_free(hosted->schema);
    json_decref(hosted->description);
    for (char **type = hosted->types_own; type && *type; type++)
        free(*type);
    free(hosted->types_own);
    for (char **name = hosted->streams_own; name && *name; name++)
        free(*name);
    free(hosted->streams_own);
    free(hosted->name);
    free(hosted->path);
    free(hosted->place);
    free(hosted->space);
    free(hosted->bridge_space);
    for (size_t i = 0; i < hosted->map_count; i++) {
        free((char *)hosted->maps_own[i].type);
        free((char *)hosted->maps_own[i].destination);
    }
    free(hosted->maps_own);
    free(hosted->directory);
    free(hosted);
}

/* ---- loading ---- */

static char *module_path(const struct kos_hosting *hosting, const char *module)
{
    size_t len = strlen(module);
    const char *ending = len > 3 && strcmp(module + len - 3, ".so") == 0 ? "" : ".so";
    return module[0] == '/' ? kos_strdup(module) : kos_format("%s/%s%s", hosting->plugin_dir, module, ending);
}

void kos_hosted_swap(struct kos_hosted *one, struct kos_hosted *other)
{
    struct kos_hosted was = *one;
#define SWAP(member) one->member = other->member, other->member = was.member
    SWAP(path), SWAP(place), SWAP(directory), SWAP(description), SWAP(schema), SWAP(conf), SWAP(types), SWAP(types_own), SWAP(stream_names), SWAP(streams_own);
    SWAP(rights), SWAP(wants_outcomes), SWAP(maps), SWAP(maps_own), SWAP(map_count);
#undef SWAP
}

/* Its own directory, for the right "files". */
int32_t kos_hosted_directory(struct kos_hosted *hosted, struct kos_error *ret_error)
{
    struct kos_env *env = hosted->hosting->env;
    if (!(hosted->rights & KOS_RIGHT_FILES))
        return KOS_OK;
    if (!hosted->hosting->state_dir)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED,
                        "%s: plugin %s asks for the right \"files\", and this kosd keeps no directory for plugins",
                        hosted->place, hosted->name);
    hosted->directory = kos_format("%s/%s", hosted->hosting->state_dir, hosted->name);
    int32_t rc = env->ops->dir_make(env, hosted->hosting->state_dir, 0700);
    if (rc >= 0 || rc == KOS_E_EXISTS)
        rc = env->ops->dir_make(env, hosted->directory, 0700);
    return rc >= 0 || rc == KOS_E_EXISTS ? KOS_OK
                                         : kos_fail(ret_error, rc, "%s: the directory of plugin %s cannot be made: %s",
                                                    hosted->directory, hosted->name, kos_error_text(rc));
}

static int32_t begin(struct kos_hosted *hosted, struct kos_error *ret_error)
{
    if (hosted->cell)
        return kos_cell_begin(hosted->cell, ret_error);
    const struct kos_driver_spec spec = { .name = hosted->name,
                                          .path = hosted->path,
                                          .where = hosted->place,
                                          .directory = hosted->directory,
                                          .description = hosted->description,
                                          .conf = hosted->conf };
    return kos_driver_new(hosted->hosting->env, &spec, &hosted->services, &hosted->backend, ret_error);
}

static void log_undriven(struct kos_hosted *hosted)
{
    const json_t *features = json_object_get(hosted->description, "features");
    for (size_t i = 0; i < json_array_size(features); i++) {
        const struct kos_kind *kind = kos_kind_of(json_string_value(json_array_get(features, i)));
        if (kind && !kind->driven)
            kos_log(hosted->hosting->env, KOS_LOG_NOTICE, "host",
                    "plugin %s offers %s, which this kosd loads but does not drive: nothing will be asked of it",
                    hosted->name, kind->feature);
    }
}

int32_t kos_hosted_examine(struct kos_hosted *hosted, const struct kos_policy_plugin *section, json_t *description,
                           struct kos_error *ret_error)
{
    hosted->description = json_incref(description);
    int32_t rc =
        kos_rights_check(hosted->name, hosted->place, hosted->description, section->rights, &hosted->rights, ret_error);
    if (rc >= 0 && hosted->rights & KOS_RIGHT_EXEC && !section->isolate && hosted->hosting->no_programs)
        rc = kos_fail(ret_error, KOS_E_DENIED,
                      "%s: plugin %s asks for the right \"exec\", and kosd itself, within which isolate = false; puts it, may "
                      "start no program: write isolate = true; there, or seccomp = false; in kosd.conf",
                      hosted->place, hosted->name);
    if (rc >= 0)
        rc = kos_schema_new(hosted->path, hosted->description, &hosted->schema, ret_error);
    if (rc >= 0) {
        char *where = kos_format("%s: plugin %s", hosted->place, hosted->name);
        rc = kos_conf_values(section->settings, where, hosted->schema, &hosted->conf, ret_error);
        free(where);
    }
    if (rc >= 0)
        rc = kos_wiring_types(hosted, section, ret_error);
    hosted->wants_outcomes = json_is_true(json_object_get(hosted->description, "outcomes"));
    return rc;
}

void kos_hosted_stopped_why(struct kos_hosted *hosted)
{
    hosted->why = (struct kos_error){ .code = KOS_E_CLOSED };
    snprintf(hosted->why.text, sizeof hosted->why.text, "plugin %s was stopped", hosted->name);
}

struct kos_hosted *kos_hosted_new(struct kos_hosting *hosting, const struct kos_policy_plugin *section)
{
    struct kos_hosted *hosted = kos_new(sizeof *hosted);
    hosted->owner.ops = &kos_host_owner_ops;
    hosted->services.ops = &kos_hosted_services;
    hosted->hosting = hosting;
    hosted->state = KOS_HOSTED_LOADED;
    hosted->name = kos_strdup(section->name);
    hosted->path = module_path(hosting, section->module);
    hosted->place = kos_format("%s:%d", section->file, section->line);
    hosted->space = kos_format("plugin:%s", section->name);
    hosted->bridge_space = kos_format("bridge:%s", section->name);
    kos_hosted_stopped_why(hosted);
    return hosted;
}

static int32_t add(struct kos_hosting *hosting, const struct kos_policy_plugin *section, struct kos_error *ret_error)
{
    struct kos_hosted *hosted = kos_hosted_new(hosting, section);
    struct kos_error why = { 0 };
    json_t *description;
    LL_APPEND(hosting->plugins, hosted);
    if (section->isolate)
        hosted->cell = kos_cell_new(hosted, section);
    if (strlen(section->name) > KOS_MANIFEST_NAME)
        return kos_fail(ret_error, KOS_E_POLICY, "%s: the name of plugin %s is longer than %d characters",
                        hosted->place, hosted->name, KOS_MANIFEST_NAME);
    int32_t rc = kos_conf_guard(hosting->env, hosted->path, &why);
    if (rc == KOS_OK)
        rc = kos_plugin_describe(hosting->cell_program, hosted->path, hosting->cells, &description, &why);
    if (rc < 0)
        return kos_fail(ret_error, rc, "%s: plugin %s: %s", hosted->place, hosted->name, why.text);
    rc = kos_hosted_examine(hosted, section, description, ret_error);
    json_decref(description);
    return rc;
}

static void unload(struct kos_hosting *hosting)
{
    struct kos_hosted *hosted, *next;
    LL_FOREACH_SAFE(hosting->plugins, hosted, next) {
        LL_DELETE(hosting->plugins, hosted);
        kos_hosted_free(hosted);
    }
}

/* All that can be refused without running any of it. */
static int32_t examine_all(struct kos_hosting *hosting, const struct kos_policy *policy, struct kos_error *ret_error)
{
    const struct kos_policy_plugin *sections = NULL;
    size_t count = kos_policy_plugins(policy, &sections);
    int32_t rc = KOS_OK;
    for (size_t i = 0; rc >= 0 && i < count; i++)
        rc = add(hosting, &sections[i], ret_error);
    return rc >= 0 ? kos_wiring_check(hosting, ret_error) : rc;
}

int32_t kos_hosting_check(struct kos_env *env, const struct kos_hosting_options *options,
                          const struct kos_policy *policy, struct kos_error *ret_error)
{
    struct kos_hosting *hosting;
    int32_t rc = kos_hosting_new(env, NULL, NULL, NULL, NULL, options, &hosting, ret_error);
    if (rc < 0)
        return rc;
    rc = examine_all(hosting, policy, ret_error);
    kos_hosting_free(hosting);
    return rc;
}

int32_t kos_hosting_load(struct kos_hosting *hosting, const struct kos_policy *policy, struct kos_error *ret_error)
{
    if (hosting->plugins)
        return kos_fail(ret_error, KOS_E_STATE,
                        "plugins are loaded once, when kosd starts; restart it to change their wiring");
    int32_t rc = examine_all(hosting, policy, ret_error);
    for (struct kos_hosted *h = hosting->plugins; rc >= 0 && h; h = h->next) {
        rc = kos_hosted_directory(h, ret_error);
        if (rc >= 0)
            rc = begin(h, ret_error);
    }
    /* The cells began side by side. */
    for (struct kos_hosted *h = hosting->plugins; rc >= 0 && h; h = h->next)
        if (h->cell)
            rc = kos_cell_await(h->cell, ret_error);
    if (rc < 0) {
        unload(hosting);
        return rc;
    }
    kos_mesh_on_record(hosting->mesh, kos_discovery_changed, hosting);
    kos_mesh_streams(hosting->mesh, &hosting->streams.streams);
    for (struct kos_hosted *h = hosting->plugins; h; h = h->next)
        log_undriven(h);
    return KOS_OK;
}

/* ---- life ---- */

static void stop_end(struct kos_hosting *hosting)
{
    void (*done)(void *arg) = hosting->stop_done;
    kos_timer_stop(hosting->env, hosting->stop_timer);
    hosting->stop_done = NULL;
    if (done)
        done(hosting->stop_arg);
}

static void stop_check(struct kos_deferred *deferred)
{
    struct kos_hosting *hosting = (struct kos_hosting *)((char *)deferred - offsetof(struct kos_hosting, stop_check));
    for (const struct kos_hosted *h = hosting->plugins; h; h = h->next)
        if (h->state != KOS_HOSTED_FINISHED)
            return;
    stop_end(hosting);
}

static void stop_late(void *arg)
{
    struct kos_hosting *hosting = arg;
    for (struct kos_hosted *h = hosting->plugins; h; h = h->next)
        if (h->state != KOS_HOSTED_FINISHED)
            kos_log(hosting->env, KOS_LOG_ERROR, "host", "plugin %s (%s) did not stop within %d s and is left behind",
                    h->name, h->path, STOP_MS / 1000);
    stop_end(hosting);
}

int32_t kos_hosting_new(struct kos_env *env, struct kos_store *store, struct kos_trust *trust, struct kos_mesh *mesh,
                        struct kos_registry *agents, const struct kos_hosting_options *options,
                        struct kos_hosting **ret_hosting, struct kos_error *ret_error)
{
    if (!options->plugin_dir || options->plugin_dir[0] != '/')
        return kos_fail(ret_error, KOS_E_INVALID, "the plugin directory %s is not an absolute path",
                        options->plugin_dir ? options->plugin_dir : "");
    struct kos_hosting *hosting = kos_new(sizeof *hosting);
    hosting->env = env;
    hosting->store = store;
    hosting->trust = trust;
    hosting->mesh = mesh;
    hosting->agents = agents;
    hosting->plugin_dir = kos_strdup(options->plugin_dir);
    hosting->secrets_dir = kos_strdup(options->secrets_dir ? options->secrets_dir : "");
    hosting->cell_program = kos_strdup(options->cell_program ? options->cell_program : "");
    hosting->cells = options->cells;
    hosting->no_programs = options->no_programs;
    hosting->state_dir = options->state_dir ? kos_strdup(options->state_dir) : NULL;
    hosting->carrier = (struct kos_host_carrier){ { &kos_host_carrier_ops }, hosting };
    hosting->sink = (struct kos_host_sink){ { &kos_host_sink_ops }, hosting };
    hosting->streams = (struct kos_host_streams){ { &kos_host_streams_ops }, hosting };
    hosting->limit = kos_log_limit_new(env, BROKEN_WINDOW_MS);
    hosting->stop_timer = kos_timer_new(env, stop_late, hosting);
    hosting->stop_check.run = stop_check;
    hosting->given_up.run = kos_links_given_up;
    *ret_hosting = hosting;
    return KOS_OK;
}

void kos_hosting_free(struct kos_hosting *hosting)
{
    if (!hosting)
        return;
    unload(hosting);
    if (hosting->mesh)
        kos_mesh_streams(hosting->mesh, NULL);
    kos_undefer(hosting->env, &hosting->stop_check);
    kos_undefer(hosting->env, &hosting->given_up);
    kos_timer_free(hosting->env, hosting->stop_timer);
    kos_log_limit_free(hosting->limit);
    free(hosting->plugin_dir);
    free(hosting->secrets_dir);
    free(hosting->state_dir);
    free(hosting->cell_program);
    free(hosting);
}

void kos_hosting_start(struct kos_hosting *hosting)
{
    hosting->started = true;
    for (struct kos_hosted *h = hosting->plugins; h; h = h->next) {
        h->state = KOS_HOSTED_RUNNING;
        kos_hosted_started(h);
        h->backend->ops->start(h->backend);
    }
}

void kos_hosting_stop(struct kos_hosting *hosting, void (*done)(void *arg), void *arg)
{
    hosting->stopping = true;
    hosting->stop_done = done;
    hosting->stop_arg = arg;
    for (struct kos_hosted *h = hosting->plugins; h; h = h->next) {
        kos_reload_end(h, KOS_E_INTERRUPTED, "kosd is stopping");
        if (h->cell)
            kos_cell_stays_away(h->cell);
        if (h->state == KOS_HOSTED_FINISHED || h->state == KOS_HOSTED_STOPPING)
            continue;
        if (h->state == KOS_HOSTED_RESTARTING) {
            h->state = KOS_HOSTED_FINISHED;
            continue;
        }
        h->state = KOS_HOSTED_STOPPING;
        h->backend->ops->stop(h->backend);
    }
    kos_timer_set(hosting->env, hosting->stop_timer, STOP_MS);
    kos_defer(hosting->env, &hosting->stop_check);
}

struct kos_carrier *kos_hosting_carrier(struct kos_hosting *hosting)
{
    return &hosting->carrier.carrier;
}

struct kos_sink *kos_hosting_sink(struct kos_hosting *hosting)
{
    return &hosting->sink.sink;
}

/* ---- what people see ---- */

static json_t *types_json(const struct kos_hosted *hosted)
{
    json_t *list = json_array();
    for (const char *const *type = hosted->types; type && *type; type++)
        json_array_append_new(list, json_string(*type));
    return list;
}

static json_t *hosted_json(const struct kos_hosted *hosted)
{
    static const char *const states[] = { "", "loaded", "running", "stopping", "stopped", "restarting" };
    size_t operations = kos_openings_count(hosted) + kos_txs_count(hosted) + kos_links_count(hosted) +
        kos_calls_count(hosted) + kos_runs_count(hosted) + kos_ops_count(hosted) + kos_streams_count(hosted);
    json_t *rights = json_array();
    const json_t *asked = json_object_get(hosted->description, "rights");
    for (size_t i = 0; i < json_array_size(asked); i++)
        json_array_append(rights, json_object_get(json_array_get(asked, i), "name"));
    json_t *object = json_pack(
        "{s:s, s:O, s:O, s:O, s:s, s:s, s:o, s:o, s:O, s:s, s:I, s:I}", "name", hosted->name, "id",
        json_object_get(hosted->description, "id"), "version", json_object_get(hosted->description, "version"), "kinds",
        json_object_get(hosted->description, "kinds"), "hosting", hosted->cell ? "cell" : "process", "module", hosted->path, "rights", rights,
        "types", types_json(hosted), "schemes", json_object_get(hosted->description, "schemes"), "state",
        states[hosted->state], "operations", (json_int_t)operations, "broken_rules", (json_int_t)hosted->broken);
    if (hosted->cell && object)
        kos_cell_json(hosted->cell, object);
    return object;
}

void kos_hosting_agents_changed(struct kos_hosting *hosting)
{
    for (struct kos_hosted *h = hosting->plugins; h; h = h->next)
        if (h->cell)
            kos_cell_agents(h->cell);
}

json_t *kos_hosting_list(struct kos_hosting *hosting)
{
    json_t *list = json_array();
    for (const struct kos_hosted *h = hosting->plugins; h; h = h->next)
        json_array_append_new(list, hosted_json(h));
    return list;
}
