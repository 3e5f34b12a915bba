/* SPDX-License-Identifier: Apache-2.0
 * Control methods of plugins: calls go down, replies come up and reach whoever called, once each, while they care. */
#include <stdlib.h>

#include "host/services.h"

enum { CALLS_MAX = 1024, HUNG_UP_MAX = 256, REPLY_BYTES_MAX = 4 << 20 };

struct kos_host_call {
    uint64_t id;                          /* one id for both sides: the host chose it */
    struct kos_hosted *hosted;
    struct kos_plugin_reply *to;          /* NULL: the caller went away, and a late reply is no broken rule */
    bool more;
    UT_hash_handle hh, by_plugin;
};

static void forget(struct kos_host_call *call)
{
    call->hosted->hung_up -= call->to == NULL;
    HASH_DEL(call->hosted->hosting->calls, call);
    HASH_DELETE(by_plugin, call->hosted->calls, call);
    free(call);
}

static void forget_oldest(struct kos_hosted *hosted)
{
    struct kos_host_call *call, *next;
    HASH_ITER(by_plugin, hosted->calls, call, next)
        if (!call->to) {
            forget(call);
            return;
        }
}

void kos_hosting_interfaces(struct kos_hosting *hosting, kos_control_each *each, void *arg)
{
    for (struct kos_hosted *h = hosting->plugins; h; h = h->next) {
        const char *name = json_string_value(json_object_get(h->description, "interface"));
        if (name)
            each(arg, name, json_string_value(json_object_get(h->description, "interface_description")));
    }
}

int32_t kos_hosting_call(struct kos_hosting *hosting, const char *interface_name, const char *method,
                         struct kos_bytes parameters, uint32_t flags, struct kos_plugin_reply *to, uint64_t *ret_call)
{
    struct kos_hosted *hosted = hosting->plugins;
    for (; hosted; hosted = hosted->next) {
        const char *name = json_string_value(json_object_get(hosted->description, "interface"));
        if (name && strcmp(name, interface_name) == 0)
            break;
    }
    if (!hosted)
        return KOS_E_NOTFOUND;
    if (hosted->state != KOS_HOSTED_RUNNING)
        return KOS_E_STATE;
    if (HASH_CNT(by_plugin, hosted->calls) - hosted->hung_up >= CALLS_MAX)
        return KOS_E_BUSY;
    struct kos_host_call *call = kos_new(sizeof *call);
    call->id = hosting->next_call += 2;
    call->hosted = hosted;
    call->to = to;
    call->more = (flags & KOS_CALL_MORE) != 0;
    HASH_ADD(hh, hosting->calls, id, sizeof call->id, call);
    HASH_ADD(by_plugin, hosted->calls, id, sizeof call->id, call);
    hosted->backend->ops->call(hosted->backend, call->id, method, parameters, flags & KOS_CALL_MORE);
    *ret_call = call->id;
    return KOS_OK;
}

void kos_hosting_hangup(struct kos_hosting *hosting, uint64_t id)
{
    struct kos_host_call *call;
    HASH_FIND(hh, hosting->calls, &id, sizeof id, call);
    if (!call || !call->to)
        return;
    struct kos_hosted *hosted = call->hosted;
    call->to = NULL;
    hosted->backend->ops->hangup(hosted->backend, id);
    /* A plugin need not reply any more: the oldest of those are forgotten. */
    if (++hosted->hung_up > HUNG_UP_MAX)
        forget_oldest(hosted);
}

void kos_service_reply(struct kos_services *services, uint64_t id, int32_t status, struct kos_bytes parameters,
                       const char *text, int32_t continues)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_call *call;
    HASH_FIND(by_plugin, hosted->calls, &id, sizeof id, call);
    if (!call) {
        kos_hosted_broke(hosted, "replied to call %llu, which is not open", (unsigned long long)id);
        return;
    }
    if (continues && status >= 0 && !call->more) {
        kos_hosted_broke(hosted, "replied in parts to a call that takes one answer");
        continues = 0;
    }
    if (status >= 0 && parameters.len > REPLY_BYTES_MAX) {
        status = KOS_E_LIMIT;
        text = "the plugin's answer is larger than 4 MiB";
    }
    struct kos_plugin_reply *to = call->to;
    bool more = continues && status >= 0;
    if (!more)
        forget(call);
    if (to)
        to->reply(to, status, status < 0 ? kos_bytes(NULL, 0) : parameters,
                  text && *text    ? text
                      : status < 0 ? kos_error_text(status)
                                   : "",
                  more);
}

void kos_service_event(struct kos_services *services, const char *event, struct kos_bytes detail)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    if (event && !kos_mesh_watched(hosted->hosting->mesh))
        return;
    json_t *object = json_loadb((const char *)detail.data, detail.len, JSON_REJECT_DUPLICATES, NULL);
    if (!event || !*event || strlen(event) > KOS_MANIFEST_NAME || detail.len > KOS_HOSTED_SECRET_BYTES ||
        !json_is_object(object)) {
        kos_hosted_broke(hosted,
                         "told an event without a word of at most %d characters and a JSON object of at most %d bytes",
                         KOS_MANIFEST_NAME, KOS_HOSTED_SECRET_BYTES);
        json_decref(object);
        return;
    }
    json_object_set_new(object, "plugin", json_string(hosted->name));
    kos_mesh_tell(hosted->hosting->mesh, event, object);
}

void kos_calls_drop(struct kos_hosted *hosted)
{
    struct kos_host_call *call, *next;
    HASH_ITER(by_plugin, hosted->calls, call, next) {
        struct kos_plugin_reply *to = call->to;
        forget(call);
        if (to)
            /* What it asked for may be on its way to the disk: a caller that hears of a refusal would ask again. */
            to->reply(to, hosted->why.code == KOS_E_CLOSED ? KOS_E_INTERRUPTED : hosted->why.code, kos_bytes(NULL, 0),
                      hosted->why.text, false);
    }
}

size_t kos_calls_count(const struct kos_hosted *hosted)
{
    return HASH_CNT(by_plugin, hosted->calls) - hosted->hung_up;
}
