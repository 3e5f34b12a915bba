/* SPDX-License-Identifier: Apache-2.0
 * org.kos.nats on kosd's control socket: what flows, and why it does not. */
#include "nats.h"

#include <stdlib.h>

enum { STATUS_MAX = 96 << 10 };

static const char description[] =
    "# The bridge to NATS (kos-nats(7))\n"
    "interface org.kos.nats\n\n"
    "# What comes in: state idle, asked or ready; held: taken from the stream and not decided; floor: everything of the\n"
    "# stream up to there is decided; trouble: why nothing comes, or null\n"
    "type Map (subject: string, stream: string, type: string, target: string, state: string, held: int, floor: int, trouble: ?string)\n\n"
    "# connects: connections made so far; in_flight: sent and not acknowledged; waiting: taken from kosd and not sent;\n"
    "# doubled: a stream had it already; repeated: kosd had it already; own: came from this node; refused: by a stream or\n"
    "# by kosd, for good; terminated: never handed out again; retried: refused for now; dropped: more than was asked for\n"
    "type Counters (delivered: int, doubled: int, injected: int, repeated: int, own: int, refused: int, terminated: int, retried: int, dropped: int)\n\n"
    "# error, text and at are of the last thing that went wrong\n"
    "method Status() -> (connected: bool, server: ?string, connects: int, origin: string, in_flight: int, waiting: int, counters: Counters, error: ?string, text: ?string, at: ?int, maps: []Map)\n\n"
    "error Failed (error: string, text: string, retry: bool)\n";

static void put_number(struct klp_json_out *out, const char *name, uint64_t number)
{
    klp_json_name(out, name);
    klp_json_put_int(out, number < (uint64_t)KLP_JSON_INT_MAX ? (int64_t)number : KLP_JSON_INT_MAX);
}

/* Text from elsewhere may be no UTF-8: it is shown all the same. */
static void put_text(struct klp_json_out *out, const char *name, const char *text)
{
    char clean[NATS_TEXT_MAX + 64];
    size_t n = 0;
    for (; n < sizeof clean - 1 && text[n]; n++)
        clean[n] = (unsigned char)text[n] < 0x80 ? text[n] : '?';
    klp_json_name(out, name);
    klp_json_put_string(out, kos_bytes(clean, n));
}

static void put_counters(struct klp_json_out *out, struct nats *nats)
{
    const struct nats_counters *c = &nats->count;
    klp_json_name(out, "counters");
    klp_json_object(out);
    put_number(out, "delivered", c->delivered);
    put_number(out, "doubled", c->doubled);
    put_number(out, "dropped", nats->link_running ? link_dropped(&nats->link) : 0);
    put_number(out, "injected", c->injected);
    put_number(out, "own", c->own);
    put_number(out, "refused", c->refused);
    put_number(out, "repeated", c->repeated);
    put_number(out, "retried", c->retried);
    put_number(out, "terminated", c->terminated);
    klp_json_close(out, '}');
}

static void put_map(struct klp_json_out *out, const struct nats_inward *in)
{
    static const char *const states[] = { "idle", "asked", "ready" };
    klp_json_object(out);
    put_number(out, "floor", nats_lanes_floor(&in->lanes, NULL));
    put_number(out, "held", in->lanes.held);
    put_text(out, "state", states[in->state]);
    put_text(out, "stream", in->stream[0] ? in->stream : in->map->stream);
    put_text(out, "subject", in->map->subject);
    put_text(out, "target", in->map->target);
    if (in->trouble[0])
        put_text(out, "trouble", in->trouble);
    put_text(out, "type", in->map->type);
    klp_json_close(out, '}');
}

static void call(void *self, uint64_t id, const char *method, struct kos_bytes parameters, uint32_t flags)
{
    struct nats *nats = self;
    struct klp_json_out out;
    struct kos_bytes text;
    uint8_t *data = malloc(STATUS_MAX);
    (void)parameters;
    (void)flags;
    if (strcmp(method, "Status") != 0 || !data) {
        free(data);
        nats->control->reply(nats->host, id, data ? KOS_E_UNSUPPORTED : KOS_E_NOMEM, kos_bytes(NULL, 0),
                             data ? "org.kos.nats has the method Status only" : "there is no memory for an answer", 0);
        return;
    }
    klp_json_begin(&out, data, STATUS_MAX);
    klp_json_object(&out);
    if (nats->error < 0)
        put_number(&out, "at", (uint64_t)nats->error_at_ms);
    klp_json_name(&out, "connected");
    klp_json_put_bool(&out, nats->epoch != 0);
    put_number(&out, "connects", nats->count.connects);
    put_counters(&out, nats);
    if (nats->error < 0)
        put_text(&out, "error", kos_error_name(nats->error));
    put_number(&out, "in_flight", nats->sent_count);
    klp_json_name(&out, "maps");
    klp_json_array(&out);
    for (size_t i = 0; i < nats->settings.map_count; i++)
        put_map(&out, &nats->inward[i]);
    klp_json_close(&out, ']');
    put_text(&out, "origin", nats->origin);
    if (nats->epoch)
        put_text(&out, "server", nats->server);
    if (nats->error < 0)
        put_text(&out, "text", nats->error_text);
    put_number(&out, "waiting", nats->delivery_count - nats->sent_count);
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &text) < 0)
        nats->control->reply(nats->host, id, KOS_E_INTERNAL, kos_bytes(NULL, 0), "the status is no JSON", 0);
    else
        nats->control->reply(nats->host, id, KOS_OK, text, NULL, 0);
    free(data);
}

static void hangup(void *self, uint64_t id)
{
    (void)self;
    (void)id;
}

const struct kos_control nats_control = {
    .size = sizeof nats_control,
    .interface_name = "org.kos.nats",
    .description = description,
    .call = call,
    .hangup = hangup,
};
