/* SPDX-License-Identifier: Apache-2.0
 *
 * Bridges join kos to another network (NATS, Matrix, ActivityPub). Outward: deliver. Inward: inject, with an origin and
 * a cursor, so that nothing loops, repeats or is lost over a restart of either side. Since 1.0.
 */
#ifndef KOS_BRIDGE_H
#define KOS_BRIDGE_H

#include <kos/handler.h>

#define KOS_BRIDGE "kos.bridge/1"
#define KOS_BRIDGE_HOST "kos.bridge.host/1"

struct kos_foreign {
    uint32_t size;
    const char *origin;           /* where it came from, stable: "nats:ORDERS", "matrix:!room:server" */
    const char *key;              /* its id there, unique within origin: the same (origin, key) is taken once */
    struct kos_bytes cursor;      /* what to hand back at `resume`, at most 1024 bytes; empty: none */
    const char *foreign_author;   /* "@alice:example.org"; shown, never trusted */
    struct kos_draft draft;       /* what it becomes; draft.id is ignored, the host derives it from (origin, key) */
};

struct kos_bridge {
    uint32_t size;
    /* A message for the other network, as the policy maps it: complete(op, KOS_OK) when that network has it durably, or
     * when it stands in a queue of yours in your state (where one message goes to many servers). It comes again after a
     * crash until then: use m->id to recognise it there. Messages injected from `origin` never
     * come back to the bridge that injected them. */
    void (*deliver)(void *self, uint64_t op, const struct kos_message *m, const char *destination /* from the map */);
    /* After start, once per origin that has a cursor. */
    void (*resume)(void *self, const char *origin, struct kos_bytes cursor);
};

struct kos_bridge_host {
    uint32_t size;
    /* kos_plugin.completed(op): KOS_OK: durable here, cursor with it; KOS_E_EXISTS: had it already (cursor moved on);
     * else refused, by name: do not advance beyond it unless kos_error_retry() is 0. Right "send". */
    void (*inject)(const struct kos_host *host, const struct kos_foreign *foreign, uint64_t op);
};

#endif
