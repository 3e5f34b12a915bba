/* SPDX-License-Identifier: Apache-2.0
 *
 * The Noise handshake, revision 34, for 25519, AESGCM and SHA256. Patterns are tables of tokens, so that one short
 * machine runs all of them; KLP itself uses XX and IK. What a finished handshake splits into is record.c's.
 *
 * Invariant: a handshake that failed in writing or reading is dead: every secret is wiped and nothing but
 * KOS_E_STATE comes out of it again. There is no way to try a second message against the same state.
 */
#include <klp/noise.h>

#include "noise_private.h"

#include <stdlib.h>

enum token { END = 0, E, S, EE, ES, SE, SS };
enum { MESSAGES_MAX = 3, TOKENS_MAX = 5, TAG = 16, KEY = KLP_X25519_LEN };
enum needs { I_STATIC = 1, R_STATIC = 2, I_KNOWN = 4, R_KNOWN = 8 };

/* Noise 7.4, 7.5: who has a static key (I_STATIC, R_STATIC), whose is known before the first message (I_KNOWN,
 * R_KNOWN), and the tokens of each message. */
struct pattern {
    char name[3];
    uint8_t needs;
    uint8_t count;
    uint8_t tokens[MESSAGES_MAX][TOKENS_MAX];
};

static const struct pattern patterns[] = {
    [KLP_NOISE_XX] = { "XX", I_STATIC | R_STATIC, 3, { { E }, { E, EE, S, ES }, { S, SE } } },
    [KLP_NOISE_IK] = { "IK", I_STATIC | R_STATIC | R_KNOWN, 2, { { E, ES, S, SS }, { E, EE, SE } } },
    [KLP_NOISE_NN] = { "NN", 0, 2, { { E }, { E, EE } } },
    [KLP_NOISE_NK] = { "NK", R_STATIC | R_KNOWN, 2, { { E, ES }, { E, EE } } },
    [KLP_NOISE_NX] = { "NX", R_STATIC, 2, { { E }, { E, EE, S, ES } } },
    [KLP_NOISE_XN] = { "XN", I_STATIC, 3, { { E }, { E, EE }, { S, SE } } },
    [KLP_NOISE_XK] = { "XK", I_STATIC | R_STATIC | R_KNOWN, 3, { { E, ES }, { E, EE }, { S, SE } } },
    [KLP_NOISE_KN] = { "KN", I_STATIC | I_KNOWN, 2, { { E }, { E, EE, SE } } },
    [KLP_NOISE_KK] = { "KK", I_STATIC | R_STATIC | I_KNOWN | R_KNOWN, 2, { { E, ES, SS }, { E, EE, SE } } },
    [KLP_NOISE_KX] = { "KX", I_STATIC | R_STATIC | I_KNOWN, 2, { { E }, { E, EE, SE, S, ES } } },
    [KLP_NOISE_IN] = { "IN", I_STATIC, 2, { { E, S }, { E, EE, SE } } },
    [KLP_NOISE_IX] = { "IX", I_STATIC | R_STATIC, 2, { { E, S }, { E, EE, SE, S, ES } } },
    [KLP_NOISE_N] = { "N", R_STATIC | R_KNOWN, 1, { { E, ES } } },
    [KLP_NOISE_K] = { "K", I_STATIC | R_STATIC | I_KNOWN | R_KNOWN, 1, { { E, ES, SS } } },
    [KLP_NOISE_X] = { "X", I_STATIC | R_STATIC | R_KNOWN, 1, { { E, ES, S, SS } } },
};

enum stage { RUNNING = 0, DONE, SPLIT, DEAD };

struct klp_noise {
    const struct pattern *pattern;
    struct klp_random random;
    bool initiator, has_rs, has_re, has_key;
    uint8_t stage;
    uint8_t at;                 /* messages done */
    uint64_t n;
    struct klp_aead *aead;      /* for k; made when k is first used, since most keys of a handshake never are */
    uint8_t h[KLP_DIGEST_LEN], ck[32], k[32];
    uint8_t s[KEY], e[KEY];
    uint8_t s_public[KEY], e_public[KEY], rs[KEY], re[KEY];
};

/* SymmetricState, Noise 5.2. */

static void mix_hash(struct klp_noise *noise, struct kos_bytes data)
{
    struct kos_bytes pieces[2] = { kos_bytes(noise->h, sizeof noise->h), data };
    struct klp_digest digest;
    klp_sha256v(pieces, 2, &digest);
    memcpy(noise->h, digest.b, sizeof noise->h);
}

/* HKDF of Noise 4.3 with two outputs; `ck` may be `ret_one`. */
static void hkdf2(const uint8_t ck[32], struct kos_bytes ikm, uint8_t ret_one[32], uint8_t ret_two[32])
{
    static const uint8_t one = 1, two = 2;
    uint8_t prk[32], first[32];
    klp_hmac_sha256(kos_bytes(ck, 32), &ikm, 1, prk);
    struct kos_bytes last[2] = { kos_bytes(&one, 1), kos_bytes(&two, 1) };
    klp_hmac_sha256(kos_bytes(prk, 32), last, 1, first);
    last[0] = kos_bytes(first, 32);
    klp_hmac_sha256(kos_bytes(prk, 32), last, 2, ret_two);
    memcpy(ret_one, first, 32);
    klp_wipe(prk, sizeof prk);
    klp_wipe(first, sizeof first);
}

static void mix_key(struct klp_noise *noise, const uint8_t ikm[32])
{
    hkdf2(noise->ck, kos_bytes(ikm, 32), noise->ck, noise->k);
    klp_aead_free(noise->aead);
    noise->aead = NULL;
    noise->has_key = true;
    noise->n = 0;
}

void klp_noise_nonce(uint64_t counter, uint8_t ret_nonce[12])
{
    memset(ret_nonce, 0, 4);
    for (int i = 0; i < 8; i++)
        ret_nonce[4 + i] = (uint8_t)(counter >> (56 - 8 * i));
}

static int32_t ready(struct klp_noise *noise)
{
    if (!noise->aead)
        noise->aead = klp_aead_new(noise->k);
    return noise->aead ? KOS_OK : KOS_E_NOMEM;
}

/* Writes plain.len bytes, and a tag when there is a key; adds their number to *at. */
static int32_t encrypt_and_hash(struct klp_noise *noise, struct kos_bytes plain, uint8_t *out, size_t *at)
{
    size_t len = plain.len;
    if (noise->has_key) {
        uint8_t nonce[12];
        klp_noise_nonce(noise->n++, nonce);
        int32_t code = ready(noise);
        if (code == KOS_OK)
            code = klp_aead_seal(noise->aead, nonce, kos_bytes(noise->h, sizeof noise->h), plain, out + *at);
        if (code < 0)
            return code;
        len += TAG;
    } else if (len) {
        memcpy(out + *at, plain.data, len);
    }
    mix_hash(noise, kos_bytes(out + *at, len));
    *at += len;
    return KOS_OK;
}

static int32_t decrypt_and_hash(struct klp_noise *noise, struct kos_bytes sealed, uint8_t *out)
{
    if (noise->has_key) {
        uint8_t nonce[12];
        klp_noise_nonce(noise->n++, nonce);
        int32_t code = ready(noise);
        if (code == KOS_OK)
            code = klp_aead_open(noise->aead, nonce, kos_bytes(noise->h, sizeof noise->h), sealed, out);
        if (code < 0)
            return code;
    } else if (sealed.len) {
        memcpy(out, sealed.data, sealed.len);
    }
    mix_hash(noise, sealed);
    return KOS_OK;
}

/* HandshakeState, Noise 5.3. */

static void forget(struct klp_noise *noise)
{
    klp_aead_free(noise->aead);
    noise->aead = NULL;
    noise->has_key = false;
    klp_wipe(noise->ck, sizeof noise->ck);
    klp_wipe(noise->k, sizeof noise->k);
    klp_wipe(noise->s, sizeof noise->s);
    klp_wipe(noise->e, sizeof noise->e);
}

static int32_t die(struct klp_noise *noise, int32_t code)
{
    forget(noise);
    klp_wipe(noise->h, sizeof noise->h);
    klp_wipe(noise->rs, sizeof noise->rs);
    noise->stage = DEAD;
    return code;
}

static int32_t mix_agreement(struct klp_noise *noise, enum token token)
{
    bool own_static = token == SS || (token == ES && !noise->initiator) || (token == SE && noise->initiator);
    bool remote_static = token == SS || (token == ES && noise->initiator) || (token == SE && !noise->initiator);
    uint8_t shared[KEY];
    int32_t code = klp_x25519(own_static ? noise->s : noise->e, remote_static ? noise->rs : noise->re, shared);
    if (code == KOS_OK)
        mix_key(noise, shared);
    klp_wipe(shared, sizeof shared);
    return code;
}

static int32_t write_token(struct klp_noise *noise, enum token token, uint8_t *out, size_t *at)
{
    switch (token) {
    case E:
        noise->random.fill(noise->random.self, noise->e, sizeof noise->e);
        klp_x25519_public(noise->e, noise->e_public);
        memcpy(out + *at, noise->e_public, KEY);
        mix_hash(noise, kos_bytes(noise->e_public, KEY));
        *at += KEY;
        return KOS_OK;
    case S:
        return encrypt_and_hash(noise, kos_bytes(noise->s_public, KEY), out, at);
    default:
        return mix_agreement(noise, token);
    }
}

static int32_t read_token(struct klp_noise *noise, enum token token, const uint8_t *data, size_t *at)
{
    int32_t code;
    size_t len = KEY;
    switch (token) {
    case E:
        memcpy(noise->re, data + *at, KEY);
        noise->has_re = true;
        mix_hash(noise, kos_bytes(noise->re, KEY));
        *at += KEY;
        return KOS_OK;
    case S:
        len += noise->has_key ? TAG : 0;
        code = decrypt_and_hash(noise, kos_bytes(data + *at, len), noise->rs);
        noise->has_rs = code == KOS_OK;
        *at += len;
        return code;
    default:
        return mix_agreement(noise, token);
    }
}

/* Bytes of the current message beside its payload. */
static size_t overhead(const struct klp_noise *noise)
{
    const uint8_t *tokens = noise->pattern->tokens[noise->at];
    bool key = noise->has_key;
    size_t len = 0;
    for (int i = 0; i < TOKENS_MAX && tokens[i] != END; i++) {
        if (tokens[i] == E)
            len += KEY;
        else if (tokens[i] == S)
            len += KEY + (key ? TAG : 0);
        else
            key = true;
    }
    return len + (key ? TAG : 0);
}

/* The keys that only the handshake needed go with its last message, not with its owner's next act. */
static void advance(struct klp_noise *noise)
{
    if (++noise->at < noise->pattern->count)
        return;
    klp_wipe(noise->s, sizeof noise->s);
    klp_wipe(noise->e, sizeof noise->e);
    noise->stage = DONE;
}

static bool turn(const struct klp_noise *noise, bool writes)
{
    return noise->stage == RUNNING && klp_noise_writes(noise) == writes;
}

int32_t klp_noise_write(struct klp_noise *noise, struct kos_bytes payload, uint8_t *out, size_t cap, size_t *ret_len)
{
    if (!turn(noise, true))
        return die(noise, KOS_E_STATE);
    size_t extra = overhead(noise), at = 0;
    if (payload.len > KLP_NOISE_MAX - extra || cap < extra + payload.len)
        return die(noise, KOS_E_LIMIT);
    const uint8_t *tokens = noise->pattern->tokens[noise->at];
    int32_t code = KOS_OK;
    for (int i = 0; i < TOKENS_MAX && tokens[i] != END && code == KOS_OK; i++)
        code = write_token(noise, (enum token)tokens[i], out, &at);
    if (code == KOS_OK)
        code = encrypt_and_hash(noise, payload, out, &at);
    if (code != KOS_OK)
        return die(noise, code);
    advance(noise);
    *ret_len = at;
    return KOS_OK;
}

int32_t klp_noise_read(struct klp_noise *noise, struct kos_bytes message, uint8_t *out_payload, size_t cap,
                       size_t *ret_len)
{
    if (!turn(noise, false))
        return die(noise, KOS_E_STATE);
    size_t extra = overhead(noise), at = 0;
    if (message.len < extra || message.len > KLP_NOISE_MAX)
        return die(noise, KOS_E_PROTOCOL);
    if (message.len - extra > cap)
        return die(noise, KOS_E_LIMIT);
    const uint8_t *tokens = noise->pattern->tokens[noise->at];
    int32_t code = KOS_OK;
    for (int i = 0; i < TOKENS_MAX && tokens[i] != END && code == KOS_OK; i++)
        code = read_token(noise, (enum token)tokens[i], message.data, &at);
    if (code == KOS_OK)
        code = decrypt_and_hash(noise, kos_bytes(message.data + at, message.len - at), out_payload);
    if (code != KOS_OK)
        return die(noise, code);
    advance(noise);
    *ret_len = message.len - extra;
    return KOS_OK;
}

/* Noise 5.3 Initialize: name, prologue, then the static keys known beforehand, the initiator's first. */
static void initialise(struct klp_noise *noise, struct kos_bytes prologue)
{
    char name[sizeof noise->h + 1] = { 0 };
    snprintf(name, sizeof name, "Noise_%s_25519_AESGCM_SHA256", noise->pattern->name);
    memcpy(noise->h, name, sizeof noise->h); /* at most 32 bytes, so zero-padded and not hashed */
    memcpy(noise->ck, noise->h, sizeof noise->ck);
    mix_hash(noise, prologue);
    if (noise->pattern->needs & I_KNOWN)
        mix_hash(noise, kos_bytes(noise->initiator ? noise->s_public : noise->rs, KEY));
    if (noise->pattern->needs & R_KNOWN)
        mix_hash(noise, kos_bytes(noise->initiator ? noise->rs : noise->s_public, KEY));
}

struct klp_noise *klp_noise_new_raw(int32_t pattern, bool initiator, struct kos_bytes prologue,
                                    const uint8_t static_secret[32], const uint8_t *remote_static,
                                    struct klp_random random)
{
    if (pattern < KLP_NOISE_XX || (size_t)pattern >= sizeof patterns / sizeof *patterns)
        return NULL;
    const struct pattern *table = &patterns[pattern];
    bool wants_static = table->needs & (initiator ? I_STATIC : R_STATIC);
    bool wants_remote = table->needs & (initiator ? R_KNOWN : I_KNOWN);
    /* A remote key that the pattern would not use is refused: the caller would believe that it was checked. */
    if ((wants_static && !static_secret) || wants_remote != (remote_static != NULL))
        return NULL;
    struct klp_noise *noise = calloc(1, sizeof *noise);
    if (!noise)
        return NULL;
    noise->pattern = table;
    noise->initiator = initiator;
    noise->random = random;
    if (wants_static) {
        memcpy(noise->s, static_secret, KEY);
        klp_x25519_public(noise->s, noise->s_public);
    }
    if (wants_remote) {
        memcpy(noise->rs, remote_static, KEY);
        noise->has_rs = true;
    }
    initialise(noise, prologue);
    return noise;
}

struct klp_noise *klp_noise_new(int32_t pattern, bool initiator, const uint8_t static_secret[32],
                                const uint8_t *remote_static, struct klp_random random)
{
    if (pattern != KLP_NOISE_XX && pattern != KLP_NOISE_IK)
        return NULL;
    uint8_t prologue[6] = { 'K', 'L', 'P', '/', '1', (uint8_t)pattern };
    struct kos_bytes bytes = kos_bytes(prologue, sizeof prologue);
    return klp_noise_new_raw(pattern, initiator, bytes, static_secret, remote_static, random);
}

void klp_noise_free(struct klp_noise *noise)
{
    if (!noise)
        return;
    die(noise, KOS_OK);
    free(noise);
}

bool klp_noise_writes(const struct klp_noise *noise)
{
    return noise->stage == RUNNING && noise->initiator == (noise->at % 2 == 0);
}

bool klp_noise_done(const struct klp_noise *noise)
{
    return noise->stage == DONE;
}

int32_t klp_noise_remote(const struct klp_noise *noise, uint8_t ret_static[32])
{
    if (noise->stage == DEAD || !noise->has_rs)
        return KOS_E_STATE;
    memcpy(ret_static, noise->rs, KEY);
    return KOS_OK;
}

int32_t klp_noise_hash(const struct klp_noise *noise, uint8_t ret_hash[32])
{
    if (noise->stage != DONE && noise->stage != SPLIT)
        return KOS_E_STATE;
    memcpy(ret_hash, noise->h, sizeof noise->h);
    return KOS_OK;
}

int32_t klp_noise_split(struct klp_noise *noise, struct klp_record **ret_send, struct klp_record **ret_receive)
{
    if (noise->stage != DONE)
        return KOS_E_STATE;
    uint8_t from_initiator[32], from_responder[32];
    hkdf2(noise->ck, kos_bytes(NULL, 0), from_initiator, from_responder);
    struct klp_record *send = klp_record_new(noise->initiator ? from_initiator : from_responder, true);
    struct klp_record *receive = klp_record_new(noise->initiator ? from_responder : from_initiator, false);
    klp_wipe(from_initiator, sizeof from_initiator);
    klp_wipe(from_responder, sizeof from_responder);
    if (!send || !receive) {
        klp_record_free(send);
        klp_record_free(receive);
        return die(noise, KOS_E_NOMEM);
    }
    forget(noise);
    noise->stage = SPLIT;
    *ret_send = send;
    *ret_receive = receive;
    return KOS_OK;
}
