/* SPDX-License-Identifier: Apache-2.0
 * The small host's services: queue, timers, watches, open, state and transactions. */
#include "poll_host.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WATCHES = 256, TIMERS = 256, STATES = 256, STEPS = 64, OPENS = 64 };

struct event {
    struct event *next;
    enum { EVENT_COMPLETED, EVENT_OPENED } kind;
    uint64_t id;
    int32_t status, fd;
    char *text;
    uint8_t *data;
    size_t len;
};
struct pair {
    uint8_t *key, *value;
    size_t key_len, value_len;
};
struct step {
    enum { STEP_PUT, STEP_DELETE, STEP_SEND, STEP_VERDICT } kind;
    uint64_t tx;
    struct pair pair;
    struct kos_draft draft;
    uint64_t message;
    int32_t verdict, error;
    char *text;
};
struct opening {
    uint64_t op;   /* 0: free */
    int fd;
};
struct poll_host {
    struct kos_host table;
    const struct kos_plugin *plugin;
    const struct poll_host_hooks *hooks;
    void *arg, *self;
    bool stopped;
    struct event *first, *last;
    struct { uint64_t id, due_ns; } timers[TIMERS];
    struct pollfd watches[WATCHES];
    size_t timer_count, watch_count, state_count, step_count;
    struct pair states[STATES];
    struct step steps[STEPS];
    struct opening openings[OPENS];
    int posts[2];
    struct kos_conf conf;
    struct kos_value values[64];
    const struct kos_value *value_list[65];
    char *texts[64];
    const char **lists[64];
};

static struct poll_host *self_of(const struct kos_host *host)
{
    return host->ctx;
}

/* ---- time, log, posts ---- */

static uint64_t mono_ns(const struct kos_host *host)
{
    (void)host;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int64_t now_ms(const struct kos_host *host)
{
    (void)host;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void random_bytes(const struct kos_host *host, void *out, size_t len)
{
    (void)host;
    for (size_t at = 0; at < len;) {
        ssize_t n = getrandom((uint8_t *)out + at, len - at, 0);
        if (n > 0)
            at += (size_t)n;
    }
}

static void log_line(const struct kos_host *host, int32_t level, const char *text)
{
    struct poll_host *h = self_of(host);
    if (h->hooks && h->hooks->log)
        h->hooks->log(h->arg, level, text);
}

static const void *feature(const struct kos_host *host, const char *name)
{
    struct poll_host *h = self_of(host);
    return h->hooks && h->hooks->feature ? h->hooks->feature(h->arg, name) : NULL;
}

static int32_t post(const struct kos_host *host, uint64_t cookie)
{
    return write(self_of(host)->posts[1], &cookie, sizeof cookie) == sizeof cookie ? KOS_OK : KOS_E_BUSY;
}

static void timer_stop(const struct kos_host *host, uint64_t timer)
{
    struct poll_host *h = self_of(host);
    for (size_t i = 0; i < h->timer_count; i++)
        if (h->timers[i].id == timer) {
            h->timers[i] = h->timers[--h->timer_count];
            return;
        }
}

static void timer_set(const struct kos_host *host, uint64_t timer, uint64_t delay_ms)
{
    struct poll_host *h = self_of(host);
    timer_stop(host, timer);
    if (h->timer_count == TIMERS)
        abort();
    h->timers[h->timer_count].id = timer;
    h->timers[h->timer_count++].due_ns = mono_ns(host) + delay_ms * 1000000;
}

static int32_t watch(const struct kos_host *host, int32_t fd, int32_t events)
{
    struct poll_host *h = self_of(host);
    short wanted = (short)((events & KOS_IO_READ ? POLLIN : 0) | (events & KOS_IO_WRITE ? POLLOUT : 0));
    size_t i = 0;
    while (i < h->watch_count && h->watches[i].fd != fd)
        i++;
    if (fd < 0)
        return KOS_E_INVALID;
    if (wanted && i == WATCHES)
        return KOS_E_LIMIT;
    if (wanted) {
        h->watches[i] = (struct pollfd){ .fd = fd, .events = wanted };
        h->watch_count += i == h->watch_count;
    } else if (i < h->watch_count) {
        h->watches[i] = h->watches[--h->watch_count];
    }
    return KOS_OK;
}

/* ---- events of the plugin, queued ---- */

static struct event *queue(struct poll_host *h, int kind, uint64_t id, int32_t status)
{
    struct event *e = calloc(1, sizeof *e);
    if (!e)
        abort();
    e->kind = kind;
    e->id = id;
    e->status = status;
    e->fd = -1;
    if (h->last)
        h->last->next = e;
    else
        h->first = e;
    h->last = e;
    return e;
}

void poll_host_complete(struct poll_host *h, uint64_t op, int32_t status, struct kos_bytes result)
{
    struct event *e = queue(h, EVENT_COMPLETED, op, status);
    if (result.len && !(e->data = malloc(result.len)))
        abort();
    if (result.len)
        memcpy(e->data, result.data, result.len);
    e->len = result.len;
}

static void complete(const struct kos_host *host, uint64_t op, int32_t status, struct kos_bytes result)
{
    struct poll_host *h = self_of(host);
    if (h->hooks && h->hooks->complete)
        h->hooks->complete(h->arg, op, status, result);
}

static void stopped(const struct kos_host *host)
{
    self_of(host)->stopped = true;
}

/* ---- sockets ---- */

static int32_t error_of(int error)
{
    switch (error) {
    case EADDRINUSE: return KOS_E_ADDRESS_USED;
    case ECONNREFUSED: case EHOSTUNREACH: case ENETUNREACH: return KOS_E_UNREACHABLE;
    case EACCES: case EPERM: return KOS_E_PERMISSION;
    default: return KOS_E_IO;
    }
}

static void answer_open(struct poll_host *h, uint64_t op, int error, int fd)
{
    struct event *e = queue(h, EVENT_OPENED, op, error ? error_of(error) : KOS_OK);
    e->text = strdup(error ? strerror(error) : "");
    e->fd = error ? -1 : fd;
    if (error && fd >= 0)
        close(fd);
}

static void open_what(const struct kos_host *host, const char *what, uint64_t op)
{
    struct poll_host *h = self_of(host);
    if (strncmp(what, "device:", 7) == 0) {
        int device = open(what + 7, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        answer_open(h, op, device < 0 ? errno : 0, device);
        return;
    }
    bool listening = strncmp(what, "tcp-listen://", 13) == 0;
    char name[256];
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV }, *found;
    const char *port = strrchr(what, ':');
    const char *begin = strstr(what, "://") + 3;
    bool v6 = *begin == '[';
    snprintf(name, sizeof name, "%.*s", (int)(port - begin) - 2 * v6, begin + v6);
    if (getaddrinfo(name, port + 1, &hints, &found) != 0) {
        answer_open(h, op, EADDRNOTAVAIL, -1);
        return;
    }
    int one = 1, failed = 0, fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listening) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        failed = bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, 128) ? errno : 0;
    } else if (connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        failed = errno;
    }
    freeaddrinfo(found);
    for (size_t i = 0; failed == EINPROGRESS && i < OPENS; i++)
        if (h->openings[i].op == 0) {
            h->openings[i] = (struct opening){ op, fd };
            return;
        }
    answer_open(h, op, failed, fd);
}

static void open_cancel(const struct kos_host *host, uint64_t op)
{
    struct poll_host *h = self_of(host);
    for (size_t i = 0; i < OPENS; i++)
        if (h->openings[i].op == op) {
            close(h->openings[i].fd);
            h->openings[i].op = 0;
            queue(h, EVENT_OPENED, op, KOS_E_CANCELLED)->text = strdup("cancelled");
            return;
        }
}

/* ---- state ---- */

static struct pair pair_copy(struct kos_bytes key, struct kos_bytes value)
{
    struct pair p = { malloc(key.len + 1), malloc(value.len + 1), key.len, value.len };
    if (!p.key || !p.value)
        abort();
    if (key.len)
        memcpy(p.key, key.data, key.len);
    if (value.len)
        memcpy(p.value, value.data, value.len);
    return p;
}

static int compare(struct kos_bytes a, struct kos_bytes b)
{
    int order = a.len && b.len ? memcmp(a.data, b.data, a.len < b.len ? a.len : b.len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static size_t lower_bound(const struct poll_host *h, struct kos_bytes key)
{
    size_t i = 0;
    while (i < h->state_count && compare(kos_bytes(h->states[i].key, h->states[i].key_len), key) < 0)
        i++;
    return i;
}

static bool state_is(const struct poll_host *h, size_t i, struct kos_bytes key)
{
    return i < h->state_count && compare(kos_bytes(h->states[i].key, h->states[i].key_len), key) == 0;
}

static void state_apply(struct poll_host *h, struct pair *p, bool put)
{
    struct kos_bytes key = kos_bytes(p->key, p->key_len);
    size_t i = lower_bound(h, key);
    if (state_is(h, i, key)) {
        free(h->states[i].key);
        free(h->states[i].value);
        memmove(&h->states[i], &h->states[i + 1], (--h->state_count - i) * sizeof *h->states);
    }
    if (put && h->state_count == STATES)
        abort();
    if (put) {
        memmove(&h->states[i + 1], &h->states[i], (h->state_count++ - i) * sizeof *h->states);
        h->states[i] = *p;
        *p = (struct pair){ 0 };
    }
}

static void state_get(const struct kos_host *host, struct kos_bytes key, uint64_t op)
{
    struct poll_host *h = self_of(host);
    size_t i = lower_bound(h, key);
    bool there = state_is(h, i, key);
    struct event *e = queue(h, EVENT_COMPLETED, op, there ? KOS_OK : KOS_E_NOTFOUND);
    if (there) {
        struct pair p = pair_copy(kos_bytes(NULL, 0), kos_bytes(h->states[i].value, h->states[i].value_len));
        free(p.key);
        e->data = p.value;
        e->len = p.value_len;
    }
}

static void append_run(struct event *e, const uint8_t *data, size_t len)
{
    uint32_t n = (uint32_t)len;
    e->data = realloc(e->data, e->len + sizeof n + len);
    if (!e->data)
        abort();
    memcpy(e->data + e->len, &n, sizeof n);
    memcpy(e->data + e->len + sizeof n, data, len);
    e->len += sizeof n + len;
}

static void state_scan(const struct kos_host *host, struct kos_bytes prefix, struct kos_bytes from, uint32_t limit,
                       uint64_t op)
{
    struct poll_host *h = self_of(host);
    struct event *e = queue(h, EVENT_COMPLETED, op, KOS_OK);
    for (size_t i = lower_bound(h, compare(from, prefix) > 0 ? from : prefix); i < h->state_count && limit > 0;
         i++, limit--) {
        const struct pair *p = &h->states[i];
        if (p->key_len < prefix.len || (prefix.len && memcmp(p->key, prefix.data, prefix.len) != 0))
            break;
        append_run(e, p->key, p->key_len);
        append_run(e, p->value, p->value_len);
    }
}

/* ---- transactions ---- */

static struct step *step(struct poll_host *h, uint64_t tx, int kind)
{
    if (h->step_count == STEPS)
        abort();
    struct step *s = &h->steps[h->step_count++];
    memset(s, 0, sizeof *s);
    s->kind = kind;
    s->tx = tx;
    return s;
}

static void tx_begin(const struct kos_host *host, uint64_t tx)
{
    (void)host;
    (void)tx;
}

static void tx_put(const struct kos_host *host, uint64_t tx, struct kos_bytes key, struct kos_bytes value)
{
    step(self_of(host), tx, STEP_PUT)->pair = pair_copy(key, value);
}

static void tx_delete(const struct kos_host *host, uint64_t tx, struct kos_bytes key)
{
    step(self_of(host), tx, STEP_DELETE)->pair = pair_copy(key, kos_bytes(NULL, 0));
}

static void tx_send(const struct kos_host *host, uint64_t tx, const struct kos_draft *draft)
{
    struct step *s = step(self_of(host), tx, STEP_SEND);
    /* A plugin of an older minor version has a shorter one. */
    memcpy(&s->draft, draft, draft->size < sizeof s->draft ? draft->size : sizeof s->draft);
    s->draft.type = strdup(draft->type);
    s->draft.target = strdup(draft->target);
    s->pair = pair_copy(kos_bytes(NULL, 0), draft->payload);
    s->draft.payload = kos_bytes(s->pair.value, s->pair.value_len);
    s->draft.trace = NULL;
}

static void tx_verdict(const struct kos_host *host, uint64_t tx, uint64_t message, int32_t verdict, int32_t error,
                       const char *text, uint64_t retry_ms)
{
    struct step *s = step(self_of(host), tx, STEP_VERDICT);
    (void)retry_ms;
    s->message = message;
    s->verdict = verdict;
    s->error = error;
    s->text = strdup(text ? text : "");
}

static void tx_end(struct poll_host *h, uint64_t tx, bool commit)
{
    size_t kept = 0;
    for (size_t i = 0; i < h->step_count; i++) {
        struct step *s = &h->steps[i];
        if (s->tx != tx) {
            h->steps[kept++] = *s;
            continue;
        }
        if (commit && (s->kind == STEP_PUT || s->kind == STEP_DELETE))
            state_apply(h, &s->pair, s->kind == STEP_PUT);
        else if (commit && s->kind == STEP_SEND && h->hooks && h->hooks->send)
            h->hooks->send(h->arg, &s->draft);
        else if (commit && s->kind == STEP_VERDICT && h->hooks && h->hooks->verdict)
            h->hooks->verdict(h->arg, s->message, s->verdict, s->error, s->text);
        free(s->pair.key);
        free(s->pair.value);
        free(s->text);
        if (s->kind == STEP_SEND) {
            free((void *)(uintptr_t)s->draft.type);
            free((void *)(uintptr_t)s->draft.target);
        }
    }
    h->step_count = kept;
}

static void tx_commit(const struct kos_host *host, uint64_t tx, uint64_t op)
{
    tx_end(self_of(host), tx, true);
    queue(self_of(host), EVENT_COMPLETED, op, KOS_OK);
}

static void tx_abort(const struct kos_host *host, uint64_t tx)
{
    tx_end(self_of(host), tx, false);
}

static void secret_get(const struct kos_host *host, const char *name, uint64_t op)
{
    struct poll_host *h = self_of(host);
    const char *value = h->hooks && h->hooks->secret ? h->hooks->secret(h->arg, name) : NULL;
    poll_host_complete(h, op, value ? KOS_OK : KOS_E_NOTFOUND, kos_bytes_str(value));
}

static void secret_put(const struct kos_host *host, const char *name, struct kos_bytes value, uint64_t op)
{
    (void)name;
    (void)value;
    queue(self_of(host), EVENT_COMPLETED, op, KOS_E_UNSUPPORTED);
}

static void sign(const struct kos_host *host, const char *key, struct kos_bytes body, uint64_t op)
{
    (void)key;
    (void)body;
    queue(self_of(host), EVENT_COMPLETED, op, KOS_E_UNSUPPORTED);
}

/* ---- settings: the declared defaults, with the test's over them ---- */

static int64_t number_of(const char *text)
{
    char *end;
    int64_t n = strcmp(text, "true") == 0 ? 1 : strtoll(text, &end, 10);
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
        return n;
    if (strcmp(end, "s") == 0)
        return n * 1000;
    if (strcmp(end, "m") == 0)
        return n * 60000;
    if (strcmp(end, "h") == 0)
        return n * 3600000;
    if (strcmp(end, "K") == 0)
        return n << 10;
    if (strcmp(end, "G") == 0)
        return n << 30;
    return strcmp(end, "M") == 0 ? n << 20 : n;
}

/* The words of a list, as its fallback has them: between blanks. */
static const char **words_of(char *text)
{
    const char **words = calloc(strlen(text) / 2 + 2, sizeof *words);
    char *rest = text;
    if (!words)
        abort();
    for (size_t i = 0; (words[i] = strtok_r(rest, " ", &rest)); i++)
        continue;
    return words;
}

static bool make_conf(struct poll_host *h, const char *const *settings, struct kos_error *ret_error)
{
    size_t count = 0;
    for (const struct kos_setting *const *s = h->plugin->settings; s && *s; s++, count++) {
        const char *text = (*s)->fallback;
        size_t len = strlen((*s)->name);
        for (const char *const *given = settings; given && *given; given++)
            if (strncmp(*given, (*s)->name, len) == 0 && (*given)[len] == '=')
                text = *given + len + 1;
        if (!text || count == 64) {
            kos_fail(ret_error, KOS_E_CONFIG, "the setting %s is required", (*s)->name);
            return false;
        }
        bool textual =
            (*s)->type == KOS_SETTING_STRING || (*s)->type == KOS_SETTING_SECRET || (*s)->type == KOS_SETTING_TABLE;
        bool list = (*s)->type == KOS_SETTING_LIST;
        h->texts[count] = strdup(textual || list ? text : "");
        if (list)
            h->lists[count] = words_of(h->texts[count]);
        h->values[count] = (struct kos_value){ .size = sizeof *h->values,
                                               .name = (*s)->name,
                                               .number = textual || list ? 0 : number_of(text),
                                               .real = textual || list ? 0 : strtod(text, NULL),
                                               .text = list ? "" : h->texts[count],
                                               .list = h->lists[count] };
        h->value_list[count] = &h->values[count];
    }
    h->conf = (struct kos_conf){ .size = sizeof h->conf, .values = h->value_list };
    return true;
}

/* ---- life ---- */

static const struct kos_host services = {
    .size = sizeof services,
    .abi = KOS_ABI,
    .feature = feature,
    .log = log_line,
    .now_ms = now_ms,
    .mono_ns = mono_ns,
    .random = random_bytes,
    .timer_set = timer_set,
    .timer_stop = timer_stop,
    .watch = watch,
    .post = post,
    .complete = complete,
    .stopped = stopped,
    .open = open_what,
    .open_cancel = open_cancel,
    .state_get = state_get,
    .state_scan = state_scan,
    .secret_get = secret_get,
    .secret_put = secret_put,
    .sign = sign,
    .tx_begin = tx_begin,
    .tx_put = tx_put,
    .tx_delete = tx_delete,
    .tx_send = tx_send,
    .tx_verdict = tx_verdict,
    .tx_commit = tx_commit,
    .tx_abort = tx_abort,
};

static void release(struct poll_host *h)
{
    for (size_t i = 0; i < 64; i++) {
        free(h->texts[i]);
        free(h->lists[i]);
    }
    for (size_t i = 0; i < h->state_count; i++) {
        free(h->states[i].key);
        free(h->states[i].value);
    }
    close(h->posts[0]);
    close(h->posts[1]);
    free(h);
}

struct poll_host *poll_host_new(const struct kos_plugin *plugin, const char *const *settings,
                                const struct poll_host_hooks *hooks, void *arg, struct kos_error *ret_error)
{
    struct poll_host *h = calloc(1, sizeof *h);
    if (!h || pipe2(h->posts, O_NONBLOCK | O_CLOEXEC) != 0)
        abort();
    h->table = services;
    h->table.ctx = h;
    h->table.directory = hooks ? hooks->directory : NULL;
    h->plugin = plugin;
    h->hooks = hooks;
    h->arg = arg;
    if (!make_conf(h, settings, ret_error) || plugin->init(&h->table, &h->conf, &h->self, ret_error) < 0) {
        release(h);
        return NULL;
    }
    return h;
}

void *poll_host_self(struct poll_host *h)
{
    return h->self;
}

void *poll_host_arg(const struct kos_host *host)
{
    return self_of(host)->arg;
}

const struct kos_host *poll_host_table(struct poll_host *h)
{
    return &h->table;
}

void poll_host_start(struct poll_host *h)
{
    h->plugin->start(h->self);
}

static bool run_events(struct poll_host *h)
{
    bool any = false;
    while (h->first && !h->stopped) {
        struct event *e = h->first;
        h->first = e->next;
        if (!h->first)
            h->last = NULL;
        if (e->kind == EVENT_OPENED)
            h->plugin->opened(h->self, e->id, e->status, e->fd, e->text);
        else if (h->plugin->completed)
            h->plugin->completed(h->self, e->id, e->status, kos_bytes(e->data, e->len));
        free(e->text);
        free(e->data);
        free(e);
        any = true;
    }
    return any;
}

static bool run_timers(struct poll_host *h, int *wait_ms)
{
    uint64_t now = mono_ns(&h->table);
    for (size_t i = 0; i < h->timer_count; i++) {
        if (h->timers[i].due_ns <= now) {
            uint64_t id = h->timers[i].id;
            timer_stop(&h->table, id);
            h->plugin->timer(h->self, id);
            return true;
        }
        int left = (int)((h->timers[i].due_ns - now) / 1000000) + 1;
        if (left < *wait_ms)
            *wait_ms = left;
    }
    return false;
}

static void run_opening(struct poll_host *h, int fd)
{
    for (size_t i = 0; i < OPENS; i++)
        if (h->openings[i].op && h->openings[i].fd == fd) {
            int error = 0;
            socklen_t len = sizeof error;
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
            answer_open(h, h->openings[i].op, error, fd);
            h->openings[i].op = 0;
        }
}

bool poll_host_run(struct poll_host *h, int wait_ms)
{
    struct pollfd fds[WATCHES + OPENS + 1];
    bool any = run_events(h);
    if (h->stopped || run_timers(h, &wait_ms))
        return true;
    size_t watches = h->watch_count, count = watches;
    memcpy(fds, h->watches, watches * sizeof *fds);
    for (size_t i = 0; i < OPENS; i++)
        if (h->openings[i].op)
            fds[count++] = (struct pollfd){ .fd = h->openings[i].fd, .events = POLLOUT };
    fds[count++] = (struct pollfd){ .fd = h->posts[0], .events = POLLIN };
    if (poll(fds, count, any ? 0 : wait_ms) <= 0)
        return any;
    for (size_t i = 0; i < watches && !h->stopped; i++) {
        /* An earlier call of this round may have ended or narrowed the watch. */
        size_t now = 0;
        while (now < h->watch_count && h->watches[now].fd != fds[i].fd)
            now++;
        short want = now < h->watch_count ? h->watches[now].events : 0, got = fds[i].revents;
        int32_t events = (want & POLLIN && got & (POLLIN | POLLERR | POLLHUP) ? KOS_IO_READ : 0) |
            (want & POLLOUT && got & (POLLOUT | POLLERR | POLLHUP) ? KOS_IO_WRITE : 0);
        if (events)
            h->plugin->ready(h->self, fds[i].fd, events);
    }
    for (size_t i = watches; i + 1 < count; i++)
        if (fds[i].revents)
            run_opening(h, fds[i].fd);
    uint64_t cookie;
    while (fds[count - 1].revents && !h->stopped && read(h->posts[0], &cookie, sizeof cookie) == sizeof cookie)
        h->plugin->posted(h->self, cookie);
    run_events(h);
    return true;
}

bool poll_host_stop(struct poll_host *h)
{
    uint64_t end = mono_ns(&h->table) + 5000000000u;
    h->plugin->stop(h->self);
    while (!h->stopped && mono_ns(&h->table) < end)
        poll_host_run(h, 100);
    return h->stopped;
}

void poll_host_free(struct poll_host *h, uint32_t *ret_left)
{
    uint32_t left = (uint32_t)(h->watch_count + h->timer_count + h->step_count);
    h->plugin->fini(h->self);
    for (size_t i = 0; i < OPENS; i++)
        if (h->openings[i].op)
            close(h->openings[i].fd);
    while (h->first) {
        struct event *e = h->first;
        h->first = e->next;
        if (e->kind == EVENT_OPENED && e->fd >= 0)
            close(e->fd);
        free(e->text);
        free(e->data);
        free(e);
    }
    if (ret_left)
        *ret_left = left;
    release(h);
}
