/* SPDX-License-Identifier: Apache-2.0
 * The parts of bench-carrier: two nodes in processes of their own, what each spends, and what the parent sees of it. */
#ifndef KOS_BENCH_CARRIER_H
#define KOS_BENCH_CARRIER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SENDER, RECEIVER, ENDS };
/* When memory is looked at: one idle session, more of them, and those when an item has come over each. */
enum { ONE, MORE, USED, STAGES };

/* Of one process, counted as it happens; read by the parent. */
struct spent {
    _Atomic uint64_t items, bytes;          /* sender: queued; receiver: plaintext of items that came */
    _Atomic uint64_t calls, allocations;    /* system calls that move bytes or wait; of memory */
    _Atomic int64_t live;                   /* bytes of memory allocated and not given back */
};

/* One way of pumping. */
struct job {
    const char *name, *what;
    uint32_t bytes;                         /* of an item */
    uint8_t klass;
    bool cell;                              /* tcp in a cell, at both ends */
    uint32_t pause_ms;                      /* one item, then nothing for so long; 0: as many as are taken */
    uint32_t sessions;                      /* so many more than one, for their memory; one item over each */
};

struct shared {
    struct spent spent[ENDS];
    _Atomic int port;                       /* the receiver's, once it listens */
    _Atomic int cell[ENDS];                 /* process id of tcp's, where it has one */
    _Atomic bool up;                        /* a session */
    _Atomic int64_t live[ENDS][STAGES];
};

/* carrier_node.c: an instance in `directory`, then a node of it until SIGTERM. The build directory is the current one. */
void node_init(int end, const struct job *job, const char *directory);
_Noreturn void node_run(struct shared *shared, int end, const struct job *job, const char *directory);
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* carrier_count.c: from now on system calls and memory of this process are counted there. */
void count_into(struct spent *spent);

#endif
