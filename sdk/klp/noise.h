/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions' cryptography (klp(7), "Session"): Noise_XX_25519_AESGCM_SHA256 and Noise_IK_25519_AESGCM_SHA256
 * (Noise revision 34), then records. No clock, no socket: bytes in, bytes out.
 */
#ifndef KLP_NOISE_H
#define KLP_NOISE_H

#include <klp/log.h>

enum { KLP_NOISE_MAX = 65535, KLP_RECORD_PLAIN_MAX = 65535 - 16, KLP_RECORD_OVERHEAD = 2 + 16, KLP_DATAGRAM_HEAD = 4,
       KLP_RECORD_DATAGRAM_OVERHEAD = KLP_DATAGRAM_HEAD + 16, KLP_DATAGRAM_RECORD = 3 /* first byte of a datagram that is one */ };
/* KLP uses XX and IK; the others are for klp_noise_new_raw. N, K and X are one-way: the initiator's direction only. */
enum klp_noise_pattern {
    KLP_NOISE_XX = 1, KLP_NOISE_IK = 2,
    KLP_NOISE_NN = 3, KLP_NOISE_NK = 4, KLP_NOISE_NX = 5, KLP_NOISE_XN = 6, KLP_NOISE_XK = 7, KLP_NOISE_KN = 8, KLP_NOISE_KK = 9,
    KLP_NOISE_KX = 10, KLP_NOISE_IN = 11, KLP_NOISE_IX = 12, KLP_NOISE_N = 13, KLP_NOISE_K = 14, KLP_NOISE_X = 15,
};

/* One handshake. Any failure in writing or reading (out of turn and a short buffer included) leaves it dead: wiped,
 * every later call KOS_E_STATE. */
struct klp_noise;
/* `remote_static` only for the initiator of IK, else NULL. The prologue is KLP's: "KLP/1" and a byte for the pattern
 * (its number: 1 XX, 2 IK). klp_noise_new_raw takes any pattern and prologue (test vectors, other protocols);
 * `static_secret` may be NULL where the pattern has none, `remote_static` stands exactly where the pattern knows it
 * beforehand. NULL on a wrong argument or when memory is short. */
struct klp_noise *klp_noise_new(int32_t pattern, bool initiator, const uint8_t static_secret[32], const uint8_t *remote_static, struct klp_random random);
struct klp_noise *klp_noise_new_raw(int32_t pattern, bool initiator, struct kos_bytes prologue, const uint8_t static_secret[32], const uint8_t *remote_static, struct klp_random random);
void klp_noise_free(struct klp_noise *noise);
/* Whose turn: true when the next act is klp_noise_write. */
bool klp_noise_writes(const struct klp_noise *noise);
bool klp_noise_done(const struct klp_noise *noise);
/* Input and output must not overlap. KOS_E_PROTOCOL (a message of impossible length), KOS_E_DECRYPT, KOS_E_KEY (an
 * all-zero agreement), KOS_E_LIMIT (cap). */
int32_t klp_noise_write(struct klp_noise *noise, struct kos_bytes payload, uint8_t *out, size_t cap, size_t *ret_len);
int32_t klp_noise_read(struct klp_noise *noise, struct kos_bytes message, uint8_t *out_payload, size_t cap, size_t *ret_len);
/* KOS_E_STATE until the peer's static key was received. Proven only by the message after which both sides have used it:
 * XX: the initiator after message 2, the responder after message 3. */
int32_t klp_noise_remote(const struct klp_noise *noise, uint8_t ret_static[32]);
/* Channel binding: the final h. KOS_E_STATE before the end. It and the remote key stay readable after the split. */
int32_t klp_noise_hash(const struct klp_noise *noise, uint8_t ret_hash[32]);

/* Proof of identity inside the payloads of messages 2 and 3 (IK: 1 and 2): KLP-ID, log head, signature under
 * KLP_TAG_NOISE over {"event":n,"head":"0x..","id":"...","static":"0x.."}. Fixed binary layout, 16 + 8 + 32 + 64 bytes. */
enum { KLP_PROOF_LEN = 120 };
struct klp_proof { struct klp_id id; uint64_t event; struct klp_digest head; uint8_t signature[KLP_SIGNATURE_LEN]; };
int32_t klp_proof_make(const struct klp_log *log, const struct klp_secret *current, const uint8_t static_public[32], uint8_t out[KLP_PROOF_LEN]);
int32_t klp_proof_parse(struct kos_bytes bytes, struct klp_proof *ret_proof);
/* Once the log is known: KOS_E_SIGNATURE, KOS_E_GAP (head beyond the log), KOS_E_DUPLICITY (another digest at head),
 * KOS_E_REVOKED, KOS_E_FROZEN, KOS_E_STALE (the key of an older event whose grace is over). */
int32_t klp_proof_verify(const struct klp_proof *proof, const struct klp_log *log, const uint8_t static_public[32], int64_t now);

/* Records after the handshake: one direction each. Keys change by counter: epoch = counter >> 20, next key by Noise
 * REKEY; the nonce is the whole 64-bit counter in every epoch, so a counter never serves twice. */
enum { KLP_EPOCH_SHIFT = 20, KLP_REPLAY_WINDOW = 1024 };
struct klp_record;
/* Takes both directions out of a finished handshake; the handshake's secrets are wiped. KOS_E_STATE before the end. */
int32_t klp_noise_split(struct klp_noise *noise, struct klp_record **ret_send, struct klp_record **ret_receive);
void klp_record_free(struct klp_record *record);
/* Sending: the next counter. Receiving: one more than the highest counter that was opened. */
uint64_t klp_record_counter(const struct klp_record *record);
/* The counter of the datagram that klp_record_open_datagram() opened last. */
uint64_t klp_record_opened(const struct klp_record *record);
/* A record goes one way and has one form, which the first call decides: KOS_E_STATE for any other.
 * Streams: u16 length (of what follows), ciphertext and tag. Writes plain.len + KLP_RECORD_OVERHEAD bytes. In place:
 * `plain` may lie at out + 2. KOS_E_LIMIT: more than KLP_RECORD_PLAIN_MAX bytes, or the counter is used up. */
int32_t klp_record_seal(struct klp_record *record, struct kos_bytes plain, uint8_t *out);
/* The concatenation of pieces that lie elsewhere. */
int32_t klp_record_sealv(struct klp_record *record, const struct kos_bytes *pieces, size_t count, uint8_t *out);
/* `sealed` without the length. In place allowed. KOS_E_DECRYPT or KOS_E_PROTOCOL, and then KOS_E_STATE for ever: after a
 * gap a stream has no next record. */
int32_t klp_record_open(struct klp_record *record, struct kos_bytes sealed, uint8_t *out, size_t *ret_len);
/* Datagrams: u8 KLP_DATAGRAM_RECORD, the low 24 bits of the counter, ciphertext and tag; `plain` may lie at
 * out + KLP_DATAGRAM_HEAD. A window of KLP_REPLAY_WINDOW counters against
 * replay, across epochs: KOS_E_REPLAYED (seen, or too old to know). What does not open (KOS_E_DECRYPT) changes nothing.
 * A counter beyond the next epoch is not tried: KOS_E_GAP; 2^20 datagrams were lost in a row, shake hands anew. */
int32_t klp_record_seal_datagram(struct klp_record *record, struct kos_bytes plain, uint8_t *out);
/* In place: `out` may be datagram.data + KLP_DATAGRAM_HEAD. */
int32_t klp_record_open_datagram(struct klp_record *record, struct kos_bytes datagram, uint8_t *out, size_t *ret_len);

#endif
