/* SPDX-License-Identifier: Apache-2.0
 * From streams into kos. A durable consumer of ours per map is asked for as many messages as there is room for; each is
 * given to the host, and acknowledged when the host has it. The order of a subject is kept: while one message of it must
 * be tried again, those behind it wait. */
#include "nats.h"

#include <stdlib.h>
#include <utlist.h>

enum { PULL_MS = 30000, PULL_GRACE_MS = 5000, RETRY_MOST_MS = 30000, SETUP_MOST_MS = 15000 };

void nats_inward_init(struct nats *nats)
{
    for (size_t i = 0; i < nats->settings.map_count; i++)
        nats->inward[i].map = &nats->settings.maps[i];
}

static void trouble(struct nats *nats, struct nats_inward *in, int32_t status, const char *text)
{
    if (strcmp(in->trouble, text) != 0)
        in->was_said = false;
    snprintf(in->trouble, sizeof in->trouble, "%s", text);
    nats_trouble(nats, status, text);
    if (!in->was_said)
        nats_log(nats, KOS_WARNING, "%s: %s", in->map->subject, text);
    in->was_said = true;
}

static void answer(struct nats *nats, const char *reply, const char *word)
{
    natsMsg *msg = NULL;
    if (nats->epoch && natsMsg_Create(&msg, reply, NULL, word, (int)strlen(word)) == NATS_OK)
        link_send(&nats->link, nats->epoch, msg);
}

/* ---- the consumer ---- */

static void ask_setup(struct nats *nats, struct nats_inward *in)
{
    char durable[64];
    struct link_command *c = calloc(1, sizeof *c);
    if (!c)
        return;
    snprintf(durable, sizeof durable, "%.32s-%.12s-%s", nats->durable, nats->origin, in->map->mark);
    c->kind = LINK_SETUP;
    c->epoch = nats->epoch;
    c->token = in->setup = ++nats->next_token;
    c->map = (uint32_t)(in - nats->inward);
    c->subject = strdup(in->map->subject);
    c->stream = strdup(in->map->stream);
    c->durable = strdup(durable);
    c->only_new = in->map->only_new;
    c->ack_wait_ms = nats->ack_wait_ms;
    c->window = nats->window;
    c->cursor_created = in->cursor_created;
    c->cursor_seq = in->cursor_seq;
    if (c->subject && c->stream && c->durable && link_give(&nats->link, c) >= 0) {
        in->state = NATS_MAP_ASKED;
        in->again_at_ms = 0;
    }
}

/* Nothing is asked for until the consumer was looked at again. What the host was not given yet is forgotten: it comes
 * again, in order. What it was given stays until it has answered. */
static void set_down(struct nats_inward *in)
{
    struct nats_taken *taken, *next;
    for (taken = in->lanes.by_seq; taken; taken = next) {
        next = taken->by_seq.next;
        if (!taken->op)
            nats_lanes_remove(&in->lanes, taken);
    }
    in->state = NATS_MAP_IDLE;
    in->setup = 0;
    in->asked = 0;
}

static void set_up_later(struct nats *nats, struct nats_inward *in)
{
    set_down(in);
    in->again_at_ms = nats->host->now_ms(nats->host) + nats_back_off(nats, ++in->failures, SETUP_MOST_MS);
    nats_tick_soon(nats);
}

static void pull(struct nats *nats, struct nats_inward *in)
{
    char subject[2 * NATS_SUBJECT_MAX + 96], inbox[96], body[96];
    natsMsg *msg = NULL;
    if (in->state != NATS_MAP_READY || in->asked > 0 || in->lanes.held > nats->window / 2)
        return;
    in->asked = nats->window - in->lanes.held;
    in->asked_until_ms = nats->host->now_ms(nats->host) + PULL_MS + PULL_GRACE_MS;
    snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%.32s-%.12s-%s", in->stream, nats->durable, nats->origin,
             in->map->mark);
    snprintf(inbox, sizeof inbox, "%s.m.%zu.%llu", nats->inbox, (size_t)(in - nats->inward), (unsigned long long)in->setup);
    snprintf(body, sizeof body, "{\"batch\":%zu,\"expires\":%lld}", in->asked, PULL_MS * 1000000ll);
    if (natsMsg_Create(&msg, subject, inbox, body, (int)strlen(body)) != NATS_OK ||
        link_send(&nats->link, nats->epoch, msg) < 0)
        in->asked_until_ms = 0;
    nats_tick_soon(nats);
}

void nats_inward_up(struct nats *nats)
{
    for (size_t i = 0; nats->bridge && i < nats->settings.map_count; i++)
        if (nats->inward[i].lanes.under_way == 0)
            ask_setup(nats, &nats->inward[i]);
    nats_tick_soon(nats);
}

void nats_inward_down(struct nats *nats)
{
    for (size_t i = 0; i < nats->settings.map_count; i++)
        set_down(&nats->inward[i]);
}

void nats_inward_ready(struct nats *nats, const struct link_event *event)
{
    struct nats_inward *in = event->map < nats->settings.map_count ? &nats->inward[event->map] : NULL;
    if (!in || event->token != in->setup || in->state != NATS_MAP_ASKED)
        return;
    bool long_name = strlen(event->name) > NATS_STREAM_NAME_MAX;
    if (event->status < 0 || long_name) {
        trouble(nats, in, event->status, long_name ? "the name of its stream is longer than 190 bytes" : event->text);
        set_up_later(nats, in);
        return;
    }
    snprintf(in->stream, sizeof in->stream, "%s", event->name);
    snprintf(in->origin, sizeof in->origin, "nats:%s", event->name);
    in->created = event->created;
    in->lanes.highest = event->seq;
    in->state = NATS_MAP_READY;
    in->failures = 0;
    if (in->trouble[0])
        nats_log(nats, KOS_NOTICE, "%s: messages of the stream %s are taken again", in->map->subject, in->stream);
    in->trouble[0] = '\0';
    in->was_said = false;
    pull(nats, in);
}

/* ---- the cursor: for every map of a stream, how far it is decided ---- */

static size_t cursor_of(const struct nats *nats, const struct nats_inward *in, const struct nats_taken *taken, char *buf,
                        size_t cap)
{
    size_t len = (size_t)snprintf(buf, cap, "1 %llu", (unsigned long long)in->created);
    for (size_t i = 0; i < nats->settings.map_count; i++) {
        const struct nats_inward *other = &nats->inward[i];
        bool same = strcmp(other->origin, in->origin) == 0 && other->created == in->created;
        uint64_t floor = same ? nats_lanes_floor(&other->lanes, other == in ? taken : NULL) : 0;
        if (same && len < cap)
            len += (size_t)snprintf(buf + len, cap - len, " %s=%llu", other->map->mark, (unsigned long long)floor);
    }
    return len < cap ? len : 0;
}

void nats_resume(void *self, const char *origin, struct kos_bytes cursor)
{
    struct nats *nats = self;
    char text[1025], *rest = text, *end;
    if (cursor.len >= sizeof text || strncmp(origin, "nats:", 5) != 0)
        return;
    if (cursor.len)
        memcpy(text, cursor.data, cursor.len);
    text[cursor.len] = '\0';
    char *version = strtok_r(rest, " ", &rest), *created = version ? strtok_r(rest, " ", &rest) : NULL;
    if (!created || strcmp(version, "1") != 0)
        return;
    uint64_t at = strtoull(created, &end, 10);
    for (char *word; (word = strtok_r(rest, " ", &rest));)
        for (size_t i = 0; i < nats->settings.map_count; i++) {
            struct nats_inward *in = &nats->inward[i];
            size_t len = strlen(in->map->mark);
            if (strncmp(word, in->map->mark, len) == 0 && word[len] == '=' &&
                (!*in->map->stream || strcmp(in->map->stream, origin + 5) == 0)) {
                in->cursor_created = at;
                in->cursor_seq = strtoull(word + len + 1, &end, 10);
            }
        }
}

/* ---- messages ---- */

static void inject(struct nats *nats, struct nats_inward *in, struct nats_taken *taken)
{
    char key[64], cursor[1024];
    snprintf(key, sizeof key, "%llu-%llu", (unsigned long long)in->created, (unsigned long long)taken->seq);
    size_t len = cursor_of(nats, in, taken, cursor, sizeof cursor);
    struct kos_foreign foreign = { .size = sizeof foreign, .origin = in->origin, .key = key,
                                   .cursor = kos_bytes(cursor, len), .foreign_author = "" };
    foreign.draft = (struct kos_draft){ .size = sizeof foreign.draft,
                                        .klass = in->map->klass,
                                        .type = in->map->type,
                                        .target = in->map->target,
                                        .payload = kos_bytes(taken->payload, taken->len),
                                        .expires_in_ms = in->map->expires_ms,
                                        .trust_required = in->map->trust,
                                        .trace = taken->trace[0] ? taken->trace : NULL };
    taken->op = ++nats->next_op;
    taken->tries++;
    in->lanes.under_way++;
    nats->bridge->inject(nats->host, &foreign, taken->op);
}

static void run_lane(struct nats *nats, struct nats_inward *in, struct nats_lane *lane)
{
    if (lane->first && !lane->first->op && in->state == NATS_MAP_READY &&
        lane->retry_at_ms <= nats->host->now_ms(nats->host))
        inject(nats, in, lane->first);
}

/* A JSON object is what a message of ours can carry. NULL: why not is in *ret_error. */
static uint8_t *payload_of(const struct nats_map *map, natsMsg *msg, size_t *ret_len, struct kos_error *ret_error)
{
    struct klp_json object;
    uint8_t *data;
    size_t len = (size_t)natsMsg_GetDataLength(msg);
    if (len > NATS_BODY_MAX) {
        kos_fail(ret_error, KOS_E_LIMIT, "it has %zu bytes, and a message of kos has room for %d", len, NATS_BODY_MAX);
        return NULL;
    }
    if (klp_json_canonicalise(kos_bytes(natsMsg_GetData(msg), len), NATS_BODY_MAX, &data, &len, ret_error) < 0)
        return NULL;
    if (klp_json_read(kos_bytes(data, len), NATS_BODY_MAX, &object, NULL) == KOS_OK && map->unwrap &&
        object.type == KLP_JSON_OBJECT) {
        object = klp_json_get(object, "payload");
        len = object.text.len;
        if (len)
            memmove(data, object.text.data, len);
    }
    if (object.type != KLP_JSON_OBJECT) {
        kos_fail(ret_error, KOS_E_SYNTAX, map->unwrap ? "it has no member \"payload\" that is an object" : "it is no JSON object");
        free(data);
        return NULL;
    }
    *ret_len = len;
    return data;
}

static void terminate(struct nats *nats, struct nats_inward *in, const char *reply, uint64_t seq, int32_t status,
                      const char *why)
{
    char text[NATS_TEXT_MAX];
    answer(nats, reply, "+TERM");
    nats->count.terminated++;
    snprintf(text, sizeof text, "message %llu of the stream %.60s was left out for good: %.180s", (unsigned long long)seq,
             in->stream, why);
    nats_trouble(nats, status, text);
    nats_log(nats, KOS_WARNING, "%s", text);
}

static void seen(struct nats_inward *in, uint64_t seq)
{
    if (seq > in->lanes.highest)
        in->lanes.highest = seq;
}

static const char *header(natsMsg *msg, const char *name)
{
    const char *value = NULL;
    return natsMsgHeader_Get(msg, name, &value) == NATS_OK && value ? value : "";
}

static void take(struct nats *nats, struct nats_inward *in, natsMsg *msg, uint64_t seq)
{
    struct kos_error error = { 0 };
    size_t len;
    const char *reply = natsMsg_GetReply(msg), *trace = header(msg, "traceparent"), *from = header(msg, "Kos-Origin");
    struct nats_taken *known = nats_lanes_find(&in->lanes, seq);
    if (known) { /* ack_wait passed there: the later reply counts */
        char *copy = strdup(reply);
        if (copy) {
            free(known->reply);
            known->reply = copy;
        }
        return;
    }
    if (strcmp(from, nats->origin) == 0) {
        answer(nats, reply, "+ACK");
        nats->count.own++;
        seen(in, seq);
        return;
    }
    uint8_t *payload = payload_of(in->map, msg, &len, &error);
    if (!payload) {
        if (error.code == KOS_E_NOMEM)
            return;
        seen(in, seq);
        terminate(nats, in, reply, seq, error.code, error.text);
        return;
    }
    struct nats_taken *taken = nats_lanes_add(&in->lanes, natsMsg_GetSubject(msg), seq, reply, payload, len);
    if (!taken)
        return;
    if (strlen(trace) == sizeof taken->trace - 1)
        memcpy(taken->trace, trace, sizeof taken->trace);
    run_lane(nats, in, taken->lane);
}

void nats_inward_message(struct nats *nats, const struct link_event *event)
{
    struct nats_inward *in = event->map < nats->settings.map_count ? &nats->inward[event->map] : NULL;
    uint64_t seq, delivered;
    if (!in || event->token != in->setup || in->state != NATS_MAP_READY)
        return;
    if (nats_reply_parse(natsMsg_GetReply(event->msg), &seq, &delivered)) {
        in->asked -= in->asked > 0;
        take(nats, in, event->msg, seq);
        pull(nats, in);
        return;
    }
    int code = atoi(header(event->msg, "Status"));
    if (code == 404 || code == 408) { /* nothing came in the time we gave it */
        in->asked = 0;
        pull(nats, in);
    } else if (code == 409 || code == 503) {
        char text[NATS_TEXT_MAX];
        snprintf(text, sizeof text, "the consumer does not answer: %d %.200s", code,
                 code == 503 ? "nobody there" : header(event->msg, "Description"));
        if (in->failures > 0 || code == 409)
            trouble(nats, in, KOS_E_UNREACHABLE, text);
        set_up_later(nats, in);
    }
}

/* ---- what the host says ---- */

static void decided(struct nats *nats, struct nats_inward *in, struct nats_taken *taken)
{
    struct nats_lane *lane = taken->next ? taken->lane : NULL;
    nats_lanes_remove(&in->lanes, taken);
    if (lane) {
        lane->retry_at_ms = 0;
        run_lane(nats, in, lane);
    }
}

static void completed(struct nats *nats, struct nats_inward *in, struct nats_taken *taken, int32_t status,
                      struct kos_bytes result)
{
    char text[NATS_TEXT_MAX];
    taken->op = 0;
    in->lanes.under_way--;
    if (status >= 0 || status == KOS_E_EXISTS) {
        in->trouble[0] = '\0';
        nats->count.injected += status >= 0;
        nats->count.repeated += status < 0;
        answer(nats, taken->reply, "+ACK");
        decided(nats, in, taken);
        return;
    }
    snprintf(text, sizeof text, "%s: %.*s", kos_error_name(status), (int)(result.len < 200 ? result.len : 200),
             result.len ? (const char *)result.data : kos_error_text(status));
    if (!kos_error_retry(status)) {
        nats->count.refused++;
        terminate(nats, in, taken->reply, taken->seq, status, text);
        decided(nats, in, taken);
        return;
    }
    nats->count.retried++;
    taken->lane->retry_at_ms = nats->host->now_ms(nats->host) + nats_back_off(nats, taken->tries, RETRY_MOST_MS);
    trouble(nats, in, status, text);
    nats_tick_soon(nats);
}

bool nats_inward_completed(struct nats *nats, uint64_t op, int32_t status, struct kos_bytes result)
{
    for (size_t i = 0; i < nats->settings.map_count; i++) {
        struct nats_inward *in = &nats->inward[i];
        struct nats_taken *taken = nats_lanes_find_op(&in->lanes, op);
        if (!taken)
            continue;
        completed(nats, in, taken, status, result);
        if (in->state == NATS_MAP_IDLE) {
            /* Its connection is gone: it is handed out again, and recognised. */
            set_down(in);
            if (in->lanes.under_way == 0 && nats->epoch && in->again_at_ms == 0)
                ask_setup(nats, in);
        } else {
            pull(nats, in);
        }
        return true;
    }
    return false;
}

/* ---- time ---- */

void nats_inward_tick(struct nats *nats, int64_t now)
{
    for (size_t i = 0; nats->bridge && nats->epoch && i < nats->settings.map_count; i++) {
        struct nats_inward *in = &nats->inward[i];
        struct nats_lane *lane, *next;
        if (in->state == NATS_MAP_IDLE && in->lanes.under_way == 0 && in->again_at_ms <= now)
            ask_setup(nats, in);
        if (in->state != NATS_MAP_READY)
            continue;
        HASH_ITER(hh, in->lanes.lanes, lane, next)
            run_lane(nats, in, lane);
        if (in->progress_at_ms <= now) { /* what waits here is not to be handed out again */
            in->progress_at_ms = now + nats->ack_wait_ms / 3;
            for (struct nats_taken *taken = in->lanes.by_seq; taken; taken = taken->by_seq.next)
                answer(nats, taken->reply, "+WPI");
        }
        if (in->asked > 0 && in->asked_until_ms <= now)
            in->asked = 0; /* the request was lost */
        pull(nats, in);
    }
}

void nats_inward_end(struct nats *nats)
{
    for (size_t i = 0; i < nats->settings.map_count; i++)
        nats_lanes_clear(&nats->inward[i].lanes);
}
