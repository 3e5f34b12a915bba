/* SPDX-License-Identifier: Apache-2.0
 * --stdio: the tasks that an agent has, each with its own flow of output. */
#include "agents/stdio.h"

#include <klp/json.h>
#include <stdlib.h>

static struct kos_env *env_of(const struct stdio_run *s)
{
    return s->pump->agent->registry->env;
}

static void set_over(struct stdio_run *s, bool over)
{
    struct pump *pump = s->pump;
    if (s->over == over)
        return;
    s->over = over;
    pump->over += over ? 1 : -1;
    if (pump->over == 0 && pump->process && !pump->killed) {
        uint64_t owed = pump->owed;
        pump->owed = 0;
        pump->agent->registry->launcher->ops->credit(pump->process, owed);
    }
}

void task_free(struct stdio_run *s)
{
    struct kos_env *env = env_of(s);
    HASH_DEL(s->pump->runs, s);
    set_over(s, false);
    kos_undefer(env, &s->flush);
    kos_timer_free(env, s->timer);
    kos_buf_fini(&s->line);
    kos_buf_fini(&s->pending);
    free(s->result);
    free(s);
}

static void finish(struct stdio_run *s, int32_t status, struct kos_bytes result, const char *text, int32_t retry)
{
    struct run *run = s->run;
    run->stdio = NULL;
    run_end(run, status, result, text, retry);
    task_free(s);
}

/* Nobody took the output of this run for a while, and the agent's other tasks wait behind it. */
static void stalled(void *arg)
{
    struct stdio_run *s = arg;
    run_stop(s->run, KOS_E_BUSY, "nobody took its output for 30 s");
}

/* The agent did not acknowledge the cancel. */
static void unheard(void *arg)
{
    struct stdio_run *s = arg;
    char text[WIRE_MAX + 80];
    snprintf(text, sizeof text, "it did not acknowledge within 2 s that task %s was cancelled", s->wire);
    pump_restart(s->pump, text);
}

static void set_timer(struct stdio_run *s, void (*fire)(void *arg), uint64_t delay_ms)
{
    struct kos_env *env = env_of(s);
    kos_timer_free(env, s->timer);
    s->timer = fire ? kos_timer_new(env, fire, s) : NULL;
    if (fire)
        kos_timer_set(env, s->timer, delay_ms);
}

/* Hands over what credit allows. */
static void flush(struct stdio_run *s)
{
    struct run *run = s->run;
    while (s->pending.len && run->credit && !run->reason) {
        size_t n = s->pending.len < run->credit ? s->pending.len : (size_t)run->credit;
        n = n < 65536 ? n : 65536;
        run_output(run, KOS_OUTPUT_PART, kos_bytes(s->pending.data, n));
        kos_buf_consume(&s->pending, n <= s->pending.len ? n : s->pending.len);
    }
    if (run->reason)
        kos_buf_reset(&s->pending);
    if (s->over && s->pending.len <= PENDING_LOW) {
        set_over(s, false);
        if (!s->cancelled)
            set_timer(s, NULL, 0);
    }
    if (s->answered && s->pending.len == 0)
        finish(s, s->status, kos_bytes(s->result, s->result_len), s->text, s->retry);
}

static void flush_run(struct kos_deferred *deferred)
{
    flush((struct stdio_run *)((char *)deferred - offsetof(struct stdio_run, flush)));
}

void task_part(struct stdio_run *s, struct kos_bytes bytes)
{
    if (s->answered || s->run->reason)
        return;
    if (kos_buf_append(&s->pending, bytes) < 0) {
        run_stop(s->run, KOS_E_LIMIT, "more than 4 MiB of its output waited to be taken");
        return;
    }
    flush(s);
    if (!s->over && !s->run->reason && s->pending.len > PENDING_HIGH) {
        set_over(s, true);
        set_timer(s, stalled, STALL_MS);
    }
}

void task_answer(struct stdio_run *s, int32_t status, struct kos_bytes result, const char *text, int32_t retry)
{
    if (s->answered)
        return;
    if (status == KOS_OK)
        s->pump->backoff_ms = 0; /* it works */
    s->answered = true;
    s->status = status;
    s->retry = retry;
    s->result = kos_memdup(result.data, result.len);
    s->result_len = result.len;
    snprintf(s->text, sizeof s->text, "%s", text ? text : "");
    if (s->cancelled)
        set_timer(s, NULL, 0);
    flush(s);
}

void tasks_send(struct pump *pump)
{
    struct stdio_run *s, *next;
    HASH_ITER(hh, pump->runs, s, next) {
        if (s->sent)
            continue;
        int32_t rc = pump_write(pump, kos_buf_bytes(&s->line));
        if (rc < 0) {
            finish(s, rc, kos_bytes(NULL, 0), rc == KOS_E_BUSY ? "the agent does not read its tasks fast enough" : NULL,
                   kos_error_retry(rc));
            continue;
        }
        s->sent = true;
        kos_buf_fini(&s->line);
    }
}

void tasks_lost(struct pump *pump, int32_t code, const char *text)
{
    struct stdio_run *s, *next;
    bool ending = pump->agent->leaving || pump->agent->registry->stopping;
    HASH_ITER(hh, pump->runs, s, next) {
        if (s->answered && !s->run->reason)
            continue; /* the answer is here, only its output is not taken yet */
        if (s->sent || ending)
            finish(s, code, kos_bytes(NULL, 0), text, 1);
    }
}

static void task_line(struct stdio_run *s, const struct run *run, struct kos_bytes inputs)
{
    struct klp_json_out out;
    struct kos_bytes text;
    kos_buf_init(&s->line, inputs.len + 8192);
    if (kos_buf_reserve(&s->line, s->line.limit) < 0)
        abort();
    klp_json_begin(&out, s->line.data, s->line.cap - 1);
    klp_json_object(&out);
    klp_json_name(&out, "deadline_ms");
    klp_json_put_int(&out, run->deadline_ms);
    klp_json_name(&out, "inputs");
    klp_json_put_raw(&out, inputs);
    klp_json_name(&out, "source");
    klp_json_put_cstr(&out, run->source);
    klp_json_name(&out, "task");
    klp_json_put_cstr(&out, s->wire);
    klp_json_name(&out, "verb");
    klp_json_put_cstr(&out, "task");
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &text) < 0)
        abort(); /* all parts were checked when the run was admitted */
    s->line.data[text.len] = '\n';
    s->line.len = text.len + 1;
}

void task_start(struct run *run, struct kos_bytes inputs)
{
    struct pump *pump = pump_of(run->agent);
    struct stdio_run *s = kos_new(sizeof *s), *same;
    s->pump = pump;
    s->run = run;
    s->flush.run = flush_run;
    kos_buf_init(&s->pending, PENDING_MAX);
    run->stdio = s;
    /* Ids are the askers' own: two of them may have chosen the same. */
    snprintf(s->wire, sizeof s->wire, "%s", run->task);
    HASH_FIND_STR(pump->runs, s->wire, same);
    if (same)
        snprintf(s->wire, sizeof s->wire, "%s.%llu", run->task, (unsigned long long)++pump->serial);
    task_line(s, run, inputs);
    HASH_ADD_STR(pump->runs, wire, s);
    pump_need(pump);
}

void task_credit(struct run *run)
{
    if (run->stdio)
        kos_defer(env_of(run->stdio), &run->stdio->flush);
}

void task_stop(struct run *run)
{
    struct stdio_run *s = run->stdio;
    char line[WIRE_MAX * 6 + 64], text[WIRE_MAX * 6 + 8];
    struct klp_json_out out;
    struct kos_bytes quoted;
    if (!s)
        return;
    kos_buf_reset(&s->pending);
    if (!s->sent || s->answered) {
        kos_defer(env_of(s), &s->flush); /* not from within: the caller may be handing over this run's output */
        s->answered = true;
        return;
    }
    set_over(s, false);
    s->cancelled = true;
    klp_json_begin(&out, text, sizeof text);
    klp_json_put_cstr(&out, s->wire);
    klp_json_end(&out, &quoted);
    int len = snprintf(line, sizeof line, "{\"task\":%.*s,\"verb\":\"cancel\"}\n", (int)quoted.len,
                       (const char *)quoted.data);
    pump_write(s->pump, kos_bytes(line, (size_t)len)); /* when it cannot be written, it will not be acknowledged */
    set_timer(s, unheard, CANCEL_MS);
}
