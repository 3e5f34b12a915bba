/* SPDX-License-Identifier: Apache-2.0
 * A plugin that does what its control methods tell it, good and bad, so that tests see the host through a plugin's
 * eyes. It counts every call that comes while it is itself inside a call to the host: there must never be one. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <kos/agents.h>
#include <kos/control.h>
#include <kos/handler.h>
#include <kos/plugin.h>
#include <kos/transport.h>

enum { POSTS = 1000 };
enum what { OP_OPEN = 1, OP_PUT, OP_GET, OP_SECRET_PUT, OP_SECRET_GET, OP_SIGN, OP_SCAN, OP_VERDICT };

struct probe {
    const struct kos_host *host;
    const struct kos_transport_host *links;
    const struct kos_control_host *control;
    const struct kos_agents *agents;
    const struct kos_conf *conf;
    uint64_t call, posted, next;     /* the call that waits for an answer */
    int in_host, violations, fds, started;
    bool hang, keep, posts_in_order;
    uint64_t endpoint, accepted;
    pthread_t thread;
    bool threaded;
};

#define HOST(p_, call_) ((p_)->in_host++, (call_), (p_)->in_host--)

/* What hangs is left behind on purpose; this keeps it in sight of leak checkers. */
static struct probe *latest;

static void enter(struct probe *p)
{
    p->violations += p->in_host != 0 || p != latest;
}

static void reply(struct probe *p, int32_t status, const char *text)
{
    char json[4096];
    uint64_t call = p->call;
    size_t n = (size_t)snprintf(json, sizeof json, "{\"status\":%d,\"text\":\"", status);
    p->call = 0;
    for (; text && *text && n < sizeof json - 4; text++) {
        if (*text == '"' || *text == '\\')
            json[n++] = '\\';
        json[n++] = *text;
    }
    memcpy(json + n, "\"}", 3);
    HOST(p, p->control->reply(p->host, call, KOS_OK, kos_bytes_str(json), NULL, 0));
}

static void reply_bytes(struct probe *p, int32_t status, struct kos_bytes bytes)
{
    char text[1024];
    snprintf(text, sizeof text, "%.*s", (int)bytes.len, (const char *)bytes.data);
    reply(p, status, text);
}

/* ---- what the host calls ---- */

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    struct probe *p = calloc(1, sizeof *p);
    if (!p)
        return kos_fail(ret_error, KOS_E_NOMEM, "no memory");
    latest = p;
    p->host = host;
    p->conf = conf;
    p->links = host->feature(host, KOS_TRANSPORT_HOST);
    p->control = host->feature(host, KOS_CONTROL_HOST);
    p->agents = host->feature(host, KOS_AGENTS);
    p->next = 100;
    /* Services work from here on; the answer comes after start. */
    host->state_get(host, kos_bytes_str("first"), 99);
    *ret_self = p;
    return KOS_OK;
}

static void start(void *self)
{
    struct probe *p = self;
    enter(p);
    p->started++;
}

static void stop(void *self)
{
    struct probe *p = self;
    enter(p);
    if (p->threaded)
        pthread_join(p->thread, NULL);
    if (!p->hang)
        HOST(p, p->host->stopped(p->host));
}

static void completed(void *self, uint64_t op, int32_t status, struct kos_bytes result)
{
    struct probe *p = self;
    enter(p);
    if (op == 99)
        p->started += status == KOS_E_NOTFOUND ? 10 : 100;
    else if (op == OP_PUT && status >= 0)
        HOST(p, p->host->state_get(p->host, kos_bytes_str("key"), OP_GET));
    else if (op == OP_SECRET_PUT && status >= 0)
        HOST(p, p->host->secret_get(p->host, "token", OP_SECRET_GET));
    else if (op == OP_SIGN && status >= 0)
        reply(p, (int32_t)result.len, "");
    else if (op == OP_SCAN) {
        struct kos_bytes key, value;
        int pairs = 0;
        while (kos_pair_next(&result, &key, &value) > 0)
            pairs++;
        reply(p, status < 0 ? status : pairs, "");
    } else if (p->call)
        reply_bytes(p, status, result);
}

static void opened(void *self, uint64_t op, int32_t status, int32_t fd, const char *text)
{
    struct probe *p = self;
    enter(p);
    (void)op;
    if (fd >= 0)
        close(fd);
    reply(p, status, text);
}

static void timer(void *self, uint64_t id)
{
    struct probe *p = self;
    enter(p);
    reply(p, (int32_t)id, "fired");
}

static void ready(void *self, int32_t fd, int32_t events)
{
    struct probe *p = self;
    enter(p);
    HOST(p, p->host->watch(p->host, fd, 0));
    close(fd);
    reply(p, events, "ready");
}

static void posted(void *self, uint64_t cookie)
{
    struct probe *p = self;
    enter(p);
    p->posts_in_order = (cookie == 1 || p->posts_in_order) && cookie == p->posted + 1;
    p->posted = cookie;
    if (cookie == POSTS)
        reply(p, p->posts_in_order, "posted");
}

static void *post_all(void *arg)
{
    struct probe *p = arg;
    for (uint64_t i = 1; i <= POSTS; i++)
        while (p->host->post(p->host, i) == KOS_E_BUSY)
            usleep(1000);
    return NULL;
}

/* ---- transport: what the mesh asks is answered as told ---- */

static void listen_on(void *self, uint64_t endpoint, const char *address)
{
    struct probe *p = self;
    enter(p);
    p->endpoint = endpoint;
    HOST(p, p->links->endpoint_up(p->host, endpoint, address));
}
static void endpoint_close(void *self, uint64_t endpoint)
{
    struct probe *p = self;
    enter(p);
    HOST(p, p->links->endpoint_down(p->host, endpoint, KOS_OK, "closed"));
}
static void dial(void *self, uint64_t link, const char *address)
{
    struct probe *p = self;
    struct kos_link_info info = {
        .size = sizeof info, .flags = KOS_LINK_STREAM, .send_window_bytes = 1000, .remote = address
    };
    enter(p);
    if (strstr(address, "refuse"))
        HOST(p, p->links->link_down(p->host, link, KOS_E_UNREACHABLE, "refused"));
    else
        HOST(p, p->links->link_up(p->host, link, 0, &info));
}
static void send_on(void *self, uint64_t link, const struct kos_bytes *pieces, uint32_t count)
{
    struct probe *p = self;
    enter(p);
    /* Echoes, whatever the credit: that is for the host to judge. */
    for (uint32_t i = 0; i < count; i++) {
        HOST(p, p->links->link_received(p->host, link, pieces[i]));
        HOST(p, p->links->link_credit(p->host, link, pieces[i].len));
    }
}
static void link_credit(void *self, uint64_t link, uint64_t bytes)
{
    enter(self);
    (void)link;
    (void)bytes;
}
static void link_close(void *self, uint64_t link, int32_t flush)
{
    struct probe *p = self;
    enter(p);
    HOST(p, p->links->link_down(p->host, link, KOS_OK, flush ? "flushed" : "closed"));
}

/* ---- handler ---- */

static void handle(void *self, uint64_t message, const struct kos_message *m)
{
    struct probe *p = self;
    enter(p);
    uint64_t tx = ++p->next;
    struct kos_draft draft = { .size = sizeof draft,
                               .klass = 1,
                               .type = "PROBED",
                               .target = m->source,
                               .payload = m->payload,
                               .expires_in_ms = 1000 };
    if (p->keep)
        return;
    HOST(p, p->host->tx_begin(p->host, tx));
    HOST(p, p->host->tx_send(p->host, tx, &draft));
    HOST(p, p->host->tx_verdict(p->host, tx, message, KOS_ACCEPT, 0, NULL, 0));
    HOST(p, p->host->tx_commit(p->host, tx, OP_VERDICT));
}

static void outcome(void *self, uint64_t message, const struct kos_outcome *o)
{
    struct probe *p = self;
    enter(p);
    (void)o;
    uint64_t tx = ++p->next;
    HOST(p, p->host->tx_begin(p->host, tx));
    HOST(p, p->host->tx_verdict(p->host, tx, message, KOS_ACCEPT, 0, NULL, 0));
    HOST(p, p->host->tx_commit(p->host, tx, OP_VERDICT));
}

/* ---- agents ---- */

static void output(void *self, uint64_t run, int32_t kind, struct kos_bytes bytes)
{
    enter(self);
    (void)run;
    (void)kind;
    (void)bytes;
}

static void ended(void *self, uint64_t run, int32_t status, struct kos_bytes result, const char *text, int32_t retry,
                  const uint8_t audit[32])
{
    struct probe *p = self;
    enter(p);
    (void)run;
    (void)result;
    (void)retry;
    (void)audit;
    reply(p, status, text);
}

/* ---- control ---- */

static void put_two(struct probe *p, bool too_large)
{
    static uint8_t large[(1 << 20) + 1];
    const struct kos_host *h = p->host;
    HOST(p, h->tx_begin(h, 7));
    HOST(p, h->tx_put(h, 7, kos_bytes_str("key"), kos_bytes_str("value")));
    HOST(p,
         h->tx_put(h, 7, kos_bytes_str("key2"), too_large ? kos_bytes(large, sizeof large) : kos_bytes_str("value2")));
    HOST(p, h->tx_commit(h, 7, OP_PUT));
}

static void break_rules(struct probe *p)
{
    const struct kos_host *h = p->host;
    HOST(p, h->complete(h, 12345, KOS_OK, kos_bytes(NULL, 0)));
    HOST(p, p->control->reply(h, 999, KOS_OK, kos_bytes_str("{}"), NULL, 0));
    HOST(p, p->links->link_down(h, 77, KOS_OK, "no such link"));
    HOST(p, p->links->link_received(h, 77, kos_bytes_str("x")));
    HOST(p, p->links->link_up(h, 78, 1000, &(struct kos_link_info){ .size = 8 }));
    HOST(p, p->links->endpoint_up(h, 79, "x"));
    HOST(p, h->tx_put(h, 55, kos_bytes_str("k"), kos_bytes_str("v")));
    HOST(p, h->tx_begin(h, 0));
    HOST(p, h->stopped(h));
    HOST(p, h->tx_begin(h, 8));
    HOST(p, h->tx_verdict(h, 8, 4711, KOS_ACCEPT, 0, NULL, 0));
    HOST(p, h->tx_commit(h, 8, OP_VERDICT)); /* answered KOS_E_NOTFOUND, which replies */
}

static void watch_pipe(struct probe *p)
{
    int ends[2];
    if (pipe(ends) != 0)
        return;
    HOST(p, p->host->watch(p->host, ends[0], KOS_IO_READ));
    close(ends[1]); /* end of file: readable */
}

static void run_agent(struct probe *p)
{
    struct kos_run run = { .size = sizeof run,
                           .task = "task",
                           .source = "klp://node.x",
                           .inputs = kos_bytes_str("[]"),
                           .output_credit_bytes = 100,
                           .source_id = { 1 } };
    if (p->agents)
        HOST(p, p->agents->run(p->host, 5, &run));
    else
        reply(p, KOS_E_UNSUPPORTED, "no agents");
}

static void text_of(struct kos_bytes parameters, char *ret_text, size_t cap)
{
    char all[512];
    snprintf(all, sizeof all, "%.*s", (int)parameters.len, (const char *)parameters.data);
    char *begin = strstr(all, "\"what\":\"");
    char *end = begin ? strchr(begin + 8, '"') : NULL;
    if (end)
        *end = '\0';
    snprintf(ret_text, cap, "%s", end ? begin + 8 : "");
}

static void call(void *self, uint64_t id, const char *method, struct kos_bytes parameters, uint32_t flags)
{
    struct probe *p = self;
    const struct kos_host *h = p->host;
    char what[512];
    enter(p);
    p->call = id;
    text_of(parameters, what, sizeof what);
    if (strcmp(method, "Echo") == 0)
        HOST(p, p->control->reply(h, id, KOS_OK, parameters, NULL, 0));
    else if (strcmp(method, "Fail") == 0)
        HOST(p, p->control->reply(h, id, KOS_E_BUSY, kos_bytes(NULL, 0), "come back later", 0));
    else if (strcmp(method, "More") == 0)
        for (int i = 0; i < 3; i++)
            HOST(p, p->control->reply(h, id, KOS_OK, kos_bytes_str("{}"), NULL, i < 2 && flags & KOS_CALL_MORE));
    else if (strcmp(method, "Open") == 0)
        HOST(p, h->open(h, what, OP_OPEN));
    else if (strcmp(method, "OpenCancel") == 0) {
        HOST(p, h->open(h, what, OP_OPEN));
        HOST(p, h->open_cancel(h, OP_OPEN));
    } else if (strcmp(method, "Put") == 0)
        put_two(p, strcmp(what, "large") == 0);
    else if (strcmp(method, "Scan") == 0)
        HOST(p, h->state_scan(h, kos_bytes_str("key"), kos_bytes(NULL, 0), 10, OP_SCAN));
    else if (strcmp(method, "Secret") == 0)
        HOST(p, h->secret_put(h, "token", kos_bytes_str(what), OP_SECRET_PUT));
    else if (strcmp(method, "Sign") == 0)
        HOST(p, h->sign(h, what, kos_bytes_str("body"), OP_SIGN));
    else if (strcmp(method, "Timer") == 0)
        HOST(p, h->timer_set(h, 17, 5));
    else if (strcmp(method, "Watch") == 0)
        watch_pipe(p);
    else if (strcmp(method, "Post") == 0)
        p->threaded = pthread_create(&p->thread, NULL, post_all, p) == 0;
    else if (strcmp(method, "Run") == 0)
        run_agent(p);
    else if (strcmp(method, "Break") == 0)
        break_rules(p);
    else if (strcmp(method, "Hang") == 0)
        p->hang = true, reply(p, 0, "");
    else if (strcmp(method, "Keep") == 0)
        p->keep = true, reply(p, 0, "");
    else if (strcmp(method, "Accept") == 0) {
        struct kos_link_info info = {
            .size = sizeof info, .flags = KOS_LINK_STREAM, .send_window_bytes = 1000, .remote = "probe://guest"
        };
        p->accepted = p->accepted ? p->accepted + 2 : 1;
        HOST(p, p->links->link_up(h, p->accepted, p->endpoint, &info));
        reply(p, 0, "");
    } else if (strcmp(method, "Started") == 0)
        reply(p, p->started, "");
    else if (strcmp(method, "Setting") == 0)
        reply(p, (int32_t)kos_conf_number(p->conf, "number"), kos_conf_text(p->conf, "word"));
    else if (strcmp(method, "Directory") == 0)
        reply(p, h->directory != NULL, h->directory);
    else if (strcmp(method, "Violations") == 0)
        reply(p, p->violations, "");
    /* Else: never answered. */
}

static void hangup(void *self, uint64_t id)
{
    struct probe *p = self;
    enter(p);
    if (p->call == id)
        p->call = 0;
}

#ifndef PROBE
#define PROBE "probe"
#endif
static const char *const schemes[] = { PROBE, NULL };
static const char *const types[] = { "PROBE", "PROBE_MORE", NULL };
static const struct kos_transport transport = { sizeof transport, schemes,     listen_on, endpoint_close, dial,
                                                send_on,          link_credit, link_close };
static const struct kos_handler handler = { sizeof handler, types, handle, outcome };
static const struct kos_control control = { sizeof control, "org.kos.test." PROBE,
                                            "interface org.kos.test." PROBE "\nmethod Echo() -> ()\n", call, hangup };
static const struct kos_agents_user agents_user = { sizeof agents_user, output, ended };

#define FEATURE(name_, table_) &(const struct kos_feature){ sizeof(struct kos_feature), (name_), &(table_) }
#define RIGHT(name_) &(const struct kos_right){ sizeof(struct kos_right), (name_), "to be tested" }
static const struct kos_feature *const features[] = { FEATURE(KOS_TRANSPORT, transport), FEATURE(KOS_HANDLER, handler),
                                                      FEATURE(KOS_CONTROL, control),
                                                      FEATURE(KOS_AGENTS_USER, agents_user), NULL };
static const struct kos_right *const rights[] = { RIGHT("connect"), RIGHT("listen"), RIGHT("send"), RIGHT("sign"),
                                                  RIGHT("agents"),  RIGHT("files"),  NULL };
static const struct kos_setting *const settings[] = {
    &(const struct kos_setting){ .size = sizeof(struct kos_setting),
                                 .type = KOS_SETTING_INT,
                                 .name = "number",
                                 .fallback = "3",
                                 .min = 1,
                                 .max = 9,
                                 .summary = "a number" },
    &(const struct kos_setting){ .size = sizeof(struct kos_setting),
                                 .type = KOS_SETTING_STRING,
                                 .name = "word",
                                 .fallback = "hm",
                                 .summary = "a word" },
    NULL,
};

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.test." PROBE,
    .name = PROBE,
    .version = "1.0.0",
    .summary = "looks at the host",
    .settings = settings,
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = free,
    .completed = completed,
    .opened = opened,
    .timer = timer,
    .ready = ready,
    .posted = posted,
};
