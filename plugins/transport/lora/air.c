/* SPDX-License-Identifier: Apache-2.0
 * The medium: one frame at a time, within the budget, after a pause of random length so that nodes that heard the same
 * frame do not all answer at once. Credit of a link comes back when its frame has left the air and the budget allows
 * another like it: a budget used up is credit that does not come. */
#include "lora.h"

#include <stdlib.h>

enum { JITTER_FRAME_BYTES = 32, JITTER_MIN_MS = 20, JITTER_MAX_MS = 2000 };

static uint64_t max_wait(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t lora_air_wait_ms(const struct lora *lora, uint64_t us)
{
    uint64_t now = lora_mono_ms(lora);
    return max_wait(lora_budget_wait_ms(&lora->hour, now, us), lora_budget_wait_ms(&lora->dwell, now, us));
}

static void pause_a_little(struct lora *lora)
{
    uint64_t most = lora->jitter_ms, random;
    if (most == 0) {
        most = lora_frame_airtime_us(&lora->radio, JITTER_FRAME_BYTES) / 1000;
        most = most < JITTER_MIN_MS ? JITTER_MIN_MS : most > JITTER_MAX_MS ? JITTER_MAX_MS : most;
    }
    lora->host->random(lora->host, &random, sizeof random);
    uint64_t until = lora_mono_ms(lora) + 1 + random % most;
    if (until > lora->quiet_until_ms)
        lora->quiet_until_ms = until;
}

void lora_air_heard(struct lora *lora)
{
    pause_a_little(lora);
    if (!lora->in_air)
        lora_air_run(lora);
}

/* The next link in turn that has something to send. */
static struct lora_link *next_link(struct lora *lora)
{
    struct lora_link *link, *next, *first = NULL, *after = NULL;
    HASH_ITER(by_id, lora->links_by_id, link, next)
    {
        if (!link->up || link->ending || link->out.count == 0)
            continue;
        if (!first || link->id < first->id)
            first = link;
        if (link->id > lora->turn && (!after || link->id < after->id))
            after = link;
    }
    return after ? after : first;
}

static void transmit(struct lora *lora, struct lora_link *link)
{
    struct lora_frame *frame = lora_queue_take(&link->out);
    uint8_t bytes[KISS_DATA_MAX];
    size_t len = LORA_HEADER + frame->len;
    bytes[0] = LORA_VERSION << 4;
    bytes[1] = (uint8_t)(link->pair >> 8);
    bytes[2] = (uint8_t)link->pair;
    bytes[3] = (uint8_t)(link->pair >> 24);
    bytes[4] = (uint8_t)(link->pair >> 16);
    memcpy(bytes + LORA_HEADER, frame->data, frame->len);
    lora->turn = link->id;
    lora->in_air = true;
    lora->air_link = link->id;
    lora->air_asks = 0;
    lora->air_began_ms = lora_mono_ms(lora);
    lora->air_us = lora_frame_airtime_us(&lora->radio, (uint32_t)len);
    link->in_air = frame->len;
    link->last_ms = lora->air_began_ms;
    link->sent++;
    lora->sent++;
    lora->airtime_us += lora->air_us;
    /* It counts from now on: what the modem has cannot be called back. */
    uint64_t end = lora->air_began_ms + (lora->air_us + 999) / 1000;
    lora_budget_add(&lora->hour, end, lora->air_us);
    lora_budget_add(&lora->dwell, end, lora->air_us);
    lora_keep_write(lora);
    lora->host->timer_set(lora->host, TIMER_AIR, lora->air_us / 1000 + LORA_READY_MARGIN_MS);
    free(frame);
    lora_modem_write(lora, KISS_DATA, kos_bytes(bytes, len));
}

static void tell_used_up(struct lora *lora, uint64_t wait_ms)
{
    char detail[200];
    if (lora->told_used_up)
        return;
    lora->told_used_up = true;
    lora_log(lora, KOS_NOTICE,
             "the airtime that %s allows is used up (%.1f s in the last %.0f s): the next frame can leave in %.0f s",
             lora->rule.band, (double)lora_budget_used_us(&lora->hour, lora_mono_ms(lora)) / 1e6,
             (double)lora->hour.window_ms / 1e3, (double)wait_ms / 1e3);
    snprintf(detail, sizeof detail, "{\"band\":\"%s\",\"wait_ms\":%llu}", lora->rule.band, (unsigned long long)wait_ms);
    if (lora->control)
        lora->control->event(lora->host, "airtime_used_up", kos_bytes_str(detail));
}

static bool half_free(const struct lora *lora, const struct lora_budget *budget)
{
    return budget->limit_us == 0 || lora_budget_used_us(budget, lora_mono_ms(lora)) <= budget->limit_us / 2;
}

/* Told again when half of it had come back: at the limit every frame waits, and that is one story. */
static void look_recovered(struct lora *lora)
{
    if (lora->told_used_up && half_free(lora, &lora->hour) && half_free(lora, &lora->dwell))
        lora->told_used_up = false;
}

/* Gives back what is owed and affordable; returns how long until more can be. */
static uint64_t give_credit(struct lora *lora)
{
    struct lora_link *link, *next;
    uint64_t soonest = UINT64_MAX;
    HASH_ITER(by_id, lora->links_by_id, link, next)
    {
        if (link->owed == 0 || link->ending || link->flushing)
            continue;
        uint64_t frame = LORA_HEADER + link->owed < lora->mtu ? LORA_HEADER + link->owed : lora->mtu;
        uint64_t wait = lora_air_wait_ms(lora, lora_frame_airtime_us(&lora->radio, (uint32_t)frame));
        if (wait > 0) {
            tell_used_up(lora, wait);
            soonest = wait < soonest ? wait : soonest;
            continue;
        }
        uint64_t give = link->owed;
        link->owed = 0;
        lora->events->link_credit(lora->host, link->id, give);
    }
    return soonest;
}

void lora_air_run(struct lora *lora)
{
    if (lora->modem.state != MODEM_ONLINE || !lora->keep_known)
        return;
    look_recovered(lora);
    uint64_t wait = give_credit(lora), now = lora_mono_ms(lora), mine = 0;
    if (lora->in_air)
        return; /* TIMER_AIR waits for the end of that frame, and comes here */
    struct lora_link *link = next_link(lora);
    if (!link && wait == UINT64_MAX)
        return;
    if (link) {
        uint64_t us = lora_frame_airtime_us(&lora->radio, (uint32_t)(LORA_HEADER + link->out.first->len));
        mine = lora_air_wait_ms(lora, us);
        if (mine > 0)
            tell_used_up(lora, mine);
        else if (now < lora->quiet_until_ms)
            mine = lora->quiet_until_ms - now;
        if (mine == 0) {
            transmit(lora, link);
            return;
        }
        wait = mine < wait ? mine : wait;
    }
    lora->host->timer_set(lora->host, TIMER_AIR, wait);
}

void lora_air_over(struct lora *lora)
{
    struct lora_link *link;
    uint64_t id = lora->air_link;
    lora->in_air = false;
    lora->host->timer_stop(lora->host, TIMER_AIR);
    HASH_FIND(by_id, lora->links_by_id, &id, sizeof id, link);
    if (link) {
        link->owed += link->in_air;
        link->in_air = 0;
        if (link->flushing && link->out.count == 0)
            lora_work_soon(lora);
    }
    /* The others had to wait while this node sent: it lets them. */
    pause_a_little(lora);
    lora_air_run(lora);
}

void lora_air_timer(struct lora *lora)
{
    char text[LORA_TEXT];
    if (!lora->in_air) {
        lora_air_run(lora);
    } else if (lora->air_asks++ < LORA_READY_ASKS) {
        /* The answer ends the frame; some firmware says it of itself, some only when asked. */
        lora->host->timer_set(lora->host, TIMER_AIR, LORA_STEP_MS);
        lora_modem_write(lora, KISS_READY, kos_bytes("\1", 1));
    } else {
        snprintf(text, sizeof text,
                 "the modem at %s does not become ready after a frame of %.1f s: it was asked %d times", lora->device,
                 (double)lora->air_us / 1e6, LORA_READY_ASKS);
        lora_modem_fail(lora, KOS_E_TIMEOUT, text);
    }
}

void lora_air_reset(struct lora *lora)
{
    lora->in_air = false;
    lora->host->timer_stop(lora->host, TIMER_AIR);
}
