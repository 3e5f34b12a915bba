/* SPDX-License-Identifier: Apache-2.0
 *
 * Control methods: a plugin adds a varlink interface to kosd's control socket, so that kosctl and programs reach it.
 * Since 1.0.
 */
#ifndef KOS_CONTROL_H
#define KOS_CONTROL_H

#include <kos/host.h>

#define KOS_CONTROL "kos.control/1"
#define KOS_CONTROL_HOST "kos.control.host/1"

enum kos_control_flags { KOS_CALL_MORE = 1 };  /* the caller takes several answers (varlink "more") */

struct kos_control {
    uint32_t size;
    const char *interface_name;          /* "org.kos.task" */
    const char *description;             /* varlink interface definition, whole */
    /* Parameters are loose JSON (an object) as the caller wrote it, at most 1 MiB. Answer with
     * kos_control_host.reply. */
    void (*call)(void *self, uint64_t call, const char *method, struct kos_bytes parameters, uint32_t flags);
    /* The caller went away; a reply is still allowed and ignored. */
    void (*hangup)(void *self, uint64_t call);
};

struct kos_control_host {
    uint32_t size;
    /* status KOS_OK: `parameters` (a JSON object, canonical or loose) is the answer; continues 1: more follow (only
     * with KOS_CALL_MORE). Below 0: the error, whose name, `text` and retry advice reach the caller; ends the call. */
    void (*reply)(const struct kos_host *host, uint64_t call, int32_t status, struct kos_bytes parameters,
                  const char *text, int32_t continues);
    /* Tells everyone who watches the node (`kosctl watch`): a stable word of yours and a JSON object. Nothing
     * private. */
    void (*event)(const struct kos_host *host, const char *event, struct kos_bytes detail);
};

#endif
