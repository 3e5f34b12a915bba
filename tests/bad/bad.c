/* SPDX-License-Identifier: Apache-2.0
 *
 * Plugins that misbehave, one for each way: BAD names it. All are alike until their control method Go is called (LOAD and
 * INIT_* are bad before); tests/integration/bad.py hosts each in a cell, calls Go, and looks at what is left standing.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <unistd.h>
#include <kos/control.h>
#include <kos/handler.h>
#include <kos/plugin.h>
#include <kos/transport.h>

enum bad {
    BAD_GOOD,
    /* it ends */
    BAD_LOAD, BAD_INIT_CRASH, BAD_INIT_HANG, BAD_INIT_FAIL, BAD_CRASH, BAD_ABORT, BAD_EXIT, BAD_OVERFLOW, BAD_WILD,
    BAD_UNMAP, BAD_THREAD_CRASH, BAD_STOP_NEVER,
    /* it takes too much */
    BAD_HANG, BAD_LEAK, BAD_LOG_FLOOD, BAD_OP_FLOOD, BAD_TX_FLOOD, BAD_EVENT_FLOOD, BAD_STEADY_FLOOD, BAD_FILES, BAD_THREADS,
    /* it does what it may not */
    BAD_FORK, BAD_EXEC, BAD_SOCKET, BAD_UNIX, BAD_WRITE_FILE, BAD_READ_KEYS, BAD_PTRACE, BAD_KILL, BAD_RIGHT,
    /* it lies */
    BAD_TWICE, BAD_NEVER, BAD_WRONG_ID, BAD_VERDICT, BAD_THREAD_CALL, BAD_FREE_FOREIGN,
    BAD_GARBAGE, BAD_LENGTH, BAD_COUNT, BAD_KIND, BAD_CLOSED,
};
enum { FLOOD = 4000000, CHANNEL = 3 };

struct plugin {
    const struct kos_host *host;
    const struct kos_control_host *control;
    uint64_t call;
    char path[108];             /* what READ_KEYS and UNIX are to reach */
};

#define STRING(x) #x
#define TEXT(x) STRING(x)
#define IS(what) (BAD == (what))

/* The compiler is not to reason about what these do. */
static void *volatile nowhere = (void *)16;

static __attribute__((noinline)) int overflow(volatile char *above)
{
    volatile char frame[65536];
    frame[0] = above ? above[0] : 1;
    return overflow(frame) + frame[0];
}

static void *thread_crash(void *arg)
{
    (void)arg;
    *(volatile int *)nowhere = 1;
    return NULL;
}

static void *thread_call(void *arg)
{
    struct plugin *p = arg;
    p->host->timer_set(p->host, 7, 1000);
    return NULL;
}

static void *thread_wait(void *arg)
{
    (void)arg;
    for (;;)
        pause();
    return NULL;
}

static void ends(struct plugin *p)
{
    pthread_t thread;
    switch (BAD) {
    case BAD_CRASH: *(volatile int *)nowhere = 1; break;
    case BAD_ABORT: abort();
    case BAD_EXIT: exit(0);
    case BAD_OVERFLOW: overflow(NULL); break;
    case BAD_WILD:
        for (uintptr_t at = (uintptr_t)p & ~(uintptr_t)4095;; at += 64)
            *(volatile uint64_t *)at = 0x6262626262626262u;
    case BAD_UNMAP: munmap((void *)((uintptr_t)p->host & ~(uintptr_t)4095), 4096); p->host->log(p->host, 5, "x"); break;
    case BAD_THREAD_CRASH: pthread_create(&thread, NULL, thread_crash, NULL); break;
    default: break;
    }
}

static void takes(struct plugin *p)
{
    pthread_t thread;
    switch (BAD) {
    case BAD_HANG:
        for (;;)
            pause();
    case BAD_LEAK:
        for (;;) {
            char *memory = malloc(1 << 20);
            if (!memory)
                abort();
            memset(memory, 1, 1 << 20);
        }
    case BAD_LOG_FLOOD:
        for (int i = 0; i < FLOOD; i++)
            p->host->log(p->host, KOS_WARNING, "a line that nobody needs");
        break;
    case BAD_OP_FLOOD:
        for (uint64_t i = 1; i < FLOOD; i++)
            p->host->state_get(p->host, kos_bytes_str("key"), i);
        break;
    case BAD_TX_FLOOD:
        for (uint64_t i = 1; i < FLOOD; i++)
            p->host->tx_begin(p->host, i);
        break;
    case BAD_EVENT_FLOOD:
        for (int i = 0; i < FLOOD; i++)
            p->control->event(p->host, "bad", kos_bytes_str("{}"));
        break;
    case BAD_STEADY_FLOOD: p->host->timer_set(p->host, 1, 0); break; /* a little at a time, again and again */
    case BAD_FILES:
        while (dup(0) >= 0)
            continue;
        abort(); /* a limit held: say so by ending */
    case BAD_THREADS:
        while (pthread_create(&thread, NULL, thread_wait, NULL) == 0)
            continue;
        abort();
    default: break;
    }
}

static void forbidden(struct plugin *p)
{
    static const char *const arguments[] = { "/bin/true", NULL };
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int fd = -1;
    switch (BAD) {
    case BAD_FORK:
        if (fork() == 0)
            _exit(0);
        break;
    case BAD_EXEC: execv(arguments[0], (char *const *)(uintptr_t)arguments); break;
    case BAD_SOCKET: fd = socket(AF_INET, SOCK_STREAM, 0); break;
    case BAD_UNIX:
        memcpy(name.sun_path, p->path, sizeof name.sun_path);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof name) == 0)
            return;
        break;
    case BAD_WRITE_FILE: fd = open("/tmp/kos-bad-was-here", O_WRONLY | O_CREAT, 0600); break;
    case BAD_READ_KEYS: fd = open(p->path, O_RDONLY); break;
    case BAD_PTRACE: ptrace(PTRACE_ATTACH, getppid(), NULL, NULL); break;
    case BAD_KILL: kill(getppid(), SIGKILL); break;
    case BAD_RIGHT: p->host->open(p->host, "tcp://127.0.0.1:9", 77); break;
    default: break;
    }
    char answer[64];
    snprintf(answer, sizeof answer, "{\"fd\":%d,\"errno\":%d}", fd, errno);
    p->control->reply(p->host, p->call, KOS_OK, kos_bytes_str(answer), NULL, 0);
}

/* Frames as a cell writes them: u32 size, u16 kind, u16 flags, u64 id. */
static void write_raw(uint32_t size, uint16_t kind, uint64_t id, const void *body, size_t len)
{
    struct { uint32_t size; uint16_t kind, flags; uint64_t id; } head = { size, kind, 0, id };
    struct iovec parts[] = { { &head, sizeof head }, { (void *)(uintptr_t)body, len } };
    ssize_t ignored = writev(CHANNEL, parts, 2);
    (void)ignored;
}

static void lies(struct plugin *p)
{
    static const uint64_t count[] = { UINT64_C(1) << 60, 0, 0 };
    static uint8_t junk[4096];
    pthread_t thread;
    switch (BAD) {
    case BAD_TWICE:
        p->control->reply(p->host, p->call, KOS_OK, kos_bytes_str("{}"), NULL, 0);
        p->control->reply(p->host, p->call, KOS_OK, kos_bytes_str("{}"), NULL, 0);
        break;
    case BAD_WRONG_ID: p->host->complete(p->host, 123456789, KOS_OK, kos_bytes(NULL, 0)); break;
    case BAD_VERDICT:
        p->host->tx_begin(p->host, 1);
        p->host->tx_verdict(p->host, 1, 999, KOS_ACCEPT, 0, NULL, 0);
        break;
    case BAD_THREAD_CALL:
        if (pthread_create(&thread, NULL, thread_call, p) == 0)
            pthread_join(thread, NULL);
        break;
    case BAD_FREE_FOREIGN: free((void *)(uintptr_t)p->host); break;
    case BAD_GARBAGE:
        p->host->random(p->host, junk, sizeof junk);
        for (int i = 0; i < 16; i++) {
            ssize_t ignored = write(CHANNEL, junk, sizeof junk);
            (void)ignored;
        }
        break;
    case BAD_LENGTH: write_raw(0xfffffff0u, 260, 0, junk, 64); break;
    case BAD_COUNT: write_raw(16 + sizeof count, 279, 0, count, sizeof count); break;
    case BAD_KIND: write_raw(16, 9999, 1, NULL, 0); break;
    case BAD_CLOSED: close(CHANNEL); break;
    default: break;
    }
}

static void call(void *self, uint64_t id, const char *method, struct kos_bytes parameters, uint32_t flags)
{
    struct plugin *p = self;
    (void)method;
    (void)flags;
    p->call = id;
    /* {"path":"..."}: what the test asks for. */
    const char *at = memmem(parameters.data, parameters.len, "\"path\":\"", 8);
    for (size_t n = 0; at && n < sizeof p->path - 1 && at[8 + n] != '"'; n++)
        p->path[n] = at[8 + n];
    if (IS(BAD_GOOD) || IS(BAD_STOP_NEVER))
        p->control->reply(p->host, id, KOS_OK, kos_bytes_str("{}"), NULL, 0);
    else if (BAD < BAD_HANG)
        ends(p);
    else if (BAD < BAD_FORK)
        takes(p);
    else if (BAD < BAD_TWICE)
        forbidden(p);
    else
        lies(p);
}

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    (void)conf;
    if (IS(BAD_INIT_CRASH))
        *(volatile int *)nowhere = 1;
    if (IS(BAD_INIT_HANG))
        for (;;)
            pause();
    if (IS(BAD_INIT_FAIL))
        return kos_fail(ret_error, KOS_E_CONFIG, "it does not want to");
    struct plugin *p = calloc(1, sizeof *p);
    if (!p)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory");
    p->host = host;
    p->control = host->feature(host, KOS_CONTROL_HOST);
    *ret_self = p;
    return KOS_OK;
}

static void start(void *self)
{
    (void)self;
}

static void stop(void *self)
{
    struct plugin *p = self;
    if (!IS(BAD_STOP_NEVER))
        p->host->stopped(p->host);
}

/* What BAD_RIGHT and the floods are answered. */
static void completed(void *self, uint64_t op, int32_t status, struct kos_bytes result)
{
    (void)self;
    (void)op;
    (void)status;
    (void)result;
}

static void opened(void *self, uint64_t op, int32_t status, int32_t fd, const char *text)
{
    (void)self;
    (void)op;
    (void)status;
    (void)fd;
    (void)text;
}

static void timer(void *self, uint64_t id)
{
    struct plugin *p = self;
    for (int i = 0; IS(BAD_STEADY_FLOOD) && i < 200; i++)
        p->control->event(p->host, "bad", kos_bytes_str("{}"));
    if (IS(BAD_STEADY_FLOOD))
        p->host->timer_set(p->host, id, 0);
}

static void handle(void *self, uint64_t message, const struct kos_message *m)
{
    struct plugin *p = self;
    (void)m;
    p->host->tx_begin(p->host, message);
    p->host->tx_verdict(p->host, message, message, KOS_ACCEPT, 0, NULL, 0);
    p->host->tx_commit(p->host, message, message);
}

#if BAD_AT_LOAD
__attribute__((constructor)) static void at_load(void)
{
    *(volatile int *)nowhere = 1;
}
#endif

static const char *const types[] = { "BAD_" NAME, NULL };
static const struct kos_handler handler = { .size = sizeof handler, .types = types, .handle = handle };
static const struct kos_control control = {
    .size = sizeof control,
    .interface_name = "org.kos.bad." INTERFACE,
    .description = "# Misbehaves.\ninterface org.kos.bad." INTERFACE "\n\nmethod Go(path: ?string) -> ()\n",
    .call = call,
};
static const struct kos_feature *const features[] = {
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_HANDLER, &handler },
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_CONTROL, &control },
    NULL,
};

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.bad",
    .name = "bad",
    .version = "1.0.0",
    .summary = "misbehaves when told to",
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = free,
    .completed = completed,
    .opened = opened,
    .timer = timer,
};
