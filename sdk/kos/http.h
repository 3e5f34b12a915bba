/* SPDX-License-Identifier: Apache-2.0
 *
 * kos.http/1: the one HTTP server and client that bridges, gateway and status page share. Since 1.0; a host that has no
 * HTTP cell answers NULL when asked for the feature.
 */
#ifndef KOS_HTTP_H
#define KOS_HTTP_H

#include <kos/host.h>

#define KOS_HTTP "kos.http/1"
#define KOS_HTTP_USER "kos.http.user/1"

struct kos_http_header { const char *name, *value; };   /* frozen for major 1 */

struct kos_http_message {
    uint32_t size;
    int32_t status;                               /* of a response */
    const char *method;                           /* of a request */
    const char *url;                              /* absolute for the client; path and query for the server */
    const struct kos_http_header *headers;        /* header_count of them, names lower case */
    uint32_t header_count;
    struct kos_bytes body;                        /* at most the limit given at `serve` or `fetch` */
    const char *peer;                             /* server: the client's address */
};

struct kos_http {
    uint32_t size;
    /* Serves everything below a path prefix: kos_plugin.completed(op); KOS_E_EXISTS when another has it. */
    void (*serve)(const struct kos_host *host, const char *prefix, uint64_t body_max_bytes, uint64_t op);
    /* Answers request `request` of kos_http_user.request. Exactly once. */
    void (*respond)(const struct kos_host *host, uint64_t request, const struct kos_http_message *response);
    /* -> kos_http_user.response(op). Right "connect". */
    void (*fetch)(const struct kos_host *host, const struct kos_http_message *request, uint64_t body_max_bytes,
                  uint64_t timeout_ms, uint64_t op);
    void (*cancel)(const struct kos_host *host, uint64_t op);
};

struct kos_http_user {
    uint32_t size;
    void (*request)(void *self, uint64_t request, const struct kos_http_message *m);
    void (*response)(void *self, uint64_t op, int32_t status, const struct kos_http_message *m, const char *text);
};

#endif
