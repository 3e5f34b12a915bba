/* SPDX-License-Identifier: Apache-2.0
 * What a person may know of the mesh: peers, counters, watchers. */
#include "mesh/mesh_private.h"

#include <stdlib.h>

bool mesh_watched(const struct kos_mesh *mesh)
{
    return mesh->watchers != NULL;
}

void mesh_text(const char *text, char *ret_text, size_t cap)
{
    size_t at = 0;
    while (*text && at + 4 < cap) {
        const uint8_t *p = (const uint8_t *)text;
        size_t len = *p < 0x80    ? 1
                     : *p >= 0xf0 ? 4
                     : *p >= 0xe0 ? 3
                                  : 2,
               good = *p >= 0x20 && (*p < 0x7f || (*p >= 0xc2 && *p <= 0xf4));
        for (size_t i = 1; good && i < len; i++)
            good = (p[i] & 0xc0) == 0x80;
        /* Overlong forms, surrogates and what lies beyond U+10FFFF. */
        if (good && ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
                     (*p == 0xf4 && p[1] > 0x8f)))
            good = 0;
        if (good)
            memcpy(ret_text + at, text, len), at += len, text += len;
        else
            ret_text[at++] = *text == '\n' || *text == '\t' ? ' ' : '?', text++;
    }
    ret_text[at] = 0;
}

void mesh_event(struct kos_mesh *mesh, const char *event, json_t *detail)
{
    if (!detail)
        detail = json_object(); /* text that was not UTF-8 is no reason to be silent */
    for (struct kos_watcher *watcher = mesh->watchers, *next; watcher; watcher = next) {
        next = watcher->next;
        watcher->event(watcher, event, detail);
    }
    json_decref(detail);
}

void kos_mesh_tell(struct kos_mesh *mesh, const char *event, json_t *detail)
{
    mesh_event(mesh, event, detail);
}

bool kos_mesh_watched(const struct kos_mesh *mesh)
{
    return mesh_watched(mesh);
}

void kos_mesh_watch(struct kos_mesh *mesh, struct kos_watcher *watcher)
{
    LL_PREPEND(mesh->watchers, watcher);
}

void kos_mesh_unwatch(struct kos_mesh *mesh, struct kos_watcher *watcher)
{
    LL_DELETE(mesh->watchers, watcher);
}

/* ---- peers ---- */

static json_t *link_json(const struct mesh_session *session)
{
    const struct mesh_link *link = session->link;
    const struct mesh_arq *arq = session->arq;
    if (!arq)
        return json_pack("{s:b}", "datagrams", 0);
    return json_pack("{s:b,s:I,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:{s:I,s:I,s:b,s:I}}", "datagrams", 1, "mtu",
                     (json_int_t)link->mtu, "slow", (int)link->slow, "sent", (json_int_t)arq->datagrams_out, "received",
                     (json_int_t)arq->datagrams_in, "sent_again", (json_int_t)arq->sent_again, "repeats",
                     (json_int_t)arq->repeated_in, "unacknowledged", (json_int_t)arq->flight_count, "bits_per_second",
                     (json_int_t)link->bits_per_second, "airtime", "ms_per_hour", (json_int_t)link->airtime.per_hour_ms,
                     "left_ms", (json_int_t)(link->airtime.left_us / 1000), "waiting", (int)link->airtime.waiting,
                     "held", (json_int_t)link->airtime.held);
}

static json_t *session_json(const struct mesh_session *session)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:b,s:s,s:o}", "transport", session->link->transport, "address",
                     session->link->remote, "protocol", "KLP/1", "cipher",
                     session->pattern == KLP_NOISE_IK ? "Noise_IK_25519_AESGCM_SHA256" : "Noise_XX_25519_AESGCM_SHA256",
                     "since", (json_int_t)session->since_ms, "rtt_ms", (json_int_t)session->rtt_ms, "initiator",
                     (int)session->initiator, "version", session->version, "link", link_json(session));
}

static json_t *agents_json(struct kos_mesh *mesh, const struct klp_id *node)
{
    struct mesh_record *record = mesh_record_find(mesh, node);
    json_t *agents = json_array();
    for (size_t i = 0; record && i < record->agent_count; i++) {
        const struct mesh_record_agent *agent = &record->agents[i];
        json_t *skills = json_array();
        for (size_t k = 0; agent->skills[k]; k++)
            json_array_append_new(skills, json_string(agent->skills[k]));
        json_array_append_new(agents,
                              json_pack("{s:o,s:s,s:o,s:f}", "id", mesh_id_json(&agent->id), "name", agent->name,
                                        "skills", skills, "trust_required", agent->trust_required));
    }
    return agents;
}

static json_t *roles_json(const char *roles)
{
    json_t *list = json_array();
    while (*roles) {
        size_t len = strcspn(roles, " ");
        if (len)
            json_array_append_new(list, json_stringn(roles, len));
        roles += len + (roles[len] != 0);
    }
    return list;
}

/* The operator's word, else what the peer calls itself, unless that is somebody else's name here. */
static const char *shown_name(const struct mesh_peer *peer)
{
    struct kos_mesh *mesh = peer->mesh;
    struct klp_id owner;
    struct kos_error error;
    const char *petname = kos_trust_name_of(mesh->trust, &peer->id);
    if (petname[0] || !peer->name[0])
        return petname;
    if (strcmp(peer->name, mesh->name) == 0)
        return "";
    return kos_trust_find(mesh->trust, peer->name, &owner, &error) == KOS_OK && !klp_id_eq(&owner, &peer->id) ? "" : peer->name;
}

static json_t *peer_json(struct mesh_peer *peer)
{
    struct kos_mesh *mesh = peer->mesh;
    char did[KLP_DID_TEXT];
    const struct klp_log *log = kos_trust_log(mesh->trust, &peer->id);
    const struct mesh_session *session;
    json_t *sessions = json_array();
    DL_FOREACH(peer->sessions, session)
        json_array_append_new(sessions, session_json(session));
    klp_did(&peer->id, did);
    const char *state = peer->sessions ? "connected" : peer->keep ? "connecting" : "away";
    return json_pack("{s:o,s:s,s:s,s:s,s:f,s:s,s:o,s:o,s:o,s:{s:I,s:I},s:I}", "id", mesh_id_json(&peer->id), "did", did,
                     "name", shown_name(peer), "claimed_name", peer->name, "score",
                     kos_trust_score(mesh->trust, &peer->id), "state", state, "roles",
                     roles_json(peer->sessions ? peer->sessions->roles : ""), "agents", agents_json(mesh, &peer->id),
                     "sessions", sessions, "outbox", "messages", (json_int_t)peer->entries, "bytes",
                     (json_int_t)peer->bytes, "known_log_events", (json_int_t)(log ? klp_log_count(log) : 0));
}

json_t *kos_mesh_peers(struct kos_mesh *mesh)
{
    json_t *list = json_array();
    for (struct mesh_peer *peer = mesh->peers; peer; peer = peer->hh.next)
        if (!klp_id_eq(&peer->id, &mesh->self) && (peer->sessions || peer->keep || peer->entries))
            json_array_append_new(list, peer_json(peer));
    struct mesh_keep *keep;
    DL_FOREACH(mesh->keeps, keep)
        if (!keep->proven) /* nobody has answered there yet */
            json_array_append_new(list, json_pack("{s:n,s:n,s:s,s:f,s:s,s:[],s:[],s:[],s:{s:i,s:i},s:i,s:s}", "id",
                                                  "did", "name", "", "score", 0.0, "state", "connecting", "roles",
                                                  "agents", "sessions", "outbox", "messages", 0, "bytes", 0,
                                                  "known_log_events", 0, "address", keep->address));
    return list;
}

/* ---- status ---- */

static json_t *counters_json(const struct mesh_counters *counters)
{
    json_t *refused = json_object();
    for (size_t i = 1; i < sizeof counters->refused / sizeof *counters->refused; i++)
        if (counters->refused[i])
            json_object_set_new(refused, kos_error_name(-(int32_t)i), json_integer((json_int_t)counters->refused[i]));
    json_t *all = json_object();
#define COUNTER(member) json_object_set_new(all, #member, json_integer((json_int_t)counters->member))
    COUNTER(handshakes);
    COUNTER(handshakes_failed);
    COUNTER(links_refused);
    COUNTER(records_bad);
    COUNTER(bytes_in);
    COUNTER(bytes_out);
    COUNTER(verified);
    COUNTER(allowed);
    COUNTER(messages_in);
    COUNTER(handled);
    COUNTER(messages_out);
    COUNTER(transient_in);
    COUNTER(transient_out);
    COUNTER(transient_refused);
    COUNTER(transient_lost);
    COUNTER(batches_in);
    COUNTER(batches_out);
    COUNTER(repeats);
    COUNTER(receipts_in);
    COUNTER(receipts_bad);
    COUNTER(streams_in);
    COUNTER(streams_out);
    COUNTER(streams_refused);
    COUNTER(stream_bytes_in);
    COUNTER(stream_bytes_out);
#undef COUNTER
    json_object_set_new(all, "refused", refused);
    return all;
}

static json_t *limits_json(const struct kos_mesh_limits *limits)
{
    json_t *all = json_object();
#define LIMIT(member) json_object_set_new(all, #member, json_integer((json_int_t)limits->member))
    LIMIT(links);
    LIMIT(half_open_per_source);
    LIMIT(half_open);
    LIMIT(handshake_ms);
    LIMIT(idle_ping_ms);
    LIMIT(dead_ms);
    LIMIT(session_ms);
    LIMIT(credit_bytes);
    LIMIT(outbox_bytes);
    LIMIT(outbox_per_target_bytes);
    LIMIT(inbox_bytes);
    LIMIT(inbox_open);
    LIMIT(dedupe_per_peer);
    LIMIT(logs_per_peer_minute);
    LIMIT(streams_per_session);
#undef LIMIT
    return all;
}

static json_t *inbox_json(const struct kos_mesh *mesh)
{
    json_t *types = json_object();
    for (const struct mesh_lane *lane = mesh->lanes; lane; lane = lane->hh.next)
        if (lane->ready || lane->offered)
            json_object_set_new(types, lane->type,
                                json_pack("{s:I,s:I,s:I}", "waiting", (json_int_t)lane->ready, "offered",
                                          (json_int_t)lane->offered, "window", (json_int_t)lane->window));
    return json_pack("{s:I,s:I,s:I,s:o}", "messages", (json_int_t)HASH_COUNT(mesh->open), "bytes",
                     (json_int_t)mesh->stored_bytes, "offered", (json_int_t)mesh->offered, "types", types);
}

json_t *kos_mesh_status(struct kos_mesh *mesh)
{
    json_t *endpoints = json_array();
    json_int_t sessions = 0, ended = 0;
    for (const struct mesh_endpoint *endpoint = mesh->endpoints; endpoint; endpoint = endpoint->next)
        json_array_append_new(endpoints, json_pack("{s:s,s:s,s:s}", "address",
                                                   endpoint->bound ? endpoint->bound : endpoint->address, "state",
                                                   endpoint->up           ? "up"
                                                   : endpoint->status < 0 ? "down"
                                                                          : "opening",
                                                   "error", endpoint->error ? endpoint->error : ""));
    for (const struct mesh_link *link = mesh->links; link; link = link->hh.next)
        sessions += link->session && link->session->up;
    for (const struct mesh_entry *entry = mesh->entries; entry; entry = entry->hh.next)
        ended += entry->state == MESH_ENDED;
    return json_pack("{s:o,s:o,s:I,s:{s:I,s:I,s:I},s:o,s:o}", "counters", counters_json(&mesh->counters),
                     "endpoints", endpoints, "sessions", sessions, "outbox", "messages",
                     (json_int_t)HASH_COUNT(mesh->entries) - ended, "bytes", (json_int_t)mesh->outbox_bytes, "outcomes",
                     ended, "inbox", inbox_json(mesh), "limits", limits_json(&mesh->limits));
}
