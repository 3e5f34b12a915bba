/* SPDX-License-Identifier: Apache-2.0
 * Private to transport/tcp: one instance, its endpoints and links. tcp.c is the plugin, link.c a connection's life. */
#ifndef KOS_TCP_H
#define KOS_TCP_H

#include <kos/plugin.h>
#include <kos/transport.h>
#include <uthash.h>

enum {
    TCP_READ_BYTES = 256 << 10,      /* one read of one link in one turn, so that none starves the others */
    TCP_ACCEPTS = 32,                /* accepted in one turn of one endpoint */
    TCP_FLUSH_MS = 2000,             /* transport.h: what link_close may take */
    TCP_PAUSE_MS = 1000,             /* accepting rests when descriptors or links ran out */
    TCP_BUFFER_KEEP_BYTES = 32 << 10 /* an empty send buffer above this is given back */
};

enum tcp_state { TCP_OPENING = 1, TCP_UP, TCP_FLUSHING };

/* Endpoints and links are known to the host's open and timers by `serial`, to its watches by `fd`. */
struct tcp_object {
    struct tcp *tcp;
    uint64_t serial;
    uint64_t id;                     /* the host's or ours (odd) */
    int fd;                          /* -1 while opening */
    bool is_link;
    int32_t watching;                /* KOS_IO_* asked for now */
    UT_hash_handle by_serial, by_fd, by_id;
};

struct tcp_endpoint {
    struct tcp_object object;
    bool paused;
};

struct tcp_link {
    struct tcp_object object;
    uint64_t endpoint;               /* it was accepted by; 0: dialled */
    enum tcp_state state;
    uint64_t credit_in;              /* bytes we may still deliver */
    uint64_t credit_back;            /* bytes that left and are not yet given back to the host */
    uint8_t *out;                    /* ring of out_cap bytes: out_len from out_at on wait for the kernel */
    size_t out_cap, out_at, out_len;
    bool shut;                       /* our side is shut down: all was written */
};

struct tcp {
    const struct kos_host *host;
    const struct kos_transport_host *events;
    bool nodelay, stopping, stopped;
    int64_t keepalive_ms, connect_ms;
    int backlog;
    size_t send_window;
    uint32_t links_max, links;
    uint64_t next_serial, next_link;
    struct tcp_object *by_serial, *by_fd, *links_by_id, *endpoints_by_id;
    uint8_t read_buffer[TCP_READ_BYTES];
};

/* tcp.c */
void tcp_object_add(struct tcp_object *object);
void tcp_object_remove(struct tcp_object *object);       /* ends watch and timer, closes fd */
int32_t tcp_object_fd(struct tcp_object *object, int fd); /* takes fd: the object's from here on */
int32_t tcp_watch(struct tcp_object *object, int32_t events);
void tcp_check_stopped(struct tcp *tcp);
void tcp_address(int fd, bool remote, char *ret_text, size_t cap);   /* "tcp://[::1]:7450" */
bool tcp_address_valid(const char *address, char *ret_why, size_t cap);

/* link.c */
struct tcp_link *tcp_link_new(struct tcp *tcp, uint64_t id, uint64_t endpoint);
void tcp_link_opened(struct tcp_link *link, int32_t status, int fd, const char *text);
void tcp_link_up(struct tcp_link *link, int fd);
void tcp_link_ready(struct tcp_link *link, int32_t events);
void tcp_link_timer(struct tcp_link *link);
void tcp_link_send(struct tcp_link *link, const struct kos_bytes *pieces, uint32_t count);
void tcp_link_credit(struct tcp_link *link, uint64_t bytes);
void tcp_link_close(struct tcp_link *link, bool flush);
void tcp_link_down(struct tcp_link *link, int32_t status, const char *text);  /* frees it */

#endif
