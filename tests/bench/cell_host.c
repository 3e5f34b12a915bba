/* SPDX-License-Identifier: Apache-2.0
 * A plugin in this process, and one in a cell as kosd has it: started by the spawner, under Landlock and seccomp. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cell.h"
#include "conf/conf.h"
#include "core/buf.h"
#include "spawn/spawn.h"

enum { HEARTBEAT_MS = 60000, MEMORY = 256 << 20, FILES = 64, LAST_S = 20 };

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bench-cell: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void lost(void *arg)
{
    (void)arg;
    die("the process that starts cells has died");
}

void bench_begin(struct bench *b)
{
    struct kos_error error = { 0 };
    int fd = -1;
    pid_t pid;
    snprintf(b->directory, sizeof b->directory, "/tmp/kos-bench-XXXXXX");
    if (!mkdtemp(b->directory))
        die("%s: %s", b->directory, strerror(errno));
    const struct kos_spawn_options spawn = { .instance = b->directory };
    b->program = realpath("kos-cell", NULL);
    if (!b->program)
        die("kos-cell is not built in this directory");
    if (kos_spawn_fork(&spawn, &fd, &pid, &error) < 0 || kos_loop_new(1, KOS_LOG_STDERR, &b->loop, &error) < 0)
        die("%s", error.text);
    b->env = kos_loop_env(b->loop);
    kos_loop_set_level(b->loop, KOS_LOG_WARNING);
    if (kos_spawn_client_new(b->env, fd, lost, NULL, &b->launcher, &error) < 0)
        die("%s", error.text);
    b->cells = kos_spawn_cells(b->launcher);
}

void bench_end(struct bench *b)
{
    kos_spawn_client_free(b->launcher);
    kos_loop_free(b->loop);
    free(b->program);
    rmdir(b->directory);
}

/* ---- modules ---- */

void module_open(struct module *m, const char *path)
{
    const struct kos_plugin *plugin;
    const struct kos_setting *const *schema;
    struct kos_plugin checked;
    struct kos_error error = { 0 };
    *m = (struct module){ .path = path, .absolute = realpath(path, NULL) };
    if (!m->absolute)
        die("%s: %s", path, strerror(errno));
    if (kos_module_open(m->absolute, &plugin, &error) < 0 || kos_manifest_check(path, plugin, &checked, &error) < 0)
        die("%s", error.text);
    m->description = kos_manifest_json(&checked);
    m->name = kos_strdup(checked.name);
    if (kos_schema_new(path, m->description, &schema, &error) < 0 ||
        kos_conf_values(NULL, m->name, schema, &m->conf, &error) < 0)
        die("%s", error.text);
    kos_schema_free(schema);
}

void module_close(struct module *m)
{
    json_decref(m->description);
    kos_conf_values_free(m->conf);
    free(m->name);
    free(m->absolute);
}

/* ---- sides ---- */

static void too_late(void *arg)
{
    die("%s takes longer than %d s", (const char *)arg, LAST_S);
}

/* Whoever sets the flag stops the loop. */
void side_wait(struct side *side, const bool *flag)
{
    struct kos_env *env = side->bench->env;
    const char *what = side->job ? side->job->name : "a start or an end";
    struct kos_timer *timer = kos_timer_new(env, too_late, (void *)(uintptr_t)what);
    kos_timer_set(env, timer, LAST_S * 1000);
    while (!*flag)
        kos_loop_run(side->bench->loop);
    kos_timer_free(env, timer);
}

static void said(void *arg, struct kos_bytes bytes)
{
    (void)arg;
    fprintf(stderr, "%.*s", (int)bytes.len, (const char *)bytes.data);
}

static void exited(void *arg, int32_t wait_status, uint64_t peak_bytes, const struct kos_error *error)
{
    struct side *side = arg;
    (void)peak_bytes;
    if (error || !side->finished)
        die("the cell ended (wait status %d): %s", wait_status, error ? error->text : "by itself");
    side->exited = true;
    kos_loop_stop(side->bench->loop);
}

static void begun(void *arg, int32_t status, const char *text)
{
    struct side *side = arg;
    if (status < 0)
        die("%s", text);
    side->begun = true;
    kos_loop_stop(side->bench->loop);
}

static void ended(void *arg, const char *cause)
{
    struct side *side = arg;
    if (!side->finished)
        die("the cell %s", cause[0] ? cause : "closed its side");
}

static void begin_cell(struct side *side, const struct module *m, const struct kos_driver_spec *spec)
{
    struct bench *b = side->bench;
    struct kos_error error = { 0 };
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        die("a socket: %s", strerror(errno));
    const struct kos_cell_launch launch = { .name = m->name,
                                            .program = b->program,
                                            .module = m->absolute,
                                            .channel = pair[1],
                                            .memory_bytes = MEMORY,
                                            .open_files = FILES,
                                            .arg = side,
                                            .err = said,
                                            .exited = exited };
    const struct kos_remote_events events = { side, begun, ended };
    if (b->cells->ops->start(b->cells, &launch, &side->process, &error) < 0)
        die("%s", error.text);
    close(pair[1]);
    if (kos_remote_new(b->env, pair[0], spec, HEARTBEAT_MS, &side->services, &events, &side->backend, &error) < 0)
        die("%s", error.text);
    side_wait(side, &side->begun);
}

double side_begin(struct bench *b, int hosting, const struct module *m)
{
    struct side *side = &b->side[hosting];
    struct kos_error error = { 0 };
    const struct kos_driver_spec spec = { .name = m->name,
                                          .path = m->absolute,
                                          .where = m->path,
                                          .description = m->description,
                                          .conf = m->conf };
    *side = (struct side){ .bench = b, .hosting = hosting, .services = { &cell_services } };
    uint64_t from = kos_mono_ns(b->env);
    if (hosting == CELL)
        begin_cell(side, m, &spec);
    else if (kos_driver_new(b->env, &spec, &side->services, &side->backend, &error) < 0)
        die("%s", error.text);
    double seconds = (double)(kos_mono_ns(b->env) - from) / 1e9;
    side->backend->ops->start(side->backend);
    return seconds;
}

void side_end(struct side *side)
{
    side->job = NULL;
    side->backend->ops->stop(side->backend);
    side_wait(side, &side->finished);
    if (side->process)
        side_wait(side, &side->exited);
    side->backend->ops->free(side->backend);
    side->backend = NULL;
}

int64_t side_pid(struct side *side)
{
    struct kos_cell_usage usage = { 0 };
    side->bench->cells->ops->usage(side->process, &usage);
    if (usage.pid <= 0)
        die("a cell has no process id");
    return usage.pid;
}
