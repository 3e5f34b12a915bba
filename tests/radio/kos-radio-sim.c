/* SPDX-License-Identifier: Apache-2.0
 *
 * kos-radio-sim: a radio medium for tests. It makes pseudo-terminals that speak as RNode modems do, and puts every
 * frame that they send on one shared medium: the frame takes its airtime, reaches the others with loss and delay,
 * collides with what overlaps it, and nobody hears while sending.
 *
 *   kos-radio-sim [--nodes N] [--speed X] [--loss P] [--delay MS] [--capture DB] [--no-csma] [--no-ready] [--seed N]
 *                 [--region eu868|us915|in865|none] [--duty PERCENT] [--preamble SYMBOLS] [--trace FILE]
 *                 [--firmware N:MAJOR.MINOR] [--mute N:HEX] [--lie N:HEX]
 *
 * First it prints a line "node N PATH" for each modem, then "ready". It reads commands from standard input and ends
 * with it: stats   unplug N   plug N   reset N   garble N COUNT   loss P   duty PERCENT   mute N:HEX   lie N:HEX honest
 * N At the end, on "stats" and on SIGUSR1 it prints one line of JSON.
 *
 * --region says what it judges by: airtime of any hour per node (eu868: 1 %, --duty another), in us915 0.4 s within 20
 * s.
 */
#include "radio.h"

#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t asked, ended;

static void on_signal(int number)
{
    if (number == SIGUSR1)
        asked = 1;
    else
        ended = 1;
}

static uint64_t real_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t sim_now_us(const struct sim *sim)
{
    return (uint64_t)((double)(real_ns() - sim->began_ns) / 1e3 * sim->speed);
}

double sim_random(struct sim *sim)
{
    /* splitmix64 */
    uint64_t z = sim->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) / 9007199254740992.0;
}

static void print_stats(const struct sim *sim)
{
    printf("{\"time_ms\":%.0f,\"frames\":%llu,\"collisions\":%llu,\"nodes\":[", (double)sim_now_us(sim) / 1e3,
           (unsigned long long)sim->frames, (unsigned long long)sim->collisions);
    for (int i = 0; i < sim->count; i++) {
        const struct node *n = &sim->nodes[i];
        printf("%s{\"node\":%d,\"on\":%s,\"airtime_ms\":%.3f,\"worst_hour_ms\":%.3f,\"sent\":%llu,\"bytes\":%llu,"
               "\"received\":%llu,",
               i ? "," : "", i, n->on ? "true" : "false", (double)n->airtime_us / 1e3, (double)n->worst_hour_us / 1e3,
               (unsigned long long)n->sent, (unsigned long long)n->bytes, (unsigned long long)n->received);
        printf("\"lost\":%llu,\"collided\":%llu,\"half_duplex\":%llu,\"violations\":%llu,\"overruns\":%llu,\"bad_"
               "commands\":%llu,"
               "\"limit_long\":%u}",
               (unsigned long long)n->lost, (unsigned long long)n->collided, (unsigned long long)n->deaf,
               (unsigned long long)n->violations, (unsigned long long)n->overruns, (unsigned long long)n->bad_commands,
               n->limit_long);
    }
    printf("]}\n");
    fflush(stdout);
}

static void fail(const char *what, const char *text)
{
    fprintf(stderr, "kos-radio-sim: %s: %s\n", what, text);
    exit(2);
}

static struct node *node_of(struct sim *sim, const char *text, const char **ret_rest)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (end == text || n < 0 || n >= sim->count)
        return NULL;
    *ret_rest = *end ? end + 1 : end;
    return &sim->nodes[n];
}

static void region(struct sim *sim, const char *name)
{
    sim->duty_percent = strcmp(name, "eu868") == 0 ? 1 : 0;
    sim->dwell_limit_us = strcmp(name, "us915") == 0 ? 400000 : 0;
    sim->dwell_window_us = sim->dwell_limit_us ? 20000000 : 0;
    if (!sim->duty_percent && !sim->dwell_limit_us && strcmp(name, "in865") != 0 && strcmp(name, "none") != 0)
        fail(name, "no such region");
}

/* What can be said of one modem, on the command line and later: 1 done, 0 not such a word, -1 badly said. */
static int about_node(struct sim *sim, const char *word, const char *text)
{
    static const char *const words[] = { "firmware", "mute", "lie", "honest", "unplug", "plug", "reset", "garble" };
    const char *rest = "";
    size_t what = 0;
    while (what < sizeof words / sizeof *words && strcmp(words[what], word) != 0)
        what++;
    if (what == sizeof words / sizeof *words)
        return 0;
    struct node *node = node_of(sim, text, &rest);
    if (!node)
        return -1;
    switch (what) {
    case 0: return sscanf(rest, "%u.%u", &node->version[0], &node->version[1]) == 2 ? 1 : -1;
    case 1: node->mute[strtoul(rest, NULL, 16) & 255] = true; return 1;
    case 2: node->lie[strtoul(rest, NULL, 16) & 255] = true; return 1;
    case 3:
        memset(node->mute, 0, sizeof node->mute);
        memset(node->lie, 0, sizeof node->lie);
        return 1;
    case 4: node_unplug(node); return 1;
    case 5:
        if (node->master < 0 && !node_plug(node))
            fail("plug", "no pseudo-terminal");
        printf("node %d %s\n", node->number, node->path);
        fflush(stdout);
        return 1;
    case 6: node_reset(node); return 1;
    default:
        for (long left = strtol(rest, NULL, 10); left > 0 && node->master >= 0; left--) {
            uint8_t byte = (uint8_t)(sim_random(sim) * 256);
            if (write(node->master, &byte, 1) != 1)
                break;
        }
        return 1;
    }
}

static void command(struct sim *sim, char *line)
{
    char *word = strtok(line, " "), *text = strtok(NULL, "");
    if (!word)
        return;
    if (strcmp(word, "stats") == 0)
        print_stats(sim);
    else if (strcmp(word, "loss") == 0 && text)
        sim->loss = atof(text);
    else if (strcmp(word, "duty") == 0 && text)
        sim->duty_percent = atof(text);
    else if (about_node(sim, word, text ? text : "") != 1)
        fprintf(stderr, "kos-radio-sim: not understood: %s\n", word);
}

static void read_commands(struct sim *sim)
{
    static char line[256];
    static size_t len;
    char bytes[256];
    ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
    if (n <= 0) {
        ended = 1;
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            line[len] = '\0';
            command(sim, line);
            len = 0;
        } else if (len + 1 < sizeof line) {
            line[len++] = bytes[i];
        }
    }
}

static void loop(struct sim *sim)
{
    struct pollfd fds[NODES_MAX + 1];
    while (!ended) {
        medium_run(sim);
        uint64_t next = medium_next_us(sim), now = sim_now_us(sim);
        double wait_ms = next == UINT64_MAX ? 1000 : next <= now ? 0 : (double)(next - now) / 1e3 / sim->speed;
        fds[0] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
        for (int i = 0; i < sim->count; i++)
            fds[i + 1] = (struct pollfd){ .fd = sim->nodes[i].master, .events = POLLIN };
        struct timespec wait = { .tv_sec = (time_t)(wait_ms / 1e3), .tv_nsec = (long)(wait_ms * 1e6) % 1000000000 };
        if (ppoll(fds, (nfds_t)sim->count + 1, &wait, NULL) < 0)
            fds[0].revents = 0;
        if (asked) {
            asked = 0;
            print_stats(sim);
        }
        if (fds[0].revents)
            read_commands(sim);
        for (int i = 0; i < sim->count; i++)
            if (sim->nodes[i].master == fds[i + 1].fd && fds[i + 1].revents & POLLIN)
                node_read(sim, &sim->nodes[i]);
    }
}

static void make_nodes(struct sim *sim)
{
    for (int i = 0; i < sim->count; i++) {
        struct node *node = &sim->nodes[i];
        node->number = i;
        node->version[0] = 1;
        node->version[1] = 74;
        if (!node_plug(node))
            fail("nodes", "no pseudo-terminal");
        for (int other = 0; other < i; other++)
            node->rssi[other] = sim->nodes[other].rssi[i] = -60 - 45 * sim_random(sim);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "nodes", required_argument, NULL, 'n' },    { "speed", required_argument, NULL, 's' },
        { "loss", required_argument, NULL, 'l' },     { "delay", required_argument, NULL, 'd' },
        { "capture", required_argument, NULL, 'c' },  { "no-csma", no_argument, NULL, 'C' },
        { "no-ready", no_argument, NULL, 'R' },       { "seed", required_argument, NULL, 'e' },
        { "region", required_argument, NULL, 'r' },   { "duty", required_argument, NULL, 'u' },
        { "preamble", required_argument, NULL, 'p' }, { "trace", required_argument, NULL, 't' },
        { "firmware", required_argument, NULL, 'N' }, { "mute", required_argument, NULL, 'N' },
        { "lie", required_argument, NULL, 'N' },      { NULL, 0, NULL, 0 },
    };
    struct sim sim = { .count = 2, .speed = 1, .csma = true, .ready = true, .duty_percent = 1, .random = 1 };
    struct {
        const char *word, *text;
    } later[64];
    size_t laters = 0;
    int c, which;
    while ((c = getopt_long(argc, argv, "", options, &which)) != -1)
        switch (c) {
        case 'n': sim.count = atoi(optarg); break;
        case 's': sim.speed = atof(optarg); break;
        case 'l': sim.loss = atof(optarg); break;
        case 'd': sim.delay_us = (uint64_t)(atof(optarg) * 1e3); break;
        case 'c': sim.capture_db = atof(optarg); break;
        case 'C': sim.csma = false; break;
        case 'R': sim.ready = false; break;
        case 'e': sim.random = strtoull(optarg, NULL, 10); break;
        case 'r': region(&sim, optarg); break;
        case 'u': sim.duty_percent = atof(optarg); break;
        case 'p': sim.preamble = (uint32_t)atoi(optarg); break;
        case 't':
            if (!(sim.trace = fopen(optarg, "w")))
                fail(optarg, "cannot be written");
            break;
        case 'N':
            if (laters < sizeof later / sizeof *later)
                later[laters].word = options[which].name, later[laters++].text = optarg;
            break;
        default: return 2;
        }
    if (optind < argc || sim.count < 1 || sim.count > NODES_MAX || !(sim.speed > 0))
        fail("options", "1 to 16 nodes, and a speed above 0");
    if (!(sim.nodes = calloc((size_t)sim.count, sizeof *sim.nodes)))
        fail("nodes", "no memory");
    make_nodes(&sim);
    for (size_t i = 0; i < laters; i++)
        if (about_node(&sim, later[i].word, later[i].text) != 1)
            fail(later[i].word, "N:VALUE was expected");
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    sim.began_ns = real_ns();
    for (int i = 0; i < sim.count; i++)
        printf("node %d %s\n", i, sim.nodes[i].path);
    printf("ready\n");
    fflush(stdout);
    loop(&sim);
    print_stats(&sim);
    for (int i = 0; i < sim.count; i++)
        node_unplug(&sim.nodes[i]);
    free(sim.nodes);
    if (sim.trace)
        fclose(sim.trace);
    return 0;
}
