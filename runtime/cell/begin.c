/* SPDX-License-Identifier: Apache-2.0
 * How a cell is told what to host: remote.c writes it. */
#include "cell/cell.h"

#include <stdlib.h>

#include "core/buf.h"

enum { VALUES_MAX = 256, LIST_MAX = 65536 };

static bool read_value(struct kos_frame_reader *in, struct kos_value *v)
{
    const char **list = kos_new((LIST_MAX + 1) * sizeof *list);
    v->size = sizeof *v;
    v->name = kos_get_text(in);
    v->number = kos_get_i64(in);
    v->real = kos_get_double(in);
    v->text = kos_get_text(in);
    const char *const *texts = kos_get_texts(in, list, LIST_MAX);
    size_t count = 0;
    while (texts && texts[count])
        count++;
    v->list = texts ? kos_memdup(texts, (count + 1) * sizeof *texts) : NULL;
    free(list);
    return !in->bad && v->name;
}

static bool read_values(struct kos_frame_reader *in, struct cell_begin *b)
{
    uint64_t count = kos_get_u64(in);
    if (in->bad || count > VALUES_MAX)
        return false;
    b->values = kos_new((count + 1) * sizeof *b->values);
    b->pointers = kos_new((count + 1) * sizeof *b->pointers);
    bool ok = true;
    for (uint64_t i = 0; ok && i < count; i++) {
        ok = read_value(in, &b->values[i]);
        b->pointers[i] = &b->values[i];
    }
    b->conf = (struct kos_conf){ .size = sizeof b->conf, .values = b->pointers };
    return ok;
}

bool cell_begin_read(struct kos_frame *frame, struct cell_begin *b)
{
    struct kos_frame_reader in = kos_frame_read(frame);
    const char *features[64];
    *b = (struct cell_begin){ .frame = frame };
    b->spec.name = kos_get_text(&in);
    b->spec.path = kos_get_text(&in);
    b->spec.where = kos_get_text(&in);
    b->spec.directory = kos_get_text(&in);
    const char *description = kos_get_text(&in);
    b->log_level = (int32_t)kos_get_i64(&in);
    const char *const *given = kos_get_texts(&in, features, 63);
    size_t count = 0;
    while (given && given[count])
        count++;
    b->features = kos_new((count + 1) * sizeof *b->features);
    memcpy(b->features, features, count * sizeof *features);
    b->description = description ? json_loads(description, 0, NULL) : NULL;
    b->spec.description = b->description;
    b->spec.conf = &b->conf;
    if (read_values(&in, b) && kos_frame_done(&in) && b->spec.name && b->spec.path && b->spec.where && b->description)
        return true;
    cell_begin_fini(b);
    return false;
}

void cell_begin_fini(struct cell_begin *b)
{
    for (const struct kos_value *v = b->values; v && v->name; v++)
        free((void *)(uintptr_t)v->list);
    free(b->values);
    free(b->pointers);
    free(b->features);
    json_decref(b->description);
    kos_frame_free(b->frame);
    *b = (struct cell_begin){ 0 };
}
