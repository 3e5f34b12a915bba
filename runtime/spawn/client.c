/* SPDX-License-Identifier: Apache-2.0
 * The launcher on top of the spawner: one channel and three pipes per process, watched by the loop. */
#include "spawn/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "core/buf.h"
#include "core/env.h"
#include "driver/remote.h"
#include "spawn/spawner.h"

enum {
    READ_MAX = 65536,            /* at a time, so that one process does not hold the turn */
    STDIN_MAX = 1 << 20,         /* waiting for the pipe; one write more is taken whole */
    WRITE_MAX = 2 << 20,
    ERR_WINDOW_MS = 100, ERR_WINDOW_BYTES = 1 << 20,
    CELL_PROCESSES = 64,         /* of a plugin with the right to run programs */
    START_MS = 2000,             /* for the spawner to take a request */
    DRAIN_MS = 2000,             /* a stray that holds a pipe open is not waited for longer */
};

static const struct spawn_limits defaults = { UINT64_C(2) << 30, UINT64_C(1) << 30, 1024, 256, UINT64_MAX };

struct client {
    struct kos_launcher launcher;   /* first: what the operations get */
    struct kos_cell_launcher cells;
    struct kos_env *env;
    int fd;
    struct kos_watch *watch;
    struct kos_process *processes;
    struct kos_process *awaited;    /* by wait_cell */
    void (*lost)(void *arg);
    void *arg;
    bool is_lost;
    struct kos_deferred lose;
};

struct kos_process {
    struct client *client;
    struct kos_process *prev, *next;
    struct kos_launch launch;       /* callbacks and arg; its texts are not kept */
    bool is_cell;                   /* then `cell` stands for `launch`; in and out are -1 */
    struct kos_cell_launch cell;
    int64_t pid;
    uint64_t peak_bytes;
    int channel, in, out, err;      /* -1: closed */
    struct kos_watch *channel_watch, *in_watch, *out_watch, *err_watch;
    struct kos_buf input;
    size_t written;                 /* of input */
    bool closing;                   /* stdin, when input is out */
    bool told_writable;             /* nothing was written since */
    bool killed;                    /* its output is read and dropped */
    bool ended;                     /* the keeper is done; status and error stand */
    uint64_t credit, err_bytes;
    struct kos_timer *err_timer, *drain_timer;
    struct kos_deferred writable, check;
    int32_t status;
    struct kos_error error;         /* code 0: none */
};

static void close_watched(struct kos_process *p, int *fd, struct kos_watch **watch)
{
    if (*watch)
        p->client->env->ops->watch_free(*watch);
    *watch = NULL;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void process_free(struct kos_process *p)
{
    struct kos_env *env = p->client->env;
    close_watched(p, &p->channel, &p->channel_watch);
    close_watched(p, &p->in, &p->in_watch);
    close_watched(p, &p->out, &p->out_watch);
    close_watched(p, &p->err, &p->err_watch);
    kos_undefer(env, &p->writable);
    kos_undefer(env, &p->check);
    kos_timer_free(env, p->err_timer);
    kos_timer_free(env, p->drain_timer);
    kos_buf_fini(&p->input);
    if (p->client->awaited == p)
        p->client->awaited = NULL;
    DL_DELETE(p->client->processes, p);
    free(p);
}

/* Without credit nothing is read, not even the end; but once the keeper is done nobody writes any more, so that an
 * empty pipe is at its end. */
static void close_empty(struct kos_process *p)
{
    int waiting;
    if (p->ended && p->out >= 0 && p->credit == 0 && ioctl(p->out, FIONREAD, &waiting) == 0 && waiting == 0)
        close_watched(p, &p->out, &p->out_watch);
}

/* The end: keeper done and both pipes drained. */
static void check_end(struct kos_process *p)
{
    close_empty(p);
    if (!p->ended || p->out >= 0 || p->err >= 0)
        return;
    struct kos_launch launch = p->launch;
    struct kos_cell_launch cell = p->cell;
    struct kos_error error = p->error;
    int32_t status = p->status;
    uint64_t peak_bytes = p->peak_bytes;
    process_free(p);
    if (cell.exited)
        cell.exited(cell.arg, status, peak_bytes, error.code ? &error : NULL);
    else
        launch.exited(launch.arg, status, error.code ? &error : NULL);
}

static void check_run(struct kos_deferred *deferred)
{
    check_end((struct kos_process *)((char *)deferred - offsetof(struct kos_process, check)));
}

static void drained(void *arg)
{
    struct kos_process *p = arg;
    /* Without credit it is our own side that does not read: that is bounded by the run's deadline. */
    if (p->out >= 0 && p->credit == 0) {
        kos_timer_set(p->client->env, p->drain_timer, DRAIN_MS);
        return;
    }
    close_watched(p, &p->out, &p->out_watch);
    close_watched(p, &p->err, &p->err_watch);
    check_end(p);
}

static void set_ended(struct kos_process *p, int32_t status, int32_t code, const char *text)
{
    struct kos_env *env = p->client->env;
    p->ended = true;
    p->status = status;
    if (code)
        kos_fail(&p->error, code, "%s", text);
    close_watched(p, &p->channel, &p->channel_watch);
    close_watched(p, &p->in, &p->in_watch);
    if (code) /* what it wrote is of no use, and nobody may be giving credit for it */
        close_watched(p, &p->out, &p->out_watch);
    p->drain_timer = kos_timer_new(env, drained, p);
    kos_timer_set(env, p->drain_timer, DRAIN_MS);
    kos_defer(env, &p->check);
}

static void channel_ready(void *arg, int32_t events)
{
    struct kos_process *p = arg;
    struct spawn_event event;
    (void)events;
    ssize_t n = recv(p->channel, &event, sizeof event, MSG_DONTWAIT);
    /* A keeper that ended without reading our last order: that comes first, what it said before lies behind it. */
    if (n < 0 && errno == ECONNRESET)
        n = recv(p->channel, &event, sizeof event, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    bool whole = n == (ssize_t)sizeof event && event.magic == SPAWN_MAGIC && memchr(event.text, 0, sizeof event.text);
    if (whole && event.type == SPAWN_STARTED) {
        p->pid = event.pid;
        return;
    }
    p->peak_bytes = whole ? event.peak_bytes : 0;
    if (whole && (event.type == SPAWN_ENDED || event.type == SPAWN_FAILED) && event.code <= 0)
        set_ended(p, event.status, event.type == SPAWN_FAILED && event.code == 0 ? KOS_E_INTERNAL : event.code,
                  event.text);
    else
        set_ended(p, 0, KOS_E_CLOSED, "the process that kept it was killed");
}

/* One read. Returns what to hand on, empty when there is nothing now; closes the pipe at its end. */
static struct kos_bytes read_pipe(struct kos_process *p, int *fd, struct kos_watch **watch, size_t max,
                                  uint8_t room[static READ_MAX])
{
    ssize_t n = read(*fd, room, max < READ_MAX ? max : READ_MAX);
    if (n > 0)
        return kos_bytes(room, (size_t)n);
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        close_watched(p, fd, watch);
        kos_defer(p->client->env, &p->check);
    }
    return kos_bytes(NULL, 0);
}

static void out_ready(void *arg, int32_t events)
{
    struct kos_process *p = arg;
    uint8_t room[READ_MAX];
    (void)events;
    struct kos_bytes bytes =
        read_pipe(p, &p->out, &p->out_watch, p->credit < READ_MAX ? (size_t)p->credit : READ_MAX, room);
    if (!bytes.len)
        return;
    if (p->killed)
        return;
    p->credit -= bytes.len;
    if (p->credit == 0)
        p->client->env->ops->watch_set(p->out_watch, 0);
    if (p->ended) {
        kos_timer_set(p->client->env, p->drain_timer, DRAIN_MS);
        kos_defer(p->client->env, &p->check);
    }
    p->launch.out(p->launch.arg, bytes);
}

static void err_again(void *arg)
{
    struct kos_process *p = arg;
    p->err_bytes = 0;
    if (p->err_watch)
        p->client->env->ops->watch_set(p->err_watch, KOS_READABLE);
}

static void err_ready(void *arg, int32_t events)
{
    struct kos_process *p = arg;
    uint8_t room[READ_MAX];
    (void)events;
    struct kos_bytes bytes = read_pipe(p, &p->err, &p->err_watch, READ_MAX, room);
    if (!bytes.len)
        return;
    if (p->err_bytes == 0)
        kos_timer_set(p->client->env, p->err_timer, ERR_WINDOW_MS);
    p->err_bytes += bytes.len;
    if (p->err_bytes >= ERR_WINDOW_BYTES)
        p->client->env->ops->watch_set(p->err_watch, 0);
    if (p->is_cell)
        p->cell.err(p->cell.arg, bytes);
    else
        p->launch.err(p->launch.arg, bytes);
}

static void tell_writable(struct kos_deferred *deferred)
{
    struct kos_process *p = (struct kos_process *)((char *)deferred - offsetof(struct kos_process, writable));
    if (p->told_writable || p->input.len > p->written)
        return;
    p->told_writable = true;
    p->launch.writable(p->launch.arg);
}

/* Everything is out, or nobody reads: a command may close its stdin early, that is its right. */
static void input_done(struct kos_process *p)
{
    kos_buf_reset(&p->input);
    p->written = 0;
    if (p->in_watch)
        p->client->env->ops->watch_set(p->in_watch, 0);
    if (p->closing)
        close_watched(p, &p->in, &p->in_watch);
    kos_defer(p->client->env, &p->writable);
}

static void in_ready(void *arg, int32_t events)
{
    struct kos_process *p = arg;
    (void)events;
    size_t left = p->input.len - p->written;
    ssize_t n = left ? write(p->in, p->input.data + p->written, left < READ_MAX ? left : READ_MAX) : 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0)
        close_watched(p, &p->in, &p->in_watch);
    else
        p->written += (size_t)n;
    if (p->in < 0 || p->written == p->input.len)
        input_done(p);
}

static int32_t process_write(struct kos_process *p, struct kos_bytes bytes)
{
    if (bytes.len > WRITE_MAX)
        return KOS_E_LIMIT;
    if (p->closing || p->in < 0) { /* nobody will read it */
        p->told_writable = false;
        kos_defer(p->client->env, &p->writable);
        return KOS_OK;
    }
    if (p->input.len - p->written > STDIN_MAX)
        return KOS_E_BUSY;
    kos_buf_consume(&p->input, p->written);
    p->written = 0;
    int32_t rc = kos_buf_append(&p->input, bytes);
    if (rc < 0)
        return rc;
    p->told_writable = false;
    return p->client->env->ops->watch_set(p->in_watch, KOS_WRITABLE);
}

static void process_close_stdin(struct kos_process *p)
{
    p->closing = true;
    if (p->in >= 0 && p->input.len == p->written)
        close_watched(p, &p->in, &p->in_watch);
}

static void process_credit(struct kos_process *p, uint64_t bytes)
{
    p->credit = bytes > UINT64_MAX - p->credit ? UINT64_MAX : p->credit + bytes;
    if (p->credit && p->out_watch)
        p->client->env->ops->watch_set(p->out_watch, KOS_READABLE);
}

static void process_kill(struct kos_process *p, bool now)
{
    struct spawn_order order = { SPAWN_MAGIC, now ? SPAWN_KILL : SPAWN_TERM };
    p->killed = true;
    process_credit(p, UINT64_MAX);
    /* A keeper that is gone has said why, or the end of its channel does. */
    ssize_t ignored = p->channel >= 0 ? send(p->channel, &order, sizeof order, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    (void)ignored;
}

/* The four pairs. ours: channel, stdin's writing end, stdout's and stderr's reading ends. */
static int32_t make_pipes(int ours[SPAWN_FDS], int theirs[SPAWN_FDS], struct kos_error *ret_error)
{
    int pair[2], made = 0;
    for (; made < SPAWN_FDS; made++) {
        int rc = made == SPAWN_CHANNEL ? socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)
                                       : pipe2(pair, O_CLOEXEC);
        if (rc < 0)
            break;
        /* pipe2 gives the reading end first; of a socket pair either serves. */
        ours[made] = pair[made == SPAWN_STDIN];
        theirs[made] = pair[made != SPAWN_STDIN];
        fcntl(ours[made], F_SETFL, fcntl(ours[made], F_GETFL) | O_NONBLOCK);
    }
    if (made == SPAWN_FDS)
        return KOS_OK;
    int error = errno;
    while (made-- > 0) {
        close(ours[made]);
        close(theirs[made]);
    }
    return kos_fail(ret_error, KOS_E_LIMIT, "pipes for an agent cannot be made: %s; see LimitNOFILE of kosd's unit",
                    strerror(error));
}

int32_t spawn_send(int fd, struct spawn_start *start, const int *theirs, size_t count)
{
    union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int) * SPAWN_FDS)]; } control = { 0 };
    struct iovec part = { start, sizeof *start };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room,
        .msg_controllen = CMSG_SPACE(sizeof(int) * count)
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(header), theirs, sizeof(int) * count);
    ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n == (ssize_t)sizeof *start)
        return KOS_OK;
    return n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS) ? KOS_E_BUSY : KOS_E_CLOSED;
}

static int32_t fill_start(const struct kos_launch *launch, struct spawn_start *start, struct kos_error *ret_error)
{
    if (strlen(launch->command) >= sizeof start->command)
        return kos_fail(ret_error, KOS_E_LIMIT, "the command of agent %s is longer than %d bytes", launch->name,
                        SPAWN_COMMAND_MAX - 1);
    if (strlen(launch->directory) >= sizeof start->directory - 8 || launch->directory[0] != '/')
        return kos_fail(ret_error, KOS_E_INVALID, "the directory of agent %s is not a usable absolute path",
                        launch->name);
    *start = (struct spawn_start){ .magic = SPAWN_MAGIC, .size = sizeof *start, .kind = SPAWN_AGENT, .limits = {
        launch->memory_bytes ? launch->memory_bytes : defaults.memory_bytes,
        launch->file_bytes ? launch->file_bytes : defaults.file_bytes,
        launch->open_files ? launch->open_files : defaults.open_files,
        launch->processes ? launch->processes : defaults.processes,
        launch->cpu_seconds ? launch->cpu_seconds : defaults.cpu_seconds,
    } };
    snprintf(start->name, sizeof start->name, "%s", launch->name);
    snprintf(start->directory, sizeof start->directory, "%s", launch->directory);
    snprintf(start->command, sizeof start->command, "%s", launch->command);
    return KOS_OK;
}

static struct kos_process *process_new(struct client *c, const struct kos_launch *launch, const int ours[SPAWN_FDS])
{
    struct kos_env *env = c->env;
    struct kos_process *p = kos_new(sizeof *p);
    p->client = c;
    p->launch = *launch;
    p->launch.name = p->launch.command = p->launch.directory = NULL;
    p->channel = ours[SPAWN_CHANNEL], p->in = ours[SPAWN_STDIN], p->out = ours[SPAWN_STDOUT],
    p->err = ours[SPAWN_STDERR];
    p->told_writable = true;
    p->writable.run = tell_writable;
    p->check.run = check_run;
    kos_buf_init(&p->input, STDIN_MAX + WRITE_MAX);
    p->channel_watch = env->ops->watch_new(env, p->channel, channel_ready, p);
    p->in_watch = env->ops->watch_new(env, p->in, in_ready, p);
    p->out_watch = env->ops->watch_new(env, p->out, out_ready, p);
    p->err_watch = env->ops->watch_new(env, p->err, err_ready, p);
    p->err_timer = kos_timer_new(env, err_again, p);
    env->ops->watch_set(p->channel_watch, KOS_READABLE);
    env->ops->watch_set(p->err_watch, KOS_READABLE);
    DL_APPEND(c->processes, p);
    return p;
}

static int32_t start_process(struct kos_launcher *launcher, const struct kos_launch *launch,
                             struct kos_process **ret_process, struct kos_error *ret_error)
{
    struct client *c = (struct client *)launcher;
    int ours[SPAWN_FDS], theirs[SPAWN_FDS];
    if (c->is_lost)
        return kos_fail(ret_error, KOS_E_CLOSED, "the process that starts agents has died: restart kosd");
    struct spawn_start *start = kos_new(sizeof *start);
    int32_t rc = fill_start(launch, start, ret_error);
    if (rc == KOS_OK && (rc = make_pipes(ours, theirs, ret_error)) == KOS_OK) {
        rc = spawn_send(c->fd, start, theirs, SPAWN_FDS);
        for (int i = 0; i < SPAWN_FDS; i++) {
            close(theirs[i]);
            if (rc < 0)
                close(ours[i]);
        }
        if (rc == KOS_E_BUSY)
            kos_fail(ret_error, rc, "too many agents are being started at this moment");
        else if (rc < 0)
            kos_fail(ret_error, rc, "the process that starts agents has died: restart kosd");
    }
    free(start);
    if (rc == KOS_OK)
        *ret_process = process_new(c, launch, ours);
    return rc;
}

/* ---- cells ---- */

static int32_t cell_pipes(int ours[2], int theirs[2], struct kos_error *ret_error)
{
    int channel[2], err[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) == 0) {
        if (pipe2(err, O_CLOEXEC) == 0) {
            ours[0] = channel[0], ours[1] = err[0];
            theirs[0] = channel[1], theirs[1] = err[1];
            for (int i = 0; i < 2; i++)
                fcntl(ours[i], F_SETFL, fcntl(ours[i], F_GETFL) | O_NONBLOCK);
            return KOS_OK;
        }
        close(channel[0]);
        close(channel[1]);
    }
    return kos_fail(ret_error, KOS_E_LIMIT, "pipes for it cannot be made: %s; see LimitNOFILE of kosd's unit",
                    strerror(errno));
}

static int32_t fill_cell(const struct kos_cell_launch *launch, struct spawn_start *start, struct kos_error *ret_error)
{
    const char *directory = launch->directory ? launch->directory : "";
    if (strlen(launch->module) >= sizeof start->module || strlen(launch->program) >= sizeof start->command ||
        strlen(directory) >= sizeof start->directory)
        return kos_fail(ret_error, KOS_E_LIMIT, "the path of its module, program or directory is too long");
    *start = (struct spawn_start){ .magic = SPAWN_MAGIC,
                                   .size = sizeof *start,
                                   .kind = SPAWN_CELL,
                                   .allow = launch->allow,
                                   .limits = { launch->memory_bytes, UINT64_C(1) << 40, launch->open_files,
                                               launch->allow & KOS_CELL_EXEC ? CELL_PROCESSES : 1, UINT64_MAX } };
    snprintf(start->name, sizeof start->name, "%s", launch->name);
    snprintf(start->directory, sizeof start->directory, "%s", directory);
    snprintf(start->command, sizeof start->command, "%s", launch->program);
    snprintf(start->module, sizeof start->module, "%s", launch->module);
    size_t at = 0;
    for (const char *const *path = launch->read; path && *path; path++) {
        size_t len = strlen(*path) + 1;
        if (len > sizeof start->read - 1 - at)
            return kos_fail(ret_error, KOS_E_LIMIT, "what it may read besides the system's has too long names");
        memcpy(start->read + at, *path, len);
        at += len;
    }
    return KOS_OK;
}

static struct kos_process *cell_new(struct client *c, const struct kos_cell_launch *launch, const int ours[2])
{
    struct kos_env *env = c->env;
    struct kos_process *p = kos_new(sizeof *p);
    p->client = c;
    p->is_cell = true;
    p->cell = *launch;
    p->cell.name = p->cell.program = p->cell.module = p->cell.directory = NULL;
    p->channel = ours[0], p->err = ours[1];
    p->in = p->out = -1;
    p->told_writable = true;
    p->writable.run = tell_writable;
    p->check.run = check_run;
    kos_buf_init(&p->input, 1);
    p->channel_watch = env->ops->watch_new(env, p->channel, channel_ready, p);
    p->err_watch = env->ops->watch_new(env, p->err, err_ready, p);
    p->err_timer = kos_timer_new(env, err_again, p);
    env->ops->watch_set(p->channel_watch, KOS_READABLE);
    env->ops->watch_set(p->err_watch, KOS_READABLE);
    DL_APPEND(c->processes, p);
    return p;
}

static int32_t start_cell(struct kos_cell_launcher *launcher, const struct kos_cell_launch *launch,
                          struct kos_cell_process **ret_process, struct kos_error *ret_error)
{
    struct client *c = (struct client *)((char *)launcher - offsetof(struct client, cells));
    int ours[2] = { -1, -1 }, theirs[2] = { -1, -1 };
    if (c->is_lost)
        return kos_fail(ret_error, KOS_E_CLOSED, "the process that starts cells has died: restart kosd");
    struct spawn_start *start = kos_new(sizeof *start);
    int32_t rc = fill_cell(launch, start, ret_error);
    if (rc == KOS_OK && (rc = cell_pipes(ours, theirs, ret_error)) == KOS_OK) {
        const int all[SPAWN_CELL_FDS] = { theirs[0], launch->channel, theirs[1] };
        /* All of a policy's cells are asked for at once, faster than a process is forked. */
        struct pollfd room = { .fd = c->fd, .events = POLLOUT };
        poll(&room, 1, START_MS);
        rc = spawn_send(c->fd, start, all, SPAWN_CELL_FDS);
        for (int i = 0; i < 2; i++) {
            close(theirs[i]);
            if (rc < 0)
                close(ours[i]);
        }
        if (rc == KOS_E_BUSY)
            kos_fail(ret_error, rc, "too many processes are being started at this moment");
        else if (rc < 0)
            kos_fail(ret_error, rc, "the process that starts cells has died: restart kosd");
    }
    free(start);
    if (rc == KOS_OK)
        *ret_process = (struct kos_cell_process *)cell_new(c, launch, ours);
    return rc;
}

static void kill_cell(struct kos_cell_process *process)
{
    process_kill((struct kos_process *)process, true);
}

/* The loop does not turn: what it would be told is looked for here. */
static void wait_cell(struct kos_cell_process *process, uint32_t timeout_ms)
{
    struct kos_process *p = (struct kos_process *)process;
    struct kos_env *env = p->client->env;
    uint64_t end = kos_mono_ms(env) + timeout_ms;
    struct client *c = p->client;
    c->awaited = p;
    for (uint64_t now; c->awaited && (now = kos_mono_ms(env)) < end;) {
        struct pollfd fds[] = { { p->channel, POLLIN, 0 }, { p->err, POLLIN, 0 } };
        if (poll(fds, 2, (int)(end - now)) <= 0)
            continue;
        if (fds[1].revents)
            err_ready(p, KOS_READABLE);
        if (fds[0].revents)
            channel_ready(p, KOS_READABLE);
        check_end(p);
    }
    c->awaited = NULL;
}

static void cell_usage(struct kos_cell_process *process, struct kos_cell_usage *ret_usage)
{
    const struct kos_process *p = (const struct kos_process *)process;
    struct kos_cell_usage usage = { .pid = p->pid };
    if (p->pid > 0)
        tree_usage((pid_t)p->pid, &usage.memory_bytes, &usage.cpu_ms);
    *ret_usage = usage;
}

static int32_t look(struct kos_cell_launcher *launcher, const char *program, const char *module,
                    struct kos_cell_look *ret_look, struct kos_error *ret_error)
{
    return spawn_look(((struct client *)((char *)launcher - offsetof(struct client, cells)))->fd, program, module,
                      ret_look, ret_error);
}

static int32_t look_end(struct kos_cell_launcher *launcher, struct kos_cell_look *at, uint32_t timeout_ms, int *ret_status,
                        struct kos_error *ret_error)
{
    (void)launcher;
    return spawn_look_end(at, timeout_ms, ret_status, ret_error);
}

static const struct kos_cell_launcher_ops cell_ops = { start_cell, kill_cell, wait_cell, cell_usage, look, look_end };

struct kos_cell_launcher *kos_spawn_cells(struct kos_launcher *launcher)
{
    return &((struct client *)launcher)->cells;
}

static const struct kos_launcher_ops client_ops = { start_process, process_write, process_close_stdin, process_credit,
                                                    process_kill };

static struct client *client_of_lose(struct kos_deferred *deferred)
{
    return (struct client *)((char *)deferred - offsetof(struct client, lose));
}

/* The last step of a loss, when no process is left; comes back until then. */
static void lose_run(struct kos_deferred *deferred)
{
    struct client *c = client_of_lose(deferred);
    while (c->processes) {
        struct kos_process *p = c->processes;
        close_watched(p, &p->out, &p->out_watch);
        close_watched(p, &p->err, &p->err_watch);
        if (!p->ended)
            set_ended(p, 0, KOS_E_CLOSED, "the process that starts agents has died");
        check_end(p); /* frees it; its callback cannot start another */
    }
    if (c->lost)
        c->lost(c->arg);
}

static void main_ready(void *arg, int32_t events)
{
    struct client *c = arg;
    char byte;
    (void)events;
    ssize_t n = recv(c->fd, &byte, 1, MSG_DONTWAIT);
    if (c->is_lost || n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    c->is_lost = true;
    c->env->ops->watch_set(c->watch, 0);
    kos_log(c->env, KOS_LOG_ERROR, "spawn",
            "the process that starts agents has died; agents do not run until kosd is restarted");
    kos_defer(c->env, &c->lose);
}

int32_t kos_spawn_client_new(struct kos_env *env, int fd, void (*lost)(void *arg), void *arg,
                             struct kos_launcher **ret_launcher, struct kos_error *ret_error)
{
    struct sigaction action;
    char text[64];
    struct client *c = kos_new(sizeof *c);
    *c = (struct client) {
        .launcher = { &client_ops }, .cells = { &cell_ops }, .env = env, .fd = fd, .lost = lost, .arg = arg, .lose = { .run = lose_run }
    };
    c->watch = env->ops->watch_new(env, fd, main_ready, c);
    if (!c->watch || env->ops->watch_set(c->watch, KOS_READABLE) < 0) {
        if (c->watch)
            env->ops->watch_free(c->watch);
        free(c);
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "this environment cannot watch the spawner's socket");
    }
    if (kos_spawn_confinement(text, sizeof text) < 0)
        kos_log(env, KOS_LOG_WARNING, "spawn", "this kernel has %s: agents cannot be confined, so none will run", text);
    /* A command that closes its stdin must not end kosd. */
    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
    *ret_launcher = &c->launcher;
    return KOS_OK;
}

void kos_spawn_client_free(struct kos_launcher *launcher)
{
    struct client *c = (struct client *)launcher;
    if (!c)
        return;
    while (c->processes)
        process_free(c->processes); /* closing the channel is the order to kill */
    kos_undefer(c->env, &c->lose);
    c->env->ops->watch_free(c->watch);
    close(c->fd);
    free(c);
}
