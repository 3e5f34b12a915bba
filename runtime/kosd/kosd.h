/* SPDX-License-Identifier: Apache-2.0
 * Private to the program kosd. */
#ifndef KOS_KOSD_KOSD_H
#define KOS_KOSD_KOSD_H

#include <stddef.h>

#include "conf/instance.h"

/* "READY=1", "RELOADING=1", "STOPPING=1", "STATUS=..."; nothing when systemd does not listen. */
void kosd_notify(const char *state);

/* ---- harden.c ---- */
/* Becomes the user whom kosd.conf names, else the owner of the instance, without capabilities but that for low ports when
 * it listens on one. */
int32_t kosd_become(const struct kos_instance *instance, const struct kos_settings *settings, struct kos_error *ret_error);
/* From here on no program is started, nothing is written outside of the instance, and only the system calls of a node are
 * made: by this thread and all that it makes. The text says what is in force, for the log. */
int32_t kosd_confine(const struct kos_instance *instance, const struct kos_settings *settings, char *ret_text, size_t cap, struct kos_error *ret_error);

#endif
