/* SPDX-License-Identifier: Apache-2.0
 * Describes a module in a child process: its constructors run there, with limits and without rights, and only bounded
 * JSON comes back. The child may map and read files, compute, and write to one pipe. */
#include "host/host.h"
#include "driver/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DESCRIBE_MS = 10000, DESCRIBE_CPU_S = 5, DESCRIBE_FILES = 256 };
#define DESCRIBE_MEMORY ((rlim_t)1 << 30)

#if defined(__SANITIZE_ADDRESS__)
#define DESCRIBE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DESCRIBE_SANITIZED 1
#endif
#endif
#ifndef DESCRIBE_SANITIZED
#define DESCRIBE_SANITIZED 0
#endif

/* The hard limit lies a little above: at the soft one of CPU time a signal says why it ends. */
static bool limit(int what, rlim_t value)
{
    struct rlimit now, wanted = { value, value + 1 };
    if (getrlimit(what, &now) != 0)
        return false;
    if (now.rlim_max < wanted.rlim_max)
        wanted = (struct rlimit){ now.rlim_max < value ? now.rlim_max : value, now.rlim_max };
    return setrlimit(what, &wanted) == 0;
}

static bool set_limits(void)
{
    bool ok = limit(RLIMIT_CPU, DESCRIBE_CPU_S) && limit(RLIMIT_CORE, 0) && limit(RLIMIT_NOFILE, DESCRIBE_FILES);
    /* The sanitizer's shadow takes terabytes of address space. */
    return ok && (DESCRIBE_SANITIZED || limit(RLIMIT_DATA, DESCRIBE_MEMORY));
}

/* What a dynamic linker, constructors and JSON need. All else gives EPERM, so that a library's constructor that looks
 * for more fares as on a poor machine instead of ending the description. */
static bool confine(int out)
{
    static const int allowed[] = {
        SCMP_SYS(read), SCMP_SYS(pread64), SCMP_SYS(readv), SCMP_SYS(close), SCMP_SYS(fstat), SCMP_SYS(newfstatat),
        SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(statx), SCMP_SYS(lseek), SCMP_SYS(mmap), SCMP_SYS(mprotect),
        SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(futex), SCMP_SYS(getrandom),
        SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(getpid),
        SCMP_SYS(gettid), SCMP_SYS(getppid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid),
        SCMP_SYS(getegid), SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_yield), SCMP_SYS(getrlimit), SCMP_SYS(uname),
        SCMP_SYS(sysinfo), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigreturn),
        SCMP_SYS(sigaltstack), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(access), SCMP_SYS(faccessat),
        SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getcwd), SCMP_SYS(getdents64),
        SCMP_SYS(arch_prctl), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(set_tid_address),
        SCMP_SYS(membarrier), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
    };
    const uint64_t changing = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!filter)
        return false;
    bool ok = true;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        ok = (seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0) == 0 || allowed[i] < 0) && ok;
    ok = ok &&
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                         SCMP_A2(SCMP_CMP_MASKED_EQ, changing, O_RDONLY)) == 0;
    ok = ok &&
        (seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(open), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, changing, O_RDONLY)) ==
             0 ||
         SCMP_SYS(open) < 0);
    ok = ok &&
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(write), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)out)) == 0;
    ok = ok && seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0)) == 0;
    ok = ok &&
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid())) ==
            0; /* abort() */
    ok = ok && seccomp_load(filter) == 0;
    seccomp_release(filter);
    return ok;
}

static json_t *describe_here(const char *path)
{
    const struct kos_plugin *plugin;
    struct kos_plugin checked;
    struct kos_error error = { 0 };
    int32_t rc = kos_module_open(path, &plugin, &error);
    if (rc >= 0)
        rc = kos_manifest_check(path, plugin, &checked, &error);
    return rc >= 0 ? json_pack("{s:o?}", "description", kos_manifest_json(&checked))
                   : json_pack("{s:{s:i, s:s}}", "error", "code", (int)rc, "text", error.text);
}

static void child(const char *path, int out)
{
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3 && null >= 0; fd++)
        dup2(null, fd);
    /* Descriptors of kosd are none of the module's business. */
    if (out > 3)
        close_range(3, (unsigned)out - 1, 0);
    close_range((unsigned)out + 1, ~0u, 0);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 0);
    json_t *answer = set_limits() && confine(out)
        ? describe_here(path)
        : json_pack("{s:{s:i, s:s}}", "error", "code", (int)KOS_E_UNSUPPORTED, "text",
                    "the kernel does not let a module be looked at safely (rlimits, seccomp)");
    char *text = json_dumps(answer, JSON_COMPACT);
    for (size_t at = 0, len = text ? strlen(text) : 0; at < len;) {
        ssize_t n = write(out, text + at, len - at);
        if (n < 0 && errno != EINTR)
            break;
        at += n > 0 ? (size_t)n : 0;
    }
    _exit(0);
}

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

int32_t kos_plugin_describe(const char *path, json_t **ret_description, struct kos_error *ret_error)
{
    int64_t end = mono_now_ms() + DESCRIBE_MS;
    int ends[2], status = 0;
    char full[4096], *text = malloc(KOS_MANIFEST_JSON);
    if (path[0] != '/' && realpath(path, full))
        path = full;
    if (!text || pipe2(ends, O_CLOEXEC) != 0) {
        free(text);
        return kos_fail(ret_error, KOS_E_NOMEM, "%s: there is no memory or descriptor to look at it", path);
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        child(path, ends[1]);
    }
    close(ends[1]);
    int64_t got = pid > 0 ? collect(ends[0], end, text, KOS_MANIFEST_JSON) : KOS_E_NOMEM;
    close(ends[0]);
    if (pid > 0 && !reap(pid, got < 0 ? 0 : end, &status) && got >= 0)
        got = KOS_E_TIMEOUT;
    int32_t rc = pid < 0 ? kos_fail(ret_error, KOS_E_NOMEM, "%s: no process can be started to look at it", path)
                         : judge(path, text, got, status, ret_description, ret_error);
    free(text);
    return rc;
}
