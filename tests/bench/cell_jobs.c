/* SPDX-License-Identifier: Apache-2.0
 * What bench-cell asks of a plugin, and what it answers a plugin: as kosd does, but at once, since the disk and the
 * mesh cost the same wherever the plugin is. */
#include <stdlib.h>

#include "cell.h"
#include "core/buf.h"

enum { NEAR = 2, ENDPOINT = 4, FIRST = 1000, CREDIT = 64 << 10, CREDIT_STEP = 16 << 10, BYTES_MAX = 16 << 10 };

static struct side *side_of(struct kos_services *services)
{
    return (struct side *)services;
}

static void stop_loop(struct side *side, bool *flag)
{
    *flag = true;
    kos_loop_stop(side->bench->loop);
}

static void done(struct side *side)
{
    side->done++;
    if (side->done == side->count)
        stop_loop(side, &side->over);
    else if (side->sent < side->count) {
        side->sent++;
        side->job->submit(side);
    }
}

/* A cell is cut off that asks more than KOS_CELL_ASKS within a second; a run takes less than one. */
uint64_t job_most(const struct job *job)
{
    return KOS_CELL_ASKS / 3 / job->asks;
}

static void next_second(void *arg)
{
    struct side *side = arg;
    stop_loop(side, &side->over);
}

void job_await(struct side *side, const struct job *job, uint64_t count)
{
    struct kos_env *env = side->bench->env;
    uint64_t ms = kos_mono_ms(env);
    if (side->hosting == PROCESS)
        return;
    if (ms / 1000 == side->second && side->asked + count * job->asks > KOS_CELL_ASKS / 3) {
        struct kos_timer *timer = kos_timer_new(env, next_second, side);
        side->over = false;
        kos_timer_set(env, timer, 1001 - ms % 1000);
        side_wait(side, &side->over);
        kos_timer_free(env, timer);
        ms = kos_mono_ms(env);
    }
    side->asked = (ms / 1000 == side->second ? side->asked : 0) + count * job->asks;
    side->second = ms / 1000;
}

void job_run(struct side *side, const struct job *job, uint64_t count)
{
    bool first = side->job != job;
    side->job = job;
    side->over = false;
    side->count = count;
    side->sent = side->done = 0;
    if (first && job->prepare)
        job->prepare(side);
    if (job->run)
        job->run(side);
    for (uint32_t i = 0; !job->run && i < job->window && side->sent < count; i++) {
        side->sent++;
        job->submit(side);
    }
    side_wait(side, &side->over);
}

/* ---- control and state ---- */

static void submit_call(struct side *side)
{
    side->backend->ops->call(side->backend, FIRST + ++side->ids, "Echo",
                             kos_bytes_str("{\"text\":\"what a person may ask of a plugin\",\"number\":1234567}"), 0);
}

static void run_state(struct side *side)
{
    char text[96];
    snprintf(text, sizeof text, "{\"count\":%llu,\"window\":%u}", (unsigned long long)side->count, side->job->window);
    side->backend->ops->call(side->backend, FIRST + ++side->ids, "Get", kos_bytes_str(text), 0);
}

static void s_reply(struct kos_services *services, uint64_t call, int32_t status, struct kos_bytes parameters,
                    const char *text, int32_t continues)
{
    struct side *side = side_of(services);
    (void)call, (void)parameters, (void)continues;
    if (status < 0)
        die("a call failed: %s", text);
    if (side->job->run)
        stop_loop(side, &side->over);
    else
        done(side);
}

static void s_state_get(struct kos_services *services, struct kos_bytes key, uint64_t op)
{
    static const uint8_t value[16] = { 1 };
    struct side *side = side_of(services);
    (void)key;
    side->backend->ops->completed(side->backend, op, KOS_OK, kos_bytes(value, sizeof value), false);
}

/* ---- messages ---- */

static void submit_handle(struct side *side)
{
    const struct kos_message message = {
        .size = sizeof message,
        .klass = 1,
        .type = "PING",
        .source = "klp://node.ae4dcmzfkq3e4yltnfzxg2lomu",
        .target = "klp://node.be4dcmzfkq3e4yltnfzxg2lomu",
        .trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        .source_name = "laptop",
        .payload = kos_bytes_str("{\"n\":1,\"text\":\"is anybody there who would answer this, please\"}"),
    };
    side->backend->ops->handle(side->backend, FIRST + ++side->ids, &message);
}

static void s_tx_begin(struct kos_services *services, uint64_t tx)
{
    (void)services, (void)tx;
}

static void s_tx_put(struct kos_services *services, uint64_t tx, struct kos_bytes key, struct kos_bytes value)
{
    (void)services, (void)tx, (void)key, (void)value;
}

static void s_tx_send(struct kos_services *services, uint64_t tx, const struct kos_draft *draft)
{
    (void)services, (void)tx, (void)draft;
}

static void s_tx_verdict(struct kos_services *services, uint64_t tx, uint64_t message, int32_t verdict, int32_t error,
                         const char *text, uint64_t retry_ms)
{
    (void)services, (void)tx, (void)message, (void)error, (void)text, (void)retry_ms;
    if (verdict != KOS_ACCEPT)
        die("a message was not accepted");
}

static void s_tx_commit(struct kos_services *services, uint64_t tx, uint64_t op)
{
    struct side *side = side_of(services);
    (void)tx;
    side->backend->ops->completed(side->backend, op, KOS_OK, kos_bytes(NULL, 0), false);
    done(side);
}

/* ---- links ---- */

static void submit_send(struct side *side)
{
    static uint8_t bytes[BYTES_MAX];
    const struct kos_bytes piece = kos_bytes(bytes, side->job->bytes);
    if (side->credit < piece.len)
        die("a link gave too little credit back");
    side->credit -= piece.len;
    side->backend->ops->send(side->backend, NEAR, &piece, 1);
}

static void prepare_links(struct side *side)
{
    static const char address[] = "loop://bench";
    bool up = false;
    if (side->links == 2)
        return;
    side->backend->ops->listen(side->backend, ENDPOINT, address);
    side->backend->ops->dial(side->backend, NEAR, address);
    while (!up) {
        kos_loop_run(side->bench->loop);
        up = side->links == 2;
    }
    side->backend->ops->link_credit(side->backend, side->far, CREDIT);
}

static void s_endpoint_up(struct kos_services *services, uint64_t endpoint, const char *address)
{
    (void)services, (void)endpoint, (void)address;
}

static void s_endpoint_down(struct kos_services *services, uint64_t endpoint, int32_t status, const char *text)
{
    (void)endpoint, (void)status;
    if (side_of(services)->job)
        die("an endpoint went down: %s", text);
}

static void s_link_up(struct kos_services *services, uint64_t link, uint64_t endpoint, const struct kos_link_info *info)
{
    struct side *side = side_of(services);
    if (endpoint == 0)
        side->credit = info->send_window_bytes;
    else
        side->far = link;
    if (++side->links == 2)
        kos_loop_stop(side->bench->loop);
}

static void s_link_received(struct kos_services *services, uint64_t link, struct kos_bytes bytes)
{
    struct side *side = side_of(services);
    (void)link;
    side->taken += bytes.len;
    if (side->taken >= CREDIT_STEP) {
        side->backend->ops->link_credit(side->backend, side->far, side->taken);
        side->taken = 0;
    }
}

/* The last that is heard of a send: it was delivered before. A stream is cut anywhere. */
static void s_link_credit(struct kos_services *services, uint64_t link, uint64_t bytes)
{
    struct side *side = side_of(services);
    (void)link;
    side->credit += bytes;
    for (side->left += bytes; side->left >= side->job->bytes; side->left -= side->job->bytes)
        done(side);
}

static void s_link_down(struct kos_services *services, uint64_t link, int32_t status, const char *text)
{
    (void)link, (void)status;
    if (side_of(services)->job)
        die("a link went down: %s", text);
}

/* ---- the rest of what these plugins ask ---- */

static void s_broke(struct kos_services *services, const char *what)
{
    (void)services;
    die("the plugin %s", what);
}

static void s_quiet(struct kos_services *services)
{
    (void)services;
}

static void s_finished(struct kos_services *services)
{
    stop_loop(side_of(services), &side_of(services)->finished);
}

static bool s_gives(struct kos_services *services, const char *feature)
{
    (void)services;
    return strcmp(feature, KOS_CONTROL_HOST) == 0 || strcmp(feature, KOS_TRANSPORT_HOST) == 0;
}

static void s_log(struct kos_services *services, int32_t level, const char *text)
{
    (void)services, (void)level;
    die("the plugin says: %s", text);
}

const struct kos_services_ops cell_services = {
    .broke = s_broke, .quiet = s_quiet, .finished = s_finished, .gives = s_gives, .log = s_log,
    .state_get = s_state_get, .reply = s_reply,
    .tx_begin = s_tx_begin, .tx_put = s_tx_put, .tx_send = s_tx_send, .tx_verdict = s_tx_verdict,
    .tx_commit = s_tx_commit,
    .endpoint_up = s_endpoint_up, .endpoint_down = s_endpoint_down, .link_up = s_link_up,
    .link_received = s_link_received, .link_credit = s_link_credit, .link_down = s_link_down,
};

#define ECHO "tests/bench/.libs/cell_plugin.so"
#define LOOP "sdk/examples/.libs/transport_loop.so"
#define PING "sdk/examples/.libs/handler_ping.so"
const struct job cell_jobs[] = {
    { "call", "a control call and its reply", ECHO, 1, 0, 1, NULL, submit_call, NULL },
    { "call_64", "the same, 64 at a time", ECHO, 64, 0, 1, NULL, submit_call, NULL },
    { "state_get", "a value of its state", ECHO, 1, 0, 1, NULL, NULL, run_state },
    { "state_get_64", "the same, 64 at a time", ECHO, 64, 0, 1, NULL, NULL, run_state },
    { "link", "512 bytes over a link", LOOP, 1, 512, 2, prepare_links, submit_send, NULL },
    { "link_64", "the same, 64 at a time", LOOP, 64, 512, 2, prepare_links, submit_send, NULL },
    { "link_bulk", "16 KiB over a link, 4 at a time", LOOP, 4, BYTES_MAX, 2, prepare_links, submit_send, NULL },
    { "message", "message, transaction, verdict, done", PING, 1, 0, 4, NULL, submit_handle, NULL },
    { "message_64", "the same, 64 at a time", PING, 64, 0, 4, NULL, submit_handle, NULL },
    { 0 },
};
