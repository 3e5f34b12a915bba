/* SPDX-License-Identifier: Apache-2.0
 * Spans of time and amounts of bytes as people write them. */
#include "conf/conf.h"

#include <klp/json.h>

struct unit {
    const char *name;
    int64_t factor;
};

/* A whole number, then a unit or nothing. No sign, no blanks, nothing beyond 2^53-1 (what JSON can say). */
static int32_t parse(const char *text, const struct unit *units, int64_t *ret_number)
{
    int64_t number = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        number = number * 10 + (*p - '0');
        if (number > KLP_JSON_INT_MAX)
            return KOS_E_LIMIT;
    }
    if (p == text)
        return KOS_E_SYNTAX;
    for (; units->name; units++)
        if (strcmp(units->name, p) == 0) {
            if (number > KLP_JSON_INT_MAX / units->factor)
                return KOS_E_LIMIT;
            *ret_number = number * units->factor;
            return KOS_OK;
        }
    return KOS_E_SYNTAX;
}

int32_t kos_conf_duration(const char *text, int64_t *ret_ms)
{
    static const struct unit units[] = { { "", 1 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 }, { 0 } };
    return parse(text, units, ret_ms);
}

int32_t kos_conf_size(const char *text, int64_t *ret_bytes)
{
    static const struct unit units[] = { { "", 1 }, { "K", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 }, { "T", INT64_C(1) << 40 }, { 0 } };
    return parse(text, units, ret_bytes);
}
