/* SPDX-License-Identifier: Apache-2.0
 * What a plugin asks of its host, answered: state, secrets, signatures, bridges' messages, agents, fetches. Answers go
 * back when the plugin's call is over, and may be held. */
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#include "conform.h"

struct answer {
    struct answer *next, *prev;
    uint64_t op;
    int32_t status;
    struct kos_bytes result;            /* owned */
    bool opened, secret;
    int fd;
};

static struct host *host_of(struct kos_services *services)
{
    host_event((struct host *)services);
    return (struct host *)services;
}

/* ---- the way back ---- */

void host_asked(struct host *h, uint64_t op, const char *what)
{
    struct asked *a;
    if (op == 0)
        broke(h->c, RULE_ABI_IDS, "%s was given the id 0", what);
    HASH_FIND(hh, h->asked, &op, sizeof op, a);
    if (a)
        broke(h->c, RULE_ABI_IDS, "%s was given the id %llu, under which %s is still under way", what,
              (unsigned long long)op, a->what);
    a = kos_new(sizeof *a);
    a->op = op;
    a->what = what;
    HASH_ADD(hh, h->asked, op, sizeof a->op, a);
}

static void answer_push(struct host *h, struct answer *answer)
{
    DL_APPEND(h->answers, answer);
    kos_defer(h->c->env, &h->flush);
}

static void give(struct host *h, uint64_t op, int32_t status, struct kos_bytes result, bool secret)
{
    struct answer *answer = kos_new(sizeof *answer);
    answer->op = op;
    answer->status = status;
    answer->result = kos_bytes(kos_memdup(result.len ? result.data : (const uint8_t *)"", result.len ? result.len : 1),
                               result.len);
    answer->secret = secret;
    answer->fd = -1;
    answer_push(h, answer);
}

void host_answer(struct host *h, uint64_t op, int32_t status, struct kos_bytes result)
{
    give(h, op, status, result, false);
}

static void refuse(struct host *h, uint64_t op, int32_t status)
{
    give(h, op, status, kos_bytes_str("this host refuses it, to see what follows"), false);
}

void host_answer_opened(struct host *h, uint64_t op, int32_t status, int fd, const char *text)
{
    struct answer *answer = kos_new(sizeof *answer);
    answer->op = op;
    answer->status = status;
    answer->result = kos_bytes(kos_strdup(text), strlen(text));
    answer->opened = true;
    answer->fd = fd;
    answer_push(h, answer);
}

void answers_flush(struct kos_deferred *deferred)
{
    struct host *h = (struct host *)((char *)deferred - offsetof(struct host, flush));
    struct answer *a, *next;
    if (h->hold)
        return;
    DL_FOREACH_SAFE(h->answers, a, next) {
        struct asked *asked;
        bool deaf = h->life == HOST_QUIET || h->life == HOST_FINISHED || !h->backend;
        DL_DELETE(h->answers, a);
        HASH_FIND(hh, h->asked, &a->op, sizeof a->op, asked);
        if (asked) {
            HASH_DEL(h->asked, asked);
            free(asked);
        }
        if (deaf && a->fd >= 0)
            close(a->fd);
        else if (!deaf && a->opened)
            h->backend->ops->opened(h->backend, a->op, a->status, a->fd, (const char *)a->result.data);
        else if (!deaf)
            h->backend->ops->completed(h->backend, a->op, a->status, a->result, a->secret);
        free((void *)(uintptr_t)a->result.data);
        free(a);
    }
}

void release(struct host *h)
{
    h->hold = false;
    kos_defer(h->c->env, &h->flush);
}

/* ---- state ---- */

static int order(struct kos_bytes a, struct kos_bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int r = n ? memcmp(a.data, b.data, n) : 0;
    return r ? r : (a.len > b.len) - (a.len < b.len);
}

struct pair **pair_at(struct pair **list, struct kos_bytes key)
{
    while (*list && order((*list)->key, key) < 0)
        list = &(*list)->next;
    return list;
}

void pair_remove(struct pair **list, struct kos_bytes key)
{
    struct pair **at = pair_at(list, key), *old = *at;
    if (!old || order(old->key, key) != 0)
        return;
    *at = old->next;
    free((void *)(uintptr_t)old->key.data);
    free((void *)(uintptr_t)old->value.data);
    free(old);
}

static struct kos_bytes copied(struct kos_bytes bytes)
{
    uint8_t *to = kos_new(bytes.len + 1);
    if (bytes.len)
        memcpy(to, bytes.data, bytes.len);
    return kos_bytes(to, bytes.len);
}

void pair_put(struct pair **list, struct kos_bytes key, struct kos_bytes value)
{
    pair_remove(list, key);
    struct pair **at = pair_at(list, key), *made = kos_new(sizeof *made);
    made->key = copied(key);
    made->value = copied(value);
    made->next = *at;
    *at = made;
}

void state_move(struct host *from, struct host *to)
{
    to->state = from->state;
    to->secrets = from->secrets;
    from->state = from->secrets = NULL;
}

static void state_get(struct kos_services *services, struct kos_bytes key, uint64_t op)
{
    struct host *h = host_of(services);
    host_asked(h, op, "state_get");
    if (key.len == 0 || key.len > KOS_STATE_KEY_MAX)
        broke(h->c, RULE_HOST_KEY, "state_get was given a key of %zu bytes; 1 to %d are allowed", key.len,
              KOS_STATE_KEY_MAX);
    struct pair *p = *pair_at(&h->state, key);
    if (h->refuse.state)
        refuse(h, op, h->refuse.state);
    else if (p && order(p->key, key) == 0)
        host_answer(h, op, KOS_OK, p->value);
    else
        host_answer(h, op, KOS_E_NOTFOUND, kos_bytes(NULL, 0));
}

static void append_run(struct kos_buf *out, struct kos_bytes bytes)
{
    uint32_t n = (uint32_t)bytes.len;
    kos_buf_append(out, kos_bytes(&n, sizeof n));
    kos_buf_append(out, bytes);
}

static void state_scan(struct kos_services *services, struct kos_bytes prefix, struct kos_bytes from, uint32_t limit,
                       uint64_t op)
{
    struct host *h = host_of(services);
    struct kos_buf out;
    host_asked(h, op, "state_scan");
    if (prefix.len > KOS_STATE_KEY_MAX || from.len > KOS_STATE_KEY_MAX || limit == 0)
        broke(h->c, RULE_HOST_KEY, "state_scan was given %zu bytes of prefix, %zu of beginning and the limit %u",
              prefix.len, from.len, limit);
    if (h->refuse.state) {
        refuse(h, op, h->refuse.state);
        return;
    }
    kos_buf_init(&out, 8 << 20);
    for (struct pair *p = *pair_at(&h->state, from.len ? from : prefix); p && limit > 0 && out.len < 1 << 20;
         p = p->next) {
        if (p->key.len < prefix.len || (prefix.len && memcmp(p->key.data, prefix.data, prefix.len) != 0))
            break;
        append_run(&out, p->key);
        append_run(&out, p->value);
        limit--;
    }
    host_answer(h, op, KOS_OK, kos_buf_bytes(&out));
    kos_buf_fini(&out);
}

/* ---- secrets, signatures ---- */

static void secret_get(struct kos_services *services, const char *name, uint64_t op)
{
    struct host *h = host_of(services);
    host_asked(h, op, "secret_get");
    struct pair *p = *pair_at(&h->secrets, kos_bytes_str(name));
    if (h->refuse.secret)
        refuse(h, op, h->refuse.secret);
    else if (p && order(p->key, kos_bytes_str(name)) == 0)
        give(h, op, KOS_OK, p->value, true);
    else
        give(h, op, KOS_E_NOTFOUND, kos_bytes(NULL, 0), false);
}

static void secret_put(struct kos_services *services, const char *name, struct kos_bytes value, uint64_t op)
{
    struct host *h = host_of(services);
    host_asked(h, op, "secret_put");
    if (h->refuse.secret) {
        refuse(h, op, h->refuse.secret);
        return;
    }
    if (value.len)
        pair_put(&h->secrets, kos_bytes_str(name), value);
    else
        pair_remove(&h->secrets, kos_bytes_str(name));
    host_answer(h, op, KOS_OK, kos_bytes(NULL, 0));
}

static void need(struct host *h, const char *right, const char *member)
{
    if (!module_asks(h->c->module, right))
        broke(h->c, RULE_PLUGIN_RIGHT, "%s was called, but the right \"%s\" is not among those it asks for", member,
              right);
}

static void s_sign(struct kos_services *services, const char *key, struct kos_bytes body, uint64_t op)
{
    struct host *h = host_of(services);
    uint8_t signature[64] = { 0 };
    (void)key;
    (void)body;
    host_asked(h, op, "sign");
    need(h, "sign", "sign");
    if (h->refuse.sign)
        refuse(h, op, h->refuse.sign);
    else
        host_answer(h, op, KOS_OK, kos_bytes(signature, sizeof signature));
}

/* ---- bridges ---- */

static void s_inject(struct kos_services *services, const struct kos_foreign *f, uint64_t op)
{
    struct host *h = host_of(services);
    host_asked(h, op, "inject");
    need(h, "send", "inject");
    if (!f->origin || !*f->origin || !f->key || !*f->key)
        broke(h->c, RULE_BRIDGE_KEY, "inject came without %s", f->origin && *f->origin ? "a key" : "an origin");
    if (f->cursor.len > 1024)
        broke(h->c, RULE_BRIDGE_CURSOR, "inject came with a cursor of %zu bytes", f->cursor.len);
    if (h->refuse.inject && kos_error_retry(h->refuse.inject) && *h->injected_key &&
        strcmp(h->injected_origin, f->origin) == 0 && strcmp(h->injected_key, f->key) != 0)
        broke(h->c, RULE_BRIDGE_INJECT, "%s was refused with %s, and it went on to %s", h->injected_key,
              kos_error_name(h->refuse.inject), f->key);
    judge_text(h, "inject", f->origin);
    judge_text(h, "inject", f->key);
    judge_draft(h, &f->draft, true);
    h->injected++;
    snprintf(h->injected_origin, sizeof h->injected_origin, "%s", f->origin);
    snprintf(h->injected_key, sizeof h->injected_key, "%s", f->key);
    if (h->refuse.inject) {
        refuse(h, op, h->refuse.inject);
        return;
    }
    char *taken = kos_format("%s\n%s", f->origin, f->key);
    bool again = false;
    for (struct pair *p = h->taken; p; p = p->next)
        again = again || kos_bytes_eq(p->key, kos_bytes_str(taken));
    pair_put(&h->taken, kos_bytes_str(taken), f->cursor);
    free(taken);
    host_answer(h, op, again ? KOS_E_EXISTS : KOS_OK, kos_bytes(NULL, 0));
}

/* ---- agents: one, "echo", which ends each run with what it was given ---- */

static const char *const skills[] = { "echo", NULL };
static const struct kos_agent_info echo = { .size = sizeof echo, .id = "conform-agent-1", .name = "echo",
                                            .address = "klp://agent.echo.conform", .skills = skills, .concurrency = 4,
                                            .output_max_bytes = 1 << 20 };

static const struct kos_agent_info *agent_by_id(struct kos_services *services, const uint8_t id[KOS_ID_BYTES])
{
    host_of(services);
    return memcmp(id, echo.id, KOS_ID_BYTES) == 0 ? &echo : NULL;
}

static const struct kos_agent_info *agent_by_name(struct kos_services *services, const char *name)
{
    host_of(services);
    return name && strcmp(name, "echo") == 0 ? &echo : NULL;
}

static void s_run(struct kos_services *services, uint64_t id, const struct kos_run *r)
{
    static const uint8_t audit[32];
    struct host *h = host_of(services);
    struct run *run;
    json_t *inputs = json_loadb((const char *)r->inputs.data, r->inputs.len, 0, NULL);
    need(h, "agents", "run");
    HASH_FIND(hh, h->runs, &id, sizeof id, run);
    if (id == 0 || (run && !run->ended))
        broke(h->c, RULE_ABI_IDS, "run was given the id %llu, %s", (unsigned long long)id,
              id ? "which is still under way" : "which is never an id");
    if (!json_is_array(inputs))
        broke(h->c, RULE_AGENTS_INPUTS, "run was given inputs that are no JSON array");
    json_decref(inputs);
    if (!run) {
        run = kos_new(sizeof *run);
        run->id = id;
        HASH_ADD(hh, h->runs, id, sizeof run->id, run);
    }
    run->ended = !h->hold;
    if (h->hold || !h->backend)
        return;
    if (!h->refuse.run)
        h->backend->ops->output(h->backend, id, KOS_OUTPUT_PART, kos_bytes("echo", 4));
    h->backend->ops->ended(h->backend, id, h->refuse.run, kos_bytes_str(h->refuse.run ? "" : "{\"exit\":0}"),
                           h->refuse.run ? "this host refuses it" : "", 0, audit);
}

static void s_run_credit(struct kos_services *services, uint64_t run, uint64_t bytes)
{
    (void)run;
    (void)bytes;
    host_of(services);
}

static void s_run_cancel(struct kos_services *services, uint64_t id)
{
    static const uint8_t audit[32];
    struct host *h = host_of(services);
    struct run *run;
    HASH_FIND(hh, h->runs, &id, sizeof id, run);
    if (!run || run->ended)
        return; /* events cross */
    run->ended = true;
    h->backend->ops->ended(h->backend, id, KOS_E_CANCELLED, kos_bytes(NULL, 0), "it was cancelled", 0, audit);
}

/* ---- http, for its users ---- */

static void s_http_serve(struct kos_services *services, const char *prefix, uint64_t body_max_bytes, uint64_t op)
{
    struct host *h = host_of(services);
    (void)body_max_bytes;
    host_asked(h, op, "http.serve");
    judge_text(h, "http.serve", prefix);
    snprintf(h->prefix, sizeof h->prefix, "%s", prefix);
    host_answer(h, op, h->refuse.http, kos_bytes(NULL, 0));
}

static void s_http_respond(struct kos_services *services, uint64_t id, const struct kos_http_message *m)
{
    struct host *h = host_of(services);
    struct request *r;
    HASH_FIND(hh, h->requests, &id, sizeof id, r);
    if (!r || r->answered)
        broke(h->c, RULE_HTTP_RESPOND, "request %llu was answered %s", (unsigned long long)id,
              r ? "twice" : "but never asked");
    if (m->status < 100 || m->status > 599)
        broke(h->c, RULE_HTTP_RESPOND, "request %llu was answered with the status %d", (unsigned long long)id,
              (int)m->status);
    r->answered = true;
    r->status = m->status;
}

static void s_http_fetch(struct kos_services *services, const struct kos_http_message *request, uint64_t body_max_bytes,
                         uint64_t timeout_ms, uint64_t op)
{
    struct host *h = host_of(services);
    (void)body_max_bytes;
    (void)timeout_ms;
    need(h, "connect", "fetch");
    bool absolute = request->url && strstr(request->url, "://");
    h->fetched++;
    if (h->backend && !h->hold)
        h->backend->ops->http_response(h->backend, op, absolute ? KOS_E_UNREACHABLE : KOS_E_INVALID, NULL,
                                       absolute ? "this host has no network" : "that is no absolute URL");
}

static void s_http_cancel(struct kos_services *services, uint64_t op)
{
    struct host *h = host_of(services);
    if (h->backend && h->hold)
        h->backend->ops->http_response(h->backend, op, KOS_E_CANCELLED, NULL, "it was cancelled");
}

void answer_services(struct kos_services_ops *ops)
{
    ops->state_get = state_get;
    ops->state_scan = state_scan;
    ops->secret_get = secret_get;
    ops->secret_put = secret_put;
    ops->sign = s_sign;
    ops->inject = s_inject;
    ops->agent_by_id = agent_by_id;
    ops->agent_by_name = agent_by_name;
    ops->run = s_run;
    ops->run_credit = s_run_credit;
    ops->run_cancel = s_run_cancel;
    ops->http_serve = s_http_serve;
    ops->http_respond = s_http_respond;
    ops->http_fetch = s_http_fetch;
    ops->http_cancel = s_http_cancel;
}
