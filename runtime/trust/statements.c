/* SPDX-License-Identifier: Apache-2.0
 * Statements: of each issuer and kind the newest, verified when it came. */
#include "trust/trust_private.h"

#include <stdlib.h>

#include "core/buf.h"

enum { STATEMENT_KEY_MAX = KLP_ID_LEN + KLP_STATEMENT_KIND_MAX };

static struct kos_bytes statement_key(const struct klp_id *issuer, const char *kind, uint8_t key[STATEMENT_KEY_MAX])
{
    size_t len = strnlen(kind, KLP_STATEMENT_KIND_MAX);
    memcpy(key, issuer->b, KLP_ID_LEN);
    memcpy(key + KLP_ID_LEN, kind, len);
    return kos_bytes(key, KLP_ID_LEN + len);
}

struct counting {
    size_t count;
};

static bool count_one(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    (void)key;
    (void)value;
    return ++((struct counting *)arg)->count < TRUST_STATEMENT_KINDS_MAX;
}

/* Against the one held: KOS_OK newer, 1 the very same, KOS_E_STALE, KOS_E_DUPLICITY. */
static int32_t compare(const struct klp_statement *statement, struct kos_bytes held_text, struct kos_error *ret_error)
{
    struct klp_statement held;
    if (klp_statement_parse(held_text, &held, NULL) < 0)
        return KOS_OK; /* what cannot be read any more gives way */
    int order = klp_statement_compare(statement, &held);
    if (order > 0)
        return KOS_OK;
    if (order < 0)
        return kos_fail(ret_error, KOS_E_STALE, "a newer %s of this issuer is known (event %llu, seq %llu)",
                        statement->kind, (unsigned long long)held.event, (unsigned long long)held.seq);
    if (kos_bytes_eq(statement->signed_body, held.signed_body))
        return 1;
    return kos_fail(ret_error, KOS_E_DUPLICITY, "two different %s of this issuer carry event %llu, seq %llu",
                    statement->kind, (unsigned long long)held.event, (unsigned long long)held.seq);
}

static int32_t check_held(struct kos_trust *trust, const struct klp_statement *statement, struct kos_bytes key,
                          struct kos_error *ret_error)
{
    uint8_t *held;
    size_t len;
    int32_t rc = kos_store_get(trust->store, "statement", key, &held, &len);
    if (rc == KOS_OK) {
        rc = compare(statement, kos_bytes(held, len), ret_error);
        free(held);
        return rc;
    }
    if (rc != KOS_E_NOTFOUND)
        return kos_fail(ret_error, rc, "statements cannot be read: %s", kos_error_text(rc));
    struct counting counting = { 0 };
    kos_store_scan(trust->store, "statement", trust_id_bytes(&statement->issuer), kos_bytes(NULL, 0), count_one,
                   &counting);
    if (counting.count >= TRUST_STATEMENT_KINDS_MAX)
        return kos_fail(ret_error, KOS_E_LIMIT, "at most %d kinds of statement of one issuer are held",
                        TRUST_STATEMENT_KINDS_MAX);
    if (kos_store_count(trust->store, "statement") >= KOS_TRUST_LOGS_MAX && !trust_is_kept(trust, &statement->issuer))
        return kos_fail(ret_error, KOS_E_LIMIT, "%d statements are held; no more are taken of strangers",
                        KOS_TRUST_LOGS_MAX);
    return KOS_OK;
}

int32_t kos_trust_statement_take(struct kos_trust *trust, struct kos_tx *tx, struct kos_bytes text,
                                 struct klp_statement *ret_statement, struct kos_error *ret_error)
{
    struct klp_statement statement;
    uint8_t key[STATEMENT_KEY_MAX];
    int32_t rc = klp_statement_parse(text, &statement, ret_error);
    if (rc < 0)
        return rc;
    char issuer[KLP_ID_TEXT];
    klp_id_text(&statement.issuer, issuer);
    const struct klp_log *log = kos_trust_log(trust, &statement.issuer);
    if (!log)
        return kos_fail(ret_error, KOS_E_UNKNOWN_ID, "the issuer %s of a %s is not known here", issuer, statement.kind);
    rc = klp_statement_verify(&statement, log, kos_now_ms(trust->env));
    if (rc < 0)
        return kos_fail(ret_error, rc, "a %s of %s does not verify: %s", statement.kind, issuer, kos_error_text(rc));
    struct kos_bytes at = statement_key(&statement.issuer, statement.kind, key);
    rc = check_held(trust, &statement, at, ret_error);
    if (rc == KOS_E_DUPLICITY)
        kos_log(trust->env, KOS_LOG_WARNING, "trust",
                "%s signed two different statements %s of one place: the first stays", issuer, statement.kind);
    if (rc < 0)
        return rc;
    if (rc == KOS_OK)
        kos_tx_put(tx, "statement", at, text);
    *ret_statement = statement;
    return KOS_OK;
}

int32_t kos_trust_statement_get(struct kos_trust *trust, const struct klp_id *issuer, const char *kind,
                                uint8_t **ret_text, size_t *ret_len)
{
    uint8_t key[STATEMENT_KEY_MAX];
    return kos_store_get(trust->store, "statement", statement_key(issuer, kind, key), ret_text, ret_len);
}

struct recheck {
    struct kos_trust *trust;
    struct kos_tx *tx;
    const struct klp_log *log;
};

static bool recheck_one(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct recheck *recheck = arg;
    struct klp_statement statement;
    if (klp_statement_parse(value, &statement, NULL) < 0 ||
        klp_statement_verify(&statement, recheck->log, kos_now_ms(recheck->trust->env)) < 0)
        kos_tx_delete(recheck->tx, "statement", key);
    return true;
}

void trust_statements_recheck(struct kos_trust *trust, struct kos_tx *tx, const struct klp_log *log)
{
    struct recheck recheck = { trust, tx, log };
    kos_store_scan(trust->store, "statement", trust_id_bytes(klp_log_id(log)), kos_bytes(NULL, 0), recheck_one,
                   &recheck);
}
