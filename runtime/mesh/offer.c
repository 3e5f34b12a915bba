/* SPDX-License-Identifier: Apache-2.0
 * What is stored goes to handlers, in order, so many at a time, until a transaction has given its verdict: across
 * restarts of handlers and of this node. The handle is the entry's number in the store, twice, plus 0 (outcomes: 1).
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

enum { STORED_VERSION = 1 };

void mesh_stored_pack(struct kos_buf *out, uint8_t klass, const struct klp_id *peer, const struct klp_id *agent,
                      struct kos_bytes signature, struct kos_bytes body)
{
    pack_uint(out, STORED_VERSION, 1);
    pack_uint(out, klass, 1);
    pack_raw(out, peer->b, sizeof peer->b);
    pack_raw(out, agent->b, sizeof agent->b);
    pack_bytes(out, signature);
    pack_bytes(out, body);
}

bool mesh_stored_unpack(struct kos_bytes value, struct mesh_stored *ret_stored)
{
    struct unpack in = { value, false };
    struct mesh_stored stored;
    uint64_t version = unpack_uint(&in, 1);
    stored.klass = (uint8_t)unpack_uint(&in, 1);
    unpack_into(&in, stored.peer.b, sizeof stored.peer.b);
    unpack_into(&in, stored.agent.b, sizeof stored.agent.b);
    stored.signature = unpack_bytes(&in);
    stored.body = unpack_bytes(&in);
    if (in.bad || version != STORED_VERSION)
        return false;
    *ret_stored = stored;
    return true;
}

struct mesh_open *mesh_offer_find(struct kos_mesh *mesh, uint64_t seq)
{
    struct mesh_open *open;
    HASH_FIND(hh, mesh->open, &seq, sizeof seq, open);
    return open;
}

struct mesh_open *mesh_offer_add(struct kos_mesh *mesh, uint64_t seq, const char *type, const struct klp_id *peer,
                                 struct kos_bytes value, size_t len)
{
    struct mesh_open *open = kos_new(sizeof *open);
    struct mesh_peer *owner = mesh_peer_get(mesh, peer);
    open->seq = seq;
    open->state = MESH_OPEN_NEW;
    open->peer = *peer;
    open->lane = mesh_lane_get(mesh, type);
    open->bytes = len + MESH_OPEN_COST;
    if (value.len && mesh->kept_bytes + value.len <= MESH_OPEN_KEPT) {
        open->value = kos_memdup(value.data, value.len);
        open->value_len = value.len;
        mesh->kept_bytes += value.len;
    }
    owner->stored++;
    owner->stored_bytes += open->bytes;
    mesh->stored_bytes += open->bytes;
    HASH_ADD(hh, mesh->open, seq, sizeof open->seq, open);
    return open;
}

struct mesh_open *mesh_offer_add_transient(struct mesh_in *in, uint32_t index, uint64_t seq, const struct klp_id *agent)
{
    struct kos_mesh *mesh = in->job.mesh;
    struct mesh_open *open = &in->opens[index];
    open->seq = seq;
    open->state = MESH_OPEN_NEW;
    open->peer = in->peer;
    open->agent = *agent;
    open->in = in;
    open->index = index;
    open->lane = mesh_lane_get(mesh, in->messages[index].type);
    open->bytes = in->messages[index].body.len + MESH_OPEN_COST;
    in->open_count++;
    HASH_ADD(hh, mesh->open, seq, sizeof open->seq, open);
    return open;
}

static void forget_value(struct kos_mesh *mesh, struct mesh_open *open)
{
    mesh->kept_bytes -= open->value ? open->value_len : 0;
    free(open->value);
    open->value = NULL;
}

static void leave_state(struct kos_mesh *mesh, struct mesh_open *open, bool settled)
{
    if (open->state == MESH_OPEN_READY) {
        mesh_lane_remove(open);
    } else if (open->state == MESH_OPEN_OFFERED) {
        mesh->offered--;
        mesh_lane_taken(open, settled);
    }
    if (open->lane->ready && mesh->started)
        kos_defer(mesh->env, &mesh->offers);
}

void mesh_offer_remove(struct kos_mesh *mesh, struct mesh_open *open)
{
    struct mesh_peer *peer = mesh_peer_find(mesh, &open->peer);
    leave_state(mesh, open, true);
    HASH_DEL(mesh->open, open);
    if (open->in) {
        mesh_in_release(open->in);
        return;
    }
    peer->stored--;
    peer->stored_bytes -= open->bytes;
    mesh->stored_bytes -= open->bytes;
    forget_value(mesh, open);
    free(open);
}

void mesh_offer_ready(struct kos_mesh *mesh, struct mesh_open *open)
{
    leave_state(mesh, open, false);
    open->state = MESH_OPEN_READY;
    mesh_lane_add(open);
    if (mesh->started)
        kos_defer(mesh->env, &mesh->offers);
}

void mesh_offer_defer(struct kos_mesh *mesh, struct mesh_open *open, uint64_t retry_ms)
{
    leave_state(mesh, open, true);
    open->state = MESH_OPEN_DEFERRED;
    open->again = true;
    open->due_ms = mesh_steady(mesh) +
                   (int64_t)(retry_ms < KLP_MESSAGE_LIFE_MAX_MS ? retry_ms : KLP_MESSAGE_LIFE_MAX_MS);
    mesh_heap_push(&mesh->inbox_due, open->due_ms, open->seq);
    mesh_due_at(mesh, open->due_ms);
}

void mesh_offer_due(struct kos_mesh *mesh)
{
    uint64_t seq;
    while (mesh_heap_pop(&mesh->inbox_due, mesh_steady(mesh), &seq)) {
        struct mesh_open *open = mesh_offer_find(mesh, seq);
        if (open && open->state == MESH_OPEN_DEFERRED)
            mesh_offer_ready(mesh, open);
    }
}

int32_t mesh_offer_value(struct kos_mesh *mesh, struct mesh_open *open, uint8_t **ret_value, size_t *ret_len)
{
    uint8_t key[8];
    if (open->value) {
        *ret_value = kos_memdup(open->value, open->value_len);
        *ret_len = open->value_len;
        return KOS_OK;
    }
    mesh_entry_key(open->seq, key);
    return kos_store_get(mesh->store, "inbox", kos_bytes(key, sizeof key), ret_value, ret_len);
}

/* The message as it came, wherever it is. */
int32_t mesh_offer_message(struct kos_mesh *mesh, struct mesh_open *open, struct klp_id *ret_agent,
                           struct klp_message *ret_message, uint8_t **ret_value)
{
    struct mesh_stored stored;
    uint8_t *value;
    size_t len;
    if (open->in) {
        *ret_agent = open->agent;
        *ret_message = open->in->messages[open->index];
        *ret_value = NULL;
        return KOS_OK;
    }
    int32_t rc = mesh_offer_value(mesh, open, &value, &len);
    if (rc < 0)
        return rc;
    if (!mesh_stored_unpack(kos_bytes(value, len), &stored) || klp_message_parse(stored.body, ret_message, NULL) < 0) {
        free(value);
        return KOS_E_CORRUPT;
    }
    *ret_agent = stored.agent;
    *ret_value = value;
    return KOS_OK;
}

static char *text_of(struct kos_bytes bytes)
{
    return kos_format("%.*s", (int)bytes.len, bytes.data ? (const char *)bytes.data : "");
}

static const struct mesh_known *know(struct kos_mesh *mesh, const struct klp_id *source)
{
    struct mesh_known *known = &mesh->known;
    char id[KLP_ID_TEXT];
    if (known->holds && klp_id_eq(&known->id, source))
        return known;
    known->id = *source;
    known->score = kos_trust_score(mesh->trust, source);
    snprintf(known->label, sizeof known->label, "%s", mesh_peer_label(mesh, source, id));
    known->holds = true;
    return known;
}

static void fill_message(struct kos_mesh *mesh, const struct mesh_open *open, const struct mesh_stored *stored,
                         const struct klp_message *parsed, struct kos_message *ret_message)
{
    *ret_message = (struct kos_message){ .size = sizeof *ret_message,
                                         .klass = stored->klass,
                                         .type = parsed->type,
                                         .created_ms = parsed->created,
                                         .expires_ms = parsed->expires };
    memcpy(ret_message->id, parsed->id.b, sizeof ret_message->id);
    memcpy(ret_message->source_id, parsed->source_id.b, sizeof ret_message->source_id);
    memcpy(ret_message->target_id, parsed->target_id.b, sizeof ret_message->target_id);
    memcpy(ret_message->agent, stored->agent.b, sizeof ret_message->agent);
    if (parsed->has_reply_to)
        memcpy(ret_message->reply_to, parsed->reply_to.b, sizeof ret_message->reply_to);
    const struct mesh_known *known = know(mesh, &parsed->source_id);
    ret_message->trust = known->score;
    ret_message->source_name = known->label;
    ret_message->payload = parsed->payload.text;
    ret_message->again = open->again;
    ret_message->batch = stored->signature.len > KLP_SIGNATURE_LEN;
    ret_message->event = parsed->event;
    ret_message->delivery = parsed->transient ? KOS_TRANSIENT : KOS_DURABLE;
    memcpy(ret_message->digest, parsed->digest.b, sizeof ret_message->digest);
}

/* The item is this node's own copy, verified and parsed: the quote behind a text gives way to its end. */
static const char *end_text(struct kos_bytes text)
{
    if (!text.len)
        return "";
    ((char *)(uintptr_t)text.data)[text.len] = 0;
    return (const char *)text.data;
}

static void offer_transient(struct kos_mesh *mesh, struct mesh_open *open)
{
    const struct klp_message *parsed = &open->in->messages[open->index];
    const struct mesh_stored stored = { .klass = open->in->klass,
                                        .peer = open->peer,
                                        .agent = open->agent,
                                        .signature = open->in->signature };
    struct kos_message message;
    mesh->offered++;
    mesh_lane_offered(open);
    open->state = MESH_OPEN_OFFERED;
    fill_message(mesh, open, &stored, parsed, &message);
    message.batch = message.batch || open->in->type == KLP_FRAME_BATCH;
    message.source = end_text(parsed->source);
    message.target = end_text(parsed->target);
    message.trace = end_text(parsed->trace);
    open->again = true;
    mesh->sink->ops->message(mesh->sink, open->seq << 1, &message);
}

static void offer(struct kos_mesh *mesh, struct mesh_open *open)
{
    struct mesh_stored stored;
    struct klp_message parsed;
    struct kos_message message;
    uint8_t *value;
    size_t len;
    int32_t rc = mesh_offer_value(mesh, open, &value, &len);
    forget_value(mesh, open);
    mesh->offered++;
    open->state = MESH_OPEN_OFFERED;
    mesh_lane_offered(open);
    if (rc < 0 || !mesh_stored_unpack(kos_bytes(value, len), &stored) ||
        klp_message_parse(stored.body, &parsed, NULL) < 0) {
        kos_log(mesh->env, KOS_LOG_ERROR, "mesh", "message %llu of the inbox cannot be read and is left alone",
                (unsigned long long)open->seq);
        if (rc >= 0)
            free(value);
        return;
    }
    fill_message(mesh, open, &stored, &parsed, &message);
    char *from = text_of(parsed.source), *to = text_of(parsed.target), *trace = text_of(parsed.trace);
    message.source = from;
    message.target = to;
    message.trace = trace;
    open->again = true;
    mesh->sink->ops->message(mesh->sink, open->seq << 1, &message);
    free(from);
    free(to);
    free(trace);
    free(value);
}

void mesh_offer_run(struct kos_mesh *mesh)
{
    /* No lane goes while the mesh is there. */
    for (struct mesh_lane *lane = mesh->lanes; lane; lane = lane->hh.next) {
        struct mesh_open *open;
        while (!mesh->stopping && (open = mesh_lane_next(lane)) != NULL) {
            mesh_lane_remove(open);
            if (open->in)
                offer_transient(mesh, open);
            else
                offer(mesh, open);
        }
    }
}

void kos_mesh_owner_back(struct kos_mesh *mesh, const char *owner)
{
    struct mesh_open *open, *next_open;
    HASH_ITER(hh, mesh->open, open, next_open) {
        if (open->state != MESH_OPEN_OFFERED || mesh->sink->ops->holds(mesh->sink, open->seq << 1))
            continue;
        if (open->in) { /* a transient message comes once: nobody knows what its handler did with it */
            mesh->counters.transient_lost++;
            mesh_offer_remove(mesh, open);
        } else {
            mesh_offer_ready(mesh, open);
        }
    }
    struct mesh_entry *entry, *next;
    HASH_ITER(hh, mesh->entries, entry, next)
        if (entry->state == MESH_ENDED && strcmp(entry->owner, owner) == 0)
            mesh_outbox_again(mesh, entry, 0);
}

static bool load(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct kos_mesh *mesh = arg;
    struct unpack in = { key, false };
    struct mesh_stored stored;
    uint64_t seq = unpack_uint(&in, 8);
    if (seq >= mesh->next_seq)
        mesh->next_seq = seq + 1;
    if (!mesh_stored_unpack(value, &stored)) {
        kos_log(mesh->env, KOS_LOG_ERROR, "mesh", "message %llu of the inbox cannot be read and is left alone",
                (unsigned long long)seq);
        return true;
    }
    struct klp_message message;
    bool read = klp_message_parse(stored.body, &message, NULL) >= 0; /* else its offer says what is wrong */
    struct mesh_open *open =
        mesh_offer_add(mesh, seq, read ? message.type : "", &stored.peer, kos_bytes(NULL, 0), value.len);
    open->again = true;
    mesh_offer_ready(mesh, open);
    return true;
}

int32_t mesh_offer_load(struct kos_mesh *mesh)
{
    struct kos_bytes all = { NULL, 0 };
    return kos_store_scan(mesh->store, "inbox", all, all, load, mesh);
}

void mesh_offer_free(struct kos_mesh *mesh)
{
    struct mesh_open *open, *next;
    HASH_ITER(hh, mesh->open, open, next) {
        HASH_DEL(mesh->open, open);
        if (open->in) {
            mesh_in_release(open->in);
            continue;
        }
        free(open->value);
        free(open);
    }
    struct mesh_lane *lane, *next_lane;
    HASH_ITER(hh, mesh->lanes, lane, next_lane)
        mesh_lane_free(lane);
    free(mesh->inbox_due.at);
}
