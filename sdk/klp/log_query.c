/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions to a verified key event log.
 */
#include <klp/log.h>

#include <stdlib.h>

#include "log_private.h"

uint64_t klp_log_count(const struct klp_log *log)
{
    return log->count;
}

const struct klp_event *klp_log_event(const struct klp_log *log, uint64_t seq)
{
    return seq < log->count ? &log->entries[seq]->event : NULL;
}

struct kos_bytes klp_log_entry(const struct klp_log *log, uint64_t seq)
{
    return seq < log->count ? kos_bytes(log->entries[seq]->text, log->entries[seq]->len) : kos_bytes(NULL, 0);
}

const struct klp_event *klp_log_head(const struct klp_log *log)
{
    return log->count ? &log->entries[log->count - 1]->event : NULL;
}

const struct klp_id *klp_log_id(const struct klp_log *log)
{
    return log->count ? &log->entries[0]->event.id : NULL;
}

const struct klp_digest *klp_log_identity(const struct klp_log *log)
{
    return log->count ? &log->entries[0]->event.identity : NULL;
}

int32_t klp_log_kind(const struct klp_log *log)
{
    return log->count ? log->entries[0]->event.kind : 0;
}

bool klp_log_revoked(const struct klp_log *log)
{
    return log->count && log->entries[log->count - 1]->event.type == KLP_EVENT_REVOCATION;
}

bool klp_log_frozen(const struct klp_log *log)
{
    return log->frozen;
}

bool klp_log_duplicity(const struct klp_log *log, struct kos_bytes *ret_one, struct kos_bytes *ret_other)
{
    if (!log->one)
        return false;
    *ret_one = kos_bytes(log->one->text, log->one->len);
    *ret_other = kos_bytes(log->other->text, log->other->len);
    return true;
}

bool klp_log_delegator(const struct klp_log *log, struct klp_id *ret_id, struct klp_digest *ret_identity)
{
    if (klp_log_kind(log) != KLP_KIND_AGENT)
        return false;
    uint64_t at = log->count - 1;
    while (at && log->entries[at]->event.type != KLP_EVENT_HANDOVER)
        at--;
    *ret_id = log->entries[at]->event.subject;
    *ret_identity = log->entries[at]->event.subject_digest;
    return true;
}

bool klp_log_delegates(const struct klp_log *log, const struct klp_id *agent, const struct klp_digest *identity)
{
    for (uint64_t i = 1; i < log->count; i++) {
        const struct klp_event *event = &log->entries[i]->event;
        if (event->type == KLP_EVENT_DELEGATION && klp_id_eq(&event->subject, agent)
            && memcmp(&event->subject_digest, identity, sizeof *identity) == 0)
            return true;
    }
    return false;
}

int32_t klp_log_key(const struct klp_log *log, uint64_t seq, struct klp_public *ret_key)
{
    if (seq >= log->count)
        return KOS_E_NOTFOUND;
    const struct klp_event *event = &log->entries[log->entries[seq]->key_at]->event;
    if (event->type == KLP_EVENT_REVOCATION)
        return KOS_E_REVOKED;
    *ret_key = event->key;
    return 0;
}

/* The first event after `seq` that ended its key; the key is known to have ended. */
static const struct klp_event *ended_by(const struct klp_log *log, uint64_t seq)
{
    uint64_t low = seq + 1, high = log->count - 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (log->entries[middle]->key_at > seq)
            high = middle;
        else
            low = middle + 1;
    }
    return &log->entries[low]->event;
}

int32_t klp_log_may_sign(const struct klp_log *log, uint64_t seq, int64_t created, int64_t now)
{
    if (seq >= log->count)
        return KOS_E_NOTFOUND;
    if (log->frozen)
        return KOS_E_FROZEN;
    if (log->entries[seq]->event.type == KLP_EVENT_REVOCATION)
        return KOS_E_REVOKED;
    if (log->entries[log->count - 1]->key_at <= seq)
        return 0;
    const struct klp_event *end = ended_by(log, seq);
    int32_t over = end->type == KLP_EVENT_REVOCATION ? KOS_E_REVOKED : KOS_E_EXPIRED;
    if (end->compromised || created >= end->created)
        return over;
    /* Both are at most 2^53 - 1, as all JSON integers are: no overflow. */
    return now < end->created + end->grace_ms ? 0 : over;
}

int32_t klp_log_text(const struct klp_log *log, uint64_t from_seq, uint8_t **ret_data, size_t *ret_len)
{
    size_t len = 0;
    for (uint64_t i = from_seq; i < log->count; i++)
        len += log->entries[i]->len + 1;
    uint8_t *data = malloc(len ? len : 1), *at = data;
    if (!data)
        return KOS_E_NOMEM;
    for (uint64_t i = from_seq; i < log->count; i++) {
        memcpy(at, log->entries[i]->text, log->entries[i]->len);
        at += log->entries[i]->len;
        *at++ = '\n';
    }
    *ret_data = data;
    *ret_len = len;
    return 0;
}
