/* SPDX-License-Identifier: Apache-2.0
 * transport/lora: links over a LoRa modem with RNode firmware. This file: settings, life, and who is called when. */
#include "lora.h"

#include <stdlib.h>

enum { HOUR_MS = 3600000, PPM = 1000000, DAY_MS = 86400000 };

/* Begins at a day, so that what lies before the start of the machine has a place. */
uint64_t lora_mono_ms(const struct lora *lora)
{
    return lora->host->mono_ns(lora->host) / 1000000 + DAY_MS;
}

void lora_work_soon(struct lora *lora)
{
    if (!lora->stopping)
        lora->host->timer_set(lora->host, TIMER_WORK, 0);
}

void lora_log(struct lora *lora, int32_t level, const char *format, ...)
{
    char text[KOS_LOG_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    lora->host->log(lora->host, level, text);
}

static void work(struct lora *lora)
{
    lora_links_work(lora);
    lora_calls_answer(lora, false);
    lora_air_run(lora);
    lora_links_idle(lora);
    if (!lora_anything(lora) && lora->modem.state != MODEM_CLOSED)
        lora_modem_close(lora);
}

/* ---- settings ---- */

static double real(const struct kos_conf *conf, const char *name)
{
    const struct kos_value *value = kos_conf_get(conf, name);
    return value ? value->real : 0;
}

/* How much of the window may be used: the region's share, or a smaller one by setting. */
static int32_t set_budget(struct lora *lora, const struct kos_conf *conf, struct kos_error *ret_error)
{
    double percent = real(conf, "duty_cycle"), allowed = lora->rule.duty_ppm / 1e4;
    uint64_t window_ms = (uint64_t)kos_conf_number(conf, "budget_window"), ppm = lora->rule.duty_ppm;
    if (percent > allowed + 1e-9)
        return kos_fail(ret_error, KOS_E_CONFIG, "duty_cycle = %g is above the %g %% that %s allows", percent, allowed,
                        lora->rule.band);
    if (percent > 0)
        ppm = (uint64_t)(percent * 1e4 + 0.5);
    if (ppm == 0)
        return kos_fail(ret_error, KOS_E_CONFIG, "duty_cycle = %g is below the smallest step, 0.0001 %%", percent);
    lora_budget_init(&lora->hour, window_ms, ppm < PPM ? window_ms * ppm / 1000 : 0);
    lora_budget_init(&lora->dwell, lora->rule.dwell_window_ms, (uint64_t)lora->rule.dwell_ms * 1000);
    lora->airtime_ms_per_hour = ppm < PPM ? HOUR_MS / 1000 * ppm / 1000 : 0;
    if (lora->rule.dwell_window_ms) {
        uint64_t dwell = (uint64_t)lora->rule.dwell_ms * HOUR_MS / lora->rule.dwell_window_ms;
        if (lora->airtime_ms_per_hour == 0 || dwell < lora->airtime_ms_per_hour)
            lora->airtime_ms_per_hour = dwell;
    }
    /* The modem's own guard, a second one: hundredths of a percent, rounded up. 0 is none. */
    lora->limit_long = ppm < PPM ? (uint32_t)((ppm + 99) / 100) : 0;
    return KOS_OK;
}

/* The largest frame that the window and the dwell time can ever carry. */
static int32_t set_mtu(struct lora *lora, const struct kos_conf *conf, struct kos_error *ret_error)
{
    uint32_t wanted = (uint32_t)kos_conf_number(conf, "mtu");
    uint64_t limit = UINT64_MAX;
    if (lora->hour.limit_us)
        limit = lora->hour.limit_us;
    if (lora->dwell.limit_us && lora->dwell.limit_us < limit)
        limit = lora->dwell.limit_us;
    lora->mtu = wanted;
    while (lora->mtu >= LORA_MTU_MIN && lora_frame_airtime_us(&lora->radio, lora->mtu) > limit)
        lora->mtu--;
    if (lora->mtu < LORA_MTU_MIN)
        return kos_fail(ret_error, KOS_E_CONFIG,
                        "a frame of %d bytes is %.2f s on the air, and %s allows %.2f s at a time: lower spreading or "
                        "raise bandwidth, or budget_window where that is what allows so little",
                        LORA_MTU_MIN, (double)lora_frame_airtime_us(&lora->radio, LORA_MTU_MIN) / 1e6, lora->rule.band,
                        (double)limit / 1e6);
    if (lora->mtu < wanted)
        lora_log(lora, KOS_NOTICE, "frames are at most %u bytes, not mtu = %u: %s allows %.2f s at a time", lora->mtu,
                 wanted, lora->rule.band, (double)limit / 1e6);
    return KOS_OK;
}

static int32_t read_settings(struct lora *lora, const struct kos_conf *conf, struct kos_error *ret_error)
{
    struct lora_radio *radio = &lora->radio;
    const char *address = kos_conf_text(conf, "address");
    int32_t status;
    lora->device = kos_conf_text(conf, "device");
    radio->frequency_hz = (uint32_t)kos_conf_number(conf, "frequency");
    radio->bandwidth_hz = (uint32_t)kos_conf_number(conf, "bandwidth");
    radio->spreading = (uint32_t)kos_conf_number(conf, "spreading");
    radio->coding = (uint32_t)kos_conf_number(conf, "coding");
    radio->power_dbm = (int32_t)kos_conf_number(conf, "power");
    radio->preamble_symbols = (uint32_t)kos_conf_number(conf, "preamble");
    lora->links_max = (uint32_t)kos_conf_number(conf, "links");
    lora->idle_ms = (uint64_t)kos_conf_number(conf, "idle_timeout");
    lora->jitter_ms = (uint64_t)kos_conf_number(conf, "jitter");
    if (!lora_bandwidth_known(radio->bandwidth_hz))
        return kos_fail(
            ret_error, KOS_E_CONFIG,
            "bandwidth = %u: a modem has 7800, 10400, 15600, 20800, 31250, 41700, 62500, 125000, 250000 or 500000 Hz",
            radio->bandwidth_hz);
    if (radio->preamble_symbols == 0)
        radio->preamble_symbols = lora_firmware_preamble(radio);
    if (strncmp(lora->device, "/dev/", 5) != 0)
        return kos_fail(ret_error, KOS_E_CONFIG, "device = \"%.80s\": a modem's port is named /dev/NAME", lora->device);
    if (!lora_address_read(address, true, &lora->address))
        return kos_fail(ret_error, KOS_E_CONFIG, "address = \"%.80s\": a short address is 0x0001 to 0xfffe", address);
    if ((status = lora_region_rule(kos_conf_text(conf, "region"), radio, &lora->rule, ret_error)) < 0)
        return status;
    if ((status = set_budget(lora, conf, ret_error)) < 0)
        return status;
    return set_mtu(lora, conf, ret_error);
}

/* ---- life ---- */

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    const struct kos_transport_host *events = host->feature(host, KOS_TRANSPORT_HOST);
    if (!events)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "this host does not serve transports (" KOS_TRANSPORT_HOST ")");
    struct lora *lora = calloc(1, sizeof *lora);
    if (!lora)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the LoRa transport");
    lora->host = host;
    lora->events = events;
    lora->control = host->feature(host, KOS_CONTROL_HOST);
    lora->modem.fd = -1;
    lora->next_id = 1;
    int32_t status = read_settings(lora, conf, ret_error);
    if (status < 0) {
        free(lora);
        return status;
    }
    *ret_self = lora;
    return KOS_OK;
}

static void start(void *self)
{
    lora_keep_read(self);
}

static void stop(void *self)
{
    struct lora *lora = self;
    lora->stopping = true;
    lora_end_all(lora, KOS_E_CANCELLED, "the transport was stopped");
    lora_links_work(lora);
    lora_calls_answer(lora, true);
    lora_modem_close(lora);
    for (uint64_t timer = TIMER_WORK; timer <= TIMER_IDLE; timer++)
        lora->host->timer_stop(lora->host, timer);
    lora->host->stopped(lora->host);
}

static void fini(void *self)
{
    free(self);
}

/* ---- events ---- */

static void completed(void *self, uint64_t op, int32_t status, struct kos_bytes result)
{
    lora_keep_completed(self, op, status, result);
}

static void opened(void *self, uint64_t op, int32_t status, int32_t fd, const char *text)
{
    lora_modem_opened(self, op, status, fd, text);
}

static void timer(void *self, uint64_t id)
{
    struct lora *lora = self;
    switch (id) {
    case TIMER_WORK: work(lora); break;
    case TIMER_MODEM: lora_modem_timer(lora); break;
    case TIMER_AIR: lora_air_timer(lora); break;
    case TIMER_IDLE: lora_links_idle(lora); break;
    }
}

static void ready(void *self, int32_t fd, int32_t events)
{
    struct lora *lora = self;
    if (fd == lora->modem.fd)
        lora_modem_ready(lora, events);
}

/* ---- what the host may know before any of this runs ---- */

#define SETTING(name_, type_, fallback_, min_, max_, summary_)                                                         \
    &(const struct kos_setting)                                                                                        \
    {                                                                                                                  \
        .size = sizeof(struct kos_setting), .type = (type_), .name = (name_), .fallback = (fallback_), .min = (min_),  \
        .max = (max_), .summary = (summary_)                                                                           \
    }

static const char *const regions[] = { "eu868", "eu433", "us915", "in865", "none", NULL };
static const struct kos_setting region_setting = {
    .size = sizeof region_setting,
    .type = KOS_SETTING_STRING,
    .name = "region",
    .choices = regions,
    .summary = "whose law sets airtime and power",
};

static const struct kos_setting *const settings[] = {
    SETTING("device", KOS_SETTING_STRING, NULL, 6, 250, "the serial port of the modem, /dev/NAME"),
    &region_setting,
    SETTING("frequency", KOS_SETTING_INT, NULL, 100000000, 1100000000, "middle of the channel in Hz"),
    SETTING("bandwidth", KOS_SETTING_INT, "125000", 7800, 500000, "width of the channel in Hz"),
    SETTING("spreading", KOS_SETTING_INT, "8", 7, 12,
            "spreading factor: each step reaches farther and nearly doubles airtime"),
    SETTING("coding", KOS_SETTING_INT, "5", 5, 8, "coding rate 4/5 to 4/8"),
    SETTING("power", KOS_SETTING_INT, "14", 0, 30, "sending power in dBm"),
    SETTING("preamble", KOS_SETTING_INT, "0", 0, 4096,
            "symbols before a packet, to reckon with; 0: as the firmware does"),
    SETTING("address", KOS_SETTING_STRING, "", 0, 16,
            "own short address, 0x0001 to 0xfffe; else that which is listened on"),
    SETTING("mtu", KOS_SETTING_INT, "500", 64, 507, "largest frame on the air in bytes; less where the law demands it"),
    SETTING("duty_cycle", KOS_SETTING_FLOAT, "0", 0, 100,
            "percent of airtime, below what the region allows; 0: the region's"),
    SETTING("budget_window", KOS_SETTING_DURATION, "1h", 1000, HOUR_MS,
            "the airtime of any such span stays within the duty cycle"),
    SETTING("jitter", KOS_SETTING_DURATION, "0", 0, 10000,
            "longest random pause after a frame; 0: by the spreading factor"),
    SETTING("links", KOS_SETTING_INT, "64", 1, 4096, "other nodes at a time"),
    SETTING("idle_timeout", KOS_SETTING_DURATION, "2h", 1000, 604800000,
            "silence after which a link that another node began ends"),
    NULL,
};

static const struct kos_right *const rights[] = {
    &(const struct kos_right){ sizeof(struct kos_right), "device", "opens the modem's serial port" },
    NULL,
};

static const char *const schemes[] = { "lora", NULL };

static const struct kos_transport transport = {
    .size = sizeof transport,
    .schemes = schemes,
    .listen = lora_listen,
    .endpoint_close = lora_endpoint_close,
    .dial = lora_dial,
    .send = lora_send,
    .link_credit = lora_credit,
    .link_close = lora_link_close,
};

static const struct kos_feature *const features[] = {
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_TRANSPORT, &transport },
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_CONTROL, &lora_control },
    NULL,
};

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.transport.lora",
    .name = "lora",
    .version = "1.0.0",
    .summary = "links over LoRa, by a modem with RNode firmware",
    .settings = settings,
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = fini,
    .completed = completed,
    .opened = opened,
    .timer = timer,
    .ready = ready,
};
