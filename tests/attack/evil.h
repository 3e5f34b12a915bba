/* SPDX-License-Identifier: Apache-2.0
 *
 * An evil peer: a program that can open a genuine session with a real kosd and then misbehave, by name. Its Noise and
 * its records are its own, since libklp's refuse to do what is wrong; keys, ids, logs and messages are libklp's.
 *
 *   evil ATTACK HOST:PORT [NAME=VALUE ...]
 *
 * What it sees goes to stdout, a line each: "handshake done", "hello NAME", "receipt ID ERROR", "message ...",
 * "close ERROR TEXT", at last "end closed" (the other side hung up) or "end open". A line "wait" says that it goes on
 * when it reads one.
 */
#ifndef TESTS_ATTACK_EVIL_H
#define TESTS_ATTACK_EVIL_H

#include <klp/frame.h>
#include <klp/noise.h>
#include <klp/statement.h>
#include <stdio.h>
#include <stdlib.h>

enum { EVIL_ITEM_MAX = KLP_ITEM_MAX, EVIL_WAIT_MS = 20000 };

struct evil {
    const char *attack, *address;
    int count;
    char **options;
};
/* Of the command line; `otherwise` when it is not there. */
const char *option(const struct evil *evil, const char *name, const char *otherwise);
long number(const struct evil *evil, const char *name, long otherwise);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* What it cannot do itself: the test is wrong. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void wait_for_line(void);
void random_fill(void *self, void *out, size_t len);

/* ---- identity.c: from a number, so that every run knows them again ---- */
struct identity {
    struct klp_secret keys[3]; /* of event 0, of event 1, what event 1 commits to */
    struct klp_log *log;
    uint64_t event;            /* whose key signs */
    struct klp_id id;
    uint8_t noise[32];
};
/* seed=N alg=ed25519|p256 rotated=0|1 (its key was changed, the old one given up) event=N static=N (Noise key of another) */
void identity_make(const struct evil *evil, const char *seed, struct identity *ret_identity);
const struct klp_secret *identity_key(const struct identity *identity);
void identity_proof(const struct identity *identity, const uint8_t static_public[32], uint8_t ret_proof[KLP_PROOF_LEN]);
/* Its log's text, malloc'ed; first=N: no more events than that. */
struct kos_bytes identity_log(const struct evil *evil, const struct identity *identity);

/* ---- noise.c ---- */
struct noise {
    uint8_t h[32], ck[32], k[32];
    uint64_t n;
    bool keyed;
    uint8_t e[32], e_public[32], s[32], s_public[32], re[32], rs[32];
    FILE *secrets; /* every secret goes there too, a line of hex each */
};
void noise_begin(struct noise *noise, const char *name, struct kos_bytes prologue, const uint8_t s[32]);
void noise_know(struct noise *noise, const uint8_t key[32]); /* a static key known beforehand */
/* Tokens: e, s; a ee, b es, c se, d ss, as the initiator sees them when `initiator`. */
size_t noise_write(struct noise *noise, bool initiator, const char *tokens, struct kos_bytes payload, uint8_t *out);
bool noise_read(struct noise *noise, bool initiator, const char *tokens, struct kos_bytes message, uint8_t *out, size_t *ret_len);

struct way { /* one direction of records */
    uint8_t key[32];
    uint64_t counter, epoch;
    struct klp_aead *aead;
};
void noise_split(struct noise *noise, bool initiator, struct way *ret_send, struct way *ret_receive);
/* With the length before it; returns bytes. Under the counter given, the key as it is. */
size_t way_seal(struct way *way, uint64_t counter, struct kos_bytes plain, uint8_t *out);
bool way_open(struct way *way, struct kos_bytes sealed, uint8_t *out);
void way_rekey(struct way *way);

/* ---- session.c ---- */
struct session {
    const struct evil *evil;
    int fd;
    bool closed;
    struct noise noise;
    struct way send, receive;
    struct klp_assembly *assembly;
    uint64_t allowed[KLP_CLASSES], sent[KLP_CLASSES];
    uint64_t taken[KLP_CLASSES];
    uint8_t in[262144];
    size_t in_len;
    uint8_t last[KLP_NOISE_MAX + 2], last_sent[KLP_NOISE_MAX + 2]; /* records as they were on the wire */
    size_t last_len, last_sent_len;
    struct klp_proof proof; /* theirs */
    uint8_t their_proof[KLP_PROOF_LEN];
    struct klp_log *log;
    bool greeted;
    uint64_t receipts, messages, pongs;
    uint8_t *item;          /* the last message: u16 signature length, signature, body; a batch as it came */
    size_t item_len;
    uint8_t item_type;
};
/* What is out of the ordinary about a handshake; zero: nothing. */
struct quirk {
    const uint8_t *preface;      /* 6 bytes instead of KLP/1 and the pattern */
    const uint8_t *prologue;     /* 6 bytes instead of the preface */
    const char *name;            /* of the protocol */
    const uint8_t *e_public, *s_public;
    const uint8_t *proof;        /* KLP_PROOF_LEN bytes */
    bool ik;
    int stop_after;              /* 1, 2, 3: says and takes no more than so many messages */
    bool silent;                 /* after the handshake neither log nor hello */
};
int link_open(const struct evil *evil);                       /* from=ADDRESS */
/* Handshake as initiator or, `accepted`, as responder; then log and hello. False: it failed, which was said. */
bool session_shake(struct session *session, const struct identity *identity, const struct quirk *quirk);
bool session_answer(struct session *session, const struct identity *identity, const struct quirk *quirk);
struct session *session_new(const struct evil *evil, int fd);
struct session *session_open(const struct evil *evil, const struct identity *identity, const struct quirk *quirk); /* up, or exits */
bool session_greet(struct session *session, const struct identity *identity); /* log, hello; until theirs came */
bool raw_send(struct session *session, const void *data, size_t len);
bool record_send(struct session *session, struct kos_bytes plain);
/* An item in as many frames as it takes, waiting for credit. */
bool item_send(struct session *session, uint8_t type, uint8_t klass, struct kos_bytes payload);
/* Reads until *what reaches `wanted` (NULL: until the end), so long, or the other side hangs up. */
bool session_read(struct session *session, const uint64_t *what, uint64_t wanted, int wait_ms);
/* Says how it ended; wait=MS: how long it stays for what still comes. */
int session_end(struct session *session);

/* ---- message.c ---- */
/* type= id= target= target_id= source= source_id= reply_to= created= expires= payload= text= : body, malloc'ed. */
struct kos_bytes message_make(const struct evil *evil, const struct identity *identity, long n);
struct kos_bytes item_make(struct kos_bytes signature, struct kos_bytes body); /* of a MESSAGE frame, malloc'ed */

struct attack {
    const char *name;
    int (*run)(const struct evil *evil);
};
extern const struct attack handshake_attacks[], record_attacks[], message_attacks[], bomb_attacks[];

#endif
