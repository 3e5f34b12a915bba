/* SPDX-License-Identifier: Apache-2.0
 * Small things that would become large: nested, compact, endless; and peers that ask and never listen. */
#include "evil.h"

#include <unistd.h>

static struct session *opened(const struct evil *evil, struct identity *self)
{
    identity_make(evil, option(evil, "seed", "1"), self);
    return session_open(evil, self, NULL);
}

/* as=array|object|cbor|cbor-map, depth=N, in a frame of type=N; sign=1: as the payload of a message that is signed. */
static struct kos_bytes nested(const struct evil *evil)
{
    size_t depth = (size_t)number(evil, "depth", 100000);
    const char *as = option(evil, "as", "array");
    bool object = strcmp(as, "object") == 0, cbor = strncmp(as, "cbor", 4) == 0;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    for (size_t i = 0; i < depth; i++)
        fputs(cbor ? (strcmp(as, "cbor") ? "\xa1\x61\x61" : "\x81") : object ? "{\"a\":" : "[", out);
    fputs(cbor ? "\xf6" : "1", out);
    for (size_t i = 0; i < depth && !cbor; i++)
        fputs(object ? "}" : "]", out);
    fclose(out);
    return kos_bytes(text, len);
}

/* The canonical writer refuses such depths; so the text of a message is put together here. */
static struct kos_bytes nested_message(const struct evil *evil, const struct identity *self)
{
    struct kos_bytes body = message_make(evil, self, 0), inside = nested(evil);
    const char *at = strstr((const char *)body.data, "\"payload\":") + strlen("\"payload\":"), *end = strstr(at, ",\"source\"");
    char *text = NULL;
    size_t len = 0;
    uint8_t signature[64];
    FILE *out = open_memstream(&text, &len);
    fwrite(body.data, 1, (size_t)(at - (const char *)body.data), out);
    fwrite(inside.data, 1, inside.len, out);
    fwrite(end, 1, body.len - (size_t)(end - (const char *)body.data), out);
    fclose(out);
    klp_sign(identity_key(self), KLP_TAG_MESSAGE, kos_bytes(text, len), signature);
    return item_make(kos_bytes(signature, 64), kos_bytes(text, len));
}

static int nesting(const struct evil *evil)
{
    struct identity self;
    struct session *session = opened(evil, &self);
    uint8_t type = (uint8_t)number(evil, "type", KLP_FRAME_MESSAGE);
    struct kos_bytes item = number(evil, "sign", 0) ? nested_message(evil, &self) : nested(evil);
    if (type >= KLP_FRAME_MESSAGE && type <= KLP_FRAME_RECEIPTS + KLP_FRAME_COMPACT && !number(evil, "sign", 0)) {
        /* Behind a signature that is none. */
        uint8_t zeros[64] = { 0 };
        bool receipts = type % 3 == KLP_FRAME_RECEIPTS % 3;
        struct kos_bytes with = item_make(kos_bytes(zeros, 64), item);
        item = receipts ? kos_bytes(with.data + 2, with.len - 2) : with;
    }
    if (type == KLP_FRAME_CLOSE) {
        uint8_t *frame = malloc(item.len + 4);
        int32_t n = klp_frame_put(frame, item.len + 4, type, KLP_CLASS_CONTROL, false, item);
        if (n > 0)
            record_send(session, kos_bytes(frame, (size_t)n));
    } else {
        item_send(session, type, KLP_CLASS_CONTROL, item);
    }
    return session_end(session);
}

/* Compact batches of messages that are all like the one before: 12 bytes of each stand for some 700. */
static int compact(const struct evil *evil)
{
    struct identity self;
    struct session *session = opened(evil, &self);
    struct kos_bytes body = message_make(evil, &self, 0);
    static uint8_t item[1 << 20];
    long count = number(evil, "count", 1024);
    size_t at = 64;
    item[at++] = (uint8_t)(count >> 8);
    item[at++] = (uint8_t)count;
    for (long i = 0; i < count; i++) {
        /* u8 1, mask of all nine, and then the rest of the message: {"id":..,"payload":{}} */
        char rest[128];
        int len = i ? snprintf(rest, sizeof rest, "\x01\x01%c{\"id\":\"aaaaaaaaaaaaaaaaaaaaaaaaaa\",\"payload\":{}}", 0xf7) : (int)body.len;
        item[at++] = (uint8_t)(len >> 8);
        item[at++] = (uint8_t)len;
        memcpy(item + at, i ? (const uint8_t *)rest : body.data, (size_t)len);
        at += (size_t)len;
    }
    long sent = 0;
    for (; sent < number(evil, "items", 100); sent++)
        if (!item_send(session, KLP_FRAME_BATCH + KLP_FRAME_COMPACT, KLP_CLASS_BULK, kos_bytes(item, at)))
            break;
    say("items %ld", sent);
    return session_end(session);
}

/* how=item: one that never ends; frames: as many as fit into records, empty, of an unknown type; credit: more than was
 * allowed; length: a frame longer than its record; logs, statements: the same one again and again. */
static int endless(const struct evil *evil)
{
    struct identity self;
    struct session *session = opened(evil, &self);
    const char *how = option(evil, "how", "item");
    static uint8_t record[KLP_RECORD_PLAIN_MAX];
    long records = number(evil, "records", 200);
    for (long i = 0; i < records && !session->closed; i++) {
        struct kos_bytes plain = kos_bytes(record, sizeof record);
        if (strcmp(how, "frames") == 0) {
            for (size_t at = 0; at + 4 <= sizeof record; at += 4)
                memcpy(record + at, "\xc8\0\0\0", 4);
            plain.len = sizeof record / 4 * 4;
        } else if (strcmp(how, "length") == 0) {
            memcpy(record, "\x09\0\xff\xff", 4);
        } else {
            size_t len = 16000;
            uint8_t klass = KLP_CLASS_INTERACTIVE;
            bool item = strcmp(how, "item") == 0;
            if (item && session->sent[klass] + len > session->allowed[klass] && !session_read(session, &session->allowed[klass], session->sent[klass] + len, 3000))
                break;
            session->sent[klass] += len;
            int32_t n = klp_frame_put(record, sizeof record, KLP_FRAME_MESSAGE, klass, true, kos_bytes(record + 4, len));
            plain.len = (size_t)n;
        }
        record_send(session, plain);
    }
    return session_end(session);
}

/* Asks for much and never reads: count=N log requests, or (what=ping) pings. */
static int greedy(const struct evil *evil)
{
    struct identity self;
    struct session *session = opened(evil, &self);
    char id[KLP_ID_TEXT], request[128];
    uint8_t frame[256];
    klp_id_text(&session->proof.id, id);
    int len = snprintf(request, sizeof request, "{\"from\":0,\"id\":\"%s\"}", id);
    bool pings = strcmp(option(evil, "what", "log"), "ping") == 0;
    for (long i = 0; i < number(evil, "count", 1000) && !session->closed; i++) {
        struct kos_bytes payload = pings ? kos_bytes(request, 8) : kos_bytes(request, (size_t)len);
        int32_t n = klp_frame_put(frame, sizeof frame, pings ? KLP_FRAME_PING : KLP_FRAME_LOG_REQUEST, KLP_CLASS_CONTROL, false, payload);
        record_send(session, kos_bytes(frame, (size_t)n));
    }
    say("asked");
    if (number(evil, "stay", 0))
        wait_for_line();
    close(session->fd);
    say("end open");
    return 0;
}

const struct attack bomb_attacks[] = {
    { "nesting", nesting }, { "compact-bomb", compact }, { "endless", endless }, { "greedy", greedy }, { NULL, NULL },
};
