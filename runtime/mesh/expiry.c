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
    if (key.len < 9 || key.data[8] != MESH_EXPIRY_DEDUPE || value.len != sizeof peer.b)
        return true;
    memcpy(peer.b, value.data, sizeof peer.b);
    mesh_peer_get(arg, &peer)->dedupe++;
    return true;
}

int32_t mesh_expiry_load(struct kos_mesh *mesh)
{
    struct kos_bytes all = { NULL, 0 };
    return kos_store_scan(mesh->store, "expiry", all, all, count_entry, mesh);
}

struct sweep {
    struct kos_tx *tx;
    int64_t now;
    uint32_t count;
    uint32_t peer_count;
    struct klp_id peers[SWEEP_MAX]; /* of dedupe entries */
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
    sweep->count++;
    kos_tx_delete(sweep->tx, kind == MESH_EXPIRY_DEDUPE ? "dedupe" : "asked", in.rest);
    kos_tx_delete(sweep->tx, "expiry", key);
    if (kind == MESH_EXPIRY_DEDUPE && value.len == KLP_ID_LEN)
        memcpy(sweep->peers[sweep->peer_count++].b, value.data, KLP_ID_LEN);
    return true;
}

/* Forgets what has expired by the time on disk: a crash cannot bring back a time before it. */
void mesh_expiry_sweep(struct kos_mesh *mesh)
{
    struct kos_bytes all = { NULL, 0 };
    struct sweep *sweep = kos_new(sizeof *sweep);
    sweep->tx = kos_tx_begin(mesh->store);
    sweep->now = mesh->time_stored;
    kos_store_scan(mesh->store, "expiry", all, all, sweep_entry, sweep);
    if (!sweep->count) {
        kos_tx_abort(sweep->tx);
    } else if (kos_tx_commit(sweep->tx, NULL, NULL) >= 0) {
        for (uint32_t i = 0; i < sweep->peer_count; i++) {
            struct mesh_peer *peer = mesh_peer_find(mesh, &sweep->peers[i]);
            if (peer && peer->dedupe)
                peer->dedupe--;
        }
    }
    free(sweep);
}
