/* SPDX-License-Identifier: Apache-2.0
 * The tables that a plugin calls: each member finds the plugin, gives structs their full size, and passes on to
 * services.h. */
#include "driver/driver_private.h"
#include "driver/http_frame.h"
#include "driver/remote.h"

/* NULL: the plugin called after it had said stopped, or from a thread that is not the loop's, where nothing may be
 * touched: an in-process host only notes it. */
static struct kos_services *services_of(const struct kos_host *host, const char *member)
{
    struct kos_driver *driver = host->ctx;
    if (!pthread_equal(driver->thread, pthread_self())) {
        atomic_store(&driver->wrong_thread, member);
        return NULL;
    }
    if (!driver->stopped)
        return driver->services;
    kos_driver_broke(driver, "called %s after it had said stopped", member);
    return NULL;
}

#define SERVICES(host_)                                          \
    struct kos_services *services = services_of(host_, __func__ + 2); \
    if (!services)                                               \
    return

/* ---- kos_host ---- */

static void t_log(const struct kos_host *host, int32_t level, const char *text)
{
    struct kos_driver *driver = host->ctx;
    if (pthread_equal(driver->thread, pthread_self()))
        driver->services->ops->log(driver->services, level, text ? text : "");
    else
        atomic_store(&driver->wrong_thread, "log");
}

static int64_t t_now_ms(const struct kos_host *host)
{
    struct kos_driver *driver = host->ctx;
    return kos_now_ms(driver->env);
}

static uint64_t t_mono_ns(const struct kos_host *host)
{
    struct kos_driver *driver = host->ctx;
    return kos_mono_ns(driver->env);
}

static void t_random(const struct kos_host *host, void *out, size_t len)
{
    struct kos_driver *driver = host->ctx;
    kos_random(driver->env, out, len);
}

static void t_timer_set(const struct kos_host *host, uint64_t timer, uint64_t delay_ms)
{
    SERVICES(host);
    (void)services;
    kos_driver_timer_set(host->ctx, timer, delay_ms);
}

static void t_timer_stop(const struct kos_host *host, uint64_t timer)
{
    SERVICES(host);
    (void)services;
    kos_driver_timer_stop(host->ctx, timer);
}

static int32_t t_watch(const struct kos_host *host, int32_t fd, int32_t events)
{
    SERVICES(host) KOS_E_STATE;
    (void)services;
    return kos_driver_watch(host->ctx, fd, events);
}

static int32_t t_post(const struct kos_host *host, uint64_t cookie)
{
    return kos_driver_post(host->ctx, cookie);
}

static void t_complete(const struct kos_host *host, uint64_t op, int32_t status, struct kos_bytes result)
{
    SERVICES(host);
    services->ops->complete(services, op, status, result);
}

static void t_stopped(const struct kos_host *host)
{
    SERVICES(host);
    (void)services;
    struct kos_driver *driver = host->ctx;
    if (driver->stopping)
        driver->stopped = true;
    else
        kos_driver_broke(driver, "said stopped without having been asked to stop");
    /* fini is not called inside this call: the loop comes back to it. */
    if (driver->stopped)
        kos_defer(driver->env, &driver->drain);
}

static void t_open(const struct kos_host *host, const char *what, uint64_t op)
{
    SERVICES(host);
    services->ops->open(services, what ? what : "", op);
}

static void t_open_cancel(const struct kos_host *host, uint64_t op)
{
    SERVICES(host);
    services->ops->open_cancel(services, op);
}

static void t_state_get(const struct kos_host *host, struct kos_bytes key, uint64_t op)
{
    SERVICES(host);
    services->ops->state_get(services, key, op);
}

static void t_state_scan(const struct kos_host *host, struct kos_bytes prefix, struct kos_bytes from, uint32_t limit,
                         uint64_t op)
{
    SERVICES(host);
    services->ops->state_scan(services, prefix, from, limit, op);
}

static void t_secret_get(const struct kos_host *host, const char *name, uint64_t op)
{
    SERVICES(host);
    services->ops->secret_get(services, name ? name : "", op);
}

static void t_secret_put(const struct kos_host *host, const char *name, struct kos_bytes value, uint64_t op)
{
    SERVICES(host);
    services->ops->secret_put(services, name ? name : "", value, op);
}

static void t_sign(const struct kos_host *host, const char *key, struct kos_bytes body, uint64_t op)
{
    SERVICES(host);
    services->ops->sign(services, key ? key : "", body, op);
}

static void t_tx_begin(const struct kos_host *host, uint64_t tx)
{
    SERVICES(host);
    services->ops->tx_begin(services, tx);
}

static void t_tx_put(const struct kos_host *host, uint64_t tx, struct kos_bytes key, struct kos_bytes value)
{
    SERVICES(host);
    services->ops->tx_put(services, tx, key, value);
}

static void t_tx_delete(const struct kos_host *host, uint64_t tx, struct kos_bytes key)
{
    SERVICES(host);
    services->ops->tx_delete(services, tx, key);
}

static void t_tx_send(const struct kos_host *host, uint64_t tx, const struct kos_draft *given)
{
    SERVICES(host);
    struct kos_draft draft;
    KOS_SIZED(&draft, given);
    services->ops->tx_send(services, tx, &draft);
}

static void t_tx_verdict(const struct kos_host *host, uint64_t tx, uint64_t message, int32_t verdict, int32_t error,
                         const char *text, uint64_t retry_ms)
{
    SERVICES(host);
    services->ops->tx_verdict(services, tx, message, verdict, error, text, retry_ms);
}

static void t_tx_commit(const struct kos_host *host, uint64_t tx, uint64_t op)
{
    SERVICES(host);
    services->ops->tx_commit(services, tx, op);
}

static void t_tx_abort(const struct kos_host *host, uint64_t tx)
{
    SERVICES(host);
    services->ops->tx_abort(services, tx);
}

/* ---- kos.transport.host/1 ---- */

static void t_endpoint_up(const struct kos_host *host, uint64_t endpoint, const char *address)
{
    SERVICES(host);
    services->ops->endpoint_up(services, endpoint, address);
}

static void t_endpoint_down(const struct kos_host *host, uint64_t endpoint, int32_t status, const char *text)
{
    SERVICES(host);
    services->ops->endpoint_down(services, endpoint, status, text);
}

static void t_link_up(const struct kos_host *host, uint64_t link, uint64_t endpoint, const struct kos_link_info *given)
{
    SERVICES(host);
    struct kos_link_info info;
    KOS_SIZED(&info, given);
    services->ops->link_up(services, link, endpoint, &info);
}

static void t_link_received(const struct kos_host *host, uint64_t link, struct kos_bytes bytes)
{
    SERVICES(host);
    services->ops->link_received(services, link, bytes);
}

static void t_link_credit(const struct kos_host *host, uint64_t link, uint64_t bytes)
{
    SERVICES(host);
    services->ops->link_credit(services, link, bytes);
}

static void t_link_down(const struct kos_host *host, uint64_t link, int32_t status, const char *text)
{
    SERVICES(host);
    services->ops->link_down(services, link, status, text);
}

static const struct kos_transport_host transport_host = {
    sizeof transport_host, t_endpoint_up, t_endpoint_down, t_link_up, t_link_received, t_link_credit, t_link_down,
};

/* ---- kos.discovery.host/1, kos.bridge.host/1 ---- */

static void t_found(const struct kos_host *host, uint64_t op, const uint8_t *id, struct kos_bytes record,
                    const char *const *addresses, uint64_t ttl_ms)
{
    static const char *const none[] = { NULL };
    SERVICES(host);
    services->ops->found(services, op, id, record, addresses ? addresses : none, ttl_ms);
}

static void t_lost(const struct kos_host *host, const uint8_t id[KOS_ID_BYTES])
{
    SERVICES(host);
    services->ops->lost(services, id);
}

static const struct kos_discovery_host discovery_host = { sizeof discovery_host, t_found, t_lost };

static void t_inject(const struct kos_host *host, const struct kos_foreign *given, uint64_t op)
{
    SERVICES(host);
    struct kos_foreign foreign;
    KOS_SIZED(&foreign, given);
    foreign.draft.size = sizeof foreign.draft;
    services->ops->inject(services, &foreign, op);
}

static const struct kos_bridge_host bridge_host = { sizeof bridge_host, t_inject };

/* ---- kos.control.host/1 ---- */

static void t_reply(const struct kos_host *host, uint64_t call, int32_t status, struct kos_bytes parameters,
                    const char *text, int32_t continues)
{
    SERVICES(host);
    services->ops->reply(services, call, status, parameters, text, continues);
}

static void t_event(const struct kos_host *host, const char *event, struct kos_bytes detail)
{
    SERVICES(host);
    services->ops->event(services, event ? event : "", detail);
}

static const struct kos_control_host control_host = { sizeof control_host, t_reply, t_event };

/* ---- kos.agents/1 ---- */

static const struct kos_agent_info *t_agent_by_id(const struct kos_host *host, const uint8_t id[KOS_ID_BYTES])
{
    SERVICES(host) NULL;
    return services->ops->agent_by_id(services, id);
}

static const struct kos_agent_info *t_agent_by_name(const struct kos_host *host, const char *name)
{
    SERVICES(host) NULL;
    return services->ops->agent_by_name(services, name);
}

static void t_run(const struct kos_host *host, uint64_t run, const struct kos_run *given)
{
    SERVICES(host);
    struct kos_run r;
    KOS_SIZED(&r, given);
    services->ops->run(services, run, &r);
}

static void t_run_credit(const struct kos_host *host, uint64_t run, uint64_t bytes)
{
    SERVICES(host);
    services->ops->run_credit(services, run, bytes);
}

static void t_run_cancel(const struct kos_host *host, uint64_t run)
{
    SERVICES(host);
    services->ops->run_cancel(services, run);
}

static const struct kos_agents agents_table = { sizeof agents_table, t_agent_by_id, t_agent_by_name, t_run,
                                                t_run_credit,        t_run_cancel };

/* ---- kos.http/1, kos.http.service.host/1 ---- */

static void t_http_serve(const struct kos_host *host, const char *prefix, uint64_t body_max_bytes, uint64_t op)
{
    SERVICES(host);
    services->ops->http_serve(services, prefix ? prefix : "", body_max_bytes, op);
}

static void t_http_respond(const struct kos_host *host, uint64_t request, const struct kos_http_message *given)
{
    SERVICES(host);
    struct kos_http_message m;
    KOS_SIZED(&m, given);
    services->ops->http_respond(services, request, &m);
}

static void t_http_fetch(const struct kos_host *host, const struct kos_http_message *given, uint64_t body_max_bytes,
                         uint64_t timeout_ms, uint64_t op)
{
    SERVICES(host);
    struct kos_http_message m;
    KOS_SIZED(&m, given);
    services->ops->http_fetch(services, &m, body_max_bytes, timeout_ms, op);
}

static void t_http_cancel(const struct kos_host *host, uint64_t op)
{
    SERVICES(host);
    services->ops->http_cancel(services, op);
}

static const struct kos_http http_table = { sizeof http_table, t_http_serve, t_http_respond, t_http_fetch,
                                            t_http_cancel };

static void t_http_request(const struct kos_host *host, uint64_t request, const char *prefix,
                           const struct kos_http_message *given)
{
    SERVICES(host);
    struct kos_http_message m;
    KOS_SIZED(&m, given);
    services->ops->http_request(services, request, prefix ? prefix : "", &m);
}

static void t_http_response(const struct kos_host *host, uint64_t op, int32_t status,
                            const struct kos_http_message *given, const char *text)
{
    SERVICES(host);
    struct kos_http_message m;
    if (given)
        KOS_SIZED(&m, given);
    services->ops->http_response(services, op, status, given ? &m : NULL, text);
}

static const struct kos_http_service_host http_service_table = { sizeof http_service_table, t_http_request,
                                                                 t_http_response };

/* ---- kos.stream/1 ---- */

static void t_stream_open(const struct kos_host *host, uint64_t stream, const uint8_t peer[KOS_ID_BYTES],
                          const char *name)
{
    SERVICES(host);
    services->ops->stream_open(services, stream, peer, name ? name : "");
}

static void t_stream_send(const struct kos_host *host, uint64_t stream, struct kos_bytes bytes)
{
    SERVICES(host);
    services->ops->stream_send(services, stream, bytes);
}

static void t_stream_credit(const struct kos_host *host, uint64_t stream, uint64_t bytes)
{
    SERVICES(host);
    services->ops->stream_credit(services, stream, bytes);
}

static void t_stream_close(const struct kos_host *host, uint64_t stream)
{
    SERVICES(host);
    services->ops->stream_close(services, stream);
}

static void t_stream_abort(const struct kos_host *host, uint64_t stream, int32_t status, const char *text)
{
    SERVICES(host);
    services->ops->stream_abort(services, stream, status, text ? text : "");
}

static const struct kos_stream stream_table = { sizeof stream_table, t_stream_open,  t_stream_send,
                                                t_stream_credit,     t_stream_close, t_stream_abort };

/* ---- features ---- */

const char *const kos_driver_features[] = { KOS_TRANSPORT_HOST, KOS_DISCOVERY_HOST, KOS_BRIDGE_HOST,      KOS_CONTROL_HOST,
                                            KOS_AGENTS,         KOS_HTTP,           KOS_HTTP_SERVICE_HOST, KOS_STREAM,
                                            NULL };

static const void *t_feature(const struct kos_host *host, const char *name)
{
    static const void *const tables[] = { &transport_host, &discovery_host, &bridge_host,       &control_host,
                                          &agents_table,   &http_table,     &http_service_table, &stream_table };
    SERVICES(host) NULL;
    for (size_t i = 0; kos_driver_features[i]; i++)
        if (strcmp(kos_driver_features[i], name) == 0)
            return services->ops->gives(services, name) ? tables[i] : NULL;
    return NULL;
}

void kos_driver_table_init(struct kos_driver *driver)
{
    driver->table = (struct kos_host){
        .size = sizeof driver->table,
        .abi = KOS_ABI,
        .ctx = driver,
        .feature = t_feature,
        .log = t_log,
        .now_ms = t_now_ms,
        .mono_ns = t_mono_ns,
        .random = t_random,
        .timer_set = t_timer_set,
        .timer_stop = t_timer_stop,
        .watch = t_watch,
        .post = t_post,
        .complete = t_complete,
        .stopped = t_stopped,
        .open = t_open,
        .open_cancel = t_open_cancel,
        .state_get = t_state_get,
        .state_scan = t_state_scan,
        .secret_get = t_secret_get,
        .secret_put = t_secret_put,
        .sign = t_sign,
        .tx_begin = t_tx_begin,
        .tx_put = t_tx_put,
        .tx_delete = t_tx_delete,
        .tx_send = t_tx_send,
        .tx_verdict = t_tx_verdict,
        .tx_commit = t_tx_commit,
        .tx_abort = t_tx_abort,
        .directory = driver->directory,
    };
    if (driver->strict && driver->strict->newer) {
        driver->table.size += KOS_NEWER_BYTES;
        driver->table.abi++;
        memset(driver->table_newer, 0x5a, sizeof driver->table_newer);
    }
}
