/* SPDX-License-Identifier: Apache-2.0
 *
 * A nats-server with TLS and nkeys, by libnats: encrypted to and from the server, each client proves its key, no message
 * signed. Where: URL CA-FILE SEED-FILE NKEY. Requests are published with a reply subject; answers come to one
 * subscription.
 */
#include "peer.h"

#include <nats/nats.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { BUFFER = 1 << 20 };

static natsConnection *connection;
static sem_t came;

static void check(natsStatus status, const char *what)
{
    if (status != NATS_OK)
        peer_die("nats: %s: %s", what, natsStatus_GetText(status));
}

static natsConnection *connected(const struct peer *peer)
{
    natsOptions *options;
    natsConnection *made;
    if (!peer->more[0] || !peer->more[1] || !peer->more[2] || !peer->more[3])
        peer_die("nats: URL, CA file, seed file and nkey are needed");
    check(natsOptions_Create(&options), "options");
    check(natsOptions_SetURL(options, peer->more[0]), "URL");
    check(natsOptions_SetSecure(options, true), "TLS");
    check(natsOptions_LoadCATrustedCertificates(options, peer->more[1]), "CA");
    check(natsOptions_SetNKeyFromSeed(options, peer->more[3], peer->more[2]), "nkey");
    check(natsOptions_SetIOBufSize(options, BUFFER), "buffer");
    /* A request that nothing follows goes out at once; many share a write, which is what carries most. */
    check(natsOptions_SetSendAsap(options, peer->ask && (peer->window <= 16 || peer->rate > 0)), "SendAsap");
    check(natsConnection_Connect(&made, options), "connect");
    natsOptions_Destroy(options);
    return made;
}

static void on_load(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
    struct peer *peer = arg;
    (void)nc;
    (void)sub;
    if (natsMsg_GetDataLength(msg) == PEER_BYTES)
        peer->shared->received++;
    natsMsg_Destroy(msg);
}

static void on_ask(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
    (void)sub;
    (void)arg;
    natsConnection_Publish(nc, natsMsg_GetReply(msg), natsMsg_GetData(msg), natsMsg_GetDataLength(msg));
    natsMsg_Destroy(msg);
}

static void on_answer(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
    (void)nc;
    (void)sub;
    peer_answered(arg, (const uint8_t *)natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
    natsMsg_Destroy(msg);
    sem_post(&came);
}

static void subscribe(natsConnection *nc, const char *subject, natsMsgHandler handler, struct peer *peer)
{
    natsSubscription *sub;
    check(natsConnection_Subscribe(&sub, nc, subject, handler, peer), "subscribe");
    check(natsSubscription_SetPendingLimits(sub, -1, -1), "limits");
    check(natsConnection_Flush(nc), "flush");
}

static void receive(struct peer *peer)
{
    natsConnection *nc = connected(peer);
    subscribe(nc, peer->ask ? "bench.ask" : "bench.load", peer->ask ? on_ask : on_load, peer);
    peer->shared->ready = true;
    while (!peer->shared->stop)
        nats_Sleep(5);
}

static void connect_to(struct peer *peer)
{
    sem_init(&came, 0, 0);
    connection = connected(peer);
    if (peer->ask)
        subscribe(connection, "bench.answer", on_answer, peer);
}

static bool send_one(struct peer *peer, const uint8_t data[PEER_BYTES])
{
    natsStatus status = peer->ask ? natsConnection_PublishRequest(connection, "bench.ask", "bench.answer", data, PEER_BYTES)
                                  : natsConnection_Publish(connection, "bench.load", data, PEER_BYTES);
    if (status != NATS_OK && status != NATS_INSUFFICIENT_BUFFER)
        check(status, "publish");
    return status == NATS_OK;
}

static void idle(struct peer *peer, bool wait)
{
    struct timespec until;
    if (!wait)
        return;
    if (!peer->ask || peer->rate > 0) {
        peer_sleep_ns(20000);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    sem_timedwait(&came, &until);
    while (sem_trywait(&came) == 0)
        ;
}

int main(int argc, char **argv)
{
    static const struct peer_ops ops = { "NATS TLS nkeys", receive, connect_to, send_one, idle, NULL };
    /* The parent's threads begin after the fork, as the child's do. */
    return peer_main(argc, argv, &ops);
}
