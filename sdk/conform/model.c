/* SPDX-License-Identifier: Apache-2.0
 * The model of a collection. */
#include "model.h"

#include <klp/crypto.h>
#include <math.h>
#include <string.h>

struct model_item *model_find(struct model *model, struct kos_bytes id)
{
    for (size_t i = 0; i < model->count; i++)
        if (kos_bytes_eq(kos_bytes(model->items[i].id, model->items[i].id_len), id))
            return &model->items[i];
    return NULL;
}

void model_remove(struct model *model, struct model_item *item)
{
    size_t at = (size_t)(item - model->items);
    model->count--;
    memmove(item, item + 1, (model->count - at) * sizeof *item);
}

bool model_upsert(struct model *model, const struct model_item *item)
{
    struct model_item *old = model_find(model, kos_bytes(item->id, item->id_len));
    size_t at = 0;
    if (old && old->version >= item->version)
        return false;
    if (old)
        model_remove(model, old);
    while (at < model->count && memcmp(model->items[at].digest, item->digest, 32) < 0)
        at++;
    memmove(&model->items[at + 1], &model->items[at], (model->count - at) * sizeof *item);
    model->items[at] = *item;
    model->count++;
    return true;
}

float model_distance(const struct model *model, const float *a, const float *b)
{
    double l2 = 0, dot = 0, aa = 0, bb = 0;
    for (uint32_t i = 0; i < model->space.dimension; i++) {
        l2 += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        dot += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return model->space.metric == KOS_METRIC_L2 ? (float)l2
        : model->space.metric == KOS_METRIC_IP  ? (float)-dot
                                                : (float)(1 - dot / sqrt(aa * bb));
}

bool model_passes(const struct model_item *item, const char *filter)
{
    /* Filters of the tests are {"name":value}; metadata is canonical, so the member stands there as it is. */
    char member[MODEL_METADATA], text[MODEL_METADATA + 1];
    size_t len = strlen(filter);
    if (len <= 2)
        return true;
    snprintf(member, sizeof member, "%.*s", (int)(len - 2), filter + 1);
    snprintf(text, sizeof text, "%.*s", (int)item->metadata_len, (const char *)item->metadata);
    const char *at = strstr(text, member);
    return at && (at[strlen(member)] == ',' || at[strlen(member)] == '}');
}

static void put_run(struct kos_buf *out, const void *data, size_t len)
{
    uint32_t n = (uint32_t)len;
    kos_buf_append(out, kos_bytes(&n, sizeof n));
    kos_buf_append(out, kos_bytes(data, len));
}

void model_put_item(const struct model *model, const struct model_item *item, struct kos_buf *out)
{
    uint8_t value[8 + 4 + 32 + MODEL_DIMENSION * sizeof(float) + MODEL_METADATA];
    size_t n = 44;
    memcpy(value, &item->version, 8);
    memcpy(value + 8, &item->flags, 4);
    memcpy(value + 12, item->digest, 32);
    if (!(item->flags & 1)) {
        memcpy(value + n, item->vector, model->space.dimension * sizeof(float));
        n += model->space.dimension * sizeof(float);
    }
    memcpy(value + n, item->metadata, item->metadata_len);
    put_run(out, item->id, item->id_len);
    put_run(out, value, n + item->metadata_len);
}

static bool within(const struct model_item *item, const uint8_t from[32], const uint8_t to[32])
{
    return memcmp(item->digest, from, 32) >= 0 && memcmp(item->digest, to, 32) < 0;
}

void model_scan(const struct model *model, const uint8_t from[32], const uint8_t to[32], uint32_t limit,
                struct kos_buf *out)
{
    for (size_t i = 0; i < model->count && limit > 0; i++)
        if (within(&model->items[i], from, to)) {
            model_put_item(model, &model->items[i], out);
            limit--;
        }
}

void model_fingerprint(const struct model *model, const uint8_t from[32], const uint8_t to[32], uint8_t ret_result[40])
{
    uint8_t digests[MODEL_ITEMS * 32];
    uint64_t count = 0;
    for (size_t i = 0; i < model->count; i++)
        if (within(&model->items[i], from, to))
            memcpy(digests + 32 * count++, model->items[i].digest, 32);
    struct klp_digest digest;
    klp_sha256(kos_bytes(digests, 32 * count), &digest);
    memcpy(ret_result, &digest, 32);
    memcpy(ret_result + 32, &count, 8);
}
