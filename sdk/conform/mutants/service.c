/* SPDX-License-Identifier: Apache-2.0
 * Mutants of the HTTP service: the layer of mutant.h around the built plugin, which is loaded as it is. */
#include <dlfcn.h>
#include <stdlib.h>
#include <kos/http.h>
#include <kos/plugin.h>

#define LAYER_LOADS
#include "mutant.h"

static const struct kos_http_service *real_service;
static const struct kos_http_service_host *real_events;

static void m_request(const struct kos_host *host, uint64_t request, const char *prefix,
                      const struct kos_http_message *m)
{
    real_events->request(host, is("request") ? 0 : request, is("prefix") ? "/a/" : prefix, m);
}

static void m_response(const struct kos_host *host, uint64_t op, int32_t status, const struct kos_http_message *m,
                       const char *text)
{
    real_events->response(host, op, status, m, text);
    if (is("fetch"))
        real_events->response(host, op, status, m, text);
}

static void m_serve(void *self, uint64_t op, const char *prefix, uint64_t body_max_bytes)
{
    real_service->serve(self, op, prefix, is("body") ? 100000 : body_max_bytes);
}

static void m_respond(void *self, uint64_t request, const struct kos_http_message *m)
{
    struct layer *l = of_self(self);
    if (is("gone") && ++l->count > 3)
        return;
    real_service->respond(self, request, m);
}

static void m_cancel(void *self, uint64_t op)
{
    if (!is("cancel"))
        real_service->cancel(self, op);
}

static const struct kos_http_service_host m_events = { sizeof m_events, m_request, m_response };
static struct kos_http_service m_service;
static struct kos_feature m_feature = { sizeof m_feature, KOS_HTTP_SERVICE, &m_service };
static const struct kos_feature *const m_features[] = { &m_feature, NULL };

static const void *m_host_feature(const struct kos_host *host, const char *name)
{
    const void *table = of_host(host)->real->feature(of_host(host)->real, name);
    if (!table || strcmp(name, KOS_HTTP_SERVICE_HOST) != 0)
        return table;
    real_events = table;
    return &m_events;
}

static void mutate(void)
{
    for (const struct kos_feature *const *f = original.features; *f; f++)
        if (strcmp((*f)->name, KOS_HTTP_SERVICE) == 0)
            real_service = (*f)->table;
    m_service = *real_service;
    m_service.serve = m_serve;
    m_service.respond = m_respond;
    m_service.cancel = m_cancel;
    mutant.features = m_features;
}

static void mutate_host(struct layer *layer)
{
    layer->host.feature = m_host_feature;
}
