/* SPDX-License-Identifier: Apache-2.0
 *
 * A transport: links within one process. loop://NAME is listened on and dialled; each link is a pair of ends, and each
 * end keeps what the other sent until the host gives it credit. Shows ids, credits and ends; moves no byte outside.
 */
#include <stdlib.h>
#include <kos/plugin.h>
#include <kos/transport.h>

enum { WINDOW = 64 << 10, ENDS_MAX = 64, ENDPOINTS_MAX = 16, NAME_MAX_BYTES = 64 };

struct end {
    uint64_t id;                /* 0: free */
    struct end *other;          /* NULL: it is gone */
    uint64_t credit;            /* bytes we may hand to the host */
    size_t len;                 /* bytes in `waiting`, from the other end */
    uint8_t waiting[WINDOW];
};
struct endpoint {
    uint64_t id;
    char name[NAME_MAX_BYTES];
};
struct loop {
    const struct kos_host *host;
    const struct kos_transport_host *events;
    uint64_t next_odd;
    struct end ends[ENDS_MAX];
    struct endpoint endpoints[ENDPOINTS_MAX];
};

static struct end *end_of(struct loop *l, uint64_t id)
{
    for (size_t i = 0; i < ENDS_MAX; i++)
        if (l->ends[i].id == id)
            return &l->ends[i];
    return NULL;
}

/* Hands over what credit allows, and gives as much credit back to who sent it. */
static void deliver(struct loop *l, struct end *e)
{
    size_t n = e->credit < e->len ? (size_t)e->credit : e->len;
    if (n == 0)
        return;
    e->credit -= n;
    l->events->link_received(l->host, e->id, kos_bytes(e->waiting, n));
    memmove(e->waiting, e->waiting + n, e->len - n);
    e->len -= n;
    if (e->other)
        l->events->link_credit(l->host, e->other->id, n);
}

static void down(struct loop *l, struct end *e, int32_t status, const char *text)
{
    uint64_t id = e->id;
    if (e->other)
        e->other->other = NULL;
    memset(e, 0, sizeof *e);
    l->events->link_down(l->host, id, status, text);
}

static void listen_on(void *self, uint64_t id, const char *address)
{
    struct loop *l = self;
    if (strncmp(address, "loop://", 7) != 0) {
        l->events->endpoint_down(l->host, id, KOS_E_INVALID, "an address here is loop://NAME");
        return;
    }
    for (size_t i = 0; i < ENDPOINTS_MAX && strlen(address) < NAME_MAX_BYTES; i++) {
        if (l->endpoints[i].id && strcmp(l->endpoints[i].name, address) == 0) {
            l->events->endpoint_down(l->host, id, KOS_E_ADDRESS_USED, "another endpoint has this name");
            return;
        }
        if (!l->endpoints[i].id) {
            l->endpoints[i].id = id;
            strcpy(l->endpoints[i].name, address);
            l->events->endpoint_up(l->host, id, address);
            return;
        }
    }
    l->events->endpoint_down(l->host, id, KOS_E_LIMIT,
                             "there are 16 endpoints at most, with names of at most 63 bytes");
}

static void endpoint_close(void *self, uint64_t id)
{
    struct loop *l = self;
    for (size_t i = 0; i < ENDPOINTS_MAX; i++)
        if (l->endpoints[i].id == id) {
            l->endpoints[i].id = 0;
            l->events->endpoint_down(l->host, id, KOS_OK, "closed");
        }
}

static void dial(void *self, uint64_t id, const char *address)
{
    struct loop *l = self;
    struct endpoint *to = NULL;
    for (size_t i = 0; i < ENDPOINTS_MAX; i++)
        if (l->endpoints[i].id && strcmp(l->endpoints[i].name, address) == 0)
            to = &l->endpoints[i];
    struct end *near = end_of(l, 0);
    if (near)
        near->id = id;
    struct end *far = end_of(l, 0);
    if (!to || !far) {
        if (near)
            near->id = 0;
        l->events->link_down(l->host, id, to ? KOS_E_LIMIT : KOS_E_UNREACHABLE,
                             to ? "there are 64 ends at most" : "nobody listens under this name");
        return;
    }
    far->id = l->next_odd;
    l->next_odd += 2;
    near->other = far;
    far->other = near;
    struct kos_link_info info = { .size = sizeof info,
                                  .flags = KOS_LINK_STREAM | KOS_LINK_RELIABLE | KOS_LINK_ORDERED,
                                  .send_window_bytes = WINDOW,
                                  .local = "",
                                  .remote = address };
    l->events->link_up(l->host, id, 0, &info);
    info.local = address;
    info.remote = "";
    l->events->link_up(l->host, far->id, to->id, &info);
}

static void send_on(void *self, uint64_t id, const struct kos_bytes *pieces, uint32_t count)
{
    struct loop *l = self;
    struct end *e = end_of(l, id);
    if (!e || !e->other)
        return;
    for (uint32_t i = 0; i < count; i++) {
        if (pieces[i].len > WINDOW - e->other->len) {
            down(l, e, KOS_E_LIMIT, "the host sent more than its window");
            return;
        }
        if (pieces[i].len)
            memcpy(e->other->waiting + e->other->len, pieces[i].data, pieces[i].len);
        e->other->len += pieces[i].len;
    }
    deliver(l, e->other);
}

static void credit(void *self, uint64_t id, uint64_t bytes)
{
    struct loop *l = self;
    struct end *e = end_of(l, id);
    if (!e)
        return;
    e->credit += bytes;
    deliver(l, e);
    if (!e->other && e->len == 0)
        down(l, e, KOS_E_CLOSED, "the other end closed");
}

static void link_close(void *self, uint64_t id, int32_t flush)
{
    struct loop *l = self;
    struct end *e = end_of(l, id), *other = e ? e->other : NULL;
    if (!e)
        return;
    down(l, e, KOS_OK, "closed");
    /* What was sent before is kept for the other end until it has taken it. */
    if (other && (!flush || other->len == 0))
        down(l, other, KOS_E_CLOSED, "the other end closed");
}

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    (void)conf;
    const struct kos_transport_host *events = host->feature(host, KOS_TRANSPORT_HOST);
    struct loop *l = events ? calloc(1, sizeof *l) : NULL;
    if (!l)
        return kos_fail(ret_error, events ? KOS_E_NOMEM : KOS_E_UNSUPPORTED,
                        "this host serves no transports, or has no memory");
    l->host = host;
    l->events = events;
    l->next_odd = 1;
    *ret_self = l;
    return KOS_OK;
}

static void start(void *self)
{
    (void)self;
}

static void stop(void *self)
{
    struct loop *l = self;
    for (size_t i = 0; i < ENDPOINTS_MAX; i++)
        if (l->endpoints[i].id)
            endpoint_close(l, l->endpoints[i].id);
    for (size_t i = 0; i < ENDS_MAX; i++)
        if (l->ends[i].id)
            down(l, &l->ends[i], KOS_E_CANCELLED, "the transport stops");
    l->host->stopped(l->host);
}

static const char *const schemes[] = { "loop", NULL };
static const struct kos_transport transport = { sizeof transport, schemes, listen_on, endpoint_close, dial,
                                                send_on,          credit,  link_close };
static const struct kos_feature *const features[] = {
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_TRANSPORT, &transport },
    NULL,
};

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.example.loop",
    .name = "loop",
    .version = "1.0.0",
    .summary = "links within one process",
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = free,
};
