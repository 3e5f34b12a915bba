/* SPDX-License-Identifier: Apache-2.0
 * What the peers of the benchmarks share: two processes, a window, a rate, a count of what arrived and when. */
#include "peer.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t peer_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void peer_sleep_ns(uint64_t ns)
{
    struct timespec span = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };
    nanosleep(&span, NULL);
}

void peer_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

void peer_answered(struct peer *peer, const uint8_t *data, size_t len)
{
    uint64_t at;
    if (len != PEER_BYTES)
        peer_die("an answer has %zu bytes", len);
    memcpy(&at, data, sizeof at);
    if (at >= peer->from_ns)
        latency_add(&peer->latency, peer_now_ns() - at);
    peer->answered++;
}

static uint64_t arrived(const struct peer *peer)
{
    return peer->ask ? peer->answered : peer->shared->received;
}

static uint64_t may_send(const struct peer *peer, uint64_t now)
{
    uint64_t under_way = peer->sent - arrived(peer), room = under_way < peer->window ? peer->window - under_way : 0;
    if (peer->rate > 0) {
        double should = (double)(now - peer->start_ns) * peer->rate / 1e9;
        uint64_t due = should > (double)peer->sent ? (uint64_t)(should - (double)peer->sent) : 0;
        return due < room ? due : room;
    }
    return room;
}

/* Until `end_ns`, and at most 64 sends without a look at the clock and at what came back. */
static void drive(struct peer *peer, const struct peer_ops *ops, uint64_t end_ns)
{
    uint8_t data[PEER_BYTES];
    uint64_t now;
    memset(data, 'x', sizeof data);
    while ((now = peer_now_ns()) < end_ns) {
        uint64_t most = may_send(peer, now);
        bool full = most == 0;
        for (uint64_t i = 0; i < most && i < 64 && !full; i++) {
            uint64_t at = peer_now_ns();
            memcpy(data, &at, sizeof at);
            if (!(full = !ops->send(peer, data)))
                peer->sent++;
        }
        if (full && ops->flush)
            ops->flush(peer);
        if (peer->rate > 0 && may_send(peer, peer_now_ns()) == 0 && !peer->ask)
            peer_sleep_ns(PEER_PACE_NS);
        ops->idle(peer, full);
    }
}

static void measure(struct peer *peer, const struct peer_ops *ops)
{
    peer->start_ns = peer->from_ns = peer_now_ns();
    uint64_t warm_ns = (uint64_t)PEER_WARM_MS * 1000000;
    drive(peer, ops, peer->start_ns + warm_ns);
    uint64_t before = arrived(peer);
    peer->from_ns = peer_now_ns();
    drive(peer, ops, peer->from_ns + peer->seconds_ns);
    uint64_t took = peer_now_ns() - peer->from_ns, got = arrived(peer) - before;
    if (ops->flush)
        ops->flush(peer);
    uint64_t until = peer_now_ns() + (uint64_t)PEER_SETTLE_MS * 1000000;
    while (arrived(peer) < peer->sent && peer_now_ns() < until)
        ops->idle(peer, true);
    printf("{\"peer\":\"%s\",\"rate\":%.1f,\"sent\":%llu,\"arrived\":%llu,\"latency\":{\"count\":%llu,\"p50_ns\":%llu,\"p99_ns\":%llu,\"max_ns\":%llu}}\n",
           ops->name, (double)got * 1e9 / (double)took, (unsigned long long)peer->sent, (unsigned long long)arrived(peer),
           (unsigned long long)peer->latency.count, (unsigned long long)latency_at(&peer->latency, 0.5),
           (unsigned long long)latency_at(&peer->latency, 0.99), (unsigned long long)peer->latency.max_ns);
    fflush(stdout);
}

static bool take(struct peer *peer, const char *what, const char *seconds, const char *window, const char *rate)
{
    if (strcmp(what, "one-way") != 0 && strcmp(what, "ask") != 0)
        return false;
    peer->ask = strcmp(what, "ask") == 0;
    peer->seconds_ns = (uint64_t)(strtod(seconds, NULL) * 1e9);
    peer->window = strtoull(window, NULL, 10);
    peer->rate = strtod(rate, NULL);
    return true;
}

/* Between measurements both ends only stay in touch. */
static void serve(struct peer *peer, const struct peer_ops *ops)
{
    char what[16], seconds[16], window[16], rate[32];
    struct pollfd input = { .fd = 0, .events = POLLIN };
    for (;;) {
        while (poll(&input, 1, 20) == 0)
            ops->idle(peer, false);
        if (scanf("%15s %15s %15s %31s", what, seconds, window, rate) != 4 || !take(peer, what, seconds, window, rate))
            return;
        peer->sent = 0;
        peer->answered = 0;
        peer->shared->received = 0;
        memset(&peer->latency, 0, sizeof peer->latency);
        peer->shared->busy = true;
        measure(peer, ops);
        peer->shared->busy = false;
    }
}

int peer_main(int argc, char **argv, const struct peer_ops *ops)
{
    static struct peer peer;
    bool serving = argc == 2 && strcmp(argv[1], "serve") == 0;
    if (!serving && (argc < 5 || !take(&peer, argv[1], argv[2], argv[3], argv[4])))
        peer_die("usage: %s one-way|ask SECONDS WINDOW RATE [where]", argv[0]);
    peer.more = argv + (serving ? 2 : 5);
    peer.shared = mmap(NULL, sizeof *peer.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (peer.shared == MAP_FAILED)
        peer_die("no shared memory");
    peer.shared->busy = !serving;
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        ops->receive(&peer);
        _exit(0);
    }
    for (uint64_t until = peer_now_ns() + (uint64_t)PEER_SETTLE_MS * 1000000; !peer.shared->ready; peer_sleep_ns(1000000)) {
        if (child < 0 || peer_now_ns() > until || waitpid(child, NULL, WNOHANG) == child)
            peer_die("%s: the receiving process did not begin", ops->name);
    }
    ops->connect(&peer);
    if (serving)
        serve(&peer, ops);
    else
        measure(&peer, ops);
    peer.shared->stop = true;
    for (int i = 0; i < 200 && waitpid(child, NULL, WNOHANG) != child; i++)
        peer_sleep_ns(10000000);
    kill(child, SIGKILL);
    return 0;
}
