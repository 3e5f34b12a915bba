/* SPDX-License-Identifier: Apache-2.0
 *
 * Tasks we asked of others. Each answer is durable before it is shown; parts may overtake each other and are put in order
 * by their number; whoever follows reads them from the state, so following live, again after a disconnect, or after the
 * end is one way.
 */
#include "task.h"

enum { GRACE_MS = 3000 };  /* the performer's own deadline comes first, and its answer is on the way */

static struct out_task *out_find(struct tasks *tasks, const uint8_t id[KLP_ID_LEN])
{
    struct out_task *task;
    HASH_FIND(hh, tasks->out, id, KLP_ID_LEN, task);
    return task;
}

/* All parts are here and the last word is known. */
static bool over(const struct out_task *task)
{
    return task->state == OUT_FAILED || task->state == OUT_DONE;
}

void ask_release(struct tasks *tasks, struct out_task *task)
{
    if (!over(task) || task->followers)
        return;
    timer_drop(tasks, &task->timer);
    HASH_DEL(tasks->out, task);
    out_free(task);
}

/* malloc'ed. */
static struct kos_bytes record_made(const struct out_task *task)
{
    size_t cap = RECORD_MAX + 6 * TEXT_MAX + 6 * strlen(task->target) + (task->result ? strlen(task->result) : 0) + (task->evidence ? strlen(task->evidence) : 0);
    uint8_t *record = malloc(cap);
    if (!record)
        abort();
    return kos_bytes(record, out_record(task, record, cap));
}

static void record_put(struct effect *effect, const struct out_task *task)
{
    char key[KEY_MAX];
    struct kos_bytes record = record_made(task);
    effect_put(effect, kos_bytes(key, out_key(task->id, key)), record);
    free((void *)record.data);
}

/* ---- followers ---- */

static void follower_event(struct tasks *tasks, struct follower *follower, const char *event, const struct out_task *task, bool continues)
{
    uint8_t buf[1024];
    char id[KLP_ID_TEXT];
    struct klp_json_out out;
    struct kos_bytes text;
    klp_id_text((const struct klp_id *)task->id, id);
    klp_json_begin(&out, buf, sizeof buf);
    klp_json_object(&out);
    klp_json_name(&out, "event");
    klp_json_put_cstr(&out, event);
    klp_json_name(&out, "task");
    klp_json_put_cstr(&out, id);
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &text) == KOS_OK)
        tasks->control->reply(tasks->host, follower->call, KOS_OK, text, NULL, continues);
}

static void follower_drop(struct tasks *tasks, struct out_task *task, struct follower *follower)
{
    (void)tasks;
    DL_DELETE2(task->followers, follower, prev, nextf);
    free(follower);
}

static void follower_end(struct tasks *tasks, struct out_task *task, struct follower *follower)
{
    uint8_t *buf;
    size_t cap = 4096 + (task->result ? strlen(task->result) : 0) + (task->evidence ? strlen(task->evidence) : 0);
    char id[KLP_ID_TEXT];
    struct klp_json_out out;
    struct kos_bytes text;

    if (task->error) {
        control_fail(tasks, follower->call, task->error, "%s", task->text[0] ? task->text : kos_error_text(task->error));
        follower_drop(tasks, task, follower);
        return;
    }
    buf = malloc(cap);
    if (!buf)
        abort();
    klp_id_text((const struct klp_id *)task->id, id);
    klp_json_begin(&out, buf, cap);
    klp_json_object(&out);
    klp_json_name(&out, "bytes");
    klp_json_put_int(&out, (int64_t)task->bytes);
    klp_json_name(&out, "event");
    klp_json_put_cstr(&out, "result");
    if (task->evidence) {
        klp_json_name(&out, "evidence");
        klp_json_put_raw(&out, kos_bytes_str(task->evidence));
    }
    klp_json_name(&out, "result");
    klp_json_put_raw(&out, kos_bytes_str(task->result ? task->result : "{}"));
    klp_json_name(&out, "task");
    klp_json_put_cstr(&out, id);
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &text) == KOS_OK)
        tasks->control->reply(tasks->host, follower->call, KOS_OK, text, NULL, 0);
    free(buf);
    follower_drop(tasks, task, follower);
}

static void follower_part(struct tasks *tasks, struct follower *follower, const struct out_task *task, struct kos_bytes data)
{
    uint64_t begin = follower->offset;
    follower->offset += data.len;
    if (follower->offset <= follower->from)
        return;
    if (begin < follower->from) {
        size_t skip = (size_t)(follower->from - begin);
        data = kos_bytes(data.data + skip, data.len - skip);
        begin = follower->from;
    }
    bool cut, text = text_prefix(data.data, data.len, &cut) == data.len;
    size_t cap = 6 * data.len + 1024;
    uint8_t *buf = malloc(cap);
    char id[KLP_ID_TEXT];
    struct klp_json_out out;
    struct kos_bytes json;
    if (!buf)
        abort();
    klp_id_text((const struct klp_id *)task->id, id);
    klp_json_begin(&out, buf, cap);
    klp_json_object(&out);
    put_bytes_early(&out, data, text);
    klp_json_name(&out, "event");
    klp_json_put_cstr(&out, "part");
    klp_json_name(&out, "offset");
    klp_json_put_int(&out, (int64_t)begin);
    klp_json_name(&out, "task");
    klp_json_put_cstr(&out, id);
    put_bytes_late(&out, data, text);
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &json) == KOS_OK)
        tasks->control->reply(tasks->host, follower->call, KOS_OK, json, NULL, 1);
    free(buf);
}

static void follower_step(struct tasks *tasks, struct out_task *task, struct follower *follower);

static void part_got(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    struct out_task *task = out_find(tasks, pending->id);
    struct follower *follower = NULL;
    if (task)
        DL_SEARCH_SCALAR2(task->followers, follower, call, pending->number, nextf);
    if (!follower)
        return;
    follower->reading = false;
    if (follower->gone) {
        follower_drop(tasks, task, follower);
        ask_release(tasks, task);
        return;
    }
    if (status < 0) {
        control_fail(tasks, follower->call, status, "part %u of the answer cannot be read: %s", follower->next, kos_error_text(status));
        follower_drop(tasks, task, follower);
        ask_release(tasks, task);
        return;
    }
    follower->next++;
    follower_part(tasks, follower, task, result);
    follower_step(tasks, task, follower);
}

/* Tells what is new; ends it when all is told. May free follower and task. */
static void follower_step(struct tasks *tasks, struct out_task *task, struct follower *follower)
{
    if (follower->reading)
        return;
    for (; follower->told < task->state && follower->told < OUT_ACCEPTED; follower->told++)
        if (!task->error)
            follower_event(tasks, follower, out_state_name(follower->told + 1), task, true);
    if (follower->next < task->parts) {
        char key[KEY_MAX];
        struct pending *pending = expect(tasks, part_got, task->id, KLP_ID_LEN);
        pending->number = follower->call;
        follower->reading = true;
        tasks->host->state_get(tasks->host, kos_bytes(key, part_key(task->id, follower->next, key)), pending->op);
    } else if (over(task)) {
        follower_end(tasks, task, follower);
        ask_release(tasks, task);
    }
}

static void followers_step(struct tasks *tasks, struct out_task *task)
{
    struct follower *follower, *next;
    uint8_t id[KLP_ID_LEN];
    memcpy(id, task->id, sizeof id);
    DL_FOREACH_SAFE2(task->followers, follower, next, nextf) {
        follower_step(tasks, task, follower);
        if (!out_find(tasks, id))
            return;
    }
}

void ask_follow(struct tasks *tasks, struct out_task *task, uint64_t call, uint64_t from)
{
    struct follower *follower = calloc(1, sizeof *follower);
    if (!follower)
        abort();
    follower->call = call;
    follower->from = from;
    DL_APPEND2(task->followers, follower, prev, nextf);
    follower_step(tasks, task, follower);
}

void ask_unfollow(struct tasks *tasks, uint64_t call)
{
    struct out_task *task, *next;
    HASH_ITER(hh, tasks->out, task, next) {
        struct follower *follower = NULL;
        DL_SEARCH_SCALAR2(task->followers, follower, call, call, nextf);
        if (!follower)
            continue;
        if (follower->reading) {
            follower->gone = true;
        } else {
            follower_drop(tasks, task, follower);
            ask_release(tasks, task);
        }
        return;
    }
}

/* ---- the life of a task ---- */

/* An effect of its own: that a policy keeps it here does not undo the end of the task. */
static void cancel_send(struct tasks *tasks, const struct out_task *task)
{
    struct effect *effect = effect_new(tasks);
    char id[KLP_ID_TEXT];
    char payload[64];
    struct kos_draft draft = { .size = sizeof draft, .klass = 1, .type = "TASK_CANCEL", .target = task->target, .expires_in_ms = 600000 };
    klp_id_text((const struct klp_id *)task->id, id);
    int n = snprintf(payload, sizeof payload, "{\"task\":\"%s\"}", id);
    draft.payload = kos_bytes(payload, (size_t)n);
    tasks->host->random(tasks->host, draft.id, sizeof draft.id);
    memcpy(draft.reply_to, task->id, sizeof draft.reply_to);
    effect_send(effect, &draft);
    effect_commit(effect, NULL, task->id, KLP_ID_LEN, 0);
}

static void stored(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    struct out_task *task = out_find(tasks, pending->id);
    (void)result;
    if (status < 0)
        log_line(tasks, KOS_ERROR, "what is new of a task could not be stored: %s", kos_error_text(status));
    if (task)
        followers_step(tasks, task);
}

/* Ends a task with an error of ours, or one that came; `message` 0 or to be settled with it. */
static void fail(struct tasks *tasks, struct out_task *task, uint64_t message, int32_t error, bool retry, bool cancel, const char *text)
{
    struct effect *effect = effect_new(tasks);
    task->state = OUT_FAILED;
    task->ended = true;
    task->error = error;
    task->retry = retry;
    snprintf(task->text, sizeof task->text, "%s", text);
    timer_drop(tasks, &task->timer);
    record_put(effect, task);
    if (message)
        effect_verdict(effect, message, KOS_ACCEPT, 0, NULL, 0);
    effect_commit(effect, stored, task->id, KLP_ID_LEN, 0);
    if (cancel)
        cancel_send(tasks, task);
}

static void deadline_passed(struct tasks *tasks, struct timer *timer)
{
    struct out_task *task = out_find(tasks, timer->key);
    if (!task)
        return;
    task->timer = 0;
    fail(tasks, task, 0, KOS_E_TIMEOUT, true, true, task->state >= OUT_ACCEPTED ? "the agent did not finish before the deadline" :
         task->state == OUT_DELIVERED ? "the node has the task but did not begin it before the deadline" : "the task did not reach its node before the deadline");
}

static void deadline_arm(struct tasks *tasks, struct out_task *task)
{
    int64_t left = task->deadline + GRACE_MS - tasks->host->now_ms(tasks->host);
    task->timer = timer_after(tasks, left > 0 ? (uint64_t)left : 0, deadline_passed, task->id, KLP_ID_LEN);
}

static void sent(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    struct out_task *task = out_find(tasks, pending->id);
    if (!task)
        return;
    if (status == KOS_OK) {
        deadline_arm(tasks, task);
        if (pending->number)
            ask_follow(tasks, task, pending->number, 0);
        return;
    }
    control_fail(tasks, (uint64_t)(uintptr_t)pending->what, status, "%.*s", result.len ? (int)result.len : (int)strlen(kos_error_text(status)),
                 result.len ? (const char *)result.data : kos_error_text(status));
    task->state = OUT_FAILED;
    ask_release(tasks, task);
}

static void sent_and_answer(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    struct out_task *task = out_find(tasks, pending->id);
    uint64_t call = (uint64_t)(uintptr_t)pending->what;
    bool ok = status == KOS_OK && task;
    sent(tasks, pending, status, result);
    if (ok) {
        struct follower once = { .call = call };
        follower_event(tasks, &once, "sent", task, false);
    }
}

static struct kos_bytes request_payload(const struct out_task *task, struct klp_json inputs, uint8_t **ret_data)
{
    size_t cap = inputs.text.len + 256;
    struct klp_json_out out;
    struct kos_bytes text = { 0 };
    *ret_data = malloc(cap);
    if (!*ret_data)
        abort();
    klp_json_begin(&out, *ret_data, cap);
    klp_json_object(&out);
    klp_json_name(&out, "deadline");
    klp_json_put_int(&out, task->deadline);
    klp_json_name(&out, "inputs");
    klp_json_put_raw(&out, inputs.text);
    klp_json_close(&out, '}');
    klp_json_end(&out, &text);
    return text;
}

void ask_send(struct tasks *tasks, uint64_t call, struct klp_json parameters, bool more)
{
    struct klp_json inputs = klp_json_get(parameters, "inputs"), trust = klp_json_get(parameters, "trust");
    struct kos_draft draft = { .size = sizeof draft, .klass = 1, .type = "TASK_REQUEST" };
    struct out_task *task = calloc(1, sizeof *task);
    int64_t span = tasks->deadline_ms;
    bool detach = false;
    uint8_t *data;

    if (!task)
        abort();
    klp_json_int(klp_json_get(parameters, "deadline_ms"), &span);
    klp_json_bool(klp_json_get(parameters, "detach"), &detach);
    klp_json_double(trust, &draft.trust_required);
    task->target = calloc(1, 600);
    if (!task->target || klp_json_string(klp_json_get(parameters, "target"), task->target, 600, NULL) < 0 || inputs.type != KLP_JSON_ARRAY || span < 1) {
        control_fail(tasks, call, KOS_E_INVALID, "target, inputs and a deadline of at least 1 ms are needed");
        out_free(task);
        return;
    }
    if (span > 30 * INT64_C(86400000)) {
        control_fail(tasks, call, KOS_E_LIMIT, "a deadline lies at most 30 days ahead");
        out_free(task);
        return;
    }
    tasks->host->random(tasks->host, task->id, sizeof task->id);
    task->created = tasks->host->now_ms(tasks->host);
    task->deadline = task->created + span;
    task->state = OUT_SENT;
    HASH_ADD(hh, tasks->out, id, KLP_ID_LEN, task);

    memcpy(draft.id, task->id, sizeof draft.id);
    draft.target = task->target;
    draft.expires_in_ms = span;
    draft.payload = request_payload(task, inputs, &data);
    uint64_t tx = next_id(tasks);
    bool follow = more && !detach;
    struct pending *pending = expect(tasks, follow ? sent : sent_and_answer, task->id, KLP_ID_LEN);
    pending->number = follow ? call : 0;
    pending->what = (void *)(uintptr_t)call;
    struct kos_bytes record = record_made(task);
    char key[KEY_MAX];
    /* Refused at once when the store takes nothing: whoever asks is there to hear it. */
    tasks->host->tx_begin(tasks->host, tx);
    tasks->host->tx_put(tasks->host, tx, kos_bytes(key, out_key(task->id, key)), record);
    tasks->host->tx_send(tasks->host, tx, &draft);
    tasks->host->tx_commit(tasks->host, tx, pending->op);
    free((void *)record.data);
    free(data);
}

static void cancelled(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    struct out_task *task = out_find(tasks, pending->id);
    uint64_t call = pending->number;
    (void)result;
    if (status < 0) {
        control_fail(tasks, call, status, "the cancellation could not be stored: %s", kos_error_text(status));
    } else {
        char id[KLP_ID_TEXT], json[96];
        klp_id_text((const struct klp_id *)pending->id, id);
        int n = snprintf(json, sizeof json, "{\"state\":\"cancelled\",\"task\":\"%s\"}", id);
        tasks->control->reply(tasks->host, call, KOS_OK, kos_bytes(json, (size_t)n), NULL, 0);
    }
    if (task)
        followers_step(tasks, task);
}

void ask_cancel(struct tasks *tasks, uint64_t call, const uint8_t id[KLP_ID_LEN], struct kos_bytes record)
{
    struct out_task *task = out_find(tasks, id);
    if (!task || over(task)) {
        struct out_task *old = task ? NULL : out_read(id, record);
        const struct out_task *known = task ? task : old;
        control_fail(tasks, call, KOS_E_STATE, "the task is over already: %s", known && known->error ? kos_error_name(known->error) : "done");
        if (old)
            out_free(old);
        return;
    }
    struct effect *effect = effect_new(tasks);
    task->state = OUT_FAILED;
    task->ended = true;
    task->error = KOS_E_CANCELLED;
    snprintf(task->text, sizeof task->text, "it was cancelled here");
    timer_drop(tasks, &task->timer);
    record_put(effect, task);
    effect_commit(effect, cancelled, task->id, KLP_ID_LEN, call);
    cancel_send(tasks, task);
}

void ask_outcome(struct tasks *tasks, uint64_t message, const struct kos_outcome *o, struct out_task *task)
{
    if (o->status == KOS_E_EXPIRED) {
        /* The message lives as long as the task's deadline: whoever asked knows of the deadline only. */
        fail(tasks, task, message, KOS_E_TIMEOUT, true, false, "the task did not reach its node before the deadline");
        return;
    }
    if (o->status != KOS_OK) {
        fail(tasks, task, message, o->status, kos_error_retry(o->status), false, o->text && *o->text ? o->text : kos_error_text(o->status));
        return;
    }
    struct effect *effect = effect_new(tasks);
    if (task->state == OUT_SENT)
        task->state = OUT_DELIVERED;
    record_put(effect, task);
    effect_verdict(effect, message, KOS_ACCEPT, 0, NULL, 0);
    effect_commit(effect, stored, task->id, KLP_ID_LEN, 0);
}

/* ---- answers ---- */

static bool early_has(const struct out_task *task, uint32_t seq)
{
    const struct early *early;
    LL_FOREACH(task->early, early)
        if (early->seq == seq)
            return true;
    return false;
}

static void early_add(struct out_task *task, uint32_t seq, uint64_t len)
{
    struct early *early = calloc(1, sizeof *early);
    if (!early)
        abort();
    early->seq = seq;
    early->len = len;
    LL_PREPEND(task->early, early);
}

/* Moves on over all parts that are there in order. */
static void parts_join(struct out_task *task)
{
    struct early *early, *next;
    bool moved = true;
    while (moved) {
        moved = false;
        LL_FOREACH_SAFE(task->early, early, next)
            if (early->seq == task->parts) {
                task->parts++;
                task->bytes += early->len;
                LL_DELETE(task->early, early);
                free(early);
                moved = true;
            }
    }
    if (task->ended && !task->error && task->parts >= task->parts_total)
        task->state = OUT_DONE;
}

static void part_take(struct tasks *tasks, uint64_t message, struct out_task *task, struct klp_json payload)
{
    uint64_t seq = UINT64_MAX;
    uint8_t *data = NULL;
    char key[KEY_MAX];
    size_t len = 0;
    if (klp_json_uint(klp_json_get(payload, "seq"), &seq) < 0 || seq >= UINT32_MAX || get_bytes(payload, &data, &len) < 0 || len > 2 * PART_MAX) {
        free(data);
        fail(tasks, task, message, KOS_E_PROTOCOL, false, true, "the agent's node sent a part that is malformed");
        return;
    }
    if (task->bytes + len > (uint64_t)tasks->output_max) {
        char text[TEXT_MAX];
        snprintf(text, sizeof text, "the answer exceeds %lld bytes, the setting output_max of the plugin task_request", (long long)tasks->output_max);
        free(data);
        fail(tasks, task, message, KOS_E_LIMIT, false, true, text);
        return;
    }
    if (seq < task->parts || early_has(task, (uint32_t)seq) || over(task)) {
        free(data);
        settle(tasks, message);
        return;
    }
    early_add(task, (uint32_t)seq, len);
    parts_join(task);
    if (task->state < OUT_ACCEPTED)
        task->state = OUT_ACCEPTED;
    struct effect *effect = effect_new(tasks);
    effect_put(effect, kos_bytes(key, part_key(task->id, (uint32_t)seq, key)), kos_bytes(data, len));
    record_put(effect, task);
    effect_verdict(effect, message, KOS_ACCEPT, 0, NULL, 0);
    effect_commit(effect, stored, task->id, KLP_ID_LEN, 0);
    free(data);
}

/* Progress is for those who follow now; it is not kept. */
static void progress_tell(struct tasks *tasks, const struct out_task *task, struct klp_json payload)
{
    struct klp_json progress = klp_json_get(payload, "progress");
    struct follower *follower;
    char id[KLP_ID_TEXT];
    uint8_t buf[4096];
    struct klp_json_out out;
    struct kos_bytes text;
    klp_id_text((const struct klp_id *)task->id, id);
    klp_json_begin(&out, buf, sizeof buf);
    klp_json_object(&out);
    klp_json_name(&out, "event");
    klp_json_put_cstr(&out, "progress");
    klp_json_name(&out, "progress");
    klp_json_put_raw(&out, progress.type == KLP_JSON_OBJECT ? progress.text : kos_bytes_str("{}"));
    klp_json_name(&out, "task");
    klp_json_put_cstr(&out, id);
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &text) < 0)
        return;
    DL_FOREACH2(task->followers, follower, nextf)
        if (!follower->gone)
            tasks->control->reply(tasks->host, follower->call, KOS_OK, text, NULL, 1);
}

static void progress_take(struct tasks *tasks, uint64_t message, struct out_task *task, struct klp_json payload)
{
    struct klp_json kind = klp_json_get(payload, "kind");
    if (klp_json_equals(kind, "part")) {
        part_take(tasks, message, task, payload);
    } else if (klp_json_equals(kind, "accepted") && task->state < OUT_ACCEPTED) {
        struct effect *effect = effect_new(tasks);
        task->state = OUT_ACCEPTED;
        record_put(effect, task);
        effect_verdict(effect, message, KOS_ACCEPT, 0, NULL, 0);
        effect_commit(effect, stored, task->id, KLP_ID_LEN, 0);
    } else {
        if (klp_json_equals(kind, "progress"))
            progress_tell(tasks, task, payload);
        settle(tasks, message);
    }
}

/* Who said it, signed how: for the person who asks "how do I know". */
static char *evidence(const struct kos_message *m)
{
    uint8_t buf[2048];
    char digest[65], source[KLP_ID_TEXT], id[KLP_ID_TEXT];
    struct klp_json_out out;
    struct kos_bytes text;
    klp_hex(kos_bytes(m->digest, sizeof m->digest), digest);
    klp_id_text((const struct klp_id *)m->source_id, source);
    klp_id_text((const struct klp_id *)m->id, id);
    klp_json_begin(&out, buf, sizeof buf);
    klp_json_object(&out);
    klp_json_name(&out, "digest");
    klp_json_put_cstr(&out, digest);
    klp_json_name(&out, "event");
    klp_json_put_int(&out, (int64_t)m->event);
    klp_json_name(&out, "message");
    klp_json_put_cstr(&out, id);
    klp_json_name(&out, "signature");
    klp_json_put_cstr(&out, m->batch ? "batch" : "plain");
    klp_json_name(&out, "source");
    klp_json_put_cstr(&out, m->source);
    klp_json_name(&out, "source_id");
    klp_json_put_cstr(&out, source);
    klp_json_close(&out, '}');
    return klp_json_end(&out, &text) == KOS_OK ? strndup((const char *)text.data, text.len) : NULL;
}

static void result_take(struct tasks *tasks, uint64_t message, struct out_task *task, struct klp_json payload, const struct kos_message *m)
{
    struct kos_bytes name;
    int64_t number = 0;
    if (task->ended) {
        settle(tasks, message);
        return;
    }
    task->ended = true;
    free(task->evidence);
    task->evidence = evidence(m);
    if (klp_json_plain(klp_json_get(payload, "error"), &name) == KOS_OK) {
        char text[TEXT_MAX] = "";
        bool retry = false;
        int32_t code = klp_error_parse(name);
        klp_json_bool(klp_json_get(payload, "retry"), &retry);
        klp_json_string(klp_json_get(payload, "text"), text, sizeof text, NULL);
        fail(tasks, task, message, code < 0 ? code : KOS_E_AGENT, retry, false, text[0] ? text : kos_error_text(code));
        return;
    }
    if (klp_json_int(klp_json_get(payload, "parts"), &number) == KOS_OK && number >= 0 && number < UINT32_MAX)
        task->parts_total = (uint32_t)number;
    if (klp_json_int(klp_json_get(payload, "bytes"), &number) == KOS_OK)
        task->bytes_total = (uint64_t)number;
    task->result = json_text(klp_json_get(payload, "result"));
    if (task->state < OUT_ACCEPTED)
        task->state = OUT_ACCEPTED;
    parts_join(task);
    struct effect *effect = effect_new(tasks);
    if (over(task))
        timer_drop(tasks, &task->timer);
    record_put(effect, task);
    effect_verdict(effect, message, KOS_ACCEPT, 0, NULL, 0);
    effect_commit(effect, stored, task->id, KLP_ID_LEN, 0);
}

void ask_handle(struct tasks *tasks, uint64_t message, const struct kos_message *m)
{
    struct out_task *task = out_find(tasks, m->reply_to);
    struct klp_json payload;
    if (!task || over(task)) {
        /* An answer to what is over, or to nothing of ours: the sender needs no word about it. */
        settle(tasks, message);
        return;
    }
    if (!task->has_source) {
        memcpy(task->source, m->source_id, sizeof task->source);
        task->has_source = true;
    } else if (memcmp(task->source, m->source_id, sizeof task->source) != 0) {
        log_line(tasks, KOS_WARNING, "%s answered a task that another is doing: passed over", m->source);
        settle(tasks, message);
        return;
    }
    if (klp_json_read(m->payload, KLP_MESSAGE_MAX, &payload, NULL) < 0)
        fail(tasks, task, message, KOS_E_PROTOCOL, false, true, "the agent's node sent an answer that is malformed");
    else if (strcmp(m->type, "TASK_RESULT") == 0)
        result_take(tasks, message, task, payload, m);
    else
        progress_take(tasks, message, task, payload);
}

/* Parts that overtook others before a restart are found again by their keys. */
static void parts_found(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    struct out_task *task = out_find(tasks, pending->id);
    struct kos_bytes key, value;
    tasks->loading--;
    while (task && status == KOS_OK && kos_pair_next(&result, &key, &value) == 1) {
        char digits[9] = "";
        memcpy(digits, key.data + (key.len > 8 ? key.len - 8 : 0), key.len > 8 ? 8 : 0);
        uint32_t seq = (uint32_t)strtoul(digits, NULL, 16);
        if (seq >= task->parts && !early_has(task, seq))
            early_add(task, seq, value.len);
    }
    if (task) {
        parts_join(task);
        deadline_arm(tasks, task);
    }
    perform_loaded(tasks);
}

void ask_load(struct tasks *tasks, const uint8_t id[KLP_ID_LEN], struct kos_bytes record)
{
    char prefix[KEY_MAX], from[KEY_MAX];
    struct out_task *task = out_read(id, record);
    if (!task || over(task)) {
        if (task)
            out_free(task);
        return;
    }
    HASH_ADD(hh, tasks->out, id, KLP_ID_LEN, task);
    size_t prefix_len = part_key(id, 0, prefix) - 8, from_len = part_key(id, task->parts, from);
    tasks->loading++;
    tasks->host->state_scan(tasks->host, kos_bytes(prefix, prefix_len), kos_bytes(from, from_len), 64, expect(tasks, parts_found, id, KLP_ID_LEN)->op);
}
