/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealing (klp(7), "Sealing"): HPKE base mode, RFC 9180, DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001,
 * AES-256-GCM 0x0002. Single shot with a fresh ephemeral key each time.
 */
#ifndef KLP_HPKE_H
#define KLP_HPKE_H

#include <klp/message.h>

enum { KLP_HPKE_ENC_LEN = 32, KLP_HPKE_TAG_LEN = 16 };

/* 32 random bytes become the ephemeral key by DeriveKeyPair (the ikmE of the RFC's vectors). KOS_E_KEY when the
 * recipient's key gives an all-zero agreement. `plain` may be `out`. */
int32_t klp_hpke_seal(const uint8_t recipient[32], struct kos_bytes info, struct kos_bytes ad, struct kos_bytes plain,
                      struct klp_random random, uint8_t ret_enc[KLP_HPKE_ENC_LEN], uint8_t *out /* plain.len + 16 */);
/* KOS_E_DECRYPT, KOS_E_KEY. `sealed.data` may be `out`. */
int32_t klp_hpke_open(const uint8_t secret[32], const uint8_t enc[KLP_HPKE_ENC_LEN], struct kos_bytes info,
                      struct kos_bytes ad, struct kos_bytes sealed, uint8_t *out /* sealed.len - 16 */);
/* RFC 9180 7.1.3 DeriveKeyPair. */
int32_t klp_hpke_derive(struct kos_bytes ikm, uint8_t ret_secret[32], uint8_t ret_public[32]);

/* The key schedule that both of them run, for exports and for protocols that send more than one ciphertext; KLP itself
 * never keeps one. The nonce of ciphertext n is base_nonce XOR n. Secret: wipe it. */
struct klp_hpke { uint8_t key[32], base_nonce[12], exporter[32]; };
int32_t klp_hpke_sender(const uint8_t recipient[32], struct kos_bytes info, struct klp_random random,
                        uint8_t ret_enc[KLP_HPKE_ENC_LEN], struct klp_hpke *ret_context);
int32_t klp_hpke_receiver(const uint8_t secret[32], const uint8_t enc[KLP_HPKE_ENC_LEN], struct kos_bytes info,
                          struct klp_hpke *ret_context);
/* RFC 9180 5.3; KOS_E_LIMIT when len > 255 * 32. */
int32_t klp_hpke_export(const struct klp_hpke *context, struct kos_bytes about, uint8_t *ret_secret, size_t len);

/* A message sealed whole: from an unsealed body (canonical) to the sealed body and back. `payload` becomes base64 of
 * the ciphertext, "seal" = {"enc":"0x..","key":"<multikey of recipient>"}; the associated data is the canonical body
 * without `payload` and `seal`; info is "klp-seal/1". Outputs malloc'ed. */
int32_t klp_seal_message(struct kos_bytes body, const uint8_t recipient[32], struct klp_random random,
                         uint8_t **ret_body, size_t *ret_len, struct kos_error *ret_error);
/* KOS_E_SEAL_RETIRED when the seal names another key than `recipient_public`; KOS_E_DECRYPT. The result is the body
 * with its payload in clear and no seal (not what was signed). */
int32_t klp_open_message(struct kos_bytes body, const uint8_t secret[32], const uint8_t recipient_public[32],
                         uint8_t **ret_body, size_t *ret_len, struct kos_error *ret_error);

#endif
