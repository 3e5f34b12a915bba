/* SPDX-License-Identifier: Apache-2.0
 *
 * What plugins ask of the host, behind every backend: rights are checked, ids are counted, and what belongs to other
 * rooms is passed on. Backends call these when no other call of the runtime is under way. Private to host.
 */
#ifndef KOS_HOST_SERVICES_H
#define KOS_HOST_SERVICES_H

#include <kos/agents.h>
#include <kos/transport.h>
#include <uthash.h>
#include "host/host.h"
#include "driver/driver.h"
#include "core/buf.h"

enum kos_rights {
    KOS_RIGHT_LISTEN = 1, KOS_RIGHT_CONNECT = 2, KOS_RIGHT_DEVICE = 4, KOS_RIGHT_NET = 8, KOS_RIGHT_SEND = 16,
    KOS_RIGHT_SIGN = 32, KOS_RIGHT_AGENTS = 64, KOS_RIGHT_FILES = 128, KOS_RIGHT_EXEC = 256,
    KOS_RIGHT_STREAM = 512,
};
enum kos_hosted_state {
    KOS_HOSTED_LOADED = 1, KOS_HOSTED_RUNNING, KOS_HOSTED_STOPPING, KOS_HOSTED_FINISHED,
    KOS_HOSTED_RESTARTING,      /* its cell ended and comes back */
};
enum { KOS_HOSTED_SCAN_BYTES = 1 << 20, KOS_HOSTED_SECRET_BYTES = 64 << 10, KOS_HOSTED_LOG_PER_S = 50, KOS_HOSTED_SECRETS = 64 };

struct kos_opening;     /* open.c */
struct kos_host_tx;     /* tx.c */
struct kos_held;        /* tx.c: a message or outcome the plugin holds */
struct kos_host_link;   /* carrier.c */
struct kos_host_call;   /* control.c */
struct kos_host_run;    /* agents.c */
struct kos_secret_op;   /* secret.c */
struct kos_host_op;     /* ops.c */
struct kos_bridge_delivery;    /* bridge.c */
struct kos_injection;
struct kos_http_prefix; /* http.c */
struct kos_http_request;
struct kos_http_fetch;
struct kos_host_stream; /* stream.c */
struct kos_cell;        /* cell.c */
struct kos_reload;      /* reload.c */

/* One plugin: a section of the policy. */
struct kos_hosted {
    struct kos_agents_owner owner;          /* first: agents.c comes back by it */
    struct kos_services services;           /* what its backend asks comes in by it */
    struct kos_hosting *hosting;
    struct kos_hosted *next;
    char *name, *path, *place, *space, *directory;  /* section, file, "file:line", store space, own directory or NULL */
    json_t *description;
    const struct kos_setting *const *schema;
    struct kos_conf *conf;
    const char *const *types;               /* wired to it: types_own */
    char **types_own;
    uint32_t rights;                        /* enum kos_rights: granted and asked */
    bool wants_outcomes;                    /* kos_handler.outcome is there */
    enum kos_hosted_state state;
    struct kos_backend *backend;
    struct kos_cell *cell;                  /* NULL: in this process */
    struct kos_reload *reload;              /* under way */
    struct kos_error why;                   /* what ends what is under way */
    uint64_t broken, log_second, logged;    /* rules broken; lines in this second */
    uint64_t next_id;                       /* of what the host names: even */
    struct kos_opening *openings;
    struct kos_host_tx *txs, *committing, *settling;    /* settling: of a cell that has ended */
    size_t tx_bytes;                        /* that these carry */
    struct kos_held *held, *held_by_handle;
    struct kos_host_link *links, *endpoints;
    struct kos_host_call *calls;
    uint32_t hung_up;                       /* of the calls */
    struct kos_host_run *runs, *runs_by_owned;
    struct kos_secret_op *secret_ops;
    struct kos_host_op *ops;                /* that the host asked of it */
    bool announcing, announce_again;        /* discovery */
    char *bridge_space;                     /* store space of a bridge */
    const struct kos_policy_map *maps;      /* what goes out by it */
    size_t map_count;
    struct kos_policy_map *maps_own;
    uint64_t bridge_retry_ms;
    struct kos_bridge_delivery *deliveries;
    struct kos_injection *injections;
    struct kos_http_request *http_requests; /* that it is to answer */
    struct kos_host_stream *streams;        /* by the plugin's id */
    uint64_t stream_bytes;                  /* that they may have on their way to it, of what they share */
    bool streams_owed;                      /* one of them waits for its part of it */
    uint64_t next_stream;                   /* of those it accepts: odd */
    const char *const *stream_names;        /* wired to it: streams_own */
    char **streams_own;
};

struct kos_host_carrier { struct kos_carrier carrier; struct kos_hosting *hosting; };
struct kos_host_sink { struct kos_sink sink; struct kos_hosting *hosting; };
struct kos_host_streams { struct kos_streams streams; struct kos_hosting *hosting; };

struct kos_hosting {
    struct kos_env *env;
    struct kos_store *store;
    struct kos_trust *trust;
    struct kos_mesh *mesh;
    struct kos_registry *agents;
    char *plugin_dir, *secrets_dir, *state_dir, *cell_program;
    struct kos_cell_launcher *cells;
    bool no_programs;
    struct kos_hosted *plugins;
    struct kos_host_carrier carrier;
    struct kos_host_sink sink;
    struct kos_host_streams streams;
    struct kos_host_stream *mesh_streams;                /* by the mesh's ids */
    struct kos_host_link *mesh_links, *mesh_endpoints;   /* by the mesh's ids */
    struct kos_deferred given_up;                        /* dials that waited for a cell */
    struct kos_host_call *calls;                         /* by the caller's id */
    uint64_t next_call;
    struct kos_http_prefix *http_prefixes;
    struct kos_http_request *http_requests;              /* by the service's id */
    struct kos_http_fetch *http_fetches;                 /* by the service's operation */
    struct kos_log_limit *limit;
    struct kos_timer *stop_timer;
    struct kos_deferred stop_check;
    void (*stop_done)(void *arg);
    void *stop_arg;
    bool started, stopping;
};

/* hosting.c */
bool kos_hosted_offers(const struct kos_hosted *hosted, const char *feature);
bool kos_hosted_running(const struct kos_hosted *hosted);
struct kos_hosted *kos_hosted_find(struct kos_hosting *hosting, const char *name);
uint64_t kos_hosted_id(struct kos_hosted *hosted);               /* a fresh even id */
/* A rule of the SDK was broken: counted, and logged once per plugin and minute. */
void kos_hosted_broke(struct kos_hosted *hosted, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct kos_hosted *kos_hosted_of(struct kos_services *services);
void kos_hosted_quiet(struct kos_hosted *hosted);                /* drop what is under way */
void kos_hosted_complete(struct kos_hosted *hosted, uint64_t op, int32_t status, struct kos_bytes result);
void kos_hosted_complete_text(struct kos_hosted *hosted, uint64_t op, int32_t status, const char *text);

/* It runs from now on, for the first time or again: it is told what it has to know. */
void kos_hosted_started(struct kos_hosted *hosted);

/* ops.c: `done` comes once, from the plugin's complete or when the plugin is gone (KOS_E_INTERRUPTED). */
typedef void kos_op_done(void *arg, int32_t status, struct kos_bytes result);
uint64_t kos_op_new(struct kos_hosted *hosted, kos_op_done *done, void *arg);
void kos_service_complete(struct kos_services *services, uint64_t op, int32_t status, struct kos_bytes result);
void kos_ops_drop(struct kos_hosted *hosted);
size_t kos_ops_count(const struct kos_hosted *hosted);
/* A section of the policy, in no list yet. */
struct kos_hosted *kos_hosted_new(struct kos_hosting *hosting, const struct kos_policy_plugin *section);
void kos_hosted_free(struct kos_hosted *hosted);
/* Everything that can be known before it runs; takes the description. */
int32_t kos_hosted_examine(struct kos_hosted *hosted, const struct kos_policy_plugin *section, json_t *description,
                           struct kos_error *ret_error);
int32_t kos_hosted_directory(struct kos_hosted *hosted, struct kos_error *ret_error);
/* What module and section say of two plugins of one name, exchanged. */
void kos_hosted_swap(struct kos_hosted *one, struct kos_hosted *other);

/* reload.c */
/* What was checked takes the place of what is there. */
void kos_reload_take(struct kos_hosted *hosted);
/* Tells who asked; nothing when none is under way. */
void kos_reload_end(struct kos_hosted *hosted, int32_t status, const char *text);

/* What ends what is under way when it is stopped in order. */
void kos_hosted_stopped_why(struct kos_hosted *hosted);
/* Its cell is there again: what waits for it comes. */
void kos_hosted_back(struct kos_hosted *hosted);

/* cell.c */
struct kos_cell *kos_cell_new(struct kos_hosted *hosted, const struct kos_policy_plugin *section);
void kos_cell_free(struct kos_cell *cell);
/* Starts the process and has the plugin loaded there; kos_cell_await blocks until its init has returned. */
int32_t kos_cell_begin(struct kos_cell *cell, struct kos_error *ret_error);
int32_t kos_cell_await(struct kos_cell *cell, struct kos_error *ret_error);
/* What the plugin did ends it: the rest of a sentence. */
void kos_cell_cut(struct kos_cell *cell, const char *what);
/* The state in which its plugin is once it said stopped. */
enum kos_hosted_state kos_cell_after_quiet(struct kos_cell *cell);
/* Stops the plugin, and begins with what the reload under way has checked. */
void kos_cell_replace(struct kos_cell *cell, const struct kos_policy_plugin *section);
/* kosd stops: it does not come back. */
void kos_cell_stays_away(struct kos_cell *cell);
void kos_cell_agents(struct kos_cell *cell);
void kos_cell_json(struct kos_cell *cell, json_t *object);

/* rights.c */
int32_t kos_rights_check(const char *plugin, const char *place, const json_t *description, const char *const *granted,
                         uint32_t *ret_rights, struct kos_error *ret_error);
bool kos_hosted_may(struct kos_hosted *hosted, uint32_t right);

/* wiring.c: which plugin takes which types, schemes and interfaces; two for one is an error that names both. */
int32_t kos_wiring_types(struct kos_hosted *hosted, const struct kos_policy_plugin *section,
                         struct kos_error *ret_error);
int32_t kos_wiring_check(struct kos_hosting *hosting, struct kos_error *ret_error);
struct kos_hosted *kos_wiring_for_type(struct kos_hosting *hosting, const char *type);
struct kos_hosted *kos_wiring_for_stream(struct kos_hosting *hosting, const char *name);
struct kos_hosted *kos_wiring_for_address(struct kos_hosting *hosting, const char *address);

/* services.c */
extern const struct kos_services_ops kos_hosted_services;
void kos_service_log(struct kos_services *services, int32_t level, const char *text);
void kos_service_state_get(struct kos_services *services, struct kos_bytes key, uint64_t op);
void kos_service_state_scan(struct kos_services *services, struct kos_bytes prefix, struct kos_bytes from, uint32_t limit,
                            uint64_t op);
void kos_service_sign(struct kos_services *services, const char *key, struct kos_bytes body, uint64_t op);
/* secret.c */
void kos_service_secret_get(struct kos_services *services, const char *name, uint64_t op);
void kos_service_secret_put(struct kos_services *services, const char *name, struct kos_bytes value, uint64_t op);
void kos_secrets_drop(struct kos_hosted *hosted);
/* open.c */
void kos_service_open(struct kos_services *services, const char *what, uint64_t op);
void kos_service_open_cancel(struct kos_services *services, uint64_t op);
void kos_openings_drop(struct kos_hosted *hosted);
size_t kos_openings_count(const struct kos_hosted *hosted);
/* tx.c */
void kos_service_tx_begin(struct kos_services *services, uint64_t tx);
void kos_service_tx_put(struct kos_services *services, uint64_t tx, struct kos_bytes key, struct kos_bytes value);
void kos_service_tx_delete(struct kos_services *services, uint64_t tx, struct kos_bytes key);
void kos_service_tx_send(struct kos_services *services, uint64_t tx, const struct kos_draft *draft);
void kos_service_tx_verdict(struct kos_services *services, uint64_t tx, uint64_t message, int32_t verdict, int32_t error,
                            const char *text, uint64_t retry_ms);
void kos_service_tx_commit(struct kos_services *services, uint64_t tx, uint64_t op);
void kos_service_tx_abort(struct kos_services *services, uint64_t tx);
uint64_t kos_held_new(struct kos_hosted *hosted, uint64_t mesh_handle);
/* Whether it holds this message already. */
bool kos_held_has(const struct kos_hosted *hosted, uint64_t mesh_handle);
void kos_txs_drop(struct kos_hosted *hosted);
/* It is unloaded: commits under way come back to nobody. */
void kos_txs_forget(struct kos_hosted *hosted);
bool kos_txs_committing(const struct kos_hosted *hosted);
size_t kos_txs_count(const struct kos_hosted *hosted);
/* carrier.c */
extern const struct kos_carrier_ops kos_host_carrier_ops;
void kos_links_given_up(struct kos_deferred *deferred);
void kos_service_endpoint_up(struct kos_services *services, uint64_t endpoint, const char *address);
void kos_service_endpoint_down(struct kos_services *services, uint64_t endpoint, int32_t status, const char *text);
void kos_service_link_up(struct kos_services *services, uint64_t link, uint64_t endpoint, const struct kos_link_info *info);
void kos_service_link_received(struct kos_services *services, uint64_t link, struct kos_bytes bytes);
void kos_service_link_credit(struct kos_services *services, uint64_t link, uint64_t bytes);
void kos_service_link_down(struct kos_services *services, uint64_t link, int32_t status, const char *text);
void kos_links_drop(struct kos_hosted *hosted);
void kos_links_back(struct kos_hosted *hosted);
size_t kos_links_count(const struct kos_hosted *hosted);
/* sink.c */
extern const struct kos_sink_ops kos_host_sink_ops;
/* control.c */
void kos_service_reply(struct kos_services *services, uint64_t call, int32_t status, struct kos_bytes parameters,
                       const char *text, int32_t continues);
void kos_service_event(struct kos_services *services, const char *event, struct kos_bytes detail);
void kos_calls_drop(struct kos_hosted *hosted);
size_t kos_calls_count(const struct kos_hosted *hosted);
/* discovery.c */
void kos_discovery_announce(struct kos_hosted *hosted);
void kos_discovery_changed(void *hosting);               /* this node's record did */
void kos_service_found(struct kos_services *services, uint64_t op, const uint8_t *id, struct kos_bytes record,
                       const char *const *addresses, uint64_t ttl_ms);
void kos_service_lost(struct kos_services *services, const uint8_t id[KOS_ID_BYTES]);
/* bridge.c */
const char *kos_bridge_destination(const struct kos_hosted *hosted, const char *type);   /* NULL: not mapped to it */
void kos_bridge_deliver(struct kos_hosted *hosted, uint64_t handle, const struct kos_message *m);
bool kos_bridge_holds(const struct kos_hosted *hosted, uint64_t handle);
void kos_bridge_resume(struct kos_hosted *hosted);
void kos_service_inject(struct kos_services *services, const struct kos_foreign *foreign, uint64_t op);
void kos_deliveries_drop(struct kos_hosted *hosted);
void kos_injections_drop(struct kos_hosted *hosted);
/* http.c */
bool kos_http_is_there(const struct kos_hosting *hosting);
void kos_service_http_serve(struct kos_services *services, const char *prefix, uint64_t body_max_bytes, uint64_t op);
void kos_service_http_respond(struct kos_services *services, uint64_t request, const struct kos_http_message *response);
void kos_service_http_fetch(struct kos_services *services, const struct kos_http_message *request,
                            uint64_t body_max_bytes, uint64_t timeout_ms, uint64_t op);
void kos_service_http_cancel(struct kos_services *services, uint64_t op);
void kos_service_http_request(struct kos_services *services, uint64_t request, const char *prefix,
                              const struct kos_http_message *m);
void kos_service_http_response(struct kos_services *services, uint64_t op, int32_t status,
                               const struct kos_http_message *m, const char *text);
void kos_http_back(struct kos_hosted *hosted);
void kos_http_drop(struct kos_hosted *hosted);
/* stream.c */
extern const struct kos_streams_ops kos_host_streams_ops;
void kos_service_stream_open(struct kos_services *services, uint64_t stream, const uint8_t peer[KOS_ID_BYTES],
                             const char *name);
void kos_service_stream_send(struct kos_services *services, uint64_t stream, struct kos_bytes bytes);
void kos_service_stream_credit(struct kos_services *services, uint64_t stream, uint64_t bytes);
void kos_service_stream_close(struct kos_services *services, uint64_t stream);
void kos_service_stream_abort(struct kos_services *services, uint64_t stream, int32_t status, const char *text);
void kos_streams_drop(struct kos_hosted *hosted);
size_t kos_streams_count(const struct kos_hosted *hosted);
/* agents.c */
extern const struct kos_agents_owner_ops kos_host_owner_ops;
void kos_service_run(struct kos_services *services, uint64_t run, const struct kos_run *r);
void kos_service_run_credit(struct kos_services *services, uint64_t run, uint64_t bytes);
void kos_service_run_cancel(struct kos_services *services, uint64_t run);
void kos_runs_drop(struct kos_hosted *hosted);
size_t kos_runs_count(const struct kos_hosted *hosted);

#endif
