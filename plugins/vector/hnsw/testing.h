/* SPDX-License-Identifier: Apache-2.0
 * For tests of this plugin: a module under the small host, with operations that wait for their completion. */
#ifndef HNSW_TESTING_H
#define HNSW_TESTING_H

#include "unit.h"
#include "../../../sdk/examples/poll_host.h"

#include <dlfcn.h>
#include <ftw.h>
#include <kos/vector.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIDE_OPS = 8192 };

struct side {                       /* one backend */
    const struct kos_vector *v;
    struct poll_host *host;
    struct poll_host_hooks hooks;
    void *self;
    uint64_t last;                  /* operation */
    struct {
        int times;
        int32_t status;
        uint8_t *data;
        size_t len;
    } ops[SIDE_OPS];
    char log[65536];
};

static inline void side_complete(void *arg, uint64_t op, int32_t status, struct kos_bytes result)
{
    struct side *s = arg;
    ck_assert_uint_lt(op, SIDE_OPS);
    s->ops[op].times++;
    ck_assert_int_eq(s->ops[op].times, 1);
    s->ops[op].status = status;
    s->ops[op].len = result.len;
    s->ops[op].data = malloc(result.len + 1);
    if (result.len)
        memcpy(s->ops[op].data, result.data, result.len);
}

static inline void side_log(void *arg, int32_t level, const char *text)
{
    struct side *s = arg;
    size_t len = strlen(s->log);
    (void)level;
    snprintf(s->log + len, sizeof s->log - len, "%s\n", text);
}

static inline void side_begin(struct side *s, const char *module, const char *directory, const char *const *settings)
{
    char path[4096];
    struct kos_error error = { 0 };
    memset(s, 0, sizeof *s);
    snprintf(path, sizeof path, "%s/%s", getenv("KOS_BUILDDIR") ? getenv("KOS_BUILDDIR") : ".", module);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(handle != NULL, "%s", dlerror());
    const struct kos_plugin *plugin = dlsym(handle, "kos_plugin_v1");
    for (const struct kos_feature *const *f = plugin->features; *f; f++)
        if (strcmp((*f)->name, KOS_VECTOR) == 0)
            s->v = (*f)->table;
    s->hooks = (struct poll_host_hooks){ .complete = side_complete, .log = side_log, .directory = directory };
    s->host = poll_host_new(plugin, settings, &s->hooks, s, &error);
    ck_assert_msg(s->host != NULL, "%s", error.text);
    poll_host_start(s->host);
    s->self = poll_host_self(s->host);
}

static inline void side_forget(struct side *s)
{
    for (uint64_t op = 1; op <= s->last; op++) {
        free(s->ops[op].data);
        memset(&s->ops[op], 0, sizeof s->ops[op]);
    }
    s->last = 0;
}

static inline void side_end(struct side *s)
{
    uint32_t left;
    ck_assert(poll_host_stop(s->host));
    for (uint64_t op = 1; op <= s->last; op++)
        ck_assert_msg(s->ops[op].times == 1, "operation %d was completed %d times", (int)op, s->ops[op].times);
    poll_host_free(s->host, &left);
    ck_assert_uint_eq(left, 0);
    side_forget(s);
}

static inline uint64_t side_op(struct side *s)
{
    if (s->last + 1 == SIDE_OPS) {
        for (uint64_t op = 1; op <= s->last; op++)
            ck_assert_int_eq(s->ops[op].times, 1);
        side_forget(s);
    }
    return ++s->last;
}

static inline int32_t side_wait(struct side *s, uint64_t op)
{
    for (int n = 0; s->ops[op].times == 0; n++) {
        ck_assert_msg(n < 60000, "operation %d does not complete", (int)op);
        poll_host_run(s->host, 10);
    }
    return s->ops[op].status;
}

static inline struct kos_bytes side_result(struct side *s)
{
    return kos_bytes(s->ops[s->last].data, s->ops[s->last].len);
}

#define SIDE(side_, call_, ...) ((side_)->v->call_((side_)->self, side_op(side_), __VA_ARGS__), side_wait((side_), (side_)->last))

static inline void temporary(char *path)
{
    strcpy(path, "/tmp/kos-hnsw-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
}

static inline int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static inline void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline uint32_t draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

static inline void make_vector(uint64_t *seed, float *to, uint32_t dimension)
{
    for (uint32_t i = 0; i < dimension; i++)
        to[i] = (float)(draw(seed) % 20001) / 10000.0f - 1.0f;
}

#endif
