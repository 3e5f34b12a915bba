/* SPDX-License-Identifier: Apache-2.0
 *
 * The way up as frames, for a plugin in a cell: kos-cell encodes what its driver is asked (up.c), kosd reads it with
 * kos_up_run and does it. Every frame is foreign to kosd: a plugin may have written over the cell's memory.
 */
#ifndef KOS_DRIVER_UP_H
#define KOS_DRIVER_UP_H

#include "driver/frame.h"
#include "driver/services.h"

enum kos_up_kind {
    KOS_UP_BROKE = 256, KOS_UP_QUIET, KOS_UP_FINISHED, KOS_UP_LOG, KOS_UP_COMPLETE, KOS_UP_OPEN, KOS_UP_OPEN_CANCEL,
    KOS_UP_STATE_GET, KOS_UP_STATE_SCAN, KOS_UP_SECRET_GET, KOS_UP_SECRET_PUT, KOS_UP_SIGN,
    KOS_UP_TX_BEGIN, KOS_UP_TX_PUT, KOS_UP_TX_DELETE, KOS_UP_TX_SEND, KOS_UP_TX_VERDICT, KOS_UP_TX_COMMIT,
    KOS_UP_TX_ABORT,
    KOS_UP_ENDPOINT_UP, KOS_UP_ENDPOINT_DOWN, KOS_UP_LINK_UP, KOS_UP_LINK_RECEIVED, KOS_UP_LINK_CREDIT,
    KOS_UP_LINK_DOWN,
    KOS_UP_FOUND, KOS_UP_LOST, KOS_UP_INJECT, KOS_UP_REPLY, KOS_UP_EVENT, KOS_UP_RUN, KOS_UP_RUN_CREDIT,
    KOS_UP_RUN_CANCEL,
    KOS_UP_HTTP_SERVE, KOS_UP_HTTP_RESPOND, KOS_UP_HTTP_FETCH, KOS_UP_HTTP_CANCEL, KOS_UP_HTTP_REQUEST,
    KOS_UP_HTTP_RESPONSE,
    KOS_UP_STREAM_OPEN, KOS_UP_STREAM_SEND, KOS_UP_STREAM_CREDIT, KOS_UP_STREAM_CLOSE, KOS_UP_STREAM_ABORT,
    KOS_UP_KINDS,
};

/* What encodes: embed it first and give `push`, which takes the frame. `gives`, `agent_by_id` and `agent_by_name` answer
 * at once and are the embedder's own. */
struct kos_up {
    struct kos_services services;
    void (*push)(struct kos_up *up, struct kos_frame *frame);
};
void kos_up_ops(struct kos_services_ops *ret_ops);

/* Does what the frame asks. KOS_E_INVALID: malformed; nothing was done. */
int32_t kos_up_run(const struct kos_frame *frame, struct kos_services *services);

#endif
