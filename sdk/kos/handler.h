/* SPDX-License-Identifier: Apache-2.0
 *
 * Handlers take message types. A message that arrives at kos_handler.handle was verified, is no repeat, was let in by
 * the policy and lies on disk; the sender has its receipt. It comes again after a crash until a transaction has given
 * its verdict, so effects made through the transaction (state, messages, verdict) happen exactly once.
 *
 * A transient message (kos_message.delivery) was verified and let in too, and lies in memory only: it comes at most once,
 * or again after KOS_DEFER, and is lost with this process. As long as a handler holds it without a verdict, its sender may
 * send that much less: a slow handler slows its senders. Since 1.0.
 */
#ifndef KOS_HANDLER_H
#define KOS_HANDLER_H

#include <kos/host.h>

#define KOS_HANDLER "kos.handler/1"

struct kos_message {
    uint32_t size;
    int32_t klass;
    uint8_t id[KOS_ID_BYTES];
    uint8_t source_id[KOS_ID_BYTES];
    uint8_t target_id[KOS_ID_BYTES];
    uint8_t reply_to[KOS_ID_BYTES];      /* zeros: none */
    uint8_t agent[KOS_ID_BYTES];         /* the local agent it is for; zeros: the node */
    const char *type;
    const char *source, *target;         /* klp:// texts */
    int64_t created_ms, expires_ms;
    double trust;                        /* the source's score as seen here, 0 to 10 */
    const char *trace;                   /* W3C traceparent or "" */
    const char *source_name;             /* the operator's petname of the source, or its id's text */
    struct kos_bytes payload;            /* canonical JSON object */
    int32_t again;                       /* 1 when it may have been handed over before (after a crash or KOS_DEFER) */
    int32_t batch;                       /* 1: signed together with others (batch signature); 0: plainly */
    uint64_t event;                      /* of the source's key event log: whose key signed */
    uint8_t digest[32];                  /* SHA-256 of the signed body: evidence of what was said */
    int32_t delivery;                    /* enum kos_delivery */
};

/* How the sending of a draft ended. It comes again after a crash until a transaction took note of it. */
struct kos_outcome {
    uint32_t size;
    int32_t status;                      /* KOS_OK: the target's host has it on disk. Else a refusal by name,
                                            KOS_E_EXPIRED, KOS_E_INTERRUPTED: expired after it had been handed to a
                                            link, so nobody knows */
    uint8_t id[KOS_ID_BYTES];            /* of the draft */
    const char *type;
    const char *text;                    /* the other side's sentence, or ours */
};

struct kos_handler {
    uint32_t size;
    const char *const *types;            /* NULL-terminated; the policy decides which of them reach it */
    /* Answer by tx_verdict(message) in a transaction, now or later. `message` is a handle, not the id. */
    void (*handle)(void *self, uint64_t message, const struct kos_message *m);
    /* Of drafts this plugin sent; note it by tx_verdict(message, KOS_ACCEPT). NULL: the host notes it by itself. */
    void (*outcome)(void *self, uint64_t message, const struct kos_outcome *o);
};

#endif
