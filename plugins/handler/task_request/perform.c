/* SPDX-License-Identifier: Apache-2.0
 *
 * Tasks asked of our agents: waiting -> starting (durable, so that a program runs at most once) -> running -> done. The
 * answer's parts, the result and the new state leave in transactions, so that they happen exactly once.
 */
#include "task.h"

enum { ANSWER_LIFE_MS = 86400000, EXPIRY_GRACE_MS = 60000 };

static struct in_task *in_find(struct tasks *tasks, const uint8_t key[2 * KLP_ID_LEN])
{
    struct in_task *task;
    HASH_FIND(hh, tasks->in, key, 2 * KLP_ID_LEN, task);
    return task;
}

static struct in_task *in_by_run(struct tasks *tasks, uint64_t run)
{
    struct in_task *task;
    HASH_FIND(run_hh, tasks->runs, &run, sizeof run, task);
    return task;
}

void perform_free(struct in_task *task)
{
    free(task->source);
    free(task);
}

static void in_drop(struct tasks *tasks, struct in_task *task)
{
    timer_drop(tasks, &task->timer);
    if (task->run)
        HASH_DELETE(run_hh, tasks->runs, task);
    HASH_DEL(tasks->in, task);
    perform_free(task);
}

static const uint8_t *task_id(const struct in_task *task)
{
    return task->key + KLP_ID_LEN;
}

static void answer(struct tasks *tasks, struct effect *effect, const struct in_task *task, const char *type, struct kos_bytes payload, const uint8_t id[KLP_ID_LEN])
{
    struct kos_draft draft = { .size = sizeof draft, .klass = 1, .type = type, .target = task->source, .payload = payload };
    int64_t left = task->deadline + EXPIRY_GRACE_MS - tasks->host->now_ms(tasks->host);
    draft.expires_in_ms = left > ANSWER_LIFE_MS ? left : ANSWER_LIFE_MS;
    if (draft.expires_in_ms > KLP_MESSAGE_LIFE_MAX_MS)
        draft.expires_in_ms = KLP_MESSAGE_LIFE_MAX_MS;
    memcpy(draft.id, id, sizeof draft.id);
    memcpy(draft.reply_to, task_id(task), sizeof draft.reply_to);
    memcpy(draft.from_agent, task->agent, sizeof draft.from_agent);
    memcpy(draft.target_id, task->key, sizeof draft.target_id);
    effect_send(effect, &draft);
}

static void answer_fresh(struct tasks *tasks, struct effect *effect, const struct in_task *task, const char *type, struct kos_bytes payload)
{
    uint8_t id[KLP_ID_LEN];
    tasks->host->random(tasks->host, id, sizeof id);
    answer(tasks, effect, task, type, payload, id);
}

static void record_put(struct effect *effect, const struct in_task *task)
{
    char key[KEY_MAX];
    uint8_t record[RECORD_MAX];
    size_t len = in_record(task, task->error, record, sizeof record);
    effect_put(effect, kos_bytes(key, in_key("i", task->key, key)), kos_bytes(record, len));
}

static void inputs_delete(struct effect *effect, const struct in_task *task)
{
    char key[KEY_MAX];
    effect_delete(effect, kos_bytes(key, in_key("n", task->key, key)));
}

static void put_task(struct klp_json_out *out, const struct in_task *task)
{
    char id[KLP_ID_TEXT];
    klp_id_text((const struct klp_id *)task_id(task), id);
    klp_json_name(out, "task");
    klp_json_put_cstr(out, id);
}

static struct kos_bytes accepted_payload(const struct in_task *task, uint8_t *buf, size_t cap)
{
    struct klp_json_out out;
    struct kos_bytes text = { 0 };
    klp_json_begin(&out, buf, cap);
    klp_json_object(&out);
    klp_json_name(&out, "kind");
    klp_json_put_cstr(&out, "accepted");
    put_task(&out, task);
    klp_json_close(&out, '}');
    klp_json_end(&out, &text);
    return text;
}

static struct kos_bytes error_payload(const struct in_task *task, int32_t error, const char *said, bool retry, uint8_t *buf, size_t cap)
{
    struct klp_json_out out;
    struct kos_bytes text = { 0 };
    bool cut;
    klp_json_begin(&out, buf, cap);
    klp_json_object(&out);
    klp_json_name(&out, "error");
    klp_json_put_cstr(&out, kos_error_name(error));
    klp_json_name(&out, "retry");
    klp_json_put_bool(&out, retry);
    put_task(&out, task);
    klp_json_name(&out, "text");
    klp_json_put_string(&out, kos_bytes(said, text_prefix((const uint8_t *)said, strlen(said), &cut)));
    klp_json_close(&out, '}');
    klp_json_end(&out, &text);
    return text;
}

static void next_start(struct tasks *tasks, const uint8_t agent[KLP_ID_LEN]);

static void finished(struct tasks *tasks, struct pending *what, int32_t status, struct kos_bytes result)
{
    struct in_task *task = in_find(tasks, what->id);
    if (!task)
        return;
    if (status == KOS_OK || task->unheard) {
        in_drop(tasks, task);
        return;
    }
    /* A policy that changed meanwhile keeps the answer here; that the task is over is stored all the same. */
    log_line(tasks, KOS_WARNING, "the result of a task is not told: %.*s", (int)result.len, result.len ? (const char *)result.data : "");
    struct effect *effect = effect_new(tasks);
    task->unheard = true;
    record_put(effect, task);
    inputs_delete(effect, task);
    effect_commit(effect, finished, task->key, sizeof task->key, 0);
}

/* The last word to the asker, and the record that it was said; with them the task goes. */
static void finish(struct tasks *tasks, struct in_task *task, struct effect *effect, int32_t error, struct kos_bytes payload)
{
    uint8_t agent[KLP_ID_LEN];
    memcpy(agent, task->agent, sizeof agent);
    timer_drop(tasks, &task->timer);
    task->state = IN_DONE;
    task->error = error;
    record_put(effect, task);
    inputs_delete(effect, task);
    answer_fresh(tasks, effect, task, "TASK_RESULT", payload);
    effect_commit(effect, finished, task->key, sizeof task->key, 0);
    next_start(tasks, agent);
}

static void finish_error(struct tasks *tasks, struct in_task *task, int32_t error, const char *text, bool retry)
{
    uint8_t buf[8 * TEXT_MAX];
    char said[TEXT_MAX];
    snprintf(said, sizeof said, "%s", text);
    finish(tasks, task, effect_new(tasks), error, error_payload(task, error, said, retry, buf, sizeof buf));
}

/* ---- starting ---- */

static void run_start(struct tasks *tasks, struct in_task *task, struct kos_bytes inputs)
{
    struct kos_run run = { .size = sizeof run, .source = task->source, .inputs = inputs, .deadline_ms = task->deadline, .output_credit_bytes = CREDIT };
    char id[KLP_ID_TEXT];
    klp_id_text((const struct klp_id *)task_id(task), id);
    memcpy(run.agent, task->agent, sizeof run.agent);
    memcpy(run.source_id, task->key, sizeof run.source_id);
    run.task = id;
    task->state = IN_RUNNING;
    task->run = next_id(tasks);
    HASH_ADD(run_hh, tasks->runs, run, sizeof task->run, task);
    tasks->agents->run(tasks->host, task->run, &run);
    if (task->cancelled)
        tasks->agents->cancel(tasks->host, task->run);
}

static void inputs_got(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    struct in_task *task = in_find(tasks, pending->id);
    if (!task || task->state != IN_STARTING)
        return;
    if (status < 0)
        finish_error(tasks, task, KOS_E_CORRUPT, "the inputs of the task are gone from this node's state", true);
    else
        run_start(tasks, task, result);
}

static void starting_stored(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    struct in_task *task = in_find(tasks, pending->id);
    char key[KEY_MAX];
    (void)result;
    if (!task || task->state != IN_STARTING)
        return;
    if (status < 0) {
        finish_error(tasks, task, status, "this node cannot store that it begins the task", true);
        return;
    }
    tasks->host->state_get(tasks->host, kos_bytes(key, in_key("n", task->key, key)), expect(tasks, inputs_got, task->key, sizeof task->key)->op);
}

static void start(struct tasks *tasks, struct in_task *task)
{
    struct effect *effect = effect_new(tasks);
    timer_drop(tasks, &task->timer);
    task->state = IN_STARTING;
    record_put(effect, task);
    effect_commit(effect, starting_stored, task->key, sizeof task->key, 0);
}

static bool at_work(const struct in_task *task)
{
    return task->state == IN_STARTING || task->state == IN_RUNNING;
}

/* What the agent has to do, and how much of it `source` asked. */
struct load {
    uint32_t running, waiting, waiting_source;
};

static struct load load_of(struct tasks *tasks, const uint8_t agent[KLP_ID_LEN], const uint8_t source[KLP_ID_LEN])
{
    struct in_task *task, *next;
    struct load load = { 0 };
    HASH_ITER(hh, tasks->in, task, next) {
        bool own = memcmp(task->key, source, KLP_ID_LEN) == 0;
        if (memcmp(task->agent, agent, KLP_ID_LEN) != 0)
            continue;
        load.running += at_work(task);
        load.waiting += task->state == IN_WAITING;
        load.waiting_source += own && task->state == IN_WAITING;
    }
    return load;
}

/* Who was served longest ago, or never since the plugin began: sources take turns, whatever they sent. */
static uint64_t served(struct tasks *tasks, const struct in_task *task)
{
    struct source *source;
    HASH_FIND(hh, tasks->sources, task->key, KLP_ID_LEN, source);
    return source ? source->served : 0;
}

static void serve(struct tasks *tasks, const struct in_task *task)
{
    struct source *source;
    HASH_FIND(hh, tasks->sources, task->key, KLP_ID_LEN, source);
    if (source)
        HASH_DEL(tasks->sources, source); /* to the young end */
    else if (HASH_COUNT(tasks->sources) >= SOURCES_MAX) {
        source = tasks->sources; /* whose last turn is the longest ago */
        HASH_DEL(tasks->sources, source);
    } else if (!(source = malloc(sizeof *source))) {
        abort();
    }
    *source = (struct source){ .served = ++tasks->turns };
    memcpy(source->id, task->key, KLP_ID_LEN);
    HASH_ADD(hh, tasks->sources, id, KLP_ID_LEN, source);
}

void sources_free(struct tasks *tasks)
{
    struct source *source, *next;
    HASH_ITER(hh, tasks->sources, source, next) {
        HASH_DEL(tasks->sources, source);
        free(source);
    }
}

/* Of the source whose turn it is, the oldest. NULL: none waits. */
static struct in_task *next_of(struct tasks *tasks, const uint8_t agent[KLP_ID_LEN])
{
    struct in_task *task, *next, *best = NULL;
    uint64_t best_served = 0;
    HASH_ITER(hh, tasks->in, task, next) {
        if (task->state != IN_WAITING || memcmp(task->agent, agent, KLP_ID_LEN) != 0)
            continue;
        uint64_t turn = served(tasks, task);
        if (best && (turn > best_served || (turn == best_served && task->created >= best->created)))
            continue;
        best = task;
        best_served = turn;
    }
    return best;
}

static void waited_too_long(struct tasks *tasks, struct timer *timer)
{
    struct in_task *task = in_find(tasks, timer->key);
    if (!task)
        return;
    task->timer = 0;
    finish_error(tasks, task, KOS_E_TIMEOUT, "the deadline passed while other tasks of the agent were running", true);
}

/* Begins what waits for this agent, of each source in turn, while it has room. */
static void next_start(struct tasks *tasks, const uint8_t agent[KLP_ID_LEN])
{
    const struct kos_agent_info *info = tasks->agents->by_id(tasks->host, agent);
    uint32_t room = info ? info->concurrency : 1, running = load_of(tasks, agent, agent).running;
    if (tasks->stopping || tasks->loading)
        return;
    while (running < room) {
        struct in_task *task = next_of(tasks, agent);
        if (!task)
            return;
        serve(tasks, task);
        start(tasks, task);
        running++;
    }
}

static void accepted(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    struct in_task *task = in_find(tasks, pending->id);
    if (!task || task->state != IN_WAITING)
        return;
    if (status < 0) {
        char text[TEXT_MAX];
        struct effect *effect = effect_new(tasks);
        snprintf(text, sizeof text, "%.*s", (int)result.len, result.len ? (const char *)result.data : "");
        log_line(tasks, KOS_WARNING, "a task cannot be accepted: %s", text);
        effect_verdict(effect, pending->number, KOS_REJECT, status, "this node could not answer", 0);
        effect_commit(effect, NULL, NULL, 0, 0);
        in_drop(tasks, task);
        return;
    }
    int64_t left = task->deadline - tasks->host->now_ms(tasks->host);
    task->timer = timer_after(tasks, left > 0 ? (uint64_t)left : 0, waited_too_long, task->key, sizeof task->key);
    next_start(tasks, task->agent);
}

static bool inputs_valid(struct klp_json inputs)
{
    struct klp_json_iter iter;
    struct klp_json one;
    if (inputs.type != KLP_JSON_ARRAY)
        return false;
    klp_json_iter_init(inputs, &iter);
    while (klp_json_next(&iter, NULL, &one)) {
        struct kos_bytes plain;
        if (one.type == KLP_JSON_STRING)
            continue;
        if (one.type != KLP_JSON_OBJECT || klp_json_count(one) != 1 || klp_json_plain(klp_json_get(one, "base64"), &plain) < 0)
            return false;
    }
    return true;
}

static void refused(struct tasks *tasks, struct pending *what, int32_t status, struct kos_bytes result)
{
    (void)result;
    if (status < 0)
        settle(tasks, what->number); /* the asker may not be told */
}

/* Refused in the answer, not by the receipt: the asker's task ends with our signed word. */
static void refuse(struct tasks *tasks, uint64_t message, struct in_task *task, int32_t error, bool retry, const char *text)
{
    uint8_t buf[8 * TEXT_MAX];
    struct effect *effect = effect_new(tasks);
    answer_fresh(tasks, effect, task, "TASK_RESULT", error_payload(task, error, text, retry, buf, sizeof buf));
    effect_verdict(effect, message, KOS_ACCEPT, 0, NULL, 0);
    effect_commit(effect, refused, NULL, 0, message);
    perform_free(task);
}

static void accept(struct tasks *tasks, uint64_t message, struct in_task *task, struct klp_json inputs)
{
    char key[KEY_MAX];
    uint8_t buf[256];
    struct effect *effect = effect_new(tasks);
    task->state = IN_WAITING;
    HASH_ADD(hh, tasks->in, key, sizeof task->key, task);
    record_put(effect, task);
    effect_put(effect, kos_bytes(key, in_key("n", task->key, key)), inputs.text);
    answer_fresh(tasks, effect, task, "TASK_PROGRESS", accepted_payload(task, buf, sizeof buf));
    effect_verdict(effect, message, KOS_ACCEPT, 0, NULL, 0);
    effect_commit(effect, accepted, task->key, sizeof task->key, message);
}

/* A source may have as many wait as there are places left, and no more: there is always one for who comes next. */
static bool full(struct tasks *tasks, const struct in_task *task, const struct kos_agent_info *info, char text[TEXT_MAX])
{
    struct load load = load_of(tasks, task->agent, task->key);
    uint32_t max = (uint32_t)tasks->waiting_max, left = load.waiting < max ? max - load.waiting : 0;
    snprintf(text, TEXT_MAX, "%u tasks wait for the agent %s already, %u of them yours", load.waiting, info->name, load.waiting_source);
    return left == 0 || (load.waiting_source && load.waiting_source >= left);
}

static void request_judge(struct tasks *tasks, uint64_t message, const struct kos_message *m, struct in_task *task)
{
    static const uint8_t none[KLP_ID_LEN];
    const struct kos_agent_info *info = memcmp(m->agent, none, sizeof none) ? tasks->agents->by_id(tasks->host, m->agent) : NULL;
    struct klp_json payload, inputs = { 0 };
    char text[TEXT_MAX];

    if (klp_json_read(m->payload, KLP_MESSAGE_MAX, &payload, NULL) == KOS_OK)
        inputs = klp_json_get(payload, "inputs");
    if (!info) {
        refuse(tasks, message, task, KOS_E_NOTFOUND, false, "there is no such agent on that node");
    } else if (!inputs_valid(inputs) || klp_json_int(klp_json_get(payload, "deadline"), &task->deadline) < 0) {
        refuse(tasks, message, task, KOS_E_PROTOCOL, false, "the payload of a TASK_REQUEST holds \"deadline\" and \"inputs\", a list of strings and {\"base64\":...}");
    } else if (m->trust < info->trust_required) {
        snprintf(text, sizeof text, "the agent %s asks for a trust score of %g", info->name, info->trust_required);
        refuse(tasks, message, task, KOS_E_TRUST, false, text);
    } else if (task->deadline <= tasks->host->now_ms(tasks->host)) {
        refuse(tasks, message, task, KOS_E_TIMEOUT, true, "the deadline had passed when the task arrived");
    } else if (full(tasks, task, info, text)) {
        refuse(tasks, message, task, KOS_E_BUSY, true, text);
    } else {
        accept(tasks, message, task, inputs);
    }
}

void perform_request(struct tasks *tasks, uint64_t message, const struct kos_message *m)
{
    struct in_task *task = calloc(1, sizeof *task);
    if (!task)
        abort();
    memcpy(task->key, m->source_id, KLP_ID_LEN);
    memcpy(task->key + KLP_ID_LEN, m->id, KLP_ID_LEN);
    if (in_find(tasks, task->key)) {
        free(task);
        settle(tasks, message);
        return;
    }
    memcpy(task->agent, m->agent, sizeof task->agent);
    task->source = strdup(m->source);
    if (!task->source)
        abort();
    task->created = tasks->host->now_ms(tasks->host);
    task->deadline = m->expires_ms;
    crypto_hash_sha256_init(&task->digest);
    request_judge(tasks, message, m, task);
}

void perform_cancel(struct tasks *tasks, uint64_t message, const struct kos_message *m)
{
    uint8_t key[2 * KLP_ID_LEN];
    struct klp_json payload;
    struct kos_bytes id;
    struct in_task *task = NULL;
    memcpy(key, m->source_id, KLP_ID_LEN);
    if (klp_json_read(m->payload, KLP_MESSAGE_MAX, &payload, NULL) == KOS_OK && klp_json_plain(klp_json_get(payload, "task"), &id) == KOS_OK &&
        klp_id_parse(id, (struct klp_id *)(key + KLP_ID_LEN)) == KOS_OK)
        task = in_find(tasks, key);
    settle(tasks, message);
    if (!task || task->cancelled)
        return;
    task->cancelled = true;
    if (task->state == IN_RUNNING)
        tasks->agents->cancel(tasks->host, task->run);
    else if (task->state == IN_WAITING)
        finish_error(tasks, task, KOS_E_CANCELLED, "it was cancelled before it began", false);
}

/* ---- answering ---- */

static void part_send(struct tasks *tasks, struct effect *effect, struct in_task *task, size_t len)
{
    size_t cap = 6 * len + 512;
    uint8_t *buf = malloc(cap);
    bool cut, text = text_prefix(task->buffer, len, &cut) == len;
    struct klp_json_out out;
    struct kos_bytes payload;
    struct sent_part *part = calloc(1, sizeof *part);
    if (!buf || !part)
        abort();
    klp_json_begin(&out, buf, cap);
    klp_json_object(&out);
    put_bytes_early(&out, kos_bytes(task->buffer, len), text);
    klp_json_name(&out, "kind");
    klp_json_put_cstr(&out, "part");
    klp_json_name(&out, "offset");
    klp_json_put_int(&out, (int64_t)task->bytes);
    klp_json_name(&out, "seq");
    klp_json_put_int(&out, task->parts);
    put_task(&out, task);
    put_bytes_late(&out, kos_bytes(task->buffer, len), text);
    klp_json_close(&out, '}');
    klp_json_end(&out, &payload);
    tasks->host->random(tasks->host, part->id, sizeof part->id);
    memcpy(part->key, task->key, sizeof part->key);
    part->bytes = len;
    HASH_ADD(hh, tasks->sent, id, sizeof part->id, part);
    answer(tasks, effect, task, "TASK_PROGRESS", payload, part->id);
    free(buf);
    crypto_hash_sha256_update(&task->digest, task->buffer, len);
    task->parts++;
    task->bytes += len;
    memmove(task->buffer, task->buffer + len, task->buffered - len);
    task->buffered -= len;
}

/* Sends what is buffered; without `all` a character that is not whole yet waits for its rest. */
static void buffer_send(struct tasks *tasks, struct effect *effect, struct in_task *task, bool all)
{
    while (task->buffered) {
        bool cut;
        size_t whole = text_prefix(task->buffer, task->buffered, &cut);
        if (cut && whole == 0 && !all)
            return;
        part_send(tasks, effect, task, cut && whole ? whole : task->buffered);
    }
}

static void progress_send(struct tasks *tasks, struct in_task *task, struct kos_bytes progress)
{
    size_t cap = progress.len + 256;
    uint8_t *buf = malloc(cap);
    struct klp_json_out out;
    struct kos_bytes payload;
    if (!buf)
        abort();
    klp_json_begin(&out, buf, cap);
    klp_json_object(&out);
    klp_json_name(&out, "kind");
    klp_json_put_cstr(&out, "progress");
    klp_json_name(&out, "progress");
    klp_json_put_raw(&out, progress);
    put_task(&out, task);
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &payload) == KOS_OK) {
        struct effect *effect = effect_new(tasks);
        answer_fresh(tasks, effect, task, "TASK_PROGRESS", payload);
        effect_commit(effect, NULL, task->key, sizeof task->key, 0);
    }
    free(buf);
}

/* A part that may not leave would make a hole: end the run. */
static void part_stored(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    struct in_task *task = in_find(tasks, pending->id);
    if (status < 0 && task && task->run) {
        log_line(tasks, KOS_WARNING, "a part of an answer may not leave, the task is ended: %.*s", (int)result.len, result.len ? (const char *)result.data : "");
        tasks->agents->cancel(tasks->host, task->run);
    }
}

void perform_output(struct tasks *tasks, uint64_t run, int32_t kind, struct kos_bytes bytes)
{
    struct in_task *task = in_by_run(tasks, run);
    if (!task || task->state != IN_RUNNING)
        return;
    if (kind == KOS_OUTPUT_PROGRESS) {
        progress_send(tasks, task, bytes);
        return;
    }
    while (bytes.len) {
        size_t n = bytes.len < PART_MAX - task->buffered ? bytes.len : PART_MAX - task->buffered;
        memcpy(task->buffer + task->buffered, bytes.data, n);
        task->buffered += n;
        bytes = kos_bytes(bytes.data + n, bytes.len - n);
        struct effect *effect = effect_new(tasks);
        buffer_send(tasks, effect, task, false);
        effect_commit(effect, part_stored, task->key, sizeof task->key, 0);
    }
}

static struct kos_bytes result_payload(struct in_task *task, struct kos_bytes result, const uint8_t audit[32], uint8_t *buf, size_t cap)
{
    struct klp_json_out out;
    struct kos_bytes text = { 0 };
    uint8_t digest[32];
    char hex[65];
    crypto_hash_sha256_final(&task->digest, digest);
    klp_json_begin(&out, buf, cap);
    klp_json_object(&out);
    klp_hex(kos_bytes(audit, 32), hex);
    klp_json_name(&out, "audit");
    klp_json_put_cstr(&out, hex);
    klp_json_name(&out, "bytes");
    klp_json_put_int(&out, (int64_t)task->bytes);
    klp_hex(kos_bytes(digest, sizeof digest), hex);
    klp_json_name(&out, "digest");
    klp_json_put_cstr(&out, hex);
    klp_json_name(&out, "parts");
    klp_json_put_int(&out, task->parts);
    klp_json_name(&out, "result");
    klp_json_put_raw(&out, result.len ? result : kos_bytes_str("{}"));
    put_task(&out, task);
    klp_json_close(&out, '}');
    klp_json_end(&out, &text);
    return text;
}

void perform_ended(struct tasks *tasks, uint64_t run, int32_t status, struct kos_bytes result, const char *text, int32_t retry, const uint8_t audit[32])
{
    struct in_task *task = in_by_run(tasks, run);
    static const uint8_t none[32];
    if (!task)
        return;
    HASH_DELETE(run_hh, tasks->runs, task);
    task->run = 0;
    if (tasks->stopping && status == KOS_E_INTERRUPTED)
        return; /* still "starting" on disk: the next start says that it was interrupted */
    struct effect *effect = effect_new(tasks);
    buffer_send(tasks, effect, task, true);
    if (status < 0) {
        uint8_t buf[8 * TEXT_MAX];
        char said[TEXT_MAX];
        snprintf(said, sizeof said, "%s", text && *text ? text : kos_error_text(status));
        finish(tasks, task, effect, status, error_payload(task, status, said, retry != 0, buf, sizeof buf));
        return;
    }
    size_t cap = result.len + 1024;
    uint8_t *buf = malloc(cap);
    if (!buf)
        abort();
    finish(tasks, task, effect, KOS_OK, result_payload(task, result, audit ? audit : none, buf, cap));
    free(buf);
}

void perform_outcome(struct tasks *tasks, const uint8_t id[KLP_ID_LEN], int32_t status)
{
    struct sent_part *part;
    HASH_FIND(hh, tasks->sent, id, KLP_ID_LEN, part);
    if (!part)
        return;
    struct in_task *task = in_find(tasks, part->key);
    if (task && task->run && status == KOS_OK)
        tasks->agents->credit(tasks->host, task->run, part->bytes);
    else if (task && task->run)
        tasks->agents->cancel(tasks->host, task->run); /* nobody is there to read the rest */
    HASH_DEL(tasks->sent, part);
    free(part);
}

/* ---- after a restart ---- */

void perform_load(struct tasks *tasks, const uint8_t key[2 * KLP_ID_LEN], struct kos_bytes record)
{
    struct in_task *task = in_read(key, record);
    if (!task || task->state == IN_DONE || in_find(tasks, key)) {
        if (task)
            perform_free(task);
        return;
    }
    HASH_ADD(hh, tasks->in, key, sizeof task->key, task);
}

void perform_loaded(struct tasks *tasks)
{
    struct in_task *task, *next;
    if (tasks->loading)
        return;
    HASH_ITER(hh, tasks->in, task, next)
        if (task->state == IN_STARTING || (task->state == IN_RUNNING && !task->run))
            finish_error(tasks, task, KOS_E_INTERRUPTED, "the node was restarted while the agent ran; whether it took effect is not known", false);
    HASH_ITER(hh, tasks->in, task, next) {
        if (task->state != IN_WAITING || task->timer)
            continue;
        int64_t left = task->deadline - tasks->host->now_ms(tasks->host);
        task->timer = timer_after(tasks, left > 0 ? (uint64_t)left : 0, waited_too_long, task->key, sizeof task->key);
    }
    HASH_ITER(hh, tasks->in, task, next)
        if (task->state == IN_WAITING) {
            next_start(tasks, task->agent);
        }
}
