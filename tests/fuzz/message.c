/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages: the body is parsed as it is, signed here and verified, sealed and opened, written as text and read again.
 * The first byte says whether the rest is a body, a text, a receipts' body, or a signature to be tried on a body.
 */
#include "fuzz.h"

#include "../../sdk/klp/log_testing.h"
#include <klp/hpke.h>
#include <klp/message.h>

static void text_form(struct kos_bytes text)
{
    uint8_t *body, *again, signature[KLP_BATCH_SIGNATURE_MAX], other[KLP_BATCH_SIGNATURE_MAX];
    size_t body_len, again_len, signature_len, other_len;
    struct kos_error error = { 0 };
    if (klp_message_from_text(text, &body, &body_len, signature, &signature_len, &error) < 0) {
        FUZZ_CHECK(error.text[0]);
        return;
    }
    FUZZ_CHECK(signature_len <= sizeof signature);
    uint8_t *whole;
    size_t whole_len;
    int32_t result =
        klp_message_to_text(kos_bytes(body, body_len), kos_bytes(signature, signature_len), &whole, &whole_len, &error);
    FUZZ_CHECK(result == (signature_len ? 0 : KOS_E_INVALID));
    if (result == 0) {
        FUZZ_CHECK(klp_message_from_text(kos_bytes(whole, whole_len), &again, &again_len, other, &other_len, &error) ==
                   0);
        FUZZ_CHECK(fuzz_same(kos_bytes(body, body_len), kos_bytes(again, again_len)));
        FUZZ_CHECK(fuzz_same(kos_bytes(signature, signature_len), kos_bytes(other, other_len)));
        free(again);
        free(whole);
    }
    free(body);
}

static void sealing(struct kos_bytes body, const struct klp_message *message)
{
    uint8_t secret[32], public_key[32], *sealed, *opened;
    size_t sealed_len, opened_len;
    uint64_t state = 5;
    struct kos_error error = { 0 };
    struct klp_message again;
    memset(secret, 3, sizeof secret);
    klp_x25519_public(secret, public_key);
    if (klp_open_message(body, secret, public_key, &opened, &opened_len, &error) == 0)
        free(opened);
    if (message->seal.type != KLP_JSON_NONE)
        return;
    int32_t result = klp_seal_message(body, public_key, fuzz_random(&state), &sealed, &sealed_len, &error);
    FUZZ_CHECK(result == 0 || result == KOS_E_LIMIT);
    if (result < 0)
        return;
    FUZZ_CHECK(klp_message_parse(kos_bytes(sealed, sealed_len), &again, &error) == 0);
    FUZZ_CHECK(klp_open_message(kos_bytes(sealed, sealed_len), secret, public_key, &opened, &opened_len, &error) == 0);
    FUZZ_CHECK(fuzz_same(kos_bytes(opened, opened_len), body));
    free(opened);
    /* Any bit of the associated data that is another one is seen: the id's is altered, canonically. */
    uint8_t *id = memmem(sealed, sealed_len, "\"created\":1", 11);
    if (id) {
        id[10] = '2';
        FUZZ_CHECK(klp_open_message(kos_bytes(sealed, sealed_len), secret, public_key, &opened, &opened_len, &error) <
                   0);
    }
    free(sealed);
}

static void body_form(struct kos_bytes body)
{
    struct klp_message message;
    struct kos_error error = { 0 };
    struct t_identity identity;
    uint8_t signature[KLP_BATCH_SIGNATURE_MAX];
    if (klp_message_parse(body, &message, &error) < 0) {
        FUZZ_CHECK(error.text[0]);
        return;
    }
    FUZZ_CHECK(fuzz_same(message.body, body) && message.expires > message.created);
    FUZZ_CHECK(message.expires - message.created <= KLP_MESSAGE_LIFE_MAX_MS && strlen(message.type) < KLP_TYPE_MAX);
    klp_message_fresh(&message, T0);
    uint8_t *again = malloc(body.len);
    size_t len = 0;
    int32_t result = klp_message_make(&message, again, body.len, &len, &error);
    FUZZ_CHECK(again && result == 0 && len <= body.len);
    struct klp_message second;
    FUZZ_CHECK(klp_message_parse(kos_bytes(again, len), &second, &error) == 0);
    FUZZ_CHECK(klp_id_eq(&message.id, &second.id) && fuzz_same(message.payload.text, second.payload.text));
    free(again);
    /* By a key of ours, which is the source's only if the ids are the same. */
    t_incept(&identity, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    FUZZ_CHECK(klp_sign(&identity.current, KLP_TAG_MESSAGE, body, signature) == 0);
    result = klp_message_verify(&message, kos_bytes(signature, KLP_SIGNATURE_LEN), identity.log, T0);
    if (klp_id_eq(&message.source_id, klp_log_id(identity.log)) && message.event == 0)
        FUZZ_CHECK(result == 0);
    else
        FUZZ_CHECK(result < 0);
    struct klp_digest digests[3] = { { { 1 } }, message.digest, { { 2 } } };
    FUZZ_CHECK(klp_batch_sign(&identity.current, digests, 3, signature) == 0);
    uint8_t one[KLP_BATCH_SIGNATURE_MAX];
    int32_t one_len = klp_batch_extract(digests, 3, 1, signature, one);
    FUZZ_CHECK(one_len > KLP_SIGNATURE_LEN);
    FUZZ_CHECK(result == klp_message_verify(&message, kos_bytes(one, (size_t)one_len), identity.log, T0));
    klp_log_free(identity.log);
    sealing(body, &message);
}

static void receipts_form(struct kos_bytes body)
{
    struct klp_receipts receipts;
    struct klp_receipt *list = calloc(KLP_RECEIPTS_MAX, sizeof *list);
    struct klp_json_iter iter;
    size_t count = 0, len;
    FUZZ_CHECK(list);
    if (klp_receipts_parse(body, &receipts) == 0) {
        klp_json_iter_init(receipts.list, &iter);
        while (count < KLP_RECEIPTS_MAX && klp_receipts_next(&iter, &list[count]))
            count++;
        FUZZ_CHECK(count == klp_json_count(receipts.list));
        size_t cap = body.len * 2 + 64; /* an error's name that is unknown becomes another */
        uint8_t *again = malloc(cap);
        FUZZ_CHECK(again);
        if (klp_receipts_make(&receipts.node, receipts.event, receipts.created, list, count, again, cap, &len) == 0) {
            struct klp_receipts second;
            FUZZ_CHECK(klp_receipts_parse(kos_bytes(again, len), &second) == 0);
            FUZZ_CHECK(second.event == receipts.event && klp_json_count(second.list) == count);
        }
        free(again);
    }
    free(list);
}

/* A signature of any length over a message that has a right one. */
static void signature_form(struct kos_bytes signature)
{
    struct klp_digest digest = { { 1 } };
    struct klp_secret secret = t_secret(KLP_ALG_ED25519, 1);
    struct klp_public key = t_public(&secret);
    int32_t result = klp_batch_verify_one(&key, &digest, signature);
    FUZZ_CHECK(result == 0 || result == KOS_E_SIGNATURE);
    if (signature.len >= 16) { /* a tree's path by itself */
        struct fuzz_input in = fuzz_input(signature.data, signature.len);
        struct klp_digest path[64], root, other;
        uint64_t index = (uint64_t)fuzz_u16(&in), size = (uint64_t)fuzz_u16(&in), size1 = (uint64_t)fuzz_u16(&in);
        struct kos_bytes rest = fuzz_take(&in, sizeof path);
        size_t count = rest.len / sizeof *path;
        if (count)
            memcpy(path, rest.data, count * sizeof *path);
        memset(&other, 1, sizeof other);
        result = klp_merkle_root_from_path(&digest, index, size, path, count, &root);
        FUZZ_CHECK(result == 0 || result == KOS_E_INVALID);
        FUZZ_CHECK(result < 0 || index < size);
        klp_merkle_consistency(size1, size, &digest, &other, path, count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct kos_bytes rest = kos_bytes(data + 1, size - 1);
    switch (data[0] % 4) {
    case 0:
        body_form(rest);
        break;
    case 1:
        text_form(rest);
        break;
    case 2:
        receipts_form(rest);
        break;
    default:
        signature_form(rest);
    }
    return 0;
}

static void seed(fuzz_put *put, void *arg, uint8_t which, struct kos_bytes rest)
{
    static struct fuzz_out out;
    out.len = 0;
    fuzz_add_u8(&out, which);
    fuzz_add(&out, rest.data, rest.len);
    put(arg, kos_bytes(out.data, out.len));
}

static void seed_message(fuzz_put *put, void *arg, struct t_identity *identity, struct klp_message *message)
{
    uint8_t body[2048], signature[KLP_SIGNATURE_LEN], *text;
    size_t len, text_len;
    struct kos_error error;
    FUZZ_CHECK(klp_message_make(message, body, sizeof body, &len, &error) == 0);
    seed(put, arg, 0, kos_bytes(body, len));
    FUZZ_CHECK(klp_sign(&identity->current, KLP_TAG_MESSAGE, kos_bytes(body, len), signature) == 0);
    FUZZ_CHECK(klp_message_to_text(kos_bytes(body, len), kos_bytes(signature, sizeof signature), &text, &text_len,
                                   &error) == 0);
    seed(put, arg, 1, kos_bytes(text, text_len));
    free(text);
    seed(put, arg, 1, kos_bytes(body, len));
    uint8_t secret[32], key[32], *sealed;
    uint64_t state = 4;
    size_t sealed_len;
    memset(secret, 3, sizeof secret);
    klp_x25519_public(secret, key);
    FUZZ_CHECK(klp_seal_message(kos_bytes(body, len), key, fuzz_random(&state), &sealed, &sealed_len, &error) == 0);
    seed(put, arg, 0, kos_bytes(sealed, sealed_len));
    free(sealed);
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    struct t_identity identity;
    t_incept(&identity, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    struct klp_message message = { .type = "TASK_REQUEST",
                                   .id = { { 1, 2, 3 } },
                                   .source = kos_bytes_str("klp://node.usa.kai"),
                                   .target = kos_bytes_str("klp://agent.genie.fr.kai"),
                                   .source_id = *klp_log_id(identity.log),
                                   .target_id = { { 9 } },
                                   .created = T0,
                                   .expires = T0 + 60000,
                                   .payload = { KLP_JSON_OBJECT, kos_bytes_str("{\"skill\":\"echo\"}") } };
    seed_message(put, arg, &identity, &message);
    message.has_reply_to = true;
    message.reply_to = (struct klp_id){ { 8 } };
    message.trace = kos_bytes_str("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    message.payload.text = kos_bytes_str("{}");
    seed_message(put, arg, &identity, &message);
    struct klp_receipt receipts[2] = {
        { .id = { { 1 } }, .digest = { { 2 } } },
        { .id = { { 3 } }, .digest = { { 4 } }, .error = KOS_E_BUSY, .text = "later \xc3\xa4\n" }
    };
    uint8_t body[1024], signature[KLP_SIGNATURE_LEN], one[KLP_BATCH_SIGNATURE_MAX];
    size_t len;
    FUZZ_CHECK(klp_receipts_make(klp_log_id(identity.log), 0, T0, receipts, 2, body, sizeof body, &len) == 0);
    seed(put, arg, 2, kos_bytes(body, len));
    struct klp_digest digests[5] = { { { 1 } }, { { 1 } }, { { 5 } }, { { 6 } }, { { 7 } } };
    FUZZ_CHECK(klp_batch_sign(&identity.current, digests, 5, signature) == 0);
    int32_t one_len = klp_batch_extract(digests, 5, 1, signature, one);
    seed(put, arg, 3, kos_bytes(one, (size_t)one_len));
    klp_log_free(identity.log);
}
