/* SPDX-License-Identifier: Apache-2.0
 * STREAM frames of a peer. Each is foreign: its number, its place in the stream's life and its length are checked
 * before anything is done. */
#include "mesh/mesh_private.h"

#include <kos/stream.h>
#include <stdlib.h>

enum { QUOTA_PART = 64 << 10, QUOTA_LOOK_MS = 1000 };

static bool malformed(struct mesh_session *session, const char *what)
{
    mesh_session_close(session, KOS_E_PROTOCOL, "a STREAM frame %s", what);
    return false;
}

/* ---- opening ---- */

static void refuse(struct mesh_session *session, uint32_t wire, const char *name, int32_t code, const char *text,
                   const char *peer_text)
{
    struct kos_mesh *mesh = session->mesh;
    char label[KLP_ID_TEXT], key[96], id[KLP_ID_TEXT];
    mesh->counters.streams_refused++;
    klp_id_text(&session->proof.id, id);
    snprintf(key, sizeof key, "refused stream %s %d", id, code);
    if (kos_log_limit_pass(mesh->log_limit, key, NULL))
        kos_log(mesh->env, KOS_LOG_WARNING, "mesh", "stream %s from %s refused (%s): %s", name,
                mesh_peer_label(mesh, &session->proof.id, label), kos_error_name(code), text);
    if (mesh_watched(mesh))
        mesh_event(mesh, "stream_refused",
                   json_pack("{s:o,s:s,s:s,s:s}", "peer", mesh_id_json(&session->proof.id), "name", name, "error",
                             kos_error_name(code), "text", text));
    mesh_stream_say_close(session, wire, code, peer_text);
}

/* Policy first: who is not let in does not learn what there is. */
static int32_t judge(struct mesh_stream *stream, struct kos_policy_decision *d)
{
    struct kos_mesh *mesh = stream->session->mesh;
    struct kos_policy_request request;
    char text[256] = "";
    mesh_stream_request(stream, &request);
    kos_trust_decide(mesh->trust, &request, d);
    if (d->code >= 0)
        d->code = kos_trust_quota_take(mesh->trust, &request, d);
    if (d->code < 0)
        return d->code;
    d->code = KOS_E_UNHANDLED;
    snprintf(text, sizeof text, "no plugin of this node takes streams of the name %s", stream->name);
    if (mesh->streams_user)
        d->code = mesh->streams_user->ops->asked(mesh->streams_user, stream->id, &request.peer, stream->name, text);
    snprintf(d->text, sizeof d->text, "%s", text);
    snprintf(d->peer_text, sizeof d->peer_text, "%s", text);
    return d->code;
}

static bool take_open(struct mesh_session *session, uint32_t wire, struct kos_bytes rest)
{
    struct kos_mesh *mesh = session->mesh;
    struct mesh_streams *streams = mesh_streams_of(session);
    struct kos_policy_decision decision = { .code = KOS_OK };
    char name[KLP_TYPE_MAX];
    if (klp_type_check(rest) < 0 || (wire & 1) == (session->initiator ? 0u : 1u) || wire <= streams->seen || !wire)
        return malformed(session, "opens a stream of an impossible number or name");
    streams->seen = wire;
    snprintf(name, sizeof name, "%.*s", (int)rest.len, (const char *)rest.data);
    if (mesh_streams_open(session) >= mesh->limits.streams_per_session) {
        char text[128];
        snprintf(text, sizeof text, "%u streams of this session are open (limit streams_per_session)",
                 mesh->limits.streams_per_session);
        refuse(session, wire, name, KOS_E_LIMIT, text, text);
        return true;
    }
    struct mesh_stream *stream = mesh_stream_new(session, wire, name);
    if (judge(stream, &decision) < 0) {
        HASH_DELETE(hh, mesh->streams, stream);
        HASH_DELETE(by_wire, streams->by_wire, stream);
        free(stream);
        refuse(session, wire, name, decision.code, decision.text, decision.peer_text);
        return true;
    }
    mesh->counters.streams_in++;
    mesh_stream_limits(stream);
    stream->up = true;
    mesh_stream_say(session, KLP_STREAM_ACCEPT, wire, kos_bytes(NULL, 0));
    mesh->streams_user->ops->up(mesh->streams_user, stream->id, &session->proof.id, stream->name);
    return true;
}

static bool take_accept(struct mesh_stream *stream, struct kos_bytes rest)
{
    struct kos_streams *user = stream->session->mesh->streams_user;
    if (rest.len || !stream->opened || stream->up)
        return malformed(stream->session, "accepts what was not asked");
    stream->up = true;
    user->ops->up(user, stream->id, &stream->session->proof.id, stream->name);
    mesh_stream_tell_credit(stream);
    return true;
}

/* ---- bytes and credit ---- */

/* Whatever way it was opened, what the peer sends is what comes in. */
static void inbound(const struct mesh_stream *stream, struct kos_policy_request *ret_request)
{
    struct kos_policy_decision decision;
    mesh_stream_request(stream, ret_request);
    ret_request->direction = KOS_INBOUND;
    kos_trust_decide(stream->session->mesh->trust, ret_request, &decision);
}

void mesh_stream_limits(struct mesh_stream *stream)
{
    struct kos_policy_request request;
    struct kos_policy_limits limits;
    inbound(stream, &request);
    kos_policy_limits(kos_trust_policy(stream->session->mesh->trust), &request, &limits);
    stream->limited = limits.bytes_per_minute || limits.bytes_per_day;
}

static void quota_again(void *arg)
{
    struct mesh_session *session = arg;
    struct mesh_stream *stream, *next;
    HASH_ITER(by_wire, session->streams->by_wire, stream, next)
        if (stream->owed)
            mesh_stream_grant(stream, 0);
}

/* In parts, as the quota fills again: who has used it up is slowed, not cut off. */
static void charge(struct mesh_stream *stream)
{
    struct mesh_session *session = stream->session;
    struct kos_policy_request request;
    struct kos_policy_decision decision;
    struct kos_policy_limits limits;
    inbound(stream, &request);
    request.part = true;
    kos_policy_limits(kos_trust_policy(session->mesh->trust), &request, &limits);
    while (stream->owed) {
        request.size_bytes = stream->owed < QUOTA_PART ? stream->owed : QUOTA_PART;
        if (limits.bytes_per_minute && request.size_bytes > limits.bytes_per_minute)
            request.size_bytes = limits.bytes_per_minute;
        if (limits.bytes_per_day && request.size_bytes > limits.bytes_per_day)
            request.size_bytes = limits.bytes_per_day;
        if (kos_trust_quota_take(session->mesh->trust, &request, &decision) < 0)
            break;
        stream->owed -= request.size_bytes;
        stream->granted += request.size_bytes;
    }
    if (!stream->owed)
        return;
    if (!session->streams->quota)
        session->streams->quota = kos_timer_new(session->mesh->env, quota_again, session);
    /* One timer for all of them, whoever may go on first. */
    kos_timer_set(session->mesh->env, session->streams->quota,
                  decision.retry_ms < QUOTA_LOOK_MS ? decision.retry_ms + 1 : QUOTA_LOOK_MS);
}

void mesh_stream_grant(struct mesh_stream *stream, uint64_t bytes)
{
    uint64_t room = KOS_STREAM_WINDOW_MAX - (stream->granted - stream->received) - stream->owed;
    bytes = bytes < room ? bytes : room;
    if (stream->limited || stream->owed) {
        stream->owed += bytes;
        charge(stream);
    } else {
        stream->granted += bytes;
    }
    mesh_stream_say_credit(stream);
}

static bool take_data(struct mesh_stream *stream, struct kos_bytes rest)
{
    struct kos_mesh *mesh = stream->session->mesh;
    if (!rest.len || stream->end_heard || !stream->up)
        return malformed(stream->session, "brings no bytes, or bytes out of place");
    if (rest.len > stream->granted_said - stream->received)
        return malformed(stream->session, "brings more bytes than its stream has credit for");
    stream->received += rest.len;
    mesh->counters.stream_bytes_in += rest.len;
    mesh->streams_user->ops->received(mesh->streams_user, stream->id, rest);
    mesh_stream_say_credit(stream);
    return true;
}

static bool take_credit(struct mesh_stream *stream, struct kos_bytes rest)
{
    uint64_t total = 0;
    if (rest.len != 8)
        return malformed(stream->session, "gives credit of an impossible length");
    for (int i = 0; i < 8; i++)
        total = total << 8 | rest.data[i];
    if (total > stream->allowed)
        stream->allowed = total;
    mesh_stream_tell_credit(stream);
    return true;
}

/* ---- ends ---- */

static bool take_end(struct mesh_stream *stream, struct kos_bytes rest)
{
    struct mesh_session *session = stream->session;
    struct kos_streams *user = session->mesh->streams_user;
    if (rest.len || stream->end_heard || !stream->up)
        return malformed(session, "ends a stream that does not go on");
    stream->end_heard = true;
    mesh_stream_say(session, KLP_STREAM_DONE, stream->wire, kos_bytes(NULL, 0));
    user->ops->ended(user, stream->id);
    mesh_stream_finish(stream);
    return true;
}

static bool take_done(struct mesh_stream *stream, struct kos_bytes rest)
{
    if (rest.len || !stream->end_said || stream->done_heard)
        return malformed(stream->session, "has taken an end that was not sent");
    stream->done_heard = true;
    mesh_stream_finish(stream);
    return true;
}

static bool take_close(struct mesh_stream *stream, struct kos_bytes rest)
{
    struct klp_json value;
    struct kos_bytes name;
    char said[1024], text[256] = "";
    if (klp_json_read(rest, sizeof said, &value, NULL) < 0 || value.type != KLP_JSON_OBJECT ||
        klp_json_plain(klp_json_get(value, "error"), &name) < 0)
        return malformed(stream->session, "closes a stream without saying why");
    int32_t code = klp_error_parse(name);
    if (klp_json_string(klp_json_get(value, "text"), said, sizeof said, NULL) >= 0)
        mesh_text(said, text, sizeof text);
    code = code < 0 ? code : KOS_E_CANCELLED;
    mesh_stream_down(stream, code, text[0] ? text : kos_error_text(code));
    return true;
}

bool mesh_stream_take(struct mesh_session *session, struct kos_bytes payload)
{
    struct mesh_streams *streams = mesh_streams_of(session);
    struct mesh_stream *stream;
    if (payload.len < KLP_STREAM_HEADER)
        return malformed(session, "is too short");
    uint8_t kind = payload.data[0];
    uint32_t wire = (uint32_t)payload.data[1] << 24 | (uint32_t)payload.data[2] << 16 | (uint32_t)payload.data[3] << 8 |
                    payload.data[4];
    struct kos_bytes rest = kos_bytes(payload.data + KLP_STREAM_HEADER, payload.len - KLP_STREAM_HEADER);
    if (kind == KLP_STREAM_OPEN)
        return take_open(session, wire, rest);
    HASH_FIND(by_wire, streams->by_wire, &wire, sizeof wire, stream);
    if (!stream) {
        bool ours = (wire & 1) == (session->initiator ? 0u : 1u);
        if (ours ? wire >= streams->next : wire > streams->seen)
            return malformed(session, "is of a stream that was never opened");
        return true; /* it was closed here meanwhile */
    }
    switch (kind) {
    case KLP_STREAM_ACCEPT: return take_accept(stream, rest);
    case KLP_STREAM_DATA: return take_data(stream, rest);
    case KLP_STREAM_CREDIT: return take_credit(stream, rest);
    case KLP_STREAM_END: return take_end(stream, rest);
    case KLP_STREAM_DONE: return take_done(stream, rest);
    case KLP_STREAM_CLOSE: return take_close(stream, rest);
    default: return malformed(session, "is of a kind that there is not");
    }
}
