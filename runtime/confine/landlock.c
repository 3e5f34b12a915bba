/* SPDX-License-Identifier: Apache-2.0
 * Landlock rulesets: which files a process may reach, whoever it is. */
#include "confine/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ACCESS_ABI_1 ((UINT64_C(1) << 13) - 1)
#define ACCESS_FILE                                                                                                    \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |                       \
     KOS_LANDLOCK_TRUNCATE | KOS_LANDLOCK_IOCTL_DEV)
#define SCOPE_ABSTRACT_UNIX_SOCKET (UINT64_C(1) << 0) /* ABI 6 */
#define SCOPE_SIGNAL               (UINT64_C(1) << 1)

/* As the kernel lays it out since ABI 6; an older kernel is given the shorter size that it knows. */
struct ruleset_attr {
    uint64_t handled_access_fs, handled_access_net, scoped;
};

int32_t kos_landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi > 0 ? (int32_t)abi : 0;
}

uint64_t kos_landlock_all(int32_t abi)
{
    return ACCESS_ABI_1 | (abi >= 2 ? KOS_LANDLOCK_REFER : 0) | (abi >= 3 ? KOS_LANDLOCK_TRUNCATE : 0) |
           (abi >= 5 ? KOS_LANDLOCK_IOCTL_DEV : 0);
}

int kos_landlock_new(int32_t abi, uint64_t handled, int scoped)
{
    struct ruleset_attr attr = { .handled_access_fs = handled,
                                 .scoped = scoped ? SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL : 0 };
    size_t size = abi >= 6 ? sizeof attr : sizeof attr.handled_access_fs;
    return (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
}

int kos_path_below(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    if (len == 1)
        return 1;
    return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == 0);
}

/* Whether the file that `fd` is lies in `outside`, or holds it. Asked of the descriptor, so that what was checked is what
 * is granted. */
static int meets(int fd, const char *path, const char *outside)
{
    char resolved[PATH_MAX], link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, resolved, sizeof resolved - 1);
    if (len < 0 && !realpath(path, resolved))
        return 1;
    if (len >= 0)
        resolved[len] = 0;
    return kos_path_below(resolved, outside) || kos_path_below(outside, resolved);
}

int32_t kos_landlock_grant(int ruleset, const char *path, uint64_t access, uint64_t handled, const char *outside)
{
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return KOS_OK;
    if (outside && meets(fd, path, outside)) {
        close(fd);
        return KOS_OK;
    }
    if (fstat(fd, &st) < 0) {
        close(fd);
        return KOS_E_IO;
    }
    if (!S_ISDIR(st.st_mode))
        access &= ACCESS_FILE;
    struct landlock_path_beneath_attr rule = { .allowed_access = access & handled, .parent_fd = fd };
    long rc = rule.allowed_access ? syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) : 0;
    close(fd);
    return rc < 0 ? KOS_E_IO : KOS_OK;
}

int32_t kos_landlock_apply(int ruleset)
{
    long rc = syscall(SYS_landlock_restrict_self, ruleset, 0);
    int error = errno;
    close(ruleset);
    errno = error;
    return rc < 0 ? KOS_E_IO : KOS_OK;
}
