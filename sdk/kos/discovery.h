/* SPDX-License-Identifier: Apache-2.0
 *
 * Discovery services make this node findable and find others. What they carry are signed node records (statements,
 * klp(7)): the service cannot forge them, only withhold them. Since 1.0.
 */
#ifndef KOS_DISCOVERY_H
#define KOS_DISCOVERY_H

#include <kos/host.h>

#define KOS_DISCOVERY "kos.discovery/1"
#define KOS_DISCOVERY_HOST "kos.discovery.host/1"

enum kos_find_kind { KOS_FIND_ALL = 0, KOS_FIND_ID = 1, KOS_FIND_NAME = 2, KOS_FIND_SKILL = 3 };

struct kos_find {
    uint32_t size;
    int32_t kind;               /* enum kos_find_kind; one you do not know: complete with KOS_E_UNSUPPORTED */
    uint8_t id[KOS_ID_BYTES];   /* FIND_ID */
    const char *text;           /* FIND_NAME, FIND_SKILL */
    uint32_t limit;             /* answers wanted */
};

struct kos_discovery {
    uint32_t size;
    /* Each op completes by kos_host.complete. A new announce of the same node replaces the older one. */
    void (*announce)(void *self, uint64_t op, struct kos_bytes record,
                     const char *const *addresses /* NULL-terminated */);
    void (*withdraw)(void *self, uint64_t op);
    /* found() any number of times, then complete. Cancelled by find_cancel, which completes it too. */
    void (*find)(void *self, uint64_t op, const struct kos_find *what);
    void (*find_cancel)(void *self, uint64_t op);
};

struct kos_discovery_host {
    uint32_t size;
    /* `op` 0: seen without being asked. `id`: the node that is said to be there, NULL when unknown; `record` may be empty
     * when only addresses are known (mDNS): the handshake proves the rest. `addresses`: as transports dial them,
     * NULL-terminated, at most 64; empty: those of the record. ttl_ms: how long it may be believed. */
    void (*found)(const struct kos_host *host, uint64_t op, const uint8_t *id, struct kos_bytes record,
                  const char *const *addresses, uint64_t ttl_ms);
    /* That node is gone, before its time. */
    void (*lost)(const struct kos_host *host, const uint8_t id[KOS_ID_BYTES]);
};

#endif
