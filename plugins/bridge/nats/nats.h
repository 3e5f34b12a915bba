/* SPDX-License-Identifier: Apache-2.0
 * Private to bridge/nats. plugin.c is the plugin and its life, settings.c what the policy says, subject.c names of both
 * worlds, outward.c deliveries, inward.c and lane.c what is taken from streams, status.c the control interface: all on
 * the loop. link.c, stream.c: the one thread of the plugin, which connects and does everything that may block (link.h).
 */
#ifndef KOS_NATS_H
#define KOS_NATS_H

#include <klp/json.h>
#include <kos/bridge.h>
#include <kos/control.h>
#include <kos/plugin.h>
#include <uthash.h>

#include "link.h"

enum {
    NATS_MAPS_MAX = 24,              /* so that the cursor of a stream, a position for each, stays below 1 KiB */
    NATS_STREAMS_MAX = 16,
    NATS_SUBJECT_MAX = 255,
    NATS_STREAM_NAME_MAX = 190,      /* an origin, "nats:" and this, may have 200 bytes */
    NATS_ORIGIN_TEXT = 33,           /* 32 hex digits and NUL */
    NATS_HELD_MAX = 4096,            /* deliveries at a time; above it the host is told to wait */
    NATS_HELD_BYTES = 64 << 20,
    NATS_BODY_MAX = KLP_MESSAGE_MAX - 4096, /* what a foreign message may have: a message of ours has room for it */
    NATS_TEXT_MAX = 300,
    NATS_TICK_MS = 200,
    NATS_HOPS_MAX = 4                /* bridges of kos that a message may cross on its way through NATS */
};

enum nats_timer { NATS_TIMER_TICK = 1, NATS_TIMER_STEP, NATS_TIMER_STOP };

/* ---- settings.c ---- */

struct nats_map {                    /* one group of `inward` */
    char subject[NATS_SUBJECT_MAX + 1], stream[NATS_SUBJECT_MAX + 1], type[65];
    char *target;
    int32_t klass;
    int64_t expires_ms;
    double trust;
    bool only_new, unwrap;
    char mark[9];                    /* of subject and stream: names the durable consumer and the place in the cursor */
};

struct nats_settings {
    struct nats_map maps[NATS_MAPS_MAX];
    size_t map_count;
    struct link_stream streams[NATS_STREAMS_MAX];
    size_t stream_count;
};

int32_t nats_settings_maps(const char *json, struct nats_settings *settings, struct kos_error *ret_error);
int32_t nats_settings_streams(const char *json, struct nats_settings *settings, struct kos_error *ret_error);
void nats_settings_fini(struct nats_settings *settings);

/* ---- subject.c ---- */

/* Whether it is a subject of NATS: tokens between dots, no white space; with `*` and `>` only where asked for. */
bool nats_subject_ok(const char *subject, bool wildcards, const char **ret_why);
bool nats_subjects_overlap(const char *a, const char *b);
/* The destination of the policy with {type}, {source}, {target} and {class} filled in. */
int32_t nats_subject_expand(const char *destination, const struct kos_message *m, char ret_subject[NATS_SUBJECT_MAX + 1],
                            struct kos_error *ret_error);
/* Reads the reply subject of a message that a consumer handed out. False when it is none. */
bool nats_reply_parse(const char *reply, uint64_t *ret_stream_seq, uint64_t *ret_delivered);
/* Trace of a message that crosses to NATS and back: carries how many bridges it crossed. */
void nats_trace_mark(const char *trace, const uint8_t id[KOS_ID_BYTES], int hops, char ret_trace[56]);
int nats_trace_hops(const char *trace);

/* ---- lane.c: what was taken from a stream and is not decided yet ---- */

struct nats_taken {
    uint64_t seq, op;                /* op 0: waits in its lane */
    char *reply;                     /* the newest one: the server may hand it out again */
    uint8_t *payload;
    size_t len;
    char trace[56];
    uint32_t tries;
    struct nats_lane *lane;
    struct nats_taken *prev, *next;  /* of the lane, in the stream's order */
    UT_hash_handle by_seq;
};
struct nats_lane {                   /* one subject: its order is kept by having one message under way */
    struct nats_taken *first;
    int64_t retry_at_ms;             /* 0: now */
    UT_hash_handle hh;
    char subject[];
};
struct nats_lanes {
    struct nats_taken *by_seq;
    struct nats_lane *lanes;
    size_t held, under_way;
    uint64_t highest;                /* everything up to it was seen */
};
struct nats_taken *nats_lanes_find(struct nats_lanes *lanes, uint64_t seq);
struct nats_taken *nats_lanes_find_op(struct nats_lanes *lanes, uint64_t op);
/* Takes `payload`. NULL without memory (and frees it). */
struct nats_taken *nats_lanes_add(struct nats_lanes *lanes, const char *subject, uint64_t seq, const char *reply,
                                  uint8_t *payload, size_t len);
void nats_lanes_remove(struct nats_lanes *lanes, struct nats_taken *taken);
void nats_lanes_clear(struct nats_lanes *lanes);
/* All up to it are decided, `except` (may be NULL) counted as decided. */
uint64_t nats_lanes_floor(const struct nats_lanes *lanes, const struct nats_taken *except);

/* ---- the instance ---- */

enum nats_map_state { NATS_MAP_IDLE = 0, NATS_MAP_ASKED, NATS_MAP_READY };

struct nats_inward {
    const struct nats_map *map;
    enum nats_map_state state;
    struct nats_lanes lanes;
    char stream[NATS_SUBJECT_MAX + 1], origin[NATS_SUBJECT_MAX + 16];
    uint64_t created;                /* of the stream, Unix ns: a stream made again begins again at 1 */
    uint64_t setup;                  /* of which attempt messages are taken */
    size_t asked;                    /* messages asked for that have not come */
    int64_t asked_until_ms, again_at_ms, progress_at_ms;
    uint32_t failures;
    uint64_t cursor_created, cursor_seq; /* from `resume`; cursor_created 0: none */
    bool was_said;                   /* the log has its present trouble */
    char trouble[NATS_TEXT_MAX];
};

enum nats_delivery_state { NATS_WAITING = 1, NATS_SENT, NATS_LOOKING, NATS_REFUSED };

struct nats_delivery {
    uint64_t op, token;
    uint8_t id[KOS_ID_BYTES];
    enum nats_delivery_state state;
    int64_t first_ms, due_ms;            /* taken; when to act next */
    int64_t since_ms;                    /* no server can have it from before */
    uint32_t tries;
    bool uncertain;                      /* a server may have it already: look before it is sent */
    bool for_it;                         /* LOOKING: for the message, not for a stream that takes the subject */
    uint64_t searched_seq;               /* the stream holds it not up to here */
    char subject[NATS_SUBJECT_MAX + 1], trace[56];
    char *source;
    uint8_t *body;
    size_t len;
    int32_t status;                      /* why it waits, for when time runs out */
    char text[NATS_TEXT_MAX];
    struct nats_delivery *prev, *next;   /* in the order of the host */
    UT_hash_handle hh;                   /* by token */
};

struct nats_counters {
    uint64_t delivered, doubled, injected, repeated, own, refused, terminated, retried, connects;
};

struct nats {
    const struct kos_host *host;
    const struct kos_bridge_host *bridge;
    const struct kos_control_host *control;
    struct nats_settings settings;
    struct link_options options;     /* strings of the settings, and secrets of ours */
    const char *secrets[4];          /* names of nkey, credentials, password, tls_key; "" for none */
    int32_t step;                    /* of the start, plugin.c */
    uint64_t step_op;
    struct link link;
    bool link_running, stopping, ticking, whole_message;
    char origin[NATS_ORIGIN_TEXT];
    char inbox[64], server[NATS_SUBJECT_MAX + 1], durable[33];
    uint64_t epoch, next_op, next_token;
    int64_t max_payload;
    uint32_t max_in_flight, window;
    int64_t down_since_ms;           /* while epoch is 0 */
    int64_t ack_timeout_ms, deliver_timeout_ms, ack_wait_ms;
    struct nats_delivery *deliveries, *by_token;
    size_t delivery_count, delivery_bytes, sent_count;
    struct nats_inward inward[NATS_MAPS_MAX];
    struct nats_counters count;
    int32_t error;
    int64_t error_at_ms;
    char error_text[NATS_TEXT_MAX];
};

/* plugin.c */
void nats_log(struct nats *nats, int32_t level, const char *format, ...) __attribute__((format(printf, 3, 4)));
void nats_trouble(struct nats *nats, int32_t status, const char *text); /* what Status shows last */
void nats_tick_soon(struct nats *nats);
void nats_tick_now(struct nats *nats);
int64_t nats_back_off(const struct nats *nats, uint32_t tries, int64_t most_ms); /* with some chance in it */

/* outward.c */
void nats_deliver(void *self, uint64_t op, const struct kos_message *m, const char *destination);
void nats_outward_up(struct nats *nats);
void nats_outward_down(struct nats *nats);
void nats_outward_answer(struct nats *nats, uint64_t token, natsMsg *msg);
void nats_outward_looked(struct nats *nats, const struct link_event *event);
void nats_outward_denied(struct nats *nats, const char *text);
void nats_outward_tick(struct nats *nats, int64_t now);
void nats_outward_end(struct nats *nats);

/* inward.c */
void nats_inward_init(struct nats *nats);
void nats_resume(void *self, const char *origin, struct kos_bytes cursor);
void nats_inward_up(struct nats *nats);
void nats_inward_down(struct nats *nats);
void nats_inward_ready(struct nats *nats, const struct link_event *event);
void nats_inward_message(struct nats *nats, const struct link_event *event);
bool nats_inward_completed(struct nats *nats, uint64_t op, int32_t status, struct kos_bytes result);
void nats_inward_tick(struct nats *nats, int64_t now);
void nats_inward_end(struct nats *nats);

/* status.c */
extern const struct kos_control nats_control;

#endif
