/* SPDX-License-Identifier: Apache-2.0
 *
 * Key event logs in memory: entries that own their text, and copies.
 */
#include <klp/log.h>

#include <stdlib.h>

#include "log_private.h"

struct klp_log *klp_log_new(void)
{
    return calloc(1, sizeof(struct klp_log));
}

void log_cut(struct klp_log *log, uint64_t count)
{
    while (log->count > count)
        free(log->entries[--log->count]);
}

static void drop(struct klp_log *log)
{
    log_cut(log, 0);
    free(log->entries);
    free(log->one);
    free(log->other);
}

void klp_log_free(struct klp_log *log)
{
    if (!log)
        return;
    drop(log);
    free(log);
}

static struct kos_bytes moved(struct kos_bytes slice, const uint8_t *from, const uint8_t *to)
{
    return slice.data ? kos_bytes(to + (slice.data - from), slice.len) : slice;
}

/* Copies event and text, so that the event's slices point into the copy. */
struct entry *log_entry_new(const struct klp_event *event, struct kos_bytes text)
{
    struct entry *entry = malloc(sizeof *entry + text.len);
    if (!entry)
        return NULL;
    memcpy(entry->text, text.data, text.len);
    entry->len = text.len;
    entry->event = *event;
    entry->event.body = moved(event->body, text.data, entry->text);
    entry->event.acceptance = moved(event->acceptance, text.data, entry->text);
    entry->event.signature = kos_bytes(entry->event.signature_bytes, KLP_SIGNATURE_LEN);
    entry->key_at = entry->recovery_at = NO_EVENT;
    return entry;
}

struct entry *log_entry_clone(const struct entry *entry)
{
    struct entry *clone = log_entry_new(&entry->event, kos_bytes(entry->text, entry->len));
    if (clone) {
        clone->key_at = entry->key_at;
        clone->recovery_at = entry->recovery_at;
    }
    return clone;
}

/* Takes the entry over and works out the state after it. */
int32_t log_push(struct klp_log *log, struct entry *entry)
{
    if (log->count == log->cap) {
        uint64_t cap = log->cap ? 2 * log->cap : 4;
        struct entry **entries = realloc(log->entries, cap * sizeof *entries);
        if (!entries) {
            free(entry);
            return KOS_E_NOMEM;
        }
        log->entries = entries;
        log->cap = cap;
    }
    const struct klp_event *event = &entry->event;
    const struct entry *before = log->count ? log->entries[log->count - 1] : NULL;
    bool changes = event->key.len != 0 || event->type == KLP_EVENT_REVOCATION;
    entry->key_at = changes || !before ? event->seq : before->key_at;
    entry->recovery_at = event->has_recovery ? event->seq : before ? before->recovery_at : NO_EVENT;
    log->entries[log->count++] = entry;
    return 0;
}

struct klp_log *log_clone_to(const struct klp_log *log, uint64_t count)
{
    struct klp_log *clone = klp_log_new();
    for (uint64_t i = 0; clone && i < count; i++) {
        struct entry *entry = log_entry_clone(log->entries[i]);
        if (!entry || log_push(clone, entry) < 0) {
            klp_log_free(clone);
            return NULL;
        }
    }
    return clone;
}

int32_t log_copy_proof(struct klp_log *to, const struct entry *one, const struct entry *other)
{
    struct entry *a = log_entry_clone(one), *b = log_entry_clone(other);
    if (!a || !b) {
        free(a);
        free(b);
        return KOS_E_NOMEM;
    }
    free(to->one);
    free(to->other);
    to->one = a;
    to->other = b;
    return 0;
}

struct klp_log *klp_log_clone(const struct klp_log *log)
{
    struct klp_log *clone = log_clone_to(log, log->count);
    if (!clone)
        return NULL;
    clone->frozen = log->frozen;
    clone->fork_at = log->fork_at;
    clone->fork_rank = log->fork_rank;
    if (log->one && log_copy_proof(clone, log->one, log->other) < 0) {
        klp_log_free(clone);
        return NULL;
    }
    return clone;
}
