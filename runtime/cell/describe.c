/* SPDX-License-Identifier: Apache-2.0
 * kos-cell --describe: a module's constructors run here, with limits and without rights, and only JSON comes out. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cell/cell.h"
#include "confine/confine.h"
#include "driver/manifest.h"

enum { CPU_S = 5, FILES = 256 };
#define MEMORY ((rlim_t)1 << 30)

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
    bool ok = limit(RLIMIT_CPU, CPU_S) && limit(RLIMIT_CORE, 0) && limit(RLIMIT_NOFILE, FILES);
#ifndef __SANITIZE_ADDRESS__ /* its shadow takes terabytes of address space */
    ok = ok && limit(RLIMIT_DATA, MEMORY);
#endif
    return ok;
}

static json_t *answer(const char *path)
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

int cell_describe(const char *path)
{
    char full[4096];
    if (path[0] != '/' && realpath(path, full))
        path = full;
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_DUMPABLE, 0);
    /* What a module prints while it is loaded is not mixed into the answer. */
    int out = fcntl(1, F_DUPFD_CLOEXEC, 3), null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3 && null >= 0; fd++)
        dup2(null, fd);
    if (out < 0 || null < 0)
        return 2;
    json_t *json = set_limits() && kos_filter_describe(out) == 0
        ? answer(path)
        : json_pack("{s:{s:i, s:s}}", "error", "code", (int)KOS_E_UNSUPPORTED, "text",
                    "the kernel does not let a module be looked at safely (rlimits, seccomp)");
    bool ok = json_object_get(json, "description") != NULL;
    char *text = json_dumps(json, JSON_COMPACT);
    for (size_t at = 0, len = text ? strlen(text) : 0; at < len;) {
        ssize_t n = write(out, text + at, len - at);
        if (n < 0 && errno != EINTR)
            break;
        at += n > 0 ? (size_t)n : 0;
    }
    return ok ? 0 : 1;
}
