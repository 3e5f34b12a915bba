/* SPDX-License-Identifier: Apache-2.0
 * One setting against its declaration: what bind.c and values.c share. Private to conf. */
#ifndef KOS_CONF_CHECK_H
#define KOS_CONF_CHECK_H

#include "conf/conf.h"

enum { KOS_CONF_LIST_MAX = 256, KOS_CONF_NAME_MAX = 64, KOS_CONF_SCHEMA_MAX = 256 };

/* A checked value; what the type does not have is zero. */
struct kos_conf_checked {
    int64_t number;
    double real;
    char *text;
    char **list;
};

/* The declaration itself, which may come from somebody else's plugin: name, type, default. `where` names its owner. */
int32_t kos_conf_declared(const struct kos_setting *setting, const char *where, struct kos_error *ret_error);
/* node NULL: the default; refused when there is none, in the name of `where`. */
int32_t kos_conf_check(const struct kos_conf_node *node, const struct kos_setting *setting, const char *where,
                       struct kos_conf_checked *ret_checked, struct kos_error *ret_error);
void kos_conf_checked_fini(struct kos_conf_checked *checked);
/* Refuses members of `group` that `names` lacks, suggesting the nearest. */
int32_t kos_conf_known(const struct kos_conf_node *group, const char *const *names, size_t count,
                       struct kos_error *ret_error);
/* That it is a group and has no other members; NULL is fine. */
int32_t kos_conf_check_group(const struct kos_conf_node *group, const char *const *names, size_t count,
                             struct kos_error *ret_error);
/* Who is named when a setting is missing: "file:line" of its group, or `where`. malloc'ed. */
char *kos_conf_where(const struct kos_conf_node *group, const char *where);
/* Canonical JSON of a list of groups of strings, numbers and booleans, malloc'ed. */
int32_t kos_conf_table(const struct kos_conf_node *list, char **ret_text, struct kos_error *ret_error);

#endif
