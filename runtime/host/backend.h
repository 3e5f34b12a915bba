/* SPDX-License-Identifier: Apache-2.0
 *
 * How the host reaches one plugin, wherever it runs. local.c is the backend within this process; a cell is another.
 * What goes down is queued and reaches the plugin later, in order; what comes up (services.h) arrives when no call of
 * the runtime is under way. So neither side is ever called back inside its own call. Private to host.
 */
#ifndef KOS_HOST_BACKEND_H
#define KOS_HOST_BACKEND_H

#include <kos/handler.h>
#include <kos/plugin.h>

struct kos_backend;
struct kos_hosted;

/* All borrow their arguments. Operations given before `start` wait for it; after `stop` only events are passed on, and
 * after the plugin said stopped, nothing. */
struct kos_backend_ops {
    void (*start)(struct kos_backend *backend);
    void (*stop)(struct kos_backend *backend);        /* -> kos_hosted_finished, after fini */
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
};
struct kos_backend {
    const struct kos_backend_ops *ops;
    struct kos_hosted *hosted;
};

/* Loads the module into this process and calls init. A module that says of itself
 * what describing it in a child did not say is refused. Sets hosted->backend; on failure that is NULL and nothing of
 * the plugin runs any more. */
int32_t kos_local_new(struct kos_hosted *hosted, struct kos_error *ret_error);

#endif
