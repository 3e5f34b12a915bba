/* SPDX-License-Identifier: Apache-2.0
 * What the list holds is found, asked and unasked. */
#include <kos_test.h>
#include <kos/discovery.h>

static struct {
    int found, asked, completed;
    int32_t status;
    char address[128];
} seen;

static void found(const struct kos_host *host, uint64_t op, const uint8_t *id, struct kos_bytes record,
                  const char *const *addresses, uint64_t ttl_ms)
{
    (void)host;
    CHECK(!id && record.len == 0 && addresses[0] && !addresses[1] && ttl_ms > 0);
    seen.found++;
    seen.asked += op != 0;
    snprintf(seen.address, sizeof seen.address, "%s", addresses[0]);
}
static void lost(const struct kos_host *host, const uint8_t id[KOS_ID_BYTES])
{
    (void)host;
    (void)id;
}
static const struct kos_discovery_host events = { sizeof events, found, lost };

static const void *feature(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, KOS_DISCOVERY_HOST) == 0 ? &events : NULL;
}

static void on_complete(void *arg, uint64_t op, int32_t status, struct kos_bytes result)
{
    (void)arg;
    (void)op;
    (void)result;
    seen.completed++;
    seen.status = status;
}

int main(int argc, char **argv)
{
    const struct kos_plugin *plugin = load(argc > 1 ? argv[1] : "./list.so");
    const struct kos_discovery *d = table(plugin, KOS_DISCOVERY);
    const struct poll_host_hooks hooks = { .feature = feature, .complete = on_complete };
    static const char *const settings[] = { "addresses=tcp://192.0.2.1:7450 tcp://192.0.2.2:7450", NULL };
    struct poll_host *host = begin(plugin, settings, &hooks);
    struct kos_find what = { .size = sizeof what, .kind = KOS_FIND_ALL, .limit = 1 };

    while (seen.found < 2)
        poll_host_run(host, 1000);
    CHECK(seen.asked == 0 && strcmp(seen.address, "tcp://192.0.2.2:7450") == 0);
    d->find(poll_host_self(host), 3, &what);
    CHECK(seen.asked == 1 && seen.completed == 1 && seen.status == KOS_OK);
    what.kind = KOS_FIND_SKILL;
    what.text = "echo";
    d->find(poll_host_self(host), 5, &what);
    CHECK(seen.asked == 1 && seen.completed == 2 && seen.status == KOS_E_UNSUPPORTED);
    finish(host);
    return 0;
}
