/* SPDX-License-Identifier: Apache-2.0
 *
 * Power loss for a real process: an object to be preloaded, which writes down how to undo every change of a file below
 * $KOS_LOSS_ROOT before it is made, and what was flushed since. When the process has been killed, loss.py takes a part
 * of what was not flushed away again, as a power cut would have.
 *
 *   KOS_LOSS_ROOT   the instance; what agents have in state/agents is the world outside and not touched
 *   KOS_LOSS_LOG    where it is written down, appended to; read by loss.py
 *   KOS_LOSS_SEED   of the two that follow
 *   KOS_LOSS_DELAY  a flush takes up to so many microseconds, so that more is unflushed when the kill comes
 *   KOS_LOSS_LIE    so many of a hundred flushes only say that they were done
 *
 * What would change a file in a way that is not written down ends the process: a shared mapping, writev and the like.
 * Flushes do not reach the disk: a killed process leaves its page cache, and nothing else is asked of it here.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { RECORD_OPEN = 1, RECORD_WRITE, RECORD_SIZE, RECORD_SYNC, RECORD_RENAME, RECORD_UNLINK, RECORD_MKDIR, RECORD_DIRSYNC };
enum { FILES_MAX = 65536, FDS_MAX = 65536 };

/* As loss.py reads it. a, b, c: see the calls of put(). */
struct head {
    uint32_t magic, type;
    uint64_t seq, id, a, b, c, data_len;
    uint32_t path_len, path2_len;
};

struct known {
    dev_t dev;
    ino_t ino;
    uint64_t id; /* 0: its name is gone, and another file may get the number */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_len;
static pid_t owner;
static int log_fd = -1;
static uint64_t seq, ids, chance_state, delay_max_us, lie_percent;
static struct known known[FILES_MAX];
static size_t known_count;
static uint64_t fd_ids[FDS_MAX];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void die(const char *what, const char *path)
{
    dprintf(2, "loss: %s %s: what this does to a file cannot be undone; teach tests/crash/loss.c\n", what, path);
    abort();
}

static uint64_t chance(void)
{
    chance_state ^= chance_state << 13;
    chance_state ^= chance_state >> 7;
    chance_state ^= chance_state << 17;
    return chance_state;
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static bool is_kosd(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n < 0 ? 0 : n] = 0;
    const char *name = strrchr(path, '/');
    return name && strstr(name, "kosd");
}

__attribute__((constructor)) static void begin(void)
{
    const char *dir = getenv("KOS_LOSS_ROOT"), *path = getenv("KOS_LOSS_LOG");
    /* libtool's wrapper is a shell that runs others before it becomes kosd. */
    if (!dir || !path || !is_kosd() || !realpath(dir, root))
        return;
    root_len = strlen(root);
    chance_state = number("KOS_LOSS_SEED", 1) * 0x9e3779b97f4a7c15u | 1;
    delay_max_us = number("KOS_LOSS_DELAY", 0);
    lie_percent = number("KOS_LOSS_LIE", 0);
    log_fd = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        die("open", path);
    /* Out of the way of programs that count their descriptors. */
    int high = fcntl(log_fd, F_DUPFD_CLOEXEC, 900);
    if (high >= 0) {
        REAL(close)(log_fd);
        log_fd = high;
    }
    owner = getpid();
    /* What this process starts is not ours. */
    unsetenv("LD_PRELOAD");
}

static bool active(void)
{
    return log_fd >= 0 && getpid() == owner;
}

/* ---- the log ---- */

static void put_all(const void *data, size_t len)
{
    const char *at = data;
    while (len) {
        ssize_t n = REAL(write)(log_fd, at, len);
        if (n < 0 && errno != EINTR)
            die("write", "the log");
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
}

static void put(struct head head, const char *path, const char *path2, const void *data, size_t data_len)
{
    head.magic = 0x534f4c4b;
    head.seq = ++seq;
    head.path_len = path ? (uint32_t)strlen(path) : 0;
    head.path2_len = path2 ? (uint32_t)strlen(path2) : 0;
    head.data_len = data_len;
    size_t len = sizeof head + head.path_len + head.path2_len + data_len;
    char *record = malloc(len), *at = record;
    if (!record)
        abort();
    memcpy(at, &head, sizeof head);
    at += sizeof head;
    if (path)
        memcpy(at, path, head.path_len);
    at += head.path_len;
    if (path2)
        memcpy(at, path2, head.path2_len);
    at += head.path2_len;
    if (data_len)
        memcpy(at, data, data_len);
    put_all(record, len);
    free(record);
}

/* ---- which file ---- */

/* The absolute path, when it lies below the root and is none of the agents'. */
static bool below(int dir, const char *path, char ret_path[PATH_MAX])
{
    char base[PATH_MAX];
    if (!active() || !path)
        return false;
    if (path[0] == '/') {
        if (snprintf(ret_path, PATH_MAX, "%s", path) >= PATH_MAX)
            return false;
    } else {
        if (dir == AT_FDCWD) {
            if (!getcwd(base, sizeof base))
                return false;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
            ssize_t n = readlink(link, base, sizeof base - 1);
            if (n < 0)
                return false;
            base[n] = 0;
        }
        size_t len = strlen(base);
        if (len + strlen(path) + 2 > PATH_MAX)
            return false;
        memcpy(ret_path, base, len);
        ret_path[len] = '/';
        memcpy(ret_path + len + 1, path, strlen(path) + 1);
    }
    if (strncmp(ret_path, root, root_len) != 0 || (ret_path[root_len] != '/' && ret_path[root_len] != 0))
        return false;
    if (strstr(ret_path, "/../"))
        die("a path with ..", ret_path);
    return strncmp(ret_path + root_len, "/state/agents", 13) != 0;
}

static struct known *find(const struct stat *st)
{
    for (size_t i = known_count; i > 0; i--)
        if (known[i - 1].id && known[i - 1].ino == st->st_ino && known[i - 1].dev == st->st_dev)
            return &known[i - 1];
    return NULL;
}

static struct known *get(const struct stat *st)
{
    struct known *file = find(st);
    if (file)
        return file;
    if (known_count == FILES_MAX)
        die("too many files", root);
    file = &known[known_count++];
    *file = (struct known){ st->st_dev, st->st_ino, ++ids };
    return file;
}

/* The id of the file behind a descriptor of ours, 0 for others. */
static uint64_t id_of(int fd, struct stat *ret_st)
{
    if (!active() || fd < 0 || fd >= FDS_MAX || !fd_ids[fd] || fstat(fd, ret_st) < 0)
        return 0;
    struct known *file = find(ret_st);
    if (!file || file->id != fd_ids[fd])
        return 0;
    return file->id;
}

static uint8_t *read_part(int fd, uint64_t from, size_t len)
{
    uint8_t *data = malloc(len + 1);
    size_t got = 0;
    if (!data)
        abort();
    /* A descriptor may be for writing alone. */
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int own = REAL(open)(link, O_RDONLY | O_CLOEXEC);
    while (own >= 0 && got < len) {
        ssize_t n = REAL(pread)(own, data + got, len - got, (off_t)(from + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    if (own < 0 || got < len)
        die("read", "what is about to be changed");
    REAL(close)(own);
    return data;
}

/* ---- changes of content ---- */

static void note_write(int fd, uint64_t id, const struct stat *st, uint64_t offset, size_t len)
{
    uint64_t size = (uint64_t)st->st_size, end = offset + len < size ? offset + len : size;
    size_t old = offset < end ? (size_t)(end - offset) : 0;
    uint8_t *data = read_part(fd, offset, old);
    put((struct head){ .type = RECORD_WRITE, .id = id, .a = offset, .b = len, .c = size }, NULL, NULL, data, old);
    free(data);
}

static void note_size(int fd, uint64_t id, const struct stat *st, uint64_t size)
{
    uint64_t was = (uint64_t)st->st_size;
    uint8_t *data = read_part(fd, size, size < was ? (size_t)(was - size) : 0);
    put((struct head){ .type = RECORD_SIZE, .id = id, .a = was, .b = size }, NULL, NULL, data, size < was ? (size_t)(was - size) : 0);
    free(data);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset)
{
    struct stat st;
    pthread_mutex_lock(&mutex);
    uint64_t id = id_of(fd, &st);
    if (id)
        note_write(fd, id, &st, (uint64_t)offset, len);
    ssize_t n = REAL(pwrite)(fd, buf, len, offset);
    int error = errno;
    pthread_mutex_unlock(&mutex);
    errno = error;
    return n;
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t offset)
{
    return pwrite(fd, buf, len, offset);
}

static void refuse(int fd, const char *what)
{
    struct stat st;
    if (id_of(fd, &st))
        die(what, root);
}

ssize_t write(int fd, const void *buf, size_t len)
{
    refuse(fd, "write");
    return REAL(write)(fd, buf, len);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    refuse(fd, "writev");
    return REAL(writev)(fd, parts, count);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    if (active()) {
        ssize_t all = 0;
        struct stat st;
        if (!id_of(fd, &st))
            return REAL(pwritev)(fd, parts, count, offset);
        for (int i = 0; i < count; i++) {
            ssize_t n = pwrite(fd, parts[i].iov_base, parts[i].iov_len, offset + all);
            if (n < 0)
                return all ? all : n;
            all += n;
            if ((size_t)n < parts[i].iov_len)
                break;
        }
        return all;
    }
    return REAL(pwritev)(fd, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    return pwritev(fd, parts, count, offset);
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    refuse(fd, "pwritev2");
    return REAL(pwritev2)(fd, parts, count, offset, flags);
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t len, unsigned flags)
{
    refuse(to, "copy_file_range");
    return REAL(copy_file_range)(from, from_at, to, to_at, len, flags);
}

int ftruncate(int fd, off_t size)
{
    struct stat st;
    pthread_mutex_lock(&mutex);
    uint64_t id = id_of(fd, &st);
    if (id)
        note_size(fd, id, &st, (uint64_t)size);
    int result = REAL(ftruncate)(fd, size);
    int error = errno;
    pthread_mutex_unlock(&mutex);
    errno = error;
    return result;
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

int posix_fallocate(int fd, off_t from, off_t len)
{
    struct stat st;
    pthread_mutex_lock(&mutex);
    uint64_t id = id_of(fd, &st);
    if (id && from + len > st.st_size)
        note_size(fd, id, &st, (uint64_t)(from + len));
    int result = REAL(posix_fallocate)(fd, from, len);
    pthread_mutex_unlock(&mutex);
    return result;
}

int posix_fallocate64(int fd, off64_t from, off64_t len)
{
    return posix_fallocate(fd, from, len);
}

int fallocate(int fd, int mode, off_t from, off_t len)
{
    refuse(fd, "fallocate");
    return REAL(fallocate)(fd, mode, from, len);
}

void *mmap(void *at, size_t len, int rights, int flags, int fd, off_t offset)
{
    struct stat st;
    if (fd >= 0 && (flags & MAP_SHARED) && (rights & PROT_WRITE) && id_of(fd, &st))
        die("mmap", root);
    return REAL(mmap)(at, len, rights, flags, fd, offset);
}

/* ---- flushes ---- */

static void take_time(void)
{
    if (!delay_max_us)
        return;
    pthread_mutex_lock(&mutex);
    uint64_t us = chance() % 4 ? chance() % (delay_max_us / 8 + 1) : chance() % delay_max_us;
    pthread_mutex_unlock(&mutex);
    nanosleep(&(struct timespec){ .tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000 }, NULL);
}

/* What was written down before it began is flushed when it ends; it may have been before. */
static bool flush(int fd)
{
    struct stat st;
    char path[PATH_MAX], link[64];
    ssize_t n = -1;
    if (!active())
        return false;
    pthread_mutex_lock(&mutex);
    uint64_t id = id_of(fd, &st), until = seq;
    bool lie = chance() % 100 < lie_percent;
    pthread_mutex_unlock(&mutex);
    if (!id) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode) || (n = readlink(link, path, sizeof path - 1)) < 0)
            return false;
        path[n] = 0;
        if (strncmp(path, root, root_len) != 0)
            return false;
    }
    take_time();
    if (lie)
        return true;
    pthread_mutex_lock(&mutex);
    if (id)
        put((struct head){ .type = RECORD_SYNC, .id = id, .a = until }, NULL, NULL, NULL, 0);
    else
        put((struct head){ .type = RECORD_DIRSYNC, .a = until }, path, NULL, NULL, 0);
    pthread_mutex_unlock(&mutex);
    return true;
}

int fsync(int fd)
{
    return flush(fd) ? 0 : REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    return flush(fd) ? 0 : REAL(fdatasync)(fd);
}

/* ---- names ---- */

static int open_known(const char *path, int flags, mode_t mode)
{
    struct stat st;
    pthread_mutex_lock(&mutex);
    bool there = lstat(path, &st) == 0;
    /* Emptying comes after it is known what there was. */
    int fd = REAL(open)(path, flags & ~O_TRUNC, mode), error = errno;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && fd < FDS_MAX) {
        struct known *file = get(&st);
        bool truncate = there && (flags & O_TRUNC) && st.st_size > 0;
        fd_ids[fd] = file->id;
        put((struct head){ .type = RECORD_OPEN, .id = file->id, .a = !there, .b = (uint64_t)st.st_size }, path, NULL, NULL, 0);
        if (truncate) {
            note_size(fd, file->id, &st, 0);
            if (REAL(ftruncate)(fd, 0) < 0)
                die("truncate", path);
        }
    }
    pthread_mutex_unlock(&mutex);
    errno = error;
    return fd;
}

static int open_any(int dir, const char *path, int flags, mode_t mode)
{
    char absolute[PATH_MAX];
    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & (O_CREAT | O_TRUNC)))
        return REAL(openat)(dir, path, flags, mode);
    if ((flags & O_TMPFILE) == O_TMPFILE || !below(dir, path, absolute))
        return REAL(openat)(dir, path, flags, mode);
    return open_known(absolute, flags, mode);
}

#define MODE(mode, flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list args; \
        va_start(args, flags); \
        mode = (mode_t)va_arg(args, int); \
        va_end(args); \
    }

int open(const char *path, int flags, ...)
{
    MODE(mode, flags)
    return open_any(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE(mode, flags)
    return open_any(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    MODE(mode, flags)
    return open_any(dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...)
{
    MODE(mode, flags)
    return open_any(dir, path, flags, mode);
}

/* What the fortified headers call. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

int __open_2(const char *path, int flags) { return open_any(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_any(AT_FDCWD, path, flags, 0); }
int __openat_2(int dir, const char *path, int flags) { return open_any(dir, path, flags, 0); }
int __openat64_2(int dir, const char *path, int flags) { return open_any(dir, path, flags, 0); }

int close(int fd)
{
    if (fd >= 0 && fd < FDS_MAX && active()) {
        pthread_mutex_lock(&mutex);
        fd_ids[fd] = 0;
        pthread_mutex_unlock(&mutex);
    }
    return REAL(close)(fd);
}

/* A file that is about to lose its name, with all of it. */
static uint8_t *going(const char *path, const struct stat *st, uint64_t *ret_id)
{
    int fd = REAL(open)(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        die("open", path);
    uint8_t *data = read_part(fd, 0, (size_t)st->st_size);
    REAL(close)(fd);
    struct known *file = get(st);
    *ret_id = file->id;
    return data;
}

static int rename_known(const char *from, const char *to)
{
    struct stat st, old;
    uint64_t replaced = 0;
    uint8_t *data = NULL;
    pthread_mutex_lock(&mutex);
    if (lstat(from, &st) < 0 || !S_ISREG(st.st_mode))
        die("rename", from);
    bool over = lstat(to, &old) == 0;
    if (over)
        data = going(to, &old, &replaced);
    put((struct head){ .type = RECORD_RENAME, .id = get(&st)->id, .a = replaced }, from, to, data, over ? (size_t)old.st_size : 0);
    free(data);
    int result = REAL(rename)(from, to), error = errno;
    if (result < 0)
        die("a rename that fails", from);
    if (over)
        find(&old)->id = 0;
    pthread_mutex_unlock(&mutex);
    errno = error;
    return result;
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    char one[PATH_MAX], two[PATH_MAX];
    struct stat st;
    bool a = below(from_dir, from, one), b = below(to_dir, to, two);
    if (!a && !b)
        return REAL(renameat)(from_dir, from, to_dir, to);
    if (a != b)
        die("rename across the border", from);
    if (lstat(one, &st) < 0)
        return REAL(renameat)(from_dir, from, to_dir, to);
    return rename_known(one, two);
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    char path[PATH_MAX];
    if (flags && below(from_dir, from, path))
        die("renameat2", path);
    return renameat(from_dir, from, to_dir, to);
}

int unlinkat(int dir, const char *path, int flags)
{
    char absolute[PATH_MAX];
    struct stat st;
    uint64_t id;
    if (!below(dir, path, absolute) || lstat(absolute, &st) < 0 || S_ISSOCK(st.st_mode))
        return REAL(unlinkat)(dir, path, flags);
    if (flags & AT_REMOVEDIR)
        die("rmdir", absolute);
    if (!S_ISREG(st.st_mode))
        return REAL(unlinkat)(dir, path, flags);
    pthread_mutex_lock(&mutex);
    uint8_t *data = going(absolute, &st, &id);
    put((struct head){ .type = RECORD_UNLINK, .id = id }, absolute, NULL, data, (size_t)st.st_size);
    free(data);
    int result = REAL(unlinkat)(dir, path, flags);
    if (result < 0)
        die("an unlink that fails", absolute);
    find(&st)->id = 0;
    pthread_mutex_unlock(&mutex);
    return result;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    char absolute[PATH_MAX];
    struct stat st;
    if (!below(dir, path, absolute) || lstat(absolute, &st) == 0)
        return REAL(mkdirat)(dir, path, mode);
    pthread_mutex_lock(&mutex);
    put((struct head){ .type = RECORD_MKDIR }, absolute, NULL, NULL, 0);
    int result = REAL(mkdirat)(dir, path, mode), error = errno;
    pthread_mutex_unlock(&mutex);
    errno = error;
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    char path[PATH_MAX];
    if (below(from_dir, from, path) || below(to_dir, to, path))
        die("link", path);
    return REAL(linkat)(from_dir, from, to_dir, to, flags);
}

int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}
