/* SPDX-License-Identifier: Apache-2.0
 *
 * Merkle trees against the vectors of transparency-dev/merkle: roots, inclusion and consistency proofs, good and
 * spoiled.
 */
#include <klp/message.h>

#include <inttypes.h>

#include "vectors.h"

enum { PATH_MAX_LEN = 128, LEAVES_MAX = 64 };

/* Numbers above 2^63-1 stand as text. */
static uint64_t number_of(json_t *value)
{
    return json_is_string(value) ? strtoull(json_string_value(value), NULL, 10) : (uint64_t)json_integer_value(value);
}

/* Base64 that must be one digest. A hash of another length can come in no struct klp_digest: refused by its reader. */
static bool digest_of(json_t *value, struct klp_digest *ret_digest)
{
    uint8_t data[256];
    size_t len;
    const char *text = json_string_value(value);
    if (!text || klp_unbase64(kos_bytes_str(text), data, sizeof data, &len) < 0 || len != KLP_DIGEST_LEN)
        return false;
    memcpy(ret_digest->b, data, KLP_DIGEST_LEN);
    return true;
}

/* One case has short texts for roots that nobody computes; padded with zeros they are roots like any other. */
static bool root_of(json_t *value, struct klp_digest *ret_root)
{
    size_t len;
    const char *text = json_string_value(value);
    memset(ret_root, 0, sizeof *ret_root);
    return text && klp_unbase64(kos_bytes_str(text), ret_root->b, sizeof ret_root->b, &len) == KOS_OK;
}

static bool path_of(json_t *list, struct klp_digest *path, size_t *ret_len)
{
    size_t len = json_array_size(list);
    if (len > PATH_MAX_LEN)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!digest_of(json_array_get(list, i), &path[i]))
            return false;
    *ret_len = len;
    return true;
}

static bool includes(json_t *item)
{
    struct klp_digest leaf, root, computed, path[PATH_MAX_LEN];
    size_t len;
    return digest_of(json_object_get(item, "leafHash"), &leaf) && digest_of(json_object_get(item, "root"), &root)
        && path_of(json_object_get(item, "proof"), path, &len)
        && klp_merkle_root_from_path(&leaf, number_of(json_object_get(item, "leafIdx")),
                                     number_of(json_object_get(item, "treeSize")), path, len, &computed) == KOS_OK
        && memcmp(&root, &computed, sizeof root) == 0;
}

static bool consistent(json_t *item)
{
    struct klp_digest root1, root2, path[PATH_MAX_LEN];
    size_t len;
    return root_of(json_object_get(item, "root1"), &root1) && root_of(json_object_get(item, "root2"), &root2)
        && path_of(json_object_get(item, "proof"), path, &len)
        && klp_merkle_consistency(number_of(json_object_get(item, "size1")), number_of(json_object_get(item, "size2")),
                                  &root1, &root2, path, len) == KOS_OK;
}

static void run_proofs(struct vectors *v, json_t *cases)
{
    size_t i;
    json_t *item;
    json_array_foreach(cases, i, item) {
        const char *name = json_string_value(json_object_get(item, "id"));
        bool inclusion = json_object_get(item, "leafIdx") != NULL;
        bool good = inclusion ? includes(item) : consistent(item);
        bool bad = json_is_true(json_object_get(item, "wantErr"));
        const char *why = good ? "a spoiled proof was taken" : "a good proof was refused";
        vectors_say(v, name ? name : "?", good != bad ? NULL : why);
    }
}

/* Roots of the first n leaves, and every path of every one of these trees back to its root. */
static void run_roots(struct vectors *v, json_t *file)
{
    json_t *roots = json_object_get(file, "roots"), *item;
    struct klp_digest leaves[LEAVES_MAX], root, again, path[64];
    size_t i, count = 0;
    json_array_foreach(json_object_get(file, "leaves"), i, item) {
        struct kos_bytes data = vectors_hex(item);
        if (count < LEAVES_MAX)
            klp_merkle_leaf(data, &leaves[count++]);
        vectors_free(&data, 1);
    }
    json_array_foreach(roots, i, item) {
        char name[64];
        struct kos_bytes want = vectors_hex(item);
        const char *why = NULL;
        snprintf(name, sizeof name, "root of %zu leaves and its paths", i);
        if (i > count || want.len != sizeof root)
            why = "the case is malformed";
        else
            klp_merkle_root(leaves, i, &root);
        if (!why && memcmp(root.b, want.data, want.len) != 0)
            why = "another root";
        for (size_t leaf = 0; !why && leaf < i; leaf++) {
            size_t len = klp_merkle_path(leaves, i, leaf, path);
            if (klp_merkle_root_from_path(&leaves[leaf], leaf, i, path, len, &again) < 0
                || memcmp(&again, &root, sizeof root) != 0)
                why = "a path does not lead to the root";
        }
        vectors_free(&want, 1);
        vectors_say(v, name, why);
    }
}

static void run_file(struct vectors *v, json_t *file)
{
    if (json_object_get(file, "roots"))
        run_roots(v, file);
    run_proofs(v, json_object_get(file, "cases"));
}

int main(void)
{
    return vectors_run("merkle", run_file);
}
