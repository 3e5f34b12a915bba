/* SPDX-License-Identifier: Apache-2.0
 *
 * kos.signal/1: small opaque messages to the same plugin on a peer node, for transports that must negotiate (WebRTC
 * offers). They travel over whatever session to that peer is open, are not stored, and may be lost. Since 1.0; a host
 * that lacks it answers NULL when asked for the feature.
 */
#ifndef KOS_SIGNAL_H
#define KOS_SIGNAL_H

#include <kos/host.h>

#define KOS_SIGNAL "kos.signal/1"
#define KOS_SIGNAL_USER "kos.signal.user/1"
enum { KOS_SIGNAL_MAX_BYTES = 16384 };

struct kos_signal {
    uint32_t size;
    /* kos_plugin.completed(op): KOS_OK handed to a session; KOS_E_UNREACHABLE, KOS_E_LIMIT, KOS_E_BUSY. */
    void (*send)(const struct kos_host *host, const uint8_t peer[KOS_ID_BYTES], struct kos_bytes bytes, uint64_t op);
};
struct kos_signal_user {
    uint32_t size;
    void (*received)(void *self, const uint8_t peer[KOS_ID_BYTES], struct kos_bytes bytes);
};

#endif
