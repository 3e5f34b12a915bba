/* SPDX-License-Identifier: Apache-2.0
 * Checks everything of a plugin that is data, before anything of it runs. Where a module lies, the sentence names the
 * file and the member. */
#include "driver/manifest.h"

#include <kos/agents.h>
#include <kos/bridge.h>
#include <kos/control.h>
#include <kos/discovery.h>
#include <kos/http.h>
#include <kos/signal.h>
#include <kos/stream.h>
#include <kos/transport.h>
#include <kos/vector.h>

#define TABLE(type, last) (uint32_t)(offsetof(struct type, last) + sizeof(((struct type *)NULL)->last))

static const struct kos_kind kinds[] = {
    { KOS_TRANSPORT, "transport", TABLE(kos_transport, link_close), 0x7f, true, true },
    { KOS_DISCOVERY, "discovery", TABLE(kos_discovery, find_cancel), 0x0f, true, true },
    { KOS_BRIDGE, "bridge", TABLE(kos_bridge, resume), 0x03, true, true },
    { KOS_HANDLER, "handler", TABLE(kos_handler, handle), 0x03, true, true },
    { KOS_VECTOR, "vector", TABLE(kos_vector, drop), 0x7ff, true, false },
    { KOS_HTTP_SERVICE, "http", TABLE(kos_http_service, cancel), 0x1f, true, true },
    { KOS_CONTROL, "control", TABLE(kos_control, call), 0x07, false, true },
    { KOS_AGENTS_USER, "agents.user", TABLE(kos_agents_user, ended), 0x03, false, true },
    { KOS_HTTP_USER, "http.user", TABLE(kos_http_user, response), 0, false, true },
    { KOS_SIGNAL_USER, "signal.user", TABLE(kos_signal_user, received), 0, false, false },
    { KOS_STREAM_USER, "stream", TABLE(kos_stream_user, names), 0x1f, true, true },
};

const struct kos_kind *kos_kind_of(const char *feature)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].feature, feature) == 0)
            return &kinds[i];
    return NULL;
}

void kos_sized_copy(void *to, uint32_t to_size, const void *from)
{
    uint32_t from_size;
    memcpy(&from_size, from, sizeof from_size);
    uint32_t n = from_size < to_size ? from_size : to_size;
    memcpy(to, from, n);
    memset((uint8_t *)to + n, 0, to_size - n);
    memcpy(to, &to_size, sizeof to_size);
}

const void *kos_plugin_feature(const struct kos_plugin *plugin, const char *feature)
{
    for (const struct kos_feature *const *f = plugin->features; f && *f; f++)
        if (strcmp((*f)->name, feature) == 0)
            return (*f)->table;
    return NULL;
}

/* One line of printable UTF-8 or nothing; bounded. */
static bool text_ok(const char *text, size_t max, bool lines)
{
    size_t n = 0;
    if (!text)
        return false;
    for (; text[n]; n++)
        if (n >= max || (unsigned char)text[n] == 127 ||
            ((unsigned char)text[n] < 32 && !(lines && (text[n] == '\n' || text[n] == '\t'))))
            return false;
    return n > 0;
}

/* [a-z][a-z0-9_]*, with more characters allowed behind the first. */
static bool word_ok(const char *word, size_t max, const char *more)
{
    size_t n = 1;
    if (!word || word[0] < 'a' || word[0] > 'z')
        return false;
    for (; word[n]; n++)
        if (n >= max ||
            !((word[n] >= 'a' && word[n] <= 'z') || (word[n] >= '0' && word[n] <= '9') || strchr(more, word[n])))
            return false;
    return true;
}

static bool type_ok(const char *type)
{
    size_t n = 1;
    if (type[0] < 'A' || type[0] > 'Z')
        return false;
    for (; type[n]; n++)
        if (n >= 64 || !((type[n] >= 'A' && type[n] <= 'Z') || (type[n] >= '0' && type[n] <= '9') || type[n] == '_'))
            return false;
    return true;
}

static int32_t check_settings(const char *path, const struct kos_setting *const *settings, struct kos_error *ret_error)
{
    size_t count = 0;
    for (; settings && settings[count]; count++) {
        struct kos_setting s;
        if (count == KOS_MANIFEST_SETTINGS)
            return kos_fail(ret_error, KOS_E_PLUGIN, "%s: declares more than %d settings", path, KOS_MANIFEST_SETTINGS);
        if (settings[count]->size < TABLE(kos_setting, fallback))
            return kos_fail(ret_error, KOS_E_PLUGIN, "%s: setting %zu has size %u, at least %u are needed", path,
                            count + 1, settings[count]->size, TABLE(kos_setting, fallback));
        KOS_SIZED(&s, settings[count]);
        if (!word_ok(s.name, KOS_MANIFEST_NAME, "_"))
            return kos_fail(ret_error, KOS_E_PLUGIN, "%s: setting %zu has no proper name ([a-z][a-z0-9_]*, at most %d)",
                            path, count + 1, KOS_MANIFEST_NAME);
        if (!text_ok(s.summary, KOS_MANIFEST_TEXT, false))
            return kos_fail(ret_error, KOS_E_PLUGIN, "%s: setting %s has no summary of one line", path, s.name);
        if (s.type < KOS_SETTING_STRING || s.type > KOS_SETTING_TABLE)
            return kos_fail(ret_error, KOS_E_PLUGIN, "%s: setting %s has the type %d, which this host does not know",
                            path, s.name, s.type);
        if (s.min > s.max)
            return kos_fail(ret_error, KOS_E_PLUGIN, "%s: setting %s has a min above its max", path, s.name);
        for (size_t i = 0; i < count; i++)
            if (strcmp(settings[i]->name, s.name) == 0)
                return kos_fail(ret_error, KOS_E_PLUGIN, "%s: declares the setting %s twice", path, s.name);
        for (size_t i = 0; s.choices && s.choices[i]; i++)
            if (i == KOS_MANIFEST_WORDS || !text_ok(s.choices[i], KOS_MANIFEST_TEXT, false))
                return kos_fail(ret_error, KOS_E_PLUGIN,
                                "%s: setting %s has a choice that is no line of text, or more than %d", path, s.name,
                                KOS_MANIFEST_WORDS);
    }
    return KOS_OK;
}

static int32_t check_rights(const char *path, const struct kos_right *const *rights, struct kos_error *ret_error)
{
    for (size_t i = 0; rights && rights[i]; i++) {
        struct kos_right r;
        if (i == KOS_MANIFEST_RIGHTS || rights[i]->size < TABLE(kos_right, why))
            return kos_fail(ret_error, KOS_E_PLUGIN,
                            "%s: right %zu is above the limit of %d, or has size %u where at least %u are needed", path,
                            i + 1, KOS_MANIFEST_RIGHTS, rights[i]->size, TABLE(kos_right, why));
        KOS_SIZED(&r, rights[i]);
        if (!word_ok(r.name, KOS_MANIFEST_NAME, "_-.") || !text_ok(r.why, KOS_MANIFEST_TEXT, false))
            return kos_fail(ret_error, KOS_E_PLUGIN, "%s: right %zu needs a name and one line that says why", path,
                            i + 1);
    }
    return KOS_OK;
}

static int32_t check_words(const char *path, const char *what, const char *const *words, bool (*ok)(const char *word),
                           struct kos_error *ret_error)
{
    size_t n = 0;
    for (; words && words[n]; n++)
        if (n == KOS_MANIFEST_WORDS || !ok(words[n]))
            return kos_fail(ret_error, KOS_E_PLUGIN, "%s: %s %zu is not acceptable, or there are more than %d", path,
                            what, n + 1, KOS_MANIFEST_WORDS);
    return n ? KOS_OK : kos_fail(ret_error, KOS_E_PLUGIN, "%s: names no %s", path, what);
}

static bool scheme_ok(const char *scheme)
{
    return word_ok(scheme, KOS_MANIFEST_NAME, "+-.");
}

static int32_t check_table(const char *path, const struct kos_feature *f, struct kos_error *ret_error)
{
    const struct kos_kind *kind = kos_kind_of(f->name);
    uint32_t size;
    if (!kind)
        return KOS_OK; /* of a newer host; nobody here will ask for it */
    memcpy(&size, f->table, sizeof size);
    if (size < kind->table_size)
        return kos_fail(ret_error, KOS_E_PLUGIN, "%s: the table of %s has size %u, at least %u are needed", path,
                        f->name, size, kind->table_size);
    /* Tables are `uint32_t size` and then pointers; the first stands at the alignment of one. */
    for (uint32_t i = 0; i < 64 && (i + 2) * sizeof(void *) <= kind->table_size; i++) {
        void (*member)(void);
        memcpy(&member, (const uint8_t *)f->table + (i + 1) * sizeof(void *), sizeof member);
        if (kind->required >> i & 1 && !member)
            return kos_fail(ret_error, KOS_E_PLUGIN, "%s: member %u of the table of %s is NULL, but must be there",
                            path, i + 2, f->name);
    }
    if (strcmp(f->name, KOS_TRANSPORT) == 0)
        return check_words(path, "scheme", ((const struct kos_transport *)f->table)->schemes, scheme_ok, ret_error);
    if (strcmp(f->name, KOS_HANDLER) == 0)
        return check_words(path, "message type", ((const struct kos_handler *)f->table)->types, type_ok, ret_error);
    const char *const *names = strcmp(f->name, KOS_STREAM_USER) == 0 ? ((const struct kos_stream_user *)f->table)->names
                                                                     : NULL;
    if (names && *names)
        return check_words(path, "stream name", names, type_ok, ret_error);
    if (strcmp(f->name, KOS_CONTROL) == 0) {
        const struct kos_control *control = f->table;
        if (!word_ok(control->interface_name, KOS_MANIFEST_TEXT, ".-") || !strchr(control->interface_name, '.') ||
            !text_ok(control->description, KOS_MANIFEST_IDL, true))
            return kos_fail(
                ret_error, KOS_E_PLUGIN,
                "%s: the table of %s needs a reverse-domain interface name and a description of at most %d bytes", path,
                f->name, KOS_MANIFEST_IDL);
    }
    return KOS_OK;
}

static int32_t check_features(const char *path, const struct kos_feature *const *features, struct kos_error *ret_error)
{
    bool any = false;
    for (size_t i = 0; features && features[i]; i++) {
        struct kos_feature f;
        if (i == KOS_MANIFEST_FEATURES || features[i]->size < TABLE(kos_feature, table))
            return kos_fail(ret_error, KOS_E_PLUGIN,
                            "%s: feature %zu is above the limit of %d, or has size %u where at least %u are needed",
                            path, i + 1, KOS_MANIFEST_FEATURES, features[i]->size, TABLE(kos_feature, table));
        KOS_SIZED(&f, features[i]);
        if (!word_ok(f.name, KOS_MANIFEST_TEXT, "._-/") || !f.table)
            return kos_fail(ret_error, KOS_E_PLUGIN, "%s: feature %zu has no proper name or no table", path, i + 1);
        for (size_t j = 0; j < i; j++)
            if (strcmp(features[j]->name, f.name) == 0)
                return kos_fail(ret_error, KOS_E_PLUGIN, "%s: offers %s twice", path, f.name);
        int32_t rc = check_table(path, &f, ret_error);
        if (rc < 0)
            return rc;
        const struct kos_kind *kind = kos_kind_of(f.name);
        any = any || (kind && kind->kind);
    }
    if (any)
        return KOS_OK;
    return kos_fail(ret_error, KOS_E_PLUGIN, "%s: offers none of the kinds that this host knows (%s, %s, %s, %s, %s, "
                    "%s, %s)",
                    path, KOS_TRANSPORT, KOS_DISCOVERY, KOS_BRIDGE, KOS_HANDLER, KOS_VECTOR, KOS_HTTP_SERVICE,
                    KOS_STREAM_USER);
}

int32_t kos_manifest_check(const char *path, const struct kos_plugin *plugin, struct kos_plugin *ret_copy,
                           struct kos_error *ret_error)
{
    struct kos_plugin p;
    if (plugin->size < TABLE(kos_plugin, fini))
        return kos_fail(
            ret_error, KOS_E_PLUGIN,
            "%s: kos_plugin_v1 has size %u, at least %u are needed: it was not built with the SDK's headers", path,
            plugin->size, TABLE(kos_plugin, fini));
    KOS_SIZED(&p, plugin);
    if (p.abi >> 16 != KOS_ABI_MAJOR)
        return kos_fail(
            ret_error, KOS_E_VERSION,
            "%s: was built for major version %u of the plugin interface; this kosd has %d: build it with these headers",
            path, p.abi >> 16, KOS_ABI_MAJOR);
    if (!word_ok(p.id, KOS_MANIFEST_TEXT, "._-") || !strchr(p.id, '.'))
        return kos_fail(ret_error, KOS_E_PLUGIN, "%s: its id is not a reverse-domain name such as org.example.radio",
                        path);
    if (!word_ok(p.name, KOS_MANIFEST_NAME, "_"))
        return kos_fail(ret_error, KOS_E_PLUGIN,
                        "%s: its name is not of the form [a-z][a-z0-9_]* with at most %d characters", path,
                        KOS_MANIFEST_NAME);
    if (!text_ok(p.version, 64, false) || !text_ok(p.summary, KOS_MANIFEST_TEXT, false))
        return kos_fail(ret_error, KOS_E_PLUGIN, "%s: has no version, or no summary of one line", path);
    static const char *const names[] = { "init", "start", "stop", "fini" };
    const bool there[] = { p.init != NULL, p.start != NULL, p.stop != NULL, p.fini != NULL };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!there[i])
            return kos_fail(ret_error, KOS_E_PLUGIN, "%s: kos_plugin_v1.%s is NULL, but must be there", path, names[i]);
    int32_t rc = check_settings(path, p.settings, ret_error);
    if (rc >= 0)
        rc = check_rights(path, p.rights, ret_error);
    if (rc >= 0)
        rc = check_features(path, p.features, ret_error);
    if (rc >= 0)
        *ret_copy = p;
    return rc;
}
