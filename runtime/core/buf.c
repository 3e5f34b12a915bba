/* SPDX-License-Identifier: Apache-2.0
 * Bounded buffers, secret memory, and allocation that does not come back empty. */
#include "core/buf.h"

#include <sodium.h>
#include <stdlib.h>
#include <sys/mman.h>

void kos_buf_init(struct kos_buf *buf, size_t limit)
{
    *buf = (struct kos_buf){ .limit = limit };
}

void kos_buf_fini(struct kos_buf *buf)
{
    free(buf->data);
    *buf = (struct kos_buf){ .limit = buf->limit };
}

void kos_buf_reset(struct kos_buf *buf)
{
    buf->len = 0;
}

int32_t kos_buf_reserve(struct kos_buf *buf, size_t more)
{
    if (more > buf->limit || buf->len > buf->limit - more)
        return KOS_E_LIMIT;
    size_t need = buf->len + more;
    if (need <= buf->cap)
        return KOS_OK;
    size_t cap = buf->cap ? buf->cap : 64;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap > buf->limit)
        cap = buf->limit;
    uint8_t *data = realloc(buf->data, cap);
    if (!data)
        return KOS_E_NOMEM;
    buf->data = data;
    buf->cap = cap;
    return KOS_OK;
}

int32_t kos_buf_append(struct kos_buf *buf, struct kos_bytes bytes)
{
    int32_t rc = kos_buf_reserve(buf, bytes.len);
    if (rc < 0 || bytes.len == 0)
        return rc;
    memcpy(buf->data + buf->len, bytes.data, bytes.len);
    buf->len += bytes.len;
    return KOS_OK;
}

int32_t kos_buf_printf(struct kos_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0)
        return KOS_E_NOMEM;
    int32_t rc = kos_buf_append(buf, kos_bytes(text, (size_t)len));
    free(text);
    return rc;
}

void kos_buf_consume(struct kos_buf *buf, size_t len)
{
    if (len > buf->len)
        abort();
    buf->len -= len;
    if (buf->len && len)
        memmove(buf->data, buf->data + len, buf->len);
}

void *kos_secret_new(size_t len)
{
    if (sodium_init() < 0)
        return NULL;
    void *secret = sodium_malloc(len);
    if (!secret)
        return NULL;
    /* sodium_malloc goes on silently when the pages cannot be locked; locking them again tells. */
    if (len && sodium_mlock(secret, len) != 0) {
        sodium_free(secret);
        return NULL;
    }
    if (len)
        memset(secret, 0, len);
    return secret;
}

void kos_secret_free(void *secret)
{
    sodium_free(secret);
}

void *kos_new(size_t len)
{
    void *p = calloc(1, len ? len : 1);
    if (!p)
        abort();
    return p;
}

void *kos_memdup(const void *data, size_t len)
{
    void *p = malloc(len ? len : 1);
    if (!p)
        abort();
    if (len)
        memcpy(p, data, len);
    return p;
}

char *kos_strdup(const char *text)
{
    return kos_memdup(text, strlen(text) + 1);
}

char *kos_format(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0)
        abort();
    return text;
}
