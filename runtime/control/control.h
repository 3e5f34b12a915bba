/* SPDX-License-Identifier: Apache-2.0
 *
 * The control socket: varlink (NUL-terminated JSON over a Unix socket), SO_PEERCRED decides who may. Server and client.
 */
#ifndef KOS_CONTROL_CONTROL_H
#define KOS_CONTROL_CONTROL_H

#include <jansson.h>
#include "core/env.h"

enum { KOS_CONTROL_MESSAGE_MAX = 4 << 20, KOS_CONTROL_CLIENTS_MAX = 64 };

struct kos_varlink;
struct kos_call; /* one method call; ends with the first answer that does not continue, or an error, or its client's end */

/* An interface of methods. `call` must answer, now or later. */
struct kos_interface {
    const char *name;                  /* "org.kos.node" */
    const char *description;           /* varlink IDL, whole */
    void (*call)(void *self, struct kos_call *call, const char *method, json_t *parameters /* borrowed, an object */);
    void *self;
};

/* path: the socket, made 0600 (or 0660 with group) in a directory of ours; a stale one is replaced, a live one is
 * KOS_E_LOCKED. Allowed: root, our own uid, members of `gid` when not -1. */
int32_t kos_varlink_new(struct kos_env *env, const char *path, gid_t gid, struct kos_varlink **ret_control, struct kos_error *ret_error);
void kos_varlink_free(struct kos_varlink *control);
void kos_varlink_add(struct kos_varlink *control, const struct kos_interface *interface);   /* kept by reference */
bool kos_call_more(const struct kos_call *call);          /* the caller takes several answers */
void kos_call_reply(struct kos_call *call, json_t *parameters /* stolen; NULL: {} */);
void kos_call_continue(struct kos_call *call, json_t *parameters /* stolen */);
/* Error "<interface>.Failed" with {error: stable name, text, retry}. */
void kos_call_fail(struct kos_call *call, int32_t code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* `gone` when the client left before the answer; then `call` is dead after it returns. */
void kos_call_on_hangup(struct kos_call *call, void (*gone)(void *arg), void *arg);

/* ---- client: blocking, for kosctl ---- */
struct kos_client;
int32_t kos_client_open(const char *path, struct kos_client **ret_client, struct kos_error *ret_error);  /* KOS_E_UNREACHABLE: no kosd */
void kos_client_close(struct kos_client *client);
/* One answer. method: "org.kos.node.Status". parameters stolen. On an error reply: its code by name, its text. timeout_ms 0: none. */
int32_t kos_client_call(struct kos_client *client, const char *method, json_t *parameters, uint64_t timeout_ms, json_t **ret_reply, struct kos_error *ret_error);
/* Many: `each` (parameters borrowed) for each answer, until the last or false. */
int32_t kos_client_stream(struct kos_client *client, const char *method, json_t *parameters, uint64_t timeout_ms, bool (*each)(void *arg, json_t *parameters), void *arg, struct kos_error *ret_error);

#endif
