/* SPDX-License-Identifier: Apache-2.0
 *
 * What the host does for every plugin: the table that init receives. Pass the table itself as `host`. Since 1.0.
 */
#ifndef KOS_HOST_H
#define KOS_HOST_H

#include <kos/abi.h>

enum { KOS_STATE_KEY_MAX = 256, KOS_STATE_VALUE_MAX = 1 << 20, KOS_TX_MAX_BYTES = 4 << 20, KOS_TXS_MAX_BYTES = 64 << 20,
       KOS_LOG_TEXT_MAX = 512, KOS_TIMERS_MAX = 65536, KOS_WATCHES_MAX = 65536, KOS_OPEN_MAX = 1024,
       KOS_POSTS_MAX = 65536, KOS_TX_MAX = 1024 };

/* How a message is delivered.
 *   KOS_DURABLE    on disk before tx_commit completes, in the outbox until the target's host has it on disk too, across
 *                  restarts of both; its effects happen exactly once; its end is an outcome.
 *   KOS_TRANSIENT  at most once: it lives in memory, waits for no disk and gets no receipt. It goes out over a session
 *                  that is open (KOS_E_UNREACHABLE at commit when there is none) and is lost with it; what was lost is
 *                  counted and logged. There are no outcomes: who needs an answer asks for one and sets a timer. tx_commit
 *                  completes when there is room for more, so who keeps few of them open is as fast as the session. */
enum kos_delivery { KOS_DURABLE = 0, KOS_TRANSIENT = 1 };

/* A message to be sent, as a handler or bridge drafts it. The host fills source, signature and the rest. */
struct kos_draft {
    uint32_t size;
    int32_t klass;                        /* 1 interactive, 2 bulk */
    uint8_t id[KOS_ID_BYTES];             /* of your choosing (kos_host.random), so that you can wait for its outcome */
    uint8_t reply_to[KOS_ID_BYTES];       /* the message this answers; zeros: none */
    uint8_t from_agent[KOS_ID_BYTES];     /* sign as this local agent; zeros: as the node */
    const char *type;                     /* [A-Z][A-Z0-9_]* */
    const char *target;                   /* klp:// address */
    uint8_t target_id[KOS_ID_BYTES];      /* when known; zeros: the host resolves `target` */
    struct kos_bytes payload;             /* canonical JSON object (RFC 8785); checked */
    int64_t expires_in_ms;                /* 1 .. 30 days */
    double trust_required;                /* the router gives it only to a target at or above it; 0: no demand */
    const char *trace;                    /* W3C traceparent; NULL: none */
    int32_t delivery;                     /* enum kos_delivery */
};

enum kos_verdict {
    KOS_ACCEPT = 1,  /* done with it */
    KOS_REJECT = 2,  /* refuse: the sender gets a signed error with `error` and `text` */
    KOS_DEFER = 3,   /* hand it to me again after retry_ms */
};

struct kos_host {
    uint32_t size;
    uint32_t abi;                         /* KOS_ABI of the host */
    void *ctx;                            /* the host's; opaque */

    /* A feature of the host by name ("kos.transport.host/1"), a const table that begins with `uint32_t size`, valid as
     * long as the plugin instance; NULL when this host, or the policy's rights, do not give it. */
    const void *(*feature)(const struct kos_host *host, const char *name);

    /* One line, cut at KOS_LOG_TEXT_MAX; bounded per second. Never a secret or a payload. */
    void (*log)(const struct kos_host *host, int32_t level, const char *text);
    int64_t (*now_ms)(const struct kos_host *host);    /* Unix ms, may jump */
    uint64_t (*mono_ns)(const struct kos_host *host);  /* never goes back */
    void (*random)(const struct kos_host *host, void *out, size_t len_bytes);

    /* One-shot timers with ids of yours; setting again moves it. Fires as kos_plugin.timer. */
    void (*timer_set)(const struct kos_host *host, uint64_t timer, uint64_t delay_ms);
    void (*timer_stop)(const struct kos_host *host, uint64_t timer);

    /* Watches a descriptor of this process, level-triggered: kos_plugin.ready. events 0 ends the watch; end it before
     * closing the descriptor. KOS_E_LIMIT, KOS_E_INVALID. */
    int32_t (*watch)(const struct kos_host *host, int32_t fd, int32_t events);

    /* From any thread, until `stopped`: kos_plugin.posted(self, cookie) soon on the loop, in order per thread.
     * KOS_E_BUSY when KOS_POSTS_MAX are waiting. */
    int32_t (*post)(const struct kos_host *host, uint64_t cookie);

    /* Completes an operation the host submitted (the header of each kind says with what result). An id that is not open
     * is a broken rule: the host logs it and cuts a cell off. */
    void (*complete)(const struct kos_host *host, uint64_t op, int32_t status, struct kos_bytes result);
    /* Says, after kos_plugin.stop, that nothing of yours is open any more and that your threads are gone; fini comes,
     * and nothing before it. What you asked of the host and it has not answered is dropped (a descriptor: closed). */
    void (*stopped)(const struct kos_host *host);

    /* Opens a socket or device that the policy granted: kos_plugin.opened(op, status, fd, text); the descriptor is the
     * plugin's to close, non-blocking and close-on-exec.
     *   tcp-listen://HOST:PORT listening (right "listen"; listen(2) again sets another backlog)
     *   tcp://HOST:PORT connected (right "connect"; names are resolved, each address is tried)
     *   udp://HOST:PORT bound (right "listen"; with port 0: "connect", for who only dials)
     *   udp-connect://HOST:PORT connected (right "connect"; names are resolved)
     *   device:/dev/NAME, a character device, also /dev/pts/3; a link is followed within /dev (right "device")
     * Port 0 takes a free one; IPv6 as [::1] or [fe80::1%eth0], and for IPv6 only. KOS_E_ADDRESS_USED,
     * KOS_E_UNREACHABLE, KOS_E_TIMEOUT (10 s), KOS_E_NOTFOUND, KOS_E_PERMISSION, KOS_E_DENIED, KOS_E_INVALID,
     * KOS_E_LIMIT (KOS_OPEN_MAX under way). */
    void (*open)(const struct kos_host *host, const char *what, uint64_t op);
    /* -> opened(op, KOS_E_CANCELLED), unless its answer is on the way already; an op not open is ignored: events
     * cross. */
    void (*open_cancel)(const struct kos_host *host, uint64_t op);

    /* Key-value state of this plugin: durable, its own. Results come as kos_plugin.completed. get: the value, or
     * KOS_E_NOTFOUND. scan: at most `limit` pairs with the prefix, from `from` on (inclusive; empty: the first), as
     * pairs read by kos_pair_next(); fewer when 1 MiB is full, so go on behind the last key until none comes. */
    void (*state_get)(const struct kos_host *host, struct kos_bytes key, uint64_t op);
    void (*state_scan)(const struct kos_host *host, struct kos_bytes prefix, struct kos_bytes from, uint32_t limit,
                       uint64_t op);

    /* Secrets of this plugin, kept like keys: names [a-z][a-z0-9_-]*, at most 64 KiB each. put with an empty value
     * removes. */
    void (*secret_get)(const struct kos_host *host, const char *name, uint64_t op);
    void (*secret_put)(const struct kos_host *host, const char *name, struct kos_bytes value, uint64_t op);
    /* Ed25519/P-256 signature by the node ("node") or a local agent (its KLP-ID text) over "plugin/<plugin name>" 0x00
     * SHA-256(body): never usable as a KLP record. Result: 64 bytes. Right "sign". */
    void (*sign)(const struct kos_host *host, const char *key, struct kos_bytes body, uint64_t op);

    /* Transactions: all or nothing, durable before `completed(op, KOS_OK)`. What goes wrong in a step shows at commit.
     * A refusal (KOS_E_LIMIT, KOS_E_BUSY, KOS_E_NOSPACE, KOS_E_INVALID, ...) means none of it happened; `result` is
     * then a sentence for a person (UTF-8, no NUL). One carries at most KOS_TX_MAX_BYTES, all that are not yet completed
     * KOS_TXS_MAX_BYTES (KOS_E_BUSY). */
    void (*tx_begin)(const struct kos_host *host, uint64_t tx);
    void (*tx_put)(const struct kos_host *host, uint64_t tx, struct kos_bytes key, struct kos_bytes value);
    void (*tx_delete)(const struct kos_host *host, uint64_t tx, struct kos_bytes key);
    /* Right "send". Policy and address are checked at commit: KOS_E_DENIED, KOS_E_NOTFOUND, KOS_E_TRUST. The target "*"
     * sends one message to each peer with an open session whom the policy allows it; their ids are the host's, their
     * outcomes are not told, and the result of tx_commit is a uint32_t, how many there were (0 for other
     * transactions). */
    void (*tx_send)(const struct kos_host *host, uint64_t tx, const struct kos_draft *draft);
    /* Decides about a message (kos_handler.handle) or takes note of an outcome (kos_handler.outcome; ACCEPT). */
    void (*tx_verdict)(const struct kos_host *host, uint64_t tx, uint64_t message, int32_t verdict, int32_t error,
                       const char *text, uint64_t retry_ms);
    void (*tx_commit)(const struct kos_host *host, uint64_t tx, uint64_t op);
    void (*tx_abort)(const struct kos_host *host, uint64_t tx);

    /* A directory of this plugin's own, absolute, for a library that keeps files: only with the right "files"; else
     * NULL. */
    const char *directory;
};

/* Steps through the result of state_scan: u32 key length, key, u32 value length, value, native byte order. 1, 0 at the
 * end, KOS_E_INVALID. */
static inline int32_t kos_pair_next(struct kos_bytes *rest, struct kos_bytes *ret_key, struct kos_bytes *ret_value)
{
    struct kos_bytes *out[2] = { ret_key, ret_value };
    if (rest->len == 0)
        return 0;
    for (int i = 0; i < 2; i++) {
        uint32_t n;
        if (rest->len < sizeof n)
            return KOS_E_INVALID;
        memcpy(&n, rest->data, sizeof n);
        if (rest->len - sizeof n < n)
            return KOS_E_INVALID;
        *out[i] = kos_bytes(rest->data + sizeof n, n);
        *rest = kos_bytes(rest->data + sizeof n + n, rest->len - sizeof n - n);
    }
    return 1;
}

#endif
