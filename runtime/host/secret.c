/* SPDX-License-Identifier: Apache-2.0
 * Secrets of plugins: a file each, keys/secrets/PLUGIN.NAME, 0600, read and written by a worker and wiped after use. */
#include <klp/crypto.h>
#include <stdlib.h>
#include <utlist.h>

#include "host/services.h"

struct kos_secret_op {
    struct kos_work work;               /* first */
    struct kos_secret_op *prev, *next;
    struct kos_hosted *hosted;
    struct kos_env *env;
    uint64_t op;
    char *dir, *path;
    bool put;
    uint8_t *value;
    size_t len;
    int32_t status;
};

static void run(struct kos_work *work)
{
    struct kos_secret_op *s = (struct kos_secret_op *)work;
    if (!s->put) {
        s->status = kos_file_read_all(s->env, s->path, KOS_HOSTED_SECRET_BYTES, &s->value, &s->len);
        return;
    }
    if (s->len == 0) {
        s->status = s->env->ops->file_remove(s->env, s->path);
        s->status = s->status == KOS_E_NOTFOUND ? KOS_OK : s->status;
        return;
    }
    s->status = s->env->ops->dir_make(s->env, s->dir, 0700);
    if (s->status >= 0 || s->status == KOS_E_EXISTS)
        s->status = kos_file_write_all(s->env, s->path, 0600, kos_bytes(s->value, s->len));
}

static void done(struct kos_work *work)
{
    struct kos_secret_op *s = (struct kos_secret_op *)work;
    if (s->hosted) {
        DL_DELETE(s->hosted->secret_ops, s);
        if (kos_hosted_running(s->hosted) && s->hosted->backend)
            s->hosted->backend->ops->completed(
                s->hosted->backend, s->op, s->status < 0 ? s->status : KOS_OK,
                s->put || s->status < 0 ? kos_bytes(NULL, 0) : kos_bytes(s->value, s->len), true);
    }
    if (s->value)
        klp_wipe(s->value, s->len);
    free(s->value);
    free(s->dir);
    free(s->path);
    free(s);
}

static bool name_ok(const char *name)
{
    size_t n = 0;
    for (; name && name[n]; n++)
        if (n >= 64 ||
            !((name[n] >= 'a' && name[n] <= 'z') ||
              (n > 0 && ((name[n] >= '0' && name[n] <= '9') || name[n] == '_' || name[n] == '-'))))
            return false;
    return n > 0;
}

static void submit(struct kos_hosted *hosted, const char *name, struct kos_bytes value, bool put, uint64_t op)
{
    if (!name_ok(name) || value.len > KOS_HOSTED_SECRET_BYTES) {
        kos_hosted_complete_text(
            hosted, op, KOS_E_INVALID,
            "a secret has a name of the form [a-z][a-z0-9_-]* with at most 64 characters, and at most 65536 bytes");
        return;
    }
    struct kos_secret_op *s;
    uint32_t count = 0;
    DL_COUNT(hosted->secret_ops, s, count);
    if (count >= KOS_HOSTED_SECRETS) {
        kos_hosted_complete_text(hosted, op, KOS_E_BUSY, "64 secrets of the plugin are being read or written already");
        return;
    }
    s = kos_new(sizeof *s);
    s->work = (struct kos_work){ .run = run, .done = done };
    s->hosted = hosted;
    s->env = hosted->hosting->env;
    s->op = op;
    s->dir = kos_strdup(hosted->hosting->secrets_dir);
    s->path = kos_format("%s/%s.%s", s->dir, hosted->name, name);
    s->put = put;
    if (value.len)
        s->value = kos_memdup(value.data, value.len);
    s->len = value.len;
    DL_APPEND(hosted->secret_ops, s);
    kos_work(s->env, &s->work);
}

void kos_service_secret_get(struct kos_services *services, const char *name, uint64_t op)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    submit(hosted, name, kos_bytes(NULL, 0), false, op);
}

void kos_service_secret_put(struct kos_services *services, const char *name, struct kos_bytes value, uint64_t op)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    submit(hosted, name, value, true, op);
}

void kos_secrets_drop(struct kos_hosted *hosted)
{
    struct kos_secret_op *s, *next;
    DL_FOREACH_SAFE(hosted->secret_ops, s, next) {
        s->hosted = NULL;
        DL_DELETE(hosted->secret_ops, s);
    }
}
