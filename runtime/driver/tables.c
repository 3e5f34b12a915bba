/* SPDX-License-Identifier: Apache-2.0
 * Frames of the way down, read and turned into calls of the plugin. */
#include <stdlib.h>

#include "driver/down.h"
#include "driver/http_frame.h"
#include "driver/manifest.h"

enum { ADDRESSES_MAX = 64, ITEMS_MAX = 1 << 16 };

void kos_tables_init(struct kos_tables *tables, const struct kos_plugin *checked)
{
    *tables = (struct kos_tables){ .plugin = *checked };
    const struct { const char *feature; void *to; uint32_t size; } known[] = {
        { KOS_TRANSPORT, &tables->transport, sizeof tables->transport },
        { KOS_DISCOVERY, &tables->discovery, sizeof tables->discovery },
        { KOS_BRIDGE, &tables->bridge, sizeof tables->bridge },
        { KOS_HANDLER, &tables->handler, sizeof tables->handler },
        { KOS_VECTOR, &tables->vector, sizeof tables->vector },
        { KOS_CONTROL, &tables->control, sizeof tables->control },
        { KOS_AGENTS_USER, &tables->agents, sizeof tables->agents },
        { KOS_HTTP_USER, &tables->http, sizeof tables->http },
        { KOS_HTTP_SERVICE, &tables->http_service, sizeof tables->http_service },
        { KOS_STREAM_USER, &tables->stream, sizeof tables->stream },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const void *table = kos_plugin_feature(checked, known[i].feature);
        if (table)
            kos_sized_copy(known[i].to, known[i].size, table);
    }
}

/* One frame on its way into the plugin. */
struct run {
    const struct kos_tables *t;
    void *self;
    uint64_t id;
    struct kos_frame *frame;
    struct kos_frame_reader in;
    const char *missing;
};

/* Reading is over: true when all was sound and the plugin has the member. */
static bool ready(struct run *r, bool there, const char *member)
{
    if (kos_frame_done(&r->in) && !there)
        r->missing = member;
    return kos_frame_done(&r->in) && there;
}
/* A struct as a host of a later minor passes it. */
#define ROOM(type) union { struct type s; uint8_t room[sizeof(struct type) + KOS_NEWER_BYTES]; }

static void lengthen(const struct run *r, void *value, uint32_t size)
{
    if (!r->t->newer)
        return;
    uint32_t longer = size + KOS_NEWER_BYTES;
    memset((uint8_t *)value + size, 0x5a, KOS_NEWER_BYTES);
    memcpy(value, &longer, sizeof longer);
}

#define READY(r, table, member) ready(r, (r)->t->table.member != NULL, #table "." #member)

static void run_life(struct run *r)
{
    const struct kos_plugin *p = &r->t->plugin;
    if (r->frame->head.kind == KOS_DOWN_COMPLETED) {
        int32_t status = (int32_t)kos_get_i64(&r->in);
        struct kos_bytes result = kos_get_bytes(&r->in);
        if (READY(r, plugin, completed))
            p->completed(r->self, r->id, status, result);
    } else if (r->frame->head.kind == KOS_DOWN_OPENED) {
        int32_t status = (int32_t)kos_get_i64(&r->in);
        const char *text = kos_get_text(&r->in);
        int fd = r->frame->fd;
        if (!READY(r, plugin, opened))
            return;
        r->frame->fd = -1; /* the plugin's from here on */
        p->opened(r->self, r->id, status, fd, text ? text : "");
    } else if (ready(r, true, "")) {
        (r->frame->head.kind == KOS_DOWN_START ? p->start : p->stop)(r->self);
    }
}

static void run_transport(struct run *r)
{
    const struct kos_transport *t = &r->t->transport;
    const char *address;
    struct kos_bytes bytes;
    uint64_t value;
    switch (r->frame->head.kind) {
    case KOS_DOWN_LISTEN: case KOS_DOWN_DIAL:
        address = kos_get_text(&r->in);
        r->in.bad = r->in.bad || !address;
        if (r->frame->head.kind == KOS_DOWN_LISTEN ? READY(r, transport, listen) : READY(r, transport, dial))
            (r->frame->head.kind == KOS_DOWN_LISTEN ? t->listen : t->dial)(r->self, r->id, address);
        break;
    case KOS_DOWN_ENDPOINT_CLOSE:
        if (READY(r, transport, endpoint_close))
            t->endpoint_close(r->self, r->id);
        break;
    case KOS_DOWN_SEND:
        bytes = kos_get_bytes(&r->in);
        if (READY(r, transport, send))
            t->send(r->self, r->id, &bytes, 1);
        break;
    case KOS_DOWN_LINK_CREDIT:
        value = kos_get_u64(&r->in);
        if (READY(r, transport, link_credit))
            t->link_credit(r->self, r->id, value);
        break;
    default:
        value = kos_get_u64(&r->in);
        if (READY(r, transport, link_close))
            t->link_close(r->self, r->id, value != 0);
    }
}

static void get_message(struct kos_frame_reader *in, struct kos_message *ret_message)
{
    kos_get_struct(in, ret_message, sizeof *ret_message);
    ret_message->type = kos_get_text(in);
    ret_message->source = kos_get_text(in);
    ret_message->target = kos_get_text(in);
    ret_message->trace = kos_get_text(in);
    ret_message->source_name = kos_get_text(in);
    ret_message->payload = kos_get_bytes(in);
    in->bad = in->bad || !ret_message->type || !ret_message->source || !ret_message->target;
}

static void run_handler(struct run *r)
{
    if (r->frame->head.kind == KOS_DOWN_HANDLE) {
        ROOM(kos_message) m;
        get_message(&r->in, &m.s);
        lengthen(r, &m, sizeof m.s);
        if (READY(r, handler, handle))
            r->t->handler.handle(r->self, r->id, &m.s);
        return;
    }
    ROOM(kos_outcome) o;
    kos_get_struct(&r->in, &o.s, sizeof o.s);
    o.s.type = kos_get_text(&r->in);
    o.s.text = kos_get_text(&r->in);
    lengthen(r, &o, sizeof o.s);
    if (READY(r, handler, outcome))
        r->t->handler.outcome(r->self, r->id, &o.s);
}

static void run_control(struct run *r)
{
    if (r->frame->head.kind == KOS_DOWN_CALL) {
        const char *method = kos_get_text(&r->in);
        struct kos_bytes parameters = kos_get_bytes(&r->in);
        uint64_t flags = kos_get_u64(&r->in);
        r->in.bad = r->in.bad || !method;
        if (READY(r, control, call))
            r->t->control.call(r->self, r->id, method, parameters, (uint32_t)flags);
    } else if (r->t->control.hangup && ready(r, true, "")) {
        r->t->control.hangup(r->self, r->id);
    }
}

static void run_agents(struct run *r)
{
    if (r->frame->head.kind == KOS_DOWN_OUTPUT) {
        int32_t kind = (int32_t)kos_get_i64(&r->in);
        struct kos_bytes bytes = kos_get_bytes(&r->in);
        if (READY(r, agents, output))
            r->t->agents.output(r->self, r->id, kind, bytes);
        return;
    }
    int32_t status = (int32_t)kos_get_i64(&r->in);
    struct kos_bytes result = kos_get_bytes(&r->in);
    const char *text = kos_get_text(&r->in);
    int32_t retry = (int32_t)kos_get_i64(&r->in);
    struct kos_bytes audit = kos_get_bytes(&r->in);
    r->in.bad = r->in.bad || audit.len != 32;
    if (READY(r, agents, ended))
        r->t->agents.ended(r->self, r->id, status, result, text ? text : "", retry, audit.data);
}

static void run_discovery(struct run *r)
{
    const struct kos_discovery *d = &r->t->discovery;
    const char *texts[ADDRESSES_MAX + 1], *const none[] = { NULL };
    switch (r->frame->head.kind) {
    case KOS_DOWN_ANNOUNCE: {
        struct kos_bytes record = kos_get_bytes(&r->in);
        const char *const *addresses = kos_get_texts(&r->in, texts, ADDRESSES_MAX);
        if (READY(r, discovery, announce))
            d->announce(r->self, r->id, record, addresses ? addresses : none);
        break;
    }
    case KOS_DOWN_WITHDRAW:
        if (READY(r, discovery, withdraw))
            d->withdraw(r->self, r->id);
        break;
    case KOS_DOWN_FIND: {
        ROOM(kos_find) what;
        kos_get_struct(&r->in, &what.s, sizeof what.s);
        what.s.text = kos_get_text(&r->in);
        lengthen(r, &what, sizeof what.s);
        if (READY(r, discovery, find))
            d->find(r->self, r->id, &what.s);
        break;
    }
    default:
        if (READY(r, discovery, find_cancel))
            d->find_cancel(r->self, r->id);
    }
}

static void run_bridge(struct run *r)
{
    if (r->frame->head.kind == KOS_DOWN_DELIVER) {
        ROOM(kos_message) m;
        get_message(&r->in, &m.s);
        lengthen(r, &m, sizeof m.s);
        const char *destination = kos_get_text(&r->in);
        if (READY(r, bridge, deliver))
            r->t->bridge.deliver(r->self, r->id, &m.s, destination ? destination : "");
        return;
    }
    const char *origin = kos_get_text(&r->in);
    struct kos_bytes cursor = kos_get_bytes(&r->in);
    r->in.bad = r->in.bad || !origin;
    if (READY(r, bridge, resume))
        r->t->bridge.resume(r->self, origin, cursor);
}

static const float *get_vector(struct kos_frame_reader *in, uint64_t dimension)
{
    struct kos_bytes bytes = kos_get_bytes(in);
    in->bad = in->bad || (bytes.len > 0 && bytes.len != dimension * sizeof(float));
    return bytes.len > 0 && !in->bad ? (const float *)(const void *)bytes.data : NULL;
}

static void run_upsert(struct run *r, uint64_t collection)
{
    uint64_t dimension = kos_get_u64(&r->in), count = kos_get_u64(&r->in);
    if (count > ITEMS_MAX || dimension > KOS_FRAME_MAX / sizeof(float))
        r->in.bad = true;
    if (r->in.bad)
        return;
    ROOM(kos_item) *items = calloc(count + 1, sizeof *items);
    const struct kos_item **list = calloc(count + 1, sizeof *list);
    if (!items || !list)
        abort();
    for (uint64_t i = 0; i < count && !r->in.bad; i++) {
        kos_get_struct(&r->in, &items[i].s, sizeof items[i].s);
        items[i].s.id = kos_get_bytes(&r->in);
        items[i].s.vector = get_vector(&r->in, dimension);
        items[i].s.metadata = kos_get_bytes(&r->in);
        lengthen(r, &items[i], sizeof items[i].s);
        list[i] = &items[i].s;
    }
    if (READY(r, vector, upsert))
        r->t->vector.upsert(r->self, r->id, collection, list, (uint32_t)count);
    free(items);
    free(list);
}

static void run_query(struct run *r, uint64_t collection)
{
    ROOM(kos_query) query;
    uint64_t dimension = kos_get_u64(&r->in);
    r->in.bad = r->in.bad || dimension > KOS_FRAME_MAX / sizeof(float);
    kos_get_struct(&r->in, &query.s, sizeof query.s);
    query.s.vector = get_vector(&r->in, dimension);
    query.s.filter = kos_get_bytes(&r->in);
    lengthen(r, &query, sizeof query.s);
    if (READY(r, vector, query))
        r->t->vector.query(r->self, r->id, collection, &query.s);
}

static void run_range(struct run *r, uint64_t collection)
{
    struct kos_bytes from = kos_get_bytes(&r->in), to = kos_get_bytes(&r->in);
    uint64_t limit = kos_get_u64(&r->in);
    r->in.bad = r->in.bad || from.len != 32 || to.len != 32;
    if (r->frame->head.kind == KOS_DOWN_VECTOR_SCAN) {
        if (READY(r, vector, scan))
            r->t->vector.scan(r->self, r->id, collection, from.data, to.data, (uint32_t)limit);
    } else if (READY(r, vector, fingerprint)) {
        r->t->vector.fingerprint(r->self, r->id, collection, from.data, to.data);
    }
}

static void run_open(struct run *r, uint64_t collection)
{
    ROOM(kos_space) space;
    const char *name = kos_get_text(&r->in);
    kos_get_struct(&r->in, &space.s, sizeof space.s);
    lengthen(r, &space, sizeof space.s);
    r->in.bad = r->in.bad || !name;
    if (READY(r, vector, open))
        r->t->vector.open(r->self, r->id, collection, name, &space.s);
}

static void run_vector(struct run *r)
{
    const struct kos_vector *v = &r->t->vector;
    uint64_t collection = kos_get_u64(&r->in);
    switch (r->frame->head.kind) {
    case KOS_DOWN_VECTOR_OPEN: run_open(r, collection); break;
    case KOS_DOWN_VECTOR_UPSERT: run_upsert(r, collection); break;
    case KOS_DOWN_VECTOR_QUERY: run_query(r, collection); break;
    case KOS_DOWN_VECTOR_SCAN: case KOS_DOWN_VECTOR_FINGERPRINT: run_range(r, collection); break;
    case KOS_DOWN_VECTOR_GET: {
        struct kos_bytes id = kos_get_bytes(&r->in);
        if (READY(r, vector, get))
            v->get(r->self, r->id, collection, id);
        break;
    }
    case KOS_DOWN_VECTOR_REMOVE: {
        struct kos_bytes id = kos_get_bytes(&r->in);
        uint64_t version = kos_get_u64(&r->in);
        if (READY(r, vector, remove))
            v->remove(r->self, r->id, collection, id, version);
        break;
    }
    case KOS_DOWN_VECTOR_SNAPSHOT: {
        const char *directory = kos_get_text(&r->in);
        r->in.bad = r->in.bad || !directory;
        if (READY(r, vector, snapshot))
            v->snapshot(r->self, r->id, collection, directory);
        break;
    }
    case KOS_DOWN_VECTOR_CLOSE:
        if (READY(r, vector, close))
            v->close(r->self, r->id, collection);
        break;
    case KOS_DOWN_VECTOR_STATS:
        if (READY(r, vector, stats))
            v->stats(r->self, r->id, collection);
        break;
    default:
        if (READY(r, vector, drop))
            v->drop(r->self, r->id, collection);
    }
}

static void run_http(struct run *r)
{
    struct kos_http_header headers[KOS_HTTP_HEADERS_MAX];
    struct kos_http_message storage;
    const struct kos_http_message *m;
    if (r->frame->head.kind == KOS_DOWN_HTTP_REQUEST) {
        m = kos_get_http(&r->in, &storage, headers);
        r->in.bad = r->in.bad || !m;
        if (READY(r, http, request))
            r->t->http.request(r->self, r->id, m);
        return;
    }
    int32_t status = (int32_t)kos_get_i64(&r->in);
    m = kos_get_http(&r->in, &storage, headers);
    const char *text = kos_get_text(&r->in);
    if (READY(r, http, response))
        r->t->http.response(r->self, r->id, status, m, text ? text : "");
}

static void run_http_service(struct run *r)
{
    const struct kos_http_service *s = &r->t->http_service;
    struct kos_http_header headers[KOS_HTTP_HEADERS_MAX];
    struct kos_http_message storage;
    const struct kos_http_message *m;
    const char *prefix;
    uint64_t body_max, timeout;
    switch (r->frame->head.kind) {
    case KOS_DOWN_HTTP_SERVE:
        prefix = kos_get_text(&r->in);
        body_max = kos_get_u64(&r->in);
        r->in.bad = r->in.bad || !prefix;
        if (READY(r, http_service, serve))
            s->serve(r->self, r->id, prefix, body_max);
        break;
    case KOS_DOWN_HTTP_UNSERVE:
        prefix = kos_get_text(&r->in);
        r->in.bad = r->in.bad || !prefix;
        if (READY(r, http_service, unserve))
            s->unserve(r->self, prefix);
        break;
    case KOS_DOWN_HTTP_RESPOND:
        m = kos_get_http(&r->in, &storage, headers);
        r->in.bad = r->in.bad || !m;
        if (READY(r, http_service, respond))
            s->respond(r->self, r->id, m);
        break;
    case KOS_DOWN_HTTP_FETCH:
        m = kos_get_http(&r->in, &storage, headers);
        body_max = kos_get_u64(&r->in);
        timeout = kos_get_u64(&r->in);
        r->in.bad = r->in.bad || !m;
        if (READY(r, http_service, fetch))
            s->fetch(r->self, r->id, m, body_max, timeout);
        break;
    default:
        if (READY(r, http_service, cancel))
            s->cancel(r->self, r->id);
    }
}

static void run_stream(struct run *r)
{
    const struct kos_stream_user *s = &r->t->stream;
    struct kos_bytes bytes;
    const char *text;
    uint64_t credit;
    int32_t status;
    switch (r->frame->head.kind) {
    case KOS_DOWN_STREAM_UP:
        bytes = kos_get_bytes(&r->in);
        text = kos_get_text(&r->in);
        r->in.bad = r->in.bad || bytes.len != KOS_ID_BYTES || !text;
        if (READY(r, stream, up))
            s->up(r->self, r->id, bytes.data, text);
        break;
    case KOS_DOWN_STREAM_RECEIVED:
        bytes = kos_get_bytes(&r->in);
        if (READY(r, stream, received))
            s->received(r->self, r->id, bytes);
        break;
    case KOS_DOWN_STREAM_CREDIT:
        credit = kos_get_u64(&r->in);
        if (READY(r, stream, credit))
            s->credit(r->self, r->id, credit);
        break;
    case KOS_DOWN_STREAM_ENDED:
        if (READY(r, stream, ended))
            s->ended(r->self, r->id);
        break;
    default:
        status = (int32_t)kos_get_i64(&r->in);
        text = kos_get_text(&r->in);
        if (READY(r, stream, down))
            s->down(r->self, r->id, status, text ? text : "");
    }
}

int32_t kos_down_run(const struct kos_tables *tables, void *self, struct kos_frame *frame, const char **ret_missing)
{
    struct run r = { tables, self, frame->head.id, frame, kos_frame_read(frame), NULL };
    uint16_t kind = frame->head.kind;
    if (kind >= KOS_DOWN_START && kind <= KOS_DOWN_OPENED)
        run_life(&r);
    else if (kind >= KOS_DOWN_LISTEN && kind <= KOS_DOWN_LINK_CLOSE)
        run_transport(&r);
    else if (kind == KOS_DOWN_HANDLE || kind == KOS_DOWN_OUTCOME)
        run_handler(&r);
    else if (kind == KOS_DOWN_CALL || kind == KOS_DOWN_HANGUP)
        run_control(&r);
    else if (kind == KOS_DOWN_OUTPUT || kind == KOS_DOWN_ENDED)
        run_agents(&r);
    else if (kind >= KOS_DOWN_ANNOUNCE && kind <= KOS_DOWN_FIND_CANCEL)
        run_discovery(&r);
    else if (kind == KOS_DOWN_DELIVER || kind == KOS_DOWN_RESUME)
        run_bridge(&r);
    else if (kind >= KOS_DOWN_VECTOR_OPEN && kind <= KOS_DOWN_VECTOR_DROP)
        run_vector(&r);
    else if (kind == KOS_DOWN_HTTP_REQUEST || kind == KOS_DOWN_HTTP_RESPONSE)
        run_http(&r);
    else if (kind >= KOS_DOWN_HTTP_SERVE && kind <= KOS_DOWN_HTTP_CANCEL)
        run_http_service(&r);
    else if (kind >= KOS_DOWN_STREAM_UP && kind <= KOS_DOWN_STREAM_DOWN)
        run_stream(&r);
    else
        r.in.bad = true;
    if (r.missing) {
        *ret_missing = r.missing;
        return KOS_E_UNSUPPORTED;
    }
    return kos_frame_done(&r.in) ? KOS_OK : KOS_E_INVALID;
}

const char *kos_down_name(uint16_t kind)
{
    static const char *const names[KOS_DOWN_KINDS] = {
        "",
        "start", "stop", "completed", "opened", "transport.listen", "transport.endpoint_close", "transport.dial",
        "transport.send", "transport.link_credit", "transport.link_close", "handler.handle", "handler.outcome",
        "control.call", "control.hangup", "agents.output", "agents.ended", "discovery.announce",
        "discovery.withdraw", "discovery.find", "discovery.find_cancel", "bridge.deliver", "bridge.resume",
        "vector.open", "vector.close", "vector.upsert", "vector.get", "vector.remove", "vector.query",
        "vector.scan", "vector.fingerprint", "vector.snapshot", "vector.stats", "vector.drop", "http.request",
        "http.response", "http_service.serve", "http_service.unserve", "http_service.respond", "http_service.fetch",
        "http_service.cancel", "stream.up", "stream.received", "stream.credit", "stream.ended", "stream.down",
    };
    return kind < KOS_DOWN_KINDS ? names[kind] : "";
}
