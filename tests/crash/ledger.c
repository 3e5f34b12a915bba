/* SPDX-License-Identifier: Apache-2.0
 *
 * The handler that crash.py judges by: each message that it handles leaves a line of its own, under a random key, in the
 * transaction that settles the message. So what was handled twice is there twice, and what was lost is not there.
 *
 *   e/NUMBER/RANDOM   LEDGER handled: an effect; an answer goes back in the same transaction
 *   a/NUMBER/RANDOM   the answer, LEDGER_ANSWER, handled by who sent the LEDGER
 *   s/NUMBER          LEDGER sent: its id
 *   o/ID/RANDOM       an outcome noted by who sent it
 */
#include <kos/control.h>
#include <kos/handler.h>
#include <kos/plugin.h>
#include <klp/id.h>
#include <klp/json.h>
#include <stdlib.h>

enum { NUMBER_MAX = 64, SCAN = 1000, LIFE_MAX_MS = 86400000, PAD_MAX = 262144 };

enum kind { OP_NOTHING, OP_SEND, OP_READ, OP_FORGET, OP_FORGOTTEN };
struct op {
    uint64_t op, call;
    enum kind kind;
    uint8_t id[KOS_ID_BYTES];
    struct op *next;
};

struct ledger {
    const struct kos_host *host;
    const struct kos_control_host *control;
    uint64_t last, random;
    int64_t started_ms;
    struct op *ops;
};

static struct op *op_new(struct ledger *ledger, enum kind kind, uint64_t call)
{
    struct op *op = calloc(1, sizeof *op);
    if (!op)
        abort();
    op->op = ++ledger->last;
    op->kind = kind;
    op->call = call;
    op->next = ledger->ops;
    ledger->ops = op;
    return op;
}

static bool op_take(struct ledger *ledger, uint64_t id, struct op *ret_op)
{
    for (struct op **at = &ledger->ops; *at; at = &(*at)->next)
        if ((*at)->op == id) {
            struct op *found = *at;
            *ret_op = *found;
            *at = found->next;
            free(found);
            return true;
        }
    return false;
}

static void fail(struct ledger *ledger, uint64_t call, int32_t status, const char *text)
{
    ledger->control->reply(ledger->host, call, status, kos_bytes(NULL, 0), text, 0);
}

/* "NUMBER" of letters, digits, '.' and '-'. */
static bool number_of(struct klp_json object, char number[NUMBER_MAX])
{
    struct klp_json value = klp_json_get(object, "n");
    return value.type == KLP_JSON_STRING && klp_json_string(value, number, NUMBER_MAX, NULL) == KOS_OK && number[0] &&
           strspn(number, "abcdefghijklmnopqrstuvwxyz0123456789.-") == strlen(number);
}

/* A line of its own for this time. */
static void note(struct ledger *ledger, uint64_t tx, char kind, const char *name, const char *value)
{
    char key[160];
    uint64_t random;
    ledger->host->random(ledger->host, &random, sizeof random);
    snprintf(key, sizeof key, "%c/%s/%016llx", kind, name, (unsigned long long)random);
    ledger->host->tx_put(ledger->host, tx, kos_bytes_str(key), kos_bytes_str(value));
}

static void answer(struct ledger *ledger, uint64_t tx, const struct kos_message *m, const char *number)
{
    struct kos_draft draft = { .size = sizeof draft, .klass = m->klass, .type = "LEDGER_ANSWER", .target = m->source,
                               .expires_in_ms = LIFE_MAX_MS };
    char payload[NUMBER_MAX + 16];
    ledger->host->random(ledger->host, draft.id, sizeof draft.id);
    memcpy(draft.reply_to, m->id, sizeof draft.reply_to);
    memcpy(draft.target_id, m->source_id, sizeof draft.target_id);
    snprintf(payload, sizeof payload, "{\"n\":\"%s\"}", number);
    draft.payload = kos_bytes_str(payload);
    ledger->host->tx_send(ledger->host, tx, &draft);
}

static void handle(void *self, uint64_t message, const struct kos_message *m)
{
    struct ledger *ledger = self;
    const struct kos_host *host = ledger->host;
    struct klp_json payload;
    char number[NUMBER_MAX], line[512], target[KLP_ID_TEXT];
    uint64_t tx = ++ledger->last, chance;
    bool question = strcmp(m->type, "LEDGER") == 0;
    host->tx_begin(host, tx);
    host->random(host, &chance, sizeof chance);
    if (klp_json_read(m->payload, m->payload.len, &payload, NULL) < 0 || !number_of(payload, number)) {
        host->tx_verdict(host, tx, message, KOS_REJECT, KOS_E_PROTOCOL, "a LEDGER holds \"n\"", 0);
    } else if (chance % 8 == 0 && !m->again) {
        host->tx_verdict(host, tx, message, KOS_DEFER, 0, NULL, chance % 300);
    } else {
        klp_id_text((const struct klp_id *)(const void *)m->target_id, target);
        snprintf(line, sizeof line, "{\"again\":%s,\"at\":%lld,\"expires\":%lld,\"source\":\"%s\",\"started\":%lld,\"target\":\"%s\"}",
                 m->again ? "true" : "false", (long long)host->now_ms(host), (long long)m->expires_ms, m->source,
                 (long long)ledger->started_ms, target);
        note(ledger, tx, question ? 'e' : 'a', number, line);
        if (question)
            answer(ledger, tx, m, number);
        host->tx_verdict(host, tx, message, KOS_ACCEPT, 0, NULL, 0);
    }
    host->tx_commit(host, tx, op_new(ledger, OP_NOTHING, 0)->op);
}

static void outcome(void *self, uint64_t message, const struct kos_outcome *o)
{
    struct ledger *ledger = self;
    const struct kos_host *host = ledger->host;
    char id[KLP_ID_TEXT], line[128];
    uint64_t tx = ++ledger->last;
    klp_id_text((const struct klp_id *)(const void *)o->id, id);
    snprintf(line, sizeof line, "{\"status\":\"%s\",\"type\":\"%s\"}", kos_error_name(o->status), o->type);
    host->tx_begin(host, tx);
    note(ledger, tx, 'o', id, line);
    host->tx_verdict(host, tx, message, KOS_ACCEPT, 0, NULL, 0);
    host->tx_commit(host, tx, op_new(ledger, OP_NOTHING, 0)->op);
}

/* ---- control ---- */

static void do_send(struct ledger *ledger, uint64_t call, struct klp_json parameters)
{
    const struct kos_host *host = ledger->host;
    struct kos_draft draft = { .size = sizeof draft, .type = "LEDGER" };
    char number[NUMBER_MAX], target[1024], key[NUMBER_MAX + 8], id[KLP_ID_TEXT];
    uint64_t tx = ++ledger->last, klass = 1, pad = 0, expires = 0;
    klp_json_uint(klp_json_get(parameters, "class"), &klass);
    klp_json_uint(klp_json_get(parameters, "pad"), &pad);
    klp_json_uint(klp_json_get(parameters, "expires_ms"), &expires);
    if (!number_of(parameters, number) || pad > PAD_MAX ||
        klp_json_string(klp_json_get(parameters, "target"), target, sizeof target, NULL) < 0) {
        fail(ledger, call, KOS_E_INVALID, "Send takes n, target, class, pad, expires_ms");
        return;
    }
    char *payload = malloc(pad + NUMBER_MAX + 32);
    if (!payload)
        abort();
    size_t len = (size_t)sprintf(payload, "{\"n\":\"%s\",\"pad\":\"", number);
    for (uint64_t i = 0; i < pad; i++)
        payload[len++] = (char)('a' + (i * 7 + pad) % 26);
    memcpy(payload + len, "\"}", 2);
    host->random(host, draft.id, sizeof draft.id);
    klp_id_text((const struct klp_id *)(const void *)draft.id, id);
    draft.klass = (int32_t)klass;
    draft.target = target;
    draft.expires_in_ms = (int64_t)expires;
    draft.payload = kos_bytes(payload, len + 2);
    snprintf(key, sizeof key, "s/%s", number);
    host->tx_begin(host, tx);
    host->tx_put(host, tx, kos_bytes_str(key), kos_bytes_str(id));
    host->tx_send(host, tx, &draft);
    struct op *op = op_new(ledger, OP_SEND, call);
    memcpy(op->id, draft.id, sizeof op->id);
    host->tx_commit(host, tx, op->op);
    free(payload);
}

static void call(void *self, uint64_t id, const char *method, struct kos_bytes parameters, uint32_t flags)
{
    struct ledger *ledger = self;
    struct kos_error error;
    struct klp_json object;
    uint8_t *data;
    size_t len;
    char from[256] = "";
    (void)flags;
    int32_t r = klp_json_canonicalise(parameters, 65536, &data, &len, &error);
    if (r < 0) {
        fail(ledger, id, r, error.text);
        return;
    }
    if (klp_json_read(kos_bytes(data, len), len, &object, NULL) < 0) {
        fail(ledger, id, KOS_E_INVALID, "the parameters are not an object");
    } else if (strcmp(method, "Send") == 0) {
        do_send(ledger, id, object);
    } else if (strcmp(method, "Read") == 0) {
        klp_json_string(klp_json_get(object, "from"), from, sizeof from, NULL);
        ledger->host->state_scan(ledger->host, kos_bytes(NULL, 0), kos_bytes_str(from), SCAN, op_new(ledger, OP_READ, id)->op);
    } else if (strcmp(method, "Forget") == 0) {
        ledger->host->state_scan(ledger->host, kos_bytes(NULL, 0), kos_bytes(NULL, 0), SCAN, op_new(ledger, OP_FORGET, id)->op);
    } else {
        fail(ledger, id, KOS_E_UNSUPPORTED, "org.kos.ledger has no such method");
    }
    free(data);
}

static void hangup(void *self, uint64_t id)
{
    (void)self;
    (void)id;
}

static void replied(struct ledger *ledger, const struct op *op, int32_t status, struct kos_bytes result)
{
    char text[512], id[KLP_ID_TEXT];
    if (status < 0) {
        snprintf(text, sizeof text, "%.*s", result.len ? (int)(result.len < 500 ? result.len : 500) : 256,
                 result.len ? (const char *)result.data : kos_error_text(status));
        fail(ledger, op->call, status, text);
        return;
    }
    klp_id_text((const struct klp_id *)(const void *)op->id, id);
    int n = snprintf(text, sizeof text, "{\"id\":\"%s\"}", id);
    ledger->control->reply(ledger->host, op->call, KOS_OK, kos_bytes(text, (size_t)n), NULL, 0);
}

/* Keys are plain; values are JSON, but for the id under s/. */
static void read_out(struct ledger *ledger, uint64_t call_id, int32_t status, struct kos_bytes result)
{
    struct kos_bytes key, value;
    size_t cap = 2 * result.len + 64, len;
    char *json = malloc(cap);
    if (!json)
        abort();
    if (status < 0) {
        fail(ledger, call_id, status, "the ledger cannot be read");
        free(json);
        return;
    }
    len = (size_t)sprintf(json, "{\"lines\":[");
    while (kos_pair_next(&result, &key, &value) == 1) {
        const char *quote = value.len && value.data[0] == '{' ? "" : "\"";
        len += (size_t)snprintf(json + len, cap - len, "%s[\"%.*s\",%s%.*s%s]", json[len - 1] == '[' ? "" : ",", (int)key.len,
                                (const char *)key.data, quote, (int)value.len, (const char *)value.data, quote);
    }
    memcpy(json + len, "]}", 2);
    ledger->control->reply(ledger->host, call_id, KOS_OK, kos_bytes(json, len + 2), NULL, 0);
    free(json);
}

static void forget(struct ledger *ledger, uint64_t call_id, int32_t status, struct kos_bytes result)
{
    const struct kos_host *host = ledger->host;
    struct kos_bytes key, value;
    uint64_t tx = ++ledger->last;
    if (status < 0) {
        fail(ledger, call_id, status, "the ledger cannot be read");
        return;
    }
    if (!result.len) {
        ledger->control->reply(host, call_id, KOS_OK, kos_bytes_str("{\"done\":true}"), NULL, 0);
        return;
    }
    host->tx_begin(host, tx);
    while (kos_pair_next(&result, &key, &value) == 1)
        host->tx_delete(host, tx, key);
    host->tx_commit(host, tx, op_new(ledger, OP_FORGOTTEN, call_id)->op);
}

static void completed(void *self, uint64_t id, int32_t status, struct kos_bytes result)
{
    struct ledger *ledger = self;
    struct op op;
    if (!op_take(ledger, id, &op))
        return;
    if (op.kind == OP_SEND)
        replied(ledger, &op, status, result);
    else if (op.kind == OP_READ)
        read_out(ledger, op.call, status, result);
    else if (op.kind == OP_FORGET)
        forget(ledger, op.call, status, result);
    else if (op.kind == OP_FORGOTTEN && status < 0)
        fail(ledger, op.call, status, "the ledger cannot be emptied");
    else if (op.kind == OP_FORGOTTEN)
        ledger->control->reply(ledger->host, op.call, KOS_OK, kos_bytes_str("{\"done\":false}"), NULL, 0);
}

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self, struct kos_error *ret_error)
{
    const struct kos_control_host *control = host->feature(host, KOS_CONTROL_HOST);
    struct ledger *ledger = control ? calloc(1, sizeof *ledger) : NULL;
    (void)conf;
    if (!ledger)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "ledger needs the host's " KOS_CONTROL_HOST);
    ledger->host = host;
    ledger->control = control;
    ledger->started_ms = host->now_ms(host);
    *ret_self = ledger;
    return KOS_OK;
}

static void start(void *self)
{
    (void)self;
}

static void stop(void *self)
{
    struct ledger *ledger = self;
    ledger->host->stopped(ledger->host);
}

static void fini(void *self)
{
    struct ledger *ledger = self;
    struct op op;
    while (ledger->ops)
        op_take(ledger, ledger->ops->op, &op);
    free(ledger);
}

static const char *const types[] = { "LEDGER", "LEDGER_ANSWER", NULL };
static const struct kos_handler handler = { .size = sizeof handler, .types = types, .handle = handle, .outcome = outcome };
static const struct kos_control control_table = {
    .size = sizeof control_table, .interface_name = "org.kos.ledger", .call = call, .hangup = hangup,
    .description = "# What was sent and handled, for an outside checker\n"
                   "interface org.kos.ledger\n\n"
                   "method Send(n: string, target: string, class: int, pad: int, expires_ms: int) -> (id: string)\n"
                   "method Read(from: string) -> (lines: [](object))\n"
                   "method Forget() -> (done: bool)\n\n"
                   "error Failed (error: string, text: string, retry: bool)\n",
};
static const struct kos_feature feature_handler = { .size = sizeof feature_handler, .name = KOS_HANDLER, .table = &handler };
static const struct kos_feature feature_control = { .size = sizeof feature_control, .name = KOS_CONTROL, .table = &control_table };
static const struct kos_feature *const features[] = { &feature_handler, &feature_control, NULL };
static const struct kos_right right_send = { .size = sizeof right_send, .name = "send", .why = "sends entries and answers" };
static const struct kos_right *const rights[] = { &right_send, NULL };

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.ledger",
    .name = "ledger",
    .version = KOS_VERSION,
    .summary = "what was sent and handled, for an outside checker",
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = fini,
    .completed = completed,
};
