/* SPDX-License-Identifier: Apache-2.0
 *
 * The compact form of KLP's records for small links (klp(7), "Compact form"): deterministic CBOR from which the signed
 * canonical JSON comes back byte for byte. Names of members that KLP knows are integers; ids, digests and base64 are
 * raw bytes; times of a message are said once. Whatever has no exact compact form is sent as it is: the first byte
 * tells ('{' or a CBOR map).
 */
#ifndef KLP_COMPACT_H
#define KLP_COMPACT_H

#include <klp/json.h>

enum { KLP_COMPACT_MAX = 65536 }; /* bytes of the JSON; what is longer stays as it is */

/* A canonical JSON object to its compact form, which is shorter: KOS_E_UNSUPPORTED when there is none, KOS_E_CANONICAL
 * when `json` is not canonical, KOS_E_NOMEM. *ret_data is malloc'ed. */
int32_t klp_compact_make(struct kos_bytes json, uint8_t **ret_data, size_t *ret_len);
/* And back. The only compact form of that JSON is taken: KOS_E_CANONICAL for any other bytes, KOS_E_LIMIT when it would
 * become more than KLP_COMPACT_MAX. *ret_json is malloc'ed. */
int32_t klp_compact_open(struct kos_bytes compact, uint8_t **ret_json, size_t *ret_len);

#endif
