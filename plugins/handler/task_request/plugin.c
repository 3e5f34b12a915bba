/* SPDX-License-Identifier: Apache-2.0
 *
 * The plugin task_request: what it is, its life, and the operations and timers that its rooms share.
 */
#include "task.h"

enum { DEFER_MS = 200, SCAN = 256, PRUNE_EVERY_MS = 3600000 };

uint64_t next_id(struct tasks *tasks)
{
    return ++tasks->last;
}

struct pending *expect(struct tasks *tasks, void (*done)(struct tasks *, struct pending *, int32_t, struct kos_bytes), const uint8_t *id, size_t id_len)
{
    struct pending *pending = calloc(1, sizeof *pending);
    if (!pending)
        abort();
    pending->op = next_id(tasks);
    pending->done = done;
    if (id_len)
        memcpy(pending->id, id, id_len);
    HASH_ADD(hh, tasks->pending, op, sizeof pending->op, pending);
    return pending;
}

static void completed(void *self, uint64_t op, int32_t status, struct kos_bytes result)
{
    struct tasks *tasks = self;
    struct pending *pending;
    HASH_FIND(hh, tasks->pending, &op, sizeof op, pending);
    if (!pending)
        return;
    HASH_DEL(tasks->pending, pending);
    pending->done(tasks, pending, status, result);
    free(pending);
}

uint64_t timer_after(struct tasks *tasks, uint64_t delay_ms, void (*fire)(struct tasks *, struct timer *), const uint8_t *key, size_t key_len)
{
    struct timer *timer = calloc(1, sizeof *timer);
    if (!timer)
        abort();
    timer->id = next_id(tasks);
    timer->fire = fire;
    if (key_len)
        memcpy(timer->key, key, key_len);
    HASH_ADD(hh, tasks->timers, id, sizeof timer->id, timer);
    tasks->host->timer_set(tasks->host, timer->id, delay_ms);
    return timer->id;
}

void timer_drop(struct tasks *tasks, uint64_t *id)
{
    struct timer *timer;
    HASH_FIND(hh, tasks->timers, id, sizeof *id, timer);
    if (timer) {
        tasks->host->timer_stop(tasks->host, timer->id);
        HASH_DEL(tasks->timers, timer);
        free(timer);
    }
    *id = 0;
}

static void timer_fired(void *self, uint64_t id)
{
    struct tasks *tasks = self;
    struct timer *timer;
    HASH_FIND(hh, tasks->timers, &id, sizeof id, timer);
    if (!timer)
        return;
    HASH_DEL(tasks->timers, timer);
    timer->fire(tasks, timer);
    free(timer);
}

void log_line(struct tasks *tasks, int32_t level, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tasks->host->log(tasks->host, level, text);
}

static void nothing_more(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    (void)tasks;
    (void)pending;
    (void)status;
    (void)result;
}

void settle(struct tasks *tasks, uint64_t message)
{
    struct effect *effect = effect_new(tasks);
    effect_verdict(effect, message, KOS_ACCEPT, 0, NULL, 0);
    effect_commit(effect, NULL, NULL, 0, 0);
}

static void defer(struct tasks *tasks, uint64_t message)
{
    struct effect *effect = effect_new(tasks);
    effect_verdict(effect, message, KOS_DEFER, 0, NULL, DEFER_MS);
    effect_commit(effect, NULL, NULL, 0, 0);
}

static void handle(void *self, uint64_t message, const struct kos_message *m)
{
    struct tasks *tasks = self;
    if (tasks->loading || tasks->stopping)
        defer(tasks, message);
    else if (strcmp(m->type, "TASK_REQUEST") == 0)
        perform_request(tasks, message, m);
    else if (strcmp(m->type, "TASK_CANCEL") == 0)
        perform_cancel(tasks, message, m);
    else
        ask_handle(tasks, message, m);
}

static void outcome(void *self, uint64_t message, const struct kos_outcome *o)
{
    struct tasks *tasks = self;
    struct out_task *task;
    if (tasks->loading || tasks->stopping) {
        defer(tasks, message);
        return;
    }
    HASH_FIND(hh, tasks->out, o->id, KLP_ID_LEN, task);
    if (task && task->state <= OUT_DELIVERED) {
        ask_outcome(tasks, message, o, task);
        return;
    }
    perform_outcome(tasks, o->id, o->status);
    settle(tasks, message);
}

static void output(void *self, uint64_t run, int32_t kind, struct kos_bytes bytes)
{
    perform_output(self, run, kind, bytes);
}

static void ended(void *self, uint64_t run, int32_t status, struct kos_bytes result, const char *text, int32_t retry, const uint8_t audit[32])
{
    perform_ended(self, run, status, result, text, retry, audit);
}

/* ---- what was there before a restart, and what is old ---- */

static bool key_ids(struct kos_bytes key, size_t count, uint8_t *ret_ids)
{
    if (key.len != 1 + count * KLP_ID_TEXT)
        return false;
    for (size_t i = 0; i < count; i++)
        if (klp_id_parse(kos_bytes(key.data + 2 + i * KLP_ID_TEXT, KLP_ID_TEXT - 1), (struct klp_id *)(ret_ids + i * KLP_ID_LEN)) < 0)
            return false;
    return true;
}

static void scan(struct tasks *tasks, const char *prefix, struct kos_bytes from, void (*done)(struct tasks *, struct pending *, int32_t, struct kos_bytes))
{
    struct pending *pending = expect(tasks, done, NULL, 0);
    pending->what = (void *)(uintptr_t)prefix;
    tasks->host->state_scan(tasks->host, kos_bytes(prefix, 2), from, SCAN, pending->op);
}

static void loaded(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    const char *prefix = pending->what;
    struct kos_bytes key = { 0 }, value;
    uint8_t ids[2 * KLP_ID_LEN], last[KEY_MAX];
    size_t count = 0, last_len = 0;
    while (status == KOS_OK && kos_pair_next(&result, &key, &value) == 1) {
        count++;
        if (key.len < KEY_MAX)
            memcpy(last, key.data, last_len = key.len);
        if (prefix[0] == 'o' && key_ids(key, 1, ids))
            ask_load(tasks, ids, value);
        else if (prefix[0] == 'i' && key_ids(key, 2, ids))
            perform_load(tasks, ids, value);
    }
    if (status < 0)
        log_line(tasks, KOS_ERROR, "the tasks of before cannot be read: %s", kos_error_text(status));
    if (count == SCAN && last_len) {
        last[last_len++] = 0; /* the next key behind it */
        scan(tasks, prefix, kos_bytes(last, last_len), loaded);
        return;
    }
    tasks->loading--;
    perform_loaded(tasks);
}

/* Parts are removed with their task, a scan's worth at a time. */
static void parts_old(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    struct kos_bytes key, value;
    uint64_t tx = next_id(tasks), count = 0;
    char prefix[KEY_MAX];
    if (status < 0)
        return;
    tasks->host->tx_begin(tasks->host, tx);
    while (kos_pair_next(&result, &key, &value) == 1) {
        tasks->host->tx_delete(tasks->host, tx, key);
        count++;
    }
    if (count == 0)
        tasks->host->tx_delete(tasks->host, tx, kos_bytes(prefix, out_key(pending->id, prefix)));
    tasks->host->tx_commit(tasks->host, tx, expect(tasks, nothing_more, NULL, 0)->op);
    if (count)
        tasks->host->state_scan(tasks->host, kos_bytes(prefix, part_key(pending->id, 0, prefix) - 8), kos_bytes(NULL, 0), 64, expect(tasks, parts_old, pending->id, KLP_ID_LEN)->op);
}

static void prune_one(struct tasks *tasks, uint64_t tx, struct kos_bytes key, struct kos_bytes value)
{
    uint8_t ids[2 * KLP_ID_LEN];
    struct klp_json record;
    struct out_task *held = NULL;
    int64_t deadline = 0;
    char prefix[KEY_MAX];
    if (klp_json_read(value, RECORD_MAX * 4, &record, NULL) < 0 || klp_json_int(klp_json_get(record, "deadline"), &deadline) < 0 ||
        deadline + tasks->keep_ms > tasks->host->now_ms(tasks->host))
        return;
    if (key.data[0] == 'i') {
        tasks->host->tx_delete(tasks->host, tx, key);
    } else if (key_ids(key, 1, ids)) {
        HASH_FIND(hh, tasks->out, ids, KLP_ID_LEN, held);
        if (!held)
            tasks->host->state_scan(tasks->host, kos_bytes(prefix, part_key(ids, 0, prefix) - 8), kos_bytes(NULL, 0), 64, expect(tasks, parts_old, ids, KLP_ID_LEN)->op);
    }
}

static void pruned(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    const char *prefix = pending->what;
    struct kos_bytes key, value;
    uint8_t last[KEY_MAX];
    size_t count = 0, last_len = 0;
    uint64_t tx = next_id(tasks);
    if (status < 0)
        return;
    tasks->host->tx_begin(tasks->host, tx);
    for (; kos_pair_next(&result, &key, &value) == 1; count++) {
        if (key.len < KEY_MAX)
            memcpy(last, key.data, last_len = key.len);
        prune_one(tasks, tx, key, value);
    }
    tasks->host->tx_commit(tasks->host, tx, expect(tasks, nothing_more, NULL, 0)->op);
    if (count == SCAN && last_len) {
        last[last_len++] = 0;
        scan(tasks, prefix, kos_bytes(last, last_len), pruned);
    } else if (prefix[0] == 'o') {
        scan(tasks, "i/", kos_bytes(NULL, 0), pruned);
    }
}

static void prune(struct tasks *tasks, struct timer *timer)
{
    (void)timer;
    scan(tasks, "o/", kos_bytes(NULL, 0), pruned);
    timer_after(tasks, PRUNE_EVERY_MS, prune, NULL, 0);
}

/* ---- life ---- */

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self, struct kos_error *ret_error)
{
    const struct kos_agents *agents = host->feature(host, KOS_AGENTS);
    const struct kos_control_host *control = host->feature(host, KOS_CONTROL_HOST);
    if (!agents || !control)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "task_request needs the host's %s: grant it the right \"agents\"", agents ? KOS_CONTROL_HOST : KOS_AGENTS);
    struct tasks *tasks = calloc(1, sizeof *tasks);
    if (!tasks)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is not enough memory");
    tasks->host = host;
    tasks->agents = agents;
    tasks->control = control;
    tasks->deadline_ms = kos_conf_number(conf, "deadline");
    tasks->keep_ms = kos_conf_number(conf, "keep");
    tasks->output_max = kos_conf_number(conf, "output_max");
    tasks->waiting_max = kos_conf_number(conf, "waiting_max");
    *ret_self = tasks;
    return KOS_OK;
}

static void start(void *self)
{
    struct tasks *tasks = self;
    tasks->loading = 2;
    scan(tasks, "o/", kos_bytes(NULL, 0), loaded);
    scan(tasks, "i/", kos_bytes(NULL, 0), loaded);
    timer_after(tasks, PRUNE_EVERY_MS, prune, NULL, 0);
}

static void stop(void *self)
{
    struct tasks *tasks = self;
    struct out_task *task, *next;
    struct follower *follower, *next_follower;
    tasks->stopping = true;
    HASH_ITER(hh, tasks->out, task, next)
        DL_FOREACH_SAFE2(task->followers, follower, next_follower, nextf) {
            control_fail(tasks, follower->call, KOS_E_CLOSED, "this kosd is stopping; the task goes on: follow it again with kosctl task wait");
            DL_DELETE2(task->followers, follower, prev, nextf);
            free(follower);
        }
    tasks->host->stopped(tasks->host);
}

static void fini(void *self)
{
    struct tasks *tasks = self;
    struct out_task *out, *next_out;
    struct in_task *in, *next_in;
    struct pending *pending, *next_pending;
    struct sent_part *part, *next_part;
    struct timer *timer, *next_timer;
    HASH_ITER(hh, tasks->pending, pending, next_pending) {
        HASH_DEL(tasks->pending, pending);
        free(pending);
    }
    HASH_ITER(hh, tasks->sent, part, next_part) {
        HASH_DEL(tasks->sent, part);
        free(part);
    }
    HASH_ITER(hh, tasks->timers, timer, next_timer) {
        HASH_DEL(tasks->timers, timer);
        free(timer);
    }
    effects_free(tasks);
    HASH_CLEAR(run_hh, tasks->runs);
    HASH_ITER(hh, tasks->in, in, next_in) {
        HASH_DEL(tasks->in, in);
        perform_free(in);
    }
    HASH_ITER(hh, tasks->out, out, next_out) {
        HASH_DEL(tasks->out, out);
        out_free(out);
    }
    sources_free(tasks);
    free(tasks);
}

static const char *const types[] = { "TASK_REQUEST", "TASK_PROGRESS", "TASK_RESULT", "TASK_CANCEL", NULL };
static const struct kos_handler handler = { .size = sizeof handler, .types = types, .handle = handle, .outcome = outcome };
static const struct kos_agents_user user = { .size = sizeof user, .output = output, .ended = ended };

static const struct kos_feature feature_handler = { .size = sizeof feature_handler, .name = KOS_HANDLER, .table = &handler };
static const struct kos_feature feature_control = { .size = sizeof feature_control, .name = KOS_CONTROL, .table = &task_control };
static const struct kos_feature feature_user = { .size = sizeof feature_user, .name = KOS_AGENTS_USER, .table = &user };
static const struct kos_feature *const features[] = { &feature_handler, &feature_control, &feature_user, NULL };

static const struct kos_right right_agents = { .size = sizeof right_agents, .name = "agents", .why = "gives tasks to the agents of this node" };
static const struct kos_right right_send = { .size = sizeof right_send, .name = "send", .why = "sends tasks and their answers" };
static const struct kos_right *const rights[] = { &right_agents, &right_send, NULL };

static const struct kos_setting setting_deadline = { .size = sizeof setting_deadline, .type = KOS_SETTING_DURATION, .name = "deadline",
    .summary = "deadline of a task sent without one", .fallback = "5m", .min = 1000, .max = INT64_C(2592000000) };
static const struct kos_setting setting_keep = { .size = sizeof setting_keep, .type = KOS_SETTING_DURATION, .name = "keep",
    .summary = "how long a task and its answer are kept after its deadline", .fallback = "7d", .min = 60000, .max = INT64_C(31536000000) };
static const struct kos_setting setting_output = { .size = sizeof setting_output, .type = KOS_SETTING_SIZE, .name = "output_max",
    .summary = "largest answer taken", .fallback = "64M", .min = 65536, .max = INT64_C(1) << 40 };
static const struct kos_setting setting_waiting = { .size = sizeof setting_waiting, .type = KOS_SETTING_INT, .name = "waiting_max",
    .summary = "tasks that may wait for one agent", .fallback = "256", .min = 1, .max = 100000 };
static const struct kos_setting *const settings[] = { &setting_deadline, &setting_keep, &setting_output, &setting_waiting, NULL };

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.task_request",
    .name = "task_request",
    .version = KOS_VERSION,
    .summary = "tasks that agents do for each other",
    .settings = settings,
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = fini,
    .completed = completed,
    .timer = timer_fired,
};
