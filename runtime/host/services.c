/* SPDX-License-Identifier: Apache-2.0
 * Log, completions, state and signatures of plugins. */
#include <klp/id.h>
#include <stdlib.h>

#include "host/services.h"

void kos_service_log(struct kos_services *services, int32_t level, const char *text)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_env *env = hosted->hosting->env;
    char line[KOS_LOG_TEXT_MAX + 1];
    size_t n = 0;
    uint64_t second = kos_mono_ms(env) / 1000;
    level = level < KOS_ERROR ? KOS_ERROR : level > KOS_DEBUG ? KOS_DEBUG : level;
    if (level > env->log_level || !text)
        return;
    if (second != hosted->log_second) {
        if (hosted->logged > KOS_HOSTED_LOG_PER_S)
            kos_log(env, KOS_LOG_NOTICE, hosted->name, "%llu more lines within a second are left out",
                    (unsigned long long)(hosted->logged - KOS_HOSTED_LOG_PER_S));
        hosted->log_second = second;
        hosted->logged = 0;
    }
    if (++hosted->logged > KOS_HOSTED_LOG_PER_S)
        return;
    /* One line stays one line, whatever stands in it. */
    for (; n < KOS_LOG_TEXT_MAX && text[n]; n++)
        line[n] = (unsigned char)text[n] < 32 || (unsigned char)text[n] == 127 ? '?' : text[n];
    line[n] = '\0';
    kos_log(env, level, hosted->name, "%s", line);
}

/* ---- state: store space "plugin:NAME" ---- */

void kos_service_state_get(struct kos_services *services, struct kos_bytes key, uint64_t op)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    uint8_t *value = NULL;
    size_t len = 0;
    if (key.len == 0 || key.len > KOS_STATE_KEY_MAX) {
        kos_hosted_complete_text(hosted, op, KOS_E_INVALID, "a key of state has 1 to 256 bytes");
        return;
    }
    int32_t rc = kos_store_get(hosted->hosting->store, hosted->space, key, &value, &len);
    kos_hosted_complete(hosted, op, rc < 0 ? rc : KOS_OK, rc < 0 ? kos_bytes(NULL, 0) : kos_bytes(value, len));
    if (rc >= 0)
        free(value);
}

struct scan {
    struct kos_buf out;
    uint32_t left;
};

static void append_run(struct kos_buf *out, struct kos_bytes bytes)
{
    uint32_t n = (uint32_t)bytes.len;
    kos_buf_append(out, kos_bytes(&n, sizeof n));
    kos_buf_append(out, bytes);
}

static bool scan_one(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct scan *scan = arg;
    size_t need = 2 * sizeof(uint32_t) + key.len + value.len;
    /* The first pair is given whatever its size, so that a scan always moves on. */
    if (scan->left == 0 || (scan->out.len > 0 && scan->out.len + need > KOS_HOSTED_SCAN_BYTES) ||
        kos_buf_reserve(&scan->out, need) < 0)
        return false;
    append_run(&scan->out, key);
    append_run(&scan->out, value);
    scan->left--;
    return true;
}

void kos_service_state_scan(struct kos_services *services, struct kos_bytes prefix, struct kos_bytes from, uint32_t limit,
                            uint64_t op)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct scan scan = { .left = limit };
    if (prefix.len > KOS_STATE_KEY_MAX || from.len > KOS_STATE_KEY_MAX || limit == 0) {
        kos_hosted_complete_text(
            hosted, op, KOS_E_INVALID,
            "a scan of state takes a prefix and a beginning of at most 256 bytes, and a limit above 0");
        return;
    }
    kos_buf_init(&scan.out, 2 * (size_t)KOS_HOSTED_SCAN_BYTES + KOS_STATE_KEY_MAX);
    int32_t rc =
        kos_store_scan(hosted->hosting->store, hosted->space, prefix, from.len ? from : prefix, scan_one, &scan);
    kos_hosted_complete(hosted, op, rc < 0 ? rc : KOS_OK, rc < 0 ? kos_bytes(NULL, 0) : kos_buf_bytes(&scan.out));
    kos_buf_fini(&scan.out);
}

/* ---- signatures ---- */

void kos_service_sign(struct kos_services *services, const char *key, struct kos_bytes body, uint64_t op)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_keys *keys = kos_trust_keys(hosted->hosting->trust);
    struct kos_identity *identity = NULL;
    struct klp_id id;
    uint8_t signature[KLP_SIGNATURE_LEN];
    if (!kos_hosted_may(hosted, KOS_RIGHT_SIGN)) {
        kos_hosted_complete_text(hosted, op, KOS_E_DENIED, "the plugin has not asked for the right \"sign\"");
        return;
    }
    if (strcmp(key, "node") == 0)
        identity = kos_keys_node(keys);
    else if (klp_id_parse(kos_bytes_str(key), &id) >= 0)
        identity = kos_keys_find(keys, &id);
    if (!identity) {
        kos_hosted_complete_text(hosted, op, KOS_E_NOTFOUND,
                                 "no key of this node has that name; it is \"node\" or the id of a local agent");
        return;
    }
    char *tag = kos_format("plugin/%s", hosted->name);
    int32_t rc = kos_identity_sign(identity, tag, body, signature);
    free(tag);
    kos_hosted_complete(hosted, op, rc < 0 ? rc : KOS_OK,
                        rc < 0 ? kos_bytes(NULL, 0) : kos_bytes(signature, sizeof signature));
}

/* ---- the table that backends call ---- */

static void broke(struct kos_services *services, const char *what)
{
    kos_hosted_broke(kos_hosted_of(services), "%s", what);
}

static void quiet(struct kos_services *services)
{
    kos_hosted_quiet(kos_hosted_of(services));
}

static void finished(struct kos_services *services)
{
    struct kos_hosting *hosting = kos_hosted_of(services)->hosting;
    if (hosting->stopping)
        kos_defer(hosting->env, &hosting->stop_check);
}

/* What belongs to a kind is given to who is of that kind. */
static bool gives(struct kos_services *services, const char *feature)
{
    static const struct { const char *feature, *kind; } pairs[] = {
        { KOS_TRANSPORT_HOST, KOS_TRANSPORT },
        { KOS_CONTROL_HOST, KOS_CONTROL },
        { KOS_DISCOVERY_HOST, KOS_DISCOVERY },
        { KOS_BRIDGE_HOST, KOS_BRIDGE },
        { KOS_HTTP_SERVICE_HOST, KOS_HTTP_SERVICE },
    };
    struct kos_hosted *hosted = kos_hosted_of(services);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (strcmp(pairs[i].feature, feature) == 0)
            return kos_hosted_offers(hosted, pairs[i].kind);
    if (strcmp(feature, KOS_HTTP) == 0)
        return kos_hosted_offers(hosted, KOS_HTTP_USER) && kos_http_is_there(hosted->hosting);
    if (strcmp(feature, KOS_STREAM) == 0)
        return hosted->rights & KOS_RIGHT_STREAM && kos_hosted_offers(hosted, KOS_STREAM_USER);
    return strcmp(feature, KOS_AGENTS) == 0 && hosted->rights & KOS_RIGHT_AGENTS &&
        kos_hosted_offers(hosted, KOS_AGENTS_USER) && hosted->hosting->agents;
}

static const struct kos_agent_info *agent_by_id(struct kos_services *services, const uint8_t id[KOS_ID_BYTES])
{
    return kos_agents_by_id(kos_hosted_of(services)->hosting->agents, id);
}

static const struct kos_agent_info *agent_by_name(struct kos_services *services, const char *name)
{
    return kos_agents_by_name(kos_hosted_of(services)->hosting->agents, name);
}

const struct kos_services_ops kos_hosted_services = {
    .broke = broke,
    .quiet = quiet,
    .finished = finished,
    .gives = gives,
    .log = kos_service_log,
    .complete = kos_service_complete,
    .open = kos_service_open,
    .open_cancel = kos_service_open_cancel,
    .state_get = kos_service_state_get,
    .state_scan = kos_service_state_scan,
    .secret_get = kos_service_secret_get,
    .secret_put = kos_service_secret_put,
    .sign = kos_service_sign,
    .tx_begin = kos_service_tx_begin,
    .tx_put = kos_service_tx_put,
    .tx_delete = kos_service_tx_delete,
    .tx_send = kos_service_tx_send,
    .tx_verdict = kos_service_tx_verdict,
    .tx_commit = kos_service_tx_commit,
    .tx_abort = kos_service_tx_abort,
    .endpoint_up = kos_service_endpoint_up,
    .endpoint_down = kos_service_endpoint_down,
    .link_up = kos_service_link_up,
    .link_received = kos_service_link_received,
    .link_credit = kos_service_link_credit,
    .link_down = kos_service_link_down,
    .found = kos_service_found,
    .lost = kos_service_lost,
    .inject = kos_service_inject,
    .reply = kos_service_reply,
    .event = kos_service_event,
    .agent_by_id = agent_by_id,
    .agent_by_name = agent_by_name,
    .run = kos_service_run,
    .run_credit = kos_service_run_credit,
    .run_cancel = kos_service_run_cancel,
    .http_serve = kos_service_http_serve,
    .http_respond = kos_service_http_respond,
    .http_fetch = kos_service_http_fetch,
    .http_cancel = kos_service_http_cancel,
    .http_request = kos_service_http_request,
    .http_response = kos_service_http_response,
    .stream_open = kos_service_stream_open,
    .stream_send = kos_service_stream_send,
    .stream_credit = kos_service_stream_credit,
    .stream_close = kos_service_stream_close,
    .stream_abort = kos_service_stream_abort,
};
