/* SPDX-License-Identifier: Apache-2.0
 *
 * The agents' identities. An agent exists when its node's log delegates it: its own files are written first, the node's
 * delegation last, so a crash leaves files that nobody speaks of, which the next start removes. It ends with the
 * revocation in its own log; its key file goes after that.
 */
#include "trust/keys_private.h"

#include <stdlib.h>

#include "core/buf.h"

char *kos_keys_agent_path(const struct kos_keys *keys, const struct klp_id *id, const char *suffix)
{
    char text[KLP_ID_TEXT];
    klp_id_text(id, text);
    return kos_format("%s/agents/%s%s", keys->dir, text, suffix);
}

/* Overwritten before it is removed: on media that write in place nothing is left. */
static void destroy_key(struct kos_env *env, const char *path)
{
    static const uint8_t zeros[4096];
    struct kos_file *file;
    if (env->ops->file_open(env, path, KOS_FILE_WRITE, 0, &file) == KOS_OK) {
        int64_t size = env->ops->file_size(file);
        if (size > 0)
            env->ops->file_write(file, zeros, size < (int64_t)sizeof zeros ? (size_t)size : sizeof zeros, 0);
        env->ops->file_sync(file);
        env->ops->file_close(file);
    }
    env->ops->file_remove(env, path);
}

static void remove_agent(struct kos_keys *keys, const struct klp_id *id)
{
    char *key_path = kos_keys_agent_path(keys, id, ".key"), *log_path = kos_keys_agent_path(keys, id, ".log");
    destroy_key(keys->env, key_path);
    keys->env->ops->file_remove(keys->env, log_path);
    free(key_path);
    free(log_path);
}

struct found {
    struct klp_id *ids;
    size_t count, cap;
};

/* ID.log; other names are not ours and stay. */
static void note_log(void *arg, const char *name)
{
    struct found *found = arg;
    struct klp_id id;
    if (strlen(name) != KLP_ID_TEXT - 1 + 4 || strcmp(name + KLP_ID_TEXT - 1, ".log") != 0 ||
        klp_id_parse(kos_bytes(name, KLP_ID_TEXT - 1), &id) < 0)
        return;
    if (found->count == found->cap) {
        struct klp_id *ids = kos_new((found->cap * 2 + 16) * sizeof *ids);
        if (found->count)
            memcpy(ids, found->ids, found->count * sizeof *ids);
        free(found->ids);
        found->ids = ids;
        found->cap = found->cap * 2 + 16;
    }
    found->ids[found->count++] = id;
}

/* The log that was read stands beside this file; its text was synced before its name. */
static bool log_is_durable(struct kos_env *env, const char *path)
{
    char *dir = kos_format("%.*s", (int)(strrchr(path, '/') - path), path);
    int32_t rc = env->ops->dir_sync(env, dir);
    free(dir);
    return rc == KOS_OK;
}

/* The key file of an agent that lives; without one it stays, and cannot act. */
static int32_t load_secrets(struct kos_keys *keys, struct kos_identity *agent, struct kos_bytes passphrase,
                            struct kos_error *ret_error)
{
    char *path = kos_keys_agent_path(keys, &agent->id, ".key");
    struct kos_file_stat st;
    int32_t rc = keys->env->ops->file_stat(keys->env, path, &st);
    if (klp_log_revoked(agent->log)) {
        /* The log may be in memory only, where the disk failed in the process before: were the key gone and the
         * revocation not, the agent could neither act nor be retired. */
        if (rc == KOS_OK && log_is_durable(keys->env, path))
            destroy_key(keys->env, path);
        rc = KOS_OK;
    } else if (rc == KOS_E_NOTFOUND) {
        kos_log(keys->env, KOS_LOG_WARNING, "trust",
                "%s is missing: this agent cannot act; restore the file, or remove the agent", path);
        rc = KOS_OK;
    } else {
        struct kos_key_lock *lock = keys->lock;
        agent->secrets = kos_secret_new(sizeof *agent->secrets);
        rc = agent->secrets
                 ? kos_key_file_read(keys->env, path, passphrase, &lock, agent->secrets, ret_error)
                 : kos_fail(ret_error, KOS_E_NOMEM,
                            "no locked memory for the key of an agent: raise the limit (ulimit -l, LimitMEMLOCK)");
        if (rc == KOS_OK && lock != keys->lock) {
            kos_secret_free(lock);
            rc = kos_fail(ret_error, KOS_E_CORRUPT,
                          "%s is encrypted, and node.key is not: restore both from the same backup", path);
        }
        if (rc == KOS_OK && !kos_keys_match(agent->log, agent->secrets))
            rc = kos_fail(
                ret_error, KOS_E_CORRUPT,
                "%s does not hold the keys that the .log beside it speaks of: restore both from the same backup", path);
    }
    free(path);
    return rc;
}

static int32_t load_agent(struct kos_keys *keys, const struct klp_id *id, struct kos_bytes passphrase,
                          struct kos_error *ret_error)
{
    char *path = kos_keys_agent_path(keys, id, ".log");
    struct klp_log *log = NULL;
    int32_t rc = kos_keys_log_read(keys->env, path, KLP_KIND_AGENT, &log, ret_error);
    if (rc == KOS_OK && !klp_id_eq(klp_log_id(log), id))
        rc = kos_fail(ret_error, KOS_E_CORRUPT, "%s is the log of another agent: restore it from a backup", path);
    bool ours = rc == KOS_OK && klp_log_delegates(keys->node->log, id, klp_log_identity(log));
    if (rc == KOS_OK && !ours) {
        kos_log(keys->env, KOS_LOG_NOTICE, "trust", "%s is left over from an agent that was never finished: removed",
                path);
        remove_agent(keys, id);
    }
    free(path);
    if (!ours) {
        klp_log_free(log);
        return rc;
    }
    struct kos_identity *agent = kos_new(sizeof *agent);
    agent->id = *id;
    agent->log = log;
    agent->event = kos_keys_in_force(log, NULL);
    rc = load_secrets(keys, agent, passphrase, ret_error);
    if (rc < 0)
        kos_identity_free(agent);
    else
        HASH_ADD(hh, keys->agents, id, sizeof agent->id, agent);
    return rc;
}

int32_t kos_keys_agents_load(struct kos_keys *keys, struct kos_bytes passphrase, struct kos_error *ret_error)
{
    struct found found = { 0 };
    char *dir = kos_format("%s/agents", keys->dir);
    int32_t rc = keys->env->ops->dir_list(keys->env, dir, note_log, &found);
    if (rc < 0)
        kos_fail(ret_error, rc, "%s: cannot be read: %s", dir, kos_error_text(rc));
    for (size_t i = 0; rc == KOS_OK && i < found.count; i++)
        rc = load_agent(keys, &found.ids[i], passphrase, ret_error);
    free(found.ids);
    free(dir);
    return rc;
}

/* Own files first, then what makes them count. */
static int32_t write_agent(struct kos_keys *keys, const struct kos_identity *agent, const struct klp_log *node_log,
                           struct kos_error *ret_error)
{
    char *key_path = kos_keys_agent_path(keys, &agent->id, ".key"),
         *log_path = kos_keys_agent_path(keys, &agent->id, ".log"), *node_path = kos_format("%s/node.log", keys->dir);
    int32_t rc = kos_keys_log_write(keys->env, log_path, agent->log, ret_error);
    if (rc == KOS_OK)
        rc = kos_key_file_write(keys->env, key_path, agent->secrets, keys->lock, ret_error);
    if (rc == KOS_OK)
        rc = kos_keys_log_write(keys->env, node_path, node_log, ret_error);
    free(key_path);
    free(log_path);
    free(node_path);
    return rc;
}

int32_t kos_keys_agent_new(struct kos_keys *keys, struct kos_identity **ret_identity, struct kos_error *ret_error)
{
    struct kos_identity *agent = kos_new(sizeof *agent), *node = keys->node;
    struct klp_log *node_log = NULL;
    int32_t rc = kos_key_secrets_new(keys->env, node->secrets->current.alg, &agent->secrets, ret_error);
    if (rc == KOS_OK)
        rc = kos_keys_incept(keys->env, KLP_KIND_AGENT, agent->secrets, node->log, &agent->log, ret_error);
    if (rc == KOS_OK) {
        agent->id = *klp_log_id(agent->log);
        struct klp_event event = { .type = KLP_EVENT_DELEGATION,
                                   .created = kos_now_ms(keys->env),
                                   .subject = agent->id,
                                   .subject_digest = *klp_log_identity(agent->log) };
        rc = kos_keys_extend(node->log, &event, &node->secrets->current, &node_log, ret_error);
    }
    if (rc == KOS_OK && (rc = write_agent(keys, agent, node_log, ret_error)) < 0)
        remove_agent(keys, &agent->id);
    if (rc < 0) {
        kos_identity_free(agent);
        klp_log_free(node_log);
        return rc;
    }
    klp_log_free(node->log);
    node->log = node_log;
    HASH_ADD(hh, keys->agents, id, sizeof agent->id, agent);
    *ret_identity = agent;
    return KOS_OK;
}

int32_t kos_keys_agent_retire(struct kos_keys *keys, const struct klp_id *id, struct kos_error *ret_error)
{
    char text[KLP_ID_TEXT];
    struct kos_identity *agent;
    klp_id_text(id, text);
    HASH_FIND(hh, keys->agents, id, sizeof *id, agent);
    if (!agent)
        return kos_fail(ret_error, KOS_E_NOTFOUND, "%s is not an agent of this node", text);
    if (klp_log_revoked(agent->log))
        return kos_fail(ret_error, KOS_E_REVOKED, "the agent %s is retired already", text);
    if (!agent->secrets)
        return kos_fail(ret_error, KOS_E_KEY,
                        "the key file of the agent %s is missing: it cannot sign its own revocation", text);
    struct klp_event event = { .type = KLP_EVENT_REVOCATION,
                               .created = kos_now_ms(keys->env),
                               .grace_ms = KLP_GRACE_DEFAULT_MS };
    struct klp_log *longer;
    int32_t rc = kos_keys_extend(agent->log, &event, &agent->secrets->next, &longer, ret_error);
    if (rc < 0)
        return rc;
    char *log_path = kos_keys_agent_path(keys, id, ".log"), *key_path = kos_keys_agent_path(keys, id, ".key");
    rc = kos_keys_log_write(keys->env, log_path, longer, ret_error);
    if (rc == KOS_OK) {
        destroy_key(keys->env, key_path);
        klp_log_free(agent->log);
        agent->log = longer;
        kos_secret_free(agent->secrets);
        agent->secrets = NULL;
    } else {
        klp_log_free(longer);
    }
    free(log_path);
    free(key_path);
    return rc;
}
