/* SPDX-License-Identifier: Apache-2.0
 * Petnames, which are the operator's, and finding what a person typed. */
#include "trust/trust_private.h"

#include <stdlib.h>

#include "core/buf.h"

struct name_key {
    uint8_t b[1 + KLP_NAME_MAX + 1];
    size_t len;
};

static struct kos_bytes key_of_name(const char *name, struct name_key *key)
{
    size_t len = strnlen(name, KLP_NAME_MAX);
    key->b[0] = 'n';
    memcpy(key->b + 1, name, len);
    return kos_bytes(key->b, 1 + len);
}

static struct kos_bytes key_of_id(const struct klp_id *id, struct name_key *key)
{
    key->b[0] = 'i';
    memcpy(key->b + 1, id->b, KLP_ID_LEN);
    return kos_bytes(key->b, 1 + KLP_ID_LEN);
}

/* Petnames that were handed out stay where they are; there are as many as the operator ever gave. */
static const char *intern(struct kos_trust *trust, const char *text)
{
    struct trust_word *word;
    HASH_FIND_STR(trust->words, text, word);
    if (!word) {
        size_t len = strlen(text);
        word = kos_new(sizeof *word + len + 1);
        memcpy(word->text, text, len + 1);
        HASH_ADD_STR(trust->words, text, word);
    }
    return word->text;
}

const char *kos_trust_name_of(struct kos_trust *trust, const struct klp_id *id)
{
    struct name_key key;
    uint8_t *value;
    size_t len;
    char name[KLP_NAME_MAX + 1];
    if (trust_read(trust, "name", key_of_id(id, &key), &value, &len) < 0)
        return "";
    bool good = len > 0 && len <= KLP_NAME_MAX;
    snprintf(name, sizeof name, "%.*s", good ? (int)len : 0, (const char *)value);
    free(value);
    return intern(trust, name);
}

static int32_t get_id(struct kos_trust *trust, const char *name, struct klp_id *ret_id)
{
    struct name_key key;
    uint8_t *value;
    size_t len;
    int32_t rc = trust_read(trust, "name", key_of_name(name, &key), &value, &len);
    if (rc < 0)
        return rc;
    if (len == KLP_ID_LEN)
        memcpy(ret_id->b, value, KLP_ID_LEN);
    free(value);
    return len == KLP_ID_LEN ? KOS_OK : KOS_E_CORRUPT;
}

int32_t kos_trust_name_get(struct kos_trust *trust, const char *name, struct klp_id *ret_id)
{
    char clean[KLP_NAME_MAX + 1];
    if (klp_name_parse(kos_bytes_str(name), clean) < 0)
        return KOS_E_NOTFOUND;
    return get_id(trust, clean, ret_id);
}

int32_t kos_trust_name_set(struct kos_trust *trust, struct kos_tx *tx, const char *name, const struct klp_id *id,
                           struct kos_error *ret_error)
{
    char clean[KLP_NAME_MAX + 1], text[KLP_ID_TEXT], other_text[KLP_ID_TEXT];
    struct name_key key;
    struct klp_id other;
    if (klp_name_parse(kos_bytes_str(name), clean) < 0)
        return kos_fail(ret_error, KOS_E_INVALID, "\"%.64s\" is not a name: labels of letters, digits and -, with dots",
                        name);
    klp_id_text(id, text);
    if (get_id(trust, clean, &other) == KOS_OK) {
        klp_id_text(&other, other_text);
        return klp_id_eq(&other, id) ? KOS_OK
                                     : kos_fail(ret_error, KOS_E_EXISTS,
                                                "%s is klp://node.%s here, and klp://node.%s claims it now: if that is "
                                                "right, kosctl untrust klp://node.%s first",
                                                clean, other_text, text, other_text);
    }
    const char *known = kos_trust_name_of(trust, id);
    if (known[0])
        return kos_fail(ret_error, KOS_E_EXISTS, "klp://node.%s is called %s here; it claims the name %s now", text,
                        known, clean);
    kos_tx_put(tx, "name", key_of_name(clean, &key), trust_id_bytes(id));
    kos_tx_put(tx, "name", key_of_id(id, &key), kos_bytes_str(clean));
    return KOS_OK;
}

/* Ids that begin as typed, from all places where ids are known; each once. */
struct search {
    struct kos_trust *trust;
    struct klp_id_prefix prefix;
    int32_t kind;                   /* 0: any */
    size_t skip;                    /* bytes of the key before the id */
    struct klp_id found[TRUST_CANDIDATES_MAX + 1];
    size_t count;
};

static void note(struct search *search, const struct klp_id *id)
{
    if (search->count > TRUST_CANDIDATES_MAX || !klp_id_prefix_match(&search->prefix, id))
        return;
    for (size_t i = 0; i < search->count; i++)
        if (klp_id_eq(&search->found[i], id))
            return;
    const struct klp_log *log = search->kind ? kos_trust_log(search->trust, id) : NULL;
    if (log && klp_log_kind(log) != search->kind)
        return;
    search->found[search->count++] = *id;
}

static bool note_key(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct search *search = arg;
    struct klp_id id;
    (void)value;
    if (key.len != search->skip + KLP_ID_LEN)
        return true;
    memcpy(id.b, key.data + search->skip, KLP_ID_LEN);
    note(search, &id);
    return search->count <= TRUST_CANDIDATES_MAX;
}

static void scan(struct search *search, const char *space, size_t skip)
{
    uint8_t prefix[1 + KLP_ID_LEN] = "i";
    search->skip = skip;
    memcpy(prefix + skip, search->prefix.id.b, KLP_ID_LEN);
    kos_store_scan(search->trust->store, space, kos_bytes(prefix, skip + search->prefix.digits / 2), kos_bytes(NULL, 0),
                   note_key, search);
}

static void note_own(void *arg, const struct kos_identity *identity)
{
    note(arg, kos_identity_id(identity));
}

static int32_t by_prefix(struct kos_trust *trust, const struct klp_id_prefix *prefix, int32_t kind, const char *typed,
                         struct klp_id *ret_id, struct kos_error *ret_error)
{
    struct search search = { .trust = trust, .prefix = *prefix, .kind = kind };
    kos_keys_each(trust->keys, note_own, &search);
    scan(&search, "log", 0);
    scan(&search, "word", 0);
    scan(&search, "name", 1);
    if (search.count == 0)
        return kos_fail(ret_error, KOS_E_NOTFOUND, "no identity known here begins with %.64s: kosctl peers lists them",
                        typed);
    if (search.count == 1) {
        *ret_id = search.found[0];
        return KOS_OK;
    }
    char list[TRUST_CANDIDATES_MAX * (KLP_ID_HEX + 2) + 8] = "", hex[KLP_ID_HEX];
    size_t shown = search.count < TRUST_CANDIDATES_MAX ? search.count : TRUST_CANDIDATES_MAX;
    for (size_t i = 0, at = 0; i < shown; i++) {
        klp_id_hex(&search.found[i], hex);
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", hex);
    }
    return kos_fail(ret_error, KOS_E_INVALID, "%.64s is the beginning of several ids: %s%s; give more digits", typed,
                    list, search.count > TRUST_CANDIDATES_MAX ? ", ..." : "");
}

static int32_t by_name(struct kos_trust *trust, const char *name, struct klp_id *ret_id, struct kos_error *ret_error)
{
    int32_t rc = kos_trust_name_get(trust, name, ret_id);
    return rc < 0 ? kos_fail(ret_error, KOS_E_NOTFOUND,
                             "the name %.100s is not known here: connect to that node first, or give its id", name)
                  : KOS_OK;
}

/* An id that was typed whole is taken as it is: it may be trusted before it was met. */
int32_t kos_trust_find(struct kos_trust *trust, const char *text, struct klp_id *ret_id, struct kos_error *ret_error)
{
    struct kos_bytes bytes = kos_bytes_str(text);
    struct klp_id_prefix prefix;
    struct klp_address address;
    struct kos_error why;
    if (klp_id_prefix_parse(bytes, &prefix) == KOS_OK) {
        if (prefix.digits < 2 * KLP_ID_LEN)
            return by_prefix(trust, &prefix, 0, text, ret_id, ret_error);
        *ret_id = prefix.id;
        return KOS_OK;
    }
    if (!strstr(text, "://"))
        return by_name(trust, text, ret_id, ret_error);
    int32_t rc = klp_address_parse(bytes, &address, &why);
    if (rc < 0)
        return kos_fail(ret_error, rc, "%.100s: %.300s", text, why.text);
    switch (address.form) {
    case KLP_ADDRESS_ID:
        if (address.kind != KLP_KIND_NODE && address.kind != KLP_KIND_AGENT)
            return kos_fail(ret_error, KOS_E_INVALID, "%.100s names neither a node nor an agent", text);
        *ret_id = address.id;
        return KOS_OK;
    case KLP_ADDRESS_PREFIX: return by_prefix(trust, &address.prefix, address.kind, text, ret_id, ret_error);
    case KLP_ADDRESS_HOST:
        return kos_fail(ret_error, KOS_E_INVALID,
                        "%.100s is where somebody listens, not who it is: kosctl connect shows the id", text);
    default: return by_name(trust, address.name, ret_id, ret_error);
    }
}
