/* SPDX-License-Identifier: Apache-2.0
 *
 * The manual environment with descriptors: what is watched is looked at when the world turns, in the order in which it
 * was first watched. For targets that speak over a socket to themselves; one such world at a time.
 */
#ifndef KOS_TESTS_FUZZ_WATCH_H
#define KOS_TESTS_FUZZ_WATCH_H

#include <poll.h>

#include "core/buf.h"
#include "core/manual.h"
#include "fuzz.h"

enum { FUZZ_WATCHES = 8 };

struct kos_watch {
    void (*ready)(void *arg, int32_t events);
    void *arg;
    int fd;
    int32_t events;
};

struct fuzz_watching {
    struct kos_manual *manual;
    struct kos_env *env;
    const struct kos_env_ops *own;
    struct kos_env_ops ops;
    struct kos_watch *watches[FUZZ_WATCHES];
};
static struct fuzz_watching *fuzz_watching;

static struct kos_watch *fuzz_watch_new(struct kos_env *env, int fd, void (*ready)(void *, int32_t), void *arg)
{
    struct kos_watch *watch = kos_new(sizeof *watch);
    (void)env;
    *watch = (struct kos_watch){ ready, arg, fd, 0 };
    for (size_t i = 0; i < FUZZ_WATCHES; i++)
        if (!fuzz_watching->watches[i])
            return fuzz_watching->watches[i] = watch;
    abort();
}

static int32_t fuzz_watch_set(struct kos_watch *watch, int32_t events)
{
    watch->events = events;
    return KOS_OK;
}

static void fuzz_watch_free(struct kos_watch *watch)
{
    for (size_t i = 0; i < FUZZ_WATCHES; i++)
        if (fuzz_watching->watches[i] == watch)
            fuzz_watching->watches[i] = NULL;
    free(watch);
}

static inline void fuzz_watch_begin(struct fuzz_watching *watching)
{
    *watching = (struct fuzz_watching){ .manual = kos_manual_new(1) };
    watching->env = kos_manual_env(watching->manual);
    watching->own = watching->env->ops;
    watching->ops = *watching->own;
    watching->ops.watch_new = fuzz_watch_new;
    watching->ops.watch_set = fuzz_watch_set;
    watching->ops.watch_free = fuzz_watch_free;
    watching->env->ops = &watching->ops;
    fuzz_watching = watching;
}

static inline void fuzz_watch_end(struct fuzz_watching *watching)
{
    for (size_t i = 0; i < FUZZ_WATCHES; i++)
        FUZZ_CHECK(!watching->watches[i]);
    watching->env->ops = watching->own;
    kos_manual_free(watching->manual);
}

/* One turn; whether anything was ready. */
static inline bool fuzz_watch_turn(struct fuzz_watching *watching)
{
    bool any = false;
    for (size_t i = 0; i < FUZZ_WATCHES; i++) {
        struct kos_watch *watch = watching->watches[i];
        if (!watch || !watch->events)
            continue;
        struct pollfd p = {
            watch->fd,
            (short)((watch->events & KOS_READABLE ? POLLIN : 0) | (watch->events & KOS_WRITABLE ? POLLOUT : 0)), 0
        };
        if (poll(&p, 1, 0) != 1)
            continue;
        int32_t events =
            (p.revents & (POLLIN | POLLHUP | POLLERR) ? KOS_READABLE : 0) | (p.revents & POLLOUT ? KOS_WRITABLE : 0);
        any = true;
        watch->ready(watch->arg, events & watch->events);
    }
    kos_manual_settle(watching->manual);
    return any;
}

#endif
