/* SPDX-License-Identifier: Apache-2.0
 *
 * What discovery services tell: nodes, and where they are said to be. As long as that is said they are kept connected,
 * as those of the operator are; nothing of it is stored, and nothing is believed that the handshake does not prove.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

bool mesh_found_holds(const struct mesh_keep *keep)
{
    return keep->found && keep->found_until_ms > mesh_steady(keep->mesh);
}

const char *mesh_found_next(struct mesh_keep *keep)
{
    uint32_t count = 0;
    while (keep->found[count])
        count++;
    return keep->found[keep->attempts++ % count];
}

void mesh_found_free(struct mesh_keep *keep)
{
    for (char **address = keep->found; address && *address; address++)
        free(*address);
    free(keep->found);
    keep->found = NULL;
}

static void found_set(struct mesh_keep *keep, const char *const *addresses, uint64_t ttl_ms)
{
    size_t count = 0;
    mesh_found_free(keep);
    keep->found = kos_new((KOS_MESH_ADDRESSES_MAX + 1) * sizeof *keep->found);
    for (; count < KOS_MESH_ADDRESSES_MAX && addresses[count]; count++)
        keep->found[count] = kos_strdup(addresses[count]);
    uint64_t ttl = ttl_ms < MESH_FOUND_TTL_MS ? ttl_ms : MESH_FOUND_TTL_MS;
    keep->found_until_ms = mesh_steady(keep->mesh) + (int64_t)ttl;
}

static struct mesh_keep *keep_of(struct kos_mesh *mesh, const struct klp_id *id, const char *const *addresses)
{
    struct mesh_keep *keep;
    DL_FOREACH(mesh->keeps, keep) {
        if (id && ((keep->proven && klp_id_eq(&keep->peer, id)) || (keep->has_expect && klp_id_eq(&keep->expect, id))))
            return keep;
        for (size_t i = 0; !id && addresses[i]; i++)
            if (strcmp(keep->address, addresses[i]) == 0)
                return keep;
    }
    return NULL;
}

static bool sound(const char *const *addresses)
{
    for (size_t i = 0; addresses[i]; i++)
        if (!strstr(addresses[i], "://") || strlen(addresses[i]) >= KLP_ADDRESS_MAX)
            return false;
    return true;
}

/* The record names its issuer and, where discovery tells none, its addresses. It becomes ours only through a session:
 * what is not yet proven serves as a hint where to dial. */
static bool from_record(struct kos_bytes record, struct klp_id *ret_id, const char **addresses, char *texts)
{
    struct klp_statement statement;
    struct klp_json_iter iter;
    struct klp_json value, list;
    size_t count = 0;
    if (klp_statement_parse(record, &statement, NULL) < 0 || strcmp(statement.kind, MESH_RECORD_KIND) != 0)
        return false;
    *ret_id = statement.issuer;
    list = klp_json_get(statement.body, "addresses");
    if (addresses[0] || list.type != KLP_JSON_ARRAY)
        return true;
    klp_json_iter_init(list, &iter);
    while (count < KOS_MESH_ADDRESSES_MAX && klp_json_next(&iter, NULL, &value)) {
        struct kos_bytes text;
        if (klp_json_plain(value, &text) < 0 || text.len == 0 || text.len >= KLP_ADDRESS_MAX)
            continue;
        snprintf(texts + count * KLP_ADDRESS_MAX, KLP_ADDRESS_MAX, "%.*s", (int)text.len, (const char *)text.data);
        addresses[count] = texts + count * KLP_ADDRESS_MAX;
        addresses[++count] = NULL;
    }
    return true;
}

void kos_mesh_found(struct kos_mesh *mesh, const struct klp_id *id, struct kos_bytes record,
                    const char *const *addresses, uint64_t ttl_ms)
{
    char texts[KOS_MESH_ADDRESSES_MAX * KLP_ADDRESS_MAX];
    const char *list[KOS_MESH_ADDRESSES_MAX + 1] = { NULL };
    struct klp_id issuer;
    for (size_t i = 0; i < KOS_MESH_ADDRESSES_MAX && addresses[i]; i++)
        list[i] = addresses[i];
    if (record.len > 0 && from_record(record, &issuer, list, texts) && !id)
        id = &issuer;
    if (mesh->stopping || !list[0] || ttl_ms == 0 || (id && klp_id_eq(id, &mesh->self)) || !sound(list))
        return;
    for (struct mesh_endpoint *endpoint = mesh->endpoints; endpoint; endpoint = endpoint->next)
        if (endpoint->bound && strcmp(endpoint->bound, list[0]) == 0)
            return; /* told of ourselves */
    struct mesh_peer *peer = id ? mesh_peer_find(mesh, id) : NULL;
    struct mesh_keep *keep = keep_of(mesh, id, list);
    if (!keep && peer && mesh_peer_session(peer))
        return; /* it came to us */
    if (!keep) {
        uint32_t count = 0;
        DL_COUNT(mesh->keeps, keep, count);
        if (count >= MESH_KEEPS_FOUND_MAX) {
            if (kos_log_limit_pass(mesh->log_limit, "found", NULL))
                kos_log(mesh->env, KOS_LOG_WARNING, "mesh",
                        "discovery tells of more nodes than are kept connected to (%d): %s is passed over",
                        MESH_KEEPS_FOUND_MAX, list[0]);
            return;
        }
        keep = mesh_keep_new(mesh, list[0]);
        keep->has_expect = id != NULL;
        if (id) {
            keep->expect = *id;
            mesh_peer_get(mesh, id)->keep = keep;
        }
    }
    bool fresh = !keep->found && !keep->durable;
    found_set(keep, list, ttl_ms);
    if (fresh && !keep->link && mesh->started)
        mesh_keep_dial(keep);
}

void kos_mesh_lost(struct kos_mesh *mesh, const struct klp_id *id)
{
    static const char *const none[] = { NULL };
    struct mesh_keep *keep = keep_of(mesh, id, none);
    if (keep)
        keep->found_until_ms = 0;
}
