/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy manifests: one or two files (parted by a NUL). What loads decides about anything, describes itself as
 * canonical JSON, and decides alike when the files have each other's names.
 */
#include "fuzz.h"

#include "core/manual.h"
#include "trust/policy.h"
#include <klp/json.h>

enum { ASKED = 6 };

static struct kos_policy *load(const struct kos_bytes *files, size_t count, bool swapped)
{
    struct kos_manual *manual = kos_manual_new(1);
    struct kos_env *env = kos_manual_env(manual);
    struct kos_policy *policy = NULL;
    struct kos_error error = { 0 };
    FUZZ_CHECK(env->ops->dir_make(env, "/p", 0755) == KOS_OK);
    for (size_t i = 0; i < count; i++)
        FUZZ_CHECK(kos_file_write_all(env, (i == 0) != swapped ? "/p/a.klp-policy" : "/p/b.klp-policy", 0644,
                                      files[i]) == KOS_OK);
    if (kos_policy_load(env, "/p", &policy, &error) < 0) {
        FUZZ_CHECK(error.text[0] && error.code < 0);
        policy = NULL;
    } else if (count == 1) {
        FUZZ_CHECK(kos_policy_check(env, swapped ? "/p/b.klp-policy" : "/p/a.klp-policy", &error) == KOS_OK);
    }
    kos_manual_free(manual);
    return policy;
}

static void describe(const struct kos_policy *policy)
{
    uint8_t *data;
    size_t len;
    struct klp_json value;
    if (kos_policy_describe(policy, &data, &len) < 0)
        return;
    FUZZ_CHECK(klp_json_read(kos_bytes(data, len), 64 << 20, &value, NULL) == 0 && value.type == KLP_JSON_OBJECT);
    free(data);
}

static void ask(const struct kos_policy *policy, struct kos_policy_decision decisions[ASKED])
{
    static const struct {
        const char *type, *name, *transport;
        double score;
        int32_t direction;
    } asked[ASKED] = {
        { "", "", "tcp", 0, KOS_INBOUND },
        { "TASK_REQUEST", "home.kai", "tcp", 5, KOS_INBOUND },
        { "TASK_REQUEST", "", "", 4, KOS_OUTBOUND },
        { "X", "home.kai", "lora", 10, KOS_INBOUND },
        { "AGENT_MIGRATION", "", "tcp", 8, KOS_INBOUND },
        { "BROADCAST_ANNOUNCE", "home.kai", "tcp", 2, KOS_OUTBOUND },
    };
    for (size_t i = 0; i < ASKED; i++) {
        struct kos_policy_request request = { .direction = asked[i].direction,
                                              .peer = { { 1 } },
                                              .peer_name = asked[i].name,
                                              .type = asked[i].type,
                                              .transport = asked[i].transport,
                                              .agent = "",
                                              .score = asked[i].score,
                                              .size_bytes = 1000 };
        struct kos_policy_limits limits;
        kos_policy_decide(policy, &request, &decisions[i]);
        kos_policy_limits(policy, &request, &limits);
        int32_t code = decisions[i].code;
        FUZZ_CHECK(code == KOS_OK || code == KOS_E_DENIED || code == KOS_E_TRUST || code == KOS_E_LIMIT);
        FUZZ_CHECK(memchr(decisions[i].rule, 0, KOS_RULE_TEXT) && decisions[i].rule[0]);
        if (code < 0)
            FUZZ_CHECK(decisions[i].text[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kos_bytes files[2] = { kos_bytes(data, size) };
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t count = 1;
    if (nul) {
        files[0].len = (size_t)(nul - data);
        files[1] = kos_bytes(nul + 1, size - files[0].len - 1);
        count = 2;
    }
    struct kos_policy *one = load(files, count, false);
    struct kos_policy *other = count == 2 ? load(files, count, true) : NULL;
    struct kos_policy_decision decisions[2][ASKED];
    FUZZ_CHECK(count == 1 || !one == !other);
    if (one) {
        const struct kos_policy_plugin *plugins;
        describe(one);
        ask(one, decisions[0]);
        for (size_t i = 0, n = kos_policy_plugins(one, &plugins); i < n; i++)
            FUZZ_CHECK(plugins[i].name && plugins[i].module && plugins[i].rights && plugins[i].file);
    }
    if (other) {
        ask(other, decisions[1]);
        for (size_t i = 0; i < ASKED; i++)
            FUZZ_CHECK(decisions[0][i].code == decisions[1][i].code &&
                       decisions[0][i].score_needed == decisions[1][i].score_needed);
    }
    if (one)
        kos_policy_unref(one);
    if (other)
        kos_policy_unref(other);
    return 0;
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    static const char one[] =
        "name = \"home\";\ntrust = { session = 0; TASK_REQUEST = 5.5; * = 5; };\n"
        "messages = { allow = [ \"TASK_REQUEST\", \"X\" ]; block = [ \"BROADCAST_ANNOUNCE\" ]; };\n"
        "peers = { block = [ \"klp://node.aeaaaaaaaaaaaaaaaaaaaaaaaa\", \"home.kai\" ]; };\n"
        "limits = ( { peer = \"*\"; type = \"TASK_REQUEST\"; messages_per_minute = 600; bytes_per_day = \"1G\"; } );\n";
    static const char wiring[] =
        "plugins = { tcp = { module = \"tcp.so\"; isolate = false; rights = [ \"listen\", \"connect\" ]; };\n"
        "nats = { module = \"/x/nats.so\"; types = [ \"X\" ]; settings = { url = \"a\"; }; "
        "maps = ( { type = \"X\"; destination = \"there\"; } ); }; };\n";
    static const char both[] = "peers = { allow = [ \"*\" ]; };\0peers = { allow = [ \"home.kai\" ]; };\nlimits = ( { "
                               "peer = \"home.kai\"; concurrent_tasks = 3; } );";
    static const char conflict[] =
        "plugins = { a = { module = \"x.so\"; }; };\0plugins = { a = { module = \"y.so\"; }; };";
    put(arg, kos_bytes(one, sizeof one - 1));
    put(arg, kos_bytes(wiring, sizeof wiring - 1));
    put(arg, kos_bytes(both, sizeof both - 1));
    put(arg, kos_bytes(conflict, sizeof conflict - 1));
    put(arg, kos_bytes(one, sizeof one + 0));
}
