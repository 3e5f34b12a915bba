/* SPDX-License-Identifier: Apache-2.0
 * A group against a plugin's schema, and tables as canonical JSON. The schema is a stranger's: it is checked first. */
#include "conf/check.h"

#include <stdlib.h>
#include <klp/json.h>

#include "core/buf.h"

/* What the host gives to a plugin's init, and what it owns for that. */
struct values {
    struct kos_conf conf;
    size_t count;
    const struct kos_value **pointers;
    struct kos_value *values;
    struct kos_conf_checked *checked;
    char **names;
};

void kos_conf_values_free(struct kos_conf *conf)
{
    struct values *v = (struct values *)(void *)conf;
    if (!v)
        return;
    for (size_t i = 0; i < v->count; i++) {
        kos_conf_checked_fini(&v->checked[i]);
        free(v->names[i]);
    }
    free(v->pointers);
    free(v->values);
    free(v->checked);
    free(v->names);
    free(v);
}

/* A plugin of an older minor declares smaller structs: what it lacks is zero. */
static struct kos_setting setting_copy(const struct kos_setting *setting)
{
    struct kos_setting copy = { 0 };
    memcpy(&copy, setting, setting->size < sizeof copy ? setting->size : sizeof copy);
    return copy;
}

static int32_t declared(const struct kos_setting *const *schema, const char *where, size_t *ret_count,
                        struct kos_error *ret_error)
{
    size_t count = 0;
    for (; schema && schema[count]; count++) {
        if (count == KOS_CONF_SCHEMA_MAX)
            return kos_fail(ret_error, KOS_E_PLUGIN, "%s: declares more than %d settings", where, KOS_CONF_SCHEMA_MAX);
        struct kos_setting setting = setting_copy(schema[count]);
        int32_t rc = kos_conf_declared(&setting, where, ret_error);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < count; i++)
            if (strcmp(schema[i]->name, setting.name) == 0)
                return kos_fail(ret_error, KOS_E_PLUGIN, "%s: declares the setting %s twice", where, setting.name);
    }
    *ret_count = count;
    return KOS_OK;
}

int32_t kos_conf_values(const struct kos_conf_node *group, const char *where, const struct kos_setting *const *schema,
                        struct kos_conf **ret_conf, struct kos_error *ret_error)
{
    size_t count = 0;
    int32_t rc = declared(schema, where, &count, ret_error);
    if (rc < 0)
        return rc;
    const char *names[KOS_CONF_SCHEMA_MAX] = { 0 };
    for (size_t i = 0; i < count; i++)
        names[i] = schema[i]->name;
    rc = kos_conf_check_group(group, names, count, ret_error);
    if (rc < 0)
        return rc;
    struct values *v = kos_new(sizeof *v);
    v->pointers = kos_new((count + 1) * sizeof *v->pointers);
    v->values = kos_new((count + 1) * sizeof *v->values);
    v->checked = kos_new((count + 1) * sizeof *v->checked);
    v->names = kos_new((count + 1) * sizeof *v->names);
    char *place = kos_conf_where(group, where);
    for (; rc == KOS_OK && v->count < count; v->count += rc == KOS_OK) {
        struct kos_setting setting = setting_copy(schema[v->count]);
        struct kos_conf_checked *c = &v->checked[v->count];
        const struct kos_conf_node *member = group ? kos_conf_member(group, setting.name) : NULL;
        rc = group && !member && !setting.fallback
                 ? kos_conf_fail(group, ret_error, KOS_E_CONFIG, "the setting %s is missing; it has no default", setting.name)
                 : kos_conf_check(member, &setting, place, c, ret_error);
        if (rc < 0)
            break;
        v->names[v->count] = kos_strdup(setting.name);
        v->values[v->count] = (struct kos_value){ .size = sizeof(struct kos_value),
                                                  .name = v->names[v->count],
                                                  .number = c->number,
                                                  .real = c->real,
                                                  .text = c->text ? c->text : "",
                                                  .list = (const char *const *)c->list };
        v->pointers[v->count] = &v->values[v->count];
    }
    free(place);
    v->conf = (struct kos_conf){ .size = sizeof v->conf, .values = v->pointers };
    if (rc < 0)
        kos_conf_values_free(&v->conf);
    else
        *ret_conf = &v->conf;
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(kos_conf_name(*(const struct kos_conf_node *const *)a),
                  kos_conf_name(*(const struct kos_conf_node *const *)b));
}

static int32_t put_row(struct klp_json_out *out, const struct kos_conf_node *row, struct kos_error *ret_error)
{
    if (kos_conf_kind(row) != KOS_CONF_GROUP)
        return kos_conf_fail(row, ret_error, KOS_E_CONFIG, "a group { } is needed here");
    size_t count = kos_conf_count(row);
    const struct kos_conf_node **members = kos_new((count + 1) * sizeof *members);
    for (size_t i = 0; i < count; i++)
        members[i] = kos_conf_at(row, i);
    qsort(members, count, sizeof *members, by_name);
    int32_t rc = KOS_OK;
    klp_json_object(out);
    for (size_t i = 0; rc == KOS_OK && i < count; i++) {
        int64_t number = 0;
        double real = 0;
        bool flag = false;
        klp_json_name(out, kos_conf_name(members[i]));
        if (kos_conf_string(members[i]))
            klp_json_put_cstr(out, kos_conf_string(members[i]));
        else if (kos_conf_int(members[i], &number) == KOS_OK && number <= KLP_JSON_INT_MAX &&
                 number >= -KLP_JSON_INT_MAX)
            klp_json_put_int(out, number);
        else if (kos_conf_kind(members[i]) == KOS_CONF_FLOAT && kos_conf_float(members[i], &real) == KOS_OK)
            klp_json_put_double(out, real);
        else if (kos_conf_bool(members[i], &flag) == KOS_OK)
            klp_json_put_bool(out, flag);
        else
            rc = kos_conf_fail(members[i], ret_error, KOS_E_CONFIG,
                               "a string, a boolean or a number within +-(2^53-1) is needed here");
        if (rc == KOS_OK && out->error < 0)
            rc = kos_conf_fail(members[i], ret_error, KOS_E_CONFIG, "the string is not UTF-8");
    }
    klp_json_close(out, '}');
    free(members);
    return rc;
}

int32_t kos_conf_table(const struct kos_conf_node *list, char **ret_text, struct kos_error *ret_error)
{
    char *text = NULL;
    size_t cap = 0;
    /* The first run measures. */
    for (int run = 0; run < 2; run++) {
        struct klp_json_out out;
        struct kos_bytes written;
        klp_json_begin(&out, text, cap);
        klp_json_array(&out);
        for (size_t i = 0, n = kos_conf_count(list); i < n; i++) {
            int32_t rc = put_row(&out, kos_conf_at(list, i), ret_error);
            if (rc < 0) {
                free(text);
                return rc;
            }
        }
        klp_json_close(&out, ']');
        if (run == 0) {
            klp_json_end(&out, &written);
            cap = out.len;
            text = kos_new(cap + 1);
        } else if (klp_json_end(&out, &written) < 0) {
            free(text);
            return kos_conf_fail(list, ret_error, KOS_E_CONFIG, "the list cannot be written as JSON");
        }
    }
    *ret_text = text;
    return KOS_OK;
}
