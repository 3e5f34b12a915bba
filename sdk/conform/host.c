/* SPDX-License-Identifier: Apache-2.0
 * One instance of the plugin: made, begun, stopped, freed. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conform.h"

enum { STOP_MS = 5000 };

bool module_offers(const struct module *module, const char *feature)
{
    const json_t *features = json_object_get(module->description, "features");
    for (size_t i = 0; i < json_array_size(features); i++)
        if (strcmp(json_string_value(json_array_get(features, i)), feature) == 0)
            return true;
    return false;
}

bool module_asks(const struct module *module, const char *right)
{
    const json_t *rights = json_object_get(module->description, "rights");
    for (size_t i = 0; i < json_array_size(rights); i++)
        if (strcmp(json_string_value(json_object_get(json_array_get(rights, i), "name")), right) == 0)
            return true;
    return false;
}

static char *replaced(const char *text, const char *directory)
{
    char *out = kos_strdup("");
    for (const char *at = text, *mark;; at = mark + 5) {
        mark = strstr(at, "{dir}");
        char *longer = kos_format("%s%.*s%s", out, mark ? (int)(mark - at) : (int)strlen(at), at,
                                  mark ? directory : "");
        free(out);
        out = longer;
        if (!mark)
            return out;
    }
}

int32_t module_settings(const struct options *options, const struct module *module, const char *directory,
                        struct kos_conf **ret_conf, struct kos_error *ret_error)
{
    struct kos_conf_doc *doc = NULL;
    char *full = replaced(options->settings, directory);
    int32_t rc = kos_conf_read("settings", kos_bytes_str(full), &doc, ret_error);
    if (rc >= 0)
        rc = kos_conf_values(options->group ? options->group : kos_conf_root(doc),
                             json_string_value(json_object_get(module->description, "name")), module->schema, ret_conf,
                             ret_error);
    if (doc)
        kos_conf_free(doc);
    free(full);
    return rc;
}

/* ---- life ---- */

static void enters(void *arg, const char *member)
{
    struct host *h = arg;
    snprintf(h->c->verdict->last, sizeof h->c->verdict->last, "%s", member);
}

struct host *host_new(struct conform *c)
{
    struct host *h = kos_new(sizeof *h);
    judge_services(&h->ops_up);
    h->services.ops = &h->ops_up;
    h->c = c;
    h->next = c->hosts;
    c->hosts = h;
    h->next_even = 1000;
    h->strict.enters = enters;
    h->strict.arg = h;
    h->flush.run = answers_flush;
    snprintf(h->name, sizeof h->name, "%s", json_string_value(json_object_get(c->module->description, "name")));
    return h;
}

int32_t host_init(struct host *h, struct kos_error *ret_error)
{
    struct conform *c = h->c;
    char *directory = kos_format("%s/files", c->directory);
    int32_t rc = h->conf ? KOS_OK
                         : module_settings(c->options, c->module, c->directory, &h->conf, ret_error);
    if (rc < 0) {
        fprintf(stderr, "kos-conform: %s\n", ret_error->text);
        _exit(2);
    }
    mkdir(directory, 0700);
    struct kos_driver_spec spec = { .name = h->name,
                                    .path = c->options->path,
                                    .where = c->options->path,
                                    .directory = module_asks(c->module, "files") ? directory : NULL,
                                    .description = c->module->description,
                                    .conf = h->conf,
                                    .strict = &h->strict };
    rc = c->hosting == HOSTING_CELL ? cell_new(h, &spec, ret_error)
                                    : kos_driver_new(c->env, &spec, &h->services, &h->backend, ret_error);
    free(directory);
    if (rc >= 0)
        h->life = HOST_RUNNING;
    return rc;
}

void host_begin(struct host *h)
{
    struct kos_error error = { 0 };
    int32_t rc = host_init(h, &error);
    if (rc < 0)
        broke(h->c, RULE_CONF_VALUES, "init refused settings that its own schema allows: %s (%s)", error.text,
              kos_error_name(rc));
    h->backend->ops->start(h->backend);
}

void host_event(struct host *h)
{
    h->c->events++;
    if (++h->events == h->stop_at && h->life == HOST_RUNNING) {
        h->life = HOST_STOPPING;
        h->backend->ops->stop(h->backend);
    }
}

void host_stop(struct host *h)
{
    struct conform *c = h->c;
    if (h->life == HOST_RUNNING) {
        h->life = HOST_STOPPING;
        h->backend->ops->stop(h->backend);
    }
    if (h->life != HOST_STOPPING && h->life != HOST_QUIET)
        return;
    WAIT(c, soon(c) < STOP_MS ? soon(c) : STOP_MS, h->life == HOST_FINISHED);
    if (h->life != HOST_FINISHED)
        broke(c, RULE_PLUGIN_STOP, "5 s after stop it has not said stopped");
}

/* A kernel needs a moment to take a joined thread out of the list. */
static void judge_threads(struct conform *c)
{
    int now = 0;
    if (c->hosting == HOSTING_CELL)
        return; /* they end with it */
    for (const struct host *h = c->hosts; h; h = h->next)
        if (h->life != HOST_FINISHED && h->life != HOST_NEW)
            return;
    for (int i = 0; i < 20; i++) {
        now = count_entries("/proc/self/task");
        if (now <= c->threads)
            return;
        usleep(10000);
    }
    broke(c, RULE_HOST_STOPPED, "%d threads of its own still run after it said stopped", now - c->threads);
}

void host_free(struct host *h)
{
    struct conform *c = h->c;
    struct host **at = &c->hosts;
    while (*at != h)
        at = &(*at)->next;
    *at = h->next;
    if (h->backend)
        h->backend->ops->free(h->backend);
    cell_free(h);
    kos_undefer(c->env, &h->flush);
    judge_free(h);
    streams_free(h);
    kos_conf_values_free(h->conf);
    free(h);
}

void host_end(struct host *h)
{
    struct conform *c = h->c;
    host_stop(h);
    if (h->life == HOST_FINISHED)
        judge_threads(c);
    host_free(h);
}

uint64_t host_id(struct host *h)
{
    return h->next_even += 2;
}

/* ---- operations ---- */

uint64_t op_new(struct host *h, const char *what)
{
    struct op *op = kos_new(sizeof *op);
    op->id = host_id(h);
    op->what = what;
    HASH_ADD(hh, h->ops, id, sizeof op->id, op);
    return op->id;
}

const struct op *op_wait(struct host *h, uint64_t id)
{
    struct op *op;
    HASH_FIND(hh, h->ops, &id, sizeof id, op);
    if (!op)
        return NULL;
    WAIT(h->c, soon(h->c), op->done || !living(h));
    if (!op->done && living(h))
        broke(h->c, RULE_ABI_ONCE, "%s (operation %llu) was not completed within %d s", op->what,
              (unsigned long long)op->id, (int)(soon(h->c) / 1000));
    return living(h) ? op : NULL;
}
