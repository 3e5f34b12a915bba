/* SPDX-License-Identifier: Apache-2.0
 *
 * How two nodes get to know each other inside a session: logs until each has verified the other's proof, then HELLO.
 * HELLO says "I have verified you", so a session is up for a side once it has verified and heard HELLO. Strangers get
 * no more than that; node records go to whom the policy lets see them.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

/* Pieces of a log: with the largest entry (KLP_EVENT_MAX) they fit into the credit that a session begins with, so a
 * peer that proves itself by a long log is not left waiting for the rest of a piece. */
enum { LOG_PIECE = 32 << 10 };

bool mesh_session_allowed(struct kos_mesh *mesh, const struct klp_id *peer, bool initiator, const char *transport,
                          struct kos_policy_decision *ret_decision)
{
    struct kos_policy_request request = { .direction = initiator ? KOS_OUTBOUND : KOS_INBOUND,
                                          .peer = *peer,
                                          .peer_name = "",
                                          .type = "",
                                          .transport = transport,
                                          .agent = "" };
    kos_trust_decide(mesh->trust, &request, ret_decision);
    return ret_decision->code >= 0;
}

/* ---- logs out ---- */

static struct mesh_log_sent *sent_entry(struct mesh_session *session, const struct klp_id *id)
{
    struct mesh_log_sent *sent;
    HASH_FIND(hh, session->logs_sent, id, sizeof *id, sent);
    if (!sent) {
        sent = kos_new(sizeof *sent);
        sent->id = *id;
        HASH_ADD(hh, session->logs_sent, id, sizeof sent->id, sent);
    }
    return sent;
}

void mesh_session_forget_logs(struct mesh_session *session)
{
    struct mesh_log_sent *sent, *next;
    HASH_ITER(hh, session->logs_sent, sent, next) {
        HASH_DEL(session->logs_sent, sent);
        free(sent);
    }
}

/* In pieces of whole entries that fit an item. */
void mesh_session_send_log(struct mesh_session *session, const struct klp_log *log, uint64_t from)
{
    uint64_t count = klp_log_count(log);
    struct kos_buf piece;
    kos_buf_init(&piece, KLP_MESSAGE_MAX);
    for (uint64_t seq = from; seq < count; seq++) {
        struct kos_bytes entry = klp_log_entry(log, seq);
        if (piece.len && piece.len + entry.len + 1 > LOG_PIECE) {
            mesh_session_queue_copy(session, KLP_FRAME_LOG, KLP_CLASS_CONTROL, kos_buf_bytes(&piece));
            kos_buf_reset(&piece);
        }
        pack_raw(&piece, entry.data, entry.len);
        pack_raw(&piece, "\n", 1);
    }
    if (piece.len)
        mesh_session_queue_copy(session, KLP_FRAME_LOG, KLP_CLASS_CONTROL, kos_buf_bytes(&piece));
    kos_buf_fini(&piece);
    sent_entry(session, klp_log_id(log))->events = count;
}

static void send_news(struct mesh_session *session, const struct klp_log *log)
{
    struct mesh_log_sent *sent = sent_entry(session, klp_log_id(log));
    if (sent->events < klp_log_count(log))
        mesh_session_send_log(session, log, sent->events);
}

void mesh_session_send_logs_for(struct mesh_session *session, const struct klp_id *signer)
{
    struct kos_keys *keys = kos_trust_keys(session->mesh->trust);
    struct kos_identity *agent = kos_keys_find(keys, signer);
    send_news(session, kos_identity_log(kos_keys_node(keys)));
    if (agent && agent != kos_keys_node(keys))
        send_news(session, kos_identity_log(agent));
}

void mesh_intro_log_request(struct mesh_session *session, struct kos_bytes payload)
{
    struct klp_json value;
    struct kos_bytes text;
    struct klp_id id;
    uint64_t from;
    if (klp_json_read(payload, 256, &value, NULL) < 0 || klp_json_uint(klp_json_get(value, "from"), &from) < 0 ||
        klp_json_plain(klp_json_get(value, "id"), &text) < 0 || klp_id_parse(text, &id) < 0) {
        mesh_session_close(session, KOS_E_PROTOCOL, "a LOG_REQUEST is malformed");
        return;
    }
    /* Each answer may be large: who asks over and over waits for the next minute. */
    if (session->peer ? !mesh_peer_log_allowed(session->peer) : ++session->log_answers > MESH_LOG_REQUESTS)
        return;
    struct kos_identity *own = kos_keys_find(kos_trust_keys(session->mesh->trust), &id);
    if (own)
        mesh_session_send_log(session, kos_identity_log(own), from);
}

static void request_log(struct mesh_session *session, const struct klp_id *id, uint64_t from)
{
    char text[KLP_ID_TEXT], json[128];
    klp_id_text(id, text);
    int len = snprintf(json, sizeof json, "{\"from\":%llu,\"id\":\"%s\"}", (unsigned long long)from, text);
    mesh_session_queue_copy(session, KLP_FRAME_LOG_REQUEST, KLP_CLASS_CONTROL, kos_bytes(json, (size_t)len));
}

/* ---- hello ---- */

static void say_hello(struct mesh_session *session)
{
    struct kos_mesh *mesh = session->mesh;
    struct klp_json_out out;
    struct kos_bytes json;
    uint8_t data[MESH_HELLO_MAX];
    klp_json_begin(&out, data, sizeof data);
    klp_json_object(&out);
    klp_json_name(&out, "features");
    klp_json_array(&out);
    klp_json_put_cstr(&out, "compact");
    klp_json_put_cstr(&out, "stream");
    klp_json_close(&out, ']');
    klp_json_name(&out, "name");
    klp_json_put_cstr(&out, mesh->name);
    klp_json_name(&out, "roles");
    klp_json_array(&out);
    for (size_t i = 0; mesh->roles[i]; i++)
        klp_json_put_cstr(&out, mesh->roles[i]);
    klp_json_close(&out, ']');
    klp_json_name(&out, "version");
    klp_json_put_cstr(&out, mesh->version);
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &json) >= 0)
        mesh_session_queue_copy(session, KLP_FRAME_HELLO, KLP_CLASS_CONTROL, json);
}

static void now_up(struct mesh_session *session)
{
    if (session->up || !session->proven || !session->greeted)
        return;
    session->up = true;
    mesh_link_settled(session->link);
    mesh_peer_up(session);
}

static void proven(struct mesh_session *session)
{
    session->proven = true;
    say_hello(session);
    for (uint8_t klass = 0; klass < KLP_CLASSES; klass++)
        mesh_session_consumed(session, klass, 0);
    now_up(session);
}

/* Verifies the peer's proof with what is known of its log; asks for what is missing, unless more is on its way. */
static void prove(struct mesh_session *session, bool more_comes)
{
    struct kos_mesh *mesh = session->mesh;
    const struct klp_log *log = kos_trust_log(mesh->trust, &session->proof.id);
    int32_t rc = log ? klp_proof_verify(&session->proof, log, session->remote_static, kos_now_ms(mesh->env))
                     : KOS_E_GAP;
    if (rc >= 0 && klp_log_kind(log) != KLP_KIND_NODE)
        rc = KOS_E_KEY;
    if (rc >= 0) {
        proven(session);
        return;
    }
    if (rc == KOS_E_GAP && more_comes)
        return;
    if (rc != KOS_E_GAP || session->log_requests >= MESH_LOG_REQUESTS) {
        char text[KLP_ID_TEXT];
        klp_id_text(&session->proof.id, text);
        mesh_link_close(session->link, false, rc, "%s cannot prove that it is klp://node.%s: %s", session->link->remote,
                        text, kos_error_text(rc));
        return;
    }
    session->log_requests++;
    request_log(session, &session->proof.id, log ? klp_log_count(log) : 0);
}

void mesh_intro_begin(struct mesh_session *session)
{
    struct kos_identity *node = kos_keys_node(kos_trust_keys(session->mesh->trust));
    if (session->pattern == KLP_NOISE_XX)
        mesh_session_send_log(session, kos_identity_log(node), 0);
    else
        sent_entry(session, kos_identity_id(node))->events = klp_log_count(kos_identity_log(node));
    prove(session, session->pattern == KLP_NOISE_XX);
}

static bool hello_name(struct klp_json value, char ret_name[KLP_NAME_MAX + 1])
{
    struct kos_bytes text;
    return klp_json_plain(klp_json_get(value, "name"), &text) >= 0 && text.len && klp_name_parse(text, ret_name) >= 0;
}

void mesh_intro_hello(struct mesh_session *session, struct kos_bytes payload)
{
    struct klp_json value, role;
    struct klp_json_iter iter;
    if (klp_json_read(payload, MESH_HELLO_MAX, &value, NULL) < 0 || value.type != KLP_JSON_OBJECT) {
        mesh_session_close(session, KOS_E_PROTOCOL, "a HELLO is malformed");
        return;
    }
    if (!hello_name(value, session->name))
        session->name[0] = 0;
    char version[sizeof session->version];
    if (klp_json_string(klp_json_get(value, "version"), version, sizeof version, NULL) >= 0)
        mesh_text(version, session->version, sizeof session->version);
    struct klp_json roles = klp_json_get(value, "roles");
    if (roles.type == KLP_JSON_ARRAY) {
        klp_json_iter_init(roles, &iter);
        while (klp_json_next(&iter, NULL, &role)) {
            struct kos_bytes text;
            size_t have = strlen(session->roles);
            if (klp_json_plain(role, &text) < 0 || have + text.len + 2 > sizeof session->roles)
                continue;
            snprintf(session->roles + have, sizeof session->roles - have, "%s%.*s", have ? " " : "", (int)text.len,
                     (const char *)text.data);
        }
    }
    struct klp_json features = klp_json_get(value, "features");
    if (features.type == KLP_JSON_ARRAY) {
        klp_json_iter_init(features, &iter);
        while (klp_json_next(&iter, NULL, &role)) {
            session->compact |= klp_json_equals(role, "compact");
            session->streams_known |= klp_json_equals(role, "stream");
        }
    }
    session->greeted = true;
    now_up(session);
}

/* ---- logs in ---- */

/* Only the peer's own log, its agents', and what is known already: nobody fills our table with strangers. */
static bool log_wanted(struct mesh_session *session, struct kos_bytes text)
{
    struct klp_event event;
    const uint8_t *end = text.len ? memchr(text.data, '\n', text.len) : NULL;
    struct kos_bytes first = kos_bytes(text.data, end ? (size_t)(end - text.data) : text.len);
    if (klp_event_parse(first, &event, NULL) < 0)
        return false;
    if (klp_id_eq(&event.id, &session->proof.id))
        return true;
    if (!session->up)
        return false;
    if (event.type == KLP_EVENT_INCEPTION)
        return event.kind == KLP_KIND_AGENT && klp_id_eq(&event.subject, &session->proof.id);
    return kos_trust_log(session->mesh->trust, &event.id) != NULL;
}

void mesh_intro_log(struct mesh_session *session, struct kos_bytes text)
{
    struct kos_mesh *mesh = session->mesh;
    struct kos_error error;
    struct klp_id id;
    if (session->peer && !mesh_peer_log_allowed(session->peer))
        return;
    if (!log_wanted(session, text)) {
        mesh_session_close(session, KOS_E_PROTOCOL,
                           "a log is malformed or of an identity that is none of this session's");
        return;
    }
    struct kos_tx *tx = kos_tx_begin(mesh->store);
    int32_t rc = kos_trust_learn(mesh->trust, tx, text, &id, &error);
    int32_t committed = kos_tx_commit(tx, NULL, NULL);
    if (rc < 0 && kos_log_limit_pass(mesh->log_limit, session->link->remote, NULL))
        kos_log(mesh->env, KOS_LOG_WARNING, "mesh", "a log from %s was not taken: %s", session->link->remote,
                error.text);
    if (committed < 0 && rc >= 0)
        kos_log(mesh->env, KOS_LOG_ERROR, "mesh", "a log from %s could not be stored: %s", session->link->remote,
                kos_error_text(committed));
    if (!session->proven)
        prove(session,
              rc > 0); /* a piece that brought news is followed by others, or by silence and the handshake's end */
}

void mesh_intro_statement(struct mesh_session *session, struct kos_bytes text)
{
    struct kos_mesh *mesh = session->mesh;
    struct klp_statement statement;
    struct kos_error error;
    if (!mesh_peer_log_allowed(session->peer))
        return;
    int32_t rc = klp_statement_parse(text, &statement, &error);
    if (rc >= 0 && (strcmp(statement.kind, MESH_RECORD_KIND) != 0 || !klp_id_eq(&statement.issuer, &session->proof.id)))
        return; /* what is passed on for others comes with gossip */
    if (rc >= 0) {
        struct kos_tx *tx = kos_tx_begin(mesh->store);
        rc = kos_trust_statement_take(mesh->trust, tx, text, &statement, &error);
        if (rc >= 0) {
            mesh_record_take(mesh, &statement);
            kos_tx_commit(tx, NULL, NULL);
        } else {
            kos_tx_abort(tx);
        }
    }
    if (rc < 0 && rc != KOS_E_STALE && kos_log_limit_pass(mesh->log_limit, session->link->remote, NULL))
        kos_log(mesh->env, KOS_LOG_WARNING, "mesh", "a statement from %s was not taken: %s", session->link->remote,
                error.text);
}
