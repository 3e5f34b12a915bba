/* SPDX-License-Identifier: Apache-2.0
 * A group bound to a struct; names that are not declared are refused with the nearest one. */
#include "conf/check.h"

#include <stdlib.h>

#include "core/buf.h"

enum { SUGGEST_MAX = 32 };

/* Edits (insert, delete, replace) from a to b; more than SUGGEST_MAX characters count as far away. */
static size_t distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b), row[SUGGEST_MAX + 1];
    if (la > SUGGEST_MAX || lb > SUGGEST_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[lb];
}

static int32_t unknown(const struct kos_conf_node *member, const char *const *names, size_t count,
                       struct kos_error *ret_error)
{
    const char *name = kos_conf_name(member), *nearest = NULL;
    size_t best = strlen(name) / 3 + 1;
    struct kos_buf all;
    kos_buf_init(&all, 240);
    bool whole = true;
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(name, names[i]);
        if (d <= best && (!nearest || d < best))
            best = d, nearest = names[i];
        whole = whole && kos_buf_printf(&all, "%s%s", i ? ", " : "", names[i]) == KOS_OK;
    }
    int32_t rc;
    if (nearest)
        rc = kos_conf_fail(member, ret_error, KOS_E_CONFIG, "there is no such setting here; did you mean %s?", nearest);
    else if (count == 0)
        rc = kos_conf_fail(member, ret_error, KOS_E_CONFIG, "there are no settings here");
    else
        rc = kos_conf_fail(member, ret_error, KOS_E_CONFIG, "there is no such setting here; there are %.*s%s",
                           (int)all.len, (const char *)all.data, whole ? "" : ", ...");
    kos_buf_fini(&all);
    return rc;
}

int32_t kos_conf_known(const struct kos_conf_node *group, const char *const *names, size_t count,
                       struct kos_error *ret_error)
{
    for (size_t i = 0, n = kos_conf_count(group); i < n; i++) {
        const struct kos_conf_node *member = kos_conf_at(group, i);
        bool found = false;
        for (size_t k = 0; k < count && !found; k++)
            found = strcmp(names[k], kos_conf_name(member)) == 0;
        if (!found)
            return unknown(member, names, count, ret_error);
    }
    return KOS_OK;
}

int32_t kos_conf_check_group(const struct kos_conf_node *group, const char *const *names, size_t count,
                             struct kos_error *ret_error)
{
    if (!group)
        return KOS_OK;
    if (kos_conf_kind(group) != KOS_CONF_GROUP)
        return kos_conf_fail(group, ret_error, KOS_E_CONFIG, "a group { } is needed here");
    return kos_conf_known(group, names, count, ret_error);
}

char *kos_conf_where(const struct kos_conf_node *group, const char *where)
{
    return group ? kos_format("%s:%d", kos_conf_file(group), kos_conf_line(group)) : kos_strdup(where);
}

static void store(const struct kos_conf_field *field, struct kos_conf_checked *value, void *target)
{
    void *at = (char *)target + field->offset;
    switch (field->setting.type) {
    case KOS_SETTING_BOOL: *(bool *)at = value->number != 0; return;
    case KOS_SETTING_FLOAT: *(double *)at = value->real; return;
    case KOS_SETTING_LIST: *(char ***)at = value->list; return;
    case KOS_SETTING_STRING:
    case KOS_SETTING_SECRET:
    case KOS_SETTING_TABLE: *(char **)at = value->text; return;
    default: *(int64_t *)at = value->number;
    }
}

int32_t kos_conf_bind(const struct kos_conf_node *group, const struct kos_conf_field *fields, void *ret_struct,
                      struct kos_error *ret_error)
{
    const char *names[KOS_CONF_SCHEMA_MAX] = { 0 };
    size_t count = 0;
    for (; fields[count].setting.name; count++) {
        if (count == KOS_CONF_SCHEMA_MAX)
            return kos_fail(ret_error, KOS_E_INTERNAL, "a group of more than %d settings is bound",
                            KOS_CONF_SCHEMA_MAX);
        names[count] = fields[count].setting.name;
    }
    int32_t rc = kos_conf_check_group(group, names, count, ret_error);
    if (rc < 0)
        return rc;
    struct kos_conf_checked *values = kos_new((count + 1) * sizeof *values);
    char *where = kos_conf_where(group, "built-in defaults");
    size_t done = 0;
    for (; rc == KOS_OK && done < count; done += rc == KOS_OK)
        rc = kos_conf_check(group ? kos_conf_member(group, names[done]) : NULL, &fields[done].setting, where,
                            &values[done], ret_error);
    for (size_t i = 0; i < done; i++) {
        if (rc == KOS_OK)
            store(&fields[i], &values[i], ret_struct);
        else
            kos_conf_checked_fini(&values[i]);
    }
    free(where);
    free(values);
    return rc;
}

void kos_conf_unbind(const struct kos_conf_field *fields, void *bound)
{
    for (; fields->setting.name; fields++) {
        void *at = (char *)bound + fields->offset;
        struct kos_conf_checked value = { 0 };
        if (fields->setting.type == KOS_SETTING_LIST)
            value.list = *(char ***)at, *(char ***)at = NULL;
        else if (fields->setting.type == KOS_SETTING_STRING || fields->setting.type == KOS_SETTING_SECRET ||
                 fields->setting.type == KOS_SETTING_TABLE)
            value.text = *(char **)at, *(char **)at = NULL;
        kos_conf_checked_fini(&value);
    }
}
