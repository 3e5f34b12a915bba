/* SPDX-License-Identifier: Apache-2.0
 * Calls as bytes, written and read. */
#include "driver/frame.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALIGN = 8, ROOM_MIN = 112 };

static size_t padded(size_t len)
{
    return (len + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

struct kos_frame *kos_frame_blank(size_t size)
{
    struct kos_frame *frame = malloc(offsetof(struct kos_frame, head) + size);
    if (!frame)
        return NULL;
    frame->next = NULL;
    frame->room = size - sizeof frame->head;
    frame->fd = -1;
    return frame;
}

struct kos_frame *kos_frame_new(uint16_t kind, uint64_t id, size_t room)
{
    struct kos_frame *frame = kos_frame_blank(sizeof frame->head + padded(room + ROOM_MIN));
    if (!frame)
        abort();
    frame->head = (struct kos_frame_head){ .size = sizeof frame->head, .kind = kind, .id = id };
    return frame;
}

void kos_frame_free(struct kos_frame *frame)
{
    if (!frame)
        return;
    if (frame->fd >= 0)
        close(frame->fd);
    if (frame->head.flags & KOS_FRAME_SECRET)
        explicit_bzero(frame->body, frame->room);
    free(frame);
}

/* Room for `len` more bytes of the body, padded with zeros. */
static uint8_t *extend(struct kos_frame **frame, size_t len)
{
    size_t used = (*frame)->head.size - sizeof (*frame)->head, need = padded(len);
    if (need < len || need > KOS_FRAME_MAX - (*frame)->head.size)
        abort(); /* every caller bounds what it carries far below this */
    if ((*frame)->room - used < need) {
        size_t room = 2 * (used + need);
        if ((*frame)->head.flags & KOS_FRAME_SECRET)
            abort(); /* moving it would leave a copy behind */
        *frame = realloc(*frame, sizeof **frame + room);
        if (!*frame)
            abort();
        (*frame)->room = room;
    }
    uint8_t *at = (*frame)->body + used;
    if (need > 0)
        memset(at + need - ALIGN, 0, ALIGN);
    (*frame)->head.size += (uint32_t)need;
    return at;
}

void kos_put_u64(struct kos_frame **frame, uint64_t value)
{
    memcpy(extend(frame, sizeof value), &value, sizeof value);
}

void kos_put_i64(struct kos_frame **frame, int64_t value)
{
    memcpy(extend(frame, sizeof value), &value, sizeof value);
}

void kos_put_double(struct kos_frame **frame, double value)
{
    memcpy(extend(frame, sizeof value), &value, sizeof value);
}

void kos_put_struct(struct kos_frame **frame, const void *value, size_t size)
{
    memcpy(extend(frame, size), value, size);
}

void kos_put_bytes(struct kos_frame **frame, struct kos_bytes bytes)
{
    kos_put_pieces(frame, &bytes, 1);
}

void kos_put_pieces(struct kos_frame **frame, const struct kos_bytes *pieces, uint32_t count)
{
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++)
        len += pieces[i].len;
    kos_put_u64(frame, len);
    uint8_t *at = extend(frame, len);
    for (uint32_t i = 0; i < count; at += pieces[i++].len)
        if (pieces[i].len > 0)
            memcpy(at, pieces[i].data, pieces[i].len);
}

uint8_t *kos_run_begin(struct kos_frame *frame)
{
    return frame->body + sizeof(uint64_t);
}

void kos_run_end(struct kos_frame *frame, size_t len)
{
    uint64_t count = len;
    size_t size = sizeof count + padded(len);
    if (size < len || size > frame->room || size > KOS_FRAME_MAX - sizeof frame->head)
        abort(); /* more than there was room for */
    memcpy(frame->body, &count, sizeof count);
    memset(frame->body + sizeof count + len, 0, size - sizeof count - len);
    frame->head.size = (uint32_t)(sizeof frame->head + size);
}

/* A text carries its NUL; nothing at all stands for NULL. */
void kos_put_text(struct kos_frame **frame, const char *text)
{
    kos_put_bytes(frame, kos_bytes(text, text ? strlen(text) + 1 : 0));
}

void kos_put_texts(struct kos_frame **frame, const char *const *texts)
{
    uint64_t count = 0;
    while (texts && texts[count])
        count++;
    kos_put_u64(frame, texts ? count : UINT64_MAX);
    for (uint64_t i = 0; i < count; i++)
        kos_put_text(frame, texts[i]);
}

/* ---- reading ---- */

struct kos_frame_reader kos_frame_read(const struct kos_frame *frame)
{
    return (struct kos_frame_reader){ frame->body, frame->body + frame->head.size - sizeof frame->head, false };
}

static const uint8_t *take(struct kos_frame_reader *reader, size_t len)
{
    const uint8_t *at = reader->at;
    size_t need = padded(len);
    if (reader->bad || need < len || (size_t)(reader->end - at) < need) {
        reader->bad = true;
        return NULL;
    }
    reader->at += need;
    return at;
}

static void take_value(struct kos_frame_reader *reader, void *value, size_t size)
{
    const uint8_t *at = take(reader, size);
    if (at)
        memcpy(value, at, size);
    else
        memset(value, 0, size);
}

uint64_t kos_get_u64(struct kos_frame_reader *reader)
{
    uint64_t value;
    take_value(reader, &value, sizeof value);
    return value;
}

int64_t kos_get_i64(struct kos_frame_reader *reader)
{
    int64_t value;
    take_value(reader, &value, sizeof value);
    return value;
}

double kos_get_double(struct kos_frame_reader *reader)
{
    double value;
    take_value(reader, &value, sizeof value);
    return value;
}

void kos_get_struct(struct kos_frame_reader *reader, void *value, size_t size)
{
    uint32_t given;
    take_value(reader, value, size);
    memcpy(&given, value, sizeof given);
    reader->bad = reader->bad || given != size;
}

struct kos_bytes kos_get_bytes(struct kos_frame_reader *reader)
{
    uint64_t len = kos_get_u64(reader);
    const uint8_t *at = len > 0 ? take(reader, (size_t)len) : NULL;
    return at ? kos_bytes(at, (size_t)len) : kos_bytes(NULL, 0);
}

const char *kos_get_text(struct kos_frame_reader *reader)
{
    struct kos_bytes bytes = kos_get_bytes(reader);
    if (bytes.len > 0 && memchr(bytes.data, 0, bytes.len) != bytes.data + bytes.len - 1)
        reader->bad = true;
    return bytes.len > 0 && !reader->bad ? (const char *)bytes.data : NULL;
}

const char *const *kos_get_texts(struct kos_frame_reader *reader, const char **texts, size_t max)
{
    uint64_t count = kos_get_u64(reader);
    if (count == UINT64_MAX || reader->bad)
        return NULL;
    if (count > max) {
        reader->bad = true;
        return NULL;
    }
    for (uint64_t i = 0; i < count; i++) {
        texts[i] = kos_get_text(reader);
        reader->bad = reader->bad || !texts[i];
    }
    texts[count] = NULL;
    return texts;
}

bool kos_frame_done(const struct kos_frame_reader *reader)
{
    return !reader->bad && reader->at == reader->end;
}
