/* SPDX-License-Identifier: Apache-2.0
 *
 * Batch signatures (klp(7), "Message"): one signature over the root of a Merkle tree, and for each message that leaves
 * the run a signature that is good by itself:
 *
 *   64 bytes over root and u32 size | u32 size | u32 index | path, 32 bytes each, from the leaf up
 */
#include <klp/message.h>

enum { HEAD = KLP_SIGNATURE_LEN + 8, SIGNED = KLP_DIGEST_LEN + 4 };

static void put32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

/* The leaf is of what a plain signature would cover, so a message's digest never stands for an inner node. */
static void leaf_of(const struct klp_digest *digest, struct klp_digest *ret_leaf)
{
    uint8_t data[sizeof KLP_TAG_MESSAGE + KLP_DIGEST_LEN];
    memcpy(data, KLP_TAG_MESSAGE, sizeof KLP_TAG_MESSAGE);
    memcpy(data + sizeof KLP_TAG_MESSAGE, digest->b, KLP_DIGEST_LEN);
    klp_merkle_leaf(kos_bytes(data, sizeof data), ret_leaf);
}

static void leaves_of(const struct klp_digest *digests, size_t count, struct klp_digest *ret_leaves)
{
    for (size_t i = 0; i < count; i++)
        leaf_of(&digests[i], &ret_leaves[i]);
}

static void signed_bytes(const struct klp_digest *root, uint32_t size, uint8_t ret_bytes[SIGNED])
{
    memcpy(ret_bytes, root->b, KLP_DIGEST_LEN);
    put32(ret_bytes + KLP_DIGEST_LEN, size);
}

static int32_t batch_bytes(const struct klp_digest *digests, size_t count, uint8_t ret_bytes[SIGNED])
{
    struct klp_digest leaves[KLP_BATCH_MAX], root;
    if (count == 0 || count > KLP_BATCH_MAX)
        return KOS_E_LIMIT;
    leaves_of(digests, count, leaves);
    klp_merkle_root(leaves, count, &root);
    signed_bytes(&root, (uint32_t)count, ret_bytes);
    return KOS_OK;
}

int32_t klp_batch_sign(const struct klp_secret *secret, const struct klp_digest *digests, size_t count,
                       uint8_t ret_signature[KLP_SIGNATURE_LEN])
{
    uint8_t bytes[SIGNED];
    int32_t code = batch_bytes(digests, count, bytes);
    return code < 0 ? code : klp_sign(secret, KLP_TAG_BATCH, kos_bytes(bytes, sizeof bytes), ret_signature);
}

int32_t klp_batch_verify(const struct klp_public *key, const struct klp_digest *digests, size_t count,
                         struct kos_bytes signature)
{
    uint8_t bytes[SIGNED];
    int32_t code = batch_bytes(digests, count, bytes);
    return code < 0 ? code : klp_verify(key, KLP_TAG_BATCH, kos_bytes(bytes, sizeof bytes), signature);
}

int32_t klp_batch_verify_one(const struct klp_public *key, const struct klp_digest *digest, struct kos_bytes signature)
{
    if (signature.len < HEAD || signature.len > KLP_BATCH_SIGNATURE_MAX || (signature.len - HEAD) % KLP_DIGEST_LEN != 0)
        return KOS_E_SIGNATURE;
    uint32_t size = get32(signature.data + KLP_SIGNATURE_LEN), index = get32(signature.data + KLP_SIGNATURE_LEN + 4);
    struct klp_digest leaf, root, path[(KLP_BATCH_SIGNATURE_MAX - HEAD) / KLP_DIGEST_LEN];
    size_t path_len = (signature.len - HEAD) / KLP_DIGEST_LEN;
    if (size > KLP_BATCH_MAX)
        return KOS_E_SIGNATURE;
    memcpy(path, signature.data + HEAD, path_len * KLP_DIGEST_LEN);
    leaf_of(digest, &leaf);
    if (klp_merkle_root_from_path(&leaf, index, size, path, path_len, &root) < 0)
        return KOS_E_SIGNATURE;
    uint8_t bytes[SIGNED];
    signed_bytes(&root, size, bytes);
    return klp_verify(key, KLP_TAG_BATCH, kos_bytes(bytes, sizeof bytes), kos_bytes(signature.data, KLP_SIGNATURE_LEN));
}

/* All levels one after the other, the leaves first. */
int32_t klp_batch_tree(const struct klp_digest *digests, size_t count, struct klp_digest ret_nodes[KLP_BATCH_NODES_MAX])
{
    if (count == 0 || count > KLP_BATCH_MAX)
        return KOS_E_LIMIT;
    leaves_of(digests, count, ret_nodes);
    while (count > 1) {
        struct klp_digest *above = ret_nodes + count;
        for (size_t i = 0; i + 1 < count; i += 2)
            klp_merkle_node(&ret_nodes[i], &ret_nodes[i + 1], &above[i / 2]);
        if (count % 2)
            above[count / 2] = ret_nodes[count - 1];
        ret_nodes = above;
        count = (count + 1) / 2;
    }
    return KOS_OK;
}

int32_t klp_batch_extract_from(const struct klp_digest *nodes, size_t count, size_t index,
                               const uint8_t root_signature[KLP_SIGNATURE_LEN],
                               uint8_t ret_signature[KLP_BATCH_SIGNATURE_MAX])
{
    if (count == 0 || count > KLP_BATCH_MAX)
        return KOS_E_LIMIT;
    if (index >= count)
        return KOS_E_INVALID;
    memcpy(ret_signature, root_signature, KLP_SIGNATURE_LEN);
    put32(ret_signature + KLP_SIGNATURE_LEN, (uint32_t)count);
    put32(ret_signature + KLP_SIGNATURE_LEN + 4, (uint32_t)index);
    int32_t len = HEAD;
    for (; count > 1; nodes += count, count = (count + 1) / 2, index /= 2) {
        size_t sibling = index ^ 1;
        if (sibling >= count)
            continue; /* an odd last node goes up alone */
        memcpy(ret_signature + len, nodes[sibling].b, KLP_DIGEST_LEN);
        len += KLP_DIGEST_LEN;
    }
    return len;
}

int32_t klp_batch_extract(const struct klp_digest *digests, size_t count, size_t index,
                          const uint8_t root_signature[KLP_SIGNATURE_LEN],
                          uint8_t ret_signature[KLP_BATCH_SIGNATURE_MAX])
{
    struct klp_digest nodes[KLP_BATCH_NODES_MAX];
    int32_t code = klp_batch_tree(digests, count, nodes);
    return code < 0 ? code : klp_batch_extract_from(nodes, count, index, root_signature, ret_signature);
}
