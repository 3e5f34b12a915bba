/* SPDX-License-Identifier: Apache-2.0
 * The list of nodes under the small host: from the setting, from a file, and when the file changes. */
#include "unit.h"
#include "../../../sdk/examples/poll_host.h"

#include <fcntl.h>
#include <klp/id.h>
#include <klp/statement.h>
#include <kos/discovery.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID_A "ae4dcmzfkq3e4yltnfzxg2lomu"

static struct {
    struct poll_host *host;
    int found, lost, completions;
    int32_t status;
    uint64_t op;
    char all[4096], record[2048], log[4096];
    uint8_t id[16], gone[16];
    bool has_id;
} t;

static void found(const struct kos_host *host, uint64_t op, const uint8_t *id, struct kos_bytes record,
                  const char *const *addresses, uint64_t ttl_ms)
{
    (void)host;
    ck_assert_uint_gt(ttl_ms, 0);
    t.found++;
    t.op = op;
    t.has_id = id != NULL;
    if (id)
        memcpy(t.id, id, sizeof t.id);
    for (; *addresses; addresses++)
        snprintf(t.all + strlen(t.all), sizeof t.all - strlen(t.all), "%s ", *addresses);
    snprintf(t.record, sizeof t.record, "%.*s", (int)record.len, record.len ? (const char *)record.data : "");
}
static void lost(const struct kos_host *host, const uint8_t id[KOS_ID_BYTES])
{
    (void)host;
    t.lost++;
    memcpy(t.gone, id, sizeof t.gone);
}
static const struct kos_discovery_host events = { sizeof events, found, lost };

static const void *feature(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, KOS_DISCOVERY_HOST) == 0 ? &events : NULL;
}
static void complete(void *arg, uint64_t op, int32_t status, struct kos_bytes result)
{
    (void)arg;
    (void)op;
    (void)result;
    t.status = status;
    t.completions++;
}
static void log_line(void *arg, int32_t level, const char *text)
{
    (void)arg;
    (void)level;
    snprintf(t.log + strlen(t.log), sizeof t.log - strlen(t.log), "%s\n", text);
}
static const struct poll_host_hooks hooks = { .feature = feature, .complete = complete, .log = log_line };

static const struct kos_discovery *service(void)
{
    return kos_plugin_v1.features[0]->table;
}

static void begin(const char *const *settings)
{
    struct kos_error error = { 0 };
    memset(&t, 0, sizeof t);
    t.host = poll_host_new(&kos_plugin_v1, settings, &hooks, NULL, &error);
    ck_assert_msg(t.host != NULL, "%s", error.text);
    poll_host_start(t.host);
}

static void finish(void)
{
    uint32_t left;
    ck_assert(poll_host_stop(t.host));
    poll_host_free(t.host, &left);
    ck_assert_uint_eq(left, 0);
}

static void refused(const char *setting, const char *why)
{
    struct kos_error error = { 0 };
    memset(&t, 0, sizeof t);
    t.host = poll_host_new(&kos_plugin_v1, (const char *const[]){ setting, NULL }, &hooks, NULL, &error);
    ck_assert_msg(t.host == NULL, "%s", setting);
    ck_assert_int_eq(error.code, KOS_E_CONFIG);
    ck_assert_msg(strstr(error.text, why) != NULL, "%s", error.text);
}

static int find_now(int32_t kind, const char *text, uint32_t limit)
{
    struct kos_find what = { .size = sizeof what, .kind = kind, .text = text, .limit = limit };
    struct klp_id id;
    if (kind == KOS_FIND_ID) {
        ck_assert_int_eq(klp_id_parse(kos_bytes_str(text), &id), KOS_OK);
        memcpy(what.id, id.b, sizeof what.id);
    }
    t.found = t.completions = 0;
    t.all[0] = '\0';
    service()->find(poll_host_self(t.host), 7, &what);
    ck_assert_int_eq(t.completions, 1);
    return t.found;
}

START_TEST(test_setting)
{
    begin((const char *const[]){ "peers=[{\"addresses\":\"tcp://192.0.2.1:7450 tcp://[2001:db8::1]:7450\",\"id\":\"" ID_A
                                 "\",\"name\":\"laptop\"},{\"addresses\":\"tcp://192.0.2.2:7450\"}]",
                                 "ttl=1000", NULL });
    ck_assert_int_eq(t.found, 2);
    ck_assert_uint_eq(t.op, 0);
    ck_assert_str_eq(t.all, "tcp://192.0.2.1:7450 tcp://[2001:db8::1]:7450 tcp://192.0.2.2:7450 ");
    ck_assert(!t.has_id);
    for (int i = 0; i < 1000 && t.found < 4; i++) /* again, before it is forgotten */
        poll_host_run(t.host, 10);
    ck_assert_int_eq(t.found, 4);
    ck_assert_int_eq(find_now(KOS_FIND_ALL, NULL, 10), 2);
    ck_assert_uint_eq(t.op, 7);
    ck_assert_int_eq(find_now(KOS_FIND_ALL, NULL, 1), 1);
    ck_assert_int_eq(find_now(KOS_FIND_NAME, "laptop", 10), 1);
    ck_assert(t.has_id);
    ck_assert_int_eq(find_now(KOS_FIND_NAME, "lap", 10), 0);
    ck_assert_int_eq(find_now(KOS_FIND_ID, ID_A, 10), 1);
    ck_assert_str_eq(t.all, "tcp://192.0.2.1:7450 tcp://[2001:db8::1]:7450 ");
    ck_assert_int_eq(t.status, KOS_OK);
    find_now(KOS_FIND_SKILL, "cook", 10);
    ck_assert_int_eq(t.status, KOS_E_UNSUPPORTED);
    find_now(99, NULL, 10);
    ck_assert_int_eq(t.status, KOS_E_UNSUPPORTED);
    service()->announce(poll_host_self(t.host), 9, kos_bytes_str("x"), (const char *const[]){ NULL });
    ck_assert_int_eq(t.status, KOS_OK);
    service()->withdraw(poll_host_self(t.host), 11);
    service()->find_cancel(poll_host_self(t.host), 7);
    ck_assert_int_eq(t.completions, 3);
    finish();
}
END_TEST

START_TEST(test_refused)
{
    refused("peers=[{\"addresses\":\"192.0.2.1:7450\"}]", "entry 1: a word is neither an address");
    refused("peers=[{\"addresses\":\"tcp://192.0.2.1:7450\"},{\"id\":\"" ID_A "\"}]", "entry 2: there is neither");
    refused("peers=[{\"addresses\":\"tcp://a:1\",\"id\":\"0x12\"}]", "not the id of a node");
    refused("peers=[{\"addresses\":\"tcp://a:1\",\"port\":\"7\"}]", "nothing else");
    refused("peers=[{\"addresses\":7}]", "not a string");
    refused("peers=[{\"addresses\":\"tcp://a:1\",\"record\":\"{}\"}]", "not a signed record");
    refused("peers={}", "not a list");
    refused("file=/nowhere/at/all", "/nowhere/at/all");
}
END_TEST

static void write_file(const char *path, const char *text, int second)
{
    char aside[96];
    struct timespec times[2] = { { .tv_sec = 1000000 + second }, { .tv_sec = 1000000 + second } };
    snprintf(aside, sizeof aside, "%s.new", path);
    FILE *f = fopen(aside, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
    utimensat(AT_FDCWD, aside, times, 0);
    ck_assert_int_eq(rename(aside, path), 0);
}

START_TEST(test_file)
{
    char dir[] = "/tmp/kos-static-XXXXXX", path[64], setting[80];
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/nodes", dir);
    snprintf(setting, sizeof setting, "file=%s", path);
    write_file(path,
               "# nodes\n\n  tcp://192.0.2.1:7450 id=" ID_A " name=a\r\nnonsense\nid=" ID_A
               "\ntcp://192.0.2.2:7450 record={\"body\":1}\ntcp://192.0.2.3:7450", 1);
    begin((const char *const[]){ setting, "interval=10", "peers=[{\"addresses\":\"tcp://192.0.2.9:1\"}]", NULL });
    ck_assert_str_eq(t.all, "tcp://192.0.2.9:1 tcp://192.0.2.1:7450 tcp://192.0.2.3:7450 ");
    ck_assert(strstr(t.log, "nodes:4: left out: a word is neither") != NULL);
    ck_assert(strstr(t.log, "nodes:5: left out: there is neither an address") != NULL);
    ck_assert(strstr(t.log, "nodes:6: left out: what follows record=") != NULL);
    t.all[0] = t.log[0] = '\0';
    write_file(path, "tcp://192.0.2.4:7450\n", 2);
    for (int i = 0; i < 1000 && !t.lost; i++)
        poll_host_run(t.host, 10);
    ck_assert_int_eq(t.lost, 1);
    ck_assert(memcmp(t.gone, (struct klp_id[]){ { { 0 } } }, 16) != 0);
    ck_assert_str_eq(t.all, "tcp://192.0.2.9:1 tcp://192.0.2.4:7450 ");
    unlink(path);
    for (int i = 0; i < 1000 && !t.log[0]; i++)
        poll_host_run(t.host, 10);
    ck_assert(strstr(t.log, "is kept") != NULL);
    ck_assert_int_eq(find_now(KOS_FIND_ALL, NULL, 10), 2);
    write_file(path, "tcp://192.0.2.5:7450\n", 3);
    t.all[0] = '\0';
    for (int i = 0; i < 1000 && !t.all[0]; i++)
        poll_host_run(t.host, 10);
    ck_assert_str_eq(t.all, "tcp://192.0.2.9:1 tcp://192.0.2.5:7450 ");
    finish();
    unlink(path);
    rmdir(dir);
}
END_TEST

static void fill(void *self, void *out, size_t len)
{
    (void)self;
    memset(out, 7, len);
}

/* A record says by itself whose it is. */
START_TEST(test_record)
{
    struct klp_secret secret;
    struct klp_statement s = { .kind = "node_record", .issuer = { { 1, 2, 3 } }, .seq = 1, .created = 1, .expires = 2 };
    uint8_t record[2048];
    size_t len;
    char dir[] = "/tmp/kos-static-XXXXXX", path[64], setting[80], line[4096];
    ck_assert_int_eq(klp_secret_generate(KLP_ALG_ED25519, (struct klp_random){ fill, NULL }, &secret), KOS_OK);
    ck_assert_int_eq(klp_statement_make(&s, kos_bytes_str("{\"addresses\":[\"tcp://192.0.2.1:7450\"],\"name\":\"a b\"}"), &secret, record,
                                        sizeof record, &len), KOS_OK);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/nodes", dir);
    snprintf(setting, sizeof setting, "file=%s", path);
    snprintf(line, sizeof line, "record=%.*s \r\nid=" ID_A " record=%.*s\n", (int)len, (char *)record, (int)len,
             (char *)record);
    write_file(path, line, 1);
    begin((const char *const[]){ setting, NULL });
    ck_assert_int_eq(t.found, 1);
    ck_assert(t.has_id && memcmp(t.id, s.issuer.b, 16) == 0);
    ck_assert_uint_eq(strlen(t.record), len);
    ck_assert(memcmp(t.record, record, len) == 0);
    ck_assert(strstr(t.log, "nodes:2: left out: the record is of another node") != NULL);
    finish();
    unlink(path);
    rmdir(dir);
}
END_TEST

TESTS("discovery/static", test_setting, test_refused, test_file, test_record)
