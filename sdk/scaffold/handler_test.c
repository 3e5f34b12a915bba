/* SPDX-License-Identifier: Apache-2.0
 * A PING is answered by one PONG with its payload, in the transaction that takes it. */
#include <kos_test.h>
#include <kos/handler.h>

static struct {
    int sent, verdicts;
    int32_t verdict;
    uint64_t message;
    char type[64], payload[64];
    uint8_t reply_to[KOS_ID_BYTES];
} seen;

static void on_send(void *arg, const struct kos_draft *draft)
{
    (void)arg;
    seen.sent++;
    snprintf(seen.type, sizeof seen.type, "%s", draft->type);
    snprintf(seen.payload, sizeof seen.payload, "%.*s", (int)draft->payload.len, (const char *)draft->payload.data);
    memcpy(seen.reply_to, draft->reply_to, sizeof seen.reply_to);
}

static void on_verdict(void *arg, uint64_t message, int32_t verdict, int32_t error, const char *text)
{
    (void)arg;
    (void)error;
    (void)text;
    seen.verdicts++;
    seen.message = message;
    seen.verdict = verdict;
}

int main(int argc, char **argv)
{
    const struct kos_plugin *plugin = load(argc > 1 ? argv[1] : "./ping.so");
    const struct kos_handler *handler = table(plugin, KOS_HANDLER);
    const struct poll_host_hooks hooks = { .send = on_send, .verdict = on_verdict };
    struct poll_host *host = begin(plugin, NULL, &hooks);
    const struct kos_message ping = { .size = sizeof ping,
                                      .klass = 1,
                                      .id = { 7 },
                                      .type = "PING",
                                      .source = "klp://node.laptop.kai",
                                      .target = "klp://node.home.kai",
                                      .trace = "",
                                      .source_name = "laptop",
                                      .payload = kos_bytes_str("{\"n\":1}") };
    handler->handle(poll_host_self(host), 5, &ping);
    while (poll_host_run(host, 0))
        continue;
    CHECK(seen.sent == 1 && seen.verdicts == 1);
    CHECK(seen.verdict == KOS_ACCEPT && seen.message == 5);
    CHECK(strcmp(seen.type, "PONG") == 0);
    CHECK(strcmp(seen.payload, "{\"n\":1}") == 0);
    CHECK(seen.reply_to[0] == 7);
    finish(host);
    return 0;
}
