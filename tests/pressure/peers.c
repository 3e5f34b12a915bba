/* SPDX-License-Identifier: Apache-2.0
 *
 * Peers of one kosd, spoken from outside: peers HOST PORT COUNT. It connects COUNT identities of its own, says their ids
 * and then does what its standard input tells, a line each, answering each with a line of JSON:
 *
 *   quiet SECONDS TYPE EVERY_MS    each sends a message of this type now and then; how long until its receipt, and until
 *                                  the reply to it, if the type has one
 *   flood SECONDS KIND TYPE TARGET one of them sends all that its credit allows (flood.c); what it was told
 */
#include "peers.h"

#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct pending {
    UT_hash_handle hh;
    struct klp_id id;
    uint64_t sent_us;
    bool receipt, reply; /* are there */
};

struct times {
    double *ms;
    size_t count, cap;
};

struct quiet {
    struct pending *pending;
    struct times receipts, replies;
    uint64_t sent, refused, errors;
    char refusal[64];
};

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- all speakers ---- */

void peers_turn(struct peers *peers, int timeout_ms)
{
    struct pollfd *fds = calloc(peers->count, sizeof *fds);
    for (uint32_t i = 0; i < peers->count; i++) {
        const struct speaker *s = &peers->speakers[i];
        fds[i] = (struct pollfd){ s->fd, (short)((s->deaf ? 0 : POLLIN) | (s->out_at < s->out_len ? POLLOUT : 0)), 0 };
    }
    poll(fds, peers->count, timeout_ms);
    for (uint32_t i = 0; i < peers->count; i++) {
        if (fds[i].revents & ~POLLOUT)
            speaker_read(&peers->speakers[i]);
        speaker_write(&peers->speakers[i]);
    }
    free(fds);
}

static bool all_up(const struct peers *peers)
{
    for (uint32_t i = 0; i < peers->count; i++) {
        if (peers->speakers[i].fd < 0)
            speaker_die("peer %u: %s", i, peers->speakers[i].ended);
        /* Before the credit for its class came, nothing can be said. */
        if (!peers->speakers[i].up || !peers->speakers[i].allowed[KLP_CLASS_INTERACTIVE])
            return false;
    }
    return true;
}

/* ---- those who send now and then ---- */

static void add_time(struct times *times, uint64_t us)
{
    if (times->count == times->cap) {
        times->cap = times->cap ? 2 * times->cap : 1024;
        times->ms = realloc(times->ms, times->cap * sizeof *times->ms);
    }
    times->ms[times->count++] = (double)us / 1000;
}

static struct pending *find(struct quiet *quiet, const struct klp_id *id)
{
    struct pending *pending;
    HASH_FIND(hh, quiet->pending, id, sizeof *id, pending);
    return pending;
}

static void done(struct quiet *quiet, struct pending *pending)
{
    HASH_DEL(quiet->pending, pending);
    free(pending);
}

static void took_receipts(struct speaker *speaker, struct quiet *quiet, struct kos_bytes item)
{
    struct klp_receipts receipts;
    struct klp_receipt receipt;
    struct klp_json_iter iter;
    const struct peers *peers = speaker->arg;
    if (item.len <= KLP_SIGNATURE_LEN ||
        klp_receipts_parse(kos_bytes(item.data + KLP_SIGNATURE_LEN, item.len - KLP_SIGNATURE_LEN), &receipts) < 0)
        speaker_die("receipts that cannot be read");
    klp_json_iter_init(receipts.list, &iter);
    while (klp_receipts_next(&iter, &receipt)) {
        struct pending *pending = find(quiet, &receipt.id);
        if (!pending || pending->receipt)
            continue;
        if (receipt.error < 0) {
            quiet->refused++;
            snprintf(quiet->refusal, sizeof quiet->refusal, "%s", kos_error_name(receipt.error));
            done(quiet, pending);
            continue;
        }
        add_time(&quiet->receipts, now_us() - pending->sent_us);
        pending->receipt = true;
        if (pending->reply || !peers->replies)
            done(quiet, pending);
    }
}

static void took_message(struct quiet *quiet, struct kos_bytes body, struct klp_receipt *ret_receipt)
{
    struct klp_message message;
    if (klp_message_parse(body, &message, NULL) < 0)
        speaker_die("a message that cannot be read");
    *ret_receipt = (struct klp_receipt){ .id = message.id, .digest = message.digest };
    struct pending *pending = message.has_reply_to ? find(quiet, &message.reply_to) : NULL;
    quiet->errors += strcmp(message.type, "ERROR") == 0;
    if (!pending || pending->reply)
        return;
    add_time(&quiet->replies, now_us() - pending->sent_us);
    pending->reply = true;
    if (pending->receipt)
        done(quiet, pending);
}

static void took_item(struct speaker *speaker, uint8_t type, struct kos_bytes payload)
{
    static struct klp_receipt given[KLP_BATCH_MAX];
    static uint8_t item[1 << 19];
    struct quiet *quiet = ((struct peers *)speaker->arg)->quiet;
    struct klp_item_batch batch;
    struct kos_bytes body, signature;
    size_t count = 0;
    if (type == KLP_FRAME_RECEIPTS)
        took_receipts(speaker, quiet, payload);
    else if (type == KLP_FRAME_MESSAGE && klp_item_message(payload, &body, &signature) >= 0)
        took_message(quiet, body, &given[count++]);
    else if (type == KLP_FRAME_BATCH && klp_item_batch(payload, &batch) >= 0)
        while (klp_item_batch_next(&batch, &body) > 0)
            took_message(quiet, body, &given[count++]);
    if (count)
        speaker_say(speaker, KLP_FRAME_RECEIPTS, KLP_CLASS_CONTROL,
                    kos_bytes(item, speaker_receipt(speaker, given, count, item, sizeof item)));
}

static void send_one(struct peers *peers, struct speaker *speaker, const char *type)
{
    uint8_t item[2048];
    struct pending *pending = calloc(1, sizeof *pending);
    size_t len = speaker_message(speaker, type, NULL, kos_bytes_str("{\"text\":\"now and then\"}"), item, sizeof item,
                                 &pending->id);
    pending->sent_us = now_us();
    if (speaker->fd < 0)
        speaker_die("a quiet peer lost its session: %s", speaker->ended);
    if (!speaker_say(speaker, KLP_FRAME_MESSAGE, KLP_CLASS_INTERACTIVE, kos_bytes(item, len))) {
        free(pending); /* no credit: it waits, and says so by what it did not send */
        return;
    }
    speaker_write(speaker);
    HASH_ADD(hh, peers->quiet->pending, id, sizeof pending->id, pending);
    peers->quiet->sent++;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void put_times(const char *name, struct times *times)
{
    if (times->count)
        qsort(times->ms, times->count, sizeof *times->ms, by_size);
    double p50 = times->count ? times->ms[times->count / 2] : 0, p99 = times->count ? times->ms[times->count * 99 / 100] : 0;
    double max = times->count ? times->ms[times->count - 1] : 0;
    printf(",\"%s\":{\"count\":%zu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}", name, times->count, p50, p99, max);
    free(times->ms);
}

static void quiet(struct peers *peers, double seconds, const char *type, uint64_t every_ms)
{
    struct quiet own = { .sent = 0 };
    uint64_t begin = now_us(), end = begin + (uint64_t)(seconds * 1e6), step = every_ms * 1000 / peers->count;
    peers->quiet = &own;
    peers->replies = strcmp(type, "ECHO") == 0 || strcmp(type, "SLOW") == 0;
    for (uint64_t n = 0, now; (now = now_us()) < end;) {
        for (; begin + n * step <= now; n++)
            send_one(peers, &peers->speakers[n % peers->count], type);
        uint64_t next = begin + n * step;
        peers_turn(peers, next > now ? (int)((next - now) / 1000) + 1 : 0);
    }
    for (uint64_t last = now_us() + 60000000; own.pending && now_us() < last;)
        peers_turn(peers, 50);
    printf("{\"sent\":%llu,\"refused\":%llu,\"refusal\":\"%s\",\"errors\":%llu,\"unanswered\":%u", (unsigned long long)own.sent,
           (unsigned long long)own.refused, own.refusal, (unsigned long long)own.errors, HASH_COUNT(own.pending));
    put_times("receipts", &own.receipts);
    put_times("replies", &own.replies);
    printf("}\n");
    struct pending *pending, *next;
    HASH_ITER(hh, own.pending, pending, next)
        done(&own, pending);
}

/* ---- the program ---- */

static void command(struct peers *peers, char *line)
{
    char *rest = NULL, *what = strtok_r(line, " \n", &rest), *seconds = strtok_r(NULL, " \n", &rest);
    char *one = strtok_r(NULL, " \n", &rest), *two = strtok_r(NULL, " \n", &rest), *three = strtok_r(NULL, " \n", &rest);
    static struct quiet none;
    if (!two)
        speaker_die("a command says what, how long and of which type");
    if (strcmp(what, "quiet") == 0)
        quiet(peers, atof(seconds), one, strtoull(two, NULL, 10));
    else if (strcmp(what, "flood") == 0)
        flood(peers, atof(seconds), one, two, three);
    else
        speaker_die("there is no command %s", what);
    fflush(stdout);
    peers->quiet = &none;
    for (uint32_t i = 0; i < peers->count; i++)
        peers->speakers[i].item = took_item;
}

int main(int argc, char **argv)
{
    static struct quiet none;
    struct peers peers = { .quiet = &none };
    char line[1024];
    if (argc != 4 || (peers.count = (uint32_t)atoi(argv[3])) == 0)
        speaker_die("usage: peers HOST PORT COUNT");
    peers.speakers = calloc(peers.count, sizeof *peers.speakers);
    for (uint32_t i = 0; i < peers.count; i++) {
        struct speaker *speaker = &peers.speakers[i];
        speaker_init(speaker);
        speaker->arg = &peers;
        speaker->item = took_item;
        if (!speaker_connect(speaker, argv[1], argv[2]))
            speaker_die("peer %u: %s", i, speaker->ended);
        peers_turn(&peers, 0);
    }
    while (!all_up(&peers))
        peers_turn(&peers, 1000);
    for (uint32_t i = 0; i < peers.count; i++)
        printf("%s%s", peers.speakers[i].source, i + 1 < peers.count ? " " : "\n");
    fflush(stdout);
    /* Idle between commands, it answers pings. */
    for (;;) {
        struct pollfd input = { STDIN_FILENO, POLLIN, 0 };
        peers_turn(&peers, 20);
        if (poll(&input, 1, 0) <= 0)
            continue;
        if (!fgets(line, sizeof line, stdin))
            break;
        command(&peers, line);
    }
    for (uint32_t i = 0; i < peers.count; i++)
        speaker_fini(&peers.speakers[i]);
    free(peers.speakers);
    return 0;
}
