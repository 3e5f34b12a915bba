/* SPDX-License-Identifier: Apache-2.0
 * Others' key event logs: learned, stored event by event, parsed again when asked for. */
#include "trust/trust_private.h"

#include <stdlib.h>

#include "core/buf.h"

#define PROOF_SEQ UINT64_MAX

enum { EVENT_KEY = KLP_ID_LEN + 8, EVICT_TRIES = 64 };

static void event_key(const struct klp_id *id, uint64_t seq, uint8_t key[EVENT_KEY])
{
    memcpy(key, id->b, KLP_ID_LEN);
    trust_put_u64(key + KLP_ID_LEN, seq);
}

static void drop(struct kos_trust *trust, struct trust_log *entry)
{
    HASH_DEL(trust->logs, entry);
    entry->next = trust->dropped;
    trust->dropped = entry;
}

void trust_logs_fini(struct kos_trust *trust)
{
    struct trust_log *entry, *next;
    HASH_ITER(hh, trust->logs, entry, next)
        drop(trust, entry);
}

static struct klp_log *keep(struct kos_trust *trust, const struct klp_id *id, struct klp_log *log)
{
    if (HASH_COUNT(trust->logs) >= trust->cache_max)
        drop(trust, trust->logs); /* the table is in order of use */
    struct trust_log *entry = kos_new(sizeof *entry);
    entry->id = *id;
    entry->log = log;
    HASH_ADD(hh, trust->logs, id, sizeof entry->id, entry);
    return log;
}

struct loading {
    struct klp_log *log;
    int32_t rc;
};

static bool load_event(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct loading *loading = arg;
    int32_t rc = klp_log_append(loading->log, value, NULL);
    /* The proof comes last, and is meant to freeze. */
    bool proof = trust_get_u64(key.data + KLP_ID_LEN) == PROOF_SEQ;
    if (rc < 0 && !proof)
        loading->rc = rc;
    return loading->rc == KOS_OK;
}

static struct klp_log *load(struct kos_trust *trust, const struct klp_id *id)
{
    uint8_t *text;
    size_t len;
    if (trust_read(trust, "log", trust_id_bytes(id), &text, &len) < 0)
        return NULL;
    struct loading loading = { .log = klp_log_new() };
    if (!loading.log) {
        free(text);
        return NULL;
    }
    loading.rc = klp_log_append(loading.log, kos_bytes(text, len), NULL);
    free(text);
    if (loading.rc >= 0 && !klp_id_eq(klp_log_id(loading.log), id))
        loading.rc = KOS_E_CORRUPT;
    int32_t rc = KOS_OK;
    if (loading.rc >= 0)
        rc = kos_store_scan(trust->store, "event", trust_id_bytes(id), kos_bytes(NULL, 0), load_event, &loading);
    if (rc < 0) { /* half a log is none: its end may be a revocation */
        trust->unread = rc;
        klp_log_free(loading.log);
        return NULL;
    }
    if (loading.rc < 0) {
        char name[KLP_ID_TEXT];
        klp_id_text(id, name);
        kos_log(trust->env, KOS_LOG_ERROR, "trust", "the stored log of %s does not verify (%s): it is ignored", name,
                kos_error_name(loading.rc));
        klp_log_free(loading.log);
        return NULL;
    }
    return loading.log;
}

static struct klp_log *get(struct kos_trust *trust, const struct klp_id *id)
{
    struct trust_log *entry;
    HASH_FIND(hh, trust->logs, id, sizeof *id, entry);
    if (entry) {
        HASH_DEL(trust->logs, entry);
        HASH_ADD(hh, trust->logs, id, sizeof entry->id, entry);
        return entry->log;
    }
    struct klp_log *log = load(trust, id);
    return log ? keep(trust, id, log) : NULL;
}

const struct klp_log *kos_trust_log(struct kos_trust *trust, const struct klp_id *id)
{
    const struct kos_identity *own = kos_keys_find(trust->keys, id);
    return own ? kos_identity_log(own) : get(trust, id);
}

/* Whether the node's log holds the delegation; remembered for as long as that log does not change. */
static bool node_says(struct kos_trust *trust, const struct klp_log *node, const struct klp_log *agent)
{
    struct trust_log *entry;
    const struct klp_id *id = klp_log_id(agent);
    const struct klp_event *head = klp_log_head(node);
    HASH_FIND(hh, trust->logs, id, sizeof *id, entry);
    if (entry && entry->node_count == klp_log_count(node) &&
        memcmp(&entry->node_head, &head->digest, sizeof head->digest) == 0)
        return entry->delegated;
    bool delegated = klp_log_delegates(node, id, klp_log_identity(agent));
    if (entry) {
        entry->node_count = klp_log_count(node);
        entry->node_head = head->digest;
        entry->delegated = delegated;
    }
    return delegated;
}

static bool delegated_by(struct kos_trust *trust, const struct klp_log *agent, struct klp_id *ret_node)
{
    struct klp_id node;
    struct klp_digest identity;
    if (!klp_log_delegator(agent, &node, &identity))
        return false;
    const struct klp_log *log = kos_trust_log(trust, &node);
    if (!log || klp_log_kind(log) != KLP_KIND_NODE || klp_log_revoked(log) || klp_log_frozen(log))
        return false;
    /* The agent names its node by the full digest, and the node the agent: either alone proves nothing. */
    if (memcmp(klp_log_identity(log), &identity, sizeof identity) != 0 || !node_says(trust, log, agent))
        return false;
    *ret_node = node;
    return true;
}

bool trust_host_of(struct kos_trust *trust, const struct klp_id *id, struct klp_id *ret_node)
{
    const struct klp_log *log = kos_trust_log(trust, id);
    return log && klp_log_kind(log) == KLP_KIND_AGENT && delegated_by(trust, log, ret_node);
}

bool trust_is_kept(struct kos_trust *trust, const struct klp_id *id)
{
    uint8_t *value;
    size_t len;
    if (kos_keys_find(trust->keys, id) || kos_trust_name_of(trust, id)[0])
        return true;
    int32_t rc = trust_read(trust, "word", trust_id_bytes(id), &value, &len);
    if (rc >= 0)
        free(value);
    return rc != KOS_E_NOTFOUND; /* nor what cannot be read now */
}

struct victim {
    struct kos_trust *trust;
    struct klp_id ids[EVICT_TRIES];
    size_t count;
};

static bool note_victim(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct victim *victim = arg;
    (void)value;
    memcpy(victim->ids[victim->count++].b, key.data, KLP_ID_LEN);
    return victim->count < EVICT_TRIES;
}

struct deletion {
    struct kos_tx *tx;
    const char *space;
};

static bool delete_key(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct deletion *deletion = arg;
    (void)value;
    kos_tx_delete(deletion->tx, deletion->space, key);
    return true;
}

static void forget(struct kos_trust *trust, struct kos_tx *tx, const struct klp_id *id)
{
    struct deletion events = { tx, "event" };
    struct trust_log *entry;
    kos_store_scan(trust->store, "event", trust_id_bytes(id), kos_bytes(NULL, 0), delete_key, &events);
    kos_tx_delete(tx, "log", trust_id_bytes(id));
    HASH_FIND(hh, trust->logs, id, sizeof *id, entry);
    if (entry)
        drop(trust, entry);
}

/* Room for one more: a stranger's log found at a random place goes. It can be asked for again. Frozen ones stay: the
 * proof of duplicity is what must not be forgotten. */
static int32_t make_room(struct kos_trust *trust, struct kos_tx *tx, struct kos_error *ret_error)
{
    if (kos_store_count(trust->store, "log") < trust->logs_max)
        return KOS_OK;
    struct victim victim = { .trust = trust };
    struct klp_id from, host;
    kos_random(trust->env, from.b, sizeof from.b);
    kos_store_scan(trust->store, "log", kos_bytes(NULL, 0), trust_id_bytes(&from), note_victim, &victim);
    if (victim.count < EVICT_TRIES)
        kos_store_scan(trust->store, "log", kos_bytes(NULL, 0), kos_bytes(NULL, 0), note_victim, &victim);
    for (size_t i = 0; i < victim.count; i++) {
        const struct klp_id *id = &victim.ids[i];
        const struct klp_log *log = get(trust, id);
        if (trust_is_kept(trust, id) || (log && klp_log_frozen(log)) ||
            (trust_host_of(trust, id, &host) && trust_is_kept(trust, &host)))
            continue;
        forget(trust, tx, id);
        return KOS_OK;
    }
    return kos_fail(ret_error, KOS_E_LIMIT, "%zu key event logs are held here, and none of a stranger can be dropped",
                    trust->logs_max);
}

/* Writes how `log` differs from what is stored, which is `before` (NULL: nothing). */
static void store_changes(struct kos_tx *tx, const struct klp_log *before, const struct klp_log *log)
{
    uint8_t key[EVENT_KEY];
    struct kos_bytes one, other, old;
    const struct klp_id *id = klp_log_id(log);
    uint64_t count = klp_log_count(log), old_count = before ? klp_log_count(before) : 0;
    if (!before)
        kos_tx_put(tx, "log", trust_id_bytes(id), klp_log_entry(log, 0));
    for (uint64_t seq = 1; seq < count || seq < old_count; seq++) {
        event_key(id, seq, key);
        if (seq >= count)
            kos_tx_delete(tx, "event", kos_bytes(key, sizeof key));
        else if (seq >= old_count || !kos_bytes_eq(klp_log_entry(before, seq), klp_log_entry(log, seq)))
            kos_tx_put(tx, "event", kos_bytes(key, sizeof key), klp_log_entry(log, seq));
    }
    event_key(id, PROOF_SEQ, key);
    if (klp_log_duplicity(log, &one, &other) && !(before && klp_log_duplicity(before, &one, &old)))
        kos_tx_put(tx, "event", kos_bytes(key, sizeof key), other);
}

/* Two sides of a duplicity, kept by a transaction of its own: the caller's may be taken back. */
static void keep_proof(struct kos_trust *trust, const struct klp_log *before, const struct klp_log *log)
{
    char id[KLP_ID_TEXT];
    struct kos_tx *tx = kos_tx_begin(trust->store);
    store_changes(tx, before, log);
    klp_id_text(klp_log_id(log), id);
    if (kos_tx_commit(tx, NULL, NULL) < 0)
        kos_log(trust->env, KOS_LOG_ERROR, "trust", "the proof of duplicity of %s cannot be stored", id);
    kos_log(trust->env, KOS_LOG_WARNING, "trust",
            "%s signed two different events for one place: it is frozen here, nothing of it is accepted any more", id);
}

/* Our own log from somebody else: nothing to learn, but what we never signed is an alarm. */
static int32_t learn_own(struct kos_trust *trust, const struct kos_identity *own, struct kos_bytes text,
                         struct kos_error *ret_error)
{
    char id[KLP_ID_TEXT];
    struct klp_log *copy = klp_log_clone(kos_identity_log(own));
    struct kos_error why;
    if (!copy)
        return kos_fail(ret_error, KOS_E_NOMEM, "no memory for a log");
    int32_t rc = klp_log_append_text(copy, text, &why);
    klp_log_free(copy);
    klp_id_text(kos_identity_id(own), id);
    if (rc > 0 || rc == KOS_E_DUPLICITY) {
        if (kos_log_limit_pass(trust->said, "own", NULL))
            kos_log(trust->env, KOS_LOG_ERROR, "trust",
                    "an event of our own identity %s arrived that was not signed here: its keys are in other hands, or "
                    "an old backup was restored", id);
        return kos_fail(ret_error, KOS_E_DUPLICITY, "an event of %s that this node did not sign", id);
    }
    return rc < 0 ? kos_fail(ret_error, rc, "%s", why.text) : 0;
}

static int32_t first_id(struct kos_bytes text, struct klp_id *ret_id, struct kos_error *ret_error)
{
    const uint8_t *end = text.len ? memchr(text.data, '\n', text.len) : NULL;
    struct klp_event event;
    if (!end)
        return kos_fail(ret_error, KOS_E_SYNTAX, "a log's text is empty or its first line has no end");
    int32_t rc = klp_event_parse(kos_bytes(text.data, (size_t)(end - text.data)), &event, ret_error);
    if (rc == KOS_OK)
        *ret_id = event.id;
    return rc;
}

static int32_t learn_new(struct kos_trust *trust, struct kos_tx *tx, const struct klp_id *id, struct kos_bytes text,
                         struct kos_error *ret_error)
{
    struct klp_log *log = klp_log_new();
    if (!log)
        return kos_fail(ret_error, KOS_E_NOMEM, "no memory for a log");
    int32_t rc = klp_log_append_text(log, text, ret_error);
    if (klp_log_count(log) == 0) {
        klp_log_free(log);
        return rc < 0 ? rc : 0;
    }
    int32_t room = make_room(trust, tx, ret_error);
    if (room < 0) {
        klp_log_free(log);
        return room;
    }
    if (rc == KOS_E_DUPLICITY)
        keep_proof(trust, NULL, log);
    else
        store_changes(tx, NULL, log);
    trust_pin(trust, tx, log);
    int32_t count = (int32_t)klp_log_count(log);
    keep(trust, id, log);
    return rc < 0 ? rc : count;
}

int32_t kos_trust_learn(struct kos_trust *trust, struct kos_tx *tx, struct kos_bytes log_text, struct klp_id *ret_id,
                        struct kos_error *ret_error)
{
    struct klp_id id;
    int32_t rc = first_id(log_text, &id, ret_error);
    if (rc < 0)
        return rc;
    const struct kos_identity *own = kos_keys_find(trust->keys, &id);
    trust->unread = KOS_OK;
    struct klp_log *log = own ? NULL : get(trust, &id);
    if (trust->unread < 0)
        return kos_fail(ret_error, trust->unread, "what is known of this identity cannot be read from the store: %s",
                        kos_error_text(trust->unread));
    if (own) {
        rc = learn_own(trust, own, log_text, ret_error);
    } else if (!log) {
        rc = learn_new(trust, tx, &id, log_text, ret_error);
    } else {
        struct klp_log *before = klp_log_clone(log);
        if (!before)
            return kos_fail(ret_error, KOS_E_NOMEM, "no memory for a log");
        bool frozen = klp_log_frozen(log);
        rc = klp_log_append_text(log, log_text, ret_error);
        if (klp_log_frozen(log) && !frozen)
            keep_proof(trust, before, log);
        else
            store_changes(tx, before, log);
        if (klp_log_head(log)->seq < klp_log_head(before)->seq ||
            memcmp(&klp_log_event(log, klp_log_head(before)->seq)->digest, &klp_log_head(before)->digest,
                   sizeof(struct klp_digest)) != 0)
            trust_statements_recheck(trust, tx, log); /* events were superseded */
        klp_log_free(before);
    }
    if (rc >= 0)
        *ret_id = id;
    return rc;
}
