/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/conf.h"

#include <unit.h>

#include "conf/scan.h"
#include "core/buf.h"
#include "core/manual.h"

static int32_t parse(const char *text, struct kos_conf_doc **doc, struct kos_error *error)
{
    return kos_conf_read("t.conf", kos_bytes_str(text), doc, error);
}

struct refusal { const char *text, *reason; };

/* Each hostile text, and the beginning of what is said about it. */
static const struct refusal refusals[] = {
    { "@include \"/etc/passwd\"\n", "t.conf:1: @include" },
    { "a = 1;\n  \t@include \"x\"\n", "t.conf:2: @include" },
    { "/* x\n */ @include \"x\"\n", "t.conf:2: @include" },
    { "a = \"x\ny\";\n@include_dir \"x\"\n", "t.conf:3: @include" },
    { "a = 1; @b\n", "t.conf:1: @include" },
    { "a = 1;\na = 2;\n", "t.conf:2: duplicate setting name" },
    { "g : { b = 1; c = 2; b = 3; };\n", "t.conf:1: duplicate setting name" },
    { "a = ;\n", "t.conf:1: ';' stands only after a setting" },
    { "a\n= 1\nb\n\n", "t.conf:5: the file ends within a setting" },
    { "a b = 1;", "t.conf:1: '=' is needed after the name before" },
    { "a 5;", "t.conf:1: '=' is needed after the name before" },
    { "a = b;", "t.conf:1: a value is needed here; words are written in quotes" },
    { "a = 1;;", "t.conf:1: ';' stands only after a setting" },
    { "a = = 1;", "t.conf:1: '=' stands only after a name" },
    { "= 1;", "t.conf:1: '=' stands only after a name" },
    { "true = 1;", "t.conf:1: a name is needed here" },
    { "\"a\" = 1;", "t.conf:1: a name is needed here" },
    { "a = 1 2;", "t.conf:1: a name is needed here" },
    { "a = 1 \"s\";", "t.conf:1: a name is needed here" },
    { "a = ( 1 2 );", "t.conf:1: ',' is needed between values" },
    { "a = ( 1, );", "t.conf:1: a value is needed before ')'" },
    { "a = ( , 1 );", "t.conf:1: ',' stands only between values" },
    { "a = ( 1; 2 );", "t.conf:1: ';' stands only after a setting" },
    { "a = ( b );", "t.conf:1: a value is needed here" },
    { "a = ( b = 1 );", "t.conf:1: a value is needed here" },
    { "a = [ ( 1 ) ];", "t.conf:1: [ ] holds plain values only" },
    { "a { b = 1; };", "t.conf:1: a bracket stands only where a value may" },
    { "{ b = 1; };", "t.conf:1: a bracket stands only where a value may" },
    { "a = { b };", "t.conf:1: a value is needed before '}'" },
    { "a = { b = };", "t.conf:1: a value is needed before '}'" },
    { "a =", "t.conf:1: the file ends within a setting" },
    { "a = 1;\n/* never ends\n", "t.conf:2: the comment that begins here does not end" },
    { "a = \"never ends;\nb = 2;\n", "t.conf:1: the string that begins here does not end" },
    { "a = \"x\\\n", "t.conf:1: the string that begins here does not end" },
    { "a = \"x\\x00y\";\n", "t.conf:1: the string holds a NUL" },
    { "a = { b = ( 1, 2 };\n", "t.conf:1: '}' cannot close" },
    { "a = {\nb = 1;\n", "t.conf:1: the bracket opened here is not closed" },
    { "a = 1; }\n", "t.conf:1: there is no open bracket" },
    { "a = ((((((((((((((((((1))))))))))))))))));\n", "t.conf:1: brackets are nested deeper than 16" },
    { "a = 010;\n", "t.conf:1: 010 has a leading zero" },
    { "a = -010;\n", "t.conf:1: -010 has a leading zero" },
    { "a = 0x1ffffffff;\n", "t.conf:1: 0x1ffffffff is wider" },
    { "a = 0x80000000;\n", "t.conf:1: 0x80000000 is wider" },
    { "a = 99999999999999999999;\n", "t.conf:1: 99999999999999999999 is outside of 64 bits" },
    { "a = 99999999999999999999L;\n", "t.conf:1: 99999999999999999999L is outside of 64 bits" },
    { "a = 0xfffffffffffffffffL;\n", "t.conf:1: 0xfffffffffffffffffL is outside of 64 bits" },
    { "a = 30s;\n", "t.conf:1: \"30s\" is not a number" },
    { "a = 0x;\n", "t.conf:1: \"0x\" is not a number" },
    { "a = .;\n", "t.conf:1: \".\" is not a number" },
    { "a = -;\n", "t.conf:1: \"-\" is not a number" },
    { "a = 1.2.3;\n", "t.conf:1: \"1.2.3\" is not a number" },
    { "a = 1e5x;\n", "t.conf:1: \"1e5x\" is not a number" },
    { "a = 5000000000;\n", "t.conf:1: 5000000000 is wider than 31 bits; write 5000000000L" },
    { "a = [ 1, \"b\" ];\n", "t.conf:1: mismatched element type" },
    { "a = 'x';\n", "t.conf:1: unexpected character '''" },
    { "a = 1 \x01;\n", "t.conf:1: unexpected byte 0x01" },
    { "a = \"\xff\";\n", "t.conf:1: the text is not UTF-8" },
    { "a = \"\xed\xa0\x80\";\n", "t.conf:1: the text is not UTF-8" },
    { "\n\na = \"\xc3\";\n", "t.conf:3: the text is not UTF-8" },
    { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa = 1;\n", "t.conf:1: a name or number is longer" },
};

START_TEST(test_refused)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct kos_error error = { 0 };
        struct kos_conf_doc *doc = NULL;
        ck_assert_msg(parse(refusals[i].text, &doc, &error) == KOS_E_CONFIG, "accepted: %s", refusals[i].text);
        ck_assert_ptr_null(doc);
        ck_assert_int_eq(error.code, KOS_E_CONFIG);
        ck_assert_msg(strncmp(error.text, refusals[i].reason, strlen(refusals[i].reason)) == 0, "%s: said: %s",
                      refusals[i].text, error.text);
        ck_assert_int_eq(parse(refusals[i].text, &doc, NULL), KOS_E_CONFIG);
    }
}
END_TEST

START_TEST(test_nul_and_size)
{
    struct kos_error error;
    struct kos_conf_doc *doc;
    ck_assert_int_eq(kos_conf_read("n", kos_bytes("a = 1;\n\0b = 2;\n", 15), &doc, &error), KOS_E_CONFIG);
    ck_assert_str_eq(error.text, "n:2: the text holds a NUL byte");
    size_t len = KOS_CONF_FILE_MAX + 1;
    char *big = kos_new(len);
    memset(big, ' ', len);
    ck_assert_int_eq(kos_conf_read("n", kos_bytes(big, len), &doc, &error), KOS_E_CONFIG);
    ck_assert_ptr_nonnull(strstr(error.text, "larger than 1048576"));
    ck_assert_int_eq(kos_conf_read("n", kos_bytes(big, len - 1), &doc, &error), KOS_OK);
    kos_conf_free(doc);
    free(big);
    ck_assert_int_eq(kos_conf_read("n", kos_bytes(NULL, 0), &doc, &error), KOS_OK);
    ck_assert_uint_eq(kos_conf_count(kos_conf_root(doc)), 0);
    kos_conf_free(doc);
}
END_TEST

/* A file of nothing but settings must not keep the parser busy. */
START_TEST(test_items_bounded)
{
    struct kos_buf buf;
    kos_buf_init(&buf, KOS_CONF_FILE_MAX);
    for (int i = 0; kos_buf_printf(&buf, "a%d=1;", i) == KOS_OK; i++)
        ;
    struct kos_error error;
    struct kos_conf_doc *doc;
    ck_assert_int_eq(kos_conf_read("n", kos_buf_bytes(&buf), &doc, &error), KOS_E_CONFIG);
    ck_assert_ptr_nonnull(strstr(error.text, "more than 16384 settings"));
    kos_buf_fini(&buf);
}
END_TEST

START_TEST(test_values)
{
    struct kos_error error = { 0 };
    struct kos_conf_doc *doc;
    int32_t rc = parse("# comment with @include \"x\"\n"
                       "s = \"a # no comment // \\\" \\x41 {\" \"more\"; // @include\n"
                       "i = -5, big = 5000000000L; wide = 0xffffffffffL\n"
                       "f = 1.5; e = 2e3; h = 0x7f;\n"
                       "t = TRUE; l = ( 1, \"two\", { three = 3; } ); empty = ( ); a = [ \"x\", \"y\" ];\n"
                       "g : {\n  inner = { * = 1; a-b_c = 2; };\n};\n"
                       "huge = 1e999; /* @include */ #end", &doc, &error);
    ck_assert_msg(rc == KOS_OK, "%s", error.text);
    const struct kos_conf_node *root = kos_conf_root(doc), *n;
    int64_t number = 0;
    double real = 0;
    bool flag = false;
    ck_assert_str_eq(kos_conf_string(kos_conf_member(root, "s")), "a # no comment // \" A {more");
    ck_assert_int_eq(kos_conf_int(kos_conf_member(root, "i"), &number), KOS_OK);
    ck_assert_int_eq(number, -5);
    ck_assert_int_eq(kos_conf_int(kos_conf_member(root, "big"), &number), KOS_OK);
    ck_assert_int_eq(number, 5000000000);
    ck_assert_int_eq(kos_conf_int(kos_conf_member(root, "wide"), &number), KOS_OK);
    ck_assert_int_eq(number, 0xffffffffff);
    ck_assert_int_eq(kos_conf_float(kos_conf_member(root, "f"), &real), KOS_OK);
    ck_assert_double_eq(real, 1.5);
    ck_assert_int_eq(kos_conf_float(kos_conf_member(root, "h"), &real), KOS_OK);
    ck_assert_double_eq(real, 127);
    ck_assert_int_eq(kos_conf_float(kos_conf_member(root, "huge"), &real), KOS_E_CONFIG);
    ck_assert_int_eq(kos_conf_int(kos_conf_member(root, "f"), &number), KOS_E_CONFIG);
    ck_assert_int_eq(kos_conf_bool(kos_conf_member(root, "t"), &flag), KOS_OK);
    ck_assert(flag);
    ck_assert_int_eq(kos_conf_bool(kos_conf_member(root, "i"), &flag), KOS_E_CONFIG);
    ck_assert_ptr_null(kos_conf_string(kos_conf_member(root, "i")));
    n = kos_conf_member(root, "l");
    ck_assert_int_eq(kos_conf_kind(n), KOS_CONF_LIST);
    ck_assert_uint_eq(kos_conf_count(n), 3);
    ck_assert_str_eq(kos_conf_name(kos_conf_at(n, 0)), "");
    ck_assert_int_eq(kos_conf_kind(kos_conf_at(n, 2)), KOS_CONF_GROUP);
    ck_assert_ptr_null(kos_conf_at(n, 3));
    ck_assert_ptr_null(kos_conf_member(n, "x"));
    ck_assert_uint_eq(kos_conf_count(kos_conf_member(root, "empty")), 0);
    n = kos_conf_member(kos_conf_member(root, "g"), "inner");
    ck_assert_ptr_nonnull(kos_conf_member(n, "a-b_c"));
    ck_assert_str_eq(kos_conf_file(n), "t.conf");
    ck_assert_int_eq(kos_conf_line(kos_conf_member(root, "i")), 3);
    ck_assert_ptr_null(kos_conf_member(root, "g.inner"));
    ck_assert_int_eq(kos_conf_fail(kos_conf_member(n, "*"), &error, KOS_E_POLICY, "no %d", 7), KOS_E_POLICY);
    ck_assert_str_eq(error.text, "t.conf:7: g.inner.*: no 7");
    kos_conf_fail(kos_conf_member(kos_conf_at(kos_conf_member(root, "l"), 2), "three"), &error, KOS_E_POLICY, "no");
    ck_assert_str_eq(error.text, "t.conf:5: l[2].three: no");
    kos_conf_free(doc);
}
END_TEST

START_TEST(test_load)
{
    struct kos_manual *manual = kos_manual_new(1);
    struct kos_env *env = kos_manual_env(manual);
    struct kos_error error;
    struct kos_conf_doc *doc;
    env->ops->dir_make(env, "/etc", 0755);
    ck_assert_int_eq(kos_conf_load(env, "/etc/kosd.conf", &doc, &error), KOS_E_NOTFOUND);
    ck_assert_ptr_nonnull(strstr(error.text, "/etc/kosd.conf: cannot be read"));
    ck_assert_int_eq(kos_file_write_all(env, "/etc/kosd.conf", 0644, kos_bytes_str("name = \"home\";\n")), KOS_OK);
    ck_assert_int_eq(kos_conf_load(env, "/etc/kosd.conf", &doc, &error), KOS_OK);
    ck_assert_str_eq(kos_conf_string(kos_conf_member(kos_conf_root(doc), "name")), "home");
    kos_conf_free(doc);
    char *big = kos_new(KOS_CONF_FILE_MAX + 1);
    memset(big, '\n', KOS_CONF_FILE_MAX + 1);
    kos_file_write_all(env, "/etc/big", 0644, kos_bytes(big, KOS_CONF_FILE_MAX + 1));
    ck_assert_int_eq(kos_conf_load(env, "/etc/big", &doc, &error), KOS_E_CONFIG);
    free(big);
    kos_manual_free(manual);
}
END_TEST

START_TEST(test_units)
{
    static const struct { const char *text; int64_t ms; } spans[] = { { "0", 0 }, { "250ms", 250 }, { "30s", 30000 }, { "5m", 300000 }, { "24h", 86400000 }, { "7d", 604800000 },
        { "1500", 1500 }, { "", -1 }, { "s", -1 }, { "-1s", -1 }, { "1 s", -1 }, { "1S", -1 }, { "1.5s", -1 }, { "1w", -1 }, { "99999999999999999999s", -1 }, { "9007199254740991d", -1 } };
    static const struct { const char *text; int64_t bytes; } sizes[] = { { "1", 1 }, { "256K", 262144 }, { "1M", 1048576 }, { "2G", INT64_C(2147483648) }, { "1T", INT64_C(1099511627776) },
        { "1k", -1 }, { "1KB", -1 }, { "+1", -1 }, { "9000000000000T", -1 } };
    int64_t n;
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        n = -1;
        kos_conf_duration(spans[i].text, &n);
        ck_assert_msg(n == spans[i].ms, "%s: %lld", spans[i].text, (long long)n);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        n = -1;
        kos_conf_size(sizes[i].text, &n);
        ck_assert_msg(n == sizes[i].bytes, "%s: %lld", sizes[i].text, (long long)n);
    }
}
END_TEST

/* Every prefix of a text that uses everything, and the text with each byte changed: never a crash, and each refusal
 * names a line. */
START_TEST(test_damage)
{
    static const char text[] =
        "# c\ns = \"a\\\"b\" \"c\"; /* x */ g : { l = ( 1, 2.5e3, { t = true; } ); a = [ 0x1f, 7L ]; }; // e\n";
    char copy[sizeof text];
    for (size_t at = 0; at < sizeof text - 1; at++)
        for (int c = 0; c < 256; c += at % 3 + 1) {
            memcpy(copy, text, sizeof text);
            copy[at] = (char)c;
            struct kos_error error = { 0 };
            struct kos_conf_doc *doc = NULL;
            int32_t rc = kos_conf_read("d", kos_bytes(copy, sizeof text - 1), &doc, &error);
            ck_assert(rc == KOS_OK || (rc == KOS_E_CONFIG && strncmp(error.text, "d:", 2) == 0));
            /* Nothing but duplicates and mixed arrays is left for libconfig to find. */
            ck_assert_msg(!strstr(error.text, "syntax error"), "%s", copy);
            kos_conf_free(doc);
            doc = NULL;
            if (c == 0)
                kos_conf_read("d", kos_bytes(text, at), &doc, &error);
            kos_conf_free(doc);
        }
}
END_TEST

TESTS("conf/conf", test_refused, test_nul_and_size, test_items_bounded, test_values, test_load, test_units, test_damage)
