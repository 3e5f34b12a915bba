/* SPDX-License-Identifier: Apache-2.0
 * A modem: the RNode command set at a pseudo-terminal. */
#include "radio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static uint32_t number(const uint8_t *data, size_t len)
{
    uint32_t value = 0;
    for (size_t i = 0; i < len; i++)
        value = value << 8 | data[i];
    return value;
}

void node_write(struct node *node, uint8_t command, const uint8_t *data, size_t len)
{
    uint8_t out[2 * FRAME_MAX + 8];
    size_t n = 0;
    out[n++] = 0xc0;
    out[n++] = command;
    for (size_t i = 0; i < len; i++) {
        if (data[i] == 0xc0 || data[i] == 0xdb)
            out[n++] = 0xdb;
        out[n++] = data[i] == 0xc0 ? 0xdc : data[i] == 0xdb ? 0xdd : data[i];
    }
    out[n++] = 0xc0;
    if (node->master >= 0 && write(node->master, out, n) != (ssize_t)n)
        node->overruns++;
}

static void answer(struct node *node, uint8_t command, uint32_t value, size_t len)
{
    uint8_t data[4];
    if (node->mute[command])
        return;
    if (node->lie[command])
        value ^= len > 1 ? 0x100 : 3;
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(value >> (8 * (len - 1 - i)));
    node_write(node, command, data, len);
}

static uint32_t nearest_bandwidth(uint32_t hz)
{
    static const uint32_t known[] = { 7800, 10400, 15600, 20800, 31250, 41700, 62500, 125000, 250000, 500000 };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (hz <= known[i])
            return known[i];
    return 500000;
}

static uint32_t clamp(uint32_t value, uint32_t low, uint32_t high)
{
    return value < low ? low : value > high ? high : value;
}

static void tell_physical(const struct sim *sim, struct node *node)
{
    double symbol_ms = (double)(1u << node->spreading) / node->bandwidth * 1e3;
    uint32_t preamble = medium_preamble(sim, node);
    uint32_t values[5] = { (uint32_t)(symbol_ms * 1000), (uint32_t)(1000 / symbol_ms), preamble,
                           (uint32_t)(preamble * symbol_ms + 0.999), 24 };
    uint8_t data[10];
    for (int i = 0; i < 5; i++) {
        data[2 * i] = (uint8_t)(values[i] >> 8);
        data[2 * i + 1] = (uint8_t)values[i];
    }
    node_write(node, 0x26, data, sizeof data);
}

static void transmit(struct node *node, const uint8_t *data, size_t len)
{
    if (!node->on || len == 0)
        return;
    if (node->queued == QUEUE_MAX) {
        answer(node, 0x90, 4, 1);
        return;
    }
    node->queue[node->queued].len = len;
    memcpy(node->queue[node->queued++].data, data, len);
}

static void command(struct sim *sim, struct node *node, uint8_t code, const uint8_t *data, size_t len)
{
    uint32_t value = number(data, len < 4 ? len : 4);
    bool asks = len == 1 && data[0] == 0xff;
    switch (code) {
    case 0x00: transmit(node, data, len); break;
    case 0x01: answer(node, code, len == 4 ? node->frequency = value : node->frequency, 4); break;
    case 0x02: answer(node, code, len == 4 ? node->bandwidth = nearest_bandwidth(value) : node->bandwidth, 4); break;
    case 0x03: answer(node, code, asks ? node->power : (node->power = clamp(value, 0, 22)), 1); break;
    case 0x04: answer(node, code, asks ? node->spreading : (node->spreading = clamp(value, 6, 12)), 1); break;
    case 0x05: answer(node, code, asks ? node->coding : (node->coding = clamp(value, 5, 8)), 1); break;
    case 0x06:
        if (!asks)
            node->on = value == 1 && node->frequency && node->bandwidth && node->spreading;
        if (!node->on)
            node->queued = 0;
        if (node->on && !asks)
            tell_physical(sim, node);
        answer(node, code, node->on, 1);
        break;
    case 0x08:
        if (value == 0x73)
            answer(node, code, 0x46, 1);
        break;
    case 0x0a: break;
    case 0x0b: answer(node, code, node->limit_short = value, 2); break;
    case 0x0c: answer(node, code, node->limit_long = value, 2); break;
    case 0x0f: answer(node, code, node->queued < QUEUE_MAX, 1); break;
    case 0x48: answer(node, code, 0x80, 1); break;
    case 0x49: answer(node, code, 0x81, 1); break;
    case 0x50: answer(node, code, node->version[0] << 8 | node->version[1], 2); break;
    default: node->bad_commands++;
    }
}

static void frame(struct sim *sim, struct node *node)
{
    uint8_t data[FRAME_MAX];
    size_t len = 0;
    for (size_t i = 1; i < node->in_len; i++) {
        uint8_t byte = node->in[i];
        if (byte == 0xdb && i + 1 < node->in_len)
            byte = node->in[++i] == 0xdc ? 0xc0 : 0xdb;
        if (len == sizeof data) {
            node->bad_commands++;
            return;
        }
        data[len++] = byte;
    }
    if (node->in_len > 0)
        command(sim, node, node->in[0], data, len);
}

void node_read(struct sim *sim, struct node *node)
{
    uint8_t bytes[4096];
    ssize_t n = read(node->master, bytes, sizeof bytes);
    for (ssize_t i = 0; i < n; i++) {
        if (bytes[i] == 0xc0) {
            if (node->overlong)
                node->bad_commands++;
            else if (node->in_frame)
                frame(sim, node);
            node->in_frame = true;
            node->overlong = false;
            node->in_len = 0;
        } else if (node->in_frame && node->in_len < sizeof node->in) {
            node->in[node->in_len++] = bytes[i];
        } else if (node->in_frame) {
            node->overlong = true;
        }
    }
}

void node_heard(struct node *node, const struct frame *heard, double rssi)
{
    double snr = rssi + 117 > 12 ? 12 : rssi + 117 < -20 ? -20 : rssi + 117;
    if (!node->on)
        return;
    node->received++;
    node_write(node, 0x23, &(uint8_t){ (uint8_t)(rssi + 157) }, 1);
    node_write(node, 0x24, &(uint8_t){ (uint8_t)(int8_t)(snr * 4) }, 1);
    node_write(node, 0x00, heard->data, heard->len);
}

void node_sent(struct sim *sim, struct node *node)
{
    if (sim->ready)
        answer(node, 0x0f, 1, 1);
}

void node_reset(struct node *node)
{
    node->on = node->in_frame = false;
    node->queued = 0;
    node->frequency = node->bandwidth = node->power = node->limit_short = node->limit_long = 0;
    node->spreading = 7;
    node->coding = 5;
    node_write(node, 0x55, (const uint8_t *)"\xf8", 1);
}

bool node_plug(struct node *node)
{
    struct termios tty;
    node->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (node->master < 0 || grantpt(node->master) != 0 || unlockpt(node->master) != 0 ||
        ptsname_r(node->master, node->path, sizeof node->path) != 0)
        return false;
    node->slave = open(node->path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (node->slave < 0 || tcgetattr(node->slave, &tty) != 0)
        return false;
    cfmakeraw(&tty);
    tcsetattr(node->slave, TCSANOW, &tty);
    fcntl(node->master, F_SETFL, O_NONBLOCK);
    node->spreading = 7;
    node->coding = 5;
    return true;
}

void node_unplug(struct node *node)
{
    node->on = false;
    node->queued = 0;
    if (node->master >= 0) {
        close(node->slave);
        close(node->master);
    }
    node->master = node->slave = -1;
}
