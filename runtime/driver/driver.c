/* SPDX-License-Identifier: Apache-2.0
 * A plugin of this process. What goes down waits in a queue that a deferred call empties, so the plugin always runs on
 * top of the loop: its calls to the host meet no other call of the runtime, and it is never called inside one of its
 * own. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "driver/driver_private.h"

enum { GONE_MAX = 64, SLICE_MS = 10 };

static struct kos_driver *driver_of(struct kos_backend *backend)
{
    return (struct kos_driver *)backend;
}

void kos_driver_broke(struct kos_driver *driver, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    driver->services->ops->broke(driver->services, text);
}

static void push(struct kos_down *down, struct kos_frame *frame)
{
    struct kos_driver *driver = (struct kos_driver *)down;
    if (driver->stopped) {
        kos_frame_free(frame);
        return;
    }
    if (driver->last)
        driver->last->next = frame;
    else
        driver->first = frame;
    driver->last = frame;
    driver->queued++;
    if (driver->started && !driver->resting)
        kos_defer(driver->env, &driver->drain);
}

void kos_driver_push(struct kos_backend *backend, struct kos_frame *frame)
{
    frame->next = NULL;
    push(&driver_of(backend)->down, frame);
}

static struct kos_frame *pop(struct kos_driver *driver)
{
    struct kos_frame *frame = driver->first;
    driver->first = frame->next;
    if (!driver->first)
        driver->last = NULL;
    driver->queued--;
    return frame;
}

static void drop_queue(struct kos_driver *driver)
{
    while (driver->first)
        kos_frame_free(pop(driver));
}

void kos_driver_enter(struct kos_driver *driver, const char *member)
{
    driver->inside = true;
    if (driver->strict && driver->strict->enters)
        driver->strict->enters(driver->strict->arg, member);
}

void kos_driver_leave(struct kos_driver *driver)
{
    driver->inside = false;
}

static void run(struct kos_driver *driver, struct kos_frame *frame)
{
    const char *missing = NULL;
    driver->begun = driver->begun || frame->head.kind == KOS_DOWN_START;
    kos_driver_enter(driver, kos_down_name(frame->head.kind));
    int32_t rc = kos_down_run(&driver->tables, driver->self, frame, &missing);
    kos_driver_leave(driver);
    if (driver->strict)
        memset(frame->body, 0xdd, frame->room);
    if (rc == KOS_E_UNSUPPORTED)
        kos_driver_broke(driver, "caused an event that it does not take: %s is NULL", missing);
    else if (rc < 0)
        kos_log(driver->env, KOS_LOG_ERROR, "driver", "plugin %s: a call of kind %u is malformed and was left out",
                driver->name, (unsigned)frame->head.kind);
}

/* A pointer that was kept is to show, so what it points to must not become something else at once. */
static void retire(struct kos_driver *driver, struct kos_frame *frame)
{
    if (!driver->strict) {
        kos_frame_free(frame);
        return;
    }
    frame->next = NULL;
    if (driver->gone)
        driver->gone_last->next = frame;
    else
        driver->gone = frame;
    driver->gone_last = frame;
    if (++driver->gone_count > GONE_MAX) {
        struct kos_frame *oldest = driver->gone;
        driver->gone = oldest->next;
        driver->gone_count--;
        kos_frame_free(oldest);
    }
}

static void drain(struct kos_deferred *deferred)
{
    struct kos_driver *driver = (struct kos_driver *)((char *)deferred - offsetof(struct kos_driver, drain));
    uint64_t begin = kos_mono_ms(driver->env);
    bool over = false;
    /* What these calls cause comes behind them; it waits for the next round, so that plugins take turns. A plugin that is
     * slow is not to keep the loop from what it does besides: answering pings, and sending what was done already. */
    for (size_t n = driver->queued; n > 0 && driver->first && !driver->stopped && !over; n--) {
        struct kos_frame *frame = pop(driver);
        run(driver, frame);
        retire(driver, frame);
        over = kos_mono_ms(driver->env) - begin >= SLICE_MS;
    }
    kos_driver_after(driver);
    if (driver->stopped || !driver->first)
        return;
    driver->resting = over;
    if (over)
        kos_timer_set(driver->env, driver->rest, 0);
    else
        kos_defer(driver->env, &driver->drain);
}

static void rested(void *arg)
{
    struct kos_driver *driver = arg;
    driver->resting = false;
    kos_defer(driver->env, &driver->drain);
}

void kos_driver_after(struct kos_driver *driver)
{
    const char *member = atomic_exchange(&driver->wrong_thread, NULL);
    if (member)
        kos_driver_broke(driver, "called %s from a thread of its own; only post may be called from any thread", member);
    if (!driver->stopped || driver->finished || driver->inside)
        return;
    driver->finished = true;
    drop_queue(driver);
    kos_driver_reactor_fini(driver);
    driver->services->ops->quiet(driver->services);
    if (driver->strict && driver->strict->enters)
        driver->strict->enters(driver->strict->arg, "fini");
    driver->tables.plugin.fini(driver->self);
    driver->services->ops->finished(driver->services);
}

/* ---- life ---- */

static void d_start(struct kos_backend *backend)
{
    struct kos_driver *driver = driver_of(backend);
    struct kos_frame *frame = kos_frame_new(KOS_DOWN_START, 0, 0);
    frame->next = driver->first;
    driver->first = frame;
    if (!driver->last)
        driver->last = frame;
    driver->queued++;
    driver->started = true;
    kos_defer(driver->env, &driver->drain);
}

static void d_stop(struct kos_backend *backend)
{
    struct kos_driver *driver = driver_of(backend);
    driver->stopping = true;
    if (driver->started) {
        push(&driver->down, kos_frame_new(KOS_DOWN_STOP, 0, 0));
        return;
    }
    /* Never started: fini alone (plugin.h). */
    driver->stopped = true;
    kos_defer(driver->env, &driver->drain);
}

/* The short way out, of a start that failed elsewhere: stop, if start has come, and fini at once where stop allows
 * it. */
static void halt(struct kos_driver *driver)
{
    drop_queue(driver);
    if (driver->begun && !driver->stopping) {
        driver->stopping = true;
        kos_driver_enter(driver, "stop");
        driver->tables.plugin.stop(driver->self);
        kos_driver_leave(driver);
    } else if (!driver->begun) {
        driver->stopped = true;
    }
    kos_driver_after(driver);
}

static void driver_free(struct kos_driver *driver)
{
    while (driver->gone) {
        struct kos_frame *frame = driver->gone;
        driver->gone = frame->next;
        kos_frame_free(frame);
    }
    if (driver->post_fd >= 0)
        close(driver->post_fd);
    free(driver->name);
    free(driver->where);
    free(driver->directory);
    free(driver);
}

static void d_free(struct kos_backend *backend)
{
    struct kos_driver *driver = driver_of(backend);
    if (!driver->finished)
        halt(driver);
    kos_undefer(driver->env, &driver->drain);
    kos_timer_free(driver->env, driver->rest);
    driver->rest = NULL;
    drop_queue(driver);
    if (driver->finished) {
        driver_free(driver);
        return;
    }
    /* It hangs. It may still have threads that use its table: that memory stays. */
    driver->stopped = true;
    kos_driver_reactor_fini(driver);
}

static const struct kos_backend_ops *driver_ops(struct kos_backend_ops *ops)
{
    kos_down_ops(ops);
    ops->start = d_start;
    ops->stop = d_stop;
    ops->free = d_free;
    return ops;
}

/* init is the plugin's: its sentence is put behind its name, and a missing one is made up for. */
static int32_t init(struct kos_driver *driver, struct kos_error *ret_error)
{
    struct kos_error why = { 0 };
    void *untouched = driver->strict ? driver : NULL;
    driver->self = untouched;
    kos_driver_enter(driver, "init");
    int32_t rc = driver->tables.plugin.init(&driver->table, driver->conf, &driver->self, &why);
    kos_driver_leave(driver);
    if (rc >= 0)
        return KOS_OK;
    if (driver->self != untouched)
        kos_driver_broke(driver, "set *ret_self though init failed");
    why.text[sizeof why.text - 1] = '\0';
    return kos_fail(ret_error, rc, "%s: plugin %s does not begin: %s", driver->where, driver->name,
                    why.text[0] ? why.text : kos_error_text(rc));
}

static int32_t load(struct kos_driver *driver, const struct kos_driver_spec *spec, struct kos_error *ret_error)
{
    const struct kos_plugin *plugin;
    struct kos_plugin checked;
    int32_t rc = kos_module_open(spec->path, &plugin, ret_error);
    if (rc >= 0)
        rc = kos_manifest_check(spec->path, plugin, &checked, ret_error);
    if (rc < 0)
        return rc;
    json_t *again = kos_manifest_json(&checked);
    if (!json_equal(again, spec->description))
        rc = kos_fail(ret_error, KOS_E_PLUGIN,
                      "%s: says something else of itself than a moment ago: it was replaced meanwhile, or does not "
                      "tell the truth",
                      spec->path);
    json_decref(again);
    if (rc >= 0)
        kos_tables_init(&driver->tables, &checked);
    return rc;
}

int32_t kos_driver_new(struct kos_env *env, const struct kos_driver_spec *spec, struct kos_services *services,
                       struct kos_backend **ret_backend, struct kos_error *ret_error)
{
    struct kos_driver *driver = kos_new(sizeof *driver);
    driver->down.push = push;
    driver->down.backend.ops = driver_ops(&driver->ops);
    driver->env = env;
    driver->services = services;
    driver->name = kos_strdup(spec->name);
    driver->where = kos_strdup(spec->where);
    driver->directory = spec->directory ? kos_strdup(spec->directory) : NULL;
    driver->conf = spec->conf;
    driver->strict = spec->strict;
    driver->thread = pthread_self();
    driver->drain.run = drain;
    driver->rest = kos_timer_new(env, rested, driver);
    driver->post_fd = -1;
    int32_t rc = load(driver, spec, ret_error);
    if (rc >= 0) {
        kos_driver_table_init(driver);
        driver->tables.newer = spec->strict && spec->strict->newer;
        rc = kos_driver_reactor_init(driver, ret_error);
    }
    *ret_backend = &driver->down.backend;
    if (rc >= 0)
        rc = init(driver, ret_error);
    if (rc >= 0)
        return KOS_OK;
    *ret_backend = NULL;
    services->ops->quiet(services);
    driver->stopped = true;
    drop_queue(driver);
    kos_undefer(env, &driver->drain);
    kos_timer_free(env, driver->rest);
    kos_driver_reactor_fini(driver);
    driver_free(driver);
    return rc;
}
