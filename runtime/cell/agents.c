/* SPDX-License-Identifier: Apache-2.0
 * The node's agents as the host told them last: kos.agents/1 answers at once, in a cell too. */
#include "cell/cell.h"

#include <stdlib.h>

#include "core/buf.h"

enum { AGENTS_MAX = 1 << 16, SKILLS_MAX = 256 };

bool cell_agents_read(struct kos_frame *frame, struct cell_agents *agents)
{
    struct kos_frame_reader in = kos_frame_read(frame);
    const char *skills[SKILLS_MAX + 1];
    struct cell_agents a = { .frame = frame };
    uint64_t count = kos_get_u64(&in);
    if (in.bad || count > AGENTS_MAX) {
        kos_frame_free(frame);
        return false;
    }
    a.all = kos_new((count + 1) * sizeof *a.all);
    a.skills = kos_new((count + 1) * sizeof *a.skills);
    for (; a.count < count && !in.bad; a.count++) {
        struct kos_agent_info *info = &a.all[a.count];
        kos_get_struct(&in, info, sizeof *info);
        info->name = kos_get_text(&in);
        info->address = kos_get_text(&in);
        const char *const *texts = kos_get_texts(&in, skills, SKILLS_MAX);
        size_t n = 0;
        while (texts && texts[n])
            n++;
        a.skills[a.count] = kos_new((n + 1) * sizeof *skills);
        memcpy(a.skills[a.count], skills, n * sizeof *skills);
        info->skills = a.skills[a.count];
        in.bad = in.bad || !info->name || !info->address;
    }
    if (!kos_frame_done(&in)) {
        cell_agents_fini(&a);
        return false;
    }
    cell_agents_fini(agents);
    *agents = a;
    return true;
}

void cell_agents_fini(struct cell_agents *agents)
{
    for (size_t i = 0; i < agents->count; i++)
        free(agents->skills[i]);
    free(agents->skills);
    free(agents->all);
    kos_frame_free(agents->frame);
    *agents = (struct cell_agents){ 0 };
}

const struct kos_agent_info *cell_agents_by_id(const struct cell_agents *agents, const uint8_t id[KOS_ID_BYTES])
{
    for (size_t i = 0; i < agents->count; i++)
        if (memcmp(agents->all[i].id, id, KOS_ID_BYTES) == 0)
            return &agents->all[i];
    return NULL;
}

const struct kos_agent_info *cell_agents_by_name(const struct cell_agents *agents, const char *name)
{
    for (size_t i = 0; i < agents->count; i++)
        if (strcmp(agents->all[i].name, name) == 0)
            return &agents->all[i];
    return NULL;
}
