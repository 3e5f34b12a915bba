/* SPDX-License-Identifier: Apache-2.0
 * Discovery services: this node's record goes to all of them, what they find goes to the mesh. */
#include <stdlib.h>

#include "host/services.h"

enum { TEXT_MAX = 200 };

/* One announcement under way: the plugin may be gone when it ends. */
static void announced(void *arg, int32_t status, struct kos_bytes result)
{
    struct kos_hosted *hosted = arg;
    hosted->announcing = false;
    if (status < 0 && status != KOS_E_INTERRUPTED && status != KOS_E_CANCELLED)
        kos_log(hosted->hosting->env, KOS_LOG_WARNING, "host", "plugin %s could not announce this node: %s%s%.*s",
                hosted->name, kos_error_text(status), result.len ? ": " : "",
                result.len < TEXT_MAX ? (int)result.len : TEXT_MAX, result.len ? (const char *)result.data : "");
    if (hosted->announce_again)
        kos_discovery_announce(hosted);
}

void kos_discovery_announce(struct kos_hosted *hosted)
{
    const char *addresses[KOS_MESH_ADDRESSES_MAX + 1];
    struct kos_bytes record;
    if (!kos_hosted_offers(hosted, KOS_DISCOVERY) || hosted->state != KOS_HOSTED_RUNNING)
        return;
    hosted->announce_again = hosted->announcing;
    if (hosted->announcing || !kos_mesh_own_record(hosted->hosting->mesh, &record, addresses))
        return;
    hosted->announcing = true;
    hosted->backend->ops->announce(hosted->backend, kos_op_new(hosted, announced, hosted), record, addresses);
}

void kos_discovery_changed(void *arg)
{
    struct kos_hosting *hosting = arg;
    for (struct kos_hosted *h = hosting->plugins; h; h = h->next)
        kos_discovery_announce(h);
}

void kos_service_found(struct kos_services *services, uint64_t op, const uint8_t *id, struct kos_bytes record,
                       const char *const *addresses, uint64_t ttl_ms)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct klp_id node;
    if (op != 0) {
        kos_hosted_broke(hosted, "answered a search that this host did not ask for");
        return;
    }
    if (id)
        memcpy(node.b, id, sizeof node.b);
    kos_mesh_found(hosted->hosting->mesh, id ? &node : NULL, record, addresses, ttl_ms);
}

void kos_service_lost(struct kos_services *services, const uint8_t id[KOS_ID_BYTES])
{
    struct klp_id node;
    memcpy(node.b, id, sizeof node.b);
    kos_mesh_lost(kos_hosted_of(services)->hosting->mesh, &node);
}
