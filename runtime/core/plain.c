/* SPDX-License-Identifier: Apache-2.0
 * Files, clocks, randomness and a log on stderr, for code that runs to its end without waiting. */
#include <sodium.h>
#include <time.h>

#include "core/files.h"
#include "core/plain.h"

static int64_t now_ms(struct kos_env *env)
{
    struct timespec t;
    (void)env;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t mono_ns(struct kos_env *env)
{
    struct timespec t;
    (void)env;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void random_fill(struct kos_env *env, void *out, size_t len)
{
    (void)env;
    randombytes_buf(out, len);
}

static void log_line(struct kos_env *env, int32_t level, const char *room, const char *text)
{
    (void)env;
    (void)level;
    fprintf(stderr, "%s: %s\n", room, text);
}

void kos_plain_init(struct kos_plain *plain)
{
    memset(plain, 0, sizeof *plain);
    kos_files_ops(&plain->ops);
    plain->ops.now_ms = now_ms;
    plain->ops.mono_ns = mono_ns;
    plain->ops.random = random_fill;
    plain->ops.log = log_line;
    plain->env.ops = &plain->ops;
    plain->env.log_level = KOS_LOG_WARNING;
}
