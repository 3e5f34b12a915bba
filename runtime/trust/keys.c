/* SPDX-License-Identifier: Apache-2.0
 * The node's own identity: made once, opened at each start, and what all identities share. The agents' are in
 * keys_agents.c, the form of the secret files in keyfile.c. */
#include "trust/keys_private.h"

#include <stdlib.h>

#include "core/buf.h"

static char *path_of(const char *dir, const char *name)
{
    return kos_format("%s/%s", dir, name);
}

void kos_identity_free(struct kos_identity *identity)
{
    if (!identity)
        return;
    klp_log_free(identity->log);
    kos_secret_free(identity->secrets);
    free(identity);
}

int32_t kos_key_secrets_new(struct kos_env *env, int32_t alg, struct kos_key_secrets **ret_secrets,
                            struct kos_error *ret_error)
{
    struct kos_key_secrets *secrets = kos_secret_new(sizeof *secrets);
    if (!secrets)
        return kos_fail(ret_error, KOS_E_NOMEM,
                        "no locked memory for a key: raise the limit (ulimit -l, LimitMEMLOCK)");
    int32_t rc = klp_secret_generate(alg, kos_env_random(env), &secrets->current);
    if (rc == KOS_OK)
        rc = klp_secret_generate(alg, kos_env_random(env), &secrets->next);
    if (rc == KOS_OK)
        rc = klp_secret_expand(&secrets->current);
    kos_random(env, secrets->noise, sizeof secrets->noise);
    if (rc < 0) {
        kos_secret_free(secrets);
        return kos_fail(ret_error, rc, "a key cannot be made: %s", kos_error_text(rc));
    }
    *ret_secrets = secrets;
    return KOS_OK;
}

uint64_t kos_keys_in_force(const struct klp_log *log, struct klp_digest *ret_next)
{
    uint64_t seq = klp_log_count(log);
    while (seq-- > 0) {
        const struct klp_event *event = klp_log_event(log, seq);
        if (event->key.len == 0)
            continue;
        if (ret_next)
            *ret_next = event->next;
        return seq;
    }
    return 0;
}

/* Makes the entry and appends it to `log`, which verifies it like anybody's. */
static int32_t make_and_append(struct klp_log *log, const struct klp_event *event, const struct klp_secret *secret,
                               struct kos_error *ret_error)
{
    uint8_t *entry = kos_new(KLP_EVENT_MAX);
    size_t len = 0;
    int32_t rc = klp_event_make(event, secret, entry, KLP_EVENT_MAX, &len, ret_error);
    if (rc >= 0)
        rc = klp_log_append(log, kos_bytes(entry, len), ret_error);
    free(entry);
    return rc < 0 ? rc : KOS_OK;
}

int32_t kos_keys_incept(struct kos_env *env, int32_t kind, const struct kos_key_secrets *secrets,
                        const struct klp_log *delegator, struct klp_log **ret_log, struct kos_error *ret_error)
{
    struct klp_event event = { .type = KLP_EVENT_INCEPTION, .kind = kind, .created = kos_now_ms(env) };
    struct klp_public next;
    int32_t rc = klp_secret_public(&secrets->current, &event.key);
    if (rc == KOS_OK)
        rc = klp_secret_public(&secrets->next, &next);
    if (rc < 0)
        return kos_fail(ret_error, rc, "a key cannot be used: %s", kos_error_text(rc));
    klp_public_digest(&next, &event.next);
    if (delegator) {
        event.subject = *klp_log_id(delegator);
        event.subject_digest = *klp_log_identity(delegator);
    }
    struct klp_log *log = klp_log_new();
    if (!log)
        return kos_fail(ret_error, KOS_E_NOMEM, "no memory for a log");
    rc = make_and_append(log, &event, &secrets->current, ret_error);
    if (rc < 0)
        klp_log_free(log);
    else
        *ret_log = log;
    return rc;
}

int32_t kos_keys_extend(const struct klp_log *log, struct klp_event *event, const struct klp_secret *secret,
                        struct klp_log **ret_log, struct kos_error *ret_error)
{
    struct klp_log *longer = klp_log_clone(log);
    if (!longer)
        return kos_fail(ret_error, KOS_E_NOMEM, "no memory for a log");
    event->id = *klp_log_id(log);
    event->seq = klp_log_count(log);
    event->prior = klp_log_head(log)->digest;
    int32_t rc = make_and_append(longer, event, secret, ret_error);
    if (rc < 0)
        klp_log_free(longer);
    else
        *ret_log = longer;
    return rc;
}

int32_t kos_keys_log_write(struct kos_env *env, const char *path, const struct klp_log *log,
                           struct kos_error *ret_error)
{
    uint8_t *text;
    size_t len;
    int32_t rc = klp_log_text(log, 0, &text, &len);
    if (rc < 0)
        return kos_fail(ret_error, rc, "%s: no memory for the log's text", path);
    rc = kos_file_write_all(env, path, 0600, kos_bytes(text, len));
    free(text);
    return rc < 0 ? kos_fail(ret_error, rc, "%s: cannot be written: %s", path, kos_error_text(rc)) : KOS_OK;
}

int32_t kos_keys_log_read(struct kos_env *env, const char *path, int32_t kind, struct klp_log **ret_log,
                          struct kos_error *ret_error)
{
    uint8_t *text;
    size_t len;
    int32_t rc = kos_key_guard(env, path, false, ret_error);
    if (rc < 0)
        return rc;
    rc = kos_file_read_all(env, path, KOS_KEYS_LOG_MAX, &text, &len);
    if (rc < 0)
        return kos_fail(ret_error, rc == KOS_E_LIMIT ? KOS_E_CORRUPT : rc, "%s: cannot be read: %s", path,
                        kos_error_text(rc));
    struct klp_log *log = klp_log_new();
    struct kos_error why = { 0 };
    rc = log ? klp_log_append_text(log, kos_bytes(text, len), &why) : KOS_E_NOMEM;
    free(text);
    if (rc >= 0 && klp_log_count(log) == 0)
        snprintf(why.text, sizeof why.text, "it is empty");
    if (rc >= 0 && klp_log_count(log) > 0 && klp_log_kind(log) != kind)
        snprintf(why.text, sizeof why.text, "it is not the log of a %s", klp_kind_name(kind));
    if (rc < 0 || why.text[0]) {
        klp_log_free(log);
        return kos_fail(ret_error, rc == KOS_E_NOMEM ? rc : KOS_E_CORRUPT,
                        "%s is damaged (%.300s): restore it from a backup", path, why.text);
    }
    *ret_log = log;
    return KOS_OK;
}

bool kos_keys_match(const struct klp_log *log, struct kos_key_secrets *secrets)
{
    struct klp_public current, next;
    struct klp_digest digest, committed;
    uint64_t seq = kos_keys_in_force(log, &committed);
    if (klp_secret_expand(&secrets->current) < 0 || klp_secret_public(&secrets->current, &current) < 0 || klp_secret_public(&secrets->next, &next) < 0)
        return false;
    klp_public_digest(&next, &digest);
    return memcmp(&current, &klp_log_event(log, seq)->key, sizeof current) == 0 &&
           memcmp(&digest, &committed, sizeof digest) == 0;
}

static const char *const parts[] = { "node.key", "node.log", "agents", "secrets" };

/* The directory and what belongs in it; each is made or was there, empty. */
static int32_t make_directories(struct kos_env *env, const char *dir, struct kos_error *ret_error)
{
    const char *const names[] = { "", "/agents", "/secrets" };
    for (size_t i = 0; i < 3; i++) {
        char *path = kos_format("%s%s", dir, names[i]);
        int32_t rc = env->ops->dir_make(env, path, 0700);
        if (rc == KOS_E_EXISTS)
            rc = kos_key_guard(env, path, true, ret_error);
        else if (rc < 0)
            kos_fail(ret_error, rc, "%s: the directory cannot be made: %s", path, kos_error_text(rc));
        free(path);
        if (rc < 0)
            return rc;
    }
    return KOS_OK;
}

static void remove_all(struct kos_env *env, const char *dir)
{
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *path = path_of(dir, parts[i]);
        env->ops->file_remove(env, path);
        free(path);
    }
    env->ops->file_remove(env, dir); /* fails when something else is in it, as it should */
}

static int32_t sync_parent(struct kos_env *env, const char *dir)
{
    const char *slash = strrchr(dir, '/');
    char *parent = slash == dir ? kos_strdup("/") : kos_format("%.*s", slash ? (int)(slash - dir) : 0, dir);
    int32_t rc = env->ops->dir_sync(env, parent);
    free(parent);
    return rc;
}

static int32_t make_node(struct kos_env *env, const char *dir, int32_t alg, struct kos_bytes passphrase,
                         struct kos_error *ret_error)
{
    struct kos_key_secrets *secrets = NULL;
    struct kos_key_lock *lock = NULL;
    struct klp_log *log = NULL;
    char *key_path = path_of(dir, parts[0]), *log_path = path_of(dir, parts[1]);
    int32_t rc = kos_key_secrets_new(env, alg, &secrets, ret_error);
    if (rc == KOS_OK)
        rc = kos_keys_incept(env, KLP_KIND_NODE, secrets, NULL, &log, ret_error);
    if (rc == KOS_OK && passphrase.len)
        rc = kos_key_lock_new(env, passphrase, KOS_KDF_PASSES, KOS_KDF_MEMORY, &lock, ret_error);
    /* The key comes last: what has a key file is a node. */
    if (rc == KOS_OK)
        rc = kos_keys_log_write(env, log_path, log, ret_error);
    if (rc == KOS_OK)
        rc = kos_key_file_write(env, key_path, secrets, lock, ret_error);
    if (rc == KOS_OK && (rc = sync_parent(env, dir)) < 0)
        kos_fail(ret_error, rc, "%s: the directory above cannot be synced: %s", dir, kos_error_text(rc));
    kos_secret_free(secrets);
    kos_secret_free(lock);
    klp_log_free(log);
    free(key_path);
    free(log_path);
    return rc;
}

int32_t kos_keys_create(struct kos_env *env, const char *dir, int32_t alg, struct kos_bytes passphrase,
                        struct kos_error *ret_error)
{
    if (dir[0] != '/' || strlen(dir) < 2)
        return kos_fail(ret_error, KOS_E_INVALID, "%s: the path of the keys must be absolute", dir);
    struct kos_file_stat st;
    char *key_path = path_of(dir, parts[0]);
    int32_t rc = env->ops->file_stat(env, key_path, &st);
    free(key_path);
    if (rc != KOS_E_NOTFOUND)
        return rc == KOS_OK
                   ? kos_fail(ret_error, KOS_E_EXISTS, "%s holds a node's keys already: an identity is made once", dir)
                   : kos_fail(ret_error, rc, "%s: cannot be looked into: %s", dir, kos_error_text(rc));
    rc = make_directories(env, dir, ret_error);
    if (rc == KOS_OK)
        rc = make_node(env, dir, alg, passphrase, ret_error);
    if (rc < 0)
        remove_all(env, dir);
    return rc;
}

int32_t kos_keys_encrypted(struct kos_env *env, const char *dir, bool *ret_encrypted, struct kos_error *ret_error)
{
    char *path = path_of(dir, parts[0]);
    int32_t rc = kos_key_file_encrypted(env, path, ret_encrypted, ret_error);
    free(path);
    return rc;
}

struct leftovers {
    struct kos_env *env;
    const char *dir;
    char *names[64];
    size_t count;
};

static void note_temporary(void *arg, const char *name)
{
    struct leftovers *left = arg;
    size_t len = strlen(name);
    if (len > 4 && strcmp(name + len - 4, ".tmp") == 0 && left->count < sizeof left->names / sizeof *left->names)
        left->names[left->count++] = path_of(left->dir, name);
}

/* Temporary files of writes that a crash cut off hold secrets too. */
static void remove_temporaries(struct kos_env *env, const char *dir)
{
    struct leftovers left = { .env = env, .dir = dir };
    env->ops->dir_list(env, dir, note_temporary, &left);
    for (size_t i = 0; i < left.count; i++) {
        env->ops->file_remove(env, left.names[i]);
        free(left.names[i]);
    }
}

static int32_t open_node(struct kos_keys *keys, struct kos_bytes passphrase, struct kos_error *ret_error)
{
    struct kos_identity *node = kos_new(sizeof *node);
    char *key_path = path_of(keys->dir, parts[0]), *log_path = path_of(keys->dir, parts[1]);
    int32_t rc = kos_keys_log_read(keys->env, log_path, KLP_KIND_NODE, &node->log, ret_error);
    if (rc == KOS_E_NOTFOUND)
        rc = kos_fail(ret_error, KOS_E_CORRUPT, "%s is missing, and %s is there: restore it from a backup", log_path,
                      key_path);
    if (rc == KOS_OK && !(node->secrets = kos_secret_new(sizeof *node->secrets)))
        rc = kos_fail(ret_error, KOS_E_NOMEM, "no locked memory for a key: raise the limit (ulimit -l, LimitMEMLOCK)");
    if (rc == KOS_OK)
        rc = kos_key_file_read(keys->env, key_path, passphrase, &keys->lock, node->secrets, ret_error);
    if (rc == KOS_OK && klp_log_revoked(node->log))
        rc = kos_fail(ret_error, KOS_E_REVOKED, "%s ends with a revocation: this identity is over, make a new one",
                      log_path);
    if (rc == KOS_OK && !kos_keys_match(node->log, node->secrets))
        rc = kos_fail(ret_error, KOS_E_CORRUPT,
                      "%s does not hold the keys that %s speaks of: restore both from the same backup", key_path,
                      log_path);
    free(key_path);
    free(log_path);
    if (rc < 0) {
        kos_identity_free(node);
        return rc;
    }
    node->id = *klp_log_id(node->log);
    node->event = kos_keys_in_force(node->log, NULL);
    keys->node = node;
    return KOS_OK;
}

int32_t kos_keys_open(struct kos_env *env, const char *dir, struct kos_bytes passphrase, struct kos_keys **ret_keys,
                      struct kos_error *ret_error)
{
    char *agents = path_of(dir, "agents"), *key_path = path_of(dir, parts[0]);
    struct kos_file_stat st;
    int32_t rc = env->ops->file_stat(env, key_path, &st);
    if (rc == KOS_E_NOTFOUND)
        kos_fail(ret_error, rc, "%s holds no node's keys: make them with kosctl init", dir);
    else if (rc < 0)
        kos_fail(ret_error, rc, "%s: cannot be looked into: %s", dir, kos_error_text(rc));
    if (rc == KOS_OK)
        rc = kos_key_guard(env, dir, true, ret_error);
    if (rc == KOS_OK)
        rc = kos_key_guard(env, agents, true, ret_error);
    struct kos_keys *keys = NULL;
    if (rc == KOS_OK) {
        remove_temporaries(env, dir);
        remove_temporaries(env, agents);
        keys = kos_new(sizeof *keys);
        keys->env = env;
        keys->dir = kos_strdup(dir);
        rc = open_node(keys, passphrase, ret_error);
        if (rc == KOS_OK)
            rc = kos_keys_agents_load(keys, passphrase, ret_error);
        if (rc == KOS_OK && passphrase.len && !keys->lock)
            kos_log(env, KOS_LOG_WARNING, "trust", "%s is not encrypted: the passphrase given was not needed",
                    key_path);
    }
    free(agents);
    free(key_path);
    if (rc < 0)
        kos_keys_close(keys);
    else
        *ret_keys = keys;
    return rc;
}

void kos_keys_close(struct kos_keys *keys)
{
    if (!keys)
        return;
    struct kos_identity *identity, *next;
    HASH_ITER(hh, keys->agents, identity, next) {
        HASH_DEL(keys->agents, identity);
        kos_identity_free(identity);
    }
    kos_identity_free(keys->node);
    kos_secret_free(keys->lock);
    free(keys->dir);
    free(keys);
}

struct kos_identity *kos_keys_node(struct kos_keys *keys)
{
    return keys->node;
}

struct kos_identity *kos_keys_find(struct kos_keys *keys, const struct klp_id *id)
{
    struct kos_identity *identity;
    if (klp_id_eq(id, &keys->node->id))
        return keys->node;
    HASH_FIND(hh, keys->agents, id, sizeof *id, identity);
    return identity;
}

void kos_keys_each(struct kos_keys *keys, void (*each)(void *arg, const struct kos_identity *identity), void *arg)
{
    each(arg, keys->node);
    for (struct kos_identity *agent = keys->agents; agent; agent = agent->hh.next)
        each(arg, agent);
}

const struct klp_id *kos_identity_id(const struct kos_identity *identity) { return &identity->id; }
const struct klp_log *kos_identity_log(const struct kos_identity *identity) { return identity->log; }
uint64_t kos_identity_event(const struct kos_identity *identity) { return identity->event; }
const uint8_t *kos_keys_noise_secret(const struct kos_keys *keys) { return keys->node->secrets->noise; }

const struct klp_secret *kos_identity_secret(const struct kos_identity *identity)
{
    return identity->secrets ? &identity->secrets->current : NULL;
}

int32_t kos_identity_sign(const struct kos_identity *identity, const char *tag, struct kos_bytes body,
                          uint8_t ret_signature[KLP_SIGNATURE_LEN])
{
    if (!identity->secrets)
        return klp_log_revoked(identity->log) ? KOS_E_REVOKED : KOS_E_KEY;
    return klp_sign(&identity->secrets->current, tag, body, ret_signature);
}
