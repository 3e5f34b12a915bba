/* SPDX-License-Identifier: Apache-2.0
 *
 * The outbox: messages until the target's host has them on disk, or says no, or they expire. tx.c brings them in,
 * sign.c hands them to sessions. An entry's end is an outcome, kept until its owner took note.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

enum {
    RETRY_MIN_MS = 500,
    RETRY_MAX_MS = 60000,
    RECEIPT_MS = 120000, /* without a receipt, though all was sent: said again */
};

struct mesh_entry *mesh_outbox_find(struct kos_mesh *mesh, uint64_t seq)
{
    struct mesh_entry *entry;
    HASH_FIND(hh, mesh->entries, &seq, sizeof seq, entry);
    return entry;
}

/* Most of what the heap holds may be of entries that ended long before they expire. */
static void due_push(struct kos_mesh *mesh, int64_t due, uint64_t seq)
{
    struct mesh_heap *heap = &mesh->outbox_due;
    if (heap->count > 1024 && heap->count > 4 * HASH_COUNT(mesh->entries)) {
        struct mesh_heap old = *heap;
        *heap = (struct mesh_heap){ NULL, 0, 0 };
        for (size_t i = 0; i < old.count; i++)
            if (mesh_outbox_find(mesh, old.at[i].seq))
                mesh_heap_push(heap, old.at[i].due, old.at[i].seq);
        free(old.at);
    }
    mesh_heap_push(heap, due, seq);
    mesh_due_at(mesh, due);
}

void mesh_outbox_wake(struct kos_mesh *mesh, const struct mesh_entry *entry, uint64_t delay_ms)
{
    due_push(mesh, mesh_steady(mesh) + (int64_t)delay_ms, entry->seq);
}

void mesh_outbox_add(struct kos_mesh *mesh, struct mesh_entry *entry)
{
    HASH_ADD(hh, mesh->entries, seq, sizeof entry->seq, entry);
    if (entry->state == MESH_ENDED)
        return;
    HASH_ADD(hh_id, mesh->entries_by_id, id, sizeof entry->id, entry);
    struct mesh_peer *peer = mesh_peer_get(mesh, &entry->node);
    peer->entries++;
    peer->bytes += entry->bytes;
    mesh->outbox_bytes += entry->bytes;
    entry->ends_ms = mesh_steady(mesh) + (entry->expires - kos_now_ms(mesh->env));
    due_push(mesh, entry->ends_ms, entry->seq);
}

/* Out of whatever list its state says it is in. */
static void unlist(struct kos_mesh *mesh, struct mesh_entry *entry)
{
    struct mesh_peer *peer = mesh_peer_find(mesh, &entry->node);
    if (entry->state == MESH_WAITING)
        DL_DELETE(peer->waiting[entry->klass], entry);
    else if (entry->state == MESH_SENT) {
        struct mesh_link *link = mesh_link_find(mesh, entry->link);
        if (link && link->session)
            DL_DELETE(link->session->sent, entry);
    }
}

/* No longer a message that waits; it may live on as an outcome. */
static void settle_account(struct kos_mesh *mesh, struct mesh_entry *entry)
{
    struct mesh_peer *peer = mesh_peer_find(mesh, &entry->node);
    unlist(mesh, entry);
    HASH_DELETE(hh_id, mesh->entries_by_id, entry);
    peer->entries--;
    peer->bytes -= entry->bytes;
    mesh->outbox_bytes -= entry->bytes;
    free(entry->body);
    entry->body = NULL;
}

void mesh_outbox_remove(struct kos_mesh *mesh, struct mesh_entry *entry)
{
    if (entry->state != MESH_ENDED)
        settle_account(mesh, entry);
    HASH_DELETE(hh, mesh->entries, entry);
    mesh_entry_free(entry);
}

void mesh_outbox_ready(struct kos_mesh *mesh, struct mesh_entry *entry)
{
    struct mesh_peer *peer = mesh_peer_get(mesh, &entry->node);
    entry->state = MESH_WAITING;
    /* In order of seq: mostly at the end; what comes back from a lost session, at the beginning. */
    struct mesh_entry *behind = peer->waiting[entry->klass];
    if (!behind || behind->prev->seq < entry->seq) {
        DL_APPEND(peer->waiting[entry->klass], entry);
    } else {
        while (behind->seq < entry->seq)
            behind = behind->next;
        DL_PREPEND_ELEM(peer->waiting[entry->klass], behind, entry);
    }
    mesh_peer_touch(peer);
}

static void wait_for_receipt(struct kos_mesh *mesh, struct mesh_entry *entry)
{
    const struct mesh_link *link = mesh_link_find(mesh, entry->link);
    entry->due_ms = mesh_steady(mesh) + (link && link->slow ? MESH_SLOW_RECEIPT_MS : RECEIPT_MS);
    due_push(mesh, entry->due_ms, entry->seq);
}

void mesh_outbox_sent(struct mesh_session *session, struct mesh_entry *entry)
{
    entry->state = MESH_SENT;
    entry->link = session->link->id;
    DL_APPEND(session->sent, entry);
    wait_for_receipt(session->mesh, entry);
}

void mesh_outbox_lost(struct mesh_session *session)
{
    while (session->sent) {
        struct mesh_entry *entry = session->sent->prev; /* the last: the earlier ones then go before it */
        DL_DELETE(session->sent, entry);
        mesh_outbox_ready(session->mesh, entry);
    }
}

/* ---- ends ---- */

static void note_by_itself(struct kos_mesh *mesh, struct mesh_entry *entry)
{
    struct kos_tx *tx = kos_tx_begin(mesh->store);
    mesh_entry_delete(tx, entry);
    if (kos_tx_commit(tx, NULL, NULL) >= 0)
        mesh_outbox_remove(mesh, entry);
}

/* A handle says by its lowest bit what it is of: 1 outcome, 0 message. */
void mesh_outbox_offer(struct kos_mesh *mesh, struct mesh_entry *entry)
{
    struct kos_outcome outcome = {
        .size = sizeof outcome, .status = entry->status, .type = entry->type, .text = entry->text ? entry->text : ""
    };
    memcpy(outcome.id, entry->id.b, sizeof outcome.id);
    uint64_t seq = entry->seq;
    entry->offered = true;
    if (entry->owner[0] && mesh->sink->ops->outcome(mesh->sink, seq << 1 | 1, entry->owner, &outcome))
        return;
    entry = mesh_outbox_find(mesh, seq);
    if (entry)
        note_by_itself(mesh, entry);
}

static void tell_end(struct kos_mesh *mesh, const struct mesh_entry *entry, int32_t status, const char *text)
{
    char label[KLP_ID_TEXT];
    if (status >= 0)
        mesh->counters.messages_out++;
    else
        kos_log(mesh->env, KOS_LOG_NOTICE, "mesh", "%s for %s was not delivered (%s): %s", entry->type,
                mesh_peer_label(mesh, &entry->node, label), kos_error_name(status), text);
    if (mesh_watched(mesh))
        mesh_event(mesh, "message_out",
                   json_pack("{s:o,s:o,s:s,s:s,s:s}", "id", mesh_id_json(&entry->id), "target",
                             mesh_id_json(&entry->node), "type", entry->type, "status", kos_error_name(status), "text",
                             text));
}

static void try_later(struct kos_mesh *mesh, struct mesh_entry *entry)
{
    uint32_t jitter;
    unlist(mesh, entry);
    entry->backoff_ms = entry->backoff_ms ? entry->backoff_ms * 2 : RETRY_MIN_MS;
    if (entry->backoff_ms > RETRY_MAX_MS)
        entry->backoff_ms = RETRY_MAX_MS;
    kos_random(mesh->env, &jitter, sizeof jitter);
    entry->state = MESH_DELAYED;
    entry->due_ms = mesh_steady(mesh) + entry->backoff_ms - jitter % (entry->backoff_ms / 2);
    due_push(mesh, entry->due_ms, entry->seq);
}

/* The entry gives way to its outcome, in one transaction. The outcome is offered at once: were it lost with a crash,
 * the message would be sent again and get its recorded receipt again. */
static void end(struct kos_mesh *mesh, struct mesh_entry *entry, int32_t status, const char *text)
{
    struct kos_tx *tx = kos_tx_begin(mesh->store);
    int32_t before = entry->state;
    mesh_entry_delete(tx, entry);
    entry->status = status;
    free(entry->text);
    entry->text = kos_strdup(text);
    entry->state = MESH_ENDED;
    if (entry->owner[0])
        mesh_ended_put(tx, entry);
    int32_t rc = kos_tx_commit(tx, NULL, NULL);
    entry->state = before;
    if (rc < 0) {
        try_later(mesh, entry); /* the disk takes nothing now: sent again, it gets the same answer */
        return;
    }
    tell_end(mesh, entry, status, text);
    settle_account(mesh, entry);
    entry->state = MESH_ENDED;
    if (entry->owner[0])
        mesh_outbox_offer(mesh, entry);
    else
        mesh_outbox_remove(mesh, entry);
}

void mesh_outbox_fail(struct kos_mesh *mesh, struct mesh_entry *entry, int32_t status, const char *text)
{
    end(mesh, entry, status, text);
}

void mesh_outbox_fail_beyond(struct kos_mesh *mesh, struct mesh_entry *entry, uint32_t known, int32_t status,
                             const char *text)
{
    char unknown[512];
    if (entry->handovers <= known) {
        end(mesh, entry, status, text);
        return;
    }
    snprintf(unknown, sizeof unknown, "%.300s, after it may have been handed over: whether the target has it is not known",
             text);
    end(mesh, entry, KOS_E_INTERRUPTED, unknown);
}

void mesh_outbox_again(struct kos_mesh *mesh, struct mesh_entry *entry, uint64_t retry_ms)
{
    entry->offered = false;
    entry->due_ms = mesh_steady(mesh) +
                    (int64_t)(retry_ms < KLP_MESSAGE_LIFE_MAX_MS ? retry_ms : KLP_MESSAGE_LIFE_MAX_MS);
    due_push(mesh, entry->due_ms, entry->seq);
}

void mesh_outbox_noted(struct kos_mesh *mesh, struct mesh_entry *entry)
{
    if (entry->state == MESH_ENDED)
        mesh_outbox_remove(mesh, entry);
}

void mesh_outbox_receipt(struct kos_mesh *mesh, const struct klp_id *node, const struct klp_receipt *receipt)
{
    struct mesh_entry *entry;
    HASH_FIND(hh_id, mesh->entries_by_id, &receipt->id, sizeof receipt->id, entry);
    if (!entry) {
        mesh_loose_refused(mesh, node, receipt);
        return; /* else it ended before: a receipt that came twice */
    }
    if (!klp_id_eq(&entry->node, node) || memcmp(&entry->digest, &receipt->digest, sizeof entry->digest) != 0 ||
        !entry->handed) {
        mesh->counters.receipts_bad++;
        return;
    }
    if (receipt->error == KOS_OK || !kos_error_retry(receipt->error)) {
        /* Of what has expired the target remembers nothing, nor whether it took it an earlier time. */
        mesh_outbox_fail_beyond(mesh, entry, receipt->error == KOS_E_EXPIRED ? 1 : UINT32_MAX, receipt->error,
                                receipt->text[0] || receipt->error == KOS_OK ? receipt->text
                                                                             : kos_error_text(receipt->error));
        return;
    }
    struct mesh_link *link = entry->state == MESH_SENT ? mesh_link_find(mesh, entry->link) : NULL;
    if (receipt->error == KOS_E_UNKNOWN_ID && link && link->session)
        mesh_session_forget_logs(link->session);
    entry->status = receipt->error;
    if (entry->handovers <= 1) /* of more, an earlier one may have been taken */
        entry->handovers = 0;
    free(entry->text);
    entry->text = kos_strdup(receipt->text[0] ? receipt->text : kos_error_text(receipt->error));
    if (entry->state == MESH_SENT || entry->state == MESH_WAITING)
        try_later(mesh, entry);
}

static void expire(struct kos_mesh *mesh, struct mesh_entry *entry)
{
    if (entry->state == MESH_NEW || entry->state == MESH_SIGNING) {
        due_push(mesh, mesh_steady(mesh) + 100, entry->seq); /* in a worker's or the disk's hands: soon not */
        return;
    }
    if (entry->status < 0 && !entry->handovers) {
        /* Since this refusal nobody has had it: what becomes of it is known. */
        char *said = kos_strdup(entry->text);
        end(mesh, entry, entry->status, said);
        free(said);
    } else if (entry->handed)
        end(mesh, entry, KOS_E_INTERRUPTED,
            "it expired without a receipt, after it may have been handed over: whether the target has it is not known");
    else
        end(mesh, entry, KOS_E_EXPIRED, "it expired before any way led to the target");
}

/* A receipt may be lost where a disk or a peer fails. What still waits in the session's queue has none to expect. */
static void no_receipt(struct kos_mesh *mesh, struct mesh_entry *entry)
{
    struct mesh_link *link = mesh_link_find(mesh, entry->link);
    if (!link || !link->session || link->session->queue[entry->klass].first ||
        (link->session->arq && link->session->arq->flights)) {
        wait_for_receipt(mesh, entry);
        return;
    }
    unlist(mesh, entry);
    mesh_outbox_ready(mesh, entry);
}

void mesh_outbox_due(struct kos_mesh *mesh)
{
    uint64_t seq;
    int64_t now = mesh_steady(mesh);
    while (mesh_heap_pop(&mesh->outbox_due, now, &seq)) {
        struct mesh_entry *entry = mesh_outbox_find(mesh, seq);
        if (!entry)
            continue;
        if (entry->state == MESH_ENDED) {
            if (!entry->offered && now >= entry->due_ms)
                mesh_outbox_offer(mesh, entry);
        } else if (now >= entry->ends_ms)
            expire(mesh, entry);
        else if (entry->state == MESH_DELAYED && now >= entry->due_ms)
            mesh_outbox_ready(mesh, entry);
        else if (entry->state == MESH_SENT && now >= entry->due_ms)
            no_receipt(mesh, entry);
        else if (entry->state == MESH_WAITING)
            mesh_peer_touch(mesh_peer_find(mesh, &entry->node));
    }
}

/* ---- start and end ---- */

struct loading {
    struct kos_mesh *mesh;
    struct kos_tx *orphans;
    uint32_t bad;
};

static uint64_t key_seq(struct kos_bytes key)
{
    struct unpack in = { key, false };
    return unpack_uint(&in, 8);
}

static void took_seq(struct kos_mesh *mesh, uint64_t seq)
{
    if (seq >= mesh->next_seq)
        mesh->next_seq = seq + 1;
}

static bool load_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct loading *loading = arg;
    struct mesh_entry *entry = mesh_entry_read(key_seq(key), value);
    took_seq(loading->mesh, key_seq(key));
    if (!entry) {
        loading->bad++;
        return true;
    }
    entry->handovers = entry->handed;
    mesh_outbox_add(loading->mesh, entry);
    mesh_outbox_ready(loading->mesh, entry);
    return true;
}

static bool load_handed(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct loading *loading = arg;
    struct mesh_entry *entry = mesh_outbox_find(loading->mesh, key_seq(key));
    (void)value;
    if (entry) {
        entry->handed = entry->resent = true;
        entry->handovers = 1;
    } else {
        /* Goes with its entry, but where a disk lied about a flush: another message may get that number. */
        kos_tx_delete(loading->orphans, "handed", key);
    }
    return true;
}

static bool load_ended(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct loading *loading = arg;
    struct mesh_entry *entry = mesh_ended_read(key_seq(key), value);
    took_seq(loading->mesh, key_seq(key));
    if (entry)
        mesh_outbox_add(loading->mesh, entry);
    else
        loading->bad++;
    return true;
}

int32_t mesh_outbox_load(struct kos_mesh *mesh)
{
    struct loading loading = { mesh, kos_tx_begin(mesh->store), 0 };
    struct kos_bytes all = { NULL, 0 };
    int32_t rc = kos_store_scan(mesh->store, "outbox", all, all, load_entry, &loading);
    if (rc >= 0)
        rc = kos_store_scan(mesh->store, "handed", all, all, load_handed, &loading);
    if (rc >= 0)
        rc = kos_store_scan(mesh->store, "ended", all, all, load_ended, &loading);
    if (rc >= 0)
        (void)kos_tx_commit(loading.orphans, NULL, NULL); /* else they go at the next start */
    else
        kos_tx_abort(loading.orphans);
    if (loading.bad)
        kos_log(mesh->env, KOS_LOG_ERROR, "mesh", "%u entries of the outbox cannot be read and were left alone",
                loading.bad);
    return rc;
}

void mesh_outbox_free(struct kos_mesh *mesh)
{
    struct mesh_entry *entry, *next;
    HASH_CLEAR(hh_id, mesh->entries_by_id);
    HASH_ITER(hh, mesh->entries, entry, next) {
        HASH_DELETE(hh, mesh->entries, entry);
        mesh_entry_free(entry);
    }
    free(mesh->outbox_due.at);
}
