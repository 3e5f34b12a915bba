/* SPDX-License-Identifier: Apache-2.0
 * Timers, watches and posts of a plugin in this process, on kos_env. */
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/local.h"

struct kos_local_timer {
    struct kos_local *local;
    uint64_t id;
    struct kos_timer *timer;
    UT_hash_handle hh;
};
struct kos_local_watch {
    struct kos_local *local;
    int fd;
    struct kos_watch *watch;
    UT_hash_handle hh;
};
struct kos_local_post {
    struct kos_local_post *next;
    uint64_t cookie;
};

static void timer_fired(void *arg)
{
    struct kos_local_timer *timer = arg;
    struct kos_local *local = timer->local;
    uint64_t id = timer->id;
    HASH_DEL(local->timers, timer);
    kos_timer_free(local->env, timer->timer);
    free(timer);
    local->inside = true;
    local->plugin.timer(local->self, id);
    local->inside = false;
    kos_local_after(local);
}

void kos_local_timer_stop(struct kos_local *local, uint64_t id)
{
    struct kos_local_timer *timer;
    HASH_FIND(hh, local->timers, &id, sizeof id, timer);
    if (!timer)
        return;
    HASH_DEL(local->timers, timer);
    kos_timer_free(local->env, timer->timer);
    free(timer);
}

void kos_local_timer_set(struct kos_local *local, uint64_t id, uint64_t delay_ms)
{
    struct kos_local_timer *timer;
    HASH_FIND(hh, local->timers, &id, sizeof id, timer);
    if (!timer && (!local->plugin.timer || HASH_COUNT(local->timers) >= KOS_TIMERS_MAX)) {
        kos_hosted_broke(local->backend.hosted,
                         local->plugin.timer ? "set more than %d timers"
                                             : "set a timer, but takes none (kos_plugin.timer is NULL; limit %d)",
                         KOS_TIMERS_MAX);
        return;
    }
    if (!timer) {
        timer = kos_new(sizeof *timer);
        timer->local = local;
        timer->id = id;
        timer->timer = kos_timer_new(local->env, timer_fired, timer);
        HASH_ADD(hh, local->timers, id, sizeof timer->id, timer);
    }
    kos_timer_set(local->env, timer->timer, delay_ms);
}

static void watch_ready(void *arg, int32_t events)
{
    struct kos_local_watch *watch = arg;
    struct kos_local *local = watch->local;
    local->inside = true;
    local->plugin.ready(local->self, watch->fd,
                        (events & KOS_READABLE ? KOS_IO_READ : 0) | (events & KOS_WRITABLE ? KOS_IO_WRITE : 0));
    local->inside = false;
    kos_local_after(local);
}

static void watch_end(struct kos_local_watch *watch)
{
    struct kos_local *local = watch->local;
    HASH_DEL(local->watches, watch);
    local->env->ops->watch_free(watch->watch);
    free(watch);
}

int32_t kos_local_watch(struct kos_local *local, int32_t fd, int32_t events)
{
    struct kos_local_watch *watch;
    int key = fd;
    HASH_FIND(hh, local->watches, &key, sizeof key, watch);
    if (fd < 0 || (events & ~(KOS_IO_READ | KOS_IO_WRITE)) || (events && !local->plugin.ready))
        return KOS_E_INVALID;
    if (!events) {
        if (watch)
            watch_end(watch);
        return KOS_OK;
    }
    if (!watch && HASH_COUNT(local->watches) >= KOS_WATCHES_MAX)
        return KOS_E_LIMIT;
    if (!watch) {
        watch = kos_new(sizeof *watch);
        watch->local = local;
        watch->fd = fd;
        watch->watch = local->env->ops->watch_new(local->env, fd, watch_ready, watch);
        if (!watch->watch) {
            free(watch);
            return KOS_E_UNSUPPORTED;
        }
        HASH_ADD(hh, local->watches, fd, sizeof watch->fd, watch);
    }
    int32_t rc = local->env->ops->watch_set(
        watch->watch, (events & KOS_IO_READ ? KOS_READABLE : 0) | (events & KOS_IO_WRITE ? KOS_WRITABLE : 0));
    if (rc < 0)
        watch_end(watch);
    return rc;
}

/* ---- posts: any thread pushes onto a list without a lock; an eventfd wakes the loop ---- */

int32_t kos_local_post(struct kos_local *local, uint64_t cookie)
{
    uint64_t one = 1;
    if (local->post_fd < 0)
        return KOS_E_INVALID;
    if (atomic_fetch_add(&local->posted, 1) >= KOS_POSTS_MAX) {
        atomic_fetch_sub(&local->posted, 1);
        return KOS_E_BUSY;
    }
    struct kos_local_post *post = malloc(sizeof *post);
    if (!post) {
        atomic_fetch_sub(&local->posted, 1);
        return KOS_E_NOMEM;
    }
    post->cookie = cookie;
    post->next = atomic_load(&local->posts);
    while (!atomic_compare_exchange_weak(&local->posts, &post->next, post))
        continue;
    ssize_t ignored = write(local->post_fd, &one, sizeof one); /* fails only when the loop is to wake already */
    (void)ignored;
    return KOS_OK;
}

static struct kos_local_post *take_posts(struct kos_local *local)
{
    struct kos_local_post *newest = atomic_exchange(&local->posts, NULL), *oldest = NULL;
    while (newest) {
        struct kos_local_post *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static void posts_ready(void *arg, int32_t events)
{
    struct kos_local *local = arg;
    uint64_t count;
    (void)events;
    ssize_t ignored = read(local->post_fd, &count, sizeof count);
    (void)ignored;
    for (struct kos_local_post *post = take_posts(local), *next; post; post = next) {
        next = post->next;
        atomic_fetch_sub(&local->posted, 1);
        if (!local->stopped) {
            local->inside = true;
            local->plugin.posted(local->self, post->cookie);
            local->inside = false;
        }
        free(post);
    }
    kos_local_after(local);
}

int32_t kos_local_reactor_init(struct kos_local *local, struct kos_error *ret_error)
{
    local->post_fd = -1;
    if (!local->plugin.posted)
        return KOS_OK;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct kos_watch *watch = fd >= 0 ? local->env->ops->watch_new(local->env, fd, posts_ready, local) : NULL;
    if (!watch) {
        if (fd >= 0)
            close(fd);
        return kos_fail(ret_error, KOS_E_LIMIT, "plugin %s: no descriptor is left for what its threads post",
                        local->backend.hosted->name);
    }
    local->post_fd = fd;
    local->post_watch = watch;
    return local->env->ops->watch_set(watch, KOS_READABLE);
}

void kos_local_reactor_fini(struct kos_local *local)
{
    struct kos_local_timer *timer, *next_timer;
    struct kos_local_watch *watch, *next_watch;
    HASH_ITER(hh, local->timers, timer, next_timer)
        kos_local_timer_stop(local, timer->id);
    HASH_ITER(hh, local->watches, watch, next_watch)
        watch_end(watch);
    if (local->post_watch) {
        local->env->ops->watch_free(local->post_watch);
        local->post_watch = NULL;
    }
    for (struct kos_local_post *post = take_posts(local), *next; post; post = next) {
        next = post->next;
        free(post);
    }
}
