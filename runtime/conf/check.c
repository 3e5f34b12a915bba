/* SPDX-License-Identifier: Apache-2.0
 * One setting against its declaration. Each error says what is allowed. */
#include "conf/check.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>

#include "conf/scan.h"
#include "core/buf.h"

/* Errors of a value that is written name the line; those of a default name the owner of the declaration. */
struct place {
    const struct kos_conf_node *node;
    const struct kos_setting *setting;
    const char *where;
    struct kos_error *error;
};

static int32_t fail(const struct place *at, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int32_t fail(const struct place *at, const char *format, ...)
{
    char reason[400];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    if (at->node)
        return kos_conf_fail(at->node, at->error, KOS_E_CONFIG, "%s", reason);
    return kos_fail(at->error, KOS_E_CONFIG, "%s: the default of %s: %s", at->where, at->setting->name, reason);
}

void kos_conf_checked_fini(struct kos_conf_checked *checked)
{
    free(checked->text);
    for (char **item = checked->list; item && *item; item++)
        free(*item);
    free(checked->list);
    *checked = (struct kos_conf_checked){ 0 };
}

static const char *kind_text(const struct kos_conf_node *node)
{
    static const char *const texts[] = { "nothing", "a group { }", "a list", "a string", "a whole number", "a number with a fraction", "a boolean" };
    return texts[kos_conf_kind(node)];
}

static int32_t check_bounds(const struct place *at, int64_t number, const char *unit)
{
    const struct kos_setting *s = at->setting;
    if ((s->min || s->max) && (number < s->min || number > s->max))
        return fail(at, "%lld%s is outside of %lld to %lld%s", (long long)number, unit, (long long)s->min,
                    (long long)s->max, unit);
    return KOS_OK;
}

static int32_t check_string(const struct place *at, const char *text)
{
    const struct kos_setting *s = at->setting;
    size_t len = strlen(text);
    if (kos_conf_utf8(kos_bytes(text, len)) < len)
        return fail(at, "the string is not UTF-8");
    if (s->type == KOS_SETTING_STRING && (s->min || s->max) && ((int64_t)len < s->min || (int64_t)len > s->max))
        return fail(at, "the string has %zu bytes; %lld to %lld are allowed", len, (long long)s->min,
                    (long long)s->max);
    if (s->type != KOS_SETTING_STRING || !s->choices)
        return KOS_OK;
    struct kos_buf buf;
    kos_buf_init(&buf, 300);
    for (const char *const *choice = s->choices; *choice; choice++) {
        if (strcmp(*choice, text) == 0) {
            kos_buf_fini(&buf);
            return KOS_OK;
        }
        kos_buf_printf(&buf, "%s\"%s\"", buf.len ? ", " : "", *choice);
    }
    int32_t rc = fail(at, "\"%.64s\" is none of %.*s", text, (int)buf.len, buf.len ? (const char *)buf.data : "");
    kos_buf_fini(&buf);
    return rc;
}

/* "30s" and "256K" as text, or a plain number. */
static int32_t check_amount(const struct place *at, const char *text, int64_t *number)
{
    bool span = at->setting->type == KOS_SETTING_DURATION;
    int32_t rc = span ? kos_conf_duration(text, number) : kos_conf_size(text, number);
    if (rc < 0)
        return fail(at, "\"%.40s\" is not %s", text,
                    span ? "a duration: write \"250ms\", \"30s\", \"5m\", \"24h\", \"7d\" or a number of milliseconds"
                         : "a size: write \"256K\", \"1M\", \"2G\" or a number of bytes");
    return KOS_OK;
}

/* The decimal point does not depend on the process's locale. */
static bool parse_real(const char *text, double *ret_real)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c == (locale_t)0)
        return false;
    locale_t before = uselocale(c);
    char *end;
    double real = strtod(text, &end);
    uselocale(before);
    freelocale(c);
    if (end == text || *end || !isfinite(real))
        return false;
    *ret_real = real;
    return true;
}

static int32_t check_list(const struct place *at, size_t count, char ***list)
{
    size_t max = at->setting->max > 0 ? (size_t)at->setting->max : KOS_CONF_LIST_MAX;
    if (count > max)
        return fail(at, "the list has %zu entries; at most %zu are allowed", count, max);
    *list = kos_new((count + 1) * sizeof **list);
    return KOS_OK;
}

static int32_t list_of_node(const struct place *at, struct kos_conf_checked *out)
{
    size_t count = kos_conf_count(at->node);
    int32_t rc = check_list(at, count, &out->list);
    for (size_t i = 0; rc == KOS_OK && i < count; i++) {
        struct place item = *at;
        item.node = kos_conf_at(at->node, i);
        const char *text = kos_conf_string(item.node);
        if (!text)
            return fail(&item, "a string is needed here, not %s", kind_text(item.node));
        rc = check_string(&item, text);
        if (rc == KOS_OK)
            out->list[i] = kos_strdup(text);
    }
    return rc;
}

/* A default list is written as words with blanks between them. */
static int32_t list_of_text(const struct place *at, const char *text, struct kos_conf_checked *out)
{
    size_t count = 0;
    for (const char *p = text + strspn(text, " "); *p; count++) {
        p += strcspn(p, " ");
        p += strspn(p, " ");
    }
    int32_t rc = check_list(at, count, &out->list);
    const char *p = text + strspn(text, " ");
    for (size_t i = 0; rc == KOS_OK && i < count; i++) {
        size_t len = strcspn(p, " ");
        out->list[i] = kos_format("%.*s", (int)len, p);
        p += len;
        p += strspn(p, " ");
    }
    return rc;
}

static int32_t from_text(const struct place *at, const char *text, struct kos_conf_checked *out)
{
    int32_t rc = KOS_OK;
    switch (at->setting->type) {
    case KOS_SETTING_STRING:
    case KOS_SETTING_SECRET:
        /* An empty default may lie outside of the bounds and choices: it says "not set". */
        if (*text && (rc = check_string(at, text)) < 0)
            return rc;
        out->text = kos_strdup(text);
        return KOS_OK;
    case KOS_SETTING_INT: {
        const char *digits = text + (*text == '-');
        if (!*digits || strlen(digits) > 18 || digits[strspn(digits, "0123456789")])
            return fail(at, "\"%.40s\" is not a whole number", text);
        out->number = strtoll(text, NULL, 10);
        return check_bounds(at, out->number, "");
    }
    case KOS_SETTING_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return fail(at, "\"%.40s\" is neither true nor false", text);
        out->number = *text == 't';
        return KOS_OK;
    case KOS_SETTING_DURATION:
    case KOS_SETTING_SIZE:
        rc = check_amount(at, text, &out->number);
        return rc < 0 ? rc
                      : check_bounds(at, out->number, at->setting->type == KOS_SETTING_DURATION ? " ms" : " bytes");
    case KOS_SETTING_FLOAT:
        if (!parse_real(text, &out->real))
            return fail(at, "\"%.40s\" is not a number", text);
        return KOS_OK;
    case KOS_SETTING_LIST: return list_of_text(at, text, out);
    case KOS_SETTING_TABLE:
        if (*text && strcmp(text, "[]") != 0)
            return fail(at, "the default of a table is empty");
        out->text = kos_strdup("[]");
        return KOS_OK;
    default: return fail(at, "the type %d is not known to this kos", (int)at->setting->type);
    }
}

static int32_t real_of_node(const struct place *at, double *real)
{
    const struct kos_setting *s = at->setting;
    if (kos_conf_float(at->node, real) < 0)
        return fail(at,
                    kos_conf_kind(at->node) == KOS_CONF_FLOAT ? "the number is too large"
                                                              : "a number is needed here, not %s",
                    kind_text(at->node));
    if ((s->min || s->max) && (*real < (double)s->min || *real > (double)s->max))
        return fail(at, "%g is outside of %lld to %lld", *real, (long long)s->min, (long long)s->max);
    return KOS_OK;
}

static int32_t from_node(const struct place *at, struct kos_conf_checked *out)
{
    const char *text = kos_conf_string(at->node), *unit = "", *want = NULL;
    bool flag;
    int32_t rc;
    switch (at->setting->type) {
    case KOS_SETTING_STRING:
    case KOS_SETTING_SECRET:
        if (!text)
            return fail(at, "a string in quotes is needed here, not %s", kind_text(at->node));
        if ((rc = check_string(at, text)) < 0)
            return rc;
        out->text = kos_strdup(text);
        return KOS_OK;
    case KOS_SETTING_INT: want = "a whole number"; break;
    case KOS_SETTING_DURATION: want = "a duration (\"30s\", or milliseconds)", unit = " ms"; break;
    case KOS_SETTING_SIZE: want = "a size (\"256K\", or bytes)", unit = " bytes"; break;
    case KOS_SETTING_BOOL:
        if (kos_conf_bool(at->node, &flag) < 0)
            return fail(at, "true or false is needed here, not %s", kind_text(at->node));
        out->number = flag;
        return KOS_OK;
    case KOS_SETTING_FLOAT: return real_of_node(at, &out->real);
    case KOS_SETTING_LIST:
        if (kos_conf_kind(at->node) != KOS_CONF_LIST)
            return fail(at, "a list of strings [ ] is needed here, not %s", kind_text(at->node));
        return list_of_node(at, out);
    case KOS_SETTING_TABLE:
        if (kos_conf_kind(at->node) != KOS_CONF_LIST)
            return fail(at, "a list of groups ( { }, { } ) is needed here, not %s", kind_text(at->node));
        if (at->setting->max > 0 && kos_conf_count(at->node) > (size_t)at->setting->max)
            return fail(at, "the list has %zu entries; at most %lld are allowed", kos_conf_count(at->node),
                        (long long)at->setting->max);
        return kos_conf_table(at->node, &out->text, at->error);
    default: return fail(at, "the type %d is not known to this kos", (int)at->setting->type);
    }
    if (*unit && text)
        rc = check_amount(at, text, &out->number);
    else
        rc = kos_conf_int(at->node, &out->number) == KOS_OK
                 ? KOS_OK
                 : fail(at, "%s is needed here, not %s", want, kind_text(at->node));
    if (rc == KOS_OK && *unit && out->number < 0)
        rc = fail(at, "it cannot be negative");
    return rc < 0 ? rc : check_bounds(at, out->number, unit);
}

int32_t kos_conf_check(const struct kos_conf_node *node, const struct kos_setting *setting, const char *where,
                       struct kos_conf_checked *ret_checked, struct kos_error *ret_error)
{
    struct place at = { node, setting, where, ret_error };
    struct kos_conf_checked out = { 0 };
    if (!node && !setting->fallback)
        return kos_fail(ret_error, KOS_E_CONFIG, "%s: the setting %s is missing; it has no default", where,
                        setting->name);
    int32_t rc = node ? from_node(&at, &out) : from_text(&at, setting->fallback, &out);
    if (rc < 0)
        kos_conf_checked_fini(&out);
    else
        *ret_checked = out;
    return rc;
}

int32_t kos_conf_declared(const struct kos_setting *setting, const char *where, struct kos_error *ret_error)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyz", rest[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    const char *name = setting->name ? setting->name : "";
    size_t len = strnlen(name, KOS_CONF_NAME_MAX + 1);
    if (len == 0 || len > KOS_CONF_NAME_MAX || !strchr(first, *name) || strspn(name, rest) != len)
        return kos_fail(ret_error, KOS_E_PLUGIN,
                        "%s: declares a setting whose name is not [a-z][a-z0-9_]* of at most %d characters", where,
                        KOS_CONF_NAME_MAX);
    if (setting->type < KOS_SETTING_STRING || setting->type > KOS_SETTING_TABLE)
        return kos_fail(ret_error, KOS_E_PLUGIN,
                        "%s: declares the setting %s with type %d, which this kos does not know", where, name,
                        (int)setting->type);
    if (!setting->fallback)
        return KOS_OK;
    struct kos_conf_checked unused;
    int32_t rc = kos_conf_check(NULL, setting, where, &unused, ret_error);
    if (rc == KOS_OK)
        kos_conf_checked_fini(&unused);
    else if (ret_error)
        ret_error->code = KOS_E_PLUGIN;
    return rc < 0 ? KOS_E_PLUGIN : KOS_OK;
}
