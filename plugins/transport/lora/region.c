/* SPDX-License-Identifier: Apache-2.0
 * What the law of a region says for a frequency: share of airtime, dwell time, power. */
#include "airtime.h"

#include <string.h>

enum { ALL = 1000000 };

/* eu868, eu433: ERC/REC 70-03 annex 1 and EN 300 220-2; us915: 47 CFR 15.247 (a)(1)(i) and (2), (b)(3); in865: GSR
 * 564(E) of 2008. Power is what goes into an antenna without gain. */
static const struct {
    const char *region, *band;
    uint32_t from_hz, to_hz, duty_ppm;
    int32_t power_dbm;
} bands[] = {
    { "eu868", "863-865", 863000000, 865000000, 1000, 14 }, { "eu868", "865-868", 865000000, 868000000, 10000, 14 },
    { "eu868", "g1", 868000000, 868600000, 10000, 14 },     { "eu868", "g2", 868700000, 869200000, 1000, 14 },
    { "eu868", "g3", 869400000, 869650000, 100000, 27 },    { "eu868", "g4", 869700000, 870000000, 10000, 14 },
    { "eu433", "433", 433050000, 434790000, 100000, 10 },   { "us915", "915", 902000000, 928000000, ALL, 30 },
    { "in865", "865", 865000000, 867000000, ALL, 30 },      { "none", "any", 0, 4294967295u, ALL, 127 },
};

int32_t lora_region_rule(const char *region, const struct lora_radio *radio, struct lora_rule *ret_rule,
                         struct kos_error *ret_error)
{
    uint64_t low = (uint64_t)radio->frequency_hz - radio->bandwidth_hz / 2;
    uint64_t high = (uint64_t)radio->frequency_hz + radio->bandwidth_hz / 2;
    for (size_t i = 0; i < sizeof bands / sizeof *bands; i++) {
        if (strcmp(bands[i].region, region) != 0 || low < bands[i].from_hz || high > bands[i].to_hz)
            continue;
        struct lora_rule rule = { .duty_ppm = bands[i].duty_ppm, .power_dbm = bands[i].power_dbm };
        snprintf(rule.band, sizeof rule.band, "%s %s", region, bands[i].band);
        /* One channel below 500 kHz counts as a hopping system that stays: 0.4 s within 20 s, or 10 s from 250 kHz on.
         */
        if (strcmp(region, "us915") == 0 && radio->bandwidth_hz < 500000) {
            rule.dwell_ms = 400;
            rule.dwell_window_ms = radio->bandwidth_hz >= 250000 ? 10000 : 20000;
        }
        if (radio->power_dbm > rule.power_dbm)
            return kos_fail(ret_error, KOS_E_CONFIG, "%s allows %d dBm: power = %d is too much", rule.band,
                            rule.power_dbm, radio->power_dbm);
        *ret_rule = rule;
        return KOS_OK;
    }
    return kos_fail(
        ret_error, KOS_E_CONFIG,
        "%s has no band for %u Hz wide signals at %u Hz: set frequency and bandwidth to where the law allows them",
        region, radio->bandwidth_hz, radio->frequency_hz);
}
