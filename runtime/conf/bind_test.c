/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/conf.h"

#include <unit.h>

struct bound {
    char *name, *mode, *table, *secret;
    int64_t port, idle, buffer;
    double ratio;
    bool flag;
    char **words;
};

static const char *const modes[] = { "soft", "hard", NULL };
static const struct kos_conf_field fields[] = {
    { { .type = KOS_SETTING_STRING, .name = "name", .min = 1, .max = 8 }, offsetof(struct bound, name) },
    { { .type = KOS_SETTING_STRING, .name = "mode", .fallback = "soft", .choices = modes },
      offsetof(struct bound, mode) },
    { { .type = KOS_SETTING_INT, .name = "port", .fallback = "7450", .min = 1, .max = 65535 },
      offsetof(struct bound, port) },
    { { .type = KOS_SETTING_DURATION, .name = "idle", .fallback = "30s", .min = 1000, .max = 60000 },
      offsetof(struct bound, idle) },
    { { .type = KOS_SETTING_SIZE, .name = "buffer", .fallback = "1M" }, offsetof(struct bound, buffer) },
    { { .type = KOS_SETTING_FLOAT, .name = "ratio", .fallback = "0.5", .min = 0, .max = 10 },
      offsetof(struct bound, ratio) },
    { { .type = KOS_SETTING_BOOL, .name = "flag", .fallback = "true" }, offsetof(struct bound, flag) },
    { { .type = KOS_SETTING_LIST, .name = "words", .fallback = " one two ", .max = 3 }, offsetof(struct bound, words) },
    { { .type = KOS_SETTING_TABLE, .name = "table", .fallback = "" }, offsetof(struct bound, table) },
    { { .type = KOS_SETTING_SECRET, .name = "secret", .fallback = "" }, offsetof(struct bound, secret) },
    { { 0 }, 0 },
};

static int32_t bind_text(const char *text, struct bound *bound, struct kos_error *error)
{
    struct kos_conf_doc *doc;
    ck_assert_int_eq(kos_conf_read("b", kos_bytes_str(text), &doc, error), KOS_OK);
    int32_t rc = kos_conf_bind(kos_conf_root(doc), fields, bound, error);
    kos_conf_free(doc);
    return rc;
}

START_TEST(test_bind)
{
    struct bound b = { 0 };
    struct kos_error error = { 0 };
    ck_assert_msg(bind_text("name = \"kai\";", &b, &error) == KOS_OK, "%s", error.text);
    ck_assert_str_eq(b.name, "kai");
    ck_assert_str_eq(b.mode, "soft");
    ck_assert_int_eq(b.port, 7450);
    ck_assert_int_eq(b.idle, 30000);
    ck_assert_int_eq(b.buffer, 1048576);
    ck_assert_double_eq(b.ratio, 0.5);
    ck_assert(b.flag);
    ck_assert_str_eq(b.words[0], "one");
    ck_assert_str_eq(b.words[1], "two");
    ck_assert_ptr_null(b.words[2]);
    ck_assert_str_eq(b.table, "[]");
    kos_conf_unbind(fields, &b);
    ck_assert_ptr_null(b.name);
    ck_assert_int_eq(
        bind_text("name = \"x\"; mode = \"hard\"; port = 1; idle = 2000; buffer = \"2K\"; ratio = 3; flag = false; "
                  "words = [ \"z\" ];\n"
                  "table = ( { to = \"b\"; from = \"a\"; n = 1; x = 0.25; y = true; }, { } ); secret = \"s\";",
                  &b, &error),
        KOS_OK);
    ck_assert_int_eq(b.idle, 2000);
    ck_assert_int_eq(b.buffer, 2048);
    ck_assert_double_eq(b.ratio, 3);
    ck_assert_str_eq(b.words[0], "z");
    ck_assert_str_eq(b.table, "[{\"from\":\"a\",\"n\":1,\"to\":\"b\",\"x\":0.25,\"y\":true},{}]");
    ck_assert_str_eq(b.secret, "s");
    kos_conf_unbind(fields, &b);
}
END_TEST

START_TEST(test_bind_refused)
{
    static const struct { const char *text, *reason; } cases[] = {
        { "port = 1;", "b:1: the setting name is missing; it has no default" },
        { "name = \"a\";\nprot = 1;", "b:2: prot: there is no such setting here; did you mean port?" },
        { "name = \"a\"; zzzzzzz = 1;", "b:1: zzzzzzz: there is no such setting here; there are name, mode, port" },
        { "name = \"\";", "b:1: name: the string has 0 bytes; 1 to 8" },
        { "name = \"123456789\";", "b:1: name: the string has 9 bytes; 1 to 8" },
        { "name = \"\\xff\";", "b:1: name: the string is not UTF-8" },
        { "name = 5;", "b:1: name: a string in quotes is needed here, not a whole number" },
        { "name = \"a\"; mode = \"sfot\";", "b:1: mode: \"sfot\" is none of \"soft\", \"hard\"" },
        { "name = \"a\";\n\nport = 0;", "b:3: port: 0 is outside of 1 to 65535" },
        { "name = \"a\"; port = 70000;", "b:1: port: 70000 is outside" },
        { "name = \"a\"; port = \"1\";", "b:1: port: a whole number is needed here, not a string" },
        { "name = \"a\"; port = 1.5;", "b:1: port: a whole number is needed" },
        { "name = \"a\"; idle = \"30x\";", "b:1: idle: \"30x\" is not a duration" },
        { "name = \"a\"; idle = \"2m\";", "b:1: idle: 120000 ms is outside of 1000 to 60000 ms" },
        { "name = \"a\"; buffer = -1;", "b:1: buffer: it cannot be negative" },
        { "name = \"a\"; buffer = true;", "b:1: buffer: a size (\"256K\", or bytes) is needed here, not a boolean" },
        { "name = \"a\"; ratio = 11;", "b:1: ratio: 11 is outside of 0 to 10" },
        { "name = \"a\"; ratio = 1e999;", "b:1: ratio: the number is too large" },
        { "name = \"a\"; ratio = \"1\";", "b:1: ratio: a number is needed here" },
        { "name = \"a\"; flag = 1;", "b:1: flag: true or false is needed" },
        { "name = \"a\"; words = \"x\";", "b:1: words: a list of strings [ ] is needed" },
        { "name = \"a\"; words = ( \"x\", 1 );", "b:1: words[1]: a string is needed here" },
        { "name = \"a\"; words = [ \"1\", \"2\", \"3\", \"4\" ];", "b:1: words: the list has 4 entries; at most 3" },
        { "name = \"a\"; table = { };", "b:1: table: a list of groups" },
        { "name = \"a\"; table = ( 1 );", "b:1: table[0]: a group { } is needed" },
        { "name = \"a\"; table = ( { a = ( ); } );", "b:1: table[0].a: a string, a boolean or a number" },
        { "name = \"a\"; table = ( { a = 9007199254740993L; } );", "b:1: table[0].a: a string, a boolean or a number" },
        { "name = \"a\"; table = ( { a = \"\\xff\"; } );", "b:1: table[0].a: the string is not UTF-8" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bound b, before;
        memset(&b, 0x5a, sizeof b);
        before = b;
        struct kos_error error = { 0 };
        ck_assert_msg(bind_text(cases[i].text, &b, &error) == KOS_E_CONFIG, "accepted: %s", cases[i].text);
        ck_assert_msg(strncmp(error.text, cases[i].reason, strlen(cases[i].reason)) == 0, "%s: said: %s", cases[i].text,
                      error.text);
        ck_assert_mem_eq(&b, &before, sizeof b);
    }
}
END_TEST

static const struct kos_setting s_host = {
    .size = sizeof s_host, .type = KOS_SETTING_STRING, .name = "host", .fallback = "::1"
};
static const struct kos_setting s_wait = {
    .size = sizeof s_wait, .type = KOS_SETTING_DURATION, .name = "wait", .fallback = "5s"
};
static const struct kos_setting s_map = {
    .size = sizeof s_map, .type = KOS_SETTING_TABLE, .name = "map", .fallback = "", .max = 2
};
static const struct kos_setting s_tags = {
    .size = sizeof s_tags, .type = KOS_SETTING_LIST, .name = "tags", .fallback = ""
};
static const struct kos_setting s_must = { .size = sizeof s_must, .type = KOS_SETTING_INT, .name = "must" };

START_TEST(test_values)
{
    const struct kos_setting *const schema[] = { &s_host, &s_wait, &s_map, &s_tags, NULL };
    struct kos_conf *conf;
    struct kos_conf_doc *doc;
    struct kos_error error = { 0 };
    ck_assert_int_eq(kos_conf_values(NULL, "plugin radio", schema, &conf, &error), KOS_OK);
    ck_assert_uint_eq(conf->size, sizeof *conf);
    ck_assert_str_eq(kos_conf_text(conf, "host"), "::1");
    ck_assert_int_eq(kos_conf_number(conf, "wait"), 5000);
    ck_assert_str_eq(kos_conf_text(conf, "map"), "[]");
    ck_assert_ptr_null(kos_conf_get(conf, "tags")->list[0]);
    ck_assert_ptr_null(kos_conf_get(conf, "host")->list);
    ck_assert_str_eq(kos_conf_text(conf, "wait"), "");
    kos_conf_values_free(conf);
    ck_assert_int_eq(kos_conf_read("v", kos_bytes_str("wait = \"1m\"; map = ( { a = 1; } ); tags = ( \"x\", \"y\" );"),
                                   &doc, &error),
                     KOS_OK);
    ck_assert_int_eq(kos_conf_values(kos_conf_root(doc), "plugin radio", schema, &conf, &error), KOS_OK);
    kos_conf_free(doc);
    ck_assert_int_eq(kos_conf_number(conf, "wait"), 60000);
    ck_assert_str_eq(kos_conf_text(conf, "map"), "[{\"a\":1}]");
    ck_assert_str_eq(kos_conf_get(conf, "tags")->list[1], "y");
    kos_conf_values_free(conf);
    ck_assert_int_eq(kos_conf_values(NULL, "plugin radio", NULL, &conf, &error), KOS_OK);
    ck_assert_ptr_null(conf->values[0]);
    kos_conf_values_free(conf);
    kos_conf_values_free(NULL);
}
END_TEST

START_TEST(test_values_refused)
{
    const struct kos_setting *const schema[] = { &s_host, &s_must, &s_map, NULL };
    struct kos_conf *conf;
    struct kos_conf_doc *doc;
    struct kos_error error = { 0 };
    ck_assert_int_eq(kos_conf_values(NULL, "plugin radio", schema, &conf, &error), KOS_E_CONFIG);
    ck_assert_str_eq(error.text, "plugin radio: the setting must is missing; it has no default");
    static const struct { const char *text, *reason; } cases[] = {
        { "\nsettings = { hots = \"x\"; must = 1; };", "v:2: settings.hots: there is no such setting here; did you mean host?" },
        { "\nsettings = { host = \"x\"; };", "v:2: settings: the setting must is missing" },
        { "settings = { must = 1; map = ( { }, { }, { } ); };", "v:1: settings.map: the list has 3 entries; at most 2" },
        { "settings = ( );", "v:1: settings: a group { } is needed" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_int_eq(kos_conf_read("v", kos_bytes_str(cases[i].text), &doc, &error), KOS_OK);
        ck_assert_int_eq(kos_conf_values(kos_conf_member(kos_conf_root(doc), "settings"), "p", schema, &conf, &error),
                         KOS_E_CONFIG);
        ck_assert_msg(strncmp(error.text, cases[i].reason, strlen(cases[i].reason)) == 0, "%s: said: %s", cases[i].text,
                      error.text);
        kos_conf_free(doc);
    }
}
END_TEST

/* Declarations come from modules that somebody else wrote. */
START_TEST(test_bad_schema)
{
    static const struct kos_setting bad[] = {
        { .size = sizeof *bad, .type = KOS_SETTING_INT },
        { .size = sizeof *bad, .type = KOS_SETTING_INT, .name = "Upper" },
        { .size = sizeof *bad, .type = KOS_SETTING_INT, .name = "a b" },
        { .size = sizeof *bad, .type = 99, .name = "a" },
        { .size = sizeof *bad, .type = KOS_SETTING_INT, .name = "a", .fallback = "x" },
        { .size = sizeof *bad, .type = KOS_SETTING_INT, .name = "a", .fallback = "9", .min = 1, .max = 5 },
        { .size = sizeof *bad, .type = KOS_SETTING_BOOL, .name = "a", .fallback = "yes" },
        { .size = sizeof *bad, .type = KOS_SETTING_FLOAT, .name = "a", .fallback = "0,5" },
        { .size = sizeof *bad, .type = KOS_SETTING_FLOAT, .name = "a", .fallback = "inf" },
        { .size = sizeof *bad, .type = KOS_SETTING_SIZE, .name = "a", .fallback = "1Q" },
        { .size = sizeof *bad, .type = KOS_SETTING_TABLE, .name = "a", .fallback = "[{}]" },
        { .size = sizeof *bad, .type = KOS_SETTING_LIST, .name = "a", .fallback = "a b c", .max = 2 },
        { .size = offsetof(struct kos_setting, name), .type = KOS_SETTING_INT, .name = "cut" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct kos_setting *const schema[] = { &bad[i], NULL };
        struct kos_conf *conf = NULL;
        struct kos_error error = { 0 };
        ck_assert_msg(kos_conf_values(NULL, "plugin bad", schema, &conf, &error) == KOS_E_PLUGIN, "case %zu accepted",
                      i);
        ck_assert_int_eq(error.code, KOS_E_PLUGIN);
        ck_assert_ptr_nonnull(strstr(error.text, "plugin bad"));
        ck_assert_ptr_null(conf);
    }
    const struct kos_setting *const twice[] = { &s_host, &s_host, NULL };
    struct kos_conf *conf;
    ck_assert_int_eq(kos_conf_values(NULL, "p", twice, &conf, NULL), KOS_E_PLUGIN);
}
END_TEST

TESTS("conf/bind", test_bind, test_bind_refused, test_values, test_values_refused, test_bad_schema)
