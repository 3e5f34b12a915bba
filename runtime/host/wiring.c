/* SPDX-License-Identifier: Apache-2.0
 * Who takes what: message types, address schemes, control interfaces. Two plugins for one are an error that names
 * both. */
#include <stdlib.h>

#include "host/services.h"

static bool list_has(const json_t *list, const char *word)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), word) == 0)
            return true;
    return false;
}

/* What the policy maps to a bridge is its own as a handler's types are. */
static int32_t take_maps(struct kos_hosted *hosted, const struct kos_policy_plugin *section, struct kos_error *ret_error)
{
    if (section->map_count > 0 && !kos_hosted_offers(hosted, KOS_BRIDGE))
        return kos_fail(ret_error, KOS_E_POLICY, "%s: maps: plugin %s is no bridge: nothing goes out by it",
                        hosted->place, hosted->name);
    hosted->maps_own = kos_new((section->map_count + 1) * sizeof *hosted->maps_own);
    for (size_t i = 0; i < section->map_count; i++, hosted->map_count++) {
        hosted->maps_own[i].type = kos_strdup(section->maps[i].type);
        hosted->maps_own[i].destination = kos_strdup(section->maps[i].destination);
    }
    hosted->maps = hosted->maps_own;
    return KOS_OK;
}

/* Those of what a module declares that the section leaves it: all, when it names none. */
static char **wire(const json_t *declared, const char *const *wired)
{
    size_t count = 0;
    char **own = kos_new((json_array_size(declared) + 1) * sizeof *own);
    for (size_t i = 0; i < json_array_size(declared); i++) {
        const char *type = json_string_value(json_array_get(declared, i));
        bool taken = !wired;
        for (const char *const *w = wired; w && *w; w++)
            taken = taken || strcmp(*w, type) == 0;
        if (taken)
            own[count++] = kos_strdup(type);
    }
    return own;
}

int32_t kos_wiring_types(struct kos_hosted *hosted, const struct kos_policy_plugin *section,
                         struct kos_error *ret_error)
{
    const char *const *wired = section->types;
    int32_t mapped = take_maps(hosted, section, ret_error);
    if (mapped < 0)
        return mapped;
    const json_t *declared = json_object_get(hosted->description, "types"),
                 *streams = json_object_get(hosted->description, "streams");
    for (const char *const *type = wired; type && *type; type++)
        if (!list_has(declared, *type) && !list_has(streams, *type)) {
            char *known = json_dumps(declared, JSON_COMPACT);
            char *names = json_array_size(streams) ? json_dumps(streams, JSON_COMPACT) : NULL;
            int32_t rc = kos_fail(ret_error, KOS_E_POLICY, "%s: types: plugin %s does not take %s; it takes %s%s%s",
                                  hosted->place, hosted->name, *type, known ? known : "none",
                                  names ? " and streams " : "", names ? names : "");
            free(known);
            free(names);
            return rc;
        }
    hosted->types_own = wire(declared, wired);
    hosted->types = (const char *const *)hosted->types_own;
    hosted->streams_own = wire(streams, wired);
    hosted->stream_names = (const char *const *)hosted->streams_own;
    return KOS_OK;
}

static bool takes_stream(const struct kos_hosted *hosted, const char *name)
{
    for (const char *const *n = hosted->stream_names; n && *n; n++)
        if (strcmp(*n, name) == 0)
            return true;
    return false;
}

static bool takes(const struct kos_hosted *hosted, const char *type)
{
    if (kos_bridge_destination(hosted, type))
        return true;
    for (const char *const *t = hosted->types; t && *t; t++)
        if (strcmp(*t, type) == 0)
            return true;
    return false;
}

static bool same_interface(const struct kos_hosted *a, const struct kos_hosted *b)
{
    const char *one = json_string_value(json_object_get(a->description, "interface")),
               *other = json_string_value(json_object_get(b->description, "interface"));
    return one && other && strcmp(one, other) == 0;
}

static int32_t check_pair(const struct kos_hosted *a, const struct kos_hosted *b, struct kos_error *ret_error)
{
    for (const char *const *type = a->types; type && *type; type++)
        if (takes(b, *type))
            return kos_fail(ret_error, KOS_E_POLICY,
                            "%s: plugins %s (%s) and %s both take messages of type %s; say in one of them, by types = "
                            "[...], which it is to take",
                            b->place, a->name, a->place, b->name, *type);
    for (const char *const *name = a->stream_names; name && *name; name++)
        if (takes_stream(b, *name))
            return kos_fail(ret_error, KOS_E_POLICY,
                            "%s: plugins %s (%s) and %s both take streams of the name %s; say in one of them, by types = "
                            "[...], which it is to take",
                            b->place, a->name, a->place, b->name, *name);
    for (size_t i = 0; i < a->map_count; i++)
        if (takes(b, a->maps[i].type))
            return kos_fail(ret_error, KOS_E_POLICY,
                            "%s: messages of type %s are mapped to bridge %s (%s) and taken by plugin %s too; a message "
                            "goes one way: remove the map, or say types = [...] there",
                            b->place, a->maps[i].type, a->name, a->place, b->name);
    const json_t *schemes = json_object_get(a->description, "schemes");
    for (size_t i = 0; i < json_array_size(schemes); i++) {
        const char *scheme = json_string_value(json_array_get(schemes, i));
        if (list_has(json_object_get(b->description, "schemes"), scheme))
            return kos_fail(ret_error, KOS_E_POLICY,
                            "%s: plugins %s (%s) and %s both serve addresses of the form %s://; remove one of them",
                            b->place, a->name, a->place, b->name, scheme);
    }
    if (kos_hosted_offers(a, KOS_HTTP_SERVICE) && kos_hosted_offers(b, KOS_HTTP_SERVICE))
        return kos_fail(ret_error, KOS_E_POLICY, "%s: plugins %s (%s) and %s both do HTTP for this node; remove one",
                        b->place, a->name, a->place, b->name);
    if (same_interface(a, b))
        return kos_fail(ret_error, KOS_E_POLICY,
                        "%s: plugins %s (%s) and %s both bring the control interface %s; remove one of them", b->place,
                        a->name, a->place, b->name, json_string_value(json_object_get(a->description, "interface")));
    return KOS_OK;
}

int32_t kos_wiring_check(struct kos_hosting *hosting, struct kos_error *ret_error)
{
    for (const struct kos_hosted *a = hosting->plugins; a; a = a->next)
        for (const struct kos_hosted *b = a->next; b; b = b->next) {
            int32_t rc = check_pair(a, b, ret_error);
            if (rc < 0)
                return rc;
        }
    return KOS_OK;
}

struct kos_hosted *kos_wiring_for_type(struct kos_hosting *hosting, const char *type)
{
    for (struct kos_hosted *h = hosting->plugins; h; h = h->next)
        if (takes(h, type))
            return h;
    return NULL;
}

struct kos_hosted *kos_wiring_for_stream(struct kos_hosting *hosting, const char *name)
{
    for (struct kos_hosted *h = hosting->plugins; h; h = h->next)
        if (takes_stream(h, name))
            return h;
    return NULL;
}

struct kos_hosted *kos_wiring_for_address(struct kos_hosting *hosting, const char *address)
{
    const char *end = strstr(address, "://");
    size_t len = end ? (size_t)(end - address) : 0;
    for (struct kos_hosted *h = hosting->plugins; h && len > 0; h = h->next) {
        const json_t *schemes = json_object_get(h->description, "schemes");
        for (size_t i = 0; i < json_array_size(schemes); i++) {
            const char *scheme = json_string_value(json_array_get(schemes, i));
            if (strlen(scheme) == len && strncmp(scheme, address, len) == 0)
                return h;
        }
    }
    return NULL;
}
