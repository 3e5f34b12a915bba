/* SPDX-License-Identifier: Apache-2.0
 *
 * Transports move bytes between two nodes. They see ciphertext only: framing, fragments, encryption, identity, policy
 * and quotas happen once, above, for all of them. Since 1.0.
 *
 * Endpoints listen; links carry. Ids: the host chooses even ones (endpoints it opens, links it dials), the plugin odd
 * ones (links it accepts). An id begins with the call that names it first and ends with endpoint_down or link_down,
 * which come exactly once, whoever ended it, and are the last event of that id.
 *
 * Credits: a side may hand over only as many bytes as it was given. At link_up the host may send
 * `send_window_bytes`; kos_transport_host.link_credit gives more as bytes leave. The plugin may hand over what
 * kos_transport.link_credit gave it (nothing at first). A datagram counts with its length.
 */
#ifndef KOS_TRANSPORT_H
#define KOS_TRANSPORT_H

#include <kos/abi.h>

#define KOS_TRANSPORT "kos.transport/1"
#define KOS_TRANSPORT_HOST "kos.transport.host/1"

enum kos_link_flags {
    KOS_LINK_STREAM = 1,      /* bytes without borders; else datagrams with borders */
    KOS_LINK_RELIABLE = 2,
    KOS_LINK_ORDERED = 4,
    KOS_LINK_SHARED = 8,      /* a medium others hear: the short addresses count */
    KOS_LINK_ANONYMOUS = 16,  /* the remote address says nothing about the peer (Tor) */
};

struct kos_link_info {
    uint32_t size;
    uint32_t flags;                /* enum kos_link_flags */
    uint32_t mtu_bytes;            /* largest datagram; 0 for streams */
    uint32_t cost;                 /* relative price of a byte; 0 free, 100 a metered line, 10000 a shared radio */
    uint64_t airtime_ms_per_hour;  /* budget of the medium; 0: none */
    uint64_t bits_per_second;      /* nominal; 0 unknown */
    uint64_t send_window_bytes;    /* what the host may have outstanding */
    const char *local;             /* addresses as this transport writes them, "tcp://127.0.0.1:7450"; "" unknown */
    const char *remote;
    uint32_t short_local, short_remote; /* on a shared medium; 0 none */
};

struct kos_transport {
    uint32_t size;
    const char *const *schemes;    /* what it dials and listens on, "tcp"; NULL-terminated */
    /* -> endpoint_up or endpoint_down */
    void (*listen)(void *self, uint64_t endpoint, const char *address);
    void (*endpoint_close)(void *self, uint64_t endpoint);              /* -> endpoint_down; its links stay */
    /* -> link_up or link_down. The transport gives up by the measure of its medium (TCP 10 s, Tor a minute or two); the
     * host may give up before, by link_close. */
    void (*dial)(void *self, uint64_t link, const char *address);
    /* Sends the concatenation of the pieces (at most 64), within credit. The bytes are valid for the call only. */
    void (*send)(void *self, uint64_t link, const struct kos_bytes *pieces, uint32_t count);
    void (*link_credit)(void *self, uint64_t link, uint64_t bytes);     /* you may deliver so many more */
    /* Ends the link; what was sent before is still tried when `flush` is 1 and the link allows, for at most 2 s.
     * -> link_down. A link already down is ignored: events cross. */
    void (*link_close)(void *self, uint64_t link, int32_t flush);
};

struct kos_transport_host {
    uint32_t size;
    void (*endpoint_up)(const struct kos_host *host, uint64_t endpoint, const char *address /* as bound */);
    void (*endpoint_down)(const struct kos_host *host, uint64_t endpoint, int32_t status, const char *text);
    /* endpoint 0: answers dial. What `info` says holds for the life of the link: an MTU is one that the path will
     * always take, addresses are those of the beginning. */
    void (*link_up)(const struct kos_host *host, uint64_t link, uint64_t endpoint, const struct kos_link_info *info);
    /* Any run of a stream's bytes; exactly one datagram. */
    void (*link_received)(const struct kos_host *host, uint64_t link, struct kos_bytes bytes);
    /* So many bytes of what was sent have left (or, where the transport repeats what is lost, have arrived). */
    void (*link_credit)(const struct kos_host *host, uint64_t link, uint64_t bytes);
    void (*link_down)(const struct kos_host *host, uint64_t link, int32_t status, const char *text);
};

#endif
