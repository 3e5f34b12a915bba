/* SPDX-License-Identifier: Apache-2.0
 * What all environments share: the log's text, its limits, whole small files. */
#include "core/env.h"

#include <stdlib.h>
#include <uthash.h>

#include "core/buf.h"

enum { LOG_TEXT_MAX = 2048, LIMIT_KEYS_MAX = 1024, LIMIT_KEY_LEN_MAX = 200 };

static void fill(void *self, void *out, size_t len)
{
    kos_random(self, out, len);
}

struct klp_random kos_env_random(struct kos_env *env)
{
    return (struct klp_random){ fill, env };
}

void kos_timer_set(struct kos_env *env, struct kos_timer *timer, uint64_t delay_ms)
{
    env->ops->timer_set(timer, delay_ms);
}

void kos_timer_stop(struct kos_env *env, struct kos_timer *timer)
{
    env->ops->timer_stop(timer);
}

void kos_timer_free(struct kos_env *env, struct kos_timer *timer)
{
    if (timer)
        env->ops->timer_free(timer);
}

/* Length of the UTF-8 character at p if a log line may carry it, else 0: no controls (C0, DEL, C1), nothing overlong
 * or cut, no line or paragraph separator, nothing that turns the direction of what follows (Unicode 15, 23.2). */
static size_t printable(const uint8_t *p, size_t left)
{
    if (*p < 0x80)
        return *p >= 0x20 && *p != 0x7f;
    size_t len = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
    if (*p < 0xc2 || *p > 0xf4 || len > left)
        return 0;
    uint32_t c = *p & (0xffU >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < 0xa0 || (len == 3 && c < 0x800) || (len == 4 && (c < 0x10000 || c > 0x10ffff)) || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    if ((c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f || c == 0xfeff)
        return 0;
    return len;
}

static void escape(const char *text, char *out, size_t cap)
{
    size_t left = strlen(text), at = 0;
    while (left && at + 5 < cap) {
        size_t len = printable((const uint8_t *)text, left);
        if (len)
            memcpy(out + at, text, len), at += len;
        else
            at += (size_t)snprintf(out + at, cap - at, *text == '\n' ? "\\n" : "\\x%02x", (unsigned)(uint8_t)*text), len = 1;
        text += len;
        left -= len;
    }
    out[at] = 0;
}

void kos_log(struct kos_env *env, int32_t level, const char *room, const char *format, ...)
{
    if (level > env->log_level)
        return;
    char text[LOG_TEXT_MAX], clean[LOG_TEXT_MAX * 4 + 8];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    escape(text, clean, sizeof clean);
    env->ops->log(env, level, room, clean);
}

struct limit_entry {
    UT_hash_handle hh;
    uint64_t since_ms;
    uint32_t suppressed;
    char key[LIMIT_KEY_LEN_MAX + 1];
};

struct kos_log_limit {
    struct kos_env *env;
    uint64_t window_ms;
    struct limit_entry *entries; /* uthash keeps them in order of insertion: the first is the oldest */
};

struct kos_log_limit *kos_log_limit_new(struct kos_env *env, uint64_t window_ms)
{
    struct kos_log_limit *limit = kos_new(sizeof *limit);
    limit->env = env;
    limit->window_ms = window_ms;
    return limit;
}

void kos_log_limit_free(struct kos_log_limit *limit)
{
    if (!limit)
        return;
    struct limit_entry *entry, *next;
    HASH_ITER(hh, limit->entries, entry, next) {
        HASH_DEL(limit->entries, entry);
        free(entry);
    }
    free(limit);
}

bool kos_log_limit_pass(struct kos_log_limit *limit, const char *key, uint32_t *ret_suppressed)
{
    char cut[LIMIT_KEY_LEN_MAX + 1];
    snprintf(cut, sizeof cut, "%s", key);
    uint64_t now = kos_mono_ms(limit->env);
    uint32_t suppressed = 0;
    struct limit_entry *entry;
    HASH_FIND_STR(limit->entries, cut, entry);
    if (entry && now - entry->since_ms < limit->window_ms) {
        entry->suppressed += entry->suppressed < UINT32_MAX;
        return false;
    }
    if (entry) {
        suppressed = entry->suppressed;
        HASH_DEL(limit->entries, entry);
    } else if (HASH_COUNT(limit->entries) >= LIMIT_KEYS_MAX) {
        entry = limit->entries;
        HASH_DEL(limit->entries, entry);
    } else {
        entry = kos_new(sizeof *entry);
    }
    *entry = (struct limit_entry){ .since_ms = now };
    memcpy(entry->key, cut, sizeof cut);
    HASH_ADD_STR(limit->entries, key, entry);
    if (ret_suppressed)
        *ret_suppressed = suppressed;
    return true;
}

int32_t kos_file_read_all(struct kos_env *env, const char *path, size_t max, uint8_t **ret_data, size_t *ret_len)
{
    struct kos_file *file;
    int32_t rc = env->ops->file_open(env, path, KOS_FILE_READ, 0, &file);
    if (rc < 0)
        return rc;
    /* Read until the end rather than by the size: files of /proc say 0. One byte more than max tells too long. */
    struct kos_buf buf;
    kos_buf_init(&buf, max < SIZE_MAX - 1 ? max + 1 : max);
    int64_t size = env->ops->file_size(file);
    size_t step = size > 0 && (uint64_t)size < max ? (size_t)size + 1 : 4096;
    for (;;) {
        size_t want = buf.limit - buf.len < step ? buf.limit - buf.len : step;
        if (want == 0) {
            rc = KOS_E_LIMIT;
            break;
        }
        if ((rc = kos_buf_reserve(&buf, want)) < 0)
            break;
        int64_t got = env->ops->file_read(file, buf.data + buf.len, want, buf.len);
        if (got < 0) {
            rc = (int32_t)got;
            break;
        }
        buf.len += (size_t)got;
        if ((size_t)got < want)
            break;
        step = 65536;
    }
    env->ops->file_close(file);
    if (rc == KOS_OK && buf.len > max)
        rc = KOS_E_LIMIT;
    if (rc < 0) {
        if (buf.data)
            klp_wipe(buf.data, buf.len);
        kos_buf_fini(&buf);
        return rc;
    }
    /* The read that found the end left room for the NUL: it asked for one byte at least and got none. */
    buf.data[buf.len] = 0;
    *ret_data = buf.data;
    *ret_len = buf.len;
    return KOS_OK;
}

int32_t kos_file_write_all(struct kos_env *env, const char *path, mode_t mode, struct kos_bytes data)
{
    const char *slash = strrchr(path, '/');
    if (!slash || !slash[1])
        return KOS_E_INVALID;
    uint8_t tail[8];
    kos_random(env, tail, sizeof tail);
    char hex[2 * sizeof tail + 1];
    klp_hex(kos_bytes(tail, sizeof tail), hex);
    char *temporary = kos_format("%s.%s.tmp", path, hex);
    char *dir = kos_format("%.*s", slash == path ? 1 : (int)(slash - path), path);
    struct kos_file *file;
    int32_t rc = env->ops->file_open(env, temporary, KOS_FILE_WRITE | KOS_FILE_CREATE | KOS_FILE_EXCLUSIVE, mode, &file);
    if (rc == KOS_OK) {
        rc = env->ops->file_write(file, data.data, data.len, 0);
        if (rc == KOS_OK)
            rc = env->ops->file_sync(file);
        env->ops->file_close(file);
        if (rc == KOS_OK)
            rc = env->ops->file_rename(env, temporary, path);
        if (rc < 0)
            env->ops->file_remove(env, temporary);
        else
            rc = env->ops->dir_sync(env, dir);
    }
    free(temporary);
    free(dir);
    return rc;
}
