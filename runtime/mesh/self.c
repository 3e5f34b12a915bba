/* SPDX-License-Identifier: Apache-2.0
 * What this node shows of itself: where it listens, which agents it has. */
#include "mesh/mesh_private.h"

#include <stdlib.h>

enum { LISTEN_AGAIN_MS = 1000, LISTEN_AGAIN_MAX_MS = 60000 };

char **mesh_list_copy(const char *const *list)
{
    size_t count = 0;
    while (list && list[count])
        count++;
    char **copy = kos_new((count + 1) * sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = kos_strdup(list[i]);
    return copy;
}

void mesh_list_free(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

/* ---- endpoints ---- */

static struct mesh_endpoint *endpoint_find(struct kos_mesh *mesh, uint64_t id)
{
    struct mesh_endpoint *endpoint;
    LL_FOREACH(mesh->endpoints, endpoint)
        if (endpoint->id == id)
            break;
    return endpoint;
}

/* What was listened on once is listened on again: a modem is plugged in again, an address returns. */
static void arm_again(struct mesh_endpoint *endpoint)
{
    uint64_t wait = endpoint->again_ms ? 2 * endpoint->again_ms : LISTEN_AGAIN_MS;
    endpoint->again_ms = wait < LISTEN_AGAIN_MAX_MS ? wait : LISTEN_AGAIN_MAX_MS;
    kos_timer_set(endpoint->mesh->env, endpoint->again, endpoint->again_ms);
}

static void listen_again(void *arg)
{
    struct mesh_endpoint *endpoint = arg;
    struct kos_carrier *carrier = endpoint->mesh->carrier;
    if (endpoint->up || endpoint->mesh->stopping)
        return;
    if (!carrier || carrier->ops->listen(carrier, endpoint->id, endpoint->address) < 0)
        arm_again(endpoint);
}

int32_t kos_mesh_listen(struct kos_mesh *mesh, const char *address, struct kos_error *ret_error)
{
    uint64_t id = mesh->next_id++;
    if (mesh->carrier) {
        int32_t rc = mesh->carrier->ops->listen(mesh->carrier, id, address);
        if (rc < 0)
            return kos_fail(ret_error, rc, "cannot listen on %s: %s", address,
                            rc == KOS_E_UNSUPPORTED ? "no transport that is loaded has this scheme"
                                                    : kos_error_text(rc));
    }
    struct mesh_endpoint *endpoint = kos_new(sizeof *endpoint);
    endpoint->mesh = mesh;
    endpoint->id = id;
    endpoint->address = kos_strdup(address);
    endpoint->again = kos_timer_new(mesh->env, listen_again, endpoint);
    LL_APPEND(mesh->endpoints, endpoint);
    return KOS_OK;
}

bool kos_mesh_listening(const struct kos_mesh *mesh)
{
    const struct mesh_endpoint *endpoint;
    LL_FOREACH(mesh->endpoints, endpoint)
        if (!endpoint->up && endpoint->status == KOS_OK)
            return false;
    return true;
}

void kos_mesh_endpoint_up(struct kos_mesh *mesh, uint64_t id, const char *address)
{
    struct mesh_endpoint *endpoint = endpoint_find(mesh, id);
    if (!endpoint)
        return;
    free(endpoint->bound);
    endpoint->bound = kos_strdup(address);
    endpoint->up = true;
    endpoint->status = KOS_OK;
    endpoint->again_ms = 0;
    kos_timer_stop(mesh->env, endpoint->again);
    kos_log(mesh->env, KOS_LOG_NOTICE, "mesh", "listening on %s", address);
    mesh_event(mesh, "endpoint_up", json_pack("{s:s}", "address", address));
    mesh_record_changed(mesh);
}

void kos_mesh_endpoint_down(struct kos_mesh *mesh, uint64_t id, int32_t status, const char *text)
{
    struct mesh_endpoint *endpoint = endpoint_find(mesh, id);
    if (!endpoint)
        return;
    const char *what = endpoint->up ? "no longer listening" : "cannot listen";
    bool same = endpoint->again_ms && endpoint->error && strcmp(endpoint->error, text ? text : "") == 0;
    if (endpoint->bound && status < 0 && !mesh->stopping)
        arm_again(endpoint);
    endpoint->up = false;
    endpoint->status = status;
    free(endpoint->error);
    endpoint->error = kos_strdup(text ? text : "");
    if (!mesh->stopping)
        kos_log(mesh->env, same ? KOS_LOG_DEBUG : KOS_LOG_ERROR, "mesh", "%s on %s: %s", what, endpoint->address,
                text && text[0] ? text : kos_error_text(status));
    mesh_event(mesh, "endpoint_down",
               json_pack("{s:s,s:s,s:s}", "address", endpoint->address, "error", kos_error_name(status), "text",
                         endpoint->error));
    mesh_record_changed(mesh);
}

void mesh_endpoints_free(struct kos_mesh *mesh)
{
    struct mesh_endpoint *endpoint, *next;
    LL_FOREACH_SAFE(mesh->endpoints, endpoint, next) {
        kos_timer_free(mesh->env, endpoint->again);
        free(endpoint->address);
        free(endpoint->bound);
        free(endpoint->error);
        free(endpoint);
    }
}

/* ---- agents of this node ---- */

void mesh_agents_free(struct kos_mesh *mesh)
{
    for (size_t i = 0; i < mesh->agent_count; i++)
        mesh_list_free(mesh->agents[i].skills);
    free(mesh->agents);
    mesh->agents = NULL;
    mesh->agent_count = 0;
}

void kos_mesh_agents_set(struct kos_mesh *mesh, const struct kos_mesh_agent *agents, size_t count)
{
    if (mesh->sending)
        mesh->sending->holds = false;
    mesh_agents_free(mesh);
    mesh->agents = kos_new((count ? count : 1) * sizeof *mesh->agents);
    mesh->agent_count = count;
    for (size_t i = 0; i < count; i++) {
        struct mesh_local_agent *agent = &mesh->agents[i];
        agent->id = agents[i].id;
        snprintf(agent->name, sizeof agent->name, "%s", agents[i].name);
        agent->skills = mesh_list_copy(agents[i].skills);
        agent->trust_required = agents[i].trust_required;
    }
    mesh_record_changed(mesh);
}

struct mesh_local_agent *mesh_local_agent(struct kos_mesh *mesh, const struct klp_id *id)
{
    for (size_t i = 0; i < mesh->agent_count; i++)
        if (klp_id_eq(&mesh->agents[i].id, id))
            return &mesh->agents[i];
    return NULL;
}

struct mesh_local_agent *mesh_local_agent_by_name(struct kos_mesh *mesh, const char *name)
{
    for (size_t i = 0; i < mesh->agent_count; i++)
        if (strcmp(mesh->agents[i].name, name) == 0)
            return &mesh->agents[i];
    return NULL;
}
