/* SPDX-License-Identifier: Apache-2.0
 * What follows the journal: checkpoints into SQLite, and tidying, which removes segments no longer needed and keeps one
 * spare. Both run on workers; the loop only sets tables apart. */
#include <stdlib.h>

#include "store/internal.h"

void checkpoint_freeze(struct kos_store *store)
{
    for (struct space *space = store->spaces; space; space = space->hh.next) {
        if (!table_count(space->active))
            continue;
        uint64_t seed;
        kos_random(store->env, &seed, sizeof seed);
        space->frozen = space->active;
        space->active = table_new(seed);
        space->frozen_next = store->frozen;
        store->frozen = space;
    }
    store->active_bytes = 0;
    store->want_checkpoint = false;
}

void checkpoint_ready(struct kos_store *store)
{
    store->checkpoint.ready = true;
    store->checkpoint.number = store->last;
    store->checkpoint.bytes = store->stats.bytes_journal;
}

bool checkpoint_wanted(const struct kos_store *store)
{
    uint64_t bytes = store->stats.bytes_journal > store->active_bytes ? store->stats.bytes_journal : store->active_bytes;
    return !store->frozen && !store->checkpoint.ready && (store->want_checkpoint || bytes >= store->options.checkpoint_bytes);
}

static void checkpoint_run(struct kos_work *work)
{
    struct checkpoint *checkpoint = (struct checkpoint *)((char *)work - offsetof(struct checkpoint, work));
    struct kos_store *store = checkpoint->store;
    checkpoint->rc = database_apply(store->database, store->frozen, checkpoint->number, checkpoint->text, sizeof checkpoint->text);
}

static void checkpoint_end(struct kos_store *store)
{
    while (store->frozen) {
        struct space *space = store->frozen;
        store->frozen = space->frozen_next;
        space->frozen_next = NULL;
        space->in_database = true;
        store->trash = realloc(store->trash, (store->trash_count + 1) * sizeof(struct table *));
        if (!store->trash)
            abort();
        store->trash[store->trash_count++] = space->frozen;
        space->frozen = NULL;
    }
    store->applied = store->checkpoint.number;
    store->stats.bytes_journal -= store->checkpoint.bytes;
    store->stats.checkpoints++;
    store->checkpoint.ready = false;
}

static void checkpoint_done(struct kos_work *work)
{
    struct checkpoint *checkpoint = (struct checkpoint *)((char *)work - offsetof(struct checkpoint, work));
    struct kos_store *store = checkpoint->store;
    checkpoint->running = false;
    if (checkpoint->rc < 0 && store->checkpoint_rc == KOS_OK)
        kos_log(store->env, KOS_LOG_WARNING, "store", "%s/state.db: SQLite says: %s", store->dir, checkpoint->text);
    group_outcome(store, &store->checkpoint_rc, checkpoint->rc, "the checkpoint");
    if (checkpoint->rc == KOS_OK)
        checkpoint_end(store);
    group_nudge(store);
}

void checkpoint_start(struct kos_store *store)
{
    struct checkpoint *checkpoint = &store->checkpoint;
    checkpoint->running = true;
    checkpoint->work = (struct kos_work){ .run = checkpoint_run, .done = checkpoint_done };
    kos_work(store->env, &checkpoint->work);
}

static void tidy_run(struct kos_work *work)
{
    struct tidy *tidy = (struct tidy *)((char *)work - offsetof(struct tidy, work));
    struct kos_store *store = tidy->store;
    const char *dir = store->journal_dir;
    for (size_t i = 0; i < tidy->trash_count; i++)
        table_free(tidy->trash[i]);
    free(tidy->trash);
    tidy->rc = KOS_OK;
    if (tidy->want_spare)
        tidy->rc = journal_spare(store->env, dir, tidy->spare_bytes, tidy->remove_count ? tidy->remove[0] : 0);
    /* What became the spare one is not there any more. What cannot be removed now is removed after the next start, which
     * finds it before the checkpoint. */
    for (size_t at = 0; at < tidy->remove_count; at++)
        journal_remove(store->env, dir, tidy->remove[at]);
}

static void tidy_done(struct kos_work *work)
{
    struct tidy *tidy = (struct tidy *)((char *)work - offsetof(struct tidy, work));
    struct kos_store *store = tidy->store;
    tidy->running = false;
    free(tidy->remove);
    tidy->remove = NULL;
    if (tidy->want_spare && tidy->rc == KOS_OK)
        store->journal.spare_bytes = tidy->spare_bytes;
    group_outcome(store, &store->tidy_rc, tidy->rc, "making a journal segment");
    group_nudge(store);
}

/* Segments that hold nothing behind the checkpoint go, but not the one that is open. */
void tidy_start(struct kos_store *store)
{
    struct tidy *tidy = &store->tidy;
    if (tidy->running || store->flight.running) /* after the flight: which segment is open is its matter */
        return;
    size_t free_count = 0;
    while (free_count + 1 < store->segment_count && store->segments[free_count + 1] <= store->applied + 1)
        free_count++;
    bool want_spare = store->journal.spare_bytes < store->options.segment_bytes;
    if (!free_count && !want_spare && !store->trash)
        return;
    tidy->trash = store->trash;
    tidy->trash_count = store->trash_count;
    store->trash = NULL;
    store->trash_count = 0;
    tidy->remove = kos_memdup(store->segments, free_count * sizeof *store->segments);
    tidy->remove_count = free_count;
    tidy->want_spare = want_spare;
    tidy->spare_bytes = store->options.segment_bytes;
    store->segment_count -= free_count;
    if (free_count)
        memmove(store->segments, store->segments + free_count, store->segment_count * sizeof *store->segments);
    tidy->running = true;
    tidy->work = (struct kos_work){ .run = tidy_run, .done = tidy_done };
    kos_work(store->env, &tidy->work);
}

void tidy_add(struct kos_store *store, uint64_t first)
{
    if (store->segment_count && store->segments[store->segment_count - 1] == first)
        return; /* made again after a failure */
    if (store->segment_count == store->segment_cap) {
        store->segment_cap = store->segment_cap ? store->segment_cap * 2 : 16;
        store->segments = realloc(store->segments, store->segment_cap * sizeof *store->segments);
        if (!store->segments)
            abort();
    }
    store->segments[store->segment_count++] = first;
}

int32_t checkpoint_now(struct kos_store *store)
{
    if (!store->checkpoint.ready) {
        checkpoint_freeze(store);
        checkpoint_ready(store);
    }
    checkpoint_run(&store->checkpoint.work);
    checkpoint_done(&store->checkpoint.work);
    return store->checkpoint.rc;
}
