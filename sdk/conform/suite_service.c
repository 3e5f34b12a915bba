/* SPDX-License-Identifier: Apache-2.0
 * The HTTP service: real clients to its server, and a real server, of the tests' own, to its client. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conform.h"

/* ---- a client ---- */

struct client {
    struct conform *c;
    int fd;
    struct kos_watch *watch;
    size_t len;
    bool over;
    char text[8192];
};

static void client_ready(void *arg, int32_t events)
{
    struct client *client = arg;
    char block[4096];
    ssize_t n;
    (void)events;
    while ((n = read(client->fd, block, sizeof block)) > 0) {
        size_t room = sizeof client->text - 1 - client->len, keep = (size_t)n < room ? (size_t)n : room;
        memcpy(client->text + client->len, block, keep);
        client->len += keep;
    }
    client->text[client->len] = '\0';
    if (n == 0 || (errno != EAGAIN && errno != EINPROGRESS)) {
        client->over = true;
        client->c->env->ops->watch_set(client->watch, 0);
    }
    client->c->events++;
}

static struct client *client_new(struct host *h, const char *request)
{
    struct client *client = kos_new(sizeof *client);
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)h->port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    client->c = h->c;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(client->fd, (struct sockaddr *)&to, sizeof to) < 0)
        skip(h->c, "its server is not reached at 127.0.0.1:%d: %s", h->port, strerror(errno));
    ssize_t ignored = write(client->fd, request, strlen(request));
    (void)ignored;
    client->watch = h->c->env->ops->watch_new(h->c->env, client->fd, client_ready, client);
    struct timeval none = { 0, 1000 };
    setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none); /* a read never waits for long */
    h->c->env->ops->watch_set(client->watch, KOS_READABLE);
    return client;
}

static void client_free(struct client *client)
{
    client->c->env->ops->watch_free(client->watch);
    close(client->fd);
    free(client);
}

/* ---- a server ---- */

struct server {
    struct conform *c;
    int fd, port, peer;
    struct kos_watch *watch, *peer_watch;
    const char *answer;                 /* NULL: none comes */
    unsigned requests;
};

static void server_read(void *arg, int32_t events)
{
    struct server *s = arg;
    char block[4096];
    (void)events;
    ssize_t n = recv(s->peer, block, sizeof block, MSG_DONTWAIT);
    s->c->events++;
    if (n > 0) {
        s->requests++;
        if (s->answer && send(s->peer, s->answer, strlen(s->answer), MSG_NOSIGNAL) > 0)
            shutdown(s->peer, SHUT_WR);
        return;
    }
    s->c->env->ops->watch_free(s->peer_watch);
    close(s->peer);
    s->peer = -1;
}

static void server_accept(void *arg, int32_t events)
{
    struct server *s = arg;
    (void)events;
    if (s->peer >= 0)
        return;
    s->peer = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
    s->peer_watch = s->c->env->ops->watch_new(s->c->env, s->peer, server_read, s);
    s->c->env->ops->watch_set(s->peer_watch, KOS_READABLE);
}

static void server_begin(struct server *s, struct host *h)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    *s = (struct server){ .c = h->c, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .peer = -1 };
    if (bind(s->fd, (struct sockaddr *)&at, len) < 0 || listen(s->fd, 8) < 0 ||
        getsockname(s->fd, (struct sockaddr *)&at, &len) < 0)
        skip(h->c, "no server of the tests' own: %s", strerror(errno));
    s->port = ntohs(at.sin_port);
    s->watch = h->c->env->ops->watch_new(h->c->env, s->fd, server_accept, s);
    h->c->env->ops->watch_set(s->watch, KOS_READABLE);
}

static void server_end(struct server *s)
{
    if (s->peer >= 0) {
        s->c->env->ops->watch_free(s->peer_watch);
        close(s->peer);
    }
    s->c->env->ops->watch_free(s->watch);
    close(s->fd);
}

/* ---- the service ---- */

static uint64_t serve(struct host *h, const char *prefix, uint64_t body_max)
{
    uint64_t op = op_new(h, "serve");
    h->backend->ops->http_serve(h->backend, op, prefix, body_max);
    return op;
}

static uint64_t fetch(struct host *h, const char *url, uint64_t body_max, uint64_t timeout_ms)
{
    static const struct kos_http_header headers[] = { { "accept", "*/*" }, { "x-conform", "1" } };
    struct kos_http_message m = { .size = sizeof m, .method = "GET", .url = url, .headers = headers,
                                  .header_count = 2 };
    uint64_t op = op_new(h, "fetch");
    h->backend->ops->http_fetch(h->backend, op, &m, body_max, timeout_ms);
    return op;
}

static void respond(struct host *h, struct request *r, int32_t status, const char *body)
{
    static const struct kos_http_header headers[] = { { "content-type", "text/plain" } };
    struct kos_http_message m = { .size = sizeof m, .status = status, .headers = headers, .header_count = 1,
                                  .body = kos_bytes_str(body) };
    r->answered = true;
    h->backend->ops->http_respond(h->backend, r->id, &m);
}

static struct request *waiting(struct host *h)
{
    for (struct request *r = h->served; r; r = r->hh.next)
        if (!r->answered)
            return r;
    return NULL;
}

static struct host *begin_serving(struct conform *c)
{
    struct host *h = host_new(c);
    host_begin(h);
    WAIT(c, 1000, h->port);
    if (!h->port)
        skip(c, "it opened no listening socket");
    if (op_wait(h, serve(h, "/a/", 1000))->status < 0 || op_wait(h, serve(h, "/a/b/", 1000))->status < 0)
        broke(c, RULE_HTTP_PREFIX, "two different prefixes were not both served");
    return h;
}

void exercise_service(struct host *h)
{
    WAIT(h->c, 200, h->port || !living(h));
    if (!living(h))
        return;
    serve(h, "/x/", 100);
    settle(h->c);
    if (living(h))
        fetch(h, "http://127.0.0.1:1/", 100, 300);
    settle(h->c);
    if (living(h))
        h->backend->ops->http_unserve(h->backend, "/x/");
    settle(h->c);
}

static struct request *request_of(struct host *h, const char *text, struct client **ret_client)
{
    *ret_client = client_new(h, text);
    WAIT(h->c, soon(h->c), waiting(h) || (*ret_client)->over);
    struct request *r = waiting(h);
    if (!r)
        broke(h->c, RULE_HTTP_PREFIX, "a request below a served prefix was not handed over: %.60s",
              (*ret_client)->text);
    return r;
}

static void test_requests(struct conform *c)
{
    struct host *h = begin_serving(c);
    static const struct { const char *request, *prefix; } asked[] = {
        { "GET /a/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "/a/" },
        { "GET /a/b/x?y=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "/a/b/" },
        { "POST /a/bc HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", "/a/" },
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        struct client *client;
        struct request *r = request_of(h, asked[i].request, &client);
        if (strcmp(r->prefix, asked[i].prefix) != 0)
            broke(c, RULE_HTTP_PREFIX, "%s was handed over under %s; the longest that fits is %s", r->path, r->prefix,
                  asked[i].prefix);
        respond(h, r, 207, "conform-answer");
        WAIT(c, soon(c), strstr(client->text, "conform-answer"));
        if (!strstr(client->text, "conform-answer") || !strstr(client->text, " 207"))
            broke(c, RULE_HTTP_RESPOND, "respond was called with 207; the client read \"%.80s\"", client->text);
        client_free(client);
    }
    host_end(h);
}

static void test_large(struct conform *c)
{
    struct host *h = begin_serving(c);
    char *text = kos_format("POST /a/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1001\r\n\r\n%1001s",
                            "x");
    struct client *client = client_new(h, text);
    WAIT(c, soon(c), client->len > 12 || client->over);
    if (waiting(h) || !strstr(client->text, " 413"))
        broke(c, RULE_HTTP_BODY, "a body of 1001 bytes, where 1000 are allowed, was answered \"%.60s\"", client->text);
    client_free(client);
    free(text);
    host_end(h);
}

static void test_gone(struct conform *c)
{
    struct host *h = begin_serving(c);
    struct client *client;
    for (int i = 0; i < 3; i++) {
        struct request *r = request_of(h, "GET /a/x HTTP/1.1\r\nHost: x\r\n\r\n", &client);
        client_free(client);
        if (i)
            settle(c);
        respond(h, r, 200, "too late");
        settle(c);
    }
    struct request *r = request_of(h, "GET /a/x HTTP/1.1\r\nHost: x\r\n\r\n", &client);
    respond(h, r, 200, "still here");
    WAIT(c, soon(c), strstr(client->text, "still here"));
    if (!strstr(client->text, "still here"))
        broke(c, RULE_HTTP_GONE, "after clients went away it answers no more");
    client_free(client);
    host_end(h);
}

static void test_prefixes(struct conform *c)
{
    struct host *h = begin_serving(c);
    struct client *client;
    if (op_wait(h, serve(h, "/a/", 5))->status >= 0)
        broke(c, RULE_HTTP_PREFIX, "the prefix /a/ was served twice");
    h->backend->ops->http_unserve(h->backend, "/a/b/");
    WAIT(c, 100, false); /* nothing says when it has come into force */
    struct request *r = request_of(h, "GET /a/b/x HTTP/1.1\r\nHost: x\r\n\r\n", &client);
    if (strcmp(r->prefix, "/a/") != 0)
        broke(c, RULE_HTTP_PREFIX, "/a/b/x was handed over under %s, which is not served any more", r->prefix);
    respond(h, r, 204, "");
    client_free(client);
    client = client_new(h, "GET /nobody HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    WAIT(c, soon(c), client->len > 12 || client->over || waiting(h));
    if (waiting(h))
        broke(c, RULE_HTTP_PREFIX, "a request below no prefix was handed over");
    client_free(client);
    host_end(h);
}

static const struct op *fetched(struct host *h, uint64_t op, uint64_t ms)
{
    struct op *done;
    HASH_FIND(hh, h->ops, &op, sizeof op, done);
    WAIT(h->c, ms, done->done);
    if (!done->done)
        broke(h->c, RULE_HTTP_FETCH, "fetch %llu was not answered within %llu ms", (unsigned long long)op,
              (unsigned long long)ms);
    return done;
}

static void test_fetch(struct conform *c)
{
    struct host *h = host_new(c);
    struct server s;
    host_begin(h);
    server_begin(&s, h);
    char *url = kos_format("http://127.0.0.1:%d/x", s.port);
    s.answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    const struct op *op = fetched(h, fetch(h, url, 1000, 4000), soon(h->c));
    if (op->status == KOS_E_DENIED || (op->status < 0 && s.requests == 0))
        skip(c, "it fetches nothing from this machine (%s); --settings may allow it", kos_error_name(op->status));
    if (op->status < 0 || h->response_http != 200 || strcmp(h->response_body, "hello") != 0)
        broke(c, RULE_HTTP_FETCH, "a fetch ended with %s, HTTP status %d and \"%.40s\"", kos_error_name(op->status),
              (int)h->response_http, h->response_body);
    s.answer = "HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    unsigned before = s.requests;
    fetched(h, fetch(h, url, 1000, 4000), soon(c));
    if (h->response_http != 302 || s.requests != before + 1)
        broke(c, RULE_HTTP_FETCH, "a redirect was followed");
    s.answer = NULL;
    op = fetched(h, fetch(h, url, 1000, 300), 3000);
    if (op->status >= 0)
        broke(c, RULE_HTTP_FETCH, "a server that never answers gave the status %d", (int)h->response_http);
    s.answer = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\n12345678";
    op = fetched(h, fetch(h, url, 5, 4000), soon(c));
    if (op->status != KOS_E_LIMIT)
        broke(c, RULE_HTTP_FETCH, "a body of 8 bytes, where 5 are allowed, ended the fetch with %s",
              kos_error_name(op->status));
    s.answer = NULL;
    uint64_t id = fetch(h, url, 1000, 20000);
    WAIT(c, 300, false);
    h->backend->ops->http_cancel(h->backend, id);
    struct op *cancelled;
    HASH_FIND(hh, h->ops, &id, sizeof id, cancelled);
    WAIT(c, soon(c), cancelled->done);
    op = cancelled;
    if (!cancelled->done)
        broke(c, RULE_HTTP_CANCEL, "a fetch that was cancelled did not end");
    if (op->status != KOS_E_CANCELLED)
        broke(c, RULE_HTTP_CANCEL, "a fetch that was cancelled ended with %s", kos_error_name(op->status));
    h->backend->ops->http_cancel(h->backend, id); /* crossed */
    settle(c);
    server_end(&s);
    free(url);
    host_end(h);
}

static void test_garbage(struct conform *c)
{
    static const char *const urls[] = { "", "x", "http://", "http://[", "file:///etc/passwd", "http://127.0.0.1:99999/",
                                        "gopher://127.0.0.1/", "http://\xc3\xa9/", "http://127.0.0.1:1/%%%" };
    static const char *const prefixes[] = { "", "x", "//", "/%00/", "/\xc3\xa9/", "/a/../b/", "/?x", "/a b/" };
    struct host *h = host_new(c);
    host_begin(h);
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
        fetched(h, fetch(h, urls[i], 100, 2000), soon(c));
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        op_wait(h, serve(h, prefixes[i], 100));
        h->backend->ops->http_unserve(h->backend, prefixes[i]);
    }
    host_end(h);
}

/* What is under way when it stops. */
static void test_stop(struct conform *c)
{
    struct host *h = begin_serving(c);
    struct client *client;
    struct server s;
    server_begin(&s, h);
    char *url = kos_format("http://127.0.0.1:%d/x", s.port);
    request_of(h, "GET /a/x HTTP/1.1\r\nHost: x\r\n\r\n", &client);
    fetch(h, url, 1000, 20000);
    settle(c);
    host_end(h);
    client_free(client);
    server_end(&s);
    free(url);
}

const struct test suite_service[] = {
    { "http", "requests", "requests go to the longest prefix, answers to the client", KOS_HTTP_SERVICE, test_requests },
    { "http", "large", "a body above the limit", KOS_HTTP_SERVICE, test_large },
    { "http", "gone", "clients that go away", KOS_HTTP_SERVICE, test_gone },
    { "http", "prefixes", "prefixes come and go", KOS_HTTP_SERVICE, test_prefixes },
    { "http", "fetch", "fetches end once, in time", KOS_HTTP_SERVICE, test_fetch },
    { "http", "garbage", "addresses and prefixes that are none", KOS_HTTP_SERVICE, test_garbage },
    { "http", "stop", "stops with requests and fetches under way", KOS_HTTP_SERVICE, test_stop },
    { 0 },
};
