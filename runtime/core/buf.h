/* SPDX-License-Identifier: Apache-2.0
 * A growing run of bytes with a limit, and memory for secrets. */
#ifndef KOS_CORE_BUF_H
#define KOS_CORE_BUF_H

#include <kos/bytes.h>
#include <kos/err.h>

struct kos_buf {
    uint8_t *data;
    size_t len, cap, limit;   /* limit: bytes it may hold at most */
};

void kos_buf_init(struct kos_buf *buf, size_t limit);
void kos_buf_fini(struct kos_buf *buf);
void kos_buf_reset(struct kos_buf *buf);                                     /* empty, memory kept */
int32_t kos_buf_reserve(struct kos_buf *buf, size_t more);                   /* room for `more` behind len; KOS_E_LIMIT, KOS_E_NOMEM */
int32_t kos_buf_append(struct kos_buf *buf, struct kos_bytes bytes);
int32_t kos_buf_printf(struct kos_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void kos_buf_consume(struct kos_buf *buf, size_t len);                       /* drops from the front */
static inline struct kos_bytes kos_buf_bytes(const struct kos_buf *buf) { return kos_bytes(buf->data, buf->len); }

/* Locked, guarded, never in a core file (libsodium's secure memory). Wiped on free. NULL when the system's limit on
 * locked memory is reached. */
void *kos_secret_new(size_t len);
void kos_secret_free(void *secret);

/* malloc that ends the process when there is none: for small, bounded things. */
void *kos_new(size_t len);       /* zeroed */
void *kos_memdup(const void *data, size_t len);
char *kos_strdup(const char *text);
char *kos_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
