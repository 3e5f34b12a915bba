/* SPDX-License-Identifier: Apache-2.0
 * Noise_XX and Noise_IK, revision 34, and KLP's records: as written, but willing to do what is wrong. Written from the
 * specifications and not from libklp, so that the two check each other. */
#include "evil.h"

static void secret(struct noise *noise, const uint8_t bytes[32])
{
    char hex[65];
    if (!noise->secrets)
        return;
    klp_hex(kos_bytes(bytes, 32), hex);
    fprintf(noise->secrets, "%s\n", hex);
    fflush(noise->secrets);
}

static void mix_hash(struct noise *noise, struct kos_bytes data)
{
    struct kos_bytes both[2] = { kos_bytes(noise->h, 32), data };
    struct klp_digest digest;
    klp_sha256v(both, 2, &digest);
    memcpy(noise->h, digest.b, 32);
}

/* Noise 4.3: HKDF with two outputs is RFC 5869's of 64 bytes without info. */
static void mix_key(struct noise *noise, const uint8_t shared[32])
{
    uint8_t out[64];
    klp_hkdf_sha256(kos_bytes(noise->ck, 32), kos_bytes(shared, 32), kos_bytes(NULL, 0), out, sizeof out);
    memcpy(noise->ck, out, 32);
    memcpy(noise->k, out + 32, 32);
    noise->n = 0;
    noise->keyed = true;
    secret(noise, shared);
    secret(noise, noise->ck);
    secret(noise, noise->k);
}

static void nonce_of(uint64_t counter, uint8_t nonce[12])
{
    memset(nonce, 0, 12);
    for (int i = 0; i < 8; i++)
        nonce[4 + i] = (uint8_t)(counter >> (56 - 8 * i));
}

static size_t encrypt(struct noise *noise, struct kos_bytes plain, uint8_t *out)
{
    size_t len = plain.len;
    if (noise->keyed) {
        uint8_t nonce[12];
        struct klp_aead *aead = klp_aead_new(noise->k);
        nonce_of(noise->n++, nonce);
        klp_aead_seal(aead, nonce, kos_bytes(noise->h, 32), plain, out);
        klp_aead_free(aead);
        len += 16;
    } else if (len) {
        memcpy(out, plain.data, len);
    }
    mix_hash(noise, kos_bytes(out, len));
    return len;
}

static bool decrypt(struct noise *noise, struct kos_bytes sealed, uint8_t *out)
{
    bool good = true;
    if (noise->keyed) {
        uint8_t nonce[12];
        struct klp_aead *aead = klp_aead_new(noise->k);
        nonce_of(noise->n++, nonce);
        good = klp_aead_open(aead, nonce, kos_bytes(noise->h, 32), sealed, out) == 0;
        klp_aead_free(aead);
    } else if (sealed.len) {
        memcpy(out, sealed.data, sealed.len);
    }
    mix_hash(noise, sealed);
    return good;
}

void noise_begin(struct noise *noise, const char *name, struct kos_bytes prologue, const uint8_t s[32])
{
    memset(noise->h, 0, 32);
    memcpy(noise->h, name, strlen(name) < 32 ? strlen(name) : 32);
    memcpy(noise->ck, noise->h, 32);
    mix_hash(noise, prologue);
    memcpy(noise->s, s, 32);
    klp_x25519_public(noise->s, noise->s_public);
    random_fill(NULL, noise->e, sizeof noise->e);
    klp_x25519_public(noise->e, noise->e_public);
}

void noise_know(struct noise *noise, const uint8_t key[32])
{
    mix_hash(noise, kos_bytes(key, 32));
}

/* With a point of small order the agreement is zero: what a careless peer would compute too. */
static void agree(struct noise *noise, const uint8_t own[32], const uint8_t other[32], bool small)
{
    uint8_t shared[32] = { 0 };
    if (!small && klp_x25519(own, other, shared) < 0)
        memset(shared, 0, sizeof shared);
    mix_key(noise, shared);
}

static void mix(struct noise *noise, bool initiator, char token)
{
    bool own_static = token == 'd' || (token == 'b' && !initiator) || (token == 'c' && initiator);
    bool their_static = token == 'd' || (token == 'b' && initiator) || (token == 'c' && !initiator);
    uint8_t own_public[32];
    klp_x25519_public(own_static ? noise->s : noise->e, own_public);
    bool small = memcmp(own_public, own_static ? noise->s_public : noise->e_public, 32) != 0;
    agree(noise, own_static ? noise->s : noise->e, their_static ? noise->rs : noise->re, small);
}

size_t noise_write(struct noise *noise, bool initiator, const char *tokens, struct kos_bytes payload, uint8_t *out)
{
    size_t at = 0;
    for (; *tokens; tokens++) {
        if (*tokens == 'e') {
            memcpy(out + at, noise->e_public, 32);
            mix_hash(noise, kos_bytes(out + at, 32));
            at += 32;
        } else if (*tokens == 's') {
            at += encrypt(noise, kos_bytes(noise->s_public, 32), out + at);
        } else {
            mix(noise, initiator, *tokens);
        }
    }
    return at + encrypt(noise, payload, out + at);
}

bool noise_read(struct noise *noise, bool initiator, const char *tokens, struct kos_bytes message, uint8_t *out, size_t *ret_len)
{
    size_t at = 0;
    for (; *tokens; tokens++) {
        size_t len = 32 + (*tokens == 's' && noise->keyed ? 16 : 0);
        if ((*tokens == 'e' || *tokens == 's') && message.len - at < len)
            return false;
        if (*tokens == 'e') {
            memcpy(noise->re, message.data + at, 32);
            mix_hash(noise, kos_bytes(noise->re, 32));
        } else if (*tokens == 's') {
            if (!decrypt(noise, kos_bytes(message.data + at, len), noise->rs))
                return false;
        } else {
            mix(noise, initiator, *tokens);
            continue;
        }
        at += len;
    }
    size_t tag = noise->keyed ? 16 : 0;
    if (message.len - at < tag)
        return false;
    *ret_len = message.len - at - tag;
    return decrypt(noise, kos_bytes(message.data + at, message.len - at), out);
}

static void way_begin(struct noise *noise, struct way *way, const uint8_t key[32])
{
    memcpy(way->key, key, 32);
    way->counter = way->epoch = 0;
    way->aead = klp_aead_new(key);
    secret(noise, key);
}

void noise_split(struct noise *noise, bool initiator, struct way *ret_send, struct way *ret_receive)
{
    uint8_t out[64];
    klp_hkdf_sha256(kos_bytes(noise->ck, 32), kos_bytes(NULL, 0), kos_bytes(NULL, 0), out, sizeof out);
    way_begin(noise, ret_send, out + (initiator ? 0 : 32));
    way_begin(noise, ret_receive, out + (initiator ? 32 : 0));
}

size_t way_seal(struct way *way, uint64_t counter, struct kos_bytes plain, uint8_t *out)
{
    uint8_t nonce[12];
    nonce_of(counter, nonce);
    out[0] = (uint8_t)((plain.len + 16) >> 8);
    out[1] = (uint8_t)(plain.len + 16);
    klp_aead_seal(way->aead, nonce, kos_bytes(NULL, 0), plain, out + 2);
    return plain.len + KLP_RECORD_OVERHEAD;
}

bool way_open(struct way *way, struct kos_bytes sealed, uint8_t *out)
{
    uint8_t nonce[12];
    if (way->counter >> KLP_EPOCH_SHIFT != way->epoch)
        way_rekey(way);
    nonce_of(way->counter++, nonce);
    return klp_aead_open(way->aead, nonce, kos_bytes(NULL, 0), sealed, out) == 0;
}

/* Noise 11.3. */
void way_rekey(struct way *way)
{
    static const uint8_t zeros[32];
    uint8_t nonce[12], out[48];
    nonce_of(UINT64_MAX, nonce);
    klp_aead_seal(way->aead, nonce, kos_bytes(NULL, 0), kos_bytes(zeros, 32), out);
    klp_aead_free(way->aead);
    memcpy(way->key, out, 32);
    way->aead = klp_aead_new(way->key);
    way->epoch++;
}
