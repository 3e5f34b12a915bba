/* SPDX-License-Identifier: Apache-2.0
 * Reading the journal back, and telling a torn end from damage. */
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>

#include "core/buf.h"
#include "store/journal_format.h"

/* How far ahead of the number expected a record found behind an invalid one is looked for. */
enum { AHEAD_MAX = 1 << 24 };

struct segment {
    const struct journal_reader *reader;
    char *path;
    uint8_t *data;
    size_t len;
    uint8_t key[16];
    uint64_t first, next; /* next: the first number of the segment behind it, 0 for the last one */
};

struct names {
    uint64_t *firsts;
    size_t count, cap;
    bool spare;
};

static void say(const struct journal_reader *reader, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(const struct journal_reader *reader, const char *format, ...)
{
    if (!reader->say)
        return;
    char line[400];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    reader->say(reader->arg, line);
}

static void name_found(void *arg, const char *name)
{
    struct names *names = arg;
    if (strcmp(name, JOURNAL_SPARE) == 0)
        names->spare = true;
    if (strlen(name) != 20 || strspn(name, "0123456789abcdef") != 16 || strcmp(name + 16, ".seg") != 0)
        return;
    if (names->count == names->cap) {
        names->cap = names->cap ? names->cap * 2 : 16;
        names->firsts = realloc(names->firsts, names->cap * sizeof *names->firsts);
        if (!names->firsts)
            abort();
    }
    names->firsts[names->count++] = strtoull(name, NULL, 16);
}

static int32_t load(struct segment *segment, struct kos_error *ret_error)
{
    enum { SEGMENT_MAX = 1 << 30 };
    struct kos_env *env = segment->reader->env;
    struct kos_file *file;
    int32_t rc = env->ops->file_open(env, segment->path, KOS_FILE_READ, 0, &file);
    if (rc < 0)
        return kos_fail(ret_error, rc, "%s cannot be opened: %s", segment->path, kos_error_text(rc));
    int64_t size = env->ops->file_size(file);
    if (size >= 0 && size <= SEGMENT_MAX) {
        segment->data = malloc((size_t)size + 1);
        size = segment->data ? env->ops->file_read(file, segment->data, (size_t)size, 0) : KOS_E_NOMEM;
    } else if (size > SEGMENT_MAX) {
        size = KOS_E_LIMIT;
    }
    env->ops->file_close(file);
    if (size < 0)
        return kos_fail(ret_error, (int32_t)size, "%s cannot be read: %s", segment->path, kos_error_text((int32_t)size));
    segment->len = (size_t)size;
    return KOS_OK;
}

static int32_t take_head_at(struct segment *segment, size_t at)
{
    const uint8_t *p = segment->data + at;
    uint8_t hash[8];
    crypto_shorthash(hash, p, 48, p + 32);
    if (memcmp(p, JOURNAL_MAGIC, 8) != 0 || memcmp(hash, p + 48, 8) != 0)
        return KOS_E_CORRUPT;
    if (get32(p + 8) != JOURNAL_VERSION)
        return KOS_E_VERSION;
    if (get64(p + 16) != segment->reader->store)
        return KOS_E_INVALID;
    if (get64(p + 24) != segment->first)
        return KOS_E_CORRUPT; /* left over from the use before this one */
    memcpy(segment->key, p + 32, 16);
    return KOS_OK;
}

/* Takes the head, or a copy of it. A head of another store is never this segment's: that is told apart, as it means that
 * files of two stores were mixed. */
static int32_t take_head(struct segment *segment)
{
    if (segment->len < JOURNAL_HEAD + JOURNAL_TAIL)
        return KOS_E_CORRUPT;
    const size_t copies[] = { 0, JOURNAL_HEAD_COPY, (segment->len - JOURNAL_TAIL) & ~(size_t)(JOURNAL_TAIL - 1) };
    int32_t rc = KOS_E_CORRUPT;
    for (size_t i = 0; i < sizeof copies / sizeof *copies && rc == KOS_E_CORRUPT; i++)
        rc = take_head_at(segment, copies[i]);
    return rc;
}

/* Length of the whole record at `at`, or 0 when there is no valid record with this number. */
static uint64_t record_at(const struct segment *segment, size_t at, uint64_t number)
{
    if (segment->len - at < JOURNAL_RECORD_HEAD)
        return 0;
    const uint8_t *p = segment->data + at;
    uint32_t payload = get32(p);
    if (payload > JOURNAL_PAYLOAD_MAX || get64(p + 8) != number || payload > segment->len - at - JOURNAL_RECORD_HEAD ||
        get32(p + 4) != journal_record_check(segment->key, p))
        return 0;
    uint8_t hash[8];
    journal_record_hash(segment->key, p, hash);
    return memcmp(hash, p + 16, 8) == 0 ? journal_record_bytes(payload) : 0;
}

/* A record that can only have been written after the one expected at `at` was durable. */
static bool valid_behind(const struct segment *segment, size_t at, uint64_t expected, size_t *ret_at, uint64_t *ret_number)
{
    for (at += 8; at + JOURNAL_RECORD_HEAD <= segment->len; at += 8) {
        uint64_t number = get64(segment->data + at + 8);
        if (number > expected && number - expected < AHEAD_MAX && record_at(segment, at, number)) {
            *ret_at = at;
            *ret_number = number;
            return true;
        }
    }
    return false;
}

static uint64_t torn_bytes(const struct segment *segment, size_t at)
{
    size_t end = segment->len < JOURNAL_TAIL ? 0 : segment->len - JOURNAL_TAIL;
    while (end > at && segment->data[end - 1] == 0)
        end--;
    return end > at ? end - at : 0;
}

static int32_t read_records(struct segment *segment, struct journal_state *state, struct kos_error *ret_error)
{
    const struct journal_reader *reader = segment->reader;
    size_t at = JOURNAL_HEAD;
    uint64_t number = segment->first, length, from = 0;
    for (; (!segment->next || number < segment->next) && at < segment->len && (length = record_at(segment, at, number));
         from = number == segment->first ? 0 : at, at += length, number++) {
        if (number <= reader->applied)
            continue;
        int32_t rc = reader->each(reader->arg, number, kos_bytes(segment->data + at + JOURNAL_RECORD_HEAD, get32(segment->data + at)), ret_error);
        if (rc < 0)
            return rc;
        state->bytes += length;
        state->played++;
    }
    if (number > segment->first && number - 1 > reader->applied) {
        state->again_first = segment->first;
        state->again_from = from;
        state->again_end = at;
    }
    size_t found_at;
    uint64_t found;
    /* Segments before the checkpoint go one by one, and each may fail to: what lies between two left over is not missed. */
    if (segment->next && segment->next <= reader->applied + 1) {
        say(reader, "%s: %" PRIu64 " records from %" PRIu64 " on, all before the checkpoint", segment->path, number - segment->first, segment->first);
        return KOS_OK;
    }
    if (segment->next && number < segment->next)
        return kos_fail(ret_error, KOS_E_CORRUPT,
                        "%s is damaged: record %" PRIu64 " at byte %zu is not valid, but the journal goes on at record %" PRIu64
                        "; restore the store from a copy", segment->path, number, at, segment->next);
    if (!segment->next && valid_behind(segment, at, number, &found_at, &found))
        return kos_fail(ret_error, KOS_E_CORRUPT,
                        "%s is damaged: record %" PRIu64 " at byte %zu is not valid, but record %" PRIu64 " at byte %zu is"
                        "; restore the store from a copy", segment->path, number, at, found, found_at);
    if (!segment->next)
        state->torn = torn_bytes(segment, at);
    if (number - 1 > state->last)
        state->last = number - 1;
    say(reader, "%s: %" PRIu64 " records from %" PRIu64 " on, %zu of %zu bytes used%s", segment->path, number - segment->first,
        segment->first, at, segment->len, state->torn ? ", a torn record at the end (never acknowledged)" : "");
    return KOS_OK;
}

/* One segment. *ret_counts: false when it is only the beginning of one, made just before power was lost. */
static int32_t read_segment(struct segment *segment, struct journal_state *state, bool *ret_counts, struct kos_error *ret_error)
{
    *ret_counts = true;
    int32_t rc = load(segment, ret_error);
    if (rc < 0)
        return rc;
    rc = take_head(segment);
    if (rc == KOS_E_VERSION)
        return kos_fail(ret_error, rc, "%s was written by a newer kos; this one reads version %d", segment->path, JOURNAL_VERSION);
    if (rc == KOS_E_INVALID)
        return kos_fail(ret_error, KOS_E_CORRUPT, "%s belongs to another store; files of two stores were mixed", segment->path);
    if (rc < 0 && !segment->next) {
        *ret_counts = false;
        say(segment->reader, "%s: begun and not used", segment->path);
        return KOS_OK;
    }
    if (rc < 0)
        return kos_fail(ret_error, KOS_E_CORRUPT, "%s is damaged: no copy of its head is valid; restore the store from a copy", segment->path);
    return read_records(segment, state, ret_error);
}

/* Whether what is known so far reaches up to where the segment begins. */
static int32_t continues(const struct journal_reader *reader, const struct journal_state *state, uint64_t first, const char *path,
                         struct kos_error *ret_error)
{
    uint64_t last = state->last > reader->applied ? state->last : reader->applied;
    if (first <= last + 1)
        return KOS_OK;
    return kos_fail(ret_error, KOS_E_CORRUPT,
                    "records %" PRIu64 " to %" PRIu64 " before %s are missing; state.db or a segment was removed or is from an older copy",
                    last + 1, first - 1, path);
}

int32_t journal_read(const struct journal_reader *reader, struct journal_state *ret_state, struct kos_error *ret_error)
{
    struct names names = { 0 };
    int32_t rc = reader->env->ops->dir_list(reader->env, reader->dir, name_found, &names);
    if (rc < 0) {
        free(names.firsts);
        return kos_fail(ret_error, rc, "%s cannot be listed: %s", reader->dir, kos_error_text(rc));
    }
    struct journal_state state = { .spare = names.spare, .found = names.count };
    size_t kept = 0;
    for (size_t i = 0; i < names.count && rc == KOS_OK; i++) {
        struct segment segment = { .reader = reader, .first = names.firsts[i], .next = i + 1 < names.count ? names.firsts[i + 1] : 0 };
        bool counts = true;
        segment.path = journal_path(reader->dir, segment.first);
        rc = continues(reader, &state, segment.first, segment.path, ret_error);
        bool needed = !segment.next || segment.next > reader->applied + 1;
        if (rc == KOS_OK && (needed || reader->verify))
            rc = read_segment(&segment, &state, &counts, ret_error);
        if (counts)
            names.firsts[kept++] = segment.first;
        free(segment.data);
        free(segment.path);
    }
    if (rc < 0) {
        free(names.firsts);
        return rc;
    }
    if (state.last < reader->applied)
        state.last = reader->applied;
    state.segments = names.firsts;
    state.segment_count = kept;
    *ret_state = state;
    return KOS_OK;
}

void journal_state_fini(struct journal_state *state)
{
    free(state->segments);
    *state = (struct journal_state){ 0 };
}
