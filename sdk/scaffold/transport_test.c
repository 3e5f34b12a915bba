/* SPDX-License-Identifier: Apache-2.0
 * Two links through the kernel: what one end sends the other receives, whole and in order, never beyond its credit. */
#include <kos_test.h>
#include <kos/transport.h>

enum { ENDPOINT = 2, DIALLED = 4, ACCEPTED = 1, BYTES = 1 << 20, STEP = 10000 };

static struct {
    char address[128], why[256];
    int ups, downs, endpoint_downs;
    uint64_t window, credit, got, accepted_on;
    int wrong;
} seen;

static uint8_t byte_at(uint64_t position)
{
    return (uint8_t)(position * 2654435761u >> 13);
}

static void endpoint_up(const struct kos_host *host, uint64_t endpoint, const char *address)
{
    (void)host;
    CHECK(endpoint == ENDPOINT);
    snprintf(seen.address, sizeof seen.address, "%s", address);
}
static void endpoint_down(const struct kos_host *host, uint64_t endpoint, int32_t status, const char *text)
{
    (void)host;
    (void)endpoint;
    (void)status;
    seen.endpoint_downs++;
    snprintf(seen.why, sizeof seen.why, "%s", text);
}
static void link_up(const struct kos_host *host, uint64_t link, uint64_t endpoint, const struct kos_link_info *info)
{
    (void)host;
    seen.ups++;
    if (link == DIALLED)
        seen.window = info->send_window_bytes;
    else
        seen.accepted_on = endpoint;
    CHECK(link == (endpoint ? ACCEPTED : DIALLED));
}
static void link_received(const struct kos_host *host, uint64_t link, struct kos_bytes bytes)
{
    (void)host;
    CHECK(link == ACCEPTED);
    CHECK(bytes.len <= seen.credit);
    seen.credit -= bytes.len;
    for (size_t i = 0; i < bytes.len; i++)
        seen.wrong += bytes.data[i] != byte_at(seen.got++);
}
static void link_credit(const struct kos_host *host, uint64_t link, uint64_t bytes)
{
    (void)host;
    CHECK(link == DIALLED);
    seen.window += bytes;
}
static void link_down(const struct kos_host *host, uint64_t link, int32_t status, const char *text)
{
    (void)host;
    (void)link;
    (void)status;
    CHECK(text != NULL);
    seen.downs++;
    snprintf(seen.why, sizeof seen.why, "%s", text);
}
static const struct kos_transport_host events = { sizeof events, endpoint_up, endpoint_down, link_up,
                                                  link_received, link_credit, link_down };

static const void *feature(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, KOS_TRANSPORT_HOST) == 0 ? &events : NULL;
}

int main(int argc, char **argv)
{
    const struct kos_plugin *plugin = load(argc > 1 ? argv[1] : "./plain.so");
    const struct kos_transport *t = table(plugin, KOS_TRANSPORT);
    const struct poll_host_hooks hooks = { .feature = feature };
    struct poll_host *host = begin(plugin, NULL, &hooks);
    void *self = poll_host_self(host);
    static uint8_t chunk[STEP];

    t->listen(self, ENDPOINT, "plain://127.0.0.1:0");
    while (!seen.address[0] && !seen.endpoint_downs)
        poll_host_run(host, 1000);
    t->dial(self, DIALLED, seen.address);
    while (seen.ups < 2 && !seen.downs)
        poll_host_run(host, 1000);
    CHECK(seen.accepted_on == ENDPOINT);

    for (uint64_t sent = 0; seen.got < BYTES && !seen.downs;) {
        size_t n = seen.window < STEP ? (size_t)seen.window : STEP;
        if (n > BYTES - sent)
            n = (size_t)(BYTES - sent);
        for (size_t i = 0; i < n; i++)
            chunk[i] = byte_at(sent + i);
        struct kos_bytes pieces[2] = { kos_bytes(chunk, n / 2), kos_bytes(chunk + n / 2, n - n / 2) };
        if (n > 0) {
            seen.window -= n;
            sent += n;
            t->send(self, DIALLED, pieces, 2);
        }
        if (seen.credit == 0) {
            seen.credit += 7777;
            t->link_credit(self, ACCEPTED, 7777);
        }
        poll_host_run(host, n ? 0 : 1000);
    }
    CHECK(seen.got == BYTES && seen.wrong == 0 && seen.downs == 0);

    t->link_close(self, DIALLED, 1);
    while (seen.downs < 2) {
        seen.credit += 1;
        t->link_credit(self, ACCEPTED, 1);
        poll_host_run(host, 1000);
    }
    t->dial(self, DIALLED + 2, "elsewhere://127.0.0.1:1");
    while (seen.downs < 3)
        poll_host_run(host, 1000);
    finish(host);
    CHECK(seen.endpoint_downs == 1);
    return 0;
}
