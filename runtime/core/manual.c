/* SPDX-License-Identifier: Apache-2.0
 * The environment of tests and simulation: nothing in it depends on the machine, so a seed replays a run. */
#include "core/manual.h"

#include <sodium.h>
#include <stdlib.h>

#include "core/buf.h"
#include "core/files.h"
#include "core/manual_files.h"
#include "core/turn.h"

enum { LOGGED_MAX = 4 << 20, SETTLE_TURNS_MAX = 10000000 };

struct piece {
    struct kos_work *work;
    uint64_t due_ns;
};

struct kos_manual {
    struct kos_env env; /* first: the operations get this */
    struct kos_env_ops ops;
    struct kos_turn turn;
    struct kos_timer **heap; /* least (due_ns, order) first */
    size_t timers, heap_cap;
    uint64_t order; /* of timers set, so that those due together fire as they were set */
    struct piece *work; /* given and not done, in order */
    size_t work_count, work_cap;
    uint64_t slow_ns, slow_state;
    uint64_t mono_ns;
    int64_t wall_ms; /* at mono_ns 0 */
    uint8_t key[crypto_stream_chacha20_KEYBYTES];
    uint64_t blocks; /* of the random stream used */
    uint8_t stream[512];
    size_t stream_left;
    struct kos_buf logged;
    struct kos_memory *memory;
};

struct kos_timer {
    struct kos_manual *manual;
    uint64_t due_ns, order;
    size_t at; /* place in the heap + 1; 0 when not set */
    void (*fire)(void *arg);
    void *arg;
};

static struct kos_manual *manual_of(struct kos_env *env)
{
    return (struct kos_manual *)env;
}

struct kos_memory *kos_memory_of(struct kos_env *env)
{
    return manual_of(env)->memory;
}

static int64_t now_ms(struct kos_env *env)
{
    return manual_of(env)->wall_ms + (int64_t)(manual_of(env)->mono_ns / 1000000);
}

static uint64_t mono_ns(struct kos_env *env)
{
    return manual_of(env)->mono_ns;
}

static void random_fill(struct kos_env *env, void *out, size_t len)
{
    struct kos_manual *manual = manual_of(env);
    uint8_t *at = out;
    while (len) {
        if (!manual->stream_left) {
            uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
            for (size_t i = 0; i < sizeof nonce; i++)
                nonce[i] = (uint8_t)(manual->blocks >> (8 * i));
            crypto_stream_chacha20(manual->stream, sizeof manual->stream, nonce, manual->key);
            manual->blocks++;
            manual->stream_left = sizeof manual->stream;
        }
        size_t part = len < manual->stream_left ? len : manual->stream_left;
        memcpy(at, manual->stream + sizeof manual->stream - manual->stream_left, part);
        manual->stream_left -= part;
        at += part;
        len -= part;
    }
}

static void log_line(struct kos_env *env, int32_t level, const char *room, const char *text)
{
    struct kos_buf *logged = &manual_of(env)->logged;
    if (logged->len > LOGGED_MAX / 2)
        kos_buf_consume(logged, logged->len / 2);
    /* What does not fit is left out: the half freed above takes any line kos_log() makes. */
    (void)kos_buf_printf(logged, "<%d>%s: %s\n", (int)level, room, text);
}

static bool before(const struct kos_timer *a, const struct kos_timer *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void place(struct kos_manual *manual, struct kos_timer *timer, size_t at)
{
    manual->heap[at] = timer;
    timer->at = at + 1;
}

static void sift(struct kos_manual *manual, struct kos_timer *timer, size_t at)
{
    while (at && before(timer, manual->heap[(at - 1) / 2])) {
        place(manual, manual->heap[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    for (size_t child; (child = 2 * at + 1) < manual->timers; at = child) {
        if (child + 1 < manual->timers && before(manual->heap[child + 1], manual->heap[child]))
            child++;
        if (!before(manual->heap[child], timer))
            break;
        place(manual, manual->heap[child], at);
    }
    place(manual, timer, at);
}

static struct kos_timer *timer_new(struct kos_env *env, void (*fire)(void *arg), void *arg)
{
    struct kos_timer *timer = kos_new(sizeof *timer);
    *timer = (struct kos_timer){ .manual = manual_of(env), .fire = fire, .arg = arg };
    return timer;
}

static void timer_stop(struct kos_timer *timer)
{
    struct kos_manual *manual = timer->manual;
    if (!timer->at)
        return;
    size_t at = timer->at - 1;
    struct kos_timer *last = manual->heap[--manual->timers];
    timer->at = 0;
    if (last != timer)
        sift(manual, last, at);
}

static void timer_set(struct kos_timer *timer, uint64_t delay_ms)
{
    struct kos_manual *manual = timer->manual;
    timer_stop(timer);
    if (manual->timers == manual->heap_cap) {
        manual->heap_cap = manual->heap_cap ? manual->heap_cap * 2 : 64;
        manual->heap = realloc(manual->heap, manual->heap_cap * sizeof *manual->heap);
        if (!manual->heap)
            abort();
    }
    uint64_t room = (UINT64_MAX - manual->mono_ns) / 1000000;
    timer->due_ns = manual->mono_ns + (delay_ms < room ? delay_ms : room) * 1000000;
    timer->order = manual->order++;
    sift(manual, timer, manual->timers++);
}

static void timer_free(struct kos_timer *timer)
{
    if (!timer)
        return;
    timer_stop(timer);
    free(timer);
}

static struct kos_watch *watch_new(struct kos_env *env, int fd, void (*ready)(void *arg, int32_t events), void *arg)
{
    (void)env, (void)fd, (void)ready, (void)arg;
    return NULL;
}

static int32_t watch_set(struct kos_watch *watch, int32_t events)
{
    (void)watch, (void)events;
    return KOS_E_UNSUPPORTED;
}

static void watch_free(struct kos_watch *watch)
{
    (void)watch;
}

static void defer(struct kos_env *env, struct kos_deferred *deferred)
{
    kos_turn_defer(&manual_of(env)->turn, deferred);
}

static void undefer(struct kos_env *env, struct kos_deferred *deferred)
{
    kos_turn_undefer(&manual_of(env)->turn, deferred);
}

static void turn_end_add(struct kos_env *env, struct kos_turn_end *hook)
{
    kos_turn_end_add(&manual_of(env)->turn, hook);
}

static void turn_end_remove(struct kos_env *env, struct kos_turn_end *hook)
{
    kos_turn_end_remove(&manual_of(env)->turn, hook);
}

/* xorshift64* (Vigna 2016), apart from the node's own randomness: how long workers take changes no key. */
static uint64_t slowness(struct kos_manual *manual)
{
    if (!manual->slow_ns)
        return 0;
    manual->slow_state ^= manual->slow_state >> 12;
    manual->slow_state ^= manual->slow_state << 25;
    manual->slow_state ^= manual->slow_state >> 27;
    return ((manual->slow_state * UINT64_C(2685821657736338717)) >> 16) % manual->slow_ns;
}

static void work(struct kos_env *env, struct kos_work *work)
{
    struct kos_manual *manual = manual_of(env);
    if (manual->work_count == manual->work_cap) {
        manual->work_cap = manual->work_cap ? manual->work_cap * 2 : 16;
        manual->work = realloc(manual->work, manual->work_cap * sizeof *manual->work);
        if (!manual->work)
            abort();
    }
    manual->work[manual->work_count++] = (struct piece){ work, manual->mono_ns + slowness(manual) };
}

static struct kos_work *take_piece(struct kos_manual *manual, size_t at)
{
    struct kos_work *work = manual->work[at].work;
    memmove(manual->work + at, manual->work + at + 1, (--manual->work_count - at) * sizeof *manual->work);
    return work;
}

static void work_finish(struct kos_env *env, struct kos_work *work)
{
    struct kos_manual *manual = manual_of(env);
    size_t at = 0;
    while (at < manual->work_count && manual->work[at].work != work)
        at++;
    if (at == manual->work_count)
        abort(); /* it was never given, or is done */
    take_piece(manual, at);
    work->run(work);
    work->done(work);
}

/* The first piece among the `count` oldest that a worker is done with; `count` when there is none. */
static size_t ripe_piece(const struct kos_manual *manual, size_t count)
{
    size_t at = 0;
    while (at < count && manual->work[at].due_ns > manual->mono_ns)
        at++;
    return at;
}

/* Runs what was asked for before; pieces asked for by `done` wait for the next turn. */
static bool run_work(struct kos_manual *manual)
{
    bool any = false;
    size_t count = manual->work_count, at;
    while ((at = ripe_piece(manual, count < manual->work_count ? count : manual->work_count)) < count &&
           at < manual->work_count) {
        struct kos_work *work = take_piece(manual, at);
        count--;
        any = true;
        work->run(work);
        work->done(work);
    }
    return any;
}

static bool run_timers(struct kos_manual *manual)
{
    bool any = false;
    uint64_t until = manual->order; /* those set by callbacks wait for the next turn */
    while (manual->timers && manual->heap[0]->due_ns <= manual->mono_ns && manual->heap[0]->order < until) {
        struct kos_timer *timer = manual->heap[0];
        timer_stop(timer);
        any = true;
        timer->fire(timer->arg); /* may free the timer */
    }
    return any;
}

struct kos_manual *kos_manual_new(uint64_t seed)
{
    if (sodium_init() < 0)
        abort();
    struct kos_manual *manual = kos_new(sizeof *manual);
    manual->ops = (struct kos_env_ops){
        .now_ms = now_ms, .mono_ns = mono_ns, .random = random_fill, .log = log_line,
        .timer_new = timer_new, .timer_set = timer_set, .timer_stop = timer_stop, .timer_free = timer_free,
        .watch_new = watch_new, .watch_set = watch_set, .watch_free = watch_free,
        .defer = defer, .undefer = undefer, .turn_end_add = turn_end_add, .turn_end_remove = turn_end_remove,
        .work = work, .work_finish = work_finish,
    };
    kos_memory_ops(&manual->ops);
    manual->env = (struct kos_env){ &manual->ops, KOS_LOG_DEBUG };
    manual->memory = kos_memory_new();
    manual->mono_ns = 1000000000;
    kos_manual_set_wall(manual, 1767225600000); /* 2026-01-01T00:00:00Z */
    manual->slow_state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    for (size_t i = 0; i < sizeof seed; i++)
        manual->key[i] = (uint8_t)(seed >> (8 * i));
    kos_buf_init(&manual->logged, LOGGED_MAX);
    return manual;
}

void kos_manual_free(struct kos_manual *manual)
{
    if (!manual)
        return;
    while (manual->work_count) { /* each piece comes back exactly once */
        struct kos_work *work = take_piece(manual, 0);
        work->run(work);
        work->done(work);
    }
    free(manual->work);
    for (size_t i = 0; i < manual->timers; i++)
        manual->heap[i]->at = 0; /* its owner frees it later, or never */
    free(manual->heap);
    kos_memory_free(manual->memory);
    kos_buf_fini(&manual->logged);
    free(manual);
}

struct kos_env *kos_manual_env(struct kos_manual *manual)
{
    return &manual->env;
}

bool kos_manual_turn(struct kos_manual *manual)
{
    uint32_t budget = KOS_TURN_DEFERRED_MAX;
    bool any = run_timers(manual);
    any |= kos_turn_run_deferred(&manual->turn, &budget) > 0;
    any |= run_work(manual);
    any |= kos_turn_run_deferred(&manual->turn, &budget) > 0;
    kos_turn_run_ends(&manual->turn);
    return any || manual->turn.first || ripe_piece(manual, manual->work_count) < manual->work_count;
}

static uint64_t work_due_ns(const struct kos_manual *manual)
{
    uint64_t due = UINT64_MAX;
    for (size_t i = 0; i < manual->work_count; i++)
        if (manual->work[i].due_ns < due)
            due = manual->work[i].due_ns;
    return due;
}

uint64_t kos_manual_due_ns(struct kos_manual *manual)
{
    uint64_t due = manual->turn.first ? manual->mono_ns : work_due_ns(manual);
    if (manual->timers && manual->heap[0]->due_ns < due)
        due = manual->heap[0]->due_ns;
    return due < manual->mono_ns ? manual->mono_ns : due;
}

void kos_manual_clock(struct kos_manual *manual, uint64_t mono_ns)
{
    if (mono_ns > manual->mono_ns)
        manual->mono_ns = mono_ns;
}

void kos_manual_slow_work(struct kos_manual *manual, uint64_t max_ns)
{
    manual->slow_ns = max_ns;
}

void kos_manual_settle(struct kos_manual *manual)
{
    for (uint32_t turns = 0; kos_manual_turn(manual); turns++)
        if (turns > SETTLE_TURNS_MAX)
            abort(); /* something asks for itself again and again: a test must not hang */
}

void kos_manual_advance(struct kos_manual *manual, uint64_t ms)
{
    uint64_t until = manual->mono_ns + ms * 1000000;
    kos_manual_settle(manual);
    for (uint64_t due; (due = kos_manual_due_ns(manual)) <= until;) {
        kos_manual_clock(manual, due);
        kos_manual_settle(manual);
    }
    manual->mono_ns = until;
}

void kos_manual_set_wall(struct kos_manual *manual, int64_t wall_ms)
{
    manual->wall_ms = wall_ms - (int64_t)(manual->mono_ns / 1000000);
}

void kos_manual_power_loss(struct kos_manual *manual)
{
    kos_memory_power_loss(manual->memory, NULL);
}

void kos_manual_power_loss_torn(struct kos_manual *manual)
{
    struct klp_random random = kos_env_random(&manual->env);
    kos_memory_power_loss(manual->memory, &random);
}

void kos_manual_fail_files(struct kos_manual *manual, uint64_t nth, int32_t error)
{
    kos_memory_fail(manual->memory, nth, error, false);
}

void kos_manual_fail_file_once(struct kos_manual *manual, uint64_t nth, int32_t error)
{
    kos_memory_fail(manual->memory, nth, error, true);
}

void kos_manual_lie(struct kos_manual *manual, bool lies)
{
    kos_memory_lie(manual->memory, lies);
}

uint64_t kos_manual_file_ops(struct kos_manual *manual)
{
    return kos_memory_ops_count(manual->memory);
}

void kos_manual_kernel_files(struct kos_manual *manual)
{
    kos_files_ops(&manual->ops);
}

const char *kos_manual_logged(struct kos_manual *manual)
{
    if (kos_buf_reserve(&manual->logged, 1) < 0)
        abort();
    manual->logged.data[manual->logged.len] = 0;
    return (const char *)manual->logged.data;
}
