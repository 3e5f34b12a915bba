/* SPDX-License-Identifier: Apache-2.0
 * From kos into streams. A delivery ends well with JetStream's own acknowledgement only. Whatever may have been stored
 * without our knowing is looked for before it is sent again, because streams recognise a repeated Nats-Msg-Id only for a
 * while (2 minutes, unless made otherwise). */
#include "nats.h"

#include <klp/id.h>
#include <stdarg.h>
#include <stdlib.h>
#include <utlist.h>

enum { ANSWER_MAX = 64 << 10, RETRY_MOST_MS = 5000, SKEW_MS = 300000, FRAME = 4096,
       PATIENCE_MS = 3000 /* without a connection: the host keeps it as well, and tries again */ };

/* ---- the end of a delivery ---- */

static void finish(struct nats *nats, struct nats_delivery *d, int32_t status)
{
    uint64_t op = d->op;
    char text[NATS_TEXT_MAX];
    snprintf(text, sizeof text, "%s", status < 0 ? d->text : "");
    if (d->state == NATS_SENT)
        nats->sent_count--;
    DL_DELETE(nats->deliveries, d);
    HASH_DELETE(hh, nats->by_token, d);
    nats->delivery_count--;
    nats->delivery_bytes -= d->len;
    free(d->source);
    free(d->body);
    free(d);
    if (status < 0 && status != KOS_E_CANCELLED) {
        nats->count.refused++;
        nats_trouble(nats, status, text);
        nats_log(nats, KOS_WARNING, "a message was not delivered: %s: %s", kos_error_name(status), text);
    }
    nats->count.delivered += status >= 0;
    nats->host->complete(nats->host, op, status, kos_bytes_str(text));
}

__attribute__((format(printf, 3, 4)))
static void because(struct nats_delivery *d, int32_t status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(d->text, sizeof d->text, format, args);
    va_end(args);
    d->status = status;
}

static void leave_sent(struct nats *nats, struct nats_delivery *d, enum nats_delivery_state state, int64_t due_ms)
{
    if (d->state == NATS_SENT)
        nats->sent_count--;
    d->state = state;
    d->due_ms = due_ms;
    nats_tick_soon(nats);
}

/* ---- sending ---- */

static void msg_id_of(const struct nats_delivery *d, char ret_text[KLP_ID_TEXT + NATS_SUBJECT_MAX + 1])
{
    struct klp_id id;
    char text[KLP_ID_TEXT];
    memcpy(id.b, d->id, sizeof id.b);
    klp_id_text(&id, text);
    /* One message may go to several subjects of one stream. */
    snprintf(ret_text, KLP_ID_TEXT + NATS_SUBJECT_MAX + 1, "%s.%s", text, d->subject);
}

static natsMsg *message_of(const struct nats *nats, const struct nats_delivery *d)
{
    char reply[96], msg_id[KLP_ID_TEXT + NATS_SUBJECT_MAX + 1];
    natsMsg *msg = NULL;
    snprintf(reply, sizeof reply, "%s.p.%llu", nats->inbox, (unsigned long long)d->token);
    msg_id_of(d, msg_id);
    if (natsMsg_Create(&msg, d->subject, reply, (const char *)d->body, (int)d->len) != NATS_OK)
        return NULL;
    if (natsMsgHeader_Set(msg, "Nats-Msg-Id", msg_id) == NATS_OK &&
        natsMsgHeader_Set(msg, "Kos-Origin", nats->origin) == NATS_OK &&
        natsMsgHeader_Set(msg, "Kos-Source", d->source) == NATS_OK &&
        natsMsgHeader_Set(msg, "traceparent", d->trace) == NATS_OK)
        return msg;
    natsMsg_Destroy(msg);
    return NULL;
}

static void look(struct nats *nats, struct nats_delivery *d, bool for_it)
{
    char msg_id[KLP_ID_TEXT + NATS_SUBJECT_MAX + 1];
    struct link_command *c = calloc(1, sizeof *c);
    if (!c)
        return;
    msg_id_of(d, msg_id);
    c->kind = LINK_LOOK;
    c->epoch = nats->epoch;
    c->token = d->token;
    c->subject = strdup(d->subject);
    c->msg_id = for_it ? strdup(msg_id) : NULL;
    c->since_ms = d->since_ms > SKEW_MS ? d->since_ms - SKEW_MS : 0;
    c->age_ms = nats->host->now_ms(nats->host) - d->since_ms;
    c->cursor_seq = d->searched_seq;
    d->for_it = for_it;
    if (link_give(&nats->link, c) >= 0)
        leave_sent(nats, d, NATS_LOOKING, 0);
}

static void send_it(struct nats *nats, struct nats_delivery *d)
{
    natsMsg *msg;
    if (nats->sent_count >= nats->max_in_flight)
        return; /* it is its turn when one before it ends */
    if (nats->max_payload > 0 && (int64_t)d->len + FRAME > nats->max_payload) {
        because(d, KOS_E_LIMIT, "%zu bytes are more than the server takes (its max_payload is %lld, with headers)", d->len,
                (long long)nats->max_payload);
        finish(nats, d, KOS_E_LIMIT);
        return;
    }
    if (!(msg = message_of(nats, d)) || link_send(&nats->link, nats->epoch, msg) < 0)
        return;
    d->uncertain = true;
    d->state = NATS_SENT;
    d->due_ms = nats->host->now_ms(nats->host) + nats->ack_timeout_ms;
    nats->sent_count++;
    nats_tick_soon(nats);
}

static void act(struct nats *nats, struct nats_delivery *d)
{
    if (!nats->epoch || d->state != NATS_WAITING)
        return;
    if (d->uncertain)
        look(nats, d, true);
    else
        send_it(nats, d);
}

static void act_all(struct nats *nats, int64_t now)
{
    struct nats_delivery *d, *next;
    DL_FOREACH_SAFE(nats->deliveries, d, next)
        if (d->state == NATS_WAITING && d->due_ms <= now)
            act(nats, d);
}

/* ---- taking from the host ---- */

static void put(struct klp_json_out *out, const char *name, const char *text)
{
    klp_json_name(out, name);
    klp_json_put_cstr(out, text);
}

static void put_id(struct klp_json_out *out, const char *name, const uint8_t bytes[KOS_ID_BYTES])
{
    struct klp_id id;
    char text[KLP_ID_TEXT];
    memcpy(id.b, bytes, sizeof id.b);
    klp_id_text(&id, text);
    put(out, name, text);
}

/* The message as others read it; no name that only this node's operator gave. */
static uint8_t *body_of(const struct nats *nats, const struct kos_message *m, size_t *ret_len)
{
    static const uint8_t none[KOS_ID_BYTES];
    struct klp_json_out out;
    struct kos_bytes text;
    size_t cap = m->payload.len + strlen(m->source) + strlen(m->target) + strlen(m->type) + 1024;
    uint8_t *data = malloc(cap);
    if (data && !nats->whole_message) {
        if (m->payload.len)
            memcpy(data, m->payload.data, m->payload.len);
        *ret_len = m->payload.len;
        return data;
    }
    if (!data)
        return NULL;
    klp_json_begin(&out, data, cap);
    klp_json_object(&out);
    put(&out, "class", m->klass == 1 ? "interactive" : "bulk");
    klp_json_name(&out, "created");
    klp_json_put_int(&out, m->created_ms);
    klp_json_name(&out, "expires");
    klp_json_put_int(&out, m->expires_ms);
    put_id(&out, "id", m->id);
    klp_json_name(&out, "payload");
    klp_json_put_raw(&out, m->payload.len ? m->payload : kos_bytes_str("{}"));
    if (memcmp(m->reply_to, none, sizeof none) != 0)
        put_id(&out, "reply_to", m->reply_to);
    put(&out, "source", m->source);
    put_id(&out, "source_id", m->source_id);
    put(&out, "target", m->target);
    put_id(&out, "target_id", m->target_id);
    put(&out, "type", m->type);
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &text) < 0) {
        free(data);
        return NULL;
    }
    *ret_len = text.len;
    return data;
}

/* Fills what is sent. Below 0: refused, and d->text says why. */
static int32_t fill(struct nats *nats, struct nats_delivery *d, const struct kos_message *m, const char *destination)
{
    struct kos_error error = { 0 };
    int hops = nats_trace_hops(m->trace);
    if (nats->delivery_count > NATS_HELD_MAX || nats->delivery_bytes + m->payload.len > NATS_HELD_BYTES) {
        because(d, KOS_E_BUSY, "%zu messages wait for NATS already", nats->delivery_count - 1);
    } else if (hops >= NATS_HOPS_MAX) {
        because(d, KOS_E_LIMIT, "it has crossed NATS %d times: the maps of several nodes make a loop", hops);
    } else if (nats_subject_expand(destination, m, d->subject, &error) < 0) {
        because(d, error.code, "%.280s", error.text);
    } else if (!(d->source = strdup(m->source)) || !(d->body = body_of(nats, m, &d->len))) {
        because(d, KOS_E_NOMEM, "there is no memory for a message of %zu bytes", m->payload.len);
    } else {
        memcpy(d->id, m->id, sizeof d->id);
        d->uncertain = m->again == 1;
        d->since_ms = m->again == 1 ? m->created_ms : nats->host->now_ms(nats->host);
        nats_trace_mark(m->trace, m->id, hops + 1, d->trace);
        nats->delivery_bytes += d->len;
    }
    return d->status;
}

void nats_deliver(void *self, uint64_t op, const struct kos_message *m, const char *destination)
{
    struct nats *nats = self;
    struct nats_delivery *d = calloc(1, sizeof *d);
    if (!d) { /* nothing to remember it by until later */
        nats->host->complete(nats->host, op, KOS_E_NOMEM, kos_bytes_str("there is no memory for another message"));
        return;
    }
    d->op = op;
    d->token = ++nats->next_token;
    d->first_ms = nats->host->now_ms(nats->host);
    d->state = NATS_WAITING;
    DL_APPEND(nats->deliveries, d);
    HASH_ADD(hh, nats->by_token, token, sizeof d->token, d);
    nats->delivery_count++;
    if (fill(nats, d, m, destination) < 0) {
        d->state = NATS_REFUSED; /* not within this call: abi.h */
        nats_tick_now(nats);
    } else {
        act(nats, d);
        nats_tick_soon(nats);
    }
}

/* ---- what comes back ---- */

static struct nats_delivery *find(struct nats *nats, uint64_t token)
{
    struct nats_delivery *d;
    HASH_FIND(hh, nats->by_token, &token, sizeof token, d);
    return d;
}

static void wait_on(struct nats *nats, struct nats_delivery *d)
{
    leave_sent(nats, d, NATS_WAITING, nats->host->now_ms(nats->host) + nats_back_off(nats, ++d->tries, RETRY_MOST_MS));
}

/* JetStream's word against a message: what may pass is tried again until time runs out. */
static void refused_there(struct nats *nats, struct nats_delivery *d, struct klp_json error)
{
    char description[160] = "";
    int64_t code = 0, number = 0;
    klp_json_int(klp_json_get(error, "code"), &code);
    klp_json_int(klp_json_get(error, "err_code"), &number);
    klp_json_string(klp_json_get(error, "description"), description, sizeof description, NULL);
    bool full = number == JSStreamStoreFailedErr || number == JSInsufficientResourcesErr ||
        number == JSStorageResourcesExceededErr || number == JSMemoryResourcesExceededErr ||
        number == JSAccountResourcesExceededErr;
    int32_t status = full ? KOS_E_QUOTA : number == JSStreamMessageExceedsMaximumErr ? KOS_E_LIMIT
        : code == 503                                                                ? KOS_E_UNREACHABLE
                                                                                     : KOS_E_INVALID;
    because(d, status, "the stream of %.80s refuses it: %s (%lld)", d->subject, description, (long long)number);
    d->uncertain = false; /* it said that it has it not */
    if (kos_error_retry(status))
        wait_on(nats, d);
    else
        finish(nats, d, status);
}

void nats_outward_answer(struct nats *nats, uint64_t token, natsMsg *msg)
{
    struct nats_delivery *d = find(nats, token);
    const char *status = NULL;
    struct klp_json object = { 0 }, duplicate;
    uint8_t *data = NULL;
    size_t len = 0;
    if (!d || d->state != NATS_SENT)
        return;
    if (natsMsgHeader_Get(msg, "Status", &status) == NATS_OK && status && strcmp(status, "503") == 0) {
        because(d, KOS_E_UNREACHABLE, "no stream answers for the subject %.100s", d->subject);
        look(nats, d, false);
        return;
    }
    if (klp_json_canonicalise(kos_bytes(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg)), ANSWER_MAX, &data, &len,
                              NULL) == KOS_OK)
        klp_json_read(kos_bytes(data, len), ANSWER_MAX, &object, NULL);
    if (klp_json_get(object, "error").type == KLP_JSON_OBJECT) {
        refused_there(nats, d, klp_json_get(object, "error"));
    } else if (klp_json_get(object, "stream").type == KLP_JSON_STRING && klp_json_get(object, "seq").type == KLP_JSON_INT) {
        bool was_there = false;
        duplicate = klp_json_get(object, "duplicate");
        if (duplicate.type == KLP_JSON_BOOL)
            klp_json_bool(duplicate, &was_there);
        nats->count.doubled += was_there;
        finish(nats, d, KOS_OK);
    } else { /* someone who is no JetStream listens on the subject */
        because(d, KOS_E_PROTOCOL, "what answers for the subject %.100s is no stream", d->subject);
        look(nats, d, false);
    }
    free(data);
    act_all(nats, nats->host->now_ms(nats->host));
}

void nats_outward_looked(struct nats *nats, const struct link_event *event)
{
    struct nats_delivery *d = find(nats, event->token);
    if (!d || d->state != NATS_LOOKING)
        return;
    d->state = NATS_WAITING;
    if (event->status == KOS_E_EXISTS) {
        nats->count.doubled++;
        finish(nats, d, KOS_OK);
    } else if (event->status == KOS_E_NOTFOUND || event->status == KOS_E_CONFIG) {
        because(d, event->status, "%s", event->text);
        finish(nats, d, event->status);
    } else if (event->status == KOS_OK && d->for_it) {
        d->uncertain = false;
        send_it(nats, d);
    } else if (event->status == KOS_OK) { /* there is a stream after all: not ready when it was asked */
        wait_on(nats, d);
    } else if (event->status == KOS_E_BUSY) {
        d->searched_seq = event->seq;
        wait_on(nats, d);
    } else {
        because(d, event->status, "%s", event->text);
        wait_on(nats, d);
    }
}

/* The server tells of a refusal by its permissions in words only: Permissions Violation for Publish to "SUBJECT". */
void nats_outward_denied(struct nats *nats, const char *text)
{
    struct nats_delivery *d, *next;
    char quoted[NATS_SUBJECT_MAX + 3];
    DL_FOREACH_SAFE(nats->deliveries, d, next) {
        snprintf(quoted, sizeof quoted, "\"%s\"", d->subject);
        if (d->state == NATS_SENT && strstr(text, quoted)) {
            because(d, KOS_E_PERMISSION, "the server does not let this user publish to %.200s", d->subject);
            finish(nats, d, KOS_E_PERMISSION);
        }
    }
}

void nats_outward_up(struct nats *nats)
{
    act_all(nats, nats->host->now_ms(nats->host));
}

void nats_outward_down(struct nats *nats)
{
    struct nats_delivery *d, *next;
    DL_FOREACH_SAFE(nats->deliveries, d, next)
        if (d->state == NATS_SENT || d->state == NATS_LOOKING)
            leave_sent(nats, d, NATS_WAITING, 0);
}

void nats_outward_tick(struct nats *nats, int64_t now)
{
    struct nats_delivery *d, *next;
    DL_FOREACH_SAFE(nats->deliveries, d, next) {
        if (d->state == NATS_REFUSED) {
            finish(nats, d, d->status);
        } else if (now - d->first_ms >= nats->deliver_timeout_ms || (!nats->epoch && now - nats->down_since_ms >= PATIENCE_MS)) {
            if (!nats->epoch)
                because(d, KOS_E_UNREACHABLE, "NATS is not connected: %.270s",
                        nats->error_text[0] ? nats->error_text : "no server has answered yet");
            else if (d->status >= 0)
                because(d, KOS_E_TIMEOUT, "the stream of %.100s did not acknowledge it", d->subject);
            finish(nats, d, d->status);
        } else if (d->state == NATS_SENT && d->due_ms <= now) {
            wait_on(nats, d);
        }
    }
    act_all(nats, now);
}

void nats_outward_end(struct nats *nats)
{
    struct nats_delivery *d, *next;
    DL_FOREACH_SAFE(nats->deliveries, d, next) {
        if (d->state != NATS_REFUSED)
            because(d, KOS_E_CANCELLED, "the bridge stops");
        finish(nats, d, d->status);
    }
}
