/* SPDX-License-Identifier: Apache-2.0
 * Private to server.c and connection.c: the server's connections, requests and prefixes. */
#ifndef KOS_SERVICE_HTTP_SERVER_H
#define KOS_SERVICE_HTTP_SERVER_H

#include "http.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>

enum phase { IDLE, READING, WAITING, WRITING, REFUSED };

struct prefix {
    char *text;
    uint64_t body_max;
    uint64_t requests;
    struct prefix *next;
};

struct connection {
    struct http_server *server;
    struct bufferevent *bev;
    struct evhttp_connection *evcon; /* once adopted */
    enum phase phase;
    uint64_t deadline_ms;            /* of its phase; UINT64_MAX while waiting: the request has one */
    struct http_guard guard;
    size_t held;                     /* bytes in memory for it, counted in server->held */
    bool close;                      /* after the answer under way */
    struct connection *prev, *next;
    UT_hash_handle hh;               /* by evcon */
};

/* A request that a user has. */
struct exchange {
    uint64_t id, deadline_ms;
    struct evhttp_request *request;
    struct connection *connection;
    UT_hash_handle hh;               /* in order of deadlines: all have the same patience */
};

struct listener {
    struct evhttp_bound_socket *bound;
    char *address;
};

struct http_server {
    struct http_net *net;
    const struct http_conf *conf;
    struct evhttp *evhttp;
    struct event *tick, *adopt;
    struct listener listeners[HTTP_LISTEN_MAX];
    uint32_t listener_count, connection_count, prefix_count;
    struct connection *connections, *by_evcon;
    struct exchange *exchanges;
    struct prefix *prefixes;
    uint64_t last_id, held, accept_again_ms;
    uint64_t served, refused, accepted, timeouts;
    bool stopping, ticking, accepting;
};

struct connection *http_connection_of(struct http_server *server, struct evhttp_connection *evcon);
struct bufferevent *http_connection_new(struct event_base *base, void *server);    /* for evhttp_set_bevcb */
void http_connection_adopt(evutil_socket_t fd, short events, void *server);        /* server->adopt */
void http_connection_next(struct connection *c);      /* its answer was written: on to the next request */
void http_connection_hold(struct connection *c, size_t bytes);
void http_connection_expire(struct connection *c);    /* its deadline passed */
void http_listen(struct http_server *server, struct http_note *note);
void http_check_accepting(struct http_server *server);
void http_start_tick(struct http_server *server);

#endif
