/* SPDX-License-Identifier: Apache-2.0
 * What operators and senders do at a node. */
#include "sim.h"

#include <stdlib.h>

struct scored {
    struct sim_node *node;
    uint32_t other, life;
};

static void scored(void *arg, int32_t status)
{
    struct scored *scored = arg;
    if (status >= 0 && scored->node->life == scored->life)
        scored->node->score_open[scored->other] = false;
    free(scored);
}

void sim_node_score(struct sim_node *node, uint32_t other, uint8_t score)
{
    struct kos_tx *tx = kos_tx_begin(node->store);
    struct scored *arg = kos_new(sizeof *arg);
    *arg = (struct scored){ node, other, node->life };
    if (kos_trust_set(node->trust, tx, &node->sim->nodes[other].id, score, NULL) < 0) {
        kos_tx_abort(tx);
        free(arg);
        return;
    }
    if (kos_tx_commit(tx, scored, arg) < 0) {
        free(arg); /* the disk takes nothing: all is as it was */
        return;
    }
    if (!node->score_open[other])
        node->score_was[other] = node->score[other];
    node->score[other] = score;
    node->score_open[other] = true;
    sim_note(node->sim, node, "trusts %s with %u", node->sim->nodes[other].name, score);
    kos_mesh_trust_changed(node->mesh);
    sim_wake(node);
}

static void is_durable(void *arg, int32_t status)
{
    struct sim_message *message = arg;
    if (status < 0 || message->transient)
        return;
    message->durable = true;
    sim_note(message->sim, message->from, "message %u is on disk", message->number);
}

void sim_send(struct sim_node *from, struct sim_node *to, struct sim_dice *dice)
{
    struct sim *sim = from->sim;
    if (from->hosting && sim_roll(dice, 2)) {
        sim_hosted_send(from, to, dice);
        return;
    }
    bool calm = sim->options->calm;
    struct sim_message *message = kos_new(sizeof *message);
    uint32_t kind = calm ? 10 : sim_roll(dice, 20);
    message->sim = sim;
    message->from = from;
    message->to = to;
    message->number = ++sim->message_count;
    message->forbidden = kind == 0 && from != to;
    message->task = kind >= 14 && to->has_agents && !to->hosting;
    bool speaks = from->has_agents && (!from->retired || from->thief) && (from->thief || sim_roll(dice, 5) == 0);
    message->forged = from->rogue && from != to;
    struct kos_draft draft = { .size = sizeof draft,
                               .target = "",
                               .type = message->forbidden ? "FORBIDDEN" : "NOTE",
                               .klass = sim_roll(dice, 3) ? KLP_CLASS_INTERACTIVE : KLP_CLASS_BULK };
    message->transient = !message->task && !calm && sim_roll(dice, 6) == 0; /* what runs is asked durably */
    draft.delivery = message->transient ? KOS_TRANSIENT : KOS_DURABLE;
    draft.expires_in_ms = kind < 5 ? 200 + sim_roll(dice, 20000) : 86400000;
    sim_enter(from);
    kos_random(from->env, message->id.b, sizeof message->id.b);
    memcpy(draft.id, message->id.b, sizeof draft.id);
    memcpy(draft.target_id, to->id.b, sizeof draft.target_id);
    if (speaks)
        memcpy(draft.from_agent, from->speaker.b, sizeof draft.from_agent);
    char *payload = kos_format(
        "{\"x\":\"%0*u\"}", (int)(calm ? 400 : 1 + sim_roll(dice, sim_roll(dice, 10) ? 500 : 40000)), message->number);
    draft.payload = kos_bytes_str(payload);
    struct kos_error error = { 0 };
    HASH_ADD(hh, sim->messages, id, sizeof message->id, message);
    struct kos_mesh_tx *tx = kos_mesh_tx_begin(from->mesh);
    kos_mesh_tx_send(tx, "sim", &draft);
    if (kos_mesh_tx_commit(tx, is_durable, message, &error) < 0) {
        sim_note(sim, from, "cannot send to %s: %s", to->name, error.text);
        message->outcome = error.code;
        message->told = true;
    } else {
        sim_note(sim, from, "sends message %u to %s%s%s%s%s%s", message->number, to->name,
                 message->transient ? ", transient" : "", message->task ? ", a task" : "", message->forbidden ? ", forbidden" : "",
                 message->forged ? ", forged" : "", speaks ? ", by its agent" : "");
    }
    free(payload);
    sim_wake(from);
}
