/* SPDX-License-Identifier: Apache-2.0
 * The KISS codec: bounded, and in step again at the next C0. */
#include "kiss.h"

enum { FEND = 0xc0, FESC = 0xdb, TFEND = 0xdc, TFESC = 0xdd };

bool kiss_push(struct kiss_decoder *d, uint8_t byte)
{
    if (byte == FEND) {
        bool whole = d->in_frame && d->has_command && !d->broken && !d->escaped;
        if (d->in_frame && d->has_command && !whole)
            d->dropped++;
        size_t len = whole ? d->len : 0;
        /* The C0 that ends one frame may begin the next. */
        d->in_frame = true;
        d->has_command = d->escaped = d->broken = false;
        d->len = len;
        return whole;
    }
    if (!d->in_frame)
        return false;
    if (!d->has_command) {
        d->has_command = true;
        d->command = byte;
        d->len = 0;
        d->broken = byte == FESC;
        return false;
    }
    if (d->broken)
        return false;
    if (d->escaped) {
        d->escaped = false;
        d->broken = byte != TFEND && byte != TFESC;
        byte = byte == TFEND ? FEND : FESC;
    } else if (byte == FESC) {
        d->escaped = true;
        return false;
    }
    if (d->len == KISS_DATA_MAX)
        d->broken = true;
    if (!d->broken)
        d->data[d->len++] = byte;
    return false;
}

size_t kiss_encode(uint8_t command, struct kos_bytes data, uint8_t *out)
{
    size_t n = 0;
    if (data.len > KISS_DATA_MAX)
        return 0;
    out[n++] = FEND;
    out[n++] = command;
    for (size_t i = 0; i < data.len; i++) {
        uint8_t byte = data.data[i];
        if (byte == FEND || byte == FESC) {
            out[n++] = FESC;
            out[n++] = byte == FEND ? TFEND : TFESC;
        } else {
            out[n++] = byte;
        }
    }
    out[n++] = FEND;
    return n;
}
