/* SPDX-License-Identifier: Apache-2.0
 *
 * Key event logs: chains of events, each verified against the state that the one before it left, and what happens when
 * two branches part at one place (klp/log.h, "Ranks").
 */
#include <klp/log.h>

#include <stdlib.h>

#include "log_private.h"

static int rank_of(const struct klp_event *event)
{
    if (event->type == KLP_EVENT_DELEGATION)
        return RANK_CURRENT;
    if (!event->by_recovery)
        return RANK_NEXT;
    return event->type == KLP_EVENT_REVOCATION ? RANK_FINAL : RANK_RECOVERY;
}

/* How the branch from `seq` on ranks; with a duplicity in it, at least as that. */
static int branch_rank(const struct klp_log *log, uint64_t seq)
{
    int rank = log->frozen && log->fork_at >= seq ? log->fork_rank : RANK_NONE;
    for (uint64_t i = seq; i < log->count; i++) {
        int here = rank_of(&log->entries[i]->event);
        if (here > rank)
            rank = here;
    }
    return rank;
}

static int32_t check_signature(const struct klp_public *key, const struct klp_event *event, struct kos_error *ret_error)
{
    if (klp_verify(key, KLP_TAG_EVENT, event->body, kos_bytes(event->signature_bytes, KLP_SIGNATURE_LEN)) < 0)
        return kos_fail(ret_error, KOS_E_SIGNATURE, "event %llu: the signature does not verify",
                        (unsigned long long)event->seq);
    return 0;
}

/* The key that must have signed `event`, which follows `before`. */
static int32_t signer_of(const struct klp_log *log, const struct entry *before, const struct klp_event *event,
                         const struct klp_public **ret_key, struct kos_error *ret_error)
{
    const struct klp_event *current = &log->entries[before->key_at]->event;
    if (event->type == KLP_EVENT_DELEGATION) {
        *ret_key = &current->key;
        return 0;
    }
    if (event->by_recovery) {
        if (before->recovery_at == NO_EVENT)
            return kos_fail(ret_error, KOS_E_KEY,
                            "event %llu claims the recovery key, and the log names none before it",
                            (unsigned long long)event->seq);
        *ret_key = &log->entries[before->recovery_at]->event.recovery;
        return 0;
    }
    struct klp_digest digest;
    klp_public_digest(&event->signer, &digest);
    if (memcmp(&digest, &current->next, sizeof digest) != 0)
        return kos_fail(ret_error, KOS_E_KEY, "event %llu is not signed by the key that event %llu committed to",
                        (unsigned long long)event->seq, (unsigned long long)before->key_at);
    *ret_key = &event->signer;
    return 0;
}

static bool equal_keys(const struct klp_public *a, const struct klp_public *b)
{
    return a->alg == b->alg && a->len == b->len && memcmp(a->b, b->b, a->len) == 0;
}

static int32_t check_recovery(const struct klp_log *log, const struct entry *before, const struct klp_event *event,
                              struct kos_error *ret_error)
{
    if (before->recovery_at == NO_EVENT)
        return 0;
    const struct klp_public *recovery = &log->entries[before->recovery_at]->event.recovery;
    if (event->has_recovery && !event->by_recovery && !equal_keys(recovery, &event->recovery))
        return kos_fail(ret_error, KOS_E_KEY, "event %llu names another recovery key: only the recovery key itself can",
                        (unsigned long long)event->seq);
    if (event->key.len && equal_keys(recovery, &event->key))
        return kos_fail(ret_error, KOS_E_KEY,
                        "event %llu makes the recovery key a signing key: a recovery key stays offline",
                        (unsigned long long)event->seq);
    return 0;
}

static int32_t check_handover(const struct klp_log *log, const struct klp_event *event, struct kos_error *ret_error)
{
    struct klp_acceptance acceptance;
    int32_t error = klp_acceptance_parse(event->acceptance, &acceptance, ret_error);
    if (error < 0)
        return error;
    if (memcmp(&acceptance.agent_identity, &log->entries[0]->event.identity, sizeof acceptance.agent_identity) != 0)
        return kos_fail(ret_error, KOS_E_MISADDRESSED, "event %llu embeds the acceptance of another agent",
                        (unsigned long long)event->seq);
    if (klp_acceptance_verify(&acceptance) < 0)
        return kos_fail(ret_error, KOS_E_SIGNATURE, "event %llu: the acceptance is not signed by the key that it names",
                        (unsigned long long)event->seq);
    return 0;
}

/* Whether `event` may follow the entry at its seq - 1, which exists. */
static int32_t check_event(const struct klp_log *log, const struct klp_event *event, struct kos_error *ret_error)
{
    const struct entry *before = log->entries[event->seq - 1];
    unsigned long long seq = event->seq;
    if (memcmp(&event->prior, &before->event.digest, sizeof event->prior) != 0)
        return kos_fail(ret_error, KOS_E_GAP,
                        "event %llu follows another event %llu than the one held here: ask for the whole log", seq,
                        seq - 1);
    if (before->event.type == KLP_EVENT_REVOCATION)
        return kos_fail(ret_error, KOS_E_REVOKED, "event %llu comes after the revocation, which is final", seq);
    int32_t kind = log->entries[0]->event.kind;
    if (event->type == KLP_EVENT_DELEGATION && kind != KLP_KIND_NODE)
        return kos_fail(ret_error, KOS_E_INVALID, "event %llu is a delegation: only a node delegates", seq);
    if (event->type == KLP_EVENT_HANDOVER && kind != KLP_KIND_AGENT)
        return kos_fail(ret_error, KOS_E_INVALID, "event %llu is a handover: only an agent is handed over", seq);
    const struct klp_public *key = NULL;
    int32_t error = signer_of(log, before, event, &key, ret_error);
    if (!error)
        error = check_signature(key, event, ret_error);
    if (!error)
        error = check_recovery(log, before, event, ret_error);
    if (!error && event->type == KLP_EVENT_HANDOVER)
        error = check_handover(log, event, ret_error);
    return error;
}

/* 1: verified and new; 0: known; or an error. Decides nothing between branches. */
static int32_t examine(const struct klp_log *log, const struct klp_event *event, struct kos_error *ret_error)
{
    unsigned long long seq = event->seq;
    if (event->seq < log->count
        && memcmp(&log->entries[event->seq]->event.digest, &event->digest, sizeof event->digest) == 0)
        return 0;
    if (log->count && (event->seq == 0 || !klp_id_eq(&event->id, klp_log_id(log))))
        return kos_fail(ret_error, KOS_E_MISADDRESSED, "event %llu belongs to the log of another identity", seq);
    if (event->seq >= KLP_LOG_EVENTS_MAX)
        return kos_fail(ret_error, KOS_E_LIMIT, "event %llu: a log has at most %d events", seq, KLP_LOG_EVENTS_MAX);
    if (event->seq > log->count)
        return kos_fail(ret_error, KOS_E_GAP, "event %llu: event %llu is missing before it", seq,
                        (unsigned long long)log->count);
    int32_t error =
        event->seq == 0 ? check_signature(&event->key, event, ret_error) : check_event(log, event, ret_error);
    return error < 0 ? error : 1;
}

static int32_t freeze(struct klp_log *log, struct entry *other, int rank, struct kos_error *ret_error)
{
    uint64_t seq = other->event.seq;
    int32_t error = log_copy_proof(log, log->entries[seq], other);
    free(other);
    if (error < 0)
        return kos_fail(ret_error, error, "no memory to keep the proof of duplicity");
    log->frozen = true;
    log->fork_at = seq;
    log->fork_rank = rank;
    return kos_fail(ret_error, KOS_E_DUPLICITY,
                    "two different events %llu are validly signed: the identity is frozen here and both are kept",
                    (unsigned long long)seq);
}

/* A verified event at a place that is taken, or on a frozen log: which branch stands. */
static int32_t weigh(struct klp_log *log, struct entry *entry, struct kos_error *ret_error)
{
    const struct klp_event *event = &entry->event;
    unsigned long long seq = event->seq;
    int rank = rank_of(event), held = branch_rank(log, event->seq);
    bool taken = event->seq < log->count;
    if (rank > held && (!log->frozen || rank > log->fork_rank)) {
        log_cut(log, event->seq);
        log->frozen = false;
        int32_t error = log_push(log, entry);
        return error < 0 ? error : taken ? KLP_LOG_SUPERSEDED : KLP_LOG_APPENDED;
    }
    if (taken && rank == held && rank < RANK_FINAL && !log->frozen)
        return freeze(log, entry, rank, ret_error);
    bool same = log->frozen && memcmp(&event->digest, &log->other->event.digest, sizeof event->digest) == 0;
    free(entry);
    if (same)
        return kos_fail(ret_error, KOS_E_DUPLICITY, "event %llu is the other side of a duplicity that is known", seq);
    if (rank < held)
        return kos_fail(ret_error, KOS_E_STALE, "event %llu is superseded by what the log holds at its place", seq);
    if (klp_log_revoked(log) && !log->frozen)
        return kos_fail(ret_error, KOS_E_REVOKED, "event %llu comes after the revocation, which is final", seq);
    return kos_fail(ret_error, KOS_E_FROZEN, "event %llu: the identity is frozen after duplicity at event %llu", seq,
                    (unsigned long long)log->fork_at);
}

static int32_t take(struct klp_log *log, const struct klp_event *event, struct kos_bytes text,
                    struct kos_error *ret_error)
{
    int32_t error = examine(log, event, ret_error);
    if (error <= 0)
        return error < 0 ? error : KLP_LOG_KNOWN;
    struct entry *entry = log_entry_new(event, text);
    if (!entry)
        return kos_fail(ret_error, KOS_E_NOMEM, "no memory for an event");
    if (log->frozen || event->seq < log->count)
        return weigh(log, entry, ret_error);
    error = log_push(log, entry);
    return error < 0 ? kos_fail(ret_error, error, "no memory for an event") : KLP_LOG_APPENDED;
}

int32_t klp_log_append(struct klp_log *log, struct kos_bytes entry, struct kos_error *ret_error)
{
    struct klp_event event;
    int32_t error = klp_event_parse(entry, &event, ret_error);
    return error < 0 ? error : take(log, &event, entry, ret_error);
}

/* The next line, without its newline. 1, 0 at the end, or an error: a line without its newline is cut off. */
static int32_t next_line(struct kos_bytes *rest, struct kos_bytes *ret_line, struct kos_error *ret_error)
{
    if (!rest->len)
        return 0;
    const uint8_t *end = memchr(rest->data, '\n', rest->len);
    if (!end)
        return kos_fail(ret_error, KOS_E_SYNTAX, "the log's last line has no end: the text is cut off");
    *ret_line = kos_bytes(rest->data, (size_t)(end - rest->data));
    *rest = kos_bytes(end + 1, rest->len - ret_line->len - 1);
    return 1;
}

/* `rest` begins with a verified event that is not ours: takes its branch up to the first error, and keeps it when it
 * outranks ours. Returns the number of its events; 0 when ours stands or the branch decides nothing that its first
 * event alone does not. */
static int32_t weigh_branch(struct klp_log *log, uint64_t seq, struct kos_bytes rest, struct kos_error *ret_error)
{
    struct kos_bytes line;
    struct klp_event event;
    struct klp_log *branch = log_clone_to(log, seq);
    if (!branch)
        return kos_fail(ret_error, KOS_E_NOMEM, "no memory to weigh another branch of a log");
    while (next_line(&rest, &line, NULL) == 1 && klp_event_parse(line, &event, NULL) == 0 && event.seq == branch->count)
        if (take(branch, &event, line, NULL) != KLP_LOG_APPENDED)
            break;
    int theirs = branch_rank(branch, seq), ours = branch_rank(log, seq);
    uint64_t events = branch->count - seq;
    int32_t result = 0;
    if (events > 1 && theirs > ours && (!log->frozen || theirs > log->fork_rank)) {
        struct klp_log old = *log;
        log->entries = branch->entries;
        log->count = branch->count;
        log->cap = branch->cap;
        log->frozen = false;
        branch->entries = old.entries;
        branch->count = old.count;
        branch->cap = old.cap;
        result = (int32_t)events;
    } else if (events > 1 && theirs == ours && theirs > rank_of(&branch->entries[seq]->event) && theirs < RANK_FINAL
               && !log->frozen) {
        struct entry *other = log_entry_clone(branch->entries[seq]);
        result =
            other ? freeze(log, other, theirs, ret_error) : kos_fail(ret_error, KOS_E_NOMEM, "no memory for an event");
    }
    klp_log_free(branch);
    return result;
}

int32_t klp_log_append_text(struct klp_log *log, struct kos_bytes text, struct kos_error *ret_error)
{
    struct kos_bytes rest = text, line;
    struct klp_event event;
    int32_t new_count = 0, error;
    for (;;) {
        struct kos_bytes from = rest;
        error = next_line(&rest, &line, ret_error);
        if (error <= 0)
            return error < 0 ? error : new_count;
        error = klp_event_parse(line, &event, ret_error);
        if (error < 0)
            return error;
        if (event.seq && (event.seq < log->count || log->frozen)) {
            error = examine(log, &event, ret_error);
            if (error > 0)
                error = weigh_branch(log, event.seq, from, ret_error);
            if (error < 0)
                return error;
            new_count += error; /* the lines of a branch that was taken are known from here on */
        }
        error = take(log, &event, line, ret_error);
        if (error < 0)
            return error;
        new_count += error != KLP_LOG_KNOWN;
    }
}
