/* SPDX-License-Identifier: Apache-2.0
 * A configuration text parsed by libconfig, and the reading of its settings. A struct kos_conf_node is libconfig's
 * config_setting_t; its config_t stands at the beginning of our document, so a node finds the name of its file. */
#include "conf/conf.h"

#include <libconfig.h>
#include <math.h>
#include <stdlib.h>

#include "conf/scan.h"
#include "core/buf.h"

enum { PATH_MAX_TEXT = 256 };

struct kos_conf_doc {
    config_t config;
    char *name;
};

static const config_setting_t *setting_of(const struct kos_conf_node *node)
{
    return (const config_setting_t *)(const void *)node;
}
static const struct kos_conf_node *node_of(const config_setting_t *setting)
{
    return (const struct kos_conf_node *)(const void *)setting;
}

/* What is left for libconfig to find: names given twice, arrays of several types. */
static int32_t parse_failed(const struct kos_conf_doc *doc, struct kos_error *ret_error)
{
    const char *reason = config_error_text(&doc->config);
    return kos_fail(ret_error, KOS_E_CONFIG, "%s:%d: %s", doc->name, config_error_line(&doc->config),
                    reason ? reason : "it cannot be parsed");
}

int32_t kos_conf_read(const char *name, struct kos_bytes text, struct kos_conf_doc **ret_doc,
                      struct kos_error *ret_error)
{
    int32_t rc = kos_conf_scan(name, text, ret_error);
    if (rc < 0)
        return rc;
    struct kos_conf_doc *doc = kos_new(sizeof *doc);
    doc->name = kos_strdup(name);
    config_init(&doc->config);
    /* The line feed: libconfig 1.5 takes a comment for one only when a line feed follows. */
    char *copy = kos_format("%.*s\n", (int)text.len, text.len ? (const char *)text.data : "");
    if (config_read_string(&doc->config, copy) != CONFIG_TRUE) {
        rc = parse_failed(doc, ret_error);
        kos_conf_free(doc);
        doc = NULL;
    }
    free(copy);
    if (doc)
        *ret_doc = doc;
    return rc;
}

int32_t kos_conf_load(struct kos_env *env, const char *path, struct kos_conf_doc **ret_doc, struct kos_error *ret_error)
{
    uint8_t *data;
    size_t len;
    int32_t rc = kos_file_read_all(env, path, KOS_CONF_FILE_MAX, &data, &len);
    if (rc == KOS_E_LIMIT)
        return kos_fail(ret_error, KOS_E_CONFIG, "%s: the file is larger than %d bytes", path, KOS_CONF_FILE_MAX);
    if (rc < 0)
        return kos_fail(ret_error, rc, "%s: cannot be read: %s", path, kos_error_text(rc));
    rc = kos_conf_read(path, kos_bytes(data, len), ret_doc, ret_error);
    free(data);
    return rc;
}

void kos_conf_free(struct kos_conf_doc *doc)
{
    if (!doc)
        return;
    config_destroy(&doc->config);
    free(doc->name);
    free(doc);
}

const struct kos_conf_node *kos_conf_root(const struct kos_conf_doc *doc)
{
    return node_of(config_root_setting(&doc->config));
}

int32_t kos_conf_kind(const struct kos_conf_node *node)
{
    switch (config_setting_type(setting_of(node))) {
    case CONFIG_TYPE_GROUP: return KOS_CONF_GROUP;
    case CONFIG_TYPE_ARRAY:
    case CONFIG_TYPE_LIST: return KOS_CONF_LIST;
    case CONFIG_TYPE_STRING: return KOS_CONF_STRING;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64: return KOS_CONF_INT;
    case CONFIG_TYPE_FLOAT: return KOS_CONF_FLOAT;
    case CONFIG_TYPE_BOOL: return KOS_CONF_BOOL;
    default: return 0;
    }
}

const char *kos_conf_name(const struct kos_conf_node *node)
{
    const char *name = config_setting_name(setting_of(node));
    return name ? name : "";
}

const char *kos_conf_file(const struct kos_conf_node *node)
{
    const struct kos_conf_doc *doc = (const struct kos_conf_doc *)(const void *)setting_of(node)->config;
    return doc->name;
}

/* libconfig leaves 0 for the root. */
int kos_conf_line(const struct kos_conf_node *node)
{
    int line = (int)config_setting_source_line(setting_of(node));
    return line > 0 ? line : 1;
}

size_t kos_conf_count(const struct kos_conf_node *node)
{
    int count = config_setting_is_aggregate(setting_of(node)) ? config_setting_length(setting_of(node)) : 0;
    return count > 0 ? (size_t)count : 0;
}

const struct kos_conf_node *kos_conf_at(const struct kos_conf_node *node, size_t index)
{
    return index < kos_conf_count(node) ? node_of(config_setting_get_elem(setting_of(node), (unsigned)index)) : NULL;
}

/* Not config_setting_get_member: in libconfig 1.7 it takes a path. */
const struct kos_conf_node *kos_conf_member(const struct kos_conf_node *node, const char *name)
{
    if (kos_conf_kind(node) != KOS_CONF_GROUP)
        return NULL;
    for (size_t i = 0, n = kos_conf_count(node); i < n; i++) {
        const struct kos_conf_node *member = kos_conf_at(node, i);
        if (strcmp(kos_conf_name(member), name) == 0)
            return member;
    }
    return NULL;
}

const char *kos_conf_string(const struct kos_conf_node *node)
{
    return kos_conf_kind(node) == KOS_CONF_STRING ? config_setting_get_string(setting_of(node)) : NULL;
}

int32_t kos_conf_int(const struct kos_conf_node *node, int64_t *ret_number)
{
    if (kos_conf_kind(node) != KOS_CONF_INT)
        return KOS_E_CONFIG;
    *ret_number = config_setting_get_int64(setting_of(node));
    return KOS_OK;
}

int32_t kos_conf_float(const struct kos_conf_node *node, double *ret_number)
{
    int64_t number;
    if (kos_conf_int(node, &number) == KOS_OK) {
        *ret_number = (double)number;
        return KOS_OK;
    }
    if (kos_conf_kind(node) != KOS_CONF_FLOAT || !isfinite(config_setting_get_float(setting_of(node))))
        return KOS_E_CONFIG;
    *ret_number = config_setting_get_float(setting_of(node));
    return KOS_OK;
}

int32_t kos_conf_bool(const struct kos_conf_node *node, bool *ret_value)
{
    if (kos_conf_kind(node) != KOS_CONF_BOOL)
        return KOS_E_CONFIG;
    *ret_value = config_setting_get_bool(setting_of(node)) != 0;
    return KOS_OK;
}

/* "plugins.tcp.rights[1]" */
static void path_text(const config_setting_t *setting, char *text, size_t cap)
{
    const config_setting_t *parent = config_setting_parent(setting);
    if (!parent) {
        text[0] = 0;
        return;
    }
    path_text(parent, text, cap);
    size_t len = strlen(text);
    if (config_setting_name(setting))
        snprintf(text + len, cap - len, "%s%s", len ? "." : "", config_setting_name(setting));
    else
        snprintf(text + len, cap - len, "[%d]", config_setting_index(setting));
}

int32_t kos_conf_fail(const struct kos_conf_node *node, struct kos_error *ret_error, int32_t code, const char *format,
                      ...)
{
    if (!ret_error)
        return code;
    char reason[sizeof ret_error->text], path[PATH_MAX_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    path_text(setting_of(node), path, sizeof path);
    return kos_fail(ret_error, code, "%s:%d: %s%s%s", kos_conf_file(node), kos_conf_line(node), path,
                    path[0] ? ": " : "", reason);
}
