/* SPDX-License-Identifier: Apache-2.0
 *
 * Multikey texts against the did:key vectors: what stands after "did:key:" is the text of a key.
 */
#include <klp/crypto.h>

#include "vectors.h"

#define DID_KEY "did:key:"

/* A key as the documents have it: base58btc without a prefix, or a JWK's x in base64url without padding. */
static bool key_is(json_t *method, const uint8_t key[32])
{
    char text[64];
    const char *base58 = json_string_value(json_object_get(method, "publicKeyBase58"));
    const char *x = json_string_value(json_object_get(json_object_get(method, "publicKeyJwk"), "x"));
    if (base58)
        return klp_base58(kos_bytes(key, 32), text, sizeof text) > 0 && strcmp(text, base58) == 0;
    klp_base64(kos_bytes(key, 32), text);
    text[43] = '\0'; /* 32 bytes: 43 digits, one '=' */
    for (char *p = text; *p; p++)
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    return x && strcmp(text, x) == 0;
}

static const char *signing(json_t *item, const char *did, struct kos_bytes seed)
{
    struct klp_secret secret = { .alg = KLP_ALG_ED25519 };
    struct klp_public key, parsed;
    char text[KLP_KEY_TEXT_MAX];
    if (seed.len != 32 || strncmp(did, DID_KEY, strlen(DID_KEY)) != 0)
        return "the case is malformed";
    memcpy(secret.b, seed.data, 32);
    if (klp_secret_public(&secret, &key) < 0 || klp_public_text(&key, text) < 0 ||
        strcmp(text, did + strlen(DID_KEY)) != 0)
        return "the seed gives another text";
    if (klp_public_parse(kos_bytes_str(text), &parsed) < 0 || memcmp(&parsed, &key, sizeof key) != 0)
        return "the text gives another key";
    return key_is(json_object_get(item, "verificationKeyPair"), key.b) ? NULL : "another public key";
}

static const char *agreement(json_t *method, const char *text)
{
    uint8_t key[32];
    char again[KLP_KEY_TEXT_MAX];
    if (klp_x25519_parse(kos_bytes_str(text), key) < 0)
        return "the key was refused";
    if (klp_x25519_text(key, again) < 0 || strcmp(text, again) != 0)
        return "another text";
    return key_is(method, key) ? NULL : "another public key";
}

static void run_seeds(struct vectors *v, json_t *cases)
{
    size_t i;
    json_t *item;
    json_array_foreach(cases, i, item) {
        const char *did = json_string_value(json_object_get(item, "did"));
        json_t *pair = json_object_get(item, "keyAgreementKeyPair");
        const char *id = json_string_value(json_object_get(pair, "id"));
        struct kos_bytes seed = vectors_member(item, "seed");
        vectors_say(v, did ? did : "?", signing(item, did ? did : "", seed));
        vectors_free(&seed, 1);
        const char *fragment = id ? strchr(id, '#') : NULL;
        if (fragment)
            vectors_say(v, fragment + 1, agreement(pair, fragment + 1));
    }
}

static void run_file(struct vectors *v, json_t *file)
{
    const char *did;
    json_t *document;
    json_t *documents = json_object_get(file, "didDocument");
    json_object_foreach(documents, did, document) {
        json_t *method = json_array_get(json_object_get(document, "verificationMethod"), 0);
        bool is_key = strncmp(did, DID_KEY, strlen(DID_KEY)) == 0;
        vectors_say(v, did, is_key ? agreement(method, did + strlen(DID_KEY)) : "the case is malformed");
    }
    json_t *cases = json_object_get(file, "cases");
    if (json_object_get(json_array_get(cases, 0), "seed"))
        run_seeds(v, cases);
    else if (!documents)
        vectors_leave_out(v, "a file without seeds and key documents", "not of did:key");
}

int main(void)
{
    return vectors_run("did", run_file);
}
