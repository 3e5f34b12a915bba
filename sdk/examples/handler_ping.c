/* SPDX-License-Identifier: Apache-2.0
 *
 * A handler: takes PING, answers PONG with the same payload. The answer, a count of answers and the verdict go into one
 * transaction, so each PING is answered exactly once, whatever crashes in between.
 */
#include <stdlib.h>
#include <kos/handler.h>
#include <kos/plugin.h>

struct ping {
    const struct kos_host *host;
    uint64_t next;              /* transactions and operations */
    uint64_t answered;
    int64_t expires_ms;
};

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    struct ping *p = calloc(1, sizeof *p);
    if (!p)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the handler of PING");
    p->host = host;
    p->expires_ms = kos_conf_number(conf, "expires");
    *ret_self = p;
    return KOS_OK;
}

static void start(void *self)
{
    struct ping *p = self;
    p->host->state_get(p->host, kos_bytes_str("answered"), ++p->next);
}

static void handle(void *self, uint64_t message, const struct kos_message *m)
{
    struct ping *p = self;
    uint64_t tx = ++p->next;
    struct kos_draft pong = { .size = sizeof pong, .klass = m->klass };
    pong.type = "PONG";
    pong.target = m->source;
    pong.payload = m->payload;
    pong.expires_in_ms = p->expires_ms;
    pong.trace = m->trace;
    p->host->random(p->host, pong.id, sizeof pong.id);
    memcpy(pong.reply_to, m->id, sizeof pong.reply_to);
    memcpy(pong.target_id, m->source_id, sizeof pong.target_id);
    p->answered++;
    p->host->tx_begin(p->host, tx);
    p->host->tx_send(p->host, tx, &pong);
    p->host->tx_put(p->host, tx, kos_bytes_str("answered"), kos_bytes(&p->answered, sizeof p->answered));
    p->host->tx_verdict(p->host, tx, message, KOS_ACCEPT, 0, NULL, 0);
    p->host->tx_commit(p->host, tx, ++p->next);
}

static void completed(void *self, uint64_t op, int32_t status, struct kos_bytes result)
{
    struct ping *p = self;
    char line[KOS_LOG_TEXT_MAX];
    if (op == 1 && status >= 0 && result.len == sizeof p->answered) {
        memcpy(&p->answered, result.data, sizeof p->answered);
    } else if (status < 0 && status != KOS_E_NOTFOUND) {
        /* Nothing of the transaction happened: the PING is still ours and comes again after a restart. */
        snprintf(line, sizeof line, "a PONG could not be sent: %.*s", (int)result.len, (const char *)result.data);
        p->host->log(p->host, KOS_WARNING, line);
    }
}

static void stop(void *self)
{
    struct ping *p = self;
    p->host->stopped(p->host);
}

static const char *const types[] = { "PING", NULL };
static const struct kos_handler handler = { .size = sizeof handler, .types = types, .handle = handle };
static const struct kos_setting expires = {
    .size = sizeof expires,
    .type = KOS_SETTING_DURATION,
    .name = "expires",
    .summary = "how long a PONG may be under way",
    .fallback = "60s",
    .min = 1000,
    .max = 86400000,
};
static const struct kos_setting *const settings[] = { &expires, NULL };
static const struct kos_right right_send = { sizeof right_send, "send", "answers PING with PONG" };
static const struct kos_right *const rights[] = { &right_send, NULL };
static const struct kos_feature feature = { sizeof feature, KOS_HANDLER, &handler };
static const struct kos_feature *const features[] = { &feature, NULL };

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.example.ping",
    .name = "ping",
    .version = "1.0.0",
    .summary = "answers PING with PONG",
    .settings = settings,
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = free,
    .completed = completed,
};
