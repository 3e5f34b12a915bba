/* SPDX-License-Identifier: Apache-2.0
 * What must hold. The judgement of a message is checked where the mesh is about to remember it (mesh_dedupe_put): by
 * what the simulator knows of it, never by what the mesh thinks. */
#include "sim.h"

#include <stdlib.h>

struct sim_message *sim_message_find(struct sim *sim, const uint8_t *id)
{
    struct sim_message *message;
    HASH_FIND(hh, sim->messages, id, sizeof message->id, message);
    return message;
}

void sim_check_accept(struct sim_node *node, const struct klp_message *parsed)
{
    struct sim *sim = node->sim;
    struct sim_message *message = sim_message_find(sim, parsed->id.b);
    const struct klp_log *log = kos_trust_log(node->trust, &parsed->source_id);
    int64_t now = kos_now_ms(node->env);
    if (!message) {
        sim_fail(sim, "signature", "%s accepts a message that nobody sent", node->name);
        return;
    }
    message->accepted++;
    sim_note(sim, node, "accepts message %u", message->number);
    if (message->to != node)
        sim_fail(sim, "wrong_node", "%s accepts message %u, which is for %s", node->name, message->number,
                 message->to->name);
    if (parsed->expires < now)
        sim_fail(sim, "expired", "%s accepts message %u %lld ms after it expired", node->name, message->number,
                 (long long)(now - parsed->expires));
    if (parsed->expires < node->known_ms && !node->lied)
        sim_fail(sim, "expired", "%s accepts message %u, which expired %lld ms before a time that it had on disk",
                 node->name, message->number, (long long)(node->known_ms - parsed->expires));
    const struct klp_event *head = log ? klp_log_head(log) : NULL;
    /* What was made before the revocation may still come in, for as long as the revocation says. */
    if (head && sim_log_revoked(log) &&
        (parsed->created >= head->created || now > head->created + (int64_t)head->grace_ms))
        sim_fail(sim, "signature", "%s accepts message %u, signed by a key that it knows to be revoked", node->name,
                 message->number);
    else if (message->forged)
        sim_fail(sim, "signature", "%s accepts message %u, whose signature does not hold", node->name, message->number);
    if (message->forbidden)
        sim_fail(sim, "policy", "%s accepts message %u of a type that its policy blocks", node->name, message->number);
    uint32_t from = message->from->index;
    if (from < SIM_SCORES && !message->answer && message->from != node && node->score[from] < node->need &&
        !(node->score_open[from] && node->score_was[from] >= node->need))
        sim_fail(sim, "policy", "%s accepts message %u from %s, whom it trusts with %u where %u is asked", node->name,
                 message->number, message->from->name, node->score[from], node->need);
}

static void bound(struct sim_node *node, const char *what, uint64_t is, uint64_t limit)
{
    if (is > limit)
        sim_fail(node->sim, "bounds", "%s holds %llu %s, the limit is %llu", node->name, (unsigned long long)is, what,
                 (unsigned long long)limit);
}

void sim_check_turn(struct sim_node *node)
{
    const struct kos_mesh *mesh = node->mesh;
    if (node->sim->options->calm)
        return;
    bound(node, "bytes in its outbox", mesh->outbox_bytes, SIM_OUTBOX);
    for (const struct mesh_lane *lane = mesh->lanes; lane; lane = lane->hh.next)
        bound(node, "messages of one type offered to its handler", lane->offered, SIM_INBOX);
    bound(node, "links", HASH_COUNT(mesh->links), 64);
    bound(node, "half-open links", mesh->half_open, 32);
    for (const struct mesh_peer *peer = mesh->peers; peer; peer = peer->hh.next) {
        bound(node, "bytes in its outbox for one target", peer->bytes, SIM_OUTBOX_TARGET);
        bound(node, "messages of one peer in its inbox", peer->stored, SIM_INBOX);
    }
    for (const struct mesh_link *link = mesh->links; link; link = link->hh.next) {
        bound(node, "bytes taken from a link", link->in.len + link->early.len, MESH_LINK_WINDOW);
        if (!link->session)
            continue;
        for (int klass = 0; klass < KLP_CLASSES; klass++)
            bound(node, "bytes queued on a session", link->session->queue[klass].bytes,
                  klass == KLP_CLASS_CONTROL ? MESH_QUEUE_LIMIT : MESH_QUEUE_ROOM + KLP_ITEM_MAX);
        if (link->session->arq)
            bound(node, "bytes put in order", link->session->arq->in_bytes, MESH_REORDER_BYTES + 65536);
    }
}

/* After a start: what of the operator's words was on disk. */
void sim_check_started(struct sim_node *node)
{
    struct sim *sim = node->sim;
    for (uint32_t i = 0; i < sim->count && i < SIM_SCORES; i++) {
        if (i == node->index || !node->score[i])
            continue;
        double score = kos_trust_score(node->trust, &sim->nodes[i].id);
        bool was = node->score_open[i] && score == node->score_was[i];
        if (score != node->score[i] && !was && !node->lied)
            sim_fail(sim, "score", "%s trusts %s with %g after its start, the operator said %u", node->name,
                     sim->nodes[i].name, score, node->score[i]);
        node->score[i] = (uint8_t)score;
        node->score_open[i] = false;
    }
}

static bool anything_broken(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->count; i++)
        if (sim->nodes[i].broken)
            return true;
    return false;
}

static const char *const queues[] = { "outbox", "handed", "ended", "inbox", "started" };

bool sim_drained(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (node->broken)
            continue;
        if (!node->up || node->stopping || node->tasks)
            return false;
        sim_enter(node);
        for (size_t q = 0; q < sizeof queues / sizeof *queues; q++)
            if (kos_store_count(node->store, queues[q]) && !anything_broken(sim))
                return false;
    }
    for (struct sim_message *message = sim->messages; sim->hosted && message; message = message->hh.next)
        if (!sim_hosted_over(message) && !message->to->broken)
            return false;
    return true;
}

static uint32_t effects_of(struct sim_node *node, const struct klp_id *id)
{
    uint8_t *value;
    size_t len;
    if (!node->up || kos_store_get(node->store, "effects", kos_bytes(id->b, sizeof id->b), &value, &len) < 0)
        return 0;
    uint32_t count = value[0];
    free(value);
    return count;
}

static void check_message(struct sim *sim, struct sim_message *message)
{
    if (message->hosted)
        sim_hosted_check(message);
    if (message->hosted || message->answer)
        return;
    uint32_t effects = effects_of(message->to, &message->id);
    const char *from = message->from->name, *to = message->to->name;
    if (effects > 1)
        sim_fail(sim, "twice", "message %u had its effect %u times at %s", message->number, effects, to);
    if (effects && (message->forged || message->forbidden))
        sim_fail(sim, "policy", "message %u had an effect at %s, and must not", message->number, to);
    if (message->durable && !message->told)
        sim_fail(sim, "lost", "message %u from %s to %s was on disk there, and nobody was told what became of it",
                 message->number, from, to);
    else if (message->told && message->outcome == KOS_OK && effects != 1)
        sim_fail(sim, "lost", "message %u from %s to %s was acknowledged, and had %u effects", message->number, from,
                 to, effects);
    else if (message->told && message->outcome != KOS_OK && message->outcome != KOS_E_INTERRUPTED && effects)
        sim_fail(sim, "denied", "message %u from %s to %s ended as %s, and had an effect", message->number, from, to,
                 kos_error_name(message->outcome));
}

struct judging {
    struct sim_node *node;
    uint32_t damages;
};

static void found(void *arg, const struct kos_store_finding *finding)
{
    struct judging *judging = arg;
    sim_note(judging->node->sim, judging->node, "store check: %s: %s", finding->place, finding->text);
    judging->damages += finding->mend == KOS_MEND_NONE;
}

/* A disk that lied and lost power may leave a database whose pages are of different times. All that is promised then is
 * that `kosctl store check` finds it damaged; if it does not, the node has no excuse. */
static void judge_store(struct sim_node *node)
{
    uint64_t left = 0;
    struct kos_error error = { 0 };
    sim_enter(node);
    for (size_t q = 0; q < sizeof queues / sizeof *queues; q++)
        left += kos_store_count(node->store, queues[q]);
    if (!left)
        return;
    sim_note(node->sim, node, "is not drained, and its disk lied");
    sim_drop_ends(node, NULL);
    node->up = false;
    sim_node_close(node);
    struct judging judging = { node, 0 };
    struct kos_store_checker checker = { .found = found, .arg = &judging };
    int32_t rc = kos_store_check(node->env, "/node/store", &checker, NULL, &error);
    node->broken = rc == KOS_E_CORRUPT || judging.damages;
    if (!node->broken)
        sim_fail(node->sim, "drain", "%s is not drained; its disk lied, but its store is found sound: %s", node->name,
                 rc < 0 ? error.text : "ok");
}

void sim_check_end(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->count; i++)
        if (sim->nodes[i].up && sim->nodes[i].lied && !sim->nodes[i].stopping && !anything_broken(sim))
            judge_store(&sim->nodes[i]);
    for (uint32_t i = 0; i < sim->count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (!node->up) {
            if (!node->broken)
                sim_fail(sim, "drain", "%s does not come back", node->name);
            continue;
        }
        sim_enter(node);
        for (size_t q = 0; q < sizeof queues / sizeof *queues && !anything_broken(sim); q++)
            if (kos_store_count(node->store, queues[q]))
                sim_fail(sim, "drain", "%s: %llu entries are left in %s", node->name,
                         (unsigned long long)kos_store_count(node->store, queues[q]), queues[q]);
        if (!anything_broken(sim))
            bound(node, "bytes in its outbox, after all is done", node->mesh->outbox_bytes, 0);
    }
    for (struct sim_message *message = sim->messages; message; message = message->hh.next)
        if (!message->excused && !message->from->broken && !message->to->broken && !anything_broken(sim))
            check_message(sim, message);
}
