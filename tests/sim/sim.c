/* SPDX-License-Identifier: Apache-2.0
 * The clock of the world and the run from its first event to its last. */
#include "sim.h"

#include <stdarg.h>
#include <stdlib.h>

/* A slow link is found dead after a day. */
enum { CALM_SECONDS = 3600, CALM_SECONDS_SLOW = 2 * 86400, CALM_LEAST = 60 };

struct sim *sim_world;

struct sim_dice sim_dice(uint64_t seed, uint64_t salt)
{
    /* splitmix64 (Steele and others 2014), so that seeds and salts near each other give numbers that are not. */
    uint64_t z = seed * UINT64_C(0x9e3779b97f4a7c15) + salt * UINT64_C(0xd1342543de82ef95) + 1;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (struct sim_dice){ (z ^ (z >> 31)) | 1 };
}

uint32_t sim_roll(struct sim_dice *dice, uint32_t sides)
{
    dice->state ^= dice->state >> 12;
    dice->state ^= dice->state << 25;
    dice->state ^= dice->state >> 27;
    return sides ? (uint32_t)((dice->state * UINT64_C(2685821657736338717)) >> 33) % sides : 0;
}

void sim_digest(struct sim *sim, const void *data, size_t len)
{
    crypto_generichash_update(&sim->digest, data, len);
}

void sim_note(struct sim *sim, const struct sim_node *node, const char *format, ...)
{
    char text[512];
    va_list args;
    int at = snprintf(text, sizeof text, "%12.6f %-6s ", (double)sim->now / 1e9, node ? node->name : "");
    va_start(args, format);
    vsnprintf(text + at, sizeof text - (size_t)at, format, args);
    va_end(args);
    sim_digest(sim, text, strlen(text));
    if (sim->options->trace)
        fprintf(sim->options->trace, "%s\n", text);
}

void sim_fail(struct sim *sim, const char *kind, const char *format, ...)
{
    struct sim_result *result = sim->result;
    va_list args;
    if (result->failed)
        return;
    result->failed = 1;
    result->at_ns = sim->now;
    snprintf(result->kind, sizeof result->kind, "%s", kind);
    va_start(args, format);
    vsnprintf(result->what, sizeof result->what, format, args);
    va_end(args);
    sim_note(sim, NULL, "FAILED %s: %s", kind, result->what);
}

/* ---- events, least (at, order) first ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void sim_at(struct sim *sim, uint64_t at, int32_t kind, void *what, uint64_t number)
{
    if (sim->heap_count == sim->heap_cap) {
        sim->heap_cap = sim->heap_cap ? sim->heap_cap * 2 : 1024;
        sim->heap = realloc(sim->heap, sim->heap_cap * sizeof *sim->heap);
        if (!sim->heap)
            abort();
    }
    struct sim_event event = { at < sim->now ? sim->now : at, sim->order++, kind, what, number };
    size_t i = sim->heap_count++;
    for (; i && before(&event, &sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
        sim->heap[i] = sim->heap[(i - 1) / 2];
    sim->heap[i] = event;
}

static struct sim_event next_event(struct sim *sim)
{
    struct sim_event first = sim->heap[0], last = sim->heap[--sim->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < sim->heap_count; i = child) {
        if (child + 1 < sim->heap_count && before(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!before(&sim->heap[child], &last))
            break;
        sim->heap[i] = sim->heap[child];
    }
    if (sim->heap_count)
        sim->heap[i] = last;
    return first;
}

static void happen(struct sim *sim, const struct sim_event *event)
{
    struct sim_node *node = event->what;
    switch (event->kind) {
    case SIM_TURN:
        if (node->turn_at != event->at)
            return; /* an earlier one took its place */
        node->turn_at = UINT64_MAX;
        sim_node_turn(node);
        break;
    case SIM_LINK: sim_link_event(sim, event->what); break;
    case SIM_LEFT: sim_link_left(sim, event->what, event->number); break;
    case SIM_LOST: sim_link_lost(sim, event->what); break;
    case SIM_ACT:
        sim->steps_left--;
        if (!sim->options->off || !sim->options->off[event->number])
            sim_act(sim, (uint32_t)event->number);
        break;
    case SIM_SETTLE: sim_node_settle(node, event->number); break;
    case SIM_EXIT: sim_node_task_exit(node, event->number); break;
    case SIM_UP:
        if (!node->up && !node->broken && node->life == event->number && !sim_node_start(node))
            sim_at(sim, sim->now + SIM_SECOND, SIM_UP, node, node->life);
        break;
    case SIM_HEAL:
        if (node) {
            kos_manual_fail_files(node->manual, 0, KOS_OK);
            kos_manual_lie(node->manual, false);
        } else {
            sim->apart[event->number] = 0;
        }
        break;
    default: abort();
    }
}

static void run_until(struct sim *sim, uint64_t until)
{
    while (!sim->result->failed && sim->heap_count && sim->heap[0].at <= until) {
        struct sim_event event = next_event(sim);
        sim->now = event.at;
        sim->result->events++;
        happen(sim, &event);
    }
    if (!sim->result->failed)
        sim->now = until;
}

/* ---- the run ---- */

static void choose(struct sim *sim)
{
    const struct sim_options *options = sim->options;
    struct sim_dice dice = sim_dice(options->seed, 1);
    sim->count = 2 + sim_roll(&dice, 3);
    sim->steps = 120 + sim_roll(&dice, 120);
    sim->air = (struct sim_air){ .window = 4000 + sim_roll(&dice, 300000),
                                 .delay_ns = sim_roll(&dice, 30) * SIM_MS,
                                 .jitter_ns = sim_roll(&dice, 20) * SIM_MS + 1 };
    sim->air.split = sim_roll(&dice, 2) ? 0 : 200 + sim_roll(&dice, 3000);
    sim->datagrams_too = sim_roll(&dice, 2);
    sim->lies = sim_roll(&dice, 4) == 0;
    sim->rogue = sim_roll(&dice, 4) == 0;
    sim->hosted = sim_roll(&dice, 3) == 0 && options->hosted_too;
    sim->air.mtu = MESH_MTU_MIN + sim_roll(&dice, 3000);
    sim->air.loss = sim_roll(&dice, 150);
    sim->air.twice = sim_roll(&dice, 150);
    sim->air.altered = sim_roll(&dice, 40);
    sim->air.late = sim_roll(&dice, 300);
    sim->air.late_ns = sim_roll(&dice, 400) * SIM_MS + 1;
    bool slow = sim_roll(&dice, 3) == 0;
    uint64_t bits = 5000 + sim_roll(&dice, 200000), airtime = 600000 + sim_roll(&dice, 3000000);
    if (slow && sim->datagrams_too) {
        sim->air.bits_per_second = bits;
        sim->air.airtime_ms = airtime;
        sim->air.mtu = MESH_MTU_MIN + sim->air.mtu % 400;
    }
    if (sim->air.window < sim->air.mtu)
        sim->air.window = sim->air.mtu;
    if (options->nodes)
        sim->count = options->nodes;
    if (options->steps)
        sim->steps = options->steps;
    if (options->calm) {
        sim->datagrams_too = sim->lies = sim->rogue = sim->hosted = false;
        sim->air = (struct sim_air){ .window = 262144, .delay_ns = SIM_MS, .jitter_ns = 1 };
        sim->steps = options->messages;
    }
}

static void begin(struct sim *sim)
{
    struct sim_dice dice = sim_dice(sim->options->seed, 2);
    sim->nodes = kos_new(sim->count * sizeof *sim->nodes);
    sim->apart = kos_new((size_t)sim->count * sim->count);
    for (uint32_t i = 0; i < sim->count; i++)
        sim_node_make(sim, i);
    for (uint32_t i = 0; i < sim->count; i++) {
        /* All know each other where they are few; else each some. */
        static const uint32_t strides[] = { 1, 7, 31 };
        if (sim->count <= SIM_SCORES)
            for (uint32_t k = 0; k < sim->count; k++)
                sim_node_meet(&sim->nodes[i], &sim->nodes[k], i < k || sim_roll(&dice, 2));
        else
            for (uint32_t k = 0; k < 3; k++) {
                struct sim_node *other = &sim->nodes[(i + strides[k]) % sim->count];
                sim_node_meet(&sim->nodes[i], other, true);
                sim_node_meet(other, &sim->nodes[i], false);
            }
    }
    for (uint32_t i = 0; i < sim->count; i++)
        sim_node_made(&sim->nodes[i]);
    for (uint32_t i = 0; i < sim->count && !sim->result->failed; i++)
        if (!sim_node_start(&sim->nodes[i]))
            sim_fail(sim, "start", "%s does not start: %s", sim->nodes[i].name,
                     kos_manual_logged(sim->nodes[i].manual));
}

static void end(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->count; i++)
        sim_node_free(&sim->nodes[i]);
    sim_ends_free(sim);
    struct sim_message *message, *next;
    HASH_ITER(hh, sim->messages, message, next)
    {
        HASH_DEL(sim->messages, message);
        free(message);
    }
    free(sim->nodes);
    free(sim->apart);
    free(sim->heap);
}

void sim_run(const struct sim_options *options, struct sim_result *ret_result)
{
    struct sim sim = { .options = options, .result = ret_result, .now = SIM_SECOND };
    memset(ret_result, 0, sizeof *ret_result);
    sim_world = &sim;
    crypto_generichash_init(&sim.digest, NULL, 0, sizeof ret_result->digest);
    choose(&sim);
    begin(&sim);
    struct sim_dice dice = sim_dice(options->seed, 3);
    uint64_t at = sim.now + 3 * SIM_SECOND;
    for (uint32_t step = 0; step < sim.steps; step++, sim.steps_left++)
        sim_at(&sim, at += sim_roll(&dice, options->calm ? 2 : 600) * (uint64_t)SIM_MS, SIM_ACT, NULL, step);
    run_until(&sim, at);
    sim_calm(&sim);
    uint32_t most = sim.air.bits_per_second ? CALM_SECONDS_SLOW : CALM_SECONDS;
    for (uint32_t second = 0; second < most && !ret_result->failed && (second < CALM_LEAST || !sim_drained(&sim));
         second += 10) {
        run_until(&sim, sim.now + 10 * SIM_SECOND);
        sim_calm(&sim);
    }
    if (!ret_result->failed)
        sim_check_end(&sim);
    ret_result->nodes = sim.count;
    ret_result->steps = sim.steps;
    ret_result->messages = sim.message_count;
    ret_result->at_ns = sim.now;
    end(&sim);
    crypto_generichash_final(&sim.digest, ret_result->digest, sizeof ret_result->digest);
    sim_world = NULL;
}
