/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages (klp(7), "Message"). On the wire a message is (body, signature): `body` is canonical JSON without the
 * member "signature"; `signature` is 64 bytes (plain) or longer (batch). The text form, for files and people, carries
 * the member "signature" (0x and hex) inside the object. Unknown members are kept and signed.
 */
#ifndef KLP_MESSAGE_H
#define KLP_MESSAGE_H

#include <klp/address.h>
#include <klp/log.h>

enum {
    KLP_TYPE_MAX = 64,                      /* [A-Z][A-Z0-9_]* */
    KLP_BATCH_MAX = 1024,                   /* leaves under one signature */
    KLP_BATCH_SIGNATURE_MAX = 64 + 4 + 4 + 10 * 32,
    KLP_BATCH_NODES_MAX = 2 * KLP_BATCH_MAX + 16, /* of a whole tree, odd nodes counted again on each level */
};
#define KLP_MESSAGE_LIFE_MAX_MS INT64_C(2592000000)   /* expires - created */
#define KLP_CLOCK_SKEW_MAX_MS   INT64_C(300000)       /* created may lie this far ahead of the receiver's clock */

/* A parsed message; all slices point into `body`. Optional members are NONE / zero when absent. */
struct klp_message {
    struct kos_bytes body;              /* the signed bytes */
    struct klp_digest digest;           /* SHA-256(body) */
    char type[KLP_TYPE_MAX];
    struct klp_id id;
    struct kos_bytes source, target;    /* klp:// texts, unescaped plain ASCII */
    struct klp_id source_id, target_id;
    uint64_t event;                     /* of the source's log: whose key signed */
    int64_t created, expires;           /* Unix ms */
    bool transient;                     /* "durable": false; delivered at most once, from memory (klp(7), "Delivery") */
    bool has_reply_to;
    struct klp_id reply_to;             /* id of the message this answers */
    struct kos_bytes trace;             /* W3C traceparent, "" when absent */
    struct klp_json payload;            /* an object; a string (base64) when sealed */
    struct klp_json seal;               /* {"enc","key"} when sealed */
};

/* A type, or the name of a stream: [A-Z][A-Z0-9_]*, less than KLP_TYPE_MAX characters. KOS_E_SYNTAX. */
int32_t klp_type_check(struct kos_bytes text);
/* Parses and checks shape: required members, types, lengths, created < expires <= created + life. No clock, no key. */
int32_t klp_message_parse(struct kos_bytes body, struct klp_message *ret_message, struct kos_error *ret_error);
/* The same, sooner where source and target are those of `before` (may be NULL), whose texts are still there. */
int32_t klp_message_parse_after(struct kos_bytes body, const struct klp_message *before, struct klp_message *ret_message, struct kos_error *ret_error);
/* Against a clock: KOS_E_EXPIRED, KOS_E_FUTURE. */
int32_t klp_message_fresh(const struct klp_message *message, int64_t now);
/* Plain or batch by the length of the signature. The signer's log decides the key: KOS_E_SIGNATURE, KOS_E_EXPIRED
 * (key beyond its grace), KOS_E_REVOKED, KOS_E_FROZEN, KOS_E_NOTFOUND (event not in the log). */
int32_t klp_message_verify(const struct klp_message *message, struct kos_bytes signature, const struct klp_log *source, int64_t now);

/* Builds the body from the members (type, ids, texts, times, payload, seal...); `payload` must be canonical.
 * KOS_E_LIMIT with *ret_len = the room needed when cap is too small. */
int32_t klp_message_make(const struct klp_message *message, uint8_t *out, size_t cap, size_t *ret_len, struct kos_error *ret_error);
/* The same, and what it made as klp_message_parse() reads it, the digest with it; *ret_needed is set by KOS_E_LIMIT. */
int32_t klp_message_make_parsed(const struct klp_message *message, uint8_t *out, size_t cap, struct klp_message *ret_made, size_t *ret_needed, struct kos_error *ret_error);
/* Many messages with one source, target, type, event and trace: what they share is checked and written once. */
struct klp_message_maker {
    uint64_t event;
    bool transient;
    size_t tail_len;
    uint8_t tail[2 * KLP_ADDRESS_MAX + 384]; /* from "source" on */
};
/* `common`: the members named above, and `transient`; the others are not looked at. */
int32_t klp_message_maker_init(struct klp_message_maker *ret_maker, const struct klp_message *common, struct kos_error *ret_error);
/* What klp_message_make() makes, to the byte. `reply_to` may be NULL; `payload` is checked; `cap`: the payload, the tail and
 * 256 bytes. */
int32_t klp_message_maker_put(const struct klp_message_maker *maker, const struct klp_id *id, int64_t created, int64_t expires, const struct klp_id *reply_to, struct kos_bytes payload, uint8_t *out, size_t cap, size_t *ret_len, struct klp_digest *ret_digest, struct kos_error *ret_error);
/* Text form <-> wire form. `text` may be loose JSON; *ret_signature_len is 0 when it is not signed. Outputs malloc'ed. */
int32_t klp_message_from_text(struct kos_bytes text, uint8_t **ret_body, size_t *ret_body_len, uint8_t *ret_signature /* KLP_BATCH_SIGNATURE_MAX */, size_t *ret_signature_len, struct kos_error *ret_error);
int32_t klp_message_to_text(struct kos_bytes body, struct kos_bytes signature, uint8_t **ret_text, size_t *ret_len, struct kos_error *ret_error);

/* Merkle trees of RFC 9162 section 2.1 (SHA-256, 0x00 leaf and 0x01 node prefixes). */
void klp_merkle_leaf(struct kos_bytes data, struct klp_digest *ret_hash);
void klp_merkle_root(const struct klp_digest *leaves, size_t count, struct klp_digest *ret_root);
void klp_merkle_node(const struct klp_digest *left, const struct klp_digest *right, struct klp_digest *ret_hash);
/* Path of leaf `index`; returns its length, at most 64. Costs the whole tree: for many paths of one run klp_batch_tree(). */
size_t klp_merkle_path(const struct klp_digest *leaves, size_t count, size_t index, struct klp_digest *ret_path);
/* KOS_E_INVALID when index >= size or the path's length is wrong. */
int32_t klp_merkle_root_from_path(const struct klp_digest *leaf, uint64_t index, uint64_t size, const struct klp_digest *path, size_t path_len, struct klp_digest *ret_root);
/* KOS_E_INVALID unless the first tree is a beginning of the second; size1 = 0 is refused. */
int32_t klp_merkle_consistency(uint64_t size1, uint64_t size2, const struct klp_digest *root1, const struct klp_digest *root2, const struct klp_digest *path, size_t path_len);

/* Batch signatures: leaf data of a message is "klp-msg/1" 0x00 SHA-256(body); the key signs root and u32 size under
 * KLP_TAG_BATCH; the signature of message i is 64 bytes, u32 size, u32 index, path. `digests[i]` = SHA-256(body i). */
int32_t klp_batch_sign(const struct klp_secret *secret, const struct klp_digest *digests, size_t count, uint8_t ret_signature[KLP_SIGNATURE_LEN]);
int32_t klp_batch_verify(const struct klp_public *key, const struct klp_digest *digests, size_t count, struct kos_bytes signature /* 64 */);
/* One message by the signature that klp_batch_extract() made. KOS_E_SIGNATURE. */
int32_t klp_batch_verify_one(const struct klp_public *key, const struct klp_digest *digest, struct kos_bytes signature);
/* Signature of one message out of the run, good by itself. Returns its length. KOS_E_LIMIT (count is 0 or more than
 * KLP_BATCH_MAX), KOS_E_INVALID (index). */
int32_t klp_batch_extract(const struct klp_digest *digests, size_t count, size_t index, const uint8_t root_signature[KLP_SIGNATURE_LEN], uint8_t ret_signature[KLP_BATCH_SIGNATURE_MAX]);
/* The same for many messages of one run: the tree is made once. */
int32_t klp_batch_tree(const struct klp_digest *digests, size_t count, struct klp_digest ret_nodes[KLP_BATCH_NODES_MAX]);
int32_t klp_batch_extract_from(const struct klp_digest *nodes, size_t count, size_t index, const uint8_t root_signature[KLP_SIGNATURE_LEN], uint8_t ret_signature[KLP_BATCH_SIGNATURE_MAX]);

/* Receipts: what a host says, signed under "klp-receipt/1", of messages it was handed. One for many.
 * Body: {"created","event","node":"<id>","receipts":[{"digest":"0x..","error"?,"id","text"?}]} */
#define KLP_TAG_RECEIPT "klp-receipt/1"
enum { KLP_RECEIPTS_MAX = 1024, KLP_RECEIPT_TEXT_MAX = 512 };
struct klp_receipt {
    struct klp_id id;                   /* of the message */
    struct klp_digest digest;           /* of its body */
    int32_t error;                      /* 0: stored durably. Else a KOS_E_* code, on the wire by its name */
    char text[KLP_RECEIPT_TEXT_MAX];    /* why, for the side that may know; "" else */
};
struct klp_receipts {
    struct klp_id node;
    uint64_t event;
    int64_t created;
    struct klp_json list;               /* iterate with klp_receipts_next */
    struct kos_bytes body;
};
int32_t klp_receipts_make(const struct klp_id *node, uint64_t event, int64_t created, const struct klp_receipt *receipts, size_t count, uint8_t *out, size_t cap, size_t *ret_len);
int32_t klp_receipts_parse(struct kos_bytes body, struct klp_receipts *ret_receipts);
bool klp_receipts_next(struct klp_json_iter *iter, struct klp_receipt *ret_receipt);
/* The error code of a stable name; KOS_E_INTERNAL when unknown. */
int32_t klp_error_parse(struct kos_bytes name);

#endif
