/* SPDX-License-Identifier: Apache-2.0
 *
 * The handler of tasks: TASK_REQUEST and the answers that go with it. Private to this plugin.
 *
 *   ask.c      tasks we asked of others: sent, followed, their answer put together
 *   perform.c  tasks others ask of our agents: accepted, run at most once, answered
 *   effect.c   what follows from them, stored sooner or later
 *   record.c   both as canonical JSON in the plugin's state
 *   control.c  org.kos.task on the control socket
 *   plugin.c   the plugin: settings, life, operations
 *
 * State:  o/ID              a task we asked                       (ask.c)
 *         p/ID/SSSSSSSS     part S of its answer, raw
 *         i/SOURCE/ID       a task asked of us                    (perform.c)
 *         n/SOURCE/ID       its inputs, until it ran
 */
#ifndef TASK_H
#define TASK_H

#include <kos/agents.h>
#include <kos/control.h>
#include <kos/handler.h>
#include <kos/plugin.h>
#include <klp/id.h>
#include <klp/message.h>
#include <sodium.h>
#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

enum {
    PART_MAX = 48 * 1024,           /* raw bytes of one part */
    CREDIT = 256 * 1024,            /* output of one run that may be under way to the asker */
    KEY_MAX = 80,
    RECORD_MAX = 16384,
    TEXT_MAX = 512,
    INPUTS_MAX = 1 << 20,
    SOURCES_MAX = 4096,             /* whose turns are remembered */
};

struct tasks;

/* What a host's answer to one of our operations goes on with. */
struct pending {
    UT_hash_handle hh;
    uint64_t op;
    void (*done)(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result);
    uint8_t id[2 * KLP_ID_LEN];     /* the task concerned */
    uint64_t number;
    void *what;
};

enum out_state { OUT_SENT = 1, OUT_DELIVERED, OUT_ACCEPTED, OUT_DONE, OUT_FAILED };

/* Somebody at the control socket who follows a task: reads parts from the state, in order, then the end. */
struct follower {
    uint64_t call;
    uint32_t next;                  /* part to be read next */
    uint64_t offset, from;          /* bytes passed; bytes wanted from */
    bool reading, gone;
    int32_t told;                   /* enum out_state that was told last */
    struct follower *prev, *nextf;
};

struct early { uint32_t seq; uint64_t len; struct early *next; };

/* A task we asked. In memory while it is under way or followed. */
struct out_task {
    UT_hash_handle hh;
    uint8_t id[KLP_ID_LEN];
    char *target;
    int64_t created, deadline;
    int32_t state;
    uint8_t source[KLP_ID_LEN];     /* who answers, pinned by its first answer */
    bool has_source;
    uint32_t parts;                 /* contiguous parts durable here */
    uint64_t bytes;
    struct early *early;            /* parts that overtook others */
    bool ended;                     /* the final answer is known; parts may be missing still */
    uint32_t parts_total;
    uint64_t bytes_total;
    int32_t error;                  /* 0, or KOS_E_* */
    bool retry;
    char text[TEXT_MAX];
    char *result;                   /* canonical JSON object; NULL: none */
    char *evidence;                 /* canonical JSON object: who signed what */
    uint64_t timer;
    struct follower *followers;
};

enum in_state { IN_WAITING = 1, IN_STARTING, IN_RUNNING, IN_DONE };

/* A task asked of an agent here, until it is answered. */
struct in_task {
    UT_hash_handle hh;              /* by key */
    UT_hash_handle run_hh;          /* by run */
    uint8_t key[2 * KLP_ID_LEN];    /* source id, message id */
    uint8_t agent[KLP_ID_LEN];
    char *source;                   /* klp:// text to answer to */
    int64_t created, deadline;
    int32_t state;
    uint64_t run;
    bool cancelled;
    uint32_t parts;
    uint64_t bytes;
    crypto_hash_sha256_state digest;
    uint8_t buffer[PART_MAX];       /* output not sent yet */
    size_t buffered;
    int32_t error;                  /* DONE: what it ended with */
    bool unheard;                   /* DONE: the asker may not be told */
    uint64_t timer;
};

/* A part under way to the asker: its receipt gives the run credit. */
struct sent_part {
    UT_hash_handle hh;
    uint8_t id[KLP_ID_LEN];
    uint8_t key[2 * KLP_ID_LEN];
    uint64_t bytes;
};

struct timer {
    UT_hash_handle hh;
    uint64_t id;
    uint8_t key[2 * KLP_ID_LEN];
    void (*fire)(struct tasks *tasks, struct timer *timer);
};

/* Who asked agents here, and when it had its last turn. */
struct source {
    UT_hash_handle hh;              /* in the order of turns */
    uint8_t id[KLP_ID_LEN];
    uint64_t served;
};

struct tasks {
    const struct kos_host *host;
    const struct kos_agents *agents;
    const struct kos_control_host *control;
    uint64_t last;                  /* ids of operations, transactions, runs and timers */
    struct pending *pending;
    struct out_task *out;
    struct in_task *in, *runs;
    struct source *sources;
    uint64_t turns;
    struct sent_part *sent;
    struct timer *timers;
    struct effect *effects;         /* not stored yet, in order */
    uint32_t held;                  /* of them: wait for the store */
    uint64_t again;                 /* timer */
    uint32_t loading;               /* scans of the state that go on */
    bool stopping;
    int64_t deadline_ms, keep_ms, output_max, waiting_max;
};

/* plugin.c */
uint64_t next_id(struct tasks *tasks);
/* Registers what goes on when `op` completes; the op's id is in it. */
struct pending *expect(struct tasks *tasks, void (*done)(struct tasks *, struct pending *, int32_t, struct kos_bytes), const uint8_t *id, size_t id_len);
uint64_t timer_after(struct tasks *tasks, uint64_t delay_ms, void (*fire)(struct tasks *, struct timer *), const uint8_t *key, size_t key_len);
void timer_drop(struct tasks *tasks, uint64_t *id);
/* One message handled or outcome noted, nothing else. */
void settle(struct tasks *tasks, uint64_t message);
void log_line(struct tasks *tasks, int32_t level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* effect.c: a transaction that is tried until the store takes it. All that is given is copied. */
struct effect;
typedef void effect_done(struct tasks *tasks, struct pending *what, int32_t status, struct kos_bytes result);
struct effect *effect_new(struct tasks *tasks);
void effect_put(struct effect *effect, struct kos_bytes key, struct kos_bytes value);
void effect_delete(struct effect *effect, struct kos_bytes key);
void effect_send(struct effect *effect, const struct kos_draft *draft);
void effect_verdict(struct effect *effect, uint64_t message, int32_t verdict, int32_t error, const char *text, uint64_t retry_ms);
/* `done`, or NULL, is called once, with `id` and `number`: KOS_OK, or why it can never be (a policy, a limit): then nothing
 * of it took place. With an id, that of the task, effects are stored in order. */
void effect_commit(struct effect *effect, effect_done *done, const uint8_t *id, size_t id_len, uint64_t number);
void effects_free(struct tasks *tasks);

/* record.c: text goes to buf of RECORD_MAX or more; returns its length. Keys are NUL-terminated texts. */
size_t out_key(const uint8_t id[KLP_ID_LEN], char ret_key[KEY_MAX]);
size_t part_key(const uint8_t id[KLP_ID_LEN], uint32_t seq, char ret_key[KEY_MAX]);
size_t in_key(const char *prefix, const uint8_t key[2 * KLP_ID_LEN], char ret_key[KEY_MAX]);
size_t out_record(const struct out_task *task, uint8_t *buf, size_t cap);
struct out_task *out_read(const uint8_t id[KLP_ID_LEN], struct kos_bytes record);
void out_free(struct out_task *task);
size_t in_record(const struct in_task *task, int32_t error, uint8_t *buf, size_t cap);
struct in_task *in_read(const uint8_t key[2 * KLP_ID_LEN], struct kos_bytes record);
const char *out_state_name(int32_t state);
const char *in_state_name(int32_t state);
/* Longest prefix of `data` that is UTF-8 without NUL; *ret_cut: the rest is only the beginning of a character. */
size_t text_prefix(const uint8_t *data, size_t len, bool *ret_cut);
/* Members "base64" or "text" belong at different places of the order: two halves around `between`. */
void put_bytes_early(struct klp_json_out *out, struct kos_bytes data, bool text);
void put_bytes_late(struct klp_json_out *out, struct kos_bytes data, bool text);
/* The bytes of such members of an object; malloc'ed. KOS_E_SYNTAX. */
int32_t get_bytes(struct klp_json object, uint8_t **ret_data, size_t *ret_len);
char *json_text(struct klp_json value);                /* malloc'ed copy of the value's text; NULL when absent */

/* ask.c */
void ask_handle(struct tasks *tasks, uint64_t message, const struct kos_message *m);
void ask_outcome(struct tasks *tasks, uint64_t message, const struct kos_outcome *o, struct out_task *task);
void ask_load(struct tasks *tasks, const uint8_t id[KLP_ID_LEN], struct kos_bytes record);
/* Sends a task; `call` hears of it. */
void ask_send(struct tasks *tasks, uint64_t call, struct klp_json parameters, bool more);
void ask_follow(struct tasks *tasks, struct out_task *task, uint64_t call, uint64_t from);
void ask_cancel(struct tasks *tasks, uint64_t call, const uint8_t id[KLP_ID_LEN], struct kos_bytes record);
void ask_unfollow(struct tasks *tasks, uint64_t call);
/* Frees a task that is over and that nobody follows. */
void ask_release(struct tasks *tasks, struct out_task *task);

/* perform.c */
void perform_request(struct tasks *tasks, uint64_t message, const struct kos_message *m);
void perform_cancel(struct tasks *tasks, uint64_t message, const struct kos_message *m);
void perform_load(struct tasks *tasks, const uint8_t key[2 * KLP_ID_LEN], struct kos_bytes record);
void perform_loaded(struct tasks *tasks);
void perform_outcome(struct tasks *tasks, const uint8_t id[KLP_ID_LEN], int32_t status);
void perform_output(struct tasks *tasks, uint64_t run, int32_t kind, struct kos_bytes bytes);
void perform_ended(struct tasks *tasks, uint64_t run, int32_t status, struct kos_bytes result, const char *text, int32_t retry, const uint8_t audit[32]);
void perform_free(struct in_task *task);
void sources_free(struct tasks *tasks);

/* control.c */
extern const struct kos_control task_control;
void control_fail(struct tasks *tasks, uint64_t call, int32_t status, const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
