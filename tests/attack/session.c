/* SPDX-License-Identifier: Apache-2.0
 * The evil peer's sessions: genuine unless a quirk says otherwise. */
#include "evil.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in address_of(const char *text)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    char host[64];
    const char *colon = strrchr(text, ':');
    snprintf(host, sizeof host, "%.*s", (int)(colon ? colon - text : (long)strlen(text)), text);
    address.sin_port = htons((uint16_t)(colon ? atoi(colon + 1) : 0));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        fail("%s is no HOST:PORT", text);
    return address;
}

int link_open(const struct evil *evil)
{
    struct sockaddr_in to = address_of(evil->address), from = address_of(option(evil, "from", "127.0.0.1"));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof from) < 0 ||
        connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        fail("no connection to %s: %s", evil->address, strerror(errno));
    return fd;
}

struct session *session_new(const struct evil *evil, int fd)
{
    struct session *session = calloc(1, sizeof *session);
    session->evil = evil;
    session->fd = fd;
    session->assembly = klp_assembly_new(EVIL_ITEM_MAX);
    session->log = klp_log_new();
    session->allowed[KLP_CLASS_CONTROL] = 65536;
    const char *secrets = option(evil, "secrets", NULL);
    if (secrets && !(session->noise.secrets = fopen(secrets, "a")))
        fail("%s: %s", secrets, strerror(errno));
    return session;
}

bool raw_send(struct session *session, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len && !session->closed) {
        ssize_t n = send(session->fd, at, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            session->closed = true;
        if (n > 0)
            at += n, len -= (size_t)n;
    }
    return !session->closed;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Some more bytes; false: the end, or none until then. */
static bool raw_read(struct session *session, int64_t until)
{
    struct pollfd poll_fd = { .fd = session->fd, .events = POLLIN };
    int64_t left = until - now_ms();
    if (session->closed || poll(&poll_fd, 1, left > 0 ? (int)left : 0) <= 0)
        return false;
    ssize_t n = recv(session->fd, session->in + session->in_len, sizeof session->in - session->in_len, 0);
    if (n <= 0)
        session->closed = true;
    else
        session->in_len += (size_t)n;
    return n > 0;
}

static void raw_drop(struct session *session, size_t len)
{
    session->in_len -= len;
    memmove(session->in, session->in + len, session->in_len);
}

/* ---- handshake ---- */

static bool shake_send(struct session *session, const uint8_t *message, size_t len)
{
    uint8_t out[2 + KLP_NOISE_MAX] = { (uint8_t)(len >> 8), (uint8_t)len };
    memcpy(out + 2, message, len);
    return raw_send(session, out, len + 2);
}

static bool shake_take(struct session *session, struct kos_bytes *ret_message)
{
    static uint8_t message[KLP_NOISE_MAX];
    int64_t until = now_ms() + EVIL_WAIT_MS;
    size_t len = 0;
    while (session->in_len < 2 || session->in_len < 2 + (len = (size_t)session->in[0] << 8 | session->in[1]))
        if (!raw_read(session, until))
            return false;
    memcpy(message, session->in + 2, len);
    raw_drop(session, 2 + len);
    *ret_message = kos_bytes(message, len);
    return true;
}

static const uint8_t *preface_of(bool ik)
{
    static const uint8_t xx[6] = { 'K', 'L', 'P', '/', '1', 1 }, ik_bytes[6] = { 'K', 'L', 'P', '/', '1', 2 };
    return ik ? ik_bytes : xx;
}

static void begin(struct session *session, const struct identity *identity, const struct quirk *quirk, bool ik)
{
    const char *name = ik ? "Noise_IK_25519_AESGCM_SHA256" : "Noise_XX_25519_AESGCM_SHA256";
    const uint8_t *prologue = quirk->prologue ? quirk->prologue : preface_of(ik);
    noise_begin(&session->noise, quirk->name ? quirk->name : name, kos_bytes(prologue, 6), identity->noise);
    if (quirk->e_public)
        memcpy(session->noise.e_public, quirk->e_public, 32);
    if (quirk->s_public)
        memcpy(session->noise.s_public, quirk->s_public, 32);
}

static bool took_proof(struct session *session, const uint8_t *payload, size_t len)
{
    if (klp_proof_parse(kos_bytes(payload, len), &session->proof) < 0)
        return false;
    memcpy(session->their_proof, payload, KLP_PROOF_LEN);
    return true;
}

static void shaken(struct session *session, bool initiator)
{
    noise_split(&session->noise, initiator, &session->send, &session->receive);
    say("handshake done");
}

/* The key that peer=HEX gives, for IK. */
static void known_key(struct session *session, uint8_t ret[32])
{
    size_t len;
    if (klp_unhex(kos_bytes_str(option(session->evil, "peer", "")), ret, 32, &len) < 0 || len != 32)
        fail("IK needs peer=HEX, the static key that evil printed in a session before");
}

static bool shake_ik(struct session *session, struct kos_bytes proof, const struct quirk *quirk)
{
    uint8_t message[1024], payload[1024];
    struct kos_bytes in;
    size_t len;
    known_key(session, session->noise.rs);
    noise_know(&session->noise, session->noise.rs);
    len = noise_write(&session->noise, true, "ebsd", proof, message);
    if (!shake_send(session, message, len) || quirk->stop_after == 1)
        return false;
    return shake_take(session, &in) && noise_read(&session->noise, true, "eac", in, payload, &len) && took_proof(session, payload, len);
}

static bool shake_xx(struct session *session, struct kos_bytes proof, const struct quirk *quirk)
{
    uint8_t message[1024], payload[1024];
    struct kos_bytes in;
    size_t len = noise_write(&session->noise, true, "e", kos_bytes(NULL, 0), message);
    if (!shake_send(session, message, len) || quirk->stop_after == 1)
        return false;
    if (!shake_take(session, &in) || !noise_read(&session->noise, true, "easb", in, payload, &len) || !took_proof(session, payload, len))
        return false;
    if (quirk->stop_after == 2)
        return false;
    len = noise_write(&session->noise, true, "sc", proof, message);
    return shake_send(session, message, len);
}

bool session_shake(struct session *session, const struct identity *identity, const struct quirk *quirk)
{
    uint8_t proof[KLP_PROOF_LEN];
    begin(session, identity, quirk, quirk->ik);
    identity_proof(identity, session->noise.s_public, proof);
    struct kos_bytes shown = kos_bytes(quirk->proof ? quirk->proof : proof, sizeof proof);
    raw_send(session, quirk->preface ? quirk->preface : preface_of(quirk->ik), 6);
    bool good = quirk->ik ? shake_ik(session, shown, quirk) : shake_xx(session, shown, quirk);
    if (good)
        shaken(session, true);
    else
        say("handshake failed");
    return good;
}

bool session_answer(struct session *session, const struct identity *identity, const struct quirk *quirk)
{
    uint8_t proof[KLP_PROOF_LEN], message[1024], payload[1024];
    int64_t until = now_ms() + EVIL_WAIT_MS;
    struct kos_bytes in;
    size_t len;
    while (session->in_len < 6)
        if (!raw_read(session, until))
            return false;
    bool ik = session->in[5] == 2, good;
    raw_drop(session, 6);
    begin(session, identity, quirk, ik);
    identity_proof(identity, session->noise.s_public, proof);
    struct kos_bytes shown = kos_bytes(quirk->proof ? quirk->proof : proof, sizeof proof);
    if (ik)
        noise_know(&session->noise, session->noise.s_public);
    good = shake_take(session, &in) && noise_read(&session->noise, false, ik ? "ebsd" : "e", in, payload, &len) && (!ik || took_proof(session, payload, len));
    if (good) {
        len = noise_write(&session->noise, false, ik ? "eac" : "easb", shown, message);
        good = shake_send(session, message, len);
    }
    if (good && !ik)
        good = shake_take(session, &in) && noise_read(&session->noise, false, "sc", in, payload, &len) && took_proof(session, payload, len);
    say("answered %s %s", ik ? "IK" : "XX", good ? "done" : "failed");
    if (good)
        shaken(session, false);
    return good;
}

/* ---- records and items out ---- */

bool record_send(struct session *session, struct kos_bytes plain)
{
    if (session->send.counter >> KLP_EPOCH_SHIFT != session->send.epoch)
        way_rekey(&session->send);
    session->last_sent_len = way_seal(&session->send, session->send.counter++, plain, session->last_sent);
    return raw_send(session, session->last_sent, session->last_sent_len);
}

bool item_send(struct session *session, uint8_t type, uint8_t klass, struct kos_bytes payload)
{
    static uint8_t frame[KLP_FRAME_HEADER + 16384];
    do {
        size_t len = payload.len < 16384 ? payload.len : 16384;
        if (session->sent[klass] + len > session->allowed[klass] &&
            !session_read(session, &session->allowed[klass], session->sent[klass] + len, EVIL_WAIT_MS)) {
            say("no credit");
            return false;
        }
        int32_t n = klp_frame_put(frame, sizeof frame, type, klass, len < payload.len, kos_bytes(payload.data, len));
        if (n < 0)
            fail("no frame: %s", kos_error_name(n));
        session->sent[klass] += len;
        if (!record_send(session, kos_bytes(frame, (size_t)n)))
            return false;
        payload.data += len;
        payload.len -= len;
    } while (payload.len);
    return true;
}

/* ---- in ---- */

static void took_text(const char *word, struct kos_bytes text)
{
    char out[1024];
    snprintf(out, sizeof out, "%.*s", text.len < 1000 ? (int)text.len : 1000, (const char *)text.data);
    say("%s %s", word, out);
}

static void took_receipts(struct session *session, struct kos_bytes payload)
{
    struct klp_receipts receipts;
    struct klp_json_iter iter;
    struct klp_receipt receipt;
    if (payload.len < 64 || klp_receipts_parse(kos_bytes(payload.data + 64, payload.len - 64), &receipts) < 0)
        fail("bad receipts");
    klp_json_iter_init(receipts.list, &iter);
    while (klp_receipts_next(&iter, &receipt)) {
        char id[KLP_ID_TEXT], digest[65];
        klp_id_text(&receipt.id, id);
        klp_hex(kos_bytes(receipt.digest.b, 32), digest);
        say("receipt %s %s %s %s", id, receipt.error < 0 ? kos_error_name(receipt.error) : "ok", digest, receipt.text);
        session->receipts++;
    }
}

static void took_message(struct session *session, const struct klp_frame *item)
{
    struct kos_bytes body, signature;
    struct klp_message message;
    struct klp_item_batch batch;
    char id[KLP_ID_TEXT], source[KLP_ID_TEXT], digest[65];
    free(session->item);
    session->item = malloc(item->payload.len);
    memcpy(session->item, item->payload.data, item->payload.len);
    session->item_len = item->payload.len;
    session->item_type = item->type;
    int32_t more = item->type == KLP_FRAME_BATCH ? klp_item_batch(item->payload, &batch) : klp_item_message(item->payload, &body, &signature);
    for (bool one = true; more >= 0 && (item->type == KLP_FRAME_BATCH ? klp_item_batch_next(&batch, &body) > 0 : one); one = false) {
        if (klp_message_parse(body, &message, NULL) < 0)
            fail("a bad message");
        klp_id_text(&message.id, id);
        klp_id_text(&message.source_id, source);
        klp_hex(kos_bytes(message.digest.b, 32), digest);
        say("message %s %s %s %s %.*s", message.type, id, source, digest, message.payload.text.len < 300 ? (int)message.payload.text.len : 300, (const char *)message.payload.text.data);
        session->messages++;
    }
}

static void took_frame(struct session *session, const struct klp_frame *frame)
{
    struct klp_frame item;
    uint64_t total = 0;
    if (frame->type == KLP_FRAME_CREDIT) {
        for (int i = 1; i < 9; i++)
            total = total << 8 | frame->payload.data[i];
        session->allowed[frame->payload.data[0]] = total;
    } else if (frame->type == KLP_FRAME_PONG) {
        session->pongs++;
    } else if (frame->type == KLP_FRAME_PING) {
        uint8_t out[64];
        int32_t n = klp_frame_put(out, sizeof out, KLP_FRAME_PONG, KLP_CLASS_CONTROL, false, frame->payload);
        record_send(session, kos_bytes(out, (size_t)n));
    } else if (frame->type == KLP_FRAME_CLOSE) {
        took_text("close", frame->payload);
    } else if (klp_assembly_take(session->assembly, frame, &item) > 0) {
        session->taken[frame->klass] += item.payload.len;
        if (item.type == KLP_FRAME_HELLO)
            took_text("hello", item.payload), session->greeted = true;
        else if (item.type == KLP_FRAME_LOG)
            klp_log_append_text(session->log, item.payload, NULL);
        else if (item.type == KLP_FRAME_RECEIPTS)
            took_receipts(session, item.payload);
        else if (item.type == KLP_FRAME_MESSAGE || item.type == KLP_FRAME_BATCH)
            took_message(session, &item);
        else if (item.type == KLP_FRAME_LOG_REQUEST)
            took_text("log_request", item.payload);
        else if (item.type == KLP_FRAME_STATEMENT)
            say("statement");
    }
}

static bool took_record(struct session *session)
{
    static uint8_t plain[KLP_NOISE_MAX];
    size_t len = session->in_len < 2 ? 0 : (size_t)session->in[0] << 8 | session->in[1];
    struct klp_frame frame;
    if (session->in_len < 2 || session->in_len < len + 2)
        return false;
    memcpy(session->last, session->in, len + 2);
    session->last_len = len + 2;
    if (len < 16 || !way_open(&session->receive, kos_bytes(session->in + 2, len), plain))
        fail("a record of theirs does not open");
    raw_drop(session, len + 2);
    struct kos_bytes rest = kos_bytes(plain, len - 16);
    while (klp_frame_next(&rest, &frame) > 0)
        took_frame(session, &frame);
    return true;
}

bool session_read(struct session *session, const uint64_t *what, uint64_t wanted, int wait_ms)
{
    int64_t until = now_ms() + wait_ms;
    for (;;) {
        while (took_record(session))
            ;
        if (what && *what >= wanted)
            return true;
        if (!raw_read(session, until))
            return false;
    }
}

/* More than it will ever use. */
static void grant(struct session *session)
{
    for (uint8_t klass = 0; klass < KLP_CLASSES; klass++) {
        uint8_t credit[9] = { klass, [5] = 0x40 }, frame[32];
        int32_t n = klp_frame_put(frame, sizeof frame, KLP_FRAME_CREDIT, KLP_CLASS_CONTROL, false, kos_bytes(credit, 9));
        record_send(session, kos_bytes(frame, (size_t)n));
    }
}

bool session_greet(struct session *session, const struct identity *identity)
{
    static const char hello[] = "{\"features\":[\"compact\"],\"name\":\"evil.kai\",\"roles\":[\"peer\"],\"version\":\"666\"}";
    struct kos_bytes log = identity_log(session->evil, identity);
    const char *name = option(session->evil, "hello", hello);
    bool sent = item_send(session, KLP_FRAME_LOG, KLP_CLASS_CONTROL, log) &&
                item_send(session, KLP_FRAME_HELLO, KLP_CLASS_CONTROL, kos_bytes_str(name));
    free((void *)log.data);
    grant(session);
    int64_t until = now_ms() + EVIL_WAIT_MS;
    while (sent && !session->greeted && !session->closed && now_ms() < until)
        session_read(session, &session->allowed[KLP_CLASS_BULK], 1, 100);
    return session->greeted;
}

struct session *session_open(const struct evil *evil, const struct identity *identity, const struct quirk *quirk)
{
    static const struct quirk none;
    struct session *session = session_new(evil, link_open(evil));
    char key[65], id[KLP_ID_TEXT];
    if (!session_shake(session, identity, quirk ? quirk : &none) || !session_greet(session, identity))
        return session;
    klp_hex(kos_bytes(session->noise.rs, 32), key);
    klp_id_text(&session->proof.id, id);
    say("up %s %s", id, key);
    return session;
}

int session_end(struct session *session)
{
    if (!session->closed)
        session_read(session, NULL, 0, (int)number(session->evil, "wait", 5000));
    say("end %s", session->closed ? "closed" : "open");
    close(session->fd);
    return 0;
}
