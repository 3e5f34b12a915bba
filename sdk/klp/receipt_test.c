/* SPDX-License-Identifier: Apache-2.0
 *
 * Receipts: made and read back, their exact text, and what is refused.
 */
#include <klp/message.h>

#include "unit.h"

static const struct klp_id node = { { 1, 2, 3 } };

static struct kos_bytes s(const char *text)
{
    return kos_bytes_str(text);
}

START_TEST(error_names)
{
#define CHECK(constant, number, name, again, text) ck_assert_int_eq(klp_error_parse(s(name)), number);
    KOS_ERROR_LIST(CHECK)
#undef CHECK
    ck_assert_int_eq(klp_error_parse(s("no_such_error")), KOS_E_INTERNAL);
    ck_assert_int_eq(klp_error_parse(s("")), KOS_E_INTERNAL);
    ck_assert_int_eq(klp_error_parse(s("busy ")), KOS_E_INTERNAL);
    ck_assert_int_eq(klp_error_parse(s("bus")), KOS_E_INTERNAL);
}
END_TEST

START_TEST(round_trip)
{
    struct klp_receipt in[3] = { { .id = { { 7 } }, .error = 0 },
                                 { .id = { { 8 } }, .error = KOS_E_DENIED,
                                   .text = "rule \"x\"\nof caf\xc3\xa9.klp-policy" },
                                 { .id = { { 9 } }, .error = KOS_E_BUSY } };
    uint8_t out[4096];
    size_t len;
    memset(in[0].digest.b, 0xab, 32);
    memset(in[1].text + strlen(in[1].text), 'x', KLP_RECEIPT_TEXT_MAX - 1 - strlen(in[1].text));
    ck_assert_int_eq(klp_receipts_make(&node, 5, 1781900000000, in, 3, out, sizeof out, &len), 0);
    struct klp_receipts receipts;
    ck_assert_int_eq(klp_receipts_parse(kos_bytes(out, len), &receipts), 0);
    ck_assert(klp_id_eq(&receipts.node, &node));
    ck_assert_uint_eq(receipts.event, 5);
    ck_assert_int_eq(receipts.created, 1781900000000);
    ck_assert_ptr_eq(receipts.body.data, out);
    ck_assert_uint_eq(receipts.body.len, len);
    struct klp_json_iter iter;
    struct klp_receipt receipt;
    klp_json_iter_init(receipts.list, &iter);
    for (int i = 0; i < 3; i++) {
        ck_assert(klp_receipts_next(&iter, &receipt));
        ck_assert(klp_id_eq(&receipt.id, &in[i].id));
        ck_assert_mem_eq(receipt.digest.b, in[i].digest.b, 32);
        ck_assert_int_eq(receipt.error, in[i].error);
        ck_assert_str_eq(receipt.text, in[i].text);
    }
    ck_assert(!klp_receipts_next(&iter, &receipt));
    /* Measured first, made to measure. */
    size_t need = 0;
    ck_assert_int_eq(klp_receipts_make(&node, 5, 1781900000000, in, 3, NULL, 0, &need), KOS_E_LIMIT);
    ck_assert_uint_eq(need, len);
    uint8_t *exact = malloc(len);
    ck_assert_int_eq(klp_receipts_make(&node, 5, 1781900000000, in, 3, exact, len - 1, &need), KOS_E_LIMIT);
    ck_assert_int_eq(klp_receipts_make(&node, 5, 1781900000000, in, 3, exact, len, &need), 0);
    ck_assert_mem_eq(exact, out, len);
    free(exact);
}
END_TEST

START_TEST(exact_text)
{
    struct klp_receipt receipt = { .id = { { 0 } }, .error = KOS_E_EXPIRED, .text = "too late" };
    uint8_t out[512];
    size_t len;
    static const struct klp_id zero = { { 0 } };
    ck_assert_int_eq(klp_receipts_make(&zero, 0, 1, &receipt, 1, out, sizeof out, &len), 0);
    ck_assert(kos_bytes_eq(kos_bytes(out, len), s(
        "{\"created\":1,\"event\":0,\"node\":\"aaaaaaaaaaaaaaaaaaaaaaaaaa\",\"receipts\":[{\"digest\":"
        "\"0x0000000000000000000000000000000000000000000000000000000000000000\",\"error\":\"expired\","
        "\"id\":\"aaaaaaaaaaaaaaaaaaaaaaaaaa\",\"text\":\"too late\"}]}")));
}
END_TEST

START_TEST(make_refuses)
{
    static struct klp_receipt many[KLP_RECEIPTS_MAX + 1];
    static uint8_t out[1 << 18];
    size_t len = 77;
    ck_assert_int_eq(klp_receipts_make(&node, 0, 0, many, 0, out, sizeof out, &len), KOS_E_LIMIT);
    ck_assert_int_eq(klp_receipts_make(&node, 0, 0, many, KLP_RECEIPTS_MAX + 1, out, sizeof out, &len), KOS_E_LIMIT);
    ck_assert_int_eq(klp_receipts_make(&node, 0, -1, many, 1, out, sizeof out, &len), KOS_E_INVALID);
    ck_assert_int_eq(klp_receipts_make(&node, UINT64_MAX, 0, many, 1, out, sizeof out, &len), KOS_E_INVALID);
    many[0].error = 1;
    ck_assert_int_eq(klp_receipts_make(&node, 0, 0, many, 1, out, sizeof out, &len), KOS_E_INVALID);
    many[0].error = 0;
    memset(many[0].text, 'x', sizeof many[0].text);
    ck_assert_int_eq(klp_receipts_make(&node, 0, 0, many, 1, out, sizeof out, &len), KOS_E_INVALID);
    strcpy(many[0].text, "\xff not UTF-8");
    ck_assert_int_lt(klp_receipts_make(&node, 0, 0, many, 1, out, sizeof out, &len), 0);
    ck_assert_uint_eq(len, 77);
    many[0].text[0] = 0;
    struct klp_receipts receipts;
    ck_assert_int_eq(klp_receipts_make(&node, 0, 0, many, KLP_RECEIPTS_MAX, out, sizeof out, &len), 0);
    ck_assert_int_eq(klp_receipts_parse(kos_bytes(out, len), &receipts), 0);
}
END_TEST

#define ID "\"aaaaaaaaaaaaaaaaaaaaaaaaaa\""
#define DIGEST "\"0x0000000000000000000000000000000000000000000000000000000000000000\""
#define ONE "{\"digest\":" DIGEST ",\"id\":" ID "}"

START_TEST(parse_refuses)
{
    static const char *const good[] = {
        "{\"created\":1,\"event\":0,\"node\":" ID ",\"receipts\":[" ONE "]}",
        "{\"created\":1,\"event\":0,\"node\":" ID ",\"receipts\":[" ONE "],\"zzz\":{}}",
        "{\"created\":1,\"event\":0,\"node\":" ID
            ",\"receipts\":[{\"digest\":" DIGEST ",\"error\":\"new_one\",\"id\":" ID "}]}",
    };
    static const char *const bad[] = {
        "", "[]", "{}", "1",
        "{\"created\":-1,\"event\":0,\"node\":" ID ",\"receipts\":[" ONE "]}",
        "{\"created\":1.5,\"event\":0,\"node\":" ID ",\"receipts\":[" ONE "]}",
        "{\"created\":1,\"event\":-1,\"node\":" ID ",\"receipts\":[" ONE "]}",
        "{\"created\":1,\"event\":0,\"node\":\"short\",\"receipts\":[" ONE "]}",
        "{\"created\":1,\"event\":0,\"node\":\"aaaaaaaaaaaaaaaaaaaaaaaaab\",\"receipts\":[" ONE "]}",
        "{\"created\":1,\"event\":0,\"node\":" ID ",\"receipts\":[]}",
        "{\"created\":1,\"event\":0,\"node\":" ID ",\"receipts\":{}}",
        "{\"created\":1,\"event\":0,\"node\":" ID ",\"receipts\":[1]}",
        "{\"created\":1,\"event\":0,\"node\":" ID ",\"receipts\":[{}]}",
        "{\"created\":1,\"event\":0,\"node\":" ID ",\"receipts\":[" ONE ",{\"id\":" ID "}]}",
        "{\"created\":1,\"event\":0,\"node\":" ID ",\"receipts\":[{\"digest\":\"0x00\",\"id\":" ID "}]}",
        "{\"created\":1,\"event\":0,\"node\":" ID ",\"receipts\":[{\"digest\":" DIGEST ",\"error\":1,\"id\":" ID "}]}",
        "{\"created\":1,\"event\":0,\"node\":" ID ",\"receipts\":"
            "[{\"digest\":" DIGEST ",\"error\":\"\",\"id\":" ID "}]}",
        "{\"created\":1,\"event\":0,\"node\":" ID ",\"receipts\":"
            "[{\"digest\":" DIGEST ",\"id\":" ID ",\"text\":null}]}",
        "{\"created\":1,\"event\":0,\"node\":" ID ",\"receipts\":[" ONE "] }",
        "{\"event\":0,\"created\":1,\"node\":" ID ",\"receipts\":[" ONE "]}",
    };
    struct klp_receipts receipts = { .event = 77 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(klp_receipts_parse(s(bad[i]), &receipts) < 0, "taken: %s", bad[i]);
    ck_assert_uint_eq(receipts.event, 77);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(klp_receipts_parse(s(good[i]), &receipts) == 0, "refused: %s", good[i]);
    /* An error of a later version is still an error. */
    struct klp_json_iter iter;
    struct klp_receipt receipt;
    klp_json_iter_init(receipts.list, &iter);
    ck_assert(klp_receipts_next(&iter, &receipt));
    ck_assert_int_eq(receipt.error, KOS_E_INTERNAL);
    /* Too many, and a text that is too long. */
    char *text = malloc(1 << 20), *at = text;
    for (int count = KLP_RECEIPTS_MAX; count <= KLP_RECEIPTS_MAX + 1; count++) {
        at = text + sprintf(text, "{\"created\":1,\"event\":0,\"node\":" ID ",\"receipts\":[");
        for (int i = 0; i < count; i++)
            at += sprintf(at, "%s%s", i ? "," : "", ONE);
        strcpy(at, "]}");
        ck_assert_int_eq(klp_receipts_parse(s(text), &receipts), count > KLP_RECEIPTS_MAX ? KOS_E_PROTOCOL : 0);
    }
    for (int len = KLP_RECEIPT_TEXT_MAX - 1; len <= KLP_RECEIPT_TEXT_MAX; len++) {
        sprintf(text, "{\"created\":1,\"event\":0,\"node\":" ID ",\"receipts\":[{\"digest\":" DIGEST ",\"id\":" ID
                ",\"text\":\"%*s\"}]}", len, "x");
        ck_assert_int_eq(klp_receipts_parse(s(text), &receipts), len == KLP_RECEIPT_TEXT_MAX ? KOS_E_PROTOCOL : 0);
    }
    free(text);
}
END_TEST

TESTS("klp/receipt", error_names, round_trip, exact_text, make_refuses, parse_refuses)
