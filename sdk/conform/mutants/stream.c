/* SPDX-License-Identifier: Apache-2.0
 * Mutants of a user of streams. */
#define ORIGINAL "../../examples/stream_mirror.c"
#include "mutant.h"

static struct kos_stream_user user;
static struct kos_stream table;
static const struct kos_stream *real;

static void late_close(const struct kos_host *host, uint64_t id)
{
    real->close(host, id);
    if (is("closed"))
        real->send(host, id, kos_bytes_str("x"));
}

static const void *layer_feature(const struct kos_host *host, const char *name)
{
    const void *given = of_host(host)->real->feature(of_host(host)->real, name);
    if (!given || strcmp(name, KOS_STREAM) != 0)
        return given;
    real = given;
    table = *real;
    table.close = late_close;
    return &table;
}

static void greedy_up(void *self, uint64_t id, const uint8_t peer[KOS_ID_BYTES], const char *name)
{
    struct layer *layer = of_self(self);
    stream.up(self, id, peer, name);
    if (is("credit"))
        real->send(&layer->host, id, kos_bytes_str("hello"));
    if (is("odd"))
        real->open(&layer->host, id + 2, peer, "MIRROR");
}

static void mutate(void)
{
    static const struct kos_feature layered = { sizeof layered, KOS_STREAM_USER, &user };
    static const struct kos_feature *const all[] = { &layered, NULL };
    user = stream;
    user.up = greedy_up;
    mutant.features = all;
}

static void mutate_host(struct layer *layer)
{
    layer->host.feature = layer_feature;
}
