/* SPDX-License-Identifier: Apache-2.0
 *
 * A node that is no kosd: it speaks KLP over TCP with nothing but libklp (klp(7), "Sessions" to "Delivery"), says what
 * its caller wants said, true or not, and minds its peer's credit. Private to tests/pressure.
 */
#ifndef PRESSURE_SPEAKER_H
#define PRESSURE_SPEAKER_H

#include <klp/address.h>
#include <klp/frame.h>
#include <klp/noise.h>

struct speaker {
    int fd;                          /* -1: the session has ended */
    struct klp_secret secret;
    struct klp_log *log;
    struct klp_id id, target;        /* its own; the node that it speaks to */
    char source[KLP_ADDRESS_MAX], target_text[KLP_ADDRESS_MAX];
    uint8_t noise_secret[32], noise_public[32];
    struct klp_record *send, *receive;
    struct klp_assembly *assembly;
    bool up, deaf;                   /* HELLO came; it reads nothing any more */
    uint64_t allowed[KLP_CLASSES], sent[KLP_CLASSES], taken[KLP_CLASSES];
    uint8_t *out, *in;
    size_t out_len, out_at, in_len;
    uint64_t random;                 /* for ids that need not be secret */
    char ended[300];                 /* why, when it has */
    void *arg;
    void (*item)(struct speaker *speaker, uint8_t type, struct kos_bytes payload);
};
enum { SPEAKER_OUT = 4 << 20, SPEAKER_IN = 1 << 17 };

/* An identity of its own; ends the program with a sentence when something is not there. */
void speaker_init(struct speaker *speaker);
void speaker_fini(struct speaker *speaker);
/* Connects and shakes hands (XX), sends log, HELLO and credit; the rest comes by speaker_read. false: speaker->ended. */
bool speaker_connect(struct speaker *speaker, const char *host, const char *port);
/* All that lies in the socket; `item` for each whole item. */
void speaker_read(struct speaker *speaker);
/* What waits to be written, as far as the socket takes it. */
void speaker_write(struct speaker *speaker);
/* Cut into frames; false: there is no credit or no room for all of it now, and nothing was sent. */
bool speaker_say(struct speaker *speaker, uint8_t type, uint8_t klass, struct kos_bytes item);
/* A MESSAGE item, signed by itself. `payload` is canonical JSON; returns its length. */
size_t speaker_message(struct speaker *speaker, const char *type, const char *target, struct kos_bytes payload, uint8_t *item,
                       size_t cap, struct klp_id *ret_id);
/* A BATCH item of `count` such messages. */
size_t speaker_batch(struct speaker *speaker, const char *type, const char *target, struct kos_bytes payload, uint32_t count,
                     uint8_t *item, size_t cap);
/* Receipts for what came: an item. */
size_t speaker_receipt(struct speaker *speaker, const struct klp_receipt *receipts, size_t count, uint8_t *item, size_t cap);
int64_t speaker_now_ms(void);
void speaker_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
