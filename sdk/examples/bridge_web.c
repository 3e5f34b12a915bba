/* SPDX-License-Identifier: Apache-2.0
 *
 * A bridge: web hooks. `POST /hook/TYPE` with a JSON object becomes a message TYPE to `target`, and is answered 202
 * only when it is durable; what a policy maps here is POSTed to the URL that the map names. Who calls is not asked:
 * the HTTP service listens on this machine alone, unless a reverse proxy that knows its callers stands before it.
 */
#include <klp/json.h>
#include <kos/bridge.h>
#include <kos/http.h>
#include <kos/plugin.h>
#include <stdlib.h>
#include <strings.h>

enum { BODY_MAX = 256 << 10, ANSWER_MAX = 64 << 10, DELIVERIES_MAX = 64, TEXT_MAX = 600 };
#define SERVE UINT64_MAX        /* an operation; those of inject have the number of their request */

struct web {
    const struct kos_host *host;
    const struct kos_bridge_host *bridge;
    const struct kos_http *http;
    const char *path, *target;
    int64_t expires_ms;
    uint64_t timeout_ms;
    char origin[300];
    uint64_t deliveries[DELIVERIES_MAX];  /* open: the host's operations, and by the same number our fetches */
    uint32_t delivery_count;
};

static void hex(const uint8_t *bytes, size_t len, char *ret_text)
{
    for (size_t i = 0; i < len; i++)
        snprintf(ret_text + 2 * i, 3, "%02x", bytes[i]);
}

static const char *header(const struct kos_http_message *m, const char *name)
{
    for (uint32_t i = 0; i < m->header_count; i++)
        if (strcmp(m->headers[i].name, name) == 0)
            return m->headers[i].value;
    return NULL;
}

/* ---- inward ---- */

/* {"error":NAME,"text":SENTENCE}, or {"status":WORD} when all went well. */
static void answer(struct web *w, uint64_t request, int32_t http_status, int32_t status, const char *text)
{
    static const struct kos_http_header headers[] = { { "content-type", "application/json" }, { "retry-after", "1" } };
    uint8_t body[2 * TEXT_MAX];
    struct klp_json_out out;
    struct kos_http_message m = { .size = sizeof m, .status = http_status, .headers = headers };
    m.header_count = http_status == 503 ? 2 : 1;
    klp_json_begin(&out, body, sizeof body);
    klp_json_object(&out);
    klp_json_name(&out, status < 0 ? "error" : "status");
    klp_json_put_cstr(&out, status < 0 ? kos_error_name(status) : http_status == 202 ? "accepted" : "known");
    if (status < 0) {
        klp_json_name(&out, "text");
        klp_json_put_cstr(&out, text && *text ? text : kos_error_text(status));
    }
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &m.body) < 0)
        m.body = kos_bytes_str("{}");
    w->http->respond(w->host, request, &m);
}

static int32_t http_status(int32_t status)
{
    switch (status) {
    case KOS_OK: return 202;
    case KOS_E_EXISTS: return 200;
    case KOS_E_INVALID: case KOS_E_SYNTAX: case KOS_E_CANONICAL: return 400;
    case KOS_E_DENIED: case KOS_E_TRUST: case KOS_E_PERMISSION: return 403;
    case KOS_E_NOTFOUND: return 404;
    case KOS_E_LIMIT: return 413;
    default: return kos_error_retry(status) ? 503 : 422;
    }
}

/* TYPE of /hook/TYPE; NULL when it is none. */
static const char *type_of(const struct web *w, const char *url)
{
    const char *type = url + strlen(w->path);
    size_t len = *type == '/' ? strspn(type + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") : 0;
    return len > 0 && len < 64 && type[len + 1] == '\0' && type[1] >= 'A' && type[1] <= 'Z' ? type + 1 : NULL;
}

/* What the caller names it, or what it is: the same comes twice when an answer was lost, and is taken once. */
static void key_of(const char *type, const struct kos_http_message *m, struct kos_bytes body, char *ret_key, size_t cap)
{
    const char *given = header(m, "idempotency-key");
    struct klp_digest digest;
    char text[2 * sizeof digest.b + 1];
    klp_sha256(body, &digest);
    hex(digest.b, sizeof digest.b, text);
    snprintf(ret_key, cap, "%s:%s", type, given && *given ? given : text);
}

static void inject(struct web *w, uint64_t request, const char *type, const struct kos_http_message *m,
                   struct kos_bytes body)
{
    char key[300];
    key_of(type, m, body, key, sizeof key);
    struct kos_foreign foreign = { .size = sizeof foreign, .origin = w->origin, .key = key, .foreign_author = m->peer };
    foreign.draft = (struct kos_draft){ .size = sizeof foreign.draft,
                                        .klass = 1,
                                        .type = type,
                                        .target = w->target,
                                        .payload = body,
                                        .expires_in_ms = w->expires_ms };
    w->bridge->inject(w->host, &foreign, request);
}

static void request(void *self, uint64_t request, const struct kos_http_message *m)
{
    struct web *w = self;
    const char *type = type_of(w, m->url), *content = header(m, "content-type"), *key = header(m, "idempotency-key");
    uint8_t *body;
    size_t len;
    struct kos_error error = { 0 };
    if (!type) {
        answer(w, request, 404, KOS_E_NOTFOUND, "post to the path of this hook, a slash and a message type");
    } else if (strcmp(m->method, "POST") != 0) {
        answer(w, request, 405, KOS_E_INVALID, "a hook takes POST");
    } else if (!content || strncasecmp(content, "application/json", 16) != 0) {
        /* What a page in a browser may send to another site without asking is never of this type. */
        answer(w, request, 415, KOS_E_INVALID, "the content-type is to be application/json");
    } else if (key && strlen(key) > 200) {
        answer(w, request, 400, KOS_E_INVALID, "an idempotency-key has at most 200 characters");
    } else if (klp_json_canonicalise(m->body, BODY_MAX, &body, &len, &error) < 0) {
        answer(w, request, 400, error.code, error.text);
    } else {
        if (len > 0 && body[0] == '{')
            inject(w, request, type, m, kos_bytes(body, len));
        else
            answer(w, request, 400, KOS_E_INVALID, "the body is to be a JSON object");
        free(body);
    }
}

static void completed(void *self, uint64_t op, int32_t status, struct kos_bytes result)
{
    struct web *w = self;
    char text[TEXT_MAX / 2];
    snprintf(text, sizeof text, "%.*s", result.len < sizeof text ? (int)result.len : 0, (const char *)result.data);
    if (op != SERVE) {
        answer(w, op, http_status(status), status == KOS_E_EXISTS ? KOS_OK : status, text);
    } else if (status < 0) {
        char line[KOS_LOG_TEXT_MAX];
        snprintf(line, sizeof line, "hooks are not served at %.100s: %.300s", w->path,
                 *text ? text : kos_error_text(status));
        w->host->log(w->host, KOS_ERROR, line);
    }
}

/* ---- outward ---- */

static void deliver(void *self, uint64_t op, const struct kos_message *m, const char *destination)
{
    struct web *w = self;
    char id[2 * KOS_ID_BYTES + 1];
    struct kos_http_header headers[] = { { "content-type", "application/json" },
                                         { "idempotency-key", id },
                                         { "x-kos-type", m->type } };
    struct kos_http_message post = { .size = sizeof post,
                                     .method = "POST",
                                     .url = destination,
                                     .headers = headers,
                                     .header_count = sizeof headers / sizeof *headers,
                                     .body = m->payload };
    hex(m->id, KOS_ID_BYTES, id);
    if (w->delivery_count == DELIVERIES_MAX) {
        w->host->complete(w->host, op, KOS_E_BUSY, kos_bytes_str("too many deliveries are under way"));
        return;
    }
    w->deliveries[w->delivery_count++] = op;
    w->http->fetch(w->host, &post, ANSWER_MAX, w->timeout_ms, op);
}

static void response(void *self, uint64_t op, int32_t status, const struct kos_http_message *m, const char *text)
{
    struct web *w = self;
    char line[64];
    uint32_t i = 0;
    while (i < w->delivery_count && w->deliveries[i] != op)
        i++;
    if (i == w->delivery_count)
        return;
    w->deliveries[i] = w->deliveries[--w->delivery_count];
    if (status >= 0 && (m->status < 200 || m->status > 299)) {
        bool later = m->status >= 500 || m->status == 408 || m->status == 429;
        snprintf(line, sizeof line, "the other side answered %d", m->status);
        status = later ? KOS_E_BUSY : KOS_E_DENIED; /* the host tries again after the first, never after the second */
        text = line;
    }
    w->host->complete(w->host, op, status, kos_bytes_str(status < 0 ? text : ""));
}

/* ---- life ---- */

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    const struct kos_bridge_host *bridge = host->feature(host, KOS_BRIDGE_HOST);
    const struct kos_http *http = host->feature(host, KOS_HTTP);
    if (!bridge || !http)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED,
                        "web hooks need a plugin that serves HTTP, such as http.so, beside "
                        "them in the policy");
    struct web *w = calloc(1, sizeof *w);
    if (!w)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the web bridge");
    w->host = host;
    w->bridge = bridge;
    w->http = http;
    w->path = kos_conf_text(conf, "path");
    w->target = kos_conf_text(conf, "target");
    w->expires_ms = kos_conf_number(conf, "expires");
    w->timeout_ms = (uint64_t)kos_conf_number(conf, "timeout");
    snprintf(w->origin, sizeof w->origin, "web:%s", w->path);
    *ret_self = w;
    return KOS_OK;
}

static void start(void *self)
{
    struct web *w = self;
    w->http->serve(w->host, w->path, BODY_MAX, SERVE);
}

static void stop(void *self)
{
    struct web *w = self;
    while (w->delivery_count > 0) { /* their messages come again */
        uint64_t op = w->deliveries[--w->delivery_count];
        w->http->cancel(w->host, op);
        w->host->complete(w->host, op, KOS_E_CANCELLED, kos_bytes(NULL, 0));
    }
    w->host->stopped(w->host); /* requests and injects under way are the host's to answer and to drop */
}

static void resume(void *self, const char *origin, struct kos_bytes cursor)
{
    (void)self;
    (void)origin;
    (void)cursor; /* hooks push: there is nowhere to go on from */
}

#define SETTING(name_, type_, fallback_, min_, max_, summary_)                                                         \
    &(const struct kos_setting)                                                                                        \
    {                                                                                                                  \
        .size = sizeof(struct kos_setting), .type = (type_), .name = (name_), .fallback = (fallback_), .min = (min_),  \
        .max = (max_), .summary = (summary_)                                                                           \
    }
#define RIGHT(name_, why_) &(const struct kos_right){ sizeof(struct kos_right), (name_), (why_) }
#define FEATURE(name_, table_) &(const struct kos_feature){ sizeof(struct kos_feature), (name_), (table_) }

static const struct kos_bridge bridge = { sizeof bridge, deliver, resume };
static const struct kos_http_user user = { sizeof user, request, response };
static const struct kos_setting *const settings[] = {
    SETTING("path", KOS_SETTING_STRING, "/hook", 1, 200, "path of the hooks, without a slash at its end"),
    SETTING("target", KOS_SETTING_STRING, NULL, 0, 0, "klp:// address that hooks become messages to"),
    SETTING("expires", KOS_SETTING_DURATION, "1d", 1000, 2592000000, "how long such a message may be on its way"),
    SETTING("timeout", KOS_SETTING_DURATION, "30s", 100, 300000, "for a delivery to a URL"),
    NULL,
};
static const struct kos_right *const rights[] = {
    RIGHT("send", "sends what is posted to its hooks"),
    RIGHT("connect", "posts messages to the URLs of its maps"),
    NULL,
};
static const struct kos_feature *const features[] = {
    FEATURE(KOS_BRIDGE, &bridge),
    FEATURE(KOS_HTTP_USER, &user),
    NULL,
};

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.example.web_bridge",
    .name = "web_bridge",
    .version = "1.0.0",
    .summary = "web hooks, in and out",
    .settings = settings,
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = free,
    .completed = completed,
};
