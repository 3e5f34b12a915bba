/* SPDX-License-Identifier: Apache-2.0
 * kos-conform(1): what is asked for, and the sum of it. */
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "driver/manifest.h"
#include "report.h"

enum { TIMEOUT_S = 30 };

static const char usage[] =
    "usage: kos-conform [OPTION ...] FILE.so\n"
    "Runs the plugin FILE.so under a host that judges it by the SDK's headers. See kos-conform(1).\n"
    "  --hosting process|cell|both  where the plugin runs (both)\n"
    "  --suite NAME, --test NAME    only these\n"
    "  --list                       the tests that this plugin would be put to\n"
    "  --json                       results as JSON\n"
    "  --settings KEY=VALUE|FILE    a setting, or the settings of a .klp-policy; {dir} is the test's own directory\n"
    "  --files DIR                  files that each test finds in its own directory\n"
    "  --listen ADDRESS             what a transport shall listen on\n"
    "  --timeout S                  for one test (30)\n"
    "  --repeat N, --seed S         each test N times, with random choices from S on\n"
    "  --no-fork                    one test in this process, for a debugger; conform_broken is where to stop\n"
    "  --verbose                    what the plugin logs goes to stderr\n";

static _Noreturn void misuse(const char *format, const char *what)
{
    fprintf(stderr, "kos-conform: ");
    fprintf(stderr, format, what);
    fprintf(stderr, "\n%s", usage);
    exit(2);
}

static uint64_t number(const char *option, const char *text, uint64_t max)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || value > max)
        misuse("%s wants a number", option);
    return value;
}

/* ---- settings ---- */

static void append(char **text, char *more)
{
    char *longer = kos_format("%s%s", *text, more);
    free(*text);
    free(more);
    *text = longer;
}

/* The settings of this plugin's entry in a policy. */
static void settings_of_file(struct options *o, const char *path, const char *name)
{
    FILE *file = fopen(path, "re");
    char *text = kos_new(KOS_CONF_FILE_MAX + 1);
    size_t len = file ? fread(text, 1, KOS_CONF_FILE_MAX, file) : 0;
    struct kos_conf_doc *doc = NULL;
    struct kos_error error = { 0 };
    if (file)
        fclose(file);
    if (!file || kos_conf_read(path, kos_bytes(text, len), &doc, &error) < 0) {
        fprintf(stderr, "kos-conform: %s\n", file ? error.text : path);
        exit(2);
    }
    const struct kos_conf_node *plugins = kos_conf_member(kos_conf_root(doc), "plugins");
    const struct kos_conf_node *plugin = plugins ? kos_conf_member(plugins, name) : NULL;
    for (size_t i = 0; plugins && !plugin && i < kos_conf_count(plugins); i++) {
        const char *module = kos_conf_string(kos_conf_member(kos_conf_at(plugins, i), "module"));
        const char *base = strrchr(o->path, '/');
        if (module && base && strcmp(strrchr(module, '/') ? strrchr(module, '/') + 1 : module, base + 1) == 0)
            plugin = kos_conf_at(plugins, i);
    }
    if (!plugin)
        misuse("%s wires no such plugin", path);
    kos_conf_free(o->document);
    o->document = doc;
    o->group = kos_conf_member(plugin, "settings");
    free(text);
}

static bool wants_quotes(const struct module *module, const char *key, size_t len)
{
    for (const struct kos_setting *const *s = module->schema; *s; s++)
        if (strlen((*s)->name) == len && memcmp((*s)->name, key, len) == 0)
            return (*s)->type == KOS_SETTING_STRING || (*s)->type == KOS_SETTING_SECRET ||
                (*s)->type == KOS_SETTING_DURATION || (*s)->type == KOS_SETTING_SIZE;
    return false;
}

static void settings_of_option(struct options *o, const struct module *module, const char *given)
{
    const char *equals = strchr(given, '=');
    size_t len = strlen(given);
    if (!equals || (len > 11 && strcmp(given + len - 11, ".klp-policy") == 0)) {
        settings_of_file(o, given, json_string_value(json_object_get(module->description, "name")));
        return;
    }
    const char *quote = wants_quotes(module, given, (size_t)(equals - given)) && equals[1] != '"' ? "\"" : "";
    append(&o->settings, kos_format("%.*s = %s%s%s;\n", (int)(equals - given), given, quote, equals + 1, quote));
}

/* ---- which tests ---- */

static bool wanted(const struct options *o, const struct module *module, const struct test *test, int hosting)
{
    return (!o->suite || strcmp(o->suite, test->suite) == 0) && (!o->test || strcmp(o->test, test->name) == 0) &&
        (!test->feature || module_offers(module, test->feature)) && (!test->hostings || test->hostings & hosting);
}

static void each_test(const struct options *o, const struct module *module, struct tally *tally)
{
    for (int hosting = HOSTING_PROCESS; hosting <= HOSTING_CELL; hosting <<= 1)
        for (const struct test *const *suite = conform_suites; *suite; suite++)
            for (const struct test *test = *suite; test->name; test++) {
                if (!(o->hostings & hosting) || !wanted(o, module, test, hosting))
                    continue;
                if (o->list)
                    printf("%s/%s: %s\n", test->suite, test->name, test->what);
                for (uint32_t i = 0; !o->list && i < o->repeat; i++)
                    conform_test(o, module, test, hosting, o->seed + i, tally);
            }
}

static const struct option long_options[] = {
    { "hosting", required_argument, NULL, 'H' },  { "suite", required_argument, NULL, 's' },
    { "test", required_argument, NULL, 't' },     { "list", no_argument, NULL, 'l' },
    { "json", no_argument, NULL, 'j' },           { "settings", required_argument, NULL, 'S' },
    { "files", required_argument, NULL, 'f' },    { "listen", required_argument, NULL, 'L' },
    { "timeout", required_argument, NULL, 'T' },  { "repeat", required_argument, NULL, 'r' },
    { "seed", required_argument, NULL, 'e' },     { "no-fork", no_argument, NULL, 'n' },
    { "verbose", no_argument, NULL, 'v' },        { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },        { NULL, 0, NULL, 0 },
};

static void option(struct options *o, int letter, const char ***settings, size_t *count)
{
    switch (letter) {
    case 'H':
        o->hostings = strcmp(optarg, "process") == 0 ? HOSTING_PROCESS : strcmp(optarg, "cell") == 0 ? HOSTING_CELL :
            strcmp(optarg, "both") == 0 ? HOSTING_PROCESS | HOSTING_CELL : 0;
        if (!o->hostings)
            misuse("--hosting is process, cell or both, not %s", optarg);
        break;
    case 's': o->suite = optarg; break;
    case 't': o->test = optarg; break;
    case 'l': o->list = true; break;
    case 'j': o->json = true; break;
    case 'f': o->files = optarg; break;
    case 'L': o->listen = optarg; break;
    case 'T': o->timeout_ms = 1000 * number("--timeout", optarg, 3600); break;
    case 'r': o->repeat = (uint32_t)number("--repeat", optarg, 1000000); break;
    case 'e': o->seed = number("--seed", optarg, UINT64_MAX - 1000000); break;
    case 'n': o->no_fork = true; break;
    case 'v': o->verbose = true; break;
    case 'h': printf("%s", usage); exit(0);
    case 'V': printf("kos-conform " KOS_VERSION "\n"); exit(0);
    case 'S':
        *settings = realloc(*settings, (*count + 1) * sizeof **settings);
        if (!*settings)
            abort();
        (*settings)[(*count)++] = optarg;
        break;
    default: exit(2);
    }
}

/* Begins again with an allocator whose count is exact (no cache of its own that a leak could hide in), and which
 * overwrites what it gives and takes: who uses memory after freeing it, or before writing it, shows. */
static void tune(char **argv)
{
    static const char tunables[] = "glibc.malloc.tcache_count=0:glibc.malloc.perturb=165";
    if (getenv("GLIBC_TUNABLES"))
        return;
    setenv("GLIBC_TUNABLES", tunables, 1);
    execv("/proc/self/exe", argv); /* where it fails, it goes on without */
}

int main(int argc, char **argv)
{
    struct options o = { .hostings = HOSTING_PROCESS | HOSTING_CELL, .timeout_ms = 1000 * TIMEOUT_S, .repeat = 1, .seed = 1,
                         .settings = kos_strdup(""), .colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR") };
    struct module module = { 0 };
    struct tally tally = { .results = json_array() };
    const char **settings = NULL;
    char path[PATH_MAX];
    size_t count = 0;
    sigset_t set;
    tune(argv);
    for (int letter; (letter = getopt_long(argc, argv, "vh", long_options, NULL)) != -1;)
        option(&o, letter, &settings, &count);
    if (optind + 1 != argc)
        misuse("%s", "one module is needed");
    if (!realpath(argv[optind], path))
        misuse("%s is not there", argv[optind]);
    o.path = path;
    /* So that waiting for a child can have an end (report.c). */
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    bool sound = conform_describe(&o, &module, &tally);
    for (size_t i = 0; sound && i < count; i++)
        settings_of_option(&o, &module, settings[i]);
    if (sound && o.no_fork && (!o.test || !o.suite))
        misuse("%s", "--no-fork runs one test: give --suite and --test");
    if (sound)
        each_test(&o, &module, &tally);
    if (o.json && !o.list)
        json_dumpf(tally.results, stdout, JSON_INDENT(1));
    else if (!o.list)
        printf("1..%d\n# %s: %d passed, %d skipped, %d broke a rule\n", tally.number, path, tally.passed,
               tally.skipped, tally.broke);
    if (sound && !o.list && tally.number < 2 && (o.suite || o.test))
        misuse("%s", "no test of this plugin has that name; --list shows them");
    json_decref(tally.results);
    kos_schema_free(module.schema);
    json_decref(module.description);
    free(settings);
    kos_conf_free(o.document);
    free(o.settings);
    return tally.broke || !sound ? 1 : 0;
}
