/* SPDX-License-Identifier: Apache-2.0
 * transport/tcp: links over TCP, IPv4 and IPv6. This file: the plugin, its endpoints, and who is who. */
#include "tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- objects ---- */

static struct tcp_object **table_of(struct tcp_object *object)
{
    return object->is_link ? &object->tcp->links_by_id : &object->tcp->endpoints_by_id;
}

void tcp_object_add(struct tcp_object *object)
{
    struct tcp *tcp = object->tcp;
    struct tcp_object **ids = table_of(object);
    object->serial = ++tcp->next_serial;
    HASH_ADD(by_serial, tcp->by_serial, serial, sizeof object->serial, object);
    HASH_ADD(by_id, *ids, id, sizeof object->id, object);
}

int32_t tcp_object_fd(struct tcp_object *object, int fd)
{
    struct tcp *tcp = object->tcp;
    struct tcp_object *other;
    HASH_FIND(by_fd, tcp->by_fd, &fd, sizeof fd, other);
    if (other)
        return KOS_E_EXISTS;
    object->fd = fd;
    HASH_ADD(by_fd, tcp->by_fd, fd, sizeof object->fd, object);
    return KOS_OK;
}

int32_t tcp_watch(struct tcp_object *object, int32_t events)
{
    if (events == object->watching)
        return KOS_OK;
    int32_t status = object->tcp->host->watch(object->tcp->host, object->fd, events);
    if (status >= 0)
        object->watching = events;
    return status;
}

void tcp_object_remove(struct tcp_object *object)
{
    struct tcp *tcp = object->tcp;
    struct tcp_object **ids = table_of(object);
    HASH_DELETE(by_serial, tcp->by_serial, object);
    HASH_DELETE(by_id, *ids, object);
    tcp->host->timer_stop(tcp->host, object->serial);
    if (object->fd >= 0) {
        tcp_watch(object, 0);
        HASH_DELETE(by_fd, tcp->by_fd, object);
        close(object->fd);
        object->fd = -1;
    }
}

static struct tcp_object *find(struct tcp_object *table, uint64_t id)
{
    struct tcp_object *object;
    HASH_FIND(by_id, table, &id, sizeof id, object);
    return object;
}

/* ---- addresses ---- */

bool tcp_address_valid(const char *address, char *ret_why, size_t cap)
{
    const char *rest = strncmp(address, "tcp://", 6) == 0 ? address + 6 : NULL;
    const char *port = rest ? strrchr(rest, ':') : NULL;
    const char *host_end = rest && *rest == '[' ? strchr(rest, ']') : port;
    if (!rest)
        snprintf(ret_why, cap, "a TCP address is tcp://HOST:PORT, not %.80s", address);
    else if (!port || !host_end || host_end == rest || (*rest == '[' && host_end + 1 != port) || strpbrk(rest, "/?#@ "))
        snprintf(ret_why, cap, "a TCP address is tcp://HOST:PORT or tcp://[IPV6]:PORT, not %.80s", address);
    else {
        char *end;
        long number = port[1] >= '0' && port[1] <= '9' ? strtol(port + 1, &end, 10) : -1;
        if (number >= 0 && number <= 65535 && *end == '\0')
            return true;
        snprintf(ret_why, cap, "the port of %.80s is not a number from 0 to 65535", address);
    }
    return false;
}

void tcp_address(int fd, bool remote, char *ret_text, size_t cap)
{
    struct sockaddr_storage storage;
    socklen_t len = sizeof storage;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    int failed = remote ? getpeername(fd, (struct sockaddr *)&storage, &len)
                        : getsockname(fd, (struct sockaddr *)&storage, &len);
    if (failed ||
        getnameinfo((struct sockaddr *)&storage, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(ret_text, cap, "%s", "");
    else
        snprintf(ret_text, cap, storage.ss_family == AF_INET6 ? "tcp://[%s]:%s" : "tcp://%s:%s", host, port);
}

/* ---- endpoints ---- */

static void endpoint_end(struct tcp_endpoint *endpoint, int32_t status, const char *text)
{
    struct tcp *tcp = endpoint->object.tcp;
    uint64_t id = endpoint->object.id;
    tcp_object_remove(&endpoint->object);
    free(endpoint);
    tcp->events->endpoint_down(tcp->host, id, status, text);
    tcp_check_stopped(tcp);
}

static void listen_on(void *self, uint64_t id, const char *address)
{
    struct tcp *tcp = self;
    char why[160], what[300];
    if (!tcp_address_valid(address, why, sizeof why)) {
        tcp->events->endpoint_down(tcp->host, id, KOS_E_INVALID, why);
        return;
    }
    struct tcp_endpoint *endpoint = calloc(1, sizeof *endpoint);
    if (!endpoint) {
        tcp->events->endpoint_down(tcp->host, id, KOS_E_NOMEM, "there is no memory for another endpoint");
        return;
    }
    endpoint->object = (struct tcp_object){ .tcp = tcp, .id = id, .fd = -1 };
    tcp_object_add(&endpoint->object);
    snprintf(what, sizeof what, "tcp-listen://%.280s", address + 6);
    tcp->host->open(tcp->host, what, endpoint->object.serial);
}

static void endpoint_opened(struct tcp_endpoint *endpoint, int32_t status, int fd, const char *text)
{
    struct tcp *tcp = endpoint->object.tcp;
    char bound[96];
    if (status < 0) {
        endpoint_end(endpoint, status, text && *text ? text : kos_error_text(status));
        return;
    }
    listen(fd, tcp->backlog);
    if (tcp_object_fd(&endpoint->object, fd) < 0) {
        close(fd);
        endpoint_end(endpoint, KOS_E_INTERNAL, "the host handed out a descriptor twice");
        return;
    }
    if ((status = tcp_watch(&endpoint->object, KOS_IO_READ)) < 0) {
        endpoint_end(endpoint, status, "the host refused to watch the listening socket");
        return;
    }
    tcp_address(fd, false, bound, sizeof bound);
    tcp->events->endpoint_up(tcp->host, endpoint->object.id, bound);
}

static void pause_accepting(struct tcp_endpoint *endpoint, const char *why)
{
    struct tcp *tcp = endpoint->object.tcp;
    char line[160];
    if (!endpoint->paused) {
        snprintf(line, sizeof line, "no new connections are taken for now: %s", why);
        tcp->host->log(tcp->host, KOS_WARNING, line);
    }
    endpoint->paused = true;
    tcp_watch(&endpoint->object, 0);
    tcp->host->timer_set(tcp->host, endpoint->object.serial, TCP_PAUSE_MS);
}

static void endpoint_ready(struct tcp_endpoint *endpoint)
{
    struct tcp *tcp = endpoint->object.tcp;
    uint64_t id = endpoint->object.id;
    for (int i = 0; i < TCP_ACCEPTS; i++) {
        char why[120];
        if (tcp->links >= tcp->links_max) {
            snprintf(why, sizeof why, "all %u links are in use (setting links)", tcp->links_max);
            pause_accepting(endpoint, why);
            return;
        }
        int fd = accept4(endpoint->object.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                pause_accepting(endpoint, strerror(errno));
            } else if (errno == EBADF || errno == EINVAL || errno == ENOTSOCK) {
                endpoint_end(endpoint, KOS_E_IO, "the listening socket does not work any more");
            }
            /* All else is of the connection that was to be taken (accept(2)): the next one is tried when it is
             * ready. */
            return;
        }
        endpoint->paused = false;
        struct tcp_link *link = tcp_link_new(tcp, tcp->next_link, id);
        if (!link) {
            close(fd);
            pause_accepting(endpoint, "there is no memory for another link");
            return;
        }
        tcp->next_link += 2;
        tcp_link_up(link, fd);
    }
}

static void endpoint_close(void *self, uint64_t id)
{
    struct tcp *tcp = self;
    struct tcp_object *object = find(tcp->endpoints_by_id, id);
    if (!object)
        return;
    if (object->fd < 0)
        tcp->host->open_cancel(tcp->host, object->serial);
    endpoint_end((struct tcp_endpoint *)object, KOS_OK, "closed");
}

/* ---- links ---- */

static void dial(void *self, uint64_t id, const char *address)
{
    struct tcp *tcp = self;
    char why[160];
    if (!tcp_address_valid(address, why, sizeof why)) {
        tcp->events->link_down(tcp->host, id, KOS_E_INVALID, why);
        return;
    }
    if (tcp->links >= tcp->links_max) {
        snprintf(why, sizeof why, "all %u links are in use (setting links)", tcp->links_max);
        tcp->events->link_down(tcp->host, id, KOS_E_LIMIT, why);
        return;
    }
    struct tcp_link *link = tcp_link_new(tcp, id, 0);
    if (!link) {
        tcp->events->link_down(tcp->host, id, KOS_E_NOMEM, "there is no memory for another link");
        return;
    }
    tcp->host->open(tcp->host, address, link->object.serial);
    tcp->host->timer_set(tcp->host, link->object.serial, (uint64_t)tcp->connect_ms);
}

static void send_on(void *self, uint64_t id, const struct kos_bytes *pieces, uint32_t count)
{
    struct tcp_object *object = find(((struct tcp *)self)->links_by_id, id);
    if (object)
        tcp_link_send((struct tcp_link *)object, pieces, count);
}

static void credit(void *self, uint64_t id, uint64_t bytes)
{
    struct tcp_object *object = find(((struct tcp *)self)->links_by_id, id);
    if (object)
        tcp_link_credit((struct tcp_link *)object, bytes);
}

static void close_link(void *self, uint64_t id, int32_t flush)
{
    struct tcp_object *object = find(((struct tcp *)self)->links_by_id, id);
    if (object)
        tcp_link_close((struct tcp_link *)object, flush == 1);
}

/* ---- events ---- */

static struct tcp_object *find_serial(struct tcp *tcp, uint64_t serial)
{
    struct tcp_object *object;
    HASH_FIND(by_serial, tcp->by_serial, &serial, sizeof serial, object);
    return object;
}

static void opened(void *self, uint64_t op, int32_t status, int32_t fd, const char *text)
{
    struct tcp_object *object = find_serial(self, op);
    if (!object) {
        if (fd >= 0)
            close(fd); /* it was given up meanwhile */
    } else if (object->is_link) {
        tcp_link_opened((struct tcp_link *)object, status, fd, text);
    } else {
        endpoint_opened((struct tcp_endpoint *)object, status, fd, text);
    }
}

static void ready(void *self, int32_t fd, int32_t events)
{
    struct tcp *tcp = self;
    struct tcp_object *object;
    int key = fd;
    HASH_FIND(by_fd, tcp->by_fd, &key, sizeof key, object);
    if (object && object->is_link)
        tcp_link_ready((struct tcp_link *)object, events);
    else if (object)
        endpoint_ready((struct tcp_endpoint *)object);
}

static void timer(void *self, uint64_t serial)
{
    struct tcp_object *object = find_serial(self, serial);
    if (object && object->is_link)
        tcp_link_timer((struct tcp_link *)object);
    else if (object && tcp_watch(object, KOS_IO_READ) < 0)
        endpoint_end((struct tcp_endpoint *)object, KOS_E_IO, "the host refused to watch the listening socket");
}

/* ---- life ---- */

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    const struct kos_transport_host *events = host->feature(host, KOS_TRANSPORT_HOST);
    if (!events)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "this host does not serve transports (" KOS_TRANSPORT_HOST ")");
    struct tcp *tcp = calloc(1, sizeof *tcp);
    if (!tcp)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the TCP transport");
    tcp->host = host;
    tcp->events = events;
    tcp->nodelay = kos_conf_number(conf, "nodelay") != 0;
    tcp->keepalive_ms = kos_conf_number(conf, "keepalive");
    tcp->connect_ms = kos_conf_number(conf, "connect_timeout");
    tcp->backlog = (int)kos_conf_number(conf, "backlog");
    tcp->send_window = (size_t)kos_conf_number(conf, "send_buffer");
    tcp->links_max = (uint32_t)kos_conf_number(conf, "links");
    tcp->next_link = 1;
    *ret_self = tcp;
    return KOS_OK;
}

static void start(void *self)
{
    (void)self;
}

void tcp_check_stopped(struct tcp *tcp)
{
    if (tcp->stopping && !tcp->stopped && !tcp->by_serial) {
        tcp->stopped = true;
        tcp->host->stopped(tcp->host);
    }
}

static void stop(void *self)
{
    struct tcp *tcp = self;
    struct tcp_object *object, *next;
    HASH_ITER(by_id, tcp->endpoints_by_id, object, next)
        endpoint_close(tcp, object->id);
    HASH_ITER(by_id, tcp->links_by_id, object, next) {
        /* What was being flushed before keeps its 2 s. */
        if (((struct tcp_link *)object)->state != TCP_FLUSHING)
            tcp_link_close((struct tcp_link *)object, false);
    }
    tcp->stopping = true;
    tcp_check_stopped(tcp);
}

static void fini(void *self)
{
    free(self);
}

/* ---- what the host may know before any of this runs ---- */

#define SETTING(name_, type_, fallback_, min_, max_, summary_)                                                         \
    &(const struct kos_setting)                                                                                        \
    {                                                                                                                  \
        .size = sizeof(struct kos_setting), .type = (type_), .name = (name_), .fallback = (fallback_), .min = (min_),  \
        .max = (max_), .summary = (summary_)                                                                           \
    }

static const struct kos_setting *const settings[] = {
    SETTING("nodelay", KOS_SETTING_BOOL, "true", 0, 0, "send at once instead of collecting small segments"),
    SETTING("keepalive", KOS_SETTING_DURATION, "60s", 0, 7200000,
            "silence after which the kernel probes the other side; 0 turns it off"),
    SETTING("connect_timeout", KOS_SETTING_DURATION, "10s", 100, 10000, "how long connecting may take"),
    SETTING("backlog", KOS_SETTING_INT, "128", 1, 65535, "connections the kernel keeps that are not yet taken"),
    SETTING("send_buffer", KOS_SETTING_SIZE, "256K", 128 << 10, 16 << 20,
            "bytes a link takes from kosd before it makes it wait"),
    SETTING("links", KOS_SETTING_INT, "16384", 1, 1000000, "connections at a time; above it none is taken or made"),
    NULL,
};

static const struct kos_right *const rights[] = {
    &(const struct kos_right){ sizeof(struct kos_right), "listen",
                               "takes connections on the addresses that kosd.conf lists" },
    &(const struct kos_right){ sizeof(struct kos_right), "connect", "connects to the addresses of peers" },
    NULL,
};

static const char *const schemes[] = { "tcp", NULL };

static const struct kos_transport transport = {
    .size = sizeof transport,
    .schemes = schemes,
    .listen = listen_on,
    .endpoint_close = endpoint_close,
    .dial = dial,
    .send = send_on,
    .link_credit = credit,
    .link_close = close_link,
};

static const struct kos_feature *const features[] = {
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_TRANSPORT, &transport },
    NULL,
};

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.transport.tcp",
    .name = "tcp",
    .version = "1.0.0",
    .summary = "links over TCP, IPv4 and IPv6",
    .settings = settings,
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = fini,
    .opened = opened,
    .timer = timer,
    .ready = ready,
};
