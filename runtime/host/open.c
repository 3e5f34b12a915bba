/* SPDX-License-Identifier: Apache-2.0
 * Opens sockets and devices for plugins: rights are checked, names are resolved by a worker, connecting never blocks,
 * and every failure is said in words. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/services.h"

enum { OPEN_MS = 10000, ATTEMPT_MS = 2000, BACKLOG = 128, ADDRESSES_MAX = 16, PLACE = 300 };
enum open_kind { OPEN_CONNECT = 1, OPEN_LISTEN, OPEN_UDP, OPEN_UDP_CONNECT, OPEN_DEVICE };

struct kos_opening {
    struct kos_work work;               /* first: resolving */
    struct kos_hosted *hosted;          /* NULL: nobody waits for it any more; freed when the worker is done */
    struct kos_env *env;
    uint64_t op;
    enum open_kind kind;
    char place[PLACE];                  /* "127.0.0.1:7450", for sentences */
    char host[256], port[8];
    bool resolving;
    int resolved;                       /* getaddrinfo's answer */
    struct addrinfo *found, *next;
    uint64_t end_ms;                    /* of the whole, kos_mono_ms */
    int fd, last_errno;
    struct kos_watch *watch;
    struct kos_timer *timer;
    UT_hash_handle hh;
};

static void try_next(struct kos_opening *o);

static bool connects(const struct kos_opening *o)
{
    return o->kind == OPEN_CONNECT || o->kind == OPEN_UDP_CONNECT;
}

static void attempt_end(struct kos_opening *o, bool close_fd)
{
    if (o->watch)
        o->env->ops->watch_free(o->watch);
    o->watch = NULL;
    kos_timer_stop(o->env, o->timer);
    if (close_fd && o->fd >= 0)
        close(o->fd);
    if (close_fd)
        o->fd = -1;
}

static void opening_free(struct kos_opening *o)
{
    attempt_end(o, true);
    kos_timer_free(o->env, o->timer);
    if (o->found)
        freeaddrinfo(o->found);
    free(o);
}

/* The plugin's answer; `o` is gone after it. */
static void answer(struct kos_opening *o, int32_t status, const char *text)
{
    struct kos_hosted *hosted = o->hosted;
    int fd = status < 0 ? -1 : o->fd;
    attempt_end(o, status < 0);
    o->fd = -1;
    HASH_DEL(hosted->openings, o);
    hosted->backend->ops->opened(hosted->backend, o->op, status, fd, text);
    o->hosted = NULL;
    if (!o->resolving)
        opening_free(o);
}

static void answer_errno(struct kos_opening *o, int error)
{
    char text[PLACE + 160];
    int32_t code = KOS_E_IO;
    switch (error) {
    case EADDRINUSE:
        code = KOS_E_ADDRESS_USED;
        snprintf(text, sizeof text, "%s is in use by another process", o->place);
        break;
    case EADDRNOTAVAIL:
        code = KOS_E_INVALID;
        snprintf(text, sizeof text, "%s is not an address of this machine", o->place);
        break;
    case EACCES: case EPERM:
        code = KOS_E_PERMISSION;
        snprintf(text, sizeof text, "this user may not open %s%s", o->place,
                 o->kind != OPEN_DEVICE && !connects(o) ? " (ports below 1024 need CAP_NET_BIND_SERVICE)" : "");
        break;
    case ECONNREFUSED:
        code = KOS_E_UNREACHABLE;
        snprintf(text, sizeof text, "nothing listens at %s (connection refused)", o->place);
        break;
    case ENETUNREACH: case EHOSTUNREACH: case ENETDOWN: case EHOSTDOWN:
        code = KOS_E_UNREACHABLE;
        snprintf(text, sizeof text, "no way leads to %s: %s", o->place, strerror(error));
        break;
    case ETIMEDOUT:
        code = KOS_E_TIMEOUT;
        snprintf(text, sizeof text, "%s did not answer within %d s", o->place, OPEN_MS / 1000);
        break;
    case ENOENT: case ENODEV: case ENXIO:
        code = KOS_E_NOTFOUND;
        snprintf(text, sizeof text, "there is no device %s", o->place);
        break;
    case EMFILE: case ENFILE: case ENOBUFS: case ENOMEM:
        code = KOS_E_LIMIT;
        snprintf(text, sizeof text, "%s cannot be opened: %s (raise LimitNOFILE)", o->place, strerror(error));
        break;
    default:
        snprintf(text, sizeof text, "%s cannot be opened: %s", o->place, strerror(error));
    }
    answer(o, code, text);
}

/* ---- sockets ---- */

/* 0 with o->fd bound (and listening), or errno. */
static int bind_one(struct kos_opening *o, const struct addrinfo *a)
{
    int one = 1;
    o->fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (o->fd < 0)
        return errno;
    if (a->ai_family == AF_INET6)
        setsockopt(o->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    /* Not SO_REUSEPORT: a second process on the port must be an error, not a share of the connections. */
    if (o->kind == OPEN_LISTEN)
        setsockopt(o->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(o->fd, a->ai_addr, a->ai_addrlen) == 0 && (o->kind == OPEN_UDP || listen(o->fd, BACKLOG) == 0))
        return 0;
    int error = errno;
    attempt_end(o, true);
    return error;
}

static void connect_ready(void *arg, int32_t events)
{
    struct kos_opening *o = arg;
    int error = 0;
    socklen_t len = sizeof error;
    (void)events;
    if (getsockopt(o->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    attempt_end(o, error != 0);
    if (!error) {
        answer(o, KOS_OK, "");
        return;
    }
    o->last_errno = error;
    try_next(o);
}

static void connect_late(void *arg)
{
    struct kos_opening *o = arg;
    attempt_end(o, true);
    o->last_errno = ETIMEDOUT;
    try_next(o);
}

/* 0: connected; EINPROGRESS: watched; else errno. */
static int connect_one(struct kos_opening *o, const struct addrinfo *a)
{
    o->fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (o->fd < 0)
        return errno;
    if (connect(o->fd, a->ai_addr, a->ai_addrlen) == 0)
        return 0;
    int error = errno;
    if (error == EINPROGRESS) {
        uint64_t now = kos_mono_ms(o->env), left = o->end_ms > now ? o->end_ms - now : 0;
        o->watch = o->env->ops->watch_new(o->env, o->fd, connect_ready, o);
        if (o->watch && o->env->ops->watch_set(o->watch, KOS_WRITABLE) >= 0) {
            /* Another address is worth trying before all time is gone. */
            kos_timer_set(o->env, o->timer, a->ai_next && left > ATTEMPT_MS ? ATTEMPT_MS : left);
            return EINPROGRESS;
        }
        error = ENOMEM;
    }
    attempt_end(o, true);
    return error;
}

static void try_next(struct kos_opening *o)
{
    while (o->next) {
        const struct addrinfo *a = o->next;
        o->next = connects(o) ? a->ai_next : NULL;
        if (kos_mono_ms(o->env) >= o->end_ms) {
            o->last_errno = ETIMEDOUT;
            break;
        }
        int error = connects(o) ? connect_one(o, a) : bind_one(o, a);
        if (error == EINPROGRESS)
            return;
        if (error == 0) {
            answer(o, KOS_OK, "");
            return;
        }
        o->last_errno = error;
    }
    answer_errno(o, o->last_errno);
}

/* ---- names ---- */

static int resolve(struct kos_opening *o, int flags)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = o->kind == OPEN_UDP || o->kind == OPEN_UDP_CONNECT ? SOCK_DGRAM : SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV | flags | (connects(o) ? 0 : AI_PASSIVE),
    };
    return getaddrinfo(o->host, o->port, &hints, &o->found);
}

static void resolve_run(struct kos_work *work)
{
    struct kos_opening *o = (struct kos_opening *)work;
    o->resolved = resolve(o, connects(o) ? AI_ADDRCONFIG : 0);
}

static void resolve_done(struct kos_work *work)
{
    struct kos_opening *o = (struct kos_opening *)work;
    o->resolving = false;
    if (!o->hosted) {
        opening_free(o);
        return;
    }
    kos_timer_stop(o->env, o->timer);
    o->next = o->found;
    if (o->resolved == 0) {
        try_next(o);
        return;
    }
    char text[PLACE + 160];
    bool again = o->resolved == EAI_AGAIN;
    snprintf(text, sizeof text, "the name in %s is not known: %s", o->place, gai_strerror(o->resolved));
    answer(o, again ? KOS_E_UNREACHABLE : KOS_E_NOTFOUND, text);
}

static void resolve_late(void *arg)
{
    struct kos_opening *o = arg;
    if (o->resolving)
        answer_errno(o, ETIMEDOUT);
    else
        connect_late(o);
}

/* ---- what a plugin asks ---- */

static const struct { const char *scheme; enum open_kind kind; uint32_t right; const char *right_name; } schemes[] = {
    { "tcp://", OPEN_CONNECT, KOS_RIGHT_CONNECT, "connect" },
    { "tcp-listen://", OPEN_LISTEN, KOS_RIGHT_LISTEN, "listen" },
    { "udp://", OPEN_UDP, KOS_RIGHT_LISTEN, "listen" },
    { "udp-connect://", OPEN_UDP_CONNECT, KOS_RIGHT_CONNECT, "connect" },
    { "device:", OPEN_DEVICE, KOS_RIGHT_DEVICE, "device" },
};

/* HOST:PORT or [V6]:PORT into its parts. */
static bool split(struct kos_opening *o, const char *rest)
{
    bool bracket = rest[0] == '[';
    const char *end = bracket ? strchr(rest, ']') : strrchr(rest, ':'), *port;
    if (!end || (bracket && end[1] != ':'))
        return false;
    port = bracket ? end + 2 : end + 1;
    size_t host_len = (size_t)(end - rest) - bracket, port_len = strlen(port);
    if (host_len == 0 || host_len >= sizeof o->host || port_len == 0 || port_len > 5 ||
        strspn(port, "0123456789") != port_len || atoi(port) > 65535)
        return false;
    if (!bracket && memchr(rest, ':', host_len))
        return false; /* IPv6 stands in brackets */
    memcpy(o->host, rest + bracket, host_len);
    o->host[host_len] = '\0';
    memcpy(o->port, port, port_len + 1);
    snprintf(o->place, sizeof o->place, "%s", rest);
    return true;
}

/* A name that holds while others come and go is a link of udev's (/dev/serial/by-id/...): links are followed within /dev. */
static void open_device(struct kos_opening *o, const char *path)
{
    struct stat st;
    char real[PATH_MAX];
    snprintf(o->place, sizeof o->place, "%.*s", PLACE - 1, path);
    if (strncmp(path, "/dev/", 5) != 0 || strstr(path, "..") || strlen(path) >= PLACE) {
        answer(o, KOS_E_INVALID, "a device is named device:/dev/NAME");
        return;
    }
    if (!realpath(path, real)) {
        answer_errno(o, errno);
        return;
    }
    if (strncmp(real, "/dev/", 5) != 0) {
        answer(o, KOS_E_INVALID, "the device's name is a link that leads out of /dev");
        return;
    }
    o->fd = open(real, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW);
    if (o->fd < 0)
        answer_errno(o, errno);
    else if (fstat(o->fd, &st) != 0 || !S_ISCHR(st.st_mode))
        answer(o, KOS_E_INVALID, "only character devices are opened for plugins");
    else
        answer(o, KOS_OK, "");
}

static struct kos_opening *opening_new(struct kos_hosted *hosted, uint64_t op)
{
    struct kos_opening *o = kos_new(sizeof *o);
    o->work = (struct kos_work){ .run = resolve_run, .done = resolve_done };
    o->hosted = hosted;
    o->env = hosted->hosting->env;
    o->op = op;
    o->fd = -1;
    o->end_ms = kos_mono_ms(o->env) + OPEN_MS;
    o->timer = kos_timer_new(o->env, resolve_late, o);
    HASH_ADD(hh, hosted->openings, op, sizeof o->op, o);
    return o;
}

void kos_service_open(struct kos_services *services, const char *what, uint64_t op)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_opening *o;
    char text[PLACE + 160];
    size_t i = 0, count = sizeof schemes / sizeof *schemes;
    HASH_FIND(hh, hosted->openings, &op, sizeof op, o);
    if (op == 0 || o) {
        kos_hosted_broke(hosted, "opened with operation %llu, which is %s", (unsigned long long)op,
                         op ? "open already" : "no id");
        return;
    }
    if (HASH_COUNT(hosted->openings) >= KOS_OPEN_MAX) {
        snprintf(text, sizeof text, "at most %d opens of a plugin are under way at a time", KOS_OPEN_MAX);
        hosted->backend->ops->opened(hosted->backend, op, KOS_E_LIMIT, -1, text);
        return;
    }
    while (i < count && strncmp(what, schemes[i].scheme, strlen(schemes[i].scheme)) != 0)
        i++;
    o = opening_new(hosted, op);
    if (i == count) {
        snprintf(text, sizeof text,
                 "%.200s is nothing that can be opened (tcp://, tcp-listen://, udp://, udp-connect://, device:)", what);
        answer(o, KOS_E_INVALID, text);
        return;
    }
    const char *rest = what + strlen(schemes[i].scheme), *port = strrchr(rest, ':');
    /* Whoever binds any free port takes nobody's: that is what dialling over UDP needs. */
    bool dials = schemes[i].kind == OPEN_UDP && port && strcmp(port, ":0") == 0;
    o->kind = schemes[i].kind;
    if (!kos_hosted_may(hosted, dials ? KOS_RIGHT_CONNECT : schemes[i].right)) {
        snprintf(text, sizeof text, "opening %.200s needs the right \"%s\", which the plugin has not asked for", what,
                 dials ? "connect" : schemes[i].right_name);
        answer(o, KOS_E_DENIED, text);
    } else if (o->kind == OPEN_DEVICE) {
        open_device(o, rest);
    } else if (!split(o, rest)) {
        snprintf(text, sizeof text, "%.200s is not of the form %sHOST:PORT (IPv6 in brackets)", what,
                 schemes[i].scheme);
        answer(o, KOS_E_INVALID, text);
    } else if (resolve(o, AI_NUMERICHOST) == 0) {
        o->next = o->found;
        try_next(o);
    } else {
        o->found = NULL;
        o->resolving = true;
        kos_timer_set(o->env, o->timer, OPEN_MS);
        kos_work(o->env, &o->work);
    }
}

void kos_service_open_cancel(struct kos_services *services, uint64_t op)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_opening *o;
    HASH_FIND(hh, hosted->openings, &op, sizeof op, o);
    if (o)
        answer(o, KOS_E_CANCELLED, "given up");
}

void kos_openings_drop(struct kos_hosted *hosted)
{
    struct kos_opening *o, *next;
    HASH_ITER(hh, hosted->openings, o, next) {
        HASH_DEL(hosted->openings, o);
        attempt_end(o, true);
        o->hosted = NULL;
        if (!o->resolving)
            opening_free(o);
    }
}

size_t kos_openings_count(const struct kos_hosted *hosted)
{
    return HASH_COUNT(hosted->openings);
}
