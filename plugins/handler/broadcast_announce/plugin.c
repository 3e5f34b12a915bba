/* SPDX-License-Identifier: Apache-2.0
 *
 * The handler of BROADCAST_ANNOUNCE: short texts to all connected peers. Each is kept once, by its id, for a while, and
 * told to those who watch the node.
 */
#include <kos/control.h>
#include <kos/handler.h>
#include <kos/plugin.h>
#include <klp/id.h>
#include <klp/json.h>
#include <stdlib.h>
#include <uthash.h>

enum { TEXT_MAX = 4096, KEY_MAX = 64, SCAN = 128, AGAIN_MS = 500, TIMER_PRUNE = 1, TIMER_AGAIN = 2 };

/* What is under way, by its operation. */
enum kind { OP_NOTHING, OP_TAKE, OP_SEND, OP_LIST, OP_PRUNE };
struct op {
    UT_hash_handle hh;
    uint64_t op, call;      /* OP_TAKE: call is the message */
    enum kind kind;
    struct op *next;        /* of those refused */
};

struct announce {
    const struct kos_host *host;
    const struct kos_control_host *control;
    uint64_t last;
    int64_t keep_ms;
    struct op *ops, *refused;
};

static uint64_t op_new(struct announce *announce, enum kind kind, uint64_t call)
{
    struct op *op = calloc(1, sizeof *op);
    if (!op)
        abort();
    op->op = ++announce->last;
    op->kind = kind;
    op->call = call;
    HASH_ADD(hh, announce->ops, op, sizeof op->op, op);
    return op->op;
}

static bool op_take(struct announce *announce, uint64_t id, struct op *ret_op)
{
    struct op *found;
    HASH_FIND(hh, announce->ops, &id, sizeof id, found);
    if (!found)
        return false;
    *ret_op = *found;
    HASH_DEL(announce->ops, found);
    free(found);
    return true;
}

/* {"at","id","name","source","text"}: as kept, listed and told. */
static size_t record(uint8_t *buf, size_t cap, int64_t at, const uint8_t id[KLP_ID_LEN], const char *name, const char *source, struct klp_json text)
{
    struct klp_json_out out;
    struct kos_bytes json;
    char id_text[KLP_ID_TEXT];
    klp_id_text((const struct klp_id *)id, id_text);
    klp_json_begin(&out, buf, cap);
    klp_json_object(&out);
    klp_json_name(&out, "at");
    klp_json_put_int(&out, at);
    klp_json_name(&out, "id");
    klp_json_put_cstr(&out, id_text);
    klp_json_name(&out, "name");
    klp_json_put_cstr(&out, name);
    klp_json_name(&out, "source");
    klp_json_put_cstr(&out, source);
    klp_json_name(&out, "text");
    klp_json_put_raw(&out, text.text);
    klp_json_close(&out, '}');
    return klp_json_end(&out, &json) == KOS_OK ? json.len : 0;
}

/* Newest first in the order of keys. */
static size_t record_key(int64_t at, const uint8_t id[KLP_ID_LEN], char key[KEY_MAX])
{
    char text[KLP_ID_TEXT];
    klp_id_text((const struct klp_id *)id, text);
    return (size_t)snprintf(key, KEY_MAX, "a/%016llx/%s", (unsigned long long)(INT64_MAX - at), text);
}

static void handle(void *self, uint64_t message, const struct kos_message *m)
{
    struct announce *announce = self;
    struct klp_json payload, text = { 0 };
    uint8_t buf[8 * TEXT_MAX];
    char key[KEY_MAX], plain[TEXT_MAX + 1];
    size_t len = 0;
    uint64_t tx = ++announce->last;
    if (klp_json_read(m->payload, KLP_JSON_DEPTH_MAX * 4096, &payload, NULL) == KOS_OK)
        text = klp_json_get(payload, "text");
    announce->host->tx_begin(announce->host, tx);
    if (text.type != KLP_JSON_STRING || klp_json_string(text, plain, sizeof plain, NULL) < 0) {
        announce->host->tx_verdict(announce->host, tx, message, KOS_REJECT, KOS_E_PROTOCOL, "the payload of a BROADCAST_ANNOUNCE holds \"text\", at most 4096 bytes", 0);
    } else {
        len = record(buf, sizeof buf, m->created_ms, m->id, m->source_name, m->source, text);
        announce->host->tx_put(announce->host, tx, kos_bytes(key, record_key(m->created_ms, m->id, key)), kos_bytes(buf, len));
        announce->host->tx_verdict(announce->host, tx, message, KOS_ACCEPT, 0, NULL, 0);
    }
    announce->host->tx_commit(announce->host, tx, op_new(announce, OP_TAKE, message));
    if (len && !m->again && KOS_HAS(announce->control, event))
        announce->control->event(announce->host, "announce", kos_bytes(buf, len));
}

static void fail(struct announce *announce, uint64_t call, int32_t status, const char *text)
{
    announce->control->reply(announce->host, call, status, kos_bytes(NULL, 0), text, 0);
}

static void do_send(struct announce *announce, uint64_t call, struct klp_json parameters)
{
    struct klp_json text = klp_json_get(parameters, "text");
    char plain[TEXT_MAX + 1];
    uint8_t buf[8 * TEXT_MAX];
    struct klp_json_out out;
    struct kos_draft draft = { .size = sizeof draft, .klass = 2, .type = "BROADCAST_ANNOUNCE", .target = "*", .expires_in_ms = 3600000 };
    uint64_t tx = ++announce->last;
    if (text.type != KLP_JSON_STRING || klp_json_string(text, plain, sizeof plain, NULL) < 0 || !plain[0]) {
        fail(announce, call, KOS_E_INVALID, "an announcement is a text of 1 to 4096 bytes");
        return;
    }
    klp_json_begin(&out, buf, sizeof buf);
    klp_json_object(&out);
    klp_json_name(&out, "text");
    klp_json_put_raw(&out, text.text);
    klp_json_close(&out, '}');
    klp_json_end(&out, &draft.payload);
    announce->host->tx_begin(announce->host, tx);
    announce->host->tx_send(announce->host, tx, &draft);
    announce->host->tx_commit(announce->host, tx, op_new(announce, OP_SEND, call));
}

static void call(void *self, uint64_t id, const char *method, struct kos_bytes parameters, uint32_t flags)
{
    struct announce *announce = self;
    struct kos_error error;
    struct klp_json object;
    uint8_t *data;
    size_t len;
    (void)flags;
    int32_t r = klp_json_canonicalise(parameters, 65536, &data, &len, &error);
    if (r < 0) {
        fail(announce, id, r, error.text);
        return;
    }
    if (klp_json_read(kos_bytes(data, len), len, &object, NULL) < 0)
        fail(announce, id, KOS_E_INVALID, "the parameters are not an object");
    else if (strcmp(method, "Send") == 0)
        do_send(announce, id, object);
    else if (strcmp(method, "List") == 0)
        announce->host->state_scan(announce->host, kos_bytes("a/", 2), kos_bytes(NULL, 0), SCAN, op_new(announce, OP_LIST, id));
    else
        fail(announce, id, KOS_E_UNSUPPORTED, "org.kos.announce has no such method");
    free(data);
}

static void hangup(void *self, uint64_t id)
{
    (void)self;
    (void)id; /* the answer comes soon and is ignored then */
}

static void sent(struct announce *announce, uint64_t id, int32_t status, struct kos_bytes result)
{
    char text[512], json[48];
    uint32_t peers = 0;
    if (status < 0) {
        snprintf(text, sizeof text, "%.*s", result.len ? (int)result.len : 256, result.len ? (const char *)result.data : kos_error_text(status));
        fail(announce, id, status, text);
        return;
    }
    if (result.len == sizeof peers)
        memcpy(&peers, result.data, sizeof peers);
    int n = snprintf(json, sizeof json, "{\"peers\":%u}", peers);
    announce->control->reply(announce->host, id, KOS_OK, kos_bytes(json, (size_t)n), NULL, 0);
}

static void listed(struct announce *announce, uint64_t id, int32_t status, struct kos_bytes result)
{
    struct kos_bytes key, value;
    size_t len = 0;
    char *json = malloc(result.len + 64);
    if (!json)
        abort();
    if (status < 0) {
        fail(announce, id, status, "the announcements cannot be read");
        free(json);
        return;
    }
    len += (size_t)sprintf(json, "{\"announcements\":[");
    while (kos_pair_next(&result, &key, &value) == 1) {
        if (json[len - 1] != '[')
            json[len++] = ',';
        memcpy(json + len, value.data, value.len);
        len += value.len;
    }
    memcpy(json + len, "]}", 2);
    announce->control->reply(announce->host, id, KOS_OK, kos_bytes(json, len + 2), NULL, 0);
    free(json);
}

/* Records are newest first: those from here on are older than what is kept. */
static void prune(struct announce *announce)
{
    static const uint8_t first[KLP_ID_LEN];
    char key[KEY_MAX];
    size_t len = record_key(announce->host->now_ms(announce->host) - announce->keep_ms, first, key);
    announce->host->state_scan(announce->host, kos_bytes("a/", 2), kos_bytes(key, len), SCAN, op_new(announce, OP_PRUNE, 0));
}

static void pruned(struct announce *announce, int32_t status, struct kos_bytes result)
{
    struct kos_bytes key, value;
    uint64_t tx = ++announce->last, count = 0;
    if (status < 0)
        return;
    announce->host->tx_begin(announce->host, tx);
    for (; kos_pair_next(&result, &key, &value) == 1; count++)
        announce->host->tx_delete(announce->host, tx, key);
    announce->host->tx_commit(announce->host, tx, op_new(announce, OP_NOTHING, 0));
    announce->host->timer_set(announce->host, TIMER_PRUNE, count == SCAN ? 1000 : 3600000);
}

/* The store takes nothing now: what was to be kept comes again, when that can be stored. */
static void refused(struct announce *announce, uint64_t message)
{
    struct op *op = calloc(1, sizeof *op);
    if (!op)
        abort();
    op->call = message;
    op->next = announce->refused;
    announce->refused = op;
    announce->host->timer_set(announce->host, TIMER_AGAIN, AGAIN_MS);
}

static void defer_refused(struct announce *announce)
{
    struct op *list = announce->refused, *op;
    announce->refused = NULL;
    while ((op = list)) {
        uint64_t tx = ++announce->last;
        list = op->next;
        announce->host->tx_begin(announce->host, tx);
        announce->host->tx_verdict(announce->host, tx, op->call, KOS_DEFER, 0, NULL, AGAIN_MS);
        announce->host->tx_commit(announce->host, tx, op_new(announce, OP_TAKE, op->call));
        free(op);
    }
}

static void completed(void *self, uint64_t id, int32_t status, struct kos_bytes result)
{
    struct announce *announce = self;
    struct op op;
    if (!op_take(announce, id, &op))
        return;
    if (op.kind == OP_TAKE && status < 0)
        refused(announce, op.call);
    else if (op.kind == OP_SEND)
        sent(announce, op.call, status, result);
    else if (op.kind == OP_LIST)
        listed(announce, op.call, status, result);
    else if (op.kind == OP_PRUNE)
        pruned(announce, status, result);
}

static void timer(void *self, uint64_t id)
{
    if (id == TIMER_AGAIN)
        defer_refused(self);
    else
        prune(self);
}

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self, struct kos_error *ret_error)
{
    const struct kos_control_host *control = host->feature(host, KOS_CONTROL_HOST);
    struct announce *announce = control ? calloc(1, sizeof *announce) : NULL;
    if (!announce)
        return kos_fail(ret_error, control ? KOS_E_NOMEM : KOS_E_UNSUPPORTED, control ? "there is not enough memory" : "broadcast_announce needs the host's " KOS_CONTROL_HOST);
    announce->host = host;
    announce->control = control;
    announce->keep_ms = kos_conf_number(conf, "keep");
    announce->last = TIMER_AGAIN;
    *ret_self = announce;
    return KOS_OK;
}

static void start(void *self)
{
    prune(self);
}

static void stop(void *self)
{
    struct announce *announce = self;
    announce->host->stopped(announce->host);
}

static void fini(void *self)
{
    struct announce *announce = self;
    struct op op;
    while (announce->ops)
        op_take(announce, announce->ops->op, &op);
    while (announce->refused) {
        struct op *next = announce->refused->next;
        free(announce->refused);
        announce->refused = next;
    }
    free(announce);
}

static const char *const types[] = { "BROADCAST_ANNOUNCE", NULL };
static const struct kos_handler handler = { .size = sizeof handler, .types = types, .handle = handle };
static const struct kos_control control_table = {
    .size = sizeof control_table, .interface_name = "org.kos.announce", .call = call, .hangup = hangup,
    .description = "# Short texts to all connected peers\n"
                   "interface org.kos.announce\n\n"
                   "type Announcement (id: string, at: int, source: string, name: string, text: string)\n\n"
                   "method Send(text: string) -> (peers: int)\n"
                   "# The newest first\n"
                   "method List() -> (announcements: []Announcement)\n\n"
                   "error Failed (error: string, text: string, retry: bool)\n",
};
static const struct kos_feature feature_handler = { .size = sizeof feature_handler, .name = KOS_HANDLER, .table = &handler };
static const struct kos_feature feature_control = { .size = sizeof feature_control, .name = KOS_CONTROL, .table = &control_table };
static const struct kos_feature *const features[] = { &feature_handler, &feature_control, NULL };
static const struct kos_right right_send = { .size = sizeof right_send, .name = "send", .why = "sends announcements" };
static const struct kos_right *const rights[] = { &right_send, NULL };
static const struct kos_setting setting_keep = { .size = sizeof setting_keep, .type = KOS_SETTING_DURATION, .name = "keep",
    .summary = "how long an announcement is kept", .fallback = "7d", .min = 60000, .max = INT64_C(31536000000) };
static const struct kos_setting *const settings[] = { &setting_keep, NULL };

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.broadcast_announce",
    .name = "broadcast_announce",
    .version = KOS_VERSION,
    .summary = "short texts to all connected peers",
    .settings = settings,
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = fini,
    .completed = completed,
    .timer = timer,
};
