/* SPDX-License-Identifier: Apache-2.0
 * What is done to the world. Each step draws from dice of its own, so leaving one out changes no other. */
#include "sim.h"

enum { WALL_MS = 1000 };

static const int64_t began_ms = 1767225600000; /* what manual.h says a clock shows at first */

static int64_t true_wall(const struct sim *sim)
{
    return began_ms + (int64_t)(sim->now / SIM_MS) - WALL_MS;
}

static struct sim_node *some_peer(struct sim *sim, const struct sim_node *node, struct sim_dice *dice)
{
    static const uint32_t strides[] = { 1, 7, 31 };
    if (sim->count > SIM_SCORES)
        return &sim->nodes[(node->index + strides[sim_roll(dice, 3)]) % sim->count];
    return &sim->nodes[sim_roll(dice, sim->count)];
}

static void part(struct sim *sim, struct sim_dice *dice)
{
    uint32_t a = sim_roll(dice, sim->count), b = sim_roll(dice, sim->count);
    size_t at = (size_t)a * sim->count + b;
    if (a == b)
        return;
    sim_note(sim, NULL, "nothing passes between %s and %s", sim->nodes[a].name, sim->nodes[b].name);
    sim->apart[at] = 1;
    sim_at(sim, sim->now + (1 + sim_roll(dice, 40)) * SIM_SECOND, SIM_HEAL, NULL, at);
}

static void spoil_disk(struct sim_node *node, struct sim_dice *dice)
{
    struct sim *sim = node->sim;
    uint32_t kind = sim_roll(dice, 4);
    uint64_t nth = 1 + sim_roll(dice, 30);
    if (kind == 3 && sim->lies) {
        sim_note(sim, node, "its disk lies");
        kos_manual_lie(node->manual, true);
        node->lying = node->lied = true;
    } else if (kind == 0) {
        sim_note(sim, node, "its disk fails once");
        kos_manual_fail_file_once(node->manual, nth, KOS_E_IO);
    } else {
        sim_note(sim, node, "its disk %s", kind == 1 ? "fails" : "is full");
        kos_manual_fail_files(node->manual, nth, kind == 1 ? KOS_E_IO : KOS_E_NOSPACE);
    }
    sim_at(sim, sim->now + (1 + sim_roll(dice, 8)) * SIM_SECOND, SIM_HEAL, node, 0);
}

static void set_clock(struct sim_node *node, struct sim_dice *dice)
{
    static const int64_t spans[] = { 1000, 10000, 60000, 240000 };
    int64_t span = spans[sim_roll(dice, 4)], by = (int64_t)sim_roll(dice, (uint32_t)(2 * span)) - span;
    sim_enter(node);
    kos_manual_set_wall(node->manual, true_wall(node->sim) + by);
    sim_note(node->sim, node, "its clock is %lld ms %s", (long long)(by < 0 ? -by : by), by < 0 ? "late" : "early");
}

/* The key of its agent is revoked, which the others learn; a copy of it was made before. */
static void retire(struct sim_node *node)
{
    struct sim *sim = node->sim;
    struct kos_error error;
    uint8_t *text;
    size_t len;
    if (!node->has_agents || node->retired || sim->count > SIM_SCORES)
        return;
    sim_enter(node);
    if (kos_keys_agent_retire(node->keys, &node->speaker, &error) < 0)
        return;
    node->retired = true;
    sim_note(sim, node, "revokes the key of its agent");
    sim_node_agents(node);
    sim_wake(node);
    const struct klp_log *log = kos_identity_log(kos_keys_find(node->keys, &node->speaker));
    if (klp_log_text(log, 0, &text, &len) < 0)
        return;
    for (uint32_t i = 0; i < sim->count; i++) {
        struct sim_node *other = &sim->nodes[i];
        struct klp_id id;
        if (other == node || !other->up || other->stopping)
            continue;
        sim_enter(other);
        struct kos_tx *tx = kos_tx_begin(other->store);
        (void)kos_trust_learn(other->trust, tx, kos_bytes(text, len), &id, NULL);
        (void)kos_tx_commit(tx, NULL, NULL);
        sim_wake(other);
    }
    free(text);
}

/* Who stole the key speaks with it, from the same node: an old copy of its directory, come back. */
static void steal(struct sim_node *node)
{
    if (!node->retired || node->thief || node->index == 0)
        return;
    sim_node_crash(node, false, SIM_SECOND);
    sim_enter(node);
    sim_node_give_back(node);
    node->thief = true;
    sim_note(node->sim, node, "is run with a stolen key");
}

static void crash(struct sim_node *node, struct sim_dice *dice)
{
    uint64_t back_ns = (1 + sim_roll(dice, 60)) * 100 * (uint64_t)SIM_MS;
    bool torn = sim_roll(dice, 2);
    if (sim_roll(dice, 4) == 0)
        node->start_fault = 1 + sim_roll(dice, 120);
    if (sim_roll(dice, 3)) { /* at one of the next operations on files */
        node->crash_ops = kos_manual_file_ops(node->manual) + 1 + sim_roll(dice, 40);
        node->crash_torn = torn;
        node->back_ns = back_ns;
        kos_manual_fail_files(node->manual, node->crash_ops - kos_manual_file_ops(node->manual), KOS_E_IO);
        sim_note(node->sim, node, "will lose power within %llu operations",
                 (unsigned long long)(node->crash_ops - kos_manual_file_ops(node->manual)));
    } else {
        sim_node_crash(node, torn, back_ns);
    }
}

static void send_some(struct sim *sim, struct sim_node *node, struct sim_dice *dice)
{
    for (uint32_t n = sim->options->calm ? 1 : 1 + sim_roll(dice, 4); n; n--)
        sim_send(node, some_peer(sim, node, dice), dice);
}

void sim_act(struct sim *sim, uint32_t step)
{
    struct sim_dice dice = sim_dice(sim->options->seed, 100 + step);
    struct sim_node *node = &sim->nodes[sim_roll(&dice, sim->count)];
    uint32_t kind = sim->options->calm ? 0 : sim_roll(&dice, 100);
    if (!node->up || node->stopping)
        return;
    sim_enter(node);
    if (kind < 45)
        send_some(sim, node, &dice);
    else if (kind < 52)
        sim_cut(node, NULL, false);
    else if (kind < 55)
        sim_cut(node, NULL, true);
    else if (kind < 60)
        part(sim, &dice);
    else if (kind < 68)
        crash(node, &dice);
    else if (kind < 70)
        sim_node_stop(node, sim_roll(&dice, 30) * 100 * (uint64_t)SIM_MS);
    else if (kind < 76)
        spoil_disk(node, &dice);
    else if (kind < 81)
        set_clock(node, &dice);
    else if (kind < 85 && sim->count <= SIM_SCORES) {
        uint32_t other = sim_roll(&dice, sim->count);
        if (other != node->index)
            sim_node_score(node, other, sim_roll(&dice, 2) ? 8 : 2);
    } else if (kind < 88)
        node->defers = sim_roll(&dice, 4);
    else if (kind < 91)
        node->slow_ns = sim_roll(&dice, 3000) * (uint64_t)SIM_MS;
    else if (kind < 95)
        kos_manual_slow_work(node->manual, sim_roll(&dice, 300) * (uint64_t)SIM_MS);
    else if (kind < 97)
        sim_node_policy(node, sim_roll(&dice, 2) ? 5 : 9);
    else if (kind < 99)
        retire(node);
    else
        steal(node);
}

/* All that goes wrong ends; what was asked for must come to its end too. */
void sim_calm(struct sim *sim)
{
    if (!sim->calming)
        sim_note(sim, NULL, "calm");
    sim->calming = true;
    memset(sim->apart, 0, (size_t)sim->count * sim->count);
    for (uint32_t i = 0; i < sim->count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (sim->result->failed || node->broken)
            continue;
        sim_enter(node);
        if (!node->crash_ops)
            kos_manual_fail_files(node->manual, 0, KOS_OK);
        kos_manual_lie(node->manual, false);
        kos_manual_slow_work(node->manual, 0);
        kos_manual_set_wall(node->manual, true_wall(sim));
        node->defers = 0;
        node->slow_ns = 0;
        node->start_fault = 0;
        if (node->crash_ops && node->up)
            sim_node_crash(node, node->crash_torn, 0);
        if (!node->up && !sim_node_start(node))
            continue;
        if (node->stopping)
            continue;
        for (uint32_t k = 0; k < sim->count && k < SIM_SCORES; k++)
            if (k != i && node->score[k] && node->score[k] != 8)
                sim_node_score(node, k, 8);
        if (node->need != 5)
            sim_node_policy(node, 5);
        kos_mesh_owner_back(node->mesh, "sim");
        sim_wake(node);
    }
}
