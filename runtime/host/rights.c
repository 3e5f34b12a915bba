/* SPDX-License-Identifier: Apache-2.0
 * Rights: what a plugin asks for and the policy grants. One that is asked for and not granted keeps the plugin from
 * starting; one that is granted and not asked for is not given; one that nobody has is refused. */
#include "host/services.h"

static const struct { const char *name; uint32_t bit;
} rights[] = {
    { "listen", KOS_RIGHT_LISTEN }, { "connect", KOS_RIGHT_CONNECT }, { "device", KOS_RIGHT_DEVICE },
    { "net", KOS_RIGHT_NET },       { "send", KOS_RIGHT_SEND },       { "sign", KOS_RIGHT_SIGN },
    { "agents", KOS_RIGHT_AGENTS }, { "files", KOS_RIGHT_FILES },     { "exec", KOS_RIGHT_EXEC },
    { "stream", KOS_RIGHT_STREAM },
};

static bool granted_has(const char *const *granted, const char *name)
{
    for (; granted && *granted; granted++)
        if (strcmp(*granted, name) == 0)
            return true;
    return false;
}

/* The line the operator has to write: what is granted already, and all that is asked. */
static void rights_line(const json_t *asked, const char *const *granted, struct kos_buf *line)
{
    size_t count = 0;
    kos_buf_append(line, kos_bytes_str("rights = ["));
    for (const char *const *g = granted; g && *g; g++)
        kos_buf_printf(line, "%s \"%s\"", count++ ? "," : "", *g);
    for (size_t i = 0; i < json_array_size(asked); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(asked, i), "name"));
        if (name && !granted_has(granted, name))
            kos_buf_printf(line, "%s \"%s\"", count++ ? "," : "", name);
    }
    kos_buf_append(line, kos_bytes(" ];", 4));
}

/* A right that nobody has is most likely one that was meant otherwise. */
static int32_t known_only(const char *plugin, const char *place, const char *const *granted, struct kos_error *ret_error)
{
    for (; granted && *granted; granted++) {
        struct kos_buf names;
        bool known = false;
        kos_buf_init(&names, 4096);
        for (size_t r = 0; r < sizeof rights / sizeof *rights; r++) {
            known |= strcmp(rights[r].name, *granted) == 0;
            kos_buf_printf(&names, "%s%s", r ? ", " : "", rights[r].name);
        }
        kos_buf_append(&names, kos_bytes("", 1));
        if (!known)
            kos_fail(ret_error, KOS_E_POLICY, "%s: plugin %s: there is no right \"%s\"; there are %s", place, plugin, *granted,
                     names.data ? (const char *)names.data : "");
        kos_buf_fini(&names);
        if (!known)
            return KOS_E_POLICY;
    }
    return KOS_OK;
}

int32_t kos_rights_check(const char *plugin, const char *place, const json_t *description, const char *const *granted,
                         uint32_t *ret_rights, struct kos_error *ret_error)
{
    const json_t *asked = json_object_get(description, "rights");
    uint32_t all = 0;
    int32_t rc;
    for (size_t i = 0; i < json_array_size(asked); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(asked, i), "name"));
        const char *why = json_string_value(json_object_get(json_array_get(asked, i), "why"));
        uint32_t bit = 0;
        for (size_t r = 0; name && r < sizeof rights / sizeof *rights; r++)
            bit |= strcmp(rights[r].name, name) == 0 ? rights[r].bit : 0;
        if (!bit)
            return kos_fail(ret_error, KOS_E_PLUGIN,
                            "%s: plugin %s asks for the right \"%s\", which this kosd does not have", place, plugin,
                            name ? name : "");
        if (!granted_has(granted, name)) {
            struct kos_buf line;
            kos_buf_init(&line, 4096);
            rights_line(asked, granted, &line);
            rc = kos_fail(ret_error, KOS_E_DENIED,
                                  "%s: plugin %s asks for the right \"%s\" (%s) and the policy does not grant it; to "
                                  "grant it, write there: %s",
                                  place, plugin, name, why ? why : "it does not say why",
                                  line.data ? (const char *)line.data : "");
            kos_buf_fini(&line);
            return rc;
        }
        all |= bit;
    }
    rc = known_only(plugin, place, granted, ret_error);
    if (rc == KOS_OK)
        *ret_rights = all;
    return rc;
}

bool kos_hosted_may(struct kos_hosted *hosted, uint32_t right)
{
    if ((hosted->rights & right) == right)
        return true;
    for (size_t r = 0; r < sizeof rights / sizeof *rights; r++)
        if (rights[r].bit == right)
            kos_hosted_broke(hosted, "used the right \"%s\", which it never asked for: its manifest has to name it, and the policy "
                                     "to grant it",
                             rights[r].name);
    return false;
}
