/* SPDX-License-Identifier: Apache-2.0
 *
 * org.kos.task: what people and programs ask about tasks.
 */
#include "task.h"

enum { LIST_MAX = 1000, PREFIX = 2 };

static const char description[] =
    "# Tasks that agents do for each other\n"
    "interface org.kos.task\n\n"
    "# What a task is: direction \"out\" (asked by this node) or \"in\" (asked of its agents); with: the other side;\n"
    "# state: sent, delivered, accepted, done, failed; or waiting, starting, running, done\n"
    "type Task (task: string, direction: string, with: string, state: string, created: int, deadline: int, bytes: int, error: ?string, text: ?string, result: ?object, evidence: ?object)\n\n"
    "# Inputs are strings, or objects {\"base64\": string} for other bytes. Deadline is a span. With 'more' the answers are\n"
    "# events: sent, delivered, accepted, progress, part (offset, text or base64) and last result; without, or with detach,\n"
    "# the one event sent\n"
    "method Send(target: string, inputs: []object, trust: ?float, deadline_ms: ?int, detach: ?bool) -> (event: string, task: string, offset: ?int, text: ?string, base64: ?string, progress: ?object, result: ?object, bytes: ?int, evidence: ?object)\n"
    "# Follows a task, from a byte of its answer on; needs 'more'\n"
    "method Wait(task: string, from: ?int) -> (event: string, task: string, offset: ?int, text: ?string, base64: ?string, progress: ?object, result: ?object, bytes: ?int, evidence: ?object)\n"
    "method List() -> (tasks: []Task)\n"
    "method Show(task: string) -> (task: Task)\n"
    "method Cancel(task: string) -> (task: string, state: string)\n\n"
    "error Failed (error: string, text: string, retry: bool)\n";

void control_fail(struct tasks *tasks, uint64_t call, int32_t status, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tasks->control->reply(tasks->host, call, status, kos_bytes(NULL, 0), text, 0);
}

static void put_raw(struct klp_json_out *out, const char *name, struct klp_json value)
{
    if (value.type == KLP_JSON_NONE)
        return;
    klp_json_name(out, name);
    klp_json_put_raw(out, value.text);
}

static void put_text(struct klp_json_out *out, const char *name, const char *text)
{
    klp_json_name(out, name);
    klp_json_put_cstr(out, text);
}

/* A record as the interface shows it; members in canonical order. */
static void put_task(struct klp_json_out *out, const char *id, bool ours, struct klp_json record, bool whole)
{
    klp_json_object(out);
    put_raw(out, "bytes", klp_json_get(record, "bytes"));
    put_raw(out, "created", klp_json_get(record, "created"));
    put_raw(out, "deadline", klp_json_get(record, "deadline"));
    put_text(out, "direction", ours ? "out" : "in");
    put_raw(out, "error", klp_json_get(record, "error"));
    if (whole) {
        put_raw(out, "evidence", klp_json_get(record, "evidence"));
        put_raw(out, "result", klp_json_get(record, "result"));
    }
    put_raw(out, "state", klp_json_get(record, "state"));
    put_text(out, "task", id);
    put_raw(out, "text", klp_json_get(record, "text"));
    put_raw(out, "with", klp_json_get(record, ours ? "target" : "source"));
    klp_json_close(out, '}');
}

/* ---- List: our tasks, then those of others ---- */

struct listing {
    uint64_t call;
    uint8_t *data;
    size_t len, cap;
    bool second;
};

static void listing_add(struct listing *listing, bool ours, struct kos_bytes key, struct kos_bytes value)
{
    struct klp_json record;
    struct klp_json_out out;
    struct kos_bytes text;
    char id[KLP_ID_TEXT] = "";
    size_t need = value.len + 512;
    if (key.len < KLP_ID_TEXT - 1 || klp_json_read(value, RECORD_MAX * 4, &record, NULL) < 0)
        return;
    memcpy(id, key.data + key.len - (KLP_ID_TEXT - 1), KLP_ID_TEXT - 1);
    if (listing->cap - listing->len < need) {
        listing->cap = 2 * (listing->len + need);
        listing->data = realloc(listing->data, listing->cap);
        if (!listing->data)
            abort();
    }
    if (listing->data[listing->len - 1] != '[')
        listing->data[listing->len++] = ',';
    klp_json_begin(&out, listing->data + listing->len, listing->cap - listing->len);
    put_task(&out, id, ours, record, false);
    if (klp_json_end(&out, &text) == KOS_OK)
        listing->len += text.len;
}

static void listed(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    struct listing *listing = pending->what;
    struct kos_bytes key, value;
    while (status == KOS_OK && kos_pair_next(&result, &key, &value) == 1)
        listing_add(listing, !listing->second, key, value);
    if (status == KOS_OK && !listing->second) {
        listing->second = true;
        struct pending *next = expect(tasks, listed, NULL, 0);
        next->what = listing;
        tasks->host->state_scan(tasks->host, kos_bytes("i/", PREFIX), kos_bytes(NULL, 0), LIST_MAX, next->op);
        return;
    }
    if (status < 0) {
        control_fail(tasks, listing->call, status, "the tasks cannot be read: %s", kos_error_text(status));
    } else {
        memcpy(listing->data + listing->len, "]}", 2);
        tasks->control->reply(tasks->host, listing->call, KOS_OK, kos_bytes(listing->data, listing->len + 2), NULL, 0);
    }
    free(listing->data);
    free(listing);
}

static void do_list(struct tasks *tasks, uint64_t call)
{
    struct listing *listing = calloc(1, sizeof *listing);
    if (!listing || !(listing->data = malloc(4096)))
        abort();
    listing->call = call;
    listing->cap = 4096;
    listing->len = (size_t)snprintf((char *)listing->data, listing->cap, "{\"tasks\":[");
    struct pending *pending = expect(tasks, listed, NULL, 0);
    pending->what = listing;
    tasks->host->state_scan(tasks->host, kos_bytes("o/", PREFIX), kos_bytes(NULL, 0), LIST_MAX, pending->op);
}

/* ---- one task by its id ---- */

enum what { SHOW, WAIT, CANCEL };

struct one {
    uint64_t call;
    enum what what;
    uint64_t from;
    uint8_t id[KLP_ID_LEN];
};

static void show(struct tasks *tasks, uint64_t call, const uint8_t id[KLP_ID_LEN], bool ours, struct kos_bytes value)
{
    struct klp_json record;
    struct klp_json_out out;
    struct kos_bytes text;
    char name[KLP_ID_TEXT];
    uint8_t *buf = malloc(value.len + 1024);
    if (!buf)
        abort();
    klp_id_text((const struct klp_id *)id, name);
    klp_json_begin(&out, buf, value.len + 1024);
    klp_json_object(&out);
    klp_json_name(&out, "task");
    if (klp_json_read(value, RECORD_MAX * 4, &record, NULL) == KOS_OK)
        put_task(&out, name, ours, record, true);
    else
        klp_json_put_null(&out);
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &text) == KOS_OK)
        tasks->control->reply(tasks->host, call, KOS_OK, text, NULL, 0);
    else
        control_fail(tasks, call, KOS_E_CORRUPT, "the record of task %s is damaged", name);
    free(buf);
}

static void not_found(struct tasks *tasks, const struct one *one)
{
    char name[KLP_ID_TEXT];
    klp_id_text((const struct klp_id *)one->id, name);
    control_fail(tasks, one->call, KOS_E_NOTFOUND, "there is no task %s here%s: kosctl task list", name, one->what == SHOW ? "" : " that this node asked");
}

static void shown_of_others(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    struct one *one = pending->what;
    struct kos_bytes key, value;
    char name[KLP_ID_TEXT];
    klp_id_text((const struct klp_id *)one->id, name);
    while (status == KOS_OK && kos_pair_next(&result, &key, &value) == 1)
        if (key.len > KLP_ID_TEXT - 1 && memcmp(key.data + key.len - (KLP_ID_TEXT - 1), name, KLP_ID_TEXT - 1) == 0) {
            show(tasks, one->call, one->id, false, value);
            free(one);
            return;
        }
    not_found(tasks, one);
    free(one);
}

static void wait_for(struct tasks *tasks, const struct one *one, struct kos_bytes record)
{
    struct out_task *task;
    HASH_FIND(hh, tasks->out, one->id, KLP_ID_LEN, task);
    if (!task) {
        if (!(task = out_read(one->id, record))) {
            control_fail(tasks, one->call, KOS_E_CORRUPT, "the record of the task is damaged");
            return;
        }
        HASH_ADD(hh, tasks->out, id, KLP_ID_LEN, task);
    }
    ask_follow(tasks, task, one->call, one->from);
}

static void one_got(struct tasks *tasks, struct pending *pending, int32_t status, struct kos_bytes result)
{
    struct one *one = pending->what;
    if (status == KOS_E_NOTFOUND && one->what == SHOW) {
        struct pending *next = expect(tasks, shown_of_others, NULL, 0);
        next->what = one;
        tasks->host->state_scan(tasks->host, kos_bytes("i/", PREFIX), kos_bytes(NULL, 0), LIST_MAX, next->op);
        return;
    }
    if (status == KOS_E_NOTFOUND)
        not_found(tasks, one);
    else if (status < 0)
        control_fail(tasks, one->call, status, "the task cannot be read: %s", kos_error_text(status));
    else if (one->what == SHOW)
        show(tasks, one->call, one->id, true, result);
    else if (one->what == WAIT)
        wait_for(tasks, one, result);
    else
        ask_cancel(tasks, one->call, one->id, result);
    free(one);
}

static void do_one(struct tasks *tasks, uint64_t call, enum what what, struct klp_json parameters)
{
    struct one *one = calloc(1, sizeof *one);
    struct kos_bytes id;
    char key[KEY_MAX];
    if (!one)
        abort();
    one->call = call;
    one->what = what;
    klp_json_uint(klp_json_get(parameters, "from"), &one->from);
    if (klp_json_plain(klp_json_get(parameters, "task"), &id) < 0 || klp_id_parse(id, (struct klp_id *)one->id) < 0) {
        control_fail(tasks, call, KOS_E_INVALID, "a task's id has 26 characters of a-z and 2-7: kosctl task list shows them");
        free(one);
        return;
    }
    struct pending *pending = expect(tasks, one_got, NULL, 0);
    pending->what = one;
    tasks->host->state_get(tasks->host, kos_bytes(key, out_key(one->id, key)), pending->op);
}

static void call(void *self, uint64_t id, const char *method, struct kos_bytes parameters, uint32_t flags)
{
    struct tasks *tasks = self;
    struct kos_error error;
    struct klp_json object;
    uint8_t *data;
    size_t len;
    int32_t r = klp_json_canonicalise(parameters, INPUTS_MAX + 65536, &data, &len, &error);
    if (r < 0) {
        control_fail(tasks, id, r, "%s", error.text);
        return;
    }
    if (klp_json_read(kos_bytes(data, len), len, &object, NULL) < 0)
        control_fail(tasks, id, KOS_E_INVALID, "the parameters are not an object");
    else if (strcmp(method, "Send") == 0)
        ask_send(tasks, id, object, flags & KOS_CALL_MORE);
    else if (strcmp(method, "List") == 0)
        do_list(tasks, id);
    else if (strcmp(method, "Show") == 0)
        do_one(tasks, id, SHOW, object);
    else if (strcmp(method, "Wait") == 0 && !(flags & KOS_CALL_MORE))
        control_fail(tasks, id, KOS_E_INVALID, "Wait answers many times: call it with more");
    else if (strcmp(method, "Wait") == 0)
        do_one(tasks, id, WAIT, object);
    else if (strcmp(method, "Cancel") == 0)
        do_one(tasks, id, CANCEL, object);
    else
        control_fail(tasks, id, KOS_E_UNSUPPORTED, "org.kos.task has no method %s", method);
    free(data);
}

static void hangup(void *self, uint64_t id)
{
    ask_unfollow(self, id);
}

const struct kos_control task_control = {
    .size = sizeof task_control, .interface_name = "org.kos.task", .description = description, .call = call, .hangup = hangup,
};
