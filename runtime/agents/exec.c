/* SPDX-License-Identifier: Apache-2.0
 * --exec: a process per task. Inputs joined on stdin, the answer from stdout as it comes, the result from the exit
 * status. */
#include "agents/private.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <utlist.h>

struct exec_run {
    struct run *run;                  /* NULL: it has ended */
    struct kos_process *process;
    uint64_t lent;                    /* credit given to the launcher and not used yet */
    struct tail err;
};

static void give_credit(struct run *run)
{
    struct exec_run *exec = run->exec;
    if (exec->process && run->credit > exec->lent) {
        run->registry->launcher->ops->credit(exec->process, run->credit - exec->lent);
        exec->lent = run->credit;
    }
}

static void out(void *arg, struct kos_bytes bytes)
{
    struct exec_run *exec = arg;
    exec->lent -= bytes.len < exec->lent ? bytes.len : exec->lent;
    run_output(exec->run, KOS_OUTPUT_PART, bytes);
}

static void err(void *arg, struct kos_bytes bytes)
{
    struct exec_run *exec = arg;
    tail_add(&exec->err, bytes);
}

static void writable(void *arg)
{
    (void)arg;
}

static void exited(void *arg, int32_t status, struct kos_error *error)
{
    struct exec_run *exec = arg;
    struct run *run = exec->run;
    char line[TEXT_MAX], how[160], text[2 * TEXT_MAX];
    tail_line(&exec->err, line, sizeof line - sizeof how);
    status_text(status, how, sizeof how);
    free(exec);
    run->exec = NULL;
    if (error) {
        int32_t code = error->code == KOS_E_CLOSED ? KOS_E_INTERRUPTED : error->code;
        run_end(run, code, kos_bytes(NULL, 0), error->text, kos_error_retry(error->code));
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        run_end(run, KOS_OK, kos_bytes_str("{\"exit\":0}"), NULL, 0);
    } else {
        if (*line && WIFEXITED(status))
            snprintf(text, sizeof text, "%s (exit status %d)", line, WEXITSTATUS(status));
        else if (*line)
            snprintf(text, sizeof text, "%s; the last it said: %s", how, line);
        else
            snprintf(text, sizeof text, "%s and said nothing on stderr", how);
        run_end(run, KOS_E_AGENT, kos_bytes(NULL, 0), text, 0);
    }
}

static void start(struct run *run, struct kos_bytes inputs)
{
    struct kos_launcher *launcher = run->registry->launcher;
    struct exec_run *exec = kos_new(sizeof *exec);
    struct kos_error error;
    uint8_t *data = NULL;
    size_t len = 0;
    struct kos_launch launch = { .name = run->agent->name,
                                 .command = run->agent->command,
                                 .directory = run->agent->directory,
                                 .arg = exec,
                                 .out = out,
                                 .err = err,
                                 .writable = writable,
                                 .exited = exited };
    exec->run = run;
    run->exec = exec;
    int32_t rc = inputs_join(inputs, &data, &len);
    if (rc < 0)
        kos_fail(&error, rc, "the inputs cannot be read: %s", kos_error_text(rc));
    else
        rc = launcher->ops->start(launcher, &launch, &exec->process, &error);
    if (rc < 0) {
        free(data);
        free(exec);
        run->exec = NULL;
        run_end(run, rc, kos_bytes(NULL, 0), error.text, kos_error_retry(rc));
        return;
    }
    /* A fresh process takes 1 MiB; else something is broken, and it ends as killed. */
    if (len && launcher->ops->write(exec->process, kos_bytes(data, len)) < 0)
        launcher->ops->kill(exec->process, true);
    launcher->ops->close_stdin(exec->process);
    free(data);
    give_credit(run);
}

static void stop(struct run *run)
{
    if (run->exec && run->exec->process)
        run->registry->launcher->ops->kill(run->exec->process, false);
}

static void agent_nothing(struct agent *agent)
{
    (void)agent;
}

static bool agent_busy(const struct agent *agent)
{
    return agent->runs != NULL;
}

/* What is left of runs whose processes do not come back any more. */
static void exec_agent_free(struct agent *agent)
{
    struct run *run;
    DL_FOREACH(agent->runs, run) {
        free(run->exec);
        run->exec = NULL;
    }
}

const struct executor executor_exec = {
    .name = "exec", .start = start, .credit = give_credit, .stop = stop,
    .agent_stop = agent_nothing, .agent_busy = agent_busy, .agent_free = exec_agent_free,
};
