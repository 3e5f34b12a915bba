/* SPDX-License-Identifier: Apache-2.0
 *
 * What the peers of the benchmarks share. Each is a program of two processes, as two kosd are: the child receives,
 * counts and answers; the parent sends messages of BYTES and prints one line of JSON. They meet in shared memory, where
 * only counts stand, never messages.
 *
 *   PROGRAM one-way|ask SECONDS WINDOW RATE [where the server is]
 *   PROGRAM serve                                  the same four words on each line of stdin, over one connection, for
 *                                                  peers that take long to find each other
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../latency.h"

enum { PEER_BYTES = 512, PEER_PACE_NS = 250000, PEER_WARM_MS = 500, PEER_SETTLE_MS = 10000 };

struct peer_shared {
    _Atomic uint64_t received;      /* one-way: by the child */
    _Atomic bool ready, met, stop;  /* the child can be sent to; the parent has said who it is; the child is to end */
    _Atomic bool busy;              /* something is being measured: nobody may be idle */
    char text[512], back[512];      /* what the parent has to know to reach the child, and the other way */
};

struct peer {
    bool ask;
    uint64_t seconds_ns, window;
    double rate;                    /* a second; 0: as fast as it goes */
    char **more;                    /* arguments behind the common ones, NULL-terminated */
    struct peer_shared *shared;
    _Atomic uint64_t answered;      /* ask: by whatever thread reads answers */
    struct latency latency;         /* that thread's; begins anew when measuring begins */
    uint64_t sent, start_ns, from_ns;
};

/* What a peer brings. `receive` is the child and returns when shared->stop is set; `connect` is the parent's first act. */
struct peer_ops {
    const char *name;
    void (*receive)(struct peer *peer);
    void (*connect)(struct peer *peer);
    /* Sends one message: true, or false when the library takes none now (a queue is full). */
    bool (*send)(struct peer *peer, const uint8_t data[PEER_BYTES]);
    /* Nothing may be sent for now: takes in answers, or waits for a moment. Called often. */
    void (*idle)(struct peer *peer, bool wait);
    void (*flush)(struct peer *peer); /* NULL: nothing to flush */
};

uint64_t peer_now_ns(void);
void peer_sleep_ns(uint64_t ns);
/* Prints the sentence and ends the program. */
void peer_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* An answer came: the time it took stands in its first eight bytes as when it was sent. */
void peer_answered(struct peer *peer, const uint8_t *data, size_t len);
int peer_main(int argc, char **argv, const struct peer_ops *ops);

#endif
