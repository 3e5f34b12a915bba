/* SPDX-License-Identifier: Apache-2.0
 *
 * org.kos.node: what kosctl and programs ask of a kosd itself. Tasks and announcements are interfaces of their plugins.
 */
#include <stdlib.h>
#include <unistd.h>

#include <klp/address.h>
#include "core/buf.h"
#include "kosd/node.h"

static const char description[] =
    "# A node of kos: itself, its peers, what it trusts, its agents, policy and plugins\n"
    "interface org.kos.node\n\n"
    "# An event that Watch tells: name, when (Unix ms), what\n"
    "type Score (id: string, did: string, name: string, score: float, since: int, pinned: bool)\n\n"
    "method Status() -> (status: object)\n"
    "# The node's identity; log is its key event log as text\n"
    "method Id() -> (id: string, did: string, name: string, digest: string, event: int, log: string, did_document: object)\n"
    "method Peers() -> (peers: []object)\n"
    "# Needs 'more': answers go on until the caller hangs up\n"
    "method Watch() -> (event: string, at: int, detail: object)\n"
    "method Connect(address: string, expect: ?string, timeout_ms: ?int) -> (id: string, did: string, name: string)\n"
    "method Disconnect(peer: string) -> (id: string)\n"
    "method TrustSet(who: string, score: ?float) -> (id: string, did: string, name: string, score: float)\n"
    "method TrustUnset(who: string) -> (id: string)\n"
    "method TrustList() -> (entries: []Score)\n"
    "method AgentAdd(name: string, skills: []string, executor: string, command: string, trust_required: ?float, concurrency: ?int, output_max_bytes: ?int) -> (id: string, did: string, address: string)\n"
    "method AgentRemove(name: string) -> ()\n"
    "method AgentList() -> (agents: []object)\n"
    "method PolicyExplain(from: string, type: string, size: ?int, agent: ?string, outbound: ?bool) -> (allowed: bool, error: string, rule: string, text: string, score: float, score_needed: float)\n"
    "method PolicyReload() -> ()\n"
    "method PolicyShow() -> (policy: object)\n"
    "method PluginList() -> (plugins: []object)\n"
    "# Replaces the cell of a plugin by one of its module's file as it is now\n"
    "method PluginReload(name: string) -> ()\n\n"
    "# Every refusal: a stable name, a sentence for a person, whether trying the same again can help\n"
    "error Failed (error: string, text: string, retry: bool)\n";

static const char *text_of(json_t *parameters, const char *name)
{
    return json_string_value(json_object_get(parameters, name));
}

static json_t *id_json(const struct klp_id *id)
{
    char text[KLP_ID_TEXT], did[KLP_DID_TEXT];
    klp_id_text(id, text);
    klp_did(id, did);
    return json_pack("{s:s, s:s}", "id", text, "did", did);
}

/* Whom a person means: a whole id needs not be known here. */
static int32_t who(struct kos_node *node, const char *text, struct klp_id *ret_id, struct kos_error *ret_error)
{
    struct klp_address address;
    struct klp_id id;
    if (klp_id_parse(kos_bytes_str(text), &id) == KOS_OK || klp_did_parse(kos_bytes_str(text), &id) == KOS_OK) {
        *ret_id = id;
        return KOS_OK;
    }
    if (klp_address_parse(kos_bytes_str(text), &address, NULL) == KOS_OK && address.form == KLP_ADDRESS_ID) {
        *ret_id = address.id;
        return KOS_OK;
    }
    struct klp_id peer, agent, none = { { 0 } };
    int32_t r = kos_trust_find(node->trust, text, ret_id, ret_error);
    if (r == KOS_E_NOTFOUND && kos_mesh_resolve(node->mesh, text, &peer, &agent, NULL) == KOS_OK) {
        *ret_id = klp_id_eq(&agent, &none) ? peer : agent;
        return KOS_OK;
    }
    return r;
}

/* A call that waits for something durable. */
struct waiting {
    struct kos_node *node;
    struct kos_call *call;
    json_t *answer;
    bool trust_changed;
};

static struct waiting *waiting_new(struct kos_node *node, struct kos_call *call, json_t *answer)
{
    struct waiting *waiting = kos_new(sizeof *waiting);
    waiting->node = node;
    waiting->call = call;
    waiting->answer = answer;
    return waiting;
}

static void waiting_done(void *arg, int32_t status)
{
    struct waiting *waiting = arg;
    if (status < 0) {
        json_decref(waiting->answer);
        kos_call_fail(waiting->call, status, "it could not be made durable: %s", kos_error_text(status));
    } else {
        if (waiting->trust_changed)
            kos_mesh_trust_changed(waiting->node->mesh);
        kos_call_reply(waiting->call, waiting->answer);
    }
    free(waiting);
}

static void do_status(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    struct kos_store_stats stats;
    (void)parameters;
    kos_store_stats(node->store, &stats);
    json_t *status = kos_mesh_status(node->mesh);
    json_object_set_new(status, "name", json_string(node->settings->name));
    json_object_set_new(status, "version", json_string(KOS_VERSION));
    json_object_set_new(status, "pid", json_integer(getpid()));
    json_object_set_new(status, "uptime_ms", json_integer(kos_now_ms(node->env) - node->started_ms));
    json_object_set_new(status, "agents", json_integer((json_int_t)kos_agents_count(node->agents)));
    json_object_set_new(status, "store", json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "state", stats.state == KOS_OK ? "ok" : kos_error_name(stats.state),
        "commits", (json_int_t)stats.commits, "groups", (json_int_t)stats.groups, "syncs", (json_int_t)stats.syncs,
        "bytes_journal", (json_int_t)stats.bytes_journal, "checkpoints", (json_int_t)stats.checkpoints));
    char id[KLP_ID_TEXT];
    klp_id_text(kos_identity_id(kos_keys_node(node->keys)), id);
    json_object_set_new(status, "id", json_string(id));
    kos_call_reply(call, json_pack("{s:o}", "status", status));
}

static void do_id(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    const struct klp_log *log = kos_identity_log(kos_keys_node(node->keys));
    uint8_t *text = NULL, *document = NULL;
    size_t text_len, document_len;
    (void)parameters;
    if (klp_log_text(log, 0, &text, &text_len) < 0 || klp_log_did_document(log, &document, &document_len) < 0) {
        free(text);
        kos_call_fail(call, KOS_E_NOMEM, "there is not enough memory for the log");
        return;
    }
    char digest[2 * KLP_DIGEST_LEN + 1];
    klp_hex(kos_bytes(klp_log_identity(log)->b, KLP_DIGEST_LEN), digest);
    json_t *answer = id_json(klp_log_id(log));
    json_object_set_new(answer, "name", json_string(node->settings->name));
    json_object_set_new(answer, "digest", json_string(digest));
    json_object_set_new(answer, "event", json_integer((json_int_t)kos_identity_event(kos_keys_node(node->keys))));
    json_object_set_new(answer, "log", json_stringn((const char *)text, text_len));
    json_object_set_new(answer, "did_document", json_loadb((const char *)document, document_len, 0, NULL));
    free(text);
    free(document);
    kos_call_reply(call, answer);
}

static void do_peers(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    (void)parameters;
    kos_call_reply(call, json_pack("{s:o}", "peers", kos_mesh_peers(node->mesh)));
}

struct watching {
    struct kos_watcher watcher;
    struct kos_node *node;
    struct kos_call *call;
};

static void watching_event(struct kos_watcher *watcher, const char *event, json_t *detail)
{
    struct watching *watching = (struct watching *)watcher;
    kos_call_continue(watching->call, json_pack("{s:s, s:I, s:O}", "event", event, "at", (json_int_t)kos_now_ms(watching->node->env), "detail", detail));
}

static void watching_gone(void *arg)
{
    struct watching *watching = arg;
    kos_mesh_unwatch(watching->node->mesh, &watching->watcher);
    free(watching);
}

static void do_watch(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    (void)parameters;
    if (!kos_call_more(call)) {
        kos_call_fail(call, KOS_E_INVALID, "Watch answers many times: call it with more");
        return;
    }
    struct watching *watching = kos_new(sizeof *watching);
    watching->watcher.event = watching_event;
    watching->node = node;
    watching->call = call;
    kos_call_on_hangup(call, watching_gone, watching);
    kos_mesh_watch(node->mesh, &watching->watcher);
}

struct connecting {
    struct kos_node *node;
    struct kos_call *call;  /* NULL once the caller left */
};

static void connecting_done(void *arg, const struct kos_mesh_connected *result)
{
    struct connecting *connecting = arg;
    struct kos_call *call = connecting->call;
    if (call && result->status < 0) {
        kos_call_fail(call, result->status, "%s", result->text);
    } else if (call) {
        json_t *answer = id_json(&result->peer);
        json_object_set_new(answer, "name", json_string(kos_trust_name_of(connecting->node->trust, &result->peer)));
        kos_call_reply(call, answer);
    }
    free(connecting);
}

static void connecting_gone(void *arg)
{
    ((struct connecting *)arg)->call = NULL;
}

static void do_connect(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    const char *address = text_of(parameters, "address"), *expect_text = text_of(parameters, "expect");
    json_int_t timeout = json_integer_value(json_object_get(parameters, "timeout_ms"));
    struct klp_id expect;
    struct kos_error error;
    if (!address) {
        kos_call_fail(call, KOS_E_INVALID, "address is missing");
        return;
    }
    if (expect_text && klp_id_parse(kos_bytes_str(expect_text), &expect) < 0) {
        kos_call_fail(call, KOS_E_INVALID, "expect: \"%s\" is not a KLP-ID", expect_text);
        return;
    }
    struct connecting *connecting = kos_new(sizeof *connecting);
    connecting->node = node;
    connecting->call = call;
    kos_call_on_hangup(call, connecting_gone, connecting);
    int32_t r = kos_mesh_connect(node->mesh, address, expect_text ? &expect : NULL, timeout > 0 ? (uint64_t)timeout : 15000, connecting_done, connecting, &error);
    if (r < 0) {
        free(connecting);
        kos_call_on_hangup(call, NULL, NULL);
        kos_call_fail(call, r, "%s", error.text);
    }
}

static void do_disconnect(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    const char *text = text_of(parameters, "peer");
    struct klp_id id;
    struct kos_error error = { .text = "peer is missing" };
    int32_t r = text ? who(node, text, &id, &error) : KOS_E_INVALID;
    if (r == KOS_OK)
        r = kos_mesh_disconnect(node->mesh, &id, &error);
    if (r < 0)
        kos_call_fail(call, r, "%s", error.text);
    else
        kos_call_reply(call, id_json(&id));
}

static void do_trust_set(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    const char *text = text_of(parameters, "who");
    json_t *given = json_object_get(parameters, "score");
    double score = json_is_number(given) ? json_number_value(given) : KOS_SCORE_DEFAULT;
    struct klp_id id;
    struct kos_error error = { .text = "who is missing" };
    int32_t r = text ? who(node, text, &id, &error) : KOS_E_INVALID;
    if (r < 0) {
        kos_call_fail(call, r, "%s", error.text);
        return;
    }
    struct kos_tx *tx = kos_tx_begin(node->store);
    if ((r = kos_trust_set(node->trust, tx, &id, score, &error)) < 0) {
        kos_tx_abort(tx);
        kos_call_fail(call, r, "%s", error.text);
        return;
    }
    json_t *answer = id_json(&id);
    json_object_set_new(answer, "name", json_string(kos_trust_name_of(node->trust, &id)));
    json_object_set_new(answer, "score", json_real(score));
    struct waiting *waiting = waiting_new(node, call, answer);
    waiting->trust_changed = true;
    if ((r = kos_tx_commit(tx, waiting_done, waiting)) < 0)
        waiting_done(waiting, r);
}

static void do_trust_unset(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    const char *text = text_of(parameters, "who");
    struct klp_id id;
    struct kos_error error = { .text = "who is missing" };
    int32_t r = text ? who(node, text, &id, &error) : KOS_E_INVALID;
    if (r < 0) {
        kos_call_fail(call, r, "%s", error.text);
        return;
    }
    struct kos_tx *tx = kos_tx_begin(node->store);
    if ((r = kos_trust_unset(node->trust, tx, &id)) < 0) {
        kos_tx_abort(tx);
        kos_call_fail(call, r, "%s has no score of yours: kosctl trust lists those that have", text);
        return;
    }
    struct waiting *waiting = waiting_new(node, call, id_json(&id));
    waiting->trust_changed = true;
    if ((r = kos_tx_commit(tx, waiting_done, waiting)) < 0)
        waiting_done(waiting, r);
}

static void trust_entry(void *arg, const struct kos_trust_entry *entry)
{
    static const struct klp_digest none;
    json_t *one = id_json(&entry->id);
    json_object_set_new(one, "name", json_string(entry->name));
    json_object_set_new(one, "score", json_real(entry->score));
    json_object_set_new(one, "since", json_integer(entry->since_ms));
    json_object_set_new(one, "pinned", json_boolean(memcmp(&entry->identity, &none, sizeof none) != 0));
    json_array_append_new(arg, one);
}

static void do_trust_list(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    json_t *entries = json_array();
    (void)parameters;
    kos_trust_list(node->trust, trust_entry, entries);
    kos_call_reply(call, json_pack("{s:o}", "entries", entries));
}

static void do_agent_add(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    const char *executor = text_of(parameters, "executor");
    json_t *skills = json_object_get(parameters, "skills"), *trust = json_object_get(parameters, "trust_required");
    json_int_t concurrency = json_integer_value(json_object_get(parameters, "concurrency"));
    const char *list[65] = { NULL };
    struct kos_error error;
    struct klp_id id;

    for (size_t i = 0; i < json_array_size(skills) && i < 64; i++)
        list[i] = json_string_value(json_array_get(skills, i));
    struct kos_agent_spec spec = {
        .name = text_of(parameters, "name"), .skills = list, .command = text_of(parameters, "command"),
        .executor = executor && strcmp(executor, "stdio") == 0 ? KOS_STDIO : KOS_EXEC,
        .trust_required = json_is_number(trust) ? json_number_value(trust) : 0,
        .concurrency = concurrency > 0 && concurrency <= UINT32_MAX ? (uint32_t)concurrency : 1,
        .output_max_bytes = (uint64_t)json_integer_value(json_object_get(parameters, "output_max_bytes")),
    };
    if (!spec.name || !spec.command || !executor || (strcmp(executor, "exec") != 0 && strcmp(executor, "stdio") != 0)) {
        kos_call_fail(call, KOS_E_INVALID, "name, command and executor (\"exec\" or \"stdio\") are needed");
        return;
    }
    struct waiting *waiting = waiting_new(node, call, NULL);
    int32_t r = kos_agents_add(node->agents, &spec, waiting_done, waiting, &id, &error);
    if (r < 0) {
        free(waiting);
        kos_call_fail(call, r, "%s", error.text);
        return;
    }
    char *address = kos_format("klp://agent.%s.%s", spec.name, node->settings->name);
    waiting->answer = id_json(&id);
    json_object_set_new(waiting->answer, "address", json_string(address));
    free(address);
}

static void do_agent_remove(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    const char *name = text_of(parameters, "name");
    struct kos_error error = { .text = "name is missing" };
    struct waiting *waiting = waiting_new(node, call, NULL);
    int32_t r = name ? kos_agents_remove(node->agents, name, waiting_done, waiting, &error) : KOS_E_INVALID;
    if (r < 0) {
        free(waiting);
        kos_call_fail(call, r, "%s", error.text);
    }
}

static void do_agent_list(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    (void)parameters;
    kos_call_reply(call, json_pack("{s:o}", "agents", kos_agents_list(node->agents)));
}

static void do_policy_explain(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    const char *from = text_of(parameters, "from"), *type = text_of(parameters, "type"), *agent = text_of(parameters, "agent");
    struct kos_policy_request request = { .direction = json_is_true(json_object_get(parameters, "outbound")) ? KOS_OUTBOUND : KOS_INBOUND };
    struct kos_policy_decision decision;
    struct kos_error error = { .text = "from and type are needed" };
    int32_t r = from && type ? who(node, from, &request.peer, &error) : KOS_E_INVALID;
    const struct kos_agent_info *info = agent ? kos_agents_by_name(node->agents, agent) : NULL;
    if (r == KOS_OK && agent && !info)
        r = kos_fail(&error, KOS_E_NOTFOUND, "there is no agent \"%s\" here: kosctl agent list", agent);
    if (r < 0) {
        kos_call_fail(call, r, "%s", error.text);
        return;
    }
    request.type = type;
    request.transport = "";
    request.agent = agent ? agent : "";
    request.agent_trust_required = info ? info->trust_required : 0;
    request.size_bytes = (uint64_t)json_integer_value(json_object_get(parameters, "size"));
    kos_trust_decide(node->trust, &request, &decision);
    kos_call_reply(call, json_pack("{s:b, s:s, s:s, s:s, s:f, s:f}", "allowed", decision.code == KOS_OK, "error", decision.code == KOS_OK ? "" : kos_error_name(decision.code),
                                   "rule", decision.rule, "text", decision.text, "score", request.score, "score_needed", decision.score_needed));
}

static void do_policy_reload(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    struct kos_error error;
    (void)parameters;
    int32_t r = kos_node_reload(node, &error);
    if (r < 0)
        kos_call_fail(call, r, "%s", error.text);
    else
        kos_call_reply(call, NULL);
}

static void do_policy_show(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    uint8_t *text;
    size_t len;
    (void)parameters;
    int32_t r = kos_policy_describe(node->policy, &text, &len);
    if (r < 0) {
        kos_call_fail(call, r, "the policy cannot be written out: %s", kos_error_text(r));
        return;
    }
    kos_call_reply(call, json_pack("{s:o}", "policy", json_loadb((const char *)text, len, 0, NULL)));
    free(text);
}

static void do_plugin_list(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    (void)parameters;
    kos_call_reply(call, json_pack("{s:o}", "plugins", kos_hosting_list(node->hosting)));
}

struct reloading {
    struct kos_call *call;  /* NULL once the caller left */
};

static void reloading_done(void *arg, int32_t status, const char *text)
{
    struct reloading *reloading = arg;
    if (reloading->call && status < 0)
        kos_call_fail(reloading->call, status, "%s", text);
    else if (reloading->call)
        kos_call_reply(reloading->call, NULL);
    free(reloading);
}

static void reloading_gone(void *arg)
{
    ((struct reloading *)arg)->call = NULL;
}

static void do_plugin_reload(struct kos_node *node, struct kos_call *call, json_t *parameters)
{
    const char *name = text_of(parameters, "name");
    struct kos_error error = { .text = "name is missing" };
    struct reloading *reloading = kos_new(sizeof *reloading);
    reloading->call = call;
    kos_call_on_hangup(call, reloading_gone, reloading);
    int32_t r = name ? kos_hosting_reload(node->hosting, node->policy, name, reloading_done, reloading, &error) : KOS_E_INVALID;
    if (r < 0) {
        free(reloading);
        kos_call_on_hangup(call, NULL, NULL);
        kos_call_fail(call, r, "%s", error.text);
    }
}

static const struct {
    const char *name;
    void (*run)(struct kos_node *node, struct kos_call *call, json_t *parameters);
} methods[] = {
    { "Status", do_status }, { "Id", do_id }, { "Peers", do_peers }, { "Watch", do_watch },
    { "Connect", do_connect }, { "Disconnect", do_disconnect },
    { "TrustSet", do_trust_set }, { "TrustUnset", do_trust_unset }, { "TrustList", do_trust_list },
    { "AgentAdd", do_agent_add }, { "AgentRemove", do_agent_remove }, { "AgentList", do_agent_list },
    { "PolicyExplain", do_policy_explain }, { "PolicyReload", do_policy_reload }, { "PolicyShow", do_policy_show },
    { "PluginList", do_plugin_list }, { "PluginReload", do_plugin_reload },
};

static void interface_call(void *self, struct kos_call *call, const char *method, json_t *parameters)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i].name, method) == 0) {
            methods[i].run(self, call, parameters);
            return;
        }
    kos_call_fail(call, KOS_E_UNSUPPORTED, "org.kos.node has no method %s", method);
}

void kos_node_interface_init(struct kos_node *node)
{
    node->interface = (struct kos_interface){ .name = "org.kos.node", .description = description, .call = interface_call, .self = node };
}
