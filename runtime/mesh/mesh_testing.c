/* SPDX-License-Identifier: Apache-2.0
 * The network in memory and the nodes on it, for the mesh's tests. */
#include "mesh/mesh_testing.h"

#include <check.h>
#include <stdlib.h>

/* ---- links ---- */

struct net_datagram {
    struct net_datagram *next, *prev;
    uint8_t *data;
    size_t len;
    uint64_t leaves_ms, comes_ms;
    bool gone; /* its sender has the credit back */
};

const struct net_air net_radio = { .mtu = 490, .flags = KOS_LINK_SHARED, .cost = 10000, .loss = 100,
                                   .delay_ms = 200, .bits_per_second = 5000, .airtime_ms_per_hour = 360000,
                                   .shared = true };
const struct net_air net_lossy = { .mtu = 1200, .loss = 30, .twice = 20, .altered = 10, .late = 50, .delay_ms = 20,
                                   .late_ms = 200 };
const struct net_air net_tunnel = { .mtu = 65535, .flags = KOS_LINK_RELIABLE | KOS_LINK_ORDERED, .delay_ms = 1 };

struct net_end {
    struct net_datagram *sent;
    struct net_end *next, *prev, *other;
    struct net_node *node;
    uint64_t link;
    struct kos_buf out; /* sent by the node, not delivered */
    uint8_t *making;
    size_t making_cap;
    uint64_t credit;    /* what the node takes */
    uint64_t busy_ms, out_bytes;
    bool dialling, closed, dead;
    char address[64];
    struct net_node *target;
};

static void datagram_free(struct net_end *end, struct net_datagram *datagram);

static uint32_t net_dice(struct net *net, uint32_t sides)
{
    net->seed ^= net->seed >> 12;
    net->seed ^= net->seed << 25;
    net->seed ^= net->seed >> 27;
    return (uint32_t)((net->seed * UINT64_C(2685821657736338717)) >> 33) % sides;
}

static struct kos_link_info info_of(const struct net_end *end)
{
    const struct net_air *air = &end->node->net->air;
    if (air->mtu)
        return (struct kos_link_info){ .size = sizeof(struct kos_link_info),
                                       .flags = air->flags,
                                       .mtu_bytes = air->mtu,
                                       .cost = air->cost,
                                       .airtime_ms_per_hour = air->airtime_ms_per_hour,
                                       .bits_per_second = air->bits_per_second,
                                       .send_window_bytes = end->node->net->window,
                                       .local = end->node->address,
                                       .remote = end->other ? end->other->node->address : end->address };
    return (struct kos_link_info){ .size = sizeof(struct kos_link_info),
                                   .flags = KOS_LINK_STREAM | KOS_LINK_RELIABLE | KOS_LINK_ORDERED,
                                   .send_window_bytes = end->node->net->window,
                                   .local = end->node->address,
                                   .remote = end->other ? end->other->node->address : end->address };
}

static int32_t carrier_listen(struct kos_carrier *carrier, uint64_t endpoint, const char *address)
{
    struct net_node *node = (struct net_node *)carrier;
    if (strncmp(address, "mem://", 6) != 0)
        return KOS_E_UNSUPPORTED;
    node->endpoint = endpoint;
    node->listening = true;
    return KOS_OK;
}

static void carrier_endpoint_close(struct kos_carrier *carrier, uint64_t endpoint)
{
    (void)endpoint;
    ((struct net_node *)carrier)->listening = false;
}

static struct net_end *end_new(struct net_node *node, uint64_t link)
{
    struct net_end *end = kos_new(sizeof *end);
    end->node = node;
    end->link = link;
    kos_buf_init(&end->out, 64 << 20);
    DL_APPEND(node->net->ends, end);
    return end;
}

static int32_t carrier_dial(struct kos_carrier *carrier, uint64_t link, const char *address)
{
    struct net_node *node = (struct net_node *)carrier;
    if (strncmp(address, "mem://", 6) != 0)
        return KOS_E_UNSUPPORTED;
    struct net_end *end = end_new(node, link);
    end->dialling = true;
    snprintf(end->address, sizeof end->address, "%s", address);
    return KOS_OK;
}

static struct net_end *find(struct net_node *node, uint64_t link)
{
    struct net_end *end;
    DL_FOREACH(node->net->ends, end)
        if (end->node == node && end->link == link && !end->dead)
            return end;
    return NULL;
}

static void send_datagram(struct net_end *end, const struct kos_bytes *pieces, uint32_t count)
{
    struct net *net = end->node->net;
    struct net_datagram *datagram = kos_new(sizeof *datagram);
    for (uint32_t i = 0; i < count; i++)
        datagram->len += pieces[i].len;
    ck_assert_uint_gt(datagram->len, 0);
    ck_assert_uint_le(datagram->len, net->air.mtu);
    datagram->data = kos_new(datagram->len);
    for (size_t i = 0, at = 0; i < count; at += pieces[i++].len)
        memcpy(datagram->data + at, pieces[i].data, pieces[i].len);
    datagram->leaves_ms = net->now_ms;
    if (net->air.bits_per_second) {
        uint64_t *busy = net->air.shared ? &net->busy_ms : &end->busy_ms;
        datagram->leaves_ms = (*busy > net->now_ms ? *busy : net->now_ms) +
                              datagram->len * 8000 / net->air.bits_per_second;
        *busy = datagram->leaves_ms;
    }
    datagram->comes_ms = datagram->leaves_ms + net->air.delay_ms;
    if (net->air.late && net_dice(net, 1000) < net->air.late)
        datagram->comes_ms += net_dice(net, (uint32_t)net->air.late_ms + 1);
    end->out_bytes += datagram->len;
    ck_assert_uint_le(end->out_bytes, net->window);
    net->datagrams++;
    end->node->datagrams++;
    DL_APPEND(end->sent, datagram);
}

static void carrier_send(struct kos_carrier *carrier, uint64_t link, const struct kos_bytes *pieces, uint32_t count)
{
    struct net_end *end = find((struct net_node *)carrier, link);
    ck_assert_ptr_nonnull(end);
    ck_assert(!end->closed);
    if (end->node->net->air.mtu) {
        send_datagram(end, pieces, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        ck_assert_int_eq(kos_buf_append(&end->out, pieces[i]), KOS_OK);
    ck_assert_uint_le(end->out.len, end->node->net->window); /* never beyond its credit */
}

/* Of every other node: records are written where the carrier wants them. */
static uint8_t *carrier_make(struct kos_carrier *carrier, uint64_t link, size_t len)
{
    struct net_node *node = (struct net_node *)carrier;
    struct net_end *end = find(node, link);
    ck_assert_ptr_nonnull(end);
    ck_assert_ptr_null(end->making);
    if (node->net->air.mtu)
        return NULL;
    end->making = kos_new(len);
    end->making_cap = len;
    return end->making;
}

static void carrier_made(struct kos_carrier *carrier, uint64_t link, size_t len)
{
    struct net_end *end = find((struct net_node *)carrier, link);
    ck_assert(end && end->making);
    ck_assert_uint_le(len, end->making_cap);
    struct kos_bytes piece = kos_bytes(end->making, len);
    end->making = NULL;
    carrier_send(carrier, link, &piece, 1);
    free((void *)(uintptr_t)piece.data);
}

static void carrier_credit(struct kos_carrier *carrier, uint64_t link, uint64_t bytes)
{
    struct net_end *end = find((struct net_node *)carrier, link);
    /* Never before the carrier could know the id. */
    ck_assert(end || ((struct net_node *)carrier)->net->raw_links);
    if (end)
        end->credit += bytes;
}

static void carrier_close(struct kos_carrier *carrier, uint64_t link, bool flush)
{
    struct net_end *end = find((struct net_node *)carrier, link);
    if (!end)
        return;
    if (!flush) {
        kos_buf_reset(&end->out);
        while (end->sent)
            datagram_free(end, end->sent);
    }
    end->closed = true;
}

static const struct kos_carrier_ops carrier_ops = { carrier_listen, carrier_endpoint_close, carrier_dial,
                                                    carrier_send,   carrier_credit,         carrier_close };
static const struct kos_carrier_ops making_ops = { carrier_listen, carrier_endpoint_close, carrier_dial, carrier_send,
                                                   carrier_credit, carrier_close,          carrier_make, carrier_made };

static void end_die(struct net_end *end, const char *text)
{
    struct net_node *node = end->node;
    if (end->dead)
        return;
    end->dead = true;
    if (end->other)
        end->other->other = NULL;
    end->other = NULL;
    if (node->up && end->link)
        kos_mesh_link_down(node->mesh, end->link, KOS_E_CLOSED, text);
}

static void connect_end(struct net *net, struct net_end *end)
{
    struct net_node *target = NULL;
    for (uint32_t i = 0; i < net->count; i++)
        if (net->nodes[i].up && net->nodes[i].listening && strcmp(net->nodes[i].address, end->address) == 0)
            target = &net->nodes[i];
    end->dialling = false;
    if (!target) {
        end_die(end, "connection refused");
        return;
    }
    struct net_end *other = end_new(target, 0);
    other->other = end;
    end->other = other;
    struct kos_link_info info = info_of(other);
    other->link = kos_mesh_link_accepted(target->mesh, target->endpoint, &info);
    if (!other->link) {
        other->dead = true;
        end_die(end, "connection closed");
        return;
    }
    info = info_of(end);
    kos_mesh_link_up(end->node->mesh, end->link, &info);
}

static void datagram_free(struct net_end *end, struct net_datagram *datagram)
{
    DL_DELETE(end->sent, datagram);
    free(datagram->data);
    free(datagram);
}

static void arrive(struct net *net, struct net_end *to, const struct net_datagram *datagram)
{
    uint8_t *data = kos_memdup(datagram->data, datagram->len);
    if (net_dice(net, 1000) < net->air.altered)
        data[net_dice(net, (uint32_t)datagram->len)] ^= (uint8_t)(1u << net_dice(net, 8));
    if (net->corrupt_at > net->carried && net->corrupt_at <= net->carried + datagram->len &&
        !(net->air.flags & KOS_LINK_RELIABLE))
        data[net->corrupt_at - net->carried - 1] ^= 0x20;
    net->carried += datagram->len;
    to->credit -= datagram->len;
    if (!to->closed)
        kos_mesh_link_received(to->node->mesh, to->link, kos_bytes(data, datagram->len));
    free(data);
}

/* One step: a datagram leaves, is lost or arrives. */
static bool deliver_datagrams(struct net *net, struct net_end *end)
{
    bool reliable = net->air.flags & KOS_LINK_RELIABLE;
    struct net_datagram *datagram, *next;
    DL_FOREACH_SAFE(end->sent, datagram, next) {
        if (!datagram->gone && datagram->leaves_ms <= net->now_ms) {
            size_t len = datagram->len;
            bool lost = (!reliable && net_dice(net, 1000) < net->air.loss) ||
                        (net->tap && net->tap(net, end->node, kos_bytes(datagram->data, len)));
            datagram->gone = true;
            end->out_bytes -= len;
            if (lost)
                datagram_free(end, datagram);
            if (!end->closed && !end->dead)
                kos_mesh_link_credit(end->node->mesh, end->link, len);
            return true;
        }
        if (!datagram->gone || datagram->comes_ms > net->now_ms || !end->other || end->other->dead)
            continue;
        if (end->other->credit < datagram->len) {
            if (reliable)
                return false;
            datagram_free(end, datagram);
            return true;
        }
        struct net_end *to = end->other;
        bool twice = !reliable && net_dice(net, 1000) < net->air.twice;
        arrive(net, to, datagram);
        if (twice && end->other == to && !to->dead && to->credit >= datagram->len)
            arrive(net, to, datagram);
        datagram_free(end, datagram);
        if (net->cut_after && (net->cut_after -= net->cut_after < 100 ? net->cut_after : 100) == 0)
            net_cut(net);
        return true;
    }
    return false;
}

static bool deliver(struct net *net, struct net_end *end)
{
    if (net->air.mtu)
        return deliver_datagrams(net, end);
    struct net_end *to = end->other;
    size_t len = end->out.len;
    if (!to || to->dead || !len || !to->credit)
        return false;
    if (net->split && len > net->split)
        len = net->split;
    if (len > to->credit)
        len = (size_t)to->credit;
    if (net->cut_after && len >= net->cut_after)
        len = (size_t)net->cut_after;
    uint8_t *data = kos_memdup(end->out.data, len);
    kos_buf_consume(&end->out, len);
    if (net->corrupt_at > net->carried && net->corrupt_at <= net->carried + len)
        data[net->corrupt_at - net->carried - 1] ^= 0x20;
    net->carried += len;
    to->credit -= len;
    if (!to->closed)
        kos_mesh_link_received(to->node->mesh, to->link, kos_bytes(data, len));
    if (!end->closed && !end->dead)
        kos_mesh_link_credit(end->node->mesh, end->link, len);
    free(data);
    if (net->cut_after && (net->cut_after -= len) == 0)
        net_cut(net);
    return true;
}

static bool pump(struct net *net)
{
    bool any = false;
    struct net_end *end, *next;
    DL_FOREACH(net->ends, end) {
        if (end->dead)
            continue;
        if (end->dialling && !end->closed) {
            connect_end(net, end);
            any = true;
        } else if (!net->hold && deliver(net, end)) {
            any = true;
        } else if (end->closed && ((!end->out.len && !end->sent) || !end->other || end->other->dead || end->other->closed)) {
            struct net_end *other = end->other;
            end_die(end, "closed");
            if (other)
                end_die(other, "closed by the other side");
            any = true;
        }
    }
    DL_FOREACH_SAFE(net->ends, end, next) {
        if (!end->dead)
            continue;
        DL_DELETE(net->ends, end);
        while (end->sent)
            datagram_free(end, end->sent);
        kos_buf_fini(&end->out);
        free(end);
    }
    return any;
}

void net_cut(struct net *net)
{
    struct net_end *end;
    DL_FOREACH(net->ends, end)
        if (!end->dialling)
            end_die(end, "the link was cut");
}

/* ---- the sink ---- */

static struct net_node *of_sink(struct kos_sink *sink)
{
    return (struct net_node *)(void *)((char *)sink - offsetof(struct net_node, sink));
}

static bool sink_takes(struct kos_sink *sink, const char *type)
{
    return !of_sink(sink)->refuse_types && strcmp(type, "UNKNOWN") != 0;
}

static void sink_message(struct kos_sink *sink, uint64_t handle, const struct kos_message *message)
{
    struct net_node *node = of_sink(sink);
    ck_assert_uint_lt(node->seen_count, NET_SEEN);
    struct net_seen *seen = &node->seen[node->seen_count++];
    *seen = (struct net_seen){ .handle = handle, .bytes = message->payload.len, .again = message->again };
    memcpy(seen->id, message->id, sizeof seen->id);
    memcpy(seen->reply_to, message->reply_to, sizeof seen->reply_to);
    memcpy(seen->source_id, message->source_id, sizeof seen->source_id);
    memcpy(seen->agent, message->agent, sizeof seen->agent);
    snprintf(seen->type, sizeof seen->type, "%s", message->type);
    if (node->keep_open)
        return;
    if (node->defers) {
        node->defers--;
        net_settle_handle(node, handle, KOS_DEFER, 0, 200);
    } else {
        net_settle_handle(node, handle, node->verdict, KOS_E_BUSY, 1000);
    }
}

static bool sink_outcome(struct kos_sink *sink, uint64_t handle, const char *owner, const struct kos_outcome *outcome)
{
    struct net_node *node = of_sink(sink);
    ck_assert_str_eq(owner, "tester");
    ck_assert_uint_lt(node->ended_count, NET_SEEN);
    struct net_ended *ended = &node->ended[node->ended_count++];
    ended->handle = handle;
    ended->status = outcome->status;
    memcpy(ended->id, outcome->id, sizeof ended->id);
    snprintf(ended->text, sizeof ended->text, "%s", outcome->text);
    if (!node->keep_open)
        net_settle_handle(node, handle, KOS_ACCEPT, 0, 0);
    return true;
}

/* Handlers of the tests forget all that they hold when they come back. */
static bool sink_holds(struct kos_sink *sink, uint64_t handle)
{
    (void)sink;
    (void)handle;
    return false;
}

static const struct kos_sink_ops sink_ops = { sink_takes, sink_message, sink_outcome, sink_holds };

/* Reads a number, adds one and puts it back, in the transaction that settles: more than 1 in the end means that a
 * message had its effect twice. */
static void count(struct net_node *node, struct kos_tx *tx, uint64_t handle)
{
    const char *space = handle & 1 ? "notes" : "effects";
    const uint8_t *id = NULL;
    uint8_t *value, one = 1;
    size_t len;
    for (uint32_t i = 0; !(handle & 1) && i < node->seen_count; i++)
        if (node->seen[i].handle == handle)
            id = node->seen[i].id;
    for (uint32_t i = 0; (handle & 1) && i < node->ended_count; i++)
        if (node->ended[i].handle == handle)
            id = node->ended[i].id;
    if (!id)
        return;
    if (kos_store_get(node->store, space, kos_bytes(id, KOS_ID_BYTES), &value, &len) >= 0) {
        one = (uint8_t)(value[0] + 1);
        free(value);
    }
    kos_tx_put(tx, space, kos_bytes(id, KOS_ID_BYTES), kos_bytes(&one, 1));
}

static uint64_t counted(struct net_node *node, const char *space, const uint8_t *id)
{
    uint8_t *value;
    size_t len;
    if (kos_store_get(node->store, space, kos_bytes(id, KOS_ID_BYTES), &value, &len) < 0)
        return 0;
    uint64_t times = value[0];
    free(value);
    return times;
}

uint64_t net_effects(struct net_node *node, const uint8_t *id)
{
    return counted(node, "effects", id);
}

uint64_t net_notes(struct net_node *node, const uint8_t *id)
{
    return counted(node, "notes", id);
}

int32_t net_settle_handle(struct net_node *node, uint64_t handle, int32_t verdict, int32_t error, uint64_t retry_ms)
{
    struct kos_mesh_tx *tx = kos_mesh_tx_begin(node->mesh);
    if (verdict != KOS_DEFER)
        count(node, kos_mesh_tx_store(tx), handle);
    kos_mesh_tx_settle(tx, handle, verdict, error, "because", retry_ms);
    return kos_mesh_tx_commit(tx, NULL, NULL, NULL);
}

/* ---- nodes ---- */

void net_init(struct net *net)
{
    memset(net, 0, sizeof *net);
    net->window = 256 << 10;
    net->seed = 88172645463325252;
}

static void show_agent(struct net_node *node)
{
    static const char *const skills[] = { "echo", NULL };
    struct kos_mesh_agent agent = {
        .id = node->agent, .name = node->agent_name, .skills = skills, .trust_required = node->agent_trust
    };
    kos_mesh_agents_set(node->mesh, &agent, node->agents);
}

struct klp_id net_agent(struct net_node *node, const char *name, double trust_required)
{
    struct kos_identity *identity;
    struct kos_error error = { 0 };
    ck_assert_msg(kos_keys_agent_new(node->keys, &identity, &error) == KOS_OK, "%s", error.text);
    node->agent = *kos_identity_id(identity);
    snprintf(node->agent_name, sizeof node->agent_name, "%s", name);
    node->agent_trust = trust_required;
    node->agents = 1;
    show_agent(node);
    net_settle(node->net);
    return node->agent;
}

static void open_node(struct net_node *node)
{
    struct kos_error error = { 0 };
    const char *roles[] = { "peer", NULL };
    struct kos_mesh_options options = { .limits = node->limits, .name = node->name, .roles = roles, .version = "test" };
    ck_assert_int_eq(kos_store_open(node->env, "/node/store", NULL, &node->store, &error), KOS_OK);
    ck_assert_int_eq(kos_keys_open(node->env, "/node/keys", kos_bytes(NULL, 0), &node->keys, &error), KOS_OK);
    ck_assert_int_eq(kos_policy_load(node->env, "/node/policy.d", &node->policy, &error), KOS_OK);
    ck_assert_int_eq(kos_trust_new(node->env, node->store, node->keys, node->policy, &node->trust, &error), KOS_OK);
    ck_assert_int_eq(kos_mesh_new(node->env, node->store, node->trust, &options, &node->mesh, &error), KOS_OK);
    node->id = *kos_identity_id(kos_keys_node(node->keys));
    show_agent(node);
}

void net_start(struct net_node *node)
{
    struct kos_error error = { 0 };
    open_node(node);
    node->up = true;
    kos_mesh_start(node->mesh, &node->carrier, &node->sink);
    ck_assert_int_eq(kos_mesh_listen(node->mesh, node->address, &error), KOS_OK);
    kos_mesh_endpoint_up(node->mesh, node->endpoint, node->address);
}

struct net_node *net_add(struct net *net, const char *name)
{
    struct net_node *node = &net->nodes[net->count++];
    struct kos_error error = { 0 };
    node->net = net;
    node->name = name;
    node->address = kos_format("mem://%s", name);
    node->carrier.ops = (node - net->nodes) & 1 ? &making_ops : &carrier_ops;
    node->sink.ops = &sink_ops;
    node->verdict = KOS_ACCEPT;
    node->manual = kos_manual_new(1000 + net->count);
    node->env = kos_manual_env(node->manual);
    ck_assert_int_eq(node->env->ops->dir_make(node->env, "/node", 0700), KOS_OK);
    ck_assert_int_eq(node->env->ops->dir_make(node->env, "/node/policy.d", 0700), KOS_OK);
    ck_assert_int_eq(node->env->ops->dir_sync(node->env, "/node"), KOS_OK);
    ck_assert_int_eq(node->env->ops->dir_sync(node->env, "/"), KOS_OK);
    ck_assert_msg(kos_keys_create(node->env, "/node/keys", KLP_ALG_ED25519, kos_bytes(NULL, 0), &error) == KOS_OK, "%s",
                  error.text);
    net_start(node);
    net_settle(net);
    return node;
}

static void drop_ends(struct net_node *node)
{
    struct net_end *end;
    DL_FOREACH(node->net->ends, end) {
        if (end->node != node)
            continue;
        struct net_end *other = end->other;
        end_die(end, "");
        if (other)
            end_die(other, "the other side is gone");
    }
}

static void close_node(struct net_node *node)
{
    node->up = node->listening = false;
    drop_ends(node);
    kos_mesh_free(node->mesh);
    kos_trust_free(node->trust);
    kos_policy_unref(node->policy);
    kos_store_close(node->store);
    kos_keys_close(node->keys);
    kos_manual_settle(node->manual);
}

static void stopped(void *arg)
{
    *(bool *)arg = true;
}

void net_stop(struct net_node *node)
{
    bool done = false;
    kos_mesh_stop(node->mesh, stopped, &done);
    net_run(node->net, 2500);
    ck_assert(done);
    close_node(node);
}

void net_crash(struct net_node *node)
{
    kos_manual_power_loss(node->manual);
    close_node(node);
}

void net_fini(struct net *net)
{
    for (uint32_t i = 0; i < net->count; i++) {
        struct net_node *node = &net->nodes[i];
        if (node->up)
            close_node(node);
        kos_manual_free(node->manual);
        free((char *)node->address);
    }
    pump(net);
}

bool net_turn(struct net *net)
{
    bool any = false;
    for (uint32_t i = 0; i < net->count; i++)
        any |= kos_manual_turn(net->nodes[i].manual);
    any |= pump(net);
    return any;
}

void net_settle(struct net *net)
{
    bool any = true;
    for (uint32_t turns = 0; any; turns++) {
        ck_assert_msg(turns < 2000000, "the network does not come to rest");
        any = net_turn(net);
        if (any && net->crash_node && ++net->turns == net->crash_turn) {
            if (net->crash_torn)
                kos_manual_power_loss_torn(net->crash_node->manual);
            net_crash(net->crash_node);
            any = true;
        }
    }
}

void net_run(struct net *net, uint64_t ms)
{
    net_settle(net);
    while (ms) {
        uint64_t step = ms < 50 ? ms : 50;
        for (uint32_t i = 0; i < net->count; i++)
            kos_manual_advance(net->nodes[i].manual, step);
        net->now_ms += step;
        net_settle(net);
        ms -= step;
        if (net->crash_node && !net->crash_node->up && net->crash_back_ms &&
            (net->crash_back_ms -= step < net->crash_back_ms ? step : net->crash_back_ms) == 0) {
            net_start(net->crash_node);
            net_settle(net);
        }
    }
}

void net_trust(struct net_node *node, const struct net_node *other, double score)
{
    struct kos_error error = { 0 };
    struct kos_tx *tx = kos_tx_begin(node->store);
    ck_assert_msg(kos_trust_set(node->trust, tx, &other->id, score, &error) == KOS_OK, "%s", error.text);
    ck_assert_int_eq(kos_tx_commit(tx, NULL, NULL), KOS_OK);
    kos_mesh_trust_changed(node->mesh);
    net_settle(node->net);
}

static void connected(void *arg, const struct kos_mesh_connected *result)
{
    struct net_node *node = arg;
    node->connected = result->status;
    node->connected_to = result->peer;
    snprintf(node->connected_text, sizeof node->connected_text, "%s", result->text);
}

int32_t net_connect(struct net_node *node, const struct net_node *other)
{
    return net_connect_expect(node, other, NULL);
}

void net_policy(struct net_node *node, const char *format, ...)
{
    struct kos_policy *policy;
    struct kos_error error = { 0 };
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ck_assert_int_eq(kos_file_write_all(node->env, "/node/policy.d/test.klp-policy", 0600, kos_bytes_str(text)),
                     KOS_OK);
    ck_assert_msg(kos_policy_load(node->env, "/node/policy.d", &policy, &error) == KOS_OK, "%s", error.text);
    kos_trust_set_policy(node->trust, policy);
    kos_policy_unref(node->policy);
    node->policy = policy;
    kos_mesh_trust_changed(node->mesh);
    net_settle(node->net);
}

/* As it lies in the store of a node that was connected once: dialled again and again. */
void net_connect_kept(struct net_node *node, const struct net_node *other)
{
    struct kos_buf value;
    static const uint8_t nobody[KLP_ID_LEN];
    kos_buf_init(&value, 256);
    pack_uint(&value, 1, 1);
    pack_uint(&value, 1, 1);
    pack_raw(&value, other->id.b, sizeof other->id.b);
    pack_uint(&value, 0, 1);
    pack_raw(&value, nobody, sizeof nobody);
    pack_uint(&value, 0, 1);
    struct kos_tx *tx = kos_tx_begin(node->store);
    kos_tx_put(tx, "peer", kos_bytes_str(other->address), kos_buf_bytes(&value));
    struct kos_error error = { 0 };
    struct klp_id id;
    uint8_t *text;
    size_t len;
    ck_assert_int_eq(klp_log_text(kos_identity_log(kos_keys_node(other->keys)), 0, &text, &len), KOS_OK);
    ck_assert_msg(kos_trust_learn(node->trust, tx, kos_bytes(text, len), &id, &error) >= 0, "%s", error.text);
    ck_assert_int_eq(kos_tx_commit(tx, NULL, NULL), KOS_OK);
    free(text);
    kos_buf_fini(&value);
    mesh_keeps_load(node->mesh);
    mesh_keeps_start(node->mesh);
}

int32_t net_connect_expect(struct net_node *node, const struct net_node *other, const struct klp_id *expect)
{
    struct kos_error error = { 0 };
    node->connected = 1;
    int32_t rc = kos_mesh_connect(node->mesh, other->address, expect, 5000, connected, node, &error);
    if (rc < 0)
        return rc;
    net_run(node->net, 100);
    return node->connected;
}

int32_t net_send_draft(struct net_node *node, struct kos_draft *draft)
{
    struct kos_mesh_tx *tx = kos_mesh_tx_begin(node->mesh);
    static const uint8_t none[KOS_ID_BYTES];
    draft->size = sizeof *draft;
    if (!draft->klass)
        draft->klass = KLP_CLASS_INTERACTIVE;
    if (!draft->expires_in_ms)
        draft->expires_in_ms = 3600000;
    if (!draft->payload.data)
        draft->payload = kos_bytes_str("{}");
    if (memcmp(draft->id, none, sizeof none) == 0)
        kos_random(node->env, draft->id, sizeof draft->id);
    kos_mesh_tx_send(tx, "tester", draft);
    return kos_mesh_tx_commit(tx, NULL, NULL, NULL);
}

int32_t net_send(struct net_node *node, const struct net_node *other, const char *type, size_t bytes, int32_t klass,
                 uint8_t *ret_id)
{
    struct kos_draft draft = { .type = type, .klass = klass, .target = "" };
    char *filler = kos_new(bytes + 1);
    memset(filler, 'x', bytes);
    char *payload = kos_format("{\"fill\":\"%s\"}", filler);
    draft.payload = kos_bytes_str(payload);
    memcpy(draft.target_id, other->id.b, sizeof draft.target_id);
    int32_t rc = net_send_draft(node, &draft);
    if (ret_id)
        memcpy(ret_id, draft.id, sizeof draft.id);
    free(filler);
    free(payload);
    return rc;
}

struct mesh_session *net_session(struct net_node *node, const struct net_node *other)
{
    struct mesh_peer *peer = mesh_peer_find(node->mesh, &other->id);
    return peer ? mesh_peer_session(peer) : NULL;
}

uint64_t net_refused(const struct net_node *node, int32_t code)
{
    return node->mesh->counters.refused[-code];
}
