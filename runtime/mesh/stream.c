/* SPDX-License-Identifier: Apache-2.0
 *
 * Byte streams of a session (klp(7), "Streams"): their life, and the way out. A stream's bytes wait in chunks, as its
 * user gave them, until flush.c has room; streams with bytes take turns, a frame each. All else that is to be said goes
 * before bytes, but for END, which its stream's last bytes let go. What is unknown here was there once: events cross.
 */
#include "mesh/mesh_private.h"

#include <kos/stream.h>
#include <stdlib.h>

enum { CREDIT_SHARE = 4, TEXT_MAX = 255, DATA_WORTH = 64 };

void kos_mesh_streams(struct kos_mesh *mesh, struct kos_streams *streams)
{
    mesh->streams_user = streams;
}

struct mesh_streams *mesh_streams_of(struct mesh_session *session)
{
    if (!session->streams) {
        session->streams = kos_new(sizeof *session->streams);
        session->streams->next = session->initiator ? 2 : 1;
        kos_buf_init(&session->streams->says, MESH_STREAM_SAYS);
    }
    return session->streams;
}

uint32_t mesh_streams_open(const struct mesh_session *session)
{
    return session->streams ? HASH_CNT(by_wire, session->streams->by_wire) : 0;
}

struct mesh_stream *mesh_stream_find(struct kos_mesh *mesh, uint64_t id)
{
    struct mesh_stream *stream;
    HASH_FIND(hh, mesh->streams, &id, sizeof id, stream);
    return stream;
}

struct mesh_stream *mesh_stream_new(struct mesh_session *session, uint32_t wire, const char *name)
{
    struct kos_mesh *mesh = session->mesh;
    struct mesh_stream *stream = kos_new(sizeof *stream);
    stream->id = mesh->next_id++;
    stream->wire = wire;
    stream->session = session;
    snprintf(stream->name, sizeof stream->name, "%s", name);
    HASH_ADD(hh, mesh->streams, id, sizeof stream->id, stream);
    HASH_ADD(by_wire, session->streams->by_wire, wire, sizeof stream->wire, stream);
    return stream;
}

static void drop_bytes(struct mesh_stream *stream)
{
    struct mesh_streams *streams = stream->session->streams;
    if (stream->first)
        DL_DELETE(streams->ready, stream);
    streams->queued -= stream->queued;
    stream->queued = 0;
    while (stream->first) {
        struct mesh_chunk *chunk = stream->first;
        stream->first = chunk->next;
        free(chunk);
    }
    stream->last = NULL;
}

void mesh_stream_down(struct mesh_stream *stream, int32_t status, const char *text)
{
    struct mesh_session *session = stream->session;
    struct kos_mesh *mesh = session->mesh;
    uint64_t id = stream->id;
    drop_bytes(stream);
    HASH_DELETE(hh, mesh->streams, stream);
    HASH_DELETE(by_wire, session->streams->by_wire, stream);
    free(stream);
    if (mesh->streams_user)
        mesh->streams_user->ops->down(mesh->streams_user, id, status, text);
}

void mesh_streams_lost(struct mesh_session *session, int32_t status, const char *text)
{
    struct mesh_streams *streams = session->streams;
    if (!streams)
        return;
    while (streams->by_wire)
        mesh_stream_down(streams->by_wire, status, text);
    session->streams = NULL;
    kos_timer_free(session->mesh->env, streams->quota);
    kos_buf_fini(&streams->says);
    free(streams);
}

/* ---- what is said of streams ---- */

void mesh_stream_say(struct mesh_session *session, uint8_t kind, uint32_t wire, struct kos_bytes rest)
{
    uint8_t frame[KLP_FRAME_HEADER + KLP_STREAM_HEADER + 1024];
    uint8_t *payload = frame + KLP_FRAME_HEADER;
    payload[0] = kind;
    for (int i = 0; i < 4; i++)
        payload[1 + i] = (uint8_t)(wire >> (24 - 8 * i));
    if (rest.len)
        memcpy(payload + KLP_STREAM_HEADER, rest.data, rest.len);
    int32_t len = klp_frame_put(frame, sizeof frame, KLP_FRAME_STREAM, KLP_CLASS_BULK, false,
                                kos_bytes(payload, KLP_STREAM_HEADER + rest.len));
    /* What a peer does not read is bounded: the flush ends its session. */
    if (kos_buf_append(&mesh_streams_of(session)->says, kos_bytes(frame, (size_t)len)) < 0)
        session->streams_stuck = true;
    mesh_session_touch(session);
}

void mesh_stream_say_close(struct mesh_session *session, uint32_t wire, int32_t status, const char *text)
{
    struct klp_json_out out;
    struct kos_bytes json;
    char plain[TEXT_MAX + 1];
    uint8_t data[1024]; /* every character of the text may take two */
    mesh_text(text ? text : "", plain, sizeof plain);
    klp_json_begin(&out, data, sizeof data);
    klp_json_object(&out);
    klp_json_name(&out, "error");
    klp_json_put_cstr(&out, kos_error_name(status));
    klp_json_name(&out, "text");
    klp_json_put_cstr(&out, plain);
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &json) >= 0)
        mesh_stream_say(session, KLP_STREAM_CLOSE, wire, json);
}

/* In portions, that small reads cost no frame each: when the peer does not know of a quarter. */
void mesh_stream_say_credit(struct mesh_stream *stream)
{
    uint8_t total[8];
    uint64_t news = stream->granted - stream->granted_said;
    if (!news || stream->end_heard || news < (stream->granted - stream->received) / CREDIT_SHARE)
        return;
    for (int i = 0; i < 8; i++)
        total[i] = (uint8_t)(stream->granted >> (56 - 8 * i));
    stream->granted_said = stream->granted;
    mesh_stream_say(stream->session, KLP_STREAM_CREDIT, stream->wire, kos_bytes(total, sizeof total));
}

static void say_end(struct mesh_stream *stream)
{
    if (!stream->closed || stream->end_said || stream->first)
        return;
    stream->end_said = true;
    mesh_stream_say(stream->session, KLP_STREAM_END, stream->wire, kos_bytes(NULL, 0));
}

void mesh_stream_finish(struct mesh_stream *stream)
{
    if (stream->end_said && stream->done_heard && stream->end_heard)
        mesh_stream_down(stream, KOS_OK, "");
}

/* What the user may send: within the peer's credit, and no more than the buffer has room for. In portions. */
void mesh_stream_tell_credit(struct mesh_stream *stream)
{
    uint64_t most = stream->given - stream->queued + MESH_STREAM_BUFFER;
    if (most > stream->allowed)
        most = stream->allowed;
    if (!stream->up || stream->closed || most <= stream->told)
        return;
    uint64_t more = most - stream->told;
    if (more < MESH_STREAM_BUFFER / CREDIT_SHARE && stream->queued >= MESH_STREAM_BUFFER / CREDIT_SHARE)
        return;
    struct kos_streams *user = stream->session->mesh->streams_user;
    stream->told = most;
    user->ops->credit(user, stream->id, more);
}

/* ---- from its user ---- */

void mesh_stream_request(const struct mesh_stream *stream, struct kos_policy_request *ret_request)
{
    *ret_request = (struct kos_policy_request){ .direction = stream->opened ? KOS_OUTBOUND : KOS_INBOUND,
                                                .peer = stream->session->proof.id,
                                                .peer_name = "",
                                                .type = stream->name,
                                                .transport = stream->session->link->transport,
                                                .agent = "" };
}

static int32_t may_open(struct kos_mesh *mesh, struct mesh_session *session, const struct klp_id *peer,
                        const char *name, struct kos_error *ret_error)
{
    char label[KLP_ID_TEXT];
    const char *who = mesh_peer_label(mesh, peer, label);
    if (klp_type_check(kos_bytes_str(name)) < 0)
        return kos_fail(ret_error, KOS_E_INVALID, "a stream's name has the form of a message type ([A-Z][A-Z0-9_]*)");
    if (!session)
        return kos_fail(ret_error, KOS_E_UNREACHABLE, "no session with %s is open", who);
    if (!session->streams_known)
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "the node %s speaks a version without streams", who);
    if (mesh_streams_open(session) >= mesh->limits.streams_per_session)
        return kos_fail(ret_error, KOS_E_LIMIT, "%u streams with %s are open (limit streams_per_session)",
                        mesh->limits.streams_per_session, who);
    if (mesh_streams_of(session)->next > UINT32_MAX - 2)
        return kos_fail(ret_error, KOS_E_LIMIT, "this session with %s has no numbers left for streams", who);
    return KOS_OK;
}

uint64_t kos_mesh_stream_open(struct kos_mesh *mesh, const struct klp_id *peer, const char *name,
                              struct kos_error *ret_error)
{
    struct mesh_peer *to = mesh_peer_find(mesh, peer);
    struct mesh_session *session = to ? mesh_peer_session(to) : NULL;
    struct kos_policy_request request;
    struct kos_policy_decision decision;
    if (may_open(mesh, session, peer, name, ret_error) < 0)
        return 0;
    struct mesh_stream *stream = mesh_stream_new(session, session->streams->next, name);
    stream->opened = true;
    mesh_stream_request(stream, &request);
    kos_trust_decide(mesh->trust, &request, &decision);
    if (decision.code < 0) {
        HASH_DELETE(hh, mesh->streams, stream);
        HASH_DELETE(by_wire, session->streams->by_wire, stream);
        free(stream);
        kos_fail(ret_error, decision.code, "%s", decision.text);
        return 0;
    }
    session->streams->next += 2;
    mesh_stream_limits(stream);
    mesh->counters.streams_out++;
    mesh_stream_say(session, KLP_STREAM_OPEN, stream->wire, kos_bytes_str(name));
    return stream->id;
}

bool kos_mesh_stream_send(struct kos_mesh *mesh, uint64_t id, struct kos_bytes bytes)
{
    struct mesh_stream *stream = mesh_stream_find(mesh, id);
    if (!stream || stream->closed || !bytes.len)
        return true;
    if (bytes.len > stream->told - stream->given)
        return false;
    struct mesh_streams *streams = stream->session->streams;
    struct mesh_chunk *chunk = malloc(sizeof *chunk + bytes.len);
    if (!chunk)
        abort(); /* as kos_new: it is bounded by the credit */
    *chunk = (struct mesh_chunk){ .len = bytes.len };
    memcpy(chunk->data, bytes.data, bytes.len);
    if (stream->first)
        stream->last->next = chunk;
    else {
        stream->first = chunk;
        DL_APPEND(streams->ready, stream);
    }
    stream->last = chunk;
    stream->given += bytes.len;
    stream->queued += bytes.len;
    streams->queued += bytes.len;
    mesh_session_touch(stream->session);
    return true;
}

void kos_mesh_stream_credit(struct kos_mesh *mesh, uint64_t id, uint64_t bytes)
{
    struct mesh_stream *stream = mesh_stream_find(mesh, id);
    if (stream && !stream->end_heard)
        mesh_stream_grant(stream, bytes);
}

void kos_mesh_stream_close(struct kos_mesh *mesh, uint64_t id)
{
    struct mesh_stream *stream = mesh_stream_find(mesh, id);
    if (!stream || stream->closed)
        return;
    stream->closed = true;
    say_end(stream);
    mesh_stream_finish(stream);
}

void kos_mesh_stream_abort(struct kos_mesh *mesh, uint64_t id, int32_t status, const char *text)
{
    struct mesh_stream *stream = mesh_stream_find(mesh, id);
    if (!stream)
        return;
    if (status >= 0)
        status = KOS_E_CANCELLED;
    mesh_stream_say_close(stream->session, stream->wire, status, text && text[0] ? text : kos_error_text(status));
    mesh_stream_down(stream, KOS_E_CANCELLED, "it was aborted here");
}

void mesh_streams_judge(struct mesh_session *session)
{
    struct mesh_stream *stream, *next;
    if (!session->streams)
        return;
    HASH_ITER(by_wire, session->streams->by_wire, stream, next) {
        struct kos_policy_request request;
        struct kos_policy_decision decision;
        mesh_stream_request(stream, &request);
        kos_trust_decide(session->mesh->trust, &request, &decision);
        mesh_stream_limits(stream);
        if (decision.code >= 0)
            continue;
        mesh_stream_say_close(session, stream->wire, decision.code, decision.peer_text);
        mesh_stream_down(stream, decision.code, decision.text);
    }
}

/* ---- into records ---- */

size_t mesh_stream_queued(const struct mesh_session *session)
{
    return session->streams ? session->streams->queued + session->streams->says.len : 0;
}

bool mesh_stream_first(const struct mesh_session *session)
{
    return session->streams && (session->streams->says.len || session->streams->turn);
}

/* Whole frames, within the room and the class's credit. */
static size_t put_says(struct mesh_session *session, uint8_t *out, size_t len, size_t cap)
{
    struct mesh_streams *streams = session->streams;
    struct kos_bytes rest = kos_buf_bytes(&streams->says);
    struct klp_frame frame;
    size_t taken = 0;
    while (klp_frame_next(&rest, &frame) > 0) {
        size_t all = streams->says.len - rest.len;
        if (len + all > cap ||
            frame.payload.len > session->out_allowed[KLP_CLASS_BULK] - session->out_sent[KLP_CLASS_BULK])
            break;
        session->out_sent[KLP_CLASS_BULK] += frame.payload.len;
        taken = all;
    }
    if (!taken)
        return len;
    memcpy(out + len, streams->says.data, taken);
    kos_buf_consume(&streams->says, taken);
    return len + taken;
}

/* Bytes of its chunks behind one another. */
static void take_bytes(struct mesh_stream *stream, uint8_t *out, size_t len)
{
    stream->queued -= len;
    stream->session->streams->queued -= len;
    while (len) {
        struct mesh_chunk *chunk = stream->first;
        size_t part = chunk->len - chunk->sent < len ? chunk->len - chunk->sent : len;
        memcpy(out, chunk->data + chunk->sent, part);
        chunk->sent += part;
        out += part;
        len -= part;
        if (chunk->sent < chunk->len)
            continue;
        stream->first = chunk->next;
        free(chunk);
    }
}

static bool put_data(struct mesh_session *session, uint8_t *out, size_t *len, size_t cap)
{
    struct mesh_streams *streams = session->streams;
    struct mesh_stream *stream = streams->ready;
    uint64_t credit = session->out_allowed[KLP_CLASS_BULK] - session->out_sent[KLP_CLASS_BULK];
    size_t head = KLP_FRAME_HEADER + KLP_STREAM_HEADER, part = stream->queued;
    if (*len + head >= cap || credit <= KLP_STREAM_HEADER)
        return false;
    if (part > cap - *len - head)
        part = cap - *len - head;
    if (part > credit - KLP_STREAM_HEADER)
        part = (size_t)credit - KLP_STREAM_HEADER;
    if (part < stream->queued && part < DATA_WORTH && *len)
        return false;
    uint8_t *payload = out + *len + KLP_FRAME_HEADER;
    payload[0] = KLP_STREAM_DATA;
    for (int i = 0; i < 4; i++)
        payload[1 + i] = (uint8_t)(stream->wire >> (24 - 8 * i));
    DL_DELETE(streams->ready, stream);
    take_bytes(stream, payload + KLP_STREAM_HEADER, part);
    if (stream->first)
        DL_APPEND(streams->ready, stream);
    else
        stream->last = NULL;
    *len += (size_t)klp_frame_put(out + *len, cap - *len, KLP_FRAME_STREAM, KLP_CLASS_BULK, false,
                                  kos_bytes(payload, KLP_STREAM_HEADER + part));
    session->out_sent[KLP_CLASS_BULK] += KLP_STREAM_HEADER + part;
    session->mesh->counters.stream_bytes_out += part;
    say_end(stream);
    mesh_stream_tell_credit(stream);
    return true;
}

size_t mesh_stream_fill(struct mesh_session *session, uint8_t *out, size_t len, size_t cap)
{
    struct mesh_streams *streams = session->streams;
    if (!streams || (!streams->ready && !streams->says.len))
        return len;
    streams->turn = !streams->turn;
    if (streams->says.len)
        len = put_says(session, out, len, cap);
    while (streams->ready && put_data(session, out, &len, cap))
        ;
    if (streams->says.len)
        len = put_says(session, out, len, cap);
    return len;
}
