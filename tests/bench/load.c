/* SPDX-License-Identifier: Apache-2.0
 *
 * The load of the benchmarks, as a handler that anybody could have written: in the sending kosd it sends messages as fast
 * as its host takes them, or at a rate, and measures answers; in the receiving one it counts (BENCH_LOAD) or answers
 * (BENCH_ASK by BENCH_REPLY). Each durable message handled is counted in the plugin's state by the transaction that
 * accepts it.
 * org.kos.bench on the control socket drives it.
 */
#include "load.h"

#include <stdlib.h>

/* ---- what was handled ---- */

static void settle_now(struct load *load)
{
    const struct kos_host *host = load->host;
    uint64_t tx = ++load->next;
    host->tx_begin(host, tx);
    for (uint32_t i = 0; i < load->settle_count; i++)
        host->tx_verdict(host, tx, load->settle[i], KOS_ACCEPT, 0, NULL, 0);
    load->handled += load->settle_handled;
    if (load->settle_durable) {
        host->tx_put(host, tx, kos_bytes_str("handled"), kos_bytes(&load->handled, sizeof load->handled));
    }
    host->tx_commit(host, tx, ++load->next << OP_SHIFT | OP_SETTLED);
    load->settle_count = load->settle_handled = 0;
    load->settle_durable = false;
}

/* One transaction for each, or, with the setting `gather`, one for what this turn of the loop brings. */
static void settle(struct load *load, uint64_t message, bool handled, bool durable)
{
    load->settle_durable = load->settle_durable || (handled && durable);
    load->settle[load->settle_count++] = message;
    load->settle_handled += handled;
    if (!load->gather || load->settle_count == SETTLE_MAX) {
        settle_now(load);
    } else if (!load->posted) {
        load->posted = true;
        if (load->host->post(load->host, 0) < 0) {
            load->posted = false;
            settle_now(load);
        }
    }
}

static void posted(void *self, uint64_t cookie)
{
    struct load *load = self;
    (void)cookie;
    load->posted = false;
    if (load->settle_count)
        settle_now(load);
}

static void answer(struct load *load, uint64_t message, const struct kos_message *m)
{
    const struct kos_host *host = load->host;
    uint64_t tx = ++load->next;
    struct kos_draft reply = { .size = sizeof reply, .klass = m->klass, .type = "BENCH_REPLY", .target = m->source };
    reply.payload = m->payload;
    reply.expires_in_ms = load->expires_ms;
    reply.delivery = m->delivery;
    host->random(host, reply.id, sizeof reply.id);
    memcpy(reply.reply_to, m->id, sizeof reply.reply_to);
    memcpy(reply.target_id, m->source_id, sizeof reply.target_id);
    load->handled++;
    host->tx_begin(host, tx);
    host->tx_send(host, tx, &reply);
    if (m->delivery == KOS_DURABLE)
        host->tx_put(host, tx, kos_bytes_str("handled"), kos_bytes(&load->handled, sizeof load->handled));
    host->tx_verdict(host, tx, message, KOS_ACCEPT, 0, NULL, 0);
    host->tx_commit(host, tx, ++load->next << OP_SHIFT | OP_SETTLED);
}

/* The sender's clock of when it was sent, the first member of each payload: {"at":NS,...}. 0: it is not there. */
static uint64_t sent_at(struct kos_bytes payload)
{
    uint64_t at = 0;
    for (size_t i = 6; i < payload.len && payload.data[i] >= '0' && payload.data[i] <= '9'; i++)
        at = at * 10 + payload.data[i] - '0';
    return at;
}

static void handle(void *self, uint64_t message, const struct kos_message *m)
{
    struct load *load = self;
    uint64_t at = sent_at(m->payload), now = load->host->mono_ns(load->host);
    if (m->again)
        load->again++;
    if (strcmp(m->type, "BENCH_ASK") == 0) {
        answer(load, message, m);
        return;
    }
    if (at && at <= now && (strcmp(m->type, "BENCH_LOAD") == 0 || load_answered(load, at)))
        latency_add(&load->latency, now - at);
    settle(load, message, true, m->delivery == KOS_DURABLE);
}

static void outcome(void *self, uint64_t message, const struct kos_outcome *o)
{
    struct load *load = self;
    load_outcome(load, o->status);
    settle(load, message, false, true);
}

/* ---- its life ---- */

static void completed(void *self, uint64_t op, int32_t status, struct kos_bytes result)
{
    struct load *load = self;
    char line[KOS_LOG_TEXT_MAX];
    if ((op & OP_MASK) == OP_SENT) {
        load_committed(load, (uint32_t)(op >> OP_BITS & (PER_TX_MAX - 1)), status, result);
    } else if ((op & OP_MASK) == OP_LOADED && status >= 0 && result.len == sizeof load->handled) {
        memcpy(&load->handled, result.data, sizeof load->handled);
    } else if ((op & OP_MASK) == OP_SETTLED && status < 0) {
        load->unsettled++;
        snprintf(line, sizeof line, "a message could not be accepted: %.*s", (int)result.len, (const char *)result.data);
        load->host->log(load->host, KOS_WARNING, line);
    }
}

static void start(void *self)
{
    struct load *load = self;
    load->host->state_get(load->host, kos_bytes_str("handled"), ++load->next << OP_SHIFT | OP_LOADED);
}

static void stop(void *self)
{
    struct load *load = self;
    load_end(load);
    load->host->stopped(load->host);
}

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    struct load *load = calloc(1, sizeof *load);
    if (!load)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the load");
    load->host = host;
    load->control = host->feature(host, KOS_CONTROL_HOST);
    load->gather = kos_conf_number(conf, "gather") != 0;
    load->expires_ms = kos_conf_number(conf, "expires");
    load->pace = -1;
    *ret_self = load;
    return KOS_OK;
}

static const char *const types[] = { "BENCH_LOAD", "BENCH_ASK", "BENCH_REPLY", NULL };
static const struct kos_handler handler = { .size = sizeof handler, .types = types, .handle = handle, .outcome = outcome };
static const struct kos_control control = {
    .size = sizeof control,
    .interface_name = "org.kos.bench",
    .description = "# The load of the benchmarks\n"
                   "interface org.kos.bench\n\n"
                   "# Sends until `seconds` have passed, `count` are sent, or the caller hangs up; answers when all of it\n"
                   "# is at its target (ask: answered; commit: on this node's disk). rate 0: as fast as it goes.\n"
                   "method Send(target: string, ask: bool, commit: bool, bytes: int, seconds: float, count: int, rate: float, window: int,\n"
                   "  per_tx: int) -> (load: object)\n"
                   "method Counters() -> (load: object)\n"
                   "# Forgets the latencies so far\n"
                   "method Reset() -> ()\n",
    .call = load_call,
    .hangup = load_hangup,
};
static const struct kos_setting gather = {
    .size = sizeof gather,
    .type = KOS_SETTING_BOOL,
    .name = "gather",
    .summary = "accept in one transaction what one turn of the loop brings",
    .fallback = "false",
};
static const struct kos_setting expires = {
    .size = sizeof expires,
    .type = KOS_SETTING_DURATION,
    .name = "expires",
    .summary = "how long a message may be under way",
    .fallback = "60s",
    .min = 1000,
    .max = 86400000,
};
static const struct kos_setting *const settings[] = { &gather, &expires, NULL };
static const struct kos_right right_send = { sizeof right_send, "send", "sends the load, and answers" };
static const struct kos_right *const rights[] = { &right_send, NULL };
static const struct kos_feature feature_handler = { sizeof feature_handler, KOS_HANDLER, &handler };
static const struct kos_feature feature_control = { sizeof feature_control, KOS_CONTROL, &control };
static const struct kos_feature *const features[] = { &feature_handler, &feature_control, NULL };

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.bench.load",
    .name = "load",
    .version = "1.0.0",
    .summary = "sends, counts and answers the messages of the benchmarks",
    .settings = settings,
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = free,
    .completed = completed,
    .timer = load_timer,
    .ready = load_ready,
    .posted = posted,
};
