/* SPDX-License-Identifier: Apache-2.0
 * A hostile command for spawn_test: tries what it must not do and prints what came of it, one word a line. Needs only
 * libc, so that it runs confined. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static void say(const char *what, long result)
{
    printf("%s %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
    fflush(stdout);
}

static void try_paths(const char *path)
{
    say("open", open(path, O_RDONLY));
    say("write", open(path, O_WRONLY));
    say("truncating", open(path, O_RDONLY | O_TRUNC));
    say("truncate", truncate(path, 0));
    say("chmod", chmod(path, 0666));
    say("fchmodat", fchmodat(AT_FDCWD, path, 0666, 0));
    say("chown", chown(path, getuid(), getgid()));
    say("unlink", unlink(path));
    say("rename", rename(path, "stolen"));
    say("link", link(path, "stolen"));
}

static void try_sockets(const char *path)
{
    int pair[2];
    say("unix-stream", socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    say("unix-datagram", socket(AF_UNIX, SOCK_DGRAM, 0));
    say("unix-high-bits", syscall(SYS_socket, 0x100000000L + AF_UNIX, (long)SOCK_STREAM, 0L));
    say("pair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    say("pair-connect", connect(pair[0], (struct sockaddr *)&address, sizeof address));
    close(pair[1]);
    say("widow-connect", connect(pair[0], (struct sockaddr *)&address, sizeof address));
    say("datagram-pair", socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair));
    say("inet", socket(AF_INET, SOCK_STREAM, 0));
}

static void try_process(pid_t pid)
{
    char path[64], room[64];
    struct iovec here = { room, sizeof room }, there = { (void *)(uintptr_t)0x400000, sizeof room };
    say("ptrace", ptrace(PTRACE_ATTACH, pid, NULL, NULL));
    say("vm_readv", process_vm_readv(pid, &here, 1, &there, 1, 0));
    static const char *const files[] = { "environ", "mem", "maps", "fd", "cmdline", "root", "cwd" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, files[i]);
        say(files[i], open(path, O_RDONLY));
    }
    say("kill", kill(pid, 0));
    say("kill-all", kill(-1, 0));
    say("kill-parent", kill(getppid(), 0));
    struct rlimit limit = { 1, 1 };
    say("prlimit", prlimit(pid, RLIMIT_NOFILE, &limit, NULL));
}

static void try_kernel(void)
{
    say("io_uring", syscall(SYS_io_uring_setup, 1, NULL));
    say("bpf", syscall(SYS_bpf, 0, NULL, 0));
    say("keyctl", syscall(SYS_keyctl, 0, 0, 0, 0, 0));
    say("unshare", unshare(CLONE_NEWUSER));
    say("clone", syscall(SYS_clone, (long)(CLONE_NEWUSER | SIGCHLD), 0L, 0L, 0L, 0L));
    say("mount", syscall(SYS_mount, "none", "/", "tmpfs", 0L, NULL));
    say("memfd", syscall(SYS_memfd_create, "x", 0));
    say("shm", shmget(IPC_PRIVATE, 4096, 0600));
    say("setxattrat", syscall(463, 0, 0, 0, 0, 0, 0));
    say("mknod", mknod("socket", S_IFSOCK | 0600, 0));
}

static void hog(size_t bytes)
{
    size_t step = 1 << 20, at = 0;
    for (; at < bytes; at += step) {
        void *p = mmap(NULL, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            break;
        memset(p, 1, step);
    }
    printf("%zu\n", at >> 20);
    fflush(stdout);
}

/* Twice the processes a run may have, half of them in sessions of their own; bounded, so that a failing test does not
 * take the machine along. KEEP IT AT 64: more of them at a time starve the machine that runs the tests. */
static void bomb(int depth)
{
    for (int i = 0; i < 64 && depth == 0; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            alarm(20);
            if (i % 2 == 0)
                setsid();
            for (;;)
                pause();
        }
    }
    for (;;)
        pause();
}

/* A grandchild in a session of its own, which nothing but its ancestry ties to the run. */
static void stray(const char *file)
{
    if (fork() == 0) {
        setsid();
        if (fork() == 0) {
            setsid();
            signal(SIGTERM, SIG_IGN);
            signal(SIGHUP, SIG_IGN);
            FILE *out = fopen(file, "w");
            fprintf(out, "%d\n", (int)getpid());
            fclose(out);
            printf("stray\n");
            fflush(stdout);
            for (;;)
                pause();
        }
        _exit(0);
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "", *arg = argc > 2 ? argv[2] : "";
    if (!strcmp(what, "paths"))
        try_paths(arg);
    else if (!strcmp(what, "sockets"))
        try_sockets(arg);
    else if (!strcmp(what, "process"))
        try_process((pid_t)atoi(arg));
    else if (!strcmp(what, "kernel"))
        try_kernel();
    else if (!strcmp(what, "hog"))
        hog((size_t)atoll(arg));
    else if (!strcmp(what, "hogs")) {
        for (int i = 0; i < 3 && fork(); i++)
            continue;
        hog((size_t)atoll(arg));
        sleep(20);
    } else if (!strcmp(what, "bomb"))
        bomb(0);
    else if (!strcmp(what, "stray"))
        stray(arg);
    else
        return 2;
    if (!strcmp(what, "stray") && argc > 3)
        sleep(60);
    return 0;
}
