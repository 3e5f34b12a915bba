/* SPDX-License-Identifier: Apache-2.0
 * Private to kos-radio-sim: modems with RNode firmware on pseudo-terminals, and the one medium between them.
 *   kos-radio-sim.c  options, commands, the loop, what is printed
 *   rnode.c          a modem at its serial port
 *   medium.c         airtime, collisions, losses, delays, and who broke the law
 *
 * It shares no code with what it tests: framing and airtime are written here a second time. Times are microseconds of
 * simulated time. */
#ifndef KOS_RADIO_H
#define KOS_RADIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    NODES_MAX = 16,
    FRAME_MAX = 508,
    QUEUE_MAX = 4,
    AIR_MAX = 64,
    FLIGHTS_MAX = 256,
    HISTORY_MAX = 16384,
    PATH_BYTES = 64,
};

struct frame {
    size_t len;
    uint8_t data[FRAME_MAX];
};

struct interval {
    uint64_t start_us, end_us;
};

struct node {
    int number;
    int master, slave;               /* -1: unplugged. The slave end is kept open, so that the plugin may come and go */
    char path[PATH_BYTES];
    /* the serial port */
    uint8_t in[2 * FRAME_MAX + 16];
    size_t in_len;
    bool in_frame, overlong;
    /* the radio */
    uint32_t frequency, bandwidth, spreading, coding, power, limit_short, limit_long;
    bool on;
    unsigned version[2];
    bool mute[256], lie[256];        /* commands it does not answer, or answers with another value */
    struct frame queue[QUEUE_MAX];
    size_t queued;
    uint64_t not_before_us;
    bool sending;
    /* what it did */
    struct interval history[HISTORY_MAX];
    size_t history_from, history_len;
    uint64_t airtime_us, worst_hour_us, sent, bytes, received, lost, collided, deaf, violations, overruns, bad_commands;
    double rssi[NODES_MAX];
};

struct air {
    bool used;
    int from;
    struct frame frame;
    uint64_t start_us, end_us;
    bool spoilt[NODES_MAX], deaf[NODES_MAX];
};

struct flight {                      /* a frame between antenna and serial port */
    bool used;
    int from, to;
    uint64_t due_us;
    struct frame frame;
};

struct sim {
    struct node *nodes;
    int count;
    struct air air[AIR_MAX];
    struct flight flights[FLIGHTS_MAX];
    double speed, loss, duty_percent, capture_db;
    uint64_t delay_us, dwell_limit_us, dwell_window_us;
    bool csma, ready;
    uint32_t preamble;               /* 0: as firmware chooses it */
    uint64_t random;
    uint64_t began_ns, collisions, frames;
    FILE *trace;
};

/* kos-radio-sim.c */
uint64_t sim_now_us(const struct sim *sim);
double sim_random(struct sim *sim);  /* [0, 1) */

/* rnode.c */
bool node_plug(struct node *node);
void node_unplug(struct node *node);
void node_read(struct sim *sim, struct node *node);
void node_write(struct node *node, uint8_t command, const uint8_t *data, size_t len);
void node_heard(struct node *node, const struct frame *frame, double rssi);
void node_sent(struct sim *sim, struct node *node);
void node_reset(struct node *node);

/* medium.c */
uint64_t medium_airtime_us(const struct sim *sim, const struct node *node, size_t bytes);
uint32_t medium_preamble(const struct sim *sim, const struct node *node);
void medium_run(struct sim *sim);
uint64_t medium_next_us(const struct sim *sim);  /* UINT64_MAX: nothing is to come */

#endif
