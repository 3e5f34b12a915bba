/* SPDX-License-Identifier: Apache-2.0
 * The client: libcurl's multi interface on the thread's event base. */
#include "client.h"

#include <jansson.h>

/* ---- the end of a fetch ---- */

static void clear_got(struct fetch *f)
{
    for (uint32_t i = 0; i < f->got_count; i++)
        free((void *)(uintptr_t)f->got[i].name);
    f->got_count = 0;
    f->got_bytes = 0;
}

/* Not from within a callback of libcurl. */
void http_fetch_finish(struct fetch *f, int32_t status, const char *why, struct http_parcel *parcel)
{
    struct http_client *client = f->client;
    struct http_note *note = f->note;
    if (f->lookup) {
        f->lookup->fetch = NULL;
        if (f->lookup->request)
            evdns_getaddrinfo_cancel(f->lookup->request);
    }
    if (f->added)
        curl_multi_remove_handle(client->multi, f->easy);
    curl_easy_cleanup(f->easy);
    curl_slist_free_all(f->headers);
    curl_slist_free_all(f->addresses);
    if (f->timeout)
        event_free(f->timeout);
    clear_got(f);
    free(f->body);
    HASH_DEL(client->fetches, f);
    free(f);
    free(note->parcel);
    free(note->text);
    note->parcel = parcel;
    note->text = status < 0 ? strdup(why) : NULL;
    note->status = status;
    note->kind = HTTP_RESPONSE;
    client->done += status >= 0;
    client->failed += status < 0;
    http_tell(client->net, note);
}

static int32_t status_of(CURLcode code)
{
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT: return KOS_E_TIMEOUT;
    case CURLE_URL_MALFORMAT: case CURLE_UNSUPPORTED_PROTOCOL: return KOS_E_INVALID;
    case CURLE_OUT_OF_MEMORY: return KOS_E_NOMEM;
    case CURLE_WEIRD_SERVER_REPLY: return KOS_E_PROTOCOL;
    /* The request is out, its answer did not come: it may have been carried out. */
    case CURLE_GOT_NOTHING: case CURLE_RECV_ERROR: case CURLE_SEND_ERROR: case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2: case CURLE_HTTP2_STREAM: return KOS_E_INTERRUPTED;
    default: return KOS_E_UNREACHABLE;
    }
}

static void transferred(struct fetch *f, CURLcode code)
{
    char why[HTTP_WHY + CURL_ERROR_SIZE];
    long status = 0;
    const char *url = f->note->parcel->message.url;
    if (f->denied) {
        snprintf(why, sizeof why, "%.200s leads to this machine or its network: fetch_private = true allows that", url);
        http_fetch_finish(f, KOS_E_DENIED, why, NULL);
    } else if (f->too_long) {
        snprintf(why, sizeof why, "the answer of %.120s is above %llu bytes, or its head above %d bytes or headers",
                 f->name, (unsigned long long)f->note->body_max, HTTP_RESPONSE_HEAD_MAX);
        http_fetch_finish(f, KOS_E_LIMIT, why, NULL);
    } else if (f->no_memory) {
        http_fetch_finish(f, KOS_E_NOMEM, "out of memory while the answer was read", NULL);
    } else if (code != CURLE_OK) {
        snprintf(why, sizeof why, "%.200s: %s", url, *f->why ? f->why : curl_easy_strerror(code));
        http_fetch_finish(f, status_of(code), why, NULL);
    } else {
        curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
        struct kos_http_message m = { .size = sizeof m,
                                      .status = (int32_t)status,
                                      .url = url,
                                      .headers = f->got,
                                      .header_count = f->got_count,
                                      .body = kos_bytes(f->body, f->body_len) };
        struct http_parcel *parcel = http_parcel_new(&m);
        http_fetch_finish(f, parcel ? KOS_OK : KOS_E_NOMEM, "out of memory", parcel);
    }
}

static void collect(struct http_client *client)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(client->multi, &left)))
        if (message->msg == CURLMSG_DONE) {
            void *f = NULL;
            CURLcode code = message->data.result;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &f);
            transferred(f, code);
        }
}

/* ---- what libcurl calls ---- */

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct fetch *f = arg;
    size_t len = size * count;
    if (len > f->note->body_max || f->body_len > f->note->body_max - len) {
        f->too_long = true;
        return CURL_WRITEFUNC_ERROR;
    }
    if (f->body_cap - f->body_len < len) {
        size_t cap = 2 * f->body_cap + len;
        uint8_t *more = realloc(f->body, cap);
        if (!more) {
            f->no_memory = true;
            return CURL_WRITEFUNC_ERROR;
        }
        f->body = more;
        f->body_cap = cap;
    }
    memcpy(f->body + f->body_len, data, len);
    f->body_len += len;
    return len;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct fetch *f = arg;
    size_t len = size * count, used = len;
    if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) { /* after 100 Continue it begins again */
        clear_got(f);
        return len;
    }
    while (len && strchr("\r\n \t", data[len - 1]))
        len--;
    char *colon = memchr(data, ':', len);
    if (!colon)
        return used;
    if (f->got_count == HTTP_HEADERS_MAX || (f->got_bytes += used) > HTTP_RESPONSE_HEAD_MAX) {
        f->too_long = true;
        return 0;
    }
    char *copy = malloc(len + 1);
    if (!copy) {
        f->no_memory = true;
        return 0;
    }
    memcpy(copy, data, len);
    copy[len] = '\0';
    char *value = copy + (colon - data);
    *value++ = '\0';
    value += strspn(value, " \t");
    f->got[f->got_count++] = (struct kos_http_header){ copy, value };
    return used;
}

/* The addresses as they are, whatever a name said before: here nothing can be changed any more. */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct fetch *f = arg;
    (void)purpose;
    if (!f->client->net->http->conf.fetch_private && http_address_private(&address->addr)) {
        f->denied = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
}

static void on_socket_event(evutil_socket_t fd, short events, void *arg)
{
    struct http_client *client = arg;
    int running, mask = (events & EV_READ ? CURL_CSELECT_IN : 0) | (events & EV_WRITE ? CURL_CSELECT_OUT : 0);
    curl_multi_socket_action(client->multi, fd, mask, &running);
    collect(client);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned)
{
    struct http_client *client = arg;
    struct event *event = assigned;
    (void)easy;
    if (event)
        event_free(event);
    event = NULL;
    if (what != CURL_POLL_REMOVE) {
        short events =
            (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST);
        event = event_new(client->net->base, fd, events, on_socket_event, client);
        if (!event || event_add(event, NULL) != 0)
            return -1;
    }
    curl_multi_assign(client->multi, fd, event);
    return 0;
}

static int on_timer_wanted(CURLM *multi, long ms, void *arg)
{
    struct http_client *client = arg;
    struct timeval at = { ms / 1000, ms % 1000 * 1000 };
    (void)multi;
    if (ms < 0)
        event_del(client->timer);
    else
        event_add(client->timer, &at);
    return 0;
}

static void on_timer(evutil_socket_t fd, short events, void *arg)
{
    struct http_client *client = arg;
    int running;
    (void)fd;
    (void)events;
    curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(client);
}

void http_fetch_go(struct fetch *f)
{
    curl_easy_setopt(f->easy, CURLOPT_RESOLVE, f->addresses);
    CURLMcode code = curl_multi_add_handle(f->client->multi, f->easy);
    if (code == CURLM_OK)
        f->added = true;
    else
        http_fetch_finish(f, KOS_E_NOMEM, curl_multi_strerror(code), NULL);
}

/* ---- the beginning of a fetch ---- */

static bool part(CURLU *url, CURLUPart what, unsigned flags, char *ret_text, size_t cap)
{
    char *text = NULL;
    if (curl_url_get(url, what, &text, flags) != CURLUE_OK)
        return false;
    bool fits = strlen(text) < cap;
    if (fits)
        memcpy(ret_text, text, strlen(text) + 1);
    curl_free(text);
    return fits;
}

static bool understand(struct fetch *f, const char *text, char *ret_why, size_t cap)
{
    CURLU *url = curl_url();
    char scheme[8] = "", *user = NULL;
    bool parsed = url && curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
        part(url, CURLUPART_SCHEME, 0, scheme, sizeof scheme) &&
        part(url, CURLUPART_HOST, 0, f->name, sizeof f->name) &&
        part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, f->port, sizeof f->port);
    bool web = strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0;
    bool secret = parsed && curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_OK;
    curl_free(user);
    curl_url_cleanup(url);
    for (const char *c = f->name; parsed && *c; c++)
        parsed = (*c & 0x80) == 0;
    if (parsed && web && !secret)
        return true;
    snprintf(ret_why, cap, secret ? "a URL with a user name in it is not fetched: use the header authorization"
                                  : "%.200s is not a URL of http or https with an ASCII host", text);
    return false;
}

static bool add_header(struct fetch *f, const char *format, const char *name, const char *value)
{
    size_t cap = strlen(name) + strlen(value) + 4;
    char *line = malloc(cap);
    struct curl_slist *more = NULL;
    if (line) {
        snprintf(line, cap, format, name, value);
        more = curl_slist_append(f->headers, line);
    }
    free(line);
    if (more)
        f->headers = more;
    return more != NULL;
}

static bool set_headers(struct fetch *f, const struct kos_http_message *m)
{
    bool ok = add_header(f, "%s:%s", "expect", ""), type = false;
    for (uint32_t i = 0; ok && i < m->header_count; i++) {
        const char *value = m->headers[i].value;
        ok = add_header(f, *value ? "%s: %s" : "%s;%s", m->headers[i].name, value);
        type |= strcmp(m->headers[i].name, "content-type") == 0;
    }
    return ok && (type || add_header(f, "%s:%s", "content-type", ""));
}

static bool set_up(struct fetch *f, const struct kos_http_message *m)
{
    const struct http_conf *conf = &f->client->net->http->conf;
    CURL *e = f->easy;
    bool ok = set_headers(f, m);
    curl_easy_setopt(e, CURLOPT_PRIVATE, f);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->why);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, f->headers);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, f);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, f);
    ok = ok && curl_easy_setopt(e, CURLOPT_URL, m->url) == CURLE_OK &&
        curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
    if (*conf->ca_file)
        ok = ok && curl_easy_setopt(e, CURLOPT_CAINFO, conf->ca_file) == CURLE_OK &&
            curl_easy_setopt(e, CURLOPT_CAPATH, NULL) == CURLE_OK;
    if (strcasecmp(m->method, "HEAD") == 0) {
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    } else if (m->body.len || strcasecmp(m->method, "POST") == 0) {
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)m->body.len);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, m->body.len ? (const char *)m->body.data : "");
    }
    return ok && curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, m->method) == CURLE_OK;
}

static void on_timeout(evutil_socket_t fd, short events, void *arg)
{
    struct fetch *f = arg;
    char why[HTTP_WHY];
    (void)fd;
    (void)events;
    snprintf(why, sizeof why, "no whole answer from %.120s within %llu ms", f->name,
             (unsigned long long)f->note->timeout_ms);
    http_fetch_finish(f, KOS_E_TIMEOUT, why, NULL);
}

static void refuse(struct http_client *client, struct http_note *note, int32_t status, const char *why)
{
    client->failed++;
    note->kind = HTTP_RESPONSE;
    note->status = status;
    free(note->parcel);
    free(note->text);
    note->parcel = NULL;
    note->text = strdup(why);
    http_tell(client->net, note);
}

static void fetch(struct http_client *client, struct http_note *note)
{
    const struct http_conf *conf = &client->net->http->conf;
    struct fetch *f = NULL;
    char why[HTTP_WHY];
    HASH_FIND(hh, client->fetches, &note->id, sizeof note->id, f);
    if (f) {
        refuse(client, note, KOS_E_INVALID, "a fetch with this id is under way");
        return;
    }
    if (HASH_COUNT(client->fetches) >= conf->fetches_waiting) {
        snprintf(why, sizeof why, "%u fetches are under way or wait (setting fetches_waiting)", conf->fetches_waiting);
        refuse(client, note, KOS_E_BUSY, why);
        return;
    }
    f = calloc(1, sizeof *f);
    if (!f) {
        refuse(client, note, KOS_E_NOMEM, "out of memory");
        return;
    }
    uint64_t patience = note->timeout_ms;
    struct timeval timeout = { (time_t)(patience / 1000), (suseconds_t)(patience % 1000 * 1000) };
    f->client = client;
    f->note = note;
    f->id = note->id;
    HASH_ADD(hh, client->fetches, id, sizeof f->id, f);
    f->easy = curl_easy_init();
    f->timeout = event_new(client->net->base, -1, 0, on_timeout, f);
    if (!f->easy || !f->timeout || event_add(f->timeout, &timeout) != 0)
        http_fetch_finish(f, KOS_E_NOMEM, "out of memory", NULL);
    else if (!understand(f, note->parcel->message.url, why, sizeof why))
        http_fetch_finish(f, KOS_E_INVALID, why, NULL);
    else if (!set_up(f, &note->parcel->message))
        http_fetch_finish(f, KOS_E_INVALID, "libcurl does not take this request", NULL);
    else
        http_resolve(f);
}

void http_client_note(struct http_client *client, struct http_note *note)
{
    struct fetch *f;
    if (note->kind == HTTP_FETCH) {
        fetch(client, note);
        return;
    }
    HASH_FIND(hh, client->fetches, &note->id, sizeof note->id, f);
    if (f)
        http_fetch_finish(f, KOS_E_CANCELLED, "cancelled", NULL);
    http_note_free(note);
}

/* ---- life ---- */

void http_client_stop(struct http_client *client)
{
    struct fetch *f, *next;
    HASH_ITER(hh, client->fetches, f, next)
        http_fetch_finish(f, KOS_E_CANCELLED, "the HTTP service stops", NULL);
}

bool http_client_quiet(const struct http_client *client)
{
    return client->lookups == NULL;
}

void http_client_free(struct http_client *client)
{
    struct lookup *lookup, *next;
    if (!client)
        return;
    if (client->multi)
        curl_multi_cleanup(client->multi);
    if (client->dns)
        evdns_base_free(client->dns, 0);
    if (client->timer)
        event_free(client->timer);
    DL_FOREACH_SAFE(client->lookups, lookup, next)
        free(lookup);
    free(client);
}

struct http_client *http_client_new(struct http_net *net, struct kos_error *ret_error)
{
    struct http_client *client = calloc(1, sizeof *client);
    const struct http_conf *conf = &net->http->conf;
    if (client) {
        client->net = net;
        client->multi = curl_multi_init();
        client->timer = event_new(net->base, -1, 0, on_timer, client);
    }
    if (!client || !client->multi || !client->timer) {
        http_client_free(client);
        kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the HTTP client");
        return NULL;
    }
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)conf->fetches);
    curl_multi_setopt(client->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)conf->fetches_per_host);
    return client;
}

int http_client_report(const struct http_client *client, json_t *all)
{
    const struct http_conf *conf = &client->net->http->conf;
    return json_object_set_new(all, "fetches",
                               json_pack("{s:i, s:i, s:i, s:i, s:I, s:I}", "open", (int)HASH_COUNT(client->fetches),
                                         "max", (int)conf->fetches_waiting, "parallel", (int)conf->fetches,
                                         "per_host", (int)conf->fetches_per_host, "done", (json_int_t)client->done,
                                         "failed", (json_int_t)client->failed));
}
