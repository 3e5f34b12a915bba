/* SPDX-License-Identifier: Apache-2.0
 * The kernel's files behind kos_env. */
#include "core/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/buf.h"

struct kos_file {
    int fd;
};

int32_t kos_errno_code(int error)
{
    switch (error) {
    case 0: return KOS_OK;
    case ENOENT: case ENOTDIR: return KOS_E_NOTFOUND;
    case EEXIST: case ENOTEMPTY: return KOS_E_EXISTS;
    case ENOSPC: case EDQUOT: case EFBIG: return KOS_E_NOSPACE;
    case EACCES: case EPERM: case EROFS: case ELOOP: return KOS_E_PERMISSION;
    case EWOULDBLOCK: return KOS_E_LOCKED;
    case ENOMEM: return KOS_E_NOMEM;
    case EMFILE: case ENFILE: return KOS_E_LIMIT;
    case EINVAL: case ENAMETOOLONG: case EISDIR: return KOS_E_INVALID;
    default: return KOS_E_IO;
    }
}

static int32_t file_open(struct kos_env *env, const char *path, int32_t flags, mode_t mode, struct kos_file **ret_file)
{
    (void)env;
    int how = O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK; /* nonblocking: a fifo in the place of a file must not hang us */
    if (flags & KOS_FILE_WRITE)
        how |= flags & KOS_FILE_READ ? O_RDWR : O_WRONLY;
    if (flags & KOS_FILE_CREATE)
        how |= O_CREAT;
    if (flags & KOS_FILE_EXCLUSIVE)
        how |= O_EXCL;
    if (flags & KOS_FILE_TRUNCATE)
        how |= O_TRUNC;
    int fd;
    do
        fd = open(path, how, mode);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return errno == ENXIO ? KOS_E_INVALID : kos_errno_code(errno);
    struct stat st;
    if (fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISCHR(st.st_mode))) {
        close(fd);
        return KOS_E_INVALID;
    }
    struct kos_file *file = kos_new(sizeof *file);
    file->fd = fd;
    *ret_file = file;
    return KOS_OK;
}

static void file_close(struct kos_file *file)
{
    if (!file)
        return;
    close(file->fd);
    free(file);
}

static int64_t file_read(struct kos_file *file, void *buf, size_t len, uint64_t offset)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = pread(file->fd, (uint8_t *)buf + got, len - got, (off_t)(offset + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kos_errno_code(errno);
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return (int64_t)got;
}

static int32_t file_write(struct kos_file *file, const void *buf, size_t len, uint64_t offset)
{
    size_t put = 0;
    while (put < len) {
        ssize_t n = pwrite(file->fd, (const uint8_t *)buf + put, len - put, (off_t)(offset + put));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kos_errno_code(errno);
        if (n == 0)
            return KOS_E_IO;
        put += (size_t)n;
    }
    return KOS_OK;
}

static int32_t file_sync(struct kos_file *file)
{
    /* Not repeated on failure: the kernel forgets what it could not write, so a second sync would lie. */
    while (fdatasync(file->fd) < 0)
        if (errno != EINTR)
            return kos_errno_code(errno);
    return KOS_OK;
}

static int32_t file_truncate(struct kos_file *file, uint64_t size)
{
    while (ftruncate(file->fd, (off_t)size) < 0)
        if (errno != EINTR)
            return kos_errno_code(errno);
    return KOS_OK;
}

static int32_t file_allocate(struct kos_file *file, uint64_t size)
{
    int error;
    do
        error = posix_fallocate(file->fd, 0, (off_t)size);
    while (error == EINTR);
    return kos_errno_code(error);
}

static int64_t file_size(struct kos_file *file)
{
    struct stat st;
    return fstat(file->fd, &st) < 0 ? kos_errno_code(errno) : (int64_t)st.st_size;
}

/* Who held it may have been killed a moment ago, and a child that it had just forked holds the descriptor until it execs:
 * what starts again at once waits for that, a short while. */
static int32_t file_lock(struct kos_file *file)
{
    enum { TRIES = 100, PAUSE_NS = 10000000 };
    for (int tries = 0; flock(file->fd, LOCK_EX | LOCK_NB) < 0;) {
        if (errno != EINTR && (errno != EWOULDBLOCK || ++tries == TRIES))
            return kos_errno_code(errno);
        if (errno == EWOULDBLOCK)
            nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
    }
    return KOS_OK;
}

static int32_t file_rename(struct kos_env *env, const char *from, const char *to)
{
    (void)env;
    return rename(from, to) < 0 ? kos_errno_code(errno) : KOS_OK;
}

static int32_t file_remove(struct kos_env *env, const char *path)
{
    (void)env;
    if (unlink(path) == 0)
        return KOS_OK;
    if (errno == EISDIR && rmdir(path) == 0)
        return KOS_OK;
    return kos_errno_code(errno);
}

static int32_t dir_make(struct kos_env *env, const char *path, mode_t mode)
{
    (void)env;
    return mkdir(path, mode) < 0 ? kos_errno_code(errno) : KOS_OK;
}

static int32_t dir_sync(struct kos_env *env, const char *path)
{
    (void)env;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return kos_errno_code(errno);
    int32_t rc = fsync(fd) < 0 ? kos_errno_code(errno) : KOS_OK;
    close(fd);
    return rc;
}

/* A group that is our own is the operator's choice; in a sticky directory nobody replaces what is another's. */
static bool foreign(const char *path, struct stat st)
{
    if (S_ISLNK(st.st_mode) && stat(path, &st) < 0)
        return false;
    bool sticky = S_ISDIR(st.st_mode) && st.st_mode & S_ISVTX;
    bool group = st.st_mode & S_IWGRP && st.st_gid != getegid() && st.st_gid != 0;
    return (st.st_uid != geteuid() && st.st_uid != 0) || ((st.st_mode & S_IWOTH || group) && !sticky);
}

static int32_t file_stat(struct kos_env *env, const char *path, struct kos_file_stat *ret_stat)
{
    (void)env;
    struct stat st;
    if (lstat(path, &st) < 0)
        return kos_errno_code(errno);
    ret_stat->type = S_ISREG(st.st_mode) ? KOS_FILE_REGULAR : S_ISDIR(st.st_mode) ? KOS_FILE_DIRECTORY : S_ISLNK(st.st_mode) ? KOS_FILE_LINK : KOS_FILE_OTHER;
    ret_stat->mode = st.st_mode & 07777;
    ret_stat->ours = st.st_uid == geteuid() || st.st_uid == 0;
    ret_stat->foreign = foreign(path, st);
    ret_stat->size = (uint64_t)st.st_size;
    return KOS_OK;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int32_t dir_list(struct kos_env *env, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
    (void)env;
    DIR *dir = opendir(path);
    if (!dir)
        return kos_errno_code(errno);
    struct kos_buf names;
    kos_buf_init(&names, SIZE_MAX);
    int32_t rc = KOS_OK;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) {
            rc = kos_errno_code(errno);
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *name = kos_strdup(entry->d_name);
        if ((rc = kos_buf_append(&names, kos_bytes(&name, sizeof name))) < 0) {
            free(name);
            break;
        }
    }
    closedir(dir);
    char **list = (char **)(void *)names.data;
    size_t count = names.len / sizeof *list;
    if (count)
        qsort(list, count, sizeof *list, by_bytes);
    for (size_t i = 0; i < count; i++) {
        if (rc == KOS_OK)
            each(arg, list[i]);
        free(list[i]);
    }
    kos_buf_fini(&names);
    return rc;
}

void kos_files_ops(struct kos_env_ops *ops)
{
    ops->file_open = file_open;
    ops->file_close = file_close;
    ops->file_read = file_read;
    ops->file_write = file_write;
    ops->file_sync = file_sync;
    ops->file_truncate = file_truncate;
    ops->file_allocate = file_allocate;
    ops->file_size = file_size;
    ops->file_lock = file_lock;
    ops->file_rename = file_rename;
    ops->file_remove = file_remove;
    ops->dir_make = dir_make;
    ops->dir_sync = dir_sync;
    ops->dir_list = dir_list;
    ops->file_stat = file_stat;
}
