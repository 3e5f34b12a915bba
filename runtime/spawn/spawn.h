/* SPDX-License-Identifier: Apache-2.0
 *
 * The spawner: a process forked from kosd before kosd confines itself. It starts agents and cells, each in its own
 * session and process group, with a clean environment, limits, Landlock and a seccomp filter that leaves no AF_UNIX
 * sockets, so that an agent reads neither keys/ nor reaches the control socket, even as the same user. When kosd dies,
 * the spawner ends all it started and itself.
 *
 * Client and spawner speak over a SOCK_SEQPACKET pair; pipes travel as SCM_RIGHTS.
 *
 * What a command finds (kosctl(1), "agent add", says it to people):
 * - It is run by /bin/sh -c in its own directory, which is also HOME; TMPDIR is tmp/ below it. The environment is PATH
 *   (/usr/local/bin:/usr/bin:/bin), HOME, LANG=C.UTF-8, KOS_AGENT (its name) and TMPDIR; umask 077; no other
 *   descriptors than 0, 1, 2, all pipes; no terminal, no capabilities, no way to gain privileges; nice 5.
 * - It may read and execute what stands in `readable`, and the files that words of the command name by absolute path
 *   ("python3 /home/me/agent.py"), unless they lie in the instance. It may read, write and execute in its own
 *   directory. /dev/null, zero, full, random and urandom work. Nothing else can be opened: not /proc, not /tmp, not the
 *   instance.
 * - AF_UNIX sockets are refused, socket pairs that are streams are not. The network is open. Refused too: ptrace and
 *   its like, io_uring, bpf, keyrings, mounts, namespaces, kexec, memory files, System V and POSIX shared memory and
 *   queues, and chmod, chown and setxattr by path (Landlock does not cover those; fchmod on an open file works).
 * - It cannot signal kosd. Before Landlock ABI 6 (Linux 6.12) other processes of the same user stay in reach.
 * - Limits (0 takes the default): memory_bytes 2 GiB, as RLIMIT_DATA for each process and, watched ten times a second,
 *   for all processes of the run together; processes 256 for the run, watched alike (where kosd is not root
 *   RLIMIT_NPROC stops a burst in between: the user's threads may be 4096 more than that); file_bytes 1 GiB a file;
 *   open_files 1024 a process; cpu_seconds unlimited (a run has a deadline). No core files. Disk space as a whole is
 *   not limited. Under AddressSanitizer RLIMIT_DATA is left out (its shadow memory counts there).
 *
 * A cell is kos-cell with one plugin. It may read and execute the system's programs and libraries, read its module and,
 * with the right "files", write its own directory; nothing else. Its seccomp filter is its own (cell/filter.c), set
 * before the module is loaded. Descriptors: /dev/null, its messages twice, and as 3 the socket that leads to kosd.
 * - The run ends with the command: whatever it left behind is killed then, wherever it went (setsid does not help).
 */
#ifndef KOS_SPAWN_SPAWN_H
#define KOS_SPAWN_SPAWN_H

#include "agents/agents.h"
#include "host/cell.h"

struct kos_spawn_options {
    const char *instance;             /* directory that agents must not read; must exist */
    /* Absolute paths that agents may read and execute; NULL-terminated; NULL: kos_spawn_readable. */
    const char *const *readable;
    /* Where its stderr goes, a file that is appended to; NULL: it keeps kosd's. A kosd that leaves its terminal must not
     * leave a spawner behind that holds it. */
    const char *log;
    /* Called in the child before all else, NULL: not. A fork has its parent's memory, and the spawner, its keepers and what
     * they start live as long as kosd: what is secret goes here. */
    void (*forget)(void *arg);
    void *arg;
};

/* The default: the system's programs, libraries, and those files of /etc that programs commonly need. */
extern const char *const kos_spawn_readable[];

/* Forks; call before any thread exists. The child never returns. *ret_fd: the client's end. KOS_E_CONFIG when the
 * instance lies below a readable path. Where the kernel cannot confine agents the spawner starts, and refuses each
 * agent with KOS_E_UNSUPPORTED: the rest of the node works. */
int32_t kos_spawn_fork(const struct kos_spawn_options *options, int *ret_fd, pid_t *ret_pid,
                       struct kos_error *ret_error);
/* The launcher on top of it, on a loop. Owns fd. `lost` runs once if the spawner dies: all processes have ended with an
 * error by then, and start refuses. Logs when agents cannot be confined here. Ignores SIGPIPE
 * for the process where it was not handled. */
int32_t kos_spawn_client_new(struct kos_env *env, int fd, void (*lost)(void *arg), void *arg,
                             struct kos_launcher **ret_launcher, struct kos_error *ret_error);
/* The same for cells: lives as long as the launcher. */
struct kos_cell_launcher *kos_spawn_cells(struct kos_launcher *launcher);
/* Kills what still runs, without callbacks; the spawner ends. */
void kos_spawn_client_free(struct kos_launcher *launcher);
/* What confines agents here: "Landlock ABI 7, seccomp"; KOS_E_UNSUPPORTED when the kernel cannot. */
int32_t kos_spawn_confinement(char *ret_text, size_t cap);

#endif
