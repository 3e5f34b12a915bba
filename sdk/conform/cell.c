/* SPDX-License-Identifier: Apache-2.0
 * The second hosting: a kos-cell of the plugin's own, spoken to as kosd does. Its seccomp filter is on; Landlock, which
 * kosd's spawner adds, is not. */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conform.h"
#include "driver/remote.h"

enum { CHANNEL_FD = 3, LAST_MS = 3000, DENIED_STATUS = 128 + 31, HEARTBEAT_MS = 5000 };

/* Beside this program where it was built, else where it is installed; KOS_CELL names another. */
static const char *program(char *buffer, size_t cap)
{
    const char *named = getenv("KOS_CELL");
    ssize_t n = readlink("/proc/self/exe", buffer, cap - sizeof "kos-cell");
    if (named && *named)
        return named;
    if (n > 0) {
        buffer[n] = '\0';
        strcpy(strrchr(buffer, '/') + 1, "kos-cell");
        if (access(buffer, X_OK) == 0)
            return buffer;
    }
    return KOS_LIBEXECDIR "/kos-cell";
}

static _Noreturn void become_cell(const struct host *h, const char *path, int channel, int errors)
{
    static const char *const rights[] = { "net", "files", "exec" };
    const char *args[16] = { path, "--cell", h->name };
    size_t n = 3;
    for (size_t i = 0; i < sizeof rights / sizeof *rights; i++)
        if (module_asks(h->c->module, rights[i])) {
            args[n++] = "--allow";
            args[n++] = rights[i];
        }
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (channel == CHANNEL_FD)
        fcntl(channel, F_SETFD, 0);
    else
        dup2(channel, CHANNEL_FD);
    dup2(errors, STDERR_FILENO);
    for (int fd = CHANNEL_FD + 1; fd < 1024; fd++)
        close(fd);
    execv(path, (char *const *)(uintptr_t)args);
    dprintf(STDERR_FILENO, "%s: %s\n", path, strerror(errno));
    _exit(127);
}

static void cell_begun(void *arg, int32_t status, const char *text)
{
    struct host *h = arg;
    h->cell.begun = true;
    h->cell.status = status;
    snprintf(h->cell.text, sizeof h->cell.text, "%s", text);
    h->c->events++;
}

/* Its exit status, once it has ended; what still runs is ended. */
static int reap(struct host *h)
{
    int status = 0;
    pid_t pid = h->cell.pid;
    h->cell.pid = 0;
    for (int i = 0; i < LAST_MS / 10; i++) {
        if (waitpid(pid, &status, WNOHANG) != 0)
            return status;
        nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return status;
}

static void cell_ended(void *arg, const char *cause)
{
    struct host *h = arg;
    struct conform *c = h->c;
    char errors[2048] = "";
    h->cell.over = true;
    c->events++;
    if (h->life == HOST_FINISHED || (h->life == HOST_NEW && h->cell.begun))
        return;
    if (*cause && h->cell.pid > 0)
        kill(h->cell.pid, SIGKILL);
    int status = h->cell.pid > 0 ? reap(h) : 0;
    ssize_t n = read(h->cell.errors, errors, sizeof errors - 1);
    errors[n > 0 ? n : 0] = '\0';
    const char *denied = strstr(errors, "kos-cell: denied ");
    if (WIFEXITED(status) && WEXITSTATUS(status) == DENIED_STATUS && denied) {
        char *call = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, atoi(denied + strlen("kos-cell: denied ")));
        broke(c, RULE_PLUGIN_RIGHT, "it made the system call %s, which a cell with its rights may not",
              call ? call : "?");
    }
    if (WIFEXITED(status) && (WEXITSTATUS(status) == 127 || WEXITSTATUS(status) == 2)) {
        fprintf(stderr, "kos-conform: no cell: %s\n", errors);
        _exit(2);
    }
    if (*cause)
        broke(c, strstr(cause, "answer") ? RULE_ABI_SOON : RULE_ABI_PROCESS, "its cell was cut off: it %s", cause);
    if (WIFSIGNALED(status))
        broke(c, c->verdict->suspect ? c->verdict->suspect : RULE_ABI_PROCESS, "its cell ended with SIG%s (%s) %s",
              sigabbrev_np(WTERMSIG(status)), sigdescr_np(WTERMSIG(status)), errors);
    broke(c, RULE_ABI_PROCESS, "its cell ended by exit(%d) %s", WEXITSTATUS(status), errors);
}

static const struct kos_agent_info *known_agent(struct host *h)
{
    return h->services.ops->agent_by_name(&h->services, "echo");
}

int32_t cell_new(struct host *h, const struct kos_driver_spec *spec, struct kos_error *ret_error)
{
    char buffer[4096];
    const char *path = program(buffer, sizeof buffer);
    int channel[2], errors[2];
    const struct kos_remote_events events = { h, cell_begun, cell_ended };
    snprintf(h->c->verdict->last, sizeof h->c->verdict->last, "%s", "(in its cell)");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, channel) < 0 ||
        pipe2(errors, O_CLOEXEC | O_NONBLOCK) < 0)
        skip(h->c, "no socket for a cell: %s", strerror(errno));
    h->cell.pid = fork();
    if (h->cell.pid == 0)
        become_cell(h, path, channel[1], errors[1]);
    close(channel[1]);
    close(errors[1]);
    h->cell.errors = errors[0];
    int32_t rc = kos_remote_new(h->c->env, channel[0], spec, HEARTBEAT_MS, &h->services, &events, &h->backend,
                                ret_error);
    if (rc < 0)
        return rc;
    struct kos_frame *agents = kos_frame_new(KOS_CELL_AGENTS, 0, 0);
    kos_put_u64(&agents, 1);
    kos_cell_put_agent(&agents, known_agent(h));
    kos_remote_send(h->backend, agents);
    WAIT(h->c, KOS_CELL_BEGIN_MS, h->cell.begun || h->cell.over);
    if (!h->cell.begun)
        broke(h->c, RULE_ABI_SOON, "init did not return within %d s", KOS_CELL_BEGIN_MS / 1000);
    if (h->cell.status >= 0)
        return KOS_OK;
    return kos_fail(ret_error, h->cell.status, "%s", h->cell.text);
}

void cell_free(struct host *h)
{
    if (h->cell.pid > 0)
        reap(h);
    if (h->cell.errors > 0)
        close(h->cell.errors);
}
