/* SPDX-License-Identifier: Apache-2.0
 *
 * What client, spawner and keepers say to each other: fixed structs, one per packet, checked on both sides. Private to
 * spawn.
 *
 * The client makes three pipes and a channel (a SOCK_SEQPACKET pair) for each start and sends the command's ends with
 * the request. The spawner forks a keeper, which holds the other end of the channel: it reports to the client directly,
 * takes its orders, and reads the client's death as the end of the channel.
 */
#ifndef KOS_SPAWN_WIRE_H
#define KOS_SPAWN_WIRE_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <kos/err.h>

enum { SPAWN_READ_MAX = 4096, SPAWN_MAGIC = 0x6b6f7331, SPAWN_COMMAND_MAX = 8192, SPAWN_NAME_MAX = 64, SPAWN_TEXT_MAX = 400 };
/* Descriptors that travel with a request: an agent's, and a cell's. */
enum { SPAWN_CHANNEL = 0, SPAWN_STDIN = 1, SPAWN_STDOUT = 2, SPAWN_STDERR = 3, SPAWN_FDS = 4 };
enum { SPAWN_CELL_SOCKET = 1, SPAWN_CELL_STDERR = 2, SPAWN_CELL_FDS = 3 };
/* To look at a module takes as many as a cell: channel, and twice where the answer goes. */
enum { SPAWN_LOOK_OUT = 1 };
enum spawn_kind { SPAWN_AGENT = 1, SPAWN_CELL = 2, SPAWN_LOOK = 3 /* kos-cell --describe */ };

/* None of them is 0: the client fills in the defaults. cpu_seconds UINT64_MAX: unlimited. */
struct spawn_limits {
    uint64_t memory_bytes, file_bytes, open_files, processes, cpu_seconds;
};

struct spawn_start {
    uint32_t magic, size;
    uint32_t kind;                     /* enum spawn_kind */
    uint32_t allow;                    /* of a cell: enum kos_cell_allow */
    struct spawn_limits limits;
    char name[SPAWN_NAME_MAX];         /* these four end with a NUL inside the array */
    char directory[PATH_MAX];          /* absolute; of a cell: "" none */
    char command[SPAWN_COMMAND_MAX];   /* of a cell, a look: the program, absolute */
    char module[PATH_MAX];             /* of a cell, a look: absolute */
    char read[SPAWN_READ_MAX];         /* of a cell: absolute paths, each with its NUL, then another NUL */
};

enum spawn_order_type { SPAWN_TERM = 1, SPAWN_KILL = 2 };
struct spawn_order {                   /* client to keeper */
    uint32_t magic, type;
};

enum spawn_event_type { SPAWN_STARTED = 1, SPAWN_FAILED = 2, SPAWN_ENDED = 3 };
struct spawn_event {                   /* keeper, or spawner in its stead, to client */
    uint32_t magic, type;
    int32_t code;                      /* FAILED: why; ENDED: KOS_OK, or KOS_E_LIMIT when the keeper ended it */
    int32_t status;                    /* ENDED: waitpid's */
    int64_t pid;                       /* STARTED */
    uint64_t peak_bytes;               /* ENDED: the most memory one process had resident */
    char text[SPAWN_TEXT_MAX];         /* with code: a sentence that ends with a NUL inside the array */
};

struct kos_cell_look;
/* ---- client.c ---- */
/* Any thread: a packet is taken whole or not at all. KOS_E_BUSY, or KOS_E_CLOSED: the spawner is gone. */
int32_t spawn_send(int fd, struct spawn_start *start, const int *theirs, size_t count);
/* ---- look.c: kos_cell_launcher_ops.look and look_end, for the socket that leads to the spawner ---- */
int32_t spawn_look(int fd, const char *program, const char *module, struct kos_cell_look *ret_look,
                   struct kos_error *ret_error);
int32_t spawn_look_end(struct kos_cell_look *look, uint32_t timeout_ms, int *ret_status, struct kos_error *ret_error);

#endif
