/* SPDX-License-Identifier: Apache-2.0
 *
 * Acceptances: what the new host of a migrating agent signs with the new signing key, for the old host to embed in the
 * handover event (klp(7), "Agents and migration").
 */
#include <klp/log.h>

#include "member.h"

enum { A_AGENT, A_BUNDLE, A_CREATED, A_HOST, A_KEY, A_NEXT, A_PRIOR, A_SEALING_KEY, A_SEQ, A_COUNT };
static const char *const names[A_COUNT] = { "agent", "bundle", "created",     "host", "key",
                                            "next",  "prior",  "sealing_key", "seq" };

static int32_t read_member(int member, struct klp_json value, struct klp_acceptance *acceptance)
{
    switch (member) {
    case A_AGENT: return member_party(value, &acceptance->agent, &acceptance->agent_identity);
    case A_BUNDLE: return member_digest(value, &acceptance->bundle);
    case A_CREATED: return member_time(value, &acceptance->created);
    case A_HOST: return member_party(value, &acceptance->host, &acceptance->host_identity);
    case A_KEY: return member_key(value, &acceptance->key);
    case A_NEXT: return member_digest(value, &acceptance->next);
    case A_PRIOR: return member_digest(value, &acceptance->prior);
    case A_SEALING_KEY: return member_x25519(value, acceptance->sealing_key);
    default: return klp_json_uint(value, &acceptance->seq);
    }
}

int32_t klp_acceptance_parse(struct kos_bytes text, struct klp_acceptance *ret_acceptance, struct kos_error *ret_error)
{
    struct klp_acceptance acceptance = { 0 };
    struct klp_json envelope, body, values[A_COUNT];
    size_t offset = 0;
    int32_t error = klp_json_read(text, KLP_ACCEPTANCE_MAX, &envelope, &offset);
    if (error == KOS_E_LIMIT && text.len > KLP_ACCEPTANCE_MAX)
        return kos_fail(ret_error, error, "the acceptance has %zu bytes, more than %d", text.len, KLP_ACCEPTANCE_MAX);
    if (error < 0)
        return kos_fail(ret_error, error, "the acceptance is not canonical JSON (RFC 8785) at byte %zu", offset);
    if (member_envelope(envelope, &body, acceptance.signature) < 0)
        return kos_fail(ret_error, KOS_E_SYNTAX,
                        "the acceptance is not {\"body\":{...},\"signature\":\"0x<128 digits>\"}");
    if (klp_json_get_many(body, names, A_COUNT, values) != A_COUNT)
        return kos_fail(ret_error, KOS_E_SYNTAX, "the acceptance has not exactly its %d members", A_COUNT);
    for (int i = 0; i < A_COUNT; i++) {
        error = read_member(i, values[i], &acceptance);
        if (error < 0)
            return kos_fail(ret_error, error, "the acceptance's member \"%s\" is missing or not acceptable: %s",
                            names[i], kos_error_text(error));
    }
    if (acceptance.seq == 0)
        return kos_fail(ret_error, KOS_E_SYNTAX, "the acceptance is for event 0, where an inception stands");
    acceptance.body = body.text;
    *ret_acceptance = acceptance;
    return 0;
}

int32_t klp_acceptance_verify(const struct klp_acceptance *acceptance)
{
    return klp_verify(&acceptance->key, KLP_TAG_ACCEPT, acceptance->body,
                      kos_bytes(acceptance->signature, KLP_SIGNATURE_LEN));
}

int32_t klp_acceptance_make(const struct klp_acceptance *acceptance, const struct klp_secret *new_key, uint8_t *out,
                            size_t cap, size_t *ret_len, struct kos_error *ret_error)
{
    char sealing[KLP_KEY_TEXT_MAX];
    struct klp_json_out json;
    struct kos_bytes body;
    if (klp_x25519_text(acceptance->sealing_key, sealing) < 0)
        return kos_fail(ret_error, KOS_E_KEY, "the acceptance's sealing key cannot be written");
    if (cap < MEMBER_ENVELOPE_HEAD + MEMBER_ENVELOPE_TAIL)
        return kos_fail(ret_error, KOS_E_LIMIT, "%zu bytes are too few for an acceptance: give %d", cap,
                        KLP_ACCEPTANCE_MAX);
    klp_json_begin(&json, out + MEMBER_ENVELOPE_HEAD, cap - MEMBER_ENVELOPE_HEAD - MEMBER_ENVELOPE_TAIL);
    klp_json_object(&json);
    member_put_party(&json, "agent", &acceptance->agent, &acceptance->agent_identity);
    member_put_digest(&json, "bundle", &acceptance->bundle);
    member_put_int(&json, "created", acceptance->created);
    member_put_party(&json, "host", &acceptance->host, &acceptance->host_identity);
    member_put_key(&json, "key", &acceptance->key);
    member_put_digest(&json, "next", &acceptance->next);
    member_put_digest(&json, "prior", &acceptance->prior);
    klp_json_name(&json, "sealing_key");
    klp_json_put_cstr(&json, sealing);
    member_put_int(&json, "seq", (int64_t)acceptance->seq);
    klp_json_close(&json, '}');
    int32_t error = klp_json_end(&json, &body);
    uint8_t signature[KLP_SIGNATURE_LEN];
    if (!error)
        error = klp_sign(new_key, KLP_TAG_ACCEPT, body, signature);
    if (error < 0)
        return kos_fail(ret_error, error, "the acceptance could not be written and signed: %s", kos_error_text(error));
    member_envelope_put(body, signature, out);
    size_t len = MEMBER_ENVELOPE_HEAD + body.len + MEMBER_ENVELOPE_TAIL;
    struct klp_acceptance check;
    error = klp_acceptance_parse(kos_bytes(out, len), &check, ret_error);
    if (error < 0)
        return error;
    if (klp_acceptance_verify(&check) < 0)
        return kos_fail(ret_error, KOS_E_KEY,
                        "an acceptance is signed by the key that it names, and the secret is another one's");
    *ret_len = len;
    return 0;
}
