/* SPDX-License-Identifier: Apache-2.0
 * Frames over a stream socket. */
#include "driver/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/buf.h"

enum { IN_BYTES = 256 << 10, PIECES_MAX = 64, FDS_MAX = 64, FDS_AT_ONCE = 16, WHY_MAX = 160, FLUSH_ORDER = 40 };

struct kos_channel {
    struct kos_env *env;
    struct kos_channel_options options;
    int fd;
    struct kos_watch *watch;
    struct kos_turn_end turn_end;
    struct kos_deferred wake;           /* a turn, so that its end comes */
    struct kos_frame *first, *last;     /* to be sent */
    size_t queued, sent;                /* bytes of the queue; of `first` that are out */
    bool full;                          /* the socket takes no more now */
    bool stopped, told;
    char why[WHY_MAX];
    uint8_t *in;
    size_t in_len;
    struct kos_frame *large;            /* one that is larger than `in` */
    size_t large_len;
    int fds[FDS_MAX];
    size_t fd_count;
};

static struct kos_channel *channel_of_hook(struct kos_turn_end *hook)
{
    return (struct kos_channel *)((char *)hook - offsetof(struct kos_channel, turn_end));
}

static void set_events(struct kos_channel *channel)
{
    channel->env->ops->watch_set(channel->watch,
                                 channel->stopped ? 0 : KOS_READABLE | (channel->full ? KOS_WRITABLE : 0));
}

/* `ended` waits for a moment when nobody is in the middle of something. */
static void end(struct kos_channel *channel, const char *why)
{
    if (channel->stopped)
        return;
    snprintf(channel->why, sizeof channel->why, "%s", why);
    channel->stopped = true;
    channel->told = true;
    set_events(channel);
    kos_defer(channel->env, &channel->wake);
}

void kos_channel_stop(struct kos_channel *channel)
{
    channel->stopped = true;
    channel->told = false;
    set_events(channel);
}

static void wake(struct kos_deferred *deferred)
{
    struct kos_channel *channel = (struct kos_channel *)((char *)deferred - offsetof(struct kos_channel, wake));
    if (!channel->told)
        return;
    channel->told = false;
    channel->options.ended(channel->options.arg, channel->why);
}

/* ---- sending ---- */

bool kos_channel_empty(const struct kos_channel *channel)
{
    return channel->first == NULL;
}

void kos_channel_send(struct kos_channel *channel, struct kos_frame *frame)
{
    if (channel->stopped) {
        kos_frame_free(frame);
        return;
    }
    frame->next = NULL;
    if (frame->fd >= 0)
        frame->head.flags |= KOS_FRAME_FD;
    if (channel->last)
        channel->last->next = frame;
    else
        channel->first = frame;
    channel->last = frame;
    channel->queued += frame->head.size;
    kos_defer(channel->env, &channel->wake);
    if (channel->queued > channel->options.queue_max) {
        char why[WHY_MAX];
        snprintf(why, sizeof why, "does not read what it is sent: more than %zu MiB wait for it",
                 channel->options.queue_max >> 20);
        end(channel, why);
    }
}

static void sent(struct kos_channel *channel, size_t n)
{
    while (n > 0) {
        struct kos_frame *frame = channel->first;
        size_t left = frame->head.size - channel->sent;
        if (n < left) {
            channel->sent += n;
            return;
        }
        n -= left;
        channel->sent = 0;
        channel->queued -= frame->head.size;
        channel->first = frame->next;
        if (!channel->first)
            channel->last = NULL;
        kos_frame_free(frame);
    }
}

/* One write: frames up to the next that carries a descriptor, or that one alone. */
static bool send_some(struct kos_channel *channel)
{
    union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int))]; } control = { 0 };
    struct iovec pieces[PIECES_MAX];
    struct msghdr message = { .msg_iov = pieces };
    size_t skip = channel->sent;
    for (struct kos_frame *f = channel->first; f && message.msg_iovlen < PIECES_MAX; f = f->next) {
        if (f->fd >= 0 && message.msg_iovlen > 0)
            break;
        pieces[message.msg_iovlen++] = (struct iovec){ (uint8_t *)&f->head + skip, f->head.size - skip };
        skip = 0;
        if (f->fd >= 0)
            break;
    }
    struct kos_frame *first = channel->first;
    if (first->fd >= 0) {
        message.msg_control = control.room;
        message.msg_controllen = sizeof control.room;
        control.header = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
        memcpy(CMSG_DATA(&control.header), &first->fd, sizeof(int));
    }
    ssize_t n = sendmsg(channel->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0) {
        channel->full = errno == EAGAIN || errno == ETOOMANYREFS;
        /* What the other side still said is read first: the end comes from there. */
        if (!channel->full && errno != EPIPE && errno != ECONNRESET)
            end(channel, strerror(errno));
        return false;
    }
    if (first->fd >= 0) { /* it went with the first byte */
        close(first->fd);
        first->fd = -1;
    }
    sent(channel, (size_t)n);
    return true;
}

static void flush(struct kos_channel *channel)
{
    bool was_full = channel->full;
    channel->full = false;
    while (channel->first && !channel->stopped && send_some(channel))
        continue;
    if (was_full != channel->full)
        set_events(channel);
}

static void turn_end(struct kos_turn_end *hook)
{
    struct kos_channel *channel = channel_of_hook(hook);
    if (channel->first && !channel->full && !channel->stopped)
        flush(channel);
}

/* ---- receiving ---- */

static bool take_fd(struct kos_channel *channel, struct kos_frame *frame)
{
    if (!(frame->head.flags & KOS_FRAME_FD))
        return true;
    frame->head.flags &= (uint16_t)~KOS_FRAME_FD;
    if (channel->fd_count == 0)
        return false;
    frame->fd = channel->fds[0];
    memmove(channel->fds, channel->fds + 1, --channel->fd_count * sizeof(int));
    return true;
}

static void hand_over(struct kos_channel *channel, struct kos_frame *frame)
{
    if (take_fd(channel, frame)) {
        channel->options.frame(channel->options.arg, frame);
        return;
    }
    kos_frame_free(frame);
    end(channel, "sent a frame without the descriptor that it speaks of");
}

static bool sound(struct kos_channel *channel, const struct kos_frame_head *head)
{
    char why[WHY_MAX];
    if (head->size >= sizeof *head && head->size % 8 == 0 && head->size <= channel->options.frame_max)
        return true;
    if (head->size > channel->options.frame_max)
        snprintf(why, sizeof why, "sent a frame that claims to have %u bytes; the limit is %u", (unsigned)head->size,
                 (unsigned)channel->options.frame_max);
    else
        snprintf(why, sizeof why, "sent a frame of an impossible length (%u bytes)", (unsigned)head->size);
    end(channel, why);
    return false;
}

static struct kos_frame *blank(struct kos_channel *channel, size_t size)
{
    struct kos_frame *frame = kos_frame_blank(size);
    if (!frame)
        end(channel, "sent a frame for which there is no memory");
    return frame;
}

/* Whole frames of the buffer; the rest moves to its beginning, or into a frame of its own. */
static void parse(struct kos_channel *channel)
{
    size_t at = 0;
    while (!channel->stopped && channel->in_len - at >= sizeof(struct kos_frame_head)) {
        struct kos_frame_head head;
        size_t left = channel->in_len - at;
        memcpy(&head, channel->in + at, sizeof head);
        if (!sound(channel, &head) || (head.size > left && head.size <= IN_BYTES))
            break;
        struct kos_frame *frame = blank(channel, head.size);
        if (!frame)
            break;
        size_t now = head.size < left ? head.size : left;
        memcpy(&frame->head, channel->in + at, now);
        if (head.flags & KOS_FRAME_SECRET)
            explicit_bzero(channel->in + at, now);
        at += now;
        if (now == head.size) {
            hand_over(channel, frame);
        } else {
            channel->large = frame;
            channel->large_len = now;
        }
    }
    memmove(channel->in, channel->in + at, channel->in_len - at);
    channel->in_len -= at;
}

static void keep_fds(struct kos_channel *channel, struct msghdr *message)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
            if (channel->fd_count < FDS_MAX)
                channel->fds[channel->fd_count++] = fd;
            else
                close(fd);
        }
    }
}

static ssize_t receive(struct kos_channel *channel, void *to, size_t len)
{
    union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int) * FDS_AT_ONCE)]; } control;
    struct iovec part = { to, len };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    if (channel->options.takes_fds) {
        message.msg_control = control.room;
        message.msg_controllen = sizeof control.room;
    }
    ssize_t n = recvmsg(channel->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n > 0 && channel->options.takes_fds)
        keep_fds(channel, &message);
    return n;
}

static void read_some(struct kos_channel *channel)
{
    struct kos_frame *large = channel->large;
    ssize_t n = large ? receive(channel, (uint8_t *)&large->head + channel->large_len,
                                large->head.size - channel->large_len)
                      : receive(channel, channel->in + channel->in_len, IN_BYTES - channel->in_len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        end(channel, "");
        return;
    }
    if (!large) {
        channel->in_len += (size_t)n;
        parse(channel);
        return;
    }
    channel->large_len += (size_t)n;
    if (channel->large_len == large->head.size) {
        channel->large = NULL;
        hand_over(channel, large);
    }
}

static void ready(void *arg, int32_t events)
{
    struct kos_channel *channel = arg;
    if (!channel->stopped && events & KOS_WRITABLE)
        flush(channel);
    if (!channel->stopped && events & KOS_READABLE)
        read_some(channel);
}

void kos_channel_step(struct kos_channel *channel, uint32_t timeout_ms)
{
    if (!channel->stopped && channel->first)
        flush(channel);
    if (!channel->stopped) {
        struct pollfd p = { channel->fd, (short)(POLLIN | (channel->first ? POLLOUT : 0)), 0 };
        if (poll(&p, 1, (int)timeout_ms) > 0)
            ready(channel, (p.revents & POLLOUT ? KOS_WRITABLE : 0) | (p.revents & ~POLLOUT ? KOS_READABLE : 0));
    }
    wake(&channel->wake);
}

/* ---- life ---- */

struct kos_channel *kos_channel_new(struct kos_env *env, int fd, const struct kos_channel_options *options)
{
    struct kos_channel *channel = kos_new(sizeof *channel);
    channel->watch = env->ops->watch_new(env, fd, ready, channel);
    if (!channel->watch) {
        free(channel);
        return NULL;
    }
    channel->env = env;
    channel->options = *options;
    channel->fd = fd;
    channel->in = kos_new(IN_BYTES);
    channel->wake.run = wake;
    channel->turn_end = (struct kos_turn_end){ .run = turn_end, .order = FLUSH_ORDER };
    env->ops->turn_end_add(env, &channel->turn_end);
    set_events(channel);
    return channel;
}

void kos_channel_free(struct kos_channel *channel)
{
    if (!channel)
        return;
    struct kos_env *env = channel->env;
    env->ops->turn_end_remove(env, &channel->turn_end);
    kos_undefer(env, &channel->wake);
    env->ops->watch_free(channel->watch);
    close(channel->fd);
    for (struct kos_frame *f = channel->first, *next; f; f = next) {
        next = f->next;
        kos_frame_free(f);
    }
    kos_frame_free(channel->large);
    for (size_t i = 0; i < channel->fd_count; i++)
        close(channel->fds[i]);
    free(channel->in);
    free(channel);
}
