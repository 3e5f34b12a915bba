/* SPDX-License-Identifier: Apache-2.0
 *
 * The spawner: a process forked from kosd before kosd confines itself. It starts agents (later: cells), each in its own
 * session and process group, with a clean environment, limits, Landlock and a seccomp filter that leaves no AF_UNIX
 * sockets, so that an agent reads neither keys/ nor reaches the control socket, even as the same user. When kosd dies,
 * the spawner ends all it started and itself.
 *
 * Client and spawner speak over a SOCK_SEQPACKET pair; pipes travel as SCM_RIGHTS.
 */
#ifndef KOS_SPAWN_SPAWN_H
#define KOS_SPAWN_SPAWN_H

#include "agents/agents.h"

struct kos_spawn_options {
    const char *instance;             /* directory that agents must not read */
    const char *const *readable;      /* what agents may read and execute: /usr, /bin, /lib, /lib64, /etc, /dev/null ...; NULL-terminated; NULL: that default */
};

/* Forks; call before any thread exists. The child never returns. *ret_fd: the client's end. */
int32_t kos_spawn_fork(const struct kos_spawn_options *options, int *ret_fd, pid_t *ret_pid, struct kos_error *ret_error);
/* The launcher on top of it, on a loop. Owns fd. `lost` runs once if the spawner dies: all processes have ended with an
 * error by then, and start refuses. */
int32_t kos_spawn_client_new(struct kos_env *env, int fd, void (*lost)(void *arg), void *arg, struct kos_launcher **ret_launcher, struct kos_error *ret_error);
void kos_spawn_client_free(struct kos_launcher *launcher);
/* What confines agents here: {landlock abi, seccomp}; KOS_E_UNSUPPORTED when the kernel cannot. */
int32_t kos_spawn_confinement(char *ret_text, size_t cap);

#endif
