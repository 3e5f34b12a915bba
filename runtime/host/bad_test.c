/* SPDX-License-Identifier: Apache-2.0
 * Modules and wirings that must be refused, each with a sentence that names the file, or the line of the policy, and
 * the reason. */
#include "unit.h"
#include "host/testing/fakes.h"

#include <unistd.h>

static void describe_says(const char *path, int32_t code, const char *words)
{
    json_t *description = NULL;
    struct kos_error error = { 0 };
    int32_t rc = kos_plugin_describe(fixture_cell(), path, NULL, &description, &error);
    ck_assert_msg(rc == code, "%s: %d %s", path, rc, error.text);
    ck_assert_ptr_null(description);
    ck_assert_msg(strstr(error.text, words) != NULL, "%s does not say: %s", error.text, words);
    ck_assert_msg(strstr(error.text, path) != NULL, "%s does not name %s", error.text, path);
}

START_TEST(test_modules)
{
    static const struct { const char *name; int32_t code; const char *words; } cases[] = {
        { "MAJOR", KOS_E_VERSION, "is a plugin of major version 2; this kosd takes version 1" },
        { "SYMBOL", KOS_E_PLUGIN, "the symbol kos_plugin_v1 is missing" },
        { "ABI", KOS_E_VERSION, "was built for major version 2 of the plugin interface" },
        { "NULL", KOS_E_PLUGIN, "kos_plugin_v1.init is NULL" },
        { "SIZE", KOS_E_PLUGIN, "kos_plugin_v1 has size 40, at least " },
        { "TABLE_NULL", KOS_E_PLUGIN, "member 3 of the table of kos.handler/1 is NULL" },
        { "TABLE_SIZE", KOS_E_PLUGIN, "the table of kos.handler/1 has size 12" },
        { "CRASH", KOS_E_PLUGIN, "crashed while it was looked at (signal 11" },
        { "EXIT", KOS_E_PLUGIN, "without saying what it is (exit status 3)" },
        { "UNDEFINED", KOS_E_PLUGIN, "undefined symbol: nobody_defines_this" },
        { "NAME", KOS_E_PLUGIN, "its name is not of the form" },
        { "KIND", KOS_E_PLUGIN, "offers none of the kinds" },
        { "SETTING", KOS_E_PLUGIN, "setting 1 has size 8" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[4200];
        snprintf(path, sizeof path, "%s/bad-%s.so", fixture_modules(), cases[i].name);
#if defined(__SANITIZE_ADDRESS__)
        if (strcmp(cases[i].name, "CRASH") == 0)
            continue; /* the sanitizer turns the signal into an exit */
#endif
        describe_says(path, cases[i].code, cases[i].words);
    }
}
END_TEST

START_TEST(test_files)
{
    char path[64] = "/tmp/kos-bad-XXXXXX", probe[4200];
    static uint8_t bytes[1 << 20];
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    describe_says(path, KOS_E_PLUGIN, "is not a shared object");
    ck_assert_int_eq(write(fd, "#!/bin/sh\n", 10), 10);
    describe_says(path, KOS_E_PLUGIN, "is not a shared object");
    snprintf(probe, sizeof probe, "%s/probe.so", fixture_modules());
    FILE *in = fopen(probe, "re");
    ck_assert_ptr_nonnull(in);
    size_t len = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    /* Cut off anywhere it is an error, never a crash of ours. */
    for (size_t cut = 1; cut < len; cut = cut * 2 + 7) {
        json_t *description = NULL;
        struct kos_error error = { 0 };
        ck_assert_int_eq(ftruncate(fd, 0), 0);
        ck_assert_int_eq(pwrite(fd, bytes, cut, 0), (ssize_t)cut);
        ck_assert_int_lt(kos_plugin_describe(fixture_cell(), path, NULL, &description, &error), 0);
        ck_assert(strstr(error.text, path) != NULL);
    }
    ck_assert_int_eq(pwrite(fd, bytes, 30, 0), 30);
    ck_assert_int_eq(ftruncate(fd, 30), 0);
    describe_says(path, KOS_E_PLUGIN, "is cut off: it has 30 bytes");
    ck_assert_int_eq(ftruncate(fd, (off_t)len / 2), 0);
    ck_assert_int_eq(pwrite(fd, bytes, len / 2, 0), (ssize_t)len / 2);
    describe_says(path, KOS_E_PLUGIN, "is cut off");
    close(fd);
    unlink(path);
    describe_says(path, KOS_E_NOTFOUND, "there is no such file");
    describe_says("/tmp", KOS_E_PLUGIN, "is not a regular file");
    describe_says("/bin/sh", KOS_E_PLUGIN, "/bin/sh: ");
}
END_TEST

/* Runs until its CPU time is over: some 5 s. */
START_TEST(test_hangs)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/bad-HANG.so", fixture_modules());
    describe_says(path, KOS_E_PLUGIN, "its constructors did not end");
}
END_TEST

START_TEST(test_confined)
{
    char path[4200];
    json_t *description = NULL;
    struct kos_error error = { 0 };
    snprintf(path, sizeof path, "%s/bad-SLY.so", fixture_modules());
    ck_assert_msg(kos_plugin_describe(fixture_cell(), path, NULL, &description, &error) == KOS_OK, "%s", error.text);
    /* Its constructor says what it was able to do. */
    ck_assert_str_eq(json_string_value(json_object_get(description, "version")), ".");
    json_decref(description);
}
END_TEST

START_TEST(test_description)
{
    char path[4200];
    json_t *d = NULL;
    snprintf(path, sizeof path, "%s/probe.so", fixture_modules());
    ck_assert_int_eq(kos_plugin_describe(fixture_cell(), path, NULL, &d, NULL), KOS_OK);
    ck_assert_str_eq(json_string_value(json_object_get(d, "id")), "org.kos.test.probe");
    ck_assert_str_eq(json_string_value(json_object_get(d, "abi")), "1.0");
    ck_assert_uint_eq(json_array_size(json_object_get(d, "kinds")), 2);
    ck_assert_uint_eq(json_array_size(json_object_get(d, "settings")), 2);
    ck_assert_uint_eq(json_array_size(json_object_get(d, "rights")), 6);
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(d, "types"), 1)), "PROBE_MORE");
    ck_assert_str_eq(json_string_value(json_object_get(d, "interface")), "org.kos.test.probe");
    json_decref(d);
}
END_TEST

/* Loading under a policy: all or nothing, and the sentence leads to the line. */
START_TEST(test_wiring)
{
    static const struct { const char *policy; int32_t code; const char *words[4]; } cases[] = {
        { "plugins = {\n  probe = { module = \"%s/nothing.so\"; isolate = false; };\n};",
          KOS_E_NOTFOUND,
          { "test.klp-policy:2: plugin probe: ", "/nothing.so: there is no such file" } },
        { "plugins = {\n  probe = { module = \"%s/bad-MAJOR.so\"; isolate = false; };\n};",
          KOS_E_VERSION,
          { "test.klp-policy:2: plugin probe: ", "major version 2" } },
        { "plugins = {\n  probe = { module = \"%s/probe.so\"; isolate = false;\n    rights = [ \"send\", \"agents\", \"files\", "
          "\"connect\", \"listen\", \"sign\", \"exce\" ]; };\n};",
          KOS_E_POLICY,
          { "test.klp-policy:2: plugin probe: there is no right \"exce\"; there are listen, connect, device, net,", "files, exec" } },
        { "plugins = {\n  probe = { module = \"%s/probe.so\"; isolate = false;\n    rights = [ \"connect\", "
          "\"listen\", \"sign\" ]; };\n};",
          KOS_E_DENIED,
          { "test.klp-policy:2: plugin probe asks for the right \"send\" (to be tested)",
            "write there: rights = [ \"connect\", \"listen\", \"sign\", \"send\", \"agents\", \"files\" ];" } },
        { "plugins = {\n  probe = { module = \"%s/probe.so\"; " PROBE_RIGHTS "};\n};",
          KOS_E_UNSUPPORTED,
          { "test.klp-policy:2: plugin probe is to be isolated", "isolate = false;" } },
        { "plugins = {\n  probe = { module = \"%s/probe.so\"; isolate = false; " PROBE_RIGHTS
          "\n    settings = {\n      number = 12; }; };\n};",
          KOS_E_CONFIG,
          { "test.klp-policy:4: ", "number", "9" } },
        { "plugins = {\n  probe = { module = \"%s/probe.so\"; isolate = false; " PROBE_RIGHTS
          "\n    settings = {\n      nummer = 2; }; };\n};",
          KOS_E_CONFIG,
          { "test.klp-policy:4: ", "nummer", "number" } },
        { "plugins = {\n  probe = { module = \"%s/probe.so\"; isolate = false; " PROBE_RIGHTS
          "types = [ \"PONG\" ]; };\n};",
          KOS_E_POLICY,
          { "test.klp-policy:2: types: plugin probe does not take PONG; it takes [\"PROBE\",\"PROBE_MORE\"]" } },
        { "plugins = {\n  probe = { module = \"%s/probe.so\"; isolate = false; " PROBE_RIGHTS
          "};\n  twin = { module = \"%s/twin.so\"; isolate = false; " PROBE_RIGHTS "};\n};",
          KOS_E_POLICY,
          { "test.klp-policy:3: plugins probe (", "test.klp-policy:2) and twin both take messages of type PROBE" } },
        { "plugins = {\n  probe = { module = \"%s/probe.so\"; isolate = false; " PROBE_RIGHTS
          "types = [ \"PROBE\" ]; };\n  same = { module = \"%s/probe.so\"; isolate = false; " PROBE_RIGHTS
          "types = [ \"PROBE_MORE\" ]; };\n};",
          KOS_E_POLICY,
          { "test.klp-policy:3: plugins probe (", "both serve addresses of the form probe://" } },
        { "plugins = {\n  bad = { module = \"%s/bad-RIGHT.so\"; isolate = false; rights = [ \"send\", \"everything\" "
          "]; };\n};",
          KOS_E_PLUGIN,
          { "test.klp-policy:2: plugin bad asks for the right \"everything\", which this kosd does not have" } },
        { "plugins = {\n  bad = { module = \"%s/bad-INIT.so\"; isolate = false; rights = [ \"send\" ]; };\n  probe = { "
          "module = \"%s/probe.so\"; isolate = false; " PROBE_RIGHTS "};\n};",
          KOS_E_CONFIG,
          { "test.klp-policy:2: plugin bad does not begin: the moon is not full" } },
        { "plugins = {\n  probe = { module = \"%s/probe.so\"; isolate = false; " PROBE_RIGHTS
          "};\n  sly = { module = \"%s/bad-SLY.so\"; isolate = false; rights = [ \"send\" ]; };\n};",
          KOS_E_PLUGIN,
          { "/bad-SLY.so: says something else of itself than a moment ago" } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_begin(cases[i].policy);
        int32_t rc = fixture_load();
        ck_assert_msg(rc == cases[i].code, "case %zu: %d %s", i, rc, f.error.text);
        for (size_t w = 0; w < 4 && cases[i].words[w]; w++)
            ck_assert_msg(strstr(f.error.text, cases[i].words[w]) != NULL, "case %zu: \"%s\" does not say \"%s\"", i,
                          f.error.text, cases[i].words[w]);
        json_t *list = kos_hosting_list(f.hosting);
        ck_assert_uint_eq(json_array_size(list), 0); /* nothing half loaded */
        json_decref(list);
        fixture_end();
    }
}
END_TEST

/* Types split between two plugins by the policy. */
START_TEST(test_types_split)
{
    fixture_begin("plugins = {\n  probe = { module = \"%s/probe.so\"; isolate = false; " PROBE_RIGHTS
                  "types = [ \"PROBE\" ]; };\n"
                  "  twin = { module = \"twin.so\"; isolate = false; " PROBE_RIGHTS
                  "types = [ \"PROBE_MORE\" ]; };\n};");
    ck_assert_msg(fixture_load() == KOS_OK, "%s", f.error.text);
    struct kos_sink *sink = kos_hosting_sink(f.hosting);
    ck_assert(sink->ops->takes(sink, "PROBE"));
    ck_assert(sink->ops->takes(sink, "PROBE_MORE"));
    ck_assert(!sink->ops->takes(sink, "PONG"));
    json_t *list = kos_hosting_list(f.hosting);
    ck_assert_uint_eq(json_array_size(list), 2);
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(json_array_get(list, 1), "types"), 0)),
                     "PROBE_MORE");
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 0), "state")), "loaded");
    json_decref(list);
    /* Freed without having been started: fini alone. */
    fixture_end();
}
END_TEST

TESTS("host/bad", test_modules, test_files, test_hangs, test_confined, test_description, test_wiring, test_types_split)
