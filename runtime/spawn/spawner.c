/* SPDX-License-Identifier: Apache-2.0
 *
 * The spawner's process: takes requests, forks a keeper for each. It is a subreaper too: if a keeper is killed, what it
 * kept falls to the spawner, which kills it.
 */
#include "spawn/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine/confine.h"
#include "spawn/spawn.h"

enum { KEEPERS_MAX = 1024, MAIN_FD = 3 };

struct spawner {
    struct confinement confinement;
    int signals;
    size_t count;
    pid_t keepers[KEEPERS_MAX];
    struct spawn_start start;          /* the request at hand */
};

static void refuse(int channel, int32_t code, const char *text)
{
    struct spawn_event event = { .magic = SPAWN_MAGIC, .type = SPAWN_FAILED, .code = code };
    snprintf(event.text, sizeof event.text, "%s", text);
    ssize_t ignored = send(channel, &event, sizeof event, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)ignored;
}

static bool terminated(const char *text, size_t cap)
{
    return memchr(text, 0, cap) != NULL;
}

bool spawn_sound(const struct spawn_start *start, const int fds[SPAWN_FDS])
{
    struct stat st;
    if (start->magic != SPAWN_MAGIC || start->size != sizeof *start)
        return false;
    if (!terminated(start->name, sizeof start->name) || !terminated(start->directory, sizeof start->directory) ||
        !terminated(start->command, sizeof start->command) || !terminated(start->module, sizeof start->module) || start->read[SPAWN_READ_MAX - 1] || start->read[SPAWN_READ_MAX - 2])
        return false;
    const struct spawn_limits *l = &start->limits;
    bool look = start->kind == SPAWN_LOOK, cell = look || start->kind == SPAWN_CELL;
    if ((!cell && start->kind != SPAWN_AGENT) || (cell && (start->command[0] != '/' || start->module[0] != '/')) ||
        (start->directory[0] != '/' && !(cell && start->directory[0] == 0)) || !l->memory_bytes || !l->file_bytes || !l->open_files || !l->processes ||
        !l->cpu_seconds)
        return false;
    for (int i = 0; i < (cell ? SPAWN_CELL_FDS : SPAWN_FDS); i++) {
        bool socket = i == SPAWN_CHANNEL || (start->kind == SPAWN_CELL && i == SPAWN_CELL_SOCKET);
        if (fstat(fds[i], &st) < 0 || !(socket ? S_ISSOCK(st.st_mode) : S_ISFIFO(st.st_mode)))
            return false;
    }
    return cell == (fds[SPAWN_CELL_FDS] < 0);
}

/* Takes one packet. Returns its descriptors in `fds` (-1: none) and whether it has the form of a request; false with
 * *ret_end set when the client is gone. */
static bool receive(struct spawn_start *start, int fds[SPAWN_FDS], bool *ret_end)
{
    union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int) * SPAWN_FDS)]; } control;
    struct iovec part = { start, sizeof *start };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room
    };
    for (int i = 0; i < SPAWN_FDS; i++)
        fds[i] = -1;
    ssize_t n = recvmsg(MAIN_FD, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    *ret_end = n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
    if (n <= 0)
        return false;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    size_t got = 0;
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        got = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(header), got * sizeof(int));
    }
    return n == (ssize_t)sizeof *start && got >= SPAWN_CELL_FDS && got <= SPAWN_FDS && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
}

static _Noreturn void become_keeper(struct spawner *s, const int fds[SPAWN_FDS])
{
    close(MAIN_FD);
    close(s->signals);
    keeper_run(&s->confinement, &s->start, fds[SPAWN_CHANNEL], fds + SPAWN_STDIN);
}

static bool serve_one(struct spawner *s)
{
    int fds[SPAWN_FDS];
    bool end;
    if (receive(&s->start, fds, &end)) {
        if (!spawn_sound(&s->start, fds)) {
            refuse(fds[SPAWN_CHANNEL], KOS_E_INVALID, "the spawner does not understand the request");
        } else if (s->count == KEEPERS_MAX) {
            refuse(fds[SPAWN_CHANNEL], KOS_E_BUSY, "1024 processes of agents and plugins run already");
        } else {
            pid_t pid = fork();
            if (pid == 0)
                become_keeper(s, fds);
            if (pid < 0)
                refuse(fds[SPAWN_CHANNEL], KOS_E_BUSY,
                       "a keeper for it cannot be made: a limit on processes or memory is reached");
            else
                s->keepers[s->count++] = pid;
        }
    }
    for (int i = 0; i < SPAWN_FDS; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return !end;
}

/* Kills what fell to the spawner because its keeper died, but not the keepers. */
static void kill_strays(struct spawner *s)
{
    struct tree tree = { 0 }, below = { 0 };
    tree_read(&tree, getpid(), TREE_MAX);
    for (size_t i = 0; i < tree.count; i++) {
        pid_t pid = tree.pids[i];
        bool kept = false;
        /* Parents come first, so the direct children are told by asking for theirs. */
        for (size_t k = 0; k < s->count && !kept; k++) {
            kept = s->keepers[k] == pid;
            if (!kept && tree_read(&below, s->keepers[k], TREE_MAX) == KOS_OK)
                for (size_t b = 0; b < below.count && !kept; b++)
                    kept = below.pids[b] == pid;
        }
        if (!kept)
            kill(pid, SIGKILL);
    }
    tree_fini(&tree);
    tree_fini(&below);
}

static void reap(struct spawner *s)
{
    struct signalfd_siginfo info;
    ssize_t ignored = read(s->signals, &info, sizeof info);
    (void)ignored;
    bool strays = false;
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        size_t at = 0;
        while (at < s->count && s->keepers[at] != pid)
            at++;
        if (at < s->count)
            s->keepers[at] = s->keepers[--s->count];
        /* Not a keeper: a stray, which may have left others. */
        strays |= at == s->count || WIFSIGNALED(status);
    }
    if (strays)
        kill_strays(s);
}

static _Noreturn void serve(struct spawner *s)
{
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_SETMASK, &child, NULL);
    s->signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signals < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        _exit(1);
    struct pollfd fds[] = { { MAIN_FD, POLLIN, 0 }, { s->signals, POLLIN, 0 } };
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        if (fds[1].revents)
            reap(s);
        if (fds[0].revents && !serve_one(s))
            break;
    }
    /* The keepers see their channels end, and end themselves with all they keep. */
    while (waitpid(-1, NULL, 0) >= 0 || errno == EINTR)
        continue;
    _exit(0);
}

/* A session of its own, so that a terminal's signals to kosd's group leave it alone; no descriptor of kosd but
 * stderr, if that. */
static _Noreturn void become_spawner(const struct confinement *confinement, const char *log, int fd)
{
    setsid();
    prctl(PR_SET_NAME, "kos-spawner", 0, 0, 0);
    struct sigaction standard = { .sa_handler = SIG_DFL };
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &standard, NULL);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int messages = log ? open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (log && dup2(messages >= 0 ? messages : null, 2) < 0)
        _exit(1);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(fd, MAIN_FD) < 0)
        _exit(1);
    if (fcntl(MAIN_FD, F_SETFD, FD_CLOEXEC) < 0 || close_range(MAIN_FD + 1, ~0U, 0) < 0 || chdir("/") < 0)
        _exit(1);
    /* What it starts is confined further. Where a filter is not to be had agents are refused, by name. */
    struct kos_error ignored;
    kos_confine_capabilities(0, &ignored);
    kos_filter_spawner();
    struct spawner *s = calloc(1, sizeof *s);
    if (!s)
        _exit(1);
    s->confinement = *confinement;
    s->confinement.spawner = getpid();
    serve(s);
}

int32_t kos_spawn_fork(const struct kos_spawn_options *options, int *ret_fd, pid_t *ret_pid,
                       struct kos_error *ret_error)
{
    struct confinement confinement;
    int pair[2];
    int32_t rc = confine_prepare(options->instance, options->readable, &confinement, ret_error);
    if (rc < 0)
        return rc;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return kos_fail(ret_error, KOS_E_IO, "a socket for the spawner cannot be made: %s", strerror(errno));
    confinement.kosd = getpid();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (options->forget)
            options->forget(options->arg);
        close(pair[0]);
        become_spawner(&confinement, options->log, pair[1]);
    }
    close(pair[1]);
    if (pid < 0) {
        int error = errno;
        close(pair[0]);
        return kos_fail(ret_error, KOS_E_BUSY, "the spawner cannot be forked: %s", strerror(error));
    }
    *ret_fd = pair[0];
    *ret_pid = pid;
    return KOS_OK;
}

int32_t kos_spawn_confinement(char *ret_text, size_t cap)
{
    int32_t abi = kos_landlock_abi();
    bool seccomp = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
    if (abi > 0 && seccomp)
        snprintf(ret_text, cap, "Landlock ABI %d, seccomp", (int)abi);
    else
        snprintf(ret_text, cap, "no %s", abi > 0 ? "seccomp" : seccomp ? "Landlock" : "Landlock, no seccomp");
    return abi > 0 && seccomp ? KOS_OK : KOS_E_UNSUPPORTED;
}
