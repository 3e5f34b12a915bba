/* SPDX-License-Identifier: Apache-2.0
 * What plugins offer besides their kind: control methods, users of agents and of the HTTP server. */
#include <stdlib.h>

#include "conform.h"

/* ---- control ---- */

/* The names behind "method " in the interface's description, one after the other. */
static bool next_method(const char **at, char *ret_name, size_t cap)
{
    const char *method = strstr(*at, "method ");
    if (!method)
        return false;
    method += strlen("method ");
    size_t n = strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789");
    snprintf(ret_name, cap, "%.*s", (int)n, method);
    *at = method + n;
    return true;
}

static struct call *call(struct host *h, const char *method, const char *parameters, uint32_t flags)
{
    struct call *made = kos_new(sizeof *made);
    made->id = host_id(h);
    made->flags = flags;
    HASH_ADD(hh, h->calls, id, sizeof made->id, made);
    h->backend->ops->call(h->backend, made->id, method, kos_bytes_str(parameters), flags);
    return made;
}

static const char *description(const struct conform *c)
{
    return json_string_value(json_object_get(c->module->description, "interface_description"));
}

static const char *const parameters[] = {
    "{}", "{\"text\":\"conform-payload\"}", "{ \"a\" : [ 1, 2 ] }", "[]", "17", "null", "{", "",
    "{\"from\":-1,\"inputs\":[{}],\"target\":\"klp://\",\"task\":\"x\"}",
    "{\"deadline_ms\":0,\"inputs\":[\"a\",{\"base64\":\"!\"}],\"target\":\"klp://agent.echo.home\",\"trust\":1e308}",
    "{\"text\":\"\\u0000\"}", "{\"text\":\"\\ud800\"}",
};
enum { PARAMETERS = sizeof parameters / sizeof *parameters };

void exercise_control(struct host *h)
{
    const char *at = description(h->c);
    char method[64];
    while (living(h) && next_method(&at, method, sizeof method)) {
        struct call *c = call(h, method, "{}", 0);
        settle(h->c);
        if (living(h) && !c->done)
            h->backend->ops->hangup(h->backend, c->id);
        call(h, method, parameters[1], KOS_CALL_MORE);
        settle(h->c);
    }
}

static void wait_reply(struct host *h, const struct call *made, const char *method, const char *given)
{
    WAIT(h->c, soon(h->c), made->done);
    if (!made->done)
        broke(h->c, RULE_CONTROL_REPLY, "%s %s was not answered within %d s", method, given, (int)(soon(h->c) / 1000));
}

static void test_garbage(struct conform *c)
{
    struct host *h = host_new(c);
    const char *at = description(c);
    char method[64];
    host_begin(h);
    settle(c);
    while (next_method(&at, method, sizeof method))
        for (size_t i = 0; i < PARAMETERS; i++)
            wait_reply(h, call(h, method, parameters[i], 0), method, parameters[i]);
    wait_reply(h, call(h, "NoSuchMethod", "{}", 0), "NoSuchMethod", "{}");
    wait_reply(h, call(h, "", "{}", 0xfffffffe), "a method without a name", "{}");
    settle(c);
    host_end(h);
}

static void test_hangup(struct conform *c)
{
    struct host *h = host_new(c);
    const char *at = description(c);
    char method[64];
    host_begin(h);
    while (next_method(&at, method, sizeof method)) {
        struct call *made = call(h, method, parameters[9], KOS_CALL_MORE);
        h->backend->ops->hangup(h->backend, made->id);
        made = call(h, method, "{}", KOS_CALL_MORE);
        settle(c);
        h->backend->ops->hangup(h->backend, made->id);
        settle(c);
    }
    host_end(h);
}

static void test_refused(struct conform *c)
{
    static const int32_t codes[] = { KOS_E_BUSY, KOS_E_NOSPACE, KOS_E_DENIED, KOS_E_TRUST, KOS_E_NOTFOUND, -1000 };
    for (size_t k = 0; k < sizeof codes / sizeof *codes; k++) {
        struct host *h = host_new(c);
        const char *at = description(c);
        char method[64];
        host_begin(h);
        settle(c);
        h->refuse.tx = h->refuse.state = codes[k];
        while (next_method(&at, method, sizeof method))
            for (size_t i = 0; i < 2; i++)
                wait_reply(h, call(h, method, parameters[i], 0), method, "under a host that refuses everything");
        host_end(h);
    }
}

/* ---- agents.user ---- */

void exercise_agents(struct host *h)
{
    (void)h; /* runs are the plugin's to begin: its handler and control methods have been exercised */
}

/* ---- http.user ---- */

static struct request *ask(struct host *h, const char *method, const char *url, const char *body)
{
    static const struct kos_http_header headers[] = { { "host", "conform" }, { "content-type", "text/plain" } };
    struct kos_http_message m = { .size = sizeof m, .method = method, .url = url, .headers = headers, .header_count = 2,
                                  .body = kos_bytes_str(body), .peer = "127.0.0.1:9" };
    struct request *r = kos_new(sizeof *r);
    r->id = host_id(h);
    HASH_ADD(hh, h->requests, id, sizeof r->id, r);
    h->backend->ops->http_request(h->backend, r->id, &m);
    return r;
}

void exercise_http(struct host *h)
{
    settle(h->c);
    if (!h->prefix[0] || h->refuse.http || !living(h))
        return;
    char *url = kos_format("%s%sx?y=%%00", h->prefix, h->prefix[strlen(h->prefix) - 1] == '/' ? "" : "/");
    ask(h, "GET", h->prefix, "");
    ask(h, "POST", url, "conform-payload");
    settle(h->c);
    free(url);
}

static void test_requests(struct conform *c)
{
    static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH" };
    static const char *const bodies[] = { "", "{}", "{\"text\":\"conform-payload\"}", "[", "\xff\xfe" };
    struct host *h = host_new(c);
    host_begin(h);
    WAIT(c, 500, h->prefix[0]);
    if (!h->prefix[0])
        skip(c, "it serves nothing with these settings");
    for (size_t i = 0; i < sizeof methods / sizeof *methods * 5; i++) {
        struct request *r = ask(h, methods[i / 5], h->prefix, bodies[i % 5]);
        WAIT(c, soon(c), r->answered);
        if (!r->answered)
            broke(c, RULE_HTTP_RESPOND, "%s %s was not answered within %d s", methods[i / 5], h->prefix,
                  (int)(soon(c) / 1000));
    }
    host_end(h);
}

const struct test suite_control[] = {
    { "control", "garbage", "every method, with parameters of every sort", KOS_CONTROL, test_garbage },
    { "control", "hangup", "callers that go away", KOS_CONTROL, test_hangup },
    { "control", "refused", "methods under a host that refuses everything", KOS_CONTROL, test_refused },
    { 0 },
};
const struct test suite_http_user[] = {
    { "http.user", "requests", "every request is answered once", KOS_HTTP_USER, test_requests },
    { 0 },
};
