/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealing of whole messages: the exact shape, every member bound, and payloads that a sealer should not have sent.
 */
#include <klp/hpke.h>

#include "unit.h"

static const uint8_t secret[32] = { 1, 2, 3 }, other_secret[32] = { 4, 5, 6 };

static void counting(void *self, void *out, size_t len)
{
    memset(out, ++*(uint8_t *)self, len);
}

static struct kos_bytes s(const char *text)
{
    return kos_bytes_str(text);
}

struct owned { uint8_t *data; size_t len; };

static int32_t seal(struct kos_bytes body, struct owned *ret_sealed, struct kos_error *error)
{
    uint8_t seed = 0, public[32];
    klp_x25519_public(secret, public);
    memset(error, 0, sizeof *error);
    struct klp_random random = { counting, &seed };
    return klp_seal_message(body, public, random, &ret_sealed->data, &ret_sealed->len, error);
}

static int32_t open_with(const uint8_t key[32], const uint8_t named[32], struct kos_bytes body, struct owned *ret_body,
                         struct kos_error *error)
{
    uint8_t public[32];
    klp_x25519_public(named, public);
    memset(error, 0, sizeof *error);
    return klp_open_message(body, key, public, &ret_body->data, &ret_body->len, error);
}

static int32_t open(struct kos_bytes body, struct owned *ret_body, struct kos_error *error)
{
    return open_with(secret, secret, body, ret_body, error);
}

static void round_trips(const char *body)
{
    struct owned sealed, opened;
    struct kos_error error;
    struct klp_json root;
    ck_assert_msg(seal(s(body), &sealed, &error) == 0, "%s: %s", body, error.text);
    ck_assert_int_eq(klp_json_read(kos_bytes(sealed.data, sealed.len), KLP_MESSAGE_MAX, &root, NULL), 0);
    ck_assert_int_eq(klp_json_get(root, "payload").type, KLP_JSON_STRING);
    ck_assert_int_eq(klp_json_get(root, "seal").type, KLP_JSON_OBJECT);
    ck_assert_msg(open(kos_bytes(sealed.data, sealed.len), &opened, &error) == 0, "%s: %s", body, error.text);
    ck_assert_msg(kos_bytes_eq(s(body), kos_bytes(opened.data, opened.len)), "%s -> %.*s", body, (int)opened.len,
                  (char *)opened.data);
    free(sealed.data);
    free(opened.data);
}

START_TEST(round_trip)
{
    round_trips("{\"payload\":{}}");
    round_trips("{\"a\":1,\"payload\":{\"x\":[1,2,3]},\"target\":\"klp://agent.x\"}");
    round_trips("{\"payload\":{\"long\":\"0123456789012345678901234567890123456789\"},"
                "\"source\":\"s\",\"target\":\"t\"}");
    /* Names on both sides of "seal", escaped and beyond ASCII too. */
    round_trips("{\"\\n\":1,\"\\\"\":2,\"\\\\\":3,"
                "\"payload\":{},\"s\":1,\"sea\":1,\"seala\":1,\"seam\":1,\"\xc3\xa9\":5}");
    round_trips("{\"payload\":{},\"se\\\"l\":1,\"seZl\":2,\"se\\\\l\":1,"
                "\"se\xc3\xa9\":3,\"\xf0\x9f\x98\x80\":4,\"\xef\xac\xb3\":5}");
}
END_TEST

/* The exact bytes, step by step with HPKE alone. */
START_TEST(layout)
{
    struct owned sealed;
    struct kos_error error;
    uint8_t seed = 0, public[32], enc[32], ciphertext[64];
    char enc_text[65], key_text[KLP_KEY_TEXT_MAX], base64[128], want[512];
    klp_x25519_public(secret, public);
    struct klp_random random = { counting, &seed };
    struct kos_bytes ad = s("{\"a\":1,\"z\":2}");
    ck_assert_int_eq(klp_hpke_seal(public, s("klp-seal/1"), ad, s("{\"x\":1}"), random, enc, ciphertext), 0);
    klp_hex(kos_bytes(enc, 32), enc_text);
    ck_assert_int_eq(klp_x25519_text(public, key_text), 0);
    klp_base64(kos_bytes(ciphertext, 7 + 16), base64);
    snprintf(want, sizeof want, "{\"a\":1,\"payload\":\"%s\",\"seal\":{\"enc\":\"0x%s\",\"key\":\"%s\"},\"z\":2}",
             base64, enc_text, key_text);
    ck_assert_int_eq(seal(s("{\"a\":1,\"payload\":{\"x\":1},\"z\":2}"), &sealed, &error), 0);
    ck_assert(kos_bytes_eq(kos_bytes(sealed.data, sealed.len), s(want)));
    free(sealed.data);
}
END_TEST

START_TEST(seal_refuses)
{
    static const char *const bad[] = {
        "", "[]", "{}", "1", "{\"a\":1}", "{\"payload\":\"text\"}", "{\"payload\":null}", "{\"payload\":{} }",
        "{\"payload\":{},\"seal\":{}}", "{\"payload\":{},\"seal\":null}",
    };
    struct owned sealed = { NULL, 77 };
    struct kos_error error;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(seal(s(bad[i]), &sealed, &error) < 0, "sealed: %s", bad[i]);
        ck_assert_uint_ne(error.text[0], 0);
    }
    uint8_t zero[32] = { 0 }, seed = 0;
    struct klp_random random = { counting, &seed };
    struct kos_bytes body = s("{\"payload\":{}}");
    ck_assert_int_eq(klp_seal_message(body, zero, random, &sealed.data, &sealed.len, &error), KOS_E_KEY);
    ck_assert_int_eq(klp_seal_message(body, zero, random, &sealed.data, &sealed.len, NULL), KOS_E_KEY);
    ck_assert_ptr_null(sealed.data);
    ck_assert_uint_eq(sealed.len, 77);
}
END_TEST

START_TEST(size_limit)
{
    struct owned sealed, opened;
    struct kos_error error;
    /* {"payload":{"x":"..."}}: what base64 makes of n bytes fits the limit, or does not. */
    size_t largest = (KLP_MESSAGE_MAX - 160) / 4 * 3;
    char *text = malloc(KLP_MESSAGE_MAX + 1);
    for (int over = 0; over < 2; over++) {
        size_t n = largest - 40 + (over ? 200 : 0);
        memset(text, 'x', n);
        memcpy(text, "{\"payload\":{\"x\":\"", 17);
        memcpy(text + n - 3, "\"}}", 3);
        int32_t code = seal(kos_bytes(text, n), &sealed, &error);
        ck_assert_int_eq(code, over ? KOS_E_LIMIT : 0);
        if (over) {
            ck_assert_ptr_nonnull(strstr(error.text, "1048576"));
        } else {
            ck_assert_int_eq(open(kos_bytes(sealed.data, sealed.len), &opened, &error), 0);
            ck_assert(kos_bytes_eq(kos_bytes(text, n), kos_bytes(opened.data, opened.len)));
            free(opened.data);
            free(sealed.data);
        }
    }
    free(text);
}
END_TEST

START_TEST(every_member_is_bound)
{
    struct owned sealed, opened = { NULL, 77 };
    struct kos_error error;
    ck_assert_int_eq(seal(s("{\"a\":1,\"payload\":{\"x\":1},\"target_id\":\"y\"}"), &sealed, &error), 0);
    for (size_t bit = 0; bit < 8 * sealed.len; bit++) {
        sealed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_msg(open(kos_bytes(sealed.data, sealed.len), &opened, &error) < 0, "bit %zu", bit);
        sealed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < sealed.len; len++)
        ck_assert_int_lt(open(kos_bytes(sealed.data, len), &opened, &error), 0);
    ck_assert_ptr_null(opened.data);
    ck_assert_uint_eq(opened.len, 77);
    /* Another key than the one it names; the named key with another secret. */
    struct kos_bytes body = kos_bytes(sealed.data, sealed.len);
    ck_assert_int_eq(open_with(other_secret, other_secret, body, &opened, &error), KOS_E_SEAL_RETIRED);
    ck_assert_ptr_nonnull(strstr(error.text, "z6LS"));
    ck_assert_int_eq(open_with(other_secret, secret, body, &opened, &error), KOS_E_DECRYPT);
    ck_assert_int_eq(open_with(secret, secret, body, &opened, &error), 0);
    free(opened.data);
    free(sealed.data);
}
END_TEST

START_TEST(open_refuses)
{
    static const char *const bad[] = {
        "", "{}", "[]", "{\"payload\":{}}", "{\"payload\":\"\",\"seal\":{}}", "{\"payload\":\"AAAA\",\"seal\":{}}",
        "{\"payload\":\"AAAA\",\"seal\":null}", "{\"payload\":{},\"seal\":{\"enc\":\"0x00\",\"key\":\"z\"}}",
        "{\"payload\":\"AAAA\",\"seal\":{\"enc\":\"0x00\",\"key\":\"z\"}}",
    };
    struct owned opened = { NULL, 77 };
    struct kos_error error;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(open(s(bad[i]), &opened, &error) < 0, "opened: %s", bad[i]);
        ck_assert_uint_ne(error.text[0], 0);
    }
    ck_assert_ptr_null(opened.data);
}
END_TEST

/* A sealer can put anything inside; only an object that keeps the whole canonical comes out. */
START_TEST(hostile_inside)
{
    static const struct { const char *inside; bool good; } cases[] = {
        { "{}", true }, { "{\"a\":[[[]]]}", true }, { "", false }, { "1", false }, { "[]", false }, { "{ }", false },
        { "null", false }, { "{\"b\":1,\"a\":2}", false }, { "{},\"seal\":{}", false }, { "{},\"target_id\":1", false },
        { "{\"a\":\"\xff\"}", false },
    };
    struct owned opened = { NULL, 77 };
    struct kos_error error;
    uint8_t public[32];
    klp_x25519_public(secret, public);
    for (size_t i = 0; i <= sizeof cases / sizeof *cases; i++) {
        uint8_t seed = 0, enc[32], ciphertext[512];
        char enc_text[65], key_text[KLP_KEY_TEXT_MAX], base64[1024], body[2048], deep[256] = "";
        /* One past the list: as deep as JSON may be, which is one level too many inside a message. */
        bool listed = i < sizeof cases / sizeof *cases;
        for (int level = 1; level < KLP_JSON_DEPTH_MAX; level++)
            strcat(deep, "{\"a\":");
        strcat(deep, "{");
        for (int level = 0; level < KLP_JSON_DEPTH_MAX; level++)
            strcat(deep, "}");
        const char *inside = listed ? cases[i].inside : deep;
        struct klp_random random = { counting, &seed };
        klp_hpke_seal(public, s("klp-seal/1"), s("{\"a\":1}"), s(inside), random, enc, ciphertext);
        klp_hex(kos_bytes(enc, 32), enc_text);
        klp_x25519_text(public, key_text);
        klp_base64(kos_bytes(ciphertext, strlen(inside) + 16), base64);
        snprintf(body, sizeof body, "{\"a\":1,\"payload\":\"%s\",\"seal\":{\"enc\":\"0x%s\",\"key\":\"%s\"}}", base64,
                 enc_text, key_text);
        int32_t code = open(s(body), &opened, &error);
        if (listed && cases[i].good) {
            ck_assert_int_eq(code, 0);
            free(opened.data);
            opened = (struct owned){ NULL, 77 };
        } else {
            struct klp_json value;
            ck_assert_msg(code < 0, "opened: %s", inside);
            ck_assert_int_ne(code, KOS_E_DECRYPT);
            ck_assert(listed || klp_json_read(s(inside), KLP_MESSAGE_MAX, &value, NULL) == 0);
            ck_assert_ptr_null(opened.data);
        }
    }
}
END_TEST

TESTS("klp/seal", round_trip, layout, seal_refuses, size_limit, every_member_is_bound, open_refuses, hostile_inside)
