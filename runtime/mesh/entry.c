/* SPDX-License-Identifier: Apache-2.0
 * Outbox entries as they lie in the store, and the heap that says when one is due.
 *
 *   space "outbox"   u64 seq -> entry, with the message's body behind it
 *   space "handed"   u64 seq -> nothing: from now on a link may have had it
 *   space "ended"    u64 seq -> outcome that its owner has not noted yet
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

enum { ENTRY_VERSION = 1 };

void mesh_entry_key(uint64_t seq, uint8_t key[8])
{
    for (int i = 0; i < 8; i++)
        key[i] = (uint8_t)(seq >> (56 - 8 * i));
}

void mesh_entry_put(struct kos_tx *tx, const struct mesh_entry *entry, struct kos_bytes body)
{
    uint8_t key[8];
    struct kos_buf value;
    kos_buf_init(&value, KOS_STORE_VALUE_MAX);
    mesh_entry_key(entry->seq, key);
    pack_uint(&value, ENTRY_VERSION, 1);
    pack_uint(&value, entry->klass, 1);
    pack_uint(&value, entry->handed, 1);
    pack_uint(&value, (uint64_t)entry->expires, 8);
    pack_raw(&value, entry->id.b, sizeof entry->id.b);
    pack_raw(&value, entry->node.b, sizeof entry->node.b);
    pack_raw(&value, entry->signer.b, sizeof entry->signer.b);
    pack_bytes(&value, kos_bytes_str(entry->owner));
    pack_bytes(&value, kos_bytes_str(entry->type));
    pack_bytes(&value, body);
    kos_tx_put(tx, "outbox", kos_bytes(key, sizeof key), kos_buf_bytes(&value));
    kos_buf_fini(&value);
}

void mesh_entry_delete(struct kos_tx *tx, const struct mesh_entry *entry)
{
    uint8_t key[8];
    mesh_entry_key(entry->seq, key);
    if (entry->state == MESH_ENDED) {
        kos_tx_delete(tx, "ended", kos_bytes(key, sizeof key));
        return;
    }
    kos_tx_delete(tx, "outbox", kos_bytes(key, sizeof key));
    /* Whether or not it is known already that it is there: it may be on its way to the disk. */
    if (entry->resent || !entry->handed)
        kos_tx_delete(tx, "handed", kos_bytes(key, sizeof key));
}

static char *unpack_dup(struct unpack *in, size_t max)
{
    struct kos_bytes bytes = unpack_bytes(in);
    return kos_format("%.*s", (int)(bytes.len < max ? bytes.len : max), bytes.data ? (const char *)bytes.data : "");
}

struct mesh_entry *mesh_entry_read(uint64_t seq, struct kos_bytes value)
{
    struct unpack in = { value, false };
    struct mesh_entry *entry = kos_new(sizeof *entry);
    uint64_t version = unpack_uint(&in, 1);
    entry->seq = seq;
    entry->klass = (uint8_t)unpack_uint(&in, 1);
    entry->handed = unpack_uint(&in, 1);
    entry->expires = (int64_t)unpack_uint(&in, 8);
    unpack_into(&in, entry->id.b, sizeof entry->id.b);
    unpack_into(&in, entry->node.b, sizeof entry->node.b);
    unpack_into(&in, entry->signer.b, sizeof entry->signer.b);
    entry->owner = unpack_dup(&in, 256);
    entry->type = unpack_dup(&in, KLP_TYPE_MAX);
    struct kos_bytes body = unpack_bytes(&in);
    if (in.bad || version != ENTRY_VERSION || entry->klass >= KLP_CLASSES || !body.len) {
        mesh_entry_free(entry);
        return NULL;
    }
    entry->bytes = body.len;
    klp_sha256(body, &entry->digest);
    entry->state = MESH_NEW;
    return entry;
}

int32_t mesh_entry_body(struct kos_mesh *mesh, struct mesh_entry *entry, uint8_t **ret_body, size_t *ret_len)
{
    if (entry->body) {
        *ret_body = entry->body;
        *ret_len = (size_t)entry->bytes;
        entry->body = NULL;
        return KOS_OK;
    }
    uint8_t key[8], *value;
    size_t len;
    mesh_entry_key(entry->seq, key);
    int32_t rc = kos_store_get(mesh->store, "outbox", kos_bytes(key, sizeof key), &value, &len);
    if (rc < 0)
        return rc;
    /* The body is the value's end. */
    if (len < entry->bytes) {
        free(value);
        return KOS_E_CORRUPT;
    }
    *ret_body = kos_memdup(value + len - entry->bytes, (size_t)entry->bytes);
    *ret_len = (size_t)entry->bytes;
    free(value);
    return KOS_OK;
}

void mesh_entry_free(struct mesh_entry *entry)
{
    free(entry->body);
    free(entry->owner);
    free(entry->type);
    free(entry->text);
    free(entry);
}

/* ---- outcomes ---- */

void mesh_ended_put(struct kos_tx *tx, const struct mesh_entry *entry)
{
    uint8_t key[8];
    struct kos_buf value;
    kos_buf_init(&value, KOS_STORE_VALUE_MAX);
    mesh_entry_key(entry->seq, key);
    pack_uint(&value, ENTRY_VERSION, 1);
    pack_raw(&value, entry->id.b, sizeof entry->id.b);
    pack_raw(&value, entry->node.b, sizeof entry->node.b);
    pack_bytes(&value, kos_bytes_str(entry->owner));
    pack_bytes(&value, kos_bytes_str(entry->type));
    pack_uint(&value, (uint64_t)(-(int64_t)entry->status), 4);
    pack_bytes(&value, kos_bytes_str(entry->text ? entry->text : ""));
    kos_tx_put(tx, "ended", kos_bytes(key, sizeof key), kos_buf_bytes(&value));
    kos_buf_fini(&value);
}

struct mesh_entry *mesh_ended_read(uint64_t seq, struct kos_bytes value)
{
    struct unpack in = { value, false };
    struct mesh_entry *entry = kos_new(sizeof *entry);
    uint64_t version = unpack_uint(&in, 1);
    entry->seq = seq;
    entry->state = MESH_ENDED;
    unpack_into(&in, entry->id.b, sizeof entry->id.b);
    unpack_into(&in, entry->node.b, sizeof entry->node.b);
    entry->owner = unpack_dup(&in, 256);
    entry->type = unpack_dup(&in, KLP_TYPE_MAX);
    entry->status = -(int32_t)unpack_uint(&in, 4);
    entry->text = unpack_dup(&in, KLP_RECEIPT_TEXT_MAX);
    if (in.bad || version != ENTRY_VERSION) {
        mesh_entry_free(entry);
        return NULL;
    }
    return entry;
}

/* ---- the heap: earliest first; what is no longer true is passed over when it comes up ---- */

static void swap(struct mesh_due *a, struct mesh_due *b)
{
    struct mesh_due keep = *a;
    *a = *b;
    *b = keep;
}

void mesh_heap_push(struct mesh_heap *heap, int64_t due, uint64_t seq)
{
    if (heap->count == heap->cap) {
        heap->cap = heap->cap ? heap->cap * 2 : 64;
        heap->at = realloc(heap->at, heap->cap * sizeof *heap->at);
        if (!heap->at)
            abort();
    }
    size_t i = heap->count++;
    heap->at[i] = (struct mesh_due){ due, seq };
    for (; i && heap->at[i].due < heap->at[(i - 1) / 2].due; i = (i - 1) / 2)
        swap(&heap->at[i], &heap->at[(i - 1) / 2]);
}

bool mesh_heap_pop(struct mesh_heap *heap, int64_t until, uint64_t *ret_seq)
{
    if (!heap->count || heap->at[0].due > until)
        return false;
    *ret_seq = heap->at[0].seq;
    heap->at[0] = heap->at[--heap->count];
    for (size_t i = 0, child; (child = 2 * i + 1) < heap->count; i = child) {
        if (child + 1 < heap->count && heap->at[child + 1].due < heap->at[child].due)
            child++;
        if (heap->at[i].due <= heap->at[child].due)
            break;
        swap(&heap->at[i], &heap->at[child]);
    }
    return true;
}

int64_t mesh_heap_first(const struct mesh_heap *heap)
{
    return heap->count ? heap->at[0].due : INT64_MAX;
}
