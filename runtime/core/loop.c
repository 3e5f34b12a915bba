/* SPDX-License-Identifier: Apache-2.0
 * The real environment on libevent: one base, one thread, turns of
 *   ready descriptors, timers and signals -> posted calls -> deferred -> finished work -> deferred -> turn ends. */
#include "core/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/files.h"
#include "core/pool.h"
#include "core/turn.h"

struct posted {
    void (*run)(void *arg);
    void *arg;
    struct posted *next;
};

struct caught {
    struct event *event;
    void (*caught)(void *arg, int signal);
    void *arg;
    struct caught *next;
};

enum { RANDOM_SMALL = 64, STOCK_BYTES = 4096 };

/* A page of randomness; `left` bytes of it are not handed out. */
struct stock {
    size_t left;
    uint8_t bytes[STOCK_BYTES - sizeof(size_t)];
};

struct kos_loop {
    struct kos_env env; /* first: the operations get this and are handed the loop */
    struct kos_env_ops ops;
    struct event_base *base;
    struct event *wake;
    struct kos_turn turn;
    struct kos_pool *pool;
    struct kos_work *finished; /* taken from the pool, done not yet run */
    struct caught *signals;
    pthread_mutex_t mutex; /* guards the posted calls */
    struct posted *first, *last;
    struct stock *stock; /* NULL: none */
    pthread_t thread;    /* the loop's: who else asks for randomness, as files do on workers, does without the stock */
    int wake_fd;
    int32_t sink;
    bool colours, stopping;
};

struct kos_timer {
    struct event *event;
    void (*fire)(void *arg);
    void *arg;
};

struct kos_watch {
    struct kos_loop *loop;
    struct event *event;
    int fd;
    int32_t events;
    void (*ready)(void *arg, int32_t events);
    void *arg;
};

static struct kos_loop *loop_of(struct kos_env *env)
{
    return (struct kos_loop *)env;
}

static int64_t now_ms(struct kos_env *env)
{
    (void)env;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t mono_ns(struct kos_env *env)
{
    (void)env;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void random_from_kernel(uint8_t *at, size_t len)
{
    while (len) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            abort(); /* a node without randomness must not go on */
        at += n;
        len -= (size_t)n;
    }
}

/* What is small, as ids are, comes from a page that is filled now and then, and is wiped as it is handed out; a system
 * call for each id would be a good part of what a message costs. */
static void random_fill(struct kos_env *env, void *out, size_t len)
{
    struct stock *stock = loop_of(env)->stock;
    if (!stock || len > RANDOM_SMALL || !pthread_equal(pthread_self(), loop_of(env)->thread)) {
        random_from_kernel(out, len);
        return;
    }
    if (stock->left < len) {
        random_from_kernel(stock->bytes, sizeof stock->bytes);
        stock->left = sizeof stock->bytes;
    }
    stock->left -= len;
    memcpy(out, stock->bytes + stock->left, len);
    klp_wipe(stock->bytes + stock->left, len);
}

/* A forked process finds it empty, and the swap nothing; where the kernel knows no such memory there is no stock. */
static struct stock *stock_new(void)
{
    struct stock *stock = mmap(NULL, sizeof *stock, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stock == MAP_FAILED)
        return NULL;
    if (madvise(stock, sizeof *stock, MADV_WIPEONFORK) == 0 && mlock(stock, sizeof *stock) == 0 &&
        madvise(stock, sizeof *stock, MADV_DONTDUMP) == 0)
        return stock;
    munmap(stock, sizeof *stock);
    return NULL;
}

static void stock_free(struct stock *stock)
{
    if (!stock)
        return;
    klp_wipe(stock, sizeof *stock);
    munmap(stock, sizeof *stock);
}

static void log_line(struct kos_env *env, int32_t level, const char *room, const char *text)
{
    static const char *const names[] = { "error", "warning", "notice", "info", "debug" };
    static const char *const colours[] = { "\033[31m", "\033[33m", "\033[1m", "", "\033[2m" };
    struct kos_loop *loop = loop_of(env);
    int32_t at = level < KOS_LOG_ERROR ? 0 : level > KOS_LOG_DEBUG ? 4 : level - KOS_LOG_ERROR;
    char *line;
    if (loop->sink == KOS_LOG_JOURNAL) {
        line = kos_format("<%d>%s: %s\n", (int)(at + KOS_LOG_ERROR), room, text);
    } else {
        int64_t now = now_ms(env);
        time_t seconds = (time_t)(now / 1000);
        struct tm tm;
        char stamp[32];
        gmtime_r(&seconds, &tm);
        strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
        line = kos_format("%s%s.%03dZ %s %s: %s%s\n", loop->colours ? colours[at] : "", stamp, (int)(now % 1000), names[at],
                          room, text, loop->colours ? "\033[0m" : "");
    }
    /* One write per line, so that lines of several processes on one descriptor do not mix. Nobody is left to tell when
     * it fails. */
    ssize_t ignored = write(STDERR_FILENO, line, strlen(line));
    (void)ignored;
    free(line);
}

static void timer_ready(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct kos_timer *timer = arg;
    timer->fire(timer->arg); /* may free the timer */
}

static struct kos_timer *timer_new(struct kos_env *env, void (*fire)(void *arg), void *arg)
{
    struct kos_timer *timer = kos_new(sizeof *timer);
    timer->fire = fire;
    timer->arg = arg;
    timer->event = evtimer_new(loop_of(env)->base, timer_ready, timer);
    if (!timer->event)
        abort();
    return timer;
}

static void timer_set(struct kos_timer *timer, uint64_t delay_ms)
{
    enum { DELAY_MAX_S = INT32_MAX }; /* 68 years: what any 32-bit field on the way can carry */
    uint64_t seconds = delay_ms / 1000;
    struct timeval in = { (time_t)(seconds > DELAY_MAX_S ? DELAY_MAX_S : seconds), (suseconds_t)(delay_ms % 1000 * 1000) };
    evtimer_add(timer->event, &in);
}

static void timer_stop(struct kos_timer *timer)
{
    evtimer_del(timer->event);
}

static void timer_free(struct kos_timer *timer)
{
    if (!timer)
        return;
    event_free(timer->event);
    free(timer);
}

static void watch_ready(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    struct kos_watch *watch = arg;
    watch->ready(watch->arg, (what & EV_READ ? KOS_READABLE : 0) | (what & EV_WRITE ? KOS_WRITABLE : 0));
}

static struct kos_watch *watch_new(struct kos_env *env, int fd, void (*ready)(void *arg, int32_t events), void *arg)
{
    struct kos_watch *watch = kos_new(sizeof *watch);
    *watch = (struct kos_watch){ .loop = loop_of(env), .fd = fd, .ready = ready, .arg = arg };
    watch->event = event_new(watch->loop->base, fd, EV_PERSIST, watch_ready, watch);
    if (!watch->event)
        abort();
    return watch;
}

static int32_t watch_set(struct kos_watch *watch, int32_t events)
{
    if (events == watch->events)
        return KOS_OK;
    event_del(watch->event);
    watch->events = 0;
    short what = (short)((events & KOS_READABLE ? EV_READ : 0) | (events & KOS_WRITABLE ? EV_WRITE : 0));
    if (!what)
        return KOS_OK;
    if (event_assign(watch->event, watch->loop->base, watch->fd, (short)(what | EV_PERSIST), watch_ready, watch) < 0 ||
        event_add(watch->event, NULL) < 0)
        return KOS_E_IO;
    watch->events = events;
    return KOS_OK;
}

static void watch_free(struct kos_watch *watch)
{
    if (!watch)
        return;
    event_free(watch->event);
    free(watch);
}

static void defer(struct kos_env *env, struct kos_deferred *deferred)
{
    kos_turn_defer(&loop_of(env)->turn, deferred);
}

static void undefer(struct kos_env *env, struct kos_deferred *deferred)
{
    kos_turn_undefer(&loop_of(env)->turn, deferred);
}

static void turn_end_add(struct kos_env *env, struct kos_turn_end *hook)
{
    kos_turn_end_add(&loop_of(env)->turn, hook);
}

static void turn_end_remove(struct kos_env *env, struct kos_turn_end *hook)
{
    kos_turn_end_remove(&loop_of(env)->turn, hook);
}

static void work(struct kos_env *env, struct kos_work *piece)
{
    kos_pool_submit(loop_of(env)->pool, piece);
}

static void work_finish(struct kos_env *env, struct kos_work *piece)
{
    struct kos_loop *loop = loop_of(env);
    struct kos_work **at = &loop->finished;
    while (*at && *at != piece)
        at = &(*at)->next;
    if (*at)
        *at = piece->next;
    else
        kos_pool_finish(loop->pool, piece);
    piece->done(piece);
}

static void wake(void *arg)
{
    struct kos_loop *loop = arg;
    uint64_t one = 1;
    ssize_t ignored = write(loop->wake_fd, &one, sizeof one); /* fails only when the counter says awake already */
    (void)ignored;
}

static void woken(evutil_socket_t fd, short what, void *arg)
{
    (void)what, (void)arg;
    uint64_t count;
    ssize_t ignored = read(fd, &count, sizeof count);
    (void)ignored;
}

static void run_posted(struct kos_loop *loop)
{
    pthread_mutex_lock(&loop->mutex);
    struct posted *list = loop->first;
    loop->first = loop->last = NULL;
    pthread_mutex_unlock(&loop->mutex);
    while (list) {
        struct posted *posted = list;
        list = posted->next;
        posted->run(posted->arg);
        free(posted);
    }
}

static uint32_t run_finished(struct kos_loop *loop)
{
    uint32_t ran = 0;
    for (loop->finished = kos_pool_take(loop->pool); loop->finished; ran++) {
        struct kos_work *piece = loop->finished;
        loop->finished = piece->next; /* before done, which may free the piece */
        piece->done(piece);
    }
    return ran;
}

static void run_turn(struct kos_loop *loop)
{
    uint32_t budget = KOS_TURN_DEFERRED_MAX;
    run_posted(loop);
    kos_turn_run_deferred(&loop->turn, &budget);
    run_finished(loop);
    kos_turn_run_deferred(&loop->turn, &budget);
    kos_turn_run_ends(&loop->turn);
}

static void set_ops(struct kos_env_ops *ops)
{
    *ops = (struct kos_env_ops){
        .now_ms = now_ms, .mono_ns = mono_ns, .random = random_fill, .log = log_line,
        .timer_new = timer_new, .timer_set = timer_set, .timer_stop = timer_stop, .timer_free = timer_free,
        .watch_new = watch_new, .watch_set = watch_set, .watch_free = watch_free,
        .defer = defer, .undefer = undefer, .turn_end_add = turn_end_add, .turn_end_remove = turn_end_remove,
        .work = work, .work_finish = work_finish,
    };
    kos_files_ops(ops);
}

static struct event_base *base_new(void)
{
    struct event_config *config = event_config_new();
    if (!config)
        return NULL;
    /* The precise clock is the one mono_ns() shows: with the coarse one a timer fires before its time. */
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

int32_t kos_loop_new(uint32_t workers, int32_t log_sink, struct kos_loop **ret_loop, struct kos_error *ret_error)
{
    if (workers < 1 || workers > 64)
        return kos_fail(ret_error, KOS_E_INVALID, "%u worker threads were asked for; it must be 1 to 64", workers);
    struct kos_loop *loop = kos_new(sizeof *loop);
    set_ops(&loop->ops);
    loop->env = (struct kos_env){ &loop->ops, KOS_LOG_INFO };
    loop->sink = log_sink;
    loop->colours = log_sink == KOS_LOG_STDERR && isatty(STDERR_FILENO);
    loop->stock = stock_new();
    loop->thread = pthread_self();
    pthread_mutex_init(&loop->mutex, NULL);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->base = base_new();
    loop->wake = loop->base && loop->wake_fd >= 0 ? event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, woken, loop) : NULL;
    if (!loop->wake || event_add(loop->wake, NULL) < 0) {
        kos_loop_free(loop);
        return kos_fail(ret_error, KOS_E_IO, "the event loop cannot be made: %s", strerror(errno));
    }
    int32_t rc = kos_pool_new(workers, wake, loop, &loop->pool);
    if (rc < 0) {
        kos_loop_free(loop);
        return kos_fail(ret_error, rc, "%u worker threads cannot be started: a limit on processes or memory is reached", workers);
    }
    *ret_loop = loop;
    return KOS_OK;
}

void kos_loop_free(struct kos_loop *loop)
{
    if (!loop)
        return;
    if (loop->pool) {
        /* Each piece given to the workers comes back exactly once, even now. */
        do
            kos_pool_wait(loop->pool);
        while (run_finished(loop));
        kos_pool_free(loop->pool);
    }
    while (loop->first) {
        struct posted *posted = loop->first;
        loop->first = posted->next;
        free(posted);
    }
    while (loop->signals) {
        struct caught *caught = loop->signals;
        loop->signals = caught->next;
        event_free(caught->event);
        free(caught);
    }
    if (loop->wake)
        event_free(loop->wake);
    if (loop->base)
        event_base_free(loop->base);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    pthread_mutex_destroy(&loop->mutex);
    stock_free(loop->stock);
    free(loop);
}

struct kos_env *kos_loop_env(struct kos_loop *loop)
{
    return &loop->env;
}

static void signalled(evutil_socket_t number, short what, void *arg)
{
    (void)what;
    struct caught *caught = arg;
    caught->caught(caught->arg, (int)number);
}

int32_t kos_loop_signal(struct kos_loop *loop, int signal, void (*callback)(void *arg, int signal), void *arg)
{
    struct caught *caught = kos_new(sizeof *caught);
    *caught = (struct caught){ .caught = callback, .arg = arg };
    caught->event = evsignal_new(loop->base, signal, signalled, caught);
    if (!caught->event || event_add(caught->event, NULL) < 0) {
        if (caught->event)
            event_free(caught->event);
        free(caught);
        return KOS_E_IO;
    }
    caught->next = loop->signals;
    loop->signals = caught;
    return KOS_OK;
}

int32_t kos_loop_run(struct kos_loop *loop)
{
    loop->stopping = false;
    /* The first turn does not wait: what was done before it may have left something for the turn ends. */
    for (bool wait = false; !loop->stopping; wait = !loop->turn.first) {
        if (event_base_loop(loop->base, wait ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK) < 0)
            return KOS_E_IO;
        run_turn(loop);
    }
    return KOS_OK;
}

void kos_loop_stop(struct kos_loop *loop)
{
    loop->stopping = true;
}

int32_t kos_loop_post(struct kos_loop *loop, void (*run)(void *arg), void *arg)
{
    struct posted *posted = malloc(sizeof *posted);
    if (!posted)
        return KOS_E_NOMEM;
    *posted = (struct posted){ run, arg, NULL };
    pthread_mutex_lock(&loop->mutex);
    if (loop->last)
        loop->last->next = posted;
    else
        loop->first = posted;
    loop->last = posted;
    pthread_mutex_unlock(&loop->mutex);
    wake(loop);
    return KOS_OK;
}

void kos_loop_set_level(struct kos_loop *loop, int32_t level)
{
    loop->env.log_level = level;
}
