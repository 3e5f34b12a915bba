/* SPDX-License-Identifier: Apache-2.0
 *
 * What must be remembered for a while: receipts given (so that a repeat gets the same answer) and ids of our own
 * messages (so that answers to them are known). Both until the message they speak of has expired.
 *
 *   space "dedupe"   source id, message id -> digest of the body   (what was refused is not kept)
 *   space "asked"    message id -> node it went to
 *   space "expiry"   u64 expires, u8 kind, the key above -> peer
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

enum { SWEEP_MAX = 1000 };

static void expiry_put(struct kos_tx *tx, int64_t expires, uint8_t kind, struct kos_bytes key,
                       const struct klp_id *peer)
{
    uint8_t full[8 + 1 + 2 * KLP_ID_LEN];
    mesh_entry_key((uint64_t)expires, full);
    full[8] = kind;
    memcpy(full + 9, key.data, key.len);
    kos_tx_put(tx, "expiry", kos_bytes(full, 9 + key.len), kos_bytes(peer->b, sizeof peer->b));
}

static void dedupe_key(const struct klp_id *source, const struct klp_id *id, uint8_t key[2 * KLP_ID_LEN])
{
    memcpy(key, source->b, KLP_ID_LEN);
    memcpy(key + KLP_ID_LEN, id->b, KLP_ID_LEN);
}

void mesh_dedupe_put(struct kos_tx *tx, const struct klp_message *message, const struct klp_id *peer)
{
    uint8_t key[2 * KLP_ID_LEN];
    dedupe_key(&message->source_id, &message->id, key);
    kos_tx_put(tx, "dedupe", kos_bytes(key, sizeof key), kos_bytes(message->digest.b, sizeof message->digest.b));
    expiry_put(tx, message->expires, MESH_EXPIRY_DEDUPE, kos_bytes(key, sizeof key), peer);
}

int32_t mesh_dedupe_get(struct kos_mesh *mesh, const struct klp_id *source, const struct klp_id *id,
                        struct klp_receipt *ret_receipt)
{
    uint8_t key[2 * KLP_ID_LEN], *value;
    size_t len;
    dedupe_key(source, id, key);
    int32_t rc = kos_store_get(mesh->store, "dedupe", kos_bytes(key, sizeof key), &value, &len);
    if (rc < 0)
        return rc;
    *ret_receipt = (struct klp_receipt){ .id = *id };
    memcpy(ret_receipt->digest.b, value, len < KLP_DIGEST_LEN ? len : KLP_DIGEST_LEN);
    free(value);
    return KOS_OK;
}

void mesh_asked_put(struct kos_tx *tx, const struct klp_id *id, const struct klp_id *node, int64_t expires)
{
    kos_tx_put(tx, "asked", kos_bytes(id->b, sizeof id->b), kos_bytes(node->b, sizeof node->b));
    expiry_put(tx, expires, MESH_EXPIRY_ASKED, kos_bytes(id->b, sizeof id->b), node);
}

bool mesh_asked(struct kos_mesh *mesh, const struct klp_id *id, const struct klp_id *node)
{
    uint8_t *value;
    size_t len;
    if (kos_store_get(mesh->store, "asked", kos_bytes(id->b, sizeof id->b), &value, &len) < 0)
        return false;
    bool same = len == sizeof node->b && memcmp(value, node->b, len) == 0;
    free(value);
    return same;
}

static bool count_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct klp_id peer;
    if (key.len < 9 || value.len != sizeof peer.b)
        return true;
    memcpy(peer.b, value.data, sizeof peer.b);
    if (key.data[8] == MESH_EXPIRY_DEDUPE)
        mesh_peer_get(arg, &peer)->dedupe++;
    else
        mesh_peer_get(arg, &peer)->asked++;
    return true;
}

int32_t mesh_expiry_load(struct kos_mesh *mesh)
{
    struct kos_bytes all = { NULL, 0 };
    return kos_store_scan(mesh->store, "expiry", all, all, count_entry, mesh);
}

struct sweep {
    struct kos_tx *tx;
    int64_t now, last; /* last: when the last one swept expired */
    uint32_t count;
    struct {
        struct klp_id peer;
        bool dedupe; /* else asked */
    } swept[SWEEP_MAX];
};

static bool sweep_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct sweep *sweep = arg;
    struct unpack in = { key, false };
    int64_t expires = (int64_t)unpack_uint(&in, 8);
    uint64_t kind = unpack_uint(&in, 1);
    /* Its last millisecond belongs to the message still. */
    if (in.bad || expires >= sweep->now || sweep->count == SWEEP_MAX)
        return false;
    kos_tx_delete(sweep->tx, kind == MESH_EXPIRY_DEDUPE ? "dedupe" : "asked", in.rest);
    kos_tx_delete(sweep->tx, "expiry", key);
    sweep->swept[sweep->count].dedupe = kind == MESH_EXPIRY_DEDUPE;
    if (value.len == KLP_ID_LEN)
        memcpy(sweep->swept[sweep->count].peer.b, value.data, KLP_ID_LEN);
    sweep->count++;
    sweep->last = expires;
    return true;
}

static void forgotten(struct kos_mesh *mesh, const struct klp_id *id, bool dedupe)
{
    struct mesh_peer *peer = mesh_peer_find(mesh, id);
    if (peer && dedupe && peer->dedupe)
        peer->dedupe--;
    else if (peer && !dedupe && peer->asked)
        peer->asked--;
}

/* Forgets what has expired by the time on disk: a crash cannot bring back a time before it. So much at a time; there may
 * be more. */
bool mesh_expiry_sweep(struct kos_mesh *mesh, bool goes_on)
{
    struct kos_bytes all = { NULL, 0 };
    uint8_t from[8];
    struct sweep *sweep = kos_new(sizeof *sweep);
    sweep->tx = kos_tx_begin(mesh->store);
    sweep->now = mesh->time_stored;
    /* Not again past all that was just deleted, which lies in the store's memory until its next checkpoint. */
    mesh_entry_key((uint64_t)mesh->swept, from);
    kos_store_scan(mesh->store, "expiry", all, goes_on ? kos_bytes(from, sizeof from) : all, sweep_entry, sweep);
    mesh->swept = sweep->last;
    bool more = sweep->count == SWEEP_MAX;
    if (!sweep->count)
        kos_tx_abort(sweep->tx);
    else if (kos_tx_commit(sweep->tx, NULL, NULL) < 0)
        more = false;
    else
        for (uint32_t i = 0; i < sweep->count; i++)
            forgotten(mesh, &sweep->swept[i].peer, sweep->swept[i].dedupe);
    free(sweep);
    return more;
}
