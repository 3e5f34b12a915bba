/* SPDX-License-Identifier: Apache-2.0
 *
 * The numbers of the compact form. They are protocol: a number is never given to another name, new names go to the
 * end. Private to libklp.
 */
#ifndef KLP_COMPACT_PRIVATE_H
#define KLP_COMPACT_PRIVATE_H

#include <klp/compact.h>

#include "codec.h"

/* Tags 6 to 13 have no meaning elsewhere. Untagged, 16 bytes are the text of an id. */
enum {
    COMPACT_HEX = 6,        /* bytes: 0x and lower-case digits */
    COMPACT_DIGITS = 7,     /* bytes: lower-case hex digits alone */
    COMPACT_BASE64 = 8,     /* bytes: base64 with padding */
    COMPACT_WORD = 9,       /* uint: a word of the table */
    COMPACT_NODE = 10,      /* text: klp://node. before it */
    COMPACT_AGENT = 11,     /* text: klp://agent. before it */
    COMPACT_NODE_ID = 12,   /* 16 bytes: klp://node.ID */
    COMPACT_AGENT_ID = 13,  /* 16 bytes: klp://agent.ID */
    COMPACT_CREATED = 7,    /* the names' numbers that mean more */
    COMPACT_EXPIRES = 8,
    COMPACT_LIFE = 9,       /* expires, as the time since created */
};

KLP_PRIVATE extern const char *const compact_names[];
KLP_PRIVATE extern const size_t compact_name_count;
KLP_PRIVATE extern const char *const compact_words[];
KLP_PRIVATE extern const size_t compact_word_count;
/* -1: not in it. */
KLP_PRIVATE int32_t compact_find(const char *const *table, size_t count, struct kos_bytes text);
/* Without the check that it comes back, for the check itself. */
KLP_PRIVATE int32_t compact_encode(struct kos_bytes json, uint8_t **ret_data, size_t *ret_len);
KLP_PRIVATE int32_t compact_decode(struct kos_bytes compact, uint8_t **ret_json, size_t *ret_len);

#endif
