/* SPDX-License-Identifier: Apache-2.0
 * What the store keeps of agents: space "agent" (key id, canonical JSON) and "agent.count" (key id, u64 done, u64
 * failed). */
#include "agents/private.h"

#include <klp/address.h>
#include <klp/json.h>
#include <stdlib.h>

enum { RECORD_MAX = 65536, COUNTS = 16 };

static const char *executor_name(int32_t kind)
{
    return kind == KOS_STDIO ? "stdio" : "exec";
}

int32_t agent_record_put(struct kos_tx *tx, const struct agent *agent)
{
    uint8_t *room = kos_new(RECORD_MAX);
    struct klp_json_out out;
    struct kos_bytes text;
    klp_json_begin(&out, room, RECORD_MAX);
    klp_json_object(&out);
    klp_json_name(&out, "command");
    klp_json_put_cstr(&out, agent->command);
    klp_json_name(&out, "concurrency");
    klp_json_put_int(&out, agent->info.concurrency);
    klp_json_name(&out, "created");
    klp_json_put_int(&out, agent->created);
    klp_json_name(&out, "executor");
    klp_json_put_cstr(&out, executor_name(agent->executor_kind));
    klp_json_name(&out, "name");
    klp_json_put_cstr(&out, agent->name);
    klp_json_name(&out, "output_max");
    klp_json_put_int(&out, (int64_t)agent->info.output_max_bytes);
    klp_json_name(&out, "removed");
    klp_json_put_bool(&out, agent->leaving);
    klp_json_name(&out, "skills");
    klp_json_array(&out);
    for (char **skill = agent->skills; *skill; skill++)
        klp_json_put_cstr(&out, *skill);
    klp_json_close(&out, ']');
    klp_json_name(&out, "trust_required");
    klp_json_put_double(&out, agent->info.trust_required);
    klp_json_close(&out, '}');
    int32_t rc = klp_json_end(&out, &text);
    if (rc == KOS_OK)
        kos_tx_put(tx, "agent", kos_bytes(agent->id.b, KLP_ID_LEN), text);
    free(room);
    return rc;
}

void agent_counts_put(struct kos_tx *tx, const struct agent *agent)
{
    uint8_t value[COUNTS];
    for (int i = 0; i < 8; i++) {
        value[i] = (uint8_t)(agent->done >> (56 - 8 * i));
        value[8 + i] = (uint8_t)(agent->failed >> (56 - 8 * i));
    }
    kos_tx_put(tx, "agent.count", kos_bytes(agent->id.b, KLP_ID_LEN), kos_bytes(value, sizeof value));
}

static void counts_load(struct agent *agent)
{
    uint8_t *value;
    size_t len;
    if (kos_store_get(agent->registry->store, "agent.count", kos_bytes(agent->id.b, KLP_ID_LEN), &value, &len) < 0)
        return;
    for (size_t i = 0; len == COUNTS && i < 8; i++) {
        agent->done = agent->done << 8 | value[i];
        agent->failed = agent->failed << 8 | value[8 + i];
    }
    free(value);
}

static bool skill_ok(const char *skill)
{
    size_t len = strlen(skill);
    return len > 0 && len <= SKILL_LEN_MAX && strspn(skill, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

int32_t spec_check(const struct kos_agent_spec *spec, struct kos_error *ret_error)
{
    size_t skills = 0;
    char name[KLP_NAME_MAX + 1];
    if (!spec->name || klp_label_check(kos_bytes_str(spec->name)) < 0 ||
        klp_name_parse(kos_bytes_str(spec->name), name) < 0 || strcmp(name, spec->name) != 0)
        return kos_fail(ret_error, KOS_E_INVALID,
                        "an agent's name is 1 to 63 of a-z, 0-9 and -, and does not begin or end with -");
    while (spec->skills && spec->skills[skills] && skills <= SKILLS_MAX)
        if (!skill_ok(spec->skills[skills++]))
            return kos_fail(ret_error, KOS_E_INVALID, "skill %zu of agent %s is not 1 to %d of a-z, 0-9 and -", skills,
                            spec->name, SKILL_LEN_MAX);
    if (skills < 1 || skills > SKILLS_MAX)
        return kos_fail(ret_error, KOS_E_INVALID, "agent %s needs 1 to %d skills", spec->name, SKILLS_MAX);
    if (spec->executor != KOS_EXEC && spec->executor != KOS_STDIO)
        return kos_fail(ret_error, KOS_E_INVALID, "agent %s needs a command: --exec or --stdio", spec->name);
    size_t len = spec->command ? strlen(spec->command) : 0;
    if (len < 1 || len > COMMAND_MAX)
        return kos_fail(ret_error, KOS_E_INVALID, "the command of agent %s must have 1 to %d bytes", spec->name,
                        COMMAND_MAX);
    json_t *utf8 = json_string(spec->command);
    json_decref(utf8);
    if (!utf8)
        return kos_fail(ret_error, KOS_E_INVALID, "the command of agent %s is not UTF-8", spec->name);
    if (!(spec->trust_required >= 0 && spec->trust_required <= KOS_SCORE_MAX))
        return kos_fail(ret_error, KOS_E_INVALID, "the trust that agent %s requires must be 0 to %d", spec->name,
                        KOS_SCORE_MAX);
    if (spec->concurrency < 1 || spec->concurrency > CONCURRENCY_MAX)
        return kos_fail(ret_error, KOS_E_INVALID, "the concurrency of agent %s must be 1 to %d", spec->name,
                        CONCURRENCY_MAX);
    if (spec->output_max_bytes > (uint64_t)KLP_JSON_INT_MAX)
        return kos_fail(ret_error, KOS_E_INVALID, "the output limit of agent %s is too large", spec->name);
    return KOS_OK;
}

struct agent *agent_new(struct kos_registry *registry, const struct klp_id *id, const struct kos_agent_spec *spec)
{
    struct agent *agent = kos_new(sizeof *agent);
    char text[KLP_ID_TEXT];
    size_t skills = 0;
    while (spec->skills[skills])
        skills++;
    agent->registry = registry;
    agent->id = *id;
    agent->name = kos_strdup(spec->name);
    agent->address = kos_format("klp://agent.%s.%s", spec->name, registry->node_name);
    agent->command = kos_strdup(spec->command);
    klp_id_text(id, text);
    agent->directory = kos_format("%s/%s", registry->directory, text);
    agent->skills = kos_new((skills + 1) * sizeof *agent->skills);
    for (size_t i = 0; i < skills; i++)
        agent->skills[i] = kos_strdup(spec->skills[i]);
    agent->executor_kind = spec->executor;
    agent->executor = spec->executor == KOS_STDIO ? &executor_stdio : &executor_exec;
    agent->info = (struct kos_agent_info) {
        .size = sizeof agent->info,
        .name = agent->name,
        .address = agent->address,
        .skills = (const char *const *)agent->skills,
        .trust_required = spec->trust_required,
        .concurrency = spec->concurrency,
        .output_max_bytes = spec->output_max_bytes ? spec->output_max_bytes : OUTPUT_DEFAULT,
    };
    memcpy(agent->info.id, id->b, sizeof agent->info.id);
    return agent;
}

void agent_free(struct agent *agent)
{
    agent->executor->agent_free(agent);
    kos_undefer(agent->registry->env, &agent->idle);
    for (char **skill = agent->skills; *skill; skill++)
        free(*skill);
    free(agent->skills);
    free(agent->name);
    free(agent->address);
    free(agent->command);
    free(agent->directory);
    free(agent);
}

/* ---- reading ---- */

static char *text_of(struct klp_json value)
{
    if (value.type != KLP_JSON_STRING)
        return NULL;
    char *text = kos_new(value.text.len + 1);
    if (klp_json_string(value, text, value.text.len + 1, NULL) == KOS_OK)
        return text;
    free(text);
    return NULL;
}

struct loading {
    struct kos_registry *registry;
    struct kos_error *ret_error;
    int32_t code;
};

static int32_t read_record(struct kos_registry *registry, const struct klp_id *id, struct klp_json record,
                           struct agent **ret_agent, struct kos_error *ret_error)
{
    char *skills[SKILLS_MAX + 1] = { NULL };
    size_t count = 0;
    struct klp_json_iter iter;
    struct klp_json list = klp_json_get(record, "skills"), value;
    uint64_t concurrency = 0, output_max = 0;
    int64_t created = 0;
    bool removed = false;
    struct kos_agent_spec spec = { .executor = klp_json_equals(klp_json_get(record, "executor"), "stdio") ? KOS_STDIO
                                                                                                          : KOS_EXEC };
    char *name = text_of(klp_json_get(record, "name")), *command = text_of(klp_json_get(record, "command"));
    if (list.type == KLP_JSON_ARRAY) {
        klp_json_iter_init(list, &iter);
        while (count < SKILLS_MAX && klp_json_next(&iter, NULL, &value) && (skills[count] = text_of(value)))
            count++;
    }
    klp_json_uint(klp_json_get(record, "concurrency"), &concurrency);
    klp_json_uint(klp_json_get(record, "output_max"), &output_max);
    klp_json_int(klp_json_get(record, "created"), &created);
    klp_json_double(klp_json_get(record, "trust_required"), &spec.trust_required);
    klp_json_bool(klp_json_get(record, "removed"), &removed);
    spec.name = name;
    spec.command = command;
    spec.skills = (const char *const *)skills;
    spec.concurrency = concurrency <= UINT32_MAX ? (uint32_t)concurrency : 0;
    spec.output_max_bytes = output_max;
    int32_t rc = spec_check(&spec, ret_error);
    if (rc == KOS_OK) {
        *ret_agent = agent_new(registry, id, &spec);
        (*ret_agent)->created = created;
        (*ret_agent)->leaving = removed;
    }
    for (size_t i = 0; i < count; i++)
        free(skills[i]);
    free(name);
    free(command);
    return rc;
}

static bool load_one(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct loading *loading = arg;
    struct kos_registry *registry = loading->registry;
    struct agent *agent;
    struct klp_json record;
    struct klp_id id;
    struct kos_error error = { .text = "it is not canonical JSON" };
    int32_t rc =
        key.len == KLP_ID_LEN && klp_json_read(value, RECORD_MAX, &record, NULL) == KOS_OK ? KOS_OK : KOS_E_CORRUPT;
    if (rc == KOS_OK) {
        memcpy(id.b, key.data, KLP_ID_LEN);
        rc = read_record(registry, &id, record, &agent, &error);
    }
    if (rc < 0) {
        loading->code = kos_fail(loading->ret_error, KOS_E_CORRUPT,
                                 "a record in the store's space \"agent\" is damaged: %s", error.text);
        return false;
    }
    counts_load(agent);
    HASH_ADD(hh, registry->agents, id, sizeof agent->id, agent);
    return true;
}

int32_t agents_load(struct kos_registry *registry, struct kos_error *ret_error)
{
    struct loading loading = { registry, ret_error, KOS_OK };
    int32_t rc = kos_store_scan(registry->store, "agent", kos_bytes(NULL, 0), kos_bytes(NULL, 0), load_one, &loading);
    return rc < 0 ? kos_fail(ret_error, rc, "the agents cannot be read from the store: %s", kos_error_text(rc))
                  : loading.code;
}
