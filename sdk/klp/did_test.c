/* SPDX-License-Identifier: Apache-2.0
 *
 * DID documents: what a log says of itself to the rest of the world.
 */
#include <klp/log.h>

#include <stdio.h>

#include "log_testing.h"

static struct klp_json document(const struct klp_log *log, uint8_t **ret_data)
{
    size_t len;
    struct klp_json value;
    ck_assert_int_eq(klp_log_did_document(log, ret_data, &len), 0);
    ck_assert_int_eq(klp_json_read(kos_bytes(*ret_data, len), 4096, &value, NULL), 0);
    return value;
}

START_TEST(node)
{
    struct t_identity one;
    uint8_t *data;
    char did[KLP_DID_TEXT], key[KLP_KEY_TEXT_MAX], expected[1024];
    t_incept(&one, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    for (int event = 0; event < 3; event++) {
        struct klp_public public = t_public(&one.current);
        struct klp_json value = document(one.log, &data);
        klp_did(klp_log_id(one.log), did);
        klp_public_text(&public, key);
        snprintf(
            expected, sizeof expected,
            "{\"@context\":[\"https://www.w3.org/ns/did/v1\",\"https://w3id.org/security/multikey/v1\"],"
            "\"assertionMethod\":[\"%s#event-%d\"],\"authentication\":[\"%s#event-%d\"],\"id\":\"%s\","
            "\"verificationMethod\":[{\"controller\":\"%s\",\"id\":\"%s#event-%d\",\"publicKeyMultibase\":\"%s\",\"type\":\"Multikey\"}]}",
            did, event, did, event, did, did, did, event, key);
        ck_assert_uint_eq(value.text.len, strlen(expected));
        ck_assert(memcmp(value.text.data, expected, value.text.len) == 0);
        free(data);
        one.alg = KLP_ALG_P256;
        t_rotate(&one);
    }
    klp_log_free(one.log);
}
END_TEST

/* A delegation changes no key, so its name stays. */
START_TEST(agent_and_its_node)
{
    struct t_identity one, agent;
    uint8_t *data;
    char did[KLP_DID_TEXT];
    t_incept(&one, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    t_incept(&agent, KLP_KIND_AGENT, KLP_ALG_ED25519, 50, false, one.log);
    t_delegate(&one, agent.log);
    klp_did(klp_log_id(one.log), did);
    struct klp_json value = document(agent.log, &data);
    ck_assert(klp_json_equals(klp_json_get(value, "controller"), did));
    free(data);
    value = document(one.log, &data);
    ck_assert_int_eq(klp_json_get(value, "controller").type, KLP_JSON_NONE);
    struct kos_bytes text;
    struct klp_json_iter iter;
    struct klp_json method;
    klp_json_iter_init(klp_json_get(value, "authentication"), &iter);
    ck_assert(klp_json_next(&iter, NULL, &method));
    ck_assert_int_eq(klp_json_plain(method, &text), 0);
    ck_assert(memcmp(text.data + text.len - 8, "#event-0", 8) == 0);
    free(data);
    klp_log_free(agent.log);
    klp_log_free(one.log);
}
END_TEST

START_TEST(revoked_and_frozen)
{
    struct t_identity one;
    struct t_entry a, b;
    uint8_t *data;
    t_incept(&one, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    struct klp_log *frozen = klp_log_clone(one.log);
    struct klp_event event = t_event(one.log, KLP_EVENT_REVOCATION, 1);
    t_make(&event, &one.next, &a);
    t_append(one.log, &a, KLP_LOG_APPENDED);
    struct klp_json value = document(one.log, &data);
    bool deactivated = false;
    ck_assert_int_eq(klp_json_bool(klp_json_get(value, "deactivated"), &deactivated), 0);
    ck_assert(deactivated);
    ck_assert_int_eq(klp_json_get(value, "verificationMethod").type, KLP_JSON_NONE);
    ck_assert_int_eq(klp_json_get(value, "authentication").type, KLP_JSON_NONE);
    free(data);
    t_delegation(frozen, 1, &one.current, 1, &a);
    t_delegation(frozen, 1, &one.current, 2, &b);
    t_append(frozen, &a, KLP_LOG_APPENDED);
    t_append(frozen, &b, KOS_E_DUPLICITY);
    value = document(frozen, &data);
    ck_assert_int_eq(klp_json_get(value, "deactivated").type, KLP_JSON_NONE);
    ck_assert_int_eq(klp_json_get(value, "verificationMethod").type, KLP_JSON_ARRAY);
    ck_assert_int_eq(klp_json_get(value, "authentication").type, KLP_JSON_NONE);
    ck_assert_int_eq(klp_json_get(value, "assertionMethod").type, KLP_JSON_NONE);
    free(data);
    klp_log_free(frozen);
    klp_log_free(one.log);
}
END_TEST

TESTS("klp/did", node, agent_and_its_node, revoked_and_frozen)
