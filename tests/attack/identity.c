/* SPDX-License-Identifier: Apache-2.0
 * Identities of the evil peer: all secrets follow from a number, so each run of it is the same node again. */
#include "evil.h"

static const int64_t born = INT64_C(1781900000000);

static void derive(const char *seed, const char *what, int n, uint8_t ret[32])
{
    char text[128];
    struct klp_digest digest;
    int len = snprintf(text, sizeof text, "an evil peer's %s %d of %s", what, n, seed);
    klp_sha256(kos_bytes(text, (size_t)len), &digest);
    memcpy(ret, digest.b, 32);
}

static void append(struct identity *identity, const struct klp_event *event, const struct klp_secret *signer)
{
    uint8_t entry[KLP_EVENT_MAX];
    size_t len;
    struct kos_error error = { 0 };
    if (klp_event_make(event, signer, entry, sizeof entry, &len, &error) < 0 ||
        klp_log_append(identity->log, kos_bytes(entry, len), &error) < 0)
        fail("no identity: %s", error.text);
}

static struct klp_public public_of(const struct klp_secret *secret)
{
    struct klp_public key;
    if (klp_secret_public(secret, &key) < 0)
        fail("no public key");
    return key;
}

static struct klp_digest commit(const struct klp_secret *secret)
{
    struct klp_public key = public_of(secret);
    struct klp_digest digest;
    klp_public_digest(&key, &digest);
    return digest;
}

void identity_make(const struct evil *evil, const char *seed, struct identity *ret)
{
    memset(ret, 0, sizeof *ret);
    bool p256 = strcmp(option(evil, "alg", "ed25519"), "p256") == 0;
    for (int i = 0; i < 3; i++) {
        ret->keys[i].alg = p256 ? KLP_ALG_P256 : KLP_ALG_ED25519;
        derive(seed, "key", i, ret->keys[i].b);
        if (p256)
            ret->keys[i].b[0] &= 0x7f; /* below the order */
    }
    derive(option(evil, "static", seed), "static key", 0, ret->noise);
    ret->log = klp_log_new();
    struct klp_event event = { .type = KLP_EVENT_INCEPTION, .kind = KLP_KIND_NODE, .created = born,
                               .key = public_of(&ret->keys[0]), .next = commit(&ret->keys[1]) };
    append(ret, &event, &ret->keys[0]);
    ret->id = *klp_log_id(ret->log);
    if (number(evil, "rotated", 0)) {
        struct klp_event rotation = { .type = KLP_EVENT_ROTATION, .seq = 1, .id = ret->id,
                                      .prior = klp_log_head(ret->log)->digest, .created = born + 1000,
                                      .key = public_of(&ret->keys[2]), .next = commit(&ret->keys[0]), .compromised = true };
        append(ret, &rotation, &ret->keys[1]);
        ret->event = 1;
    }
    ret->event = (uint64_t)number(evil, "event", (long)ret->event);
}

const struct klp_secret *identity_key(const struct identity *identity)
{
    return &identity->keys[identity->event ? 2 : 0];
}

/* As klp_proof_make(), but of any event, and by whichever key. */
void identity_proof(const struct identity *identity, const uint8_t static_public[32], uint8_t ret_proof[KLP_PROOF_LEN])
{
    const struct klp_event *event = klp_log_event(identity->log, identity->event);
    char body[512], head[65], key[65], id[KLP_ID_TEXT];
    klp_hex(kos_bytes(event->digest.b, 32), head);
    klp_hex(kos_bytes(static_public, 32), key);
    klp_id_text(&identity->id, id);
    int len = snprintf(body, sizeof body, "{\"event\":%llu,\"head\":\"0x%s\",\"id\":\"%s\",\"static\":\"0x%s\"}",
                       (unsigned long long)identity->event, head, id, key);
    memcpy(ret_proof, identity->id.b, 16);
    for (int i = 0; i < 8; i++)
        ret_proof[16 + i] = (uint8_t)(identity->event >> (56 - 8 * i));
    memcpy(ret_proof + 24, event->digest.b, 32);
    klp_sign(identity_key(identity), KLP_TAG_NOISE, kos_bytes(body, (size_t)len), ret_proof + 56);
}

struct kos_bytes identity_log(const struct evil *evil, const struct identity *identity)
{
    long first = number(evil, "first", 1000);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    for (uint64_t i = 0; i < klp_log_count(identity->log) && (long)i < first; i++) {
        struct kos_bytes entry = klp_log_entry(identity->log, i);
        fwrite(entry.data, 1, entry.len, out);
        fputc('\n', out);
    }
    fclose(out);
    return kos_bytes(text, len);
}
