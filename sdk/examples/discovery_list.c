/* SPDX-License-Identifier: Apache-2.0
 *
 * A discovery service: a list of addresses in the policy. It says them when it starts and again before they expire; the
 * handshake proves who lives there. It has nothing to announce this node by.
 */
#include <stdlib.h>
#include <kos/discovery.h>
#include <kos/plugin.h>

enum { SAY = 1 };

struct list {
    const struct kos_host *host;
    const struct kos_discovery_host *events;
    const char *const *addresses;
    uint64_t interval_ms;
};

/* One node per address, without a record: who is there is not known yet. */
static void say(struct list *l, uint64_t op, uint32_t limit)
{
    for (const char *const *a = l->addresses; *a && limit > 0; a++, limit--) {
        const char *const one[] = { *a, NULL };
        l->events->found(l->host, op, NULL, kos_bytes(NULL, 0), one, 3 * l->interval_ms);
    }
}

static void announce(void *self, uint64_t op, struct kos_bytes record, const char *const *addresses)
{
    struct list *l = self;
    (void)record;
    (void)addresses;
    l->host->complete(l->host, op, KOS_OK, kos_bytes(NULL, 0));
}

static void withdraw(void *self, uint64_t op)
{
    struct list *l = self;
    l->host->complete(l->host, op, KOS_OK, kos_bytes(NULL, 0));
}

static void find(void *self, uint64_t op, const struct kos_find *what)
{
    struct list *l = self;
    bool all = what->kind == KOS_FIND_ALL; /* ids, names and skills stand in records, which a list does not have */
    if (all)
        say(l, op, what->limit);
    l->host->complete(l->host, op, all ? KOS_OK : KOS_E_UNSUPPORTED, kos_bytes(NULL, 0));
}

static void find_cancel(void *self, uint64_t op)
{
    (void)self; /* a find here has completed before it could be cancelled: events cross */
    (void)op;
}

static void timer(void *self, uint64_t id)
{
    struct list *l = self;
    (void)id;
    say(l, 0, UINT32_MAX);
    l->host->timer_set(l->host, SAY, l->interval_ms);
}

/* ---- life ---- */

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    const struct kos_value *addresses = kos_conf_get(conf, "addresses");
    const struct kos_discovery_host *events = host->feature(host, KOS_DISCOVERY_HOST);
    struct list *l = calloc(1, sizeof *l);
    if (!l)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the list of addresses");
    l->host = host;
    l->events = events;
    l->addresses = addresses->list;
    l->interval_ms = (uint64_t)kos_conf_number(conf, "interval");
    *ret_self = l;
    return KOS_OK;
}

static void start(void *self)
{
    struct list *l = self;
    if (l->events) /* a host that does not drive discovery gives no table; then there is nobody to tell */
        l->host->timer_set(l->host, SAY, 0);
}

static void stop(void *self)
{
    struct list *l = self;
    l->host->timer_stop(l->host, SAY);
    l->host->stopped(l->host);
}

static const struct kos_discovery discovery = { sizeof discovery, announce, withdraw, find, find_cancel };

static const struct kos_setting addresses = {
    .size = sizeof addresses,
    .type = KOS_SETTING_LIST,
    .name = "addresses",
    .summary = "where nodes are, as transports write it",
    .fallback = "",
};
static const struct kos_setting interval = {
    .size = sizeof interval,
    .type = KOS_SETTING_DURATION,
    .name = "interval",
    .summary = "how often the addresses are said again",
    .fallback = "5m",
    .min = 10,
    .max = 86400000,
};
static const struct kos_setting *const settings[] = { &addresses, &interval, NULL };

static const struct kos_feature feature = { sizeof feature, KOS_DISCOVERY, &discovery };
static const struct kos_feature *const features[] = { &feature, NULL };

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.example.list",
    .name = "list",
    .version = "1.0.0",
    .summary = "finds nodes by a list of addresses",
    .settings = settings,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = free,
    .timer = timer,
};
