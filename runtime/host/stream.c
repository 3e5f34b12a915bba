/* SPDX-License-Identifier: Apache-2.0
 * kos.stream/1: plugins' byte streams on the mesh's. Here it is known whose a stream is and that nobody sends beyond its
 * credit, and here is the bound on what peers may have on their way to one plugin, whatever it offers them: what is
 * above it is given to the mesh later, as bytes come. */
#include <inttypes.h>
#include <stdlib.h>

#include "host/services.h"

/* Of the bytes that peers may have on their way to a plugin: those that each stream has for itself, so that idle ones
 * starve nobody, and those that all share. Together half of what a cell's queue holds. */
enum { OWN_BYTES = 16 << 10, SHARED_BYTES = 32 << 20 };

struct kos_host_stream {
    struct kos_hosted *hosted;
    uint64_t mesh_id, plugin_id;
    uint64_t credit_out;              /* what the plugin may send */
    uint64_t owed, given;             /* offered by the plugin: not passed on yet; passed on and not used */
    bool closed;                      /* by the plugin */
    UT_hash_handle by_mesh, by_plugin;
};

static struct kos_host_stream *by_plugin(struct kos_hosted *hosted, uint64_t id)
{
    struct kos_host_stream *stream;
    HASH_FIND(by_plugin, hosted->streams, &id, sizeof id, stream);
    return stream;
}

static struct kos_host_stream *by_mesh(struct kos_streams *streams, uint64_t id)
{
    struct kos_hosting *hosting = ((struct kos_host_streams *)streams)->hosting;
    struct kos_host_stream *stream;
    HASH_FIND(by_mesh, hosting->mesh_streams, &id, sizeof id, stream);
    return stream;
}

static void stream_new(struct kos_hosted *hosted, uint64_t mesh_id, uint64_t plugin_id)
{
    struct kos_host_stream *stream = kos_new(sizeof *stream);
    stream->hosted = hosted;
    stream->mesh_id = mesh_id;
    stream->plugin_id = plugin_id;
    HASH_ADD(by_mesh, hosted->hosting->mesh_streams, mesh_id, sizeof stream->mesh_id, stream);
    HASH_ADD(by_plugin, hosted->streams, plugin_id, sizeof stream->plugin_id, stream);
}

static uint64_t shared(const struct kos_host_stream *stream)
{
    return stream->given > OWN_BYTES ? stream->given - OWN_BYTES : 0;
}

static void stream_free(struct kos_host_stream *stream)
{
    struct kos_hosted *hosted = stream->hosted;
    hosted->stream_bytes -= shared(stream);
    HASH_DELETE(by_mesh, hosted->hosting->mesh_streams, stream);
    HASH_DELETE(by_plugin, hosted->streams, stream);
    free(stream);
}

/* ---- from the plugin ---- */

static void refuse(struct kos_hosted *hosted, uint64_t id, int32_t status, const char *text)
{
    hosted->backend->ops->stream_down(hosted->backend, id, status, text);
}

void kos_service_stream_open(struct kos_services *services, uint64_t id, const uint8_t peer[KOS_ID_BYTES],
                             const char *name)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_error error = { 0 };
    struct klp_id to;
    if (id == 0 || id & 1 || by_plugin(hosted, id)) {
        kos_hosted_broke(hosted, "opened stream %" PRIu64 ", which %s", id,
                         id == 0 || id & 1 ? "must be even" : "is open already");
        return;
    }
    if (!kos_hosted_may(hosted, KOS_RIGHT_STREAM)) {
        refuse(hosted, id, KOS_E_DENIED, "the plugin has not asked for the right \"stream\"");
        return;
    }
    if (kos_streams_count(hosted) >= KOS_STREAMS_MAX) {
        refuse(hosted, id, KOS_E_LIMIT, "a plugin has at most 1024 streams open");
        return;
    }
    memcpy(to.b, peer, sizeof to.b);
    uint64_t mesh_id = kos_mesh_stream_open(hosted->hosting->mesh, &to, name, &error);
    if (mesh_id)
        stream_new(hosted, mesh_id, id);
    else
        refuse(hosted, id, error.code, error.text);
}

void kos_service_stream_send(struct kos_services *services, uint64_t id, struct kos_bytes bytes)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_stream *stream = by_plugin(hosted, id);
    if (!stream)
        return;
    if (stream->closed || bytes.len > stream->credit_out) {
        if (stream->closed)
            kos_hosted_broke(hosted, "sent on stream %" PRIu64 " after it had closed it", id);
        else
            kos_hosted_broke(hosted, "sent %zu bytes on a stream with a credit of %" PRIu64, bytes.len,
                             stream->credit_out);
        kos_mesh_stream_abort(hosted->hosting->mesh, stream->mesh_id, KOS_E_PLUGIN,
                              "the plugin on the other side broke the rules");
        return;
    }
    stream->credit_out -= bytes.len;
    (void)kos_mesh_stream_send(hosted->hosting->mesh, stream->mesh_id, bytes);
}

static void pass_on(struct kos_host_stream *stream)
{
    struct kos_hosted *hosted = stream->hosted;
    uint64_t own = stream->given < OWN_BYTES ? OWN_BYTES - stream->given : 0;
    uint64_t room = own + SHARED_BYTES - hosted->stream_bytes, more = stream->owed < room ? stream->owed : room;
    hosted->stream_bytes -= shared(stream);
    stream->owed -= more;
    stream->given += more;
    hosted->stream_bytes += shared(stream);
    hosted->streams_owed = hosted->streams_owed || stream->owed > 0;
    if (more > 0)
        kos_mesh_stream_credit(hosted->hosting->mesh, stream->mesh_id, more);
}

static void pass_on_all(struct kos_hosted *hosted)
{
    struct kos_host_stream *stream, *next;
    hosted->streams_owed = false;
    HASH_ITER(by_plugin, hosted->streams, stream, next)
        if (stream->owed)
            pass_on(stream);
}

void kos_service_stream_credit(struct kos_services *services, uint64_t id, uint64_t bytes)
{
    struct kos_host_stream *stream = by_plugin(kos_hosted_of(services), id);
    if (!stream)
        return;
    uint64_t room = KOS_STREAM_WINDOW_MAX - stream->given - stream->owed;
    stream->owed += bytes < room ? bytes : room;
    pass_on(stream);
}

void kos_service_stream_close(struct kos_services *services, uint64_t id)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_stream *stream = by_plugin(hosted, id);
    if (!stream || stream->closed)
        return;
    stream->closed = true;
    kos_mesh_stream_close(hosted->hosting->mesh, stream->mesh_id);
}

void kos_service_stream_abort(struct kos_services *services, uint64_t id, int32_t status, const char *text)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_stream *stream = by_plugin(hosted, id);
    if (stream)
        kos_mesh_stream_abort(hosted->hosting->mesh, stream->mesh_id, status, text);
}

/* ---- from the mesh ---- */

static int32_t asked(struct kos_streams *streams, uint64_t id, const struct klp_id *peer, const char *name,
                     char ret_text[256])
{
    struct kos_hosting *hosting = ((struct kos_host_streams *)streams)->hosting;
    struct kos_hosted *hosted = kos_wiring_for_stream(hosting, name);
    (void)peer;
    if (!hosted || !(hosted->rights & KOS_RIGHT_STREAM)) {
        snprintf(ret_text, 256, "no plugin of this node takes streams of the name %s", name);
        return KOS_E_UNHANDLED;
    }
    if (hosted->state != KOS_HOSTED_RUNNING) {
        snprintf(ret_text, 256, "the plugin that takes streams of the name %s is not running at the moment", name);
        return KOS_E_BUSY;
    }
    if (kos_streams_count(hosted) >= KOS_STREAMS_MAX) {
        snprintf(ret_text, 256, "the plugin that takes streams of the name %s has %d open", name, KOS_STREAMS_MAX);
        return KOS_E_LIMIT;
    }
    do
        hosted->next_stream += hosted->next_stream ? 2 : 1;
    while (by_plugin(hosted, hosted->next_stream));
    stream_new(hosted, id, hosted->next_stream);
    return KOS_OK;
}

static void up(struct kos_streams *streams, uint64_t id, const struct klp_id *peer, const char *name)
{
    struct kos_host_stream *stream = by_mesh(streams, id);
    if (stream)
        stream->hosted->backend->ops->stream_up(stream->hosted->backend, stream->plugin_id, peer->b, name);
}

static void received(struct kos_streams *streams, uint64_t id, struct kos_bytes bytes)
{
    struct kos_host_stream *stream = by_mesh(streams, id);
    if (!stream)
        return;
    struct kos_hosted *hosted = stream->hosted;
    hosted->stream_bytes -= shared(stream);
    stream->given -= bytes.len;
    hosted->stream_bytes += shared(stream);
    hosted->backend->ops->stream_received(hosted->backend, stream->plugin_id, bytes);
    if (hosted->streams_owed)
        pass_on_all(hosted);
}

static void credit(struct kos_streams *streams, uint64_t id, uint64_t bytes)
{
    struct kos_host_stream *stream = by_mesh(streams, id);
    if (!stream)
        return;
    stream->credit_out += bytes;
    stream->hosted->backend->ops->stream_credit(stream->hosted->backend, stream->plugin_id, bytes);
}

static void ended(struct kos_streams *streams, uint64_t id)
{
    struct kos_host_stream *stream = by_mesh(streams, id);
    if (stream)
        stream->hosted->backend->ops->stream_ended(stream->hosted->backend, stream->plugin_id);
}

static void down(struct kos_streams *streams, uint64_t id, int32_t status, const char *text)
{
    struct kos_host_stream *stream = by_mesh(streams, id);
    if (!stream)
        return;
    struct kos_hosted *hosted = stream->hosted;
    uint64_t plugin_id = stream->plugin_id;
    stream_free(stream);
    if (hosted->streams_owed)
        pass_on_all(hosted);
    if (hosted->state == KOS_HOSTED_RUNNING || hosted->state == KOS_HOSTED_STOPPING)
        hosted->backend->ops->stream_down(hosted->backend, plugin_id, status, text);
}

const struct kos_streams_ops kos_host_streams_ops = { asked, up, received, credit, ended, down };

/* ---- comings and goings ---- */

void kos_streams_drop(struct kos_hosted *hosted)
{
    struct kos_host_stream *stream, *next;
    HASH_ITER(by_plugin, hosted->streams, stream, next) {
        uint64_t id = stream->mesh_id;
        stream_free(stream);
        kos_mesh_stream_abort(hosted->hosting->mesh, id, KOS_E_INTERRUPTED, "the plugin on the other side ended");
    }
}

size_t kos_streams_count(const struct kos_hosted *hosted)
{
    return HASH_CNT(by_plugin, hosted->streams);
}
