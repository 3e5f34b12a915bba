/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver: one plugin in this process, between the way down (backend.h) and the way up (services.h). The same driver
 * runs in kosd, in kos-cell and in kos-conform, so a plugin cannot tell which of them hosts it. It loads the module,
 * checks what it says of itself, queues calls to it, and keeps its timers, watches and posts.
 */
#ifndef KOS_DRIVER_DRIVER_H
#define KOS_DRIVER_DRIVER_H

#include <jansson.h>
#include "core/env.h"
#include "driver/manifest.h"
#include "driver/services.h"

/* For who judges plugins (sdk/conform). */
struct kos_driver_strict {
    /* Before each call into the plugin: "init", "transport.listen", "timer", ... (static). */
    void (*enters)(void *arg, const char *member);
    void *arg;
    bool newer;    /* be a host of a later minor: tables and structs are longer, with junk behind what is known today */
};

struct kos_driver_spec {
    const char *name;                   /* how the policy calls the plugin */
    const char *path;                   /* absolute */
    const char *where;                  /* begins the sentence when init fails: "FILE:LINE" or the path */
    const char *directory;              /* kos_host.directory; NULL: none */
    const json_t *description;          /* what describing it said: a module that now says something else is refused */
    const struct kos_conf *conf;        /* borrowed until the backend is freed */
    const struct kos_driver_strict *strict;   /* borrowed likewise; NULL: none. With it, what a call passed is
                                                 overwritten when the call is over: who kept a pointer reads 0xdd */
};

/* Loads the module into this process and calls init. `spec` is copied but for conf. `ret_backend` is set before init
 * runs, since init may use the host's services; on failure it is NULL again and nothing of the plugin runs any more. */
int32_t kos_driver_new(struct kos_env *env, const struct kos_driver_spec *spec, struct kos_services *services,
                       struct kos_backend **ret_backend, struct kos_error *ret_error);
/* A call of backend.h that comes as a frame (down.h), but for start and stop. Takes it. */
struct kos_frame;
void kos_driver_push(struct kos_backend *backend, struct kos_frame *frame);

#endif
