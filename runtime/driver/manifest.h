/* SPDX-License-Identifier: Apache-2.0
 * What can be known of a module without running it: checked, and as JSON that crosses processes. For host, cell and conform. */
#ifndef KOS_DRIVER_MANIFEST_H
#define KOS_DRIVER_MANIFEST_H

#include <jansson.h>
#include <kos/plugin.h>

enum {
    KOS_MANIFEST_SETTINGS = 64, KOS_MANIFEST_RIGHTS = 32, KOS_MANIFEST_FEATURES = 32,
    KOS_MANIFEST_WORDS = 64, /* of each list */
    KOS_MANIFEST_TEXT = 256, KOS_MANIFEST_NAME = 32, KOS_MANIFEST_IDL = 64 << 10, KOS_MANIFEST_JSON = 1 << 20,
};

/* Copies a struct of the other side: the smaller of both sizes, the rest zero, size set to ours. */
void kos_sized_copy(void *to, uint32_t to_size, const void *from);
#define KOS_SIZED(to, from) kos_sized_copy((to), (uint32_t)sizeof *(to), (from))

/* A kind that hosts know: its feature name, what policies and people call it, the smallest table and which of its
 * pointers must be set (a bit for each pointer after `size`, in order). */
struct kos_kind {
    const char *feature, *name;
    uint32_t table_size;
    uint64_t required;
    bool kind;                  /* a kind of plugin; else what it offers besides */
    bool driven;                /* by this host */
};
const struct kos_kind *kos_kind_of(const char *feature);

/* Opens a module: KOS_E_PLUGIN, KOS_E_NOTFOUND, ... with a sentence that names the file. All symbols are
 * bound. The handle is never closed. */
int32_t kos_module_open(const char *path, const struct kos_plugin **ret_plugin, struct kos_error *ret_error);
/* A copy of full size, after checking everything that is data. */
int32_t kos_manifest_check(const char *path, const struct kos_plugin *plugin, struct kos_plugin *ret_copy,
                           struct kos_error *ret_error);
/* {id, name, version, summary, abi, kinds[], features[], settings[], rights[], types[], schemes[], streams[]?, interface?,
 * interface_description?} */
json_t *kos_manifest_json(const struct kos_plugin *checked);
const void *kos_plugin_feature(const struct kos_plugin *plugin, const char *feature);

/* The settings of a description as the structs that conf/ wants; free with kos_schema_free. */
int32_t kos_schema_new(const char *path, const json_t *description, const struct kos_setting *const **ret_schema,
                       struct kos_error *ret_error);
void kos_schema_free(const struct kos_setting *const *schema);

#endif
