/* SPDX-License-Identifier: Apache-2.0
 *
 * KLP-IDs (klp(7), "Identifiers"): 128 bits, content-addressed and self-certifying.
 *   digest = SHA-256("klp-id/1" 0x00 KIND 0x00 body)   id = its first 16 bytes
 * Whatever is pinned, approved or referred to by a signed record is named by the full digest too.
 */
#ifndef KLP_ID_H
#define KLP_ID_H

#include <klp/crypto.h>

enum {
    KLP_ID_LEN = 16,
    KLP_ID_TEXT = 27,  /* 26 characters and NUL */
    KLP_ID_HEX = 35,   /* 0x, 32 digits, NUL */
    KLP_DID_TEXT = 35, /* did:klp:, 26 characters, NUL */
};

enum klp_kind { KLP_KIND_NODE = 1, KLP_KIND_AGENT = 2, KLP_KIND_DOC = 3, KLP_KIND_POLICY = 4 };

struct klp_id { uint8_t b[KLP_ID_LEN]; };

const char *klp_kind_name(int32_t kind);                 /* "node", ...; NULL when unknown */
int32_t klp_kind_parse(struct kos_bytes text, int32_t *ret_kind);

/* `ret_digest` may be NULL. */
void klp_id_derive(int32_t kind, struct kos_bytes body, struct klp_id *ret_id, struct klp_digest *ret_digest);

static inline bool klp_id_eq(const struct klp_id *a, const struct klp_id *b) { return memcmp(a, b, sizeof *a) == 0; }

/* 26 characters of lower-case RFC 4648 base32 without padding; the 2 spare bits must be zero. */
void klp_id_text(const struct klp_id *id, char ret_text[KLP_ID_TEXT]);
int32_t klp_id_parse(struct kos_bytes text, struct klp_id *ret_id);
/* "0x" and 32 lower-case digits. */
void klp_id_hex(const struct klp_id *id, char ret_text[KLP_ID_HEX]);
int32_t klp_id_parse_hex(struct kos_bytes text, struct klp_id *ret_id);
/* "did:klp:" and the text. */
void klp_did(const struct klp_id *id, char ret_text[KLP_DID_TEXT]);
int32_t klp_did_parse(struct kos_bytes text, struct klp_id *ret_id);

/* What a person types: text, did, full hex, or a hex prefix "0x9f3" of at least 2 digits. */
struct klp_id_prefix { struct klp_id id; uint8_t digits; /* 32 = whole */ };
int32_t klp_id_prefix_parse(struct kos_bytes text, struct klp_id_prefix *ret_prefix);
bool klp_id_prefix_match(const struct klp_id_prefix *prefix, const struct klp_id *id);

/* A fresh id for a message: 16 random bytes in the same coding. */
void klp_id_random(struct klp_random random, struct klp_id *ret_id);

#endif
