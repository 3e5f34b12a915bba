/* SPDX-License-Identifier: Apache-2.0
 * Bytes of the journal, for its writer and its reader. */
#ifndef KOS_STORE_JOURNAL_FORMAT_H
#define KOS_STORE_JOURNAL_FORMAT_H

#include "store/journal.h"

#define JOURNAL_MAGIC "KOSJRNL"
#define JOURNAL_SPARE "spare.seg"
enum { JOURNAL_VERSION = 1, JOURNAL_HEAD_BYTES = 56, JOURNAL_HEAD_COPY = 512 };

struct journal_head {
    uint64_t store, first;
    uint8_t key[16];
};

void journal_head_encode(const struct journal_head *head, uint8_t out[JOURNAL_HEAD_BYTES]);
/* record: head and payload as they stand in the file; for the hash the payload's length was checked before. */
uint32_t journal_record_check(const uint8_t key[16], const uint8_t *record);
void journal_record_hash(const uint8_t key[16], const uint8_t *record, uint8_t ret_hash[8]);
uint64_t journal_record_bytes(uint64_t payload);
char *journal_path(const char *dir, uint64_t first);

static inline void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static inline void put64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static inline uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t get64(const uint8_t *p)
{
    return get32(p) | (uint64_t)get32(p + 4) << 32;
}

#endif
