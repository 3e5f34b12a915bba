/* SPDX-License-Identifier: Apache-2.0
 * The parts of kos-cell, which hosts one plugin in a process of its own, or says what a module is. Private to cell. */
#ifndef KOS_CELL_CELL_H
#define KOS_CELL_CELL_H

#include <jansson.h>
#include "driver/remote.h"

enum { CELL_CHANNEL_FD = 3 };

/* ---- serve.c ---- */
/* A plugin on the channel, until kosd closes it or the plugin has finished. The exit status. */
int cell_serve(void);
/* ---- describe.c ---- */
int cell_describe(const char *path);
/* ---- begin.c: what a beginning says, copied out of its frame ---- */
struct cell_begin {
    struct kos_driver_spec spec;
    json_t *description;
    int32_t log_level;
    const char **features;              /* given; NULL-terminated */
    struct kos_conf conf;
    struct kos_value *values;
    const struct kos_value **pointers;
    struct kos_frame *frame;            /* all texts lie in it */
};
/* Takes the frame. False: malformed. */
bool cell_begin_read(struct kos_frame *frame, struct cell_begin *ret_begin);
void cell_begin_fini(struct cell_begin *begin);
/* ---- agents.c: the registry's copy ---- */
struct cell_agents {
    struct kos_frame *frame;
    size_t count;
    struct kos_agent_info *all;
    const char ***skills;
};
bool cell_agents_read(struct kos_frame *frame, struct cell_agents *agents);
void cell_agents_fini(struct cell_agents *agents);
const struct kos_agent_info *cell_agents_by_id(const struct cell_agents *agents, const uint8_t id[KOS_ID_BYTES]);
const struct kos_agent_info *cell_agents_by_name(const struct cell_agents *agents, const char *name);

#endif
