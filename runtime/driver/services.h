/* SPDX-License-Identifier: Apache-2.0
 *
 * What a plugin may ask of its host, wherever it runs: the way up. host/ implements it for kosd, cell/ by carrying each
 * call to kosd, conform/ by judging it. All come from the plugin's calls, on the loop; structs have full size. All
 * borrow their arguments and must not call the plugin back: they answer through kos_backend_ops, which waits.
 */
#ifndef KOS_DRIVER_SERVICES_H
#define KOS_DRIVER_SERVICES_H

#include "driver/backend.h"

struct kos_services;
struct kos_services_ops {
    /* ---- life ---- */
    /* The plugin broke a rule of the SDK, told as the rest of a sentence ("used timer 4, ..."). */
    void (*broke)(struct kos_services *services, const char *what);
    /* It said stopped: what is under way is dropped, nothing more of it comes. Then fini, then finished. */
    void (*quiet)(struct kos_services *services);
    void (*finished)(struct kos_services *services);
    /* Whether this host, and the plugin's rights, give the feature. */
    bool (*gives)(struct kos_services *services, const char *feature);

    /* ---- kos_host ---- */
    void (*log)(struct kos_services *services, int32_t level, const char *text);
    void (*complete)(struct kos_services *services, uint64_t op, int32_t status, struct kos_bytes result);
    void (*open)(struct kos_services *services, const char *what, uint64_t op);
    void (*open_cancel)(struct kos_services *services, uint64_t op);
    void (*state_get)(struct kos_services *services, struct kos_bytes key, uint64_t op);
    void (*state_scan)(struct kos_services *services, struct kos_bytes prefix, struct kos_bytes from, uint32_t limit,
                       uint64_t op);
    void (*secret_get)(struct kos_services *services, const char *name, uint64_t op);
    void (*secret_put)(struct kos_services *services, const char *name, struct kos_bytes value, uint64_t op);
    void (*sign)(struct kos_services *services, const char *key, struct kos_bytes body, uint64_t op);
    void (*tx_begin)(struct kos_services *services, uint64_t tx);
    void (*tx_put)(struct kos_services *services, uint64_t tx, struct kos_bytes key, struct kos_bytes value);
    void (*tx_delete)(struct kos_services *services, uint64_t tx, struct kos_bytes key);
    void (*tx_send)(struct kos_services *services, uint64_t tx, const struct kos_draft *draft);
    void (*tx_verdict)(struct kos_services *services, uint64_t tx, uint64_t message, int32_t verdict, int32_t error,
                       const char *text, uint64_t retry_ms);
    void (*tx_commit)(struct kos_services *services, uint64_t tx, uint64_t op);
    void (*tx_abort)(struct kos_services *services, uint64_t tx);

    /* ---- kos.transport.host/1 ---- */
    void (*endpoint_up)(struct kos_services *services, uint64_t endpoint, const char *address);
    void (*endpoint_down)(struct kos_services *services, uint64_t endpoint, int32_t status, const char *text);
    void (*link_up)(struct kos_services *services, uint64_t link, uint64_t endpoint, const struct kos_link_info *info);
    void (*link_received)(struct kos_services *services, uint64_t link, struct kos_bytes bytes);
    void (*link_credit)(struct kos_services *services, uint64_t link, uint64_t bytes);
    void (*link_down)(struct kos_services *services, uint64_t link, int32_t status, const char *text);

    /* ---- kos.discovery.host/1 ---- */
    void (*found)(struct kos_services *services, uint64_t op, const uint8_t *id, struct kos_bytes record,
                  const char *const *addresses, uint64_t ttl_ms);
    void (*lost)(struct kos_services *services, const uint8_t id[KOS_ID_BYTES]);

    /* ---- kos.bridge.host/1 ---- */
    void (*inject)(struct kos_services *services, const struct kos_foreign *foreign, uint64_t op);

    /* ---- kos.control.host/1 ---- */
    void (*reply)(struct kos_services *services, uint64_t call, int32_t status, struct kos_bytes parameters,
                  const char *text, int32_t continues);
    void (*event)(struct kos_services *services, const char *event, struct kos_bytes detail);

    /* ---- kos.agents/1 ---- */
    const struct kos_agent_info *(*agent_by_id)(struct kos_services *services, const uint8_t id[KOS_ID_BYTES]);
    const struct kos_agent_info *(*agent_by_name)(struct kos_services *services, const char *name);
    void (*run)(struct kos_services *services, uint64_t run, const struct kos_run *r);
    void (*run_credit)(struct kos_services *services, uint64_t run, uint64_t bytes);
    void (*run_cancel)(struct kos_services *services, uint64_t run);

    /* ---- kos.http/1 ---- */
    void (*http_serve)(struct kos_services *services, const char *prefix, uint64_t body_max_bytes, uint64_t op);
    void (*http_respond)(struct kos_services *services, uint64_t request, const struct kos_http_message *response);
    void (*http_fetch)(struct kos_services *services, const struct kos_http_message *request, uint64_t body_max_bytes,
                       uint64_t timeout_ms, uint64_t op);
    void (*http_cancel)(struct kos_services *services, uint64_t op);

    /* ---- kos.http.service.host/1 ---- */
    void (*http_request)(struct kos_services *services, uint64_t request, const char *prefix,
                         const struct kos_http_message *m);
    void (*http_response)(struct kos_services *services, uint64_t op, int32_t status, const struct kos_http_message *m,
                          const char *text);

    /* ---- kos.stream/1 ---- */
    void (*stream_open)(struct kos_services *services, uint64_t stream, const uint8_t peer[KOS_ID_BYTES],
                        const char *name);
    void (*stream_send)(struct kos_services *services, uint64_t stream, struct kos_bytes bytes);
    void (*stream_credit)(struct kos_services *services, uint64_t stream, uint64_t bytes);
    void (*stream_close)(struct kos_services *services, uint64_t stream);
    void (*stream_abort)(struct kos_services *services, uint64_t stream, int32_t status, const char *text);
};
struct kos_services {
    const struct kos_services_ops *ops;
};

#endif
