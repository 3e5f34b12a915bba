/* SPDX-License-Identifier: Apache-2.0
 * One end of bench-carrier: a node as kosd makes it, with the real transport; the sender queues items of a type that no
 * version knows on its session, and the receiver skips them whole, as it must. What mesh/session does with a message
 * above that, and handlers, are not measured here. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "carrier.h"
#include "core/buf.h"
#include "core/loop.h"
#include "kosd/node.h"
#include "mesh/mesh_private.h"
#include "spawn/spawn.h"

enum { TYPE_UNKNOWN = 200, PUMP_ORDER = 5, WAIT_MS = 20, QUIET_MS = 500 };

struct end {
    struct shared *shared;
    struct spent *spent;
    const struct job *job;
    int which;
    struct kos_loop *loop;
    struct kos_env *env;
    struct kos_node *node;
    struct kos_instance instance;
    struct kos_settings settings;
    struct kos_launcher *launcher;
    struct kos_turn_end pump;
    struct kos_timer *timer;
    uint64_t consumed;
    int stage;
    uint32_t dialled;
    bool due;
};

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bench-carrier: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

/* ---- the instance ---- */

static void write_file(const char *directory, const char *name, const char *mode, const char *text)
{
    char *path = kos_format("%s/%s", directory, name);
    FILE *f = fopen(path, mode);
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        die("%s: %s", path, strerror(errno));
    free(path);
}

void node_init(int end, const struct job *job, const char *directory)
{
    char *here = realpath(".", NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
            _exit(127);
        execl("./kosctl", "kosctl", "-i", directory, "init", "--name", end == SENDER ? "from.bench" : "to.bench",
              "--listen", "tcp://0.0.0.0:0", (char *)NULL);
        _exit(127);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
        die("kosctl init failed: is it built?");
    char *conf = kos_format("plugin_dir = \"%s/plugins/transport/tcp/.libs\";\nworkers = 1;\n", here);
    write_file(directory, "kosd.conf", "a", conf);
    char *policy = kos_format("name = \"default\";\nplugins = { tcp = { module = \"tcp.so\"; isolate = %s; "
                              "rights = [ \"listen\", \"connect\" ]; }; };\n",
                              job->cell ? "true" : "false");
    write_file(directory, "policy.d/default.klp-policy", "w", policy);
    char *cell = kos_format("%s/kos-cell", here);
    setenv("KOS_CELL", cell, 1);
    free(cell);
    free(policy);
    free(conf);
    free(here);
}

/* ---- pumping ---- */

static struct mesh_session *session_of(struct end *e)
{
    for (struct mesh_link *link = e->node->mesh->links; link; link = link->hh.next)
        if (link->session && link->session->up)
            return link->session;
    return NULL;
}

static void queue_one(struct end *e, struct mesh_session *session)
{
    uint8_t *data = malloc(e->job->bytes);
    if (!data)
        die("there is no memory");
    memset(data, 'x', e->job->bytes);
    mesh_session_queue(session, TYPE_UNKNOWN, e->job->klass, data, e->job->bytes);
    atomic_fetch_add_explicit(&e->spent->items, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->spent->bytes, e->job->bytes, memory_order_relaxed);
}

static void send_more(struct end *e, struct mesh_session *session)
{
    if (e->job->pause_ms == 0)
        while (session->queue[e->job->klass].bytes < MESH_QUEUE_ROOM / 2)
            queue_one(e, session);
    else if (e->due)
        queue_one(e, session);
    e->due = false;
}

static void receive_more(struct end *e, struct mesh_session *session)
{
    uint64_t consumed = session->in_consumed[e->job->klass];
    atomic_fetch_add_explicit(&e->spent->bytes, consumed - e->consumed, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->spent->items, (consumed - e->consumed) / e->job->bytes, memory_order_relaxed);
    e->consumed = consumed;
}

static void pump(struct kos_turn_end *hook)
{
    struct end *e = (struct end *)(void *)((char *)hook - offsetof(struct end, pump));
    struct mesh_session *session = session_of(e);
    if (!session)
        return;
    if (e->which == SENDER && atomic_load(&e->shared->up))
        send_more(e, session);
    else if (e->which == RECEIVER)
        receive_more(e, session);
}

/* ---- memory ---- */

/* The stage that all sessions are in, and have been for a while. */
static int stage_of(struct end *e)
{
    uint64_t now = kos_mono_ms(e->env);
    uint32_t count = 0, used = 0;
    for (struct mesh_link *link = e->node->mesh->links; link; link = link->hh.next) {
        struct mesh_session *s = link->session;
        if (!s || !s->up || now - s->began_ms < QUIET_MS || now - s->heard_ms < QUIET_MS)
            return -1;
        count++;
        used += s->in_consumed[e->job->klass] + s->out_sent[e->job->klass] >= e->job->bytes;
    }
    return count == 0 ? -1 : used > e->job->sessions ? USED : count > e->job->sessions && count > 1 ? MORE : ONE;
}

static void dial(struct end *e);

static void connected(void *arg, const struct kos_mesh_connected *result)
{
    struct end *e = arg;
    if (result->status < 0)
        die("no session: %s", result->text);
    if (e->stage > ONE && e->dialled <= e->job->sessions)
        dial(e);
}

/* Each by another address of this machine: connections are kept by their address. */
static void dial(struct end *e)
{
    struct kos_error error = { 0 };
    char *address = kos_format("tcp://127.0.0.%u:%d", (unsigned)++e->dialled, atomic_load(&e->shared->port));
    if (kos_mesh_connect(e->node->mesh, address, NULL, 10000, connected, e, &error) < 0)
        die("%s", error.text);
    free(address);
}

/* Both ends have come to this stage. */
static void go_on(struct end *e, int stage)
{
    if (e->job->sessions && stage == ONE)
        dial(e);
    else if (e->job->sessions && stage == MORE)
        for (struct mesh_link *link = e->node->mesh->links; link; link = link->hh.next)
            queue_one(e, link->session);
    else
        atomic_store(&e->shared->up, true);
}

static void tick(void *arg)
{
    struct end *e = arg;
    int stage = stage_of(e);
    e->due = true;
    if (stage >= 0 && !atomic_load(&e->shared->live[e->which][stage]))
        atomic_store(&e->shared->live[e->which][stage], atomic_load(&e->spent->live));
    if (e->which == SENDER && e->stage < STAGES && atomic_load(&e->shared->live[SENDER][e->stage]) &&
        atomic_load(&e->shared->live[RECEIVER][e->stage]))
        go_on(e, e->stage++);
    bool pumping = atomic_load(&e->shared->up);
    if (!pumping || (e->which == SENDER && e->job->pause_ms))
        kos_timer_set(e->env, e->timer, pumping ? e->job->pause_ms : WAIT_MS);
}

/* ---- life ---- */

static void ready(void *arg)
{
    struct end *e = arg;
    json_t *list = kos_hosting_list(e->node->hosting);
    atomic_store(&e->shared->cell[e->which],
                 (int)json_integer_value(json_object_get(json_array_get(list, 0), "pid")));
    json_decref(list);
    kos_timer_set(e->env, e->timer, WAIT_MS);
    if (e->which == RECEIVER) {
        const struct mesh_endpoint *endpoint = e->node->mesh->endpoints;
        atomic_store(&e->shared->port, atoi(strrchr(endpoint->bound, ':') + 1));
        return;
    }
    dial(e);
}

static void stopped(void *arg)
{
    kos_loop_stop(arg);
}

static void caught(void *arg, int number)
{
    struct end *e = arg;
    (void)number;
    kos_node_stop(e->node, stopped, e->loop);
}

static void lost(void *arg)
{
    (void)arg;
    die("the process that starts cells has died");
}

void node_run(struct shared *shared, int which, const struct job *job, const char *directory)
{
    struct end e = { .shared = shared, .spent = &shared->spent[which], .job = job, .which = which };
    struct kos_error error = { 0 };
    int fd = -1;
    pid_t spawner;
    const struct kos_spawn_options spawn = { .instance = directory };
    count_into(e.spent);
    if (kos_spawn_fork(&spawn, &fd, &spawner, &error) < 0 || kos_loop_new(1, KOS_LOG_STDERR, &e.loop, &error) < 0)
        die("%s", error.text);
    e.env = kos_loop_env(e.loop);
    kos_loop_set_level(e.loop, KOS_LOG_WARNING);
    if (kos_instance_init(directory, &e.instance, &error) < 0 ||
        kos_settings_load(e.env, &e.instance, &e.settings, &error) < 0 ||
        kos_spawn_client_new(e.env, fd, lost, NULL, &e.launcher, &error) < 0 ||
        kos_node_start(e.env, &e.instance, &e.settings, kos_bytes(NULL, 0), e.launcher, kos_spawn_cells(e.launcher),
                       &e.node, &error) < 0)
        die("%s", error.text);
    e.timer = kos_timer_new(e.env, tick, &e);
    e.pump = (struct kos_turn_end){ pump, PUMP_ORDER, NULL };
    e.env->ops->turn_end_add(e.env, &e.pump);
    kos_loop_signal(e.loop, SIGTERM, caught, &e);
    kos_node_when_ready(e.node, ready, &e);
    if (kos_loop_run(e.loop) < 0)
        die("the loop ended");
    e.env->ops->turn_end_remove(e.env, &e.pump);
    kos_timer_free(e.env, e.timer);
    kos_node_free(e.node);
    kos_spawn_client_free(e.launcher);
    kos_settings_fini(&e.settings);
    kos_instance_fini(&e.instance);
    kos_loop_free(e.loop);
    exit(0);
}
