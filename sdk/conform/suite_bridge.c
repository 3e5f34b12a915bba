/* SPDX-License-Identifier: Apache-2.0
 * Bridges: deliveries complete once, whatever they carry; what comes in is named, once, and not passed over. */
#include <stdlib.h>

#include "conform.h"

static const char *const payloads[] = { "{}", "{\"text\":\"conform-payload\"}", "{\"a\":[1,2,{\"b\":null}]}",
                                        "{\"text\":\"\xc3\xa9\"}" };
static const char *const destinations[] = { "out", "", ".", "../x", "a/b", "%s%n", "\xc3\xa9", "a b", "*", ">" };

static uint64_t deliver(struct host *h, uint8_t number, const char *payload, const char *destination)
{
    struct kos_message m;
    uint8_t id[KOS_ID_BYTES] = { number, 7 };
    uint64_t op = op_new(h, "deliver");
    message_fill(h, &m, id, "TASK_REQUEST", payload, false);
    h->backend->ops->deliver(h->backend, op, &m, destination);
    return op;
}

/* A network that does not answer may keep a delivery waiting for long, but not beyond stop. */
static void wait_delivered(struct host *h, uint64_t id)
{
    struct conform *c = h->c;
    struct op *op;
    HASH_FIND(hh, h->ops, &id, sizeof id, op);
    WAIT(c, soon(c), op->done);
    if (op->done)
        return;
    host_end(h);
    skip(c, "deliveries wait for its network, which does not answer; they were completed when it stopped");
}

void exercise_bridge(struct host *h)
{
    h->backend->ops->resume(h->backend, "conform:nothing", kos_bytes_str("x"));
    for (uint8_t i = 0; i < 3 && living(h); i++) {
        deliver(h, i, payloads[i], "out");
        settle(h->c);
    }
}

static void test_deliver(struct conform *c)
{
    struct host *h = host_new(c);
    uint8_t number = 0;
    host_begin(h);
    settle(c);
    uint64_t ops[sizeof destinations / sizeof *destinations * 4];
    for (size_t d = 0; d < sizeof destinations / sizeof *destinations; d++)
        for (size_t p = 0; p < 4; p++)
            ops[4 * d + p] = deliver(h, ++number, payloads[p], destinations[d]);
    for (size_t i = 0; i < number; i++)
        wait_delivered(h, ops[i]);
    /* As after a crash: the same message again. */
    for (int i = 0; i < 3; i++)
        wait_delivered(h, deliver(h, 1, payloads[0], "out"));
    host_end(h);
}

static void test_large(struct conform *c)
{
    enum { LARGE = 700 << 10, MANY = 24 };
    struct host *h = host_new(c);
    char *payload = kos_new(LARGE + 64);
    uint64_t ops[MANY];
    size_t n = (size_t)sprintf(payload, "{\"text\":\"");
    memset(payload + n, 'x', LARGE);
    strcpy(payload + n + LARGE, "\"}");
    host_begin(h);
    for (size_t i = 0; i < MANY; i++)
        ops[i] = deliver(h, (uint8_t)(100 + i), i % 8 ? payloads[i % 4] : payload, "out");
    for (size_t i = 0; i < MANY; i++)
        wait_delivered(h, ops[i]);
    free(payload);
    host_end(h);
}

static void test_stop(struct conform *c)
{
    for (int i = 0; i < 5; i++) {
        struct host *h = host_new(c);
        host_begin(h);
        for (uint8_t k = 0; k < 4; k++)
            deliver(h, k, payloads[k], "out");
        if (i > 0)
            WAIT(c, 1, false);
        host_end(h); /* judge.c: each is completed by then */
    }
}

static void test_resume(struct conform *c)
{
    static uint8_t cursor[1024];
    struct host *h = host_new(c);
    memset(cursor, 0xff, sizeof cursor);
    host_begin(h);
    h->backend->ops->resume(h->backend, "conform:nothing", kos_bytes(NULL, 0));
    h->backend->ops->resume(h->backend, "", kos_bytes(cursor, sizeof cursor));
    h->backend->ops->resume(h->backend, "conform:\xc3\xa9", kos_bytes(cursor, 1));
    settle(c);
    host_end(h);
}

enum { INJECT_MS = 1500 };

static void wait_inject(struct host *h)
{
    WAIT(h->c, INJECT_MS, h->injected > 0);
    if (h->injected == 0)
        skip(h->c, "nothing comes in from its network here; --files or --settings may give it something");
}

/* What was taken is handed to the next instance by its origin's cursor, and not taken again from there on. */
static void test_inject(struct conform *c)
{
    struct host *h = host_new(c), *next;
    host_begin(h);
    wait_inject(h);
    settle(c);
    WAIT(c, 200, false);
    host_stop(h);
    next = host_new(c);
    state_move(h, next);
    next->taken = h->taken;
    h->taken = NULL;
    host_begin(next);
    size_t before = 0, after = 0;
    for (struct pair *p = next->taken; p; p = p->next)
        before++;
    char origin[128];
    snprintf(origin, sizeof origin, "%s", h->injected_origin);
    struct pair *last = next->taken;
    while (last && last->next)
        last = last->next;
    if (last && last->value.len)
        next->backend->ops->resume(next->backend, origin, last->value);
    host_free(h);
    WAIT(c, 300, false);
    for (struct pair *p = next->taken; p; p = p->next)
        after++;
    if (after != before)
        broke(c, RULE_BRIDGE_KEY, "after a restart %zu things were taken under keys that they did not have before",
              after - before);
    host_end(next);
}

static void test_refused(struct conform *c)
{
    static const int32_t codes[] = { KOS_E_BUSY,  KOS_E_NOSPACE, KOS_E_QUOTA,     KOS_E_UNREACHABLE,
                                     KOS_E_TRUST, KOS_E_DENIED,  KOS_E_CANONICAL, KOS_E_INVALID };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct host *h = host_new(c);
        h->refuse.inject = codes[i];
        host_begin(h);
        wait_inject(h);
        WAIT(c, 100, false);
        h->refuse.inject = 0;
        settle(c);
        host_end(h);
    }
}

const struct test suite_bridge[] = {
    { "bridge", "deliver", "every delivery completes once", KOS_BRIDGE, test_deliver },
    { "bridge", "large", "large messages, many at a time", KOS_BRIDGE, test_large },
    { "bridge", "stop", "stops with deliveries under way", KOS_BRIDGE, test_stop },
    { "bridge", "resume", "cursors of every sort", KOS_BRIDGE, test_resume },
    { "bridge", "inject", "what comes in, and again after a restart", KOS_BRIDGE, test_inject },
    { "bridge", "refused", "what the host refuses, by each error", KOS_BRIDGE, test_refused },
    { 0 },
};
