/* SPDX-License-Identifier: Apache-2.0
 *
 * A node as a value: the rooms, joined. No globals; everything it needs is given to it.
 */
#ifndef KOS_KOSD_NODE_H
#define KOS_KOSD_NODE_H

#include "agents/agents.h"
#include "conf/instance.h"
#include "control/control.h"
#include "host/host.h"
#include "mesh/mesh.h"
#include "store/store.h"
#include "trust/trust.h"

struct kos_node_interface;   /* org.kos.node, and a plugin's: interface.c, plugins.c */

struct kos_node {
    struct kos_env *env;
    const struct kos_instance *instance;
    const struct kos_settings *settings;
    struct kos_store *store;
    struct kos_keys *keys;
    struct kos_policy *policy;
    struct kos_trust *trust;
    struct kos_registry *agents;
    struct kos_mesh *mesh;
    struct kos_hosting *hosting;
    struct kos_varlink *control;
    struct kos_interface interface;              /* org.kos.node */
    struct kos_plugin_interface *plugins;        /* list, plugins.c */
    int64_t started_ms;
    struct kos_watcher listening;
    void (*ready)(void *arg);                    /* NULL: was called */
    void *ready_arg;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

/* Opens store and keys, loads policy and plugins, listens, opens the control socket: all or nothing. The launchers stay
 * the caller's and outlive the node. */
int32_t kos_node_start(struct kos_env *env, const struct kos_instance *instance, const struct kos_settings *settings, struct kos_bytes passphrase,
                       struct kos_launcher *launcher, struct kos_cell_launcher *cells, struct kos_node **ret_node, struct kos_error *ret_error);
/* Reads configuration, keys, policy and plugins as a start would, beside a running kosd: takes no lock, changes nothing. */
int32_t kos_node_check(struct kos_env *env, const struct kos_instance *instance, const struct kos_settings *settings, struct kos_bytes passphrase, struct kos_error *ret_error);
/* `ready` once the node listens on all its addresses or has said why it cannot: at once, or from the loop. */
void kos_node_when_ready(struct kos_node *node, void (*ready)(void *arg), void *arg);
/* Ends sessions, agents, plugins, in this order; then `stopped`. */
void kos_node_stop(struct kos_node *node, void (*stopped)(void *arg), void *arg);
void kos_node_free(struct kos_node *node);
/* Reads the manifests anew. A bad one leaves the running policy in force. */
int32_t kos_node_reload(struct kos_node *node, struct kos_error *ret_error);

/* interface.c */
void kos_node_interface_init(struct kos_node *node);
/* plugins.c: the interfaces that plugins bring. */
void kos_node_plugins_add(struct kos_node *node);
void kos_node_plugins_free(struct kos_node *node);

#endif
