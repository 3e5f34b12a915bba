/* SPDX-License-Identifier: Apache-2.0
 *
 * kos-conform: a host that judges. Each test runs in a process of its own: it hosts one or more instances of the plugin
 * (struct host, an implementation of kos_services), asks things of them through kos_backend, watches whatever comes
 * back, and ends with the first sentence of a header that was broken.
 */
#ifndef KOS_CONFORM_H
#define KOS_CONFORM_H

#include <jansson.h>
#include <uthash.h>
#include "conf/conf.h"
#include "core/buf.h"
#include "core/loop.h"
#include "driver/driver.h"
#include "rules.h"

enum hosting { HOSTING_PROCESS = 1, HOSTING_CELL = 2 };

/* ---- what is asked for, and what is known of the module ---- */

struct options {
    const char *path;                   /* absolute */
    int hostings;                       /* bits of enum hosting */
    const char *suite, *test;           /* NULL: all */
    const char *listen;                 /* address for transports to listen on; NULL: a few are tried */
    const char *files;                  /* directory whose files each test finds in its own; NULL: none */
    char *settings;                     /* text of the group; {dir} is the test's directory */
    struct kos_conf_doc *document;      /* the policy that it is of */
    const struct kos_conf_node *group;  /* of a policy, instead; NULL: none */
    uint64_t timeout_ms, seed;
    uint32_t repeat;
    bool list, json, no_fork, colour, verbose;
};
struct module {
    json_t *description;
    const struct kos_setting *const *schema;
};
bool module_offers(const struct module *module, const char *feature);
bool module_asks(const struct module *module, const char *right);
/* The plugin's settings for a test with this directory. */
int32_t module_settings(const struct options *options, const struct module *module, const char *directory,
                        struct kos_conf **ret_conf, struct kos_error *ret_error);

/* ---- one test ---- */

struct conform;
struct test {
    const char *suite, *name, *what;
    const char *feature;                /* NULL: every plugin */
    void (*run)(struct conform *c);
    int hostings;                       /* 0: all */
};
extern const struct test *const conform_suites[];   /* each ends with an empty one; NULL-terminated */

enum outcome { OUTCOME_RUNNING, OUTCOME_PASSED, OUTCOME_SKIPPED, OUTCOME_BROKE };
/* Written by the test's process, read by its parent: shared memory, so that it outlives a crash. */
struct verdict {
    int32_t outcome;
    int32_t rule;
    int32_t suspect;                    /* the sentence that a crash would be of; RULE_NONE: abi.process */
    char seen[1000];
    char directory[64];                 /* the test's own; removed by the parent where the test could not */
    char last[64];                      /* call into the plugin that was the last to begin */
};

struct conform {
    const struct options *options;
    const struct module *module;
    const struct test *test;
    enum hosting hosting;
    struct verdict *verdict;
    struct kos_loop *loop;
    struct kos_env *env;
    struct kos_turn_end turn_end;
    struct kos_timer *timer;
    struct host *hosts;
    uint64_t events, seen;              /* whatever came up; how far wait_step has got */
    bool late;
    uint64_t random;                    /* state of the test's own randomness */
    char directory[64];
    int threads;                        /* of this process before any plugin was loaded */
    bool loud;                          /* logs of plugins are shown */
};

/* All about one test's process. Returns when it passed. */
void conform_run(const struct options *options, const struct module *module, const struct test *test,
                 enum hosting hosting, uint64_t seed, struct verdict *verdict);
void remove_tree(const char *path);
/* Entries of a directory. */
int count_entries(const char *path);
uint64_t draw(struct conform *c, uint64_t below);
/* Ends the test. */
_Noreturn void broke(struct conform *c, enum rule rule, const char *format, ...) __attribute__((format(printf, 3, 4)));
_Noreturn void skip(struct conform *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What a debugger stops at. */
void conform_broken(void);

/* Waiting: WAIT(c, ms, condition) runs the loop until the condition holds or the time is over; look at the condition
 * again behind it. A host that is being stopped is waited for no longer. */
void wait_begin(struct conform *c, uint64_t ms);
bool wait_step(struct conform *c);
#define WAIT(c_, ms_, condition_)                                     \
    for (wait_begin((c_), (ms_)); !(condition_) && wait_step(c_);)    \
        continue
/* Until nothing has come up for a while. */
void settle(struct conform *c);
enum { QUIET_MS = 3 };
/* How long the plugin has for each thing it must do, 6 s as a rule; tests of kos-conform itself wait less. */
uint64_t soon(const struct conform *c);


/* ---- one instance of the plugin ---- */

struct op {                             /* submitted to the plugin */
    uint64_t id;
    const char *what;
    bool done;
    int32_t status;
    uint8_t *result;
    size_t len;
    uint32_t found;                     /* discovery: answers so far */
    UT_hash_handle hh;
};
enum side { ASKED = 1, UP, DOWN };
struct endpoint {
    uint64_t id;
    enum side side;
    int32_t status;
    char address[256];
    UT_hash_handle hh;
};
struct link {
    uint64_t id, endpoint;
    enum side side;
    int32_t status;
    uint32_t flags, mtu;
    uint64_t window;                    /* what we may still send */
    uint64_t sent, returned;            /* bytes we handed over; credit that came back */
    uint64_t granted, received;         /* credit we gave; bytes that came */
    uint64_t tag;                       /* what the other end sends is filled with; 0: not looked at */
    uint64_t datagrams, datagrams_sent;
    uint32_t last_number;
    bool closing;                       /* link_close was asked */
    UT_hash_handle hh;
};
struct message {                        /* handed to a handler; an outcome likewise */
    uint64_t handle;
    uint8_t id[KOS_ID_BYTES];
    bool outcome, answered;
    int32_t verdict;
    uint64_t retry_ms;
    UT_hash_handle hh;
};
struct sent {                           /* drafts of committed transactions */
    uint8_t id[KOS_ID_BYTES];
    char type[64];
    bool noted;
    struct sent *next;
};
struct asked {                          /* what the plugin asked of the host and was not answered yet */
    uint64_t op;
    const char *what;
    UT_hash_handle hh;
};
struct pair {                           /* state and secrets */
    struct pair *next;
    struct kos_bytes key, value;        /* owned */
};
struct call {
    uint64_t id;
    uint32_t flags;
    uint32_t answers;
    bool done;
    int32_t status;
    UT_hash_handle hh;
};
struct run {
    uint64_t id;
    bool cancelled, ended;
    UT_hash_handle hh;
};
struct request {                        /* http: given to a user of the server, or by the service */
    uint64_t id;
    bool answered;
    int32_t status;                     /* of HTTP */
    char prefix[128], path[256];
    UT_hash_handle hh;
};
struct answer;
struct opening;
struct tx;

struct host {
    struct kos_services services;       /* first */
    struct kos_services_ops ops_up;
    struct conform *c;
    struct host *next;
    struct kos_backend *backend;
    struct kos_driver_strict strict;
    struct { pid_t pid; int errors; bool begun, over; int32_t status; char text[508]; } cell;  /* cell.c */
    struct kos_conf *conf;
    char name[40];
    enum { HOST_NEW, HOST_RUNNING, HOST_STOPPING, HOST_QUIET, HOST_FINISHED } life;
    uint64_t events, stop_at;           /* teardown after so many events; 0: never */
    uint64_t next_even;
    struct {                            /* what this host refuses, with which code; 0: nothing */
        int32_t open, state, tx, secret, sign, inject, run, http;
        bool features;
    } refuse;
    bool hold;                          /* answers wait until `release` */
    struct kos_deferred flush;
    struct answer *answers;
    struct asked *asked;
    struct opening *openings;
    struct op *ops;
    struct endpoint *endpoints;
    struct link *links;
    struct message *messages;
    struct tx *txs;
    struct sent *sent;
    struct pair *state, *secrets, *taken;   /* taken: what was injected */
    char prefix[128];                   /* that it serves */
    int port;                           /* that it listens on since the last open; 0 none */
    struct call *calls;
    struct run *runs;
    struct request *requests;           /* to kos.http.user */
    struct request *served;             /* from kos.http.service */
    struct stream *streams;             /* suite_stream.c */
    uint64_t found, lost, injected, events_told, committed, logged, fetched;
    char injected_origin[128], injected_key[256];
    int32_t response_status, response_http;
    char response_body[256];
};

/* host.c. A host is made, perhaps told what to refuse, begun (init and start), used, stopped and freed. */
struct host *host_new(struct conform *c);
int32_t host_init(struct host *h, struct kos_error *ret_error);
void host_begin(struct host *h);                    /* init that must succeed, and start */
void host_stop(struct host *h);                     /* and waits, and judges what was left */
void host_free(struct host *h);                     /* of one that is finished, or was never begun */
void host_end(struct host *h);                      /* stop and free */
static inline bool living(const struct host *h) { return h->life == HOST_RUNNING; }
uint64_t host_id(struct host *h);                   /* even, never used before */
uint64_t op_new(struct host *h, const char *what);
/* Waits for it; broken when it never completes. NULL: the host was stopped meanwhile. */
const struct op *op_wait(struct host *h, uint64_t op);
void release(struct host *h);
void host_event(struct host *h);                    /* something came up */

/* cell.c: init in a kos-cell; h->backend is NULL when there is none. */
int32_t cell_new(struct host *h, const struct kos_driver_spec *spec, struct kos_error *ret_error);
void cell_free(struct host *h);

/* judge.c, judge_link.c, answer.c, answer_tx.c, open.c: the way up. */
void judge_services(struct kos_services_ops *ops);
void host_answer(struct host *h, uint64_t op, int32_t status, struct kos_bytes result);
void host_answer_opened(struct host *h, uint64_t op, int32_t status, int fd, const char *text);
void host_asked(struct host *h, uint64_t op, const char *what);
void answers_flush(struct kos_deferred *deferred);
void judge_quiet(struct host *h);                   /* what must be over by now */
void judge_free(struct host *h);
void judge_draft(struct host *h, const struct kos_draft *draft, bool foreign);
struct pair **pair_at(struct pair **list, struct kos_bytes key);   /* the first that is not before it */
void pair_put(struct pair **list, struct kos_bytes key, struct kos_bytes value);
void pair_remove(struct pair **list, struct kos_bytes key);
/* That the plugin looks at no memory that is gone. */
void judge_kept(struct host *h, const char *where, struct kos_bytes bytes);
void judge_text(struct host *h, const char *where, const char *text);
void link_services(struct kos_services_ops *ops);
void answer_services(struct kos_services_ops *ops);
void tx_services(struct kos_services_ops *ops);
void tx_free(struct host *h);
void open_services(struct kos_services_ops *ops);
void open_drop(struct host *h);
/* State of before, for an instance that comes after a crash. */
void state_move(struct host *from, struct host *to);

/* ---- what the kinds do in a few steps, for tests of life, memory and teardown ---- */

void exercise(struct host *h);
void exercise_transport(struct host *h);
void exercise_handler(struct host *h);
void exercise_discovery(struct host *h);
void exercise_bridge(struct host *h);
void exercise_vector(struct host *h);
void exercise_control(struct host *h);
void exercise_agents(struct host *h);
void exercise_http(struct host *h);
void exercise_service(struct host *h);
void exercise_stream(struct host *h);
void stream_services(struct kos_services_ops *ops);
void streams_free(struct host *h);

/* suite_transport.c, for the tests that need links */
uint64_t link_new(struct host *h);          /* to be dialled */
struct endpoint *endpoint_new(struct host *h);
bool listen_somewhere(struct host *h, struct endpoint **ret_endpoint);
bool dial_pair(struct host *from, struct host *to, struct endpoint *endpoint, struct link **ret_near,
               struct link **ret_far);
/* The byte that stands at `at` of what a link with this tag carries. */
static inline uint8_t filler(uint64_t tag, uint64_t at)
{
    uint64_t x = (tag << 32) + (at >> 3) + 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (uint8_t)((x ^ x >> 31) >> 8 * (at & 7));
}
/* suite_handler.c */
void message_fill(struct host *h, struct kos_message *ret_message, const uint8_t id[KOS_ID_BYTES], const char *type,
                  const char *payload, bool again);
struct message *give_message(struct host *h, const char *type, const char *payload, bool again);

#endif
