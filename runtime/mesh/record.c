/* SPDX-License-Identifier: Apache-2.0
 *
 * Node records: the statement by which a node says where it can be reached and which agents it has. Body:
 *   {"addresses":["tcp://..."],"agents":[{"id":"..","name":"..","skills":[".."],"trust_required":n}],
 *    "name":"..","roles":[".."]}
 * It goes to peers whose score lets them see it, again when it changed.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

/* ---- our own ---- */

void mesh_record_changed(struct kos_mesh *mesh)
{
    free(mesh->own_record);
    mesh->own_record = NULL;
    kos_defer(mesh->env, &mesh->record_told);
    for (struct mesh_link *link = mesh->links; link; link = link->hh.next)
        if (link->session)
            link->session->record_sent = false;
    mesh->records_due = true;
    if (mesh->started)
        kos_defer(mesh->env, &mesh->turn);
}

/* A socket bound to all addresses says nothing about where it can be reached. */
static bool reachable(const struct mesh_endpoint *endpoint)
{
    return endpoint->up && !strstr(endpoint->bound, "://0.0.0.0:") && !strstr(endpoint->bound, "://[::]:");
}

static void put_strings(struct klp_json_out *out, char *const *list)
{
    klp_json_array(out);
    for (size_t i = 0; list && list[i]; i++)
        klp_json_put_cstr(out, list[i]);
    klp_json_close(out, ']');
}

static void put_agents(struct klp_json_out *out, const struct kos_mesh *mesh, size_t count)
{
    klp_json_array(out);
    for (size_t i = 0; i < count; i++) {
        const struct mesh_local_agent *agent = &mesh->agents[i];
        char id[KLP_ID_TEXT];
        klp_id_text(&agent->id, id);
        klp_json_object(out);
        klp_json_name(out, "id");
        klp_json_put_cstr(out, id);
        klp_json_name(out, "name");
        klp_json_put_cstr(out, agent->name);
        klp_json_name(out, "skills");
        put_strings(out, agent->skills);
        klp_json_name(out, "trust_required");
        klp_json_put_double(out, agent->trust_required);
        klp_json_close(out, '}');
    }
    klp_json_close(out, ']');
}

static int32_t make_body(const struct kos_mesh *mesh, size_t agents, uint8_t *data, size_t cap,
                         struct kos_bytes *ret_body)
{
    struct klp_json_out out;
    size_t addresses = 0;
    klp_json_begin(&out, data, cap);
    klp_json_object(&out);
    klp_json_name(&out, "addresses");
    klp_json_array(&out);
    for (struct mesh_endpoint *endpoint = mesh->endpoints; endpoint && addresses < MESH_ADDRESSES_MAX;
         endpoint = endpoint->next)
        if (reachable(endpoint))
            klp_json_put_cstr(&out, endpoint->bound), addresses++;
    klp_json_close(&out, ']');
    klp_json_name(&out, "agents");
    put_agents(&out, mesh, agents);
    klp_json_name(&out, "name");
    klp_json_put_cstr(&out, mesh->name);
    klp_json_name(&out, "roles");
    put_strings(&out, mesh->roles);
    klp_json_close(&out, '}');
    return klp_json_end(&out, ret_body);
}

/* Order is (event, seq): a seq must never come again, also after a restart with the clock set back. 0: the last one
 * cannot be read. */
static uint64_t next_seq(struct kos_mesh *mesh)
{
    uint8_t *value, be[8];
    size_t len;
    uint64_t seq = (uint64_t)mesh_now(mesh);
    int32_t rc = kos_store_get(mesh->store, "mesh", kos_bytes_str("record_seq"), &value, &len);
    if (rc < 0 && rc != KOS_E_NOTFOUND)
        return 0;
    if (rc >= 0) {
        struct unpack in = { kos_bytes(value, len), false };
        uint64_t last = unpack_uint(&in, 8);
        seq = seq > last ? seq : last + 1;
        free(value);
    }
    struct kos_tx *tx = kos_tx_begin(mesh->store);
    mesh_entry_key(seq, be);
    kos_tx_put(tx, "mesh", kos_bytes_str("record_seq"), kos_bytes(be, sizeof be));
    kos_tx_commit(tx, NULL, NULL);
    return seq;
}

static bool make_own(struct kos_mesh *mesh)
{
    struct kos_identity *node = kos_keys_node(kos_trust_keys(mesh->trust));
    struct klp_statement statement = { .kind = MESH_RECORD_KIND,
                                       .issuer = mesh->self,
                                       .event = kos_identity_event(node),
                                       .seq = next_seq(mesh),
                                       .created = mesh_now(mesh) };
    if (!statement.seq) {
        kos_log(mesh->env, KOS_LOG_ERROR, "mesh", "no node record could be made: its last number cannot be read");
        return false;
    }
    statement.expires = statement.created + MESH_RECORD_LIFE_MS;
    uint8_t *body = kos_new(KLP_STATEMENT_MAX), *text = kos_new(KLP_STATEMENT_MAX);
    struct kos_bytes made;
    size_t len, agents = mesh->agent_count < MESH_AGENTS_MAX ? mesh->agent_count : MESH_AGENTS_MAX;
    int32_t rc;
    /* The envelope takes some of the room; what does not fit can still be addressed by name. */
    while ((rc = make_body(mesh, agents, body, KLP_STATEMENT_MAX - 1024, &made)) < 0 && agents)
        agents /= 2;
    if (rc >= 0)
        rc = klp_statement_make(&statement, made, kos_identity_secret(node), text, KLP_STATEMENT_MAX, &len);
    free(body);
    if (rc < 0) {
        free(text);
        kos_log(mesh->env, KOS_LOG_ERROR, "mesh", "no node record could be made: %s", kos_error_text(rc));
        return false;
    }
    if (agents < mesh->agent_count)
        kos_log(mesh->env, KOS_LOG_WARNING, "mesh", "the node record names %zu of %zu agents: it has at most %d bytes",
                agents, mesh->agent_count, KLP_STATEMENT_MAX);
    mesh->own_record = text;
    mesh->own_record_len = len;
    return true;
}

static bool may_see(struct mesh_session *session)
{
    struct kos_mesh *mesh = session->mesh;
    if (kos_trust_score(mesh->trust, &session->proof.id) <= 0)
        return false;
    struct kos_policy_request request = { .direction = KOS_OUTBOUND,
                                          .peer = session->proof.id,
                                          .peer_name = "",
                                          .type = "NODE_RECORD",
                                          .transport = session->link->transport,
                                          .agent = "" };
    struct kos_policy_decision decision;
    kos_trust_decide(mesh->trust, &request, &decision);
    return decision.code >= 0;
}

void mesh_record_send(struct mesh_session *session)
{
    struct kos_mesh *mesh = session->mesh;
    if (session->record_sent || (session->link->slow && !session->record_wanted) || !may_see(session) || (!mesh->own_record && !make_own(mesh)))
        return;
    session->record_sent = true;
    mesh_session_send_logs_for(session, &mesh->self);
    mesh_session_queue_copy(session, KLP_FRAME_STATEMENT, KLP_CLASS_CONTROL,
                            kos_bytes(mesh->own_record, mesh->own_record_len));
}

static void tell_changed(struct kos_deferred *deferred)
{
    struct kos_mesh *mesh = (struct kos_mesh *)((char *)deferred - offsetof(struct kos_mesh, record_told));
    if (mesh->record_changed)
        mesh->record_changed(mesh->record_arg);
}

void kos_mesh_on_record(struct kos_mesh *mesh, void (*changed)(void *arg), void *arg)
{
    mesh->record_changed = changed;
    mesh->record_arg = arg;
}

void mesh_record_init(struct kos_mesh *mesh)
{
    mesh->record_told.run = tell_changed;
}

bool kos_mesh_own_record(struct kos_mesh *mesh, struct kos_bytes *ret_record,
                         const char *ret_addresses[KOS_MESH_ADDRESSES_MAX + 1])
{
    size_t count = 0;
    if (!mesh->own_record && !make_own(mesh))
        return false;
    for (struct mesh_endpoint *e = mesh->endpoints; e && count < KOS_MESH_ADDRESSES_MAX; e = e->next)
        if (reachable(e))
            ret_addresses[count++] = e->bound;
    ret_addresses[count] = NULL;
    *ret_record = kos_bytes(mesh->own_record, mesh->own_record_len);
    return true;
}

/* ---- others' ---- */

static struct mesh_record *cached(struct kos_mesh *mesh, const struct klp_id *node)
{
    struct mesh_record *record;
    HASH_FIND(hh, mesh->records, node, sizeof *node, record);
    return record;
}

static void record_free(struct kos_mesh *mesh, struct mesh_record *record)
{
    HASH_DEL(mesh->records, record);
    for (size_t i = 0; record->addresses[i]; i++)
        free(record->addresses[i]);
    for (size_t i = 0; i < record->agent_count; i++) {
        for (size_t k = 0; record->agents[i].skills[k]; k++)
            free(record->agents[i].skills[k]);
        free(record->agents[i].skills);
    }
    free(record->agents);
    free(record);
}

void mesh_records_free(struct kos_mesh *mesh)
{
    struct mesh_record *record, *next;
    HASH_ITER(hh, mesh->records, record, next)
        record_free(mesh, record);
}

static char *plain_string(struct klp_json value, size_t max)
{
    struct kos_bytes text;
    return klp_json_plain(value, &text) >= 0 && text.len && text.len <= max
               ? kos_format("%.*s", (int)text.len, (const char *)text.data)
               : NULL;
}

static bool read_agent(struct klp_json value, struct mesh_record_agent *ret_agent)
{
    struct kos_bytes text;
    struct klp_json_iter iter;
    struct klp_json skill, skills = klp_json_get(value, "skills");
    size_t count = 0;
    if (klp_json_plain(klp_json_get(value, "id"), &text) < 0 || klp_id_parse(text, &ret_agent->id) < 0)
        return false;
    if (klp_json_plain(klp_json_get(value, "name"), &text) < 0 || klp_label_check(text) < 0)
        return false;
    snprintf(ret_agent->name, sizeof ret_agent->name, "%.*s", (int)text.len, (const char *)text.data);
    if (klp_json_double(klp_json_get(value, "trust_required"), &ret_agent->trust_required) < 0)
        ret_agent->trust_required = 0;
    ret_agent->skills = kos_new((MESH_SKILLS_MAX + 1) * sizeof *ret_agent->skills);
    if (skills.type != KLP_JSON_ARRAY)
        return true;
    klp_json_iter_init(skills, &iter);
    while (count < MESH_SKILLS_MAX && klp_json_next(&iter, NULL, &skill)) {
        char *name = plain_string(skill, KLP_LABEL_MAX);
        if (name)
            ret_agent->skills[count++] = name;
    }
    return true;
}

static void read_agents(struct mesh_record *record, struct klp_json agents)
{
    struct klp_json_iter iter;
    struct klp_json value;
    size_t count = agents.type == KLP_JSON_ARRAY ? klp_json_count(agents) : 0;
    if (count > MESH_AGENTS_MAX)
        count = MESH_AGENTS_MAX;
    record->agents = kos_new((count ? count : 1) * sizeof *record->agents);
    if (!count)
        return;
    klp_json_iter_init(agents, &iter);
    while (record->agent_count < count && klp_json_next(&iter, NULL, &value))
        if (read_agent(value, &record->agents[record->agent_count]))
            record->agent_count++;
}

void mesh_record_take(struct kos_mesh *mesh, const struct klp_statement *statement)
{
    struct klp_json_iter iter;
    struct klp_json value, addresses = klp_json_get(statement->body, "addresses");
    struct kos_bytes text;
    size_t count = 0;
    struct mesh_record *old = cached(mesh, &statement->issuer);
    if (old)
        record_free(mesh, old);
    else if (HASH_COUNT(mesh->records) >= MESH_RECORDS_MAX)
        record_free(mesh, mesh->records);
    struct mesh_record *record = kos_new(sizeof *record);
    record->node = statement->issuer;
    if (klp_json_plain(klp_json_get(statement->body, "name"), &text) < 0 || !text.len ||
        klp_name_parse(text, record->name) < 0)
        record->name[0] = 0;
    if (addresses.type == KLP_JSON_ARRAY) {
        klp_json_iter_init(addresses, &iter);
        while (count < MESH_ADDRESSES_MAX && klp_json_next(&iter, NULL, &value)) {
            char *address = plain_string(value, KLP_ADDRESS_MAX - 1);
            if (address)
                record->addresses[count++] = address;
        }
    }
    read_agents(record, klp_json_get(statement->body, "agents"));
    HASH_ADD(hh, mesh->records, node, sizeof record->node, record);
}

struct mesh_record *mesh_record_find(struct kos_mesh *mesh, const struct klp_id *node)
{
    struct klp_statement statement;
    struct mesh_record *record = cached(mesh, node);
    uint8_t *text;
    size_t len;
    if (record || kos_trust_statement_get(mesh->trust, node, MESH_RECORD_KIND, &text, &len) < 0)
        return record;
    if (klp_statement_parse(kos_bytes(text, len), &statement, NULL) >= 0 && statement.expires > mesh_now(mesh))
        mesh_record_take(mesh, &statement);
    free(text);
    return cached(mesh, node);
}
