/* SPDX-License-Identifier: Apache-2.0
 * What peers.c and flood.c share. Private to tests/pressure. */
#ifndef PRESSURE_PEERS_H
#define PRESSURE_PEERS_H

#include <uthash.h>

#include "speaker.h"

struct quiet;
struct peers {
    struct speaker *speakers;
    uint32_t count;
    struct quiet *quiet;
    bool replies; /* the messages of this run are answered */
};

/* Reads and writes on all, waiting at most so long for something to happen. */
void peers_turn(struct peers *peers, int timeout_ms);
/* One of them (the first) floods; says on stdout what became of it. */
void flood(struct peers *peers, double seconds, const char *kind, const char *type, const char *target);

#endif
