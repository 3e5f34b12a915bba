/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of KLP-IDs: derivation, the three texts, and the prefixes that people type.
 */
#include <klp/id.h>

#include "unit.h"

static struct kos_bytes s(const char *text)
{
    return kos_bytes_str(text);
}

static void counting(void *self, void *out, size_t len)
{
    uint8_t *next = self, *p = out;
    for (size_t i = 0; i < len; i++)
        p[i] = (*next)++;
}

START_TEST(derive)
{
    struct klp_id id, other;
    struct klp_digest digest, want;
    klp_id_derive(KLP_KIND_NODE, s("{}"), &id, &digest);
    klp_sha256(kos_bytes("klp-id/1\0node\0{}", 16), &want);
    ck_assert_mem_eq(digest.b, want.b, 32);
    ck_assert_mem_eq(id.b, want.b, 16);
    klp_id_derive(KLP_KIND_AGENT, s("{}"), &other, NULL);
    ck_assert(!klp_id_eq(&id, &other));
    int32_t kind = 0;
    for (int32_t k = KLP_KIND_NODE; k <= KLP_KIND_POLICY; k++) {
        ck_assert_int_eq(klp_kind_parse(s(klp_kind_name(k)), &kind), 0);
        ck_assert_int_eq(kind, k);
    }
    ck_assert_ptr_null(klp_kind_name(0));
    ck_assert_ptr_null(klp_kind_name(5));
    ck_assert_int_eq(klp_kind_parse(s("Node"), &kind), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_kind_parse(s(""), &kind), KOS_E_SYNTAX);
}
END_TEST

START_TEST(texts)
{
    uint8_t next = 0xf0;
    struct klp_id id, back;
    klp_id_random((struct klp_random){ counting, &next }, &id);
    char text[KLP_ID_TEXT], hex[KLP_ID_HEX], did[KLP_DID_TEXT];
    klp_id_text(&id, text);
    klp_id_hex(&id, hex);
    klp_did(&id, did);
    ck_assert_str_eq(text, "6dy7f47u6x3pp6hz7l57z7p674");
    ck_assert_str_eq(hex, "0xf0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    ck_assert_str_eq(did, "did:klp:6dy7f47u6x3pp6hz7l57z7p674");
    ck_assert_int_eq(klp_id_parse(s(text), &back), 0);
    ck_assert(klp_id_eq(&id, &back));
    ck_assert_int_eq(klp_id_parse_hex(s(hex), &back), 0);
    ck_assert(klp_id_eq(&id, &back));
    ck_assert_int_eq(klp_did_parse(s(did), &back), 0);
    ck_assert(klp_id_eq(&id, &back));
}
END_TEST

START_TEST(refused)
{
    struct klp_id id = { { 0x55 } };
    const char *bad[] = {
        "", "6dy7f47u6x3pp6hz7l57z7p67", "6dy7f47u6x3pp6hz7l57z7p674a", "6DY7f47u6x3pp6hz7l57z7p67y",
        "6dy7f47u6x3pp6hz7l57z7p675", "6dy7f47u6x3pp6hz7l57z7p671", "6dy7f47u6x3pp6hz7l57z7p6y=",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(klp_id_parse(s(bad[i]), &id) == KOS_E_SYNTAX, "%s", bad[i]);
    ck_assert_int_eq(klp_id_parse_hex(s("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"), &id), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_id_parse_hex(s("0xF0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"), &id), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_id_parse_hex(s("0xf0f1f2f3f4f5f6f7f8f9fafbfcfdfe"), &id), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_did_parse(s("did:key:6dy7f47u6x3pp6hz7l57z7p674"), &id), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_did_parse(s("6dy7f47u6x3pp6hz7l57z7p674"), &id), KOS_E_SYNTAX);
    ck_assert_uint_eq(id.b[0], 0x55);
}
END_TEST

START_TEST(prefixes)
{
    struct klp_id id, near;
    struct klp_id_prefix prefix;
    ck_assert_int_eq(klp_id_parse_hex(s("0x9f3a0000000000000000000000000001"), &id), 0);
    ck_assert_int_eq(klp_id_parse_hex(s("0x9f350000000000000000000000000001"), &near), 0);
    ck_assert_int_eq(klp_id_prefix_parse(s("0x9F3"), &prefix), 0);
    ck_assert_uint_eq(prefix.digits, 3);
    ck_assert(klp_id_prefix_match(&prefix, &id));
    ck_assert(klp_id_prefix_match(&prefix, &near));
    ck_assert_int_eq(klp_id_prefix_parse(s("0x9f3a"), &prefix), 0);
    ck_assert(klp_id_prefix_match(&prefix, &id));
    ck_assert(!klp_id_prefix_match(&prefix, &near));
    ck_assert_int_eq(klp_id_prefix_parse(s("0x9f3a0"), &prefix), 0);
    ck_assert(klp_id_prefix_match(&prefix, &id));
    char text[KLP_ID_TEXT], did[KLP_DID_TEXT], hex[KLP_ID_HEX];
    klp_id_text(&id, text);
    klp_did(&id, did);
    klp_id_hex(&id, hex);
    const char *whole[] = { text, did, hex };
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(klp_id_prefix_parse(s(whole[i]), &prefix), 0);
        ck_assert_uint_eq(prefix.digits, 32);
        ck_assert(klp_id_prefix_match(&prefix, &id));
        ck_assert(!klp_id_prefix_match(&prefix, &near));
    }
    const char *bad[] = { "", "0x", "0x9", "9f3a", "0x9g", "0x9f3a00000000000000000000000000011", "did:klp:",
                          "home.kai", "0x 9" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(klp_id_prefix_parse(s(bad[i]), &prefix) == KOS_E_SYNTAX, "%s", bad[i]);
}
END_TEST

TESTS("klp/id", derive, texts, refused, prefixes)
