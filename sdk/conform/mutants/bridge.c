/* SPDX-License-Identifier: Apache-2.0
 * Mutants of the bridge to a directory of files. */
#define ORIGINAL "../../examples/bridge_files.c"
#include "mutant.h"

static const struct kos_bridge_host *real_bridge;
static const uint8_t much[2000];

static void m_inject(const struct kos_host *host, const struct kos_foreign *foreign, uint64_t op)
{
    struct kos_foreign f = *foreign;
    char key[64];
    if (is("no-key"))
        f.key = "";
    if (is("cursor"))
        f.cursor = kos_bytes(much, sizeof much);
    if (is("other-key")) { /* another one each time */
        snprintf(key, sizeof key, "%llx", (unsigned long long)(uintptr_t)host->mono_ns(host));
        f.key = key;
    }
    real_bridge->inject(host, &f, op);
}

static void m_resume(void *self, const char *from, struct kos_bytes cursor)
{
    if (!is("other-key")) /* and begins from the first */
        resume(self, from, cursor);
}

static void m_completed(void *self, uint64_t op, int32_t status, struct kos_bytes result)
{
    original.completed(self, op, is("goes-on") ? KOS_OK : status, result);
}

static void m_deliver(void *self, uint64_t op, const struct kos_message *m, const char *destination)
{
    struct layer *l = of_self(self);
    if (is("lost"))
        return;
    deliver(self, op, m, destination);
    if (is("twice"))
        l->real->complete(l->real, op, KOS_OK, kos_bytes(NULL, 0));
}

static const struct kos_bridge_host m_bridge_host = { sizeof m_bridge_host, m_inject };
static struct kos_bridge m_bridge;
static struct kos_feature m_feature = { sizeof m_feature, KOS_BRIDGE, &m_bridge };
static const struct kos_feature *const m_features[] = { &m_feature, NULL };

static const void *m_host_feature(const struct kos_host *host, const char *name)
{
    const void *table = of_host(host)->real->feature(of_host(host)->real, name);
    if (!table || strcmp(name, KOS_BRIDGE_HOST) != 0)
        return table;
    real_bridge = table;
    return &m_bridge_host;
}

static void mutate(void)
{
    m_bridge = bridge;
    m_bridge.deliver = m_deliver;
    m_bridge.resume = m_resume;
    mutant.features = m_features;
    mutant.completed = m_completed;
}

static void mutate_host(struct layer *layer)
{
    layer->host.feature = m_host_feature;
}
