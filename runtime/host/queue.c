/* SPDX-License-Identifier: Apache-2.0
 * Calls on their way down to a plugin of this process. Each is one allocation with all it carries. */
#include <klp/crypto.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/local.h"

struct kos_local_call *kos_local_call_new(enum kos_down kind, uint64_t id, size_t room)
{
    struct kos_local_call *call = malloc(sizeof *call + room);
    if (!call)
        abort();
    memset(call, 0, sizeof *call);
    call->kind = kind;
    call->id = id;
    call->fd = -1;
    call->size = room;
    return call;
}

struct kos_bytes kos_local_keep(struct kos_local_call *call, struct kos_bytes bytes)
{
    uint8_t *at = call->store + call->used;
    if (bytes.len == 0)
        return kos_bytes(NULL, 0);
    if (bytes.len > call->size - call->used)
        abort();
    memcpy(at, bytes.data, bytes.len);
    call->used += bytes.len;
    return kos_bytes(at, bytes.len);
}

size_t kos_local_text_room(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

const char *kos_local_keep_text(struct kos_local_call *call, const char *text)
{
    return text ? (const char *)kos_local_keep(call, kos_bytes(text, strlen(text) + 1)).data : NULL;
}

size_t kos_local_message_room(const struct kos_message *m)
{
    return kos_local_text_room(m->type) + kos_local_text_room(m->source) + kos_local_text_room(m->target) +
        kos_local_text_room(m->trace) + kos_local_text_room(m->source_name) + m->payload.len;
}

void kos_local_keep_message(struct kos_local_call *call, const struct kos_message *m)
{
    struct kos_message *to = &call->u.message;
    KOS_SIZED(to, m);
    to->type = kos_local_keep_text(call, to->type);
    to->source = kos_local_keep_text(call, to->source);
    to->target = kos_local_keep_text(call, to->target);
    to->trace = kos_local_keep_text(call, to->trace);
    to->source_name = kos_local_keep_text(call, to->source_name);
    to->payload = kos_local_keep(call, to->payload);
}

void kos_local_call_free(struct kos_local_call *call)
{
    if (call->fd >= 0)
        close(call->fd);
    if (call->secret)
        klp_wipe(call->store, call->used);
    free(call);
}
