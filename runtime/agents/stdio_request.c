/* SPDX-License-Identifier: Apache-2.0
 * --stdio: snapshot, restore and probe. */
#include "agents/stdio.h"

#include <klp/json.h>
#include <stdlib.h>

/* A refusal comes later too, like every answer. */
struct refusal {
    struct kos_env *env;
    struct kos_timer *timer;
    kos_agents_answered *done;
    void *arg;
    struct kos_error error;
};

static void refusal_due(void *arg)
{
    struct refusal *refusal = arg;
    kos_timer_free(refusal->env, refusal->timer);
    refusal->done(refusal->arg, refusal->error.code, kos_bytes(NULL, 0), refusal->error.text);
    free(refusal);
}

static void refuse(struct kos_registry *registry, kos_agents_answered *done, void *arg, int32_t code, const char *text)
{
    struct refusal *refusal = kos_new(sizeof *refusal);
    *refusal = (struct refusal){ .env = registry->env, .done = done, .arg = arg };
    kos_fail(&refusal->error, code, "%s", text);
    refusal->timer = kos_timer_new(registry->env, refusal_due, refusal);
    kos_timer_set(registry->env, refusal->timer, 0);
}

static void request_free(struct request *request)
{
    HASH_DEL(request->pump->requests, request);
    kos_timer_free(request->pump->agent->registry->env, request->timer);
    free(request);
}

static void answer(struct request *request, int32_t status, struct kos_bytes bytes, const char *text)
{
    kos_agents_answered *done = request->done;
    void *arg = request->arg;
    request_free(request);
    done(arg, status, bytes, text);
}

void requests_lost(struct pump *pump, int32_t code, const char *text)
{
    struct request *request, *next;
    HASH_ITER(hh, pump->requests, request, next)
        answer(request, code, kos_bytes(NULL, 0), text);
}

void requests_free(struct pump *pump)
{
    struct request *request, *next;
    HASH_ITER(hh, pump->requests, request, next)
        request_free(request);
}

static void late(void *arg)
{
    answer(arg, KOS_E_TIMEOUT, kos_bytes(NULL, 0), "the agent did not answer within 30 s");
}

bool request_answer(struct pump *pump, const char *id, json_t *message)
{
    struct request *request;
    struct kos_error error;
    uint8_t *data;
    size_t len;
    char text[TEXT_MAX];
    HASH_FIND_STR(pump->requests, id, request);
    if (!request)
        return false;
    json_t *value = json_object_get(message, request->answer), *name = json_object_get(message, "error"),
           *said = json_object_get(message, "text");
    if (json_is_string(name)) {
        json_t *best = json_is_string(said) ? said : name;
        clean_text(kos_bytes(json_string_value(best), json_string_length(best)), text, sizeof text);
        answer(request, KOS_E_AGENT, kos_bytes(NULL, 0), text);
        return true;
    }
    if (!value)
        return false;
    if (strcmp(request->answer, "restored") == 0) {
        bool yes = json_is_true(value);
        answer(request, yes ? KOS_OK : KOS_E_AGENT, yes ? kos_bytes_str("null") : kos_bytes(NULL, 0),
               yes ? "" : "the agent did not restore its state");
        return true;
    }
    if (canonical_new(value, &data, &len, &error) < 0) {
        answer(request, error.code, kos_bytes(NULL, 0), error.text);
        return true;
    }
    answer(request, KOS_OK, kos_bytes(data, len), "");
    free(data);
    return true;
}

/* {"id":"r1", member: value, "verb": verb}; member between id and verb in the alphabet. */
static int32_t send(struct pump *pump, const struct request *request, const char *verb, const char *member,
                    struct kos_bytes value)
{
    struct kos_buf line;
    kos_buf_init(&line, value.len + 256);
    int32_t rc = kos_buf_printf(&line, "{\"id\":\"%s\"", request->id);
    if (rc == KOS_OK && member)
        rc = kos_buf_printf(&line, ",\"%s\":", member);
    if (rc == KOS_OK && member)
        rc = kos_buf_append(&line, value);
    if (rc == KOS_OK)
        rc = kos_buf_printf(&line, ",\"verb\":\"%s\"}\n", verb);
    if (rc == KOS_OK)
        rc = pump_write(pump, kos_buf_bytes(&line));
    kos_buf_fini(&line);
    return rc;
}

static void ask(struct kos_registry *registry, const uint8_t id[KOS_ID_BYTES], const char *verb,
                const char *answer_member, const char *member, struct kos_bytes value, kos_agents_answered *done,
                void *arg)
{
    struct agent *agent;
    HASH_FIND(hh, registry->agents, id, sizeof agent->id, agent);
    if (!agent || agent->leaving) {
        refuse(registry, done, arg, KOS_E_NOTFOUND, "there is no such agent here");
        return;
    }
    if (agent->executor != &executor_stdio) {
        refuse(registry, done, arg, KOS_E_UNSUPPORTED,
               "only --stdio agents can be asked for their state; this one is run by --exec");
        return;
    }
    struct pump *pump = pump_of(agent);
    if (HASH_COUNT(pump->requests) >= REQUESTS_MAX || registry->stopping) {
        refuse(registry, done, arg, KOS_E_BUSY,
               registry->stopping ? "kosd is stopping" : "the agent has 16 such requests open already");
        return;
    }
    int32_t rc = pump_up(pump);
    if (rc < 0) {
        refuse(registry, done, arg, rc, "the agent's process does not run at this moment");
        return;
    }
    struct request *request = kos_new(sizeof *request);
    *request = (struct request){ .pump = pump, .answer = answer_member, .done = done, .arg = arg };
    snprintf(request->id, sizeof request->id, "r%llu", (unsigned long long)++pump->serial);
    HASH_ADD_STR(pump->requests, id, request);
    if ((rc = send(pump, request, verb, member, value)) < 0) {
        request_free(request);
        refuse(registry, done, arg, rc, "the agent does not read what it is sent");
        return;
    }
    request->timer = kos_timer_new(registry->env, late, request);
    kos_timer_set(registry->env, request->timer, REQUEST_MS);
}

void kos_agents_snapshot(struct kos_registry *registry, const uint8_t id[KOS_ID_BYTES], kos_agents_answered *done,
                         void *arg)
{
    ask(registry, id, "snapshot", "snapshot", NULL, kos_bytes(NULL, 0), done, arg);
}

void kos_agents_restore(struct kos_registry *registry, const uint8_t id[KOS_ID_BYTES], struct kos_bytes state,
                        kos_agents_answered *done, void *arg)
{
    struct klp_json value;
    if (klp_json_read(state, RESULT_MAX, &value, NULL) < 0)
        refuse(registry, done, arg, KOS_E_INVALID, "the state is not canonical JSON of at most 512 KiB");
    else
        ask(registry, id, "restore", "restored", "state", state, done, arg);
}

void kos_agents_probe(struct kos_registry *registry, const uint8_t id[KOS_ID_BYTES], struct kos_bytes inputs,
                      kos_agents_answered *done, void *arg)
{
    struct kos_error error;
    int32_t rc = inputs_check(inputs, &error);
    if (rc < 0)
        refuse(registry, done, arg, rc, error.text);
    else
        ask(registry, id, "probe", "probe", "inputs", inputs, done, arg);
}
