/* SPDX-License-Identifier: Apache-2.0
 * Each test in a child of its own: bounded in time and memory, its verdict in shared memory, its crash a failure that
 * names the signal and the call into the plugin that was under way. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "driver/manifest.h"
#include "report.h"

enum { DESCRIBE_MS = 10000, STDERR_NO = 2 };
#define MEMORY_MAX ((rlim_t)4 << 30)

static const char *hosting_name(enum hosting hosting)
{
    return hosting == HOSTING_CELL ? "cell" : "process";
}

/* ---- children ---- */

static void bounds(void)
{
    struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
#if !defined(__SANITIZE_ADDRESS__)
    struct rlimit memory = { MEMORY_MAX, MEMORY_MAX };
    setrlimit(RLIMIT_AS, &memory);
#endif
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Waits for a child that leads its group; false: it had to be killed. The group goes with it in any case. */
static bool reap(pid_t pid, uint64_t ms, int *ret_status)
{
    sigset_t set;
    uint64_t end = now_ms() + ms;
    bool ended = false;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    while (!(ended = waitpid(pid, ret_status, WNOHANG) != 0)) {
        uint64_t now = now_ms();
        if (now >= end)
            break;
        struct timespec wait = { (time_t)((end - now) / 1000), (long)((end - now) % 1000) * 1000000 };
        sigtimedwait(&set, NULL, &wait);
    }
    kill(-pid, SIGKILL);
    if (!ended)
        waitpid(pid, ret_status, 0);
    return ended;
}

static pid_t spawn(void)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        sigset_t set;
        sigemptyset(&set);
        sigprocmask(SIG_SETMASK, &set, NULL);
        bounds();
    } else if (pid > 0) {
        setpgid(pid, pid);
    }
    return pid;
}

static void *shared(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        fprintf(stderr, "kos-conform: no shared memory: %s\n", strerror(errno));
        exit(2);
    }
    return at;
}

/* ---- what is said ---- */

static void say_quoted(const char *text)
{
    /* At most 100 columns, broken at spaces. */
    for (int column = 0; *text;) { /* 0: begins a line */
        size_t word = strcspn(text, " ");
        if (column == 0 || column + (int)word + 1 > 96) {
            printf("%s", column ? "\n#           " : "");
            column = 0;
        } else {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)word, text);
        column += (int)word;
        text += word + (text[word] == ' ');
    }
    putchar('\n');
}

static void say(const struct options *o, const struct test *test, enum hosting hosting, uint64_t seed,
                uint64_t ms, const struct verdict *v, struct tally *tally)
{
    const struct rule_text *rule = &conform_rules[v->rule];
    const char *state = v->outcome == OUTCOME_BROKE ? "broke" : v->outcome == OUTCOME_SKIPPED ? "skipped" : "passed";
    tally->number++;
    tally->passed += v->outcome == OUTCOME_PASSED;
    tally->skipped += v->outcome == OUTCOME_SKIPPED;
    tally->broke += v->outcome == OUTCOME_BROKE;
    if (o->json) {
        json_t *one = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "suite", test->suite, "test", test->name, "hosting",
                                hosting_name(hosting), "outcome", state, "seed", (json_int_t)seed,
                                "ms", (json_int_t)ms);
        if (v->outcome == OUTCOME_BROKE)
            json_object_update_new(one, json_pack("{s:s, s:s, s:s, s:s}", "rule", rule->name, "header", rule->header,
                                                  "sentence", rule->sentence, "last_call", v->last));
        if (v->seen[0])
            json_object_set_new(one, "seen", json_stringn_nocheck(v->seen, strlen(v->seen)));
        json_array_append_new(tally->results, one);
        return;
    }
    const char *on = !o->colour ? "" : v->outcome == OUTCOME_BROKE ? "\033[31m" : v->outcome == OUTCOME_SKIPPED ?
        "\033[33m" : "\033[32m";
    printf("%s%s%s %d - %s/%s: %s%s%s\n", on, v->outcome == OUTCOME_BROKE ? "not ok" : "ok", o->colour ? "\033[0m" : "",
           tally->number, test->suite, test->name, test->what,
           hosting == HOSTING_CELL ? ", in a cell" : "", v->outcome == OUTCOME_SKIPPED ? " # SKIP " : "");
    if (v->outcome == OUTCOME_SKIPPED)
        printf("# %s\n", v->seen);
    if (v->outcome != OUTCOME_BROKE)
        return;
    if (v->rule != RULE_NONE) {
        printf("#   broken  [%s] %s:\n", rule->name, rule->header);
        printf("#           ");
        say_quoted(rule->sentence);
    }
    printf("#   seen    %s\n", v->seen);
    printf("#   last    %s\n", v->last[0] ? v->last : "(the plugin was not called)");
    printf("#   again   kos-conform --no-fork --hosting %s --suite %s --test %s --seed %llu ... %s\n",
           hosting_name(hosting), test->suite, test->name, (unsigned long long)seed, o->path);
}

/* A verdict for a child that gave none. */
static void judge_end(bool ended, int status, uint64_t timeout_ms, struct verdict *v)
{
    if (v->outcome != OUTCOME_RUNNING)
        return;
    v->outcome = OUTCOME_BROKE;
    v->rule = v->suspect ? v->suspect : RULE_ABI_PROCESS;
    if (!ended) {
        v->rule = RULE_ABI_SOON;
        snprintf(v->seen, sizeof v->seen, "%s did not return within %llu ms, the test's whole time", v->last,
                 (unsigned long long)timeout_ms);
    } else if (WIFSIGNALED(status)) {
        int sig = WTERMSIG(status);
        snprintf(v->seen, sizeof v->seen, "the process ended in %s with SIG%s (%s)", v->last, sigabbrev_np(sig),
                 sigdescr_np(sig));
    } else {
        snprintf(v->seen, sizeof v->seen, "the process ended in %s by exit(%d)", v->last, WEXITSTATUS(status));
    }
}

void conform_test(const struct options *o, const struct module *module, const struct test *test, enum hosting hosting,
                  uint64_t seed, struct tally *tally)
{
    int status = 0;
    struct verdict *v = shared(sizeof *v);
    uint64_t begun = now_ms();
    if (o->no_fork)
        conform_run(o, module, test, hosting, seed, v);
    pid_t pid = spawn();
    if (pid == 0)
        conform_run(o, module, test, hosting, seed, v);
    if (pid < 0) {
        fprintf(stderr, "kos-conform: no process for a test: %s\n", strerror(errno));
        exit(2);
    }
    bool ended = reap(pid, o->timeout_ms, &status);
    if (ended && WIFEXITED(status) && WEXITSTATUS(status) == 2 && v->outcome == OUTCOME_RUNNING)
        exit(2); /* it said why */
    judge_end(ended, status, o->timeout_ms, v);
    if (v->directory[0])
        remove_tree(v->directory);
    say(o, test, hosting, seed, now_ms() - begun, v, tally);
    munmap(v, sizeof *v);
}

/* ---- describing ---- */

struct described {
    struct verdict verdict;
    int32_t rc;
    size_t len;
    char text[KOS_MANIFEST_JSON];
};

static void describe(const char *path, struct described *d)
{
    const struct kos_plugin *plugin;
    struct kos_plugin checked;
    struct kos_error error = { 0 };
    snprintf(d->verdict.last, sizeof d->verdict.last, "%s", "loading");
    d->rc = kos_module_open(path, &plugin, &error);
    if (d->rc >= 0)
        d->rc = kos_manifest_check(path, plugin, &checked, &error);
    if (d->rc < 0) {
        snprintf(d->verdict.seen, sizeof d->verdict.seen, "%s", error.text);
        d->verdict.rule = RULE_ABI_ENTRY;
        d->verdict.outcome = OUTCOME_BROKE;
        _exit(0);
    }
    d->len = json_dumpb(kos_manifest_json(&checked), d->text, sizeof d->text, JSON_COMPACT);
    d->verdict.outcome = OUTCOME_PASSED;
    _exit(0);
}

bool conform_describe(const struct options *o, struct module *ret_module, struct tally *tally)
{
    static const struct test test = { "plugin", "manifest", "what it says of itself is sound", NULL, NULL };
    struct described *d = shared(sizeof *d);
    struct kos_error error;
    int status = 0;
    pid_t pid = spawn();
    if (pid == 0)
        describe(o->path, d);
    bool ended = pid > 0 && reap(pid, DESCRIBE_MS, &status);
    judge_end(ended, status, DESCRIBE_MS, &d->verdict);
    if (!o->list)
        say(o, &test, HOSTING_PROCESS, o->seed, 0, &d->verdict, tally);
    bool sound = d->verdict.outcome == OUTCOME_PASSED && d->len > 0 && d->len <= sizeof d->text;
    if (sound) {
        ret_module->description = json_loadb(d->text, d->len, 0, NULL);
        sound = ret_module->description && kos_schema_new(o->path, ret_module->description, &ret_module->schema,
                                                          &error) >= 0;
    }
    munmap(d, sizeof *d);
    return sound;
}
