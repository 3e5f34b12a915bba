/* SPDX-License-Identifier: Apache-2.0
 * Mutants of the discovery by files. */
#define ORIGINAL "../../examples/discovery_file.c"
#include "mutant.h"

static const struct kos_discovery_host *real_events;

static void m_find(void *self, uint64_t op, const struct kos_find *what)
{
    struct layer *l = of_self(self);
    const char *many[66];
    if (is("kind") && what->kind != KOS_FIND_ALL) {
        l->real->complete(l->real, op, KOS_OK, kos_bytes(NULL, 0));
        return;
    }
    if (is("cancel"))
        return;
    for (size_t i = 0; i < 65; i++)
        many[i] = "tcp://127.0.0.1:1";
    many[65] = NULL;
    if (is("addresses"))
        real_events->found(l->real, op, NULL, kos_bytes(NULL, 0), many, 1000);
    find(self, op, what);
    if (is("found"))
        real_events->found(l->real, op, NULL, kos_bytes(NULL, 0), many + 60, 1000);
}

static void m_withdraw(void *self, uint64_t op)
{
    struct layer *l = of_self(self);
    if (is("complete"))
        return;
    withdraw(self, op);
    if (is("twice"))
        l->real->complete(l->real, op, KOS_E_IO, kos_bytes(NULL, 0));
}

static struct kos_discovery m_discovery;
static struct kos_feature m_feature = { sizeof m_feature, KOS_DISCOVERY, &m_discovery };
static const struct kos_feature *const m_features[] = { &m_feature, NULL };

static void mutate(void)
{
    m_discovery = discovery;
    m_discovery.find = m_find;
    m_discovery.withdraw = m_withdraw;
    mutant.features = m_features;
}

static void mutate_host(struct layer *layer)
{
    real_events = layer->real->feature(layer->real, KOS_DISCOVERY_HOST);
}
