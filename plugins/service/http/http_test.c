/* SPDX-License-Identifier: Apache-2.0
 * The plugin under a small host: real sockets, users that answer well, badly, twice or never, and clients of all sorts.
 * The client fetches from the server beside it. */
#include "unit.h"
#include "http.h"
#include "../../../sdk/examples/poll_host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

enum { WANTED = 64, ANSWER = 1 << 20 };

/* What the users were handed and have not answered yet. */
struct wanted {
    uint64_t id;
    char prefix[64], method[16], url[256], peer[64], *body, tag[64];
    size_t len;
    uint32_t headers;
};

static struct {
    struct poll_host *host;
    void *self;
    const struct kos_http_service *http;
    int port, logs;
    struct wanted wanted[WANTED];
    size_t wanted_count, held;       /* held: asked for below /never */
    int completions;
    uint64_t op;
    int32_t status;
    char text[512];
    int responses;
    uint64_t order[16];
    int32_t response_status, http_status;
    char response_text[512], response_body[4096], response_tag[128];
    size_t response_len;
    char report[4096];
    int reports;
} t;

/* ---- the host's side ---- */

static void on_request(const struct kos_host *host, uint64_t request, const char *prefix,
                       const struct kos_http_message *m)
{
    (void)host;
    ck_assert_uint_lt(t.wanted_count, WANTED);
    struct wanted *w = &t.wanted[t.wanted_count++];
    memset(w, 0, sizeof *w);
    w->id = request;
    snprintf(w->prefix, sizeof w->prefix, "%s", prefix);
    snprintf(w->method, sizeof w->method, "%s", m->method);
    snprintf(w->url, sizeof w->url, "%s", m->url);
    snprintf(w->peer, sizeof w->peer, "%s", m->peer);
    w->len = m->body.len;
    w->body = malloc(w->len + 1);
    if (w->len)
        memcpy(w->body, m->body.data, w->len);
    w->headers = m->header_count;
    for (uint32_t i = 0; i < m->header_count; i++) {
        for (const char *c = m->headers[i].name; *c; c++)
            ck_assert(!(*c >= 'A' && *c <= 'Z'));
        if (strcmp(m->headers[i].name, "x-tag") == 0)
            snprintf(w->tag + strlen(w->tag), sizeof w->tag - strlen(w->tag), "[%s]", m->headers[i].value);
    }
}

static void on_response(const struct kos_host *host, uint64_t op, int32_t status, const struct kos_http_message *m,
                        const char *text)
{
    (void)host;
    if (t.responses < 16)
        t.order[t.responses] = op;
    t.responses++;
    t.op = op;
    t.response_status = status;
    t.http_status = m ? m->status : 0;
    snprintf(t.response_text, sizeof t.response_text, "%s", text ? text : "");
    t.response_len = m ? m->body.len : 0;
    for (uint32_t i = 0; m && i < m->header_count; i++)
        if (strcmp(m->headers[i].name, "x-tag") == 0)
            snprintf(t.response_tag, sizeof t.response_tag, "%s", m->headers[i].value);
    if (m && m->body.len && m->body.len < sizeof t.response_body)
        memcpy(t.response_body, m->body.data, m->body.len);
    t.response_body[m && m->body.len < sizeof t.response_body ? m->body.len : 0] = '\0';
}

static void on_reply(const struct kos_host *host, uint64_t call, int32_t status, struct kos_bytes parameters,
                     const char *text, int32_t continues)
{
    (void)host;
    (void)text;
    ck_assert_uint_eq(call, 77);
    ck_assert_int_eq(continues, 0);
    t.reports++;
    t.status = status;
    snprintf(t.report, sizeof t.report, "%.*s", (int)parameters.len, (const char *)parameters.data);
}

static const struct kos_http_service_host service_host = { sizeof service_host, on_request, on_response };
static const struct kos_control_host control_host = { .size = sizeof control_host, .reply = on_reply };

static const void *feature(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, KOS_HTTP_SERVICE_HOST) == 0 ? (const void *)&service_host
        : strcmp(name, KOS_CONTROL_HOST) == 0       ? (const void *)&control_host
                                                    : NULL;
}

static void on_log(void *arg, int32_t level, const char *text)
{
    (void)arg;
    (void)level;
    t.logs++;
    sscanf(text, "serving HTTP on 127.0.0.1:%d", &t.port);
}

static void on_complete(void *arg, uint64_t op, int32_t status, struct kos_bytes result)
{
    (void)arg;
    t.completions++;
    t.op = op;
    t.status = status;
    snprintf(t.text, sizeof t.text, "%.*s", (int)result.len, (const char *)result.data);
}

static const struct poll_host_hooks hooks = { .feature = feature, .log = on_log, .complete = on_complete };

/* ---- users ---- */

static void answer(uint64_t request, int status, const struct kos_http_header *headers, uint32_t count,
                   const char *body, size_t len)
{
    struct kos_http_message m = { .size = sizeof m,
                                  .status = status,
                                  .headers = headers,
                                  .header_count = count,
                                  .body = kos_bytes(body, len) };
    t.http->respond(t.self, request, &m);
}

static void answer_all(void)
{
    static const struct kos_http_header good[] = { { "X-Tag", "one" }, { "x-tag", "two" } };
    static const struct kos_http_header split[] = { { "x-tag", "a\r\nset-cookie: b" } };
    static char big[ANSWER / 2];
    size_t kept = 0;
    for (size_t i = 0; i < t.wanted_count; i++) {
        struct wanted *w = &t.wanted[i];
        char text[512];
        int n = snprintf(text, sizeof text, "%s|%s|%s|%zu|%s|%.*s", w->method, w->url, w->prefix, w->len, w->tag,
                         w->len < 64 ? (int)w->len : 64, w->body);
        if (strncmp(w->url, "/never", 6) == 0) {
            t.wanted[kept++] = *w;
            continue;
        }
        if (strncmp(w->url, "/split", 6) == 0)
            answer(w->id, 200, split, 1, text, (size_t)n);
        else if (strncmp(w->url, "/big", 4) == 0)
            answer(w->id, 200, NULL, 0, big, sizeof big);
        else if (strncmp(w->url, "/204", 4) == 0)
            answer(w->id, 204, NULL, 0, "ignored", 7);
        else
            answer(w->id, 200, good, 2, text, (size_t)n);
        if (strncmp(w->url, "/twice", 6) == 0)
            answer(w->id, 201, NULL, 0, "second", 6);
        free(w->body);
    }
    t.wanted_count = kept;
}

/* ---- clients ---- */

static int dial(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)t.port) };
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void turn(void)
{
    poll_host_run(t.host, 2);
    answer_all();
}

static void put(int fd, const char *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, data + at, len - at, MSG_NOSIGNAL);
        if (n > 0)
            at += (size_t)n;
        else if (n < 0 && errno != EAGAIN)
            return;
        turn();
    }
}

/* All that comes until the server closes. */
static size_t get_all(int fd, char *ret_text, size_t cap)
{
    size_t len = 0;
    for (;;) {
        ssize_t n = recv(fd, ret_text + len, cap - 1 - len, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            break;
        if (n > 0)
            len += (size_t)n;
        turn();
    }
    ret_text[len] = '\0';
    close(fd);
    return len;
}

static char got[ANSWER];

static const char *ask(const char *request, size_t len)
{
    int fd = dial();
    put(fd, request, len);
    get_all(fd, got, sizeof got);
    return got;
}

static int status_of(const char *response)
{
    int status = 0;
    sscanf(response, "HTTP/1.%*d %d", &status);
    return status;
}

#define PUT(fd_, text_) put(fd_, text_, sizeof(text_) - 1)
#define ASK(text_) ask(text_, sizeof(text_) - 1)
#define END "Host: a\r\nConnection: close\r\n"

/* ---- set-up ---- */

static const char *const defaults[] = { "listen=127.0.0.1:0", "fetch_private=true", "max_body=100000", NULL };

static void serve(const char *prefix, uint64_t body_max, int32_t expected)
{
    int before = t.completions;
    t.http->serve(t.self, (uint64_t)before + 1, prefix, body_max);
    ck_assert_int_eq(t.completions, before); /* never inside the call */
    while (t.completions == before)
        turn();
    ck_assert_uint_eq(t.op, (uint64_t)before + 1);
    ck_assert_int_eq(t.status, expected);
}

static void begin(const char *const *settings)
{
    struct kos_error error = { 0 };
    memset(&t, 0, sizeof t);
    t.host = poll_host_new(&kos_plugin_v1, settings ? settings : defaults, &hooks, NULL, &error);
    ck_assert_msg(t.host != NULL, "%s", error.text);
    t.self = poll_host_self(t.host);
    t.http = kos_plugin_v1.features[0]->table;
    poll_host_start(t.host);
    while (!t.port)
        turn();
    serve("/", 50000, KOS_OK);
}

static void finish(void)
{
    uint32_t left;
    ck_assert(poll_host_stop(t.host));
    poll_host_free(t.host, &left);
    ck_assert_uint_eq(left, 0);
    for (size_t i = 0; i < t.wanted_count; i++)
        free(t.wanted[i].body);
}

static const char *report(void)
{
    const struct kos_control *control = kos_plugin_v1.features[1]->table;
    int before = t.reports;
    control->call(t.self, 77, "Status", kos_bytes_str("{}"), 0);
    while (t.reports == before)
        turn();
    ck_assert_int_eq(t.status, KOS_OK);
    return t.report;
}

/* ---- the server ---- */

START_TEST(test_methods)
{
    static const char *const methods[] = { "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS" };
    char request[256], expected[128];
    begin(NULL);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        snprintf(request, sizeof request,
                 "%s /a/%%7eb?c=d HTTP/1.1\r\n" END "X-Tag: 1\r\nContent-Length: 3\r\nx-TAG: 2\r\n\r\nxyz", methods[i]);
        snprintf(expected, sizeof expected, "%s|/a/~b?c=d|/|3|[1][2]|xyz", methods[i]);
        ask(request, strlen(request));
        ck_assert_int_eq(status_of(got), 200);
        ck_assert_msg(strstr(got, expected) != NULL, "%s", got);
        ck_assert(strstr(got, "x-tag: one\r\nx-tag: two\r\n"));
    }
    ASK("HEAD /a HTTP/1.1\r\n" END "\r\n");
    ck_assert_int_eq(status_of(got), 200);
    ck_assert(strstr(got, "content-length: 13\r\n"));  /* of "HEAD|/a|/|0||" */
    ck_assert_str_eq(strstr(got, "\r\n\r\n"), "\r\n\r\n");
    ASK("GET /204 HTTP/1.1\r\n" END "\r\n");
    ck_assert_int_eq(status_of(got), 204);
    ck_assert(!strstr(got, "ignored"));
    ASK("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    ck_assert(strstr(got, "POST|/a|/|5||abcde")); /* closed though it was not asked to */
    ASK("GET /a HTTP/1.0\r\n\r\n");
    ck_assert_int_eq(status_of(got), 200);
    finish();
}
END_TEST

START_TEST(test_keep_alive)
{
    begin(NULL);
    int fd = dial();
    for (int i = 0; i < 5; i++) {
        static const char request[] = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
        size_t len = 0;
        put(fd, request, sizeof request - 1);
        got[0] = '\0';
        while (!strstr(got, "|hi")) {
            ssize_t n = recv(fd, got + len, sizeof got - 1 - len, 0);
            ck_assert(n > 0 || (n < 0 && errno == EAGAIN));
            len += n > 0 ? (size_t)n : 0;
            got[len] = '\0';
            turn();
        }
        ck_assert_int_eq(status_of(got), 200);
    }
    /* A request that comes while the answer to the one before is being written passes the guard like any other. */
    for (int hostile = 0; hostile < 2; hostile++) {
        int other = dial(), small = 4096;
        setsockopt(other, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        PUT(other, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
        while (recv(other, got, 1, MSG_PEEK) != 1)
            turn();
        if (hostile)
            PUT(other, "GET /b HTTP/1.1\r\nHost: a\r\nConnection : close\r\n\r\n");
        else
            PUT(other, "GET /b HTTP/1.1\r\n" END "\r\n");
        size_t len = get_all(other, got, sizeof got);
        ck_assert_uint_gt(len, ANSWER / 2);
        ck_assert(memmem(got + ANSWER / 2, len - ANSWER / 2, hostile ? "HTTP/1.1 400" : "GET|/b|", hostile ? 12 : 7));
    }
    /* What is pipelined behind a request is not taken up: that connection ends after the answer. */
    static const char two[] = "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n";
    put(fd, two, sizeof two - 1);
    get_all(fd, got, sizeof got);
    ck_assert(strstr(got, "GET|/a|"));
    ck_assert(!strstr(got, "GET|/b|"));
    ck_assert(strstr(report(), "\"accepted\":3,"));
    finish();
}
END_TEST

START_TEST(test_routes)
{
    begin(NULL);
    serve("/a", 10, KOS_OK);
    serve("/a/b/", 20, KOS_OK);
    serve("/a", 10, KOS_E_EXISTS);
    ck_assert_str_eq(t.text, "/a is served already");
    serve("a", 10, KOS_E_INVALID);
    serve("/x/../y", 10, KOS_E_INVALID);
    serve("/big", 100001, KOS_E_LIMIT);
    ck_assert(strstr(ASK("GET /a HTTP/1.1\r\n" END "\r\n"), "|/a|/a|"));
    ck_assert(strstr(ASK("GET /a/c?/a/b/ HTTP/1.1\r\n" END "\r\n"), "|/a|0|"));
    ck_assert(strstr(ASK("GET /a/b/c HTTP/1.1\r\n" END "\r\n"), "|/a/b/|0|"));
    ck_assert(strstr(ASK("GET /ab HTTP/1.1\r\n" END "\r\n"), "|/|0|"));
    ck_assert(strstr(ASK("GET /%61/c HTTP/1.1\r\n" END "\r\n"), "|/a|0|")); /* an escaped letter is that letter */
    ck_assert_int_eq(status_of(ASK("POST /a HTTP/1.1\r\n" END "Content-Length: 11\r\n\r\n01234567890")), 413);
    ck_assert_int_eq(status_of(ASK("POST /a HTTP/1.1\r\n" END "Content-Length: 10\r\n\r\n0123456789")), 200);
    ck_assert_int_eq(status_of(ASK("POST /a HTTP/1.1\r\n" END "Content-Length: 100001\r\n\r\n")), 413);
    t.http->unserve(t.self, "/");
    ck_assert(strstr(report(), "\"prefix\":\"/a\""));
    ck_assert(!strstr(report(), "\"prefix\":\"/\""));
    ASK("GET /ab HTTP/1.1\r\n" END "\r\n");
    ck_assert_int_eq(status_of(got), 404);
    ck_assert(strstr(got, "404 Not Found\n"));
    t.http->unserve(t.self, "/not/there");
    ck_assert_int_eq(status_of(ASK("GET /a HTTP/1.1\r\n" END "\r\n")), 200);
    finish();
}
END_TEST

START_TEST(test_hostile)
{
    static const struct { const char *bytes; int status; } cases[] = {
        { "GET /../etc HTTP/1.1\r\n" END "\r\n", 400 },
        { "GET /%2e%2e/etc HTTP/1.1\r\n" END "\r\n", 400 },
        { "GET /%00 HTTP/1.1\r\n" END "\r\n", 400 },
        { "GET http://a/b HTTP/1.1\r\n" END "\r\n", 400 },
        { "OPTIONS * HTTP/1.1\r\n" END "\r\n", 400 },
        { "POST / HTTP/1.1\r\n" END "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" END "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" END "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400 },
        { "POST / HTTP/1.1\r\n" END "Content-Length : 3\r\n\r\nabc", 400 },
        { "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 400 },
        { "GET / HTTP/3.0\r\n" END "\r\n", 505 },
        { "BREW / HTTP/1.1\r\n" END "\r\n", 501 },
        { "\x16\x03\x01\x02\x00\x01", 400 },
        { "GET / HTTP/1.1\r\n" END "Expect: a-miracle\r\nContent-Length: 1\r\n\r\n", 417 },
    };
    char request[32000];
    begin(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_msg(status_of(ask(cases[i].bytes, strlen(cases[i].bytes))) == cases[i].status, "%s: %s",
                      cases[i].bytes, got);
    int n = snprintf(request, sizeof request, "GET /%09000d HTTP/1.1\r\n" END "\r\n", 0);
    ck_assert_int_eq(status_of(ask(request, (size_t)n)), 414);
    n = snprintf(request, sizeof request, "GET / HTTP/1.1\r\n" END "X: %020000d\r\n\r\n", 0);
    ck_assert_int_eq(status_of(ask(request, (size_t)n)), 431);
    /* A smuggled request is never seen: the connection ends with the refusal. */
    ASK("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        "GET /smuggled HTTP/1.1\r\n\r\n");
    ck_assert_int_eq(status_of(got), 400);
    ck_assert(!strstr(got + 1, "HTTP/1."));
    ck_assert_int_eq(status_of(ASK("GET / HTTP/1.1\r\n" END "\r\n")), 200);
    finish();
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

START_TEST(test_mutated)
{
    static const char *const seeds[] = {
        "POST /a?b HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        "PUT /c HTTP/1.1\r\nHost: b\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "GET /%7Ea HTTP/1.0\r\n\r\n",
    };
    static const char *const quick[] = { "listen=127.0.0.1:0", NULL };
    uint32_t state = 7;
    begin(quick);
    for (int round = 0; round < 400; round++) {
        char bytes[256];
        const char *seed = seeds[next_random(&state) % 3];
        size_t len = strlen(seed);
        memcpy(bytes, seed, len);
        for (uint32_t n = next_random(&state) % 5; n > 0; n--)
            bytes[next_random(&state) % len] = "\r\n\0 :;,0aF\t-+x\x80/HTP"[next_random(&state) % 20];
        int fd = dial();
        put(fd, bytes, len);
        shutdown(fd, SHUT_WR);
        get_all(fd, got, sizeof got);
        int status = got[0] ? status_of(got) : 0;
        ck_assert_msg(status == 0 || status == 200 || (status >= 400 && status <= 505), "%s", got);
    }
    ck_assert_int_eq(status_of(ASK("GET / HTTP/1.1\r\n" END "\r\n")), 200);
    finish();
}
END_TEST

START_TEST(test_users)
{
    static const char *const quick[] = { "listen=127.0.0.1:0", "request_timeout=300", NULL };
    begin(quick);
    ASK("GET /twice HTTP/1.1\r\n" END "\r\n");
    ck_assert_int_eq(status_of(got), 200);
    ck_assert(!strstr(got, "second"));
    int logs = t.logs;
    ASK("GET /split HTTP/1.1\r\n" END "\r\n");
    ck_assert_int_eq(status_of(got), 500);
    ck_assert(!strstr(got, "set-cookie"));
    ck_assert_int_eq(t.logs, logs + 1);
    ASK("GET /never HTTP/1.1\r\n" END "\r\n");
    ck_assert_int_eq(status_of(got), 504);
    ck_assert_uint_eq(t.wanted_count, 1);
    answer(t.wanted[0].id, 200, NULL, 0, "late", 4); /* ignored */
    answer(4711, 200, NULL, 0, "for nobody", 10);
    ck_assert_int_eq(status_of(ASK("GET / HTTP/1.1\r\n" END "\r\n")), 200);
    /* The client goes while the user thinks. */
    int fd = dial();
    PUT(fd, "GET /never/2 HTTP/1.1\r\n" END "\r\n");
    while (t.wanted_count < 2)
        turn();
    close(fd);
    answer(t.wanted[1].id, 200, NULL, 0, "gone", 4);
    ck_assert_int_eq(status_of(ASK("GET / HTTP/1.1\r\n" END "\r\n")), 200);
    finish();
}
END_TEST

/* Slow in every way: each ends by itself, and others are served meanwhile. */
START_TEST(test_slow)
{
    static const char *const quick[] = { "listen=127.0.0.1:0", "request_timeout=400", "idle_timeout=200", NULL };
    begin(quick);
    int silent = dial(), half = dial(), drip = dial(), reader = dial();
    int small = 4096;
    PUT(half, "POST / HTTP/1.1\r\n" END "Content-Length: 10\r\n\r\nabc");
    setsockopt(reader, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    PUT(reader, "GET /big HTTP/1.1\r\n" END "\r\n");
    ck_assert_int_eq(status_of(ASK("GET / HTTP/1.1\r\n" END "\r\n")), 200);
    static const char head[] = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    put(drip, head, sizeof head - 1);
    for (;;) { /* a byte now and then does not keep it open */
        if (recv(drip, got, 5, MSG_PEEK) > 0)
            break;
        send(drip, "x", 1, MSG_NOSIGNAL);
        for (int i = 0; i < 5; i++)
            turn();
    }
    get_all(drip, got, sizeof got);
    ck_assert_int_eq(status_of(got), 408);
    get_all(half, got, sizeof got);
    ck_assert_int_eq(status_of(got), 408);
    ck_assert_uint_eq(get_all(silent, got, sizeof got), 0);
    close(reader);
    while (!strstr(report(), "\"open\":0"))
        turn();
    finish();
}
END_TEST

START_TEST(test_full)
{
    static const char *const tight[] = { "listen=127.0.0.1:0", "connections=4", "requests=2", NULL };
    static const char never[] = "GET /never HTTP/1.1\r\n" END "\r\n";
    int fds[40];
    begin(tight);
    for (size_t i = 0; i < 2; i++) {
        fds[i] = dial();
        put(fds[i], never, sizeof never - 1);
    }
    while (t.wanted_count < 2)
        turn();
    ASK(never);
    ck_assert_int_eq(status_of(got), 503);
    ck_assert(strstr(got, "etry-after: 1\r\n") || strstr(got, "etry-After: 1\r\n"));
    /* More connections than there is room for wait in the backlog, and are served when others have gone. */
    for (size_t i = 2; i < 40; i++)
        fds[i] = dial();
    while (!strstr(report(), "\"open\":4"))
        turn();
    for (int i = 0; i < 50; i++)
        turn();
    ck_assert(strstr(report(), "\"open\":4"));
    for (size_t i = 0; i < 2; i++)
        answer(t.wanted[i].id, 200, NULL, 0, "now", 3);
    for (size_t i = 0; i < 2; i++) {
        get_all(fds[i], got, sizeof got);
        ck_assert_int_eq(status_of(got), 200);
    }
    for (size_t i = 2; i < 40; i++)
        close(fds[i]);
    ck_assert_int_eq(status_of(ASK("GET / HTTP/1.1\r\n" END "\r\n")), 200);
    finish();
}
END_TEST

/* What was sent and what the server has read are two things, and so are a closed connection and one it knows to be. */
static void until_held(size_t bytes)
{
    char wanted[64];
    snprintf(wanted, sizeof wanted, "\"held\":%zu,", bytes);
    while (!strstr(report(), wanted))
        turn();
}

START_TEST(test_memory)
{
    static const char *const tight[] = { "listen=127.0.0.1:0", "memory=1M", "max_body=600000", NULL };
    static char body[500000];
    char head[128];
    int fds[3];
    begin(tight);
    serve("/store", 600000, KOS_OK);
    memset(body, 'x', sizeof body);
    int n =
        snprintf(head, sizeof head, "POST /store HTTP/1.1\r\n" END "Content-Length: %d\r\n\r\n", (int)sizeof body + 1);
    for (size_t i = 0; i < 3; i++) { /* all but the last byte of each */
        fds[i] = dial();
        put(fds[i], head, (size_t)n);
        put(fds[i], body, sizeof body);
        if (i == 1)
            until_held(2 * ((size_t)n + sizeof body)); /* by the first two, so that it is the third that is too much */
    }
    get_all(fds[2], got, sizeof got);
    ck_assert(got[0] == '\0' || status_of(got) == 503); /* a reset may overtake it */
    until_held(2 * ((size_t)n + sizeof body));
    for (size_t i = 0; i < 2; i++) {
        PUT(fds[i], "x");
        get_all(fds[i], got, sizeof got);
        ck_assert(strstr(got, "|500001|"));
    }
    finish();
}
END_TEST

START_TEST(test_stop)
{
    begin(NULL);
    static const char never[] = "GET /never HTTP/1.1\r\nHost: a\r\n\r\n";
    char url[64];
    int asked = dial(), half = dial(), idle = dial();
    put(asked, never, sizeof never - 1);
    PUT(half, "GET /");
    while (t.wanted_count < 1)
        turn();
    snprintf(url, sizeof url, "http://127.0.0.1:%d/never", t.port);
    struct kos_http_message get = { .size = sizeof get, .method = "GET", .url = url };
    t.http->fetch(t.self, 5, &get, 100, 10000);
    while (t.wanted_count < 2)
        turn();
    t.http->fetch(t.self, 6, &get, 100, 10000);
    ck_assert(poll_host_stop(t.host));
    ck_assert_int_eq(t.responses, 2);
    ck_assert_int_eq(t.response_status, KOS_E_CANCELLED);
    ssize_t n = recv(asked, got, sizeof got - 1, MSG_DONTWAIT);
    got[n > 0 ? n : 0] = '\0';
    ck_assert_msg(status_of(got) == 503, "%s", got);
    ck_assert_int_le(recv(half, got, 1, MSG_DONTWAIT), 0);
    ck_assert_int_le(recv(idle, got, 1, MSG_DONTWAIT), 0);
    close(asked);
    close(half);
    close(idle);
    uint32_t left;
    poll_host_free(t.host, &left);
    ck_assert_uint_eq(left, 0);
    for (size_t i = 0; i < t.wanted_count; i++)
        free(t.wanted[i].body);
}
END_TEST

START_TEST(test_life)
{
    /* init and fini alone; stop right after start. */
    memset(&t, 0, sizeof t);
    struct poll_host *host = poll_host_new(&kos_plugin_v1, defaults, &hooks, NULL, NULL);
    poll_host_free(host, NULL);
    host = poll_host_new(&kos_plugin_v1, defaults, &hooks, NULL, NULL);
    poll_host_start(host);
    ck_assert(poll_host_stop(host));
    poll_host_free(host, NULL);
}
END_TEST

/* ---- the client ---- */

static void fetch(const char *url, struct kos_http_message m, uint64_t body_max, uint64_t timeout_ms)
{
    int before = t.responses;
    m.size = sizeof m;
    m.url = url;
    if (!m.method)
        m.method = "GET";
    t.http->fetch(t.self, (uint64_t)before + 1, &m, body_max, timeout_ms);
    while (t.responses == before)
        turn();
    ck_assert_uint_eq(t.op, (uint64_t)before + 1);
}

#define NOTHING ((struct kos_http_message){ 0 })

START_TEST(test_fetch)
{
    char url[128];
    struct kos_http_header headers[] = { { "X-Tag", "mine" }, { "x-tag", "" } };
    begin(NULL);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/a?b", t.port);
    fetch(url, NOTHING, 1000, 5000);
    ck_assert_int_eq(t.response_status, KOS_OK);
    ck_assert_int_eq(t.http_status, 200);
    ck_assert_str_eq(t.response_body, "GET|/a?b|/|0||");
    ck_assert_str_eq(t.response_tag, "two");
    fetch(url,
          (struct kos_http_message){
              .method = "POST", .body = kos_bytes_str("hello"), .headers = headers, .header_count = 2 },
          1000, 5000);
    ck_assert_str_eq(t.response_body, "POST|/a?b|/|5|[mine][]|hello");
    static const char *const methods[] = { "PUT", "DELETE", "PATCH", "OPTIONS", "GET" };
    for (size_t i = 0; i < 5; i++) {
        char expected[64];
        fetch(url, (struct kos_http_message){ .method = methods[i], .body = kos_bytes_str("x") }, 1000, 5000);
        snprintf(expected, sizeof expected, "%s|/a?b|/|1||x", methods[i]);
        ck_assert_str_eq(t.response_body, expected);
    }
    fetch(url, (struct kos_http_message){ .method = "HEAD" }, 1000, 5000);
    ck_assert_int_eq(t.http_status, 200);
    ck_assert_uint_eq(t.response_len, 0);
    snprintf(url, sizeof url, "http://localhost:%d/a", t.port);
    fetch(url, NOTHING, 1000, 5000);
    ck_assert_str_eq(t.response_body, "GET|/a|/|0||");
    t.http->unserve(t.self, "/");
    fetch(url, NOTHING, 1000, 5000); /* any HTTP status is an answer */
    ck_assert_int_eq(t.response_status, KOS_OK);
    ck_assert_int_eq(t.http_status, 404);
    finish();
}
END_TEST

START_TEST(test_fetch_fails)
{
    char url[128];
    struct kos_http_header split = { "x", "a\r\nb: c" }, length = { "content-length", "3" };
    static const char *const bad[] = {
        "", "a", "ftp://127.0.0.1/", "file:///etc/passwd", "http://", "gopher://a/", "http://user:x@127.0.0.1/",
        "http://user@127.0.0.1/", "http://a b/", "http://\xc3\xa4/", "javascript:1", "http://127.0.0.1:99999/",
    };
    begin(NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fetch(bad[i], NOTHING, 100, 5000);
        ck_assert_msg(t.response_status == KOS_E_INVALID, "%s: %d %s", bad[i], t.response_status, t.response_text);
        ck_assert(t.response_text[0]);
    }
    snprintf(url, sizeof url, "http://127.0.0.1:%d/big", t.port);
    fetch(url, NOTHING, 1000, 5000);
    ck_assert_int_eq(t.response_status, KOS_E_LIMIT);
    fetch(url, (struct kos_http_message){ .headers = &split, .header_count = 1 }, 1000, 5000);
    ck_assert_int_eq(t.response_status, KOS_E_INVALID);
    fetch(url, (struct kos_http_message){ .headers = &length, .header_count = 1 }, 1000, 5000);
    ck_assert_int_eq(t.response_status, KOS_E_INVALID);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/never", t.port);
    fetch(url, NOTHING, 1000, 150);
    ck_assert_int_eq(t.response_status, KOS_E_TIMEOUT);
    fetch("http://127.0.0.1:1/", NOTHING, 1000, 5000);
    ck_assert_int_eq(t.response_status, KOS_E_UNREACHABLE);
    fetch("http://name.invalid/", NOTHING, 1000, 3000);
    ck_assert(t.response_status == KOS_E_UNREACHABLE || t.response_status == KOS_E_TIMEOUT);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", t.port);
    fetch(url, NOTHING, 1000, 5000); /* that speaks no TLS */
    ck_assert_int_eq(t.response_status, KOS_E_UNREACHABLE);
    finish();
}
END_TEST

START_TEST(test_fetch_private)
{
    static const char *const closed[] = { "listen=127.0.0.1:0", NULL };
    char url[128];
    begin(closed);
    static const char *const names[] = { "127.0.0.1",          "localhost", "127.1",     "0x7f000001",
                                         "[::ffff:127.0.0.1]", "0.0.0.0",   "2130706433" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(url, sizeof url, "http://%s:%d/a", names[i], t.port);
        fetch(url, NOTHING, 1000, 5000);
        ck_assert_msg(t.response_status == KOS_E_DENIED, "%s: %d %s", url, t.response_status, t.response_text);
        ck_assert(strstr(t.response_text, "fetch_private"));
    }
    ck_assert(strstr(report(), "\"served\":0,"));
    finish();
}
END_TEST

START_TEST(test_fetch_order_cancel)
{
    char never[128], quick[128];
    static const char *const tight[] = { "listen=127.0.0.1:0", "fetch_private=true", "fetches_waiting=3", NULL };
    begin(tight);
    snprintf(never, sizeof never, "http://127.0.0.1:%d/never", t.port);
    snprintf(quick, sizeof quick, "http://127.0.0.1:%d/a", t.port);
    struct kos_http_message slow = { .size = sizeof slow, .method = "GET", .url = never };
    struct kos_http_message fast = { .size = sizeof fast, .method = "GET", .url = quick };
    t.http->fetch(t.self, 11, &slow, 100, 60000);
    t.http->fetch(t.self, 12, &slow, 100, 60000);
    t.http->fetch(t.self, 13, &fast, 100, 60000);
    t.http->fetch(t.self, 14, &fast, 100, 60000); /* one too many */
    ck_assert_int_eq(t.responses, 0);
    while (t.responses < 2)
        turn();
    ck_assert_uint_eq(t.order[0], 14);
    ck_assert_uint_eq(t.order[1], 13);
    ck_assert_int_eq(t.http_status, 200);
    t.http->cancel(t.self, 12);
    t.http->cancel(t.self, 13);
    t.http->cancel(t.self, 99);
    while (t.responses < 3)
        turn();
    ck_assert_uint_eq(t.order[2], 12);
    ck_assert_int_eq(t.response_status, KOS_E_CANCELLED);
    while (t.wanted_count < 2)
        turn();
    answer(t.wanted[0].id, 200, NULL, 0, "at last", 7);
    answer(t.wanted[1].id, 200, NULL, 0, "at last", 7);
    while (t.responses < 4)
        turn();
    ck_assert_uint_eq(t.order[3], 11);
    ck_assert_str_eq(t.response_body, "at last");
    finish();
    ck_assert_int_eq(t.responses, 4);
}
END_TEST

TESTS("plugins/service/http", test_methods, test_keep_alive, test_routes, test_hostile, test_mutated, test_users,
      test_slow, test_full, test_memory, test_stop, test_life, test_fetch, test_fetch_fails, test_fetch_private,
      test_fetch_order_cancel)
