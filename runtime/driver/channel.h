/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames over a stream socket, for both ends of a cell: what a turn of the loop sends leaves at its end in as few writes
 * as can be; reading is bounded per turn, per frame and, for what the other side does not take, in the queue.
 */
#ifndef KOS_DRIVER_CHANNEL_H
#define KOS_DRIVER_CHANNEL_H

#include "core/env.h"
#include "driver/frame.h"

struct kos_channel;
struct kos_channel_options {
    uint32_t frame_max;             /* a frame that claims to be larger ends the channel; at most KOS_FRAME_MAX */
    size_t queue_max;               /* bytes that may wait for the other side to read */
    bool takes_fds;                 /* descriptors that come along; else the kernel drops them */
    void *arg;
    void (*frame)(void *arg, struct kos_frame *frame);          /* takes it */
    /* Once, the last thing that comes: "" when the other side closed, else the rest of a sentence about it ("sent ...").
     * Not inside kos_channel_send. */
    void (*ended)(void *arg, const char *why);
};

/* Owns fd, which must be non-blocking. NULL when this environment cannot watch descriptors; then fd stays the
 * caller's. */
struct kos_channel *kos_channel_new(struct kos_env *env, int fd, const struct kos_channel_options *options);
/* Not from within its callbacks; NULL is fine. */
void kos_channel_free(struct kos_channel *channel);
/* Takes the frame and its descriptor. Dropped once the channel has ended. */
void kos_channel_send(struct kos_channel *channel, struct kos_frame *frame);
/* No more frames are handed over, sent or read, and `ended` does not come: from anywhere. */
void kos_channel_stop(struct kos_channel *channel);
/* For who has no turning loop, or waits within one: sends, waits at most so long for the socket, and hands over what
 * came. */
void kos_channel_step(struct kos_channel *channel, uint32_t timeout_ms);
/* Whether everything was sent. */
bool kos_channel_empty(const struct kos_channel *channel);

#endif
