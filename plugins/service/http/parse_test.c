/* SPDX-License-Identifier: Apache-2.0
 * What comes from strangers, as bytes: requests, paths, addresses, header values. */
#include "unit.h"
#include "http.h"

#include <arpa/inet.h>

enum { HEAD_MAX = 2048, BODY_MAX = 1000 };
#define GUARD_DONE 18 /* the last of guard.c's states */

/* The verdict on bytes given at once; -1: not whole yet. Byte by byte it must be the same. */
static int verdict(const char *data, size_t len, bool *ret_extra)
{
    struct http_guard at_once, by_byte;
    int last = 0;
    http_guard_begin(&at_once, HEAD_MAX, BODY_MAX);
    http_guard_begin(&by_byte, HEAD_MAX, BODY_MAX);
    int status = http_guard_feed(&at_once, (const uint8_t *)data, len);
    for (size_t i = 0; i < len && !last; i++)
        last = http_guard_feed(&by_byte, (const uint8_t *)data + i, 1);
    ck_assert_int_eq(status, last);
    if (ret_extra)
        *ret_extra = at_once.extra;
    return status ? status : at_once.state == GUARD_DONE ? 0 : -1;
}

#define V(text_) verdict(text_, sizeof(text_) - 1, NULL)
#define H "Host: a\r\n"

START_TEST(test_guard_good)
{
    bool extra;
    static const char two[] = "GET / HTTP/1.1\r\n" H "\r\nGET / HTTP/1.1\r\n";
    ck_assert_int_eq(V("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
    ck_assert_int_eq(V("GET / HTTP/1.0\r\n\r\n"), 0);
    ck_assert_int_eq(V("POST /a?b HTTP/1.1\r\nhOST:a\r\ncontent-LENGTH:\t3 \r\n\r\nabc"), 0);
    ck_assert_int_eq(V("POST /a HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nab"), -1);
    ck_assert_int_eq(
        V("POST /a HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n"), 0);
    ck_assert_int_eq(V("POST /a HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"), -1);
    ck_assert_int_eq(V("HEAD / HTTP/1.1\r\n" H "Content-Length: 0\r\nX: \xc3\xa4\r\nY:\r\n\r\n"), 0);
    ck_assert_int_eq(V("OPTIONS / HTTP/1.1\r\n" H "\r\n"), 0);
    ck_assert_int_eq(verdict(two, sizeof two - 1, &extra), 0);
    ck_assert(extra);
}
END_TEST

START_TEST(test_guard_hostile)
{
    static const struct { const char *bytes; int status; } cases[] = {
        /* smuggling: the framing said twice, or in a way read differently elsewhere */
        { "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Content-Length: -3\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Content-Length: 0x3\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Content-Length: 3 3\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Content-Length : 3\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H " Content-Length: 3\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "X: y\r\n Transfer-Encoding: chunked\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\vchunked\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
        { "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
        { "HEAD / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", 400 },
        /* chunks */
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\nabc\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", 413 },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n000000000000000003\r\n", 400 },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 3\r\n\r\n", 400 },
        /* lines */
        { "GET / HTTP/1.1\n" H "\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: a\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: a\r\n\n", 400 },
        { "\r\nGET / HTTP/1.1\r\n" H "\r\n", 400 },
        { "GET  / HTTP/1.1\r\n" H "\r\n", 400 },
        { "GET /\r\n\r\n", 400 },
        { "GET / \r\n\r\n", 400 },
        { "GET /a b HTTP/1.1\r\n" H "\r\n", 400 },
        { "GET /\x7f HTTP/1.1\r\n" H "\r\n", 400 },
        { "GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n", 400 },
        { "GET / HTTP/1.2\r\n" H "\r\n", 505 },
        { "GET / HTTP/2.0\r\n" H "\r\n", 505 },
        { "GET / http/1.1\r\n" H "\r\n", 400 },
        { "GET / HTTP/1.1 \r\n" H "\r\n", 400 },
        { "TRACE / HTTP/1.1\r\n" H "\r\n", 501 },
        { "CONNECT a:1 HTTP/1.1\r\n" H "\r\n", 501 },
        { "get / HTTP/1.1\r\n" H "\r\n", 501 },
        { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 501 },
        { "\x16\x03\x01\x02", 400 },
        /* headers */
        { "GET / HTTP/1.1\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H H "\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H ": x\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H "nocolon\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H "X(y): x\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H "X: a\x01" "b\r\n\r\n", 400 },
        /* sizes */
        { "POST / HTTP/1.1\r\n" H "Content-Length: 1001\r\n\r\n", 413 },
        { "POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551617\r\n\r\n", 413 },
        { "POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999999999999999999999\r\n\r\n", 413 },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3e9\r\n", 413 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_msg(verdict(cases[i].bytes, strlen(cases[i].bytes), NULL) == cases[i].status, "%s: %d",
                      cases[i].bytes, verdict(cases[i].bytes, strlen(cases[i].bytes), NULL));
    ck_assert_int_eq(V("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"), 400);
    ck_assert_int_eq(V("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}
END_TEST

START_TEST(test_guard_long)
{
    char head[4096];
    int n = snprintf(head, sizeof head, "GET /%0*d", HEAD_MAX, 0);
    ck_assert_int_eq(verdict(head, (size_t)n, NULL), 414);
    n = snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: a\r\nX: %0*d", HEAD_MAX, 0);
    ck_assert_int_eq(verdict(head, (size_t)n, NULL), 431);
    n = snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < HTTP_HEADERS_MAX; i++)
        n += snprintf(head + n, sizeof head - (size_t)n, "a:b\r\n");
    ck_assert_int_eq(verdict(head, (size_t)n, NULL), 431);
    /* The limits themselves are allowed. */
    n = snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < HTTP_HEADERS_MAX - 1; i++)
        n += snprintf(head + n, sizeof head - (size_t)n, "a:b\r\n");
    n += snprintf(head + n, sizeof head - (size_t)n, "\r\n");
    ck_assert_int_eq(verdict(head, (size_t)n, NULL), 0);
    n = snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%0*d", BODY_MAX, BODY_MAX,
                 0);
    ck_assert_int_eq(verdict(head, (size_t)n, NULL), 0);
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Mutations of good requests: the verdict never depends on how the bytes arrive, and nothing is read beyond them. */
START_TEST(test_guard_mutated)
{
    static const char *const seeds[] = {
        "POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
        ("PUT /c HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n"
         "5\r\nhello\r\n1f\r\n0123456789012345678901234567890\r\n0\r\n\r\n"),
        "GET /%7Ea HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    };
    static const char alphabet[] = "\r\n\0 :;,0aF\t-+x\x80/HTP";
    uint32_t state = 1;
    for (int round = 0; round < 60000; round++) {
        char bytes[256];
        const char *seed = seeds[next_random(&state) % 3];
        size_t len = strlen(seed), at;
        memcpy(bytes, seed, len);
        for (uint32_t n = next_random(&state) % 4 + 1; n > 0 && len > 1; n--) {
            at = next_random(&state) % len;
            switch (next_random(&state) % 3) {
            case 0: bytes[at] = alphabet[next_random(&state) % (sizeof alphabet - 1)]; break;
            case 1: memmove(bytes + at, bytes + at + 1, --len - at); break;
            default:
                if (len < sizeof bytes) {
                    memmove(bytes + at + 1, bytes + at, len++ - at);
                    bytes[at] = alphabet[next_random(&state) % (sizeof alphabet - 1)];
                }
            }
        }
        char *exact = malloc(len); /* so that a sanitizer sees a byte too many */
        memcpy(exact, bytes, len);
        int status = verdict(exact, len, NULL);
        free(exact);
        ck_assert(status == -1 || status == 0 || (status >= 400 && status <= 505));
    }
}
END_TEST

START_TEST(test_target)
{
    static const struct { const char *raw, *normal; } cases[] = {
        { "/", "/" }, { "/a/b", "/a/b" }, { "/a?b=/../c%2e", "/a?b=/../c." }, { "/%7euser/%41", "/~user/A" },
        { "/a%2fb", "/a%2Fb" }, { "/...", "/..." }, { "/a..b/.c", "/a..b/.c" }, { "/%21%c3%a4", "/%21%C3%A4" },
        { "/a%252e%252e/b", "/a%252e%252e/b" }, { "//a", "//a" }, { "/a?b?c\\", "/a?b?c\\" },
    };
    static const char *const bad[] = {
        "", "a", "*", "http://a/b", "/..", "/../a", "/a/..", "/a/../b", "/.", "/./a", "/a/.", "/%2e%2e", "/.%2E/a",
        "/a/%2e", "/a%2f..%2fb", "/a%2F%2e%2e", "/a\\..\\b", "/a%5c..%5Cb", "/%00", "/a%0d%0ab", "/%7f", "/%1F", "/%",
        "/%4", "/%4g", "/%g4", "/a b", "/a\tb", "/a#b", "/\xc3\xa4", "/a?\x01", "/..?a", "/a?%00",
    };
    char normal[300];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_int_eq(http_target(cases[i].raw, normal, sizeof normal), 0);
        ck_assert_str_eq(normal, cases[i].normal);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(http_target(bad[i], normal, sizeof normal) == 400, "%s", bad[i]);
    ck_assert_int_eq(http_target("/abcdefgh", normal, 8), 414);
}
END_TEST

START_TEST(test_prefix)
{
    char why[HTTP_WHY], longest[HTTP_PREFIX_MAX + 2];
    static const char *const good[] = { "/", "/a", "/a/", "/.well-known/webfinger", "/%C3%A4" };
    static const char *const bad[] = { "", "a", "/..", "/a/../b", "/a?b", "/%41", "/%c3", "/a b", "/a\"b", "/a\n" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(http_prefix_valid(good[i], why, sizeof why), "%s: %s", good[i], why);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!http_prefix_valid(bad[i], why, sizeof why), "%s", bad[i]);
    memset(longest, 'a', sizeof longest);
    longest[0] = '/';
    longest[HTTP_PREFIX_MAX] = '\0';
    ck_assert(http_prefix_valid(longest, why, sizeof why));
    longest[HTTP_PREFIX_MAX] = 'a';
    longest[HTTP_PREFIX_MAX + 1] = '\0';
    ck_assert(!http_prefix_valid(longest, why, sizeof why));
    ck_assert(http_prefix_fits("/", "/a"));
    ck_assert(http_prefix_fits("/a", "/a"));
    ck_assert(http_prefix_fits("/a", "/a/b"));
    ck_assert(http_prefix_fits("/a", "/a?b"));
    ck_assert(!http_prefix_fits("/a", "/ab"));
    ck_assert(http_prefix_fits("/a/", "/a/"));
    ck_assert(http_prefix_fits("/a/", "/a/b"));
    ck_assert(!http_prefix_fits("/a/", "/a"));
}
END_TEST

static bool is_private(const char *text)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return http_address_private((struct sockaddr *)&v4);
    ck_assert_int_eq(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return http_address_private((struct sockaddr *)&v6);
}

START_TEST(test_address)
{
    static const char *const inside[] = {
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "2002:7f00:1::",
        "2001::1",
        "2001:db8::1",
        "::127.0.0.1",
        "fec0::1",
    };
    static const char *const outside[] = {
        "1.1.1.1",    "9.255.255.255", "11.0.0.0",       "100.63.255.255",   "100.128.0.0",
        "172.15.0.1", "172.32.0.1",    "193.0.0.1",      "223.255.255.255",  "2606:4700::1",
        "2a00::1",    "2001:4860::1",  "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::",
    };
    struct sockaddr local = { .sa_family = AF_UNIX };
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
        ck_assert_msg(is_private(inside[i]), "%s", inside[i]);
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        ck_assert_msg(!is_private(outside[i]), "%s", outside[i]);
    ck_assert(http_address_private(&local));
}
END_TEST

static bool accepted(struct kos_http_message m, bool request)
{
    struct kos_http_message copy;
    char why[HTTP_WHY] = "";
    bool ok = http_message_check(&m, request, &copy, why, sizeof why);
    ck_assert(ok == (why[0] == '\0'));
    return ok;
}

START_TEST(test_message)
{
    struct kos_http_header one[2] = { { "x-a", "b" }, { "X-B", "\xe4 \xc3\xa4" } };
    struct kos_http_message m = { .size = sizeof m, .status = 200, .headers = one, .header_count = 2 };
    static const char *const names[] = { "",           "a b",     "a:", "a\r\nb", "content-length", "Transfer-Encoding",
                                         "connection", "\xc3\xa4" };
    static const char *const values[] = { "a\r\nb: c", "a\nb", "a\rb", "a\x01", "a\x7f" };
    ck_assert(accepted(m, false));
    struct http_parcel *p = http_parcel_new(&m);
    ck_assert_str_eq(p->message.headers[1].name, "x-b");
    ck_assert_str_eq(p->message.headers[1].value, "\xc3\xa4 \xc3\x83\xc2\xa4");
    free(p);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        one[0].name = names[i];
        ck_assert_msg(!accepted(m, false), "%s", names[i]);
    }
    one[0].name = NULL;
    ck_assert(!accepted(m, false));
    one[0].name = "x-a";
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        one[0].value = values[i];
        ck_assert_msg(!accepted(m, false), "%s", values[i]);
    }
    one[0].value = NULL;
    ck_assert(!accepted(m, false));
    m.header_count = 0;
    m.status = 199;
    ck_assert(!accepted(m, false));
    m.status = 600;
    ck_assert(!accepted(m, false));
    m.header_count = HTTP_HEADERS_MAX + 1;
    m.status = 200;
    ck_assert(!accepted(m, false));
    struct kos_http_message get = { .size = sizeof get, .method = "GET", .url = "http://a/" };
    ck_assert(accepted(get, true));
    get.method = "GE T";
    ck_assert(!accepted(get, true));
    get.method = "CONNECT";
    ck_assert(!accepted(get, true));
    get.method = NULL;
    ck_assert(!accepted(get, true));
    get.method = "GET";
    get.url = NULL;
    ck_assert(!accepted(get, true));
    /* An older minor: what is not there is zero. */
    m.size = offsetof(struct kos_http_message, headers);
    ck_assert(accepted(m, false));
}
END_TEST

TESTS("plugins/service/http/parse", test_guard_good, test_guard_hostile, test_guard_long, test_guard_mutated,
      test_target, test_prefix, test_address, test_message)
