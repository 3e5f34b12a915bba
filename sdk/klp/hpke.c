/* SPDX-License-Identifier: Apache-2.0
 *
 * HPKE base mode (RFC 9180) with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
 *
 * The ephemeral key is DeriveKeyPair of 32 random bytes, as RFC 9180 4.1 allows for GenerateKeyPair: so the published
 * vectors, which name these bytes ikmE, run through the very code that seals.
 */
#include <klp/hpke.h>

enum { KEY = KLP_X25519_LEN, HASH = 32, NONCE = 12, CONTEXT = 1 + 2 * HASH };

static const uint8_t kem_suite[] = { 'K', 'E', 'M', 0x00, 0x20 };
static const uint8_t hpke_suite[] = { 'H', 'P', 'K', 'E', 0x00, 0x20, 0x00, 0x01, 0x00, 0x02 };
#define KEM_SUITE kos_bytes(kem_suite, sizeof kem_suite)
#define HPKE_SUITE kos_bytes(hpke_suite, sizeof hpke_suite)
#define NOTHING kos_bytes(NULL, 0)

/* RFC 9180 4: LabeledExtract. HMAC pads its key with zeros, so an empty salt is the 32 zero bytes of RFC 5869. */
static void extract(struct kos_bytes suite, struct kos_bytes salt, const char *label, struct kos_bytes ikm,
                    uint8_t ret_prk[HASH])
{
    struct kos_bytes pieces[4] = { kos_bytes_str("HPKE-v1"), suite, kos_bytes_str(label), ikm };
    klp_hmac_sha256(salt, pieces, 4, ret_prk);
}

/* RFC 9180 4: LabeledExpand, which is HKDF-Expand of RFC 5869 2.3. KOS_E_LIMIT above 255 * 32 bytes. */
static int32_t expand(struct kos_bytes suite, const uint8_t prk[HASH], const char *label, struct kos_bytes info,
                      uint8_t *out, size_t len)
{
    if (len > 255 * HASH)
        return KOS_E_LIMIT;
    uint8_t length[2] = { (uint8_t)(len >> 8), (uint8_t)len }, block[HASH], number = 1;
    struct kos_bytes previous = NOTHING;
    for (size_t at = 0; at < len; at += HASH, number++) {
        struct kos_bytes pieces[7] = { previous, kos_bytes(length, 2), kos_bytes_str("HPKE-v1"), suite,
                                       kos_bytes_str(label), info, kos_bytes(&number, 1) };
        klp_hmac_sha256(kos_bytes(prk, HASH), pieces, 7, block);
        previous = kos_bytes(block, HASH);
        memcpy(out + at, block, len - at < HASH ? len - at : HASH);
    }
    klp_wipe(block, sizeof block);
    return KOS_OK;
}

int32_t klp_hpke_derive(struct kos_bytes ikm, uint8_t ret_secret[32], uint8_t ret_public[32])
{
    uint8_t prk[HASH];
    extract(KEM_SUITE, NOTHING, "dkp_prk", ikm, prk);
    int32_t code = expand(KEM_SUITE, prk, "sk", NOTHING, ret_secret, KEY);
    klp_wipe(prk, sizeof prk);
    if (code == KOS_OK)
        klp_x25519_public(ret_secret, ret_public);
    return code;
}

/* RFC 9180 4.1 ExtractAndExpand and 5.1 KeySchedule with mode_base: no psk, no psk id. */
static int32_t schedule(const uint8_t dh[KEY], const uint8_t enc[KEY], const uint8_t recipient[KEY],
                        struct kos_bytes info, struct klp_hpke *ret_context)
{
    uint8_t kem_context[2 * KEY], prk[HASH], shared[HASH], secret[HASH];
    uint8_t context[CONTEXT] = { 0x00 /* mode_base */ };
    struct klp_hpke hpke;
    memcpy(kem_context, enc, KEY);
    memcpy(kem_context + KEY, recipient, KEY);
    extract(KEM_SUITE, NOTHING, "eae_prk", kos_bytes(dh, KEY), prk);
    int32_t code = expand(KEM_SUITE, prk, "shared_secret", kos_bytes(kem_context, sizeof kem_context), shared, HASH);
    extract(HPKE_SUITE, NOTHING, "psk_id_hash", NOTHING, context + 1);
    extract(HPKE_SUITE, NOTHING, "info_hash", info, context + 1 + HASH);
    extract(HPKE_SUITE, kos_bytes(shared, HASH), "secret", NOTHING, secret);
    struct kos_bytes all = kos_bytes(context, sizeof context);
    if (code == KOS_OK)
        code = expand(HPKE_SUITE, secret, "key", all, hpke.key, sizeof hpke.key);
    if (code == KOS_OK)
        code = expand(HPKE_SUITE, secret, "base_nonce", all, hpke.base_nonce, sizeof hpke.base_nonce);
    if (code == KOS_OK)
        code = expand(HPKE_SUITE, secret, "exp", all, hpke.exporter, sizeof hpke.exporter);
    if (code == KOS_OK)
        *ret_context = hpke;
    klp_wipe(prk, sizeof prk);
    klp_wipe(shared, sizeof shared);
    klp_wipe(secret, sizeof secret);
    klp_wipe(&hpke, sizeof hpke);
    return code;
}

int32_t klp_hpke_sender(const uint8_t recipient[32], struct kos_bytes info, struct klp_random random,
                        uint8_t ret_enc[KLP_HPKE_ENC_LEN], struct klp_hpke *ret_context)
{
    uint8_t ikm[KEY], secret[KEY], enc[KEY], dh[KEY];
    random.fill(random.self, ikm, sizeof ikm);
    int32_t code = klp_hpke_derive(kos_bytes(ikm, sizeof ikm), secret, enc);
    if (code == KOS_OK)
        code = klp_x25519(secret, recipient, dh);
    if (code == KOS_OK)
        code = schedule(dh, enc, recipient, info, ret_context);
    if (code == KOS_OK)
        memcpy(ret_enc, enc, KEY);
    klp_wipe(ikm, sizeof ikm);
    klp_wipe(secret, sizeof secret);
    klp_wipe(dh, sizeof dh);
    return code;
}

int32_t klp_hpke_receiver(const uint8_t secret[32], const uint8_t enc[KLP_HPKE_ENC_LEN], struct kos_bytes info,
                          struct klp_hpke *ret_context)
{
    uint8_t recipient[KEY], dh[KEY];
    int32_t code = klp_x25519(secret, enc, dh);
    if (code != KOS_OK)
        return code;
    klp_x25519_public(secret, recipient);
    code = schedule(dh, enc, recipient, info, ret_context);
    klp_wipe(dh, sizeof dh);
    return code;
}

int32_t klp_hpke_export(const struct klp_hpke *context, struct kos_bytes about, uint8_t *ret_secret, size_t len)
{
    return expand(HPKE_SUITE, context->exporter, "sec", about, ret_secret, len);
}

int32_t klp_hpke_seal(const uint8_t recipient[32], struct kos_bytes info, struct kos_bytes ad, struct kos_bytes plain,
                      struct klp_random random, uint8_t ret_enc[KLP_HPKE_ENC_LEN], uint8_t *out)
{
    struct klp_hpke context;
    uint8_t enc[KEY];
    int32_t code = klp_hpke_sender(recipient, info, random, enc, &context);
    if (code != KOS_OK)
        return code;
    struct klp_aead *aead = klp_aead_new(context.key);
    code = aead ? klp_aead_seal(aead, context.base_nonce, ad, plain, out) : KOS_E_NOMEM;
    klp_aead_free(aead);
    klp_wipe(&context, sizeof context);
    if (code == KOS_OK)
        memcpy(ret_enc, enc, KEY);
    return code;
}

int32_t klp_hpke_open(const uint8_t secret[32], const uint8_t enc[KLP_HPKE_ENC_LEN], struct kos_bytes info,
                      struct kos_bytes ad, struct kos_bytes sealed, uint8_t *out)
{
    struct klp_hpke context;
    if (sealed.len < KLP_HPKE_TAG_LEN)
        return KOS_E_DECRYPT;
    int32_t code = klp_hpke_receiver(secret, enc, info, &context);
    if (code != KOS_OK)
        return code;
    struct klp_aead *aead = klp_aead_new(context.key);
    code = aead ? klp_aead_open(aead, context.base_nonce, ad, sealed, out) : KOS_E_NOMEM;
    klp_aead_free(aead);
    klp_wipe(&context, sizeof context);
    return code;
}
