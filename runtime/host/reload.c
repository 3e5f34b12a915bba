/* SPDX-License-Identifier: Apache-2.0
 * Replaces a plugin's cell: the module is described and checked against the policy while the old one works on, and only
 * what passes takes its place. */
#include <stdlib.h>

#include "host/services.h"

struct kos_reload {
    struct kos_work work;                   /* first: describing */
    struct kos_hosted *hosted;              /* NULL: unloaded meanwhile */
    struct kos_policy *policy;              /* keeps the section's text */
    const struct kos_policy_plugin *section;
    struct kos_hosted *candidate;           /* what is to take its place: no cell, in no list */
    char *program;
    struct kos_cell_launcher *cells;
    json_t *description;
    struct kos_error error;
    bool described;                         /* the worker is done */
    void (*done)(void *arg, int32_t status, const char *text);
    void *arg;
};

static void reload_free(struct kos_reload *reload)
{
    kos_hosted_free(reload->candidate);
    kos_policy_unref(reload->policy);
    json_decref(reload->description);
    free(reload->program);
    free(reload);
}

void kos_reload_end(struct kos_hosted *hosted, int32_t status, const char *text)
{
    struct kos_reload *reload = hosted->reload;
    if (!reload)
        return;
    hosted->reload = NULL;
    reload->hosted = NULL;
    reload->done(reload->arg, status, text);
    if (reload->described)
        reload_free(reload);
}

static void describe(struct kos_work *work)
{
    struct kos_reload *reload = (struct kos_reload *)work;
    kos_plugin_describe(reload->program, reload->candidate->path, reload->cells, &reload->description, &reload->error);
}

/* Types, schemes and interfaces as if it were there already. */
static int32_t check_wiring(struct kos_hosted *hosted, struct kos_hosted *candidate, struct kos_error *ret_error)
{
    const char *old = json_string_value(json_object_get(hosted->description, "interface")),
               *new = json_string_value(json_object_get(candidate->description, "interface"));
    if (strcmp(old ? old : "", new ? new : "") != 0)
        return kos_fail(ret_error, KOS_E_POLICY,
                        "%s: plugin %s brings another control interface than before (%s): restart kosd for that",
                        candidate->place, hosted->name, new ? new : "none");
    kos_hosted_swap(hosted, candidate);
    int32_t rc = kos_wiring_check(hosted->hosting, ret_error);
    kos_hosted_swap(hosted, candidate);
    return rc;
}

static void described(struct kos_work *work)
{
    struct kos_reload *reload = (struct kos_reload *)work;
    struct kos_hosted *hosted = reload->hosted, *candidate = reload->candidate;
    struct kos_error error = { 0 };
    reload->described = true;
    if (!hosted) {
        reload_free(reload);
        return;
    }
    int32_t rc = reload->description
        ? kos_conf_guard(hosted->hosting->env, candidate->path, &error)
        : kos_fail(&error, reload->error.code, "%s: plugin %s: %s", candidate->place, hosted->name, reload->error.text);
    if (rc >= 0)
        rc = kos_hosted_examine(candidate, reload->section, reload->description, &error);
    if (rc >= 0)
        rc = check_wiring(hosted, candidate, &error);
    if (rc < 0) {
        char text[sizeof error.text + 32];
        snprintf(text, sizeof text, "%s; the old one works on", error.text);
        kos_reload_end(hosted, rc, text);
        return;
    }
    kos_cell_replace(hosted->cell, reload->section);
}

void kos_reload_take(struct kos_hosted *hosted)
{
    kos_hosted_swap(hosted, hosted->reload->candidate);
}

static const struct kos_policy_plugin *section_of(const struct kos_policy *policy, const char *name)
{
    const struct kos_policy_plugin *sections = NULL;
    size_t count = kos_policy_plugins(policy, &sections);
    for (size_t i = 0; i < count; i++)
        if (strcmp(sections[i].name, name) == 0)
            return &sections[i];
    return NULL;
}

int32_t kos_hosting_reload(struct kos_hosting *hosting, struct kos_policy *policy, const char *name,
                           void (*done)(void *arg, int32_t status, const char *text), void *arg,
                           struct kos_error *ret_error)
{
    struct kos_hosted *hosted = kos_hosted_find(hosting, name);
    const struct kos_policy_plugin *section = section_of(policy, name);
    if (!hosted)
        return kos_fail(ret_error, KOS_E_NOTFOUND, "there is no plugin %.64s here: kosctl plugin list", name);
    if (!section)
        return kos_fail(ret_error, KOS_E_POLICY,
                        "the policy in force does not name plugin %s any more: restart kosd to be rid of it", name);
    if (!hosted->cell || !section->isolate)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED,
                        "%s:%d: plugin %s runs within kosd, which never unloads a module; write there: isolate = true; "
                        "and restart kosd, and from then on it can be reloaded",
                        section->file, section->line, name);
    if (hosting->stopping || !hosting->started)
        return kos_fail(ret_error, KOS_E_STATE, "kosd is %s", hosting->stopping ? "stopping" : "not at work yet");
    if (hosted->reload)
        return kos_fail(ret_error, KOS_E_BUSY, "plugin %s is being reloaded already", name);
    struct kos_reload *reload = kos_new(sizeof *reload);
    reload->work = (struct kos_work){ .run = describe, .done = described };
    reload->hosted = hosted;
    reload->policy = kos_policy_ref(policy);
    reload->section = section;
    reload->candidate = kos_hosted_new(hosting, section);
    reload->program = kos_strdup(hosting->cell_program);
    reload->cells = hosting->cells;
    reload->done = done;
    reload->arg = arg;
    hosted->reload = reload;
    kos_work(hosting->env, &reload->work);
    return KOS_OK;
}
