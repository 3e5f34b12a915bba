/* SPDX-License-Identifier: Apache-2.0
 *
 * The proof of identity inside the handshake: whom it proves, and to what state of the log.
 */
#include <klp/noise.h>

#include "log_testing.h"
#include "unit.h"

enum { NOW_MS = 100000 };

static const uint8_t static_key[32] = { 5, 6, 7 }, other_static[32] = { 5, 6, 8 };

static struct klp_proof proof_of(const struct t_identity *identity)
{
    uint8_t bytes[KLP_PROOF_LEN];
    struct klp_proof proof;
    ck_assert_int_eq(klp_proof_make(identity->log, &identity->current, static_key, bytes), 0);
    ck_assert_int_eq(klp_proof_parse(kos_bytes(bytes, sizeof bytes), &proof), 0);
    return proof;
}

static int32_t verify(const struct klp_proof *proof, const struct klp_log *log)
{
    return klp_proof_verify(proof, log, static_key, T0 + NOW_MS);
}

START_TEST(good)
{
    for (int32_t alg = KLP_ALG_ED25519; alg <= KLP_ALG_P256; alg++) {
        struct t_identity a;
        t_incept(&a, KLP_KIND_NODE, alg, 1, false, NULL);
        for (int i = 0; i < 3; i++) {
            struct klp_proof proof = proof_of(&a);
            ck_assert_uint_eq(proof.event, (uint64_t)i);
            ck_assert(klp_id_eq(&proof.id, klp_log_id(a.log)));
            ck_assert_mem_eq(&proof.head, &klp_log_head(a.log)->digest, sizeof proof.head);
            ck_assert_int_eq(verify(&proof, a.log), 0);
            t_rotate(&a);
        }
        klp_log_free(a.log);
    }
}
END_TEST

/* The signed text, by hand: who writes a second implementation starts here. */
START_TEST(layout)
{
    struct t_identity a;
    uint8_t bytes[KLP_PROOF_LEN];
    char id[KLP_ID_TEXT], head[65], key[65], body[512];
    t_incept(&a, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    t_rotate(&a);
    ck_assert_int_eq(klp_proof_make(a.log, &a.current, static_key, bytes), 0);
    klp_id_text(klp_log_id(a.log), id);
    klp_hex(kos_bytes(klp_log_head(a.log)->digest.b, 32), head);
    klp_hex(kos_bytes(static_key, 32), key);
    snprintf(body, sizeof body, "{\"event\":1,\"head\":\"0x%s\",\"id\":\"%s\",\"static\":\"0x%s\"}", head, id, key);
    struct klp_public public = t_public(&a.current);
    ck_assert_mem_eq(bytes, klp_log_id(a.log)->b, 16);
    ck_assert_mem_eq(bytes + 16, ((uint8_t[]){ 0, 0, 0, 0, 0, 0, 0, 1 }), 8);
    ck_assert_mem_eq(bytes + 24, klp_log_head(a.log)->digest.b, 32);
    ck_assert_int_eq(klp_verify(&public, "klp-noise/1", kos_bytes_str(body), kos_bytes(bytes + 56, 64)), 0);
    klp_log_free(a.log);
}
END_TEST

START_TEST(parse)
{
    uint8_t bytes[KLP_PROOF_LEN + 1] = { 0 };
    struct klp_proof proof;
    for (size_t len = 0; len <= sizeof bytes; len++)
        ck_assert_int_eq(klp_proof_parse(kos_bytes(bytes, len), &proof), len == KLP_PROOF_LEN ? 0 : KOS_E_PROTOCOL);
    bytes[16] = 0x80;
    ck_assert_int_eq(klp_proof_parse(kos_bytes(bytes, KLP_PROOF_LEN), &proof), KOS_E_PROTOCOL);
    bytes[16] = 0;
    bytes[22] = KLP_LOG_EVENTS_MAX >> 8;
    ck_assert_int_eq(klp_proof_parse(kos_bytes(bytes, KLP_PROOF_LEN), &proof), KOS_E_PROTOCOL);
}
END_TEST

START_TEST(spoiled)
{
    struct t_identity a, b;
    uint8_t bytes[KLP_PROOF_LEN];
    struct klp_proof proof;
    t_incept(&a, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    t_incept(&b, KLP_KIND_NODE, KLP_ALG_ED25519, 50, false, NULL);
    t_rotate(&a);
    ck_assert_int_eq(klp_proof_make(a.log, &a.current, static_key, bytes), 0);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (klp_proof_parse(kos_bytes(bytes, sizeof bytes), &proof) == 0)
            ck_assert_int_lt(verify(&proof, a.log), 0);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    proof = proof_of(&a);
    ck_assert_int_eq(verify(&proof, a.log), 0);
    ck_assert_int_eq(klp_proof_verify(&proof, a.log, other_static, T0 + NOW_MS), KOS_E_SIGNATURE);
    ck_assert_int_eq(verify(&proof, b.log), KOS_E_INVALID);
    proof.id = *klp_log_id(b.log);
    ck_assert_int_eq(verify(&proof, b.log), KOS_E_GAP);
    proof.event = 0;
    ck_assert_int_eq(verify(&proof, b.log), KOS_E_SIGNATURE);
    struct klp_log *empty = klp_log_new();
    ck_assert_int_eq(verify(&proof, empty), KOS_E_GAP);
    ck_assert_int_eq(klp_proof_make(empty, &a.current, static_key, bytes), KOS_E_STATE);
    ck_assert_int_eq(klp_proof_make(a.log, &a.next, static_key, bytes), KOS_E_KEY);
    klp_log_free(empty);
    klp_log_free(a.log);
    klp_log_free(b.log);
}
END_TEST

/* The other side's log is behind, ahead, or another one. */
START_TEST(logs_differ)
{
    struct t_identity a;
    t_incept(&a, KLP_KIND_NODE, KLP_ALG_ED25519, 1, true, NULL);
    struct klp_log *old = klp_log_clone(a.log);
    struct klp_proof before = proof_of(&a);
    t_rotate(&a);
    struct klp_proof after = proof_of(&a);
    ck_assert_int_eq(verify(&after, old), KOS_E_GAP);
    /* The old key within its grace of a day, then not. */
    ck_assert_int_eq(verify(&before, a.log), 0);
    ck_assert_int_eq(klp_proof_verify(&before, a.log, static_key, T0 + 1000 + KLP_GRACE_DEFAULT_MS), KOS_E_STALE);
    ck_assert_int_eq(klp_proof_verify(&after, a.log, static_key, T0 + 1000 + KLP_GRACE_DEFAULT_MS), 0);

    /* Same key, another event at that place: signed by the peer itself, so it is proof. An unsigned claim is not. */
    struct t_entry one, two;
    t_delegation(a.log, 2, &a.current, 1, &one);
    t_delegation(a.log, 2, &a.current, 2, &two);
    struct t_identity twin = a;
    twin.log = klp_log_clone(a.log);
    t_append(a.log, &one, KLP_LOG_APPENDED);
    t_append(twin.log, &two, KLP_LOG_APPENDED);
    struct klp_proof twins = proof_of(&twin), claim = twins;
    ck_assert_int_eq(verify(&twins, a.log), KOS_E_DUPLICITY);
    claim.signature[0] ^= 1;
    ck_assert_int_eq(verify(&claim, a.log), KOS_E_SIGNATURE);
    /* A delegation changes no key: the proof at the event before it stays good. */
    ck_assert_int_eq(klp_proof_verify(&after, a.log, static_key, T0 + 10 * (int64_t)KLP_GRACE_DEFAULT_MS), 0);
    klp_log_free(twin.log);
    klp_log_free(old);
    klp_log_free(a.log);
}
END_TEST

START_TEST(revoked_and_frozen)
{
    struct t_identity a;
    struct t_entry entry, other;
    t_incept(&a, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    struct klp_proof proof = proof_of(&a);
    struct klp_log *log = klp_log_clone(a.log);
    struct klp_event event = t_event(log, KLP_EVENT_REVOCATION, 1);
    t_make(&event, &a.next, &entry);
    t_append(log, &entry, KLP_LOG_APPENDED);
    ck_assert_int_eq(verify(&proof, log), KOS_E_REVOKED);
    klp_log_free(log);

    log = klp_log_clone(a.log);
    t_delegation(a.log, 1, &a.current, 1, &entry);
    t_delegation(a.log, 1, &a.current, 2, &other);
    t_append(log, &entry, KLP_LOG_APPENDED);
    t_append(log, &other, KOS_E_DUPLICITY);
    ck_assert_int_eq(verify(&proof, log), KOS_E_FROZEN);
    klp_log_free(log);
    klp_log_free(a.log);
}
END_TEST

TESTS("klp/proof", good, layout, parse, spoiled, logs_differ, revoked_and_frozen)
