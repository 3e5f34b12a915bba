/* SPDX-License-Identifier: Apache-2.0
 *
 * Effects: what follows from a message or from what a program did, as one transaction of the host. Neither the message
 * nor the program comes again, so an effect that the store does not take now (a full disk, a full outbox) is kept and
 * tried again until it does. Effects of one task are stored in the order in which they were committed.
 *
 * How many may be kept is bounded by what causes them: the host hands over so many messages at a time, and a program's
 * output has credit.
 */
#include "task.h"

enum { AGAIN_MS = 1000 };

enum step_kind { STEP_PUT, STEP_DELETE, STEP_SEND, STEP_VERDICT };

struct step {
    enum step_kind kind;
    struct kos_bytes key, value;
    struct kos_draft draft;         /* its texts are this step's */
    uint64_t message, retry_ms;
    int32_t verdict, error;
    char *text;
    struct step *next;
};

struct effect {
    struct tasks *tasks;
    struct step *steps;
    effect_done *done;
    struct pending what;            /* that `done` is called with */
    bool ordered, held;             /* has a task; was refused, or waits for one that was */
    struct effect *prev, *next;
};

static void *copy(const void *data, size_t len)
{
    void *made = malloc(len ? len : 1);
    if (!made)
        abort();
    if (len)
        memcpy(made, data, len);
    return made;
}

static struct kos_bytes copy_bytes(struct kos_bytes bytes)
{
    return kos_bytes(copy(bytes.data, bytes.len), bytes.len);
}

static struct step *step_new(struct effect *effect, enum step_kind kind)
{
    struct step *step = calloc(1, sizeof *step);
    if (!step)
        abort();
    step->kind = kind;
    LL_APPEND(effect->steps, step);
    return step;
}

static void step_free(struct step *step)
{
    free((void *)step->key.data);
    free((void *)step->value.data);
    free((char *)step->draft.type);
    free((char *)step->draft.target);
    free((void *)step->draft.payload.data);
    free(step->text);
    free(step);
}

static void effect_free(struct effect *effect)
{
    struct step *step, *next;
    LL_FOREACH_SAFE(effect->steps, step, next)
        step_free(step);
    free(effect);
}

void effects_free(struct tasks *tasks)
{
    struct effect *effect, *next;
    DL_FOREACH_SAFE(tasks->effects, effect, next)
        effect_free(effect);
    tasks->effects = NULL;
}

/* ---- putting one together ---- */

struct effect *effect_new(struct tasks *tasks)
{
    struct effect *effect = calloc(1, sizeof *effect);
    if (!effect)
        abort();
    effect->tasks = tasks;
    return effect;
}

void effect_put(struct effect *effect, struct kos_bytes key, struct kos_bytes value)
{
    struct step *step = step_new(effect, STEP_PUT);
    step->key = copy_bytes(key);
    step->value = copy_bytes(value);
}

void effect_delete(struct effect *effect, struct kos_bytes key)
{
    step_new(effect, STEP_DELETE)->key = copy_bytes(key);
}

void effect_send(struct effect *effect, const struct kos_draft *draft)
{
    struct step *step = step_new(effect, STEP_SEND);
    step->draft = *draft;
    step->draft.type = copy(draft->type, strlen(draft->type) + 1);
    step->draft.target = copy(draft->target, strlen(draft->target) + 1);
    step->draft.payload = copy_bytes(draft->payload);
}

void effect_verdict(struct effect *effect, uint64_t message, int32_t verdict, int32_t error, const char *text, uint64_t retry_ms)
{
    struct step *step = step_new(effect, STEP_VERDICT);
    step->message = message;
    step->verdict = verdict;
    step->error = error;
    step->text = text ? copy(text, strlen(text) + 1) : NULL;
    step->retry_ms = retry_ms;
}

/* ---- storing ---- */

static bool same_task(const struct effect *a, const struct effect *b)
{
    return a->ordered && b->ordered && memcmp(a->what.id, b->what.id, sizeof a->what.id) == 0;
}

/* The first of the same task, before `effect`; NULL: none. */
static struct effect *earlier(const struct effect *effect)
{
    struct effect *other;
    DL_FOREACH(effect->tasks->effects, other) {
        if (other == effect)
            return NULL;
        if (same_task(other, effect))
            return other;
    }
    return NULL;
}

static void tried(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result);

static void attempt(struct effect *effect)
{
    struct tasks *tasks = effect->tasks;
    uint64_t tx = next_id(tasks);
    struct step *step;
    tasks->host->tx_begin(tasks->host, tx);
    LL_FOREACH(effect->steps, step)
        switch (step->kind) {
        case STEP_PUT: tasks->host->tx_put(tasks->host, tx, step->key, step->value); break;
        case STEP_DELETE: tasks->host->tx_delete(tasks->host, tx, step->key); break;
        case STEP_SEND: tasks->host->tx_send(tasks->host, tx, &step->draft); break;
        case STEP_VERDICT: tasks->host->tx_verdict(tasks->host, tx, step->message, step->verdict, step->error, step->text, step->retry_ms); break;
        }
    struct pending *pending = expect(tasks, tried, NULL, 0);
    pending->what = effect;
    tasks->host->tx_commit(tasks->host, tx, pending->op);
}

static void hold(struct effect *effect, bool held)
{
    effect->tasks->held += (uint32_t)(held && !effect->held);
    effect->tasks->held -= (uint32_t)(!held && effect->held);
    effect->held = held;
}

static void again(struct tasks *tasks, struct timer *timer)
{
    struct effect *effect, *next;
    (void)timer;
    tasks->again = 0;
    DL_FOREACH_SAFE(tasks->effects, effect, next)
        if (effect->held && !earlier(effect)) {
            hold(effect, false);
            attempt(effect);
        }
}

/* What a later effect of the task has stored meanwhile is newer than what an earlier one, refused, would store. */
static void supersede(const struct effect *stored)
{
    struct effect *effect;
    struct step *old, *next, *step;
    DL_FOREACH(stored->tasks->effects, effect) {
        if (effect == stored)
            return;
        if (!same_task(effect, stored))
            continue;
        LL_FOREACH_SAFE(effect->steps, old, next)
            LL_FOREACH(stored->steps, step)
                if (step->key.len && step->key.len == old->key.len && memcmp(step->key.data, old->key.data, old->key.len) == 0) {
                    LL_DELETE(effect->steps, old);
                    step_free(old);
                    break;
                }
    }
}

static bool store_refuses(int32_t status)
{
    return status == KOS_E_NOSPACE || status == KOS_E_IO || status == KOS_E_BUSY;
}

static void tried(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    struct effect *effect = pending->what, *next;
    if (store_refuses(status)) {
        hold(effect, true);
        if (!tasks->again)
            tasks->again = timer_after(tasks, AGAIN_MS, again, NULL, 0);
        return;
    }
    if (tasks->held && status == KOS_OK)
        supersede(effect);
    DL_DELETE(tasks->effects, effect);
    if (effect->done)
        effect->done(tasks, &effect->what, status, result);
    if (tasks->held)
        DL_FOREACH(tasks->effects, next)
            if (same_task(next, effect)) {
                if (next->held) {
                    hold(next, false);
                    attempt(next);
                }
                break;
            }
    effect_free(effect);
}

void effect_commit(struct effect *effect, effect_done *done, const uint8_t *id, size_t id_len, uint64_t number)
{
    struct tasks *tasks = effect->tasks;
    bool behind = false;
    effect->done = done;
    effect->ordered = id_len > 0;
    effect->what.number = number;
    if (id_len)
        memcpy(effect->what.id, id, id_len);
    DL_APPEND(tasks->effects, effect);
    for (struct effect *other = tasks->held ? tasks->effects : NULL; other && other != effect && !behind; other = other->next)
        behind = other->held && same_task(other, effect);
    if (behind)
        hold(effect, true);
    else
        attempt(effect);
}
