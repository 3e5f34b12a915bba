/* SPDX-License-Identifier: Apache-2.0
 * What comes up from a transport, judged: ids, ends, credits, and every byte. */
#include <stdlib.h>

#include "conform.h"

enum { HEAD = 8 };  /* of the tests' datagrams: number, length */

static struct host *host_of(struct kos_services *services)
{
    host_event((struct host *)services);
    return (struct host *)services;
}

static struct endpoint *endpoint_of(struct host *h, uint64_t id, const char *call)
{
    struct endpoint *e;
    HASH_FIND(hh, h->endpoints, &id, sizeof id, e);
    if (!e)
        broke(h->c, RULE_LINK_IDS, "%s names endpoint %llu, which the host never opened", call, (unsigned long long)id);
    if (e->side == DOWN)
        broke(h->c, RULE_LINK_END, "%s names endpoint %llu after its endpoint_down", call, (unsigned long long)id);
    return e;
}

static struct link *link_of(struct host *h, uint64_t id, const char *call)
{
    struct link *l;
    HASH_FIND(hh, h->links, &id, sizeof id, l);
    if (!l)
        broke(h->c, RULE_LINK_END, "%s names link %llu, which did not begin by dial or link_up", call,
              (unsigned long long)id);
    if (l->side == DOWN)
        broke(h->c, RULE_LINK_END, "%s names link %llu after its link_down", call, (unsigned long long)id);
    return l;
}

static void judge_status(struct host *h, const char *call, int32_t status, const char *text)
{
    if (text)
        judge_text(h, call, text);
    if (status < 0 && (!text || !*text))
        broke(h->c, RULE_PLUGIN_ERROR, "%s says %s without a sentence", call, kos_error_name(status));
}

static void endpoint_up(struct kos_services *services, uint64_t id, const char *address)
{
    struct host *h = host_of(services);
    struct endpoint *e = endpoint_of(h, id, "endpoint_up");
    if (e->side == UP)
        broke(h->c, RULE_LINK_LISTEN, "endpoint_up came twice for endpoint %llu", (unsigned long long)id);
    if (!address || !strstr(address, ":") || strlen(address) >= sizeof e->address)
        broke(h->c, RULE_LINK_BOUND, "endpoint_up says \"%.100s\", which is no address", address ? address : "(NULL)");
    judge_text(h, "endpoint_up", address);
    e->side = UP;
    snprintf(e->address, sizeof e->address, "%s", address);
}

static void endpoint_down(struct kos_services *services, uint64_t id, int32_t status, const char *text)
{
    struct host *h = host_of(services);
    struct endpoint *e = endpoint_of(h, id, "endpoint_down");
    judge_status(h, "endpoint_down", status, text);
    e->side = DOWN;
    e->status = status;
}

static void judge_info(struct host *h, uint64_t id, const struct kos_link_info *info)
{
    unsigned long long n = id;
    bool stream = info->flags & KOS_LINK_STREAM;
    if (stream && info->mtu_bytes != 0)
        broke(h->c, RULE_LINK_MTU, "link %llu is a stream and says an mtu_bytes of %u", n, info->mtu_bytes);
    if (!stream && info->mtu_bytes == 0)
        broke(h->c, RULE_LINK_MTU, "link %llu carries datagrams and says an mtu_bytes of 0", n);
    if (info->send_window_bytes == 0 || (!stream && info->send_window_bytes < info->mtu_bytes))
        broke(h->c, RULE_LINK_WINDOW, "link %llu has a send_window_bytes of %llu: nothing can be sent on it", n,
              (unsigned long long)info->send_window_bytes);
    if (!info->local || !info->remote)
        broke(h->c, RULE_ABI_UTF8, "link %llu has NULL for an address; \"\" is unknown", n);
    judge_text(h, "link_up", info->local);
    judge_text(h, "link_up", info->remote);
}

static void link_up(struct kos_services *services, uint64_t id, uint64_t endpoint, const struct kos_link_info *info)
{
    struct host *h = host_of(services);
    struct link *l;
    HASH_FIND(hh, h->links, &id, sizeof id, l);
    if (endpoint != 0) {
        struct endpoint *e;
        HASH_FIND(hh, h->endpoints, &endpoint, sizeof endpoint, e);
        if (!e || e->side == ASKED)
            broke(h->c, RULE_LINK_IDS, "link %llu comes from endpoint %llu, which is not open", (unsigned long long)id,
                  (unsigned long long)endpoint);
        if (id % 2 == 0)
            broke(h->c, RULE_LINK_IDS, "the accepted link %llu has an even id", (unsigned long long)id);
        if (l)
            broke(h->c, RULE_LINK_END, "link_up names link %llu a second time", (unsigned long long)id);
        l = kos_new(sizeof *l);
        l->id = id;
        HASH_ADD(hh, h->links, id, sizeof l->id, l);
    } else {
        if (!l)
            broke(h->c, RULE_LINK_ANSWERS, "link_up names link %llu with endpoint 0, but nobody dialled it",
                  (unsigned long long)id);
        l = link_of(h, id, "link_up");
        if (l->side == UP)
            broke(h->c, RULE_LINK_DIAL, "link_up came twice for link %llu", (unsigned long long)id);
    }
    judge_info(h, id, info);
    l->endpoint = endpoint;
    l->side = UP;
    l->flags = info->flags;
    l->mtu = info->mtu_bytes;
    l->window = info->send_window_bytes;
}

/* A datagram of the tests: u32 number, u32 length, filler. */
static void judge_datagram(struct host *h, struct link *l, struct kos_bytes bytes)
{
    uint32_t number, len;
    if (bytes.len < HEAD)
        broke(h->c, RULE_LINK_DATAGRAM, "link %llu delivered %zu bytes of a datagram", (unsigned long long)l->id,
              bytes.len);
    memcpy(&number, bytes.data, sizeof number);
    memcpy(&len, bytes.data + sizeof number, sizeof len);
    bool same = len == bytes.len;
    for (size_t i = HEAD; same && i < bytes.len; i++)
        same = bytes.data[i] == filler(l->tag + number, i);
    if (!same)
        broke(h->c, RULE_LINK_DATAGRAM, "link %llu delivered %zu bytes that are not a datagram that was sent",
              (unsigned long long)l->id, bytes.len);
    if (l->flags & KOS_LINK_ORDERED && l->datagrams > 0 && number <= l->last_number)
        broke(h->c, RULE_LINK_RELIABLE, "link %llu is ordered and delivered datagram %u after %u",
              (unsigned long long)l->id, number, l->last_number);
    if (l->flags & KOS_LINK_RELIABLE && l->flags & KOS_LINK_ORDERED &&
        number != (l->datagrams ? l->last_number + 1 : 0))
        broke(h->c, RULE_LINK_RELIABLE, "link %llu is reliable and left out datagram %u", (unsigned long long)l->id,
              l->datagrams ? l->last_number + 1 : 0);
    l->last_number = number;
}

static void link_received(struct kos_services *services, uint64_t id, struct kos_bytes bytes)
{
    struct host *h = host_of(services);
    struct link *l = link_of(h, id, "link_received");
    if (l->side != UP)
        broke(h->c, RULE_LINK_DIAL, "link_received names link %llu before its link_up", (unsigned long long)id);
    if (bytes.len > l->granted - l->received)
        broke(h->c, RULE_LINK_CREDIT, "link %llu was given credit for %llu bytes in all and delivered %llu",
              (unsigned long long)id, (unsigned long long)l->granted, (unsigned long long)(l->received + bytes.len));
    if (!(l->flags & KOS_LINK_STREAM) && bytes.len > l->mtu)
        broke(h->c, RULE_LINK_MTU, "link %llu delivered a datagram of %zu bytes, its mtu_bytes is %u",
              (unsigned long long)id, bytes.len, l->mtu);
    if (l->tag && l->flags & KOS_LINK_STREAM)
        for (size_t i = 0; i < bytes.len; i++)
            if (bytes.data[i] != filler(l->tag, l->received + i)) {
                judge_kept(h, "link_received", kos_bytes(bytes.data + i, bytes.len - i));
                broke(h->c, RULE_LINK_PIECES, "byte %llu of what link %llu delivered is not the one that was sent",
                      (unsigned long long)(l->received + i), (unsigned long long)id);
            }
    if (l->tag && !(l->flags & KOS_LINK_STREAM))
        judge_datagram(h, l, bytes);
    l->received += bytes.len;
    l->datagrams++;
}

static void link_credit(struct kos_services *services, uint64_t id, uint64_t bytes)
{
    struct host *h = host_of(services);
    struct link *l = link_of(h, id, "link_credit");
    if (l->side != UP || bytes > l->sent - l->returned)
        broke(h->c, RULE_LINK_LEFT, "link %llu gave back credit for %llu bytes, of which %llu had been sent",
              (unsigned long long)id, (unsigned long long)(l->returned + bytes), (unsigned long long)l->sent);
    l->returned += bytes;
    l->window += bytes;
}

static void link_down(struct kos_services *services, uint64_t id, int32_t status, const char *text)
{
    struct host *h = host_of(services);
    struct link *l = link_of(h, id, "link_down");
    judge_status(h, "link_down", status, text);
    l->side = DOWN;
    l->status = status;
}

void link_services(struct kos_services_ops *ops)
{
    ops->endpoint_up = endpoint_up;
    ops->endpoint_down = endpoint_down;
    ops->link_up = link_up;
    ops->link_received = link_received;
    ops->link_credit = link_credit;
    ops->link_down = link_down;
}
