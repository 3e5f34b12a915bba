/* SPDX-License-Identifier: Apache-2.0
 * What no example offers: a plugin with control methods, that runs agents and serves HTTP; and its mutants. */
#include <stdio.h>
#include <stdlib.h>
#include <kos/agents.h>
#include <kos/control.h>
#include <kos/handler.h>
#include <kos/http.h>
#include <kos/plugin.h>

struct self {
    const struct kos_host *host;
    const struct kos_control_host *control;
    const struct kos_agents *agents;
    const struct kos_http *http;
    uint64_t next, calls[64];   /* the run's number, modulo 64: who waits for it */
};

static bool is(const char *name)
{
    const char *mutant = getenv("KOS_MUTANT");
    return mutant && strcmp(mutant, name) == 0;
}

static void handle(void *self, uint64_t message, const struct kos_message *m)
{
    struct self *s = self;
    uint64_t tx = ++s->next;
    (void)m;
    s->host->tx_begin(s->host, tx);
    s->host->tx_verdict(s->host, tx, message, KOS_ACCEPT, 0, NULL, 0);
    s->host->tx_commit(s->host, tx, ++s->next);
}

static void reply(struct self *s, uint64_t call, int32_t status, const char *parameters, int32_t continues)
{
    s->control->reply(s->host, call, status, kos_bytes_str(parameters), status < 0 ? "it does not go" : NULL,
                      continues);
}

static void call(void *self, uint64_t id, const char *method, struct kos_bytes parameters, uint32_t flags)
{
    struct self *s = self;
    (void)parameters;
    (void)flags;
    if (strcmp(method, "Run") == 0) {
        const struct kos_agent_info *agent = s->agents->by_name(s->host, "echo");
        struct kos_run run = { .size = sizeof run, .task = "t", .source = "klp://node.conform",
                               .inputs = kos_bytes_str(is("inputs") ? "{}" : "[\"x\"]"), .deadline_ms = INT64_MAX };
        if (!agent) {
            reply(s, id, KOS_E_NOTFOUND, "", 0);
            return;
        }
        memcpy(run.agent, agent->id, sizeof run.agent);
        s->calls[++s->next % 64] = id;
        s->agents->run(s->host, is("run-id") ? 0 : s->next, &run);
        return;
    }
    if (strcmp(method, "Show") != 0) {
        reply(s, id, KOS_E_UNSUPPORTED, "", 0);
        if (is("ends"))
            reply(s, id, KOS_OK, "{}", 0);
        return;
    }
    if (is("silent"))
        return;
    s->control->event(s->host, is("event") ? "Two Words" : "shown", kos_bytes_str("{\"a\":1}"));
    reply(s, id, KOS_OK, is("answer") ? "[1]" : "{ \"a\": 1 }", is("more"));
    if (is("twice"))
        reply(s, id, KOS_OK, "{}", 0);
}

static void output(void *self, uint64_t run, int32_t kind, struct kos_bytes bytes)
{
    (void)self;
    (void)run;
    (void)kind;
    (void)bytes;
}

static void ended(void *self, uint64_t run, int32_t status, struct kos_bytes result, const char *text, int32_t retry,
                  const uint8_t audit[32])
{
    struct self *s = self;
    (void)result;
    (void)text;
    (void)retry;
    (void)audit;
    reply(s, s->calls[run % 64], status < 0 ? KOS_E_AGENT : KOS_OK, "{}", 0);
}

static void request(void *self, uint64_t id, const struct kos_http_message *m)
{
    struct self *s = self;
    struct kos_http_message answer = { .size = sizeof answer, .status = is("status") ? 7 : 200, .body = m->body };
    s->http->respond(s->host, id, &answer);
    if (is("respond"))
        s->http->respond(s->host, id, &answer);
}

static void response(void *self, uint64_t op, int32_t status, const struct kos_http_message *m, const char *text)
{
    (void)self;
    (void)op;
    (void)status;
    (void)m;
    (void)text;
}

static void completed(void *self, uint64_t op, int32_t status, struct kos_bytes result)
{
    (void)self;
    (void)op;
    (void)status;
    (void)result;
}

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    struct self *s = calloc(1, sizeof *s);
    (void)conf;
    if (!s)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory");
    s->host = host;
    s->control = host->feature(host, KOS_CONTROL_HOST);
    s->agents = host->feature(host, KOS_AGENTS);
    s->http = host->feature(host, KOS_HTTP);
    if (!s->control || !s->agents || !s->http) {
        free(s);
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "control, agents and HTTP are needed");
    }
    *ret_self = s;
    return KOS_OK;
}

static void start(void *self)
{
    struct self *s = self;
    s->http->serve(s->host, "/mutant/", 1000, ++s->next);
}

static void stop(void *self)
{
    struct self *s = self;
    s->host->stopped(s->host);
}

static const char *const types[] = { "MUTANT", NULL };
static const struct kos_handler handler = { .size = sizeof handler, .types = types, .handle = handle };
static const struct kos_control control = { .size = sizeof control,
                                            .interface_name = "org.example.mutant",
                                            .description = "interface org.example.mutant\n\n"
                                                           "method Show() -> (a: int)\nmethod Run() -> ()\n",
                                            .call = call };
static const struct kos_agents_user agents = { sizeof agents, output, ended };
static const struct kos_http_user http = { sizeof http, request, response };
static const struct kos_feature *const features[] = {
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_HANDLER, &handler },
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_CONTROL, &control },
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_AGENTS_USER, &agents },
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_HTTP_USER, &http },
    NULL,
};
static const struct kos_right *const rights[] = {
    &(const struct kos_right){ sizeof(struct kos_right), "agents", "runs one" },
    NULL,
};

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.example.mutant",
    .name = "mutant",
    .version = "1.0.0",
    .summary = "offers what no example offers",
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = free,
    .completed = completed,
};
