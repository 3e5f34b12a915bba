/* SPDX-License-Identifier: Apache-2.0
 *
 * Settings: a plugin declares what its section of a .klp-policy may hold; the host checks every value against that,
 * with file, line and reason, before anything of the plugin runs, and hands the checked values to init. Since 1.0.
 */
#ifndef KOS_CONF_H
#define KOS_CONF_H

#include <kos/abi.h>

enum kos_setting_type {
    KOS_SETTING_STRING = 1,
    KOS_SETTING_INT = 2,        /* min..max */
    KOS_SETTING_BOOL = 3,
    KOS_SETTING_DURATION = 4,   /* "30s", "250ms", "7d" or milliseconds; value in ms, min..max */
    KOS_SETTING_SIZE = 5,       /* "256K", "1M", "2G" or bytes; value in bytes, min..max */
    KOS_SETTING_FLOAT = 6,
    KOS_SETTING_LIST = 7,       /* list of strings, at most max of them (0: 256) */
    KOS_SETTING_SECRET = 8,     /* the name of a secret of this plugin, see kos_host.secret_get */
    KOS_SETTING_TABLE = 9,      /* a list of groups (maps of a bridge): value is their canonical JSON, an array of
                                   objects of strings, numbers, booleans */
};

struct kos_setting {
    uint32_t size;
    int32_t type;               /* enum kos_setting_type */
    const char *name;           /* [a-z][a-z0-9_]* */
    const char *summary;        /* one line for man pages and `kosctl plugin info` */
    const char *fallback;       /* text of the default; NULL: required */
    int64_t min, max;           /* INT, DURATION, SIZE; both 0: no bounds. STRING: length in bytes */
    const char *const *choices; /* STRING: the words allowed, NULL-terminated; NULL: any */
};

struct kos_value {
    uint32_t size;
    const char *name;
    int64_t number;             /* INT, BOOL (0/1), DURATION in ms, SIZE in bytes */
    double real;                /* FLOAT */
    const char *text;           /* STRING, SECRET, TABLE; "" else */
    const char *const *list;    /* LIST, NULL-terminated; NULL else */
};

/* Checked values, one for each declared setting. Valid as long as the plugin instance. */
struct kos_conf {
    uint32_t size;
    const struct kos_value *const *values; /* NULL-terminated */
};

static inline const struct kos_value *kos_conf_get(const struct kos_conf *conf, const char *name)
{
    for (const struct kos_value *const *v = conf->values; v && *v; v++)
        if (strcmp((*v)->name, name) == 0)
            return *v;
    return NULL;
}
static inline int64_t kos_conf_number(const struct kos_conf *conf, const char *name)
{
    const struct kos_value *v = kos_conf_get(conf, name);
    return v ? v->number : 0;
}
static inline const char *kos_conf_text(const struct kos_conf *conf, const char *name)
{
    const struct kos_value *v = kos_conf_get(conf, name);
    return v && v->text ? v->text : "";
}

#endif
