/* SPDX-License-Identifier: Apache-2.0
 * Endpoints and links: who is addressed, what waits, and what the host is told, never inside a call of its own. */
#include "lora.h"

#include <stdlib.h>
#include <utlist.h>

/* ---- queues of datagrams ---- */

void lora_queue_init(struct lora_queue *queue)
{
    *queue = (struct lora_queue){ .last = &queue->first };
}

bool lora_queue_add(struct lora_queue *queue, const struct kos_bytes *pieces, uint32_t count, size_t len)
{
    struct lora_frame *frame = malloc(sizeof *frame + len);
    if (!frame)
        return false;
    frame->next = NULL;
    frame->len = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (pieces[i].len > 0)
            memcpy(frame->data + frame->len, pieces[i].data, pieces[i].len);
        frame->len += pieces[i].len;
    }
    *queue->last = frame;
    queue->last = &frame->next;
    queue->count++;
    queue->bytes += len;
    return true;
}

struct lora_frame *lora_queue_take(struct lora_queue *queue)
{
    struct lora_frame *frame = queue->first;
    if (!frame)
        return NULL;
    queue->first = frame->next;
    if (!queue->first)
        queue->last = &queue->first;
    queue->count--;
    queue->bytes -= frame->len;
    return frame;
}

static void queue_clear(struct lora_queue *queue)
{
    for (struct lora_frame *frame; (frame = lora_queue_take(queue));)
        free(frame);
}

/* ---- addresses ---- */

void lora_address_text(uint16_t address, char ret_text[24])
{
    snprintf(ret_text, 24, "lora://0x%04x", address);
}

bool lora_address_read(const char *text, bool may_be_empty, uint16_t *ret_address)
{
    const char *rest = strncmp(text, "lora://", 7) == 0 ? text + 7 : text;
    size_t digits;
    if (*rest == '\0' && may_be_empty) {
        *ret_address = 0;
        return true;
    }
    if (strncmp(rest, "0x", 2) != 0)
        return false;
    rest += 2;
    digits = strspn(rest, "0123456789abcdefABCDEF");
    unsigned long value = digits >= 1 && digits <= 4 && rest[digits] == '\0' ? strtoul(rest, NULL, 16) : 0;
    if (value == 0 || value == LORA_EVERYONE)
        return false;
    *ret_address = (uint16_t)value;
    return true;
}

#define ADDRESS_HELP "a LoRa address is lora://0x0001 to lora://0xfffe"

/* ---- finding and making ---- */

static struct lora_link *find(const struct lora *lora, uint64_t id)
{
    struct lora_link *link;
    HASH_FIND(by_id, lora->links_by_id, &id, sizeof id, link);
    return link;
}

static struct lora_link *find_pair(const struct lora *lora, uint32_t pair)
{
    struct lora_link *link;
    HASH_FIND(by_pair, lora->links_by_pair, &pair, sizeof pair, link);
    return link;
}

static struct lora_endpoint *find_endpoint(const struct lora *lora, uint64_t id)
{
    struct lora_endpoint *endpoint;
    DL_FOREACH(lora->endpoints, endpoint)
    if (endpoint->id == id)
        break;
    return endpoint;
}

static struct lora_endpoint *endpoint_at(const struct lora *lora, uint16_t address)
{
    struct lora_endpoint *endpoint;
    DL_FOREACH(lora->endpoints, endpoint)
    if (endpoint->address == address && !endpoint->ending)
        break;
    return endpoint;
}

static struct lora_link *link_new(struct lora *lora, uint64_t id, uint64_t endpoint)
{
    struct lora_link *link = calloc(1, sizeof *link);
    if (!link)
        return NULL;
    link->id = id;
    link->endpoint = endpoint;
    link->last_ms = lora_mono_ms(lora);
    lora_queue_init(&link->out);
    lora_queue_init(&link->held);
    HASH_ADD(by_id, lora->links_by_id, id, sizeof link->id, link);
    return link;
}

static void place(struct lora *lora, struct lora_link *link, uint16_t local, uint16_t remote)
{
    link->pair = (uint32_t)local << 16 | remote;
    link->placed = true;
    HASH_ADD(by_pair, lora->links_by_pair, pair, sizeof link->pair, link);
}

/* From here on nothing passes; the host hears of it when its call is over. */
#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
static void
link_end(struct lora *lora, struct lora_link *link, int32_t status, const char *format, ...)
{
    va_list args;
    if (link->ending)
        return;
    va_start(args, format);
    vsnprintf(link->text, sizeof link->text, format, args);
    va_end(args);
    link->ending = true;
    link->status = status;
    queue_clear(&link->out);
    queue_clear(&link->held);
    if (link->placed)
        HASH_DELETE(by_pair, lora->links_by_pair, link);
    link->placed = false;
    lora_work_soon(lora);
}

#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
static void
endpoint_end(struct lora *lora, struct lora_endpoint *endpoint, int32_t status, const char *format, ...)
{
    va_list args;
    if (endpoint->ending)
        return;
    va_start(args, format);
    vsnprintf(endpoint->text, sizeof endpoint->text, format, args);
    va_end(args);
    endpoint->ending = true;
    endpoint->status = status;
    lora_work_soon(lora);
}

void lora_end_all(struct lora *lora, int32_t status, const char *text)
{
    struct lora_endpoint *endpoint;
    struct lora_link *link, *next;
    DL_FOREACH(lora->endpoints, endpoint)
    endpoint_end(lora, endpoint, status, "%s", text);
    HASH_ITER(by_id, lora->links_by_id, link, next)
    link_end(lora, link, status, "%s", text);
}

bool lora_anything(const struct lora *lora)
{
    return lora->endpoints || lora->links_by_id;
}

/* ---- calls of the host ---- */

void lora_listen(void *self, uint64_t id, const char *address)
{
    struct lora *lora = self;
    struct lora_endpoint *endpoint = calloc(1, sizeof *endpoint), *other;
    uint16_t own = 0;
    int count;
    if (!endpoint) {
        lora->events->endpoint_down(lora->host, id, KOS_E_NOMEM, "there is no memory for another endpoint");
        return;
    }
    endpoint->id = id;
    DL_COUNT(lora->endpoints, other, count);
    DL_APPEND(lora->endpoints, endpoint);
    if (strncmp(address, "lora://", 7) != 0 || !lora_address_read(address, true, &own))
        endpoint_end(lora, endpoint, KOS_E_INVALID, "%.100s cannot be listened on: " ADDRESS_HELP, address);
    else if ((own = own ? own : lora->address) == 0)
        endpoint_end(lora, endpoint, KOS_E_CONFIG, "lora:// needs the setting address: " ADDRESS_HELP);
    else if (endpoint_at(lora, own))
        endpoint_end(lora, endpoint, KOS_E_ADDRESS_USED, "this node listens on lora://0x%04x already", own);
    else if (count >= LORA_ENDPOINTS_MAX)
        endpoint_end(lora, endpoint, KOS_E_LIMIT, "a modem serves at most %d short addresses", LORA_ENDPOINTS_MAX);
    else
        lora_modem_need(lora);
    endpoint->address = own;
    lora_work_soon(lora);
}

void lora_endpoint_close(void *self, uint64_t id)
{
    struct lora *lora = self;
    struct lora_endpoint *endpoint = find_endpoint(lora, id);
    if (endpoint)
        endpoint_end(lora, endpoint, KOS_OK, "closed");
}

static uint16_t own_address(const struct lora *lora)
{
    struct lora_endpoint *endpoint;
    DL_FOREACH(lora->endpoints, endpoint)
    if (!endpoint->ending)
        return endpoint->address;
    return lora->address;
}

/* A link that another node began and that this one never said a word on gives way: what came may be the rest of a
 * conversation that is over, and then nobody would ever answer it. */
static struct lora_link *in_the_way(struct lora *lora, uint32_t pair)
{
    struct lora_link *link = find_pair(lora, pair);
    if (!link || link->endpoint == 0 || link->sent || link->out.count)
        return link;
    link_end(lora, link, KOS_E_CLOSED, "this node dials lora://0x%04x itself", pair & 0xffff);
    return NULL;
}

void lora_dial(void *self, uint64_t id, const char *address)
{
    struct lora *lora = self;
    uint16_t remote = 0, local = own_address(lora);
    uint64_t now = lora_mono_ms(lora);
    struct lora_link *link = link_new(lora, id, 0);
    if (!link) {
        lora->events->link_down(lora->host, id, KOS_E_NOMEM, "there is no memory for another link");
        return;
    }
    if (strncmp(address, "lora://", 7) != 0 || !lora_address_read(address, false, &remote))
        link_end(lora, link, KOS_E_INVALID, "%.100s cannot be dialled: " ADDRESS_HELP, address);
    else if (local == 0)
        link_end(lora, link, KOS_E_CONFIG,
                 "this node has no short address: listen on lora://0xNNNN or set address for the plugin lora");
    else if (remote == local)
        link_end(lora, link, KOS_E_INVALID, "lora://0x%04x is this node itself", remote);
    else if (in_the_way(lora, (uint32_t)local << 16 | remote))
        link_end(lora, link, KOS_E_EXISTS, "there is a link to lora://0x%04x already", remote);
    else if (HASH_CNT(by_id, lora->links_by_id) > lora->links_max)
        link_end(lora, link, KOS_E_LIMIT, "all %u links are in use (setting links)", lora->links_max);
    else if (lora->modem.state == MODEM_RESTING ||
             (lora->modem.state == MODEM_CLOSED && now < lora->modem.rest_until_ms))
        link_end(lora, link, KOS_E_UNREACHABLE, "the modem at %s failed and is tried again in %llu s", lora->device,
                 (unsigned long long)(lora->modem.rest_until_ms - now + 999) / 1000);
    else {
        place(lora, link, local, remote);
        lora_modem_need(lora);
        lora_work_soon(lora);
    }
}

void lora_send(void *self, uint64_t id, const struct kos_bytes *pieces, uint32_t count)
{
    struct lora *lora = self;
    struct lora_link *link = find(lora, id);
    size_t len = 0, room = lora->mtu - LORA_HEADER;
    if (!link || !link->up || link->ending || link->flushing)
        return;
    for (uint32_t i = 0; i < count; i++)
        len += pieces[i].len;
    if (len == 0)
        return;
    link->last_ms = lora_mono_ms(lora);
    if (len > room)
        link_end(lora, link, KOS_E_INVALID, "the host sent a datagram of %zu bytes; the link takes %zu", len, room);
    else if (link->out.bytes + link->in_air + link->owed + len > LORA_WINDOW_FRAMES * room)
        link_end(lora, link, KOS_E_LIMIT, "the host sent more than its window of %zu bytes", LORA_WINDOW_FRAMES * room);
    else if (!lora_queue_add(&link->out, pieces, count, len))
        link_end(lora, link, KOS_E_NOMEM, "there is no memory for a frame of %zu bytes", len);
    else
        lora_work_soon(lora);
}

void lora_credit(void *self, uint64_t id, uint64_t bytes)
{
    struct lora *lora = self;
    struct lora_link *link = find(lora, id);
    if (!link || !link->up || link->ending || link->flushing)
        return;
    link->credit_in = bytes > UINT64_MAX - link->credit_in ? UINT64_MAX : link->credit_in + bytes;
    if (link->held.count)
        lora_work_soon(lora);
}

void lora_link_close(void *self, uint64_t id, int32_t flush)
{
    struct lora *lora = self;
    struct lora_link *link = find(lora, id);
    if (!link || link->ending)
        return;
    if (!link->up) {
        link_end(lora, link, KOS_E_CANCELLED, "given up before the modem was ready");
    } else if (flush == 1 && (link->out.count || link->in_air)) {
        if (link->flushing)
            return;
        link->flushing = true;
        link->flush_ms = lora_mono_ms(lora) + LORA_FLUSH_MS;
        queue_clear(&link->held);
        lora_work_soon(lora);
    } else {
        link_end(lora, link, KOS_OK, "closed");
    }
}

/* ---- from the air ---- */

static struct lora_link *accept_from(struct lora *lora, struct lora_endpoint *endpoint, uint16_t remote)
{
    if (HASH_CNT(by_id, lora->links_by_id) >= lora->links_max)
        return NULL;
    struct lora_link *link = link_new(lora, lora->next_id, endpoint->id);
    if (!link)
        return NULL;
    lora->next_id += 2;
    place(lora, link, endpoint->address, remote);
    return link;
}

void lora_received(struct lora *lora, struct kos_bytes bytes)
{
    const uint8_t *d = bytes.data;
    if (bytes.len <= LORA_HEADER || d[0] != LORA_VERSION << 4) {
        lora->foreign++;
        return;
    }
    uint16_t to = (uint16_t)(d[1] << 8 | d[2]), from = (uint16_t)(d[3] << 8 | d[4]);
    if (to == 0 || to == LORA_EVERYONE || from == 0 || from == LORA_EVERYONE || from == to) {
        lora->foreign++;
        return;
    }
    struct lora_link *link = find_pair(lora, (uint32_t)to << 16 | from);
    struct lora_endpoint *endpoint = link ? NULL : endpoint_at(lora, to);
    if (!link && !(endpoint && endpoint->up)) {
        lora->foreign++;
        return;
    }
    if (!link && !(link = accept_from(lora, endpoint, from))) {
        if (lora->refused++ == 0)
            lora_log(lora, KOS_WARNING, "a frame of lora://0x%04x is refused: all %u links are in use (setting links)",
                     from, lora->links_max);
        return;
    }
    struct kos_bytes data = kos_bytes(d + LORA_HEADER, bytes.len - LORA_HEADER);
    link->last_ms = lora_mono_ms(lora);
    if (link->flushing || link->held.count == LORA_HOLD_FRAMES || !lora_queue_add(&link->held, &data, 1, data.len)) {
        /* The medium loses frames as it likes; whoever sent it repeats it. */
        link->refused++;
        lora->refused++;
        return;
    }
    link->received++;
    lora->received++;
    lora_work_soon(lora);
}

/* ---- what the host is told ---- */

static void tell_up(struct lora *lora, struct lora_link *link)
{
    char local[24], remote[24];
    uint32_t room = lora->mtu - LORA_HEADER;
    lora_address_text((uint16_t)(link->pair >> 16), local);
    lora_address_text((uint16_t)link->pair, remote);
    struct kos_link_info info = {
        .size = sizeof info,
        .flags = KOS_LINK_SHARED,
        .mtu_bytes = room,
        .cost = 10000,
        .airtime_ms_per_hour = lora->airtime_ms_per_hour,
        .bits_per_second = lora_bits_per_second(&lora->radio),
        .send_window_bytes = (uint64_t)LORA_WINDOW_FRAMES * room,
        .local = local,
        .remote = remote,
        .short_local = link->pair >> 16,
        .short_remote = link->pair & 0xffff,
    };
    link->up = true;
    lora->events->link_up(lora->host, link->id, link->endpoint, &info);
}

static void link_free(struct lora *lora, struct lora_link *link)
{
    HASH_DELETE(by_id, lora->links_by_id, link);
    free(link);
}

static void link_work(struct lora *lora, struct lora_link *link)
{
    if (link->flushing && !link->ending && link->out.count == 0 && link->in_air == 0)
        link_end(lora, link, KOS_OK, "closed");
    if (link->ending) {
        /* An accepted link that the host never heard of ends as quietly. */
        if (link->up || link->endpoint == 0)
            lora->events->link_down(lora->host, link->id, link->status, link->text);
        link_free(lora, link);
        return;
    }
    if (!link->up && lora->modem.state == MODEM_ONLINE)
        tell_up(lora, link);
    while (link->up && link->held.count && link->held.first->len <= link->credit_in) {
        struct lora_frame *frame = lora_queue_take(&link->held);
        link->credit_in -= frame->len;
        lora->events->link_received(lora->host, link->id, kos_bytes(frame->data, frame->len));
        free(frame);
    }
}

void lora_links_work(struct lora *lora)
{
    struct lora_endpoint *endpoint, *after;
    struct lora_link *link, *next;
    char bound[24];
    DL_FOREACH_SAFE(lora->endpoints, endpoint, after)
    {
        if (endpoint->ending) {
            DL_DELETE(lora->endpoints, endpoint);
            lora->events->endpoint_down(lora->host, endpoint->id, endpoint->status, endpoint->text);
            free(endpoint);
        } else if (!endpoint->up && lora->modem.state == MODEM_ONLINE) {
            endpoint->up = true;
            lora_address_text(endpoint->address, bound);
            lora->events->endpoint_up(lora->host, endpoint->id, bound);
        }
    }
    HASH_ITER(by_id, lora->links_by_id, link, next)
    link_work(lora, link);
}

/* Ends what was flushed long enough or was silent too long, and comes again when the next of those is due. */
void lora_links_idle(struct lora *lora)
{
    struct lora_link *link, *next;
    uint64_t now = lora_mono_ms(lora), soonest = UINT64_MAX;
    HASH_ITER(by_id, lora->links_by_id, link, next)
    {
        uint64_t due = link->flushing ? link->flush_ms : link->last_ms + lora->idle_ms;
        if (link->ending || (!link->flushing && link->endpoint == 0))
            continue;
        if (due > now)
            soonest = due < soonest ? due : soonest;
        else if (link->flushing)
            link_end(lora, link, KOS_OK, "closed; not everything could be sent in %d s", LORA_FLUSH_MS / 1000);
        else
            link_end(lora, link, KOS_E_TIMEOUT, "nothing was heard or sent for %llu s (setting idle_timeout)",
                     (unsigned long long)lora->idle_ms / 1000);
    }
    if (soonest != UINT64_MAX)
        lora->host->timer_set(lora->host, TIMER_IDLE, soonest - now);
    else
        lora->host->timer_stop(lora->host, TIMER_IDLE);
}
