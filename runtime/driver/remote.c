/* SPDX-License-Identifier: Apache-2.0
 * A plugin in a cell, from the host's side. */
#include "driver/remote.h"

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/buf.h"
#include "driver/channel.h"
#include "driver/down.h"
#include "driver/up.h"

enum { CAUSE_MAX = 480 };

struct remote {
    struct kos_down down;
    struct kos_backend_ops ops;
    struct kos_env *env;
    struct kos_services *services;
    struct kos_remote_events events;
    struct kos_channel *channel;
    struct kos_timer *heart;
    uint64_t heartbeat_ms, ping, pinged_ms, begin_ms;     /* ping: the last one's number; the others: kos_mono_ms */
    uint64_t beat_ms;                                     /* when the next beat is due */
    uint64_t second, tells, asks;                         /* of the running second */
    bool begun, stopping, quiet, finished;
    bool cut, told;                                       /* to be told, was told */
    struct kos_deferred tell;
    char cause[CAUSE_MAX];
};

static struct remote *remote_of(struct kos_backend *backend)
{
    return (struct remote *)backend;
}

void kos_remote_cut(struct kos_backend *backend, const char *cause)
{
    struct remote *r = remote_of(backend);
    if (r->cut || r->told)
        return;
    snprintf(r->cause, sizeof r->cause, "%s", cause);
    r->cut = true;
    kos_channel_stop(r->channel);
    kos_timer_stop(r->env, r->heart);
    kos_defer(r->env, &r->tell);
}

static void cut(struct remote *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void cut(struct remote *r, const char *format, ...)
{
    char text[CAUSE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    kos_remote_cut(&r->down.backend, text);
}

static void tell(struct kos_deferred *deferred)
{
    struct remote *r = (struct remote *)((char *)deferred - offsetof(struct remote, tell));
    if (!r->cut || r->told)
        return;
    r->told = true;
    r->events.ended(r->events.arg, r->cause);
}

/* ---- what comes up ---- */

enum weight { BOUNDED, TELLS, ASKS };

/* Whether an open operation, or credit, bounds how many of these there can be. */
static enum weight weight_of(const struct kos_frame *frame)
{
    switch (frame->head.kind) {
    case KOS_UP_LOG: case KOS_UP_EVENT: case KOS_UP_FOUND: case KOS_UP_LOST: return TELLS;
    case KOS_UP_COMPLETE: case KOS_UP_TX_COMMIT: return BOUNDED;
    case KOS_UP_LINK_RECEIVED: case KOS_UP_STREAM_SEND: return frame->head.size > 64 ? BOUNDED : ASKS;
    default: return ASKS;
    }
}

static bool flood(struct remote *r, const struct kos_frame *frame)
{
    uint64_t second = kos_mono_ms(r->env) / 1000;
    if (second != r->second) {
        r->second = second;
        r->tells = r->asks = 0;
    }
    enum weight weight = weight_of(frame);
    r->tells += weight == TELLS;
    r->asks += weight == ASKS;
    if (r->tells > KOS_CELL_TELLS)
        cut(r, "floods the node: more than %d log lines, events and finds within a second", KOS_CELL_TELLS);
    else if (r->asks > KOS_CELL_ASKS)
        cut(r, "floods the node: more than %d calls of the host within a second", KOS_CELL_ASKS);
    return r->cut;
}

static void begun(struct remote *r, const struct kos_frame *frame)
{
    struct kos_frame_reader in = kos_frame_read(frame);
    int64_t status = kos_get_i64(&in);
    const char *text = kos_get_text(&in);
    if (r->begun || !kos_frame_done(&in) || status > 0 || status < INT32_MIN) {
        cut(r, "sent a malformed frame (kind %u)", (unsigned)frame->head.kind);
        return;
    }
    r->begun = true;
    r->events.begun(r->events.arg, (int32_t)status, text ? text : "");
}

static void pong(struct remote *r, const struct kos_frame *frame)
{
    if (frame->head.size != sizeof frame->head || r->pinged_ms == 0 || frame->head.id != r->ping)
        cut(r, "answered a ping that was not sent");
    r->pinged_ms = 0;
}

/* The order of the life of a plugin: quiet and finished come only after stop, and nothing but log lines behind them. */
static bool in_order(struct remote *r, const struct kos_frame *frame)
{
    uint16_t kind = frame->head.kind;
    if (kind == KOS_UP_QUIET && !r->begun && !r->quiet)
        return true; /* init failed: that is told by what follows */
    if ((kind == KOS_UP_QUIET && (!r->stopping || r->quiet)) || (kind == KOS_UP_FINISHED && (!r->quiet || r->finished)) ||
        (r->quiet && kind != KOS_UP_FINISHED && kind != KOS_UP_LOG && kind != KOS_UP_BROKE)) {
        cut(r, "sent a frame out of order (kind %u)", (unsigned)kind);
        return false;
    }
    return true;
}

static void up(struct remote *r, const struct kos_frame *frame)
{
    uint16_t kind = frame->head.kind;
    if (flood(r, frame) || !in_order(r, frame))
        return;
    if (kind == KOS_UP_QUIET && !r->begun)
        return;
    r->quiet = r->quiet || kind == KOS_UP_QUIET;
    r->finished = r->finished || kind == KOS_UP_FINISHED;
    if (kos_up_run(frame, r->services) < 0)
        cut(r, "sent a malformed frame (kind %u)", (unsigned)kind);
}

static void frame_came(void *arg, struct kos_frame *frame)
{
    struct remote *r = arg;
    if (r->cut)
        cut(r, "was cut off already");
    else if (frame->head.kind == KOS_CELL_PONG)
        pong(r, frame);
    else if (frame->head.kind == KOS_CELL_BEGUN)
        begun(r, frame);
    else
        up(r, frame);
    kos_frame_free(frame);
}

static void channel_ended(void *arg, const char *why)
{
    struct remote *r = arg;
    cut(r, "%s", why);
}

/* ---- the heartbeat ---- */

static void beat_again(struct remote *r)
{
    uint64_t next = r->heartbeat_ms / 4 < KOS_CELL_PING_MS ? r->heartbeat_ms / 4 + 1 : KOS_CELL_PING_MS;
    r->beat_ms = kos_mono_ms(r->env) + next;
    kos_timer_set(r->env, r->heart, next);
}

static void beat(void *arg)
{
    struct remote *r = arg;
    uint64_t now = kos_mono_ms(r->env), late = now - r->beat_ms;
    /* Who was late here is not the cell: its answer may lie in the socket. */
    if (late > 100) {
        r->begin_ms += late;
        r->pinged_ms += r->pinged_ms ? late : 0;
    }
    if (!r->begun && now - r->begin_ms >= KOS_CELL_BEGIN_MS) {
        cut(r, "did not begin within %d s: its init hangs, and must not block", KOS_CELL_BEGIN_MS / 1000);
        return;
    }
    if (r->begun && r->pinged_ms && now - r->pinged_ms >= r->heartbeat_ms) {
        cut(r, "has not answered for %.3g s: one of its calls does not return (heartbeat = %.3g s)",
            (double)(now - r->pinged_ms) / 1000, (double)r->heartbeat_ms / 1000);
        return;
    }
    if (r->begun && r->pinged_ms == 0 && !r->finished) {
        r->pinged_ms = now;
        kos_channel_send(r->channel, kos_frame_new(KOS_CELL_PING, ++r->ping, 0));
    }
    beat_again(r);
}

/* ---- the way down ---- */

static void push(struct kos_down *down, struct kos_frame *frame)
{
    struct remote *r = (struct remote *)down;
    kos_channel_send(r->channel, frame);
}

static void r_start(struct kos_backend *backend)
{
    push(&remote_of(backend)->down, kos_frame_new(KOS_DOWN_START, 0, 0));
}

static void r_stop(struct kos_backend *backend)
{
    remote_of(backend)->stopping = true;
    push(&remote_of(backend)->down, kos_frame_new(KOS_DOWN_STOP, 0, 0));
}

static void r_free(struct kos_backend *backend)
{
    struct remote *r = remote_of(backend);
    kos_channel_free(r->channel);
    kos_timer_free(r->env, r->heart);
    kos_undefer(r->env, &r->tell);
    free(r);
}

/* ---- the beginning ---- */

static void put_values(struct kos_frame **f, const struct kos_conf *conf)
{
    uint64_t count = 0;
    while (conf && conf->values && conf->values[count])
        count++;
    kos_put_u64(f, count);
    for (uint64_t i = 0; i < count; i++) {
        const struct kos_value *v = conf->values[i];
        kos_put_text(f, v->name);
        kos_put_i64(f, v->number);
        kos_put_double(f, v->real);
        kos_put_text(f, v->text ? v->text : "");
        kos_put_texts(f, v->list);
    }
}

static void put_features(struct kos_frame **f, struct kos_services *services)
{
    const char *given[32] = { NULL };
    size_t count = 0;
    for (const char *const *name = kos_driver_features; *name; name++)
        if (services->ops->gives(services, *name))
            given[count++] = *name;
    kos_put_texts(f, given);
}

static void send_begin(struct remote *r, const struct kos_driver_spec *spec)
{
    char *description = json_dumps(spec->description, JSON_COMPACT);
    struct kos_frame *f = kos_frame_new(KOS_CELL_BEGIN, 0, 4096);
    kos_put_text(&f, spec->name);
    kos_put_text(&f, spec->path);
    kos_put_text(&f, spec->where);
    kos_put_text(&f, spec->directory);
    kos_put_text(&f, description ? description : "{}");
    kos_put_i64(&f, r->env->log_level);
    put_features(&f, r->services);
    put_values(&f, spec->conf);
    free(description);
    kos_channel_send(r->channel, f);
}

int32_t kos_remote_new(struct kos_env *env, int fd, const struct kos_driver_spec *spec, uint64_t heartbeat_ms,
                       struct kos_services *services, const struct kos_remote_events *events,
                       struct kos_backend **ret_backend, struct kos_error *ret_error)
{
    struct remote *r = kos_new(sizeof *r);
    const struct kos_channel_options options = { .frame_max = KOS_CELL_UP_MAX,
                                                 .queue_max = KOS_CELL_QUEUE_MAX,
                                                 .arg = r,
                                                 .frame = frame_came,
                                                 .ended = channel_ended };
    r->channel = kos_channel_new(env, fd, &options);
    if (!r->channel) {
        close(fd);
        free(r);
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "%s: plugin %s: this environment cannot watch a cell's socket",
                        spec->where, spec->name);
    }
    kos_down_ops(&r->ops);
    r->ops.start = r_start;
    r->ops.stop = r_stop;
    r->ops.free = r_free;
    r->down.push = push;
    r->down.backend.ops = &r->ops;
    r->env = env;
    r->services = services;
    r->events = *events;
    r->heartbeat_ms = heartbeat_ms;
    r->begin_ms = kos_mono_ms(env);
    r->tell.run = tell;
    r->heart = kos_timer_new(env, beat, r);
    beat_again(r);
    send_begin(r, spec);
    *ret_backend = &r->down.backend;
    return KOS_OK;
}

void kos_remote_wait(struct kos_backend *backend, uint32_t timeout_ms)
{
    struct remote *r = remote_of(backend);
    uint64_t end = kos_mono_ms(r->env) + timeout_ms;
    while (!r->begun && !r->cut) {
        uint64_t now = kos_mono_ms(r->env);
        if (now >= end)
            cut(r, "did not begin within %u s: its init hangs, and must not block", (unsigned)timeout_ms / 1000);
        else
            kos_channel_step(r->channel, (uint32_t)(end - now));
    }
    tell(&r->tell);
}

void kos_cell_put_agent(struct kos_frame **frame, const struct kos_agent_info *agent)
{
    struct kos_agent_info plain = *agent;
    plain.name = plain.address = NULL;
    plain.skills = NULL;
    kos_put_struct(frame, &plain, sizeof plain);
    kos_put_text(frame, agent->name);
    kos_put_text(frame, agent->address);
    kos_put_texts(frame, agent->skills);
}

void kos_remote_send(struct kos_backend *backend, struct kos_frame *frame)
{
    kos_channel_send(remote_of(backend)->channel, frame);
}
