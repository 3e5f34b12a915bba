/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy manifests, compiled: who may do what, and how plugins are wired. klp-policy(5) is the manual.
 *
 * Inside a manifest rules add up; across manifests: absent = no opinion, allow = intersection, block = union, limits =
 * minimum, thresholds = maximum, conflicting wiring = error. The order of loading never matters. Beneath them the
 * built-in default holds wherever no manifest names the very type: strangers may shake hands (session = 0),
 * BROADCAST_ANNOUNCE needs a score of 3, TASK_REQUEST 5, AGENT_MIGRATION 8, any other type 5; answers to our own
 * requests are let in.
 */
#ifndef KOS_TRUST_POLICY_H
#define KOS_TRUST_POLICY_H

#include <klp/id.h>
#include "conf/conf.h"

enum { KOS_POLICY_FILES_MAX = 64, KOS_POLICY_RULES_MAX = 4096, KOS_RULE_TEXT = 160 };

struct kos_policy; /* immutable once compiled; reference-counted, so that a decision under way keeps its own */

int32_t kos_policy_load(struct kos_env *env, const char *dir /* policy.d */, struct kos_policy **ret_policy,
                        struct kos_error *ret_error);
/* One file by itself: `kosctl policy check`. */
int32_t kos_policy_check(struct kos_env *env, const char *path, struct kos_error *ret_error);
struct kos_policy *kos_policy_ref(struct kos_policy *policy);
void kos_policy_unref(struct kos_policy *policy);

enum kos_direction { KOS_INBOUND = 1, KOS_OUTBOUND = 2 };

/* What is to be decided. Unknown parts are left zero and match only rules that ask for nothing there. */
struct kos_policy_request {
    int32_t direction;
    struct klp_id peer;            /* source of an inbound, target's node of an outbound one */
    const char *peer_name;         /* its petname, "" when none */
    const char *type;              /* message type; "" : opening a session */
    const char *transport;         /* "tcp"; "" unknown */
    const char *agent;             /* label of the local agent concerned; "" none */
    double score;                  /* of the peer, 0 to 10 */
    double agent_trust_required;   /* of the local agent, inbound */
    uint64_t size_bytes;
    bool part;                     /* quotas: more bytes of what was counted as a message before */
    bool answers_ours;             /* inbound: reply_to names an open request of ours to this very peer */
    struct klp_id
        host; /* the node that an agent `peer` belongs to: what is said of it holds for the agent; zero: none */
    const char *host_name;         /* its petname; NULL or "" when none */
};

struct kos_policy_decision {
    int32_t code;                  /* KOS_OK, KOS_E_DENIED, KOS_E_TRUST, KOS_E_LIMIT */
    /* "policy.d/home.klp-policy:12 trust.TASK_REQUEST = 5" or "built-in: trust.TASK_REQUEST = 5" */
    char rule[KOS_RULE_TEXT];
    char text[508];                /* one sentence for the operator, with the command that would allow it */
    char peer_text[256];           /* what the peer may be told: no names of files or of others */
    double score_needed;
    uint64_t retry_ms;             /* KOS_E_QUOTA: when trying again can help; 0 unknown */
};
/* The one function that decides, for messages, sessions and `kosctl policy explain`. */
void kos_policy_decide(const struct kos_policy *policy, const struct kos_policy_request *request,
                       struct kos_policy_decision *ret_decision);

/* Limits in force for a peer, type and transport: minimum over all that apply; 0 = none. */
struct kos_policy_limits {
    uint64_t messages_per_minute, bytes_per_minute, bytes_per_day, concurrent_tasks, outbox_bytes, dedupe_entries;
    char rule[KOS_RULE_TEXT];      /* of the tightest */
};
void kos_policy_limits(const struct kos_policy *policy, const struct kos_policy_request *request,
                       struct kos_policy_limits *ret_limits);

/* What goes out by a bridge: messages of `type` that arrive here, to where it understands. */
struct kos_policy_map {
    const char *type, *destination;
};
/* Wiring: the plugins to load, in order of name. */
enum { KOS_POLICY_READ_MAX = 32, KOS_POLICY_READ_BYTES = 4000 };
struct kos_policy_plugin {
    const char *name;              /* section name */
    const char *module;            /* file name in the plugin directory, or an absolute path */
    bool isolate;
    int64_t memory_bytes, heartbeat_ms, open_files;   /* of its cell */
    const char *const *read;       /* files and directories that its cell may read, absolute; NULL-terminated */
    const char *const *rights;     /* granted, NULL-terminated */
    const char *const *types;      /* messages wired to it; NULL: those it declares */
    const struct kos_policy_map *maps;
    size_t map_count;
    const struct kos_conf_node *settings; /* NULL: defaults. Valid while the policy is */
    const char *file; int line;
};
size_t kos_policy_plugins(const struct kos_policy *policy, const struct kos_policy_plugin **ret_plugins);
/* Canonical JSON of everything in force, malloc'ed: `kosctl policy explain --json` and status. */
int32_t kos_policy_describe(const struct kos_policy *policy, uint8_t **ret_data, size_t *ret_len);

#endif
