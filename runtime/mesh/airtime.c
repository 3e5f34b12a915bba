/* SPDX-License-Identifier: Apache-2.0
 *
 * Airtime: what a link with a budget may carry. A bucket of one hour's budget fills as time goes by; each datagram
 * takes what it lasts. Control is served to the last drop, interactive leaves a tenth for it and bulk a half for both,
 * so whatever is large waits and what is small still gets through. The transport measures its medium for itself and
 * has the last word by its credit; this is what lets the mesh choose, and say no in time.
 */
#include "mesh/mesh_private.h"

enum { HOUR_MS = 3600000, RATE_UNKNOWN = 5000 /* bits a second, of a budget without a rate */, OVERHEAD_PERCENT = 20 };

void mesh_airtime_init(struct mesh_link *link, uint64_t per_hour_ms)
{
    struct mesh_airtime *airtime = &link->airtime;
    airtime->per_hour_ms = per_hour_ms < HOUR_MS ? per_hour_ms : HOUR_MS;
    airtime->left_us = (int64_t)airtime->per_hour_ms * 1000;
    airtime->filled_ms = kos_mono_ms(link->mesh->env);
}

uint64_t mesh_airtime_us(const struct mesh_link *link, uint64_t bytes)
{
    uint64_t rate = link->bits_per_second ? link->bits_per_second : RATE_UNKNOWN;
    return bytes * 8 * 1000000 / rate;
}

static void fill(struct mesh_link *link)
{
    struct mesh_airtime *airtime = &link->airtime;
    uint64_t now = kos_mono_ms(link->mesh->env), passed = now - airtime->filled_ms;
    int64_t full = (int64_t)airtime->per_hour_ms * 1000;
    if (!airtime->per_hour_ms || !passed)
        return;
    airtime->filled_ms = now;
    if (passed > HOUR_MS)
        passed = HOUR_MS;
    airtime->left_us += (int64_t)(passed * airtime->per_hour_ms / (HOUR_MS / 1000));
    if (airtime->left_us > full)
        airtime->left_us = full;
}

void mesh_airtime_spend(struct mesh_link *link, uint64_t bytes)
{
    if (!link->airtime.per_hour_ms)
        return;
    fill(link);
    link->airtime.left_us -= (int64_t)mesh_airtime_us(link, bytes);
}

/* What must be in the bucket before something of this class goes. */
static int64_t floor_of(const struct mesh_link *link, uint8_t klass)
{
    int64_t full = (int64_t)link->airtime.per_hour_ms * 1000;
    return klass == KLP_CLASS_BULK ? full / 2 : klass == KLP_CLASS_INTERACTIVE ? full / 10 : 0;
}

static uint64_t until(const struct mesh_link *link, int64_t missing_us)
{
    return missing_us <= 0 ? 0 : (uint64_t)missing_us * (HOUR_MS / 1000) / link->airtime.per_hour_ms + 1;
}

uint64_t mesh_airtime_wait_ms(struct mesh_link *link, uint8_t klass)
{
    if (!link->airtime.per_hour_ms)
        return 0;
    fill(link);
    return until(link, floor_of(link, klass) - link->airtime.left_us);
}

int32_t mesh_airtime_carries(struct mesh_link *link, uint8_t klass, uint64_t bytes, uint64_t within_ms, char *ret_text,
                             size_t cap)
{
    if (!link->airtime.per_hour_ms)
        return KOS_OK;
    fill(link);
    uint64_t cost_ms = mesh_airtime_us(link, bytes + bytes * OVERHEAD_PERCENT / 100) / 1000;
    uint64_t most_ms = link->airtime.per_hour_ms - (uint64_t)floor_of(link, klass) / 1000;
    const char *name = klass == KLP_CLASS_BULK ? "bulk" : "interactive";
    if (cost_ms > most_ms) {
        snprintf(ret_text, cap,
                 "%llu bytes take %llu ms of airtime on %s, where %s messages have %llu ms in an hour: it was not sent",
                 (unsigned long long)bytes, (unsigned long long)cost_ms, link->remote, name,
                 (unsigned long long)most_ms);
        return KOS_E_LIMIT;
    }
    uint64_t wait_ms = until(link, floor_of(link, klass) + (int64_t)cost_ms * 1000 - link->airtime.left_us);
    if (wait_ms <= within_ms)
        return KOS_OK;
    snprintf(ret_text, cap,
             "%llu bytes need %llu ms of airtime on %s, which has that in %llu s at the earliest, and the message expires "
             "in %llu s",
             (unsigned long long)bytes, (unsigned long long)cost_ms, link->remote, (unsigned long long)(wait_ms / 1000),
             (unsigned long long)(within_ms / 1000));
    return KOS_E_QUOTA;
}
