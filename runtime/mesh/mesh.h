/* SPDX-License-Identifier: Apache-2.0
 *
 * The mesh: links become sessions, sessions become peers, messages find their way and are kept until they arrive.
 *
 * The way in:  carrier -> link.c -> session.c -> inbox.c (verify; judge.c: dedupe, policy; store, receipt) -> offer.c
 *              -> sink
 * The way out: tx.c (route.c: where to; policy, store) -> outbox.c -> sign.c -> session.c, flush.c -> link.c -> carrier
 *
 * No socket, clock or file of its own: time and workers from kos_env, bytes from a carrier, disk from the store.
 */
#ifndef KOS_MESH_MESH_H
#define KOS_MESH_MESH_H

#include <jansson.h>
#include <kos/handler.h>
#include <kos/transport.h>
#include "trust/trust.h"

struct kos_mesh;

/* Limits, each with its default; klp(7) and kosd.conf(5) list them. A zero takes the default. */
struct kos_mesh_limits {
    uint32_t links;                   /* 16384 */
    uint32_t half_open_per_source;    /* 16 handshakes under way from one remote host */
    uint32_t half_open;               /* 1024 in all */
    uint32_t handshake_ms;            /* 10000 */
    uint32_t idle_ping_ms;            /* 30000: a silent session is asked */
    uint32_t dead_ms;                 /* 90000: and given up */
    uint32_t session_ms;              /* 3600000: then a new handshake */
    uint64_t credit_bytes;            /* 2 MiB granted per session and class */
    uint64_t outbox_bytes;            /* 256 MiB waiting in all */
    uint64_t outbox_per_target_bytes; /* 64 MiB */
    uint64_t inbox_bytes;             /* 256 MiB of messages not settled; a peer may have as much as is left */
    uint32_t inbox_open;              /* 4096 messages not settled: of one peer; of one type, with its handler */
    uint32_t dedupe_per_peer;         /* 1000000 */
    uint32_t logs_per_peer_minute;    /* 120 */
    uint32_t streams_per_session;     /* 256 byte streams open */
};

/* How the mesh reaches transports: implemented by host/ over plugins, by the simulator over virtual links. Endpoint and
 * link ids: the mesh chooses for listen and dial; kos_mesh_link_accepted hands out those of accepted links. Calls never
 * come back into the mesh before they return. */
struct kos_carrier;
struct kos_carrier_ops {
    int32_t (*listen)(struct kos_carrier *carrier, uint64_t endpoint,
                      const char *address); /* KOS_E_UNSUPPORTED: no transport has the scheme */
    void (*endpoint_close)(struct kos_carrier *carrier, uint64_t endpoint);
    int32_t (*dial)(struct kos_carrier *carrier, uint64_t link, const char *address);
    void (*send)(struct kos_carrier *carrier, uint64_t link, const struct kos_bytes *pieces, uint32_t count);
    void (*credit)(struct kos_carrier *carrier, uint64_t link, uint64_t bytes);
    void (*close)(struct kos_carrier *carrier, uint64_t link, bool flush);
    /* Instead of send, without a copy: where up to `len` bytes of a stream can be written, until `made` sends so many of
     * them as it says, or none. Nothing else is asked in between. NULL (also as members): use send. */
    uint8_t *(*make)(struct kos_carrier *carrier, uint64_t link, size_t len);
    void (*made)(struct kos_carrier *carrier, uint64_t link, size_t len);
};
struct kos_carrier {
    const struct kos_carrier_ops *ops;
};

/* Who takes what arrives: host/ over handler plugins. `handle` is the mesh's, open until kos_mesh_tx_settle commits. */
struct kos_sink;
struct kos_sink_ops {
    bool (*takes)(struct kos_sink *sink, const char *type);
    void (*message)(struct kos_sink *sink, uint64_t handle, const struct kos_message *message);
    /* `owner`: as given to kos_mesh_tx_send. Returns false when nobody wants to know: the mesh notes it by itself. */
    bool (*outcome)(struct kos_sink *sink, uint64_t handle, const char *owner, const struct kos_outcome *outcome);
    /* Whether somebody has it and has not settled it. */
    bool (*holds)(struct kos_sink *sink, uint64_t handle);
};
struct kos_sink {
    const struct kos_sink_ops *ops;
};

/* Who has byte streams: host/ over plugins. The id is the mesh's. `credit` and `down` may come inside kos_mesh_stream_*
 * calls, of which only kos_mesh_stream_credit may be called from here. */
struct kos_streams;
struct kos_streams_ops {
    /* A peer opened one, and the policy lets it in. KOS_OK takes it; else it is refused with the sentence. */
    int32_t (*asked)(struct kos_streams *streams, uint64_t stream, const struct klp_id *peer, const char *name,
                     char ret_text[256]);
    void (*up)(struct kos_streams *streams, uint64_t stream, const struct klp_id *peer, const char *name);
    void (*received)(struct kos_streams *streams, uint64_t stream, struct kos_bytes bytes);
    void (*credit)(struct kos_streams *streams, uint64_t stream, uint64_t bytes);
    void (*ended)(struct kos_streams *streams, uint64_t stream);
    void (*down)(struct kos_streams *streams, uint64_t stream, int32_t status, const char *text);
};
struct kos_streams {
    const struct kos_streams_ops *ops;
};

/* Things worth telling a person who watches: event is a stable word ("peer_up", "peer_down", "message_refused",
 * "message_in", "message_out", "policy_loaded"), detail is borrowed. */
struct kos_watcher {
    void (*event)(struct kos_watcher *watcher, const char *event, json_t *detail);
    struct kos_watcher *next;
};

struct kos_mesh_options {
    struct kos_mesh_limits limits;
    const char *name;         /* what this node calls itself: "home.kai" */
    const char *const *roles; /* NULL-terminated: "peer", ... */
    const char *version;
};

/* Loads what waits (outbox, inbox not settled, peers to keep). Nothing moves before kos_mesh_start. */
int32_t kos_mesh_new(struct kos_env *env, struct kos_store *store, struct kos_trust *trust,
                     const struct kos_mesh_options *options, struct kos_mesh **ret_mesh, struct kos_error *ret_error);
void kos_mesh_free(struct kos_mesh *mesh);
void kos_mesh_start(struct kos_mesh *mesh, struct kos_carrier *carrier, struct kos_sink *sink);
/* Says goodbye on all sessions and closes links; `done` when the last is down or 2 s passed. */
void kos_mesh_stop(struct kos_mesh *mesh, void (*done)(void *arg), void *arg);

/* ---- from the carrier (host/) ---- */
void kos_mesh_endpoint_up(struct kos_mesh *mesh, uint64_t endpoint, const char *address);
void kos_mesh_endpoint_down(struct kos_mesh *mesh, uint64_t endpoint, int32_t status, const char *text);
/* 0: refused (limits); the carrier closes the link by itself. */
uint64_t kos_mesh_link_accepted(struct kos_mesh *mesh, uint64_t endpoint, const struct kos_link_info *info);
void kos_mesh_link_up(struct kos_mesh *mesh, uint64_t link, const struct kos_link_info *info); /* answers dial */
void kos_mesh_link_received(struct kos_mesh *mesh, uint64_t link, struct kos_bytes bytes);
void kos_mesh_link_credit(struct kos_mesh *mesh, uint64_t link, uint64_t bytes);
void kos_mesh_link_down(struct kos_mesh *mesh, uint64_t link, int32_t status, const char *text);

/* ---- from discovery services, by way of host/ ---- */
/* A node is said to be at these addresses (NULL-terminated; empty: those of the record) for the next ttl_ms: it is
 * connected to as long as that is said. `id` NULL: whoever answers there. `record`: its node record, or empty. */
void kos_mesh_found(struct kos_mesh *mesh, const struct klp_id *id, struct kos_bytes record,
                    const char *const *addresses, uint64_t ttl_ms);
/* It is not there any more: its session may stay, it is not dialled again for that. */
void kos_mesh_lost(struct kos_mesh *mesh, const struct klp_id *id);
enum { KOS_MESH_ADDRESSES_MAX = 16 };   /* of a node */
/* This node's record and the addresses that can be reached from elsewhere, NULL-terminated; both valid until it changes,
 * which `changed` is told (not inside). False: there is none. */
bool kos_mesh_own_record(struct kos_mesh *mesh, struct kos_bytes *ret_record,
                         const char *ret_addresses[KOS_MESH_ADDRESSES_MAX + 1]);
void kos_mesh_on_record(struct kos_mesh *mesh, void (*changed)(void *arg), void *arg);

/* ---- from handlers, by way of host/ ---- */
/* A transaction of the store that may also send and settle. done as kos_tx_commit's, but inside commit where nothing in
 * it needs the disk. Steps that fail are remembered and
 * returned by commit, with the sentence. */
struct kos_mesh_tx;
struct kos_mesh_tx *kos_mesh_tx_begin(struct kos_mesh *mesh);
struct kos_tx *kos_mesh_tx_store(struct kos_mesh_tx *tx); /* for puts and deletes of one's own spaces */
/* The target "*": one message, with an id of the mesh's own and no outcome, to each peer with an open session whom the
 * policy allows it; kos_mesh_tx_fanned says how many there were. */
void kos_mesh_tx_send(struct kos_mesh_tx *tx, const char *owner, const struct kos_draft *draft);
uint32_t kos_mesh_tx_fanned(const struct kos_mesh_tx *tx);
void kos_mesh_tx_settle(struct kos_mesh_tx *tx, uint64_t handle, int32_t verdict, int32_t error, const char *text,
                        uint64_t retry_ms);
int32_t kos_mesh_tx_commit(struct kos_mesh_tx *tx, void (*done)(void *arg, int32_t status), void *arg,
                           struct kos_error *ret_error);
void kos_mesh_tx_abort(struct kos_mesh_tx *tx);
/* An owner that was gone (plugin stopped or reloading) is back: handles not settled are offered again, with again = 1.
 * The mesh does not know which handler took a message: those come that nobody holds (kos_sink_ops.holds). Outcomes: those
 * of this owner. */
void kos_mesh_owner_back(struct kos_mesh *mesh, const char *owner);

/* ---- byte streams, by way of host/ (kos/stream.h) ---- */
void kos_mesh_streams(struct kos_mesh *mesh, struct kos_streams *streams);
/* Its id, which ends with `down`; 0 with ret_error. */
uint64_t kos_mesh_stream_open(struct kos_mesh *mesh, const struct klp_id *peer, const char *name,
                              struct kos_error *ret_error);
/* Within what `credit` gave; false: it was more, and nothing of it was taken. A stream that is not there takes all. */
bool kos_mesh_stream_send(struct kos_mesh *mesh, uint64_t stream, struct kos_bytes bytes);
void kos_mesh_stream_credit(struct kos_mesh *mesh, uint64_t stream, uint64_t bytes);
void kos_mesh_stream_close(struct kos_mesh *mesh, uint64_t stream);
/* -> down(KOS_E_CANCELLED), inside; the peer is told `status` and `text`. */
void kos_mesh_stream_abort(struct kos_mesh *mesh, uint64_t stream, int32_t status, const char *text);

/* ---- from control ---- */
struct kos_mesh_connected {
    int32_t status;
    struct klp_id peer;
    const char *text; /* the sentence when it failed */
};
/* An address a transport can dial (tcp://H:P), peer://H[:P], or a known node's klp:// address, name or id. Keeps the
 * connection up from now on, over restarts, until disconnected. `expect` (may be NULL): the identity that must answer.
 * done is called once, not inside. The name that the peer claims becomes its petname if free. */
int32_t kos_mesh_connect(struct kos_mesh *mesh, const char *address, const struct klp_id *expect, uint64_t timeout_ms,
                         void (*done)(void *arg, const struct kos_mesh_connected *result), void *arg,
                         struct kos_error *ret_error);
int32_t kos_mesh_disconnect(struct kos_mesh *mesh, const struct klp_id *peer, struct kos_error *ret_error);
int32_t kos_mesh_listen(struct kos_mesh *mesh, const char *address, struct kos_error *ret_error);
/* Whether of each address it is known whether it can be listened on. Watchers hear "endpoint_up" or
 * "endpoint_down". */
bool kos_mesh_listening(const struct kos_mesh *mesh);
/* Policy or operator's scores changed: open sessions are judged anew, node records sent to whom may now see them. */
void kos_mesh_trust_changed(struct kos_mesh *mesh);
/* A local agent came or went: {id, name, skills[], trust_required}; part of the node record. */
struct kos_mesh_agent {
    struct klp_id id;
    const char *name;
    const char *const *skills;
    double trust_required;
};
void kos_mesh_agents_set(struct kos_mesh *mesh, const struct kos_mesh_agent *agents, size_t count);
/* klp:// address -> where it goes: node (and agent when known). KOS_E_NOTFOUND says how the name could be made
 * known. */
int32_t kos_mesh_resolve(struct kos_mesh *mesh, const char *address, struct klp_id *ret_node, struct klp_id *ret_agent,
                         struct kos_error *ret_error);
void kos_mesh_watch(struct kos_mesh *mesh, struct kos_watcher *watcher);
void kos_mesh_unwatch(struct kos_mesh *mesh, struct kos_watcher *watcher);
/* Calls `each` for every peer with an open session. */
void kos_mesh_open_peers(struct kos_mesh *mesh, void (*each)(void *arg, const struct klp_id *peer), void *arg);
bool kos_mesh_watched(const struct kos_mesh *mesh); /* whether anybody does */
/* Tells all watchers; detail is stolen. For plugins' events, by way of host/. */
void kos_mesh_tell(struct kos_mesh *mesh, const char *event, json_t *detail);
/* New references. peers: array of {id, did, name, score, state, agents[], sessions[{transport, address, protocol,
 * since, rtt_ms, initiator}], outbox{messages, bytes}, known_log_events}. status: {counters{...}, endpoints[],
 * sessions, outbox, inbox, limits}. */
json_t *kos_mesh_peers(struct kos_mesh *mesh);
json_t *kos_mesh_status(struct kos_mesh *mesh);

/* Of a store that no node has open (kos_store_check): whether what the mesh keeps in it reads and agrees. */
int32_t kos_mesh_check(struct kos_store *store, const struct kos_store_checker *checker, struct kos_error *ret_error);

#endif
