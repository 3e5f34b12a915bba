/* SPDX-License-Identifier: Apache-2.0
 *
 * Statements and proofs of identity, and the log entries and acceptances that stand by themselves: parsed as they are.
 * A statement's body is also signed here, so that what follows a good signature is reached.
 */
#include "fuzz.h"

#include "../../sdk/klp/log_testing.h"
#include <klp/noise.h>
#include <klp/statement.h>

static void statement(const struct t_identity *identity, struct kos_bytes text)
{
    struct klp_statement one;
    struct kos_error error = { 0 };
    if (klp_statement_parse(text, &one, &error) < 0) {
        FUZZ_CHECK(error.text[0]);
        return;
    }
    FUZZ_CHECK(one.body.type == KLP_JSON_OBJECT && text.len <= KLP_STATEMENT_MAX);
    FUZZ_CHECK(klp_statement_compare(&one, &one) == 0);
    int32_t result = klp_statement_verify(&one, identity->log, T0);
    struct klp_statement again;
    uint8_t *made = malloc(text.len);
    size_t len;
    FUZZ_CHECK(made && klp_statement_make(&one, one.body.text, &identity->current, made, text.len, &len) == 0);
    FUZZ_CHECK(len == text.len && klp_statement_parse(kos_bytes(made, len), &again, &error) == 0);
    if (klp_id_eq(&one.issuer, klp_log_id(identity->log)) && one.event == 0 && one.expires > T0 && one.created <= T0)
        FUZZ_CHECK(klp_statement_verify(&again, identity->log, T0) == 0);
    if (result == 0)
        FUZZ_CHECK(fuzz_same(kos_bytes(made, len), text));
    free(made);
}

/* The body of an envelope, signed here. */
static void signed_statement(const struct t_identity *identity, struct kos_bytes body)
{
    uint8_t signature[KLP_SIGNATURE_LEN], *text = malloc(body.len + 200);
    char hex[2 * KLP_SIGNATURE_LEN + 1];
    FUZZ_CHECK(text && klp_sign(&identity->current, KLP_TAG_STATEMENT, body, signature) == 0);
    klp_hex(kos_bytes(signature, sizeof signature), hex);
    memcpy(text, "{\"body\":", 8);
    memcpy(text + 8, body.data, body.len);
    int tail = sprintf((char *)text + 8 + body.len, ",\"signature\":\"0x%s\"}", hex);
    statement(identity, kos_bytes(text, 8 + body.len + (size_t)tail));
    free(text);
}

static void proof(const struct t_identity *identity, struct kos_bytes bytes)
{
    struct klp_proof parsed;
    uint8_t static_public[32] = { 1 };
    if (klp_proof_parse(bytes, &parsed) < 0)
        return;
    FUZZ_CHECK(bytes.len == KLP_PROOF_LEN);
    klp_proof_verify(&parsed, identity->log, static_public, T0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct t_identity identity;
    struct kos_error error = { 0 };
    if (size < 2)
        return 0;
    struct kos_bytes rest = kos_bytes(data + 1, size - 1);
    t_incept(&identity, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    if (data[0] % 5 == 0) {
        statement(&identity, rest);
    } else if (data[0] % 5 == 1) {
        signed_statement(&identity, rest);
    } else if (data[0] % 5 == 2) {
        proof(&identity, rest);
    } else if (data[0] % 5 == 3) {
        struct klp_event event;
        int32_t result = klp_event_parse(rest, &event, &error);
        FUZZ_CHECK(result == 0 ? rest.len <= KLP_EVENT_MAX : error.text[0]);
    } else {
        struct klp_acceptance acceptance;
        if (klp_acceptance_parse(rest, &acceptance, &error) == 0)
            klp_acceptance_verify(&acceptance);
        else
            FUZZ_CHECK(error.text[0]);
    }
    klp_log_free(identity.log);
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

void fuzz_seeds(fuzz_put *put, void *arg)
{
    struct t_identity node, agent;
    struct t_entry entry;
    uint8_t text[KLP_ACCEPTANCE_MAX], proof_bytes[KLP_PROOF_LEN], static_public[32] = { 1 };
    size_t len;
    t_incept(&node, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    t_incept(&agent, KLP_KIND_AGENT, KLP_ALG_P256, 20, true, node.log);
    struct klp_statement said = {
        .kind = "node_record", .issuer = *klp_log_id(node.log), .seq = 3, .created = T0 - 5, .expires = T0 + 1000
    };
    FUZZ_CHECK(klp_statement_make(&said, kos_bytes_str("{\"a\":[1]}"), &node.current, text, sizeof text, &len) == 0);
    seed(put, arg, 0, kos_bytes(text, len));
    FUZZ_CHECK(klp_statement_parse(kos_bytes(text, len), &said, NULL) == 0);
    seed(put, arg, 1, said.signed_body);
    FUZZ_CHECK(klp_proof_make(node.log, &node.current, static_public, proof_bytes) == 0);
    seed(put, arg, 2, kos_bytes(proof_bytes, sizeof proof_bytes));
    seed(put, arg, 3, klp_log_entry(node.log, 0));
    seed(put, arg, 3, klp_log_entry(agent.log, 0));
    t_rotation(&agent, 1, &agent.next, false, &node.current, &node.next, &entry);
    seed(put, arg, 3, t_bytes(&entry));
    t_delegation(node.log, 1, &node.current, 9, &entry);
    seed(put, arg, 3, t_bytes(&entry));
    struct klp_event end = t_event(node.log, KLP_EVENT_REVOCATION, 1);
    end.compromised = true;
    t_make(&end, &node.next, &entry);
    seed(put, arg, 3, t_bytes(&entry));
    struct klp_acceptance acceptance = { .agent = *klp_log_id(agent.log),
                                         .agent_identity = *klp_log_identity(agent.log),
                                         .host = *klp_log_id(node.log),
                                         .host_identity = *klp_log_identity(node.log),
                                         .seq = 1,
                                         .prior = klp_log_head(agent.log)->digest,
                                         .created = T0,
                                         .key = t_public(&node.next),
                                         .next = t_commit(&node.recovery),
                                         .sealing_key = { 9 } };
    FUZZ_CHECK(klp_acceptance_make(&acceptance, &node.next, text, sizeof text, &len, NULL) == 0);
    seed(put, arg, 4, kos_bytes(text, len));
    struct klp_event move = t_event(agent.log, KLP_EVENT_HANDOVER, 1);
    move.acceptance = kos_bytes(text, len);
    t_make(&move, &agent.next, &entry);
    seed(put, arg, 3, t_bytes(&entry));
    klp_log_free(agent.log);
    klp_log_free(node.log);
}
