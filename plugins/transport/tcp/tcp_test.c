/* SPDX-License-Identifier: Apache-2.0
 * The TCP transport under the small host of sdk/examples: one instance that listens and dials itself on loopback. */
#include "unit.h"
#include "../../../sdk/examples/poll_host.h"

#include <kos/transport.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINKS = 16, PATTERN = 10 << 20 };

struct seen_link {
    uint64_t id, endpoint, credit, received, window;
    bool up;
    int downs;
    int32_t status;
    char text[256], local[96], remote[96];
    uint8_t *bytes; /* what was received, PATTERN at most */
};
static struct {
    struct poll_host *host;
    struct seen_link links[LINKS];
    size_t count;
    uint64_t endpoint;
    char address[96], log[512], endpoint_text[256];
    int32_t endpoint_status;
    int endpoint_downs, endpoint_ups;
    bool keep;
} t;

static struct seen_link *seen(uint64_t id)
{
    for (size_t i = 0; i < t.count; i++)
        if (t.links[i].id == id)
            return &t.links[i];
    ck_assert_uint_lt(t.count, LINKS);
    t.links[t.count].id = id;
    return &t.links[t.count++];
}

static void endpoint_up(const struct kos_host *host, uint64_t endpoint, const char *address)
{
    (void)host;
    t.endpoint = endpoint;
    t.endpoint_ups++;
    snprintf(t.address, sizeof t.address, "%s", address);
}
static void endpoint_down(const struct kos_host *host, uint64_t endpoint, int32_t status, const char *text)
{
    (void)host;
    (void)endpoint;
    t.endpoint_downs++;
    t.endpoint_status = status;
    snprintf(t.endpoint_text, sizeof t.endpoint_text, "%s", text);
}
static void link_up(const struct kos_host *host, uint64_t link, uint64_t endpoint, const struct kos_link_info *info)
{
    (void)host;
    struct seen_link *l = seen(link);
    ck_assert(!l->up && l->downs == 0);
    l->up = true;
    l->endpoint = endpoint;
    l->credit = l->window = info->send_window_bytes;
    snprintf(l->local, sizeof l->local, "%s", info->local);
    snprintf(l->remote, sizeof l->remote, "%s", info->remote);
    ck_assert_uint_eq(info->flags, KOS_LINK_STREAM | KOS_LINK_RELIABLE | KOS_LINK_ORDERED);
    ck_assert_uint_eq(info->mtu_bytes, 0);
}
static void link_received(const struct kos_host *host, uint64_t link, struct kos_bytes bytes)
{
    (void)host;
    struct seen_link *l = seen(link);
    ck_assert(l->up && l->downs == 0);
    ck_assert_uint_le(l->received + bytes.len, PATTERN);
    if (!l->bytes)
        l->bytes = malloc(PATTERN);
    memcpy(l->bytes + l->received, bytes.data, bytes.len);
    l->received += bytes.len;
}
static void link_credit(const struct kos_host *host, uint64_t link, uint64_t bytes)
{
    (void)host;
    struct seen_link *l = seen(link);
    ck_assert(l->up && l->downs == 0);
    l->credit += bytes;
    ck_assert_uint_le(l->credit, l->window);
}
static void link_down(const struct kos_host *host, uint64_t link, int32_t status, const char *text)
{
    (void)host;
    struct seen_link *l = seen(link);
    l->downs++;
    ck_assert_int_eq(l->downs, 1);
    l->status = status;
    snprintf(l->text, sizeof l->text, "%s", text);
}

static const struct kos_transport_host events = { sizeof events, endpoint_up, endpoint_down, link_up,
                                                  link_received, link_credit, link_down };

static const void *feature(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, KOS_TRANSPORT_HOST) == 0 ? &events : NULL;
}
static void log_line(void *arg, int32_t level, const char *text)
{
    (void)arg;
    (void)level;
    snprintf(t.log, sizeof t.log, "%s", text);
}
static const struct poll_host_hooks hooks = { .feature = feature, .log = log_line };

static const struct kos_transport *tcp(void)
{
    return kos_plugin_v1.features[0]->table;
}

static void begin(const char *const *settings)
{
    struct kos_error error = { 0 };
    memset(&t, 0, sizeof t);
    t.host = poll_host_new(&kos_plugin_v1, settings, &hooks, NULL, &error);
    ck_assert_msg(t.host != NULL, "%s", error.text);
    poll_host_start(t.host);
}

static void finish(void)
{
    uint32_t left;
    ck_assert(poll_host_stop(t.host));
    poll_host_free(t.host, &left);
    ck_assert_uint_eq(left, 0);
    for (size_t i = 0; i < t.count; i++) {
        ck_assert_int_eq(t.links[i].downs, 1);
        free(t.links[i].bytes);
    }
}

#define UNTIL(condition_)                                                            \
    do {                                                                             \
        for (int n_ = 0; !(condition_); n_++) {                                      \
            ck_assert_msg(n_ < 20000, "nothing more happens before %s", #condition_); \
            poll_host_run(t.host, 10);                                               \
        }                                                                            \
    } while (0)

static void listen_at(const char *address)
{
    t.endpoint_ups = t.endpoint_downs = 0;
    tcp()->listen(poll_host_self(t.host), 2, address);
    UNTIL(t.endpoint_ups + t.endpoint_downs > 0);
}

static struct seen_link *accepted(void)
{
    for (size_t i = 0; i < t.count; i++)
        if (t.links[i].endpoint == 2 && t.links[i].up && !t.links[i].downs)
            return &t.links[i];
    return NULL;
}

/* Dials the own endpoint; both ends are up after it. */
static void pair_up(uint64_t id, struct seen_link **ret_dialled, struct seen_link **ret_accepted)
{
    tcp()->dial(poll_host_self(t.host), id, t.address);
    UNTIL(seen(id)->up && accepted());
    *ret_dialled = seen(id);
    *ret_accepted = accepted();
    ck_assert_uint_eq((*ret_accepted)->id & 1, 1);
}

static void grant(struct seen_link *l, uint64_t bytes)
{
    tcp()->link_credit(poll_host_self(t.host), l->id, bytes);
}

/* Sends as much of pattern[from..to) as the credit allows, in pieces of odd sizes. Returns where it got to. */
static size_t push(struct seen_link *l, const uint8_t *pattern, size_t from, size_t to)
{
    while (from < to && l->credit > 0 && !l->downs) {
        struct kos_bytes pieces[3];
        uint32_t count = 0;
        for (size_t size = 17; count < 3; count++, size *= 60) {
            size_t n = size < to - from ? size : to - from;
            n = n < l->credit ? n : (size_t)l->credit;
            pieces[count] = kos_bytes(pattern + from, n);
            from += n;
            l->credit -= n;
        }
        tcp()->send(poll_host_self(t.host), l->id, pieces, count);
    }
    return from;
}

static uint8_t *make_pattern(void)
{
    uint8_t *p = malloc(PATTERN);
    uint32_t x = 1;
    for (size_t i = 0; i < PATTERN; i++) {
        x = x * 1664525u + 1013904223u;
        p[i] = (uint8_t)(x >> 24);
    }
    return p;
}

START_TEST(test_connects)
{
    struct seen_link *a, *b;
    begin(NULL);
    listen_at("tcp://127.0.0.1:0");
    ck_assert_int_eq(t.endpoint_ups, 1);
    ck_assert(strncmp(t.address, "tcp://127.0.0.1:", 16) == 0 && strcmp(t.address + 16, "0") != 0);
    pair_up(4, &a, &b);
    ck_assert_str_eq(a->remote, t.address);
    ck_assert_str_eq(b->local, t.address);
    ck_assert_str_eq(a->local, b->remote);
    ck_assert_uint_eq(a->window, 256 << 10);
    finish();
    ck_assert_int_eq(t.endpoint_downs, 1);
}
END_TEST

START_TEST(test_connects_v6)
{
    struct seen_link *a, *b;
    begin(NULL);
    listen_at("tcp://[::1]:0");
    if (t.endpoint_downs) {
        ck_assert_msg(t.endpoint_status != KOS_E_INVALID, "%s", t.endpoint_text);
    } else {
        ck_assert(strncmp(t.address, "tcp://[::1]:", 12) == 0);
        pair_up(4, &a, &b);
        ck_assert_str_eq(a->remote, t.address);
    }
    finish();
}
END_TEST

/* 10 MiB there and back; both sides have small, uneven credit all the way. */
START_TEST(test_echo)
{
    struct seen_link *a, *b;
    uint8_t *pattern = make_pattern();
    uint64_t granted[2] = { 0, 0 };
    size_t sent = 0, echoed = 0;
    begin((const char *const[]){ "send_buffer=128K", NULL });
    listen_at("tcp://127.0.0.1:0");
    pair_up(4, &a, &b);
    for (int n = 0; a->received < PATTERN; n++) {
        ck_assert_int_lt(n, 200000);
        if (granted[0] == a->received)
            granted[0] += 70001, grant(a, 70001);
        if (granted[1] == b->received)
            granted[1] += 33333, grant(b, 33333);
        ck_assert_uint_le(a->received, granted[0]);
        ck_assert_uint_le(b->received, granted[1]);
        sent = push(a, pattern, sent, PATTERN);
        echoed = push(b, b->bytes, echoed, b->received);
        poll_host_run(t.host, 10);
    }
    ck_assert_uint_eq(b->received, PATTERN);
    ck_assert(memcmp(a->bytes, pattern, PATTERN) == 0);
    ck_assert(memcmp(b->bytes, pattern, PATTERN) == 0);
    finish();
    free(pattern);
}
END_TEST

START_TEST(test_no_credit_no_bytes)
{
    struct seen_link *a, *b;
    begin(NULL);
    listen_at("tcp://127.0.0.1:0");
    pair_up(4, &a, &b);
    push(a, (const uint8_t *)"hello", 0, 5);
    for (int i = 0; i < 20; i++)
        poll_host_run(t.host, 1);
    ck_assert_uint_eq(b->received, 0);
    grant(b, 3);
    UNTIL(b->received == 3);
    grant(b, 1000);
    UNTIL(b->received == 5);
    ck_assert(memcmp(b->bytes, "hello", 5) == 0);
    finish();
}
END_TEST

/* order: bit 0 who closes (dialled, accepted), bit 1 with flush; 4: both with flush, 5: both without. */
static void close_in_order(int order)
{
    struct seen_link *a, *b;
    uint8_t *pattern = make_pattern();
    begin(NULL);
    listen_at("tcp://127.0.0.1:0");
    pair_up(4, &a, &b);
    struct seen_link *one = order & 1 && order < 4 ? b : a, *other = one == a ? b : a;
    bool flush = order < 4 ? order & 2 : order == 4, both = order >= 4;
    size_t sent = push(one, pattern, 0, PATTERN);
    ck_assert_uint_ge(sent, one->window);
    tcp()->link_close(poll_host_self(t.host), one->id, flush);
    tcp()->link_close(poll_host_self(t.host), one->id, flush); /* again: ignored */
    if (both)
        tcp()->link_close(poll_host_self(t.host), other->id, flush);
    else
        grant(other, PATTERN);
    UNTIL(one->downs && other->downs);
    ck_assert_int_eq(one->status, KOS_OK);
    if (flush && !both) {
        ck_assert_uint_eq(other->received, sent);
        ck_assert(memcmp(other->bytes, pattern, sent) == 0);
        ck_assert_str_eq(other->text, "the other side closed the connection");
    }
    ck_assert_int_eq(other->status, both ? KOS_OK : KOS_E_CLOSED);
    /* A link that is down: all calls are ignored. */
    tcp()->send(poll_host_self(t.host), one->id, &(struct kos_bytes){ pattern, 5 }, 1);
    grant(one, 5);
    tcp()->link_close(poll_host_self(t.host), one->id, 1);
    poll_host_run(t.host, 1);
    finish();
    free(pattern);
}

START_TEST(test_close)
{
    for (int order = 0; order < 6; order++)
        close_in_order(order);
}
END_TEST

/* The other side takes nothing: flushing ends after its 2 s. */
START_TEST(test_flush_gives_up)
{
    struct seen_link *a, *b;
    uint8_t *pattern = make_pattern();
    size_t sent = 0;
    begin(NULL);
    listen_at("tcp://127.0.0.1:0");
    pair_up(4, &a, &b);
    for (int quiet = 0; quiet < 20; quiet++) {
        size_t before = sent;
        sent = push(a, pattern, sent, PATTERN);
        poll_host_run(t.host, 1);
        quiet = sent > before ? 0 : quiet;
    }
    tcp()->link_close(poll_host_self(t.host), a->id, 1);
    ck_assert_int_eq(a->downs, 0);
    UNTIL(a->downs);
    ck_assert_int_eq(a->status, KOS_OK);
    finish();
    free(pattern);
}
END_TEST

START_TEST(test_refused)
{
    begin(NULL);
    listen_at("tcp://127.0.0.1:0");
    tcp()->endpoint_close(poll_host_self(t.host), 2);
    UNTIL(t.endpoint_downs);
    ck_assert_int_eq(t.endpoint_status, KOS_OK);
    tcp()->dial(poll_host_self(t.host), 4, t.address);
    UNTIL(seen(4)->downs);
    ck_assert_int_eq(seen(4)->status, KOS_E_UNREACHABLE);
    ck_assert_str_ne(seen(4)->text, "");
    finish();
}
END_TEST

START_TEST(test_address_in_use)
{
    char address[96];
    begin(NULL);
    listen_at("tcp://127.0.0.1:0");
    snprintf(address, sizeof address, "%s", t.address);
    t.endpoint_ups = 0;
    tcp()->listen(poll_host_self(t.host), 6, address);
    UNTIL(t.endpoint_downs);
    ck_assert_int_eq(t.endpoint_ups, 0);
    ck_assert_int_eq(t.endpoint_status, KOS_E_ADDRESS_USED);
    finish();
}
END_TEST

START_TEST(test_bad_addresses)
{
    static const char *const bad[] = { "",
                                       "tcp://",
                                       "tcp://:80",
                                       "udp://127.0.0.1:1",
                                       "tcp://127.0.0.1",
                                       "tcp://127.0.0.1:",
                                       "tcp://127.0.0.1:65536",
                                       "tcp://127.0.0.1:-1",
                                       "tcp://127.0.0.1:1/x",
                                       "tcp://[::1:80",
                                       "tcp://[::1]x:80",
                                       "tcp://a b:80",
                                       "tcp://127.0.0.1:8x" };
    begin(NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        t.count = 0;
        memset(t.links, 0, sizeof t.links);
        tcp()->dial(poll_host_self(t.host), 4, bad[i]);
        UNTIL(seen(4)->downs);
        ck_assert_int_eq(seen(4)->status, KOS_E_INVALID);
        t.endpoint_downs = 0;
        tcp()->listen(poll_host_self(t.host), 2, bad[i]);
        UNTIL(t.endpoint_downs);
        ck_assert_int_eq(t.endpoint_status, KOS_E_INVALID);
    }
    finish();
}
END_TEST

START_TEST(test_given_up_while_opening)
{
    begin(NULL);
    listen_at("tcp://127.0.0.1:0");
    tcp()->dial(poll_host_self(t.host), 4, t.address);
    tcp()->link_close(poll_host_self(t.host), 4, 1);
    UNTIL(seen(4)->downs);
    ck_assert_int_eq(seen(4)->status, KOS_E_CANCELLED);
    /* And a stop in the same state, with an endpoint not yet open. */
    tcp()->dial(poll_host_self(t.host), 6, t.address);
    seen(6);
    tcp()->listen(poll_host_self(t.host), 8, "tcp://127.0.0.1:0");
    finish();
    ck_assert_int_eq(t.endpoint_downs, 2);
}
END_TEST

START_TEST(test_over_the_window)
{
    struct seen_link *a, *b;
    uint8_t *pattern = make_pattern();
    begin((const char *const[]){ "send_buffer=128K", NULL });
    listen_at("tcp://127.0.0.1:0");
    pair_up(4, &a, &b);
    struct kos_bytes all = kos_bytes(pattern, PATTERN);
    tcp()->send(poll_host_self(t.host), a->id, &all, 1);
    UNTIL(a->downs);
    ck_assert_int_eq(a->status, KOS_E_LIMIT);
    finish();
    free(pattern);
}
END_TEST

/* With all links in use accepting rests, and goes on when one is free again. */
START_TEST(test_link_limit)
{
    struct seen_link *a, *b;
    begin((const char *const[]){ "links=2", NULL });
    listen_at("tcp://127.0.0.1:0");
    pair_up(4, &a, &b);
    tcp()->dial(poll_host_self(t.host), 6, t.address);
    UNTIL(seen(6)->downs);
    ck_assert_int_eq(seen(6)->status, KOS_E_LIMIT);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)atoi(strrchr(t.address, ':') + 1)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    UNTIL(t.log[0]);
    ck_assert(strstr(t.log, "setting links") != NULL);
    tcp()->link_close(poll_host_self(t.host), 4, 0);
    grant(b, 1);
    UNTIL(a->downs && b->downs && accepted());
    close(fd);
    grant(accepted(), 1);
    UNTIL(!accepted());
    finish();
}
END_TEST

TESTS("transport/tcp", test_connects, test_connects_v6, test_echo, test_no_credit_no_bytes, test_close,
      test_flush_gives_up, test_refused, test_address_in_use, test_bad_addresses, test_given_up_while_opening,
      test_over_the_window, test_link_limit)
