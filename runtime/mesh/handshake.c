/* SPDX-License-Identifier: Apache-2.0
 *
 * Handshakes (klp(7), "Session"): the preface in clear, then Noise messages behind a u16 length. Each message is
 * read or written by one piece of work, which owns the state meanwhile; what it means is decided here, on the loop.
 *
 * Messages that carry a proof of identity: XX 2 and 3, IK 1 and 2.
 */
#include "mesh/mesh_private.h"

#include <stdlib.h>

static const uint8_t preface[MESH_PREFACE_LEN - 1] = { 'K', 'L', 'P', '/', '1' };

/* Randomness for a worker: drawn on the loop beforehand. A handshake needs one ephemeral key. */
static void fill(void *self, void *out, size_t len)
{
    struct mesh_handshake *handshake = self;
    if (len > sizeof handshake->seed - handshake->seed_used)
        abort();
    memcpy(out, handshake->seed + handshake->seed_used, len);
    handshake->seed_used += len;
}

static void handshake_free(struct mesh_handshake *handshake)
{
    klp_noise_free(handshake->noise);
    klp_record_free(handshake->send);
    klp_record_free(handshake->receive);
    klp_wipe(handshake, sizeof *handshake);
    free(handshake);
}

void mesh_handshake_abandon(struct mesh_handshake *handshake)
{
    handshake->link = NULL;
    if (!handshake->running)
        handshake_free(handshake);
}

static bool carries_proof(const struct mesh_handshake *handshake)
{
    return handshake->pattern == KLP_NOISE_IK || handshake->messages > 0;
}

static struct kos_bytes own_payload(const struct mesh_handshake *handshake, uint8_t message)
{
    bool proof = handshake->pattern == KLP_NOISE_IK || message > 0;
    return kos_bytes(handshake->own_proof, proof ? sizeof handshake->own_proof : 0);
}

/* Up to where it was: a message that did not open left no state, and over datagrams it may have been a forger's. The
 * same randomness makes the same messages. */
static int32_t replay(struct mesh_handshake *handshake)
{
    uint8_t scratch[MESH_HANDSHAKE_MAX];
    size_t len;
    int32_t rc = KOS_OK;
    for (uint8_t i = 0; i < handshake->messages && rc >= 0; i++)
        if ((i % 2 == 0) == handshake->initiator)
            rc = klp_noise_write(handshake->noise, own_payload(handshake, i), scratch, sizeof scratch, &len);
        else
            rc = klp_noise_read(handshake->noise, kos_bytes(handshake->first, handshake->first_len), scratch,
                                sizeof scratch, &len);
    return rc;
}

static int32_t prepare(struct mesh_handshake *handshake)
{
    bool known = handshake->initiator && handshake->pattern == KLP_NOISE_IK;
    struct klp_random random = { fill, handshake };
    if (handshake->noise)
        return KOS_OK;
    handshake->seed_used = 0;
    handshake->noise = klp_noise_new(handshake->pattern, handshake->initiator, handshake->secret,
                                     known ? handshake->remote : NULL, random);
    return handshake->noise ? replay(handshake) : KOS_E_NOMEM;
}

static void run(struct kos_work *work)
{
    struct mesh_handshake *handshake = (struct mesh_handshake *)work;
    if ((handshake->status = prepare(handshake)) < 0)
        return;
    if (handshake->writing) {
        struct kos_bytes payload = own_payload(handshake, handshake->messages);
        handshake->status = klp_noise_write(handshake->noise, payload, handshake->out + 2, sizeof handshake->out - 2,
                                            &handshake->out_len);
    } else {
        handshake->status = klp_noise_read(handshake->noise, kos_bytes(handshake->in, handshake->in_len),
                                           handshake->payload, sizeof handshake->payload, &handshake->payload_len);
    }
}

static void done(struct kos_work *work);

static void submit(struct mesh_handshake *handshake, bool writing)
{
    handshake->writing = writing;
    handshake->running = true;
    mesh_work(handshake->job.mesh, &handshake->job, run, done);
}

void mesh_handshake_begin(struct mesh_link *link, bool initiator, const uint8_t *remote)
{
    struct kos_mesh *mesh = link->mesh;
    struct mesh_handshake *handshake = kos_new(sizeof *handshake);
    handshake->job.mesh = mesh;
    handshake->link = link;
    handshake->initiator = initiator;
    handshake->second = link->session != NULL;
    handshake->secret = kos_keys_noise_secret(kos_trust_keys(mesh->trust));
    kos_random(mesh->env, handshake->seed, sizeof handshake->seed);
    link->handshake = handshake;
    mesh->counters.handshakes++;
    const uint8_t *proof = mesh_proof(mesh);
    if (!proof) {
        mesh_link_close(link, false, KOS_E_INTERNAL, "this node cannot prove its own identity");
        return;
    }
    memcpy(handshake->own_proof, proof, sizeof handshake->own_proof);
    if (!handshake->initiator)
        return;
    handshake->pattern = remote ? KLP_NOISE_IK : KLP_NOISE_XX;
    if (remote)
        memcpy(handshake->remote, remote, sizeof handshake->remote);
    if (link->datagrams) {
        mesh_shake_begin(link);
        submit(handshake, true);
        return;
    }
    uint8_t head[MESH_PREFACE_LEN];
    memcpy(head, preface, sizeof preface);
    head[sizeof preface] = (uint8_t)handshake->pattern;
    mesh_link_send(link, kos_bytes(head, sizeof head));
    submit(handshake, true);
}

static size_t take_preface(struct mesh_link *link, struct kos_bytes rest)
{
    size_t compare = rest.len < sizeof preface ? rest.len : sizeof preface;
    if (compare && memcmp(rest.data, preface, compare) != 0) {
        mesh_link_close(link, false, KOS_E_PROTOCOL, "%s does not speak KLP/1", link->remote);
        return 0;
    }
    if (rest.len < MESH_PREFACE_LEN)
        return 0;
    int32_t pattern = rest.data[sizeof preface];
    if (pattern != KLP_NOISE_XX && pattern != KLP_NOISE_IK) {
        mesh_link_close(link, false, KOS_E_PROTOCOL, "%s asks for handshake pattern %d, which KLP/1 does not have",
                        link->remote, (int)pattern);
        return 0;
    }
    link->handshake->pattern = pattern;
    return MESH_PREFACE_LEN;
}

size_t mesh_handshake_take(struct mesh_link *link, struct kos_bytes rest)
{
    struct mesh_handshake *handshake = link->handshake;
    if (!handshake || handshake->running)
        return 0;
    if (!handshake->pattern)
        return take_preface(link, rest);
    if (rest.len < 2)
        return 0;
    size_t len = (size_t)rest.data[0] << 8 | rest.data[1];
    if (len > sizeof handshake->in) {
        mesh_link_close(link, false, KOS_E_PROTOCOL, "a handshake message of %zu bytes from %s; the longest has %d",
                        len, link->remote, MESH_HANDSHAKE_MAX);
        return 0;
    }
    if (rest.len < 2 + len)
        return 0;
    memcpy(handshake->in, rest.data + 2, len);
    handshake->in_len = len;
    submit(handshake, false);
    return 2 + len;
}

void mesh_handshake_message(struct mesh_link *link, uint8_t pattern, struct kos_bytes message)
{
    struct mesh_handshake *handshake = link->handshake;
    if (!handshake->pattern)
        handshake->pattern = pattern;
    memcpy(handshake->in, message.data, message.len);
    handshake->in_len = message.len;
    submit(handshake, false);
}

/* The link goes with it; but where a session is on it, who failed may be somebody else: that one stays. */
static void fail(struct mesh_link *link, int32_t status, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void fail(struct mesh_link *link, int32_t status, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!link->handshake->second) {
        mesh_link_close(link, false, status, "%s", text);
        return;
    }
    link->mesh->counters.handshakes_failed++;
    mesh_handshake_abandon(link->handshake);
    link->handshake = NULL;
}

/* Who may not know anything about us is left without a word: what comes over the link is the same as from a dead
 * one. */
static bool welcome(struct mesh_link *link, struct mesh_handshake *handshake)
{
    struct kos_mesh *mesh = link->mesh;
    char label[KLP_ID_TEXT], expected[KLP_ID_TEXT];
    const struct klp_id *peer = &handshake->proof.id;
    if (klp_id_eq(peer, &mesh->self)) {
        fail(link, KOS_E_INVALID, "%s is this node itself", link->remote);
        return false;
    }
    if (link->keep && link->keep->has_expect && !klp_id_eq(peer, &link->keep->expect)) {
        klp_id_text(peer, label);
        klp_id_text(&link->keep->expect, expected);
        fail(link, KOS_E_MISADDRESSED,
                        "klp://node.%s answered at %s instead of klp://node.%s: if that is meant, kosctl disconnect "
                        "klp://node.%s and connect again",
                        label, link->remote, expected, expected);
        return false;
    }
    struct kos_policy_decision decision;
    if (!mesh_session_allowed(mesh, peer, handshake->initiator, link->transport, &decision)) {
        fail(link, decision.code, "%s", decision.text);
        return false;
    }
    return true;
}

static bool take_payload(struct mesh_link *link, struct mesh_handshake *handshake)
{
    if (!carries_proof(handshake)) {
        if (handshake->payload_len == 0)
            return true;
        fail(link, KOS_E_PROTOCOL, "%s sent a payload in the first message of XX", link->remote);
        return false;
    }
    if (klp_proof_parse(kos_bytes(handshake->payload, handshake->payload_len), &handshake->proof) < 0) {
        fail(link, KOS_E_PROTOCOL, "%s sent no proof of identity in its handshake", link->remote);
        return false;
    }
    handshake->has_proof = true;
    return welcome(link, handshake);
}

static void send_message(struct mesh_link *link, struct mesh_handshake *handshake)
{
    if (link->datagrams) {
        mesh_shake_send(link, (uint8_t)handshake->pattern, (uint8_t)(handshake->messages + 1),
                        kos_bytes(handshake->out + 2, handshake->out_len));
        return;
    }
    handshake->out[0] = (uint8_t)(handshake->out_len >> 8);
    handshake->out[1] = (uint8_t)handshake->out_len;
    mesh_link_send(link, kos_bytes(handshake->out, handshake->out_len + 2));
}

static void begin_session(struct mesh_link *link)
{
    struct mesh_handshake *handshake = link->handshake;
    mesh_session_new(link);
    if (link->closing)
        return;
    link->handshake = NULL;
    handshake_free(handshake);
    mesh_intro_begin(link->session);
}

void mesh_handshake_install(struct mesh_link *link)
{
    struct mesh_session *old = link->session;
    link->session = NULL;
    if (old) {
        mesh_peer_down(old, KOS_E_CLOSED, "the peer began anew over the same link");
        mesh_session_free(old);
        kos_timer_set(link->mesh->env, link->timer, mesh_shake_limit_ms(link));
    }
    begin_session(link);
}

/* Beside a session: only its own peer may take its place, and in IK only with a record, for anybody can say the first
 * message again. */
static void finish_second(struct mesh_link *link, struct mesh_handshake *handshake)
{
    uint8_t remote[KLP_X25519_LEN];
    if (klp_noise_remote(handshake->noise, remote) < 0 || !link->session ||
        memcmp(remote, link->session->remote_static, sizeof remote) != 0 ||
        klp_noise_split(handshake->noise, &handshake->send, &handshake->receive) < 0) {
        fail(link, KOS_E_KEY, "somebody else than its peer shook hands over the link of a session");
        return;
    }
    if (handshake->pattern == KLP_NOISE_IK && !handshake->initiator)
        handshake->awaits = true;
    else
        mesh_handshake_install(link);
}

static void finish(struct mesh_link *link, struct mesh_handshake *handshake)
{
    if (!handshake->has_proof)
        fail(link, KOS_E_PROTOCOL, "%s did not say who it is", link->remote);
    else if (handshake->second)
        finish_second(link, handshake);
    else
        begin_session(link);
}

/* Over datagrams a message that does not open may be a forger's: the right one may still come. */
static bool tries_on(struct mesh_link *link, struct mesh_handshake *handshake)
{
    if (!link->datagrams || handshake->writing || handshake->status == KOS_E_NOMEM ||
        ++handshake->failures > MESH_SHAKE_FAILURES)
        return false;
    klp_noise_free(handshake->noise);
    handshake->noise = NULL;
    if (!handshake->initiator && handshake->messages == 0) {
        if (handshake->pattern == KLP_NOISE_IK)
            mesh_shake_refuse(link);
        handshake->pattern = 0;
    }
    return true;
}

static void took_message(struct mesh_link *link, struct mesh_handshake *handshake)
{
    if (!link->datagrams)
        return;
    if (!handshake->initiator && handshake->messages == 0) {
        memcpy(handshake->first, handshake->in, handshake->in_len);
        handshake->first_len = handshake->in_len;
    }
    mesh_shake_took(link, (uint8_t)(handshake->messages + 1));
}

static void step(struct mesh_link *link, struct mesh_handshake *handshake)
{
    if (handshake->status < 0) {
        if (!tries_on(link, handshake))
            fail(link, handshake->status, "the handshake with %s failed at message %d: %s", link->remote,
                 handshake->messages + 1, kos_error_text(handshake->status));
        return;
    }
    if (handshake->writing) {
        send_message(link, handshake);
    } else {
        took_message(link, handshake);
        if (!take_payload(link, handshake))
            return;
    }
    handshake->messages++;
    if (klp_noise_done(handshake->noise))
        finish(link, handshake);
    else if (klp_noise_writes(handshake->noise))
        submit(handshake, true);
}

static void done(struct kos_work *work)
{
    struct mesh_handshake *handshake = (struct mesh_handshake *)work;
    struct mesh_link *link = handshake->link;
    handshake->running = false;
    if (!mesh_work_done(&handshake->job) || !link) {
        handshake_free(handshake);
        return;
    }
    step(link, handshake);
    if (!link->closing)
        mesh_link_process(link);
}
