/* SPDX-License-Identifier: Apache-2.0
 *
 * toxcore over UDP: encrypted between two keys, no message signed. Custom packets between two friends that know each
 * other's address; requests and answers are told by their first byte. Lossy packets: its lossless ones begin at 4 a
 * second and take minutes to become fast. On one machine, within a window, none are lost: what arrives is counted.
 */
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tox/tox.h>

enum { ONE_WAY = 200, ASK = 201, ANSWER = 202, CONNECT_S = 60, TURN_NS = 50000, IDLE_NS = 10000000 };

struct end {
    Tox *tox;
    struct peer *peer;
    uint32_t friend_number;
    bool up;
};

static struct end sender;

static void on_status(Tox *tox, uint32_t friend_number, Tox_Connection status, void *arg)
{
    struct end *end = arg;
    (void)tox;
    (void)friend_number;
    end->up = status == TOX_CONNECTION_UDP;
}

/* A packet is its kind and the message. */
static void on_packet(Tox *tox, uint32_t friend_number, const uint8_t *data, size_t len, void *arg)
{
    struct end *end = arg;
    uint8_t answer[1 + PEER_BYTES];
    if (len != sizeof answer)
        return;
    if (data[0] == ONE_WAY) {
        end->peer->shared->received++;
    } else if (data[0] == ANSWER) {
        peer_answered(end->peer, data + 1, len - 1);
    } else {
        memcpy(answer, data, len);
        answer[0] = ANSWER;
        while (!tox_friend_send_lossy_packet(tox, friend_number, answer, sizeof answer, NULL) && !end->peer->shared->stop)
            peer_sleep_ns(TURN_NS);
    }
}

static void begin(struct end *end, struct peer *peer)
{
    struct Tox_Options *options = tox_options_new(NULL);
    tox_options_set_udp_enabled(options, true);
    tox_options_set_ipv6_enabled(options, false);
    tox_options_set_local_discovery_enabled(options, false);
    end->peer = peer;
    end->tox = tox_new(options, NULL);
    tox_options_free(options);
    if (!end->tox)
        peer_die("tox: no instance: are its ports taken?");
    tox_callback_friend_connection_status(end->tox, on_status);
    tox_callback_friend_lossy_packet(end->tox, on_packet);
}

/* Public key, DHT key, port. */
static void say(const struct end *end, char *text, size_t cap)
{
    uint8_t key[TOX_PUBLIC_KEY_SIZE], dht[TOX_PUBLIC_KEY_SIZE];
    size_t at = 0;
    tox_self_get_public_key(end->tox, key);
    tox_self_get_dht_id(end->tox, dht);
    for (size_t i = 0; i < sizeof key; i++)
        at += (size_t)snprintf(text + at, cap - at, "%02x", key[i]);
    for (size_t i = 0; i < sizeof dht; i++)
        at += (size_t)snprintf(text + at, cap - at, "%02x", dht[i]);
    snprintf(text + at, cap - at, " %u", tox_self_get_udp_port(end->tox, NULL));
}

static void meet(struct end *end, const char *text)
{
    uint8_t keys[2][TOX_PUBLIC_KEY_SIZE];
    for (size_t i = 0; i < sizeof keys; i++) {
        unsigned byte = 0;
        sscanf(text + 2 * i, "%2x", &byte);
        keys[i / TOX_PUBLIC_KEY_SIZE][i % TOX_PUBLIC_KEY_SIZE] = (uint8_t)byte;
    }
    end->friend_number = tox_friend_add_norequest(end->tox, keys[0], NULL);
    tox_bootstrap(end->tox, "127.0.0.1", (uint16_t)atoi(text + 4 * TOX_PUBLIC_KEY_SIZE), keys[1], NULL);
}

static void receive(struct peer *peer)
{
    static struct end end;
    begin(&end, peer);
    say(&end, peer->shared->text, sizeof peer->shared->text);
    peer->shared->ready = true;
    while (!peer->shared->met && !peer->shared->stop)
        peer_sleep_ns(1000000);
    meet(&end, peer->shared->back);
    while (!peer->shared->stop) {
        tox_iterate(end.tox, &end);
        peer_sleep_ns(peer->shared->busy ? TURN_NS : IDLE_NS);
    }
}

static void connect_to(struct peer *peer)
{
    begin(&sender, peer);
    say(&sender, peer->shared->back, sizeof peer->shared->back);
    peer->shared->met = true;
    meet(&sender, peer->shared->text);
    for (uint64_t until = peer_now_ns() + CONNECT_S * UINT64_C(1000000000); !sender.up;) {
        if (peer_now_ns() > until)
            peer_die("tox: the two did not find each other within %d s", CONNECT_S);
        tox_iterate(sender.tox, &sender);
        peer_sleep_ns(1000000);
    }
}

static bool send_one(struct peer *peer, const uint8_t data[PEER_BYTES])
{
    uint8_t packet[1 + PEER_BYTES];
    packet[0] = peer->ask ? ASK : ONE_WAY;
    memcpy(packet + 1, data, PEER_BYTES);
    return tox_friend_send_lossy_packet(sender.tox, sender.friend_number, packet, sizeof packet, NULL);
}

static void idle(struct peer *peer, bool wait)
{
    (void)peer;
    tox_iterate(sender.tox, &sender);
    if (wait)
        peer_sleep_ns(TURN_NS);
}

int main(int argc, char **argv)
{
    static const struct peer_ops ops = { "toxcore", receive, connect_to, send_one, idle, NULL };
    return peer_main(argc, argv, &ops);
}
