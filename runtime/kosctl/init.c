/* SPDX-License-Identifier: Apache-2.0
 *
 * kosctl init: makes an instance, whole or not at all.
 */
#include <stdlib.h>
#include <unistd.h>

#include "conf/passphrase.h"
#include "core/buf.h"
#include "kosctl/default_policy.h"
#include "kosctl/kosctl.h"
#include "trust/keys.h"

enum { LIST_MAX = 32 };

struct init {
    const char *name, *passphrase_file;
    int32_t algorithm;
    const char *roles[LIST_MAX + 1], *listen[LIST_MAX + 1];
    size_t role_count, listen_count;
    char *role_words;
};

static int32_t roles_split(struct init *init, const char *text, struct kos_error *ret_error)
{
    char *rest;
    free(init->role_words);
    init->role_words = kos_strdup(text);
    init->role_count = 0;
    for (char *word = strtok_r(init->role_words, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        int32_t r = kos_settings_check_role(word, ret_error);
        if (r < 0)
            return r;
        if (init->role_count == LIST_MAX)
            return kos_fail(ret_error, KOS_E_LIMIT, "a node has at most %d roles", LIST_MAX);
        init->roles[init->role_count++] = word;
    }
    return KOS_OK;
}

static int init_options(struct kosctl *ctl, int argc, char **argv, struct init *init)
{
    static const struct option own[] = {
        { "name", required_argument, NULL, 'n' }, { "role", required_argument, NULL, 'r' }, { "listen", required_argument, NULL, 'l' },
        { "passphrase-file", required_argument, NULL, 'p' }, { "algorithm", required_argument, NULL, 'a' }, { 0 },
    };
    struct kos_error error;
    int c;
    while ((c = kosctl_option(ctl, argc, argv, own)) >= 0)
        switch (c) {
        case 'n':
            init->name = optarg;
            if (kos_settings_check_name(optarg, &error) < 0)
                return kosctl_fail(ctl, &error);
            break;
        case 'r':
            if (roles_split(init, optarg, &error) < 0)
                return kosctl_fail(ctl, &error);
            break;
        case 'l':
            if (kos_settings_check_listen(optarg, &error) < 0)
                return kosctl_fail(ctl, &error);
            if (init->listen_count == LIST_MAX)
                return kosctl_usage(ctl, "at most %d --listen", LIST_MAX);
            init->listen[init->listen_count++] = optarg;
            break;
        case 'p': init->passphrase_file = optarg; break;
        case 'a':
            if (strcmp(optarg, "ed25519") != 0 && strcmp(optarg, "p256") != 0)
                return kosctl_usage(ctl, "--algorithm: \"%s\" is neither ed25519 nor p256", optarg);
            init->algorithm = optarg[0] == 'e' ? KLP_ALG_ED25519 : KLP_ALG_P256;
            break;
        default: return EXIT_USAGE;
        }
    if (c == -2)
        return EXIT_DONE;
    if (!kosctl_words(ctl, argc, 0, ""))
        return EXIT_USAGE;
    if (!init->name)
        return kosctl_usage(ctl, "init needs --name, such as --name home.kai");
    return -1;
}

static void list_print(struct kos_buf *conf, const char *const *list)
{
    for (size_t i = 0; list[i]; i++) {
        kos_buf_printf(conf, "%s\"", i ? ", " : "");
        for (const char *c = list[i]; *c; c++)
            kos_buf_printf(conf, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
        kos_buf_printf(conf, "\"");
    }
}

static int32_t conf_write(struct kosctl *ctl, const struct init *init, struct kos_error *ret_error)
{
    struct kos_buf conf;
    kos_buf_init(&conf, 65536);
    kos_buf_printf(&conf, "# kosd.conf(5): settings of this node. kosd --check reads it and says what is wrong.\n\n"
                          "# What the node calls itself; agents are klp://agent.NAME.%s\nname = \"%s\";\n\nroles = [ ", init->name, init->name);
    list_print(&conf, init->roles);
    kos_buf_printf(&conf, " ];\n\n# Addresses to listen on; none: the node only dials.\nlisten = [ ");
    list_print(&conf, init->listen);
    kos_buf_printf(&conf, " ];\n\n# error, warning, notice, info or debug\nlog_level = \"info\";\n");
    if (geteuid() == 0)
        kos_buf_printf(&conf, "\n# Made by root. A user of its own is better: chown -R the instance to it and remove this line (kosd(8)).\nuser = \"root\";\n");
    if (init->passphrase_file) {
        char *path = realpath(init->passphrase_file, NULL);
        const char *one[] = { path ? path : init->passphrase_file, NULL };
        kos_buf_printf(&conf, "\n# Opens keys/; remove the line to be asked, or to use a systemd credential (kosd(8)).\npassphrase_file = ");
        list_print(&conf, one);
        kos_buf_printf(&conf, ";\n");
        free(path);
    }
    int32_t r = kos_file_write_all(&ctl->plain.env, ctl->instance.conf, 0640, kos_buf_bytes(&conf));
    kos_buf_fini(&conf);
    if (r < 0)
        kos_fail(ret_error, r, "%s cannot be written: %s", ctl->instance.conf, kos_error_text(r));
    return r;
}

static int32_t dir_make(struct kosctl *ctl, const char *path, mode_t mode, struct kos_error *ret_error)
{
    int32_t r = ctl->plain.env.ops->dir_make(&ctl->plain.env, path, mode);
    if (r < 0 && r != KOS_E_EXISTS)
        return kos_fail(ret_error, r, "the directory %s cannot be made: %s", path, kos_error_text(r));
    return KOS_OK;
}

/* Keys of an init that failed after them, or put there by who has a copy of them, are kept: an identity is made once. */
static int32_t keys_make(struct kosctl *ctl, const struct init *init, struct kos_bytes passphrase, struct kos_error *ret_error)
{
    struct kos_env *env = &ctl->plain.env;
    struct kos_keys *keys;
    int32_t r = kos_keys_create(env, ctl->instance.keys_dir, init->algorithm, passphrase, ret_error);
    if (r != KOS_E_EXISTS)
        return r;
    if ((r = kos_keys_open(env, ctl->instance.keys_dir, passphrase, &keys, ret_error)) < 0)
        return r;
    kos_keys_close(keys);
    fprintf(stderr, "kosctl: %s holds a node's keys already: its identity is kept\n", ctl->instance.keys_dir);
    return KOS_OK;
}

/* kosd.conf is written last: while it is missing there is no instance, and init may be run again after what failed. */
static int32_t make(struct kosctl *ctl, const struct init *init, struct kos_bytes passphrase, struct kos_error *ret_error)
{
    struct kos_env *env = &ctl->plain.env;
    struct kos_file *there;
    char *policy = kos_format("%s/default.klp-policy", ctl->instance.policy_dir);
    int32_t r = KOS_OK;
    if (env->ops->file_open(env, ctl->instance.conf, KOS_FILE_READ, 0, &there) == KOS_OK) {
        env->ops->file_close(there);
        r = kos_fail(ret_error, KOS_E_EXISTS, "%s exists: there is an instance already; choose another directory, or remove that one if its identity may be lost", ctl->instance.conf);
    }
    if (r == KOS_OK && ctl->instance.dir)
        r = dir_make(ctl, ctl->instance.dir, 0700, ret_error);
    if (r == KOS_OK)
        r = dir_make(ctl, ctl->instance.policy_dir, 0755, ret_error);
    if (r == KOS_OK)
        r = dir_make(ctl, ctl->instance.state_dir, 0700, ret_error);
    if (r == KOS_OK && (r = kos_file_write_all(env, policy, 0644, kos_bytes_str(kosctl_default_policy))) < 0)
        kos_fail(ret_error, r, "%s cannot be written: %s", policy, kos_error_text(r));
    if (r == KOS_OK)
        r = keys_make(ctl, init, passphrase, ret_error);
    if (r == KOS_OK)
        r = conf_write(ctl, init, ret_error);
    free(policy);
    return r;
}

static int32_t tell(struct kosctl *ctl, const struct init *init, struct kos_bytes passphrase, struct kos_error *ret_error)
{
    struct kos_keys *keys;
    char id[KLP_ID_TEXT], did[KLP_DID_TEXT];
    int32_t r = kos_keys_open(&ctl->plain.env, ctl->instance.keys_dir, passphrase, &keys, ret_error);
    if (r < 0)
        return r;
    klp_id_text(kos_identity_id(kos_keys_node(keys)), id);
    klp_did(kos_identity_id(kos_keys_node(keys)), did);
    kos_keys_close(keys);
    if (ctl->json)
        kosctl_print_json(json_pack("{s:s, s:s, s:s, s:s, s:b}", "id", id, "did", did, "name", init->name, "conf", ctl->instance.conf, "encrypted", passphrase.len > 0));
    else
        printf("%s is klp://node.%s\nconfiguration %s\nstart it with: kosd%s%s\n", init->name, id, ctl->instance.conf, ctl->instance.dir ? " -i " : "", ctl->instance.dir ? ctl->instance.dir : "");
    if (passphrase.len == 0)
        fprintf(stderr, "kosctl: the keys in %s are not encrypted: whoever reads that directory is this node (--passphrase-file encrypts them)\n", ctl->instance.keys_dir);
    return KOS_OK;
}

int cmd_init(struct kosctl *ctl, int argc, char **argv)
{
    struct init init = { .algorithm = KLP_ALG_ED25519, .roles = { "peer" }, .role_count = 1 };
    struct kos_passphrase passphrase = { 0 };
    struct kos_error error;
    int status = init_options(ctl, argc, argv, &init);
    if (status < 0) {
        init.roles[init.role_count] = NULL;
        int32_t r = kosctl_instance(ctl, &error);
        if (r == KOS_OK && init.passphrase_file)
            r = kos_passphrase_read(init.passphrase_file, NULL, &passphrase, &error);
        if (r == KOS_OK)
            r = make(ctl, &init, kos_passphrase_bytes(&passphrase), &error);
        if (r == KOS_OK)
            r = tell(ctl, &init, kos_passphrase_bytes(&passphrase), &error);
        kos_passphrase_fini(&passphrase);
        status = r < 0 ? kosctl_fail(ctl, &error) : EXIT_DONE;
    }
    free(init.role_words);
    return status;
}
