/* SPDX-License-Identifier: Apache-2.0
 * The protocol of --stdio agents (kos-agent(7)), with agents that keep to it and agents that do not. */
#include <signal.h>

#include "agents/fixture.h"

static bool has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

START_TEST(test_a_task)
{
    struct fixture f;
    begin(&f);
    struct klp_id id = add(&f, "count", KOS_STDIO, 4);
    ck_assert_uint_eq(f.started, 0); /* started at the first task */
    run(&f, &id, 1, "[\"a\\n\"]");
    struct kos_process *p = process(&f, 0);
    char want[256];
    snprintf(
        want, sizeof want,
        "{\"deadline_ms\":%lld,\"inputs\":[\"a\\n\"],\"source\":\"klp://node.laptop.kai\","
             "\"task\":\"task-1\",\"verb\":\"task\"}\n",
        (long long)kos_now_ms(f.env) + 60000);
    ck_assert_str_eq(taken(p), want);
    ck_assert(!p->closed_stdin);
    say(&f, p, "{\"task\":\"task-1\",\"progress\":{\"fraction\":0.5,\"text\":\"half \\u001b way\",\"more\":1}}\n");
    ck_assert_str_eq(heard_of(1)->progress, "{\"fraction\":0.5,\"text\":\"half \\\\x1b way\"}");
    say(&f, p, "{\"task\":\"task-1\",\"part\":\"one \\u00e9\"}\r\n{\"task\":\"task-1\",");
    say(&f, p, "\"part\":{\"base64\":\"AP8=\"}}\n");
    ck_assert_uint_eq(heard_of(1)->output.len, 8);
    ck_assert_int_eq(memcmp(heard_of(1)->output.data, "one \xc3\xa9\0\xff", 8), 0);
    say(&f, p, "{\"task\":\"task-1\",\"result\":{\"z\": 1.0, \"a\":[ ]}}\n");
    ck_assert(heard_of(1)->ended && heard_of(1)->status == KOS_OK);
    ck_assert_str_eq(heard_of(1)->result, "{\"a\":[],\"z\":1}");
    /* kept for the next one */
    run(&f, &id, 2, "[]");
    ck_assert_uint_eq(f.started, 1);
    say(&f, p, "{\"task\":\"task-2\",\"error\":\"bad_input\",\"text\":\"line 3\\n\",\"retry\":true}\n");
    ck_assert_int_eq(heard_of(2)->status, KOS_E_AGENT);
    ck_assert_str_eq(heard_of(2)->text, "bad_input: line 3\\x0a");
    ck_assert_int_eq(heard_of(2)->retry, 1);
    end(&f);
}
END_TEST

START_TEST(test_many_tasks)
{
    struct fixture f;
    char line[128];
    begin(&f);
    struct klp_id id = add(&f, "count", KOS_STDIO, 3);
    for (uint64_t i = 1; i <= 4; i++)
        run(&f, &id, i, "[]");
    ck_assert_int_eq(heard_of(4)->status, KOS_E_BUSY);
    struct kos_process *p = process(&f, 0);
    for (int round = 0; round < 3; round++)
        for (int i = 3; i >= 1; i--) {
            snprintf(line, sizeof line, "{\"task\":\"task-%d\",\"part\":\"%d.%d \"}\n", i, i, round);
            say(&f, p, line);
        }
    for (uint64_t i = 1; i <= 3; i++) {
        snprintf(line, sizeof line, "{\"task\":\"task-%d\",\"result\":{}}\n", (int)i);
        say(&f, p, line);
        snprintf(line, sizeof line, "%d.0 %d.1 %d.2 ", (int)i, (int)i, (int)i);
        ck_assert(heard_of(i)->output.len == strlen(line) && memcmp(heard_of(i)->output.data, line, strlen(line)) == 0);
        ck_assert_int_eq(heard_of(i)->status, KOS_OK);
    }
    end(&f);
}
END_TEST

/* Two askers may choose the same id. */
START_TEST(test_same_task_id)
{
    struct fixture f;
    begin(&f);
    struct klp_id id = add(&f, "count", KOS_STDIO, 4);
    struct kos_run r = { .size = sizeof r,
                         .task = "same",
                         .source = "s",
                         .inputs = kos_bytes_str("[]"),
                         .deadline_ms = kos_now_ms(f.env) + 1000,
                         .output_credit_bytes = 100 };
    memcpy(r.agent, id.b, sizeof r.agent);
    kos_agents_run(f.agents, &f.owner, 1, &r);
    kos_agents_run(f.agents, &f.owner, 2, &r);
    kos_manual_settle(f.manual);
    ck_assert(has(taken(process(&f, 0)), "\"task\":\"same.1\""));
    say(&f, process(&f, 0), "{\"task\":\"same.1\",\"result\":{\"n\":2}}\n{\"task\":\"same\",\"result\":{\"n\":1}}\n");
    ck_assert_str_eq(heard_of(1)->result, "{\"n\":1}");
    ck_assert_str_eq(heard_of(2)->result, "{\"n\":2}");
    end(&f);
}
END_TEST

START_TEST(test_cancel)
{
    struct fixture f;
    begin(&f);
    struct klp_id id = add(&f, "count", KOS_STDIO, 4);
    run(&f, &id, 1, "[]");
    run(&f, &id, 2, "[]");
    struct kos_process *p = process(&f, 0);
    taken(p);
    kos_agents_cancel(f.agents, &f.owner, 1);
    ck_assert_str_eq(taken(p), "{\"task\":\"task-1\",\"verb\":\"cancel\"}\n");
    kos_manual_settle(f.manual);
    ck_assert(f.heard_count == 0);
    say(&f, p, "{\"task\":\"task-1\",\"part\":\"late\"}\n{\"task\":\"task-1\",\"progress\":{}}\n");
    ck_assert_uint_eq(f.heard_count, 0);
    say(&f, p, "{\"task\":\"task-1\",\"error\":\"cancelled\"}\n");
    ck_assert_int_eq(heard_of(1)->status, KOS_E_CANCELLED);
    kos_manual_advance(f.manual, 5000);
    ck_assert(!p->kill && !p->term);
    /* A deadline is told alike; one that is not acknowledged costs the process, and the others in it may try again. */
    run(&f, &id, 3, "[]");
    kos_manual_advance(f.manual, 55000); /* task 2's deadline */
    ck_assert(has(taken(p), "{\"task\":\"task-2\",\"verb\":\"cancel\"}\n"));
    kos_manual_advance(f.manual, 1999);
    ck_assert(!p->kill);
    kos_manual_advance(f.manual, 1);
    ck_assert(p->kill);
    leave(&f, p, SIGKILL);
    ck_assert_int_eq(heard_of(2)->status, KOS_E_TIMEOUT);
    ck_assert(heard_of(3)->status == KOS_E_INTERRUPTED && heard_of(3)->retry == 1);
    ck_assert_str_eq(heard_of(3)->text, "it did not acknowledge within 2 s that task task-2 was cancelled");
    run(&f, &id, 4, "[]");
    ck_assert_uint_eq(f.started, 2);
    end(&f);
}
END_TEST

START_TEST(test_crash_and_back_off)
{
    struct fixture f;
    begin(&f);
    struct klp_id id = add(&f, "count", KOS_STDIO, 4);
    run(&f, &id, 1, "[]");
    struct kos_process *p = process(&f, 0);
    p->launch.err(p->launch.arg, kos_bytes_str("Traceback:\n  oh no\n"));
    say(&f, p, "{\"task\":\"task-1\",\"part\":\"half a line");
    leave(&f, p, EXIT(1));
    ck_assert(heard_of(1)->status == KOS_E_AGENT && heard_of(1)->retry == 1);
    ck_assert_str_eq(heard_of(1)->text, "its process is gone: it ended with exit status 1; the last it said:   oh no");
    ck_assert_uint_eq(f.started, 1); /* until it is needed */
    run(&f, &id, 2, "[]");
    ck_assert_uint_eq(f.started, 2);
    ck_assert(has(taken(process(&f, 1)), "task-2"));
    leave(&f, process(&f, 1), SIGSEGV);
    ck_assert_int_eq(heard_of(2)->status, KOS_E_AGENT);
    /* dying again and again: ever later */
    run(&f, &id, 3, "[]");
    ck_assert_uint_eq(f.started, 2);
    kos_manual_advance(f.manual, 199);
    ck_assert_uint_eq(f.started, 2);
    kos_manual_advance(f.manual, 1);
    ck_assert_uint_eq(f.started, 3);
    /* and at once again when it did something useful; half a line of the last process is forgotten */
    say(&f, process(&f, 2), "{\"task\":\"task-3\",\"result\":{}}\n");
    ck_assert_int_eq(heard_of(3)->status, KOS_OK);
    leave(&f, process(&f, 2), EXIT(0));
    run(&f, &id, 4, "[]");
    ck_assert_uint_eq(f.started, 4);
    end(&f);
}
END_TEST

START_TEST(test_cannot_start)
{
    struct fixture f;
    begin(&f);
    struct klp_id id = add(&f, "count", KOS_STDIO, 4);
    f.refuse_start = KOS_E_LIMIT;
    run(&f, &id, 1, "[]");
    ck_assert_int_eq(heard_of(1)->status, KOS_E_LIMIT);
    ck_assert_str_eq(heard_of(1)->text, "no process today");
    f.refuse_start = 0;
    run(&f, &id, 2, "[]");
    ck_assert_uint_eq(f.started, 1);
    f.refuse_write = KOS_E_BUSY;
    run(&f, &id, 3, "[]");
    ck_assert(heard_of(3)->status == KOS_E_BUSY && heard_of(3)->retry == 1);
    f.refuse_write = 0;
    /* Cancelled before it was sent: nobody else hears of it. */
    leave(&f, process(&f, 0), EXIT(9));
    run(&f, &id, 4, "[]");
    kos_agents_cancel(f.agents, &f.owner, 4);
    kos_manual_settle(f.manual);
    ck_assert_int_eq(heard_of(4)->status, KOS_E_CANCELLED);
    end(&f);
}
END_TEST

static const char *const nonsense[] = {
    "hello",
    "",
    "{",
    "[]",
    "1",
    "{}",
    "{\"task\":1,\"part\":\"x\"}",
    "{\"task\":\"other\",\"part\":\"x\"}",
    "{\"task\":\"task-1\"}",
    "{\"task\":\"task-1\",\"part\":1}",
    "{\"task\":\"task-1\",\"part\":{\"base64\":\"?\"}}",
    "{\"task\":\"task-1\",\"part\":{}}",
    "{\"task\":\"task-1\",\"progress\":7}",
    "{\"task\":\"task-1\",\"error\":7}",
    "{\"task\":\"task-1\",\"part\":\"\xff\"}",
    "{\"task\":\"task-1\",\"task\":\"task-1\",\"part\":\"x\"}",
    "{\"id\":\"r1\",\"snapshot\":1}",
    "\x00\x01",
    "{\"task\":\"task-1\",\"part\":\"\\u0000\"}",
};
enum { NONSENSE = sizeof nonsense / sizeof *nonsense };

START_TEST(test_nonsense)
{
    struct fixture f;
    begin(&f);
    struct klp_id id = add(&f, "count", KOS_STDIO, 4);
    run(&f, &id, 1, "[]");
    struct kos_process *p = process(&f, 0);
    /* Between lines that make sense any number is borne. */
    for (int i = 0; i < 3 * NONSENSE; i++) {
        say(&f, p, nonsense[i % NONSENSE]);
        say(&f, p, "\n");
        if (i % 10 == 9)
            say(&f, p, "{\"task\":\"task-1\",\"part\":\".\"}\n");
    }
    ck_assert(!p->kill);
    ck_assert_uint_eq(heard_of(1)->output.len, 5);
    const char *logged = kos_manual_logged(f.manual), *first = strstr(logged, "not as kos-agent(7) says");
    ck_assert(first && !strstr(first + 1, "not as kos-agent(7) says")); /* logged once a minute */
    say(&f, p, "{\"task\":\"task-1\",\"part\":\".\"}\n");
    for (int i = 0; i < 15; i++)
        say(&f, p, "x\n");
    ck_assert(!p->kill);
    say(&f, p, "x\nx\nx\n");
    ck_assert(p->kill);
    leave(&f, p, SIGKILL);
    ck_assert(heard_of(1)->status == KOS_E_INTERRUPTED && heard_of(1)->retry == 1);
    ck_assert_str_eq(heard_of(1)->text, "it wrote 16 lines in a row that are not as kos-agent(7) says");
    end(&f);
}
END_TEST

/* Lines that were right once: cut, doubled, with bytes changed, run into each other. Whatever comes, every run ends. */
START_TEST(test_mutated_lines)
{
    static const char *const right[] = {
        "{\"task\":\"task-1\",\"part\":\"text \\u00e9\\n\"}\n",
        "{\"task\":\"task-1\",\"part\":{\"base64\":\"AP8=\"}}\n",
        "{\"task\":\"task-1\",\"progress\":{\"fraction\":0.25,\"text\":\"x\"}}\n",
        "{\"task\":\"task-1\",\"result\":{\"a\":[1,2.5e3]}}\n",
        "{\"task\":\"task-1\",\"error\":\"name\",\"text\":\"t\",\"retry\":true}\n",
        "{\"id\":\"r1\",\"snapshot\":[null,true]}\n",
    };
    uint64_t seed = 42;
    struct fixture f;
    begin(&f);
    struct klp_id id = add(&f, "count", KOS_STDIO, 4);
    for (uint64_t number = 1; number <= 40; number++) {
        struct kos_run r = { .size = sizeof r, .task = "task-1", .source = "s", .inputs = kos_bytes_str("[]"),
                             .deadline_ms = kos_now_ms(f.env) + 600000, .output_credit_bytes = UINT64_MAX };
        memcpy(r.agent, id.b, sizeof r.agent);
        kos_agents_run(f.agents, &f.owner, number, &r);
        kos_manual_settle(f.manual);
        kos_manual_advance(f.manual, 60000); /* whatever back-off there is */
        struct kos_process *p = process(&f, f.started - 1);
        for (int i = 0; i < 500 && !heard_of(number)->ended && !p->kill; i++) {
            char line[256];
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            const char *from = right[(seed >> 33) % 6];
            size_t len = strlen(from), at = (seed >> 40) % len;
            memcpy(line, from, len);
            switch ((seed >> 60) % 4) {
            case 0: line[at] = (char)(seed >> 50); break;
            case 1: len = at; break;
            case 2: memcpy(line + len, from + at, strlen(from) - at), len += strlen(from) - at; break;
            case 3: memmove(line + at, line + at + 1, len - at - 1), len--; break;
            }
            out(&f, p, line, len);
        }
        if (!heard_of(number)->ended && !p->kill)
            kos_agents_cancel(f.agents, &f.owner, number);
        if (!heard_of(number)->ended)
            leave(&f, p, SIGKILL);
        ck_assert(heard_of(number)->ended);
    }
    end(&f);
}
END_TEST

START_TEST(test_huge_lines)
{
    struct fixture f;
    char *piece = malloc(65536);
    begin(&f);
    struct klp_id id = add(&f, "count", KOS_STDIO, 4);
    memset(piece, 'x', 65536);
    run(&f, &id, 1, "[]");
    struct kos_process *p = process(&f, 0);
    for (int i = 0; i < 64; i++) /* 4 MiB without an end */
        out(&f, p, piece, 65536);
    say(&f, p, "\n{\"task\":\"task-1\",\"part\":\"after\"}\n");
    ck_assert_int_eq(memcmp(heard_of(1)->output.data, "after", 5), 0);
    /* the longest that is allowed, to the byte */
    for (size_t extra = 0; extra < 2; extra++) {
        say(&f, p, "{\"task\":\"task-1\",\"part\":\"");
        size_t left = (1 << 20) - 1 - strlen("{\"task\":\"task-1\",\"part\":\"\"}") + extra;
        size_t before = heard_of(1)->output.len, want = extra ? 0 : left;
        for (size_t n; left; left -= n)
            out(&f, p, piece, n = left < 65536 ? left : 65536);
        say(&f, p, "\"}\n");
        ck_assert_uint_eq(heard_of(1)->output.len - before, want);
    }
    /* results: an object of at most 512 KiB that can be made canonical */
    char *line = malloc(700000);
    int head = sprintf(line, "{\"task\":\"task-1\",\"result\":{\"a\":\"");
    memset(line + head, 'y', 600000);
    strcpy(line + head + 600000, "\"}}\n");
    for (size_t at = 0, n; at < strlen(line); at += n)
        out(&f, p, line + at, n = strlen(line) - at < 65536 ? strlen(line) - at : 65536);
    ck_assert_int_eq(heard_of(1)->status, KOS_E_LIMIT);
    static const char *const bad[] = { "[1]", "\"x\"", "{\"n\":9007199254740993}", "null" };
    for (size_t i = 0; i < 4; i++) {
        run(&f, &id, 10 + i, "[]");
        sprintf(line, "{\"task\":\"task-%d\",\"result\":%s}\n", (int)(10 + i), bad[i]);
        say(&f, p, line);
        ck_assert_msg(heard_of(10 + i)->status == KOS_E_AGENT, "%s: %d %s", bad[i], heard_of(10 + i)->status,
                      heard_of(10 + i)->text);
    }
    free(line);
    free(piece);
    end(&f);
}
END_TEST

static void say_part(struct fixture *f, struct kos_process *p, int task, size_t len)
{
    char head[64];
    char *text = malloc(len + 128);
    int n = snprintf(head, sizeof head, "{\"task\":\"task-%d\",\"part\":\"", task);
    memcpy(text, head, (size_t)n);
    memset(text + n, 'p', len);
    strcpy(text + n + len, "\"}\n");
    size_t total = strlen(text);
    for (size_t at = 0, step; at < total && p->credit; at += step) {
        step = total - at < 65536 ? total - at : 65536;
        out(f, p, text + at, step);
    }
    free(text);
}

START_TEST(test_slow_receiver)
{
    struct fixture f;
    begin(&f);
    struct klp_id id = add(&f, "count", KOS_STDIO, 4);
    run_credit(&f, &id, 1, "[]", 1000);
    run(&f, &id, 2, "[]");
    struct kos_process *p = process(&f, 0);
    say_part(&f, p, 1, 5000);
    ck_assert_uint_eq(heard_of(1)->output.len, 1000);
    kos_agents_credit(f.agents, &f.owner, 1, 500);
    ck_assert_uint_eq(heard_of(1)->output.len, 1000);
    kos_manual_settle(f.manual);
    ck_assert_uint_eq(heard_of(1)->output.len, 1500);
    /* The other task goes on, until much waits; then the agent as a whole is slowed down. */
    say_part(&f, p, 2, 10);
    ck_assert_uint_eq(heard_of(2)->output.len, 10);
    uint64_t window = p->credit;
    for (int i = 0; i < 12; i++)
        say_part(&f, p, 1, 100000);
    ck_assert_uint_lt(p->credit, window);
    kos_agents_credit(f.agents, &f.owner, 1, 5 << 20);
    kos_manual_settle(f.manual);
    ck_assert_uint_eq(heard_of(1)->output.len, 1205000);
    ck_assert_uint_eq(p->credit, window);
    /* An answer waits for the output before it. */
    run_credit(&f, &id, 3, "[]", 10);
    say_part(&f, p, 3, 100);
    say(&f, p, "{\"task\":\"task-3\",\"result\":{}}\n");
    ck_assert(!heard_of(3)->ended);
    kos_agents_credit(f.agents, &f.owner, 3, 90);
    kos_manual_settle(f.manual);
    ck_assert(heard_of(3)->ended && heard_of(3)->output.len == 100);
    /* Nobody takes it: that task ends, the others are free again. */
    run_credit(&f, &id, 4, "[]", 0);
    for (int i = 0; i < 20 && p->credit > 100200; i++)
        say_part(&f, p, 4, 100000);
    ck_assert_uint_lt(p->credit, 200000);
    kos_manual_advance(f.manual, 30000);
    ck_assert(has(taken(p), "{\"task\":\"task-4\",\"verb\":\"cancel\"}\n"));
    ck_assert_uint_eq(p->credit, window);
    say(&f, p, "{\"task\":\"task-4\",\"error\":\"cancelled\"}\n");
    ck_assert(heard_of(4)->status == KOS_E_BUSY && heard_of(4)->retry == 1);
    end(&f);
}
END_TEST

static void cancel_now(struct fixture *f, uint64_t number)
{
    kos_agents_cancel(f->agents, &f->owner, number);
}

/* The owner cancels while it is handed output; limits strike there too. */
START_TEST(test_cancel_within_output)
{
    struct fixture f;
    struct klp_id small;
    begin(&f);
    struct klp_id id = add(&f, "count", KOS_STDIO, 4);
    f.on_output = cancel_now;
    run(&f, &id, 1, "[]");
    struct kos_process *p = process(&f, 0);
    say(&f, p,
        "{\"task\":\"task-1\",\"part\":\"x\"}\n{\"task\":\"task-1\",\"part\":\"y\"}\n"
        "{\"task\":\"task-1\",\"result\":{}}\n");
    ck_assert_int_eq(heard_of(1)->status, KOS_E_CANCELLED);
    ck_assert_uint_eq(heard_of(1)->output.len, 1);
    f.on_output = NULL;
    struct kos_agent_spec spec = { .name = "small",
                                   .skills = two_skills,
                                   .executor = KOS_STDIO,
                                   .command = "x",
                                   .concurrency = 2,
                                   .output_max_bytes = 10 };
    ck_assert_int_eq(kos_agents_add(f.agents, &spec, NULL, NULL, &small, &f.error), KOS_OK);
    run(&f, &small, 2, "[]");
    p = process(&f, 1);
    say(&f, p, "{\"task\":\"task-2\",\"part\":\"0123456789\"}\n");
    ck_assert(!has(taken(p), "cancel"));
    say(&f, p, "{\"task\":\"task-2\",\"part\":\"x\"}\n");
    ck_assert(has(taken(p), "cancel"));
    say(&f, p, "{\"task\":\"task-2\",\"error\":\"cancelled\"}\n");
    ck_assert_int_eq(heard_of(2)->status, KOS_E_LIMIT);
    ck_assert_str_eq(heard_of(2)->text, "its output is larger than 10 bytes, the limit of agent small");
    end(&f);
}
END_TEST

struct answer {
    int count;
    int32_t status;
    char bytes[256], text[256];
};

static void answered(void *arg, int32_t status, struct kos_bytes bytes, const char *text)
{
    struct answer *a = arg;
    a->count++;
    a->status = status;
    snprintf(a->bytes, sizeof a->bytes, "%.*s", (int)bytes.len, bytes.len ? (const char *)bytes.data : "");
    snprintf(a->text, sizeof a->text, "%s", text);
}

START_TEST(test_snapshot_restore_probe)
{
    struct fixture f;
    struct answer a[8] = { 0 };
    begin(&f);
    struct klp_id id = add(&f, "count", KOS_STDIO, 4), plain = add(&f, "plain", KOS_EXEC, 1), nobody = { { 9 } };
    kos_agents_snapshot(f.agents, id.b, answered, &a[0]);
    kos_manual_settle(f.manual);
    struct kos_process *p = process(&f, 0);
    ck_assert_str_eq(taken(p), "{\"id\":\"r1\",\"verb\":\"snapshot\"}\n");
    say(&f, p, "{\"id\":\"r1\",\"snapshot\":{\"b\":1, \"a\":2}}\n");
    ck_assert(a[0].count == 1 && a[0].status == KOS_OK);
    ck_assert_str_eq(a[0].bytes, "{\"a\":2,\"b\":1}");
    kos_agents_restore(f.agents, id.b, kos_bytes_str(a[0].bytes), answered, &a[1]);
    ck_assert_str_eq(taken(p), "{\"id\":\"r2\",\"state\":{\"a\":2,\"b\":1},\"verb\":\"restore\"}\n");
    say(&f, p, "{\"id\":\"r2\",\"restored\":true}\n");
    ck_assert(a[1].count == 1 && a[1].status == KOS_OK);
    kos_agents_probe(f.agents, id.b, kos_bytes_str("[\"x\"]"), answered, &a[2]);
    ck_assert_str_eq(taken(p), "{\"id\":\"r3\",\"inputs\":[\"x\"],\"verb\":\"probe\"}\n");
    say(&f, p, "{\"id\":\"r3\",\"error\":\"unsupported\",\"text\":\"no probe here\"}\n");
    ck_assert(a[2].count == 1 && a[2].status == KOS_E_AGENT);
    ck_assert_str_eq(a[2].text, "no probe here");
    /* refused, late, lost */
    kos_agents_snapshot(f.agents, plain.b, answered, &a[3]);
    kos_agents_snapshot(f.agents, nobody.b, answered, &a[4]);
    kos_agents_restore(f.agents, id.b, kos_bytes_str("{ }"), answered, &a[5]);
    ck_assert_int_eq(a[3].count + a[4].count + a[5].count, 0);
    kos_manual_advance(f.manual, 1);
    ck_assert(a[3].status == KOS_E_UNSUPPORTED && a[4].status == KOS_E_NOTFOUND && a[5].status == KOS_E_INVALID);
    kos_agents_snapshot(f.agents, id.b, answered, &a[6]);
    kos_manual_advance(f.manual, 30000);
    ck_assert(a[6].count == 1 && a[6].status == KOS_E_TIMEOUT);
    kos_agents_snapshot(f.agents, id.b, answered, &a[7]);
    leave(&f, p, SIGSEGV);
    ck_assert(a[7].count == 1 && a[7].status == KOS_E_AGENT);
    end(&f);
}
END_TEST

START_TEST(test_removed_while_at_work)
{
    struct fixture f;
    begin(&f);
    struct klp_id id = add(&f, "count", KOS_STDIO, 4);
    run(&f, &id, 1, "[]");
    ck_assert_int_eq(kos_agents_remove(f.agents, "count", on_done, &f, &f.error), KOS_OK);
    kos_manual_settle(f.manual);
    struct kos_process *p = process(&f, 0);
    ck_assert(p->term);
    ck_assert(f.done == 1 && f.heard_count == 0);
    leave(&f, p, SIGTERM);
    ck_assert_int_eq(heard_of(1)->status, KOS_E_CANCELLED);
    ck_assert_int_eq(f.done, 2);
    /* One that waits for a back-off is not forgotten either. */
    id = add(&f, "count", KOS_STDIO, 4);
    for (uint64_t i = 10; i < 12; i++) {
        run(&f, &id, i, "[]");
        leave(&f, process(&f, f.started - 1), EXIT(1));
    }
    run(&f, &id, 12, "[]");
    ck_assert_int_eq(kos_agents_remove(f.agents, "count", on_done, &f, &f.error), KOS_OK);
    kos_manual_settle(f.manual);
    ck_assert_int_eq(heard_of(12)->status, KOS_E_CANCELLED);
    ck_assert_int_eq(f.done, 4);
    end(&f);
}
END_TEST

TESTS("agents/stdio", test_a_task, test_many_tasks, test_same_task_id, test_cancel, test_crash_and_back_off,
      test_cannot_start, test_nonsense, test_mutated_lines, test_huge_lines, test_slow_receiver,
      test_cancel_within_output, test_snapshot_restore_probe, test_removed_while_at_work)
