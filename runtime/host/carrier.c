/* SPDX-License-Identifier: Apache-2.0
 * Between the mesh and transport plugins: who dials which scheme, whose link is whose, and that nobody hands over more
 * than the other side gave credit for. */
#include <inttypes.h>
#include <stdlib.h>

#include "host/services.h"

/* An endpoint or a link. */
struct kos_host_link {
    struct kos_hosted *hosted;
    uint64_t mesh_id;               /* 0: the mesh does not know it (any more) */
    uint64_t plugin_id;             /* even: ours, odd: the plugin's */
    char *address;                  /* of an endpoint, or of a dial that waits for its cell; NULL none */
    bool up;
    bool waits, given_up;           /* for the cell; and the mesh wants it no more */
    uint64_t credit_in;             /* what the plugin may still hand over */
    uint64_t outstanding;           /* what the mesh sent and the plugin has not given back */
    UT_hash_handle by_mesh, by_plugin;
};

static struct kos_hosting *hosting_of(struct kos_carrier *carrier)
{
    return ((struct kos_host_carrier *)carrier)->hosting;
}

static struct kos_host_link *by_mesh(struct kos_host_link *table, uint64_t id)
{
    struct kos_host_link *link;
    HASH_FIND(by_mesh, table, &id, sizeof id, link);
    return link;
}

static struct kos_host_link *by_plugin(struct kos_host_link *table, uint64_t id)
{
    struct kos_host_link *link;
    HASH_FIND(by_plugin, table, &id, sizeof id, link);
    return link;
}

static struct kos_host_link *link_new(struct kos_hosted *hosted, uint64_t plugin_id,
                                      struct kos_host_link **plugin_table)
{
    struct kos_host_link *link = kos_new(sizeof *link);
    link->hosted = hosted;
    link->plugin_id = plugin_id;
    HASH_ADD(by_plugin, *plugin_table, plugin_id, sizeof link->plugin_id, link);
    return link;
}

static void known_as(struct kos_host_link *link, uint64_t mesh_id, struct kos_host_link **mesh_table)
{
    link->mesh_id = mesh_id;
    HASH_ADD(by_mesh, *mesh_table, mesh_id, sizeof link->mesh_id, link);
}

static void link_free(struct kos_host_link *link, struct kos_host_link **plugin_table,
                      struct kos_host_link **mesh_table)
{
    HASH_DELETE(by_plugin, *plugin_table, link);
    if (link->mesh_id)
        HASH_DELETE(by_mesh, *mesh_table, link);
    free(link->address);
    free(link);
}

/* ---- from the mesh ---- */

static int32_t route(struct kos_carrier *carrier, const char *address, struct kos_hosted **ret_hosted)
{
    struct kos_hosted *hosted = kos_wiring_for_address(hosting_of(carrier), address);
    if (!hosted)
        return KOS_E_UNSUPPORTED;
    if (hosted->state != KOS_HOSTED_LOADED && hosted->state != KOS_HOSTED_RUNNING &&
        hosted->state != KOS_HOSTED_RESTARTING)
        return KOS_E_STATE;
    *ret_hosted = hosted;
    return KOS_OK;
}

static int32_t c_listen(struct kos_carrier *carrier, uint64_t endpoint, const char *address)
{
    struct kos_hosted *hosted;
    int32_t rc = route(carrier, address, &hosted);
    if (rc < 0)
        return rc;
    if (by_mesh(hosting_of(carrier)->mesh_endpoints, endpoint))
        return KOS_OK; /* asked for already, and not answered */
    struct kos_host_link *e = link_new(hosted, kos_hosted_id(hosted), &hosted->endpoints);
    known_as(e, endpoint, &hosted->hosting->mesh_endpoints);
    e->address = kos_strdup(address);
    if (hosted->state != KOS_HOSTED_RESTARTING)
        hosted->backend->ops->listen(hosted->backend, e->plugin_id, address);
    return KOS_OK;
}

static void c_endpoint_close(struct kos_carrier *carrier, uint64_t endpoint)
{
    struct kos_host_link *e = by_mesh(hosting_of(carrier)->mesh_endpoints, endpoint);
    if (e && e->hosted->state == KOS_HOSTED_RESTARTING)
        link_free(e, &e->hosted->endpoints, &e->hosted->hosting->mesh_endpoints);
    else if (e)
        e->hosted->backend->ops->endpoint_close(e->hosted->backend, e->plugin_id);
}

static int32_t c_dial(struct kos_carrier *carrier, uint64_t id, const char *address)
{
    struct kos_hosted *hosted;
    int32_t rc = route(carrier, address, &hosted);
    if (rc < 0)
        return rc;
    struct kos_host_link *link = link_new(hosted, kos_hosted_id(hosted), &hosted->links);
    known_as(link, id, &hosted->hosting->mesh_links);
    link->waits = hosted->state == KOS_HOSTED_RESTARTING;
    if (link->waits)
        link->address = kos_strdup(address);
    else
        hosted->backend->ops->dial(hosted->backend, link->plugin_id, address);
    return KOS_OK;
}

static void c_send(struct kos_carrier *carrier, uint64_t id, const struct kos_bytes *pieces, uint32_t count)
{
    struct kos_host_link *link = by_mesh(hosting_of(carrier)->mesh_links, id);
    if (!link || !link->up)
        return;
    for (uint32_t i = 0; i < count; i++)
        link->outstanding += pieces[i].len;
    link->hosted->backend->ops->send(link->hosted->backend, link->plugin_id, pieces, count);
}

static uint8_t *c_make(struct kos_carrier *carrier, uint64_t id, size_t len)
{
    struct kos_host_link *link = by_mesh(hosting_of(carrier)->mesh_links, id);
    return link && link->up ? link->hosted->backend->ops->make(link->hosted->backend, link->plugin_id, len) : NULL;
}

static void c_made(struct kos_carrier *carrier, uint64_t id, size_t len)
{
    struct kos_host_link *link = by_mesh(hosting_of(carrier)->mesh_links, id);
    link->outstanding += len;
    link->hosted->backend->ops->made(link->hosted->backend, len);
}

static void c_credit(struct kos_carrier *carrier, uint64_t id, uint64_t bytes)
{
    struct kos_host_link *link = by_mesh(hosting_of(carrier)->mesh_links, id);
    if (!link || !link->up)
        return;
    link->credit_in = bytes > UINT64_MAX - link->credit_in ? UINT64_MAX : link->credit_in + bytes;
    link->hosted->backend->ops->link_credit(link->hosted->backend, link->plugin_id, bytes);
}

static void c_close(struct kos_carrier *carrier, uint64_t id, bool flush)
{
    struct kos_host_link *link = by_mesh(hosting_of(carrier)->mesh_links, id);
    if (link && link->waits) {
        link->given_up = true;
        kos_defer(hosting_of(carrier)->env, &hosting_of(carrier)->given_up);
    } else if (link) {
        link->hosted->backend->ops->link_close(link->hosted->backend, link->plugin_id, flush);
    }
}

const struct kos_carrier_ops kos_host_carrier_ops = { c_listen, c_endpoint_close, c_dial, c_send,
                                                    c_credit, c_close,          c_make, c_made };

/* ---- from the plugin ---- */

/* Addresses and sentences are shown to people and programs: one that is no text would make what they stand in vanish. */
static const char *text_or(struct kos_hosted *hosted, const char *text, const char *otherwise)
{
    json_t *probe = text ? json_string(text) : NULL;
    if (text && !probe)
        kos_hosted_broke(hosted, "gave an address or a sentence that is not UTF-8");
    const char *taken = probe ? text : otherwise;
    json_decref(probe);
    return taken;
}

void kos_service_endpoint_up(struct kos_services *services, uint64_t id, const char *address)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_link *e = by_plugin(hosted->endpoints, id);
    if (!e || e->up) {
        kos_hosted_broke(hosted, "said that endpoint %" PRIu64 " is up, which %s", id,
                         e ? "was up already" : "it was not asked for");
        return;
    }
    e->up = true;
    /* A port that was chosen is one that others may know by now. */
    size_t len = e->address ? strlen(e->address) : 0;
    if (address && *address && len > 2 && strcmp(e->address + len - 2, ":0") == 0) {
        free(e->address);
        e->address = kos_strdup(address);
    }
    kos_mesh_endpoint_up(hosted->hosting->mesh, e->mesh_id, text_or(hosted, address, ""));
}

/* It will listen there again: the mesh hears that it does not now. */
static void endpoint_wait(struct kos_hosted *hosted, struct kos_host_link *e, int32_t status, const char *text)
{
    bool was_up = e->up;
    HASH_DELETE(by_plugin, hosted->endpoints, e);
    e->plugin_id = kos_hosted_id(hosted);
    e->up = false;
    HASH_ADD(by_plugin, hosted->endpoints, plugin_id, sizeof e->plugin_id, e);
    if (was_up)
        kos_mesh_endpoint_down(hosted->hosting->mesh, e->mesh_id, status, text);
}

void kos_service_endpoint_down(struct kos_services *services, uint64_t id, int32_t status, const char *text)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_link *e = by_plugin(hosted->endpoints, id);
    if (!e) {
        kos_hosted_broke(hosted, "said that endpoint %" PRIu64 " is down, which it has not", id);
        return;
    }
    /* Being replaced, it closes what its successor is to open again. */
    if (hosted->state == KOS_HOSTED_STOPPING && hosted->cell &&
        kos_cell_after_quiet(hosted->cell) == KOS_HOSTED_RESTARTING) {
        endpoint_wait(hosted, e, hosted->why.code, hosted->why.text);
        return;
    }
    uint64_t mesh_id = e->mesh_id;
    link_free(e, &hosted->endpoints, &hosted->hosting->mesh_endpoints);
    kos_mesh_endpoint_down(hosted->hosting->mesh, mesh_id, status, text_or(hosted, text, kos_error_text(status)));
}

static void accepted(struct kos_hosted *hosted, uint64_t id, uint64_t endpoint, const struct kos_link_info *info)
{
    struct kos_host_link *e = by_plugin(hosted->endpoints, endpoint);
    if (!(id & 1) || by_plugin(hosted->links, id) || !e || !e->up) {
        kos_hosted_broke(hosted,
                         "accepted link %" PRIu64 " on endpoint %" PRIu64
                         ": the link's id must be odd and new, the endpoint up",
                         id, endpoint);
        return;
    }
    struct kos_host_link *link = link_new(hosted, id, &hosted->links);
    link->up = true;
    uint64_t mesh_id = kos_mesh_link_accepted(hosted->hosting->mesh, e->mesh_id, info);
    if (mesh_id)
        known_as(link, mesh_id, &hosted->hosting->mesh_links);
    else
        hosted->backend->ops->link_close(hosted->backend, id, false);
}

void kos_service_link_up(struct kos_services *services, uint64_t id, uint64_t endpoint, const struct kos_link_info *given)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_link_info info;
    KOS_SIZED(&info, given);
    info.local = text_or(hosted, info.local, "");
    info.remote = text_or(hosted, info.remote, "");
    if (endpoint) {
        accepted(hosted, id, endpoint, &info);
        return;
    }
    struct kos_host_link *link = by_plugin(hosted->links, id);
    if (!link || link->up) {
        kos_hosted_broke(hosted, "said that link %" PRIu64 " is up, which %s", id,
                         link ? "was up already" : "it was not asked to dial");
        return;
    }
    link->up = true;
    kos_mesh_link_up(hosted->hosting->mesh, link->mesh_id, &info);
}

void kos_service_link_received(struct kos_services *services, uint64_t id, struct kos_bytes bytes)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_link *link = by_plugin(hosted->links, id);
    if (!link || !link->up) {
        kos_hosted_broke(hosted, "received on link %" PRIu64 ", which is not up", id);
        return;
    }
    if (!link->mesh_id)
        return;
    if (bytes.len > link->credit_in) {
        kos_hosted_broke(hosted, "handed over %zu bytes on a link with a credit of %" PRIu64, bytes.len,
                         link->credit_in);
        hosted->backend->ops->link_close(hosted->backend, id, false);
        return;
    }
    link->credit_in -= bytes.len;
    kos_mesh_link_received(hosted->hosting->mesh, link->mesh_id, bytes);
}

void kos_service_link_credit(struct kos_services *services, uint64_t id, uint64_t bytes)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_link *link = by_plugin(hosted->links, id);
    if (!link || !link->up) {
        kos_hosted_broke(hosted, "gave credit on link %" PRIu64 ", which is not up", id);
        return;
    }
    if (bytes > link->outstanding) {
        kos_hosted_broke(hosted, "gave back %" PRIu64 " bytes of credit where %" PRIu64 " are outstanding", bytes,
                         link->outstanding);
        bytes = link->outstanding;
    }
    link->outstanding -= bytes;
    if (link->mesh_id && bytes > 0)
        kos_mesh_link_credit(hosted->hosting->mesh, link->mesh_id, bytes);
}

void kos_service_link_down(struct kos_services *services, uint64_t id, int32_t status, const char *text)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_link *link = by_plugin(hosted->links, id);
    if (!link) {
        kos_hosted_broke(hosted, "said that link %" PRIu64 " is down, which it has not", id);
        return;
    }
    uint64_t mesh_id = link->mesh_id;
    link_free(link, &hosted->links, &hosted->hosting->mesh_links);
    if (mesh_id)
        kos_mesh_link_down(hosted->hosting->mesh, mesh_id, status, text_or(hosted, text, kos_error_text(status)));
}

void kos_links_drop(struct kos_hosted *hosted)
{
    struct kos_host_link *link, *next, *endpoints = hosted->endpoints;
    HASH_ITER(by_plugin, hosted->links, link, next)
        if (!link->waits)
            kos_service_link_down(&hosted->services, link->plugin_id, hosted->why.code, hosted->why.text);
    if (hosted->state != KOS_HOSTED_RESTARTING) {
        HASH_ITER(by_plugin, hosted->endpoints, link, next)
            kos_service_endpoint_down(&hosted->services, link->plugin_id, hosted->why.code, hosted->why.text);
        return;
    }
    hosted->endpoints = NULL;
    while (endpoints) {
        struct kos_host_link *e = endpoints;
        HASH_DELETE(by_plugin, endpoints, e);
        HASH_ADD(by_plugin, hosted->endpoints, plugin_id, sizeof e->plugin_id, e);
        endpoint_wait(hosted, e, hosted->why.code, hosted->why.text);
    }
}

void kos_links_back(struct kos_hosted *hosted)
{
    struct kos_host_link *link, *next;
    HASH_ITER(by_plugin, hosted->endpoints, link, next)
        hosted->backend->ops->listen(hosted->backend, link->plugin_id, link->address);
    HASH_ITER(by_plugin, hosted->links, link, next)
        if (link->waits && !link->given_up) {
            link->waits = false;
            hosted->backend->ops->dial(hosted->backend, link->plugin_id, link->address);
        }
}

void kos_links_given_up(struct kos_deferred *deferred)
{
    struct kos_hosting *hosting =
        (struct kos_hosting *)((char *)deferred - offsetof(struct kos_hosting, given_up));
    struct kos_host_link *link, *next;
    HASH_ITER(by_mesh, hosting->mesh_links, link, next)
        if (link->given_up)
            kos_service_link_down(&link->hosted->services, link->plugin_id, KOS_E_CLOSED,
                                  "given up while its transport was restarting");
}

size_t kos_links_count(const struct kos_hosted *hosted)
{
    return HASH_CNT(by_plugin, hosted->links);
}
