/* SPDX-License-Identifier: Apache-2.0
 * Private to bridge/nats: the thread that owns the connection. libnats connects, writes and asks JetStream in calls that
 * block, and calls back from threads of its own; so the loop hands commands to this thread and takes events from it, both
 * through bounded queues. It decides nothing: what is sent again, acknowledged or given up is the loop's to say.
 * Reconnecting is done here and not by libnats, so that every failed attempt is told with its reason and no buffer of the
 * library holds what the loop believes sent. */
#ifndef KOS_NATS_LINK_H
#define KOS_NATS_LINK_H

#include <kos/host.h>
#include <nats/nats.h>
#include <pthread.h>

enum {
    LINK_SUBS_MAX = 24,
    LINK_EVENTS_MAX = 16384,
    LINK_EVENT_BYTES = 128 << 20,
    LINK_COMMANDS_MAX = 32768,
    LINK_TIMEOUT_MS = 2000,          /* of connecting to one server */
    LINK_ASK_MS = 1500,              /* of one question to JetStream: stop waits for it */
    LINK_SERVERS_MAX = 64
};

struct link_stream {                 /* a stream to be made where it is missing */
    char name[256];
    char *subjects;                  /* separated by blanks */
    int64_t replicas, max_age_ms, max_bytes, duplicates_ms;
    bool memory;
};

struct link_options {
    const char *const *servers;
    bool tls;
    const char *ca, *cert, *name;    /* file names or PEM text; the name that the certificate must bear; "" for none */
    const char *user;
    char *seed, *credentials, *password, *key; /* secrets; NULL: none */
    const struct link_stream *streams;
    size_t stream_count;
    char inbox[64];
};

enum link_command_kind { LINK_SEND = 1, LINK_SETUP, LINK_LOOK };

struct link_command {
    enum link_command_kind kind;
    uint64_t epoch;                  /* of the connection it is for; dropped on another one */
    natsMsg *msg;                    /* SEND */
    uint64_t token;                  /* SETUP: number of the attempt; LOOK: of the delivery */
    uint32_t map;
    char *subject, *stream, *durable, *msg_id;
    bool only_new;
    uint64_t cursor_created, cursor_seq;
    int64_t ack_wait_ms, since_ms, age_ms; /* LOOK: since when, Unix and as a span */
    uint32_t window;
    struct link_command *next;
};

enum link_event_kind {
    LINK_UP = 1, LINK_DOWN, LINK_ANSWER /* to a publish */, LINK_MESSAGE, LINK_READY /* SETUP ended */, LINK_LOOKED,
    LINK_DENIED /* by the permissions there */, LINK_NOTE /* what went wrong beside all that */
};

struct link_event {
    enum link_event_kind kind;
    uint64_t epoch;                  /* UP: number of the connection */
    uint64_t token;
    uint32_t map;
    natsMsg *msg;                    /* ANSWER, MESSAGE: the event's */
    int32_t status;                  /* LOOKED: KOS_OK a stream takes the subject; KOS_E_NOTFOUND none; KOS_E_EXISTS the
                                        message is in it */
    uint64_t created, seq;           /* READY: of the stream, and what was acknowledged; LOOKED: searched up to */
    int64_t max_payload;
    char name[256];                  /* UP: server; READY, LOOKED: stream */
    char text[300];
    struct link_event *next;
};

struct link_sub {                    /* what its callback is handed */
    struct link *link;
    uint64_t token;
    uint32_t map;                    /* LINK_SUBS_MAX: answers to what was published */
};

struct link {
    const struct kos_host *host;
    const struct link_options *options;
    pthread_t thread;
    pthread_mutex_t lock;            /* guards from here to `done` */
    pthread_cond_t wake;
    struct link_command *first_command, *last_command;
    struct link_event *first_event, *last_event;
    size_t commands, events, event_bytes;
    uint64_t dropped;
    bool stop, broken, posted, closed, done;
    /* the thread's own */
    natsConnection *nc;
    jsCtx *js;
    uint64_t connects;
    uint32_t failures, next_server;
    natsSubscription *subs[LINK_SUBS_MAX + 1];
    char *discovered[LINK_SERVERS_MAX];
    size_t discovered_count;
};

int32_t link_start(struct link *link, const struct kos_host *host, const struct link_options *options,
                   struct kos_error *ret_error);
/* Takes the command. KOS_E_BUSY: too many wait (it was freed). */
int32_t link_give(struct link *link, struct link_command *command);
int32_t link_send(struct link *link, uint64_t epoch, natsMsg *msg);
/* The next event, the caller's to link_event_free; NULL: none. */
struct link_event *link_take(struct link *link);
void link_event_free(struct link_event *event);
void link_stop(struct link *link);
bool link_done(struct link *link);
uint64_t link_dropped(struct link *link);
void link_join(struct link *link); /* after link_done: frees what is left */

/* within the thread: link.c for stream.c */
void link_tell(struct link *link, struct link_event *event); /* takes it */
struct link_event *link_event_new(enum link_event_kind kind);
void link_say(struct link *link, enum link_event_kind kind, int32_t status, const char *text);
natsStatus link_subscribe(struct link *link, uint32_t map, uint64_t token, const char *subject);

/* stream.c */
void link_streams_make(struct link *link);
void link_setup(struct link *link, const struct link_command *command);
void link_look(struct link *link, const struct link_command *command);

/* auth.c: what the options say, as options of libnats. */
int32_t link_options_make(const struct link_options *options, const char *server, natsOptions **ret_options,
                          struct kos_error *ret_error);
/* "SU..." to the public key "U...". KOS_E_KEY. */
int32_t link_nkey_public(const char *seed, char ret_public[60]);
/* The sentence for a connection that could not be made. */
int32_t link_connect_text(const struct link_options *options, const char *server, natsStatus status, const char *detail,
                          char *ret_text, size_t cap);

#endif
