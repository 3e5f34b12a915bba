/* SPDX-License-Identifier: Apache-2.0
 * Attacks on the handshake and on who is believed to be at its other end. */
#include "evil.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Of order 1, 2, 4 and 8 on Curve25519 and its twist, the canonical ones and those above the prime (RFC 7748, 7;
 * libsodium's list of the same). */
static const char *const small_x25519[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};
/* The same of edwards25519, among them encodings that are not canonical. */
static const char *const small_ed25519[] = {
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0100000000000000000000000000000000000000000000000000000000000080",
};
enum { SMALL = 7 };

static void unhex(const char *text, uint8_t *out, size_t len)
{
    size_t got;
    if (klp_unhex(kos_bytes_str(text), out, len, &got) < 0 || got != len)
        fail("%s is no hex of %zu bytes", text, len);
}

static int honest(const struct evil *evil)
{
    struct identity self;
    identity_make(evil, option(evil, "seed", "1"), &self);
    struct quirk quirk = { .ik = number(evil, "ik", 0) };
    struct session *session = session_open(evil, &self, &quirk);
    if (number(evil, "stay", 0))
        wait_for_line();
    return session_end(session);
}

static int who(const struct evil *evil)
{
    struct identity self;
    char id[KLP_ID_TEXT];
    identity_make(evil, option(evil, "seed", "1"), &self);
    klp_id_text(&self.id, id);
    say("id %s", id);
    return 0;
}

/* What the other side shows of itself to whoever asks: its proof and its log, for others to be shown. */
static int collect(const struct evil *evil)
{
    struct identity self;
    char proof[2 * KLP_PROOF_LEN + 1];
    identity_make(evil, option(evil, "seed", "1"), &self);
    struct session *session = session_open(evil, &self, NULL);
    klp_hex(kos_bytes(session->their_proof, KLP_PROOF_LEN), proof);
    say("proof %s", proof);
    FILE *out = fopen(option(evil, "file", "/dev/null"), "w");
    for (uint64_t i = 0; out && i < klp_log_count(session->log); i++) {
        struct kos_bytes entry = klp_log_entry(session->log, i);
        fprintf(out, "%.*s\n", (int)entry.len, (const char *)entry.data);
    }
    if (!out || fclose(out) != 0)
        fail("no file");
    return session_end(session);
}

/* how=preface: other first bytes than those that the handshake binds; prologue: bound to others than were said;
 * cipher: another one of Noise's; pattern: one that proves less. Each with the rest in good order. */
static int downgrade(const struct evil *evil)
{
    struct identity self;
    struct quirk quirk = { .ik = number(evil, "ik", 0), .name = option(evil, "name", NULL) };
    uint8_t preface[6], prologue[6];
    identity_make(evil, option(evil, "seed", "1"), &self);
    if (option(evil, "preface", NULL)) {
        unhex(option(evil, "preface", ""), preface, 6);
        quirk.preface = preface;
    }
    if (option(evil, "prologue", NULL)) {
        unhex(option(evil, "prologue", ""), prologue, 6);
        quirk.prologue = prologue;
    }
    return session_end(session_open(evil, &self, &quirk));
}

/* at=e, s: one half of the agreement is known to be zero. */
static int small_order(const struct evil *evil)
{
    struct identity self;
    uint8_t point[32];
    bool at_s = strcmp(option(evil, "at", "e"), "s") == 0;
    identity_make(evil, option(evil, "seed", "1"), &self);
    unhex(small_x25519[number(evil, "point", 0) % SMALL], point, 32);
    struct quirk quirk = { .ik = number(evil, "ik", 0), .e_public = at_s ? NULL : point, .s_public = at_s ? point : NULL };
    return session_end(session_open(evil, &self, &quirk));
}

/* An inception whose key is a point of small order: S = 1 and R = B verify for any text under the first of them. */
static int small_identity(const struct evil *evil)
{
    static const uint8_t base[32] = { 0x58, [1 ... 31] = 0x66 };
    struct identity self;
    struct klp_id id;
    struct klp_digest digest, head;
    uint8_t key[34] = { 0xed, 0x01 }, signature[64] = { 0 }, proof[KLP_PROOF_LEN] = { 0 };
    char text[64], body[512], hex[129], log[1024];
    identity_make(evil, option(evil, "seed", "1"), &self);
    unhex(small_ed25519[number(evil, "point", 0) % SMALL], key + 2, 32);
    memcpy(signature, base, 32);
    signature[32] = 1;
    text[0] = 'z';
    if (klp_base58(kos_bytes(key, sizeof key), text + 1, sizeof text - 1) < 0)
        fail("no text of a key");
    klp_hex(kos_bytes(self.noise, 32), hex);
    int len = snprintf(body, sizeof body, "{\"created\":1781900000000,\"key\":\"%s\",\"kind\":\"node\",\"next\":\"0x%s\",\"seq\":0,\"type\":\"inception\"}", text, hex);
    klp_id_derive(KLP_KIND_NODE, kos_bytes(body, (size_t)len), &id, &digest);
    klp_sha256(kos_bytes(body, (size_t)len), &head);
    klp_hex(kos_bytes(signature, 64), hex);
    snprintf(log, sizeof log, "{\"body\":%s,\"signature\":\"0x%s\"}\n", body, hex);
    memcpy(proof, id.b, 16);
    memcpy(proof + 24, head.b, 32);
    memcpy(proof + 56, signature, 64);
    struct quirk quirk = { .proof = proof };
    struct session *session = session_new(evil, link_open(evil));
    if (session_shake(session, &self, &quirk))
        item_send(session, KLP_FRAME_LOG, KLP_CLASS_CONTROL, kos_bytes_str(log));
    return session_end(session);
}

/* A whole file; the log that belongs to the identity claimed. */
static struct kos_bytes file_of(const char *path)
{
    static uint8_t data[65536];
    FILE *in = fopen(path, "r");
    size_t len = in ? fread(data, 1, sizeof data, in) : 0;
    if (in)
        fclose(in);
    return kos_bytes(data, len);
}

/* how=stolen: another's proof, as that one showed it to us (proof=HEX log=FILE); claimed: another's id and head, signed
 * by ourselves; key: our own id with our own signature, but over a static key that is not the one of this handshake. */
static int unknown_key_share(const struct evil *evil)
{
    struct identity self, other;
    uint8_t proof[KLP_PROOF_LEN], mine[KLP_PROOF_LEN];
    const char *how = option(evil, "how", "stolen");
    identity_make(evil, option(evil, "seed", "1"), &self);
    if (strcmp(how, "key") == 0) {
        identity_make(evil, "another", &other);
        klp_x25519_public(other.noise, mine);
        identity_proof(&self, mine, proof);
    } else {
        unhex(option(evil, "proof", ""), proof, sizeof proof);
    }
    if (strcmp(how, "claimed") == 0) {
        uint8_t own[32];
        klp_x25519_public(self.noise, own);
        identity_proof(&self, own, mine);
        memcpy(proof + 56, mine + 56, 64);
    }
    struct quirk quirk = { .ik = number(evil, "ik", 0), .proof = proof };
    struct session *session = session_new(evil, link_open(evil));
    if (session_shake(session, &self, &quirk)) {
        struct kos_bytes log = option(evil, "log", NULL) ? file_of(option(evil, "log", "")) : identity_log(evil, &self);
        item_send(session, KLP_FRAME_LOG, KLP_CLASS_CONTROL, log);
        item_send(session, KLP_FRAME_HELLO, KLP_CLASS_CONTROL, kos_bytes_str("{\"features\":[],\"name\":\"victim.kai\",\"roles\":[],\"version\":\"1\"}"));
    }
    return session_end(session);
}

/* Listens; then=SEED: from the second connection on it is another node, with the same static key. */
static int serve(const struct evil *evil)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 16) < 0 || getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        fail("cannot listen: %s", strerror(errno));
    say("port %d", ntohs(address.sin_port));
    for (long i = 0; i < number(evil, "times", 1); i++) {
        static const struct quirk none;
        struct identity self;
        identity_make(evil, option(evil, i ? "then" : "seed", "1"), &self);
        struct session *session = session_new(evil, accept(listener, NULL, NULL));
        if (session_answer(session, &self, &none) && session_greet(session, &self))
            say("up");
        wait_for_line();
        session_end(session);
    }
    return 0;
}

/* ---- many that never finish ---- */

/* stage=0 nothing, 1 the preface, 2 a first message, 3 a second one taken, 4 the whole handshake and no word, 5 the log
 * but no hello. Of each says when it is hung up on. */
static struct session *stalled(const struct evil *evil, const struct identity *self, long stage)
{
    struct session *session = session_new(evil, link_open(evil));
    struct quirk quirk = { .stop_after = stage == 2 ? 1 : stage == 3 ? 2 : 0 };
    if (stage == 1)
        raw_send(session, "KLP/1\001", 6);
    if (stage >= 2 && session_shake(session, self, &quirk) && stage == 5) {
        struct kos_bytes log = identity_log(evil, self);
        item_send(session, KLP_FRAME_LOG, KLP_CLASS_CONTROL, log);
        free((void *)log.data);
    }
    return session;
}

static int stall(const struct evil *evil)
{
    enum { MOST = 512 };
    static struct pollfd fds[MOST];
    struct identity self;
    long count = number(evil, "count", 1), closed = 0;
    if (count > MOST)
        fail("at most %d", MOST);
    identity_make(evil, option(evil, "seed", "1"), &self);
    for (long i = 0; i < count; i++)
        fds[i] = (struct pollfd){ .fd = stalled(evil, &self, number(evil, "stage", 0))->fd, .events = POLLIN };
    say("stalled %ld", count);
    while (closed < count && poll(fds, (nfds_t)count, (int)number(evil, "wait", 30000)) > 0)
        for (long i = 0; i < count; i++) {
            char scrap[4096];
            if (fds[i].fd < 0 || !fds[i].revents || recv(fds[i].fd, scrap, sizeof scrap, MSG_DONTWAIT) > 0)
                continue;
            close(fds[i].fd);
            fds[i].fd = -1;
            closed++;
        }
    say("closed %ld", closed);
    return 0;
}

static void dribble(struct session *session, const uint8_t *data, size_t len, long pause_ms)
{
    struct timespec pause = { pause_ms / 1000, pause_ms % 1000 * 1000000 };
    size_t i = 0;
    for (; i < len; i++) {
        char scrap;
        if (send(session->fd, data + i, 1, MSG_NOSIGNAL) < 0 || recv(session->fd, &scrap, 1, MSG_DONTWAIT | MSG_PEEK) == 0)
            break;
        nanosleep(&pause, NULL);
    }
    session->closed = i < len;
    say("dribbled %zu of %zu", i, len);
}

/* A byte now and then: of a handshake, or (stage=record) of a record inside a session. */
static int slow_loris(const struct evil *evil)
{
    struct identity self;
    uint8_t message[2048] = "KLP/1\001\004\000";
    identity_make(evil, option(evil, "seed", "1"), &self);
    if (strcmp(option(evil, "stage", "handshake"), "record") != 0) {
        struct session *session = session_new(evil, link_open(evil));
        dribble(session, message, 1024, number(evil, "pause", 50));
        return session_end(session);
    }
    struct session *session = session_open(evil, &self, NULL);
    uint8_t zeros[1000] = { 0 }, record[1100];
    size_t len = way_seal(&session->send, session->send.counter++, kos_bytes(zeros, sizeof zeros), record);
    session_read(session, NULL, 0, 200);
    dribble(session, record, len, number(evil, "pause", 50));
    return session_end(session);
}

const struct attack handshake_attacks[] = {
    { "who", who }, { "honest", honest }, { "collect", collect }, { "serve", serve }, { "downgrade", downgrade },
    { "small-order", small_order }, { "small-order-identity", small_identity }, { "unknown-key-share", unknown_key_share },
    { "stall", stall }, { "slow-loris", slow_loris }, { NULL, NULL },
};
