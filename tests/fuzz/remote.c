/* SPDX-License-Identifier: Apache-2.0
 *
 * A cell's socket as kosd sees it: the input is what the cell writes, byte by byte or frame by frame, between calls
 * that kosd makes, while time passes and either side ends it. The order of a plugin's life is kept whatever comes,
 * its end is told exactly once, and after that nothing.
 */
#include "fuzz.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "asked.h"
#include "driver/channel.h"
#include "driver/remote.h"
#include "watch.h"

struct world {
    struct fuzz_watching watching;
    struct kos_services services;
    struct kos_backend *backend;
    struct kos_services_ops ops;
    int fd; /* the cell's side; -1: it closed it */
    unsigned begun, ended, quiet, finished, calls_at_end;
    bool stopped;
};

static struct world *world; /* of this run */

static void turn(void)
{
    uint8_t bytes[4096];
    for (int rounds = 0; rounds < 30 && fuzz_watch_turn(&world->watching); rounds++)
        while (world->fd >= 0 && recv(world->fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
            continue;
}

static void on_quiet(UP)
{
    FUZZ_CHECK(world->stopped && !world->quiet++ && !world->finished);
    u_none(s);
}

static void on_finished(UP)
{
    FUZZ_CHECK(world->quiet == 1 && !world->finished++);
    u_none(s);
}

static void on_begun(void *arg, int32_t status, const char *text)
{
    (void)arg;
    FUZZ_CHECK(status <= 0 && text && !world->begun++ && !world->ended);
}

static void on_ended(void *arg, const char *cause)
{
    (void)arg;
    FUZZ_CHECK(cause && !world->ended++);
    world->calls_at_end = calls;
}

static void say(struct kos_bytes bytes)
{
    if (world->fd < 0 || !bytes.len)
        return;
    ssize_t n = send(world->fd, bytes.data, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    FUZZ_CHECK(n >= 0 || errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
    turn();
}

static void say_frame(struct fuzz_input *in, uint8_t op)
{
    struct kos_frame_head head = { .kind = fuzz_u16(in), .flags = op & 0x10 ? fuzz_u8(in) : 0, .id = fuzz_u8(in) };
    struct kos_bytes body = fuzz_run(in);
    if (!(op & 0x20))
        body.len &= ~(size_t)7;
    size_t size = sizeof head + body.len;
    uint8_t *whole = malloc(size);
    FUZZ_CHECK(whole);
    head.size = op & 0x40 ? fuzz_u16(in) : (uint32_t)size;
    memcpy(whole, &head, sizeof head);
    if (body.len)
        memcpy(whole + sizeof head, body.data, body.len);
    say(kos_bytes(whole, size));
    free(whole);
}

static void call(uint8_t what)
{
    struct kos_backend *b = world->backend;
    const struct kos_bytes some = kos_bytes_str("some bytes");
    if (world->stopped)
        return;
    switch (what % 6) {
    case 0:
        b->ops->listen(b, 2, "tcp://a:1");
        break;
    case 1:
        b->ops->send(b, 4, &some, 1);
        break;
    case 2:
        b->ops->completed(b, 3, KOS_OK, some, what & 0x80);
        break;
    case 3:
        b->ops->call(b, 7, "Method", kos_bytes_str("{}"), 0);
        break;
    case 4:
        b->ops->start(b);
        break;
    default:
        world->stopped = true;
        b->ops->stop(b);
    }
    turn();
}

static void step(struct fuzz_input *in)
{
    uint8_t op = fuzz_u8(in);
    switch (op & 7) {
    case 0:
    case 1:
        say_frame(in, op);
        break;
    case 2:
        say(fuzz_run(in));
        break;
    case 3:
        call(fuzz_u8(in));
        break;
    case 4:
        kos_manual_advance(world->watching.manual, op & 0x80 ? 2000 : fuzz_u16(in));
        turn();
        break;
    case 5:
        if (world->fd >= 0)
            close(world->fd);
        world->fd = -1;
        turn();
        break;
    case 6: {
        struct kos_frame_head head = { sizeof head, op & 0x80 ? KOS_CELL_PONG : KOS_CELL_BEGUN, 0, fuzz_u8(in) };
        say(kos_bytes(&head, sizeof head));
        break;
    }
    default:
        if (op & 0x80)
            kos_remote_cut(world->backend, "was cut off");
        turn();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct kos_remote_events events = { NULL, on_begun, on_ended };
    struct fuzz_input in = fuzz_input(data, size);
    struct world w = { .ops = up_ops };
    struct kos_error error;
    int pair[2];
    world = &w;
    calls = 0;
    up_ops_whole();
    fuzz_watch_begin(&w.watching);
    w.ops.quiet = on_quiet;
    w.ops.finished = on_finished;
    w.services.ops = &w.ops;
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    w.fd = pair[1];
    json_t *description = json_object();
    struct kos_driver_spec spec = { .name = "p", .path = "/p.so", .where = "p", .description = description };
    FUZZ_CHECK(kos_remote_new(w.watching.env, pair[0], &spec, 1000, &w.services, &events, &w.backend, &error) ==
               KOS_OK);
    turn();
    while (in.left)
        step(&in);
    kos_manual_advance(w.watching.manual, 60000);
    turn();
    FUZZ_CHECK(w.ended == 1); /* if by nothing else, by silence */
    FUZZ_CHECK(calls == w.calls_at_end);
    w.backend->ops->free(w.backend);
    if (w.fd >= 0)
        close(w.fd);
    json_decref(description);
    fuzz_watch_end(&w.watching);
    return 0;
}

/* ---- seeds ---- */

static struct fuzz_out seed_out;

static void push(struct kos_up *up, struct kos_frame *frame)
{
    (void)up;
    fuzz_add_u8(&seed_out, 0);
    const uint8_t kind[2] = { (uint8_t)(frame->head.kind >> 8), (uint8_t)frame->head.kind };
    fuzz_add(&seed_out, kind, 2);
    fuzz_add_u8(&seed_out, (uint8_t)frame->head.id);
    fuzz_add_run(&seed_out, kos_bytes(frame->body, frame->head.size - sizeof frame->head));
    kos_frame_free(frame);
}

static void begin_seed(void)
{
    struct kos_frame *begun = kos_frame_new(KOS_CELL_BEGUN, 0, 0);
    seed_out.len = 0;
    kos_put_i64(&begun, KOS_OK);
    kos_put_text(&begun, NULL);
    push(NULL, begun);
    fuzz_add(&seed_out, "\x03\x04", 2); /* start */
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    struct kos_services_ops ops = { 0 };
    struct kos_up up = { .services = { &ops }, .push = push };
    struct kos_services *s = &up.services;
    const struct kos_bytes some = kos_bytes_str("some bytes");
    kos_up_ops(&ops);
    begin_seed();
    ops.log(s, 4, "text");
    ops.endpoint_up(s, 2, "tcp://a:1");
    ops.link_received(s, 3, some);
    ops.tx_begin(s, 1);
    ops.tx_put(s, 1, some, some);
    ops.tx_commit(s, 1, 9);
    fuzz_add(&seed_out, "\x84\x86\x01\x84\x86\x02", 6); /* a ping, its pong */
    fuzz_add(&seed_out, "\x03\x05", 2);                 /* stop */
    ops.quiet(s);
    ops.finished(s);
    fuzz_add_u8(&seed_out, 5);
    put(arg, kos_bytes(seed_out.data, seed_out.len));
    begin_seed();
    fuzz_add(&seed_out, "\x03\x00\x03\x01\x03\x02\x03\x03\x04\x27\x10", 11);
    put(arg, kos_bytes(seed_out.data, seed_out.len));
    seed_out.len = 0;
    ops.quiet(s);
    fuzz_add_u8(&seed_out, 0x87);
    put(arg, kos_bytes(seed_out.data, seed_out.len));
}
