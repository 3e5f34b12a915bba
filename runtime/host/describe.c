/* SPDX-License-Identifier: Apache-2.0
 * Has a module described by kos-cell, a process without rights: bounded JSON comes back, or the reason why not. */
#include "host/host.h"
#include "host/cell.h"
#include "driver/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DESCRIBE_MS = 10000 };

static int64_t mono_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Reads to the end of the pipe. KOS_E_LIMIT, KOS_E_TIMEOUT, or how many bytes. */
static int64_t collect(int in, int64_t end, char *text, size_t cap)
{
    size_t len = 0;
    for (;;) {
        int64_t left = end - mono_now_ms();
        struct pollfd p = { .fd = in, .events = POLLIN };
        if (left <= 0)
            return KOS_E_TIMEOUT;
        int rc = poll(&p, 1, (int)left);
        if (rc <= 0)
            continue;
        ssize_t n = read(in, text + len, cap - len);
        if (n == 0)
            return (int64_t)len;
        if (n < 0 && errno != EINTR)
            return KOS_E_IO;
        len += n > 0 ? (size_t)n : 0;
        if (len == cap)
            return KOS_E_LIMIT;
    }
}

/* Closing the pipe is not yet ending: what is still there at `end` is killed. False: it had to be. */
static bool reap(pid_t pid, int64_t end, int *ret_status)
{
    bool in_time = true;
    for (;;) {
        pid_t gone = waitpid(pid, ret_status, in_time ? WNOHANG : 0);
        if (gone == pid || (gone < 0 && errno != EINTR))
            return in_time;
        if (in_time && mono_now_ms() >= end) {
            in_time = false;
            kill(pid, SIGKILL);
        } else if (in_time) {
            poll(NULL, 0, 1);
        }
    }
}

static int32_t judge(const char *path, const char *text, int64_t got, int wait_status, json_t **ret_description,
                     struct kos_error *ret_error)
{
    if (got == KOS_E_LIMIT)
        return kos_fail(ret_error, KOS_E_PLUGIN, "%s: its description is larger than %d bytes", path,
                        KOS_MANIFEST_JSON);
    if (got == KOS_E_TIMEOUT || (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGXCPU))
        return kos_fail(ret_error, KOS_E_PLUGIN,
                        "%s: does not let itself be loaded: its constructors did not end within %d s", path,
                        DESCRIBE_MS / 1000);
    if (got < 0)
        return kos_fail(ret_error, KOS_E_PLUGIN, "%s: its description could not be read", path);
    if (WIFSIGNALED(wait_status))
        return kos_fail(ret_error, KOS_E_PLUGIN, "%s: crashed while it was looked at (signal %d, %s)", path,
                        WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
    json_t *answer = json_loadb(text, (size_t)got, JSON_REJECT_DUPLICATES, NULL);
    json_t *description = json_object_get(answer, "description"), *error = json_object_get(answer, "error");
    int32_t rc = KOS_OK;
    if (json_is_object(description)) {
        *ret_description = json_incref(description);
    } else if (json_is_object(error) && json_integer_value(json_object_get(error, "code")) < 0 &&
               json_is_string(json_object_get(error, "text"))) {
        rc = kos_fail(ret_error, (int32_t)json_integer_value(json_object_get(error, "code")), "%s",
                      json_string_value(json_object_get(error, "text")));
    } else {
        rc = kos_fail(ret_error, KOS_E_PLUGIN,
                      "%s: ended the process that looked at it without saying what it is (exit status %d)", path,
                      WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1);
    }
    json_decref(answer);
    return rc;
}

/* With nothing of this process but the writing end of the pipe. */
static int start(const char *program, const char *path, int out, pid_t *ret_pid)
{
    char name[] = "kos-cell", option[] = "--describe", lang[] = "LANG=C.UTF-8";
    char *arguments[] = { name, option, (char *)(uintptr_t)path, NULL }, *environment[] = { lang, NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    if (posix_spawn_file_actions_init(&actions) != 0)
        return ENOMEM;
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return ENOMEM;
    }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, 0, 2);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int rc = posix_spawn(ret_pid, program, &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* Started by this process itself. */
static int32_t look_here(const char *program, const char *path, int64_t end, char *text, int64_t *ret_got, int *ret_status,
                         struct kos_error *ret_error)
{
    int ends[2];
    pid_t pid = -1;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no descriptor for it");
    int failed = start(program, path, ends[1], &pid);
    close(ends[1]);
    int64_t got = failed ? 0 : collect(ends[0], end, text, KOS_MANIFEST_JSON);
    close(ends[0]);
    if (failed)
        return kos_fail(ret_error, failed == ENOENT ? KOS_E_NOTFOUND : KOS_E_IO, "%s", strerror(failed));
    if (!reap(pid, got < 0 ? 0 : end, ret_status) && got >= 0)
        got = KOS_E_TIMEOUT;
    *ret_got = got;
    return KOS_OK;
}

/* Started by who starts cells. */
static int32_t look_there(struct kos_cell_launcher *cells, const char *program, const char *path, int64_t end, char *text,
                          int64_t *ret_got, int *ret_status, struct kos_error *ret_error)
{
    struct kos_cell_look look;
    int32_t rc = cells->ops->look(cells, program, path, &look, ret_error);
    if (rc < 0)
        return rc;
    int64_t got = collect(look.out, end, text, KOS_MANIFEST_JSON), left = end - mono_now_ms();
    rc = cells->ops->look_end(cells, &look, got < 0 || left < 0 ? 0 : (uint32_t)left, ret_status, ret_error);
    if (rc < 0 && rc != KOS_E_TIMEOUT)
        return rc;
    *ret_got = rc == KOS_E_TIMEOUT && got >= 0 ? KOS_E_TIMEOUT : got;
    return KOS_OK;
}

int32_t kos_plugin_describe(const char *program, const char *path, struct kos_cell_launcher *cells, json_t **ret_description,
                            struct kos_error *ret_error)
{
    int64_t end = mono_now_ms() + DESCRIBE_MS, got = 0;
    int status = 0;
    char full[4096], *text = malloc(KOS_MANIFEST_JSON);
    struct kos_error why = { 0 };
    if (path[0] != '/' && realpath(path, full))
        path = full;
    if (!text)
        return kos_fail(ret_error, KOS_E_NOMEM, "%s: there is no memory to look at it", path);
    int32_t rc = cells && cells->ops->look ? look_there(cells, program, path, end, text, &got, &status, &why)
                                           : look_here(program, path, end, text, &got, &status, &why);
    rc = rc < 0 ? kos_fail(ret_error, rc, "%s: cannot be looked at: %s cannot be run: %s; it comes with kosd, and "
                                          "cell_program of kosd.conf or KOS_CELL in the environment can name another",
                           path, program, why.text)
                : judge(path, text, got, status, ret_description, ret_error);
    free(text);
    return rc;
}
