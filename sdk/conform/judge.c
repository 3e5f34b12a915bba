/* SPDX-License-Identifier: Apache-2.0
 * What comes up from the plugin, judged: its life, completions, answers. */
#include <klp/json.h>
#include <stdlib.h>

#include "conform.h"

static struct host *host_of(struct kos_services *services)
{
    return (struct host *)services;
}

/* Every member begins here. */
static struct conform *up(struct kos_services *services)
{
    host_event(host_of(services));
    return host_of(services)->c;
}

/* ---- life ---- */

static const struct { const char *words; enum rule rule; } broken[] = {
    { "from a thread of its own", RULE_ABI_THREAD },
    { "called stopped after it had said stopped", RULE_HOST_STOPPED },
    { "after it had said stopped", RULE_HOST_STOPPED },
    { "without having been asked to stop", RULE_HOST_STOPPED },
    { "caused an event that it does not take", RULE_PLUGIN_EVENTS },
    { "takes none (kos_plugin.timer is NULL", RULE_PLUGIN_EVENTS },
    { "closed before it ended its watch", RULE_HOST_WATCH },
    { "though init failed", RULE_PLUGIN_INIT },
};

static void s_broke(struct kos_services *services, const char *what)
{
    struct conform *c = up(services);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        if (strstr(what, broken[i].words))
            broke(c, broken[i].rule, "it %s", what);
    broke(c, RULE_ABI_IDS, "it %s", what);
}

static void s_quiet(struct kos_services *services)
{
    struct host *h = host_of(services);
    up(services);
    if (h->life == HOST_STOPPING) { /* else it is init that failed */
        h->life = HOST_QUIET;
        judge_quiet(h);
    }
    open_drop(h);
}

static void s_finished(struct kos_services *services)
{
    up(services);
    host_of(services)->life = HOST_FINISHED;
    snprintf(host_of(services)->c->verdict->last, sizeof host_of(services)->c->verdict->last, "fini, which returned");
}

static bool s_gives(struct kos_services *services, const char *feature)
{
    static const struct { const char *feature, *kind; } pairs[] = {
        { KOS_TRANSPORT_HOST, KOS_TRANSPORT }, { KOS_CONTROL_HOST, KOS_CONTROL },
        { KOS_DISCOVERY_HOST, KOS_DISCOVERY }, { KOS_BRIDGE_HOST, KOS_BRIDGE },
        { KOS_HTTP, KOS_HTTP_USER },           { KOS_HTTP_SERVICE_HOST, KOS_HTTP_SERVICE },
        { KOS_AGENTS, KOS_AGENTS_USER },       { KOS_STREAM, KOS_STREAM_USER },
    };
    struct host *h = host_of(services);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (strcmp(pairs[i].feature, feature) == 0)
            return !h->refuse.features && module_offers(h->c->module, pairs[i].kind) &&
                (strcmp(feature, KOS_AGENTS) != 0 || module_asks(h->c->module, "agents")) &&
                (strcmp(feature, KOS_STREAM) != 0 || module_asks(h->c->module, "stream"));
    return false;
}

/* 0xdd: what a call passed, after the call (driver.h, strict); 0xa5, 0x5a: memory freed, and taken again (main.c,
 * tune). */
void judge_kept(struct host *h, const char *where, struct kos_bytes bytes)
{
    size_t run = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t byte = bytes.data[i];
        run = byte != 0xdd && byte != 0xa5 && byte != 0x5a ? 0 : i && bytes.data[i - 1] == byte ? run + 1 : 1;
        if (run == 8)
            broke(h->c, RULE_ABI_BORROW, "%s was given bytes of memory that is gone: a pointer was kept", where);
    }
}

void judge_text(struct host *h, const char *where, const char *text)
{
    struct klp_json_out out;
    judge_kept(h, where, kos_bytes_str(text));
    klp_json_begin(&out, NULL, 0);
    klp_json_put_cstr(&out, text); /* which checks UTF-8 */
    if (out.error)
        broke(h->c, RULE_ABI_UTF8, "%s was given a text that is not UTF-8", where);
}

static void s_log(struct kos_services *services, int32_t level, const char *text)
{
    struct host *h = host_of(services);
    struct conform *c = h->c;
    h->logged++;
    if (c->loud)
        fprintf(stderr, "%s: %d: %s\n", h->name, (int)level, text);
    if (strstr(text, "conform-secret"))
        broke(c, RULE_HOST_LOG, "a secret stands in its log: \"%.300s\"", text);
    if (strstr(text, "conform-payload"))
        broke(c, RULE_HOST_LOG, "a payload stands in its log: \"%.300s\"", text);
    judge_text(h, "log", text);
}

static void s_complete(struct kos_services *services, uint64_t id, int32_t status, struct kos_bytes result)
{
    struct conform *c = up(services);
    struct host *h = host_of(services);
    struct op *op;
    HASH_FIND(hh, h->ops, &id, sizeof id, op);
    if (!op)
        broke(c, RULE_HOST_COMPLETE, "operation %llu was completed, which was never submitted", (unsigned long long)id);
    if (op->done)
        broke(c, RULE_ABI_ONCE, "%s (operation %llu) was completed twice, with %s and then with %s", op->what,
              (unsigned long long)id, kos_error_name(op->status), kos_error_name(status));
    op->done = true;
    op->status = status;
    op->len = status < 0 ? 0 : result.len;
    op->result = op->len ? kos_memdup(result.data, result.len) : NULL;
}

/* ---- discovery ---- */

static void s_found(struct kos_services *services, uint64_t id, const uint8_t *node, struct kos_bytes record,
                    const char *const *addresses, uint64_t ttl_ms)
{
    struct conform *c = up(services);
    struct host *h = host_of(services);
    struct op *op = NULL;
    size_t count = 0;
    (void)node;
    (void)ttl_ms;
    if (id)
        HASH_FIND(hh, h->ops, &id, sizeof id, op);
    if (id && (!op || strcmp(op->what, "find") != 0))
        broke(c, RULE_FIND_FOUND, "found names operation %llu, which is no find", (unsigned long long)id);
    if (op && op->done)
        broke(c, RULE_FIND_FOUND, "found came for find %llu after that had been completed", (unsigned long long)id);
    for (; count <= 64 && addresses[count]; count++)
        judge_text(h, "found", addresses[count]);
    if (count > 64 || (count == 0 && record.len == 0))
        broke(c, RULE_FIND_ADDRESSES, count ? "found was given more than 64 addresses"
                                            : "found was given neither record nor addresses");
    if (op)
        op->found++;
    h->found++;
}

static void s_lost(struct kos_services *services, const uint8_t id[KOS_ID_BYTES])
{
    up(services);
    (void)id;
    host_of(services)->lost++;
}

/* ---- control ---- */

static bool is_object(struct kos_bytes text)
{
    json_t *value = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
    bool object = json_is_object(value);
    json_decref(value);
    return object;
}

static void s_reply(struct kos_services *services, uint64_t id, int32_t status, struct kos_bytes parameters,
                    const char *text, int32_t continues)
{
    struct conform *c = up(services);
    struct host *h = host_of(services);
    struct call *call;
    HASH_FIND(hh, h->calls, &id, sizeof id, call);
    if (!call)
        broke(c, RULE_CONTROL_REPLY, "reply names call %llu, which never was", (unsigned long long)id);
    if (call->done)
        broke(c, call->status < 0 ? RULE_CONTROL_ENDS : RULE_CONTROL_REPLY,
              "call %llu was answered again after its last answer (%s)", (unsigned long long)id,
              kos_error_name(call->status));
    if (status >= 0 && !is_object(parameters))
        broke(c, RULE_CONTROL_ANSWER, "call %llu was answered with %.*s, which is no JSON object",
              (unsigned long long)id, (int)(parameters.len < 100 ? parameters.len : 100),
              parameters.len ? (const char *)parameters.data : "");
    if (status >= 0 && continues && !(call->flags & KOS_CALL_MORE))
        broke(c, RULE_CONTROL_MORE, "call %llu was answered with more to follow, but without KOS_CALL_MORE",
              (unsigned long long)id);
    if (text)
        judge_text(h, "reply", text);
    call->answers++;
    call->done = status < 0 || !continues;
    call->status = status;
}

static void s_event(struct kos_services *services, const char *event, struct kos_bytes detail)
{
    struct conform *c = up(services);
    host_of(services)->events_told++;
    if (!*event || strspn(event, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != strlen(event) || !is_object(detail))
        broke(c, RULE_CONTROL_EVENT, "event \"%.64s\" came with %.*s", event,
              (int)(detail.len < 100 ? detail.len : 100), detail.len ? (const char *)detail.data : "");
}

/* ---- the http service ---- */

static void s_http_request(struct kos_services *services, uint64_t id, const char *prefix,
                           const struct kos_http_message *m)
{
    struct conform *c = up(services);
    struct host *h = host_of(services);
    struct request *r;
    HASH_FIND(hh, h->served, &id, sizeof id, r);
    if (id == 0 || (r && !r->answered))
        broke(c, RULE_HTTP_REQUEST, "request %llu is used for a second request before the first was answered",
              (unsigned long long)id);
    if (!m->url || strncmp(m->url, prefix, strlen(prefix)) != 0)
        broke(c, RULE_HTTP_PREFIX, "a request for %.100s was handed over under the prefix %.100s", m->url ? m->url : "",
              prefix);
    if (r) {
        HASH_DEL(h->served, r);
        free(r);
    }
    r = kos_new(sizeof *r);
    r->id = id;
    snprintf(r->prefix, sizeof r->prefix, "%s", prefix);
    snprintf(r->path, sizeof r->path, "%s", m->url);
    r->status = (int32_t)m->body.len;
    HASH_ADD(hh, h->served, id, sizeof r->id, r);
}

static void s_http_response(struct kos_services *services, uint64_t id, int32_t status,
                            const struct kos_http_message *m, const char *text)
{
    struct conform *c = up(services);
    struct host *h = host_of(services);
    struct op *op;
    HASH_FIND(hh, h->ops, &id, sizeof id, op);
    if (!op || strcmp(op->what, "fetch") != 0)
        broke(c, RULE_HTTP_FETCH, "response names operation %llu, which is no fetch", (unsigned long long)id);
    if (op->done)
        broke(c, RULE_HTTP_FETCH, "fetch %llu was answered twice", (unsigned long long)id);
    if (status >= 0 && !m)
        broke(c, RULE_HTTP_FETCH, "fetch %llu ended well but without a message", (unsigned long long)id);
    if (text)
        judge_text(h, "response", text);
    op->done = true;
    op->status = status;
    h->response_status = status;
    h->response_http = m ? m->status : 0;
    snprintf(h->response_body, sizeof h->response_body, "%.*s",
             m && m->body.len ? (int)(m->body.len < 200 ? m->body.len : 200) : 0,
             m && m->body.len ? (const char *)m->body.data : "");
}

/* ---- what must be over when it says stopped ---- */

void judge_quiet(struct host *h)
{
    for (struct op *op = h->ops; op; op = op->hh.next)
        if (!op->done)
            broke(h->c, RULE_PLUGIN_STOP, "it said stopped, but %s (operation %llu) was not completed", op->what,
                  (unsigned long long)op->id);
    for (struct endpoint *e = h->endpoints; e; e = e->hh.next)
        if (e->side != DOWN)
            broke(h->c, RULE_PLUGIN_STOP, "it said stopped, but endpoint %llu is not down", (unsigned long long)e->id);
    for (struct link *l = h->links; l; l = l->hh.next)
        if (l->side != DOWN)
            broke(h->c, RULE_PLUGIN_STOP, "it said stopped, but link %llu is not down", (unsigned long long)l->id);
}

#define FREE_ALL(table_, type_, extra_)                \
    do {                                               \
        struct type_ *x_, *next_;                      \
        HASH_ITER(hh, (table_), x_, next_) {           \
            HASH_DEL((table_), x_);                    \
            extra_;                                    \
            free(x_);                                  \
        }                                              \
    } while (0)

static void pairs_free(struct pair **pairs)
{
    for (struct pair *p; (p = *pairs);) {
        *pairs = p->next;
        free((void *)(uintptr_t)p->key.data);
        free((void *)(uintptr_t)p->value.data);
        free(p);
    }
}

void judge_free(struct host *h)
{
    open_drop(h);
    h->hold = false;
    h->life = HOST_FINISHED;
    answers_flush(&h->flush);
    FREE_ALL(h->ops, op, free(x_->result));
    FREE_ALL(h->endpoints, endpoint, (void)0);
    FREE_ALL(h->links, link, (void)0);
    FREE_ALL(h->messages, message, (void)0);
    FREE_ALL(h->asked, asked, (void)0);
    FREE_ALL(h->calls, call, (void)0);
    FREE_ALL(h->runs, run, (void)0);
    FREE_ALL(h->requests, request, (void)0);
    FREE_ALL(h->served, request, (void)0);
    tx_free(h);
    pairs_free(&h->state);
    pairs_free(&h->secrets);
    pairs_free(&h->taken);
    for (struct sent *s; (s = h->sent);) {
        h->sent = s->next;
        free(s);
    }
}

void judge_services(struct kos_services_ops *ops)
{
    *ops = (struct kos_services_ops){
        .broke = s_broke,
        .quiet = s_quiet,
        .finished = s_finished,
        .gives = s_gives,
        .log = s_log,
        .complete = s_complete,
        .found = s_found,
        .lost = s_lost,
        .reply = s_reply,
        .event = s_event,
        .http_request = s_http_request,
        .http_response = s_http_response,
    };
    link_services(ops);
    stream_services(ops);
    answer_services(ops);
    tx_services(ops);
    open_services(ops);
}
