/* SPDX-License-Identifier: Apache-2.0
 *
 * Interfaces that plugins bring to the control socket: JSON of varlink to bytes of the SDK and back.
 */
#include <stdlib.h>
#include <utlist.h>

#include "core/buf.h"
#include "kosd/node.h"

struct kos_plugin_interface {
    struct kos_interface interface;
    struct kos_node *node;
    char *name, *description;
    struct kos_plugin_interface *next;
};

/* One call under way: lives until its last answer or hangup. */
struct pending {
    struct kos_plugin_reply reply;
    struct kos_node *node;
    struct kos_call *call;
    uint64_t id;
};

static void pending_reply(struct kos_plugin_reply *to, int32_t status, struct kos_bytes parameters, const char *text, bool continues)
{
    struct pending *pending = (struct pending *)to;
    struct kos_call *call = pending->call;

    if (status < 0) {
        free(pending);
        kos_call_fail(call, status, "%s", text && *text ? text : kos_error_text(status));
        return;
    }
    json_t *answer = json_loadb((const char *)parameters.data, parameters.len, 0, NULL);
    if (!json_is_object(answer)) {
        json_decref(answer);
        answer = json_object();
    }
    if (continues) {
        kos_call_continue(call, answer);
        return;
    }
    free(pending);
    kos_call_reply(call, answer);
}

static void pending_gone(void *arg)
{
    struct pending *pending = arg;
    kos_hosting_hangup(pending->node->hosting, pending->id);
    free(pending);
}

static void plugin_call(void *self, struct kos_call *call, const char *method, json_t *parameters)
{
    struct kos_plugin_interface *known = self;
    char *text = json_dumps(parameters, JSON_COMPACT);
    struct pending *pending = kos_new(sizeof *pending);
    pending->reply.reply = pending_reply;
    pending->node = known->node;
    pending->call = call;
    kos_call_on_hangup(call, pending_gone, pending);
    int32_t r = kos_hosting_call(known->node->hosting, known->name, method, kos_bytes_str(text), kos_call_more(call) ? KOS_CALL_MORE : 0, &pending->reply, &pending->id);
    free(text);
    if (r < 0) {
        free(pending);
        kos_call_on_hangup(call, NULL, NULL);
        kos_call_fail(call, r, "%s is not served at this moment: its plugin is stopped", known->name);
    }
}

static void interface_add(void *arg, const char *name, const char *description)
{
    struct kos_node *node = arg;
    struct kos_plugin_interface *known = kos_new(sizeof *known);
    known->node = node;
    known->name = kos_strdup(name);
    known->description = kos_strdup(description);
    known->interface = (struct kos_interface){ .name = known->name, .description = known->description, .call = plugin_call, .self = known };
    LL_APPEND(node->plugins, known);
    kos_varlink_add(node->control, &known->interface);
}

void kos_node_plugins_add(struct kos_node *node)
{
    kos_hosting_interfaces(node->hosting, interface_add, node);
}

void kos_node_plugins_free(struct kos_node *node)
{
    struct kos_plugin_interface *known, *next;
    LL_FOREACH_SAFE(node->plugins, known, next) {
        free(known->name);
        free(known->description);
        free(known);
    }
    node->plugins = NULL;
}
