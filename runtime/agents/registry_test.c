/* SPDX-License-Identifier: Apache-2.0
 * Agents come, stay over restarts and go; runs by --exec; the audit trail. */
#include <signal.h>

#include "agents/fixture.h"

static const char *text_of(json_t *list, size_t index, const char *member)
{
    return json_string_value(json_object_get(json_array_get(list, index), member));
}

START_TEST(test_add_list_reopen)
{
    struct fixture f;
    begin(&f);
    struct klp_id echo = add(&f, "echo", KOS_EXEC, 2), count = add(&f, "count", KOS_STDIO, 8);
    ck_assert_int_eq(f.changes, 2);
    run(&f, &echo, 1, "[\"a\"]");
    leave(&f, process(&f, 0), EXIT(0));
    run(&f, &echo, 2, "[\"a\"]");
    leave(&f, process(&f, 1), EXIT(1));
    for (int again = 0; again < 2; again++) {
        json_t *list = kos_agents_list(f.agents);
        ck_assert_uint_eq(json_array_size(list), 2);
        ck_assert_str_eq(text_of(list, 0, "name"), "count");
        ck_assert_str_eq(text_of(list, 0, "executor"), "stdio");
        ck_assert_str_eq(text_of(list, 1, "address"), "klp://agent.echo.home.kai");
        ck_assert_str_eq(text_of(list, 1, "command"), "run me");
        json_t *first = json_array_get(list, 1);
        ck_assert_uint_eq(json_array_size(json_object_get(first, "skills")), 2);
        ck_assert_int_eq(json_integer_value(json_object_get(first, "done")), 1);
        ck_assert_int_eq(json_integer_value(json_object_get(first, "failed")), 1);
        ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(first, "audit"), "seq")), 5);
        ck_assert(json_real_value(json_object_get(first, "trust_required")) == 5.5);
        json_decref(list);
        const struct kos_agent_info *info = kos_agents_by_name(f.agents, "count");
        ck_assert_ptr_nonnull(info);
        ck_assert_int_eq(memcmp(info->id, count.b, sizeof info->id), 0);
        ck_assert_uint_eq(info->output_max_bytes, 64 << 20);
        ck_assert_ptr_eq(kos_agents_by_id(f.agents, count.b), info);
        ck_assert_str_eq(kos_agents_at(f.agents, 1)->skills[1], "count-words");
        ck_assert_ptr_null(kos_agents_at(f.agents, 2));
        ck_assert_ptr_null(kos_agents_by_name(f.agents, "nobody"));
        if (again == 0) {
            close_node(&f);
            open_node(&f);
        }
    }
    /* The identity is delegated by the node and its directory is there. */
    const struct klp_log *log = kos_identity_log(kos_keys_find(f.keys, &echo));
    ck_assert(klp_log_delegates(kos_identity_log(kos_keys_node(f.keys)), &echo, klp_log_identity(log)));
    char id[KLP_ID_TEXT], path[64];
    klp_id_text(&echo, id);
    snprintf(path, sizeof path, "/i/state/agents/%s", id);
    ck_assert_int_eq(f.env->ops->dir_make(f.env, path, 0700), KOS_E_EXISTS);
    end(&f);
}
END_TEST

START_TEST(test_bad_specs)
{
    struct fixture f;
    struct klp_id id;
    const char *const none[] = { NULL }, *const odd[] = { "Text", NULL };
    char *huge = malloc(9001);
    begin(&f);
    add(&f, "echo", KOS_EXEC, 1);
    memset(huge, 'x', 9000);
    huge[9000] = 0;
    struct kos_agent_spec good = { .name = "ok",
                                   .skills = two_skills,
                                   .executor = KOS_EXEC,
                                   .command = "cat",
                                   .concurrency = 1 },
                          bad[12];
    for (size_t i = 0; i < 12; i++)
        bad[i] = good;
    bad[0].name = "Echo", bad[1].name = "a.b", bad[2].name = "", bad[3].name = "-a", bad[4].skills = none,
    bad[5].skills = odd;
    bad[6].command = "", bad[7].command = huge, bad[8].trust_required = 10.5, bad[9].concurrency = 0,
    bad[10].concurrency = 257, bad[11].executor = 3;
    for (size_t i = 0; i < 12; i++) {
        ck_assert_int_eq(kos_agents_add(f.agents, &bad[i], on_done, &f, &id, &f.error), KOS_E_INVALID);
        ck_assert_uint_gt(strlen(f.error.text), 20);
    }
    good.name = "echo";
    ck_assert_int_eq(kos_agents_add(f.agents, &good, on_done, &f, &id, &f.error), KOS_E_EXISTS);
    ck_assert_uint_eq(kos_agents_count(f.agents), 1);
    free(huge);
    end(&f);
}
END_TEST

START_TEST(test_exec)
{
    struct fixture f;
    begin(&f);
    struct klp_id echo = add(&f, "echo", KOS_EXEC, 2);
    run(&f, &echo, 1, "[\"a\\n\",{\"base64\":\"AP8=\"},\"\\\"\"]");
    struct kos_process *p = process(&f, 0);
    ck_assert_str_eq(p->launch.command, "run me");
    ck_assert_str_eq(p->launch.name, "echo");
    ck_assert(p->in.len == 5 && memcmp(p->in.data, "a\n\0\xff\"", 5) == 0);
    ck_assert(p->closed_stdin);
    ck_assert_uint_eq(kos_agents_by_name(f.agents, "echo")->running, 1);
    out(&f, p, "one", 3);
    out(&f, p, "\0two", 4);
    ck_assert_uint_eq(heard_of(1)->output.len, 7);
    leave(&f, p, EXIT(0));
    struct heard *h = heard_of(1);
    ck_assert(h->ended && h->status == KOS_OK);
    ck_assert_str_eq(h->result, "{\"exit\":0}");
    ck_assert_uint_eq(kos_agents_by_name(f.agents, "echo")->running, 0);
    /* failures, in words */
    static const struct {
        const char *err;
        int32_t status;
        const char *text;
    } cases[] = {
        { "warning\nsed: \033[1mno\033[0m \xff such\t\n\n", EXIT(2),
          "sed: \\x1b[1mno\\x1b[0m \\xff such (exit status 2)" },
        { "", EXIT(1), "it ended with exit status 1 and said nothing on stderr" },
        { "", EXIT(127), "it ended with exit status 127 (a program was not found) and said nothing on stderr" },
        { "oh", SIGSEGV, "it was ended by signal 11 (Segmentation fault); the last it said: oh" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run(&f, &echo, 10 + i, "[]");
        p = process(&f, 1 + i);
        p->launch.err(p->launch.arg, kos_bytes_str(cases[i].err));
        leave(&f, p, cases[i].status);
        h = heard_of(10 + i);
        ck_assert_int_eq(h->status, KOS_E_AGENT);
        ck_assert_str_eq(h->text, cases[i].text);
        ck_assert_int_eq(h->retry, 0);
    }
    f.refuse_start = KOS_E_BUSY;
    run(&f, &echo, 20, "[]");
    ck_assert(heard_of(20)->status == KOS_E_BUSY && heard_of(20)->retry == 1);
    ck_assert_str_eq(heard_of(20)->text, "no process today");
    end(&f);
}
END_TEST

START_TEST(test_long_stderr)
{
    struct fixture f;
    char *flood = malloc(100000);
    begin(&f);
    struct klp_id echo = add(&f, "echo", KOS_EXEC, 2);
    memset(flood, 'x', 100000);
    run(&f, &echo, 1, "[]");
    struct kos_process *p = process(&f, 0);
    p->launch.err(p->launch.arg, kos_bytes(flood, 100000));
    p->launch.err(p->launch.arg, kos_bytes(flood, 3000));
    leave(&f, p, EXIT(1));
    ck_assert_uint_le(strlen(heard_of(1)->text), 511);
    run(&f, &echo, 2, "[]");
    p = process(&f, 1);
    p->launch.err(p->launch.arg, kos_bytes(flood, 100000));
    p->launch.err(p->launch.arg, kos_bytes_str("\nshort\n"));
    leave(&f, p, EXIT(1));
    ck_assert_str_eq(heard_of(2)->text, "short (exit status 1)");
    free(flood);
    end(&f);
}
END_TEST

START_TEST(test_refusals)
{
    struct fixture f;
    begin(&f);
    struct klp_id echo = add(&f, "echo", KOS_EXEC, 1), nobody = { { 1 } };
    run(&f, &nobody, 1, "[]");
    ck_assert_int_eq(heard_of(1)->status, KOS_E_NOTFOUND);
    run(&f, &echo, 2, "[]");
    run(&f, &echo, 3, "[]");
    ck_assert(heard_of(3)->status == KOS_E_BUSY && heard_of(3)->retry == 1);
    leave(&f, process(&f, 0), EXIT(0));
    static const char *const bad[] = {
        "", "{}", "[1]", "[ \"a\"]", "[{\"base64\":\"A\"}]", "[{\"base64\":\"\",\"x\":1}]", "[[]]", "[\"a\""
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        run(&f, &echo, 10 + i, bad[i]);
        ck_assert_msg(heard_of(10 + i)->status == KOS_E_INVALID, "%s", bad[i]);
    }
    struct kos_run r = {
        .size = sizeof r, .task = "t", .source = "s", .inputs = kos_bytes_str("[]"), .deadline_ms = kos_now_ms(f.env)
    };
    memcpy(r.agent, echo.b, sizeof r.agent);
    kos_agents_run(f.agents, &f.owner, 30, &r);
    kos_manual_settle(f.manual);
    ck_assert_int_eq(heard_of(30)->status, KOS_E_TIMEOUT);
    ck_assert_uint_eq(f.started, 1);
    /* Credit and cancel of what is not there do nothing. */
    kos_agents_credit(f.agents, &f.owner, 99, 1);
    kos_agents_cancel(f.agents, &f.owner, 99);
    end(&f);
}
END_TEST

START_TEST(test_stopping_runs)
{
    struct fixture f;
    begin(&f);
    struct klp_id echo = add(&f, "echo", KOS_EXEC, 8);
    run(&f, &echo, 1, "[]");
    kos_agents_cancel(f.agents, &f.owner, 1);
    ck_assert(process(&f, 0)->term);
    kos_manual_settle(f.manual);
    ck_assert_uint_eq(f.heard_count, 0);
    leave(&f, process(&f, 0), SIGTERM);
    ck_assert_int_eq(heard_of(1)->status, KOS_E_CANCELLED);
    /* even when it just made it */
    run(&f, &echo, 2, "[]");
    kos_agents_cancel(f.agents, &f.owner, 2);
    leave(&f, process(&f, 1), EXIT(0));
    ck_assert_int_eq(heard_of(2)->status, KOS_E_CANCELLED);
    run(&f, &echo, 3, "[]");
    kos_manual_advance(f.manual, 60000);
    ck_assert(process(&f, 2)->term);
    leave(&f, process(&f, 2), SIGTERM);
    ck_assert(heard_of(3)->status == KOS_E_TIMEOUT && heard_of(3)->retry == 1);
    /* the spawner broke it off */
    run(&f, &echo, 4, "[]");
    struct kos_error error = { KOS_E_LIMIT, "it had more than 256 processes" };
    process(&f, 3)->open = false;
    process(&f, 3)->launch.exited(process(&f, 3)->launch.arg, SIGKILL, &error);
    kos_manual_settle(f.manual);
    ck_assert_int_eq(heard_of(4)->status, KOS_E_LIMIT);
    ck_assert_str_eq(heard_of(4)->text, error.text);
    end(&f);
}
END_TEST

START_TEST(test_output_limit_and_credit)
{
    struct fixture f;
    struct klp_id id;
    begin(&f);
    struct kos_agent_spec spec = { .name = "small",
                                   .skills = two_skills,
                                   .executor = KOS_EXEC,
                                   .command = "x",
                                   .concurrency = 1,
                                   .output_max_bytes = 10240 };
    ck_assert_int_eq(kos_agents_add(f.agents, &spec, NULL, NULL, &id, &f.error), KOS_OK);
    char piece[4096] = { 0 };
    run_credit(&f, &id, 1, "[]", 5000);
    struct kos_process *p = process(&f, 0);
    ck_assert_uint_eq(p->credit, 5000);
    out(&f, p, piece, 4096);
    ck_assert_uint_eq(p->credit, 904);
    kos_agents_credit(f.agents, &f.owner, 1, 8000);
    ck_assert_uint_eq(p->credit, 8904);
    out(&f, p, piece, 4096);
    out(&f, p, piece, 2048);
    ck_assert(!p->term);
    out(&f, p, piece, 1);
    ck_assert(p->term);
    ck_assert_uint_eq(heard_of(1)->output.len, 10240);
    leave(&f, p, SIGTERM);
    ck_assert_int_eq(heard_of(1)->status, KOS_E_LIMIT);
    ck_assert_str_eq(heard_of(1)->text, "its output is larger than 10 KiB, the limit of agent small");
    end(&f);
}
END_TEST

START_TEST(test_remove)
{
    struct fixture f;
    begin(&f);
    struct klp_id echo = add(&f, "echo", KOS_EXEC, 2);
    ck_assert_int_eq(kos_agents_remove(f.agents, "nobody", on_done, &f, &f.error), KOS_E_NOTFOUND);
    run(&f, &echo, 1, "[]");
    int before = f.done;
    ck_assert_int_eq(kos_agents_remove(f.agents, "echo", on_done, &f, &f.error), KOS_OK);
    kos_manual_settle(f.manual);
    ck_assert_ptr_null(kos_agents_by_name(f.agents, "echo"));
    ck_assert_ptr_null(kos_agents_by_id(f.agents, echo.b));
    ck_assert_int_eq(f.done, before); /* its process still runs */
    ck_assert(process(&f, 0)->term);
    leave(&f, process(&f, 0), SIGTERM);
    ck_assert_int_eq(heard_of(1)->status, KOS_E_CANCELLED);
    ck_assert_int_eq(f.done, before + 1);
    ck_assert_int_eq(f.done_status, KOS_OK);
    struct klp_log *log = klp_log_clone(kos_identity_log(kos_keys_find(f.keys, &echo)));
    ck_assert(klp_log_revoked(log));
    /* added, run, removed, ended: the trail stays and is whole */
    uint64_t entries;
    ck_assert_msg(kos_audit_check(f.store, log, &entries, &f.error) == KOS_OK, "%s", f.error.text);
    ck_assert_uint_eq(entries, 4);
    /* The name is free for another agent. */
    struct klp_id other = add(&f, "echo", KOS_EXEC, 1);
    ck_assert(!klp_id_eq(&other, &echo));
    close_node(&f);
    open_node(&f);
    ck_assert_uint_eq(kos_agents_count(f.agents), 1);
    klp_log_free(log);
    end(&f);
}
END_TEST

START_TEST(test_remove_over_a_restart)
{
    struct fixture f;
    begin(&f);
    struct klp_id echo = add(&f, "echo", KOS_EXEC, 2);
    run(&f, &echo, 1, "[]");
    ck_assert_int_eq(kos_agents_remove(f.agents, "echo", on_done, &f, &f.error), KOS_OK);
    kos_manual_settle(f.manual);
    close_node(&f); /* killed in between: the process never ended for us */
    open_node(&f);
    ck_assert_uint_eq(kos_agents_count(f.agents), 0);
    ck_assert(klp_log_revoked(kos_identity_log(kos_keys_find(f.keys, &echo))));
    ck_assert_uint_eq(kos_store_count(f.store, "agent"), 0);
    end(&f);
}
END_TEST

START_TEST(test_stop)
{
    struct fixture f;
    begin(&f);
    struct klp_id echo = add(&f, "echo", KOS_EXEC, 2), line = add(&f, "line", KOS_STDIO, 2);
    run(&f, &echo, 1, "[]");
    run(&f, &line, 2, "[]");
    kos_agents_stop(f.agents, on_stopped, &f);
    kos_manual_settle(f.manual);
    ck_assert(!f.stopped && process(&f, 0)->term && process(&f, 1)->term);
    run(&f, &echo, 3, "[]");
    ck_assert_int_eq(heard_of(3)->status, KOS_E_INTERRUPTED);
    leave(&f, process(&f, 0), SIGTERM);
    ck_assert(!f.stopped);
    leave(&f, process(&f, 1), SIGTERM);
    ck_assert(f.stopped);
    ck_assert_int_eq(heard_of(1)->status, KOS_E_INTERRUPTED);
    ck_assert_int_eq(heard_of(2)->status, KOS_E_INTERRUPTED);
    ck_assert_uint_eq(f.started, 2);
    end(&f);
}
END_TEST

/* ---- the trail ---- */

struct found {
    uint8_t key[24], value[4096];
    size_t len;
    uint64_t at, count;
};

static bool note_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct found *found = arg;
    if (found->count++ == found->at) {
        memcpy(found->key, key.data, sizeof found->key);
        memcpy(found->value, value.data, value.len);
        found->len = value.len;
    }
    return true;
}

static void entry(struct fixture *f, uint64_t at, struct found *ret_found)
{
    *ret_found = (struct found){ .at = at };
    kos_store_scan(f->store, "audit", kos_bytes(NULL, 0), kos_bytes(NULL, 0), note_entry, ret_found);
    ret_found->value[ret_found->len] = 0;
}

static void put_entry(struct fixture *f, const struct found *found, size_t len)
{
    struct kos_tx *tx = kos_tx_begin(f->store);
    if (len)
        kos_tx_put(tx, "audit", kos_bytes(found->key, sizeof found->key), kos_bytes(found->value, len));
    else
        kos_tx_delete(tx, "audit", kos_bytes(found->key, sizeof found->key));
    ck_assert_int_eq(kos_tx_commit(tx, NULL, NULL), KOS_OK);
    kos_manual_settle(f->manual);
}

START_TEST(test_audit)
{
    struct fixture f;
    struct found found;
    uint64_t entries;
    begin(&f);
    struct klp_id echo = add(&f, "echo", KOS_EXEC, 2);
    run(&f, &echo, 1, "[\"hello\"]");
    out(&f, process(&f, 0), "HELLO", 5);
    leave(&f, process(&f, 0), EXIT(0));
    const struct klp_log *log = kos_identity_log(kos_keys_find(f.keys, &echo));
    ck_assert_msg(kos_audit_check(f.store, log, &entries, &f.error) == KOS_OK, "%s", f.error.text);
    ck_assert_uint_eq(entries, 3);
    entry(&f, 2, &found);
    static const char *const has[] = {
        "\"event\":\"ended\"",
        "\"bytes\":5",
        "\"status\":\"ok\"",
        "\"task\":\"task-1\"",
        "\"source\":\"klp://node.laptop.kai\"",
        "\"seq\":2",
        /* sha256sum of HELLO and of ["hello"] */
        "\"output\":\"0x3733cd977ff8eb18b987357e22ced99f46097f31ecb239e878ae63760e83e4d5\"",
        "\"input\":\"0xc7a0f7154e64cd96c617f251dc12c4396b7234c2856ccf4860ab7af537dfcdd9\"",
    };
    for (size_t i = 0; i < sizeof has / sizeof *has; i++)
        ck_assert_msg(strstr((char *)found.value, has[i]) != NULL, "%s not in %s", has[i], (char *)found.value);
    /* What the owner was told is the digest of that entry, and the head. */
    struct klp_digest head;
    ck_assert_int_eq(kos_audit_head(f.store, &echo, &entries, &head), KOS_OK);
    ck_assert_int_eq(memcmp(heard_of(1)->audit, head.b, 32), 0);
    end(&f);
}
END_TEST

START_TEST(test_audit_tampered)
{
    struct fixture f;
    struct found found, other;
    uint64_t entries;
    begin(&f);
    struct klp_id echo = add(&f, "echo", KOS_EXEC, 2);
    for (uint64_t i = 0; i < 3; i++) {
        run(&f, &echo, 1 + i, "[\"hello\"]");
        leave(&f, process(&f, i), EXIT(0));
    }
    const struct klp_log *log = kos_identity_log(kos_keys_find(f.keys, &echo));
    /* each byte of an entry matters; none may be changed to another canonical text or any other */
    entry(&f, 3, &found);
    for (size_t at = 0; at < found.len; at += 7) {
        struct found changed = found;
        changed.value[at] ^= 1;
        put_entry(&f, &changed, found.len);
        ck_assert_msg(kos_audit_check(f.store, log, &entries, &f.error) < 0, "byte %zu", at);
        ck_assert_ptr_nonnull(strstr(f.error.text, "entry 3"));
    }
    put_entry(&f, &found, found.len);
    ck_assert_int_eq(kos_audit_check(f.store, log, &entries, &f.error), KOS_OK);
    /* left out, in the middle and at the end; put in another's place */
    put_entry(&f, &found, 0);
    ck_assert_int_eq(kos_audit_check(f.store, log, &entries, &f.error), KOS_E_CORRUPT);
    put_entry(&f, &found, found.len);
    entry(&f, 6, &other);
    put_entry(&f, &other, 0);
    ck_assert_int_eq(kos_audit_check(f.store, log, &entries, &f.error), KOS_E_CORRUPT);
    memcpy(other.value, found.value, found.len);
    put_entry(&f, &other, found.len);
    ck_assert_int_eq(kos_audit_check(f.store, log, &entries, &f.error), KOS_E_CORRUPT);
    end(&f);
}
END_TEST

/* Without a trail nothing runs. */
START_TEST(test_no_audit_no_run)
{
    struct fixture f;
    begin(&f);
    struct klp_id echo = add(&f, "echo", KOS_EXEC, 2);
    kos_manual_fail_files(f.manual, 1, KOS_E_NOSPACE);
    run(&f, &echo, 1, "[]"); /* the store notices that the disk is full while this one runs */
    kos_manual_settle(f.manual);
    size_t started = f.started;
    run(&f, &echo, 2, "[]");
    ck_assert_int_eq(heard_of(2)->status, KOS_E_NOSPACE);
    ck_assert_uint_eq(f.started, started);
    kos_manual_fail_files(f.manual, 0, 0);
    end(&f);
}
END_TEST

TESTS("agents/registry", test_add_list_reopen, test_bad_specs, test_exec, test_long_stderr, test_refusals,
      test_stopping_runs, test_output_limit_and_credit, test_remove, test_remove_over_a_restart, test_stop, test_audit,
      test_audit_tampered, test_no_audit_no_run)
