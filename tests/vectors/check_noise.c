/* SPDX-License-Identifier: Apache-2.0
 *
 * Noise against the vectors of cacophony, snow and noise-c: both sides of every handshake, byte for byte, the
 * handshake hash, and the transport messages after it as records. Left out: ChaChaPoly and pre-shared keys, which KLP
 * does not have.
 */
#include <klp/noise.h>

#include "vectors.h"

struct side {
    struct klp_noise *noise;
    struct klp_record *send, *receive;
    struct kos_bytes ephemeral;
};

static void fill(void *self, void *out, size_t len)
{
    const struct kos_bytes *bytes = self;
    memset(out, 0, len);
    memcpy(out, bytes->data, bytes->len < len ? bytes->len : len);
}

static int32_t pattern_of(const char *protocol)
{
    static const char *const names[] = {
        [KLP_NOISE_XX] = "XX", [KLP_NOISE_IK] = "IK", [KLP_NOISE_NN] = "NN", [KLP_NOISE_NK] = "NK",
        [KLP_NOISE_NX] = "NX", [KLP_NOISE_XN] = "XN", [KLP_NOISE_XK] = "XK", [KLP_NOISE_KN] = "KN",
        [KLP_NOISE_KK] = "KK", [KLP_NOISE_KX] = "KX", [KLP_NOISE_IN] = "IN", [KLP_NOISE_IX] = "IX",
        [KLP_NOISE_N] = "N", [KLP_NOISE_K] = "K", [KLP_NOISE_X] = "X",
    };
    char whole[64];
    for (int32_t i = KLP_NOISE_XX; (size_t)i < sizeof names / sizeof *names; i++) {
        snprintf(whole, sizeof whole, "Noise_%s_25519_AESGCM_SHA256", names[i]);
        if (strcmp(protocol, whole) == 0)
            return i;
    }
    return 0;
}

/* Only what the pattern knows beforehand is given: some of the files name more. */
static bool knows_remote(int32_t pattern, bool initiator)
{
    switch (pattern) {
    case KLP_NOISE_KK: case KLP_NOISE_K:
        return true;
    case KLP_NOISE_IK: case KLP_NOISE_NK: case KLP_NOISE_XK: case KLP_NOISE_N: case KLP_NOISE_X:
        return initiator;
    case KLP_NOISE_KN: case KLP_NOISE_KX:
        return !initiator;
    default:
        return false;
    }
}

static bool one_way(int32_t pattern)
{
    return pattern == KLP_NOISE_N || pattern == KLP_NOISE_K || pattern == KLP_NOISE_X;
}

static const uint8_t *key_of(struct kos_bytes bytes)
{
    return bytes.len == 32 ? bytes.data : NULL;
}

static bool start(struct side *side, json_t *item, int32_t pattern, bool initiator)
{
    char names[4][32];
    struct kos_bytes b[3];
    static const char *const members[4] = { "static", "remote_static", "prologue", "ephemeral" };
    for (int i = 0; i < 4; i++)
        snprintf(names[i], sizeof names[i], "%s_%s", initiator ? "init" : "resp", members[i]);
    for (int i = 0; i < 3; i++)
        b[i] = vectors_member(item, names[i]);
    side->ephemeral = vectors_member(item, names[3]);
    const uint8_t *remote = knows_remote(pattern, initiator) ? key_of(b[1]) : NULL;
    side->noise = klp_noise_new_raw(pattern, initiator, b[2], key_of(b[0]), remote,
                                    (struct klp_random){ fill, &side->ephemeral });
    vectors_free(b, 3);
    return side->noise != NULL;
}

static void end(struct side *side)
{
    klp_noise_free(side->noise);
    klp_record_free(side->send);
    klp_record_free(side->receive);
    vectors_free(&side->ephemeral, 1);
}

static const char *handshake_message(struct side *from, struct side *to, struct kos_bytes payload,
                                     struct kos_bytes want)
{
    static uint8_t out[KLP_NOISE_MAX], back[KLP_NOISE_MAX];
    size_t len;
    if (klp_noise_write(from->noise, payload, out, sizeof out, &len) < 0)
        return "writing fails";
    if (!kos_bytes_eq(kos_bytes(out, len), want))
        return "another handshake message";
    if (klp_noise_read(to->noise, want, back, sizeof back, &len) < 0)
        return "reading fails";
    return kos_bytes_eq(kos_bytes(back, len), payload) ? NULL : "another payload";
}

static const char *transport_message(struct side *from, struct side *to, struct kos_bytes payload,
                                     struct kos_bytes want)
{
    static uint8_t out[KLP_RECORD_PLAIN_MAX + KLP_RECORD_OVERHEAD], back[KLP_RECORD_PLAIN_MAX];
    size_t len;
    if (!from->send && (klp_noise_split(from->noise, &from->send, &from->receive) < 0
                        || klp_noise_split(to->noise, &to->send, &to->receive) < 0))
        return "the split fails";
    if (klp_record_seal(from->send, payload, out) < 0 || !kos_bytes_eq(kos_bytes(out + 2, payload.len + 16), want))
        return "another transport message";
    if (klp_record_open(to->receive, want, back, &len) < 0 || !kos_bytes_eq(kos_bytes(back, len), payload))
        return "a transport message does not open";
    return NULL;
}

static const char *check_hash(struct side *side, json_t *item)
{
    uint8_t hash[32];
    struct kos_bytes want = vectors_member(item, "handshake_hash");
    const char *why = NULL;
    if (want.data && (klp_noise_hash(side->noise, hash) < 0 || !kos_bytes_eq(kos_bytes(hash, sizeof hash), want)))
        why = "another handshake hash";
    vectors_free(&want, 1);
    return why;
}

static const char *run_case(json_t *item, int32_t pattern)
{
    struct side sides[2] = { { NULL, NULL, NULL, { NULL, 0 } }, { NULL, NULL, NULL, { NULL, 0 } } };
    const char *why = NULL;
    size_t i;
    json_t *message;
    if (!start(&sides[0], item, pattern, true) || !start(&sides[1], item, pattern, false))
        why = "the handshake cannot be made";
    json_array_foreach(json_object_get(item, "messages"), i, message) {
        if (why)
            break;
        struct side *from = &sides[one_way(pattern) ? 0 : i % 2], *to = from == sides ? &sides[1] : &sides[0];
        struct kos_bytes b[2] = { vectors_member(message, "payload"), vectors_member(message, "ciphertext") };
        bool shaking = !from->send && !klp_noise_done(from->noise);
        why = shaking ? handshake_message(from, to, b[0], b[1]) : transport_message(from, to, b[0], b[1]);
        if (!why && klp_noise_done(from->noise))
            why = check_hash(from, item);
        if (!why && klp_noise_done(to->noise))
            why = check_hash(to, item);
        vectors_free(b, 2);
    }
    if (!why && !sides[0].send)
        why = "no transport message was reached";
    end(&sides[0]);
    end(&sides[1]);
    return why;
}

static void run_file(struct vectors *v, json_t *file)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(file, "cases"), i, item) {
        const char *name = json_string_value(json_object_get(item, "id"));
        const char *protocol = json_string_value(json_object_get(item, "protocol_name"));
        if (!name || !protocol)
            vectors_say(v, "?", "the case is malformed");
        else if (strstr(protocol, "psk"))
            vectors_leave_out(v, name, "no pre-shared keys in KLP");
        else if (!strstr(protocol, "_25519_AESGCM_SHA256"))
            vectors_leave_out(v, name, "another suite than KLP's");
        else if (!pattern_of(protocol))
            vectors_leave_out(v, name, "a pattern that KLP does not have");
        else
            vectors_say(v, name, run_case(item, pattern_of(protocol)));
    }
}

int main(void)
{
    return vectors_run("noise", run_file);
}
