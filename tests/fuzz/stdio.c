/* SPDX-License-Identifier: Apache-2.0
 *
 * A --stdio agent that says what it likes, when it likes, while tasks are given to it, cancelled, run out of credit
 * and of time, its state is asked for, and its process dies and is started again. Every run ends at most once, and
 * after the end of all processes exactly once.
 */
#include "fuzz.h"

#include <signal.h>

#include "agents/fixture.h"

enum { RUNS = 40 };

static void answered(void *arg, int32_t status, struct kos_bytes bytes, const char *text)
{
    (void)status;
    fuzz_touch(bytes.data, bytes.len);
    if (status < 0)
        FUZZ_CHECK(text && text[0]);
    ++*(unsigned *)arg;
}

static struct kos_process *living(struct fixture *f)
{
    return f->started && process(f, f->started - 1)->open ? process(f, f->started - 1) : NULL;
}

static void speak(struct fixture *f, struct kos_bytes bytes)
{
    struct kos_process *p = living(f);
    if (!p)
        return;
    if (bytes.len > p->credit)
        bytes.len = (size_t)p->credit;
    uint8_t *copy = fuzz_copy(bytes);
    out(f, p, copy, bytes.len);
    free(copy);
}

/* A line for one of the runs: what the rest of it says is the input's. */
static void speak_line(struct fixture *f, struct fuzz_input *in)
{
    static const char *const members[] = { "part", "progress", "result", "error" };
    uint8_t which = fuzz_u8(in), member = fuzz_u8(in);
    struct kos_bytes value = fuzz_run(in);
    char *line = kos_format("{\"%s\":\"%s%d\",\"%s\":%.*s}\n", member & 8 ? "id" : "task", member & 8 ? "r" : "task-",
                            which % RUNS, member & 8 ? "snapshot" : members[member % 4], (int)value.len,
                            value.len ? (const char *)value.data : "");
    speak(f, kos_bytes_str(line));
    free(line);
}

struct asked {
    unsigned given, answered;
};

static void step(struct fixture *f, const struct klp_id *id, uint64_t *runs, struct asked *asked, struct fuzz_input *in)
{
    struct kos_process *p;
    uint8_t op = fuzz_u8(in);
    switch (op % 10) {
    case 0:
    case 1:
        speak_line(f, in);
        break;
    case 2:
        speak(f, fuzz_run(in));
        break;
    case 3:
        if (*runs < RUNS)
            run_credit(f, id, (*runs)++, op & 0x80 ? "[\"a\",{\"base64\":\"AA==\"}]" : "[]",
                       op & 0x40 ? UINT64_MAX : fuzz_u8(in));
        break;
    case 4:
        kos_agents_cancel(f->agents, &f->owner, fuzz_u8(in) % RUNS);
        kos_manual_settle(f->manual);
        break;
    case 5:
        kos_agents_credit(f->agents, &f->owner, fuzz_u8(in) % RUNS, op & 0x80 ? UINT64_MAX : fuzz_u16(in));
        kos_manual_settle(f->manual);
        break;
    case 6:
        kos_manual_advance(f->manual, op & 0x80 ? 61000 : fuzz_u16(in));
        break;
    case 7:
        if ((p = living(f)) != NULL && f->started < PROCESSES - 4)
            leave(f, p, op & 0x80 ? EXIT(3) : SIGKILL);
        break;
    case 8:
        if ((p = living(f)) != NULL)
            p->launch.err(p->launch.arg, fuzz_run(in));
        kos_manual_settle(f->manual);
        break;
    default:
        asked->given++;
        if (op & 0x80)
            kos_agents_probe(f->agents, id->b, kos_bytes_str("[]"), answered, &asked->answered);
        else
            kos_agents_snapshot(f->agents, id->b, answered, &asked->answered);
        kos_manual_settle(f->manual);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input(data, size);
    static struct fixture f; /* large; begin() clears it */
    struct asked asked = { 0 };
    uint64_t runs = 0;
    begin(&f);
    struct klp_id id = add(&f, "count", KOS_STDIO, 4);
    run(&f, &id, runs++, "[]");
    while (in.left)
        step(&f, &id, &runs, &asked, &in);
    /* All that began ends: time goes by, and the processes with it. */
    for (int i = 0; i < 4; i++) {
        kos_manual_advance(f.manual, 130000);
        for (size_t n = 0; n < f.started; n++)
            if (f.processes[n].open && f.started < PROCESSES)
                leave(&f, &f.processes[n], SIGKILL);
    }
    for (uint64_t i = 0; i < runs; i++)
        FUZZ_CHECK(heard_of(i)->ended);
    FUZZ_CHECK(asked.given == asked.answered);
    kos_agents_stop(f.agents, on_stopped, &f);
    kos_manual_settle(f.manual);
    for (size_t n = 0; n < f.started; n++)
        if (f.processes[n].open)
            leave(&f, &f.processes[n], SIGKILL);
    FUZZ_CHECK(f.stopped);
    end(&f);
    return 0;
}

static void line(struct fuzz_out *out_, uint8_t run_, uint8_t member, const char *value)
{
    fuzz_add_u8(out_, 0);
    fuzz_add_u8(out_, run_);
    fuzz_add_u8(out_, member);
    fuzz_add_run(out_, kos_bytes_str(value));
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    static struct fuzz_out o;
    static const uint8_t acts[] = { 3, 10, 3, 0, 4, 1, 5, 1, 0, 100, 6, 10, 0, 9, 0x87, 6, 100, 100, 3, 5, 0x86 };
    o.len = 0;
    line(&o, 0, 0, "\"text\"");
    line(&o, 0, 0, "{\"base64\":\"AAEC\"}");
    line(&o, 0, 1, "{\"fraction\":0.5,\"text\":\"half \\u001b\"}");
    line(&o, 0, 2, "{\"z\": 1.0, \"a\":[ ]}");
    put(arg, kos_bytes(o.data, o.len));
    o.len = 0;
    fuzz_add(&o, acts, sizeof acts);
    line(&o, 0, 3, "\"bad_input\"");
    fuzz_add_u8(&o, 9);
    line(&o, 1, 8, "{\"state\":1}");
    fuzz_add_u8(&o, 2);
    fuzz_add_run(&o, kos_bytes_str("no JSON\n{\"task\":1}\n{}\n[]\r\n{\"task\":\"task-0\"}\n"));
    put(arg, kos_bytes(o.data, o.len));
}
