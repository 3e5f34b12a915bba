/* SPDX-License-Identifier: Apache-2.0
 * A plugin that accepts streams of the name MIRROR and sends back what comes. It gives credit for as much as it has room
 * to keep until the other side takes it again, so a slow reader slows nobody but itself. */
#include <stdlib.h>
#include <kos/plugin.h>
#include <kos/stream.h>

enum { ROOM = 65536 };

struct mirror {
    const struct kos_host *host;
    const struct kos_stream *streams;
    struct image *images;
};

struct image {
    struct image *next;
    uint64_t id, credit;
    size_t at, len;     /* of what is kept, in a ring */
    bool ended, closed;
    uint8_t kept[ROOM];
};

static struct image *find(struct mirror *m, uint64_t id)
{
    struct image *i = m->images;
    while (i && i->id != id)
        i = i->next;
    return i;
}

static void reflect(struct mirror *m, struct image *i)
{
    size_t sent = 0;
    while (i->len > 0 && i->credit > 0) {
        size_t n = i->len < i->credit ? i->len : (size_t)i->credit;
        n = n < ROOM - i->at ? n : ROOM - i->at;
        m->streams->send(m->host, i->id, kos_bytes(i->kept + i->at, n));
        i->credit -= n;
        i->at = (i->at + n) % ROOM;
        i->len -= n;
        sent += n;
    }
    if (sent > 0 && !i->ended)
        m->streams->credit(m->host, i->id, sent);
    if (i->ended && i->len == 0 && !i->closed) {
        i->closed = true;
        m->streams->close(m->host, i->id);
    }
}

static void up(void *self, uint64_t id, const uint8_t peer[KOS_ID_BYTES], const char *name)
{
    struct mirror *m = self;
    struct image *i = calloc(1, sizeof *i);
    (void)peer;
    (void)name;
    if (!i) {
        m->streams->abort(m->host, id, KOS_E_NOMEM, "there is no memory for another mirror");
        return;
    }
    i->id = id;
    i->next = m->images;
    m->images = i;
    m->streams->credit(m->host, id, ROOM);
}

static void received(void *self, uint64_t id, struct kos_bytes bytes)
{
    struct image *i = find(self, id);
    for (size_t done = 0; i && done < bytes.len;) {
        size_t end = (i->at + i->len) % ROOM, n = bytes.len - done < ROOM - end ? bytes.len - done : ROOM - end;
        memcpy(i->kept + end, bytes.data + done, n);
        i->len += n;
        done += n;
    }
    if (i)
        reflect(self, i);
}

static void credit(void *self, uint64_t id, uint64_t bytes)
{
    struct image *i = find(self, id);
    if (!i)
        return;
    i->credit += bytes;
    reflect(self, i);
}

static void ended(void *self, uint64_t id)
{
    struct image *i = find(self, id);
    if (!i)
        return;
    i->ended = true;
    reflect(self, i);
}

static void down(void *self, uint64_t id, int32_t status, const char *text)
{
    struct mirror *m = self;
    (void)status;
    (void)text;
    for (struct image **at = &m->images; *at; at = &(*at)->next)
        if ((*at)->id == id) {
            struct image *gone = *at;
            *at = gone->next;
            free(gone);
            return;
        }
}

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    struct mirror *m = calloc(1, sizeof *m);
    (void)conf;
    if (!m)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory");
    m->host = host;
    m->streams = host->feature(host, KOS_STREAM);
    if (!m->streams) {
        free(m);
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "this host gives no streams");
    }
    *ret_self = m;
    return KOS_OK;
}

static void start(void *self)
{
    (void)self;
}

/* What is open is the host's to end once this has said stopped. */
static void stop(void *self)
{
    struct mirror *m = self;
    m->host->stopped(m->host);
}

static void fini(void *self)
{
    struct mirror *m = self;
    while (m->images) {
        struct image *i = m->images;
        m->images = i->next;
        free(i);
    }
    free(m);
}

static const char *const names[] = { "MIRROR", NULL };
static const struct kos_stream_user stream = {
    .size = sizeof stream, .up = up, .received = received, .credit = credit, .down = down, .ended = ended, .names = names,
};
static const struct kos_feature feature = { sizeof feature, KOS_STREAM_USER, &stream };
static const struct kos_feature *const features[] = { &feature, NULL };
static const struct kos_right right = { sizeof right, "stream", "to send back what peers send" };
static const struct kos_right *const rights[] = { &right, NULL };

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.example.mirror",
    .name = "mirror",
    .version = "1.0",
    .summary = "Sends back what comes on a stream",
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = fini,
};
