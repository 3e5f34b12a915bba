/* SPDX-License-Identifier: Apache-2.0
 * The seccomp filter of commands and of who starts them: what Landlock does not see. Everything else is allowed, for
 * agents are any program. */
#include "confine/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/socket.h>

enum {
    NEWEST_KNOWN = 451, /* what the kernel got after that (Linux 6.6) is not known to be harmless: ENOSYS, as on an */
    NEWEST_POSSIBLE = 599, /* older kernel. Numbers above 423 are the same on all architectures. */
    SOCKET_TYPE = 0xf, /* SOCK_TYPE_MASK of the kernel: the rest of the type are flags */
};

/* Refused in every form. */
static const char *const never[] = {
    /* other processes, and what could leave the filter */
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "process_mrelease",
    "pidfd_getfd",
    "kcmp",
    "move_pages",
    "migrate_pages",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    /* keyrings */
    "keyctl",
    "add_key",
    "request_key",
    /* mounts and namespaces */
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "chroot",
    "fsopen",
    "fsmount",
    "fsconfig",
    "fspick",
    "open_tree",
    "move_mount",
    "mount_setattr",
    "unshare",
    "setns",
    "open_by_handle_at",
    "name_to_handle_at",
    "quotactl",
    "quotactl_fd",
    "fanotify_init",
    /* the machine */
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "iopl",
    "ioperm",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "syslog",
    "sethostname",
    "setdomainname",
    "vhangup",
    "uselib",
    "personality",
    "lookup_dcookie",
    /* memory that no limit counts, or that stays when its maker is gone */
    "memfd_create",
    "memfd_secret",
    "shmget",
    "semget",
    "msgget",
    "mq_open",
    "ipc",
};

/* By commands only. Of files that Landlock lets nobody open: it does not cover these when they are given a path. The keys' mode must
     * not be changed by an agent of the same user. */
static const char *const never_commands[] = {
    "chmod",
    "fchmodat",
    "chown",
    "chown32",
    "lchown",
    "lchown32",
    "fchownat",
    "setxattr",
    "lsetxattr",
    "removexattr",
    "lremovexattr",
};

static int deny(scmp_filter_ctx filter, int error, const char *name, unsigned count, const struct scmp_arg_cmp *args)
{
    int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR)
        return 0; /* libseccomp does not know it, so it is among the unknown */
    return seccomp_rule_add_array(filter, SCMP_ACT_ERRNO((uint32_t)error), number, count, args);
}

/* Compares the low 32 bits, as the kernel takes an int: what stands above them is whatever the caller likes. */
static struct scmp_arg_cmp low(unsigned arg, uint32_t mask, uint32_t value)
{
    return (struct scmp_arg_cmp){ arg, SCMP_CMP_MASKED_EQ, mask, value };
}

static int deny_sockets(scmp_filter_ctx filter)
{
    struct scmp_arg_cmp unix_family = low(0, UINT32_MAX, AF_UNIX);
    int rc = deny(filter, EACCES, "socket", 1, &unix_family);
    /* A datagram socket of a pair can be connected to any other name later; those of a stream cannot. */
    static const uint32_t loose[] = { SOCK_DGRAM, SOCK_RAW };
    for (size_t i = 0; rc == 0 && i < sizeof loose / sizeof *loose; i++) {
        struct scmp_arg_cmp pair[] = { low(0, UINT32_MAX, AF_UNIX), low(1, SOCKET_TYPE, loose[i]) };
        rc = deny(filter, EACCES, "socketpair", 2, pair);
    }
    return rc;
}

static int deny_signals(scmp_filter_ctx filter, const pid_t *kept, int32_t landlock)
{
    static const char *const by_pid[] = { "kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo" };
    int rc = 0;
    for (size_t i = 0; i < sizeof by_pid / sizeof *by_pid; i++)
        for (const pid_t *pid = kept; rc == 0 && *pid; pid++) {
            struct scmp_arg_cmp one = low(0, UINT32_MAX, (uint32_t)*pid), group = low(0, UINT32_MAX, (uint32_t)-*pid);
            rc = deny(filter, EPERM, by_pid[i], 1, &one);
            if (rc == 0 && *pid != -1) /* the group of -1 would be process 1 */
                rc = deny(filter, EPERM, by_pid[i], 1, &group);
        }
    /* The target of this one is a descriptor. Landlock's scope covers it from ABI 6 on. */
    if (rc == 0 && landlock < 6)
        rc = deny(filter, EPERM, "pidfd_send_signal", 0, NULL);
    /* Limits of other processes; 0 is the caller. */
    for (unsigned bit = 0; rc == 0 && bit < 31; bit++) {
        struct scmp_arg_cmp other = low(0, 1U << bit, 1U << bit);
        rc = deny(filter, EPERM, "prlimit64", 1, &other);
    }
    return rc;
}

/* Before ABI 3 Landlock does not see truncation by path, or by opening only to read. */
static int deny_truncation(scmp_filter_ctx filter)
{
    struct scmp_arg_cmp open_flags = low(1, O_TRUNC | O_ACCMODE, O_TRUNC | O_RDONLY), openat_flags = open_flags;
    openat_flags.arg = 2;
    int rc = deny(filter, EACCES, "truncate", 0, NULL);
    if (rc == 0)
        rc = deny(filter, EACCES, "truncate64", 0, NULL);
    if (rc == 0)
        rc = deny(filter, EACCES, "open", 1, &open_flags);
    if (rc == 0)
        rc = deny(filter, EACCES, "openat", 1, &openat_flags);
    return rc == 0 ? deny(filter, ENOSYS, "openat2", 0, NULL) : rc;
}

static int deny_namespaces(scmp_filter_ctx filter)
{
    static const uint32_t flags[] = { CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWPID,   CLONE_NEWNET,
                                      CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP };
    int rc = 0;
#if defined(__s390__) || defined(__s390x__)
    const unsigned at = 1; /* clone(2): the architectures differ in the order */
#else
    const unsigned at = 0;
#endif
    for (size_t i = 0; rc == 0 && i < sizeof flags / sizeof *flags; i++) {
        struct scmp_arg_cmp flag = low(at, flags[i], flags[i]);
        rc = deny(filter, EPERM, "clone", 1, &flag);
    }
    /* Its flags are in memory, where a filter cannot look; C libraries then take clone. */
    return rc == 0 ? deny(filter, ENOSYS, "clone3", 0, NULL) : rc;
}

static int deny_list(scmp_filter_ctx filter, const char *const *names, size_t count)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = deny(filter, EPERM, names[i], 0, NULL);
    return rc;
}

/* What neither of them needs. */
static int begin(scmp_filter_ctx filter)
{
    int rc = filter ? seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS)) : -ENOMEM;
    if (rc == 0)
        seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree instead of a chain; only faster */
    if (rc == 0)
        rc = deny_list(filter, never, sizeof never / sizeof *never);
    for (int number = NEWEST_KNOWN + 1; rc == 0 && number <= NEWEST_POSSIBLE; number++)
        rc = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(ENOSYS), number, 0, NULL);
    return rc == 0 ? deny_namespaces(filter) : rc;
}

static int finish(scmp_filter_ctx filter, int rc)
{
    if (rc == 0)
        rc = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    return rc;
}

int kos_filter_command(const pid_t *kept, int32_t landlock)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int rc = begin(filter);
    if (rc == 0)
        rc = deny_list(filter, never_commands, sizeof never_commands / sizeof *never_commands);
    if (rc == 0)
        rc = deny_sockets(filter);
    if (rc == 0)
        rc = deny_signals(filter, kept, landlock);
    if (rc == 0 && landlock < 3)
        rc = deny_truncation(filter);
    return finish(filter, rc);
}

int kos_filter_spawner(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    return finish(filter, begin(filter));
}
