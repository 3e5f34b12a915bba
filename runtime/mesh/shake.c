/* SPDX-License-Identifier: Apache-2.0
 *
 * The handshake over datagrams (klp(7), "Datagrams"). Only the side that began an attempt has a clock: it says its last
 * message again until it is answered; the other answers each one, a repeat with the very same bytes. What an unproven
 * source is sent is at most MESH_AMPLIFY times what it sent; beyond that, and where an attempt would take the place of
 * something, it must first send back a cookie.
 *
 *   SHAKE    u8 1 | u8 flags, pattern, number | u8 index, count | u32 attempt | cookie? | u16 length | bytes | padding
 *   COOKIE   u8 2 | u32 attempt | cookie
 *   AGAIN    u8 4 | u32 attempt           the first message of IK was for another key: XX, please
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

enum {
    HEAD = 7,
    WITH_COOKIE = 0x80,
    COOKIE_BYTES = 5 + MESH_COOKIE_LEN,
    AGAIN_BYTES = 5,
    PAD_BYTES = 75, /* of the first message of XX: a third of what the second takes */
    SLOW_BYTES = 512, /* what a round trip of the handshake puts on the air, about */
    CONFIRM_TRIES = 8,
    COOKIES_MAX = 4, /* taken for one attempt */
};

struct mesh_shake {
    struct mesh_link *link;
    bool begun, ours; /* there is an attempt; it is this side's */
    uint32_t attempt;
    uint8_t pattern;
    uint8_t taken; /* the last message of the other side that opened */
    uint8_t own_cookie[MESH_COOKIE_LEN], cookie[MESH_COOKIE_LEN];
    bool has_cookie, proven, fell_back;
    uint32_t cookies;
    uint64_t in, out; /* bytes from and to an unproven source */
    uint8_t last[MESH_HANDSHAKE_MAX];
    size_t last_len;
    uint8_t last_number;
    uint8_t *parts[MESH_SHAKE_FRAGMENTS];
    size_t part_len[MESH_SHAKE_FRAGMENTS];
    uint8_t part_number, part_count;
    struct kos_timer *timer;
    uint64_t wait_ms, sent_ms, rtt_ms;
    uint32_t tries;
    bool confirmed;
};

struct shake_message {
    uint8_t pattern, number, index, count;
    uint32_t attempt;
    bool cookie_good;
    struct kos_bytes body;
};

static void put32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get32(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

static void forget_parts(struct mesh_shake *shake)
{
    for (int i = 0; i < MESH_SHAKE_FRAGMENTS; i++) {
        free(shake->parts[i]);
        shake->parts[i] = NULL;
    }
    shake->part_count = 0;
}

/* ---- out ---- */

/* Whether so much may be sent now to where the other side says it is. */
static bool afford(struct mesh_shake *shake, size_t bytes)
{
    if (shake->link->send_credit < bytes)
        return false;
    if (shake->ours || shake->proven)
        return true;
    if (shake->out + bytes > MESH_AMPLIFY * shake->in)
        return false;
    shake->out += bytes;
    return true;
}

static void send_raw(struct mesh_link *link, const uint8_t *data, size_t len)
{
    mesh_airtime_spend(link, len);
    mesh_link_send(link, kos_bytes(data, len));
}

static void send_cookie(struct mesh_shake *shake, uint32_t attempt)
{
    uint8_t out[COOKIE_BYTES] = { MESH_DATAGRAM_COOKIE };
    put32(out + 1, attempt);
    memcpy(out + 5, shake->own_cookie, MESH_COOKIE_LEN);
    if (afford(shake, sizeof out))
        send_raw(shake->link, out, sizeof out);
}

void mesh_shake_refuse(struct mesh_link *link)
{
    uint8_t out[AGAIN_BYTES] = { MESH_DATAGRAM_AGAIN };
    put32(out + 1, link->shake->attempt);
    if (afford(link->shake, sizeof out))
        send_raw(link, out, sizeof out);
}

static size_t put_head(const struct mesh_shake *shake, uint8_t *out, uint8_t index, uint8_t count, size_t len)
{
    bool cookie = shake->last_number == 1 && shake->has_cookie;
    size_t at = HEAD;
    out[0] = MESH_DATAGRAM_SHAKE;
    out[1] = (uint8_t)((cookie ? WITH_COOKIE : 0) | shake->pattern << 4 | shake->last_number);
    out[2] = (uint8_t)(index << 4 | count);
    put32(out + 3, shake->attempt);
    if (cookie) {
        memcpy(out + at, shake->cookie, MESH_COOKIE_LEN);
        at += MESH_COOKIE_LEN;
    }
    out[at] = (uint8_t)(len >> 8);
    out[at + 1] = (uint8_t)len;
    return at + 2;
}

/* What was said last, in as many datagrams as it takes. */
static void transmit(struct mesh_shake *shake)
{
    struct mesh_link *link = shake->link;
    uint8_t out[HEAD + MESH_COOKIE_LEN + 2 + MESH_HANDSHAKE_MAX];
    size_t most = link->mtu < sizeof out ? link->mtu : sizeof out, overhead = HEAD + MESH_COOKIE_LEN + 2;
    size_t room = most - overhead;
    uint8_t count = (uint8_t)((shake->last_len + room - 1) / room);
    size_t all = shake->last_len + (size_t)count * (HEAD + 2);
    if (count > MESH_SHAKE_FRAGMENTS || !shake->last_len)
        return;
    if (!afford(shake, all)) {
        if (!shake->ours)
            send_cookie(shake, shake->attempt);
        return;
    }
    for (uint8_t i = 0; i < count; i++) {
        size_t from = (size_t)i * room, len = shake->last_len - from < room ? shake->last_len - from : room;
        size_t at = put_head(shake, out, i, count, len);
        memcpy(out + at, shake->last + from, len);
        len += at;
        for (; count == 1 && shake->last_number == 1 && len < PAD_BYTES; len++)
            out[len] = 0;
        send_raw(link, out, len);
    }
}

static uint64_t first_wait(const struct mesh_link *link)
{
    uint64_t air = link->bits_per_second ? mesh_airtime_us(link, SLOW_BYTES) / 1000 : 0;
    return MESH_SHAKE_MIN_MS + 2 * air;
}

static void arm(struct mesh_shake *shake)
{
    uint32_t jitter;
    kos_random(shake->link->mesh->env, &jitter, sizeof jitter);
    kos_timer_set(shake->link->mesh->env, shake->timer, shake->wait_ms + jitter % (shake->wait_ms / 4 + 1));
}

static void fire(void *arg)
{
    struct mesh_shake *shake = arg;
    if (shake->link->closing || !shake->ours || shake->confirmed || !shake->last_len)
        return;
    if (shake->link->session && ++shake->tries > CONFIRM_TRIES)
        return;
    shake->wait_ms *= 2;
    shake->sent_ms = 0; /* which of them is answered cannot be told */
    transmit(shake);
    arm(shake);
}

void mesh_shake_send(struct mesh_link *link, uint8_t pattern, uint8_t number, struct kos_bytes message)
{
    struct mesh_shake *shake = link->shake;
    shake->pattern = pattern;
    shake->last_number = number;
    shake->last_len = message.len;
    memcpy(shake->last, message.data, message.len);
    shake->sent_ms = kos_mono_ms(link->mesh->env);
    transmit(shake);
    /* The last message of XX is said again until a record shows that it came; that of IK has an answer of its own. */
    if (shake->ours) {
        shake->wait_ms = first_wait(link);
        arm(shake);
    }
}

/* ---- life ---- */

void mesh_shake_new(struct mesh_link *link)
{
    struct mesh_shake *shake = kos_new(sizeof *shake);
    shake->link = link;
    kos_random(link->mesh->env, shake->own_cookie, sizeof shake->own_cookie);
    shake->timer = kos_timer_new(link->mesh->env, fire, shake);
    link->shake = shake;
}

void mesh_shake_free(struct mesh_link *link)
{
    if (!link->shake)
        return;
    forget_parts(link->shake);
    kos_timer_free(link->mesh->env, link->shake->timer);
    free(link->shake);
    link->shake = NULL;
}

static void begin(struct mesh_shake *shake, bool ours, uint32_t attempt, uint8_t pattern)
{
    forget_parts(shake);
    kos_timer_stop(shake->link->mesh->env, shake->timer);
    shake->begun = true;
    shake->ours = ours;
    shake->attempt = attempt;
    shake->pattern = pattern;
    shake->taken = 0;
    shake->last_len = 0;
    shake->has_cookie = shake->confirmed = false;
    shake->cookies = shake->tries = 0;
}

void mesh_shake_begin(struct mesh_link *link)
{
    uint32_t attempt;
    kos_random(link->mesh->env, &attempt, sizeof attempt);
    begin(link->shake, true, attempt, 0);
}

void mesh_shake_confirmed(struct mesh_link *link)
{
    struct mesh_shake *shake = link->shake;
    shake->proven = true;
    if (shake->confirmed || (link->handshake && !link->handshake->awaits))
        return;
    shake->confirmed = true;
    kos_timer_stop(link->mesh->env, shake->timer);
}

bool mesh_shake_proven(const struct mesh_link *link)
{
    return link->shake->ours || link->shake->proven;
}

uint64_t mesh_shake_rtt(const struct mesh_link *link)
{
    return link->shake->rtt_ms;
}

uint64_t mesh_shake_limit_ms(const struct mesh_link *link)
{
    uint64_t fast = link->mesh->limits.handshake_ms;
    return link->slow && fast < MESH_SHAKE_SLOW_MS ? MESH_SHAKE_SLOW_MS : fast;
}

/* ---- in ---- */

static bool parse(const struct mesh_shake *shake, struct kos_bytes datagram, struct shake_message *message)
{
    const uint8_t *in = datagram.data;
    size_t at = HEAD;
    if (datagram.len < HEAD + 2)
        return false;
    bool cookie = in[1] & WITH_COOKIE;
    message->pattern = in[1] >> 4 & 7;
    message->number = in[1] & 15;
    message->index = in[2] >> 4;
    message->count = in[2] & 15;
    message->attempt = get32(in + 3);
    message->cookie_good = false;
    if (cookie) {
        if (datagram.len < HEAD + MESH_COOKIE_LEN + 2)
            return false;
        message->cookie_good = klp_equal(in + at, shake->own_cookie, MESH_COOKIE_LEN);
        at += MESH_COOKIE_LEN;
    }
    size_t len = (size_t)in[at] << 8 | in[at + 1];
    if (!len || len > datagram.len - at - 2 || len > MESH_HANDSHAKE_MAX)
        return false;
    message->body = kos_bytes(in + at + 2, len);
    return (message->pattern == KLP_NOISE_XX || message->pattern == KLP_NOISE_IK) && message->number >= 1 &&
           message->number <= 3 && message->index < message->count;
}

/* A first message of an attempt that is not the one under way. */
static bool admit(struct mesh_link *link, const struct shake_message *message)
{
    struct mesh_shake *shake = link->shake;
    bool busy = link->session || link->handshake;
    if (message->number != 1)
        return false;
    if (busy && shake->ours && !link->session) {
        /* Both began at once: the smaller number goes on, on both sides. */
        if (message->attempt >= shake->attempt)
            return false;
    } else if (!message->cookie_good && (busy || link->mesh->half_open > link->mesh->limits.half_open / 2)) {
        send_cookie(shake, message->attempt);
        return false;
    }
    if (link->handshake) {
        mesh_handshake_abandon(link->handshake);
        link->handshake = NULL;
    }
    begin(shake, false, message->attempt, message->pattern);
    shake->in = shake->in < MESH_DATAGRAM_MAX ? shake->in : MESH_DATAGRAM_MAX; /* no credit without end */
    mesh_handshake_begin(link, false, NULL);
    return !link->closing;
}

/* The whole message when this was its last part; empty: more must come. */
static struct kos_bytes together(struct mesh_shake *shake, const struct shake_message *message, uint8_t *whole)
{
    size_t len = 0;
    if (message->count == 1)
        return message->body;
    if (shake->part_count != message->count || shake->part_number != message->number) {
        forget_parts(shake);
        shake->part_count = message->count;
        shake->part_number = message->number;
    }
    if (!shake->parts[message->index]) {
        shake->parts[message->index] = kos_memdup(message->body.data, message->body.len);
        shake->part_len[message->index] = message->body.len;
    }
    for (uint8_t i = 0; i < shake->part_count; i++) {
        if (!shake->parts[i])
            return kos_bytes(NULL, 0);
        if (len + shake->part_len[i] > MESH_HANDSHAKE_MAX) {
            forget_parts(shake);
            return kos_bytes(NULL, 0);
        }
        memcpy(whole + len, shake->parts[i], shake->part_len[i]);
        len += shake->part_len[i];
    }
    forget_parts(shake);
    return kos_bytes(whole, len);
}

/* A message that was taken before: its answer was lost. */
static void repeated(struct mesh_shake *shake, const struct shake_message *message)
{
    if (message->number == shake->taken && message->index == 0 && shake->last_number == message->number + 1)
        transmit(shake);
}

static void take_message(struct mesh_link *link, struct kos_bytes datagram)
{
    struct mesh_shake *shake = link->shake;
    struct shake_message message;
    uint8_t whole[MESH_HANDSHAKE_MAX];
    if (!parse(shake, datagram, &message)) {
        link->mesh->counters.records_bad++;
        return;
    }
    shake->in += datagram.len;
    shake->proven |= message.cookie_good;
    if ((!shake->begun || message.attempt != shake->attempt) && !admit(link, &message))
        return;
    if (message.pattern != shake->pattern || (message.number == 2) != shake->ours)
        return;
    if (message.number <= shake->taken) {
        repeated(shake, &message);
        return;
    }
    if (message.number != (shake->taken || shake->ours ? shake->taken + 2 : 1) || !link->handshake ||
        link->handshake->awaits)
        return;
    struct kos_bytes body = together(shake, &message, whole);
    if (body.len)
        mesh_handshake_message(link, message.pattern, body);
}

static void take_cookie(struct mesh_link *link, struct kos_bytes datagram)
{
    struct mesh_shake *shake = link->shake;
    if (datagram.len != COOKIE_BYTES || !shake->ours || shake->taken || get32(datagram.data + 1) != shake->attempt ||
        shake->cookies++ >= COOKIES_MAX)
        return;
    memcpy(shake->cookie, datagram.data + 5, MESH_COOKIE_LEN);
    shake->has_cookie = true;
    transmit(shake);
}

/* Our key for it is not its key any more, it says. Nobody can prove that to us; XX is as safe. */
static void take_again(struct mesh_link *link, struct kos_bytes datagram)
{
    struct mesh_shake *shake = link->shake;
    if (datagram.len != AGAIN_BYTES || !shake->ours || shake->taken || get32(datagram.data + 1) != shake->attempt ||
        shake->pattern != KLP_NOISE_IK || shake->fell_back || !link->handshake)
        return;
    shake->fell_back = true;
    if (link->keep)
        link->keep->tried_ik = false;
    mesh_handshake_abandon(link->handshake);
    link->handshake = NULL;
    mesh_handshake_begin(link, true, NULL);
}

bool mesh_shake_take(struct mesh_link *link, struct kos_bytes datagram)
{
    if (link->handshake && link->handshake->running)
        return false;
    if (datagram.data[0] == MESH_DATAGRAM_SHAKE)
        take_message(link, datagram);
    else if (datagram.data[0] == MESH_DATAGRAM_COOKIE)
        take_cookie(link, datagram);
    else
        take_again(link, datagram);
    return true;
}

void mesh_shake_took(struct mesh_link *link, uint8_t number)
{
    struct mesh_shake *shake = link->shake;
    shake->taken = number;
    forget_parts(shake);
    if (!shake->ours) {
        shake->proven |= number == 3;
        return;
    }
    if (shake->sent_ms)
        shake->rtt_ms = kos_mono_ms(link->mesh->env) - shake->sent_ms;
    kos_timer_stop(link->mesh->env, shake->timer);
    shake->confirmed = shake->pattern == KLP_NOISE_IK;
}
