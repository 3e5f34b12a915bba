/* SPDX-License-Identifier: Apache-2.0
 *
 * Records (klp(7), "Session"): what a session carries after its handshake, one object per direction.
 *
 * The key of an epoch of 2^20 counters follows from the key before by Noise's REKEY; the nonce is the whole counter,
 * so neither key nor nonce is ever used twice. A receiver of datagrams holds up to three keys: the current epoch's, the
 * last one's while its late datagrams are still inside the window, and the next one's once something claimed to be
 * of it. Only a datagram that opened moves the window or the epoch.
 */
#include "noise_private.h"

#include <stdlib.h>

enum { TAG = 16, STREAM_HEAD = 2, DATAGRAM_HEAD = KLP_DATAGRAM_HEAD, WINDOW_WORDS = KLP_REPLAY_WINDOW / 64 };
/* The counter's low bits that a datagram shows. The rest follows from what was opened before: half their range is
 * more than the two epochs within which a counter is tried at all. */
enum { SHOWN_BITS = 24 };
_Static_assert(SHOWN_BITS - 1 > KLP_EPOCH_SHIFT + 1, "a counter of the next epoch must be told apart");
enum form { UNDECIDED = 0, STREAM, DATAGRAM, DEAD };

struct klp_record {
    bool sends;
    uint8_t form;
    uint64_t next;              /* sending: next counter; receiving: highest opened + 1 */
    uint64_t epoch;             /* of `current` */
    struct klp_aead *current;
    struct klp_aead *before;    /* epoch - 1, or NULL */
    struct klp_aead *after;     /* epoch + 1, or NULL */
    uint64_t opened;            /* receiving datagrams: the last one that did */
    /* Bit (counter % KLP_REPLAY_WINDOW) says opened, for the KLP_REPLAY_WINDOW counters below `next`. */
    uint64_t window[WINDOW_WORDS];
};

struct klp_record *klp_record_new(const uint8_t key[32], bool sends)
{
    struct klp_record *record = calloc(1, sizeof *record);
    if (!record)
        return NULL;
    record->sends = sends;
    record->current = klp_aead_new(key);
    if (!record->current) {
        free(record);
        return NULL;
    }
    return record;
}

static void drop(struct klp_aead **aead)
{
    klp_aead_free(*aead);
    *aead = NULL;
}

static void forget(struct klp_record *record)
{
    drop(&record->before);
    drop(&record->current);
    drop(&record->after);
}

void klp_record_free(struct klp_record *record)
{
    if (!record)
        return;
    forget(record);
    free(record);
}

uint64_t klp_record_counter(const struct klp_record *record)
{
    return record->next;
}

uint64_t klp_record_opened(const struct klp_record *record)
{
    return record->opened;
}

/* Noise 11.3: the new key is the first 32 bytes of 32 zeros sealed under the old one at nonce 2^64-1. */
static struct klp_aead *rekey(struct klp_aead *old)
{
    static const uint8_t zeros[32];
    uint8_t nonce[12], sealed[sizeof zeros + TAG];
    struct klp_aead *aead = NULL;
    klp_noise_nonce(UINT64_MAX, nonce);
    if (klp_aead_seal(old, nonce, kos_bytes(NULL, 0), kos_bytes(zeros, sizeof zeros), sealed) == KOS_OK)
        aead = klp_aead_new(sealed);
    klp_wipe(sealed, sizeof sealed);
    return aead;
}

static int32_t prepare_next_epoch(struct klp_record *record)
{
    if (!record->after)
        record->after = rekey(record->current);
    return record->after ? KOS_OK : KOS_E_NOMEM;
}

static void enter_next_epoch(struct klp_record *record)
{
    drop(&record->before);
    record->before = record->current;
    record->current = record->after;
    record->after = NULL;
    record->epoch++;
}

static bool may(struct klp_record *record, bool sends, enum form form)
{
    if (record->sends != sends || (record->form != UNDECIDED && record->form != form))
        return false;
    record->form = (uint8_t)form;
    return true;
}

/* Both forms, when counters come in order: the key for `next`. */
static int32_t turn_epoch(struct klp_record *record)
{
    if (record->next == UINT64_MAX)
        return KOS_E_LIMIT; /* reserved for REKEY */
    if (record->next >> KLP_EPOCH_SHIFT == record->epoch)
        return KOS_OK;
    int32_t code = prepare_next_epoch(record);
    if (code != KOS_OK)
        return code;
    enter_next_epoch(record);
    drop(&record->before);
    return KOS_OK;
}

static int32_t seal(struct klp_record *record, const struct kos_bytes *pieces, size_t count, uint8_t *out)
{
    uint8_t nonce[12];
    int32_t code = turn_epoch(record);
    if (code != KOS_OK)
        return code;
    klp_noise_nonce(record->next, nonce);
    code = klp_aead_sealv(record->current, nonce, kos_bytes(NULL, 0), pieces, count, out);
    if (code == KOS_OK)
        record->next++;
    return code;
}

int32_t klp_record_sealv(struct klp_record *record, const struct kos_bytes *pieces, size_t count, uint8_t *out)
{
    size_t len = 0;
    if (!may(record, true, STREAM))
        return KOS_E_STATE;
    for (size_t i = 0; i < count; len += pieces[i++].len)
        if (pieces[i].len > KLP_RECORD_PLAIN_MAX - len)
            return KOS_E_LIMIT;
    int32_t code = seal(record, pieces, count, out + STREAM_HEAD);
    if (code != KOS_OK)
        return code;
    out[0] = (uint8_t)((len + TAG) >> 8);
    out[1] = (uint8_t)(len + TAG);
    return KOS_OK;
}

int32_t klp_record_seal(struct klp_record *record, struct kos_bytes plain, uint8_t *out)
{
    return klp_record_sealv(record, &plain, 1, out);
}

int32_t klp_record_open(struct klp_record *record, struct kos_bytes sealed, uint8_t *out, size_t *ret_len)
{
    if (!may(record, false, STREAM))
        return KOS_E_STATE;
    uint8_t nonce[12];
    int32_t code = sealed.len < TAG || sealed.len > KLP_NOISE_MAX ? KOS_E_PROTOCOL : turn_epoch(record);
    if (code == KOS_OK) {
        klp_noise_nonce(record->next, nonce);
        code = klp_aead_open(record->current, nonce, kos_bytes(NULL, 0), sealed, out);
    }
    if (code != KOS_OK) {
        forget(record);
        record->form = DEAD;
        return code;
    }
    record->next++;
    *ret_len = sealed.len - TAG;
    return KOS_OK;
}

int32_t klp_record_seal_datagram(struct klp_record *record, struct kos_bytes plain, uint8_t *out)
{
    if (!may(record, true, DATAGRAM))
        return KOS_E_STATE;
    if (plain.len > KLP_RECORD_PLAIN_MAX)
        return KOS_E_LIMIT;
    uint64_t counter = record->next;
    int32_t code = seal(record, &plain, 1, out + DATAGRAM_HEAD);
    if (code != KOS_OK)
        return code;
    out[0] = KLP_DATAGRAM_RECORD;
    for (int i = 0; i < 3; i++)
        out[1 + i] = (uint8_t)(counter >> (16 - 8 * i));
    return KOS_OK;
}

/* The counter nearest to the one expected next that ends in these bits. */
static uint64_t whole_counter(const struct klp_record *record, uint64_t shown)
{
    const uint64_t range = UINT64_C(1) << SHOWN_BITS;
    uint64_t counter = (record->next & ~(range - 1)) | shown;
    if (counter > record->next + range / 2 && counter >= range)
        return counter - range;
    if (counter + range / 2 < record->next && counter < UINT64_MAX - range)
        return counter + range;
    return counter;
}

static bool seen(const struct klp_record *record, uint64_t counter)
{
    if (counter >= record->next)
        return false;
    if (record->next - counter > KLP_REPLAY_WINDOW)
        return true;
    return record->window[counter / 64 % WINDOW_WORDS] >> (counter % 64) & 1;
}

static void mark(struct klp_record *record, uint64_t counter)
{
    if (counter >= record->next) {
        if (counter - record->next >= KLP_REPLAY_WINDOW)
            memset(record->window, 0, sizeof record->window);
        else
            for (uint64_t skipped = record->next; skipped < counter; skipped++)
                record->window[skipped / 64 % WINDOW_WORDS] &= ~(UINT64_C(1) << (skipped % 64));
        record->next = counter + 1;
    }
    record->window[counter / 64 % WINDOW_WORDS] |= UINT64_C(1) << (counter % 64);
}

static int32_t key_for(struct klp_record *record, uint64_t epoch, struct klp_aead **ret_key)
{
    if (epoch == record->epoch) {
        *ret_key = record->current;
        return KOS_OK;
    }
    if (epoch == record->epoch + 1) {
        int32_t code = prepare_next_epoch(record);
        if (code == KOS_OK)
            *ret_key = record->after;
        return code;
    }
    if (epoch > record->epoch)
        return KOS_E_GAP;
    if (epoch + 1 != record->epoch || !record->before)
        return KOS_E_REPLAYED;
    *ret_key = record->before;
    return KOS_OK;
}

int32_t klp_record_open_datagram(struct klp_record *record, struct kos_bytes datagram, uint8_t *out, size_t *ret_len)
{
    if (!may(record, false, DATAGRAM))
        return KOS_E_STATE;
    if (datagram.len < KLP_RECORD_DATAGRAM_OVERHEAD
        || datagram.len > KLP_RECORD_PLAIN_MAX + KLP_RECORD_DATAGRAM_OVERHEAD)
        return KOS_E_PROTOCOL;
    if (datagram.data[0] != KLP_DATAGRAM_RECORD)
        return KOS_E_PROTOCOL;
    uint64_t counter = whole_counter(record, (uint64_t)datagram.data[1] << 16 | (uint64_t)datagram.data[2] << 8 |
                                                 datagram.data[3]);
    if (counter == UINT64_MAX)
        return KOS_E_PROTOCOL;
    if (seen(record, counter))
        return KOS_E_REPLAYED;
    uint8_t nonce[12];
    struct klp_aead *key;
    int32_t code = key_for(record, counter >> KLP_EPOCH_SHIFT, &key);
    if (code != KOS_OK)
        return code;
    klp_noise_nonce(counter, nonce);
    struct kos_bytes sealed = kos_bytes(datagram.data + DATAGRAM_HEAD, datagram.len - DATAGRAM_HEAD);
    code = klp_aead_open(key, nonce, kos_bytes(NULL, 0), sealed, out);
    if (code != KOS_OK)
        return code;
    mark(record, counter);
    record->opened = counter;
    if (counter >> KLP_EPOCH_SHIFT > record->epoch)
        enter_next_epoch(record);
    /* Nothing of the last epoch is inside the window any more: its key must not stay for a thief. */
    if (record->before && (record->next & ((UINT64_C(1) << KLP_EPOCH_SHIFT) - 1)) >= KLP_REPLAY_WINDOW)
        drop(&record->before);
    *ret_len = sealed.len - TAG;
    return KOS_OK;
}
