/* SPDX-License-Identifier: Apache-2.0
 *
 * Configuration text (libconfig syntax) to typed settings. Every fault names file, line and reason, and what is
 * allowed. Nothing unknown is passed over: a misspelt setting is an error.
 */
#ifndef KOS_CONF_CONF_H
#define KOS_CONF_CONF_H

#include <kos/conf.h>
#include "core/env.h"

enum { KOS_CONF_FILE_MAX = 1 << 20, KOS_CONF_DEPTH_MAX = 16 };

struct kos_conf_doc;
struct kos_conf_node; /* a libconfig setting; valid as long as its doc */

enum kos_conf_kind {
    KOS_CONF_GROUP = 1,
    KOS_CONF_LIST, /* ( ) and [ ] */
    KOS_CONF_STRING,
    KOS_CONF_INT,
    KOS_CONF_FLOAT,
    KOS_CONF_BOOL
};

/* Whole file, bounded; @include is refused before parsing; NUL bytes and duplicate names too. KOS_E_CONFIG with
 * "file:line: reason". */
int32_t kos_conf_load(struct kos_env *env, const char *path, struct kos_conf_doc **ret_doc,
                      struct kos_error *ret_error);
int32_t kos_conf_read(const char *name, struct kos_bytes text, struct kos_conf_doc **ret_doc,
                      struct kos_error *ret_error);
void kos_conf_free(struct kos_conf_doc *doc);

const struct kos_conf_node *kos_conf_root(const struct kos_conf_doc *doc);
int32_t kos_conf_kind(const struct kos_conf_node *node);
const char *kos_conf_name(const struct kos_conf_node *node);   /* "" in lists */
const char *kos_conf_file(const struct kos_conf_node *node);
int kos_conf_line(const struct kos_conf_node *node);
size_t kos_conf_count(const struct kos_conf_node *node);
const struct kos_conf_node *kos_conf_at(const struct kos_conf_node *node, size_t index);
const struct kos_conf_node *kos_conf_member(const struct kos_conf_node *node, const char *name); /* NULL when absent */
const char *kos_conf_string(const struct kos_conf_node *node);  /* NULL when not a string */
int32_t kos_conf_int(const struct kos_conf_node *node, int64_t *ret_number);
int32_t kos_conf_float(const struct kos_conf_node *node, double *ret_number); /* integers too */
int32_t kos_conf_bool(const struct kos_conf_node *node, bool *ret_value);
/* "file:line: name: reason". */
int32_t kos_conf_fail(const struct kos_conf_node *node, struct kos_error *ret_error, int32_t code, const char *format,
                      ...) __attribute__((format(printf, 4, 5)));

/* "30s", "250ms", "5m", "24h", "7d", or a number of milliseconds; "256K", "1M", "2G", or a number of bytes. */
int32_t kos_conf_duration(const char *text, int64_t *ret_ms);
int32_t kos_conf_size(const char *text, int64_t *ret_bytes);

/* A group bound to a struct: one field each. `offset` points at int64_t (INT, DURATION, SIZE), double (FLOAT), bool
 * (BOOL), char * (STRING, malloc'ed), char ** (LIST, NULL-terminated, malloc'ed). Members not in `fields` are refused,
 * with the nearest name suggested; missing ones take `fallback`, or are refused when it is NULL. fields end with a
 * zeroed one. On failure nothing stays allocated. */
struct kos_conf_field {
    struct kos_setting setting;   /* name, type, fallback, bounds, choices */
    size_t offset;
};
int32_t kos_conf_bind(const struct kos_conf_node *group, const struct kos_conf_field *fields, void *ret_struct,
                      struct kos_error *ret_error);
void kos_conf_unbind(const struct kos_conf_field *fields, void *bound);
/* `group` NULL: all defaults. */

/* A group against a plugin's schema: a struct kos_conf for its init; free with kos_conf_values_free. `group` NULL: all
 * defaults; `where` names the plugin in errors then. */
int32_t kos_conf_values(const struct kos_conf_node *group, const char *where, const struct kos_setting *const *schema,
                        struct kos_conf **ret_conf, struct kos_error *ret_error);
void kos_conf_values_free(struct kos_conf *conf);

/* Whether others can change what lies at the path, or put something else there: KOS_E_PERMISSION, with the chmod that
 * mends it. What does not exist or cannot be looked at is left to who opens it. */
int32_t kos_conf_guard(struct kos_env *env, const char *path, struct kos_error *ret_error);

#endif
