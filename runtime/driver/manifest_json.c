/* SPDX-License-Identifier: Apache-2.0
 * A checked manifest as JSON, and the settings of such JSON as structs again. */
#include "driver/manifest.h"

#include <kos/control.h>
#include <kos/handler.h>
#include <kos/stream.h>
#include <kos/transport.h>
#include <stdlib.h>
#include "core/buf.h"

static json_t *words_json(const char *const *words)
{
    json_t *list = json_array();
    for (; words && *words; words++)
        json_array_append_new(list, json_string(*words));
    return list;
}

/* In the order of enum kos_setting_type. */
static const char *const type_names[] = { "",     "string", "int",  "bool",   "duration",
                                          "size", "float",  "list", "secret", "table" };

static int32_t type_of(const char *name)
{
    for (int32_t type = KOS_SETTING_STRING; type <= KOS_SETTING_TABLE; type++)
        if (name && strcmp(type_names[type], name) == 0)
            return type;
    return 0;
}

static json_t *settings_json(const struct kos_setting *const *settings)
{
    json_t *list = json_array();
    for (; settings && *settings; settings++) {
        struct kos_setting s;
        KOS_SIZED(&s, *settings);
        json_t *one = json_pack("{s:s, s:s, s:s, s:I, s:I}", "name", s.name, "summary", s.summary, "type",
                                type_names[s.type], "min", (json_int_t)s.min, "max", (json_int_t)s.max);
        if (s.fallback)
            json_object_set_new(one, "default", json_string(s.fallback));
        if (s.choices)
            json_object_set_new(one, "choices", words_json(s.choices));
        json_array_append_new(list, one);
    }
    return list;
}

json_t *kos_manifest_json(const struct kos_plugin *p)
{
    char abi[24];
    snprintf(abi, sizeof abi, "%u.%u", p->abi >> 16, p->abi & 0xffff);
    json_t *kinds = json_array(), *features = json_array(), *rights = json_array();
    for (const struct kos_feature *const *f = p->features; *f; f++) {
        const struct kos_kind *kind = kos_kind_of((*f)->name);
        json_array_append_new(features, json_string((*f)->name));
        if (kind && kind->kind)
            json_array_append_new(kinds, json_string(kind->name));
    }
    for (const struct kos_right *const *r = p->rights; r && *r; r++)
        json_array_append_new(rights, json_pack("{s:s, s:s}", "name", (*r)->name, "why", (*r)->why));
    const struct kos_handler *handler = kos_plugin_feature(p, KOS_HANDLER);
    const struct kos_transport *transport = kos_plugin_feature(p, KOS_TRANSPORT);
    const struct kos_control *control = kos_plugin_feature(p, KOS_CONTROL);
    json_t *all =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "id", p->id, "name", p->name, "version",
                  p->version, "summary", p->summary, "abi", abi, "kinds", kinds, "features", features, "settings",
                  settings_json(p->settings), "rights", rights, "types", words_json(handler ? handler->types : NULL),
                  "schemes", words_json(transport ? transport->schemes : NULL));
    if (all && handler)
        json_object_set_new(all, "outcomes", json_boolean(KOS_HAS(handler, outcome)));
    const struct kos_stream_user *stream = kos_plugin_feature(p, KOS_STREAM_USER);
    if (all && stream)
        json_object_set_new(all, "streams", words_json(stream->names));
    if (all && control) {
        json_object_set_new(all, "interface", json_string(control->interface_name));
        json_object_set_new(all, "interface_description", json_string(control->description));
    }
    return all;
}

static char *copy_text(const json_t *text)
{
    return json_is_string(text) ? kos_strdup(json_string_value(text)) : NULL;
}

static struct kos_setting *setting_of(const json_t *one)
{
    struct kos_setting *s = kos_new(sizeof *s);
    const json_t *choices = json_object_get(one, "choices");
    s->size = sizeof *s;
    s->type = type_of(json_string_value(json_object_get(one, "type")));
    s->name = copy_text(json_object_get(one, "name"));
    s->summary = copy_text(json_object_get(one, "summary"));
    s->fallback = copy_text(json_object_get(one, "default"));
    s->min = json_integer_value(json_object_get(one, "min"));
    s->max = json_integer_value(json_object_get(one, "max"));
    if (json_is_array(choices)) {
        const char **words = kos_new((json_array_size(choices) + 1) * sizeof *words);
        for (size_t i = 0; i < json_array_size(choices); i++)
            words[i] = kos_strdup(
                json_is_string(json_array_get(choices, i)) ? json_string_value(json_array_get(choices, i)) : "");
        s->choices = words;
    }
    return s;
}

int32_t kos_schema_new(const char *path, const json_t *description, const struct kos_setting *const **ret_schema,
                       struct kos_error *ret_error)
{
    const json_t *settings = json_object_get(description, "settings");
    size_t count = json_array_size(settings);
    if (!json_is_array(settings) || count > KOS_MANIFEST_SETTINGS)
        return kos_fail(ret_error, KOS_E_PLUGIN, "%s: its description has no settings, or more than %d", path,
                        KOS_MANIFEST_SETTINGS);
    const struct kos_setting **schema = kos_new((count + 1) * sizeof *schema);
    for (size_t i = 0; i < count; i++) {
        schema[i] = setting_of(json_array_get(settings, i));
        if (!schema[i]->name || !schema[i]->summary) {
            kos_schema_free((const struct kos_setting *const *)schema);
            return kos_fail(ret_error, KOS_E_PLUGIN, "%s: its description has a setting without a name", path);
        }
    }
    *ret_schema = (const struct kos_setting *const *)schema;
    return KOS_OK;
}

static void free_text(const char *text)
{
    free((void *)(uintptr_t)text);
}

void kos_schema_free(const struct kos_setting *const *schema)
{
    for (const struct kos_setting *const *s = schema; s && *s; s++) {
        for (const char *const *word = (*s)->choices; word && *word; word++)
            free_text(*word);
        free((void *)(uintptr_t)(*s)->choices);
        free_text((*s)->name);
        free_text((*s)->summary);
        free_text((*s)->fallback);
        free((void *)(uintptr_t)*s);
    }
    free((void *)(uintptr_t)schema);
}
