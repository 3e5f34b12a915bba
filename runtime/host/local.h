/* SPDX-License-Identifier: Apache-2.0
 * Private to the in-process backend: local.c (life, what goes down), table.c (what comes up), reactor.c (timers,
 * watches, posts), queue.c (calls on their way down). */
#ifndef KOS_HOST_LOCAL_H
#define KOS_HOST_LOCAL_H

#include <kos/control.h>
#include <stdatomic.h>
#include "host/services.h"

enum kos_down {
    KOS_DOWN_START = 1, KOS_DOWN_STOP, KOS_DOWN_COMPLETED, KOS_DOWN_OPENED, KOS_DOWN_LISTEN, KOS_DOWN_ENDPOINT_CLOSE,
    KOS_DOWN_DIAL, KOS_DOWN_SEND, KOS_DOWN_LINK_CREDIT, KOS_DOWN_LINK_CLOSE, KOS_DOWN_HANDLE, KOS_DOWN_OUTCOME,
    KOS_DOWN_CALL, KOS_DOWN_HANGUP, KOS_DOWN_OUTPUT, KOS_DOWN_ENDED,
};

/* One call on its way down: what it borrows stands behind it in the same allocation. */
struct kos_local_call {
    struct kos_local_call *next;
    enum kos_down kind;
    bool secret;                /* wiped when done */
    uint64_t id, number;
    int32_t status, flag, fd;
    struct kos_bytes bytes;
    const char *text;
    union {
        struct kos_message message;
        struct kos_outcome outcome;
        uint8_t audit[32];
    } u;
    size_t used, size;
    uint8_t store[];
};

struct kos_local_timer;
struct kos_local_watch;
struct kos_local_post;

struct kos_local {
    struct kos_backend backend;
    struct kos_env *env;
    struct kos_host table;                   /* the plugin's */
    struct kos_plugin plugin;                /* copies of full size */
    struct kos_transport transport;
    struct kos_handler handler;
    struct kos_control control;
    struct kos_agents_user agents;
    void *self;
    bool started, begun, stopping, stopped, finished, inside;   /* begun: start has reached the plugin */
    struct kos_local_call *first, *last;
    size_t queued;
    struct kos_deferred drain;
    struct kos_local_timer *timers;
    struct kos_local_watch *watches;
    _Atomic(struct kos_local_post *) posts;  /* newest first */
    atomic_uint posted;
    int post_fd;                             /* eventfd; -1 until the first instance of a plugin with `posted` */
    struct kos_watch *post_watch;
};

/* queue.c. The copies are made into `room` bytes asked for at the beginning. */
struct kos_local_call *kos_local_call_new(enum kos_down kind, uint64_t id, size_t room);
struct kos_bytes kos_local_keep(struct kos_local_call *call, struct kos_bytes bytes);
const char *kos_local_keep_text(struct kos_local_call *call, const char *text);   /* NULL stays NULL */
void kos_local_keep_message(struct kos_local_call *call, const struct kos_message *m);
size_t kos_local_message_room(const struct kos_message *m);
void kos_local_call_free(struct kos_local_call *call);
size_t kos_local_text_room(const char *text);

/* local.c */
void kos_local_after(struct kos_local *local);   /* after each call into the plugin: was it its last? */

/* reactor.c */
int32_t kos_local_reactor_init(struct kos_local *local, struct kos_error *ret_error);
void kos_local_reactor_fini(struct kos_local *local);
void kos_local_timer_set(struct kos_local *local, uint64_t timer, uint64_t delay_ms);
void kos_local_timer_stop(struct kos_local *local, uint64_t timer);
int32_t kos_local_watch(struct kos_local *local, int32_t fd, int32_t events);
int32_t kos_local_post(struct kos_local *local, uint64_t cookie);

/* table.c */
void kos_local_table_init(struct kos_local *local);

#endif
