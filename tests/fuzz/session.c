/* SPDX-License-Identifier: Apache-2.0
 *
 * A handshake and the records after it, with everything on the way in the input's hands: altered, cut, repeated, out of
 * order, made up. What was altered never opens, what opens is what was sealed, and no datagram opens twice.
 */
#include "fuzz.h"

#include <klp/noise.h>

enum { SLOTS = 8, PLAIN = 64 };

struct slot {
    uint8_t plain[PLAIN], sealed[PLAIN + KLP_RECORD_DATAGRAM_OVERHEAD];
    size_t plain_len, sealed_len;
    uint64_t counter;
    bool opened;
};

struct world {
    uint64_t seed;
    struct klp_noise *noise[2];
    struct klp_record *send, *receive;
    struct slot slots[SLOTS];
    size_t next;
};

/* Alters a message as the input says; whether anything is another than before. */
static bool spoil(struct fuzz_input *in, uint8_t *message, size_t *len, size_t cap)
{
    uint8_t how = fuzz_u8(in);
    bool changed = false;
    if (how & 1 && *len) {
        size_t at = fuzz_u16(in) % *len;
        uint8_t bits = fuzz_u8(in);
        message[at] ^= bits;
        changed = bits != 0;
    }
    if (how & 2) {
        size_t shorter = fuzz_u16(in) % (*len + 1);
        changed = changed || shorter != *len;
        *len = shorter;
    }
    if (how & 4) {
        struct kos_bytes other = fuzz_run(in);
        size_t n = other.len < cap ? other.len : cap;
        changed = changed || n != *len || (n && memcmp(message, other.data, n) != 0);
        if (n)
            memcpy(message, other.data, n);
        *len = n;
    }
    return changed;
}

/* True when both ends are done. */
static bool handshake(struct world *w, struct fuzz_input *in)
{
    uint8_t mode = fuzz_u8(in), secrets[2][32], public_key[32], message[1024], payload[1024], out[1024];
    int32_t pattern = mode & 1 ? KLP_NOISE_IK : KLP_NOISE_XX;
    memset(secrets[0], 1, 32);
    memset(secrets[1], 2, 32);
    klp_x25519_public(secrets[1], public_key);
    if (mode & 2)
        public_key[0] ^= 1; /* a key that is not the one there */
    w->noise[0] =
        klp_noise_new(pattern, true, secrets[0], pattern == KLP_NOISE_IK ? public_key : NULL, fuzz_random(&w->seed));
    w->noise[1] = klp_noise_new(mode & 4 ? 3 - pattern : pattern, false, secrets[1], NULL, fuzz_random(&w->seed));
    FUZZ_CHECK(w->noise[0] && w->noise[1]);
    bool wrong = (mode & 2 && pattern == KLP_NOISE_IK) || mode & 4;
    for (int turn = 0; turn < 3 && !(klp_noise_done(w->noise[0]) && klp_noise_done(w->noise[1])); turn++) {
        struct klp_noise *writer = w->noise[turn % 2], *reader = w->noise[1 - turn % 2];
        struct kos_bytes said = mode & 8 ? fuzz_run(in) : kos_bytes_str("proof");
        size_t len, got;
        said.len = said.len < 512 ? said.len : 512;
        if (said.len)
            memcpy(payload, said.data, said.len);
        FUZZ_CHECK(klp_noise_writes(writer));
        if (klp_noise_write(writer, kos_bytes(payload, said.len), message, sizeof message, &len) < 0)
            return false;
        wrong = spoil(in, message, &len, sizeof message) || wrong;
        if (klp_noise_read(reader, kos_bytes(message, len), out, sizeof out, &got) < 0) {
            FUZZ_CHECK(wrong);
            FUZZ_CHECK(klp_noise_read(reader, kos_bytes(message, len), out, sizeof out, &got) == KOS_E_STATE);
            return false;
        }
        if (!wrong)
            FUZZ_CHECK(got == said.len && memcmp(out, payload, got) == 0);
    }
    /* Whoever altered anything was seen before both were done. */
    FUZZ_CHECK(!wrong && klp_noise_done(w->noise[0]) && klp_noise_done(w->noise[1]));
    uint8_t hash[2][32];
    FUZZ_CHECK(klp_noise_hash(w->noise[0], hash[0]) == 0 && klp_noise_hash(w->noise[1], hash[1]) == 0);
    FUZZ_CHECK(memcmp(hash[0], hash[1], 32) == 0);
    return true;
}

static void seal(struct world *w, struct fuzz_input *in, bool stream)
{
    struct slot *slot = &w->slots[w->next++ % SLOTS];
    slot->plain_len = fuzz_u8(in) % PLAIN;
    memset(slot->plain, (int)w->next, slot->plain_len);
    slot->opened = false;
    slot->counter = klp_record_counter(w->send);
    struct kos_bytes plain = kos_bytes(slot->plain, slot->plain_len);
    int32_t result =
        stream ? klp_record_seal(w->send, plain, slot->sealed) : klp_record_seal_datagram(w->send, plain, slot->sealed);
    FUZZ_CHECK(result == 0);
    slot->sealed_len = slot->plain_len + (stream ? KLP_RECORD_OVERHEAD : KLP_RECORD_DATAGRAM_OVERHEAD);
}

/* Returns false when a stream is over. */
static bool deliver(struct world *w, struct fuzz_input *in, bool stream, uint64_t *expected)
{
    struct slot *slot = &w->slots[fuzz_u8(in) % SLOTS];
    uint8_t bytes[sizeof slot->sealed], out[sizeof slot->sealed];
    size_t len = slot->sealed_len, got = 0;
    memcpy(bytes, slot->sealed, len);
    bool altered = spoil(in, bytes, &len, sizeof bytes);
    uint8_t *copy = fuzz_copy(kos_bytes(bytes, len));
    int32_t result;
    if (stream) {
        result = len < 2 ? KOS_E_PROTOCOL : klp_record_open(w->receive, kos_bytes(copy + 2, len - 2), out, &got);
        if (slot->sealed_len && len == slot->sealed_len && memcmp(copy + 2, slot->sealed + 2, len - 2) == 0)
            altered = false; /* the length is not part of what is sealed */
        FUZZ_CHECK((result == 0) == (!altered && slot->sealed_len && slot->counter == *expected) || len < 2);
        *expected += result == 0;
    } else {
        uint64_t high = klp_record_counter(w->receive);
        result = klp_record_open_datagram(w->receive, kos_bytes(copy, len), out, &got);
        if (result == 0)
            FUZZ_CHECK(!altered && !slot->opened && klp_record_opened(w->receive) == slot->counter);
        else if (!altered && slot->sealed_len && !slot->opened)
            FUZZ_CHECK(slot->counter + KLP_REPLAY_WINDOW < high || klp_record_counter(w->receive) != high);
        slot->opened = slot->opened || result == 0;
    }
    if (result == 0)
        FUZZ_CHECK(got == slot->plain_len && memcmp(out, slot->plain, got) == 0);
    free(copy);
    return !stream || result == 0;
}

static void records(struct world *w, struct fuzz_input *in)
{
    struct klp_record *back[2];
    uint8_t mode = fuzz_u8(in);
    uint64_t expected = 0;
    FUZZ_CHECK(klp_noise_split(w->noise[0], &w->send, &back[0]) == 0);
    FUZZ_CHECK(klp_noise_split(w->noise[1], &back[1], &w->receive) == 0);
    bool going = true;
    for (int i = 0; i < 200 && in->left && going; i++) {
        uint8_t op = fuzz_u8(in);
        if (op & 1)
            going = deliver(w, in, mode & 1, &expected);
        else
            for (int n = 0; n <= (op >> 1 & 3); n++)
                seal(w, in, mode & 1);
    }
    klp_record_free(back[0]);
    klp_record_free(back[1]);
    klp_record_free(w->send);
    klp_record_free(w->receive);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input(data, size);
    struct world w = { .seed = 17 };
    if (handshake(&w, &in))
        records(&w, &in);
    klp_noise_free(w.noise[0]);
    klp_noise_free(w.noise[1]);
    return 0;
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    /* mode, three messages as they are (IK: two), then form, and seal, open, open again, spoil */
    static const uint8_t runs[][24] = {
        { 0, 0, 0, 0, 0, 0, 5, 1, 0, 0, 1, 0, 0, 0, 7, 1, 1, 1, 0, 3, 8 },
        { 1, 0, 0, 0, 6, 5, 6, 7, 8, 1, 3, 0, 1, 0, 0, 1, 1, 0, 1, 2, 0 },
        { 0, 0, 0, 0, 1, 0, 5, 1, 0, 0, 0, 6, 1, 1, 0, 1, 1, 1, 0, 3, 9 },
        { 8, 0, 2, 65, 66, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1, 0, 0 },
        { 0, 1, 0, 3, 4 },
        { 0, 0, 1, 0, 40, 1 },
        { 3, 0 },
        { 5, 0 },
        { 0, 0, 0, 2, 0, 30 },
    };
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        put(arg, kos_bytes(runs[i], sizeof runs[i]));
}
