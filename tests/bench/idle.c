/* SPDX-License-Identifier: Apache-2.0
 *
 * Peers that are there and say nothing: thousands of genuine sessions with one kosd, each under an identity of its own,
 * over libklp. They answer pings, as an idle kosd would.
 *
 *   idle HOST PORT FROM-ADDRESS      a number on a line of stdin: so many sessions shall be up; "up N LOST" when they are
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <klp/frame.h>
#include <klp/noise.h>

enum { SHAKING_MAX = 12, EVENTS = 64 };

struct guest {
    int fd;
    bool up;
    struct klp_noise *noise;
    struct klp_record *send, *receive;
    struct klp_log *log;
    struct klp_secret secret;
    uint8_t fixed[32];
    uint8_t *in;            /* bytes of a record that is not whole yet */
    size_t len;
};

struct guests {
    struct sockaddr_in to, from;
    int epoll;
    unsigned long wanted, made, up, lost;
};

static void fail(const char *what)
{
    fprintf(stderr, "idle: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void random_fill(void *self, void *out, size_t len)
{
    (void)self;
    randombytes_buf(out, len);
}
static const struct klp_random randomness = { .fill = random_fill };

static void identity(struct guest *guest)
{
    struct klp_secret next = { .alg = KLP_ALG_ED25519 };
    struct klp_event event = { .type = KLP_EVENT_INCEPTION, .kind = KLP_KIND_NODE, .created = (int64_t)time(NULL) * 1000 };
    struct klp_public key;
    struct kos_error error = { .text = "keys" };
    uint8_t entry[KLP_EVENT_MAX];
    size_t len;
    guest->secret.alg = KLP_ALG_ED25519;
    randombytes_buf(guest->secret.b, 32);
    randombytes_buf(next.b, 32);
    randombytes_buf(guest->fixed, 32);
    guest->log = klp_log_new();
    if (klp_secret_public(&guest->secret, &event.key) < 0 || klp_secret_public(&next, &key) < 0)
        fail("keys");
    klp_public_digest(&key, &event.next);
    if (klp_event_make(&event, &guest->secret, entry, sizeof entry, &len, &error) < 0 ||
        klp_log_append(guest->log, kos_bytes(entry, len), &error) < 0)
        fail(error.text);
}

/* Idle sessions send little: what the socket's buffer does not take at once is a failure. */
static void out(struct guest *guest, const uint8_t *data, size_t len)
{
    if (send(guest->fd, data, len, MSG_NOSIGNAL) != (ssize_t)len)
        fail("a connection takes no more");
}

static void frame_out(struct guest *guest, uint8_t type, struct kos_bytes payload)
{
    uint8_t frame[8192], sealed[8192 + KLP_RECORD_OVERHEAD];
    int32_t n = klp_frame_put(frame, sizeof frame, type, KLP_CLASS_CONTROL, false, payload);
    if (n < 0 || klp_record_seal(guest->send, kos_bytes(frame, (size_t)n), sealed) < 0)
        fail("a frame that is too long");
    out(guest, sealed, (size_t)n + KLP_RECORD_OVERHEAD);
}

static void shake_out(struct guest *guest, const char *preface, struct kos_bytes payload)
{
    uint8_t message[1024];
    size_t head = preface ? 6 : 0, len;
    if (preface)
        memcpy(message, preface, head);
    if (klp_noise_write(guest->noise, payload, message + head + 2, sizeof message - head - 2, &len) < 0)
        fail("handshake");
    message[head] = (uint8_t)(len >> 8);
    message[head + 1] = (uint8_t)len;
    out(guest, message, head + 2 + len);
}

static void begin(struct guests *guests)
{
    struct guest *guest = calloc(1, sizeof *guest);
    int one = 1;
    if (!guest)
        fail("memory");
    identity(guest);
    guest->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(guest->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(guest->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (guest->fd < 0 || bind(guest->fd, (struct sockaddr *)&guests->from, sizeof guests->from) < 0 ||
        connect(guest->fd, (struct sockaddr *)&guests->to, sizeof guests->to) < 0)
        fail("no connection");
    fcntl(guest->fd, F_SETFL, O_NONBLOCK);
    guest->noise = klp_noise_new(KLP_NOISE_XX, true, guest->fixed, NULL, randomness);
    shake_out(guest, "KLP/1\x01", kos_bytes(NULL, 0));
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = guest };
    if (epoll_ctl(guests->epoll, EPOLL_CTL_ADD, guest->fd, &event) < 0)
        fail("epoll");
    guests->made++;
}

static void greet(struct guest *guest)
{
    static const char hello[] = "{\"features\":[],\"name\":\"\",\"roles\":[\"peer\"],\"version\":\"1\"}";
    uint8_t *text;
    size_t len;
    if (klp_log_text(guest->log, 0, &text, &len) < 0)
        fail("log");
    frame_out(guest, KLP_FRAME_LOG, kos_bytes(text, len));
    free(text);
    frame_out(guest, KLP_FRAME_HELLO, kos_bytes_str(hello));
    for (uint8_t klass = 0; klass < KLP_CLASSES; klass++) {
        uint8_t credit[9] = { klass, [5] = 0x40 };
        frame_out(guest, KLP_FRAME_CREDIT, kos_bytes(credit, sizeof credit));
    }
}

static void shaken(struct guest *guest, struct kos_bytes message)
{
    uint8_t payload[1024], public[32], proof[KLP_PROOF_LEN];
    size_t len;
    if (klp_noise_read(guest->noise, message, payload, sizeof payload, &len) < 0)
        fail("the handshake's second message");
    klp_x25519_public(guest->fixed, public);
    if (klp_proof_make(guest->log, &guest->secret, public, proof) < 0)
        fail("proof");
    shake_out(guest, NULL, kos_bytes(proof, sizeof proof));
    if (klp_noise_split(guest->noise, &guest->send, &guest->receive) < 0)
        fail("split");
    klp_noise_free(guest->noise);
    guest->noise = NULL;
    greet(guest);
    klp_log_free(guest->log);
    guest->log = NULL;
}

static void record(struct guests *guests, struct guest *guest, struct kos_bytes sealed)
{
    static uint8_t plain[KLP_NOISE_MAX];
    struct klp_frame frame;
    size_t len;
    if (klp_record_open(guest->receive, sealed, plain, &len) < 0)
        fail("a record does not open");
    struct kos_bytes rest = kos_bytes(plain, len);
    while (klp_frame_next(&rest, &frame) > 0) {
        if (frame.type == KLP_FRAME_PING)
            frame_out(guest, KLP_FRAME_PONG, frame.payload);
        else if (frame.type == KLP_FRAME_CLOSE)
            fprintf(stderr, "idle: closed: %.*s\n", (int)frame.payload.len, (const char *)frame.payload.data);
        else if (frame.type == KLP_FRAME_HELLO && !guest->up)
            guest->up = true, guests->up++;
    }
}

static void gone(struct guests *guests, struct guest *guest)
{
    epoll_ctl(guests->epoll, EPOLL_CTL_DEL, guest->fd, NULL);
    close(guest->fd);
    guests->up -= guest->up;
    guests->made--;
    guests->lost++;
    klp_noise_free(guest->noise);
    klp_log_free(guest->log);
    klp_record_free(guest->send);
    klp_record_free(guest->receive);
    free(guest->in);
    free(guest);
}

static void readable(struct guests *guests, struct guest *guest)
{
    static uint8_t data[2 * (KLP_NOISE_MAX + 2)];
    size_t at = 0, have = guest->len;
    memcpy(data, guest->in, have);
    ssize_t n = recv(guest->fd, data + have, sizeof data - have, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        gone(guests, guest);
        return;
    }
    for (have += (size_t)n; have - at >= 2;) {
        size_t len = (size_t)data[at] << 8 | data[at + 1];
        if (have - at < 2 + len)
            break;
        if (guest->noise)
            shaken(guest, kos_bytes(data + at + 2, len));
        else
            record(guests, guest, kos_bytes(data + at + 2, len));
        at += 2 + len;
    }
    guest->len = have - at;
    free(guest->in);
    guest->in = guest->len ? malloc(guest->len) : NULL;
    if (guest->len)
        memcpy(guest->in, data + at, guest->len);
}

int main(int argc, char **argv)
{
    struct guests guests = { .to = { .sin_family = AF_INET }, .from = { .sin_family = AF_INET } };
    struct epoll_event events[EVENTS], input = { .events = EPOLLIN };
    struct rlimit files;
    char line[32];
    if (argc != 4 || inet_pton(AF_INET, argv[1], &guests.to.sin_addr) != 1 || inet_pton(AF_INET, argv[3], &guests.from.sin_addr) != 1)
        return fprintf(stderr, "usage: idle HOST PORT FROM-ADDRESS\n"), 2;
    guests.to.sin_port = htons((uint16_t)atoi(argv[2]));
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (sodium_init() < 0 || (guests.epoll = epoll_create1(EPOLL_CLOEXEC)) < 0 || epoll_ctl(guests.epoll, EPOLL_CTL_ADD, 0, &input) < 0)
        fail("start");
    for (;;) {
        int n = epoll_wait(guests.epoll, events, EVENTS, -1);
        unsigned long up = guests.up;
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr) {
                readable(&guests, events[i].data.ptr);
            } else {
                ssize_t len = read(0, line, sizeof line - 1);
                if (len <= 0)
                    return 0;
                line[len] = 0;
                guests.wanted = strtoul(line, NULL, 10);
                up = guests.up == guests.wanted ? 0 : up;
            }
        }
        while (guests.made < guests.wanted && guests.made - guests.up < SHAKING_MAX)
            begin(&guests);
        if (up != guests.up && guests.up == guests.wanted) {
            printf("up %lu %lu\n", guests.up, guests.lost);
            fflush(stdout);
        }
    }
}
