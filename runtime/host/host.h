/* SPDX-License-Identifier: Apache-2.0
 *
 * The host of plugins: loads modules, checks settings and rights, and joins them to mesh, agents and control. What
 * serves a plugin is one interface, driver/backend.h: the driver, in this process, or a cell.
 */
#ifndef KOS_HOST_HOST_H
#define KOS_HOST_HOST_H

#include <jansson.h>
#include <kos/plugin.h>
#include <kos/control.h>
#include "agents/agents.h"
#include "mesh/mesh.h"

struct kos_hosting; /* the room's object */

struct kos_cell_launcher;
struct kos_hosting_options {
    const char *cell_program;          /* kos-cell */
    struct kos_cell_launcher *cells;   /* cell.h; NULL: this host has none, and isolated plugins are refused */
    bool no_programs;                  /* this process may start none: plugins within it cannot have the right "exec" */
    const char *plugin_dir;            /* where relative module names are looked up */
    const char *secrets_dir;           /* keys/secrets */
    const char *state_dir;             /* where plugins with the right "files" get a directory each; NULL: none */
};

int32_t kos_hosting_new(struct kos_env *env, struct kos_store *store, struct kos_trust *trust, struct kos_mesh *mesh,
                        struct kos_registry *agents, const struct kos_hosting_options *options,
                        struct kos_hosting **ret_hosting, struct kos_error *ret_error);
void kos_hosting_free(struct kos_hosting *hosting);
/* Loads and initialises all plugins of the policy; all or nothing: the error names plugin, file, line, reason. */
int32_t kos_hosting_load(struct kos_hosting *hosting, const struct kos_policy *policy, struct kos_error *ret_error);
/* What load would refuse before it runs anything, without a node: `kosd --check`. */
int32_t kos_hosting_check(struct kos_env *env, const struct kos_hosting_options *options,
                          const struct kos_policy *policy, struct kos_error *ret_error);
void kos_hosting_start(struct kos_hosting *hosting);
/* Stops all, waits for stopped, fini; 5 s at most, then says who hangs. */
void kos_hosting_stop(struct kos_hosting *hosting, void (*done)(void *arg), void *arg);
struct kos_carrier *kos_hosting_carrier(struct kos_hosting *hosting);
struct kos_sink *kos_hosting_sink(struct kos_hosting *hosting);
/* Replaces the cell of a plugin by one of the module's file as it is now, with the settings of `policy`: described and
 * checked before the old one is stopped. done comes later, exactly once, with a sentence on failure. */
int32_t kos_hosting_reload(struct kos_hosting *hosting, struct kos_policy *policy, const char *name,
                           void (*done)(void *arg, int32_t status, const char *text), void *arg,
                           struct kos_error *ret_error);
/* Agents came or went: cells have a copy of the list. */
void kos_hosting_agents_changed(struct kos_hosting *hosting);
/* [{name, id, version, kinds[], hosting: "process"|"cell", module, rights[], types[], schemes[], state, operations,
 * broken_rules, and of a cell: pid, memory_bytes, cpu_ms, restarts, cause, cause_at}] */
json_t *kos_hosting_list(struct kos_hosting *hosting);

/* Describes a module without starting it: {id, name, version, summary, abi, kinds[], features[], settings[{name, type,
 * summary, default?, min, max, choices?}], rights[{name, why}], types[], schemes[], interface?}.
 * Errors name the file and what is wrong (not a shared object, missing symbol NAME, major 2 where 1 is needed, ...).
 * The module's constructors run in a process of its own, `program` (kos-cell), with limits and no rights; `cells` starts
 * it, or NULL: this process does. Any thread. */
int32_t kos_plugin_describe(const char *program, const char *path, struct kos_cell_launcher *cells, json_t **ret_description,
                            struct kos_error *ret_error);

/* Control methods of plugins, for control/. call ids are the caller's. */
struct kos_plugin_reply {
    void (*reply)(struct kos_plugin_reply *to, int32_t status, struct kos_bytes parameters, const char *text,
                  bool continues);
};
typedef void kos_control_each(void *arg, const char *interface_name, const char *description);
void kos_hosting_interfaces(struct kos_hosting *hosting, kos_control_each *each, void *arg);
/* 0 with *ret_call, or KOS_E_NOTFOUND. `to` must live until the last reply or hangup. */
int32_t kos_hosting_call(struct kos_hosting *hosting, const char *interface_name, const char *method,
                         struct kos_bytes parameters, uint32_t flags, struct kos_plugin_reply *to, uint64_t *ret_call);
void kos_hosting_hangup(struct kos_hosting *hosting, uint64_t call);

#endif
