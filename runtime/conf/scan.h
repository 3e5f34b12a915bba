/* SPDX-License-Identifier: Apache-2.0
 * What is refused in a configuration text before libconfig sees it. Private to conf. */
#ifndef KOS_CONF_SCAN_H
#define KOS_CONF_SCAN_H

#include "conf/conf.h"

/* Settings and list elements together: libconfig looks for duplicate names one by one. */
enum { KOS_CONF_ITEMS_MAX = 16384 };

int32_t kos_conf_scan(const char *name, struct kos_bytes text, struct kos_error *ret_error);
/* Valid UTF-8 (RFC 3629) without NUL. Returns the offset of the first bad byte, or text.len. */
size_t kos_conf_utf8(struct kos_bytes text);

#endif
