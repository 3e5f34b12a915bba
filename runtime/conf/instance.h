/* SPDX-License-Identifier: Apache-2.0
 *
 * An instance: where its files are, and its kosd.conf as typed settings (kosd.conf(5)).
 */
#ifndef KOS_CONF_INSTANCE_H
#define KOS_CONF_INSTANCE_H

#include "conf/conf.h"

/* Absolute paths, malloc'ed. With a directory: everything below it. Without: /etc/kos, /var/lib/kos, /run/kos. */
struct kos_instance {
    char *dir;         /* as given, absolute; NULL for the system instance */
    char *conf;        /* kosd.conf */
    char *policy_dir;  /* policy.d */
    char *keys_dir;    /* keys */
    char *state_dir;   /* state */
    char *store_dir;   /* state/store */
    char *agents_dir;  /* state/agents */
    char *socket;      /* kosd.sock */
    char *log;         /* state/kosd.log: of a kosd in the background */
};
/* dir NULL: the environment's KOS_INSTANCE, else the system instance. The directory need not exist. */
int32_t kos_instance_init(const char *dir, struct kos_instance *ret_instance, struct kos_error *ret_error);
void kos_instance_fini(struct kos_instance *instance);

struct kos_settings {
    char *name;               /* "home.kai" */
    char **roles;
    char **listen;
    int64_t workers;
    char *log_level;
    char *control_group;      /* "" none */
    char *passphrase_file;    /* "" none */
    char *plugin_dir;
    char *cell_program;       /* "": kos_cell_program knows */
    char *user;               /* whom kosd becomes; "": the owner of the instance */
    char **groups;            /* and of which groups it is a member */
    char **write_paths;       /* where kosd and plugins within it may write besides the instance */
    bool seccomp;             /* whether kosd has a filter of its own */
    char **agent_paths;       /* what agents may read and execute besides the system's programs */
    /* limits; each with its default in kosd.conf(5) */
    int64_t links, half_open, half_open_per_source, handshake_ms, idle_ping_ms, dead_ms, session_ms, credit_bytes, streams_per_session,
        outbox_bytes, outbox_per_target_bytes, inbox_bytes, inbox_open, dedupe_per_peer;
    int64_t journal_bytes, checkpoint_bytes;
};
/* Reads and checks kosd.conf: KOS_E_CONFIG with file, line, reason. */
int32_t kos_settings_load(struct kos_env *env, const struct kos_instance *instance, struct kos_settings *ret_settings, struct kos_error *ret_error);
void kos_settings_fini(struct kos_settings *settings);
/* Checks a node's name, a role (KOS_E_UNSUPPORTED for one that this version does not have), a listen address. */
int32_t kos_settings_check_name(const char *name, struct kos_error *ret_error);
int32_t kos_settings_check_role(const char *role, struct kos_error *ret_error);
int32_t kos_settings_check_listen(const char *address, struct kos_error *ret_error);
/* Where kos-cell is: as set, else $KOS_CELL (of a tree that is not installed), else where it is installed. */
const char *kos_cell_program(const struct kos_settings *settings /* may be NULL */);
/* enum kos_log_level of "error", "warning", "notice", "info", "debug". */
int32_t kos_settings_log_level(const char *word);

#endif
