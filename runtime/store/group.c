/* SPDX-License-Identifier: Apache-2.0
 *
 * Group commit: what all transactions of a turn go through.
 *
 *   commit -> waiting -> (turn end) flight -> worker: records, sync -> done -> ... -> frozen -> checkpoint -> tidy
 *
 * One flight at a time; what is committed meanwhile gathers in `waiting`. A flight that fails is tried again until it is
 * on the disk, and nothing else goes before it. A checkpoint freezes what is in memory when a flight leaves with all
 * that waits: then the frozen tables are exactly the state after that flight's last record. */
#include <inttypes.h>
#include <stdlib.h>

#include "store/internal.h"
#include "store/journal_format.h"

static void queue_push(struct tx_queue *queue, struct kos_tx *tx)
{
    tx->next = NULL;
    if (queue->last)
        queue->last->next = tx;
    else
        queue->first = tx;
    queue->last = tx;
    queue->bytes += tx->ops.len;
    queue->count++;
}

static struct kos_tx *queue_pop(struct tx_queue *queue)
{
    struct kos_tx *tx = queue->first;
    queue->first = tx->next;
    if (!queue->first)
        queue->last = NULL;
    queue->bytes -= tx->ops.len;
    queue->count--;
    return tx;
}

void group_enqueue(struct kos_store *store, struct kos_tx *tx)
{
    queue_push(&store->waiting, tx);
    group_nudge(store);
}

void tx_free(struct kos_tx *tx)
{
    kos_buf_fini(&tx->ops);
    free(tx);
}

static uint64_t behind_max(const struct kos_store *store)
{
    return store->options.checkpoint_bytes * STORE_BEHIND_MAX;
}

int32_t group_state(const struct kos_store *store)
{
    if (store->write_rc < 0)
        return store->write_rc;
    if (store->tidy_rc < 0)
        return store->tidy_rc;
    return store->checkpoint_rc < 0 && store->stats.bytes_journal > behind_max(store) ? store->checkpoint_rc : KOS_OK;
}

void group_nudge(struct kos_store *store)
{
    if (!store->closing)
        kos_defer(store->env, &store->nudge);
}

static void nudged(struct kos_deferred *deferred)
{
    (void)deferred; /* the turn it runs in will end */
}

/* Notes a failure or its end; says so once. */
void group_outcome(struct kos_store *store, int32_t *state, int32_t rc, const char *what)
{
    int32_t before = group_state(store), was = *state;
    *state = rc;
    int32_t now = group_state(store);
    if (now < 0 && before == KOS_OK)
        kos_log(store->env, KOS_LOG_ERROR, "store", "%s: %s failed: %s; nothing acknowledged is lost, new transactions are refused until it works again",
                store->dir, what, kos_error_text(rc));
    else if (rc < 0 && was == KOS_OK)
        kos_log(store->env, KOS_LOG_WARNING, "store", "%s: %s failed: %s; it is tried again", store->dir, what, kos_error_text(rc));
    else if (now == KOS_OK && (before < 0 || (was < 0 && rc == KOS_OK)))
        kos_log(store->env, KOS_LOG_NOTICE, "store", "%s: %s works again", store->dir, what);
    if (rc < 0 && !store->closing)
        kos_timer_set(store->env, store->retry, STORE_RETRY_MS);
}

/* On a worker. Each record is durable before the next is begun. */
static void flight_run(struct kos_work *work)
{
    struct flight *flight = (struct flight *)((char *)work - offsetof(struct flight, work));
    struct journal *journal = &flight->store->journal;
    flight->written = flight->bytes = flight->records = 0;
    flight->rc = KOS_OK;
    struct kos_bytes *pieces = kos_new((flight->queue.count + 1) * sizeof *pieces);
    struct kos_tx *tx = flight->queue.first;
    while (tx && flight->rc == KOS_OK) {
        size_t count = 0, taken = 0;
        uint64_t bytes = 0;
        for (; tx && (!bytes || bytes + tx->ops.len <= STORE_RECORD_BYTES); tx = tx->next, taken++)
            if (tx->records) {
                pieces[count++] = kos_buf_bytes(&tx->ops);
                bytes += tx->ops.len;
            }
        if (count) {
            flight->rc = journal_write(journal, flight->number + 1, pieces, count);
            if (flight->rc < 0)
                break;
            flight->number++;
            flight->records++;
            flight->bytes += journal_record_bytes(bytes);
        }
        flight->written += taken;
    }
    free(pieces);
}

static void flight_done(struct kos_work *work)
{
    struct flight *flight = (struct flight *)((char *)work - offsetof(struct flight, work));
    struct kos_store *store = flight->store;
    flight->running = false;
    store->last = flight->number;
    store->stats.groups += flight->records;
    store->stats.bytes_journal += flight->bytes;
    store->stats.syncs = store->journal.syncs;
    if (store->journal.file)
        tidy_add(store, store->journal.first);
    group_outcome(store, &store->write_rc, flight->rc, "writing the journal");
    if (flight->rc == KOS_OK) {
        flight->active = false;
        if (flight->frozen)
            checkpoint_ready(store);
        flight->frozen = false;
    }
    /* What `done` does may commit again: it finds the flight over, or about to be tried again. */
    for (uint64_t left = flight->written; left; left--) {
        struct kos_tx *tx = queue_pop(&flight->queue);
        if (tx->done)
            tx->done(tx->arg, KOS_OK);
        tx_free(tx);
    }
    flight->written = 0;
    group_nudge(store);
}

static void flight_launch(struct kos_store *store)
{
    struct flight *flight = &store->flight;
    flight->running = true;
    flight->work = (struct kos_work){ .run = flight_run, .done = flight_done };
    kos_work(store->env, &flight->work);
}

/* The next segment may be needed, which a tidy under way is perhaps making just now. */
static bool flight_must_wait(const struct kos_store *store, const struct tx_queue *queue)
{
    return store->tidy.running && !journal_fits(&store->journal, queue->bytes, queue->bytes / STORE_RECORD_BYTES * 2 + 2);
}

static void flight_start(struct kos_store *store)
{
    struct flight *flight = &store->flight;
    if (flight->running || (flight->active && store->write_rc < 0)) /* the timer tries again */
        return;
    if (!flight->active && !store->waiting.first)
        return;
    if (flight_must_wait(store, flight->active ? &flight->queue : &store->waiting))
        return;
    if (!flight->active) {
        flight->active = true;
        flight->queue = store->waiting;
        flight->number = store->last;
        store->waiting = (struct tx_queue){ 0 };
        if (checkpoint_wanted(store)) {
            checkpoint_freeze(store);
            flight->frozen = true;
        }
    }
    flight_launch(store);
}

void group_turn_end(struct kos_turn_end *end)
{
    struct kos_store *store = (struct kos_store *)((char *)end - offsetof(struct kos_store, end));
    flight_start(store);
    if (!store->flight.active && !store->waiting.first && checkpoint_wanted(store)) {
        checkpoint_freeze(store);
        if (store->frozen || store->last > store->applied)
            checkpoint_ready(store);
        else
            store->stats.checkpoints++; /* nothing lies behind the last one */
    }
    if (store->checkpoint.ready && !store->checkpoint.running && store->checkpoint_rc == KOS_OK)
        checkpoint_start(store);
    if (store->tidy_rc == KOS_OK)
        tidy_start(store);
}

/* The probe: each thing that failed is tried again as it is. */
static void retry(void *arg)
{
    struct kos_store *store = arg;
    if (store->write_rc < 0 && store->flight.active && !store->flight.running) {
        if (store->tidy.running)
            kos_timer_set(store->env, store->retry, STORE_RETRY_MS);
        else
            flight_launch(store);
    }
    if (store->checkpoint_rc < 0 && store->checkpoint.ready && !store->checkpoint.running)
        checkpoint_start(store);
    if (store->tidy_rc < 0 && !store->tidy.running) {
        if (store->flight.running)
            kos_timer_set(store->env, store->retry, STORE_RETRY_MS);
        else
            tidy_start(store);
    }
}

void group_init(struct kos_store *store)
{
    store->flight.store = store->checkpoint.store = store->tidy.store = store;
    store->nudge.run = nudged;
    store->end = (struct kos_turn_end){ .run = group_turn_end, .order = 20 };
    store->env->ops->turn_end_add(store->env, &store->end);
    store->retry = kos_timer_new(store->env, retry, store);
    group_nudge(store);
}

static void finish(struct kos_store *store)
{
    if (store->tidy.running)
        kos_work_finish(store->env, &store->tidy.work);
    if (store->flight.running)
        kos_work_finish(store->env, &store->flight.work);
    if (store->checkpoint.running)
        kos_work_finish(store->env, &store->checkpoint.work);
}

static void run_here(struct kos_work *work, void (*run)(struct kos_work *work), void (*done)(struct kos_work *work))
{
    run(work);
    done(work);
}

static void fail_queue(struct tx_queue *queue, int32_t rc)
{
    while (queue->first) {
        struct kos_tx *tx = queue_pop(queue);
        if (tx->done)
            tx->done(tx->arg, rc);
        tx_free(tx);
    }
}

void group_close(struct kos_store *store)
{
    struct flight *flight = &store->flight;
    store->closing = true;
    kos_undefer(store->env, &store->nudge);
    store->env->ops->turn_end_remove(store->env, &store->end);
    finish(store);
    if (flight->active)
        run_here(&flight->work, flight_run, flight_done);
    if (!flight->active && store->waiting.first) {
        flight->active = true;
        flight->queue = store->waiting;
        flight->number = store->last;
        store->waiting = (struct tx_queue){ 0 };
        run_here(&flight->work, flight_run, flight_done);
    }
    int32_t rc = store->write_rc;
    if (rc == KOS_OK && store->checkpoint.ready)
        rc = checkpoint_now(store);
    if (rc == KOS_OK && store->last > store->applied)
        checkpoint_now(store);
    fail_queue(&flight->queue, rc);
    fail_queue(&store->waiting, rc);
    kos_timer_free(store->env, store->retry);
    store->retry = NULL;
}

void store_abandon(struct kos_store *store)
{
    struct tx_queue queues[2];
    store->closing = true;
    kos_undefer(store->env, &store->nudge);
    store->env->ops->turn_end_remove(store->env, &store->end);
    finish(store);
    queues[0] = store->flight.queue;
    queues[1] = store->waiting;
    for (int i = 0; i < 2; i++)
        while (queues[i].first)
            tx_free(queue_pop(&queues[i]));
    kos_timer_free(store->env, store->retry);
    store_fini(store, false);
}
