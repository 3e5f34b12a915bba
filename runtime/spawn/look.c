/* SPDX-License-Identifier: Apache-2.0
 * The client's part of looking at a module: kosd itself starts no program. No loop and no state of the client, so that a
 * worker can wait for it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/buf.h"
#include "spawn/spawn.h"
#include "spawn/wire.h"

enum { START_MS = 2000, KILLED_MS = 5000 };

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int32_t fill(const char *program, const char *module, struct spawn_start *start, struct kos_error *ret_error)
{
    /* The process sets limits of its own before it loads the module; these are the keeper's. */
    *start = (struct spawn_start){ .magic = SPAWN_MAGIC, .size = sizeof *start, .kind = SPAWN_LOOK,
                                   .limits = { UINT64_C(2) << 30, 1, 256, 16, UINT64_MAX } };
    if (strlen(program) >= sizeof start->command || strlen(module) >= sizeof start->module || *program != '/' ||
        *module != '/')
        return kos_fail(ret_error, KOS_E_INVALID, "the path of the module or of %s is too long, or not absolute", program);
    snprintf(start->name, sizeof start->name, "look");
    snprintf(start->command, sizeof start->command, "%s", program);
    snprintf(start->module, sizeof start->module, "%s", module);
    return KOS_OK;
}

int32_t spawn_look(int fd, const char *program, const char *module, struct kos_cell_look *ret_look,
                   struct kos_error *ret_error)
{
    int channel[2], out[2];
    struct spawn_start *start = kos_new(sizeof *start);
    int32_t rc = fill(program, module, start, ret_error);
    if (rc < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0) {
        free(start);
        return rc < 0 ? rc : kos_fail(ret_error, KOS_E_LIMIT, "no descriptors for it: %s", strerror(errno));
    }
    if (pipe2(out, O_CLOEXEC) < 0) {
        rc = kos_fail(ret_error, KOS_E_LIMIT, "no descriptors for it: %s", strerror(errno));
        out[0] = out[1] = -1;
    } else {
        const int theirs[SPAWN_CELL_FDS] = { channel[1], out[1], out[1] };
        struct pollfd room = { .fd = fd, .events = POLLOUT };
        poll(&room, 1, START_MS);
        rc = spawn_send(fd, start, theirs, SPAWN_CELL_FDS);
        if (rc < 0)
            kos_fail(ret_error, rc, rc == KOS_E_BUSY ? "too many processes are being started at this moment"
                                                     : "the process that starts them has died: restart kosd");
    }
    free(start);
    close(channel[1]);
    if (out[1] >= 0)
        close(out[1]);
    if (rc == KOS_OK) {
        *ret_look = (struct kos_cell_look){ .out = out[0], .channel = channel[0] };
        return KOS_OK;
    }
    close(channel[0]);
    if (out[0] >= 0)
        close(out[0]);
    return rc;
}

/* KOS_E_TIMEOUT: nothing until `end`. */
static int32_t next_event(int channel, int64_t end, struct spawn_event *event)
{
    for (int64_t left; (left = end - now_ms()) > 0;) {
        struct pollfd p = { .fd = channel, .events = POLLIN };
        if (poll(&p, 1, (int)left) <= 0)
            continue;
        ssize_t n = recv(channel, event, sizeof *event, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNRESET))
            continue;
        bool whole = n == (ssize_t)sizeof *event && event->magic == SPAWN_MAGIC && memchr(event->text, 0, sizeof event->text);
        if (!whole)
            return KOS_E_CLOSED;
        if (event->type != SPAWN_STARTED)
            return KOS_OK;
    }
    return KOS_E_TIMEOUT;
}

int32_t spawn_look_end(struct kos_cell_look *look, uint32_t timeout_ms, int *ret_status, struct kos_error *ret_error)
{
    struct spawn_event event;
    int32_t rc = next_event(look->channel, now_ms() + timeout_ms, &event);
    bool killed = rc == KOS_E_TIMEOUT;
    if (killed) {
        struct spawn_order order = { SPAWN_MAGIC, SPAWN_KILL };
        ssize_t ignored = send(look->channel, &order, sizeof order, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)ignored;
        rc = next_event(look->channel, now_ms() + KILLED_MS, &event);
    }
    close(look->channel);
    close(look->out);
    if (rc < 0)
        return kos_fail(ret_error, KOS_E_CLOSED, "the process that keeps it was killed");
    if (event.type == SPAWN_FAILED)
        return kos_fail(ret_error, event.code < 0 ? event.code : KOS_E_INTERNAL, "%s", event.text);
    *ret_status = event.status;
    return killed ? KOS_E_TIMEOUT : KOS_OK;
}
