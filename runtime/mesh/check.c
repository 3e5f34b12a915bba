/* SPDX-License-Identifier: Apache-2.0
 * What the mesh keeps in a store that no node has open: that each value reads, and that what is kept twice agrees. What is
 * missing and can be made again from the rest is, when a repair asks for it.
 *
 *   outbox   entry reads; its body is the message that it says; what has not expired may be answered ("asked")
 *   handed   of an entry that waits
 *   ended    reads, and is not waiting any more
 *   inbox    reads; what has not expired is remembered ("dedupe"), by the digest of this very body
 *   expiry   speaks of something remembered, and everything remembered has its end there
 */
#include <stdlib.h>
#include <uthash.h>

#include "mesh/mesh_private.h"

struct ended {
    uint8_t key[1 + 2 * KLP_ID_LEN];
    UT_hash_handle hh;
};

struct check {
    struct kos_store *store;
    const struct kos_store_checker *checker;
    int64_t time; /* as on disk: what expired before it may be forgotten */
    uint64_t done, total, with_end;
    struct ended *ends; /* built when something has none */
};

static bool has(struct check *check, const char *space, struct kos_bytes key)
{
    uint8_t *value;
    size_t len;
    if (kos_store_get(check->store, space, key, &value, &len) < 0)
        return false;
    free(value);
    return true;
}

static void step(struct check *check, const char *what)
{
    if (++check->done % 4096 == 0)
        kos_store_progress(check->checker, what, check->done, check->total);
}

static uint64_t seq_of(struct kos_bytes key)
{
    struct unpack in = { key, false };
    return unpack_uint(&in, 8);
}

static void found(struct check *check, int32_t mend, const char *space, struct kos_bytes key, const char *text)
{
    char hex[2 * 64 + 1];
    klp_hex(kos_bytes(key.data, key.len < 64 ? key.len : 64), hex);
    kos_store_found(check->checker, mend, space, "entry %s %s", hex, text);
}

/* ---- going out ---- */

static bool outbox_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct check *check = arg;
    struct klp_message message;
    struct mesh_entry *entry = key.len == 8 ? mesh_entry_read(seq_of(key), value) : NULL;
    step(check, "outbox");
    if (!entry) {
        found(check, KOS_MEND_NONE, "outbox", key, "cannot be read");
        return true;
    }
    struct kos_bytes body = kos_bytes(value.data + value.len - entry->bytes, (size_t)entry->bytes);
    if (klp_message_parse(body, &message, NULL) < 0)
        found(check, KOS_MEND_NONE, "outbox", key, "holds no valid message");
    else if (!klp_id_eq(&message.id, &entry->id) || !klp_id_eq(&message.source_id, &entry->signer) ||
             message.expires != entry->expires || strcmp(message.type, entry->type) != 0)
        found(check, KOS_MEND_NONE, "outbox", key, "says another id, signer, type or time than its message");
    else if (message.expires >= check->time && !has(check, "asked", kos_bytes(entry->id.b, sizeof entry->id.b))) {
        found(check, KOS_MEND_REPAIR, "outbox", key, "is not among the messages that may be answered");
        if (check->checker->tx)
            mesh_asked_put(check->checker->tx, &entry->id, &entry->node, entry->expires);
    }
    mesh_entry_free(entry);
    return true;
}

static bool handed_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct check *check = arg;
    (void)value;
    step(check, "handed");
    if (key.len == 8 && has(check, "outbox", key))
        return true;
    found(check, KOS_MEND_START, "handed", key, "speaks of no message that waits");
    if (check->checker->tx)
        kos_tx_delete(check->checker->tx, "handed", key);
    return true;
}

static bool ended_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct check *check = arg;
    struct mesh_entry *entry = key.len == 8 ? mesh_ended_read(seq_of(key), value) : NULL;
    step(check, "ended");
    if (!entry)
        found(check, KOS_MEND_NONE, "ended", key, "cannot be read");
    else if (has(check, "outbox", key))
        found(check, KOS_MEND_NONE, "ended", key, "is the outcome of a message that waits still");
    if (entry)
        mesh_entry_free(entry);
    return true;
}

/* ---- coming in ---- */

static void inbox_message(struct check *check, struct kos_bytes key, const struct mesh_stored *stored,
                          const struct klp_message *message)
{
    uint8_t dedupe[2 * KLP_ID_LEN], *digest;
    size_t len;
    memcpy(dedupe, message->source_id.b, KLP_ID_LEN);
    memcpy(dedupe + KLP_ID_LEN, message->id.b, KLP_ID_LEN);
    if (kos_store_get(check->store, "dedupe", kos_bytes(dedupe, sizeof dedupe), &digest, &len) < 0) {
        if (message->expires < check->time)
            return;
        found(check, KOS_MEND_REPAIR, "inbox", key, "is not remembered: a repeat of it would be taken for new");
        if (check->checker->tx)
            mesh_dedupe_put(check->checker->tx, message, &stored->peer);
        return;
    }
    if (len != sizeof message->digest.b || memcmp(digest, message->digest.b, len) != 0)
        found(check, KOS_MEND_NONE, "inbox", key, "holds another message than the one that was acknowledged");
    free(digest);
}

static bool inbox_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct check *check = arg;
    struct mesh_stored stored;
    struct klp_message message;
    step(check, "inbox");
    if (key.len != 8 || !mesh_stored_unpack(value, &stored))
        found(check, KOS_MEND_NONE, "inbox", key, "cannot be read");
    else if (klp_message_parse(stored.body, &message, NULL) < 0)
        found(check, KOS_MEND_NONE, "inbox", key, "holds no valid message");
    else
        inbox_message(check, key, &stored, &message);
    return true;
}

/* ---- remembered for a while ---- */

static bool expiry_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct check *check = arg;
    uint8_t kind = key.len > 9 ? key.data[8] : 0;
    struct kos_bytes what = kos_bytes(key.data + 9, key.len > 9 ? key.len - 9 : 0);
    step(check, "expiry");
    size_t wanted = kind == MESH_EXPIRY_DEDUPE ? 2 * KLP_ID_LEN : kind == MESH_EXPIRY_ASKED ? KLP_ID_LEN : 0;
    if (value.len != KLP_ID_LEN || !wanted || what.len != wanted) {
        found(check, KOS_MEND_NONE, "expiry", key, "cannot be read");
        return true;
    }
    if (has(check, kind == MESH_EXPIRY_DEDUPE ? "dedupe" : "asked", what)) {
        check->with_end++;
        return true;
    }
    found(check, KOS_MEND_REPAIR, "expiry", key, "speaks of nothing that is remembered");
    if (check->checker->tx)
        kos_tx_delete(check->checker->tx, "expiry", key);
    return true;
}

static bool note_end(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct check *check = arg;
    struct ended *ended = kos_new(sizeof *ended), *other;
    (void)value;
    memcpy(ended->key, key.data + 8, key.len - 8 < sizeof ended->key ? key.len - 8 : sizeof ended->key);
    HASH_FIND(hh, check->ends, ended->key, sizeof ended->key, other);
    if (other)
        free(ended);
    else
        HASH_ADD(hh, check->ends, key, sizeof ended->key, ended);
    return true;
}

static void needs_end(struct check *check, uint8_t kind, const char *space, struct kos_bytes key)
{
    struct ended *ended;
    uint8_t full[8 + 1 + 2 * KLP_ID_LEN] = { 0 };
    full[8] = kind;
    memcpy(full + 9, key.data, key.len);
    HASH_FIND(hh, check->ends, full + 8, sizeof full - 8, ended);
    if (ended)
        return;
    found(check, KOS_MEND_REPAIR, space, key, "would be remembered for ever");
    if (!check->checker->tx)
        return;
    /* Nothing lives longer than that. */
    mesh_entry_key((uint64_t)check->time + KLP_MESSAGE_LIFE_MAX_MS, full);
    kos_tx_put(check->checker->tx, "expiry", kos_bytes(full, 9 + key.len), kos_bytes(key.data, KLP_ID_LEN));
}

static bool dedupe_end(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    (void)value;
    if (key.len == 2 * KLP_ID_LEN)
        needs_end(arg, MESH_EXPIRY_DEDUPE, "dedupe", key);
    return true;
}

static bool asked_end(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    (void)value;
    if (key.len == KLP_ID_LEN)
        needs_end(arg, MESH_EXPIRY_ASKED, "asked", key);
    return true;
}

static bool dedupe_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct check *check = arg;
    step(check, "dedupe");
    if (key.len != 2 * KLP_ID_LEN || value.len != KLP_DIGEST_LEN)
        found(check, KOS_MEND_NONE, "dedupe", key, "cannot be read");
    return true;
}

static bool asked_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct check *check = arg;
    step(check, "asked");
    if (key.len != KLP_ID_LEN || value.len != KLP_ID_LEN)
        found(check, KOS_MEND_NONE, "asked", key, "cannot be read");
    return true;
}

static const struct {
    const char *name;
    bool (*each)(void *arg, struct kos_bytes key, struct kos_bytes value);
} spaces[] = {
    { "outbox", outbox_entry }, { "handed", handed_entry }, { "ended", ended_entry }, { "inbox", inbox_entry },
    { "dedupe", dedupe_entry }, { "asked", asked_entry },   { "expiry", expiry_entry },
};
enum { SPACES = sizeof spaces / sizeof *spaces };

static int32_t check_spaces(struct check *check)
{
    struct kos_bytes all = { NULL, 0 };
    int32_t rc = KOS_OK;
    for (size_t i = 0; i < SPACES && rc >= 0; i++)
        rc = kos_store_scan(check->store, spaces[i].name, all, all, spaces[i].each, check);
    uint64_t remembered = kos_store_count(check->store, "dedupe") + kos_store_count(check->store, "asked");
    if (rc < 0 || check->with_end >= remembered)
        return rc;
    rc = kos_store_scan(check->store, "expiry", all, all, note_end, check);
    if (rc >= 0)
        rc = kos_store_scan(check->store, "dedupe", all, all, dedupe_end, check);
    if (rc >= 0)
        rc = kos_store_scan(check->store, "asked", all, all, asked_end, check);
    return rc;
}

int32_t kos_mesh_check(struct kos_store *store, const struct kos_store_checker *checker, struct kos_error *ret_error)
{
    struct check check = { .store = store, .checker = checker };
    struct ended *ended, *next;
    uint8_t *value;
    size_t len;
    if (kos_store_get(store, "mesh", kos_bytes_str("time"), &value, &len) >= 0) {
        struct unpack in = { kos_bytes(value, len), false };
        check.time = (int64_t)unpack_uint(&in, 8);
        if (in.bad)
            kos_store_found(checker, KOS_MEND_NONE, "mesh", "the time last known cannot be read");
        free(value);
    }
    for (size_t i = 0; i < SPACES; i++)
        check.total += kos_store_count(store, spaces[i].name);
    int32_t rc = check_spaces(&check);
    HASH_ITER(hh, check.ends, ended, next) {
        HASH_DEL(check.ends, ended);
        free(ended);
    }
    if (rc < 0)
        return kos_fail(ret_error, rc, "the messages in the store cannot be read through: %s", kos_error_text(rc));
    kos_store_note(checker, "messages: %llu in the outbox, %llu in the inbox, %llu remembered",
                   (unsigned long long)kos_store_count(store, "outbox"), (unsigned long long)kos_store_count(store, "inbox"),
                   (unsigned long long)kos_store_count(store, "dedupe"));
    return KOS_OK;
}
