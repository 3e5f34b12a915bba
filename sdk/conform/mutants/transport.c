/* SPDX-License-Identifier: Apache-2.0
 * Mutants of the transport within one process. */
#define ORIGINAL "../../examples/transport_loop.c"
#include "mutant.h"

static const struct kos_transport_host *real_events;

static void m_endpoint_up(const struct kos_host *host, uint64_t endpoint, const char *address)
{
    real_events->endpoint_up(host, endpoint, is("bound") ? "" : address);
    if (is("up-twice"))
        real_events->endpoint_up(host, endpoint, address);
}

static void m_endpoint_down(const struct kos_host *host, uint64_t endpoint, int32_t status, const char *text)
{
    if (is("left-open") && status == KOS_OK)
        return;
    real_events->endpoint_down(host, endpoint, status, is("mute") ? "" : is("latin") ? "caf\xe9" : text);
}

static void m_link_up(const struct kos_host *host, uint64_t link, uint64_t endpoint, const struct kos_link_info *given)
{
    struct kos_link_info info = *given;
    of_host(host)->last = link;
    if (is("window"))
        info.send_window_bytes = 0;
    if (is("mtu"))
        info.mtu_bytes = 1500;
    if (is("datagram")) {
        info.flags = 0;
        info.mtu_bytes = WINDOW;
    }
    if (is("even") && endpoint)
        link++;
    real_events->link_up(host, link, is("answers") ? 0 : endpoint, &info);
    if (is("dial-twice") && !endpoint)
        real_events->link_up(host, link, endpoint, &info);
    if (is("credit"))
        real_events->link_received(host, link, kos_bytes("greedy", 6));
}

static void m_link_received(const struct kos_host *host, uint64_t link, struct kos_bytes bytes)
{
    uint8_t copy[WINDOW];
    memcpy(copy, bytes.data, bytes.len);
    if (is("flip"))
        copy[bytes.len / 2] ^= 1;
    real_events->link_received(host, link, kos_bytes(copy, bytes.len));
}

static void m_link_credit(const struct kos_host *host, uint64_t link, uint64_t bytes)
{
    if (is("no-credit"))
        return;
    real_events->link_credit(host, link, is("left") ? bytes + 1 : bytes);
}

static void m_link_down(const struct kos_host *host, uint64_t link, int32_t status, const char *text)
{
    real_events->link_down(host, link, status, text);
    if (is("down-twice"))
        real_events->link_down(host, link, status, text);
}

static void m_endpoint_close(void *self, uint64_t endpoint)
{
    if (is("links-go"))
        link_close(self, of_self(self)->last, 0);
    endpoint_close(self, endpoint);
}

static void m_send(void *self, uint64_t link, const struct kos_bytes *pieces, uint32_t count)
{
    struct layer *l = of_self(self);
    if (is("tail") && ++l->count > 3) /* what comes last is lost */
        return;
    if (is("borrow")) { /* what was sent the time before, where it lay */
        struct kos_bytes kept = l->kept;
        l->kept = pieces[0];
        if (kept.len) {
            send_on(self, link, &kept, 1);
            return;
        }
    }
    send_on(self, link, pieces, count);
}

static void m_dial(void *self, uint64_t link, const char *address)
{
    if (!is("no-dial"))
        dial(self, link, address);
}

static void m_link_close(void *self, uint64_t link, int32_t flush)
{
    struct loop *l = self;
    if (is("cross") && !end_of(l, link))
        abort();
    link_close(self, link, is("no-flush") ? 0 : flush);
}

static struct kos_transport m_transport;
static struct kos_transport_host m_events = { sizeof m_events, m_endpoint_up, m_endpoint_down, m_link_up,
                                              m_link_received, m_link_credit, m_link_down };
static struct kos_feature m_feature = { sizeof m_feature, KOS_TRANSPORT, &m_transport };
static const struct kos_feature *const m_features[] = { &m_feature, NULL };

static const void *m_host_feature(const struct kos_host *host, const char *name)
{
    const void *table = of_host(host)->real->feature(of_host(host)->real, name);
    if (!table || strcmp(name, KOS_TRANSPORT_HOST) != 0)
        return table;
    real_events = table;
    return &m_events;
}

static void mutate(void)
{
    m_transport = transport;
    m_transport.endpoint_close = m_endpoint_close;
    m_transport.dial = m_dial;
    m_transport.send = m_send;
    m_transport.link_close = m_link_close;
    mutant.features = m_features;
}

static void mutate_host(struct layer *layer)
{
    layer->host.feature = m_host_feature;
}
