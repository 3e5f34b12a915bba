/* SPDX-License-Identifier: Apache-2.0
 * The life of a plugin in a cell: started, watched, cut off, started again after a while that doubles. Whatever ends it,
 * its process is gone before anything is said about it, so that the cause is known. */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver/remote.h"
#include "host/cell.h"
#include "host/services.h"

enum { BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 60000, GOOD_LIFE_MS = 60000, LAST_MS = 2000, STOP_MS = 5000, LINE_MAX = 400,
       DENIED_STATUS = 128 + 31, SETTLED_MS = 10 };
static const char denied_line[] = "kos-cell: denied ";

struct kos_cell {
    struct kos_hosted *hosted;
    struct kos_env *env;
    struct kos_cell_process *process;       /* NULL: none runs */
    uint64_t memory_bytes, heartbeat_ms, open_files;
    char **read;                            /* NULL-terminated; NULL none */
    bool loading, begun, killed;            /* of this process: init has returned well; it is being ended */
    bool replaced;                          /* it was asked to stop, for a reload */
    bool returns;                           /* what it had under way waits for it where it can */
    int32_t status;                         /* of init */
    char cut[480];                          /* why we ended it: the rest of a sentence; "" not so */
    long denied;                            /* the system call for which it ended; -1 none */
    char line[LINE_MAX];                    /* of its stderr, not whole yet */
    size_t line_len;
    uint64_t begun_ms, backoff_ms;
    struct kos_timer *timer;                /* to start it again, or to look whether all is settled */
    uint64_t restarts;
    char cause[sizeof(((struct kos_error *)0)->text)];  /* of its last end: "plugin NAME ..." */
    int64_t cause_ms;                       /* 0: it never ended */
};

static void start_again(void *arg);
static void take_place(struct kos_cell *cell);

static void free_read(struct kos_cell *cell)
{
    for (char **path = cell->read; path && *path; path++)
        free(*path);
    free(cell->read);
}

static void set_limits(struct kos_cell *cell, const struct kos_policy_plugin *section)
{
    cell->memory_bytes = (uint64_t)section->memory_bytes;
    cell->heartbeat_ms = (uint64_t)section->heartbeat_ms;
    cell->open_files = (uint64_t)section->open_files;
    free_read(cell);
    size_t count = 0;
    while (section->read && section->read[count])
        count++;
    cell->read = kos_new((count + 1) * sizeof *cell->read);
    for (size_t i = 0; i < count; i++)
        cell->read[i] = kos_strdup(section->read[i]);
}

struct kos_cell *kos_cell_new(struct kos_hosted *hosted, const struct kos_policy_plugin *section)
{
    struct kos_cell *cell = kos_new(sizeof *cell);
    cell->hosted = hosted;
    cell->env = hosted->hosting->env;
    set_limits(cell, section);
    return cell;
}

static void backend_free(struct kos_hosted *hosted)
{
    if (hosted->backend)
        hosted->backend->ops->free(hosted->backend);
    hosted->backend = NULL;
}

void kos_cell_free(struct kos_cell *cell)
{
    if (!cell)
        return;
    if (cell->process) { /* its end is waited for, so that it does not come back to this */
        cell->loading = true;
        cell->hosted->hosting->cells->ops->kill(cell->process);
        cell->hosted->hosting->cells->ops->wait(cell->process, LAST_MS);
    }
    kos_timer_free(cell->env, cell->timer);
    free_read(cell);
    free(cell);
}

/* ---- why it ended ---- */

static const char *right_for(const char *call)
{
    static const struct { const char *right; const char *calls[8]; } known[] = {
        { "net", { "socket", "connect", "bind" } },
        { "exec", { "execve", "execveat", "fork", "vfork", "clone" } },
        { "files", { "open", "openat", "mkdir", "mkdirat", "rename", "unlink", "unlinkat" } },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        for (size_t k = 0; k < 8 && known[i].calls[k]; k++)
            if (strcmp(known[i].calls[k], call) == 0)
                return known[i].right;
    return NULL;
}

/* Cut where there is no more room. */
static void say(char *text, size_t cap, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void say(char *text, size_t cap, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(text, cap, format, args);
    va_end(args);
}

static void say_denied(struct kos_cell *cell, char *text, size_t cap)
{
    char *call = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)cell->denied);
    const char *right = call ? right_for(call) : NULL;
    if (right)
        say(text, cap,
                 "was cut off: it made the system call %s, which cells may not without the right \"%s\" (the plugin "
                 "asks for it in its manifest, the policy grants it: rights = [ \"%s\" ];)",
                 call, right, right);
    else if (call)
        say(text, cap, "was cut off: it made the system call %s, which cells may not", call);
    else
        say(text, cap, "was cut off: it made the system call %ld, which cells may not", cell->denied);
    free(call);
}

static void say_signal(const struct kos_cell *cell, int number, uint64_t peak_bytes, char *text, size_t cap)
{
    if (number == SIGKILL)
        say(text, cap, "was killed (signal %d)", number);
    else
        say(text, cap, "crashed (signal %d, %s)", number, strsignal(number));
    size_t n = strlen(text);
    /* A library that is refused memory aborts, often well below the limit: stacks of threads count too. */
    if (peak_bytes >= cell->memory_bytes / 8 * 7 || (number == SIGABRT && peak_bytes >= cell->memory_bytes / 4))
        say(text + n, cap - n, "; it held %llu MiB of memory, of %llu that it may have (memory = \"%lluM\")",
                 (unsigned long long)peak_bytes >> 20, (unsigned long long)cell->memory_bytes >> 20,
                 (unsigned long long)cell->memory_bytes >> 20);
}

/* The rest of a sentence that begins with "plugin NAME". */
static void say_why(struct kos_cell *cell, int32_t status, uint64_t peak_bytes, const struct kos_error *error,
                    char *text, size_t cap)
{
    if (cell->cut[0])
        say(text, cap, "was cut off: it %s", cell->cut);
    else if (error && error->code == KOS_E_LIMIT)
        say(text, cap, "was cut off: %s (memory = \"%lluM\")", error->text,
                 (unsigned long long)cell->memory_bytes >> 20);
    else if (error)
        say(text, cap, cell->begun ? "has ended: %s" : "cannot be started: %s", error->text);
    else if (WIFEXITED(status) && WEXITSTATUS(status) == DENIED_STATUS && cell->denied >= 0)
        say_denied(cell, text, cap);
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        say(text, cap, "was cut off: it made a system call that cells may not");
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && cell->killed)
        say(text, cap, "was cut off: it closed its socket");
    else if (WIFSIGNALED(status))
        say_signal(cell, WTERMSIG(status), peak_bytes, text, cap);
    else
        say(text, cap, "ended its process by itself (exit status %d)", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

/* ---- its end ---- */

static uint64_t next_backoff(struct kos_cell *cell)
{
    bool good = cell->begun && kos_mono_ms(cell->env) - cell->begun_ms >= GOOD_LIFE_MS;
    cell->backoff_ms = good || cell->backoff_ms == 0 ? BACKOFF_MIN_MS
        : cell->backoff_ms > BACKOFF_MAX_MS / 2      ? BACKOFF_MAX_MS
                                                     : cell->backoff_ms * 2;
    return cell->backoff_ms;
}

static void wait_for_timer(struct kos_cell *cell, uint64_t delay_ms)
{
    if (!cell->timer)
        cell->timer = kos_timer_new(cell->env, start_again, cell);
    kos_timer_set(cell->env, cell->timer, delay_ms);
}

/* It ended though it was not to. */
static void fell(struct kos_cell *cell)
{
    struct kos_hosted *hosted = cell->hosted;
    struct kos_hosting *hosting = hosted->hosting;
    bool last = hosting->stopping || hosted->state == KOS_HOSTED_STOPPING;
    uint64_t delay_ms = last ? 0 : next_backoff(cell);
    if (last)
        kos_log(cell->env, KOS_LOG_ERROR, "host", "%s", cell->cause);
    else
        kos_log(cell->env, KOS_LOG_ERROR, "host", "%s; it is started again in %.3g s", cell->cause,
                (double)delay_ms / 1000);
    hosted->why = (struct kos_error){ .code = KOS_E_INTERRUPTED };
    snprintf(hosted->why.text, sizeof hosted->why.text, "%s", cell->cause);
    cell->returns = !last;
    kos_hosted_quiet(hosted);
    kos_mesh_tell(hosting->mesh, "plugin_down",
                  json_pack("{s:s, s:s, s:I}", "plugin", hosted->name, "text", cell->cause, "restart_ms",
                            (json_int_t)delay_ms));
    kos_reload_end(hosted, KOS_E_PLUGIN, cell->cause);
    if (last)
        hosted->services.ops->finished(&hosted->services);
    else
        wait_for_timer(cell, delay_ms);
}

static void exited(void *arg, int32_t wait_status, uint64_t peak_bytes, const struct kos_error *error)
{
    struct kos_cell *cell = arg;
    struct kos_hosted *hosted = cell->hosted;
    char why[sizeof cell->cause - 64];
    cell->process = NULL;
    if (hosted->state == KOS_HOSTED_FINISHED)
        return;
    if (cell->replaced && !hosted->hosting->stopping) {
        take_place(cell);
        return;
    }
    say_why(cell, wait_status, peak_bytes, error, why, sizeof why);
    if (cell->status < 0) /* init's own sentence names place and plugin */
        snprintf(cell->cause, sizeof cell->cause, "%s", cell->cut);
    else
        snprintf(cell->cause, sizeof cell->cause, "plugin %s %s", hosted->name, why);
    cell->cause_ms = kos_now_ms(cell->env);
    if (!cell->loading)
        fell(cell);
}

/* The old one is gone, in order or not: what was checked begins. */
static void take_place(struct kos_cell *cell)
{
    struct kos_hosted *hosted = cell->hosted;
    cell->replaced = false;
    if (hosted->state != KOS_HOSTED_RESTARTING)
        kos_hosted_quiet(hosted);
    if (hosted->reload)
        kos_reload_take(hosted);
    cell->backoff_ms = 0;
    wait_for_timer(cell, 0);
}

static void end_process(struct kos_cell *cell)
{
    if (cell->process && !cell->killed)
        cell->hosted->hosting->cells->ops->kill(cell->process);
    cell->killed = true;
}

/* ---- what comes from it ---- */

static void line_done(struct kos_cell *cell)
{
    cell->line[cell->line_len] = '\0';
    cell->line_len = 0;
    if (strncmp(cell->line, denied_line, sizeof denied_line - 1) == 0)
        cell->denied = atol(cell->line + sizeof denied_line - 1);
    else if (cell->line[0])
        kos_service_log(&cell->hosted->services, KOS_LOG_NOTICE, cell->line);
}

static void err(void *arg, struct kos_bytes bytes)
{
    struct kos_cell *cell = arg;
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.data[i] == '\n' || cell->line_len == sizeof cell->line - 1)
            line_done(cell);
        if (bytes.data[i] != '\n')
            cell->line[cell->line_len++] = (char)bytes.data[i];
    }
}

static void is_back(struct kos_cell *cell)
{
    struct kos_hosted *hosted = cell->hosted;
    cell->begun = true;
    cell->begun_ms = kos_mono_ms(cell->env);
    kos_cell_agents(cell);
    if (hosted->state != KOS_HOSTED_RESTARTING)
        return;
    if (!hosted->reload)
        cell->restarts++;
    cell->returns = false;
    kos_hosted_stopped_why(hosted);
    hosted->state = hosted->hosting->started ? KOS_HOSTED_RUNNING : KOS_HOSTED_LOADED;
    if (hosted->hosting->started)
        hosted->backend->ops->start(hosted->backend);
    kos_log(cell->env, KOS_LOG_NOTICE, "host", "plugin %s %s is at work again (%llu restarts)", hosted->name,
            json_string_value(json_object_get(hosted->description, "version")), (unsigned long long)cell->restarts);
    kos_mesh_tell(hosted->hosting->mesh, "plugin_up",
                  json_pack("{s:s, s:I}", "plugin", hosted->name, "restarts", (json_int_t)cell->restarts));
    kos_hosted_back(hosted);
    kos_reload_end(hosted, KOS_OK, "");
}

static void begun(void *arg, int32_t status, const char *text)
{
    struct kos_cell *cell = arg;
    cell->status = status;
    if (status < 0) {
        /* init's sentence names place and plugin, that of a file which is no plugin only the file. */
        const struct kos_hosted *hosted = cell->hosted;
        if (strncmp(text, hosted->place, strlen(hosted->place)) == 0)
            snprintf(cell->cut, sizeof cell->cut, "%s", text);
        else
            snprintf(cell->cut, sizeof cell->cut, "%s: plugin %s: %s", hosted->place, hosted->name, text);
        if (!cell->loading)
            end_process(cell);
    } else {
        is_back(cell);
    }
}

static void remote_ended(void *arg, const char *cause)
{
    struct kos_cell *cell = arg;
    if (!cell->cut[0])
        snprintf(cell->cut, sizeof cell->cut, "%s", cause);
    /* One that closed its side is ending: how, only its own end tells. */
    if (cause[0] || !cell->begun)
        end_process(cell);
    else
        wait_for_timer(cell, LAST_MS);
}

/* ---- its beginning ---- */

int32_t kos_cell_begin(struct kos_cell *cell, struct kos_error *ret_error)
{
    struct kos_hosted *hosted = cell->hosted;
    struct kos_hosting *hosting = hosted->hosting;
    int pair[2];
    struct kos_error why = { 0 };
    if (!hosting->cells)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED,
                        "%s: plugin %s is to be isolated, and nothing here starts cells; isolate = false; hosts it "
                        "within this process",
                        hosted->place, hosted->name);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return kos_fail(ret_error, KOS_E_LIMIT, "%s: a socket for the cell of plugin %s cannot be made: %s",
                        hosted->place, hosted->name, strerror(errno));
    const struct kos_cell_launch launch = {
        .name = hosted->name,
        .program = hosting->cell_program,
        .module = hosted->path,
        .read = (const char *const *)cell->read,
        .directory = hosted->directory,
        .allow = (hosted->rights & KOS_RIGHT_NET ? KOS_CELL_NET : 0u) |
            (hosted->rights & KOS_RIGHT_FILES ? KOS_CELL_FILES : 0u) |
            (hosted->rights & KOS_RIGHT_EXEC ? KOS_CELL_EXEC : 0u),
        .channel = pair[1],
        .memory_bytes = cell->memory_bytes,
        .open_files = cell->open_files,
        .arg = cell,
        .err = err,
        .exited = exited,
    };
    const struct kos_driver_spec spec = { .name = hosted->name,
                                          .path = hosted->path,
                                          .where = hosted->place,
                                          .directory = hosted->directory,
                                          .description = hosted->description,
                                          .conf = hosted->conf };
    const struct kos_remote_events events = { cell, begun, remote_ended };
    cell->begun = cell->killed = false;
    cell->status = KOS_OK;
    cell->cut[0] = '\0';
    cell->line_len = 0;
    cell->denied = -1;
    backend_free(hosted);
    int32_t rc = hosting->cells->ops->start(hosting->cells, &launch, &cell->process, &why);
    close(pair[1]);
    if (rc < 0) {
        close(pair[0]);
        return kos_fail(ret_error, rc, "%s: plugin %s cannot be started in a cell: %s", hosted->place, hosted->name,
                        why.text);
    }
    return kos_remote_new(cell->env, pair[0], &spec, cell->heartbeat_ms, &hosted->services, &events, &hosted->backend,
                          ret_error);
}

int32_t kos_cell_await(struct kos_cell *cell, struct kos_error *ret_error)
{
    struct kos_hosted *hosted = cell->hosted;
    cell->loading = true;
    kos_remote_wait(hosted->backend, KOS_CELL_BEGIN_MS);
    if (!cell->begun && cell->status >= 0 && cell->process) {
        end_process(cell);
        hosted->hosting->cells->ops->wait(cell->process, LAST_MS);
    }
    cell->loading = false;
    if (cell->begun)
        return KOS_OK;
    if (cell->status < 0) /* its own words, which name place and plugin */
        return kos_fail(ret_error, cell->status, "%s", cell->cut);
    return kos_fail(ret_error, KOS_E_PLUGIN, "%s: %s", hosted->place, cell->cause);
}

static void start_again(void *arg)
{
    struct kos_cell *cell = arg;
    struct kos_hosted *hosted = cell->hosted;
    struct kos_error error = { 0 };
    if (hosted->hosting->stopping)
        return;
    if (cell->process) { /* it closed its side and stayed */
        end_process(cell);
        return;
    }
    if (hosted->state != KOS_HOSTED_RESTARTING)
        return;
    /* What was committed when it fell is settled first, so that no message is offered that has a verdict. */
    if (kos_txs_committing(hosted)) {
        wait_for_timer(cell, SETTLED_MS);
        return;
    }
    int32_t rc = hosted->directory ? KOS_OK : kos_hosted_directory(hosted, &error);
    if (rc >= 0)
        rc = kos_cell_begin(cell, &error);
    if (rc >= 0)
        return;
    kos_reload_end(hosted, rc, error.text);
    uint64_t delay_ms = next_backoff(cell);
    snprintf(cell->cause, sizeof cell->cause, "%s", error.text);
    cell->cause_ms = kos_now_ms(cell->env);
    kos_log(cell->env, KOS_LOG_ERROR, "host", "%s; it is tried again in %.3g s", error.text, (double)delay_ms / 1000);
    wait_for_timer(cell, delay_ms);
}

/* ---- for the rest of the room ---- */

void kos_cell_cut(struct kos_cell *cell, const char *what)
{
    char text[sizeof cell->cut];
    snprintf(text, sizeof text, "broke a rule: it %s", what);
    if (cell->hosted->backend)
        kos_remote_cut(cell->hosted->backend, text);
}

void kos_cell_replace(struct kos_cell *cell, const struct kos_policy_plugin *section)
{
    struct kos_hosted *hosted = cell->hosted;
    set_limits(cell, section);
    cell->returns = true;
    hosted->why = (struct kos_error){ .code = KOS_E_INTERRUPTED };
    snprintf(hosted->why.text, sizeof hosted->why.text, "plugin %s is being reloaded", hosted->name);
    if (!cell->process) {
        take_place(cell);
        return;
    }
    cell->replaced = true;
    if (cell->begun && hosted->state == KOS_HOSTED_RUNNING) {
        hosted->state = KOS_HOSTED_STOPPING;
        hosted->backend->ops->stop(hosted->backend);
        wait_for_timer(cell, STOP_MS);
    } else {
        end_process(cell);
    }
}

void kos_cell_stays_away(struct kos_cell *cell)
{
    cell->returns = cell->replaced = false;
}

enum kos_hosted_state kos_cell_after_quiet(struct kos_cell *cell)
{
    return cell->returns ? KOS_HOSTED_RESTARTING : KOS_HOSTED_FINISHED;
}

void kos_cell_agents(struct kos_cell *cell)
{
    struct kos_hosted *hosted = cell->hosted;
    struct kos_registry *agents = hosted->hosting->agents;
    if (!cell->begun || !agents || !(hosted->rights & KOS_RIGHT_AGENTS))
        return;
    size_t count = kos_agents_count(agents);
    struct kos_frame *f = kos_frame_new(KOS_CELL_AGENTS, 0, count * 512);
    kos_put_u64(&f, count);
    for (size_t i = 0; i < count; i++)
        kos_cell_put_agent(&f, kos_agents_at(agents, i));
    kos_remote_send(hosted->backend, f);
}

void kos_cell_json(struct kos_cell *cell, json_t *object)
{
    struct kos_cell_usage usage = { 0 };
    if (cell->process)
        cell->hosted->hosting->cells->ops->usage(cell->process, &usage);
    json_object_set_new(object, "pid", json_integer(usage.pid));
    json_object_set_new(object, "memory_bytes", json_integer((json_int_t)usage.memory_bytes));
    json_object_set_new(object, "memory_limit", json_integer((json_int_t)cell->memory_bytes));
    json_object_set_new(object, "cpu_ms", json_integer((json_int_t)usage.cpu_ms));
    json_object_set_new(object, "restarts", json_integer((json_int_t)cell->restarts));
    json_object_set_new(object, "cause", json_string(cell->cause));
    json_object_set_new(object, "cause_at", json_integer(cell->cause_ms));
}
