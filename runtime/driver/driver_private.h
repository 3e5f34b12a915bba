/* SPDX-License-Identifier: Apache-2.0
 * Private to the driver: driver.c (life, the queue), table.c (what the plugin calls), reactor.c (timers, watches,
 * posts). */
#ifndef KOS_DRIVER_PRIVATE_H
#define KOS_DRIVER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>
#include "driver/down.h"
#include "driver/driver.h"

struct kos_driver_timer;
struct kos_driver_watch;
struct kos_driver_post;

struct kos_driver {
    struct kos_down down;
    struct kos_backend_ops ops;
    struct kos_env *env;
    struct kos_services *services;
    char *name, *where, *directory;
    const struct kos_conf *conf;
    pthread_t thread;                        /* the loop's: every call but post must come from it */
    _Atomic(const char *) wrong_thread;      /* member last called from another; told on the loop */
    struct kos_host table;                   /* the plugin's */
    uint8_t table_newer[KOS_NEWER_BYTES];    /* behind it, for `strict->newer` */
    struct kos_tables tables;
    const struct kos_driver_strict *strict;  /* NULL in production */
    struct kos_frame *gone, *gone_last;      /* with it: frames whose call is over, overwritten and not reused yet */
    size_t gone_count;
    void *self;
    bool started, begun, stopping, stopped, finished, inside;   /* begun: start has reached the plugin */
    struct kos_frame *first, *last;
    size_t queued;
    struct kos_deferred drain;
    struct kos_timer *rest;                  /* the queue goes on with the next turn of the loop */
    bool resting;
    struct kos_driver_timer *timers;
    struct kos_driver_watch *watches;
    _Atomic(struct kos_driver_post *) posts;  /* newest first */
    atomic_uint posted;
    int post_fd;                             /* eventfd; -1 until the first instance of a plugin with `posted` */
    struct kos_watch *post_watch;
};

/* driver.c */
void kos_driver_enter(struct kos_driver *driver, const char *member);   /* before each call into the plugin */
void kos_driver_leave(struct kos_driver *driver);
void kos_driver_after(struct kos_driver *driver);   /* after each call into the plugin: was it its last? */
void kos_driver_broke(struct kos_driver *driver, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* reactor.c */
int32_t kos_driver_reactor_init(struct kos_driver *driver, struct kos_error *ret_error);
void kos_driver_reactor_fini(struct kos_driver *driver);
void kos_driver_timer_set(struct kos_driver *driver, uint64_t timer, uint64_t delay_ms);
void kos_driver_timer_stop(struct kos_driver *driver, uint64_t timer);
int32_t kos_driver_watch(struct kos_driver *driver, int32_t fd, int32_t events);
int32_t kos_driver_post(struct kos_driver *driver, uint64_t cookie);

/* table.c */
void kos_driver_table_init(struct kos_driver *driver);

#endif
