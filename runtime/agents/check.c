/* SPDX-License-Identifier: Apache-2.0
 * What agents have in a store that no node has open: records read, audit trails are whole and signed. */
#include <klp/json.h>
#include <stdlib.h>

#include "agents/private.h"

enum { RECORD_MAX = 65536 };

struct check {
    struct kos_env *env;
    const char *keys_dir;
    struct kos_store *store;
    const struct kos_store_checker *checker;
    struct klp_id last;
    bool any;
    uint64_t trails, entries, done, total;
};

static bool record_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct check *check = arg;
    struct klp_json record;
    if (key.len != KLP_ID_LEN || klp_json_read(value, RECORD_MAX, &record, NULL) < 0 ||
        klp_json_get(record, "command").type != KLP_JSON_STRING)
        kos_store_found(check->checker, KOS_MEND_NONE, "agent", "holds a record that cannot be read; kosd does not start with it");
    return true;
}

static struct klp_log *log_of(struct check *check, const char *id)
{
    uint8_t *text;
    size_t len;
    char *path = kos_format("%s/agents/%s.log", check->keys_dir, id);
    struct klp_log *log = NULL;
    if (kos_file_read_all(check->env, path, KLP_LOG_EVENTS_MAX * KLP_EVENT_MAX, &text, &len) == KOS_OK) {
        log = klp_log_new();
        if (log && klp_log_append_text(log, kos_bytes(text, len), NULL) < 0) {
            klp_log_free(log);
            log = NULL;
        }
        free(text);
    }
    free(path);
    return log;
}

static void check_trail(struct check *check, const struct klp_id *id)
{
    char text[KLP_ID_TEXT];
    struct kos_error error;
    uint64_t entries = 0;
    klp_id_text(id, text);
    struct klp_log *log = log_of(check, text);
    check->trails++;
    if (!log)
        kos_store_note(check->checker, "audit: %s/agents/%s.log is not there or does not verify, so its trail was not checked", check->keys_dir, text);
    else if (!klp_id_eq(klp_log_id(log), id))
        kos_store_found(check->checker, KOS_MEND_NONE, "audit", "%s/agents/%s.log is another identity's", check->keys_dir, text);
    else if (kos_audit_check(check->store, log, &entries, &error) < 0)
        kos_store_found(check->checker, KOS_MEND_NONE, "audit", "klp://agent.%s: %s", text, error.text);
    check->entries += entries;
    klp_log_free(log);
}

static bool audit_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct check *check = arg;
    uint8_t *head;
    size_t len;
    (void)value;
    if (++check->done % 1024 == 0)
        kos_store_progress(check->checker, "audit", check->done, check->total);
    if (key.len != KLP_ID_LEN + 8) {
        kos_store_found(check->checker, KOS_MEND_NONE, "audit", "has a key that is no entry's");
        return true;
    }
    if (check->any && memcmp(check->last.b, key.data, KLP_ID_LEN) == 0)
        return true;
    check->any = true;
    memcpy(check->last.b, key.data, KLP_ID_LEN);
    if (kos_store_get(check->store, "audit.head", kos_bytes(key.data, KLP_ID_LEN), &head, &len) < 0) {
        char text[KLP_ID_TEXT];
        klp_id_text(&check->last, text);
        kos_store_found(check->checker, KOS_MEND_NONE, "audit", "klp://agent.%s has a trail without its head", text);
    } else {
        free(head);
    }
    return true;
}

static bool head_entry(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct check *check = arg;
    struct klp_id id;
    (void)value;
    if (key.len != KLP_ID_LEN) {
        kos_store_found(check->checker, KOS_MEND_NONE, "audit.head", "has a key that is no id");
        return true;
    }
    memcpy(id.b, key.data, KLP_ID_LEN);
    check_trail(check, &id);
    return true;
}

int32_t kos_agents_check(struct kos_env *env, const char *keys_dir, struct kos_store *store,
                         const struct kos_store_checker *checker, struct kos_error *ret_error)
{
    struct check check = { .env = env, .keys_dir = keys_dir, .store = store, .checker = checker };
    struct kos_bytes all = { NULL, 0 };
    check.total = kos_store_count(store, "audit");
    int32_t rc = kos_store_scan(store, "agent", all, all, record_entry, &check);
    if (rc >= 0)
        rc = kos_store_scan(store, "audit", all, all, audit_entry, &check);
    if (rc >= 0)
        rc = kos_store_scan(store, "audit.head", all, all, head_entry, &check);
    if (rc < 0)
        return kos_fail(ret_error, rc, "the agents in the store cannot be read through: %s", kos_error_text(rc));
    kos_store_note(checker, "agents: %llu audit trails, %llu entries, each signed and naming the one before",
                   (unsigned long long)check.trails, (unsigned long long)check.entries);
    return KOS_OK;
}
