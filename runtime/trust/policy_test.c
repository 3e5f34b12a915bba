/* SPDX-License-Identifier: Apache-2.0 */
#include "trust/policy_private.h"

#include <unit.h>

#include "core/buf.h"
#include "core/manual.h"

#define DIR_ "/etc/policy.d"

static struct kos_env *begin(struct kos_manual **manual)
{
    *manual = kos_manual_new(11);
    struct kos_env *env = kos_manual_env(*manual);
    env->ops->dir_make(env, "/etc", 0755);
    env->ops->dir_make(env, DIR_, 0755);
    return env;
}

static void put(struct kos_env *env, const char *name, const char *text)
{
    char *path = kos_format(DIR_ "/%s", name);
    ck_assert_int_eq(kos_file_write_all(env, path, 0644, kos_bytes_str(text)), KOS_OK);
    free(path);
}

static struct kos_policy *load(struct kos_env *env)
{
    struct kos_policy *policy = NULL;
    struct kos_error error = { 0 };
    ck_assert_msg(kos_policy_load(env, DIR_, &policy, &error) == KOS_OK, "%s", error.text);
    return policy;
}

/* One manifest, home.klp-policy, or none. */
static struct kos_policy *policy_of(const char *text)
{
    struct kos_manual *manual;
    struct kos_env *env = begin(&manual);
    if (text)
        put(env, "home.klp-policy", text);
    struct kos_policy *policy = load(env);
    kos_manual_free(manual);
    return policy;
}

static const struct klp_id peer1 = { { 1, 2, 3 } }, peer2 = { { 4, 5, 6 } };

static struct kos_policy_request ask(const char *type, double score)
{
    return (struct kos_policy_request){ .direction = KOS_INBOUND, .peer = peer1, .peer_name = "home.kai", .type = type,
                                        .transport = "tcp", .agent = "", .score = score, .size_bytes = 100 };
}

static struct kos_policy_decision decide(const char *text, struct kos_policy_request request)
{
    struct kos_policy *policy = policy_of(text);
    struct kos_policy_decision d;
    kos_policy_decide(policy, &request, &d);
    kos_policy_unref(policy);
    return d;
}

START_TEST(test_builtin)
{
    static const struct { const char *type; double score; int32_t code; const char *rule; } cases[] = {
        { "", 0, KOS_OK, "built-in: trust.session = 0" },
        { "TASK_REQUEST", 0, KOS_E_TRUST, "built-in: trust.TASK_REQUEST = 5" },
        { "TASK_REQUEST", 4.99, KOS_E_TRUST, "built-in: trust.TASK_REQUEST = 5" },
        { "TASK_REQUEST", 5, KOS_OK, "built-in: trust.TASK_REQUEST = 5" },
        { "BROADCAST_ANNOUNCE", 2, KOS_E_TRUST, "built-in: trust.BROADCAST_ANNOUNCE = 3" },
        { "AGENT_MIGRATION", 7, KOS_E_TRUST, "built-in: trust.AGENT_MIGRATION = 8" },
        { "X_NEW", 4, KOS_E_TRUST, "built-in: trust.* = 5" },
        { "X_NEW", 5, KOS_OK, "built-in: trust.* = 5" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kos_policy_decision d = decide(NULL, ask(cases[i].type, cases[i].score));
        ck_assert_msg(d.code == cases[i].code, "%zu: %d %s", i, (int)d.code, d.text);
        ck_assert_str_eq(d.rule, cases[i].rule);
    }
}
END_TEST

START_TEST(test_texts)
{
    struct kos_policy_request r = ask("TASK_REQUEST", 0);
    char id[KLP_ID_TEXT], want[508];
    klp_id_text(&peer1, id);
    struct kos_policy_decision d = decide(NULL, r);
    snprintf(want, sizeof want,
             "home.kai is a stranger here (score 0, TASK_REQUEST needs 5: built-in: trust.TASK_REQUEST"
             " = 5): kosctl trust klp://node.%s 8",
             id);
    ck_assert_str_eq(d.text, want);
    snprintf(want, sizeof want, "TASK_REQUEST needs a trust score of 5 here; ask the operator of that node to run: "
             "kosctl trust klp://node.%s 8", id);
    ck_assert_str_eq(d.peer_text, want);
    ck_assert_double_eq(d.score_needed, 5);
    r.score = 3;
    r.peer_name = NULL;
    d = decide("\ntrust = {\n  TASK_REQUEST = 9.5;\n};", r);
    snprintf(want, sizeof want, "klp://node.%s has a score of 3 here, and TASK_REQUEST needs 9.5 "
             "(policy.d/home.klp-policy:3 trust.TASK_REQUEST = 9.5): kosctl trust klp://node.%s 9.5", id, id);
    ck_assert_str_eq(d.text, want);
    /* An agent is helped by trusting its node. */
    r.host = peer2;
    klp_id_text(&peer2, id);
    d = decide(NULL, r);
    ck_assert_ptr_nonnull(strstr(d.text, id));
    ck_assert_int_eq(strncmp(d.text, "klp://agent.", 12), 0);
    r.score = 10;
    d = decide(NULL, r);
    ck_assert_int_eq(d.code, KOS_OK);
    ck_assert_str_eq(d.peer_text, "");
}
END_TEST

START_TEST(test_types)
{
    static const char text[] = "messages = {\n  allow = [ \"A\", \"B\" ];\n  block = [ \"B\" ];\n"
                               "  outbound = { allow = [ \"C\" ]; };\n};";
    struct kos_policy_decision d = decide(text, ask("A", 10));
    ck_assert_int_eq(d.code, KOS_OK);
    d = decide(text, ask("B", 10));
    ck_assert_int_eq(d.code, KOS_E_DENIED);
    ck_assert_str_eq(d.rule, "policy.d/home.klp-policy:3 messages.block B");
    d = decide(text, ask("C", 10));
    ck_assert_int_eq(d.code, KOS_E_DENIED);
    ck_assert_str_eq(d.rule, "policy.d/home.klp-policy:2 messages.allow");
    ck_assert_ptr_nonnull(strstr(d.text, "kosctl policy reload"));
    ck_assert_ptr_null(strstr(d.peer_text, "home.klp-policy"));
    struct kos_policy_request r = ask("C", 0);
    r.direction = KOS_OUTBOUND;
    ck_assert_int_eq(decide(text, r).code, KOS_OK);
    r.type = "A";
    d = decide(text, r);
    ck_assert_int_eq(d.code, KOS_E_DENIED);
    ck_assert_str_eq(d.rule, "policy.d/home.klp-policy:4 messages.outbound.allow");
    r.type = ""; /* a session has no message type */
    ck_assert_int_eq(decide(text, r).code, KOS_OK);
    ck_assert_int_eq(decide(text, ask("", 0)).code, KOS_OK);
    ck_assert_int_eq(decide("messages = { allow = [ ]; };", ask("A", 10)).code, KOS_E_DENIED);
    ck_assert_int_eq(decide("messages = { allow = [ \"*\" ]; };", ask("A", 10)).code, KOS_OK);
    ck_assert_int_eq(decide("messages = { block = [ \"*\" ]; };", ask("A", 10)).code, KOS_E_DENIED);
    ck_assert_int_eq(decide("messages = { block = [ \"*\" ]; };", ask("", 10)).code, KOS_OK);
}
END_TEST

START_TEST(test_answers)
{
    struct kos_policy_request r = ask("TASK_RESULT", 0);
    ck_assert_int_eq(decide(NULL, r).code, KOS_E_TRUST);
    r.answers_ours = true;
    struct kos_policy_decision d = decide(NULL, r);
    ck_assert_int_eq(d.code, KOS_OK);
    ck_assert_str_eq(d.rule, "built-in: answers to our own requests");
    ck_assert_int_eq(decide("messages = { allow = [ \"A\" ]; }; trust = { * = 10; };", r).code, KOS_OK);
    ck_assert_int_eq(decide("messages = { block = [ \"TASK_RESULT\" ]; };", r).code, KOS_E_DENIED);
    ck_assert_int_eq(decide("peers = { block = [ \"home.kai\" ]; };", r).code, KOS_E_DENIED);
    r.direction = KOS_OUTBOUND; /* says nothing there */
    ck_assert_int_eq(decide("messages = { outbound = { allow = [ ]; }; };", r).code, KOS_E_DENIED);
}
END_TEST

START_TEST(test_peers)
{
    char id[KLP_ID_TEXT], did[KLP_DID_TEXT], hex[KLP_ID_HEX];
    klp_id_text(&peer1, id);
    klp_did(&peer1, did);
    klp_id_hex(&peer1, hex);
    char *forms[] = { kos_strdup(id),
                      kos_strdup(did),
                      kos_strdup(hex),
                      kos_format("klp://node.%s", id),
                      kos_format("klp://agent.%s", id),
                      kos_strdup("home.kai"),
                      kos_strdup("HOME.kai"),
                      kos_strdup("*") };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char *block = kos_format("peers = { block = [ \"%s\" ]; };", forms[i]);
        char *allow = kos_format("peers = { allow = [ \"%s\" ]; };", forms[i]);
        struct kos_policy_request r = ask("", 0), other = r;
        other.peer = peer2;
        other.peer_name = "else.where";
        ck_assert_int_eq(decide(block, r).code, KOS_E_DENIED);
        ck_assert_int_eq(decide(allow, r).code, KOS_OK);
        bool any = strcmp(forms[i], "*") == 0;
        ck_assert_int_eq(decide(block, other).code, any ? KOS_E_DENIED : KOS_OK);
        ck_assert_int_eq(decide(allow, other).code, any ? KOS_OK : KOS_E_DENIED);
        other.host = peer1; /* its agent */
        other.host_name = "home.kai";
        ck_assert_int_eq(decide(block, other).code, KOS_E_DENIED);
        ck_assert_int_eq(decide(allow, other).code, KOS_OK);
        r.direction = KOS_OUTBOUND;
        ck_assert_int_eq(decide(block, r).code, KOS_E_DENIED);
        free(forms[i]);
        free(block);
        free(allow);
    }
    struct kos_policy_decision d = decide("peers = { block = [ \"home.kai\" ]; };", ask("", 10));
    ck_assert_str_eq(d.rule, "policy.d/home.klp-policy:1 peers.block home.kai");
    ck_assert_str_eq(d.peer_text, "the policy of this node does not allow it");
    /* A name that somebody has not got is not the empty name. */
    struct kos_policy_request r = ask("", 0);
    r.peer_name = "";
    ck_assert_int_eq(decide("peers = { allow = [ \"home.kai\" ]; };", r).code, KOS_E_DENIED);
}
END_TEST

START_TEST(test_thresholds)
{
    ck_assert_double_eq(decide("trust = { TASK_REQUEST = 2; };", ask("TASK_REQUEST", 3)).score_needed, 2);
    ck_assert_double_eq(decide("trust = { * = 2; };", ask("TASK_REQUEST", 3)).score_needed, 5);
    ck_assert_double_eq(decide("trust = { * = 7; };", ask("TASK_REQUEST", 3)).score_needed, 7);
    ck_assert_double_eq(decide("trust = { * = 2; };", ask("X_NEW", 3)).score_needed, 2);
    ck_assert_double_eq(decide("trust = { * = 9; };", ask("", 3)).score_needed, 0);
    ck_assert_int_eq(decide("trust = { session = 1; };", ask("", 0)).code, KOS_E_TRUST);
    struct kos_policy_request r = ask("TASK_REQUEST", 6);
    r.agent = "echo";
    r.agent_trust_required = 7;
    struct kos_policy_decision d = decide(NULL, r);
    ck_assert_int_eq(d.code, KOS_E_TRUST);
    ck_assert_str_eq(d.rule, "agent echo: trust_required = 7");
    r.agent_trust_required = 1; /* never lowers */
    ck_assert_double_eq(decide(NULL, r).score_needed, 5);
}
END_TEST

START_TEST(test_limits)
{
    static const char text[] = "limits = (\n"
                               "  { messages_per_minute = 100; bytes_per_day = \"1M\"; },\n"
                               "  { type = \"TASK_REQUEST\"; messages_per_minute = 10; concurrent_tasks = 2; },\n"
                               "  { peer = \"home.kai\"; transport = \"radio\"; bytes_per_minute = 500; outbox_bytes = "
                               "\"2K\"; dedupe_entries = 9; }\n"
                               ");";
    struct kos_policy *policy = policy_of(text);
    struct kos_policy_request r = ask("TASK_REQUEST", 10);
    struct kos_policy_limits l;
    kos_policy_limits(policy, &r, &l);
    ck_assert_uint_eq(l.messages_per_minute, 10);
    ck_assert_uint_eq(l.bytes_per_day, 1048576);
    ck_assert_uint_eq(l.concurrent_tasks, 2);
    ck_assert_uint_eq(l.bytes_per_minute, 0);
    ck_assert_str_eq(l.rule, "policy.d/home.klp-policy:3 limits.messages_per_minute = 10");
    r.transport = "radio";
    r.type = "OTHER";
    kos_policy_limits(policy, &r, &l);
    ck_assert_uint_eq(l.messages_per_minute, 100);
    ck_assert_uint_eq(l.bytes_per_minute, 500);
    ck_assert_uint_eq(l.outbox_bytes, 2048);
    ck_assert_uint_eq(l.dedupe_entries, 9);
    struct kos_policy_decision d;
    r.size_bytes = 501;
    kos_policy_decide(policy, &r, &d);
    ck_assert_int_eq(d.code, KOS_E_LIMIT);
    ck_assert_str_eq(d.rule, "policy.d/home.klp-policy:4 limits.bytes_per_minute = 500");
    r.size_bytes = 500;
    kos_policy_decide(policy, &r, &d);
    ck_assert_int_eq(d.code, KOS_OK);
    r.type = r.transport = NULL;
    kos_policy_limits(policy, &r, &l);
    ck_assert_uint_eq(l.messages_per_minute, 100);
    kos_policy_unref(policy);
    policy = policy_of(NULL);
    kos_policy_limits(policy, &r, &l);
    ck_assert_uint_eq(l.messages_per_minute, 0);
    ck_assert_str_eq(l.rule, "");
    kos_policy_unref(policy);
}
END_TEST

START_TEST(test_composition)
{
    struct kos_manual *manual;
    struct kos_env *env = begin(&manual);
    put(env, "b.klp-policy",
        "messages = { allow = [ \"A\", \"B\" ]; }; trust = { A = 3; }; limits = ( { messages_per_minute = 5; } );");
    put(env, "a.klp-policy",
        "messages = { allow = [ \"B\", \"A\", \"C\" ]; block = [ \"B\" ]; }; trust = { A = 7; }; limits = ( { "
        "messages_per_minute = 9; } );");
    put(env, "c.klp-policy", "name = \"nothing-to-say\";");
    put(env, "d.klp-policy~", "not a manifest");
    put(env, ".hidden.klp-policy", "neither");
    put(env, "README", "nor this");
    struct kos_policy *policy = load(env);
    struct kos_policy_decision d;
    struct kos_policy_limits l;
    struct kos_policy_request r = ask("C", 10);
    kos_policy_decide(policy, &r, &d);
    ck_assert_str_eq(d.rule, "policy.d/b.klp-policy:1 messages.allow");
    r.type = "B";
    kos_policy_decide(policy, &r, &d);
    ck_assert_str_eq(d.rule, "policy.d/a.klp-policy:1 messages.block B");
    r.type = "A";
    r.score = 6;
    kos_policy_decide(policy, &r, &d);
    ck_assert_str_eq(d.rule, "policy.d/a.klp-policy:1 trust.A = 7");
    kos_policy_limits(policy, &r, &l);
    ck_assert_uint_eq(l.messages_per_minute, 5);
    uint8_t *text;
    size_t len;
    ck_assert_int_eq(kos_policy_describe(policy, &text, &len), KOS_OK);
    struct klp_json json;
    ck_assert_int_eq(klp_json_read(kos_bytes(text, len), len, &json, NULL), KOS_OK);
    ck_assert_uint_eq(klp_json_count(klp_json_get(json, "manifests")), 3);
    ck_assert_uint_eq(klp_json_count(klp_json_get(json, "limits")), 2);
    free(text);
    struct kos_policy *other = kos_policy_ref(policy);
    kos_policy_unref(policy);
    kos_policy_decide(other, &r, &d);
    kos_policy_unref(other);
    kos_policy_unref(NULL);
    kos_manual_free(manual);
}
END_TEST

static uint32_t dice(struct kos_env *env, uint32_t sides)
{
    uint32_t n;
    kos_random(env, &n, sizeof n);
    return n % sides;
}

static const char *const words[] = { "A", "B", "C", "TASK_REQUEST", "*" };
static const char *const peers[] = { "home.kai", "else.where", "*", "third.one" };

static void random_list(struct kos_env *env, struct kos_buf *out, const char *name, const char *const *from,
                        uint32_t count)
{
    if (dice(env, 3))
        return;
    kos_buf_printf(out, "%s = [ ", name);
    uint32_t n = dice(env, 4);
    for (uint32_t i = 0; i < n; i++)
        kos_buf_printf(out, "%s\"%s\"", i ? ", " : "", from[dice(env, count)]);
    kos_buf_printf(out, " ]; ");
}

static char *random_manifest(struct kos_env *env)
{
    struct kos_buf out;
    kos_buf_init(&out, 4096);
    kos_buf_printf(&out, "messages = { ");
    random_list(env, &out, "allow", words, 5);
    random_list(env, &out, "block", words, 4);
    kos_buf_printf(&out, "outbound = { ");
    random_list(env, &out, "allow", words, 5);
    random_list(env, &out, "block", words, 4);
    kos_buf_printf(&out, "}; };\npeers = { ");
    random_list(env, &out, "allow", peers, 4);
    if (!dice(env, 4))
        random_list(env, &out, "block", peers + 1, 1);
    kos_buf_printf(&out, "};\ntrust = { ");
    for (uint32_t i = 0; i < 5; i++)
        if (dice(env, 2))
            kos_buf_printf(&out, "%s = %u; ", words[i], dice(env, 11));
    kos_buf_printf(&out, "};\nlimits = ( { messages_per_minute = %u; }, { type = \"%s\"; bytes_per_minute = %u; } );\n",
                   1 + dice(env, 9), words[dice(env, 5)], 50 + dice(env, 100));
    char *text = kos_format("%.*s", (int)out.len, (const char *)out.data);
    kos_buf_fini(&out);
    return text;
}

/* The same manifests under other names, in another order: the same codes, scores and limits for every request. */
START_TEST(test_order_never_matters)
{
    struct kos_manual *manual;
    struct kos_env *env = begin(&manual);
    for (int round = 0; round < 120; round++) {
        enum { N = 4 };
        char *texts[N];
        struct kos_policy *policies[2];
        for (int i = 0; i < N; i++)
            texts[i] = random_manifest(env);
        for (int p = 0; p < 2; p++) {
            struct policy_manifest **manifests = kos_new(N * sizeof(struct policy_manifest *));
            for (uint32_t i = 0, from = dice(env, N); i < N; i++) {
                struct kos_conf_doc *doc;
                char name[16];
                ck_assert_int_eq(kos_conf_read("r", kos_bytes_str(texts[(i + from) % N]), &doc, NULL), KOS_OK);
                snprintf(name, sizeof name, "%u", p ? N - i : i);
                struct kos_error error = { 0 };
                ck_assert_msg(policy_manifest_parse(doc, name, &manifests[i], &error) == KOS_OK, "%s", error.text);
            }
            ck_assert_int_eq(policy_compile(manifests, N, &policies[p], NULL), KOS_OK);
        }
        for (int k = 0; k < 5 * 3 * 11 * 2; k++) {
            struct kos_policy_request r = ask(k % 5 == 4 ? "" : words[k % 5], k / 15 % 11);
            struct kos_policy_decision a, b;
            struct kos_policy_limits la, lb;
            r.peer_name = peers[k / 5 % 3 == 2 ? 3 : k / 5 % 3];
            r.direction = k / 165 ? KOS_OUTBOUND : KOS_INBOUND;
            kos_policy_decide(policies[0], &r, &a);
            kos_policy_decide(policies[1], &r, &b);
            ck_assert_int_eq(a.code, b.code);
            ck_assert_double_eq(a.score_needed, b.score_needed);
            kos_policy_limits(policies[0], &r, &la);
            kos_policy_limits(policies[1], &r, &lb);
            ck_assert_mem_eq(&la, &lb, offsetof(struct kos_policy_limits, rule));
            /* More manifests never let in what one of them alone refuses by its lists. */
            if (a.code == KOS_OK && r.type[0] && r.direction == KOS_INBOUND)
                ck_assert(r.score >= a.score_needed);
        }
        for (int i = 0; i < N; i++)
            free(texts[i]);
        kos_policy_unref(policies[0]);
        kos_policy_unref(policies[1]);
    }
    kos_manual_free(manual);
}
END_TEST

START_TEST(test_refused)
{
    static const struct { const char *text, *reason; } cases[] = {
        { "a = ;", ":1: ';' stands only after a setting" },
        { "@include \"x\"", ":1: @include is not allowed" },
        { "nam = \"x\";", ":1: nam: there is no such setting here; did you mean name?" },
        { "name = 5;", ":1: name: a string in quotes" },
        { "name = \"a b\";", ":1: name: \"a b\" is not a name" },
        { "version = 2;", ":1: version: this kos reads manifests of version 1" },
        { "\nmessages = ( );", ":2: messages: a group { }" },
        { "messages = { alow = [ ]; };", ":1: messages.alow: there is no such setting here; did you mean allow?" },
        { "messages = { allow = \"A\"; };", ":1: messages.allow: a list of strings" },
        { "messages = {\n allow = [\n  \"a\" ]; };", ":3: messages.allow[0]: \"a\" is not a message type" },
        { "messages = { block = [ \"A*\" ]; };", ":1: messages.block[0]: \"A*\" is not a message type" },
        { "messages = { block = [ \"\" ]; };", ":1: messages.block[0]: \"\" is not a message type" },
        { "messages = { block = [ 1 ]; };", ":1: messages.block[0]: a string in quotes" },
        { "messages = { outbound = { outbound = { }; }; };", ":1: messages.outbound.outbound: there is no such" },
        { "peers = { allow = [ \"not a name!\" ]; };", ":1: peers.allow[0]: \"not a name!\" names no peer" },
        { "peers = { allow = [ \"klp://doc.172.docs.kOS/x\" ]; };", ":1: peers.allow[0]:" },
        { "peers = { block = ( ( ) ); };", ":1: peers.block[0]: a string in quotes" },
        { "trust = { task = 5; };", ":1: trust.task: this is no message type" },
        { "trust = { A = 11; };", ":1: trust.A: the score 11 is outside of 0 to 10" },
        { "trust = { A = -0.5; };", ":1: trust.A: the score -0.5 is outside" },
        { "trust = { A = \"5\"; };", ":1: trust.A: a score from 0 to 10" },
        { "trust = { A = 1e999; };", ":1: trust.A: a score from 0 to 10" },
        { "trust = { A = 1; A = 2; };", ":1: duplicate setting name" },
        { "limits = { };", ":1: limits: a list of groups" },
        { "limits = ( { } );", ":1: limits[0]: this rule limits nothing" },
        { "limits = ( 5 );", ":1: limits[0]: a group { }" },
        { "limits = ( { messages_per_minute = 0; } );", ":1: limits[0].messages_per_minute: 0 is outside" },
        { "limits = ( { messages_per_minute = -5; } );", ":1: limits[0].messages_per_minute: -5 is outside" },
        { "limits = ( { bytes_per_day = \"1X\"; } );", ":1: limits[0].bytes_per_day: \"1X\" is not a size" },
        { "limits = ( { type = \"x\"; bytes_per_day = 1; } );", ":1: limits[0].type: \"x\" is not a message type" },
        { "limits = ( { transport = \"T CP\"; bytes_per_day = 1; } );", ":1: limits[0].transport:" },
        { "limits = ( { transport = \"tcp\"; concurrent_tasks = 1; } );", ":1: limits[0]: concurrent_tasks counts tasks over all" },
        { "limits = ( { peer = \"?\"; bytes_per_day = 1; } );", ":1: limits[0].peer: \"?\" names no peer" },
        { "limits = ( { mesages_per_minute = 1; } );", ":1: limits[0].mesages_per_minute: there is no such setting here; did you mean messages_per_minute?" },
        { "plugins = ( );", ":1: plugins: a group { }" },
        { "plugins = { tcp = 1; };", ":1: plugins.tcp: a group { }" },
        { "plugins = { Tcp = { module = \"t.so\"; }; };", ":1: plugins.Tcp: a plugin's name is" },
        { "plugins = { tcp = { }; };", ":1: plugins.tcp: module is missing" },
        { "plugins = { tcp = { module = \"tcp\"; }; };", ":1: plugins.tcp.module: a file name NAME.so" },
        { "plugins = { tcp = { module = \"../x.so\"; }; };", ":1: plugins.tcp.module: a file name" },
        { "plugins = { tcp = { module = \"a/x.so\"; }; };", ":1: plugins.tcp.module: a file name" },
        { "plugins = { tcp = { module = \"/a/../x.so\"; }; };", ":1: plugins.tcp.module: a file name" },
        { "plugins = { tcp = { module = \"x.so\"; isolate = 1; }; };", ":1: plugins.tcp.isolate: true or false" },
        { "plugins = { tcp = { module = \"x.so\"; rights = [ \"LISTEN\" ]; }; };", ":1: plugins.tcp.rights[0]: \"LISTEN\" is not the name of a right" },
        { "plugins = { tcp = { module = \"x.so\"; rights = [ \"a\", \"a\" ]; }; };", ":1: plugins.tcp.rights[1]: \"a\" stands here twice" },
        { "plugins = { tcp = { module = \"x.so\"; types = [ \"a\" ]; }; };", ":1: plugins.tcp.types[0]: \"a\" is not a message type" },
        { "plugins = { tcp = { module = \"x.so\"; maps = 5; }; };", ":1: plugins.tcp.maps: a list of at most 256 groups" },
        { "plugins = { tcp = { module = \"x.so\"; maps = ( { type = \"A\"; } ); }; };", ":1: plugins.tcp.maps[0]: a map is" },
        { "plugins = { tcp = { module = \"x.so\"; maps = ( { type = \"a\"; destination = \"b\"; } ); }; };", ":1: plugins.tcp.maps[0]: a map is" },
        { "plugins = { tcp = { module = \"x.so\"; maps = ( { type = \"A\"; destination = \"b\"; to = \"c\"; } ); }; };", ":1: plugins.tcp.maps[0].to: there is no such setting" },
        { "plugins = { tcp = { module = \"x.so\"; maps = ( { type = \"A\"; destination = \"b\"; }, { type = \"A\"; destination = \"c\"; } ); }; };", ":1: plugins.tcp.maps[1]: A is mapped twice" },
        { "plugins = { tcp = { module = \"x.so\"; settings = [ ]; }; };", ":1: plugins.tcp.settings: a group { }" },
        { "plugins = { tcp = { module = \"x.so\"; setings = { }; }; };", ":1: plugins.tcp.setings: there is no such setting here; did you mean settings?" },
        { "plugins = {\n a = { module = \"x.so\"; types = [ \"T\" ]; };\n b = { module = \"y.so\"; types = [ \"T\" ]; }; };", ":2 and policy.d/home.klp-policy:3: plugins a and b both take T" },
    };
    struct kos_manual *manual;
    struct kos_env *env = begin(&manual);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kos_error error = { 0 };
        struct kos_policy *policy = NULL;
        put(env, "home.klp-policy", cases[i].text);
        int32_t rc = kos_policy_check(env, DIR_ "/home.klp-policy", &error);
        ck_assert_msg(rc == KOS_E_POLICY && error.code == KOS_E_POLICY, "%zu: %d %s", i, (int)rc, cases[i].text);
        ck_assert_msg(strstr(error.text, cases[i].reason) && strstr(error.text, "policy.d/home.klp-policy"),
                      "%s: said: %s", cases[i].text, error.text);
        ck_assert_int_eq(kos_policy_load(env, DIR_, &policy, &error), KOS_E_POLICY);
        ck_assert_ptr_null(policy);
    }
    ck_assert_int_eq(kos_policy_check(env, DIR_ "/none.klp-policy", NULL), KOS_E_NOTFOUND);
    kos_manual_free(manual);
}
END_TEST

START_TEST(test_bounds)
{
    struct kos_manual *manual;
    struct kos_env *env = begin(&manual);
    struct kos_buf buf;
    struct kos_error error;
    struct kos_policy *policy;
    kos_buf_init(&buf, 1 << 20);
    kos_buf_printf(&buf, "limits = ( { bytes_per_day = 1; }");
    for (int i = 0; i < KOS_POLICY_RULES_MAX; i++)
        kos_buf_printf(&buf, ", { bytes_per_day = 1; }");
    kos_buf_printf(&buf, ");");
    kos_file_write_all(env, DIR_ "/many.klp-policy", 0644, kos_buf_bytes(&buf));
    ck_assert_int_eq(kos_policy_load(env, DIR_, &policy, &error), KOS_E_POLICY);
    ck_assert_ptr_nonnull(strstr(error.text, "at most 4096 rules"));
    put(env, "many.klp-policy", "");
    for (int i = 0; i < KOS_POLICY_FILES_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d.klp-policy", i);
        put(env, name, "");
    }
    ck_assert_int_eq(kos_policy_load(env, DIR_, &policy, &error), KOS_E_POLICY);
    ck_assert_ptr_nonnull(strstr(error.text, "65 manifests; at most 64"));
    kos_buf_fini(&buf);
    kos_manual_free(manual);
    manual = kos_manual_new(1); /* no directory: the built-in policy */
    ck_assert_int_eq(kos_policy_load(kos_manual_env(manual), DIR_, &policy, &error), KOS_OK);
    ck_assert_ptr_nonnull(strstr(kos_manual_logged(manual), "does not exist"));
    kos_policy_unref(policy);
    kos_manual_free(manual);
}
END_TEST

START_TEST(test_wiring)
{
    struct kos_manual *manual;
    struct kos_env *env = begin(&manual);
    static const char tcp[] = "plugins = { tcp = { module = \"tcp.so\"; isolate = false; rights = [ \"listen\" ]; "
                              "settings = { backlog = 5; }; }; };";
    put(env, "a.klp-policy", tcp);
    put(env, "b.klp-policy", tcp); /* the same, word for word */
    put(env, "c.klp-policy", "plugins = { alpha = { module = \"/opt/alpha.so\"; types = [ \"X\" ]; }; };");
    struct kos_policy *policy = load(env);
    const struct kos_policy_plugin *plugins;
    ck_assert_uint_eq(kos_policy_plugins(policy, &plugins), 2);
    ck_assert_str_eq(plugins[0].name, "alpha");
    ck_assert(plugins[0].isolate);
    ck_assert_str_eq(plugins[0].types[0], "X");
    ck_assert_ptr_null(plugins[0].rights[0]);
    ck_assert_ptr_null(plugins[0].settings);
    ck_assert_str_eq(plugins[1].module, "tcp.so");
    ck_assert(!plugins[1].isolate);
    ck_assert_str_eq(plugins[1].rights[0], "listen");
    ck_assert_ptr_null(plugins[1].types);
    ck_assert_ptr_nonnull(kos_conf_member(plugins[1].settings, "backlog"));
    ck_assert_str_eq(plugins[1].file, "policy.d/a.klp-policy");
    kos_policy_unref(policy);
    static const char *const others[] = {
        "plugins = { tcp = { module = \"tcp2.so\"; isolate = false; rights = [ \"listen\" ]; settings = { backlog = 5; "
        "}; }; };",
        "plugins = { tcp = { module = \"tcp.so\"; rights = [ \"listen\" ]; settings = { backlog = 5; }; }; };",
        "plugins = { tcp = { module = \"tcp.so\"; isolate = false; rights = [ ]; settings = { backlog = 5; }; }; };",
        "plugins = { tcp = { module = \"tcp.so\"; isolate = false; rights = [ \"listen\" ]; settings = { backlog = 6; "
        "}; }; };",
        "plugins = { beta = { module = \"beta.so\"; types = [ \"X\" ]; }; };",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct kos_error error = { 0 };
        put(env, "b.klp-policy", others[i]);
        ck_assert_int_eq(kos_policy_load(env, DIR_, &policy, &error), KOS_E_POLICY);
        ck_assert_msg(strstr(error.text, i < 4 ? "are wired differently" : "both take X") &&
                      strstr(error.text, "b.klp-policy:1"), "%s", error.text);
    }
    kos_manual_free(manual);
}
END_TEST

/* The manifest that `kosctl init` installs says what the built-in default says, and wires the three plugins. */
START_TEST(test_shipped)
{
    struct kos_manual *manual = kos_manual_new(1);
    kos_manual_kernel_files(manual);
    struct kos_error error = { 0 };
    struct kos_policy *policy = NULL;
    int32_t rc = kos_policy_load(kos_manual_env(manual), KOS_TEST_SRCDIR "/etc/policy.d", &policy, &error);
    ck_assert_msg(rc == KOS_OK, "%s", error.text);
    for (const struct policy_threshold *t = policy_builtin; t->type; t++) {
        struct policy_threshold got = policy_threshold_of(policy, t->type);
        ck_assert_double_eq(got.score, t->score);
        ck_assert_ptr_nonnull(got.place.file);
    }
    const struct kos_policy_plugin *plugins;
    ck_assert_uint_eq(kos_policy_plugins(policy, &plugins), 3);
    ck_assert_str_eq(plugins[0].name, "broadcast_announce");
    ck_assert_str_eq(plugins[1].name, "task_request");
    ck_assert_str_eq(plugins[2].name, "tcp");
    for (int i = 0; i < 3; i++)
        ck_assert(!plugins[i].isolate);
    kos_policy_unref(policy);
    kos_manual_free(manual);
}
END_TEST

/* Every manifest that klp-policy(5) shows compiles, alone and together; the line of kosctl among them is none. */
START_TEST(test_manual)
{
    struct kos_manual *manual, *kernel = kos_manual_new(1);
    struct kos_env *env = begin(&manual);
    uint8_t *page;
    size_t len;
    kos_manual_kernel_files(kernel);
    ck_assert_int_eq(
        kos_file_read_all(kos_manual_env(kernel), KOS_TEST_SRCDIR "/man/klp-policy.5", 1 << 20, &page, &len), KOS_OK);
    const char *at = strstr((const char *)page, ".Sh EXAMPLES");
    ck_assert_ptr_nonnull(at);
    int found = 0;
    while ((at = strstr(at, ".Bd -literal -offset indent\n")) != NULL) {
        at = strchr(at, '\n') + 1;
        const char *stop = strstr(at, ".Ed\n");
        ck_assert_ptr_nonnull(stop);
        if (strncmp(at, "name = ", 7) == 0) {
            char *text = kos_format("%.*s", (int)(stop - at), at), name[32];
            snprintf(name, sizeof name, "%d.klp-policy", found++);
            put(env, name, text);
            free(text);
        }
    }
    ck_assert_int_eq(found, 2);
    struct kos_policy *policy = load(env);
    const struct kos_policy_plugin *plugins;
    ck_assert_uint_eq(kos_policy_plugins(policy, &plugins), 3);
    ck_assert_double_eq(policy_threshold_of(policy, "TASK_REQUEST").score, 9);
    kos_policy_unref(policy);
    free(page);
    kos_manual_free(kernel);
    kos_manual_free(manual);
}
END_TEST

TESTS("trust/policy", test_builtin, test_texts, test_types, test_answers, test_peers, test_thresholds, test_limits,
      test_composition, test_order_never_matters, test_refused, test_bounds, test_wiring, test_shipped, test_manual)
