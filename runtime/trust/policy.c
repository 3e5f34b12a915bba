/* SPDX-License-Identifier: Apache-2.0
 * Manifests from files, together one policy. Nothing is in force before all of it was found good. */
#include "trust/policy_private.h"

#include <stdlib.h>

#include "core/buf.h"

#define SUFFIX ".klp-policy"

static int by_file(const void *a, const void *b)
{
    return strcmp((*(struct policy_manifest *const *)a)->file, (*(struct policy_manifest *const *)b)->file);
}

int32_t policy_compile(struct policy_manifest **manifests, size_t count, struct kos_policy **ret_policy,
                       struct kos_error *ret_error)
{
    struct kos_policy *policy = kos_new(sizeof *policy);
    policy->refs = 1;
    policy->manifests = manifests;
    policy->manifest_count = count;
    if (count)
        qsort(manifests, count, sizeof(struct policy_manifest *), by_file);
    policy_limits_group(policy);
    int32_t rc = policy_plugins_merge(policy, ret_error);
    if (rc < 0)
        kos_policy_unref(policy);
    else
        *ret_policy = policy;
    return rc;
}

struct kos_policy *kos_policy_ref(struct kos_policy *policy)
{
    policy->refs++;
    return policy;
}

void kos_policy_unref(struct kos_policy *policy)
{
    if (!policy || --policy->refs)
        return;
    for (size_t i = 0; i < policy->manifest_count; i++)
        policy_manifest_free(policy->manifests[i]);
    free(policy->manifests);
    free(policy->plugins);
    free(policy->groups);
    free(policy);
}

size_t kos_policy_plugins(const struct kos_policy *policy, const struct kos_policy_plugin **ret_plugins)
{
    *ret_plugins = policy->plugins;
    return policy->plugin_count;
}

/* "policy.d/home.klp-policy" of "/etc/kos/policy.d/home.klp-policy": what a rule is called by. */
static const char *short_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    while (slash && slash > path && slash[-1] != '/')
        slash--;
    return slash ? slash + (*slash == '/') : path;
}

static int32_t load_one(struct kos_env *env, const char *path, struct policy_manifest **ret_manifest,
                        struct kos_error *ret_error)
{
    struct kos_conf_doc *doc;
    int32_t rc = kos_conf_load(env, path, &doc, ret_error);
    if (rc == KOS_E_CONFIG) {
        rc = KOS_E_POLICY;
        if (ret_error)
            ret_error->code = rc;
    }
    return rc < 0 ? rc : policy_manifest_parse(doc, short_name(path), ret_manifest, ret_error);
}

struct listing {
    const char *dir;
    char *paths[KOS_POLICY_FILES_MAX];
    size_t count;   /* all of them, also those beyond the limit */
};

static void note(void *arg, const char *name)
{
    struct listing *list = arg;
    size_t len = strlen(name);
    if (name[0] == '.' || len <= sizeof SUFFIX - 1 || strcmp(name + len - (sizeof SUFFIX - 1), SUFFIX) != 0)
        return;
    if (list->count < KOS_POLICY_FILES_MAX)
        list->paths[list->count] = kos_format("%s/%s", list->dir, name);
    list->count++;
}

static int32_t load_all(struct kos_env *env, const struct listing *list, struct kos_policy **ret_policy,
                        struct kos_error *ret_error)
{
    struct policy_manifest **manifests = kos_new((list->count + 1) * sizeof(struct policy_manifest *));
    size_t done = 0;
    int32_t rc = KOS_OK;
    for (; rc == KOS_OK && done < list->count; done += rc == KOS_OK)
        rc = load_one(env, list->paths[done], &manifests[done], ret_error);
    if (rc == KOS_OK)
        return policy_compile(manifests, done, ret_policy, ret_error);
    for (size_t i = 0; i < done; i++)
        policy_manifest_free(manifests[i]);
    free(manifests);
    return rc;
}

int32_t kos_policy_load(struct kos_env *env, const char *dir, struct kos_policy **ret_policy,
                        struct kos_error *ret_error)
{
    struct listing list = { .dir = dir };
    int32_t rc = env->ops->dir_list(env, dir, note, &list);
    size_t held = list.count < KOS_POLICY_FILES_MAX ? list.count : KOS_POLICY_FILES_MAX;
    if (rc == KOS_E_NOTFOUND) {
        kos_log(env, KOS_LOG_WARNING, "trust", "%s does not exist: the built-in policy holds, and no plugin is wired",
                dir);
        rc = KOS_OK;
    } else if (rc < 0) {
        kos_fail(ret_error, rc, "%s: cannot be read: %s", dir, kos_error_text(rc));
    }
    if (rc == KOS_OK && list.count > KOS_POLICY_FILES_MAX)
        rc = kos_fail(ret_error, KOS_E_POLICY, "%s holds %zu manifests; at most %d are read", dir, list.count,
                      KOS_POLICY_FILES_MAX);
    if (rc == KOS_OK)
        rc = kos_conf_guard(env, dir, ret_error);
    for (size_t i = 0; i < list.count && rc == KOS_OK; i++)
        rc = kos_conf_guard(env, list.paths[i], ret_error);
    if (rc == KOS_OK)
        rc = load_all(env, &list, ret_policy, ret_error);
    for (size_t i = 0; i < held; i++)
        free(list.paths[i]);
    return rc;
}

int32_t kos_policy_check(struct kos_env *env, const char *path, struct kos_error *ret_error)
{
    struct policy_manifest **manifests = kos_new(sizeof(struct policy_manifest *));
    struct kos_policy *policy;
    int32_t rc = load_one(env, path, manifests, ret_error);
    if (rc < 0) {
        free(manifests);
        return rc;
    }
    rc = policy_compile(manifests, 1, &policy, ret_error);
    if (rc == KOS_OK)
        kos_policy_unref(policy);
    return rc;
}
