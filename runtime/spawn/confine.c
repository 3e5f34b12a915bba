/* SPDX-License-Identifier: Apache-2.0
 * What a command may reach: no capabilities, Landlock, limits. */

#include <dlfcn.h>
#include <errno.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <klp/id.h>
#include "confine/confine.h"
#include "spawn/spawner.h"
#include "spawn/spawn.h"

#define ACCESS_RUN (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
/* No devices and no sockets are made in a command's own directory. */
#define ACCESS_NEVER                                                                                                   \
    (LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SOCK | KOS_LANDLOCK_IOCTL_DEV)

const char *const kos_spawn_readable[] = {
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    /* Of /etc only what programs need: as root, an agent would read shadow and host keys otherwise. */
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates",
    "/etc/pki/tls/certs",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/alternatives",
    "/etc/mime.types",
    "/etc/magic",
    "/etc/locale.alias",
    "/etc/terminfo",
    "/etc/profile",
    "/etc/bash.bashrc",
    "/etc/inputrc",
    "/etc/python3",
    "/etc/python3.11",
    "/etc/python3.13",
    "/etc/perl",
    "/etc/fonts",
    "/etc/java-17-openjdk",
    "/etc/machine-id",
    "/sys/devices/system/cpu",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/sys/vm/overcommit_memory",
    NULL,
};

static const char *const devices[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom" };

int32_t confine_prepare(const char *instance, const char *const *readable, struct confinement *ret_confinement,
                        struct kos_error *ret_error)
{
    char resolved[PATH_MAX];
    struct confinement c = { .readable = readable ? readable : kos_spawn_readable, .landlock = kos_landlock_abi() };
    if (!realpath(instance, c.instance))
        return kos_fail(ret_error, KOS_E_CONFIG, "the instance directory %s cannot be used: %s", instance,
                        strerror(errno));
    for (const char *const *path = c.readable; *path; path++) {
        if (**path != '/')
            return kos_fail(ret_error, KOS_E_CONFIG,
                            "agents cannot be given \"%s\" to read: it is not an absolute path", *path);
        if (realpath(*path, resolved) && (kos_path_below(c.instance, resolved) || kos_path_below(resolved, c.instance)))
            return kos_fail(
                ret_error, KOS_E_CONFIG,
                "the instance %s and %s, which agents may read, lie one in the other: agents could read keys/; "
                "move the instance or change what agents may read",
                c.instance, *path);
    }
    *ret_confinement = c;
    return KOS_OK;
}

/* The files that the command's words name by absolute path: the operator wrote them, so the agent may read them. Only
 * words of plain characters, so that no quoting or expansion of the shell has to be understood. */
static void grant_words(int ruleset, const char *command, uint64_t all, const char *instance)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._+-@%:,";
    static const char around[] = " \t\n'\"=;|&()<>";
    char path[PATH_MAX];
    struct stat st;
    for (const char *at = command; *at; ) {
        size_t len = strspn(at, plain);
        bool ends = at[len] == 0 || strchr(around, at[len]);
        if (*at == '/' && len < sizeof path && ends && (at == command || strchr(around, at[-1]))) {
            memcpy(path, at, len);
            path[len] = 0;
            if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
                kos_landlock_grant(ruleset, path, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE, all, instance);
        }
        at += len ? len : 1;
    }
}

static int32_t landlock_end(int ruleset, int32_t rc, const char *whom, struct kos_error *ret_error)
{
    if (rc == KOS_OK)
        rc = kos_landlock_apply(ruleset);
    else
        close(ruleset);
    return rc < 0 ? kos_fail(ret_error, KOS_E_UNSUPPORTED, "Landlock cannot confine %s: %s", whom, strerror(errno))
                  : KOS_OK;
}

static int32_t landlock(const struct confinement *c, const struct spawn_start *start, struct kos_error *ret_error)
{
    uint64_t all = kos_landlock_all(c->landlock);
    if (c->landlock < 1)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED,
                        "this kernel has no Landlock, so agents could read the node's keys");
    int ruleset = kos_landlock_new(c->landlock, all, 1);
    if (ruleset < 0)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "Landlock refuses a ruleset: %s", strerror(errno));
    int32_t rc = kos_landlock_grant(ruleset, start->directory, all & ~ACCESS_NEVER, all, NULL);
    for (const char *const *path = c->readable; rc == KOS_OK && *path; path++)
        rc = kos_landlock_grant(ruleset, *path, ACCESS_RUN, all, c->instance);
    for (size_t i = 0; rc == KOS_OK && i < sizeof devices / sizeof *devices; i++)
        rc = kos_landlock_grant(ruleset, devices[i], LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | KOS_LANDLOCK_TRUNCATE,
                   all, NULL);
    if (rc == KOS_OK)
        grant_words(ruleset, start->command, all, c->instance);
    return landlock_end(ruleset, rc, "the agent", ret_error);
}

/* What the policy lets a cell read besides: never anything of the instance. */
static int32_t grant_read(int ruleset, const struct confinement *c, const struct spawn_start *start, uint64_t all,
                          struct kos_error *ret_error)
{
    char resolved[PATH_MAX];
    int32_t rc = KOS_OK;
    for (const char *path = start->read; rc == KOS_OK && *path; path += strlen(path) + 1) {
        if (!realpath(path, resolved))
            rc = kos_fail(ret_error, KOS_E_NOTFOUND, "%s, which it may read, cannot be used: %s", path,
                          strerror(errno));
        else if (kos_path_below(resolved, c->instance) || kos_path_below(c->instance, resolved))
            rc = kos_fail(ret_error, KOS_E_CONFIG, "%s, which it may read, and the instance lie one in the other", path);
        else if (kos_landlock_grant(ruleset, path, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR, all, c->instance) < 0)
            rc = kos_fail(ret_error, KOS_E_IO, "Landlock refuses %s: %s", path, strerror(errno));
    }
    return rc;
}

/* A cell: its program and module, the system's libraries, its own directory if it has one. */
static int32_t landlock_cell(const struct confinement *c, const struct spawn_start *start, struct kos_error *ret_error)
{
    static const char *const own[] = { "/proc/self/maps", "/proc/self/status", "/proc/self/stat" };
    uint64_t all = kos_landlock_all(c->landlock);
    if (c->landlock < 1)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED,
                        "this kernel has no Landlock, so an isolated plugin could read the node's keys");
    int ruleset = kos_landlock_new(c->landlock, all, 1);
    if (ruleset < 0)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "Landlock refuses a ruleset: %s", strerror(errno));
    int32_t rc = grant_read(ruleset, c, start, all, ret_error);
    if (rc < 0) {
        close(ruleset);
        return rc;
    }
    if (start->directory[0])
        rc = kos_landlock_grant(ruleset, start->directory, all & ~ACCESS_NEVER, all, NULL);
    if (rc == KOS_OK)
        rc = kos_landlock_grant(ruleset, start->command, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE, all, NULL);
    if (rc == KOS_OK)
        rc = kos_landlock_grant(ruleset, start->module, LANDLOCK_ACCESS_FS_READ_FILE, all, NULL);
    /* The library that plugins share with kosd lies where kosd found it. */
    Dl_info klp;
    if (rc == KOS_OK && dladdr((void *)(uintptr_t)klp_id_parse, &klp) && klp.dli_fname)
        rc = kos_landlock_grant(ruleset, klp.dli_fname, LANDLOCK_ACCESS_FS_READ_FILE, all, NULL);
    for (const char *const *path = kos_spawn_readable; rc == KOS_OK && *path; path++)
        rc = kos_landlock_grant(ruleset, *path, ACCESS_RUN, all, c->instance);
    for (size_t i = 0; rc == KOS_OK && i < sizeof own / sizeof *own; i++)
        rc = kos_landlock_grant(ruleset, own[i], LANDLOCK_ACCESS_FS_READ_FILE, all, NULL);
    for (size_t i = 0; rc == KOS_OK && i < sizeof devices / sizeof *devices; i++)
        rc = kos_landlock_grant(ruleset, devices[i], LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | KOS_LANDLOCK_TRUNCATE,
                   all, NULL);
    return landlock_end(ruleset, rc, "it", ret_error);
}

static int32_t drop_capabilities(struct kos_error *ret_error)
{
    return kos_confine_capabilities(0, ret_error); /* even root's agents have none, now or after any execve */
}

int32_t confine_filter(const struct confinement *c, struct kos_error *ret_error)
{
    const pid_t kept[] = { c->kosd, c->spawner, c->keeper, -1, 0 };
    int rc = kos_filter_command(kept, c->landlock);
    return rc < 0
               ? kos_fail(ret_error, KOS_E_UNSUPPORTED, "the agent's seccomp filter cannot be set: %s", strerror(-rc))
               : KOS_OK;
}

int32_t confine_apply(const struct confinement *c, const struct spawn_start *start, struct kos_error *ret_error)
{
    int32_t rc = drop_capabilities(ret_error);
    if (rc == KOS_OK)
        rc = landlock(c, start, ret_error);
    return rc == KOS_OK ? confine_filter(c, ret_error) : rc;
}

int32_t confine_cell(const struct confinement *c, const struct spawn_start *start, struct kos_error *ret_error)
{
    int32_t rc = drop_capabilities(ret_error);
    return rc == KOS_OK ? landlock_cell(c, start, ret_error) : rc;
}

static bool limit(int what, uint64_t value)
{
    struct rlimit now, want = { value, value };
    if (getrlimit(what, &now) < 0)
        return false;
    /* Never above what the spawner itself has. */
    if (now.rlim_max != RLIM_INFINITY && (want.rlim_max == RLIM_INFINITY || want.rlim_max > now.rlim_max))
        want.rlim_cur = want.rlim_max = now.rlim_max;
    return setrlimit(what, &want) == 0;
}

int32_t confine_limits(const struct spawn_limits *limits, struct kos_error *ret_error)
{
    /* Counts all of the user's threads, and root's not at all: it only stops a burst between two looks of the
     * keeper. */
    bool ok = limit(RLIMIT_NPROC, limits->processes + 4096) && limit(RLIMIT_CORE, 0) &&
              limit(RLIMIT_FSIZE, limits->file_bytes) && limit(RLIMIT_NOFILE, limits->open_files) &&
              limit(RLIMIT_CPU, limits->cpu_seconds == UINT64_MAX ? RLIM_INFINITY : limits->cpu_seconds) &&
              limit(RLIMIT_MEMLOCK, 1 << 20);
#if !defined(__SANITIZE_ADDRESS__)
    /* RLIMIT_DATA rather than RLIMIT_AS: runtimes reserve address space that they never use. AddressSanitizer's shadow
     * memory counts as data, so a command built with it would not start. */
    ok = ok && limit(RLIMIT_DATA, limits->memory_bytes);
#endif
    return ok ? KOS_OK : kos_fail(ret_error, KOS_E_INVALID, "its limits cannot be set: %s", strerror(errno));
}
