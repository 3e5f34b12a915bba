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
    const char *peer;                             /* server: the client's ADDRESS:PORT */
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

/* The other side: a plugin of kind "http" is the server and the client of all others of its node (plugins/service/http,
 * which runs in a cell). The host stands between: it knows whose a prefix, request or fetch is, checks rights, and
 * registers prefixes again when the service comes back after a crash. Requests under way are lost with it; fetches end
 * with KOS_E_INTERRUPTED. */
#define KOS_HTTP_SERVICE "kos.http.service/1"
#define KOS_HTTP_SERVICE_HOST "kos.http.service.host/1"

struct kos_http_service {
    uint32_t size;
    /* Hands every request below `prefix` over from now on -> kos_host.complete(op, status, a sentence when it failed):
     * KOS_E_EXISTS, KOS_E_INVALID, KOS_E_LIMIT. "/a" is /a and what is below /a/; "/a/" the latter only. No two
     * prefixes are alike; of two that fit, the longer has the request. A body above body_max_bytes is answered 413 by
     * the service itself. */
    void (*serve)(void *self, uint64_t op, const char *prefix, uint64_t body_max_bytes);
    void (*unserve)(void *self, const char *prefix);
    /* Exactly one for each request; one whose client went away is ignored. */
    void (*respond)(void *self, uint64_t request, const struct kos_http_message *response);
    /* -> response(op), exactly once. `timeout_ms` for the whole of it. Redirects are not followed. */
    void (*fetch)(void *self, uint64_t op, const struct kos_http_message *request, uint64_t body_max_bytes,
                  uint64_t timeout_ms);
    void (*cancel)(void *self, uint64_t op);      /* -> response(op, KOS_E_CANCELLED), unless it is on its way */
};

struct kos_http_service_host {
    uint32_t size;
    /* Request ids are the service's, until respond. `prefix` as given to serve. */
    void (*request)(const struct kos_host *host, uint64_t request, const char *prefix,
                    const struct kos_http_message *m);
    /* status KOS_OK and a message with any HTTP status, or the error and a sentence: KOS_E_UNREACHABLE, KOS_E_TIMEOUT,
     * KOS_E_LIMIT (body_max_bytes), KOS_E_CANCELLED, KOS_E_INVALID, KOS_E_DENIED (addresses that are not to be
     * fetched from), KOS_E_BUSY (too many), KOS_E_PROTOCOL, KOS_E_INTERRUPTED (sent, and no answer came). */
    void (*response)(const struct kos_host *host, uint64_t op, int32_t status, const struct kos_http_message *m,
                     const char *text);
};

#endif
