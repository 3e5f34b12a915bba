/* SPDX-License-Identifier: Apache-2.0
 * HTTP messages in frames: both ways carry them. */
#ifndef KOS_DRIVER_HTTP_FRAME_H
#define KOS_DRIVER_HTTP_FRAME_H

#include <kos/http.h>
#include "driver/frame.h"

enum { KOS_HTTP_HEADERS_MAX = 128 };

/* NULL stays NULL. More than KOS_HTTP_HEADERS_MAX headers: the first of them. */
void kos_put_http(struct kos_frame **frame, const struct kos_http_message *m);
/* Into *m and `headers`; what it points to lies in the frame. NULL when there is none, or it is malformed. */
const struct kos_http_message *kos_get_http(struct kos_frame_reader *reader, struct kos_http_message *m,
                                            struct kos_http_header headers[KOS_HTTP_HEADERS_MAX]);

#endif
