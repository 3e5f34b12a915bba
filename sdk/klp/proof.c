/* SPDX-License-Identifier: Apache-2.0
 *
 * Proof of identity inside the handshake (klp(7), "Session"): this KLP-ID, whose log has this head, speaks through this
 * Noise static key. 120 bytes: id, u64 event, digest of that event, signature by the key in force at it.
 */
#include <klp/noise.h>

#include "member.h"

enum { EVENT_AT = KLP_ID_LEN, HEAD_AT = EVENT_AT + 8, SIGNATURE_AT = HEAD_AT + KLP_DIGEST_LEN, BODY_MAX = 256 };

static int32_t body_of(const struct klp_proof *proof, const uint8_t static_public[32], uint8_t buffer[BODY_MAX],
                       struct kos_bytes *ret_body)
{
    struct klp_json_out out;
    if (proof->event > (uint64_t)KLP_JSON_INT_MAX)
        return KOS_E_PROTOCOL;
    klp_json_begin(&out, buffer, BODY_MAX);
    klp_json_object(&out);
    member_put_int(&out, "event", (int64_t)proof->event);
    member_put_digest(&out, "head", &proof->head);
    member_put_id(&out, "id", &proof->id);
    klp_json_name(&out, "static");
    klp_json_put_hex(&out, kos_bytes(static_public, KLP_X25519_LEN));
    klp_json_close(&out, '}');
    return klp_json_end(&out, ret_body);
}

int32_t klp_proof_make(const struct klp_log *log, const struct klp_secret *current, const uint8_t static_public[32],
                       uint8_t out[KLP_PROOF_LEN])
{
    const struct klp_event *head = klp_log_head(log);
    if (!head)
        return KOS_E_STATE;
    struct klp_proof proof = { .id = *klp_log_id(log), .event = head->seq, .head = head->digest };
    struct klp_public in_force, own;
    uint8_t buffer[BODY_MAX];
    struct kos_bytes body;
    int32_t code = klp_log_key(log, head->seq, &in_force);
    if (code == KOS_OK)
        code = klp_secret_public(current, &own);
    if (code == KOS_OK && memcmp(&own, &in_force, sizeof own) != 0)
        code = KOS_E_KEY;
    if (code == KOS_OK)
        code = body_of(&proof, static_public, buffer, &body);
    if (code == KOS_OK)
        code = klp_sign(current, KLP_TAG_NOISE, body, proof.signature);
    if (code != KOS_OK)
        return code;
    memcpy(out, proof.id.b, KLP_ID_LEN);
    for (int i = 0; i < 8; i++)
        out[EVENT_AT + i] = (uint8_t)(proof.event >> (56 - 8 * i));
    memcpy(out + HEAD_AT, proof.head.b, KLP_DIGEST_LEN);
    memcpy(out + SIGNATURE_AT, proof.signature, KLP_SIGNATURE_LEN);
    return KOS_OK;
}

int32_t klp_proof_parse(struct kos_bytes bytes, struct klp_proof *ret_proof)
{
    if (bytes.len != KLP_PROOF_LEN)
        return KOS_E_PROTOCOL;
    struct klp_proof proof = { .event = 0 };
    memcpy(proof.id.b, bytes.data, KLP_ID_LEN);
    for (int i = 0; i < 8; i++)
        proof.event = proof.event << 8 | bytes.data[EVENT_AT + i];
    memcpy(proof.head.b, bytes.data + HEAD_AT, KLP_DIGEST_LEN);
    memcpy(proof.signature, bytes.data + SIGNATURE_AT, KLP_SIGNATURE_LEN);
    if (proof.event >= KLP_LOG_EVENTS_MAX)
        return KOS_E_PROTOCOL;
    *ret_proof = proof;
    return KOS_OK;
}

int32_t klp_proof_verify(const struct klp_proof *proof, const struct klp_log *log, const uint8_t static_public[32],
                         int64_t now)
{
    const struct klp_event *head = klp_log_head(log);
    if (!head)
        return KOS_E_GAP;
    if (!klp_id_eq(&proof->id, klp_log_id(log)))
        return KOS_E_INVALID;
    if (klp_log_frozen(log))
        return KOS_E_FROZEN;
    if (klp_log_revoked(log))
        return KOS_E_REVOKED;
    if (proof->event > head->seq)
        return KOS_E_GAP;
    struct klp_public key;
    uint8_t buffer[BODY_MAX];
    struct kos_bytes body;
    int32_t code = klp_log_key(log, proof->event, &key);
    if (code == KOS_OK)
        code = body_of(proof, static_public, buffer, &body);
    if (code == KOS_OK)
        code = klp_verify(&key, KLP_TAG_NOISE, body, kos_bytes(proof->signature, sizeof proof->signature));
    if (code != KOS_OK)
        return code;
    const struct klp_event *event = klp_log_event(log, proof->event);
    /* Only now: an unsigned claim of another history would let anybody raise an alarm about anybody. */
    if (memcmp(&event->digest, &proof->head, sizeof proof->head) != 0)
        return KOS_E_DUPLICITY;
    /* A proof carries no time: it counts as made long ago, so that the grace alone decides. */
    code = klp_log_may_sign(log, proof->event, INT64_MIN, now);
    return code == KOS_E_EXPIRED ? KOS_E_STALE : code;
}
