/* SPDX-License-Identifier: Apache-2.0
 * Out: a message becomes a file. In: a file becomes a message, behind the cursor and once. */
#include <kos_test.h>
#include <kos/bridge.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    int injected, completed;
    uint64_t op;
    int32_t status;
    char key[64], payload[64];
} seen;

static void inject(const struct kos_host *host, const struct kos_foreign *foreign, uint64_t op)
{
    (void)host;
    seen.injected++;
    seen.op = op;
    snprintf(seen.key, sizeof seen.key, "%s", foreign->key);
    snprintf(seen.payload, sizeof seen.payload, "%.*s", (int)foreign->draft.payload.len,
             (const char *)foreign->draft.payload.data);
}
static const struct kos_bridge_host events = { sizeof events, inject };

static const void *feature(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, KOS_BRIDGE_HOST) == 0 ? &events : NULL;
}

static void on_complete(void *arg, uint64_t op, int32_t status, struct kos_bytes result)
{
    (void)arg;
    (void)op;
    (void)result;
    seen.completed++;
    seen.status = status;
}

static void put(const char *directory, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/in/%s", directory, name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fprintf(file, "{\"name\":\"%s\"}", name);
    fclose(file);
}

int main(int argc, char **argv)
{
    char directory[] = "/tmp/bridge-XXXXXX", path[256];
    CHECK(mkdtemp(directory) != NULL);
    const struct kos_plugin *plugin = load(argc > 1 ? argv[1] : "./file_bridge.so");
    const struct kos_bridge *bridge = table(plugin, KOS_BRIDGE);
    const struct poll_host_hooks hooks = { .feature = feature, .complete = on_complete, .directory = directory };
    static const char *const settings[] = { "target=klp://node.home.kai", "interval=10", NULL };
    struct poll_host *host = begin(plugin, settings, &hooks);
    void *self = poll_host_self(host);
    struct kos_message m = { .size = sizeof m, .id = { 0xab }, .type = "HELLO", .payload = kos_bytes_str("{}") };

    bridge->deliver(self, 3, &m, "out");
    CHECK(seen.completed == 1 && seen.status == KOS_OK);
    snprintf(path, sizeof path, "%s/out/ab000000000000000000000000000000.json", directory);
    CHECK(unlink(path) == 0);
    bridge->deliver(self, 5, &m, "../out");
    CHECK(seen.completed == 2 && seen.status == KOS_E_INVALID);
    snprintf(path, sizeof path, "%s/out", directory);
    CHECK(rmdir(path) == 0);

    snprintf(path, sizeof path, "%s/in", directory);
    CHECK(mkdir(path, 0700) == 0);
    put(directory, "a");
    put(directory, "b");
    bridge->resume(self, "files:in", kos_bytes_str("a"));
    while (seen.injected < 1)
        poll_host_run(host, 1000);
    CHECK(strcmp(seen.key, "b") == 0 && strcmp(seen.payload, "{\"name\":\"b\"}") == 0);
    plugin->completed(self, seen.op, KOS_OK, kos_bytes_str(""));
    CHECK(seen.injected == 1);
    finish(host);
    snprintf(path, sizeof path, "rm -r '%s'", directory);
    CHECK(system(path) == 0);
    return 0;
}
