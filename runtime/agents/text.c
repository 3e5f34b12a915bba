/* SPDX-License-Identifier: Apache-2.0
 * What agents say, made fit to be shown: the last line of stderr, exit statuses, sizes. */
#include "agents/private.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

void tail_add(struct tail *tail, struct kos_bytes bytes)
{
    if (bytes.len >= TAIL_MAX) {
        memcpy(tail->data, bytes.data + bytes.len - TAIL_MAX, TAIL_MAX);
        tail->len = TAIL_MAX;
        return;
    }
    if (tail->len + bytes.len > TAIL_MAX) {
        size_t drop = tail->len + bytes.len - TAIL_MAX;
        memmove(tail->data, tail->data + drop, tail->len - drop);
        tail->len -= drop;
    }
    if (bytes.len)
        memcpy(tail->data + tail->len, bytes.data, bytes.len);
    tail->len += bytes.len;
}

/* Length of the valid UTF-8 character at p that may be shown, else 0 (RFC 3629; no controls, nothing that turns the
 * direction of what follows). */
static size_t shown(const uint8_t *p, size_t left)
{
    if (*p < 0x80)
        return *p >= 0x20 && *p != 0x7f;
    size_t len = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
    if (*p < 0xc2 || *p > 0xf4 || len > left)
        return 0;
    uint32_t c = *p & (0xffU >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < 0xa0 || (len == 3 && c < 0x800) || (len == 4 && (c < 0x10000 || c > 0x10ffff)) ||
        (c >= 0xd800 && c <= 0xdfff))
        return 0;
    if ((c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f || c == 0xfeff)
        return 0;
    return len;
}

void clean_text(struct kos_bytes text, char *ret_text, size_t cap)
{
    size_t at = 0;
    for (size_t i = 0; i < text.len && at + 5 < cap; ) {
        size_t len = shown(text.data + i, text.len - i);
        if (len > 0) {
            memcpy(ret_text + at, text.data + i, len);
            at += len;
        } else {
            at += (size_t)snprintf(ret_text + at, cap - at, "\\x%02x", text.data[i]);
            len = 1;
        }
        i += len;
    }
    ret_text[at] = 0;
}

static bool blank(struct kos_bytes line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.data[i] > 0x20)
            return false;
    return true;
}

void tail_line(const struct tail *tail, char *ret_text, size_t cap)
{
    size_t end = tail->len;
    ret_text[0] = 0;
    while (end > 0) {
        size_t start = end;
        while (start > 0 && tail->data[start - 1] != '\n')
            start--;
        struct kos_bytes line = kos_bytes(tail->data + start, end - start);
        while (line.len && line.data[line.len - 1] <= 0x20)
            line.len--;
        if (!blank(line)) {
            clean_text(line, ret_text, cap);
            return;
        }
        end = start ? start - 1 : 0;
    }
}

void size_text(uint64_t bytes, char *ret_text, size_t cap)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
    size_t unit = 0;
    while (unit < 4 && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    snprintf(ret_text, cap, "%llu %s", (unsigned long long)bytes, units[unit]);
}

void status_text(int32_t wait_status, char *ret_text, size_t cap)
{
    if (WIFSIGNALED(wait_status)) {
        int number = WTERMSIG(wait_status);
        const char *name = sigdescr_np(number);
        snprintf(ret_text, cap, "it was ended by signal %d (%s)%s", number, name ? name : "unknown",
                 number == SIGXFSZ   ? ": a file grew beyond what agents may write"
                 : number == SIGXCPU ? ": its time on the processor was used up"
                                     : "");
    } else if (WEXITSTATUS(wait_status) == 127) {
        snprintf(ret_text, cap, "it ended with exit status 127 (a program was not found)");
    } else {
        snprintf(ret_text, cap, "it ended with exit status %d", WEXITSTATUS(wait_status));
    }
}
