/* SPDX-License-Identifier: Apache-2.0
 *
 * A peer that sends all that its credit allows:
 *
 *   batch     small messages, 256 under each signature        single    each under its own signature
 *   forged    signatures that do not hold                     huge      messages of a megabyte
 *   tasks     requests of 200 bytes to an agent               repeat    one and the same message
 *   receipts  receipts that nobody gave                       deaf      small messages, and it reads no answer
 */
#include "peers.h"

#include <stdlib.h>
#include <time.h>

enum { ITEM_MAX = KLP_ITEM_MAX, BATCH = 256, MADE = 64 };

struct told { /* receipts, by what they say */
    uint64_t count[64], answers[64]; /* answers: messages, likewise; their errors */
    uint64_t messages;
    char text[KLP_RECEIPT_TEXT_MAX]; /* of the last refusal */
};
static struct told told;

static uint64_t *slot(uint64_t *counts, int32_t error)
{
    return &counts[-error < 64 ? -error : 63];
}

/* What the messages of an item say of errors, wherever they stand in it. */
static void count_errors(struct kos_bytes item)
{
    static const char mark[] = "\"error\":\"";
    const uint8_t *at = item.data, *end = item.data + item.len, *quote;
    while ((at = memmem(at, (size_t)(end - at), mark, sizeof mark - 1)) != NULL) {
        at += sizeof mark - 1;
        if (!(quote = memchr(at, '"', (size_t)(end - at))))
            return;
        ++*slot(told.answers, klp_error_parse(kos_bytes(at, (size_t)(quote - at))));
    }
}

static void took(struct speaker *speaker, uint8_t type, struct kos_bytes payload)
{
    struct klp_receipts receipts;
    struct klp_receipt receipt;
    struct klp_json_iter iter;
    (void)speaker;
    if (type == KLP_FRAME_MESSAGE || type == KLP_FRAME_BATCH) {
        told.messages++;
        count_errors(payload);
    }
    if (type != KLP_FRAME_RECEIPTS || payload.len <= KLP_SIGNATURE_LEN ||
        klp_receipts_parse(kos_bytes(payload.data + KLP_SIGNATURE_LEN, payload.len - KLP_SIGNATURE_LEN), &receipts) < 0)
        return;
    klp_json_iter_init(receipts.list, &iter);
    while (klp_receipts_next(&iter, &receipt)) {
        ++*slot(told.count, receipt.error);
        if (receipt.error < 0)
            snprintf(told.text, sizeof told.text, "%s", receipt.text);
    }
}

struct item {
    uint8_t *data, type, klass;
    size_t len;
    uint32_t messages;
};

static struct kos_bytes payload_of(const char *kind)
{
    static char huge[1000100], small[600];
    if (strcmp(kind, "huge") == 0) {
        memset(huge, 'x', 1000020);
        memcpy(huge, "{\"text\":\"", 9);
        memcpy(huge + 1000009, "\"}", 3);
        return kos_bytes_str(huge);
    }
    if (strcmp(kind, "tasks") == 0) {
        snprintf(small, sizeof small, "{\"deadline\":%lld,\"inputs\":[\"%0100d\"]}", (long long)speaker_now_ms() + 300000, 7);
        return kos_bytes_str(small);
    }
    memset(small, 'x', 330);
    memcpy(small, "{\"text\":\"", 9);
    memcpy(small + 330, "\"}", 3);
    return kos_bytes_str(small);
}

static void make(struct speaker *speaker, const char *kind, const char *type, const char *target, struct item *item)
{
    struct kos_bytes payload = payload_of(kind);
    item->type = KLP_FRAME_MESSAGE;
    item->klass = strcmp(kind, "huge") == 0 ? KLP_CLASS_BULK : KLP_CLASS_INTERACTIVE;
    item->messages = 1;
    if (strcmp(kind, "receipts") == 0) {
        struct klp_receipt receipt = { .error = KOS_OK };
        item->type = KLP_FRAME_RECEIPTS;
        item->klass = KLP_CLASS_CONTROL;
        item->len = speaker_receipt(speaker, &receipt, 1, item->data, ITEM_MAX);
        item->data[0] ^= 1;
    } else if (strcmp(kind, "batch") == 0 || strcmp(kind, "deaf") == 0 || strcmp(kind, "tasks") == 0) {
        item->type = KLP_FRAME_BATCH;
        item->messages = BATCH;
        item->len = speaker_batch(speaker, type, target, payload, BATCH, item->data, ITEM_MAX);
    } else {
        item->len = speaker_message(speaker, type, target, payload, item->data, ITEM_MAX, NULL);
        if (strcmp(kind, "forged") == 0)
            item->data[2 + 7] ^= 1;
    }
}

static void put_counts(const char *name, const uint64_t *counts)
{
    const char *comma = "";
    printf(",\"%s\":{", name);
    for (int i = 0; i < 64; i++)
        if (counts[i]) {
            printf("%s\"%s\":%llu", comma, i ? kos_error_name(-i) : "ok", (unsigned long long)counts[i]);
            comma = ",";
        }
    printf("}");
}

static void say_result(const struct speaker *speaker, uint64_t items, uint64_t messages, uint64_t bytes)
{
    printf("{\"items\":%llu,\"sent\":%llu,\"bytes\":%llu", (unsigned long long)items, (unsigned long long)messages,
           (unsigned long long)bytes);
    put_counts("told", told.count);
    put_counts("answered", told.answers);
    /* What was said is plain text of the node's own making, quotes aside. */
    printf(",\"text\":\"");
    for (const char *c = told.text; *c; c++)
        if (*c != '"' && *c != '\\')
            putchar(*c);
    printf("\",\"answers\":%llu,\"ended\":\"", (unsigned long long)told.messages);
    for (const char *c = speaker->ended; *c; c++)
        if (*c != '"' && *c != '\\')
            putchar(*c);
    printf("\"}\n");
}

static uint64_t heard(void)
{
    uint64_t all = 0;
    for (int i = 0; i < 64; i++)
        all += told.count[i];
    return all;
}

void flood(struct peers *peers, double seconds, const char *kind, const char *type, const char *target)
{
    struct speaker *speaker = &peers->speakers[0];
    struct item item = { .data = malloc(ITEM_MAX) };
    struct timespec t;
    uint64_t items = 0, messages = 0, bytes = 0;
    bool fresh = false; /* made and not said */
    clock_gettime(CLOCK_MONOTONIC, &t);
    double end = (double)t.tv_sec + (double)t.tv_nsec / 1e9 + seconds, now;
    memset(&told, 0, sizeof told);
    speaker->item = took;
    speaker->deaf = strcmp(kind, "deaf") == 0;
    bool again = strcmp(kind, "repeat") == 0 || strcmp(kind, "forged") == 0 || strcmp(kind, "receipts") == 0;
    do {
        bool said = true;
        for (int i = 0; i < MADE && said && speaker->fd >= 0; i++) {
            if (!fresh)
                make(speaker, kind, type, target, &item);
            fresh = true;
            said = speaker_say(speaker, item.type, item.klass, kos_bytes(item.data, item.len));
            items += said;
            messages += said ? item.messages : 0;
            bytes += said ? item.len : 0;
            fresh = !said || again;
        }
        peers_turn(peers, said ? 0 : 20);
        clock_gettime(CLOCK_MONOTONIC, &t);
        now = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
    } while (now < end && speaker->fd >= 0);
    /* What is still to be told: of each message something, of receipts nothing. */
    uint64_t wanted = item.type == KLP_FRAME_RECEIPTS || speaker->deaf ? 0 : messages;
    for (int i = 0; i < 1500 && heard() < wanted && speaker->fd >= 0; i++)
        peers_turn(peers, 20);
    say_result(speaker, items, messages, bytes);
    free(item.data);
}
