/* SPDX-License-Identifier: Apache-2.0
 *
 * A handler of one type (TYPE, and ID in lower case, by the compiler): answers with the type and "ED" behind it, after `delay` during which
 * its thread does nothing else, or never when `hang` is set. What the store does not take now is deferred, and that is
 * tried until it does.
 */
#include <kos/handler.h>
#include <kos/plugin.h>
#include <stdlib.h>
#include <time.h>

struct waiting { /* a message whose transaction was refused, or is under way */
    uint64_t op, message;
    struct waiting *next;
};
struct echo {
    const struct kos_host *host;
    uint64_t last;
    int64_t delay_ms;
    bool hang;
    struct waiting *under_way, *refused;
};

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self, struct kos_error *ret_error)
{
    struct echo *echo = calloc(1, sizeof *echo);
    if (!echo)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the handler of " TYPE);
    echo->host = host;
    echo->last = 1; /* the timer */
    echo->delay_ms = kos_conf_number(conf, "delay");
    echo->hang = kos_conf_number(conf, "hang") != 0;
    *ret_self = echo;
    return KOS_OK;
}

static void start(void *self)
{
    (void)self;
}

static void commit(struct echo *echo, uint64_t tx, struct waiting *waiting)
{
    waiting->op = ++echo->last;
    waiting->next = echo->under_way;
    echo->under_way = waiting;
    echo->host->tx_commit(echo->host, tx, waiting->op);
}

static void handle(void *self, uint64_t message, const struct kos_message *m)
{
    struct echo *echo = self;
    struct timespec delay = { echo->delay_ms / 1000, echo->delay_ms % 1000 * 1000000 };
    struct kos_draft draft = { .size = sizeof draft, .klass = m->klass, .type = TYPE "ED", .target = m->source,
                               .payload = m->payload, .expires_in_ms = 60000 };
    struct waiting *waiting = calloc(1, sizeof *waiting);
    uint64_t tx = ++echo->last;
    if (!waiting)
        abort();
    waiting->message = message;
    while (echo->hang)
        nanosleep(&(struct timespec){ 1, 0 }, NULL);
    if (echo->delay_ms)
        nanosleep(&delay, NULL);
    echo->host->random(echo->host, draft.id, sizeof draft.id);
    memcpy(draft.reply_to, m->id, sizeof draft.reply_to);
    memcpy(draft.target_id, m->source_id, sizeof draft.target_id);
    echo->host->tx_begin(echo->host, tx);
    echo->host->tx_send(echo->host, tx, &draft);
    echo->host->tx_verdict(echo->host, tx, message, KOS_ACCEPT, 0, NULL, 0);
    commit(echo, tx, waiting);
}

static void completed(void *self, uint64_t op, int32_t status, struct kos_bytes result)
{
    struct echo *echo = self;
    struct waiting **at = &echo->under_way, *found;
    (void)result;
    while (*at && (*at)->op != op)
        at = &(*at)->next;
    if (!*at)
        return;
    found = *at;
    *at = found->next;
    if (status >= 0) {
        free(found);
        return;
    }
    found->next = echo->refused;
    echo->refused = found;
    echo->host->timer_set(echo->host, 1, 500);
}

static void timer(void *self, uint64_t id)
{
    struct echo *echo = self;
    struct waiting *list = echo->refused, *waiting;
    (void)id;
    echo->refused = NULL;
    while ((waiting = list)) {
        uint64_t tx = ++echo->last;
        list = waiting->next;
        echo->host->tx_begin(echo->host, tx);
        echo->host->tx_verdict(echo->host, tx, waiting->message, KOS_DEFER, 0, NULL, 500);
        commit(echo, tx, waiting);
    }
}

static void stop(void *self)
{
    struct echo *echo = self;
    echo->host->stopped(echo->host);
}

static void fini(void *self)
{
    struct echo *echo = self;
    for (int i = 0; i < 2; i++)
        for (struct waiting *w = i ? echo->refused : echo->under_way, *next; w; w = next) {
            next = w->next;
            free(w);
        }
    free(echo);
}

static const char *const types[] = { TYPE, NULL };
static const struct kos_handler handler = { .size = sizeof handler, .types = types, .handle = handle };
static const struct kos_setting delay = { .size = sizeof delay, .type = KOS_SETTING_DURATION, .name = "delay", .fallback = "0",
                                          .summary = "how long a message takes", .min = 0, .max = 60000 };
static const struct kos_setting hang = { .size = sizeof hang, .type = KOS_SETTING_BOOL, .name = "hang", .fallback = "false",
                                         .summary = "the first message never returns" };
static const struct kos_setting *const settings[] = { &delay, &hang, NULL };
static const struct kos_right right_send = { sizeof right_send, "send", "answers" };
static const struct kos_right *const rights[] = { &right_send, NULL };
static const struct kos_feature feature = { sizeof feature, KOS_HANDLER, &handler };
static const struct kos_feature *const features[] = { &feature, NULL };

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.test." ID,
    .name = "pressure",
    .version = "1.0.0",
    .summary = "answers " TYPE,
    .settings = settings,
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = fini,
    .completed = completed,
    .timer = timer,
};
