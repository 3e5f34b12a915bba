/* SPDX-License-Identifier: Apache-2.0
 * service/http: the one HTTP server and client of a node. This file: the plugin on the host's loop, which opens what it
 * listens on through the host and passes everything else as notes to the thread that does the work. */
#include "http.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { RETRY_FIRST_MS = 1000, RETRY_LAST_MS = 60000 };

/* ---- to the thread ---- */

void http_send(struct http *http, struct http_note *note)
{
    uint64_t one = 1;
    if (http_queue_put(&http->to_net, note) && write(http->wake_fd, &one, sizeof one) < 0)
        http_queue_untold(&http->to_net); /* only when its counter is full: then it is awake */
}

/* ---- listening ---- */

static void open_one(struct http *http, uint32_t i)
{
    char what[300];
    snprintf(what, sizeof what, "tcp-listen://%.280s", http->conf.listen[i]);
    http->host->open(http->host, what, i + 1);
}

static void opened(void *self, uint64_t op, int32_t status, int32_t fd, const char *text)
{
    struct http *http = self;
    char line[KOS_LOG_TEXT_MAX];
    struct http_note *note = status >= 0 && !http->stopping ? http_note_new(HTTP_LISTEN, op, NULL) : NULL;
    if (op == 0 || op > http->listens || !note) {
        if (fd >= 0)
            close(fd);
    } else {
        note->fd = fd;
        http->listening[op - 1] = true;
        http_send(http, note);
    }
    if (note || http->stopping || op == 0 || op > http->listens)
        return;
    uint32_t i = (uint32_t)op - 1;
    if (!http->told[i]) {
        snprintf(line, sizeof line, "HTTP is not served on %.100s, which is tried again: %s: %.300s",
                 http->conf.listen[i], kos_error_name(status), text && *text ? text : kos_error_text(status));
        http->host->log(http->host, KOS_ERROR, line);
    }
    http->told[i] = true;
    http->retry_ms[i] = http->retry_ms[i] ? 2 * http->retry_ms[i] : RETRY_FIRST_MS;
    if (http->retry_ms[i] > RETRY_LAST_MS)
        http->retry_ms[i] = RETRY_LAST_MS;
    http->host->timer_set(http->host, op, http->retry_ms[i]);
}

static void timer(void *self, uint64_t id)
{
    struct http *http = self;
    if (id >= 1 && id <= http->listens && !http->stopping)
        open_one(http, (uint32_t)id - 1);
}

/* ---- the service ---- */

static void serve(void *self, uint64_t op, const char *prefix, uint64_t body_max_bytes)
{
    struct http *http = self;
    struct http_note *note = http->running ? http_note_new(HTTP_SERVE, op, prefix) : NULL;
    if (!note) {
        http->host->complete(http->host, op, KOS_E_NOMEM, kos_bytes_str("the HTTP service has no thread or memory"));
        return;
    }
    note->body_max = body_max_bytes;
    http_send(http, note);
}

static void unserve(void *self, const char *prefix)
{
    struct http *http = self;
    struct http_note *note = http->running ? http_note_new(HTTP_UNSERVE, 0, prefix) : NULL;
    if (note)
        http_send(http, note);
}

static const struct kos_http_message failure = { .size = sizeof failure, .status = 500 };

static void respond(void *self, uint64_t request, const struct kos_http_message *response)
{
    struct http *http = self;
    struct kos_http_message m = failure;
    char why[HTTP_WHY], line[KOS_LOG_TEXT_MAX];
    if (!http->running || http->stopping)
        return;
    if (!http_message_check(response, false, &m, why, sizeof why)) {
        snprintf(line, sizeof line, "an answer was replaced by 500: %s", why);
        http->host->log(http->host, KOS_WARNING, line);
        m = failure;
    }
    struct http_note *note = http_note_new(HTTP_RESPOND, request, NULL);
    if (!note || !(note->parcel = http_parcel_new(&m)))
        http_note_free(note); /* the request is answered 504 when its time is over */
    else
        http_send(http, note);
}

static void fetch(void *self, uint64_t op, const struct kos_http_message *request, uint64_t body_max_bytes,
                  uint64_t timeout_ms)
{
    struct http *http = self;
    struct kos_http_message m;
    char why[HTTP_WHY];
    if (!http_message_check(request, true, &m, why, sizeof why)) {
        http->users->response(http->host, op, KOS_E_INVALID, NULL, why);
        return;
    }
    if (timeout_ms == 0 || timeout_ms > http->conf.fetch_ms)
        timeout_ms = http->conf.fetch_ms;
    if (body_max_bytes > http->conf.body_bytes)
        body_max_bytes = http->conf.body_bytes;
    struct http_note *note = http->running ? http_note_new(HTTP_FETCH, op, NULL) : NULL;
    if (!note || !(note->parcel = http_parcel_new(&m))) {
        http_note_free(note);
        http->users->response(http->host, op, KOS_E_NOMEM, NULL, "the HTTP service has no thread or memory");
        return;
    }
    note->body_max = body_max_bytes;
    note->timeout_ms = timeout_ms;
    http_send(http, note);
}

static void cancel(void *self, uint64_t op)
{
    struct http *http = self;
    struct http_note *note = http->running ? http_note_new(HTTP_CANCEL, op, NULL) : NULL;
    if (note)
        http_send(http, note);
}

/* ---- from the thread ---- */

static void ended(struct http *http)
{
    pthread_join(http->thread, NULL);
    http->running = false;
    http->host->stopped(http->host);
}

static void on_note(struct http *http, struct http_note *note)
{
    const char *text = note->text ? note->text : "";
    switch (note->kind) {
    case HTTP_DONE:
        http->host->complete(http->host, note->id, note->status, kos_bytes_str(text));
        return;
    case HTTP_REQUEST:
        if (!http->stopping)
            http->users->request(http->host, note->id, text, &note->parcel->message);
        return;
    case HTTP_RESPONSE:
        http->users->response(http->host, note->id, note->status, note->parcel ? &note->parcel->message : NULL, text);
        return;
    case HTTP_LOG:
        http->host->log(http->host, note->status, text);
        return;
    case HTTP_REPORT:
        http_control_report(http, note);
        return;
    default:
        ended(http);
    }
}

static void posted(void *self, uint64_t cookie)
{
    struct http *http = self;
    (void)cookie;
    for (struct http_note *note = http_queue_take(&http->to_loop), *next; note; note = next) {
        next = note->next;
        on_note(http, note);
        http_note_free(note);
    }
}

/* ---- life ---- */

static void free_notes(struct http_queue *queue)
{
    for (struct http_note *note = http_queue_take(queue), *next; note; note = next) {
        next = note->next;
        http_note_free(note);
    }
}

static void fini(void *self)
{
    struct http *http = self;
    http_net_free(http->net);
    free_notes(&http->to_net);
    free_notes(&http->to_loop);
    http_note_free(http->stop_note);
    pthread_mutex_destroy(&http->to_net.lock);
    pthread_mutex_destroy(&http->to_loop.lock);
    if (http->wake_fd >= 0)
        close(http->wake_fd);
    free(http);
    curl_global_cleanup();
}

static void read_conf(struct http_conf *c, const struct kos_conf *conf)
{
    const struct kos_value *listen = kos_conf_get(conf, "listen");
    c->listen = listen ? listen->list : NULL;
    c->ca_file = kos_conf_text(conf, "ca_file");
    c->connections = (uint32_t)kos_conf_number(conf, "connections");
    c->requests = (uint32_t)kos_conf_number(conf, "requests");
    c->head_bytes = (uint64_t)kos_conf_number(conf, "max_head");
    c->body_bytes = (uint64_t)kos_conf_number(conf, "max_body");
    c->memory_bytes = (uint64_t)kos_conf_number(conf, "memory");
    c->request_ms = (uint64_t)kos_conf_number(conf, "request_timeout");
    c->idle_ms = (uint64_t)kos_conf_number(conf, "idle_timeout");
    c->fetches = (uint32_t)kos_conf_number(conf, "fetches");
    c->fetches_per_host = (uint32_t)kos_conf_number(conf, "fetches_per_host");
    c->fetches_waiting = (uint32_t)kos_conf_number(conf, "fetches_waiting");
    c->fetch_ms = (uint64_t)kos_conf_number(conf, "fetch_timeout");
    c->fetch_private = kos_conf_number(conf, "fetch_private") != 0;
}

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    const struct kos_http_service_host *users = host->feature(host, KOS_HTTP_SERVICE_HOST);
    struct kos_error error = { KOS_E_NOMEM, "there is no memory for the HTTP service" };
    if (!users)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED,
                        "this host has no use for an HTTP service (" KOS_HTTP_SERVICE_HOST ")");
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return kos_fail(ret_error, KOS_E_PLUGIN, "libcurl cannot be initialised");
    struct http *http = calloc(1, sizeof *http);
    if (!http) {
        curl_global_cleanup();
        return kos_fail(ret_error, error.code, "%s", error.text);
    }
    http->host = host;
    http->users = users;
    http->control = host->feature(host, KOS_CONTROL_HOST);
    read_conf(&http->conf, conf);
    while (http->conf.listen && http->conf.listen[http->listens] && http->listens < HTTP_LISTEN_MAX)
        http->listens++;
    pthread_mutex_init(&http->to_net.lock, NULL);
    pthread_mutex_init(&http->to_loop.lock, NULL);
    http->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    http->stop_note = http_note_new(HTTP_STOP, 0, NULL);
    if (http->wake_fd < 0 || !http->stop_note || !(http->net = http_net_new(http, &error))) {
        fini(http);
        return kos_fail(ret_error, error.code, "%s", error.text);
    }
    *ret_self = http;
    return KOS_OK;
}

static void start(void *self)
{
    struct http *http = self;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the loop's; a broken pipe is an error of write */
    int failed = pthread_create(&http->thread, NULL, http_net_run, http->net);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        http->host->log(http->host, KOS_ERROR, "HTTP is not served: its thread cannot be started");
        return;
    }
    http->running = true;
    for (uint32_t i = 0; i < http->listens; i++)
        open_one(http, i);
}

static void stop(void *self)
{
    struct http *http = self;
    http->stopping = true;
    for (uint32_t i = 0; i < http->listens; i++) {
        http->host->timer_stop(http->host, i + 1);
        if (!http->listening[i])
            http->host->open_cancel(http->host, i + 1);
    }
    if (!http->running) {
        http->host->stopped(http->host);
        return;
    }
    struct http_note *note = http->stop_note;
    http->stop_note = NULL;
    http_send(http, note);
}

/* ---- what the host may know before any of this runs ---- */

#define SETTING(name_, type_, fallback_, min_, max_, summary_)                                                         \
    &(const struct kos_setting)                                                                                        \
    {                                                                                                                  \
        .size = sizeof(struct kos_setting), .type = (type_), .name = (name_), .fallback = (fallback_), .min = (min_),  \
        .max = (max_), .summary = (summary_)                                                                           \
    }

static const struct kos_setting *const settings[] = {
    SETTING("listen", KOS_SETTING_LIST, "127.0.0.1:7480", 0, HTTP_LISTEN_MAX, "HOST:PORT to serve on"),
    SETTING("connections", KOS_SETTING_INT, "1024", 1, 100000, "connections of clients at a time"),
    SETTING("requests", KOS_SETTING_INT, "256", 1, 10000, "requests that wait for a plugin's answer at a time"),
    SETTING("max_head", KOS_SETTING_SIZE, "16K", 1 << 10, 64 << 10, "request line and headers"),
    SETTING("max_body", KOS_SETTING_SIZE, "8M", 0, 256 << 20,
            "body of a request or answer, whatever a plugin asks for"),
    SETTING("memory", KOS_SETTING_SIZE, "64M", 1 << 20, 4ll << 30, "bytes of all requests and answers under way"),
    SETTING("request_timeout", KOS_SETTING_DURATION, "30s", 100, 3600000,
            "for a request to come whole, and for a plugin to answer it"),
    SETTING("idle_timeout", KOS_SETTING_DURATION, "60s", 100, 3600000,
            "how long a connection may be silent between requests"),
    SETTING("fetches", KOS_SETTING_INT, "64", 1, 1000, "connections to other servers at a time"),
    SETTING("fetches_per_host", KOS_SETTING_INT, "8", 1, 1000, "of these to one host"),
    SETTING("fetches_waiting", KOS_SETTING_INT, "1024", 1, 10000, "fetches at a time, with those that wait"),
    SETTING("fetch_timeout", KOS_SETTING_DURATION, "5m", 100, 3600000, "for a whole fetch, whatever a plugin asks for"),
    SETTING("fetch_private", KOS_SETTING_BOOL, "false", 0, 0,
            "whether this machine and private networks may be fetched from"),
    SETTING("ca_file", KOS_SETTING_STRING, "", 0, 4095, "certificates to trust instead of the system's"),
    NULL,
};

static const struct kos_right *const rights[] = {
    &(const struct kos_right){ sizeof(struct kos_right), "listen",
                               "serves HTTP on the addresses of its setting listen" },
    &(const struct kos_right){ sizeof(struct kos_right), "net", "libcurl opens the sockets of fetches by itself" },
    NULL,
};

static const struct kos_http_service service = {
    .size = sizeof service,
    .serve = serve,
    .unserve = unserve,
    .respond = respond,
    .fetch = fetch,
    .cancel = cancel,
};

static const struct kos_control control = {
    .size = sizeof control,
    .interface_name = "org.kos.http",
    .description = http_control_description,
    .call = http_control_call,
};

static const struct kos_feature *const features[] = {
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_HTTP_SERVICE, &service },
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_CONTROL, &control },
    NULL,
};

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.service.http",
    .name = "http",
    .version = "1.0.0",
    .summary = "one HTTP server and client for the plugins of a node",
    .settings = settings,
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = fini,
    .opened = opened,
    .timer = timer,
    .posted = posted,
};
