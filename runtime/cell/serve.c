/* SPDX-License-Identifier: Apache-2.0
 * A loop, a channel to kosd, and between them a driver with the plugin: what comes down is pushed into the driver, what
 * the plugin asks goes up. */
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "cell/cell.h"
#include "core/buf.h"
#include "core/loop.h"
#include "driver/channel.h"
#include "driver/down.h"
#include "driver/up.h"

enum { QUEUE_MAX = 128 << 20, LAST_MS = 2000 };

struct cell {
    struct kos_up up;                       /* first */
    struct kos_services_ops ops;
    struct kos_loop *loop;
    struct kos_env *env;
    struct kos_channel *channel;
    struct kos_backend *backend;
    struct cell_begin begin;
    struct cell_agents agents;
    bool begun, done;
};

static struct cell *cell_of(struct kos_services *services)
{
    return (struct cell *)services;
}

static void push(struct kos_up *up, struct kos_frame *frame)
{
    kos_channel_send(((struct cell *)up)->channel, frame);
}

static bool gives(struct kos_services *services, const char *feature)
{
    for (const char **given = cell_of(services)->begin.features; *given; given++)
        if (strcmp(*given, feature) == 0)
            return true;
    return false;
}

static const struct kos_agent_info *agent_by_id(struct kos_services *services, const uint8_t id[KOS_ID_BYTES])
{
    return cell_agents_by_id(&cell_of(services)->agents, id);
}

static const struct kos_agent_info *agent_by_name(struct kos_services *services, const char *name)
{
    return cell_agents_by_name(&cell_of(services)->agents, name);
}

/* Lines that kosd would drop do not travel. */
static void log_line(struct kos_services *services, int32_t level, const char *text)
{
    struct cell *cell = cell_of(services);
    if (level > cell->env->log_level)
        return;
    struct kos_frame *f = kos_frame_new(KOS_UP_LOG, 0, KOS_LOG_TEXT_MAX);
    char line[KOS_LOG_TEXT_MAX + 1];
    snprintf(line, sizeof line, "%s", text);
    kos_put_i64(&f, level);
    kos_put_text(&f, line);
    push(&cell->up, f);
}

static void finished(struct kos_services *services)
{
    struct cell *cell = cell_of(services);
    push(&cell->up, kos_frame_new(KOS_UP_FINISHED, 0, 0));
    cell->done = true;
    kos_loop_stop(cell->loop);
}

static void begin(struct cell *cell, struct kos_frame *frame)
{
    struct kos_error error = { 0 };
    if (cell->begun || !cell_begin_read(frame, &cell->begin)) {
        fputs("kos-cell: kosd's beginning is malformed\n", stderr);
        _exit(1);
    }
    cell->begun = true;
    kos_loop_set_level(cell->loop, cell->begin.log_level);
    int32_t rc =
        kos_driver_new(cell->env, &cell->begin.spec, &cell->up.services, &cell->backend, &error);
    struct kos_frame *f = kos_frame_new(KOS_CELL_BEGUN, 0, sizeof error.text);
    error.text[sizeof error.text - 1] = '\0';
    kos_put_i64(&f, rc < 0 ? rc : KOS_OK);
    kos_put_text(&f, rc < 0 ? error.text : "");
    kos_channel_send(cell->channel, f);
    if (rc < 0)
        kos_loop_stop(cell->loop);
}

static void frame_came(void *arg, struct kos_frame *frame)
{
    struct cell *cell = arg;
    uint16_t kind = frame->head.kind;
    if (kind == KOS_CELL_BEGIN) {
        begin(cell, frame);
        return;
    }
    if (kind == KOS_CELL_PING) {
        kos_channel_send(cell->channel, kos_frame_new(KOS_CELL_PONG, frame->head.id, 0));
    } else if (kind == KOS_CELL_AGENTS) {
        cell_agents_read(frame, &cell->agents);
        return;
    } else if (cell->backend && kind == KOS_DOWN_START) {
        cell->backend->ops->start(cell->backend);
    } else if (cell->backend && kind == KOS_DOWN_STOP) {
        cell->backend->ops->stop(cell->backend);
    } else if (cell->backend && !cell->done) {
        kos_driver_push(cell->backend, frame);
        return;
    }
    kos_frame_free(frame);
}

/* kosd is gone, or wants no more of this: the plugin is not asked any more. */
static void channel_ended(void *arg, const char *why)
{
    (void)arg;
    if (*why)
        fprintf(stderr, "kos-cell: kosd %s\n", why);
    _exit(*why != 0);
}

int cell_serve(void)
{
    struct cell *cell = kos_new(sizeof *cell);
    struct kos_error error = { 0 };
    const struct kos_channel_options options = { .frame_max = KOS_FRAME_MAX,
                                                 .queue_max = QUEUE_MAX,
                                                 .takes_fds = true,
                                                 .arg = cell,
                                                 .frame = frame_came,
                                                 .ended = channel_ended };
    kos_up_ops(&cell->ops);
    cell->ops.log = log_line;
    cell->ops.finished = finished;
    cell->ops.gives = gives;
    cell->ops.agent_by_id = agent_by_id;
    cell->ops.agent_by_name = agent_by_name;
    cell->up.services.ops = &cell->ops;
    cell->up.push = push;
    if (kos_loop_new(1, KOS_LOG_STDERR, &cell->loop, &error) < 0) {
        fprintf(stderr, "kos-cell: %s\n", error.text);
        return 1;
    }
    cell->env = kos_loop_env(cell->loop);
    cell->channel = kos_channel_new(cell->env, CELL_CHANNEL_FD, &options);
    if (!cell->channel)
        return 1;
    kos_loop_run(cell->loop);
    for (uint64_t end = kos_mono_ms(cell->env) + LAST_MS;
         !kos_channel_empty(cell->channel) && kos_mono_ms(cell->env) < end;)
        kos_channel_step(cell->channel, 10);
    return 0;
}
