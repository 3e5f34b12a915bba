/* SPDX-License-Identifier: Apache-2.0
 *
 * Configuration text: the reader itself, a node's kosd.conf, and a plugin's settings against a schema that came as JSON
 * from a process that described the plugin. Each fault has a sentence. The first byte says which.
 */
#include "fuzz.h"

#include "conf/conf.h"
#include "conf/instance.h"
#include "core/manual.h"
#include "driver/manifest.h"

static const char *const modes[] = { "soft", "hard", NULL };
static const struct kos_setting settings[] = {
    { .size = sizeof *settings, .type = KOS_SETTING_STRING, .name = "mode", .fallback = "soft", .choices = modes },
    { .size = sizeof *settings, .type = KOS_SETTING_INT, .name = "port", .fallback = "1", .min = 1, .max = 65535 },
    { .size = sizeof *settings, .type = KOS_SETTING_BOOL, .name = "flag", .fallback = "true" },
    { .size = sizeof *settings,
      .type = KOS_SETTING_DURATION,
      .name = "idle",
      .fallback = "30s",
      .min = 1,
      .max = 60000 },
    { .size = sizeof *settings, .type = KOS_SETTING_SIZE, .name = "buffer", .fallback = "1M" },
    { .size = sizeof *settings, .type = KOS_SETTING_FLOAT, .name = "ratio", .fallback = "0.5" },
    { .size = sizeof *settings, .type = KOS_SETTING_LIST, .name = "words", .fallback = "a b" },
    { .size = sizeof *settings, .type = KOS_SETTING_SECRET, .name = "secret", .fallback = "" },
    { .size = sizeof *settings, .type = KOS_SETTING_TABLE, .name = "table", .fallback = "" },
};
static const struct kos_setting *const schema[] = { &settings[0], &settings[1], &settings[2], &settings[3],
                                                    &settings[4], &settings[5], &settings[6], &settings[7],
                                                    &settings[8], NULL };

static void values(const struct kos_conf_node *group, const struct kos_setting *const *of)
{
    struct kos_conf *conf;
    struct kos_error error = { 0 };
    if (kos_conf_values(group, "plugin", of, &conf, &error) < 0) {
        FUZZ_CHECK(error.text[0] && error.code < 0);
        return;
    }
    for (const struct kos_value *const *v = conf->values; *v; v++) {
        FUZZ_CHECK((*v)->name && (*v)->text);
        fuzz_touch((*v)->text, strlen((*v)->text));
        for (const char *const *word = (*v)->list; word && *word; word++)
            fuzz_touch(*word, strlen(*word));
    }
    kos_conf_values_free(conf);
}

static void walk(const struct kos_conf_node *node, int depth)
{
    int64_t number;
    double real;
    bool truth;
    FUZZ_CHECK(depth <= KOS_CONF_DEPTH_MAX + 1 && kos_conf_line(node) >= 0 && kos_conf_file(node));
    fuzz_touch(kos_conf_name(node), strlen(kos_conf_name(node)));
    switch (kos_conf_kind(node)) {
    case KOS_CONF_GROUP:
    case KOS_CONF_LIST:
        for (size_t i = 0; i < kos_conf_count(node); i++) {
            const struct kos_conf_node *item = kos_conf_at(node, i);
            if (kos_conf_kind(node) == KOS_CONF_GROUP)
                FUZZ_CHECK(kos_conf_member(node, kos_conf_name(item)) == item);
            walk(item, depth + 1);
        }
        break;
    case KOS_CONF_STRING:
        fuzz_touch(kos_conf_string(node), strlen(kos_conf_string(node)));
        break;
    case KOS_CONF_INT:
        FUZZ_CHECK(kos_conf_int(node, &number) == KOS_OK && kos_conf_float(node, &real) == KOS_OK);
        break;
    case KOS_CONF_FLOAT:
        FUZZ_CHECK(kos_conf_float(node, &real) == KOS_OK);
        break;
    default:
        FUZZ_CHECK(kos_conf_bool(node, &truth) == KOS_OK);
    }
}

static void text(struct kos_bytes bytes)
{
    struct kos_conf_doc *doc;
    struct kos_error error = { 0 };
    if (kos_conf_read("file", bytes, &doc, &error) < 0) {
        FUZZ_CHECK(strncmp(error.text, "file", 4) == 0);
        return;
    }
    walk(kos_conf_root(doc), 0);
    values(kos_conf_root(doc), schema);
    kos_conf_free(doc);
}

static void node(struct kos_bytes bytes)
{
    struct kos_manual *manual = kos_manual_new(1);
    struct kos_env *env = kos_manual_env(manual);
    struct kos_instance instance;
    struct kos_settings bound;
    struct kos_error error = { 0 };
    FUZZ_CHECK(kos_instance_init("/i", &instance, &error) == KOS_OK);
    FUZZ_CHECK(env->ops->dir_make(env, "/i", 0700) == KOS_OK);
    FUZZ_CHECK(kos_file_write_all(env, instance.conf, 0600, bytes) == KOS_OK);
    if (kos_settings_load(env, &instance, &bound, &error) == KOS_OK) {
        FUZZ_CHECK(bound.name && bound.roles && bound.listen && bound.workers >= 1);
        kos_settings_fini(&bound);
    } else {
        FUZZ_CHECK(error.text[0]);
    }
    kos_instance_fini(&instance);
    kos_manual_free(manual);
}

static void described(struct kos_bytes bytes)
{
    const struct kos_setting *const *of;
    struct kos_error error = { 0 };
    json_t *description = json_loadb((const char *)bytes.data, bytes.len, 0, NULL);
    if (description && kos_schema_new("/plugin.so", description, &of, &error) == KOS_OK) {
        values(NULL, of);
        kos_schema_free(of);
    }
    json_decref(description);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct kos_bytes rest = kos_bytes(data + 1, size - 1);
    int64_t number;
    switch (data[0] % 4) {
    case 0:
        text(rest);
        break;
    case 1:
        node(rest);
        break;
    case 2:
        described(rest);
        break;
    default: {
        char *word = malloc(size);
        FUZZ_CHECK(word);
        memcpy(word, data + 1, size - 1);
        word[size - 1] = 0;
        if (kos_conf_duration(word, &number) == KOS_OK)
            FUZZ_CHECK(number >= 0);
        if (kos_conf_size(word, &number) == KOS_OK)
            FUZZ_CHECK(number >= 0);
        free(word);
    }
    }
    return 0;
}

static void seed(fuzz_put *put, void *arg, uint8_t which, const char *rest)
{
    static struct fuzz_out out;
    out.len = 0;
    fuzz_add_u8(&out, which);
    fuzz_add(&out, rest, strlen(rest));
    put(arg, kos_bytes(out.data, out.len));
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    seed(put, arg, 0,
         "mode = \"hard\"; port = 0x1F; flag = false; idle = \"5m\"; buffer = \"2G\"; ratio = 1.5e-3; words = [ \"a\", "
         "\"b\" ];\n"
         "secret = \"name\"; table = ( { a = \"x\"; b = 1; c = true; }, { a = \"y\"; } );");
    seed(put, arg, 0,
         "# comment\n// another\n/* and\n one */ a : { b = (1, 2L, \"x\" \"y\", [1, 2], { c = 1.5; }); }; d-e = "
         "\"\\x41\\n\\\"\";");
    seed(put, arg, 0, "@include \"x\"\n");
    seed(put, arg, 0, "a = 1; a = 2;");
    seed(put, arg, 1,
         "name = \"home.kai\"; roles = [ \"peer\" ]; listen = [ \"tcp://0.0.0.0:7450\" ]; workers = 2; log_level = "
         "\"info\";");
    seed(put, arg, 1, "");
    seed(put, arg, 2,
         "{\"settings\":[{\"name\":\"a\",\"type\":\"string\",\"summary\":\"s\",\"default\":\"x\",\"choices\":[\"x\","
         "\"y\"]},"
         "{\"name\":\"b\",\"type\":\"int\",\"summary\":\"s\",\"default\":\"1\",\"min\":0,\"max\":9},{\"name\":\"c\","
         "\"type\":\"table\",\"summary\":\"s\",\"default\":\"\"}]}");
    seed(put, arg, 3, "250ms");
    seed(put, arg, 3, "2G");
}
