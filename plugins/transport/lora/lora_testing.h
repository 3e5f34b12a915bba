/* SPDX-License-Identifier: Apache-2.0
 * What the tests of transport/lora share: instances of the plugin under the small host of sdk/examples, and kos-radio-sim,
 * which gives them modems at real pseudo-terminals and the medium between. */
#ifndef KOS_LORA_TESTING_H
#define KOS_LORA_TESTING_H

#include "unit.h"
#include "../../../sdk/examples/poll_host.h"
#include "lora.h"

#include <stdio.h>

enum { NODES = 4, LINKS = 80, TURNS = 60000 };

struct seen_link {
    uint64_t id, endpoint, credit, window;
    struct kos_link_info info;
    char remote[24], local[24];
    int ups, downs, received;
    int32_t status;
    char text[LORA_TEXT];
    uint8_t last[KISS_DATA_MAX];
    size_t last_len;
};

struct node {
    struct poll_host *host;
    struct seen_link links[LINKS];
    size_t count;
    int endpoint_ups, endpoint_downs;
    int32_t endpoint_status;
    char endpoint_text[LORA_TEXT], address[64], log[KOS_LOG_TEXT_MAX], reply[8192];
    int replies, events, calling;
    int32_t reply_status;
};
extern struct node nodes[NODES];

struct sim {
    pid_t pid;
    FILE *in, *out;
    char paths[NODES][64];
    char stats[16384];
};
extern struct sim sim;

/* ---- the simulated radio ---- */

void sim_begin(const char *const *more);
void sim_tell(const char *command);
void sim_plugged(const char *line);                 /* a line "node N PATH" */
double sim_number(int node, const char *name);      /* of a node, -1: of the whole */

/* ---- the plugin; a call through CALL is watched: nothing may be told inside ---- */

const struct kos_transport *lora(void);
void *self(struct node *n);
#define CALL(node_, ...) ((node_)->calling++, lora()->__VA_ARGS__, (node_)->calling--)

bool try_settings(int number, const char *const *more, struct kos_error *ret_error);
void begin(int number, const char *const *more);
void run(void);
void finish(void);                                  /* every instance, then the simulator */
void on_air(int number, const char *const *more);   /* listening as 0x100 + number */
void all_on_air(int count, const char *const *more);
struct seen_link *seen(struct node *n, uint64_t id);
struct seen_link *dial(struct node *n, uint64_t id, int to);
struct seen_link *accepted(struct node *n, int from);
bool say(struct node *n, struct seen_link *l, const void *data, size_t len);   /* false: no credit */
void grant(struct node *n, struct seen_link *l, uint64_t bytes);
void status(struct node *n);                        /* into n->reply */
double status_number(struct node *n, const char *name);

#define UNTIL(condition_)                                                                \
    do {                                                                                 \
        for (int n_ = 0; !(condition_); n_++) {                                          \
            ck_assert_msg(n_ < TURNS, "nothing more happens before %s", #condition_);     \
            run();                                                                       \
        }                                                                                \
    } while (0)

#endif
