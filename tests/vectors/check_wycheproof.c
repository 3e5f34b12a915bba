/* SPDX-License-Identifier: Apache-2.0
 *
 * The primitives against Wycheproof (Ed25519, ECDSA over P-256, X25519, AES-256-GCM, HKDF, HMAC), and Ed25519 against
 * the policy cases of ed25519-speccheck.
 */
#include <klp/crypto.h>

#include "vectors.h"

typedef const char *(*run_case)(json_t *group, json_t *item);

static const char *text_of(json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static const char *verify(json_t *item, struct kos_bytes pk, struct kos_bytes data, struct kos_bytes signature,
                          bool good)
{
    struct klp_public key = { .alg = KLP_ALG_ED25519, .len = 32 };
    (void)item;
    if (pk.len != 32 || !data.data || !signature.data)
        return "the case is malformed";
    memcpy(key.b, pk.data, 32);
    int32_t err = klp_verify_raw(&key, data, signature);
    if (good)
        return err == 0 ? NULL : "a good signature was refused";
    return err == KOS_E_SIGNATURE ? NULL : "a bad signature was taken";
}

static const char *ed25519(json_t *group, json_t *item)
{
    struct kos_bytes b[3] = { vectors_member(json_object_get(group, "publicKey"), "pk"), vectors_member(item, "msg"),
                              vectors_member(item, "sig") };
    const char *why = verify(item, b[0], b[1], b[2], strcmp(text_of(item, "result"), "valid") == 0);
    vectors_free(b, 3);
    return why;
}

/* n - s: the other s that makes as good a signature. */
static void other_s(const uint8_t s[32], uint8_t ret_s[32])
{
    static const uint8_t order[32] = {
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    };
    unsigned borrow = 0;
    for (size_t i = 32; i-- > 0;) {
        unsigned difference = (unsigned)order[i] - s[i] - borrow;
        ret_s[i] = (uint8_t)difference;
        borrow = difference >> 8 & 1;
    }
}

/* Of the two right signatures with s and n - s KLP takes exactly one, the low; of a wrong one neither. */
static const char *ecdsa(json_t *group, json_t *item)
{
    struct kos_bytes b[3] = { vectors_member(json_object_get(group, "publicKey"), "uncompressed"),
                              vectors_member(item, "msg"), vectors_member(item, "sig") };
    bool good = strcmp(text_of(item, "result"), "valid") == 0;
    struct klp_public key = { .alg = KLP_ALG_P256, .len = 33 };
    const char *why = NULL;
    if (b[0].len != 65 || !b[1].data || !b[2].data) {
        why = "the case is malformed";
    } else {
        uint8_t other[KLP_SIGNATURE_LEN];
        key.b[0] = 2 | (b[0].data[64] & 1);
        memcpy(key.b + 1, b[0].data + 1, 32);
        int taken = klp_verify_raw(&key, b[1], b[2]) == 0;
        if (b[2].len == sizeof other) {
            memcpy(other, b[2].data, 32);
            other_s(b[2].data + 32, other + 32);
            taken += klp_verify_raw(&key, b[1], kos_bytes(other, sizeof other)) == 0;
        }
        if (klp_public_check(&key) < 0)
            why = "the key was refused";
        else if (taken != good)
            why = good ? "not exactly one of its two forms was taken" : "a bad signature was taken";
    }
    vectors_free(b, 3);
    return why;
}

/* There is no single right verdict: ours is libsodium's, and a key of small order is no identity at all. */
static const char *speccheck(json_t *group, json_t *item)
{
    struct kos_bytes b[3] = { vectors_member(item, "pub_key"), vectors_member(item, "message"),
                              vectors_member(item, "signature") };
    const char *why = verify(item, b[0], b[1], b[2], json_is_true(json_object_get(item, "libsodium")));
    (void)group;
    vectors_free(b, 3);
    return why;
}

/* "acceptable" leaves the verdict open: KLP computes all of them, and refuses the shared secret of zeros. */
static const char *x25519(json_t *group, json_t *item)
{
    struct kos_bytes b[3] = { vectors_member(item, "public"), vectors_member(item, "private"),
                              vectors_member(item, "shared") };
    static const uint8_t zeros[32];
    uint8_t shared[32];
    const char *why = NULL;
    (void)group;
    if (b[0].len != 32 || b[1].len != 32 || b[2].len != 32) {
        why = "the case is malformed";
    } else {
        int32_t err = klp_x25519(b[1].data, b[0].data, shared);
        if (memcmp(b[2].data, zeros, 32) == 0)
            why = err == KOS_E_KEY ? NULL : "a shared secret of zeros was taken";
        else if (err < 0 || memcmp(shared, b[2].data, 32) != 0)
            why = err < 0 ? "a good key was refused" : "another shared secret";
    }
    vectors_free(b, 3);
    return why;
}

static const char *gcm_case(struct kos_bytes b[6], bool good)
{
    struct kos_bytes key = b[0], iv = b[1], ad = b[2], plain = b[3], cipher = b[4], tag = b[5];
    const char *why = NULL;
    struct klp_aead *aead = key.len == 32 && iv.len == 12 && tag.len == 16 ? klp_aead_new(key.data) : NULL;
    uint8_t *sealed = malloc(cipher.len + 16), *out = malloc(cipher.len + 16);
    if (!aead || !sealed || !out || plain.len != cipher.len) {
        why = "the case is malformed";
    } else {
        memcpy(sealed, cipher.data, cipher.len);
        memcpy(sealed + cipher.len, tag.data, 16);
        int32_t err = klp_aead_open(aead, iv.data, ad, kos_bytes(sealed, cipher.len + 16), out);
        if (!good)
            why = err == KOS_E_DECRYPT ? NULL : "a spoiled ciphertext was opened";
        else if (err < 0 || memcmp(out, plain.data, plain.len) != 0)
            why = "it does not open";
        else if (klp_aead_seal(aead, iv.data, ad, plain, out) < 0 || memcmp(out, sealed, cipher.len + 16) != 0)
            why = "another ciphertext";
    }
    klp_aead_free(aead);
    free(sealed);
    free(out);
    return why;
}

static const char *aes_gcm(json_t *group, json_t *item)
{
    struct kos_bytes b[6] = { vectors_member(item, "key"), vectors_member(item, "iv"), vectors_member(item, "aad"),
                              vectors_member(item, "msg"), vectors_member(item, "ct"), vectors_member(item, "tag") };
    const char *why = gcm_case(b, strcmp(text_of(item, "result"), "valid") == 0);
    (void)group;
    vectors_free(b, 6);
    return why;
}

static const char *hkdf(json_t *group, json_t *item)
{
    struct kos_bytes b[4] = { vectors_member(item, "salt"), vectors_member(item, "ikm"), vectors_member(item, "info"),
                              vectors_member(item, "okm") };
    size_t size = (size_t)json_integer_value(json_object_get(item, "size"));
    uint8_t *okm = malloc(size + 1);
    const char *why = NULL;
    (void)group;
    int32_t err = okm ? klp_hkdf_sha256(b[0], b[1], b[2], okm, size) : KOS_E_NOMEM;
    if (strcmp(text_of(item, "result"), "valid") != 0)
        why = err == KOS_E_LIMIT ? NULL : "an output too long was given";
    else if (err < 0 || b[3].len != size || memcmp(okm, b[3].data, size) != 0)
        why = "another output";
    free(okm);
    vectors_free(b, 4);
    return why;
}

static const char *hmac(json_t *group, json_t *item)
{
    struct kos_bytes b[3] = { vectors_member(item, "key"), vectors_member(item, "msg"), vectors_member(item, "tag") };
    bool good = strcmp(text_of(item, "result"), "valid") == 0;
    uint8_t mac[32];
    klp_hmac_sha256(b[0], &b[1], 1, mac);
    const char *why = NULL;
    if (!b[2].data || b[2].len > 32 || b[2].len * 8 != (size_t)json_integer_value(json_object_get(group, "tagSize")))
        why = "the case is malformed";
    else if (klp_equal(mac, b[2].data, b[2].len) != good)
        why = good ? "another tag" : "a spoiled tag is right";
    vectors_free(b, 3);
    return why;
}

static const struct { const char *algorithm; run_case run; } algorithms[] = {
    { "EDDSA", ed25519 }, { "ECDSA", ecdsa }, { "XDH", x25519 }, { "AES-GCM", aes_gcm }, { "HKDF-SHA-256", hkdf },
    { "HMACSHA256", hmac },
};

/* Why KLP has no use for this case, or NULL. */
static const char *not_ours(run_case run, json_t *group)
{
    if (run == aes_gcm && json_integer_value(json_object_get(group, "ivSize")) != 96)
        return "the nonce has not 96 bits";
    if (run == aes_gcm && json_integer_value(json_object_get(group, "tagSize")) != 128)
        return "the tag has not 128 bits";
    if (run == aes_gcm && json_integer_value(json_object_get(group, "keySize")) != 256)
        return "the key has not 256 bits";
    const char *curve = run == ed25519 ? text_of(json_object_get(group, "publicKey"),
                                                 "curve") : run == x25519 ? text_of(group, "curve") : "";
    if (run == ecdsa && (strcmp(text_of(json_object_get(group, "publicKey"), "curve"), "secp256r1") != 0 ||
                         strcmp(text_of(group, "sha"), "SHA-256") != 0 ||
                         strcmp(text_of(group, "type"), "EcdsaP1363Verify") != 0))
        return "not P-256 with SHA-256 and raw r and s";
    return strcmp(curve, "edwards448") == 0 || strcmp(curve, "curve448") == 0 ? "another curve" : NULL;
}

static void run_group(struct vectors *v, const char *algorithm, run_case run, json_t *group)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(group, "tests"), i, item) {
        char name[160];
        snprintf(name, sizeof name, "%s %lld %s", algorithm,
                 (long long)json_integer_value(json_object_get(item, "tcId")), text_of(item, "comment"));
        const char *why = not_ours(run, group);
        if (why)
            vectors_leave_out(v, name, why);
        else
            vectors_say(v, name, run(group, item));
    }
}

static void run_file(struct vectors *v, json_t *file)
{
    const char *algorithm = text_of(file, "algorithm");
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(file, "cases"), i, item) {
        char name[96];
        snprintf(name, sizeof name, "speccheck %lld %s", (long long)json_integer_value(json_object_get(item, "n")),
                 text_of(item, "comment"));
        vectors_say(v, name, speccheck(NULL, item));
    }
    if (json_object_get(file, "cases"))
        return;
    for (size_t a = 0; a < sizeof algorithms / sizeof *algorithms; a++) {
        if (strcmp(algorithm, algorithms[a].algorithm) != 0)
            continue;
        json_array_foreach(json_object_get(file, "testGroups"), i, item)
            run_group(v, algorithm, algorithms[a].run, item);
        return;
    }
    vectors_leave_out(v, algorithm, "KLP does not use this algorithm");
}

int main(void)
{
    return vectors_run("wycheproof", run_file);
}
