/* SPDX-License-Identifier: Apache-2.0
 *
 * Stands before the C library for what is counted: the system calls of the way of a message, and memory. Plugins and
 * libraries of this process come by here too, for the program's own symbols go first. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "carrier.h"

static struct spent *counted;

void count_into(struct spent *spent)
{
    counted = spent;
}

static void called(void)
{
    if (counted)
        atomic_fetch_add_explicit(&counted->calls, 1, memory_order_relaxed);
}

/* The rest of the tree hides what it does not export. */
#pragma GCC visibility push(default)

/* ---- system calls ---- */

ssize_t recv(int fd, void *to, size_t len, int flags)
{
    called();
    return syscall(SYS_recvfrom, fd, to, len, flags, NULL, NULL);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    called();
    return syscall(SYS_recvmsg, fd, message, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    called();
    return syscall(SYS_sendmsg, fd, message, flags);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    called();
    return syscall(SYS_writev, fd, parts, count);
}

ssize_t readv(int fd, const struct iovec *parts, int count)
{
    called();
    return syscall(SYS_readv, fd, parts, count);
}

ssize_t read(int fd, void *to, size_t len)
{
    called();
    return syscall(SYS_read, fd, to, len);
}

ssize_t write(int fd, const void *from, size_t len)
{
    called();
    return syscall(SYS_write, fd, from, len);
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
    called();
    return (int)syscall(SYS_epoll_wait, fd, events, max, timeout);
}

int epoll_ctl(int fd, int op, int of, struct epoll_event *event)
{
    called();
    return (int)syscall(SYS_epoll_ctl, fd, op, of, event);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
    called();
    return (int)syscall(SYS_timerfd_settime, fd, flags, new, old);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    called();
    return (int)syscall(SYS_getsockopt, fd, level, name, value, len);
}

/* ---- memory ---- */

/* The C library's own, under the names that it keeps for who stands before it. */
void *__libc_malloc(size_t len);
void *__libc_calloc(size_t count, size_t len);
void *__libc_realloc(void *p, size_t len);
void *__libc_memalign(size_t align, size_t len);
void __libc_free(void *p);

static void *took(void *p)
{
    if (counted && p) {
        atomic_fetch_add_explicit(&counted->allocations, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&counted->live, (int64_t)malloc_usable_size(p), memory_order_relaxed);
    }
    return p;
}

static void gives(void *p)
{
    if (counted && p)
        atomic_fetch_sub_explicit(&counted->live, (int64_t)malloc_usable_size(p), memory_order_relaxed);
}

void *malloc(size_t len)
{
    return took(__libc_malloc(len));
}

void *calloc(size_t count, size_t len)
{
    return took(__libc_calloc(count, len));
}

void *realloc(void *p, size_t len)
{
    gives(p);
    void *other = __libc_realloc(p, len);
    if (!other && len) {
        if (counted && p)
            atomic_fetch_add_explicit(&counted->live, (int64_t)malloc_usable_size(p), memory_order_relaxed);
        return NULL;
    }
    return took(other);
}

void *aligned_alloc(size_t align, size_t len)
{
    return took(__libc_memalign(align, len));
}

int posix_memalign(void **ret_p, size_t align, size_t len)
{
    void *p = took(__libc_memalign(align, len));
    if (!p)
        return ENOMEM;
    *ret_p = p;
    return 0;
}

void free(void *p)
{
    gives(p);
    __libc_free(p);
}

#pragma GCC visibility pop
