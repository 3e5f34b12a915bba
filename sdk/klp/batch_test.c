/* SPDX-License-Identifier: Apache-2.0
 *
 * Batch signatures: a run as a whole, each message by itself, and what must not pass for one.
 */
#include <klp/message.h>

#include "unit.h"

static void counting(void *self, void *out, size_t len)
{
    memset(out, ++*(uint8_t *)self, len);
}

static void keys_of(int32_t alg, uint8_t seed, struct klp_secret *secret, struct klp_public *public)
{
    ck_assert_int_eq(klp_secret_generate(alg, (struct klp_random){ counting, &seed }, secret), 0);
    ck_assert_int_eq(klp_secret_public(secret, public), 0);
}

static void digests_of(struct klp_digest *digests, size_t count)
{
    for (size_t i = 0; i < count; i++)
        klp_sha256(kos_bytes(&i, sizeof i), &digests[i]);
}

START_TEST(whole_and_alone)
{
    static struct klp_digest digests[KLP_BATCH_MAX], nodes[KLP_BATCH_NODES_MAX];
    static const size_t sizes[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 33, 255, 256, 1023, 1024 };
    struct klp_public public;
    struct klp_secret secret;
    uint8_t root[64], alone[KLP_BATCH_SIGNATURE_MAX], again[KLP_BATCH_SIGNATURE_MAX];
    digests_of(digests, KLP_BATCH_MAX);
    for (int32_t alg = KLP_ALG_ED25519; alg <= KLP_ALG_P256; alg++) {
        keys_of(alg, 0, &secret, &public);
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            size_t count = sizes[s];
            ck_assert_int_eq(klp_batch_sign(&secret, digests, count, root), 0);
            ck_assert_int_eq(klp_batch_verify(&public, digests, count, kos_bytes(root, 64)), 0);
            ck_assert_int_eq(klp_batch_tree(digests, count, nodes), 0);
            for (size_t i = 0; i < count; i += 1 + count / 7) {
                int32_t len = klp_batch_extract(digests, count, i, root, alone);
                ck_assert_int_ge(len, 72);
                ck_assert_int_le(len, KLP_BATCH_SIGNATURE_MAX);
                ck_assert_int_eq(klp_batch_extract_from(nodes, count, i, root, again), len);
                ck_assert_mem_eq(alone, again, (size_t)len);
                struct kos_bytes signature = kos_bytes(alone, (size_t)len);
                const struct klp_digest *other = &digests[(i + 1) % KLP_BATCH_MAX];
                ck_assert_int_eq(klp_batch_verify_one(&public, &digests[i], signature), 0);
                ck_assert_int_eq(klp_batch_verify_one(&public, other, signature), KOS_E_SIGNATURE);
            }
        }
    }
}
END_TEST

/* The bytes, by hand: leaves, root, what is signed, and the order in the signature. */
START_TEST(layout)
{
    struct klp_digest digests[3], leaves[3], one_two, root;
    uint8_t data[10 + 32] = "klp-msg/1", body[36] = { 0 }, signature[64], want[64], alone[KLP_BATCH_SIGNATURE_MAX];
    struct klp_public public;
    struct klp_secret secret;
    keys_of(KLP_ALG_ED25519, 0, &secret, &public);
    digests_of(digests, 3);
    for (int i = 0; i < 3; i++) {
        memcpy(data + 10, digests[i].b, 32);
        klp_merkle_leaf(kos_bytes(data, sizeof data), &leaves[i]);
    }
    klp_merkle_node(&leaves[0], &leaves[1], &one_two);
    klp_merkle_node(&one_two, &leaves[2], &root);
    memcpy(body, root.b, 32);
    body[35] = 3;
    ck_assert_int_eq(klp_sign(&secret, "klp-batch/1", kos_bytes(body, sizeof body), want), 0);
    ck_assert_int_eq(klp_batch_sign(&secret, digests, 3, signature), 0);
    ck_assert_mem_eq(signature, want, 64);
    static const uint8_t numbers[8] = { 0, 0, 0, 3, 0, 0, 0, 1 };
    ck_assert_int_eq(klp_batch_extract(digests, 3, 1, signature, alone), 72 + 64);
    ck_assert_mem_eq(alone, want, 64);
    ck_assert_mem_eq(alone + 64, numbers, 8);
    ck_assert_mem_eq(alone + 72, leaves[0].b, 32);
    ck_assert_mem_eq(alone + 104, leaves[2].b, 32);
    ck_assert_int_eq(klp_batch_extract(digests, 3, 2, signature, alone), 72 + 32);
    ck_assert_mem_eq(alone + 72, one_two.b, 32);
}
END_TEST

START_TEST(forged)
{
    enum { COUNT = 11, INDEX = 6 };
    struct klp_digest digests[COUNT];
    struct klp_public public, other_public;
    struct klp_secret secret, other;
    uint8_t root[64], good[KLP_BATCH_SIGNATURE_MAX], bad[KLP_BATCH_SIGNATURE_MAX + 64];
    keys_of(KLP_ALG_ED25519, 0, &secret, &public);
    keys_of(KLP_ALG_ED25519, 9, &other, &other_public);
    digests_of(digests, COUNT);
    ck_assert_int_eq(klp_batch_sign(&secret, digests, COUNT, root), 0);
    size_t len = (size_t)klp_batch_extract(digests, COUNT, INDEX, root, good);
    ck_assert_int_eq(klp_batch_verify_one(&public, &digests[INDEX], kos_bytes(good, len)), 0);
    ck_assert_int_eq(klp_batch_verify_one(&other_public, &digests[INDEX], kos_bytes(good, len)), KOS_E_SIGNATURE);
    /* Every bit counts, those of size and index too. */
    for (size_t bit = 0; bit < 8 * len; bit++) {
        memcpy(bad, good, len);
        bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_eq(klp_batch_verify_one(&public, &digests[INDEX], kos_bytes(bad, len)), KOS_E_SIGNATURE);
    }
    /* Every other length. */
    memset(bad, 0, sizeof bad);
    memcpy(bad, good, len);
    for (size_t cut = 0; cut < sizeof bad; cut++)
        if (cut != len)
            ck_assert_int_eq(klp_batch_verify_one(&public, &digests[INDEX], kos_bytes(bad, cut)), KOS_E_SIGNATURE);
    /* Every other size and index with the same path. */
    for (uint32_t size = 0; size < 40; size++) {
        for (uint32_t index = 0; index < 40; index++) {
            bad[67] = (uint8_t)size;
            bad[71] = (uint8_t)index;
            if (size == COUNT && index == INDEX)
                continue;
            ck_assert_int_eq(klp_batch_verify_one(&public, &digests[INDEX], kos_bytes(bad, len)), KOS_E_SIGNATURE);
        }
    }
}
END_TEST

/* A message of another batch; a plain signature as a batch of one and the other way round. */
START_TEST(mixed_up)
{
    struct klp_digest digests[8], others[8];
    struct klp_public public;
    struct klp_secret secret;
    uint8_t root[64], other_root[64], alone[KLP_BATCH_SIGNATURE_MAX], plain[64];
    keys_of(KLP_ALG_ED25519, 0, &secret, &public);
    digests_of(digests, 8);
    for (int i = 0; i < 8; i++)
        klp_sha256(kos_bytes(digests[i].b, 32), &others[i]);
    ck_assert_int_eq(klp_batch_sign(&secret, digests, 8, root), 0);
    ck_assert_int_eq(klp_batch_sign(&secret, others, 8, other_root), 0);
    ck_assert_int_eq(klp_batch_verify(&public, digests, 8, kos_bytes(other_root, 64)), KOS_E_SIGNATURE);
    ck_assert_int_eq(klp_batch_verify(&public, digests, 7, kos_bytes(root, 64)), KOS_E_SIGNATURE);
    ck_assert_int_eq(klp_batch_verify(&public, digests, 8, kos_bytes(root, 63)), KOS_E_SIGNATURE);
    size_t len = (size_t)klp_batch_extract(digests, 8, 3, root, alone);
    ck_assert_int_eq(klp_batch_verify_one(&public, &others[3], kos_bytes(alone, len)), KOS_E_SIGNATURE);
    memcpy(alone, other_root, 64);
    ck_assert_int_eq(klp_batch_verify_one(&public, &digests[3], kos_bytes(alone, len)), KOS_E_SIGNATURE);
    /* The order of a run is part of it. */
    struct klp_digest swapped[8];
    memcpy(swapped, digests, sizeof swapped);
    swapped[0] = digests[1];
    swapped[1] = digests[0];
    ck_assert_int_eq(klp_batch_verify(&public, swapped, 8, kos_bytes(root, 64)), KOS_E_SIGNATURE);
    struct kos_bytes body = kos_bytes_str("body");
    struct klp_digest digest;
    klp_sha256(body, &digest);
    ck_assert_int_eq(klp_sign(&secret, KLP_TAG_MESSAGE, body, plain), 0);
    ck_assert_int_eq(klp_batch_verify(&public, &digest, 1, kos_bytes(plain, 64)), KOS_E_SIGNATURE);
    ck_assert_int_eq(klp_batch_sign(&secret, &digest, 1, plain), 0);
    ck_assert_int_eq(klp_verify(&public, KLP_TAG_MESSAGE, body, kos_bytes(plain, 64)), KOS_E_SIGNATURE);
}
END_TEST

/* An inner node offered as a leaf, and a leaf's text as a node: the prefixes and the tag keep them apart. */
START_TEST(second_preimage)
{
    struct klp_digest digests[4], nodes[KLP_BATCH_NODES_MAX];
    struct klp_public public;
    struct klp_secret secret;
    uint8_t root[64], fake[72 + 32];
    keys_of(KLP_ALG_ED25519, 0, &secret, &public);
    digests_of(digests, 4);
    ck_assert_int_eq(klp_batch_sign(&secret, digests, 4, root), 0);
    ck_assert_int_eq(klp_batch_tree(digests, 4, nodes), 0);
    /* nodes[4] = (0, 1), nodes[5] = (2, 3): a run of two "messages" with these digests. */
    ck_assert_int_eq(klp_batch_verify(&public, &nodes[4], 2, kos_bytes(root, 64)), KOS_E_SIGNATURE);
    memcpy(fake, root, 64);
    for (uint8_t size = 2; size <= 4; size += 2) {
        static const uint8_t zero[8];
        memcpy(fake + 64, zero, 8);
        fake[67] = size;
        memcpy(fake + 72, nodes[5].b, 32);
        ck_assert_int_eq(klp_batch_verify_one(&public, &nodes[4], kos_bytes(fake, sizeof fake)), KOS_E_SIGNATURE);
    }
    /* The root itself, as a batch of one. */
    fake[67] = 1;
    ck_assert_int_eq(klp_batch_verify_one(&public, &nodes[6], kos_bytes(fake, 72)), KOS_E_SIGNATURE);
}
END_TEST

START_TEST(limits)
{
    static struct klp_digest digests[KLP_BATCH_MAX + 1], nodes[KLP_BATCH_NODES_MAX];
    struct klp_public public;
    struct klp_secret secret;
    uint8_t root[64] = { 0 }, alone[KLP_BATCH_SIGNATURE_MAX];
    keys_of(KLP_ALG_ED25519, 0, &secret, &public);
    digests_of(digests, KLP_BATCH_MAX + 1);
    static const size_t counts[] = { 0, KLP_BATCH_MAX + 1, SIZE_MAX };
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(klp_batch_sign(&secret, digests, counts[i], root), KOS_E_LIMIT);
        ck_assert_int_eq(klp_batch_verify(&public, digests, counts[i], kos_bytes(root, 64)), KOS_E_LIMIT);
        ck_assert_int_eq(klp_batch_tree(digests, counts[i], nodes), KOS_E_LIMIT);
        ck_assert_int_eq(klp_batch_extract(digests, counts[i], 0, root, alone), KOS_E_LIMIT);
        ck_assert_int_eq(klp_batch_extract_from(nodes, counts[i], 0, root, alone), KOS_E_LIMIT);
    }
    ck_assert_int_eq(klp_batch_extract(digests, 5, 5, root, alone), KOS_E_INVALID);
    ck_assert_int_eq(klp_batch_extract(digests, 5, SIZE_MAX, root, alone), KOS_E_INVALID);
    /* A run larger than is allowed is refused although its signature is right. */
    struct klp_digest leaf, path[11], tree_root;
    uint8_t data[10 + 32] = "klp-msg/1", body[36], big[72 + 11 * 32] = { 0 };
    memset(path, 3, sizeof path);
    memcpy(data + 10, digests[0].b, 32);
    klp_merkle_leaf(kos_bytes(data, sizeof data), &leaf);
    ck_assert_int_eq(klp_merkle_root_from_path(&leaf, 0, 2048, path, 11, &tree_root), 0);
    memcpy(body, tree_root.b, 32);
    memcpy(body + 32, (uint8_t[]){ 0, 0, 8, 0 }, 4);
    ck_assert_int_eq(klp_sign(&secret, KLP_TAG_BATCH, kos_bytes(body, 36), big), 0);
    memcpy(big + 64, body + 32, 4);
    memcpy(big + 72, path, sizeof path);
    ck_assert_int_eq(klp_batch_verify_one(&public, &digests[0], kos_bytes(big, sizeof big)), KOS_E_SIGNATURE);
    ck_assert_int_eq(klp_batch_verify_one(&public, &digests[0], kos_bytes(big, 72 + 10 * 32)), KOS_E_SIGNATURE);
}
END_TEST

/* Paths and consistency of all small trees, against the root computed from all leaves. */
START_TEST(merkle)
{
    enum { MANY = 40 };
    struct klp_digest leaves[MANY], root, got, path[64];
    digests_of(leaves, MANY);
    for (size_t size = 1; size <= MANY; size++) {
        klp_merkle_root(leaves, size, &root);
        for (size_t i = 0; i < size; i++) {
            size_t len = klp_merkle_path(leaves, size, i, path);
            ck_assert_int_eq(klp_merkle_root_from_path(&leaves[i], i, size, path, len, &got), 0);
            ck_assert_mem_eq(got.b, root.b, 32);
            ck_assert_int_eq(klp_merkle_root_from_path(&leaves[i], i, size, path, len + 1, &got), KOS_E_INVALID);
            if (len)
                ck_assert_int_eq(klp_merkle_root_from_path(&leaves[i], i, size, path, len - 1, &got), KOS_E_INVALID);
        }
        ck_assert_int_eq(klp_merkle_root_from_path(&leaves[0], size, size, path, 0, &got), KOS_E_INVALID);
    }
    ck_assert_int_eq(klp_merkle_root_from_path(&leaves[0], 0, 0, path, 0, &got), KOS_E_INVALID);
    memset(path, 0, sizeof path);
    ck_assert_int_eq(klp_merkle_root_from_path(&leaves[0], 0, UINT64_MAX, path, 64, &got), 0);
    ck_assert_int_eq(klp_merkle_root_from_path(&leaves[0], UINT64_MAX, UINT64_MAX, path, 64, &got), KOS_E_INVALID);
    ck_assert_int_eq(klp_merkle_consistency(UINT64_MAX - 1, UINT64_MAX, &root, &root, path, 64), KOS_E_INVALID);
}
END_TEST

TESTS("klp/batch", whole_and_alone, layout, forged, mixed_up, second_preimage, limits, merkle)
