/* SPDX-License-Identifier: Apache-2.0
 *
 * HPKE against the vectors of RFC 9180: enc, key schedule, every ciphertext both ways, exports; and the single shot
 * that KLP uses on the first ciphertext. Left out: auth mode and other AEADs, which KLP does not have.
 */
#include <klp/hpke.h>

#include "vectors.h"

enum { PLAIN_MAX = 4096 };

static void fill(void *self, void *out, size_t len)
{
    const struct kos_bytes *ikm = self;
    if (ikm->len == len)
        memcpy(out, ikm->data, len);
    else
        memset(out, 0, len);
}

static bool is(json_t *item, const char *name, const void *data, size_t len)
{
    struct kos_bytes want = vectors_member(item, name);
    bool same = want.data && kos_bytes_eq(want, kos_bytes(data, len));
    vectors_free(&want, 1);
    return same;
}

static const char *run_ciphertext(const struct klp_hpke *context, json_t *item, bool check_nonce)
{
    struct kos_bytes b[3] = { vectors_member(item, "pt"), vectors_member(item, "aad"), vectors_member(item, "ct") };
    uint64_t seq = (uint64_t)json_integer_value(json_object_get(item, "seq"));
    uint8_t nonce[12], out[PLAIN_MAX + KLP_HPKE_TAG_LEN];
    const char *why = NULL;
    memcpy(nonce, context->base_nonce, sizeof nonce);
    for (int i = 0; i < 8; i++)
        nonce[11 - i] ^= (uint8_t)(seq >> (8 * i));
    struct klp_aead *aead = klp_aead_new(context->key);
    if (!b[0].data || !b[1].data || !b[2].data || b[0].len > PLAIN_MAX || b[2].len != b[0].len + KLP_HPKE_TAG_LEN)
        why = "the case is malformed";
    else if (check_nonce && !is(item, "nonce", nonce, sizeof nonce))
        why = "another nonce";
    else if (klp_aead_seal(aead, nonce, b[1], b[0], out) < 0 || memcmp(out, b[2].data, b[2].len) != 0)
        why = "another ciphertext";
    else if (klp_aead_open(aead, nonce, b[1], b[2], out) < 0 || memcmp(out, b[0].data, b[0].len) != 0)
        why = "the ciphertext does not open";
    klp_aead_free(aead);
    vectors_free(b, 3);
    return why;
}

/* keys: ikmR, ikmE, skRm, pkRm, info. */
static const char *run_single_shot(json_t *item, struct kos_bytes keys[5], json_t *first)
{
    struct kos_bytes b[3] = { vectors_member(first, "pt"), vectors_member(first, "aad"), vectors_member(first, "ct") };
    uint8_t enc[KLP_HPKE_ENC_LEN], out[PLAIN_MAX + KLP_HPKE_TAG_LEN];
    const char *why = NULL;
    if (b[0].len > PLAIN_MAX || b[2].len != b[0].len + KLP_HPKE_TAG_LEN)
        why = "the case is malformed";
    else if (klp_hpke_seal(keys[3].data, keys[4], b[1], b[0], (struct klp_random){ fill, &keys[1] }, enc, out) < 0
             || !is(item, "enc", enc, sizeof enc) || memcmp(out, b[2].data, b[2].len) != 0)
        why = "the single shot gives another ciphertext";
    else if (klp_hpke_open(keys[2].data, enc, keys[4], b[1], b[2], out) < 0 || memcmp(out, b[0].data, b[0].len) != 0)
        why = "the single shot does not open";
    vectors_free(b, 3);
    return why;
}

static const char *run_schedule(json_t *item, struct kos_bytes b[5], struct klp_hpke *ret_context)
{
    uint8_t secret[32], public[32], enc[KLP_HPKE_ENC_LEN];
    struct klp_hpke receiver;
    for (int i = 0; i < 4; i++)
        if (b[i].len != 32)
            return "the case is malformed";
    klp_hpke_derive(b[0], secret, public);
    if (memcmp(secret, b[2].data, 32) != 0 || memcmp(public, b[3].data, 32) != 0)
        return "DeriveKeyPair gives another recipient's key";
    klp_hpke_derive(b[1], secret, public);
    if (!is(item, "skEm", secret, 32) || !is(item, "pkEm", public, 32))
        return "DeriveKeyPair gives another ephemeral key";
    if (klp_hpke_sender(b[3].data, b[4], (struct klp_random){ fill, &b[1] }, enc, ret_context) < 0
        || !is(item, "enc", enc, 32))
        return "another encapsulation";
    if (!is(item, "key", ret_context->key, 32) || !is(item, "base_nonce", ret_context->base_nonce, 12)
        || !is(item, "exporter_secret", ret_context->exporter, 32))
        return "another key schedule";
    if (klp_hpke_receiver(b[2].data, enc, b[4], &receiver) < 0 || memcmp(&receiver, ret_context, sizeof receiver) != 0)
        return "sender and receiver disagree";
    return NULL;
}

static const char *run_export(const struct klp_hpke *context, json_t *item)
{
    struct kos_bytes about = vectors_member(item, "exporter_context");
    size_t len = (size_t)json_integer_value(json_object_get(item, "L"));
    uint8_t out[PLAIN_MAX];
    const char *why = NULL;
    if (!about.data || len > sizeof out || klp_hpke_export(context, about, out, len) < 0
        || !is(item, "exported_value", out, len))
        why = "another exported value";
    vectors_free(&about, 1);
    return why;
}

static void run_case(struct vectors *v, json_t *item)
{
    struct kos_bytes b[5] = { vectors_member(item, "ikmR"), vectors_member(item, "ikmE"), vectors_member(item, "skRm"),
                              vectors_member(item, "pkRm"), vectors_member(item, "info") };
    struct klp_hpke context;
    char name[96];
    size_t i;
    json_t *part, *ciphertexts = json_object_get(item, "encryptions");
    const char *id = json_string_value(json_object_get(item, "id"));
    const char *why = run_schedule(item, b, &context);
    snprintf(name, sizeof name, "%s keys, encapsulation and schedule", id ? id : "?");
    vectors_say(v, name, why);
    if (!why) {
        json_array_foreach(ciphertexts, i, part) {
            long long seq = json_integer_value(json_object_get(part, "seq"));
            snprintf(name, sizeof name, "%s ciphertext %lld", id ? id : "?", seq);
            vectors_say(v, name, run_ciphertext(&context, part, json_object_get(part, "nonce") != NULL));
            if (seq == 0) {
                snprintf(name, sizeof name, "%s single shot", id ? id : "?");
                vectors_say(v, name, run_single_shot(item, b, part));
            }
        }
        json_array_foreach(json_object_get(item, "exports"), i, part) {
            snprintf(name, sizeof name, "%s export %zu", id ? id : "?", i);
            vectors_say(v, name, run_export(&context, part));
        }
    }
    vectors_free(b, 5);
}

static void run_file(struct vectors *v, json_t *file)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(file, "cases"), i, item) {
        char name[96];
        long long mode = json_integer_value(json_object_get(item, "mode"));
        long long aead = json_integer_value(json_object_get(item, "aead_id"));
        long long kem = json_integer_value(json_object_get(item, "kem_id"));
        long long kdf = json_integer_value(json_object_get(item, "kdf_id"));
        snprintf(name, sizeof name, "mode %lld aead %lld", mode, aead);
        if (kem != 0x20 || kdf != 1)
            vectors_leave_out(v, name, "another KEM or KDF than KLP's");
        else if (aead != 2)
            vectors_leave_out(v, name, "KLP seals with AES-256-GCM only");
        else if (mode != 0)
            vectors_leave_out(v, name, "KLP seals in base mode only: the sender is proven by the message's signature");
        else
            run_case(v, item);
    }
}

int main(void)
{
    return vectors_run("hpke", run_file);
}
