/* SPDX-License-Identifier: Apache-2.0
 * The folder of a collection, below kos_host.directory/collections: meta (what it is), lock (who has it open), log.N,
 * base.N and graph.N (save.c). */
#include "hnsw.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <klp/json.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { META_MAX = 4096 };

/* ---- names ---- */

/* [A-Za-z0-9_-] as they are, all else as %XX; a name that gets too long by that is its digest. Never begins with a dot,
 * and two names never give one. */
static void folder_name(const char *name, char *ret_folder, size_t cap)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t len = 0;
    for (const char *at = name; *at; at++) {
        uint8_t b = (uint8_t)*at;
        bool plain = (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') || b == '_' || b == '-';
        if (len + 4 > cap) {
            struct klp_digest digest;
            klp_sha256(kos_bytes_str(name), &digest);
            len = 0;
            ret_folder[len++] = '@';
            for (size_t i = 0; i < sizeof digest.b; i++) {
                ret_folder[len++] = digits[digest.b[i] >> 4];
                ret_folder[len++] = digits[digest.b[i] & 15];
            }
            break;
        }
        if (!plain)
            ret_folder[len++] = '%';
        if (!plain)
            ret_folder[len++] = digits[b >> 4];
        ret_folder[len++] = plain ? (char)b : digits[b & 15];
    }
    ret_folder[len] = '\0';
}

static int open_folder(int at, const char *name)
{
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

static int open_collections(const struct hnsw *hnsw)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/collections", hnsw->host->directory) >= (int)sizeof path)
        return -1;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return -1;
    return open_folder(AT_FDCWD, path);
}

static void empty_folder(int at, const char *name)
{
    int fd = open_folder(at, name);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(fd, e->d_name, 0);
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    unlinkat(at, name, AT_REMOVEDIR);
}

/* What a crash left of collections that were dropped. */
static void sweep(int collections)
{
    int fd = dup(collections);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir)
        rewinddir(dir);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (strncmp(e->d_name, ".drop-", 6) == 0)
            empty_folder(collections, e->d_name);
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
}

/* ---- meta ---- */

static size_t meta_text(const struct collection *c, uint8_t *buf, size_t cap)
{
    static const char digits[] = "0123456789abcdef";
    struct klp_json_out out;
    char model[65] = "";
    for (size_t i = 0; i < 32; i++) {
        model[2 * i] = digits[c->space.model[i] >> 4];
        model[2 * i + 1] = digits[c->space.model[i] & 15];
    }
    klp_json_begin(&out, buf, cap);
    klp_json_object(&out);
    klp_json_name(&out, "construction");
    klp_json_put_int(&out, c->space.construction);
    klp_json_name(&out, "dimension");
    klp_json_put_int(&out, c->space.dimension);
    klp_json_name(&out, "m");
    klp_json_put_int(&out, c->space.m);
    klp_json_name(&out, "metric");
    klp_json_put_int(&out, c->space.metric);
    klp_json_name(&out, "model");
    klp_json_put_cstr(&out, model);
    klp_json_name(&out, "name");
    klp_json_put_string(&out, kos_bytes_str(c->name));
    klp_json_name(&out, "normalised");
    klp_json_put_int(&out, c->space.normalised);
    klp_json_name(&out, "version");
    klp_json_put_int(&out, 1);
    klp_json_close(&out, '}');
    return out.error || out.len > cap ? 0 : out.len;
}

int32_t folder_meta(const struct collection *collection, int dir, struct kos_error *ret_error)
{
    uint8_t text[META_MAX];
    size_t len = meta_text(collection, text, sizeof text);
    if (len == 0)
        return kos_fail(ret_error, KOS_E_INVALID, "its name is not UTF-8");
    int fd = openat(dir, "meta.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd >= 0 && write(fd, text, len) == (ssize_t)len && fsync(fd) == 0 &&
        renameat(dir, "meta.tmp", dir, "meta") == 0 && fsync(dir) == 0;
    int error = errno;
    if (fd >= 0)
        close(fd);
    return ok ? KOS_OK : kos_fail(ret_error, file_error(error), "meta cannot be written: %s", strerror(error));
}

/* m, construction and whether vectors come with length 1 are as the collection was made; all else must be what is asked
 * for. */
static int32_t read_meta(struct collection *c, int fd, struct kos_error *ret_error)
{
    static const char *const names[] = { "construction", "dimension", "m",          "metric",
                                         "model",        "name",      "normalised", "version" };
    uint8_t text[META_MAX], mine[META_MAX];
    struct klp_json all, v[8];
    uint64_t m, construction, normalised;
    ssize_t len = read(fd, text, sizeof text);
    if (len <= 0 || klp_json_read(kos_bytes(text, (size_t)len), META_MAX, &all, NULL) < 0 ||
        all.type != KLP_JSON_OBJECT || klp_json_get_many(all, names, 8, v) != 8 || klp_json_uint(v[2], &m) < 0 ||
        klp_json_uint(v[0], &construction) < 0 || klp_json_uint(v[6], &normalised) < 0 || normalised > 1 || m < 4 || m > 128 || construction < 8 || construction > 4096)
        return kos_fail(ret_error, KOS_E_CORRUPT, "%s/meta is damaged", c->folder);
    c->space.m = c->shape.m = (uint32_t)m;
    c->space.construction = c->shape.construction = (uint32_t)construction;
    c->space.normalised = (int32_t)normalised;
    size_t expected = meta_text(c, mine, sizeof mine);
    if (expected != (size_t)len || memcmp(text, mine, expected) != 0)
        return kos_fail(ret_error, KOS_E_STATE, "it is there with another space: %.*s, not %.*s", (int)(len > 200 ? 200 : len),
                        (const char *)text, (int)(expected > 200 ? 200 : expected), (const char *)mine);
    return KOS_OK;
}

/* ---- opening ---- */

static bool any_file(int dir, const char *but)
{
    int fd = dup(dir);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    bool any = false;
    if (d)
        rewinddir(d);
    for (struct dirent *e; d && (e = readdir(d));)
        any |= strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && strcmp(e->d_name, "lock") != 0 &&
            strcmp(e->d_name, "meta.tmp") != 0 && strcmp(e->d_name, but) != 0;
    if (d)
        closedir(d);
    else if (fd >= 0)
        close(fd);
    return any;
}

/* meta is what makes it one: written last. */
static int32_t make(struct collection *c, struct kos_error *ret_error)
{
    struct wal wal;
    struct stat st;
    if (any_file(c->dir, "log.0") || (fstatat(c->dir, "log.0", &st, 0) == 0 && st.st_size > 16))
        return kos_fail(ret_error, KOS_E_CORRUPT, "%s/meta is missing beside files of a collection", c->folder);
    int32_t rc = wal_create(c->dir, "log.0", c->space.dimension, &wal, ret_error);
    if (rc < 0)
        return rc;
    wal_close(&wal);
    return folder_meta(c, c->dir, ret_error);
}

int32_t folder_open(struct collection *collection, bool *ret_made, struct kos_error *ret_error)
{
    struct collection *c = collection;
    folder_name(c->name, c->folder, sizeof c->folder);
    int all = open_collections(c->hnsw);
    if (all < 0)
        return kos_fail(ret_error, file_error(errno), "%s/collections cannot be made or opened: %s",
                        c->hnsw->host->directory, strerror(errno));
    sweep(all);
    if (mkdirat(all, c->folder, 0700) == 0)
        fsync(all);
    c->dir = open_folder(all, c->folder);
    int error = errno;
    close(all);
    if (c->dir < 0)
        return kos_fail(ret_error, file_error(error), "its folder %s cannot be opened: %s", c->folder, strerror(error));
    c->lock_fd = openat(c->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (c->lock_fd < 0 || flock(c->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return kos_fail(ret_error, c->lock_fd >= 0 && errno == EWOULDBLOCK ? KOS_E_LOCKED : file_error(errno),
                        "%s/lock: another process has it open, or it cannot be locked: %s", c->folder, strerror(errno));
    int fd = openat(c->dir, "meta", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    *ret_made = fd < 0 && errno == ENOENT;
    if (*ret_made)
        return make(c, ret_error);
    int32_t rc = fd < 0 ? kos_fail(ret_error, file_error(errno), "%s/meta: %s", c->folder, strerror(errno))
                        : read_meta(c, fd, ret_error);
    if (fd >= 0)
        close(fd);
    return rc;
}

struct found {
    bool base;
    uint64_t newest_base, newest_log;
    bool log;
};

/* Removes what was written aside, and notes what there is. */
static void look(struct collection *c, struct found *ret_found)
{
    int fd = dup(c->dir);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    memset(ret_found, 0, sizeof *ret_found);
    if (d)
        rewinddir(d);
    for (struct dirent *e; d && (e = readdir(d));) {
        char *end;
        bool base = strncmp(e->d_name, "base.", 5) == 0, log = strncmp(e->d_name, "log.", 4) == 0;
        size_t len = strlen(e->d_name);
        if (len > 4 && strcmp(e->d_name + len - 4, ".tmp") == 0) {
            unlinkat(c->dir, e->d_name, 0);
            continue;
        }
        if (!base && !log)
            continue;
        uint64_t n = strtoull(e->d_name + (base ? 5 : 4), &end, 10);
        if (*end)
            continue;
        if (base && (!ret_found->base || n > ret_found->newest_base))
            ret_found->newest_base = n;
        if (log && (!ret_found->log || n > ret_found->newest_log))
            ret_found->newest_log = n;
        ret_found->base |= base;
        ret_found->log |= log;
    }
    if (d)
        closedir(d);
    else if (fd >= 0)
        close(fd);
}

struct replay {
    struct collection *c;
    struct stage *stage;
};

static int32_t replay_flush(struct replay *r, bool all)
{
    if (!all && stage_points(r->stage) < 4096)
        return KOS_OK;
    int32_t rc = stage_apply(r->stage);
    stage_free(r->stage);
    r->stage = stage_new(r->c);
    return rc;
}

static int32_t replay_frame(void *arg, struct kos_bytes payload, struct kos_error *ret_error)
{
    struct replay *r = arg;
    struct wal_entry entry;
    int32_t rc;
    while ((rc = wal_next(&payload, r->c->space.dimension, &entry)) == 1 &&
           (rc = stage_replay(r->stage, &entry)) == KOS_OK)
        continue;
    if (rc == KOS_OK)
        rc = replay_flush(r, false);
    return rc < 0 ? kos_fail(ret_error, rc, "%s", rc == KOS_E_LIMIT ? "it needs more memory than the setting allows"
                                                                     : kos_error_text(rc))
                  : KOS_OK;
}

static int32_t replay_logs(struct collection *c, uint64_t from, uint64_t to, struct kos_error *ret_error)
{
    struct replay r = { c, stage_new(c) };
    int32_t rc = KOS_OK;
    for (uint64_t g = from; rc == KOS_OK && g <= to; g++) {
        char name[48];
        uint64_t cut = 0;
        snprintf(name, sizeof name, "log.%llu", (unsigned long long)g);
        wal_close(&c->wal);
        rc = wal_open(c->dir, name, c->space.dimension, g == to, &(const struct wal_reader){ replay_frame, &r }, &c->wal,
                      &cut, ret_error);
        if (rc == KOS_E_NOTFOUND)
            rc = kos_fail(ret_error, KOS_E_CORRUPT, "%s/%s is missing%s", c->folder, name,
                          from == 0 ? ", or the base that stood for it" : "");
        if (rc == KOS_OK && g < to)
            c->older_bytes += c->wal.length;
        if (cut)
            hnsw_log(c->hnsw, KOS_WARNING,
                     "hnsw: collection %s: %s ended in %llu bytes of a write that was never completed: cut off", c->name,
                     name, (unsigned long long)cut);
    }
    if (rc == KOS_OK) {
        rc = replay_flush(&r, true);
        if (rc < 0 && rc != KOS_E_CANCELLED)
            kos_fail(ret_error, rc, "its log cannot be taken in: %s", kos_error_text(rc));
    }
    stage_free(r.stage);
    c->generation = to;
    atomic_store(&c->log_bytes, c->older_bytes + c->wal.length);
    return rc;
}

int32_t folder_load(struct collection *collection, struct kos_error *ret_error)
{
    struct collection *c = collection;
    struct found found;
    int32_t rc = KOS_OK;
    look(c, &found);
    uint64_t from = found.base ? found.newest_base : 0;
    if (!found.log || found.newest_log < from)
        return kos_fail(ret_error, KOS_E_CORRUPT, "%s/log.%llu is missing", c->folder, (unsigned long long)from);
    c->save_at = c->hnsw->limits.log_bytes;
    if (found.base)
        rc = load_base(c, from, ret_error);
    return rc < 0 ? rc : replay_logs(c, from, found.newest_log, ret_error);
}

/* ---- dropping, snapshots ---- */

int32_t folder_drop(struct collection *collection, struct kos_error *ret_error)
{
    struct collection *c = collection;
    char gone[NAME_MAX_BYTES + 8];
    int all = open_collections(c->hnsw);
    snprintf(gone, sizeof gone, ".drop-%s", c->folder);
    /* Renamed first: what is half removed is no collection any more. */
    if (all >= 0)
        empty_folder(all, gone);
    bool ok = all >= 0 && renameat(all, c->folder, all, gone) == 0 && fsync(all) == 0;
    int error = errno;
    if (ok)
        empty_folder(all, gone);
    if (all >= 0)
        close(all);
    return ok ? KOS_OK : kos_fail(ret_error, file_error(error), "its folder cannot be removed: %s", strerror(error));
}

/* The directory, if it is one below ours and not one of a collection. */
static int snapshot_folder(struct collection *c, const char *directory, struct kos_error *ret_error)
{
    char wanted[PATH_MAX], root[PATH_MAX], resolved[PATH_MAX];
    const char *own = c->hnsw->host->directory;
    int len = snprintf(wanted, sizeof wanted, "%s%s%s", directory[0] == '/' ? "" : own, directory[0] == '/' ? "" : "/",
                       directory);
    if (len >= (int)sizeof wanted || !realpath(own, root) || !realpath(wanted, resolved))
        return kos_fail(ret_error, KOS_E_NOTFOUND, "the directory %s for the snapshot is not there", directory);
    size_t own_len = strlen(root);
    const char *below = resolved + own_len;
    if (strncmp(resolved, root, own_len) != 0 || below[0] != '/' ||
        (strncmp(below, "/collections", 12) == 0 && (below[12] == '/' || !below[12])))
        return kos_fail(ret_error, KOS_E_INVALID, "the directory %s for the snapshot is not below %s, or a collection's",
                        directory, own);
    int dir = open_folder(AT_FDCWD, resolved);
    if (dir < 0)
        return kos_fail(ret_error, file_error(errno), "%s: %s", directory, strerror(errno));
    if (any_file(dir, "")) {
        close(dir);
        return kos_fail(ret_error, KOS_E_EXISTS, "the directory %s for the snapshot is not empty", directory);
    }
    return dir;
}

int32_t folder_snapshot(struct collection *collection, const char *directory, struct kos_error *ret_error)
{
    struct collection *c = collection;
    uint64_t bytes;
    struct wal wal;
    int dir = snapshot_folder(c, directory, ret_error);
    if (dir < 0)
        return dir;
    int32_t rc = save_base(c, dir, 1, &bytes, ret_error);
    if (rc == KOS_OK)
        rc = wal_create(dir, "log.1", c->space.dimension, &wal, ret_error);
    if (rc == KOS_OK) {
        wal_close(&wal);
        rc = folder_meta(c, dir, ret_error);
    }
    if (rc < 0)
        for (const char *const *name = (const char *const[]){ "base.1", "graph.1", "log.1", "meta.tmp", NULL }; *name;
             name++)
            unlinkat(dir, *name, 0);
    close(dir);
    return rc;
}
