/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a passphrase comes from: a file the operator names, a systemd credential, the terminal. Kept in secret memory.
 */
#ifndef KOS_CONF_PASSPHRASE_H
#define KOS_CONF_PASSPHRASE_H

#include "core/env.h"

enum { KOS_PASSPHRASE_MAX = 1024 };

struct kos_passphrase {
    char *text;   /* secret memory; NULL: none */
    size_t len;
};

/* First of: `file` (NULL or "": none; its first line), the credential $CREDENTIALS_DIRECTORY/kos-passphrase, a question on
 * the terminal when `ask` is set and there is one. Nothing of these: an empty passphrase and KOS_OK. KOS_E_PERMISSION when
 * others may read the file; KOS_E_INVALID for an empty one. */
int32_t kos_passphrase_read(const char *file, const char *ask, struct kos_passphrase *ret_passphrase, struct kos_error *ret_error);
void kos_passphrase_fini(struct kos_passphrase *passphrase);
/* After a fork, in the child that goes on with it: it has the memory, but not that it is locked. */
void kos_passphrase_forked(struct kos_passphrase *passphrase);
static inline struct kos_bytes kos_passphrase_bytes(const struct kos_passphrase *passphrase) { return kos_bytes(passphrase->text, passphrase->len); }

#endif
