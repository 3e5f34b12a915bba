/* SPDX-License-Identifier: Apache-2.0
 * Handlers: every message gets its verdict, once, in a transaction, whatever it carries and whatever is refused. */
#include <stdlib.h>

#include "conform.h"

/* Canonical objects, as hosts hand over. */
static const char *const payloads[] = {
    "{}",
    "{\"a\":1}",
    "{\"text\":\"conform-payload\"}",
    "{\"text\":17}",
    "{\"deadline\":-9007199254740991,\"inputs\":[],\"skill\":\"\",\"task\":\"\",\"text\":\"\"}",
    "{\"inputs\":[\"conform-payload\"],\"text\":[[[[[[[[]]]]]]]]}",
    "{\"base64\":\"====\",\"offset\":9007199254740991,\"part\":-1,\"task\":null,\"text\":\"\\u0001\xc3\xa9\"}",
    "{\"error\":{\"code\":\"x\"},\"evidence\":true,\"result\":{},\"seq\":1.5,\"state\":\"done\",\"text\":{}}",
};
enum { PAYLOADS = sizeof payloads / sizeof *payloads };

static const char *type_at(const struct conform *c, size_t i)
{
    return json_string_value(json_array_get(json_object_get(c->module->description, "types"), i));
}

static struct message *message_new(struct host *h)
{
    struct message *m = kos_new(sizeof *m);
    m->handle = host_id(h);
    for (size_t i = 0; i < KOS_ID_BYTES; i++)
        m->id[i] = (uint8_t)draw(h->c, 256);
    HASH_ADD(hh, h->messages, handle, sizeof m->handle, m);
    return m;
}

void message_fill(struct host *h, struct kos_message *ret_message, const uint8_t id[KOS_ID_BYTES], const char *type,
                  const char *payload, bool again)
{
    *ret_message = (struct kos_message){ .size = sizeof *ret_message,
                               .klass = 1,
                               .type = type,
                               .source = "klp://node.conform",
                               .target = "klp://node.here",
                               .created_ms = kos_now_ms(h->c->env),
                               .expires_ms = kos_now_ms(h->c->env) + 3600000,
                               .trust = 5,
                               .trace = "",
                               .source_name = "conform",
                               .payload = kos_bytes_str(payload),
                               .again = again };
    memcpy(ret_message->id, id, KOS_ID_BYTES);
    memset(ret_message->source_id, 0x11, KOS_ID_BYTES);
    memset(ret_message->target_id, 0x22, KOS_ID_BYTES);
}

static void hand(struct host *h, struct message *made, const char *type, const char *payload, bool again)
{
    struct kos_message m;
    message_fill(h, &m, made->id, type, payload, again);
    h->backend->ops->handle(h->backend, made->handle, &m);
}

struct message *give_message(struct host *h, const char *type, const char *payload, bool again)
{
    struct message *made = message_new(h);
    hand(h, made, type, payload, again);
    return made;
}

static void wait_verdict(struct host *h, struct message *m, const char *type, const char *payload)
{
    for (int i = 0; i < 40; i++) {
        WAIT(h->c, soon(h->c), m->answered || !living(h));
        if (!living(h))
            return;
        if (!m->answered)
            broke(h->c, m->outcome ? RULE_HANDLER_OUTCOME : RULE_HANDLER_ANSWER,
                  "a %s %s got no verdict within %d s", type, payload, (int)(soon(h->c) / 1000));
        if (m->verdict != KOS_DEFER)
            return;
        /* Handed over again when it wanted, under a handle of its own. */
        struct message *again = kos_new(sizeof *again);
        *again = (struct message){ .handle = host_id(h), .outcome = m->outcome };
        memcpy(again->id, m->id, sizeof again->id);
        uint64_t delay = m->retry_ms < 1000 ? m->retry_ms : 1000;
        HASH_ADD(hh, h->messages, handle, sizeof again->handle, again);
        WAIT(h->c, delay + 1, !living(h));
        if (!living(h))
            return;
        if (!m->outcome)
            hand(h, again, type, payload, true);
        else
            return;
        m = again;
    }
}

void exercise_handler(struct host *h)
{
    for (size_t i = 0; living(h) && type_at(h->c, i); i++)
        for (size_t p = 0; living(h) && p < 3; p++) {
            give_message(h, type_at(h->c, i), payloads[p], false);
            settle(h->c);
        }
}

static void test_garbage(struct conform *c)
{
    struct host *h = host_new(c);
    host_begin(h);
    for (size_t i = 0; type_at(c, i); i++)
        for (size_t p = 0; p < PAYLOADS; p++)
            wait_verdict(h, give_message(h, type_at(c, i), payloads[p], false), type_at(c, i), payloads[p]);
    settle(c);
    host_end(h);
}

static void test_large(struct conform *c)
{
    enum { LARGE = 900 << 10 };
    struct host *h = host_new(c);
    char *payload = kos_new(LARGE + 64);
    size_t n = (size_t)sprintf(payload, "{\"text\":\"");
    memset(payload + n, 'x', LARGE);
    strcpy(payload + n + LARGE, "\"}");
    host_begin(h);
    for (size_t i = 0; type_at(c, i); i++)
        wait_verdict(h, give_message(h, type_at(c, i), payload, false), type_at(c, i), "of 900 KiB");
    free(payload);
    host_end(h);
}

static void test_many(struct conform *c)
{
    enum { MANY = 60 };
    struct host *h = host_new(c);
    struct message *all[MANY];
    size_t types = 0;
    host_begin(h);
    while (type_at(c, types))
        types++;
    settle(c);
    for (size_t i = 0; i < MANY; i++)
        all[i] = give_message(h, type_at(c, i % types), payloads[i % PAYLOADS], false);
    for (size_t i = 0; i < MANY; i++)
        wait_verdict(h, all[i], type_at(c, i % types), payloads[i % PAYLOADS]);
    host_end(h);
}

/* The host forgets what it was told before the verdict was durable: the same message comes to the next instance. */
static void test_crash(struct conform *c)
{
    for (size_t i = 0; type_at(c, i); i++)
        for (size_t p = 0; p < 4; p++) {
            struct host *before = host_new(c), *after;
            before->hold = true;
            before->refuse.tx = KOS_E_IO;
            host_begin(before);
            struct message *m = give_message(before, type_at(c, i), payloads[p], false);
            settle(c);
            host_stop(before);
            after = host_new(c);
            state_move(before, after);
            host_begin(after);
            settle(c);
            struct message *again = message_new(after);
            memcpy(again->id, m->id, sizeof again->id);
            host_free(before);
            hand(after, again, type_at(c, i), payloads[p], true);
            wait_verdict(after, again, type_at(c, i), payloads[p]);
            host_end(after);
        }
}

static void test_refused(struct conform *c)
{
    static const int32_t codes[] = { KOS_E_BUSY, KOS_E_NOSPACE, KOS_E_LIMIT, KOS_E_INVALID, KOS_E_DENIED, KOS_E_TRUST };
    for (size_t k = 0; k < sizeof codes / sizeof *codes; k++) {
        struct host *h = host_new(c);
        host_begin(h);
        settle(c);
        h->refuse.tx = codes[k];
        for (size_t i = 0; type_at(c, i); i++) {
            give_message(h, type_at(c, i), "{}", false);
            give_message(h, type_at(c, i), "{\"text\":\"x\"}", false);
        }
        settle(c);
        h->refuse.tx = 0;
        /* Those stay as they are until a restart; what comes now is taken again. */
        wait_verdict(h, give_message(h, type_at(c, 0), "{}", false), type_at(c, 0), "{} after a refused transaction");
        host_end(h);
    }
}

static void give_outcome(struct host *h, const uint8_t *id, const char *type, int32_t status)
{
    struct message *m = message_new(h);
    struct kos_outcome o = { .size = sizeof o, .status = status, .type = type,
                             .text = status ? "it was refused, for a test" : "" };
    m->outcome = true;
    memcpy(o.id, id ? id : m->id, sizeof o.id);
    h->backend->ops->outcome(h->backend, m->handle, &o);
    wait_verdict(h, m, "outcome of", type);
}

static void test_outcomes(struct conform *c)
{
    static const int32_t codes[] = { KOS_OK, KOS_E_EXPIRED, KOS_E_INTERRUPTED, KOS_E_DENIED, KOS_E_UNHANDLED, -1000 };
    struct host *h = host_new(c);
    size_t k = 0;
    if (!json_is_true(json_object_get(c->module->description, "outcomes")))
        skip(c, "it lets the host note outcomes");
    host_begin(h);
    for (size_t i = 0; type_at(c, i); i++)
        for (size_t p = 0; p < PAYLOADS; p++)
            wait_verdict(h, give_message(h, type_at(c, i), payloads[p], false), type_at(c, i), payloads[p]);
    for (struct sent *s = h->sent; s; s = s->next)
        if (!s->noted)
            give_outcome(h, s->id, s->type, codes[k++ % (sizeof codes / sizeof *codes)]);
    /* Of a draft that an earlier life sent and this one knows nothing of. */
    for (k = 0; k < sizeof codes / sizeof *codes; k++)
        give_outcome(h, NULL, type_at(c, 0), codes[k]);
    host_end(h);
}

const struct test suite_handler[] = {
    { "handler", "garbage", "a verdict for every payload", KOS_HANDLER, test_garbage },
    { "handler", "large", "a verdict for the largest payload", KOS_HANDLER, test_large },
    { "handler", "many", "many messages at a time", KOS_HANDLER, test_many },
    { "handler", "crash", "the same message after a crash", KOS_HANDLER, test_crash },
    { "handler", "refused", "transactions that the host refuses", KOS_HANDLER, test_refused },
    { "handler", "outcomes", "outcomes of what it sent, and of what it does not know", KOS_HANDLER, test_outcomes },
    { 0 },
};
