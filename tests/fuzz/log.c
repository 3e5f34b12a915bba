/* SPDX-License-Identifier: Apache-2.0
 *
 * Key event logs under an adversary who holds the keys: the input is a run of events, made and signed here from a few
 * bytes each or taken as they stand, appended in any order to two replicas. Whatever they took can be read again, and
 * when both have seen all, both hold the same.
 */
#include "fuzz.h"

#include "../../sdk/klp/log_testing.h"

enum { KEYS = 8, STEPS = 24 };

struct world {
    struct t_identity identity, host;
    struct klp_log *log[2];
    struct t_entry made[STEPS];
    size_t count;
};

static struct klp_secret key_of(const struct world *w, uint8_t which)
{
    which %= KEYS;
    return which == 0   ? w->identity.current
           : which == 1 ? w->identity.next
           : which == 2 ? w->identity.recovery
                        : t_secret(w->identity.alg, (uint8_t)(40 + which));
}

static void embed_acceptance(struct world *w, struct klp_event *event, uint8_t *text, size_t cap)
{
    struct klp_secret key = key_of(w, 5), next = key_of(w, 6);
    struct klp_acceptance acceptance = { .agent = event->id,
                                         .agent_identity = *klp_log_identity(w->identity.log),
                                         .host = *klp_log_id(w->host.log),
                                         .host_identity = *klp_log_identity(w->host.log),
                                         .seq = event->seq,
                                         .prior = event->prior,
                                         .created = T0,
                                         .key = t_public(&key),
                                         .next = t_commit(&next),
                                         .sealing_key = { 9 } };
    size_t len = 0;
    if (klp_acceptance_make(&acceptance, &key, text, cap, &len, NULL) == 0)
        event->acceptance = kos_bytes(text, len);
}

/* An event as somebody with these keys might make it: bytes say type, place, what it follows, who signs, what comes. */
static bool make(struct world *w, struct fuzz_input *in, const struct klp_log *onto, struct t_entry *ret_entry)
{
    static const int32_t types[] = { KLP_EVENT_ROTATION, KLP_EVENT_DELEGATION, KLP_EVENT_REVOCATION,
                                     KLP_EVENT_HANDOVER };
    uint8_t shape = fuzz_u8(in), place = fuzz_u8(in), keys = fuzz_u8(in), more = fuzz_u8(in);
    uint64_t count = klp_log_count(onto), seq = place & 0x80 ? 1 + place % (count + 1) : count;
    uint8_t acceptance[KLP_ACCEPTANCE_MAX];
    struct klp_event event = { .type = types[shape % 4],
                               .seq = seq,
                               .id = *klp_log_id(onto),
                               .created = T0 + place * 100,
                               .grace_ms = more & 3 ? KLP_GRACE_DEFAULT_MS : 0 };
    struct klp_secret signer = key_of(w, keys & 7), key = key_of(w, keys >> 3), next = key_of(w, keys >> 5);
    event.prior = seq <= count ? klp_log_event(onto, seq - 1)->digest : klp_log_head(onto)->digest;
    event.key = t_public(&key);
    event.next = t_commit(&next);
    event.by_recovery = shape & 0x10;
    event.compromised = shape & 0x20 && event.type != KLP_EVENT_HANDOVER && event.type != KLP_EVENT_DELEGATION;
    event.has_recovery = shape & 0x40 && event.type == KLP_EVENT_ROTATION;
    if (event.has_recovery)
        event.recovery = t_public(&next);
    if (event.type == KLP_EVENT_DELEGATION) {
        memset(&event.subject_digest, more, sizeof event.subject_digest);
        memset(&event.subject, more, sizeof event.subject);
    }
    if (event.type == KLP_EVENT_HANDOVER)
        embed_acceptance(w, &event, acceptance, sizeof acceptance);
    struct kos_error error;
    return klp_event_make(&event, &signer, ret_entry->data, sizeof ret_entry->data, &ret_entry->len, &error) == 0;
}

static void sound(const struct klp_log *log)
{
    uint8_t *text, *document;
    size_t len;
    struct kos_error error = { 0 };
    struct klp_log *again = klp_log_new();
    struct klp_public key;
    struct kos_bytes one, other;
    FUZZ_CHECK(klp_log_text(log, 0, &text, &len) == 0);
    int32_t taken = klp_log_append_text(again, kos_bytes(text, len), &error);
    FUZZ_CHECK(taken == (int32_t)klp_log_count(log) && klp_log_count(again) == klp_log_count(log));
    for (uint64_t i = 0; i < klp_log_count(log); i++) {
        FUZZ_CHECK(klp_log_event(log, i)->seq == i);
        FUZZ_CHECK(
            memcmp(&klp_log_event(log, i)->digest, &klp_log_event(again, i)->digest, sizeof(struct klp_digest)) == 0);
        int32_t result = klp_log_key(log, i, &key);
        FUZZ_CHECK(result == 0 || result == KOS_E_REVOKED);
        klp_log_may_sign(log, i, T0, T0 + 1000);
    }
    FUZZ_CHECK(klp_log_revoked(log) == klp_log_revoked(again));
    if (klp_log_duplicity(log, &one, &other))
        FUZZ_CHECK(!fuzz_same(one, other));
    else
        FUZZ_CHECK(!klp_log_frozen(log));
    FUZZ_CHECK(klp_log_did_document(log, &document, &len) == 0);
    struct klp_json value;
    FUZZ_CHECK(klp_json_read(kos_bytes(document, len), KLP_MESSAGE_MAX, &value, NULL) == 0);
    free(document);
    free(text);
    klp_log_free(again);
}

/* Everything there is, again and again, until nothing moves. */
static void converge(struct world *w)
{
    for (int round = 0; round < 4; round++)
        for (size_t to = 0; to < 2; to++) {
            uint8_t *text;
            size_t len;
            struct kos_bytes one, other;
            FUZZ_CHECK(klp_log_text(w->log[1 - to], 0, &text, &len) == 0);
            klp_log_append_text(w->log[to], kos_bytes(text, len), NULL);
            free(text);
            if (klp_log_duplicity(w->log[1 - to], &one, &other)) {
                klp_log_append(w->log[to], one, NULL);
                klp_log_append(w->log[to], other, NULL);
            }
        }
    if (klp_log_frozen(w->log[0]) || klp_log_frozen(w->log[1]))
        return;
    FUZZ_CHECK(klp_log_revoked(w->log[0]) == klp_log_revoked(w->log[1]));
    if (klp_log_revoked(w->log[0])) /* of two that are final each replica keeps its own */
        return;
    FUZZ_CHECK(klp_log_count(w->log[0]) == klp_log_count(w->log[1]));
    FUZZ_CHECK(memcmp(&klp_log_head(w->log[0])->digest, &klp_log_head(w->log[1])->digest, sizeof(struct klp_digest)) ==
               0);
}

static void step(struct world *w, struct fuzz_input *in)
{
    uint8_t op = fuzz_u8(in);
    struct klp_log *log = w->log[op & 1];
    if ((op & 0x0e) == 0x0e) { /* as it stands, an entry or a text */
        struct kos_bytes bytes = fuzz_run(in);
        uint8_t *copy = fuzz_copy(bytes);
        if (op & 0x10)
            klp_log_append(log, kos_bytes(copy, bytes.len), NULL);
        else
            klp_log_append_text(log, kos_bytes(copy, bytes.len), NULL);
        free(copy);
    } else if ((op & 0x0e) == 0x0c && w->count) { /* one that was made before */
        klp_log_append(log, t_bytes(&w->made[fuzz_u8(in) % w->count]), NULL);
    } else if (w->count < STEPS && make(w, in, log, &w->made[w->count])) {
        struct kos_error error = { 0 };
        struct klp_log *before = klp_log_clone(log);
        int32_t result = klp_log_append(log, t_bytes(&w->made[w->count]), &error);
        if (result < 0 && result != KOS_E_DUPLICITY) {
            FUZZ_CHECK(error.text[0] && klp_log_count(log) == klp_log_count(before));
            FUZZ_CHECK(memcmp(&klp_log_head(log)->digest, &klp_log_head(before)->digest, sizeof(struct klp_digest)) ==
                       0);
        } else {
            FUZZ_CHECK(klp_log_append(log, t_bytes(&w->made[w->count]), NULL) ==
                           (result < 0 ? result : KLP_LOG_KNOWN) ||
                       klp_log_frozen(log));
        }
        klp_log_free(before);
        w->count++;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input(data, size);
    struct world *w = calloc(1, sizeof *w);
    uint8_t begin = fuzz_u8(&in);
    FUZZ_CHECK(w);
    t_incept(&w->host, KLP_KIND_NODE, KLP_ALG_ED25519, 60, false, NULL);
    t_incept(&w->identity, begin & 1 ? KLP_KIND_AGENT : KLP_KIND_NODE, begin & 2 ? KLP_ALG_P256 : KLP_ALG_ED25519, 1,
             begin & 4, begin & 1 ? w->host.log : NULL);
    for (int i = 0; i < 2; i++)
        w->log[i] = klp_log_clone(w->identity.log);
    for (int i = 0; i < STEPS && in.left; i++)
        step(w, &in);
    for (int i = 0; i < 2; i++)
        sound(w->log[i]);
    converge(w);
    for (int i = 0; i < 2; i++) {
        sound(w->log[i]);
        klp_log_free(w->log[i]);
    }
    klp_log_free(w->identity.log);
    klp_log_free(w->host.log);
    free(w);
    return 0;
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    static struct fuzz_out out;
    struct t_identity identity;
    t_incept(&identity, KLP_KIND_NODE, KLP_ALG_ED25519, 1, true, NULL);
    /* op, then shape, place, keys (signer, key, next), more. Delegate, rotate, then on with the new keys. */
    static const uint8_t runs[][20] = {
        { 4, 0, 1, 1, 0, 7, 1, 0, 2, 1, 0x59, 3 },
        { 5, 0, 1, 1, 0, 7, 0, 0, 0, 1, 0xd9, 0, 1, 0, 1, 0x81, 0x1a, 0 },
        { 1, 0, 3, 0, 0x18, 0, 0, 2, 0, 0x19, 0 },
        { 7, 0, 0x10, 0, 0xda, 0, 1, 0x30, 0x81, 2, 0 },
        { 0, 0, 2, 0, 0x21, 1 },
        { 4, 0, 0, 0, 0xd9, 0, 1, 0, 0, 0x79, 1, 0, 0x12, 0x81, 2, 0 },
    };
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        put(arg, kos_bytes(runs[i], sizeof runs[i]));
    out.len = 0;
    fuzz_add_u8(&out, 4);
    fuzz_add_u8(&out, 0x1e);
    fuzz_add_run(&out, klp_log_entry(identity.log, 0));
    t_rotate(&identity);
    t_delegate(&identity, identity.log);
    uint8_t *text;
    size_t len;
    FUZZ_CHECK(klp_log_text(identity.log, 0, &text, &len) == 0);
    fuzz_add_u8(&out, 0x0f);
    fuzz_add_run(&out, kos_bytes(text, len));
    put(arg, kos_bytes(out.data, out.len));
    free(text);
    klp_log_free(identity.log);
}
