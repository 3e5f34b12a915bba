/* SPDX-License-Identifier: Apache-2.0
 * The airtime used is kept in the plugin's state: a restart, or a crash, gives no node a second hour's budget.
 *
 * Value of the key "airtime", numbers little-endian: u64 wall clock in ms, then up to 64 times u32 age in ms of when it
 * left the air (the youngest of the slot) and u32 microseconds on the air. */
#include "lora.h"

enum { SLOTS = 64, SLOT_BYTES = 8, HEAD_BYTES = 8 };
static const char key[] = "airtime";

static void put_number(uint8_t *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_number(const uint8_t *in, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)in[i] << (8 * i);
    return value;
}

static bool limited(const struct lora *lora)
{
    return lora->hour.limit_us || lora->dwell.limit_us;
}

void lora_keep_read(struct lora *lora)
{
    if (!limited(lora)) {
        lora->keep_known = true;
        return;
    }
    lora->keep_op = ++lora->next_op;
    lora->host->state_get(lora->host, kos_bytes_str(key), lora->keep_op);
}

static size_t snapshot(const struct lora *lora, uint8_t *out)
{
    const struct lora_budget *budget = &lora->hour;
    uint64_t now = lora_mono_ms(lora), slot_ms = budget->window_ms / (SLOTS / 2) + 1;
    uint64_t used[SLOTS] = { 0 }, young[SLOTS] = { 0 };
    size_t len = HEAD_BYTES;
    put_number(out, (uint64_t)lora->host->now_ms(lora->host), HEAD_BYTES);
    for (size_t i = 0; i < BUDGET_RING; i++) {
        uint64_t end = budget->index[i] * budget->bucket_ms;
        if (!budget->index[i] || !budget->used_us[i] || end + budget->window_ms <= now)
            continue;
        uint64_t age = end < now ? now - end : 0;
        size_t slot = (size_t)(age / slot_ms) < SLOTS ? (size_t)(age / slot_ms) : SLOTS - 1;
        young[slot] = used[slot] && young[slot] < age ? young[slot] : age;
        used[slot] += budget->used_us[i];
    }
    for (size_t slot = 0; slot < SLOTS; slot++)
        if (used[slot]) {
            put_number(out + len, young[slot], 4);
            put_number(out + len + 4, used[slot] < UINT32_MAX ? used[slot] : UINT32_MAX, 4);
            len += SLOT_BYTES;
        }
    return len;
}

void lora_keep_write(struct lora *lora)
{
    uint8_t value[HEAD_BYTES + SLOTS * SLOT_BYTES];
    if (!limited(lora))
        return;
    if (lora->keep_op) {
        lora->keep_dirty = true;
        return;
    }
    uint64_t tx = ++lora->next_op;
    lora->keep_op = ++lora->next_op;
    lora->keep_dirty = false;
    lora->host->tx_begin(lora->host, tx);
    lora->host->tx_put(lora->host, tx, kos_bytes_str(key), kos_bytes(value, snapshot(lora, value)));
    lora->host->tx_commit(lora->host, tx, lora->keep_op);
}

static void restore(struct lora *lora, struct kos_bytes value)
{
    uint64_t now = lora_mono_ms(lora), wall = (uint64_t)lora->host->now_ms(lora->host);
    uint64_t saved = get_number(value.data, HEAD_BYTES), since = wall > saved ? wall - saved : 0;
    for (size_t at = HEAD_BYTES; at + SLOT_BYTES <= value.len; at += SLOT_BYTES) {
        uint64_t age = get_number(value.data + at, 4) + since, us = get_number(value.data + at + 4, 4);
        if (age < lora->hour.window_ms)
            lora_budget_add(&lora->hour, now - age, us);
        if (age < lora->dwell.window_ms)
            lora_budget_add(&lora->dwell, now - age, us);
    }
}

void lora_keep_completed(struct lora *lora, uint64_t op, int32_t status, struct kos_bytes result)
{
    if (op != lora->keep_op)
        return;
    lora->keep_op = 0;
    if (lora->keep_known) {
        if (status < 0)
            lora_log(lora, KOS_WARNING, "the airtime used cannot be kept, a restart would forget it: %s",
                     kos_error_text(status));
        if (lora->keep_dirty)
            lora_keep_write(lora);
        return;
    }
    if (status >= 0 && result.len >= HEAD_BYTES && (result.len - HEAD_BYTES) % SLOT_BYTES == 0)
        restore(lora, result);
    else if (status != KOS_E_NOTFOUND)
        lora_log(lora, KOS_WARNING, "the airtime used before this start is not known: %s",
                 status < 0 ? kos_error_text(status) : "what was kept is damaged");
    lora->keep_known = true;
    lora_work_soon(lora);
}
