/* SPDX-License-Identifier: Apache-2.0
 * The thread of bridge/nats: queues, connecting and reconnecting. */
#include "link.h"

#include <netinet/in.h>
#include <arpa/nameser.h>
#include <openssl/ssl.h>
#include <resolv.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

/* libnats has threads and memory of its own for the whole process, and closing it stops all who use it: so it is opened
 * by the first instance of this plugin and closed by the last. */
static struct {
    pthread_mutex_t lock;
    int users;
} library = { PTHREAD_MUTEX_INITIALIZER, 0 };

static void library_take(void)
{
    struct sigaction before;
    pthread_mutex_lock(&library.lock);
    if (library.users++ == 0) {
        /* It would ignore SIGPIPE for the whole process. Its threads have all signals blocked: link_start. */
        sigaction(SIGPIPE, NULL, &before);
        nats_Open(-1);
        sigaction(SIGPIPE, &before, NULL);
    }
    pthread_mutex_unlock(&library.lock);
}

/* When libnats (up to 3.10) is unloaded it frees OpenSSL's list of compression methods, which OpenSSL frees again when the
 * process ends. So there is none from here on; it has no entry where OpenSSL is built without compression, as everywhere by
 * now, and no context looks at it that was not told to compress. */
static void library_close(void)
{
    SSL_COMP_get_compression_methods(); /* makes it, if it was not made yet: it is made once only */
    STACK_OF(SSL_COMP) *methods = SSL_COMP_set0_compression_methods(NULL);
    if (methods && sk_SSL_COMP_num(methods) == 0)
        sk_SSL_COMP_free(methods);
    nats_CloseAndWait(2000);
}

static void library_drop(void)
{
    pthread_mutex_lock(&library.lock);
    if (--library.users == 0)
        library_close();
    pthread_mutex_unlock(&library.lock);
}

/* ---- queues ---- */

static void command_free(struct link_command *command)
{
    natsMsg_Destroy(command->msg);
    free(command->subject);
    free(command->stream);
    free(command->durable);
    free(command->msg_id);
    free(command);
}

int32_t link_give(struct link *link, struct link_command *command)
{
    pthread_mutex_lock(&link->lock);
    bool room = !link->closed && link->commands < LINK_COMMANDS_MAX;
    if (room) {
        command->next = NULL;
        if (link->last_command)
            link->last_command->next = command;
        else
            link->first_command = command;
        link->last_command = command;
        link->commands++;
        pthread_cond_signal(&link->wake);
    }
    pthread_mutex_unlock(&link->lock);
    if (!room)
        command_free(command);
    return room ? KOS_OK : KOS_E_BUSY;
}

int32_t link_send(struct link *link, uint64_t epoch, natsMsg *msg)
{
    struct link_command *command = msg ? calloc(1, sizeof *command) : NULL;
    if (!command) {
        natsMsg_Destroy(msg);
        return KOS_E_NOMEM;
    }
    command->kind = LINK_SEND;
    command->epoch = epoch;
    command->msg = msg;
    return link_give(link, command);
}

struct link_event *link_event_new(enum link_event_kind kind)
{
    struct link_event *event = calloc(1, sizeof *event);
    if (event)
        event->kind = kind;
    return event;
}

void link_event_free(struct link_event *event)
{
    natsMsg_Destroy(event->msg);
    free(event);
}

static size_t weight(const struct link_event *event)
{
    return event->msg ? (size_t)natsMsg_GetDataLength(event->msg) : 0;
}

/* What a server sends beyond what was asked for is dropped: JetStream hands it out again. */
void link_tell(struct link *link, struct link_event *event)
{
    if (!event)
        return;
    pthread_mutex_lock(&link->lock);
    bool foreign = event->kind == LINK_MESSAGE || event->kind == LINK_ANSWER;
    bool room = !link->closed && (!foreign || (link->events < LINK_EVENTS_MAX &&
                                               link->event_bytes + weight(event) <= LINK_EVENT_BYTES));
    if (room) {
        event->next = NULL;
        if (link->last_event)
            link->last_event->next = event;
        else
            link->first_event = event;
        link->last_event = event;
        link->events++;
        link->event_bytes += weight(event);
        if (!link->posted)
            link->posted = link->host->post(link->host, 0) >= 0;
    } else {
        link->dropped++;
    }
    pthread_mutex_unlock(&link->lock);
    if (!room)
        link_event_free(event);
}

struct link_event *link_take(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    struct link_event *event = link->first_event;
    if (event) {
        link->first_event = event->next;
        if (!link->first_event)
            link->last_event = NULL;
        link->events--;
        link->event_bytes -= weight(event);
    } else {
        link->posted = false;
    }
    pthread_mutex_unlock(&link->lock);
    return event;
}

void link_say(struct link *link, enum link_event_kind kind, int32_t status, const char *text)
{
    struct link_event *event = link_event_new(kind);
    if (event) {
        event->status = status;
        snprintf(event->text, sizeof event->text, "%s", text);
    }
    link_tell(link, event);
}

/* ---- called by threads of libnats ---- */

static void link_message(natsConnection *nc, natsSubscription *subscription, natsMsg *msg, void *closure)
{
    struct link_sub *sub = closure;
    struct link_event *event = link_event_new(sub->map == LINK_SUBS_MAX ? LINK_ANSWER : LINK_MESSAGE);
    (void)nc;
    (void)subscription;
    if (!event) {
        natsMsg_Destroy(msg);
        return;
    }
    event->map = sub->map;
    event->token = sub->token;
    event->msg = msg;
    link_tell(sub->link, event);
}

static void on_closed(natsConnection *nc, void *closure)
{
    struct link *link = closure;
    (void)nc;
    pthread_mutex_lock(&link->lock);
    link->broken = true;
    pthread_cond_signal(&link->wake);
    pthread_mutex_unlock(&link->lock);
}

static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus status, void *closure)
{
    const char *text = NULL;
    (void)sub;
    if (status != NATS_NOT_PERMITTED)
        return;
    natsConnection_GetLastError(nc, &text);
    link_say(closure, LINK_DENIED, KOS_E_PERMISSION, text ? text : "permissions violation");
}

/* ---- connecting ---- */

static void note_discovered(struct link *link)
{
    char **servers = NULL;
    int count = 0;
    if (natsConnection_GetDiscoveredServers(link->nc, &servers, &count) != NATS_OK)
        return;
    for (size_t i = 0; i < link->discovered_count; i++)
        free(link->discovered[i]);
    link->discovered_count = 0;
    for (int i = 0; i < count; i++) {
        if (link->discovered_count < LINK_SERVERS_MAX)
            link->discovered[link->discovered_count++] = servers[i];
        else
            free(servers[i]);
    }
    free(servers);
}

/* Configured ones first, then those that the cluster told of. */
static const char *next_server(struct link *link)
{
    uint32_t configured = 0;
    while (link->options->servers[configured])
        configured++;
    uint32_t at = link->next_server++ % (configured + (uint32_t)link->discovered_count);
    return at < configured ? link->options->servers[at] : link->discovered[at - configured];
}

/* A subscription that ended may still be calling back: what it needs is freed by itself, when it has called for the last
 * time. */
natsStatus link_subscribe(struct link *link, uint32_t map, uint64_t token, const char *subject)
{
    struct link_sub *sub = calloc(1, sizeof *sub);
    if (!sub)
        return NATS_NO_MEMORY;
    *sub = (struct link_sub){ .link = link, .map = map, .token = token };
    natsSubscription_Destroy(link->subs[map]);
    link->subs[map] = NULL;
    natsStatus status = natsConnection_Subscribe(&link->subs[map], link->nc, subject, link_message, sub);
    if (status == NATS_OK)
        status = natsSubscription_SetOnCompleteCB(link->subs[map], free, sub);
    else
        free(sub);
    return status;
}

static bool subscribe_answers(struct link *link)
{
    char subject[96];
    snprintf(subject, sizeof subject, "%s.p.*", link->options->inbox);
    return link_subscribe(link, LINK_SUBS_MAX, 0, subject) == NATS_OK &&
        natsConnection_FlushTimeout(link->nc, LINK_TIMEOUT_MS) == NATS_OK;
}

static void disconnect(struct link *link)
{
    for (size_t i = 0; i <= LINK_SUBS_MAX; i++)
        natsSubscription_Destroy(link->subs[i]);
    jsCtx_Destroy(link->js);
    natsConnection_Destroy(link->nc);
    memset(link->subs, 0, sizeof link->subs);
    link->js = NULL;
    link->nc = NULL;
}

static void connect_once(struct link *link)
{
    struct kos_error error = { 0 };
    const char *server = next_server(link), *detail = NULL;
    char text[300];
    natsOptions *options = NULL;
    jsOptions js;
    int32_t made = link_options_make(link->options, server, &options, &error);
    if (made < 0) {
        link_say(link, LINK_DOWN, made, error.text);
        return;
    }
    natsOptions_SetClosedCB(options, on_closed, link);
    natsOptions_SetErrorHandler(options, on_error, link);
    pthread_mutex_lock(&link->lock);
    link->broken = false;
    pthread_mutex_unlock(&link->lock);
    natsStatus status = natsConnection_Connect(&link->nc, options);
    natsOptions_Destroy(options);
    if (status != NATS_OK) {
        natsStatus last;
        detail = nats_GetLastError(&last);
        int32_t code = link_connect_text(link->options, server, status, detail, text, sizeof text);
        link->nc = NULL;
        link_say(link, LINK_DOWN, code, text);
        return;
    }
    jsOptions_Init(&js);
    js.Wait = LINK_ASK_MS;
    if (natsConnection_JetStream(&link->js, link->nc, &js) != NATS_OK || !subscribe_answers(link)) {
        disconnect(link);
        snprintf(text, sizeof text, "%.160s was connected to and went away again", server);
        link_say(link, LINK_DOWN, KOS_E_CLOSED, text);
        return;
    }
    note_discovered(link);
    link_streams_make(link);
    link->failures = 0;
    struct link_event *event = link_event_new(LINK_UP);
    if (!event)
        return;
    event->epoch = ++link->connects;
    event->max_payload = natsConnection_GetMaxPayload(link->nc);
    natsConnection_GetConnectedUrl(link->nc, event->name, sizeof event->name);
    link_tell(link, event);
}

/* ---- the thread ---- */

static void run_command(struct link *link, const struct link_command *command)
{
    if (command->epoch != link->connects || !link->nc)
        return; /* it was for a connection that is gone, and the loop knows */
    if (command->kind == LINK_SEND)
        natsConnection_PublishMsg(link->nc, command->msg);
    else if (command->kind == LINK_SETUP)
        link_setup(link, command);
    else
        link_look(link, command);
}

/* The wait before the next attempt: from 100 ms to 5 s, with chance, so that many nodes do not come at once. */
static void rest(struct link *link)
{
    struct timespec until;
    uint16_t chance = 0;
    uint32_t most = link->failures < 6 ? 100u << link->failures : 5000;
    clock_gettime(CLOCK_MONOTONIC, &until);
    chance = (uint16_t)(until.tv_nsec >> 10);
    uint64_t ns = (uint64_t)until.tv_nsec + (most / 2 + most / 2 * (uint64_t)chance / 65536) * 1000000u;
    until.tv_sec += (time_t)(ns / 1000000000u);
    until.tv_nsec = (long)(ns % 1000000000u);
    while (!link->stop && pthread_cond_timedwait(&link->wake, &link->lock, &until) == 0)
        continue;
}

/* Messages cannot be freed any more once libnats is closed, and a last one may come until then. */
static void empty(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    struct link_event *event = link->first_event;
    struct link_command *command = link->first_command;
    link->closed = true;
    link->first_event = link->last_event = NULL;
    link->first_command = link->last_command = NULL;
    pthread_mutex_unlock(&link->lock);
    for (struct link_event *next; event; event = next) {
        next = event->next;
        link_event_free(event);
    }
    for (struct link_command *next; command; command = next) {
        next = command->next;
        command_free(command);
    }
}

static void *run(void *arg)
{
    struct link *link = arg;
    struct __res_state *resolver = &_res;
    /* A name server that does not answer must not hold the end of this thread up: what the system waits by default is
     * longer than a plugin may take to stop. */
    if (res_init() == 0) {
        resolver->retrans = 1;
        resolver->retry = 1;
    }
    library_take();
    pthread_mutex_lock(&link->lock);
    while (!link->stop || (link->nc && !link->broken && link->first_command)) {
        if (!link->nc) {
            pthread_mutex_unlock(&link->lock);
            connect_once(link);
            pthread_mutex_lock(&link->lock);
            if (!link->nc) {
                rest(link);
                link->failures++;
            }
        } else if (link->broken) {
            pthread_mutex_unlock(&link->lock);
            disconnect(link);
            link_say(link, LINK_DOWN, KOS_E_CLOSED, "the connection was lost");
            pthread_mutex_lock(&link->lock);
        } else if (link->first_command) {
            struct link_command *command = link->first_command;
            link->first_command = command->next;
            if (!link->first_command)
                link->last_command = NULL;
            link->commands--;
            bool wanted = !link->stop || command->kind == LINK_SEND;
            pthread_mutex_unlock(&link->lock);
            if (wanted)
                run_command(link, command);
            command_free(command);
            pthread_mutex_lock(&link->lock);
        } else {
            pthread_cond_wait(&link->wake, &link->lock);
        }
    }
    pthread_mutex_unlock(&link->lock);
    if (link->nc) {
        natsConnection_FlushTimeout(link->nc, 500); /* the last acknowledgements */
        disconnect(link);
    }
    empty(link);
    nats_ReleaseThreadMemory();
    library_drop();
    pthread_mutex_lock(&link->lock);
    link->done = true;
    link->host->post(link->host, 0);
    pthread_mutex_unlock(&link->lock);
    return NULL;
}

int32_t link_start(struct link *link, const struct kos_host *host, const struct link_options *options,
                   struct kos_error *ret_error)
{
    pthread_condattr_t attributes;
    sigset_t all, before;
    link->host = host;
    link->options = options;
    pthread_mutex_init(&link->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&link->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    /* Signals are the host's; the threads of libnats inherit this too. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&link->thread, NULL, run, link);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        pthread_cond_destroy(&link->wake);
        pthread_mutex_destroy(&link->lock);
        return kos_fail(ret_error, KOS_E_NOMEM, "a thread for the connection cannot be had: %s", strerror(failed));
    }
    return KOS_OK;
}

void link_stop(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    link->stop = true;
    pthread_cond_signal(&link->wake);
    pthread_mutex_unlock(&link->lock);
}

bool link_done(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    bool done = link->done;
    pthread_mutex_unlock(&link->lock);
    return done;
}

uint64_t link_dropped(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    uint64_t dropped = link->dropped;
    pthread_mutex_unlock(&link->lock);
    return dropped;
}

void link_join(struct link *link)
{
    pthread_join(link->thread, NULL);
    for (size_t i = 0; i < link->discovered_count; i++)
        free(link->discovered[i]);
    pthread_cond_destroy(&link->wake);
    pthread_mutex_destroy(&link->lock);
}
