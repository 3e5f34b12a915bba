/* SPDX-License-Identifier: Apache-2.0
 * The tables of bridge/nats in the policy: what comes in as what, and streams to be made. */
#include "nats.h"

#include <klp/address.h>
#include <stdlib.h>

enum { TABLE_MAX = 256 << 10, DAY_MS = 86400000 };

struct group {
    const char *table;
    size_t number;               /* from 1, as a person counts */
    struct klp_json object;
};

static int32_t bad(const struct group *g, struct kos_error *ret_error, const char *name, const char *why)
{
    return kos_fail(ret_error, KOS_E_CONFIG, "%s, group %zu: %s: %s", g->table, g->number, name, why);
}

/* A string of the group; `fallback` NULL: it must be there. */
static int32_t text_of(const struct group *g, const char *name, const char *fallback, char *buf, size_t cap,
                       struct kos_error *ret_error)
{
    struct klp_json value = klp_json_get(g->object, name);
    if (value.type == KLP_JSON_NONE && fallback)
        snprintf(buf, cap, "%s", fallback);
    else if (value.type == KLP_JSON_NONE)
        return bad(g, ret_error, name, "is missing");
    else if (value.type != KLP_JSON_STRING || klp_json_string(value, buf, cap, NULL) < 0)
        return bad(g, ret_error, name, "is no text, or too long");
    return KOS_OK;
}

static int32_t number_of(const struct group *g, const char *name, int64_t fallback, int64_t min, int64_t max,
                         int64_t *ret_number, struct kos_error *ret_error)
{
    char why[96];
    struct klp_json value = klp_json_get(g->object, name);
    *ret_number = fallback;
    if (value.type == KLP_JSON_NONE)
        return KOS_OK;
    if (klp_json_int(value, ret_number) == KOS_OK && *ret_number >= min && *ret_number <= max)
        return KOS_OK;
    snprintf(why, sizeof why, "is no number from %lld to %lld", (long long)min, (long long)max);
    return bad(g, ret_error, name, why);
}

/* "30s", "7d", "250ms" or milliseconds, as in settings of their own (kos/conf.h). */
static int32_t duration_of(const struct group *g, const char *name, int64_t fallback, int64_t min, int64_t max,
                           int64_t *ret_ms, struct kos_error *ret_error)
{
    static const struct { const char *unit; int64_t ms; } units[] = {
        { "", 1 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", DAY_MS },
    };
    char text[24], why[120], *end;
    struct klp_json value = klp_json_get(g->object, name);
    if (value.type != KLP_JSON_STRING)
        return number_of(g, name, fallback, min, max, ret_ms, ret_error);
    if (klp_json_string(value, text, sizeof text, NULL) == KOS_OK && text[0] >= '0' && text[0] <= '9') {
        long long n = strtoll(text, &end, 10);
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
            if (strcmp(end, units[i].unit) == 0 && n <= max / units[i].ms && n * units[i].ms >= min) {
                *ret_ms = n * units[i].ms;
                return KOS_OK;
            }
    }
    snprintf(why, sizeof why, "is no time from %lld ms to %lld ms (\"30s\", \"7d\")", (long long)min, (long long)max);
    return bad(g, ret_error, name, why);
}

/* Every member must be one of `names`, a NULL-terminated list: a misspelt one is no default. */
static int32_t known(const struct group *g, const char *const *names, struct kos_error *ret_error)
{
    struct klp_json_iter iter;
    struct klp_json value;
    struct kos_bytes name;
    if (g->object.type != KLP_JSON_OBJECT)
        return bad(g, ret_error, "it", "is no group");
    klp_json_iter_init(g->object, &iter);
    while (klp_json_next(&iter, &name, &value)) {
        const char *const *at = names;
        while (*at && !kos_bytes_eq(name, kos_bytes_str(*at)))
            at++;
        if (!*at)
            return kos_fail(ret_error, KOS_E_CONFIG, "%s, group %zu: there is no %.*s in it", g->table, g->number,
                            (int)(name.len < 64 ? name.len : 64), (const char *)name.data);
    }
    return KOS_OK;
}

static bool type_ok(const char *type)
{
    size_t n = strspn(type, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return type[0] >= 'A' && type[0] <= 'Z' && type[n] == '\0';
}

static bool stream_name_ok(const char *name)
{
    return *name && strlen(name) <= NATS_STREAM_NAME_MAX && !strpbrk(name, " \t\r\n.*>/\\");
}

/* ---- inward ---- */

static void mark_of(struct nats_map *map)
{
    struct klp_digest digest;
    const struct kos_bytes pieces[] = { kos_bytes(map->stream, strlen(map->stream) + 1), kos_bytes_str(map->subject) };
    klp_sha256v(pieces, 2, &digest);
    klp_hex(kos_bytes(digest.b, 4), map->mark);
}

static int32_t read_words(const struct group *g, struct nats_map *map, struct kos_error *ret_error)
{
    char word[16];
    int32_t status = text_of(g, "class", "bulk", word, sizeof word, ret_error);
    if (status < 0)
        return status;
    map->klass = strcmp(word, "interactive") == 0 ? 1 : 2;
    if (map->klass == 2 && strcmp(word, "bulk") != 0)
        return bad(g, ret_error, "class", "is neither \"interactive\" nor \"bulk\"");
    if ((status = text_of(g, "start", "all", word, sizeof word, ret_error)) < 0)
        return status;
    map->only_new = strcmp(word, "new") == 0;
    if (!map->only_new && strcmp(word, "all") != 0)
        return bad(g, ret_error, "start", "is neither \"all\" nor \"new\"");
    if ((status = text_of(g, "body", "whole", word, sizeof word, ret_error)) < 0)
        return status;
    map->unwrap = strcmp(word, "payload") == 0;
    if (!map->unwrap && strcmp(word, "whole") != 0)
        return bad(g, ret_error, "body", "is neither \"whole\" nor \"payload\"");
    return KOS_OK;
}

static int32_t read_map(const struct group *g, struct nats_map *map, struct kos_error *ret_error)
{
    static const char *const names[] = { "subject", "stream", "type", "target", "class", "expires", "trust", "start",
                                         "body", NULL };
    char target[KLP_ADDRESS_MAX + 1];
    const char *why;
    int32_t status = known(g, names, ret_error);
    if (status < 0 || (status = text_of(g, "subject", NULL, map->subject, sizeof map->subject, ret_error)) < 0 ||
        (status = text_of(g, "stream", "", map->stream, sizeof map->stream, ret_error)) < 0 ||
        (status = text_of(g, "type", NULL, map->type, sizeof map->type, ret_error)) < 0 ||
        (status = text_of(g, "target", NULL, target, sizeof target, ret_error)) < 0 ||
        (status = duration_of(g, "expires", DAY_MS, 1000, 30 * (int64_t)DAY_MS, &map->expires_ms, ret_error)) < 0 ||
        (status = read_words(g, map, ret_error)) < 0)
        return status;
    struct klp_json trust = klp_json_get(g->object, "trust");
    if (trust.type != KLP_JSON_NONE &&
        (klp_json_double(trust, &map->trust) < 0 || map->trust < 0 || map->trust > 10))
        return bad(g, ret_error, "trust", "is no number from 0 to 10");
    if (!nats_subject_ok(map->subject, true, &why))
        return bad(g, ret_error, "subject", why);
    if (*map->stream && !stream_name_ok(map->stream))
        return bad(g, ret_error, "stream", "is no name of a stream");
    if (!type_ok(map->type))
        return bad(g, ret_error, "type", "is no message type ([A-Z][A-Z0-9_]*)");
    if (strncmp(target, "klp://", 6) != 0)
        return bad(g, ret_error, "target", "is no klp:// address");
    if (!(map->target = strdup(target)))
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the maps");
    mark_of(map);
    return KOS_OK;
}

/* Two maps that may hold the same message of a stream would take it twice. */
static int32_t check_overlap(const struct nats_settings *s, struct kos_error *ret_error)
{
    for (size_t i = 0; i < s->map_count; i++)
        for (size_t j = 0; j < i; j++) {
            const struct nats_map *a = &s->maps[j], *b = &s->maps[i];
            if (*a->stream && *b->stream && strcmp(a->stream, b->stream) != 0)
                continue;
            if (nats_subjects_overlap(a->subject, b->subject))
                return kos_fail(ret_error, KOS_E_CONFIG,
                                "inward, groups %zu and %zu: the subjects %.80s and %.80s overlap, so that a message would "
                                "come in twice",
                                j + 1, i + 1, a->subject, b->subject);
        }
    return KOS_OK;
}

static int32_t table_of(const char *table, const char *json, size_t most, struct klp_json_iter *ret_iter,
                        struct kos_error *ret_error)
{
    struct klp_json array;
    const char *text = *json ? json : "[]";
    if (klp_json_read(kos_bytes_str(text), TABLE_MAX, &array, NULL) < 0 || array.type != KLP_JSON_ARRAY)
        return kos_fail(ret_error, KOS_E_CONFIG, "%s is no list of groups", table);
    if (klp_json_count(array) > most)
        return kos_fail(ret_error, KOS_E_CONFIG, "%s has more than %zu groups", table, most);
    klp_json_iter_init(array, ret_iter);
    return KOS_OK;
}

int32_t nats_settings_maps(const char *json, struct nats_settings *s, struct kos_error *ret_error)
{
    struct klp_json_iter iter;
    struct group g = { .table = "inward" };
    int32_t status = table_of(g.table, json, NATS_MAPS_MAX, &iter, ret_error);
    while (status >= 0 && klp_json_next(&iter, NULL, &g.object)) {
        g.number++;
        status = read_map(&g, &s->maps[s->map_count++], ret_error);
    }
    return status < 0 ? status : check_overlap(s, ret_error);
}

/* ---- streams ---- */

static int32_t read_stream(const struct group *g, struct link_stream *stream, struct kos_error *ret_error)
{
    static const char *const names[] = { "name", "subjects", "replicas", "max_age", "max_bytes", "duplicates", "storage",
                                         NULL };
    char subjects[4096], word[16], *copy, *rest;
    const char *why = NULL;
    int32_t status = known(g, names, ret_error);
    if (status < 0 || (status = text_of(g, "name", NULL, stream->name, sizeof stream->name, ret_error)) < 0 ||
        (status = text_of(g, "subjects", NULL, subjects, sizeof subjects, ret_error)) < 0 ||
        (status = number_of(g, "replicas", 1, 1, 5, &stream->replicas, ret_error)) < 0 ||
        (status = number_of(g, "max_bytes", 0, 1, KLP_JSON_INT_MAX, &stream->max_bytes, ret_error)) < 0 ||
        (status = duration_of(g, "max_age", 0, 1000, 3650 * (int64_t)DAY_MS, &stream->max_age_ms, ret_error)) < 0 ||
        (status = duration_of(g, "duplicates", 120000, 1000, DAY_MS, &stream->duplicates_ms, ret_error)) < 0 ||
        (status = text_of(g, "storage", "file", word, sizeof word, ret_error)) < 0)
        return status;
    stream->memory = strcmp(word, "memory") == 0;
    if (!stream->memory && strcmp(word, "file") != 0)
        return bad(g, ret_error, "storage", "is neither \"file\" nor \"memory\"");
    if (!stream_name_ok(stream->name))
        return bad(g, ret_error, "name", "is no name of a stream");
    if (stream->max_age_ms && stream->duplicates_ms > stream->max_age_ms)
        stream->duplicates_ms = stream->max_age_ms; /* the server refuses a longer one */
    if (!(stream->subjects = strdup(subjects)) || !(copy = strdup(subjects)))
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the streams");
    rest = copy;
    size_t count = 0;
    for (char *one; (one = strtok_r(rest, " ", &rest)); count++)
        if (!why)
            nats_subject_ok(one, true, &why);
    free(copy);
    if (count == 0 || count > 64)
        why = "it has no subject, or more than 64";
    return why ? bad(g, ret_error, "subjects", why) : KOS_OK;
}

int32_t nats_settings_streams(const char *json, struct nats_settings *s, struct kos_error *ret_error)
{
    struct klp_json_iter iter;
    struct group g = { .table = "streams" };
    int32_t status = table_of(g.table, json, NATS_STREAMS_MAX, &iter, ret_error);
    while (status >= 0 && klp_json_next(&iter, NULL, &g.object)) {
        g.number++;
        status = read_stream(&g, &s->streams[s->stream_count++], ret_error);
    }
    return status;
}

void nats_settings_fini(struct nats_settings *s)
{
    for (size_t i = 0; i < s->map_count; i++)
        free(s->maps[i].target);
    for (size_t i = 0; i < s->stream_count; i++)
        free(s->streams[i].subjects);
}
