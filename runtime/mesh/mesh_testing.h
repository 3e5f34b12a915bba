/* SPDX-License-Identifier: Apache-2.0
 * Nodes in one process for the mesh's tests: each with an environment, store and keys of its own, joined by a
 * network in memory that can split, hold back, alter and cut. Nothing in it waits: time moves by net_run. */
#ifndef KOS_MESH_TESTING_H
#define KOS_MESH_TESTING_H

#include "core/manual.h"
#include "mesh/mesh_private.h"

enum { NET_NODES = 8, NET_SEEN = 4096 };

struct net;
struct net_end;

struct net_seen { /* a message that the sink got */
    uint64_t handle;
    uint8_t id[KOS_ID_BYTES], reply_to[KOS_ID_BYTES], source_id[KOS_ID_BYTES], agent[KOS_ID_BYTES];
    char type[KLP_TYPE_MAX];
    size_t bytes;
    int32_t again;
};
struct net_ended { /* an outcome */
    uint64_t handle;
    uint8_t id[KOS_ID_BYTES];
    int32_t status;
    char text[512];
};

struct net_node {
    struct kos_carrier carrier; /* first: the operations get these */
    struct net *net;
    struct kos_sink sink;
    struct kos_manual *manual;
    struct kos_env *env;
    struct kos_store *store;
    struct kos_keys *keys;
    struct kos_policy *policy;
    struct kos_trust *trust;
    struct kos_mesh *mesh;
    struct kos_mesh_limits limits;
    struct klp_id id;
    const char *name, *address; /* "home", "mem://home" */
    struct klp_id agent;        /* zero: none */
    char agent_name[64];
    double agent_trust;
    uint32_t agents;
    bool up, listening, keep_open, refuse_types;
    uint32_t defers; /* so many messages are deferred first */
    int32_t verdict; /* given at once unless keep_open */
    uint32_t seen_count, ended_count;
    struct net_seen seen[NET_SEEN];
    struct net_ended ended[NET_SEEN];
    uint64_t endpoint;
    uint64_t datagrams; /* sent by it */
    int32_t connected; /* of the last connect: 1 not yet, else its status */
    struct klp_id connected_to;
    char connected_text[512];
};

/* What links of datagrams do to them. mtu 0: links are streams. Chances are in 1/1000. */
struct net_air {
    uint32_t mtu, flags, cost;
    uint32_t loss, twice, altered, late;
    uint64_t delay_ms, late_ms; /* all; what is late in addition, at most */
    uint64_t bits_per_second;   /* 0: as fast as asked */
    uint64_t airtime_ms_per_hour;
    bool shared; /* one at a time, of all links */
};
/* A spread-spectrum radio; a network that loses; a tunnel that does not. */
extern const struct net_air net_radio, net_lossy, net_tunnel;

struct net {
    struct net_air air;
    uint64_t now_ms, busy_ms, seed;
    uint64_t datagrams; /* sent so far */
    /* Sees each datagram when it is sent; true: it is lost. May be NULL. */
    bool (*tap)(struct net *net, struct net_node *from, struct kos_bytes datagram);
    struct net_node nodes[NET_NODES];
    uint32_t count;
    struct net_end *ends;
    size_t split;        /* bytes at a time; 0: all there are */
    uint64_t window;     /* send window of a link's end */
    uint64_t corrupt_at; /* the byte of all carried from now on to alter; 0 none */
    uint64_t carried;
    bool hold;                   /* nothing is delivered */
    bool raw_links;              /* the test makes some that are not this network's */
    uint64_t cut_after;          /* all links go down when so many bytes more were carried; 0 never */
    uint64_t turns;              /* made so far */
    struct net_node *crash_node; /* loses power at turn `crash_turn` and is back `crash_back_ms` later */
    uint64_t crash_turn, crash_back_ms;
    bool crash_torn;
};

void net_init(struct net *net);
void net_fini(struct net *net);
/* A node with a fresh identity, started and listening at mem://NAME. */
struct net_node *net_add(struct net *net, const char *name);
void net_start(struct net_node *node);
/* Ends it in order; or as a power failure does. */
void net_stop(struct net_node *node);
void net_crash(struct net_node *node);
/* Until nothing more happens now. */
void net_settle(struct net *net);
bool net_turn(struct net *net); /* one turn of each node, one step of each link */
/* Time passes for all nodes together. */
void net_run(struct net *net, uint64_t ms);
void net_cut(struct net *net); /* all links, now */
void net_trust(struct net_node *node, const struct net_node *other, double score);
/* Connects and settles; the status. */
int32_t net_connect(struct net_node *node, const struct net_node *other);
int32_t net_connect_expect(struct net_node *node, const struct net_node *other, const struct klp_id *expect);
/* Has it keep the connection whether or not it comes up now. */
void net_connect_kept(struct net_node *node, const struct net_node *other);
/* A policy of one manifest, in force from now on. */
void net_policy(struct net_node *node, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Sends a message with a payload of about `bytes`; ret_id may be NULL. */
int32_t net_send(struct net_node *node, const struct net_node *other, const char *type, size_t bytes, int32_t klass,
                 uint8_t *ret_id);
int32_t net_send_draft(struct net_node *node, struct kos_draft *draft);
int32_t net_settle_handle(struct net_node *node, uint64_t handle, int32_t verdict, int32_t error, uint64_t retry_ms);
struct mesh_session *net_session(struct net_node *node, const struct net_node *other);
/* How often a transaction that settled (or noted the outcome of) this message is on disk. */
uint64_t net_effects(struct net_node *node, const uint8_t *id);
uint64_t net_notes(struct net_node *node, const uint8_t *id);
/* An agent of this node, known to its mesh. */
struct klp_id net_agent(struct net_node *node, const char *name, double trust_required);
uint64_t net_refused(const struct net_node *node, int32_t code);

#endif
