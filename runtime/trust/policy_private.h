/* SPDX-License-Identifier: Apache-2.0
 * A compiled policy, as parsing, deciding and describing share it. Private to trust. */
#ifndef KOS_TRUST_POLICY_PRIVATE_H
#define KOS_TRUST_POLICY_PRIVATE_H

#include <jansson.h>
#include <klp/address.h>
#include <klp/message.h>

#include "trust/policy.h"

enum { KOS_POLICY_NAMES_MAX = 1024, KOS_POLICY_PLUGIN_NAME_MAX = 32, KOS_POLICY_MAPS_MAX = 256 };

/* Where a rule stands: its manifest's short name ("policy.d/home.klp-policy") and line. */
struct policy_place {
    const char *file;
    int line;
};

struct policy_type {
    const char *type;            /* "*": any */
    struct policy_place place;
};

struct policy_types {
    bool present;
    struct policy_place place;   /* of the list */
    struct policy_type *items;
    size_t count;
};

/* A peer as a manifest names it: "*", an id, or the operator's petname. */
struct policy_peer {
    const char *text;
    bool any, by_id;
    struct klp_id id;
    char name[KLP_NAME_MAX + 1];
    struct policy_place place;
};

struct policy_peers {
    bool present;
    struct policy_place place;
    struct policy_peer *items;
    size_t count;
};

struct policy_threshold {
    const char *type;            /* "*", "session", or a message type */
    double score;
    struct policy_place place;
};

/* In the order of struct kos_policy_limits. */
enum { LIMIT_MESSAGES, LIMIT_BYTES, LIMIT_DAY, LIMIT_TASKS, LIMIT_OUTBOX, LIMIT_DEDUPE, LIMIT_COUNT };
extern const char *const kos_policy_limit_names[LIMIT_COUNT];

struct policy_limit {
    struct policy_peer peer;
    const char *type, *transport; /* "*": any */
    uint64_t values[LIMIT_COUNT]; /* 0: says nothing */
    struct policy_place place;
};

struct policy_manifest {
    struct kos_conf_doc *doc;
    char *file;                  /* short name */
    const char *name;
    struct policy_types allow[2], block[2];  /* [direction - 1] */
    struct policy_peers peers_allow, peers_block;
    struct policy_threshold *thresholds;
    size_t threshold_count;
    struct policy_limit *limits;
    size_t limit_count;
    struct kos_policy_plugin *plugins;
    size_t plugin_count;
    size_t rules;                /* all together, bounded */
};

/* Limits of all manifests that say of the same peers, type and transport: the lowest of each counts. */
struct policy_group {
    uint64_t key;                        /* of the pattern: the same whatever manifest or line it stands in */
    const struct policy_limit *pattern;
    const struct policy_limit *from[LIMIT_COUNT];
};

struct kos_policy {
    uint32_t refs;
    struct policy_manifest **manifests;  /* sorted by file */
    size_t manifest_count;
    struct kos_policy_plugin *plugins;   /* merged, sorted by name; they point into their manifests */
    size_t plugin_count;
    struct policy_group *groups;
    size_t group_count;
};

/* policy_parse.c: takes the document over, also on failure. `file` is copied. KOS_E_POLICY. */
int32_t policy_manifest_parse(struct kos_conf_doc *doc, const char *file, struct policy_manifest **ret_manifest,
                              struct kos_error *ret_error);
void policy_manifest_free(struct policy_manifest *manifest);
int32_t policy_count_rule(struct policy_manifest *manifest, const struct kos_conf_node *at,
                          struct kos_error *ret_error);
bool policy_type_ok(const char *type);

/* policy_wiring.c */
int32_t policy_plugins_parse(struct policy_manifest *manifest, const struct kos_conf_node *group,
                             struct kos_error *ret_error);
void policy_plugins_free(struct policy_manifest *manifest);
/* Of all manifests; KOS_E_POLICY names both places of a conflict. */
int32_t policy_plugins_merge(struct kos_policy *policy, struct kos_error *ret_error);
/* New reference. */
json_t *policy_plugin_json(const struct kos_policy_plugin *plugin);

/* policy.c: takes the manifests over, also on failure; sorts them. */
int32_t policy_compile(struct policy_manifest **manifests, size_t count, struct kos_policy **ret_policy,
                       struct kos_error *ret_error);

/* policy_limits.c */
void policy_limits_group(struct kos_policy *policy);
bool policy_group_applies(const struct policy_group *group, const struct kos_policy_request *request);
/* The minimum of each limit, and the rule it comes from (NULL: none). */
void policy_limits_of(const struct kos_policy *policy, const struct kos_policy_request *request,
                      const struct policy_limit *ret_rules[LIMIT_COUNT]);
void policy_limit_text(const struct policy_limit *rule, int which, char ret_text[KOS_RULE_TEXT]);

/* policy_decide.c: the threshold in force for a type, and where it stands (file NULL: built in). */
struct policy_threshold policy_threshold_of(const struct kos_policy *policy, const char *type);
/* Whether a rule's peer is this one, or the node it belongs to. */
bool policy_peer_matches(const struct policy_peer *rule, const struct kos_policy_request *request);
/* The peer as a person knows it: its petname, or klp://node.ID. */
void policy_peer_text(const struct kos_policy_request *request, char *text, size_t cap);
extern const struct policy_threshold policy_builtin[];   /* ends with type NULL */

#endif
