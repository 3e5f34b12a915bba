/* SPDX-License-Identifier: Apache-2.0
 * Discovery services: every operation completes once, finds end, cancelled or not. */
#include <stdlib.h>

#include "conform.h"

static const uint8_t record[] = "{\"conform-payload\":\"a record that only the host can judge\"}";
static const char *const addresses[] = { "tcp://127.0.0.1:7450", "loop://x", NULL };
static const char *const none[] = { NULL };

static uint64_t announce(struct host *h, size_t len, const char *const *where)
{
    uint64_t op = op_new(h, "announce");
    h->backend->ops->announce(h->backend, op, kos_bytes(record, len), where);
    return op;
}

static uint64_t withdraw(struct host *h)
{
    uint64_t op = op_new(h, "withdraw");
    h->backend->ops->withdraw(h->backend, op);
    return op;
}

static uint64_t find(struct host *h, int32_t kind, const char *text, uint32_t limit)
{
    uint64_t op = op_new(h, "find");
    struct kos_find what = { .size = sizeof what, .kind = kind, .text = text, .limit = limit };
    memset(what.id, 0x33, sizeof what.id);
    h->backend->ops->find(h->backend, op, &what);
    return op;
}

/* A find may listen for as long as it likes: it is given a while, then cancelled, and has to end. */
static const struct op *find_wait(struct host *h, uint64_t id)
{
    struct op *op;
    HASH_FIND(hh, h->ops, &id, sizeof id, op);
    WAIT(h->c, 1000, op->done || !living(h));
    if (!op->done && living(h)) {
        h->backend->ops->find_cancel(h->backend, id);
        WAIT(h->c, soon(h->c), op->done || !living(h));
        if (!op->done && living(h))
            broke(h->c, RULE_FIND_CANCEL, "find (operation %llu) was not completed within %d s after find_cancel",
                  (unsigned long long)id, (int)(soon(h->c) / 1000));
    }
    return living(h) ? op : NULL;
}

static void wait_done(struct host *h, uint64_t id)
{
    struct op *op;
    HASH_FIND(hh, h->ops, &id, sizeof id, op);
    WAIT(h->c, soon(h->c), op->done || !living(h));
    if (!op->done && living(h))
        broke(h->c, RULE_FIND_COMPLETE, "%s (operation %llu) was not completed within %d s", op->what,
              (unsigned long long)id, (int)(soon(h->c) / 1000));
}

void exercise_discovery(struct host *h)
{
    announce(h, sizeof record - 1, addresses);
    find(h, KOS_FIND_ALL, "", 100);
    settle(h->c);
    if (living(h))
        h->backend->ops->find_cancel(h->backend, find(h, KOS_FIND_NAME, "x", 1));
    settle(h->c);
    if (living(h))
        withdraw(h);
    settle(h->c);
}

static void test_announce(struct conform *c)
{
    struct host *h = host_new(c);
    host_begin(h);
    for (int i = 0; i < 3; i++) {
        wait_done(h, announce(h, sizeof record - 1, addresses));
        wait_done(h, announce(h, sizeof record - 1, none)); /* replaces the older one */
        wait_done(h, announce(h, 0, addresses));
        wait_done(h, withdraw(h));
        wait_done(h, withdraw(h));
    }
    for (int i = 0; i < 20; i++)
        announce(h, sizeof record - 1 - (size_t)i, addresses);
    settle(c);
    wait_done(h, withdraw(h));
    host_end(h);
}

static void test_find(struct conform *c)
{
    static const char *const texts[] = { "", "a", "\xc3\xa9", "../../etc/passwd", "%n%s", "*" };
    struct host *h = host_new(c);
    host_begin(h);
    settle(c);
    for (int32_t kind = KOS_FIND_ALL; kind <= KOS_FIND_SKILL; kind++)
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
            find_wait(h, find(h, kind, texts[i], i == 0 ? 1 : 1000));
    find_wait(h, find(h, KOS_FIND_ALL, "", 0));
    host_end(h);
}

static void test_kind(struct conform *c)
{
    static const int32_t kinds[] = { 4, 99, INT32_MAX, -1, INT32_MIN };
    struct host *h = host_new(c);
    host_begin(h);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        uint64_t op = find(h, kinds[i], "x", 10);
        wait_done(h, op);
        struct op *done;
        HASH_FIND(hh, h->ops, &op, sizeof op, done);
        if (done->status != KOS_E_UNSUPPORTED)
            broke(c, RULE_FIND_KIND, "a find of the unknown kind %d was completed with %s", (int)kinds[i],
                  kos_error_name(done->status));
    }
    host_end(h);
}

static void test_cancel(struct conform *c)
{
    struct host *h = host_new(c);
    uint64_t ops[8];
    host_begin(h);
    for (size_t i = 0; i < 8; i++)
        ops[i] = find(h, (int32_t)(i % 4), "x", 1000);
    for (size_t i = 0; i < 8; i++)
        h->backend->ops->find_cancel(h->backend, ops[i]);
    for (size_t i = 0; i < 8; i++)
        find_wait(h, ops[i]);
    for (size_t i = 0; i < 8; i++)
        h->backend->ops->find_cancel(h->backend, ops[i]); /* crossed */
    settle(c);
    host_end(h);
}

/* What one instance announces another may find; whether it does is the service's. */
static void test_meet(struct conform *c)
{
    struct host *one = host_new(c), *two = host_new(c);
    struct kos_error error;
    host_begin(one);
    if (host_init(two, &error) < 0)
        skip(c, "it allows one instance only: %s", error.text);
    two->backend->ops->start(two->backend);
    wait_done(one, announce(one, sizeof record - 1, addresses));
    const struct op *op = find_wait(two, find(two, KOS_FIND_ALL, "", 100));
    uint32_t found = op ? op->found : 0;
    wait_done(one, withdraw(one));
    host_end(one);
    host_end(two);
    if (found == 0)
        skip(c, "its instances do not find each other here");
}

const struct test suite_discovery[] = {
    { "discovery", "announce", "announce and withdraw, again and again", KOS_DISCOVERY, test_announce },
    { "discovery", "find", "finds of every kind end", KOS_DISCOVERY, test_find },
    { "discovery", "kind", "a kind that nobody knows yet", KOS_DISCOVERY, test_kind },
    { "discovery", "cancel", "finds that are cancelled, at once and too late", KOS_DISCOVERY, test_cancel },
    { "discovery", "meet", "two instances", KOS_DISCOVERY, test_meet },
    { 0 },
};
