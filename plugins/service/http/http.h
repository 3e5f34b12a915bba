/* SPDX-License-Identifier: Apache-2.0
 * Private to service/http. Two threads: the host's loop (plugin.c, control.c) and one that serves and fetches (net.c,
 * server.c, connection.c, client.c, resolve.c). Nothing is shared between them but two queues of notes (note.c);
 * message.c, guard.c, route.c and address.c are functions on bytes. */
#ifndef KOS_SERVICE_HTTP_H
#define KOS_SERVICE_HTTP_H

#include <kos/control.h>
#include <kos/http.h>
#include <kos/plugin.h>
#include <pthread.h>
#include <sys/socket.h>
#include <uthash.h>
#include <utlist.h>

enum {
    HTTP_HEADERS_MAX = 100,          /* of a request or response, either way */
    HTTP_TARGET_MAX = 8192,          /* path and query */
    HTTP_PREFIX_MAX = 255,
    HTTP_PREFIXES_MAX = 256,
    HTTP_RESPONSE_HEAD_MAX = 64 << 10,
    HTTP_LISTEN_MAX = 16,
    HTTP_TICK_MS = 100,
    HTTP_LINGER_MS = 1000,           /* a refused client may still send for so long before it is cut off */
    HTTP_STOP_MS = 1500,             /* answers under way when the plugin stops are written for at most so long */
    HTTP_SLOWEST_BYTES = 16 << 10,   /* a second, below which a client that reads an answer is cut off */
    HTTP_WHY = 300                   /* a sentence */
};

/* ---- messages that outlive the call that passed them ---- */

struct http_parcel {
    struct kos_http_message message; /* names lower case, strings UTF-8 */
    size_t bytes;                    /* of all of it */
};

struct http_parcel *http_parcel_new(const struct kos_http_message *message);
/* What a plugin hands over, read by its size: a sentence when it cannot be sent. */
bool http_message_check(const struct kos_http_message *given, bool request, struct kos_http_message *ret_message,
                        char *ret_why, size_t cap);
bool http_token(const char *text);

/* ---- notes between the threads ---- */

enum http_note_kind {
    HTTP_LISTEN = 1, HTTP_SERVE, HTTP_UNSERVE, HTTP_RESPOND, HTTP_FETCH, HTTP_CANCEL, HTTP_STATUS, HTTP_STOP,
    HTTP_DONE, HTTP_REQUEST, HTTP_RESPONSE, HTTP_LOG, HTTP_REPORT, HTTP_ENDED
};

struct http_note {
    int32_t kind, status, fd;        /* fd: HTTP_LISTEN; HTTP_LOG: the level in status */
    uint64_t id;                     /* operation, request or control call */
    uint64_t body_max, timeout_ms;
    char *text;                      /* prefix, address, sentence or JSON */
    struct http_parcel *parcel;
    struct http_note *next;
};

struct http_queue {
    pthread_mutex_t lock;
    struct http_note *notes, *last;
    uint32_t count;
    bool told;                       /* the other side knows that there is something */
};

struct http_note *http_note_new(int32_t kind, uint64_t id, const char *text);
void http_note_free(struct http_note *note);
/* Takes the note. True: the other side has to be woken. */
bool http_queue_put(struct http_queue *queue, struct http_note *note);
struct http_note *http_queue_take(struct http_queue *queue); /* all, oldest first */
void http_queue_untold(struct http_queue *queue);            /* waking failed */

/* ---- what comes over a connection, before evhttp sees it ---- */

/* Checks the bytes of one request strictly (RFC 9112) and knows where it ends, so that there is nothing about which a
 * proxy in front and this server could disagree. */
struct http_guard {
    size_t head_max;
    uint64_t body_max;
    int state;
    size_t head, field;              /* bytes of the head so far; of the current word */
    uint32_t headers, hosts;
    uint64_t body, left;             /* bytes of the body, and still to come of it or its chunk */
    bool http10, head_method, chunked, sized, name_te, name_cl, name_host;
    char word[32];
    uint8_t word_len;                /* 255: it was longer */
    bool extra;                      /* bytes came behind the request: pipelined */
};

void http_guard_begin(struct http_guard *guard, size_t head_max, uint64_t body_max);
/* 0, or the status to refuse with; then no more is to be fed. */
int http_guard_feed(struct http_guard *guard, const uint8_t *data, size_t len);
bool http_guard_idle(const struct http_guard *guard);        /* not a byte came yet */
const char *http_status_text(int status);

/* ---- paths ---- */

/* The request target as routes and users see it: what need not be escaped is not, hex digits are upper case. 0, 400 or
 * 414. */
int http_target(const char *raw, char *ret_target, size_t cap);
int http_hex(int c);                 /* the value of a hex digit; -1: it is none */
bool http_prefix_valid(const char *prefix, char *ret_why, size_t cap);
/* /a: /a and what is below /a/; /a/: what is below /a/. */
bool http_prefix_fits(const char *prefix, const char *target);

bool http_address_private(const struct sockaddr *address);

/* ---- the plugin ---- */

struct http_conf {
    const char *const *listen;
    const char *ca_file;
    uint32_t connections, requests, fetches, fetches_per_host, fetches_waiting;
    uint64_t head_bytes, body_bytes, memory_bytes;
    uint64_t request_ms, idle_ms, fetch_ms;
    bool fetch_private;
};

struct http {
    const struct kos_host *host;
    const struct kos_http_service_host *users;
    const struct kos_control_host *control;   /* NULL: the host has no control */
    struct http_conf conf;
    struct http_queue to_net, to_loop;
    int wake_fd;
    struct http_note *stop_note;              /* kept, so that stopping needs no memory */
    struct http_net *net;
    pthread_t thread;
    bool running, stopping;
    uint32_t listens, retry_ms[HTTP_LISTEN_MAX];
    bool listening[HTTP_LISTEN_MAX], told[HTTP_LISTEN_MAX];
};

void http_send(struct http *http, struct http_note *note);   /* loop -> net; takes it */
void http_control_call(void *self, uint64_t call, const char *method, struct kos_bytes parameters, uint32_t flags);
void http_control_report(struct http *http, struct http_note *note);
extern const char http_control_description[];

/* ---- the thread ---- */

struct http_net;
struct http_server;
struct http_client;

/* What server and client need of it. */
struct http_net {
    struct http *http;               /* its conf, queues and host->post, nothing else */
    struct event_base *base;
    struct event *wake, *retry_post, *stop_timer;
    struct http_server *server;
    struct http_client *client;
    struct http_note *stop;
};

struct http_net *http_net_new(struct http *http, struct kos_error *ret_error);
void http_net_free(struct http_net *net);
void *http_net_run(void *net);
void http_tell(struct http_net *net, struct http_note *note);  /* net -> loop; takes it */
__attribute__((format(printf, 3, 4))) void http_log(struct http_net *net, int32_t level, const char *format, ...);
uint64_t http_mono_ms(void);

struct http_server *http_server_new(struct http_net *net, struct kos_error *ret_error);
void http_server_free(struct http_server *server);
void http_server_note(struct http_server *server, struct http_note *note);  /* takes it */
void http_server_stop(struct http_server *server);
bool http_server_quiet(const struct http_server *server);      /* after stop: nothing is being written any more */

struct http_client *http_client_new(struct http_net *net, struct kos_error *ret_error);
void http_client_free(struct http_client *client);
void http_client_note(struct http_client *client, struct http_note *note);  /* takes it */
void http_client_stop(struct http_client *client);             /* all end with KOS_E_CANCELLED */
bool http_client_quiet(const struct http_client *client);      /* after stop: evdns has let go of all questions */

/* JSON members of org.kos.http Status; jansson objects. */
struct json_t;
int http_server_report(const struct http_server *server, struct json_t *report);
int http_client_report(const struct http_client *client, struct json_t *report);

#endif
