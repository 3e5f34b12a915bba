/* SPDX-License-Identifier: Apache-2.0
 * From the fork to the execve of a command. */
#include "confine/confine.h"
#include "spawn/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REPORT_FD = 3, NICE = 5 };

static _Noreturn void give_up(int report, const struct kos_error *error)
{
    ssize_t ignored = write(report, error, sizeof *error);
    (void)ignored;
    _exit(127);
}

static void reset_signals(void)
{
    struct sigaction standard = { .sa_handler = SIG_DFL };
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &standard, NULL); /* those that cannot be set are standard already */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Leaves 0, 1, 2 and the report, which closes itself at execve. The descriptors given are all above 3. */
static int32_t arrange_descriptors(const int *stdio, int report, struct kos_error *ret_error)
{
    for (int fd = 0; fd < 3; fd++)
        if (dup2(stdio[fd], fd) < 0)
            return kos_fail(ret_error, KOS_E_IO, "the agent's pipes cannot be set: %s", strerror(errno));
    if (report != REPORT_FD && dup3(report, REPORT_FD, O_CLOEXEC) < 0)
        return kos_fail(ret_error, KOS_E_IO, "the agent's pipes cannot be set: %s", strerror(errno));
    if (close_range(REPORT_FD + 1, ~0U, 0) < 0)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "descriptors cannot be closed: %s; Linux 5.9 or later is needed",
                        strerror(errno));
    return KOS_OK;
}

static int32_t enter_directory(const char *directory, char temporary[static PATH_MAX], struct kos_error *ret_error)
{
    umask(077);
    if (chdir(directory) < 0)
        return kos_fail(ret_error, errno == ENOENT ? KOS_E_NOTFOUND : KOS_E_PERMISSION,
                        "the agent's directory %s cannot be entered: %s", directory, strerror(errno));
    if (snprintf(temporary, PATH_MAX, "%s/tmp", directory) >= PATH_MAX)
        return kos_fail(ret_error, KOS_E_LIMIT, "the agent's directory %s has too long a name", directory);
    /* Relative, for the directory just entered; what the agent put there itself is its own affair. */
    if (mkdir("tmp", 0700) < 0 && errno != EEXIST)
        return kos_fail(ret_error, errno == ENOSPC ? KOS_E_NOSPACE : KOS_E_IO, "%s cannot be made: %s", temporary,
                        strerror(errno));
    return KOS_OK;
}

_Noreturn static void agent_run(const struct confinement *c, const struct spawn_start *start, const int *stdio,
                                int report)
{
    struct kos_error error = { 0 };
    char home[PATH_MAX + 8], temporary[PATH_MAX], tmpdir[PATH_MAX + 8], agent[SPAWN_NAME_MAX + 16];
    setpriority(PRIO_PROCESS, 0, NICE); /* kosd, and the keeper that must end it, come first */
    int32_t rc = arrange_descriptors(stdio, report, &error);
    if (rc < 0)
        give_up(report, &error);
    report = REPORT_FD;
    rc = enter_directory(start->directory, temporary, &error);
    if (rc == KOS_OK)
        rc = confine_apply(c, start, &error);
    if (rc < 0)
        give_up(report, &error);
    snprintf(home, sizeof home, "HOME=%s", start->directory);
    snprintf(tmpdir, sizeof tmpdir, "TMPDIR=%s", temporary);
    snprintf(agent, sizeof agent, "KOS_AGENT=%s", start->name);
    char path[] = "PATH=/usr/local/bin:/usr/bin:/bin", lang[] = "LANG=C.UTF-8", sh[] = "sh", dash_c[] = "-c";
    char *environment[] = { path, home, lang, agent, tmpdir, NULL };
    char *arguments[] = { sh, dash_c, (char *)(uintptr_t)start->command, NULL };
    if (confine_limits(&start->limits, &error) < 0)
        give_up(report, &error);
    execve("/bin/sh", arguments, environment);
    kos_fail(&error, KOS_E_IO, "/bin/sh cannot be run: %s", strerror(errno));
    give_up(report, &error);
}

enum { CELL_SOCKET = 3, CELL_REPORT = 4, MESSAGES = SPAWN_CELL_STDERR - 1, SOCKET = SPAWN_CELL_SOCKET - 1 };

/* /dev/null, its messages twice, the socket, and the report that closes itself at execve. */
static int32_t arrange_cell(const int *fds, int report, struct kos_error *ret_error)
{
    /* Out of the way of the numbers that they are to have. */
    int socket = fcntl(fds[SOCKET], F_DUPFD_CLOEXEC, 16), messages = fcntl(fds[MESSAGES], F_DUPFD_CLOEXEC, 16);
    int reporting = fcntl(report, F_DUPFD_CLOEXEC, 16), null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (socket < 0 || messages < 0 || reporting < 0 || null < 0 || dup2(null, 0) < 0 || dup2(messages, 1) < 0 ||
        dup2(messages, 2) < 0 || dup2(socket, CELL_SOCKET) < 0 || dup3(reporting, CELL_REPORT, O_CLOEXEC) < 0)
        return kos_fail(ret_error, KOS_E_IO, "its descriptors cannot be set: %s", strerror(errno));
    if (close_range(CELL_REPORT + 1, ~0U, 0) < 0)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "descriptors cannot be closed: %s; Linux 5.9 or later is needed",
                        strerror(errno));
    return KOS_OK;
}

_Noreturn static void cell_run(const struct confinement *c, const struct spawn_start *start, const int *fds, int report)
{
    static const char *const rights[] = { "net", "files", "exec" }; /* bits of enum kos_cell_allow */
    struct kos_error error = { 0 };
    char home[PATH_MAX + 8], path[] = "PATH=/usr/local/bin:/usr/bin:/bin", lang[] = "LANG=C.UTF-8";
    char program[] = "kos-cell", cell[] = "--cell", allow[] = "--allow";
    char *arguments[16] = { program, cell, (char *)(uintptr_t)start->name };
    int count = 3;
    int32_t rc = arrange_cell(fds, report, &error);
    report = rc == KOS_OK ? CELL_REPORT : report;
    umask(077);
    if (rc == KOS_OK && chdir(start->directory[0] ? start->directory : "/") < 0)
        rc = kos_fail(&error, KOS_E_PERMISSION, "its directory %s cannot be entered: %s", start->directory,
                      strerror(errno));
    if (rc == KOS_OK)
        rc = confine_cell(c, start, &error);
    snprintf(home, sizeof home, "HOME=%s", start->directory[0] ? start->directory : "/");
    char *environment[] = { path, home, lang, NULL };
    for (unsigned i = 0; i < sizeof rights / sizeof *rights; i++)
        if (start->allow & 1u << i) {
            arguments[count++] = allow;
            arguments[count++] = (char *)(uintptr_t)rights[i];
        }
    if (rc == KOS_OK && (rc = confine_limits(&start->limits, &error)) == KOS_OK) {
        execve(start->command, arguments, environment);
        kos_fail(&error, errno == ENOENT ? KOS_E_NOTFOUND : KOS_E_IO, "%s cannot be run: %s", start->command,
                 strerror(errno));
    }
    give_up(report, &error);
}

/* The process that looks at a module limits and confines itself before it loads it (cell/describe.c). */
_Noreturn static void look_run(const struct spawn_start *start, const int *fds, int report)
{
    struct kos_error error = { 0 };
    char name[] = "kos-cell", option[] = "--describe", lang[] = "LANG=C.UTF-8";
    char *arguments[] = { name, option, (char *)(uintptr_t)start->module, NULL }, *environment[] = { lang, NULL };
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), out = fcntl(fds[SPAWN_LOOK_OUT - 1], F_DUPFD_CLOEXEC, 16);
    int reporting = fcntl(report, F_DUPFD_CLOEXEC, 16);
    int32_t rc = KOS_OK;
    if (null < 0 || out < 0 || reporting < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(null, 2) < 0 ||
        dup3(reporting, REPORT_FD, O_CLOEXEC) < 0 || close_range(REPORT_FD + 1, ~0U, 0) < 0)
        rc = kos_fail(&error, KOS_E_IO, "its descriptors cannot be set: %s", strerror(errno));
    else
        rc = kos_confine_capabilities(0, &error);
    if (rc == KOS_OK) {
        execve(start->command, arguments, environment);
        kos_fail(&error, errno == ENOENT ? KOS_E_NOTFOUND : KOS_E_IO, "%s", strerror(errno));
    }
    give_up(REPORT_FD, &error);
}

_Noreturn void child_run(const struct confinement *c, const struct spawn_start *start, const int *fds, int report)
{
    setsid();
    /* The keeper is the parent; had it died before this, the answer would not come. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != c->keeper)
        _exit(127);
    reset_signals();
    if (start->kind == SPAWN_CELL)
        cell_run(c, start, fds, report);
    if (start->kind == SPAWN_LOOK)
        look_run(start, fds, report);
    agent_run(c, start, fds, report);
}
