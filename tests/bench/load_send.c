/* SPDX-License-Identifier: Apache-2.0
 * The load of the benchmarks, its sending side: within a window, as fast as the host takes it or at a rate. */
#include "load.h"

#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { PACE_NS = 250000, RETRY_MS = 1, LINGER_MS = 10000 };

/* ---- loose JSON of our own callers: numbers, words and one text without escapes ---- */

static const char *member(const char *json, const char *name)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\"", name);
    const char *at = strstr(json, quoted);
    if (!at)
        return NULL;
    at += strlen(quoted);
    at += strspn(at, " :");
    return at;
}

static double number(const char *json, const char *name, double otherwise)
{
    const char *at = member(json, name);
    if (at && strncmp(at, "true", 4) == 0)
        return 1;
    return at ? strtod(at, NULL) : otherwise;
}

static bool text(const char *json, const char *name, char *ret_text, size_t cap)
{
    const char *at = member(json, name);
    size_t len = at && *at == '"' ? strcspn(at + 1, "\"\\") : 0;
    if (len == 0 || len >= cap || at[1 + len] != '"')
        return false;
    memcpy(ret_text, at + 1, len);
    ret_text[len] = 0;
    return true;
}

/* ---- reports ---- */

static void report(struct load *load, uint64_t call)
{
    const struct sending *s = &load->sending;
    char json[1024];
    uint64_t now = load->host->mono_ns(load->host);
    uint64_t until = s->stopped_ns ? s->stopped_ns : now;
    int n = snprintf(json, sizeof json,
                     "{\"load\":{\"now_ns\":%llu,\"handled\":%llu,\"again\":%llu,\"unsettled\":%llu,\"sent\":%llu,\"committed\":%llu,"
                     "\"delivered\":%llu,\"answered\":%llu,\"busy\":%llu,\"refused\":%llu,\"why\":\"%s\",\"elapsed_ns\":%llu,"
                     "\"latency\":{\"count\":%llu,\"p50_ns\":%llu,\"p90_ns\":%llu,\"p99_ns\":%llu,\"p999_ns\":%llu,\"max_ns\":%llu}}}",
                     (unsigned long long)now, (unsigned long long)load->handled, (unsigned long long)load->again,
                     (unsigned long long)load->unsettled, (unsigned long long)s->sent, (unsigned long long)s->committed,
                     (unsigned long long)s->delivered, (unsigned long long)s->answered, (unsigned long long)s->busy,
                     (unsigned long long)s->refused, s->why, (unsigned long long)(s->start_ns ? until - s->start_ns : 0),
                     (unsigned long long)load->latency.count, (unsigned long long)latency_at(&load->latency, 0.5),
                     (unsigned long long)latency_at(&load->latency, 0.9), (unsigned long long)latency_at(&load->latency, 0.99),
                     (unsigned long long)latency_at(&load->latency, 0.999), (unsigned long long)load->latency.max_ns);
    load->control->reply(load->host, call, KOS_OK, kos_bytes(json, (size_t)n), NULL, 0);
}

void load_end(struct load *load)
{
    struct sending *s = &load->sending;
    if (!s->on)
        return;
    s->on = false;
    if (load->pace >= 0) {
        load->host->watch(load->host, load->pace, 0);
        close(load->pace);
        load->pace = -1;
    }
    load->host->timer_stop(load->host, TIMER_RETRY);
    load->host->timer_stop(load->host, TIMER_END);
    report(load, s->call);
    free(s->payload);
    s->payload = NULL;
}

/* ---- sending ---- */

static void send_one(struct load *load, uint64_t tx)
{
    struct sending *s = &load->sending;
    const struct kos_host *host = load->host;
    struct kos_draft draft = { .size = sizeof draft, .klass = 1, .type = s->ask ? "BENCH_ASK" : "BENCH_LOAD" };
    char head[48];
    int n = snprintf(head, sizeof head, "{\"at\":%llu,\"x\":\"", (unsigned long long)host->mono_ns(host));
    memset(s->payload, 'x', (size_t)n);
    memcpy(s->payload, head, (size_t)n);
    draft.target = s->target;
    draft.payload = kos_bytes(s->payload, s->bytes);
    draft.expires_in_ms = load->expires_ms;
    draft.delivery = s->transient ? KOS_TRANSIENT : KOS_DURABLE;
    host->random(host, draft.id, sizeof draft.id);
    host->tx_send(host, tx, &draft);
    s->sent++;
}

/* What is on its way: not yet answered, not yet at the target, or, with `commit`, not yet on this node's disk. */
static uint64_t under_way(const struct sending *s)
{
    uint64_t through = s->ask ? s->answered : s->commit ? s->committed : s->delivered;
    return s->sent > s->refused + through ? s->sent - s->refused - through : 0;
}

static uint64_t due(struct load *load)
{
    const struct sending *s = &load->sending;
    uint64_t now = load->host->mono_ns(load->host), most = s->count - s->sent;
    if (s->end_ns && now >= s->end_ns)
        return 0;
    if (s->rate > 0) {
        double should = (double)(now - s->start_ns) * s->rate / 1e9;
        uint64_t behind = should > (double)s->sent ? (uint64_t)(should - (double)s->sent) : 0;
        most = behind < most ? behind : most;
    }
    uint64_t room = s->window > under_way(s) ? s->window - under_way(s) : 0;
    return room < most ? room : most;
}

static bool over(struct load *load)
{
    const struct sending *s = &load->sending;
    return s->sent >= s->count || (s->end_ns && load->host->mono_ns(load->host) >= s->end_ns);
}

static void go(struct load *load)
{
    struct sending *s = &load->sending;
    const struct kos_host *host = load->host;
    if (!s->on)
        return;
    while (!s->ending && !s->waiting && s->open_txs < KOS_TX_MAX / 2) {
        uint64_t now_due = due(load), tx = ++load->next, n = s->per_tx < now_due ? s->per_tx : now_due;
        if (n == 0)
            break;
        host->tx_begin(host, tx);
        for (uint64_t i = 0; i < n; i++)
            send_one(load, tx);
        s->open_txs++;
        host->tx_commit(host, tx, ++load->next << OP_SHIFT | n << OP_BITS | OP_SENT);
    }
    if (!s->ending && over(load)) {
        s->ending = true;
        s->stopped_ns = host->mono_ns(host);
        host->timer_set(host, TIMER_END, LINGER_MS);
    }
    if (s->ending && s->open_txs == 0 && under_way(s) == 0)
        load_end(load);
}

void load_committed(struct load *load, uint32_t messages, int32_t status, struct kos_bytes result)
{
    struct sending *s = &load->sending;
    if (!s->on)
        return;
    s->open_txs--;
    if (status >= 0) {
        s->committed += messages;
        s->delivered += s->transient ? messages : 0; /* as far as anybody says */
    } else {
        s->refused += messages;
        if (kos_error_retry(status)) {
            /* The outbox is full: what was refused is sent again. */
            s->busy += messages;
            s->sent -= messages;
            s->refused -= messages;
            s->waiting = true;
            load->host->timer_set(load->host, TIMER_RETRY, RETRY_MS);
        } else if (!s->why[0]) {
            snprintf(s->why, sizeof s->why, "%.*s", result.len < 150 ? (int)result.len : 150, (const char *)result.data);
            for (char *c = s->why; *c; c++)
                if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ' || (unsigned char)*c > '~')
                    *c = '\'';
            s->ending = true;
        }
    }
    go(load);
}

void load_outcome(struct load *load, int32_t status)
{
    struct sending *s = &load->sending;
    if (!s->on)
        return;
    if (status >= 0)
        s->delivered++;
    else if (!s->commit)
        s->refused++;
    if (!s->ask && !s->commit)
        go(load);
}

bool load_answered(struct load *load, uint64_t at_ns)
{
    struct sending *s = &load->sending;
    if (!s->on || at_ns < s->start_ns)
        return false;
    s->answered++;
    go(load);
    return true;
}

void load_timer(void *self, uint64_t timer)
{
    struct load *load = self;
    if (timer == TIMER_RETRY)
        load->sending.waiting = false;
    else
        load_end(load); /* what has not come by now is told by the counters */
    go(load);
}

void load_ready(void *self, int32_t fd, int32_t events)
{
    struct load *load = self;
    uint64_t ticks;
    (void)events;
    if (read(fd, &ticks, sizeof ticks) == (ssize_t)sizeof ticks)
        go(load);
}

/* ---- the control interface ---- */

static void begin(struct load *load, uint64_t call, const char *json)
{
    struct sending *s = &load->sending;
    double seconds = number(json, "seconds", 0), count = number(json, "count", 0);
    if (s->on) {
        load->control->reply(load->host, call, KOS_E_STATE, kos_bytes(NULL, 0), "another load is being sent", 0);
        return;
    }
    *s = (struct sending){ .on = true, .call = call, .ask = number(json, "ask", 0) != 0, .commit = number(json, "commit", 0) != 0,
                           .transient = number(json, "transient", 0) != 0 };
    s->bytes = (uint64_t)number(json, "bytes", 512);
    s->count = count > 0 ? (uint64_t)count : UINT64_MAX;
    s->rate = number(json, "rate", 0);
    s->window = (uint64_t)number(json, "window", 1024);
    s->per_tx = (uint64_t)number(json, "per_tx", 1);
    s->payload = s->bytes >= BYTES_MIN && s->bytes <= BYTES_MAX ? malloc(s->bytes) : NULL;
    if (!s->payload || !text(json, "target", s->target, sizeof s->target) || s->window == 0 || s->per_tx == 0 ||
        s->per_tx >= PER_TX_MAX ||
        (seconds <= 0 && count <= 0)) {
        free(s->payload);
        *s = (struct sending){ .on = false };
        load->control->reply(load->host, call, KOS_E_INVALID, kos_bytes(NULL, 0), "a target, 64 to 65536 bytes, a window, per_tx and seconds or a count are needed", 0);
        return;
    }
    memset(s->payload, 'x', s->bytes);
    memcpy(s->payload + s->bytes - 2, "\"}", 2);
    memset(&load->latency, 0, sizeof load->latency);
    s->start_ns = load->host->mono_ns(load->host);
    s->end_ns = seconds > 0 ? s->start_ns + (uint64_t)(seconds * 1e9) : 0;
    if (s->rate > 0 && (load->pace = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) >= 0) {
        struct itimerspec every = { .it_interval.tv_nsec = PACE_NS, .it_value.tv_nsec = PACE_NS };
        timerfd_settime(load->pace, 0, &every, NULL);
        load->host->watch(load->host, load->pace, KOS_IO_READ);
    }
    go(load);
}

void load_call(void *self, uint64_t call, const char *method, struct kos_bytes parameters, uint32_t flags)
{
    struct load *load = self;
    char json[2048];
    (void)flags;
    snprintf(json, sizeof json, "%.*s", (int)parameters.len, (const char *)parameters.data);
    if (strcmp(method, "Send") == 0) {
        begin(load, call, json);
    } else if (strcmp(method, "Counters") == 0) {
        report(load, call);
    } else if (strcmp(method, "Reset") == 0) {
        memset(&load->latency, 0, sizeof load->latency);
        load->control->reply(load->host, call, KOS_OK, kos_bytes_str("{}"), NULL, 0);
    } else {
        load->control->reply(load->host, call, KOS_E_NOTFOUND, kos_bytes(NULL, 0), "org.kos.bench has no such method", 0);
    }
}

void load_hangup(void *self, uint64_t call)
{
    struct load *load = self;
    if (load->sending.on && load->sending.call == call)
        load_end(load);
}
