/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of the text codings: what goes in comes out, and one value has one text.
 */
#include "codec.h"

#include "unit.h"

static struct kos_bytes s(const char *text)
{
    return kos_bytes_str(text);
}

START_TEST(hex)
{
    char text[9];
    uint8_t out[8];
    size_t len = 99;
    klp_hex(kos_bytes("\x00\x9f\xea\xff", 4), text);
    ck_assert_str_eq(text, "009feaff");
    ck_assert_int_eq(klp_unhex(s("009feaff"), out, sizeof out, &len), 0);
    ck_assert_uint_eq(len, 4);
    ck_assert_mem_eq(out, "\x00\x9f\xea\xff", 4);
    ck_assert_int_eq(klp_unhex(s(""), NULL, 0, &len), 0);
    ck_assert_uint_eq(len, 0);
    const char *bad[] = { "0", "0g", "FF", "0x00", " 00", "00 ", "\xff\xff", "0:", "`0" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(klp_unhex(s(bad[i]), out, sizeof out, &len) == KOS_E_SYNTAX, "%s", bad[i]);
    ck_assert_int_eq(klp_unhex(s("000102"), out, 2, &len), KOS_E_LIMIT);
    ck_assert_uint_eq(len, 0);
}
END_TEST

/* RFC 4648 section 10. */
START_TEST(rfc4648)
{
    static const struct { const char *plain, *base64, *base32; } cases[] = {
        { "", "", "" }, { "f", "Zg==", "my" }, { "fo", "Zm8=", "mzxq" }, { "foo", "Zm9v", "mzxw6" },
        { "foob", "Zm9vYg==", "mzxw6yq" }, { "fooba", "Zm9vYmE=", "mzxw6ytb" }, { "foobar", "Zm9vYmFy", "mzxw6ytboi" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        uint8_t out[8];
        size_t len;
        ck_assert_uint_eq(klp_base64(s(cases[i].plain), text), strlen(cases[i].base64));
        ck_assert_str_eq(text, cases[i].base64);
        ck_assert_int_eq(klp_unbase64(s(text), out, sizeof out, &len), 0);
        ck_assert_uint_eq(len, strlen(cases[i].plain));
        ck_assert(memcmp(out, cases[i].plain, len) == 0);
        ck_assert_uint_eq(klp_base32(s(cases[i].plain), text), strlen(cases[i].base32));
        ck_assert_str_eq(text, cases[i].base32);
        ck_assert_int_eq(klp_unbase32(s(text), out, sizeof out, &len), 0);
        ck_assert_uint_eq(len, strlen(cases[i].plain));
        ck_assert(memcmp(out, cases[i].plain, len) == 0);
    }
}
END_TEST

START_TEST(base64_strict)
{
    uint8_t out[8] = { 0xaa, 0xaa };
    size_t len = 99;
    const char *bad[] = { "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Z===", "====", "=Zg=", "Zg==Zg==", "Zm9v\n", "Zm-v",
                          "Zm_v", " Zg=", "Z=g=", "Zm9v====" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(klp_unbase64(s(bad[i]), out, sizeof out, &len) == KOS_E_SYNTAX, "%s", bad[i]);
    ck_assert_int_eq(klp_unbase64(s("Zm9v"), out, 2, &len), KOS_E_LIMIT);
    ck_assert_uint_eq(len, 99);
    ck_assert_uint_eq(out[0], 0xaa);
    ck_assert_int_eq(klp_unbase64(s("+/+/"), out, 3, &len), 0);
    ck_assert_mem_eq(out, "\xfb\xff\xbf", 3);
}
END_TEST

START_TEST(base32_strict)
{
    uint8_t out[8];
    size_t len = 99;
    const char *bad[] = { "m", "mz", "my======", "mzx", "mzxw6y", "MY", "m1", "m8", "m0", "my ", "mzxw6yr" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(klp_unbase32(s(bad[i]), out, sizeof out, &len) == KOS_E_SYNTAX, "%s", bad[i]);
    ck_assert_int_eq(klp_unbase32(s("mzxw6"), out, 2, &len), KOS_E_LIMIT);
    ck_assert_uint_eq(len, 99);
}
END_TEST

START_TEST(base58)
{
    static const struct { const char *hex, *text; } cases[] = {
        { "", "" }, { "00", "1" }, { "0000", "11" }, { "61", "2g" }, { "626262", "a3gV" }, { "636363", "aPEr" },
        { "48656c6c6f20576f726c6421", "2NEpo7TZRRrLZSi2U" }, { "0000287fb4cd", "11233QC4" }, { "ffff", "LUv" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t raw[32], back[32];
        char text[48];
        size_t len, back_len;
        ck_assert_int_eq(klp_unhex(s(cases[i].hex), raw, sizeof raw, &len), 0);
        ck_assert_int_eq(klp_base58(kos_bytes(raw, len), text, sizeof text), (int)strlen(cases[i].text));
        ck_assert_str_eq(text, cases[i].text);
        ck_assert_int_eq(klp_unbase58(s(text), back, sizeof back, &back_len), 0);
        ck_assert_uint_eq(back_len, len);
        ck_assert(memcmp(back, raw, len) == 0);
    }
    uint8_t out[4];
    size_t len;
    const char *bad[] = { "0", "O", "I", "l", "2g ", " 2g", "\xff", "-" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(klp_unbase58(s(bad[i]), out, sizeof out, &len) == KOS_E_SYNTAX, "%s", bad[i]);
    ck_assert_int_eq(klp_unbase58(kos_bytes("2g\0", 3), out, sizeof out, &len), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_unbase58(s("11111"), out, sizeof out, &len), KOS_E_LIMIT);
}
END_TEST

START_TEST(base58_bounds)
{
    uint8_t raw[KLP_BASE58_MAX + 1], back[KLP_BASE58_MAX], large[2 * KLP_BASE58_MAX];
    char text[2 * KLP_BASE58_MAX];
    size_t len;
    memset(raw, 0xff, sizeof raw);
    int32_t n = klp_base58(kos_bytes(raw, KLP_BASE58_MAX), text, sizeof text);
    ck_assert_int_gt(n, 0);
    ck_assert_int_eq(klp_unbase58(kos_bytes(text, (size_t)n), back, sizeof back, &len), 0);
    ck_assert_uint_eq(len, KLP_BASE58_MAX);
    ck_assert_mem_eq(back, raw, KLP_BASE58_MAX);
    ck_assert_int_eq(klp_base58(kos_bytes(raw, KLP_BASE58_MAX), text, (size_t)n), KOS_E_LIMIT);
    ck_assert_int_eq(klp_base58(kos_bytes(raw, sizeof raw), text, sizeof text), KOS_E_LIMIT);
    memset(text, 'z', sizeof text);
    ck_assert_int_eq(klp_unbase58(kos_bytes(text, 353), back, sizeof back, &len), KOS_E_LIMIT);
    ck_assert_int_eq(klp_unbase58(kos_bytes(text, sizeof text), back, sizeof back, &len), KOS_E_LIMIT);
    /* Nothing that klp_base58() would not have written, whatever room there is. */
    memset(text, '1', sizeof text);
    ck_assert_int_eq(klp_unbase58(kos_bytes(text, KLP_BASE58_MAX), large, sizeof large, &len), 0);
    ck_assert_int_eq(klp_unbase58(kos_bytes(text, KLP_BASE58_MAX + 1), large, sizeof large, &len), KOS_E_LIMIT);
}
END_TEST

START_TEST(big_endian)
{
    uint8_t b[8];
    put_be64(b, UINT64_C(0x0123456789abcdef));
    ck_assert_mem_eq(b, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
    ck_assert(get_be64(b) == UINT64_C(0x0123456789abcdef));
    ck_assert_uint_eq(get_be32(b + 4), 0x89abcdefu);
    ck_assert_uint_eq(get_be16(b + 6), 0xcdef);
}
END_TEST

TESTS("klp/codec", hex, rfc4648, base64_strict, base32_strict, base58, base58_bounds, big_endian)
