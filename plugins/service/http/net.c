/* SPDX-License-Identifier: Apache-2.0
 * The thread that serves and fetches: its event base, and how notes reach it and leave it. */
#include "http.h"

#include <event2/event.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { POST_AGAIN_MS = 20, DEFERRED_TURNS = 16 };

uint64_t http_mono_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- to the loop ---- */

static void post(struct http_net *net)
{
    static const struct timeval again = { 0, POST_AGAIN_MS * 1000 };
    if (net->http->host->post(net->http->host, 1) < 0)
        event_add(net->retry_post, &again);
}

void http_tell(struct http_net *net, struct http_note *note)
{
    if (http_queue_put(&net->http->to_loop, note))
        post(net);
}

static void on_retry_post(evutil_socket_t fd, short events, void *arg)
{
    (void)fd;
    (void)events;
    post(arg);
}

void http_log(struct http_net *net, int32_t level, const char *format, ...)
{
    char text[KOS_LOG_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct http_note *note = http_note_new(HTTP_LOG, 0, text);
    if (note) {
        note->status = level;
        http_tell(net, note);
    }
}

/* ---- from the loop ---- */

static void stop_if_quiet(struct http_net *net)
{
    if (net->stop && http_server_quiet(net->server))
        event_base_loopbreak(net->base);
}

static void on_note(struct http_net *net, struct http_note *note)
{
    static const struct timeval patience = { HTTP_STOP_MS / 1000, HTTP_STOP_MS % 1000 * 1000 };
    switch (note->kind) {
    case HTTP_FETCH: case HTTP_CANCEL:
        http_client_note(net->client, note);
        return;
    case HTTP_STOP:
        net->stop = note;
        http_client_stop(net->client);
        http_server_stop(net->server);
        event_add(net->stop_timer, &patience);
        return;
    default:
        http_server_note(net->server, note);
    }
}

static void on_wake(evutil_socket_t fd, short events, void *arg)
{
    struct http_net *net = arg;
    uint64_t count;
    (void)events;
    while (read(fd, &count, sizeof count) == sizeof count)
        ;
    for (struct http_note *note = http_queue_take(&net->http->to_net), *next; note; note = next) {
        next = note->next;
        on_note(net, note);
    }
    stop_if_quiet(net);
}

static void on_stop_timer(evutil_socket_t fd, short events, void *arg)
{
    (void)fd;
    (void)events;
    event_base_loopbreak(((struct http_net *)arg)->base);
}

/* ---- life ---- */

void *http_net_run(void *arg)
{
    struct http_net *net = arg;
    struct http *http = net->http;
    static const struct timespec again = { 0, POST_AGAIN_MS * 1000000 };
    while (!net->stop || !http_server_quiet(net->server)) {
        if (event_base_loop(net->base, EVLOOP_ONCE) < 0 || event_base_got_break(net->base)) {
            if (net->stop)
                break;
        }
    }
    for (int i = 0; i < DEFERRED_TURNS && !http_client_quiet(net->client); i++)
        event_base_loop(net->base, EVLOOP_NONBLOCK);
    event_del(net->stop_timer);
    event_del(net->retry_post);
    net->stop->kind = HTTP_ENDED;
    http_queue_put(&http->to_loop, net->stop);
    /* Nothing wakes this thread again: the last post is repeated here until it is taken. */
    while (http->host->post(http->host, 1) < 0)
        nanosleep(&again, NULL);
    return NULL;
}

void http_net_free(struct http_net *net)
{
    if (!net)
        return;
    http_client_free(net->client);
    http_server_free(net->server);
    if (net->wake)
        event_free(net->wake);
    if (net->retry_post)
        event_free(net->retry_post);
    if (net->stop_timer)
        event_free(net->stop_timer);
    if (net->base)
        event_base_free(net->base);
    free(net);
}

struct http_net *http_net_new(struct http *http, struct kos_error *ret_error)
{
    struct http_net *net = calloc(1, sizeof *net);
    if (!net) {
        kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the HTTP service");
        return NULL;
    }
    net->http = http;
    net->base = event_base_new();
    if (net->base) {
        net->wake = event_new(net->base, http->wake_fd, EV_READ | EV_PERSIST, on_wake, net);
        net->retry_post = event_new(net->base, -1, 0, on_retry_post, net);
        net->stop_timer = event_new(net->base, -1, 0, on_stop_timer, net);
    }
    if (!net->base || !net->wake || !net->retry_post || !net->stop_timer || event_add(net->wake, NULL) != 0)
        kos_fail(ret_error, KOS_E_NOMEM, "the event loop of the HTTP service cannot be made");
    else if ((net->server = http_server_new(net, ret_error)) && (net->client = http_client_new(net, ret_error)))
        return net;
    http_net_free(net);
    return NULL;
}
