/* SPDX-License-Identifier: Apache-2.0
 * Sessions: frames come in, credit is kept, silence is noticed. A session belongs to one link and ends with it. */
#include "mesh/mesh_private.h"

#include <stdlib.h>

/* ---- life ---- */

static void tick(void *arg);
static struct kos_mesh_limits limits_of(const struct mesh_session *session);

void mesh_session_new(struct mesh_link *link)
{
    struct kos_mesh *mesh = link->mesh;
    struct mesh_handshake *handshake = link->handshake;
    struct mesh_session *session = kos_new(sizeof *session);
    session->mesh = mesh;
    session->link = link;
    session->serial = mesh->next_id++;
    session->initiator = handshake->initiator;
    session->pattern = handshake->pattern;
    session->proof = handshake->proof;
    session->since_ms = kos_now_ms(mesh->env);
    session->began_ms = session->heard_ms = kos_mono_ms(mesh->env);
    session->out_allowed[KLP_CLASS_CONTROL] = session->in_granted[KLP_CLASS_CONTROL] = MESH_CONTROL_CREDIT;
    kos_buf_init(&session->urgent, 4096);
    session->assembly = klp_assembly_new(KLP_ITEM_MAX);
    session->timer = kos_timer_new(mesh->env, tick, session);
    link->session = session;
    session->send = handshake->send;
    session->receive = handshake->receive;
    handshake->send = handshake->receive = NULL;
    if (link->datagrams)
        mesh_arq_new(session);
    if (klp_noise_remote(handshake->noise, session->remote_static) < 0 ||
        (!session->send && klp_noise_split(handshake->noise, &session->send, &session->receive) < 0) ||
        !session->assembly) {
        mesh_link_close(link, false, KOS_E_NOMEM, "no memory for a session with %s", link->remote);
        return;
    }
    struct kos_mesh_limits limits = limits_of(session);
    kos_timer_set(mesh->env, session->timer,
                  limits.idle_ping_ms < limits.session_ms ? limits.idle_ping_ms : limits.session_ms);
    mesh_link_open_window(link);
}

/* Returns how many transient messages were in it. */
static uint32_t queue_free(struct mesh_queue *queue)
{
    uint32_t transient = 0;
    while (queue->first) {
        struct mesh_item *item = queue->first;
        queue->first = item->next;
        transient += item->transient;
        free(item->data);
        free(item);
    }
    return transient;
}

static void start_job(struct mesh_session *session, struct mesh_job *job)
{
    session->job_count++;
    session->job_bytes += job->bytes;
    mesh_work(session->mesh, job, job->work.run, job->work.done);
}

/* Workers take what they are given in the order in which it came: who had thousands of signatures checked at a time
 * would be who everybody waits for. */
static void start_jobs(struct mesh_session *session)
{
    while (session->todo && session->job_count < MESH_JOBS &&
           (session->job_count < MESH_JOBS_ALWAYS || session->job_bytes + session->todo->bytes <= MESH_JOBS_BYTES)) {
        struct mesh_job *job = session->todo;
        DL_DELETE(session->todo, job);
        start_job(session, job);
    }
}

void mesh_session_work(struct mesh_session *session, struct mesh_job *job, void (*run)(struct kos_work *work),
                       void (*done)(struct kos_work *work))
{
    job->work.run = run;
    job->work.done = done;
    job->mesh = session->mesh;
    DL_APPEND(session->todo, job);
    start_jobs(session);
}

void mesh_session_worked(struct mesh_session *session, const struct mesh_job *job)
{
    session->job_count--;
    session->job_bytes -= job->bytes;
    start_jobs(session);
}

static void unlist(struct mesh_session *session)
{
    struct kos_mesh *mesh = session->mesh;
    if (session->dirty)
        LL_DELETE2(mesh->dirty, session, dirty_next);
    if (session->receipts_listed)
        LL_DELETE2(mesh->receipts, session, receipts_next);
    if (session->judging)
        DL_DELETE2(mesh->judges, session, judge_prev, judge_next);
}

void mesh_session_free(struct mesh_session *session)
{
    unlist(session);
    mesh_outbox_lost(session);
    mesh_inbox_orphan(session);
    while (session->todo) {
        struct mesh_job *job = session->todo;
        DL_DELETE(session->todo, job);
        job->drop(job);
    }
    uint32_t transient = 0;
    for (int32_t klass = 0; klass < KLP_CLASSES; klass++)
        transient += queue_free(&session->queue[klass]);
    mesh_loose_gone(session->mesh, &session->proof.id, transient);
    mesh_streams_lost(session, KOS_E_CLOSED, kos_error_text(KOS_E_CLOSED));
    mesh_session_forget_logs(session);
    klp_record_free(session->send);
    klp_record_free(session->receive);
    klp_assembly_free(session->assembly);
    mesh_arq_free(session->arq);
    kos_timer_free(session->mesh->env, session->timer);
    kos_buf_fini(&session->urgent);
    free(session->receipts);
    free(session);
}

void mesh_session_close(struct mesh_session *session, int32_t code, const char *format, ...)
{
    char said[512], text[512], name[64];
    va_list args;
    va_start(args, format);
    vsnprintf(said, sizeof said, format, args);
    va_end(args);
    /* CLOSE is never cut: over datagrams it must fit one, each quote of the text taking two bytes. */
    size_t most = session->arq && session->link->mtu < sizeof text ? session->link->mtu / 3 : sizeof text;
    mesh_text(said, text, most);
    struct klp_json_out out;
    struct kos_bytes json;
    uint8_t data[2048];
    snprintf(name, sizeof name, "%s", kos_error_name(code));
    klp_json_begin(&out, data, sizeof data);
    klp_json_object(&out);
    klp_json_name(&out, "error");
    klp_json_put_cstr(&out, name);
    klp_json_name(&out, "text");
    klp_json_put_cstr(&out, text);
    klp_json_close(&out, '}');
    struct mesh_link *link = session->link;
    if (session->proven && klp_json_end(&out, &json) >= 0) {
        mesh_session_urgent(session, KLP_FRAME_CLOSE, json);
        if (session->arq)
            mesh_packet_flush(session, true);
        else
            mesh_session_flush(session); /* may end the link by itself */
    }
    mesh_link_close(link, true, code, "%s", text);
}

void mesh_session_drain(struct mesh_session *session)
{
    session->draining = true;
    session->drain_ms = kos_mono_ms(session->mesh->env) + MESH_DRAIN_MS;
    kos_timer_set(session->mesh->env, session->timer, 1);
}

static void ping(struct mesh_session *session, uint64_t now)
{
    kos_random(session->mesh->env, session->ping, sizeof session->ping);
    session->pinged_ms = now;
    mesh_session_urgent(session, KLP_FRAME_PING, kos_bytes(session->ping, sizeof session->ping));
}

/* On a slow link nothing is said for the sake of saying it. */
static struct kos_mesh_limits limits_of(const struct mesh_session *session)
{
    struct kos_mesh_limits limits = session->mesh->limits;
    if (session->link->slow) {
        limits.idle_ping_ms = MESH_SLOW_PING_MS;
        limits.dead_ms = MESH_SLOW_DEAD_MS;
        limits.session_ms = MESH_SLOW_SESSION_MS;
    }
    return limits;
}

static void tick(void *arg)
{
    struct mesh_session *session = arg;
    struct kos_mesh *mesh = session->mesh;
    struct kos_mesh_limits own = limits_of(session), *limits = &own;
    uint64_t now = kos_mono_ms(mesh->env), silent = now - session->heard_ms, age = now - session->began_ms;
    if (silent >= limits->dead_ms) {
        mesh_session_close(session, KOS_E_TIMEOUT, "nothing was heard for %llu ms", (unsigned long long)silent);
        return;
    }
    if (session->draining) {
        uint64_t until = mesh_streams_open(session) ? session->drain_ms + limits->session_ms : session->drain_ms;
        if (now >= until || (!session->sent && !session->in_first && !mesh_streams_open(session))) {
            mesh_session_close(session, KOS_E_CLOSED, "a newer session takes its place");
            return;
        }
        kos_timer_set(mesh->env, session->timer, 200);
        return;
    }
    if (session->up && age >= limits->session_ms) {
        if (session->link->keep)
            mesh_keep_renew(session->link->keep, session);
        else if (age >= limits->session_ms + limits->session_ms / 10 + MESH_DRAIN_MS &&
                 (!mesh_streams_open(session) || age >= 2 * (uint64_t)limits->session_ms)) {
            mesh_session_close(session, KOS_E_CLOSED, "the session is older than %u ms", limits->session_ms);
            return;
        }
    }
    if (silent >= limits->idle_ping_ms && !session->pinged_ms)
        ping(session, now);
    uint64_t next = silent < limits->idle_ping_ms ? limits->idle_ping_ms - silent : limits->dead_ms - silent;
    uint64_t renew = age < limits->session_ms ? limits->session_ms - age : 60000;
    kos_timer_set(mesh->env, session->timer, next < renew ? next : renew);
}

/* ---- out: queues; flush.c makes records of them ---- */

void mesh_session_touch(struct mesh_session *session)
{
    if (session->dirty || session->link->closing)
        return;
    session->dirty = true;
    session->dirty_next = NULL;
    LL_PREPEND2(session->mesh->dirty, session, dirty_next);
    kos_defer(session->mesh->env, &session->mesh->turn);
}

void mesh_session_queue(struct mesh_session *session, uint8_t type, uint8_t klass, uint8_t *data, size_t len)
{
    struct mesh_queue *queue = &session->queue[klass];
    if (session->link->closing) {
        free(data);
        return;
    }
    mesh_compact(session, &type, &data, &len);
    struct mesh_item *item = kos_new(sizeof *item);
    item->type = type;
    item->data = data;
    item->len = len;
    if (queue->last)
        queue->last->next = item;
    else
        queue->first = item;
    queue->last = item;
    queue->bytes += len;
    mesh_session_touch(session);
}

void mesh_session_queue_copy(struct mesh_session *session, uint8_t type, uint8_t klass, struct kos_bytes bytes)
{
    mesh_session_queue(session, type, klass, kos_memdup(bytes.data, bytes.len), bytes.len);
}

void mesh_session_urgent(struct mesh_session *session, uint8_t type, struct kos_bytes payload)
{
    uint8_t frame[KLP_FRAME_HEADER + 2048];
    int32_t len = klp_frame_put(frame, sizeof frame, type, KLP_CLASS_CONTROL, false, payload);
    /* What does not fit is dropped: pings are asked again, credit is a total, and CLOSE comes with the link's end. */
    if (len > 0 && kos_buf_append(&session->urgent, kos_bytes(frame, (size_t)len)) >= 0)
        mesh_session_touch(session);
}

static void grant(struct mesh_session *session, uint8_t klass, uint64_t total)
{
    uint8_t payload[9] = { klass };
    for (int i = 0; i < 8; i++)
        payload[1 + i] = (uint8_t)(total >> (56 - 8 * i));
    session->in_granted[klass] = total;
    mesh_session_urgent(session, KLP_FRAME_CREDIT, kos_bytes(payload, sizeof payload));
}

void mesh_session_consumed(struct mesh_session *session, uint8_t klass, uint64_t bytes)
{
    /* Who has not proven who it is gets credit for its log, and little at a time. */
    uint64_t window = session->proven              ? session->mesh->limits.credit_bytes
                      : klass == KLP_CLASS_CONTROL ? MESH_CONTROL_CREDIT
                                                   : 0;
    session->in_consumed[klass] += bytes;
    uint64_t total = session->in_consumed[klass] + window;
    if (window && total - session->in_granted[klass] >= window / 4 && !session->link->closing)
        grant(session, klass, total);
}

/* ---- in ---- */

static void took_credit(struct mesh_session *session, struct kos_bytes payload)
{
    uint64_t total = 0;
    if (payload.len != 9 || payload.data[0] >= KLP_CLASSES) {
        mesh_session_close(session, KOS_E_PROTOCOL, "a CREDIT frame is malformed");
        return;
    }
    for (int i = 1; i < 9; i++)
        total = total << 8 | payload.data[i];
    if (total > session->out_allowed[payload.data[0]])
        session->out_allowed[payload.data[0]] = total;
    mesh_session_touch(session);
}

static void took_pong(struct mesh_session *session, struct kos_bytes payload)
{
    if (!session->pinged_ms || payload.len != sizeof session->ping ||
        memcmp(payload.data, session->ping, payload.len) != 0)
        return;
    session->rtt_ms = kos_mono_ms(session->mesh->env) - session->pinged_ms;
    session->pinged_ms = 0;
}

static void took_close(struct mesh_session *session, struct kos_bytes payload)
{
    struct klp_json value;
    char text[256] = "", name[64] = "";
    if (klp_json_read(payload, 4096, &value, NULL) >= 0) {
        char said[sizeof text];
        if (klp_json_string(klp_json_get(value, "text"), said, sizeof said, NULL) >= 0)
            mesh_text(said, text, sizeof text);
        if (klp_json_string(klp_json_get(value, "error"), name, sizeof name, NULL) < 0)
            name[0] = 0;
    }
    int32_t code = name[0] ? klp_error_parse(kos_bytes_str(name)) : KOS_E_CLOSED;
    mesh_link_close(session->link, false, code, "the peer ended the session: %s",
                    text[0] ? text : kos_error_text(code));
}

static bool exempt(uint8_t type)
{
    return type == KLP_FRAME_PING || type == KLP_FRAME_PONG || type == KLP_FRAME_CREDIT || type == KLP_FRAME_CLOSE;
}

static void took_exempt(struct mesh_session *session, const struct klp_frame *frame)
{
    if (frame->type == KLP_FRAME_PING && frame->payload.len == sizeof session->ping)
        mesh_session_urgent(session, KLP_FRAME_PONG, frame->payload);
    else if (frame->type == KLP_FRAME_PONG)
        took_pong(session, frame->payload);
    else if (frame->type == KLP_FRAME_CREDIT)
        took_credit(session, frame->payload);
    else if (frame->type == KLP_FRAME_CLOSE)
        took_close(session, frame->payload);
}

/* Who has not proven its identity may only do so; who has not verified ours has nothing to say but hello. */
static bool in_place(const struct mesh_session *session, uint8_t type)
{
    switch (type) {
    case KLP_FRAME_LOG:
    case KLP_FRAME_LOG_REQUEST: return true;
    case KLP_FRAME_HELLO: return session->proven && !session->greeted;
    case KLP_FRAME_STATEMENT:
    case KLP_FRAME_MESSAGE:
    case KLP_FRAME_BATCH:
    case KLP_FRAME_RECEIPTS:
    case KLP_FRAME_MESSAGE + KLP_FRAME_COMPACT:
    case KLP_FRAME_BATCH + KLP_FRAME_COMPACT:
    case KLP_FRAME_RECEIPTS + KLP_FRAME_COMPACT:
    case KLP_FRAME_RECORD_REQUEST:
    case KLP_FRAME_STREAM: return session->up;
    default: return true;
    }
}

static bool is_compact(uint8_t type)
{
    return type >= KLP_FRAME_MESSAGE + KLP_FRAME_COMPACT && type <= KLP_FRAME_RECEIPTS + KLP_FRAME_COMPACT;
}

static void took_item(struct mesh_session *session, const struct klp_frame *item);

static void took_compact(struct mesh_session *session, const struct klp_frame *item)
{
    struct klp_frame plain;
    uint8_t *data;
    int32_t rc = mesh_compact_open(item, &plain, &data);
    if (rc < 0) {
        mesh_session_close(session, rc == KOS_E_NOMEM ? rc : KOS_E_PROTOCOL, "a compact item is malformed");
        return;
    }
    struct mesh_link *link = session->link;
    session->wire_len = item->payload.len;
    took_item(session, &plain);
    if (!link->closing)
        session->wire_len = 0;
    free(data);
}

static void took_item(struct mesh_session *session, const struct klp_frame *item)
{
    if (in_place(session, item->type) && is_compact(item->type)) {
        took_compact(session, item);
        return;
    }
    if (!in_place(session, item->type)) {
        mesh_session_close(session, KOS_E_PROTOCOL, "a frame of type %u is out of place", item->type);
        return;
    }
    switch (item->type) {
    case KLP_FRAME_LOG: mesh_intro_log(session, item->payload); break;
    case KLP_FRAME_LOG_REQUEST: mesh_intro_log_request(session, item->payload); break;
    case KLP_FRAME_HELLO: mesh_intro_hello(session, item->payload); break;
    case KLP_FRAME_STATEMENT: mesh_intro_statement(session, item->payload); break;
    case KLP_FRAME_RECEIPTS: mesh_receipts_take(session, item->klass, item->payload); return; /* when verified */
    case KLP_FRAME_STREAM: mesh_stream_take(session, item->payload); break;
    case KLP_FRAME_RECORD_REQUEST:
        session->record_wanted = true;
        mesh_record_send(session);
        break;
    case KLP_FRAME_MESSAGE:
    case KLP_FRAME_BATCH:
        mesh_inbox_take(session, item->type, item->klass, item->payload);
        return;     /* consumed when stored */
    default: break; /* of a later version: skipped */
    }
}

/* Returns false when the session is gone. */
static bool took_frame(struct mesh_session *session, const struct klp_frame *frame)
{
    struct mesh_link *link = session->link;
    if (exempt(frame->type)) {
        took_exempt(session, frame);
        return !link->closing;
    }
    session->in_total[frame->klass] += frame->payload.len;
    if (session->in_total[frame->klass] > session->in_granted[frame->klass]) {
        mesh_session_close(session, KOS_E_PROTOCOL, "more bytes of class %u than there was credit for", frame->klass);
        return false;
    }
    struct klp_frame item;
    int32_t rc = klp_assembly_take(session->assembly, frame, &item);
    if (rc < 0) {
        mesh_session_close(session, rc, "a frame of type %u does not continue what came before it", frame->type);
        return false;
    }
    if (rc == 0)
        return true;
    uint8_t klass = item.klass;
    size_t len = item.payload.len;
    uint8_t plain = is_compact(item.type) ? (uint8_t)(item.type - KLP_FRAME_COMPACT) : item.type;
    bool later = plain == KLP_FRAME_MESSAGE || plain == KLP_FRAME_BATCH || plain == KLP_FRAME_RECEIPTS;
    took_item(session, &item);
    if (link->closing)
        return false;
    klp_assembly_release(session->assembly, &item);
    if (!later)
        mesh_session_consumed(session, klass, len);
    return true;
}

uint8_t *mesh_session_keep(struct mesh_session *session, uint8_t klass, struct kos_bytes payload)
{
    struct klp_frame item = { .klass = klass, .payload = payload };
    uint8_t *data = klp_assembly_keep(session->assembly, &item);
    if (!data)
        abort();
    return data;
}

void mesh_session_record(struct mesh_session *session, struct kos_bytes plain)
{
    struct kos_mesh *mesh = session->mesh;
    struct kos_bytes rest = plain;
    struct klp_frame frame;
    int32_t rc;
    session->heard_ms = kos_mono_ms(mesh->env);
    if (!session->proven && (session->intro_bytes += plain.len) > MESH_INTRO_BYTES) {
        mesh_link_close(session->link, false, KOS_E_LIMIT, "%s sent more than %d bytes without proving who it is",
                        session->link->remote, MESH_INTRO_BYTES);
        return;
    }
    while ((rc = klp_frame_next(&rest, &frame)) > 0)
        if (!took_frame(session, &frame))
            return;
    if (rc < 0)
        mesh_session_close(session, rc, "a record holds a malformed frame");
}
