/* SPDX-License-Identifier: Apache-2.0
 * A session spoken with libklp alone. */
#include "speaker.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_BYTES = 16384 };

void speaker_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

int64_t speaker_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void fill(void *self, void *out, size_t len)
{
    (void)self;
    if (getrandom(out, len, 0) != (ssize_t)len)
        speaker_die("no randomness");
}

static const struct klp_random random_source = { fill, NULL };

static void ended(struct speaker *speaker, const char *why)
{
    if (speaker->fd < 0)
        return;
    close(speaker->fd);
    speaker->fd = -1;
    snprintf(speaker->ended, sizeof speaker->ended, "%s", why);
}

/* ---- identity ---- */

void speaker_init(struct speaker *speaker)
{
    struct klp_event event = { .type = KLP_EVENT_INCEPTION, .kind = KLP_KIND_NODE, .created = speaker_now_ms() - 1000 };
    struct klp_secret next;
    struct klp_public next_public;
    struct kos_error error = { 0 };
    uint8_t entry[KLP_EVENT_MAX];
    size_t len;
    char text[KLP_ID_TEXT];
    memset(speaker, 0, sizeof *speaker);
    speaker->fd = -1;
    speaker->log = klp_log_new();
    speaker->out = malloc(SPEAKER_OUT);
    speaker->in = malloc(SPEAKER_IN);
    if (!speaker->log || !speaker->out || !speaker->in)
        speaker_die("no memory for a speaker");
    klp_secret_generate(KLP_ALG_ED25519, random_source, &speaker->secret);
    klp_secret_generate(KLP_ALG_ED25519, random_source, &next);
    klp_secret_public(&speaker->secret, &event.key);
    klp_secret_public(&next, &next_public);
    klp_public_digest(&next_public, &event.next);
    if (klp_event_make(&event, &speaker->secret, entry, sizeof entry, &len, &error) < 0 ||
        klp_log_append(speaker->log, kos_bytes(entry, len), &error) < 0)
        speaker_die("an identity cannot be made: %s", error.text);
    speaker->id = *klp_log_id(speaker->log);
    klp_id_text(&speaker->id, text);
    snprintf(speaker->source, sizeof speaker->source, "klp://node.%s", text);
    fill(NULL, speaker->noise_secret, sizeof speaker->noise_secret);
    klp_x25519_public(speaker->noise_secret, speaker->noise_public);
    fill(NULL, &speaker->random, sizeof speaker->random);
    speaker->random |= 1;
}

void speaker_fini(struct speaker *speaker)
{
    ended(speaker, "closed");
    klp_log_free(speaker->log);
    klp_record_free(speaker->send);
    klp_record_free(speaker->receive);
    klp_assembly_free(speaker->assembly);
    free(speaker->out);
    free(speaker->in);
}

/* ---- the handshake, blocking ---- */

static bool write_all(int fd, const void *data, size_t len)
{
    for (const uint8_t *at = data; len;) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static bool read_all(int fd, uint8_t *data, size_t len)
{
    return len == 0 || recv(fd, data, len, MSG_WAITALL) == (ssize_t)len;
}

static bool say_message(struct speaker *speaker, struct klp_noise *noise, struct kos_bytes payload)
{
    uint8_t message[1024];
    size_t len;
    if (klp_noise_write(noise, payload, message + 2, sizeof message - 2, &len) < 0)
        return false;
    message[0] = (uint8_t)(len >> 8);
    message[1] = (uint8_t)len;
    return write_all(speaker->fd, message, 2 + len);
}

static bool hear_message(struct speaker *speaker, struct klp_noise *noise)
{
    uint8_t message[1024], payload[1024];
    size_t len;
    struct klp_proof proof;
    if (!read_all(speaker->fd, message, 2))
        return false;
    len = (size_t)message[0] << 8 | message[1];
    if (len > sizeof message || !read_all(speaker->fd, message, len) ||
        klp_noise_read(noise, kos_bytes(message, len), payload, sizeof payload, &len) < 0 ||
        klp_proof_parse(kos_bytes(payload, len), &proof) < 0)
        return false;
    speaker->target = proof.id;
    return true;
}

static bool shake(struct speaker *speaker)
{
    struct klp_noise *noise = klp_noise_new(KLP_NOISE_XX, true, speaker->noise_secret, NULL, random_source);
    uint8_t proof[KLP_PROOF_LEN];
    char text[KLP_ID_TEXT];
    bool good = noise && write_all(speaker->fd, "KLP/1\1", 6) && say_message(speaker, noise, kos_bytes(NULL, 0)) &&
                hear_message(speaker, noise) &&
                klp_proof_make(speaker->log, &speaker->secret, speaker->noise_public, proof) >= 0 &&
                say_message(speaker, noise, kos_bytes(proof, sizeof proof)) &&
                klp_noise_split(noise, &speaker->send, &speaker->receive) >= 0;
    klp_noise_free(noise);
    klp_id_text(&speaker->target, text);
    snprintf(speaker->target_text, sizeof speaker->target_text, "klp://node.%s", text);
    return good;
}

static void introduce(struct speaker *speaker)
{
    static const char hello[] = "{\"features\":[],\"name\":\"speaker\",\"roles\":[\"peer\"],\"version\":\"1\"}";
    struct kos_bytes entry = klp_log_entry(speaker->log, 0);
    uint8_t log[KLP_EVENT_MAX + 1];
    memcpy(log, entry.data, entry.len);
    log[entry.len] = '\n';
    speaker_say(speaker, KLP_FRAME_LOG, KLP_CLASS_CONTROL, kos_bytes(log, entry.len + 1));
    speaker_say(speaker, KLP_FRAME_HELLO, KLP_CLASS_CONTROL, kos_bytes_str(hello));
    /* It takes whatever comes: its memory is no matter here. */
    for (uint8_t klass = 0; klass < KLP_CLASSES; klass++) {
        const uint8_t credit[9] = { klass, 0x00, 0x10 };
        speaker_say(speaker, KLP_FRAME_CREDIT, KLP_CLASS_CONTROL, kos_bytes(credit, sizeof credit));
    }
}

bool speaker_connect(struct speaker *speaker, const char *host, const char *port)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV }, *list;
    int one = 1;
    if (getaddrinfo(host, port, &hints, &list) != 0)
        speaker_die("%s port %s is no address", host, port);
    speaker->fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = speaker->fd >= 0 && connect(speaker->fd, list->ai_addr, list->ai_addrlen) == 0;
    freeaddrinfo(list);
    speaker->assembly = klp_assembly_new(KLP_ITEM_MAX);
    speaker->allowed[KLP_CLASS_CONTROL] = 65536;
    if (!good || !shake(speaker)) {
        ended(speaker, "the handshake failed");
        return false;
    }
    setsockopt(speaker->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(speaker->fd, F_SETFL, O_NONBLOCK);
    introduce(speaker);
    speaker_write(speaker);
    return true;
}

/* ---- out ---- */

void speaker_write(struct speaker *speaker)
{
    while (speaker->fd >= 0 && speaker->out_at < speaker->out_len) {
        ssize_t n = send(speaker->fd, speaker->out + speaker->out_at, speaker->out_len - speaker->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            ended(speaker, "the connection broke off");
        if (n <= 0)
            return;
        speaker->out_at += (size_t)n;
    }
    speaker->out_at = speaker->out_len = 0;
}

static bool exempt(uint8_t type)
{
    return type == KLP_FRAME_PING || type == KLP_FRAME_PONG || type == KLP_FRAME_CREDIT || type == KLP_FRAME_CLOSE;
}

bool speaker_say(struct speaker *speaker, uint8_t type, uint8_t klass, struct kos_bytes item)
{
    size_t records = item.len / FRAME_BYTES + 1, room = SPEAKER_OUT - speaker->out_len;
    if (speaker->fd < 0 || item.len + records * 64 > room ||
        (!exempt(type) && speaker->sent[klass] + item.len > speaker->allowed[klass]))
        return false;
    for (size_t at = 0; at < item.len || at == 0; at += FRAME_BYTES) {
        size_t part = item.len - at < FRAME_BYTES ? item.len - at : FRAME_BYTES;
        uint8_t *record = speaker->out + speaker->out_len;
        int32_t len = klp_frame_put(record + 2, FRAME_BYTES + KLP_FRAME_HEADER, type, klass, at + part < item.len,
                                    kos_bytes(item.data + at, part));
        if (len < 0 || klp_record_seal(speaker->send, kos_bytes(record + 2, (size_t)len), record) < 0)
            speaker_die("a record cannot be made");
        speaker->out_len += (size_t)len + KLP_RECORD_OVERHEAD;
    }
    speaker->sent[klass] += exempt(type) ? 0 : item.len;
    return true;
}

/* ---- in ---- */

static void take_credit(struct speaker *speaker, struct kos_bytes payload)
{
    uint64_t total = 0;
    for (size_t i = 1; i < 9 && payload.len == 9; i++)
        total = total << 8 | payload.data[i];
    if (payload.len == 9 && payload.data[0] < KLP_CLASSES && total > speaker->allowed[payload.data[0]])
        speaker->allowed[payload.data[0]] = total;
}

static void take(struct speaker *speaker, const struct klp_frame *item)
{
    char why[sizeof speaker->ended];
    switch (item->type) {
    case KLP_FRAME_CREDIT: take_credit(speaker, item->payload); break;
    case KLP_FRAME_PING: speaker_say(speaker, KLP_FRAME_PONG, KLP_CLASS_CONTROL, item->payload); break;
    case KLP_FRAME_HELLO: speaker->up = true; break;
    case KLP_FRAME_CLOSE:
        snprintf(why, sizeof why, "CLOSE %.*s", (int)item->payload.len, (const char *)item->payload.data);
        ended(speaker, why);
        break;
    default:
        if (speaker->item)
            speaker->item(speaker, item->type, item->payload);
    }
}

static void take_record(struct speaker *speaker, uint8_t *sealed, size_t len)
{
    struct klp_frame frame, item;
    size_t plain;
    if (klp_record_open(speaker->receive, kos_bytes(sealed, len), sealed, &plain) < 0)
        speaker_die("a record does not open");
    struct kos_bytes rest = kos_bytes(sealed, plain);
    while (speaker->fd >= 0 && klp_frame_next(&rest, &frame) > 0) {
        int32_t rc = klp_assembly_take(speaker->assembly, &frame, &item);
        if (rc < 0)
            speaker_die("a frame is out of place");
        if (rc > 0)
            take(speaker, &item);
    }
}

void speaker_read(struct speaker *speaker)
{
    while (speaker->fd >= 0 && !speaker->deaf) {
        ssize_t n = recv(speaker->fd, speaker->in + speaker->in_len, SPEAKER_IN - speaker->in_len, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            ended(speaker, "the connection was closed");
            return;
        }
        speaker->in_len += (size_t)n;
        size_t at = 0, len;
        while (speaker->fd >= 0 && speaker->in_len - at >= 2 &&
               speaker->in_len - at - 2 >= (len = (size_t)speaker->in[at] << 8 | speaker->in[at + 1])) {
            take_record(speaker, speaker->in + at + 2, len);
            at += 2 + len;
        }
        memmove(speaker->in, speaker->in + at, speaker->in_len - at);
        speaker->in_len -= at;
    }
}

/* ---- what there is to say ---- */

/* xorshift64 (Marsaglia 2003). */
static void next_id(struct speaker *speaker, struct klp_id *ret_id)
{
    for (int i = 0; i < 2; i++) {
        speaker->random ^= speaker->random << 13;
        speaker->random ^= speaker->random >> 7;
        speaker->random ^= speaker->random << 17;
        memcpy(ret_id->b + 8 * i, &speaker->random, 8);
    }
}

static size_t body(struct speaker *speaker, const char *type, const char *target, struct kos_bytes payload, uint8_t *out,
                   size_t cap, struct klp_id *ret_id)
{
    struct klp_message message = { .source = kos_bytes_str(speaker->source),
                                   .target = kos_bytes_str(target ? target : speaker->target_text),
                                   .source_id = speaker->id,
                                   .target_id = speaker->target,
                                   .created = speaker_now_ms(),
                                   .payload = { KLP_JSON_OBJECT, payload } };
    struct kos_error error = { 0 };
    size_t len;
    message.expires = message.created + 600000;
    snprintf(message.type, sizeof message.type, "%s", type);
    next_id(speaker, &message.id);
    if (klp_message_make(&message, out, cap, &len, &error) < 0)
        speaker_die("a message cannot be made: %s", error.text);
    if (ret_id)
        *ret_id = message.id;
    return len;
}

size_t speaker_message(struct speaker *speaker, const char *type, const char *target, struct kos_bytes payload, uint8_t *item,
                       size_t cap, struct klp_id *ret_id)
{
    size_t head = 2 + KLP_SIGNATURE_LEN, len = body(speaker, type, target, payload, item + head, cap - head, ret_id);
    item[0] = 0;
    item[1] = KLP_SIGNATURE_LEN;
    klp_sign(&speaker->secret, KLP_TAG_MESSAGE, kos_bytes(item + head, len), item + 2);
    return head + len;
}

size_t speaker_batch(struct speaker *speaker, const char *type, const char *target, struct kos_bytes payload, uint32_t count,
                     uint8_t *item, size_t cap)
{
    struct klp_digest digests[KLP_BATCH_MAX];
    size_t at = KLP_SIGNATURE_LEN + 2;
    item[KLP_SIGNATURE_LEN] = (uint8_t)(count >> 8);
    item[KLP_SIGNATURE_LEN + 1] = (uint8_t)count;
    for (uint32_t i = 0; i < count; i++) {
        size_t len = body(speaker, type, target, payload, item + at + 4, cap - at - 4, NULL);
        klp_sha256(kos_bytes(item + at + 4, len), &digests[i]);
        for (int k = 0; k < 4; k++)
            item[at + (size_t)k] = (uint8_t)(len >> (24 - 8 * k));
        at += 4 + len;
    }
    klp_batch_sign(&speaker->secret, digests, count, item);
    return at;
}

size_t speaker_receipt(struct speaker *speaker, const struct klp_receipt *receipts, size_t count, uint8_t *item, size_t cap)
{
    size_t len;
    if (klp_receipts_make(&speaker->id, 0, speaker_now_ms(), receipts, count, item + KLP_SIGNATURE_LEN,
                          cap - KLP_SIGNATURE_LEN, &len) < 0)
        speaker_die("receipts cannot be made");
    klp_sign(&speaker->secret, KLP_TAG_RECEIPT, kos_bytes(item + KLP_SIGNATURE_LEN, len), item);
    return KLP_SIGNATURE_LEN + len;
}
