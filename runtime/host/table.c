/* SPDX-License-Identifier: Apache-2.0
 * The tables that a plugin of this process calls: each member finds the plugin and passes on to services.h. */
#include <limits.h>

#include "agents/agents.h"
#include "host/local.h"

/* NULL: the plugin called after it had said stopped. */
static struct kos_hosted *hosted_of(const struct kos_host *host)
{
    struct kos_local *local = host->ctx;
    if (!local->stopped)
        return local->backend.hosted;
    kos_hosted_broke(local->backend.hosted, "called the host after it had said stopped");
    return NULL;
}

#define HOSTED(host_)                                  \
    struct kos_hosted *hosted = hosted_of(host_);      \
    if (!hosted)                                       \
    return

/* ---- kos_host ---- */

static void t_log(const struct kos_host *host, int32_t level, const char *text)
{
    struct kos_local *local = host->ctx;
    kos_service_log(local->backend.hosted, level, text);
}

static int64_t t_now_ms(const struct kos_host *host)
{
    struct kos_local *local = host->ctx;
    return kos_now_ms(local->env);
}

static uint64_t t_mono_ns(const struct kos_host *host)
{
    struct kos_local *local = host->ctx;
    return kos_mono_ns(local->env);
}

static void t_random(const struct kos_host *host, void *out, size_t len)
{
    struct kos_local *local = host->ctx;
    kos_random(local->env, out, len);
}

static void t_timer_set(const struct kos_host *host, uint64_t timer, uint64_t delay_ms)
{
    HOSTED(host);
    (void)hosted;
    kos_local_timer_set(host->ctx, timer, delay_ms);
}

static void t_timer_stop(const struct kos_host *host, uint64_t timer)
{
    kos_local_timer_stop(host->ctx, timer);
}

static int32_t t_watch(const struct kos_host *host, int32_t fd, int32_t events)
{
    HOSTED(host) KOS_E_STATE;
    (void)hosted;
    return kos_local_watch(host->ctx, fd, events);
}

static int32_t t_post(const struct kos_host *host, uint64_t cookie)
{
    return kos_local_post(host->ctx, cookie);
}

static void t_complete(const struct kos_host *host, uint64_t op, int32_t status, struct kos_bytes result)
{
    HOSTED(host);
    (void)result;
    kos_service_complete(hosted, op, status);
}

static void t_stopped(const struct kos_host *host)
{
    HOSTED(host);
    struct kos_local *local = host->ctx;
    if (local->stopping)
        local->stopped = true;
    else
        kos_hosted_broke(hosted, "said stopped without having been asked to stop");
    /* fini is not called inside this call: the loop comes back to it. */
    if (local->stopped)
        kos_defer(local->env, &local->drain);
}

static void t_open(const struct kos_host *host, const char *what, uint64_t op)
{
    HOSTED(host);
    kos_service_open(hosted, what, op);
}

static void t_open_cancel(const struct kos_host *host, uint64_t op)
{
    HOSTED(host);
    kos_service_open_cancel(hosted, op);
}

static void t_state_get(const struct kos_host *host, struct kos_bytes key, uint64_t op)
{
    HOSTED(host);
    kos_service_state_get(hosted, key, op);
}

static void t_state_scan(const struct kos_host *host, struct kos_bytes prefix, struct kos_bytes from, uint32_t limit,
                         uint64_t op)
{
    HOSTED(host);
    kos_service_state_scan(hosted, prefix, from, limit, op);
}

static void t_secret_get(const struct kos_host *host, const char *name, uint64_t op)
{
    HOSTED(host);
    kos_service_secret_get(hosted, name, op);
}

static void t_secret_put(const struct kos_host *host, const char *name, struct kos_bytes value, uint64_t op)
{
    HOSTED(host);
    kos_service_secret_put(hosted, name, value, op);
}

static void t_sign(const struct kos_host *host, const char *key, struct kos_bytes body, uint64_t op)
{
    HOSTED(host);
    kos_service_sign(hosted, key, body, op);
}

static void t_tx_begin(const struct kos_host *host, uint64_t tx)
{
    HOSTED(host);
    kos_service_tx_begin(hosted, tx);
}

static void t_tx_put(const struct kos_host *host, uint64_t tx, struct kos_bytes key, struct kos_bytes value)
{
    HOSTED(host);
    kos_service_tx_put(hosted, tx, key, value);
}

static void t_tx_delete(const struct kos_host *host, uint64_t tx, struct kos_bytes key)
{
    HOSTED(host);
    kos_service_tx_delete(hosted, tx, key);
}

static void t_tx_send(const struct kos_host *host, uint64_t tx, const struct kos_draft *draft)
{
    HOSTED(host);
    kos_service_tx_send(hosted, tx, draft);
}

static void t_tx_verdict(const struct kos_host *host, uint64_t tx, uint64_t message, int32_t verdict, int32_t error,
                         const char *text, uint64_t retry_ms)
{
    HOSTED(host);
    kos_service_tx_verdict(hosted, tx, message, verdict, error, text, retry_ms);
}

static void t_tx_commit(const struct kos_host *host, uint64_t tx, uint64_t op)
{
    HOSTED(host);
    kos_service_tx_commit(hosted, tx, op);
}

static void t_tx_abort(const struct kos_host *host, uint64_t tx)
{
    HOSTED(host);
    kos_service_tx_abort(hosted, tx);
}

/* ---- kos.transport.host/1 ---- */

static void t_endpoint_up(const struct kos_host *host, uint64_t endpoint, const char *address)
{
    HOSTED(host);
    kos_service_endpoint_up(hosted, endpoint, address);
}

static void t_endpoint_down(const struct kos_host *host, uint64_t endpoint, int32_t status, const char *text)
{
    HOSTED(host);
    kos_service_endpoint_down(hosted, endpoint, status, text);
}

static void t_link_up(const struct kos_host *host, uint64_t link, uint64_t endpoint, const struct kos_link_info *info)
{
    HOSTED(host);
    kos_service_link_up(hosted, link, endpoint, info);
}

static void t_link_received(const struct kos_host *host, uint64_t link, struct kos_bytes bytes)
{
    HOSTED(host);
    kos_service_link_received(hosted, link, bytes);
}

static void t_link_credit(const struct kos_host *host, uint64_t link, uint64_t bytes)
{
    HOSTED(host);
    kos_service_link_credit(hosted, link, bytes);
}

static void t_link_down(const struct kos_host *host, uint64_t link, int32_t status, const char *text)
{
    HOSTED(host);
    kos_service_link_down(hosted, link, status, text);
}

static const struct kos_transport_host transport_host = {
    sizeof transport_host, t_endpoint_up, t_endpoint_down, t_link_up, t_link_received, t_link_credit, t_link_down,
};

/* ---- kos.control.host/1 ---- */

static void t_reply(const struct kos_host *host, uint64_t call, int32_t status, struct kos_bytes parameters,
                    const char *text, int32_t continues)
{
    HOSTED(host);
    kos_service_reply(hosted, call, status, parameters, text, continues);
}

static void t_event(const struct kos_host *host, const char *event, struct kos_bytes detail)
{
    HOSTED(host);
    kos_service_event(hosted, event, detail);
}

static const struct kos_control_host control_host = { sizeof control_host, t_reply, t_event };

/* ---- kos.agents/1 ---- */

static const struct kos_agent_info *t_by_id(const struct kos_host *host, const uint8_t id[KOS_ID_BYTES])
{
    HOSTED(host) NULL;
    return kos_agents_by_id(hosted->hosting->agents, id);
}

static const struct kos_agent_info *t_by_name(const struct kos_host *host, const char *name)
{
    HOSTED(host) NULL;
    return kos_agents_by_name(hosted->hosting->agents, name);
}

static void t_run(const struct kos_host *host, uint64_t run, const struct kos_run *r)
{
    HOSTED(host);
    kos_service_run(hosted, run, r);
}

static void t_run_credit(const struct kos_host *host, uint64_t run, uint64_t bytes)
{
    HOSTED(host);
    kos_service_run_credit(hosted, run, bytes);
}

static void t_run_cancel(const struct kos_host *host, uint64_t run)
{
    HOSTED(host);
    kos_service_run_cancel(hosted, run);
}

static const struct kos_agents agents_table = { sizeof agents_table, t_by_id,     t_by_name, t_run,
                                                t_run_credit,        t_run_cancel };

/* ---- features ---- */

static const void *t_feature(const struct kos_host *host, const char *name)
{
    struct kos_local *local = host->ctx;
    struct kos_hosted *hosted = local->backend.hosted;
    if (strcmp(name, KOS_TRANSPORT_HOST) == 0)
        return kos_hosted_offers(hosted, KOS_TRANSPORT) ? &transport_host : NULL;
    if (strcmp(name, KOS_CONTROL_HOST) == 0)
        return kos_hosted_offers(hosted, KOS_CONTROL) ? &control_host : NULL;
    if (strcmp(name, KOS_AGENTS) == 0)
        return hosted->rights & KOS_RIGHT_AGENTS && kos_hosted_offers(hosted, KOS_AGENTS_USER) &&
                hosted->hosting->agents
            ? &agents_table
            : NULL;
    return NULL;
}

void kos_local_table_init(struct kos_local *local)
{
    local->table = (struct kos_host){
        .size = sizeof local->table,
        .abi = KOS_ABI,
        .ctx = local,
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
        .directory = local->backend.hosted->directory,
    };
}
