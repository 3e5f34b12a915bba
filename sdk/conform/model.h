/* SPDX-License-Identifier: Apache-2.0
 * What a collection of vectors must hold and answer, by the plainest means: the yardstick of suite_vector.c. */
#ifndef KOS_CONFORM_MODEL_H
#define KOS_CONFORM_MODEL_H

#include <kos/vector.h>
#include "core/buf.h"

enum { MODEL_ITEMS = 512, MODEL_ID = 128, MODEL_DIMENSION = 16, MODEL_METADATA = 96 };

struct model_item {
    uint32_t flags;
    size_t id_len, metadata_len;
    uint8_t id[MODEL_ID], digest[32], metadata[MODEL_METADATA];
    uint64_t version;
    float vector[MODEL_DIMENSION];
};
struct model {
    struct kos_space space;
    struct model_item items[MODEL_ITEMS];   /* by digest */
    size_t count;
};

struct model_item *model_find(struct model *model, struct kos_bytes id);
bool model_upsert(struct model *model, const struct model_item *item);      /* whether it was taken */
void model_remove(struct model *model, struct model_item *item);
float model_distance(const struct model *model, const float *a, const float *b);
bool model_passes(const struct model_item *item, const char *filter);       /* one member, or "" */
/* As the header lays results out. */
void model_put_item(const struct model *model, const struct model_item *item, struct kos_buf *out);
void model_scan(const struct model *model, const uint8_t from[32], const uint8_t to[32], uint32_t limit,
                struct kos_buf *out);
void model_fingerprint(const struct model *model, const uint8_t from[32], const uint8_t to[32], uint8_t ret_result[40]);

#endif
