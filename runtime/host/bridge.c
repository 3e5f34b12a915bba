/* SPDX-License-Identifier: Apache-2.0
 *
 * Bridges. Outward: a message of a type that the policy maps to a bridge is its own until the other network has it, then
 * it is settled; until then it is offered again, over restarts of either. Inward: what a bridge injects becomes a message
 * in one transaction with its cursor and with the note that (origin, key) was taken.
 *
 * Space "bridge:NAME":  c ORIGIN -> cursor;  k ID -> when it was taken (ms, 8 bytes);  t TIME ID -> nothing, so that the
 * oldest notes leave first. ID is the message's id, a digest of plugin, origin and key: the same always becomes the same.
 */
#include <klp/crypto.h>
#include <stdlib.h>
#include <utlist.h>

#include "host/services.h"

enum {
    ORIGIN_MAX = 200, KEY_MAX = 1024, CURSOR_MAX = 1024,
    TAKEN_MAX = 4 << 20, FORGET_AT_ONCE = 8,
    RETRY_MIN_MS = 1000, RETRY_MAX_MS = 60000,
};
#define TAKEN_MS (INT64_C(30) * 86400000)

/* ---- outward ---- */

struct kos_bridge_delivery {
    struct kos_hosted *hosted;
    uint64_t handle;              /* the mesh's */
    int32_t status;               /* of the operation, once it ended */
    struct kos_error text;
    struct kos_timer *timer;      /* the store did not take the verdict: again later */
    struct kos_bridge_delivery *prev, *next;
};

static void delivery_free(struct kos_bridge_delivery *d)
{
    DL_DELETE(d->hosted->deliveries, d);
    kos_timer_free(d->hosted->hosting->env, d->timer);
    free(d);
}

bool kos_bridge_holds(const struct kos_hosted *hosted, uint64_t handle)
{
    for (const struct kos_bridge_delivery *d = hosted->deliveries; d; d = d->next)
        if (d->handle == handle)
            return true;
    return false;
}

const char *kos_bridge_destination(const struct kos_hosted *hosted, const char *type)
{
    for (size_t i = 0; i < hosted->map_count; i++)
        if (strcmp(hosted->maps[i].type, type) == 0)
            return hosted->maps[i].destination;
    return NULL;
}

static uint64_t back_off(struct kos_hosted *hosted)
{
    uint64_t now = hosted->bridge_retry_ms ? hosted->bridge_retry_ms : RETRY_MIN_MS;
    hosted->bridge_retry_ms = now < RETRY_MAX_MS / 2 ? 2 * now : RETRY_MAX_MS;
    return now;
}

static void settle(void *arg)
{
    struct kos_bridge_delivery *d = arg;
    struct kos_hosted *hosted = d->hosted;
    struct kos_mesh_tx *tx = kos_mesh_tx_begin(hosted->hosting->mesh);
    struct kos_error error = { 0 };
    if (d->status >= 0) {
        hosted->bridge_retry_ms = 0;
        kos_mesh_tx_settle(tx, d->handle, KOS_ACCEPT, KOS_OK, NULL, 0);
    } else if (kos_error_retry(d->status) || d->status == KOS_E_INTERRUPTED || d->status == KOS_E_CANCELLED) {
        kos_mesh_tx_settle(tx, d->handle, KOS_DEFER, KOS_OK, NULL, back_off(hosted));
    } else {
        kos_mesh_tx_settle(tx, d->handle, KOS_REJECT, d->status, d->text.text, 0);
    }
    if (kos_mesh_tx_commit(tx, NULL, NULL, &error) >= 0 || error.code == KOS_E_STATE) {
        delivery_free(d);
        return;
    }
    if (!d->timer)
        d->timer = kos_timer_new(hosted->hosting->env, settle, d);
    kos_timer_set(hosted->hosting->env, d->timer, RETRY_MIN_MS);
}

static void delivered(void *arg, int32_t status, struct kos_bytes result)
{
    struct kos_bridge_delivery *d = arg;
    if (d->hosted->state == KOS_HOSTED_FINISHED) {
        delivery_free(d); /* the plugin is gone: the mesh offers the message again */
        return;
    }
    d->status = status;
    if (status < 0)
        kos_fail(&d->text, status, "%.*s", result.len ? (int)(result.len < 300 ? result.len : 300) : 0,
                 result.len ? (const char *)result.data : "");
    if (status < 0 && kos_log_limit_pass(d->hosted->hosting->limit, d->hosted->space, NULL))
        kos_log(d->hosted->hosting->env, KOS_LOG_WARNING, "host", "plugin %s could not deliver a message (%s)%s%s",
                d->hosted->name, kos_error_name(status), d->text.text[0] ? ": " : "", d->text.text);
    settle(d);
}

/* What this bridge brought in does not go out by it again. */
static bool came_by(struct kos_hosted *hosted, const uint8_t id[KOS_ID_BYTES])
{
    uint8_t key[1 + KOS_ID_BYTES] = { 'k' }, *value;
    size_t len;
    memcpy(key + 1, id, KOS_ID_BYTES);
    if (kos_store_get(hosted->hosting->store, hosted->bridge_space, kos_bytes(key, sizeof key), &value, &len) < 0)
        return false;
    free(value);
    return true;
}

void kos_bridge_deliver(struct kos_hosted *hosted, uint64_t handle, const struct kos_message *m)
{
    struct kos_bridge_delivery *d = kos_new(sizeof *d);
    d->hosted = hosted;
    d->handle = handle;
    DL_APPEND(hosted->deliveries, d);
    if (came_by(hosted, m->id)) {
        /* Not inside the mesh's call. */
        d->timer = kos_timer_new(hosted->hosting->env, settle, d);
        kos_timer_set(hosted->hosting->env, d->timer, 0);
        return;
    }
    hosted->backend->ops->deliver(hosted->backend, kos_op_new(hosted, delivered, d), m,
                                  kos_bridge_destination(hosted, m->type));
}

void kos_deliveries_drop(struct kos_hosted *hosted)
{
    while (hosted->deliveries)
        delivery_free(hosted->deliveries);
}

/* ---- inward ---- */

struct kos_injection {
    struct kos_hosted *hosted;    /* NULL: gone meanwhile */
    uint64_t op;
    bool taken;                   /* before: KOS_E_EXISTS */
    struct kos_injection *prev, *next;
};

static void injected(void *arg, int32_t status)
{
    struct kos_injection *i = arg;
    if (i->hosted) {
        DL_DELETE(i->hosted->injections, i);
        kos_hosted_complete(i->hosted, i->op, status < 0 ? status : i->taken ? KOS_E_EXISTS : KOS_OK,
                            kos_bytes(NULL, 0));
    }
    free(i);
}

static void message_id(const struct kos_hosted *hosted, const struct kos_foreign *foreign, uint8_t ret_id[KOS_ID_BYTES])
{
    struct klp_digest digest;
    char *text = kos_format("klp-bridge/1%c%s%c%s%c%s", 1, hosted->name, 1, foreign->origin, 1, foreign->key);
    klp_sha256(kos_bytes_str(text), &digest);
    memcpy(ret_id, digest.b, KOS_ID_BYTES);
    free(text);
}

struct forget {
    struct kos_tx *tx;
    struct kos_hosted *hosted;
    int64_t before;
    uint32_t left;
};

static uint64_t from_be(const uint8_t be[8])
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | be[i];
    return value;
}

static void to_be(uint64_t value, uint8_t be[8])
{
    for (int i = 7; i >= 0; i--, value >>= 8)
        be[i] = (uint8_t)value;
}

static bool forget_one(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct forget *f = arg;
    uint8_t taken[1 + KOS_ID_BYTES] = { 'k' };
    (void)value;
    if (key.len != 9 + KOS_ID_BYTES || (int64_t)from_be(key.data + 1) >= f->before || f->left-- == 0)
        return false;
    memcpy(taken + 1, key.data + 9, KOS_ID_BYTES);
    kos_tx_delete(f->tx, f->hosted->bridge_space, kos_bytes(taken, sizeof taken));
    kos_tx_delete(f->tx, f->hosted->bridge_space, key);
    return true;
}

static void note_taken(struct kos_hosted *hosted, struct kos_tx *tx, const uint8_t id[KOS_ID_BYTES])
{
    uint8_t taken[1 + KOS_ID_BYTES] = { 'k' }, timed[9 + KOS_ID_BYTES] = { 't' };
    int64_t now = kos_now_ms(hosted->hosting->env);
    struct forget forget = { tx, hosted, now - TAKEN_MS, FORGET_AT_ONCE };
    memcpy(taken + 1, id, KOS_ID_BYTES);
    to_be((uint64_t)now, timed + 1);
    memcpy(timed + 9, id, KOS_ID_BYTES);
    kos_store_scan(hosted->hosting->store, hosted->bridge_space, kos_bytes("t", 1), kos_bytes("t", 1), forget_one,
                   &forget);
    kos_tx_put(tx, hosted->bridge_space, kos_bytes(taken, sizeof taken), kos_bytes(timed + 1, 8));
    kos_tx_put(tx, hosted->bridge_space, kos_bytes(timed, sizeof timed), kos_bytes(NULL, 0));
}

static int32_t check(struct kos_hosted *hosted, const struct kos_foreign *f, struct kos_error *error)
{
    if (!kos_hosted_may(hosted, KOS_RIGHT_SEND))
        return kos_fail(error, KOS_E_DENIED,
                        "the plugin has not asked for the right \"send\"; a bridge that injects needs it");
    if (!f->origin || !f->origin[0] || strlen(f->origin) > ORIGIN_MAX)
        return kos_fail(error, KOS_E_INVALID, "an origin has 1 to %d characters", ORIGIN_MAX);
    if (!f->key || !f->key[0] || strlen(f->key) > KEY_MAX || strchr(f->key, 1) || strchr(f->origin, 1))
        return kos_fail(error, KOS_E_INVALID, "a key has 1 to %d characters, none of them U+0001", KEY_MAX);
    if (f->cursor.len > CURSOR_MAX)
        return kos_fail(error, KOS_E_LIMIT, "a cursor has at most %d bytes", CURSOR_MAX);
    if (!f->draft.type || !f->draft.target || !f->draft.payload.data || strcmp(f->draft.target, "*") == 0)
        return kos_fail(error, KOS_E_INVALID, "what is injected needs type, a klp:// target and a payload");
    /* Refused, not forgotten early: what is forgotten too soon would be taken twice. */
    if (kos_store_count(hosted->hosting->store, hosted->bridge_space) / 2 >= TAKEN_MAX)
        return kos_fail(error, KOS_E_BUSY, "%d messages were injected within 30 days; no more are taken before some are "
                                           "forgotten", TAKEN_MAX);
    return KOS_OK;
}

void kos_service_inject(struct kos_services *services, const struct kos_foreign *foreign, uint64_t op)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_draft draft = foreign->draft;
    struct kos_error error = { 0 };
    int32_t rc = check(hosted, foreign, &error);
    if (rc < 0) {
        kos_hosted_complete_text(hosted, op, rc, error.text);
        return;
    }
    message_id(hosted, foreign, draft.id);
    struct kos_injection *i = kos_new(sizeof *i);
    i->hosted = hosted;
    i->op = op;
    i->taken = came_by(hosted, draft.id);
    struct kos_mesh_tx *tx = kos_mesh_tx_begin(hosted->hosting->mesh);
    struct kos_tx *store = kos_mesh_tx_store(tx);
    if (foreign->cursor.len > 0) {
        char *key = kos_format("c%s", foreign->origin);
        kos_tx_put(store, hosted->bridge_space, kos_bytes_str(key), foreign->cursor);
        free(key);
    }
    if (!i->taken) {
        note_taken(hosted, store, draft.id);
        kos_mesh_tx_send(tx, hosted->name, &draft);
    }
    DL_APPEND(hosted->injections, i);
    rc = kos_mesh_tx_commit(tx, injected, i, &error);
    if (rc < 0) {
        DL_DELETE(hosted->injections, i);
        free(i);
        kos_hosted_complete_text(hosted, op, rc, error.text);
    }
}

void kos_injections_drop(struct kos_hosted *hosted)
{
    while (hosted->injections) {
        struct kos_injection *i = hosted->injections;
        DL_DELETE(hosted->injections, i);
        i->hosted = NULL;
    }
}

static bool resume_one(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct kos_hosted *hosted = arg;
    char *origin = kos_format("%.*s", (int)(key.len - 1), (const char *)key.data + 1);
    hosted->backend->ops->resume(hosted->backend, origin, value);
    free(origin);
    return true;
}

void kos_bridge_resume(struct kos_hosted *hosted)
{
    if (kos_hosted_offers(hosted, KOS_BRIDGE))
        kos_store_scan(hosted->hosting->store, hosted->bridge_space, kos_bytes("c", 1), kos_bytes("c", 1), resume_one,
                       hosted);
}
