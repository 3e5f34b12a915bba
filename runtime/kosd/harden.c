/* SPDX-License-Identifier: Apache-2.0
 *
 * What kosd gives up before it reads a key or a byte of anybody's: root, groups, capabilities, writing outside of its
 * instance, and the system calls that it has no use for (kosd(8), "Privileges").
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "confine/confine.h"
#include "kosd/kosd.h"

enum { LOW_PORTS = 1024, NAMED_CALLS = 600 };
#define LOCKED_BYTES ((rlim_t)64 << 20) /* of kosd.service too */
#define KEEP_LOW_PORTS (UINT64_C(1) << CAP_NET_BIND_SERVICE)

/* Whether an address to listen on has a port that only root may take: "tcp://[::]:443". */
static bool listens_low(char *const *listen)
{
    for (; *listen; listen++) {
        const char *colon = strrchr(*listen, ':');
        long port = colon && colon[1] >= '0' && colon[1] <= '9' ? strtol(colon + 1, NULL, 10) : 0;
        if (port > 0 && port < LOW_PORTS)
            return true;
    }
    return false;
}

static int32_t add_group(const char *conf, const char *setting, const char *name, struct kos_identity *identity, struct kos_error *ret_error)
{
    struct group *group = getgrnam(name);
    if (!group)
        return kos_fail(ret_error, KOS_E_CONFIG, "%s: %s: there is no group \"%s\"", conf, setting, name);
    if (identity->group_count == KOS_CONFINE_GROUPS)
        return kos_fail(ret_error, KOS_E_CONFIG, "%s: %s: more than %d groups", conf, setting, KOS_CONFINE_GROUPS);
    identity->groups[identity->group_count++] = group->gr_gid;
    return KOS_OK;
}

static int32_t named_user(const char *conf, const char *name, struct kos_identity *identity, struct kos_error *ret_error)
{
    struct passwd *user = getpwnam(name);
    struct stat st;
    if (!user)
        return kos_fail(ret_error, KOS_E_CONFIG, "%s: user: there is no user \"%s\"", conf, name);
    if (geteuid() != 0 && user->pw_uid != geteuid())
        return kos_fail(ret_error, KOS_E_PERMISSION, "%s: user: kosd was started as user %ld, who cannot become \"%s\": start it as root or as that user, or take the line away", conf, (long)geteuid(), name);
    /* Else who may write the file would have root run what he likes as somebody else. */
    if (stat(conf, &st) < 0 || (st.st_uid != 0 && st.st_uid != user->pw_uid))
        return kos_fail(ret_error, KOS_E_PERMISSION, "%s: user: the file belongs to user %ld and names \"%s\": only root and that user may do so: chown it", conf, (long)st.st_uid, name);
    identity->uid = user->pw_uid;
    identity->gid = user->pw_gid;
    return KOS_OK;
}

static int32_t owning_user(const char *dir, struct kos_identity *identity, struct kos_error *ret_error)
{
    struct stat st;
    if (geteuid() != 0) {
        identity->uid = geteuid();
        identity->gid = getegid();
        return KOS_OK;
    }
    if (stat(dir, &st) < 0)
        return kos_fail(ret_error, KOS_E_NOTFOUND, "the instance's directory %s cannot be looked at: %s", dir, strerror(errno));
    if (st.st_uid == 0)
        return kos_fail(ret_error, KOS_E_PERMISSION, "kosd does not run as root unless it is told to: %s belongs to root; give it to a user (chown -R), whom kosd then becomes, name one in kosd.conf (user = \"NAME\";), or write there: user = \"root\";", dir);
    struct passwd *user = getpwuid(st.st_uid);
    identity->uid = st.st_uid;
    identity->gid = user ? user->pw_gid : st.st_gid;
    return KOS_OK;
}

/* What only root can do for the user that kosd becomes. */
static void as_root(const struct kos_instance *instance, const struct kos_identity *identity)
{
    struct rlimit locked;
    if (getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur < LOCKED_BYTES) {
        locked.rlim_cur = LOCKED_BYTES;
        if (locked.rlim_max < LOCKED_BYTES)
            locked.rlim_max = LOCKED_BYTES;
        setrlimit(RLIMIT_MEMLOCK, &locked); /* where it stays low, keys that find no room say so */
    }
    if (!instance->dir && mkdir(KOS_RUNDIR, 0755) == 0) {
        int fd = open(KOS_RUNDIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && fchmod(fd, 0755) == 0)
            (void)!fchown(fd, identity->uid, identity->gid);
        if (fd >= 0)
            close(fd);
    }
}

int32_t kosd_become(const struct kos_instance *instance, const struct kos_settings *settings, struct kos_error *ret_error)
{
    struct kos_identity identity = { 0 };
    const char *dir = instance->dir ? instance->dir : KOS_STATEDIR;
    int32_t r = KOS_OK;
    for (char **group = settings->groups; r == KOS_OK && *group; group++)
        r = add_group(instance->conf, "groups", *group, &identity, ret_error);
    if (r == KOS_OK && *settings->control_group) /* the socket is given to it, which takes a member */
        r = add_group(instance->conf, "control_group", settings->control_group, &identity, ret_error);
    if (r == KOS_OK)
        r = *settings->user ? named_user(instance->conf, settings->user, &identity, ret_error) : owning_user(dir, &identity, ret_error);
    if (r < 0)
        return r;
    if (geteuid() == 0)
        as_root(instance, &identity);
    r = kos_confine_become(&identity, listens_low(settings->listen) ? KEEP_LOW_PORTS : 0, ret_error);
#ifdef __SANITIZE_ADDRESS__ /* another user than before is not dumpable, and the leak checker attaches to its own process */
    prctl(PR_SET_DUMPABLE, 1);
#else
    prctl(PR_SET_DUMPABLE, 0);
#endif
    return r;
}

/* Not reading: what kosd could read it has in its memory, and where plugins and libraries lie is everybody's own affair. */
static int32_t writes_only(const struct kos_instance *instance, const struct kos_settings *settings)
{
    const uint64_t file = LANDLOCK_ACCESS_FS_WRITE_FILE | KOS_LANDLOCK_TRUNCATE;
    const int32_t abi = kos_landlock_abi();
    const uint64_t reads = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | KOS_LANDLOCK_IOCTL_DEV;
    const uint64_t all = kos_landlock_all(abi) & ~reads, own = all & ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE;
    if (abi < 2) /* ABI 1 refuses every rename from one directory to another */
        return KOS_E_UNSUPPORTED;
    int ruleset = kos_landlock_new(abi, all, 0);
    int32_t r = ruleset < 0 ? KOS_E_IO : KOS_OK;
    const char *dirs[] = { instance->dir ? instance->dir : KOS_STATEDIR, instance->dir ? instance->dir : KOS_RUNDIR };
    for (size_t i = 0; r == KOS_OK && i < sizeof dirs / sizeof *dirs; i++)
        r = kos_landlock_grant(ruleset, dirs[i], own, all, NULL);
    for (char **path = settings->write_paths; r == KOS_OK && *path; path++)
        r = kos_landlock_grant(ruleset, *path, own, all, NULL);
    if (r == KOS_OK)
        r = kos_landlock_grant(ruleset, "/dev", file, all, NULL);
    if (r == KOS_OK)
        return kos_landlock_apply(ruleset);
    if (ruleset >= 0)
        close(ruleset);
    return r;
}

/* For the handler of a signal, which is given nothing but a number. */
static const char *calls[NAMED_CALLS];

static void name_calls(void)
{
    for (int number = 0; number < NAMED_CALLS; number++)
        calls[number] = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
}

static void denied(int number)
{
    static const char before[] = "kosd: policy_denied: this process made the system call ",
                      after[] = ", which neither kosd nor a plugin within it has any use for, and is ended: a plugin that needs it belongs into "
                                "a cell, with the right for it (isolate = true; in its section of the policy); seccomp = false; in kosd.conf "
                                "turns this filter off\n";
    char text[sizeof before + sizeof after + 64], digits[16];
    size_t len = sizeof before - 1, at = sizeof digits;
    const char *name = number >= 0 && number < NAMED_CALLS ? calls[number] : NULL;
    memcpy(text, before, len);
    digits[--at] = 0;
    for (unsigned left = (unsigned)number; at > 0; left /= 10) {
        digits[--at] = (char)('0' + left % 10);
        if (left < 10)
            break;
    }
    for (name = name ? name : digits + at; *name && len < sizeof before + 60; name++)
        text[len++] = *name;
    memcpy(text + len, after, sizeof after - 1);
    ssize_t ignored = write(STDERR_FILENO, text, len + sizeof after - 1);
    (void)ignored;
}

int32_t kosd_confine(const struct kos_instance *instance, const struct kos_settings *settings, char *ret_text, size_t cap, struct kos_error *ret_error)
{
    uint32_t allow = KOS_FILTER_NET | KOS_FILTER_FILES | KOS_FILTER_NODE;
#ifdef __SANITIZE_ADDRESS__
    allow |= KOS_FILTER_CHECKED;
#endif
    int32_t landlock = writes_only(instance, settings);
    int rc = 0;
    if (settings->seccomp) {
        name_calls();
        rc = kos_filter_apply(allow, denied);
    }
    if (rc < 0)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "%s: seccomp cannot confine kosd: %s; seccomp = false; there does without", instance->conf, strerror(-rc));
    snprintf(ret_text, cap, "user %ld, %s, seccomp %s, %s", (long)geteuid(), listens_low(settings->listen) ? "no capability but to listen on low ports" : "no capabilities",
             settings->seccomp ? "on" : "off", landlock == KOS_OK ? "writes only to its instance" : "writes wherever its user may (no Landlock of ABI 2)");
    return KOS_OK;
}
