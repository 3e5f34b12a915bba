/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames (klp(7), "Frames"): what a record carries. Many share a record. An item (a message, a log, ...) is cut into
 * frames of one class and type, all but the last with KLP_FRAME_MORE; frames of other classes may come between, so
 * bulk never delays the others by more than one record.
 *
 *   u8 type | u8 class and flags | u16 length, big-endian | payload
 */
#ifndef KLP_FRAME_H
#define KLP_FRAME_H

#include <klp/message.h>

enum { KLP_FRAME_HEADER = 4, KLP_FRAME_MORE = 0x80, KLP_CLASSES = 3, KLP_ITEM_MAX = KLP_MESSAGE_MAX + 65536 };
enum klp_class { KLP_CLASS_CONTROL = 0, KLP_CLASS_INTERACTIVE = 1, KLP_CLASS_BULK = 2 };

enum klp_frame_type {
    KLP_FRAME_PING = 1,         /* 8 bytes, echoed */
    KLP_FRAME_PONG = 2,
    KLP_FRAME_CREDIT = 3,       /* u8 class, u64: total payload bytes of that class the other side may have sent */
    KLP_FRAME_CLOSE = 4,        /* JSON {"error","text"} */
    KLP_FRAME_HELLO = 5,        /* JSON {"features":[],"name","roles":[],"version"} */
    KLP_FRAME_LOG = 6,          /* a log's text from some event on */
    KLP_FRAME_LOG_REQUEST = 7,  /* JSON {"from":n,"id":"..."} */
    KLP_FRAME_STATEMENT = 8,    /* a statement's text */
    KLP_FRAME_MESSAGE = 9,      /* u16 signature length, signature, body */
    KLP_FRAME_BATCH = 10,       /* 64 bytes root signature, u16 count, then count times (u32 length, body) */
    KLP_FRAME_RECEIPTS = 11,    /* 64 bytes signature, receipts body */
    KLP_FRAME_COMPACT = 3,      /* added to the three above: their compact forms, 12 to 14 */
    KLP_FRAME_RECORD_REQUEST = 15, /* nothing: the peer's node record, please */
    KLP_FRAME_STREAM = 16,      /* u8 enum klp_stream_kind, u32 stream, what belongs to the kind */
};
/* Of a byte stream inside the session; its frames are of class bulk. */
enum klp_stream_kind {
    KLP_STREAM_OPEN = 1,        /* name: [A-Z][A-Z0-9_]*, less than KLP_TYPE_MAX bytes */
    KLP_STREAM_ACCEPT = 2,      /* nothing */
    KLP_STREAM_DATA = 3,        /* one byte or more */
    KLP_STREAM_CREDIT = 4,      /* u64: total data bytes of this stream that the other side may have sent */
    KLP_STREAM_END = 5,         /* nothing: the last byte was sent */
    KLP_STREAM_DONE = 6,        /* nothing: all up to END was handed over */
    KLP_STREAM_CLOSE = 7,       /* JSON {"error","text"}: it is over, both ways */
};
enum { KLP_STREAM_HEADER = 5 };
/* PING, PONG, CREDIT and CLOSE are exempt from credit. They and STREAM are never cut, and may stand between the frames
 * of an item of their own class. Unknown types (1..255) of class bytes 0..2 are taken like the others and skipped whole. Refused with
 * KOS_E_PROTOCOL: type 0, any bit of the class byte that is not named here, KLP_FRAME_MORE without payload. */

struct klp_frame {
    uint8_t type;
    uint8_t klass;
    bool more;
    struct kos_bytes payload;   /* slice of the record */
};

/* Takes the next frame off a record's plaintext (which may be empty). 1 when there was one, 0 at the end,
 * KOS_E_PROTOCOL. */
int32_t klp_frame_next(struct kos_bytes *rest, struct klp_frame *ret_frame);
/* Writes header and payload (which may lie at out + KLP_FRAME_HEADER); returns bytes written, KOS_E_LIMIT (cap, or more
 * than 65535 bytes) or KOS_E_INVALID (what klp_frame_next() would refuse). */
int32_t klp_frame_put(uint8_t *out, size_t cap, uint8_t type, uint8_t klass, bool more, struct kos_bytes payload);
/* The header alone, for a payload of so many bytes that comes behind it; the same refusals. */
int32_t klp_frame_head(uint8_t *out, size_t cap, uint8_t type, uint8_t klass, bool more, size_t len);

/* Puts items together, per class. Bounded: at most `max_bytes` of one item. */
struct klp_assembly;
struct klp_assembly *klp_assembly_new(size_t max_bytes);
void klp_assembly_free(struct klp_assembly *assembly);
/* 1: *ret_item (payload whole, valid until the next call for this class) is complete; 0: more to come;
 * KOS_E_PROTOCOL (type changed within an item), KOS_E_LIMIT. A frame that is a whole item costs no copy. */
int32_t klp_assembly_take(struct klp_assembly *assembly, const struct klp_frame *frame, struct klp_frame *ret_item);
/* The payload of an item that klp_assembly_take() gave, as memory that is the caller's to free: what was put together is
 * handed over, a slice of a record is copied. NULL without memory. */
uint8_t *klp_assembly_keep(struct klp_assembly *assembly, const struct klp_frame *item);
/* Nobody looks at that item any more: its memory is given back, unless it was kept. */
void klp_assembly_release(struct klp_assembly *assembly, const struct klp_frame *item);

/* Items' insides, as slices; KOS_E_PROTOCOL. The shape of a batch is checked whole, so klp_item_batch_next() on it
 * cannot fail half way. */
int32_t klp_item_message(struct kos_bytes item, struct kos_bytes *ret_body, struct kos_bytes *ret_signature);
struct klp_item_batch { struct kos_bytes signature; uint32_t count; struct kos_bytes rest; };
int32_t klp_item_batch(struct kos_bytes item, struct klp_item_batch *ret_batch);
/* 1, 0 at the end, KOS_E_PROTOCOL. */
int32_t klp_item_batch_next(struct klp_item_batch *batch, struct kos_bytes *ret_body);
int32_t klp_item_receipts(struct kos_bytes item, struct kos_bytes *ret_body, struct kos_bytes *ret_signature);

#endif
