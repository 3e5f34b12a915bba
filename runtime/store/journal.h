/* SPDX-License-Identifier: Apache-2.0
 *
 * The redo log: segments `journal/<16 hex digits of the first record's number>.seg`, preallocated, append-only.
 *
 *   segment   head at 0 and its copies at 512 and at the last multiple of 512, records from 4096 on to there, each at a
 *             multiple of 8. The copy at the end outlives a page that went bad: without any of them the segment would
 *             pass for one that was begun and not used
 *   head      "KOSJRNL" 0x00, u32 version 1, u32 0, u64 store, u64 first number, 16 bytes of key, u64 hash of these
 *   record    u32 payload length, u32 check of length and number, u64 number, u64 hash of all these and the payload,
 *             payload, zeros to a multiple of 8
 *   payload   transactions, each u32 length and that many bytes
 *
 * Integers are little-endian, hashes SipHash-2-4 under the segment's own random key: no payload, chosen by whomever,
 * and nothing left over in a reused segment can look like a record of it. The check keeps a search for records behind a
 * torn one from hashing much for numbers that somebody wrote into a payload.
 *
 * Records are numbered 1, 2, 3 ... without a gap. One is on its way to the disk at a time, and after a failed write or
 * sync the same record goes to a new segment, never again to the file that failed. So a record counts in a segment only
 * while its number is below the first of the next segment, all below it must be there, and only the last record of the
 * last segment can be torn: a valid one behind an invalid one is damage, which is reported and never cut.
 */
#ifndef KOS_STORE_JOURNAL_H
#define KOS_STORE_JOURNAL_H

#include "core/env.h"

enum { JOURNAL_HEAD = 4096, JOURNAL_TAIL = 512, JOURNAL_RECORD_HEAD = 24, JOURNAL_PAYLOAD_MAX = 64 << 20 };

/* Where records are written. Used by one thread at a time: the worker of the write under way. */
struct journal {
    struct kos_env *env;
    char *dir;
    uint64_t store, segment_bytes;
    uint8_t seed[32]; /* the segments' keys come from it */
    uint64_t keys;
    struct kos_file *file; /* the open segment, NULL before the first write */
    uint64_t first, offset, size;
    uint8_t key[16];
    bool failed;          /* the open segment failed and takes nothing more */
    uint64_t spare_bytes; /* size of spare.seg, 0 when there is none */
    uint64_t syncs;
    /* The last record found at the start, which may be in memory only: its sync may have failed in the process before
     * this one, and what a failed sync left out no later one writes. It is written once more before the first new one;
     * again_end 0: there is none. */
    uint64_t again_first, again_from, again_end;
};

/* Called on the loop: takes randomness. */
void journal_init(struct journal *journal, struct kos_env *env, const char *dir, uint64_t store, uint64_t segment_bytes);
void journal_fini(struct journal *journal);
/* True when records of together `bytes` payload in `records` pieces go into the open segment. */
bool journal_fits(const struct journal *journal, uint64_t bytes, uint64_t records);
/* Appends one record and makes it durable. On failure nothing of it counts, and the next try goes to a new segment. */
int32_t journal_write(struct journal *journal, uint64_t number, const struct kos_bytes *pieces, size_t count);
/* Makes spare.seg: from the segment that begins at `recycle` when it is as large, else anew. Any thread. */
int32_t journal_spare(struct kos_env *env, const char *dir, uint64_t bytes, uint64_t recycle);
int32_t journal_remove(struct kos_env *env, const char *dir, uint64_t first);

/* What a journal holds. */
struct journal_state {
    uint64_t *segments;    /* first numbers, in order; malloc'ed */
    size_t segment_count;
    size_t found;          /* segments that lie there, with one that was only begun */
    uint64_t last;         /* number of the last valid record; `applied` when there is none behind it */
    uint64_t bytes;        /* of records behind `applied` */
    uint64_t played;       /* records handed to `each` */
    uint64_t again_first, again_from, again_end; /* of the last of them: its segment and bytes; struct journal */
    uint64_t torn;         /* bytes of the torn record at the end, 0 when the end is clean */
    bool spare;
};

struct journal_reader {
    struct kos_env *env;
    const char *dir;
    uint64_t store, applied;
    bool verify; /* read also the segments that lie wholly before `applied` */
    /* Gets each record behind `applied`. */
    int32_t (*each)(void *arg, uint64_t number, struct kos_bytes payload, struct kos_error *ret_error);
    void (*say)(void *arg, const char *line); /* may be NULL */
    void *arg;
};

/* Reads all segments. KOS_E_CORRUPT with a sentence when a record that must be there is not. */
int32_t journal_read(const struct journal_reader *reader, struct journal_state *ret_state, struct kos_error *ret_error);
void journal_state_fini(struct journal_state *state);

#endif
