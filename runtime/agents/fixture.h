/* SPDX-License-Identifier: Apache-2.0
 * What the tests of agents share: a registry on the manual environment, an owner that notes what it hears, and a
 * launcher whose processes are played by the test. */
#ifndef KOS_AGENTS_FIXTURE_H
#define KOS_AGENTS_FIXTURE_H

#include <stdio.h>
#include <string.h>

#include "agents/agents.h"
#include "core/buf.h"
#include "core/manual.h"
#include "unit.h"

struct kos_process {
    struct kos_launch launch;
    struct kos_buf in;                /* what was written to it and not taken by the test */
    uint64_t credit;
    bool open, closed_stdin, term, kill;
};

struct heard {
    uint64_t run;
    bool ended;
    int32_t status, retry;
    struct kos_buf output;
    char progress[512], result[512], text[512];
    uint8_t audit[32];
};

enum { PROCESSES = 64, HEARD = 64 };

struct fixture {
    struct kos_manual *manual;
    struct kos_env *env;
    struct kos_store *store;
    struct kos_keys *keys;
    struct kos_policy *policy;
    struct kos_trust *trust;
    struct kos_registry *agents;
    struct kos_error error;
    /* the launcher */
    struct kos_launcher launcher;
    struct kos_process processes[PROCESSES];
    size_t started;
    int32_t refuse_start, refuse_write;
    /* the owner */
    struct kos_agents_owner owner;
    struct heard heard[HEARD];
    size_t heard_count;
    int changes, done;
    int32_t done_status;
    bool stopped;
    void (*on_output)(struct fixture *f, uint64_t run);
};

static struct fixture *one; /* a test program runs one fixture at a time */

static int32_t fake_start(struct kos_launcher *launcher, const struct kos_launch *launch,
                          struct kos_process **ret_process, struct kos_error *ret_error)
{
    (void)launcher;
    if (one->refuse_start)
        return kos_fail(ret_error, one->refuse_start, "no process today");
    ck_assert_uint_lt(one->started, PROCESSES);
    struct kos_process *p = &one->processes[one->started++];
    *p = (struct kos_process){ .launch = *launch, .open = true };
    kos_buf_init(&p->in, 16 << 20);
    *ret_process = p;
    return KOS_OK;
}

static int32_t fake_write(struct kos_process *p, struct kos_bytes bytes)
{
    ck_assert(p->open && !p->closed_stdin);
    return one->refuse_write ? one->refuse_write : kos_buf_append(&p->in, bytes);
}

static void fake_close_stdin(struct kos_process *p)
{
    ck_assert(p->open);
    p->closed_stdin = true;
}

static void fake_credit(struct kos_process *p, uint64_t bytes)
{
    ck_assert(p->open);
    p->credit += bytes;
}

static void fake_kill(struct kos_process *p, bool now)
{
    ck_assert(p->open);
    if (now)
        p->kill = true;
    else
        p->term = true;
}

static const struct kos_launcher_ops fake_ops = { fake_start, fake_write, fake_close_stdin, fake_credit, fake_kill };

static struct heard *heard_of(uint64_t run)
{
    for (size_t i = 0; i < one->heard_count; i++)
        if (one->heard[i].run == run)
            return &one->heard[i];
    ck_assert_uint_lt(one->heard_count, HEARD);
    struct heard *h = &one->heard[one->heard_count++];
    h->run = run;
    kos_buf_init(&h->output, 128 << 20);
    return h;
}

static void on_output(struct kos_agents_owner *owner, uint64_t run, int32_t kind, struct kos_bytes bytes)
{
    (void)owner;
    struct heard *h = heard_of(run);
    ck_assert(!h->ended);
    if (kind == KOS_OUTPUT_PROGRESS)
        snprintf(h->progress, sizeof h->progress, "%.*s", (int)bytes.len, (const char *)bytes.data);
    else
        ck_assert_int_eq(kos_buf_append(&h->output, bytes), KOS_OK);
    if (one->on_output)
        one->on_output(one, run);
}

static void on_ended(struct kos_agents_owner *owner, uint64_t run, int32_t status, struct kos_bytes result,
                     const char *text, int32_t retry, const uint8_t audit[32])
{
    (void)owner;
    struct heard *h = heard_of(run);
    ck_assert(!h->ended);
    h->ended = true;
    h->status = status;
    h->retry = retry;
    snprintf(h->result, sizeof h->result, "%.*s", (int)result.len, result.len ? (const char *)result.data : "");
    snprintf(h->text, sizeof h->text, "%s", text);
    memcpy(h->audit, audit, sizeof h->audit);
}

static const struct kos_agents_owner_ops owner_ops = { on_output, on_ended };

static void on_changed(void *arg)
{
    ((struct fixture *)arg)->changes++;
}

static void on_done(void *arg, int32_t status)
{
    struct fixture *f = arg;
    f->done++;
    f->done_status = status;
}

static inline void on_stopped(void *arg)
{
    ((struct fixture *)arg)->stopped = true;
}

static void open_node(struct fixture *f)
{
    struct kos_agents_options options = { .directory = "/i/state/agents", .node_name = "home.kai" };
    ck_assert_msg(kos_store_open(f->env, "/i/state/store", NULL, &f->store, &f->error) == KOS_OK, "%s", f->error.text);
    ck_assert_msg(kos_keys_open(f->env, "/i/keys", kos_bytes(NULL, 0), &f->keys, &f->error) == KOS_OK, "%s",
                  f->error.text);
    ck_assert_msg(kos_policy_load(f->env, "/i/policy.d", &f->policy, &f->error) == KOS_OK, "%s", f->error.text);
    ck_assert_msg(kos_trust_new(f->env, f->store, f->keys, f->policy, &f->trust, &f->error) == KOS_OK, "%s",
                  f->error.text);
    ck_assert_msg(kos_agents_new(f->env, f->store, f->trust, &f->launcher, &options, &f->agents, &f->error) == KOS_OK,
                  "%s", f->error.text);
    kos_agents_on_change(f->agents, on_changed, f);
    kos_manual_settle(f->manual);
}

static void close_node(struct fixture *f)
{
    kos_agents_free(f->agents);
    kos_trust_free(f->trust);
    kos_policy_unref(f->policy);
    kos_keys_close(f->keys);
    kos_store_close(f->store);
}

static void begin(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    one = f;
    f->manual = kos_manual_new(5);
    f->env = kos_manual_env(f->manual);
    f->launcher.ops = &fake_ops;
    f->owner.ops = &owner_ops;
    static const char *const dirs[] = { "/i", "/i/policy.d", "/i/state", "/i/state/agents" };
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        f->env->ops->dir_make(f->env, dirs[i], 0700);
    ck_assert_msg(kos_keys_create(f->env, "/i/keys", KLP_ALG_ED25519, kos_bytes(NULL, 0), &f->error) == KOS_OK, "%s",
                  f->error.text);
    open_node(f);
}

static void end(struct fixture *f)
{
    close_node(f);
    for (size_t i = 0; i < f->started; i++)
        kos_buf_fini(&f->processes[i].in);
    for (size_t i = 0; i < f->heard_count; i++)
        kos_buf_fini(&f->heard[i].output);
    kos_manual_free(f->manual);
}

static const char *const two_skills[] = { "text", "count-words", NULL };

static struct klp_id add(struct fixture *f, const char *name, int32_t executor, uint32_t concurrency)
{
    struct klp_id id;
    struct kos_agent_spec spec = { .name = name,
                                   .skills = two_skills,
                                   .executor = executor,
                                   .command = "run me",
                                   .trust_required = 5.5,
                                   .concurrency = concurrency };
    int before = f->done;
    ck_assert_msg(kos_agents_add(f->agents, &spec, on_done, f, &id, &f->error) == KOS_OK, "%s", f->error.text);
    ck_assert_int_eq(f->done, before);
    kos_manual_settle(f->manual);
    ck_assert_int_eq(f->done, before + 1);
    ck_assert_int_eq(f->done_status, KOS_OK);
    return id;
}

/* Begins a run with credit for all it may put out and a minute of time; settles. */
static void run_credit(struct fixture *f, const struct klp_id *id, uint64_t number, const char *inputs, uint64_t credit)
{
    char task[32];
    snprintf(task, sizeof task, "task-%llu", (unsigned long long)number);
    struct kos_run r = { .size = sizeof r,
                         .task = task,
                         .source = "klp://node.laptop.kai",
                         .inputs = kos_bytes_str(inputs),
                         .deadline_ms = kos_now_ms(f->env) + 60000,
                         .output_credit_bytes = credit };
    memcpy(r.agent, id->b, sizeof r.agent);
    size_t before = f->heard_count;
    kos_agents_run(f->agents, &f->owner, number, &r);
    ck_assert_uint_eq(f->heard_count, before); /* nothing comes back inside the call */
    kos_manual_settle(f->manual);
}

static void run(struct fixture *f, const struct klp_id *id, uint64_t number, const char *inputs)
{
    run_credit(f, id, number, inputs, UINT64_MAX);
}

static struct kos_process *process(struct fixture *f, size_t index)
{
    ck_assert_uint_lt(index, f->started);
    return &f->processes[index];
}

static void out(struct fixture *f, struct kos_process *p, const void *data, size_t len)
{
    ck_assert(p->open);
    ck_assert_uint_ge(p->credit, len);
    p->credit -= len;
    if (!p->kill && !p->term)
        p->launch.out(p->launch.arg, kos_bytes(data, len));
    kos_manual_settle(f->manual);
}

static inline void say(struct fixture *f, struct kos_process *p, const char *text)
{
    out(f, p, text, strlen(text));
}

static void leave(struct fixture *f, struct kos_process *p, int32_t status)
{
    ck_assert(p->open);
    p->open = false;
    p->launch.exited(p->launch.arg, status, NULL);
    kos_manual_settle(f->manual);
}

/* What the process was sent since the last time, as text. */
static inline const char *taken(struct kos_process *p)
{
    static char text[65536];
    size_t n = p->in.len < sizeof text - 1 ? p->in.len : sizeof text - 1;
    memcpy(text, p->in.data ? p->in.data : (const uint8_t *)"", n);
    text[n] = 0;
    kos_buf_reset(&p->in);
    return text;
}

#define EXIT(n_) ((n_) << 8)

#endif
