/* SPDX-License-Identifier: Apache-2.0
 * Real processes: what they find, what they cannot reach, how they end. */
#include "spawn/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/loop.h"
#include "spawn/wire.h"
#include "unit.h"

enum { KEEP_MAX = 4 << 20 };

struct fixture {
    char root[24], instance[40], agent[64], key[64], probe[512];
    struct kos_loop *loop;
    struct kos_env *env;
    struct kos_launcher *launcher;
    pid_t spawner;
    int fd;
    int lost;
    struct kos_timer *timer;
};

struct run {
    struct fixture *f;
    struct kos_process *process;
    struct kos_buf out, err;
    uint64_t out_bytes, err_bytes, auto_credit;
    int writable, exits;
    int32_t status, code;
    char text[512];
    const char *stop_at;             /* stops the loop when stdout holds it */
};

static void stop_loop(void *arg)
{
    struct fixture *f = arg;
    kos_loop_stop(f->loop);
}

static void on_lost(void *arg)
{
    struct fixture *f = arg;
    f->lost++;
    kos_loop_stop(f->loop);
}

static void put_file(const char *path, const char *text)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    ck_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static void setup(struct fixture *f)
{
    char path[160];
    struct kos_error error;
    memset(f, 0, sizeof *f);
    snprintf(f->root, sizeof f->root, "/tmp/kos-spawn-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(f->root));
    snprintf(f->instance, sizeof f->instance, "%s/instance", f->root);
    snprintf(f->agent, sizeof f->agent, "%s/state/agents/one", f->instance);
    snprintf(f->key, sizeof f->key, "%s/keys/node.key", f->instance);
    static const char *const dirs[] = { "", "/keys", "/state", "/state/agents", "/state/agents/one" };
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        snprintf(path, sizeof path, "%s%s", f->instance, dirs[i]);
        ck_assert_int_eq(mkdir(path, 0700), 0);
    }
    put_file(f->key, "secret\n");
    const char *build = getenv("KOS_BUILDDIR");
    snprintf(f->probe, sizeof f->probe, "%s/runtime/spawn/probe", build ? build : ".");
    char *full = realpath(f->probe, NULL);
    ck_assert_msg(full != NULL, "%s is missing", f->probe);
    snprintf(f->probe, sizeof f->probe, "%s", full);
    free(full);
    ck_assert_int_eq(setenv("KOS_TEST_SECRET", "in kosd's environment", 1), 0);
    struct kos_spawn_options options = { .instance = f->instance };
    ck_assert_msg(kos_spawn_fork(&options, &f->fd, &f->spawner, &error) == KOS_OK, "%s", error.text);
    ck_assert_int_eq(kos_loop_new(1, KOS_LOG_STDERR, &f->loop, &error), KOS_OK);
    f->env = kos_loop_env(f->loop);
    ck_assert_int_eq(kos_spawn_client_new(f->env, f->fd, on_lost, f, &f->launcher, &error), KOS_OK);
    f->timer = kos_timer_new(f->env, stop_loop, f);
}

static void teardown(struct fixture *f)
{
    char command[128];
    int status;
    kos_timer_free(f->env, f->timer);
    kos_spawn_client_free(f->launcher);
    kos_loop_free(f->loop);
    ck_assert_int_eq(waitpid(f->spawner, &status, 0), f->spawner);
    snprintf(command, sizeof command, "rm -rf %s", f->root);
    ck_assert_int_eq(system(command), 0);
}

static void on_out(void *arg, struct kos_bytes bytes)
{
    struct run *run = arg;
    run->out_bytes += bytes.len;
    kos_buf_append(&run->out, bytes);
    if (run->auto_credit)
        run->f->launcher->ops->credit(run->process, bytes.len);
    if (run->stop_at && memmem(run->out.data, run->out.len, run->stop_at, strlen(run->stop_at)))
        kos_loop_stop(run->f->loop);
}

static void on_err(void *arg, struct kos_bytes bytes)
{
    struct run *run = arg;
    run->err_bytes += bytes.len;
    kos_buf_append(&run->err, bytes);
}

static void on_writable(void *arg)
{
    struct run *run = arg;
    run->writable++;
}

static void on_exited(void *arg, int32_t status, struct kos_error *error)
{
    struct run *run = arg;
    run->exits++;
    run->process = NULL;
    run->status = status;
    run->code = error ? error->code : 0;
    snprintf(run->text, sizeof run->text, "%s", error ? error->text : "");
    kos_loop_stop(run->f->loop);
}

static void start(struct fixture *f, struct run *run, struct kos_launch *launch)
{
    struct kos_error error;
    *run = (struct run){ .f = f, .auto_credit = run->auto_credit };
    kos_buf_init(&run->out, KEEP_MAX);
    kos_buf_init(&run->err, KEEP_MAX);
    launch->name = "one";
    launch->directory = launch->directory ? launch->directory : f->agent;
    launch->arg = run;
    launch->out = on_out, launch->err = on_err, launch->writable = on_writable, launch->exited = on_exited;
    ck_assert_msg(f->launcher->ops->start(f->launcher, launch, &run->process, &error) == KOS_OK, "%s", error.text);
    ck_assert_int_eq(run->exits, 0);
}

static void end(struct run *run)
{
    kos_buf_fini(&run->out);
    kos_buf_fini(&run->err);
}

static const char *text_of(struct kos_buf *buf)
{
    ck_assert_int_eq(kos_buf_append(buf, kos_bytes("", 1)), KOS_OK);
    buf->len--;
    return (const char *)buf->data;
}

/* Runs a command to its end; its stdin is `input`. */
static void command(struct fixture *f, struct run *run, const char *line, const char *input)
{
    struct kos_launch launch = { .command = line };
    run->auto_credit = 1;
    start(f, run, &launch);
    f->launcher->ops->credit(run->process, 1 << 20);
    if (input)
        ck_assert_int_eq(f->launcher->ops->write(run->process, kos_bytes_str(input)), KOS_OK);
    f->launcher->ops->close_stdin(run->process);
    kos_loop_run(f->loop);
    ck_assert_int_eq(run->exits, 1);
}

static void probe(struct fixture *f, struct run *run, const char *what, const char *arg)
{
    char line[1024];
    snprintf(line, sizeof line, "exec %s %s %s", f->probe, what, arg);
    command(f, run, line, NULL);
}

static void expect(struct run *run, const char *line)
{
    char whole[256];
    snprintf(whole, sizeof whole, "\n%s\n", line);
    struct kos_buf *out = &run->out;
    const char *text = text_of(out);
    bool first = strncmp(text, line, strlen(line)) == 0 && text[strlen(line)] == '\n';
    ck_assert_msg(first || strstr(text, whole), "\"%s\" is not in:\n%s%s", line, text, text_of(&run->err));
}

START_TEST(test_pipes_and_status)
{
    struct fixture f;
    struct run run = { 0 };
    setup(&f);
    command(&f, &run, "tr a-z A-Z; echo oops >&2; exit 3", "hello\n");
    ck_assert_str_eq(text_of(&run.out), "HELLO\n");
    ck_assert_str_eq(text_of(&run.err), "oops\n");
    ck_assert(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 3);
    ck_assert_int_eq(run.code, 0);
    ck_assert_int_eq(run.writable, 1);
    end(&run);
    command(&f, &run, "kill -SEGV $$", NULL);
    ck_assert(WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGSEGV);
    end(&run);
    command(&f, &run, "no-such-program-here", NULL);
    ck_assert_int_eq(WEXITSTATUS(run.status), 127);
    end(&run);
    teardown(&f);
}
END_TEST

START_TEST(test_environment)
{
    struct fixture f;
    struct run run = { 0 };
    char want[512];
    setup(&f);
    /* dash adds PWD to what it was given and exports nothing else. */
    command(&f, &run, "env | grep -v ^_= | grep -v ^PWD= | sort; pwd; umask; ls -d tmp; ulimit -c; cat /dev/null",
            NULL);
    snprintf(
        want, sizeof want,
        "HOME=%s\nKOS_AGENT=one\nLANG=C.UTF-8\nPATH=/usr/local/bin:/usr/bin:/bin\nTMPDIR=%s/tmp\n%s\n0077\ntmp\n0\n",
        f.agent, f.agent, f.agent);
    ck_assert_str_eq(text_of(&run.out), want);
    end(&run);
    /* Descriptors: only the three pipes. The shell opens none for a glob of /dev/fd, which it may not read. */
    command(&f, &run, "for i in 3 4 5 6 7 8 9; do (: <&$i) 2>/dev/null && echo open $i; done; echo done", NULL);
    ck_assert_str_eq(text_of(&run.out), "done\n");
    end(&run);
    teardown(&f);
}
END_TEST

START_TEST(test_files_out_of_reach)
{
    struct fixture f;
    struct run run = { 0 };
    char line[512];
    setup(&f);
    probe(&f, &run, "paths", f.key);
    static const char *const refused[] = { "open EACCES", "write EACCES",      "chmod EPERM",     "fchmodat EPERM",
                                           "chown EPERM", "truncating EACCES", "truncate EACCES", "unlink EACCES" };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        expect(&run, refused[i]);
    ck_assert_ptr_null(strstr(text_of(&run.out), " ok"));
    end(&run);
    snprintf(
        line, sizeof line,
        "ls %s %s/keys /tmp /root /proc 2>&1; cat %s; cat /etc/shado\"\"w; echo > %s/state/x; ln -s %s here; cat here",
        f.instance, f.instance, f.key, f.instance, f.key);
    command(&f, &run, line, NULL);
    ck_assert_ptr_null(strstr(text_of(&run.out), "node.key\n"));
    ck_assert_ptr_null(strstr(text_of(&run.out), "secret"));
    ck_assert_ptr_null(strstr(text_of(&run.out), "root:"));
    end(&run);
    struct stat st;
    ck_assert(stat(f.key, &st) == 0 && st.st_size == 7 && (st.st_mode & 0777) == 0600);
    /* Its own directory is its own. */
    command(
        &f, &run,
        "mkdir a && echo 'echo made' > a/s && mv a/s s && sh s && rm -r a s && cp /usr/bin/env mine"
            " && ./mine -i echo ran > \"$TMPDIR/f\" && cat tmp/f",
        NULL);
    ck_assert_str_eq(text_of(&run.out), "made\nran\n");
    end(&run);
    command(&f, &run, "cat tmp/f mine >/dev/null && echo kept", NULL);
    ck_assert_str_eq(text_of(&run.out), "kept\n");
    end(&run);
    teardown(&f);
}
END_TEST

START_TEST(test_words_are_readable)
{
    struct fixture f;
    struct run run = { 0 };
    char line[512], path[128], linked[128];
    setup(&f);
    snprintf(path, sizeof path, "%s/given", f.root);
    put_file(path, "given\n");
    snprintf(linked, sizeof linked, "%s/linked", f.root);
    ck_assert_int_eq(symlink(f.key, linked), 0);
    snprintf(line, sizeof line, "cat '%s'; cat %s/gi*; cat %s; cat %s", path, f.root, f.key, linked);
    command(&f, &run, line, NULL);
    ck_assert_str_eq(text_of(&run.out), "given\n");
    end(&run);
    teardown(&f);
}
END_TEST

START_TEST(test_sockets)
{
    struct fixture f;
    struct run run = { 0 };
    setup(&f);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s/control", f.agent); /* even where it may write */
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    probe(&f, &run, "sockets", address.sun_path);
    static const char *const want[] = { "unix-stream EACCES",
                                        "unix-datagram EACCES",
                                        "unix-high-bits EACCES",
                                        "pair ok",
                                        "pair-connect EISCONN",
                                        "datagram-pair EACCES",
                                        "inet ok" };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        expect(&run, want[i]);
    ck_assert_ptr_null(strstr(text_of(&run.out), "widow-connect ok"));
    struct pollfd wait = { listener, POLLIN, 0 };
    ck_assert_int_eq(poll(&wait, 1, 0), 0);
    close(listener);
    end(&run);
    teardown(&f);
}
END_TEST

START_TEST(test_other_processes)
{
    struct fixture f;
    struct run run = { 0 };
    char pid[32];
    setup(&f);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    probe(&f, &run, "process", pid);
    static const char *const want[] = { "ptrace EPERM",   "vm_readv EPERM",    "environ EACCES", "mem EACCES",
                                        "maps EACCES",    "fd EACCES",         "cmdline EACCES", "kill EPERM",
                                        "kill-all EPERM", "kill-parent EPERM", "prlimit EPERM" };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        expect(&run, want[i]);
    end(&run);
    snprintf(pid, sizeof pid, "%d", (int)f.spawner);
    probe(&f, &run, "process", pid);
    ck_assert_ptr_null(strstr(text_of(&run.out), " ok"));
    end(&run);
    probe(&f, &run, "kernel", "");
    ck_assert_msg(strstr(text_of(&run.out), " ok") == NULL, "%s", text_of(&run.out));
    expect(&run, "setxattrat ENOSYS");
    end(&run);
    command(&f, &run, "grep -E '^(CapPrm|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status || echo unreadable",
            NULL);
    ck_assert_str_eq(text_of(&run.out), "unreadable\n");
    end(&run);
    teardown(&f);
}
END_TEST

static void wait_gone(const char *file)
{
    /* The end was reported only after everything was gone. */
    FILE *in = fopen(file, "r");
    int pid = 0;
    ck_assert_ptr_nonnull(in);
    ck_assert_int_eq(fscanf(in, "%d", &pid), 1);
    fclose(in);
    ck_assert(kill(pid, 0) < 0 && errno == ESRCH);
}

START_TEST(test_strays_die)
{
    struct fixture f;
    struct run run = { 0 };
    char line[1024], file[192];
    setup(&f);
    snprintf(file, sizeof file, "%s/pid", f.agent);
    /* with the command */
    snprintf(line, sizeof line, "%s stray %s; while ! [ -s %s ]; do sleep 0.01; done", f.probe, file, file);
    command(&f, &run, line, NULL);
    ck_assert_str_eq(text_of(&run.out), "stray\n");
    wait_gone(file);
    end(&run);
    /* when told */
    for (int now = 0; now < 2; now++) {
        unlink(file);
        snprintf(line, sizeof line, "%s stray %s and-stay", f.probe, file);
        struct kos_launch launch = { .command = line };
        start(&f, &run, &launch);
        run.stop_at = "stray";
        f.launcher->ops->credit(run.process, 1 << 20);
        kos_loop_run(f.loop);
        ck_assert_int_eq(run.exits, 0);
        f.launcher->ops->kill(run.process, now);
        kos_loop_run(f.loop);
        ck_assert_int_eq(run.exits, 1);
        ck_assert(WIFSIGNALED(run.status) && WTERMSIG(run.status) == (now ? SIGKILL : SIGTERM));
        wait_gone(file);
        end(&run);
    }
    teardown(&f);
}
END_TEST

START_TEST(test_term_then_kill)
{
    struct fixture f;
    struct run run = { 0 };
    setup(&f);
    struct kos_launch launch = { .command = "trap '' TERM; echo up; while :; do sleep 1; done" };
    start(&f, &run, &launch);
    run.stop_at = "up";
    f.launcher->ops->credit(run.process, 100);
    kos_loop_run(f.loop);
    f.launcher->ops->kill(run.process, false);
    kos_loop_run(f.loop);
    ck_assert_int_eq(run.exits, 1);
    ck_assert(WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGKILL);
    end(&run);
    teardown(&f);
}
END_TEST

START_TEST(test_bounds)
{
    struct fixture f;
    struct run run = { 0 };
    char line[600];
    setup(&f);
    struct kos_launch launch = { .command = line, .memory_bytes = 64 << 20, .processes = 30, .file_bytes = 1 << 20 };
    /* one process: its own limit; where that is not set (AddressSanitizer), the run's */
    snprintf(line, sizeof line, "%s hog 400000000", f.probe);
    start(&f, &run, &launch);
    f.launcher->ops->credit(run.process, 1 << 20);
    kos_loop_run(f.loop);
    ck_assert(run.exits == 1 && (run.code == KOS_E_LIMIT || atoi(text_of(&run.out)) < 64));
    end(&run);
    /* several together */
    snprintf(line, sizeof line, "%s hogs 40000000", f.probe);
    start(&f, &run, &launch);
    kos_loop_run(f.loop);
    ck_assert_int_eq(run.code, KOS_E_LIMIT);
    ck_assert_str_eq(run.text, "its processes used more than 67108864 bytes of memory together");
    end(&run);
    snprintf(line, sizeof line, "%s bomb", f.probe);
    start(&f, &run, &launch);
    kos_loop_run(f.loop);
    ck_assert_int_eq(run.exits, 1);
    ck_assert_int_eq(run.code, KOS_E_LIMIT);
    ck_assert_str_eq(run.text, "it had more than 30 processes");
    end(&run);
    snprintf(line, sizeof line, "cat /dev/zero > big; wc -c < big");
    start(&f, &run, &launch);
    f.launcher->ops->credit(run.process, 1 << 20);
    kos_loop_run(f.loop);
    ck_assert_str_eq(text_of(&run.out), "1048576\n");
    end(&run);
    teardown(&f);
}
END_TEST

START_TEST(test_output_waits_for_credit)
{
    struct fixture f;
    struct run run = { 0 };
    setup(&f);
    struct kos_launch launch = { .command =
                                     "cat /dev/zero & head -c 300000 /dev/zero >&2; sleep 0.1; echo end >&2; wait" };
    start(&f, &run, &launch);
    f.launcher->ops->credit(run.process, 100000);
    while (!strstr(run.err.len ? text_of(&run.err) + run.err.len - 4 : "", "end\n")) {
        kos_timer_set(f.env, f.timer, 50);
        kos_loop_run(f.loop);
    }
    ck_assert_uint_eq(run.out_bytes, 100000);
    ck_assert_uint_eq(run.err_bytes, 300004);
    f.launcher->ops->credit(run.process, 23);
    while (run.out_bytes < 100023) {
        kos_timer_set(f.env, f.timer, 20);
        kos_loop_run(f.loop);
    }
    ck_assert_int_eq(run.exits, 0);
    f.launcher->ops->kill(run.process, true);
    kos_loop_run(f.loop);
    ck_assert_int_eq(run.exits, 1);
    end(&run);
    teardown(&f);
}
END_TEST

START_TEST(test_input_is_bounded)
{
    struct fixture f;
    struct run run = { 0 };
    setup(&f);
    struct kos_launch launch = { .command = "sleep 60" };
    start(&f, &run, &launch);
    uint8_t *megabyte = calloc(1, 2 << 20);
    int32_t rc = KOS_OK;
    int taken = 0;
    while (taken < 10 && (rc = f.launcher->ops->write(run.process, kos_bytes(megabyte, 1 << 20))) == KOS_OK)
        taken++;
    ck_assert_int_eq(rc, KOS_E_BUSY);
    ck_assert_int_eq(taken, 2);
    f.launcher->ops->kill(run.process, true);
    kos_loop_run(f.loop);
    end(&run);
    /* A command that does not read its input ends well all the same. */
    struct kos_launch closes = { .command = "exec <&-; echo closed" };
    run.auto_credit = 1;
    start(&f, &run, &closes);
    f.launcher->ops->credit(run.process, 100);
    ck_assert_int_eq(f.launcher->ops->write(run.process, kos_bytes(megabyte, 1 << 20)), KOS_OK);
    kos_loop_run(f.loop);
    ck_assert_str_eq(text_of(&run.out), "closed\n");
    ck_assert_int_eq(WEXITSTATUS(run.status), 0);
    end(&run);
    free(megabyte);
    teardown(&f);
}
END_TEST

static void send_request(struct fixture *f, const struct spawn_start *request, const int *fds, size_t count)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * 8)];
    } control = { 0 };
    struct iovec part = { (void *)(uintptr_t)request, sizeof *request };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    if (count) {
        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
    }
    ck_assert_int_eq(sendmsg(f->fd, &message, 0), (ssize_t)sizeof *request);
}

/* Each is refused on its channel if it has one, and passed over if not. */
static void requests_that_lie(struct fixture *f)
{
    int channel[2], pipes[2];
    struct spawn_event event;
    struct spawn_start *good = calloc(1, sizeof *good), *bad = calloc(1, sizeof *bad);
    *good = (struct spawn_start){ .magic = SPAWN_MAGIC, .size = sizeof *good, .limits = { 1 << 30, 1, 9, 9, 9 } };
    strcpy(good->name, "one");
    strcpy(good->directory, f->agent);
    strcpy(good->command, "touch ran");
    ck_assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) == 0 && pipe2(pipes, O_CLOEXEC) == 0);
    int fds[8] = { channel[1], pipes[0], pipes[1], pipes[1], pipes[1], pipes[1], pipes[1], pipes[1] };
    for (int i = 0; i < 10; i++) {
        memcpy(bad, good, sizeof *bad);
        switch (i) {
        case 0: bad->magic++; break;
        case 1: bad->size--; break;
        case 2: memset(bad->name, 'x', sizeof bad->name); break;
        case 3: memset(bad->directory, '/', sizeof bad->directory); break;
        case 4: memset(bad->command, 'x', sizeof bad->command); break;
        case 5: bad->directory[0] = 'x'; break;
        case 6: bad->limits.memory_bytes = 0; break;
        case 7: bad->limits.processes = 0; break;
        case 8: bad->limits.cpu_seconds = 0; break;
        case 9: fds[2] = channel[1]; break; /* not a pipe */
        }
        send_request(f, bad, fds, SPAWN_FDS);
        ck_assert_int_eq(recv(channel[0], &event, sizeof event, 0), (ssize_t)sizeof event);
        ck_assert(event.magic == SPAWN_MAGIC && event.type == SPAWN_FAILED && event.code == KOS_E_INVALID);
    }
    fds[2] = pipes[1];
    for (size_t count = 0; count <= 8; count++)
        if (count != SPAWN_FDS)
            send_request(f, good, fds, count);
    close(channel[0]);
    close(channel[1]);
    close(pipes[0]);
    close(pipes[1]);
    free(good);
    free(bad);
}

START_TEST(test_bad_starts)
{
    struct fixture f;
    struct run run = { 0 };
    struct kos_error error;
    struct kos_process *process;
    setup(&f);
    char *huge = malloc(9001);
    memset(huge, 'x', 9000);
    huge[9000] = 0;
    struct kos_launch launch = { .name = "one", .command = huge, .directory = f.agent };
    ck_assert_int_eq(f.launcher->ops->start(f.launcher, &launch, &process, &error), KOS_E_LIMIT);
    free(huge);
    struct kos_launch lost = { .command = "true", .directory = "/tmp/kos-no-such-directory" };
    start(&f, &run, &lost);
    kos_loop_run(f.loop);
    ck_assert_int_eq(run.code, KOS_E_NOTFOUND);
    ck_assert_ptr_nonnull(strstr(run.text, "/tmp/kos-no-such-directory"));
    end(&run);
    /* The spawner outlives nonsense. */
    ck_assert_int_eq(send(f.fd, "nonsense", 8, 0), 8);
    command(&f, &run, "echo still here", NULL);
    ck_assert_str_eq(text_of(&run.out), "still here\n");
    end(&run);
    requests_that_lie(&f);
    command(&f, &run, "echo still here", NULL);
    ck_assert_str_eq(text_of(&run.out), "still here\n");
    end(&run);
    /* An instance within reach is refused. */
    const char *const readable[] = { "/usr", f.root, NULL };
    struct kos_spawn_options options = { f.instance, readable };
    pid_t pid;
    int fd;
    ck_assert_int_eq(kos_spawn_fork(&options, &fd, &pid, &error), KOS_E_CONFIG);
    ck_assert_ptr_nonnull(strstr(error.text, f.instance));
    teardown(&f);
}
END_TEST

START_TEST(test_spawner_dies)
{
    struct fixture f;
    struct run run = { 0 };
    struct kos_error error;
    setup(&f);
    struct kos_launch launch = { .command = "echo $$ > pid; echo up; sleep 60" };
    start(&f, &run, &launch);
    run.stop_at = "up";
    f.launcher->ops->credit(run.process, 100);
    kos_loop_run(f.loop);
    kill(f.spawner, SIGKILL);
    while (!f.lost)
        kos_loop_run(f.loop);
    ck_assert_int_eq(run.exits, 1);
    ck_assert_int_eq(run.code, KOS_E_CLOSED);
    ck_assert_int_eq(f.lost, 1);
    struct kos_process *process;
    ck_assert_int_eq(f.launcher->ops->start(f.launcher, &launch, &process, &error), KOS_E_CLOSED);
    end(&run);
    teardown(&f);
}
END_TEST

/* What kill -9 of kosd leaves: nothing. The loop's side runs in a process of its own, which is killed. */
START_TEST(test_kosd_dies)
{
    int ready[2];
    char pid_text[64] = "", root[32] = "", remove[64];
    ck_assert_int_eq(pipe(ready), 0);
    pid_t kosd = fork();
    if (kosd == 0) {
        struct fixture f;
        struct run run = { 0 };
        char line[1024];
        setup(&f);
        snprintf(line, sizeof line, "%s stray pid and-stay", f.probe);
        struct kos_launch launch = { .command = line };
        start(&f, &run, &launch);
        run.stop_at = "stray";
        f.launcher->ops->credit(run.process, 100);
        kos_loop_run(f.loop);
        snprintf(line, sizeof line, "%s/pid", f.agent);
        int fd = open(line, O_RDONLY);
        if (read(fd, pid_text, 20) <= 0 || dprintf(ready[1], "%d %s\n", atoi(pid_text), f.root) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    ck_assert(read(ready[0], pid_text, sizeof pid_text - 1) > 0);
    int stray;
    ck_assert_int_eq(sscanf(pid_text, "%d %31s", &stray, root), 2);
    ck_assert_int_eq(kill(stray, 0), 0);
    kill(kosd, SIGKILL);
    waitpid(kosd, NULL, 0);
    /* Gone when nothing answers; the harness' time limit is the bound. */
    while (kill(stray, 0) == 0)
        usleep(10000);
    ck_assert_int_eq(errno, ESRCH);
    snprintf(remove, sizeof remove, "rm -rf %s", root);
    ck_assert_int_eq(system(remove), 0);
}
END_TEST

TESTS("spawn/spawn", test_pipes_and_status, test_environment, test_files_out_of_reach, test_words_are_readable,
      test_sockets, test_other_processes, test_strays_die, test_term_then_kill, test_bounds,
      test_output_waits_for_credit, test_input_is_bounded, test_bad_starts, test_spawner_dies, test_kosd_dies)
