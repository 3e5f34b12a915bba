/* SPDX-License-Identifier: Apache-2.0
 * Files of checksummed frames: logs and bases. In the machine's byte order; the head says which, so that a file from a
 * machine of the other is refused and not misread.
 *
 * head     "KOSHNSW1", u32 1, u32 dimension
 * frame    u32 magic, u32 bytes of payload, u64 how much of the file was durable when it was written, u64 its number
 *          from 1, first 16 bytes of SHA-256 over all that before and the payload
 * payload  entries, one behind the other
 * entry    u8 kind, u8 id length, u16 metadata length, u32 flags, u64 version, 32 bytes digest, id, metadata, floats
 *
 * A frame that is not whole, with none behind it that was written when it was durable already, is what a crash left of a
 * write that nobody was told had happened: it is cut off. Any other is damage. */
#include "hnsw.h"

#include <errno.h>
#include <fcntl.h>
#include <klp/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD = 16, FRAME = 40, SUM = 16, ENTRY = 48, WINDOW = 1 << 20 };
#define MAGIC UINT32_C(0x534c464b)

int32_t file_error(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EFBIG ? KOS_E_NOSPACE
        : error == ENOENT                                       ? KOS_E_NOTFOUND
        : error == EACCES || error == EPERM || error == EROFS   ? KOS_E_PERMISSION
        : error == EMFILE || error == ENFILE                    ? KOS_E_LIMIT
        : error == ENOMEM                                       ? KOS_E_NOMEM
                                                                : KOS_E_IO;
}

/* ---- writing ---- */

size_t wal_begin(struct out *out)
{
    size_t begin = out->len;
    memset(out_take(out, FRAME), 0, FRAME);
    return begin;
}

void wal_put(struct out *out, enum record kind, const struct given *item, const float *vector, uint32_t dimension)
{
    uint8_t *head = out_take(out, ENTRY);
    uint16_t metadata_len = (uint16_t)item->metadata.len;
    uint32_t flags = (item->flags & 1) | (vector ? 2 : 0);
    head[0] = (uint8_t)kind;
    head[1] = (uint8_t)item->id.len;
    memcpy(head + 2, &metadata_len, 2);
    memcpy(head + 4, &flags, 4);
    memcpy(head + 8, &item->version, 8);
    memcpy(head + 16, item->digest, 32);
    out_put(out, item->id.data, item->id.len);
    out_put(out, item->metadata.data, item->metadata.len);
    if (vector)
        out_put(out, vector, dimension * sizeof *vector);
}

static void checksum(const uint8_t head[FRAME - SUM], const uint8_t *payload, size_t len, uint8_t ret_sum[SUM])
{
    const struct kos_bytes pieces[] = { kos_bytes(head, FRAME - SUM), kos_bytes(payload, len) };
    struct klp_digest whole;
    klp_sha256v(pieces, 2, &whole);
    memcpy(ret_sum, whole.b, SUM);
}

void wal_end(struct out *out, size_t begin, struct wal *wal)
{
    uint8_t *head = out->data + begin;
    uint32_t magic = MAGIC, len = (uint32_t)(out->len - begin - FRAME);
    wal->frames++;
    memcpy(head, &magic, 4);
    memcpy(head + 4, &len, 4);
    memcpy(head + 8, &wal->synced, 8);
    memcpy(head + 16, &wal->frames, 8);
    checksum(head, head + FRAME, len, head + FRAME - SUM);
}

static int32_t write_at(int fd, const uint8_t *data, size_t len, uint64_t at)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, data, len < WINDOW ? len : WINDOW, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return file_error(n ? errno : EIO);
        data += n;
        len -= (size_t)n;
        at += (uint64_t)n;
    }
    return KOS_OK;
}

int32_t wal_write(struct wal *wal, const struct out *frames, struct kos_error *ret_error)
{
    int32_t rc = write_at(wal->fd, frames->data, frames->len, wal->length);
    if (rc < 0)
        return kos_fail(ret_error, rc, "writing %zu bytes failed: %s", frames->len, kos_error_text(rc));
    wal->length += frames->len;
    return KOS_OK;
}

int32_t wal_sync(struct wal *wal, struct kos_error *ret_error)
{
    if (fdatasync(wal->fd) != 0)
        return kos_fail(ret_error, file_error(errno), "syncing failed: %s", strerror(errno));
    wal->synced = wal->length;
    return KOS_OK;
}

int32_t wal_append(struct wal *wal, const struct out *frames, struct kos_error *ret_error)
{
    uint64_t before = wal->length;
    int32_t rc = wal_write(wal, frames, ret_error);
    bool unclear = false;
    if (rc == KOS_OK) {
        rc = wal_sync(wal, ret_error);
        unclear = rc < 0;
    }
    if (rc == KOS_OK)
        return KOS_OK;
    /* What was written in part is taken back, so that the next frame follows the last whole one. */
    if (ftruncate(wal->fd, (off_t)before) != 0 || fdatasync(wal->fd) != 0)
        unclear = true;
    wal->length = before;
    return unclear ? KOS_E_STATE : rc;
}

int32_t wal_create(int dir, const char *name, uint32_t dimension, struct wal *ret_wal, struct kos_error *ret_error)
{
    uint8_t head[HEAD] = "KOSHNSW1";
    uint32_t one = 1;
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    memcpy(head + 8, &one, 4);
    memcpy(head + 12, &dimension, 4);
    int32_t rc = fd < 0 ? file_error(errno) : write_at(fd, head, sizeof head, 0);
    if (rc == KOS_OK && (fdatasync(fd) != 0 || fsync(dir) != 0))
        rc = file_error(errno);
    if (rc < 0) {
        if (fd >= 0)
            close(fd);
        return kos_fail(ret_error, rc, "%s cannot be made: %s", name, kos_error_text(rc));
    }
    *ret_wal = (struct wal){ .fd = fd, .length = HEAD, .synced = HEAD };
    return KOS_OK;
}

void wal_close(struct wal *wal)
{
    if (wal->fd >= 0)
        close(wal->fd);
    wal->fd = -1;
}

/* ---- reading ---- */

int32_t wal_next(struct kos_bytes *rest, uint32_t dimension, struct wal_entry *ret_entry)
{
    struct wal_entry e = { 0 };
    uint16_t metadata_len;
    uint32_t flags;
    const uint8_t *at = rest->data;
    if (rest->len == 0)
        return 0;
    if (rest->len < ENTRY)
        return KOS_E_CORRUPT;
    memcpy(&metadata_len, at + 2, 2);
    memcpy(&flags, at + 4, 4);
    memcpy(&e.item.version, at + 8, 8);
    memcpy(e.item.digest, at + 16, 32);
    size_t floats = flags & 2 ? (size_t)dimension * sizeof(float) : 0, len = ENTRY + at[1] + metadata_len + floats;
    bool put = at[0] == RECORD_PUT, dead = at[0] == RECORD_DEAD;
    if (rest->len < len || (!put && !dead && at[0] != RECORD_REMOVE) || at[1] > ID_MAX || (at[1] == 0) != dead ||
        metadata_len > METADATA_MAX || (put && (floats > 0) == (flags & 1)) || (dead && !floats))
        return KOS_E_CORRUPT;
    e.kind = (enum record)at[0];
    e.item.flags = flags & 1;
    e.item.id = kos_bytes(at + ENTRY, at[1]);
    e.item.metadata = kos_bytes(at + ENTRY + at[1], metadata_len);
    e.vector = floats ? at + ENTRY + at[1] + metadata_len : NULL;
    *rest = kos_bytes(at + len, rest->len - len);
    *ret_entry = e;
    return 1;
}

static bool read_at(int fd, void *data, size_t len, uint64_t at)
{
    for (uint8_t *to = data; len > 0;) {
        ssize_t n = pread(fd, to, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        to += n;
        len -= (size_t)n;
        at += (uint64_t)n;
    }
    return true;
}

/* A whole frame at `at`, into *buffer. 1; 0: none is there; KOS_E_IO, KOS_E_NOMEM. */
static int32_t read_frame(int fd, uint64_t at, uint64_t size, struct out *buffer, uint64_t *ret_synced,
                          uint64_t *ret_number)
{
    uint8_t head[FRAME], sum[SUM];
    uint32_t magic, len;
    if (size - at < FRAME)
        return 0;
    if (!read_at(fd, head, FRAME, at))
        return KOS_E_IO;
    memcpy(&magic, head, 4);
    memcpy(&len, head + 4, 4);
    if (magic != MAGIC || len > size - at - FRAME)
        return 0;
    if (buffer->cap < len) {
        uint8_t *data = realloc(buffer->data, len);
        if (!data)
            return KOS_E_NOMEM;
        buffer->data = data;
        buffer->cap = len;
    }
    if (len && !read_at(fd, buffer->data, len, at + FRAME))
        return KOS_E_IO;
    buffer->len = len;
    checksum(head, buffer->data, len, sum);
    memcpy(ret_synced, head + 8, 8);
    memcpy(ret_number, head + 16, 8);
    return memcmp(sum, head + FRAME - SUM, SUM) == 0;
}

/* Whether behind `bad` stands a frame that was written when what stood at `bad` was durable. */
static int32_t is_damage(int fd, uint64_t bad, uint64_t size, struct out *buffer)
{
    uint8_t *window = malloc(WINDOW);
    uint32_t magic = MAGIC;
    int32_t rc = window ? 0 : KOS_E_NOMEM;
    for (uint64_t at = bad + 1; rc == 0 && at + FRAME <= size;) {
        size_t len = size - at < WINDOW ? (size_t)(size - at) : WINDOW;
        if (!read_at(fd, window, len, at))
            rc = KOS_E_IO;
        const uint8_t *found = window;
        while (rc == 0 && (found = memmem(found, len - (size_t)(found - window), &magic, 4))) {
            uint64_t synced = 0, number;
            int32_t whole = read_frame(fd, at + (uint64_t)(found - window), size, buffer, &synced, &number);
            rc = whole < 0 ? whole : whole == 1 && synced > bad;
            found++;
        }
        at += len == WINDOW ? len - 3 : len;
    }
    free(window);
    return rc;
}

static int32_t read_head(int fd, uint32_t dimension, uint64_t *ret_size)
{
    uint8_t head[HEAD];
    uint32_t said[2];
    struct stat st;
    if (fstat(fd, &st) != 0)
        return file_error(errno);
    if (!S_ISREG(st.st_mode) || st.st_size < HEAD || !read_at(fd, head, HEAD, 0))
        return KOS_E_CORRUPT;
    memcpy(said, head + 8, sizeof said);
    if (memcmp(head, "KOSHNSW1", 8) != 0 || said[0] != 1 || said[1] != dimension)
        return KOS_E_CORRUPT;
    *ret_size = (uint64_t)st.st_size;
    return KOS_OK;
}

static int32_t read_all(struct wal *wal, uint64_t size, const struct wal_reader *reader, uint64_t *ret_bad,
                        struct kos_error *ret_error)
{
    struct out buffer = { 0 };
    int32_t rc = 1;
    while (rc == 1 && wal->length < size) {
        uint64_t synced, number;
        rc = read_frame(wal->fd, wal->length, size, &buffer, &synced, &number);
        if (rc == 1 && (number != wal->frames + 1 || synced > wal->length))
            rc = 0;
        if (rc == 0) {
            int32_t damage = is_damage(wal->fd, wal->length, size, &buffer);
            *ret_bad = wal->length;
            rc = damage < 0 ? damage : damage ? KOS_E_CORRUPT : KOS_OK;
            break;
        }
        if (rc < 0)
            break;
        wal->frames = number;
        int32_t taken = reader->frame(reader->arg, kos_bytes(buffer.data, buffer.len), ret_error);
        if (taken < 0) {
            free(buffer.data);
            return taken;
        }
        wal->length += FRAME + buffer.len;
    }
    free(buffer.data);
    return rc < 0 ? kos_fail(ret_error, rc, "at byte %llu: %s", (unsigned long long)wal->length, kos_error_text(rc))
                  : KOS_OK;
}

int32_t wal_open(int dir, const char *name, uint32_t dimension, bool tail, const struct wal_reader *reader,
                 struct wal *ret_wal, uint64_t *ret_cut, struct kos_error *ret_error)
{
    struct wal wal = { .fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW), .length = HEAD };
    uint64_t size = 0, bad = 0;
    struct kos_error why = { 0 };
    int32_t rc = wal.fd < 0 ? file_error(errno) : read_head(wal.fd, dimension, &size);
    if (rc < 0)
        kos_fail(&why, rc, "its head cannot be read or is not of a file of this dimension: %s", kos_error_text(rc));
    else
        rc = read_all(&wal, size, reader, &bad, &why);
    if (rc == KOS_OK && bad && !tail)
        rc = kos_fail(&why, KOS_E_CORRUPT, "at byte %llu: it ends in a frame that is not whole",
                      (unsigned long long)bad);
    if (rc == KOS_OK && bad && (ftruncate(wal.fd, (off_t)bad) != 0 || fdatasync(wal.fd) != 0))
        rc = kos_fail(&why, file_error(errno), "its torn end cannot be cut off: %s", strerror(errno));
    if (rc < 0) {
        wal_close(&wal);
        return kos_fail(ret_error, rc, "%s: %s", name, why.text);
    }
    *ret_cut = bad ? size - bad : 0;
    wal.synced = wal.length;
    *ret_wal = wal;
    return KOS_OK;
}
