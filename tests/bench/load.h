/* SPDX-License-Identifier: Apache-2.0
 * The load of the benchmarks: what its two files share. load.c handles, load_send.c sends. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <kos/control.h>
#include <kos/handler.h>
#include <kos/plugin.h>

#include "latency.h"

enum { SETTLE_MAX = 512, BYTES_MIN = 64, BYTES_MAX = 65536, OP_BITS = 2, OP_MASK = 3, OP_LOADED = 1, OP_SETTLED = 2,
       OP_SENT = 3,
       PER_TX_MAX = 1024, OP_SHIFT = 12 /* an operation: number, messages, kind */, TIMER_RETRY = 1, TIMER_END = 2 };

/* One Send: what is asked for, and how far it is. */
struct sending {
    bool on, ask, commit, ending, transient;
    uint64_t call;
    char target[512];
    uint64_t bytes, count, window, per_tx;
    double rate;                    /* a second; 0: as fast as it goes */
    uint64_t start_ns, end_ns;      /* end 0: no time set */
    uint64_t sent, committed, delivered, refused, busy, answered, open_txs;
    uint64_t stopped_ns;            /* the last was given to the host */
    bool waiting;                   /* the host was busy; the timer tries again */
    char why[200];                  /* of the first refusal that is not for busyness */
    char *payload;
};

struct load {
    const struct kos_host *host;
    const struct kos_control_host *control;
    uint64_t next;                  /* transactions and operations */
    uint64_t handled, again, unsettled;
    int64_t expires_ms;
    bool gather, posted, settle_durable;
    uint32_t settle_count, settle_handled;
    uint64_t settle[SETTLE_MAX];
    struct latency latency;         /* of answers, or from the sender's clock to this handler on one machine */
    struct sending sending;
    int pace;                       /* timerfd of a rate, -1: none */
};

void load_call(void *self, uint64_t call, const char *method, struct kos_bytes parameters, uint32_t flags);
void load_hangup(void *self, uint64_t call);
void load_timer(void *self, uint64_t timer);
void load_ready(void *self, int32_t fd, int32_t events);
/* A transaction with so many messages is through, or refused. */
void load_committed(struct load *load, uint32_t messages, int32_t status, struct kos_bytes result);
void load_outcome(struct load *load, int32_t status);
/* Whether the answer belongs to what is being sent now. */
bool load_answered(struct load *load, uint64_t at_ns);
void load_end(struct load *load);

#endif
