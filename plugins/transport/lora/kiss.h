/* SPDX-License-Identifier: Apache-2.0
 * KISS framing as RNode modems speak it on their serial port: C0, command, data, C0, with DB DC for C0 and DB DD for DB
 * within the data. */
#ifndef KOS_LORA_KISS_H
#define KOS_LORA_KISS_H

#include <kos/bytes.h>

enum {
    KISS_DATA_MAX = 508,                      /* the largest frame a modem takes or gives */
    KISS_ENCODED_MAX = 2 * KISS_DATA_MAX + 3,
};

enum kiss_command {
    KISS_DATA = 0x00,
    KISS_FREQUENCY = 0x01,    /* u32 Hz */
    KISS_BANDWIDTH = 0x02,    /* u32 Hz */
    KISS_POWER = 0x03,        /* dBm */
    KISS_SPREADING = 0x04,
    KISS_CODING = 0x05,       /* 5 to 8: 4/5 to 4/8 */
    KISS_RADIO = 0x06,        /* 0 off, 1 on */
    KISS_DETECT = 0x08,       /* 73 asks, 46 answers */
    KISS_LEAVE = 0x0a,
    KISS_LIMIT_SHORT = 0x0b,  /* u16, hundredths of a percent */
    KISS_LIMIT_LONG = 0x0c,
    KISS_READY = 0x0f,        /* 1: takes another frame */
    KISS_RSSI = 0x23,         /* dBm + 157, of the frame that follows */
    KISS_SNR = 0x24,          /* quarters of a dB, signed */
    KISS_PHYSICAL = 0x26,     /* u16 each: symbol time in us, symbols a second, preamble symbols, its ms, slot ms */
    KISS_PLATFORM = 0x48,
    KISS_MCU = 0x49,
    KISS_FIRMWARE = 0x50,     /* major, minor */
    KISS_RESET = 0x55,        /* the modem started anew */
    KISS_ERROR = 0x90,
    KISS_DETECT_ASK = 0x73,
    KISS_DETECT_ANSWER = 0x46,
};

/* Zeroed it is ready. Whatever comes, it is in step again at the next C0. */
struct kiss_decoder {
    bool in_frame, has_command, escaped, broken;
    uint8_t command;
    size_t len;
    uint8_t data[KISS_DATA_MAX];
    uint64_t dropped;         /* frames too long, or with an escape that is none */
};

/* True: command and data[0..len) are a frame, until the next call. */
bool kiss_push(struct kiss_decoder *decoder, uint8_t byte);
/* At most KISS_ENCODED_MAX bytes into `out`; 0 when the data are longer than KISS_DATA_MAX. */
size_t kiss_encode(uint8_t command, struct kos_bytes data, uint8_t *out);

#endif
