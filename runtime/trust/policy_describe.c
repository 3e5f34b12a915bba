/* SPDX-License-Identifier: Apache-2.0
 * Everything in force, as canonical JSON: for people and programs that ask what a kosd goes by. */
#include "trust/policy_private.h"

#include <stdlib.h>

#include "core/buf.h"

enum { DESCRIPTION_MAX = 8 << 20 };

static json_t *rule_json(const struct policy_place *place)
{
    if (!place->file)
        return json_string("built-in");
    char *text = kos_format("%s:%d", place->file, place->line);
    json_t *json = json_string(text);
    free(text);
    return json;
}

/* [{"type", "rule"}] of all manifests; what is in one allow list is let in only when it is in all of them. */
static json_t *types_json(const struct kos_policy *policy, int32_t direction, bool block)
{
    json_t *lists = json_array();
    for (size_t i = 0; i < policy->manifest_count; i++) {
        const struct policy_manifest *m = policy->manifests[i];
        const struct policy_types *types = block ? &m->block[direction - 1] : &m->allow[direction - 1];
        if (!types->present)
            continue;
        json_t *names = json_array();
        for (size_t k = 0; k < types->count; k++)
            json_array_append_new(names, json_string(types->items[k].type));
        json_array_append_new(lists, json_pack("{s:o, s:o}", "rule", rule_json(&types->place), "types", names));
    }
    return lists;
}

static json_t *peers_json(const struct kos_policy *policy, bool block)
{
    json_t *lists = json_array();
    for (size_t i = 0; i < policy->manifest_count; i++) {
        const struct policy_manifest *m = policy->manifests[i];
        const struct policy_peers *peers = block ? &m->peers_block : &m->peers_allow;
        if (!peers->present)
            continue;
        json_t *names = json_array();
        for (size_t k = 0; k < peers->count; k++)
            json_array_append_new(names, json_string(peers->items[k].text));
        json_array_append_new(lists, json_pack("{s:o, s:o}", "peers", names, "rule", rule_json(&peers->place)));
    }
    return lists;
}

static void put_threshold(json_t *object, const struct kos_policy *policy, const char *type)
{
    struct policy_threshold t = policy_threshold_of(policy, type);
    json_object_set_new(object, type, json_pack("{s:o, s:f}", "rule", rule_json(&t.place), "score", t.score));
}

static json_t *thresholds_json(const struct kos_policy *policy)
{
    json_t *object = json_object();
    for (const struct policy_threshold *t = policy_builtin; t->type; t++)
        put_threshold(object, policy, t->type);
    for (size_t i = 0; i < policy->manifest_count; i++)
        for (size_t k = 0; k < policy->manifests[i]->threshold_count; k++)
            put_threshold(object, policy, policy->manifests[i]->thresholds[k].type);
    return object;
}

static json_t *limits_json(const struct kos_policy *policy)
{
    json_t *list = json_array();
    for (size_t i = 0; i < policy->manifest_count; i++)
        for (size_t k = 0; k < policy->manifests[i]->limit_count; k++) {
            const struct policy_limit *l = &policy->manifests[i]->limits[k];
            json_t *one = json_pack("{s:s, s:s, s:s, s:o}", "peer", l->peer.text, "type", l->type, "transport",
                                    l->transport, "rule", rule_json(&l->place));
            for (int w = 0; w < LIMIT_COUNT; w++)
                if (l->values[w])
                    json_object_set_new(one, kos_policy_limit_names[w], json_integer((json_int_t)l->values[w]));
            json_array_append_new(list, one);
        }
    return list;
}

static json_t *manifests_json(const struct kos_policy *policy)
{
    json_t *list = json_array();
    for (size_t i = 0; i < policy->manifest_count; i++)
        json_array_append_new(list, json_pack("{s:s, s:s}", "file", policy->manifests[i]->file, "name",
                                              policy->manifests[i]->name));
    return list;
}

static json_t *plugins_json(const struct kos_policy *policy)
{
    json_t *list = json_array();
    for (size_t i = 0; i < policy->plugin_count; i++) {
        const struct kos_policy_plugin *p = &policy->plugins[i];
        json_t *one = policy_plugin_json(p);
        json_object_set_new(one, "rule", rule_json(&(struct policy_place){ p->file, p->line }));
        json_array_append_new(list, one);
    }
    return list;
}

int32_t kos_policy_describe(const struct kos_policy *policy, uint8_t **ret_data, size_t *ret_len)
{
    json_t *inbound = json_pack("{s:o, s:o}", "allow", types_json(policy, KOS_INBOUND, false), "block",
                                types_json(policy, KOS_INBOUND, true));
    json_t *outbound = json_pack("{s:o, s:o}", "allow", types_json(policy, KOS_OUTBOUND, false), "block",
                                 types_json(policy, KOS_OUTBOUND, true));
    json_t *all = json_pack("{s:o, s:{s:o, s:o}, s:{s:o, s:o}, s:o, s:o, s:o}", "manifests", manifests_json(policy),
                            "messages", "inbound", inbound, "outbound", outbound, "peers", "allow",
                            peers_json(policy, false), "block", peers_json(policy, true), "trust",
                            thresholds_json(policy), "limits", limits_json(policy), "plugins", plugins_json(policy));
    char *loose = all ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    if (!loose)
        return KOS_E_NOMEM;
    int32_t rc = klp_json_canonicalise(kos_bytes_str(loose), DESCRIPTION_MAX, ret_data, ret_len, NULL);
    free(loose);
    return rc < 0 ? rc : KOS_OK;
}
