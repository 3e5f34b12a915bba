/* SPDX-License-Identifier: Apache-2.0
 * The server: connections of evhttp, each behind a guard and a deadline, and the requests that wait for an answer. */
#include "http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <jansson.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

enum { ACCEPT_AGAIN_MS = 1000, PIPELINED_MAX = 64 << 10 };

enum phase { IDLE, READING, WAITING, WRITING, REFUSED };

struct prefix {
    char *text;
    uint64_t body_max;
    uint64_t requests;
    struct prefix *next;
};

struct connection {
    struct http_server *server;
    struct bufferevent *bev;
    struct evhttp_connection *evcon; /* once adopted */
    enum phase phase;
    uint64_t deadline_ms;            /* of its phase; UINT64_MAX while waiting: the request has one */
    struct http_guard guard;
    size_t held;                     /* bytes in memory for it, counted in server->held */
    bool close;                      /* after the answer under way */
    struct connection *prev, *next;
    UT_hash_handle hh;               /* by evcon */
};

/* A request that a user has. */
struct exchange {
    uint64_t id, deadline_ms;
    struct evhttp_request *request;
    struct connection *connection;
    UT_hash_handle hh;               /* in order of deadlines: all have the same patience */
};

struct listener {
    struct evhttp_bound_socket *bound;
    char *address;
};

struct http_server {
    struct http_net *net;
    const struct http_conf *conf;
    struct evhttp *evhttp;
    struct event *tick, *adopt;
    struct listener listeners[HTTP_LISTEN_MAX];
    uint32_t listener_count, connection_count, prefix_count;
    struct connection *connections, *by_evcon;
    struct exchange *exchanges;
    struct prefix *prefixes;
    uint64_t last_id, held, accept_again_ms;
    uint64_t served, refused, accepted, timeouts;
    bool stopping, ticking, accepting;
};

static struct connection *connection_of(struct http_server *server, struct evhttp_connection *evcon)
{
    struct connection *c;
    HASH_FIND_PTR(server->by_evcon, &evcon, c);
    return c;
}

static void start_tick(struct http_server *server)
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

static void check_accepting(struct http_server *server)
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
    check_accepting(server);
    start_tick(server);
}

static void listen_on(struct http_server *server, struct http_note *note)
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

static void hold(struct connection *c, size_t bytes)
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
    start_tick(server);
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
    start_tick(c->server);
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
    hold(c, len);
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
    check_accepting(server);
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

static void on_adopt(evutil_socket_t fd, short events, void *arg)
{
    struct http_server *server = arg;
    (void)fd;
    (void)events;
    /* New ones stand at the end. */
    for (struct connection *c = server->connections ? server->connections->prev : NULL; c && !c->evcon;
         c = c == server->connections ? NULL : c->prev)
        adopt(c);
}

static struct bufferevent *on_connection(struct event_base *base, void *arg)
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
    check_accepting(server);
    start_tick(server);
    return bev;
}

/* ---- answers ---- */

static void on_written(struct evhttp_request *request, void *arg)
{
    struct http_server *server = arg;
    struct connection *c = connection_of(server, evhttp_request_get_connection(request));
    if (!c)
        return;
    struct evbuffer *input = bufferevent_get_input(c->bev);
    bool more = !c->close && evbuffer_get_length(input) > 0;
    begin_request(c);
    if (more) /* it came while the answer was written */
        read_bytes(c, input, 0, evbuffer_get_length(input));
}

static void reply(struct connection *c, struct evhttp_request *request, const struct kos_http_message *m)
{
    struct evkeyvalq *out = evhttp_request_get_output_headers(request);
    bool bare = m->status == 204 || m->status == 304;
    struct evbuffer *body = evbuffer_new();
    char length[24];
    for (uint32_t i = 0; i < m->header_count; i++)
        evhttp_add_header(out, m->headers[i].name, m->headers[i].value);
    if (!bare) {
        snprintf(length, sizeof length, "%zu", m->body.len);
        evhttp_add_header(out, "content-length", length);
        if (body && m->body.len && evhttp_request_get_command(request) != EVHTTP_REQ_HEAD)
            evbuffer_add(body, m->body.data, m->body.len);
    }
    if (c->close || c->server->stopping)
        evhttp_add_header(out, "connection", "close");
    c->phase = WRITING;
    c->deadline_ms = http_mono_ms() + c->server->conf->request_ms + 1000 * (m->body.len / HTTP_SLOWEST_BYTES);
    hold(c, m->body.len);
    evhttp_request_set_on_complete_cb(request, on_written, c->server);
    evhttp_send_reply(request, m->status, NULL, body);
    if (body)
        evbuffer_free(body);
}

static void reply_status(struct connection *c, struct evhttp_request *request, int status)
{
    static const struct kos_http_header headers[] = { { "content-type", "text/plain; charset=utf-8" },
                                                      { "retry-after", "1" } };
    char text[64];
    snprintf(text, sizeof text, "%d %s\n", status, http_status_text(status));
    struct kos_http_message m = { .size = sizeof m,
                                  .status = status,
                                  .headers = headers,
                                  .header_count = status == 503 ? 2 : 1,
                                  .body = kos_bytes_str(text) };
    c->server->refused++;
    reply(c, request, &m);
}

static void end_exchange(struct http_server *server, struct exchange *x)
{
    HASH_DEL(server->exchanges, x);
    free(x);
}

static void respond(struct http_server *server, struct http_note *note)
{
    struct exchange *x;
    HASH_FIND(hh, server->exchanges, &note->id, sizeof note->id, x);
    if (x) {
        struct connection *c = x->connection;
        struct evhttp_request *request = x->request;
        end_exchange(server, x);
        server->served++;
        reply(c, request, &note->parcel->message);
    }
    http_note_free(note);
}

/* ---- requests ---- */

static struct prefix *route(struct http_server *server, const char *target)
{
    struct prefix *p, *best = NULL;
    LL_FOREACH(server->prefixes, p)
        if (http_prefix_fits(p->text, target) && (!best || strlen(p->text) > strlen(best->text)))
            best = p;
    return best;
}

static const char *method_name(enum evhttp_cmd_type type)
{
    switch (type) {
    case EVHTTP_REQ_GET: return "GET";
    case EVHTTP_REQ_HEAD: return "HEAD";
    case EVHTTP_REQ_POST: return "POST";
    case EVHTTP_REQ_PUT: return "PUT";
    case EVHTTP_REQ_DELETE: return "DELETE";
    case EVHTTP_REQ_PATCH: return "PATCH";
    default: return "OPTIONS";
    }
}

static struct http_parcel *parcel_of(struct evhttp_request *request, const char *target)
{
    struct kos_http_header headers[HTTP_HEADERS_MAX];
    struct kos_http_message m = { .size = sizeof m,
                                  .method = method_name(evhttp_request_get_command(request)),
                                  .url = target,
                                  .headers = headers };
    char peer[80], *address = NULL;
    ev_uint16_t port = 0;
    struct evkeyval *h;
    struct evbuffer *body = evhttp_request_get_input_buffer(request);
    TAILQ_FOREACH(h, evhttp_request_get_input_headers(request), next) {
        if (m.header_count == HTTP_HEADERS_MAX)
            break;
        headers[m.header_count++] = (struct kos_http_header){ h->key, h->value };
    }
    evhttp_connection_get_peer(evhttp_request_get_connection(request), &address, &port);
    snprintf(peer, sizeof peer, address && strchr(address, ':') ? "[%s]:%u" : "%s:%u", address ? address : "", port);
    m.peer = peer;
    m.body.len = evbuffer_get_length(body);
    m.body.data = m.body.len ? evbuffer_pullup(body, -1) : NULL;
    return m.body.len && !m.body.data ? NULL : http_parcel_new(&m);
}

/* Hands it over; 0 or the status to refuse with. */
static int hand_over(struct connection *c, struct evhttp_request *request)
{
    struct http_server *server = c->server;
    char target[3 * HTTP_TARGET_MAX + 8];
    const char *uri = evhttp_request_get_uri(request);
    int status = uri ? http_target(uri, target, sizeof target) : 400;
    if (status)
        return status;
    struct prefix *prefix = route(server, target);
    if (!prefix)
        return 404;
    if (evbuffer_get_length(evhttp_request_get_input_buffer(request)) > prefix->body_max)
        return 413;
    if (server->stopping || HASH_COUNT(server->exchanges) >= server->conf->requests)
        return 503;
    struct exchange *x = calloc(1, sizeof *x);
    struct http_note *note = http_note_new(HTTP_REQUEST, server->last_id + 1, prefix->text);
    if (!x || !note || !(note->parcel = parcel_of(request, target))) {
        free(x);
        http_note_free(note);
        return 503;
    }
    x->id = ++server->last_id;
    x->deadline_ms = http_mono_ms() + server->conf->request_ms;
    x->request = request;
    x->connection = c;
    HASH_ADD(hh, server->exchanges, id, sizeof x->id, x);
    c->phase = WAITING;
    c->deadline_ms = UINT64_MAX;
    prefix->requests++;
    http_tell(server->net, note);
    return 0;
}

static void on_request(struct evhttp_request *request, void *arg)
{
    struct http_server *server = arg;
    struct connection *c = connection_of(server, evhttp_request_get_connection(request));
    if (!c) { /* unguarded, for want of memory */
        evhttp_send_error(request, 503, NULL);
        return;
    }
    /* What came behind it was not guarded from its beginning, and what is behind chunks might be read in two ways. */
    c->close = c->guard.extra || c->guard.chunked;
    int status = hand_over(c, request);
    if (status)
        reply_status(c, request, status);
}

/* ---- prefixes ---- */

static int32_t serve(struct http_server *server, struct http_note *note, char *ret_why, size_t cap)
{
    struct prefix *p;
    if (!http_prefix_valid(note->text, ret_why, cap))
        return KOS_E_INVALID;
    LL_FOREACH(server->prefixes, p)
        if (strcmp(p->text, note->text) == 0) {
            snprintf(ret_why, cap, "%.200s is served already", p->text);
            return KOS_E_EXISTS;
        }
    if (server->prefix_count == HTTP_PREFIXES_MAX) {
        snprintf(ret_why, cap, "%d prefixes are served already", HTTP_PREFIXES_MAX);
        return KOS_E_LIMIT;
    }
    if (note->body_max > server->conf->body_bytes) {
        snprintf(ret_why, cap, "bodies of %llu bytes are above the setting max_body (%llu)",
                 (unsigned long long)note->body_max, (unsigned long long)server->conf->body_bytes);
        return KOS_E_LIMIT;
    }
    p = calloc(1, sizeof *p);
    if (!p || !(p->text = strdup(note->text))) {
        free(p);
        snprintf(ret_why, cap, "out of memory");
        return KOS_E_NOMEM;
    }
    p->body_max = note->body_max;
    LL_PREPEND(server->prefixes, p);
    server->prefix_count++;
    return KOS_OK;
}

static void unserve(struct http_server *server, const char *text)
{
    struct prefix *p, *next;
    LL_FOREACH_SAFE(server->prefixes, p, next)
        if (strcmp(p->text, text) == 0) {
            LL_DELETE(server->prefixes, p);
            server->prefix_count--;
            free(p->text);
            free(p);
        }
}

static void report(struct http_server *server, struct http_note *note)
{
    json_t *all = json_object();
    if (all && http_server_report(server, all) == 0 && http_client_report(server->net->client, all) == 0)
        note->text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(all);
    note->kind = HTTP_REPORT;
    note->status = note->text ? KOS_OK : KOS_E_NOMEM;
    http_tell(server->net, note);
}

void http_server_note(struct http_server *server, struct http_note *note)
{
    char why[HTTP_WHY] = "";
    switch (note->kind) {
    case HTTP_LISTEN: listen_on(server, note); return;
    case HTTP_RESPOND: respond(server, note); return;
    case HTTP_STATUS: report(server, note); return;
    case HTTP_SERVE:
        note->status = serve(server, note, why, sizeof why);
        note->kind = HTTP_DONE;
        free(note->text);
        note->text = note->status < 0 ? strdup(why) : NULL;
        http_tell(server->net, note);
        return;
    case HTTP_UNSERVE:
        unserve(server, note->text);
        /* fall through */
    default: http_note_free(note);
    }
}

/* ---- time ---- */

static void expire(struct connection *c)
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

static void on_tick(evutil_socket_t fd, short events, void *arg)
{
    struct http_server *server = arg;
    struct connection *c, *next;
    struct exchange *x, *after;
    uint64_t now = http_mono_ms();
    (void)fd;
    (void)events;
    server->ticking = false;
    HASH_ITER(hh, server->exchanges, x, after) {
        if (x->deadline_ms > now)
            break;
        c = x->connection;
        struct evhttp_request *request = x->request;
        end_exchange(server, x);
        server->timeouts++;
        c->close = true;
        reply_status(c, request, 504);
    }
    DL_FOREACH_SAFE(server->connections, c, next)
        if (c->deadline_ms <= now)
            expire(c);
    check_accepting(server);
    if (server->connections || (!server->accepting && !server->stopping))
        start_tick(server);
}

/* ---- life ---- */

bool http_server_quiet(const struct http_server *server)
{
    return server->connections == NULL;
}

void http_server_stop(struct http_server *server)
{
    struct exchange *x, *after;
    struct connection *c, *next;
    server->stopping = true;
    for (uint32_t i = 0; i < server->listener_count; i++) {
        evhttp_del_accept_socket(server->evhttp, server->listeners[i].bound);
        free(server->listeners[i].address);
    }
    server->listener_count = 0;
    HASH_ITER(hh, server->exchanges, x, after) {
        c = x->connection;
        struct evhttp_request *request = x->request;
        end_exchange(server, x);
        reply_status(c, request, 503);
    }
    DL_FOREACH_SAFE(server->connections, c, next)
        if (c->phase != WRITING)
            shutdown(bufferevent_getfd(c->bev), SHUT_RDWR);
}

void http_server_free(struct http_server *server)
{
    struct exchange *x, *after;
    struct prefix *p, *next;
    if (!server)
        return;
    server->stopping = true;
    for (uint32_t i = 0; i < server->listener_count; i++)
        free(server->listeners[i].address);
    server->listener_count = 0;
    if (server->evhttp)
        evhttp_free(server->evhttp);
    HASH_ITER(hh, server->exchanges, x, after)
        end_exchange(server, x);
    LL_FOREACH_SAFE(server->prefixes, p, next) {
        free(p->text);
        free(p);
    }
    if (server->tick)
        event_free(server->tick);
    if (server->adopt)
        event_free(server->adopt);
    free(server);
}

struct http_server *http_server_new(struct http_net *net, struct kos_error *ret_error)
{
    struct http_server *server = calloc(1, sizeof *server);
    if (server) {
        server->net = net;
        server->conf = &net->http->conf;
        server->accepting = true;
        server->evhttp = evhttp_new(net->base);
        server->tick = event_new(net->base, -1, 0, on_tick, server);
        server->adopt = event_new(net->base, -1, 0, on_adopt, server);
    }
    if (!server || !server->evhttp || !server->tick || !server->adopt) {
        http_server_free(server);
        kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the HTTP server");
        return NULL;
    }
    evhttp_set_allowed_methods(server->evhttp, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
                                                   EVHTTP_REQ_DELETE | EVHTTP_REQ_PATCH | EVHTTP_REQ_OPTIONS);
    /* The guard speaks first; these are behind it. */
    evhttp_set_max_headers_size(server->evhttp, (ev_ssize_t)server->conf->head_bytes);
    evhttp_set_max_body_size(server->evhttp, (ev_ssize_t)server->conf->body_bytes);
    evhttp_set_default_content_type(server->evhttp, NULL);
    evhttp_set_bevcb(server->evhttp, on_connection, server);
    evhttp_set_gencb(server->evhttp, on_request, server);
    return server;
}

int http_server_report(const struct http_server *server, json_t *all)
{
    json_t *addresses = json_array(), *prefixes = json_array();
    struct prefix *p;
    for (uint32_t i = 0; i < server->listener_count; i++)
        json_array_append_new(addresses, json_string(server->listeners[i].address));
    LL_FOREACH(server->prefixes, p)
        json_array_append_new(prefixes, json_pack("{s:s, s:I, s:I}", "prefix", p->text, "max_body",
                                                  (json_int_t)p->body_max, "requests", (json_int_t)p->requests));
    json_object_set_new(all, "addresses", addresses);
    json_object_set_new(all, "prefixes", prefixes);
    json_object_set_new(all, "connections",
                        json_pack("{s:i, s:i, s:I}", "open", (int)server->connection_count, "max",
                                  (int)server->conf->connections, "accepted", (json_int_t)server->accepted));
    return json_object_set_new(
        all, "requests",
        json_pack("{s:i, s:i, s:I, s:I, s:I}", "waiting", (int)HASH_COUNT(server->exchanges), "max",
                  (int)server->conf->requests, "served", (json_int_t)server->served, "refused",
                  (json_int_t)server->refused, "timeouts", (json_int_t)server->timeouts));
}
