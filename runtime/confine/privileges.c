/* SPDX-License-Identifier: Apache-2.0
 * Who a process is, and the capabilities that are left to it. */
#include "confine/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/env.h"

static bool has_capability(int cap)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3] = { 0 };
    return syscall(SYS_capget, &header, now) == 0 && (now[cap / 32].effective >> cap % 32 & 1);
}

static void bound_none(void)
{
    for (int cap = 0; cap <= 63 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* refused without CAP_SETPCAP: then there is none to lose */
}

int32_t kos_confine_capabilities(uint64_t keep, struct kos_error *ret_error)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3] = { 0 }, left[_LINUX_CAPABILITY_U32S_3] = { 0 };
    bound_none();
    prctl(PR_SET_SECUREBITS,
          SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
              SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
          0, 0, 0);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    bool ok = syscall(SYS_capget, &header, now) == 0;
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        left[i].permitted = left[i].effective = now[i].permitted & (uint32_t)(keep >> 32 * i);
    if (!ok || syscall(SYS_capset, &header, left) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "its privileges cannot be dropped: %s", strerror(errno));
    return KOS_OK;
}

int32_t kos_confine_become(const struct kos_identity *identity, uint64_t keep, struct kos_error *ret_error)
{
    uid_t real, effective, saved;
    bool other = getuid() != identity->uid || geteuid() != identity->uid;
    /* Who may not change the groups and is that user already was given them by who started it: they are meant. */
    if (setgroups(identity->group_count, identity->groups) < 0 && other)
        return kos_fail(ret_error, KOS_E_PERMISSION, "the groups of user %ld cannot be taken on: %s; it takes CAP_SETGID",
                        (long)identity->uid, strerror(errno));
    bound_none(); /* while it is root, who alone may */
    if (other && keep)
        prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    if (other && (setresgid(identity->gid, identity->gid, identity->gid) < 0 ||
                  setresuid(identity->uid, identity->uid, identity->uid) < 0))
        return kos_fail(ret_error, KOS_E_PERMISSION, "this process cannot become user %ld: %s; it takes CAP_SETUID and CAP_SETGID",
                        (long)identity->uid, strerror(errno));
    int32_t r = kos_confine_capabilities(keep, ret_error);
    if (r < 0)
        return r;
    if (getresuid(&real, &effective, &saved) < 0 || real != identity->uid || effective != real || saved != real ||
        (real != 0 && (setuid(0) == 0 || seteuid(0) == 0)) || (!keep && has_capability(CAP_SETUID)))
        return kos_fail(ret_error, KOS_E_INTERNAL, "privileges were dropped and are there again: this system is not to be trusted");
    return KOS_OK;
}
