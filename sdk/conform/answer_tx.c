/* SPDX-License-Identifier: Apache-2.0
 * Transactions of the plugin: collected, judged, and done or refused as a whole. */
#include <klp/json.h>
#include <stdlib.h>

#include "conform.h"

enum { DAY_MS = 86400000 };

struct step {
    struct step *next;
    enum { STEP_PUT, STEP_DELETE, STEP_SEND, STEP_VERDICT } kind;
    struct kos_bytes key, value;        /* owned */
    struct sent sent;
    uint64_t message, retry_ms;
    int32_t verdict;
};
struct tx {
    uint64_t id;
    struct step *first, **last;
    size_t bytes;
    UT_hash_handle hh;
};

static struct host *host_of(struct kos_services *services)
{
    host_event((struct host *)services);
    return (struct host *)services;
}

static struct tx *tx_of(struct host *h, uint64_t id, const char *call)
{
    struct tx *tx;
    HASH_FIND(hh, h->txs, &id, sizeof id, tx);
    if (!tx)
        broke(h->c, RULE_HOST_TX, "%s names transaction %llu, which was not begun", call, (unsigned long long)id);
    return tx;
}

static struct step *step_new(struct tx *tx, int kind)
{
    struct step *step = kos_new(sizeof *step);
    step->kind = kind;
    *tx->last = step;
    tx->last = &step->next;
    return step;
}

static void tx_end(struct host *h, struct tx *tx)
{
    for (struct step *s; (s = tx->first);) {
        tx->first = s->next;
        free((void *)(uintptr_t)s->key.data);
        free((void *)(uintptr_t)s->value.data);
        free(s);
    }
    HASH_DEL(h->txs, tx);
    free(tx);
}

void tx_free(struct host *h)
{
    struct tx *tx, *next;
    HASH_ITER(hh, h->txs, tx, next)
        tx_end(h, tx);
}

static void tx_begin(struct kos_services *services, uint64_t id)
{
    struct host *h = host_of(services);
    struct tx *tx;
    HASH_FIND(hh, h->txs, &id, sizeof id, tx);
    if (tx || id == 0)
        broke(h->c, RULE_ABI_IDS, "tx_begin was given the id %llu, %s", (unsigned long long)id,
              id ? "which is not yet committed" : "which is never an id");
    tx = kos_new(sizeof *tx);
    tx->id = id;
    tx->last = &tx->first;
    HASH_ADD(hh, h->txs, id, sizeof tx->id, tx);
}

static void judge_key(struct host *h, const char *call, struct kos_bytes key)
{
    if (key.len == 0 || key.len > KOS_STATE_KEY_MAX)
        broke(h->c, RULE_HOST_KEY, "%s was given a key of %zu bytes; 1 to %d are allowed", call, key.len,
              KOS_STATE_KEY_MAX);
}

static void tx_put(struct kos_services *services, uint64_t id, struct kos_bytes key, struct kos_bytes value)
{
    struct host *h = host_of(services);
    struct tx *tx = tx_of(h, id, "tx_put");
    judge_key(h, "tx_put", key);
    if (value.len > KOS_STATE_VALUE_MAX)
        broke(h->c, RULE_HOST_KEY, "tx_put was given a value of %zu bytes; %d are allowed", value.len,
              KOS_STATE_VALUE_MAX);
    struct step *step = step_new(tx, STEP_PUT);
    step->key = kos_bytes(kos_memdup(key.data, key.len), key.len);
    step->value = kos_bytes(kos_memdup(value.len ? value.data : (const uint8_t *)"", value.len ? value.len : 1),
                            value.len);
}

static void tx_delete(struct kos_services *services, uint64_t id, struct kos_bytes key)
{
    struct host *h = host_of(services);
    struct tx *tx = tx_of(h, id, "tx_delete");
    judge_key(h, "tx_delete", key);
    step_new(tx, STEP_DELETE)->key = kos_bytes(kos_memdup(key.data, key.len), key.len);
}

static bool type_ok(const char *type)
{
    return type && *type >= 'A' && *type <= 'Z' && strlen(type) < 64 &&
        strspn(type, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == strlen(type);
}

/* A draft of a bridge may carry what strangers wrote there: its payload is the host's to refuse. */
void judge_draft(struct host *h, const struct kos_draft *d, bool foreign)
{
    struct klp_json payload;
    struct conform *c = h->c;
    if (!module_asks(c->module, "send"))
        broke(c, RULE_PLUGIN_RIGHT, "a message was drafted, but the right \"send\" is not among those it asks for");
    if (!type_ok(d->type))
        broke(c, RULE_DRAFT_TYPE, "a draft has the type \"%.80s\"", d->type ? d->type : "(NULL)");
    if (d->klass != 1 && d->klass != 2)
        broke(c, RULE_DRAFT_CLASS, "a draft of %s has the class %d", d->type, (int)d->klass);
    if (d->expires_in_ms < 1 || d->expires_in_ms > INT64_C(30) * DAY_MS)
        broke(c, RULE_DRAFT_EXPIRES, "a draft of %s expires in %lld ms", d->type, (long long)d->expires_in_ms);
    if (!d->target || (strncmp(d->target, "klp://", 6) != 0 && strcmp(d->target, "*") != 0))
        broke(c, RULE_DRAFT_TARGET, "a draft of %s goes to \"%.100s\"", d->type, d->target ? d->target : "(NULL)");
    judge_kept(h, "a draft", d->payload);
    if (!foreign && (klp_json_read(d->payload, KLP_MESSAGE_MAX, &payload, NULL) < 0 || payload.type != KLP_JSON_OBJECT))
        broke(c, RULE_DRAFT_PAYLOAD, "a draft of %s carries %.*s", d->type,
              (int)(d->payload.len < 120 ? d->payload.len : 120),
              d->payload.len ? (const char *)d->payload.data : "");
}

static void tx_send(struct kos_services *services, uint64_t id, const struct kos_draft *draft)
{
    static const uint8_t none[KOS_ID_BYTES];
    struct host *h = host_of(services);
    struct tx *tx = tx_of(h, id, "tx_send");
    judge_draft(h, draft, false);
    if (strcmp(draft->target, "*") != 0 && memcmp(draft->id, none, sizeof none) == 0)
        broke(h->c, RULE_ABI_IDS, "a draft of %s has no id: its outcome could not be told", draft->type);
    struct step *step = step_new(tx, STEP_SEND);
    memcpy(step->sent.id, draft->id, sizeof step->sent.id);
    snprintf(step->sent.type, sizeof step->sent.type, "%s", draft->type);
    step->sent.noted = strcmp(draft->target, "*") == 0;
}

static void tx_verdict(struct kos_services *services, uint64_t id, uint64_t handle, int32_t verdict, int32_t error,
                       const char *text, uint64_t retry_ms)
{
    struct host *h = host_of(services);
    struct tx *tx = tx_of(h, id, "tx_verdict");
    struct message *m;
    HASH_FIND(hh, h->messages, &handle, sizeof handle, m);
    if (!m)
        broke(h->c, RULE_HANDLER_ANSWER, "tx_verdict names message %llu, which was not handed over",
              (unsigned long long)handle);
    if (verdict < KOS_ACCEPT || verdict > KOS_DEFER)
        broke(h->c, RULE_HANDLER_ANSWER, "tx_verdict gives the verdict %d", (int)verdict);
    if (verdict == KOS_REJECT && (error >= 0 || !text || !*text))
        broke(h->c, RULE_PLUGIN_ERROR, "a message was rejected %s",
              error >= 0 ? "without an error" : "without a sentence");
    if (m->outcome && verdict == KOS_REJECT)
        broke(h->c, RULE_HANDLER_OUTCOME, "an outcome was given the verdict %d", (int)verdict);
    if (text)
        judge_text(h, "tx_verdict", text);
    struct step *step = step_new(tx, STEP_VERDICT);
    step->message = handle;
    step->verdict = verdict;
    step->retry_ms = retry_ms;
}

static void apply(struct host *h, const struct step *s)
{
    struct message *m;
    struct sent *sent;
    switch (s->kind) {
    case STEP_PUT: pair_put(&h->state, s->key, s->value); break;
    case STEP_DELETE: pair_remove(&h->state, s->key); break;
    case STEP_SEND:
        sent = kos_memdup(&s->sent, sizeof s->sent);
        sent->next = h->sent;
        h->sent = sent;
        break;
    default:
        HASH_FIND(hh, h->messages, &s->message, sizeof s->message, m);
        if (m->answered)
            broke(h->c, m->outcome ? RULE_HANDLER_OUTCOME : RULE_HANDLER_ONCE,
                  "message %llu was given a verdict twice", (unsigned long long)s->message);
        m->answered = true;
        m->verdict = s->verdict;
        m->retry_ms = s->retry_ms;
    }
}

static void tx_commit(struct kos_services *services, uint64_t id, uint64_t op)
{
    struct host *h = host_of(services);
    struct tx *tx = tx_of(h, id, "tx_commit");
    host_asked(h, op, "tx_commit");
    if (h->refuse.tx) {
        host_answer(h, op, h->refuse.tx, kos_bytes_str("this host refuses it, to see what follows"));
    } else {
        uint32_t peers = 0;
        for (const struct step *s = tx->first; s; s = s->next)
            apply(h, s);
        h->committed++;
        host_answer(h, op, KOS_OK, kos_bytes(&peers, sizeof peers));
    }
    tx_end(h, tx);
}

static void tx_abort(struct kos_services *services, uint64_t id)
{
    struct host *h = host_of(services);
    tx_end(h, tx_of(h, id, "tx_abort"));
}

void tx_services(struct kos_services_ops *ops)
{
    ops->tx_begin = tx_begin;
    ops->tx_put = tx_put;
    ops->tx_delete = tx_delete;
    ops->tx_send = tx_send;
    ops->tx_verdict = tx_verdict;
    ops->tx_commit = tx_commit;
    ops->tx_abort = tx_abort;
}
