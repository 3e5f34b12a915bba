/* SPDX-License-Identifier: Apache-2.0
 * What bench-cell calls: a control method that answers at once, and one that reads its state so many times. */
#include <stdio.h>
#include <stdlib.h>
#include <kos/control.h>
#include <kos/handler.h>
#include <kos/plugin.h>

struct echo {
    const struct kos_host *host;
    const struct kos_control_host *control;
    uint64_t call;                  /* that waits for the reads */
    unsigned long long count, asked, read;
};

static void ask(struct echo *e)
{
    e->host->state_get(e->host, kos_bytes_str("answered"), ++e->asked);
}

static void completed(void *self, uint64_t op, int32_t status, struct kos_bytes result)
{
    struct echo *e = self;
    (void)op;
    if (status < 0 || result.len == 0)
        abort();
    e->read++;
    if (e->asked < e->count)
        ask(e);
    else if (e->read == e->count)
        e->control->reply(e->host, e->call, KOS_OK, kos_bytes_str("{}"), "", 0);
}

static void call(void *self, uint64_t id, const char *method, struct kos_bytes parameters, uint32_t flags)
{
    struct echo *e = self;
    unsigned long long window = 0;
    char text[128];
    (void)flags;
    if (strcmp(method, "Echo") == 0) {
        e->control->reply(e->host, id, KOS_OK, parameters, "", 0);
        return;
    }
    snprintf(text, sizeof text, "%.*s", (int)parameters.len, (const char *)parameters.data);
    if (sscanf(text, "{\"count\":%llu,\"window\":%llu}", &e->count, &window) != 2 || window == 0)
        abort();
    e->call = id;
    e->asked = e->read = 0;
    while (e->asked < window && e->asked < e->count)
        ask(e);
}

static void hangup(void *self, uint64_t id)
{
    (void)self;
    (void)id;
}

/* A plugin is of some kind; nobody gives this one a message. */
static void handle(void *self, uint64_t message, const struct kos_message *m)
{
    (void)self;
    (void)message;
    (void)m;
}

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    (void)conf;
    struct echo *e = calloc(1, sizeof *e);
    if (!e)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory");
    e->host = host;
    e->control = host->feature(host, KOS_CONTROL_HOST);
    *ret_self = e;
    return KOS_OK;
}

static void start(void *self)
{
    (void)self;
}

static void stop(void *self)
{
    struct echo *e = self;
    e->host->stopped(e->host);
}

static const struct kos_control control = {
    .size = sizeof control,
    .interface_name = "org.kos.bench",
    .description = "interface org.kos.bench\n\n# Answers what it is given.\nmethod Echo() -> ()\n\n"
                   "# Reads its state.\nmethod Get(count: int, window: int) -> ()\n",
    .call = call,
    .hangup = hangup,
};
static const char *const types[] = { "ECHO", NULL };
static const struct kos_handler handler = { .size = sizeof handler, .types = types, .handle = handle };
static const struct kos_feature *const features[] = {
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_CONTROL, &control },
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_HANDLER, &handler },
    NULL,
};

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.bench.echo",
    .name = "echo",
    .version = "1.0.0",
    .summary = "answers what it is given",
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = free,
    .completed = completed,
};
