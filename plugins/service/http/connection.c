/* SPDX-License-Identifier: Apache-2.0
 * Connections: accepted while there is room, read behind a guard, ended when their time is over. */
#include "server.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>

enum { ACCEPT_AGAIN_MS = 1000, PIPELINED_MAX = 64 << 10 };

struct connection *http_connection_of(struct http_server *server, struct evhttp_connection *evcon)
{
    struct connection *c;
    HASH_FIND_PTR(server->by_evcon, &evcon, c);
    return c;
}

void http_start_tick(struct http_server *server)
{
    static const struct timeval interval = { 0, HTTP_TICK_MS * 1000 };
    if (!server->ticking)
        event_add(server->tick, &interval);
    server->ticking = true;
}

/* ---- accepting ---- */

static void set_accepting(struct http_server *server, bool accepting)
{
    if (server->accepting == accepting)
        return;
    server->accepting = accepting;
    for (uint32_t i = 0; i < server->listener_count; i++) {
        struct evconnlistener *listener = evhttp_bound_socket_get_listener(server->listeners[i].bound);
        if (accepting)
            evconnlistener_enable(listener);
        else
            evconnlistener_disable(listener);
    }
}

void http_check_accepting(struct http_server *server)
{
    set_accepting(server, !server->stopping && server->connection_count < server->conf->connections &&
                              http_mono_ms() >= server->accept_again_ms);
}

static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    struct http_server *server = arg;
    (void)listener;
    if (server->accept_again_ms < http_mono_ms())
        http_log(server->net, KOS_WARNING, "no new connections are taken for now: %s", strerror(errno));
    server->accept_again_ms = http_mono_ms() + ACCEPT_AGAIN_MS;
    http_check_accepting(server);
    http_start_tick(server);
}

void http_listen(struct http_server *server, struct http_note *note)
{
    struct evhttp_bound_socket *bound =
        server->stopping || server->listener_count == HTTP_LISTEN_MAX
        ? NULL
        : evhttp_accept_socket_with_handle(server->evhttp, note->fd);
    if (bound) {
        struct sockaddr_storage storage;
        socklen_t len = sizeof storage;
        char name[NI_MAXHOST], port[NI_MAXSERV], address[NI_MAXHOST + NI_MAXSERV + 4] = "";
        if (getsockname(note->fd, (struct sockaddr *)&storage, &len) == 0 &&
            getnameinfo((struct sockaddr *)&storage, len, name, sizeof name, port, sizeof port,
                        NI_NUMERICHOST | NI_NUMERICSERV) == 0)
            snprintf(address, sizeof address, storage.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", name, port);
        note->fd = -1; /* evhttp's from here on */
        struct evconnlistener *listener = evhttp_bound_socket_get_listener(bound);
        evconnlistener_set_error_cb(listener, on_accept_error);
        if (!server->accepting)
            evconnlistener_disable(listener);
        server->listeners[server->listener_count++] = (struct listener){ bound, strdup(address) };
        http_log(server->net, KOS_INFO, "serving HTTP on %s", address);
    }
    http_note_free(note);
}

/* ---- connections ---- */

void http_connection_hold(struct connection *c, size_t bytes)
{
    c->held += bytes;
    c->server->held += bytes;
}

static void begin_request(struct connection *c)
{
    struct http_server *server = c->server;
    server->held -= c->held;
    c->held = 0;
    c->close = false;
    http_guard_begin(&c->guard, server->conf->head_bytes, server->conf->body_bytes);
    c->phase = IDLE;
    c->deadline_ms = http_mono_ms() + server->conf->idle_ms;
    http_start_tick(server);
}

/* Refuses without evhttp, which has not seen the offending bytes: the answer goes straight to the socket, what still
 * comes is dropped, and the connection ends. */
static void refuse(struct connection *c, int status)
{
    char text[256];
    int fd = bufferevent_getfd(c->bev);
    const char *phrase = http_status_text(status);
    c->server->refused++;
    c->phase = REFUSED;
    c->deadline_ms = http_mono_ms() + HTTP_LINGER_MS;
    int len = snprintf(text, sizeof text,
                       "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n%s"
                       "Connection: close\r\n\r\n%d %s\n",
                       status, phrase, strlen(phrase) + 5, status == 503 ? "Retry-After: 1\r\n" : "", status, phrase);
    if (evbuffer_get_length(bufferevent_get_output(c->bev)) == 0)
        send(fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(fd, SHUT_WR);
    http_start_tick(c->server);
}

/* Shows the guard `len` bytes of the buffer, from `from` on. 0 or the status to refuse with. */
static int received(struct connection *c, struct evbuffer *input, size_t from, size_t len)
{
    struct http_server *server = c->server;
    struct evbuffer_ptr at;
    int status = 0;
    for (size_t end = from + len; from < end && !status;) {
        struct evbuffer_iovec piece;
        if (evbuffer_ptr_set(input, &at, from, EVBUFFER_PTR_SET) != 0 ||
            evbuffer_peek(input, (ev_ssize_t)(end - from), &at, &piece, 1) < 1 || piece.iov_len == 0)
            return 400;
        size_t n = piece.iov_len < end - from ? piece.iov_len : end - from;
        status = http_guard_feed(&c->guard, piece.iov_base, n);
        from += n;
    }
    return status ? status : server->held > server->conf->memory_bytes ? 503 : 0;
}

static void read_bytes(struct connection *c, struct evbuffer *input, size_t from, size_t len)
{
    if (c->phase == IDLE) {
        c->phase = READING;
        c->deadline_ms = http_mono_ms() + c->server->conf->request_ms;
    }
    http_connection_hold(c, len);
    int status = received(c, input, from, len);
    if (status) {
        refuse(c, status);
        evbuffer_drain(input, evbuffer_get_length(input));
    }
}

/* Runs as soon as bytes are read, before evhttp looks at them. */
static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
    struct connection *c = arg;
    if (info->n_added == 0)
        return;
    if (c->phase == IDLE || c->phase == READING)
        read_bytes(c, input, info->orig_size, info->n_added);
    else if (c->phase == REFUSED)
        evbuffer_drain(input, evbuffer_get_length(input));
    else if (evbuffer_get_length(input) > PIPELINED_MAX) /* evhttp reads on while it writes */
        shutdown(bufferevent_getfd(c->bev), SHUT_RD);
}

static void on_close(struct evhttp_connection *evcon, void *arg)
{
    struct connection *c = arg;
    struct http_server *server = c->server;
    struct exchange *x, *next;
    (void)evcon;
    HASH_ITER(hh, server->exchanges, x, next)
        if (x->connection == c) {
            HASH_DEL(server->exchanges, x);
            free(x);
        }
    server->held -= c->held;
    HASH_DEL(server->by_evcon, c);
    DL_DELETE(server->connections, c);
    server->connection_count--;
    free(c);
    http_check_accepting(server);
    if (server->stopping && !server->connections)
        event_base_loopbreak(server->net->base);
}

/* evhttp makes its connection after it asked for the bufferevent, and has no event for that in 2.1: the connection is
 * what its callbacks are called with. This runs before a new connection is first read. */
static void adopt(struct connection *c)
{
    void *evcon = NULL;
    bufferevent_getcb(c->bev, NULL, NULL, NULL, &evcon);
    c->evcon = evcon;
    HASH_ADD_PTR(c->server->by_evcon, evcon, c);
    evhttp_connection_set_closecb(c->evcon, on_close, c);
}

void http_connection_adopt(evutil_socket_t fd, short events, void *arg)
{
    struct http_server *server = arg;
    (void)fd;
    (void)events;
    /* New ones stand at the end. */
    for (struct connection *c = server->connections ? server->connections->prev : NULL; c && !c->evcon;
         c = c == server->connections ? NULL : c->prev)
        adopt(c);
}

struct bufferevent *http_connection_new(struct event_base *base, void *arg)
{
    struct http_server *server = arg;
    struct connection *c = calloc(1, sizeof *c);
    struct bufferevent *bev = bufferevent_socket_new(base, -1, 0);
    if (!c || !bev || !evbuffer_add_cb(bufferevent_get_input(bev), on_input, c)) {
        /* evhttp makes one of its own for NULL, unguarded; one that nothing can be read from ends by itself. */
        free(c);
        http_log(server->net, KOS_ERROR, "a connection could not be made: out of memory");
        return bev;
    }
    c->server = server;
    c->bev = bev;
    begin_request(c);
    DL_APPEND(server->connections, c);
    server->connection_count++;
    server->accepted++;
    event_active(server->adopt, EV_TIMEOUT, 1);
    http_check_accepting(server);
    http_start_tick(server);
    return bev;
}

void http_connection_next(struct connection *c)
{
    struct evbuffer *input = bufferevent_get_input(c->bev);
    bool more = !c->close && evbuffer_get_length(input) > 0;
    begin_request(c);
    if (more) /* it came while the answer was written */
        read_bytes(c, input, 0, evbuffer_get_length(input));
}

void http_connection_expire(struct connection *c)
{
    int fd = bufferevent_getfd(c->bev);
    c->server->timeouts += c->phase != REFUSED && c->phase != IDLE;
    if (c->phase == READING) {
        refuse(c, 408);
        return;
    }
    c->deadline_ms = UINT64_MAX;
    shutdown(fd, SHUT_RDWR); /* evhttp reads its end, or fails to write, and ends the connection */
}
