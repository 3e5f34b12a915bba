/* SPDX-License-Identifier: Apache-2.0
 *
 * Statements: made, parsed, verified, ordered; and what is refused.
 */
#include <klp/statement.h>

#include <stdio.h>

#include "log_testing.h"

struct made { uint8_t data[KLP_STATEMENT_MAX]; size_t len; };

static struct klp_statement plan(const struct t_identity *issuer)
{
    struct klp_statement statement = { .kind = "node_record", .issuer = *klp_log_id(issuer->log), .event = 0, .seq = 3,
                                       .created = T0, .expires = T0 + 100000 };
    return statement;
}

static struct klp_statement make(const struct klp_statement *statement, const struct klp_secret *secret,
                                 struct made *ret_made)
{
    struct klp_statement parsed;
    struct kos_error error = { 0 };
    ck_assert_int_eq(klp_statement_make(statement, kos_bytes_str("{\"a\":[1,2],\"b\":\"c\"}"), secret, ret_made->data,
                                        sizeof ret_made->data, &ret_made->len),
                     0);
    int32_t result = klp_statement_parse(kos_bytes(ret_made->data, ret_made->len), &parsed, &error);
    ck_assert_msg(result == 0, "%s", error.text);
    return parsed;
}

START_TEST(made_and_verified)
{
    struct t_identity one;
    static struct made made;
    t_incept(&one, KLP_KIND_NODE, KLP_ALG_P256, 1, false, NULL);
    struct klp_statement statement = plan(&one), parsed = make(&statement, &one.current, &made);
    ck_assert_str_eq(parsed.kind, "node_record");
    ck_assert(klp_id_eq(&parsed.issuer, &statement.issuer));
    ck_assert_uint_eq(parsed.seq, 3);
    ck_assert(kos_bytes_eq(parsed.body.text, kos_bytes_str("{\"a\":[1,2],\"b\":\"c\"}")));
    ck_assert_int_eq(klp_statement_verify(&parsed, one.log, T0), 0);
    ck_assert_int_eq(klp_statement_verify(&parsed, one.log, T0 + 99999), 0);
    ck_assert_int_eq(klp_statement_verify(&parsed, one.log, T0 + 100000), KOS_E_EXPIRED);
    ck_assert_int_eq(klp_statement_verify(&parsed, one.log, T0 - 300000), 0);
    ck_assert_int_eq(klp_statement_verify(&parsed, one.log, T0 - 300001), KOS_E_FUTURE);
    klp_log_free(one.log);
}
END_TEST

START_TEST(keys)
{
    struct t_identity one, other;
    static struct made made;
    t_incept(&one, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    t_incept(&other, KLP_KIND_NODE, KLP_ALG_ED25519, 50, false, NULL);
    struct klp_statement statement = plan(&one), parsed = make(&statement, &other.current, &made);
    ck_assert_int_eq(klp_statement_verify(&parsed, one.log, T0), KOS_E_SIGNATURE);
    ck_assert_int_eq(klp_statement_verify(&parsed, other.log, T0), KOS_E_SIGNATURE);
    parsed = make(&statement, &one.current, &made);
    struct klp_log *empty = klp_log_new();
    ck_assert_int_eq(klp_statement_verify(&parsed, empty, T0), KOS_E_SIGNATURE);
    klp_log_free(empty);
    /* Created before the rotation at T0 + 1000: good for its grace. Created after it: not at all. */
    t_rotate(&one);
    ck_assert_int_eq(klp_statement_verify(&parsed, one.log, T0 + 99999), 0);
    statement.created = T0 + 1000;
    parsed = make(&statement, &one.current, &made);
    ck_assert_int_eq(klp_statement_verify(&parsed, one.log, T0 + 2000), KOS_E_EXPIRED);
    statement.event = 1;
    parsed = make(&statement, &one.current, &made);
    ck_assert_int_eq(klp_statement_verify(&parsed, one.log, T0 + 2000), 0);
    statement.event = 2;
    parsed = make(&statement, &one.current, &made);
    ck_assert_int_eq(klp_statement_verify(&parsed, one.log, T0 + 2000), KOS_E_NOTFOUND);
    klp_log_free(other.log);
    klp_log_free(one.log);
}
END_TEST

START_TEST(order)
{
    struct klp_statement a = { .event = 1, .seq = 9 }, b = { .event = 2, .seq = 1 };
    ck_assert_int_lt(klp_statement_compare(&a, &b), 0);
    ck_assert_int_gt(klp_statement_compare(&b, &a), 0);
    b.event = 1;
    ck_assert_int_gt(klp_statement_compare(&a, &b), 0);
    b.seq = 9;
    ck_assert_int_eq(klp_statement_compare(&a, &b), 0);
    b.seq = UINT64_MAX;
    ck_assert_int_lt(klp_statement_compare(&a, &b), 0);
}
END_TEST

START_TEST(refused)
{
    struct t_identity one;
    static struct made made;
    static uint8_t big[KLP_STATEMENT_MAX + 1];
    size_t len;
    t_incept(&one, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    struct klp_statement good = plan(&one), statement = good;
    struct kos_bytes body = kos_bytes_str("{}");
    static const char *const kinds[] = { "", "Node", "1a", "a-b", "_a", "a b" };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        snprintf(statement.kind, sizeof statement.kind, "%s", kinds[i]);
        ck_assert_int_eq(klp_statement_make(&statement, body, &one.current, made.data, sizeof made.data, &len),
                         KOS_E_INVALID);
    }
    memset(statement.kind, 'a', sizeof statement.kind);
    ck_assert_int_eq(klp_statement_make(&statement, body, &one.current, made.data, sizeof made.data, &len),
                     KOS_E_INVALID);
    statement = good;
    statement.expires = statement.created;
    ck_assert_int_eq(klp_statement_make(&statement, body, &one.current, made.data, sizeof made.data, &len),
                     KOS_E_INVALID);
    ck_assert_int_eq(klp_statement_make(&good, kos_bytes_str("[]"), &one.current, made.data, sizeof made.data, &len),
                     KOS_E_INVALID);
    ck_assert_int_eq(klp_statement_make(&good, kos_bytes_str("{ }"), &one.current, made.data, sizeof made.data, &len),
                     KOS_E_CANONICAL);
    ck_assert_int_eq(klp_statement_make(&good, body, &one.current, made.data, sizeof made.data, &made.len), 0);
    for (size_t cap = 0; cap < made.len + 10; cap++) {
        int32_t result = klp_statement_make(&good, body, &one.current, made.data, cap, &len);
        ck_assert_int_eq(result, cap < made.len ? KOS_E_LIMIT : 0);
    }
    /* A body that fits alone and not in the envelope. */
    memset(big, 'a', sizeof big);
    memcpy(big, "{\"b\":\"", 6);
    memcpy(big + KLP_STATEMENT_MAX - 50, "\"}", 2);
    ck_assert_int_eq(klp_statement_make(&good, kos_bytes(big, KLP_STATEMENT_MAX - 48), &one.current, made.data,
                                        sizeof made.data, &len),
                     KOS_E_LIMIT);
    ck_assert_int_eq(klp_statement_parse(kos_bytes(big, sizeof big), &statement, NULL), KOS_E_LIMIT);
    /* Nesting that fits alone and not two levels deeper. */
    char deep[128] = "{\"b\":";
    memset(deep + 5, '[', KLP_JSON_DEPTH_MAX - 1);
    memset(deep + 5 + KLP_JSON_DEPTH_MAX - 1, ']', KLP_JSON_DEPTH_MAX - 1);
    strcat(deep, "}");
    struct klp_json value;
    ck_assert_int_eq(klp_json_read(kos_bytes_str(deep), sizeof deep, &value, NULL), 0);
    ck_assert_int_lt(klp_statement_make(&good, kos_bytes_str(deep), &one.current, made.data, sizeof made.data, &len),
                     0);
    klp_log_free(one.log);
}
END_TEST

START_TEST(shape)
{
    static const char *const wrong[] = {
        "",
        "1",
        "{}",
        "{\"body\":1,\"signature\":\"0x00\"}",
        "{\"body\":{},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"body\":[],\"created\":1,\"event\":0,\"expires\":2,\"issuer\":\"aeaqcaibaeaqcaibaeaqcaibae\",\"kind\":\"k\",\"seq\":0},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"body\":{},\"created\":2,\"event\":0,\"expires\":2,\"issuer\":\"aeaqcaibaeaqcaibaeaqcaibae\",\"kind\":\"k\",\"seq\":0},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"body\":{},\"created\":1,\"event\":-1,\"expires\":2,\"issuer\":\"aeaqcaibaeaqcaibaeaqcaibae\",\"kind\":\"k\",\"seq\":0},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"body\":{},\"created\":1,\"event\":0,\"expires\":2,\"issuer\":\"aeaqcaibaeaqcaibaeaqcaib\",\"kind\":\"k\",\"seq\":0},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"body\":{},\"created\":1,\"event\":0,\"expires\":2,\"issuer\":\"aeaqcaibaeaqcaibaeaqcaibae\",\"kind\":\"K\",\"seq\":0},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"body\":{},\"created\":1,\"event\":0,\"expires\":2,\"issuer\":\"aeaqcaibaeaqcaibaeaqcaibae\",\"kind\":\"k\"},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"body\":{},\"created\":1,\"event\":0,\"expires\":2,\"issuer\":\"aeaqcaibaeaqcaibaeaqcaibae\",\"kind\":\"k\",\"seq\":0,\"t\":1},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"body\":{},\"created\":1,\"event\":0,\"expires\":2,\"issuer\":\"aeaqcaibaeaqcaibaeaqcaibae\",\"kind\":\"k\",\"seq\":0},\"signature\":\"0x%0126d\"}",
        "{\"body\":{\"body\":{},\"created\":1,\"event\":0,\"expires\":2,\"issuer\":\"aeaqcaibaeaqcaibaeaqcaibae\",\"kind\":\"k\",\"seq\":0},\"x\":\"0x%0128d\"}",
    };
    static const char *const good =
        "{\"body\":{\"body\":{},\"created\":1,\"event\":0,\"expires\":2,\"issuer\":\"aeaqcaibaeaqcaibaeaqcaibae\",\"kind\":\"k\",\"seq\":0},\"signature\":\"0x%0128d\"}";
    struct klp_statement statement;
    char text[1024];
    int len = snprintf(text, sizeof text, good, 0);
    ck_assert_int_eq(klp_statement_parse(kos_bytes(text, (size_t)len), &statement, NULL), 0);
    for (int cut = 0; cut < len; cut++) {
        uint8_t *copy = malloc((size_t)cut + 1);
        memcpy(copy, text, (size_t)cut);
        ck_assert_int_lt(klp_statement_parse(kos_bytes(copy, (size_t)cut), &statement, NULL), 0);
        free(copy);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct kos_error error = { 0 };
        len = snprintf(text, sizeof text, wrong[i], 0);
        ck_assert_msg(klp_statement_parse(kos_bytes(text, (size_t)len), &statement, &error) < 0, "variant %zu is taken",
                      i);
        ck_assert(error.code < 0 && error.text[0]);
    }
}
END_TEST

START_TEST(altered_everywhere)
{
    struct t_identity one;
    static struct made made;
    t_incept(&one, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    struct klp_statement statement = plan(&one), parsed;
    make(&statement, &one.current, &made);
    for (size_t i = 0; i < made.len; i++) {
        made.data[i] ^= 1;
        if (klp_statement_parse(kos_bytes(made.data, made.len), &parsed, NULL) == 0)
            ck_assert_int_lt(klp_statement_verify(&parsed, one.log, T0), 0);
        made.data[i] ^= 1;
    }
    klp_log_free(one.log);
}
END_TEST

TESTS("klp/statement", made_and_verified, keys, order, refused, shape, altered_everywhere)
