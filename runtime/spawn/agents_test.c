/* SPDX-License-Identifier: Apache-2.0
 * Agents as they are in a node: the registry on the real loop, the real store, the real launcher, real programs, kind
 * and hostile ones. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/loop.h"
#include "spawn/spawn.h"
#include "unit.h"

enum { RUNS = 40 };

struct heard {
    bool ended;
    int32_t status, retry;
    struct kos_buf output;
    int progress;
    char result[512], text[512];
};

struct node {
    char root[24], instance[40], keys_dir[64], state[64], agents_dir[96], policy[64];
    struct kos_loop *loop;
    struct kos_env *env;
    struct kos_launcher *launcher;
    pid_t spawner;
    struct kos_store *store;
    struct kos_keys *keys;
    struct kos_policy *manifests;
    struct kos_trust *trust;
    struct kos_registry *agents;
    struct kos_error error;
    struct kos_agents_owner owner;
    struct heard heard[RUNS];
    uint64_t waits_for;               /* a run's end, or its output to hold `text` */
    const char *text;
    uint64_t grant;                   /* credit given back for output */
};

static struct node *one;

static void on_output(struct kos_agents_owner *owner, uint64_t run, int32_t kind, struct kos_bytes bytes)
{
    struct heard *h = &one->heard[run];
    if (kind == KOS_OUTPUT_PROGRESS) {
        h->progress++;
        return;
    }
    ck_assert_int_eq(kos_buf_append(&h->output, bytes), KOS_OK);
    if (one->grant)
        kos_agents_credit(one->agents, owner, run, bytes.len);
    if (one->text && one->waits_for == run && memmem(h->output.data, h->output.len, one->text, strlen(one->text)))
        kos_loop_stop(one->loop);
}

static void on_ended(struct kos_agents_owner *owner, uint64_t run, int32_t status, struct kos_bytes result,
                     const char *text, int32_t retry, const uint8_t audit[32])
{
    (void)owner, (void)audit;
    struct heard *h = &one->heard[run];
    ck_assert(!h->ended);
    h->ended = true;
    h->status = status;
    h->retry = retry;
    snprintf(h->result, sizeof h->result, "%.*s", (int)result.len, result.len ? (const char *)result.data : "");
    snprintf(h->text, sizeof h->text, "%s", text);
    kos_loop_stop(one->loop);
}

static const struct kos_agents_owner_ops owner_ops = { on_output, on_ended };

static void lost(void *arg)
{
    (void)arg;
}

static void ok(struct node *n, int32_t rc)
{
    ck_assert_msg(rc >= 0, "%s", n->error.text);
}

static void begin(struct node *n)
{
    int fd;
    memset(n, 0, sizeof *n);
    one = n;
    n->owner.ops = &owner_ops;
    n->grant = 1;
    snprintf(n->root, sizeof n->root, "/tmp/kos-agents-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(n->root));
    snprintf(n->instance, sizeof n->instance, "%s/i", n->root);
    snprintf(n->keys_dir, sizeof n->keys_dir, "%s/keys", n->instance);
    snprintf(n->state, sizeof n->state, "%s/state", n->instance);
    snprintf(n->agents_dir, sizeof n->agents_dir, "%s/agents", n->state);
    snprintf(n->policy, sizeof n->policy, "%s/policy.d", n->instance);
    ck_assert(mkdir(n->instance, 0700) == 0 && mkdir(n->state, 0700) == 0 && mkdir(n->agents_dir, 0700) == 0 &&
              mkdir(n->policy, 0700) == 0);
    struct kos_spawn_options spawn = { .instance = n->instance };
    ok(n, kos_spawn_fork(&spawn, &fd, &n->spawner, &n->error));
    ok(n, kos_loop_new(2, KOS_LOG_STDERR, &n->loop, &n->error));
    kos_loop_set_level(n->loop, KOS_LOG_ERROR);
    n->env = kos_loop_env(n->loop);
    ok(n, kos_spawn_client_new(n->env, fd, lost, n, &n->launcher, &n->error));
    ok(n, kos_keys_create(n->env, n->keys_dir, KLP_ALG_ED25519, kos_bytes(NULL, 0), &n->error));
    ok(n, kos_keys_open(n->env, n->keys_dir, kos_bytes(NULL, 0), &n->keys, &n->error));
    char store[80];
    snprintf(store, sizeof store, "%s/store", n->state);
    ok(n, kos_store_open(n->env, store, NULL, &n->store, &n->error));
    ok(n, kos_policy_load(n->env, n->policy, &n->manifests, &n->error));
    ok(n, kos_trust_new(n->env, n->store, n->keys, n->manifests, &n->trust, &n->error));
    struct kos_agents_options options = { n->agents_dir, "home.kai" };
    ok(n, kos_agents_new(n->env, n->store, n->trust, n->launcher, &options, &n->agents, &n->error));
    for (size_t i = 0; i < RUNS; i++)
        kos_buf_init(&n->heard[i].output, 256 << 20);
}

static void stopped(void *arg)
{
    kos_loop_stop(((struct node *)arg)->loop);
}

static void end(struct node *n)
{
    char command[64];
    int status;
    kos_agents_stop(n->agents, stopped, n);
    kos_loop_run(n->loop);
    kos_agents_free(n->agents);
    kos_trust_free(n->trust);
    kos_policy_unref(n->manifests);
    kos_store_close(n->store);
    kos_keys_close(n->keys);
    kos_spawn_client_free(n->launcher);
    kos_loop_free(n->loop);
    ck_assert_int_eq(waitpid(n->spawner, &status, 0), n->spawner);
    for (size_t i = 0; i < RUNS; i++)
        kos_buf_fini(&n->heard[i].output);
    snprintf(command, sizeof command, "rm -rf %s", n->root);
    ck_assert_int_eq(system(command), 0);
}

static struct klp_id add(struct node *n, const char *name, int32_t executor, const char *command)
{
    static const char *const skills[] = { "test", NULL };
    struct klp_id id;
    struct kos_agent_spec spec = { .name = name,
                                   .skills = skills,
                                   .executor = executor,
                                   .command = command,
                                   .concurrency = 8,
                                   .output_max_bytes = 1 << 20 };
    ok(n, kos_agents_add(n->agents, &spec, NULL, NULL, &id, &n->error));
    return id;
}

static void begin_run(struct node *n, const struct klp_id *id, uint64_t number, const char *inputs, int64_t within_ms)
{
    char task[32];
    snprintf(task, sizeof task, "t%llu", (unsigned long long)number);
    struct kos_run r = { .size = sizeof r,
                         .task = task,
                         .source = "klp://node.laptop.kai",
                         .inputs = kos_bytes_str(inputs),
                         .deadline_ms = kos_now_ms(n->env) + within_ms,
                         .output_credit_bytes = 65536 };
    memcpy(r.agent, id->b, sizeof r.agent);
    kos_agents_run(n->agents, &n->owner, number, &r);
}

static struct heard *wait_end(struct node *n, uint64_t number)
{
    n->waits_for = number;
    n->text = NULL;
    while (!n->heard[number].ended)
        kos_loop_run(n->loop);
    return &n->heard[number];
}

static struct heard *wait_text(struct node *n, uint64_t number, const char *text)
{
    n->waits_for = number;
    n->text = text;
    kos_loop_run(n->loop);
    ck_assert(!n->heard[number].ended);
    return &n->heard[number];
}

static struct heard *run(struct node *n, const struct klp_id *id, uint64_t number, const char *inputs)
{
    begin_run(n, id, number, inputs, 60000);
    return wait_end(n, number);
}

static bool is(struct heard *h, const char *output)
{
    return h->output.len == strlen(output) &&
           (h->output.len == 0 || memcmp(h->output.data, output, h->output.len) == 0);
}

START_TEST(test_filters)
{
    struct node n;
    begin(&n);
    struct klp_id sort = add(&n, "sort", KOS_EXEC, "sort -u"),
                  sed = add(&n, "sed", KOS_EXEC, "sed 's/a/b/g'; printf '\\0\\377'");
    struct klp_id bad = add(&n, "bad", KOS_EXEC, "echo first >&2; echo 'the reason' >&2; exit 7"),
                  none = add(&n, "none", KOS_EXEC, "/no/such/program");
    struct heard *h = run(&n, &sort, 1, "[\"b\\na\\n\",{\"base64\":\"YwphCg==\"}]");
    ck_assert(h->status == KOS_OK && is(h, "a\nb\nc\n"));
    ck_assert_str_eq(h->result, "{\"exit\":0}");
    h = run(&n, &sed, 2, "[\"banana\\n\"]");
    ck_assert(h->status == KOS_OK && h->output.len == 9 && memcmp(h->output.data, "bbnbnb\n\0\xff", 9) == 0);
    h = run(&n, &bad, 3, "[]");
    ck_assert(h->status == KOS_E_AGENT && h->retry == 0);
    ck_assert_str_eq(h->text, "the reason (exit status 7)");
    h = run(&n, &none, 4, "[]");
    ck_assert_int_eq(h->status, KOS_E_AGENT);
    ck_assert_ptr_nonnull(strstr(h->text, "not found"));
    end(&n);
}
END_TEST

/* A large input through a filter comes back whole, with little credit at a time. */
START_TEST(test_a_large_input)
{
    struct node n;
    size_t len = 1000000;
    char *inputs = malloc(len + 5);
    begin(&n);
    struct klp_id cat = add(&n, "cat", KOS_EXEC, "cat"), head = add(&n, "head", KOS_EXEC, "head -c 3"),
                  deaf = add(&n, "deaf", KOS_EXEC, "exec <&-; sleep 0.05; echo deaf");
    memset(inputs, 'q', len + 4);
    memcpy(inputs, "[\"", 2);
    strcpy(inputs + len + 2, "\"]");
    struct heard *h = run(&n, &cat, 1, inputs);
    ck_assert(h->status == KOS_OK && h->output.len == len);
    /* those that do not want it all */
    h = run(&n, &head, 2, inputs);
    ck_assert(h->status == KOS_OK && is(h, "qqq"));
    h = run(&n, &deaf, 3, inputs);
    ck_assert(h->status == KOS_OK && is(h, "deaf\n"));
    free(inputs);
    end(&n);
}
END_TEST

START_TEST(test_hostile_programs)
{
    struct node n;
    begin(&n);
    struct klp_id crash = add(&n, "crash", KOS_EXEC, "kill -SEGV $$"),
                  hang = add(&n, "hang", KOS_EXEC, "trap '' TERM; echo up; while :; do sleep 1; done");
    struct klp_id flood = add(&n, "flood", KOS_EXEC, "cat /dev/zero"),
                  errs = add(&n, "errs", KOS_EXEC, "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo >&2; exit 1");
    struct klp_id behind = add(&n, "behind", KOS_EXEC, "setsid sleep 600 & echo left; exit 0");
    struct heard *h = run(&n, &crash, 1, "[]");
    ck_assert_int_eq(h->status, KOS_E_AGENT);
    ck_assert_ptr_nonnull(strstr(h->text, "signal 11"));
    begin_run(&n, &hang, 2, "[]", 60000);
    wait_text(&n, 2, "up");
    kos_agents_cancel(n.agents, &n.owner, 2);
    ck_assert_int_eq(wait_end(&n, 2)->status, KOS_E_CANCELLED);
    begin_run(&n, &hang, 3, "[]", 50);
    ck_assert_int_eq(wait_end(&n, 3)->status, KOS_E_TIMEOUT);
    h = run(&n, &flood, 4, "[]");
    ck_assert_int_eq(h->status, KOS_E_LIMIT);
    ck_assert_uint_eq(h->output.len, 1 << 20);
    ck_assert_str_eq(h->text, "its output is larger than 1 MiB, the limit of agent flood");
    h = run(&n, &errs, 5, "[]");
    ck_assert(h->status == KOS_E_AGENT && strlen(h->text) < 512 && strncmp(h->text, "xxxxxxxx", 8) == 0);
    h = run(&n, &behind, 6, "[]");
    ck_assert(h->status == KOS_OK && is(h, "left\n"));
    end(&n);
}
END_TEST

/* An agent in shell, as kos-agent(7) shows one, with a few bad habits to ask for. */
static const char line_agent[] =
    "while read -r line; do\n"
    "  id=$(expr \"$line\" : '.*\"task\":\"\\([^\"]*\\)\"')\n"
    "  case $line in\n"
    "  *'\"verb\":\"cancel\"}') printf '{\"task\":\"%s\",\"error\":\"cancelled\"}\\n' $id ;;\n"
    "  *crash*) echo 'I give up' >&2; exit 3 ;;\n"
    "  *hang*) sleep 600 ;;\n"
    "  *wait*) printf '{\"task\":\"%s\",\"part\":\"waiting\"}\\n' $id ;;\n"
    "  *nonsense*) yes nonsense ;;\n"
    "  *long*) head -c 3000000 /dev/zero; echo; printf '{\"task\":\"%s\",\"result\":{}}\\n' $id ;;\n"
    "  *flood*) while :; do printf '{\"task\":\"%s\",\"part\":\"012345678901234567890123456789\"}\\n' $id; done ;;\n"
    "  *) printf '{\"task\":\"%s\",\"part\":\"%s\"}\\n"
    "{\"task\":\"%s\",\"result\":{\"pid\":%s}}\\n' $id hello $id $$ ;;\n"
    "  esac\n"
    "done\n";

START_TEST(test_stdio)
{
    struct node n;
    char first[512];
    begin(&n);
    struct klp_id id = add(&n, "line", KOS_STDIO, line_agent);
    struct heard *h = run(&n, &id, 1, "[]");
    ck_assert_msg(h->status == KOS_OK && is(h, "hello"), "%s", h->text);
    snprintf(first, sizeof first, "%s", h->result);
    ck_assert_str_eq(run(&n, &id, 2, "[]")->result, first); /* the same process */
    begin_run(&n, &id, 3, "[\"wait\"]", 60000);
    wait_text(&n, 3, "waiting");
    kos_agents_cancel(n.agents, &n.owner, 3);
    ck_assert_int_eq(wait_end(&n, 3)->status, KOS_E_CANCELLED);
    ck_assert_str_eq(run(&n, &id, 4, "[\"long\"]")->result, "{}");
    ck_assert_str_eq(run(&n, &id, 5, "[]")->result, first);
    h = run(&n, &id, 6, "[\"crash\"]");
    ck_assert(h->status == KOS_E_AGENT && h->retry == 1);
    ck_assert_str_eq(h->text, "its process is gone: it ended with exit status 3; the last it said: I give up");
    ck_assert_str_ne(run(&n, &id, 7, "[]")->result, first);
    h = run(&n, &id, 8, "[\"nonsense\"]");
    ck_assert_int_eq(h->status, KOS_E_INTERRUPTED);
    ck_assert_int_eq(run(&n, &id, 9, "[]")->status, KOS_OK);
    begin_run(&n, &id, 10, "[\"hang\"]", 50); /* does not even read the cancel */
    ck_assert_int_eq(wait_end(&n, 10)->status, KOS_E_TIMEOUT);
    ck_assert_int_eq(run(&n, &id, 11, "[]")->status, KOS_OK);
    h = run(&n, &id, 12, "[\"flood\"]"); /* nor does this one */
    ck_assert(h->status == KOS_E_LIMIT && h->output.len == 1 << 20);
    ck_assert_int_eq(run(&n, &id, 13, "[]")->status, KOS_OK);
    end(&n);
}
END_TEST

/* The agent of the examples, many tasks at a time. */
START_TEST(test_count_agent)
{
    struct node n;
    char command[512];
    const char *build = getenv("KOS_BUILDDIR");
    begin(&n);
    snprintf(command, sizeof command, "%s/sdk/examples/agents/kos-agent-count", build ? build : ".");
    char *full = realpath(command, NULL);
    ck_assert_msg(full != NULL, "%s is missing", command);
    snprintf(command, sizeof command, "%s --wc --pause 10", full);
    free(full);
    struct klp_id id = add(&n, "count", KOS_STDIO, command);
    for (uint64_t i = 1; i <= 6; i++)
        begin_run(&n, &id, i, "[\"one two\\n\",{\"base64\":\"AP8=\"},\"\"]", 60000);
    kos_agents_cancel(n.agents, &n.owner, 6);
    for (uint64_t i = 1; i <= 5; i++) {
        struct heard *h = wait_end(&n, i);
        ck_assert_msg(h->status == KOS_OK, "%s", h->text);
        ck_assert(is(h, "      1       2       8\n      0       0       2\n      0       0       0\n"));
        ck_assert_int_eq(h->progress, 3);
        ck_assert_str_eq(
            h->result,
            "{\"bytes\":10,\"inputs\":3,\"lines\":1,\"sha256\":"
             "\"705541f4fed4993a640988e5eb353f423262d76ce25e392e487d13e128c27fef\",\"words\":2}");
    }
    ck_assert_int_eq(wait_end(&n, 6)->status, KOS_E_CANCELLED);
    end(&n);
}
END_TEST

/* All trails of what went on are whole. */
START_TEST(test_trail)
{
    struct node n;
    uint64_t entries;
    begin(&n);
    struct klp_id id = add(&n, "cat", KOS_EXEC, "cat");
    for (uint64_t i = 1; i <= 3; i++)
        run(&n, &id, i, "[\"x\"]");
    ok(&n, kos_audit_check(n.store, kos_identity_log(kos_keys_find(n.keys, &id)), &entries, &n.error));
    ck_assert_uint_eq(entries, 7);
    end(&n);
}
END_TEST

TESTS("spawn/agents", test_filters, test_a_large_input, test_hostile_programs, test_stdio, test_count_agent, test_trail)
