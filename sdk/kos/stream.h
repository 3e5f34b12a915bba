/* SPDX-License-Identifier: Apache-2.0
 *
 * kos.stream/1: byte streams over a peer's session, bulk class, with credits. Not durable: a stream ends with its
 * session. Ids: opened by you even, accepted odd. Since 1.0; a host that lacks it answers NULL when asked for the
 * feature.
 */
#ifndef KOS_STREAM_H
#define KOS_STREAM_H

#include <kos/host.h>

#define KOS_STREAM "kos.stream/1"
#define KOS_STREAM_USER "kos.stream.user/1"

struct kos_stream {
    uint32_t size;
    /* -> up or down */
    void (*open)(const struct kos_host *host, uint64_t stream, const uint8_t peer[KOS_ID_BYTES], const char *name);
    void (*send)(const struct kos_host *host, uint64_t stream, struct kos_bytes bytes);   /* within credit */
    void (*credit)(const struct kos_host *host, uint64_t stream, uint64_t bytes);
    void (*close)(const struct kos_host *host, uint64_t stream);                          /* -> down */
};
struct kos_stream_user {
    uint32_t size;
    void (*up)(void *self, uint64_t stream, const uint8_t peer[KOS_ID_BYTES], const char *name);
    void (*received)(void *self, uint64_t stream, struct kos_bytes bytes);
    void (*credit)(void *self, uint64_t stream, uint64_t bytes);
    void (*down)(void *self, uint64_t stream, int32_t status, const char *text);
};

#endif
