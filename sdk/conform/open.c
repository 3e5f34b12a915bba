/* SPDX-License-Identifier: Apache-2.0
 * Sockets and devices for the plugin, as kos_host.open promises them. Names are resolved here and now: a test may
 * wait. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conform.h"
#include "core/files.h"

enum { OPEN_MS = 10000 };

struct opening {                        /* a connection under way */
    struct host *h;
    uint64_t op;
    int fd;
    struct kos_watch *watch;
    struct kos_timer *timer;
    UT_hash_handle hh;
};

static void opening_end(struct opening *o, bool close_fd)
{
    HASH_DEL(o->h->openings, o);
    o->h->c->env->ops->watch_free(o->watch);
    kos_timer_free(o->h->c->env, o->timer);
    if (close_fd)
        close(o->fd);
    free(o);
}

static void connected(void *arg, int32_t events)
{
    struct opening *o = arg;
    struct host *h = o->h;
    uint64_t op = o->op;
    int error = 0, fd = o->fd;
    socklen_t len = sizeof error;
    (void)events;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    opening_end(o, error != 0);
    if (error)
        host_answer_opened(h, op, KOS_E_UNREACHABLE, -1, strerror(error));
    else
        host_answer_opened(h, op, KOS_OK, fd, "");
}

static void too_late(void *arg)
{
    struct opening *o = arg;
    struct host *h = o->h;
    uint64_t op = o->op;
    opening_end(o, true);
    host_answer_opened(h, op, KOS_E_TIMEOUT, -1, "it did not answer");
}

void open_drop(struct host *h)
{
    struct opening *o, *next;
    HASH_ITER(hh, h->openings, o, next)
        opening_end(o, true);
}

static void wait_connected(struct host *h, uint64_t op, int fd)
{
    struct opening *o = kos_new(sizeof *o);
    o->h = h;
    o->op = op;
    o->fd = fd;
    o->watch = h->c->env->ops->watch_new(h->c->env, fd, connected, o);
    o->timer = kos_timer_new(h->c->env, too_late, o);
    HASH_ADD(hh, h->openings, op, sizeof o->op, o);
    kos_timer_set(h->c->env, o->timer, OPEN_MS);
    h->c->env->ops->watch_set(o->watch, KOS_WRITABLE);
}

/* errno, or 0 and a descriptor; EINPROGRESS with one. */
static int open_socket(const struct addrinfo *a, bool binds, int *ret_fd)
{
    int one = 1, fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0)
        return errno;
    if (binds)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    int failed = binds ? bind(fd, a->ai_addr, a->ai_addrlen) : connect(fd, a->ai_addr, a->ai_addrlen);
    if (!failed && binds && a->ai_socktype == SOCK_STREAM)
        failed = listen(fd, 128);
    int error = failed ? errno : 0;
    if (error && error != EINPROGRESS)
        close(fd);
    else
        *ret_fd = fd;
    return error;
}

static void note_port(struct host *h, int fd)
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    char port[8];
    if (getsockname(fd, (struct sockaddr *)&bound, &len) == 0 &&
        getnameinfo((struct sockaddr *)&bound, len, NULL, 0, port, sizeof port, NI_NUMERICSERV) == 0)
        h->port = atoi(port);
}

static void open_inet(struct host *h, uint64_t op, const char *place, bool stream, bool binds)
{
    char name[300];
    struct addrinfo hints = { .ai_socktype = stream ? SOCK_STREAM : SOCK_DGRAM, .ai_flags = AI_NUMERICSERV }, *found;
    snprintf(name, sizeof name, "%s", *place == '[' ? place + 1 : place);
    char *port = strrchr(name, ':'), *close_bracket = strrchr(name, ']');
    if (!port || (*place == '[' && (!close_bracket || close_bracket + 1 != port))) {
        host_answer_opened(h, op, KOS_E_INVALID, -1, "that is no HOST:PORT");
        return;
    }
    *(*place == '[' ? close_bracket : port) = '\0';
    /* Only what needs no name service: tests depend on this machine alone. */
    if (strcmp(name, "localhost") != 0)
        hints.ai_flags |= AI_NUMERICHOST;
    if (getaddrinfo(name, port + 1, &hints, &found) != 0) {
        host_answer_opened(h, op, KOS_E_NOTFOUND, -1, "there is no host of that name");
        return;
    }
    int fd = -1, error = open_socket(found, binds, &fd);
    freeaddrinfo(found);
    if (stream && binds && fd >= 0)
        note_port(h, fd);
    if (error == EINPROGRESS)
        wait_connected(h, op, fd);
    else
        host_answer_opened(h, op, error ? (error == EADDRINUSE ? KOS_E_ADDRESS_USED : KOS_E_UNREACHABLE) : KOS_OK, fd,
                           error ? strerror(error) : "");
}

static void open_device(struct host *h, uint64_t op, const char *path)
{
    struct stat st;
    int fd = strncmp(path, "/dev/", 5) == 0 ? open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;
    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode))) {
        close(fd);
        fd = -1;
    }
    host_answer_opened(h, op, fd < 0 ? KOS_E_NOTFOUND : KOS_OK, fd, fd < 0 ? "there is no such device" : "");
}

static void s_open(struct kos_services *services, const char *what, uint64_t op)
{
    static const struct { const char *scheme, *right; bool stream, binds; } known[] = {
        { "tcp-listen://", "listen", true, true },
        { "tcp://", "connect", true, false },
        { "udp://", "listen", false, true },
        { "udp-connect://", "connect", false, false },
        { "device:", "device", false, false },
    };
    struct host *h = (struct host *)services;
    host_event(h);
    host_asked(h, op, "open");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t n = strlen(known[i].scheme);
        if (strncmp(what, known[i].scheme, n) != 0)
            continue;
        bool dials = strcmp(known[i].scheme, "udp://") == 0 && strlen(what) > 2 &&
            strcmp(what + strlen(what) - 2, ":0") == 0 && module_asks(h->c->module, "connect");
        if (!module_asks(h->c->module, known[i].right) && !dials)
            broke(h->c, RULE_PLUGIN_RIGHT,
                  "open(\"%.100s\") needs the right \"%s\", which is not among those it asks for",
                  what, known[i].right);
        if (h->refuse.open)
            host_answer_opened(h, op, h->refuse.open, -1, "this host refuses it, to see what follows");
        else if (known[i].right[0] == 'd')
            open_device(h, op, what + n);
        else
            open_inet(h, op, what + n, known[i].stream, known[i].binds);
        return;
    }
    host_answer_opened(h, op, KOS_E_INVALID, -1, "nothing of that sort can be opened");
}

static void s_open_cancel(struct kos_services *services, uint64_t op)
{
    struct host *h = (struct host *)services;
    struct opening *o;
    host_event(h);
    HASH_FIND(hh, h->openings, &op, sizeof op, o);
    if (!o)
        return;
    opening_end(o, true);
    host_answer_opened(h, op, KOS_E_CANCELLED, -1, "it was cancelled");
}

void open_services(struct kos_services_ops *ops)
{
    ops->open = s_open;
    ops->open_cancel = s_open_cancel;
}
