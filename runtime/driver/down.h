/* SPDX-License-Identifier: Apache-2.0
 *
 * The way down as frames: a backend encodes each call (down.c) and hands the frame on, to a queue in this process or to
 * a socket; kos_down_run reads it and calls the plugin. So both hostings carry the same bytes, and a plugin gets what it
 * is given in memory that is gone after the call.
 */
#ifndef KOS_DRIVER_DOWN_H
#define KOS_DRIVER_DOWN_H

#include "driver/backend.h"
#include "driver/frame.h"

enum kos_down_kind {
    KOS_DOWN_START = 1, KOS_DOWN_STOP, KOS_DOWN_COMPLETED, KOS_DOWN_OPENED,
    KOS_DOWN_LISTEN, KOS_DOWN_ENDPOINT_CLOSE, KOS_DOWN_DIAL, KOS_DOWN_SEND, KOS_DOWN_LINK_CREDIT, KOS_DOWN_LINK_CLOSE,
    KOS_DOWN_HANDLE, KOS_DOWN_OUTCOME, KOS_DOWN_CALL, KOS_DOWN_HANGUP, KOS_DOWN_OUTPUT, KOS_DOWN_ENDED,
    KOS_DOWN_ANNOUNCE, KOS_DOWN_WITHDRAW, KOS_DOWN_FIND, KOS_DOWN_FIND_CANCEL, KOS_DOWN_DELIVER, KOS_DOWN_RESUME,
    KOS_DOWN_VECTOR_OPEN, KOS_DOWN_VECTOR_CLOSE, KOS_DOWN_VECTOR_UPSERT, KOS_DOWN_VECTOR_GET, KOS_DOWN_VECTOR_REMOVE,
    KOS_DOWN_VECTOR_QUERY, KOS_DOWN_VECTOR_SCAN, KOS_DOWN_VECTOR_FINGERPRINT, KOS_DOWN_VECTOR_SNAPSHOT,
    KOS_DOWN_VECTOR_STATS, KOS_DOWN_VECTOR_DROP,
    KOS_DOWN_HTTP_REQUEST, KOS_DOWN_HTTP_RESPONSE, KOS_DOWN_HTTP_SERVE, KOS_DOWN_HTTP_UNSERVE, KOS_DOWN_HTTP_RESPOND,
    KOS_DOWN_HTTP_FETCH, KOS_DOWN_HTTP_CANCEL,
    KOS_DOWN_STREAM_UP, KOS_DOWN_STREAM_RECEIVED, KOS_DOWN_STREAM_CREDIT, KOS_DOWN_STREAM_ENDED, KOS_DOWN_STREAM_DOWN,
    KOS_DOWN_KINDS,
};

/* What encodes: embed it first and give `push`, which takes the frame. */
struct kos_down {
    struct kos_backend backend;
    void (*push)(struct kos_down *down, struct kos_frame *frame);
    struct kos_frame *making;    /* between `make` and `made` */
};
/* Every member that encodes; `start`, `stop` and `free` are the backend's own. */
void kos_down_ops(struct kos_backend_ops *ret_ops);

enum { KOS_NEWER_BYTES = 64 };

/* A plugin's tables, copied at full size, and its instance. */
struct kos_tables {
    bool newer;          /* structs passed to it have KOS_NEWER_BYTES of junk behind what is known (driver.h, strict) */
    struct kos_plugin plugin;
    struct kos_transport transport;
    struct kos_discovery discovery;
    struct kos_bridge bridge;
    struct kos_handler handler;
    struct kos_vector vector;
    struct kos_control control;
    struct kos_agents_user agents;
    struct kos_http_user http;
    struct kos_http_service http_service;
    struct kos_stream_user stream;
};
void kos_tables_init(struct kos_tables *tables, const struct kos_plugin *checked);

/* Calls the plugin with what the frame carries. KOS_E_INVALID: the frame is malformed, nothing was called.
 * KOS_E_UNSUPPORTED: the plugin has no such member, and *ret_missing names it (static). */
int32_t kos_down_run(const struct kos_tables *tables, void *self, struct kos_frame *frame, const char **ret_missing);
/* "transport.listen" and so on; static. */
const char *kos_down_name(uint16_t kind);

#endif
