/* SPDX-License-Identifier: Apache-2.0
 * What trust keeps in a store that no node has open: key event logs verify, statements are signed by whom they name,
 * names lead both ways. Statements whose issuer's log is not here any more are left to their time. */
#include <stdlib.h>

#include "trust/trust_private.h"

struct check {
    struct kos_store *store;
    const struct kos_store_checker *checker;
    uint64_t done, total, logs, statements;
    struct klp_log *log;
    struct klp_id id;
    int32_t rc;
};

static void step(struct check *check, const char *what)
{
    if (++check->done % 256 == 0)
        kos_store_progress(check->checker, what, check->done, check->total);
}

static void found(struct check *check, const char *space, const struct klp_id *id, const char *text)
{
    char name[KLP_ID_TEXT];
    klp_id_text(id, name);
    kos_store_found(check->checker, KOS_MEND_NONE, space, "klp://node.%s: %s", name, text);
}

static bool take_event(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct check *check = arg;
    /* The proof of duplicity comes last, under the highest number there is, and is meant to be refused. */
    static const uint8_t proof[8] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    int32_t rc = klp_log_append(check->log, value, NULL);
    if (rc < 0 && !(key.len == KLP_ID_LEN + 8 && memcmp(key.data + KLP_ID_LEN, proof, 8) == 0))
        check->rc = rc;
    return check->rc == KOS_OK;
}

static struct klp_log *read_log(struct check *check, const struct klp_id *id, struct kos_bytes inception)
{
    check->log = klp_log_new();
    if (!check->log)
        return NULL;
    int32_t rc = klp_log_append(check->log, inception, NULL);
    check->rc = rc < 0 ? rc : klp_id_eq(klp_log_id(check->log), id) ? KOS_OK : KOS_E_CORRUPT;
    if (check->rc == KOS_OK)
        kos_store_scan(check->store, "event", trust_id_bytes(id), kos_bytes(NULL, 0), take_event, check);
    if (check->rc == KOS_OK)
        return check->log;
    klp_log_free(check->log);
    return NULL;
}

static bool log_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct check *check = arg;
    step(check, "logs");
    if (key.len != KLP_ID_LEN) {
        kos_store_found(check->checker, KOS_MEND_NONE, "log", "has a key that is no id");
        return true;
    }
    memcpy(check->id.b, key.data, KLP_ID_LEN);
    struct klp_id id = check->id;
    struct klp_log *log = read_log(check, &id, value);
    if (!log)
        found(check, "log", &id, "its key event log does not verify");
    klp_log_free(log);
    check->logs++;
    return true;
}

static bool statement_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct check *check = arg;
    struct klp_statement statement;
    uint8_t *inception;
    size_t len;
    step(check, "statements");
    check->statements++;
    if (klp_statement_parse(value, &statement, NULL) < 0 || key.len < KLP_ID_LEN ||
        memcmp(key.data, statement.issuer.b, KLP_ID_LEN) != 0) {
        kos_store_found(check->checker, KOS_MEND_NONE, "statement", "holds one that is no statement, or stands at another's place");
        return true;
    }
    if (kos_store_get(check->store, "log", trust_id_bytes(&statement.issuer), &inception, &len) < 0)
        return true;
    struct klp_log *log = read_log(check, &statement.issuer, kos_bytes(inception, len));
    /* By the time at which it was made: whether it would be taken today is another question. */
    int32_t rc = log ? klp_statement_verify(&statement, log, statement.created) : KOS_OK;
    if (rc == KOS_E_SIGNATURE || rc == KOS_E_KEY)
        found(check, "statement", &statement.issuer, "a statement of it is not signed by it");
    klp_log_free(log);
    free(inception);
    return true;
}

/* "n" name -> id, "i" id -> name. */
static bool name_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct check *check = arg;
    uint8_t back[KOS_STORE_KEY_MAX], *there;
    size_t len = 0;
    bool by_name = key.len > 1 && key.data[0] == 'n' && value.len == KLP_ID_LEN;
    bool by_id = key.len == 1 + KLP_ID_LEN && key.data[0] == 'i' && value.len && value.len <= KLP_NAME_MAX;
    step(check, "names");
    if (!by_name && !by_id) {
        kos_store_found(check->checker, KOS_MEND_NONE, "name", "holds an entry that cannot be read");
        return true;
    }
    back[0] = by_name ? 'i' : 'n';
    memcpy(back + 1, value.data, value.len);
    int32_t rc = kos_store_get(check->store, "name", kos_bytes(back, 1 + value.len), &there, &len);
    if (rc < 0 || len != key.len - 1 || memcmp(there, key.data + 1, len) != 0)
        kos_store_found(check->checker, KOS_MEND_NONE, "name", "%.*s leads to an identity that does not lead back",
                        (int)(by_name ? key.len - 1 : value.len), (const char *)(by_name ? key.data + 1 : value.data));
    if (rc >= 0)
        free(there);
    return true;
}

int32_t kos_trust_check(struct kos_store *store, const struct kos_store_checker *checker, struct kos_error *ret_error)
{
    struct check check = { .store = store, .checker = checker };
    struct kos_bytes all = { NULL, 0 };
    check.total = kos_store_count(store, "log") + kos_store_count(store, "statement") + kos_store_count(store, "name");
    int32_t rc = kos_store_scan(store, "log", all, all, log_entry, &check);
    if (rc >= 0)
        rc = kos_store_scan(store, "statement", all, all, statement_entry, &check);
    if (rc >= 0)
        rc = kos_store_scan(store, "name", all, all, name_entry, &check);
    if (rc < 0)
        return kos_fail(ret_error, rc, "the identities in the store cannot be read through: %s", kos_error_text(rc));
    kos_store_note(checker, "identities: %llu key event logs, %llu statements", (unsigned long long)check.logs,
                   (unsigned long long)check.statements);
    return KOS_OK;
}
