/* SPDX-License-Identifier: Apache-2.0
 *
 * Text codings and keys: a decoder takes exactly the text that its encoder writes. The first byte says which.
 */
#include "fuzz.h"

enum { ROOM = 4096 };

static void key_texts(struct kos_bytes text)
{
    struct klp_public key;
    uint8_t x25519[KLP_X25519_LEN];
    char out[KLP_KEY_TEXT_MAX];
    memset(&key, 0, sizeof key);
    if (klp_public_parse(text, &key) == 0) {
        FUZZ_CHECK(klp_public_check(&key) == 0);
        FUZZ_CHECK(klp_public_text(&key, out) > 0 || out[0]);
        FUZZ_CHECK(fuzz_same(text, kos_bytes_str(out)));
        /* A signature of noise is none. */
        uint8_t noise[KLP_SIGNATURE_LEN];
        uint64_t seed = 7;
        fuzz_fill(&seed, noise, sizeof noise);
        FUZZ_CHECK(klp_verify(&key, KLP_TAG_MESSAGE, text, kos_bytes(noise, sizeof noise)) == KOS_E_SIGNATURE);
    }
    if (klp_x25519_parse(text, x25519) == 0) {
        klp_x25519_text(x25519, out);
        FUZZ_CHECK(fuzz_same(text, kos_bytes_str(out)));
    }
}

/* Raw bytes as key and signature. */
static void raw_keys(struct kos_bytes data)
{
    struct klp_public key = { .alg = KLP_ALG_ED25519, .len = 32 };
    struct fuzz_input in = fuzz_input(data.data, data.len);
    if (fuzz_u8(&in) & 1) {
        key.alg = KLP_ALG_P256;
        key.len = 33;
    }
    struct kos_bytes bytes = fuzz_take(&in, key.len);
    memcpy(key.b, bytes.data, bytes.len);
    uint8_t signature[KLP_SIGNATURE_LEN] = { 0 };
    struct kos_bytes rest = fuzz_take(&in, sizeof signature);
    if (rest.len)
        memcpy(signature, rest.data, rest.len);
    if (klp_public_check(&key) == 0) {
        char out[KLP_KEY_TEXT_MAX];
        struct klp_public again;
        klp_public_text(&key, out);
        FUZZ_CHECK(klp_public_parse(kos_bytes_str(out), &again) == 0 && memcmp(&key, &again, sizeof key) == 0);
        klp_verify_raw(&key, kos_bytes(in.at, in.left), kos_bytes(signature, sizeof signature));
        klp_verify_raw(&key, kos_bytes(in.at, in.left), rest);
    }
}

static void decode(uint8_t which, struct kos_bytes text)
{
    static int32_t (*const decoders[])(struct kos_bytes, uint8_t *, size_t, size_t *) = { klp_unhex, klp_unbase64,
                                                                                          klp_unbase32, klp_unbase58 };
    uint8_t *data = malloc(ROOM);
    char *again = malloc(2 * ROOM + 1);
    size_t len = 0;
    FUZZ_CHECK(data && again);
    int32_t result = decoders[which](text, data, ROOM, &len);
    FUZZ_CHECK(result == 0 || result == KOS_E_SYNTAX || result == KOS_E_LIMIT);
    if (result == 0) {
        struct kos_bytes bytes = kos_bytes(data, len);
        if (which == 0)
            klp_hex(bytes, again);
        else if (which == 1)
            klp_base64(bytes, again);
        else if (which == 2)
            klp_base32(bytes, again);
        else
            FUZZ_CHECK(klp_base58(bytes, again, 2 * ROOM + 1) >= 0);
        FUZZ_CHECK(fuzz_same(text, kos_bytes_str(again)));
        uint8_t *tight = malloc(len ? len : 1);
        FUZZ_CHECK(tight && decoders[which](text, tight, len, NULL) == 0);
        if (len)
            FUZZ_CHECK(decoders[which](text, tight, len - 1, NULL) == KOS_E_LIMIT);
        free(tight);
    }
    free(again);
    free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > ROOM)
        return 0;
    struct kos_bytes rest = kos_bytes(data + 1, size - 1);
    switch (data[0] % 6) {
    case 4:
        key_texts(rest);
        break;
    case 5:
        raw_keys(rest);
        break;
    default:
        decode(data[0] % 6, rest);
    }
    return 0;
}

static void seed(fuzz_put *put, void *arg, uint8_t which, struct kos_bytes text)
{
    static struct fuzz_out out;
    out.len = 0;
    fuzz_add_u8(&out, which);
    fuzz_add(&out, text.data, text.len);
    put(arg, kos_bytes(out.data, out.len));
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    uint8_t data[40];
    char text[256];
    uint64_t state = 3;
    for (size_t len = 0; len < sizeof data; len += 3) {
        fuzz_fill(&state, data, sizeof data);
        memset(data, 0, len % 5);
        struct kos_bytes bytes = kos_bytes(data, len);
        klp_hex(bytes, text);
        seed(put, arg, 0, kos_bytes_str(text));
        klp_base64(bytes, text);
        seed(put, arg, 1, kos_bytes_str(text));
        klp_base32(bytes, text);
        seed(put, arg, 2, kos_bytes_str(text));
        if (klp_base58(bytes, text, sizeof text) >= 0)
            seed(put, arg, 3, kos_bytes_str(text));
    }
    for (int32_t alg = KLP_ALG_ED25519; alg <= KLP_ALG_P256; alg++) {
        struct klp_secret secret = { .alg = alg };
        struct klp_public key;
        uint8_t raw[1 + KLP_PUBLIC_MAX + KLP_SIGNATURE_LEN + 5];
        memset(secret.b, 7, sizeof secret.b);
        FUZZ_CHECK(klp_secret_public(&secret, &key) == 0);
        klp_public_text(&key, text);
        seed(put, arg, 4, kos_bytes_str(text));
        raw[0] = alg == KLP_ALG_P256;
        memcpy(raw + 1, key.b, key.len);
        klp_sign_raw(&secret, kos_bytes_str("hello"), raw + 1 + key.len);
        memcpy(raw + 1 + key.len + KLP_SIGNATURE_LEN, "hello", 5);
        seed(put, arg, 5, kos_bytes(raw, 1u + key.len + KLP_SIGNATURE_LEN + 5));
    }
    memset(data, 9, 32);
    klp_x25519_text(data, text);
    seed(put, arg, 4, kos_bytes_str(text));
}
