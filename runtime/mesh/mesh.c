/* SPDX-License-Identifier: Apache-2.0
 * The mesh as a whole: making, starting, ending it; what its turn ends do; who watches. */
#include "mesh/mesh_private.h"

#include <stdlib.h>

enum { PEERS_IDLE = 1024, /* remembered beyond need */ SWEEP_MS = 10 /* while there is more to forget */ };

static void fill_limits(struct kos_mesh_limits *limits)
{
#define DEFAULT(member, value) limits->member = limits->member ? limits->member : (value)
    DEFAULT(links, 16384);
    DEFAULT(half_open_per_source, 16);
    DEFAULT(half_open, 1024);
    DEFAULT(handshake_ms, 10000);
    DEFAULT(idle_ping_ms, 30000);
    DEFAULT(dead_ms, 90000);
    DEFAULT(session_ms, 3600000);
    DEFAULT(credit_bytes, 2 << 20);
    DEFAULT(streams_per_session, 256);
    DEFAULT(outbox_bytes, UINT64_C(256) << 20);
    DEFAULT(outbox_per_target_bytes, UINT64_C(64) << 20);
    DEFAULT(inbox_bytes, UINT64_C(256) << 20);
    DEFAULT(inbox_open, 4096);
    DEFAULT(dedupe_per_peer, 1000000);
    DEFAULT(logs_per_peer_minute, 120);
#undef DEFAULT
    /* A whole item must fit, or its last frame would wait for credit that only the whole item gives back. */
    if (limits->credit_bytes < KLP_ITEM_MAX)
        limits->credit_bytes = KLP_ITEM_MAX;
}

void mesh_hold(struct kos_mesh *mesh)
{
    mesh->pending++;
}

bool mesh_drop(struct kos_mesh *mesh)
{
    mesh->pending--;
    if (!mesh->freed)
        return true;
    if (!mesh->pending)
        free(mesh);
    return false;
}

void mesh_work(struct kos_mesh *mesh, struct mesh_job *job, void (*run)(struct kos_work *work),
               void (*done)(struct kos_work *work))
{
    job->work.run = run;
    job->work.done = done;
    job->mesh = mesh;
    mesh_hold(mesh);
    DL_APPEND(mesh->jobs, job);
    kos_work(mesh->env, &job->work);
}

bool mesh_work_done(struct mesh_job *job)
{
    DL_DELETE(job->mesh->jobs, job);
    return mesh_drop(job->mesh);
}

bool mesh_at_once(struct kos_mesh *mesh)
{
    return !mesh->jobs && mesh->at_once++ < MESH_AT_ONCE;
}

void mesh_work_one(struct kos_mesh *mesh, struct mesh_job *job, void (*run)(struct kos_work *work),
                   void (*done)(struct kos_work *work))
{
    if (!mesh_at_once(mesh)) {
        mesh_work(mesh, job, run, done);
        return;
    }
    job->mesh = mesh;
    mesh_hold(mesh);
    DL_APPEND(mesh->jobs, job);
    run(&job->work);
    done(&job->work);
}

static void look_at_clocks(struct kos_mesh *mesh)
{
    if (mesh->turn_mono)
        return;
    mesh->turn_mono = kos_mono_ms(mesh->env);
    mesh->turn_clock = kos_now_ms(mesh->env);
}

uint64_t mesh_turn_mono(struct kos_mesh *mesh)
{
    look_at_clocks(mesh);
    return mesh->turn_mono;
}

int64_t mesh_turn_clock(struct kos_mesh *mesh)
{
    look_at_clocks(mesh);
    return mesh->turn_clock;
}

int64_t mesh_steady(struct kos_mesh *mesh)
{
    return (int64_t)kos_mono_ms(mesh->env);
}

int64_t mesh_now(struct kos_mesh *mesh)
{
    int64_t now = mesh_turn_clock(mesh);
    if (now > mesh->time_known)
        mesh->time_known = now;
    return mesh->time_known;
}

bool mesh_id_zero(const struct klp_id *id)
{
    static const struct klp_id zero;
    return klp_id_eq(id, &zero);
}

json_t *mesh_id_json(const struct klp_id *id)
{
    char text[KLP_ID_TEXT];
    klp_id_text(id, text);
    return json_string(text);
}

const char *mesh_peer_label(struct kos_mesh *mesh, const struct klp_id *id, char buf[KLP_ID_TEXT])
{
    const char *name = klp_id_eq(id, &mesh->self) ? mesh->name : kos_trust_name_of(mesh->trust, id);
    if (name && name[0])
        return name;
    klp_id_text(id, buf);
    return buf;
}

/* The proof binds our identity to our Noise key, not to one session: made again only when the log grew. */
const uint8_t *mesh_proof(struct kos_mesh *mesh)
{
    struct kos_identity *node = kos_keys_node(kos_trust_keys(mesh->trust));
    const struct klp_log *log = kos_identity_log(node);
    const struct klp_event *head = klp_log_head(log);
    if (mesh->has_proof && memcmp(&head->digest, &mesh->proof_head, sizeof head->digest) == 0)
        return mesh->proof;
    mesh->has_proof = klp_proof_make(log, kos_identity_secret(node), mesh->static_public, mesh->proof) >= 0;
    mesh->proof_head = head->digest;
    return mesh->has_proof ? mesh->proof : NULL;
}

/* ---- the turn ---- */

/* Time known is stored once a second at most: what a clock set back could open is then a second wide, and messages of
 * that second are still in the dedupe table. */
static void store_time(struct kos_mesh *mesh)
{
    int64_t now = mesh_now(mesh);
    if (now - mesh->time_stored < 1000)
        return;
    struct kos_tx *tx = kos_tx_begin(mesh->store);
    uint8_t be[8];
    mesh_entry_key((uint64_t)now, be);
    kos_tx_put(tx, "mesh", kos_bytes_str("time"), kos_bytes(be, sizeof be));
    if (kos_tx_commit(tx, NULL, NULL) >= 0)
        mesh->time_stored = now;
}

static void close_batches(struct kos_turn_end *hook)
{
    struct kos_mesh *mesh = (struct kos_mesh *)(void *)((char *)hook - offsetof(struct kos_mesh, close_batches));
    if (mesh->records_due && mesh->started) {
        mesh->records_due = false;
        for (struct mesh_link *link = mesh->links, *next; link; link = next) {
            next = link->hh.next;
            if (link->session && link->session->up)
                mesh_record_send(link->session);
        }
    }
    mesh_inbox_turn(mesh);
    mesh_receipts_sign(mesh);
    while (mesh->touched) {
        struct mesh_peer *peer = mesh->touched;
        mesh->touched = peer->touched_next;
        peer->touched = false;
        mesh_sign_peer(peer);
    }
}

static void flush_sessions(struct kos_turn_end *hook)
{
    struct kos_mesh *mesh = (struct kos_mesh *)(void *)((char *)hook - offsetof(struct kos_mesh, flush_sessions));
    while (mesh->dirty) {
        struct mesh_session *session = mesh->dirty;
        mesh->dirty = session->dirty_next;
        session->dirty = false;
        mesh_session_flush(session);
    }
}

/* The last of all: what holds for a turn. */
static void turn_over(struct kos_turn_end *hook)
{
    struct kos_mesh *mesh = (struct kos_mesh *)(void *)((char *)hook - offsetof(struct kos_mesh, turn_over));
    if (mesh->sending)
        mesh->sending->holds = false;
    mesh->known.holds = false;
    mesh->at_once = 0;
    mesh->turn_mono = 0;
}

static void turn_asked(struct kos_deferred *deferred)
{
    (void)deferred; /* the turn's ends do what is to be done */
}

static void offers_asked(struct kos_deferred *deferred)
{
    struct kos_mesh *mesh = (struct kos_mesh *)(void *)((char *)deferred - offsetof(struct kos_mesh, offers));
    mesh_offer_run(mesh);
}

void mesh_due_at(struct kos_mesh *mesh, int64_t due)
{
    if (due >= mesh->due_at || !mesh->started)
        return;
    int64_t now = mesh_steady(mesh);
    mesh->due_at = due;
    kos_timer_set(mesh->env, mesh->due_timer, due > now ? (uint64_t)(due - now) : 0);
}

static void due_fired(void *arg)
{
    struct kos_mesh *mesh = arg;
    mesh->due_at = INT64_MAX;
    mesh_outbox_due(mesh);
    mesh_offer_due(mesh);
    mesh_loose_due(mesh);
    int64_t next = mesh_heap_first(&mesh->outbox_due), other = mesh_heap_first(&mesh->inbox_due);
    mesh_due_at(mesh, next < other ? next : other);
}

static void sweep_fired(void *arg)
{
    struct kos_mesh *mesh = arg;
    store_time(mesh);
    mesh->sweeps_on = mesh_expiry_sweep(mesh, mesh->sweeps_on);
    if (HASH_COUNT(mesh->peers) > PEERS_IDLE)
        for (struct mesh_peer *peer = mesh->peers, *next; peer; peer = next) {
            next = peer->hh.next;
            mesh_peer_release(peer);
        }
    kos_timer_set(mesh->env, mesh->sweep_timer, mesh->sweeps_on ? SWEEP_MS : 1000);
}

/* ---- life ---- */

static int32_t load_time(struct kos_mesh *mesh)
{
    uint8_t *value;
    size_t len;
    int32_t rc = kos_store_get(mesh->store, "mesh", kos_bytes_str("time"), &value, &len);
    if (rc < 0)
        return rc == KOS_E_NOTFOUND ? KOS_OK : rc;
    struct unpack in = { kos_bytes(value, len), false };
    mesh->time_known = mesh->time_stored = (int64_t)unpack_uint(&in, 8);
    free(value);
    if (mesh->time_known > kos_now_ms(mesh->env) + 60000)
        kos_log(mesh->env, KOS_LOG_WARNING, "mesh",
                "the clock is %lld s behind the last time known here; until it has caught up, that time decides what "
                "has expired",
                (long long)((mesh->time_known - kos_now_ms(mesh->env)) / 1000));
    return KOS_OK;
}

/* All of it or none: a message, a receipt or a time that a disk only failed to read now would be taken as never known. */
static int32_t load_all(struct kos_mesh *mesh, struct kos_error *ret_error)
{
    int32_t rc = load_time(mesh);
    if (rc >= 0)
        rc = mesh_keeps_load(mesh);
    if (rc >= 0)
        rc = mesh_expiry_load(mesh);
    if (rc >= 0)
        rc = mesh_outbox_load(mesh);
    if (rc >= 0)
        rc = mesh_offer_load(mesh);
    return rc < 0 ? kos_fail(ret_error, rc, "the store's messages cannot be read: %s", kos_error_text(rc)) : KOS_OK;
}

int32_t kos_mesh_new(struct kos_env *env, struct kos_store *store, struct kos_trust *trust,
                     const struct kos_mesh_options *options, struct kos_mesh **ret_mesh, struct kos_error *ret_error)
{
    char name[KLP_NAME_MAX + 1] = "";
    if (options->name && options->name[0] && klp_name_parse(kos_bytes_str(options->name), name) < 0)
        return kos_fail(ret_error, KOS_E_INVALID,
                        "\"%s\" cannot be a node's name: it takes labels of a-z, 0-9 and '-' with dots between them",
                        options->name);
    struct kos_mesh *mesh = kos_new(sizeof *mesh);
    mesh->env = env;
    mesh->store = store;
    mesh->trust = trust;
    mesh->limits = options->limits;
    fill_limits(&mesh->limits);
    mesh->name = kos_strdup(name);
    mesh->version = kos_strdup(options->version ? options->version : "");
    mesh->roles = mesh_list_copy(options->roles);
    mesh->self = *kos_identity_id(kos_keys_node(kos_trust_keys(trust)));
    klp_x25519_public(kos_keys_noise_secret(kos_trust_keys(trust)), mesh->static_public);
    mesh->next_id = mesh->next_seq = 1;
    mesh->due_at = INT64_MAX;
    mesh->due_timer = kos_timer_new(env, due_fired, mesh);
    mesh->sweep_timer = kos_timer_new(env, sweep_fired, mesh);
    mesh->log_limit = kos_log_limit_new(env, 60000);
    mesh->scratch = kos_new(KLP_RECORD_PLAIN_MAX + KLP_RECORD_OVERHEAD + KLP_DATAGRAM_HEAD);
    mesh->opened = kos_new(KLP_RECORD_PLAIN_MAX);
    mesh->turn.run = turn_asked;
    mesh->offers.run = offers_asked;
    mesh_record_init(mesh);
    mesh->close_batches = (struct kos_turn_end){ close_batches, 10, NULL };
    mesh->flush_sessions = (struct kos_turn_end){ flush_sessions, 30, NULL };
    mesh->turn_over = (struct kos_turn_end){ turn_over, INT32_MAX, NULL };
    int32_t rc = load_all(mesh, ret_error);
    if (rc < 0) {
        kos_mesh_free(mesh);
        return rc;
    }
    *ret_mesh = mesh;
    return KOS_OK;
}

void kos_mesh_free(struct kos_mesh *mesh)
{
    if (!mesh)
        return;
    if (mesh->started) {
        mesh->env->ops->turn_end_remove(mesh->env, &mesh->close_batches);
        mesh->env->ops->turn_end_remove(mesh->env, &mesh->flush_sessions);
        mesh->env->ops->turn_end_remove(mesh->env, &mesh->turn_over);
    }
    mesh->stopping = true;
    mesh_keeps_free(mesh);
    struct mesh_link *link, *next_link;
    HASH_ITER(hh, mesh->links, link, next_link)
        mesh_link_free(link);
    mesh_inbox_free(mesh);
    mesh_outbox_free(mesh);
    mesh_offer_free(mesh);
    struct mesh_peer *peer, *next_peer;
    HASH_ITER(hh, mesh->peers, peer, next_peer)
        mesh_peer_free(peer);
    mesh_records_free(mesh);
    mesh_agents_free(mesh);
    mesh_endpoints_free(mesh);
    kos_undefer(mesh->env, &mesh->turn);
    kos_undefer(mesh->env, &mesh->offers);
    kos_undefer(mesh->env, &mesh->stop_deferred);
    kos_undefer(mesh->env, &mesh->record_told);
    kos_timer_free(mesh->env, mesh->due_timer);
    kos_timer_free(mesh->env, mesh->sweep_timer);
    kos_timer_free(mesh->env, mesh->stop_timer);
    kos_log_limit_free(mesh->log_limit);
    mesh_list_free(mesh->roles);
    free(mesh->name);
    free(mesh->version);
    free(mesh->own_record);
    free(mesh->scratch);
    free(mesh->sealed);
    free(mesh->asked_lately);
    free(mesh->sending);
    mesh_loose_free(mesh->spare_chunk);
    free(mesh->opened);
    mesh->freed = true;
    /* Workers may hold secrets of the keys, which go next. Commits come back when the store closes. */
    mesh_hold(mesh);
    while (mesh->jobs)
        kos_work_finish(mesh->env, &mesh->jobs->work);
    mesh_drop(mesh);
}

void kos_mesh_start(struct kos_mesh *mesh, struct kos_carrier *carrier, struct kos_sink *sink)
{
    mesh->carrier = carrier;
    mesh->sink = sink;
    mesh->started = true;
    mesh->turn_mono = 0;
    mesh->env->ops->turn_end_add(mesh->env, &mesh->close_batches);
    mesh->env->ops->turn_end_add(mesh->env, &mesh->flush_sessions);
    mesh->env->ops->turn_end_add(mesh->env, &mesh->turn_over);
    for (struct mesh_endpoint *endpoint = mesh->endpoints; endpoint; endpoint = endpoint->next)
        if (!endpoint->up && endpoint->status == KOS_OK)
            carrier->ops->listen(carrier, endpoint->id, endpoint->address);
    kos_timer_set(mesh->env, mesh->sweep_timer, 0);
    mesh_keeps_start(mesh);
    for (struct mesh_peer *peer = mesh->peers; peer; peer = peer->hh.next)
        if (peer->entries)
            mesh_peer_touch(peer);
    for (struct mesh_entry *entry = mesh->entries, *next; entry; entry = next) {
        next = entry->hh.next;
        if (entry->state == MESH_ENDED)
            mesh_outbox_offer(mesh, entry);
    }
    int64_t next = mesh_heap_first(&mesh->outbox_due);
    mesh_due_at(mesh, next);
    kos_defer(mesh->env, &mesh->offers);
}

static void stop_done(struct kos_mesh *mesh)
{
    void (*stopped)(void *) = mesh->stopped;
    mesh->stopped = NULL;
    kos_timer_stop(mesh->env, mesh->stop_timer);
    if (stopped)
        stopped(mesh->stopped_arg);
}

static void stop_timeout(void *arg)
{
    stop_done(arg);
}

static void stop_check(struct kos_deferred *deferred)
{
    struct kos_mesh *mesh = (struct kos_mesh *)(void *)((char *)deferred - offsetof(struct kos_mesh, stop_deferred));
    if (!mesh->links)
        stop_done(mesh);
}

void kos_mesh_stop(struct kos_mesh *mesh, void (*done)(void *arg), void *arg)
{
    mesh->stopping = true;
    mesh->stopped = done;
    mesh->stopped_arg = arg;
    mesh->stop_deferred.run = stop_check;
    mesh->stop_timer = kos_timer_new(mesh->env, stop_timeout, mesh);
    kos_timer_set(mesh->env, mesh->stop_timer, 2000);
    for (struct mesh_endpoint *endpoint = mesh->endpoints; mesh->carrier && endpoint; endpoint = endpoint->next)
        if (endpoint->up)
            mesh->carrier->ops->endpoint_close(mesh->carrier, endpoint->id);
    struct mesh_link *link, *next;
    HASH_ITER(hh, mesh->links, link, next) {
        if (link->session)
            mesh_session_close(link->session, KOS_E_CLOSED, "this node is stopping");
        else
            mesh_link_close(link, false, KOS_E_CLOSED, "this node is stopping");
    }
    kos_defer(mesh->env, &mesh->stop_deferred);
}
