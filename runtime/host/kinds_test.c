/* SPDX-License-Identifier: Apache-2.0
 * Bridges and discovery services as the host drives them, with the SDK's examples. */
#include "testing/fakes.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#define BRIDGE                                                                                                         \
    "plugins = { files = { module = \"%b/sdk/examples/.libs/bridge_files.so\"; isolate = false; rights = [ \"send\", "    \
    "\"files\" ];\n maps = ( { type = \"ORDER\"; destination = \"orders\"; }, { type = \"BAD\"; destination = \"../x\"; } );\n"     \
    " settings = { directory = \"%d\"; target = \"klp://node.x\"; type = \"NEWS\"; interval = \"10ms\"; }; }; };\n"

static void put(const char *name)
{
    char path[160];
    snprintf(path, sizeof path, "%s/in", f.dir);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/in/%s", f.dir, name);
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    fputs("{\"a\":1}", file);
    fclose(file);
}

/* Another life of the same node: hosting anew over the same store. */
static void again(void)
{
    char *secrets = kos_format("%s/keys/secrets", f.dir), *state = kos_format("%s/plugins", f.dir);
    struct kos_hosting_options options = { .cell_program = fixture_cell(),
                                           .plugin_dir = fixture_modules(),
                                           .secrets_dir = secrets,
                                           .state_dir = state };
    fixture_stop();
    f.stopped = 0;
    ck_assert_int_eq(
        kos_hosting_new(f.env, f.store, NULL, NULL, (struct kos_registry *)&f, &options, &f.hosting, &f.error), KOS_OK);
    free(secrets);
    free(state);
    fixture_start();
}

START_TEST(test_inward)
{
    fixture_begin(BRIDGE);
    put("1");
    put("2");
    fixture_start();
    fixture_until(&f.sent, 2);
    ck_assert_str_eq(f.sent_owner, "files");
    ck_assert_str_eq(f.sent_type, "NEWS");
    fixture_until(&f.commits, 2);
    /* The cursor came back by `resume`: what lies before it is not even injected. */
    again();
    put("3");
    fixture_until(&f.sent, 3);
    ck_assert_int_eq(f.commits, 3);
    /* Without the cursor all come again, and are recognised. */
    fixture_turns(20);
    struct kos_tx *tx = kos_tx_begin(f.store);
    kos_tx_delete(tx, "bridge:files", kos_bytes_str("cfiles:in"));
    ck_assert_int_eq(kos_tx_commit(tx, NULL, NULL), KOS_OK);
    again();
    put("4");
    fixture_until(&f.sent, 4);
    ck_assert_int_eq(f.commits, 3 + 4);
    fixture_stop();
    fixture_end();
}
END_TEST

/* A refusal that trying again can mend holds the bridge up; nothing is passed over. */
START_TEST(test_inward_refused)
{
    fixture_begin(BRIDGE);
    put("1");
    f.commit_error = KOS_E_BUSY;
    fixture_start();
    fixture_until(&f.commits, 3);
    f.commit_error = 0;
    int sent = f.sent;
    fixture_until(&f.sent, sent + 1);
    put("2");
    fixture_until(&f.sent, sent + 2);
    fixture_turns(20);
    ck_assert_int_eq(f.sent, sent + 2);
    fixture_stop();
    fixture_end();
}
END_TEST

static struct kos_message message(const char *type, const uint8_t *id)
{
    struct kos_message m = { .size = sizeof m,
                             .klass = 1,
                             .type = type,
                             .source = "klp://node.a",
                             .target = "klp://node.b",
                             .trace = "",
                             .source_name = "a",
                             .payload = kos_bytes_str("{\"b\":2}") };
    if (id)
        memcpy(m.id, id, sizeof m.id);
    return m;
}

START_TEST(test_outward)
{
    char path[200];
    fixture_begin(BRIDGE);
    fixture_start();
    struct kos_sink *sink = kos_hosting_sink(f.hosting);
    struct kos_message m = message("ORDER", NULL);
    ck_assert(sink->ops->takes(sink, "ORDER"));
    ck_assert(!sink->ops->takes(sink, "NEWS"));
    sink->ops->message(sink, 8, &m);
    fixture_until(&f.settled, 1);
    ck_assert_int_eq(f.verdict, KOS_ACCEPT);
    ck_assert_uint_eq(f.settled_handle, 8);
    snprintf(path, sizeof path, "%s/orders/%032d.json", f.dir, 0);
    ck_assert_int_eq(access(path, R_OK), 0);
    /* What the other network refuses for good goes back to the sender as an error. */
    m.type = "BAD";
    sink->ops->message(sink, 10, &m);
    fixture_until(&f.settled, 2);
    ck_assert_int_eq(f.verdict, KOS_REJECT);
    /* What may work later is deferred: here a directory that cannot be written. */
    snprintf(path, sizeof path, "%s/orders/.%032d", f.dir, 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    m.type = "ORDER";
    sink->ops->message(sink, 12, &m);
    fixture_until(&f.settled, 3);
    ck_assert(f.verdict == KOS_DEFER || f.verdict == KOS_REJECT);
    fixture_stop();
    fixture_end();
}
END_TEST

/* What a bridge brought in is not brought out by it again. */
START_TEST(test_no_loop)
{
    char path[200], id[33];
    fixture_begin(BRIDGE);
    put("1");
    fixture_start();
    fixture_until(&f.sent, 1);
    fixture_turns(20);
    struct kos_sink *sink = kos_hosting_sink(f.hosting);
    struct kos_message m = message("ORDER", f.sent_id);
    sink->ops->message(sink, 8, &m);
    fixture_until(&f.settled, 1);
    ck_assert_int_eq(f.verdict, KOS_ACCEPT);
    for (int i = 0; i < KOS_ID_BYTES; i++)
        snprintf(id + 2 * i, 3, "%02x", f.sent_id[i]);
    snprintf(path, sizeof path, "%s/orders/%s.json", f.dir, id);
    ck_assert_int_ne(access(path, F_OK), 0);
    fixture_stop();
    fixture_end();
}
END_TEST

START_TEST(test_discovery)
{
    char path[160];
    fixture_begin("plugins = { found = { module = \"%b/sdk/examples/.libs/discovery_file.so\"; isolate = false; rights = [ \"files\" ]; settings = "
                  "{ directory = \"%d/common\"; interval = \"10ms\"; }; }; };\n");
    snprintf(path, sizeof path, "%s/common", f.dir);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/common/other", f.dir);
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    fputs("tcp://192.0.2.7:7450\n\n{}", file);
    fclose(file);
    fixture_start();
    fixture_until(&f.founds, 1);
    ck_assert(!f.found_id);
    ck_assert_str_eq(f.found_address, "tcp://192.0.2.7:7450");
    fixture_stop();
    fixture_end();
}
END_TEST

/* Which wirings are refused, and what is said. */
START_TEST(test_wiring)
{
    static const struct { const char *policy, *says; } cases[] = {
        { "plugins = { loop = { module = \"%b/sdk/examples/.libs/transport_loop.so\"; isolate = false;\n"
          "maps = ( { type = \"X\"; destination = \"y\"; } ); }; };",
          "is no bridge" },
        { "plugins = { ping = { module = \"%b/sdk/examples/.libs/handler_ping.so\"; isolate = false; rights = [ \"send\" ]; };\n"
          "files = { module = \"%b/sdk/examples/.libs/bridge_files.so\"; isolate = false; rights = [ \"send\", \"files\" ];\n"
          "maps = ( { type = \"PING\"; destination = \"y\"; } );\n"
          "settings = { directory = \"/tmp\"; target = \"klp://node.x\"; }; }; };",
          "PING" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_begin(cases[i].policy);
        ck_assert_int_eq(fixture_load(), KOS_E_POLICY);
        ck_assert_msg(strstr(f.error.text, cases[i].says) != NULL, "%s", f.error.text);
        kos_hosting_free(f.hosting);
        f.hosting = NULL;
        fixture_end();
    }
}
END_TEST

TESTS("host/kinds", test_inward, test_inward_refused, test_outward, test_no_loop, test_discovery, test_wiring)
