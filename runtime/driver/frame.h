/* SPDX-License-Identifier: Apache-2.0
 *
 * A call as bytes: what waits in a plugin's queue and what travels between kosd and a cell, one form for both. Native
 * byte order, since both ends are one machine; every field begins at a multiple of 8, so that arrays of floats can be
 * used where they lie. A reader is bounded: what does not fit makes it `bad`, and gives zeros and nothing.
 */
#ifndef KOS_DRIVER_FRAME_H
#define KOS_DRIVER_FRAME_H

#include <kos/bytes.h>
#include <kos/err.h>

enum {
    KOS_FRAME_SECRET = 1,            /* wiped when freed */
    KOS_FRAME_FD = 2,                /* a descriptor travels along (channel.h sets and clears it) */
    KOS_FRAME_MAX = 64 << 20,        /* head and body: an upsert of many vectors is the largest */
};

struct kos_frame_head {
    uint32_t size;                   /* of head and body, a multiple of 8 */
    uint16_t kind, flags;
    uint64_t id;
};
struct kos_frame {
    struct kos_frame *next;
    size_t room;                     /* of the body */
    int fd;                          /* travels along, owned; -1: none */
    struct kos_frame_head head;      /* head and body lie behind one another */
    uint8_t body[];
};

/* `room`: what the body will about need; it grows beyond, but for a secret. Aborts when there is no memory. */
struct kos_frame *kos_frame_new(uint16_t kind, uint64_t id, size_t room);
void kos_frame_free(struct kos_frame *frame);       /* closes fd; NULL is fine */
/* A frame of `size` bytes (head included) to be filled by who reads a socket; NULL without memory. */
struct kos_frame *kos_frame_blank(size_t size);

void kos_put_u64(struct kos_frame **frame, uint64_t value);
void kos_put_i64(struct kos_frame **frame, int64_t value);
void kos_put_double(struct kos_frame **frame, double value);
void kos_put_bytes(struct kos_frame **frame, struct kos_bytes bytes);
void kos_put_text(struct kos_frame **frame, const char *text);                  /* NULL stays NULL */
void kos_put_texts(struct kos_frame **frame, const char *const *texts);         /* NULL-terminated; NULL stays NULL */
/* A struct of the SDK as it is; its pointers mean nothing on the other side and are put again, one by one. */
void kos_put_struct(struct kos_frame **frame, const void *value, size_t size);
/* Bytes in several pieces, read as one run. */
void kos_put_pieces(struct kos_frame **frame, const struct kos_bytes *pieces, uint32_t count);
/* One run of bytes, written in place into a frame that has nothing else: where up to `room` of kos_frame_new go, and how
 * many there are in the end. It is read as kos_put_bytes() would have it. */
uint8_t *kos_run_begin(struct kos_frame *frame);
void kos_run_end(struct kos_frame *frame, size_t len);

struct kos_frame_reader {
    const uint8_t *at, *end;
    bool bad;
};
struct kos_frame_reader kos_frame_read(const struct kos_frame *frame);
uint64_t kos_get_u64(struct kos_frame_reader *reader);
int64_t kos_get_i64(struct kos_frame_reader *reader);
double kos_get_double(struct kos_frame_reader *reader);
struct kos_bytes kos_get_bytes(struct kos_frame_reader *reader);
const char *kos_get_text(struct kos_frame_reader *reader);
/* At most `max` of them into `texts`, which has room for one more, the NULL. Returns texts, or NULL. */
const char *const *kos_get_texts(struct kos_frame_reader *reader, const char **texts, size_t max);
/* Into `value`, whose size member is set to `size`; one of another size is bad. */
void kos_get_struct(struct kos_frame_reader *reader, void *value, size_t size);
/* Nothing bad, nothing left. */
bool kos_frame_done(const struct kos_frame_reader *reader);

#endif
