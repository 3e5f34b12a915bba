/* SPDX-License-Identifier: Apache-2.0
 *
 * How a host reaches one plugin, wherever it runs: the way down. driver.c implements it for a plugin of this process,
 * host/cell.c for one in a cell, by carrying each call to the kos-cell that has a driver of its own. What goes down is
 * queued and reaches the plugin later, in order; what comes up (services.h) arrives when no call of the runtime is under
 * way. So neither side is ever called back inside its own call.
 */
#ifndef KOS_DRIVER_BACKEND_H
#define KOS_DRIVER_BACKEND_H

#include <kos/agents.h>
#include <kos/bridge.h>
#include <kos/control.h>
#include <kos/discovery.h>
#include <kos/http.h>
#include <kos/plugin.h>
#include <kos/stream.h>
#include <kos/transport.h>
#include <kos/vector.h>

struct kos_backend;

/* All borrow their arguments. Operations given before `start` wait for it; after `stop` only events are passed on, and
 * after the plugin said stopped, nothing. A member whose table the plugin does not offer is never called. */
struct kos_backend_ops {
    void (*start)(struct kos_backend *backend);
    void (*stop)(struct kos_backend *backend);        /* -> kos_services_ops.quiet, fini, finished */
    /* Without stop before: the short way, stop and fini here and now. A plugin that does not say stopped then is left
     * where it is, and never called again. */
    void (*free)(struct kos_backend *backend);
    /* events */
    void (*completed)(struct kos_backend *backend, uint64_t op, int32_t status, struct kos_bytes result, bool secret);
    void (*opened)(struct kos_backend *backend, uint64_t op, int32_t status, int fd, const char *text);   /* takes fd */
    /* transport */
    void (*listen)(struct kos_backend *backend, uint64_t endpoint, const char *address);
    void (*endpoint_close)(struct kos_backend *backend, uint64_t endpoint);
    void (*dial)(struct kos_backend *backend, uint64_t link, const char *address);
    void (*send)(struct kos_backend *backend, uint64_t link, const struct kos_bytes *pieces, uint32_t count);
    /* Instead of send, without a copy: where to write up to `len` bytes, until `made` sends so many of them, or none. No
     * other call comes in between. */
    uint8_t *(*make)(struct kos_backend *backend, uint64_t link, size_t len);
    void (*made)(struct kos_backend *backend, size_t len);
    void (*link_credit)(struct kos_backend *backend, uint64_t link, uint64_t bytes);
    void (*link_close)(struct kos_backend *backend, uint64_t link, bool flush);
    /* handler */
    void (*handle)(struct kos_backend *backend, uint64_t message, const struct kos_message *m);
    void (*outcome)(struct kos_backend *backend, uint64_t message, const struct kos_outcome *o);
    /* control */
    void (*call)(struct kos_backend *backend, uint64_t call, const char *method, struct kos_bytes parameters,
                 uint32_t flags);
    void (*hangup)(struct kos_backend *backend, uint64_t call);
    /* agents.user */
    void (*output)(struct kos_backend *backend, uint64_t run, int32_t kind, struct kos_bytes bytes);
    void (*ended)(struct kos_backend *backend, uint64_t run, int32_t status, struct kos_bytes result, const char *text,
                  int32_t retry, const uint8_t audit[32]);
    /* discovery; each op comes back by kos_services_ops.complete */
    void (*announce)(struct kos_backend *backend, uint64_t op, struct kos_bytes record, const char *const *addresses);
    void (*withdraw)(struct kos_backend *backend, uint64_t op);
    void (*find)(struct kos_backend *backend, uint64_t op, const struct kos_find *what);
    void (*find_cancel)(struct kos_backend *backend, uint64_t op);
    /* bridge */
    void (*deliver)(struct kos_backend *backend, uint64_t op, const struct kos_message *m, const char *destination);
    void (*resume)(struct kos_backend *backend, const char *origin, struct kos_bytes cursor);
    /* vector; `dimension` is that of the collection, which the structs do not tell */
    void (*vector_open)(struct kos_backend *backend, uint64_t op, uint64_t collection, const char *name,
                        const struct kos_space *space);
    void (*vector_close)(struct kos_backend *backend, uint64_t op, uint64_t collection);
    void (*vector_upsert)(struct kos_backend *backend, uint64_t op, uint64_t collection,
                          const struct kos_item *const *items, uint32_t count, uint32_t dimension);
    void (*vector_get)(struct kos_backend *backend, uint64_t op, uint64_t collection, struct kos_bytes id);
    void (*vector_remove)(struct kos_backend *backend, uint64_t op, uint64_t collection, struct kos_bytes id,
                          uint64_t version);
    void (*vector_query)(struct kos_backend *backend, uint64_t op, uint64_t collection, const struct kos_query *query,
                         uint32_t dimension);
    void (*vector_scan)(struct kos_backend *backend, uint64_t op, uint64_t collection, const uint8_t from[32],
                        const uint8_t to[32], uint32_t limit);
    void (*vector_fingerprint)(struct kos_backend *backend, uint64_t op, uint64_t collection, const uint8_t from[32],
                               const uint8_t to[32]);
    void (*vector_snapshot)(struct kos_backend *backend, uint64_t op, uint64_t collection, const char *directory);
    void (*vector_stats)(struct kos_backend *backend, uint64_t op, uint64_t collection);
    void (*vector_drop)(struct kos_backend *backend, uint64_t op, uint64_t collection);
    /* http.user */
    void (*http_request)(struct kos_backend *backend, uint64_t request, const struct kos_http_message *m);
    void (*http_response)(struct kos_backend *backend, uint64_t op, int32_t status, const struct kos_http_message *m,
                          const char *text);
    /* http (the service) */
    void (*http_serve)(struct kos_backend *backend, uint64_t op, const char *prefix, uint64_t body_max_bytes);
    void (*http_unserve)(struct kos_backend *backend, const char *prefix);
    void (*http_respond)(struct kos_backend *backend, uint64_t request, const struct kos_http_message *response);
    void (*http_fetch)(struct kos_backend *backend, uint64_t op, const struct kos_http_message *request,
                       uint64_t body_max_bytes, uint64_t timeout_ms);
    void (*http_cancel)(struct kos_backend *backend, uint64_t op);
    /* stream.user */
    void (*stream_up)(struct kos_backend *backend, uint64_t stream, const uint8_t peer[KOS_ID_BYTES], const char *name);
    void (*stream_received)(struct kos_backend *backend, uint64_t stream, struct kos_bytes bytes);
    void (*stream_credit)(struct kos_backend *backend, uint64_t stream, uint64_t bytes);
    void (*stream_ended)(struct kos_backend *backend, uint64_t stream);
    void (*stream_down)(struct kos_backend *backend, uint64_t stream, int32_t status, const char *text);
};
struct kos_backend {
    const struct kos_backend_ops *ops;
};

#endif
