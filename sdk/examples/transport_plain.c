/* SPDX-License-Identifier: Apache-2.0
 *
 * A transport with sockets: plain://HOST:PORT is TCP, opened by the host and watched by it. As small as one can be that
 * keeps every rule of kos/transport.h; the transport tcp of kos is the one to use.
 */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <kos/plugin.h>
#include <kos/transport.h>

#define SCHEME "plain"
enum { SOCKS_MAX = 64, WINDOW = 256 << 10, READ_MAX = 64 << 10, FLUSH_MS = 2000 };

struct sock {
    uint64_t id;                /* of the endpoint or link; 0: free */
    uint64_t serial;            /* of its open and its timer: never used twice, so late answers find nobody */
    bool listening, closing;    /* closing: only what waits in `out` is still sent */
    int32_t fd;                 /* -1: the host is opening it */
    uint64_t credit;            /* bytes we may hand to the host */
    char remote[128];
    size_t len;
    uint8_t out[WINDOW];
};
struct plain {
    const struct kos_host *host;
    const struct kos_transport_host *events;
    uint64_t next_odd, next_serial;
    bool stopping;
    struct sock *socks[SOCKS_MAX];
    uint8_t in[READ_MAX];
};

static struct sock *by_id(struct plain *p, uint64_t id, bool listening)
{
    for (size_t i = 0; i < SOCKS_MAX; i++)
        if (p->socks[i] && p->socks[i]->id == id && p->socks[i]->listening == listening)
            return p->socks[i];
    return NULL;
}

static struct sock *by_serial(struct plain *p, uint64_t serial)
{
    for (size_t i = 0; i < SOCKS_MAX; i++)
        if (p->socks[i] && p->socks[i]->serial == serial)
            return p->socks[i];
    return NULL;
}

static struct sock *sock_new(struct plain *p, uint64_t id, bool listening)
{
    for (size_t i = 0; i < SOCKS_MAX; i++)
        if (!p->socks[i] && (p->socks[i] = (struct sock *)calloc(1, sizeof(struct sock)))) {
            p->socks[i]->id = id;
            p->socks[i]->serial = ++p->next_serial;
            p->socks[i]->listening = listening;
            p->socks[i]->fd = -1;
            return p->socks[i];
        }
    return NULL;
}

/* The one place where an endpoint or link ends. */
static void down(struct plain *p, struct sock *s, int32_t status, const char *text)
{
    uint64_t id = s->id;
    bool listening = s->listening, last = true;
    p->host->timer_stop(p->host, s->serial);
    if (s->fd < 0) {
        p->host->open_cancel(p->host, s->serial);
    } else {
        p->host->watch(p->host, s->fd, 0);
        close(s->fd);
    }
    for (size_t i = 0; i < SOCKS_MAX; i++) {
        if (p->socks[i] == s)
            p->socks[i] = NULL;
        last = last && !p->socks[i];
    }
    free(s);
    if (listening)
        p->events->endpoint_down(p->host, id, status, text);
    else
        p->events->link_down(p->host, id, status, text);
    if (p->stopping && last)
        p->host->stopped(p->host);
}

/* Reads while there is credit (or to see the other end close), writes while something waits. */
static void rewatch(struct plain *p, struct sock *s)
{
    int32_t read = s->listening || s->closing || s->credit > 0 ? KOS_IO_READ : 0;
    int32_t status = p->host->watch(p->host, s->fd, read | (s->len > 0 ? KOS_IO_WRITE : 0));
    if (status < 0)
        down(p, s, status, "the host cannot watch another descriptor");
}

/* ---- addresses and opening ---- */

static void open_sock(struct plain *p, struct sock *s, const char *how, const char *address)
{
    char what[256];
    snprintf(what, sizeof what, "%s%s", how, address + strlen(SCHEME "://"));
    snprintf(s->remote, sizeof s->remote, "%s", s->listening ? "" : address);
    p->host->open(p->host, what, s->serial);
}

static void address_text(const struct sockaddr_storage *from, socklen_t len, char *ret_text, size_t cap)
{
    char host[64] = "", port[8] = "";
    int failed = getnameinfo((const struct sockaddr *)from, len, host, sizeof host, port, sizeof port,
                             NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(ret_text, cap, strchr(host, ':') ? SCHEME "://[%s]:%s" : SCHEME "://%s:%s", host, failed ? "0" : port);
}

static const char *wrong(const char *address)
{
    return strncmp(address, SCHEME "://", strlen(SCHEME "://")) != 0 ? "an address is " SCHEME "://HOST:PORT"
        : strlen(address) > 120                                      ? "an address has at most 120 bytes"
                                                                     : NULL;
}

static void listen_on(void *self, uint64_t id, const char *address)
{
    struct plain *p = self;
    struct sock *s = wrong(address) ? NULL : sock_new(p, id, true);
    if (s)
        open_sock(p, s, "tcp-listen://", address);
    else
        p->events->endpoint_down(p->host, id, wrong(address) ? KOS_E_INVALID : KOS_E_LIMIT,
                                 wrong(address) ? wrong(address) : "there are 64 sockets at most");
}

static void dial(void *self, uint64_t id, const char *address)
{
    struct plain *p = self;
    struct sock *s = wrong(address) ? NULL : sock_new(p, id, false);
    if (s)
        open_sock(p, s, "tcp://", address);
    else
        p->events->link_down(p->host, id, wrong(address) ? KOS_E_INVALID : KOS_E_LIMIT,
                             wrong(address) ? wrong(address) : "there are 64 sockets at most");
}

static void link_up(struct plain *p, struct sock *s, uint64_t endpoint)
{
    struct kos_link_info info = { .size = sizeof info,
                                  .flags = KOS_LINK_STREAM | KOS_LINK_RELIABLE | KOS_LINK_ORDERED,
                                  .send_window_bytes = WINDOW,
                                  .local = "",
                                  .remote = s->remote };
    p->events->link_up(p->host, s->id, endpoint, &info);
    rewatch(p, s);
}

static void opened(void *self, uint64_t op, int32_t status, int32_t fd, const char *text)
{
    struct plain *p = self;
    struct sock *s = by_serial(p, op);
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    char address[128];
    if (!s) {
        if (fd >= 0)
            close(fd); /* given up while it was on the way */
        return;
    }
    if (status < 0) {
        down(p, s, status, text && *text ? text : kos_error_text(status));
        return;
    }
    s->fd = fd;
    if (!s->listening) {
        link_up(p, s, 0);
        return;
    }
    getsockname(fd, (struct sockaddr *)&bound, &len);
    address_text(&bound, len, address, sizeof address);
    p->events->endpoint_up(p->host, s->id, address);
    rewatch(p, s);
}

/* ---- bytes ---- */

static void take(struct plain *p, struct sock *listener)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct sock *s = fd < 0 ? NULL : sock_new(p, p->next_odd, false);
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    if (!s) {
        if (fd >= 0)
            close(fd); /* no room: who dials sees it closed and tries again */
        return;
    }
    p->next_odd += 2;
    s->fd = fd;
    if (getpeername(fd, (struct sockaddr *)&from, &len) == 0)
        address_text(&from, len, s->remote, sizeof s->remote);
    link_up(p, s, listener->id);
}

/* Sends what waits. False: the link is down. */
static bool flush(struct plain *p, struct sock *s)
{
    ssize_t n = s->len ? send(s->fd, s->out, s->len, MSG_NOSIGNAL) : 0;
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        down(p, s, KOS_E_CLOSED, strerror(errno));
        return false;
    }
    if (n > 0) {
        s->len -= (size_t)n;
        memmove(s->out, s->out + n, s->len);
        if (!s->closing)
            p->events->link_credit(p->host, s->id, (uint64_t)n);
    }
    if (s->closing && s->len == 0)
        shutdown(s->fd, SHUT_WR); /* and wait until the other end has read it and closes too */
    return true;
}

static void send_on(void *self, uint64_t id, const struct kos_bytes *pieces, uint32_t count)
{
    struct plain *p = self;
    struct sock *s = by_id(p, id, false);
    if (!s || s->fd < 0 || s->closing)
        return;
    for (uint32_t i = 0; i < count; i++) {
        if (pieces[i].len > WINDOW - s->len) {
            down(p, s, KOS_E_LIMIT, "the host sent more than its window");
            return;
        }
        if (pieces[i].len)
            memcpy(s->out + s->len, pieces[i].data, pieces[i].len);
        s->len += pieces[i].len;
    }
    if (flush(p, s))
        rewatch(p, s);
}

static void receive(struct plain *p, struct sock *s)
{
    size_t most = s->closing || s->credit > READ_MAX ? (size_t)READ_MAX : (size_t)s->credit;
    ssize_t n = most ? recv(s->fd, p->in, most, 0) : -1;
    if (n == 0 || (n < 0 && most && errno != EAGAIN && errno != EINTR)) {
        down(p, s, s->closing ? KOS_OK : KOS_E_CLOSED, n ? strerror(errno) : "closed");
    } else if (n > 0 && !s->closing) {
        s->credit -= (uint64_t)n;
        p->events->link_received(p->host, s->id, kos_bytes(p->in, (size_t)n));
        rewatch(p, s);
    }
}

static void credit(void *self, uint64_t id, uint64_t bytes)
{
    struct plain *p = self;
    struct sock *s = by_id(p, id, false);
    if (!s)
        return;
    s->credit += bytes;
    if (s->fd >= 0)
        rewatch(p, s);
}

static void ready(void *self, int32_t fd, int32_t events)
{
    struct plain *p = self;
    struct sock *s = NULL;
    for (size_t i = 0; i < SOCKS_MAX && !s; i++)
        if (p->socks[i] && p->socks[i]->fd == fd)
            s = p->socks[i];
    if (!s)
        return;
    if (s->listening)
        take(p, s);
    else if (!(events & KOS_IO_WRITE) || flush(p, s)) {
        uint64_t serial = s->serial;
        rewatch(p, s);
        if (events & KOS_IO_READ && by_serial(p, serial))
            receive(p, s);
    }
}

/* ---- ends ---- */

static void endpoint_close(void *self, uint64_t id)
{
    struct plain *p = self;
    struct sock *s = by_id(p, id, true);
    if (s)
        down(p, s, KOS_OK, "closed");
}

static void link_close(void *self, uint64_t id, int32_t flush_first)
{
    struct plain *p = self;
    struct sock *s = by_id(p, id, false);
    if (!s || s->closing)
        return;
    if (!flush_first || s->fd < 0) {
        down(p, s, KOS_OK, "closed");
        return;
    }
    s->closing = true;
    p->host->timer_set(p->host, s->serial, FLUSH_MS);
    if (flush(p, s))
        rewatch(p, s);
}

static void timer(void *self, uint64_t serial)
{
    struct plain *p = self;
    struct sock *s = by_serial(p, serial);
    if (s)
        down(p, s, KOS_OK, "closed; the other end did not take the rest within 2 s");
}

/* ---- life ---- */

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    (void)conf;
    const struct kos_transport_host *events = host->feature(host, KOS_TRANSPORT_HOST);
    if (!events)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "this host does not serve transports (" KOS_TRANSPORT_HOST ")");
    struct plain *p = calloc(1, sizeof *p);
    if (!p)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the transport");
    p->host = host;
    p->events = events;
    p->next_odd = 1;
    *ret_self = p;
    return KOS_OK;
}

static void start(void *self)
{
    (void)self;
}

static void stop(void *self)
{
    struct plain *p = self;
    bool any = false;
    for (size_t i = 0; i < SOCKS_MAX; i++)
        any = any || p->socks[i];
    p->stopping = any;
    for (size_t i = 0; i < SOCKS_MAX; i++)
        if (p->socks[i])
            down(p, p->socks[i], KOS_E_CANCELLED, "the transport stops");
    if (!any)
        p->host->stopped(p->host);
}

static const char *const schemes[] = { SCHEME, NULL };
static const struct kos_transport transport = { sizeof transport, schemes, listen_on, endpoint_close, dial,
                                                send_on,          credit,  link_close };

static const struct kos_right right_listen = { sizeof right_listen, "listen", "takes connections" };
static const struct kos_right right_connect = { sizeof right_connect, "connect", "connects to peers" };
static const struct kos_right *const rights[] = { &right_listen, &right_connect, NULL };

static const struct kos_feature feature = { sizeof feature, KOS_TRANSPORT, &transport };
static const struct kos_feature *const features[] = { &feature, NULL };

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.example.plain",
    .name = "plain",
    .version = "1.0.0",
    .summary = "links over TCP",
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = free,
    .opened = opened,
    .timer = timer,
    .ready = ready,
};
