/* SPDX-License-Identifier: Apache-2.0
 * One test in its process: what it stands on, how it waits, how it ends. */
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conform.h"

const struct rule_text conform_rules[RULE_COUNT] = {
    [RULE_NONE] = { "", "", "" },
#define CONFORM_RULE_TEXT_(constant, name, header, sentence) [RULE_##constant] = { name, header, sentence },
    CONFORM_RULES(CONFORM_RULE_TEXT_)
#undef CONFORM_RULE_TEXT_
};

/* ---- the end of a test ---- */

void conform_broken(void)
{
    __asm__ volatile(""); /* a place for a breakpoint, not to be optimised away */
}

/* What tests leave behind: plain files, one folder deep and deeper. */
void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char *name = kos_format("%s/%s", path, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && unlink(name) < 0)
            remove_tree(name);
        free(name);
    }
    if (dir)
        closedir(dir);
    rmdir(path);
}

_Noreturn static void end(struct conform *c, enum outcome outcome, enum rule rule, const char *format, va_list args)
{
    vsnprintf(c->verdict->seen, sizeof c->verdict->seen, format, args);
    c->verdict->rule = rule;
    c->verdict->outcome = outcome;
    remove_tree(c->directory);
    if (outcome == OUTCOME_BROKE)
        conform_broken();
    /* Not exit: threads and instances of the plugin stand as they are. */
    _exit(0);
}

_Noreturn void broke(struct conform *c, enum rule rule, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    end(c, OUTCOME_BROKE, rule, format, args);
}

_Noreturn void skip(struct conform *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    end(c, OUTCOME_SKIPPED, RULE_NONE, format, args);
}

/* ---- waiting ---- */

static void late(void *arg)
{
    struct conform *c = arg;
    c->late = true;
}

static void turned(struct kos_turn_end *hook)
{
    struct conform *c = (struct conform *)((char *)hook - offsetof(struct conform, turn_end));
    if (c->late || c->events != c->seen)
        kos_loop_stop(c->loop);
}

void wait_begin(struct conform *c, uint64_t ms)
{
    c->late = false;
    kos_timer_set(c->env, c->timer, ms);
}

bool wait_step(struct conform *c)
{
    if (c->late)
        return false;
    c->seen = c->events;
    kos_loop_run(c->loop);
    return !c->late || c->events != c->seen;
}

void settle(struct conform *c)
{
    for (int i = 0; i < 50; i++) {
        uint64_t before = c->events;
        WAIT(c, QUIET_MS, c->events != before);
        if (c->events == before)
            return;
    }
}

uint64_t soon(const struct conform *c)
{
    return c->options->timeout_ms / 5 < 6000 ? c->options->timeout_ms / 5 : 6000;
}

uint64_t draw(struct conform *c, uint64_t below)
{
    c->random = c->random * 6364136223846793005u + 1442695040888963407u;
    uint64_t x = c->random;
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdu;
    return below ? (x ^ x >> 33) % below : 0;
}

/* ---- what it stands on ---- */

static void copy_file(const char *from, const char *to)
{
    char block[4096];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (ssize_t n; in >= 0 && out >= 0 && (n = read(in, block, sizeof block)) > 0;)
        if (write(out, block, (size_t)n) != n)
            break;
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
}

static void copy_files(const char *from, const char *to)
{
    DIR *dir = opendir(from);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct stat st;
        char *in = kos_format("%s/%s", from, entry->d_name), *out = kos_format("%s/%s", to, entry->d_name);
        if (entry->d_name[0] != '.' && stat(in, &st) == 0 && S_ISDIR(st.st_mode)) {
            mkdir(out, 0700);
            copy_files(in, out);
        } else if (entry->d_name[0] != '.') {
            copy_file(in, out);
        }
        free(in);
        free(out);
    }
    if (dir)
        closedir(dir);
}

int count_entries(const char *path)
{
    DIR *dir = opendir(path);
    int n = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n;
}

void conform_run(const struct options *options, const struct module *module, const struct test *test,
                 enum hosting hosting, uint64_t seed, struct verdict *verdict)
{
    struct conform c = { .options = options, .module = module, .test = test, .hosting = hosting, .verdict = verdict,
                         .random = seed * 0x9e3779b97f4a7c15u + 1, .loud = options->verbose };
    struct kos_error error;
    const char *base = getenv("TMPDIR");
    snprintf(c.directory, sizeof c.directory, "%.40s/kos-conform-XXXXXX", base && strlen(base) <= 40 ? base : "/tmp");
    if (!mkdtemp(c.directory) || kos_loop_new(2, KOS_LOG_STDERR, &c.loop, &error) < 0) {
        fprintf(stderr, "kos-conform: no temporary directory or no event loop for a test\n");
        _exit(2);
    }
    snprintf(verdict->directory, sizeof verdict->directory, "%s", c.directory);
    if (options->files)
        copy_files(options->files, c.directory);
    c.env = kos_loop_env(c.loop);
    /* A cell keeps to itself what is above the level. */
    kos_loop_set_level(c.loop, hosting == HOSTING_CELL ? KOS_LOG_DEBUG : KOS_LOG_WARNING);
    c.timer = kos_timer_new(c.env, late, &c);
    c.turn_end.run = turned;
    c.turn_end.order = 100;
    c.env->ops->turn_end_add(c.env, &c.turn_end);
    settle(&c); /* the loop's own threads are there before threads are counted */
    c.threads = count_entries("/proc/self/task");
    test->run(&c);
    while (c.hosts)
        host_end(c.hosts);
    remove_tree(c.directory);
    verdict->outcome = OUTCOME_PASSED;
    _exit(0);
}
