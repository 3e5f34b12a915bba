/* SPDX-License-Identifier: Apache-2.0
 *
 * Merkle trees of RFC 9162 section 2.1, over SHA-256. A tree of n leaves is built by pairing each level from the left
 * and taking an odd last node up unchanged: the same tree as the recursive definition by the largest power of two.
 */
#include <klp/message.h>

void klp_merkle_leaf(struct kos_bytes data, struct klp_digest *ret_hash)
{
    static const uint8_t prefix = 0x00;
    struct kos_bytes pieces[2] = { kos_bytes(&prefix, 1), data };
    klp_sha256v(pieces, 2, ret_hash);
}

void klp_merkle_node(const struct klp_digest *left, const struct klp_digest *right, struct klp_digest *ret_hash)
{
    uint8_t data[1 + 2 * KLP_DIGEST_LEN];
    data[0] = 0x01;
    memcpy(data + 1, left->b, KLP_DIGEST_LEN);
    memcpy(data + 1 + KLP_DIGEST_LEN, right->b, KLP_DIGEST_LEN);
    klp_sha256(kos_bytes(data, sizeof data), ret_hash);
}

void klp_merkle_root(const struct klp_digest *leaves, size_t count, struct klp_digest *ret_root)
{
    if (count == 0) {
        klp_sha256(kos_bytes(NULL, 0), ret_root);
        return;
    }
    /* The complete subtrees so far, largest first: one for each bit that is set in the number of leaves taken. */
    struct klp_digest stack[64];
    size_t depth = 0;
    for (size_t i = 0; i < count; i++) {
        stack[depth++] = leaves[i];
        for (size_t merged = i; merged & 1; merged >>= 1, depth--)
            klp_merkle_node(&stack[depth - 2], &stack[depth - 1], &stack[depth - 2]);
    }
    for (; depth > 1; depth--)
        klp_merkle_node(&stack[depth - 2], &stack[depth - 1], &stack[depth - 2]);
    *ret_root = stack[0];
}

size_t klp_merkle_path(const struct klp_digest *leaves, size_t count, size_t index, struct klp_digest *ret_path)
{
    /* From the root down to the leaf, and the path is wanted from the leaf up: written backwards, then turned. */
    size_t len = 0;
    while (count > 1 && index < count) {
        size_t left = 1;
        while (left <= (count - 1) / 2)
            left *= 2;
        if (index < left) {
            klp_merkle_root(leaves + left, count - left, &ret_path[len++]);
            count = left;
        } else {
            klp_merkle_root(leaves, left, &ret_path[len++]);
            leaves += left;
            index -= left;
            count -= left;
        }
    }
    for (size_t i = 0; i < len / 2; i++) {
        struct klp_digest swap = ret_path[i];
        ret_path[i] = ret_path[len - 1 - i];
        ret_path[len - 1 - i] = swap;
    }
    return len;
}

/* RFC 9162 2.1.3.2. */
int32_t klp_merkle_root_from_path(const struct klp_digest *leaf, uint64_t index, uint64_t size,
                                  const struct klp_digest *path, size_t path_len, struct klp_digest *ret_root)
{
    if (index >= size)
        return KOS_E_INVALID;
    uint64_t node = index, last = size - 1;
    struct klp_digest root = *leaf;
    for (size_t i = 0; i < path_len; i++) {
        if (last == 0)
            return KOS_E_INVALID;
        if (node & 1 || node == last) {
            klp_merkle_node(&path[i], &root, &root);
            while (!(node & 1) && node != 0) {
                node >>= 1;
                last >>= 1;
            }
        } else {
            klp_merkle_node(&root, &path[i], &root);
        }
        node >>= 1;
        last >>= 1;
    }
    if (last != 0)
        return KOS_E_INVALID;
    *ret_root = root;
    return KOS_OK;
}

/* RFC 9162 2.1.4.2. A first tree without leaves proves nothing and is refused. */
int32_t klp_merkle_consistency(uint64_t size1, uint64_t size2, const struct klp_digest *root1,
                               const struct klp_digest *root2, const struct klp_digest *path, size_t path_len)
{
    if (size1 == 0 || size1 > size2)
        return KOS_E_INVALID;
    if (size1 == size2)
        return path_len == 0 && memcmp(root1, root2, sizeof *root1) == 0 ? KOS_OK : KOS_E_INVALID;
    bool whole = (size1 & (size1 - 1)) == 0; /* the first tree is a node of the second, so its root need not be sent */
    if (path_len == 0)
        return KOS_E_INVALID;
    uint64_t node = size1 - 1, last = size2 - 1;
    while (node & 1) {
        node >>= 1;
        last >>= 1;
    }
    struct klp_digest old_root = whole ? *root1 : path[0], new_root = old_root;
    for (size_t i = whole ? 0 : 1; i < path_len; i++) {
        if (last == 0)
            return KOS_E_INVALID;
        if (node & 1 || node == last) {
            klp_merkle_node(&path[i], &old_root, &old_root);
            klp_merkle_node(&path[i], &new_root, &new_root);
            while (!(node & 1) && node != 0) {
                node >>= 1;
                last >>= 1;
            }
        } else {
            klp_merkle_node(&new_root, &path[i], &new_root);
        }
        node >>= 1;
        last >>= 1;
    }
    bool same = memcmp(&old_root, root1, sizeof *root1) == 0 && memcmp(&new_root, root2, sizeof *root2) == 0;
    return last == 0 && same ? KOS_OK : KOS_E_INVALID;
}
