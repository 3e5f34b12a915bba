/* SPDX-License-Identifier: Apache-2.0
 *
 * kos.stream/1: byte streams between a plugin here and one on a peer node, inside the session of the two: bulk class,
 * so never in the way of messages by more than a record, and with credits, so that a slow reader slows its own stream
 * and nothing else. Right "stream". Not durable: a stream ends with its session. A host that lacks it answers NULL when
 * asked for the feature. Since 1.0.
 *
 * A stream has a name of the form of a message type, and is let in, blocked, and counted by the policy as a message of
 * that type would be. The peer's policy is asked when it is opened; then it goes to the plugin there that names it in
 * kos_stream_user.names and to which the wiring gives it.
 *
 * Life: open -> up -> bytes within credit, both ways -> each side closes when it has sent what it had -> down. Each id
 * ends with exactly one `down`, its last event:
 *   KOS_OK             both sides closed, and all that either sent was handed to the other's plugin
 *   what `abort` said  of either side, KOS_E_CANCELLED when it was this one
 *   KOS_E_DENIED, KOS_E_TRUST, KOS_E_QUOTA, KOS_E_LIMIT, KOS_E_BUSY
 *                      refused by the policy, by a bound, or because the plugin there is not running now
 *   KOS_E_UNHANDLED    no plugin there takes streams of that name; KOS_E_UNSUPPORTED: that node has no streams
 *   KOS_E_UNREACHABLE  no session with that peer is open
 *   KOS_E_CLOSED, ...  the session ended, or (KOS_E_INTERRUPTED) the plugin there: how much of what was sent arrived is
 *                      not known
 *
 * Credit: a side may send only as many bytes as it was given, nothing at first. It comes in portions as it becomes free,
 * so send as much as it allows: who waits for a certain amount may wait for ever. You may have given at most
 * KOS_STREAM_WINDOW_MAX bytes that have not come; what is more is not given.
 */
#ifndef KOS_STREAM_H
#define KOS_STREAM_H

#include <kos/host.h>

#define KOS_STREAM "kos.stream/1"            /* asked of the host */
#define KOS_STREAM_USER "kos.stream.user/1"  /* offered by the plugin */

enum { KOS_STREAM_WINDOW_MAX = 4 << 20, KOS_STREAMS_MAX = 1024 /* of a plugin; KOS_E_LIMIT */ };

/* Ids: what you open has an even one of your choosing, what you accept an odd one. A call that names a stream which is
 * down is ignored: events cross. */
struct kos_stream {
    uint32_t size;
    /* -> up or down. Credit may be given at once, so that the other side can begin as soon as it has it. */
    void (*open)(const struct kos_host *host, uint64_t stream, const uint8_t peer[KOS_ID_BYTES], const char *name);
    void (*send)(const struct kos_host *host, uint64_t stream, struct kos_bytes bytes);   /* within credit */
    void (*credit)(const struct kos_host *host, uint64_t stream, uint64_t bytes);  /* you take so many more */
    /* No more comes from you; what you sent before still goes. The other side may go on. */
    void (*close)(const struct kos_host *host, uint64_t stream);
    /* It is over at once, both ways: what waits is dropped, the other side is told `status` (KOS_OK:
     * KOS_E_CANCELLED) and `text` (a sentence, at most 255 bytes, or NULL). -> down(KOS_E_CANCELLED). */
    void (*abort)(const struct kos_host *host, uint64_t stream, int32_t status, const char *text);
};

struct kos_stream_user {
    uint32_t size;
    /* An even id: it is open, the other side may send and give credit. An odd one: a peer opened it; to refuse it, abort
     * it. */
    void (*up)(void *self, uint64_t stream, const uint8_t peer[KOS_ID_BYTES], const char *name);
    void (*received)(void *self, uint64_t stream, struct kos_bytes bytes);
    void (*credit)(void *self, uint64_t stream, uint64_t bytes);  /* you may send so many more */
    void (*down)(void *self, uint64_t stream, int32_t status, const char *text);
    /* The other side closed: no more bytes come. Close yours when you have sent what there is. */
    void (*ended)(void *self, uint64_t stream);
    const char *const *names;    /* of streams that it accepts; NULL-terminated; NULL: none */
};

#endif
