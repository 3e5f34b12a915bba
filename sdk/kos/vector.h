/* SPDX-License-Identifier: Apache-2.0
 *
 * Vector backends hold collections of vectors and find near ones. Spaces never mix: a collection is opened with its
 * model, dimension and metric. All operations complete by kos_host.complete with the result named here. What changes a
 * collection happens in the order submitted; what reads it meanwhile sees each change whole or not at all, and all that
 * completed before it was submitted. Vectors with a number that is not finite may be refused (KOS_E_INVALID). Since 1.0.
 */
#ifndef KOS_VECTOR_H
#define KOS_VECTOR_H

#include <kos/host.h>

#define KOS_VECTOR "kos.vector/1"

enum kos_metric { KOS_METRIC_L2 = 1, KOS_METRIC_IP = 2, KOS_METRIC_COSINE = 3 };

struct kos_space {
    uint32_t size;
    uint8_t model[32];          /* digest of the embedding model */
    uint32_t dimension;         /* floats per vector */
    int32_t metric;
    int32_t normalised;         /* 1: vectors come with length 1 */
};

struct kos_item {
    uint32_t size;
    uint32_t flags;             /* 1: tombstone */
    struct kos_bytes id;        /* at most 128 bytes */
    uint64_t version;           /* a lower or equal one than stored is ignored */
    const float *vector;        /* dimension floats; NULL for a tombstone */
    struct kos_bytes metadata;  /* canonical JSON object, at most 16 KiB */
    uint8_t digest[32];         /* of the signed origin */
};

struct kos_query {
    uint32_t size;
    uint32_t k;                 /* at most 10000 */
    const float *vector;
    struct kos_bytes filter;    /* canonical JSON object: member = value, all must hold; empty: none */
    uint32_t effort;            /* backend's own scale, 0 its default */
};

struct kos_vector {
    uint32_t size;
    /* `collection` is the host's id for it until close. One that is not there is made. Result: u64 count of items.
     * KOS_E_STATE: it is there with another space; KOS_E_UNSUPPORTED: a metric this backend lacks. */
    void (*open)(void *self, uint64_t op, uint64_t collection, const char *name, const struct kos_space *space);
    void (*close)(void *self, uint64_t op, uint64_t collection);
    /* All or nothing, durable on completion. Result: u32 count taken. */
    void (*upsert)(void *self, uint64_t op, uint64_t collection, const struct kos_item *const *items, uint32_t count);
    /* Result: the item as one pair (kos_pair_next): key = id, value = u64 version, u32 flags, 32 bytes digest,
     * `dimension` floats (none for a tombstone), metadata; native byte order, no padding. Tombstones are got like
     * items. */
    void (*get)(void *self, uint64_t op, uint64_t collection, struct kos_bytes id);
    /* Forgets the item as if it had never been, when `version` is above its own: KOS_E_STALE, KOS_E_NOTFOUND. For
     * tombstones whose time is over; a deletion that others must learn of is an upsert of a tombstone. */
    void (*remove)(void *self, uint64_t op, uint64_t collection, struct kos_bytes id, uint64_t version);
    /* Result: pairs, nearest first: key = id, value = float distance, then metadata. Distance: squared L2; minus the
     * inner product; 1 - cosine. Tombstones are not found. */
    void (*query)(void *self, uint64_t op, uint64_t collection, const struct kos_query *query);
    /* Items by digest order within [from, to), at most limit, fewer when 4 MiB are full. Result: pairs as of get. */
    void (*scan)(void *self, uint64_t op, uint64_t collection, const uint8_t from[32], const uint8_t to[32],
                 uint32_t limit);
    /* Of the items (tombstones too) within [from, to): SHA-256 of their digests, one behind the other in order. Result:
     * its 32 bytes and their u64 count. All backends give the same, so two nodes compare whatever keeps their
     * vectors. */
    void (*fingerprint)(void *self, uint64_t op, uint64_t collection, const uint8_t from[32], const uint8_t to[32]);
    /* A consistent copy into an empty directory below kos_host.directory (right "files"); queries go on.
     * KOS_E_UNSUPPORTED. */
    void (*snapshot)(void *self, uint64_t op, uint64_t collection, const char *directory);
    /* Result: canonical JSON object. */
    void (*stats)(void *self, uint64_t op, uint64_t collection);
    /* Forgets the collection with all that is in it, and closes it. */
    void (*drop)(void *self, uint64_t op, uint64_t collection);
};

#endif
