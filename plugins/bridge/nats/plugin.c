/* SPDX-License-Identifier: Apache-2.0
 * bridge/nats: joins kos to NATS JetStream. This file: the plugin, its start and end, and what its thread tells it. */
#include "nats.h"

#include <klp/crypto.h>
#include <stdarg.h>
#include <stdlib.h>

enum { EVENTS_A_TURN = 512, SECRET_AGAIN_MS = 10000, STOP_LOOK_MS = 50, TICK_SLOW_MS = 5000 };
enum { STEP_NONE = 0, STEP_ORIGIN, STEP_ORIGIN_STORED, STEP_SECRET /* and the three behind it */, STEP_RUN = STEP_SECRET + 4 };
static const char origin_key[] = "origin";

/* ---- what everything here uses ---- */

void nats_log(struct nats *nats, int32_t level, const char *format, ...)
{
    char line[KOS_LOG_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    nats->host->log(nats->host, level, line);
}

void nats_trouble(struct nats *nats, int32_t status, const char *text)
{
    nats->error = status;
    nats->error_at_ms = nats->host->now_ms(nats->host);
    if (text != nats->error_text)
        snprintf(nats->error_text, sizeof nats->error_text, "%.299s", text);
}

void nats_tick_now(struct nats *nats)
{
    nats->ticking = true;
    nats->host->timer_set(nats->host, NATS_TIMER_TICK, 0);
}

void nats_tick_soon(struct nats *nats)
{
    if (nats->ticking || nats->stopping)
        return;
    nats->ticking = true;
    nats->host->timer_set(nats->host, NATS_TIMER_TICK, NATS_TICK_MS);
}

int64_t nats_back_off(const struct nats *nats, uint32_t tries, int64_t most_ms)
{
    uint32_t chance;
    int64_t ms = tries < 16 ? (int64_t)100 << tries : most_ms;
    nats->host->random(nats->host, &chance, sizeof chance);
    ms = ms < most_ms ? ms : most_ms;
    return ms / 2 + ms / 2 * (chance >> 16) / 65536;
}

/* ---- start: who we are, then the secrets, then the thread ---- */

static char **secret_place(struct nats *nats, int32_t at)
{
    char **const places[] = { &nats->options.seed, &nats->options.credentials, &nats->options.password, &nats->options.key };
    return places[at];
}

static void run_step(struct nats *nats)
{
    struct kos_error error = { 0 };
    const struct kos_host *host = nats->host;
    while (nats->step >= STEP_SECRET && nats->step < STEP_RUN && !*nats->secrets[nats->step - STEP_SECRET])
        nats->step++;
    nats->step_op = ++nats->next_op;
    if (nats->step == STEP_ORIGIN) {
        host->state_get(host, kos_bytes_str(origin_key), nats->step_op);
    } else if (nats->step == STEP_ORIGIN_STORED) {
        uint8_t bytes[(NATS_ORIGIN_TEXT - 1) / 2];
        host->random(host, bytes, sizeof bytes);
        klp_hex(kos_bytes(bytes, sizeof bytes), nats->origin);
        host->tx_begin(host, nats->step_op);
        host->tx_put(host, nats->step_op, kos_bytes_str(origin_key), kos_bytes_str(nats->origin));
        host->tx_commit(host, nats->step_op, nats->step_op);
    } else if (nats->step < STEP_RUN) {
        host->secret_get(host, nats->secrets[nats->step - STEP_SECRET], nats->step_op);
    } else {
        nats->step_op = 0;
        nats->link_running = link_start(&nats->link, host, &nats->options, &error) >= 0;
        if (!nats->link_running) {
            nats_trouble(nats, error.code, error.text);
            nats_log(nats, KOS_ERROR, "%s", error.text);
        }
    }
}

static void step_failed(struct nats *nats, int32_t status, struct kos_bytes result)
{
    char text[NATS_TEXT_MAX];
    if (nats->step < STEP_SECRET)
        snprintf(text, sizeof text, "the bridge's own name cannot be kept: %.*s", (int)(result.len < 200 ? result.len : 200),
                 result.len ? (const char *)result.data : kos_error_text(status));
    else
        snprintf(text, sizeof text, "the secret %.64s of this plugin cannot be had (%s): put it beside the node's keys, as kos-nats(7) says",
                 nats->secrets[nats->step - STEP_SECRET], kos_error_name(status));
    if (strcmp(text, nats->error_text) != 0)
        nats_log(nats, KOS_ERROR, "%s", text);
    nats_trouble(nats, status, text);
    nats->host->timer_set(nats->host, NATS_TIMER_STEP, SECRET_AGAIN_MS);
}

/* A secret as text: what an editor adds at its end is none of it. */
static bool keep_secret(struct nats *nats, struct kos_bytes value)
{
    char **place = secret_place(nats, nats->step - STEP_SECRET);
    size_t len = value.len;
    bool trim = nats->step != STEP_SECRET + 1 && nats->step != STEP_SECRET + 3;
    while (trim && len > 0 && (value.data[len - 1] == '\n' || value.data[len - 1] == '\r'))
        len--;
    if (len == 0 || memchr(value.data, '\0', len) || !(*place = malloc(len + 1)))
        return false;
    memcpy(*place, value.data, len);
    (*place)[len] = '\0';
    return true;
}

static void stepped(struct nats *nats, int32_t status, struct kos_bytes result)
{
    nats->step_op = 0;
    if (nats->step == STEP_ORIGIN && status == KOS_E_NOTFOUND) {
        nats->step = STEP_ORIGIN_STORED;
    } else if (status < 0) {
        step_failed(nats, status, result);
        return;
    } else if (nats->step == STEP_ORIGIN) {
        if (result.len != NATS_ORIGIN_TEXT - 1) {
            step_failed(nats, KOS_E_CORRUPT, kos_bytes(NULL, 0));
            return;
        }
        memcpy(nats->origin, result.data, result.len);
        nats->step = STEP_SECRET;
    } else if (nats->step == STEP_ORIGIN_STORED) {
        nats->step = STEP_SECRET;
    } else if (keep_secret(nats, result)) {
        nats->step++;
    } else {
        step_failed(nats, KOS_E_SYNTAX, kos_bytes(NULL, 0));
        return;
    }
    run_step(nats);
}

static void start(void *self)
{
    struct nats *nats = self;
    if (!nats->bridge && nats->settings.map_count)
        nats_log(nats, KOS_WARNING, "this host takes no messages from bridges (" KOS_BRIDGE_HOST "): nothing comes in");
    nats->down_since_ms = nats->host->now_ms(nats->host);
    nats->step = STEP_ORIGIN;
    run_step(nats);
}

static void completed(void *self, uint64_t op, int32_t status, struct kos_bytes result)
{
    struct nats *nats = self;
    if (nats->stopping)
        return;
    if (op == nats->step_op)
        stepped(nats, status, result);
    else
        nats_inward_completed(nats, op, status, result);
}

/* ---- what the thread tells ---- */

static void up(struct nats *nats, const struct link_event *event)
{
    nats->epoch = event->epoch;
    nats->max_payload = event->max_payload;
    nats->count.connects++;
    snprintf(nats->server, sizeof nats->server, "%s", event->name);
    nats_log(nats, KOS_NOTICE, "connected to %s", nats->server);
    nats_inward_up(nats);
    nats_outward_up(nats);
}

static void down(struct nats *nats, const struct link_event *event)
{
    bool news = nats->epoch != 0 || strcmp(nats->error_text, event->text) != 0;
    nats_trouble(nats, event->status, event->text);
    if (news)
        nats_log(nats, KOS_WARNING, "%s", event->text);
    if (nats->epoch) {
        nats->epoch = 0;
        nats->down_since_ms = nats->host->now_ms(nats->host);
        nats_inward_down(nats);
        nats_outward_down(nats);
    }
}

static void dispatch(struct nats *nats, const struct link_event *event)
{
    const char *token;
    switch (event->kind) {
    case LINK_UP: up(nats, event); break;
    case LINK_DOWN: down(nats, event); break;
    case LINK_ANSWER:
        token = strrchr(natsMsg_GetSubject(event->msg), '.');
        nats_outward_answer(nats, token ? strtoull(token + 1, NULL, 10) : 0, event->msg);
        break;
    case LINK_MESSAGE: nats_inward_message(nats, event); break;
    case LINK_READY: nats_inward_ready(nats, event); break;
    case LINK_LOOKED: nats_outward_looked(nats, event); break;
    case LINK_DENIED: nats_outward_denied(nats, event->text); /* fallthrough */
    case LINK_NOTE:
        nats_trouble(nats, event->status, event->text);
        nats_log(nats, KOS_WARNING, "%s", event->text);
        break;
    }
}

static void finish_stop(struct nats *nats)
{
    if (!nats->stopping || !nats->link_running || !link_done(&nats->link))
        return;
    link_join(&nats->link);
    nats->link_running = false;
    nats->host->timer_stop(nats->host, NATS_TIMER_STOP);
    nats->host->stopped(nats->host);
}

static void drain(struct nats *nats)
{
    struct link_event *event;
    for (int i = 0; nats->link_running && !nats->stopping && i < EVENTS_A_TURN && (event = link_take(&nats->link)); i++) {
        dispatch(nats, event);
        link_event_free(event);
        if (i == EVENTS_A_TURN - 1)
            nats_tick_now(nats);
    }
}

static void posted(void *self, uint64_t cookie)
{
    (void)cookie;
    drain(self);
    finish_stop(self);
}

static void tick(struct nats *nats)
{
    int64_t now = nats->host->now_ms(nats->host);
    bool fast = false, slow = false;
    nats->ticking = false;
    drain(nats);
    nats_inward_tick(nats, now);
    nats_outward_tick(nats, now);
    for (size_t i = 0; nats->epoch && nats->bridge && i < nats->settings.map_count; i++) {
        fast = fast || nats->inward[i].state != NATS_MAP_READY || nats->inward[i].lanes.held;
        slow = true;
    }
    if (fast || nats->delivery_count)
        nats_tick_soon(nats);
    else if (slow && !nats->ticking)
        nats->host->timer_set(nats->host, NATS_TIMER_TICK, TICK_SLOW_MS);
}

static void timer(void *self, uint64_t id)
{
    struct nats *nats = self;
    if (id == NATS_TIMER_TICK && !nats->stopping)
        tick(nats);
    else if (id == NATS_TIMER_STEP && !nats->stopping)
        run_step(nats);
    else if (id == NATS_TIMER_STOP) {
        nats->host->timer_set(nats->host, NATS_TIMER_STOP, STOP_LOOK_MS);
        finish_stop(nats);
    }
}

/* ---- life ---- */

static int32_t check_servers(const char *const *servers, bool tls, struct kos_error *ret_error)
{
    if (!servers || !servers[0])
        return kos_fail(ret_error, KOS_E_CONFIG, "servers is empty: name at least one, \"tls://nats.example.org:4222\"");
    for (size_t i = 0; servers[i]; i++) {
        bool safe = strncmp(servers[i], "tls://", 6) == 0, plain = strncmp(servers[i], "nats://", 7) == 0;
        if ((!safe && !plain) || strlen(servers[i]) > NATS_SUBJECT_MAX || strpbrk(servers[i], " \t\r\n,"))
            return kos_fail(ret_error, KOS_E_CONFIG, "servers: %.100s is not nats://HOST:PORT or tls://HOST:PORT", servers[i]);
        if (strchr(servers[i], '@'))
            return kos_fail(ret_error, KOS_E_CONFIG,
                            "servers: an address holds no login: use user and password, nkey or credentials");
        if (safe && !tls)
            return kos_fail(ret_error, KOS_E_CONFIG, "servers: %.100s asks for TLS, and tls is false", servers[i]);
    }
    return KOS_OK;
}

static int32_t read_conf(struct nats *nats, const struct kos_conf *conf, struct kos_error *ret_error)
{
    static const char *const names[] = { "nkey", "credentials", "password", "tls_key" };
    struct link_options *o = &nats->options;
    const struct kos_value *servers = kos_conf_get(conf, "servers");
    int logins = 0;
    for (size_t i = 0; i < 4; i++)
        nats->secrets[i] = kos_conf_text(conf, names[i]);
    o->servers = servers ? servers->list : NULL;
    o->tls = kos_conf_number(conf, "tls") != 0;
    o->ca = kos_conf_text(conf, "tls_ca");
    o->cert = kos_conf_text(conf, "tls_cert");
    o->name = kos_conf_text(conf, "tls_name");
    o->user = kos_conf_text(conf, "user");
    nats->max_in_flight = (uint32_t)kos_conf_number(conf, "max_in_flight");
    nats->window = (uint32_t)kos_conf_number(conf, "window");
    nats->ack_timeout_ms = kos_conf_number(conf, "ack_timeout");
    nats->deliver_timeout_ms = kos_conf_number(conf, "deliver_timeout");
    nats->ack_wait_ms = kos_conf_number(conf, "ack_wait");
    nats->whole_message = strcmp(kos_conf_text(conf, "body"), "message") == 0;
    snprintf(nats->durable, sizeof nats->durable, "%s", kos_conf_text(conf, "durable"));
    if (!*nats->durable || nats->durable[strspn(nats->durable, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")])
        return kos_fail(ret_error, KOS_E_CONFIG, "durable is one word of letters, digits, - and _");
    logins = (*nats->secrets[0] != '\0') + (*nats->secrets[1] != '\0') + (*o->user != '\0');
    if (logins > 1)
        return kos_fail(ret_error, KOS_E_CONFIG, "nkey, credentials and user exclude each other");
    if (*nats->secrets[2] && !*o->user)
        return kos_fail(ret_error, KOS_E_CONFIG, "password needs user");
    if ((*o->cert != '\0') != (*nats->secrets[3] != '\0'))
        return kos_fail(ret_error, KOS_E_CONFIG, "tls_cert and tls_key belong together");
    if (!o->tls && (*o->ca || *o->cert || *o->name))
        return kos_fail(ret_error, KOS_E_CONFIG, "tls_ca, tls_cert and tls_name mean nothing where tls is false");
    int32_t status = check_servers(o->servers, o->tls, ret_error);
    if (status >= 0)
        status = nats_settings_maps(kos_conf_text(conf, "inward"), &nats->settings, ret_error);
    if (status >= 0)
        status = nats_settings_streams(kos_conf_text(conf, "streams"), &nats->settings, ret_error);
    o->streams = nats->settings.streams;
    o->stream_count = nats->settings.stream_count;
    return status;
}

static void fini(void *self)
{
    struct nats *nats = self;
    nats_settings_fini(&nats->settings);
    for (int32_t i = 0; i < 4; i++) {
        char *secret = *secret_place(nats, i);
        if (secret)
            klp_wipe(secret, strlen(secret));
        free(secret);
    }
    free(nats);
}

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    uint8_t bytes[16];
    char text[33];
    struct nats *nats = calloc(1, sizeof *nats);
    if (!nats)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the bridge to NATS");
    nats->host = host;
    nats->bridge = host->feature(host, KOS_BRIDGE_HOST);
    nats->control = host->feature(host, KOS_CONTROL_HOST);
    int32_t status = read_conf(nats, conf, ret_error);
    if (status < 0) {
        fini(nats);
        return status;
    }
    host->random(host, bytes, sizeof bytes);
    klp_hex(kos_bytes(bytes, sizeof bytes), text);
    snprintf(nats->inbox, sizeof nats->inbox, "_INBOX.kos%s", text);
    memcpy(nats->options.inbox, nats->inbox, sizeof nats->inbox);
    nats_inward_init(nats);
    *ret_self = nats;
    return KOS_OK;
}

static void stop(void *self)
{
    struct nats *nats = self;
    nats->stopping = true;
    nats->host->timer_stop(nats->host, NATS_TIMER_TICK);
    nats->host->timer_stop(nats->host, NATS_TIMER_STEP);
    nats_outward_end(nats);
    nats_inward_end(nats);
    if (!nats->link_running) {
        nats->host->stopped(nats->host);
        return;
    }
    link_stop(&nats->link);
    nats->host->timer_set(nats->host, NATS_TIMER_STOP, STOP_LOOK_MS);
}

/* ---- what the host may know before any of this runs ---- */

#define SETTING(name_, type_, fallback_, min_, max_, summary_)                                                         \
    &(const struct kos_setting)                                                                                        \
    {                                                                                                                  \
        .size = sizeof(struct kos_setting), .type = (type_), .name = (name_), .fallback = (fallback_), .min = (min_),  \
        .max = (max_), .summary = (summary_)                                                                           \
    }

static const char *const bodies[] = { "message", "payload", NULL };

static const struct kos_setting *const settings[] = {
    SETTING("servers", KOS_SETTING_LIST, NULL, 0, 32, "addresses of NATS servers: nats://HOST:PORT or tls://HOST:PORT"),
    SETTING("tls", KOS_SETTING_BOOL, "true", 0, 0, "speak TLS only"),
    SETTING("tls_ca", KOS_SETTING_STRING, "", 0, 65536, "PEM text or file of the authorities that may sign a server's certificate"),
    SETTING("tls_cert", KOS_SETTING_STRING, "", 0, 65536, "PEM text or file of our own certificate"),
    SETTING("tls_key", KOS_SETTING_SECRET, "", 0, 0, "secret with the private key of tls_cert, PEM"),
    SETTING("tls_name", KOS_SETTING_STRING, "", 0, 253, "name that servers' certificates must bear; empty: that of the address"),
    SETTING("nkey", KOS_SETTING_SECRET, "", 0, 0, "secret with the seed of a user nkey (SU...)"),
    SETTING("credentials", KOS_SETTING_SECRET, "", 0, 0, "secret with a user's .creds file (JWT and seed)"),
    SETTING("user", KOS_SETTING_STRING, "", 0, 255, "user name, for servers with passwords"),
    SETTING("password", KOS_SETTING_SECRET, "", 0, 0, "secret with the password of user"),
    SETTING("inward", KOS_SETTING_TABLE, "", 0, 24, "what comes in from streams, and as what"),
    SETTING("streams", KOS_SETTING_TABLE, "", 0, 16, "streams that the bridge makes where they are missing"),
    SETTING("durable", KOS_SETTING_STRING, "kos", 1, 32, "first part of the names of our durable consumers"),
    &(const struct kos_setting){ .size = sizeof(struct kos_setting), .type = KOS_SETTING_STRING, .name = "body",
                                 .fallback = "message", .choices = bodies, .summary = "what is published: the message, or its payload only" },
    SETTING("max_in_flight", KOS_SETTING_INT, "256", 1, 4096, "messages published and not yet acknowledged"),
    SETTING("window", KOS_SETTING_INT, "64", 1, 512, "messages of a map taken from its stream and not yet decided"),
    SETTING("ack_timeout", KOS_SETTING_DURATION, "5s", 100, 60000, "after so long without acknowledgement a message is sent again"),
    SETTING("deliver_timeout", KOS_SETTING_DURATION, "30s", 1000, 3600000, "after so long a delivery is given back to kosd"),
    SETTING("ack_wait", KOS_SETTING_DURATION, "30s", 1000, 3600000, "after so long a stream hands a message out again"),
    NULL,
};

static const struct kos_right *const rights[] = {
    &(const struct kos_right){ sizeof(struct kos_right), "net", "its library connects to the NATS servers by itself" },
    &(const struct kos_right){ sizeof(struct kos_right), "send", "sends what comes in from NATS" },
    NULL,
};

static const struct kos_bridge bridge = { .size = sizeof bridge, .deliver = nats_deliver, .resume = nats_resume };

static const struct kos_feature *const features[] = {
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_BRIDGE, &bridge },
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_CONTROL, &nats_control },
    NULL,
};

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.bridge.nats",
    .name = "nats",
    .version = "1.0.0",
    .summary = "joins kos to NATS JetStream",
    .settings = settings,
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = fini,
    .completed = completed,
    .timer = timer,
    .posted = posted,
};
