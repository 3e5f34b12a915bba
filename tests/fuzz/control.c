/* SPDX-License-Identifier: Apache-2.0
 *
 * The control socket's server: two clients write what the input says, in pieces, hang up and come again, while
 * calls are answered at once, later, several times, or fail. What it writes is varlink: JSON objects, each ended by
 * a NUL, no more answers than calls.
 */
#include "fuzz.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/control.h"
#include "watch.h"

enum { CLIENTS = 2, OPEN = 8 };

struct world {
    struct fuzz_watching watching;
    struct kos_env *env;
    struct kos_varlink *server;
    struct kos_call *open[OPEN];
    int clients[CLIENTS];
    struct kos_buf got[CLIENTS];
    struct sockaddr_un address;
};

static struct world *world; /* of this run */

static void drain(size_t which)
{
    uint8_t bytes[4096];
    ssize_t n;
    while (world->clients[which] >= 0 && (n = recv(world->clients[which], bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        FUZZ_CHECK(kos_buf_append(&world->got[which], kos_bytes(bytes, (size_t)n)) == KOS_OK);
}

static void turn(void)
{
    for (int rounds = 0; rounds < 20; rounds++) {
        bool any = fuzz_watch_turn(&world->watching);
        for (size_t i = 0; i < CLIENTS; i++)
            drain(i);
        if (!any)
            return;
    }
}

/* ---- the interface it serves ---- */

static void answer(struct kos_call *call, uint8_t how)
{
    if (how & 1)
        kos_call_fail(call, KOS_E_NOTFOUND, "there is no \xff thing %d", how);
    else
        kos_call_reply(call, how & 2 ? NULL : json_pack("{s:i}", "how", how));
}

static void gone(void *arg) { *(struct kos_call **)arg = NULL; }

static void called(void *self, struct kos_call *call, const char *method, json_t *parameters)
{
    (void)self;
    FUZZ_CHECK(json_is_object(parameters));
    if (strcmp(method, "Now") == 0) {
        answer(call, (uint8_t)json_integer_value(json_object_get(parameters, "how")));
        return;
    }
    FUZZ_CHECK(strcmp(method, "Later") == 0);
    for (size_t i = 0; i < OPEN; i++)
        if (!world->open[i]) {
            world->open[i] = call;
            kos_call_on_hangup(call, gone, &world->open[i]);
            return;
        }
    kos_call_fail(call, KOS_E_BUSY, "too many");
}

static const struct kos_interface interface = {
    "org.kos.test", "interface org.kos.test\nmethod Now(how: ?int) -> (how: ?int)\nmethod Later() -> ()\n", called, NULL
};

/* ---- the input ---- */

static void connect_client(size_t which)
{
    if (world->clients[which] >= 0)
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    FUZZ_CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&world->address, sizeof world->address) == 0);
    world->clients[which] = fd;
    kos_buf_reset(&world->got[which]);
    turn();
}

static void settle_call(uint8_t which, uint8_t how)
{
    struct kos_call *call = world->open[which % OPEN];
    if (!call)
        return;
    if (how & 4 && kos_call_more(call)) {
        kos_call_continue(call, json_pack("{s:i}", "n", how));
        return;
    }
    world->open[which % OPEN] = NULL;
    answer(call, how);
}

/* All that came back is whole answers. */
static void check_output(size_t which)
{
    struct kos_bytes rest = kos_buf_bytes(&world->got[which]);
    while (rest.len) {
        const uint8_t *end = memchr(rest.data, 0, rest.len);
        FUZZ_CHECK(end);
        size_t len = (size_t)(end - rest.data);
        json_t *message = json_loadb((const char *)rest.data, len, JSON_REJECT_DUPLICATES, NULL);
        FUZZ_CHECK(json_is_object(message) && json_is_object(json_object_get(message, "parameters")));
        json_decref(message);
        rest = kos_bytes(end + 1, rest.len - len - 1);
    }
}

static void hang_up(size_t which)
{
    if (world->clients[which] < 0)
        return;
    drain(which);
    check_output(which);
    close(world->clients[which]);
    world->clients[which] = -1;
    turn();
}

static void step(struct fuzz_input *in)
{
    uint8_t op = fuzz_u8(in);
    size_t which = op & 1;
    if (op < 0x80) {
        struct kos_bytes bytes = fuzz_run(in);
        connect_client(which);
        ssize_t sent = bytes.len ? send(world->clients[which], bytes.data, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        FUZZ_CHECK(sent >= 0 || errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
        turn();
    } else if (op < 0xc0) {
        settle_call(fuzz_u8(in), op);
        turn();
    } else {
        hang_up(which);
    }
}

static char directory[64]; /* of the process; what is in it is of one run */

static void remove_directory(void) { rmdir(directory); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input(data, size);
    struct world w = { .clients = { -1, -1 }, .address = { .sun_family = AF_UNIX } };
    struct kos_error error;
    if (!directory[0]) {
        strcpy(directory, "/tmp/kos-fuzz-XXXXXX");
        FUZZ_CHECK(mkdtemp(directory) && atexit(remove_directory) == 0);
    }
    world = &w;
    fuzz_watch_begin(&w.watching);
    w.env = w.watching.env;
    snprintf(w.address.sun_path, sizeof w.address.sun_path, "%s/s", directory);
    for (size_t i = 0; i < CLIENTS; i++)
        kos_buf_init(&w.got[i], 64 << 20);
    FUZZ_CHECK(kos_varlink_new(w.env, w.address.sun_path, (gid_t)-1, &w.server, &error) == KOS_OK);
    kos_varlink_add(w.server, &interface);
    while (in.left)
        step(&in);
    for (uint8_t i = 0; i < OPEN; i++)
        settle_call(i, 0);
    turn();
    for (size_t i = 0; i < CLIENTS; i++) {
        hang_up(i);
        kos_buf_fini(&w.got[i]);
    }
    kos_varlink_free(w.server);
    fuzz_watch_end(&w.watching);
    return 0;
}

static void say(struct fuzz_out *out, uint8_t client, const char *text)
{
    fuzz_add_u8(out, client);
    fuzz_add_run(out, kos_bytes(text, strlen(text) + 1));
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    static struct fuzz_out out;
    out.len = 0;
    say(&out, 0, "{\"method\":\"org.varlink.service.GetInfo\"}");
    say(&out, 0,
        "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":{\"interface\":\"org.kos.test\"}}");
    say(&out, 1, "{\"method\":\"org.kos.test.Now\",\"parameters\":{\"how\":1}}");
    say(&out, 1, "{\"method\":\"org.kos.test.Now\",\"parameters\":{\"how\":4},\"oneway\":true}");
    put(arg, kos_bytes(out.data, out.len));
    out.len = 0;
    say(&out, 0, "{\"method\":\"org.kos.test.Later\",\"more\":true}");
    fuzz_add_u8(&out, 0x84);
    fuzz_add_u8(&out, 0);
    fuzz_add_u8(&out, 0x80);
    fuzz_add_u8(&out, 0);
    say(&out, 1, "{\"method\":\"org.kos.test.Later\",\"parameters\":null}");
    fuzz_add_u8(&out, 0xc1);
    say(&out, 0, "{\"method\":\"org.kos.test.No\"}");
    say(&out, 0, "{\"method\":\"org.kos.none.No\"}");
    say(&out, 0, "{\"method\":\"none\"}");
    put(arg, kos_bytes(out.data, out.len));
}
