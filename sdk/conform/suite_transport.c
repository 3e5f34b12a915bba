/* SPDX-License-Identifier: Apache-2.0
 * Transports: endpoints and links, credits both ways, ends. What comes up is judged in judge_link.c; here it is
 * caused. */
#include <stdlib.h>

#include "conform.h"

enum { CHUNK = 16 << 10, STREAM_BYTES = 512 << 10, DATAGRAMS = 64, FEW = 4, HEAD = 8 };

/* ---- endpoints and links ---- */

uint64_t link_new(struct host *h)
{
    struct link *l = kos_new(sizeof *l);
    l->id = host_id(h);
    l->side = ASKED;
    HASH_ADD(hh, h->links, id, sizeof l->id, l);
    return l->id;
}

static struct link *link_at(struct host *h, uint64_t id)
{
    struct link *l;
    HASH_FIND(hh, h->links, &id, sizeof id, l);
    return l;
}

struct endpoint *endpoint_new(struct host *h)
{
    struct endpoint *e = kos_new(sizeof *e);
    e->id = host_id(h);
    e->side = ASKED;
    HASH_ADD(hh, h->endpoints, id, sizeof e->id, e);
    return e;
}

static struct endpoint *listen_on(struct host *h, const char *address)
{
    struct endpoint *e = endpoint_new(h);
    h->backend->ops->listen(h->backend, e->id, address);
    WAIT(h->c, 2 * soon(h->c), e->side != ASKED || !living(h));
    if (e->side == ASKED && living(h))
        broke(h->c, RULE_LINK_LISTEN,
              "listen(\"%.100s\") was answered neither by endpoint_up nor by endpoint_down within "
              "%d s", address, (int)(2 * soon(h->c) / 1000));
    return e;
}

bool listen_somewhere(struct host *h, struct endpoint **ret_endpoint)
{
    static const char *const places[] = { "127.0.0.1:0", "conform", "[::1]:0", "" };
    const json_t *schemes = json_object_get(h->c->module->description, "schemes");
    const char *scheme = json_string_value(json_array_get(schemes, 0));
    for (size_t i = 0; i < (h->c->options->listen ? 1 : sizeof places / sizeof *places) && living(h); i++) {
        char *address = h->c->options->listen ? kos_strdup(h->c->options->listen)
                                              : kos_format("%s://%s", scheme, places[i]);
        *ret_endpoint = listen_on(h, address);
        free(address);
        if ((*ret_endpoint)->side == UP)
            return true;
    }
    return false;
}

static struct link *accepted(struct host *h, uint64_t endpoint, const struct link *known)
{
    for (struct link *l = h->links; l; l = l->hh.next)
        if (l->endpoint == endpoint && l->id % 2 == 1 && l->side == UP && l->granted == 0 && l->sent == 0 &&
            l->tag == 0 && l != known)
            return l;
    return NULL;
}

/* Tags both ends with what they have to expect of each other. */
static void pair(struct conform *c, struct link *near, struct link *far)
{
    near->tag = 1 + draw(c, 1u << 30);
    far->tag = 1 + draw(c, 1u << 30);
}

bool dial_pair(struct host *from, struct host *to, struct endpoint *endpoint, struct link **ret_near,
               struct link **ret_far)
{
    struct conform *c = from->c;
    struct link *near = link_at(from, link_new(from));
    from->backend->ops->dial(from->backend, near->id, endpoint->address);
    WAIT(c, 2 * soon(c), near->side != ASKED || !living(from) || !living(to));
    if (!living(from) || !living(to))
        return false;
    if (near->side == ASKED)
        broke(c, RULE_LINK_DIAL, "dial(\"%.100s\") was answered neither by link_up nor by link_down within %d s",
              endpoint->address, (int)(2 * soon(c) / 1000));
    if (near->side == DOWN)
        return false;
    WAIT(c, soon(c), accepted(to, endpoint->id, NULL) || !living(from) || !living(to));
    struct link *far = accepted(to, endpoint->id, NULL);
    if (!living(from) || !living(to) || !far)
        return false;
    pair(c, near, far);
    *ret_near = near;
    *ret_far = far;
    return true;
}

static void grant(struct host *h, struct link *l, uint64_t bytes)
{
    l->granted += bytes;
    h->backend->ops->link_credit(h->backend, l->id, bytes);
}

/* How many bytes of filler go now: a random run of a stream in random pieces, or one datagram. 0: no window. */
static size_t send_some(struct host *h, struct link *l, const struct link *peer, size_t most)
{
    struct conform *c = h->c;
    bool stream = l->flags & KOS_LINK_STREAM;
    uint64_t room = stream || l->mtu > CHUNK ? CHUNK : l->mtu;
    uint8_t bytes[CHUNK];
    struct kos_bytes pieces[8];
    uint32_t count = 0;
    if (room > most && stream)
        room = most;
    if (room > l->window)
        room = stream ? l->window : 0;
    size_t len = room < HEAD + 1 ? (stream ? (size_t)room : 0) : HEAD + (size_t)draw(c, room - HEAD + 1);
    if (len == 0)
        return 0;
    if (stream) {
        for (size_t i = 0; i < len; i++)
            bytes[i] = filler(peer->tag, l->sent + i);
    } else {
        uint32_t number = (uint32_t)l->datagrams_sent, size = (uint32_t)len;
        memcpy(bytes, &number, sizeof number);
        memcpy(bytes + sizeof number, &size, sizeof size);
        for (size_t i = HEAD; i < len; i++)
            bytes[i] = filler(peer->tag + number, i);
    }
    for (size_t at = 0; at < len; count++) {
        size_t n = count == 7 ? len - at : 1 + (size_t)draw(c, len - at);
        pieces[count] = kos_bytes(bytes + at, n);
        at += n;
    }
    l->sent += len;
    l->window -= len;
    l->datagrams_sent++;
    h->backend->ops->send(h->backend, l->id, pieces, count);
    return len;
}

/* Slow media get few bytes. */
static uint64_t total_of(const struct link *l)
{
    return l->flags & KOS_LINK_STREAM ? STREAM_BYTES : DATAGRAMS;
}

static void setup(struct conform *c, struct host **ret_host, struct endpoint **ret_endpoint)
{
    struct host *h = host_new(c);
    host_begin(h);
    settle(c);
    if (!listen_somewhere(h, ret_endpoint))
        skip(c, "it listens on none of the addresses tried; --listen gives one");
    *ret_host = h;
}

static void setup_pair(struct conform *c, struct host **ret_host, struct endpoint **ret_endpoint,
                       struct link **ret_near, struct link **ret_far)
{
    setup(c, ret_host, ret_endpoint);
    if (!dial_pair(*ret_host, *ret_host, *ret_endpoint, ret_near, ret_far))
        skip(c, "it does not reach its own endpoint at %s", (*ret_endpoint)->address);
}

static void close_link(struct host *h, struct link *l, bool flush)
{
    l->closing = true;
    h->backend->ops->link_close(h->backend, l->id, flush);
}

static void wait_down(struct host *h, struct link *l, const char *why)
{
    WAIT(h->c, soon(h->c), l->side == DOWN || !living(h));
    if (l->side != DOWN && living(h))
        broke(h->c, RULE_LINK_END, "link %llu had no link_down within %d s after %s", (unsigned long long)l->id,
              (int)(soon(h->c) / 1000), why);
}

void exercise_transport(struct host *h)
{
    struct endpoint *e;
    struct link *near, *far;
    if (!listen_somewhere(h, &e) || !living(h) || !dial_pair(h, h, e, &near, &far)) {
        if (living(h)) {
            h->backend->ops->dial(h->backend, link_new(h), "nonsense");
            settle(h->c);
        }
        return;
    }
    grant(h, far, 4096);
    grant(h, near, 100);
    for (int i = 0; i < FEW && living(h) && near->side == UP && far->side == UP; i++) {
        send_some(h, near, far, 1000);
        send_some(h, far, near, 100);
        settle(h->c);
    }
    if (living(h) && near->side == UP)
        close_link(h, near, true);
    if (living(h))
        h->backend->ops->endpoint_close(h->backend, e->id);
    settle(h->c);
}

/* ---- endpoints ---- */

static void test_listen(struct conform *c)
{
    struct host *h;
    struct endpoint *e;
    setup(c, &h, &e);
    const json_t *schemes = json_object_get(c->module->description, "schemes");
    bool ours = false;
    for (size_t i = 0; i < json_array_size(schemes); i++) {
        const char *scheme = json_string_value(json_array_get(schemes, i));
        ours = ours || (strncmp(e->address, scheme, strlen(scheme)) == 0 && e->address[strlen(scheme)] == ':');
    }
    if (!ours)
        broke(c, RULE_LINK_BOUND, "endpoint_up says \"%s\", which has none of its schemes", e->address);
    h->backend->ops->endpoint_close(h->backend, e->id);
    WAIT(c, soon(c), e->side == DOWN);
    if (e->side != DOWN)
        broke(c, RULE_LINK_ENDPOINT, "endpoint_close was not answered by endpoint_down within %d s",
              (int)(soon(c) / 1000));
    h->backend->ops->endpoint_close(h->backend, e->id); /* crossed */
    settle(c);
    host_end(h);
}

static const char *const garbage[] = { "", "x", "://", "tcp:", "\xc3\xa9://\xc3\xa9", "%s%n://%n:%s", "a b c",
                                       "://127.0.0.1:99999", "://[::1", "://:", "://127.0.0.1", "://@:-1" };

static void test_garbage(struct conform *c)
{
    struct host *h = host_new(c);
    const char *scheme = json_string_value(json_array_get(json_object_get(c->module->description, "schemes"), 0));
    char *lengthy = kos_new(8192);
    host_begin(h);
    memset(lengthy, 'a', 8000);
    for (size_t i = 0; i < 2 * sizeof garbage / sizeof *garbage + 1; i++) {
        const char *text = i / 2 < sizeof garbage / sizeof *garbage ? garbage[i / 2] : lengthy;
        char *address = kos_format("%s%s", i % 2 && text[0] == ':' ? scheme : "", text);
        struct endpoint *e = listen_on(h, address);
        struct link *l = link_at(h, link_new(h));
        if (e->side == UP)
            h->backend->ops->endpoint_close(h->backend, e->id);
        h->backend->ops->dial(h->backend, l->id, address);
        WAIT(c, 2 * soon(c), l->side != ASKED);
        if (l->side == ASKED)
            broke(c, RULE_LINK_DIAL, "dial(\"%.100s\") was answered neither by link_up nor by link_down", address);
        free(address);
    }
    free(lengthy);
    host_end(h);
}

static void test_nowhere(struct conform *c)
{
    struct host *h;
    struct endpoint *e;
    setup(c, &h, &e);
    h->backend->ops->endpoint_close(h->backend, e->id);
    WAIT(c, soon(c), e->side == DOWN);
    struct link *l = link_at(h, link_new(h));
    h->backend->ops->dial(h->backend, l->id, e->address);
    WAIT(c, 3 * soon(c), l->side != ASKED);
    if (l->side == ASKED)
        broke(c, RULE_LINK_DIAL, "a dial to where nobody listens was not answered within %d s",
              (int)(3 * soon(c) / 1000));
    /* Given up by the host while it is under way. */
    l = link_at(h, link_new(h));
    h->backend->ops->dial(h->backend, l->id, e->address);
    h->backend->ops->link_close(h->backend, l->id, false);
    wait_down(h, l, "link_close during dial");
    host_end(h);
}

static void test_twice(struct conform *c)
{
    struct host *h;
    struct endpoint *e, *again;
    setup(c, &h, &e);
    again = listen_on(h, e->address);
    h->backend->ops->endpoint_close(h->backend, e->id);
    WAIT(c, soon(c), e->side == DOWN);
    if (again->side == UP) {
        h->backend->ops->endpoint_close(h->backend, again->id);
        WAIT(c, soon(c), again->side == DOWN);
    }
    host_end(h);
}

static void test_links_stay(struct conform *c)
{
    struct host *h;
    struct endpoint *e;
    struct link *near, *far;
    setup_pair(c, &h, &e, &near, &far);
    h->backend->ops->endpoint_close(h->backend, e->id);
    WAIT(c, soon(c), e->side == DOWN);
    settle(c);
    if (near->side != UP || far->side != UP)
        broke(c, RULE_LINK_ENDPOINT, "a link went down with its endpoint (%s)",
              kos_error_name(near->side != UP ? near->status : far->status));
    grant(h, far, 4096);
    uint64_t before = far->received;
    send_some(h, near, far, 100);
    WAIT(c, soon(c), far->received > before);
    if (far->received == before && near->flags & KOS_LINK_RELIABLE)
        broke(c, RULE_LINK_ENDPOINT, "a link carries nothing any more since its endpoint was closed");
    host_end(h);
}

/* ---- bytes and credits ---- */

/* Sends from one end to the other until `total` went out, with credit given in portions; waits until all is there. */
static void carry(struct host *h, struct link *from, struct link *to, uint64_t total, uint64_t portion)
{
    struct conform *c = h->c;
    bool stream = from->flags & KOS_LINK_STREAM;
    uint64_t least = stream ? portion : portion > to->mtu ? portion : to->mtu;
    uint64_t end = from->sent + total, datagrams = from->datagrams_sent + total;
    while ((stream ? from->sent < end : from->datagrams_sent < datagrams) || (stream && to->received < end)) {
        uint64_t sent = 0, before = c->events;
        for (int i = 0; i < 16 && (stream ? from->sent < end : from->datagrams_sent < datagrams); i++)
            sent += send_some(h, from, to, stream ? (size_t)(end - from->sent) : 0);
        if (to->granted - to->received < least)
            grant(h, to, least);
        WAIT(c, soon(c), c->events != before || from->side != UP || to->side != UP);
        if (from->side != UP || to->side != UP)
            broke(c, RULE_LINK_END, "link %llu went down by itself (%s)", (unsigned long long)from->id,
                  kos_error_name(from->side != UP ? from->status : to->status));
        if (c->events != before)
            continue;
        if (from->window == 0 || (!stream && from->window < from->mtu && sent == 0 && from->datagrams_sent < datagrams))
            broke(c, RULE_LINK_WINDOW, "link %llu gave no credit back for %llu bytes that it was given",
                  (unsigned long long)from->id, (unsigned long long)(from->sent - from->returned));
        if (stream)
            broke(c, RULE_LINK_RELIABLE, "of %llu bytes sent on link %llu, %llu came within %d s of silence",
                  (unsigned long long)from->sent, (unsigned long long)from->id, (unsigned long long)to->received,
                  (int)(soon(c) / 1000));
        break;
    }
    if (!stream) {
        grant(h, to, 2 * from->sent);
        settle(c);
        if (from->flags & KOS_LINK_RELIABLE)
            WAIT(c, soon(c), to->received >= from->sent);
        if (from->flags & KOS_LINK_RELIABLE && to->received < from->sent)
            broke(c, RULE_LINK_RELIABLE, "link %llu is reliable; %llu bytes were sent and %llu came",
                  (unsigned long long)from->id, (unsigned long long)from->sent, (unsigned long long)to->received);
    }
}

static uint64_t bounded(const struct link *l)
{
    uint64_t total = total_of(l);
    return l->flags & KOS_LINK_SHARED ? FEW : total;
}

static void test_bytes(struct conform *c)
{
    struct host *h;
    struct endpoint *e;
    struct link *near, *far;
    setup_pair(c, &h, &e, &near, &far);
    carry(h, near, far, bounded(near), 64 << 10);
    carry(h, far, near, bounded(near), 10000);
    host_end(h);
}

static void test_credit(struct conform *c)
{
    struct host *h;
    struct endpoint *e;
    struct link *near, *far;
    setup_pair(c, &h, &e, &near, &far);
    for (int i = 0; i < FEW; i++)
        send_some(h, near, far, 4096);
    settle(c);
    /* Nothing was granted: judge_link.c would have seen a byte. */
    if (!(near->flags & KOS_LINK_STREAM)) {
        host_end(h);
        return;
    }
    uint64_t all = near->sent;
    for (uint64_t portion = 1; far->received < all; portion = 1 + draw(c, 3000)) {
        uint64_t before = far->received;
        grant(h, far, portion);
        WAIT(c, soon(c), far->received > before || far->side != UP);
        if (far->received == before)
            broke(c, RULE_LINK_CREDIT, "link %llu has %llu bytes for the host and credit for %llu, and delivers none",
                  (unsigned long long)far->id, (unsigned long long)(all - before), (unsigned long long)portion);
    }
    host_end(h);
}

/* A receiver that takes nothing: the sender's window closes, then all goes on from there. */
static void test_slow(struct conform *c)
{
    struct host *h;
    struct endpoint *e;
    struct link *near, *far;
    setup_pair(c, &h, &e, &near, &far);
    if (near->flags & KOS_LINK_SHARED)
        skip(c, "its medium is shared: what nobody takes is lost there");
    for (uint64_t sent = 1, idle = 0; near->sent < 8u << 20 && idle < 3;) {
        sent = send_some(h, near, far, CHUNK);
        idle = sent ? 0 : idle + 1;
        if (!sent)
            settle(c);
    }
    settle(c);
    if (near->side != UP || far->side != UP)
        broke(c, RULE_LINK_END, "a link whose receiver was slow went down (%s)",
              kos_error_name(near->side != UP ? near->status : far->status));
    if (near->flags & KOS_LINK_STREAM) {
        uint64_t all = near->sent;
        while (far->received < all) {
            uint64_t before = far->received;
            grant(h, far, 32 << 10);
            WAIT(c, soon(c), far->received > before || far->side != UP);
            if (far->received == before)
                broke(c, RULE_LINK_RELIABLE, "of %llu bytes sent to a slow receiver %llu came", (unsigned long long)all,
                      (unsigned long long)before);
        }
    } else {
        grant(h, far, near->sent);
        settle(c);
    }
    host_end(h);
}

/* ---- ends ---- */

static void test_flush(struct conform *c)
{
    struct host *h;
    struct endpoint *e;
    struct link *near, *far;
    setup_pair(c, &h, &e, &near, &far);
    for (int i = 0; i < FEW; i++)
        send_some(h, near, far, CHUNK);
    close_link(h, near, true);
    grant(h, far, 4 * near->sent + 4096);
    WAIT(c, soon(c), far->side == DOWN || far->received >= near->sent);
    if (far->received < near->sent && (near->flags & KOS_LINK_RELIABLE))
        broke(c, RULE_LINK_CLOSE, "link_close with flush: %llu bytes had been sent before, %llu came",
              (unsigned long long)near->sent, (unsigned long long)far->received);
    wait_down(h, near, "link_close");
    if (near->flags & KOS_LINK_STREAM)
        wait_down(h, far, "the other end's link_close");
    host_end(h);
}

static void test_close(struct conform *c)
{
    struct host *h;
    struct endpoint *e;
    struct link *near, *far;
    setup_pair(c, &h, &e, &near, &far);
    close_link(h, near, false);
    close_link(h, far, false);
    /* All of these cross with the end. */
    send_some(h, near, far, 100);
    h->backend->ops->link_credit(h->backend, far->id, 1000);
    far->granted += 1000;
    close_link(h, near, true);
    wait_down(h, near, "link_close");
    wait_down(h, far, "link_close");
    close_link(h, near, false);
    h->backend->ops->link_credit(h->backend, near->id, 1000);
    settle(c);
    host_end(h);
}

static void test_far_end(struct conform *c)
{
    struct host *one, *two;
    struct endpoint *e;
    struct link *near, *far;
    struct kos_error error;
    setup(c, &one, &e);
    two = host_new(c);
    if (host_init(two, &error) < 0)
        skip(c, "it allows one instance only: %s", error.text);
    two->backend->ops->start(two->backend);
    settle(c);
    if (!dial_pair(two, one, e, &near, &far))
        skip(c, "its instances do not reach each other");
    if (near->flags & KOS_LINK_STREAM)
        carry(two, near, far, 0, 0);
    host_stop(one);
    if (near->flags & KOS_LINK_STREAM) {
        grant(two, near, 4096);
        wait_down(two, near, "the other side's stop");
    }
    host_end(two);
}

static void test_many(struct conform *c)
{
    enum { MANY = 12 };
    struct host *h;
    struct endpoint *e;
    struct link *near[MANY], *far[MANY];
    int n = 0;
    setup(c, &h, &e);
    while (n < MANY && dial_pair(h, h, e, &near[n], &far[n]))
        n++;
    if (n == 0)
        skip(c, "it does not reach its own endpoint at %s", e->address);
    for (int i = 0; i < n; i++)
        carry(h, near[i], far[i], near[i]->flags & KOS_LINK_STREAM ? 4096 : 1, 4096);
    for (int i = 0; i < n; i += 2)
        close_link(h, near[i], true);
    settle(c);
    host_end(h);
}

static void test_refused(struct conform *c)
{
    static const int32_t codes[] = { KOS_E_ADDRESS_USED, KOS_E_UNREACHABLE, KOS_E_TIMEOUT, KOS_E_PERMISSION,
                                     KOS_E_DENIED, KOS_E_LIMIT, KOS_E_NOTFOUND };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct host *h = host_new(c);
        struct endpoint *e;
        h->refuse.open = codes[i];
        host_begin(h);
        if (!listen_somewhere(h, &e) && e->status >= 0)
            broke(c, RULE_PLUGIN_ERROR, "endpoint_down says that all is well, but it never was up");
        struct link *l = link_at(h, link_new(h));
        h->backend->ops->dial(h->backend, l->id, e->side == UP ? e->address : "tcp://127.0.0.1:9");
        WAIT(c, 2 * soon(c), l->side != ASKED);
        if (l->side == ASKED)
            broke(c, RULE_LINK_DIAL, "a dial whose descriptor the host refused was not answered");
        host_end(h);
    }
}

const struct test suite_transport[] = {
    { "transport", "listen", "an endpoint comes up and goes down once", KOS_TRANSPORT, test_listen },
    { "transport", "garbage", "addresses that are none", KOS_TRANSPORT, test_garbage },
    { "transport", "nowhere", "a dial to nobody ends", KOS_TRANSPORT, test_nowhere },
    { "transport", "listen-twice", "the same address twice", KOS_TRANSPORT, test_twice },
    { "transport", "links-stay", "links outlive their endpoint", KOS_TRANSPORT, test_links_stay },
    { "transport", "bytes", "what is sent comes, both ways", KOS_TRANSPORT, test_bytes },
    { "transport", "credit", "nothing is delivered without credit", KOS_TRANSPORT, test_credit },
    { "transport", "slow", "a receiver that takes nothing for a while", KOS_TRANSPORT, test_slow },
    { "transport", "flush", "what was sent before link_close comes", KOS_TRANSPORT, test_flush },
    { "transport", "close", "both ends closed at once, and events that cross", KOS_TRANSPORT, test_close },
    { "transport", "far-end", "the instance at the other end stops", KOS_TRANSPORT, test_far_end },
    { "transport", "many", "many links at a time", KOS_TRANSPORT, test_many },
    { "transport", "refused", "descriptors that the host refuses", KOS_TRANSPORT, test_refused },
    { 0 },
};
