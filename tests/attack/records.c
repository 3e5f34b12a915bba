/* SPDX-License-Identifier: Apache-2.0
 * Attacks on what a session carries: records repeated, reflected, sealed under a counter or a key that is not theirs. */
#include "evil.h"

static struct kos_bytes ping(uint8_t n)
{
    static uint8_t frame[32];
    uint8_t payload[8] = { n };
    int32_t len = klp_frame_put(frame, sizeof frame, KLP_FRAME_PING, KLP_CLASS_CONTROL, false, kos_bytes(payload, 8));
    return kos_bytes(frame, (size_t)len);
}

/* The session lives: a ping is answered. */
static void alive(struct session *session)
{
    uint64_t wanted = session->pongs + 1;
    record_send(session, ping(1));
    if (!session_read(session, &session->pongs, wanted, EVIL_WAIT_MS))
        fail("no answer to a ping in a session that is in order");
    say("alive");
}

static struct session *opened(const struct evil *evil)
{
    struct identity self;
    identity_make(evil, option(evil, "seed", "1"), &self);
    struct session *session = session_open(evil, &self, NULL);
    alive(session);
    return session;
}

static int replay_record(const struct evil *evil)
{
    struct session *session = opened(evil);
    raw_send(session, session->last_sent, session->last_sent_len);
    return session_end(session);
}

/* A record of one session said in another of the same two nodes. */
static int replay_elsewhere(const struct evil *evil)
{
    struct session *one = opened(evil), *other = opened(evil);
    raw_send(other, one->last_sent, one->last_sent_len);
    return session_end(other);
}

static int reflect_record(const struct evil *evil)
{
    struct session *session = opened(evil);
    raw_send(session, session->last, session->last_len);
    return session_end(session);
}

/* Two records under one counter: how=last the second time, back further ago, ahead one left out, end the last one there is. */
static int reuse_nonce(const struct evil *evil)
{
    struct session *session = opened(evil);
    const char *how = option(evil, "how", "last");
    uint8_t record[256];
    uint64_t counter = session->send.counter;
    counter = strcmp(how, "last") == 0 ? counter - 1 : strcmp(how, "back") == 0 ? 0 : strcmp(how, "ahead") == 0 ? counter + 1 : UINT64_MAX - 1;
    size_t len = way_seal(&session->send, counter, ping(2), record);
    raw_send(session, record, len);
    return session_end(session);
}

/* What one side sends under the key of the other direction. */
static int swap_keys(const struct evil *evil)
{
    struct session *session = opened(evil);
    uint8_t record[256];
    size_t len = way_seal(&session->receive, session->send.counter, ping(2), record);
    raw_send(session, record, len);
    return session_end(session);
}

/* Many records at a time, without waiting for what comes back. */
static void spend(struct session *session, uint64_t until)
{
    static uint8_t run[65536];
    while (session->send.counter < until && !session->closed) {
        size_t len = 0;
        while (len + 64 < sizeof run && session->send.counter < until) {
            if (session->send.counter >> KLP_EPOCH_SHIFT != session->send.epoch)
                way_rekey(&session->send);
            len += way_seal(&session->send, session->send.counter++, kos_bytes(NULL, 0), run + len);
        }
        raw_send(session, run, len);
    }
}

/* Past the first 2^20 counters: how=new with the key that follows, as it must be; old with the first key still; early
 * with the new one a record too soon; again under the first key and counter 0, as if it began anew. */
static int rekey(const struct evil *evil)
{
    struct session *session = opened(evil);
    const char *how = option(evil, "how", "old");
    uint64_t edge = UINT64_C(1) << KLP_EPOCH_SHIFT;
    bool early = strcmp(how, "early") == 0, again = strcmp(how, "again") == 0;
    uint8_t record[256];
    spend(session, early ? edge - 1 : strcmp(how, "new") == 0 ? edge + 10 : edge);
    say("spent %llu", (unsigned long long)session->send.counter);
    if (strcmp(how, "new") == 0) {
        alive(session);
        return session_end(session);
    }
    if (early)
        way_rekey(&session->send);
    size_t len = way_seal(&session->send, again ? 0 : session->send.counter, ping(2), record);
    raw_send(session, record, len);
    return session_end(session);
}

/* At once after the handshake, before anything proves who this is: type=N class=N payload=TEXT. */
static int out_of_place(const struct evil *evil)
{
    struct identity self;
    static const struct quirk none;
    identity_make(evil, option(evil, "seed", "1"), &self);
    struct session *session = session_new(evil, link_open(evil));
    if (session_shake(session, &self, &none))
        item_send(session, (uint8_t)number(evil, "type", KLP_FRAME_HELLO), KLP_CLASS_CONTROL, kos_bytes_str(option(evil, "payload", "{}")));
    return session_end(session);
}

const struct attack record_attacks[] = {
    { "replay-record", replay_record }, { "replay-elsewhere", replay_elsewhere }, { "reflect-record", reflect_record },
    { "reuse-nonce", reuse_nonce }, { "swap-keys", swap_keys }, { "rekey", rekey }, { "out-of-place", out_of_place }, { NULL, NULL },
};
