/* SPDX-License-Identifier: Apache-2.0
 * Transactions of plugins, on those of the mesh. Message handles are each plugin's own, so none settles another's. */
#include <stdlib.h>
#include <utlist.h>

#include "host/services.h"

struct kos_host_tx {
    struct kos_hosted *hosted;          /* NULL once the plugin is unloaded and a commit is still under way */
    uint64_t id, op;
    struct kos_mesh_tx *tx;
    size_t bytes;
    bool dropped;                       /* whoever began it is gone; the commit goes on */
    uint32_t fanned;                    /* messages that a target "*" made */
    struct kos_held *settled;           /* what it settles */
    struct kos_error error;             /* the first step that cannot be */
    UT_hash_handle hh;
    struct kos_host_tx *prev, *next;    /* of those committing, or settling */
};
struct kos_held {
    uint64_t id, handle;                /* the plugin's, the mesh's */
    struct kos_host_tx *tx;             /* that settles it */
    struct kos_held *next_settled;      /* by the same transaction */
    UT_hash_handle hh, by_handle;
};

uint64_t kos_held_new(struct kos_hosted *hosted, uint64_t mesh_handle)
{
    struct kos_held *held = kos_new(sizeof *held);
    held->id = kos_hosted_id(hosted);
    held->handle = mesh_handle;
    HASH_ADD(hh, hosted->held, id, sizeof held->id, held);
    HASH_ADD(by_handle, hosted->held_by_handle, handle, sizeof held->handle, held);
    return held->id;
}

bool kos_held_has(const struct kos_hosted *hosted, uint64_t mesh_handle)
{
    struct kos_held *held;
    HASH_FIND(by_handle, hosted->held_by_handle, &mesh_handle, sizeof mesh_handle, held);
    return held != NULL;
}

static void held_free(struct kos_hosted *hosted, struct kos_held *held)
{
    HASH_DELETE(hh, hosted->held, held);
    HASH_DELETE(by_handle, hosted->held_by_handle, held);
    free(held);
}

static struct kos_host_tx *find(struct kos_hosted *hosted, uint64_t id)
{
    struct kos_host_tx *tx;
    HASH_FIND(hh, hosted->txs, &id, sizeof id, tx);
    if (!tx)
        kos_hosted_broke(hosted, "used transaction %llu, which is not open", (unsigned long long)id);
    return tx;
}

static void fail(struct kos_host_tx *tx, int32_t code, const char *text)
{
    if (tx->error.code == KOS_OK)
        kos_fail(&tx->error, code, "%s", text);
}

/* Counts what a step carries against the limits: of one, and of all that are open or being committed. */
static bool room(struct kos_host_tx *tx, size_t bytes)
{
    if (bytes > KOS_TX_MAX_BYTES || tx->bytes > KOS_TX_MAX_BYTES - bytes) {
        fail(tx, KOS_E_LIMIT, "a transaction carries at most 4 MiB");
        return false;
    }
    if (tx->hosted->tx_bytes > KOS_TXS_MAX_BYTES - bytes) {
        fail(tx, KOS_E_BUSY, "a plugin's transactions carry at most 64 MiB together: some have to be durable first");
        return false;
    }
    tx->bytes += bytes;
    tx->hosted->tx_bytes += bytes;
    return true;
}

static void tx_free(struct kos_host_tx *tx)
{
    if (tx->hosted)
        tx->hosted->tx_bytes -= tx->bytes;
    free(tx);
}

void kos_service_tx_begin(struct kos_services *services, uint64_t id)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_tx *tx;
    HASH_FIND(hh, hosted->txs, &id, sizeof id, tx);
    if (id == 0 || tx) {
        kos_hosted_broke(hosted, "began transaction %llu, which is %s", (unsigned long long)id,
                         id ? "open already" : "no id");
        return;
    }
    if (HASH_COUNT(hosted->txs) >= 2 * KOS_TX_MAX) {
        kos_hosted_broke(hosted, "began transaction after transaction and ended none: %d are open", 2 * KOS_TX_MAX);
        return;
    }
    tx = kos_new(sizeof *tx);
    tx->hosted = hosted;
    tx->id = id;
    /* Above the limit it still exists, to be refused at commit as all refusals are. */
    if (HASH_COUNT(hosted->txs) >= KOS_TX_MAX)
        fail(tx, KOS_E_LIMIT, "a plugin has at most 1024 transactions open");
    else
        tx->tx = kos_mesh_tx_begin(hosted->hosting->mesh);
    HASH_ADD(hh, hosted->txs, id, sizeof tx->id, tx);
}

void kos_service_tx_put(struct kos_services *services, uint64_t id, struct kos_bytes key, struct kos_bytes value)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_tx *tx = find(hosted, id);
    if (!tx || !room(tx, key.len + value.len))
        return;
    if (key.len == 0 || key.len > KOS_STATE_KEY_MAX || value.len > KOS_STATE_VALUE_MAX)
        fail(tx, KOS_E_LIMIT, "a key of state has 1 to 256 bytes and a value at most 1 MiB");
    else if (tx->error.code == KOS_OK)
        kos_tx_put(kos_mesh_tx_store(tx->tx), hosted->space, key, value);
}

void kos_service_tx_delete(struct kos_services *services, uint64_t id, struct kos_bytes key)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_tx *tx = find(hosted, id);
    if (!tx || !room(tx, key.len))
        return;
    if (key.len == 0 || key.len > KOS_STATE_KEY_MAX)
        fail(tx, KOS_E_LIMIT, "a key of state has 1 to 256 bytes");
    else if (tx->error.code == KOS_OK)
        kos_tx_delete(kos_mesh_tx_store(tx->tx), hosted->space, key);
}

void kos_service_tx_send(struct kos_services *services, uint64_t id, const struct kos_draft *given)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_tx *tx = find(hosted, id);
    struct kos_draft draft;
    if (!tx)
        return;
    KOS_SIZED(&draft, given);
    if (!kos_hosted_may(hosted, KOS_RIGHT_SEND))
        fail(tx, KOS_E_DENIED, "the plugin has not asked for the right \"send\"");
    else if (!draft.type || !draft.target || !draft.payload.data)
        fail(tx, KOS_E_INVALID, "a draft needs type, target and payload");
    else if (room(tx, draft.payload.len + strlen(draft.type) + strlen(draft.target)) && tx->error.code == KOS_OK)
        kos_mesh_tx_send(tx->tx, hosted->name, &draft);
}

void kos_service_tx_verdict(struct kos_services *services, uint64_t id, uint64_t message, int32_t verdict, int32_t error,
                            const char *text, uint64_t retry_ms)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_tx *tx = find(hosted, id);
    struct kos_held *held;
    HASH_FIND(hh, hosted->held, &message, sizeof message, held);
    if (!tx)
        return;
    if (!held || held->tx) {
        kos_hosted_broke(hosted, "gave a verdict about message %llu, which %s", (unsigned long long)message,
                         held ? "has one already" : "it does not hold");
        fail(tx, held ? KOS_E_STATE : KOS_E_NOTFOUND,
             held ? "the message has a verdict already" : "the plugin does not hold that message");
    } else if (verdict < KOS_ACCEPT || verdict > KOS_DEFER || (verdict == KOS_REJECT && error >= 0)) {
        fail(tx, KOS_E_INVALID, "a verdict is accept, reject with an error below 0, or defer");
    } else if (tx->error.code == KOS_OK) {
        held->tx = tx;
        LL_PREPEND2(tx->settled, held, next_settled);
        kos_mesh_tx_settle(tx->tx, held->handle, verdict, error, text ? text : "", retry_ms);
    }
}

/* What the transaction was to settle is settled, or the plugin's again. */
static void release_held(struct kos_hosted *hosted, struct kos_host_tx *tx, bool settled)
{
    while (tx->settled) {
        struct kos_held *held = tx->settled;
        LL_DELETE2(tx->settled, held, next_settled);
        held->tx = NULL;
        if (settled)
            held_free(hosted, held);
    }
}

static void committed(void *arg, int32_t status)
{
    struct kos_host_tx *tx = arg;
    struct kos_hosted *hosted = tx->hosted;
    if (hosted && tx->dropped) {
        DL_DELETE(hosted->settling, tx);
    } else if (hosted) {
        DL_DELETE(hosted->committing, tx);
        release_held(hosted, tx, status >= 0);
        if (status < 0)
            kos_hosted_complete_text(hosted, tx->op, status, kos_error_text(status));
        else
            kos_hosted_complete(hosted, tx->op, KOS_OK, kos_bytes(&tx->fanned, sizeof tx->fanned));
    }
    tx_free(tx);
}

void kos_service_tx_commit(struct kos_services *services, uint64_t id, uint64_t op)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_tx *tx = find(hosted, id);
    struct kos_error error = { 0 };
    if (!tx) {
        kos_hosted_complete_text(hosted, op, KOS_E_NOTFOUND, "there is no such transaction");
        return;
    }
    HASH_DEL(hosted->txs, tx);
    tx->op = op;
    int32_t rc = tx->error.code;
    if (rc < 0) {
        error = tx->error;
        if (tx->tx)
            kos_mesh_tx_abort(tx->tx);
    } else {
        DL_APPEND(hosted->committing, tx);
        tx->fanned = kos_mesh_tx_fanned(tx->tx);
        rc = kos_mesh_tx_commit(tx->tx, committed, tx, &error);
        if (rc >= 0)
            return;
        DL_DELETE(hosted->committing, tx);
    }
    release_held(hosted, tx, false);
    kos_hosted_complete_text(hosted, op, rc, error.text[0] ? error.text : kos_error_text(rc));
    tx_free(tx);
}

static void abort_tx(struct kos_hosted *hosted, struct kos_host_tx *tx)
{
    HASH_DEL(hosted->txs, tx);
    release_held(hosted, tx, false);
    if (tx->tx)
        kos_mesh_tx_abort(tx->tx);
    tx_free(tx);
}

void kos_service_tx_abort(struct kos_services *services, uint64_t id)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_tx *tx = find(hosted, id);
    if (tx)
        abort_tx(hosted, tx);
}

void kos_txs_drop(struct kos_hosted *hosted)
{
    struct kos_host_tx *tx, *next_tx;
    struct kos_held *held, *next_held;
    HASH_ITER(hh, hosted->txs, tx, next_tx)
        abort_tx(hosted, tx);
    DL_FOREACH_SAFE(hosted->committing, tx, next_tx) {
        DL_DELETE(hosted->committing, tx);
        tx->dropped = true;
        DL_APPEND(hosted->settling, tx);
    }
    /* The mesh offers again what was not settled (kos_mesh_owner_back, or after a restart). */
    HASH_ITER(hh, hosted->held, held, next_held)
        held_free(hosted, held);
}

void kos_txs_forget(struct kos_hosted *hosted)
{
    struct kos_host_tx *tx, *next;
    DL_FOREACH_SAFE(hosted->settling, tx, next) {
        DL_DELETE(hosted->settling, tx);
        tx->hosted = NULL;
    }
}

bool kos_txs_committing(const struct kos_hosted *hosted)
{
    return hosted->settling != NULL;
}

size_t kos_txs_count(const struct kos_hosted *hosted)
{
    return HASH_COUNT(hosted->txs) + HASH_COUNT(hosted->held);
}
