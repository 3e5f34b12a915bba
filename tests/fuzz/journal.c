/* SPDX-License-Identifier: Apache-2.0
 *
 * The store's journal as somebody left it: records are written by the node's own writer, then the input damages the files
 * (bytes changed, cut off, moved, put in one another's place, garbage beside them), perhaps with hashes that are right
 * again, and they are read. What is handed on comes in order without a gap, and without forged hashes is what was written.
 */
#include "fuzz.h"

#include <sodium.h>

#include "core/manual.h"
#include "store/journal_format.h"

enum { RECORDS = 24, SEGMENT = 8192, STORE = 7, PAYLOAD = 1200, STEPS = 32 };
static const char dir[] = "/journal";

struct world {
    struct kos_manual *manual;
    struct kos_env *env;
    uint64_t applied, written, tried, next; /* one that failed may be there all the same */
    uint8_t payload[RECORDS + 1][PAYLOAD];
    size_t len[RECORDS + 1];
    bool forged;
};

static int32_t each(void *arg, uint64_t number, struct kos_bytes payload, struct kos_error *ret_error)
{
    struct world *w = arg;
    (void)ret_error;
    FUZZ_CHECK(number == w->next++);
    FUZZ_CHECK(w->forged || (number <= w->tried && payload.len == w->len[number]));
    FUZZ_CHECK(w->forged || memcmp(payload.data, w->payload[number], payload.len) == 0);
    free(fuzz_copy(payload)); /* all of it can be read */
    return KOS_OK;
}

static void say(void *arg, const char *line)
{
    (void)arg;
    FUZZ_CHECK(line[0]);
}

static void write_records(struct world *w, struct fuzz_input *in)
{
    struct journal journal;
    uint8_t count = fuzz_u8(in) % (RECORDS + 1);
    journal_init(&journal, w->env, dir, STORE, SEGMENT);
    w->applied = count ? fuzz_u8(in) % (count + 1u) : 0;
    for (w->written = 0; w->written < count;) {
        uint64_t n = w->written + 1;
        size_t len = fuzz_u16(in) % PAYLOAD;
        if (n > w->tried) { /* the same record goes to the next segment */
            w->len[n] = len;
            memset(w->payload[n], (int)n, len);
        }
        w->tried = n;
        struct kos_bytes piece = kos_bytes(w->payload[n], w->len[n]);
        if (fuzz_u8(in) % 16 == 0)
            kos_manual_fail_files(w->manual, 2, KOS_E_IO);
        int32_t rc = journal_write(&journal, n, &piece, 1);
        kos_manual_fail_files(w->manual, 0, KOS_OK);
        if (rc == KOS_OK)
            w->written = n;
        else
            count--;
    }
    if (w->applied > w->written)
        w->applied = w->written; /* only what was written is ever applied */
    journal_fini(&journal);
}

struct pick { char name[64]; size_t at, wanted; };

static void pick_name(void *arg, const char *name)
{
    struct pick *pick = arg;
    if (pick->at++ == pick->wanted && strlen(name) < sizeof pick->name)
        memcpy(pick->name, name, strlen(name) + 1);
}

/* Makes the record at `offset` what a writer would have left, whatever stands in it. */
static void forge(struct world *w, struct kos_file *file, uint64_t offset)
{
    uint8_t head[JOURNAL_HEAD_BYTES] = { 0 }, record[JOURNAL_RECORD_HEAD + PAYLOAD] = { 0 };
    const struct kos_env_ops *ops = w->env->ops;
    if (ops->file_read(file, head, sizeof head, 0) < 0 || ops->file_read(file, record, sizeof record, offset) < JOURNAL_RECORD_HEAD)
        return;
    put32(record, get32(record) % PAYLOAD);
    put32(record + 4, journal_record_check(head + 32, record));
    journal_record_hash(head + 32, record, record + 16);
    w->forged = true;
    ops->file_write(file, record, JOURNAL_RECORD_HEAD, offset);
}

static void damage(struct world *w, struct fuzz_input *in)
{
    const struct kos_env_ops *ops = w->env->ops;
    uint8_t what = fuzz_u8(in) % 6;
    struct pick one = { .wanted = fuzz_u8(in) % 8 }, other = { .wanted = fuzz_u8(in) % 8 };
    uint64_t offset = fuzz_u16(in) % (2 * SEGMENT);
    char path[128], to[128];
    struct kos_file *file;
    ops->dir_list(w->env, dir, pick_name, &one);
    ops->dir_list(w->env, dir, pick_name, &other);
    snprintf(path, sizeof path, "%s/%s", dir, one.name[0] ? one.name : "0000000000000001.seg");
    snprintf(to, sizeof to, "%s/%s", dir, other.name[0] ? other.name : "0000000000000009.seg");
    if (what == 3)
        ops->file_rename(w->env, path, to);
    if (what == 4)
        ops->file_remove(w->env, path);
    if (what == 3 || what == 4 || ops->file_open(w->env, path, KOS_FILE_READ | KOS_FILE_WRITE | (what == 5 ? KOS_FILE_CREATE : 0), 0600, &file) < 0)
        return;
    struct kos_bytes bytes = fuzz_take(in, what == 0 || what == 5 ? fuzz_u8(in) : 0);
    if (bytes.len)
        ops->file_write(file, bytes.data, bytes.len, offset);
    if (what == 1)
        ops->file_truncate(file, offset);
    if (what == 2)
        forge(w, file, offset & ~UINT64_C(7));
    ops->file_close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input(data, size);
    struct world *w = calloc(1, sizeof *w);
    struct journal_state state;
    struct kos_error error = { 0 };
    FUZZ_CHECK(w);
    w->manual = kos_manual_new(1);
    w->env = kos_manual_env(w->manual);
    w->env->ops->dir_make(w->env, dir, 0700);
    write_records(w, &in);
    bool whole = !in.left;
    for (int step = 0; in.left && step < STEPS; step++)
        damage(w, &in);
    for (int verify = 0; verify < 2; verify++) {
        struct journal_reader reader = { w->env, dir, STORE, w->applied, verify, each, say, w };
        w->next = w->applied + 1;
        int32_t rc = journal_read(&reader, &state, &error);
        FUZZ_CHECK(rc == KOS_OK || (rc < 0 && error.text[0]));
        FUZZ_CHECK(!whole || (rc == KOS_OK && state.last >= w->written && state.last <= w->tried));
        if (rc == KOS_OK) {
            FUZZ_CHECK(state.last + 1 == w->next && state.played == state.last - w->applied);
            for (size_t i = 1; i < state.segment_count; i++)
                FUZZ_CHECK(state.segments[i - 1] < state.segments[i]);
            journal_state_fini(&state);
        }
    }
    kos_manual_free(w->manual);
    free(w);
    return 0;
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    uint8_t seed[160];
    for (uint8_t what = 0; what < 6; what++) {
        memset(seed, 0, sizeof seed);
        seed[0] = 12;                    /* records */
        seed[1] = what;                  /* of them applied */
        for (size_t n = 0; n < 12; n++) { /* length, and whether the write fails at first */
            seed[2 + 3 * n] = (uint8_t)(n % 4);
            seed[3 + 3 * n] = (uint8_t)(n * 40);
            seed[4 + 3 * n] = n == 5 && what == 3 ? 16 : 1;
        }
        put(arg, kos_bytes(seed, 38));
        for (uint8_t at = 0; at < 3; at++) {
            uint8_t *step = seed + 38;
            step[0] = what;
            step[1] = at;
            step[2] = (uint8_t)(at + 1);
            step[3] = 16;                /* 4096: the first record */
            step[4] = (uint8_t)(at * 8);
            step[5] = 8;
            memset(step + 6, 0x41, 8);
            put(arg, kos_bytes(seed, 52));
        }
    }
    put(arg, kos_bytes_str("\x0c\x04\x0c")); /* no write succeeds */
}
