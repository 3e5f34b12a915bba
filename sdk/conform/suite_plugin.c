/* SPDX-License-Identifier: Apache-2.0
 * Life, whatever the kind: begins and ends in every order, under hosts older and newer, with what settings allow, and
 * leaves nothing behind. */
#include <locale.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conform.h"

void exercise(struct host *h)
{
    static const struct { const char *feature; void (*run)(struct host *h); } kinds[] = {
        { KOS_TRANSPORT, exercise_transport }, { KOS_HANDLER, exercise_handler },
        { KOS_DISCOVERY, exercise_discovery }, { KOS_BRIDGE, exercise_bridge },
        { KOS_VECTOR, exercise_vector },       { KOS_CONTROL, exercise_control },
        { KOS_AGENTS_USER, exercise_agents },  { KOS_HTTP_USER, exercise_http },
        { KOS_HTTP_SERVICE, exercise_service }, { KOS_STREAM_USER, exercise_stream },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && living(h); i++)
        if (module_offers(h->c->module, kinds[i].feature))
            kinds[i].run(h);
}

/* ---- life ---- */

static void test_life(struct conform *c)
{
    struct host *h = host_new(c);
    host_begin(h);
    settle(c);
    host_end(h);
}

static void test_stop_at_once(struct conform *c)
{
    struct host *h = host_new(c);
    host_begin(h);
    host_end(h);
}

static void test_never_started(struct conform *c)
{
    for (int i = 0; i < 3; i++) {
        struct host *h = host_new(c);
        struct kos_error error = { 0 };
        if (host_init(h, &error) < 0)
            broke(c, RULE_CONF_VALUES, "init refused settings that its own schema allows: %s", error.text);
        h->life = HOST_STOPPING;
        h->backend->ops->stop(h->backend);
        host_end(h);
    }
}

static void test_again(struct conform *c)
{
    struct host *before = host_new(c);
    host_begin(before);
    exercise(before);
    host_stop(before);
    struct host *after = host_new(c);
    state_move(before, after);
    host_free(before);
    host_begin(after);
    exercise(after);
    host_end(after);
}

static void test_two(struct conform *c)
{
    struct host *one = host_new(c), *two = host_new(c);
    struct kos_error error = { 0 };
    host_begin(one);
    if (host_init(two, &error) < 0)
        skip(c, "it allows one instance only: %s", error.text);
    two->backend->ops->start(two->backend);
    settle(c);
    exercise(one);
    host_end(one);
    exercise(two);
    host_end(two);
}

/* Counts what the exercise causes, then stops after the first, the second, ... event of as many runs. */
static void test_teardown(struct conform *c)
{
    struct host *h = host_new(c);
    host_begin(h);
    exercise(h);
    uint64_t all = h->events;
    host_end(h);
    uint64_t step = all > 40 ? all / 20 : 1;
    for (uint64_t k = 1; k <= all; k += 1 + draw(c, step)) {
        h = host_new(c);
        h->stop_at = k;
        host_begin(h);
        exercise(h);
        host_end(h);
    }
}

/* Stops while what it asked of the host is not answered. */
static void test_teardown_held(struct conform *c)
{
    struct host *h = host_new(c);
    h->hold = true;
    host_begin(h);
    settle(c);
    if (module_offers(c->module, KOS_HANDLER))
        give_message(h, json_string_value(json_array_get(json_object_get(c->module->description, "types"), 0)), "{}",
                     false);
    if (module_offers(c->module, KOS_TRANSPORT))
        h->backend->ops->dial(h->backend, link_new(h), "tcp://127.0.0.1:1");
    settle(c);
    host_end(h);
}

/* ---- hosts of other versions ---- */

static void test_older(struct conform *c)
{
    struct host *h = host_new(c);
    struct kos_error error = { 0 };
    h->refuse.features = true;
    c->verdict->suspect = RULE_ABI_FEATURE;
    if (host_init(h, &error) < 0) {
        if (!error.text[0])
            broke(c, RULE_PLUGIN_ERROR, "init failed without a sentence");
        skip(c, "it needs a feature: %s", error.text);
    }
    h->backend->ops->start(h->backend);
    settle(c);
    host_end(h);
}

/* Values and their list as a later minor passes them: longer, with junk behind. */
static struct kos_conf *longer_conf(const struct kos_conf *conf)
{
    enum { MORE = 64 };
    size_t count = 0;
    while (conf->values[count])
        count++;
    size_t one = sizeof(struct kos_value) + MORE;
    uint8_t *block = kos_new(sizeof(struct kos_conf) + MORE + (count + 1) * sizeof(void *) + count * one);
    struct kos_conf *to = (struct kos_conf *)(void *)block;
    const struct kos_value **list = (const struct kos_value **)(void *)(block + sizeof *to + MORE);
    uint8_t *at = (uint8_t *)(list + count + 1);
    memset(block + sizeof *to, 0x5a, MORE);
    for (size_t i = 0; i < count; i++, at += one) {
        struct kos_value *value = (struct kos_value *)(void *)at;
        *value = *conf->values[i];
        value->size = (uint32_t)one;
        memset(value + 1, 0x5a, MORE);
        list[i] = value;
    }
    to->size = (uint32_t)(sizeof *to + MORE);
    to->values = list;
    return to;
}

static void test_newer(struct conform *c)
{
    struct host *h = host_new(c);
    struct kos_error error = { 0 };
    struct kos_conf *plain;
    if (module_settings(c->options, c->module, c->directory, &plain, &error) < 0) {
        fprintf(stderr, "kos-conform: %s\n", error.text);
        _exit(2);
    }
    h->conf = longer_conf(plain);
    h->strict.newer = true;
    c->verdict->suspect = RULE_ABI_SIZE;
    if (host_init(h, &error) < 0)
        broke(c, RULE_ABI_SIZE, "init refused a host of a later minor: %s", error.text);
    h->backend->ops->start(h->backend);
    settle(c);
    exercise(h);
    host_stop(h);
    free(h->conf);
    h->conf = plain;
    host_end(h);
}

/* ---- init ---- */

/* One setting after the other at its least and its most. A value that the schema cannot judge (a file that is not
 * there) may be refused, in words. */
static void test_bounds(struct conform *c)
{
    size_t count = 0;
    for (const struct kos_setting *const *s = c->module->schema; *s; s++) {
        bool counted = (*s)->type == KOS_SETTING_INT || (*s)->type == KOS_SETTING_DURATION ||
            (*s)->type == KOS_SETTING_SIZE;
        for (int i = 0; counted && (*s)->min != (*s)->max && i < 2; i++) {
            struct host *h = host_new(c);
            struct kos_error error = { 0 };
            if (module_settings(c->options, c->module, c->directory, &h->conf, &error) < 0)
                _exit(2);
            struct kos_value *value = (struct kos_value *)(uintptr_t)kos_conf_get(h->conf, (*s)->name);
            value->number = i ? (*s)->max : (*s)->min;
            int32_t rc = host_init(h, &error);
            /* What depends on other settings no schema can say: then the sentence names the setting. */
            if (rc < 0 && !strstr(error.text, (*s)->name))
                broke(c, RULE_CONF_VALUES, "init refused %s = %lld, which its schema allows: %s", (*s)->name,
                      (long long)value->number, error.text);
            if (rc >= 0) {
                h->backend->ops->start(h->backend);
                settle(c);
            }
            host_end(h);
            count++;
        }
    }
    if (count == 0)
        skip(c, "none of its settings has bounds");
}

/* Texts that the schema lets through: whatever init says, it says it in words and leaves nothing. */
static void test_texts(struct conform *c)
{
    static const char *const texts[] = { "", "\xc3\xa9\xe2\x82\xac", "/nowhere/at/all", "%s%n%s%n", "a\tb", "-1",
                                         "://", "../../..", "{}", "[", "\"" };
    size_t count = 0;
    for (const struct kos_setting *const *s = c->module->schema; *s; s++)
        for (size_t i = 0;
             (*s)->type == KOS_SETTING_STRING && !(*s)->choices && i < sizeof texts / sizeof *texts; i++) {
            struct host *h = host_new(c);
            struct kos_error error = { 0 };
            if (((*s)->min || (*s)->max) &&
                ((int64_t)strlen(texts[i]) < (*s)->min || (int64_t)strlen(texts[i]) > (*s)->max)) {
                host_free(h);
                continue;
            }
            if (module_settings(c->options, c->module, c->directory, &h->conf, &error) < 0)
                _exit(2);
            struct kos_value *value = (struct kos_value *)(uintptr_t)kos_conf_get(h->conf, (*s)->name);
            const char *own = value->text;
            value->text = texts[i];
            int32_t rc = host_init(h, &error);
            if (rc < 0 && (strstr(error.text, kos_error_text(rc)) && error.text[strlen(error.text) - 1] == ' '))
                broke(c, RULE_PLUGIN_ERROR, "init failed without a sentence");
            if (rc >= 0) {
                h->backend->ops->start(h->backend);
                settle(c);
                host_stop(h);
            }
            value->text = own;
            host_end(h);
            count++;
        }
    if (count == 0)
        skip(c, "none of its settings is a text of any sort");
}

/* ---- events ---- */

static void test_foreign_events(struct conform *c)
{
    struct host *h = host_new(c);
    const struct kos_backend_ops *ops;
    host_begin(h);
    settle(c);
    ops = h->backend->ops;
    c->verdict->suspect = RULE_ABI_CROSS;
    if (module_offers(c->module, KOS_TRANSPORT)) {
        ops->send(h->backend, 1u << 30, &(struct kos_bytes){ (const uint8_t *)"x", 1 }, 1);
        ops->link_credit(h->backend, 1u << 30, 100);
        ops->link_close(h->backend, 1u << 30, true);
        ops->endpoint_close(h->backend, 1u << 30);
    }
    if (module_offers(c->module, KOS_CONTROL))
        ops->hangup(h->backend, 1u << 30);
    if (module_offers(c->module, KOS_DISCOVERY))
        ops->find_cancel(h->backend, 1u << 30);
    if (module_offers(c->module, KOS_HTTP_SERVICE)) {
        struct kos_http_message m = { .size = sizeof m, .status = 200 };
        ops->http_respond(h->backend, 1u << 30, &m);
        ops->http_cancel(h->backend, 1u << 30);
        ops->http_unserve(h->backend, "/nobody/has/it/");
    }
    settle(c);
    host_end(h);
}

/* ---- what the host refuses ---- */

static const int32_t codes[] = { KOS_E_BUSY,  KOS_E_NOSPACE, KOS_E_LIMIT,   KOS_E_INVALID, KOS_E_DENIED, KOS_E_IO,
                                 KOS_E_TRUST, KOS_E_QUOTA,   KOS_E_TIMEOUT, KOS_E_NOMEM,   -1000 };

static void test_refusals(struct conform *c)
{
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct host *h = host_new(c);
        h->refuse.open = h->refuse.state = h->refuse.tx = h->refuse.secret = codes[i];
        h->refuse.sign = h->refuse.inject = h->refuse.run = h->refuse.http = codes[i];
        host_begin(h);
        settle(c);
        exercise(h);
        host_end(h);
    }
}

/* ---- what is left behind ---- */

static size_t memory(void)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
    return mallinfo2().uordblks;
#else
    return 0;
#endif
}

static void cycle(struct conform *c)
{
    struct host *h = host_new(c);
    host_begin(h);
    exercise(h);
    host_end(h);
}

static void test_leaks(struct conform *c)
{
    enum { WARM = 4, ROUNDS = 4, LEAST = 16 };
    size_t bytes[3] = { 0 };
    int fds[3] = { 0 };
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < (i ? ROUNDS : WARM); k++) {
            c->random = 7; /* each round does the same */
            cycle(c);
        }
        bytes[i] = memory();
        fds[i] = count_entries("/proc/self/fd");
    }
    if (fds[1] > fds[0] && fds[2] > fds[1])
        broke(c, RULE_HOST_OPEN, "descriptors are left open: %d, %d and %d after as many more lives of an instance",
              fds[0], fds[1], fds[2]);
    /* A steady loss in each life, not what a library keeps for the next one. */
    if (bytes[1] >= bytes[0] + ROUNDS * LEAST && bytes[2] >= bytes[1] + ROUNDS * LEAST)
        broke(c, RULE_PLUGIN_FINI, "each life of an instance leaves some %zu bytes of memory allocated",
              (bytes[2] - bytes[0]) / (2 * ROUNDS));
}

static void test_process(struct conform *c)
{
    char cwd[2][4096] = { "", "" };
    mode_t masks[2];
    struct sigaction actions[2][32];
    extern char **environ;
    size_t variables[2];
    for (int i = 0; i < 2; i++) {
        masks[i] = umask(077);
        umask(masks[i]);
        for (int sig = 1; sig < 32; sig++)
            sigaction(sig, NULL, &actions[i][sig]);
        if (!getcwd(cwd[i], sizeof cwd[i]))
            cwd[i][0] = '\0';
        for (variables[i] = 0; environ[variables[i]];)
            variables[i]++;
        if (i == 0)
            cycle(c);
    }
    for (int sig = 1; sig < 32; sig++)
        if (actions[0][sig].sa_handler != actions[1][sig].sa_handler)
            broke(c, RULE_ABI_PROCESS, "it changed what signal %d (%s) does", sig, sigabbrev_np(sig));
    if (masks[0] != masks[1])
        broke(c, RULE_ABI_PROCESS, "it changed the umask from %03o to %03o", masks[0], masks[1]);
    if (strcmp(cwd[0], cwd[1]) != 0)
        broke(c, RULE_ABI_PROCESS, "it changed the working directory to %s", cwd[1]);
    if (variables[0] != variables[1])
        broke(c, RULE_ABI_PROCESS, "it changed the environment");
    if (strcmp(setlocale(LC_ALL, NULL), "C") != 0)
        broke(c, RULE_ABI_PROCESS, "it set the locale to %s", setlocale(LC_ALL, NULL));
}

const struct test suite_plugin[] = {
    { "plugin", "life", "begins, stops and is gone", NULL, test_life },
    { "plugin", "stop-at-once", "stops right after start", NULL, test_stop_at_once },
    { "plugin", "never-started", "init and fini, without start", NULL, test_never_started },
    { "plugin", "again", "a second life on the state of the first", NULL, test_again },
    { "plugin", "two-instances", "two instances beside each other", NULL, test_two },
    { "plugin", "teardown", "stops at any point of its work", NULL, test_teardown },
    { "plugin", "teardown-held", "stops while the host owes it answers", NULL, test_teardown_held },
    { "plugin", "older-host", "a host that gives no feature", NULL, test_older },
    { "plugin", "newer-host", "a host of a later minor", NULL, test_newer, HOSTING_PROCESS },
    { "plugin", "bounds", "settings at their bounds", NULL, test_bounds },
    { "plugin", "texts", "settings with odd texts", NULL, test_texts },
    { "plugin", "foreign-events", "events of ids that have ended", NULL, test_foreign_events },
    { "plugin", "refusals", "a host that refuses everything, by each error", NULL, test_refusals },
    { "plugin", "leaks", "memory and descriptors after many lives", NULL, test_leaks, HOSTING_PROCESS },
    { "plugin", "process", "leaves alone what belongs to the process", NULL, test_process, HOSTING_PROCESS },
    { 0 },
};
