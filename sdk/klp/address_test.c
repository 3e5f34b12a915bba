/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of addresses: what parses as what, its canonical text, and the faults that people make.
 */
#include <klp/address.h>

#include "unit.h"

#define ID "6dy7f47u6x3pp6hz7l57z7p674"

static struct kos_bytes s(const char *text)
{
    return kos_bytes_str(text);
}

START_TEST(accepted)
{
    static const struct {
        const char *text, *canonical;
        int32_t form, kind;
        const char *name, *path;
        uint16_t port;
    } cases[] = {
        { "klp://agent.kai.earth/commands", "klp://agent.kai.earth/commands", KLP_ADDRESS_NAME, KLP_KIND_AGENT,
          "kai.earth", "/commands", 0 },
        { "klp://doc.172.docs.kOS/manifest.json", "klp://doc.172.docs.kos/manifest.json", KLP_ADDRESS_NAME,
          KLP_KIND_DOC, "172.docs.kos", "/manifest.json", 0 },
        { "klp://node.usa.kai", "klp://node.usa.kai", KLP_ADDRESS_NAME, KLP_KIND_NODE, "usa.kai", "", 0 },
        { "klp://agent.genie.fr.kai", "klp://agent.genie.fr.kai", KLP_ADDRESS_NAME, KLP_KIND_AGENT, "genie.fr.kai", "",
          0 },
        { "KLP://Node.Usa.KAI/A%2fb:@!", "klp://node.usa.kai/A%2fb:@!", KLP_ADDRESS_NAME, KLP_KIND_NODE, "usa.kai",
          "/A%2fb:@!", 0 },
        { "klp://node." ID, "klp://node." ID, KLP_ADDRESS_ID, KLP_KIND_NODE, "", "", 0 },
        { "klp://POLICY.6DY7F47U6X3PP6HZ7L57Z7P674/", "klp://policy." ID "/", KLP_ADDRESS_ID, KLP_KIND_POLICY, "", "/",
          0 },
        { "klp://agent." ID ".kai", "klp://agent." ID ".kai", KLP_ADDRESS_NAME, KLP_KIND_AGENT, ID ".kai", "", 0 },
        { "klp://doc.x/a//b/...", "klp://doc.x/a//b/...", KLP_ADDRESS_NAME, KLP_KIND_DOC, "x", "/a//b/...", 0 },
        { "peer://127.0.0.1:7450", "peer://127.0.0.1:7450", KLP_ADDRESS_HOST, 0, "127.0.0.1", "", 7450 },
        { "peer://127.0.0.1", "peer://127.0.0.1:7450", KLP_ADDRESS_HOST, 0, "127.0.0.1", "", 7450 },
        { "peer://[::1]", "peer://[::1]:7450", KLP_ADDRESS_HOST, 0, "::1", "", 7450 },
        { "peer://[2001:DB8:0:0::1]:1", "peer://[2001:db8::1]:1", KLP_ADDRESS_HOST, 0, "2001:db8::1", "", 1 },
        { "peer://LocalHost", "peer://localhost:7450", KLP_ADDRESS_HOST, 0, "localhost", "", 7450 },
        { "peer://home.kai:65535", "peer://home.kai:65535", KLP_ADDRESS_HOST, 0, "home.kai", "", 65535 },
        { "peer://home.kai", "peer://home.kai", KLP_ADDRESS_PEER, KLP_KIND_NODE, "home.kai", "", 0 },
        { "peer://alice", "peer://alice", KLP_ADDRESS_PEER, KLP_KIND_NODE, "alice", "", 0 },
        { "peer://" ID, "klp://node." ID, KLP_ADDRESS_ID, KLP_KIND_NODE, "", "", 0 },
        { "agent://echo.0x9F3", "agent://echo.0x9f3", KLP_ADDRESS_PREFIX, KLP_KIND_AGENT, "echo", "", 0 },
        { "agent://echo.0xf0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", "agent://echo.0xf0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
          KLP_ADDRESS_PREFIX, KLP_KIND_AGENT, "echo", "", 0 },
    };
    struct klp_id id;
    ck_assert_int_eq(klp_id_parse(s(ID), &id), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct klp_address a, again;
        struct kos_error error = { 0 };
        char text[KLP_ADDRESS_MAX];
        ck_assert_msg(klp_address_parse(s(cases[i].text), &a, &error) == 0, "%s: %s", cases[i].text, error.text);
        ck_assert_msg(a.form == cases[i].form && a.kind == cases[i].kind && a.port == cases[i].port, "%s",
                      cases[i].text);
        ck_assert_str_eq(a.name, cases[i].name);
        ck_assert_str_eq(a.path, cases[i].path);
        if (a.form == KLP_ADDRESS_ID)
            ck_assert(klp_id_eq(&a.id, &id));
        ck_assert_int_eq(klp_address_format(&a, text, sizeof text), (int)strlen(cases[i].canonical));
        ck_assert_str_eq(text, cases[i].canonical);
        ck_assert_int_eq(klp_address_format(&a, text, strlen(cases[i].canonical)), KOS_E_LIMIT);
        ck_assert_int_eq(klp_address_parse(s(text), &again, NULL), 0);
        ck_assert_mem_eq(&a, &again, sizeof a);
    }
    struct klp_address a;
    ck_assert_int_eq(klp_address_parse(s("agent://echo.0x9f3"), &a, NULL), 0);
    ck_assert_uint_eq(a.prefix.digits, 3);
    struct klp_address none = { 0 };
    char text[KLP_ADDRESS_MAX];
    ck_assert_int_eq(klp_address_format(&none, text, sizeof text), KOS_E_INVALID);
}
END_TEST

START_TEST(refused)
{
    const char *bad[] = {
        "", "klp", "klp:", "klp:/node.a", "klp://", "klp://node", "klp://node.", "klp://.a", "klp://nodes.a",
        "klp://agentagentagent.a", "http://node.a",
        "klp://node.a..b", "klp://node.a.", "klp://node.-a", "klp://node.a-", "klp://node.a_b", "klp://node.a b",
        "klp://node.a\n", "klp://node.\xc3\xa9",
        "klp://node.a?x", "klp://node.a#x", "klp://node.a/x?y", "klp://node.a/x#y", "klp://node.a/ ", "klp://node.a/%",
        "klp://node.a/%4", "klp://node.a/%4g",
        "klp://node.a/%00", "klp://node.a/..", "klp://node.a/./b", "klp://node.a/b/../c", "klp://node.a/\xc3\xa9",
        "klp://node.a/<", "klp://node.a:1/",
        "klp://node.6dy7f47u6x3pp6hz7l57z7p675", "klp://user@node.a",
        "klp://node.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "peer://", "peer://:1", "peer://a:", "peer://a:0", "peer://a:65536", "peer://a:01", "peer://a:99999999999",
        "peer://a:1x", "peer://a:-1", "peer://a:1:2", "peer://a/", "peer://a:1/",
        "peer://1.2.3", "peer://1.2.3.4.5", "peer://256.1.1.1", "peer://01.2.3.4", "peer://127.1:80",
        "peer://2130706433:80", "peer://0x7f.0x1:80", "peer://0x7f000001:80", "peer://a.1", "peer://0x",
        "peer://[", "peer://[]", "peer://[::1", "peer://[::1]x", "peer://[::1]:", "peer://[::1]7", "peer://[1.2.3.4]",
        "peer://[::1%25eth0]", "peer://::1", "peer://[:::]",
        "peer://[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc]",
        "agent://", "agent://echo", "agent://echo.", "agent://echo.home", "agent://echo.0x", "agent://echo.0x1",
        "agent://echo.9f3a", "agent://echo.0xzz", "agent://.0x9f3a",
        "agent://a.b.0x9f3a", "agent://echo.0x9f3a/", "agent://echo.0xf0f1f2f3f4f5f6f7f8f9fafbfcfdfeff0",
        "agent://echo.6dy7f47u6x3pp6hz7l57z7p674",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct klp_address a;
        struct kos_error error = { 0 };
        /* a copy of exactly this size, so that a memory checker notices a byte too far */
        size_t len = strlen(bad[i]);
        char *copy = malloc(len ? len : 1);
        memcpy(copy, bad[i], len);
        memset(&a, 0x5a, sizeof a);
        ck_assert_msg(klp_address_parse(kos_bytes(copy, len), &a, &error) == KOS_E_SYNTAX, "%s", bad[i]);
        ck_assert_int_eq(error.code, KOS_E_SYNTAX);
        ck_assert_int_eq(a.form, 0x5a5a5a5a);
        for (const char *p = error.text; *p; p++)
            ck_assert_msg(*p >= ' ' && *p <= '~', "%s", bad[i]);
        free(copy);
    }
    struct klp_address a;
    ck_assert_int_eq(klp_address_parse(kos_bytes("klp://node.a/\0", 14), &a, NULL), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_address_parse(kos_bytes("klp://node.a\0b", 14), &a, NULL), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_address_parse(kos_bytes("peer://[::1\0]", 13), &a, NULL), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_address_parse(kos_bytes(NULL, 0), &a, NULL), KOS_E_SYNTAX);
}
END_TEST

START_TEST(error_says_where)
{
    struct klp_address a;
    struct kos_error error = { 0 };
    ck_assert_int_eq(klp_address_parse(s("klp://node.a/b c"), &a, &error), KOS_E_SYNTAX);
    ck_assert_ptr_nonnull(strstr(error.text, "character 15"));
    ck_assert_int_eq(klp_address_parse(s("peer://home:http"), &a, &error), KOS_E_SYNTAX);
    ck_assert_ptr_nonnull(strstr(error.text, "peer://home:http"));
    ck_assert_ptr_nonnull(strstr(error.text, "character 13"));
}
END_TEST

START_TEST(limits)
{
    char text[KLP_ADDRESS_MAX + 1], name[KLP_NAME_MAX + 1];
    struct klp_address a;
    memset(text, 'a', sizeof text);
    memcpy(text, "klp://node.a/", 13);
    ck_assert_int_eq(klp_address_parse(kos_bytes(text, KLP_ADDRESS_MAX - 1), &a, NULL), 0);
    ck_assert_int_eq(klp_address_parse(kos_bytes(text, KLP_ADDRESS_MAX), &a, NULL), KOS_E_LIMIT);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 64 == 63 ? '.' : 'A';
    ck_assert_int_eq(klp_name_parse(kos_bytes(text, KLP_NAME_MAX), name), 0);
    ck_assert_uint_eq(strlen(name), KLP_NAME_MAX);
    ck_assert_int_eq(name[0], 'a');
    ck_assert_int_eq(klp_name_parse(kos_bytes(text, KLP_NAME_MAX + 1), name), KOS_E_LIMIT);
    ck_assert_int_eq(klp_label_check(kos_bytes(text + 1, 0)), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_label_check(s("echo")), 0);
    ck_assert_int_eq(klp_label_check(s("Echo")), KOS_E_SYNTAX);
    ck_assert_int_eq(klp_label_check(s("a.b")), KOS_E_SYNTAX);
}
END_TEST

TESTS("klp/address", accepted, refused, error_says_where, limits)
