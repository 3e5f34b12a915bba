/* SPDX-License-Identifier: Apache-2.0
 * Mutants of the handler of PING: its life, its transactions, its verdicts. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <kos/control.h>

#define ORIGINAL "../../examples/handler_ping.c"
#include "mutant.h"

/* ---- life ---- */

static int32_t m_init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                      struct kos_error *ret_error)
{
    if (is("feature") && *(const uint32_t *)host->feature(host, KOS_CONTROL_HOST) == 0)
        return KOS_E_INTERNAL;
    if (is("bounds") && kos_conf_number(conf, "expires") > 80000000)
        return kos_fail(ret_error, KOS_E_CONFIG, "I cannot wait that long");
    if (is("touch")) {
        *ret_self = ret_self;
        return kos_fail(ret_error, KOS_E_CONFIG, "no");
    }
    if (is("leak") && !malloc(100))
        return KOS_E_NOMEM;
    if (is("fd"))
        open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (is("signal"))
        signal(SIGTERM, SIG_IGN);
    if (is("umask"))
        umask(0);
    if (is("cwd") && chdir("/dev") < 0)
        return KOS_E_IO;
    return layer_init(host, conf, ret_self, ret_error);
}

static void *thread(void *arg)
{
    const struct kos_host *host = arg;
    host->timer_stop(host, 1);
    return NULL;
}

static void *forever(void *arg)
{
    while (!arg)
        pause();
    return arg;
}

static void m_start(void *self)
{
    struct layer *l = of_self(self);
    pthread_t id;
    int fds[2];
    original.start(self);
    if (is("thread") && pthread_create(&id, NULL, thread, (void *)(uintptr_t)l->real) == 0)
        pthread_join(id, NULL);
    if (is("thread-left") && pthread_create(&id, NULL, forever, NULL) == 0)
        pthread_detach(id);
    if (is("event"))
        l->real->timer_set(l->real, 77, 0); /* and kos_plugin.timer is NULL */
    if (is("early"))
        l->real->stopped(l->real);
    if (is("open-id"))
        l->real->complete(l->real, 7777, KOS_OK, kos_bytes(NULL, 0));
    if (is("key"))
        l->real->state_get(l->real, kos_bytes(NULL, 0), 70000);
    if (is("sign"))
        l->real->sign(l->real, "node", kos_bytes_str("x"), 70001);
    if (is("watch") && pipe2(fds, O_CLOEXEC) == 0) {
        l->real->watch(l->real, fds[0], KOS_IO_READ);
        close(fds[0]);
        close(fds[1]);
        l->real->watch(l->real, fds[0], 0);
    }
}

static void m_ready(void *self, int32_t fd, int32_t events)
{
    (void)self;
    (void)fd;
    (void)events;
}

static void m_stop(void *self)
{
    struct layer *l = of_self(self);
    if (is("never-stopped"))
        return;
    original.stop(self);
    if (is("after"))
        l->real->timer_stop(l->real, 1);
}

static void m_completed(void *self, uint64_t op, int32_t status, struct kos_bytes result)
{
    original.completed(self, op, status, result);
    if (is("free"))
        free((void *)(uintptr_t)result.data);
}

/* ---- messages ---- */

static void m_handle(void *self, uint64_t message, const struct kos_message *m)
{
    struct layer *l = of_self(self);
    if (is("hang"))
        forever(NULL);
    if (is("exit"))
        exit(0);
    if (is("socket"))
        close(socket(AF_INET, SOCK_STREAM, 0));
    for (int i = 0; is("flood") && i < 100000; i++)
        l->real->log(l->real, KOS_ERROR, "again");
    if (is("crash"))
        raise(SIGSEGV);
    if (is("log") && m->payload.len < 400) {
        char line[KOS_LOG_TEXT_MAX];
        snprintf(line, sizeof line, "got %.*s", (int)m->payload.len, (const char *)m->payload.data);
        l->real->log(l->real, KOS_INFO, line);
    }
    if (is("utf8"))
        l->real->log(l->real, KOS_INFO, "caf\xe9");
    if (is("borrow")) { /* the payload of the message before */
        struct kos_bytes kept = l->kept;
        l->kept = m->payload;
        if (kept.data && kept.len >= 16) {
            struct kos_message old = *m;
            old.payload = kept;
            handler.handle(self, message, &old);
            return;
        }
    }
    handler.handle(self, message, m);
}

static void m_outcome(void *self, uint64_t message, const struct kos_outcome *o)
{
    struct layer *l = of_self(self);
    uint64_t tx = 900000 + ++l->count;
    (void)o;
    l->real->tx_begin(l->real, tx);
    l->real->tx_verdict(l->real, tx, message, KOS_REJECT, KOS_E_DENIED, "I do not believe it", 0);
    l->real->tx_commit(l->real, tx, tx);
}

static void m_tx_begin(const struct kos_host *host, uint64_t tx)
{
    if (!is("tx"))
        of_host(host)->real->tx_begin(of_host(host)->real, tx);
}

static void m_tx_send(const struct kos_host *host, uint64_t tx, const struct kos_draft *draft)
{
    struct kos_draft d = *draft;
    if (is("payload"))
        d.payload = kos_bytes_str("{ \"loose\" : 1 }");
    if (is("class"))
        d.klass = 0;
    if (is("expires"))
        d.expires_in_ms = 0;
    if (is("type"))
        d.type = "pong";
    if (is("target"))
        d.target = "somebody";
    of_host(host)->real->tx_send(of_host(host)->real, tx, &d);
}

static void m_tx_verdict(const struct kos_host *host, uint64_t tx, uint64_t message, int32_t verdict, int32_t error,
                         const char *text, uint64_t retry_ms)
{
    struct layer *l = of_host(host);
    if (is("reject"))
        verdict = KOS_REJECT; /* with neither error nor sentence */
    if (!is("no-verdict"))
        l->real->tx_verdict(l->real, tx, message, verdict, error, text, retry_ms);
    l->last = message;
}

static void m_tx_commit(const struct kos_host *host, uint64_t tx, uint64_t op)
{
    struct layer *l = of_host(host);
    l->real->tx_commit(l->real, tx, is("zero") ? 0 : op);
    if (is("verdicts")) {
        l->real->tx_begin(l->real, 800000 + op);
        l->real->tx_verdict(l->real, 800000 + op, l->last, KOS_ACCEPT, 0, NULL, 0);
        l->real->tx_commit(l->real, 800000 + op, 800000 + op);
    }
}

static struct kos_handler m_handler;
static struct kos_feature m_feature = { sizeof m_feature, KOS_HANDLER, &m_handler };
static const struct kos_feature *const m_features[] = { &m_feature, NULL };

static void mutate(void)
{
    m_handler = handler;
    m_handler.handle = m_handle;
    if (is("outcome"))
        m_handler.outcome = m_outcome;
    mutant.features = m_features;
    mutant.init = m_init;
    mutant.start = m_start;
    mutant.stop = m_stop;
    mutant.completed = m_completed;
    mutant.ready = m_ready;
    if (is("right"))
        mutant.rights = NULL;
    if (is("entry"))
        mutant.size = 8;
}

static void mutate_host(struct layer *layer)
{
    layer->host.tx_begin = m_tx_begin;
    layer->host.tx_send = m_tx_send;
    layer->host.tx_verdict = m_tx_verdict;
    layer->host.tx_commit = m_tx_commit;
}
