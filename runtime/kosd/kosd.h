/* SPDX-License-Identifier: Apache-2.0
 * Private to the program kosd. */
#ifndef KOS_KOSD_KOSD_H
#define KOS_KOSD_KOSD_H

#include <stddef.h>

/* "READY=1", "RELOADING=1", "STOPPING=1", "STATUS=..."; nothing when systemd does not listen. */
void kosd_notify(const char *state);

#endif
