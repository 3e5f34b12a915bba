/* SPDX-License-Identifier: Apache-2.0
 * One TCP connection: opening, moving bytes within credit both ways, and an end that loses nothing it need not lose. */
#include "tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { TCP_PIECES_MAX = 64 };

struct tcp_link *tcp_link_new(struct tcp *tcp, uint64_t id, uint64_t endpoint)
{
    struct tcp_link *link = calloc(1, sizeof *link);
    if (!link)
        return NULL;
    link->object = (struct tcp_object){ .tcp = tcp, .id = id, .fd = -1, .is_link = true };
    link->endpoint = endpoint;
    link->state = TCP_OPENING;
    tcp_object_add(&link->object);
    tcp->links++;
    return link;
}

void tcp_link_down(struct tcp_link *link, int32_t status, const char *text)
{
    struct tcp *tcp = link->object.tcp;
    uint64_t id = link->object.id;
    tcp_object_remove(&link->object);
    tcp->links--;
    free(link->out);
    free(link);
    tcp->events->link_down(tcp->host, id, status, text);
    tcp_check_stopped(tcp);
}

static void down_errno(struct tcp_link *link, int error, const char *while_doing)
{
    char text[160];
    int32_t status = KOS_E_IO;
    switch (error) {
    case ECONNRESET: case EPIPE:
        status = KOS_E_CLOSED;
        snprintf(text, sizeof text, "the other side broke the connection off while %s", while_doing);
        break;
    case ETIMEDOUT: case EHOSTUNREACH: case ENETUNREACH: case ENETDOWN:
        status = KOS_E_UNREACHABLE;
        snprintf(text, sizeof text, "the other side stopped answering while %s", while_doing);
        break;
    default:
        snprintf(text, sizeof text, "%s failed: %s", while_doing, strerror(error));
    }
    tcp_link_down(link, status, text);
}

/* Asks for exactly those events that can be used now. False: the link is gone. */
static bool rewatch(struct tcp_link *link)
{
    int32_t events = 0;
    if (link->state == TCP_FLUSHING || link->credit_in > 0)
        events |= KOS_IO_READ;
    if (link->out_len > 0)
        events |= KOS_IO_WRITE;
    int32_t status = tcp_watch(&link->object, events);
    if (status < 0)
        tcp_link_down(link, status, "the host refused to watch the connection's descriptor");
    return status >= 0;
}

static void set_options(const struct tcp *tcp, int fd)
{
    /* A system that refuses one of these still gives a usable connection. */
    int one = 1;
    if (tcp->nodelay)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (tcp->keepalive_ms > 0) {
        int idle = (int)((tcp->keepalive_ms + 999) / 1000), interval = idle / 3 > 0 ? idle / 3 : 1, count = 3;
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    }
}

void tcp_link_up(struct tcp_link *link, int fd)
{
    struct tcp *tcp = link->object.tcp;
    char local[96], remote[96];
    set_options(tcp, fd);
    if (tcp_object_fd(&link->object, fd) < 0) {
        close(fd);
        tcp_link_down(link, KOS_E_INTERNAL, "the host handed out a descriptor twice");
        return;
    }
    link->state = TCP_UP;
    tcp_address(fd, false, local, sizeof local);
    tcp_address(fd, true, remote, sizeof remote);
    struct kos_link_info info = {
        .size = sizeof info,
        .flags = KOS_LINK_STREAM | KOS_LINK_RELIABLE | KOS_LINK_ORDERED,
        .send_window_bytes = tcp->send_window,
        .local = local,
        .remote = remote,
    };
    tcp->events->link_up(tcp->host, link->object.id, link->endpoint, &info);
}

void tcp_link_opened(struct tcp_link *link, int32_t status, int fd, const char *text)
{
    link->object.tcp->host->timer_stop(link->object.tcp->host, link->object.serial);
    if (status < 0)
        tcp_link_down(link, status, text && *text ? text : kos_error_text(status));
    else
        tcp_link_up(link, fd);
}

/* Gives credit back in few, large pieces: with all of it out, the host keeps at least three quarters of its window. */
static void credit_back(struct tcp_link *link, size_t bytes)
{
    struct tcp *tcp = link->object.tcp;
    link->credit_back += bytes;
    if (link->state != TCP_UP || link->credit_back < tcp->send_window / 4)
        return;
    uint64_t give = link->credit_back;
    link->credit_back = 0;
    tcp->events->link_credit(tcp->host, link->object.id, give);
}

/* Writes what waits. False: the link is gone. */
static bool drain(struct tcp_link *link)
{
    while (link->out_len > 0) {
        size_t first = link->out_cap - link->out_at < link->out_len ? link->out_cap - link->out_at : link->out_len;
        struct iovec parts[2] = { { link->out + link->out_at, first }, { link->out, link->out_len - first } };
        struct msghdr message = { .msg_iov = parts, .msg_iovlen = first < link->out_len ? 2 : 1 };
        ssize_t n = sendmsg(link->object.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        if (n < 0) {
            down_errno(link, errno, "sending");
            return false;
        }
        link->out_at = (link->out_at + (size_t)n) % link->out_cap;
        link->out_len -= (size_t)n;
        credit_back(link, (size_t)n);
    }
    link->out_at = 0;
    if (link->out_cap > TCP_BUFFER_KEEP_BYTES) {
        free(link->out);
        link->out = NULL;
        link->out_cap = 0;
    }
    if (link->state == TCP_FLUSHING && !link->shut) {
        /* The other side reads to our end before it sees the connection go: nothing in flight is cut off by a reset. */
        link->shut = true;
        shutdown(link->object.fd, SHUT_WR);
    }
    return true;
}

/* Room for `more` bytes behind out_len; never above the window, which is all that the host may have outstanding. */
static int32_t reserve(struct tcp_link *link, size_t more)
{
    size_t need = link->out_len + more, window = link->object.tcp->send_window;
    if (need > window)
        return KOS_E_LIMIT;
    if (need <= link->out_cap)
        return KOS_OK;
    size_t cap = link->out_cap ? link->out_cap : 4096;
    while (cap < need)
        cap *= 2;
    uint8_t *grown = malloc(cap < window ? cap : window);
    if (!grown)
        return KOS_E_NOMEM;
    size_t first = link->out_cap - link->out_at < link->out_len ? link->out_cap - link->out_at : link->out_len;
    if (link->out_len > 0) {
        memcpy(grown, link->out + link->out_at, first);
        memcpy(grown + first, link->out, link->out_len - first);
    }
    free(link->out);
    link->out = grown;
    link->out_cap = cap < window ? cap : window;
    link->out_at = 0;
    return KOS_OK;
}

static void append(struct tcp_link *link, const uint8_t *data, size_t len)
{
    size_t at = (link->out_at + link->out_len) % link->out_cap;
    size_t first = link->out_cap - at < len ? link->out_cap - at : len;
    memcpy(link->out + at, data, first);
    memcpy(link->out, data + first, len - first);
    link->out_len += len;
}

void tcp_link_send(struct tcp_link *link, const struct kos_bytes *pieces, uint32_t count)
{
    struct iovec parts[TCP_PIECES_MAX];
    size_t total = 0, sent = 0, used = 0;
    if (link->state != TCP_UP)
        return;
    if (count > TCP_PIECES_MAX) {
        tcp_link_down(link, KOS_E_LIMIT, "the host sent more than 64 pieces at once");
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (pieces[i].len == 0)
            continue;
        parts[used++] = (struct iovec){ (void *)(uintptr_t)pieces[i].data, pieces[i].len };
        total += pieces[i].len;
    }
    if (link->out_len == 0 && total > 0) {
        struct msghdr message = { .msg_iov = parts, .msg_iovlen = used };
        ssize_t n;
        do
            n = sendmsg(link->object.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            down_errno(link, errno, "sending");
            return;
        }
        sent = n > 0 ? (size_t)n : 0;
    }
    int32_t status = sent < total ? reserve(link, total - sent) : KOS_OK;
    if (status < 0) {
        tcp_link_down(link, status,
                      status == KOS_E_LIMIT ? "the host sent more than its window"
                                            : "there is no memory for the send buffer");
        return;
    }
    size_t skip = sent;
    for (size_t i = 0; i < used; i++) {
        size_t passed = skip < parts[i].iov_len ? skip : parts[i].iov_len;
        skip -= passed;
        if (passed < parts[i].iov_len)
            append(link, (const uint8_t *)parts[i].iov_base + passed, parts[i].iov_len - passed);
    }
    credit_back(link, sent);
    rewatch(link);
}

void tcp_link_credit(struct tcp_link *link, uint64_t bytes)
{
    if (link->state != TCP_UP)
        return;
    link->credit_in = bytes > UINT64_MAX - link->credit_in ? UINT64_MAX : link->credit_in + bytes;
    rewatch(link);
}

static void receive(struct tcp_link *link)
{
    struct tcp *tcp = link->object.tcp;
    bool discard = link->state == TCP_FLUSHING;
    size_t want =
        discard || link->credit_in > sizeof tcp->read_buffer ? sizeof tcp->read_buffer : (size_t)link->credit_in;
    if (want == 0)
        return;
    ssize_t n = recv(link->object.fd, tcp->read_buffer, want, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0 && discard)
        tcp_link_down(link, KOS_OK, "closed");
    else if (n < 0)
        down_errno(link, errno, "receiving");
    else if (n == 0)
        tcp_link_down(link, KOS_E_CLOSED, "the other side closed the connection");
    else if (!discard) {
        link->credit_in -= (uint64_t)n;
        if (rewatch(link))
            tcp->events->link_received(tcp->host, link->object.id, kos_bytes(tcp->read_buffer, (size_t)n));
    }
}

void tcp_link_ready(struct tcp_link *link, int32_t events)
{
    if (events & KOS_IO_WRITE) {
        if (!drain(link) || !rewatch(link))
            return;
    }
    if (events & KOS_IO_READ)
        receive(link);
}

void tcp_link_timer(struct tcp_link *link)
{
    struct tcp *tcp = link->object.tcp;
    if (link->state == TCP_OPENING) {
        char text[96];
        snprintf(text, sizeof text, "no connection within connect_timeout (%lld ms)", (long long)tcp->connect_ms);
        tcp->host->open_cancel(tcp->host, link->object.serial);
        tcp_link_down(link, KOS_E_TIMEOUT, text);
    } else if (link->state == TCP_FLUSHING) {
        tcp_link_down(link, KOS_OK, "closed; the other side did not take everything in 2 s");
    }
}

void tcp_link_close(struct tcp_link *link, bool flush)
{
    struct tcp *tcp = link->object.tcp;
    if (link->state == TCP_OPENING) {
        tcp->host->open_cancel(tcp->host, link->object.serial);
        tcp_link_down(link, KOS_E_CANCELLED, "given up before it was connected");
    } else if (!flush) {
        tcp_link_down(link, KOS_OK, "closed");
    } else if (link->state == TCP_UP) {
        link->state = TCP_FLUSHING;
        tcp->host->timer_set(tcp->host, link->object.serial, TCP_FLUSH_MS);
        if (drain(link))
            rewatch(link);
    }
}
