/* SPDX-License-Identifier: Apache-2.0
 * Where an address leads: to a node, and to one of its agents when it is known by id. */
#include "mesh/mesh_private.h"

#include <stdlib.h>

void mesh_own_address(struct kos_mesh *mesh, const struct klp_id *id, char ret_text[KLP_ADDRESS_MAX])
{
    struct mesh_local_agent *agent = mesh_local_agent(mesh, id);
    char text[KLP_ID_TEXT];
    if (mesh->name[0] && agent) {
        snprintf(ret_text, KLP_ADDRESS_MAX, "klp://agent.%s.%s", agent->name, mesh->name);
    } else if (mesh->name[0] && klp_id_eq(id, &mesh->self)) {
        snprintf(ret_text, KLP_ADDRESS_MAX, "klp://node.%s", mesh->name);
    } else {
        klp_id_text(id, text);
        snprintf(ret_text, KLP_ADDRESS_MAX, "klp://%s.%s", klp_id_eq(id, &mesh->self) ? "node" : "agent", text);
    }
}

static struct mesh_record_agent *record_agent(struct mesh_record *record, const char *name, const struct klp_id *id)
{
    for (size_t i = 0; record && i < record->agent_count; i++)
        if (name ? strcmp(record->agents[i].name, name) == 0 : klp_id_eq(&record->agents[i].id, id))
            return &record->agents[i];
    return NULL;
}

/* A known id: which node it is, or is hosted by. */
static int32_t by_id(struct kos_mesh *mesh, const struct klp_id *id, struct mesh_target *target,
                     struct kos_error *ret_error)
{
    char text[KLP_ID_TEXT];
    struct mesh_target found = *target;
    struct klp_digest identity;
    found.node = *id;
    if (klp_id_eq(id, &mesh->self)) {
        *target = found;
        return KOS_OK;
    }
    found.agent = *id;
    found.has_agent = true;
    if (mesh_local_agent(mesh, id)) {
        found.node = mesh->self;
        *target = found;
        return KOS_OK;
    }
    const struct klp_log *log = kos_trust_log(mesh->trust, id);
    if (log && klp_log_kind(log) == KLP_KIND_NODE) {
        found.has_agent = false;
        memset(&found.agent, 0, sizeof found.agent);
        *target = found;
        return KOS_OK;
    }
    if (log && klp_log_kind(log) == KLP_KIND_AGENT && klp_log_delegator(log, &found.node, &identity)) {
        *target = found;
        return KOS_OK;
    }
    for (struct mesh_record *record = mesh->records; record; record = record->hh.next) {
        if (record_agent(record, NULL, id)) {
            found.node = record->node;
            *target = found;
            return KOS_OK;
        }
    }
    klp_id_text(id, text);
    return kos_fail(ret_error, KOS_E_NOTFOUND,
                    "nothing is known of %s here: connect to its node first (kosctl connect peer://HOST:PORT)", text);
}

/* Names that nodes claim for themselves serve when the operator has spoken for the node and only one claims it. */
static int32_t by_claimed_name(struct kos_mesh *mesh, const char *name, struct klp_id *ret_id)
{
    struct klp_id found;
    uint32_t count = 0;
    for (struct mesh_record *record = mesh->records; record; record = record->hh.next)
        if (strcmp(record->name, name) == 0 && kos_trust_score(mesh->trust, &record->node) > 0)
            found = record->node, count++;
    for (struct mesh_peer *peer = mesh->peers; peer; peer = peer->hh.next)
        if (strcmp(peer->name, name) == 0 && kos_trust_score(mesh->trust, &peer->id) > 0 &&
            !(count && klp_id_eq(&found, &peer->id)))
            found = peer->id, count++;
    if (count != 1)
        return KOS_E_NOTFOUND;
    *ret_id = found;
    return KOS_OK;
}

static int32_t node_by_name(struct kos_mesh *mesh, const char *name, struct klp_id *ret_id, struct kos_error *ret_error)
{
    if (mesh->name[0] && strcmp(name, mesh->name) == 0) {
        *ret_id = mesh->self;
        return KOS_OK;
    }
    if (klp_id_parse(kos_bytes_str(name), ret_id) >= 0)
        return KOS_OK;
    if (kos_trust_name_get(mesh->trust, name, ret_id) >= 0 || by_claimed_name(mesh, name, ret_id) >= 0)
        return KOS_OK;
    return kos_fail(ret_error, KOS_E_NOTFOUND,
                    "no node is known as %s here: make the name known with kosctl connect peer://HOST:PORT, or trust "
                    "the node that has it (kosctl trust klp://node.ID)",
                    name);
}

/* The text that travels: with the name that the target gives itself, or with its id when ours is another. */
static void agent_text(struct kos_mesh *mesh, const struct klp_id *node, const char *label, const char *typed,
                       char ret_text[KLP_ADDRESS_MAX])
{
    struct mesh_peer *peer = mesh_peer_find(mesh, node);
    struct mesh_record *record = mesh_record_find(mesh, node);
    const char *own = klp_id_eq(node, &mesh->self) ? mesh->name
                      : peer && peer->name[0]      ? peer->name
                      : record                     ? record->name
                                                   : "";
    char id[KLP_ID_TEXT];
    klp_id_text(node, id);
    snprintf(ret_text, KLP_ADDRESS_MAX, "klp://agent.%s.%s", label, strcmp(own, typed) == 0 ? typed : id);
}

static int32_t by_agent_name(struct kos_mesh *mesh, const char *name, struct mesh_target *target,
                             struct kos_error *ret_error)
{
    const char *dot = strchr(name, '.');
    char label[KLP_LABEL_MAX + 1];
    if (!dot || (size_t)(dot - name) >= sizeof label)
        return kos_fail(ret_error, KOS_E_NOTFOUND,
                        "klp://agent.%s names no node: an agent's address is klp://agent.LABEL.NODE", name);
    snprintf(label, sizeof label, "%.*s", (int)(dot - name), name);
    int32_t rc = node_by_name(mesh, dot + 1, &target->node, ret_error);
    if (rc < 0)
        return rc;
    if (klp_id_eq(&target->node, &mesh->self)) {
        struct mesh_local_agent *agent = mesh_local_agent_by_name(mesh, label);
        if (!agent)
            return kos_fail(ret_error, KOS_E_NOTFOUND,
                            "this node has no agent %s; kosctl agent list shows those it has", label);
        target->agent = agent->id;
        target->has_agent = true;
    } else {
        struct mesh_record_agent *agent = record_agent(mesh_record_find(mesh, &target->node), label, NULL);
        if (agent)
            target->agent = agent->id;
        target->has_agent = agent != NULL;
    }
    agent_text(mesh, &target->node, label, dot + 1, target->text);
    return KOS_OK;
}

/* agent://LABEL.0xPREFIX: an agent of that label whose id, or whose node's id, begins so. */
static int32_t by_prefix(struct kos_mesh *mesh, const struct klp_address *address, struct mesh_target *target,
                         struct kos_error *ret_error)
{
    struct klp_id found_node, found_agent;
    uint32_t count = 0;
    struct mesh_local_agent *own = mesh_local_agent_by_name(mesh, address->name);
    if (own && (klp_id_prefix_match(&address->prefix, &own->id) || klp_id_prefix_match(&address->prefix, &mesh->self)))
        found_node = mesh->self, found_agent = own->id, count++;
    for (struct mesh_record *record = mesh->records; record; record = record->hh.next) {
        struct mesh_record_agent *agent = record_agent(record, address->name, NULL);
        if (agent &&
            (klp_id_prefix_match(&address->prefix, &agent->id) || klp_id_prefix_match(&address->prefix, &record->node)))
            found_node = record->node, found_agent = agent->id, count++;
    }
    if (count != 1)
        return kos_fail(ret_error, count ? KOS_E_INVALID : KOS_E_NOTFOUND,
                        count ? "%u agents named %s match that prefix: give more digits"
                              : "%u agents named %s with that prefix are known: connect to the node first",
                        count, address->name);
    target->node = found_node;
    target->agent = found_agent;
    target->has_agent = true;
    return KOS_OK;
}

static void default_text(const struct mesh_target *target, char ret_text[KLP_ADDRESS_MAX])
{
    char text[KLP_ID_TEXT];
    klp_id_text(target->has_agent ? &target->agent : &target->node, text);
    snprintf(ret_text, KLP_ADDRESS_MAX, "klp://%s.%s", target->has_agent ? "agent" : "node", text);
}

static int32_t by_address(struct kos_mesh *mesh, const char *text, struct mesh_target *target,
                          struct kos_error *ret_error)
{
    struct klp_address address;
    struct klp_id id;
    if (!strstr(text, "://")) {
        int32_t rc = kos_trust_find(mesh->trust, text, &id, ret_error);
        if (rc < 0 && node_by_name(mesh, text, &target->node, NULL) >= 0)
            return KOS_OK;
        return rc < 0 ? rc : by_id(mesh, &id, target, ret_error);
    }
    int32_t rc = klp_address_parse(kos_bytes_str(text), &address, ret_error);
    if (rc < 0)
        return rc;
    switch (address.form) {
    case KLP_ADDRESS_ID:
        if (address.kind == KLP_KIND_NODE || address.kind == KLP_KIND_AGENT)
            return by_id(mesh, &address.id, target, ret_error);
        break;
    case KLP_ADDRESS_NAME:
        if (address.kind == KLP_KIND_NODE)
            return node_by_name(mesh, address.name, &target->node, ret_error);
        if (address.kind == KLP_KIND_AGENT)
            return by_agent_name(mesh, address.name, target, ret_error);
        break;
    case KLP_ADDRESS_PEER: return node_by_name(mesh, address.name, &target->node, ret_error);
    case KLP_ADDRESS_PREFIX: return by_prefix(mesh, &address, target, ret_error);
    default: break;
    }
    return kos_fail(ret_error, KOS_E_INVALID, "%s names no node or agent", text);
}

int32_t mesh_route_resolve(struct kos_mesh *mesh, const char *text, const struct klp_id *id,
                           struct mesh_target *ret_target, struct kos_error *ret_error)
{
    struct mesh_target target = { .has_agent = false };
    bool given = id && !mesh_id_zero(id);
    bool typed = text && strncmp(text, "klp://", 6) == 0 && strlen(text) < sizeof target.text;
    int32_t rc = given ? by_id(mesh, id, &target, ret_error) : by_address(mesh, text ? text : "", &target, ret_error);
    if (rc < 0)
        return rc;
    if (given && typed)
        snprintf(target.text, sizeof target.text, "%s", text);
    if (!target.text[0])
        default_text(&target, target.text);
    *ret_target = target;
    return KOS_OK;
}

int32_t kos_mesh_resolve(struct kos_mesh *mesh, const char *address, struct klp_id *ret_node, struct klp_id *ret_agent,
                         struct kos_error *ret_error)
{
    struct mesh_target target;
    int32_t rc = mesh_route_resolve(mesh, address, NULL, &target, ret_error);
    if (rc < 0)
        return rc;
    *ret_node = target.node;
    *ret_agent = target.agent;
    return KOS_OK;
}
