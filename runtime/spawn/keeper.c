/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper: one process per command, its parent and the subreaper of all that descends from it. It outlives the
 * command only to kill what that left behind, and reports. The end of its channel is the end of its command.
 */
#include "spawn/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WATCH_MS = 100, WATCH_CELL_MS = 500, TERM_MS = 2000, REAP_MAX = 256 };

struct keeper {
    const struct spawn_start *start;
    struct tree tree;
    int channel, signals;
    pid_t command;                     /* 0: it has ended */
    int status;
    uint64_t peak_bytes;
    int64_t kill_at_ms;                /* after SIGTERM; 0: none is due */
    struct spawn_event ended;
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void report(int channel, struct spawn_event *event)
{
    event->magic = SPAWN_MAGIC;
    /* Two small packets in the life of a channel fit in its buffer; when the client is gone there is nobody to tell. */
    ssize_t ignored = send(channel, event, sizeof *event, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)ignored;
}

void keeper_kill_all(void)
{
    struct tree tree = { .kill = true };
    /* From here on the kernel reaps; what is dead already is reaped in pieces, for the living go on forking
     * meanwhile. */
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    sigaction(SIGCHLD, &ignore, NULL);
    for (int round = 0;; round++) {
        pid_t pid = 0;
        for (int reaped = 0; reaped < REAP_MAX && (pid = waitpid(-1, NULL, WNOHANG)) > 0; reaped++)
            continue;
        if (pid < 0 && errno == ECHILD)
            break;
        if (tree_read(&tree, getpid(), TREE_MAX) < 0 && round > 1000)
            break; /* without /proc only the group could be killed, and it was */
        if (tree.count == 0 || round > 2)
            nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    tree_fini(&tree);
}

static void reaped(struct keeper *k, int status, const struct rusage *usage)
{
    k->status = status;
    k->peak_bytes = (uint64_t)usage->ru_maxrss * 1024;
    k->command = 0;
}

static void kill_all(struct keeper *k)
{
    struct rusage usage = { 0 };
    int status = 0;
    setpriority(PRIO_PROCESS, 0, -20); /* thousands may be running against this one; only root may, and needs it most */
    /* One call for the whole group: no member can fork its way out of it. */
    if (k->command > 0) {
        kill(-k->command, SIGKILL);
        while (wait4(k->command, &status, 0, &usage) < 0 && errno == EINTR)
            continue;
        reaped(k, status, &usage);
    }
    keeper_kill_all();
}

static _Noreturn void finish(struct keeper *k)
{
    kill_all(k);
    k->ended.type = SPAWN_ENDED;
    k->ended.status = k->status;
    k->ended.peak_bytes = k->peak_bytes;
    report(k->channel, &k->ended);
    _exit(0);
}

static void terminate(struct keeper *k)
{
    if (k->kill_at_ms)
        return;
    k->kill_at_ms = now_ms() + TERM_MS;
    kill(-k->command, SIGTERM);
    if (tree_read(&k->tree, getpid(), TREE_MAX) < 0)
        return;
    for (size_t i = 0; i < k->tree.count; i++)
        if (getpgid(k->tree.pids[i]) != k->command)
            kill(k->tree.pids[i], SIGTERM);
}

static void orders(struct keeper *k)
{
    struct spawn_order order;
    ssize_t n = recv(k->channel, &order, sizeof order, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n == (ssize_t)sizeof order && order.magic == SPAWN_MAGIC && order.type == SPAWN_TERM) {
        terminate(k);
        return;
    }
    finish(k); /* told to kill, the client is gone, or it does not make sense */
}

static void reap(struct keeper *k)
{
    struct signalfd_siginfo info;
    ssize_t ignored = read(k->signals, &info, sizeof info);
    (void)ignored;
    struct rusage usage;
    int status;
    pid_t pid;
    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0)
        if (pid == k->command) {
            /* The number of the group may be used again once it is empty, so it is left alone from here on: what is
             * still in it descends from this process and is found as such. */
            reaped(k, status, &usage);
            finish(k);
        }
}

/* What no limit of a single process bounds: all processes of the run together. */
static void watch(struct keeper *k)
{
    const struct spawn_limits *limits = &k->start->limits;
    if (tree_read(&k->tree, getpid(), (size_t)limits->processes + 1) < 0)
        return;
    if (k->tree.count > limits->processes) {
        snprintf(k->ended.text, sizeof k->ended.text, "it had more than %llu processes",
                 (unsigned long long)limits->processes);
    } else if (tree_memory(&k->tree, limits->memory_bytes) > limits->memory_bytes) {
        snprintf(k->ended.text, sizeof k->ended.text,
                 k->start->kind == SPAWN_CELL ? "it used more than %llu bytes of memory"
                                              : "its processes used more than %llu bytes of memory together",
                 (unsigned long long)limits->memory_bytes);
    } else {
        return;
    }
    k->ended.code = KOS_E_LIMIT;
    finish(k);
}

static void keep(struct keeper *k)
{
    struct pollfd fds[] = { { k->channel, POLLIN, 0 }, { k->signals, POLLIN, 0 } };
    const int every = k->start->kind == SPAWN_CELL ? WATCH_CELL_MS : WATCH_MS;
    int64_t watch_at = now_ms() + every;
    for (;;) {
        int64_t now = now_ms(), next = k->kill_at_ms && k->kill_at_ms < watch_at ? k->kill_at_ms : watch_at;
        int n = poll(fds, 2, next > now ? (int)(next - now) : 0);
        if (n < 0 && errno != EINTR)
            finish(k);
        if (n > 0 && fds[1].revents)
            reap(k);
        if (n > 0 && fds[0].revents)
            orders(k);
        now = now_ms();
        if (k->kill_at_ms && now >= k->kill_at_ms)
            finish(k);
        if (now >= watch_at) {
            watch(k);
            watch_at = now_ms() + every;
        }
    }
}

/* Waits until the command was executed, or could not be. */
static bool started(int report_fd, struct kos_error *ret_error)
{
    ssize_t n;
    while ((n = read(report_fd, ret_error, sizeof *ret_error)) < 0 && errno == EINTR)
        continue;
    if (n > 0 && n != (ssize_t)sizeof *ret_error)
        kos_fail(ret_error, KOS_E_INTERNAL, "its process could not say why it does not start");
    return n == 0;
}

static _Noreturn void fail(int channel, int32_t code, const char *text)
{
    struct spawn_event event = { .type = SPAWN_FAILED, .code = code };
    snprintf(event.text, sizeof event.text, "%s", text);
    report(channel, &event);
    _exit(1);
}

_Noreturn void keeper_run(struct confinement *confinement, const struct spawn_start *start, int channel,
                          const int *fds)
{
    struct keeper k = { .start = start, .channel = channel };
    struct kos_error error = { 0 };
    sigset_t child;
    int pipes[2];
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    prctl(PR_SET_NAME, "kos-keeper", 0, 0, 0);
    setsid();
    confinement->keeper = getpid();
    if (sigprocmask(SIG_SETMASK, &child, NULL) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ||
        pipe2(pipes, O_CLOEXEC) < 0)
        fail(channel, KOS_E_IO, "a keeper for it cannot be made");
    k.signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    k.command = k.signals < 0 ? -1 : fork();
    if (k.command < 0)
        fail(channel, KOS_E_BUSY,
             "a process for it cannot be made: a limit on processes, descriptors or memory is reached");
    if (k.command == 0)
        child_run(confinement, start, fds, pipes[1]);
    close(pipes[1]);
    for (int i = 0; i < SPAWN_FDS - 1; i++)
        close(fds[i]);
    if (!started(pipes[0], &error)) {
        kill_all(&k);
        fail(channel, error.code, error.text);
    }
    close(pipes[0]);
    struct spawn_event event = { .type = SPAWN_STARTED, .pid = k.command };
    report(channel, &event);
    keep(&k);
    _exit(0);
}
