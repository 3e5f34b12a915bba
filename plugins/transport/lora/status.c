/* SPDX-License-Identifier: Apache-2.0
 *
 * org.kos.lora: what the modem is, what it was set to, how much of the airtime is used and what waits for it.
 */
#include "lora.h"

#include <stdlib.h>
#include <utlist.h>

static const char description[] =
    "# A LoRa modem and the medium it shares\n"
    "interface org.kos.lora\n\n"
    "# One other node on the medium; waiting: frames queued for it; owed_bytes: credit that comes back with the "
    "airtime\n"
    "type Link (local: string, remote: string, accepted: bool, waiting: int, owed_bytes: int, sent: int, received: "
    "int, refused: int)\n\n"
    "# state: closed, resting, opening, detecting, setting, online. Limits and use are of the last window_ms, in ms "
    "of\n"
    "# airtime; limit_ms 0: the region sets none. next_frame_ms: until a whole frame may leave. foreign: frames heard "
    "that were\n"
    "# for others\n"
    "type Modem (device: string, state: string, firmware: ?string, platform: ?int, frequency: int, bandwidth: int, "
    "spreading: int,\n"
    "  coding: int, power: int, preamble: int, mtu: int, bits_per_second: int, band: string, window_ms: int, limit_ms: "
    "int,\n"
    "  used_ms: int, dwell_limit_ms: int, dwell_window_ms: int, dwell_used_ms: int, next_frame_ms: int, airtime_ms: "
    "int,\n"
    "  sent: int, received: int, refused: int, foreign: int, damaged: int, rssi: ?int, snr: ?float)\n\n"
    "type Endpoint (address: string, up: bool)\n\n"
    "method Status() -> (modem: Modem, endpoints: []Endpoint, waiting: int, links: []Link)\n";

struct text {
    char *data;
    size_t len, cap;
};

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
put(struct text *text, const char *format, ...)
{
    va_list args;
    for (;;) {
        va_start(args, format);
        int n = vsnprintf(text->data + text->len, text->cap - text->len, format, args);
        va_end(args);
        if (n >= 0 && (size_t)n < text->cap - text->len) {
            text->len += (size_t)n;
            return;
        }
        text->cap = 2 * text->cap + 1024;
        if (!(text->data = realloc(text->data, text->cap)))
            abort();
    }
}

static void put_string(struct text *text, const char *string)
{
    put(text, "\"");
    for (; *string; string++) {
        unsigned char c = (unsigned char)*string;
        if (c < 0x20 || c == '"' || c == '\\')
            put(text, "\\u%04x", c);
        else
            put(text, "%c", c);
    }
    put(text, "\"");
}

static unsigned long long ms(uint64_t us)
{
    return (us + 999) / 1000;
}

static void put_modem(struct text *text, const struct lora *lora)
{
    const struct lora_modem *modem = &lora->modem;
    const struct lora_radio *radio = &lora->radio;
    uint64_t now = lora_mono_ms(lora), next = lora_air_wait_ms(lora, lora_frame_airtime_us(radio, lora->mtu));
    put(text, "{\"device\":");
    put_string(text, lora->device);
    put(text, ",\"state\":\"%s\"", lora_modem_state_name(lora));
    if (modem->state >= MODEM_SETTING)
        put(text, ",\"firmware\":\"%u.%u\"", modem->version[0], modem->version[1]);
    if (modem->state >= MODEM_SETTING && modem->platform >= 0)
        put(text, ",\"platform\":%d", modem->platform);
    put(text, ",\"frequency\":%u,\"bandwidth\":%u,\"spreading\":%u,\"coding\":%u,\"power\":%d,\"preamble\":%u",
        radio->frequency_hz, radio->bandwidth_hz, radio->spreading, radio->coding, radio->power_dbm,
        radio->preamble_symbols);
    put(text, ",\"mtu\":%u,\"bits_per_second\":%llu,\"band\":\"%s\"", lora->mtu,
        (unsigned long long)lora_bits_per_second(radio), lora->rule.band);
    put(text, ",\"window_ms\":%llu,\"limit_ms\":%llu,\"used_ms\":%llu", (unsigned long long)lora->hour.window_ms,
        (unsigned long long)lora->hour.limit_us / 1000, ms(lora_budget_used_us(&lora->hour, now)));
    put(text, ",\"dwell_limit_ms\":%u,\"dwell_window_ms\":%u,\"dwell_used_ms\":%llu", lora->rule.dwell_ms,
        lora->rule.dwell_window_ms, lora->rule.dwell_ms ? ms(lora_budget_used_us(&lora->dwell, now)) : 0);
    put(text, ",\"next_frame_ms\":%llu,\"airtime_ms\":%llu,\"sent\":%llu,\"received\":%llu,\"refused\":%llu",
        (unsigned long long)next, ms(lora->airtime_us), (unsigned long long)lora->sent,
        (unsigned long long)lora->received, (unsigned long long)lora->refused);
    put(text, ",\"foreign\":%llu,\"damaged\":%llu", (unsigned long long)lora->foreign,
        (unsigned long long)modem->decoder.dropped);
    if (modem->heard)
        put(text, ",\"rssi\":%d,\"snr\":%.2f", modem->rssi_dbm, modem->snr_db);
    put(text, "}");
}

static void put_links(struct text *text, const struct lora *lora)
{
    struct lora_link *link, *next;
    unsigned long long waiting = 0;
    const char *comma = "";
    put(text, ",\"links\":[");
    HASH_ITER(by_id, lora->links_by_id, link, next)
    {
        if (link->ending)
            continue;
        waiting += link->out.count;
        put(text,
            "%s{\"local\":\"0x%04x\",\"remote\":\"0x%04x\",\"accepted\":%s,\"waiting\":%u,\"owed_bytes\":%llu,\"sent\":"
            "%llu,"
            "\"received\":%llu,\"refused\":%llu}",
            comma, link->pair >> 16, link->pair & 0xffff, link->endpoint ? "true" : "false", link->out.count,
            (unsigned long long)link->owed, (unsigned long long)link->sent, (unsigned long long)link->received,
            (unsigned long long)link->refused);
        comma = ",";
    }
    put(text, "],\"waiting\":%llu", waiting);
}

static void reply_status(struct lora *lora, uint64_t id)
{
    struct text text = { 0 };
    struct lora_endpoint *endpoint;
    const char *comma = "";
    put(&text, "{\"modem\":");
    put_modem(&text, lora);
    put(&text, ",\"endpoints\":[");
    DL_FOREACH(lora->endpoints, endpoint)
    {
        put(&text, "%s{\"address\":\"0x%04x\",\"up\":%s}", comma, endpoint->address, endpoint->up ? "true" : "false");
        comma = ",";
    }
    put(&text, "]");
    put_links(&text, lora);
    put(&text, "}");
    lora->control->reply(lora->host, id, KOS_OK, kos_bytes(text.data, text.len), NULL, 0);
    free(text.data);
}

/* Answers come when the call is over, as every answer does. How many wait is the host's bound. */
static void call(void *self, uint64_t id, const char *method, struct kos_bytes parameters, uint32_t flags)
{
    struct lora *lora = self;
    struct lora_call *waiting = calloc(1, sizeof *waiting);
    (void)parameters;
    (void)flags;
    if (!waiting) {
        lora->control->reply(lora->host, id, KOS_E_NOMEM, kos_bytes(NULL, 0), "there is no memory for an answer", 0);
        return;
    }
    waiting->id = id;
    snprintf(waiting->method, sizeof waiting->method, "%s", method);
    DL_APPEND(lora->calls, waiting);
    lora_work_soon(lora);
}

void lora_calls_answer(struct lora *lora, bool cancelled)
{
    char text[160];
    struct lora_call *waiting, *next;
    DL_FOREACH_SAFE(lora->calls, waiting, next)
    {
        DL_DELETE(lora->calls, waiting);
        snprintf(text, sizeof text, "org.kos.lora has no method %s", waiting->method);
        if (cancelled)
            lora->control->reply(lora->host, waiting->id, KOS_E_CANCELLED, kos_bytes(NULL, 0), "the plugin was stopped",
                                 0);
        else if (strcmp(waiting->method, "Status") == 0)
            reply_status(lora, waiting->id);
        else
            lora->control->reply(lora->host, waiting->id, KOS_E_UNSUPPORTED, kos_bytes(NULL, 0), text, 0);
        free(waiting);
    }
}

static void hangup(void *self, uint64_t id)
{
    (void)self; /* the answer is on its way and is ignored */
    (void)id;
}

const struct kos_control lora_control = {
    .size = sizeof lora_control,
    .interface_name = "org.kos.lora",
    .description = description,
    .call = call,
    .hangup = hangup,
};
