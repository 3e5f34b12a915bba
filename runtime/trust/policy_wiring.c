/* SPDX-License-Identifier: Apache-2.0
 * The part of a manifest that wires plugins, and how several manifests' wirings become one. */
#include "trust/policy_private.h"

#include <stdlib.h>

#include "conf/check.h"
#include "core/buf.h"

static bool name_ok(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= KOS_POLICY_PLUGIN_NAME_MAX && *name >= 'a' && *name <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

/* A file name, or an absolute path without steps back; "*.so" either way. */
static bool module_ok(const char *module)
{
    size_t len = strlen(module);
    if (len < 4 || len > 1024 || strcmp(module + len - 3, ".so") != 0 || strstr(module, "..") != NULL)
        return false;
    return module[0] == '/' || strchr(module, '/') == NULL;
}

static int32_t parse_words(struct policy_manifest *m, const struct kos_conf_node *list, bool types,
                           const char *const **ret_words, struct kos_error *ret_error)
{
    static const char word_set[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    if (kos_conf_kind(list) != KOS_CONF_LIST)
        return kos_conf_fail(list, ret_error, KOS_E_POLICY, "a list of strings [ ] is needed here");
    size_t count = kos_conf_count(list);
    const char **words = kos_new((count + 1) * sizeof *words);
    *ret_words = words; /* owned by the plugin's entry from here on, whatever follows */
    for (size_t i = 0; i < count; i++) {
        const struct kos_conf_node *item = kos_conf_at(list, i);
        const char *word = kos_conf_string(item);
        int32_t rc = policy_count_rule(m, item, ret_error);
        if (rc < 0)
            return rc;
        if (!word)
            return kos_conf_fail(item, ret_error, KOS_E_POLICY, "a string in quotes is needed here");
        if (types && !policy_type_ok(word))
            return kos_conf_fail(item, ret_error, KOS_E_POLICY, "\"%.64s\" is not a message type", word);
        if (!types && (!*word || strlen(word) > 64 || strspn(word, word_set) != strlen(word)))
            return kos_conf_fail(item, ret_error, KOS_E_POLICY,
                                 "\"%.64s\" is not the name of a right: kosctl plugin info FILE lists those it asks",
                                 word);
        for (size_t k = 0; k < i; k++)
            if (strcmp(words[k], word) == 0)
                return kos_conf_fail(item, ret_error, KOS_E_POLICY, "\"%s\" stands here twice", word);
        words[i] = word;
    }
    return KOS_OK;
}

/* maps = ( { type = "ORDER"; destination = "orders.out"; } ) */
static int32_t parse_maps(struct policy_manifest *m, const struct kos_conf_node *list, struct kos_policy_plugin *p,
                          struct kos_error *ret_error)
{
    static const char *const names[] = { "type", "destination" };
    if (kos_conf_kind(list) != KOS_CONF_LIST || kos_conf_count(list) > KOS_POLICY_MAPS_MAX)
        return kos_conf_fail(list, ret_error, KOS_E_POLICY,
                             "a list of at most %d groups is needed: ( { type = \"TYPE\"; destination = \"...\"; } )",
                             KOS_POLICY_MAPS_MAX);
    struct kos_policy_map *maps = kos_new((kos_conf_count(list) + 1) * sizeof *maps);
    p->maps = maps;
    for (size_t i = 0; i < kos_conf_count(list); i++) {
        const struct kos_conf_node *group = kos_conf_at(list, i), *type = NULL, *destination = NULL;
        if (kos_conf_kind(group) == KOS_CONF_GROUP) {
            int32_t rc = kos_conf_known(group, names, sizeof names / sizeof *names, ret_error);
            if (rc < 0 || (rc = policy_count_rule(m, group, ret_error)) < 0)
                return rc;
            type = kos_conf_member(group, "type");
            destination = kos_conf_member(group, "destination");
        }
        maps[i].type = type ? kos_conf_string(type) : NULL;
        maps[i].destination = destination ? kos_conf_string(destination) : NULL;
        if (!maps[i].type || !policy_type_ok(maps[i].type) || !maps[i].destination || strlen(maps[i].destination) > 512)
            return kos_conf_fail(group, ret_error, KOS_E_POLICY,
                                 "a map is { type = \"TYPE\"; destination = \"...\"; }: a message type in capitals, and "
                                 "where the bridge is to bring it, at most 512 characters");
        for (size_t k = 0; k < i; k++)
            if (strcmp(maps[k].type, maps[i].type) == 0)
                return kos_conf_fail(group, ret_error, KOS_E_POLICY, "%s is mapped twice", maps[i].type);
        p->map_count++;
    }
    return KOS_OK;
}

/* A number, or text with a unit; `ret` holds the default. */
static int32_t parse_limit(const struct kos_conf_node *group, const char *name,
                           int32_t (*parse)(const char *text, int64_t *ret), const char *wanted, int64_t min,
                           int64_t max, int64_t *ret, struct kos_error *ret_error)
{
    const struct kos_conf_node *member = kos_conf_member(group, name);
    int64_t value = 0;
    if (!member)
        return KOS_OK;
    const char *text = kos_conf_string(member);
    bool ok = text && parse ? parse(text, &value) == KOS_OK : kos_conf_int(member, &value) == KOS_OK;
    if (!ok || value < min || value > max)
        return kos_conf_fail(member, ret_error, KOS_E_POLICY, "%s is needed here", wanted);
    *ret = value;
    return KOS_OK;
}

/* What a library reads besides the system's: certificates, tables, its own shared objects. */
static int32_t parse_read(const struct kos_conf_node *list, struct kos_policy_plugin *p, struct kos_error *ret_error)
{
    size_t count = kos_conf_kind(list) == KOS_CONF_LIST ? kos_conf_count(list) : SIZE_MAX, bytes = 0;
    if (count > KOS_POLICY_READ_MAX)
        return kos_conf_fail(list, ret_error, KOS_E_POLICY, "a list of at most %d absolute paths is needed here",
                             KOS_POLICY_READ_MAX);
    const char **paths = kos_new((count + 1) * sizeof *paths);
    p->read = paths;
    for (size_t i = 0; i < count; i++) {
        paths[i] = kos_conf_string(kos_conf_at(list, i));
        bytes += paths[i] ? strlen(paths[i]) + 1 : 0;
        if (!paths[i] || paths[i][0] != '/' || strstr(paths[i], "..") || bytes > KOS_POLICY_READ_BYTES)
            return kos_conf_fail(kos_conf_at(list, i), ret_error, KOS_E_POLICY,
                                 "an absolute path without steps back is needed here, all of them with at most %d bytes",
                                 KOS_POLICY_READ_BYTES);
    }
    return KOS_OK;
}

static int32_t parse_cell(const struct kos_conf_node *group, struct kos_policy_plugin *p, struct kos_error *ret_error)
{
    p->memory_bytes = INT64_C(256) << 20;
    p->heartbeat_ms = 10000;
    p->open_files = 16384;
    int32_t rc = parse_limit(group, "memory", kos_conf_size, "a size from 16M to 1T", INT64_C(16) << 20,
                             INT64_C(1) << 40, &p->memory_bytes, ret_error);
    if (rc == KOS_OK)
        rc = parse_limit(group, "heartbeat", kos_conf_duration, "a time from 100ms to 1h", 100, 3600000,
                         &p->heartbeat_ms, ret_error);
    if (rc == KOS_OK)
        rc = parse_limit(group, "open_files", NULL, "a number from 16 to 1048576", 16, 1 << 20, &p->open_files,
                         ret_error);
    const struct kos_conf_node *read = kos_conf_member(group, "read");
    return rc == KOS_OK && read ? parse_read(read, p, ret_error) : rc;
}

static int32_t parse_plugin(struct policy_manifest *m, const struct kos_conf_node *group, struct kos_policy_plugin *p,
                            struct kos_error *ret_error)
{
    static const char *const names[] = { "module",     "isolate",  "rights", "types",
                                         "maps",       "settings", "memory", "heartbeat",
                                         "open_files", "read" };
    const struct kos_conf_node *member;
    p->name = kos_conf_name(group);
    p->isolate = true;
    p->file = m->file;
    p->line = kos_conf_line(group);
    if (!name_ok(p->name))
        return kos_conf_fail(group, ret_error, KOS_E_POLICY,
                             "a plugin's name is a letter, then letters, digits and _, at most %d, all lower case",
                             KOS_POLICY_PLUGIN_NAME_MAX);
    if (kos_conf_kind(group) != KOS_CONF_GROUP)
        return kos_conf_fail(group, ret_error, KOS_E_POLICY, "a group { } is needed here");
    int32_t rc = kos_conf_known(group, names, sizeof names / sizeof *names, ret_error);
    if (rc < 0 || (rc = policy_count_rule(m, group, ret_error)) < 0)
        return rc;
    if (!(member = kos_conf_member(group, "module")))
        return kos_conf_fail(group, ret_error, KOS_E_POLICY,
                             "module is missing: the file name of the plugin, \"%s.so\"", p->name);
    p->module = kos_conf_string(member);
    if (!p->module || !module_ok(p->module))
        return kos_conf_fail(member, ret_error, KOS_E_POLICY,
                             "a file name NAME.so (looked up in the plugin directory) or an absolute path is needed");
    if ((member = kos_conf_member(group, "isolate")) && kos_conf_bool(member, &p->isolate) < 0)
        return kos_conf_fail(member, ret_error, KOS_E_POLICY, "true or false is needed here");
    if ((rc = parse_cell(group, p, ret_error)) < 0)
        return rc;
    if ((member = kos_conf_member(group, "rights")) && (rc = parse_words(m, member, false, &p->rights, ret_error)) < 0)
        return rc;
    if ((member = kos_conf_member(group, "types")) && (rc = parse_words(m, member, true, &p->types, ret_error)) < 0)
        return rc;
    if ((member = kos_conf_member(group, "maps")) && (rc = parse_maps(m, member, p, ret_error)) < 0)
        return rc;
    if ((member = kos_conf_member(group, "settings")) && kos_conf_kind(member) != KOS_CONF_GROUP)
        return kos_conf_fail(member, ret_error, KOS_E_POLICY, "a group { } is needed here");
    p->settings = member;
    if (!p->rights)
        p->rights = kos_new(sizeof *p->rights);
    return KOS_OK;
}

int32_t policy_plugins_parse(struct policy_manifest *m, const struct kos_conf_node *group, struct kos_error *ret_error)
{
    if (kos_conf_kind(group) != KOS_CONF_GROUP)
        return kos_conf_fail(group, ret_error, KOS_E_POLICY, "a group { } is needed here");
    size_t count = kos_conf_count(group);
    m->plugins = kos_new((count + 1) * sizeof *m->plugins);
    for (size_t i = 0; i < count; i++) {
        struct kos_policy_plugin *p = &m->plugins[m->plugin_count++];
        int32_t rc = parse_plugin(m, kos_conf_at(group, i), p, ret_error);
        if (rc < 0)
            return rc;
    }
    return KOS_OK;
}

void policy_plugins_free(struct policy_manifest *m)
{
    for (size_t i = 0; i < m->plugin_count; i++) {
        free((void *)m->plugins[i].rights);
        free((void *)m->plugins[i].types);
        free((void *)m->plugins[i].read);
        free((void *)m->plugins[i].maps);
    }
    free(m->plugins);
}

/* Depth is bounded by conf (KOS_CONF_DEPTH_MAX). */
static json_t *node_json(const struct kos_conf_node *node)
{
    int64_t number;
    double real;
    bool flag;
    json_t *json;
    switch (kos_conf_kind(node)) {
    case KOS_CONF_GROUP:
        json = json_object();
        for (size_t i = 0; i < kos_conf_count(node); i++)
            json_object_set_new(json, kos_conf_name(kos_conf_at(node, i)), node_json(kos_conf_at(node, i)));
        return json;
    case KOS_CONF_LIST:
        json = json_array();
        for (size_t i = 0; i < kos_conf_count(node); i++)
            json_array_append_new(json, node_json(kos_conf_at(node, i)));
        return json;
    case KOS_CONF_STRING: return json_string(kos_conf_string(node));
    case KOS_CONF_INT: return kos_conf_int(node, &number) == KOS_OK ? json_integer(number) : json_null();
    case KOS_CONF_FLOAT: return kos_conf_float(node, &real) == KOS_OK ? json_real(real) : json_null();
    case KOS_CONF_BOOL: return kos_conf_bool(node, &flag) == KOS_OK ? json_boolean(flag) : json_null();
    default: return json_null();
    }
}

static json_t *words_json(const char *const *words)
{
    json_t *json = json_array();
    for (; words && *words; words++)
        json_array_append_new(json, json_string(*words));
    return json;
}

static json_t *maps_json(const struct kos_policy_plugin *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->map_count; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:s}", "type", p->maps[i].type, "destination", p->maps[i].destination));
    return list;
}

json_t *policy_plugin_json(const struct kos_policy_plugin *p)
{
    return json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "name", p->name, "module", p->module,
                     "isolate", (int)p->isolate, "memory", (json_int_t)p->memory_bytes, "heartbeat",
                     (json_int_t)p->heartbeat_ms, "open_files", (json_int_t)p->open_files, "read",
                     words_json(p->read), "rights",
                     words_json(p->rights), "types", p->types ? words_json(p->types) : json_null(), "maps",
                     maps_json(p),
                     "settings", p->settings ? node_json(p->settings) : json_object());
}

static int by_name_and_place(const void *a, const void *b)
{
    const struct kos_policy_plugin *x = a, *y = b;
    int c = strcmp(x->name, y->name);
    return c ? c : strcmp(x->file, y->file);
}

static int32_t conflict(const struct kos_policy_plugin *a, const struct kos_policy_plugin *b, const char *what,
                        struct kos_error *ret_error)
{
    return kos_fail(ret_error, KOS_E_POLICY, "%s:%d and %s:%d: plugins %s and %s %s: leave one of them", a->file,
                    a->line, b->file, b->line, a->name, b->name, what);
}

/* Two manifests may say the same of a plugin, word for word; anything else would let the order of files decide. */
static int32_t same_wiring(const struct kos_policy_plugin *a, const struct kos_policy_plugin *b,
                           struct kos_error *ret_error)
{
    json_t *x = policy_plugin_json(a), *y = policy_plugin_json(b);
    bool same = x && y && json_equal(x, y);
    json_decref(x);
    json_decref(y);
    return same ? KOS_OK : conflict(a, b, "are wired differently", ret_error);
}

static int32_t distinct_types(const struct kos_policy *policy, struct kos_error *ret_error)
{
    char what[KLP_TYPE_MAX + 32];
    for (size_t i = 0; i < policy->plugin_count; i++)
        for (size_t k = 0; k < i; k++)
            for (const char *const *a = policy->plugins[i].types; a && *a; a++)
                for (const char *const *b = policy->plugins[k].types; b && *b; b++)
                    if (strcmp(*a, *b) == 0) {
                        snprintf(what, sizeof what, "both take %s", *a);
                        return conflict(&policy->plugins[k], &policy->plugins[i], what, ret_error);
                    }
    return KOS_OK;
}

int32_t policy_plugins_merge(struct kos_policy *policy, struct kos_error *ret_error)
{
    size_t total = 0;
    for (size_t i = 0; i < policy->manifest_count; i++)
        total += policy->manifests[i]->plugin_count;
    policy->plugins = kos_new((total + 1) * sizeof *policy->plugins);
    struct kos_policy_plugin *all = kos_new((total + 1) * sizeof *all);
    size_t count = 0;
    for (size_t i = 0; i < policy->manifest_count; i++)
        for (size_t k = 0; k < policy->manifests[i]->plugin_count; k++)
            all[count++] = policy->manifests[i]->plugins[k];
    qsort(all, count, sizeof *all, by_name_and_place);
    int32_t rc = KOS_OK;
    for (size_t i = 0; rc == KOS_OK && i < count; i++) {
        const struct kos_policy_plugin *last = policy->plugin_count ? &policy->plugins[policy->plugin_count - 1] : NULL;
        if (last && strcmp(last->name, all[i].name) == 0)
            rc = same_wiring(last, &all[i], ret_error);
        else
            policy->plugins[policy->plugin_count++] = all[i];
    }
    free(all);
    return rc < 0 ? rc : distinct_types(policy, ret_error);
}
