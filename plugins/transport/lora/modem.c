/* SPDX-License-Identifier: Apache-2.0
 * The RNode modem at its serial port: found, set, every setting echoed, then online. What is not as it should be ends
 * it with a sentence. */
#include "lora.h"

#include <errno.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

enum { READ_BYTES = 4096, FIRMWARE_MAJOR = 1, FIRMWARE_MINOR = 52, RSSI_OFFSET = 157, LEAVE = 0xff };

/* What is set, in this order; each is echoed before the next goes out. */
static const struct step {
    uint8_t command;
    uint8_t bytes;
    uint8_t slack; /* firmware keeps the limits as floating point */
    const char *name;
} steps[] = {
    { KISS_FREQUENCY, 4, 0, "frequency" },
    { KISS_BANDWIDTH, 4, 0, "bandwidth" },
    { KISS_POWER, 1, 0, "power" },
    { KISS_SPREADING, 1, 0, "spreading factor" },
    { KISS_CODING, 1, 0, "coding rate" },
    { KISS_LIMIT_SHORT, 2, 1, "short-term airtime limit" },
    { KISS_LIMIT_LONG, 2, 1, "long-term airtime limit" },
    { KISS_RADIO, 1, 0, "radio state" },
};
enum { STEPS = sizeof steps / sizeof *steps };

static uint32_t wanted(const struct lora *lora, uint8_t command)
{
    switch (command) {
    case KISS_FREQUENCY: return lora->radio.frequency_hz;
    case KISS_BANDWIDTH: return lora->radio.bandwidth_hz;
    case KISS_POWER: return (uint32_t)lora->radio.power_dbm;
    case KISS_SPREADING: return lora->radio.spreading;
    case KISS_CODING: return lora->radio.coding;
    case KISS_LIMIT_SHORT: return lora->limit_short;
    case KISS_LIMIT_LONG: return lora->limit_long;
    default: return 1;
    }
}

const char *lora_modem_state_name(const struct lora *lora)
{
    switch (lora->modem.state) {
    case MODEM_RESTING: return "resting";
    case MODEM_OPENING: return "opening";
    case MODEM_DETECTING: return "detecting";
    case MODEM_SETTING: return "setting";
    case MODEM_ONLINE: return "online";
    default: return "closed";
    }
}

static bool watch(struct lora *lora, int events)
{
    struct lora_modem *modem = &lora->modem;
    if (modem->watching == events)
        return true;
    if (lora->host->watch(lora->host, modem->fd, events) < 0)
        return false;
    modem->watching = events;
    return true;
}

static void drop(struct lora *lora)
{
    struct lora_modem *modem = &lora->modem;
    lora->host->timer_stop(lora->host, TIMER_MODEM);
    if (modem->state == MODEM_OPENING)
        lora->host->open_cancel(lora->host, modem->open_op);
    if (modem->fd >= 0) {
        watch(lora, 0);
        close(modem->fd);
    }
    modem->fd = -1;
    modem->watching = 0;
    modem->out_len = 0;
    modem->state = MODEM_CLOSED;
    lora_air_reset(lora);
}

void lora_modem_close(struct lora *lora)
{
    struct lora_modem *modem = &lora->modem;
    if (modem->state >= MODEM_DETECTING) {
        uint8_t bytes[2 * 6];
        size_t len = kiss_encode(KISS_RADIO, kos_bytes("\0", 1), bytes);
        len += kiss_encode(KISS_LEAVE, kos_bytes(&(uint8_t){ LEAVE }, 1), bytes + len);
        /* A courtesy: a modem that does not take it goes silent with its power. */
        if (modem->out_len == 0 && write(modem->fd, bytes, len) < 0)
            lora_log(lora, KOS_DEBUG, "the modem at %s was not told to leave: %s", lora->device, strerror(errno));
    }
    drop(lora);
}

void lora_modem_fail(struct lora *lora, int32_t status, const char *text)
{
    struct lora_modem *modem = &lora->modem;
    drop(lora);
    modem->backoff_ms = modem->backoff_ms ? 2 * modem->backoff_ms : LORA_BACKOFF_MS;
    if (modem->backoff_ms > LORA_BACKOFF_MAX_MS)
        modem->backoff_ms = LORA_BACKOFF_MAX_MS;
    modem->rest_until_ms = lora_mono_ms(lora) + modem->backoff_ms;
    lora_log(lora, KOS_WARNING, "%s", text);
    lora_end_all(lora, status, text);
    lora_work_soon(lora);
}

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static void
fail(struct lora *lora, int32_t status, const char *format, ...)
{
    char text[LORA_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    lora_modem_fail(lora, status, text);
}

static void open_now(struct lora *lora)
{
    struct lora_modem *modem = &lora->modem;
    char what[300];
    modem->state = MODEM_OPENING;
    modem->open_op = ++lora->next_op;
    snprintf(what, sizeof what, "device:%.280s", lora->device);
    lora->host->open(lora->host, what, modem->open_op);
}

void lora_modem_need(struct lora *lora)
{
    struct lora_modem *modem = &lora->modem;
    uint64_t now = lora_mono_ms(lora);
    if (modem->state != MODEM_CLOSED)
        return;
    if (now < modem->rest_until_ms) {
        modem->state = MODEM_RESTING;
        lora->host->timer_set(lora->host, TIMER_MODEM, modem->rest_until_ms - now);
    } else {
        open_now(lora);
    }
}

/* ---- out ---- */

static bool flush(struct lora *lora)
{
    struct lora_modem *modem = &lora->modem;
    size_t at = 0;
    while (at < modem->out_len) {
        ssize_t n = write(modem->fd, modem->out + at, modem->out_len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n <= 0) {
            fail(lora, KOS_E_CLOSED, "the modem at %s is gone: writing failed: %s", lora->device, strerror(errno));
            return false;
        }
        at += (size_t)n;
    }
    memmove(modem->out, modem->out + at, modem->out_len - at);
    modem->out_len -= at;
    if (!watch(lora, KOS_IO_READ | (modem->out_len ? KOS_IO_WRITE : 0))) {
        fail(lora, KOS_E_LIMIT, "the host refused to watch the modem's port %s", lora->device);
        return false;
    }
    return true;
}

void lora_modem_write(struct lora *lora, uint8_t command, struct kos_bytes data)
{
    struct lora_modem *modem = &lora->modem;
    if (modem->fd < 0)
        return;
    if (sizeof modem->out - modem->out_len < KISS_ENCODED_MAX) {
        fail(lora, KOS_E_IO, "the modem at %s takes nothing any more: %zu bytes wait at its port", lora->device,
             modem->out_len);
        return;
    }
    modem->out_len += kiss_encode(command, data, modem->out + modem->out_len);
    flush(lora);
}

static void write_number(struct lora *lora, uint8_t command, uint32_t value, size_t bytes)
{
    uint8_t data[4];
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    lora_modem_write(lora, command, kos_bytes(data, bytes));
}

/* ---- bringing it up ---- */

static void detect(struct lora *lora)
{
    write_number(lora, KISS_DETECT, KISS_DETECT_ASK, 1);
    write_number(lora, KISS_FIRMWARE, 0, 1);
    write_number(lora, KISS_PLATFORM, 0, 1);
    write_number(lora, KISS_MCU, 0, 1);
    if (lora->modem.state == MODEM_DETECTING)
        lora->host->timer_set(lora->host, TIMER_MODEM, LORA_DETECT_MS);
}

void lora_modem_opened(struct lora *lora, uint64_t op, int32_t status, int fd, const char *text)
{
    struct lora_modem *modem = &lora->modem;
    struct termios tty;
    if (modem->state != MODEM_OPENING || op != modem->open_op) {
        if (fd >= 0)
            close(fd); /* it was given up meanwhile */
        return;
    }
    modem->state = MODEM_CLOSED;
    if (status < 0) {
        fail(lora, status, "the modem's port cannot be opened: %s", text && *text ? text : kos_error_text(status));
        return;
    }
    modem->fd = fd;
    if (tcgetattr(fd, &tty) != 0) {
        fail(lora, KOS_E_INVALID, "%s is not a serial port (%s)", lora->device, strerror(errno));
        return;
    }
    cfmakeraw(&tty);
    tty.c_cflag &= ~(tcflag_t)(CSTOPB | PARENB | CRTSCTS);
    tty.c_cflag |= CS8 | CLOCAL | CREAD;
    tty.c_cc[VMIN] = 1;
    tty.c_cc[VTIME] = 0;
    if (cfsetspeed(&tty, B115200) != 0 || tcsetattr(fd, TCSANOW, &tty) != 0) {
        fail(lora, KOS_E_IO, "%s does not take 115200 8N1: %s", lora->device, strerror(errno));
        return;
    }
    tcflush(fd, TCIOFLUSH);
    memset(&modem->decoder, 0, sizeof modem->decoder);
    modem->state = MODEM_DETECTING;
    modem->detected = modem->heard = false;
    memset(modem->version, 0, sizeof modem->version);
    modem->platform = modem->mcu = -1;
    modem->tries = 1;
    detect(lora);
}

static void ask_step(struct lora *lora)
{
    const struct step *step = &steps[lora->modem.step];
    write_number(lora, step->command, wanted(lora, step->command), step->bytes);
    if (lora->modem.state == MODEM_SETTING)
        lora->host->timer_set(lora->host, TIMER_MODEM, LORA_STEP_MS);
}

static void online(struct lora *lora)
{
    struct lora_modem *modem = &lora->modem;
    modem->state = MODEM_ONLINE;
    modem->backoff_ms = 0;
    lora->host->timer_stop(lora->host, TIMER_MODEM);
    lora_log(lora, KOS_INFO, "modem at %s online: RNode firmware %u.%u, %u Hz, %u Hz wide, SF%u, 4/%u, %d dBm",
             lora->device, modem->version[0], modem->version[1], lora->radio.frequency_hz, lora->radio.bandwidth_hz,
             lora->radio.spreading, lora->radio.coding, lora->radio.power_dbm);
    lora_work_soon(lora);
}

static void found(struct lora *lora)
{
    struct lora_modem *modem = &lora->modem;
    if (modem->state != MODEM_DETECTING || !modem->detected || (!modem->version[0] && !modem->version[1]))
        return;
    if (modem->version[0] < FIRMWARE_MAJOR ||
        (modem->version[0] == FIRMWARE_MAJOR && modem->version[1] < FIRMWARE_MINOR)) {
        fail(lora, KOS_E_VERSION, "the modem at %s has firmware %u.%u; at least %d.%d is needed: update it",
             lora->device, modem->version[0], modem->version[1], FIRMWARE_MAJOR, FIRMWARE_MINOR);
        return;
    }
    modem->state = MODEM_SETTING;
    modem->step = 0;
    ask_step(lora);
}

static void echoed(struct lora *lora, const struct kiss_decoder *d)
{
    struct lora_modem *modem = &lora->modem;
    const struct step *step = &steps[modem->step];
    uint32_t want = wanted(lora, step->command), got = 0;
    if (d->command != step->command || d->len != step->bytes)
        return;
    for (size_t i = 0; i < d->len; i++)
        got = got << 8 | d->data[i];
    if (got > want + step->slack || got + step->slack < want) {
        fail(lora, KOS_E_CONFIG, "the modem at %s answered %u when its %s was set to %u: it cannot do that",
             lora->device, got, step->name, want);
        return;
    }
    if (++modem->step == STEPS)
        online(lora);
    else
        ask_step(lora);
}

void lora_modem_timer(struct lora *lora)
{
    struct lora_modem *modem = &lora->modem;
    if (modem->state == MODEM_RESTING) {
        open_now(lora);
    } else if (modem->state == MODEM_DETECTING && modem->tries < LORA_DETECT_TRIES) {
        modem->tries++;
        detect(lora);
    } else if (modem->state == MODEM_DETECTING) {
        fail(lora, KOS_E_TIMEOUT, "no RNode modem answers at %s: %s within %d s", lora->device,
             modem->detected ? "it did not tell its firmware version" : "it did not answer the detect command",
             LORA_DETECT_TRIES * LORA_DETECT_MS / 1000);
    } else if (modem->state == MODEM_SETTING) {
        fail(lora, KOS_E_TIMEOUT, "the modem at %s did not confirm its %s within %d s", lora->device,
             steps[modem->step].name, LORA_STEP_MS / 1000);
    }
}

/* ---- in ---- */

static void error_told(struct lora *lora, uint8_t code)
{
    static const char *const names[] = { "an unknown error",         "the radio did not start", "sending failed",
                                         "its settings are locked",  "its queue is full",       "its memory is low",
                                         "its radio does not answer" };
    const char *name = names[code < sizeof names / sizeof *names ? code : 0];
    if (code == 1 || code == 6)
        fail(lora, KOS_E_IO, "the modem at %s reports an error: %s (%u)", lora->device, name, code);
    else
        lora_log(lora, KOS_WARNING, "the modem at %s reports an error: %s (%u)", lora->device, name, code);
}

static void preamble_told(struct lora *lora, const struct kiss_decoder *d)
{
    uint32_t symbols = d->len >= 6 ? (uint32_t)(d->data[4] << 8 | d->data[5]) : 0;
    /* A longer preamble than reckoned with costs airtime; a shorter one is not believed. */
    if (symbols > lora->radio.preamble_symbols && symbols <= 4096)
        lora->radio.preamble_symbols = symbols;
}

static void frame(struct lora *lora, const struct kiss_decoder *d)
{
    struct lora_modem *modem = &lora->modem;
    switch (d->command) {
    case KISS_DETECT:
        modem->detected |= d->len == 1 && d->data[0] == KISS_DETECT_ANSWER;
        found(lora);
        break;
    case KISS_FIRMWARE:
        if (d->len == 2)
            memcpy(modem->version, d->data, 2);
        found(lora);
        break;
    case KISS_PLATFORM: modem->platform = d->len == 1 ? d->data[0] : -1; break;
    case KISS_MCU: modem->mcu = d->len == 1 ? d->data[0] : -1; break;
    case KISS_RSSI: modem->rssi_dbm = d->len == 1 ? d->data[0] - RSSI_OFFSET : modem->rssi_dbm; break;
    case KISS_SNR: modem->snr_db = d->len == 1 ? (int8_t)d->data[0] * 0.25 : modem->snr_db; break;
    case KISS_PHYSICAL: preamble_told(lora, d); break;
    case KISS_ERROR: error_told(lora, d->len == 1 ? d->data[0] : 0); break;
    case KISS_RESET:
        if (modem->state == MODEM_SETTING || modem->state == MODEM_ONLINE)
            fail(lora, KOS_E_CLOSED, "the modem at %s started anew (reset or power loss)", lora->device);
        break;
    case KISS_READY:
        if (modem->state != MODEM_ONLINE || !lora->in_air || d->len != 1)
            break;
        if (d->data[0] == 1)
            lora_air_over(lora);
        else if (lora_mono_ms(lora) < lora->air_began_ms + LORA_READY_MAX_MS)
            lora->air_asks = 0;
        break;
    case KISS_DATA:
        if (modem->state == MODEM_ONLINE) {
            modem->heard = true;
            lora_air_heard(lora);
            lora_received(lora, kos_bytes(d->data, d->len));
        }
        break;
    case KISS_RADIO:
        if (modem->state == MODEM_ONLINE && d->len == 1 && d->data[0] == 0) {
            fail(lora, KOS_E_CLOSED, "the modem at %s turned its radio off", lora->device);
            break;
        }
        /* fall through */
    default:
        if (modem->state == MODEM_SETTING)
            echoed(lora, d);
    }
}

void lora_modem_ready(struct lora *lora, int32_t events)
{
    struct lora_modem *modem = &lora->modem;
    uint8_t bytes[READ_BYTES];
    if (events & KOS_IO_WRITE && !flush(lora))
        return;
    if (!(events & KOS_IO_READ))
        return;
    ssize_t n = read(modem->fd, bytes, sizeof bytes);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        fail(lora, KOS_E_CLOSED, "the modem at %s is gone: %s", lora->device,
             n < 0 ? strerror(errno) : "its port was closed");
        return;
    }
    for (ssize_t i = 0; i < n && modem->fd >= 0; i++)
        if (kiss_push(&modem->decoder, bytes[i]))
            frame(lora, &modem->decoder);
}
