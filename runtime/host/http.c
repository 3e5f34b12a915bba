/* SPDX-License-Identifier: Apache-2.0
 *
 * kos.http/1: plugins on the one side, the plugin that offers kos.http.service/1 on the other. Here it is known whose a
 * prefix, a request and a fetch is. When the service ends, its requests are gone and fetches end with an error; when it
 * is back, the prefixes are registered with it again.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <utlist.h>

#include "host/services.h"

enum { PREFIXES_MAX = 256, PREFIX_BYTES = 256, REQUESTS_MAX = 4096, FETCHES_MAX = 1024 };

/* A prefix of a user. */
struct kos_http_prefix {
    struct kos_hosted *user;
    char *prefix;
    uint64_t body_max_bytes;
    uint64_t op;                  /* the user's serve under way; 0 when it has been answered */
    struct kos_http_prefix *prev, *next;
};
/* A request on its way: the service's id and the one that the user has. */
struct kos_http_request {
    struct kos_hosted *user;
    uint64_t service_id, user_id;
    UT_hash_handle hh, by_service;
};
struct kos_http_fetch {
    struct kos_hosted *user;      /* NULL: gone, nobody is told */
    uint64_t op, service_op;
    UT_hash_handle hh;
};

static struct kos_hosted *service_of(const struct kos_hosting *hosting)
{
    struct kos_hosted *h = hosting->plugins;
    while (h && !kos_hosted_offers(h, KOS_HTTP_SERVICE))
        h = h->next;
    return h;
}

bool kos_http_is_there(const struct kos_hosting *hosting)
{
    return service_of(hosting) != NULL;
}

static struct kos_hosted *running_service(const struct kos_hosting *hosting)
{
    struct kos_hosted *service = service_of(hosting);
    return service && service->state == KOS_HOSTED_RUNNING ? service : NULL;
}

/* ---- prefixes ---- */

static void prefix_free(struct kos_http_prefix *p)
{
    DL_DELETE(p->user->hosting->http_prefixes, p);
    free(p->prefix);
    free(p);
}

static struct kos_http_prefix *prefix_find(struct kos_hosting *hosting, const char *prefix)
{
    struct kos_http_prefix *p;
    DL_FOREACH(hosting->http_prefixes, p)
        if (strcmp(p->prefix, prefix) == 0)
            return p;
    return NULL;
}

struct serving {
    struct kos_hosting *hosting;
    char *prefix;
};

static void served(void *arg, int32_t status, struct kos_bytes result)
{
    struct serving *serving = arg;
    struct kos_http_prefix *p = prefix_find(serving->hosting, serving->prefix);
    /* The service went while it was asked: it is asked again when it is back, and the user waits. */
    if (p && status != KOS_E_INTERRUPTED) {
        struct kos_hosted *user = p->user;
        uint64_t op = p->op;
        p->op = 0;
        if (status < 0)
            prefix_free(p);
        if (op)
            kos_hosted_complete(user, op, status, result);
        else if (status < 0)
            kos_log(serving->hosting->env, KOS_LOG_ERROR, "host", "plugin %s is not served at %s any more: %s",
                    user->name, serving->prefix, kos_error_text(status));
    }
    free(serving->prefix);
    free(serving);
}

static void ask_service(struct kos_hosted *service, const struct kos_http_prefix *p)
{
    struct serving *serving = kos_new(sizeof *serving);
    serving->hosting = service->hosting;
    serving->prefix = kos_strdup(p->prefix);
    service->backend->ops->http_serve(service->backend, kos_op_new(service, served, serving), p->prefix,
                                      p->body_max_bytes);
}

static bool prefix_ok(const char *prefix)
{
    size_t len = strlen(prefix);
    for (size_t i = 0; i < len; i++)
        if (prefix[i] <= 32 || prefix[i] >= 127 || strchr("?#%\\\"<>", prefix[i]))
            return false;
    return len > 0 && len <= PREFIX_BYTES && prefix[0] == '/' && !strstr(prefix, "//") && !strstr(prefix, "/../");
}

void kos_service_http_serve(struct kos_services *services, const char *prefix, uint64_t body_max_bytes, uint64_t op)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_hosting *hosting = hosted->hosting;
    struct kos_hosted *service = running_service(hosting);
    struct kos_http_prefix *p = prefix_find(hosting, prefix);
    uint32_t count = 0;
    if (p) {
        kos_hosted_complete_text(hosted, op, KOS_E_EXISTS,
                                 p->user == hosted ? "this plugin serves that prefix already"
                                                   : "another plugin of this node serves that prefix");
        return;
    }
    DL_COUNT(hosting->http_prefixes, p, count);
    if (!prefix_ok(prefix) || count >= PREFIXES_MAX) {
        kos_hosted_complete_text(hosted, op, prefix_ok(prefix) ? KOS_E_LIMIT : KOS_E_INVALID,
                                 "a prefix is a plain path such as /hook/ of at most 256 characters, and a node serves at "
                                 "most 256 of them");
        return;
    }
    p = kos_new(sizeof *p);
    p->user = hosted;
    p->prefix = kos_strdup(prefix);
    p->body_max_bytes = body_max_bytes;
    p->op = op;
    DL_APPEND(hosting->http_prefixes, p);
    if (service)
        ask_service(service, p); /* else when it is there */
}

/* ---- requests ---- */

static void request_free(struct kos_http_request *r, struct kos_hosting *hosting)
{
    HASH_DELETE(hh, r->user->http_requests, r);
    HASH_DELETE(by_service, hosting->http_requests, r);
    free(r);
}

static void answer(struct kos_hosted *service, uint64_t request, int32_t status, const char *text)
{
    static const struct kos_http_header headers[] = { { "content-type", "text/plain; charset=utf-8" } };
    const struct kos_http_message m = { .size = sizeof m,
                                        .status = status,
                                        .headers = headers,
                                        .header_count = 1,
                                        .body = kos_bytes_str(text) };
    service->backend->ops->http_respond(service->backend, request, &m);
}

void kos_service_http_request(struct kos_services *services, uint64_t request, const char *prefix,
                              const struct kos_http_message *m)
{
    struct kos_hosted *service = kos_hosted_of(services);
    struct kos_hosting *hosting = service->hosting;
    struct kos_http_prefix *p = prefix_find(hosting, prefix);
    struct kos_http_request *r;
    HASH_FIND(by_service, hosting->http_requests, &request, sizeof request, r);
    if (r) {
        kos_hosted_broke(service, "handed over request %" PRIu64 ", which is open already", request);
        return;
    }
    /* A prefix given up is no broken rule: the request may have been on its way when the service was told. */
    if (!p || p->user->state != KOS_HOSTED_RUNNING || HASH_COUNT(p->user->http_requests) >= REQUESTS_MAX) {
        answer(service, request, 503, "the plugin that serves this is not there at the moment\n");
        return;
    }
    r = kos_new(sizeof *r);
    r->user = p->user;
    r->service_id = request;
    r->user_id = kos_hosted_id(p->user);
    HASH_ADD(hh, p->user->http_requests, user_id, sizeof r->user_id, r);
    HASH_ADD(by_service, hosting->http_requests, service_id, sizeof r->service_id, r);
    p->user->backend->ops->http_request(p->user->backend, r->user_id, m);
}

void kos_service_http_respond(struct kos_services *services, uint64_t request, const struct kos_http_message *response)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_hosted *service = running_service(hosted->hosting);
    struct kos_http_request *r;
    HASH_FIND(hh, hosted->http_requests, &request, sizeof request, r);
    if (!r) {
        /* The service may have ended with it. */
        if (request == 0 || request & 1 || request > hosted->next_id)
            kos_hosted_broke(hosted, "answered request %" PRIu64 ", which it was not given", request);
        return;
    }
    uint64_t id = r->service_id;
    request_free(r, hosted->hosting);
    if (service)
        service->backend->ops->http_respond(service->backend, id, response);
}

/* ---- fetches ---- */

static void fetch_free(struct kos_http_fetch *f, struct kos_hosting *hosting)
{
    HASH_DEL(hosting->http_fetches, f);
    free(f);
}

static void fetch_fail(struct kos_hosted *hosted, uint64_t op, int32_t status, const char *text)
{
    if (hosted->backend)
        hosted->backend->ops->http_response(hosted->backend, op, status, NULL, text);
}

static struct kos_http_fetch *fetch_of(struct kos_hosted *hosted, uint64_t op)
{
    struct kos_http_fetch *f, *next;
    HASH_ITER(hh, hosted->hosting->http_fetches, f, next)
        if (f->user == hosted && f->op == op)
            return f;
    return NULL;
}

void kos_service_http_fetch(struct kos_services *services, const struct kos_http_message *request,
                            uint64_t body_max_bytes, uint64_t timeout_ms, uint64_t op)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_hosted *service = running_service(hosted->hosting);
    if (op == 0 || fetch_of(hosted, op)) {
        kos_hosted_broke(hosted, "began fetch %" PRIu64 ", which is %s", op, op ? "under way already" : "no id");
    } else if (!kos_hosted_may(hosted, KOS_RIGHT_CONNECT)) {
        fetch_fail(hosted, op, KOS_E_DENIED, "the plugin has not asked for the right \"connect\"");
    } else if (!request->url) {
        fetch_fail(hosted, op, KOS_E_INVALID, "a request needs a URL");
    } else if (!service) {
        fetch_fail(hosted, op, KOS_E_BUSY, "the plugin that does HTTP for this node is not running at the moment");
    } else if (HASH_COUNT(hosted->hosting->http_fetches) >= FETCHES_MAX) {
        fetch_fail(hosted, op, KOS_E_BUSY, "1024 requests of this node's plugins are under way");
    } else {
        struct kos_http_fetch *f = kos_new(sizeof *f);
        f->user = hosted;
        f->op = op;
        f->service_op = kos_hosted_id(service);
        HASH_ADD(hh, hosted->hosting->http_fetches, service_op, sizeof f->service_op, f);
        service->backend->ops->http_fetch(service->backend, f->service_op, request, body_max_bytes, timeout_ms);
    }
}

void kos_service_http_cancel(struct kos_services *services, uint64_t op)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_hosted *service = running_service(hosted->hosting);
    struct kos_http_fetch *f = fetch_of(hosted, op);
    if (f && service)
        service->backend->ops->http_cancel(service->backend, f->service_op);
}

void kos_service_http_response(struct kos_services *services, uint64_t op, int32_t status,
                               const struct kos_http_message *m, const char *text)
{
    struct kos_hosted *service = kos_hosted_of(services);
    struct kos_http_fetch *f;
    HASH_FIND(hh, service->hosting->http_fetches, &op, sizeof op, f);
    if (!f) {
        kos_hosted_broke(service, "answered fetch %" PRIu64 ", which is not open", op);
        return;
    }
    struct kos_hosted *user = f->user;
    uint64_t user_op = f->op;
    fetch_free(f, service->hosting);
    if (status >= 0 && !m) {
        kos_hosted_broke(service, "answered a fetch with neither a message nor an error");
        status = KOS_E_PLUGIN;
    }
    if (user && user->backend)
        user->backend->ops->http_response(user->backend, user_op, status < 0 ? status : KOS_OK, status < 0 ? NULL : m,
                                          text ? text : "");
}

/* ---- comings and goings ---- */

void kos_http_back(struct kos_hosted *hosted)
{
    struct kos_http_prefix *p;
    if (!kos_hosted_offers(hosted, KOS_HTTP_SERVICE))
        return;
    DL_FOREACH(hosted->hosting->http_prefixes, p)
        ask_service(hosted, p);
}

static void drop_service(struct kos_hosted *service)
{
    struct kos_hosting *hosting = service->hosting;
    struct kos_http_request *r, *next_request;
    struct kos_http_fetch *f, *next_fetch;
    HASH_ITER(by_service, hosting->http_requests, r, next_request)
        request_free(r, hosting);
    HASH_ITER(hh, hosting->http_fetches, f, next_fetch) {
        struct kos_hosted *user = f->user;
        uint64_t op = f->op;
        fetch_free(f, hosting);
        if (user && user->state != KOS_HOSTED_FINISHED)
            fetch_fail(user, op, KOS_E_INTERRUPTED, "the plugin that does HTTP for this node ended meanwhile");
    }
}

void kos_http_drop(struct kos_hosted *hosted)
{
    struct kos_hosting *hosting = hosted->hosting;
    struct kos_hosted *service = running_service(hosting);
    struct kos_http_prefix *p, *next_prefix;
    struct kos_http_request *r, *next_request;
    struct kos_http_fetch *f, *next_fetch;
    if (kos_hosted_offers(hosted, KOS_HTTP_SERVICE))
        drop_service(hosted);
    DL_FOREACH_SAFE(hosting->http_prefixes, p, next_prefix)
        if (p->user == hosted) {
            if (service && service != hosted)
                service->backend->ops->http_unserve(service->backend, p->prefix);
            prefix_free(p);
        }
    HASH_ITER(hh, hosted->http_requests, r, next_request) {
        uint64_t id = r->service_id;
        request_free(r, hosting);
        if (service && service != hosted)
            answer(service, id, 503, "the plugin that serves this ended meanwhile\n");
    }
    HASH_ITER(hh, hosting->http_fetches, f, next_fetch)
        if (f->user == hosted) {
            f->user = NULL;
            if (service && service != hosted)
                service->backend->ops->http_cancel(service->backend, f->service_op);
        }
}
