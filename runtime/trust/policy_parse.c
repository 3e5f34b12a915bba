/* SPDX-License-Identifier: Apache-2.0
 * One manifest's text to its rules. klp-policy(5) is the manual; each error names file, line, setting and reason. */
#include "trust/policy_private.h"

#include <stdlib.h>

#include "conf/check.h"
#include "core/buf.h"

const char *const kos_policy_limit_names[LIMIT_COUNT] = { "messages_per_minute", "bytes_per_minute", "bytes_per_day",
                                                          "concurrent_tasks", "outbox_bytes", "dedupe_entries" };

static struct policy_place place_of(const struct policy_manifest *manifest, const struct kos_conf_node *node)
{
    return (struct policy_place){ manifest->file, kos_conf_line(node) };
}

int32_t policy_count_rule(struct policy_manifest *manifest, const struct kos_conf_node *at, struct kos_error *ret_error)
{
    if (++manifest->rules > KOS_POLICY_RULES_MAX)
        return kos_conf_fail(at, ret_error, KOS_E_POLICY, "a manifest has at most %d rules", KOS_POLICY_RULES_MAX);
    return KOS_OK;
}

/* [A-Z][A-Z0-9_]*, as klp_message_parse has it. */
bool policy_type_ok(const char *type)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t len = strlen(type);
    return len > 0 && len < KLP_TYPE_MAX && *type >= 'A' && *type <= 'Z' && strspn(type, set) == len;
}

static int32_t known(const struct kos_conf_node *group, const char *const *names, size_t count,
                     struct kos_error *ret_error)
{
    if (kos_conf_kind(group) != KOS_CONF_GROUP)
        return kos_conf_fail(group, ret_error, KOS_E_POLICY, "a group { } is needed here");
    return kos_conf_known(group, names, count, ret_error);
}

/* The strings of a list, one by one. */
static int32_t list_text(const struct kos_conf_node *list, size_t i, const char **ret_text, struct kos_error *ret_error)
{
    const struct kos_conf_node *item = kos_conf_at(list, i);
    const char *text = kos_conf_string(item);
    if (!text)
        return kos_conf_fail(item, ret_error, KOS_E_POLICY, "a string in quotes is needed here");
    *ret_text = text;
    return KOS_OK;
}

static int32_t check_list(const struct kos_conf_node *list, struct kos_error *ret_error)
{
    if (kos_conf_kind(list) != KOS_CONF_LIST)
        return kos_conf_fail(list, ret_error, KOS_E_POLICY, "a list of strings [ ] is needed here");
    if (kos_conf_count(list) > KOS_POLICY_NAMES_MAX)
        return kos_conf_fail(list, ret_error, KOS_E_POLICY, "the list has %zu entries; at most %d are allowed",
                             kos_conf_count(list), KOS_POLICY_NAMES_MAX);
    return KOS_OK;
}

static int32_t parse_types(struct policy_manifest *m, const struct kos_conf_node *list, struct policy_types *out,
                           struct kos_error *ret_error)
{
    if (!list)
        return KOS_OK;
    int32_t rc = check_list(list, ret_error);
    if (rc < 0)
        return rc;
    out->present = true;
    out->place = place_of(m, list);
    out->items = kos_new((kos_conf_count(list) + 1) * sizeof *out->items);
    for (size_t i = 0; i < kos_conf_count(list); i++) {
        const struct kos_conf_node *item = kos_conf_at(list, i);
        const char *type = NULL;
        if ((rc = list_text(list, i, &type, ret_error)) < 0 || (rc = policy_count_rule(m, item, ret_error)) < 0)
            return rc;
        if (strcmp(type, "*") != 0 && !policy_type_ok(type))
            return kos_conf_fail(item, ret_error, KOS_E_POLICY,
                                 "\"%.64s\" is not a message type: write capitals, digits and _, or \"*\" for all",
                                 type);
        out->items[out->count++] = (struct policy_type){ type, place_of(m, item) };
    }
    return KOS_OK;
}

static int32_t parse_peer(const struct policy_manifest *m, const struct kos_conf_node *at, const char *text,
                          struct policy_peer *out, struct kos_error *ret_error)
{
    struct kos_bytes bytes = kos_bytes_str(text);
    struct klp_address address;
    struct policy_peer peer = { .text = text, .place = place_of(m, at) };
    if (strcmp(text, "*") == 0)
        peer.any = true;
    else if (klp_id_parse(bytes, &peer.id) == KOS_OK || klp_did_parse(bytes, &peer.id) == KOS_OK ||
             klp_id_parse_hex(bytes, &peer.id) == KOS_OK)
        peer.by_id = true;
    else if (klp_address_parse(bytes, &address, NULL) == KOS_OK && address.form == KLP_ADDRESS_ID && !address.path[0] &&
             (address.kind == KLP_KIND_NODE || address.kind == KLP_KIND_AGENT)) {
        peer.by_id = true;
        peer.id = address.id;
    } else if (klp_name_parse(bytes, peer.name) != KOS_OK) {
        return kos_conf_fail(at, ret_error, KOS_E_POLICY,
                             "\"%.64s\" names no peer: write its id, klp://node.ID, its petname (kosctl trust lists "
                             "both), or \"*\" for all",
                             text);
    }
    *out = peer;
    return KOS_OK;
}

static int32_t parse_peers(struct policy_manifest *m, const struct kos_conf_node *list, struct policy_peers *out,
                           struct kos_error *ret_error)
{
    if (!list)
        return KOS_OK;
    int32_t rc = check_list(list, ret_error);
    if (rc < 0)
        return rc;
    out->present = true;
    out->place = place_of(m, list);
    out->items = kos_new((kos_conf_count(list) + 1) * sizeof *out->items);
    for (size_t i = 0; i < kos_conf_count(list); i++) {
        const struct kos_conf_node *item = kos_conf_at(list, i);
        const char *text = NULL;
        if ((rc = list_text(list, i, &text, ret_error)) < 0 || (rc = policy_count_rule(m, item, ret_error)) < 0 ||
            (rc = parse_peer(m, item, text, &out->items[out->count], ret_error)) < 0)
            return rc;
        out->count++;
    }
    return KOS_OK;
}

static int32_t parse_messages(struct policy_manifest *m, const struct kos_conf_node *group, struct kos_error *ret_error)
{
    static const char *const inner[] = { "allow", "block" }, *const outer[] = { "allow", "block", "outbound" };
    const struct kos_conf_node *outbound = kos_conf_member(group, "outbound");
    int32_t rc = known(group, outer, 3, ret_error);
    if (rc == KOS_OK && outbound)
        rc = known(outbound, inner, 2, ret_error);
    if (rc == KOS_OK)
        rc = parse_types(m, kos_conf_member(group, "allow"), &m->allow[KOS_INBOUND - 1], ret_error);
    if (rc == KOS_OK)
        rc = parse_types(m, kos_conf_member(group, "block"), &m->block[KOS_INBOUND - 1], ret_error);
    if (rc == KOS_OK && outbound)
        rc = parse_types(m, kos_conf_member(outbound, "allow"), &m->allow[KOS_OUTBOUND - 1], ret_error);
    if (rc == KOS_OK && outbound)
        rc = parse_types(m, kos_conf_member(outbound, "block"), &m->block[KOS_OUTBOUND - 1], ret_error);
    return rc;
}

static int32_t parse_peer_lists(struct policy_manifest *m, const struct kos_conf_node *group,
                                struct kos_error *ret_error)
{
    static const char *const names[] = { "allow", "block" };
    int32_t rc = known(group, names, 2, ret_error);
    if (rc == KOS_OK)
        rc = parse_peers(m, kos_conf_member(group, "allow"), &m->peers_allow, ret_error);
    if (rc == KOS_OK)
        rc = parse_peers(m, kos_conf_member(group, "block"), &m->peers_block, ret_error);
    return rc;
}

static int32_t parse_trust(struct policy_manifest *m, const struct kos_conf_node *group, struct kos_error *ret_error)
{
    if (kos_conf_kind(group) != KOS_CONF_GROUP)
        return kos_conf_fail(group, ret_error, KOS_E_POLICY, "a group { } is needed here");
    m->thresholds = kos_new((kos_conf_count(group) + 1) * sizeof *m->thresholds);
    for (size_t i = 0; i < kos_conf_count(group); i++) {
        const struct kos_conf_node *item = kos_conf_at(group, i);
        const char *type = kos_conf_name(item);
        double score;
        int32_t rc = policy_count_rule(m, item, ret_error);
        if (rc < 0)
            return rc;
        if (strcmp(type, "*") != 0 && strcmp(type, "session") != 0 && !policy_type_ok(type))
            return kos_conf_fail(item, ret_error, KOS_E_POLICY,
                                 "this is no message type: write capitals, digits and _, or session, or *");
        if (kos_conf_float(item, &score) < 0)
            return kos_conf_fail(item, ret_error, KOS_E_POLICY, "a score from 0 to 10 is needed here");
        if (score < 0 || score > 10)
            return kos_conf_fail(item, ret_error, KOS_E_POLICY, "the score %g is outside of 0 to 10", score);
        m->thresholds[m->threshold_count++] = (struct policy_threshold){ type, score, place_of(m, item) };
    }
    return KOS_OK;
}

static int32_t parse_limit(struct policy_manifest *m, const struct kos_conf_node *group, struct policy_limit *out,
                           struct kos_error *ret_error)
{
    static const char *const names[] = { "peer", "type", "transport", "messages_per_minute", "bytes_per_minute",
                                         "bytes_per_day", "concurrent_tasks", "outbox_bytes", "dedupe_entries" };
    int32_t rc = known(group, names, sizeof names / sizeof *names, ret_error);
    if (rc < 0 || (rc = policy_count_rule(m, group, ret_error)) < 0)
        return rc;
    const char *texts[3] = { "*", "*", "*" };
    for (size_t i = 0; i < 3; i++) {
        const struct kos_conf_node *member = kos_conf_member(group, names[i]);
        if (member && !(texts[i] = kos_conf_string(member)))
            return kos_conf_fail(member, ret_error, KOS_E_POLICY, "a string in quotes is needed here");
        if (member && i == 1 && strcmp(texts[i], "*") != 0 && !policy_type_ok(texts[i]))
            return kos_conf_fail(member, ret_error, KOS_E_POLICY, "\"%.64s\" is not a message type", texts[i]);
        if (member && i == 2 && klp_label_check(kos_bytes_str(texts[i])) < 0 && strcmp(texts[i], "*") != 0)
            return kos_conf_fail(member, ret_error, KOS_E_POLICY, "\"%.64s\" is not the name of a transport", texts[i]);
    }
    const struct kos_conf_node *peer = kos_conf_member(group, "peer");
    if ((rc = parse_peer(m, peer ? peer : group, texts[0], &out->peer, ret_error)) < 0)
        return rc;
    out->type = texts[1];
    out->transport = texts[2];
    out->place = place_of(m, group);
    bool any = false;
    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        const struct kos_conf_node *member = kos_conf_member(group, kos_policy_limit_names[i]);
        bool bytes = i == LIMIT_BYTES || i == LIMIT_DAY || i == LIMIT_OUTBOX;
        struct kos_setting setting = { .size = sizeof setting, .type = bytes ? KOS_SETTING_SIZE : KOS_SETTING_INT,
                                       .name = kos_policy_limit_names[i], .min = 1, .max = INT64_C(1) << 50 };
        struct kos_conf_checked value;
        if (!member)
            continue;
        if ((rc = kos_conf_check(member, &setting, m->file, &value, ret_error)) < 0)
            return rc;
        out->values[i] = (uint64_t)value.number;
        any = true;
    }
    if (out->values[LIMIT_TASKS] && strcmp(out->transport, "*") != 0)
        return kos_conf_fail(group, ret_error, KOS_E_POLICY,
                             "concurrent_tasks counts tasks over all transports: leave transport out of this rule");
    return any ? KOS_OK : kos_conf_fail(group, ret_error, KOS_E_POLICY, "this rule limits nothing: name a limit");
}

static int32_t parse_limits(struct policy_manifest *m, const struct kos_conf_node *list, struct kos_error *ret_error)
{
    if (kos_conf_kind(list) != KOS_CONF_LIST)
        return kos_conf_fail(list, ret_error, KOS_E_POLICY, "a list of groups ( { }, { } ) is needed here");
    m->limits = kos_new((kos_conf_count(list) + 1) * sizeof *m->limits);
    for (size_t i = 0; i < kos_conf_count(list); i++) {
        int32_t rc = parse_limit(m, kos_conf_at(list, i), &m->limits[m->limit_count], ret_error);
        if (rc < 0)
            return rc;
        m->limit_count++;
    }
    return KOS_OK;
}

static int32_t parse_head(struct policy_manifest *m, const struct kos_conf_node *root, struct kos_error *ret_error)
{
    const struct kos_conf_node *name = kos_conf_member(root, "name"), *version = kos_conf_member(root, "version");
    int64_t number = 1;
    m->name = m->file;
    if (name && !(m->name = kos_conf_string(name)))
        return kos_conf_fail(name, ret_error, KOS_E_POLICY, "a string in quotes is needed here");
    if (name && klp_name_parse(kos_bytes_str(m->name), (char[KLP_NAME_MAX + 1]){ 0 }) < 0)
        return kos_conf_fail(name, ret_error, KOS_E_POLICY, "\"%.64s\" is not a name: letters, digits, - and dots",
                             m->name);
    if (version && (kos_conf_int(version, &number) < 0 || number != 1))
        return kos_conf_fail(version, ret_error, KOS_E_POLICY, "this kos reads manifests of version 1");
    return KOS_OK;
}

static int32_t parse_root(struct policy_manifest *m, const struct kos_conf_node *root, struct kos_error *ret_error)
{
    static const char *const names[] = { "name", "version", "messages", "peers", "trust", "limits", "plugins" };
    static int32_t (*const parts[])(struct policy_manifest *, const struct kos_conf_node *, struct kos_error *) = {
        parse_messages, parse_peer_lists, parse_trust, parse_limits, policy_plugins_parse
    };
    int32_t rc = known(root, names, sizeof names / sizeof *names, ret_error);
    if (rc == KOS_OK)
        rc = parse_head(m, root, ret_error);
    for (size_t i = 0; rc == KOS_OK && i < sizeof parts / sizeof *parts; i++) {
        const struct kos_conf_node *part = kos_conf_member(root, names[i + 2]);
        if (part)
            rc = parts[i](m, part, ret_error);
    }
    return rc;
}

int32_t policy_manifest_parse(struct kos_conf_doc *doc, const char *file, struct policy_manifest **ret_manifest,
                              struct kos_error *ret_error)
{
    struct policy_manifest *m = kos_new(sizeof *m);
    m->doc = doc;
    m->file = kos_strdup(file);
    int32_t rc = parse_root(m, kos_conf_root(doc), ret_error);
    if (rc < 0) {
        policy_manifest_free(m);
        if (ret_error)
            ret_error->code = KOS_E_POLICY;
        return KOS_E_POLICY;
    }
    *ret_manifest = m;
    return KOS_OK;
}

void policy_manifest_free(struct policy_manifest *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < 2; i++) {
        free(m->allow[i].items);
        free(m->block[i].items);
    }
    free(m->peers_allow.items);
    free(m->peers_block.items);
    free(m->thresholds);
    free(m->limits);
    policy_plugins_free(m);
    kos_conf_free(m->doc);
    free(m->file);
    free(m);
}
