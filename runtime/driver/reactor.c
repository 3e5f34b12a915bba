/* SPDX-License-Identifier: Apache-2.0
 * Timers, watches and posts of a plugin in this process, on kos_env. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/buf.h"
#include "driver/driver_private.h"

struct kos_driver_timer {
    struct kos_driver *driver;
    uint64_t id;
    struct kos_timer *timer;
    UT_hash_handle hh;
};
struct kos_driver_watch {
    struct kos_driver *driver;
    int fd;
    struct kos_watch *watch;
    UT_hash_handle hh;
};
struct kos_driver_post {
    struct kos_driver_post *next;
    uint64_t cookie;
};

static void timer_fired(void *arg)
{
    struct kos_driver_timer *timer = arg;
    struct kos_driver *driver = timer->driver;
    uint64_t id = timer->id;
    HASH_DEL(driver->timers, timer);
    kos_timer_free(driver->env, timer->timer);
    free(timer);
    kos_driver_enter(driver, "timer");
    driver->tables.plugin.timer(driver->self, id);
    kos_driver_leave(driver);
    kos_driver_after(driver);
}

void kos_driver_timer_stop(struct kos_driver *driver, uint64_t id)
{
    struct kos_driver_timer *timer;
    HASH_FIND(hh, driver->timers, &id, sizeof id, timer);
    if (!timer)
        return;
    HASH_DEL(driver->timers, timer);
    kos_timer_free(driver->env, timer->timer);
    free(timer);
}

void kos_driver_timer_set(struct kos_driver *driver, uint64_t id, uint64_t delay_ms)
{
    struct kos_driver_timer *timer;
    HASH_FIND(hh, driver->timers, &id, sizeof id, timer);
    if (!timer && (!driver->tables.plugin.timer || HASH_COUNT(driver->timers) >= KOS_TIMERS_MAX)) {
        kos_driver_broke(driver,
                         driver->tables.plugin.timer ? "set more than %d timers"
                                             : "set a timer, but takes none (kos_plugin.timer is NULL; limit %d)",
                         KOS_TIMERS_MAX);
        return;
    }
    if (!timer) {
        timer = kos_new(sizeof *timer);
        timer->driver = driver;
        timer->id = id;
        timer->timer = kos_timer_new(driver->env, timer_fired, timer);
        HASH_ADD(hh, driver->timers, id, sizeof timer->id, timer);
    }
    kos_timer_set(driver->env, timer->timer, delay_ms);
}

static void watch_ready(void *arg, int32_t events)
{
    struct kos_driver_watch *watch = arg;
    struct kos_driver *driver = watch->driver;
    kos_driver_enter(driver, "ready");
    driver->tables.plugin.ready(driver->self, watch->fd,
                        (events & KOS_READABLE ? KOS_IO_READ : 0) | (events & KOS_WRITABLE ? KOS_IO_WRITE : 0));
    kos_driver_leave(driver);
    kos_driver_after(driver);
}

static void watch_end(struct kos_driver_watch *watch)
{
    struct kos_driver *driver = watch->driver;
    if (driver->strict && fcntl(watch->fd, F_GETFD) < 0)
        kos_driver_broke(driver, "watched descriptor %d, which it closed before it ended its watch", watch->fd);
    HASH_DEL(driver->watches, watch);
    driver->env->ops->watch_free(watch->watch);
    free(watch);
}

int32_t kos_driver_watch(struct kos_driver *driver, int32_t fd, int32_t events)
{
    struct kos_driver_watch *watch;
    int key = fd;
    HASH_FIND(hh, driver->watches, &key, sizeof key, watch);
    if (fd < 0 || (events & ~(KOS_IO_READ | KOS_IO_WRITE)) || (events && !driver->tables.plugin.ready))
        return KOS_E_INVALID;
    if (!events) {
        if (watch)
            watch_end(watch);
        return KOS_OK;
    }
    if (!watch && HASH_COUNT(driver->watches) >= KOS_WATCHES_MAX)
        return KOS_E_LIMIT;
    if (!watch) {
        watch = kos_new(sizeof *watch);
        watch->driver = driver;
        watch->fd = fd;
        watch->watch = driver->env->ops->watch_new(driver->env, fd, watch_ready, watch);
        if (!watch->watch) {
            free(watch);
            return KOS_E_UNSUPPORTED;
        }
        HASH_ADD(hh, driver->watches, fd, sizeof watch->fd, watch);
    }
    int32_t rc = driver->env->ops->watch_set(
        watch->watch, (events & KOS_IO_READ ? KOS_READABLE : 0) | (events & KOS_IO_WRITE ? KOS_WRITABLE : 0));
    if (rc < 0)
        watch_end(watch);
    return rc;
}

/* ---- posts: any thread pushes onto a list without a lock; an eventfd wakes the loop ---- */

int32_t kos_driver_post(struct kos_driver *driver, uint64_t cookie)
{
    uint64_t one = 1;
    if (driver->post_fd < 0)
        return KOS_E_INVALID;
    if (atomic_fetch_add(&driver->posted, 1) >= KOS_POSTS_MAX) {
        atomic_fetch_sub(&driver->posted, 1);
        return KOS_E_BUSY;
    }
    struct kos_driver_post *post = malloc(sizeof *post);
    if (!post) {
        atomic_fetch_sub(&driver->posted, 1);
        return KOS_E_NOMEM;
    }
    post->cookie = cookie;
    post->next = atomic_load(&driver->posts);
    while (!atomic_compare_exchange_weak(&driver->posts, &post->next, post))
        continue;
    ssize_t ignored = write(driver->post_fd, &one, sizeof one); /* fails only when the loop is to wake already */
    (void)ignored;
    return KOS_OK;
}

static struct kos_driver_post *take_posts(struct kos_driver *driver)
{
    struct kos_driver_post *newest = atomic_exchange(&driver->posts, NULL), *oldest = NULL;
    while (newest) {
        struct kos_driver_post *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static void posts_ready(void *arg, int32_t events)
{
    struct kos_driver *driver = arg;
    uint64_t count;
    (void)events;
    ssize_t ignored = read(driver->post_fd, &count, sizeof count);
    (void)ignored;
    for (struct kos_driver_post *post = take_posts(driver), *next; post; post = next) {
        next = post->next;
        atomic_fetch_sub(&driver->posted, 1);
        if (!driver->stopped) {
            kos_driver_enter(driver, "posted");
            driver->tables.plugin.posted(driver->self, post->cookie);
            kos_driver_leave(driver);
        }
        free(post);
    }
    kos_driver_after(driver);
}

int32_t kos_driver_reactor_init(struct kos_driver *driver, struct kos_error *ret_error)
{
    driver->post_fd = -1;
    if (!driver->tables.plugin.posted)
        return KOS_OK;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct kos_watch *watch = fd >= 0 ? driver->env->ops->watch_new(driver->env, fd, posts_ready, driver) : NULL;
    if (!watch) {
        if (fd >= 0)
            close(fd);
        return kos_fail(ret_error, KOS_E_LIMIT, "plugin %s: no descriptor is left for what its threads post",
                        driver->name);
    }
    driver->post_fd = fd;
    driver->post_watch = watch;
    return driver->env->ops->watch_set(watch, KOS_READABLE);
}

void kos_driver_reactor_fini(struct kos_driver *driver)
{
    struct kos_driver_timer *timer, *next_timer;
    struct kos_driver_watch *watch, *next_watch;
    HASH_ITER(hh, driver->timers, timer, next_timer)
        kos_driver_timer_stop(driver, timer->id);
    HASH_ITER(hh, driver->watches, watch, next_watch)
        watch_end(watch);
    if (driver->post_watch) {
        driver->env->ops->watch_free(driver->post_watch);
        driver->post_watch = NULL;
    }
    for (struct kos_driver_post *post = take_posts(driver), *next; post; post = next) {
        next = post->next;
        free(post);
    }
}
