/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole LoRa transport with a modem that lies and a medium full of strangers: what the modem writes is the input's,
 * or the honest answer to what it was last told; frames on the air are to and from whom the input says. The host keeps
 * to transport.h meanwhile, and so must the plugin: credit, ids and their ends, no call inside a call.
 */
#include "fuzz.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../plugins/transport/lora/lora.h"

enum { TIMERS = 5, LINKS = 32, STEPS = 200, QUEUE = 64 };

struct link {
    uint64_t id, may_send, may_receive;
    bool up, dialled, closing;
};

struct event {
    int kind;
    uint64_t op;
    int fd;
}; /* what the plugin asked and is told of later */
enum { ASKED_STATE = 1, ASKED_OPEN, ASKED_COMMIT };

struct world {
    struct kos_host host;
    const struct kos_plugin *plugin;
    void *self;
    uint64_t now_ms, timers[TIMERS], seed, next;
    struct event queue[QUEUE];
    size_t queued;
    int modem, watched, watching; /* our end; the plugin's fd and what it watches */
    struct link links[LINKS];
    bool endpoint, stopped, inside;
    struct kiss_decoder heard; /* what the plugin tells the modem */
};

static struct world *world; /* of this run */

static struct link *find(uint64_t id)
{
    for (size_t i = 0; i < LINKS; i++)
        if (world->links[i].id == id)
            return &world->links[i];
    return NULL;
}

static struct link *add(uint64_t id)
{
    struct link *link = find(0);
    if (link)
        *link = (struct link){ .id = id };
    return link;
}

/* ---- the host ---- */

#define HOST const struct kos_host *host
static void h_log(HOST, int32_t level, const char *text)
{
    (void)host;
    (void)level;
    FUZZ_CHECK(strlen(text) < 2000);
}
static int64_t h_now(HOST)
{
    (void)host;
    return INT64_C(1781900000000) + (int64_t)world->now_ms;
}
static uint64_t h_mono(HOST)
{
    (void)host;
    return (1000 + world->now_ms) * 1000000;
}
static void h_random(HOST, void *out, size_t len)
{
    (void)host;
    fuzz_fill(&world->seed, out, len);
}
static void h_timer_set(HOST, uint64_t timer, uint64_t delay_ms)
{
    (void)host;
    FUZZ_CHECK(timer < TIMERS);
    world->timers[timer] = world->now_ms + delay_ms + 1;
}
static void h_timer_stop(HOST, uint64_t timer)
{
    (void)host;
    FUZZ_CHECK(timer < TIMERS);
    world->timers[timer] = 0;
}
static int32_t h_watch(HOST, int32_t fd, int32_t events)
{
    (void)host;
    world->watched = fd;
    world->watching = events;
    return KOS_OK;
}
static void ask(int kind, uint64_t op)
{
    FUZZ_CHECK(world->queued < QUEUE);
    world->queue[world->queued++] = (struct event){ kind, op, -1 };
}
static void h_open(HOST, const char *what, uint64_t op)
{
    (void)host;
    FUZZ_CHECK(strncmp(what, "device:/dev/", 12) == 0);
    ask(ASKED_OPEN, op);
}
static void h_open_cancel(HOST, uint64_t op)
{
    (void)host;
    (void)op;
}
static void h_state_get(HOST, struct kos_bytes key, uint64_t op)
{
    (void)host;
    FUZZ_CHECK(key.len);
    ask(ASKED_STATE, op);
}
static void h_tx_begin(HOST, uint64_t tx)
{
    (void)host;
    (void)tx;
}
static void h_tx_put(HOST, uint64_t tx, struct kos_bytes key, struct kos_bytes value)
{
    (void)host;
    (void)tx;
    fuzz_touch(key.data, key.len);
    fuzz_touch(value.data, value.len);
}
static void h_tx_commit(HOST, uint64_t tx, uint64_t op)
{
    (void)host;
    (void)tx;
    ask(ASKED_COMMIT, op);
}
static void h_stopped(HOST)
{
    (void)host;
    world->stopped = true;
}

static void e_endpoint_up(HOST, uint64_t endpoint, const char *address)
{
    (void)host;
    FUZZ_CHECK(!world->inside && endpoint == 2 && strncmp(address, "lora://", 7) == 0);
}
static void e_endpoint_down(HOST, uint64_t endpoint, int32_t status, const char *text)
{
    (void)host;
    FUZZ_CHECK(!world->inside && endpoint == 2 && world->endpoint && status <= 0 && text);
    world->endpoint = false;
}
static void e_link_up(HOST, uint64_t id, uint64_t endpoint, const struct kos_link_info *info)
{
    (void)host;
    FUZZ_CHECK(!world->inside && info->mtu_bytes >= LORA_MTU_MIN - LORA_HEADER && info->local && info->remote);
    struct link *link = find(id);
    FUZZ_CHECK((endpoint == 0) == (id % 2 == 0));
    if (endpoint) {
        FUZZ_CHECK(!link && endpoint == 2);
        link = add(id);
        FUZZ_CHECK(link);
    }
    FUZZ_CHECK(link && !link->up);
    link->up = true;
    link->may_send = info->send_window_bytes;
}
static void e_link_received(HOST, uint64_t id, struct kos_bytes bytes)
{
    (void)host;
    struct link *link = find(id);
    FUZZ_CHECK(!world->inside && link && link->up && bytes.len && bytes.len <= link->may_receive);
    link->may_receive -= bytes.len;
    fuzz_touch(bytes.data, bytes.len);
}
static void e_link_credit(HOST, uint64_t id, uint64_t bytes)
{
    (void)host;
    struct link *link = find(id);
    FUZZ_CHECK(!world->inside && link && link->up);
    link->may_send += bytes;
}
static void e_link_down(HOST, uint64_t id, int32_t status, const char *text)
{
    (void)host;
    struct link *link = find(id);
    FUZZ_CHECK(!world->inside && id && link && status <= 0 && text);
    memset(link, 0, sizeof *link);
}
static const struct kos_transport_host events = { sizeof events,   e_endpoint_up, e_endpoint_down, e_link_up,
                                                  e_link_received, e_link_credit, e_link_down };

static const void *h_feature(HOST, const char *name)
{
    (void)host;
    return strcmp(name, KOS_TRANSPORT_HOST) == 0 ? &events : NULL;
}

/* ---- turning ---- */

static void answer(struct event event)
{
    int pair[2];
    if (event.kind != ASKED_OPEN) {
        world->plugin->completed(world->self, event.op, event.kind == ASKED_COMMIT ? KOS_OK : KOS_E_NOTFOUND,
                                 kos_bytes(NULL, 0));
        return;
    }
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    if (world->modem >= 0)
        close(world->modem);
    world->modem = pair[0];
    memset(&world->heard, 0, sizeof world->heard);
    world->plugin->opened(world->self, event.op, KOS_OK, pair[1], "");
}

static void turn(void)
{
    for (int i = 0; i < 50 && !world->stopped; i++) {
        char byte;
        if (world->queued) {
            struct event event = world->queue[0];
            memmove(world->queue, world->queue + 1, --world->queued * sizeof event);
            answer(event);
            continue;
        }
        size_t due = 0;
        for (size_t t = 1; t < TIMERS; t++)
            if (world->timers[t] && world->timers[t] <= world->now_ms + 1)
                due = t;
        if (due) {
            world->timers[due] = 0;
            world->plugin->timer(world->self, due);
        } else if (world->watching & 1 &&
                   (recv(world->watched, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN)) {
            world->plugin->ready(world->self, world->watched, 1);
        } else if (world->watching & 2) {
            world->plugin->ready(world->self, world->watched, 2);
        } else {
            return;
        }
    }
}

static void pass(uint64_t ms)
{
    uint64_t end = world->now_ms + ms;
    turn();
    for (int i = 0; i < 200 && world->now_ms < end; i++) {
        uint64_t next = end;
        for (size_t t = 1; t < TIMERS; t++)
            if (world->timers[t] && world->timers[t] - 1 < next)
                next = world->timers[t] - 1 > world->now_ms ? world->timers[t] - 1 : world->now_ms + 1;
        world->now_ms = next;
        turn();
    }
    world->now_ms = end;
    turn();
}

/* ---- the modem ---- */

static void modem_says(uint8_t command, struct kos_bytes data)
{
    uint8_t encoded[KISS_ENCODED_MAX];
    size_t len = kiss_encode(command, data, encoded);
    if (world->modem >= 0 && len && send(world->modem, encoded, len, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        turn();
}

/* Honest answers to all that it was told since. */
static void modem_answers(void)
{
    uint8_t bytes[512];
    ssize_t n;
    turn();
    for (int rounds = 0;
         rounds < 20 && world->modem >= 0 && (n = recv(world->modem, bytes, sizeof bytes, MSG_DONTWAIT)) > 0; rounds++)
        for (ssize_t i = 0; i < n; i++) {
            if (!kiss_push(&world->heard, bytes[i]))
                continue;
            static const uint8_t version[] = { 1, 80 }, ready = 1, found = KISS_DETECT_ANSWER;
            uint8_t command = world->heard.command, data[KISS_DATA_MAX];
            size_t len = world->heard.len;
            memcpy(data, world->heard.data, len);
            if (command == KISS_DETECT)
                modem_says(command, kos_bytes(&found, 1));
            else if (command == KISS_FIRMWARE)
                modem_says(command, kos_bytes(version, 2));
            else if (command == KISS_DATA || command == KISS_READY)
                modem_says(KISS_READY, kos_bytes(&ready, 1));
            else if (command != KISS_LEAVE)
                modem_says(command, kos_bytes(data, len));
            if (world->modem < 0)
                return;
        }
}

/* A frame of the medium. */
static void air(struct fuzz_input *in)
{
    uint8_t how = fuzz_u8(in), frame[KISS_DATA_MAX] = { LORA_VERSION << 4, 0, 1, 0, 2 };
    struct kos_bytes body = fuzz_run(in);
    size_t len = body.len < sizeof frame - LORA_HEADER ? body.len : sizeof frame - LORA_HEADER;
    if (how & 1)
        frame[0] = fuzz_u8(in);
    if (how & 2)
        frame[2] = fuzz_u8(in);
    frame[4] = (uint8_t)(2 + (how >> 4));
    if (how & 4)
        frame[3] = frame[4] = 0xff;
    if (len)
        memcpy(frame + LORA_HEADER, body.data, len);
    modem_says(KISS_DATA, kos_bytes(frame, LORA_HEADER + len));
}

/* ---- the host's acts ---- */

static void act(struct fuzz_input *in)
{
    static const uint8_t filler[KISS_DATA_MAX];
    const struct kos_transport *t = world->plugin->features[0]->table;
    uint8_t what = fuzz_u8(in);
    struct link *link = &world->links[fuzz_u8(in) % LINKS];
    size_t len = 1 + fuzz_u16(in) % 400;
    world->inside = true;
    switch (what % 6) {
    case 0:
        if (!world->endpoint) {
            world->endpoint = true;
            t->listen(world->self, 2, "lora://0x0001");
        }
        break;
    case 1:
        if (find(0)) {
            char address[32];
            snprintf(address, sizeof address, "lora://0x%04x", (unsigned)len);
            world->next += 2;
            add(world->next)->dialled = true;
            t->dial(world->self, world->next, address);
        }
        break;
    case 2:
        if (link->id && link->up && !link->closing && link->may_send >= len) {
            struct kos_bytes piece = kos_bytes(filler, len);
            link->may_send -= len;
            t->send(world->self, link->id, &piece, 1);
        }
        break;
    case 3:
        if (link->id && link->up && !link->closing) {
            link->may_receive += len;
            t->link_credit(world->self, link->id, len);
        }
        break;
    case 4:
        if (link->id && !link->closing) {
            link->closing = true;
            t->link_close(world->self, link->id, what & 0x80);
        }
        break;
    default:
        if (world->endpoint && what & 0x80)
            t->endpoint_close(world->self, 2);
    }
    world->inside = false;
    turn();
}

static void step(struct fuzz_input *in)
{
    uint8_t op = fuzz_u8(in), command;
    struct kos_bytes bytes;
    switch (op & 7) {
    case 0:
        modem_answers();
        break;
    case 1:
        act(in);
        break;
    case 2:
        air(in);
        break;
    case 3:
        command = fuzz_u8(in);
        modem_says(command, fuzz_run(in));
        break;
    case 4:
        bytes = fuzz_run(in);
        if (world->modem >= 0 && bytes.len &&
            send(world->modem, bytes.data, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
            turn();
        break;
    case 5:
        pass(op & 0x80 ? 100000 : fuzz_u16(in));
        break;
    case 6:
        for (int i = 0; i < 12; i++) {
            modem_answers();
            pass(500);
        }
        break;
    default:
        if (world->modem >= 0 && op & 0x80) {
            close(world->modem);
            world->modem = -1;
        }
        turn();
    }
}

static void open_world(struct world *w)
{
    static const struct {
        const char *name, *text;
        int64_t number;
    } given[] = {
        { "device", "/dev/modem", 0 },
        { "region", "eu868", 0 },
        { "frequency", "", 868100000 },
        { "bandwidth", "", 125000 },
        { "spreading", "", 8 },
        { "coding", "", 5 },
        { "power", "", 14 },
        { "preamble", "", 0 },
        { "address", "", 0 },
        { "mtu", "", 500 },
        { "duty_cycle", "", 0 },
        { "budget_window", "", 3600000 },
        { "jitter", "", 0 },
        { "links", "", 16 },
        { "idle_timeout", "", 60000 },
    };
    enum { GIVEN = sizeof given / sizeof *given };
    struct kos_value values[GIVEN];
    const struct kos_value *list[GIVEN + 1] = { NULL };
    struct kos_conf conf = { sizeof conf, list };
    struct kos_error error;
    for (size_t i = 0; i < GIVEN; i++) {
        values[i] = (struct kos_value){
            .size = sizeof values[i], .name = given[i].name, .number = given[i].number, .text = given[i].text
        };
        list[i] = &values[i];
    }
    world = w;
    *w = (struct world){ .plugin = &kos_plugin_v1, .seed = 31, .modem = -1, .watched = -1, .next = 2 };
    w->host = (struct kos_host){ .size = sizeof w->host,
                                 .abi = KOS_ABI,
                                 .feature = h_feature,
                                 .log = h_log,
                                 .now_ms = h_now,
                                 .mono_ns = h_mono,
                                 .random = h_random,
                                 .timer_set = h_timer_set,
                                 .timer_stop = h_timer_stop,
                                 .watch = h_watch,
                                 .open = h_open,
                                 .open_cancel = h_open_cancel,
                                 .state_get = h_state_get,
                                 .tx_begin = h_tx_begin,
                                 .tx_put = h_tx_put,
                                 .tx_commit = h_tx_commit,
                                 .stopped = h_stopped };
    FUZZ_CHECK(w->plugin->init(&w->host, &conf, &w->self, &error) == KOS_OK);
    /* The settings stay valid until fini: what it keeps of them is the text of the device. */
    w->plugin->start(w->self);
    turn();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input(data, size);
    struct world w;
    open_world(&w);
    for (int i = 0; i < STEPS && in.left; i++)
        step(&in);
    w.plugin->stop(w.self);
    FUZZ_CHECK(w.stopped);
    for (size_t i = 0; i < LINKS; i++)
        FUZZ_CHECK(!w.links[i].id); /* each ended, and was told */
    FUZZ_CHECK(!w.endpoint && !w.watching);
    w.plugin->fini(w.self);
    if (w.modem >= 0)
        close(w.modem);
    return 0;
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    /* listen, bring the modem up, frames from two others, credit, send, time */
    static const uint8_t one[] = { 1, 0,   0, 0,  0,    6, 6,   2,    0x10, 0, 3, 'a', 'b',  'c', 2,    0x20, 0,
                                   1, 'x', 1, 3,  0,    0, 100, 1,    2,    0, 0, 50,  6,    5,   0x10, 0,    1,
                                   2, 0,   0, 90, 0x85, 6, 1,   0x84, 0,    0, 0, 1,   0x85, 0,   0,    0 };
    static const uint8_t two[] = { 1,         1, 0,          0,   7, 6,        6, 1,    2,  0,    0, 200, 6, 3,
                                   KISS_RSSI, 0, 1,          100, 3, KISS_SNR, 0, 1,    20, 2,    1, 0,   1, 'a',
                                   0x20,      3, KISS_ERROR, 0,   1, 1,        6, 0x87, 5,  0x20, 0, 6,   6 };
    static const uint8_t three[] = { 1, 0, 0, 0, 0, 0, 3,    KISS_DETECT, 0, 1,  0x46, 3, KISS_FIRMWARE, 0, 2, 1,   1,
                                     5, 1, 0, 4, 0, 5, 0xc0, 0x50,        1, 80, 0xc0, 3, KISS_RESET,    0, 1, 0xf8 };
    put(arg, kos_bytes(one, sizeof one));
    put(arg, kos_bytes(two, sizeof two));
    put(arg, kos_bytes(three, sizeof three));
}
