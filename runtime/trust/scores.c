/* SPDX-License-Identifier: Apache-2.0
 * The operator's word on identities, and the scores that follow from it. */
#include "trust/trust_private.h"

#include <math.h>
#include <stdlib.h>

enum { WORD_LEN = KLP_DIGEST_LEN + 8 + 8 };

struct word {
    struct klp_digest identity;
    double score;
    int64_t since_ms;
};

static bool read_word(struct kos_bytes value, struct word *word)
{
    if (value.len != WORD_LEN)
        return false;
    memcpy(word->identity.b, value.data, KLP_DIGEST_LEN);
    word->score = (double)trust_get_u64(value.data + KLP_DIGEST_LEN) / 1000;
    word->since_ms = (int64_t)trust_get_u64(value.data + KLP_DIGEST_LEN + 8);
    return word->score <= KOS_SCORE_MAX;
}

static bool get_word(struct kos_trust *trust, const struct klp_id *id, struct word *word)
{
    uint8_t *value;
    size_t len;
    if (trust_read(trust, "word", trust_id_bytes(id), &value, &len) < 0)
        return false;
    bool good = read_word(kos_bytes(value, len), word);
    free(value);
    return good;
}

static void put_word(struct kos_tx *tx, const struct klp_id *id, const struct word *word)
{
    uint8_t value[WORD_LEN];
    memcpy(value, word->identity.b, KLP_DIGEST_LEN);
    trust_put_u64(value + KLP_DIGEST_LEN, (uint64_t)llround(word->score * 1000));
    trust_put_u64(value + KLP_DIGEST_LEN + 8, (uint64_t)word->since_ms);
    kos_tx_put(tx, "word", trust_id_bytes(id), kos_bytes(value, sizeof value));
}

static bool pinned(const struct klp_digest *identity)
{
    static const struct klp_digest none;
    return memcmp(identity, &none, sizeof none) != 0;
}

int32_t kos_trust_set(struct kos_trust *trust, struct kos_tx *tx, const struct klp_id *id, double score,
                      struct kos_error *ret_error)
{
    if (!(score >= 0 && score <= KOS_SCORE_MAX))
        return kos_fail(ret_error, KOS_E_INVALID, "the score %g is outside of 0 to %d", score, KOS_SCORE_MAX);
    if (kos_keys_find(trust->keys, id))
        return kos_fail(ret_error, KOS_E_INVALID, "that is this node itself, or one of its agents: they need no score");
    const struct klp_log *log = kos_trust_log(trust, id);
    struct word word = { .score = score, .since_ms = kos_now_ms(trust->env) };
    if (log)
        word.identity = *klp_log_identity(log);
    put_word(tx, id, &word);
    return KOS_OK;
}

int32_t kos_trust_unset(struct kos_trust *trust, struct kos_tx *tx, const struct klp_id *id)
{
    uint8_t key[1 + KLP_NAME_MAX + 1] = "n", by_id[1 + KLP_ID_LEN] = "i";
    const char *name = kos_trust_name_of(trust, id);
    struct word word;
    bool said = get_word(trust, id, &word);
    if (!said && !name[0])
        return KOS_E_NOTFOUND;
    kos_tx_delete(tx, "word", trust_id_bytes(id));
    if (name[0]) {
        size_t len = strlen(name);
        memcpy(key + 1, name, len);
        memcpy(by_id + 1, id->b, KLP_ID_LEN);
        kos_tx_delete(tx, "name", kos_bytes(key, 1 + len));
        kos_tx_delete(tx, "name", kos_bytes(by_id, sizeof by_id));
    }
    return KOS_OK;
}

void trust_pin(struct kos_trust *trust, struct kos_tx *tx, const struct klp_log *log)
{
    struct word word;
    if (!get_word(trust, klp_log_id(log), &word) || pinned(&word.identity))
        return;
    word.identity = *klp_log_identity(log);
    put_word(tx, klp_log_id(log), &word);
}

struct listing {
    struct kos_trust *trust;
    struct kos_trust_entry *entries;
    size_t count, cap;
};

static bool note_word(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct listing *list = arg;
    struct word word;
    if (key.len != KLP_ID_LEN || !read_word(value, &word))
        return true;
    if (list->count == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 64;
        struct kos_trust_entry *entries = realloc(list->entries, cap * sizeof *entries);
        if (!entries)
            return false;
        list->entries = entries;
        list->cap = cap;
    }
    struct kos_trust_entry *entry = &list->entries[list->count++];
    *entry = (struct kos_trust_entry){ .identity = word.identity, .score = word.score, .since_ms = word.since_ms };
    memcpy(entry->id.b, key.data, KLP_ID_LEN);
    return true;
}

void kos_trust_list(struct kos_trust *trust, void (*each)(void *arg, const struct kos_trust_entry *entry), void *arg)
{
    struct listing list = { .trust = trust };
    kos_store_scan(trust->store, "word", kos_bytes(NULL, 0), kos_bytes(NULL, 0), note_word, &list);
    for (size_t i = 0; i < list.count; i++) {
        snprintf(list.entries[i].name, sizeof list.entries[i].name, "%s",
                 kos_trust_name_of(trust, &list.entries[i].id));
        each(arg, &list.entries[i]);
    }
    free(list.entries);
}

/* The word on this very id, unless the identity behind it is another than the one it was said of. */
static bool own_score(struct kos_trust *trust, const struct klp_id *id, const struct klp_log *log, double *score)
{
    struct word word;
    if (!get_word(trust, id, &word))
        return false;
    *score = word.score;
    if (log && pinned(&word.identity) && memcmp(&word.identity, klp_log_identity(log), sizeof word.identity) != 0) {
        char text[KLP_ID_TEXT];
        klp_id_text(id, text);
        if (kos_log_limit_pass(trust->said, text, NULL))
            kos_log(trust->env, KOS_LOG_ERROR, "trust",
                    "%s is not the identity that the operator trusted under that id", text);
        *score = 0;
    }
    return true;
}

double kos_trust_score(struct kos_trust *trust, const struct klp_id *id)
{
    double score = 0;
    struct klp_id host;
    if (kos_keys_find(trust->keys, id))
        return KOS_SCORE_MAX;
    const struct klp_log *log = kos_trust_log(trust, id);
    if (log && (klp_log_revoked(log) || klp_log_frozen(log)))
        return 0;
    if (own_score(trust, id, log, &score))
        return score;
    if (log && trust_host_of(trust, id, &host)) {
        if (kos_keys_find(trust->keys, &host))
            return KOS_SCORE_MAX;
        own_score(trust, &host, kos_trust_log(trust, &host), &score);
    }
    return score;
}
