/* SPDX-License-Identifier: Apache-2.0
 *
 * kosd: reads its arguments, drops privileges, forks the spawner, confines itself, runs a node on the real loop until it is told to stop.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/passphrase.h"
#include "core/loop.h"
#include "core/plain.h"
#include "kosd/kosd.h"
#include "kosd/node.h"
#include "spawn/spawn.h"

static const char usage_text[] =
    "Usage: kosd [-i DIR] [--foreground] [--check] [--passphrase-file FILE]\n"
    "Runs a node of kos.\n\n"
    "  -i, --instance DIR       the instance's directory (else $KOS_INSTANCE, else the system's: /etc/kos, /var/lib/kos, /run/kos)\n"
    "  -f, --foreground         stay in the foreground and log to stderr; without it kosd returns once it is ready\n"
    "      --check              read configuration, policy, keys and plugins, say what is wrong, and end\n"
    "      --passphrase-file F  the first line of F opens the keys (else kosd.conf's passphrase_file, a systemd\n"
    "                           credential kos-passphrase, or a question on the terminal)\n"
    "  -h, --help               this text\n"
    "  -V, --version            the version\n\n"
    "SIGHUP reads the policy anew; SIGTERM ends cleanly. See kosd(8), kosd.conf(5), kosctl(1).\n";

struct program {
    const char *dir, *passphrase_file;
    bool foreground, check;
    struct kos_instance instance;
    struct kos_settings settings;
    struct kos_passphrase passphrase;
    int spawn_fd;
    int ready_fd;               /* of the process that waits in the foreground; -1 none */
    struct kos_loop *loop;
    struct kos_launcher *launcher;
    struct kos_node *node;
    char confined[160];         /* for the log: by what */
    bool stopping;
    bool failed;                /* ends with status 1 though it stopped in order */
};

static int fail(const struct kos_error *error)
{
    fprintf(stderr, "kosd: %s: %s\n", kos_error_name(error->code), error->text);
    return 1;
}

/* -1: go on; else the exit status. */
static int arguments(int argc, char **argv, struct program *program)
{
    static const struct option options[] = {
        { "instance", required_argument, NULL, 'i' }, { "foreground", no_argument, NULL, 'f' }, { "check", no_argument, NULL, 'c' },
        { "passphrase-file", required_argument, NULL, 'p' }, { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { 0 },
    };
    int c;
    while ((c = getopt_long(argc, argv, "i:fhV", options, NULL)) != -1)
        switch (c) {
        case 'i': program->dir = optarg; break;
        case 'f': program->foreground = true; break;
        case 'c': program->check = true; break;
        case 'p': program->passphrase_file = optarg; break;
        case 'h': fputs(usage_text, stdout); return 0;
        case 'V': puts("kosd " KOS_VERSION); return 0;
        default: fputs("kosd: see kosd --help\n", stderr); return 2;
        }
    if (optind < argc) {
        fprintf(stderr, "kosd: \"%s\" is one argument too many: see kosd --help\n", argv[optind]);
        return 2;
    }
    return -1;
}

/* Configuration; who this is from here on; and the passphrase, which must be asked for while there is a terminal. */
static int32_t prepare(struct program *program, struct kos_env *env, struct kos_error *ret_error)
{
    bool encrypted = false;
    int32_t r = kos_instance_init(program->dir, &program->instance, ret_error);
    if (r == KOS_OK)
        r = kos_settings_load(env, &program->instance, &program->settings, ret_error);
    if (r == KOS_OK)
        r = kosd_become(&program->instance, &program->settings, ret_error);
    if (r == KOS_OK)
        r = kos_conf_guard(env, program->instance.conf, ret_error);
    if (r == KOS_OK)
        r = kos_conf_guard(env, program->instance.state_dir, ret_error);
    if (r == KOS_OK)
        r = kos_keys_encrypted(env, program->instance.keys_dir, &encrypted, ret_error);
    if (r == KOS_OK && encrypted) {
        const char *file = program->passphrase_file ? program->passphrase_file : program->settings.passphrase_file;
        r = kos_passphrase_read(file, "Passphrase of the keys", &program->passphrase, ret_error);
        if (r == KOS_OK && !program->passphrase.text)
            r = kos_fail(ret_error, KOS_E_PASSPHRASE, "the keys in %s are encrypted: give --passphrase-file, set passphrase_file in kosd.conf, or pass the systemd credential kos-passphrase", program->instance.keys_dir);
    }
    return r;
}

/* Leaves the terminal: the parent waits for the word that the node is up, or for the child's end. */
static int32_t into_background(struct program *program, struct kos_error *ret_error)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return kos_fail(ret_error, KOS_E_IO, "a pipe cannot be made: %s", strerror(errno));
    pid_t child = fork();
    if (child < 0)
        return kos_fail(ret_error, KOS_E_IO, "kosd cannot go into the background: %s", strerror(errno));
    if (child > 0) {
        char word;
        kos_passphrase_fini(&program->passphrase);
        close(ends[1]);
        ssize_t n;
        do
            n = read(ends[0], &word, 1);
        while (n < 0 && errno == EINTR);
        if (n == 1)
            _exit(0);
        int status = 0;
        waitpid(child, &status, 0);
        _exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1);
    }
    close(ends[0]);
    kos_passphrase_forked(&program->passphrase);
    setsid();
    program->ready_fd = ends[1];
    return KOS_OK;
}

/* The log of a kosd in the background goes to its state directory. */
static void detach(struct program *program)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log = open(program->instance.log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    dup2(null, 0);
    dup2(null, 1);
    dup2(log >= 0 ? log : null, 2);
    if (log > 2)
        close(log);
    if (null > 2)
        close(null);
    (void)!write(program->ready_fd, "r", 1);
    close(program->ready_fd);
    program->ready_fd = -1;
}

static void stopped(void *arg)
{
    struct program *program = arg;
    kos_loop_stop(program->loop);
}

static void caught(void *arg, int signal)
{
    struct program *program = arg;
    struct kos_env *env = kos_loop_env(program->loop);
    if (signal == SIGHUP) {
        struct kos_error error;
        kosd_notify("RELOADING=1");
        kos_node_reload(program->node, &error);
        kosd_notify("READY=1");
        return;
    }
    if (program->stopping) {
        kos_log(env, KOS_LOG_WARNING, "kosd", "told twice to stop: ending now");
        kos_loop_stop(program->loop);
        return;
    }
    program->stopping = true;
    kosd_notify("STOPPING=1");
    kos_log(env, KOS_LOG_NOTICE, "kosd", "stopping");
    kos_node_stop(program->node, stopped, program);
}

/* Without the spawner no agent can run, and nobody else may start one: end, so that a supervisor starts us whole. */
static void spawner_lost(void *arg)
{
    struct program *program = arg;
    kos_log(kos_loop_env(program->loop), KOS_LOG_ERROR, "kosd", "the spawner of agents died: stopping");
    program->failed = true;
    if (!program->stopping && program->node)
        caught(program, SIGTERM);
}

/* Some of the addresses may be taken; a node that is to listen and can nowhere is of no use to those who start it. */
static bool listens(struct program *program)
{
    json_t *status = kos_mesh_status(program->node->mesh), *endpoint;
    size_t i, up = 0, count = json_array_size(json_object_get(status, "endpoints"));
    json_array_foreach(json_object_get(status, "endpoints"), i, endpoint)
        up += strcmp(json_string_value(json_object_get(endpoint, "state")), "up") == 0;
    json_decref(status);
    return count == 0 || up > 0;
}

static void ready(void *arg)
{
    struct program *program = arg;
    char id[KLP_ID_TEXT];
    if (!listens(program)) {
        kos_log(kos_loop_env(program->loop), KOS_LOG_ERROR, "kosd", "none of the addresses that %s lists under listen can be listened on: stopping", program->instance.conf);
        program->failed = true;
        caught(program, SIGTERM);
        return;
    }
    klp_id_text(kos_identity_id(kos_keys_node(program->node->keys)), id);
    kos_log(kos_loop_env(program->loop), KOS_LOG_NOTICE, "kosd", "kosd %s is up: %s, klp://node.%s", KOS_VERSION, program->settings.name, id);
    kos_log(kos_loop_env(program->loop), program->settings.seccomp ? KOS_LOG_INFO : KOS_LOG_WARNING, "kosd", "runs as %s", program->confined);
    kosd_notify("READY=1");
    if (program->ready_fd >= 0)
        detach(program);
}

static int32_t run(struct program *program, struct kos_error *ret_error)
{
    struct kos_env *env = kos_loop_env(program->loop);
    int32_t r = kos_spawn_client_new(env, program->spawn_fd, spawner_lost, program, &program->launcher, ret_error);
    if (r < 0)
        return r;
    if ((r = kos_node_start(env, &program->instance, &program->settings, kos_passphrase_bytes(&program->passphrase), program->launcher, kos_spawn_cells(program->launcher), &program->node, ret_error)) < 0)
        return r;
    kos_passphrase_fini(&program->passphrase);
    const int signals[] = { SIGTERM, SIGINT, SIGHUP };
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        kos_loop_signal(program->loop, signals[i], caught, program);
    kos_node_when_ready(program->node, ready, program);
    return kos_loop_run(program->loop);
}

static void no_core_no_swap(void)
{
    struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__ /* the leak checker attaches to its own process */
    prctl(PR_SET_DUMPABLE, 0);
#endif
}

static void forget(void *arg)
{
    struct program *program = arg;
    kos_passphrase_fini(&program->passphrase);
}

/* What agents may read and execute: the system's paths, and what kosd.conf adds. */
static int32_t spawner_start(struct program *program, struct kos_error *ret_error)
{
    const char *paths[256] = { NULL };
    size_t count = 0;
    pid_t spawner;
    for (; kos_spawn_readable[count]; count++)
        paths[count] = kos_spawn_readable[count];
    for (char **path = program->settings.agent_paths; *path && count < 255; path++)
        paths[count++] = *path;
    struct kos_spawn_options spawn = { .instance = program->instance.dir ? program->instance.dir : KOS_STATEDIR, .readable = paths,
                                        .log = program->foreground ? NULL : program->instance.log, .forget = forget, .arg = program };
    return kos_spawn_fork(&spawn, &program->spawn_fd, &spawner, ret_error);
}

static int32_t loop_start(struct program *program, struct kos_error *ret_error)
{
    int32_t r = kos_loop_new((uint32_t)program->settings.workers, getenv("JOURNAL_STREAM") ? KOS_LOG_JOURNAL : KOS_LOG_STDERR, &program->loop, ret_error);
    if (r == KOS_OK)
        kos_loop_set_level(program->loop, kos_settings_log_level(program->settings.log_level));
    return r;
}

static int32_t check(struct program *program, struct kos_error *ret_error)
{
    int32_t r = loop_start(program, ret_error);
    if (r == KOS_OK)
        r = kos_node_check(kos_loop_env(program->loop), &program->instance, &program->settings, kos_passphrase_bytes(&program->passphrase), ret_error);
    if (r == KOS_OK)
        printf("%s: configuration, policy, keys and plugins are in order\n", program->instance.conf);
    return r;
}

static int32_t start(struct program *program, struct kos_error *ret_error)
{
    int32_t r = program->foreground ? KOS_OK : into_background(program, ret_error);
    if (r == KOS_OK)
        r = spawner_start(program, ret_error);
    if (r == KOS_OK)
        r = kosd_confine(&program->instance, &program->settings, program->confined, sizeof program->confined, ret_error);
    if (r == KOS_OK)
        r = loop_start(program, ret_error);
    return r == KOS_OK ? run(program, ret_error) : r;
}

int main(int argc, char **argv)
{
    struct program program = { .ready_fd = -1, .spawn_fd = -1 };
    struct kos_error error = { 0 };
    int status = arguments(argc, argv, &program);
    if (status >= 0)
        return status;
    signal(SIGPIPE, SIG_IGN);
    umask(077);
    no_core_no_swap();
    struct kos_plain plain;
    kos_plain_init(&plain);
    int32_t r = prepare(&program, &plain.env, &error);
    if (r == KOS_OK)
        r = program.check ? check(&program, &error) : start(&program, &error);
    kos_passphrase_fini(&program.passphrase);
    kos_node_free(program.node);
    if (program.launcher)
        kos_spawn_client_free(program.launcher);
    if (program.loop)
        kos_loop_free(program.loop);
    kos_settings_fini(&program.settings);
    kos_instance_fini(&program.instance);
    return r < 0 ? fail(&error) : program.failed;
}
