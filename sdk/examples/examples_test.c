/* SPDX-License-Identifier: Apache-2.0
 * Each example, loaded as the plugin it is, does its work under the small host. */
#include "unit.h"
#include "poll_host.h"

#include <dirent.h>
#include <dlfcn.h>
#include <kos/bridge.h>
#include <kos/discovery.h>
#include <kos/transport.h>
#include <kos/vector.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    uint64_t op, message;
    int32_t status, verdict, completions;
    uint8_t result[65536];
    size_t result_len;
    struct kos_draft sent;
    char type[64], target[128], payload[256];
    int sends, found, injected, ups, downs;
    char address[256], record[256], key[256], cursor[256];
    int32_t inject_status;
    uint64_t credit[8], got[8];
    char bytes[8][64];
    struct poll_host *host;
} t;

static const struct kos_plugin *load(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/sdk/examples/.libs/%s.so", getenv("KOS_BUILDDIR") ? getenv("KOS_BUILDDIR") : ".",
             name);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(handle != NULL, "%s", dlerror());
    const struct kos_plugin *plugin = dlsym(handle, "kos_plugin_v1");
    ck_assert(plugin != NULL);
    return plugin;
}

static const void *table(const struct kos_plugin *plugin, const char *feature)
{
    for (const struct kos_feature *const *f = plugin->features; *f; f++)
        if (strcmp((*f)->name, feature) == 0)
            return (*f)->table;
    ck_abort_msg("no %s", feature);
    return NULL;
}

static void on_complete(void *arg, uint64_t op, int32_t status, struct kos_bytes result)
{
    (void)arg;
    t.op = op;
    t.status = status;
    t.completions++;
    ck_assert_uint_le(result.len, sizeof t.result);
    t.result_len = result.len;
    if (result.len)
        memcpy(t.result, result.data, result.len);
}

static void on_send(void *arg, const struct kos_draft *draft)
{
    (void)arg;
    t.sent = *draft;
    t.sends++;
    snprintf(t.type, sizeof t.type, "%s", draft->type);
    snprintf(t.target, sizeof t.target, "%s", draft->target);
    snprintf(t.payload, sizeof t.payload, "%.*s", (int)draft->payload.len, (const char *)draft->payload.data);
}

static void on_verdict(void *arg, uint64_t message, int32_t verdict, int32_t error, const char *text)
{
    (void)arg;
    (void)error;
    (void)text;
    t.message = message;
    t.verdict = verdict;
}

/* ---- tables of the host ---- */

static void found(const struct kos_host *host, uint64_t op, const uint8_t *id, struct kos_bytes record,
                  const char *const *addresses, uint64_t ttl_ms)
{
    (void)host;
    ck_assert_ptr_null(id);
    (void)op;
    ck_assert_uint_gt(ttl_ms, 0);
    t.found++;
    snprintf(t.address, sizeof t.address, "%s", addresses[0]);
    snprintf(t.record, sizeof t.record, "%.*s", (int)record.len, (const char *)record.data);
}
static void lost(const struct kos_host *host, const uint8_t id[KOS_ID_BYTES])
{
    (void)host;
    (void)id;
}
static const struct kos_discovery_host discovery_host = { sizeof discovery_host, found, lost };

static void inject(const struct kos_host *host, const struct kos_foreign *foreign, uint64_t op)
{
    (void)host;
    t.injected++;
    t.op = op;
    snprintf(t.key, sizeof t.key, "%s", foreign->key);
    snprintf(t.cursor, sizeof t.cursor, "%.*s", (int)foreign->cursor.len, (const char *)foreign->cursor.data);
    snprintf(t.payload, sizeof t.payload, "%.*s", (int)foreign->draft.payload.len,
             (const char *)foreign->draft.payload.data);
}
static const struct kos_bridge_host bridge_host = { sizeof bridge_host, inject };

static void endpoint_up(const struct kos_host *host, uint64_t endpoint, const char *address)
{
    (void)host;
    (void)address;
    ck_assert_uint_eq(endpoint, 2);
}
static void endpoint_down(const struct kos_host *host, uint64_t endpoint, int32_t status, const char *text)
{
    (void)host;
    (void)endpoint;
    (void)text;
    t.status = status;
    t.downs++;
}
static void link_up(const struct kos_host *host, uint64_t link, uint64_t endpoint, const struct kos_link_info *info)
{
    (void)host;
    ck_assert_uint_lt(link, 8);
    ck_assert_uint_eq(endpoint, link & 1 ? 2 : 0);
    t.credit[link] = info->send_window_bytes;
    t.ups++;
}
static void link_received(const struct kos_host *host, uint64_t link, struct kos_bytes bytes)
{
    (void)host;
    ck_assert_uint_le(t.got[link] + bytes.len, sizeof t.bytes[link]);
    memcpy(t.bytes[link] + t.got[link], bytes.data, bytes.len);
    t.got[link] += bytes.len;
}
static void link_credit(const struct kos_host *host, uint64_t link, uint64_t bytes)
{
    (void)host;
    t.credit[link] += bytes;
}
static void link_down(const struct kos_host *host, uint64_t link, int32_t status, const char *text)
{
    (void)host;
    (void)link;
    ck_assert_ptr_nonnull(text);
    t.status = status;
    t.downs++;
}
static const struct kos_transport_host transport_host = { sizeof transport_host, endpoint_up, endpoint_down, link_up,
                                                          link_received,         link_credit, link_down };

static const void *feature(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, KOS_TRANSPORT_HOST) == 0 ? (const void *)&transport_host
        : strcmp(name, KOS_DISCOVERY_HOST) == 0  ? (const void *)&discovery_host
        : strcmp(name, KOS_BRIDGE_HOST) == 0     ? (const void *)&bridge_host
                                                 : NULL;
}

static const struct poll_host_hooks hooks = {
    .feature = feature, .complete = on_complete, .send = on_send, .verdict = on_verdict
};

static void *begin(const struct kos_plugin *plugin, const char *const *settings)
{
    struct kos_error error = { 0 };
    memset(&t, 0, sizeof t);
    t.host = poll_host_new(plugin, settings, &hooks, NULL, &error);
    ck_assert_msg(t.host != NULL, "%s", error.text);
    poll_host_start(t.host);
    while (poll_host_run(t.host, 0))
        continue;
    return poll_host_self(t.host);
}

static void finish(void)
{
    uint32_t left;
    ck_assert(poll_host_stop(t.host));
    poll_host_free(t.host, &left);
    ck_assert_uint_eq(left, 0);
}

static void temporary(char *path)
{
    strcpy(path, "/tmp/kos-examples-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && unlink(name) != 0)
            remove_tree(name);
    }
    if (dir)
        closedir(dir);
    rmdir(path);
}

START_TEST(test_handler)
{
    const struct kos_plugin *plugin = load("handler_ping");
    const struct kos_handler *handler = table(plugin, KOS_HANDLER);
    void *self = begin(plugin, NULL);
    struct kos_message m = { .size = sizeof m,
                             .klass = 1,
                             .id = { 7 },
                             .source_id = { 9 },
                             .type = "PING",
                             .source = "klp://node.laptop.kai",
                             .target = "klp://node.home.kai",
                             .trace = "",
                             .source_name = "laptop",
                             .payload = kos_bytes_str("{\"n\":1}") };
    handler->handle(self, 2, &m);
    ck_assert_int_eq(t.sends, 1);
    ck_assert_str_eq(t.type, "PONG");
    ck_assert_str_eq(t.target, m.source);
    ck_assert_str_eq(t.payload, "{\"n\":1}");
    ck_assert_int_eq(t.sent.reply_to[0], 7);
    ck_assert_int_eq(t.sent.target_id[0], 9);
    ck_assert_uint_eq(t.message, 2);
    ck_assert_int_eq(t.verdict, KOS_ACCEPT);
    finish();
}
END_TEST

START_TEST(test_transport)
{
    const struct kos_plugin *plugin = load("transport_loop");
    const struct kos_transport *loop = table(plugin, KOS_TRANSPORT);
    void *self = begin(plugin, NULL);
    loop->dial(self, 4, "loop://here");
    ck_assert_int_eq(t.status, KOS_E_UNREACHABLE);
    loop->listen(self, 2, "loop://here");
    loop->listen(self, 6, "loop://here");
    ck_assert_int_eq(t.status, KOS_E_ADDRESS_USED);
    loop->dial(self, 4, "loop://here");
    ck_assert_int_eq(t.ups, 2);
    struct kos_bytes pieces[2] = { kos_bytes_str("hel"), kos_bytes_str("lo") };
    loop->send(self, 4, pieces, 2);
    ck_assert_uint_eq(t.got[1], 0);
    loop->link_credit(self, 1, 2);
    ck_assert_uint_eq(t.got[1], 2);
    loop->link_close(self, 4, 1);
    loop->link_credit(self, 1, 100);
    ck_assert_uint_eq(t.got[1], 5);
    ck_assert(memcmp(t.bytes[1], "hello", 5) == 0);
    ck_assert_int_eq(t.status, KOS_E_CLOSED);
    finish();
    ck_assert_int_eq(t.downs, 5);
}
END_TEST

START_TEST(test_discovery)
{
    char dir[64], setting[96];
    static const char *const addresses[] = { "tcp://192.0.2.1:7450", "tcp://192.0.2.2:7450", NULL };
    temporary(dir);
    snprintf(setting, sizeof setting, "directory=%s", dir);
    const struct kos_plugin *plugin = load("discovery_file");
    const struct kos_discovery *d = table(plugin, KOS_DISCOVERY);
    void *self = begin(plugin, (const char *const[]){ setting, "interval=20", NULL });
    d->announce(self, 3, kos_bytes_str("record A"), addresses);
    ck_assert_int_eq(t.status, KOS_OK);
    struct kos_find all = { .size = sizeof all, .kind = KOS_FIND_ALL, .limit = 10 };
    d->find(self, 5, &all);
    ck_assert_int_eq(t.found, 0); /* not itself */
    struct poll_host *first = t.host;
    struct poll_host *second = poll_host_new(plugin, (const char *const[]){ setting, NULL }, &hooks, NULL, NULL);
    poll_host_start(second);
    d->find(poll_host_self(second), 7, &all);
    ck_assert_uint_eq(t.op, 7);
    ck_assert_int_eq(t.found, 1);
    ck_assert_str_eq(t.address, addresses[0]);
    ck_assert_str_eq(t.record, "record A");
    d->announce(poll_host_self(second), 9, kos_bytes_str("record B"), addresses + 1);
    for (int i = 0; i < 1000 && t.found < 2; i++)
        poll_host_run(first, 10);
    ck_assert_str_eq(t.record, "record B"); /* seen without being asked */
    t.host = second;
    finish();
    t.found = 0;
    d->find(self, 11, &all);
    ck_assert_int_eq(t.found, 0); /* it took its file away */
    t.host = first;
    finish();
    remove_tree(dir);
}
END_TEST

START_TEST(test_bridge)
{
    char dir[64], setting[96], path[256], text[64];
    temporary(dir);
    snprintf(setting, sizeof setting, "directory=%s", dir);
    const struct kos_plugin *plugin = load("bridge_files");
    const struct kos_bridge *bridge = table(plugin, KOS_BRIDGE);
    void *self = begin(plugin, (const char *const[]){ setting, "target=klp://node.home.kai", "interval=10", NULL });
    struct kos_message m = { .size = sizeof m,
                             .id = { 0xab },
                             .type = "BROADCAST_ANNOUNCE",
                             .source = "",
                             .target = "",
                             .payload = kos_bytes_str("{\"text\":\"hi\"}") };
    bridge->deliver(self, 3, &m, "out");
    ck_assert_int_eq(t.status, KOS_OK);
    snprintf(path, sizeof path, "%s/out/ab000000000000000000000000000000.json", dir);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fread(text, 1, sizeof text, f), 13);
    fclose(f);
    bridge->deliver(self, 5, &m, "../out");
    ck_assert_int_eq(t.status, KOS_E_INVALID);

    snprintf(path, sizeof path, "%s/in", dir);
    mkdir(path, 0700);
    bridge->resume(self, "files:in", kos_bytes_str("b"));
    static const char *const names[] = { "a", "b", "c", "d" };
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/in/%s", dir, names[i]);
        f = fopen(path, "w");
        fprintf(f, "{\"name\":\"%s\"}", names[i]);
        fclose(f);
    }
    for (int i = 0; i < 1000 && t.injected < 1; i++)
        poll_host_run(t.host, 10);
    ck_assert_str_eq(t.key, "c"); /* behind the cursor */
    ck_assert_str_eq(t.cursor, "c");
    ck_assert_str_eq(t.payload, "{\"name\":\"c\"}");
    plugin->completed(self, t.op, KOS_E_BUSY, kos_bytes_str("full")); /* comes again */
    for (int i = 0; i < 1000 && t.injected < 2; i++)
        poll_host_run(t.host, 10);
    ck_assert_str_eq(t.key, "c");
    plugin->completed(self, t.op, KOS_E_EXISTS, kos_bytes_str(""));
    ck_assert_str_eq(t.key, "d");
    plugin->completed(self, t.op, KOS_OK, kos_bytes_str(""));
    ck_assert_int_eq(t.injected, 3);
    finish();
    remove_tree(dir);
}
END_TEST

static struct kos_bytes result(void)
{
    return kos_bytes(t.result, t.result_len);
}

START_TEST(test_vector)
{
    const struct kos_plugin *plugin = load("vector_brute");
    const struct kos_vector *v = table(plugin, KOS_VECTOR);
    void *self = begin(plugin, NULL);
    struct kos_space space = { .size = sizeof space, .dimension = 2, .metric = KOS_METRIC_L2 };
    static const float at[3][2] = { { 0, 0 }, { 3, 4 }, { 1, 0 } };
    struct kos_item items[3];
    const struct kos_item *list[3];
    for (size_t i = 0; i < 3; i++) {
        items[i] = (struct kos_item){ .size = sizeof *items,
                                      .id = kos_bytes_str(i == 0       ? "zero"
                                                              : i == 1 ? "far"
                                                                       : "near"),
                                      .version = 1,
                                      .vector = at[i],
                                      .metadata =
                                          kos_bytes_str(i == 1 ? "{\"lang\":\"de\",\"n\":[1,2]}" : "{\"lang\":\"en\"}"),
                                      .digest = { (uint8_t)(i + 1) } };
        list[i] = &items[i];
    }
    v->open(self, 3, 1, "test", &space);
    ck_assert_int_eq(t.status, KOS_OK);
    v->upsert(self, 5, 1, list, 3);
    ck_assert_uint_eq(*(uint32_t *)(void *)t.result, 3);
    v->upsert(self, 7, 1, list, 1); /* not newer */
    ck_assert_uint_eq(*(uint32_t *)(void *)t.result, 0);

    struct kos_query q = { .size = sizeof q, .k = 2, .vector = at[0] };
    struct kos_bytes rest, key, value;
    float distance;
    v->query(self, 9, 1, &q);
    rest = result();
    ck_assert_int_eq(kos_pair_next(&rest, &key, &value), 1);
    ck_assert(kos_bytes_eq(key, kos_bytes_str("zero")));
    ck_assert_int_eq(kos_pair_next(&rest, &key, &value), 1);
    ck_assert(kos_bytes_eq(key, kos_bytes_str("near")));
    memcpy(&distance, value.data, sizeof distance);
    ck_assert_float_eq(distance, 1);
    ck_assert_int_eq(kos_pair_next(&rest, &key, &value), 0);
    q.filter = kos_bytes_str("{\"lang\":\"de\"}");
    v->query(self, 11, 1, &q);
    rest = result();
    ck_assert_int_eq(kos_pair_next(&rest, &key, &value), 1);
    ck_assert(kos_bytes_eq(key, kos_bytes_str("far")));
    memcpy(&distance, value.data, sizeof distance);
    ck_assert_float_eq(distance, 25);

    uint8_t from[32] = { 1 }, to[32] = { 3 };
    v->scan(self, 13, 1, from, to, 10);
    rest = result();
    ck_assert_int_eq(kos_pair_next(&rest, &key, &value), 1);
    ck_assert_uint_eq(value.len, 8 + 4 + 32 + 2 * sizeof(float) + strlen("{\"lang\":\"en\"}"));
    ck_assert_int_eq(kos_pair_next(&rest, &key, &value), 1);
    ck_assert_int_eq(kos_pair_next(&rest, &key, &value), 0);
    v->fingerprint(self, 15, 1, from, to);
    ck_assert_uint_eq(t.result_len, 40);

    struct kos_item gone = { .size = sizeof gone,
                             .flags = 1,
                             .id = kos_bytes_str("near"),
                             .version = 2,
                             .metadata = kos_bytes_str("{}"),
                             .digest = { 9 } };
    list[0] = &gone;
    v->upsert(self, 17, 1, list, 1);
    q.filter = kos_bytes(NULL, 0);
    q.k = 3;
    v->query(self, 19, 1, &q);
    rest = result();
    ck_assert_int_eq(kos_pair_next(&rest, &key, &value), 1);
    ck_assert_int_eq(kos_pair_next(&rest, &key, &value), 1);
    ck_assert_int_eq(kos_pair_next(&rest, &key, &value), 0);
    v->get(self, 21, 1, kos_bytes_str("near"));
    ck_assert_int_eq(t.status, KOS_OK);
    v->remove(self, 23, 1, kos_bytes_str("near"), 2);
    ck_assert_int_eq(t.status, KOS_E_STALE);
    v->remove(self, 25, 1, kos_bytes_str("near"), 3);
    ck_assert_int_eq(t.status, KOS_OK);
    v->get(self, 27, 1, kos_bytes_str("near"));
    ck_assert_int_eq(t.status, KOS_E_NOTFOUND);
    v->stats(self, 29, 1);
    ck_assert(kos_bytes_eq(result(), kos_bytes_str("{\"items\":2}")));
    v->drop(self, 31, 1);
    ck_assert_int_eq(t.status, KOS_OK);
    v->close(self, 33, 1);
    ck_assert_int_eq(t.status, KOS_E_NOTFOUND);
    ck_assert_int_eq(t.completions, 16);
    finish();
}
END_TEST

TESTS("sdk/examples", test_handler, test_transport, test_discovery, test_bridge, test_vector)
