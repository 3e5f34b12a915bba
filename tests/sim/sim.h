/* SPDX-License-Identifier: Apache-2.0
 *
 * A simulated world: nodes of the shipped objects (mesh, trust, agents, store, libklp), each on an environment of its
 * own (core/manual.h), on one virtual clock, joined by links that misbehave. All that happens follows from a seed.
 *
 * sim.c     the clock, the run, what is drawn from the seed   net.c    links
 * node.c    a node's life                                     handle.c its handler
 * hosted.c  the shipped host and plugin in its place           files.c  disks, shown in the trace
 * operate.c its operator and senders                          acts.c   what is done to the world, step by step
 * check.c   what must hold, asked all the time                plant.c  bugs to be found, by the linker's --wrap
 * main.c    the command line; forks a process for each run    shrink.c fewer steps, nodes and faults
 */
#ifndef KOS_TESTS_SIM_H
#define KOS_TESTS_SIM_H

#include <sodium.h>
#include <stdio.h>

#include "agents/agents.h"
#include "core/manual.h"
#include "host/host.h"
#include "mesh/mesh_private.h"

enum {
    SIM_MS = 1000000,
    SIM_WHAT = 400,
    SIM_SCORES = 16,
    SIM_OUTBOX = 300000,
    SIM_OUTBOX_TARGET = 200000,
    SIM_INBOX = 8
};
#define SIM_SECOND (UINT64_C(1000) * SIM_MS)

struct sim;
struct sim_node;

/* xorshift64* (Vigna 2016): the same numbers on all machines. */
struct sim_dice {
    uint64_t state;
};
struct sim_dice sim_dice(uint64_t seed, uint64_t salt);
uint32_t sim_roll(struct sim_dice *dice, uint32_t sides);

/* ---- links ---- */
struct sim_chunk {
    struct sim_chunk *next;
    uint64_t at;
    size_t len, from;
    bool gone; /* a datagram whose sender has the credit back */
    uint8_t data[];
};
struct sim_end {
    UT_hash_handle hh;
    uint64_t link; /* the key in its node's table */
    struct sim_node *node;
    struct sim_end *other, *next; /* next: of all */
    struct sim_chunk *first, *last;
    uint64_t credit, last_at, out_bytes, free_at;
    struct sim_dice dice;
    bool datagrams, dialling, closed, dead;
    bool mute; /* what is sent on it goes nowhere, and nobody is told */
    char address[40];
};

/* What the links of a run do; chances in 1/1000. */
struct sim_air {
    uint32_t mtu, loss, twice, altered, late, split;
    uint64_t delay_ns, jitter_ns, late_ns, window;
    uint64_t bits_per_second, airtime_ms; /* of datagrams where they are slow: one at a time, so much of an hour; 0: not */
};

/* ---- events ---- */
enum sim_kind { SIM_TURN = 1, SIM_LINK, SIM_LEFT, SIM_LOST, SIM_ACT, SIM_SETTLE, SIM_UP, SIM_HEAL, SIM_EXIT };
struct sim_event {
    uint64_t at, order;
    int32_t kind;
    void *what;
    uint64_t number;
};
void sim_at(struct sim *sim, uint64_t at, int32_t kind, void *what, uint64_t number);

/* ---- messages ---- */
struct sim_message {
    UT_hash_handle hh;
    struct klp_id id;
    struct sim *sim;
    uint32_t number;
    struct sim_node *from, *to;
    struct klp_id agent; /* by which it is signed; zero: the node */
    struct klp_id task_agent;
    bool durable;   /* its sender has it on disk */
    bool forbidden; /* of a type that the target's policy blocks */
    bool forged;    /* its signature does not hold */
    bool task;      /* it asks an agent to run */
    bool told;      /* its outcome was heard */
    int32_t outcome;
    uint32_t accepted, effects, runs; /* effects: known to be on disk */
    uint64_t payload;                 /* number in it */
    bool excused;                     /* a disk that lied had it */
    bool transient;                   /* at most once, whatever happens; nobody is told */
    uint32_t handed, deferred;
    bool hosted, answer;              /* a task asked through the plugin; what the plugin answers */
};

/* ---- nodes ---- */
struct sim_task;
struct sim_node {
    struct kos_carrier carrier; /* first: the operations get these */
    struct sim *sim;
    struct kos_sink sink;
    struct kos_launcher launcher;
    struct kos_agents_owner owner;
    uint32_t index;
    struct kos_manual *manual;
    struct kos_env *env;
    struct kos_store *store;
    struct kos_keys *keys;
    struct kos_policy *policy;
    struct kos_trust *trust;
    struct kos_registry *agents;
    struct kos_mesh *mesh;
    struct kos_hosting *hosting; /* in hosted worlds */
    struct klp_id id, worker, speaker; /* two agents: one runs tasks, one signs */
    char name[24], address[2][40];
    uint64_t endpoint[2];
    struct sim_end *ends;
    struct sim_task *tasks;
    bool up, stopping, stopped, broken, lied, lying, rogue, thief, has_agents;
    uint32_t life;    /* grows with each start */
    uint64_t turn_at; /* of the turn that is scheduled; UINT64_MAX: none */
    uint64_t crash_ops;
    bool crash_torn;
    uint64_t back_ns;
    uint32_t defers, slow_ns;
    uint8_t score[SIM_SCORES], score_was[SIM_SCORES]; /* of others, here, small worlds only; _was: when not on disk */
    bool score_open[SIM_SCORES];
    uint8_t *stolen_key, *stolen_log;
    size_t stolen_len, stolen_log_len;
    struct kos_process *processes;
    uint64_t process_number;
    int64_t known_ms; /* the latest time that it was told is on disk */
    uint8_t need;     /* the score that its policy asks of senders */
    uint32_t start_fault; /* the file operation of its next start that fails; 0: none */
    bool retired; /* the speaker's key is revoked, and everybody knows */
};

struct sim_options {
    uint64_t seed;
    uint32_t nodes, steps; /* 0: as the seed wills */
    uint32_t messages;     /* of a calm run */
    const char *plant;     /* NULL: none */
    const uint8_t *off;    /* steps not taken; NULL: none are */
    FILE *trace;
    bool calm; /* no faults: for measuring */
    bool hosted_too; /* one world in three is a hosted one */
    bool files; /* the trace shows what happens on disks */
};

struct sim_result {
    int32_t failed;
    char kind[32], what[SIM_WHAT];
    uint64_t at_ns, events, turns, messages, effects, bytes, crashes, tasks;
    uint32_t nodes, steps;
    uint8_t digest[32];
};

struct sim {
    const struct sim_options *options;
    struct sim_result *result;
    uint64_t now, order;
    struct sim_event *heap;
    size_t heap_count, heap_cap;
    struct sim_node *nodes;
    uint32_t count, steps, steps_left;
    struct sim_end *ends;
    struct sim_air air;
    struct sim_message *messages;
    uint32_t message_count, settled;
    uint8_t *apart; /* count * count: 1 when nothing passes */
    struct sim_node *current;
    uint64_t end_serial;
    bool calming, datagrams_too, lies, rogue, hosted;
    crypto_generichash_state digest;
};

/* For plant.c and what the linker puts before the runtime's own functions: a process runs one world at a time. */
extern struct sim *sim_world;
enum sim_plant {
    SIM_NO_PLANT,
    SIM_SKIP_SYNC,
    SIM_SKIP_DEDUPE,
    SIM_EARLY_ACK,
    SIM_STALE_KEY,
    SIM_LATE,
    SIM_WRONG_NODE,
    SIM_LOSE_OUTBOX,
    SIM_REPLAY,
    SIM_SKIP_POLICY,
    SIM_UNBOUNDED,
    SIM_SKIP_SIGNATURE,
    SIM_RUN_AGAIN,
    SIM_LEAK_QUEUE,
    SIM_FORGET_START,
    SIM_STALE_POLICY,
    SIM_SKIP_TIME,
    SIM_PLANTS
};
extern enum sim_plant sim_planted;
extern const char *const sim_plant_names[SIM_PLANTS];

void sim_run(const struct sim_options *options, struct sim_result *ret_result);
/* Notes what happens, for the digest and the trace; the first failure ends the run. */
void sim_note(struct sim *sim, const struct sim_node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void sim_digest(struct sim *sim, const void *data, size_t len);
void sim_fail(struct sim *sim, const char *kind, const char *format, ...) __attribute__((format(printf, 3, 4)));

void sim_enter(struct sim_node *node); /* its clock is ours; to be called before anything of it is */
void sim_wake(struct sim_node *node);

extern const struct kos_carrier_ops sim_carrier_ops;
extern const struct kos_sink_ops sim_sink_ops;
extern const struct kos_launcher_ops sim_launcher_ops;
extern const struct kos_agents_owner_ops sim_owner_ops;
void sim_tasks_free(struct sim_node *node);
void sim_processes_free(struct sim_node *node);
void sim_link_event(struct sim *sim, struct sim_end *end);
void sim_link_left(struct sim *sim, struct sim_end *end, uint64_t bytes);
void sim_link_lost(struct sim *sim, struct sim_end *end);
void sim_cut(struct sim_node *node, struct sim_node *other, bool silently); /* other NULL: all */
void sim_drop_ends(struct sim_node *node, struct sim_dice *dice);
void sim_ends_free(struct sim *sim);

void sim_node_make(struct sim *sim, uint32_t index);
void sim_node_made(struct sim_node *node);
void sim_node_give_back(struct sim_node *node);  /* the key that was stolen from it, to itself */
bool sim_log_revoked(const struct klp_log *log); /* as it is, whatever is planted */
void sim_plant_env(struct kos_env *env);
void sim_show_files(struct kos_env *env);
void sim_node_meet(struct sim_node *node, struct sim_node *other, bool dials);
bool sim_node_start(struct sim_node *node);
void sim_node_close(struct sim_node *node);
void sim_node_crash(struct sim_node *node, bool torn, uint64_t back_ns);
void sim_node_stop(struct sim_node *node, uint64_t back_ns);
void sim_node_turn(struct sim_node *node);
void sim_node_free(struct sim_node *node);
bool sim_node_policy(struct sim_node *node, uint8_t need); /* on disk and in force, or neither */
void sim_node_agents(struct sim_node *node); /* which it has, to its mesh */
void sim_node_settle(struct sim_node *node, uint64_t handle);
void sim_node_score(struct sim_node *node, uint32_t other, uint8_t score);
void sim_node_task_exit(struct sim_node *node, uint64_t number);
void sim_send(struct sim_node *from, struct sim_node *to, struct sim_dice *dice);

bool sim_hosted_prepare(void);
int32_t sim_hosted_start(struct sim_node *node, struct kos_error *ret_error);
bool sim_hosted_takes(const struct sim_node *node, const char *type);
struct kos_sink *sim_hosted_sink(struct sim_node *node);
void sim_hosted_send(struct sim_node *from, struct sim_node *to, struct sim_dice *dice);
void sim_hosted_drafted(struct sim_node *from, const struct kos_draft *draft);
void sim_hosted_print(const struct kos_launch *launch);
bool sim_hosted_over(struct sim_message *message);
void sim_hosted_check(struct sim_message *message);

void sim_act(struct sim *sim, uint32_t step);
void sim_calm(struct sim *sim);

void sim_check_started(struct sim_node *node);
void sim_check_turn(struct sim_node *node);
void sim_check_accept(struct sim_node *node, const struct klp_message *message);
bool sim_drained(struct sim *sim);
void sim_check_end(struct sim *sim);
struct sim_message *sim_message_find(struct sim *sim, const uint8_t *id);

#endif
