/* SPDX-License-Identifier: Apache-2.0
 * libzmq with CURVE over TCP: encrypted, each end knows the other's key, no message signed. PUSH to PULL one way, DEALER
 * to ROUTER for requests. */
#include "peer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

static void *context, *out;
static char server_public[41], server_secret[41], client_public[41], client_secret[41];

static void check(int rc, const char *what)
{
    if (rc < 0)
        peer_die("zmq: %s: %s", what, zmq_strerror(errno));
}

static void limits(void *s)
{
    int most = 4096, linger = 0;
    check(zmq_setsockopt(s, ZMQ_SNDHWM, &most, sizeof most), "SNDHWM");
    check(zmq_setsockopt(s, ZMQ_RCVHWM, &most, sizeof most), "RCVHWM");
    check(zmq_setsockopt(s, ZMQ_LINGER, &linger, sizeof linger), "LINGER");
}

static void answer_one(void *in)
{
    zmq_msg_t who, data;
    zmq_msg_init(&who);
    zmq_msg_init(&data);
    if (zmq_msg_recv(&who, in, 0) >= 0 && zmq_msg_recv(&data, in, 0) == PEER_BYTES) {
        zmq_msg_send(&who, in, ZMQ_SNDMORE);
        zmq_msg_send(&data, in, 0);
    }
    zmq_msg_close(&who);
    zmq_msg_close(&data);
}

static void receive(struct peer *peer)
{
    uint8_t data[PEER_BYTES];
    int yes = 1, wait_ms = 200;
    size_t len = sizeof peer->shared->text;
    void *in = zmq_socket(zmq_ctx_new(), peer->ask ? ZMQ_ROUTER : ZMQ_PULL);
    limits(in);
    check(zmq_setsockopt(in, ZMQ_CURVE_SERVER, &yes, sizeof yes), "CURVE_SERVER");
    check(zmq_setsockopt(in, ZMQ_CURVE_SECRETKEY, server_secret, sizeof server_secret), "secret key");
    check(zmq_setsockopt(in, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms), "RCVTIMEO");
    /* Else a ROUTER drops what its peer's queue does not take. */
    if (peer->ask)
        check(zmq_setsockopt(in, ZMQ_ROUTER_MANDATORY, &yes, sizeof yes), "ROUTER_MANDATORY");
    check(zmq_bind(in, "tcp://127.0.0.1:*"), "bind");
    check(zmq_getsockopt(in, ZMQ_LAST_ENDPOINT, peer->shared->text, &len), "endpoint");
    peer->shared->ready = true;
    while (!peer->shared->stop) {
        if (peer->ask)
            answer_one(in);
        else if (zmq_recv(in, data, sizeof data, 0) == PEER_BYTES)
            peer->shared->received++;
    }
}

static void connect_to(struct peer *peer)
{
    context = zmq_ctx_new();
    out = zmq_socket(context, peer->ask ? ZMQ_DEALER : ZMQ_PUSH);
    limits(out);
    check(zmq_setsockopt(out, ZMQ_CURVE_SERVERKEY, server_public, sizeof server_public), "server key");
    check(zmq_setsockopt(out, ZMQ_CURVE_PUBLICKEY, client_public, sizeof client_public), "public key");
    check(zmq_setsockopt(out, ZMQ_CURVE_SECRETKEY, client_secret, sizeof client_secret), "secret key");
    check(zmq_connect(out, peer->shared->text), "connect");
}

static bool send_one(struct peer *peer, const uint8_t data[PEER_BYTES])
{
    (void)peer;
    return zmq_send(out, data, PEER_BYTES, ZMQ_DONTWAIT) == PEER_BYTES;
}

static void idle(struct peer *peer, bool wait)
{
    uint8_t data[PEER_BYTES + 1];
    int len;
    if (!peer->ask) {
        if (wait)
            peer_sleep_ns(20000);
        return;
    }
    zmq_pollitem_t item = { .socket = out, .events = ZMQ_POLLIN };
    if (wait && peer->rate == 0)
        zmq_poll(&item, 1, 100);
    while ((len = zmq_recv(out, data, sizeof data, ZMQ_DONTWAIT)) >= 0)
        peer_answered(peer, data, (size_t)len);
}

int main(int argc, char **argv)
{
    static const struct peer_ops ops = { "zmq CURVE", receive, connect_to, send_one, idle, NULL };
    if (zmq_curve_keypair(server_public, server_secret) < 0 || zmq_curve_keypair(client_public, client_secret) < 0)
        peer_die("zmq: this libzmq was built without CURVE");
    return peer_main(argc, argv, &ops);
}
