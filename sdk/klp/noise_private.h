/* SPDX-License-Identifier: Apache-2.0
 *
 * What noise.c and record.c share. Not installed.
 */
#ifndef KLP_NOISE_PRIVATE_H
#define KLP_NOISE_PRIVATE_H

#include <klp/noise.h>

/* Noise 12.4, AESGCM: 32 zero bits, then the counter, big-endian. */
__attribute__((visibility("hidden"))) void klp_noise_nonce(uint64_t counter, uint8_t ret_nonce[12]);

/* One direction from its first key. A record that sends never opens and the other way round: with both ends under
 * one key, sealing with the peer's direction would use a nonce twice. */
__attribute__((visibility("hidden"))) struct klp_record *klp_record_new(const uint8_t key[32], bool sends);

#endif
