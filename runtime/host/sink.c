/* SPDX-License-Identifier: Apache-2.0
 * What arrives for handlers: from the mesh to the plugin that the wiring names. */
#include "host/services.h"

static struct kos_hosting *hosting_of(struct kos_sink *sink)
{
    return ((struct kos_host_sink *)sink)->hosting;
}

static bool takes(struct kos_sink *sink, const char *type)
{
    return kos_wiring_for_type(hosting_of(sink), type) != NULL;
}

/* A plugin that is stopping gets no more: what it leaves is offered again. */
static void message(struct kos_sink *sink, uint64_t handle, const struct kos_message *m)
{
    struct kos_hosted *hosted = kos_wiring_for_type(hosting_of(sink), m->type);
    if (!hosted || (hosted->state != KOS_HOSTED_LOADED && hosted->state != KOS_HOSTED_RUNNING))
        return;
    if (kos_bridge_destination(hosted, m->type))
        kos_bridge_deliver(hosted, handle, m);
    else
        hosted->backend->ops->handle(hosted->backend, kos_held_new(hosted, handle), m);
}

static bool outcome(struct kos_sink *sink, uint64_t handle, const char *owner, const struct kos_outcome *o)
{
    struct kos_hosted *hosted = kos_hosted_find(hosting_of(sink), owner);
    if (!hosted || !hosted->wants_outcomes)
        return false;
    if (hosted->state == KOS_HOSTED_LOADED || hosted->state == KOS_HOSTED_RUNNING)
        hosted->backend->ops->outcome(hosted->backend, kos_held_new(hosted, handle), o);
    return true;
}

static bool holds(struct kos_sink *sink, uint64_t handle)
{
    for (const struct kos_hosted *h = hosting_of(sink)->plugins; h; h = h->next)
        if (kos_held_has(h, handle) || kos_bridge_holds(h, handle))
            return true;
    return false;
}

const struct kos_sink_ops kos_host_sink_ops = { takes, message, outcome, holds };
