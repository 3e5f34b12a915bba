/* SPDX-License-Identifier: Apache-2.0
 * The server: evhttp, the prefixes that users serve, and the requests that wait for an answer. */
#include "server.h"

#include <event2/keyvalq_struct.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/queue.h>

/* ---- answers ---- */

static void on_written(struct evhttp_request *request, void *arg)
{
    struct connection *c = http_connection_of(arg, evhttp_request_get_connection(request));
    if (c)
        http_connection_next(c);
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
    http_connection_hold(c, m->body.len);
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
    struct connection *c = http_connection_of(server, evhttp_request_get_connection(request));
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
    case HTTP_LISTEN: http_listen(server, note); return;
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
            http_connection_expire(c);
    http_check_accepting(server);
    if (server->connections || (!server->accepting && !server->stopping))
        http_start_tick(server);
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
        server->adopt = event_new(net->base, -1, 0, http_connection_adopt, server);
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
    evhttp_set_bevcb(server->evhttp, http_connection_new, server);
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
    json_object_set_new(all, "memory",
                        json_pack("{s:I, s:I}", "held", (json_int_t)server->held, "max",
                                  (json_int_t)server->conf->memory_bytes));
    return json_object_set_new(
        all, "requests",
        json_pack("{s:i, s:i, s:I, s:I, s:I}", "waiting", (int)HASH_COUNT(server->exchanges), "max",
                  (int)server->conf->requests, "served", (json_int_t)server->served, "refused",
                  (json_int_t)server->refused, "timeouts", (json_int_t)server->timeouts));
}
