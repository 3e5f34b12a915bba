/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses, names, ids and DIDs as people type them and as they stand in messages: what parses is written as one text,
 * which parses to the same.
 */
#include "fuzz.h"

#include <klp/address.h>

static void address(struct kos_bytes text)
{
    struct klp_address one, two;
    struct kos_error error = { 0 };
    char first[KLP_ADDRESS_MAX + 1], second[KLP_ADDRESS_MAX + 1];
    memset(&one, 0, sizeof one);
    memset(&two, 0, sizeof two);
    if (klp_address_parse(text, &one, &error) < 0) {
        FUZZ_CHECK(error.text[0]);
        return;
    }
    int32_t len = klp_address_format(&one, first, sizeof first);
    if (len == KOS_E_LIMIT) /* a port that was left out makes it longer */
        return;
    FUZZ_CHECK(len > 0 && strlen(first) == (size_t)len);
    FUZZ_CHECK(klp_address_parse(kos_bytes_str(first), &two, &error) == 0);
    FUZZ_CHECK(one.form == two.form && one.kind == two.kind && one.port == two.port);
    FUZZ_CHECK(klp_id_eq(&one.id, &two.id) && one.prefix.digits == two.prefix.digits);
    FUZZ_CHECK(klp_id_eq(&one.prefix.id, &two.prefix.id));
    FUZZ_CHECK(strcmp(one.name, two.name) == 0 && strcmp(one.path, two.path) == 0);
    FUZZ_CHECK(klp_address_format(&two, second, sizeof second) == len && strcmp(first, second) == 0);
    FUZZ_CHECK(klp_address_format(&one, second, (size_t)len) == KOS_E_LIMIT);
}

static void ids(struct kos_bytes text)
{
    struct klp_id id;
    struct klp_id_prefix prefix;
    char out[KLP_ID_HEX], name[KLP_NAME_MAX + 1];
    int32_t kind;
    if (klp_id_parse(text, &id) == 0) {
        klp_id_text(&id, out);
        FUZZ_CHECK(fuzz_same(text, kos_bytes_str(out)));
    }
    if (klp_id_parse_hex(text, &id) == 0) {
        klp_id_hex(&id, out);
        FUZZ_CHECK(fuzz_same(text, kos_bytes_str(out)));
    }
    if (klp_did_parse(text, &id) == 0) {
        klp_did(&id, out);
        FUZZ_CHECK(fuzz_same(text, kos_bytes_str(out)));
    }
    if (klp_id_prefix_parse(text, &prefix) == 0) {
        FUZZ_CHECK(prefix.digits >= 2 && prefix.digits <= 32);
        FUZZ_CHECK(klp_id_prefix_match(&prefix, &prefix.id));
    }
    if (klp_kind_parse(text, &kind) == 0)
        FUZZ_CHECK(fuzz_same(text, kos_bytes_str(klp_kind_name(kind))));
    if (klp_name_parse(text, name) == 0) {
        char again[KLP_NAME_MAX + 1];
        FUZZ_CHECK(klp_name_parse(kos_bytes_str(name), again) == 0 && strcmp(name, again) == 0);
    }
    if (klp_label_check(text) == 0)
        FUZZ_CHECK(text.len <= KLP_LABEL_MAX && klp_name_parse(text, name) == 0 && !strchr(name, '.'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    address(kos_bytes(data, size));
    ids(kos_bytes(data, size));
    return 0;
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    static const char *const texts[] = {
        "klp://agent.kai.earth/commands",
        "klp://doc.172.docs.kOS/manifest.json",
        "klp://node.usa.kai",
        "klp://agent.genie.fr.kai",
        "klp://node.aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "klp://node.AAAAAAAAAAAAAAAAAAAAAAAAAE/a%20b?c",
        "peer://127.0.0.1",
        "peer://127.0.0.1:1",
        "peer://[::1]:7450",
        "peer://[fe80::1%25eth0]",
        "peer://localhost:65535",
        "peer://home.kai",
        "agent://echo.0x9f3a",
        "agent://ECHO.0x0123456789abcdef0123456789abcdef",
        "0x9f",
        "0x0123456789abcdef0123456789abcdef",
        "did:klp:aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "abcdefghijklmnopqrstuvwxy4",
        "node",
        "agent",
        "doc",
        "policy",
        "home-1.kai",
        "KLP://NODE.USA.KAI",
        "peer://1.2.3",
        "peer://a_b",
        "klp://node.-a",
        "klp://policy.x",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        put(arg, kos_bytes_str(texts[i]));
}
