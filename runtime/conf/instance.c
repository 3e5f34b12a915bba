/* SPDX-License-Identifier: Apache-2.0
 *
 * Where an instance's files are, and kosd.conf bound to a struct.
 */
#include <stdlib.h>
#include <unistd.h>

#include <klp/address.h>
#include "conf/instance.h"
#include "core/buf.h"

static char *path_join(const char *dir, const char *name)
{
    return kos_format("%s/%s", dir, name);
}

static void instance_state(struct kos_instance *instance)
{
    instance->store_dir = path_join(instance->state_dir, "store");
    instance->agents_dir = path_join(instance->state_dir, "agents");
    instance->log = path_join(instance->state_dir, "kosd.log");
}

static void instance_system(struct kos_instance *instance)
{
    instance->conf = kos_strdup(KOS_SYSCONFDIR "/kosd.conf");
    instance->policy_dir = kos_strdup(KOS_SYSCONFDIR "/policy.d");
    instance->keys_dir = kos_strdup(KOS_STATEDIR "/keys");
    instance->state_dir = kos_strdup(KOS_STATEDIR "/state");
    instance->socket = kos_strdup(KOS_RUNDIR "/kosd.sock");
    instance_state(instance);
}

int32_t kos_instance_init(const char *dir, struct kos_instance *ret_instance, struct kos_error *ret_error)
{
    struct kos_instance instance = { 0 };
    if (!dir)
        dir = getenv("KOS_INSTANCE");
    if (!dir || !*dir) {
        instance_system(&instance);
        *ret_instance = instance;
        return KOS_OK;
    }
    if (*dir == '/') {
        instance.dir = kos_strdup(dir);
    } else {
        char here[4096];
        if (!getcwd(here, sizeof here))
            return kos_fail(ret_error, KOS_E_IO, "the working directory cannot be read: give the instance as an absolute path");
        instance.dir = path_join(here, dir);
    }
    for (size_t n = strlen(instance.dir); n > 1 && instance.dir[n - 1] == '/'; n--)
        instance.dir[n - 1] = 0;
    instance.conf = path_join(instance.dir, "kosd.conf");
    instance.policy_dir = path_join(instance.dir, "policy.d");
    instance.keys_dir = path_join(instance.dir, "keys");
    instance.state_dir = path_join(instance.dir, "state");
    instance.socket = path_join(instance.dir, "kosd.sock");
    instance_state(&instance);
    *ret_instance = instance;
    return KOS_OK;
}

void kos_instance_fini(struct kos_instance *instance)
{
    char **all[] = { &instance->dir, &instance->conf, &instance->policy_dir, &instance->keys_dir, &instance->state_dir,
                     &instance->store_dir, &instance->agents_dir, &instance->socket, &instance->log };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(*all[i]);
        *all[i] = NULL;
    }
}

#define FIELD(type_, member_, fallback_, min_, max_) \
    { .setting = { .size = sizeof(struct kos_setting), .type = (type_), .name = #member_, .fallback = (fallback_), .min = (min_), .max = (max_) }, \
      .offset = offsetof(struct kos_settings, member_) }

static const struct kos_conf_field fields[] = {
    FIELD(KOS_SETTING_STRING, name, NULL, 1, KLP_NAME_MAX),
    FIELD(KOS_SETTING_LIST, roles, "peer", 0, 8),
    FIELD(KOS_SETTING_LIST, listen, "", 0, 32),
    FIELD(KOS_SETTING_INT, workers, "2", 1, 64),
    FIELD(KOS_SETTING_STRING, log_level, "info", 0, 0),
    FIELD(KOS_SETTING_STRING, control_group, "", 0, 0),
    FIELD(KOS_SETTING_STRING, passphrase_file, "", 0, 0),
    FIELD(KOS_SETTING_STRING, plugin_dir, KOS_PLUGINDIR, 1, 4096),
    FIELD(KOS_SETTING_STRING, cell_program, "", 0, 4096),
    FIELD(KOS_SETTING_STRING, user, "", 0, 256),
    FIELD(KOS_SETTING_LIST, groups, "", 0, 32),
    FIELD(KOS_SETTING_LIST, write_paths, "", 0, 64),
    FIELD(KOS_SETTING_BOOL, seccomp, "true", 0, 0),
    FIELD(KOS_SETTING_LIST, agent_paths, "", 0, 64),
    FIELD(KOS_SETTING_INT, links, "16384", 1, 1 << 20),
    FIELD(KOS_SETTING_INT, half_open, "1024", 1, 1 << 20),
    FIELD(KOS_SETTING_INT, half_open_per_source, "16", 1, 1 << 20),
    FIELD(KOS_SETTING_DURATION, handshake_ms, "10s", 100, 600000),
    FIELD(KOS_SETTING_DURATION, idle_ping_ms, "30s", 100, 86400000),
    FIELD(KOS_SETTING_DURATION, dead_ms, "90s", 200, 86400000),
    FIELD(KOS_SETTING_DURATION, session_ms, "1h", 1000, 604800000),
    FIELD(KOS_SETTING_SIZE, credit_bytes, "2M", 65536, 1 << 30),
    FIELD(KOS_SETTING_INT, streams_per_session, "256", 1, 65536),
    FIELD(KOS_SETTING_SIZE, outbox_bytes, "256M", 1 << 20, INT64_C(1) << 40),
    FIELD(KOS_SETTING_SIZE, outbox_per_target_bytes, "64M", 1 << 20, INT64_C(1) << 40),
    FIELD(KOS_SETTING_SIZE, inbox_bytes, "256M", 4 << 20, INT64_C(1) << 40),
    FIELD(KOS_SETTING_INT, inbox_open, "4096", 1, 1 << 20),
    FIELD(KOS_SETTING_INT, dedupe_per_peer, "1000000", 1000, 100000000),
    FIELD(KOS_SETTING_SIZE, journal_bytes, "16M", 65536, 256 << 20),
    FIELD(KOS_SETTING_SIZE, checkpoint_bytes, "32M", 65536, 1 << 30),
    { .setting = { 0 } },
};

int32_t kos_settings_check_name(const char *name, struct kos_error *ret_error)
{
    char canonical[KLP_NAME_MAX + 1];
    struct klp_id id;
    if (klp_name_parse(kos_bytes_str(name), canonical) < 0)
        return kos_fail(ret_error, KOS_E_INVALID, "\"%s\" is not a name: use labels of a-z, 0-9 and '-' joined by dots, such as home.kai", name);
    if (klp_id_parse(kos_bytes_str(canonical), &id) == KOS_OK)
        return kos_fail(ret_error, KOS_E_INVALID, "\"%s\" reads as an identifier: choose a name that does not", name);
    return KOS_OK;
}

int32_t kos_settings_check_role(const char *role, struct kos_error *ret_error)
{
    static const char *const later[] = { "gateway", "archive", "validator" };
    if (strcmp(role, "peer") == 0)
        return KOS_OK;
    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
        if (strcmp(role, later[i]) == 0)
            return kos_fail(ret_error, KOS_E_UNSUPPORTED, "the role \"%s\" is not built yet: this version has \"peer\"", role);
    return kos_fail(ret_error, KOS_E_INVALID, "\"%s\" is not a role: this version has \"peer\"", role);
}

int32_t kos_settings_check_listen(const char *address, struct kos_error *ret_error)
{
    const char *colon = strstr(address, "://");
    if (!colon || colon == address || !colon[3] || strlen(address) > KLP_ADDRESS_MAX)
        return kos_fail(ret_error, KOS_E_INVALID, "\"%s\" is not an address to listen on: write SCHEME://..., such as tcp://127.0.0.1:7450", address);
    return KOS_OK;
}

const char *kos_cell_program(const struct kos_settings *settings)
{
    const char *named = getenv("KOS_CELL");
    if (settings && settings->cell_program && *settings->cell_program)
        return settings->cell_program;
    return named && *named ? named : KOS_LIBEXECDIR "/kos-cell";
}

int32_t kos_settings_log_level(const char *word)
{
    static const char *const words[] = { "error", "warning", "notice", "info", "debug" };
    for (int32_t i = 0; i < 5; i++)
        if (strcmp(word, words[i]) == 0)
            return KOS_LOG_ERROR + i;
    return KOS_E_INVALID;
}

/* `member` is for the line of the error. */
static int32_t settings_check(const struct kos_conf_node *root, const struct kos_settings *settings, struct kos_error *ret_error)
{
    struct kos_error why;
    const char *member = "name";
    int32_t r = kos_settings_check_name(settings->name, &why);
    if (r == KOS_OK && !settings->roles[0]) {
        member = "roles";
        r = kos_fail(&why, KOS_E_INVALID, "a node has at least one role");
    }
    for (size_t i = 0; r == KOS_OK && settings->roles[i]; i++) {
        member = "roles";
        r = kos_settings_check_role(settings->roles[i], &why);
    }
    for (size_t i = 0; r == KOS_OK && settings->listen[i]; i++) {
        member = "listen";
        r = kos_settings_check_listen(settings->listen[i], &why);
    }
    const struct { const char *member; char **paths; } lists[] = { { "agent_paths", settings->agent_paths }, { "write_paths", settings->write_paths } };
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++)
        for (size_t i = 0; r == KOS_OK && lists[k].paths[i]; i++)
            if (lists[k].paths[i][0] != '/') {
                member = lists[k].member;
                r = kos_fail(&why, KOS_E_INVALID, "\"%s\" is not an absolute path", lists[k].paths[i]);
            }
    if (r == KOS_OK && *settings->cell_program && *settings->cell_program != '/') {
        member = "cell_program";
        r = kos_fail(&why, KOS_E_INVALID, "\"%s\" is not an absolute path", settings->cell_program);
    }
    if (r == KOS_OK && kos_settings_log_level(settings->log_level) < 0) {
        member = "log_level";
        r = kos_fail(&why, KOS_E_INVALID, "\"%s\" is none of error, warning, notice, info, debug", settings->log_level);
    }
    if (r == KOS_OK && settings->dead_ms <= settings->idle_ping_ms) {
        member = "dead_ms";
        r = kos_fail(&why, KOS_E_INVALID, "dead_ms must be longer than idle_ping_ms");
    }
    if (r == KOS_OK)
        return KOS_OK;
    const struct kos_conf_node *node = kos_conf_member(root, member);
    return kos_conf_fail(node ? node : root, ret_error, r == KOS_E_UNSUPPORTED ? r : KOS_E_CONFIG, "%s", why.text);
}

int32_t kos_settings_load(struct kos_env *env, const struct kos_instance *instance, struct kos_settings *ret_settings, struct kos_error *ret_error)
{
    struct kos_conf_doc *doc;
    struct kos_settings settings = { 0 };
    int32_t r = kos_conf_load(env, instance->conf, &doc, ret_error);
    if (r == KOS_E_NOTFOUND)
        return kos_fail(ret_error, r, "there is no %s: make the instance with kosctl%s%s init --name NAME", instance->conf, instance->dir ? " -i " : "", instance->dir ? instance->dir : "");
    if (r < 0)
        return r;
    r = kos_conf_bind(kos_conf_root(doc), fields, &settings, ret_error);
    if (r == KOS_OK && (r = settings_check(kos_conf_root(doc), &settings, ret_error)) < 0)
        kos_settings_fini(&settings);
    kos_conf_free(doc);
    if (r == KOS_OK)
        *ret_settings = settings;
    return r;
}

void kos_settings_fini(struct kos_settings *settings)
{
    kos_conf_unbind(fields, settings);
    memset(settings, 0, sizeof *settings);
}
