/* SPDX-License-Identifier: Apache-2.0
 *
 * An agent for `kosctl agent add NAME --skill count --stdio kos-agent-count`: counts lines, words and bytes of each
 * input as wc(1) does. It shows what kos-agent(7) asks of an agent: many tasks at a time, an answer in parts, progress,
 * cancel, snapshot, restore and probe, in one thread that is never away from its stdin for long.
 *
 *   kos-agent-count            a part per input: lines, words, bytes, SHA-256 of all inputs so far
 *   kos-agent-count --wc       a part per input: what `wc` prints of it on its stdin, byte for byte
 *   kos-agent-count --pause N  rests N ms between inputs, to watch it or to cancel it
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <locale.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

enum { LINE_MAX_BYTES = 2 << 20, SLICE = 65536, TASKS_MAX = 256, DIGEST = 32 };

struct counts {
    uint64_t lines, words, bytes;
    bool in_word;
    mbstate_t state;
};

struct task {
    struct task *next;
    char *id;
    json_t *inputs;
    size_t at;                       /* input under way */
    unsigned char *data;             /* its bytes, and how many are counted */
    size_t len, done;
    struct counts counts, total;
    EVP_MD_CTX *digest;              /* over all inputs so far */
    int64_t not_before_ms;
};

struct agent {
    struct task *tasks;              /* in turn: the first is served and goes to the end */
    size_t count;
    uint64_t answered;               /* what a snapshot holds */
    bool wc, eof;
    int64_t pause_ms;
    char *line;
    size_t len, cap;
    bool skipping;
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "kos-agent-count: %s\n", what);
    exit(1);
}

static void *need(void *p)
{
    if (!p)
        die("out of memory");
    return p;
}

/* One line to kosd. Takes the message. */
static void say(json_t *message)
{
    char *text = need(json_dumps(need(message), JSON_COMPACT));
    json_decref(message);
    if (printf("%s\n", text) < 0 || fflush(stdout) != 0)
        exit(0); /* kosd is gone */
    free(text);
}

/* ---- counting ---- */

/* As GNU wc in a UTF-8 locale: a word has something printable in it; no-break spaces part words too. */
static void count_char(struct counts *c, wchar_t w)
{
    if (w == L'\n')
        c->lines++;
    if (iswspace((wint_t)w) || w == 0xa0 || w == 0x2007 || w == 0x202f || w == 0x2060) {
        c->words += c->in_word;
        c->in_word = false;
    } else if (iswprint((wint_t)w)) {
        c->in_word = true;
    }
}

static void count_slice(struct counts *c, const unsigned char *data, size_t len)
{
    c->bytes += len;
    while (len) {
        wchar_t w = 0;
        size_t n = mbrtowc(&w, (const char *)data, len, &c->state);
        if (n == (size_t)-2)
            return; /* the rest of the character comes with the next slice */
        if (n == (size_t)-1) { /* a byte that is no character is passed over */
            memset(&c->state, 0, sizeof c->state);
            n = 1;
        } else {
            n = n ? n : 1;
            count_char(c, w);
        }
        data += n;
        len -= n;
    }
}

static void running_digest(const struct task *task, char hex[2 * DIGEST + 1])
{
    unsigned char out[DIGEST];
    EVP_MD_CTX *copy = need(EVP_MD_CTX_new());
    if (EVP_MD_CTX_copy_ex(copy, task->digest) != 1 || EVP_DigestFinal_ex(copy, out, NULL) != 1)
        die("SHA-256 failed");
    EVP_MD_CTX_free(copy);
    for (size_t i = 0; i < DIGEST; i++)
        sprintf(hex + 2 * i, "%02x", out[i]);
}

static json_t *totals(const struct task *task)
{
    char hex[2 * DIGEST + 1];
    running_digest(task, hex);
    return json_pack("{s:I, s:I, s:I, s:I, s:s}", "inputs", (json_int_t)json_array_size(task->inputs), "lines",
                     (json_int_t)task->total.lines, "words", (json_int_t)task->total.words, "bytes",
                     (json_int_t)task->total.bytes, "sha256", hex);
}

/* ---- inputs ---- */

static size_t unbase64(const char *text, size_t len, unsigned char *out)
{
    /* EVP_DecodeBlock counts the padding as bytes. */
    int n = EVP_DecodeBlock(out, (const unsigned char *)text, (int)len);
    for (size_t i = len; n > 0 && i > 0 && i + 2 > len && text[i - 1] == '='; i--)
        n--;
    return n > 0 ? (size_t)n : 0;
}

/* The next input's bytes; false when there is none left. */
static bool next_input(struct task *task)
{
    json_t *input = json_array_get(task->inputs, task->at), *base64 = json_object_get(input, "base64"),
           *text = base64 ? base64 : input;
    if (!input)
        return false;
    size_t len = json_string_length(text);
    task->data = need(malloc(len + 4));
    if (base64)
        task->len = unbase64(json_string_value(text), len, task->data);
    else
        memcpy(task->data, json_string_value(text) ? json_string_value(text) : "", task->len = len);
    task->done = 0;
    memset(&task->counts, 0, sizeof task->counts);
    return true;
}

/* ---- tasks ---- */

static void task_free(struct task *task)
{
    json_decref(task->inputs);
    EVP_MD_CTX_free(task->digest);
    free(task->data);
    free(task->id);
    free(task);
}

static struct task *task_new(const char *id, json_t *inputs)
{
    struct task *task = need(calloc(1, sizeof *task));
    task->id = need(strdup(id));
    task->inputs = json_incref(inputs);
    task->digest = need(EVP_MD_CTX_new());
    if (EVP_DigestInit_ex(task->digest, EVP_sha256(), NULL) != 1)
        die("SHA-256 failed");
    return task;
}

static void input_done(struct agent *agent, struct task *task)
{
    struct counts *c = &task->counts;
    char hex[2 * DIGEST + 1], text[256];
    c->words += c->in_word;
    task->total.lines += c->lines, task->total.words += c->words, task->total.bytes += c->bytes;
    running_digest(task, hex);
    snprintf(text, sizeof text, "%7" PRIu64 " %7" PRIu64 " %7" PRIu64 "%s%s\n", c->lines, c->words, c->bytes,
             agent->wc ? "" : "  ", agent->wc ? "" : hex);
    say(json_pack("{s:s, s:s}", "task", task->id, "part", text));
    free(task->data);
    task->data = NULL;
    task->at++;
    say(json_pack("{s:s, s:{s:f}}", "task", task->id, "progress", "fraction",
                  (double)task->at / (double)json_array_size(task->inputs)));
    task->not_before_ms = now_ms() + agent->pause_ms;
}

/* A slice of one task. True when the task is over. */
static bool work(struct agent *agent, struct task *task)
{
    if (!task->data && !next_input(task)) {
        say(json_pack("{s:s, s:o}", "task", task->id, "result", totals(task)));
        agent->answered++;
        return true;
    }
    size_t n = task->len - task->done < SLICE ? task->len - task->done : SLICE;
    EVP_DigestUpdate(task->digest, task->data + task->done, n);
    count_slice(&task->counts, task->data + task->done, n);
    task->done += n;
    if (task->done == task->len)
        input_done(agent, task);
    return false;
}

/* Serves the first task whose time has come. Returns how long nothing is to be done, ms; -1: until something is read.
 * */
static int serve(struct agent *agent)
{
    int64_t now = now_ms(), soonest = -1;
    for (struct task **at = &agent->tasks, *task; (task = *at); at = &task->next) {
        if (task->not_before_ms > now) {
            soonest = soonest < 0 || task->not_before_ms - now < soonest ? task->not_before_ms - now : soonest;
            continue;
        }
        *at = task->next;
        task->next = NULL;
        if (work(agent, task)) {
            task_free(task);
            agent->count--;
        } else {
            for (at = &agent->tasks; *at; at = &(*at)->next)
                continue;
            *at = task;
        }
        return 0;
    }
    return (int)soonest;
}

/* ---- what kosd says ---- */

static void fail(const char *member, const char *id, const char *name, const char *text, bool retry)
{
    say(json_pack("{s:s, s:s, s:s, s:b}", member, id, "error", name, "text", text, "retry", (int)retry));
}

static void on_task(struct agent *agent, json_t *message, const char *id)
{
    json_t *inputs = json_object_get(message, "inputs");
    if (!json_is_array(inputs)) {
        fail("task", id, "bad_request", "inputs is not an array", false);
    } else if (agent->count == TASKS_MAX) {
        fail("task", id, "busy", "256 tasks are under way", true);
    } else {
        struct task **at = &agent->tasks;
        while (*at)
            at = &(*at)->next;
        *at = task_new(id, inputs);
        agent->count++;
    }
}

static void on_cancel(struct agent *agent, const char *id)
{
    for (struct task **at = &agent->tasks, *task; (task = *at); at = &task->next)
        if (strcmp(task->id, id) == 0) {
            *at = task->next;
            agent->count--;
            fail("task", id, "cancelled", "", false);
            task_free(task);
            return;
        }
    /* Answered already: kosd has that answer by now. */
}

/* The fingerprint of this agent: what it gives for inputs, without being a task. */
static void on_probe(json_t *message, const char *id)
{
    struct task *task = task_new(id, json_object_get(message, "inputs"));
    while (next_input(task)) {
        EVP_DigestUpdate(task->digest, task->data, task->len);
        count_slice(&task->counts, task->data, task->len);
        task->total.lines += task->counts.lines, task->total.bytes += task->counts.bytes;
        task->total.words += task->counts.words + task->counts.in_word;
        free(task->data);
        task->data = NULL;
        task->at++;
    }
    say(json_pack("{s:s, s:o}", "id", id, "probe", totals(task)));
    task_free(task);
}

static void on_restore(struct agent *agent, json_t *message, const char *id)
{
    json_t *answered = json_object_get(json_object_get(message, "state"), "answered");
    if (json_is_integer(answered))
        agent->answered = (uint64_t)json_integer_value(answered);
    say(json_pack("{s:s, s:b}", "id", id, "restored", (int)json_is_integer(answered)));
}

static void on_line(struct agent *agent, const char *line, size_t len)
{
    json_error_t error;
    json_t *message = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
    const char *verb = json_string_value(json_object_get(message, "verb"));
    const char *task = json_string_value(json_object_get(message, "task")),
               *id = json_string_value(json_object_get(message, "id"));
    if (!verb || (!task && !id))
        fprintf(stderr, "kos-agent-count: a line that kos-agent(7) does not know: %s\n",
                message ? "no verb, task or id" : error.text);
    else if (task && strcmp(verb, "task") == 0)
        on_task(agent, message, task);
    else if (task && strcmp(verb, "cancel") == 0)
        on_cancel(agent, task);
    else if (id && strcmp(verb, "snapshot") == 0)
        say(json_pack("{s:s, s:{s:I}}", "id", id, "snapshot", "answered", (json_int_t)agent->answered));
    else if (id && strcmp(verb, "restore") == 0)
        on_restore(agent, message, id);
    else if (id && strcmp(verb, "probe") == 0)
        on_probe(message, id);
    else /* a verb of a later kosd */
        fail(task ? "task" : "id", task ? task : id, "unsupported", "this agent does not know the verb", false);
    json_decref(message);
}

static void read_lines(struct agent *agent)
{
    if (agent->len == agent->cap) {
        agent->cap = agent->cap ? agent->cap * 2 : 65536;
        agent->line = need(realloc(agent->line, agent->cap));
    }
    ssize_t n = read(STDIN_FILENO, agent->line + agent->len, agent->cap - agent->len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        agent->eof = true;
        return;
    }
    agent->len += (size_t)n;
    char *start = agent->line, *end;
    while ((end = memchr(start, '\n', agent->len - (size_t)(start - agent->line)))) {
        if (!agent->skipping)
            on_line(agent, start, (size_t)(end - start));
        agent->skipping = false;
        start = end + 1;
    }
    agent->len -= (size_t)(start - agent->line);
    memmove(agent->line, start, agent->len);
    if (agent->len >= LINE_MAX_BYTES) {
        fprintf(stderr, "kos-agent-count: a line longer than 2 MiB is passed over\n");
        agent->skipping = true;
        agent->len = 0;
    }
}

static void options(struct agent *agent, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--wc") == 0)
            agent->wc = true;
        else if (strcmp(argv[i], "--pause") == 0 && i + 1 < argc)
            agent->pause_ms = atoi(argv[++i]);
        else {
            fprintf(stderr, "usage: kos-agent-count [--wc] [--pause MS]\n");
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    struct agent agent = { 0 };
    options(&agent, argc, argv);
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        setlocale(LC_CTYPE, "");
    /* The end of stdin is the end of the agent: kosd has no more to say, and nobody to hear the rest. */
    while (!agent.eof) {
        struct pollfd in = { STDIN_FILENO, POLLIN, 0 };
        int wait = serve(&agent);
        if (poll(&in, 1, wait) > 0)
            read_lines(&agent);
    }
    for (struct task *task = agent.tasks, *next; task; task = next) {
        next = task->next;
        task_free(task);
    }
    free(agent.line);
    return 0;
}
