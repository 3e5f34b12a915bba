/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process of kos gives up, for good: its identity, capabilities, system calls, places to write. Used by kosd, by
 * the spawner and what it starts, and by cells.
 */
#ifndef KOS_CONFINE_CONFINE_H
#define KOS_CONFINE_CONFINE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <kos/err.h>

/* ---- privileges.c ---- */
enum { KOS_CONFINE_GROUPS = 64 };
struct kos_identity {
    uid_t uid;
    gid_t gid, groups[KOS_CONFINE_GROUPS];  /* groups: besides gid */
    size_t group_count;
};
/* Becomes that user with those groups, and proves that there is no way back. A process that is that user already keeps
 * the groups that it may not change. Capabilities in force are lost unless `keep`, a mask of 1 << CAP_..., has them. */
int32_t kos_confine_become(const struct kos_identity *identity, uint64_t keep, struct kos_error *ret_error);
/* No capability but those of `keep` that it has, now or after any execve; no new privileges. */
int32_t kos_confine_capabilities(uint64_t keep, struct kos_error *ret_error);

/* ---- landlock.c (kernel's documentation, userspace-api/landlock) ---- */
/* Rights that the headers of the oldest supported system do not name yet; numbers are the kernel's ABI. */
#define KOS_LANDLOCK_REFER      (UINT64_C(1) << 13) /* ABI 2 */
#define KOS_LANDLOCK_TRUNCATE   (UINT64_C(1) << 14) /* ABI 3 */
#define KOS_LANDLOCK_IOCTL_DEV  (UINT64_C(1) << 15) /* ABI 5 */
/* The kernel's ABI; 0: it has none. */
int32_t kos_landlock_abi(void);
/* All rights to files that the ABI knows. */
uint64_t kos_landlock_all(int32_t abi);
/* A ruleset that governs `handled` and, where `scoped` and the kernel can, signals and abstract sockets: a descriptor.
 * Negative: errno says why. */
int kos_landlock_new(int32_t abi, uint64_t handled, int scoped);
/* Grants what `handled` has of `access` at and below `path`. What does not exist is passed over, as is what lies in
 * `outside` or holds it (resolved; NULL: none). */
int32_t kos_landlock_grant(int ruleset, const char *path, uint64_t access, uint64_t handled, const char *outside);
/* On this thread and those that it makes. Closes the ruleset. Negative: errno says why. */
int32_t kos_landlock_apply(int ruleset);
/* Whether `path` is `dir` or lies below it; both resolved. */
int kos_path_below(const char *path, const char *dir);

/* ---- filter.c, calls.c: seccomp ---- */
enum kos_filter_allow {
    KOS_FILTER_NET = 1,      /* the bits of enum kos_cell_allow */
    KOS_FILTER_FILES = 2,
    KOS_FILTER_EXEC = 4,
    KOS_FILTER_NODE = 8,     /* kosd itself: Unix sockets, modes and owners of files */
    KOS_FILTER_CHECKED = 16, /* what the leak checker of a sanitizer needs at the end */
};
enum { KOS_FILTER_DENIED_STATUS = 128 + 31 };
/* Three answers: done; refused in words (EPERM and its like), for what libraries try and do without, and for what no
 * kernel had when this was written (ENOSYS, as on an older one); and `denied`, a handler of SIGSYS, for what is only
 * done by code that was not granted the right, or has been taken over. `denied` gets the call's number, must use nothing
 * but system calls, and ends the process. On this thread and those that it makes; it must have no new privileges.
 * 0 or a negative errno. */
int kos_filter_apply(uint32_t allow, void (*denied)(int number));
/* For who looks at a module: what a dynamic linker, constructors and JSON need, and writing to `out`; all else EPERM. */
int kos_filter_describe(int out);
/* For commands: everything but what no program of an agent needs, EPERM. The processes in `kept`, NULL-terminated by 0,
 * cannot be signalled. */
int kos_filter_command(const pid_t *kept, int32_t landlock);
/* For who starts them: the same without what only they must not. */
int kos_filter_spawner(void);

#endif
