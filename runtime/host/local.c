/* SPDX-License-Identifier: Apache-2.0
 * The backend within this process. What goes down waits in a queue that a deferred call empties, so the plugin always
 * runs on top of the loop: its calls to the host meet no other call of the runtime, and it is never called inside one
 * of its own. A cell gives the same order by being another process. */
#include <stdlib.h>
#include <unistd.h>

#include "host/local.h"

static struct kos_local *local_of(struct kos_backend *backend)
{
    return (struct kos_local *)backend;
}

static void push(struct kos_local *local, struct kos_local_call *call)
{
    if (local->stopped) {
        kos_local_call_free(call);
        return;
    }
    if (local->last)
        local->last->next = call;
    else
        local->first = call;
    local->last = call;
    local->queued++;
    if (local->started)
        kos_defer(local->env, &local->drain);
}

static void drop_queue(struct kos_local *local)
{
    while (local->first) {
        struct kos_local_call *call = local->first;
        local->first = call->next;
        kos_local_call_free(call);
    }
    local->last = NULL;
    local->queued = 0;
}

static void event_missing(struct kos_local *local, const char *member)
{
    kos_hosted_broke(local->backend.hosted, "caused an event that it does not take: kos_plugin.%s is NULL", member);
}

static void run_event(struct kos_local *local, struct kos_local_call *call)
{
    if (call->kind == KOS_DOWN_COMPLETED && !local->plugin.completed) {
        event_missing(local, "completed");
    } else if (call->kind == KOS_DOWN_COMPLETED) {
        local->plugin.completed(local->self, call->id, call->status, call->bytes);
    } else if (!local->plugin.opened) {
        event_missing(local, "opened");
    } else {
        int fd = call->fd;
        call->fd = -1; /* the plugin's from here on */
        local->plugin.opened(local->self, call->id, call->status, fd, call->text);
    }
}

static void run_call(struct kos_local *local, struct kos_local_call *call)
{
    void *self = local->self;
    switch (call->kind) {
    case KOS_DOWN_START:
        local->begun = true;
        local->plugin.start(self);
        break;
    case KOS_DOWN_STOP: local->plugin.stop(self); break;
    case KOS_DOWN_COMPLETED: case KOS_DOWN_OPENED: run_event(local, call); break;
    case KOS_DOWN_LISTEN: local->transport.listen(self, call->id, call->text); break;
    case KOS_DOWN_ENDPOINT_CLOSE: local->transport.endpoint_close(self, call->id); break;
    case KOS_DOWN_DIAL: local->transport.dial(self, call->id, call->text); break;
    case KOS_DOWN_SEND: local->transport.send(self, call->id, &call->bytes, 1); break;
    case KOS_DOWN_LINK_CREDIT: local->transport.link_credit(self, call->id, call->number); break;
    case KOS_DOWN_LINK_CLOSE: local->transport.link_close(self, call->id, call->flag); break;
    case KOS_DOWN_HANDLE: local->handler.handle(self, call->id, &call->u.message); break;
    case KOS_DOWN_OUTCOME: local->handler.outcome(self, call->id, &call->u.outcome); break;
    case KOS_DOWN_CALL: local->control.call(self, call->id, call->text, call->bytes, (uint32_t)call->number); break;
    case KOS_DOWN_HANGUP:
        if (local->control.hangup)
            local->control.hangup(self, call->id);
        break;
    case KOS_DOWN_OUTPUT: local->agents.output(self, call->id, call->flag, call->bytes); break;
    case KOS_DOWN_ENDED:
        local->agents.ended(self, call->id, call->status, call->bytes, call->text, call->flag, call->u.audit);
        break;
    }
}

static void drain(struct kos_deferred *deferred)
{
    struct kos_local *local = (struct kos_local *)((char *)deferred - offsetof(struct kos_local, drain));
    /* What these calls cause comes behind them; it waits for the next round, so that plugins take turns. */
    for (size_t n = local->queued; n > 0 && local->first && !local->stopped; n--) {
        struct kos_local_call *call = local->first;
        local->first = call->next;
        if (!local->first)
            local->last = NULL;
        local->queued--;
        local->inside = true;
        run_call(local, call);
        local->inside = false;
        kos_local_call_free(call);
    }
    kos_local_after(local);
    if (!local->stopped && local->first)
        kos_defer(local->env, &local->drain);
}

void kos_local_after(struct kos_local *local)
{
    if (!local->stopped || local->finished || local->inside)
        return;
    local->finished = true;
    drop_queue(local);
    kos_local_reactor_fini(local);
    kos_hosted_quiet(local->backend.hosted);
    local->plugin.fini(local->self);
    kos_hosted_finished(local->backend.hosted);
}

/* ---- what goes down ---- */

static void l_start(struct kos_backend *backend)
{
    struct kos_local *local = local_of(backend);
    struct kos_local_call *call = kos_local_call_new(KOS_DOWN_START, 0, 0);
    call->next = local->first;
    local->first = call;
    if (!local->last)
        local->last = call;
    local->queued++;
    local->started = true;
    kos_defer(local->env, &local->drain);
}

static void l_stop(struct kos_backend *backend)
{
    struct kos_local *local = local_of(backend);
    local->stopping = true;
    if (local->started) {
        push(local, kos_local_call_new(KOS_DOWN_STOP, 0, 0));
        return;
    }
    /* Never started: fini alone (plugin.h). */
    local->stopped = true;
    kos_defer(local->env, &local->drain);
}

/* The short way out, of a start that failed elsewhere: stop, if start has come, and fini at once where stop allows
 * it. */
static void halt(struct kos_local *local)
{
    drop_queue(local);
    if (local->begun && !local->stopping) {
        local->stopping = true;
        local->inside = true;
        local->plugin.stop(local->self);
        local->inside = false;
    } else if (!local->begun) {
        local->stopped = true;
    }
    kos_local_after(local);
}

static void l_free(struct kos_backend *backend)
{
    struct kos_local *local = local_of(backend);
    if (!local->finished)
        halt(local);
    kos_undefer(local->env, &local->drain);
    drop_queue(local);
    if (local->finished) {
        if (local->post_fd >= 0)
            close(local->post_fd);
        free(local);
        return;
    }
    /* It hangs. It may still have threads that use its table: that memory stays. */
    local->stopped = true;
    kos_local_reactor_fini(local);
}

static void l_completed(struct kos_backend *backend, uint64_t op, int32_t status, struct kos_bytes result, bool secret)
{
    struct kos_local_call *call = kos_local_call_new(KOS_DOWN_COMPLETED, op, result.len);
    call->status = status;
    call->secret = secret;
    call->bytes = kos_local_keep(call, result);
    push(local_of(backend), call);
}

static void l_opened(struct kos_backend *backend, uint64_t op, int32_t status, int fd, const char *text)
{
    struct kos_local_call *call = kos_local_call_new(KOS_DOWN_OPENED, op, kos_local_text_room(text));
    call->status = status;
    call->fd = fd;
    call->text = kos_local_keep_text(call, text);
    push(local_of(backend), call);
}

static void push_text(struct kos_backend *backend, enum kos_down kind, uint64_t id, const char *text)
{
    struct kos_local_call *call = kos_local_call_new(kind, id, kos_local_text_room(text));
    call->text = kos_local_keep_text(call, text);
    push(local_of(backend), call);
}

static void l_listen(struct kos_backend *backend, uint64_t endpoint, const char *address)
{
    push_text(backend, KOS_DOWN_LISTEN, endpoint, address);
}

static void l_endpoint_close(struct kos_backend *backend, uint64_t endpoint)
{
    push_text(backend, KOS_DOWN_ENDPOINT_CLOSE, endpoint, NULL);
}

static void l_dial(struct kos_backend *backend, uint64_t link, const char *address)
{
    push_text(backend, KOS_DOWN_DIAL, link, address);
}

static void l_send(struct kos_backend *backend, uint64_t link, const struct kos_bytes *pieces, uint32_t count)
{
    size_t total = 0;
    for (uint32_t i = 0; i < count; i++)
        total += pieces[i].len;
    struct kos_local_call *call = kos_local_call_new(KOS_DOWN_SEND, link, total);
    for (uint32_t i = 0; i < count; i++)
        kos_local_keep(call, pieces[i]);
    call->bytes = kos_bytes(call->store, total);
    push(local_of(backend), call);
}

static void l_link_credit(struct kos_backend *backend, uint64_t link, uint64_t bytes)
{
    struct kos_local_call *call = kos_local_call_new(KOS_DOWN_LINK_CREDIT, link, 0);
    call->number = bytes;
    push(local_of(backend), call);
}

static void l_link_close(struct kos_backend *backend, uint64_t link, bool flush)
{
    struct kos_local_call *call = kos_local_call_new(KOS_DOWN_LINK_CLOSE, link, 0);
    call->flag = flush;
    push(local_of(backend), call);
}

static void l_handle(struct kos_backend *backend, uint64_t message, const struct kos_message *m)
{
    struct kos_local_call *call = kos_local_call_new(KOS_DOWN_HANDLE, message, kos_local_message_room(m));
    kos_local_keep_message(call, m);
    push(local_of(backend), call);
}

static void l_outcome(struct kos_backend *backend, uint64_t message, const struct kos_outcome *o)
{
    struct kos_local_call *call =
        kos_local_call_new(KOS_DOWN_OUTCOME, message, kos_local_text_room(o->type) + kos_local_text_room(o->text));
    KOS_SIZED(&call->u.outcome, o);
    call->u.outcome.type = kos_local_keep_text(call, o->type);
    call->u.outcome.text = kos_local_keep_text(call, o->text);
    push(local_of(backend), call);
}

static void l_call(struct kos_backend *backend, uint64_t id, const char *method, struct kos_bytes parameters,
                   uint32_t flags)
{
    struct kos_local_call *call = kos_local_call_new(KOS_DOWN_CALL, id, kos_local_text_room(method) + parameters.len);
    call->text = kos_local_keep_text(call, method);
    call->bytes = kos_local_keep(call, parameters);
    call->number = flags;
    push(local_of(backend), call);
}

static void l_hangup(struct kos_backend *backend, uint64_t id)
{
    push_text(backend, KOS_DOWN_HANGUP, id, NULL);
}

static void l_output(struct kos_backend *backend, uint64_t run, int32_t kind, struct kos_bytes bytes)
{
    struct kos_local_call *call = kos_local_call_new(KOS_DOWN_OUTPUT, run, bytes.len);
    call->flag = kind;
    call->bytes = kos_local_keep(call, bytes);
    push(local_of(backend), call);
}

static void l_ended(struct kos_backend *backend, uint64_t run, int32_t status, struct kos_bytes result,
                    const char *text, int32_t retry, const uint8_t audit[32])
{
    struct kos_local_call *call = kos_local_call_new(KOS_DOWN_ENDED, run, result.len + kos_local_text_room(text));
    call->status = status;
    call->flag = retry;
    call->bytes = kos_local_keep(call, result);
    call->text = kos_local_keep_text(call, text);
    if (audit)
        memcpy(call->u.audit, audit, sizeof call->u.audit);
    push(local_of(backend), call);
}

static const struct kos_backend_ops local_ops = {
    l_start,       l_stop,       l_free,   l_completed, l_opened, l_listen, l_endpoint_close, l_dial,  l_send,
    l_link_credit, l_link_close, l_handle, l_outcome,   l_call,   l_hangup, l_output,         l_ended,
};

/* ---- life ---- */

static void copy_tables(struct kos_local *local)
{
    const void *transport = kos_plugin_feature(&local->plugin, KOS_TRANSPORT),
               *handler = kos_plugin_feature(&local->plugin, KOS_HANDLER);
    const void *control = kos_plugin_feature(&local->plugin, KOS_CONTROL),
               *agents = kos_plugin_feature(&local->plugin, KOS_AGENTS_USER);
    if (transport)
        KOS_SIZED(&local->transport, transport);
    if (handler)
        KOS_SIZED(&local->handler, handler);
    if (control)
        KOS_SIZED(&local->control, control);
    if (agents)
        KOS_SIZED(&local->agents, agents);
}

/* init is the plugin's: its sentence is put behind its name, and a missing one is made up for. */
static int32_t init(struct kos_local *local, struct kos_error *ret_error)
{
    struct kos_hosted *hosted = local->backend.hosted;
    struct kos_error why = { 0 };
    local->inside = true;
    int32_t rc = local->plugin.init(&local->table, hosted->conf, &local->self, &why);
    local->inside = false;
    if (rc >= 0)
        return KOS_OK;
    why.text[sizeof why.text - 1] = '\0';
    return kos_fail(ret_error, rc, "%s: plugin %s does not begin: %s", hosted->place, hosted->name,
                    why.text[0] ? why.text : kos_error_text(rc));
}

int32_t kos_local_new(struct kos_hosted *hosted, struct kos_error *ret_error)
{
    struct kos_local *local = kos_new(sizeof *local);
    const struct kos_plugin *plugin;
    local->backend = (struct kos_backend){ &local_ops, hosted };
    local->env = hosted->hosting->env;
    local->drain.run = drain;
    local->post_fd = -1;
    int32_t rc = kos_module_open(hosted->path, &plugin, ret_error);
    if (rc >= 0)
        rc = kos_manifest_check(hosted->path, plugin, &local->plugin, ret_error);
    if (rc >= 0) {
        json_t *again = kos_manifest_json(&local->plugin);
        if (!json_equal(again, hosted->description))
            rc = kos_fail(ret_error, KOS_E_PLUGIN,
                          "%s: says something else of itself than a moment ago: it was replaced meanwhile, or does not "
                          "tell the truth",
                          hosted->path);
        json_decref(again);
    }
    if (rc >= 0) {
        copy_tables(local);
        kos_local_table_init(local);
        rc = kos_local_reactor_init(local, ret_error);
    }
    hosted->backend = &local->backend; /* init may use the host's services already */
    if (rc >= 0)
        rc = init(local, ret_error);
    if (rc < 0) {
        hosted->backend = NULL;
        kos_hosted_quiet(hosted);
        local->stopped = true;
        drop_queue(local);
        kos_undefer(local->env, &local->drain);
        kos_local_reactor_fini(local);
        if (local->post_fd >= 0)
            close(local->post_fd);
        free(local);
        return rc;
    }
    return KOS_OK;
}
